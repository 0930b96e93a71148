//! The publication of a plan on a forge: the branch, its commit, the pull request and the merge.

use async_trait::async_trait;

use super::{
    MergeAuthority, OpenRequest, OpenedPull, Services, SiteHistory, Stop,
    build_order::BuildOrder,
    engine::Planned,
    execution::{Effect, Execution, Executor},
    merge_commit, note_wait,
    request::Request,
    site::{BranchHead, BranchSite},
    wait_for_merge,
};
use crate::{
    app::{
        pull_request::{
            ApprovedSet, Marker, MarkerKind, Permission,
            head::{self, PullRequestOfSet},
            merging::{self, MergeAttempt},
            own_branches,
            reconcile::{
                self, CompetingRevisions, Outcome, Proposal, PullRequestAction, RevisionAge,
            },
        },
        report::json::{PlanDocument, PullRequest},
    },
    base::{
        error::{Code, Error, Errors},
        untrusted::{markdown, plain},
    },
    config::{Config, Forge as Configured, Operation},
    core::{checks::Status, plan},
    forge::{ANOTHER_TOKEN, CheckStart, Forge, Merge, Readiness, Words},
    git::Git,
};

/// The codes of stages.
const STAGE_CODES: [Code; 4] = [
    Code::STAGE_MISSING,
    Code::STAGE_SOAK,
    Code::STAGE_HELD,
    Code::STAGE_UNKNOWN,
];

/// A plan and the branch that receives it.
pub(super) struct Publication<'p> {
    pub(super) config: &'p Config,
    pub(super) head: &'p BranchHead,
    pub(super) planned: &'p Planned,
    /// The document of the plan, with the body of the pull request.
    pub(super) document: &'p PlanDocument,
    pub(super) request: OpenRequest,
    /// The order of builds, for the pull requests of other revisions.
    pub(super) builds: &'p BuildOrder<'p>,
}

/// The result of a request to merge a pull request.
pub(super) enum MergeReport {
    /// The pull request will be merged, with a note for the user.
    Scheduled(String),
    /// It is merged, with a note for the user.
    Merged(String),
    /// The merge cannot be scheduled yet, with a warning for the user.
    NotYet(String),
}

impl Executor for BranchSite {
    fn open_pull_requests(
        &self,
        config: &Config,
        _: &SiteHistory,
        services: &Services,
    ) -> Result<Vec<PullRequestOfSet>, Errors> {
        let work = head::open(&self.head.repository.forge, config, &self.head.base.branch);
        let words = self.head.repository.forge.words();
        Ok(services.wait(work, &format!("reading {}s", words.pull_request))?)
    }

    fn withhold(
        &self,
        request: &Request,
        stop: &Stop,
        services: &Services,
    ) -> Result<Option<PullRequest>, Errors> {
        let BranchHead {
            repository, base, ..
        } = &self.head;
        let forge = &repository.forge;
        let words = forge.words();
        let Some(text) = self.open.and_then(|_| unstaged_text(stop, words)) else {
            return Ok(None);
        };
        let work = async {
            for found in head::open(forge, &self.config, &base.branch).await? {
                if found.operation == request.operation && found.revision == request.revision {
                    let number = found.pull.number;
                    return merging::make_draft(forge, &base.repo, number, &text).await;
                }
            }
            Ok(None)
        };
        let message = format!("making the {} a draft", forge.words().pull_request);
        let pull = services.wait(work, &message)?;
        let state = reconcile::PullRequestAction::Updated.as_str();
        Ok(pull.map(|pull| PullRequest::new(pull.number, &pull.url, state)))
    }

    fn carry_out(
        &mut self,
        planned: &Planned,
        document: &PlanDocument,
        services: &Services,
    ) -> Execution {
        match self.open {
            None => Execution::complete(Effect::PullRequestShown),
            Some(_) if planned.plan.changes().is_empty() => Execution::complete(Effect::Nothing),
            Some(request) => {
                let mut config = self.config.clone();
                config.former.extend(planned.former.iter().cloned());
                let git = Git::discover(&config.root).ok().flatten();
                let publication = Publication {
                    config: &config,
                    head: &self.head,
                    planned,
                    document,
                    request,
                    builds: &BuildOrder::new(&config, git.as_ref(), services),
                };
                publish(&publication, services)
            }
        }
    }
}

/// The comment about the stages that stopped a run; `None` if none did.
fn unstaged_text(stop: &Stop, words: Words) -> Option<String> {
    let Stop::Chain(stopped) = stop else {
        return None;
    };
    let failed = stopped
        .checks
        .iter()
        .filter(|check| check.status == Status::Fail);
    let failed = failed.map(|check| (check.code, check.describe()));
    let errors = stopped
        .errors
        .iter()
        .map(|error| (error.code, error.text()));
    let mut lines = Vec::new();
    for (code, reason) in failed.chain(errors) {
        if STAGE_CODES.contains(&code) {
            let (code, reason) = (markdown::code(code.as_str()), markdown::code(&reason));
            lines.push(format!("- {code}: {reason}\n"));
        }
    }
    let intro = format!(
        "This {} is a draft, because its set does not pass the stages of `promote.after`:",
        words.pull_request
    );
    (!lines.is_empty()).then(|| format!("{intro}\n\n{}", lines.concat()))
}

impl Publication<'_> {
    /// Reconciles the branch, its commit and the pull request with the plan. If configured, a promotion
    /// closes the older pull requests of the set.
    pub(super) async fn open(&self) -> Result<Outcome, Error> {
        let Self {
            config,
            head,
            document,
            ..
        } = self;
        let configured = config.forge_or_default();
        let only_pins = plan::pin_only_filter(config, &head.prefix);
        let supersedes = document.kind == Operation::Promotion && config.promote.supersede;
        let marker = Marker {
            kind: MarkerKind::Set(document.kind),
            set: document.set_path.clone(),
            revision: document.revision.clone(),
        };
        let proposal = Proposal {
            branch: &document.branch,
            title: &document.title,
            trailers: &document.trailers,
            body: document.body.as_deref().unwrap_or_default(),
            marker: &marker,
            prefix: &head.prefix,
            changes: self.planned.plan.changes(),
            labels: &configured.labels,
            state: self.request.state,
            reopen: self.request.reopen,
            competing_revisions: self,
            supersede: supersedes,
            only_pins: &only_pins,
            auto_merge: configured.auto_merge,
        };
        reconcile::open(&head.repository, &head.base, &proposal).await
    }

    fn permission(&self) -> Permission<'_> {
        Permission::Set(ApprovedSet {
            config: self.config,
            approved: &self.planned.approved,
            base: &self.head.base,
            prefix: &self.head.prefix,
            branch: &self.document.branch,
        })
    }

    /// Schedules the merge of an open pull request, if that is configured.
    pub(super) async fn schedule_merge(
        &self,
        number: u64,
        url: &str,
    ) -> Result<Option<MergeReport>, Errors> {
        let configured = self.config.forge_or_default();
        if !configured.auto_merge || self.request.state == Readiness::Draft {
            return Ok(None);
        }
        let permission = self.permission();
        let (repository, gates) = (&self.head.repository, &configured.gates);
        let attempt = merging::schedule_new(repository, number, gates, &permission).await?;
        merge_report(attempt, number, url).map(Some)
    }
}

/// The result of an attempt to schedule the merge of a new pull request.
fn merge_report(attempt: MergeAttempt, number: u64, url: &str) -> Result<MergeReport, Errors> {
    let words = Words::for_page(url);
    let name = format!("{} ({url})", words.name(number));
    let merge = match attempt {
        MergeAttempt::Merge(merge) => merge,
        MergeAttempt::Refused(error) => return Err(error.into()),
        MergeAttempt::Lagging => {
            let reason = format!(
                "the {} was closed, or its branch changed, during the run",
                words.pull_request
            );
            return Err(merge_refused_error(&name, &reason));
        }
    };
    let outcome = match merge {
        Merge::Scheduled => "will be merged once its gates pass".to_owned(),
        Merge::Held(reason) => held_merge(&reason),
        Merge::Queued(position, _) => {
            format!("is in the {}, at position {position}", words.queue)
        }
        Merge::Merged => {
            let note = format!("note: {name} was merged: its gates had already passed");
            return Ok(MergeReport::Merged(note));
        }
        Merge::Later(reason) | Merge::Clean(reason) | Merge::Unscheduled(reason) => {
            return Ok(MergeReport::NotYet(merge_pending_warning(
                number, url, &reason,
            )));
        }
        Merge::Refused(reason) => return Err(merge_refused_error(&name, &reason)),
    };
    Ok(MergeReport::Scheduled(format!("note: {name} {outcome}")))
}

/// The outcome of a scheduled merge that the forge refuses now and does not check again by itself.
pub(crate) fn held_merge(reason: &str) -> String {
    let reason = plain(reason);
    format!(
        "will be merged once a status or a review arrives that allows it: {reason}; if none arrives, merge it by hand"
    )
}

/// The warning about a merge that cannot be scheduled yet.
pub(crate) fn merge_pending_warning(number: u64, url: &str, reason: &str) -> String {
    let (mark, reason) = (Words::for_page(url).mark(number), plain(reason));
    format!(
        "the merge of {mark} is not scheduled yet: {reason}; `repin wait --pr {number}` schedules it"
    )
}

/// The error for a requested merge that cannot be scheduled. `name`: the pull request.
pub(crate) fn merge_refused_error(name: &str, reason: &str) -> Errors {
    let problem = Error::failed(
        Code::CONFLICT,
        format!("{name} is open, but its merge cannot be scheduled: {reason}"),
    );
    let hint = "merge it by hand, or fix the cause and run the command again";
    Errors::from(problem.help(hint))
}

/// Warns if a merge waits for checks that do not start by themselves with this token.
pub(crate) fn warn_of_silent_checks(forge: &Forge, configured: &Configured, services: &Services) {
    if !configured.waits_for_checks() {
        return;
    }
    let console = &services.console;
    match services.wait(forge.start_of_checks(), "identifying the token") {
        Ok(CheckStart::Immediate) => {}
        Ok(CheckStart::AfterApproval(reason) | CheckStart::Never(reason)) => {
            console.warn(&format!("{reason}\n  = help: {ANOTHER_TOKEN}"));
        }
        Err(error) => console.warn(&format!(
            "cannot determine whether checks start with this token: {error}"
        )),
    }
}

/// Opens the pull request of a plan, and schedules its merge.
fn publish(publication: &Publication<'_>, services: &Services) -> Execution {
    let pull = match open(publication, services) {
        Ok(Outcome::Reconciled(pull)) => pull,
        Ok(Outcome::BaseMoved { may_have_changed }) => {
            return Execution::incomplete(may_have_changed, Stop::BaseMoved);
        }
        Err(errors) => return Execution::incomplete(errors.may_have_changed(), errors.into()),
    };
    services.interruption.changes(format!(
        "{} exists ({}), but a step may be missing; run the command again",
        Words::for_page(&pull.url).name(pull.number),
        plain(&pull.url)
    ));
    for warning in &pull.warnings {
        services.console.warn(&plain(warning));
    }
    for number in &pull.superseded {
        let words = Words::for_page(&pull.url);
        services.console.note(&format!(
            "note: {} was closed: this {} supersedes it",
            words.name(*number),
            words.pull_request
        ));
    }
    let row = PullRequest::new(pull.number, &pull.url, pull.change.as_str());
    let mut opened = OpenedPull::new(row);
    let finished = match pull.late_error {
        Some(error) => Err(error.into()),
        None => finish(publication, pull.change, &mut opened, services),
    };
    Execution {
        effect: Effect::Opened(opened),
        stop: finished.err().map(Stop::Errors),
    }
}

/// Schedules the merge of an open pull request, deletes the branches of merged ones, and waits for the merge if that is
/// requested.
fn finish(
    publication: &Publication<'_>,
    change: PullRequestAction,
    opened: &mut OpenedPull,
    services: &Services,
) -> Result<(), Errors> {
    let number = opened.row.number;
    let is_merged = schedule_merge(publication, number, &opened.row.url, services)?;
    if change != PullRequestAction::Unchanged {
        delete_earlier(publication, services);
    }
    let repository = &publication.head.repository;
    if let Some(request) = publication.request.wait {
        note_wait(number, &opened.row.url, services);
        let authority = MergeAuthority::Given(publication.permission());
        let config = publication.config;
        let awaited = wait_for_merge(repository, config, number, request, &authority, services)?;
        opened.state = awaited.document.state.unwrap_or("unknown");
        opened
            .merge_commit
            .clone_from(&awaited.document.merge_commit);
        opened.wait = Some(awaited.document);
        return awaited.errors.map_or(Ok(()), Err);
    }
    if is_merged {
        opened.state = "merged";
        opened.merge_commit = merge_commit(&repository.forge, number, services)?;
    }
    Ok(())
}

/// Deletes the branches of merged pull requests of the set. A failure only warns.
fn delete_earlier(publication: &Publication<'_>, services: &Services) {
    let config = publication.config;
    if !config.forge_or_default().delete_branch {
        return;
    }
    let head = publication.head;
    let repository = &head.repository;
    let merged = format!("merged {}s", repository.forge.words().pull_request);
    let listed = head.base.own_branches.clone();
    let current = &publication.document.branch;
    let work = own_branches::delete_earlier(repository, config, listed, current);
    match services.wait(work, "deleting merged branches") {
        Ok(deleted) if deleted.is_empty() => {}
        Ok(deleted) => services.console.note(&format!(
            "note: branches of {merged} were deleted: {}",
            plain(&deleted.join(", "))
        )),
        Err(error) => services
            .console
            .warn(&format!("branches of {merged} were not deleted: {error}")),
    }
}

/// Reconciles the branch, its commit and the pull request with the plan.
fn open(publication: &Publication<'_>, services: &Services) -> Result<Outcome, Errors> {
    let (config, document) = (publication.config, publication.document);
    if let Some(configured) = &config.forge {
        warn_of_silent_checks(&publication.head.repository.forge, configured, services);
    }
    // Earlier stages, such as a smoke test, must not shorten the time for writes.
    services.forge_deadline.restart();
    let name = publication.head.repository.forge.words().pull_request;
    services.interruption.changes(format!(
        "the branch {} and its {name} may be incomplete; run the command again",
        plain(&document.branch)
    ));
    let work = publication.open();
    Ok(services.wait(work, &format!("opening the {name}"))?)
}

/// Schedules the merge; `true` if the pull request is merged.
fn schedule_merge(
    publication: &Publication<'_>,
    number: u64,
    url: &str,
    services: &Services,
) -> Result<bool, Errors> {
    let work = publication.schedule_merge(number, url);
    match services.wait(work, "scheduling the merge")? {
        Some(MergeReport::Scheduled(note)) => services.console.note(&note),
        Some(MergeReport::Merged(note)) => {
            services.console.note(&note);
            return Ok(true);
        }
        // A wait requests it again.
        Some(MergeReport::NotYet(_)) if publication.request.wait.is_some() => {}
        Some(MergeReport::NotYet(warning)) => services.console.warn(&warning),
        None => {}
    }
    Ok(false)
}

#[async_trait(?Send)]
impl CompetingRevisions for Publication<'_> {
    fn has_branch(&self, marker: &Marker, branch: &str) -> bool {
        head::gives_branch(self.config, marker, branch)
    }

    async fn age(&self, revision: &str) -> RevisionAge {
        self.builds.age(revision, &self.document.revision).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::checks::{Check, Stopped};

    #[test]
    fn comment_lists_only_failed_stages() {
        let checks = vec![
            Check::new(Code::STAGE_MISSING, Status::Pass, "passed"),
            Check::new(Code::STAGE_SOAK, Status::Fail, "too short"),
            Check::new(Code::TAG_MISSING, Status::Fail, "no tag"),
        ];
        let stop = |checks: &[Check]| {
            Stop::Chain(Stopped {
                checks: checks.to_vec(),
                errors: Vec::new(),
            })
        };
        let words = Words::for_page("https://git.example/a/b/-/merge_requests/7");
        let text = unstaged_text(&stop(&checks), words).unwrap();
        assert!(text.starts_with("This merge request is a draft"), "{text}");
        assert!(
            text.ends_with("\n\n- `stage_soak`: `too short`\n"),
            "{text}"
        );
        assert_eq!(
            unstaged_text(&stop(&[checks[0].clone(), checks[2].clone()]), words),
            None
        );
    }
}
