//! The head of the promoted branch on the forge, with its history.
//!
//! Verdicts rest on the branch that the forge has: that in a clone may be outdated, shallow or missing.

use super::{
    Access, Services, base,
    connection::{connect_repository, target},
    environment,
    history_branch::{BranchRole, configured_branch, history_branch},
    known_heads::{HeadKey, HeadOnForge},
};
use crate::{
    app::pull_request::ForgeRepository,
    base::error::{Class, Code, Error, Errors},
    config::Config,
    forge::Target,
    git::{Branch, Git, GitError},
};

/// The progress message.
const FETCHING: &str = "fetching the history";

/// Finds the head of the promoted branch, once for the sets of a repository; `None` if the forge or its token is unknown,
/// if the clone has this head and its whole history, or if the head cannot be read, which is reported.
pub(super) fn find(config: &Config, services: &Services) -> Option<HeadOnForge> {
    find_once(config, services).unwrap_or_else(|errors| {
        services.console.warn(&format!(
            "the history is that of this clone, which may be outdated: {}",
            errors.by_cause()[0].text()
        ));
        None
    })
}

fn find_once(config: &Config, services: &Services) -> Result<Option<HeadOnForge>, Errors> {
    let Some(configured) = &config.forge else {
        return Ok(None);
    };
    // The reader of the clone's history reports an unreadable clone.
    let Ok(Some(clone)) = services.discover_git(config) else {
        return Ok(None);
    };
    let Ok(target) = target(configured, Some(&clone)) else {
        return Ok(None);
    };
    if clone.remotes().map_err(Error::from)?.is_empty() {
        return Ok(None);
    }
    let key = HeadKey {
        clone: clone.top().to_owned(),
        target,
        branches: [configured.base.clone(), config.provenance.branch.clone()],
    };
    let mut known = services.known_heads.borrow_mut();
    if let Some((_, head)) = known.iter().find(|(known, _)| *known == key) {
        return Ok(head.clone().map(|head| HeadOnForge {
            git: head.git.with_prefix(clone.prefix().to_vec()),
            ..head
        }));
    }
    let head = read(config, &clone, &key.target, services);
    // An error is reported once.
    known.push((key, head.clone().ok().flatten()));
    head
}

/// Fetches the head, unless the clone has it with its whole history.
fn read(
    config: &Config,
    clone: &Git,
    target: &Target,
    services: &Services,
) -> Result<Option<HeadOnForge>, Errors> {
    let known = match history_branch(clone, Some(config), &services.environment) {
        Ok(known) if known.role == BranchRole::Promoted => Some(known.branch),
        // The branch of another remote decides.
        Err(GitError::OtherHistory { .. }) => return Ok(None),
        Ok(_) | Err(_) => None,
    };
    base::check_known_bases(config, Some(clone), services)?;
    let remotes = clone.remotes().map_err(Error::from)?;
    let named = known.as_ref().and_then(|known| clone.remote_of(known).ok());
    // Of several remotes, only `origin` is confirmed below: a branch of another one may be in another repository.
    let is_of_origin = named.as_ref().is_some_and(|(remote, _)| remote == "origin");
    if remotes.len() > 1 && !is_of_origin {
        return Ok(None);
    }
    if !is_confirmed(config, target, clone, known.as_ref()).map_err(Error::from)? {
        return Ok(None);
    }
    let repository = match connect_repository(config, Some(clone), services)? {
        Access::Granted(repository) => repository,
        Access::NoToken(_) => return Ok(None),
    };
    let in_clone = known.as_ref().zip(named).map(|(known, (_, name))| Branch {
        name,
        tip: known.tip,
    });
    let stated = environment::default_branch(&services.environment, Some(clone));
    let of_clone = KnownBranches {
        found: in_clone.as_ref(),
        is_whole: !clone.is_shallow(),
        stated,
    };
    let work = fetch(&repository, config, of_clone);
    let Some(mut head) = services.wait(work, FETCHING)? else {
        return Ok(None);
    };
    if let Some(known) = known.as_ref().filter(|_| remotes.len() > 1) {
        let tip = head.history_branch.tip;
        if !head
            .git
            .is_ancestor(&known.tip, &tip)
            .map_err(Error::from)?
        {
            return Ok(None);
        }
    }
    head.history_branch.name = match (known, in_clone) {
        (Some(known), Some(named)) if named.name == head.branch => known.name,
        _ => {
            let remote = remotes.iter().find(|name| *name == "origin");
            format!("{}/{}", remote.unwrap_or(&remotes[0]), head.branch)
        }
    };
    Ok(Some(head))
}

/// The branches that are known without a request to the forge.
struct KnownBranches<'c> {
    /// The branch in the clone, with its name on the forge.
    found: Option<&'c Branch>,
    /// Whether the clone has its whole history.
    is_whole: bool,
    /// The default branch according to the job. The token of a job may not be allowed to request it.
    stated: Option<String>,
}

async fn fetch(
    repository: &ForgeRepository,
    config: &Config,
    known: KnownBranches<'_>,
) -> Result<Option<HeadOnForge>, Error> {
    let ForgeRepository { forge, content } = repository;
    let name = match (configured_branch(config), known.found, known.stated) {
        (Some(name), _, _) => name.to_owned(),
        (None, Some(found), _) => found.name.clone(),
        (None, None, Some(stated)) => stated,
        (None, None, None) => forge.repository().await?.default_branch,
    };
    let found = known.found.filter(|_| known.is_whole);
    if let Some(known) = found.filter(|found| found.name == name)
        && content.listed(&name).await? == Some(known.tip)
    {
        return Ok(None);
    }
    let Some(head) = content.head(&name).await? else {
        let message = format!("{} has no branch {name}", forge.name());
        return Err(Error::new(Class::Unavailable, Code::UNAVAILABLE, message));
    };
    HeadOnForge::new(name, &head, content).map(Some)
}

/// Whether the repository on the forge is that of the clone, or that of the configuration on the clone's branch: a pull
/// request could name another one, with a history of its own, and would receive the token.
fn is_confirmed(
    config: &Config,
    own: &Target,
    clone: &Git,
    known: Option<&Branch>,
) -> Result<bool, GitError> {
    if clone.origin()?.is_some_and(|url| own.is_at(&url)) {
        return Ok(true);
    }
    let Some(known) = known else {
        return Ok(false);
    };
    Ok(match base::base_config(config, clone, clone, &known.tip) {
        Ok(base::BaseConfig::Found(base)) => {
            let there = base.forge.map(|forge| target(&forge, Some(clone)));
            matches!(there, Some(Ok(there)) if there == *own)
        }
        Ok(_) | Err(_) => false,
    })
}
