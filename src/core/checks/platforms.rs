//! Verdicts on the platforms of an image: those of its index, and those that a promotion must keep.

use std::collections::BTreeSet;

use super::{Check, Code, StageResult, Status};
use crate::{
    base::error::{Class, Error},
    config::{Config, Image},
    oci::{Digest, Platform, registry::resolve::ImageFacts},
};

/// The platforms of a replaced digest.
pub(super) type OldPlatforms = Result<Vec<Platform>, Error>;

/// The reaction to a platform that the new image lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LostPlatforms {
    Refuse,
    /// The user overrides the refusal.
    Allow,
    Warn,
}

impl LostPlatforms {
    /// The check of a lost platform.
    fn check(self, image: &str, platform: &Platform, detail: String) -> Check {
        let (status, detail) = match self {
            Self::Refuse => (Status::Fail, detail),
            Self::Allow => (Status::Warn, detail + "; allowed by --allow-lost-platform"),
            Self::Warn => (Status::Warn, detail),
        };
        Check::new(Code::PLATFORM_LOST, status, detail)
            .image(image)
            .platform(platform)
            .cause(format!("the new image lacks {platform}"))
    }
}

/// The failures if the platforms of an index differ from those of its images, or are duplicate:
/// container engines select an image by the index only.
pub(super) fn check_platforms(image: &str, facts: &ImageFacts) -> Vec<Check> {
    let fail = |code, platform: &Platform, detail: String| {
        let check = Check::new(code, Status::Fail, detail).image(image);
        check.platform(platform)
    };
    let mut checks = Vec::new();
    for (index, found) in facts.platforms.iter().enumerate() {
        let (listed, config) = (&found.platform, &found.config.platform);
        if !listed.matches_config(config) {
            let detail = format!(
                "the index lists {} for {listed}, but its configuration is for {config}",
                found.digest
            );
            checks.push(fail(Code::PLATFORM_MISMATCH, listed, detail));
        }
        let mut earlier = facts.platforms[..index].iter();
        let duplicate = earlier.find(|other| other.platform.normalized() == listed.normalized());
        if let Some(duplicate) = duplicate {
            let detail = format!(
                "the index lists {} for {} and {} for {listed}",
                duplicate.digest, duplicate.platform, found.digest
            );
            checks.push(fail(Code::PLATFORM_DUPLICATE, listed, detail));
        }
    }
    checks
}

/// Checks that an image has every required platform: those of `platforms`, or else those of each digest that
/// it replaces (`old`).
pub(super) fn check_lost_platforms(
    config: &Config,
    image: &Image,
    facts: &ImageFacts,
    old: &[(Digest, OldPlatforms)],
    reaction: LostPlatforms,
) -> StageResult {
    if config.required_platforms(image).is_some() {
        return check_required_platforms(config, image, facts, reaction).into();
    }
    let check =
        |status, detail: String| Check::new(Code::PLATFORM_LOST, status, detail).image(&image.name);
    let mut result = StageResult::default();
    for (digest, old) in old {
        match old {
            Ok(old) => {
                let lost = missing(old, facts);
                if lost.is_empty() {
                    let detail = format!("no platform of {} is lost", digest.short());
                    result.checks.push(check(Status::Pass, detail));
                }
                for platform in lost {
                    let detail = format!("{digest} has {platform}, but {} does not", facts.digest);
                    let lost = reaction.check(&image.name, platform, detail);
                    result.checks.push(lost);
                }
            }
            Err(error) if error.class == Class::WrongBytes => result.outages.push(error.clone()),
            Err(error) => {
                let detail = format!("cannot read {digest}: {error}");
                result.checks.push(check(Status::Skip, detail));
            }
        }
    }
    result
}

/// Checks that an image has the platforms that the configuration declares; without them, there is no check.
pub(super) fn check_required_platforms(
    config: &Config,
    image: &Image,
    facts: &ImageFacts,
    reaction: LostPlatforms,
) -> Vec<Check> {
    let Some(required) = config.required_platforms(image) else {
        return Vec::new();
    };
    let lost = missing(required, facts);
    if lost.is_empty() {
        let detail = format!("{} has every platform of `platforms`", facts.digest);
        return vec![Check::new(Code::PLATFORM_LOST, Status::Pass, detail).image(&image.name)];
    }
    let mut checks = Vec::new();
    for platform in lost {
        let detail = format!(
            "`platforms` requires {platform}, but {} does not have it",
            facts.digest
        );
        checks.push(reaction.check(&image.name, platform, detail));
    }
    checks
}

/// The platforms that an image lacks.
fn missing<'p>(platforms: &'p [Platform], facts: &ImageFacts) -> Vec<&'p Platform> {
    let existing: BTreeSet<_> = facts
        .platforms
        .iter()
        .map(|found| found.platform.normalized())
        .collect();
    let mut missing = Vec::new();
    for platform in platforms {
        if !existing.contains(&platform.normalized()) {
            missing.push(platform);
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, core::checks::contents::tests::platform_facts};

    fn facts() -> ImageFacts {
        ImageFacts {
            digest: Digest::of(b"new"),
            media_type: String::new(),
            platforms: vec![platform_facts(&[])],
        }
    }

    fn config(keys: &str) -> Config {
        config::example(&format!(
            "version: 1\nfiles: [a]\nimages: {{ api: {{ repository: ghcr.io/acme/api, pins: 1 }} }}\n{keys}"
        ))
    }

    #[test]
    fn wrong_bytes_of_a_pinned_image_are_no_skip() {
        for (class, skipped) in [(Class::WrongBytes, false), (Class::MissingContent, true)] {
            let error = Error::new(class, Code::CONTENT_MISMATCH, "not read");
            let old = [(Digest::of(b"old"), Err(error))];
            let config = config("");
            let image = &config.images[0];
            let result =
                check_lost_platforms(&config, image, &facts(), &old, LostPlatforms::Refuse);
            let statuses: Vec<_> = result.checks.iter().map(|check| check.status).collect();
            let expected = if skipped { &[Status::Skip][..] } else { &[] };
            assert_eq!(statuses, expected, "{class:?}");
            assert_eq!(result.outages.len(), usize::from(!skipped), "{class:?}");
        }
    }

    #[test]
    fn only_declared_platforms_are_required() {
        let lost = Platform::parse("linux/amd64").unwrap();
        let old = [(Digest::of(b"old"), Ok(vec![lost]))];
        for (keys, expected) in [
            ("", Status::Fail),
            ("platforms: [linux/arm64]\n", Status::Pass),
            ("platforms: [Linux/aarch64]\n", Status::Pass),
            ("platforms: [linux/s390x]\n", Status::Fail),
        ] {
            let config = config(keys);
            let image = &config.images[0];
            let check = |reaction| {
                let result = check_lost_platforms(&config, image, &facts(), &old, reaction);
                assert_eq!(result.checks.len(), 1, "{keys}");
                result.checks[0].clone()
            };
            assert_eq!(check(LostPlatforms::Refuse).status, expected, "{keys}");
            if expected == Status::Fail {
                assert_eq!(check(LostPlatforms::Warn).status, Status::Warn);
                let allowed = check(LostPlatforms::Allow);
                assert_eq!(allowed.status, Status::Warn);
                assert!(
                    allowed
                        .detail
                        .ends_with("; allowed by --allow-lost-platform")
                );
            }
        }
    }
}
