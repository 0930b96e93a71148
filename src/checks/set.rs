//! Verdicts on the resolved images of a set: tag, digest, manifest, labels, platforms.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};

use super::{Check, Code, Status};
use crate::{
    config::{Config, Image},
    error::{Class, Error},
    git::ObjectId,
    history::Promoted,
    oci::{Digest, Platform, Revision, Tag},
    registry::resolve::{ImageFacts, PlatformFacts},
    untrusted::short,
};

/// The tag to resolve for one image, and the expected digest.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub tag: Tag,
    /// The digest that the tag must resolve to, if it is known.
    pub expected: Option<Expected>,
    /// The distinct digests that are pinned now.
    pub pinned: Vec<Digest>,
}

/// A digest that a tag must resolve to, with its origin.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    /// The build reported it, by `--digest`.
    HandedOver(Digest),
    Pinned(PinnedDigest),
}

/// The digest with which a set was promoted.
#[derive(Debug, Clone)]
pub(crate) struct PinnedDigest {
    digest: Digest,
    /// The short id of the commit that pinned it.
    commit: String,
    /// The commits that introduced the digests of the image.
    introduced: BTreeMap<Digest, ObjectId>,
}

impl PinnedDigest {
    /// The digest of an image of a promoted set.
    pub(crate) fn of(image: &str, promoted: &Promoted) -> Option<Self> {
        Some(Self {
            digest: *promoted.images.get(image)?,
            commit: promoted.commit.short(),
            introduced: promoted.introduced.get(image).cloned().unwrap_or_default(),
        })
    }
}

/// The result of resolving one image's tag.
#[derive(Debug)]
pub(crate) struct Resolution {
    pub target: Target,
    /// The resolved image; `None` if the tag does not exist.
    pub found: Result<Option<ImageFacts>, Error>,
    /// The platforms of each pinned digest that would be replaced.
    pub old_platforms: Vec<(Digest, OldPlatforms)>,
}

type OldPlatforms = Result<Vec<Platform>, Error>;

/// The checks of one image, or the error that prevented them.
pub(crate) fn resolved(
    config: &Config,
    image: &Image,
    revision: &Revision,
    resolution: &Resolution,
) -> (Vec<Check>, Option<Error>) {
    let check = |code, status, detail: String| Check::new(code, status, detail).image(&image.name);
    let tag = &resolution.target.tag;
    let facts = match &resolution.found {
        Ok(Some(facts)) => facts,
        Ok(None) => {
            let absence = image
                .repository
                .absence(format!("{}:{tag}", image.repository));
            let missing = check(Code::TAG_MISSING, Status::Fail, absence.detail)
                .item(tag.as_str())
                .cause(tag_missing(tag))
                .with_help(absence.help);
            return (vec![missing], None);
        }
        Err(error) if error.class == Class::Ambiguous => {
            let detail = error.evidence();
            return (
                vec![check(Code::MANIFEST_AMBIGUOUS, Status::Fail, detail).cause(&error.message)],
                None,
            );
        }
        Err(error) => return (Vec::new(), Some(error.clone())),
    };
    let mut checks = vec![
        check(
            Code::TAG_MISSING,
            Status::Pass,
            format!("{tag} resolves to {}", facts.digest),
        ),
        check(
            Code::MANIFEST_AMBIGUOUS,
            Status::Pass,
            format!("one {}", facts.media_type),
        ),
    ];
    checks.extend(digest(image, &resolution.target, facts));
    checks.extend(platforms(&image.name, facts));
    for platform in &facts.platforms {
        checks.push(revision_label(config, image, revision, platform));
    }
    if let Some(inventory) = config.inventory_of(image) {
        for platform in &facts.platforms {
            let required = &inventory.required_labels;
            checks.extend(required_labels(required, &image.name, platform));
        }
    }
    checks.extend(lost_platforms(&image.name, resolution, facts));
    (checks, None)
}

/// Compares the digest of a tag with the expected one; `None` if no digest is expected.
pub(super) fn digest(image: &Image, target: &Target, facts: &ImageFacts) -> Option<Check> {
    let check =
        |status, detail| Check::new(Code::DIGEST_MISMATCH, status, detail).image(&image.name);
    let name = format!("{}:{}", image.repository, target.tag);
    let found = facts.digest;
    let (expected, origin) = match target.expected.as_ref()? {
        Expected::HandedOver(digest) => (*digest, "--digest expects".to_owned()),
        Expected::Pinned(pinned) => (pinned.digest, format!("commit {} pinned", pinned.commit)),
    };
    if expected == found {
        let detail = format!("{name} resolves to {expected}, which {origin}");
        return Some(check(Status::Pass, detail));
    }
    let cause = digest_mismatch(&target.tag);
    if let Expected::Pinned(pinned) = target.expected.as_ref()?
        && let Some(other) = pinned.introduced.get(&found)
    {
        let (other, commit) = (other.short(), &pinned.commit);
        let detail = format!(
            "{name} resolves to {found}, which commit {other} introduced, but {origin} {expected}"
        );
        let help = format!(
            "compare commits {other} and {commit}: one of them may state the wrong revision; if \
             {commit} is right, find out who moved the tag"
        );
        return Some(check(Status::Fail, detail).cause(cause).help(help));
    }
    let detail = format!("{name} resolves to {found}, but {origin} {expected}");
    Some(check(Status::Fail, detail).cause(cause))
}

/// The cause that images without the revision's tag share.
pub(super) fn tag_missing(tag: &Tag) -> String {
    format!("tag `{tag}` does not exist")
}

/// The cause that images with a moved tag share.
pub(super) fn digest_mismatch(tag: &Tag) -> String {
    format!("tag `{tag}` does not resolve to the expected digest")
}

fn revision_label(
    config: &Config,
    image: &Image,
    revision: &Revision,
    facts: &PlatformFacts,
) -> Check {
    let label = &config.revision.label;
    let found = facts.config.labels.get(label);
    let pattern = &config.revision.pattern;
    let (status, detail) = match found {
        Some(found) if pattern.revision_in_label(found).as_ref() == Ok(revision) => {
            (Status::Pass, format!("{label} is {}", excerpt(found)))
        }
        Some(found) => (
            Status::Fail,
            format!("{label} is `{}`, expected `{revision}`", excerpt(found)),
        ),
        None => (
            Status::Fail,
            format!("{label} is missing, expected `{revision}`"),
        ),
    };
    Check::new(Code::REVISION_LABEL, status, detail)
        .image(&image.name)
        .platform(&facts.platform)
        .item(label.as_str())
}

/// Checks that required labels are present and not empty, on one platform of the image `image`.
pub(crate) fn required_labels(
    required: &[String],
    image: &str,
    facts: &PlatformFacts,
) -> Vec<Check> {
    let check = |status, detail: String| {
        Check::new(Code::LABEL_MISSING, status, detail)
            .image(image)
            .platform(&facts.platform)
    };
    let mut failures = Vec::new();
    for label in required {
        let value = facts.config.labels.get(label);
        if value.is_none_or(|value| value.trim().is_empty()) {
            let detail = format!("{label} is missing or empty");
            failures.push(check(Status::Fail, detail).item(label));
        }
    }
    if failures.is_empty() && !required.is_empty() {
        let detail = format!("{} required labels are present", required.len());
        return vec![check(Status::Pass, detail)];
    }
    failures
}

/// The failures if the platforms of an index differ from those of its images, or are duplicate:
/// container engines select an image by the index only.
pub(super) fn platforms(image: &str, facts: &ImageFacts) -> Vec<Check> {
    let fail = |code, platform: &Platform, detail: String| {
        let check = Check::new(code, Status::Fail, detail).image(image);
        check.platform(platform)
    };
    let mut checks = Vec::new();
    for (index, found) in facts.platforms.iter().enumerate() {
        let (listed, config) = (&found.platform, &found.config.platform);
        if !listed.matches_config(config) {
            let detail = format!(
                "the index lists {} for {listed}, but its configuration is for {config}",
                found.digest
            );
            checks.push(fail(Code::PLATFORM_MISMATCH, listed, detail));
        }
        let mut earlier = facts.platforms[..index].iter();
        let duplicate = earlier.find(|other| other.platform.normalized() == listed.normalized());
        if let Some(duplicate) = duplicate {
            let detail = format!(
                "the index lists {} for {} and {} for {listed}",
                duplicate.digest, duplicate.platform, found.digest
            );
            checks.push(fail(Code::PLATFORM_DUPLICATE, listed, detail));
        }
    }
    checks
}

/// Checks that no two images of the set have the same digest: one of the two tags was moved, or one
/// image has two names. It is a failure with `verify`, unless `signed_as` of one image lists the
/// other's repository. An image with `pins: 0` is not deployed and may equal another one.
pub(crate) fn shared_digests(config: &Config, digests: &[(usize, Digest)]) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut first_images: HashMap<Digest, &Image> = HashMap::new();
    for (image, digest) in digests {
        let later = &config.images[*image];
        if later.pins == 0 && config.fleet.is_none() {
            continue;
        }
        let earlier = match first_images.entry(*digest) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                entry.insert(later);
                continue;
            }
        };
        let is_declared = earlier.signed_as.contains(&later.repository)
            || later.signed_as.contains(&earlier.repository);
        let status = if config.verify.is_some() && !is_declared {
            Status::Fail
        } else {
            Status::Warn
        };
        let detail = format!(
            "`{}` and `{}` have one digest, {digest}",
            earlier.name, later.name
        );
        checks.push(Check::new(Code::DIGEST_SHARED, status, detail).image(&later.name));
    }
    checks
}

fn lost_platforms(image: &str, resolution: &Resolution, facts: &ImageFacts) -> Vec<Check> {
    let check =
        |status, detail: String| Check::new(Code::PLATFORM_LOST, status, detail).image(image);
    let new: BTreeSet<_> = facts.platforms.iter().map(|p| &p.platform).collect();
    let mut checks = Vec::new();
    for (digest, old) in &resolution.old_platforms {
        match old {
            Ok(old) => {
                let lost: Vec<_> = old
                    .iter()
                    .filter(|platform| !new.contains(platform))
                    .collect();
                if lost.is_empty() {
                    checks.push(check(
                        Status::Pass,
                        format!("no platform of {} is lost", digest.short()),
                    ));
                }
                for platform in lost {
                    let detail = format!("{digest} has {platform}, but {} does not", facts.digest);
                    let cause = format!("the new image lacks {platform}");
                    checks.push(check(Status::Warn, detail).platform(platform).cause(cause));
                }
            }
            Err(error) => checks.push(check(
                Status::Skip,
                format!("cannot read {digest}: {error}"),
            )),
        }
    }
    checks
}

/// External text on one line, escaped and shortened.
pub(super) fn excerpt(text: &str) -> String {
    short(text, 200)
}
