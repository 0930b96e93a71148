//! Verdicts on the tags that are written in pins: a tag with the form of `revision.tag` claims a revision, and
//! a reader believes it, although engines use only the digest.
//!
//! The verdict on an abbreviated revision: the labels of the images contain the full one.

use std::collections::BTreeMap;

use super::{
    Check, Code, FileLocation, Resolution, Status, Stopped,
    pins::location_of,
    set::{annotation_help, excerpt, resolved_image, unstated},
};
use crate::{
    base::{error::Error, text::few},
    config::{Config, Image},
    core::{
        history::History,
        pins::{FoundPins, Located, Pin},
    },
    oci::{Digest, Revision, Tag, registry::resolve::PlatformFacts},
};

/// The maximum number of claims in a detail; further ones are counted.
const MAX_LISTED: usize = 20;

/// A tag in a pin that claims a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimingTag {
    /// The index of the image in the configuration.
    pub image: usize,
    pub digest: Digest,
    pub tag: Tag,
    location: FileLocation,
}

impl ClaimingTag {
    /// The part of the tag that is the revision, or its first digits.
    fn claim<'t>(&'t self, config: &Config) -> &'t str {
        let form = &config.revision.tag_form;
        form.revision_in(self.tag.as_str()).unwrap_or_default()
    }
}

/// The tags that claim a revision, in the order of the pins.
pub(crate) fn claiming_tags(config: &Config, found: &FoundPins) -> Vec<ClaimingTag> {
    let mut claims = Vec::new();
    for pin in found.pins() {
        for tag in tags_of(pin) {
            if config.revision.tag_form.revision_in(tag.as_str()).is_some() {
                claims.push(ClaimingTag {
                    image: pin.item.image,
                    digest: pin.item.digest,
                    tag: tag.clone(),
                    location: location_of(pin),
                });
            }
        }
    }
    claims
}

/// The tag of a pin, and the one in a comment that promotions rewrite.
fn tags_of(pin: &Located<Pin>) -> impl Iterator<Item = &Tag> {
    let comment = pin.item.comment.as_ref().filter(|comment| comment.moves);
    pin.item
        .tag
        .iter()
        .chain(comment.map(|comment| &comment.tag))
}

/// Checks without a registry that the tags of one digest claim one revision, and that of the commit that
/// recorded the digest. `history`: as far as the clone contains it.
pub(crate) fn check_pin_tags(
    config: &Config,
    claims: &[ClaimingTag],
    history: Result<Option<&History>, String>,
) -> Vec<Check> {
    let mut by_digest: BTreeMap<(usize, Digest), Vec<&ClaimingTag>> = BTreeMap::new();
    for claim in claims {
        by_digest
            .entry((claim.image, claim.digest))
            .or_default()
            .push(claim);
    }
    let mut checks = Vec::new();
    for ((index, digest), claims) in by_digest {
        let image = &config.images[index];
        let recorded = match &history {
            Ok(Some(history)) => history.revision_of(&[(image.name.clone(), digest)].into()),
            Ok(None) | Err(_) => None,
        };
        checks.push(check_digest_claims(
            config, image, digest, &claims, recorded,
        ));
    }
    if let (Err(reason), false) = (history, claims.is_empty()) {
        let detail = format!("the tags of the pins were not compared with history: {reason}");
        checks.push(Check::new(Code::PIN_TAG, Status::Warn, detail));
    }
    checks
}

fn check_digest_claims(
    config: &Config,
    image: &Image,
    digest: Digest,
    claims: &[&ClaimingTag],
    recorded: Option<&Revision>,
) -> Check {
    let check = |status, detail| Check::new(Code::PIN_TAG, status, detail).image(&image.name);
    let first = claims[0].claim(config);
    let fail = |detail| {
        let locations = claims.iter().map(|claim| claim.location.clone());
        check(Status::Fail, detail).locations(locations.collect())
    };
    if claims.iter().any(|other| other.claim(config) != first) {
        let mentions = claims
            .iter()
            .map(|claim| format!("{} at {}", claim.tag, claim.location));
        return fail(format!(
            "the pins of {digest} claim different revisions: {}",
            few(mentions, MAX_LISTED)
        ));
    }
    if let Some(revision) = recorded {
        match config.revision.tag.tag(revision) {
            Ok(pattern) if pattern.matches(&claims[0].tag) => {}
            Ok(_) => {
                return fail(format!(
                    "the tag {} at {} claims another revision than {revision}, with which history records {digest}",
                    claims[0].tag, claims[0].location
                ));
            }
            Err(error) => {
                let digest = digest.short();
                let detail = format!("cannot compare the tags of {digest} with history: {error}");
                return check(Status::Warn, detail);
            }
        }
    }
    let detail = format!("the pins of {} claim {first}", digest.short());
    check(Status::Pass, detail)
}

/// The digest that a claiming tag resolves to; `None` if the tag is missing.
pub(crate) type ClaimResolution = Result<Option<Digest>, Error>;

/// Compares a claiming tag with the registry: it resolves to the pinned digest. A missing tag is only a
/// warning, because the digest is what is deployed.
pub(crate) fn check_claiming_tag(
    config: &Config,
    claim: &ClaimingTag,
    resolved: &ClaimResolution,
) -> (Check, Option<Error>) {
    let image = &config.images[claim.image];
    let check = |status, detail| {
        Check::new(Code::PIN_TAG, status, detail)
            .image(&image.name)
            .locations(vec![claim.location.clone()])
    };
    let tag = format!("{}:{}", image.repository, claim.tag);
    match resolved {
        Ok(Some(digest)) if *digest == claim.digest => {
            let detail = format!("{tag} resolves to the pinned digest");
            (check(Status::Pass, detail), None)
        }
        Ok(Some(digest)) => {
            let detail = format!(
                "{}: {tag} resolves to {digest}, but {} is pinned",
                claim.location, claim.digest
            );
            (check(Status::Fail, detail), None)
        }
        Ok(None) => {
            let detail = format!("{}: {tag} does not exist any more", claim.location);
            (check(Status::Warn, detail), None)
        }
        Err(error) => (check(Status::Skip, error.to_string()), Some(error.clone())),
    }
}

/// The revision that begins with `abbreviation` and is in the label of every image and platform.
/// `resolutions`: one for each image of the configuration, `None` for an image that is not required.
pub(crate) fn full_revision(
    config: &Config,
    abbreviation: &str,
    resolutions: &[Option<&Resolution>],
) -> Result<Revision, Stopped> {
    let (mut checks, mut errors) = (Vec::new(), Vec::new());
    let mut revisions: Vec<(String, Revision)> = Vec::new();
    for (image, resolution) in config.images.iter().zip(resolutions) {
        let Some(resolution) = resolution else {
            continue;
        };
        let platforms = match resolved_image(config, image, resolution) {
            Ok(found) => &found.facts.platforms,
            Err(Ok(failure)) => {
                checks.push(failure);
                continue;
            }
            Err(Err(error)) => {
                errors.push(error);
                continue;
            }
        };
        for platform in platforms {
            match revision_in_label(config, abbreviation, image, platform) {
                Ok(revision) => {
                    revisions.push((format!("{} {}", image.name, platform.platform), revision));
                }
                Err(failure) => checks.push(*failure),
            }
        }
    }
    let differs = revisions.iter().any(|(_, other)| *other != revisions[0].1);
    if differs {
        let found = revisions
            .iter()
            .map(|(image, revision)| format!("{image}: {revision}"));
        let detail = format!(
            "the images of `{abbreviation}` have different revisions: {}",
            few(found, MAX_LISTED)
        );
        let help = "specify the full revision, and check which of its images the tag resolves to";
        checks.push(Check::new(Code::SET_DISAGREE, Status::Fail, detail).help(help));
    }
    if checks.is_empty() && errors.is_empty() {
        if let Some((_, revision)) = revisions.pop() {
            return Ok(revision);
        }
        let detail = format!("no image has a label with the revision `{abbreviation}`");
        checks.push(Check::new(Code::REVISION_LABEL, Status::Fail, detail));
    }
    Err(Stopped { checks, errors })
}

/// The revision in the label of a platform, or the failure if it does not begin with `abbreviation`.
fn revision_in_label(
    config: &Config,
    abbreviation: &str,
    image: &Image,
    facts: &PlatformFacts,
) -> Result<Revision, Box<Check>> {
    let label = &config.revision.label;
    let expected = format!("expected a revision that begins with `{abbreviation}`");
    let stated = facts.stated_revision(config.revision.field());
    let detail = match stated.text() {
        None => format!("{}, {expected}", unstated(label, stated)),
        Some(value) => match config.revision.pattern.complete(abbreviation, value) {
            Some(revision) => return Ok(revision),
            None => format!("{label} is `{}`, {expected}", excerpt(value)),
        },
    };
    let check = Check::new(Code::REVISION_LABEL, Status::Fail, detail)
        .image(&image.name)
        .platform(&facts.platform)
        .item(label.as_str())
        .with_help(annotation_help(stated));
    Err(Box::new(check))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::error::Error,
        config,
        core::checks::set::Target,
        oci::{Tag, TagPattern},
    };

    #[test]
    fn revision_that_no_image_confirms_is_refused() {
        let config = config::example(
            "version: 1\nfiles: [x]\nimages: { a: { repository: r.example/a, pins: 1 } }\n",
        );
        let stopped = full_revision(&config, "abc1234", &[None]).unwrap_err();
        let codes: Vec<_> = stopped.checks.iter().map(|check| check.code).collect();
        assert_eq!(codes, [Code::REVISION_LABEL]);
        let unavailable = Resolution {
            target: Target::new(TagPattern::Tag(Tag::parse("abc1234").unwrap())),
            found: Err(Error::unavailable("r.example", "timeout").into()),
            recorded: None,
            bypassed: None,
            old_platforms: Vec::new(),
        };
        let stopped = full_revision(&config, "abc1234", &[Some(&unavailable)]).unwrap_err();
        assert_eq!((stopped.checks.len(), stopped.errors.len()), (0, 1));
    }
}
