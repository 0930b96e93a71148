//! The chains: stages in order, cheapest first. A stage is judged as a whole; if a check failed or
//! could not be judged, the chain stops there.
//!
//! promote: pins → order and hold → source → signatures → contents → smoke. rollback: pins →
//! provenance → source, compared with the digests pinned then → signatures → contents → smoke. Only a
//! chain that passed every stage makes an [`Approved`]. A set by itself: source → signatures → contents
//! → smoke, which makes a [`VerifiedSet`]: nothing is said about pins and history, so no plan follows
//! from it. A set that was verified once ends a chain after order and hold, or after provenance: only
//! pins and history are judged again.

mod images;
mod once;

pub use images::{ImagePlatform, Inspected, Inspection, Signed, Signing, Trial};
pub use once::VerifiedOnce;

use super::{
    Check, Code, Overruled, Past, RecentPast, Resolution, Status, agreement, any_failed, counts,
    past::{hold_by_content, order_and_hold, provenance, provenance_by_content},
    recent::{recent_order_and_hold, recent_provenance},
    resolved,
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

/// A promote's chain after order and hold, before the source.
#[derive(Debug)]
pub struct Ordered<'c> {
    so_far: SoFar<'c>,
    overruled: Overruled,
    hold: ByRevision,
}

/// Whether a rollback undid the revision, as far as titles and trailers show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ByRevision {
    Held,
    NotHeld,
}

/// A rollback's chain after provenance, before the source.
#[derive(Debug)]
pub struct Proven<'c> {
    so_far: SoFar<'c>,
    promoted: Option<Promoted>,
}

/// A chain after the source: every tag is resolved.
#[derive(Debug)]
pub struct Resolved<'c> {
    so_far: SoFar<'c>,
    images: Vec<ApprovedImage>,
    goal: ChainGoal,
    promoted: Option<Promoted>,
}

/// What a chain may end in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChainGoal {
    /// A promote.
    Promote,
    /// A rollback.
    Rollback,
    /// A set by itself.
    Set,
}

/// The chain of a set by itself, before the source: no pin was counted, and no history was read.
#[derive(Debug)]
pub struct SetAlone<'c> {
    so_far: SoFar<'c>,
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

#[derive(Debug)]
struct SoFar<'c> {
    config: &'c Config,
    revision: &'c Revision,
    checks: Vec<Check>,
}

/// The checks of a stage, and the errors that left something unjudged.
type Judged = (Vec<Check>, Vec<Error>);

impl SoFar<'_> {
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
}

impl<'c> Counted<'c> {
    /// The first stage for `revision`: the counted pins, and the contracts as files.
    pub fn new(
        config: &'c Config,
        revision: &'c Revision,
        found: &Found,
        contracts: Vec<Check>,
    ) -> Result<Self, Stopped> {
        let mut checks = counts(config, found);
        checks.extend(agreement(config, found, Status::Warn));
        checks.extend(contracts);
        let so_far = SoFar {
            config,
            revision,
            checks: Vec::new(),
        }
        .stage((checks, Vec::new()))?;
        Ok(Self { so_far })
    }

    /// Stops because the facts of the next stage could not be gathered.
    pub fn stop(self, outage: Error) -> Stopped {
        Stopped {
            checks: self.so_far.checks,
            outages: vec![outage],
        }
    }

    /// A promote's second stage: the build is not older and not held.
    pub fn ordered(self, past: &Past<'_>, overruled: Overruled) -> Result<Ordered<'c>, Stopped> {
        let judged = order_and_hold(self.so_far.revision, past, overruled);
        let so_far = self.so_far.stage(judged)?;
        let hold = match past {
            Past::Known {
                hold: Hold::Held { .. },
                ..
            } => ByRevision::Held,
            Past::Known { .. } | Past::NoGit(_) => ByRevision::NotHeld,
        };
        Ok(Ordered {
            so_far,
            overruled,
            hold,
        })
    }

    /// A promote's second stage where recent commits stand for a clone: nothing is overruled.
    pub fn ordered_recently(self, past: &RecentPast<'_>) -> Result<Ordered<'c>, Stopped> {
        let checks = recent_order_and_hold(self.so_far.revision, past);
        let so_far = self.so_far.stage((checks, Vec::new()))?;
        // A set that is held by its revision did not get here.
        Ok(Ordered {
            so_far,
            overruled: Overruled::default(),
            hold: ByRevision::NotHeld,
        })
    }

    /// A rollback's second stage where recent commits stand for a clone.
    pub fn proven_recently(self, found: &Provenance) -> Result<Proven<'c>, Stopped> {
        let (config, revision) = (self.so_far.config, self.so_far.revision);
        let (checks, outages, promoted) = match found {
            Provenance::Shallow => (vec![recent_provenance(revision)], Vec::new(), None),
            found => provenance(config, revision, found),
        };
        let so_far = self.so_far.stage((checks, outages))?;
        Ok(Proven { so_far, promoted })
    }

    /// A rollback's second stage: the set was promoted.
    pub fn proven(self, found: &Provenance) -> Result<Proven<'c>, Stopped> {
        let (checks, outages, promoted) =
            provenance(self.so_far.config, self.so_far.revision, found);
        let so_far = self.so_far.stage((checks, outages))?;
        Ok(Proven { so_far, promoted })
    }
}

impl<'c> SetAlone<'c> {
    /// The first stage for `revision`: the contracts as files.
    pub fn new(
        config: &'c Config,
        revision: &'c Revision,
        contracts: Vec<Check>,
    ) -> Result<Self, Stopped> {
        let so_far = SoFar {
            config,
            revision,
            checks: Vec::new(),
        }
        .stage((contracts, Vec::new()))?;
        Ok(Self { so_far })
    }

    /// The stage of the source, with one resolution for each image of the configuration, in order.
    pub fn resolved(self, resolutions: &[Resolution]) -> Result<Resolved<'c>, Stopped> {
        let judged = source(&self.so_far, resolutions, |_, judged| judged);
        Ok(Resolved {
            so_far: self.so_far.stage(judged)?,
            images: named_images(resolutions),
            goal: ChainGoal::Set,
            promoted: None,
        })
    }
}

impl<'c> Ordered<'c> {
    /// The stage of the source, with one resolution for each image of the configuration, in order.
    /// `hold` tells whether a rollback undid a set with the given digests.
    pub fn resolved<'h>(
        self,
        resolutions: &[Resolution],
        hold: impl FnOnce(&Digests) -> Hold<'h>,
    ) -> Result<Resolved<'c>, Stopped> {
        let (mut checks, outages) = source(&self.so_far, resolutions, |_, judged| judged);
        // A hold by revision is reported already.
        if self.hold == ByRevision::NotHeld {
            checks.extend(hold_by_content(
                self.so_far.revision,
                &hold(&named(self.so_far.config, resolutions)),
                self.overruled.rolled_back,
            ));
        }
        let so_far = self.so_far.stage((checks, outages))?;
        Ok(Resolved {
            so_far,
            images: named_images(resolutions),
            goal: ChainGoal::Promote,
            promoted: None,
        })
    }
}

impl<'c> Proven<'c> {
    /// The promoted set, if a title or trailer names it; otherwise the digests decide.
    pub fn promoted(&self) -> Option<&Promoted> {
        self.promoted.as_ref()
    }

    /// The stage of the source. An image without pins was not deployed, so its failures only warn.
    /// `provenance` finds the commit that pinned digests together; it is called if no title names
    /// one.
    pub fn resolved(
        self,
        resolutions: &[Resolution],
        provenance: impl FnOnce(&Digests) -> Provenance,
    ) -> Result<Resolved<'c>, Stopped> {
        let (mut checks, mut outages) = source(&self.so_far, resolutions, |image, judged| {
            match image.pins {
                0 => warn_only(image, judged),
                _ => judged,
            }
        });
        let mut promoted = self.promoted;
        if promoted.is_none() && outages.is_empty() && !any_failed(&checks) {
            let found = provenance(&named(self.so_far.config, resolutions));
            let (check, outage) = provenance_by_content(&found);
            checks.push(check);
            outages.extend(outage);
            promoted = if let Provenance::Found(found) = found {
                Some(found)
            } else {
                None
            };
        }
        let so_far = self.so_far.stage((checks, outages))?;
        Ok(Resolved {
            so_far,
            images: named_images(resolutions),
            goal: ChainGoal::Rollback,
            promoted,
        })
    }
}

impl Resolved<'_> {
    /// Stops because the facts of the next stage could not be gathered.
    pub fn stop(self, outage: Error) -> Stopped {
        Stopped {
            checks: self.so_far.checks,
            outages: vec![outage],
        }
    }

    /// The promoted set, if this is a rollback.
    pub fn promoted(&self) -> Option<&Promoted> {
        self.promoted.as_ref()
    }

    /// The digests that were resolved, of every image that has one.
    pub fn digests(&self) -> Digests {
        let images = self.so_far.config.images.iter().zip(&self.images);
        let digest = |(image, found): (&Image, &ApprovedImage)| {
            let facts = found.facts.as_ref()?;
            Some((image.name.clone(), facts.digest))
        };
        images.filter_map(digest).collect()
    }
}

fn named_images(resolutions: &[Resolution]) -> Vec<ApprovedImage> {
    let image = |resolution: &Resolution| ApprovedImage {
        tag: resolution.target.tag.clone(),
        facts: resolution.found.as_ref().ok().cloned().flatten(),
    };
    resolutions.iter().map(image).collect()
}

/// Judges every image's resolution; `tempered` may weaken the verdict on an image.
fn source(
    so_far: &SoFar<'_>,
    resolutions: &[Resolution],
    tempered: impl Fn(&Image, Judged) -> Judged,
) -> Judged {
    let (mut checks, mut outages) = (Vec::new(), Vec::new());
    for (image, resolution) in so_far.config.images.iter().zip(resolutions) {
        let (of_image, outage) = resolved(so_far.config, image, so_far.revision, resolution);
        let (of_image, outage) = tempered(image, (of_image, outage.into_iter().collect()));
        checks.extend(of_image);
        outages.extend(outage);
    }
    (checks, outages)
}

fn warn_only(image: &Image, (mut checks, outages): Judged) -> Judged {
    for check in checks
        .iter_mut()
        .filter(|check| check.status == Status::Fail)
    {
        check.status = Status::Warn;
    }
    let unread = |outage: &Error| {
        Check::new(Code::TAG_MISSING, Status::Skip, outage.to_string()).image(&image.name)
    };
    checks.extend(outages.iter().map(unread));
    (checks, Vec::new())
}

/// The digests that the tags of pinned images name.
fn named(config: &Config, resolutions: &[Resolution]) -> Digests {
    let images = config
        .images
        .iter()
        .zip(resolutions)
        .filter(|(image, _)| image.pins > 0);
    let digest = |(image, resolution): (&Image, &Resolution)| match &resolution.found {
        Ok(Some(facts)) => Some((image.name.clone(), facts.digest)),
        _ => None,
    };
    images.filter_map(digest).collect()
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
}

impl Approved {
    /// The digests of the images that are pinned.
    pub fn pinned_digests(&self, config: &Config) -> Digests {
        let mut digests = Digests::new();
        for (image, approved) in config.images.iter().zip(&self.images) {
            if image.pins > 0
                && let Some(facts) = &approved.facts
            {
                digests.insert(image.name.clone(), facts.digest);
            }
        }
        digests
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
