//! `repin wait`: until a pull request is merged or closed; after a merge, the workflows that the
//! forge does not start.
//!
//! Whether they can be started is looked at before the waiting, so that nobody waits for a refusal.

use super::set;
use crate::{
    cli::{
        args,
        context::Context,
        exit::{Exit, usage},
        forge::connect_or_skip,
        github::token,
        output::Format,
    },
    config::Forge as Configured,
    error::{Class, Error, Errors},
    forge::{Ability, Forge, Pull},
    pins::Finder,
    plan::only_pins_differ,
    pull_request::{
        dispatch,
        waiting::{self, Arm, Late, Pace, Stuck, Waited, Watch},
    },
    report::json::WaitDocument,
    untrusted::plain,
};

/// How the run ends, and what is wrong if something is.
type Ended = (Exit, Option<Errors>);

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
    cx.forge_time.replace(args.timeout, "--timeout");
    let forge = match connect_or_skip(&config, args.if_unconfigured, cx)? {
        Ok(forge) => forge,
        Err(why) => {
            cx.output.error_text(&format!("skipped: {why}\n"));
            return Ok(report(&document, (Exit::Done, None), cx));
        }
    };
    set::wait(forge.supported(), "asking the forge for its version", cx)??;
    let configured = config.forge_or_default();
    let workflows = workflows(&*forge, &configured, forbidden, cx)?;
    let tell = |text: &str| cx.output.note(&format!("note: #{number}: {text}"));
    let finder = Finder::new(&config.images);
    let only_pins = |old: &[u8], new: &[u8]| only_pins_differ(&finder, old, new);
    let arm = (configured.auto_merge && !forbidden).then_some(Arm {
        gates: &configured.gates,
        only_pins: &only_pins,
    });
    let watch = Watch {
        number,
        pace: Pace::until(args.timeout),
        arm,
        tell: &tell,
    };
    let waited = set::wait(
        waiting::until_merged(&*forge, &watch),
        &format!("waiting for #{number}"),
        cx,
    )??;
    let ended = match waited {
        Waited::Absent => return Err(usage(format!("--pr: there is no pull request #{number}"))),
        Waited::Merged(pull, commit) => {
            document.state = Some("merged");
            document.merge_commit = commit;
            start(&*forge, &pull, &workflows, &mut document, cx)?
        }
        Waited::Closed(pull) => {
            document.state = Some("closed");
            (Exit::Because(Class::Failed), Some(closed(&pull)))
        }
        Waited::Stuck(pull, why) => {
            document.state = Some("open");
            (Exit::Because(Class::Failed), Some(stuck(&pull, &why)))
        }
        Waited::Removed(pull, reason) => {
            document.state = Some("open");
            (
                Exit::Because(Class::Failed),
                Some(removed(&pull, reason.as_deref())),
            )
        }
        Waited::Foreign(error) => {
            document.state = Some("open");
            let fault = Errors::from(error);
            (Exit::from(&fault), Some(fault))
        }
        Waited::OutOfTime(late) => {
            document.state = Some(if late.answered { "open" } else { "unknown" });
            (
                Exit::Because(Class::Unavailable),
                Some(out_of_time(args, late)),
            )
        }
    };
    Ok(report(&document, ended, cx))
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
    match set::wait(dispatch::able(forge, wanted), "looking at permissions", cx)?? {
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

/// Starts each workflow that no other run starts; one that can't be started does not keep the
/// others from it.
fn start(
    forge: &dyn Forge,
    pull: &Pull,
    workflows: &[String],
    document: &mut WaitDocument,
    cx: &Context,
) -> Result<Ended, Errors> {
    let mut worst: Option<Errors> = None;
    if document.merge_commit.is_none() && !workflows.is_empty() {
        let head = set::wait(forge.branch(&pull.base), "reading the base branch", cx)??;
        document.merge_commit = head.map(|head| head.commit);
    }
    let commit = document.merge_commit.clone().unwrap_or_default();
    let word = token()?;
    for workflow in workflows {
        let started = dispatch::once(forge, pull, workflow, &commit, &word);
        match set::wait(started, &format!("starting {workflow}"), cx)? {
            Ok(true) => document.dispatched.push(workflow.clone()),
            Ok(false) => cx.output.note(&format!(
                "note: another run has started {workflow}, or is starting it"
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
        && let Err(error) = set::wait(forge.expire_claims(), "deleting old marks", cx)?
    {
        cx.output
            .error_text(&format!("warning: old marks were not deleted: {error}\n"));
    }
    Ok((worst.as_ref().map_or(Exit::Done, Exit::from), worst))
}

fn closed(pull: &Pull) -> Errors {
    let message = format!(
        "pull request #{} ({}) was closed without being merged",
        pull.number, pull.url
    );
    Errors::from(Error::failed("conflict", message))
}

fn removed(pull: &Pull, reason: Option<&str>) -> Errors {
    let reason = reason.map_or_else(String::new, |reason| format!(": {}", plain(reason)));
    let message = format!(
        "pull request #{} ({}) was removed from the merge queue of {}{reason}",
        pull.number, pull.url, pull.base
    );
    let hint = "correct what stopped it and put it back into the queue, then wait again";
    Errors::from(Error::failed("conflict", message).help(hint))
}

/// The most files of a conflict that are named.
const FILES_SHOWN: usize = 20;

fn stuck(pull: &Pull, why: &Stuck) -> Errors {
    let (number, url, base) = (pull.number, &pull.url, &pull.base);
    let Stuck::Conflict(files) = why else {
        let message = format!(
            "the forge has not said for two minutes that pull request #{number} ({url}) can be merged; no file was changed on both sides, so it is likely that its check for conflicts does not come to an end"
        );
        let hint = "look at the pull request; pushing to its branch, or closing and promoting with --reopen, starts the check again";
        return Errors::from(Error::failed("conflict", message).help(hint));
    };
    let message = format!("pull request #{number} ({url}) is in conflict with {base}");
    let mut problem = Error::failed("conflict", message).help(format!(
        "run the promote or rollback again: it makes the branch anew from {base}"
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

fn out_of_time(args: &args::Wait, late: Late) -> Errors {
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
            "the forge said nothing about pull request #{} within {seconds} s",
            args.pr
        )
    };
    let mut problem = Error::new(Class::Unavailable, "unavailable", message)
        .help("wait again, with a longer --timeout if need be");
    let trouble = late.trouble.map(|error| format!("the last look: {error}"));
    problem.notes.extend(trouble);
    Errors::from(problem)
}

fn report(document: &WaitDocument, (exit, fault): Ended, cx: &mut Context) -> Exit {
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
    if let Some(fault) = fault {
        cx.output.fault_beside(&fault);
    }
    exit
}
