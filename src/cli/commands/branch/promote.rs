//! `repin branch promote`: open one pull request, and schedule its merge if configured.

use super::{check, document, report};
use crate::{
    cli::{args::Promotion, commands::gates::table, context::Context, exit::Exit},
    code::Code,
    config::Forge as Configured,
    error::{Error, Errors, usage},
    forge::{Forge, Gate, GateState, Merge},
    pull_request::branches::{self, BranchDifference, BranchPair, Compared, OpenedPromotion},
    report::{branch, json::PullRequest},
    untrusted::plain,
    workflow::{self, Access, connect_or_skip},
};

pub(super) fn run(asked: &Promotion, cx: &mut Context) -> Result<Exit, Errors> {
    let args = &asked.between;
    check(args)?;
    let apply = cx.armed(args.arm.apply, args.arm.dry_run)?;
    let config = cx.load()?;
    let mut document = document("promote", args);
    let forge = match connect_or_skip(&config, asked.if_unconfigured.into(), &cx.services)? {
        Access::Granted(forge) => forge,
        Access::NoToken(why) => {
            document.state = "skipped";
            return Ok(report(&document, &format!("skipped: {why}"), None, cx));
        }
    };
    cx.services
        .wait(forge.supported(), "querying the forge's version")??;
    let configured = config.forge_or_default();
    let between = BranchPair {
        from: &args.from,
        to: &args.to,
    };
    if let Some(error) = unconfigured(&*forge, between, &configured, cx)? {
        if apply {
            return Err(error.into());
        }
        cx.services.console.warn(&error.text());
    }
    let work = branches::compare(&*forge, between, &configured);
    let offer = match cx.services.wait(work, "comparing the branches")?? {
        Compared::Offer(offer) => offer,
        Compared::NoBranch(name) => return Err(usage(format!("branch `{name}` does not exist"))),
    };
    document.commit = Some(offer.commit.clone());
    document.pull_request = offer
        .pull
        .as_ref()
        .map(|pull| row(pull.number, &pull.url, "unchanged"));
    if offer.subjects.is_empty() {
        document.state = "in_sync";
        return Ok(report(&document, "nothing to promote", None, cx));
    }
    if !offer.gates.is_empty() {
        cx.output.note(table(&offer.gates).trim_end());
    }
    if offer.state() == GateState::Fail {
        document.state = "blocked";
        return Ok(report(
            &document,
            "a gate failed",
            Some(blocked(&offer)),
            cx,
        ));
    }
    if !apply {
        return Ok(report(&document, &planned(&offer), None, cx));
    }
    let (title, body) = (
        branch::title(between),
        branch::body(between, &offer.subjects, &offer.gates),
    );
    workflow::warn_of_silent_checks(&*forge, &configured, &cx.services)?;
    cx.services.interruption.changes(format!(
        "a pull request from {} to {} may have been opened; run the command again",
        plain(&args.from),
        plain(&args.to)
    ));
    let work = branches::promote(&*forge, between, &title, &body, &offer, &configured);
    let offered = cx.services.wait(work, "opening the pull request")??;
    for warning in &offered.warnings {
        cx.output.error_text(&format!("warning: {warning}\n"));
    }
    let state = if offered.created {
        "created"
    } else {
        "unchanged"
    };
    document.pull_request = Some(row(offered.pull.number, &offered.pull.url, state));
    let outcome = outcome(&offered, cx);
    document.state = outcome.state;
    Ok(report(&document, &outcome.line, outcome.fault, cx))
}

/// The error for a branch that `auto_merge` must not move or merge.
fn unconfigured(
    forge: &dyn Forge,
    between: BranchPair<'_>,
    configured: &Configured,
    cx: &Context,
) -> Result<Option<Error>, Errors> {
    if !configured.auto_merge {
        return Ok(None);
    }
    let work = branches::unconfigured(forge, between, configured);
    let name = cx.services.wait(work, "reading the default branch")??;
    Ok(name.map(|name| {
        let message = format!(
            "`{name}` is neither the base branch nor in forge.sync_targets, so `forge.auto_merge` does not merge it"
        );
        Error::input(Code::CONFIG, message)
            .help("add the branch to forge.sync_targets, or remove forge.auto_merge")
    }))
}

fn row(number: u64, url: &str, state: &'static str) -> PullRequest {
    PullRequest {
        number,
        url: url.to_owned(),
        state,
    }
}

/// The outcome of the pull request: the document's word, the line for people, and the errors.
struct Outcome {
    state: &'static str,
    line: String,
    fault: Option<Errors>,
}

fn outcome(offered: &OpenedPromotion, cx: &Context) -> Outcome {
    let pull = format!(
        "pull request #{} ({})",
        offered.pull.number, offered.pull.url
    );
    let (state, is) = match &offered.merge {
        None | Some(Merge::Refused(_)) => ("open", "is open".to_owned()),
        Some(Merge::Scheduled) => ("scheduled", "will be merged".to_owned()),
        Some(Merge::Held(reason)) => (
            "scheduled",
            format!(
                "will be merged once a status or a review arrives that allows it: {}",
                plain(reason)
            ),
        ),
        Some(Merge::Queued(position, _)) => (
            "scheduled",
            format!("is in the merge queue, at position {position}"),
        ),
        Some(Merge::Merged) => ("merged", "is merged".to_owned()),
        Some(Merge::Later(reason) | Merge::Clean(reason) | Merge::Unscheduled(reason)) => {
            let warning = workflow::merge_pending_warning(offered.pull.number, reason);
            cx.services.console.warn(&warning);
            ("open", "is open".to_owned())
        }
    };
    let fault = match &offered.merge {
        Some(Merge::Refused(reason)) => Some(workflow::merge_refused_error(&pull, reason)),
        _ => None,
    };
    Outcome {
        state,
        line: format!("{pull} {is}"),
        fault,
    }
}

fn planned(offer: &BranchDifference) -> String {
    let count = offer.subjects.len();
    match &offer.pull {
        Some(pull) => format!(
            "{count} commits, in pull request #{}; dry run: nothing was changed",
            pull.number
        ),
        None => format!("{count} commits; dry run: --apply would open a pull request"),
    }
}

fn blocked(offer: &BranchDifference) -> Errors {
    let failed = |gate: &&Gate| gate.state == GateState::Fail;
    let message = format!(
        "a required status of {} failed, so no pull request is opened",
        offer.commit
    );
    let mut problem =
        Error::failed(Code::CONFLICT, message).help("fix what failed, then run the command again");
    problem.notes = offer.gates.iter().filter(failed).map(note).collect();
    Errors::from(problem)
}

fn note(gate: &Gate) -> String {
    format!("{} {} {}", gate.context, gate.state.as_str(), gate.detail())
}
