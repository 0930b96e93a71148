//! The heads of open pull requests, which may be in forks.

use super::{Access, Services, connect};
use crate::{
    base::error::{Class, Error, Errors},
    config::Config,
    forge::{Pulls, Target},
    git::{Git, ObjectId},
    prune::PullHead,
};

/// Lists the heads of all open pull requests of the configured forge. Returns a reason if there is no
/// forge, or if its token is missing or may not list them.
pub(crate) fn open_pulls(
    config: &Config,
    services: &Services,
) -> Result<Access<Vec<PullHead>>, Errors> {
    let unlisted = |reason: &str| Ok(Access::NoToken(reason.to_owned()));
    let Some(configured) = &config.forge else {
        return unlisted("the configuration has no `forge` block");
    };
    let git = Git::open(&config.root).map_err(Error::from)?;
    let Some(origin) = git.origin().map_err(Error::from)? else {
        return unlisted("the clone has no remote `origin`");
    };
    // Packages of an owner can be pruned without a repository on the forge.
    if let Err(error) = Target::resolve(&configured.address(), Some(&origin)) {
        return unlisted(&error.to_string());
    }
    let forge = match connect(config, Some(&git), services)? {
        Access::Granted(forge) => forge,
        Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
    };
    let pulls = match services.wait(forge.pulls(Pulls::Open), "listing pull requests") {
        Ok(pulls) => pulls,
        // GitHub hides a private repository from a token that may not read it, and Gitea hides the pull
        // requests of a repository that has switched them off.
        Err(error) if error.class == Class::Denied || error.status == Some(404) => {
            return unlisted(&error.text());
        }
        Err(error) => return Err(error.into()),
    };
    let mut heads = Vec::new();
    for pull in pulls {
        let Some(commit) = ObjectId::parse(pull.head_commit.as_bytes()) else {
            let number = pull.number;
            return unlisted(&format!(
                "the forge does not report the head of pull request #{number}"
            ));
        };
        heads.push(PullHead {
            number: pull.number,
            commit,
        });
    }
    Ok(Access::Granted(heads))
}
