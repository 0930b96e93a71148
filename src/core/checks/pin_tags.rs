//! Verdicts on the tags that are written in pins: a tag with the form of `revision.tag` claims a revision, and
//! a reader believes it, although engines use only the digest.

use std::collections::BTreeMap;

use super::{Check, Code, FileLocation, Status, pins::location_of};
use crate::{
    base::{error::Error, text::few},
    config::{Config, Image},
    core::{
        history::History,
        pins::{Found, Located, Pin},
    },
    oci::{Digest, Revision, Tag},
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
pub(crate) fn claiming_tags(config: &Config, found: &Found) -> Vec<ClaimingTag> {
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
