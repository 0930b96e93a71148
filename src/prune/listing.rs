//! A backend's data about a package: its versions, their references and their dates.
//!
//! The data may be incomplete: [`super::judge()`] checks that everything it needs is present.

use std::{
    cell::Cell,
    collections::{BTreeSet, HashMap, HashSet},
    time::SystemTime,
};

use crate::oci::{Digest, INDEX_TYPES, Manifest, Platform, Tag, date, registry::Clock};

/// The maximum depth of nested indexes.
const MAX_DEPTH: usize = 8;

/// A tag without a manifest: it was listed twice, and both requests for its manifest, with every
/// manifest type in `Accept`, returned 404.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dangling {
    pub tag: Tag,
    /// The ID of its version in a packages API.
    pub id: Option<u64>,
}

/// A manifest or index with its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// The ID in a packages API.
    pub id: Option<u64>,
    /// The digest of the manifest.
    pub digest: Digest,
    /// All tags of the manifest, sorted.
    pub tags: Vec<Tag>,
}

/// The references of a manifest or index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// The entries of an index.
    pub children: Vec<Child>,
    /// The subject that it refers to.
    pub subject: Option<Digest>,
}

/// An entry of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Child {
    /// The digest of the entry.
    pub digest: Digest,
    /// Whether the entry is an index with entries.
    pub is_index: bool,
    /// Whether the entry is a builder's attestation and not a platform.
    pub is_attestation: bool,
    /// The platform that the index states.
    pub platform: Option<Platform>,
}

/// All data about a package.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    /// All versions, each digest once.
    pub versions: Vec<Version>,
    /// The references of versions, and of indexes that are no versions but entries of one.
    pub nodes: HashMap<Digest, Node>,
    /// The known creation dates of versions and of their entries.
    pub dates: HashMap<Digest, SystemTime>,
    /// The clocks at the time of the listing.
    pub clock: Clock,
    /// Tags without a manifest.
    pub dangling: Vec<Dangling>,
    /// The entries of indexes without a manifest.
    pub lost: BTreeSet<Digest>,
}

impl Node {
    /// The references of a verified manifest.
    pub(crate) fn from_manifest(manifest: &Manifest) -> Self {
        match manifest {
            Manifest::Image(image) => Self {
                children: Vec::new(),
                subject: image.subject.as_ref().map(|subject| subject.digest),
            },
            Manifest::Index(index) => {
                let child = |entry: &crate::oci::Descriptor| Child {
                    digest: entry.digest,
                    is_index: INDEX_TYPES.contains(&entry.media_type.as_str()),
                    is_attestation: entry.is_attestation(),
                    platform: entry.platform.clone(),
                };
                let subject = index.subject.as_ref().map(|subject| subject.digest);
                Self {
                    children: index.manifests.iter().map(child).collect(),
                    subject,
                }
            }
        }
    }
}

impl Version {
    /// The digests that the tags refer to: `sha256-HEX`, with or without a suffix (OCI distribution
    /// specification, "Referrers Tag Schema", and cosign's `.sig`, `.att` and `.sbom`).
    pub(crate) fn tag_subjects(&self) -> impl Iterator<Item = Digest> {
        self.tags.iter().filter_map(|tag| {
            let rest = tag.as_str().strip_prefix("sha256-")?;
            let (digits, suffix) = rest.split_at_checked(64)?;
            if suffix.is_empty() || suffix.starts_with('.') {
                Digest::from_hex(digits).ok()
            } else {
                None
            }
        })
    }
}

impl Listing {
    /// The indexes with unknown entries in other indexes.
    pub(crate) fn unread_indexes(&self) -> BTreeSet<Digest> {
        let mut unread = BTreeSet::new();
        for child in self.nodes.values().flat_map(|node| &node.children) {
            if child.is_index && !self.nodes.contains_key(&child.digest) {
                unread.insert(child.digest);
            }
        }
        unread
    }

    /// The entries of a manifest or index; empty if they are unknown.
    pub(super) fn children(&self, digest: Digest) -> &[Child] {
        self.nodes
            .get(&digest)
            .map_or(&[][..], |node| &node.children)
    }

    /// The first platform of an index that is missing, by its name or its digest.
    pub(crate) fn lost_platform(&self, digest: Digest) -> Option<String> {
        self.lost_within(digest, MAX_DEPTH)
    }

    fn lost_within(&self, digest: Digest, depth: usize) -> Option<String> {
        self.children(digest).iter().find_map(|child| {
            if child.is_attestation {
                return None;
            }
            if !self.lost.contains(&child.digest) {
                return self.lost_within(child.digest, depth.checked_sub(1)?);
            }
            Some(match &child.platform {
                Some(platform) => platform.to_string(),
                None => child.digest.to_string(),
            })
        })
    }

    /// All known direct and indirect entries of an index.
    pub(crate) fn parts(&self, digest: Digest) -> HashSet<Digest> {
        let mut parts = HashSet::new();
        let mut pending = vec![digest];
        while let Some(digest) = pending.pop() {
            for child in self.children(digest) {
                if parts.insert(child.digest) {
                    pending.push(child.digest);
                }
            }
        }
        parts
    }

    /// The creation date. An index is as old as its youngest platform, and its date is unknown if the
    /// date of any platform is. A placeholder is not a date.
    pub(crate) fn created(&self, digest: Digest) -> Option<SystemTime> {
        self.created_within(digest, MAX_DEPTH)
    }

    fn created_within(&self, digest: Digest, depth: usize) -> Option<SystemTime> {
        let date = self.dates.get(&digest).copied();
        let mut latest = date.filter(|date| date::is_build_date(*date));
        for child in self.children(digest) {
            if !child.is_attestation {
                // A platform without a date could be the youngest.
                let created = self.created_within(child.digest, depth.checked_sub(1)?)?;
                latest = latest.max(Some(created));
            }
        }
        latest
    }
}

/// The progress of a long listing.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    task: Cell<&'static str>,
    done: Cell<usize>,
    total: Cell<Option<usize>>,
}

impl Progress {
    /// Starts a task with a number of steps, if it is known.
    pub(crate) fn begin(&self, task: &'static str, total: Option<usize>) {
        self.task.set(task);
        self.done.set(0);
        self.total.set(total);
    }

    /// Sets the number of completed steps.
    pub(crate) fn set(&self, done: usize) {
        self.done.set(done);
    }

    /// Adds a completed step.
    pub(crate) fn step(&self) {
        self.done.set(self.done.get() + 1);
    }

    /// The progress in one line.
    pub(crate) fn describe(&self) -> String {
        let (task, done) = (self.task.get(), self.done.get());
        match self.total.get() {
            _ if done == 0 => task.to_owned(),
            Some(total) => format!("{task}: {done} of {total}"),
            None => format!("{task}: {done}"),
        }
    }
}
