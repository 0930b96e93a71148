//! `repin rehearse`: takes recorded sets through the checks of a rollback, and keeps one issue open while
//! a rollback would fail.

use std::fmt::Write as _;

use clap::Args;
use clap_complete::ArgValueCompleter;

use crate::{
    app::{
        cli::{
            args::{ApplyOptions, IfUnconfigured, whole_number},
            complete,
            context::Context,
            format::Format,
            output::Exit,
        },
        report::{json::RehearseDocument, rehearsal},
        workflow::{self, Access, MissingCredential, RehearsalChoice, connect_or_skip},
    },
    base::{
        error::{Class, Code, Error, Errors},
        untrusted::{markdown, plain, to_minute, workflow::Commands},
    },
    config::Config,
    core::checks::RehearsalVerdict,
    forge::{
        Forge,
        tracking_issue::{self, IssueAction, IssueChange, IssueSpec},
    },
    oci::date,
};

const HELP: &str = "\
Each set is taken through every check of a rollback, at the head of the base branch in the clone. Nothing is changed. Exit 0: \
the sets are ready; 1: one fails; 3 or 4: none is ready, and a registry was unavailable or refused access. With --apply, repin \
keeps the issue of `rehearse.issue` open while a set fails.

Examples:
  repin rehearse
  repin rehearse --last 0               # the current set
  repin rehearse --to 4f2a…             # one set, also an older one
  repin rehearse --apply                # in a scheduled job";

/// Run every check of a rollback to recorded sets, without a change
#[derive(Debug, Args)]
#[command(after_help = HELP, mut_arg("apply", |arg| arg.help("Open, update or close the issue")))]
pub(in crate::app::cli) struct Arguments {
    /// Rehearse the last N sets that are available for rollback; 0 is the current set [default:
    /// `rehearse.last`, or 3]
    #[arg(long, value_name = "N", value_parser = whole_number::<usize>, conflicts_with = "to")]
    last: Option<usize>,
    /// Rehearse the set of this revision, or of its first characters; may be repeated
    #[arg(
        long,
        value_name = "REV",
        allow_hyphen_values = true,
        add = ArgValueCompleter::new(complete::rollbacks)
    )]
    to: Vec<String>,
    #[command(flatten)]
    options: ApplyOptions,
    /// Skip instead of failing when a token or secret is missing, or a registry denies access
    #[arg(long, value_name = "ACTION")]
    if_unconfigured: Option<IfUnconfigured>,
}

/// The number of sets without `rehearse.last`.
const DEFAULT_LAST: usize = 3;

/// The name of the section in the issue.
const SECTION: &str = "rehearse";

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let may_apply = cx.may_change(args.options.apply, args.options.dry_run)?;
    let config = cx.load()?;
    cx.step_files()?;
    let choice = choice(args, &config);
    if args.options.apply || may_apply {
        check_issue_configured(&config)?;
    }
    let missing_credential = MissingCredential::from(args.if_unconfigured);
    let forge = match may_apply.then(|| connect(&config, missing_credential, cx)) {
        None => None,
        Some(Ok(Access::Granted(forge))) => Some(forge),
        Some(Ok(Access::NoToken(reason))) => return Ok(skip_all(&config, &reason, cx)),
        Some(Err(errors)) => return Err(errors),
    };
    let rehearsed = workflow::rehearse(&config, &choice, missing_credential, &cx.services);
    let document = match rehearsed {
        Ok(Access::Granted(document)) => document,
        Ok(Access::NoToken(reason)) => return Ok(skip_all(&config, &reason, cx)),
        Err(errors) => match denial(&errors, missing_credential) {
            Some(reason) => return Ok(skip_all(&config, &reason, cx)),
            None => return Err(errors),
        },
    };
    let now = to_minute(&date::format((cx.services.environment.clock)()));
    let issue = match &forge {
        Some(forge) => update_issue(forge, &config, &choice, &document, &now, cx),
        None => Ok(None),
    };
    Ok(report(&document, issue, missing_credential, &now, cx))
}

/// Reports a skipped run with a document without sets.
fn skip_all(config: &Config, reason: &str, cx: &mut Context) -> Exit {
    if cx.output.format == Format::Json {
        let document = RehearseDocument::new(config.set_path.clone(), Vec::new());
        cx.output.print_json(&document);
    }
    skip(reason, cx)
}

fn skip(reason: &str, cx: &mut Context) -> Exit {
    cx.output
        .write_stderr(&format!("skipped: {}\n", plain(reason)));
    cx.note_skip("rehearse", reason)
}

/// The reason of a refusal of access that skips the run.
fn denial(errors: &Errors, missing_credential: MissingCredential) -> Option<String> {
    let is_skipped =
        missing_credential == MissingCredential::Skip && errors.class() == Class::Denied;
    is_skipped.then(|| errors.by_cause()[0].text())
}

fn choice(args: &Arguments, config: &Config) -> RehearsalChoice {
    if !args.to.is_empty() {
        return RehearsalChoice::Named(args.to.clone());
    }
    match args.last.unwrap_or_else(|| configured_last(config)) {
        0 => RehearsalChoice::Current,
        last => RehearsalChoice::Last(last),
    }
}

fn configured_last(config: &Config) -> usize {
    let configured = config.rehearse.as_ref();
    configured.map_or(DEFAULT_LAST, |rehearse| rehearse.last)
}

fn check_issue_configured(config: &Config) -> Result<(), Errors> {
    let configured = config.rehearse.as_ref();
    if configured.is_some_and(|rehearse| rehearse.issue.is_some()) {
        return Ok(());
    }
    let message = "--apply maintains an issue, but the configuration has no `rehearse.issue`";
    let help = "add `rehearse: { issue: { title: \"Rollback is not ready\" } }`";
    Err(Error::input(Code::CONFIG, message).help(help).into())
}

fn connect(
    config: &Config,
    missing_credential: MissingCredential,
    cx: &Context,
) -> Result<Access<Forge>, Errors> {
    let access = connect_or_skip(config, missing_credential, &cx.services)?;
    if let Access::Granted(forge) = &access {
        cx.services
            .wait(forge.check_version(), "querying the forge's version")?;
    }
    Ok(access)
}

/// The action on the issue. A set that is unknown neither opens nor closes it, and a run for fewer sets than
/// configured does not close it.
fn action(document: &RehearseDocument, choice: &RehearsalChoice, config: &Config) -> IssueAction {
    let is_complete = match choice {
        RehearsalChoice::Last(last) => *last >= configured_last(config),
        RehearsalChoice::Current => configured_last(config) == 0,
        RehearsalChoice::Named(_) => false,
    };
    if document.failed > 0 {
        IssueAction::Open
    } else if document.unknown == 0 && document.ready > 0 && is_complete {
        IssueAction::Close
    } else {
        IssueAction::Update
    }
}

fn update_issue(
    forge: &Forge,
    config: &Config,
    choice: &RehearsalChoice,
    document: &RehearseDocument,
    now: &str,
    cx: &Context,
) -> Result<Option<IssueChange>, Errors> {
    let Some(issue) = config.rehearse.as_ref().and_then(|own| own.issue.as_ref()) else {
        return Ok(None);
    };
    let comment = rehearsal::closing_comment(document, now);
    let wanted = IssueSpec {
        section: SECTION,
        title: &issue.title,
        text: &|before| rehearsal::issue_text(document, before, now),
        labels: &issue.labels,
        action: action(document, choice, config),
        closing_comment: Some(&comment),
    };
    cx.services.interruption.changes(format!(
        "the issue `{}` may have been changed; run the command again",
        plain(wanted.title)
    ));
    let work = tracking_issue::apply(forge, &wanted);
    Ok(cx.services.wait(work, "updating the issue")?)
}

/// Prints the document or the table, the errors, and in every format the heartbeat.
fn report(
    document: &RehearseDocument,
    issue: Result<Option<IssueChange>, Errors>,
    missing_credential: MissingCredential,
    now: &str,
    cx: &mut Context,
) -> Exit {
    if let Some(warning) = rehearsal::warning(document) {
        cx.output.warn(&warning);
    }
    let lines = rehearsal::lines(document);
    match cx.output.format {
        Format::Json => cx.output.print_json(document),
        _ if lines.is_empty() => cx
            .output
            .note("nothing to rehearse: no set is available for rollback"),
        _ => cx.output.print(rehearsal::table(
            document,
            &(cx.services.environment.zone)(),
        )),
    }
    if cx.output.format == Format::Github {
        for (set, line) in document.sets.iter().zip(&lines) {
            if set.verdict == RehearsalVerdict::Fails {
                cx.output
                    .annotate(&Commands::error("rehearse", &plain(line), None));
            }
        }
    }
    let mut exit = Exit::Done;
    if let Some(error) = rehearsal::error(document) {
        let errors = Errors::from(error);
        exit = match denial(&errors, missing_credential) {
            Some(reason) => skip(&reason, cx),
            None => exit.worse(cx.output.report_errors_separately(&errors)),
        };
    }
    let issue = match issue {
        Ok(issue) => issue,
        Err(errors) => {
            exit = exit.worse(cx.output.report_errors_separately(&errors));
            None
        }
    };
    for warning in issue.iter().flat_map(|issue| &issue.warnings) {
        cx.output.warn(&plain(warning));
    }
    let summary = heartbeat(document, &lines, issue.as_ref(), now, cx);
    cx.summarize(&summary, exit)
}

/// Writes the totals to standard error; returns the step summary with each set.
fn heartbeat(
    document: &RehearseDocument,
    lines: &[String],
    issue: Option<&IssueChange>,
    now: &str,
    cx: &Context,
) -> String {
    let totals = rehearsal::totals(document);
    let issue = issue.map(|issue| format!("issue #{} {}", issue.issue.number, issue.change));
    for line in [Some(&totals), issue.as_ref()].into_iter().flatten() {
        let heartbeat = format!("rehearse: {line}; checked {now}");
        let heartbeat = cx.output.local(&plain(&heartbeat));
        cx.output.write_stderr(&format!("{heartbeat}\n"));
    }
    let mut lines = lines.to_vec();
    if lines.is_empty() {
        lines.push(totals);
    }
    let mut summary = String::from("### Rehearsal of rollbacks\n\n");
    for line in lines.into_iter().chain(issue) {
        let heartbeat = format!("{line}; checked {now}");
        let _ = writeln!(summary, "- {}", markdown::inline(&heartbeat));
    }
    summary
}
