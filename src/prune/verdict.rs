//! The verdict about one package, as data.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use super::Version;
use crate::{
    base::{code::Code, error::Error},
    oci::{Digest, Tag, date},
};

/// A verdict about one package.
#[derive(Debug, Clone)]
pub(crate) struct PackageVerdict {
    /// The number of versions.
    pub listed: usize,
    /// The versions that may be deleted, oldest first. Only a [`super::Plan`] is applied.
    pub candidates: Vec<Candidate>,
    /// The protected versions, in the order of the listing.
    pub protected: Vec<Protected>,
    /// The number of pending versions that another tag protects.
    pub mixed: usize,
    /// The number of pending versions that are too young.
    pub young: usize,
    /// Warnings, which do not prevent deletions.
    pub warnings: Vec<Warning>,
    /// The reason that nothing may be deleted.
    pub refusal: Option<Error>,
}

/// A protected version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protected {
    pub version: Version,
    pub reason: KeepReason,
}

/// The reason that protects a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeepReason {
    /// It is pinned at this location.
    Pinned(String),
    /// It was pinned by a set in promotion history.
    History,
    /// A tracked file at this location contains its digest.
    Mentioned(String),
    /// It has the tag of a revision that was promoted or is being promoted.
    Revision(Tag, String),
    /// A tracked file at this location refers to this tag.
    MentionedTag(Tag, String),
    /// A tag matches `protect`.
    Pattern(Tag),
    /// It is an entry of a protected index.
    IndexEntry(Digest),
    /// It is an index that contains this digest, which is pinned or mentioned.
    Parent(Digest),
    /// It is a signature or an attestation of a protected version.
    Referrer(Digest),
    /// It has pending tags, but this tag is not pending.
    OtherTag(Tag),
    /// It is an index without this platform, which the registry has lost.
    Broken(String),
    /// Its age is unknown.
    UnknownAge,
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned(location) => write!(f, "pinned {location}"),
            Self::History => f.write_str("pinned by a set in promotion history"),
            Self::Mentioned(location) => write!(f, "its digest appears {location}"),
            Self::Revision(tag, location) => write!(f, "{tag} is the tag of a revision {location}"),
            Self::MentionedTag(tag, location) => write!(f, "{tag} is used {location}"),
            Self::Pattern(tag) => write!(f, "{tag} matches prune.protect"),
            Self::IndexEntry(parent) => write!(f, "part of the index {parent}, which is kept"),
            Self::Parent(entry) => write!(f, "contains {entry}, which is in use by its digest"),
            Self::Referrer(target) => write!(f, "belongs to {target}, which is kept"),
            Self::OtherTag(tag) => write!(
                f,
                "pending, but {tag} is not: deleting it would delete that tag too"
            ),
            Self::Broken(platform) => write!(f, "broken: {platform} is missing"),
            Self::UnknownAge => f.write_str("its age is unknown"),
        }
    }
}

/// A version that may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub version: Version,
    /// The creation date.
    pub created: SystemTime,
    /// The reason why it may be deleted.
    pub reason: String,
}

impl Candidate {
    pub(super) fn new(version: &Version, created: SystemTime, age: Duration) -> Self {
        let tags = if version.tags.is_empty() {
            "untagged"
        } else {
            "every tag is pending"
        };
        let reason = format!(
            "{tags}, and it is {} old (of {})",
            days(age),
            date::format(created)
        );
        Self {
            version: version.clone(),
            created,
            reason,
        }
    }
}

fn days(age: Duration) -> String {
    match age.as_secs() / 86_400 {
        0 => format!("{} h", age.as_secs() / 3_600),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

/// A finding that does not refuse the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    /// A stable code.
    pub code: Code,
    /// The finding.
    pub detail: String,
}
