//! Verdicts on stages: a set must have been current in each stage of `promote.after` for the given time,
//! and no rollback there may have undone it.
//!
//! The times are those of commits, so equal histories give equal verdicts, except that time passes.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use super::{Check, Code, StageResult, Status};
use crate::{
    base::{
        error::{Class, Error},
        text::few,
        untrusted::{plain, to_minute},
    },
    config::Stage,
    core::history::{DatedCommit, HistoryEntry, ParentDate, Period, SetPeriods, Undoing},
    git::ObjectId,
    oci::date,
};

/// The maximum time by which a commit may be older than its parent. More is a wrong clock.
const MAX_SKEW: Duration = Duration::from_secs(3_600);

/// The clock of a verdict.
#[derive(Debug)]
pub(crate) struct StageClock<'c> {
    /// The present time by the registry or the forge, if one was contacted.
    pub now: SystemTime,
    /// When the forge merged the pull requests of commits; `None` if the forge was not queried.
    pub merged: Option<&'c MergeTimes>,
}

/// The time at which the forge merged the pull request that made each commit; `None` for a commit
/// without one, or the reason why the time is unknown.
pub(crate) type MergeTimes = HashMap<ObjectId, Result<Option<SystemTime>, String>>;

/// The verdict on a set in one stage.
#[derive(Debug, Clone)]
pub(crate) enum StageVerdict {
    /// The set was current for the required time.
    Passed(Soak),
    /// The set was never current.
    Missing,
    /// The set was not current for long enough.
    TooShort {
        soak: Soak,
        /// When the check passes; `None`: the set was replaced.
        passes: Option<SystemTime>,
    },
    /// A rollback undid the set, or an image of it.
    Held(Undoing),
    /// The history or a date cannot be read, for this reason.
    Unknown(String),
}

/// The time for which a set was current.
#[derive(Debug, Clone)]
pub(crate) struct Soak {
    /// The change that made the set current.
    pub entry: HistoryEntry,
    pub since: SystemTime,
    /// `None` while the set is current.
    pub until: Option<SystemTime>,
}

impl Soak {
    fn describe(&self) -> String {
        let (since, commit) = (minute(self.since), self.entry.commit.short());
        match self.until {
            None => format!("current since {since} (commit {commit})"),
            Some(until) => {
                let until = minute(until);
                format!("current from {since} to {until} (commit {commit})")
            }
        }
    }

    fn duration(&self, now: SystemTime) -> Duration {
        let until = self.until.unwrap_or(now);
        until.duration_since(self.since).unwrap_or_default()
    }
}

/// A stage with its verdict on a set.
#[derive(Debug)]
pub(crate) struct JudgedStage {
    /// The set path, with the repository before it if that is another one.
    pub item: String,
    pub required: Duration,
    /// Whether the forge reported when pull requests were merged.
    pub has_merge_times: bool,
    /// The images of the promoting set that the stage does not have.
    pub missing: Vec<String>,
    /// Whether the stage must have every image.
    pub must_be_complete: bool,
    pub verdict: StageVerdict,
}

/// The checks of the stages. `is_allowed`: failures only warn. An unknown stage is an error.
pub(crate) fn check_stages(stages: &[JudgedStage], is_allowed: bool) -> StageResult {
    let mut result = StageResult::default();
    let (checks, errors) = (&mut result.checks, &mut result.errors);
    for stage in stages {
        checks.extend(stage.check_missing(is_allowed));
        let (code, detail) = stage.evidence();
        let is_unknown = matches!(stage.verdict, StageVerdict::Unknown(_));
        if matches!(stage.verdict, StageVerdict::Passed(_)) {
            checks.push(Check::new(code, Status::Pass, detail).item(&stage.item));
        } else if is_allowed {
            let detail = format!("{detail}; forced by --allow-unstaged");
            checks.push(Check::new(code, Status::Warn, detail).item(&stage.item));
        } else if is_unknown {
            errors.push(Error {
                subject: Some(stage.item.clone()),
                ..Error::new(Class::Unavailable, code, detail)
            });
        } else {
            let check = Check::new(code, Status::Fail, detail).item(&stage.item);
            checks.push(match stage.verdict {
                StageVerdict::Missing => check.help(
                    "promote the set there first; a promotion counts once it is pushed or merged, and only with the same \
                    digests: if the tag of an image moved since, `repin history` there and `repin resolve` differ",
                ),
                StageVerdict::Passed(_)
                | StageVerdict::TooShort { .. }
                | StageVerdict::Held(_)
                | StageVerdict::Unknown(_) => check,
            });
        }
    }
    result
}

/// The checks of a repository without a clone: its last commits on the forge may not show a stage, which another
/// run would not change. `after`: the stages that must have a verdict.
pub(crate) fn check_stages_on_forge(after: &[Stage], stages: &[JudgedStage]) -> Vec<Check> {
    let mut checks = Vec::new();
    for rule in after {
        let item = rule.item();
        let Some(stage) = stages.iter().find(|stage| stage.item == item) else {
            let detail = "the stage was not examined";
            checks.push(Check::new(Code::STAGE_UNKNOWN, Status::Fail, detail).item(item));
            continue;
        };
        checks.extend(stage.check_missing(false));
        let (code, detail) = stage.evidence();
        checks.push(match stage.verdict {
            StageVerdict::Passed(_) => Check::new(code, Status::Pass, detail).item(item),
            StageVerdict::Unknown(_) => Check::new(code, Status::Fail, detail)
                .item(item)
                .help("promote this repository in a clone"),
            StageVerdict::Missing | StageVerdict::TooShort { .. } | StageVerdict::Held(_) => {
                Check::new(code, Status::Fail, detail).item(item)
            }
        });
    }
    checks
}

impl JudgedStage {
    /// The check of the images that the stage does not have; `None` if it has all of them.
    fn check_missing(&self, is_allowed: bool) -> Option<Check> {
        if self.missing.is_empty() {
            return None;
        }
        let names = self.missing.iter().map(|name| format!("`{name}`"));
        let detail = format!(
            "the stage does not pin {}, so it is no evidence for these images",
            few(names, self.missing.len())
        );
        let check = |status, detail| {
            let check = Check::new(Code::STAGE_PARTIAL, status, detail);
            Some(check.item(&self.item).help(Code::STAGE_PARTIAL.help()))
        };
        match (self.must_be_complete, is_allowed) {
            (true, false) => check(Status::Fail, detail),
            (true, true) => check(Status::Warn, detail + "; forced by --allow-unstaged"),
            (false, _) => check(Status::Warn, detail),
        }
    }

    fn evidence(&self) -> (Code, String) {
        let clock = if self.has_merge_times {
            "by committer dates and merge times"
        } else {
            "by committer dates only"
        };
        let required = if self.required.is_zero() {
            String::new()
        } else {
            format!(", {} required", duration(self.required))
        };
        match &self.verdict {
            StageVerdict::Passed(soak) => {
                let detail = format!("{}{required}; {clock}", soak.describe());
                (Code::STAGE_MISSING, detail)
            }
            StageVerdict::Missing => {
                let detail = "the set was never current there".to_owned();
                (Code::STAGE_MISSING, detail)
            }
            StageVerdict::TooShort { soak, passes } => {
                let next = match passes {
                    Some(passes) => {
                        format!(
                            "the check passes at {}",
                            minute(date::end_of_period(*passes))
                        )
                    }
                    None => "the set was replaced and must be promoted there again".to_owned(),
                };
                let detail = format!("{}{required}: {next}; {clock}", soak.describe());
                (Code::STAGE_SOAK, detail)
            }
            StageVerdict::Held(rollback) => {
                let (commit, date) = (rollback.commit.short(), to_minute(&rollback.date));
                let subject = match &rollback.image {
                    Some(image) => format!("`{image}` of the set"),
                    None => "the set".to_owned(),
                };
                let detail =
                    format!("{subject} was rolled back there by commit {commit} on {date}");
                (Code::STAGE_HELD, detail)
            }
            StageVerdict::Unknown(reason) => {
                let detail = format!("cannot determine how long the set was current: {reason}");
                (Code::STAGE_UNKNOWN, detail)
            }
        }
    }
}

fn minute(time: SystemTime) -> String {
    to_minute(&date::format(time))
}

/// The duration in the largest unit without a remainder, up to hours, and days from two days.
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (unit, name) = match seconds {
        _ if seconds.is_multiple_of(86_400) && seconds >= 2 * 86_400 => (86_400, "d"),
        _ if seconds.is_multiple_of(3_600) => (3_600, "h"),
        _ if seconds.is_multiple_of(60) => (60, "m"),
        _ => (1, "s"),
    };
    format!("{}{name}", seconds / unit)
}

/// Judges the periods of a set in a stage that requires `soak`.
pub(crate) fn judge_stage(
    found: &SetPeriods<'_>,
    required: Duration,
    clock: &StageClock<'_>,
) -> StageVerdict {
    if let Some(rollback) = &found.undone_by {
        return StageVerdict::Held(rollback.clone());
    }
    let mut unknown = None;
    let mut last = None;
    for period in &found.periods {
        match soak(period, clock) {
            Ok(soak) if soak.duration(clock.now) >= required => return StageVerdict::Passed(soak),
            Ok(soak) => last = Some(soak),
            Err(reason) => unknown = Some(reason),
        }
    }
    match (last, unknown, &found.gap) {
        (_, Some(reason), _) => StageVerdict::Unknown(reason),
        (Some(soak), None, gap) => match (soak.until, gap) {
            (Some(_), Some(gap)) => StageVerdict::Unknown(gap.clone()),
            (Some(_), None) => StageVerdict::TooShort { soak, passes: None },
            (None, _) => StageVerdict::TooShort {
                passes: Some(soak.since + required),
                soak,
            },
        },
        (None, None, Some(gap)) => StageVerdict::Unknown(gap.clone()),
        (None, None, None) => StageVerdict::Missing,
    }
}

/// The time of a period, or the reason why it is unknown.
fn soak(period: &Period<'_>, clock: &StageClock<'_>) -> Result<Soak, String> {
    if let Some(reason) = &period.unreadable {
        return Err(reason.clone());
    }
    let since = time(&period.start, clock)?;
    let until = match &period.end {
        Some(end) => Some(time(end, clock)?),
        None => None,
    };
    if let Some(after) = &period.after_end {
        committer_time(after, clock)?;
    }
    Ok(Soak {
        entry: period.entry.clone(),
        since,
        until,
    })
}

/// The time at which a commit reached the line.
fn time(commit: &DatedCommit, clock: &StageClock<'_>) -> Result<SystemTime, String> {
    let committed = committer_time(commit, clock)?;
    let Some(merged) = clock.merged else {
        return Ok(committed);
    };
    let name = commit.commit.short();
    let merged = match merged.get(&commit.commit) {
        Some(Ok(None)) => return Ok(committed),
        Some(Ok(Some(merged))) => *merged,
        Some(Err(reason)) => {
            return Err(format!(
                "cannot read when commit {name} was merged: {reason}"
            ));
        }
        None => return Err(format!("cannot read when commit {name} was merged")),
    };
    if merged > clock.now {
        let date = date::format(merged);
        return Err(format!("commit {name} was merged in the future: {date}"));
    }
    Ok(committed.max(merged))
}

/// The committer date, if it agrees with the present time and with that of the first parent.
fn committer_time(commit: &DatedCommit, clock: &StageClock<'_>) -> Result<SystemTime, String> {
    let name = commit.commit.short();
    let parse = |text: &str| {
        date::parse(text).ok_or_else(|| format!("commit {name} has the date {}", plain(text)))
    };
    let committed = parse(&commit.date)?;
    if committed > clock.now {
        let date = date::format(committed);
        return Err(format!("commit {name} is dated in the future: {date}"));
    }
    match &commit.parent {
        ParentDate::NoParent => {}
        ParentDate::Known(parent) => {
            let parent = date::parse(parent)
                .ok_or_else(|| format!("the parent of commit {name} has a malformed date"))?;
            let skew = parent.duration_since(committed).unwrap_or_default();
            if skew > MAX_SKEW {
                return Err(format!(
                    "commit {name} is dated {}, more than an hour before its parent ({})",
                    date::format(committed),
                    date::format(parent)
                ));
            }
        }
        ParentDate::Missing => {
            return Err(format!(
                "the parent of commit {name} is missing in the clone, so its date is unproven"
            ));
        }
    }
    Ok(committed)
}

#[cfg(test)]
mod tests;
