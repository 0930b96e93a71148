//! `repin freshness`: report how far pinned references to other repositories lag behind, and keep
//! one issue open while they do.
//!
//! Each entry is judged independently of the others, and every finished run leaves a heartbeat.

mod show;

use std::time::SystemTime;

use crate::{
    checks::freshness::{self as verdict, State},
    cli::{args, context::Context, exit::Exit},
    code::Code,
    config::{Config, Freshness},
    error::{Class, Error, Errors},
    files::WorkTree,
    forge::{
        Forge,
        tracking_issue::{self, IssueAction, IssueSpec},
    },
    freshness::{self, Distance, FreshnessError, PinnedReference},
    git::{GitError, Remote},
    report::json::{FreshnessDocument, FreshnessRow, IssueRow},
    untrusted::plain,
    workflow::{Access, OtherRepository, connect_or_skip, temporary_directory},
};

/// Where issues are kept.
enum Issues {
    /// Nowhere: a dry run, or no issue is configured.
    Nowhere,
    At(Box<dyn Forge>),
    /// The token is missing, and `--if-unconfigured skip` accepts that.
    Skipped(String),
}

/// The values that all entries share.
struct Run<'a> {
    config: &'a Config,
    issues: Issues,
    simulate: bool,
    skip: bool,
    /// The time of the check, for people.
    now: String,
}

/// The result of one entry.
struct Checked {
    row: FreshnessRow,
    exit: Exit,
    fault: Option<Errors>,
}

/// The reason why an entry was not judged.
enum Stopped {
    /// A token or a permission is missing, and `--if-unconfigured skip` accepts that.
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
        let problem = Error::input(Code::CONFIG, "the configuration has no `freshness` block");
        return Err(Errors::from(problem.help(
            "add `freshness:` with the pinned reference and its repository",
        )));
    }
    let skip = args.if_unconfigured.is_some();
    let wanted = apply && config.freshness.iter().any(|entry| entry.issue.is_some());
    let issues = match wanted
        .then(|| connect_or_skip(&config, args.if_unconfigured.into(), &cx.services))
        .transpose()?
    {
        None => Issues::Nowhere,
        Some(Access::Granted(forge)) => {
            cx.services
                .wait(forge.supported(), "querying the forge's version")??;
            Issues::At(forge)
        }
        Some(Access::NoToken(why)) => Issues::Skipped(why),
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

    /// The state of an entry.
    fn judged(
        &self,
        entry: &Freshness,
        row: &mut FreshnessRow,
        cx: &Context,
    ) -> Result<State, Stopped> {
        let pinned = freshness::read_pinned_reference(entry, &WorkTree::new(&self.config.root))
            .map_err(Errors::from)?;
        row.pinned = Some(pinned.name.clone());
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

    /// The other repository, with its token.
    fn remote(&self, entry: &Freshness, cx: &Context) -> Result<Remote, Stopped> {
        let other = OtherRepository {
            key: format!("freshness `{}`", entry.name),
            repository: &entry.repository,
            token_env: entry.token_env.as_deref(),
        };
        match other.remote(self.config, &cx.services)? {
            Access::Granted(remote) => Ok(remote),
            Access::NoToken(why) if self.skip => Err(Stopped::Unconfigured(why)),
            Access::NoToken(why) => {
                let problem = Error::new(Class::Denied, Code::DENIED, why)
                    .help("set the variable, or pass --if-unconfigured skip if it may be missing");
                Err(Errors::from(problem).into())
            }
        }
    }

    fn distance(
        &self,
        entry: &Freshness,
        remote: &Remote,
        pinned: PinnedReference,
        cx: &Context,
    ) -> Result<Distance, Stopped> {
        let scratch = temporary_directory(&cx.services)?;
        let (path, remote, branch) = (
            scratch.path().to_owned(),
            remote.clone(),
            entry.branch.clone(),
        );
        let work = async {
            tokio::task::spawn_blocking(move || {
                freshness::measure_distance(&path, &remote, &branch, &pinned)
            })
            .await
        };
        let message = format!("comparing {} with {}", entry.name, entry.branch);
        let compared = cx.services.wait(work, &message)?;
        let compared = compared
            .map_err(|error| Errors::io(format!("the comparison was interrupted: {error}")))?;
        compared.map_err(|trouble| self.stopped(entry, &trouble))
    }

    fn stopped(&self, entry: &Freshness, trouble: &FreshnessError) -> Stopped {
        let what = format!("freshness `{}`: {}", entry.name, entry.repository);
        let (class, why, hint) = match trouble {
            FreshnessError::NoBranch => {
                let why = format!("branch `{}` does not exist", entry.branch);
                (Class::Input, why, "correct `branch`".to_owned())
            }
            FreshnessError::Git(error @ GitError::Denied { .. }) if self.skip => {
                return Stopped::Unconfigured(error.to_string());
            }
            FreshnessError::Git(error @ GitError::Denied { .. }) => {
                let hint = match &entry.token_env {
                    Some(name) => {
                        format!("let the token in {name} read that repository")
                    }
                    None => "name the variable that holds a token in `token_env`".to_owned(),
                };
                (Class::Denied, error.to_string(), hint)
            }
            FreshnessError::Git(error @ GitError::Failed { .. }) => {
                let hint = "check that `repository` of the entry exists and can be fetched";
                (Class::Unavailable, error.to_string(), hint.to_owned())
            }
            FreshnessError::Git(error) => (Class::Unavailable, error.to_string(), error.hint()),
        };
        Stopped::Errors(Error::about(class, what, why).help(hint).into())
    }

    /// Updates the issue, if one is configured; gives the final state of the entry.
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
            Issues::Skipped(_) if fate != IssueAction::Open => return Ok(alone),
            Issues::Skipped(why) => return Err(Stopped::Unconfigured(format!("no issue: {why}"))),
            Issues::At(forge) => forge,
        };
        let text = show::text(entry, row, &self.now);
        let wanted = IssueSpec {
            title: &wanted.title,
            text: &text,
            labels: &wanted.labels,
            fate,
        };
        cx.services.interruption.changes(format!(
            "the issue `{}` may have been changed; run the command again",
            plain(wanted.title)
        ));
        let kept = cx.services.wait(
            tracking_issue::keep(&**forge, &wanted),
            "updating the issue",
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

/// The new state of the issue. A head older than the pin neither opens nor closes it.
fn fate(state: State) -> IssueAction {
    match state {
        State::Stale => IssueAction::Open,
        State::Ahead => IssueAction::Keep,
        State::Fresh => IssueAction::Close,
    }
}
