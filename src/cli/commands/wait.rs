//! `repin wait`: until a pull request is merged or closed; after a merge, the workflows that the
//! forge does not start.
//!
//! Whether they can be started is looked at before the waiting, so that nobody waits for a refusal.

use super::set;
use crate::{
    cli::{
        args,
        context::{Context, usage},
        exit::{Exit, Fault},
        forge::connect_or_skip,
        github::token,
        output::Format,
    },
    config::{Forge as Configured, Problem},
    forge::{
        Ability, Error, Forge, Pull, dispatch,
        waiting::{self, Pace, Waited, Watch},
    },
    report::json::WaitDocument,
};

/// How the run ends, and what is wrong if something is.
type Ended = (Exit, Option<Fault>);

pub(in crate::cli) fn run(args: &args::Wait, cx: &mut Context) -> Result<Exit, Fault> {
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
    let forge = match connect_or_skip(&config, args.if_unconfigured, cx)? {
        Ok(forge) => forge,
        Err(why) => {
            cx.output.error_text(&format!("skipped: {why}\n"));
            return Ok(report(&document, (Exit::Done, None), cx));
        }
    };
    let configured = config.forge_or_default();
    let workflows = workflows(&*forge, &configured, forbidden, cx)?;
    let tell = |text: &str| cx.output.note(&format!("note: #{number}: {text}"));
    let arm = (configured.auto_merge && !forbidden).then_some(configured.gates.as_slice());
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
            start(&*forge, &pull, (&workflows, &mut document), cx)?
        }
        Waited::Closed(pull) => {
            document.state = Some("closed");
            (Exit::Failed, Some(closed(&pull)))
        }
        Waited::OutOfTime(trouble) => {
            document.state = Some("open");
            (Exit::Unavailable, Some(late(args, trouble)))
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
) -> Result<Vec<String>, Fault> {
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
    (workflows, document): (&[String], &mut WaitDocument),
    cx: &Context,
) -> Result<Ended, Fault> {
    let mut worst: Option<Fault> = None;
    if document.merge_commit.is_none() && !workflows.is_empty() {
        let head = set::wait(forge.branch(&pull.base), "reading the base branch", cx)??;
        document.merge_commit = head.map(|head| head.commit);
    }
    let commit = document.merge_commit.clone().unwrap_or_default();
    let word = token()?;
    for workflow in workflows {
        let started = dispatch::once(forge, pull, (workflow, &commit), &word);
        match set::wait(started, &format!("starting {workflow}"), cx)? {
            Ok(true) => document.dispatched.push(workflow.clone()),
            Ok(false) => cx
                .output
                .note(&format!("note: {workflow} is started by another run")),
            Err(error) => {
                let fault = Fault::from(error);
                worst = Some(match worst {
                    None => fault,
                    Some(mut all) => {
                        all.exit = all.exit.worse(fault.exit);
                        all.problems.extend(fault.problems);
                        all
                    }
                });
            }
        }
    }
    Ok((worst.as_ref().map_or(Exit::Done, |fault| fault.exit), worst))
}

fn closed(pull: &Pull) -> Fault {
    let message = format!(
        "pull request #{} ({}) was closed without being merged",
        pull.number, pull.url
    );
    Fault {
        exit: Exit::Failed,
        problems: vec![Problem::new("conflict", message)],
    }
}

fn late(args: &args::Wait, trouble: Option<Error>) -> Fault {
    let message = format!(
        "pull request #{} was not merged within {} s",
        args.pr,
        args.timeout.as_secs()
    );
    let mut problem =
        Problem::new("unavailable", message).hint("wait again, with a longer --timeout if need be");
    problem
        .notes
        .extend(trouble.map(|error| format!("the last look: {error}")));
    Fault {
        exit: Exit::Unavailable,
        problems: vec![problem],
    }
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
