//! The differences of two sets, as data: the object `changes` of `repin.plan/1` and the fields of
//! `repin.diff/1`.
//!
//! `workflow` reads the commits and the images, [`compare`] compares them, and `report` renders the result. The
//! differences decide nothing. External text is not escaped, but texts of commits are shortened.

mod images;
mod sboms;
mod source;

use serde::Serialize;

use crate::base::text::words;

pub(crate) use images::{
    BaseChange, Change, Difference, ImageChanges, PlatformDifference, changed_platforms, compare,
};
pub(crate) use sboms::{SbomPackages, read_sboms};
pub(crate) use source::{CommitList, ListedCommit, Origin, Reader, SourceChanges};

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
