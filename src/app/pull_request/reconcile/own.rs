//! Finds the pull request of a plan by its marker and its branch, open or closed.
//!
//! Detects that the configurations of two sets give the same branch.
//!
//! Closes older pull requests of the same set with a comment, so that two are never merged out of
//! order.
//!
//! The first round if the state of the repository shows neither a branch nor a pull request: both are created
//! without listing pull requests. A survey of a fleet may be hours old. If the branch or the pull request was created
//! since then, or the base moved, the push or the request is refused, and the next round fetches the state.

use std::cmp::Ordering;

use super::{
    AheadCommits, Comparison, Edit, Error, Proposal, Pull, PullRequestAction, PullRequestResult,
    Pulls, Reconcile, RevisionAge, Step, origin,
};
use crate::{
    app::pull_request::{Marker, MarkerKind, close_with, merging},
    base::{error::Class, untrusted::plain},
    config::{Operation, SetPath, Trailer},
    core::plan,
    forge::{Forge, Item, PullState, Transition, UnusedBranch},
};

/// Begins the note in the comment with which a duplicate is closed.
const DUPLICATE: &str = "<!-- repin/1 duplicate-of=";

/// Begins the note in the comment with which an older pull request is closed.
pub(super) const SUPERSEDED_BY: &str = "<!-- repin/1 superseded-by=";

/// The pull request, if one exists.
pub(super) enum OwnPullRequest {
    Open(Box<Pull>),
    /// Closed by repin or its forge, so it is reopened.
    Closed(Box<Pull>),
    /// The last pull request was merged.
    Merged,
    Nothing,
}

/// The cause of a closed pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// A run closed it in favor of another pull request of the set.
    Superseded {
        /// The number of the other one.
        by: u64,
        /// Whether the other one is open.
        open: bool,
    },
    /// Another user closed the pull request.
    ByPerson,
}

/// Determines the cause of a closed pull request from its comments.
pub(crate) async fn closing(forge: &Forge, number: u64) -> Result<Closing, Error> {
    let comments = forge.comments(Item::Pull(number)).await?;
    let by = comments.iter().rev().find_map(|comment| {
        let (_, rest) = comment.body.split_once(SUPERSEDED_BY)?;
        rest.split_once(" -->")?.0.parse().ok()
    });
    Ok(match by {
        Some(by) => {
            let other = forge.pull(by).await?;
            let open = other.is_some_and(|other| other.state == PullState::Open);
            Closing::Superseded { by, open }
        }
        None => Closing::ByPerson,
    })
}

impl Reconcile<'_> {
    /// Searches the open pull requests, then the closed ones.
    pub(super) async fn find(&self, open: &[Pull]) -> Result<OwnPullRequest, Error> {
        let here = |pull: &&Pull| {
            pull.own && pull.head == self.proposal.branch && pull.base == self.base.branch
        };
        let marked = |pull: &&Pull| here(pull) && self.is_marked(pull);
        if let Some(pull) = open.iter().filter(marked).min_by_key(|pull| pull.number) {
            return Ok(OwnPullRequest::Open(Box::new(pull.clone())));
        }
        if let Some(pull) = open.iter().find(here) {
            let what = self.describe(pull);
            let reason = format!(
                "it is open for {}, but its body lacks the marker of this set",
                pull.head
            );
            return Err(Error::about(Class::Conflict, what, reason)
                .help("close it, or give its branch another name"));
        }
        let closed = self
            .forge
            .pulls(Pulls::Closed(self.proposal.branch))
            .await?;
        let mut marked: Vec<&Pull> = closed.iter().filter(marked).collect();
        marked.sort_by_key(|pull| pull.number);
        // The state of the pull request that remained counts, not that of its closed duplicates.
        while let [_, .., last] = marked[..]
            && last.state == PullState::Closed
            && self.is_duplicate(last).await?
        {
            marked.pop();
        }
        match marked.pop() {
            Some(pull) if pull.state == PullState::Closed => {
                if self.proposal.reopen {
                    return Ok(OwnPullRequest::Closed(Box::new(pull.clone())));
                }
                let what = self.describe(pull);
                match closing(self.forge, pull.number).await? {
                    Closing::Superseded { open: false, .. } => {
                        Ok(OwnPullRequest::Closed(Box::new(pull.clone())))
                    }
                    Closing::Superseded { by, .. } => {
                        let by = self.forge.words().mark(by);
                        let reason = format!("{by} supersedes it, and is open");
                        Err(Error::about(Class::Refused, what, reason)
                            .help(format!("promote the revision of {by}, or close {by} first")))
                    }
                    Closing::ByPerson => {
                        let reason = "it was closed without being merged, and repin does not reopen it by itself";
                        Err(Error::about(Class::Refused, what, reason)
                            .help("add --reopen to reopen it"))
                    }
                }
            }
            Some(_) => Ok(OwnPullRequest::Merged),
            None => Ok(OwnPullRequest::Nothing),
        }
    }

    /// Whether a run closed the pull request as a duplicate of another one.
    async fn is_duplicate(&self, pull: &Pull) -> Result<bool, Error> {
        let comments = self.forge.comments(Item::Pull(pull.number)).await?;
        Ok(comments
            .iter()
            .any(|comment| comment.body.contains(DUPLICATE)))
    }

    /// The pull request as the subject of an error.
    pub(super) fn describe(&self, pull: &Pull) -> String {
        format!("{}: {} ({})", self.forge.name(), pull.name(), pull.url)
    }

    pub(super) fn is_marked(&self, pull: &Pull) -> bool {
        let ours = self.proposal.marker;
        Marker::find(&pull.body).is_some_and(|found| {
            let is_same = (&found.kind, &found.revision) == (&ours.kind, &ours.revision);
            is_same && self.is_own(&found.set)
        })
    }

    /// Closes the duplicates that concurrent runs opened for the branch: the lowest number remains.
    pub(super) async fn close_duplicates(
        &mut self,
        ours: Pull,
        open: &[Pull],
    ) -> Result<Pull, Error> {
        let mut all: Vec<&Pull> = open
            .iter()
            .filter(|pull| {
                pull.own && pull.head == ours.head && pull.base == ours.base && self.is_marked(pull)
            })
            .collect();
        // A listing may be outdated.
        if !all.iter().any(|pull| pull.number == ours.number) {
            all.push(&ours);
        }
        all.sort_by_key(|pull| pull.number);
        let (first, duplicates) = (all[0].clone(), all[1..].to_vec());
        for duplicate in duplicates {
            self.permit().await?;
            let note = format!("{DUPLICATE}{} -->", first.number);
            let text = format!("Duplicate of {}, which has the same branch.", first.mark());
            close_with(self.forge, duplicate.number, &text, &note).await?;
        }
        // Only a pull request that this run opened can have an earlier duplicate.
        if first.number != ours.number {
            self.change = PullRequestAction::Unchanged;
        }
        Ok(first)
    }

    /// Reopens a closed pull request, or opens a new one if the forge refuses.
    pub(super) async fn reopen(&mut self, pull: &Pull) -> Result<Step, Error> {
        self.permit().await?;
        let edit = Edit {
            transition: Some(Transition::Reopen),
            ..Edit::default()
        };
        let edited = self.forge.edit_pull(pull.number, &edit).await;
        match self.record(edited) {
            Ok(pull) => {
                self.updated();
                Ok(Step::Settled(Box::new(pull)))
            }
            Err(error) if error.class == Class::Refused => self.replace().await,
            Err(error) => Err(error),
        }
    }

    /// Opens a new pull request for the branch, which is updated first.
    async fn replace(&mut self) -> Result<Step, Error> {
        let branch = self.proposal.branch;
        self.content.fetch(&[branch]).await?;
        let old_head = match self.content.compare(&self.base.head, branch).await? {
            Comparison::Absent => None,
            Comparison::Unrelated(head) => {
                let branch = &self.base.branch;
                return Err(origin::unrelated(self.branch_subject(), &head, branch));
            }
            Comparison::Related(ahead) => {
                self.refuse_foreign(&ahead, &[]).await?;
                if self.is_usable(&ahead, &OwnPullRequest::Nothing).await? {
                    return self.create().await;
                }
                Some(ahead.head)
            }
        };
        let nothing = OwnPullRequest::Nothing;
        Box::pin(self.publish(old_head.as_deref(), nothing, None)).await
    }
}

impl Reconcile<'_> {
    /// Another set with a pull request or a commit on the branch.
    pub(super) fn other_set(&self, ahead: &AheadCommits, open: &[Pull]) -> Option<SetPath> {
        let ours = &self.proposal.marker.set;
        let pulls = open
            .iter()
            .filter(|pull| pull.own && pull.head == self.proposal.branch)
            .filter_map(|pull| Marker::find(&pull.body))
            .filter(|marker| matches!(marker.kind, MarkerKind::Set(_)))
            .map(|marker| marker.set);
        let commits = ahead.commits.iter().filter_map(|commit| {
            // A trailer without a path may refer to this set: the content decides.
            let trailers = Trailer::from_message(&commit.message);
            let sets: Option<Vec<SetPath>> = trailers.map(|trailer| trailer.set).collect();
            let sets = sets.filter(|sets| !sets.contains(ours))?;
            sets.first().cloned()
        });
        let mut sets = pulls.chain(commits);
        sets.find(|set| !self.is_own(set))
    }

    /// Whether the commits of the branch belong to the `repin.yaml` at the top, whose trailer has no path:
    /// they change its pins and nothing else.
    pub(super) async fn is_of_top_set(&self, ahead: &AheadCommits) -> Result<bool, Error> {
        let mut trailers = ahead
            .commits
            .iter()
            .flat_map(|commit| Trailer::from_message(&commit.message));
        let top = SetPath::top();
        if self.proposal.marker.set == top || !trailers.any(|trailer| trailer.set.is_none()) {
            return Ok(false);
        }
        let Some(Ok(config)) = self.base.configuration(self.content, &top).await? else {
            return Ok(false);
        };
        let only_pins = plan::pin_only_filter(&config, "");
        let foreign = origin::foreign(self.content, ahead, &|_, _| false, &only_pins).await?;
        Ok(foreign.is_none())
    }

    /// Whether a set path is that of this set, or a former one that gave the same branch.
    pub(super) fn is_own(&self, set: &SetPath) -> bool {
        let Proposal { marker, branch, .. } = self.proposal;
        let marker = Marker {
            set: set.clone(),
            ..Marker::clone(marker)
        };
        self.proposal
            .competing_revisions
            .has_branch(&marker, branch)
    }

    /// The error for the branch of the proposal if it is that of another set.
    pub(super) fn other_set_error(&self, other: &SetPath) -> Error {
        let MarkerKind::Set(operation) = self.proposal.marker.kind else {
            return Error::internal();
        };
        shared_branch(
            self.branch_subject(),
            operation,
            &self.proposal.marker.set,
            other,
        )
    }
}

/// The error for a branch of the set `other` that the configuration of the set `ours` also gives.
pub(crate) fn shared_branch(
    subject: String,
    operation: Operation,
    ours: &SetPath,
    other: &SetPath,
) -> Error {
    let key = format!("{}.branch", operation.as_str());
    let help = if ours.key() == other.key() {
        format!("give `{key}` of one set another name")
    } else {
        format!("give `{key}` a name that contains {{set}}")
    };
    let reason = format!(
        "it belongs to the set {}, and the configuration of the set {} gives the same branch",
        plain(&other.to_string()),
        plain(&ours.to_string())
    );
    Error::about(Class::Conflict, subject, reason).help(help)
}

impl Reconcile<'_> {
    /// The age of the revision of `pull`, if it was opened for another revision of the same set, or
    /// under a former name of the set.
    async fn competing_revision_age(
        &self,
        pull: &Pull,
        ours: &Pull,
    ) -> Result<Option<RevisionAge>, Error> {
        let Some(marker) = Marker::find(&pull.body) else {
            return Ok(None);
        };
        let proposal = self.proposal;
        let is_competing = marker.kind == proposal.marker.kind
            && pull.own
            && pull.base == ours.base
            && pull.head != proposal.branch;
        // Anyone can write a marker; the branch is one that only the configuration of the set gives.
        if !is_competing || !proposal.competing_revisions.has_branch(&marker, &pull.head) {
            return Ok(None);
        }
        if marker.revision == proposal.marker.revision {
            return Ok(Some(RevisionAge::Older));
        }
        if !proposal.supersede {
            return Ok(None);
        }
        Ok(Some(
            proposal.competing_revisions.age(&marker.revision).await,
        ))
    }

    /// Closes those of `open` that were opened for another revision of the same set: before `ours`,
    /// unless they are newer, and at the same time, if they are older. A pull request with a foreign
    /// commit stays open.
    pub(super) async fn supersede(
        &mut self,
        ours: &Pull,
        open: &[Pull],
        result: &mut PullRequestResult,
    ) -> Result<(), Error> {
        for pull in open {
            let is_earlier = match pull.number.cmp(&ours.number) {
                Ordering::Less => true,
                Ordering::Greater if self.change == PullRequestAction::Created => false,
                _ => continue,
            };
            match self.competing_revision_age(pull, ours).await? {
                Some(RevisionAge::Older) => {}
                Some(RevisionAge::Unknown) if is_earlier => {}
                Some(RevisionAge::Newer | RevisionAge::Unknown) | None => continue,
                Some(RevisionAge::Unreadable(reason)) => {
                    let warning = format!("{} was not closed: {reason}", pull.name());
                    result.warnings.push(warning);
                    continue;
                }
            }
            match merging::permits(self.repository, pull, self.proposal.only_pins).await {
                Ok(()) => {}
                Err(error) if error.class == Class::Conflict => {
                    let mut error = error;
                    if self.proposal.auto_merge {
                        error = merging::disable_auto_merge(self.forge, pull, error).await;
                    }
                    result.warnings.push(format!("not closed: {error}"));
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.close_superseded(pull.number, ours.number).await?;
            result.superseded.push(pull.number);
        }
        Ok(())
    }

    /// Closes this run's pull request if a newer revision was promoted concurrently, regardless of
    /// which was opened first. A pull request counts as concurrent if it is not in `before`.
    pub(super) async fn yield_to_newer(
        &mut self,
        ours: &Pull,
        before: &PullsBefore,
        open: &[Pull],
    ) -> Result<(), Error> {
        let mut newer = None;
        for pull in open {
            if !before.contains(pull)
                && self.competing_revision_age(pull, ours).await? == Some(RevisionAge::Newer)
            {
                newer = Some(pull);
                break;
            }
        }
        let Some(newer) = newer else { return Ok(()) };
        self.close_superseded(ours.number, newer.number).await?;
        let what = self.describe(ours);
        let reason = format!(
            "it was closed: {} was opened at the same time and moves the same set to a newer revision",
            newer.mark()
        );
        Err(Error::about(Class::Refused, what, reason))
    }

    async fn close_superseded(&mut self, number: u64, by: u64) -> Result<(), Error> {
        self.permit().await?;
        let note = format!("{SUPERSEDED_BY}{by} -->");
        let text = format!(
            "Superseded by {}, which moves the same set to this revision or to a newer one.",
            self.forge.words().mark(by)
        );
        close_with(self.forge, number, &text, &note).await
    }
}

/// The pull requests that were open before this run opened its own.
pub(super) enum PullsBefore {
    /// All of them.
    Listed(Vec<Pull>),
    /// Those with at most this number.
    UpTo(u64),
}

impl PullsBefore {
    pub(super) fn contains(&self, pull: &Pull) -> bool {
        match self {
            Self::Listed(known) => known.iter().any(|known| known.number == pull.number),
            Self::UpTo(newest) => pull.number <= *newest,
        }
    }
}

impl Reconcile<'_> {
    /// Fetches the state and takes the next step. Also returns the earlier pull requests.
    pub(super) async fn round(&mut self, round: u32) -> Result<(Step, PullsBefore), Error> {
        let base = self.base;
        if let Some(unused) = base.unused(self.proposal.branch).filter(|_| round == 1) {
            let step = self.begin(unused).await?;
            return Ok((step, PullsBefore::UpTo(unused.newest_pull)));
        }
        if round > 1 || base.is_surveyed() {
            let branches = [&*base.branch, self.proposal.branch];
            self.content.fetch(&branches).await?;
            if self.content.head(&base.branch).await?.as_ref() != Some(&base.head) {
                return Ok((Step::BaseMoved, PullsBefore::Listed(Vec::new())));
            }
        }
        let open = self.forge.pulls(Pulls::Open).await?;
        let step = self.step(&open).await?;
        Ok((step, PullsBefore::Listed(open)))
    }

    /// Creates the branch and the pull request.
    async fn begin(&mut self, unused: UnusedBranch) -> Result<Step, Error> {
        self.permit().await?;
        let base = &self.base.branch;
        // The history that a plan needed has the head. The push is refused if the branch moved since.
        if !self.content.has_fetched(base)? {
            let head = &self.base.head;
            self.content.fetch_only_commit(base, head).await?;
        }
        if self.content.head(base).await?.as_ref() != Some(&self.base.head) {
            return Ok(Step::BaseMoved);
        }
        let nothing = OwnPullRequest::Nothing;
        let protected = Some(unused.protection_requires_signatures);
        self.publish(None, nothing, protected).await
    }
}
