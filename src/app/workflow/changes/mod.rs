//! Compares two sets: reads their images and the commits between their revisions.
//!
//! A part that cannot be read is listed with the reason, and the run continues. The exception is a registry
//! that returns other bytes than those of a digest.

pub(crate) mod contents;
mod source;

use super::{Services, SiteHistory, build_order::BuildOrder, request::Request, tags, trust::Trust};
use crate::{
    base::error::{Class, Error, Errors},
    config::{ChangeParts, Config, Operation},
    contents::ContentsByDigest,
    core::{
        changes::{self, Changes, KnownBy, NotRead, SetState},
        checks::{ApprovedImage, VerifiedRow},
        history::{Digests, History, HistoryEntry},
        pins::FoundPins,
    },
    git::Git,
    oci::{Digest, registry::resolve::ImageFacts},
};

/// A set that is compared.
#[derive(Debug, Clone)]
pub(crate) struct ComparedSet {
    pub state: SetState,
    /// The images in the order of the configuration.
    pub images: Vec<SetImage>,
}

/// An image of a set.
#[derive(Debug, Clone)]
pub(crate) enum SetImage {
    /// The set does not contain the image.
    Absent,
    /// The image cannot be compared, for this reason.
    Unknown(String),
    Pinned(Digest),
    Read(ImageFacts),
}

/// A comparison of two sets.
pub(crate) struct Comparison<'c> {
    pub from: ComparedSet,
    pub to: ComparedSet,
    /// The names of the compared images; all if empty.
    pub images: &'c [String],
    pub parts: ChangeParts,
    pub is_rollback: bool,
    /// The repositories that signatures prove, one for each image of the new set.
    pub proven_sources: Vec<String>,
    /// The clone of this repository.
    pub git: Option<&'c Git>,
    /// The signers of SBOMs.
    pub trust: Option<&'c Trust<'c>>,
    /// The contents that the run has read, in the order of the configuration; empty before.
    pub contents: Vec<ContentsByDigest>,
    /// Whether no other contents are read.
    pub only_read_contents: bool,
}

impl ComparedSet {
    /// The pinned set.
    pub(crate) fn current(config: &Config, found: &FoundPins, history: Option<&History>) -> Self {
        let mut digests = Digests::new();
        let mut images = Vec::new();
        for (index, image) in config.images.iter().enumerate() {
            images.push(match found.digests_of(index).as_slice() {
                [] => SetImage::Absent,
                [digest] => {
                    digests.insert(image.name.clone(), *digest);
                    SetImage::Pinned(*digest)
                }
                several => {
                    SetImage::Unknown(format!("its pins disagree: {} digests", several.len()))
                }
            });
        }
        let mut state = SetState::default();
        if let Some(history) = history {
            let entry = history
                .entries()
                .iter()
                .find(|entry| entry.images == digests);
            state.commit = entry.map(|entry| entry.commit.to_string());
            state.revision = history.revision_of(&digests).map(ToString::to_string);
            state.known_by = state.revision.as_ref().map(|_| KnownBy::History);
        }
        Self { state, images }
    }

    /// A set that history records.
    pub(crate) fn recorded(config: &Config, entry: &HistoryEntry, history: &History) -> Self {
        let mixed = history.mixed_images(entry);
        let images = config
            .images
            .iter()
            .map(|image| match entry.images.get(&image.name) {
                Some(digest) => SetImage::Pinned(*digest),
                None if mixed.contains(&image.name) => SetImage::Unknown(format!(
                    "its pins disagree in commit {}",
                    entry.commit.short()
                )),
                None => SetImage::Absent,
            });
        Self {
            state: SetState {
                revision: entry.revision.as_ref().map(ToString::to_string),
                known_by: entry.revision.as_ref().map(|_| KnownBy::History),
                commit: Some(entry.commit.to_string()),
            },
            images: images.collect(),
        }
    }
}

/// The set that a promotion or rollback makes current.
pub(super) struct ReviewedSet<'r> {
    pub(super) request: &'r Request,
    /// The approved images, in the order of the configuration.
    pub(super) images: &'r [Option<ApprovedImage>],
    /// The signatures and attestations of each image.
    pub(super) evidence: &'r [Vec<VerifiedRow>],
    pub(super) trust: Option<&'r Trust<'r>>,
    /// The contents that the checks read, in the order of the configuration.
    pub(super) contents: Vec<ContentsByDigest>,
}

/// Compares the current set with the one that a promotion or rollback makes current.
pub(super) fn of_promotion(
    set: ReviewedSet<'_>,
    config: &Config,
    found: &FoundPins,
    history: &SiteHistory,
    services: &Services,
) -> Result<Changes, Errors> {
    let is_rollback = set.request.operation == Operation::Rollback;
    let revision = &set.request.revision;
    let known = history.promoted_or_local().ok();
    let entry = known.filter(|_| is_rollback).and_then(|history| {
        let mut entries = history.entries().iter();
        entries.find(|entry| entry.revision.as_ref() == Some(revision))
    });
    let images = config
        .images
        .iter()
        .zip(set.images)
        .map(|(image, approved)| match approved {
            Some(approved) if image.pins > 0 => SetImage::Pinned(approved.facts.digest),
            _ => SetImage::Absent,
        });
    let to = ComparedSet {
        state: SetState {
            revision: Some(revision.to_string()),
            known_by: Some(entry.map_or(KnownBy::Argument, |_| KnownBy::History)),
            commit: entry.map(|entry| entry.commit.to_string()),
        },
        images: images.collect(),
    };
    let comparison = Comparison {
        from: ComparedSet::current(config, found, known),
        to,
        images: &[],
        parts: set.request.changes,
        is_rollback,
        proven_sources: proven_sources(set.evidence),
        git: history.git(),
        trust: set.trust,
        contents: set.contents,
        only_read_contents: set.request.only_read_contents,
    };
    compare(comparison, config, services)
}

/// Compares the current set of a repository of a fleet with the new one: only the commits of the configured source,
/// because the images of the current set are not read. `None` without a source.
pub(super) async fn of_member(
    from: SetState,
    request: &Request,
    builds: &BuildOrder<'_>,
) -> Option<Changes> {
    let build_source = builds.source()?;
    let to = SetState {
        revision: Some(request.revision.to_string()),
        known_by: Some(KnownBy::Argument),
        commit: None,
    };
    let mut not_read = Vec::new();
    let is_rollback = request.operation == Operation::Rollback;
    let sets = [&from, &to];
    let source = source::read_for_fleet(build_source, sets, is_rollback, &mut not_read).await;
    Some(Changes {
        from,
        to,
        source,
        images: Vec::new(),
        not_read,
    })
}

/// The repositories that signatures prove to be the source of the images; none unless all are proven.
fn proven_sources(evidence: &[Vec<VerifiedRow>]) -> Vec<String> {
    let proven = evidence.iter().map(|proofs| {
        let mut bound = proofs.iter().filter(|proof| proof.commit_bound);
        bound.find_map(|proof| proof.source.clone())
    });
    proven.collect::<Option<_>>().unwrap_or_default()
}

/// Compares two sets. Returns an error only if a registry returned wrong bytes.
pub(crate) fn compare(
    mut comparison: Comparison<'_>,
    config: &Config,
    services: &Services,
) -> Result<Changes, Errors> {
    let mut not_read = Vec::new();
    let is_selected =
        |name: &String| comparison.images.is_empty() || comparison.images.contains(name);
    let selected: Vec<bool> = config
        .images
        .iter()
        .map(|image| is_selected(&image.name))
        .collect();
    // The labels state the previous revision and the source.
    let needs_labels = comparison.from.state.revision.is_none() || config.source.is_none();
    let with_images = matches!(
        comparison.parts,
        ChangeParts::Images | ChangeParts::Contents
    );
    if with_images || needs_labels {
        read(&mut comparison, config, &selected, services)?;
    }
    for set in [&mut comparison.from, &mut comparison.to] {
        if set.state.revision.is_none()
            && let Some(revision) = revision_label(config, set, &selected)
        {
            set.state.revision = Some(revision);
            set.state.known_by = Some(KnownBy::Label);
        }
    }
    let source = source::read(&comparison, config, &selected, services, &mut not_read);
    if comparison.parts == ChangeParts::Contents {
        contents::read(&mut comparison, config, services, &mut not_read)?;
    }
    let none = ContentsByDigest::new();
    let mut images = Vec::new();
    if with_images {
        let sets = comparison.from.images.iter().zip(&comparison.to.images);
        for (index, (from, to)) in sets.enumerate().filter(|(index, _)| selected[*index]) {
            let name = &config.images[index].name;
            let contents = comparison.contents.get(index).unwrap_or(&none);
            let reported = &config.report.labels;
            match image_changes(name, from, to, reported, contents, &mut not_read) {
                Ok(Some(changes)) => images.push(changes),
                Ok(None) => {}
                Err(reason) => not_read.push(NotRead::image(name, reason)),
            }
        }
    }
    Ok(Changes {
        from: comparison.from.state,
        to: comparison.to.state,
        source,
        images,
        not_read,
    })
}

/// The differences of an image; `None` if neither set contains it. The error is the reason that the image
/// cannot be compared.
fn image_changes(
    name: &str,
    from: &SetImage,
    to: &SetImage,
    reported: &[String],
    contents: &ContentsByDigest,
    not_read: &mut Vec<NotRead>,
) -> Result<Option<changes::ImageChanges>, String> {
    let facts = |image| match image {
        &SetImage::Absent => Ok(None),
        SetImage::Read(facts) => Ok(Some(facts)),
        SetImage::Unknown(reason) => Err(reason.clone()),
        SetImage::Pinned(digest) => Err(format!("{digest} was not read")),
    };
    let (from, to) = (facts(from)?, facts(to)?);
    if from.is_none() && to.is_none() {
        return Ok(None);
    }
    changes::compare(name, from, to, reported, contents, not_read).map(Some)
}

/// Replaces the pinned images of both sets by the images that were read.
fn read(
    comparison: &mut Comparison<'_>,
    config: &Config,
    selected: &[bool],
    services: &Services,
) -> Result<(), Errors> {
    let mut digests = Vec::new();
    let sets = comparison.from.images.iter().zip(&comparison.to.images);
    for ((from, to), is_selected) in sets.zip(selected) {
        let mut of_image = Vec::new();
        // The images of a new set were read before, and may share platforms with the old ones.
        for image in [to, from] {
            if let SetImage::Pinned(digest) = image
                && *is_selected
                && !of_image.contains(digest)
            {
                of_image.push(*digest);
            }
        }
        digests.push(of_image);
    }
    let read = tags::read_images(config, &digests, services);
    for (index, digests) in digests.iter().enumerate() {
        for (position, digest) in digests.iter().enumerate() {
            let image = match &read {
                Ok(read) => match &read[index][position] {
                    Ok(Some(facts)) => SetImage::Read(facts.clone()),
                    Ok(None) => SetImage::Unknown(format!("{digest} is missing in the registry")),
                    Err(error) if error.class == Class::WrongBytes => {
                        return Err(error.clone().into());
                    }
                    Err(error) => SetImage::Unknown(error.text()),
                },
                Err(errors) => SetImage::Unknown(first_reason(errors)),
            };
            for set in [&mut comparison.from, &mut comparison.to] {
                if matches!(set.images[index], SetImage::Pinned(pinned) if pinned == *digest) {
                    set.images[index] = image.clone();
                }
            }
        }
    }
    Ok(())
}

fn first_reason(errors: &Errors) -> String {
    errors
        .by_cause()
        .first()
        .map(Error::text)
        .unwrap_or_default()
}

/// The selected images of a set; `None` if one of them was not read.
fn read_images<'s>(set: &'s ComparedSet, selected: &[bool]) -> Option<Vec<&'s ImageFacts>> {
    let mut images = Vec::new();
    for (image, is_selected) in set.images.iter().zip(selected) {
        match image {
            SetImage::Read(facts) => images.push(facts),
            SetImage::Unknown(_) | SetImage::Pinned(_) if *is_selected => return None,
            _ => {}
        }
    }
    Some(images)
}

/// The value of a label that all images of a set have.
fn common_label<'s>(set: &'s ComparedSet, selected: &[bool], name: &str) -> Option<&'s str> {
    let mut images = read_images(set, selected)?.into_iter();
    let first = images.next()?.common_label(name)?;
    images
        .all(|image| image.common_label(name) == Some(first))
        .then_some(first)
}

/// The revision that the labels of all images state.
fn revision_label(config: &Config, set: &ComparedSet, selected: &[bool]) -> Option<String> {
    let mut images = read_images(set, selected)?.into_iter();
    let revision = config.revision.stated_by(images.next()?)?;
    images
        .all(|image| config.revision.stated_by(image).as_ref() == Some(&revision))
        .then(|| revision.to_string())
}
