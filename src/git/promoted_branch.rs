//! Determines the branch of promotions.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use super::{BRANCHES, Git, GitError, ObjectId, command::Mode, settings::Setting};

/// A branch, and the commit that its history is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Branch {
    /// The short name, such as `origin/main`.
    pub name: String,
    /// The head.
    pub tip: ObjectId,
}

/// The sources of the name of the promoted branch, in the order of precedence.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BranchSources<'n> {
    /// `provenance.branch`: a remote-tracking branch, `REMOTE/BRANCH`.
    pub configured: Option<&'n str>,
    /// `forge.base`: a branch of the remote.
    pub base: Option<&'n str>,
    /// The default branch in the environment of CI: a branch of the remote.
    pub ci: Option<&'n str>,
    /// `provenance.branch` if it selects only the remote.
    pub remote_of: Option<&'n str>,
}

/// The target of `refs/remotes/REMOTE/HEAD`.
enum TrackedHead {
    Present(Branch),
    /// `REMOTE/BRANCH`, which is missing in this clone.
    Missing(String),
}

impl TrackedHead {
    fn ok_or_missing(self) -> Result<Branch, GitError> {
        match self {
            Self::Present(branch) => Ok(branch),
            Self::Missing(name) => Err(GitError::NoBranch(name)),
        }
    }
}

/// One reference: its commit, and its target, which is empty unless it is symbolic.
pub(super) struct Reference {
    pub(super) tip: ObjectId,
    pub(super) target: String,
}

const REMOTES: &str = "refs/remotes/";

/// The remote-tracking branch that the checked-out branch follows.
pub(crate) struct Upstream {
    /// Its name, such as `origin/main`.
    pub name: String,
    /// Whether `git push` without arguments moves it.
    pub is_pushed: bool,
    pub remote: String,
    /// The name of the branch at the remote.
    pub branch: String,
}

impl Git {
    /// The promoted branch by its configured name or by the remote; see [`Git::promoted_branch`].
    pub(crate) fn branch(&self, configured: Option<&str>) -> Result<Branch, GitError> {
        self.promoted_branch(&BranchSources {
            configured,
            ..BranchSources::default()
        })
    }

    /// The remote-tracking branch of promotions: the first of `sources`, with
    /// `refs/remotes/REMOTE/HEAD` between `forge.base` and the branch of CI. Without a source, the
    /// remote is queried for the branch of its `HEAD`; if it does not report one, `main` or
    /// `master` is used if it is the only remote-tracking branch.
    ///
    /// Local branches are never used, because only pushed commits are promoted. A source with a
    /// missing branch is an error; the next source is not tried.
    ///
    /// Unless `provenance.branch` selects the remote, the branch must contain the branches of the same name of all
    /// other remotes: in the clone of a fork, `origin` may lack the rollbacks of the repository.
    pub(crate) fn promoted_branch(&self, sources: &BranchSources<'_>) -> Result<Branch, GitError> {
        let remotes = self.remotes()?;
        let branch = self.selected_branch(sources, remotes.clone())?;
        let is_selected = sources.configured.or(sources.remote_of).is_some();
        if is_selected {
            Ok(branch)
        } else {
            self.containing_other_remotes(branch, remotes)
        }
    }

    fn selected_branch(
        &self,
        sources: &BranchSources<'_>,
        remotes: Vec<String>,
    ) -> Result<Branch, GitError> {
        if let Some(name) = sources.configured {
            return match self.tracking(name) {
                Err(GitError::NoBranch(_))
                    if self.main_remote(None, remotes)?.is_none() && !self.has_any_commit()? =>
                {
                    Err(GitError::Unborn)
                }
                found => found,
            };
        }
        let Some(remote) = self.main_remote(sources.remote_of, remotes)? else {
            return Err(GitError::NoRemote);
        };
        let named = |name: &str| self.tracking(&format!("{remote}/{name}"));
        if let Some(base) = sources.base {
            return named(base);
        }
        if let Some(head) = self.tracked_head(&remote)? {
            return head.ok_or_missing();
        }
        if let Some(stated) = sources.ci {
            return named(stated);
        }
        let reason = match self.default_of(&remote) {
            Ok(Some(name)) => return named(&name),
            Ok(None) => "the remote does not report the branch of its HEAD".to_owned(),
            Err(error) => error.to_string(),
        };
        match self.only_branch(&remote)? {
            Some(only) => Ok(only),
            None if self.has_any_commit()? => Err(GitError::NoDefault { remote, reason }),
            None => Err(GitError::Unborn),
        }
    }

    /// The default branch of the remote as recorded in this clone, without a connection. `remote_of` is
    /// `provenance.branch`, whose remote counts.
    pub(crate) fn known_default(
        &self,
        remote_of: Option<&str>,
    ) -> Result<Option<Branch>, GitError> {
        let remotes = self.remotes()?;
        let Some(remote) = self.main_remote(remote_of, remotes.clone())? else {
            return Ok(None);
        };
        let found = match self.tracked_head(&remote)? {
            Some(TrackedHead::Present(branch)) => Some(branch),
            Some(TrackedHead::Missing(_)) => None,
            None => self.only_branch(&remote)?,
        };
        match found {
            Some(branch) if remote_of.is_none() => {
                self.containing_other_remotes(branch, remotes).map(Some)
            }
            found => Ok(found),
        }
    }

    /// The branch of this name that contains those of all other remotes: the branch itself, or the upstream
    /// of the local branch of this name (git-config, `branch.NAME.remote`).
    fn containing_other_remotes(
        &self,
        branch: Branch,
        remotes: Vec<String>,
    ) -> Result<Branch, GitError> {
        if remotes.len() < 2 {
            return Ok(branch);
        }
        let (_, name) = self.remote_of(&branch)?;
        let mut branches = BTreeMap::new();
        for remote in remotes {
            match self.tracking(&format!("{remote}/{name}")) {
                Ok(found) => drop(branches.insert(remote, found)),
                Err(GitError::NoBranch(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let upstream = self.upstream_remote(&name)?;
        let selected = upstream.and_then(|upstream| branches.remove(&upstream));
        let selected = selected.unwrap_or(branch);
        for other in branches.into_values() {
            if other.tip != selected.tip && !self.is_ancestor(&other.tip, &selected.tip)? {
                return Err(GitError::OtherHistory {
                    selected: selected.name,
                    other: other.name,
                });
            }
        }
        Ok(selected)
    }

    /// The remote that a local branch pulls from.
    fn upstream_remote(&self, branch: &str) -> Result<Option<String>, GitError> {
        let key = format!("branch.{branch}.remote");
        let mut settings = self.settings()?.iter().rev();
        let remote = settings.find(|setting| setting.key == key);
        let remote = remote.and_then(Setting::text);
        Ok(remote.filter(|remote| !remote.is_empty()))
    }

    /// The checked-out commit.
    pub(crate) fn head(&self) -> Result<Branch, GitError> {
        let tip = self.kept_object("HEAD^{commit}")?.ok_or(GitError::Unborn)?;
        let name = "HEAD".to_owned();
        Ok(Branch { name, tip })
    }

    /// The short name of the checked-out branch; `None` if `HEAD` is detached.
    pub(crate) fn checked_out(&self) -> Result<Option<String>, GitError> {
        let (_, target) = self.kept_output("symbolic-ref", &["--quiet", "HEAD"], &[1])?;
        let target = String::from_utf8_lossy(&target).into_owned();
        Ok(target.trim_end().strip_prefix(BRANCHES).map(str::to_owned))
    }

    /// The remote-tracking branch that a local branch is configured to follow, such as `origin/main`.
    pub(crate) fn upstream(&self, branch: &str) -> Result<Option<String>, GitError> {
        let args = ["--format=%(upstream)", &format!("{BRANCHES}{branch}")];
        let name =
            String::from_utf8_lossy(&self.kept_output("for-each-ref", &args, &[])?.1).into_owned();
        Ok(name.trim_end().strip_prefix(REMOTES).map(str::to_owned))
    }

    /// The remote-tracking branch that the checked-out branch is configured to follow.
    pub(crate) fn upstream_of_head(&self) -> Result<Option<Upstream>, GitError> {
        let format = "--format=%(HEAD)%(upstream)%00%(push)%00%(upstream:remotename)%00%(upstream:remoteref)";
        let args = [format, BRANCHES];
        let (_, listed) = self.kept_output("for-each-ref", &args, &[])?;
        let listed = String::from_utf8_lossy(&listed);
        let mut checked_out = listed.lines().filter_map(|line| line.strip_prefix('*'));
        let Some(names) = checked_out.next() else {
            return Ok(None);
        };
        let [upstream, pushed, remote, branch] = names.split('\0').collect::<Vec<_>>()[..] else {
            return Err(GitError::Malformed {
                command: "for-each-ref",
                what: "the upstream of a branch",
            });
        };
        let name = upstream.strip_prefix(REMOTES);
        Ok(name.map(|name| Upstream {
            name: name.to_owned(),
            is_pushed: pushed == upstream,
            remote: remote.to_owned(),
            branch: branch.strip_prefix(BRANCHES).unwrap_or(branch).to_owned(),
        }))
    }

    /// The remote of the promoted branch: that of the remote-tracking branch `remote_of`, `origin`, or the only
    /// remote.
    fn main_remote(
        &self,
        remote_of: Option<&str>,
        mut remotes: Vec<String>,
    ) -> Result<Option<String>, GitError> {
        if let Some(name) = remote_of {
            match self.tracking(name) {
                Ok(branch) => return Ok(Some(self.remote_of(&branch)?.0)),
                // The reader of this branch reports that it is missing.
                Err(GitError::NoBranch(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if remotes.is_empty() {
            // Remote-tracking branches may exist without the configuration of their remote.
            remotes = self
                .references(&[REMOTES])?
                .keys()
                .filter_map(|name| {
                    let (remote, _) = name.strip_prefix(REMOTES)?.split_once('/')?;
                    Some(remote.to_owned())
                })
                .collect();
            remotes.dedup();
        }
        match remotes.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(only.clone())),
            several if several.iter().any(|name| name == "origin") => Ok(Some("origin".to_owned())),
            _ => Err(GitError::AmbiguousRemote(remotes)),
        }
    }

    /// The remote-tracking branch with this name.
    fn tracking(&self, name: &str) -> Result<Branch, GitError> {
        // After this prefix, the name cannot be an option or an expression. A glob may match more
        // references, but only the exact name is used.
        let full_name = format!("{REMOTES}{name}");
        let name = name.to_owned();
        match self.references(&[&full_name])?.remove(&full_name) {
            Some(reference) => Ok(Branch {
                name,
                tip: reference.tip,
            }),
            None => Err(GitError::NoBranch(name)),
        }
    }

    /// The target of `refs/remotes/REMOTE/HEAD`, if it is a symbolic reference.
    fn tracked_head(&self, remote: &str) -> Result<Option<TrackedHead>, GitError> {
        let head = format!("{REMOTES}{remote}/HEAD");
        let name_of = |target: &str| {
            let name = target.strip_prefix(REMOTES)?;
            name.strip_prefix(remote)?.strip_prefix('/')?;
            Some(name.to_owned())
        };
        if let Some(found) = self.references(&[&head])?.remove(&head) {
            let name = name_of(&found.target);
            return Ok(name.map(|name| {
                TrackedHead::Present(Branch {
                    name,
                    tip: found.tip,
                })
            }));
        }
        // for-each-ref does not list a symbolic reference to a missing branch.
        let args = ["--quiet", head.as_str()];
        let (_, target) = self.kept_output("symbolic-ref", &args, &[1])?;
        let target = String::from_utf8_lossy(&target).into_owned();
        Ok(name_of(target.trim_end()).map(TrackedHead::Missing))
    }

    /// The only remote-tracking branch of a remote, if it is called `main` or `master`.
    fn only_branch(&self, remote: &str) -> Result<Option<Branch>, GitError> {
        let mut references = self.references(&[&format!("{REMOTES}{remote}")])?;
        references.remove(&format!("{REMOTES}{remote}/HEAD"));
        let usual = ["main", "master"].map(|name| format!("{REMOTES}{remote}/{name}"));
        Ok(match references.pop_first() {
            Some((whole, reference)) if references.is_empty() && usual.contains(&whole) => {
                Some(Branch {
                    name: whole[REMOTES.len()..].to_owned(),
                    tip: reference.tip,
                })
            }
            _ => None,
        })
    }

    /// Whether the repository contains any commit.
    pub(crate) fn has_any_commit(&self) -> Result<bool, GitError> {
        let (_, listed) = self.kept_output("for-each-ref", &["--count=1"], &[])?;
        if !listed.is_empty() {
            return Ok(true);
        }
        // A CI job may check out a commit without a reference.
        match self.head() {
            Ok(_) => Ok(true),
            Err(GitError::Unborn) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The targets of the references below `prefix` (`refs/x/`), by their names after the prefix.
    pub(crate) fn tips_below(&self, prefix: &str) -> Result<BTreeMap<String, ObjectId>, GitError> {
        let found = self.references(&[prefix])?.into_iter();
        Ok(found
            .filter_map(|(name, reference)| {
                Some((name.strip_prefix(prefix)?.to_owned(), reference.tip))
            })
            .collect())
    }

    /// The targets of the references below some prefixes.
    pub(crate) fn tips_of(&self, prefixes: &[&str]) -> Result<BTreeSet<ObjectId>, GitError> {
        let found = self.references(prefixes)?.into_values();
        Ok(found.map(|reference| reference.tip).collect())
    }

    /// Fails if git ignores a reference of the clone because it is damaged, such as an empty file after a power cut.
    pub(crate) fn check_references(&self) -> Result<(), GitError> {
        let args = ["--format=".into()];
        let mut running = self.start("for-each-ref", &args, Mode::Read)?;
        let printed = io::copy(&mut running.stdout()?, &mut io::sink());
        printed.map_err(|error| running.io(error))?;
        let (_, messages) = running.wait()?;
        let mut ignored = messages.lines();
        match ignored.find(|line| line.contains("ignoring broken ref")) {
            Some(line) => Err(GitError::refused("for-each-ref", line)),
            None => Ok(()),
        }
    }

    /// References that match one of the patterns (git-for-each-ref), by their full names.
    pub(super) fn references(
        &self,
        patterns: &[&str],
    ) -> Result<BTreeMap<String, Reference>, GitError> {
        // Spaces and newlines are forbidden in the names of references (git-check-ref-format).
        let args = [
            &["--format=%(refname) %(objectname) %(symref)", "--"],
            patterns,
        ]
        .concat();
        let (_, listed) = self.kept_output("for-each-ref", &args, &[])?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        Ok(listed
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ');
                let name = words.next()?.to_owned();
                let tip = ObjectId::parse(words.next()?.as_bytes())?;
                let target = words.next()?.to_owned();
                Some((name, Reference { tip, target }))
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::tests::{commit_at, git, repository};

    struct Clone(tempfile::TempDir);

    impl Clone {
        /// A repository without a reference.
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            repository(directory.path());
            Self(directory)
        }

        /// The same with a remote that does not exist.
        fn with_remote() -> Self {
            let clone = Self::new();
            clone.git(&["remote", "add", "origin", "/nonexistent"]);
            clone
        }

        fn git(&self, args: &[&str]) {
            git(self.0.path(), args);
        }

        /// Sets references to new commits.
        fn set(self, names: &[&str]) -> Self {
            for (name, seconds) in names.iter().zip(1..) {
                self.git(&["update-ref", name, &commit_at(self.0.path(), seconds, &[])]);
            }
            self
        }

        fn branch(&self, configured: Option<&str>) -> Result<String, GitError> {
            let sources = BranchSources {
                configured,
                ..BranchSources::default()
            };
            let found = Git::open(self.0.path()).unwrap().promoted_branch(&sources);
            found.map(|branch| branch.name)
        }
    }

    #[test]
    fn clone_without_commits_has_no_branch_yet() {
        let (alone, with_remote) = (Clone::new(), Clone::with_remote());
        for found in [alone.branch(Some("origin/main")), with_remote.branch(None)] {
            assert!(matches!(found, Err(GitError::Unborn)), "{found:?}");
        }
        let found = alone.branch(None);
        assert!(matches!(found, Err(GitError::NoRemote)), "{found:?}");
        // The remote may have the branch.
        let found = with_remote.branch(Some("origin/main"));
        assert!(matches!(found, Err(GitError::NoBranch(_))), "{found:?}");
        let local = Clone::new().set(&["refs/heads/x", "HEAD"]);
        let found = local.branch(Some("origin/main"));
        assert!(matches!(found, Err(GitError::NoBranch(_))), "{found:?}");
        let found = local.branch(None);
        assert!(matches!(found, Err(GitError::NoRemote)), "{found:?}");
        // A fetched branch is a commit, although `HEAD` is unborn.
        let fetched = Clone::with_remote().set(&["refs/remotes/origin/x"]);
        let found = fetched.branch(None);
        assert!(
            matches!(found, Err(GitError::NoDefault { .. })),
            "{found:?}"
        );
    }

    #[test]
    fn branch_contains_those_of_other_remotes() {
        let clone = Clone::with_remote();
        for name in ["upstream", "unfetched"] {
            clone.git(&["remote", "add", name, "/nonexistent"]);
        }
        let path = clone.0.path();
        let first = commit_at(path, 1, &[]);
        let second = commit_at(path, 2, &[&first]);
        let aside = commit_at(path, 3, &[&first]);
        let set = |remote: &str, commit: &str| {
            clone.git(&["update-ref", &format!("refs/remotes/{remote}/main"), commit]);
        };
        let config = |value: &str| clone.git(&["config", "branch.main.remote", value]);
        let other = |found: Result<String, GitError>| match found {
            Err(GitError::OtherHistory { selected, other }) => (selected, other),
            found => panic!("{found:?}"),
        };
        set("origin", &second);
        // Another branch of another remote is no evidence.
        clone.git(&["update-ref", "refs/remotes/upstream/x", &aside]);
        assert_eq!(clone.branch(None).unwrap(), "origin/main");
        clone.git(&["update-ref", "-d", "refs/remotes/upstream/x"]);
        for commit in [&first, &second] {
            set("upstream", commit);
            assert_eq!(clone.branch(None).unwrap(), "origin/main");
        }
        let refused = ("origin/main".to_owned(), "upstream/main".to_owned());
        for commit in [&aside, &second] {
            set("upstream", commit);
            set("origin", &first);
            assert_eq!(other(clone.branch(None)), refused, "{commit}");
            // A clone of a fork pulls from the fork unless it is configured.
            config("origin");
            assert_eq!(other(clone.branch(None)), refused, "{commit}");
            config("upstream");
            assert_eq!(clone.branch(None).unwrap(), "upstream/main");
            assert_eq!(clone.branch(Some("origin/main")).unwrap(), "origin/main");
            let git = Git::open(path).unwrap();
            assert_eq!(
                git.known_default(None).unwrap().unwrap().name,
                "upstream/main"
            );
            config("origin");
            let git = Git::open(path).unwrap();
            assert!(git.known_default(None).is_err());
            let known = git.known_default(Some("upstream/main")).unwrap().unwrap();
            assert_eq!(known.name, "upstream/main");
        }
        // Neither contains the other.
        set("origin", &second);
        set("upstream", &aside);
        config("upstream");
        let refused = ("upstream/main".to_owned(), "origin/main".to_owned());
        assert_eq!(other(clone.branch(None)), refused);
    }

    #[test]
    fn default_branch_is_recorded_or_the_only_one() {
        let main = ["refs/remotes/origin/main"];
        assert_eq!(
            Clone::with_remote().set(&main).branch(None).unwrap(),
            "origin/main"
        );
        // Not a symbolic reference.
        let both = Clone::with_remote().set(&[main[0], "refs/remotes/origin/HEAD"]);
        assert_eq!(both.branch(None).unwrap(), "origin/main");
        let recorded = Clone::with_remote().set(&[main[0], "refs/remotes/origin/x"]);
        assert!(recorded.branch(None).is_err());
        let point =
            |target: &str| recorded.git(&["symbolic-ref", "refs/remotes/origin/HEAD", target]);
        point("refs/remotes/origin/x");
        assert_eq!(recorded.branch(None).unwrap(), "origin/x");
        // A branch of another remote, and one of a remote with a longer name.
        for target in ["refs/remotes/other/x", "refs/remotes/original/x"] {
            point(target);
            let found = recorded.branch(None);
            assert!(
                matches!(found, Err(GitError::NoDefault { .. })),
                "{target} {found:?}"
            );
        }
        point("refs/remotes/origin/gone");
        let found = recorded.branch(None);
        assert!(matches!(found, Err(GitError::NoBranch(_))), "{found:?}");
    }
}
