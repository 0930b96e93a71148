//! The files of a work tree that globs match, none of them outside the root or through a symlink.
//!
//! Lists the files of a tree that a person may have written, before a configuration exists.
//!
//! The list is the basis of a suggestion, so it omits ignored files and directories of third-party
//! code. The globs of a configuration match independently of it.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use ignore::{DirEntry, WalkBuilder};

use super::{Files, Glob, Globs, OpenDirectory, OpenFile, RelPath, Visitor};
use crate::base::error::{Error, Errors};

/// The maximum number of threads that read files.
const THREADS: usize = 4;
/// The maximum number of files that a thread takes at once, so that one thread opens the files of a
/// directory.
const BATCH: usize = 64;

/// The directory of the configuration, as a source of text files.
#[derive(Debug, Clone)]
pub(crate) struct WorkTree {
    root: PathBuf,
    ignored: Arc<Ignored>,
}

/// Files and directories that git ignores and does not track.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ignored {
    paths: HashSet<PathBuf>,
}

/// The paths of files, and of directories with everything in them.
impl<'p> FromIterator<&'p RelPath> for Ignored {
    fn from_iter<I: IntoIterator<Item = &'p RelPath>>(paths: I) -> Self {
        let paths = paths.into_iter();
        Self {
            paths: paths.map(|path| path.as_path().to_owned()).collect(),
        }
    }
}

impl Ignored {
    /// Whether the list is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    fn contains(&self, path: &Path) -> bool {
        self.paths.contains(path)
    }
}

/// The matches of globs.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Regular files, sorted by the bytes of their paths.
    pub files: Vec<RelPath>,
    /// Matches that must not be changed, sorted in the same way.
    pub hazards: Vec<(RelPath, Hazard)>,
}

impl Listing {
    pub(super) fn sorted(mut self) -> Self {
        self.files.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        let hazards = &mut self.hazards;
        hazards.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
        self
    }
}

/// An obstacle to a safe change of a matched file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Hazard {
    /// Following it could leave the root, and replacing it would lose the link.
    #[error("it is a symbolic link")]
    Symlink,
    /// A device, a socket or a named pipe.
    #[error("it is not a regular file")]
    Special,
    /// The other name of the file would keep the old content, or get the new one, without notice.
    #[error("it has {0} hard links: another name shares its content")]
    HardLink(u64),
}

/// A file or directory that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {error}")]
pub struct ReadError {
    /// The path under the root.
    pub path: String,
    /// The operating system's error.
    #[source]
    pub error: io::Error,
}

/// The reason for which a file is not searched for pins.
#[derive(Debug, thiserror::Error)]
#[error("it is larger than 16 MiB, the maximum for files with pins")]
pub(crate) struct TooLargeForPins;

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        let message = Self::io(error.to_string());
        if let Some(reason) = error.error.get_ref()
            && reason.is::<TooLargeForPins>()
        {
            return message.help(format!("exclude it from `files:` with `!{}`", error.path));
        }
        message
    }
}

impl From<ReadError> for Errors {
    fn from(error: ReadError) -> Self {
        Error::from(error).into()
    }
}

impl WorkTree {
    /// The work tree of `root`.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            ignored: Arc::default(),
        }
    }

    /// The same work tree without the ignored files, which are never listed.
    #[must_use]
    pub(crate) fn without(self, ignored: Ignored) -> Self {
        Self {
            ignored: Arc::new(ignored),
            ..self
        }
    }

    /// Opens the root, for files that another component listed.
    pub(crate) fn beneath(&self) -> Result<OpenDirectory, ReadError> {
        OpenDirectory::new(&self.root).map_err(|error| ReadError {
            path: self.root.display().to_string(),
            error,
        })
    }

    /// The root directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Lists the files that `globs` match. `.git` and `.repin` directories, files with the prefix
    /// `.repin-`, and the files that [`WorkTree::without`] excludes are never entered or listed.
    pub(crate) fn list(&self, globs: &Globs) -> Result<Listing, ReadError> {
        self.list_by(globs, |entry| {
            entry.metadata().ok().and_then(|of| hard_link(&of))
        })
    }

    fn list_by(
        &self,
        globs: &Globs,
        regular: impl Fn(&DirEntry) -> Option<Hazard>,
    ) -> Result<Listing, ReadError> {
        let mut listing = Listing::default();
        // None of these directories is inside another one, so no file is listed twice.
        for directory in self.starts(globs)? {
            self.walk(&directory, globs, &mut |path, entry| {
                let kind = entry.file_type();
                listing.add(
                    path,
                    match kind {
                        Some(kind) if kind.is_symlink() => Some(Hazard::Symlink),
                        Some(kind) if !kind.is_file() => Some(Hazard::Special),
                        _ => regular(entry),
                    },
                );
            })?;
        }
        Ok(listing.sorted())
    }

    /// The directories that must be walked: the literal directories of the globs, without those
    /// inside another one.
    fn starts(&self, globs: &Globs) -> Result<Vec<PathBuf>, ReadError> {
        let directories: BTreeSet<PathBuf> = globs.literal_directories().collect();
        let outermost = |directory: &&PathBuf| {
            !directories
                .iter()
                .any(|other| other != *directory && directory.starts_with(other))
        };
        let mut starts = Vec::new();
        for directory in directories.iter().filter(outermost) {
            let ignored = directory
                .ancestors()
                .any(|directory| self.ignored.contains(directory));
            if !ignored && self.is_plain_directory(directory)? {
                starts.push(directory.clone());
            }
        }
        Ok(starts)
    }

    /// Whether every component of `directory` is a directory that may be entered, and no symlink. A
    /// component that cannot be examined is an error, because it may contain matches.
    fn is_plain_directory(&self, directory: &Path) -> Result<bool, ReadError> {
        let mut path = self.root.clone();
        for component in directory.components() {
            path.push(component);
            match std::fs::symlink_metadata(&path) {
                Ok(metadata)
                    if metadata.is_dir()
                        && !is_reserved(component.as_os_str().as_encoded_bytes()) => {}
                Ok(_) => return Ok(false),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    return Ok(false);
                }
                Err(error) => {
                    return Err(ReadError {
                        path: directory.display().to_string(),
                        error,
                    });
                }
            }
        }
        Ok(true)
    }

    fn walk(
        &self,
        directory: &Path,
        globs: &Globs,
        found: &mut dyn FnMut(RelPath, &DirEntry),
    ) -> Result<(), ReadError> {
        let mut builder = WalkBuilder::new(self.root.join(directory));
        builder
            .standard_filters(false)
            .follow_links(false)
            .same_file_system(false);
        let (root, ignored) = (self.root.clone(), Arc::clone(&self.ignored));
        builder.filter_entry(move |entry| {
            let listed = || {
                let path = entry.path().strip_prefix(&root);
                ignored.is_empty() || !path.is_ok_and(|path| ignored.contains(path))
            };
            entry.depth() == 0 || !is_reserved(entry.file_name().as_encoded_bytes()) && listed()
        });
        for entry in builder.build() {
            let entry = entry.map_err(|error| walk_error(&self.root, directory, error))?;
            if entry.file_type().is_none_or(|kind| kind.is_dir()) {
                continue;
            }
            let Ok(path) = entry.path().strip_prefix(&self.root) else {
                continue;
            };
            if let (true, Ok(path)) = (globs.matches(path), RelPath::new(path)) {
                found(path, &entry);
            }
        }
        Ok(())
    }

    /// Opens a file for reading, not through a symlink, not in `.git`, and without waiting for a named
    /// pipe.
    pub(crate) fn open(&self, path: &RelPath) -> Result<File, ReadError> {
        let opened = self.beneath()?.open(path);
        opened.map(|(file, _)| file).map_err(|error| ReadError {
            path: path.to_string(),
            error: error.into(),
        })
    }
}

impl Files for WorkTree {
    fn list_unopened(&self, globs: &Globs) -> Result<Listing, ReadError> {
        self.list_by(globs, |_| None)
    }

    fn has_chart(&self, path: &Path) -> bool {
        let above = path.parent().unwrap_or(Path::new(""));
        self.is_plain_directory(above).unwrap_or_default()
            && std::fs::symlink_metadata(self.root.join(path)).is_ok_and(|found| found.is_file())
    }

    fn open(&self, path: &RelPath) -> Result<Box<dyn Read + '_>, ReadError> {
        Ok(Box::new(Self::open(self, path)?))
    }

    fn read(&self, path: &RelPath) -> Result<Vec<u8>, ReadError> {
        let mut content = Vec::new();
        let read = self.open(path)?.read_to_end(&mut content);
        read.map_err(|error| ReadError {
            path: path.to_string(),
            error,
        })?;
        Ok(content)
    }

    /// Opens the files in parallel. A file that is no longer a regular file is reported as not
    /// found.
    fn visit(&self, paths: &[RelPath], visitor: &Visitor<'_>) -> Result<(), ReadError> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = processors.min(THREADS).min(paths.len().div_ceil(BATCH));
        let size = paths.len().div_ceil(threads.max(1)).min(BATCH);
        let next = AtomicUsize::new(0);
        let first = self.beneath()?;
        let others: Vec<OpenDirectory> = (1..threads)
            .map(|_| self.beneath())
            .collect::<Result<_, _>>()?;
        thread::scope(|scope| {
            for directory in others {
                scope.spawn(|| visit_batches(directory, paths, size, &next, visitor));
            }
            visit_batches(first, paths, size, &next, visitor);
        });
        Ok(())
    }
}

impl Listing {
    /// The globs without a matching file or hazard.
    pub(crate) fn unmatched(&self, globs: &Globs) -> Vec<Glob> {
        let mut unmatched = globs.included();
        let hazards = self.hazards.iter().map(|(path, _)| path);
        for path in self.files.iter().chain(hazards) {
            if unmatched.is_empty() {
                break;
            }
            unmatched.retain(|glob| !glob.matches(path.as_path()));
        }
        unmatched.into_iter().cloned().collect()
    }

    fn add(&mut self, path: RelPath, hazard: Option<Hazard>) {
        match hazard {
            None => self.files.push(path),
            // A hard-linked file is still searched: its pins count, but it must not be changed.
            Some(hazard @ Hazard::HardLink(_)) => {
                self.files.push(path.clone());
                self.hazards.push((path, hazard));
            }
            Some(hazard) => self.hazards.push((path, hazard)),
        }
    }
}

/// Opens batches of `size` files until `next`, which threads share, has passed the last one.
fn visit_batches(
    mut directory: OpenDirectory,
    paths: &[RelPath],
    size: usize,
    next: &AtomicUsize,
    visitor: &Visitor<'_>,
) {
    let mut buffer = Vec::new();
    loop {
        let start = next.fetch_add(size, Ordering::Relaxed);
        if start >= paths.len() {
            return;
        }
        for (number, path) in paths.iter().enumerate().skip(start).take(size) {
            match directory.open_listed(path) {
                Ok(Some((mut file, metadata))) => {
                    let opened = OpenFile {
                        content: &mut file,
                        hazard: hard_link(&metadata),
                    };
                    visitor(number, Ok(opened), &mut buffer);
                }
                Ok(None) => visitor(number, Err(io::ErrorKind::NotFound.into()), &mut buffer),
                Err(error) => visitor(number, Err(error), &mut buffer),
            }
        }
    }
}

/// Whether a regular file has another name.
fn hard_link(metadata: &Metadata) -> Option<Hazard> {
    let links = metadata.nlink();
    (links > 1).then_some(Hazard::HardLink(links))
}

/// Files and directories that are never listed.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    name == b".git" || name == b".repin" || name.starts_with(b".repin-")
}

/// The error of a walk through `directory` in `root`.
pub(super) fn walk_error(root: &Path, directory: &Path, error: ignore::Error) -> ReadError {
    let place = match &error {
        ignore::Error::WithDepth { err, .. } => path_of(err),
        other => path_of(other),
    };
    let path = place.map_or_else(|| root.join(directory), Path::to_owned);
    let path = path.strip_prefix(root).map(Path::to_owned).unwrap_or(path);
    let error = error
        .into_io_error()
        .unwrap_or_else(|| io::Error::other("the directory cannot be listed"));
    // The text of the error repeats the path, from the root of the file system.
    let error = match error.kind() {
        kind @ (io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound) => io::Error::from(kind),
        _ => error,
    };
    ReadError {
        path: path.display().to_string(),
        error,
    }
}

fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        _ => None,
    }
}

/// The files of a tree.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Regular files with UTF-8 paths, sorted by the bytes of their paths.
    pub(crate) files: Vec<RelPath>,
    /// Files that a configuration cannot contain, because their paths are not UTF-8.
    pub(crate) unnameable: Vec<RelPath>,
    /// Directories, sorted by the bytes of their paths.
    pub(crate) directories: Vec<RelPath>,
    /// Directories that cannot be listed.
    pub(crate) unread: Vec<ReadError>,
    /// Whether the walk was cut at its limit.
    pub(crate) is_cut_off: bool,
}

/// Directories of third-party code.
const THIRD_PARTY: &[&str] = &["node_modules", "vendor"];

/// Lists the tree of `root` without symlinks, files that git ignores, work trees of other
/// repositories, and directories called `node_modules` or `vendor`.
pub(crate) fn survey(root: &Path) -> Survey {
    walk(root, is_own_file, ParentIgnores::Applied, usize::MAX)
}

/// Lists the tree of `root`, which belongs to no repository, without symlinks and files that a
/// `.gitignore` in the tree ignores. At most `most` files and directories are visited.
pub(crate) fn survey_all(root: &Path, most: usize) -> Survey {
    walk(
        root,
        |entry| !is_reserved(entry.file_name().as_encoded_bytes()),
        ParentIgnores::Skipped,
        most,
    )
}

/// The treatment of `.gitignore` files above the root.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ParentIgnores {
    Applied,
    Skipped,
}

fn walk(
    root: &Path,
    is_listed: fn(&DirEntry) -> bool,
    parents: ParentIgnores,
    most: usize,
) -> Survey {
    let mut builder = WalkBuilder::new(root);
    builder
        .standard_filters(false)
        .git_ignore(true)
        .git_exclude(true)
        .parents(parents == ParentIgnores::Applied)
        .require_git(false)
        .follow_links(false)
        .filter_entry(move |entry| entry.depth() == 0 || is_listed(entry));
    let mut survey = Survey::default();
    for (number, entry) in builder.build().enumerate() {
        if number == most {
            survey.is_cut_off = true;
            break;
        }
        match entry {
            Ok(entry) => survey.add(root, &entry),
            Err(error) => survey.unread.push(walk_error(root, Path::new(""), error)),
        }
    }
    for paths in [
        &mut survey.files,
        &mut survey.unnameable,
        &mut survey.directories,
    ] {
        paths.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    }
    survey
}

impl Survey {
    fn add(&mut self, root: &Path, entry: &DirEntry) {
        let (Some(kind), Ok(path)) = (entry.file_type(), entry.path().strip_prefix(root)) else {
            return;
        };
        // The root itself has no relative path.
        let Ok(path) = RelPath::new(path) else {
            return;
        };
        if kind.is_dir() {
            self.directories.push(path);
        } else if kind.is_file() && path.as_path().to_str().is_some() {
            self.files.push(path);
        } else if kind.is_file() {
            self.unnameable.push(path);
        }
    }
}

/// Whether an entry is not reserved, and not a directory of third-party code or of another
/// repository.
fn is_own_file(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    if is_reserved(name.as_encoded_bytes()) {
        return false;
    }
    if !entry.file_type().is_some_and(|kind| kind.is_dir()) {
        return true;
    }
    let is_third_party = THIRD_PARTY.iter().any(|directory| name == *directory);
    !is_third_party && !entry.path().join(".git").exists()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{ffi::OsStrExt, fs::symlink},
    };

    use rustix::fs::Mode;

    use super::*;

    #[test]
    fn directory_that_cannot_be_listed_is_named_once() {
        let inner = "IO error for operation on /root/a: Permission denied (os error 13)";
        let error = ignore::Error::WithPath {
            path: "/root/a".into(),
            err: Box::new(ignore::Error::Io(io::Error::new(
                io::ErrorKind::PermissionDenied,
                inner,
            ))),
        };
        let error = walk_error(Path::new("/root"), Path::new(""), error);
        assert_eq!(
            (error.path.as_str(), error.error.to_string().as_str()),
            ("a", "permission denied")
        );
    }

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        dir
    }

    fn list(dir: &tempfile::TempDir, globs: &[&str]) -> Listing {
        let globs = Globs::parse(globs.iter().copied()).unwrap();
        WorkTree::new(dir.path()).list(&globs).unwrap()
    }

    fn names(listing: &Listing) -> Vec<String> {
        listing.files.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn globs_select_files_without_duplicates() {
        let dir = tree(&["a.yml", ".b.yml", "sub/c.yml", "sub/d.txt", ".gitignore"]);
        fs::write(dir.path().join(".gitignore"), "*.yml").unwrap();
        assert_eq!(
            names(&list(&dir, &["**/*.yml", "sub/*.yml"])),
            [".b.yml", "a.yml", "sub/c.yml"]
        );
        assert_eq!(
            names(&list(&dir, &["sub/*.yml", "sub/deeper/*.yml"])),
            ["sub/c.yml"]
        );
        assert_eq!(names(&list(&dir, &["nowhere/*.yml"])), [] as [&str; 0]);
    }

    #[test]
    fn directories_of_git_and_repin_are_skipped() {
        let dir = tree(&[
            ".git/a.yml",
            "sub/.git/b.yml",
            ".repin/c.yml",
            ".repin-x/d.yml",
            "sub/.repin-e.yml",
            "f.yml",
        ]);
        assert_eq!(
            names(&list(
                &dir,
                &["**/*.yml", ".git/*.yml", ".repin/c.yml", ".repin-x/*.yml"]
            )),
            ["f.yml"]
        );
    }

    #[test]
    fn ignored_files_are_never_listed() {
        let dir = tree(&["a.yml", "b.yml", "deps/c/d.yml", "sub/e.yml"]);
        let ignored = ["b.yml", "deps"].map(|path| RelPath::parse(path).unwrap());
        let ignored = ignored.iter().collect();
        let globs = Globs::parse(["**/*.yml", "deps/c/*.yml", "!sub/**"]).unwrap();
        let tree = WorkTree::new(dir.path()).without(ignored);
        assert_eq!(names(&tree.list(&globs).unwrap()), ["a.yml"]);
        let globs = Globs::parse(["deps/c/*.yml"]).unwrap();
        assert_eq!(names(&tree.list(&globs).unwrap()), [] as [&str; 0]);
    }

    #[test]
    fn links_and_special_files_are_hazards() {
        let dir = tree(&["plain.yml", "one.yml", "target/x.yml"]);
        fs::hard_link(dir.path().join("one.yml"), dir.path().join("two.txt")).unwrap();
        symlink("plain.yml", dir.path().join("link.yml")).unwrap();
        symlink("target", dir.path().join("directory")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("pipe.yml"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        let listing = list(&dir, &["*.yml", "directory/*.yml"]);
        assert_eq!(names(&listing), ["one.yml", "plain.yml"]);
        let hazards: Vec<_> = listing
            .hazards
            .iter()
            .map(|(path, hazard)| (path.to_string(), *hazard))
            .collect();
        assert_eq!(
            hazards,
            [
                ("link.yml".to_owned(), Hazard::Symlink),
                ("one.yml".to_owned(), Hazard::HardLink(2)),
                ("pipe.yml".to_owned(), Hazard::Special)
            ]
        );
    }

    #[test]
    fn unreadable_directory_is_not_empty() {
        let dir = tempfile::tempdir().unwrap();
        let list = |glob: &str| WorkTree::new(dir.path()).list(&Globs::parse([glob]).unwrap());
        assert!(list("nowhere/*.yml").unwrap().files.is_empty());
        // The name is too long for every file system, which is not reported as a missing file.
        assert!(list(&format!("{}/*.yml", "x".repeat(300))).is_err());
    }

    #[test]
    fn named_pipe_is_not_a_file() {
        let dir = tempfile::tempdir().unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("p"), Mode::RUSR).unwrap();
        let tree = WorkTree::new(dir.path());
        assert!(tree.open(&RelPath::parse("p").unwrap()).is_err());
    }

    #[test]
    fn opening_does_not_follow_a_symlink() {
        let dir = tree(&["plain.yml"]);
        symlink("plain.yml", dir.path().join("link.yml")).unwrap();
        let tree = WorkTree::new(dir.path());
        assert_eq!(
            tree.read(&RelPath::parse("plain.yml").unwrap()).unwrap(),
            b"plain.yml"
        );
        assert!(tree.read(&RelPath::parse("link.yml").unwrap()).is_err());
    }

    #[test]
    fn survey_ends_at_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        // The walk also visits the root.
        for (most, files, is_cut_off) in [(4, 3, false), (3, 2, true), (0, 0, true)] {
            let survey = survey_all(dir.path(), most);
            assert_eq!((survey.files.len(), survey.is_cut_off), (files, is_cut_off));
        }
    }

    #[test]
    fn survey_omits_ignored_and_third_party_files() {
        let dir = tempfile::tempdir().unwrap();
        for file in [
            "a.yml",
            ".github/workflows/b.yml",
            "build/out.yml",
            "node_modules/c.yml",
            "deep/vendor/d.yml",
            "sub/.git/HEAD",
            "sub/e.yml",
            ".git/f.yml",
            ".repin/g.yml",
            ".repin-h.yml",
        ] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::write(dir.path().join(".gitignore"), "/build\n").unwrap();
        fs::write(
            dir.path().join(std::ffi::OsStr::from_bytes(b"\xff.yml")),
            "",
        )
        .unwrap();
        std::os::unix::fs::symlink("a.yml", dir.path().join("link.yml")).unwrap();
        std::os::unix::fs::symlink(".github", dir.path().join("directory")).unwrap();
        let survey = survey(dir.path());
        let names: Vec<_> = survey.files.iter().map(ToString::to_string).collect();
        assert_eq!(names, [".github/workflows/b.yml", ".gitignore", "a.yml"]);
        assert_eq!(survey.unnameable.len(), 1);
        let names: Vec<_> = survey.directories.iter().map(ToString::to_string).collect();
        assert_eq!(names, [".github", ".github/workflows", "deep"]);
        assert!(survey.unread.is_empty(), "{:?}", survey.unread);
    }
}
