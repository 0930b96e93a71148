//! Which files git tracks beneath a directory, and which it ignores.
//!
//! Both are asked of the index and the ignore rules alone: no commit must exist. Paths are
//! relative to the directory.

use std::{
    ffi::{OsStr, OsString},
    io::{BufRead, BufReader, Read},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use super::{
    GitError, ObjectId,
    command::{self, Mode, Running},
    location::Location,
};
use crate::{
    config::{Config, IgnoredFiles, RelPath},
    files::{Ignored, WorkTree, is_reserved},
};

const COMMAND: &str = "ls-files";
/// The longest path that is read, in bytes.
const PATH: u64 = 64 * 1024;

/// A regular file that git tracks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackedFile {
    /// Where it stands.
    pub path: RelPath,
    /// Its content in the index, where a sparse checkout leaves it out of the work tree.
    pub sparse: Option<ObjectId>,
}

/// What git says about the files of a work tree.
#[derive(Debug, Default)]
pub struct Tracking {
    /// Every regular file that it tracks, sorted by the bytes of their paths.
    pub tracked: Vec<TrackedFile>,
    /// What it ignores and does not track.
    pub ignored: Ignored,
}

/// Which files git tracks and ignores beneath `root`; what it ignores only beneath `directories`.
/// [`GitError::NotARepository`] also where the repository ignores the root itself.
pub fn tracking(root: &Path, directories: &[PathBuf]) -> Result<Tracking, GitError> {
    // Both run at the same time.
    let listing = start(root, &["-s", "-t"], &[PathBuf::new()])?;
    let ignored = start_ignored(root, directories)?;
    let tracked = read_tracked(listing)?;
    match ignored.map_or_else(|| Ok(Some(Ignored::default())), read_ignored)? {
        Some(ignored) => Ok(Tracking { tracked, ignored }),
        None if tracked.is_empty() => Err(GitError::NotARepository(root.to_owned())),
        None => Ok(Tracking {
            tracked,
            ignored: Ignored::default(),
        }),
    }
}

/// What git ignores and does not track beneath `directories` of `root`; nothing where it ignores
/// the root itself.
fn ignored(root: &Path, directories: &[PathBuf]) -> Result<Ignored, GitError> {
    let running = start_ignored(root, directories)?;
    let ignored = running.map_or(Ok(None), read_ignored)?;
    Ok(ignored.unwrap_or_default())
}

/// The files of the root without those that git ignores and does not track, unless the configuration
/// includes ignored files.
pub fn work_tree(config: &Config) -> WorkTree {
    without_ignored(&config.root, &searched_directories(config))
}

/// The files of a root before there is a configuration.
pub fn work_tree_at(root: &Path) -> WorkTree {
    without_ignored(root, &[PathBuf::new()])
}

fn without_ignored(root: &Path, directories: &[PathBuf]) -> WorkTree {
    let tree = WorkTree::new(root);
    if directories.is_empty() || !is_in_repository(root) {
        return tree;
    }
    // If git fails, nothing is left out: more files count, and none is missed.
    tree.without(ignored(root, directories).unwrap_or_default())
}

/// Whether the root or a directory above it contains `.git`. Without one, no git command is needed.
pub(crate) fn is_in_repository(root: &Path) -> bool {
    root.ancestors()
        .any(|directory| directory.join(".git").exists())
}

/// The directories that `files:` and `places:` spell out, unless ignored files count as well.
pub(crate) fn searched_directories(config: &Config) -> Vec<PathBuf> {
    if config.files_ignored == IgnoredFiles::Include {
        Vec::new()
    } else {
        config.scanned.literal_directories().collect()
    }
}

fn start_ignored(root: &Path, directories: &[PathBuf]) -> Result<Option<Running>, GitError> {
    let options = ["--others", "--ignored", "--exclude-standard", "--directory"];
    (!directories.is_empty())
        .then(|| start(root, &options, directories))
        .transpose()
}

/// Every file beneath `root` that git neither tracks nor ignores.
pub fn untracked(root: &Path) -> Result<Vec<RelPath>, GitError> {
    let options = ["--others", "--exclude-standard"];
    let mut files = Vec::new();
    each_entry(start(root, &options, &[PathBuf::new()])?, |entry| {
        // A repository within this one ends with `/`.
        if !entry.ends_with(b"/") {
            files.extend(relative(entry));
        }
        Ok(())
    })?;
    Ok(files)
}

fn start(root: &Path, options: &[&str], directories: &[PathBuf]) -> Result<Running, GitError> {
    let whole = directories
        .iter()
        .any(|directory| directory.as_os_str().is_empty());
    let literal = |directory: &PathBuf| {
        let text = [b":(literal)", directory.as_os_str().as_bytes()].concat();
        OsString::from_vec(text)
    };
    let mut args: Vec<OsString> = ["-z"].iter().chain(options).map(OsString::from).collect();
    args.push("--".into());
    if whole {
        args.push(".".into());
    } else {
        args.extend(directories.iter().map(literal));
    }
    let program = OsStr::new("git");
    let place = Location::find(root)?;
    command::check_owner(program, &place)?;
    command::start(program, &place, COMMAND, &args, Mode::Read)
}

/// `TAG MODE ID STAGE`, a tab, the path: `git ls-files -s -t`.
fn read_tracked(running: Running) -> Result<Vec<TrackedFile>, GitError> {
    let mut files: Vec<TrackedFile> = Vec::new();
    each_entry(running, |entry| {
        let wrong = || GitError::Malformed {
            command: COMMAND,
            what: "a malformed entry",
        };
        let tab = memchr::memchr(b'\t', entry).ok_or_else(wrong)?;
        let mut words = entry[..tab].split(|b| *b == b' ');
        let (tag, mode, id) = (words.next(), words.next(), words.next());
        let id = id.and_then(ObjectId::parse).ok_or_else(wrong)?;
        if !matches!(mode, Some(b"100644" | b"100755" | b"100664")) {
            return Ok(());
        }
        let Ok(path) = RelPath::new(Path::new(OsStr::from_bytes(&entry[tab + 1..]))) else {
            return Ok(());
        };
        let sparse = (tag == Some(b"S")).then_some(id);
        // A path in conflict is listed once for each side.
        if files.last().is_none_or(|last| last.path != path) {
            files.push(TrackedFile { path, sparse });
        }
        Ok(())
    })?;
    files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    Ok(files)
}

/// What is ignored; `None` if the directory that was asked about is itself.
fn read_ignored(running: Running) -> Result<Option<Ignored>, GitError> {
    let mut ignored = Ignored::default();
    let mut everything = false;
    let read = each_entry(running, |entry| {
        if entry == b"./" {
            everything = true;
        } else if let Some(path) = relative(entry.strip_suffix(b"/").unwrap_or(entry)) {
            ignored.add(&path);
        }
        Ok(())
    });
    match read {
        // git 2.47 says so of an ignored directory that it is asked in.
        Err(GitError::Failed { message, .. }) if message.contains("not superset of prefix") => {
            Ok(None)
        }
        Err(error) => Err(error),
        Ok(()) => Ok((!everything).then_some(ignored)),
    }
}

/// A path that git does not track, unless it is that of a temporary file of ours. A tracked file may
/// have such a name, and is listed.
fn relative(path: &[u8]) -> Option<RelPath> {
    let ours = path.split(|b| *b == b'/').any(is_reserved);
    (!ours).then(|| RelPath::new(Path::new(OsStr::from_bytes(path))).ok())?
}

fn each_entry(
    mut running: Running,
    mut visit: impl FnMut(&[u8]) -> Result<(), GitError>,
) -> Result<(), GitError> {
    let mut listed = BufReader::with_capacity(64 * 1024, running.stdout()?);
    let mut entry = Vec::new();
    loop {
        entry.clear();
        let read = listed.by_ref().take(PATH).read_until(0, &mut entry);
        if read.map_err(|error| running.io(error))? == 0 {
            break;
        }
        let whole = entry.strip_suffix(&[0]).ok_or(GitError::Malformed {
            command: COMMAND,
            what: "an unterminated path",
        });
        visit(whole?)?;
    }
    running.finish(&[]).map(drop)
}
