//! The fetched files of a commit's tree, in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::{Path, PathBuf},
};

use super::{CHART, Files, Globs, Hazard, Listing, ReadError, RelPath, Unopened, is_reserved};

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
        listing.files.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        listing
            .hazards
            .sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
        Ok(listing)
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
