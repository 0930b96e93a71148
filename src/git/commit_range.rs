//! The commits that only one of two revisions has.

use std::collections::BTreeSet;

use super::{Git, GitError, LOG_OPTIONS, ObjectId, commits::LOG};
use crate::base::untrusted::masked_text;

/// The commits that only one of two revisions has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CommitRange {
    pub count: u64,
    /// The number of authors by name; `None` unless all commits were read.
    pub authors: Option<usize>,
    /// The newest commits, the newest first.
    pub commits: Vec<RangeCommit>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RangeCommit {
    pub id: String,
    /// Not escaped.
    pub subject: String,
    /// The author's name without e-mail addresses, not escaped.
    pub author: String,
}

impl RangeCommit {
    pub(crate) fn new(id: &str, subject: &str, author: &str) -> Self {
        Self {
            id: id.to_owned(),
            subject: masked_text(subject),
            author: without_addresses(author),
        }
    }
}

/// A name in which the part before the `@` represents an e-mail address.
fn without_addresses(name: &str) -> String {
    let words = name.split(' ').map(|word| match word.split_once('@') {
        Some((user, host)) if !user.is_empty() && !host.is_empty() => user,
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

impl Git {
    /// The commits that `newer` adds to `older`, and those that it takes away, at most `most` of each.
    pub(crate) fn ranges(
        &self,
        older: &ObjectId,
        newer: &ObjectId,
        most: usize,
    ) -> Result<[CommitRange; 2], GitError> {
        Ok([
            self.range(older, newer, most)?,
            self.range(newer, older, most)?,
        ])
    }

    /// The commits that `newer` has in addition to those of `older`, at most `most` of them.
    pub(crate) fn range(
        &self,
        older: &ObjectId,
        newer: &ObjectId,
        most: usize,
    ) -> Result<CommitRange, GitError> {
        let count = self.commits_between(older, newer, &[])?;
        if count == 0 {
            return Ok(CommitRange {
                authors: Some(0),
                ..CommitRange::default()
            });
        }
        let limit = format!("--max-count={most}");
        let printed =
            self.log_range(older, newer, &["--format=tformat:%H%x00%an%x00%s", &limit])?;
        let fields: Vec<&str> = printed.split_terminator('\0').collect();
        let mut commits = Vec::new();
        for fields in fields.chunks(3) {
            let [id, author, subject] = fields else {
                return Err(GitError::Malformed {
                    command: LOG,
                    what: "an end within a commit",
                });
            };
            commits.push(RangeCommit::new(id, subject, author));
        }
        let names = self.log_range(older, newer, &["--format=tformat:%an"])?;
        let names: BTreeSet<&str> = names.split_terminator('\0').collect();
        Ok(CommitRange {
            count,
            authors: Some(names.len()),
            commits,
        })
    }

    fn log_range(
        &self,
        older: &ObjectId,
        newer: &ObjectId,
        options: &[&str],
    ) -> Result<String, GitError> {
        let (newer, older) = (newer.to_string(), format!("^{older}"));
        let range = ["--date-order", &newer, &older, "--"];
        let printed = self.output(LOG, &[LOG_OPTIONS, options, &range].concat())?;
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_contain_no_addresses() {
        for (name, expected) in [
            ("ada@secret.example", "ada"),
            ("Ada ada@secret.example (work)", "Ada ada (work)"),
            ("Ada @acme", "Ada @acme"),
            ("ada@", "ada@"),
        ] {
            assert_eq!(without_addresses(name), expected);
        }
    }
}
