//! The JSON documents. Field names and shapes are public; every field is always there, `null` where
//! it has no value.
//!
//! Each type is one document or a part of one; what its fields mean is written in `docs/json.md`.

mod after;
mod status;
mod trust;
mod trust_update;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize, Serializer, ser::SerializeSeq as _};

pub use after::{
    BranchDocument, FreshnessDocument, FreshnessRow, GateRow, GatesDocument, IssueRow, WaitDocument,
};

pub use status::{
    BranchRow, HoldRow, MergedRow, NotRead, OpenRow, SetRow, StatusDocument, UnreadableRow,
    WorkTreeRow,
};
pub use trust::{TrustCandidate, TrustDocument, TrustImage};
pub use trust_update::{RootChange, RootRow, TrustUpdateDocument};

use crate::{
    checks::{Check, ResolvedPlatform, Status, VerifiedRow},
    config::{Config, Operation},
    error::Error,
    inventory::Enumeration,
    oci::{Digest, Tag},
    pins::{Found, Located, Pin},
};

/// `repin.plan/1`: findings, decision and result of `promote` and `rollback`.
#[derive(Debug, Clone, Serialize)]
pub struct PlanDocument {
    pub schema: &'static str,
    pub kind: Operation,
    pub revision: String,
    pub approved: bool,
    pub applied: bool,
    pub changed: bool,
    pub images: Vec<ImageRow>,
    pub files: Vec<FileRow>,
    pub checks: Vec<Check>,
    pub branch: String,
    pub title: String,
    pub body: Option<String>,
    pub diff: Option<Diff>,
    pub pull_request: Option<PullRequest>,
    pub error: Option<ErrorRow>,
}

impl PlanDocument {
    /// The diff; empty where there is no plan.
    pub fn diff_bytes(&self) -> &[u8] {
        self.diff.as_ref().map_or(&[], |diff| &diff.0)
    }
}

/// The bytes of a unified diff, shared because they may be many. Serialized as text, with U+FFFD for what is
/// not UTF-8.
#[derive(Debug, Clone)]
pub struct Diff(pub Arc<Vec<u8>>);

impl Serialize for Diff {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(&self.0))
    }
}

/// One image of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct ImageRow {
    pub name: String,
    pub repository: String,
    pub from: Vec<String>,
    pub to: Option<String>,
    pub pins: usize,
    pub places: Vec<PlaceRow>,
    pub platforms: Vec<String>,
    pub labels: BTreeMap<String, Option<String>>,
    pub verified: Vec<VerifiedRow>,
}

/// What one place holds of an image.
#[derive(Debug, Clone, Serialize)]
pub struct PlaceRow {
    pub place: String,
    pub found: usize,
}

/// One file of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct FileRow {
    pub path: String,
    pub pins: usize,
    pub old_sha256: String,
    pub new_sha256: String,
}

/// The pull request that carries a plan.
#[derive(Debug, Clone, Serialize)]
pub struct PullRequest {
    pub number: u64,
    pub url: String,
    pub state: &'static str,
}

/// `repin.init/1`: a first configuration, with its images and files.
#[derive(Debug, Serialize)]
pub struct InitDocument {
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

/// One image of a first configuration.
#[derive(Debug, Serialize)]
pub struct InitImage {
    pub name: String,
    pub repository: String,
    pub pins: usize,
}

/// One pinned repository that was left out.
#[derive(Debug, Serialize)]
pub struct InitOther {
    pub repository: String,
    pub pins: usize,
    pub reason: String,
}

/// `repin.scan/1`: every pin.
#[derive(Debug, Serialize)]
pub struct ScanDocument<'f> {
    pub schema: &'static str,
    pub images: Vec<ScanImage>,
    pub pins: ScanPins<'f>,
    pub malformed: Vec<ScanMalformed>,
}

/// One image of a scan.
#[derive(Debug, Serialize)]
pub struct ScanImage {
    pub name: String,
    pub repository: String,
    pub expected: usize,
    pub found: usize,
    pub digests: Vec<Digest>,
    pub places: Vec<PlaceRow>,
}

/// The pins of a scan, each made into a row as it is written: there may be many.
#[derive(Debug)]
pub struct ScanPins<'f> {
    config: &'f Config,
    found: &'f Found,
}

/// One pin of a scan.
#[derive(Debug, Serialize)]
pub struct ScanPin<'f> {
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
        let (file, pin) = (pin.file.to_string(), &pin.what);
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

/// One malformed pin of a scan, or one entry of a place that is refused.
#[derive(Debug, Serialize)]
pub struct ScanMalformed {
    pub image: Option<String>,
    pub place: Option<String>,
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub text: String,
}

/// `repin.resolve/1`: the resolved tag of each image.
#[derive(Debug, Serialize)]
pub struct ResolveDocument {
    pub schema: &'static str,
    pub revision: String,
    pub images: Vec<ResolvedImage>,
}

/// One image of a resolution.
#[derive(Debug, Serialize)]
pub struct ResolvedImage {
    pub name: String,
    pub repository: String,
    pub tag: String,
    pub digest: String,
    pub media_type: String,
    pub platforms: Vec<ResolvedPlatform>,
    pub labels: BTreeMap<String, Option<String>>,
}

/// `repin.check/1`: the verdict on the current tree.
#[derive(Debug, Serialize)]
pub struct CheckDocument {
    pub schema: &'static str,
    pub clean: bool,
    pub checks: Vec<Check>,
}

/// `repin.inventory/1`: the verdict on what images contain.
#[derive(Debug, Serialize)]
pub struct InventoryDocument {
    pub schema: &'static str,
    pub clean: bool,
    pub images: Vec<InventoryImage>,
}

/// One platform of an image, or one listing.
#[derive(Debug, Serialize)]
pub struct InventoryImage {
    pub image: Option<String>,
    pub digest: Option<String>,
    pub platform: Option<String>,
    pub checks: Vec<Check>,
}

/// `repin.enumeration/1`: the names that an image contains, by kind.
#[derive(Debug, Serialize)]
pub struct EnumerationDocument<'e> {
    pub schema: &'static str,
    pub image: String,
    pub digest: String,
    pub kinds: &'e Enumeration,
}

/// `repin.contract/1`: a starting contract.
#[derive(Debug, Serialize)]
pub struct ContractDocument {
    pub schema: &'static str,
    pub image: String,
    pub digest: String,
    pub content: String,
}

/// `repin.text/1`: a text that is generated from the program.
#[derive(Debug, Serialize)]
pub struct TextDocument {
    pub schema: &'static str,
    pub name: &'static str,
    pub content: String,
}

/// `repin.error/1`: the errors of a command that could not start.
#[derive(Debug, Serialize)]
pub struct ErrorDocument {
    pub schema: &'static str,
    pub exit: u8,
    pub errors: Vec<ErrorRow>,
}

/// One error.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorRow {
    pub code: String,
    pub message: String,
    pub file: Option<String>,
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub hint: Option<String>,
}

impl ErrorRow {
    /// An error as a row.
    pub fn of(problem: &Error) -> Self {
        let place = problem
            .place
            .as_ref()
            .map(|place| (place.source.name.clone(), place.line_column()));
        let mut message = problem.text();
        for note in &problem.notes {
            message.push_str("; ");
            message.push_str(note);
        }
        Self {
            code: problem.code.to_string(),
            message,
            file: place.as_ref().map(|(file, _)| file.clone()),
            line: place.as_ref().map(|(_, (line, _))| *line),
            column: place.as_ref().map(|(_, (_, column))| *column),
            hint: Some(problem.remedy()),
        }
    }
}

impl PlaceRow {
    /// How many pins of an image each place holds.
    pub fn of(config: &Config, found: &Found, image: usize) -> Vec<Self> {
        let held = |place: usize| {
            let split = found
                .pins_of(image)
                .filter_map(|pin| pin.what.split.as_ref());
            split.filter(|split| split.place == place).count()
        };
        let places = config.places.iter().enumerate();
        places
            .map(|(at, place)| Self {
                place: place.name.clone(),
                found: held(at),
            })
            .collect()
    }
}

impl<'f> ScanDocument<'f> {
    /// The document of a scan.
    pub fn new(config: &'f Config, found: &'f Found) -> Self {
        let name = |at: usize| config.images[at].name.clone();
        let place = |at: usize| config.places[at].name.clone();
        let images = config
            .images
            .iter()
            .enumerate()
            .map(|(at, image)| ScanImage {
                name: image.name.clone(),
                repository: image.repository.to_string(),
                expected: image.pins,
                found: found.pins_of(at).count(),
                digests: found.digests_of(at),
                places: PlaceRow::of(config, found, at),
            });
        let malformed = found.malformed.iter().map(|malformed| ScanMalformed {
            image: Some(name(malformed.what.image)),
            place: None,
            file: malformed.file.to_string(),
            line: malformed.what.line,
            column: malformed.what.column,
            text: malformed.what.text.clone(),
        });
        let refused = found.refused.iter().map(|refused| ScanMalformed {
            image: refused.what.image.map(name),
            place: Some(place(refused.what.place)),
            file: refused.file.to_string(),
            line: refused.what.line,
            column: refused.what.column,
            text: refused.what.text.clone(),
        });
        Self {
            schema: "repin.scan/1",
            images: images.collect(),
            pins: ScanPins { config, found },
            malformed: malformed.chain(refused).collect(),
        }
    }
}

impl CheckDocument {
    /// The document of a verdict.
    pub fn new(checks: Vec<Check>) -> Self {
        let clean = !checks.iter().any(|check| check.status == Status::Fail);
        Self {
            schema: "repin.check/1",
            clean,
            checks,
        }
    }
}
