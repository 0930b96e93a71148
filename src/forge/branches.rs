//! Commits, comparisons of branches, and the data for publishing a commit.

use std::collections::BTreeMap;

use super::{pull_requests::Pull, repository::Repo};
use crate::base::error::Error;

/// A commit on the forge, and its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub commit: String,
    /// The tree's id; empty if the forge does not report it.
    pub tree: String,
}

impl Head {
    /// A commit with an unknown tree.
    pub(crate) fn of_commit(id: &str) -> Self {
        Self {
            commit: id.to_owned(),
            tree: String::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub id: String,
    pub message: String,
    /// Empty if the forge does not list them.
    pub parents: Vec<String>,
}

/// The relation of a branch to its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// The branch is missing.
    Absent,
    /// The branch exists at this head and has no commit in common with its base.
    Unrelated(String),
    /// The branch exists and has a merge base with its base.
    Related(AheadCommits),
}

impl Comparison {
    /// The changes of the branch since its base, if both are related.
    pub(crate) fn related(self) -> Option<AheadCommits> {
        match self {
            Self::Related(ahead) => Some(ahead),
            Self::Absent | Self::Unrelated(_) => None,
        }
    }
}

/// The changes of a branch since its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AheadCommits {
    /// The head of the branch.
    pub head: String,
    pub merge_base: String,
    /// The commits of the branch that are not on the base, the oldest first.
    pub commits: Vec<Commit>,
    /// The files that changed since the merge base: path and content id; `None`: deleted.
    pub changed: BTreeMap<String, Option<String>>,
}

/// A new commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewCommit<'a> {
    pub repo: &'a Repo,
    /// Its parent: the head of the base branch.
    pub parent: &'a Head,
    /// The base branch.
    pub base: &'a str,
    pub message: &'a str,
    /// The files that change.
    pub files: &'a [NewFile],
    /// The pull request of the branch as it was listed, if it exists.
    pub pull: Option<&'a Pull>,
    /// The base according to a recent survey; `None`: it is fetched.
    pub surveyed: Option<SurveyedBase<'a>>,
}

/// A base branch as a survey reported it. The code that opens the pull request checks afterwards that
/// the base has not moved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SurveyedBase<'a> {
    /// The id that the tree of the commit must have; `None`: it cannot be computed.
    pub tree: Option<&'a str>,
    /// Whether the protection of the base branch requires signed commits.
    pub requires_signatures: bool,
}

/// A file of a new commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewFile {
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
pub(crate) enum BranchState {
    Absent,
    /// At this commit, without additional commits.
    Behind(String),
    /// At this commit, with additional commits that may be dropped.
    Diverged(String),
}

/// The outcome of publishing a commit.
#[derive(Debug, Clone)]
pub(crate) enum PublishOutcome {
    /// The branch is at this commit.
    Done(String),
    /// Another process created or moved the branch concurrently; no write happened.
    Raced(String),
    /// The forge refused, for the reason in the error unless the branch moved; no write happened.
    Refused(Error),
    /// The response was lost: the branch may be at the commit.
    Unsure(String),
    /// Another process moved the base branch concurrently; no write happened.
    BaseMoved,
    /// The branch is at a commit with a different parent than requested: the base branch moved at
    /// the last moment.
    OnMovedBase,
}
