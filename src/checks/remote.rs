//! Verdicts of `check --remote`: the pinned set compared with its tags, labels and history.

use super::{
    Check, Code, FileLocation, Status,
    pins::{check_image_comments, location_of},
    set::{check_platforms, digest_mismatch, excerpt, no_tag},
};
use crate::{
    config::{Config, RevisionTagError},
    error::{Class, Error},
    history::Provenance,
    oci::{Digest, Revision, Tag, TagPattern},
    pins::{Found, Pin},
    registry::{NoTag, resolve::ImageFacts},
};

/// A pinned image and its resolved digest.
#[derive(Debug)]
pub(crate) struct PinnedImage {
    /// The index of the image in the configuration.
    pub image: usize,
    /// The digest of all its pins.
    pub digest: Digest,
    /// The resolved image; `None` if the digest does not exist.
    pub found: Result<Option<ImageFacts>, Error>,
}

/// The revision's tag of a pinned image with the digest that it resolves to, or the reason that there is
/// none.
pub(crate) type TagDigest = Result<Result<(Tag, Digest), NoTag>, Error>;

/// The checks of the pinned digests, the errors that prevented checks, and the revision in all of
/// their labels.
pub(crate) fn check_pinned_images(
    config: &Config,
    pinned: &[PinnedImage],
    found: &Found,
) -> (Vec<Check>, Vec<Error>, Option<Revision>) {
    let (mut checks, mut outages, mut revisions) = (Vec::new(), Vec::new(), Vec::new());
    for pinned in pinned {
        let image = &config.images[pinned.image];
        let check = |code, status, detail: String| {
            let check = Check::new(code, status, detail).image(&image.name);
            if status == Status::Fail {
                check.locations(locations(found, pinned.image))
            } else {
                check
            }
        };
        match &pinned.found {
            Ok(Some(facts)) => {
                let detail = format!("{} exists", pinned.digest);
                checks.push(check(Code::DIGEST_MISSING, Status::Pass, detail));
                checks.extend(check_platforms(&image.name, facts));
                let revision = check_labels(config, facts, &check, &mut checks);
                let tag = match &revision {
                    Some(revision) => config.revision.exact_tag(revision),
                    None => None,
                };
                // A pin with a tag is compared with that tag, without a registry.
                let tag_of = |pin: &Pin| match pin.tag {
                    Some(_) => None,
                    None => tag.clone(),
                };
                checks.extend(check_image_comments(config, found, pinned.image, &tag_of));
                revisions.push((&image.name, revision));
            }
            Ok(None) => {
                let repository = &image.repository;
                let absence = repository.absence(format!("{repository}@{}", pinned.digest));
                checks.push(
                    check(Code::DIGEST_MISSING, Status::Fail, absence.detail)
                        .cause("the pinned digest does not exist")
                        .with_help(absence.help),
                );
            }
            Err(error) if error.class == Class::Ambiguous => {
                checks.push(
                    check(Code::MANIFEST_AMBIGUOUS, Status::Fail, error.evidence())
                        .cause(&error.message),
                );
            }
            Err(error) => {
                checks.push(check(Code::DIGEST_MISSING, Status::Skip, error.to_string()));
                outages.push(error.clone());
            }
        }
    }
    let revision = common_revision(&revisions, &mut checks);
    (checks, outages, revision)
}

/// The revision in an image's labels, if all platforms have the same.
fn check_labels(
    config: &Config,
    facts: &ImageFacts,
    check: &dyn Fn(Code, Status, String) -> Check,
    checks: &mut Vec<Check>,
) -> Option<Revision> {
    let label = &config.revision.label;
    let mut revisions = Vec::new();
    for platform in &facts.platforms {
        let value = platform.config.labels.get(label);
        let parsed = value.and_then(|value| config.revision.pattern.revision_in_label(value).ok());
        let (status, detail) = match (&parsed, value) {
            (Some(revision), _) if revisions.first().is_none_or(|first| first == revision) => {
                (Status::Pass, format!("{label} is {revision}"))
            }
            (Some(revision), _) => (
                Status::Fail,
                format!(
                    "{label} is {revision}, but {} on another platform",
                    revisions[0]
                ),
            ),
            (None, Some(value)) => (
                Status::Fail,
                format!("{label} is `{}`, which is not a revision", excerpt(value)),
            ),
            (None, None) => (Status::Fail, format!("{label} is missing")),
        };
        checks.push(
            check(Code::REVISION_LABEL, status, detail)
                .platform(&platform.platform)
                .item(label.as_str()),
        );
        revisions.extend(parsed);
    }
    let is_complete = revisions.len() == facts.platforms.len()
        && revisions.iter().all(|revision| *revision == revisions[0]);
    is_complete.then(|| revisions.swap_remove(0))
}

/// The revision of all images, if each has one and they agree.
fn common_revision(
    revisions: &[(&String, Option<Revision>)],
    checks: &mut Vec<Check>,
) -> Option<Revision> {
    let mut known = Vec::new();
    for (name, revision) in revisions {
        if let Some(revision) = revision {
            known.push((name, revision));
        }
    }
    let (_, first) = known.first()?;
    if known.iter().all(|(_, revision)| revision == first) {
        checks.push(Check::new(
            Code::SET_DISAGREE,
            Status::Pass,
            format!("every label names {first}"),
        ));
        let is_complete = known.len() == revisions.len();
        return is_complete.then(|| (*first).clone());
    }
    let list: Vec<_> = known
        .iter()
        .map(|(name, revision)| format!("{name}: {revision}"))
        .collect();
    let detail = format!(
        "the pinned images have different revisions: {}",
        list.join(", ")
    );
    checks.push(Check::new(Code::SET_DISAGREE, Status::Fail, detail));
    None
}

impl PinnedImage {
    /// Checks that the revision's tag, or one that matches its pattern, resolves to the pinned digest.
    pub(crate) fn check_tag(
        &self,
        config: &Config,
        pattern: &TagPattern,
        resolved: &TagDigest,
        found: &Found,
    ) -> (Check, Option<Error>) {
        let image = &config.images[self.image];
        let check =
            |code, status, detail: String| Check::new(code, status, detail).image(&image.name);
        let fail = |code, detail| {
            check(code, Status::Fail, detail).locations(locations(found, self.image))
        };
        match resolved {
            Ok(Ok((tag, digest))) if *digest == self.digest => {
                let detail = format!("{}:{tag} resolves to the pinned digest", image.repository);
                (check(Code::DIGEST_MISMATCH, Status::Pass, detail), None)
            }
            Ok(Ok((tag, digest))) => {
                let detail = format!(
                    "{}:{tag} resolves to {digest}, but {} is pinned",
                    image.repository, self.digest
                );
                let mismatch = fail(Code::DIGEST_MISMATCH, detail);
                (mismatch.cause(digest_mismatch(tag)), None)
            }
            Ok(Err(reason)) => {
                let expected = format!("is pinned, {}", self.digest);
                let pinned = found.tags_of(self.image);
                let failure = no_tag(config, image, pattern, reason, &expected, &pinned);
                (failure.locations(locations(found, self.image)), None)
            }
            Err(error) if error.class == Class::Ambiguous => {
                let check = fail(Code::MANIFEST_AMBIGUOUS, error.evidence());
                (check.cause(&error.message), None)
            }
            Err(error) => (
                check(Code::DIGEST_MISMATCH, Status::Skip, error.to_string()),
                Some(error.clone()),
            ),
        }
    }
}

/// The failure of a revision in labels that cannot have a tag, so that no tag can be compared.
pub(crate) fn revision_without_tag(revision: &Revision, error: &RevisionTagError) -> Check {
    let detail =
        format!("the revision {revision} in the labels of the pinned images has no tag: {error}");
    Check::new(Code::TAG_MISSING, Status::Fail, detail)
        .help("correct the label in the build, or `revision.pattern` and `revision.tag`")
}

/// Checks the provenance of the pinned set. Missing provenance only warns, because the change of an
/// open promotion is not on the branch yet.
pub(crate) fn check_pinned_provenance(
    revision: &Revision,
    provenance: &Result<Provenance, String>,
) -> Check {
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
            "cannot determine whether the set was promoted: the clone is shallow".into(),
        ),
        Ok(_) => check(
            Status::Warn,
            format!("no commit on the promoted branch records a promotion of {revision}"),
        ),
        Err(reason) => check(Status::Skip, reason.clone()),
    }
}

fn locations(found: &Found, image: usize) -> Vec<FileLocation> {
    found.pins_of(image).map(location_of).collect()
}

#[cfg(test)]
mod tests;
