//! The stages that concern images alone: tags, signatures, contents, the smoke command.
//!
//! After the tags, images are examined one after the other, each judged before the next, so that the
//! facts about one can be dropped. A stage ends only when every image was judged.

use std::{collections::BTreeSet, marker::PhantomData};

use super::{Approved, ApprovedImage, Ground, Judged, SoFar, Stopped, VerifiedSet, warn_only};
use crate::{
    checks::{Check, Resolution, Standard, resolved, shared_digests},
    config::{Config, Image, SignedSubject},
    error::Error,
    history::{Digests, Promoted},
    oci::Revision,
    registry::resolve::ImageFacts,
};

/// The stage of tags.
#[derive(Debug)]
pub enum Tags {}
/// The stage of signatures and attestations.
#[derive(Debug)]
pub enum Signatures {}
/// The stage of contents.
#[derive(Debug)]
pub enum Contents {}
/// The stage of the smoke command.
#[derive(Debug)]
pub enum Smoke {}

/// The part of a set's verification that precedes its images.
pub trait Scope {
    /// Whether failures of this image only warn.
    fn only_warns(&self, image: &Image) -> bool;
}

/// The chain of a set by itself, before the tags.
#[derive(Debug)]
pub struct SetAlone<'c> {
    so_far: SoFar<'c>,
}

/// The scope of a set by itself: no pin was counted, and no history was read.
#[derive(Debug)]
pub struct ByItself;

impl Scope for ByItself {
    fn only_warns(&self, _: &Image) -> bool {
        false
    }
}

impl Scope for Ground {
    /// An image without pins was not deployed, so a rollback does not depend on it.
    fn only_warns(&self, image: &Image) -> bool {
        matches!(self, Self::Promoted(_)) && image.pins == 0
    }
}

/// The images of a set after the stage `S`.
#[derive(Debug)]
pub struct Images<'c, G, S> {
    so_far: SoFar<'c>,
    resolved: Vec<ApprovedImage>,
    ground: G,
    passed: PhantomData<S>,
}

/// The stage `S` while images are judged.
#[derive(Debug)]
pub struct Examination<'c, G, S> {
    set: Images<'c, G, S>,
    /// The images and platforms that are not judged yet.
    open: BTreeSet<ImagePlatform>,
    judged: Judged,
}

/// An image and one of its platforms, by their indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImagePlatform {
    /// The image, in the order of the configuration.
    pub image: usize,
    /// The platform, in the order of the facts about the image.
    pub platform: usize,
}

/// The images that tags were resolved to.
pub(super) fn resolved_images(resolutions: &[Resolution]) -> Vec<ApprovedImage> {
    let image = |resolution: &Resolution| ApprovedImage {
        tag: resolution.target.tag.clone(),
        facts: resolution.found.as_ref().ok().cloned().flatten(),
    };
    resolutions.iter().map(image).collect()
}

/// Judges the resolution of every tag.
pub(super) fn judge_tags(
    so_far: &SoFar<'_>,
    resolutions: &[Resolution],
    ground: &impl Scope,
) -> Judged {
    let (mut checks, mut outages) = (Vec::new(), Vec::new());
    for (image, resolution) in so_far.config.images.iter().zip(resolutions) {
        let (found, outage) = resolved(so_far.config, image, so_far.revision, resolution);
        let mut judged: Judged = (found, outage.into_iter().collect());
        if ground.only_warns(image) {
            judged = warn_only(image, judged);
        }
        checks.extend(judged.0);
        outages.extend(judged.1);
    }
    (checks, outages)
}

impl<'c> SetAlone<'c> {
    /// The first stage for `revision`: the contracts as files.
    pub fn new(
        config: &'c Config,
        revision: &'c Revision,
        contracts: Vec<Check>,
    ) -> Result<Self, Stopped> {
        let so_far = SoFar::new(config, revision).stage((contracts, Vec::new()))?;
        Ok(Self { so_far })
    }

    /// The stage of tags, with one resolution for each image of the configuration, in order.
    pub fn resolved(
        self,
        resolutions: &[Resolution],
    ) -> Result<Images<'c, ByItself, Tags>, Stopped> {
        let judged = judge_tags(&self.so_far, resolutions, &ByItself);
        let so_far = self.so_far.stage(judged)?;
        Ok(Images::new(so_far, resolved_images(resolutions), ByItself))
    }
}

impl<'c, G: Scope, S> Images<'c, G, S> {
    pub(super) fn new(so_far: SoFar<'c>, resolved: Vec<ApprovedImage>, ground: G) -> Self {
        Self {
            so_far,
            resolved,
            ground,
            passed: PhantomData,
        }
    }

    /// Stops because the facts of the next stage could not be gathered.
    pub fn stop(self, outage: Error) -> Stopped {
        self.so_far.stop(outage)
    }

    /// The digests of every image that has one.
    pub fn digests(&self) -> Digests {
        let mut digests = Digests::new();
        for (image, found) in self.so_far.config.images.iter().zip(&self.resolved) {
            if let Some(facts) = &found.facts {
                digests.insert(image.name.clone(), facts.digest);
            }
        }
        digests
    }

    /// Begins the stage `N`, which judges as many platforms of each image as `platforms` states.
    fn examine<N>(
        self,
        platforms: impl Fn(&Config, usize, &ImageFacts) -> usize,
    ) -> Examination<'c, G, N> {
        let mut open = BTreeSet::new();
        for (image, found) in self.resolved.iter().enumerate() {
            let Some(facts) = &found.facts else {
                continue;
            };
            let count = platforms(self.so_far.config, image, facts);
            open.extend((0..count).map(|platform| ImagePlatform { image, platform }));
        }
        Examination {
            set: Images::new(self.so_far, self.resolved, self.ground),
            open,
            judged: Judged::default(),
        }
    }
}

impl<S> Images<'_, Ground, S> {
    /// The promoted set, if this is a rollback.
    pub fn promoted(&self) -> Option<&Promoted> {
        self.ground.promoted()
    }
}

impl<'c, G: Scope> Images<'c, G, Tags> {
    /// Begins the stage of signatures, in which images must also have different digests. If the
    /// configuration requires signatures, each image is judged, or each of its platforms.
    pub fn signatures(self) -> Examination<'c, G, Signatures> {
        let mut digests = Vec::new();
        for (at, image) in self.resolved.iter().enumerate() {
            if let Some(facts) = &image.facts {
                digests.push((at, facts.digest));
            }
        }
        let shared = shared_digests(self.so_far.config, &digests);
        let mut stage = self.examine(|config, _, facts| {
            match config.verify.as_ref().map(|verify| verify.subject) {
                None => 0,
                Some(SignedSubject::Pinned) => 1,
                Some(SignedSubject::Platforms) => facts.platforms.len(),
            }
        });
        stage.judged.0.extend(shared);
        stage
    }
}

impl<'c, G: Scope> Images<'c, G, Signatures> {
    /// Begins the stage of contents. `standards` has a list for each image; an image without a
    /// standard and without anything configured is not examined.
    pub fn contents(self, standards: &[Vec<Standard<'_>>]) -> Examination<'c, G, Contents> {
        self.examine(|config, image, facts| {
            let declared = &config.images[image];
            let has_standard = standards.get(image).is_some_and(|list| !list.is_empty());
            let is_examined = has_standard
                || config.inventory_of(declared).is_some()
                || declared.contract.is_some();
            if is_examined {
                facts.platforms.len()
            } else {
                0
            }
        })
    }
}

impl<'c, G: Scope> Images<'c, G, Contents> {
    /// Begins the stage of the smoke command, which is empty if none is configured.
    pub fn smoke(self) -> Examination<'c, G, Smoke> {
        self.examine(|config, _, _| usize::from(config.smoke.is_some()))
    }
}

impl Images<'_, Ground, Smoke> {
    /// Ends the chain of a promotion or a rollback.
    pub fn approved(self) -> Approved {
        self.so_far.approved(self.resolved)
    }
}

impl Images<'_, ByItself, Smoke> {
    /// Ends the chain of a set by itself.
    pub fn verified(self) -> VerifiedSet {
        VerifiedSet {
            revision: self.so_far.revision.clone(),
            images: self.resolved,
            checks: self.so_far.checks,
        }
    }
}

impl<'c, G: Scope, S> Examination<'c, G, S> {
    /// The images and platforms to judge, in the order of the configuration.
    pub fn open(&self) -> impl Iterator<Item = ImagePlatform> {
        self.open.iter().copied()
    }

    /// The facts about an image to judge.
    pub fn facts(&self, image: usize) -> Option<&ImageFacts> {
        self.set.resolved.get(image)?.facts.as_ref()
    }

    /// Records the verdict on one platform, or the errors that prevented it.
    pub fn record(&mut self, place: ImagePlatform, verdict: Result<Vec<Check>, Vec<Error>>) {
        self.open.remove(&place);
        let image = &self.set.so_far.config.images[place.image];
        let mut judged = match verdict {
            Ok(checks) => (checks, Vec::new()),
            Err(outages) => (Vec::new(), outages),
        };
        if self.set.ground.only_warns(image) {
            judged = warn_only(image, judged);
        }
        self.judged.0.extend(judged.0);
        self.judged.1.extend(judged.1);
    }

    /// Ends the stage. An image that a caller forgot does not pass.
    pub fn finish(self) -> Result<Images<'c, G, S>, Stopped> {
        let Images {
            so_far,
            resolved,
            ground,
            ..
        } = self.set;
        let (checks, mut outages) = self.judged;
        for place in &self.open {
            let name = so_far.config.images[place.image].name.clone();
            outages.push(Error::unavailable(name, "the image was not examined"));
        }
        Ok(Images::new(
            so_far.stage((checks, outages))?,
            resolved,
            ground,
        ))
    }
}
