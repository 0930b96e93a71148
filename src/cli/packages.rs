//! How the images of a run are pruned: by GitHub's packages API, or by the registry that they are
//! read from.

use super::{
    context::Context,
    forge::{Credential, settings, token},
};
use crate::{
    config::{Config, Forge, ForgeKind, Image, PruneBackend, Where},
    error::{Error, Errors},
    forge::{Kind, Package, Target},
    git::Git,
    prune::backends::{Backend, Ghcr, Registry},
    registry::Source,
};

/// The registry whose own endpoint deletes nothing.
const GHCR: &str = "ghcr.io";

/// The backend of an image; the inner error: no token is set, and what was looked for.
pub(super) fn backend(
    config: &Config,
    image: &Image,
    cx: &Context,
) -> Result<Result<Backend, String>, Errors> {
    let wrong = |why: String| Errors::from(Error::input("source", why));
    let sources = cx.sources(config)?;
    let source = sources
        .of(&image.repository)
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
        (PruneBackend::Ghcr, source) => github(config, image, source, cx),
        (PruneBackend::Auto, source) if is_github => github(config, image, source, cx),
        (_, Source::Remote(remote)) => Ok(Ok(Backend::Registry(Box::new(Registry::new(remote))))),
        (_, Source::Layout(layout)) => Err(wrong(format!(
            "{} is read from the image layout {layout}: there is nothing to prune",
            image.name
        ))),
    }
}

fn github(
    config: &Config,
    image: &Image,
    source: Source,
    cx: &Context,
) -> Result<Result<Backend, String>, Errors> {
    let invalid = |why: String, hint: &str| Errors::from(Error::input("config", why).help(hint));
    let path = image.repository.path();
    let (owner, name) = path.split_once('/').ok_or_else(|| {
        invalid(
            format!("`{}` names no package of an owner", image.repository),
            "write ghcr.io/OWNER/NAME",
        )
    })?;
    let git = Git::open(&config.root).ok();
    let origin = git.as_ref().and_then(|git| git.origin().ok().flatten());
    let hint = "packages are GitHub's: set forge.kind to github, and forge.url to its API";
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
            "the forge is no GitHub, and the packages API is GitHub's alone".to_owned(),
            hint,
        ));
    }
    let held = match token(&api, git.as_ref(), &cx.environment)? {
        Credential::Token(held) => held,
        Credential::Missing(why) => return Ok(Err(why)),
    };
    let settings = settings(&api, cx)?;
    let package = Package::new(api, owner, name, held.token, settings)?;
    Ok(Ok(Backend::Ghcr(Box::new(Ghcr::new(package, source)))))
}
