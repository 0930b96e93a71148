//! The files that git tracks or ignores, from the index and the ignore rules: no commit must exist.
//!
//! The paths of the functions are relative to their directory, those of the methods to the top of the
//! work tree.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io::{BufRead, BufReader, Read},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use super::{
    Git, GitError, ObjectId,
    command::{self, Mode, Running},
    is_regular,
    location::Location,
    top_of_repository,
};
use crate::base::files::{Ignored, RelPath, WorkTree, is_config_file, is_reserved};

const COMMAND: &str = "ls-files";
/// The maximum size of an entry, in bytes.
const MAX_ENTRY: u64 = 64 * 1024;
/// The mode of a symbolic link.
const SYMLINK_MODE: &[u8] = b"120000";
/// A glob that matches every configuration file, and a few other files. A pathspec with `glob` takes git
/// twice the time in a large repository.
const CONFIGURATIONS: &str = "*repin.*";

/// A file that git tracks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrackedFile {
    pub(crate) path: RelPath,
    /// Its content in the index, if a sparse checkout does not contain the file.
    pub(crate) sparse: Option<ObjectId>,
}

/// The tracked and the ignored files of a work tree.
#[derive(Debug, Default)]
pub(crate) struct Tracking {
    /// Every tracked regular file below the root, sorted by the bytes of the path.
    pub(crate) tracked: Vec<TrackedFile>,
    /// Every tracked configuration file of the repository, by its path from the top of the work tree. A
    /// symbolic link is listed as well, so that it is refused and not skipped.
    pub(crate) configurations: Vec<TrackedFile>,
    /// The files that are ignored and not tracked.
    pub(crate) ignored: Ignored,
}

/// The files that git tracks below `root` and ignores below `directories`, and the configuration files
/// of the whole repository. [`GitError::NotARepository`] also if the repository ignores the root itself.
pub(crate) fn tracking(root: &Path, directories: &[PathBuf]) -> Result<Tracking, GitError> {
    let place = Location::find(root)?;
    let Listing {
        mut tracking,
        ignored,
    } = list(&place, directories)?;
    match ignored {
        Some(ignored) => tracking.ignored = ignored.iter().collect(),
        None if tracking.tracked.is_empty() => {
            return Err(GitError::NotARepository(root.to_owned()));
        }
        None => {}
    }
    Ok(tracking)
}

/// The listing of a place.
pub(super) struct Listing {
    /// Without ignored files.
    pub(super) tracking: Tracking,
    /// `None` if the root itself is ignored.
    pub(super) ignored: Option<Vec<RelPath>>,
}

/// Lists the tracked files of a place, and the ignored ones below `directories` of it.
pub(super) fn list(place: &Location, directories: &[PathBuf]) -> Result<Listing, GitError> {
    let pathspecs = vec![".".into(), format!(":(top){CONFIGURATIONS}").into()];
    // Both commands run concurrently.
    let listing = start(place, &["-s", "-t", "--full-name"], pathspecs)?;
    let ignored = start_ignored(place, directories)?;
    let tracking = read_tracked(listing, &place.prefix)?;
    let ignored = ignored.map_or_else(|| Ok(Some(Vec::new())), read_ignored)?;
    Ok(Listing { tracking, ignored })
}

/// The configuration files that git tracks below `directory`, sorted by the bytes of the path.
pub(crate) fn configurations(directory: &Path) -> Result<Vec<TrackedFile>, GitError> {
    let place = Location::find(directory)?;
    let options = ["-s", "-t", "--full-name"];
    let listing = start(&place, &options, vec![CONFIGURATIONS.into()])?;
    let mut files = Vec::new();
    for file in read_tracked(listing, &place.prefix)?.configurations {
        let below = file.path.as_bytes().strip_prefix(&*place.prefix);
        let path = below.map(|path| RelPath::new(Path::new(OsStr::from_bytes(path))));
        if let Some(Ok(path)) = path {
            files.push(TrackedFile { path, ..file });
        }
    }
    Ok(files)
}

/// Whether git ignores a file, which may not exist yet, and does not track it.
pub(crate) fn is_ignored(root: &Path, file: &RelPath) -> Result<bool, GitError> {
    let place = Location::find(root)?;
    let program = OsStr::new(command::PROGRAM);
    command::check_owner(program, &place)?;
    // `./`: a path that begins with a colon is not magic.
    let path = Path::new(".").join(file.as_path()).into_os_string();
    let args = ["-q".into(), "--".into(), path];
    let mut running = command::start(program, &place, "check-ignore", &args, Mode::Read)?;
    Ok(running.finish(&[1])? == 0)
}

/// Whether git tracks the entry `name` of `directory`; not if the directory is in no repository.
pub(crate) fn is_tracked(directory: &Path, name: &OsStr) -> Result<bool, GitError> {
    if !is_in_repository(directory) {
        return Ok(false);
    }
    let pathspec = OsString::from_vec([b":(literal)", name.as_bytes()].concat());
    let mut is_listed = false;
    each_entry(
        start(&Location::find(directory)?, &["--cached"], vec![pathspec])?,
        |_| {
            is_listed = true;
            Ok(())
        },
    )?;
    Ok(is_listed)
}

/// The files below `directories` of `root` that git ignores and does not track; none if it ignores the
/// root itself.
fn ignored(root: &Path, directories: &[PathBuf]) -> Result<Ignored, GitError> {
    ignored_at(&Location::find(root)?, directories)
}

/// Like [`ignored`], for a place.
pub(super) fn ignored_at(place: &Location, directories: &[PathBuf]) -> Result<Ignored, GitError> {
    let running = start_ignored(place, directories)?;
    let ignored = running.map_or(Ok(None), read_ignored)?;
    Ok(ignored.iter().flatten().collect())
}

/// The files of a root without those that git ignores below `directories`; without a directory, all files.
pub(crate) fn work_tree(root: &Path, directories: &[PathBuf]) -> WorkTree {
    let tree = WorkTree::new(root);
    if directories.is_empty() || !is_in_repository(root) {
        return tree;
    }
    // If git fails, all files are included, so that none is missed.
    tree.without(ignored(root, directories).unwrap_or_default())
}

/// The files of a root without a configuration.
pub(crate) fn work_tree_at(root: &Path) -> WorkTree {
    work_tree(root, &[PathBuf::new()])
}

/// Whether the root or a directory above it contains `.git`. Without one, no git command is needed.
pub(crate) fn is_in_repository(root: &Path) -> bool {
    top_of_repository(root).is_some()
}

fn start_ignored(place: &Location, directories: &[PathBuf]) -> Result<Option<Running>, GitError> {
    let options = ["--others", "--ignored", "--exclude-standard", "--directory"];
    if directories.is_empty() {
        return Ok(None);
    }
    let mut pathspecs = Vec::new();
    for directory in directories {
        if directory.as_os_str().is_empty() {
            pathspecs = vec![".".into()];
            break;
        }
        let pathspec = [b":(literal)", directory.as_os_str().as_bytes()].concat();
        pathspecs.push(OsString::from_vec(pathspec));
    }
    start(place, &options, pathspecs).map(Some)
}

/// Every untracked file below `root` that is not ignored.
pub(crate) fn untracked(root: &Path) -> Result<Vec<RelPath>, GitError> {
    let options = ["--others", "--exclude-standard"];
    let mut files = Vec::new();
    let listing = start(&Location::find(root)?, &options, vec![".".into()])?;
    each_entry(listing, |entry| {
        // The path of a nested repository has a final `/`.
        if !entry.ends_with(b"/") {
            files.extend(relative(entry));
        }
        Ok(())
    })?;
    Ok(files)
}

fn start(
    place: &Location,
    options: &[&str],
    pathspecs: Vec<OsString>,
) -> Result<Running, GitError> {
    let mut args: Vec<OsString> = ["-z"].iter().chain(options).map(OsString::from).collect();
    args.push("--".into());
    args.extend(pathspecs);
    let program = OsStr::new(command::PROGRAM);
    command::check_owner(program, place)?;
    command::start(program, place, COMMAND, &args, Mode::Read)
}

/// Parses `git ls-files -s -t`: `TAG MODE ID STAGE`, a tab, the path. The tracked files are those
/// with the path prefix `prefix`; every listed configuration file counts.
fn read_tracked(running: Running, prefix: &[u8]) -> Result<Tracking, GitError> {
    let mut tracking = Tracking::default();
    each_entry(running, |entry| {
        let [tag, b' ', staged @ ..] = entry else {
            return Err(MALFORMED);
        };
        let IndexEntry { mode, id, path } = index_entry(staged)?;
        let is_regular = is_regular(mode);
        let sparse = (*tag == b'S').then_some(id);
        if is_regular && let Some(below) = path.strip_prefix(prefix) {
            add_file(&mut tracking.tracked, below, sparse);
        }
        let is_file = is_regular || mode == SYMLINK_MODE;
        if is_file && is_config_file(Path::new(OsStr::from_bytes(path))) {
            add_file(&mut tracking.configurations, path, sparse);
        }
        Ok(())
    })?;
    for files in [&mut tracking.tracked, &mut tracking.configurations] {
        files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    }
    Ok(tracking)
}

/// An entry of the index.
struct IndexEntry<'e> {
    mode: &'e [u8],
    id: ObjectId,
    path: &'e [u8],
}

/// Parses `MODE ID STAGE`, a tab, the path.
fn index_entry(entry: &[u8]) -> Result<IndexEntry<'_>, GitError> {
    let tab = memchr::memchr(b'\t', entry).ok_or(MALFORMED)?;
    let mut words = entry[..tab].split(|b| *b == b' ');
    let mode = words.next().ok_or(MALFORMED)?;
    let id = words.next().and_then(ObjectId::parse).ok_or(MALFORMED)?;
    let path = &entry[tab + 1..];
    Ok(IndexEntry { mode, id, path })
}

/// Adds a file to a list. A path in conflict is listed once for each side.
fn add_file(files: &mut Vec<TrackedFile>, path: &[u8], sparse: Option<ObjectId>) {
    let Ok(path) = RelPath::new(Path::new(OsStr::from_bytes(path))) else {
        return;
    };
    if files.last().is_none_or(|last| last.path != path) {
        files.push(TrackedFile { path, sparse });
    }
}

/// The ignored files; `None` if the root itself is ignored.
fn read_ignored(running: Running) -> Result<Option<Vec<RelPath>>, GitError> {
    let mut ignored = Vec::new();
    let mut ignores_root = false;
    let read = each_entry(running, |entry| {
        if entry == b"./" {
            ignores_root = true;
        } else if let Some(path) = relative(entry.strip_suffix(b"/").unwrap_or(entry)) {
            ignored.push(path);
        }
        Ok(())
    });
    match read {
        // The message of git 2.47 in an ignored directory.
        Err(GitError::Failed { message, .. }) if message.contains("not superset of prefix") => {
            Ok(None)
        }
        Err(error) => Err(error),
        Ok(()) => Ok((!ignores_root).then_some(ignored)),
    }
}

/// The path of an untracked file, unless it is a temporary file of repin. A tracked file with such a
/// name is listed.
fn relative(path: &[u8]) -> Option<RelPath> {
    if path.split(|b| *b == b'/').any(is_reserved) {
        return None;
    }
    RelPath::new(Path::new(OsStr::from_bytes(path))).ok()
}

const MALFORMED: GitError = GitError::Malformed {
    command: COMMAND,
    what: "a malformed entry",
};

fn each_entry(
    mut running: Running,
    mut visit: impl FnMut(&[u8]) -> Result<(), GitError>,
) -> Result<(), GitError> {
    let mut listed = BufReader::with_capacity(64 * 1024, running.stdout()?);
    let mut entry = Vec::new();
    loop {
        entry.clear();
        let read = listed.by_ref().take(MAX_ENTRY).read_until(0, &mut entry);
        if read.map_err(|error| running.io(error))? == 0 {
            break;
        }
        visit(entry.strip_suffix(&[0]).ok_or(MALFORMED)?)?;
    }
    running.finish(&[]).map(drop)
}

impl Git {
    /// The paths of every regular file that git tracks in the work tree, without symbolic links and
    /// submodules, each with its contents in the index: a path in conflict has several.
    pub(crate) fn tracked(&self) -> Result<BTreeMap<Vec<u8>, Vec<ObjectId>>, GitError> {
        let args = ["--stage", "-z", "--full-name", "--", ":(top)"].map(OsString::from);
        let mut paths: BTreeMap<Vec<u8>, Vec<ObjectId>> = BTreeMap::new();
        each_entry(self.start(COMMAND, &args, Mode::Read)?, |entry| {
            let IndexEntry { mode, id, path } = index_entry(entry)?;
            if is_regular(mode) {
                paths.entry(path.to_vec()).or_default().push(id);
            }
            Ok(())
        })?;
        Ok(paths)
    }
}
