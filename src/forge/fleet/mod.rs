//! Many repositories of one forge, read with few requests and without clones.
//!
//! [`FleetReader`] answers what a fleet's run has to know before it writes: the heads, configurations
//! and pull requests of many repositories at once, then the files, contents and recent history of
//! one. Nothing is written here, and nothing is judged: an answer says what is there, and that it is
//! incomplete if it is. Sizes are limited, since other people's repositories are read.

mod recent;

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;

use super::{Commit, Head, Pull, Repo, Tree};
use crate::error::Error;

pub(super) use recent::{PathHistory, PathVersion, line_to};

/// Repositories that are surveyed with one request where the forge can.
pub const AT_ONCE: usize = 50;
/// Commits of the recent history.
pub const RECENT: usize = 30;
/// The maximum size of a file that is read, in bytes.
pub const FILE_MAX: u64 = 4 * 1024 * 1024;
/// The maximum size of a repository's configuration, in bytes.
pub const CONFIG_MAX: u64 = 1024 * 1024;

/// The name of a repository of the forge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName {
    /// The owner.
    pub owner: String,
    /// Its name below the owner.
    pub name: String,
}

/// A repository to be surveyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyRequest {
    /// Which one.
    pub repository: RepositoryName,
    /// The base branch; `None`: the default branch.
    pub base: Option<String>,
    /// The branch that repin's pull request has.
    pub branch: String,
    /// The path of the configuration from the top of the repository.
    pub config: String,
}

/// What a survey found of a repository.
#[derive(Debug, Clone)]
pub enum Survey {
    /// It does not exist, or the token may not see it.
    Missing,
    /// It was renamed or transferred, and has this name now; empty if the forge does not report it.
    Moved(String),
    /// It is archived: readable and not writable.
    Archived,
    /// It has no commit.
    Empty,
    /// It has no base branch of this name.
    NoBase(String),
    /// It could not be read.
    Failed(Error),
    /// It is there.
    Present(Box<RepositoryState>),
}

/// A repository before anything is planned for it.
#[derive(Debug, Clone)]
pub struct RepositoryState {
    /// The repository.
    pub repo: Repo,
    /// The name of the base branch.
    pub base: String,
    /// The base branch's head; the name of its tree is empty where the forge does not report it.
    pub head: Head,
    /// The configuration at that head.
    pub config: ConfigFile,
    /// The head of repin's branch; `None`: it is missing, or has no open pull request and the forge
    /// does not show it without one.
    pub branch: Option<BranchHead>,
    /// The pull requests from that branch into the base branch, whatever their state, the newest
    /// last.
    pub pulls: Vec<Pull>,
    /// Whether those are all.
    pub all_pulls: bool,
    /// The highest number of a pull request of the repository, whatever its branches; 0: there is
    /// none. Too low where not all pull requests are known.
    pub newest_pull: u64,
    /// Whether the base branch's protection requires signed commits; rule sets do not count.
    pub requires_signatures: bool,
}

/// The configuration file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigFile {
    /// It is missing.
    Missing,
    /// It is not a text file that could be read, for this reason.
    Unusable(String),
    /// Its text.
    Text(String),
}

/// The head of repin's branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchHead {
    /// The commit.
    pub commit: Commit,
    /// The name of its tree; empty where the forge does not report it.
    pub tree: String,
}

/// The files of a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileListing {
    /// The files as far as they were listed.
    pub tree: Tree,
    /// The sizes of their contents in bytes, by the names of the contents, where the forge reports
    /// them.
    pub sizes: HashMap<String, u64>,
    /// Whether the forge left files out.
    pub truncated: bool,
}

/// Contents of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentRequest {
    /// The repository.
    pub repository: RepositoryName,
    /// The commit that has them.
    pub commit: String,
    /// The paths at that commit, and the names of their contents.
    pub files: BTreeMap<String, String>,
}

/// Contents by their names, which were checked.
pub type Contents = HashMap<String, Vec<u8>>;

/// The last commits that touched some files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentHistory {
    /// The commits, the newest first, at most [`RECENT`].
    pub commits: Vec<RecentCommit>,
    /// Whether those are all that ever touched the files.
    pub whole: bool,
    /// The contents that these commits have and the head has not.
    pub contents: Contents,
}

/// A commit that touched one of some files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentCommit {
    /// Its name.
    pub id: String,
    /// When it was committed (ISO 8601), by the committer's clock.
    pub date: String,
    /// Its author's name.
    pub author: String,
    /// Its message.
    pub message: String,
    /// All of the files that were there then: path, and the name of the content.
    pub files: BTreeMap<String, String>,
}

/// Which repositories a list is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListQuery {
    /// Those of an organization or a person.
    Owner {
        /// Their name.
        owner: String,
        /// Only those with this topic.
        topic: Option<String>,
        /// Only those with a file at this path on their default branch.
        has: Option<String>,
    },
    /// Those that the forge's search finds.
    Search(String),
}

/// A list of repositories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositoryList {
    /// Their full names, sorted.
    pub repositories: Vec<String>,
    /// The full names of those that were left out because they are archived, sorted.
    pub archived: Vec<String>,
}

/// Reads many repositories of one forge.
#[async_trait(?Send)]
pub trait FleetReader {
    /// How many repositories are best surveyed at once.
    fn at_once(&self) -> usize;

    /// What is there of each repository, in the requested order. A failure that concerns all of them
    /// is the result of each.
    async fn survey(&self, requests: &[SurveyRequest]) -> Vec<Survey>;

    /// The files of a commit.
    async fn files(&self, repository: &RepositoryName, head: &Head) -> Result<FileListing, Error>;

    /// The contents of files, each repository's in the requested order.
    async fn contents(&self, requests: &[ContentRequest]) -> Vec<Result<Contents, Error>>;

    /// The last commits before and including `head` that touched `files`: paths, and the names of
    /// their contents at `head`.
    async fn recent(
        &self,
        repository: &RepositoryName,
        head: &Head,
        files: &BTreeMap<String, String>,
    ) -> Result<RecentHistory, Error>;

    /// Whether `older` is `newer` or an ancestor of it in a repository; `None`: one of both is not a
    /// commit there. Both are names of commits.
    async fn is_ancestor(
        &self,
        repository: &RepositoryName,
        older: &str,
        newer: &str,
    ) -> Result<Option<bool>, Error>;

    /// The repositories of an owner, or those that a search finds.
    async fn list(&self, query: &ListQuery) -> Result<RepositoryList, Error>;
}

impl RepositoryName {
    /// From `owner/name`.
    pub fn parse(full: &str) -> Option<Self> {
        let (owner, name) = full.split_once('/')?;
        let good = !owner.is_empty() && !name.is_empty() && !name.contains('/');
        good.then(|| Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Whether it has only characters that forges allow in names.
    pub(super) fn is_plain(&self) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        self.owner.chars().chain(self.name.chars()).all(plain)
    }

    /// Whether the forge's name of a repository is this one; forges ignore case.
    pub fn is(&self, full: &str) -> bool {
        full.eq_ignore_ascii_case(&self.to_string())
    }
}

impl std::fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl ConfigFile {
    /// The configuration with these bytes.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        if bytes.len() as u64 > CONFIG_MAX {
            return Self::too_large();
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(_) => Self::Unusable("it is not UTF-8".to_owned()),
        }
    }

    pub(super) fn too_large() -> Self {
        Self::Unusable(format!("it has more than {CONFIG_MAX} bytes"))
    }
}

impl RepositoryList {
    /// Adds a repository.
    pub(super) fn add(&mut self, full_name: String, archived: bool) {
        let list = if archived {
            &mut self.archived
        } else {
            &mut self.repositories
        };
        list.push(full_name);
    }

    /// The same in order, each once.
    pub(super) fn sorted(mut self) -> Self {
        for list in [&mut self.repositories, &mut self.archived] {
            list.sort_unstable();
            list.dedup();
        }
        self
    }
}
