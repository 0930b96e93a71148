//! How far apart two commits are: in commits that touch some paths, and in time.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

use super::{Git, GitError, ObjectId};
use crate::config::RelPath;

impl Git {
    /// The commit that a reference points to (its full name, such as `refs/heads/main`), through
    /// tags.
    pub(crate) fn commit_at(&self, reference: &str) -> Result<ObjectId, GitError> {
        let asked = [
            "--verify",
            "--end-of-options",
            &format!("{reference}^{{commit}}"),
        ];
        let printed = self.answer("rev-parse", &asked)?;
        ObjectId::parse(printed.trim_ascii()).ok_or(GitError::Malformed {
            command: "rev-parse",
            what: "no commit",
        })
    }

    /// When a commit was made, in seconds since 1970, by its committer's clock.
    pub(crate) fn committed(&self, commit: &ObjectId) -> Result<i64, GitError> {
        let printed = self.answer("log", &["-1", "--format=%ct", &commit.to_string(), "--"])?;
        let seconds = std::str::from_utf8(printed.trim_ascii())
            .ok()
            .and_then(|text| text.parse().ok());
        seconds.ok_or(GitError::Malformed {
            command: "log",
            what: "no time",
        })
    }

    /// The commits up to `tip`, it included, that changed the file at `path` beneath the root, side
    /// branches too.
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
        let printed = self.answer("rev-list", &args.map(OsString::from_vec))?;
        let ids = printed
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(ObjectId::parse);
        ids.collect::<Option<_>>().ok_or(GitError::Malformed {
            command: "rev-list",
            what: "no commit",
        })
    }

    /// How many commits `newer` has that `older` has not and that touch one of `paths` (from the
    /// top; none: all commits).
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
        // Paths, and never patterns.
        args.extend(paths.iter().map(|path| format!(":(top,literal){path}")));
        let printed = self.answer("rev-list", &args)?;
        let count = std::str::from_utf8(printed.trim_ascii())
            .ok()
            .and_then(|text| text.parse().ok());
        count.ok_or(GitError::Malformed {
            command: "rev-list",
            what: "no number",
        })
    }
}
