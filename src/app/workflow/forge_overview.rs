//! The sets of a configuration on the forge, for a read-only command.

use super::{Access, Services, base_forge, connect};
use crate::{
    app::pull_request::of_set::{self, CurrentCommit, PullRequestOfSet},
    base::error::{Error, Errors},
    config::Config,
    core::history::HistoryEntry,
    forge::{Forge, Pull},
    git::Git,
};

/// The progress message.
const READING: &str = "reading pull requests";

/// The base branch and the pull requests of sets.
pub(crate) struct ForgeOverview {
    pub base: String,
    /// The commit at the head of the base branch; `None` if the branch is missing.
    pub head: Option<String>,
    /// The open pull requests of sets for the base branch.
    pub open: Vec<PullRequestOfSet>,
    /// The merged pull request that made the current set current.
    pub merged: Result<Option<Pull>, Error>,
}

/// Fetches the overview from the configured forge. `current`: the entry of the current set.
pub(crate) fn forge_overview(
    config: &Config,
    git: Option<&Git>,
    current: Option<&HistoryEntry>,
    services: &Services,
) -> Result<Access<ForgeOverview>, Errors> {
    let forge = match connect_checked(config, git, services)? {
        Access::Granted(forge) => forge,
        Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
    };
    let work = read(&forge, config, current);
    Ok(Access::Granted(services.wait(work, READING)?))
}

/// The open pull requests of sets for the base branch.
pub(super) fn open_pull_requests(
    config: &Config,
    git: Option<&Git>,
    services: &Services,
) -> Result<Access<Vec<PullRequestOfSet>>, Errors> {
    let forge = match connect_checked(config, git, services)? {
        Access::Granted(forge) => forge,
        Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
    };
    let work = async { of_set::open(&forge, config, &base_branch(&forge, config).await?).await };
    Ok(Access::Granted(services.wait(work, READING)?))
}

/// Selects the configured forge. A checkout with another forge than its base must not receive the token.
fn connect_checked(
    config: &Config,
    git: Option<&Git>,
    services: &Services,
) -> Result<Access<Forge>, Errors> {
    base_forge::check_known_bases(config, git, services)?;
    connect(config, git, services)
}

async fn base_branch(forge: &Forge, config: &Config) -> Result<String, Error> {
    let configured = config.forge.as_ref().and_then(|forge| forge.base.clone());
    match configured {
        Some(base) => Ok(base),
        None => Ok(forge.repository().await?.default_branch),
    }
}

async fn read(
    forge: &Forge,
    config: &Config,
    current: Option<&HistoryEntry>,
) -> Result<ForgeOverview, Error> {
    let base = base_branch(forge, config).await?;
    let head = forge.branch(&base).await?.map(|head| head.commit);
    let open = of_set::open(forge, config, &base).await?;
    let merged = match current {
        Some(entry) => of_set::merged(forge, config, commit_of(entry)).await,
        None => Ok(None),
    };
    Ok(ForgeOverview {
        base,
        head,
        open,
        merged,
    })
}

fn commit_of(entry: &HistoryEntry) -> CurrentCommit<'_> {
    CurrentCommit {
        commit: &entry.commit,
        number: entry.pull_request,
        operation: entry.kind.operation(),
        revision: entry.revision.as_ref(),
    }
}
