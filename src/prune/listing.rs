//! A backend's data about a package: its versions, their references and their dates.
//!
//! The data may be incomplete: [`super::judge()`] checks that everything it needs is present.
//!
//! The verdict about one package, as data.
//!
//! The versions to delete in their order, and the versions that must remain.
//!
//! Dangling tags: the registry lists the tag, but its manifest is missing.
//!
//! A deletion or garbage collection that does not remove the tag causes this. Such a tag cannot be
//! pulled. A dangling pending tag is reported and skipped; any other refuses the run.

use std::{
    cell::Cell,
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    time::{Duration, SystemTime},
};

use crate::{
    base::error::{Class, Code, Error},
    oci::{Digest, INDEX_TYPES, MANIFEST_TYPES, Manifest, Platform, Tag, date, registry::Clock},
};

/// The maximum depth of nested indexes.
pub(super) const MAX_DEPTH: usize = 8;

/// A tag without a manifest: it was listed twice, and both requests for its manifest, with every
/// manifest type in `Accept`, returned 404.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dangling {
    pub tag: Tag,
    /// The ID of its version in a packages API.
    pub id: Option<u64>,
}

/// The versions that a listing must contain, in addition to the tagged ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those that the decision about candidates needs.
    Candidates,
    /// Every protected version with its parts and referrers.
    Protected,
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
    /// The config of an image, which container engines use as its ID.
    pub config: Option<Digest>,
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
    /// Whether the entry is a manifest or an index. A build cache lists its layers, which no request for a manifest finds.
    pub is_manifest: bool,
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
    /// The commit times of the revisions of images: none can have been built before.
    pub commit_times: HashMap<Digest, SystemTime>,
    /// The clocks at the time of the listing.
    pub clock: Clock,
    /// Tags without a manifest.
    pub dangling: Vec<Dangling>,
    /// The entries of indexes without a manifest.
    pub lost: BTreeSet<Digest>,
    /// The images without a config.
    pub lost_configs: BTreeSet<Digest>,
    /// The versions whose pending tags an earlier run deleted, and whose deletion it could not finish.
    pub unfinished: BTreeSet<Digest>,
    /// The versions that the registry knows to be in use, with the reasons.
    pub kept: HashMap<Digest, KeepReason>,
}

impl Listing {
    /// The versions of a package, with the clocks at the time of the listing. Everything else is unknown.
    pub(crate) fn new(versions: Vec<Version>, clock: Clock) -> Self {
        Self {
            versions,
            nodes: HashMap::new(),
            dates: HashMap::new(),
            commit_times: HashMap::new(),
            clock,
            dangling: Vec::new(),
            lost: BTreeSet::new(),
            lost_configs: BTreeSet::new(),
            unfinished: BTreeSet::new(),
            kept: HashMap::new(),
        }
    }
}

impl Node {
    /// The references of a verified manifest.
    pub(crate) fn from_manifest(manifest: &Manifest) -> Self {
        match manifest {
            Manifest::Image(image) => Self {
                children: Vec::new(),
                subject: image.subject.as_ref().map(|subject| subject.digest),
                config: Some(image.config.digest),
            },
            Manifest::Index(index) => {
                let is_index = |media_type: &str| INDEX_TYPES.contains(&media_type);
                let child = |entry: &crate::oci::Descriptor| Child {
                    digest: entry.digest,
                    is_index: is_index(&entry.media_type),
                    is_attestation: entry.is_attestation(),
                    is_manifest: is_index(&entry.media_type)
                        || MANIFEST_TYPES.contains(&entry.media_type.as_str()),
                    platform: entry.platform.clone(),
                };
                let subject = index.subject.as_ref().map(|subject| subject.digest);
                Self {
                    children: index.manifests.iter().map(child).collect(),
                    subject,
                    config: None,
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
        self.parts_with(digest, |_| true)
    }

    /// Those that may have a date.
    pub(super) fn platforms(&self, digest: Digest) -> HashSet<Digest> {
        self.parts_with(digest, |child| !child.is_attestation)
    }

    fn parts_with(&self, digest: Digest, is_wanted: impl Fn(&Child) -> bool) -> HashSet<Digest> {
        let mut parts = HashSet::new();
        let mut pending = vec![digest];
        while let Some(digest) = pending.pop() {
            let children = self.children(digest).iter();
            for child in children.filter(|child| is_wanted(child)) {
                if parts.insert(child.digest) {
                    pending.push(child.digest);
                }
            }
        }
        parts
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

/// A verdict about one package.
#[derive(Debug, Clone)]
pub(crate) struct PackageVerdict {
    /// The number of versions.
    pub listed: usize,
    /// The versions that may be deleted, oldest first. Only a [`super::Plan`] is applied.
    pub candidates: Vec<PrunableVersion>,
    /// The protected versions, in the order of the listing.
    pub protected: Vec<Protected>,
    /// The number of pending versions that another tag protects.
    pub mixed: usize,
    /// The number of pending versions that are too young, or of which the registry has no document that states a date.
    pub young: usize,
    /// Warnings, which do not prevent deletions.
    pub warnings: Vec<Warning>,
    /// The reason that nothing may be deleted.
    pub refusal: Option<Error>,
}

/// A protected version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protected {
    pub version: Version,
    pub reason: KeepReason,
}

/// The reason that protects a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeepReason {
    /// It is pinned at this location.
    Pinned(String),
    /// A container runs with it, according to this place.
    Running(String),
    /// It was pinned by a set in promotion history.
    History,
    /// A tracked file at this location contains its digest.
    Mentioned(String),
    /// It has this tag, which is protected.
    Tag(Tag, TagReason),
    /// It is an entry of a protected index.
    IndexEntry(Digest),
    /// It is an index that contains this digest, which is pinned or mentioned.
    Parent(Digest),
    /// This digest, which is pinned or mentioned, is attached to it.
    Subject(Digest),
    /// It is a signature or an attestation of a protected version.
    Referrer(Digest),
    /// It has pending tags, but this tag is not pending.
    OtherTag(Tag),
    /// It is an index without this platform, which the registry has lost.
    Broken(String),
    /// The registry archived it, so that it cannot be pulled, and may be restored.
    Archived,
    /// It was pulled at this time.
    Pulled(String),
    /// Its age is unknown.
    UnknownAge,
}

impl KeepReason {
    /// The place of the evidence: a file, a branch, or a related version. `None` if the version itself is the
    /// evidence.
    pub(crate) fn place(&self) -> Option<String> {
        match self {
            Self::Pinned(place)
            | Self::Mentioned(place)
            | Self::Running(place)
            | Self::Tag(
                _,
                TagReason::Revision(place)
                | TagReason::Mentioned(place)
                | TagReason::Running(place),
            ) => Some(place.clone()),
            Self::History => Some("in promotion history".to_owned()),
            Self::Tag(_, TagReason::Pattern) => Some("in prune.protect".to_owned()),
            Self::Tag(_, TagReason::CommitId) => Some("by the default of prune.protect".to_owned()),
            Self::IndexEntry(parent) => Some(format!("in the index {parent}")),
            Self::Parent(entry) => Some(format!("around {entry}")),
            Self::Subject(referrer) => Some(format!("the subject of {referrer}")),
            Self::Referrer(subject) => Some(format!("attached to {subject}")),
            Self::Tag(_, TagReason::NotPending)
            | Self::OtherTag(_)
            | Self::Broken(_)
            | Self::Archived
            | Self::Pulled(_)
            | Self::UnknownAge => None,
        }
    }
}

/// The reason why a tag must remain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TagReason {
    /// It is the tag of a revision that was promoted or is being promoted.
    Revision(String),
    /// A tracked file at this location refers to it.
    Mentioned(String),
    /// A container runs with it, according to this place.
    Running(String),
    /// It matches `protect`.
    Pattern,
    /// It matches the default of `protect`.
    CommitId,
    /// It does not match `tags`.
    NotPending,
}

impl fmt::Display for TagReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revision(location) => write!(f, "is the tag of a revision {location}"),
            Self::Mentioned(location) => write!(f, "is used {location}"),
            Self::Running(location) => write!(f, "runs, {location}"),
            Self::Pattern => f.write_str("matches prune.protect"),
            Self::CommitId => {
                f.write_str("is a complete commit id, which prune.protect keeps by default")
            }
            Self::NotPending => f.write_str("does not match prune.tags"),
        }
    }
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned(location) => write!(f, "pinned {location}"),
            Self::Running(location) => write!(f, "runs, {location}"),
            Self::History => f.write_str("pinned by a set in promotion history"),
            Self::Mentioned(location) => write!(f, "its digest appears {location}"),
            Self::Tag(tag, reason) => write!(f, "{tag} {reason}"),
            Self::IndexEntry(parent) => write!(f, "part of the index {parent}, which is kept"),
            Self::Parent(entry) => write!(f, "contains {entry}, which is in use by its digest"),
            Self::Subject(referrer) => write!(
                f,
                "is the subject of {referrer}, which is in use by its digest"
            ),
            Self::Referrer(target) => write!(f, "belongs to {target}, which is kept"),
            Self::OtherTag(tag) => write!(
                f,
                "pending, but {tag} is not: deleting it would delete that tag too"
            ),
            Self::Broken(platform) => write!(f, "broken: {platform} is missing"),
            Self::Archived => f.write_str("archived: it may be restored"),
            Self::Pulled(date) => write!(f, "last pulled at {date}"),
            Self::UnknownAge => f.write_str("its age is unknown"),
        }
    }
}

/// A version that may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PrunableVersion {
    pub version: Version,
    /// The creation date.
    pub created: SystemTime,
    /// The reason why it may be deleted.
    pub reason: String,
}

impl PrunableVersion {
    pub(super) fn new(version: &Version, created: SystemTime, age: Duration) -> Self {
        let tags = if version.tags.is_empty() {
            "untagged"
        } else {
            "every tag is pending"
        };
        let reason = format!(
            "{tags}, and it is {} old (of {})",
            days(age),
            date::format(created)
        );
        Self {
            version: version.clone(),
            created,
            reason,
        }
    }
}

fn days(age: Duration) -> String {
    match age.as_secs() / 86_400 {
        0 => format!("{} h", age.as_secs() / 3_600),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

/// A finding that does not refuse the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    /// A stable code.
    pub code: Code,
    /// The finding.
    pub detail: String,
}

/// The approved deletions, which only [`PackageVerdict::approve`] creates.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    order: Vec<PrunableVersion>,
    keep: Vec<Version>,
    fixed: BTreeSet<Digest>,
}

impl PackageVerdict {
    /// Creates the plan, or returns the refusal of the verdict.
    pub(crate) fn approve(&self, listing: &Listing) -> Result<Plan, Error> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        let keep = self
            .protected
            .iter()
            .map(|protected| protected.version.clone())
            .collect();
        let fixed = self
            .protected
            .iter()
            .filter(|protected| !matches!(protected.reason, KeepReason::Referrer(_)))
            .map(|protected| protected.version.digest)
            .collect();
        Ok(Plan {
            order: ordered(&self.candidates, listing)?,
            keep,
            fixed,
        })
    }
}

/// Orders indexes before their entries, and versions before their signatures. If a
/// run stops early, every remaining version has its entries and signatures.
fn ordered(
    candidates: &[PrunableVersion],
    listing: &Listing,
) -> Result<Vec<PrunableVersion>, Error> {
    let edges = edges(candidates, listing);
    let mut ranks = vec![0_usize; candidates.len()];
    let mut is_stable = false;
    while !is_stable {
        is_stable = true;
        for &(first, second) in &edges {
            if ranks[second] > ranks[first] {
                continue;
            }
            ranks[second] = ranks[first] + 1;
            is_stable = false;
            if ranks[second] == candidates.len() {
                // Digests cannot form a cycle, but tags that contain digests can.
                let digest = candidates[second].version.digest;
                let message = format!(
                    "{digest} and others refer to one another in a circle: none can be deleted first"
                );
                return Err(Error::new(Class::Failed, Code::LISTING, message)
                    .help("check their sha256-… tags"));
            }
        }
    }
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|index| ranks[*index]);
    Ok(order
        .into_iter()
        .map(|index| candidates[index].clone())
        .collect())
}

/// The pairs of candidates, by index, where the first must be deleted before the second.
fn edges(candidates: &[PrunableVersion], listing: &Listing) -> Vec<(usize, usize)> {
    let mut indexes: HashMap<Digest, usize> = HashMap::new();
    let mut referrers: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (index, PrunableVersion { version, .. }) in candidates.iter().enumerate() {
        indexes.insert(version.digest, index);
        let node = listing.nodes.get(&version.digest);
        let subject = node.and_then(|node| node.subject);
        for subject in version.tag_subjects().chain(subject) {
            referrers.entry(subject).or_default().push(index);
        }
    }
    let mut edges = Vec::new();
    for (first, candidate) in candidates.iter().enumerate() {
        // An entry may be no version, but its signatures are still deleted after the index.
        let digest = candidate.version.digest;
        for part in std::iter::once(digest).chain(listing.parts(digest)) {
            let entry = indexes.get(&part);
            for &second in entry
                .into_iter()
                .chain(referrers.get(&part).into_iter().flatten())
            {
                if second != first {
                    edges.push((first, second));
                }
            }
        }
    }
    edges
}

impl Plan {
    /// The versions to delete, in this order.
    pub(crate) fn order(&self) -> &[PrunableVersion] {
        &self.order
    }

    /// The versions that must exist afterwards.
    pub(crate) fn keep(&self) -> &[Version] {
        &self.keep
    }

    /// The versions that stay even if they are attached to a version to delete, unlike those that stay only because of
    /// their subject.
    pub(super) fn fixed(&self) -> &BTreeSet<Digest> {
        &self.fixed
    }
}

/// The warnings about skipped dangling tags.
pub(super) fn warnings(listing: &Listing) -> Vec<Warning> {
    let warning = |dangling: &Dangling| Warning {
        code: Code::TAG_DANGLING,
        detail: format!(
            "tag {} is dangling: the registry lists it, but its manifest is missing; it protects \
             nothing",
            dangling.tag
        ),
    };
    listing.dangling.iter().map(warning).collect()
}
