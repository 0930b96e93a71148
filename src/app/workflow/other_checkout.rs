//! A work tree in which `git push` alone would not publish a change to the base branch. If it is on
//! another branch, its pins are not those that are deployed either.

use super::{BranchRole, SiteHistory, history::Origin};
use crate::{
    base::{
        text::few,
        untrusted::{plain, shell},
    },
    config::Config,
    core::{checks, history::History, pins::FoundPins},
    git::{GitError, ObjectId},
};

/// A checkout that does not push to the base branch by default.
#[derive(Debug)]
pub(super) struct OtherCheckout {
    /// The checked-out branch; `None` if `HEAD` is detached.
    branch: Option<String>,
    /// Whether the branch is the base branch, or follows it.
    follows_base: bool,
    head: ObjectId,
    /// Whether `HEAD` contains the base branch.
    contains_base: bool,
    remote: String,
    /// The name of the base branch at the remote.
    base: String,
}

impl OtherCheckout {
    /// Compares the checkout with the branch whose history counts; `None` if it is that branch and follows
    /// it, or if the repository has no remote.
    pub(super) fn find(history: &SiteHistory) -> Result<Option<Self>, GitError> {
        let Some((history, Origin::Clone { git, role })) = history.read() else {
            return Ok(None);
        };
        if *role == BranchRole::Local {
            return Ok(None);
        }
        let promoted = &history.branch;
        let (remote, base) = match promoted.name.split_once('/') {
            Some((remote, base)) if git.remotes()?.is_empty() => {
                (remote.to_owned(), base.to_owned())
            }
            _ => git.remote_of(promoted)?,
        };
        let branch = git.checked_out()?;
        let mut follows_base = false;
        if let Some(branch) = &branch {
            let tracks_base = git.upstream(branch)?.as_ref() == Some(&promoted.name);
            if tracks_base && *branch == base {
                return Ok(None);
            }
            follows_base = tracks_base || *branch == base;
        }
        let head = git.head()?.tip;
        Ok(Some(Self {
            contains_base: git.is_ancestor(&promoted.tip, &head)?,
            branch,
            follows_base,
            head,
            remote,
            base,
        }))
    }

    /// The warning before a change on another branch, with the current set of the base branch.
    pub(super) fn warning(
        &self,
        history: &History,
        config: &Config,
        found: &FoundPins,
    ) -> Option<String> {
        if self.follows_base {
            return None;
        }
        let promoted = plain(&history.branch.name);
        let checkout = match &self.branch {
            Some(branch) => format!("the branch {} is checked out", plain(branch)),
            None => format!("HEAD is detached at {}", self.head.short()),
        };
        let current = match history.current() {
            None => format!("{promoted} has no current set"),
            Some(current) if checks::current_digests(config, found) == current.images => {
                format!("{promoted} pins the same set")
            }
            Some(current) => {
                let set = match &current.revision {
                    Some(revision) => plain(revision.as_str()),
                    None => "another set".to_owned(),
                };
                let images = current.images.iter();
                let digests = images.map(|(name, digest)| format!("{name} {}", digest.short()));
                format!("{promoted} pins {set} (FROM {})", few(digests, 5))
            }
        };
        let base = shell(&self.base);
        let help = match &self.branch {
            Some(branch) => format!(
                "to change the set there, run `git switch {base}` first, or publish the commit with \
                 `git push {} HEAD:{}` and merge it",
                shell(&self.remote),
                shell(branch)
            ),
            None if self.contains_base => {
                format!("publish a commit with: {}", self.push_command())
            }
            None => format!("run `git switch {base}` first"),
        };
        Some(format!(
            "{checkout}, not {promoted}: FROM is read from these files; {current}; {help}"
        ))
    }

    /// The command that publishes a commit on top of `HEAD`.
    pub(super) fn push_command(&self) -> String {
        let (remote, base) = (shell(&self.remote), shell(&self.base));
        match &self.branch {
            Some(branch) if !self.follows_base => {
                format!("git push {remote} HEAD:{}", shell(branch))
            }
            Some(_) => format!("git push {remote} HEAD:{base}"),
            None if self.contains_base => format!("git push {remote} HEAD:{base}"),
            None => format!("git rebase {remote}/{base} && git push {remote} HEAD:{base}"),
        }
    }
}
