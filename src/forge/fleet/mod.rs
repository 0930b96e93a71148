//! Many repositories of one forge, with few requests and without clones.
//!
//! [`FleetReader`] fetches the heads, configurations and pull requests of many repositories at
//! once, then the files and contents of one. A result that is incomplete is marked
//! so. Sizes are limited, because the repositories are not trusted.

mod reader;
#[cfg(test)]
mod tests;

use super::{Pull, PullState, Repo};
use crate::{
    base::{error::Error, files::MAX_CONFIG_SIZE},
    git::{AheadCommit, Tree},
};
use std::collections::{BTreeMap, HashMap};

pub(crate) use reader::FleetReader;

/// The maximum number of repositories that are surveyed with one request.
pub(crate) const MAX_SURVEY: usize = 50;
/// The maximum size of a file that is read, in bytes.
pub(crate) const MAX_FILE: u64 = 4 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RepositoryName {
    pub owner: String,
    pub name: String,
}

/// A commit, and its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub commit: String,
    /// The tree's id; empty if the forge does not report it.
    pub tree: String,
}

impl Head {
    /// A commit with an unknown tree.
    pub(crate) fn from_commit(id: &str) -> Self {
        Self {
            commit: id.to_owned(),
            tree: String::new(),
        }
    }
}

/// A repository to be surveyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SurveyRequest {
    pub repository: RepositoryName,
    /// The base branch; `None`: the default branch.
    pub base: Option<String>,
    /// The branch of repin's pull request.
    pub branch: String,
    /// The path of the configuration from the top of the repository.
    pub config: String,
}

impl SurveyRequest {
    /// The pull requests of repin's branch into `base`, the newest last, and the last one that is open.
    pub(super) fn own(
        &self,
        pulls: impl IntoIterator<Item = Pull>,
        base: &str,
    ) -> (Vec<Pull>, Option<Pull>) {
        let is_own = |pull: &Pull| pull.own && pull.head == self.branch && pull.base == base;
        let mut own: Vec<_> = pulls.into_iter().filter(is_own).collect();
        own.sort_by_key(|pull| pull.number);
        let mut newest = own.iter().rev();
        let open = newest.find(|pull| pull.state == PullState::Open).cloned();
        (own, open)
    }
}

/// The result of surveying a repository.
#[derive(Debug, Clone)]
pub(crate) enum Survey {
    /// It does not exist, or the token may not see it.
    Missing,
    /// It was renamed or transferred; its new name, empty if the forge does not report it.
    Moved(String),
    /// It is archived: readable and not writable.
    Archived,
    /// It has no commit.
    Empty,
    /// The base branch of this name is missing.
    NoBase(String),
    /// It could not be read.
    Failed(Error),
    Present(Box<RepositoryState>),
}

/// A repository before anything is planned for it.
#[derive(Debug, Clone)]
pub(crate) struct RepositoryState {
    pub repo: Repo,
    /// The base branch.
    pub base: String,
    /// The head of the base branch.
    pub head: Head,
    /// The configuration at that head.
    pub config: ConfigFile,
    /// The head of repin's branch; `None` if it is missing, or if it has no open pull request and the
    /// forge does not show it without one.
    pub branch: Option<SurveyedBranch>,
    /// The pull requests from that branch into the base branch in any state, the newest last.
    pub pulls: Vec<Pull>,
    /// Whether `pulls` is complete.
    pub all_pulls: bool,
    /// The highest number of a pull request of the repository, or 0; too low if not all pull requests
    /// are known.
    pub newest_pull: u64,
    /// Whether the protection of the base branch, without rule sets, requires signed commits.
    pub requires_signatures: bool,
}

/// The configuration file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigFile {
    Missing,
    /// It is not a readable text file, for this reason.
    Unusable(String),
    Text(String),
}

/// The head of repin's branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SurveyedBranch {
    pub commit: AheadCommit,
    /// The id of its tree; empty if the forge does not report it.
    pub tree: String,
}

/// The files of a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileListing {
    /// The files that were listed.
    pub tree: Tree,
    /// The sizes in bytes that the forge reports, by content ids.
    pub sizes: HashMap<String, u64>,
    /// Whether the listing is incomplete.
    pub truncated: bool,
}

/// A request for blobs of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContentRequest {
    pub repository: RepositoryName,
    /// A commit that contains the files.
    pub commit: String,
    /// The paths at that commit, and the IDs of their blobs.
    pub files: BTreeMap<String, String>,
}

/// Verified blobs by ID.
pub(crate) type Contents = HashMap<String, Vec<u8>>;

/// A query for repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListQuery {
    /// The repositories of an organization or a user.
    Owner {
        owner: String,
        /// Only repositories with this topic.
        topic: Option<String>,
        /// Only repositories with a file at this path on their default branch.
        has: Option<String>,
    },
    /// The repositories that the search of the forge finds.
    Search(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RepositoryList {
    /// Full names, sorted, without archived repositories.
    pub repositories: Vec<String>,
    /// The full names of archived repositories, sorted.
    pub archived: Vec<String>,
}

impl RepositoryName {
    /// From `owner/name`; on GitLab, the owner may be a group in another one.
    pub(crate) fn parse(full: &str) -> Option<Self> {
        let (owner, name) = full.rsplit_once('/')?;
        if name.is_empty() || owner.split('/').any(str::is_empty) {
            return None;
        }
        Some(Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Whether all characters are allowed in repositories by forges.
    pub(super) fn is_plain(&self) -> bool {
        let mut characters = self.owner.chars().chain(self.name.chars());
        characters.all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
    }

    /// Whether a full name is the name of this repository; forges ignore case.
    pub(crate) fn is(&self, full: &str) -> bool {
        full.eq_ignore_ascii_case(&self.to_string())
    }
}

impl std::fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl ConfigFile {
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        if bytes.len() as u64 > MAX_CONFIG_SIZE {
            return Self::too_large();
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(_) => Self::Unusable("it is not UTF-8".to_owned()),
        }
    }

    pub(super) fn too_large() -> Self {
        Self::Unusable(format!("it has more than {MAX_CONFIG_SIZE} bytes"))
    }
}

impl RepositoryList {
    pub(super) fn add(&mut self, full_name: String, archived: bool) {
        let list = if archived {
            &mut self.archived
        } else {
            &mut self.repositories
        };
        list.push(full_name);
    }

    /// The list in order, without duplicates.
    pub(super) fn sorted(mut self) -> Self {
        for list in [&mut self.repositories, &mut self.archived] {
            list.sort_unstable();
            list.dedup();
        }
        self
    }
}
