//! `repin branch sync`: merge one branch into another by a push, with git's own credentials.

use super::{check, document, report};
use crate::{
    cli::{args::Between as Args, context::Context, exit::Exit},
    code::Code,
    config::Config,
    error::{Class, Error, Errors, usage},
    git::{
        Git,
        merge::{self, SyncOutcome},
    },
    untrusted::plain,
};

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<Exit, Errors> {
    check(args)?;
    let apply = cx.armed(args.arm.apply, args.arm.dry_run)?;
    let config = cx.load()?;
    allowed(&config, &args.to)?;
    let git = Git::open(&config.root).map_err(|error| {
        let problem =
            Error::new(Class::Unavailable, Code::UNAVAILABLE, error.to_string()).help(error.hint());
        Errors::from(problem)
    })?;
    let (from, to) = (args.from.clone(), args.to.clone());
    let work =
        async { tokio::task::spawn_blocking(move || merge::sync(&git, &from, &to, apply)).await };
    let message = format!("bringing {} into {}", args.from, args.to);
    if apply {
        cx.services.interruption.changes(format!(
            "{} may have been pushed; run the command again",
            plain(&args.to)
        ));
    }
    let done = cx.services.wait(work, &message)?;
    let synced =
        done.map_err(|error| Errors::io(format!("the synchronization was interrupted: {error}")))??;
    let mut document = document("sync", args);
    let (state, line, fault) = match &synced {
        SyncOutcome::NoBranch(name) => {
            return Err(usage(format!("the remote has no branch `{name}`")));
        }
        SyncOutcome::InSync(head) => ("in_sync", format!("in sync at {}", head.short()), None),
        SyncOutcome::Forwarded(head) if apply => (
            "fast_forwarded",
            format!("fast-forwarded to {}", head.short()),
            None,
        ),
        SyncOutcome::Merged(Some(head)) => ("merged", format!("merged as {}", head.short()), None),
        SyncOutcome::Forwarded(head) => (
            "planned",
            format!("dry run: --apply would fast-forward to {}", head.short()),
            None,
        ),
        SyncOutcome::Merged(None) => (
            "planned",
            "dry run: --apply would merge and push".to_owned(),
            None,
        ),
        SyncOutcome::Conflict(files) => (
            "conflict",
            "the branches conflict".to_owned(),
            Some(conflict(args, files)),
        ),
    };
    document.state = state;
    document.commit = match synced {
        SyncOutcome::InSync(head) | SyncOutcome::Forwarded(head) => Some(head.to_string()),
        SyncOutcome::Merged(head) => head.map(|head| head.to_string()),
        SyncOutcome::Conflict(_) | SyncOutcome::NoBranch(_) => None,
    };
    Ok(report(&document, &line, fault, cx))
}

/// Refuses a branch outside `forge.sync_targets` before anything is fetched.
fn allowed(config: &Config, to: &str) -> Result<(), Errors> {
    let targets = config.forge_or_default().sync_targets;
    if targets.iter().any(|target| target == to) {
        return Ok(());
    }
    let listed = if targets.is_empty() {
        "which is empty".to_owned()
    } else {
        format!("which lists {}", targets.join(", "))
    };
    let message = format!("`{to}` is not in forge.sync_targets, {listed}");
    Err(Errors::from(Error::input(Code::CONFIG, message).help(
        "add the branch to forge.sync_targets if repin may push to it",
    )))
}

fn conflict(args: &Args, files: &[String]) -> Errors {
    let message = format!(
        "{} and {} contain conflicting changes; nothing was pushed",
        args.from, args.to
    );
    let mut problem = Error::failed(Code::CONFLICT, message);
    problem.notes = files
        .iter()
        .map(|file| format!("conflict: {file}"))
        .collect();
    let hint = format!(
        "merge {} into {} by hand, and push the result",
        args.from, args.to
    );
    Errors::from(problem.help(hint))
}
