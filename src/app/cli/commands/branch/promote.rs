//! `repin branch promote`: opens one pull request, and schedules its merge if configured.

use std::time::Duration;

use clap::Args;

use super::{Branches, check_branches, conclude, planned_document, skip};
use crate::{
    app::{
        cli::{
            args::{IfUnconfigured, duration},
            commands::gates::table,
            context::{Context, wait_request},
            job::PullOutputs,
            output::Exit,
        },
        pull_request::{
            ForgeRepository, Permission,
            branches::{self, BranchDifference, BranchPair, Compared, OpenedPromotion},
        },
        report::{
            branch,
            json::{BranchDocument, PullRequest},
        },
        workflow::{
            self, Access, Awaited, MergeAuthority, WaitRequest, connect_repository_or_skip,
            wait_for_merge,
        },
    },
    base::{
        error::{Code, Error, Errors, usage},
        untrusted::plain,
    },
    config::{Config, Forge as Configured},
    forge::{Forge, GateState, Merge, Pull, Words},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    branches: Branches,
    /// Open the pull request even if a gate failed; its merge is not requested
    #[arg(long)]
    allow_failed_gates: bool,
    /// Wait until the pull request is merged, as `repin wait` does, and give up after this time
    /// [default: 30m]
    #[arg(long, value_name = "DURATION", value_parser = duration, num_args = 0..=1, require_equals = true, default_missing_value = "30m")]
    wait: Option<Duration>,
    /// Skip instead of failing when a token is missing
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
    let options = &branches.options;
    if args.wait.is_some() && !options.apply && options.dry_run.is_none() {
        return Err(usage("--wait requires --apply"));
    }
    let apply = cx.may_change(options.apply, options.dry_run)?;
    let config = cx.load_without_images()?;
    let mut document = planned_document("promote", branches);
    let repository =
        match connect_repository_or_skip(&config, args.if_unconfigured.into(), &cx.services)? {
            Access::Granted(repository) => repository,
            Access::NoToken(reason) => {
                cx.write_outputs(&PullOutputs::skipped().values())?;
                return Ok(skip(document, &reason, cx));
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
    let mut outputs = PullOutputs::default();
    if let Some(pull) = &difference.pull {
        document.pull_request = Some(PullRequest::new(pull.number, &pull.url, "unchanged"));
        outputs = open_outputs(pull.number, &pull.url);
    }
    if difference.subjects.is_empty() {
        document.state = "in_sync";
        return Ok(finish(&document, outputs, "nothing to promote", None, cx));
    }
    if !difference.gates.is_empty() {
        cx.output.note(table(&difference.gates).trim_end());
    }
    if difference.state() == GateState::Fail && !args.allow_failed_gates {
        document.state = "blocked";
        let errors = blocked(&difference, forge.words());
        let line = "a gate failed";
        return Ok(finish(&document, outputs, line, Some(&errors), cx));
    }
    if !apply {
        let line = planned(&difference, forge.words());
        return Ok(finish(&document, outputs, &line, None, cx));
    }
    let promotion = Promotion {
        repository: &repository,
        config: &config,
        pair,
        difference: &difference,
    };
    let wait = args.wait.map(wait_request).transpose()?;
    // After the pull request was opened, its outputs must not be lost.
    cx.step_files()?;
    let opened = promotion.open(cx)?;
    Ok(promotion.conclude(&opened, wait, document, cx))
}

/// A promotion of a branch that is carried out.
struct Promotion<'p> {
    repository: &'p ForgeRepository,
    config: &'p Config,
    pair: BranchPair<'p>,
    difference: &'p BranchDifference,
}

impl Promotion<'_> {
    /// Opens the pull request, and schedules its merge.
    fn open(&self, cx: &Context) -> Result<OpenedPromotion, Errors> {
        let Self {
            pair, difference, ..
        } = self;
        let (forge, configured) = (&self.repository.forge, self.config.forge_or_default());
        let title = branch::title(*pair);
        let body = branch::body(
            *pair,
            &difference.subjects,
            &difference.gates,
            &self.config.set_path,
            forge.words(),
        );
        workflow::warn_of_silent_checks(forge, &configured, &cx.services);
        cx.services.interruption.changes(format!(
            "a {} from {} to {} may have been opened; run the command again",
            forge.words().pull_request,
            plain(pair.from),
            plain(pair.to)
        ));
        let work = branches::promote(forge, *pair, &title, &body, difference, &configured);
        let opening = format!("opening the {}", forge.words().pull_request);
        let opened = cx.services.wait(work, &opening)?;
        for warning in &opened.warnings {
            cx.output.warn(warning);
        }
        Ok(opened)
    }

    /// Waits for the merge if that is requested, and reports the pull request.
    fn conclude(
        &self,
        opened: &OpenedPromotion,
        wait: Option<WaitRequest>,
        mut document: BranchDocument,
        cx: &mut Context,
    ) -> Exit {
        let pull = &opened.pull;
        let state = if opened.created {
            "created"
        } else {
            "unchanged"
        };
        document.pull_request = Some(PullRequest::new(pull.number, &pull.url, state));
        let Outcome {
            state,
            mut line,
            mut errors,
        } = outcome(opened, wait.is_some(), cx);
        document.state = state;
        let mut outputs = open_outputs(pull.number, &pull.url);
        match wait {
            Some(request) if errors.is_none() => match self.wait(pull, request, cx) {
                Ok(awaited) => {
                    outputs.state = awaited.document.state.unwrap_or("unknown");
                    outputs.merge_commit =
                        awaited.document.merge_commit.clone().unwrap_or_default();
                    if ["merged", "closed"].contains(&outputs.state) {
                        document.state = outputs.state;
                        line = format!("{} ({}) is {}", pull.name(), pull.url, outputs.state);
                    }
                    errors = awaited.errors;
                    document.wait = Some(awaited.document);
                }
                Err(failed) => {
                    outputs.state = "unknown";
                    errors = Some(failed);
                }
            },
            _ if document.state == "merged" => {
                outputs.state = "merged";
                let forge = &self.repository.forge;
                match workflow::merge_commit(forge, pull.number, &cx.services) {
                    Ok(commit) => outputs.merge_commit = commit.unwrap_or_default(),
                    Err(failed) => errors = Some(failed.into()),
                }
            }
            _ => {}
        }
        finish(&document, outputs, &line, errors.as_ref(), cx)
    }

    fn wait(&self, pull: &Pull, request: WaitRequest, cx: &Context) -> Result<Awaited, Errors> {
        let authority = if self.difference.state() == GateState::Fail {
            MergeAuthority::Withheld
        } else {
            MergeAuthority::Given(Permission::Branches(self.pair))
        };
        let (repository, config) = (self.repository, self.config);
        let (number, services) = (pull.number, &cx.services);
        workflow::note_wait(number, &pull.url, services);
        wait_for_merge(repository, config, number, request, &authority, services)
    }
}

/// The outputs about an open pull request.
fn open_outputs(number: u64, url: &str) -> PullOutputs {
    PullOutputs {
        number: Some(number),
        url: url.to_owned(),
        state: "open",
        merge_commit: String::new(),
    }
}

fn finish(
    document: &BranchDocument,
    outputs: PullOutputs,
    line: &str,
    errors: Option<&Errors>,
    cx: &mut Context,
) -> Exit {
    conclude(document, line, &outputs.values(), errors, cx)
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

fn outcome(opened: &OpenedPromotion, is_awaited: bool, cx: &Context) -> Outcome {
    let pull = format!("{} ({})", opened.pull.name(), opened.pull.url);
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
            format!(
                "is in the {}, at position {position}",
                Words::for_page(&opened.pull.url).queue
            ),
        ),
        Some(Merge::Merged) => ("merged", "is merged".to_owned()),
        Some(Merge::Later(reason) | Merge::Clean(reason) | Merge::Unscheduled(reason)) => {
            // A wait requests it again.
            if !is_awaited {
                let pull = &opened.pull;
                let warning = workflow::merge_pending_warning(pull.number, &pull.url, reason);
                cx.services.console.warn(&warning);
            }
            ("open", "is open".to_owned())
        }
    };
    Outcome {
        state,
        line: format!("{pull} {status}"),
        errors,
    }
}

fn planned(difference: &BranchDifference, words: Words) -> String {
    let count = difference.subjects.len();
    match &difference.pull {
        Some(pull) => format!(
            "{count} commits, in {}; dry run: nothing was changed",
            pull.name()
        ),
        None => format!(
            "{count} commits; dry run: --apply would open a {}",
            words.pull_request
        ),
    }
}

fn blocked(difference: &BranchDifference, words: Words) -> Errors {
    let message = format!(
        "a required status of {} failed, so no {} is opened",
        difference.commit, words.pull_request
    );
    let hint = format!(
        "fix the failure, then run the command again; --allow-failed-gates opens the {} anyway",
        words.pull_request
    );
    let mut error = Error::failed(Code::CONFLICT, message).help(hint);
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
