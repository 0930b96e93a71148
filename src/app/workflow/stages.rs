//! The stages of a promotion: whether a set was current in each set of `promote.after`.
//!
//! The configurations are read before the first check, so that a malformed list is refused at once. The
//! histories are read after the tags are resolved, because verdicts compare digests.

use std::{collections::HashMap, time::SystemTime};

use super::{
    Services, SiteHistory,
    stage_sources::{OpenedSet, Opener, StageHistory},
};
pub(crate) use crate::app::workflow::stage_sources::check_work_tree;
use crate::{
    app::report::{body::StageRow, json::WaitingRow},
    base::error::{Class, Code, Error, Errors},
    config::{Config, Stage},
    core::{
        checks::{self, Check, JudgedStage, MergeTimes, StageClock, StageVerdict, Status},
        history::{DatedCommit, Digests, History, HistoryEntry},
    },
    forge::{BranchCommit, Forge, MergedPull, Words},
    git::ObjectId,
    oci::{Revision, date},
};

/// The opened stages of a set.
pub(crate) struct Stages<'c> {
    stages: Vec<OpenedStage<'c>>,
}

struct OpenedStage<'c> {
    rule: &'c Stage,
    set: OpenedSet,
}

/// A set that the first stage records.
pub(crate) struct StagedSet {
    /// `None` if no commit records it.
    pub revision: Option<Revision>,
    /// The `revision.pattern` of the stage.
    pub pattern: String,
    /// The digests of the common images, by their names here.
    pub digests: Digests,
    /// The number of the entry that made the set current for the first time; the newest entry has the smallest one.
    pub first_use: usize,
}

/// The stages that a set has not passed.
pub(crate) struct Waiting {
    pub rows: Vec<WaitingRow>,
    /// The reasons, one for each failed check.
    pub reasons: Vec<String>,
    /// The errors of unknown stages.
    pub unknown: Vec<Error>,
}

/// The verdicts on a set, and the rows of the table in the body of its pull request.
#[derive(Default)]
pub(crate) struct StageVerdicts {
    pub judged: Vec<JudgedStage>,
    pub rows: Vec<StageRow>,
}

impl<'c> Stages<'c> {
    /// Reads the configurations of the stages. `has_forge`: whether a token for the forge may be used.
    pub(crate) fn open(
        config: &'c Config,
        history: &SiteHistory,
        has_forge: bool,
        services: &Services,
    ) -> Result<Self, Errors> {
        let mut opener = Opener::new(config, history, has_forge, services);
        let mut stages = Vec::new();
        for rule in &config.promote.after {
            let set = opener.open(rule)?;
            stages.push(OpenedStage { rule, set });
        }
        Ok(Self { stages })
    }

    /// Reads the histories of the stages, and judges the set with these digests of its images.
    pub(crate) fn judge(&self, digests: &Digests, services: &Services) -> StageVerdicts {
        let mut verdicts = StageVerdicts::default();
        let now = services.authoritative_time();
        for stage in &self.stages {
            match &stage.set {
                OpenedSet::Known(set) => match set.judge(digests, stage.rule, now, services) {
                    Ok(judged) => verdicts.add(stage.rule, judged, set.missing.clone()),
                    Err(reason) => verdicts.add_unknown(stage.rule, reason),
                },
                OpenedSet::Unknown(reason) => verdicts.add_unknown(stage.rule, reason.clone()),
            }
        }
        verdicts
    }
}

impl StageVerdicts {
    /// `missing`: the images that the stage does not have.
    pub(super) fn add(&mut self, rule: &Stage, judged: JudgedSet, missing: Vec<String>) {
        let JudgedSet {
            verdict,
            merges,
            words,
        } = judged;
        if let StageVerdict::Passed(soak) = &verdict {
            let commit = soak.entry.commit;
            let merge = merges
                .as_ref()
                .and_then(|merges| merges.get(&commit)?.clone());
            let number = merge.as_ref().map(|merge| merge.number);
            self.rows.push(StageRow {
                stage: rule.item(),
                since: date::format(soak.since),
                commit: commit.short(),
                kind: words.pull_request,
                pull_request: number
                    .or(soak.entry.pull_request)
                    .map(|number| words.mark(number)),
                by: merge
                    .and_then(|merge| merge.by)
                    .unwrap_or_else(|| soak.entry.author.clone()),
            });
        }
        self.judged.push(JudgedStage {
            item: rule.item(),
            required: rule.r#for,
            has_merge_times: merges.is_some(),
            missing,
            must_be_complete: rule.complete,
            verdict,
        });
    }

    pub(super) fn add_unknown(&mut self, rule: &Stage, reason: String) {
        self.add(
            rule,
            JudgedSet {
                verdict: StageVerdict::Unknown(reason),
                merges: None,
                words: Words::for_page(""),
            },
            Vec::new(),
        );
    }
}

impl Stages<'_> {
    /// The sets that the first stage records, newest first, each once.
    pub(crate) fn candidates(&self) -> Result<Vec<StagedSet>, Error> {
        let mut candidates: Vec<StagedSet> = Vec::new();
        let Some(stage) = self.stages.first() else {
            return Ok(candidates);
        };
        let unknown = |reason: String| Error {
            subject: Some(stage.rule.item()),
            ..Error::new(Class::Unavailable, Code::STAGE_UNKNOWN, reason)
        };
        let set = match &stage.set {
            OpenedSet::Known(set) => set,
            OpenedSet::Unknown(reason) => return Err(unknown(reason.clone())),
        };
        let mut uses = 0;
        for entry in set.history().map_err(unknown)?.entries() {
            let Some(digests) = set.digests_here(entry) else {
                continue;
            };
            uses += 1;
            let mut known = candidates.iter_mut();
            if let Some(known) = known.find(|known| known.digests == digests) {
                known.first_use = uses;
                continue;
            }
            candidates.push(StagedSet {
                revision: entry.revision.clone(),
                pattern: set.config.revision.pattern.as_str().to_owned(),
                digests,
                first_use: uses,
            });
        }
        Ok(candidates)
    }

    /// The stages for which the current set of the first stage waits, and the errors of unknown ones.
    /// `own`: the history of this set.
    pub(crate) fn waiting(
        &self,
        own: Option<&History>,
        services: &Services,
    ) -> (Vec<WaitingRow>, Vec<Error>) {
        let candidates = match self.candidates() {
            Ok(candidates) => candidates,
            Err(error) => return (Vec::new(), vec![error]),
        };
        let Some(next) = candidates.first() else {
            return (Vec::new(), Vec::new());
        };
        let mut entries = own.map_or(&[][..], History::entries).iter();
        let was_current = entries.any(|entry| {
            let mut digests = next.digests.iter();
            digests.all(|(name, digest)| entry.images.get(name) == Some(digest))
        });
        if was_current {
            return (Vec::new(), Vec::new());
        }
        let waiting = self.waiting_of(next.revision.as_ref(), &next.digests, services);
        (waiting.rows, waiting.unknown)
    }

    /// The stages that the set with these digests has not passed.
    pub(crate) fn waiting_of(
        &self,
        revision: Option<&Revision>,
        digests: &Digests,
        services: &Services,
    ) -> Waiting {
        let verdicts = self.judge(digests, services).judged;
        let (checks, unknown) = checks::check_stages(&verdicts, false).into_parts();
        let failed = checks.iter().filter(|check| check.status == Status::Fail);
        let mut waiting = Waiting {
            rows: Vec::new(),
            reasons: failed.map(Check::describe).collect(),
            unknown,
        };
        for stage in verdicts {
            let (since, until) = match &stage.verdict {
                StageVerdict::Passed(_) | StageVerdict::Unknown(_) => continue,
                StageVerdict::TooShort { soak, passes } => (Some(soak.since), *passes),
                StageVerdict::Missing | StageVerdict::Held(_) => (None, None),
            };
            waiting.rows.push(WaitingRow {
                revision: revision.map(ToString::to_string),
                stage: stage.item,
                since: since.map(date::format),
                until: until.map(date::format),
            });
        }
        waiting
    }
}

/// The merged pull request of each commit.
type Merges = HashMap<ObjectId, Option<MergedPull>>;

impl StageHistory {
    fn history(&self) -> Result<&History, String> {
        let read = self.history.get_or_init(|| {
            let prefix = self.config.set_path.prefix().into_bytes();
            let git = self.repository.git.with_prefix(prefix);
            let history = History::for_branch(&git, &self.config, self.branch.clone());
            history.map_err(|error| error.to_string())
        });
        read.as_ref().map_err(Clone::clone)
    }

    /// The digests of the common images of an entry, by their names here; `None` if one is missing.
    fn digests_here(&self, entry: &HistoryEntry) -> Option<Digests> {
        let mut digests = Digests::new();
        for [name, other] in &self.common {
            digests.insert(name.clone(), *entry.images.get(other)?);
        }
        Some(digests)
    }

    /// The verdict on the set with these digests, or the reason why the history cannot be read.
    fn judge(
        &self,
        digests: &Digests,
        rule: &Stage,
        now: SystemTime,
        services: &Services,
    ) -> Result<JudgedSet, String> {
        let history = self.history()?;
        let forge = self.forge.as_ref().map(|(forge, branch)| MergeSource {
            forge,
            branch,
            is_first_parent: true,
        });
        let there = digests_there(&self.common, digests);
        let judged = JudgedSet::judge(history, &there, rule, now, forge);
        let words = self.forge.as_ref().map(|(forge, _)| forge.words());
        let name = words.map_or("pull request", |words| words.pull_request);
        Ok(services.wait(judged, &format!("reading the {name}s of stages")))
    }
}

/// The digests of the common images by their names in the stage.
pub(super) fn digests_there(common: &[[String; 2]], digests: &Digests) -> Digests {
    let mut there = Digests::new();
    for [name, other] in common {
        if let Some(digest) = digests.get(name) {
            there.insert(other.clone(), *digest);
        }
    }
    there
}

/// The verdict on a set in one stage.
pub(super) struct JudgedSet {
    verdict: StageVerdict,
    merges: Option<Merges>,
    /// The words of the forge.
    words: Words,
}

/// The forge that merges the pull requests of a stage.
pub(super) struct MergeSource<'f> {
    pub(super) forge: &'f Forge,
    pub(super) branch: &'f str,
    /// Whether all commits are on the first-parent line of the branch. Otherwise only the merge of its pull request
    /// shows when a commit reached the branch.
    pub(super) is_first_parent: bool,
}

impl JudgedSet {
    /// Judges the set with these digests of the common images, named as in the stage.
    pub(super) async fn judge(
        history: &History,
        digests: &Digests,
        rule: &Stage,
        now: SystemTime,
        source: Option<MergeSource<'_>>,
    ) -> Self {
        let found = history.periods(digests);
        let words = source.as_ref().map(|source| source.forge.words());
        let (mut times, mut merges) = (None, None);
        if let Some(source) = source {
            let mut commits = Vec::new();
            for period in &found.periods {
                commits.push(&period.start);
                commits.extend(&period.end);
            }
            let (known, queried) = query_merges(&source, &commits).await;
            (times, merges) = (Some(known), Some(queried));
        }
        let clock = StageClock {
            now,
            merged: times.as_ref(),
        };
        Self {
            verdict: checks::judge_stage(&found, rule.r#for, &clock),
            merges,
            words: words.unwrap_or(Words::for_page("")),
        }
    }
}

/// Requests when the forge merged the pull requests of commits.
async fn query_merges(source: &MergeSource<'_>, commits: &[&DatedCommit]) -> (MergeTimes, Merges) {
    let (mut times, mut merges) = (MergeTimes::new(), Merges::new());
    for dated in commits {
        let commit = dated.commit;
        let id = commit.to_string();
        let request = source.forge.merged_pull(BranchCommit {
            commit: &id,
            branch: source.branch,
            number: dated.pull_request,
        });
        let time = match request.await {
            Ok(None) if source.is_first_parent => Ok(None),
            Ok(None) => Err(format!(
                "no {} merged it",
                source.forge.words().pull_request
            )),
            Ok(Some(merge)) => {
                let time = date::parse(&merge.date);
                merges.insert(commit, Some(merge));
                time.map(Some)
                    .ok_or_else(|| "the forge returned a malformed date".to_owned())
            }
            Err(error) => Err(error.to_string()),
        };
        times.insert(commit, time);
    }
    (times, merges)
}
