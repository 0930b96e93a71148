//! Syncs one long-lived branch into another by a push: a fast-forward, or a merge that does not touch
//! the work tree.
//!
//! The merge creates only objects. Of the references of a clone, git updates only the
//! remote-tracking branch of the pushed branch. The push changes that branch only if it has not moved
//! since it was read.

use std::collections::BTreeMap;

use super::{
    FETCH_HISTORY, FORGE, Git, GitError, Mirror, ObjectId, Output, Pushed, RefUpdate, Remote,
    is_denied, push::REPIN, without_users,
};
use crate::base::error::{Class, Code, Error};

/// The remote of a clone that is fetched from and pushed to.
const ORIGIN: &str = "origin";

/// The maximum number of attempts while the branches move.
const ATTEMPTS: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SyncOutcome {
    /// The target contains the source.
    InSync(ObjectId),
    /// The target is at the head of the source, or would be.
    Forwarded(ObjectId),
    /// The target is at this merge of both branches, or would be (`None`).
    Merged(Option<ObjectId>),
    /// The files that both sides changed.
    Conflict(Vec<String>),
    NoBranch(String),
}

enum Merge {
    Created(ObjectId),
    Possible,
    Conflict(Vec<String>),
}

#[derive(PartialEq, Eq)]
enum Push {
    Done,
    BranchMoved,
    Refused {
        message: String,
        /// Whether the server refused the credentials before it received the push.
        is_denied: bool,
    },
}

/// The repository that merges, and the remote with the branches.
pub(crate) enum SyncSite<'s> {
    /// A clone, with the credentials of git for `origin`.
    Clone(&'s Git),
    /// The content of the repository on the forge, with its token.
    Forge(&'s mut Mirror),
}

impl SyncSite<'_> {
    /// Fetches the branches with their histories, and returns the heads of those that exist.
    fn fetch(&mut self, branches: &[&str]) -> Result<BTreeMap<String, ObjectId>, Error> {
        let fetched = match self {
            Self::Clone(git) => git.heads(ORIGIN).and_then(|mut tips| {
                tips.retain(|name, _| branches.contains(&&**name));
                let present: Vec<_> = tips.keys().map(String::as_str).collect();
                git.fetch_objects(ORIGIN, &present)?;
                Ok(tips)
            }),
            Self::Forge(mirror) => {
                let fetched = mirror.fetch(branches, None);
                fetched.map(|_| {
                    let heads = branches.iter();
                    heads
                        .filter_map(|name| Some(((*name).to_owned(), mirror.head(name)?)))
                        .collect()
                })
            }
        };
        fetched.map_err(|error| self.failed(&error))
    }

    fn git(&self) -> &Git {
        match self {
            Self::Clone(git) => git,
            Self::Forge(mirror) => mirror.git(),
        }
    }

    fn is_ancestor(&self, older: &ObjectId, newer: &ObjectId) -> Result<bool, Error> {
        let found = self.git().is_ancestor(older, newer);
        found.map_err(|error| self.failed(&error))
    }

    /// Merges `source` into `target`; the commit is created only if it has a message.
    fn merge(
        &self,
        source: ObjectId,
        target: ObjectId,
        message: Option<&str>,
    ) -> Result<Merge, Error> {
        let (from, to) = (source.to_string(), target.to_string());
        let args = [
            "--write-tree",
            "-z",
            "--name-only",
            "--no-messages",
            &to,
            &from,
        ];
        let output = self.merge_tree(&args, &to)?;
        let mut parts = output
            .stdout
            .split(|b| *b == 0)
            .map(|part| String::from_utf8_lossy(part).into_owned());
        let tree = parts.next().unwrap_or_default();
        match output.code {
            Some(0) => {
                let Some(message) = message else {
                    return Ok(Merge::Possible);
                };
                let args = [&tree, "-p", &to, "-p", &from, "-m", message].map(str::to_owned);
                let commit = self.commit(&args)?;
                ObjectId::parse(commit.trim_ascii())
                    .map(Merge::Created)
                    .ok_or_else(|| Error::unavailable("git commit-tree", "git printed no commit"))
            }
            // Some errors have the exit code of conflicts, but no tree.
            Some(1) if !tree.is_empty() => Ok(Merge::Conflict(
                parts.filter(|path| !path.is_empty()).collect(),
            )),
            _ if output.stderr.contains("unrelated histories") => Err(Error::about(
                Class::Refused,
                "git merge-tree",
                "the histories of the two branches have no commit in common",
            )),
            _ if output.stderr.contains("usage: ") => Err(Error::unavailable(
                "git merge-tree",
                "this git has no merge-tree --write-tree",
            )
            .help("install git 2.38 or newer")),
            _ => Err(self.failed(&GitError::refused("merge-tree", &output.stderr))),
        }
    }

    /// Merges as the attributes of the files require: those of the work tree, or of the commit `target`. Missing contents
    /// are fetched from the remote.
    fn merge_tree(&self, args: &[&str], target: &str) -> Result<Output, Error> {
        let command = "merge-tree";
        let ran = match self {
            Self::Clone(git) => git.run(command, args, Some(&Remote::for_clone(ORIGIN))),
            Self::Forge(mirror) => {
                let git = fetching(mirror);
                if !git
                    .reads_attributes_of_commits()
                    .map_err(|error| self.failed(&error))?
                {
                    let reason = "git before 2.41 merges without the attributes of files that are not checked out";
                    return Err(Error::unavailable("git merge-tree", reason)
                        .help("install git 2.41 or newer, or run the command in a whole clone"));
                }
                let variables = [("GIT_ATTR_SOURCE", target)];
                git.run_with(command, args, Some(mirror.remote()), &variables, &[])
            }
        };
        ran.map_err(|error| self.failed(&error))
    }

    /// Creates a commit with the configured identity, or with that of repin if none is configured.
    fn commit(&self, args: &[String]) -> Result<Vec<u8>, Error> {
        let [name, address] = REPIN;
        let git = self.git();
        let git = match git.identities() {
            Some(_) => git.clone(),
            None => git.clone().committing_as(name, address),
        };
        git.run_checked("commit-tree", args, None)
            .map_err(|error| self.failed(&error))
    }

    /// Moves the branch from `old` to `new`, if it is still at `old`.
    fn push(&self, branch: &str, old: ObjectId, new: ObjectId) -> Result<Push, Error> {
        let updates = [update(branch, old, new)];
        let pushed = match self {
            Self::Clone(git) => git.push(ORIGIN, &Remote::for_clone(ORIGIN), &updates),
            Self::Forge(mirror) => fetching(mirror).push(FORGE, mirror.remote(), &updates),
        };
        if let Ok(Pushed::Unsure(_) | Pushed::Raced(_)) | Err(GitError::Late { .. }) = pushed {
            // The branch on the server decides: the answer was lost, or libcurl repeated a request that succeeded.
            let head = match self {
                Self::Clone(git) => git.heads(ORIGIN),
                Self::Forge(mirror) => mirror.listed(&[branch]),
            };
            let head = head.map(|heads| heads.get(branch).copied());
            // If the branch did not move or cannot be read, the result of the push counts.
            match head
                .ok()
                .and_then(|head| Pushed::by_head(&updates[0], head))
            {
                Some(Pushed::Done) => {
                    if let Self::Clone(git) = self {
                        // As after a push; the next fetch repairs it.
                        let _ = git.fetch_tracking(ORIGIN, branch);
                    }
                    return Ok(Push::Done);
                }
                Some(_) => return Ok(Push::BranchMoved),
                None => {}
            }
        }
        self.settled(format!("pushing {branch}"), pushed)
    }

    /// Checks, without a change, that the server lets git push.
    fn test_push(&self, branch: &str, old: ObjectId, new: ObjectId) -> Result<Push, Error> {
        let updates = [update(branch, old, new)];
        let pushed = match self {
            Self::Clone(git) => git.test_push(ORIGIN, &Remote::for_clone(ORIGIN), &updates),
            Self::Forge(mirror) => mirror.git().test_push(FORGE, mirror.remote(), &updates),
        };
        self.settled(format!("testing a push to {branch}"), pushed)
    }

    fn settled(&self, what: String, pushed: Result<Pushed, GitError>) -> Result<Push, Error> {
        match pushed {
            Ok(Pushed::Done) => Ok(Push::Done),
            Ok(Pushed::Raced(_) | Pushed::BaseMoved) => Ok(Push::BranchMoved),
            Ok(Pushed::Refused(message)) => Ok(Push::Refused {
                message,
                is_denied: false,
            }),
            Ok(Pushed::Unsure(message)) => {
                Err(Error::unavailable(what, message).help("run the command again"))
            }
            Err(GitError::Denied { message, .. }) => Ok(Push::Refused {
                message,
                is_denied: true,
            }),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &GitError) -> Error {
        let class = match error {
            GitError::Remote { reason, .. } if is_denied(reason) => Class::Denied,
            GitError::Denied { .. } => Class::Denied,
            _ => Class::Unavailable,
        };
        let hint = if class == Class::Denied {
            self.permission()
        } else {
            error.hint()
        };
        Error::new(class, Code::GIT, without_users(&error.to_string())).help(hint)
    }

    fn permission(&self) -> String {
        let receiver = match self {
            Self::Clone(_) => "git credentials for the remote `origin`",
            Self::Forge(_) => "the token for the forge",
        };
        format!("give {receiver} {PERMISSION}")
    }
}

/// The repository of the forge, in which git may fetch contents that a merge or its push reads.
fn fetching(mirror: &Mirror) -> Git {
    Git {
        fetches_lazily: true,
        ..mirror.git().clone()
    }
}

/// Merges the branch `from` into the branch `to`; without `apply`, it only checks for conflicts and whether git may push.
/// `refused`: the error of a push that the server refused with a message, and whether that was before it received the push.
pub(crate) fn sync(
    mut site: SyncSite<'_>,
    [from, to]: [&str; 2],
    apply: bool,
    refused: impl Fn(&str, bool) -> Error,
) -> Result<SyncOutcome, Error> {
    if let SyncSite::Clone(git) = site
        && git.is_shallow()
    {
        let reason = "this clone is shallow, so the merge base of the branches is unknown";
        return Err(Error::unavailable("git", reason).help(FETCH_HISTORY));
    }
    for _ in 0..ATTEMPTS {
        let tips = site.fetch(&[from, to])?;
        let (source, target) = match (tips.get(from), tips.get(to)) {
            (None, _) => return Ok(SyncOutcome::NoBranch(from.to_owned())),
            (_, None) => return Ok(SyncOutcome::NoBranch(to.to_owned())),
            (Some(source), Some(target)) => (*source, *target),
        };
        if site.is_ancestor(&source, &target)? {
            if !apply
                && let Push::Refused { message, is_denied } = site.test_push(to, target, target)?
            {
                return Err(refused(&message, is_denied));
            }
            return Ok(SyncOutcome::InSync(target));
        }
        let (new, outcome) = if site.is_ancestor(&target, &source)? {
            (source, SyncOutcome::Forwarded(source))
        } else {
            let message = format!("Merge branch '{from}' into {to}");
            match site.merge(source, target, apply.then_some(&message))? {
                Merge::Created(commit) => (commit, SyncOutcome::Merged(Some(commit))),
                Merge::Possible => (source, SyncOutcome::Merged(None)),
                Merge::Conflict(files) => return Ok(SyncOutcome::Conflict(files)),
            }
        };
        let pushed = if apply {
            site.push(to, target, new)?
        } else {
            site.test_push(to, target, new)?
        };
        match pushed {
            Push::Done => return Ok(outcome),
            Push::Refused { message, is_denied } => return Err(refused(&message, is_denied)),
            Push::BranchMoved => {}
        }
    }
    let reason = format!("another process moved the branch {ATTEMPTS} times during the run");
    Err(Error::unavailable(format!("pushing {to}"), reason).help("run the command again"))
}

/// The branches of `branches` that are missing on the remote; the site must be allowed to push to the others, which is
/// tested without a change.
pub(crate) fn check_push(
    mut site: SyncSite<'_>,
    branches: &[String],
) -> Result<Vec<String>, Error> {
    let names: Vec<_> = branches.iter().map(String::as_str).collect();
    // Which commit would be pushed does not matter.
    let (tips, known) = match site {
        SyncSite::Clone(git) => {
            let heads = git.heads(ORIGIN);
            let heads = heads.and_then(|heads| Ok((heads, Some(git.head()?.tip))));
            heads.map_err(|error| site.failed(&error))?
        }
        SyncSite::Forge(_) => (site.fetch(&names)?, None),
    };
    let mut missing = Vec::new();
    for branch in branches {
        match tips.get(branch) {
            Some(tip) => match site.test_push(branch, *tip, known.unwrap_or(*tip))? {
                Push::Done | Push::BranchMoved => {}
                Push::Refused { message, .. } => {
                    let what = format!("testing a push to {branch}");
                    return Err(Error::about(Class::Denied, what, message).help(site.permission()));
                }
            },
            None => missing.push(branch.clone()),
        }
    }
    Ok(missing)
}

fn update(branch: &str, old: ObjectId, new: ObjectId) -> RefUpdate {
    RefUpdate {
        branch: branch.to_owned(),
        old: Some(old),
        new: Some(new),
    }
}

/// The permission for a push.
const PERMISSION: &str = "`contents: write` (Gitea: write:repository; GitLab: write_repository), and `workflows: write` if workflows change; the branch protection must permit the push";

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::git::tests::{git, id};

    /// A repository without a default identity, with the branches `main` and `x` that have a commit each
    /// after a common one, which change these files.
    fn diverged(ours: &[&str], theirs: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        git(root, &["init", "-q", "-b", "main"]);
        for (key, value) in [("useConfigOnly", "true"), ("name", ""), ("email", "")] {
            git(root, &["config", &format!("user.{key}"), value]);
        }
        let commit = |content: &str, files: &[&str]| {
            for file in files {
                fs::write(root.join(file), content).unwrap();
            }
            git(root, &["add", "."]);
            git(root, &["commit", "-q", "--allow-empty", "-m", content]);
        };
        commit("first", &["a", "b", "c"]);
        git(root, &["switch", "-q", "-c", "x"]);
        commit("theirs", theirs);
        git(root, &["switch", "-q", "main"]);
        commit("ours", ours);
        git(root, &["remote", "add", "origin", "."]);
        directory
    }

    fn merged(root: &Path, source: ObjectId, message: Option<&str>) -> Result<Merge, Error> {
        let git = Git::open(root).unwrap();
        SyncSite::Clone(&git).merge(source, id(root, "main"), message)
    }

    #[test]
    fn conflict_lists_the_files() {
        let directory = diverged(&["a", "b"], &["a", "b", "c"]);
        let found = merged(directory.path(), id(directory.path(), "x"), None).unwrap();
        let Merge::Conflict(files) = found else {
            panic!("no conflict")
        };
        assert_eq!(files, ["a", "b"]);
    }

    #[test]
    fn only_unrelated_histories_are_refused() {
        let directory = diverged(&[], &[]);
        let root = directory.path();
        git(root, &["switch", "-q", "--orphan", "other"]);
        git(root, &["commit", "-q", "--allow-empty", "-m", "other"]);
        let class = |source| merged(root, source, None).err().map(|error| error.class);
        assert_eq!(class(id(root, "other")), Some(Class::Refused));
        let missing = ObjectId::parse("1".repeat(40).as_bytes()).unwrap();
        assert_eq!(class(missing), Some(Class::Unavailable));
    }

    #[test]
    fn merge_has_the_configured_identity_or_that_of_repin() {
        let cases: [(&[&str], &str); 4] = [
            (&[], "repin,repin"),
            (&["author"], "author,repin"),
            (&["committer"], "repin,committer"),
            (&["user"], "user,user"),
        ];
        for (configured, expected) in cases {
            let directory = diverged(&["a"], &["b"]);
            let root = directory.path();
            for role in configured {
                git(root, &["config", &format!("{role}.name"), role]);
                git(root, &["config", &format!("{role}.email"), "a@b"]);
            }
            let created = merged(root, id(root, "x"), Some("Merge"));
            let Ok(Merge::Created(commit)) = created else {
                panic!("{configured:?} {:?}", created.err())
            };
            let names = git(
                root,
                &["log", "-1", "--format=%an,%cn", &commit.to_string()],
            );
            assert_eq!(
                String::from_utf8_lossy(names.trim_ascii()),
                expected,
                "{configured:?}"
            );
        }
    }

    #[test]
    fn push_without_a_response_has_the_class_of_its_cause() {
        for (message, class) in [
            (
                "git@git.invalid: Permission denied (publickey).",
                Class::Denied,
            ),
            ("ssh: connect to host git.invalid", Class::Unavailable),
        ] {
            let directory = diverged(&["a"], &["b"]);
            let root = directory.path();
            git(
                root,
                &["remote", "set-url", "origin", "ssh://git.invalid/x"],
            );
            let ssh = format!("echo '{message}' >&2; exit 255; #");
            git(root, &["config", "core.sshCommand", &ssh]);
            let opened = Git::open(root).unwrap();
            let site = SyncSite::Clone(&opened);
            let pushed = site.push("main", id(root, "main"), id(root, "x"));
            let found = match pushed {
                Ok(Push::Refused { is_denied, .. }) => is_denied.then_some(Class::Denied),
                Ok(_) => None,
                Err(error) => Some(error.class),
            };
            assert_eq!(found, Some(class));
        }
    }

    #[test]
    fn only_denials_need_other_credentials() {
        let unreachable = |reason: &str| GitError::Remote {
            remote: "origin".to_owned(),
            command: "push",
            reason: reason.to_owned(),
        };
        let denied = [
            unreachable("remote: Permission to acme/flows denied to bot"),
            GitError::refused("push", "fatal: Authentication failed for 'https://x'"),
        ];
        let directory = diverged(&[], &[]);
        let opened = Git::open(directory.path()).unwrap();
        let site = SyncSite::Clone(&opened);
        for error in denied {
            let error = site.failed(&error);
            assert_eq!(
                (error.class, error.help),
                (Class::Denied, Some(site.permission()))
            );
        }
        for error in [
            unreachable("Could not resolve host"),
            GitError::refused("push", "fatal: x"),
        ] {
            let error = site.failed(&error);
            assert_eq!(error.class, Class::Unavailable);
            assert_ne!(error.help, Some(site.permission()));
        }
    }
}
