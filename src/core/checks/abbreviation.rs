//! The verdict on an abbreviated revision: the labels of the images contain the full one.

use super::{
    Check, Code, Resolution, Status, Stopped,
    set::{annotation_help, excerpt, resolved_image, unstated},
};
use crate::{
    base::text::few,
    config::{Config, Image},
    oci::{Revision, registry::resolve::PlatformFacts},
};

/// The maximum number of revisions in a detail; further ones are counted.
const MAX_LISTED: usize = 20;

/// The revision that begins with `abbreviation` and is in the label of every image and platform.
/// `resolutions`: one for each image of the configuration, `None` for an image that is not required.
pub(crate) fn full_revision(
    config: &Config,
    abbreviation: &str,
    resolutions: &[Option<&Resolution>],
) -> Result<Revision, Stopped> {
    let (mut checks, mut outages) = (Vec::new(), Vec::new());
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
            Err(Err(outage)) => {
                outages.push(outage);
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
    if checks.is_empty() && outages.is_empty() {
        if let Some((_, revision)) = revisions.pop() {
            return Ok(revision);
        }
        let detail = format!("no image has a label with the revision `{abbreviation}`");
        checks.push(Check::new(Code::REVISION_LABEL, Status::Fail, detail));
    }
    Err(Stopped { checks, outages })
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
        let outage = Resolution {
            target: Target::new(TagPattern::Tag(Tag::parse("abc1234").unwrap())),
            found: Err(Error::unavailable("r.example", "timeout")),
            recorded: None,
            bypassed: None,
            old_platforms: Vec::new(),
        };
        let stopped = full_revision(&config, "abc1234", &[Some(&outage)]).unwrap_err();
        assert_eq!((stopped.checks.len(), stopped.outages.len()), (0, 1));
    }
}
