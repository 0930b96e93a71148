//! The commits between the revisions of two sets.

use serde::Serialize;

use super::shortened;
use crate::git::CommitRange;

/// The range of commits in the source of the images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct SourceChanges {
    /// The address of the source; `None` for this repository.
    pub repository: Option<String>,
    /// The page that compares the revisions.
    pub link: Option<String>,
    /// The origin of the repository.
    pub stated_by: Option<Origin>,
    /// The origin of the commits.
    pub read_from: Option<Reader>,
    /// Whether the older revision is an ancestor of the newer one; `None` if that is unknown.
    pub descendant: Option<bool>,
    /// The commits that only the new revision has; `None` if they were not read.
    pub added: Option<CommitList>,
    /// The commits that only the old revision has.
    pub removed: Option<CommitList>,
    /// The start of the pages of pull requests, up to their number, if the forge is known.
    #[serde(skip)]
    pub pull_requests: Option<String>,
    /// Whether the link compares the new revision with the old one, as for a rollback.
    #[serde(skip)]
    pub is_reversed: bool,
}

/// The origin of the address of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    Configuration,
    Label,
    /// The label, which the signatures of all images prove.
    Signature,
    /// The images are built from this repository.
    Clone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reader {
    Clone,
    Forge,
}

/// The commits that only one of two revisions has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CommitList {
    pub count: u64,
    /// The number of authors by name; `None` unless all commits were read.
    pub authors: Option<usize>,
    /// The newest commits, the newest first.
    pub commits: Vec<ListedCommit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ListedCommit {
    /// The full id.
    pub commit: String,
    pub subject: String,
    pub author: String,
    /// The number in the form `(#N)` at the end of the subject.
    pub pull_request: Option<u64>,
}

impl CommitList {
    /// The maximum number of listed commits.
    pub(crate) const MAX: usize = 50;
    /// No commits.
    pub(crate) const NONE: Self = Self {
        count: 0,
        authors: Some(0),
        commits: Vec::new(),
    };
}

impl From<CommitRange> for CommitList {
    fn from(range: CommitRange) -> Self {
        let commits = range
            .commits
            .into_iter()
            .take(Self::MAX)
            .map(|commit| ListedCommit {
                commit: commit.id,
                pull_request: pull_request(&commit.subject),
                subject: shortened(&commit.subject),
                author: shortened(&commit.author),
            });
        Self {
            count: range.count,
            authors: range.authors,
            commits: commits.collect(),
        }
    }
}

/// The last number in the form `(#N)`, which forges add to subjects.
fn pull_request(subject: &str) -> Option<u64> {
    let (_, rest) = subject.rsplit_once("(#")?;
    let (digits, _) = rest.split_once(')')?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_request_numbers_are_read_from_subjects() {
        assert_eq!(pull_request("fix: retry (#412)"), Some(412));
        assert_eq!(pull_request("revert (#1) again (#23)"), Some(23));
        for subject in [
            "fix #412",
            "fix (#)",
            "fix (#012)",
            "fix (#+1)",
            "fix (#1",
            "fix (#99999999999999999999)",
        ] {
            assert_eq!(pull_request(subject), None, "{subject}");
        }
    }
}
