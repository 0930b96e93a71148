//! Text files of a work tree or of a commit's tree.
//!
//! This module lists and opens files for other modules.
//!
//! The fetched files of a commit's tree, in memory.

mod open_directory;
mod path;
mod worktree;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    path::{Path, PathBuf},
};

pub(crate) use open_directory::{FILE_FLAGS, OpenDirectory, Unopened};
pub(crate) use path::{
    Glob, Globs, PathError, RelPath, glob_regex, is_config_file, is_workflow_directory,
};
pub(crate) use worktree::{
    Hazard, Ignored, Listing, ReadError, Survey, TooLargeForPins, WorkTree, is_reserved, survey,
    survey_all,
};

/// The name of the description of a Helm chart.
pub(crate) const CHART: &str = "Chart.yaml";

/// The maximum size of a configuration, in bytes.
pub(crate) const MAX_CONFIG_SIZE: u64 = 1024 * 1024;

/// A source of text files.
pub(crate) trait Files: Sync {
    /// Lists the files that `globs` match, and the matches that must not be touched. Hard links are
    /// reported by [`Files::visit`].
    fn list_unopened(&self, globs: &Globs) -> Result<Listing, ReadError>;

    /// Whether a file with the name of a chart exists at a path, not through a symlink.
    fn has_chart(&self, path: &Path) -> bool;

    /// Opens a file for reading.
    fn open(&self, path: &RelPath) -> Result<Box<dyn Read + '_>, ReadError>;

    /// The whole content of a file.
    fn read(&self, path: &RelPath) -> Result<Vec<u8>, ReadError>;

    /// Opens each of these files once, in any order, on one or more threads.
    fn visit(&self, paths: &[RelPath], visitor: &Visitor<'_>) -> Result<(), ReadError> {
        let mut buffer = Vec::new();
        for (number, path) in paths.iter().enumerate() {
            match self.open(path) {
                Ok(mut content) => {
                    let content = &mut *content;
                    let hazard = None;
                    visitor(number, Ok(OpenFile { content, hazard }), &mut buffer);
                }
                Err(error) => visitor(number, Err(error.error), &mut buffer),
            }
        }
        Ok(())
    }
}

/// Receives the number of a file in the list, the opened file, and a buffer that the next files
/// reuse.
pub(crate) type Visitor<'v> = dyn Fn(usize, io::Result<OpenFile<'_>>, &mut Vec<u8>) + Sync + 'v;

/// A file that was opened for reading.
pub(crate) struct OpenFile<'f> {
    /// The remaining content.
    pub content: &'f mut dyn Read,
    /// The reason why the file cannot be changed safely.
    pub hazard: Option<Hazard>,
}

/// The contents of files, and the symlinks, of a tree.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    files: BTreeMap<RelPath, FileKind>,
    /// The files that make their directories Helm charts; their content need not be fetched.
    charts: BTreeSet<PathBuf>,
}

#[derive(Debug, Clone)]
enum FileKind {
    Regular(Vec<u8>),
    Symlink,
}

impl Snapshot {
    /// Adds a regular file.
    pub(crate) fn insert(&mut self, path: RelPath, content: Vec<u8>) {
        self.files.insert(path, FileKind::Regular(content));
    }

    /// Adds a symlink.
    pub(crate) fn insert_symlink(&mut self, path: RelPath) {
        self.files.insert(path, FileKind::Symlink);
    }

    /// Records the path of a file if it makes its directory a Helm chart.
    pub(crate) fn note_chart(&mut self, path: &RelPath) {
        if path.as_path().file_name().is_some_and(|name| name == CHART) {
            self.charts.insert(path.as_path().to_owned());
        }
    }

    /// Whether a work tree would list the file `path` for `globs`.
    pub(crate) fn lists(globs: &Globs, path: &RelPath) -> bool {
        let is_in_reserved = path
            .as_path()
            .components()
            .any(|part| is_reserved(part.as_os_str().as_encoded_bytes()));
        !is_in_reserved && globs.matches(path.as_path())
    }

    fn content(&self, path: &RelPath) -> Result<&[u8], ReadError> {
        let reason = match self.files.get(path) {
            Some(FileKind::Regular(content)) => return Ok(content),
            Some(FileKind::Symlink) => Unopened::Symlink,
            None => Unopened::Missing,
        };
        Err(ReadError {
            path: path.to_string(),
            error: reason.into(),
        })
    }
}

impl Files for Snapshot {
    fn list_unopened(&self, globs: &Globs) -> Result<Listing, ReadError> {
        let mut listing = Listing::default();
        for (path, kind) in &self.files {
            if !Self::lists(globs, path) {
                continue;
            }
            match kind {
                FileKind::Regular(_) => listing.files.push(path.clone()),
                FileKind::Symlink => listing.hazards.push((path.clone(), Hazard::Symlink)),
            }
        }
        Ok(listing.sorted())
    }

    fn has_chart(&self, path: &Path) -> bool {
        self.charts.contains(path)
    }

    fn open(&self, path: &RelPath) -> Result<Box<dyn Read + '_>, ReadError> {
        Ok(Box::new(self.content(path)?))
    }

    fn read(&self, path: &RelPath) -> Result<Vec<u8>, ReadError> {
        Ok(self.content(path)?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    #[test]
    fn snapshot_lists_files_like_a_work_tree() {
        let mut snapshot = Snapshot::default();
        for name in [
            "b.yml",
            "a.yml",
            ".repin-x/c.yml",
            "sub/.git/d.yml",
            "sub/e.yml",
            "f.txt",
        ] {
            snapshot.insert(path(name), name.as_bytes().to_vec());
        }
        snapshot.insert_symlink(path("link.yml"));
        let listing = snapshot
            .list_unopened(&Globs::parse(["**/*.yml"]).unwrap())
            .unwrap();
        let names: Vec<_> = listing.files.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a.yml", "b.yml", "sub/e.yml"]);
        assert_eq!(listing.hazards, [(path("link.yml"), Hazard::Symlink)]);
        assert_eq!(snapshot.read(&path("f.txt")).unwrap(), b"f.txt");
        assert!(snapshot.read(&path("link.yml")).is_err());
        assert!(snapshot.read(&path("nowhere")).is_err());
    }
}
