//! The files in the tree of a commit.

use std::{
    ffi::{OsStr, OsString},
    io::{BufRead, BufReader, Read},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use super::{Git, GitError, ObjectId, command::Mode, is_regular};
use crate::base::files::{Globs, RelPath, Snapshot};

const COMMAND: &str = "ls-tree";
/// The maximum size of an entry, in bytes.
const MAX_ENTRY: u64 = 64 * 1024;

/// The files below the root that globs match in the tree of a commit.
#[derive(Debug)]
pub(crate) struct FilesAt {
    pub(crate) files: Snapshot,
    /// The first file that was not read because of its size.
    pub(crate) too_large: Option<RelPath>,
}

impl Git {
    /// The files that `globs` match in the tree of `commit`, each of at most `most` bytes.
    pub(crate) fn files_at(
        &self,
        commit: &ObjectId,
        globs: &Globs,
        most: u64,
    ) -> Result<FilesAt, GitError> {
        let mut found = FilesAt {
            files: Snapshot::default(),
            too_large: None,
        };
        let mut wanted = Vec::new();
        self.entries(commit, |mode, id, path| {
            let Some(path) = path.strip_prefix(self.prefix()) else {
                return;
            };
            let Ok(path) = RelPath::new(Path::new(OsStr::from_bytes(path))) else {
                return;
            };
            if mode.starts_with(b"100") {
                found.files.note_chart(&path);
            }
            if !Snapshot::lists(globs, &path) {
                return;
            }
            match mode {
                mode if is_regular(mode) => wanted.push((path, id)),
                b"120000" => found.files.insert_symlink(path),
                _ => {}
            }
        })?;
        for (path, id) in wanted {
            match self.blob(id, most)? {
                Some(content) => found.files.insert(path, content),
                None => found.too_large = found.too_large.or(Some(path)),
            }
        }
        Ok(found)
    }

    /// Visits each regular file in the tree of `commit`, with the id of its content. The path begins at
    /// the top of the repository.
    pub(crate) fn regular_files(
        &self,
        commit: &ObjectId,
        mut visit: impl FnMut(RelPath, ObjectId),
    ) -> Result<(), GitError> {
        self.entries(commit, |mode, id, path| {
            if is_regular(mode)
                && let Ok(path) = RelPath::new(Path::new(OsStr::from_bytes(path)))
            {
                visit(path, id);
            }
        })
    }

    /// Visits the mode, the id and the path of every entry of a tree except directories: `MODE TYPE ID`,
    /// a tab, the path, a NUL.
    fn entries(
        &self,
        commit: &ObjectId,
        mut visit: impl FnMut(&[u8], ObjectId, &[u8]),
    ) -> Result<(), GitError> {
        let args = ["-r", "-z", "--full-tree"].map(OsString::from);
        let args = [&args[..], &[commit.to_string().into()]].concat();
        let mut running = self.start(COMMAND, &args, Mode::Read)?;
        let mut listed = BufReader::with_capacity(64 * 1024, running.stdout()?);
        let mut entry = Vec::new();
        loop {
            entry.clear();
            let read = listed.by_ref().take(MAX_ENTRY).read_until(0, &mut entry);
            if read.map_err(|error| running.io(error))? == 0 {
                break;
            }
            let malformed = || GitError::Malformed {
                command: COMMAND,
                what: "a malformed entry",
            };
            let entry = entry.strip_suffix(&[0]).ok_or_else(malformed)?;
            let tab = memchr::memchr(b'\t', entry).ok_or_else(malformed)?;
            let mut words = entry[..tab].split(|b| *b == b' ');
            let (mode, id) = (
                words.next().unwrap_or_default(),
                words.nth(1).and_then(ObjectId::parse),
            );
            visit(mode, id.ok_or_else(malformed)?, &entry[tab + 1..]);
        }
        running.finish(&[]).map(drop)
    }
}
