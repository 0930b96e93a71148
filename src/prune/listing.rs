//! A backend's data about a package: its versions, their references and their ages.
//!
//! Data only. Whether it is complete is not assumed: [`super::judge()`] looks for everything that
//! it needs and refuses where something is missing.

use std::cell::Cell;
use std::{
    collections::{HashMap, HashSet},
    time::SystemTime,
};

use super::date;
use crate::{
    oci::{Digest, INDEX_TYPES, Manifest, Tag},
    registry::Clock,
};

/// An index within an index within an index, so deep at most.
const DEPTH: usize = 8;

/// A tag whose manifest is missing from the registry's storage: listed twice, read twice, and both
/// reads answered 404 with every manifest type in `Accept`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dangling {
    /// The tag.
    pub tag: Tag,
    /// The number of its version, where a packages API lists it.
    pub id: Option<u64>,
}

/// One version: a manifest or index, and the tags that name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The number that a packages API knows it by.
    pub id: Option<u64>,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Every tag that names it, sorted.
    pub tags: Vec<Tag>,
}

/// The references of a manifest or index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// The entries of an index.
    pub children: Vec<Child>,
    /// Its subject.
    pub subject: Option<Digest>,
}

/// An entry of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child {
    /// Its digest.
    pub digest: Digest,
    /// Whether it is an index itself, so that more hangs on it.
    pub index: bool,
    /// Whether it is an attestation that builders put beside the platforms, and no part of what
    /// runs.
    pub attestation: bool,
}

/// Everything about a package.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Every version, each digest once.
    pub versions: Vec<Version>,
    /// What versions refer to, and indexes below them that are no versions.
    pub nodes: HashMap<Digest, Node>,
    /// When versions and what lies below them were made, as far as that is known.
    pub dates: HashMap<Digest, SystemTime>,
    /// The clocks while it was listed.
    pub clock: Clock,
    /// Tags whose manifest the registry does not have.
    pub dangling: Vec<Dangling>,
}

impl Node {
    /// The references of a verified manifest.
    pub fn of(manifest: &Manifest) -> Self {
        match manifest {
            Manifest::Image(image) => Self {
                children: Vec::new(),
                subject: image.subject.as_ref().map(|subject| subject.digest),
            },
            Manifest::Index(index) => {
                let child = |entry: &crate::oci::Descriptor| Child {
                    digest: entry.digest,
                    index: INDEX_TYPES.contains(&entry.media_type.as_str()),
                    attestation: entry.is_attestation(),
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
    /// The digests that its tags refer to by the referrers' tag scheme (OCI distribution
    /// specification, "Referrers Tag Schema", and cosign's `.sig`, `.att` and `.sbom`):
    /// `sha256-HEX`, with or without a suffix.
    pub fn refers_by_tag(&self) -> impl Iterator<Item = Digest> {
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
    /// Indexes that kept indexes name and of which it is not known what they refer to.
    pub fn unread(&self) -> Vec<Digest> {
        let children = self.nodes.values().flat_map(|node| &node.children);
        let unread =
            children.filter(|child| child.index && !self.nodes.contains_key(&child.digest));
        let mut unread: Vec<_> = unread.map(|child| child.digest).collect();
        unread.sort_unstable();
        unread.dedup();
        unread
    }

    /// Everything that an index consists of, and what that consists of, as far as it is known.
    pub fn parts(&self, digest: Digest) -> HashSet<Digest> {
        let mut parts = HashSet::new();
        let mut open = vec![digest];
        while let Some(digest) = open.pop() {
            let children = self.nodes.get(&digest).into_iter();
            for child in children.flat_map(|node| &node.children) {
                if parts.insert(child.digest) {
                    open.push(child.digest);
                }
            }
        }
        parts
    }

    /// When something was made; an index is as old as its youngest child, and of no age where one
    /// has none. A placeholder for a date is not a date.
    pub fn made(&self, digest: Digest) -> Option<SystemTime> {
        self.made_within(digest, DEPTH)
    }

    fn made_within(&self, digest: Digest, depth: usize) -> Option<SystemTime> {
        let own = self.dates.get(&digest).copied();
        let own = own.filter(|at| date::is_one(*at));
        let children = self
            .nodes
            .get(&digest)
            .map_or(&[][..], |node| &node.children);
        let parts = children.iter().filter(|child| !child.attestation);
        let dates = parts.map(|child| self.made_within(child.digest, depth.checked_sub(1)?));
        // One without a date could be the youngest.
        let dates: Vec<_> = dates.collect::<Option<_>>()?;
        dates.into_iter().max().max(own)
    }
}

/// The progress of a long listing.
#[derive(Debug, Default)]
pub struct Progress {
    what: Cell<&'static str>,
    done: Cell<usize>,
    total: Cell<Option<usize>>,
}

impl Progress {
    /// Begins something; `total`: how much of it there is, where that is known.
    pub fn begin(&self, what: &'static str, total: Option<usize>) {
        self.what.set(what);
        self.done.set(0);
        self.total.set(total);
    }

    /// So much was done.
    pub fn at(&self, done: usize) {
        self.done.set(done);
    }

    /// One more was done.
    pub fn step(&self) {
        self.done.set(self.done.get() + 1);
    }

    /// How far it is, on one line.
    pub fn describe(&self) -> String {
        let (what, done) = (self.what.get(), self.done.get());
        match self.total.get() {
            _ if done == 0 => what.to_owned(),
            Some(total) => format!("{what}: {done} of {total}"),
            None => format!("{what}: {done}"),
        }
    }
}
