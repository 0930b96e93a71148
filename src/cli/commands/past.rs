//! Git history as commands need it: read once, or the reason why it could not be.

use crate::{
    checks::{self, Past},
    config::Config,
    facts::{
        git::{Git, GitError},
        history::{self, Digests, Hold},
    },
    image::Revision,
    pins::Found,
    source::Error,
};

/// The history of one run.
pub(super) struct History<'c> {
    config: &'c Config,
    read: Result<(Git, history::History), GitError>,
}

impl<'c> History<'c> {
    /// Reads it.
    pub(super) fn read(config: &'c Config) -> Self {
        let read = Git::open(&config.root).and_then(|git| {
            let history = history::History::read(&git, config)?;
            Ok((git, history))
        });
        Self { config, read }
    }

    /// It, or what to do about its absence.
    pub(super) fn known(&self) -> Result<&history::History, Error> {
        self.read
            .as_ref()
            .map(|(_, history)| history)
            .map_err(checks::outage)
    }

    /// The repository that it is of.
    pub(super) fn git(&self) -> Option<&Git> {
        self.read.as_ref().ok().map(|(git, _)| git)
    }

    /// What it says about a revision that is to be promoted.
    pub(super) fn past(&self, revision: &Revision, found: &Found) -> Result<Past<'_>, Error> {
        match &self.read {
            Ok((git, history)) => {
                let pinned = checks::pinned_now(self.config, found);
                let order = history
                    .order(git, revision, &pinned)
                    .map_err(|error| checks::outage(&error))?;
                Ok(Past::Known {
                    order,
                    hold: history.held(revision),
                })
            }
            Err(error) => {
                match checks::without_history(error, self.config.provenance.branch.is_some()) {
                    Some(why) => Ok(Past::NoGit(why)),
                    None => Err(checks::outage(error)),
                }
            }
        }
    }

    /// Whether a rollback undid the set with these digests.
    pub(super) fn held_set(&self, digests: &Digests) -> Hold<'_> {
        self.read
            .as_ref()
            .map_or(Hold::Free, |(_, history)| history.held_set(digests))
    }

    /// The revision of the set that is pinned now, as far as history knows it.
    pub(super) fn revision_now(&self, found: &Found) -> Option<Revision> {
        let (_, history) = self.read.as_ref().ok()?;
        history
            .revision_of(&checks::pinned_now(self.config, found))
            .cloned()
    }
}
