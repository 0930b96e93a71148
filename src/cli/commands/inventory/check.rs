//! `repin inventory check`: contract and hygiene of images, at their pins or at a revision's tags.

use super::report;
use crate::{
    checks::{Check, Standard, Status, any_failed, required_labels},
    cli::{context::Context, exit::Exit},
    code::Code,
    config::{Config, Image},
    error::{Class, Error, Errors},
    files::WorkTree,
    git,
    inventory::ReadingProgress,
    oci::TagOrDigest,
    pins,
    registry::{
        Source,
        resolve::{self, ImageFacts},
    },
    report::json::InventoryImage,
    workflow::{
        self, Contracts, check_image_name,
        image_contents::{self, PlatformSource},
    },
};

/// One image and the build to examine; `None` if the image is not pinned.
struct Asked<'c> {
    at: usize,
    name: &'c str,
    want: Option<TagOrDigest>,
    /// The resolved image, once it was fetched; `None` if it does not exist.
    found: Result<Option<ImageFacts>, Error>,
}

impl Asked<'_> {
    fn facts(&self) -> Option<&ImageFacts> {
        self.found.as_ref().ok()?.as_ref()
    }
}

pub(super) fn run(
    images: &[String],
    revision: Option<&str>,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let config = cx.load()?;
    let contracts = Contracts::read(&config, &WorkTree::new(&config.root), &cx.output.directory);
    let nothing = |image: &Image| config.inventory_of(image).is_none() && image.contract.is_none();
    if config.images.iter().all(nothing) {
        let message = format!(
            "{} has neither `inventory` nor a contract, so nothing can be checked",
            config.source.name
        );
        return Err(Errors::from(
            Error::input(Code::CONFIG, message)
                .help("add an `inventory` block; `repin schema` describes it"),
        ));
    }
    contracts.well_formed(&config)?;
    let mut asked = asked(&config, images, revision)?;
    let sources = cx.services.sources_of_images(&config)?;
    let names: Vec<_> = asked.iter().map(|asked| asked.name).collect();
    let resolved = asked.iter_mut().map(|asked| {
        let source = &sources[asked.at];
        async move {
            if let Some(want) = &asked.want {
                asked.found = resolve::resolve(source, want).await;
            }
        }
    });
    cx.services
        .wait_for_all("reading manifests", &names, resolved)?;
    let standards = contracts.standards(&config);
    let (images, outages) = verdicts(&config, &standards, &asked, &sources, cx)?;
    let failed = images.iter().any(|image| any_failed(&image.checks));
    let failed = if failed {
        Exit::Because(Class::Failed)
    } else {
        Exit::Done
    };
    let errors = (!outages.is_empty()).then(|| Errors::from(outages.clone()));
    let exit = failed.worse(errors.as_ref().map_or(Exit::Done, Exit::from));
    Ok(report::show(images, outages, exit, &config, cx))
}

/// The images to examine, with their builds.
fn asked<'c>(
    config: &'c Config,
    names: &[String],
    revision: Option<&str>,
) -> Result<Vec<Asked<'c>>, Errors> {
    for name in names {
        check_image_name(config, name, "")?;
    }
    let tag = revision
        .map(|revision| workflow::revision(config, revision))
        .transpose()?
        .map(|(_, tag)| tag);
    let found = if tag.is_none() {
        Some(pins::find(&git::work_tree(config), config)?)
    } else {
        None
    };
    let mut asked = Vec::new();
    for (at, image) in config.images.iter().enumerate() {
        let wanted = names.contains(&image.name);
        if !wanted && !names.is_empty() {
            continue;
        }
        let name = image.name.as_str();
        let ask = |want| Asked {
            at,
            name,
            want,
            found: Ok(None),
        };
        let Some(found) = &found else {
            asked.push(ask(tag.clone().map(TagOrDigest::Tag)));
            continue;
        };
        let digests = found.digests_of(at);
        if digests.is_empty() && wanted {
            let problem = Error::input(
                Code::USAGE,
                format!("`{name}` is not pinned, so its build is unknown"),
            );
            return Err(Errors::from(
                problem.help("name the build with --revision REV"),
            ));
        }
        if digests.is_empty() {
            asked.push(ask(None));
        }
        asked.extend(
            digests
                .into_iter()
                .map(|digest| ask(Some(TagOrDigest::Digest(digest)))),
        );
    }
    Ok(asked)
}

/// A row for each platform of each image, and the errors that left some unjudged.
fn verdicts(
    config: &Config,
    standards: &[Vec<Standard<'_>>],
    asked: &[Asked<'_>],
    sources: &[Source],
    cx: &Context,
) -> Result<(Vec<InventoryImage>, Vec<Error>), Errors> {
    let subjects = asked.iter().flat_map(|asked| {
        let subject = |facts| PlatformSource {
            image: asked.name,
            source: &sources[asked.at],
            facts,
        };
        let platforms = asked.facts().map_or(&[][..], |facts| &facts.platforms);
        platforms
            .iter()
            .map(move |facts| (subject(facts), standards[asked.at].as_slice()))
    });
    let subjects = subjects.collect::<Vec<_>>();
    let reading = ReadingProgress::default();
    let work = image_contents::check(&subjects, &reading);
    let read = cx.services.wait_with(work, || reading.describe())?;
    let mut verdicts = read.into_iter();
    let (mut rows, mut outages) = (Vec::new(), Vec::new());
    for asked in asked {
        let required = config
            .inventory_of(&config.images[asked.at])
            .map_or(&[][..], |inventory| &inventory.required_labels);
        let digest = asked.facts().map(|facts| facts.digest.to_string());
        let image = |platform, checks| InventoryImage {
            image: Some(asked.name.to_owned()),
            digest: digest.clone(),
            platform,
            checks,
        };
        let Some(facts) = asked.facts() else {
            let (check, outage) = unseen(config, asked, asked.found.as_ref().err());
            rows.push(image(None, vec![check]));
            outages.extend(outage);
            continue;
        };
        for (platform, verdict) in facts.platforms.iter().zip(&mut verdicts) {
            let mut checks = required_labels(required, asked.name, platform);
            match verdict {
                Ok(further) => checks.extend(further.checks),
                Err(outage) => {
                    checks.push(unread(asked.name, &outage).platform(&platform.platform));
                    outages.push(outage);
                }
            }
            rows.push(image(Some(platform.platform.to_string()), checks));
        }
    }
    Ok((rows, outages))
}

/// The check of an image that cannot be examined.
fn unseen(config: &Config, asked: &Asked<'_>, error: Option<&Error>) -> (Check, Option<Error>) {
    let repository = &config.images[asked.at].repository;
    let check = |code, status, detail: String| Check::new(code, status, detail).image(asked.name);
    match (&asked.want, error) {
        (None, None) => {
            let declared = config.images[asked.at].pins;
            if declared > 0 {
                let detail = format!(
                    "found no pins, but {} declares {declared}",
                    config.source.name
                );
                return (check(Code::PIN_COUNT, Status::Fail, detail), None);
            }
            let detail = "the image is not pinned; --revision REV examines a build".to_owned();
            (check(Code::DIGEST_MISSING, Status::Skip, detail), None)
        }
        (_, Some(error)) if error.class == Class::Ambiguous => (
            check(Code::MANIFEST_AMBIGUOUS, Status::Fail, error.to_string()),
            None,
        ),
        (_, Some(error)) => (unread(asked.name, error), Some(error.clone())),
        (Some(want), None) => {
            let code = if matches!(want, TagOrDigest::Tag(_)) {
                Code::TAG_MISSING
            } else {
                Code::DIGEST_MISSING
            };
            let absence = repository.absence(format!("{repository}{want}"));
            let missing = check(code, Status::Fail, absence.detail);
            (missing.with_help(absence.help), None)
        }
    }
}

fn unread(image: &str, error: &Error) -> Check {
    Check::new(
        crate::code::Code::ENUMERATION_FAILED,
        Status::Skip,
        error.to_string(),
    )
    .image(image)
}
