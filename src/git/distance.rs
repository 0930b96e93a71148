//! The distance of two commits: in commits that touch some paths, and in time.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

use super::{Git, GitError, ObjectId};
use crate::base::files::RelPath;

impl Git {
    /// The commit that a reference resolves to, by its full name, such as `refs/heads/main`.
    pub(crate) fn commit_at(&self, reference: &str) -> Result<ObjectId, GitError> {
        let args = [
            "--verify",
            "--end-of-options",
            &format!("{reference}^{{commit}}"),
        ];
        let printed = self.output("rev-parse", &args)?;
        ObjectId::parse(printed.trim_ascii()).ok_or(GitError::Malformed {
            command: "rev-parse",
            what: "no commit",
        })
    }

    /// The time of a commit by the committer's clock, in seconds since 1970.
    pub(crate) fn commit_time(&self, commit: &ObjectId) -> Result<i64, GitError> {
        let printed = self.output("log", &["-1", "--format=%ct", &commit.to_string(), "--"])?;
        let seconds = std::str::from_utf8(printed.trim_ascii())
            .ok()
            .and_then(|text| text.parse().ok());
        seconds.ok_or(GitError::Malformed {
            command: "log",
            what: "no time",
        })
    }

    /// The commits up to and including `tip` that changed the file at `path` below the root, with side
    /// branches.
    pub(crate) fn changes_of(
        &self,
        tip: &ObjectId,
        path: &RelPath,
    ) -> Result<Vec<ObjectId>, GitError> {
        let whole = [b":(top,literal)", self.prefix(), path.as_bytes()].concat();
        let args = [
            b"--full-history".to_vec(),
            tip.to_string().into_bytes(),
            b"--".to_vec(),
            whole,
        ];
        let printed = self.output("rev-list", &args.map(OsString::from_vec))?;
        let ids = printed
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(ObjectId::parse);
        ids.collect::<Option<_>>().ok_or(GitError::Malformed {
            command: "rev-list",
            what: "no commit",
        })
    }

    /// The number of commits of `newer` that `older` does not contain and that touch one of `paths`
    /// from the top of the repository (no path: all commits).
    pub(crate) fn commits_between(
        &self,
        older: &ObjectId,
        newer: &ObjectId,
        paths: &[String],
    ) -> Result<u64, GitError> {
        let mut args = vec![
            "--count".to_owned(),
            newer.to_string(),
            format!("^{older}"),
            "--".to_owned(),
        ];
        // Literal paths, not patterns.
        args.extend(paths.iter().map(|path| format!(":(top,literal){path}")));
        let printed = self.output("rev-list", &args)?;
        let count = std::str::from_utf8(printed.trim_ascii())
            .ok()
            .and_then(|text| text.parse().ok());
        count.ok_or(GitError::Malformed {
            command: "rev-list",
            what: "no number",
        })
    }
}
