//! The image that a command was given, by a configured name or as a reference, and its platforms.

use crate::{
    cli::{args::OfImage, commands::set::wait, context::Context, exit::usage},
    config::{Config, Inventory, raw::nearest},
    error::{Class, Error, Errors},
    oci::{Digest, Reference, Repository},
    outside,
    pins::{self, Found},
    registry::{
        Source, Want,
        resolve::{self, ImageFacts, PlatformFacts},
    },
};

/// One image, as it was asked for.
pub(super) struct Subject {
    /// What it is called in messages.
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) platforms: Vec<PlatformFacts>,
}

/// The inventory that the configuration has; without kinds there is nothing to list.
pub(super) fn kinds(config: &Config) -> Result<&Inventory, Errors> {
    config
        .inventory
        .as_ref()
        .filter(|inventory| !inventory.kinds.is_empty())
        .ok_or_else(|| {
            let message = format!(
                "{} has no `inventory.kinds`, so there is nothing to list",
                config.source.name
            );
            Errors::from(
                Error::input("config", message)
                    .help("declare the kinds of names that images contain"),
            )
        })
}

/// Finds the image and reads its manifests and configs.
pub(super) fn of(args: &OfImage, config: &Config, cx: &Context) -> Result<Subject, Errors> {
    let (repository, want) = named(&args.image, config)?;
    let source = cx.sources(config)?.of(&repository);
    let source = source.map_err(|error| Errors::from(Error::input("source", error.to_string())))?;
    let facts = wait(
        resolve::resolve(&source, &want),
        &format!("reading {repository}"),
        cx,
    )?;
    let facts = facts
        .map_err(|error| Errors::from(&error))?
        .ok_or_else(|| missing(&repository, &want))?;
    let platforms = chosen(args.platform.as_deref(), &args.image, facts)?;
    Ok(Subject {
        name: args.image.clone(),
        source,
        platforms,
    })
}

fn missing(repository: &Repository, want: &Want) -> Errors {
    let code = if matches!(want, Want::Tag(_)) {
        "tag_missing"
    } else {
        "digest_missing"
    };
    Errors::from(Error::new(
        Class::Failed,
        code,
        format!("{repository}{want} does not exist"),
    ))
}

/// What is meant by `text`: a configured image's pinned digest, or a reference.
fn named(text: &str, config: &Config) -> Result<(Repository, Want), Errors> {
    if let Some(at) = config.images.iter().position(|image| image.name == text) {
        let image = &config.images[at];
        let digest = pinned(&pins::find(&outside::work_tree(config), config)?, at, text)?;
        return Ok((image.repository.clone(), Want::Digest(digest)));
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
        let message = format!("`{text}` is no configured image, and no reference: {error}");
        Errors::from(Error::input("usage", message).help(hint))
    })?;
    let want = reference
        .digest
        .map(Want::Digest)
        .or_else(|| reference.tag.map(Want::Tag));
    let want = want.ok_or_else(|| usage(format!("`{text}` names neither a tag nor a digest")))?;
    Ok((reference.repository, want))
}

/// The one digest that a configured image is pinned to.
fn pinned(found: &Found, at: usize, name: &str) -> Result<Digest, Errors> {
    match found.digests_of(at).as_slice() {
        [digest] => Ok(*digest),
        [] => {
            let problem = Error::input(
                "usage",
                format!("`{name}` is pinned nowhere, so which build is meant?"),
            );
            Err(Errors::from(
                problem.help("name one: REPOSITORY:TAG or REPOSITORY@DIGEST"),
            ))
        }
        several => {
            let digests: Vec<_> = several.iter().map(ToString::to_string).collect();
            let message = format!("{name}: its pins disagree: {}", digests.join(", "));
            Err(Errors::from(Error::failed("pin_disagree", message)))
        }
    }
}

/// The platforms that are looked at: all of them, or the one that was named.
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
            "{image} has no platform `{wanted}`; there are {}",
            there.join(", ")
        );
        return Err(Errors::from(Error::failed("enumeration_failed", message)));
    }
    Ok(chosen)
}
