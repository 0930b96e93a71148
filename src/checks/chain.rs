//! The chain: stages in order, cheapest first. A stage is judged as a whole; if one of its checks failed, or one could
//! not be judged, the chain stops there.
//!
//! [`Approved`] can only be made here, by a chain that went through every stage.

use super::{Check, Resolution, Status, agreement, any_failed, counts, resolved};
use crate::{
    config::Config,
    facts::resolve::ImageFacts,
    image::{Revision, Tag},
    pins::Found,
    source::Error,
};

/// A chain that has not looked at the source yet.
#[derive(Debug)]
pub struct Chain<'c> {
    config: &'c Config,
    revision: &'c Revision,
    checks: Vec<Check>,
}

/// A chain that knows what every image's tag names.
#[derive(Debug)]
pub struct ResolvedChain {
    revision: Revision,
    images: Vec<(Tag, ImageFacts)>,
    checks: Vec<Check>,
}

/// Where and why a chain stopped.
#[derive(Debug)]
pub struct Stopped {
    /// Every check up to and with the stage that stopped it.
    pub checks: Vec<Check>,
    /// What could not be judged.
    pub outages: Vec<Error>,
}

/// A set that passed every stage.
#[derive(Debug)]
pub struct Approved {
    revision: Revision,
    images: Vec<(Tag, ImageFacts)>,
    checks: Vec<Check>,
}

impl<'c> Chain<'c> {
    /// A chain for `revision`, with its first stage: the pins as they are counted now.
    pub fn counted(config: &'c Config, revision: &'c Revision, found: &Found) -> Result<Self, Stopped> {
        let mut checks = counts(config, found);
        checks.extend(agreement(config, found, Status::Warn));
        let checks = stage(Vec::new(), checks, Vec::new())?;
        Ok(Self { config, revision, checks })
    }

    /// The stage of the source: one resolution for each image of the configuration, in its order.
    pub fn resolved(self, resolutions: &[Resolution]) -> Result<ResolvedChain, Stopped> {
        let (mut checks, mut outages, mut images) = (Vec::new(), Vec::new(), Vec::new());
        for (image, resolution) in self.config.images.iter().zip(resolutions) {
            let (of_image, outage) = resolved(self.config, image, self.revision, resolution);
            checks.extend(of_image);
            outages.extend(outage);
            if let Ok(Some(facts)) = &resolution.found {
                images.push((resolution.target.tag.clone(), facts.clone()));
            }
        }
        let checks = stage(self.checks, checks, outages)?;
        Ok(ResolvedChain { revision: self.revision.clone(), images, checks })
    }
}

impl ResolvedChain {
    /// The set, approved: no further stage is configured.
    pub fn approved(self) -> Approved {
        Approved { revision: self.revision, images: self.images, checks: self.checks }
    }
}

impl Approved {
    /// The revision of the set.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The revision's tag of each image, and what it names, in the order of the configuration.
    pub fn images(&self) -> &[(Tag, ImageFacts)] {
        &self.images
    }

    /// Every check of the chain.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }
}

/// Adds a stage's checks to those before it, and stops if one failed or could not be judged.
fn stage(mut before: Vec<Check>, stage: Vec<Check>, outages: Vec<Error>) -> Result<Vec<Check>, Stopped> {
    let stop = any_failed(&stage) || !outages.is_empty();
    before.extend(stage);
    if stop { Err(Stopped { checks: before, outages }) } else { Ok(before) }
}
