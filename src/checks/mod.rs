//! Checks: judging facts, with evidence. Pure functions from facts to [`Check`]s, and the chains
//! that they make up.
//!
//! Nothing is gathered here: a stage's facts come in, its checks go out, and the chain says whether
//! to go on.

mod chain;
mod contents;
pub mod contract;
pub mod freshness;
pub mod hygiene;
mod outside;
mod past;
mod pins;
mod policy;
mod remote;
mod set;
mod set_document;
mod smoke;
mod trust;
mod verified;

use serde::{Deserialize, Serialize};

pub use crate::code::Code;
pub use chain::{
    Approved, ApprovedImage, ByDigests, ByItself, Contents, Counted, Examination, Expectation,
    Ground, Grounded, ImagePlatform, Images, Scope, SetAlone, Signatures, Smoke, Stopped, Tags,
    TrustedImage, TrustedImages, TrustedSet, VerifiedSet,
};
pub use contents::{Force, Held, Standard, contents};
pub use outside::{no_match, of_tree, outside, unmatched, unpinned};
pub use past::{Extent, Overruled, Past, pinned_now, without_history};
pub use pins::{agreement, counts, found_twice, version_comments};
pub use policy::{policy_unknown, policy_weakened};
pub use remote::{Pinned, Tagged, claims, provenance_warns};
pub use set::{Expected, Resolution, Target, required_labels, resolved, shared_digests};
pub use set_document::{ResolvedPlatform, SetDocument, SetImage, VerifiedImages};
pub use smoke::smoke;
pub use trust::{Examined, configured, reason};
pub use verified::{LogRow, VerifiedRow};

use crate::{code::Kind, error::Error};

/// One thing that was verified about one image or the repository.
///
/// Serialises as an entry of `checks` in the JSON documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was verified.
    pub code: Code,
    /// The image's name; `None`: it is about the repository.
    pub image: Option<String>,
    /// The platform; `None`: it is about all of them, or none.
    pub platform: Option<String>,
    /// The part of the image or tree that it is about: a path, a label, a name.
    pub item: Option<String>,
    /// Its status.
    pub status: Status,
    /// The evidence, on one line.
    pub detail: String,
    /// What to do about it, if it failed or if that is not obvious.
    pub help: Option<String>,
    /// The evidence without the parts that differ between images, if several images may share it.
    #[serde(skip)]
    pub cause: Option<String>,
    /// Places in files, for annotations and people.
    #[serde(skip)]
    pub places: Vec<FilePlace>,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It holds.
    Pass,
    /// It does not; the chain stops after this stage.
    Fail,
    /// It does not, and that is for a person to weigh.
    Warn,
    /// It could not run, for the reason in the detail.
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
    /// A check about the repository. One that failed has the help of its code.
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

    /// The same check about an image.
    #[must_use]
    pub fn image(mut self, name: &str) -> Self {
        self.image = Some(name.to_owned());
        self
    }

    /// The same check about one platform.
    #[must_use]
    pub fn platform(mut self, platform: &impl ToString) -> Self {
        self.platform = Some(platform.to_string());
        self
    }

    /// The same check about one thing within the image or tree.
    #[must_use]
    pub fn item(mut self, item: impl Into<String>) -> Self {
        self.item = Some(item.into());
        self
    }

    /// The same check with help of its own.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same check with help of its own, if there is any.
    #[must_use]
    pub fn with_help(self, help: Option<&str>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    /// The same check with the cause that it may share with checks of other images.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The evidence, preceded by its subject if it does not name it.
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
        let subject = [&self.image, &self.platform];
        let subject: Vec<_> = subject.into_iter().flatten().map(String::as_str).collect();
        Error {
            subject: (!subject.is_empty()).then(|| subject.join(" ")),
            help: self.help.clone(),
            ..Error::failed(self.code, self.describe())
        }
    }

    /// The same check with its places.
    #[must_use]
    pub fn places(mut self, places: Vec<FilePlace>) -> Self {
        self.places = places;
        self
    }
}

impl Status {
    /// The word of the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Warn => "warn",
            Self::Skip => "skip",
        }
    }
}

/// Whether any of them failed.
pub fn any_failed(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.status == Status::Fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_of_a_check_names_its_image_and_platform() {
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
