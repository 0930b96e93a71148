//! The image of a command, specified by a configured name or a reference, and its platforms.

use clap::Args;

use crate::{
    app::{
        cli::{args::images, context::Context},
        workflow::pull_limit::{ImagePulls, ManifestPull, check_pull_limit},
    },
    base::{
        code::Code,
        error::{Class, Error, Errors, usage},
    },
    config::{Config, Image, nearest},
    contents::inventory::Inventory,
    core::pins::{self, Found},
    oci::{
        Digest, Platform, Reference, Repository, TagOrDigest,
        registry::{
            Source,
            resolve::{self, ImageFacts, PlatformFacts},
        },
    },
};

#[derive(Debug, Args)]
pub(super) struct ImageArguments {
    /// Name of a configured image (its pinned digest is used), REPOSITORY:TAG or REPOSITORY@DIGEST
    #[arg(value_name = "IMAGE", add = images())]
    pub(super) image: String,
    /// Read only this platform; without it, all platforms must have the same content
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    platform: Option<Platform>,
}

pub(super) struct Subject {
    /// The name for messages.
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
    let inventory = match image {
        Some(image) => config.inventory_of(image),
        None => config.inventory.as_ref(),
    };
    if let Some(inventory) = inventory
        && !inventory.kinds.is_empty()
    {
        return Ok(inventory);
    }
    let suffix = match image {
        Some(image) => format!(" for `{}`", image.name),
        None => String::new(),
    };
    let message = format!(
        "{} has no `inventory.kinds`{suffix}, so nothing can be listed",
        config.source_text.name
    );
    let help = "declare `inventory.kinds`; `repin schema` describes it";
    Err(Error::input(Code::CONFIG, message).help(help).into())
}

/// Resolves the image and fetches its manifests and configs.
pub(super) fn resolve(
    args: &ImageArguments,
    config: &Config,
    cx: &Context,
) -> Result<Subject, Errors> {
    let (repository, build) = interpret(&args.image, config)?;
    let source = cx
        .services
        .sources(config)?
        .source(&repository)
        .map_err(|error| Error::input(Code::SOURCE, error.to_string()))?;
    let pulls = ImagePulls {
        name: &args.image,
        repository: &repository,
        source: &source,
        manifests: vec![ManifestPull::resolution(build.clone())],
    };
    check_pull_limit(&[pulls], &cx.services)?;
    let work = resolve::resolve(&source, &build, &[]);
    let facts = cx
        .services
        .wait(work, &format!("reading {repository}"))
        .map_err(|error| Errors::from(&error))?;
    let Some(facts) = facts else {
        return Err(missing(&repository, &build));
    };
    Ok(Subject {
        name: args.image.clone(),
        source,
        digest: facts.digest,
        platforms: selected_platforms(args, facts)?,
    })
}

fn missing(repository: &Repository, build: &TagOrDigest) -> Errors {
    let code = if matches!(build, TagOrDigest::Tag(_)) {
        Code::TAG_MISSING
    } else {
        Code::DIGEST_MISSING
    };
    let absence = repository.absence(format!("{repository}{build}"));
    let error = Error::new(Class::Failed, code, absence.detail);
    Errors::from(match absence.help {
        Some(help) => error.help(help),
        None => error,
    })
}

/// The configured image with the name or the reference `text`.
pub(super) fn configured<'c>(text: &str, config: &'c Config) -> Option<&'c Image> {
    config.image(text).or_else(|| {
        let repository = Reference::parse(text).ok()?.repository;
        let mut images = config.images.iter();
        images.find(|image| image.repository == repository)
    })
}

/// Interprets `text` as the name of a configured image, or as a reference.
fn interpret(text: &str, config: &Config) -> Result<(Repository, TagOrDigest), Errors> {
    if let Some(index) = config.images.iter().position(|image| image.name == text) {
        let found = pins::find(&config.work_tree(), config)?;
        let digest = pinned_digest(&found, index, text)?;
        let repository = config.images[index].repository.clone();
        return Ok((repository, TagOrDigest::Digest(digest)));
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
                "specify a configured image ({}), REPOSITORY:TAG or REPOSITORY@DIGEST",
                names.join(", ")
            ),
        };
        let message =
            format!("expected a configured image or a reference, found `{text}`: {error}");
        Errors::from(Error::input(Code::USAGE, message).help(hint))
    })?;
    let build = match (reference.digest, reference.tag) {
        (Some(digest), _) => TagOrDigest::Digest(digest),
        (None, Some(tag)) => TagOrDigest::Tag(tag),
        (None, None) => {
            return Err(usage(format!("`{text}` has neither a tag nor a digest")));
        }
    };
    Ok((reference.repository, build))
}

/// The pinned digest of a configured image.
fn pinned_digest(found: &Found, image: usize, name: &str) -> Result<Digest, Errors> {
    match found.digests_of(image).as_slice() {
        [digest] => Ok(*digest),
        [] => {
            let message = format!("`{name}` is not pinned, so its build is unknown");
            let help = "specify the build as REPOSITORY:TAG or REPOSITORY@DIGEST";
            Err(Error::input(Code::USAGE, message).help(help).into())
        }
        several => {
            let digests: Vec<_> = several.iter().map(ToString::to_string).collect();
            let message = format!("the pins of `{name}` disagree: {}", digests.join(", "));
            Err(Errors::from(Error::failed(Code::PIN_DISAGREE, message)))
        }
    }
}

/// All platforms, or the platform of `--platform`.
fn selected_platforms(
    args: &ImageArguments,
    facts: ImageFacts,
) -> Result<Vec<PlatformFacts>, Errors> {
    let mut platforms = facts.platforms;
    let Some(platform) = &args.platform else {
        return Ok(platforms);
    };
    let wanted = platform.normalized();
    let available: Vec<_> = platforms
        .iter()
        .map(|facts| facts.platform.to_string())
        .collect();
    platforms.retain(|facts| facts.platform.normalized() == wanted);
    if platforms.is_empty() {
        let message = format!(
            "{} has no platform `{platform}`; available: {}",
            args.image,
            available.join(", ")
        );
        let error = Error::failed(Code::ENUMERATION_FAILED, message);
        return Err(error.help("choose one of the available platforms").into());
    }
    Ok(platforms)
}

fn platform(text: &str) -> Result<Platform, &'static str> {
    Platform::parse(text).ok_or(Platform::EXPECTED)
}
