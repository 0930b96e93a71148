//! Finds the pull request of a plan by its marker and its branch, open or closed.

use super::{Change, Comparison, Edit, Error, Pull, Pulls, Reconcile, Step, origin};
use crate::{
    app::pull_request::{Marker, close_with},
    base::error::Class,
    forge::{Forge, PullState, Transition},
};

/// Marks the text while the branch is recreated, because some forges close the pull request. After
/// an interrupted run, the mark shows that repin caused it.
const MOVING: &str = "<!-- repin/1 moving -->";

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
    let comments = forge.comments(number).await?;
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

pub(super) fn while_moving(body: &str) -> String {
    format!("{MOVING}\n{body}")
}

/// Whether a run was interrupted while it recreated the branch of the pull request.
pub(crate) fn is_moving(pull: &Pull) -> bool {
    pull.body.trim_start().starts_with(MOVING)
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
                if self.proposal.reopen || is_moving(pull) {
                    return Ok(OwnPullRequest::Closed(Box::new(pull.clone())));
                }
                let what = self.describe(pull);
                match closing(self.forge, pull.number).await? {
                    Closing::Superseded { open: false, .. } => {
                        Ok(OwnPullRequest::Closed(Box::new(pull.clone())))
                    }
                    Closing::Superseded { by, .. } => {
                        let reason = format!("#{by} supersedes it, and is open");
                        Err(Error::about(Class::Refused, what, reason).help(format!(
                            "promote the revision of #{by}, or close #{by} first"
                        )))
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
        let comments = self.forge.comments(pull.number).await?;
        Ok(comments
            .iter()
            .any(|comment| comment.body.contains(DUPLICATE)))
    }

    /// The pull request as the subject of an error.
    pub(super) fn describe(&self, pull: &Pull) -> String {
        format!(
            "{}: pull request #{} ({})",
            self.forge.name(),
            pull.number,
            pull.url
        )
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
            let text = format!("Duplicate of #{}, which has the same branch.", first.number);
            close_with(self.forge, duplicate.number, &text, &note).await?;
        }
        // Only a pull request that this run opened can have an earlier duplicate.
        if first.number != ours.number {
            self.change = Change::Unchanged;
        }
        Ok(first)
    }

    /// Removes the notice from an open pull request with the planned branch. This is the last step,
    /// so an interrupted run does not remove it.
    pub(super) async fn remove_notice(&mut self, pull: Box<Pull>) -> Result<Box<Pull>, Error> {
        if !is_moving(&pull) {
            return Ok(pull);
        }
        self.permit().await?;
        let edit = Edit {
            body: Some(self.proposal.body),
            ..Edit::default()
        };
        let edited = self.forge.edit_pull(pull.number, &edit).await;
        let pull = self.record(edited)?;
        self.updated();
        Ok(Box::new(pull))
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
        let (base, branch) = (self.base, self.proposal.branch);
        let compared = self
            .forge
            .ahead(&base.branch, &base.head, branch, false)
            .await?;
        let old_state = match compared {
            Comparison::Absent => super::BranchState::Absent,
            Comparison::Unrelated(head) => {
                let branch = &self.base.branch;
                return Err(origin::unrelated(self.branch_subject(), &head, branch));
            }
            Comparison::Related(ahead) => {
                self.refuse_foreign(&ahead, &[]).await?;
                if self.is_usable(&ahead, &OwnPullRequest::Nothing).await? {
                    return self.create(None).await;
                }
                if ahead.commits.is_empty() {
                    super::BranchState::Behind(ahead.head)
                } else {
                    super::BranchState::Diverged(ahead.head)
                }
            }
        };
        Box::pin(self.publish(&old_state, OwnPullRequest::Nothing, None)).await
    }
}
