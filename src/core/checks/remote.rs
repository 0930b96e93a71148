//! Verdicts of `check --remote`: the pinned set compared with its tags, labels and history.

use super::{
    Check, Code, FileLocation, Status,
    contents::{LostPlatforms, check_platforms, check_required_platforms},
    pins::{check_image_comments, location_of},
    set::{annotation_help, digest_mismatch, excerpt, no_tag, one_platform, unstated},
};
use crate::{
    base::{
        error::{Class, Error},
        untrusted::to_minute,
    },
    config::{Config, Image, RevisionTagError, Trailer},
    core::{history::Provenance, pins::FoundPins},
    git,
    oci::{
        Descriptor, Digest, Revision, Tag, TagPattern,
        registry::{NoTag, resolve::ImageFacts},
    },
};

/// A pinned image and its resolved digest.
#[derive(Debug)]
pub(crate) struct PinnedImage {
    /// The index of the image in the configuration.
    pub image: usize,
    /// The digest of all its pins.
    pub digest: Digest,
    /// The facts about the image; `None` if the digest does not exist.
    pub facts: Result<Option<ImageFacts>, Error>,
}

/// The manifest that the revision's tag of a pinned image resolves to.
#[derive(Debug)]
pub(crate) struct TaggedManifest {
    pub tag: Tag,
    pub digest: Digest,
    /// The entries of an index.
    pub entries: Vec<Descriptor>,
}

/// The manifest of a tag, or the reason that there is none.
pub(crate) type TagResolution = Result<TaggedManifest, NoTag>;

/// The checks of the pinned digests, the errors that prevented checks, and the common revision of all
/// labels.
pub(crate) fn check_pinned_images(
    config: &Config,
    pinned: &[PinnedImage],
    found: &FoundPins,
) -> (Vec<Check>, Vec<Error>, Option<Revision>) {
    let (mut checks, mut errors, mut revisions) = (Vec::new(), Vec::new(), Vec::new());
    for pinned in pinned {
        let image = &config.images[pinned.image];
        match &pinned.facts {
            Ok(Some(facts)) => {
                let detail = format!("{} exists", pinned.digest);
                checks.push(
                    Check::new(Code::DIGEST_MISSING, Status::Pass, detail).image(&image.name),
                );
                checks.extend(check_platforms(&image.name, facts));
                let reaction = LostPlatforms::Refuse;
                checks.extend(check_required_platforms(config, image, facts, reaction));
                let (labels, revision) = pinned.check_labels(facts, config, found);
                checks.extend(labels);
                let tag = revision
                    .as_ref()
                    .and_then(|revision| config.revision.exact_tag(revision));
                // A pin with a tag is compared with that tag, without a registry.
                checks.extend(check_image_comments(config, found, pinned.image, &|pin| {
                    if pin.tag.is_some() { None } else { tag.clone() }
                }));
                revisions.push((&image.name, revision));
            }
            Ok(None) => {
                let repository = &image.repository;
                let absence = repository.absence(format!("{repository}@{}", pinned.digest));
                checks.push(
                    pinned
                        .failure(Code::DIGEST_MISSING, absence.detail, config, found)
                        .cause("the pinned digest does not exist")
                        .help(absence.help.unwrap_or(
                            "if the pin was edited, restore it with git; otherwise promote a build that exists",
                        )),
                );
            }
            Err(error) if error.class == Class::Ambiguous => {
                checks.push(
                    pinned
                        .failure(error.code, error.evidence(), config, found)
                        .cause(&error.message),
                );
            }
            Err(error) => {
                let check = Check::new(Code::DIGEST_MISSING, Status::Skip, error.to_string());
                checks.push(check.image(&image.name));
                errors.push(error.clone());
            }
        }
    }
    let revision = common_revision(&revisions, &mut checks);
    (checks, errors, revision)
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
        let is_complete = known.len() == revisions.len();
        let detail = if is_complete {
            format!("the revision of every image is {first}")
        } else {
            format!(
                "the revision of {} of {} images is {first}; the others are unknown",
                known.len(),
                revisions.len()
            )
        };
        checks.push(Check::new(Code::SET_DISAGREE, Status::Pass, detail));
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
    /// A failed check, located at the pins of the image.
    fn failure(&self, code: Code, detail: String, config: &Config, found: &FoundPins) -> Check {
        Check::new(code, Status::Fail, detail)
            .image(&config.images[self.image].name)
            .locations(locations(found, self.image))
    }

    /// The checks of the labels, and the revision if all platforms have the same.
    fn check_labels(
        &self,
        facts: &ImageFacts,
        config: &Config,
        found: &FoundPins,
    ) -> (Vec<Check>, Option<Revision>) {
        let label = &config.revision.label;
        let (mut checks, mut revisions) = (Vec::new(), Vec::<Revision>::new());
        for platform in &facts.platforms {
            let stated = platform.stated_revision(config.revision.field());
            let value = stated.text();
            let parsed =
                value.and_then(|value| config.revision.pattern.revision_in_label(value).ok());
            let (status, detail) = match (&parsed, revisions.first(), value) {
                (Some(revision), Some(first), _) if first != revision => (
                    Status::Fail,
                    format!("{label} is {revision}, but {first} on another platform"),
                ),
                (Some(revision), _, _) => (Status::Pass, format!("{label} is {revision}")),
                (None, _, Some(value)) => (
                    Status::Fail,
                    format!("{label} is `{}`, which is not a revision", excerpt(value)),
                ),
                (None, _, None) => (Status::Fail, unstated(label, stated)),
            };
            let check = match status {
                Status::Fail => self
                    .failure(Code::REVISION_LABEL, detail, config, found)
                    .with_help(annotation_help(stated)),
                _ => Check::new(Code::REVISION_LABEL, status, detail)
                    .image(&config.images[self.image].name),
            };
            checks.push(check.platform(&platform.platform).item(label.as_str()));
            revisions.extend(parsed);
        }
        let common = match revisions.first() {
            Some(first)
                if revisions.len() == facts.platforms.len()
                    && revisions.iter().all(|revision| revision == first) =>
            {
                Some(first.clone())
            }
            _ => None,
        };
        (checks, common)
    }

    /// The failure that the pinned digest is one platform of the tag's index.
    fn check_part(&self, config: &Config, tagged: &TaggedManifest, found: &FoundPins) -> Check {
        let image = &config.images[self.image];
        let platforms = self.facts.as_ref().ok().and_then(Option::as_ref);
        let platform = tagged
            .entry(self.digest)
            .and_then(|entry| entry.platform.clone())
            .or_else(|| Some(platforms?.platforms.first()?.platform.clone()));
        let part = match platform {
            Some(platform) => format!("the {platform} part"),
            None => "a part".to_owned(),
        };
        let TaggedManifest { tag, digest, .. } = tagged;
        let detail = format!(
            "the pinned digest {} is {part} of the index that {}:{tag} resolves to, {digest}",
            self.digest, image.repository
        );
        let help = format!(
            "the tag was not moved, so leave it; pin the index: repin promote{} --revision REV --apply, or replace \
             the digest of the pins with that of the index",
            config.option
        );
        let mismatch = self.failure(Code::DIGEST_MISMATCH, detail, config, found);
        mismatch.cause(one_platform(tag)).help(help)
    }

    /// Checks that the revision's tag, or one that matches its pattern, resolves to the pinned digest.
    pub(crate) fn check_tag(
        &self,
        config: &Config,
        pattern: &TagPattern,
        resolved: &TagResolution,
        found: &FoundPins,
    ) -> (Check, Option<Error>) {
        let image = &config.images[self.image];
        match resolved {
            Ok(TaggedManifest { tag, digest, .. }) if *digest == self.digest => {
                let detail = format!("{}:{tag} resolves to the pinned digest", image.repository);
                let check = Check::new(Code::DIGEST_MISMATCH, Status::Pass, detail);
                (check.image(&image.name), None)
            }
            Ok(tagged) if tagged.entry(self.digest).is_some() => {
                (self.check_part(config, tagged, found), None)
            }
            Ok(TaggedManifest { tag, digest, .. }) => {
                let detail = format!(
                    "{}:{tag} resolves to {digest}, but {} is pinned",
                    image.repository, self.digest
                );
                let mismatch = self.failure(Code::DIGEST_MISMATCH, detail, config, found);
                let help = "if the pin was edited, restore it with git; otherwise find out who moved the tag";
                (mismatch.cause(digest_mismatch(tag)).help(help), None)
            }
            Err(NoTag::Failed(error)) if error.class != Class::Ambiguous => {
                let check = Check::new(Code::DIGEST_MISMATCH, Status::Skip, error.to_string());
                (check.image(&image.name), Some(error.clone()))
            }
            Err(reason) => {
                let expected = format!("is pinned, {}", self.digest);
                let pinned = found.tags_of(self.image);
                let mut failure = no_tag(config, image, pattern, reason, &expected, &pinned);
                if matches!(reason, NoTag::Missing) && failure.help.is_none() {
                    let command = restore_command(config, &image.name, "");
                    failure = failure.help(format!(
                        "if the tag was deleted, set it again: {command}; a rebuilt image has another digest"
                    ));
                }
                (failure.locations(locations(found, self.image)), None)
            }
        }
    }
}

/// The command that sets a tag on a pinned digest again.
fn restore_command(config: &Config, image: &str, options: &str) -> String {
    let option = &config.option;
    format!("repin prune restore{option} --image {image}{options} --apply")
}

/// The tag to set again on a digest without one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Retagging<'t> {
    /// The tag that `prune restore` sets.
    Default(&'t Tag),
    /// Another tag, which `prune restore` sets if it is selected.
    Selected(&'t Tag),
    /// No tag is known that no other digest has.
    Unknown,
}

/// The warning about a pinned digest without a tag. `found`: the pins, unless only history records the digest.
pub(crate) fn untagged_pin(
    config: &Config,
    image: usize,
    digest: Digest,
    tag: Retagging<'_>,
    found: Option<&FoundPins>,
) -> Check {
    let Image {
        name, repository, ..
    } = &config.images[image];
    // GitLab Documentation, "Container registry garbage collection": online collection on GitLab.com.
    let fate = if repository.host() == "registry.gitlab.com" {
        "GitLab.com deletes manifests without a tag after 24 hours"
    } else {
        "cleanup policies and garbage collections delete manifests without a tag"
    };
    let detail = format!("no tag resolves to the pinned digest {repository}@{digest}: {fate}");
    let command = |options: &str| restore_command(config, name, options);
    let help = match tag {
        Retagging::Default(tag) => format!("set the tag {tag} again: {}", command("")),
        Retagging::Selected(tag) => {
            let options = format!(" --digest {digest} --tag {tag}");
            format!("set the tag {tag} again: {}", command(&options))
        }
        Retagging::Unknown => "put a tag on the digest, so that nothing deletes it".to_owned(),
    };
    Check::new(Code::PIN_UNTAGGED, Status::Warn, detail)
        .image(name)
        .locations(found.map_or_else(Vec::new, |found| locations(found, image)))
        .help(help)
}

/// The failure of a revision in labels that cannot have a tag, so that no tag can be compared.
pub(crate) fn revision_without_tag(revision: &Revision, error: &RevisionTagError) -> Check {
    let detail =
        format!("the revision {revision} in the labels of the pinned images has no tag: {error}");
    Check::new(Code::TAG_MISSING, Status::Fail, detail)
        .help("correct the label in the build, or `revision.pattern` and `revision.tag`")
}

/// What history records of the pinned set.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PinnedRecord<'h> {
    /// The revision of the pinned digests.
    pub revision: Option<&'h Revision>,
    /// Whether a set is recorded at all.
    pub has_any: bool,
}

/// Checks the provenance of the pinned set. Missing provenance only warns, because the change of an
/// open promotion is not on the branch yet.
pub(crate) fn check_pinned_provenance(
    config: &Config,
    revision: &Revision,
    record: PinnedRecord<'_>,
    provenance: &Result<Provenance, String>,
) -> Check {
    let check = |status, detail: String| Check::new(Code::PROVENANCE_TITLE, status, detail);
    match provenance {
        Ok(Provenance::Found(promoted)) => check(
            Status::Pass,
            format!(
                "commit {} of {} promoted {revision}",
                promoted.commit.short(),
                to_minute(&promoted.date)
            ),
        ),
        Ok(Provenance::Shallow) => check(
            Status::Warn,
            "cannot determine whether the set was promoted: the clone is shallow".into(),
        )
        .help(git::FETCH_HISTORY),
        Ok(Provenance::Incomplete { commit, .. }) => check(
            Status::Warn,
            format!(
                "commit {} promoted {revision}, but does not pin every image of the current set",
                commit.short()
            ),
        ),
        Ok(Provenance::ByContent | Provenance::Never | Provenance::OtherRevision { .. }) => {
            unrecorded(config, revision, record)
        }
        Err(reason) => check(Status::Skip, reason.clone()),
    }
}

/// The warning about a pinned set without a record of its revision.
fn unrecorded(config: &Config, revision: &Revision, record: PinnedRecord<'_>) -> Check {
    let warning = |detail| Check::new(Code::PROVENANCE_TITLE, Status::Warn, detail);
    let return_to_it = format!(
        "to return to it later: {}",
        config.return_command(revision.as_str())
    );
    if let Some(recorded) = record.revision.filter(|recorded| *recorded != revision) {
        return warning(format!(
            "the promoted branch records these digests as {recorded}, but their label is {revision}"
        ))
        .help(format!(
            "a rollback finds this set only as {recorded}, and is refused; {return_to_it}"
        ));
    }
    let otherwise = if record.has_any {
        format!("no rollback finds this set; {return_to_it}")
    } else {
        format!(
            "record the set before the next promotion: in a commit that adds or changes {}, with the trailer \"{}\"",
            config.file,
            Trailer::line(revision.as_str(), &config.set_path)
        )
    };
    warning(format!(
        "no commit on the promoted branch records a promotion of {revision}"
    ))
    .help(format!(
        "an open promotion counts once it is merged; otherwise {otherwise}"
    ))
}

impl TaggedManifest {
    /// The entry of the index with a digest.
    fn entry(&self, digest: Digest) -> Option<&Descriptor> {
        self.entries.iter().find(|entry| entry.digest == digest)
    }
}

fn locations(found: &FoundPins, image: usize) -> Vec<FileLocation> {
    found.pins_of(image).map(location_of).collect()
}

#[cfg(test)]
mod tests;
