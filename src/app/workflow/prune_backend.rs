//! The backend that prunes an image: GitHub's packages API, or the image's registry.

use super::{
    Access, Services,
    connection::{settings, token},
};
use crate::{
    base::error::{Code, Error, Errors},
    config::{Config, Forge, ForgeKind, Image, PruneBackend},
    forge::{Kind, Package, Target},
    git::Git,
    oci::registry::{self, AwsEnvironment, Source, SourceLocation, Sources},
    prune::backends::{Backend, Ecr, Ghcr, Registry},
};

/// A registry without deletion in its distribution API.
const GHCR: &str = "ghcr.io";

pub(crate) fn prune_backend(
    config: &Config,
    image: &Image,
    services: &Services,
) -> Result<Access<Backend>, Errors> {
    let unusable = |reason: String| Errors::from(Error::input(Code::SOURCE, reason));
    let sources = services.sources(config)?;
    let source = sources
        .source(&image.repository)
        .map_err(|error| unusable(error.to_string()))?;
    let chosen = config
        .prune
        .as_ref()
        .map_or(PruneBackend::Auto, |prune| prune.backend);
    let is_github = is_on_github(config, image, &sources);
    match (chosen, source) {
        (PruneBackend::Ghcr, source) => github(config, image, source, services),
        (PruneBackend::Auto, source) if is_github => github(config, image, source, services),
        (PruneBackend::Ecr, Source::Remote(_)) => ecr(config, image, services),
        (PruneBackend::Auto, Source::Remote(_))
            if registry::is_ecr(image.repository.host())
                && sources.mapping(&image.repository).is_none() =>
        {
            ecr(config, image, services)
        }
        (_, Source::Remote(remote)) => Ok(Access::Granted(Backend::Registry(Box::new(
            Registry::new(remote, image.repository.is_on_hub()),
        )))),
        (_, Source::Layout(layout)) => Err(unusable(format!(
            "{} is read from the image layout {layout}, which cannot be pruned",
            image.name
        ))),
    }
}

/// The repository of an image in Amazon ECR.
fn ecr(config: &Config, image: &Image, services: &Services) -> Result<Access<Backend>, Errors> {
    let environment =
        AwsEnvironment::from_lookup(|name| services.environment.variable(name).cloned());
    let repository = services
        .registries(config)?
        .ecr(&image.repository, environment);
    let repository = repository.map_err(|reason| {
        let help = "set prune.backend to registry for other registries";
        Errors::from(Error::input(Code::CONFIG, reason).help(help))
    })?;
    Ok(Access::Granted(Backend::Ecr(Box::new(Ecr::new(
        repository,
    )))))
}

/// Whether GitHub's packages API lists the versions of an image. A mirror of ghcr.io is like any registry,
/// unless a forge is configured.
pub(super) fn is_on_github(config: &Config, image: &Image, sources: &Sources) -> bool {
    let has_mirror = matches!(
        sources.mapping(&image.repository),
        Some((SourceLocation::Registry(_), _))
    );
    image.repository.host() == GHCR && (!has_mirror || config.forge.is_some())
}

fn github(
    config: &Config,
    image: &Image,
    source: Source,
    services: &Services,
) -> Result<Access<Backend>, Errors> {
    Ok(match package(config, image, services)? {
        Access::Granted(package) => {
            Access::Granted(Backend::Ghcr(Box::new(Ghcr::new(package, source))))
        }
        Access::NoToken(reason) => Access::NoToken(reason),
    })
}

/// The package of an image on GitHub. Sends no request.
pub(super) fn package(
    config: &Config,
    image: &Image,
    services: &Services,
) -> Result<Access<Package>, Errors> {
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
        // The address may not show the kind, and only GitHub has this API.
        Some(forge) if forge.url.is_some() => {
            let github = Forge {
                kind: ForgeKind::Github,
                ..forge.clone()
            };
            Target::api(&forge.address(), None).or_else(|_| Target::api(&github.address(), None))
        }
        Some(forge) => Target::api(&forge.address(), origin.as_deref()),
        None => Target::public_api(origin.as_deref()),
    }
    .map_err(|error| invalid(error.to_string(), hint))?;
    if kind != Kind::Github {
        return Err(invalid(
            "the forge is not GitHub, and only GitHub has the packages API".to_owned(),
            hint,
        ));
    }
    let credential = match token(&api, git.as_ref(), &services.environment)? {
        Access::Granted(credential) => credential,
        Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
    };
    let settings = settings(&api, services)?;
    let package = Package::new(&api, owner, name, credential.token, settings)?;
    Ok(Access::Granted(package))
}
