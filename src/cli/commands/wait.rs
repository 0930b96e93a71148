//! `repin wait`: wait until a pull request is merged or closed; after a merge, start the configured
//! workflows.
//!
//! The permission to start them is checked before the waiting, so that nobody waits for a refusal.

use crate::{
    cli::{args, context::Context, exit::Exit, format::Format, github::token},
    code::Code,
    config::{Config, Forge as Configured},
    error::{Class, Error, Errors, usage},
    forge::{Ability, Forge, Pull, PullState},
    pull_request::{
        dispatch, merging,
        waiting::{
            MergeObstacle, MergeSchedule, Pace, TimeoutState, WaitOutcome, WaitTarget, Waiting,
        },
    },
    report::json::WaitDocument,
    untrusted::plain,
    workflow::{Access, Candidate, candidate, connect_or_skip},
};

pub(in crate::cli) fn run(args: &args::Wait, cx: &mut Context) -> Result<Exit, Errors> {
    let forbidden = args.dry_run == Some(true) || cx.dry_run_forced()?;
    let config = cx.load()?;
    let (number, dispatched) = (args.pr, Vec::new());
    let mut document = WaitDocument {
        schema: "repin.wait/1",
        number,
        state: None,
        merge_commit: None,
        dispatched,
    };
    cx.services
        .forge_deadline
        .replace(args.timeout, "--timeout");
    let forge = match connect_or_skip(&config, args.if_unconfigured.into(), &cx.services)? {
        Access::Granted(forge) => forge,
        Access::NoToken(why) => {
            cx.output.error_text(&format!("skipped: {why}\n"));
            return Ok(report(&document, None, cx));
        }
    };
    cx.services
        .wait(forge.supported(), "querying the forge's version")??;
    let configured = config.forge_or_default();
    let workflows = workflows(&*forge, &configured, forbidden, cx)?;
    let note = |text: &str| cx.output.note(&format!("note: #{number}: {text}"));
    let watch = WaitTarget {
        number,
        pace: Pace::until(args.timeout),
        schedule: None,
        report: &note,
    };
    let merges = configured.auto_merge && !forbidden;
    let waited = watched(&*forge, watch, &config, merges, cx)?;
    let fault = match waited {
        WaitOutcome::Absent => return Err(usage(format!("--pr: #{number} does not exist"))),
        WaitOutcome::Merged(pull, commit) => {
            document.state = Some("merged");
            document.merge_commit = commit;
            start(&*forge, &pull, &workflows, &mut document, cx)?
        }
        WaitOutcome::Closed(pull) => {
            document.state = Some("closed");
            Some(closed(&pull))
        }
        WaitOutcome::Stuck(pull, why) => {
            document.state = Some("open");
            Some(stuck(&pull, &why))
        }
        WaitOutcome::Removed(pull, reason) => {
            document.state = Some("open");
            Some(removed(&pull, reason.as_deref()))
        }
        WaitOutcome::Refused(error) => {
            document.state = Some("open");
            Some(Errors::from(error))
        }
        WaitOutcome::OutOfTime(late) => {
            document.state = Some(if late.answered { "open" } else { "unknown" });
            Some(out_of_time(args, late))
        }
    };
    Ok(report(&document, fault, cx))
}

/// Waits for the pull request; `merges`: whether repin schedules its merge if something permits it.
fn watched(
    forge: &dyn Forge,
    watch: WaitTarget<'_>,
    config: &Config,
    merges: bool,
    cx: &Context,
) -> Result<WaitOutcome, Errors> {
    let services = &cx.services;
    let message = format!("waiting for #{}", watch.number);
    let mut waiting = Waiting::default();
    if let Some(ended) = services.wait(waiting.read(forge, &watch), &message)?? {
        return Ok(ended);
    }
    let open = waiting.pull().filter(|pull| pull.state == PullState::Open);
    let permitted = match open.filter(|_| merges) {
        Some(pull) => candidate(pull, config, forge, services)?,
        None => Candidate::Unmarked,
    };
    match (&permitted, waiting.pull()) {
        (Candidate::Refused(error), Some(pull)) => {
            let disarmed = merging::disarm(forge, pull, error.clone());
            let error = services.wait(disarmed, "canceling the scheduled merge")?;
            return Ok(WaitOutcome::Refused(error));
        }
        (Candidate::Unverified(error), _) => return Ok(WaitOutcome::Refused(error.clone())),
        _ => {}
    }
    let gates = permitted.gates(config);
    let schedule = permitted.permission().map(|permission| MergeSchedule {
        gates: &gates,
        permission,
    });
    let watch = WaitTarget { schedule, ..watch };
    services
        .wait(waiting.until_merged(forge, &watch), &message)?
        .map_err(Errors::from)
}

/// The workflows to start after the merge.
fn workflows(
    forge: &dyn Forge,
    configured: &Configured,
    forbidden: bool,
    cx: &Context,
) -> Result<Vec<String>, Errors> {
    let wanted = &configured.dispatch;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    if forbidden {
        cx.output.note(&format!(
            "dry run: after a merge {} would be started",
            wanted.join(", ")
        ));
        return Ok(Vec::new());
    }
    match cx
        .services
        .wait(dispatch::able(forge, wanted), "checking permissions")??
    {
        Ability::Yes => Ok(wanted.clone()),
        Ability::No(why) => {
            cx.output.note(&format!(
                "note: {} need not be started: {why}",
                wanted.join(", ")
            ));
            Ok(Vec::new())
        }
    }
}

/// Starts each workflow that no other run starts; one failure does not stop the others.
fn start(
    forge: &dyn Forge,
    pull: &Pull,
    workflows: &[String],
    document: &mut WaitDocument,
    cx: &Context,
) -> Result<Option<Errors>, Errors> {
    let mut worst: Option<Errors> = None;
    if document.merge_commit.is_none() && !workflows.is_empty() {
        let head = cx
            .services
            .wait(forge.branch(&pull.base), "reading the base branch")??;
        document.merge_commit = head.map(|head| head.commit);
    }
    let commit = document.merge_commit.clone().unwrap_or_default();
    let word = token()?;
    for workflow in workflows {
        cx.services.interruption.changes(format!(
            "{} may have been started; run the command again",
            plain(workflow)
        ));
        let started = dispatch::once(forge, pull, workflow, &commit, &word);
        match cx.services.wait(started, &format!("starting {workflow}"))? {
            Ok(true) => document.dispatched.push(workflow.clone()),
            Ok(false) => cx.output.note(&format!(
                "note: another run started {workflow}, or is starting it"
            )),
            Err(error) => {
                let fault = Errors::from(error);
                worst = Some(match worst {
                    None => fault,
                    Some(mut all) => {
                        all.extend(fault);
                        all
                    }
                });
            }
        }
    }
    if !document.dispatched.is_empty()
        && let Err(error) = cx
            .services
            .wait(forge.expire_claims(), "deleting old markers")?
    {
        cx.output
            .error_text(&format!("warning: cannot delete old markers: {error}\n"));
    }
    Ok(worst)
}

fn closed(pull: &Pull) -> Errors {
    let message = format!(
        "pull request #{} ({}) was closed without being merged",
        pull.number, pull.url
    );
    Errors::from(Error::failed(Code::CONFLICT, message))
}

fn removed(pull: &Pull, reason: Option<&str>) -> Errors {
    let reason = reason.map_or_else(String::new, |reason| format!(": {}", plain(reason)));
    let message = format!(
        "pull request #{} ({}) was removed from the merge queue of {}{reason}",
        pull.number, pull.url, pull.base
    );
    let hint = "fix the cause, return the pull request to the queue, then wait again";
    Errors::from(Error::failed(Code::CONFLICT, message).help(hint))
}

/// How many files of a conflict are listed.
const FILES_SHOWN: usize = 20;

fn stuck(pull: &Pull, why: &MergeObstacle) -> Errors {
    let (number, url, base) = (pull.number, &pull.url, &pull.base);
    let MergeObstacle::Conflict(files) = why else {
        let message = format!(
            "the forge has not reported pull request #{number} ({url}) as mergeable for two minutes, although no file was changed on both sides; its conflict check probably hangs"
        );
        let hint = "restart the check: push to the branch, or close the pull request and promote again with --reopen";
        return Errors::from(Error::failed(Code::CONFLICT, message).help(hint));
    };
    let message = format!("pull request #{number} ({url}) conflicts with {base}");
    let mut problem = Error::failed(Code::CONFLICT, message).help(format!(
        "run the promote or rollback again: it rebuilds the branch from {base}"
    ));
    let shown = files.iter().take(FILES_SHOWN);
    problem.notes = shown
        .map(|path| format!("changed on both sides: {path}"))
        .collect();
    if files.len() > FILES_SHOWN {
        let more = files.len() - FILES_SHOWN;
        problem.notes.push(format!("and {more} more files"));
    }
    Errors::from(problem)
}

fn out_of_time(args: &args::Wait, late: TimeoutState) -> Errors {
    let seconds = args.timeout.as_secs();
    let limited = late.trouble.as_ref().filter(|e| e.class == Class::Limited);
    if let Some(error) = limited {
        return Errors::from(error.clone());
    }
    let message = if late.answered {
        format!(
            "pull request #{} was not merged within {seconds} s",
            args.pr
        )
    } else {
        format!(
            "the forge reported nothing about pull request #{} within {seconds} s",
            args.pr
        )
    };
    let mut problem = Error::new(Class::Unavailable, Code::UNAVAILABLE, message)
        .help("wait again, if necessary with a longer --timeout");
    let trouble = late
        .trouble
        .map(|error| format!("the last request: {error}"));
    problem.notes.extend(trouble);
    Errors::from(problem)
}

fn report(document: &WaitDocument, fault: Option<Errors>, cx: &mut Context) -> Exit {
    if cx.output.format == Format::Json {
        cx.output.json(document);
    } else if let Some(state) = document.state {
        let commit = document
            .merge_commit
            .as_ref()
            .map_or_else(String::new, |commit| format!(" as {commit}"));
        cx.output
            .print(format!("#{} {state}{commit}\n", document.number));
        for workflow in &document.dispatched {
            cx.output.print(format!("started {workflow}\n"));
        }
    }
    let Some(fault) = fault else {
        return Exit::Done;
    };
    cx.output.fault_beside(&fault);
    Exit::from(&fault)
}
