//! The JSON documents. Their fields are public and always present, with `null` for a missing value;
//! `docs/json.md` describes them.

pub(crate) mod error_row;
mod status;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize, Serializer, ser::SerializeSeq as _};

pub(crate) use error_row::ErrorRow;
#[cfg(test)]
pub(crate) use status::BuildImageRow;
pub(crate) use status::{
    AdoptionRow, BranchDocument, BranchRow, BuildRow, BuildsDocument, FreshnessDocument,
    FreshnessRow, GateRow, GatesDocument, HoldRow, IssueRow, MergedRow, NotRead, OpenRow,
    RehearseDocument, RehearsedSet, RootRow, SetRow, StatusDocument, TrustDocument, TrustImage,
    TrustUpdateDocument, UnpushedRow, UnreadableRow, WaitDocument, WaitingRow, WorkTreeRow,
};

use super::doctor::DoctorDocument;
use crate::{
    base::error::Errors,
    config::{Config, Operation, SetPath},
    contents::inventory::Enumeration,
    core::{
        changes::Changes,
        checks::{Check, ResolvedImage, VerifiedRow},
        history::HistoryEntry,
        pins::{FoundPins, Located, Pin},
    },
    oci::{Digest, Repository, Tag},
};

/// `repin.plan/1`: the findings, the decision and the result of `promote` and `rollback`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PlanDocument {
    pub schema: &'static str,
    pub set_path: SetPath,
    pub kind: Operation,
    pub revision: String,
    pub approved: bool,
    pub applied: bool,
    pub changed: bool,
    pub images: Vec<ImageRow>,
    pub files: Vec<FileRow>,
    pub checks: Vec<Check>,
    pub changes: Option<Changes>,
    pub branch: String,
    pub title: String,
    /// The lines that end the commit's message.
    pub trailers: Vec<String>,
    pub body: Option<String>,
    pub diff: Option<Diff>,
    pub pull_request: Option<PullRequest>,
    /// Only with `--wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitDocument>,
    pub error: Option<ErrorRow>,
}

impl PlanDocument {
    /// The diff; empty without a plan.
    pub(crate) fn diff_bytes(&self) -> &[u8] {
        self.diff.as_ref().map_or(&[], |diff| &diff.0)
    }
}

/// `repin.diff/1`.
#[derive(Debug, Serialize)]
pub(crate) struct DiffDocument {
    pub schema: &'static str,
    pub set_path: SetPath,
    #[serde(flatten)]
    pub changes: Changes,
}

/// A unified diff, shared because it may be large. It is serialized as text, with U+FFFD in place of bytes
/// that are not UTF-8.
#[derive(Debug, Clone)]
pub(crate) struct Diff(pub Arc<Vec<u8>>);

impl Serialize for Diff {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(&self.0))
    }
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct ImageRow {
    pub name: String,
    pub repository: Repository,
    pub from: Vec<Digest>,
    pub to: Option<Digest>,
    pub pins: usize,
    pub places: Vec<PlaceRow>,
    pub platforms: Vec<String>,
    pub labels: BTreeMap<String, Option<String>>,
    pub verified: Vec<VerifiedRow>,
}

/// The number of an image's pins in one place.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PlaceRow {
    pub place: String,
    pub found: usize,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct FileRow {
    pub path: String,
    pub pins: usize,
    pub old_sha256: String,
    pub new_sha256: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PullRequest {
    pub number: u64,
    pub url: String,
    pub state: Cow<'static, str>,
}

impl PullRequest {
    pub(crate) fn new(number: u64, url: &str, state: &'static str) -> Self {
        Self {
            number,
            url: url.to_owned(),
            state: state.into(),
        }
    }
}

/// `repin.init/1`: the new configuration.
#[derive(Debug, Serialize)]
pub(crate) struct InitDocument {
    pub schema: &'static str,
    pub path: String,
    pub written: bool,
    pub images: Vec<InitImage>,
    pub files: Vec<String>,
    pub others: Vec<InitOther>,
    pub warnings: Vec<String>,
    pub content: String,
    pub diff: Option<String>,
}

/// `repin.pin/1`: the images that have only a tag, and their digests.
#[derive(Debug, Serialize)]
pub(crate) struct PinDocument {
    pub schema: &'static str,
    pub written: bool,
    pub images: Vec<UnpinnedRow>,
    pub files: Vec<PinnedFileRow>,
    pub warnings: Vec<String>,
    pub diff: Option<String>,
}

/// An image without a digest in a file.
#[derive(Debug, Serialize)]
pub(crate) struct UnpinnedRow {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub text: String,
    pub repository: Option<Repository>,
    pub tag: Option<String>,
    /// The digest of the tag now; `None` if it is unknown or not needed.
    pub digest: Option<String>,
    /// The reason for a missing digest.
    pub reason: Option<String>,
}

/// A file that gets digests.
#[derive(Debug, Serialize)]
pub(crate) struct PinnedFileRow {
    pub path: String,
    pub pins: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct InitImage {
    pub name: String,
    pub repository: Repository,
    pub pins: usize,
}

/// A pinned repository that is not part of the set.
#[derive(Debug, Serialize)]
pub(crate) struct InitOther {
    pub repository: Repository,
    pub pins: usize,
    pub reason: String,
}

/// `repin.scan/1`.
#[derive(Debug, Serialize)]
pub(crate) struct ScanDocument<'f> {
    pub schema: &'static str,
    pub images: Vec<ScanImage>,
    pub pins: ScanPins<'f>,
    pub malformed: Vec<ScanMalformed>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ScanImage {
    pub name: String,
    pub repository: String,
    pub expected: usize,
    pub found: usize,
    pub digests: Vec<Digest>,
    pub places: Vec<PlaceRow>,
}

/// The pins of a scan. There may be many, so the rows are created during serialization.
#[derive(Debug)]
pub(crate) struct ScanPins<'f> {
    config: &'f Config,
    found: &'f FoundPins,
}

#[derive(Debug, Serialize)]
pub(crate) struct ScanPin<'f> {
    pub image: &'f str,
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub offset: usize,
    pub tag: Option<&'f str>,
    pub digest: Digest,
    pub place: Option<&'f str>,
    pub pointer: Option<&'f str>,
    pub document: Option<usize>,
}

impl<'f> ScanPins<'f> {
    fn row(&self, pin: &'f Located<Pin>) -> ScanPin<'f> {
        let (file, pin) = (pin.file.to_string(), &pin.item);
        let split = pin.split.as_ref();
        ScanPin {
            image: &self.config.images[pin.image].name,
            file,
            line: pin.line,
            column: pin.column,
            offset: pin.offset,
            tag: pin.tag.as_ref().map(Tag::as_str),
            digest: pin.digest,
            place: split.map(|split| self.config.places[split.place].name.as_str()),
            pointer: split.and_then(|split| split.pointer.as_deref()),
            document: split.and_then(|split| split.document),
        }
    }
}

impl Serialize for ScanPins<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.found.pins().len()))?;
        for pin in self.found.pins() {
            rows.serialize_element(&self.row(pin))?;
        }
        rows.end()
    }
}

/// A malformed pin, or a refused entry of a place.
#[derive(Debug, Serialize)]
pub(crate) struct ScanMalformed {
    pub image: Option<String>,
    pub place: Option<String>,
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub text: String,
}

/// `repin.resolve/1`.
#[derive(Debug, Serialize)]
pub(crate) struct ResolveDocument {
    pub schema: &'static str,
    pub revision: String,
    pub images: Vec<ResolvedImage>,
}

/// `repin.check/1`.
#[derive(Debug, Serialize)]
pub(crate) struct CheckDocument {
    pub schema: &'static str,
    pub clean: bool,
    pub checks: Vec<Check>,
    /// The errors that prevented checks.
    pub errors: Vec<ErrorRow>,
}

/// `repin.sets/1`: the documents of all sets.
#[derive(Debug, Serialize)]
pub(crate) struct SetsDocument {
    pub schema: &'static str,
    pub sets: Vec<SetEntry>,
    /// The checks that concern no single set.
    pub checks: Vec<Check>,
}

/// The document of one set; `None` for the configuration of a fleet.
#[derive(Debug, Serialize)]
pub(crate) struct SetEntry {
    pub set_path: SetPath,
    pub document: Option<AnyDocument>,
}

/// A document of a set.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum AnyDocument {
    Check(CheckDocument),
    Status(Box<StatusDocument>),
    History(HistoryDocument),
    Doctor(DoctorDocument),
    Init(InitDocument),
    Error(ErrorDocument),
}

/// `repin.history/1`.
#[derive(Debug, Serialize)]
pub(crate) struct HistoryDocument {
    pub schema: &'static str,
    pub set_path: SetPath,
    pub entries: Vec<HistoryRow>,
}

#[derive(Debug, Serialize)]
pub(crate) struct HistoryRow {
    #[serde(flatten)]
    pub entry: HistoryEntry,
    /// The result of the quick test of the set.
    pub ready: Option<bool>,
}

/// `repin.inventory/1`.
#[derive(Debug, Serialize)]
pub(crate) struct InventoryDocument {
    pub schema: &'static str,
    pub clean: bool,
    pub images: Vec<InventoryImage>,
}

/// One platform of an image, or one listing.
#[derive(Debug, Serialize)]
pub(crate) struct InventoryImage {
    pub image: Option<String>,
    pub digest: Option<Digest>,
    pub platform: Option<String>,
    pub checks: Vec<Check>,
}

/// `repin.enumeration/1`: the content of an image, by kind.
#[derive(Debug, Serialize)]
pub(crate) struct EnumerationDocument<'e> {
    pub schema: &'static str,
    pub image: String,
    pub digest: String,
    pub kinds: &'e Enumeration,
}

/// `repin.contract/1`: a starting contract.
#[derive(Debug, Serialize)]
pub(crate) struct ContractDocument {
    pub schema: &'static str,
    pub image: String,
    pub digest: String,
    pub content: String,
}

/// `repin.text/1`: a generated text.
#[derive(Debug, Serialize)]
pub(crate) struct TextDocument {
    pub schema: &'static str,
    pub name: &'static str,
    pub content: String,
}

/// `repin.error/1`: the errors of a command that could not start.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorDocument {
    pub schema: &'static str,
    pub exit: u8,
    pub errors: Vec<ErrorRow>,
}

impl ErrorDocument {
    pub(crate) fn new(errors: &Errors) -> Self {
        Self {
            schema: "repin.error/1",
            exit: errors.class().exit_code(),
            errors: errors.iter().map(ErrorRow::of).collect(),
        }
    }
}

impl PlaceRow {
    /// A row for each place, with the number of the image's pins in it.
    pub(crate) fn all(config: &Config, found: &FoundPins, image: usize) -> Vec<Self> {
        let mut rows: Vec<_> = config
            .places
            .iter()
            .map(|place| Self {
                place: place.name.clone(),
                found: 0,
            })
            .collect();
        for pin in found.pins_of(image) {
            if let Some(split) = &pin.item.split {
                rows[split.place].found += 1;
            }
        }
        rows
    }
}

impl<'f> ScanDocument<'f> {
    pub(crate) fn new(config: &'f Config, found: &'f FoundPins) -> Self {
        let name = |image: usize| config.images[image].name.clone();
        let place = |place: usize| config.places[place].name.clone();
        let images = config
            .images
            .iter()
            .enumerate()
            .map(|(index, image)| ScanImage {
                name: image.name.clone(),
                repository: image.repository.to_string(),
                expected: image.pins,
                found: found.pins_of(index).count(),
                digests: found.digests_of(index),
                places: PlaceRow::all(config, found, index),
            });
        let malformed = found.malformed.iter().map(|malformed| ScanMalformed {
            image: Some(name(malformed.item.image)),
            place: None,
            file: malformed.file.to_string(),
            line: malformed.item.line,
            column: malformed.item.column,
            text: malformed.item.text.clone(),
        });
        let refused = found.refused.iter().map(|refused| ScanMalformed {
            image: refused.item.image.map(name),
            place: Some(place(refused.item.place)),
            file: refused.file.to_string(),
            line: refused.item.line,
            column: refused.item.column,
            text: refused.item.text.clone(),
        });
        Self {
            schema: "repin.scan/1",
            images: images.collect(),
            pins: ScanPins { config, found },
            malformed: malformed.chain(refused).collect(),
        }
    }
}
