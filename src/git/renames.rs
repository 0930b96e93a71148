//! The files that a commit or the index renames, by git's rename detection.

use std::{ffi::OsString, os::unix::ffi::OsStringExt};

use super::{Git, GitError, ObjectId};

const COMMAND: &str = "diff-tree";
const INDEX_COMMAND: &str = "diff-index";

/// The deleted and renamed files between a commit and a newer state, by their paths in the repository.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Renames {
    pub(crate) deleted: Vec<OldFile>,
    /// The old file and the new path.
    pub(crate) renamed: Vec<(OldFile, Vec<u8>)>,
}

/// A file of the older commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OldFile {
    pub(crate) path: Vec<u8>,
    pub(crate) blob: ObjectId,
}

/// The newer state of a comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Newer<'c> {
    /// A commit on the first-parent line of `tip`, compared with its first parent.
    Commit {
        id: &'c ObjectId,
        tip: &'c ObjectId,
    },
    Index,
}

impl Git {
    /// The renames among the files that the pathspecs select.
    pub(crate) fn renames(
        &self,
        old: &ObjectId,
        new: Newer<'_>,
        pathspecs: &[Vec<u8>],
    ) -> Result<Renames, GitError> {
        let options = ["-z", "--find-renames=50%", "-l1000", "--raw", "--no-abbrev"];
        let mut args: Vec<OsString> = options.map(OsString::from).to_vec();
        let command = match new {
            Newer::Commit { id, tip } => {
                if !self.may_delete(id, tip, pathspecs)? {
                    return Ok(Renames::default());
                }
                args.push("-r".into());
                args.extend([old, id].map(|commit| commit.to_string().into()));
                COMMAND
            }
            Newer::Index => {
                args.extend(["--cached".into(), old.to_string().into()]);
                INDEX_COMMAND
            }
        };
        args.push("--".into());
        args.extend(pathspecs.iter().cloned().map(OsString::from_vec));
        parse(&self.kept_output(command, &args, &[])?.1)
    }

    /// Whether a commit on the first-parent line of `tip` may delete or rename a file that the pathspecs
    /// select. Only a repository that several sets share answers it without a comparison, by one log.
    fn may_delete(
        &self,
        commit: &ObjectId,
        tip: &ObjectId,
        pathspecs: &[Vec<u8>],
    ) -> Result<bool, GitError> {
        if !self.is_shared() {
            return Ok(true);
        }
        let tip = tip.to_string();
        let options = [
            "--first-parent",
            "--diff-merges=first-parent",
            "--diff-filter=D",
            "--no-renames",
            "--no-patch",
            "--format=%H",
            &tip,
            "--",
        ];
        let mut args: Vec<OsString> = options.map(OsString::from).to_vec();
        args.extend(pathspecs.iter().cloned().map(OsString::from_vec));
        let (_, listed) = self.kept_output("log", &args, &[])?;
        Ok(memchr::memmem::find(&listed, commit.to_string().as_bytes()).is_some())
    }
}

/// Parses `:MODE MODE ID ID STATUS NUL PATH NUL`, with two paths for a renamed file (git-diff-tree, "RAW
/// OUTPUT FORMAT", `-z`).
fn parse(output: &[u8]) -> Result<Renames, GitError> {
    let malformed = || GitError::Malformed {
        command: COMMAND,
        what: "a malformed entry",
    };
    let mut renames = Renames::default();
    let mut fields = output.split(|byte| *byte == 0);
    while let Some(header) = fields.next().filter(|header| !header.is_empty()) {
        let mut words = header.split(|byte| *byte == b' ').skip(2);
        let blob = words.next().and_then(ObjectId::parse);
        let status = words.nth(1).and_then(|status| status.first());
        let path = fields.next().ok_or_else(malformed)?.to_vec();
        let old = OldFile {
            path,
            blob: blob.ok_or_else(malformed)?,
        };
        match status.ok_or_else(malformed)? {
            b'D' => renames.deleted.push(old),
            b'R' => {
                let new = fields.next().ok_or_else(malformed)?.to_vec();
                renames.renamed.push((old, new));
            }
            _ => {}
        }
    }
    Ok(renames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_parsed() {
        let [old, new] = ["a".repeat(40), "b".repeat(40)];
        let entry = |status: &str| format!(":100644 100644 {old} {new} {status}\0");
        let output = [
            entry("A") + "new\0",
            entry("D") + "old\0",
            entry("R087") + "a\0b\0",
            entry("M") + "c\0",
        ];
        let renames = parse(output.concat().as_bytes()).unwrap();
        let file = |path: &str| OldFile {
            path: path.into(),
            blob: ObjectId::parse(old.as_bytes()).unwrap(),
        };
        assert_eq!(renames.deleted, [file("old")]);
        assert_eq!(renames.renamed, [(file("a"), b"b".to_vec())]);
        assert_eq!(parse(b"").unwrap(), Renames::default());
        for output in [entry("D"), entry("R100") + "a", "D\0a\0".to_owned()] {
            assert!(
                parse(output.trim_end_matches('\0').as_bytes()).is_err(),
                "{output}"
            );
        }
    }
}
