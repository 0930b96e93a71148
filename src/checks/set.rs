//! What the source has to show about each image of a set: tag, digest, manifest, labels, platforms.

use std::collections::BTreeSet;

use super::{Check, Code, Status};
use crate::{
    config::{Config, Image},
    error::{Class, Error},
    oci::{Digest, Platform, Revision, Tag},
    registry::resolve::{ImageFacts, PlatformFacts},
    untrusted::short,
};

/// What is wanted of one image.
#[derive(Debug, Clone)]
pub struct Target {
    /// The tag that is resolved.
    pub tag: Tag,
    /// The digest that the tag has to name, if there is one.
    pub expected: Option<Expected>,
    /// The digests that are pinned now, each once.
    pub pinned: Vec<Digest>,
}

/// A digest that a tag has to name, and who says so.
#[derive(Debug, Clone)]
pub enum Expected {
    /// The build handed it over.
    HandedOver(Digest),
    /// A commit, called by its short name, pinned it.
    PinnedBy(String, Digest),
}

/// What was found out about one image.
#[derive(Debug)]
pub struct Resolution {
    /// What was wanted.
    pub target: Target,
    /// What the tag names; `None`: there is no such tag.
    pub found: Result<Option<ImageFacts>, Error>,
    /// For each pinned digest that would go: its platforms.
    pub old_platforms: Vec<(Digest, OldPlatforms)>,
}

/// The platforms of a digest that would go.
type OldPlatforms = Result<Vec<Platform>, Error>;

/// The checks of one image, and the error that left it unjudged.
pub fn resolved(
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
            let detail = format!("{}:{tag} does not exist", image.repository);
            return (
                vec![check(Code::TAG_MISSING, Status::Fail, detail).item(tag.as_str())],
                None,
            );
        }
        Err(error) if error.class == Class::Ambiguous => {
            let detail = error.evidence();
            return (
                vec![check(Code::MANIFEST_AMBIGUOUS, Status::Fail, detail)],
                None,
            );
        }
        Err(error) => return (Vec::new(), Some(error.clone())),
    };
    let mut checks = vec![
        check(
            Code::TAG_MISSING,
            Status::Pass,
            format!("{tag} names {}", facts.digest),
        ),
        check(
            Code::MANIFEST_AMBIGUOUS,
            Status::Pass,
            format!("one {}", facts.media_type),
        ),
    ];
    checks.extend(digest(image, &resolution.target, facts));
    checks.extend(
        facts
            .platforms
            .iter()
            .map(|platform| label(config, image, revision, platform)),
    );
    let required = config
        .inventory
        .as_ref()
        .map_or(&[][..], |inventory| &inventory.required_labels);
    checks.extend(
        facts
            .platforms
            .iter()
            .flat_map(|platform| required_labels(required, &image.name, platform)),
    );
    checks.extend(lost_platforms(&image.name, resolution, facts));
    (checks, None)
}

fn digest(image: &Image, target: &Target, facts: &ImageFacts) -> Option<Check> {
    let (expected, why) = match target.expected.as_ref()? {
        Expected::HandedOver(digest) => (*digest, "was handed over".to_owned()),
        Expected::PinnedBy(commit, digest) => (*digest, format!("was pinned by commit {commit}")),
    };
    let name = format!("{}:{}", image.repository, target.tag);
    let (status, detail) = if expected == facts.digest {
        (
            Status::Pass,
            format!("{name} names {expected}, which {why}"),
        )
    } else {
        (
            Status::Fail,
            format!("{name} names {}, but {expected} {why}", facts.digest),
        )
    };
    Some(Check::new(Code::DIGEST_MISMATCH, status, detail).image(&image.name))
}

fn label(config: &Config, image: &Image, revision: &Revision, facts: &PlatformFacts) -> Check {
    let label = &config.revision.label;
    let found = facts.config.labels.get(label);
    let (status, detail) = match found {
        Some(found) if found == revision.as_str() => {
            (Status::Pass, format!("{label} is {revision}"))
        }
        Some(found) => (
            Status::Fail,
            format!("{label} is `{}`, expected `{revision}`", shown(found)),
        ),
        None => (
            Status::Fail,
            format!("{label} is absent, expected `{revision}`"),
        ),
    };
    Check::new(Code::REVISION_LABEL, status, detail)
        .image(&image.name)
        .platform(&facts.platform)
        .item(label.as_str())
}

/// Labels that have to be there and hold something, on one platform of the image called `image`.
pub fn required_labels(required: &[String], image: &str, facts: &PlatformFacts) -> Vec<Check> {
    let check = |status, detail: String| {
        Check::new(Code::LABEL_MISSING, status, detail)
            .image(image)
            .platform(&facts.platform)
    };
    let absent = |label: &&String| {
        facts
            .config
            .labels
            .get(*label)
            .is_none_or(|value| value.trim().is_empty())
    };
    let missing: Vec<_> = required.iter().filter(absent).collect();
    if missing.is_empty() && !required.is_empty() {
        return vec![check(
            Status::Pass,
            format!("{} required labels are there", required.len()),
        )];
    }
    let fail = |label: &&String| {
        check(Status::Fail, format!("{label} is absent or empty")).item(label.as_str())
    };
    missing.iter().map(fail).collect()
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
                        format!("every platform of {} is there", digest.short()),
                    ));
                }
                let warn = |platform: &&Platform| {
                    let detail = format!("{digest} has {platform}, {} has not", facts.digest);
                    check(Status::Warn, detail).platform(*platform)
                };
                checks.extend(lost.iter().map(warn));
            }
            Err(error) => checks.push(check(
                Status::Skip,
                format!("{digest} can't be read: {error}"),
            )),
        }
    }
    checks
}

/// Foreign text on one line, made harmless and short.
pub(super) fn shown(text: &str) -> String {
    short(text, 200)
}
