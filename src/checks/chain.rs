//! The chain of checks for an approved set: stages in order, cheapest first. Every check of a stage
//! runs; the chain stops after a stage with a failed check or an outage.
//!
//! ```text
//! pins ─► history ─┬─► tags ─► signatures ─► contents ─► smoke ─► Approved
//!                  └─► trusted set ─────────────────────────────► Approved
//!                      tags ─► signatures ─► contents ─► smoke ─► VerifiedSet
//! ```
//!
//! Each stage takes the value of the previous one. Only a chain that checked pins and history, with
//! images that were verified by the chain or are listed in a document with a checked hash, returns
//! an [`Approved`], which every plan requires. A set that is verified without a repository is a
//! [`VerifiedSet`].

mod images;
mod trusted;

pub(crate) use images::{
    Contents, ImagePlatform, Images, Scope, SetVerification, Signatures, Smoke, Tags,
};

pub(crate) use trusted::{Expectation, TrustedImages, TrustedSet};

use super::{
    Check, Code, HistoryFacts, Overrides, Resolution, Status, agreement, any_failed, counts,
    history::{Extent, hold_by_content, order_and_hold, provenance, provenance_by_content},
};
use crate::{
    config::{Config, Image},
    error::Error,
    history::{Digests, Hold, Promoted, Provenance},
    oci::{Revision, Tag},
    pins::Found,
    registry::resolve::ImageFacts,
};

/// A chain after the check of pins.
#[derive(Debug)]
pub(crate) struct Counted<'c> {
    state: ChainState<'c>,
}

/// A chain after the check of history by the revision of the set.
#[derive(Debug)]
pub(crate) struct HistoryChecked<'c> {
    state: ChainState<'c>,
    verdict: HistoryVerdict,
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
    /// A rollback: the set was promoted. `None`: no commit records its revision, so its digests
    /// identify it.
    Promoted(Option<Promoted>),
}

/// Lookups of sets in history by their digests.
pub(crate) trait DigestHistory {
    /// Whether a rollback undid the set with these digests.
    fn hold(&self, digests: &Digests) -> Hold<'_>;

    /// The commit that pinned these digests together.
    fn provenance(&self, digests: &Digests) -> Provenance;
}

/// The checks of a chain that stopped.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// The checks up to and including the last stage.
    pub checks: Vec<Check>,
    /// The errors that prevented checks.
    pub outages: Vec<Error>,
}

/// A set that passed every stage.
#[derive(Debug)]
pub(crate) struct Approved {
    images: Vec<ApprovedImage>,
    checks: Vec<Check>,
}

/// A set of which all images passed every stage.
#[derive(Debug)]
pub(crate) struct VerifiedSet {
    revision: Revision,
    images: Vec<ApprovedImage>,
    checks: Vec<Check>,
}

/// One image of an approved set.
#[derive(Debug, Clone)]
pub(crate) struct ApprovedImage {
    /// The tag of the revision.
    pub tag: Tag,
    /// The resolved image; `None` only for an image without pins in a rollback, with a warning.
    pub facts: Option<ImageFacts>,
}

/// The set and the checks of the completed stages.
#[derive(Debug)]
struct ChainState<'c> {
    config: &'c Config,
    revision: &'c Revision,
    checks: Vec<Check>,
}

/// The checks of a stage, and the errors that prevented checks.
type StageResult = (Vec<Check>, Vec<Error>);

impl<'c> ChainState<'c> {
    fn new(config: &'c Config, revision: &'c Revision) -> Self {
        Self {
            config,
            revision,
            checks: Vec::new(),
        }
    }

    /// Adds a stage; stops if a check failed or could not run.
    fn stage(mut self, (checks, outages): StageResult) -> Result<Self, Stopped> {
        let must_stop = any_failed(&checks) || !outages.is_empty();
        self.checks.extend(checks);
        if must_stop {
            Err(Stopped {
                checks: self.checks,
                outages,
            })
        } else {
            Ok(self)
        }
    }

    fn stop(self, outage: Error) -> Stopped {
        Stopped {
            checks: self.checks,
            outages: vec![outage],
        }
    }

    fn approved(self, images: Vec<ApprovedImage>) -> Approved {
        Approved {
            images,
            checks: self.checks,
        }
    }
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
    fn check_digests(
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

impl<'c> HistoryChecked<'c> {
    /// The promoted set, if this is a rollback and a commit records its revision.
    pub(crate) fn promoted(&self) -> Option<&Promoted> {
        self.verdict.promoted()
    }

    /// The stage of tags, with one resolution for each image of the configuration, in order.
    pub(crate) fn resolved(
        self,
        resolutions: &[Resolution],
        history: &dyn DigestHistory,
    ) -> Result<Images<'c, HistoryVerdict, Tags>, Stopped> {
        let Self { state, mut verdict } = self;
        let (mut checks, mut outages) = images::check_tags(&state, resolutions, &verdict);
        let images = images::resolved_images(resolutions);
        // The digests of a rollback identify its promotion only if every tag has the right one.
        let is_complete = outages.is_empty() && !any_failed(&checks);
        if is_complete || matches!(verdict, HistoryVerdict::NotOlder { .. }) {
            let digests = pinned_digests(state.config, &images);
            let by_digests = verdict.check_digests(state.revision, &digests, history);
            checks.extend(by_digests.0);
            outages.extend(by_digests.1);
        }
        Ok(Images::new(
            state.stage((checks, outages))?,
            images,
            verdict,
        ))
    }
}

/// The digests of the images that are pinned.
fn pinned_digests(config: &Config, images: &[ApprovedImage]) -> Digests {
    let mut digests = Digests::new();
    for (image, found) in config.images.iter().zip(images) {
        if image.pins > 0
            && let Some(facts) = &found.facts
        {
            digests.insert(image.name.clone(), facts.digest);
        }
    }
    digests
}

/// Turns failures and outages of an image that is deployed nowhere into warnings and skips.
fn warn_only(image: &Image, (mut checks, outages): StageResult) -> StageResult {
    for check in &mut checks {
        if check.status == Status::Fail {
            check.status = Status::Warn;
        }
    }
    for outage in outages {
        let check = Check::new(Code::TAG_MISSING, Status::Skip, outage.to_string());
        checks.push(check.image(&image.name));
    }
    (checks, Vec::new())
}

impl Approved {
    /// The images, in the order of the configuration.
    pub(crate) fn images(&self) -> &[ApprovedImage] {
        &self.images
    }

    pub(crate) fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The digests of the images that are pinned.
    pub(crate) fn pinned_digests(&self, config: &Config) -> Digests {
        pinned_digests(config, &self.images)
    }
}

impl VerifiedSet {
    pub(crate) fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The images, in the order of the configuration.
    pub(crate) fn images(&self) -> &[ApprovedImage] {
        &self.images
    }

    pub(crate) fn checks(&self) -> &[Check] {
        &self.checks
    }
}

#[cfg(test)]
mod tests;
