//! Other repositories that pin the same images: the digests and tags in files at their heads, and every
//! set that was ever pinned or promoted there.
//!
//! Each repository is fetched completely into a scratch repository, and its past is read as that of this
//! repository is.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use super::{
    past_pins::{BranchConfigurations, RepositoryProtection},
    text_search,
};
use crate::{
    base::{
        code::Code,
        error::{Class, Error},
    },
    config::{AlsoPinned, Config},
    core::pins::MentionFinder,
    git::{Git, GitError, Login, ObjectId, Remote},
};

/// The prefix of the fetched references in the scratch repository.
const REFS: &str = "refs/repin/";

/// Another repository and its access.
#[derive(Clone)]
pub(crate) struct RepositoryAccess {
    /// The key of the configuration that contains the repository.
    pub key: &'static str,
    pub entry: AlsoPinned,
    /// The URL and the token.
    pub remote: Remote,
    /// The login if the credentials of git do not suffice.
    pub login: Option<Login>,
    /// An empty directory for fetched objects.
    pub scratch: PathBuf,
}

/// A fetched repository and the references that were read.
pub(super) struct OtherRepository {
    access: RepositoryAccess,
    git: Git,
    /// The references that were searched.
    tips: BTreeSet<(String, ObjectId)>,
    past: BranchConfigurations,
}

impl OtherRepository {
    pub(super) fn open(access: &RepositoryAccess) -> Result<Self, Error> {
        Ok(Self {
            access: access.clone(),
            git: Git::init(&access.scratch)?,
            tips: BTreeSet::new(),
            past: BranchConfigurations::default(),
        })
    }

    /// Fetches the repository, and searches the references that changed since the last call.
    pub(super) fn read(
        &mut self,
        config: &Config,
        finder: impl FnOnce(&BranchConfigurations) -> MentionFinder,
    ) -> Result<RepositoryProtection, Error> {
        let unreadable = |error: GitError| self.unreadable(&error);
        self.fetch().map_err(unreadable)?;
        let now: BTreeSet<_> = (self.git.tips_below(REFS).map_err(unreadable)?)
            .into_iter()
            .collect();
        let new = &now - &self.tips;
        let repository = &self.access.entry.repository;
        let (mut heads, mut located) = (BTreeSet::new(), Vec::new());
        for (name, tip) in &new {
            if name.starts_with("heads/") {
                heads.insert(*tip);
            }
            let location = match name.split_once('/') {
                Some(("tags", tag)) => format!("at the tag {tag} of {repository}"),
                _ => format!("on {} of {repository}", branch(name)),
            };
            located.push((*tip, location));
        }
        let mut found = self.past.read(&self.git, heads, config, repository)?;
        let past = std::mem::take(&mut found.text);
        let finder = Arc::new(finder(&self.past));
        let index = BTreeMap::new();
        text_search::search_commits(&self.git, &located, &index, &finder, &mut found.text)?;
        // The first location of a digest is reported, so the past comes last.
        found.text.merge(past);
        self.tips.extend(new);
        self.check_complete()?;
        Ok(found)
    }

    /// Fetches the complete history of the configured branches.
    fn fetch(&self) -> Result<(), GitError> {
        let options = [
            "-q",
            // Without this option, git silently skips incomplete references of a shallow repository.
            "--update-shallow",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-gc",
            "--end-of-options",
        ];
        let refspecs: Vec<String> = match &self.access.entry.branches {
            Some(branches) => branches
                .iter()
                .map(|name| format!("+refs/heads/{name}:{REFS}heads/{name}"))
                .collect(),
            None => ["heads", "tags"]
                .map(|kind| format!("+refs/{kind}/*:{REFS}{kind}/*"))
                .to_vec(),
        };
        let mut args: Vec<&str> = options.to_vec();
        args.push(&self.access.remote.url);
        args.extend(refspecs.iter().map(String::as_str));
        let fetch = |remote: &Remote| self.git.run_checked("fetch", &args, Some(remote));
        let RepositoryAccess { remote, login, .. } = &self.access;
        let mut fetched = fetch(remote);
        if let Some(remote) = remote.retry(&fetched, login.as_ref()) {
            fetched = fetch(&remote);
        }
        fetched.map(drop)
    }

    /// Checks that something was fetched, with its history.
    fn check_complete(&self) -> Result<(), Error> {
        let RepositoryAccess { key, entry, .. } = &self.access;
        let repository = &entry.repository;
        // git reports a missing branch itself.
        if self.tips.is_empty() {
            let message = format!("{key}: {repository} does not have any branch");
            return Err(Error::new(Class::Unavailable, Code::UNAVAILABLE, message));
        }
        if Git::open(&self.access.scratch)?.is_shallow() {
            let message = format!("{key}: {repository} is itself a shallow clone");
            return Err(Error::new(Class::Unavailable, Code::SHALLOW, message)
                .help("name the repository that it was cloned from"));
        }
        Ok(())
    }

    fn unreadable(&self, error: &GitError) -> Error {
        let message = format!(
            "{}: cannot read {}: {error}",
            self.access.key, self.access.entry.repository
        );
        let refusal = match error {
            GitError::Denied { .. } => Error::new(Class::Denied, Code::DENIED, message),
            _ => Error::new(Class::Unavailable, Code::UNAVAILABLE, message),
        };
        refusal.help(match (error, &self.access.entry.token_env) {
            (GitError::Denied { .. }, Some(name)) => {
                format!("let the token in {name} read that repository")
            }
            (GitError::Denied { .. }, None) => {
                "name a variable with a token in `token_env`".to_owned()
            }
            _ => {
                "check that the repository exists and can be fetched; nothing is deleted without it"
                    .to_owned()
            }
        })
    }
}

fn branch(name: &str) -> &str {
    name.strip_prefix("heads/").unwrap_or(name)
}
