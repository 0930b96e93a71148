//! Reads the contents of the platforms that two sets have with different digests: their layers, and their SBOMs
//! by trusted signers.
//!
//! The diffs of the commits that promoted sets, in files with pins, from the objects of the clone.

use std::collections::HashMap;

use super::{Comparison, SetImage};
use crate::{
    app::{
        report::{diff, history_page::SetDiff},
        workflow::{
            Services,
            image_contents::{self, ExaminedPlatform, PlatformSource},
            trust::{SignedDigest, signed_digests},
        },
    },
    base::error::{Class, Errors},
    config::Config,
    contents::{ContentsByDigest, inventory::Inventory},
    core::{
        changes::{NotRead, Part, changed_platforms},
        history::{ChangedFile, History, HistoryEntry},
    },
    git::{Git, GitError, ObjectId},
    oci::registry::resolve::{ImageFacts, PlatformFacts},
    trust::SignedSubject,
};

/// Reads the contents that the run has not read yet. Returns an error only if a registry returned wrong bytes.
pub(super) fn read(
    comparison: &mut Comparison<'_>,
    config: &Config,
    services: &Services,
    not_read: &mut Vec<NotRead>,
) -> Result<(), Errors> {
    comparison
        .contents
        .resize(config.images.len(), ContentsByDigest::new());
    if !comparison.only_read_contents {
        read_layers(comparison, config, services)?;
    }
    read_sboms(comparison, config, services, not_read)
}

fn read_layers(
    comparison: &mut Comparison<'_>,
    config: &Config,
    services: &Services,
) -> Result<(), Errors> {
    let sources = services.sources_of_images(config)?;
    let no_inventory = Inventory::default();
    let (mut platforms, mut images) = (Vec::new(), Vec::new());
    for (index, image) in config.images.iter().enumerate() {
        for facts in changed(comparison, index) {
            let known = comparison.contents[index].get(&facts.digest);
            if known.is_some_and(Result::is_ok) {
                continue;
            }
            platforms.push(ExaminedPlatform {
                platform: PlatformSource {
                    image: &image.name,
                    source: &sources[index],
                    facts,
                },
                standards: &[],
                compared: Some(config.inventory_of(image).unwrap_or(&no_inventory)),
            });
            images.push((index, facts.digest));
        }
    }
    let verdicts = image_contents::check(&platforms, services);
    for ((index, digest), verdict) in images.into_iter().zip(verdicts) {
        image_contents::add_compared(&mut comparison.contents[index], digest, verdict)?;
    }
    Ok(())
}

/// The platforms of an image that the sets have with different digests: each new one before the old one, with
/// which it may share layers.
fn changed<'c>(comparison: &'c Comparison<'_>, image: usize) -> Vec<&'c PlatformFacts> {
    let mut platforms = Vec::new();
    if let Some((from, to)) = both_sets(comparison, image) {
        // The error is reported when the images are compared.
        for changed in changed_platforms(from, to).unwrap_or_default() {
            platforms.extend([changed.new, changed.old]);
        }
    }
    platforms
}

fn both_sets<'c>(
    comparison: &'c Comparison<'_>,
    image: usize,
) -> Option<(&'c ImageFacts, &'c ImageFacts)> {
    let [from, to] = [&comparison.from, &comparison.to].map(|set| match &set.images[image] {
        SetImage::Read(facts) => Some(facts),
        SetImage::Absent | SetImage::Unknown(_) | SetImage::Pinned(_) => None,
    });
    from.zip(to)
}

/// Adds the packages of SBOMs to the contents, if both sets have some that a configured signer made for its
/// revision.
fn read_sboms(
    comparison: &mut Comparison<'_>,
    config: &Config,
    services: &Services,
    not_read: &mut Vec<NotRead>,
) -> Result<(), Errors> {
    let Some(trust) = comparison.trust else {
        return Ok(());
    };
    for set in [&comparison.from, &comparison.to] {
        let Some(revision) = &set.state.revision else {
            return Ok(());
        };
        let mut digests: Vec<SignedDigest<'_>> = Vec::new();
        for index in 0..config.images.len() {
            let has_contents = !comparison.contents[index].is_empty();
            if let SetImage::Read(facts) = &set.images[index]
                && has_contents
            {
                digests.extend(signed_digests(trust.policy.verify, index, facts));
            }
        }
        let read = trust.sboms(config, &digests, revision, services)?;
        for (digest, sboms) in digests.iter().zip(read) {
            let unread = |reason| NotRead {
                part: Part::Sbom,
                platform: digest.platform.map(ToString::to_string),
                ..NotRead::image(&config.images[digest.image].name, reason)
            };
            match sboms {
                Ok(sboms) => {
                    not_read.extend(sboms.not_read.into_iter().map(unread));
                    let SetImage::Read(facts) = &set.images[digest.image] else {
                        continue;
                    };
                    let described = match trust.policy.verify.subject {
                        SignedSubject::Pinned => facts.platforms.iter().collect(),
                        SignedSubject::Platforms => facts
                            .platforms
                            .iter()
                            .filter(|platform| platform.digest == digest.digest)
                            .collect::<Vec<_>>(),
                    };
                    for platform in described {
                        if let Some(Ok(contents)) =
                            comparison.contents[digest.image].get_mut(&platform.digest)
                        {
                            contents.sbom.clone_from(&sboms.packages);
                        }
                    }
                }
                Err(error) if error.class == Class::WrongBytes => return Err(error.into()),
                Err(error) => not_read.push(unread(error.text())),
            }
        }
    }
    Ok(())
}

/// The maximum size of a compared file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// The maximum size of one diff, in bytes.
const MAX_DIFF: usize = 32 * 1024;
/// The maximum size of all diffs, in bytes. More never fit on the page.
const MAX_TOTAL: usize = 128 * 1024;

/// Creates the diffs of `entries`, newest first, until the page is full.
pub(crate) fn set_diffs(
    git: &Git,
    history: &History,
    entries: &[HistoryEntry],
) -> Result<HashMap<ObjectId, SetDiff>, GitError> {
    let changed = history.changed_files();
    let mut diffs = HashMap::new();
    let mut remaining = MAX_TOTAL;
    for entry in entries {
        let Some(files) = changed.get(&entry.commit) else {
            continue;
        };
        let diff = if remaining == 0 {
            SetDiff::Omitted("The diff of this older set is omitted to keep the page small.")
        } else {
            set_diff(git, files)?
        };
        if let SetDiff::Text(text, _) = &diff {
            remaining = remaining.saturating_sub(text.len());
        }
        diffs.insert(entry.commit, diff);
    }
    Ok(diffs)
}

fn set_diff(git: &Git, files: &[ChangedFile]) -> Result<SetDiff, GitError> {
    const LARGE: SetDiff =
        SetDiff::Omitted("The diff of this set is too large for this page; git shows it.");
    if files.is_empty() {
        return Ok(SetDiff::Omitted(
            "This commit changed no file with pins: it changed which pins count.",
        ));
    }
    let mut text = Vec::new();
    for file in files {
        let mut contents = [None, None];
        for (content, id) in contents.iter_mut().zip([file.old, file.new]) {
            if let Some(id) = id {
                *content = git.blob(id, MAX_FILE)?;
                if content.is_none() {
                    return Ok(LARGE);
                }
            }
        }
        let [old, new] = &contents;
        diff::of_versions(&mut text, &file.path, old.as_deref(), new.as_deref());
        if text.len() > MAX_DIFF {
            return Ok(LARGE);
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(SetDiff::Text(text, files.len()))
}
