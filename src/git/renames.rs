//! The files that a commit renames, by git's rename detection.

use std::{ffi::OsString, os::unix::ffi::OsStringExt};

use super::{Git, GitError, ObjectId};

const COMMAND: &str = "diff-tree";

/// The deleted and renamed files between two commits, by their paths in the repository.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Renames {
    pub(crate) deleted: Vec<Vec<u8>>,
    /// The old and the new path.
    pub(crate) renamed: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Git {
    /// The renames among the files that the pathspecs select.
    pub(crate) fn renames(
        &self,
        old: &ObjectId,
        new: &ObjectId,
        pathspecs: &[Vec<u8>],
    ) -> Result<Renames, GitError> {
        let options = ["-r", "-z", "--find-renames=50%", "-l1000", "--name-status"];
        let mut args: Vec<OsString> = options.map(OsString::from).to_vec();
        args.extend([old, new].map(|commit| commit.to_string().into()));
        args.push("--".into());
        args.extend(pathspecs.iter().cloned().map(OsString::from_vec));
        parse(&self.output(COMMAND, &args)?)
    }
}

/// Parses `STATUS NUL PATH NUL`, with two paths for a renamed file (git-diff, "--name-status", "-z").
fn parse(output: &[u8]) -> Result<Renames, GitError> {
    let malformed = || GitError::Malformed {
        command: COMMAND,
        what: "no path",
    };
    let mut renames = Renames::default();
    let mut fields = output.split(|byte| *byte == 0);
    while let Some(status) = fields.next().filter(|status| !status.is_empty()) {
        let path = fields.next().ok_or_else(malformed)?.to_vec();
        match status[0] {
            b'D' => renames.deleted.push(path),
            b'R' => {
                let new = fields.next().ok_or_else(malformed)?.to_vec();
                renames.renamed.push((path, new));
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
        let renames = parse(b"A\0new\0D\0old\0R087\0a\0b\0M\0c\0").unwrap();
        assert_eq!(renames.deleted, [b"old"]);
        assert_eq!(renames.renamed, [(b"a".to_vec(), b"b".to_vec())]);
        assert_eq!(parse(b"").unwrap(), Renames::default());
        for output in [&b"D"[..], b"R100\0a"] {
            assert!(parse(output).is_err());
        }
    }
}
