//! `repin branch promote`: opens one pull request, and schedules its merge if configured.

use clap::Args;

use super::{Branches, check_branches, conclude, planned_document};
use crate::{
    app::{
        cli::{args::IfUnconfigured, commands::gates::table, context::Context, output::Exit},
        pull_request::branches::{self, BranchDifference, BranchPair, Compared, OpenedPromotion},
        report::{branch, json::PullRequest},
        workflow::{self, Access, connect_repository_or_skip},
    },
    base::{
        error::{Code, Error, Errors, usage},
        untrusted::plain,
    },
    config::Forge as Configured,
    forge::{Forge, GateState, Merge},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    branches: Branches,
    /// Open the pull request even if a gate failed; its merge is not requested
    #[arg(long)]
    allow_failed_gates: bool,
    /// Skip instead of failing when a token is missing
    #[arg(long, value_name = "WHAT")]
    if_unconfigured: Option<IfUnconfigured>,
}

pub(super) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let branches = &args.branches;
    check_branches(branches)?;
    let apply = cx.may_change(branches.options.apply, branches.options.dry_run)?;
    let config = cx.load()?;
    let mut document = planned_document("promote", branches);
    let repository =
        match connect_repository_or_skip(&config, args.if_unconfigured.into(), &cx.services)? {
            Access::Granted(repository) => repository,
            Access::NoToken(reason) => {
                document.state = "skipped";
                return Ok(conclude(&document, &format!("skipped: {reason}"), None, cx));
            }
        };
    let forge = &repository.forge;
    cx.services
        .wait(forge.check_version(), "querying the forge's version")?;
    let configured = config.forge_or_default();
    let pair = BranchPair {
        from: &branches.from,
        to: &branches.to,
    };
    if let Some(error) = check_default_branch(forge, pair, &configured, cx)? {
        if apply {
            return Err(error.into());
        }
        cx.services.console.warn(&error.text());
    }
    let work = branches::compare(&repository, pair, &configured);
    let difference = match cx.services.wait(work, "comparing the branches")? {
        Compared::Offer(difference) => difference,
        Compared::NoBranch(name) => return Err(usage(format!("branch `{name}` does not exist"))),
    };
    document.commit = Some(difference.commit.clone());
    let pull = difference.pull.as_ref();
    document.pull_request = pull.map(|pull| PullRequest::new(pull.number, &pull.url, "unchanged"));
    if difference.subjects.is_empty() {
        document.state = "in_sync";
        return Ok(conclude(&document, "nothing to promote", None, cx));
    }
    if !difference.gates.is_empty() {
        cx.output.note(table(&difference.gates).trim_end());
    }
    if difference.state() == GateState::Fail && !args.allow_failed_gates {
        document.state = "blocked";
        let errors = blocked(&difference);
        return Ok(conclude(&document, "a gate failed", Some(errors), cx));
    }
    if !apply {
        return Ok(conclude(&document, &planned(&difference), None, cx));
    }
    let title = branch::title(pair);
    let body = branch::body(
        pair,
        &difference.subjects,
        &difference.gates,
        &config.set_path,
    );
    workflow::warn_of_silent_checks(forge, &configured, &cx.services);
    cx.services.interruption.changes(format!(
        "a pull request from {} to {} may have been opened; run the command again",
        plain(&branches.from),
        plain(&branches.to)
    ));
    let work = branches::promote(forge, pair, &title, &body, &difference, &configured);
    let opened = cx.services.wait(work, "opening the pull request")?;
    for warning in &opened.warnings {
        cx.output.write_stderr(&format!("warning: {warning}\n"));
    }
    let state = if opened.created {
        "created"
    } else {
        "unchanged"
    };
    let pull = &opened.pull;
    document.pull_request = Some(PullRequest::new(pull.number, &pull.url, state));
    let outcome = outcome(&opened, cx);
    document.state = outcome.state;
    Ok(conclude(&document, &outcome.line, outcome.errors, cx))
}

/// The error if `auto_merge` must not merge into the branch.
fn check_default_branch(
    forge: &Forge,
    pair: BranchPair<'_>,
    configured: &Configured,
    cx: &Context,
) -> Result<Option<Error>, Errors> {
    if !configured.auto_merge {
        return Ok(None);
    }
    let work = branches::unconfigured_branch(forge, pair, configured);
    let name = cx.services.wait(work, "reading the default branch")?;
    Ok(name.map(|name| {
        let message = format!(
            "`{name}` is neither the base branch nor in forge.sync_targets, so `forge.auto_merge` does not merge it"
        );
        Error::input(Code::CONFIG, message)
            .help("add the branch to forge.sync_targets, or remove forge.auto_merge")
    }))
}

struct Outcome {
    /// For the document.
    state: &'static str,
    line: String,
    errors: Option<Errors>,
}

fn outcome(opened: &OpenedPromotion, cx: &Context) -> Outcome {
    let pull = format!("pull request #{} ({})", opened.pull.number, opened.pull.url);
    let mut errors = None;
    let (state, status) = match &opened.merge {
        None => ("open", "is open".to_owned()),
        Some(Merge::Refused(reason)) => {
            errors = Some(workflow::merge_refused_error(&pull, reason));
            ("open", "is open".to_owned())
        }
        Some(Merge::Scheduled) => ("scheduled", "will be merged".to_owned()),
        Some(Merge::Held(reason)) => ("scheduled", workflow::held_merge(reason)),
        Some(Merge::Queued(position, _)) => (
            "scheduled",
            format!("is in the merge queue, at position {position}"),
        ),
        Some(Merge::Merged) => ("merged", "is merged".to_owned()),
        Some(Merge::Later(reason) | Merge::Clean(reason) | Merge::Unscheduled(reason)) => {
            let warning = workflow::merge_pending_warning(opened.pull.number, reason);
            cx.services.console.warn(&warning);
            ("open", "is open".to_owned())
        }
    };
    Outcome {
        state,
        line: format!("{pull} {status}"),
        errors,
    }
}

fn planned(difference: &BranchDifference) -> String {
    let count = difference.subjects.len();
    match &difference.pull {
        Some(pull) => format!(
            "{count} commits, in pull request #{}; dry run: nothing was changed",
            pull.number
        ),
        None => format!("{count} commits; dry run: --apply would open a pull request"),
    }
}

fn blocked(difference: &BranchDifference) -> Errors {
    let message = format!(
        "a required status of {} failed, so no pull request is opened",
        difference.commit
    );
    let mut error =
        Error::failed(Code::CONFLICT, message).help("fix the failure, then run the command again; --allow-failed-gates opens the pull request anyway");
    for gate in &difference.gates {
        if gate.state == GateState::Fail {
            let (context, state) = (&gate.context, gate.state.as_str());
            error
                .notes
                .push(format!("{context} {state} {}", gate.detail()));
        }
    }
    Errors::from(error)
}
