//! Checks: pure functions from facts to verdicts with evidence, and the chains of stages that they
//! form.
//!
//! Facts are gathered by their callers. A stage takes facts and returns checks, and the chain stops
//! after a failed stage.

mod chain;
mod contents;
pub(crate) mod contract;
pub(crate) mod freshness;
mod history;
pub(crate) mod hygiene;
mod outside;
mod pin_tags;
mod pins;
mod policy;
mod remote;
mod resolution;
mod set;
mod smoke;
mod stages;
mod trust;

use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use chain::HistoryVerdict;
pub(crate) use chain::{
    Approved, Contents, Counted, DigestHistory, Expectation, HistoryChecked, ImagePlatform, Images,
    SetVerification, Signatures, Smoke, Stopped, Strictness, Tags, TrustedImages, TrustedSet,
    VerifiedSet, resolved_digests,
};
pub(crate) use contents::{ContractFile, Enforcement, Standard, check_contents};
pub(crate) use freshness::{RehearsalVerdict, judge_rehearsal};
pub(crate) use history::{
    Extent, HistoryFacts, Overrides, check_pinned_hold, current_digests, no_history_reason,
    shallow_error, unknown_hold,
};
pub(crate) use outside::{
    check_digests_outside, check_outside, check_unmatched_globs, check_unpinned, inclusion_of_all,
    no_match_message, tree_checks,
};
pub(crate) use pin_tags::full_revision;
pub(crate) use pin_tags::{
    ClaimResolution, ClaimingTag, check_claiming_tag, check_pin_tags, claiming_tags,
};
use pins::check_counted_once;
pub(crate) use pins::{
    check_agreement, check_hazards, check_pins, check_version_comments, unmet_errors,
};
pub(crate) use policy::{policy_of_removed, policy_unknown, policy_weakened};
pub(crate) use remote::{
    PinnedImage, PinnedRecord, Retagging, TagResolution, TaggedManifest, check_pinned_images,
    check_pinned_provenance, revision_without_tag, untagged_pin,
};
pub(crate) use resolution::check_resolution;
pub(crate) use set::{
    ApprovedImage, Expected, PinnedDigest, RecordedImage, Resolution, TaggedImage, Target,
    check_required_labels, check_shared_digests, content_result, no_tag, resolved_image,
};
pub(crate) use smoke::{ResolvedImage, SetDocument, SetImage, VerifiedImages, check_smoke};
pub(crate) use stages::{
    JudgedStage, MergeTimes, StageClock, StageVerdict, check_stages, check_stages_on_forge,
    judge_stage,
};
pub(crate) use trust::{DigestSignatures, VerifiedRow, candidate_reason};

use crate::base::{
    error::{Code, Error, Kind},
    text::words,
};

/// A verdict about one image or the repository.
///
/// Serializes as an entry of `checks` in the JSON documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Check {
    pub(crate) code: Code,
    /// The image's name; `None`: the check is about the repository.
    pub(crate) image: Option<String>,
    /// `None`: the check is about every platform, or about none.
    pub(crate) platform: Option<String>,
    /// The part of the image or tree: a path, a label, a name.
    pub(crate) item: Option<String>,
    pub(crate) status: Status,
    /// The evidence, on one line.
    pub(crate) detail: String,
    /// The remedy, if the check failed or the remedy is not obvious.
    pub(crate) help: Option<String>,
    /// The evidence without the parts that differ between images, if multiple images may share it.
    #[serde(skip)]
    pub(crate) cause: Option<String>,
    /// Locations in files, for annotations and tables.
    #[serde(skip)]
    pub(crate) locations: Vec<FileLocation>,
}

words! {
    /// The result of a check.
    #[derive(Deserialize)]
    pub(crate) enum Status {
        Pass = "pass",
        /// The chain stops after this stage.
        Fail = "fail",
        /// A problem that a reviewer must weigh; the chain continues.
        Warn = "warn",
        /// The check could not run, for the reason in the detail.
        Skip = "skip",
    }
}

/// The checks of a stage, and the errors that prevented checks.
#[derive(Debug, Default)]
pub(crate) struct StageResult {
    checks: Vec<Check>,
    errors: Vec<Error>,
}

/// A location in a file under the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileLocation {
    /// The path under the root.
    pub(crate) file: String,
    /// 1-based.
    pub(crate) line: usize,
    /// 1-based, in bytes.
    pub(crate) column: usize,
}

impl Check {
    /// A check about the repository. A failed check has the help of its code.
    pub(crate) fn new(code: Code, status: Status, detail: impl Into<String>) -> Self {
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
            locations: Vec::new(),
        }
    }

    #[must_use]
    pub(crate) fn image(mut self, name: &str) -> Self {
        self.image = Some(name.to_owned());
        self
    }

    #[must_use]
    pub(crate) fn platform(mut self, platform: &impl ToString) -> Self {
        self.platform = Some(platform.to_string());
        self
    }

    /// Sets the part of the image or tree that the check is about.
    #[must_use]
    pub(crate) fn item(mut self, item: impl Into<String>) -> Self {
        self.item = Some(item.into());
        self
    }

    /// Replaces the help of the code.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Replaces the help of the code, if `help` is given.
    #[must_use]
    pub(crate) fn with_help(self, help: Option<&str>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    /// Sets the cause that checks of other images may share.
    #[must_use]
    pub(crate) fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The evidence, preceded by its item unless it contains the item.
    pub(crate) fn describe(&self) -> String {
        match &self.item {
            Some(item) if !self.detail.contains(item.as_str()) => {
                format!("{item}: {}", self.detail)
            }
            _ => self.detail.clone(),
        }
    }

    /// A failed check as an error, for a command without a document of checks.
    pub(crate) fn as_error(&self) -> Error {
        let subjects: Vec<_> = [&self.image, &self.platform]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        Error {
            subject: (!subjects.is_empty()).then(|| subjects.join(" ")),
            help: self.help.clone(),
            ..Error::failed(self.code, self.describe())
        }
    }

    #[must_use]
    pub(crate) fn locations(mut self, locations: Vec<FileLocation>) -> Self {
        self.locations = locations;
        self
    }
}

impl StageResult {
    /// The checks, and the errors.
    pub(crate) fn into_parts(self) -> (Vec<Check>, Vec<Error>) {
        (self.checks, self.errors)
    }

    fn add(&mut self, other: Self) {
        self.checks.extend(other.checks);
        self.errors.extend(other.errors);
    }
}

impl From<Vec<Check>> for StageResult {
    fn from(checks: Vec<Check>) -> Self {
        let errors = Vec::new();
        Self { checks, errors }
    }
}

impl From<Vec<Error>> for StageResult {
    fn from(errors: Vec<Error>) -> Self {
        let checks = Vec::new();
        Self { checks, errors }
    }
}

impl From<Result<Check, Error>> for StageResult {
    fn from(result: Result<Check, Error>) -> Self {
        match result {
            Ok(check) => vec![check].into(),
            Err(error) => vec![error].into(),
        }
    }
}

pub(crate) fn any_failed(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.status == Status::Fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_of_a_check_contains_image_and_platform() {
        let check = Check::new(Code::PIN_OUTSIDE, Status::Fail, "not a counted pin").help("do it");
        let subject = |check: &Check| check.as_error().subject;
        assert_eq!(subject(&check), None);
        let of_image = check.image("app");
        assert_eq!(subject(&of_image).as_deref(), Some("app"));
        let of_platform = of_image.platform(&"linux/arm64").item("a file");
        let error = of_platform.as_error();
        assert_eq!(error.subject.as_deref(), Some("app linux/arm64"));
        assert_eq!(error.message, "a file: not a counted pin");
        assert_eq!(error.help.as_deref(), Some("do it"));
        assert_eq!(error.code, Code::PIN_OUTSIDE);
    }
}
