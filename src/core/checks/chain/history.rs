//! The stages before the images: the counted pins, and the order, holds and provenance of the set.

use super::{ChainState, Stopped};
use crate::{
    base::error::Error,
    config::{Config, Override},
    core::{
        checks::{
            Check, HistoryFacts, Overrides, StageResult, Status, any_failed, check_agreement,
            check_pins, current_digests,
            freshness::check_merged,
            history::{
                Extent, HeldBy, check_history_of_holds, check_hold, check_order, check_provenance,
                check_provenance_by_digests, check_return, check_shallow_hold,
            },
        },
        history::{Digests, Hold, Membership, Order, Promoted, Provenance, UnknownOrder},
        pins::FoundPins,
    },
    oci::Revision,
};

/// A chain after the stage of pins.
#[derive(Debug)]
pub(crate) struct Counted<'c> {
    pub(super) state: ChainState<'c>,
    /// The digests of the images with agreeing pins.
    pub(super) pinned: Digests,
}

/// A chain after the stage of history, which looked up the set by its revision.
#[derive(Debug)]
pub(crate) struct HistoryChecked<'c> {
    pub(super) state: ChainState<'c>,
    pub(super) pinned: Digests,
    pub(super) verdict: HistoryVerdict,
}

/// The verdict of history on a revision.
#[derive(Debug)]
pub(crate) enum HistoryVerdict {
    /// A promotion, whose order was checked by its revision.
    Promotion {
        overrides: Overrides,
        /// An order that the images may complete or contradict; the stage of tags checks it.
        open_order: Option<Order>,
        /// The extent of the history; `None`: no history is available.
        extent: Option<Extent>,
        /// Whether the recorded set is held in a shallow clone: missing commits then matter only if the tags
        /// resolve to other digests.
        rechecks_shallow_hold: bool,
    },
    /// A rollback to a set that was promoted. `None`: no commit records its revision, so its digests are
    /// looked up.
    Rollback(Option<Promoted>),
}

/// Lookups of sets in history by their digests.
pub(crate) trait DigestHistory {
    /// Whether a rollback undid these digests. `pinned`: the digests that the files pin.
    fn hold(&self, digests: &Digests, pinned: &Digests) -> Hold;

    /// The commit that pinned these digests together.
    fn provenance(&self, digests: &Digests) -> Provenance;
}

impl<'c> Counted<'c> {
    /// The first stage for `revision`: the counted pins, and further checks of files.
    pub(crate) fn new(
        config: &'c Config,
        revision: &'c Revision,
        found: &FoundPins,
        further: Vec<Check>,
    ) -> Result<Self, Stopped> {
        let mut checks = check_pins(config, found);
        checks.extend(check_agreement(config, found, Status::Warn));
        checks.extend(further);
        let state = ChainState::new(config, revision).stage(checks.into())?;
        Ok(Self {
            state,
            pinned: current_digests(config, found),
        })
    }

    /// Stops because the facts of the next stage could not be gathered.
    pub(crate) fn stop(self, error: Error) -> Stopped {
        self.state.stop(error)
    }

    /// The stage of a promotion before that of history: the branch that counts contains the commit.
    pub(crate) fn merged(self, membership: &Membership) -> Result<Self, Stopped> {
        let (config, revision) = (self.state.config, self.state.revision);
        let result = check_merged(config, revision, membership);
        let state = self.state.stage(result)?;
        Ok(Self { state, ..self })
    }

    /// The second stage of a promotion: the build is not older, and history shows the holds.
    pub(crate) fn not_older(
        self,
        facts: &HistoryFacts<'_>,
        overrides: Overrides,
    ) -> Result<HistoryChecked<'c>, Stopped> {
        let (config, revision) = (self.state.config, self.state.revision);
        let mut result = StageResult::default();
        let (order, extent) = match facts {
            HistoryFacts::Absent(reason) => {
                let unknown = UnknownOrder::NoHistory(reason.clone());
                (Order::Unknown(unknown), Extent::Clone)
            }
            HistoryFacts::Known { order, extent, .. } => (order.clone(), *extent),
        };
        let open_order = if order.is_open() {
            Some(order)
        } else {
            match check_order(config, revision, &order, overrides.older, extent) {
                Ok(check) => result.checks.push(check),
                Err(errors) => result.errors.extend(errors.iter().cloned()),
            }
            None
        };
        let holds = check_history_of_holds(facts, overrides);
        let mut state = self.state;
        if facts.extent().is_some() && !holds.is_empty() {
            // Otherwise the check fails.
            state.overridden = Some(Override::RolledBack);
        }
        let is_refused = any_failed(&result.checks) || any_failed(&holds);
        let mut rechecks_shallow_hold = false;
        if let HistoryFacts::Known {
            recorded_hold,
            extent,
            ..
        } = facts
        {
            rechecks_shallow_hold = recorded_hold.is_shallow && recorded_hold.is_held();
            if recorded_hold.is_held() && is_refused {
                // The set is refused before its images are read.
                let set = HeldBy {
                    revision: Some(revision),
                    path: &config.set_path,
                };
                let held = check_hold(&set, recorded_hold, overrides.rolled_back, *extent);
                result.checks.push(held);
            } else if recorded_hold.is_shallow && !rechecks_shallow_hold {
                result.add(check_shallow_hold(overrides.rolled_back, *extent).into());
            }
        }
        result.checks.extend(holds);
        let verdict = HistoryVerdict::Promotion {
            overrides,
            open_order,
            extent: facts.extent(),
            rechecks_shallow_hold,
        };
        Ok(HistoryChecked {
            state: state.stage(result)?,
            pinned: self.pinned,
            verdict,
        })
    }

    /// The second stage of a rollback: the set was promoted.
    pub(crate) fn promoted(
        self,
        found: &Provenance,
        extent: Extent,
    ) -> Result<HistoryChecked<'c>, Stopped> {
        let result = check_provenance(self.state.config, self.state.revision, found, extent);
        let promoted = match found {
            Provenance::Found(promoted) => Some(promoted.clone()),
            _ => None,
        };
        Ok(HistoryChecked {
            state: self.state.stage(result)?,
            pinned: self.pinned,
            verdict: HistoryVerdict::Rollback(promoted),
        })
    }
}

impl HistoryVerdict {
    /// The promoted set, if this is a rollback and a commit is known.
    pub(crate) fn promoted(&self) -> Option<&Promoted> {
        match self {
            Self::Promotion { .. } => None,
            Self::Rollback(promoted) => promoted.as_ref(),
        }
    }

    /// Checks an order that the images complete. `order`: the result of reading them.
    pub(super) fn check_order(
        &self,
        config: &Config,
        revision: &Revision,
        order: Option<Order>,
    ) -> StageResult {
        let Self::Promotion {
            overrides,
            open_order: Some(open),
            extent,
            ..
        } = self
        else {
            return StageResult::default();
        };
        let order = order.unwrap_or_else(|| open.clone());
        let extent = extent.unwrap_or(Extent::Clone);
        match check_order(config, revision, &order, overrides.older, extent) {
            Ok(check) => vec![check].into(),
            Err(errors) => errors.iter().cloned().collect::<Vec<_>>().into(),
        }
    }

    /// Looks up a rollback by its digests, unless its revision decided.
    pub(super) fn check_provenance(
        &mut self,
        digests: &Digests,
        history: &dyn DigestHistory,
    ) -> StageResult {
        let Self::Rollback(promoted @ None) = self else {
            return StageResult::default();
        };
        let found = history.provenance(digests);
        let result = check_provenance_by_digests(&found);
        if let Provenance::Found(found) = found {
            *promoted = Some(found);
        }
        result
    }
}

impl HistoryChecked<'_> {
    /// Looks up the set by its digests: the hold, and the provenance of a rollback.
    pub(super) fn check_digests(
        &mut self,
        digests: &Digests,
        history: &dyn DigestHistory,
    ) -> StageResult {
        let mut result = self.verdict.check_provenance(digests, history);
        let set = HeldBy {
            revision: Some(self.state.revision),
            path: &self.state.config.set_path,
        };
        let hold = history.hold(digests, &self.pinned);
        let (is_forced, extent, rechecks_shallow_hold) = match &self.verdict {
            HistoryVerdict::Rollback(_) => {
                result.checks.extend(check_return(&set, &hold));
                return result;
            }
            HistoryVerdict::Promotion { extent: None, .. } => return result,
            HistoryVerdict::Promotion {
                overrides,
                extent: Some(extent),
                rechecks_shallow_hold,
                ..
            } => (overrides.rolled_back, *extent, *rechecks_shallow_hold),
        };
        if !hold.is_shallow || hold.latest().is_some() {
            let check = check_hold(&set, &hold, is_forced, extent);
            result.checks.push(check);
        }
        // The recorded set is held, and the tags resolve to other digests.
        if rechecks_shallow_hold && !hold.is_held() {
            result.add(check_shallow_hold(is_forced, extent).into());
        }
        if is_forced && (hold.is_held() || hold.is_shallow) {
            self.state.overridden = Some(Override::RolledBack);
        }
        result
    }
}

impl HistoryChecked<'_> {
    /// The promoted set, if this is a rollback and a commit records its revision.
    pub(crate) fn promoted(&self) -> Option<&Promoted> {
        self.verdict.promoted()
    }

    /// The order that the images may complete or contradict.
    pub(crate) fn open_order(&self) -> Option<&Order> {
        match &self.verdict {
            HistoryVerdict::Promotion { open_order, .. } => open_order.as_ref(),
            HistoryVerdict::Rollback(_) => None,
        }
    }

    /// Stops because the order of the builds could not be determined.
    pub(crate) fn stop(self, errors: Vec<Error>) -> Stopped {
        Stopped {
            checks: self.state.checks,
            errors,
        }
    }
}
