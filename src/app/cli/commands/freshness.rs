//! `repin freshness`: reports the age of pinned references to other repositories, and keeps one
//! issue open for each stale reference.
//!
//! Entries are independent of each other, and every finished run prints a heartbeat.

use std::fmt::Write as _;

use clap::Args;

use crate::{
    app::{
        cli::{
            args::{ApplyOptions, IfUnconfigured, strict_bool},
            context::Context,
            format::Format,
            output::Exit,
        },
        report::{
            freshness::{IssueEntry, issue_text},
            json::{FreshnessDocument, FreshnessRow, IssueRow},
            layout::{Align, aligned},
        },
        workflow::{Access, OtherRepository, comparison_page, connect_or_skip},
    },
    base::{
        error::{Class, Code, Error, Errors},
        files::WorkTree,
        untrusted::{
            markdown, plain, to_minute,
            workflow::{Commands, Level},
        },
    },
    config::{Config, Freshness},
    core::{
        checks::freshness::{self as verdict, State},
        freshness::{self, Distance, Evidence, FreshnessError, PinnedReference},
    },
    forge::{
        Forge,
        tracking_issue::{self, IssueAction, IssueSpec},
    },
    git::{GitError, Remote},
    oci::date,
};

const HELP: &str = "\
A reference is stale when newer commits have changed its paths for longer than its max_gap. Exit 1 if one is stale. With \
--apply, repin instead opens one issue, keeps it up to date, closes it when the reference is fresh again, and exits 0.

Examples:
  repin freshness
  repin freshness --apply --if-unconfigured skip    # in a scheduled job
  repin freshness --apply --simulate-stale true     # rehearse; the next run closes the issue";

/// Report how far pinned references to other repositories lag behind
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// Treat every reference as stale, for a rehearsal; an empty BOOL means false
    #[arg(long, value_name = "BOOL", value_parser = bool_with_default_false, allow_hyphen_values = true)]
    simulate_stale: Option<bool>,
    /// Skip instead of failing when a token or permission is missing
    #[arg(long, value_name = "WHAT")]
    if_unconfigured: Option<IfUnconfigured>,
    #[command(flatten)]
    options: ApplyOptions,
}

/// The tracking of issues.
enum Issues {
    /// A dry run, or no issue is configured.
    Disabled,
    Enabled(Box<Forge>),
    /// The token is missing, which `--if-unconfigured skip` accepts.
    Skipped(String),
}

/// The values that the entries share.
struct Run<'a> {
    config: &'a Config,
    issues: Issues,
    simulate: bool,
    skip: bool,
    /// The time of the check, as text.
    now: String,
}

struct EntryResult {
    row: FreshnessRow,
    /// `None` if it could not be determined.
    state: Option<State>,
    evidence: Option<Evidence>,
    exit: Exit,
    errors: Option<Errors>,
}

/// An obstacle to the check of an entry.
enum Incomplete {
    /// A token or a permission is missing, which `--if-unconfigured skip` accepts.
    Unconfigured(String),
    Errors(Errors),
}

impl From<Errors> for Incomplete {
    fn from(errors: Errors) -> Self {
        Self::Errors(errors)
    }
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let apply = cx.may_change(args.options.apply, args.options.dry_run)?;
    let config = cx.load_without_images()?;
    if config.freshness.is_empty() {
        let error = Error::input(Code::CONFIG, "the configuration has no `freshness` block");
        let help = "add `freshness:` with the pinned reference and its repository";
        return Err(error.help(help).into());
    }
    let run = Run {
        config: &config,
        issues: issues(&config, args, apply, cx)?,
        simulate: args.simulate_stale == Some(true),
        skip: args.if_unconfigured.is_some(),
        now: to_minute(&date::format((cx.services.environment.clock)())),
    };
    let entries = config.freshness.iter();
    let mut results: Vec<_> = entries.map(|entry| run.check(entry, cx)).collect();
    run.update_issues(&mut results, cx);
    let mut document = FreshnessDocument {
        schema: "repin.freshness/1",
        entries: Vec::new(),
    };
    let (mut exit, mut errors) = (Exit::Done, Vec::new());
    for result in results {
        exit = exit.worse(result.exit);
        errors.extend(result.errors);
        document.entries.push(result.row);
    }
    Ok(report(&document, &run.now, exit, &errors, cx))
}

fn issues(config: &Config, args: &Arguments, apply: bool, cx: &Context) -> Result<Issues, Errors> {
    let mut entries = config.freshness.iter();
    if !apply || entries.all(|entry| entry.issue.is_none()) {
        return Ok(Issues::Disabled);
    }
    match connect_or_skip(config, args.if_unconfigured.into(), &cx.services)? {
        Access::Granted(forge) => {
            cx.services
                .wait(forge.check_version(), "querying the forge's version")?;
            Ok(Issues::Enabled(Box::new(forge)))
        }
        Access::NoToken(reason) => Ok(Issues::Skipped(reason)),
    }
}

impl Run<'_> {
    fn check(&self, entry: &Freshness, cx: &Context) -> EntryResult {
        let row = FreshnessRow {
            name: entry.name.clone(),
            pinned: None,
            head: None,
            commits: None,
            gap_days: None,
            state: None,
            reason: None,
            issue: None,
        };
        let mut result = EntryResult {
            row,
            state: None,
            evidence: None,
            exit: Exit::Done,
            errors: None,
        };
        if let Err(incomplete) = self.measure(entry, &mut result, cx) {
            result.add(incomplete);
        }
        if result.state == Some(State::Stale) {
            result.exit = Exit::Failed(Class::Failed);
        }
        result
    }

    /// Determines the state of an entry, and fills its row.
    fn measure(
        &self,
        entry: &Freshness,
        result: &mut EntryResult,
        cx: &Context,
    ) -> Result<(), Incomplete> {
        let row = &mut result.row;
        let pinned = freshness::read_pinned_reference(entry, &WorkTree::new(&self.config.root))
            .map_err(Errors::from)?;
        row.pinned = Some(pinned.name.clone());
        let remote = self.remote(entry, cx)?;
        let distance = self.distance(entry, &remote, pinned, cx)?;
        if let Some(pinned) = &distance.pinned {
            row.pinned = Some(pinned.to_string());
        }
        row.head = Some(distance.head.to_string());
        row.commits = distance.commits;
        row.gap_days = distance.gap.map(verdict::whole_days);
        let (state, reason) = if self.simulate {
            let reason = "simulated by --simulate-stale";
            (State::Stale, Some(reason.to_owned()))
        } else {
            verdict::judge(&distance, entry.max_gap)
        };
        row.state = Some(state.as_str());
        row.reason = reason;
        result.state = Some(state);
        result.evidence = Some(distance.evidence);
        Ok(())
    }

    /// The other repository, with its token.
    fn remote(&self, entry: &Freshness, cx: &Context) -> Result<Remote, Incomplete> {
        let other = OtherRepository {
            key: format!("freshness `{}`", entry.name),
            repository: &entry.repository,
            token_env: entry.token_env.as_deref(),
        };
        match other.remote(self.config, &cx.services)? {
            Access::Granted(remote) => Ok(remote),
            Access::NoToken(reason) if self.skip => Err(Incomplete::Unconfigured(reason)),
            Access::NoToken(reason) => {
                let error = Error::new(Class::Denied, Code::DENIED, reason)
                    .help("set the variable, or pass --if-unconfigured skip if it may be missing");
                Err(Errors::from(error).into())
            }
        }
    }

    fn distance(
        &self,
        entry: &Freshness,
        remote: &Remote,
        pinned: PinnedReference,
        cx: &Context,
    ) -> Result<Distance, Incomplete> {
        let scratch = cx.services.temporary_directory()?;
        let (path, remote, branch) = (
            scratch.path().to_owned(),
            remote.clone(),
            entry.branch.clone(),
        );
        let connections = cx.services.connections();
        let work = async {
            tokio::task::spawn_blocking(move || {
                freshness::measure_distance(&path, remote, connections, &branch, &pinned)
            })
            .await
        };
        let message = format!("comparing {} with {}", entry.name, entry.branch);
        let result = cx.services.wait(work, &message);
        result
            .map_err(|error| Errors::io(format!("the comparison was interrupted: {error}")))?
            .map_err(|error| self.incomplete(entry, &error))
    }

    fn incomplete(&self, entry: &Freshness, error: &FreshnessError) -> Incomplete {
        let subject = format!("freshness `{}`: {}", entry.name, entry.repository);
        let (class, reason, hint) = match error {
            FreshnessError::NoBranch => {
                let reason = format!("branch `{}` does not exist", entry.branch);
                (Class::Input, reason, "correct `branch`".to_owned())
            }
            FreshnessError::Git(error @ GitError::Denied { .. }) if self.skip => {
                return Incomplete::Unconfigured(error.to_string());
            }
            FreshnessError::Git(error @ GitError::Denied { .. }) => {
                let hint = match &entry.token_env {
                    Some(name) => format!("let the token in {name} read that repository"),
                    None => "set `token_env` to the variable with the token".to_owned(),
                };
                (Class::Denied, error.to_string(), hint)
            }
            FreshnessError::Git(error @ GitError::Failed { .. }) => {
                let hint = "check that `repository` of the entry exists and can be fetched";
                (Class::Unavailable, error.to_string(), hint.to_owned())
            }
            FreshnessError::Git(error) => (Class::Unavailable, error.to_string(), error.hint()),
        };
        Incomplete::Errors(Error::about(class, subject, reason).help(hint).into())
    }

    /// Updates each issue, which entries with the same title share.
    fn update_issues(&self, results: &mut [EntryResult], cx: &Context) {
        let mut titles: Vec<&str> = Vec::new();
        let issues = self.config.freshness.iter();
        for issue in issues.filter_map(|entry| entry.issue.as_ref()) {
            if !titles.contains(&issue.title.as_str()) {
                titles.push(&issue.title);
            }
        }
        for title in titles {
            let has_title = |entry: &Freshness| {
                let issue = entry.issue.as_ref();
                issue.is_some_and(|issue| issue.title == title)
            };
            let entries = self.config.freshness.iter().enumerate();
            let of_issue = entries.filter(|(_, entry)| has_title(entry));
            let indexes: Vec<_> = of_issue.map(|(index, _)| index).collect();
            let Some(action) = issue_action(indexes.iter().map(|index| results[*index].state))
            else {
                continue;
            };
            match self.update_issue(&indexes, action, results, cx) {
                Ok(row) => {
                    for index in indexes {
                        results[index].row.issue.clone_from(&row);
                        if results[index].state.is_some()
                            && !matches!(self.issues, Issues::Disabled)
                        {
                            results[index].exit = Exit::Done;
                        }
                    }
                }
                Err(Incomplete::Unconfigured(reason)) => {
                    for index in indexes {
                        if results[index].state.is_some() {
                            results[index].add(Incomplete::Unconfigured(reason.clone()));
                        }
                    }
                }
                Err(incomplete) => results[indexes[0]].add(incomplete),
            }
        }
    }

    /// Updates the issue of these entries; `None` if none is open or needed.
    fn update_issue(
        &self,
        indexes: &[usize],
        action: IssueAction,
        results: &[EntryResult],
        cx: &Context,
    ) -> Result<Option<IssueRow>, Incomplete> {
        let forge = match &self.issues {
            Issues::Disabled => return Ok(None),
            Issues::Skipped(_) if action != IssueAction::Open => return Ok(None),
            Issues::Skipped(reason) => {
                return Err(Incomplete::Unconfigured(format!("no issue: {reason}")));
            }
            Issues::Enabled(forge) => forge,
        };
        let Some(configured) = &self.config.freshness[indexes[0]].issue else {
            return Ok(None);
        };
        let mut entries = Vec::new();
        for index in indexes {
            let (entry, result) = (&self.config.freshness[*index], &results[*index]);
            let row = &result.row;
            let commits = row.pinned.as_deref().zip(row.head.as_deref());
            let commits = commits.filter(|_| row.commits.is_some());
            let page = commits.and_then(|(pinned, head)| {
                comparison_page(&entry.repository, pinned, head, self.config)
            });
            entries.push(IssueEntry {
                entry,
                row,
                evidence: result.evidence.as_ref(),
                comparison: page,
            });
        }
        let text = issue_text(&entries, &self.now);
        let wanted = IssueSpec {
            section: "freshness",
            title: &configured.title,
            text: &|_| text.clone(),
            labels: &configured.labels,
            action,
            closing_comment: None,
        };
        cx.services.interruption.changes(format!(
            "the issue `{}` may have been changed; run the command again",
            plain(wanted.title)
        ));
        let work = tracking_issue::apply(forge, &wanted);
        let updated = cx
            .services
            .wait(work, "updating the issue")
            .map_err(|error| match error.class {
                Class::Denied if self.skip => Incomplete::Unconfigured(error.to_string()),
                _ => Incomplete::Errors(Errors::from(error)),
            })?;
        Ok(updated.map(|updated| {
            for warning in &updated.warnings {
                cx.output.warn(warning);
            }
            IssueRow {
                number: updated.issue.number,
                url: updated.issue.url,
                state: updated.change,
            }
        }))
    }
}

impl EntryResult {
    /// Records an obstacle to the check of the entry, or to the update of its issue.
    fn add(&mut self, incomplete: Incomplete) {
        let row = &mut self.row;
        match incomplete {
            Incomplete::Unconfigured(reason) => {
                // The reason also contains the state, if it is known.
                let found = match (row.state, &row.reason) {
                    (Some(state), Some(reason)) => format!("{state} ({reason}), but "),
                    _ => String::new(),
                };
                row.reason = Some(found + &reason);
                row.state = Some("skipped");
                self.exit = Exit::Done;
            }
            Incomplete::Errors(errors) => {
                if row.reason.is_none() {
                    row.reason = errors.iter().next().map(ToString::to_string);
                }
                self.exit = Exit::from(&errors);
                self.errors = Some(errors);
            }
        }
    }
}

/// The action on an issue; `None` if the state of no entry is known. An entry that was not checked, or that is ahead
/// of its branch, neither opens nor closes it.
fn issue_action(states: impl Iterator<Item = Option<State>>) -> Option<IssueAction> {
    let states: Vec<_> = states.collect();
    if states.contains(&Some(State::Stale)) {
        Some(IssueAction::Open)
    } else if states.iter().all(|state| *state == Some(State::Fresh)) {
        Some(IssueAction::Close)
    } else if states.iter().any(Option::is_some) {
        Some(IssueAction::Update)
    } else {
        None
    }
}

/// Like [`strict_bool`], except that the empty string means `false`: a scheduled run has an empty input,
/// and must not simulate anything.
fn bool_with_default_false(text: &str) -> Result<bool, String> {
    match text {
        "" => Ok(false),
        text => strict_bool(text).map_err(|_| {
            "expected `true`, `false` or the empty string, which means `false`".to_owned()
        }),
    }
}

/// Prints the document or the table, and in every format the heartbeat.
fn report(
    document: &FreshnessDocument,
    now: &str,
    exit: Exit,
    errors: &[Errors],
    cx: &mut Context,
) -> Exit {
    match cx.output.format {
        Format::Json => cx.output.print_json(document),
        Format::Human | Format::Github | Format::Sarif | Format::Gitlab => {
            cx.output.print_text(&table(&document.entries));
        }
    }
    if cx.output.format == Format::Github && exit == Exit::Failed(Class::Failed) {
        for row in &document.entries {
            if row.state == Some("stale") && row.issue.is_none() {
                cx.output
                    .annotate(&Commands::error("freshness", &line(row), None));
            }
        }
    }
    if cx.output.format == Format::Github {
        let skipped = document.entries.iter();
        for row in skipped.filter(|row| row.state == Some("skipped")) {
            let mut notice = Commands::default();
            notice.annotate(Level::Notice, "freshness was skipped", &line(row), None);
            cx.output.annotate(&notice);
        }
    }
    for errors in errors {
        cx.output.report_errors_separately(errors);
    }
    for row in &document.entries {
        if row.state == Some("ahead") {
            let (name, reason) = (&row.name, row.reason.as_deref().unwrap_or_default());
            cx.output.warn(&plain(&format!("{name}: {reason}")));
        }
    }
    let mut summary = String::from("### Freshness\n\n");
    for row in &document.entries {
        let heartbeat = format!("{}; checked {now}", line(row));
        let shown = cx.output.local(&plain(&heartbeat));
        cx.output.write_stderr(&format!("freshness: {shown}\n"));
        let _ = writeln!(summary, "- {}", markdown::inline(&heartbeat));
    }
    cx.summarize(&summary, exit)
}

/// The result of an entry, on one line.
fn line(row: &FreshnessRow) -> String {
    let refs = format!(
        "{} → {}",
        short(row.pinned.as_ref()),
        short(row.head.as_ref())
    );
    let distance = match (row.commits, row.gap_days) {
        (Some(commits), Some(days)) => format!(", commits: {commits}, days: {days}"),
        _ => String::new(),
    };
    let reason = match &row.reason {
        Some(reason) => format!(" ({reason})"),
        None => String::new(),
    };
    let issue = match &row.issue {
        Some(issue) => format!(", issue #{} {}", issue.number, issue.state),
        None => String::new(),
    };
    format!(
        "{}: {}{reason}: {refs}{distance}{issue}",
        row.name,
        row.state.unwrap_or("not checked")
    )
}

fn short(commit: Option<&String>) -> String {
    match commit {
        Some(commit) => commit.chars().take(12).collect(),
        None => "?".to_owned(),
    }
}

fn table(rows: &[FreshnessRow]) -> String {
    let heading = [
        "NAME", "STATE", "PINNED", "HEAD", "COMMITS", "DAYS", "ISSUE", "REASON",
    ];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    for row in rows {
        let issue = row.issue.as_ref();
        lines.push(vec![
            plain(&row.name),
            row.state.unwrap_or("-").to_owned(),
            plain(&short(row.pinned.as_ref())),
            short(row.head.as_ref()),
            or_dash(row.commits.map(|commits| commits.to_string())),
            or_dash(row.gap_days.map(|days| days.to_string())),
            or_dash(issue.map(|issue| format!("#{} {}", issue.number, issue.state))),
            plain(row.reason.as_deref().unwrap_or_default()),
        ]);
    }
    let left = Align::Left;
    aligned(
        &[
            left,
            left,
            left,
            left,
            Align::Right,
            Align::Right,
            left,
            left,
        ],
        &lines,
    )
}
