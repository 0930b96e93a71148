//! The document of `status`.
//!
//! The document of `builds`.
//!
//! The documents of `gates`, `wait`, `branch` and `freshness`.
//!
//! The document of `rehearse`.
//!
//! The documents of `trust show` and `trust update`.

use std::fmt::Write as _;

use serde::Serialize;

use super::{ErrorRow, PullRequest};
use crate::{
    app::report::prune::PruneWarning,
    base::{error::Class, text::counted, untrusted::plain},
    config::{Config, SetPath},
    core::{
        apply::RecoveryState,
        builds::{self, ReadBuild, State},
        checks::{self, Check, RehearsalVerdict},
        history::{Digests, IgnoredClaim},
    },
    forge::{Gate, Words},
    git::ObjectId,
    oci::{Digest, Platform, Tag, date},
    prune::KeepReason,
    trust::{
        Certificate, Change, JudgedSignature, PolicyResult, Requirement, SearchResult, SignedName,
    },
};

/// `repin.status/1`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StatusDocument {
    pub schema: &'static str,
    pub set_path: SetPath,
    pub name: String,
    pub set: Option<SetRow>,
    pub author: Option<String>,
    pub pull_request: Option<MergedRow>,
    pub branch: Option<BranchRow>,
    pub work_tree: Vec<WorkTreeRow>,
    pub holds: Vec<HoldRow>,
    pub waiting: Vec<WaitingRow>,
    pub pull_requests: Option<Vec<OpenRow>>,
    pub pins: Vec<Check>,
    pub outside: Vec<Check>,
    pub unpinned: Vec<Check>,
    pub interrupted: bool,
    pub recovery: Option<RecoveryState>,
    pub running: Option<String>,
    pub unreadable: Vec<UnreadableRow>,
    pub ignored_claims: Vec<IgnoredClaim>,
    pub adoption: Option<AdoptionRow>,
    pub unpushed: Option<UnpushedRow>,
    pub not_queried: Vec<&'static str>,
    pub not_read: Vec<NotRead>,
}

impl StatusDocument {
    /// Whether the current set is held.
    pub(crate) fn is_held(&self) -> bool {
        let set = self.set.as_ref();
        set.is_some_and(|set| self.holds.iter().any(|hold| hold.images == set.images))
    }
}

/// The current set.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SetRow {
    pub revision: Option<String>,
    pub kind: &'static str,
    pub commit: ObjectId,
    pub date: String,
    pub subject: String,
    pub images: Digests,
}

/// The pull request of the merge that made the set current.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MergedRow {
    pub number: u64,
    pub url: Option<String>,
}

/// The branch of the history.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BranchRow {
    pub name: String,
    pub commit: ObjectId,
    pub head: Option<String>,
}

/// The pins of one image in the work tree.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WorkTreeRow {
    pub image: String,
    pub repository: String,
    pub digests: Vec<Digest>,
    pub pins: usize,
    pub expected: usize,
    pub current: Option<bool>,
}

/// A held set, which `promote` refuses.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HoldRow {
    pub revision: Option<String>,
    pub commit: ObjectId,
    pub date: String,
    pub images: Digests,
}

/// A stage for which the next set waits.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WaitingRow {
    pub revision: Option<String>,
    pub stage: String,
    pub since: Option<String>,
    pub until: Option<String>,
}

/// An open pull request of a set.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OpenRow {
    pub number: u64,
    pub url: String,
    pub kind: &'static str,
    pub revision: String,
    pub title: String,
    pub draft: bool,
}

/// A commit since the current set with unknown content.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct UnreadableRow {
    pub commit: ObjectId,
    pub date: String,
    pub reason: String,
}

/// A configuration that the branch does not contain.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AdoptionRow {
    pub branch: String,
    pub commit: Option<ObjectId>,
}

/// A set that is only in this clone.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct UnpushedRow {
    pub branch: String,
    pub commit: ObjectId,
    pub kind: &'static str,
    pub revision: Option<String>,
}

/// Information that was not read, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NotRead {
    pub what: &'static str,
    pub reason: String,
    pub hint: Option<String>,
    /// Those of the configured forge.
    #[serde(skip)]
    pub words: Words,
}

impl NotRead {
    /// Its name in text, with the words of the forge.
    pub(crate) fn name(&self) -> String {
        let name = self.what.replace('_', " ");
        name.replace("pull request", self.words.pull_request)
    }
}

impl BranchRow {
    /// Whether the forge has a different head than this clone.
    pub(crate) fn is_outdated(&self) -> bool {
        self.head
            .as_ref()
            .is_some_and(|head| *head != self.commit.to_string())
    }
}

/// `repin.builds/1`.
#[derive(Debug, Serialize)]
pub(crate) struct BuildsDocument {
    pub schema: &'static str,
    pub set_path: SetPath,
    pub builds: Vec<BuildRow>,
    pub left_out: usize,
    /// Warnings about the protection.
    pub warnings: Vec<PruneWarning>,
}

/// One build.
#[derive(Debug, Serialize)]
pub(crate) struct BuildRow {
    pub revision: String,
    pub created: Option<String>,
    pub images: Vec<BuildImageRow>,
    pub state: &'static str,
    pub detail: String,
    /// The stages that the build has not passed.
    pub waiting: Vec<WaitingRow>,
}

/// One image of a build.
#[derive(Debug, Serialize)]
pub(crate) struct BuildImageRow {
    pub name: String,
    pub tag: String,
    pub digest: Option<String>,
    /// Whether evidence keeps the image; `None` without `--protected`, and without a digest.
    pub protected: Option<bool>,
    pub reason: Option<String>,
    pub place: Option<String>,
}

impl BuildImageRow {
    /// Sets the evidence that keeps the image.
    pub(crate) fn set_protection(&mut self, reason: Option<&KeepReason>) {
        self.protected = Some(reason.is_some());
        self.reason = reason.map(ToString::to_string);
        self.place = reason.and_then(KeepReason::place);
    }
}

impl BuildRow {
    pub(crate) fn new(build: &ReadBuild, state: State, detail: String, config: &Config) -> Self {
        let mut images = Vec::new();
        for (image, read) in config.images.iter().zip(&build.images) {
            let tag = read.tag().map(Tag::to_string);
            images.push(BuildImageRow {
                name: image.name.clone(),
                tag: tag.unwrap_or_else(|| builds::expected_tag(config, &build.text)),
                digest: read.read().map(|image| image.digest.to_string()),
                protected: None,
                reason: None,
                place: None,
            });
        }
        Self {
            revision: build.text.clone(),
            created: build.created().map(date::format),
            images,
            state: state.as_str(),
            detail,
            waiting: Vec::new(),
        }
    }
}

/// `repin.gates/1`: the required statuses of a commit.
#[derive(Debug, Serialize)]
pub(crate) struct GatesDocument {
    pub schema: &'static str,
    pub r#ref: String,
    pub commit: Option<String>,
    pub state: Option<&'static str>,
    pub gates: Vec<GateRow>,
}

#[derive(Debug, Serialize)]
pub(crate) struct GateRow {
    pub context: String,
    pub state: &'static str,
    pub url: Option<String>,
    pub detail: Option<&'static str>,
}

/// `repin.wait/1`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WaitDocument {
    pub schema: &'static str,
    pub number: u64,
    pub state: Option<&'static str>,
    pub merge_commit: Option<String>,
    pub dispatched: Vec<String>,
}

/// `repin.branch/1`.
#[derive(Debug, Serialize)]
pub(crate) struct BranchDocument {
    pub schema: &'static str,
    pub action: &'static str,
    pub from: String,
    pub to: String,
    pub state: &'static str,
    pub pull_request: Option<PullRequest>,
    pub commit: Option<String>,
    /// Only with `--wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitDocument>,
}

/// `repin.freshness/1`.
#[derive(Debug, Serialize)]
pub(crate) struct FreshnessDocument {
    pub schema: &'static str,
    pub entries: Vec<FreshnessRow>,
}

#[derive(Debug, Serialize)]
pub(crate) struct FreshnessRow {
    pub name: String,
    pub pinned: Option<String>,
    pub head: Option<String>,
    pub commits: Option<u64>,
    pub gap_days: Option<i64>,
    pub state: Option<&'static str>,
    pub reason: Option<String>,
    pub issue: Option<IssueRow>,
}

/// The tracking issue of a stale reference.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct IssueRow {
    pub number: u64,
    pub url: String,
    pub state: &'static str,
}

impl GateRow {
    pub(crate) fn of(gate: &Gate) -> Self {
        Self {
            context: gate.context.clone(),
            state: gate.state.as_str(),
            url: gate.url.clone(),
            detail: gate.expiry(),
        }
    }
}

/// `repin.rehearse/1`.
#[derive(Debug, Serialize)]
pub(crate) struct RehearseDocument {
    pub schema: &'static str,
    pub set_path: SetPath,
    pub sets: Vec<RehearsedSet>,
    pub ready: usize,
    pub failed: usize,
    pub unknown: usize,
}

/// A set that was rehearsed.
#[derive(Debug, Serialize)]
pub(crate) struct RehearsedSet {
    pub revision: String,
    pub commit: Option<String>,
    pub date: Option<String>,
    pub verdict: RehearsalVerdict,
    pub checks: Vec<Check>,
    pub error: Option<ErrorRow>,
    /// The class of the error.
    #[serde(skip)]
    pub class: Option<Class>,
    /// The number of verified images.
    #[serde(skip)]
    pub images: usize,
    /// Whether no set that is available for rollback is more recent.
    #[serde(skip)]
    pub is_latest: bool,
}

impl RehearseDocument {
    pub(crate) fn new(set_path: SetPath, sets: Vec<RehearsedSet>) -> Self {
        let count = |verdict| sets.iter().filter(|set| set.verdict == verdict).count();
        Self {
            schema: "repin.rehearse/1",
            set_path,
            ready: count(RehearsalVerdict::Ready),
            failed: count(RehearsalVerdict::Fails),
            unknown: count(RehearsalVerdict::Unknown),
            sets,
        }
    }

    /// The most recent set that is available for rollback, if it was rehearsed and is not ready.
    pub(crate) fn latest_not_ready(&self) -> Option<&RehearsedSet> {
        let mut sets = self.sets.iter();
        sets.find(|set| set.is_latest && set.verdict != RehearsalVerdict::Ready)
    }
}

/// `repin.trust/1`: the signatures and attestations of images.
#[derive(Debug, Serialize)]
pub(crate) struct TrustDocument {
    pub schema: &'static str,
    pub images: Vec<TrustImage>,
    pub errors: Vec<ErrorRow>,
}

/// The signatures and attestations of one digest.
#[derive(Debug, Serialize)]
pub(crate) struct TrustImage {
    pub name: String,
    pub digest: Digest,
    pub platform: Option<Platform>,
    pub candidates: Vec<TrustCandidate>,
    pub unread: usize,
}

/// One signature or attestation.
#[derive(Debug, Serialize)]
pub(crate) struct TrustCandidate {
    pub bundle: Digest,
    pub kind: Option<Requirement>,
    pub predicate_type: Option<String>,
    #[serde(flatten)]
    pub certificate: Certificate,
    pub key: Option<Digest>,
    pub root: Option<String>,
    pub subject_name: Option<String>,
    pub verified: bool,
    pub satisfies: bool,
    pub reason: String,
}

impl TrustImage {
    pub(crate) fn of(
        name: &str,
        platform: Option<&Platform>,
        digest: Digest,
        found: &SearchResult,
    ) -> Self {
        Self {
            name: name.to_owned(),
            digest,
            platform: platform.cloned(),
            candidates: found.candidates.iter().map(TrustCandidate::of).collect(),
            unread: found.unread,
        }
    }
}

impl TrustCandidate {
    fn of(candidate: &JudgedSignature) -> Self {
        let verdict = &candidate.verdict;
        let proof = verdict.proof.as_ref();
        let certificate = proof.and_then(|proof| proof.certificate.clone());
        Self {
            bundle: candidate.blob,
            kind: verdict.kind,
            predicate_type: verdict.predicate_type.clone(),
            certificate: certificate.unwrap_or_default(),
            key: proof.and_then(|proof| proof.key),
            root: proof.and_then(|proof| proof.root.clone()),
            subject_name: match &verdict.signed_name {
                SignedName::Own(name) | SignedName::Other(name) if proof.is_some() => {
                    Some(name.clone())
                }
                _ => None,
            },
            verified: proof.is_some(),
            satisfies: matches!(verdict.result, PolicyResult::Satisfied(_)),
            reason: checks::candidate_reason(verdict),
        }
    }
}

impl TrustDocument {
    /// The document as text: a block for each digest, with up to four lines for each candidate.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for image in &self.images {
            let platform = image
                .platform
                .as_ref()
                .map_or_else(String::new, |name| format!(" {}", plain(&name.to_string())));
            let _ = writeln!(text, "{}{platform}  {}", image.name, image.digest);
            if image.candidates.is_empty() {
                text.push_str("  nothing is attached\n");
            }
            for candidate in &image.candidates {
                let kind = plain(
                    candidate
                        .kind
                        .map(Requirement::as_str)
                        .or(candidate.predicate_type.as_deref())
                        .unwrap_or("(unknown)"),
                );
                let verdict = match (candidate.satisfies, candidate.verified) {
                    (true, _) => "meets the policy",
                    (false, true) => "verifies, does not meet the policy",
                    (false, false) => "does not verify",
                };
                let _ = writeln!(text, "  {}  {kind}: {verdict}", candidate.bundle);
                if let Some(name) = &candidate.subject_name {
                    let _ = writeln!(text, "    for {}", plain(name));
                }
                if let Some(commit) = &candidate.certificate.commit {
                    let _ = writeln!(text, "    commit {}", plain(commit));
                }
                let _ = writeln!(text, "    {}", candidate.reason);
            }
            if image.unread > 0 {
                let _ = writeln!(text, "  {} more were not read", image.unread);
            }
        }
        text
    }
}

/// `repin.trust-update/1`: the current trusted roots, compared with those in use.
#[derive(Debug, Serialize)]
pub(crate) struct TrustUpdateDocument {
    pub schema: &'static str,
    pub written: bool,
    pub roots: Vec<RootRow>,
    pub errors: Vec<ErrorRow>,
}

#[derive(Debug, Serialize)]
pub(crate) struct RootRow {
    pub name: &'static str,
    pub repository: String,
    pub file: String,
    pub built_in: bool,
    pub current: bool,
    pub changes: Vec<Change>,
}

impl TrustUpdateDocument {
    /// The document as text: a line for each root, and up to five lines for each difference.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for root in &self.roots {
            let place = if root.built_in {
                "built in".to_owned()
            } else {
                plain(&root.file)
            };
            let state = match root.changes.len() {
                _ if root.current => "current".to_owned(),
                0 => "differs in other fields only".to_owned(),
                changes => counted(changes, "difference"),
            };
            let _ = writeln!(text, "{} ({place}): {state}", root.name);
            for change in &root.changes {
                let entry = &change.entry;
                let kind = entry.kind.as_str().replace('_', " ");
                let _ = writeln!(text, "  {}: {kind}", change.kind.as_str());
                let _ = writeln!(text, "    {}", plain(&entry.name));
                let _ = writeln!(text, "    {}", plain(&entry.id));
                let valid = period(entry.valid_from.as_deref(), entry.valid_until.as_deref());
                let _ = writeln!(text, "    valid {valid}");
                if change.kind.is_of_validity() {
                    let (from, until) = (&change.previous_from, &change.previous_until);
                    let valid = period(from.as_deref(), until.as_deref());
                    let _ = writeln!(text, "    before: valid {valid}");
                }
            }
        }
        text
    }
}

fn period(from: Option<&str>, until: Option<&str>) -> String {
    match (from, until) {
        (Some(from), Some(until)) => format!("from {from} until {until}"),
        (Some(from), None) => format!("from {from}, without end"),
        (None, Some(until)) => format!("until {until}"),
        (None, None) => "without end".to_owned(),
    }
}
