//! The image of a command, given by a configured name or as a reference, and its platforms.

use crate::{
    cli::{args::OfImage, context::Context},
    code::Code,
    config::{Config, Image, Inventory, nearest},
    error::{Class, Error, Errors, usage},
    git,
    oci::{Digest, Reference, Repository, TagOrDigest},
    pins::{self, Found},
    registry::{
        Source,
        resolve::{self, ImageFacts, PlatformFacts},
    },
};

/// One image with its source and platforms.
pub(super) struct Subject {
    /// The name in messages.
    pub(super) name: String,
    pub(super) source: Source,
    /// The digest of the image, or of the index that lists its platforms.
    pub(super) digest: Digest,
    pub(super) platforms: Vec<PlatformFacts>,
}

/// The inventory of an image, or of the set, which must declare kinds.
pub(super) fn kinds<'c>(
    config: &'c Config,
    image: Option<&'c Image>,
) -> Result<&'c Inventory, Errors> {
    image
        .map_or(config.inventory.as_ref(), |image| {
            config.inventory_of(image)
        })
        .filter(|inventory| !inventory.kinds.is_empty())
        .ok_or_else(|| {
            let message = match image {
                Some(image) => format!(
                    "{} has no `inventory.kinds` for `{}`, so nothing can be listed",
                    config.source.name, image.name
                ),
                None => format!(
                    "{} has no `inventory.kinds`, so nothing can be listed",
                    config.source.name
                ),
            };
            Errors::from(
                Error::input(Code::CONFIG, message)
                    .help("declare `inventory.kinds`; `repin schema` describes it"),
            )
        })
}

/// Finds the image and reads its manifests and configs.
pub(super) fn of(args: &OfImage, config: &Config, cx: &Context) -> Result<Subject, Errors> {
    let (repository, want) = named(&args.image, config)?;
    let source = cx.services.sources(config)?.source(&repository);
    let source =
        source.map_err(|error| Errors::from(Error::input(Code::SOURCE, error.to_string())))?;
    let work = resolve::resolve(&source, &want);
    let facts = cx.services.wait(work, &format!("reading {repository}"))?;
    let facts = facts
        .map_err(|error| Errors::from(&error))?
        .ok_or_else(|| missing(&repository, &want))?;
    let digest = facts.digest;
    let platforms = chosen(args.platform.as_deref(), &args.image, facts)?;
    Ok(Subject {
        name: args.image.clone(),
        source,
        digest,
        platforms,
    })
}

fn missing(repository: &Repository, want: &TagOrDigest) -> Errors {
    let code = if matches!(want, TagOrDigest::Tag(_)) {
        Code::TAG_MISSING
    } else {
        Code::DIGEST_MISSING
    };
    let absence = repository.absence(format!("{repository}{want}"));
    let error = Error::new(Class::Failed, code, absence.detail);
    Errors::from(match absence.help {
        Some(help) => error.help(help),
        None => error,
    })
}

/// The configured image that `text` names, or is a reference to.
pub(super) fn configured<'c>(text: &str, config: &'c Config) -> Option<&'c Image> {
    config.image(text).or_else(|| {
        let repository = Reference::parse(text).ok()?.repository;
        let mut images = config.images.iter();
        images.find(|image| image.repository == repository)
    })
}

/// Interprets `text` as a configured image's name or as a reference.
fn named(text: &str, config: &Config) -> Result<(Repository, TagOrDigest), Errors> {
    if let Some(at) = config.images.iter().position(|image| image.name == text) {
        let image = &config.images[at];
        let digest = pinned(&pins::find(&git::work_tree(config), config)?, at, text)?;
        return Ok((image.repository.clone(), TagOrDigest::Digest(digest)));
    }
    let reference = Reference::parse(text).map_err(|error| {
        let names: Vec<_> = config
            .images
            .iter()
            .map(|image| image.name.as_str())
            .collect();
        let hint = match nearest(text, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "name a configured image ({}), REPOSITORY:TAG or REPOSITORY@DIGEST",
                names.join(", ")
            ),
        };
        let message = format!("`{text}` is neither a configured image nor a reference: {error}");
        Errors::from(Error::input(Code::USAGE, message).help(hint))
    })?;
    let want = reference
        .digest
        .map(TagOrDigest::Digest)
        .or_else(|| reference.tag.map(TagOrDigest::Tag));
    let want = want.ok_or_else(|| usage(format!("`{text}` names neither a tag nor a digest")))?;
    Ok((reference.repository, want))
}

/// The one digest that a configured image is pinned to.
fn pinned(found: &Found, at: usize, name: &str) -> Result<Digest, Errors> {
    match found.digests_of(at).as_slice() {
        [digest] => Ok(*digest),
        [] => {
            let problem = Error::input(
                Code::USAGE,
                format!("`{name}` is not pinned, so its build is unknown"),
            );
            Err(Errors::from(problem.help(
                "name the build as REPOSITORY:TAG or REPOSITORY@DIGEST",
            )))
        }
        several => {
            let digests: Vec<_> = several.iter().map(ToString::to_string).collect();
            let message = format!("the pins of `{name}` disagree: {}", digests.join(", "));
            Err(Errors::from(Error::failed(Code::PIN_DISAGREE, message)))
        }
    }
}

/// The platforms to examine: all, or the one given by `--platform`.
fn chosen(
    wanted: Option<&str>,
    image: &str,
    facts: ImageFacts,
) -> Result<Vec<PlatformFacts>, Errors> {
    let Some(wanted) = wanted else {
        return Ok(facts.platforms);
    };
    let there: Vec<_> = facts
        .platforms
        .iter()
        .map(|facts| facts.platform.to_string())
        .collect();
    let chosen: Vec<_> = facts
        .platforms
        .into_iter()
        .filter(|facts| facts.platform.to_string() == wanted)
        .collect();
    if chosen.is_empty() {
        let message = format!(
            "{image} has no platform `{wanted}`; available: {}",
            there.join(", ")
        );
        let error = Error::failed(Code::ENUMERATION_FAILED, message);
        return Err(error.help("choose one of the available platforms").into());
    }
    Ok(chosen)
}
