//! How versions are listed and deleted: by the OCI distribution API, or by GitHub's packages API.
//!
//! Both hand over a [`Listing`] and carry out what [`super::apply`] asks for; what may be deleted
//! is not decided here.

mod ghcr;
mod manifests;
mod registry;

use std::time::Duration;

pub use ghcr::Ghcr;
pub use registry::Registry;

use super::{
    Guards, Listing, Progress, Rules, Version,
    apply::{CurrentState, Package},
};
use crate::{error::Error, registry::Deletion};

/// A package of any backend.
#[derive(Debug)]
pub enum Backend {
    /// The OCI distribution API.
    Registry(Box<Registry>),
    /// GitHub's packages API, and the registry for manifests.
    Ghcr(Box<Ghcr>),
}

/// The first pause before a deletion is read again that does not show yet; each further one is
/// twice as long.
const PAUSE: Duration = Duration::from_millis(100);
/// After a pause of this length a version that is still there counts as not deleted.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

impl Backend {
    /// Lists every version, with the data to judge them.
    pub async fn list(
        &self,
        guards: &Guards,
        rules: &Rules<'_>,
        progress: &Progress,
    ) -> Result<Listing, Error> {
        match self {
            Self::Registry(registry) => registry.list(guards, rules, progress).await,
            Self::Ghcr(ghcr) => ghcr.list(guards, rules, progress).await,
        }
    }

    /// Whether anything can be deleted at all, as far as that can be determined without deleting.
    pub async fn deletes(&self) -> Result<(), Error> {
        match self {
            Self::Registry(registry) => registry.deletes().await,
            Self::Ghcr(_) => Ok(()),
        }
    }

    /// Whether a version that was deleted can be restored by its number.
    pub fn restores(&self) -> bool {
        matches!(self, Self::Ghcr(_))
    }
}

impl Package for Backend {
    async fn again(&self, first: &Listing, progress: &Progress) -> Result<Listing, Error> {
        match self {
            Self::Registry(registry) => registry.again(first, &[], progress).await,
            Self::Ghcr(ghcr) => ghcr.again(first, progress).await,
        }
    }

    async fn afterwards(
        &self,
        before: &Listing,
        keep: &[Version],
        progress: &Progress,
    ) -> Result<Listing, Error> {
        match self {
            Self::Registry(registry) => registry.again(before, keep, progress).await,
            Self::Ghcr(ghcr) => ghcr.afterwards(before, keep, progress).await,
        }
    }

    async fn look(&self, version: &Version) -> Result<CurrentState, Error> {
        match self {
            Self::Registry(registry) => registry.look(version).await,
            Self::Ghcr(ghcr) => ghcr.look(version).await,
        }
    }

    async fn delete(&self, version: &Version) -> Result<Deletion, Error> {
        match self {
            Self::Registry(registry) => registry.delete(version).await,
            Self::Ghcr(ghcr) => ghcr.delete(version).await,
        }
    }

    async fn is_gone(&self, version: &Version) -> Result<bool, Error> {
        let mut pause = PAUSE;
        loop {
            let gone = match self {
                Self::Registry(registry) => registry.is_gone(version).await?,
                Self::Ghcr(ghcr) => ghcr.is_gone(version).await?,
            };
            if gone || pause > LONGEST_PAUSE {
                return Ok(gone);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    fn grant(&self) -> &'static str {
        match self {
            Self::Registry(_) => {
                "the registry hides deletions that it does not permit: grant the credentials the \
                 permission to delete in this repository"
            }
            Self::Ghcr(_) => {
                "GitHub answers 404 where the role Admin is missing: in the package's settings, \
                 \"Manage Actions access\", give this repository the role Admin; a personal access \
                 token needs `delete:packages` and a user with the role Admin on the package"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[test]
    fn progress_begins_anew_with_each_listing() {
        let progress = Progress::default();
        progress.begin("reading tags", Some(3));
        progress.step();
        progress.step();
        assert_eq!(progress.describe(), "reading tags: 2 of 3");
        progress.begin("listing tags", None);
        assert_eq!(progress.describe(), "listing tags");
        progress.at(7);
        assert_eq!(progress.describe(), "listing tags: 7");
    }
}
