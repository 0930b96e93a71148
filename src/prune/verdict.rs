//! The verdict about one package, as data.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use super::{Version, date};
use crate::{
    code::Code,
    error::Error,
    oci::{Digest, Tag},
};

/// A verdict about one package.
#[derive(Debug, Clone)]
pub struct PackageVerdict {
    /// How many versions there are.
    pub listed: usize,
    /// The versions that may be deleted, oldest first; only a [`super::Plan`] is deleted.
    pub candidates: Vec<Candidate>,
    /// The protected versions, in the order of the listing.
    pub protected: Vec<Protected>,
    /// How many pending versions are kept because of another tag.
    pub mixed: usize,
    /// How many pending versions are too young.
    pub young: usize,
    /// Warnings that prevent no deletion.
    pub warnings: Vec<Warning>,
    /// Why nothing may be deleted.
    pub refusal: Option<Error>,
}

/// A version that is kept for a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    /// The version.
    pub version: Version,
    /// The reason.
    pub reason: KeepReason,
}

/// Why a version is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepReason {
    /// It is pinned there.
    Pinned(String),
    /// It was pinned by a set in promote history.
    History,
    /// A tracked file there names its digest.
    Named(String),
    /// It has the tag of a revision that was, or is being, promoted.
    Revision(Tag, String),
    /// A tag matches `protect`.
    Pattern(Tag),
    /// An index that is kept has it.
    Child(Digest),
    /// It belongs to something that is kept: a signature, an attestation.
    Refers(Digest),
    /// Its other tags are pending, this one is not.
    OtherTag(Tag),
    /// Its age is unknown.
    NoDate,
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned(place) => write!(f, "pinned {place}"),
            Self::History => f.write_str("pinned by a set in promote history"),
            Self::Named(place) => write!(f, "its digest appears {place}"),
            Self::Revision(tag, place) => write!(f, "{tag} is the tag of a revision {place}"),
            Self::Pattern(tag) => write!(f, "{tag} matches prune.protect"),
            Self::Child(parent) => write!(f, "part of the index {parent}, which is kept"),
            Self::Refers(target) => write!(f, "belongs to {target}, which is kept"),
            Self::OtherTag(tag) => write!(
                f,
                "pending, but {tag} is not: deleting it would delete that tag too"
            ),
            Self::NoDate => f.write_str("its age is unknown"),
        }
    }
}

/// A version that may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The version.
    pub version: Version,
    /// When it was made.
    pub created: SystemTime,
    /// The reason why it may be deleted.
    pub reason: String,
}

impl Candidate {
    pub(super) fn new(version: &Version, created: SystemTime, age: Duration) -> Self {
        let what = if version.tags.is_empty() {
            "untagged"
        } else {
            "every tag is pending"
        };
        let reason = format!(
            "{what}, and it is {} old (of {})",
            days(age),
            date::show(created)
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

/// Something that a person should know and that refuses nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// A stable word for it.
    pub code: Code,
    /// The finding.
    pub detail: String,
}
