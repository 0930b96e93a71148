//! Branches: heads, trees, contents, comparison with a base, and publishing a commit.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{pull_requests::Pull, repository::Repo, tree::Tree};
use crate::error::Error;

/// The branches of a repository, and the commits and files behind them.
#[async_trait(?Send)]
pub trait Branches {
    /// A branch's head; `None` if the branch is missing.
    async fn branch(&self, name: &str) -> Result<Option<Head>, Error>;

    /// The commit behind a branch, a tag or a commit's name; `None` if there is none.
    async fn commit(&self, reference: &str) -> Result<Option<String>, Error>;

    /// All files of a commit's tree.
    async fn tree(&self, head: &Head) -> Result<Tree, Error>;

    /// The contents of blobs, verified, in the order asked for.
    async fn blobs(&self, ids: &[String]) -> Result<Vec<Vec<u8>>, Error>;

    /// What `branch` has ahead of `base`, whose head is `base_head`. `exists`: a listing has just
    /// shown that the branch exists.
    async fn ahead(
        &self,
        base: &str,
        base_head: &Head,
        branch: &str,
        exists: bool,
    ) -> Result<Comparison, Error>;

    /// Makes one commit and moves `branch` to it, if the branch still is as it was. Where that
    /// closes the branch's pull request, the pull request is reopened.
    async fn publish(
        &self,
        commit: &NewCommit<'_>,
        branch: &str,
        was: &BranchState,
    ) -> Result<PublishOutcome, Error>;
}

/// A commit on the forge, and its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The commit's name.
    pub commit: String,
    /// The tree's name, where the forge reports it.
    pub tree: String,
}

impl Head {
    /// A commit whose tree's name is unknown.
    pub fn of_commit(name: &str) -> Self {
        Self {
            commit: name.to_owned(),
            tree: String::new(),
        }
    }
}

/// A commit as far as its message and its parents go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub id: String,
    /// Its message.
    pub message: String,
    /// Its parents; empty where the forge does not list them.
    pub parents: Vec<String>,
}

/// How a branch relates to its base.
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
    /// What the branch has ahead of its base, if both are related.
    pub fn related(self) -> Option<AheadCommits> {
        match self {
            Self::Related(ahead) => Some(ahead),
            Self::Absent | Self::Unrelated(_) => None,
        }
    }
}

/// What a branch has ahead of its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AheadCommits {
    /// The branch's head.
    pub head: String,
    /// The last commit that both have.
    pub merge_base: String,
    /// Commits on the branch that are not on the base, the oldest first.
    pub commits: Vec<Commit>,
    /// What the branch changed since then: path, and the name of the content; `None`: deleted.
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
    /// The pull request of the branch, if there is one.
    pub pull: Option<CarriedPull<'a>>,
}

/// A pull request whose branch gets a new commit.
#[derive(Debug, Clone, Copy)]
pub struct CarriedPull<'a> {
    /// As it was listed.
    pub pull: &'a Pull,
    /// The text that it gets once the branch is at the commit.
    pub body: &'a str,
}

/// A file of a commit to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Path from the top of the repository.
    pub path: String,
    /// The mode that it has and keeps.
    pub mode: String,
    /// The name of the content that it has.
    pub old: String,
    /// The name of the content that it gets.
    pub new: String,
    /// The content that it gets.
    pub content: Vec<u8>,
}

/// The state of a branch when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BranchState {
    /// Missing.
    Absent,
    /// At this commit, with nothing of its own.
    Behind(String),
    /// At this commit, with commits of its own that may go.
    Diverged(String),
}

/// What became of a commit.
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
    /// The branch is at a commit whose parent is another one than was asked for: the base branch
    /// moved at the last moment.
    OnMovedBase,
}
