//! The differences of two sets, as data: the object `changes` of `repin.plan/1` and the fields of
//! `repin.diff/1`.
//!
//! `workflow` reads the commits and the images, [`compare`] compares them, and `report` renders the result. The
//! differences decide nothing. External text is not escaped, but texts of commits are shortened.
//!
//! The packages in the SBOMs that signers of the policy attached to an image.
//!
//! The commits between the revisions of two sets.

mod images;

use serde::Serialize;

use crate::{
    base::{error::Error, text::words},
    contents::{PackagesByType, is_sbom, sbom_packages},
    git::CommitRange,
    oci::registry::Source,
    trust::{Policy, Subject, search_predicates},
};

pub(crate) use images::{
    BaseChange, Difference, DifferenceKind, ImageChanges, PlatformDifference, changed_platforms,
    compare,
};

/// The maximum number of characters of an external text.
pub(crate) const MAX_TEXT: usize = 120;

/// The differences of two sets.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Changes {
    pub from: SetState,
    pub to: SetState,
    pub source: SourceChanges,
    pub images: Vec<ImageChanges>,
    pub not_read: Vec<NotRead>,
}

/// One of the two sets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct SetState {
    pub revision: Option<String>,
    /// The origin of the revision; `None` if it is unknown.
    pub known_by: Option<KnownBy>,
    /// The commit that recorded the set.
    pub commit: Option<String>,
}

/// The origin of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KnownBy {
    History,
    /// The revision label of the images.
    Label,
    Argument,
}

/// A part that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NotRead {
    pub part: Part,
    pub image: Option<String>,
    pub platform: Option<String>,
    pub reason: String,
}

words! {
    pub(crate) enum Part {
        Commits = "commits",
        Image = "image",
        Configuration = "configuration",
        Contents = "contents",
        Packages = "packages",
        Sbom = "sbom",
    }
}

impl NotRead {
    pub(crate) fn commits(reason: impl Into<String>) -> Self {
        Self {
            part: Part::Commits,
            image: None,
            platform: None,
            reason: reason.into(),
        }
    }

    pub(crate) fn image(image: &str, reason: impl Into<String>) -> Self {
        Self {
            image: Some(image.to_owned()),
            part: Part::Image,
            ..Self::commits(reason)
        }
    }
}

/// A text with at most [`MAX_TEXT`] characters; a longer one ends in an ellipsis.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The packages in the SBOMs of a digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SbomPackages {
    /// The packages of all SBOMs; `None` without an SBOM, and if one of them is malformed.
    pub packages: Option<PackagesByType>,
    /// The reasons for which SBOMs are not read.
    pub not_read: Vec<String>,
}

/// Reads the SBOMs that are attached to a digest. Only those by a signer of the policy count, made for
/// the revision.
pub(crate) async fn read_sboms(
    source: &Source,
    policy: &Policy<'_>,
    subject: Subject<'_>,
) -> Result<SbomPackages, Error> {
    let found = search_predicates(source, policy, subject, is_sbom).await?;
    let mut packages = PackagesByType::new();
    let mut not_read = found.refused;
    let mut is_complete = !found.predicates.is_empty();
    for signed in &found.predicates {
        match sbom_packages(&signed.predicate_type, &signed.predicate) {
            Ok(listed) => {
                for (package_type, listed) in listed {
                    packages.entry(package_type).or_default().extend(listed);
                }
            }
            Err(reason) => {
                is_complete = false;
                not_read.push(format!("`{}`: {reason}", signed.predicate_type));
            }
        }
    }
    Ok(SbomPackages {
        packages: is_complete.then_some(packages),
        not_read,
    })
}

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
