//! Reads the contents of the platforms that two sets have with different digests: their layers, and their SBOMs
//! by trusted signers.

use super::{Comparison, SetImage};
use crate::{
    app::workflow::{
        Services,
        image_contents::{self, ExaminedPlatform, PlatformSource},
        signatures::signed_digests,
        trust::SignedDigest,
    },
    base::error::{Class, Errors},
    config::Config,
    contents::{
        ContentsByDigest,
        inventory::{Inventory, ReadingProgress},
    },
    core::changes::{NotRead, Part, changed_platforms},
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
            images.push(index);
        }
    }
    let reading = ReadingProgress::default();
    let work = image_contents::check(&platforms, None, &reading);
    let verdicts = services.wait_with(work, || reading.describe());
    let mut read = Vec::new();
    for ((index, platform), verdict) in images.into_iter().zip(&platforms).zip(verdicts) {
        let contents = image_contents::compared(verdict)?;
        read.push((index, platform.platform.facts.digest, contents));
    }
    for (index, digest, contents) in read {
        comparison.contents[index].insert(digest, contents);
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
