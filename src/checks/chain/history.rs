//! The stages before the images: the counted pins, and the order, holds and provenance of the set.

use super::{ChainState, StageResult, Stopped};
use crate::{
    checks::{
        Check, HistoryFacts, Overrides, Status, agreement, counts,
        history::{Extent, hold_by_content, order_and_hold, provenance, provenance_by_content},
    },
    config::Config,
    error::Error,
    history::{Digests, Hold, Promoted, Provenance},
    oci::Revision,
    pins::Found,
};

/// A chain whose pins were counted.
#[derive(Debug)]
pub(crate) struct Counted<'c> {
    pub(super) state: ChainState<'c>,
}

/// A chain whose history was checked by the revision of the set.
#[derive(Debug)]
pub(crate) struct HistoryChecked<'c> {
    pub(super) state: ChainState<'c>,
    pub(super) verdict: HistoryVerdict,
}

/// The verdict of history on a revision.
#[derive(Debug)]
pub(crate) enum HistoryVerdict {
    /// A promotion: the set is not older than the current one.
    NotOlder {
        overrides: Overrides,
        /// The extent of the history in which to look up the digests; `None`: the revision is held, or
        /// no history is available.
        digest_extent: Option<Extent>,
    },
    /// A rollback: the set was promoted. `None`: no commit records its revision, so its digests are
    /// looked up.
    Promoted(Option<Promoted>),
}

/// Lookups of sets in history by their digests.
pub(crate) trait DigestHistory {
    /// Whether a rollback undid the set with these digests.
    fn hold(&self, digests: &Digests) -> Hold<'_>;

    /// The commit that pinned these digests together.
    fn provenance(&self, digests: &Digests) -> Provenance;
}

impl<'c> Counted<'c> {
    /// The first stage for `revision`: the counted pins, and further checks of files.
    pub(crate) fn new(
        config: &'c Config,
        revision: &'c Revision,
        found: &Found,
        further: Vec<Check>,
    ) -> Result<Self, Stopped> {
        let mut checks = counts(config, found);
        checks.extend(agreement(config, found, Status::Warn));
        checks.extend(further);
        let state = ChainState::new(config, revision).stage((checks, Vec::new()))?;
        Ok(Self { state })
    }

    /// Stops because the facts of the next stage could not be gathered.
    pub(crate) fn stop(self, outage: Error) -> Stopped {
        self.state.stop(outage)
    }

    /// The second stage of a promotion: the build is not older and not held.
    pub(crate) fn not_older(
        self,
        facts: &HistoryFacts<'_>,
        overrides: Overrides,
    ) -> Result<HistoryChecked<'c>, Stopped> {
        let result = order_and_hold(self.state.revision, facts, overrides);
        let verdict = HistoryVerdict::NotOlder {
            overrides,
            digest_extent: facts.extent_unless_held(),
        };
        Ok(HistoryChecked {
            state: self.state.stage(result)?,
            verdict,
        })
    }

    /// The second stage of a rollback: the set was promoted.
    pub(crate) fn promoted(
        self,
        found: &Provenance,
        extent: Extent,
    ) -> Result<HistoryChecked<'c>, Stopped> {
        let result = provenance(self.state.config, self.state.revision, found, extent);
        let promoted = match found {
            Provenance::Found(promoted) => Some(promoted.clone()),
            _ => None,
        };
        Ok(HistoryChecked {
            state: self.state.stage(result)?,
            verdict: HistoryVerdict::Promoted(promoted),
        })
    }
}

impl HistoryVerdict {
    /// The promoted set, if this is a rollback and a commit is known.
    pub(crate) fn promoted(&self) -> Option<&Promoted> {
        match self {
            Self::NotOlder { .. } => None,
            Self::Promoted(promoted) => promoted.as_ref(),
        }
    }

    /// Looks up the set by its digests, unless its revision decided.
    pub(super) fn check_digests(
        &mut self,
        revision: &Revision,
        digests: &Digests,
        history: &dyn DigestHistory,
    ) -> StageResult {
        let (mut checks, mut outages) = (Vec::new(), Vec::new());
        match self {
            Self::NotOlder {
                overrides,
                digest_extent,
            } => {
                if let Some(extent) = *digest_extent {
                    let hold = history.hold(digests);
                    let is_forced = overrides.rolled_back;
                    checks.extend(hold_by_content(revision, &hold, is_forced, extent));
                }
            }
            Self::Promoted(Some(_)) => {}
            Self::Promoted(promoted) => {
                let found = history.provenance(digests);
                let (check, outage) = provenance_by_content(&found);
                checks.push(check);
                outages.extend(outage);
                if let Provenance::Found(found) = found {
                    *promoted = Some(found);
                }
            }
        }
        (checks, outages)
    }
}

impl HistoryChecked<'_> {
    /// The promoted set, if this is a rollback and a commit records its revision.
    pub(crate) fn promoted(&self) -> Option<&Promoted> {
        self.verdict.promoted()
    }
}
