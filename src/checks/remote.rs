//! What `check --remote` asks: whether the set that is pinned now is what it claims to be.

use super::{Check, Code, FilePlace, Status, pins::place_of, set::shown};
use crate::{
    config::{Config, Image},
    error::{Class, Error},
    history::Provenance,
    oci::{Digest, Revision, Tag},
    pins::Found,
    registry::resolve::ImageFacts,
};

/// A pinned image, and what its digest names.
#[derive(Debug)]
pub struct Pinned {
    /// Which image, by its place in the configuration.
    pub image: usize,
    /// The digest of all its pins.
    pub digest: Digest,
    /// What the source has; `None`: no such digest.
    pub found: Result<Option<ImageFacts>, Error>,
}

/// What the revision's tag of a pinned image names; `None`: no such tag.
pub type Tagged = Result<Option<Digest>, Error>;

/// The checks of the pinned digests by themselves, what could not be judged, and the revision that
/// all of them claim.
pub fn claims(
    config: &Config,
    pinned: &[Pinned],
    found: &Found,
) -> (Vec<Check>, Vec<Error>, Option<Revision>) {
    let (mut checks, mut outages, mut revisions) = (Vec::new(), Vec::new(), Vec::new());
    for one in pinned {
        let image = &config.images[one.image];
        let check = |code, status, detail: String| {
            let check = Check::new(code, status, detail).image(&image.name);
            if status == Status::Fail {
                check.places(places(found, one.image))
            } else {
                check
            }
        };
        match &one.found {
            Ok(Some(facts)) => {
                let exists = format!("{} exists", one.digest);
                checks.push(check(Code::DIGEST_MISSING, Status::Pass, exists));
                revisions.push((&image.name, labels(config, facts, &check, &mut checks)));
            }
            Ok(None) => {
                let detail = format!("{}@{} does not exist", image.repository, one.digest);
                checks.push(check(Code::DIGEST_MISSING, Status::Fail, detail));
            }
            Err(error) if error.class == Class::Ambiguous => {
                checks.push(check(
                    Code::MANIFEST_AMBIGUOUS,
                    Status::Fail,
                    error.evidence(),
                ));
            }
            Err(error) => {
                checks.push(check(Code::DIGEST_MISSING, Status::Skip, error.to_string()));
                outages.push(error.clone());
            }
        }
    }
    let revision = agreed(&revisions, &mut checks);
    (checks, outages, revision)
}

/// The revision that an image's label names on every platform.
fn labels(
    config: &Config,
    facts: &ImageFacts,
    check: &dyn Fn(Code, Status, String) -> Check,
    checks: &mut Vec<Check>,
) -> Option<Revision> {
    let label = &config.revision.label;
    let mut revisions = Vec::new();
    for platform in &facts.platforms {
        let value = platform.config.labels.get(label);
        let parsed = value.and_then(|value| config.revision.pattern.revision(value).ok());
        let (status, detail) = match (&parsed, value) {
            (Some(revision), _) if revisions.first().is_none_or(|first| first == revision) => {
                (Status::Pass, format!("{label} is {revision}"))
            }
            (Some(revision), _) => (
                Status::Fail,
                format!(
                    "{label} is {revision}, on another platform {}",
                    revisions[0]
                ),
            ),
            (None, Some(value)) => (
                Status::Fail,
                format!("{label} is `{}`, which is no revision", shown(value)),
            ),
            (None, None) => (Status::Fail, format!("{label} is absent")),
        };
        checks.push(
            check(Code::REVISION_LABEL, status, detail)
                .platform(&platform.platform)
                .item(label.as_str()),
        );
        revisions.extend(parsed);
    }
    let whole = revisions.len() == facts.platforms.len()
        && revisions.iter().all(|revision| *revision == revisions[0]);
    whole.then(|| revisions.swap_remove(0))
}

/// The one revision of all images, if each has one and they agree.
fn agreed(revisions: &[(&String, Option<Revision>)], checks: &mut Vec<Check>) -> Option<Revision> {
    let mut known = revisions
        .iter()
        .filter_map(|(name, revision)| Some((name, revision.as_ref()?)));
    let (_, first) = known.next()?;
    if known.clone().all(|(_, revision)| revision == first) {
        checks.push(Check::new(
            Code::SET_DISAGREE,
            Status::Pass,
            format!("every label names {first}"),
        ));
        return revisions
            .iter()
            .all(|(_, revision)| revision.is_some())
            .then(|| first.clone());
    }
    let shown = revisions
        .iter()
        .filter_map(|(name, revision)| Some(format!("{name}: {}", revision.as_ref()?)));
    let detail = format!(
        "the pinned images are of different revisions: {}",
        shown.collect::<Vec<_>>().join(", ")
    );
    checks.push(Check::new(Code::SET_DISAGREE, Status::Fail, detail));
    None
}

impl Pinned {
    /// Whether the revision's tag still names what is pinned.
    pub fn tagged(
        &self,
        image: &Image,
        tag: &Tag,
        named: &Tagged,
        found: &Found,
    ) -> (Check, Option<Error>) {
        let name = format!("{}:{tag}", image.repository);
        let check =
            |code, status, detail: String| Check::new(code, status, detail).image(&image.name);
        let fail =
            |code, detail| check(code, Status::Fail, detail).places(places(found, self.image));
        match named {
            Ok(Some(digest)) if *digest == self.digest => (
                check(
                    Code::DIGEST_MISMATCH,
                    Status::Pass,
                    format!("{name} names what is pinned"),
                ),
                None,
            ),
            Ok(Some(digest)) => (
                fail(
                    Code::DIGEST_MISMATCH,
                    format!("{name} names {digest}, but {} is pinned", self.digest),
                ),
                None,
            ),
            Ok(None) => (
                fail(Code::TAG_MISSING, format!("{name} does not exist")),
                None,
            ),
            Err(error) if error.class == Class::Ambiguous => {
                (fail(Code::MANIFEST_AMBIGUOUS, error.evidence()), None)
            }
            Err(error) => (
                check(Code::DIGEST_MISMATCH, Status::Skip, error.to_string()),
                Some(error.clone()),
            ),
        }
    }
}

/// Provenance of what is pinned now: missing, it only warns, since a promote's own change is not on
/// the branch yet.
pub fn provenance_warns(revision: &Revision, provenance: &Result<Provenance, String>) -> Check {
    let check = |status, detail: String| Check::new(Code::PROVENANCE_TITLE, status, detail);
    match provenance {
        Ok(Provenance::Found(promoted)) => check(
            Status::Pass,
            format!(
                "commit {} of {} promoted {revision}",
                promoted.commit.short(),
                promoted.date
            ),
        ),
        Ok(Provenance::Shallow) => check(
            Status::Warn,
            "the clone is too shallow to tell whether it was promoted".into(),
        ),
        Ok(_) => check(
            Status::Warn,
            format!("no commit of the promoted branch promoted {revision} (yet)"),
        ),
        Err(why) => check(Status::Skip, why.clone()),
    }
}

fn places(found: &Found, image: usize) -> Vec<FilePlace> {
    found.pins_of(image).map(place_of).collect()
}

#[cfg(test)]
mod tests;
