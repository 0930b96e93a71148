//! Reconciles the pull request of a plan: one commit on one deterministic branch, and one pull
//! request, even with concurrent runs and after interrupted ones.
//!
//! Each round fetches the current state and takes the next step. The next round detects concurrent
//! changes. Checks and plans are made before.

pub(crate) mod own;

use async_trait::async_trait;
pub(crate) use own::{Closing, closing};
use own::{OwnPullRequest, PullsBefore};
use tokio::sync::OnceCell;

use super::{
    Base, Marker, OnlyPins,
    content::{Content, ForgeRepository, PushOutcome},
    merging, origin,
    publishing::CommitOnBase,
};
use crate::{
    base::{error::Error, text::words},
    config::SetPath,
    core::plan::FileChange,
    forge::{
        CreateOutcome, Edit, Forge, Item, LabelOutcome, NewPull, PlannedWrites, Pull, Pulls,
        Readiness, is_workflow,
    },
    git::{AheadCommits, Comparison, NewFile},
};

/// The rounds after which a run gives up on concurrent changes.
const ROUNDS: u32 = 8;

/// Other revisions of the same set.
#[async_trait(?Send)]
pub(crate) trait CompetingRevisions {
    /// Whether the configuration, or the configuration of a former path, gives this branch to the pull
    /// request with a marker.
    fn has_branch(&self, marker: &Marker, branch: &str) -> bool;

    /// The age of a revision relative to the promoted one.
    async fn age(&self, revision: &str) -> RevisionAge;
}

/// The age of a revision relative to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RevisionAge {
    /// History shows that it is older.
    Older,
    /// History shows that it is newer.
    Newer,
    /// History does not show it.
    Unknown,
    /// History could not be read, for this reason.
    Unreadable(String),
}

/// The pull request that is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Proposal<'a> {
    pub branch: &'a str,
    /// The commit's and the pull request's title.
    pub title: &'a str,
    /// The last lines of the commit's message.
    pub trailers: &'a [String],
    /// The pull request's text, with the marker in it.
    pub body: &'a str,
    /// The hidden line by which a later run finds the pull request.
    pub marker: &'a Marker,
    /// The root's path in the repository: empty, or with a `/` at its end.
    pub prefix: &'a str,
    /// The files that change; at least one.
    pub changes: &'a [FileChange],
    pub labels: &'a [String],
    pub state: Readiness,
    /// Whether to reopen a pull request that a person closed.
    pub reopen: bool,
    pub competing_revisions: &'a dyn CompetingRevisions,
    /// Close the pull requests of older revisions.
    pub supersede: bool,
    /// Decides whether a commit on the branch changes pins and nothing else.
    pub only_pins: OnlyPins<'a>,
    /// Whether merges are scheduled. A scheduled merge of a foreign head is canceled.
    pub auto_merge: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// The pull request is in the planned state.
    Reconciled(Box<PullRequestResult>),
    /// The base branch moved, so the plan is outdated.
    BaseMoved {
        /// Whether a visible change may have been made.
        may_have_changed: bool,
    },
}

/// A pull request in the planned state.
#[derive(Debug, Clone)]
pub(crate) struct PullRequestResult {
    pub number: u64,
    /// The URL of its web page.
    pub url: String,
    pub change: PullRequestAction,
    /// The numbers of the older pull requests that were closed.
    pub superseded: Vec<u64>,
    /// Failures that only warn.
    pub warnings: Vec<String>,
    /// The error of a step after the pull request was opened.
    pub late_error: Option<Error>,
}

words! {
    /// The action taken on a pull request.
    pub(crate) enum PullRequestAction {
        /// It was opened.
        Created = "created",
        /// It existed and was changed.
        Updated = "updated",
        /// It existed in the planned state.
        Unchanged = "unchanged",
    }
}

/// Reconciles one branch and its pull request with the plan.
struct Reconcile<'a> {
    repository: &'a ForgeRepository,
    forge: &'a Forge,
    content: &'a Content,
    base: &'a Base,
    proposal: &'a Proposal<'a>,
    files: Vec<NewFile>,
    permitted: OnceCell<()>,
    /// Whether a visible change may have been made.
    may_have_changed: bool,
    change: PullRequestAction,
}

/// The result of a step.
enum Step {
    /// The branch and this pull request exist as planned.
    Settled(Box<Pull>),
    /// The state must be fetched again, for this reason.
    Again(String),
    /// The plan is outdated.
    BaseMoved,
}

/// Reconciles the branch and the pull request with the proposal.
pub(crate) async fn open(
    repository: &ForgeRepository,
    base: &Base,
    proposal: &Proposal<'_>,
) -> Result<Outcome, Error> {
    let files = base.files(proposal.prefix, proposal.changes)?;
    let mut work = Reconcile {
        repository,
        forge: &repository.forge,
        content: &repository.content,
        base,
        proposal,
        files,
        permitted: OnceCell::new(),
        may_have_changed: false,
        change: PullRequestAction::Unchanged,
    };
    work.rounds().await.map_err(|error| Error {
        may_have_changed: work.may_have_changed,
        ..error
    })
}

impl Reconcile<'_> {
    async fn rounds(&mut self) -> Result<Outcome, Error> {
        let mut last_reason = String::new();
        for round in 1..=ROUNDS {
            let (step, before) = self.round(round).await?;
            match step {
                Step::BaseMoved => {
                    return Ok(Outcome::BaseMoved {
                        may_have_changed: self.may_have_changed,
                    });
                }
                Step::Again(reason) => last_reason = reason,
                Step::Settled(pull) => {
                    let result = self.finish(*pull, before).await;
                    return Ok(Outcome::Reconciled(Box::new(result)));
                }
            }
            self.forge.back_off(round).await;
        }
        let (forge, branch) = (self.forge.name(), self.proposal.branch);
        let pull_request = self.forge.words().pull_request;
        let what = format!("{forge}: the {pull_request} of {branch}");
        let reason = format!(
            "the {pull_request} differs from the plan after {ROUNDS} attempts: {last_reason}"
        );
        Err(Error::unavailable(what, reason))
    }

    /// Takes the remaining steps once the pull request exists. None of them closes it.
    async fn finish(&mut self, pull: Pull, before: PullsBefore) -> PullRequestResult {
        let mut result = PullRequestResult {
            number: pull.number,
            url: pull.url.clone(),
            change: self.change,
            superseded: Vec::new(),
            warnings: Vec::new(),
            late_error: None,
        };
        result.late_error = self.finish_steps(pull, before, &mut result).await.err();
        result
    }

    async fn finish_steps(
        &mut self,
        pull: Pull,
        before: PullsBefore,
        result: &mut PullRequestResult,
    ) -> Result<(), Error> {
        let open = match &before {
            PullsBefore::Listed(open) if self.change != PullRequestAction::Created => open.clone(),
            // Another run may have opened one at the same time, for this revision or another.
            _ => self.forge.pulls(Pulls::Open).await?,
        };
        let pull = self.close_duplicates(pull, &open).await?;
        result.number = pull.number;
        result.url.clone_from(&pull.url);
        result.change = self.change;
        self.yield_to_newer(&pull, &before, &open).await?;
        self.label(&pull, &mut result.warnings).await?;
        self.set_draft(&pull).await?;
        result.change = self.change;
        self.supersede(&pull, &open, result).await
    }

    async fn step(&mut self, open: &[Pull]) -> Result<Step, Error> {
        let branch = self.proposal.branch;
        let ahead = match self.content.compare(&self.base.head, branch).await? {
            Comparison::Absent => None,
            Comparison::Related(ahead) => Some(ahead),
            Comparison::Unrelated(head) => {
                let error = origin::unrelated(self.branch_subject(), &head, &self.base.branch);
                return Err(self.disable_auto_merge(open, error).await);
            }
        };
        if let Some(ahead) = &ahead {
            self.refuse_foreign(ahead, open).await?;
        }
        let found = self.find(open).await?;
        if let Some(ahead) = &ahead
            && self.is_usable(ahead, &found).await?
        {
            return match found {
                OwnPullRequest::Open(pull) => Ok(Step::Settled(pull)),
                OwnPullRequest::Closed(pull) => self.reopen(&pull).await,
                OwnPullRequest::Merged | OwnPullRequest::Nothing => self.create().await,
            };
        }
        self.permit().await?;
        let old_head = ahead.map(|ahead| ahead.head);
        let found = match found {
            // GitHub cannot reopen a pull request after its branch moved. A new pull request has
            // the planned branch already.
            OwnPullRequest::Closed(closed) => match self.reopen(&closed).await? {
                Step::Settled(pull) if pull.number == closed.number => OwnPullRequest::Open(pull),
                other => return Ok(other),
            },
            found => found,
        };
        let found = match found {
            OwnPullRequest::Open(pull) => OwnPullRequest::Open(self.announce(*pull).await?),
            found => found,
        };
        self.publish(old_head.as_deref(), found, None).await
    }

    fn branch_subject(&self) -> String {
        format!("{}: the branch {}", self.forge.name(), self.proposal.branch)
    }

    /// Fails if the branch has a foreign commit, and cancels the scheduled merge of that commit.
    async fn refuse_foreign(&mut self, ahead: &AheadCommits, open: &[Pull]) -> Result<(), Error> {
        if let Some(other) = self.other_set(ahead, open) {
            // The scheduled merge would include the commit of the other set.
            let error = self.other_set_error(&other);
            return Err(self.disable_auto_merge(open, error).await);
        }
        let files = &self.files;
        // A listed path with the content of the base may have another mode.
        let expected =
            |path: &str, id: &str| files.iter().any(|file| file.path == path && file.new == id);
        let found =
            origin::foreign(self.content, ahead, &expected, self.proposal.only_pins).await?;
        let Some(foreign) = found else { return Ok(()) };
        let error = if self.is_of_top_set(ahead).await? {
            self.other_set_error(&SetPath::top())
        } else {
            foreign.error(self.branch_subject())
        };
        Err(self.disable_auto_merge(open, error).await)
    }

    /// Cancels the scheduled merge of the branch's pull request, and reports this in `error`.
    async fn disable_auto_merge(&mut self, open: &[Pull], error: Error) -> Error {
        let armed = |pull: &&Pull| {
            self.proposal.auto_merge
                && pull.own
                && pull.head == self.proposal.branch
                && self.is_marked(pull)
        };
        match open.iter().find(armed) {
            Some(pull) => merging::disable_auto_merge(self.forge, pull, error).await,
            None => error,
        }
    }

    /// Whether the branch can remain as it is: its merge gives the planned contents without a conflict.
    async fn is_usable(&self, ahead: &AheadCommits, found: &OwnPullRequest) -> Result<bool, Error> {
        let fresh = ahead.merge_base == self.base.head;
        // A merged pull request is not reused: its branch restarts at the base's head.
        if matches!(found, OwnPullRequest::Merged) && !fresh {
            return Ok(false);
        }
        if !self.is_planned(ahead) {
            return Ok(false);
        }
        if !fresh && !self.is_mergeable(ahead, found).await? {
            return Ok(false);
        }
        // A pull request shows an old commit if its branch moved while it was closed, or if a push was
        // interrupted.
        match found {
            OwnPullRequest::Open(pull) | OwnPullRequest::Closed(pull) => {
                self.forge.shows_head(pull, &ahead.head).await
            }
            OwnPullRequest::Merged | OwnPullRequest::Nothing => Ok(true),
        }
    }

    /// Whether a branch that begins at an older commit of the base can be merged.
    async fn is_mergeable(
        &self,
        ahead: &AheadCommits,
        found: &OwnPullRequest,
    ) -> Result<bool, Error> {
        // A change of one of these files on the base would be a conflict.
        let origin = self.content.tree(&ahead.merge_base)?;
        let same = |file: &NewFile| {
            let entry = origin.entries.get(&file.path);
            entry.is_some_and(|entry| entry.id == file.old)
        };
        if !self.files.iter().all(same) {
            return Ok(false);
        }
        let pull = match found {
            OwnPullRequest::Open(pull) => Some(&**pull),
            _ => None,
        };
        Ok(!self.forge.is_outdated(pull, &self.base.branch).await?)
    }

    /// Whether the branch has the planned content in each planned file, and the base's in all
    /// others.
    fn is_planned(&self, ahead: &AheadCommits) -> bool {
        let planned = |path: &str| {
            let mut entry = self.base.tree.entries.get(path).cloned()?;
            if let Some(file) = self.files.iter().find(|file| file.path == path) {
                entry.id.clone_from(&file.new);
            }
            Some(entry)
        };
        self.files
            .iter()
            .all(|file| ahead.changed.contains_key(&file.path))
            && ahead
                .changed
                .iter()
                .all(|(path, entry)| *entry == planned(path))
    }

    /// Checks the token's permissions before anything is written.
    async fn permit(&self) -> Result<(), Error> {
        let check = || async {
            let mut files = self.files.iter();
            let workflows = files.any(|file| is_workflow(&file.path));
            let writes = PlannedWrites { workflows };
            self.forge
                .check_permissions(&self.base.repo, writes)
                .await?;
            if self.proposal.auto_merge {
                self.forge.check_merge_method(&self.base.branch).await?;
            }
            Ok(())
        };
        self.permitted.get_or_try_init(check).await.copied()
    }

    /// Records that the pull request changed; one that this run opened remains `created`.
    fn updated(&mut self) {
        if self.change != PullRequestAction::Created {
            self.change = PullRequestAction::Updated;
        }
    }

    /// Records the outcome of a change; a refused request changed nothing.
    fn record<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.may_have_changed |= result
            .as_ref()
            .err()
            .is_none_or(|error| error.may_have_changed);
        result
    }

    /// Updates the text before the branch: a run that is interrupted in between is repeated by the next
    /// one, which finds the old contents.
    async fn announce(&mut self, pull: Pull) -> Result<Box<Pull>, Error> {
        let edit = Edit {
            title: Some((self.proposal.title, pull.readiness)),
            body: Some(self.proposal.body),
            transition: None,
        };
        let edited = self.forge.edit_pull(pull.number, &edit).await;
        let edited = self.record(edited)?;
        self.updated();
        Ok(Box::new(Pull {
            body: edited.body,
            ..pull
        }))
    }

    /// Creates the commit, the branch and, if it is missing, the pull request. `protection_requires_signatures`: whether the
    /// protection of the base requires signed commits, if that is known.
    async fn publish(
        &mut self,
        old_head: Option<&str>,
        found: OwnPullRequest,
        protection_requires_signatures: Option<bool>,
    ) -> Result<Step, Error> {
        let trailers = self.proposal.trailers.join("\n");
        let message = format!("{}\n\n{trailers}\n", self.proposal.title);
        let commit = CommitOnBase {
            repo: &self.base.repo,
            base: &self.base.branch,
            parent: &self.base.head,
            branch: self.proposal.branch,
            old: old_head,
            message: &message,
            files: &self.files,
            protection_requires_signatures,
        };
        match commit.publish(self.repository).await? {
            PushOutcome::BaseMoved => return Ok(Step::BaseMoved),
            PushOutcome::Raced(reason) => return Ok(Step::Again(reason)),
            PushOutcome::Unsure(reason) => {
                self.may_have_changed = true;
                return Ok(Step::Again(reason));
            }
            PushOutcome::Refused(error) => return Err(error),
            PushOutcome::Done => self.may_have_changed = true,
        }
        match found {
            OwnPullRequest::Open(pull) => Ok(Step::Settled(pull)),
            _ => self.create().await,
        }
    }

    /// Opens the pull request. If it exists already, the next round finds it.
    async fn create(&mut self) -> Result<Step, Error> {
        self.permit().await?;
        let proposal = self.proposal;
        let new = NewPull {
            title: proposal.title,
            body: proposal.body,
            head: proposal.branch,
            base: &self.base.branch,
            state: proposal.state,
            labels: proposal.labels,
        };
        let created = self.forge.create_pull(&new).await;
        if let Err(error) = &created {
            self.may_have_changed |= error.may_have_changed;
        }
        let created = created?;
        if matches!(created, CreateOutcome::New(_) | CreateOutcome::Unsure(_)) {
            self.may_have_changed = true;
            // After a lost response, the pull request that is found counts as opened by this run.
            self.change = PullRequestAction::Created;
        }
        Ok(match created {
            CreateOutcome::New(pull) => Step::Settled(pull),
            CreateOutcome::Unsure(reason)
            | CreateOutcome::Exists(reason)
            | CreateOutcome::NotYet(reason) => Step::Again(reason),
        })
    }

    /// Adds the labels. A failure is a warning.
    async fn label(&mut self, pull: &Pull, warnings: &mut Vec<String>) -> Result<(), Error> {
        let labels = self.proposal.labels;
        if !pull.lacks_labels(labels, self.change == PullRequestAction::Created) {
            return Ok(());
        }
        self.permit().await?;
        let reason = match self.forge.add_labels(Item::Pull(pull.number), labels).await {
            Ok(LabelOutcome::Done) => return Ok(()),
            Ok(LabelOutcome::NotPermitted(reason)) => reason,
            Err(error) => error.to_string(),
        };
        warnings.push(format!("cannot add the labels: {reason}"));
        Ok(())
    }

    /// Changes between draft and ready.
    async fn set_draft(&mut self, pull: &Pull) -> Result<(), Error> {
        if pull.readiness != self.proposal.state {
            self.permit().await?;
            self.forge.set_state(pull, self.proposal.state).await?;
            self.updated();
        }
        Ok(())
    }
}
