//! Checks: pure functions from facts to verdicts with evidence, and the chains of stages that they
//! form.
//!
//! Facts are gathered by their callers. A stage takes facts and returns checks, and the chain stops
//! after a failed stage.

mod chain;
mod contents;
pub mod contract;
pub mod freshness;
mod history;
pub mod hygiene;
mod outside;
mod pins;
mod policy;
mod remote;
mod set;
mod set_document;
mod smoke;
mod trust;
mod verified;

use serde::{Deserialize, Serialize};

pub use chain::{
    Approved, ApprovedImage, Contents, Counted, DigestHistory, Expectation, HistoryChecked,
    HistoryVerdict, ImagePlatform, Images, NoHistory, Scope, SetVerification, Signatures, Smoke,
    Stage, Stopped, Tags, TrustedImage, TrustedImages, TrustedSet, VerifiedSet,
};
pub use contents::{ContractFile, Enforcement, Standard, contents};
pub use history::{Extent, HistoryFacts, Overrides, current_digests, no_history_reason};
pub use outside::{no_match_message, outside, tree_checks, unmatched_globs, unpinned};
use pins::counted_twice;
pub use pins::{agreement, counts, found_twice, version_comments};
pub use policy::{policy_unknown, policy_weakened};
pub use remote::{PinnedImage, TagDigest, pinned_images, provenance_warns};
pub use set::{Expected, Resolution, Target, required_labels, resolved, shared_digests};
pub use set_document::{ResolvedPlatform, SetDocument, SetImage, VerifiedImages};
pub use smoke::smoke;
pub use trust::{DigestSignatures, candidate_reason};
pub use verified::{LogRow, VerifiedRow};

use crate::{
    code::{Code, Kind},
    error::Error,
};

/// A verdict about one image or the repository.
///
/// Serializes as an entry of `checks` in the JSON documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub code: Code,
    /// The image's name; `None`: the check is about the repository.
    pub image: Option<String>,
    /// `None`: the check is about every platform, or about none.
    pub platform: Option<String>,
    /// The part of the image or tree: a path, a label, a name.
    pub item: Option<String>,
    pub status: Status,
    /// The evidence, on one line.
    pub detail: String,
    /// The remedy, if the check failed or the remedy is not obvious.
    pub help: Option<String>,
    /// The evidence without the parts that differ between images, if multiple images may share it.
    #[serde(skip)]
    pub cause: Option<String>,
    /// Places in files, for annotations and tables.
    #[serde(skip)]
    pub places: Vec<FilePlace>,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Pass,
    /// The chain stops after this stage.
    Fail,
    /// A problem that a reviewer must weigh; the chain continues.
    Warn,
    /// The check could not run, for the reason in the detail.
    Skip,
}

/// A place in a file under the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FilePlace {
    /// The path under the root.
    pub file: String,
    /// 1-based.
    pub line: usize,
    /// 1-based, in bytes.
    pub column: usize,
}

impl Check {
    /// A check about the repository. A failed check has the help of its code.
    pub fn new(code: Code, status: Status, detail: impl Into<String>) -> Self {
        debug_assert_eq!(code.explanation().kind, Kind::Check, "{code}");
        Self {
            code,
            image: None,
            platform: None,
            item: None,
            status,
            detail: detail.into(),
            help: (status == Status::Fail).then(|| code.help()),
            cause: None,
            places: Vec::new(),
        }
    }

    #[must_use]
    pub fn image(mut self, name: &str) -> Self {
        self.image = Some(name.to_owned());
        self
    }

    #[must_use]
    pub fn platform(mut self, platform: &impl ToString) -> Self {
        self.platform = Some(platform.to_string());
        self
    }

    /// Sets the part of the image or tree that the check is about.
    #[must_use]
    pub fn item(mut self, item: impl Into<String>) -> Self {
        self.item = Some(item.into());
        self
    }

    /// Replaces the help of the code.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Replaces the help of the code, if `help` is given.
    #[must_use]
    pub fn with_help(self, help: Option<&str>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    /// Sets the cause that checks of other images may share.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The evidence, preceded by its item unless it contains the item.
    pub fn describe(&self) -> String {
        match &self.item {
            Some(item) if !self.detail.contains(item.as_str()) => {
                format!("{item}: {}", self.detail)
            }
            _ => self.detail.clone(),
        }
    }

    /// A failed check as an error, for a command without a document of checks.
    pub fn as_error(&self) -> Error {
        let subjects = [&self.image, &self.platform].into_iter().flatten();
        let subjects: Vec<_> = subjects.map(String::as_str).collect();
        Error {
            subject: (!subjects.is_empty()).then(|| subjects.join(" ")),
            help: self.help.clone(),
            ..Error::failed(self.code, self.describe())
        }
    }

    #[must_use]
    pub fn places(mut self, places: Vec<FilePlace>) -> Self {
        self.places = places;
        self
    }
}

impl Status {
    /// The word in JSON documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Warn => "warn",
            Self::Skip => "skip",
        }
    }
}

pub fn any_failed(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.status == Status::Fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_of_a_check_contains_image_and_platform() {
        let check = Check::new(Code::PIN_OUTSIDE, Status::Fail, "pinned elsewhere").help("do it");
        let subject = |check: &Check| check.as_error().subject;
        assert_eq!(subject(&check), None);
        let of_image = check.image("app");
        assert_eq!(subject(&of_image).as_deref(), Some("app"));
        let of_platform = of_image.platform(&"linux/arm64").item("a file");
        let error = of_platform.as_error();
        assert_eq!(error.subject.as_deref(), Some("app linux/arm64"));
        assert_eq!(error.message, "a file: pinned elsewhere");
        assert_eq!(error.help.as_deref(), Some("do it"));
        assert_eq!(error.code, Code::PIN_OUTSIDE);
    }
}
