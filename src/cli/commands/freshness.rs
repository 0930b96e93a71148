//! `repin freshness`: how far pinned references to other repositories have fallen behind, and one
//! issue while they are.
//!
//! Each entry is looked at whatever became of the others, and every finished run says so.

mod show;

use std::time::SystemTime;

use super::set;
use crate::{
    checks::freshness::{self as verdict, State},
    cli::{
        args::{self, IfUnconfigured},
        context::Context,
        exit::Exit,
        forge::connect_or_skip,
        progress,
        repositories::{OtherRepository, Reach, scratch},
    },
    config::{Config, Freshness},
    error::{Class, Error, Errors},
    files::WorkTree,
    forge::{
        Forge,
        tracking_issue::{self, Fate, Wanted},
    },
    freshness::{self, Distance, Pinned, Trouble},
    git::{GitError, Remote},
    report::json::{FreshnessDocument, FreshnessRow, IssueRow},
};

/// Where issues are kept.
enum Issues {
    /// Nowhere: a dry run, or nobody wants any.
    Nowhere,
    At(Box<dyn Forge>),
    /// There is no token for it, and that is fine.
    Skipped(String),
}

/// What is the same for all entries.
struct Run<'a> {
    config: &'a Config,
    issues: Issues,
    simulate: bool,
    skip: bool,
    /// When it is checked, for people.
    now: String,
}

/// An entry that was looked at.
struct Checked {
    row: FreshnessRow,
    exit: Exit,
    fault: Option<Errors>,
}

/// Why an entry could not be looked at.
enum Stopped {
    /// A token or a permission is missing, and that was said to be fine.
    Unconfigured(String),
    Errors(Errors),
}

impl From<Errors> for Stopped {
    fn from(fault: Errors) -> Self {
        Self::Errors(fault)
    }
}

pub(in crate::cli) fn run(args: &args::Freshness, cx: &mut Context) -> Result<Exit, Errors> {
    let apply = cx.armed(args.arm.apply, args.arm.dry_run)?;
    let config = cx.load()?;
    if config.freshness.is_empty() {
        let problem = Error::input(
            "config",
            "there is no `freshness` in the configuration, so there is nothing to check",
        );
        return Err(Errors::from(problem.help(
            "name what is pinned, and the repository that it is compared with",
        )));
    }
    let skip = args.if_unconfigured == Some(IfUnconfigured::Skip);
    let wanted = apply && config.freshness.iter().any(|entry| entry.issue.is_some());
    let issues = match wanted
        .then(|| connect_or_skip(&config, args.if_unconfigured, cx))
        .transpose()?
    {
        None => Issues::Nowhere,
        Some(Ok(forge)) => {
            set::wait(forge.supported(), "asking the forge for its version", cx)??;
            Issues::At(forge)
        }
        Some(Err(why)) => Issues::Skipped(why),
    };
    let now = httpdate::fmt_http_date(SystemTime::now());
    let run = Run {
        config: &config,
        issues,
        simulate: args.simulate_stale == Some(true),
        skip,
        now,
    };
    let mut document = FreshnessDocument {
        schema: "repin.freshness/1",
        entries: Vec::new(),
    };
    let (mut exit, mut faults) = (Exit::Done, Vec::new());
    for entry in &config.freshness {
        let checked = run.check(entry, cx);
        exit = exit.worse(checked.exit);
        faults.extend(checked.fault);
        document.entries.push(checked.row);
    }
    Ok(show::report(&document, &run.now, exit, &faults, cx))
}

impl Run<'_> {
    fn check(&self, entry: &Freshness, cx: &Context) -> Checked {
        let mut row = FreshnessRow {
            name: entry.name.clone(),
            pinned: None,
            head: None,
            commits: None,
            gap_days: None,
            state: None,
            reason: None,
            issue: None,
        };
        let stopped = match self.judged(entry, &mut row, cx) {
            Ok(state) => match self.kept(entry, state, &mut row, cx) {
                Ok(exit) => {
                    return Checked {
                        row,
                        exit,
                        fault: None,
                    };
                }
                Err(stopped) => stopped,
            },
            Err(stopped) => stopped,
        };
        match stopped {
            Stopped::Unconfigured(why) => {
                // What was found out all the same is not lost.
                let found = row
                    .state
                    .zip(row.reason.as_ref())
                    .map(|(state, why)| format!("{state} ({why}), but "));
                row.reason = Some(format!("{}{why}", found.unwrap_or_default()));
                row.state = Some("skipped");
                Checked {
                    row,
                    exit: Exit::Done,
                    fault: None,
                }
            }
            Stopped::Errors(fault) => {
                let first = fault.iter().next();
                row.reason = row.reason.or_else(|| first.map(ToString::to_string));
                Checked {
                    row,
                    exit: Exit::from(&fault),
                    fault: Some(fault),
                }
            }
        }
    }

    /// How an entry stands.
    fn judged(
        &self,
        entry: &Freshness,
        row: &mut FreshnessRow,
        cx: &Context,
    ) -> Result<State, Stopped> {
        let pinned =
            freshness::pinned(entry, &WorkTree::new(&self.config.root)).map_err(Errors::from)?;
        row.pinned = Some(pinned.reference.clone());
        let remote = self.remote(entry, cx)?;
        let distance = self.distance(entry, &remote, pinned, cx)?;
        row.pinned = distance
            .pinned
            .as_ref()
            .map(ToString::to_string)
            .or(row.pinned.take());
        row.head = Some(distance.head.to_string());
        row.commits = distance.commits;
        row.gap_days = distance.gap.map(verdict::whole_days);
        let (mut state, mut reason) = verdict::judge(&distance, entry.max_gap);
        if self.simulate {
            (state, reason) = (
                State::Stale,
                Some("simulated by --simulate-stale".to_owned()),
            );
        }
        row.state = Some(state.as_str());
        row.reason = reason;
        Ok(state)
    }

    /// The other repository, and what it is asked with.
    fn remote(&self, entry: &Freshness, cx: &Context) -> Result<Remote, Stopped> {
        let other = OtherRepository {
            key: format!("freshness `{}`", entry.name),
            repository: &entry.repository,
            token_env: entry.token_env.as_deref(),
        };
        match other.reach(self.config, cx)? {
            Reach::At(remote) => Ok(remote),
            Reach::NoToken(why) if self.skip => Err(Stopped::Unconfigured(why)),
            Reach::NoToken(why) => {
                let problem = Error::new(Class::Denied, "denied", why)
                    .help("set it, or pass --if-unconfigured skip where it may be missing");
                Err(Errors::from(problem).into())
            }
        }
    }

    fn distance(
        &self,
        entry: &Freshness,
        remote: &Remote,
        pinned: Pinned,
        cx: &Context,
    ) -> Result<Distance, Stopped> {
        let scratch = scratch(cx)?;
        let (path, remote, branch) = (
            scratch.path().to_owned(),
            remote.clone(),
            entry.branch.clone(),
        );
        let work = async {
            tokio::task::spawn_blocking(move || {
                freshness::distance(&path, &remote, &branch, &pinned)
            })
            .await
        };
        let message = format!("comparing {} with {}", entry.name, entry.branch);
        let compared =
            cx.runtime()?
                .block_on(progress::while_waiting(cx.output.progress, &message, work));
        let compared =
            compared.map_err(|error| Errors::io(format!("the comparison broke off: {error}")))?;
        compared.map_err(|trouble| self.stopped(entry, &trouble))
    }

    fn stopped(&self, entry: &Freshness, trouble: &Trouble) -> Stopped {
        let what = format!("freshness `{}`: {}", entry.name, entry.repository);
        let (class, why, hint) = match trouble {
            Trouble::NoBranch => {
                let why = format!("there is no branch `{}`", entry.branch);
                (Class::Input, why, "correct `branch`".to_owned())
            }
            Trouble::Git(error @ GitError::Denied { .. }) if self.skip => {
                return Stopped::Unconfigured(error.to_string());
            }
            Trouble::Git(error @ GitError::Denied { .. }) => {
                let hint = match &entry.token_env {
                    Some(name) => {
                        format!("the token in {name} has to be allowed to read that repository")
                    }
                    None => "name a variable with a token in `token_env`".to_owned(),
                };
                (Class::Denied, error.to_string(), hint)
            }
            Trouble::Git(error) => (Class::Unavailable, error.to_string(), error.hint()),
        };
        Stopped::Errors(Error::about(class, what, why).help(hint).into())
    }

    /// Keeps the issue, if there is to be one; how the entry ends then.
    fn kept(
        &self,
        entry: &Freshness,
        state: State,
        row: &mut FreshnessRow,
        cx: &Context,
    ) -> Result<Exit, Stopped> {
        let alone = if state == State::Stale {
            Exit::Because(Class::Failed)
        } else {
            Exit::Done
        };
        let (Some(wanted), fate) = (&entry.issue, fate(state)) else {
            return Ok(alone);
        };
        let forge = match &self.issues {
            Issues::Nowhere => return Ok(alone),
            Issues::Skipped(_) if fate != Fate::Open => return Ok(alone),
            Issues::Skipped(why) => return Err(Stopped::Unconfigured(format!("no issue: {why}"))),
            Issues::At(forge) => forge,
        };
        let text = show::text(entry, row, &self.now);
        let wanted = Wanted {
            title: &wanted.title,
            text: &text,
            labels: &wanted.labels,
            fate,
        };
        let kept = set::wait(
            tracking_issue::keep(&**forge, &wanted),
            "keeping the issue",
            cx,
        )?;
        let kept = kept.map_err(|error| match error.class {
            Class::Denied if self.skip => Stopped::Unconfigured(error.to_string()),
            _ => Stopped::Errors(Errors::from(error)),
        })?;
        if let Some(kept) = kept {
            for warning in &kept.warnings {
                cx.output.error_text(&format!("warning: {warning}\n"));
            }
            let (number, url) = (kept.issue.number, kept.issue.url);
            row.issue = Some(IssueRow {
                number,
                url,
                state: kept.change,
            });
        }
        Ok(Exit::Done)
    }
}

/// What becomes of the issue: a head that is older than the pin is not what it was opened for, and
/// not its end either.
fn fate(state: State) -> Fate {
    match state {
        State::Stale => Fate::Open,
        State::Ahead => Fate::Keep,
        State::Fresh => Fate::Close,
    }
}
