//! Files of a commit's tree, as far as they were fetched, held in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::{Path, PathBuf},
};

use super::{Files, Hazard, Listing, ReadError, is_reserved};
use crate::config::{CHART, Globs, RelPath, Unopened};

/// What is known of a tree: contents of files, and symlinks.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    entries: BTreeMap<RelPath, Entry>,
    /// Files that make their directories Helm charts, whether or not their contents were fetched.
    charts: BTreeSet<PathBuf>,
}

#[derive(Debug, Clone)]
enum Entry {
    Content(Vec<u8>),
    Symlink,
}

impl Snapshot {
    /// Takes in a regular file's content.
    pub fn insert(&mut self, path: RelPath, content: Vec<u8>) {
        self.entries.insert(path, Entry::Content(content));
    }

    /// Takes in that there is a symlink at `path`.
    pub fn insert_symlink(&mut self, path: RelPath) {
        self.entries.insert(path, Entry::Symlink);
    }

    /// Takes in that there is a file at `path`, if it makes its directory a Helm chart.
    pub fn note_chart(&mut self, path: &RelPath) {
        if path.as_path().file_name().is_some_and(|name| name == CHART) {
            self.charts.insert(path.as_path().to_owned());
        }
    }

    /// Whether the work tree would list a file at `path` for `globs`.
    pub fn lists(globs: &Globs, path: &RelPath) -> bool {
        let entered = path
            .as_path()
            .components()
            .all(|part| !is_reserved(part.as_os_str().as_encoded_bytes()));
        entered && globs.matches(path.as_path())
    }
}

impl Files for Snapshot {
    fn list_unopened(&self, globs: &Globs) -> Result<Listing, ReadError> {
        let mut listing = Listing::default();
        for (path, entry) in self
            .entries
            .iter()
            .filter(|(path, _)| Self::lists(globs, path))
        {
            match entry {
                Entry::Content(_) => listing.files.push(path.clone()),
                Entry::Symlink => listing.hazards.push((path.clone(), Hazard::Symlink)),
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
        let fail = |reason: Unopened| ReadError {
            path: path.to_string(),
            error: reason.into(),
        };
        match self.entries.get(path) {
            Some(Entry::Content(content)) => Ok(Box::new(content.as_slice())),
            Some(Entry::Symlink) => Err(fail(Unopened::Symlink)),
            None => Err(fail(Unopened::Missing)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    #[test]
    fn it_lists_what_a_work_tree_would() {
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
