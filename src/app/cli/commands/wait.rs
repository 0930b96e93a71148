//! `repin wait`: polls until a pull request is merged or closed; after a merge, starts the
//! configured workflows.
//!
//! The permission to start workflows is checked before the first poll, so that a refusal is
//! reported immediately.

use std::time::Duration;

use clap::Args;

use crate::{
    app::{
        cli::{
            args::{IfUnconfigured, duration, strict_bool, whole_number},
            context::Context,
            format::Format,
            output::Exit,
            write_file::random_id,
        },
        pull_request::{
            ForgeRepository, merging,
            waiting::{
                MergeObstacle, MergeSchedule, PollSchedule, TimeoutState, WaitOutcome, WaitTarget,
                Waiting,
            },
        },
        report::{branch, github::error_lines, json::WaitDocument},
        workflow::{Access, MergeCandidate, candidate, connect_repository_or_skip},
    },
    base::{
        error::{Class, Code, Error, Errors, usage},
        untrusted::plain,
    },
    config::{Config, Forge as Configured},
    forge::{Ability, Forge, Pull, PullState},
};

const HELP: &str = "\
Exit 0: merged; 1: closed, in conflict, or removed from the merge queue; 3: still open at the timeout, or not verified; 5: not the approved set. \
After a merge, repin starts the workflows in forge.dispatch if the forge does not start them itself. They are started once, \
even if several runs wait for the same pull request.

Example:
  repin wait --pr 7 --timeout 30m";

/// Wait for a pull request to be merged, then start the configured workflows
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// Number of the pull request
    #[arg(long, value_name = "N", value_parser = pull_request_number)]
    pr: u64,
    /// Give up after this time: 90s, 30m, 2h
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30m")]
    timeout: Duration,
    /// Skip instead of failing when a token is missing
    #[arg(long, value_name = "WHAT")]
    if_unconfigured: Option<IfUnconfigured>,
    /// Only wait; change nothing on the forge; an omitted or empty BOOL means true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, num_args = 0..=1, default_missing_value = "true")]
    dry_run: Option<bool>,
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let result = wait_and_report(args, cx);
    cx.summarize_errors(&format!("Pull request {}", args.pr), result)
}

fn wait_and_report(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let is_dry_run = args.dry_run == Some(true) || cx.is_dry_run_forced()?;
    let config = cx.load_without_images()?;
    let number = args.pr;
    let mut document = WaitDocument {
        schema: "repin.wait/1",
        number,
        state: None,
        merge_commit: None,
        dispatched: Vec::new(),
    };
    cx.services
        .forge_deadline
        .replace(args.timeout, "--timeout");
    let repository =
        match connect_repository_or_skip(&config, args.if_unconfigured.into(), &cx.services)? {
            Access::Granted(repository) => repository,
            Access::NoToken(reason) => {
                cx.output.write_stderr(&format!("skipped: {reason}\n"));
                print(&document, cx, "");
                return Ok(cx.note_skip("wait", &reason));
            }
        };
    let forge = &repository.forge;
    cx.services
        .wait(forge.check_version(), "querying the forge's version")?;
    let configured = config.forge_or_default();
    let workflows = workflows(forge, &configured, is_dry_run, cx)?;
    let mark = forge.words().mark(number);
    let note = |text: &str| cx.output.note(&format!("note: {mark}: {text}"));
    let target = WaitTarget {
        number,
        pace: PollSchedule::until(args.timeout),
        schedule: None,
        report: &note,
    };
    let schedules_merge = configured.auto_merge && !is_dry_run;
    let errors = match wait(&repository, target, &config, schedules_merge, cx)? {
        WaitOutcome::Absent => return Err(usage(format!("--pr: {mark} does not exist"))),
        WaitOutcome::Merged(pull, commit) => {
            document.state = Some("merged");
            document.merge_commit = commit;
            start_workflows(forge, &pull, &workflows, &mut document, cx)?
        }
        WaitOutcome::Closed(pull) => {
            document.state = Some("closed");
            Some(closed(&pull))
        }
        WaitOutcome::Stuck(pull, obstacle) => {
            document.state = Some("open");
            Some(stuck(&pull, &obstacle))
        }
        WaitOutcome::Removed(pull, reason) => {
            document.state = Some("open");
            Some(removed(&pull, reason.as_deref()))
        }
        WaitOutcome::Refused(error) => {
            document.state = Some("open");
            Some(Errors::from(error))
        }
        WaitOutcome::OutOfTime(state) => {
            document.state = Some(if state.answered { "open" } else { "unknown" });
            Some(out_of_time(args, &forge.words().name(number), state))
        }
    };
    Ok(report(&document, errors, cx, &mark))
}

/// Polls the pull request, and schedules its merge if `schedules_merge` and the pull request is
/// permitted.
fn wait(
    repository: &ForgeRepository,
    target: WaitTarget<'_>,
    config: &Config,
    schedules_merge: bool,
    cx: &Context,
) -> Result<WaitOutcome, Errors> {
    let (services, forge) = (&cx.services, &repository.forge);
    let message = format!("waiting for {}", forge.words().mark(target.number));
    let mut waiting = Waiting::default();
    if let Some(ended) = services.wait(waiting.read(repository, &target), &message)? {
        return Ok(ended);
    }
    let open = waiting.pull().filter(|pull| pull.state == PullState::Open);
    let permitted = match open.filter(|_| schedules_merge) {
        Some(pull) => candidate(pull, config, forge, services)?,
        None => MergeCandidate::Unmarked,
    };
    match (&permitted, waiting.pull()) {
        (MergeCandidate::Refused(error), Some(pull)) => {
            let work = merging::disable_auto_merge(forge, pull, error.clone());
            let error = services.wait(work, "canceling the scheduled merge");
            return Ok(WaitOutcome::Refused(error));
        }
        (MergeCandidate::OtherSet(error) | MergeCandidate::Unverified(error), _) => {
            return Ok(WaitOutcome::Refused(error.clone()));
        }
        _ => {}
    }
    let gates = permitted.gates(config);
    let schedule = permitted.permission().map(|permission| MergeSchedule {
        gates: &gates,
        permission,
    });
    let target = WaitTarget { schedule, ..target };
    services
        .wait(waiting.until_merged(repository, &target), &message)
        .map_err(Errors::from)
}

/// The workflows to start after the merge.
fn workflows(
    forge: &Forge,
    configured: &Configured,
    is_dry_run: bool,
    cx: &Context,
) -> Result<Vec<String>, Errors> {
    let wanted = &configured.dispatch;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    if is_dry_run {
        cx.output.note(&format!(
            "dry run: after a merge {} would be started",
            wanted.join(", ")
        ));
        return Ok(Vec::new());
    }
    match cx
        .services
        .wait(merging::able(forge, wanted), "checking permissions")?
    {
        Ability::Yes => Ok(wanted.clone()),
        Ability::No(reason) => {
            cx.output.note(&format!(
                "note: {} need not be started: {reason}",
                wanted.join(", ")
            ));
            Ok(Vec::new())
        }
    }
}

/// Starts each workflow that no other run starts; a failure does not prevent the others.
fn start_workflows(
    forge: &Forge,
    pull: &Pull,
    workflows: &[String],
    document: &mut WaitDocument,
    cx: &Context,
) -> Result<Option<Errors>, Errors> {
    let mut errors = Vec::new();
    if document.merge_commit.is_none() && !workflows.is_empty() {
        let head = cx
            .services
            .wait(forge.branch(&pull.base), "reading the base branch")?;
        document.merge_commit = head;
    }
    let commit = document.merge_commit.clone().unwrap_or_default();
    let claim = random_id()?;
    for workflow in workflows {
        cx.services.interruption.changes(format!(
            "{} may have been started; run the command again",
            plain(workflow)
        ));
        let started = merging::once(forge, pull, workflow, &commit, &claim);
        match cx.services.wait(started, &format!("starting {workflow}")) {
            Ok(true) => document.dispatched.push(workflow.clone()),
            Ok(false) => cx.output.note(&format!(
                "note: another run started {workflow}, or is starting it"
            )),
            Err(error) => errors.push(error),
        }
    }
    if !document.dispatched.is_empty()
        && let Err(error) = cx
            .services
            .wait(forge.delete_old_claims(), "deleting old markers")
    {
        cx.output
            .write_stderr(&format!("warning: cannot delete old markers: {error}\n"));
    }
    Ok((!errors.is_empty()).then(|| errors.into()))
}

fn closed(pull: &Pull) -> Errors {
    let message = format!(
        "{} ({}) was closed without being merged",
        pull.name(),
        pull.url
    );
    Errors::from(Error::failed(Code::CONFLICT, message))
}

fn removed(pull: &Pull, reason: Option<&str>) -> Errors {
    let reason = reason.map_or_else(String::new, |reason| format!(": {}", plain(reason)));
    let message = format!(
        "{} ({}) was removed from the merge queue of {}{reason}",
        pull.name(),
        pull.url,
        pull.base
    );
    let hint = "fix the cause, return the pull request to the queue, then wait again";
    Errors::from(Error::failed(Code::CONFLICT, message).help(hint))
}

/// The number of files of a conflict that are listed.
const MAX_FILES: usize = 20;

fn stuck(pull: &Pull, obstacle: &MergeObstacle) -> Errors {
    let (name, url, base) = (pull.name(), &pull.url, &pull.base);
    let MergeObstacle::Conflict(files) = obstacle else {
        let message = format!(
            "the forge has not reported {name} ({url}) as mergeable for two minutes, although no file was changed on both sides; its conflict check probably hangs"
        );
        let hint =
            "restart the check: push to the branch, or close it and promote again with --reopen";
        return Errors::from(Error::failed(Code::CONFLICT, message).help(hint));
    };
    let message = format!("{name} ({url}) conflicts with {base}");
    let mut error = Error::failed(Code::CONFLICT, message).help(format!(
        "run the promotion or rollback again: it rebuilds the branch from {base}"
    ));
    for path in files.iter().take(MAX_FILES) {
        error.notes.push(format!("changed on both sides: {path}"));
    }
    if files.len() > MAX_FILES {
        let omitted = files.len() - MAX_FILES;
        error.notes.push(format!("and {omitted} more files"));
    }
    Errors::from(error)
}

fn out_of_time(args: &Arguments, name: &str, state: TimeoutState) -> Errors {
    let seconds = args.timeout.as_secs();
    if let Some(error) = &state.trouble
        && error.class == Class::Limited
    {
        return Errors::from(error.clone());
    }
    let message = if state.answered {
        format!("{name} was not merged within {seconds} s")
    } else {
        format!("the forge reported nothing about {name} within {seconds} s")
    };
    let mut error = Error::new(Class::Unavailable, Code::UNAVAILABLE, message)
        .help("wait again, if necessary with a longer --timeout");
    if let Some(last) = state.trouble {
        error.notes.push(format!("the last request: {last}"));
    }
    Errors::from(error)
}

fn report(document: &WaitDocument, errors: Option<Errors>, cx: &mut Context, mark: &str) -> Exit {
    print(document, cx, mark);
    let mut exit = Exit::Done;
    let mut summary = branch::wait_summary(document);
    if let Some(errors) = errors {
        exit = cx.output.report_errors_separately(&errors);
        summary = summary + "\n" + &error_lines(&errors);
    }
    cx.summarize(&summary, exit)
}

fn print(document: &WaitDocument, cx: &mut Context, mark: &str) {
    if cx.output.format == Format::Json {
        cx.output.print_json(document);
    } else if let Some(state) = document.state {
        let commit = match &document.merge_commit {
            Some(commit) => format!(" as {commit}"),
            None => String::new(),
        };
        cx.output.print(format!("{mark} {state}{commit}\n"));
        for workflow in &document.dispatched {
            cx.output.print(format!("started {workflow}\n"));
        }
    }
}

fn pull_request_number(text: &str) -> Result<u64, String> {
    match whole_number(text)? {
        0 => Err("pull requests are numbered from 1".to_owned()),
        number => Ok(number),
    }
}
