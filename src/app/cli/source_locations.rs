//! Locations for SARIF: paths from the top of the repository, and columns in UTF-16 code units.

use std::{
    collections::HashMap,
    path::{Component, Path, PathBuf},
};

use crate::{
    app::report::sarif::{Locate, Location},
    base::files::{Files as _, RelPath, WorkTree},
    core::checks::FileLocation,
    git::top_of_repository,
};

/// The directories for relative paths of locations.
#[derive(Debug, Clone, Default)]
pub(super) struct Directories {
    pub(super) current: PathBuf,
    /// The root, or the current directory until the configuration is known.
    pub(super) root: PathBuf,
}

/// Converts locations to locations in the repository.
pub(super) struct SourceLocations {
    directories: Directories,
    top: PathBuf,
    /// The files that were read; `None` for an unreadable file.
    contents: HashMap<PathBuf, Option<Content>>,
}

struct Content {
    bytes: Vec<u8>,
    /// The offset of each line.
    lines: Vec<usize>,
}

impl SourceLocations {
    pub(super) fn new(directories: Directories) -> Self {
        // `--config ../repin.yaml` gives a root that contains `..`.
        let root = canonical(directories.root);
        let top = top_of_repository(&root);
        Self {
            top: top.unwrap_or(&root).to_owned(),
            directories: Directories {
                root,
                ..directories
            },
            contents: HashMap::new(),
        }
    }

    fn locate(&mut self, path: &Path, location: &FileLocation) -> Option<Location> {
        let path = path.strip_prefix(&self.top).ok()?.to_owned();
        let mut components = path.components();
        if components.any(|component| !matches!(component, Component::Normal(_))) {
            return None;
        }
        let content = self
            .contents
            .entry(path.clone())
            .or_insert_with_key(|path| Content::read(&self.top, path));
        Some(Location {
            path: path.to_string_lossy().into_owned(),
            line: location.line,
            column: content
                .as_ref()
                .and_then(|content| content.column(location)),
        })
    }
}

impl Locate for SourceLocations {
    fn in_root(&mut self, location: &FileLocation) -> Option<Location> {
        self.locate(&self.directories.root.join(&location.file), location)
    }

    fn of_error(&mut self, location: &FileLocation) -> Option<Location> {
        let Directories { current, root } = &self.directories;
        let typed = current.join(&location.file);
        let path = if typed.is_file() {
            typed
        } else {
            root.join(&location.file)
        };
        let (parent, name) = (path.parent()?.to_owned(), path.file_name()?);
        self.locate(&canonical(parent).join(name), location)
    }
}

/// The directory without `..` and symlinks, if it exists.
fn canonical(directory: PathBuf) -> PathBuf {
    directory.canonicalize().unwrap_or(directory)
}

impl Content {
    fn read(top: &Path, path: &Path) -> Option<Self> {
        let path = RelPath::new(path).ok()?;
        let bytes = WorkTree::new(top).read(&path).ok()?;
        let starts = memchr::memchr_iter(b'\n', &bytes).map(|end| end + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Some(Self { bytes, lines })
    }

    /// The column of a location in UTF-16 code units; `None` if the line is not UTF-8 up to the location.
    fn column(&self, location: &FileLocation) -> Option<usize> {
        let start = *self.lines.get(location.line.checked_sub(1)?)?;
        let before = self
            .bytes
            .get(start..start + location.column.checked_sub(1)?)?;
        let text = std::str::from_utf8(before).ok()?;
        // ASCII text in UTF-16 is also valid UTF-8, with NUL characters.
        (!text.contains(['\0', '\n'])).then(|| text.encode_utf16().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(file: &str, line: usize, column: usize) -> FileLocation {
        FileLocation {
            file: file.to_owned(),
            line,
            column,
        }
    }

    /// A repository with `deploy` as the root.
    fn repository() -> (tempfile::TempDir, SourceLocations) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("deploy");
        std::fs::create_dir_all(&root).unwrap();
        let git = dir.path().join(".git");
        for name in ["objects", "refs"] {
            std::fs::create_dir_all(git.join(name)).unwrap();
        }
        std::fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        let locations = SourceLocations::new(Directories {
            current: dir.path().to_owned(),
            root,
        });
        (dir, locations)
    }

    #[test]
    fn columns_count_utf_16_code_units() {
        let (dir, mut locations) = repository();
        std::fs::write(dir.path().join("deploy/a.yml"), "x\né𝄞: pin\n").unwrap();
        let mut column = |line, column| {
            let location = location("a.yml", line, column);
            locations.in_root(&location).unwrap().column
        };
        // `é` has two bytes and one unit, `𝄞` four bytes and two units.
        assert_eq!(column(2, 7), Some(4));
        assert_eq!(column(1, 1), Some(1));
        // Within a character, after the end of the line, after the last line.
        assert_eq!([column(2, 2), column(1, 3), column(9, 1)], [None; 3]);
    }

    #[test]
    fn line_without_utf8_has_no_column() {
        let (dir, mut locations) = repository();
        let file = dir.path().join("deploy/a.txt");
        for bytes in [&b"\xff\xfea\0b\0"[..], b"a\0b\0c\0"] {
            std::fs::write(&file, bytes).unwrap();
            locations.contents.clear();
            let found = locations.in_root(&location("a.txt", 1, 5)).unwrap();
            assert_eq!((found.line, found.column), (1, None));
        }
    }

    #[test]
    fn paths_are_relative_inside_the_top() {
        let (dir, mut locations) = repository();
        std::fs::write(dir.path().join("repin.yaml"), "version: 1\n").unwrap();
        let mut path = |file: &str| Some(locations.of_error(&location(file, 1, 1))?.path);
        // A file relative to the current directory, and a file relative to the root.
        assert_eq!(path("repin.yaml").as_deref(), Some("repin.yaml"));
        assert_eq!(path("other.yaml").as_deref(), Some("deploy/other.yaml"));
        assert_eq!(path("/etc/hosts"), None);
        assert_eq!(path("../../x"), None);
    }
}
