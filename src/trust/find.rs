//! Candidates: what is attached to a digest, found and judged one after the other.
//!
//! By digest: the referrers that the source lists, then the tag of older cosign versions. The search
//! ends once the policy is met, so that the usual case costs three requests. What a listing says
//! about an entry only orders them; a candidate is one by its own manifest. What could not be read is
//! kept as a fault: it counts if nothing else wins.

use super::{
    cosign::CosignLayer,
    policy::{Attached, Judged, Policy, Standing, Subject},
};
use crate::{
    error::Error,
    oci::{Descriptor, Digest, Manifest, TagOrDigest},
    registry::{self, Source},
};

/// The most candidates of a digest, layers of a signature's image counted.
const CANDIDATES_MAX: usize = 32;
/// How the types of bundles begin, all versions.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// A type that says nothing: cosign's, under the fallback tag.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// A payload of an older cosign version.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// When the search ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// Once the policy is met.
    UntilMet,
    /// Once everything was read.
    Everything,
}

/// What was found for a digest.
#[derive(Debug, Clone, Default)]
pub struct Examination {
    /// Each candidate by the digest of its blob, and what became of it.
    pub candidates: Vec<Candidate>,
    /// What could not be read.
    pub faults: Vec<Error>,
    /// How many entries were left out because there are too many.
    pub unread: usize,
}

/// One candidate.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The digest of its blob: the bundle or the payload.
    pub blob: Digest,
    /// What became of it.
    pub judged: Judged,
}

/// A search for one digest.
struct Searching<'s> {
    source: &'s Source,
    policy: &'s Policy<'s>,
    subject: Subject<'s>,
    search: Search,
    read: usize,
    found: Examination,
}

/// Finds and judges what is attached to the subject.
pub async fn examine(
    source: &Source,
    policy: &Policy<'_>,
    subject: Subject<'_>,
    search: Search,
) -> Examination {
    let mut searching = Searching {
        source,
        policy,
        subject,
        search,
        read: 0,
        found: Examination::default(),
    };
    searching.bundles().await;
    if !searching.is_over() {
        searching.signatures().await;
    }
    searching.found
}

impl Examination {
    /// Whether each kind that the policy requires is there.
    pub fn meets(&self, policy: &Policy<'_>) -> bool {
        let require = &policy.verify.require;
        require.iter().all(|kind| {
            self.candidates.iter().any(|candidate| {
                candidate.judged.kind == Some(*kind)
                    && matches!(candidate.judged.standing, Standing::Satisfies(_))
            })
        })
    }
}

impl Searching<'_> {
    fn is_over(&self) -> bool {
        self.search == Search::UntilMet && self.found.meets(self.policy)
    }

    /// Whether one more may be read; counts it.
    fn may_read(&mut self) -> bool {
        self.read += 1;
        let may = self.read <= CANDIDATES_MAX;
        self.found.unread += usize::from(!may);
        may
    }

    async fn bundles(&mut self) {
        let listed = match self.source.referrers(self.subject.digest).await {
            Ok(listed) => listed,
            Err(error) => return self.found.faults.push(error),
        };
        for entry in in_order(listed) {
            if !self.may_read() {
                continue;
            }
            match self.bundle(&entry).await {
                Ok(None) => {}
                Ok(Some(candidate)) => self.found.candidates.push(candidate),
                Err(error) => self.found.faults.push(error),
            }
            if self.is_over() {
                return;
            }
        }
    }

    /// The bundle of a listed manifest; `None` if it is no candidate.
    async fn bundle(&self, entry: &Descriptor) -> Result<Option<Candidate>, Error> {
        let want = TagOrDigest::Digest(entry.digest);
        let found = self.source.manifest(&want, Some(&entry.media_type)).await?;
        let missing = || {
            Error::unavailable(
                format!("{}{want}", self.source),
                "it is listed as attached to the image, but it is missing",
            )
        };
        let Manifest::Image(manifest) = found.ok_or_else(missing)?.value else {
            return Ok(None);
        };
        let subject = manifest.subject.as_ref().map(|subject| subject.digest);
        let [layer] = manifest.layers.as_slice() else {
            return Ok(None);
        };
        let is_bundle = rank(manifest.artifact_type.as_deref()).is_some()
            && layer.media_type.starts_with(BUNDLE);
        if !is_bundle || subject != Some(self.subject.digest) {
            return Ok(None);
        }
        let bytes = self.source.blob(layer).await?;
        Ok(Some(self.judged(layer.digest, &Attached::Bundle(bytes))))
    }

    async fn signatures(&mut self) {
        let layers = match self.signature_layers().await {
            Ok(layers) => layers,
            Err(error) => return self.found.faults.push(error),
        };
        for layer in layers {
            if !self.may_read() {
                continue;
            }
            match self.source.blob(&layer).await {
                Ok(payload) => {
                    let annotations = layer.annotations;
                    let attached = Attached::Cosign(CosignLayer {
                        payload,
                        annotations,
                    });
                    let candidate = self.judged(layer.digest, &attached);
                    self.found.candidates.push(candidate);
                }
                Err(error) => self.found.faults.push(error),
            }
            if self.is_over() {
                return;
            }
        }
    }

    /// The layers of the image that older cosign versions put signatures into.
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

    fn judged(&self, blob: Digest, attached: &Attached) -> Candidate {
        Candidate {
            blob,
            judged: self.policy.judge(attached, self.subject),
        }
    }
}

/// The entries that may be bundles: those that are called one first, then those without a name.
fn in_order(mut listed: Vec<Descriptor>) -> Vec<Descriptor> {
    listed.retain(|entry| rank(entry.artifact_type.as_deref()).is_some());
    listed.sort_by_key(|entry| rank(entry.artifact_type.as_deref()));
    listed
}

/// How likely a manifest of this type is a bundle, the likeliest first; `None`: it is none.
fn rank(artifact_type: Option<&str>) -> Option<u8> {
    match artifact_type {
        Some(named) if named.starts_with(BUNDLE) => Some(0),
        None | Some("" | EMPTY) => Some(1),
        Some(_) => None,
    }
}
