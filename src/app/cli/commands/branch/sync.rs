//! `repin branch sync`: merges one branch into another with a push, with the token for the forge or the credentials of
//! git.

use clap::Args;

use super::{Branches, check_branches, conclude, planned_document, skip};
use crate::{
    app::{
        cli::{args::IfUnconfigured, context::Context, output::Exit},
        pull_request::ForgeRepository,
        workflow::sync_repository,
    },
    base::{
        error::{Class, Code, Error, Errors, usage},
        untrusted::plain,
    },
    config::Config,
    forge::{PushedBranch, RefusedPush},
    git::merge::{self, SyncOutcome, SyncSite},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    branches: Branches,
    /// Skip instead of failing when the remote denies access
    #[arg(long, value_name = "WHAT")]
    if_unconfigured: Option<IfUnconfigured>,
}

impl Arguments {
    pub(super) fn branches(&self) -> &Branches {
        &self.branches
    }
}

pub(super) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let branches = &args.branches;
    check_branches(branches)?;
    let apply = cx.may_change(branches.options.apply, branches.options.dry_run)?;
    let config = cx.load_without_images()?;
    check_target(&config, &branches.to)?;
    let message = format!("merging {} into {}", branches.from, branches.to);
    let git = cx.services.git(&config);
    let repository = sync_repository(&config, git.as_ref().ok(), &cx.services)?;
    if apply {
        cx.services.interruption.changes(format!(
            "{} may have been pushed; run the command again",
            plain(&branches.to)
        ));
    }
    let (from, to) = (branches.from.clone(), branches.to.clone());
    let refused = refusal(&to, repository.as_ref());
    let result = match (repository, git) {
        (Some(repository), _) => {
            let work = repository.content.sync([from, to], apply, refused);
            cx.services.wait(work, &message)
        }
        (None, Ok(git)) => {
            let merge = move || merge::sync(SyncSite::Clone(&git), [&from, &to], apply, refused);
            let work = async { tokio::task::spawn_blocking(merge).await };
            let ended = cx.services.wait(work, &message);
            ended.map_err(|error| {
                Errors::io(format!("the synchronization was interrupted: {error}"))
            })?
        }
        (None, Err(error)) => {
            let failed = Error::new(Class::Unavailable, Code::UNAVAILABLE, error.to_string());
            return Err(failed.help(error.hint()).into());
        }
    };
    let mut document = planned_document("sync", branches);
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) if error.class == Class::Denied && args.if_unconfigured.is_some() => {
            return Ok(skip(document, &error.to_string(), cx));
        }
        Err(error) => return Err(error.into()),
    };
    let (state, line, errors) = match &outcome {
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
            Some(conflict(branches, files)),
        ),
    };
    document.state = state;
    document.commit = match outcome {
        SyncOutcome::InSync(head) | SyncOutcome::Forwarded(head) => Some(head.to_string()),
        SyncOutcome::Merged(head) => head.map(|head| head.to_string()),
        SyncOutcome::Conflict(_) | SyncOutcome::NoBranch(_) => None,
    };
    Ok(conclude(&document, &line, &[], errors.as_ref(), cx))
}

/// The errors of a push that the server refuses, by its message.
fn refusal(
    branch: &str,
    repository: Option<&ForgeRepository>,
) -> impl Fn(&str, bool) -> Error + Send + 'static {
    let branch = branch.to_owned();
    let (receiver, credentials) = match repository {
        Some(repository) => (repository.forge.name(), "the token for the forge"),
        None => ("origin", "git's credentials for `origin`"),
    };
    move |message, is_denied| {
        let refused = RefusedPush {
            branch: &branch,
            message,
            is_denied,
            changes_workflows: false,
            target: PushedBranch::Synced(credentials),
        };
        refused.error(receiver)
    }
}

/// Refuses a branch that is not in `forge.sync_targets`, before anything is fetched.
fn check_target(config: &Config, to: &str) -> Result<(), Errors> {
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
    let help = "add the branch to forge.sync_targets if repin may push to it";
    Err(Error::input(Code::CONFIG, message).help(help).into())
}

fn conflict(branches: &Branches, files: &[String]) -> Errors {
    let Branches { from, to, .. } = branches;
    let message = format!("{from} and {to} contain conflicting changes; nothing was pushed");
    let help = format!("merge {from} into {to} by hand, and push the result");
    let mut error = Error::failed(Code::CONFLICT, message).help(help);
    error.notes = files
        .iter()
        .map(|file| format!("conflict: {file}"))
        .collect();
    error.into()
}
