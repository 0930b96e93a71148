//! The branch that counts in a clone: fetched to its remote-tracking branch, followed by the checkout, and pushed by one
//! commit.
//!
//! Only `--push` requests these changes of a clone.

use std::ffi::OsString;

use super::{
    BRANCHES, Git, GitError, ObjectId, Pushed, RefUpdate,
    command::{self, Mode, NO_HOOKS},
    connection::Remote,
};

/// The options of a fetch that changes only the named references.
pub(super) const FETCH: [&str; 6] = [
    "--quiet",
    "--no-tags",
    "--no-prune",
    "--no-write-fetch-head",
    "--no-recurse-submodules",
    "--no-auto-maintenance",
];

/// The number of commits that a refusal lists.
const MAX_COMMITS: usize = 5;

impl Git {
    /// Fetches a branch of a remote to its remote-tracking branch.
    pub(crate) fn fetch_tracking(&self, remote: &str, branch: &str) -> Result<(), GitError> {
        let refspec = format!("+{BRANCHES}{branch}:refs/remotes/{remote}/{branch}");
        let mut args = FETCH.map(OsString::from).to_vec();
        args.extend(["--end-of-options", remote, &refspec].map(OsString::from));
        self.query_remote("fetch", remote, &args).map(drop)
    }

    /// Moves `HEAD`, the index and the work tree to a commit that contains `HEAD`, without hooks. git refuses if a file
    /// with changes or a file that is not tracked, even an ignored one, would be overwritten.
    pub(crate) fn fast_forward(&self, commit: &ObjectId) -> Result<(), GitError> {
        const COMMAND: &str = "merge";
        let mut git = self.prepare(Mode::Commit)?;
        git.args(NO_HOOKS).args([
            COMMAND,
            "--ff-only",
            "--quiet",
            // `branch.NAME.mergeOptions` may ask for it.
            "--no-squash",
            "--no-autostash",
            "--no-overwrite-ignore",
            &commit.to_string(),
        ]);
        let mut running = command::spawn(git, &self.place, COMMAND)?;
        drop(running.stdin()?);
        running.finish(&[]).map(drop)
    }

    /// Moves `HEAD` from a commit back to its parent, unless `HEAD` moved. The index and the files stay as they are.
    pub(crate) fn undo_commit(&self, commit: &ObjectId, parent: &ObjectId) -> Result<(), GitError> {
        let (new, old) = (parent.to_string(), commit.to_string());
        let args = [
            "-m",
            "repin: the branch moved before the push",
            "HEAD",
            &new,
            &old,
        ];
        self.output("update-ref", &args).map(drop)
    }

    /// The first commits of `HEAD` that a branch does not contain, newest first, each with its subject.
    pub(crate) fn commits_since(&self, branch: &ObjectId) -> Result<Vec<String>, GitError> {
        let most = format!("--max-count={MAX_COMMITS}");
        let range = format!("{branch}..HEAD");
        let listed = self.output("log", &[&most, "--format=%h %s", &range, "--"])?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// Pushes exactly one commit to a branch that is still at its parent.
    pub(crate) fn push_commit(
        &self,
        remote: &str,
        branch: &str,
        commit: &ObjectId,
        parent: &ObjectId,
    ) -> Result<Pushed, GitError> {
        if self.only_parent(commit)? != Some(*parent) {
            let reason =
                "the commit is not directly after the branch, so other commits would be published";
            return Ok(Pushed::Refused(reason.to_owned()));
        }
        let update = RefUpdate {
            branch: branch.to_owned(),
            old: Some(*parent),
            new: Some(*commit),
        };
        let updates = [update];
        let has_other_url = self.has_other_push_url(remote)?;
        let pushed = self.push(remote, &Remote::for_clone(remote), &updates)?;
        match pushed {
            Pushed::Done if has_other_url => {
                return Ok(self.after_push_elsewhere(remote, branch, commit));
            }
            Pushed::Unsure(_) => {}
            Pushed::Done | Pushed::Raced(_) | Pushed::BaseMoved | Pushed::Refused(_) => {
                return Ok(pushed);
            }
        }
        // The answer was lost: the branch on the server decides.
        let Some(tip) = self.heads(remote)?.remove(branch) else {
            return Ok(pushed);
        };
        let Some(by_head) = Pushed::by_head(&updates[0], Some(tip)) else {
            return Ok(pushed);
        };
        // Another commit may have followed.
        let is_there = self.fetched_contains(remote, branch, &tip, commit)?;
        Ok(if is_there { Pushed::Done } else { by_head })
    }

    /// The outcome of a push to another URL than that of fetches: git succeeded, and so did the push if the branch that repin
    /// reads contains the commit.
    fn after_push_elsewhere(&self, remote: &str, branch: &str, commit: &ObjectId) -> Pushed {
        let is_there = self
            .heads(remote)
            .and_then(|mut heads| match heads.remove(branch) {
                Some(tip) => self.fetched_contains(remote, branch, &tip, commit),
                None => Ok(false),
            });
        let reason = match is_there {
            Ok(true) => return Pushed::Done,
            Ok(false) => "the branch at its other URL does not contain it".to_owned(),
            Err(error) => format!("the branch at its other URL cannot be read: {error}"),
        };
        Pushed::Unsure(format!(
            "the commit was sent to the remote's URL for pushes, but {reason}: compare `git remote get-url {remote}` with \
             `git remote get-url --push {remote}`"
        ))
    }

    /// Fetches a branch, whose head on the server is `tip`; whether it contains a commit.
    fn fetched_contains(
        &self,
        remote: &str,
        branch: &str,
        tip: &ObjectId,
        commit: &ObjectId,
    ) -> Result<bool, GitError> {
        self.fetch_tracking(remote, branch)?;
        self.is_ancestor(commit, tip)
    }

    /// Whether git pushes to other URLs of a remote than it fetches from.
    fn has_other_push_url(&self, remote: &str) -> Result<bool, GitError> {
        let fetched = self.output("remote", &["get-url", remote])?;
        let pushed = self.output("remote", &["get-url", "--push", "--all", remote])?;
        Ok(fetched != pushed)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::git::tests::{git, id};

    /// The answer to a push is lost, and another commit follows it or replaces it.
    #[test]
    fn branch_decides_after_a_lost_answer() {
        let other = |parent: &str| {
            let identity = "-c user.name=A -c user.email=a@b";
            format!(
                "other=$(git {identity} commit-tree -p {parent} -m other $new^{{tree}}); git update-ref refs/heads/main $other; "
            )
        };
        for (then, is_done) in [
            (String::new(), true),
            (other("$new"), true),
            (other("$old"), false),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let [server, clone] = ["server", "clone"].map(|name| directory.path().join(name));
            git(directory.path(), &["init", "-q", "-b", "main", "server"]);
            git(&server, &["commit", "-q", "--allow-empty", "-m", "first"]);
            git(directory.path(), &["clone", "-q", "server", "clone"]);
            git(&server, &["checkout", "-q", "--detach"]);
            let hook = server.join(".git/hooks/post-receive");
            fs::create_dir_all(hook.parent().unwrap()).unwrap();
            let script = format!("#!/bin/sh\nread old new name; {then}kill -9 $PPID\n");
            fs::write(&hook, script).unwrap();
            fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
            git(&clone, &["commit", "-q", "--allow-empty", "-m", "second"]);
            let [commit, parent] = ["HEAD", "HEAD~1"].map(|name| id(&clone, name));
            let opened = Git::open(&clone).unwrap();
            let pushed = opened
                .push_commit("origin", "main", &commit, &parent)
                .unwrap();
            match pushed {
                Pushed::Done => assert!(is_done, "{then}"),
                Pushed::Raced(_) => assert!(!is_done, "{then}"),
                pushed => panic!("{then} {pushed:?}"),
            }
            assert_eq!(id(&clone, "origin/main"), id(&server, "main"), "{then}");
        }
    }
}
