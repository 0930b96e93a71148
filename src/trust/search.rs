//! The search for candidates: signatures and attestations that are attached to a digest.
//!
//! The search fetches the referrers that the source lists, then the tag of older cosign versions.
//! It stops when the policy is met, so that the usual case costs three requests. The types in a
//! listing only order its entries: an entry is a candidate if its own manifest has the form of one.
//! A failed request is a fault, which counts only if the policy is not met otherwise.

use super::{
    bundle::CosignLayer,
    policy::{Attachment, Policy, PolicyResult, SignedPredicate, Subject, Verdict},
};
use crate::{
    base::error::{Class, Error},
    oci::{
        Descriptor, Digest, Manifest, TagOrDigest,
        registry::{self, Source},
    },
};

/// The maximum number of candidates of a digest, including the layers of a `.sig` image.
const MAX_CANDIDATES: usize = 32;
/// The prefix of the types of bundles, in all versions.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// The type that cosign gives entries under the fallback tag.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const ATTACH_AGAIN: &str = "attach it again: copy the image with its signatures from another registry (`cosign copy`), or sign \
                      the digest again; the image itself is not affected";
/// A payload of an older cosign version.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The candidates to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SearchExtent {
    /// Candidates until the policy is met.
    UntilSatisfied,
    All,
}

/// The candidates of a digest.
#[derive(Debug, Clone, Default)]
pub(crate) struct SearchResult {
    pub candidates: Vec<JudgedSignature>,
    /// The errors of failed requests.
    pub faults: Vec<Error>,
    /// The number of candidates beyond the maximum.
    pub unread: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct JudgedSignature {
    /// The digest of the bundle or the payload.
    pub blob: Digest,
    pub verdict: Verdict,
}

struct Search<'s> {
    source: &'s Source,
    policy: &'s Policy<'s>,
    subject: Subject<'s>,
    extent: SearchExtent,
    /// The number of candidates so far.
    count: usize,
    result: SearchResult,
}

/// Finds the candidates of the subject and evaluates the policy for each.
pub(crate) async fn search(
    source: &Source,
    policy: &Policy<'_>,
    subject: Subject<'_>,
    extent: SearchExtent,
) -> SearchResult {
    let mut search = Search {
        source,
        policy,
        subject,
        extent,
        count: 0,
        result: SearchResult::default(),
    };
    search.bundles().await;
    if !search.is_finished() {
        search.signatures().await;
    }
    search.result
}

impl SearchResult {
    /// Whether every required kind is proven.
    fn meets(&self, policy: &Policy<'_>) -> bool {
        policy.verify.require.iter().all(|kind| {
            self.candidates
                .iter()
                .any(|JudgedSignature { verdict, .. }| {
                    verdict.kind == Some(*kind)
                        && matches!(verdict.result, PolicyResult::Satisfied(_))
                })
        })
    }
}

impl Search<'_> {
    fn is_finished(&self) -> bool {
        self.extent == SearchExtent::UntilSatisfied && self.result.meets(self.policy)
    }

    /// Counts a candidate; returns true if it may be fetched.
    fn count_candidate(&mut self) -> bool {
        self.count += 1;
        let may_read = self.count <= MAX_CANDIDATES;
        self.result.unread += usize::from(!may_read);
        may_read
    }

    async fn bundles(&mut self) {
        let entries = match bundle_entries(self.source, self.subject.digest).await {
            Ok(entries) => entries,
            Err(error) => return self.result.faults.push(error),
        };
        for entry in entries {
            if !self.count_candidate() {
                continue;
            }
            match bundle(self.source, self.subject.digest, &entry).await {
                Ok(None) => {}
                Ok(Some(Bundle { digest, bytes })) => {
                    let candidate = self.candidate(digest, &Attachment::Bundle(bytes));
                    self.result.candidates.push(candidate);
                }
                Err(error) => self.add_fault(error),
            }
            if self.is_finished() {
                return;
            }
        }
    }

    async fn signatures(&mut self) {
        let layers = match self.signature_layers().await {
            Ok(layers) => layers,
            Err(error) => return self.result.faults.push(error),
        };
        for layer in layers {
            if !self.count_candidate() {
                continue;
            }
            match self.source.blob(&layer).await {
                Ok(payload) => {
                    let attachment = Attachment::Cosign(CosignLayer {
                        payload,
                        annotations: layer.annotations,
                    });
                    let candidate = self.candidate(layer.digest, &attachment);
                    self.result.candidates.push(candidate);
                }
                Err(error) => self.add_fault(error),
            }
            if self.is_finished() {
                return;
            }
        }
    }

    /// Records the failed request for a bundle or a payload. Missing content concerns the signature only.
    fn add_fault(&mut self, error: Error) {
        let fault = match error.class {
            Class::MissingContent => Error {
                message: format!(
                    "a signature attached to {} is missing: {}",
                    self.subject.digest, error.message
                ),
                help: Some(ATTACH_AGAIN.to_owned()),
                ..error
            },
            Class::WrongBytes => error.help(ATTACH_AGAIN),
            _ => error,
        };
        self.result.faults.push(fault);
    }

    /// The layers with signatures in the image that older cosign versions tag.
    async fn signature_layers(&self) -> Result<Vec<Descriptor>, Error> {
        let tag = registry::attached_tag(self.subject.digest, ".sig")?;
        let found = self.source.manifest(&TagOrDigest::Tag(tag), None).await?;
        let Some(Manifest::Image(manifest)) = found.map(|found| found.value) else {
            return Ok(Vec::new());
        };
        let mut layers = manifest.layers;
        layers.retain(|layer| layer.media_type == PAYLOAD);
        Ok(layers)
    }

    fn candidate(&self, blob: Digest, attachment: &Attachment) -> JudgedSignature {
        JudgedSignature {
            blob,
            verdict: self.policy.evaluate(attachment, self.subject),
        }
    }
}

/// The predicates that are attached to a digest.
#[derive(Debug, Clone, Default)]
pub(crate) struct PredicateSearch {
    /// The predicates by configured signers, in the order of their digests.
    pub predicates: Vec<SignedPredicate>,
    /// The reasons for which other attached bundles are not read.
    pub refused: Vec<String>,
}

/// Finds the predicates of the wanted types that configured signers made for the revision.
pub(crate) async fn search_predicates(
    source: &Source,
    policy: &Policy<'_>,
    subject: Subject<'_>,
    is_wanted: fn(&str) -> bool,
) -> Result<PredicateSearch, Error> {
    let mut result = PredicateSearch::default();
    let mut entries = bundle_entries(source, subject.digest).await?;
    // The order of a listing depends on the registry.
    entries.sort_by_key(|entry| entry.digest);
    if let Some(unread) = entries.len().checked_sub(MAX_CANDIDATES + 1) {
        entries.truncate(MAX_CANDIDATES);
        let unread = unread + 1;
        let reason = format!("{unread} attached manifests, more than {MAX_CANDIDATES}");
        result.refused.push(reason);
    }
    for entry in entries {
        let Some(Bundle { bytes, .. }) = bundle(source, subject.digest, &entry).await? else {
            continue;
        };
        match policy.predicate(&bytes, subject, is_wanted) {
            None => {}
            Some(Ok(predicate)) => result.predicates.push(predicate),
            Some(Err(reason)) => result.refused.push(reason),
        }
    }
    Ok(result)
}

/// A bundle that is attached to an image.
struct Bundle {
    digest: Digest,
    bytes: Vec<u8>,
}

/// The entries of a listing that may be bundles, in the order in which to read them.
async fn bundle_entries(source: &Source, digest: Digest) -> Result<Vec<Descriptor>, Error> {
    let mut entries = source.referrers(digest).await?;
    entries.retain(|entry| rank(entry.artifact_type.as_deref()).is_some());
    entries.sort_by_key(|entry| rank(entry.artifact_type.as_deref()));
    Ok(entries)
}

/// The bundle of a listed manifest; `None` if the manifest does not have the form of one.
async fn bundle(
    source: &Source,
    subject: Digest,
    entry: &Descriptor,
) -> Result<Option<Bundle>, Error> {
    let want = TagOrDigest::Digest(entry.digest);
    let Some(found) = source.manifest(&want, Some(&entry.media_type)).await? else {
        return Err(Error::about(
            Class::MissingContent,
            format!("{source}{want}"),
            "the registry lists its manifest, but does not have it",
        ));
    };
    let Manifest::Image(manifest) = found.value else {
        return Ok(None);
    };
    let [layer] = manifest.layers.as_slice() else {
        return Ok(None);
    };
    let is_bundle =
        rank(manifest.artifact_type.as_deref()).is_some() && layer.media_type.starts_with(BUNDLE);
    if !is_bundle || manifest.subject.as_ref().map(|found| found.digest) != Some(subject) {
        return Ok(None);
    }
    Ok(Some(Bundle {
        digest: layer.digest,
        bytes: source.blob(layer).await?,
    }))
}

/// The order in which to read a manifest of this type: declared bundles, then unspecified types;
/// `None` if it is not a bundle.
fn rank(artifact_type: Option<&str>) -> Option<u8> {
    match artifact_type {
        Some(declared) if declared.starts_with(BUNDLE) => Some(0),
        None | Some("" | EMPTY) => Some(1),
        Some(_) => None,
    }
}
