//! The documents of `trust show` and `trust update`.

use std::fmt::Write as _;

use serde::Serialize;

use super::ErrorRow;
use crate::{
    base::{text::counted, untrusted::plain},
    core::checks,
    oci::{Digest, Platform},
    trust::{Candidate, Change, PolicyResult, Requirement, RootEntry, SearchResult, SignedName},
};

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
    pub digest: String,
    pub platform: Option<String>,
    pub candidates: Vec<TrustCandidate>,
    pub unread: usize,
}

/// One signature or attestation.
#[derive(Debug, Serialize)]
pub(crate) struct TrustCandidate {
    pub bundle: String,
    pub kind: Option<&'static str>,
    pub predicate_type: Option<String>,
    pub signer: Option<String>,
    pub issuer: Option<String>,
    pub source: Option<String>,
    pub source_ref: Option<String>,
    pub commit: Option<String>,
    pub trigger: Option<String>,
    pub runner: Option<String>,
    pub key: Option<String>,
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
            digest: digest.to_string(),
            platform: platform.map(ToString::to_string),
            candidates: found.candidates.iter().map(TrustCandidate::of).collect(),
            unread: found.unread,
        }
    }
}

impl TrustCandidate {
    fn of(candidate: &Candidate) -> Self {
        let verdict = &candidate.verdict;
        let proof = verdict.proof.as_ref();
        let certificate = proof.and_then(|proof| proof.certificate.as_ref());
        Self {
            bundle: candidate.blob.to_string(),
            kind: verdict.kind.map(Requirement::as_str),
            predicate_type: verdict.predicate_type.clone(),
            signer: certificate.and_then(|found| found.identity.clone()),
            issuer: certificate.and_then(|found| found.issuer.clone()),
            source: certificate.and_then(|found| found.source.clone()),
            source_ref: certificate.and_then(|found| found.source_ref.clone()),
            commit: certificate.and_then(|found| found.commit.clone()),
            trigger: certificate.and_then(|found| found.trigger.clone()),
            runner: certificate.and_then(|found| found.runner.clone()),
            key: proof.and_then(|proof| Some(proof.key?.to_string())),
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
                .as_deref()
                .map_or_else(String::new, |name| format!(" {}", plain(name)));
            let _ = writeln!(text, "{}{platform}  {}", image.name, image.digest);
            if image.candidates.is_empty() {
                text.push_str("  nothing is attached\n");
            }
            for candidate in &image.candidates {
                let kind = plain(
                    candidate
                        .kind
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
                if let Some(commit) = &candidate.commit {
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
    pub changes: Vec<RootChange>,
}

/// A difference in one authority or log.
#[derive(Debug, Serialize)]
pub(crate) struct RootChange {
    pub change: &'static str,
    pub kind: &'static str,
    pub name: String,
    pub id: String,
    pub valid_from: Option<String>,
    pub valid_until: Option<String>,
    pub previous_from: Option<String>,
    pub previous_until: Option<String>,
}

impl RootChange {
    pub(crate) fn of(change: &Change) -> Self {
        let RootEntry {
            kind,
            name,
            id,
            from,
            until,
        } = change.entry.clone();
        let before = change.before.as_ref();
        Self {
            change: change.kind.as_str(),
            kind: kind.as_str(),
            name,
            id,
            valid_from: from,
            valid_until: until,
            previous_from: before.and_then(|entry| entry.from.clone()),
            previous_until: before.and_then(|entry| entry.until.clone()),
        }
    }

    fn is_validity_change(&self) -> bool {
        matches!(self.change, "ended" | "extended")
    }
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
                let kind = change.kind.replace('_', " ");
                let _ = writeln!(text, "  {}: {kind}", change.change);
                let _ = writeln!(text, "    {}", plain(&change.name));
                let _ = writeln!(text, "    {}", plain(&change.id));
                let valid = period(change.valid_from.as_deref(), change.valid_until.as_deref());
                let _ = writeln!(text, "    valid {valid}");
                if change.is_validity_change() {
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
