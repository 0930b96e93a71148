//! The backend that prunes an image: GitHub's packages API, or the image's registry.

use super::{
    Access, Services,
    connection::{settings, token},
};
use crate::{
    code::Code,
    config::{Config, Forge, ForgeKind, Image, PruneBackend, Where},
    error::{Error, Errors},
    forge::{Kind, Package, Target},
    git::Git,
    prune::backends::{Backend, Ghcr, Registry},
    registry::Source,
};

/// The registry whose distribution API does not delete.
const GHCR: &str = "ghcr.io";

/// The backend of an image.
pub fn backend(
    config: &Config,
    image: &Image,
    services: &Services,
) -> Result<Access<Backend>, Errors> {
    let wrong = |reason: String| Errors::from(Error::input(Code::SOURCE, reason));
    let sources = services.sources(config)?;
    let source = sources
        .source(&image.repository)
        .map_err(|error| wrong(error.to_string()))?;
    let chosen = config
        .prune
        .as_ref()
        .map_or(PruneBackend::Auto, |prune| prune.backend);
    let elsewhere = matches!(
        sources.mapping(&image.repository),
        Some((Where::Registry(_), _))
    );
    // A mirror in place of ghcr.io is pruned like any registry, unless a forge says whom to ask.
    let is_github = image.repository.host() == GHCR && !(elsewhere && config.forge.is_none());
    match (chosen, source) {
        (PruneBackend::Ghcr, source) => github(config, image, source, services),
        (PruneBackend::Auto, source) if is_github => github(config, image, source, services),
        (_, Source::Remote(remote)) => Ok(Access::Granted(Backend::Registry(Box::new(
            Registry::new(remote),
        )))),
        (_, Source::Layout(layout)) => Err(wrong(format!(
            "{} is read from the image layout {layout}, which cannot be pruned",
            image.name
        ))),
    }
}

fn github(
    config: &Config,
    image: &Image,
    source: Source,
    services: &Services,
) -> Result<Access<Backend>, Errors> {
    let invalid =
        |reason: String, hint: &str| Errors::from(Error::input(Code::CONFIG, reason).help(hint));
    let path = image.repository.path();
    let (owner, name) = path.split_once('/').ok_or_else(|| {
        invalid(
            format!(
                "`{}` is not OWNER/NAME, so its package is unknown",
                image.repository
            ),
            "write ghcr.io/OWNER/NAME",
        )
    })?;
    let git = Git::discover(&config.root).map_err(Error::from)?;
    let origin = git.as_ref().and_then(|git| git.origin().ok().flatten());
    let hint = "set forge.kind to github, and forge.url to its API";
    let (kind, api) = match &config.forge {
        // An address that does not tell: only one kind has this API.
        Some(forge) if forge.kind == ForgeKind::Auto && forge.url.is_some() => {
            let github = Forge {
                kind: ForgeKind::Github,
                ..forge.clone()
            };
            Target::api(forge, None).or_else(|_| Target::api(&github, None))
        }
        Some(forge) => Target::api(forge, origin.as_deref()),
        None => Target::public_api(origin.as_deref()),
    }
    .map_err(|error| invalid(error.to_string(), hint))?;
    if kind != Kind::Github {
        return Err(invalid(
            "the forge is not GitHub, and only GitHub has the packages API".to_owned(),
            hint,
        ));
    }
    let held = match token(&api, git.as_ref(), &services.environment)? {
        Access::Granted(held) => held,
        Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
    };
    let settings = settings(&api, services)?;
    let package = Package::new(api, owner, name, held.token, settings)?;
    Ok(Access::Granted(Backend::Ghcr(Box::new(Ghcr::new(
        package, source,
    )))))
}
