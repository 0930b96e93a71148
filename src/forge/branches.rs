//! Branches: heads, trees, contents, comparison with a base, and publishing a commit.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{pull_requests::Pull, repository::Repo, tree::Tree};
use crate::error::Error;

/// The branches of a repository, with their commits and files.
#[async_trait(?Send)]
pub trait Branches {
    /// A branch's head; `None` if the branch is missing.
    async fn branch(&self, name: &str) -> Result<Option<Head>, Error>;

    /// The commit of a branch, a tag or a commit id; `None` if it is missing.
    async fn commit(&self, reference: &str) -> Result<Option<String>, Error>;

    /// All files of a commit's tree.
    async fn tree(&self, head: &Head) -> Result<Tree, Error>;

    /// The contents of blobs, verified, in the requested order.
    async fn blobs(&self, ids: &[String]) -> Result<Vec<Vec<u8>>, Error>;

    /// The changes of `branch` since `base`, whose head is `base_head`. `exists`: a listing has
    /// just shown that the branch exists.
    async fn ahead(
        &self,
        base: &str,
        base_head: &Head,
        branch: &str,
        exists: bool,
    ) -> Result<Comparison, Error>;

    /// Makes one commit and moves `branch` to it, if the branch is unchanged. If that closes the
    /// branch's pull request, reopens it.
    async fn publish(
        &self,
        commit: &NewCommit<'_>,
        branch: &str,
        was: &BranchState,
    ) -> Result<PublishOutcome, Error>;

    /// Whether the forge closes the pull request of a branch that is rebuilt from this state.
    async fn rebuilding_closes(&self, was: &BranchState) -> Result<bool, Error>;
}

/// A commit on the forge, and its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The commit's id.
    pub commit: String,
    /// The tree's id, if the forge reports it.
    pub tree: String,
}

impl Head {
    /// A commit whose tree is unknown.
    pub fn of_commit(name: &str) -> Self {
        Self {
            commit: name.to_owned(),
            tree: String::new(),
        }
    }
}

/// The message and the parents of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub id: String,
    /// Its message.
    pub message: String,
    /// Its parents; empty if the forge does not list them.
    pub parents: Vec<String>,
}

/// The relation of a branch to its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// The branch is missing.
    Absent,
    /// The branch exists at this head and has no commit in common with its base.
    Unrelated(String),
    /// The branch exists and has a merge base with its base.
    Related(AheadCommits),
}

impl Comparison {
    /// The changes of the branch since its base, if both are related.
    pub fn related(self) -> Option<AheadCommits> {
        match self {
            Self::Related(ahead) => Some(ahead),
            Self::Absent | Self::Unrelated(_) => None,
        }
    }
}

/// The changes of a branch since its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AheadCommits {
    /// The branch's head.
    pub head: String,
    /// The last common commit.
    pub merge_base: String,
    /// Commits on the branch that are not on the base, the oldest first.
    pub commits: Vec<Commit>,
    /// The files that changed since then: path and content id; `None`: deleted.
    pub changed: BTreeMap<String, Option<String>>,
}

/// A commit to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewCommit<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// Its parent: the head of the base branch.
    pub parent: &'a Head,
    /// The base branch.
    pub base: &'a str,
    /// The whole message.
    pub message: &'a str,
    /// The files that change.
    pub files: &'a [NewFile],
    /// The pull request of the branch as it was listed, if there is one.
    pub pull: Option<&'a Pull>,
    /// What a survey showed of the base just before; `None`: the forge is asked again.
    pub surveyed: Option<SurveyedBase<'a>>,
}

/// What a survey showed of a base branch. Whoever opens the pull request checks afterwards that the
/// base has not moved.
#[derive(Debug, Clone, Copy)]
pub struct SurveyedBase<'a> {
    /// The name that the commit's tree must have; `None`: it cannot be computed.
    pub tree: Option<&'a str>,
    /// Whether the base branch's protection requires signed commits.
    pub requires_signatures: bool,
}

/// A file of a commit to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Path from the top of the repository.
    pub path: String,
    /// Its mode, which does not change.
    pub mode: String,
    /// The id of its current content.
    pub old: String,
    /// The id of its new content.
    pub new: String,
    /// Its new content.
    pub content: Vec<u8>,
}

/// The state of a branch when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BranchState {
    /// Missing.
    Absent,
    /// At this commit, without commits of its own.
    Behind(String),
    /// At this commit, with commits of its own that may be dropped.
    Diverged(String),
}

/// The outcome of making a commit.
#[derive(Debug, Clone)]
pub enum PublishOutcome {
    /// The branch is at it.
    Done(String),
    /// Another process created or moved the branch concurrently; nothing was written.
    Raced(String),
    /// The forge refused, for the reason in the error unless the branch turns out to have moved;
    /// nothing was written.
    Refused(Error),
    /// The response was lost: the branch may be at it.
    Unsure(String),
    /// Another process moved the base branch concurrently; nothing was written.
    BaseMoved,
    /// The branch is at a commit with a different parent than requested: the base branch moved at
    /// the last moment.
    OnMovedBase,
}
