//! All commits of a clone, in one pass.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
};

use super::{Git, GitError, ObjectId};

const COMMAND: &str = "rev-list";

/// A commit that a reference of the clone reaches.
pub(crate) struct ReachableCommit<'p> {
    pub id: ObjectId,
    /// The committer's time, in seconds since 1970.
    pub seconds: i64,
    pub parents: &'p [ObjectId],
}

impl Git {
    /// Calls `each` with every commit that `HEAD` or a reference reaches: the newest first by the
    /// committer's time, and a commit never before its descendants.
    pub(crate) fn each_commit(
        &self,
        mut each: impl FnMut(ReachableCommit<'_>),
    ) -> Result<(), GitError> {
        let args = ["--all", "--date-order", "--timestamp", "--parents"].map(OsString::from);
        let mut stream = self.stream(COMMAND, &args)?;
        let mut lines = BufReader::with_capacity(64 * 1024, stream.stdout()?);
        let malformed = GitError::Malformed {
            command: COMMAND,
            what: "no commit",
        };
        let (mut line, mut parents) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            let read = lines.read_until(b'\n', &mut line);
            let length = read.map_err(|error| GitError::Io {
                command: COMMAND,
                error,
            })?;
            if length == 0 {
                return stream.finish();
            }
            let mut words = line.trim_ascii_end().split(|byte| *byte == b' ');
            let seconds = words.next().and_then(|word| std::str::from_utf8(word).ok());
            let seconds = seconds.and_then(|text| text.parse().ok());
            let id = words.next().and_then(ObjectId::parse);
            parents.clear();
            for word in words {
                match ObjectId::parse(word) {
                    Some(parent) => parents.push(parent),
                    None => return Err(malformed),
                }
            }
            let (Some(seconds), Some(id)) = (seconds, id) else {
                return Err(malformed);
            };
            let parents = &parents;
            each(ReachableCommit {
                id,
                seconds,
                parents,
            });
        }
    }
}
