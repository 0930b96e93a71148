//! The paths whose changes the history of a set reads.

use std::{collections::BTreeSet, os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc};

use super::{
    periods::{Rules, Slots},
    renames::ConfigPath,
};
use crate::{
    base::files::{CHART, is_reserved},
    config::Config,
    git::{Git, GitError, ObjectId},
};

/// A path under the root.
pub(super) type FilePath = Arc<[u8]>;

/// The maximum number of directories; beyond it, the whole tree is read.
const MAX_DIRECTORIES: usize = 64;

/// The directories, or the whole tree if they are too many.
pub(super) fn limited(directories: BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    if directories.len() > MAX_DIRECTORIES {
        BTreeSet::from([PathBuf::new()])
    } else {
        directories
    }
}

/// The paths of the repository whose changes the history of a set reads first. It reads further ones if
/// older configurations have other directories, or other paths.
pub(crate) fn read_paths(config: &Config) -> Vec<Vec<u8>> {
    let rules = Rules::new(config, &mut Slots::new(config));
    let path = ConfigPath::new(config.set_path.clone());
    read_paths_of(&path, &limited(rules.directories().collect()))
}

/// Fetches the contents that the history of a set probably needs and that are missing here, together: every version of
/// its configuration and of the files that the present one matches.
pub(crate) fn fetch_contents(git: &Git, config: &Config, tip: &ObjectId) -> Result<(), GitError> {
    let rules = Rules::new(config, &mut Slots::new(config));
    let own = ConfigPath::new(config.set_path.clone());
    let mut wanted = Vec::new();
    git.reachable(tip, &read_paths(config))?.each(|commit| {
        for change in commit.changes {
            let path = change.path.strip_prefix(own.prefix.as_slice());
            if change.path == own.path || path.is_some_and(|path| rules.matches(path)) {
                wanted.extend(change.blob);
            }
        }
        Ok(())
    })?;
    git.fetch_missing(&git.missing(&wanted)?).map(drop)
}

/// The directories, and the configuration at a path.
pub(super) fn read_paths_of(path: &ConfigPath, directories: &BTreeSet<PathBuf>) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    for directory in directories {
        paths.push([&path.prefix, directory.as_os_str().as_bytes()].concat());
    }
    paths.push(path.path.clone());
    paths
}

/// Whether a path is that of a chart's metadata.
pub(super) fn is_chart(path: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next() == Some(CHART.as_bytes())
}

/// A path in the repository relative to a root, unless it is outside or has a name of our own files.
pub(super) fn path_in(whole: &FilePath, prefix: &[u8]) -> Option<FilePath> {
    let path = whole.strip_prefix(prefix)?;
    if path.split(|byte| *byte == b'/').any(is_reserved) {
        return None;
    }
    Some(if prefix.is_empty() {
        Arc::clone(whole)
    } else {
        FilePath::from(path)
    })
}
