//! Another repository that is fetched into an empty directory.

use std::path::Path;

use super::{Connections, Git, GitError, ObjectId, Remote};

/// The objects of a fetch. A server without filters sends all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchedObjects {
    Commits,
    CommitsAndTrees,
    /// Also the contents of files.
    All,
    /// Everything in the heads of the references.
    Heads,
}

/// The destination of a commit that no fetched reference contains.
const COMMIT_REF: &str = "refs/repin/commit";

/// A repository for fetched objects of another one.
pub(crate) struct ScratchRepository {
    git: Git,
    remote: Remote,
    objects: FetchedObjects,
}

impl ScratchRepository {
    /// Creates a repository in an empty directory. Fetches nothing.
    pub(crate) fn init(
        directory: &Path,
        remote: Remote,
        objects: FetchedObjects,
        connections: Connections,
    ) -> Result<Self, GitError> {
        let git = Git {
            fetches_lazily: false,
            ..Git::init(directory)?.connecting_with(connections)
        };
        // git accepts a filter only for a named remote.
        git.run_checked("config", &["remote.origin.url", &remote.url], None)?;
        Ok(Self {
            git,
            remote,
            objects,
        })
    }

    pub(crate) fn git(&self) -> &Git {
        &self.git
    }

    /// Fetches references or a commit; `false` if one of them does not exist.
    pub(crate) fn fetch(&self, refspecs: &[&str]) -> Result<bool, GitError> {
        let objects: &[&str] = match self.objects {
            FetchedObjects::Commits => &["--filter=tree:0"],
            FetchedObjects::CommitsAndTrees => &["--filter=blob:none"],
            FetchedObjects::All => &[],
            FetchedObjects::Heads => &["--depth=1"],
        };
        let options = [
            "-q",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-gc",
            "--end-of-options",
            "origin",
        ];
        let args = [objects, &options, refspecs].concat();
        let ran = self.git.run("fetch", &args, Some(&self.remote))?;
        ran.found_references(&self.remote)
    }

    /// The commit with this ID or prefix, fetched by its full ID if no fetched reference contains it.
    pub(crate) fn commit(&self, name: &str) -> Result<Option<ObjectId>, GitError> {
        if let Some(commit) = self.git.commit_named(name)? {
            return Ok(Some(commit));
        }
        if ObjectId::parse(name.as_bytes()).is_none() {
            return Ok(None);
        }
        if !self.fetch(&[&format!("+{name}:{COMMIT_REF}")])? {
            return Ok(None);
        }
        self.git.commit_at(COMMIT_REF).map(Some)
    }
}
