//! A repository that several sets share: each query about it starts one process for all of them.
//!
//! Only a command for several sets shares a repository, see `app::workflow`. The configuration, the references
//! and the logs are kept until the end of the run, so every set sees the repository at the same moment.
//! Objects are not kept: one process reads them for all handles (`objects`).
//!
//! The commits of a branch with their changes, read by one `git log` for several sets.
//!
//! A log lists every commit that the tip reaches, whatever its paths are. So the log of a set is a part
//! of the log of all sets: the same commits, with the changes below the paths of the set.
//!
//! Paths of a repository that several sets read, and a few directories that contain all of them.
//!
//! The tracked and the ignored files of several sets, listed once for the directory that contains them.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Git, GitError, ObjectId, TrackedFile,
    commits::{self, ChangedPath, Commit, Log},
    location::Location,
    ls_files::{self, Listing, Tracking},
};
use crate::base::files::{Ignored, RelPath};

/// A repository that several sets share.
#[derive(Debug)]
pub(crate) struct SharedGit(Git);

impl SharedGit {
    /// Opens the repository that contains `directory`, for sets that read the history of `paths`, from
    /// the top of the repository.
    pub(crate) fn open(
        directory: &Path,
        paths: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Self, GitError> {
        let mut git = Git::open(directory)?;
        git.kept = Some(Arc::new(Kept {
            outputs: Mutex::default(),
            paths: paths.into_iter().collect(),
            logs: Mutex::default(),
        }));
        Ok(Self(git))
    }

    /// The repository that contains `root`, which is shared unless it is another one.
    pub(crate) fn at(&self, root: &Path) -> Result<Git, GitError> {
        let place = Location::find(root)?;
        if !place.is_in_repository_of(&self.0.place) {
            return Git::open(root);
        }
        Ok(Git {
            place,
            ..self.0.clone()
        })
    }
}

/// The output of git that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    outputs: Mutex<HashMap<Query, Output>>,
    /// The paths whose changes are read.
    paths: PathSet,
    /// By the tip; `None` if git failed, because it may succeed for the paths of a single set.
    logs: Mutex<HashMap<ObjectId, Option<Arc<KeptLog>>>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Query {
    command: &'static str,
    args: Vec<OsString>,
}

/// The exit code and the output of a query.
type Output = (i32, Vec<u8>);

impl Kept {
    /// The log of a tip, if it contains the changes below `paths`.
    fn log(&self, git: &Git, tip: &ObjectId, paths: &[Vec<u8>]) -> Option<Arc<KeptLog>> {
        if !paths.iter().all(|path| self.paths.contains(path)) {
            return None;
        }
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || KeptLog::read(git, tip, &self.paths).ok().map(Arc::new);
        logs.entry(*tip).or_insert_with(read).clone()
    }
}

/// The commits that are reachable from a tip.
pub(crate) enum Reachable {
    Running(Log),
    Kept(Vec<Commit>),
}

impl Reachable {
    /// Calls `each` with every commit until it returns an error.
    pub(crate) fn each(
        self,
        each: impl FnMut(Commit) -> Result<(), GitError>,
    ) -> Result<(), GitError> {
        match self {
            Self::Running(log) => log.each(each),
            Self::Kept(commits) => commits.into_iter().try_for_each(each),
        }
    }
}

impl Git {
    /// The commits that are reachable from `tip`, in any order, with the changes under `paths` (in the
    /// repository; an empty path selects every file).
    pub(crate) fn reachable(
        &self,
        tip: &ObjectId,
        paths: &[Vec<u8>],
    ) -> Result<Reachable, GitError> {
        let kept = self.kept.as_ref();
        match kept.and_then(|kept| kept.log(self, tip, paths)) {
            Some(log) => Ok(Reachable::Kept(log.select(paths))),
            None => commits::reachable(self, tip, paths).map(Reachable::Running),
        }
    }

    /// Like `output_or`, for a query about the configuration, the references, the index or commits.
    pub(super) fn kept_output(
        &self,
        command: &'static str,
        args: &[impl AsRef<OsStr>],
        expected: &[i32],
    ) -> Result<Output, GitError> {
        self.kept_answer(command, args, || self.output_or(command, args, expected))
    }

    /// The object that an expression names, as in [`Git::resolve`].
    pub(super) fn kept_object(&self, expression: &str) -> Result<Option<ObjectId>, GitError> {
        let (_, id) = self.kept_answer("cat-file", &[expression], || {
            let id = self.resolve(expression)?;
            Ok((
                0,
                id.map_or_else(Vec::new, |id| id.to_string().into_bytes()),
            ))
        })?;
        Ok(ObjectId::parse(&id))
    }

    fn kept_answer(
        &self,
        command: &'static str,
        args: &[impl AsRef<OsStr>],
        answer: impl FnOnce() -> Result<Output, GitError>,
    ) -> Result<Output, GitError> {
        let Some(kept) = &self.kept else {
            return answer();
        };
        let outputs = || kept.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let query = Query {
            command,
            args: args.iter().map(|arg| arg.as_ref().to_owned()).collect(),
        };
        if let Some(known) = outputs().get(&query) {
            return Ok(known.clone());
        }
        let output = answer()?;
        outputs().insert(query, output.clone());
        Ok(output)
    }

    /// Whether several sets share the repository.
    pub(super) fn is_shared(&self) -> bool {
        self.kept.is_some()
    }
}

/// The maximum number of paths on the command line.
const MAX_PATHS: usize = 64;

/// The commits that are reachable from a tip.
#[derive(Debug)]
pub(super) struct KeptLog {
    /// In the order of git, without their changes.
    commits: Vec<Commit>,
    /// Sorted by path, then by commit.
    changes: Vec<KeptChange>,
}

#[derive(Debug)]
struct KeptChange {
    change: ChangedPath,
    /// The index of the commit.
    commit: usize,
    /// The position among the changes of the commit.
    position: usize,
}

impl KeptLog {
    /// Reads the commits that are reachable from `tip`, with the changes below `paths`.
    pub(super) fn read(git: &Git, tip: &ObjectId, paths: &PathSet) -> Result<Self, GitError> {
        let (mut commits, mut changes) = (Vec::new(), Vec::new());
        commits::reachable(git, tip, &paths.outermost(MAX_PATHS))?.each(|mut commit| {
            for (position, change) in std::mem::take(&mut commit.changes).into_iter().enumerate() {
                if paths.contains(&change.path) {
                    changes.push(KeptChange {
                        change,
                        commit: commits.len(),
                        position,
                    });
                }
            }
            commits.push(commit);
            Ok(())
        })?;
        // Stable: the changes of a path stay in the order of the commits.
        changes.sort_by(|a, b| a.change.path.cmp(&b.change.path));
        Ok(Self { commits, changes })
    }

    /// The commits with the changes below `paths`, as [`commits::reachable`] lists them.
    pub(super) fn select(&self, paths: &[Vec<u8>]) -> Vec<Commit> {
        let mut selected = Vec::new();
        for path in paths {
            selected.extend(self.at(path));
            selected.extend(self.below(path));
        }
        selected.sort_by_key(|change| (change.commit, change.position));
        selected.dedup_by_key(|change| (change.commit, change.position));
        let mut selected = selected.into_iter().peekable();
        let mut commits = self.commits.clone();
        for (index, commit) in commits.iter_mut().enumerate() {
            while let Some(change) = selected.next_if(|change| change.commit == index) {
                commit.changes.push(change.change.clone());
            }
        }
        commits
    }

    /// The changes of a file.
    fn at(&self, path: &[u8]) -> &[KeptChange] {
        self.range(path, |other| other == path)
    }

    /// The changes of the files in a directory.
    fn below(&self, path: &[u8]) -> &[KeptChange] {
        let mut prefix = path.to_vec();
        if !path.is_empty() && !path.ends_with(b"/") {
            prefix.push(b'/');
        }
        self.range(&prefix, |other| other.starts_with(&prefix))
    }

    /// The changes from `start` on whose paths `belongs` accepts.
    fn range(&self, start: &[u8], belongs: impl Fn(&[u8]) -> bool) -> &[KeptChange] {
        let first = (self.changes).partition_point(|kept| kept.change.path.as_slice() < start);
        let rest = &self.changes[first..];
        &rest[..rest.partition_point(|kept| belongs(&kept.change.path))]
    }
}

/// Paths without a slash at the end. The empty path contains every other one.
#[derive(Debug, Clone, Default)]
pub(super) struct PathSet(BTreeSet<Vec<u8>>);

impl FromIterator<Vec<u8>> for PathSet {
    fn from_iter<I: IntoIterator<Item = Vec<u8>>>(paths: I) -> Self {
        let paths = paths.into_iter();
        Self(paths.map(|path| without_slash(&path).to_vec()).collect())
    }
}

impl PathSet {
    /// Whether a path is one of these or below one.
    pub(super) fn contains(&self, path: &[u8]) -> bool {
        let path = without_slash(path);
        self.0.contains(path) || self.has_parent(path)
    }

    fn has_parent(&self, path: &[u8]) -> bool {
        let mut slashes = memchr::memchr_iter(b'/', path);
        !path.is_empty() && self.0.contains(&b""[..])
            || slashes.any(|slash| self.0.contains(&path[..slash]))
    }

    /// At most `most` paths that contain all of these, none of them below another one: git compares every
    /// file with every path.
    pub(super) fn outermost(&self, most: usize) -> Vec<Vec<u8>> {
        let mut set = self.clone();
        loop {
            let paths = set.0.iter().filter(|path| !set.has_parent(path));
            let paths: Vec<_> = paths.cloned().collect();
            let depth = paths.iter().map(|path| depth(path)).max().unwrap_or(0);
            if paths.len() <= most || depth == 0 {
                return paths;
            }
            let mut above = BTreeSet::new();
            for mut path in paths {
                if self::depth(&path) == depth {
                    path.truncate(memchr::memrchr(b'/', &path).unwrap_or(0));
                }
                above.insert(path);
            }
            set = Self(above);
        }
    }
}

fn without_slash(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

/// The number of names in a path.
fn depth(path: &[u8]) -> usize {
    if path.is_empty() {
        0
    } else {
        memchr::memchr_iter(b'/', path).count() + 1
    }
}

/// The files of a directory, from which those of the sets below it are selected.
#[derive(Debug)]
pub(crate) struct SharedTracking {
    place: Location,
    /// Sorted by the bytes of the path.
    tracked: Vec<TrackedFile>,
    /// The paths below which ignored files are listed, from the top of the work tree.
    searched: PathSet,
    /// The ignored files and directories, sorted by the bytes of the path.
    ignored: Vec<RelPath>,
}

impl SharedTracking {
    /// Lists the files of a directory for sets with these paths below which files are searched. Also returns the configuration
    /// files of the repository, as in [`Tracking`].
    pub(crate) fn read(
        directory: &Path,
        searched: &[Vec<u8>],
    ) -> Result<(Self, Vec<TrackedFile>), GitError> {
        let place = Location::find(directory)?;
        let below = |path: &[u8]| {
            let path = [path, b"/"].concat();
            let below = path.strip_prefix(&*place.prefix)?;
            Some(below.strip_suffix(b"/").unwrap_or(below).to_vec())
        };
        let relative: PathSet = searched.iter().filter_map(|path| below(path)).collect();
        let searched = searched.iter().filter(|path| below(path).is_some());
        let searched = searched.cloned().collect();
        let mut directories = Vec::new();
        for path in relative.outermost(MAX_PATHS) {
            directories.push(PathBuf::from(OsStr::from_bytes(&path)));
        }
        let Listing { tracking, ignored } = ls_files::list(&place, &directories)?;
        let mut ignored = ignored.ok_or(GitError::NotARepository(directory.to_owned()))?;
        ignored.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        let shared = Self {
            place,
            tracked: tracking.tracked,
            searched,
            ignored,
        };
        Ok((shared, tracking.configurations))
    }

    /// The files of a set without the configurations, as [`ls_files::tracking`] lists them; `None` if they
    /// must be listed for this set only.
    pub(crate) fn of(
        &self,
        root: &Path,
        directories: &[PathBuf],
    ) -> Result<Option<Tracking>, GitError> {
        let place = Location::find(root)?;
        let Some(root) = place.prefix.strip_prefix(&*self.place.prefix) else {
            return Ok(None);
        };
        let mut paths = directories
            .iter()
            .map(|directory| [&place.prefix, directory.as_os_str().as_bytes()].concat());
        if !place.is_in_repository_of(&self.place)
            || !paths.all(|path| self.searched.contains(&path))
        {
            return Ok(None);
        }
        let mut tracked = Vec::new();
        let first = (self.tracked).partition_point(|file| file.path.as_bytes() < root);
        for file in &self.tracked[first..] {
            let Some(below) = file.path.as_bytes().strip_prefix(root) else {
                break;
            };
            if let Ok(path) = RelPath::new(Path::new(OsStr::from_bytes(below))) {
                let sparse = file.sparse;
                tracked.push(TrackedFile { path, sparse });
            }
        }
        // git may ignore the root itself.
        if tracked.is_empty() {
            return Ok(None);
        }
        // In an ignored root, git lists no ignored files, and a directory may be listed in place of its files.
        let ignored = if self.has_ignored(root) {
            ls_files::ignored_at(&place, directories)?
        } else {
            Ignored::default()
        };
        Ok(Some(Tracking {
            tracked,
            configurations: Vec::new(),
            ignored,
        }))
    }

    /// Whether a file or a directory below a root is ignored, or the root itself.
    fn has_ignored(&self, root: &[u8]) -> bool {
        let position = |path: &[u8]| {
            self.ignored
                .binary_search_by(|other| other.as_bytes().cmp(path))
        };
        let mut slashes = memchr::memchr_iter(b'/', root);
        let (Ok(next) | Err(next)) = position(root);
        let has_below =
            (self.ignored.get(next)).is_some_and(|path| path.as_bytes().starts_with(root));
        has_below || slashes.any(|slash| position(&root[..slash]).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;
    use crate::{
        base::files::{Files, WorkTree},
        config::{self, Config, SetPath},
        git::{
            Newer,
            tests::{commit_at, git, id, repository},
        },
    };

    #[test]
    fn sets_see_the_same_references() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        repository(root);
        let first = commit_at(root, 1, &[]);
        git(root, &["update-ref", "HEAD", &first]);
        std::fs::create_dir(root.join("a")).unwrap();
        let shared = SharedGit::open(root, []).unwrap();
        assert_eq!(
            shared.at(root).unwrap().head().unwrap().tip.to_string(),
            first
        );
        let second = commit_at(root, 2, &[&first]);
        git(root, &["update-ref", "HEAD", &second]);
        git(root, &["config", "remote.origin.url", "/nonexistent"]);
        let set = shared.at(&root.join("a")).unwrap();
        assert_eq!(set.prefix(), b"a/");
        assert_eq!(set.head().unwrap().tip.to_string(), first);
        // It was not read before.
        assert_eq!(set.remotes().unwrap(), ["origin"]);
        git(root, &["config", "--unset", "remote.origin.url"]);
        assert_eq!(shared.at(root).unwrap().remotes().unwrap(), ["origin"]);
        let own = Git::open(root).unwrap();
        assert_eq!(own.head().unwrap().tip.to_string(), second);
        assert!(own.remotes().unwrap().is_empty());
    }

    #[test]
    fn nested_repository_is_not_shared() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let nested = root.join("a");
        std::fs::create_dir(&nested).unwrap();
        for path in [root, &nested] {
            repository(path);
        }
        git(
            &nested,
            &["update-ref", "HEAD", &commit_at(&nested, 1, &[])],
        );
        let shared = SharedGit::open(root, []).unwrap();
        assert!(matches!(
            shared.at(root).unwrap().head(),
            Err(GitError::Unborn)
        ));
        assert!(shared.at(&nested).unwrap().head().is_ok());
    }

    #[test]
    fn other_paths_and_tips_have_their_own_log() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        repository(root);
        let tips = [1, 2].map(|seconds| commit_at(root, seconds, &[]));
        let tips = tips.map(|tip| ObjectId::parse(tip.as_bytes()).unwrap());
        let shared = SharedGit::open(root, [b"a/".to_vec()]).unwrap();
        let shared = shared.at(root).unwrap();
        let ids = |tip, path: &str| {
            let log = shared.reachable(tip, &[path.into()]).unwrap();
            let is_kept = matches!(log, Reachable::Kept(_));
            let mut ids = Vec::new();
            log.each(|commit| {
                ids.push(commit.id);
                Ok(())
            })
            .unwrap();
            (is_kept, ids)
        };
        for (path, is_kept) in [("a/", true), ("a/b", true), ("ab", false), ("", false)] {
            for tip in &tips {
                assert_eq!(ids(tip, path), (is_kept, vec![*tip]), "{path}");
            }
        }
    }

    /// The commits of `git log` for these paths only.
    fn own(git: &Git, tip: &ObjectId, paths: &[Vec<u8>]) -> Vec<Commit> {
        let mut commits = Vec::new();
        let log = commits::reachable(git, tip, paths).unwrap();
        log.each(|commit| {
            commits.push(commit);
            Ok(())
        })
        .unwrap();
        commits
    }

    fn commit(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut text = fs::read_to_string(&path).unwrap_or_default();
            text.push_str(file);
            fs::write(&path, text).unwrap();
        }
        git(root, &["add", "-A"]);
        git(
            root,
            &[
                "commit",
                "-q",
                "--allow-empty",
                "-m",
                "subject\n\nRepin-Set: x",
            ],
        );
    }

    /// A repository with merges, renames, a directory in place of a file, and names with a common beginning.
    fn example_repository(root: &Path) -> ObjectId {
        git(root, &["init", "-q", "-b", "main"]);
        commit(
            root,
            &["a/x", "a/y", "ab/x", "a-b/x", "a.yml", "c/d/x", "top"],
        );
        commit(root, &["a/x", "ab/x", "c/e"]);
        git(root, &["checkout", "-q", "-b", "side"]);
        commit(root, &["ab/y", "a/y"]);
        fs::remove_file(root.join("a.yml")).unwrap();
        commit(root, &["a.yml/x"]);
        git(root, &["checkout", "-q", "main"]);
        commit(root, &["a-b/x", "top"]);
        git(root, &["mv", "c/d", "a/d"]);
        commit(root, &[]);
        git(root, &["merge", "-q", "--no-ff", "-m", "merge", "side"]);
        commit(root, &[]);
        fs::remove_dir_all(root.join("a")).unwrap();
        commit(root, &["a"]);
        std::os::unix::fs::symlink("top", root.join("ab/link")).unwrap();
        commit(root, &["top"]);
        id(root, "HEAD")
    }

    fn bytes(paths: &[&str]) -> Vec<Vec<u8>> {
        paths.iter().map(|path| path.as_bytes().to_vec()).collect()
    }

    #[test]
    fn selection_equals_the_log_of_the_paths() {
        let directory = tempfile::tempdir().unwrap();
        let tip = example_repository(directory.path());
        let opened = Git::open(directory.path()).unwrap();
        let all = [
            "", "a", "a/", "ab", "a-b/", "a.yml", "a.yml/", "c/d", "c/", "top", "none",
        ];
        let shared = [&all[..1], &all[1..]].map(|paths| bytes(paths).into_iter().collect());
        let [everything, without_top] =
            shared.map(|paths: PathSet| KeptLog::read(&opened, &tip, &paths).unwrap());
        let mut selections: Vec<Vec<&str>> = all[1..].iter().map(|path| vec![*path]).collect();
        selections.extend([
            vec!["a/", "a/x"],
            vec!["c/d", "ab", "top"],
            vec!["ab/", "a"],
            vec![],
        ]);
        for paths in selections {
            let paths = bytes(&paths);
            if paths.is_empty() {
                // Without paths, git lists every change.
                assert!(
                    everything
                        .select(&paths)
                        .iter()
                        .all(|one| one.changes.is_empty())
                );
                continue;
            }
            let expected = own(&opened, &tip, &paths);
            assert_eq!(expected.len(), 10);
            assert_eq!(everything.select(&paths), expected, "{paths:?}");
            assert_eq!(without_top.select(&paths), expected, "{paths:?}");
        }
        let expected = own(&opened, &tip, &bytes(&[""]));
        assert_eq!(everything.select(&bytes(&[""])), expected);
    }

    #[test]
    fn renames_in_a_shared_repository_are_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let tip = example_repository(root);
        let line = String::from_utf8(
            Git::open(root)
                .unwrap()
                .output("rev-list", &["--first-parent", "HEAD"])
                .unwrap(),
        );
        let line = line.unwrap();
        let line: Vec<_> = line
            .lines()
            .map(|line| ObjectId::parse(line.as_bytes()).unwrap())
            .collect();
        let shared = SharedGit::open(root, []).unwrap().at(root).unwrap();
        let own = Git::open(root).unwrap();
        let mut found = 0;
        for pathspec in [":(top,glob)**/x", ":(top)c/", ":(top,glob)**/*"] {
            let pathspecs = bytes(&[pathspec]);
            for pair in line.windows(2) {
                let newer = Newer::Commit {
                    id: &pair[0],
                    tip: &tip,
                };
                let renames = own.renames(&pair[1], newer, &pathspecs).unwrap();
                found += renames.renamed.len() + renames.deleted.len();
                assert_eq!(
                    shared.renames(&pair[1], newer, &pathspecs).unwrap(),
                    renames
                );
            }
        }
        assert!(found > 6, "{found}");
        let asked = |command| {
            let outputs = &shared.kept.as_ref().unwrap().outputs.lock().unwrap();
            outputs
                .keys()
                .filter(|query| query.command == command)
                .count()
        };
        assert_eq!(asked("log"), 3);
        // Most commits delete nothing.
        assert!(asked("diff-tree") < line.len(), "{}", asked("diff-tree"));
    }

    #[test]
    fn many_paths_are_read_as_few_directories() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        git(root, &["init", "-q"]);
        let names: Vec<String> = (0..MAX_PATHS + 2)
            .map(|number| format!("e/{number}/x"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        commit(root, &names);
        commit(root, &["e/1/x", "e/10/x", "other"]);
        let (opened, tip) = (Git::open(root).unwrap(), id(root, "HEAD"));
        let paths = names
            .iter()
            .map(|name| name.as_bytes()[..name.len() - 1].to_vec());
        let paths: Vec<Vec<u8>> = paths.skip(1).collect();
        let kept = KeptLog::read(&opened, &tip, &paths.iter().cloned().collect()).unwrap();
        // Neither the first directory nor the other file is kept.
        assert_eq!(kept.changes.len(), MAX_PATHS + 3);
        for path in paths {
            let path = [path];
            assert_eq!(kept.select(&path), own(&opened, &tip, &path));
        }
    }

    fn path_set(paths: &[&str]) -> PathSet {
        paths.iter().map(|path| path.as_bytes().to_vec()).collect()
    }

    fn outermost(paths: &[&str], most: usize) -> Vec<String> {
        let paths = path_set(paths).outermost(most).into_iter();
        paths.map(|path| String::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn common_beginning_of_names_is_no_directory() {
        let paths = path_set(&["a", "b/c/"]);
        for path in ["a", "a/", "a/x", "b/c", "b/c/d/e"] {
            assert!(paths.contains(path.as_bytes()), "{path}");
        }
        for path in ["", "ab", "a-b/x", "b", "b/", "b/cd"] {
            assert!(!paths.contains(path.as_bytes()), "{path}");
        }
        for path in ["", "a", "a/b"] {
            assert!(path_set(&[""]).contains(path.as_bytes()), "{path}");
        }
        assert!(!path_set(&[]).contains(b""));
    }

    #[test]
    fn outermost_paths_contain_all() {
        let paths = ["a", "a/x", "a-b/c", "a-b/d/e", "ab"];
        assert_eq!(outermost(&paths, 9), ["a", "a-b/c", "a-b/d/e", "ab"]);
        assert_eq!(outermost(&paths, 3), ["a", "a-b", "ab"]);
        assert_eq!(outermost(&paths, 2), [""]);
        assert_eq!(outermost(&["a", ""], 9), [""]);
        assert!(outermost(&[], 1).is_empty());
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The set of `directory/repin.yaml` in a repository.
    fn set(top: &Path, directory: &str, files: &str) -> Config {
        let text = format!(
            "version: 1\nfiles: [{files}]\nimages: {{ a: {{ repository: r.example/a, pins: 1 }} }}\n"
        );
        let path = Path::new(directory).join("repin.yaml");
        write(top, path.to_str().unwrap(), &text);
        let set_path = SetPath::new(&path).unwrap();
        let root = top.join(directory);
        config::parse_bytes(text.into_bytes(), "x", &root, &set_path, config::parse).unwrap()
    }

    /// The listed files, and the files that the set searches.
    fn summary(config: &Config, tracking: Tracking) -> (Vec<TrackedFile>, Vec<String>) {
        let tree = WorkTree::new(&config.root).without(tracking.ignored);
        let listed = tree.list_unopened(&config.scanned).unwrap().files;
        let listed = listed.iter().map(ToString::to_string).collect();
        (tracking.tracked, listed)
    }

    /// Compares the shared listing of each set with its own; returns the directories of the sets that are
    /// listed separately.
    fn compare(top: &Path, directory: &str, sets: &[Config]) -> BTreeSet<String> {
        let searched: Vec<_> = sets.iter().flat_map(Config::searched_paths).collect();
        let (shared, configurations) =
            SharedTracking::read(&top.join(directory), &searched).unwrap();
        let mut separate = BTreeSet::new();
        for config in sets {
            let own = ls_files::tracking(&config.root, &config.searched_directories()).unwrap();
            assert_eq!(configurations, own.configurations);
            match shared
                .of(&config.root, &config.searched_directories())
                .unwrap()
            {
                Some(tracking) => assert_eq!(
                    summary(config, tracking),
                    summary(config, own),
                    "{}",
                    config.set_path
                ),
                None => drop(separate.insert(config.set_path.directory().display().to_string())),
            }
        }
        separate
    }

    /// Sets with names that begin alike, nested ones, and ignored files, directories and roots.
    fn sets(top: &Path) -> Vec<Config> {
        git(top, &["init", "-q"]);
        let sets = [
            ("", "'*.yml', 'out/*.yml'"),
            ("a", "'**/*.yml'"),
            ("ab", "'x/*.yml'"),
            ("a-b", "'*.yml', '!skip.yml'"),
            ("a/deep", "'*.yml'"),
            ("excluded", "'*.yml', 'build/*.yml'"),
            ("excluded/below", "'*.yml'"),
        ]
        .map(|(directory, files)| set(top, directory, files));
        let directories = [
            "",
            "a/",
            "ab/x/",
            "ab/",
            "a-b/",
            "a/deep/",
            "excluded/",
            "excluded/below/",
            "out/",
        ];
        for directory in directories {
            write(top, &format!("{directory}app.yml"), "");
            write(top, &format!("{directory}new-file.yml"), "");
        }
        for path in [
            "excluded/build/app.yml",
            "out/ignored.yml",
            "a/deep/ignored.yml",
        ] {
            write(top, path, "");
        }
        write(top, ".gitignore", "ignored.yml\nbuild/\ngone/\n");
        git(
            top,
            &[
                "add",
                "-f",
                "*repin.yaml",
                "*app.yml",
                ".gitignore",
                ":!excluded/build",
            ],
        );
        sets.into()
    }

    #[test]
    fn shared_listing_equals_that_of_each_set() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let sets = sets(top);
        assert!(compare(top, "", &sets).is_empty());
        // The others are not below this directory.
        let separate = compare(top, "a", &sets);
        let separate: Vec<_> = separate.iter().map(String::as_str).collect();
        assert_eq!(separate, ["", "a-b", "ab", "excluded", "excluded/below"]);
    }

    #[test]
    fn many_sets_are_listed_by_few_paths() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        git(top, &["init", "-q"]);
        let mut sets = Vec::new();
        for number in 0..MAX_PATHS + 2 {
            sets.push(set(top, &format!("e/{number}"), "'*.yml'"));
            write(top, &format!("e/{number}/app.yml"), "");
        }
        for path in ["e/1/ignored.yml", "e/10/ignored.yml", "e/2/new.yml"] {
            write(top, path, "");
        }
        write(top, ".gitignore", "ignored.yml\n");
        git(top, &["add", "--all", ":!e/2/new.yml"]);
        assert!(compare(top, "", &sets).is_empty());
    }

    #[test]
    fn sparse_files_are_shared() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let sets = sets(top);
        git(top, &["commit", "-q", "-m", "x"]);
        git(
            top,
            &[
                "sparse-checkout",
                "set",
                "--no-cone",
                "/*",
                "!/ab/x/",
                "!/a/deep/app.yml",
            ],
        );
        assert!(!top.join("ab/x/app.yml").exists());
        assert!(compare(top, "", &sets).is_empty());
    }

    #[test]
    fn set_without_tracked_file_is_listed_separately() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let mut sets = sets(top);
        sets.push(set(top, "untracked", "'*.yml'"));
        git(&top.join("ab"), &["init", "-q"]);
        let searched: Vec<_> = sets.iter().flat_map(Config::searched_paths).collect();
        let (shared, _) = SharedTracking::read(top, &searched).unwrap();
        for config in &sets {
            let directory = config.set_path.directory();
            let is_separate = ["untracked", "ab"]
                .iter()
                .any(|separate| directory == Path::new(separate));
            let found = shared
                .of(&config.root, &config.searched_directories())
                .unwrap();
            assert_eq!(found.is_none(), is_separate, "{}", directory.display());
        }
        // A directory that no set searches.
        sets[2] = set(top, "a-b", "'other/*.yml'");
        let found = SharedTracking::read(top, &[b"a-b/x".to_vec()]).unwrap().0;
        assert!(
            found
                .of(&sets[2].root, &sets[2].searched_directories())
                .unwrap()
                .is_none()
        );
    }
}
