//! The files of a commit's tree, as a place that text files come from.

use std::{
    ffi::{OsStr, OsString},
    io::{BufRead, BufReader, Read},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use super::{Git, GitError, ObjectId, command::Mode};
use crate::{
    config::{Globs, RelPath},
    files::Snapshot,
};

const COMMAND: &str = "ls-tree";
/// The longest path that is read, in bytes.
const PATH: u64 = 64 * 1024;

/// What `globs` match beneath the root in a commit's tree; and the first file that is larger than
/// was allowed.
#[derive(Debug)]
pub struct FilesAt {
    /// The files, with their contents.
    pub files: Snapshot,
    /// A file that was left out because of its size.
    pub too_large: Option<RelPath>,
}

impl Git {
    /// Reads the files that `globs` match in the tree of `commit`, each of at most `most` bytes.
    pub fn files_at(
        &self,
        commit: &ObjectId,
        globs: &Globs,
        most: u64,
    ) -> Result<FilesAt, GitError> {
        let mut at = FilesAt {
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
                at.files.note_chart(&path);
            }
            if !Snapshot::lists(globs, &path) {
                return;
            }
            match mode {
                b"100644" | b"100755" | b"100664" => wanted.push((path, id)),
                b"120000" => at.files.insert_symlink(path),
                _ => {}
            }
        })?;
        let mut objects = self.objects(|_| Ok(None::<()>))?;
        for (path, id) in wanted {
            match objects.blob(id, most)? {
                Some(content) => at.files.insert(path, content),
                None => at.too_large = at.too_large.or(Some(path)),
            }
        }
        Ok(at)
    }

    /// Passes on each regular file beneath the root in the tree of `commit`, with its content's
    /// name.
    pub fn regular_files(
        &self,
        commit: &ObjectId,
        mut each: impl FnMut(RelPath, ObjectId),
    ) -> Result<(), GitError> {
        self.entries(commit, |mode, id, path| {
            let regular = matches!(mode, b"100644" | b"100755" | b"100664");
            let Some(path) = path.strip_prefix(self.prefix()).filter(|_| regular) else {
                return;
            };
            if let Ok(path) = RelPath::new(Path::new(OsStr::from_bytes(path))) {
                each(path, id);
            }
        })
    }

    /// Passes on mode, id and path of everything in a tree but directories: `MODE TYPE ID`, a tab,
    /// the path, a NUL.
    fn entries(
        &self,
        commit: &ObjectId,
        mut each: impl FnMut(&[u8], ObjectId, &[u8]),
    ) -> Result<(), GitError> {
        let args = ["-r", "-z", "--full-tree"].map(OsString::from);
        let args = [&args[..], &[commit.to_string().into()]].concat();
        let mut running = self.start(COMMAND, &args, Mode::Read)?;
        let mut listed = BufReader::with_capacity(64 * 1024, running.stdout()?);
        let mut entry = Vec::new();
        loop {
            entry.clear();
            let read = listed.by_ref().take(PATH).read_until(0, &mut entry);
            if read.map_err(|error| running.io(error))? == 0 {
                break;
            }
            let wrong = || GitError::Malformed {
                command: COMMAND,
                what: "a malformed entry",
            };
            let entry = entry.strip_suffix(&[0]).ok_or_else(wrong)?;
            let tab = memchr::memchr(b'\t', entry).ok_or_else(wrong)?;
            let mut words = entry[..tab].split(|b| *b == b' ');
            let (mode, id) = (
                words.next().unwrap_or_default(),
                words.nth(1).and_then(ObjectId::parse),
            );
            each(mode, id.ok_or_else(wrong)?, &entry[tab + 1..]);
        }
        running.finish(&[]).map(drop)
    }
}
