//! The chain of checks that ends in an approved set: stages in order, cheapest first. A stage is
//! judged as a whole; if a check failed or could not be judged, the chain stops there.
//!
//! ```text
//! pins ─► history ─┬─► tags ─► signatures ─► contents ─► smoke ─► Approved
//!                  └─► trusted set ─────────────────────────────► Approved
//!                      tags ─► signatures ─► contents ─► smoke ─► VerifiedSet
//! ```
//!
//! Each stage takes the value of the previous one. Only a chain that judged pins and history, and whose
//! images were verified by itself or by a document with a checked hash, ends in an [`Approved`], and a
//! plan follows from nothing else. A set by itself ends in a [`VerifiedSet`].

mod images;
mod trusted;

pub use images::{
    ByItself, Contents, Examination, ImagePlatform, Images, Scope, SetAlone, Signatures, Smoke,
    Tags,
};

pub use trusted::{Expectation, TrustedImage, TrustedImages, TrustedSet};

use super::{
    Check, Code, Overruled, Past, Resolution, Status, agreement, any_failed, counts,
    past::{Extent, hold_by_content, order_and_hold, provenance, provenance_by_content},
};
use crate::{
    config::{Config, Image},
    error::Error,
    history::{Digests, Hold, Promoted, Provenance},
    oci::{Revision, Tag},
    pins::Found,
    registry::resolve::ImageFacts,
};

/// A chain whose pins were counted.
#[derive(Debug)]
pub struct Counted<'c> {
    so_far: SoFar<'c>,
}

/// A chain whose set has the required history, as far as its revision shows.
#[derive(Debug)]
pub struct Grounded<'c> {
    so_far: SoFar<'c>,
    ground: Ground,
}

/// The history of a set.
#[derive(Debug)]
pub enum Ground {
    /// A promotion: the set is not older than the current one.
    NotOlder {
        /// The refusals that the caller overrides.
        overruled: Overruled,
        /// The commits of the history; `None`: the revision is held, so its digests need not be judged.
        judge_digests: Option<Extent>,
    },
    /// A rollback: the set was promoted. `None`: no commit records its revision, so its digests decide.
    Promoted(Option<Promoted>),
}

/// History, asked for a set by its digests.
pub trait ByDigests {
    /// Whether a rollback undid the set with these digests.
    fn held(&self, digests: &Digests) -> Hold<'_>;

    /// The commit that pinned these digests together.
    fn provenance(&self, digests: &Digests) -> Provenance;
}

/// The stage at which a chain stopped, with its reasons.
#[derive(Debug)]
pub struct Stopped {
    /// Every check up to and including that stage.
    pub checks: Vec<Check>,
    /// The errors that left something unjudged.
    pub outages: Vec<Error>,
}

/// A set that passed every stage.
#[derive(Debug)]
pub struct Approved {
    revision: Revision,
    images: Vec<ApprovedImage>,
    checks: Vec<Check>,
}

/// A set whose images passed every stage that concerns images alone.
#[derive(Debug)]
pub struct VerifiedSet {
    revision: Revision,
    images: Vec<ApprovedImage>,
    checks: Vec<Check>,
}

/// One image of an approved set.
#[derive(Debug, Clone)]
pub struct ApprovedImage {
    /// The tag of the revision.
    pub tag: Tag,
    /// The resolved image; `None` only for an image without pins in a rollback, where that warns.
    pub facts: Option<ImageFacts>,
}

/// The checks of the stages so far.
#[derive(Debug)]
struct SoFar<'c> {
    config: &'c Config,
    revision: &'c Revision,
    checks: Vec<Check>,
}

/// The checks of a stage, and the errors that left something unjudged.
type Judged = (Vec<Check>, Vec<Error>);

impl<'c> SoFar<'c> {
    fn new(config: &'c Config, revision: &'c Revision) -> Self {
        Self {
            config,
            revision,
            checks: Vec::new(),
        }
    }

    /// Adds a stage; stops if a check failed or could not be judged.
    fn stage(mut self, (stage, outages): Judged) -> Result<Self, Stopped> {
        let stop = any_failed(&stage) || !outages.is_empty();
        self.checks.extend(stage);
        if stop {
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
            revision: self.revision.clone(),
            images,
            checks: self.checks,
        }
    }
}

impl<'c> Counted<'c> {
    /// The first stage for `revision`: the counted pins, and further checks of files.
    pub fn new(
        config: &'c Config,
        revision: &'c Revision,
        found: &Found,
        further: Vec<Check>,
    ) -> Result<Self, Stopped> {
        let mut checks = counts(config, found);
        checks.extend(agreement(config, found, Status::Warn));
        checks.extend(further);
        let so_far = SoFar::new(config, revision).stage((checks, Vec::new()))?;
        Ok(Self { so_far })
    }

    /// Stops because the facts of the next stage could not be gathered.
    pub fn stop(self, outage: Error) -> Stopped {
        self.so_far.stop(outage)
    }

    /// The second stage of a promotion: the build is not older and not held.
    pub fn not_older(self, past: &Past<'_>, overruled: Overruled) -> Result<Grounded<'c>, Stopped> {
        let judged = order_and_hold(self.so_far.revision, past, overruled);
        let so_far = self.so_far.stage(judged)?;
        let ground = Ground::NotOlder {
            overruled,
            judge_digests: past.extent_unless_held(),
        };
        Ok(Grounded { so_far, ground })
    }

    /// The second stage of a rollback: the set was promoted.
    pub fn promoted(self, found: &Provenance, extent: Extent) -> Result<Grounded<'c>, Stopped> {
        let (config, revision) = (self.so_far.config, self.so_far.revision);
        let judged = provenance(config, revision, found, extent);
        let so_far = self.so_far.stage(judged)?;
        let promoted = match found {
            Provenance::Found(promoted) => Some(promoted.clone()),
            _ => None,
        };
        let ground = Ground::Promoted(promoted);
        Ok(Grounded { so_far, ground })
    }
}

impl Ground {
    /// The promoted set, if this is a rollback and a commit is known.
    pub fn promoted(&self) -> Option<&Promoted> {
        match self {
            Self::NotOlder { .. } => None,
            Self::Promoted(promoted) => promoted.as_ref(),
        }
    }

    /// Judges the set by its digests, where its revision did not decide.
    fn judge_digests(
        &mut self,
        revision: &Revision,
        digests: &Digests,
        history: &dyn ByDigests,
    ) -> Judged {
        let (mut checks, mut outages) = (Vec::new(), Vec::new());
        match self {
            Self::NotOlder {
                overruled,
                judge_digests,
            } => {
                if let Some(extent) = *judge_digests {
                    let hold = history.held(digests);
                    let is_forced = overruled.rolled_back;
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

impl<'c> Grounded<'c> {
    /// The promoted set, if this is a rollback and a commit records its revision.
    pub fn promoted(&self) -> Option<&Promoted> {
        self.ground.promoted()
    }

    /// The stage of tags, with one resolution for each image of the configuration, in order.
    pub fn resolved(
        self,
        resolutions: &[Resolution],
        history: &dyn ByDigests,
    ) -> Result<Images<'c, Ground, Tags>, Stopped> {
        let (so_far, mut ground) = (self.so_far, self.ground);
        let (mut checks, mut outages) = images::judge_tags(&so_far, resolutions, &ground);
        let images = images::resolved_images(resolutions);
        // The digests of a rollback prove something only if every tag has the right one.
        let is_complete = outages.is_empty() && !any_failed(&checks);
        if is_complete || matches!(ground, Ground::NotOlder { .. }) {
            let digests = pinned_digests(so_far.config, &images);
            let (further, unjudged) = ground.judge_digests(so_far.revision, &digests, history);
            checks.extend(further);
            outages.extend(unjudged);
        }
        Ok(Images::new(
            so_far.stage((checks, outages))?,
            images,
            ground,
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

/// The checks of an image that is deployed nowhere: they only warn.
fn warn_only(image: &Image, (mut checks, outages): Judged) -> Judged {
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
    /// The revision of the set.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The images, in the order of the configuration.
    pub fn images(&self) -> &[ApprovedImage] {
        &self.images
    }

    /// Every check of the chain.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The digests of the images that are pinned.
    pub fn pinned_digests(&self, config: &Config) -> Digests {
        pinned_digests(config, &self.images)
    }
}

impl VerifiedSet {
    /// The revision of the set.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The images, in the order of the configuration.
    pub fn images(&self) -> &[ApprovedImage] {
        &self.images
    }

    /// Every check of the chain.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }
}

#[cfg(test)]
mod tests;
