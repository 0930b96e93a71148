//! What git tracks in the work tree, and whether the clone has all of history.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
};

use super::{Git, GitError, command::Mode};

const COMMAND: &str = "ls-files";
/// The longest entry that is read, in bytes.
const ENTRY: u64 = 64 * 1024;

impl Git {
    /// The top of the work tree.
    pub(crate) fn top(&self) -> &Path {
        match &self.place.repository {
            Some(repository) => &repository.work_tree,
            None => &self.place.root,
        }
    }

    /// The paths, from the top of the work tree, of every regular file that git tracks anywhere in
    /// it: no symbolic links, no submodules.
    pub(crate) fn tracked(&self) -> Result<Vec<Vec<u8>>, GitError> {
        let args = ["--stage", "-z", "--full-name", "--", ":(top)"].map(Into::into);
        let mut running = self.start(COMMAND, &args, Mode::Read)?;
        let mut listed = BufReader::with_capacity(64 * 1024, running.stdout()?);
        let mut paths: Vec<Vec<u8>> = Vec::new();
        let mut entry = Vec::new();
        loop {
            entry.clear();
            let read = listed.by_ref().take(ENTRY).read_until(0, &mut entry);
            if read.map_err(|error| running.io(error))? == 0 {
                break;
            }
            let wrong = || GitError::Malformed {
                command: COMMAND,
                what: "a malformed entry",
            };
            // `MODE ID STAGE`, a tab, the path.
            let entry = entry.strip_suffix(&[0]).ok_or_else(wrong)?;
            let tab = memchr::memchr(b'\t', entry).ok_or_else(wrong)?;
            let path = &entry[tab + 1..];
            // A file in conflict is there once for each side.
            let again = paths.last().is_some_and(|last| last == path);
            if entry.starts_with(b"100") && !again {
                paths.push(path.to_vec());
            }
        }
        running.finish(&[])?;
        Ok(paths)
    }

    /// The remote that this clone is a partial clone of (gitrepository-layout, partial clones).
    pub(crate) fn partial(&self) -> Result<Option<String>, GitError> {
        let asked = [
            "--get-regexp",
            "--null",
            r"^(remote\..*\.(promisor|partialclonefilter)|core\.bare)$",
        ];
        let listed = String::from_utf8_lossy(&self.answer("config", &asked)?).into_owned();
        let partial = listed.split('\0').find_map(|entry| {
            let (key, value) = entry.split_once('\n').unwrap_or((entry, "true"));
            let (remote, setting) = key.strip_prefix("remote.")?.rsplit_once('.')?;
            let off = ["false", "no", "off", "0", ""].contains(&value.to_lowercase().as_str());
            (setting != "promisor" || !off).then(|| remote.to_owned())
        });
        Ok(partial)
    }
}
