//! Commits exactly the files that a run changed, with their contents in the work tree.
//!
//! The hooks and the signing of the user apply: only here may git run configured commands.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{Read, Write},
    os::unix::ffi::OsStringExt,
    path::PathBuf,
    thread,
    time::Duration,
};

use super::{
    Git, GitError, ObjectId, TreeFile,
    command::{Mode, Running},
    commits::parents,
    tree::{TreeEntry, blob_id},
};
use crate::base::files::RelPath;

/// Operations that `git commit --only` cannot commit within (git-commit(1), "cannot do a partial
/// commit"), by the reference that exists during them.
const UNFINISHED: [&str; 3] = ["MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"];

/// The other operations during which a commit would become a part of the operation, by their files in the
/// git directory (git-rebase(1), git-am(1), git-cherry-pick(1), git-bisect(1)).
const UNFINISHED_FILES: [&str; 4] = ["rebase-merge", "rebase-apply", "sequencer", "BISECT_LOG"];

/// The number of attempts to commit while another process holds a lock of git.
const GIT_ATTEMPTS: u32 = 150;
/// The number of attempts to take the lock of another run, whose hooks may take long.
const LOCK_ATTEMPTS: u32 = 1_200;
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

/// The maximum size of a file that git converts, in bytes.
const MAX_CONVERTED: u64 = 64 * 1024 * 1024;

/// The maximum number of paths in the arguments of a command.
const PATHS_OF_A_COMMAND: usize = 1_000;

/// An obstacle to the commit of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommitObstacle {
    /// These files are not regular files of `HEAD`, or have another mode.
    Differ(Vec<RelPath>),
    /// The index hides changes of these files (git-update-index(1), skip-worktree and assume-unchanged),
    /// so a commit would not contain them.
    Hidden(Vec<RelPath>),
    /// A merge, rebase, cherry-pick, revert or bisection is not finished.
    Unfinished(&'static str),
    /// The identity of the user is not configured; the message of git.
    NoIdentity(String),
}

/// The state before a commit of files.
#[derive(Debug)]
pub(crate) enum BeforeCommit {
    Ready {
        /// The commit at `HEAD`.
        base: ObjectId,
        /// The files whose content in the work tree or in the index differs from that at `HEAD`.
        modified: Vec<ModifiedFile>,
    },
    Obstacle(CommitObstacle),
}

/// A file whose content in the work tree or in the index differs from that at `HEAD`.
#[derive(Debug)]
pub(crate) struct ModifiedFile {
    /// The path below the root.
    pub path: RelPath,
    /// The content at `HEAD`.
    pub head: ObjectId,
    /// The content in the index.
    pub index: ObjectId,
}

/// The content of a commit.
#[derive(Clone, Copy)]
pub(crate) struct CommitPlan<'p> {
    /// The commit at `HEAD` before the files were changed.
    pub base: &'p ObjectId,
    /// The files, with their contents in the work tree.
    pub files: &'p [(&'p RelPath, &'p [u8])],
    /// The content of a file after the commit, from that at `HEAD`.
    pub changed: &'p dyn Fn(&RelPath, Vec<u8>) -> Vec<u8>,
    /// The first line of its message.
    pub title: &'p str,
    /// The last lines of its message, which a hook may not drop.
    pub trailers: &'p str,
}

/// The outcome of a commit.
#[derive(Debug)]
pub(crate) enum Committed {
    /// It contains exactly the plan.
    AsPlanned(ObjectId),
    /// A hook or a filter changed it, with this difference; `HEAD` was reset to its parent.
    Undone(String),
    /// It differs from the plan, and `HEAD` was not reset.
    Kept(ObjectId, String),
    /// git failed before the commit could be compared with its plan.
    Unverified(GitError),
}

impl Git {
    /// An obstacle to any commit.
    pub(crate) fn commit_obstacle(&self) -> Result<Option<CommitObstacle>, GitError> {
        for name in UNFINISHED {
            if self.resolve(name)?.is_some() {
                return Ok(Some(CommitObstacle::Unfinished(name)));
            }
        }
        for name in UNFINISHED_FILES {
            if self.git_path(name)?.symlink_metadata().is_ok() {
                return Ok(Some(CommitObstacle::Unfinished(name)));
            }
        }
        for name in ["GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"] {
            match self.output("var", &[name]) {
                Ok(_) => {}
                Err(GitError::Failed { message, .. }) => {
                    return Ok(Some(CommitObstacle::NoIdentity(message)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// `HEAD` and the differences of `paths` from it, or an obstacle to the commit of these files.
    pub(crate) fn before_commit(&self, paths: &[&RelPath]) -> Result<BeforeCommit, GitError> {
        let base = self.head()?.tip;
        let mut missing: BTreeSet<Vec<u8>> =
            paths.iter().map(|path| self.full_path(path)).collect();
        self.regular_files(&base, |path, _| {
            missing.remove(path.as_bytes());
        })?;
        let (entries, hidden) = (self.modified()?, self.hidden(paths)?);
        let (mut differ, mut unseen, mut modified) = (Vec::new(), Vec::new(), Vec::new());
        for path in paths {
            let full_path = self.full_path(path);
            let path = (*path).clone();
            if missing.contains(&full_path) {
                differ.push(path);
            } else if hidden.contains(&full_path) {
                unseen.push(path);
            } else if let Some(entry) = entries.get(&full_path) {
                match *entry {
                    Some(Contents { head, index }) => {
                        modified.push(ModifiedFile { path, head, index });
                    }
                    None => differ.push(path),
                }
            }
        }
        if !differ.is_empty() {
            return Ok(BeforeCommit::Obstacle(CommitObstacle::Differ(differ)));
        }
        if !unseen.is_empty() {
            return Ok(BeforeCommit::Obstacle(CommitObstacle::Hidden(unseen)));
        }
        Ok(BeforeCommit::Ready { base, modified })
    }

    /// Those of the files that differ from `HEAD`, or that it does not have.
    pub(crate) fn uncommitted<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p RelPath>,
    ) -> Result<Vec<&'p RelPath>, GitError> {
        let (modified, untracked) = (self.modified()?, super::untracked(&self.place.root)?);
        let is_changed = |path: &&RelPath| {
            modified.contains_key(&self.full_path(path)) || untracked.contains(path)
        };
        Ok(paths.into_iter().filter(is_changed).collect())
    }

    /// Whether git stores this content of a file as the blob with this id. It does not convert a file whose content at `HEAD` is
    /// not converted either.
    pub(crate) fn stores(
        &self,
        path: &RelPath,
        content: &[u8],
        id: &str,
    ) -> Result<bool, GitError> {
        Ok(blob_id(content, id) == id || self.stored_id(path, content)?.to_string() == id)
    }

    /// The id of the blob that git stores for a file with this content: filters and line endings apply.
    fn stored_id(&self, path: &RelPath, content: &[u8]) -> Result<ObjectId, GitError> {
        const COMMAND: &str = "hash-object";
        let mut option = OsString::from("--path=");
        option.push(path.as_path());
        let args = [OsString::from("--stdin"), option];
        let mut running = self.start(COMMAND, &args, Mode::Input)?;
        let mut input = running.stdin()?;
        // git closes the pipe if it exits early; the exit code reports the failure.
        let _ = input.write_all(content);
        drop(input);
        let mut printed = Vec::new();
        let read = running.stdout()?.read_to_end(&mut printed);
        read.map_err(|error| running.io(error))?;
        running.finish(&[])?;
        ObjectId::parse(printed.trim_ascii_end()).ok_or(GitError::Malformed {
            command: COMMAND,
            what: "no object id",
        })
    }

    /// Commits files with their contents in the work tree, and no other changes. Another process may
    /// commit at the same time; its commits are kept. An error means that no commit was created.
    pub(crate) fn commit_only(&self, plan: &CommitPlan<'_>) -> Result<Committed, GitError> {
        let _lock = self.lock_commits()?;
        let (mut summary, mut result) = self.run_commit(plan);
        for _ in 0..GIT_ATTEMPTS {
            if !matches!(result, Err(GitError::Locked { .. })) {
                break;
            }
            thread::sleep(LOCK_INTERVAL);
            (summary, result) = self.run_commit(plan);
        }
        match self.verified(plan, &summary) {
            Ok(Some(committed)) => Ok(committed),
            Ok(None) => Err(result.err().unwrap_or(GitError::Malformed {
                command: "commit",
                what: "no commit",
            })),
            Err(error) => Ok(Committed::Unverified(error)),
        }
    }

    /// Waits until no other run commits in this work tree. The lock of git is not sufficient: `git commit
    /// --only` reads the index before it takes that lock, and could reset the entries of another commit.
    fn lock_commits(&self) -> Result<File, GitError> {
        let io = |error| GitError::Io {
            command: "commit",
            error,
        };
        let directory = self.git_path("repin")?;
        fs::create_dir_all(&directory).map_err(io)?;
        let path = directory.join("commit.lock");
        let mut options = File::options();
        let lock = options.create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(io)?;
        for _ in 0..LOCK_ATTEMPTS {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_INTERVAL),
                Err(TryLockError::Error(error)) => return Err(io(error)),
            }
        }
        Err(GitError::Locked {
            command: "commit",
            message: format!("another run of repin holds {}", path.display()),
        })
    }

    /// The path of a file in the git directory of the work tree, or of the repository.
    pub(super) fn git_path(&self, name: &str) -> Result<PathBuf, GitError> {
        if let Some(directory) = self.place.plain_git_dir() {
            return Ok(directory.join(name));
        }
        let mut path = self.output("rev-parse", &["--git-path", name])?;
        path.pop();
        Ok(self.place.root.join(OsString::from_vec(path)))
    }

    /// Resets the entries of files in the index to `HEAD`, after a commit of them was undone.
    pub(crate) fn unstage(&self, files: &[&RelPath]) -> Result<(), GitError> {
        let mut running = self.start_with_paths("reset", &["-q"], files.iter().copied())?;
        running.finish(&[]).map(drop)
    }

    /// Starts a command, and writes the paths of files to its standard input.
    fn start_with_paths<'p>(
        &self,
        command: &'static str,
        options: &[&str],
        paths: impl Iterator<Item = &'p RelPath>,
    ) -> Result<Running, GitError> {
        let from_input = ["--pathspec-from-file=-", "--pathspec-file-nul"];
        let args = options.iter().chain(&from_input).map(OsString::from);
        let mut running = self.start(command, &args.collect::<Vec<_>>(), Mode::Commit)?;
        let mut input = running.stdin()?;
        for path in paths {
            // git closes the pipe if it exits early; the exit code reports the failure.
            let _ = input.write_all(&[path.as_bytes(), b"\0"].concat());
        }
        Ok(running)
    }

    /// Runs `git commit`, and returns its summary, also if it fails.
    fn run_commit(&self, plan: &CommitPlan<'_>) -> (Vec<u8>, Result<(), GitError>) {
        let mut summary = Vec::new();
        let result = self.write_commit(plan, &mut summary);
        (summary, result)
    }

    fn write_commit(&self, plan: &CommitPlan<'_>, summary: &mut Vec<u8>) -> Result<(), GitError> {
        let args = [
            "--only",
            "--cleanup=whitespace",
            "-m",
            plan.title,
            "-m",
            plan.trailers,
        ];
        let paths = plan.files.iter().map(|(path, _)| *path);
        let mut running = self.start_with_paths("commit", &args, paths)?;
        // A summary that ends early names no commit.
        let _ = running.stdout()?.read_to_end(summary);
        running.finish(&[]).map(drop)
    }

    /// Compares the commit with its plan, and undoes it if a hook changed it; `None` if no commit was
    /// created. `HEAD` is moved only if `summary` proves that its commit is ours, directly after the base.
    fn verified(
        &self,
        plan: &CommitPlan<'_>,
        summary: &[u8],
    ) -> Result<Option<Committed>, GitError> {
        let head = self.head()?.tip;
        let created = match abbreviated_id(summary) {
            Some(abbreviated) => self.commit_named(&abbreviated)?,
            None => None,
        };
        let id = match created {
            Some(created) if self.is_ancestor(&created, &head)? => created,
            // git may fail after it moved the branch, and a hook may replace the commit.
            _ if self.changed_file(plan, plan.base, &head)?.is_some() => head,
            Some(created) => {
                let problem = "another process moved HEAD, which does not contain it".to_owned();
                return Ok(Some(Committed::Kept(created, problem)));
            }
            None => return Ok(None),
        };
        let parent = self.only_parent(&id)?;
        let Some(difference) = self.difference(plan, parent, &id, &head)? else {
            return Ok(Some(Committed::AsPlanned(id)));
        };
        if created == Some(head) && parent == Some(*plan.base) {
            let (new, old) = (plan.base.to_string(), head.to_string());
            let args = ["-m", "repin: a hook changed the commit", "HEAD", &new, &old];
            if self.output("update-ref", &args).is_ok() {
                return Ok(Some(Committed::Undone(difference)));
            }
        }
        Ok(Some(Committed::Kept(id, difference)))
    }

    /// The parent of a commit with exactly one.
    pub(super) fn only_parent(&self, id: &ObjectId) -> Result<Option<ObjectId>, GitError> {
        let commit = self.commit_text(id)?;
        let mut parents = parents(&commit).into_iter();
        Ok(parents.next().filter(|_| parents.next().is_none()))
    }

    /// A description of how the commit `id` differs from its plan.
    fn difference(
        &self,
        plan: &CommitPlan<'_>,
        parent: Option<ObjectId>,
        id: &ObjectId,
        head: &ObjectId,
    ) -> Result<Option<String>, GitError> {
        let Some(parent) = &parent else {
            return Ok(Some("it does not have exactly one parent".to_owned()));
        };
        for (before, after) in [(plan.base, parent), (id, head)] {
            if let Some(path) = self.changed_file(plan, before, after)? {
                return Ok(Some(format!(
                    "another process committed {path} at the same time"
                )));
            }
        }
        let commit = String::from_utf8_lossy(&self.commit_text(id)?).into_owned();
        let message = commit.split_once("\n\n").map_or("", |(_, message)| message);
        for trailer in plan.trailers.lines() {
            if !message.lines().any(|line| line == trailer) {
                return Ok(Some(format!("its message lost the line `{trailer}`")));
            }
        }
        let mut changed = self.changed_contents(&parent.to_string(), &id.to_string())?;
        let modified = self.modified()?;
        for (path, content) in plan.files {
            let full_path = self.full_path(path);
            let current = std::fs::read(self.place.root.join(path.as_path()));
            let is_unchanged = current.is_ok_and(|current| current == *content);
            let stored = changed.remove(&*String::from_utf8_lossy(&full_path));
            let is_planned = match stored.flatten() {
                Some(TreeEntry { id, .. }) => {
                    id == blob_id(content, &id) || self.is_converted(plan, path, &id)?
                }
                None => false,
            };
            if !is_planned || modified.contains_key(&full_path) || !is_unchanged {
                return Ok(Some(format!("it holds another content of {path}")));
            }
        }
        let other = changed.keys().next();
        Ok(other.map(|path| format!("it changes {path} too")))
    }

    /// Whether a stored file differs from that in the work tree only by what git converts: it is the file at `HEAD` with the
    /// changes of the plan.
    fn is_converted(
        &self,
        plan: &CommitPlan<'_>,
        path: &RelPath,
        stored: &str,
    ) -> Result<bool, GitError> {
        let TreeFile::Content(before) = self.file(plan.base, path, MAX_CONVERTED)? else {
            return Ok(false);
        };
        let expected = (plan.changed)(path, before);
        if blob_id(&expected, stored) == stored {
            return Ok(true);
        }
        // Attributes may also require other line endings than those at `HEAD`.
        let Some(id) = ObjectId::parse(stored.as_bytes()) else {
            return Ok(false);
        };
        let stored = self.blob(id, MAX_CONVERTED)?;
        Ok(stored.is_some_and(|stored| lines(&stored).eq(lines(&expected))))
    }

    /// A file of the plan that differs between two commits.
    fn changed_file<'p>(
        &self,
        plan: &CommitPlan<'p>,
        before: &ObjectId,
        after: &ObjectId,
    ) -> Result<Option<&'p RelPath>, GitError> {
        if before == after {
            return Ok(None);
        }
        let changed = self.changed_contents(&before.to_string(), &after.to_string())?;
        let mut paths = plan.files.iter().map(|(path, _)| *path);
        let is_changed = |path: &&RelPath| {
            let full_path = self.full_path(path);
            changed.contains_key(&*String::from_utf8_lossy(&full_path))
        };
        Ok(paths.find(is_changed))
    }

    /// The tracked files, from the top of the work tree, that differ from `HEAD` or the index, with the
    /// ids of their contents at `HEAD` and in the index; `None` if more than the content differs.
    fn modified(&self) -> Result<BTreeMap<Vec<u8>, Option<Contents>>, GitError> {
        let args = [
            "--porcelain=v2",
            "-z",
            "--untracked-files=no",
            "--no-renames",
            "--ignore-submodules=all",
        ];
        let listed = self.output("status", &args)?;
        let entries = listed.split(|b| *b == 0).filter(|entry| !entry.is_empty());
        let entries: Option<BTreeMap<_, _>> = entries.map(modified_entry).collect();
        entries.ok_or(GitError::Malformed {
            command: "status",
            what: "a malformed entry",
        })
    }

    /// Those of the files whose changes the index hides, from the top of the work tree.
    fn hidden(&self, paths: &[&RelPath]) -> Result<BTreeSet<Vec<u8>>, GitError> {
        let mut hidden = BTreeSet::new();
        for paths in paths.chunks(PATHS_OF_A_COMMAND) {
            let mut args: Vec<OsString> =
                ["-v", "-z", "--full-name", "--"].map(OsString::from).into();
            for path in paths {
                let whole = [b":(top,literal)", self.prefix(), path.as_bytes()].concat();
                args.push(OsString::from_vec(whole));
            }
            for entry in self.output("ls-files", &args)?.split(|b| *b == 0) {
                // A lowercase letter is assume-unchanged, `S` is skip-worktree.
                if let [tag, b' ', path @ ..] = entry
                    && (tag.is_ascii_lowercase() || *tag == b'S')
                {
                    hidden.insert(path.to_vec());
                }
            }
        }
        Ok(hidden)
    }

    /// A path below the root, from the top of the work tree.
    fn full_path(&self, path: &RelPath) -> Vec<u8> {
        [self.prefix(), path.as_bytes()].concat()
    }
}

/// The lines of a text without their endings.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The ids of the contents of a file.
struct Contents {
    head: ObjectId,
    index: ObjectId,
}

/// The path and the contents in an entry of `git status --porcelain=v2`:
/// `1 XY SUBMODULE MODE MODE MODE HEAD INDEX PATH` with the modes at `HEAD`, in the index and in the work
/// tree, or `u` with two more fields for an unmerged file.
fn modified_entry(entry: &[u8]) -> Option<(Vec<u8>, Option<Contents>)> {
    let fields = if entry.starts_with(b"u ") { 11 } else { 9 };
    let mut fields = entry.splitn(fields, |b| *b == b' ');
    let kind = fields.next()?;
    let [head, index, work_tree] = [fields.nth(2)?, fields.next()?, fields.next()?];
    let [at_head, in_index] = [fields.next()?, fields.next()?];
    let path = fields.last()?.to_vec();
    if kind != b"1" || head != index || head != work_tree {
        return Some((path, None));
    }
    let contents = Contents {
        head: ObjectId::parse(at_head)?,
        index: ObjectId::parse(in_index)?,
    };
    Some((path, Some(contents)))
}

/// The abbreviated id in the summary of `git commit`: `[main 0123abc] title`.
fn abbreviated_id(summary: &[u8]) -> Option<String> {
    let summary = String::from_utf8_lossy(summary.strip_prefix(b"[")?);
    // The name of a branch contains no spaces.
    let mut words = summary.split(' ').skip(1);
    words.find_map(|word| Some(word.strip_suffix(']')?.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, path::Path};

    use super::*;
    use crate::git::tests::git;

    const TRAILER: &str = "Repin-Set: b";

    /// A repository with a commit of the file `f`, which has another content since.
    fn changed(before: &str, after: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        git(root, &["init", "-q", "-b", "main"]);
        git(root, &["config", "user.name", "A"]);
        git(root, &["config", "user.email", "a@b"]);
        fs::write(root.join("f"), before).unwrap();
        fs::write(root.join("g"), before).unwrap();
        git(root, &["add", "."]);
        git(root, &["commit", "-q", "-m", "first"]);
        fs::write(root.join("f"), after).unwrap();
        directory
    }

    fn hook(root: &Path, name: &str, script: &str) {
        let path = root.join(".git/hooks").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Commits `f` with a planned content.
    fn commit(root: &Path, planned: &str) -> Result<Committed, GitError> {
        let git = Git::open(root).unwrap();
        let base = git.head().unwrap().tip;
        let path = RelPath::parse("f").unwrap();
        git.commit_only(&CommitPlan {
            base: &base,
            files: &[(&path, planned.as_bytes())],
            changed: &|_, _| planned.as_bytes().to_vec(),
            title: "promote",
            trailers: TRAILER,
        })
    }

    /// The difference of a commit that was undone.
    fn undone(root: &Path, planned: &str) -> String {
        let Ok(Committed::Undone(difference)) = commit(root, planned) else {
            panic!("{:?}", commit(root, planned))
        };
        assert_eq!(git(root, &["rev-list", "--count", "HEAD"]), b"1\n");
        difference
    }

    #[test]
    fn commit_has_the_planned_content() {
        let as_planned = changed("a", "b");
        let committed = commit(as_planned.path(), "b");
        assert!(
            matches!(committed, Ok(Committed::AsPlanned(_))),
            "{committed:?}"
        );

        // Another process wrote the file before the commit.
        let other = "it holds another content of f";
        assert_eq!(undone(changed("a", "c").path(), "b"), other);
        // A hook commits another content than that in the work tree.
        let staged = changed("a", "b");
        hook(
            staged.path(),
            "pre-commit",
            "id=$(echo c | git hash-object -w --stdin); git update-index --cacheinfo 100644,$id,f",
        );
        assert_eq!(undone(staged.path(), "b"), other);
        // It leaves the file out and commits another one.
        let left_out = changed("a", "b");
        hook(
            left_out.path(),
            "pre-commit",
            "git reset -q f; git update-index --assume-unchanged f; echo c > g; git add g",
        );
        assert_eq!(undone(left_out.path(), "b"), other);
    }

    #[test]
    fn commit_without_a_planned_file_is_undone() {
        // A filter turns one of two planned contents into the committed one.
        let filtered = changed("a", "b");
        let root = filtered.path();
        git(root, &["config", "filter.x.clean", "tr b a"]);
        fs::create_dir_all(root.join(".git/info")).unwrap();
        fs::write(root.join(".git/info/attributes"), "f filter=x\n").unwrap();
        fs::write(root.join("g"), "b").unwrap();
        let opened = Git::open(root).unwrap();
        let base = opened.head().unwrap().tip;
        let paths = ["f", "g"].map(|path| RelPath::parse(path).unwrap());
        let committed = opened.commit_only(&CommitPlan {
            base: &base,
            files: &paths.each_ref().map(|path| (path, &b"b"[..])),
            changed: &|_, _| b"b".to_vec(),
            title: "promote",
            trailers: TRAILER,
        });
        let Ok(Committed::Undone(difference)) = committed else {
            panic!("{committed:?}")
        };
        assert_eq!(difference, "it holds another content of f");
    }

    #[test]
    fn commit_that_a_hook_replaces_is_compared() {
        // `git commit` reports the commit that the hook then replaces.
        let amend = |message: &str| {
            let directory = changed("a", "b");
            let guard = "[ -e .git/amended ] || { touch .git/amended; git commit -q --amend";
            let script = format!("{guard} -m 'promote' -m '{message}'; }}");
            hook(directory.path(), "post-commit", &script);
            commit(directory.path(), "b")
        };
        let kept = amend(TRAILER);
        assert!(matches!(kept, Ok(Committed::AsPlanned(_))), "{kept:?}");
        let Ok(Committed::Kept(_, difference)) = amend("none") else {
            panic!("the commit has no trailer")
        };
        assert!(difference.contains("lost the line"), "{difference}");
    }

    #[test]
    fn commit_on_a_locked_branch_is_kept() {
        let directory = changed("a", "b");
        hook(directory.path(), "pre-commit", "echo c > g; git add g");
        hook(
            directory.path(),
            "post-commit",
            "touch .git/refs/heads/main.lock",
        );
        let kept = commit(directory.path(), "b");
        let Ok(Committed::Kept(_, difference)) = kept else {
            panic!("{kept:?}")
        };
        assert_eq!(difference, "it changes g too");
    }
}
