//! How versions are listed and deleted: by the OCI distribution API, or by GitHub's packages API.
//!
//! Both hand over a [`Listing`] and carry out what [`super::apply`] asks for; what may be deleted
//! is not decided here.

mod ghcr;
mod manifests;
mod registry;

use std::{cell::Cell, time::Duration};

pub use ghcr::Ghcr;
pub use registry::Registry;

use super::{
    Guards, Listing, Refusal, Rules, Version,
    apply::{Now, Package},
};
use crate::source::Deletion;

/// A package, by whichever way it is reached.
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

/// How far a long listing is; for whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    what: Cell<&'static str>,
    done: Cell<usize>,
    total: Cell<Option<usize>>,
}

impl Progress {
    /// Begins something; `total`: how much of it there is, where that is known.
    pub fn begin(&self, what: &'static str, total: Option<usize>) {
        self.what.set(what);
        self.done.set(0);
        self.total.set(total);
    }

    /// So much was done.
    pub fn at(&self, done: usize) {
        self.done.set(done);
    }

    /// One more was done.
    pub fn step(&self) {
        self.done.set(self.done.get() + 1);
    }

    /// How far it is, on one line.
    pub fn told(&self) -> String {
        let (what, done) = (self.what.get(), self.done.get());
        match self.total.get() {
            _ if done == 0 => what.to_owned(),
            Some(total) => format!("{what}: {done} of {total}"),
            None => format!("{what}: {done}"),
        }
    }
}

impl Backend {
    /// Lists every version, with what is needed to judge them.
    pub async fn list(
        &self,
        guards: &Guards,
        rules: &Rules<'_>,
        progress: &Progress,
    ) -> Result<Listing, Refusal> {
        match self {
            Self::Registry(registry) => registry.list(guards, rules, progress).await,
            Self::Ghcr(ghcr) => ghcr.list(guards, rules, progress).await,
        }
    }

    /// Whether anything can be deleted at all, as far as that can be told without deleting.
    pub async fn deletes(&self) -> Result<(), Refusal> {
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
    async fn again(&self, first: &Listing, progress: &Progress) -> Result<Listing, Refusal> {
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
    ) -> Result<Listing, Refusal> {
        match self {
            Self::Registry(registry) => registry.again(before, keep, progress).await,
            Self::Ghcr(ghcr) => ghcr.afterwards(before, keep, progress).await,
        }
    }

    async fn look(&self, version: &Version) -> Result<Now, Refusal> {
        match self {
            Self::Registry(registry) => registry.look(version).await,
            Self::Ghcr(ghcr) => ghcr.look(version).await,
        }
    }

    async fn delete(&self, version: &Version) -> Result<Deletion, Refusal> {
        match self {
            Self::Registry(registry) => registry.delete(version).await,
            Self::Ghcr(ghcr) => ghcr.delete(version).await,
        }
    }

    async fn is_gone(&self, version: &Version) -> Result<bool, Refusal> {
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
        assert_eq!(progress.told(), "reading tags: 2 of 3");
        progress.begin("listing tags", None);
        assert_eq!(progress.told(), "listing tags");
        progress.at(7);
        assert_eq!(progress.told(), "listing tags: 7");
    }
}
