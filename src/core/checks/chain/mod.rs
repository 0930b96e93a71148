//! The chain of checks for an approved set: stages in order, cheapest first. Every check of a stage
//! runs; the chain stops after a stage with a failed check or an error.
//!
//! ```text
//! pins ─► history ─┬─► tags ─► stages ─► signatures ─► contents ─► smoke ─► Approved
//!                  └─► trusted set ────────────────────────────────────────► Approved
//!                      tags ─► signatures ─► contents ─► smoke ─► VerifiedSet
//! ```
//!
//! Each stage takes the value of the previous one. Only a chain that checked pins and history, with
//! images that were verified by the chain or are listed in a document with a checked hash, returns
//! an [`Approved`], which every plan requires. A set that is verified without a repository is a
//! [`VerifiedSet`].
//!
//! After the tags, images are checked one after the other, so that the facts about an image can be
//! dropped before the next. A stage passes only if every image has a verdict.

mod history;
mod trusted;

use std::{collections::BTreeSet, marker::PhantomData};

pub(crate) use history::{Counted, DigestHistory, HistoryChecked, HistoryVerdict};
pub(crate) use trusted::{Expectation, TrustedImages, TrustedSet};

use super::{
    ApprovedImage, Check, Code, JudgedStage, Resolution, StageResult, Standard, Status, any_failed,
    check_resolution, check_shared_digests, check_stages,
    contents::{LostPlatforms, check_lost_platforms},
    set::content_result,
};
use crate::{
    base::error::Error,
    config::{Config, Image, Override},
    core::history::{Digests, Order, Promoted},
    oci::{Revision, registry::resolve::ImageFacts},
    trust::SignedSubject,
};

/// The checks of a chain that stopped.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// The checks up to and including the last stage.
    pub checks: Vec<Check>,
    /// The errors that prevented checks.
    pub errors: Vec<Error>,
}

/// A set that passed every stage.
#[derive(Debug)]
pub(crate) struct Approved {
    images: Vec<Option<ApprovedImage>>,
    checks: Vec<Check>,
    overridden: Option<Override>,
}

/// A set of which all images passed every stage.
#[derive(Debug)]
pub(crate) struct VerifiedSet {
    revision: Revision,
    images: Vec<Option<ApprovedImage>>,
    checks: Vec<Check>,
}

/// The set and the checks of the completed stages.
#[derive(Debug)]
struct ChainState<'c> {
    config: &'c Config,
    revision: &'c Revision,
    checks: Vec<Check>,
    /// The refusal that the user overrode.
    overridden: Option<Override>,
}

impl<'c> ChainState<'c> {
    fn new(config: &'c Config, revision: &'c Revision) -> Self {
        Self {
            config,
            revision,
            checks: Vec::new(),
            overridden: None,
        }
    }

    /// Adds a stage; stops if a check failed or could not run.
    fn stage(mut self, result: StageResult) -> Result<Self, Stopped> {
        let must_stop = any_failed(&result.checks) || !result.errors.is_empty();
        self.checks.extend(result.checks);
        if must_stop {
            Err(Stopped {
                checks: self.checks,
                errors: result.errors,
            })
        } else {
            Ok(self)
        }
    }

    fn stop(self, error: Error) -> Stopped {
        Stopped {
            checks: self.checks,
            errors: vec![error],
        }
    }

    fn approved(self, images: Vec<Option<ApprovedImage>>) -> Approved {
        Approved {
            images,
            checks: self.checks,
            overridden: self.overridden,
        }
    }
}

/// The stage of tags of a promotion or a rollback, before the stages of `promote.after`.
#[derive(Debug)]
pub(crate) enum Resolved {}
/// The stage of tags.
#[derive(Debug)]
pub(crate) enum Tags {}
/// The stage of signatures and attestations.
#[derive(Debug)]
pub(crate) enum Signatures {}
/// The stage of contents.
#[derive(Debug)]
pub(crate) enum Contents {}
/// The stage of the smoke command.
#[derive(Debug)]
pub(crate) enum Smoke {}

/// A stage that checks images.
pub(crate) trait ImageStage {
    /// The code of a skip if an image cannot be read.
    const UNREADABLE: Code;
}

impl ImageStage for Tags {
    const UNREADABLE: Code = Code::TAG_MISSING;
}

impl ImageStage for Signatures {
    const UNREADABLE: Code = Code::SIGNATURE_MISSING;
}

impl ImageStage for Contents {
    const UNREADABLE: Code = Code::ENUMERATION_FAILED;
}

impl ImageStage for Smoke {
    const UNREADABLE: Code = Code::SMOKE_UNAVAILABLE;
}

/// Determines how strictly each image is checked, by the stages before the images.
pub(crate) trait Strictness {
    /// Whether failures of this image only warn.
    fn only_warns(&self, image: &Image) -> bool;

    /// The reaction to a lost platform.
    fn lost_platforms(&self) -> LostPlatforms;
}

/// The chain of a set that is verified without a repository, before the tags.
#[derive(Debug)]
pub(crate) struct SetVerification<'c> {
    state: ChainState<'c>,
}

/// The verdict of history on a set that is verified without a repository.
#[derive(Debug)]
pub(crate) struct NoHistory;

impl Strictness for NoHistory {
    fn only_warns(&self, _: &Image) -> bool {
        false
    }

    fn lost_platforms(&self) -> LostPlatforms {
        LostPlatforms::Refuse
    }
}

impl Strictness for HistoryVerdict {
    /// An image without pins was not deployed, so a rollback does not depend on it.
    fn only_warns(&self, image: &Image) -> bool {
        matches!(self, Self::Rollback(_)) && image.pins == 0
    }

    /// The set of a rollback was deployed with its platforms.
    fn lost_platforms(&self) -> LostPlatforms {
        match self {
            Self::Rollback(_) => LostPlatforms::Warn,
            Self::Promotion { overrides, .. } if overrides.lost_platform => LostPlatforms::Allow,
            Self::Promotion { .. } => LostPlatforms::Refuse,
        }
    }
}

/// The images of a set after the stage `S`.
#[derive(Debug)]
pub(crate) struct Images<'c, H, S> {
    state: ChainState<'c>,
    /// `None` only for an image without pins in a rollback, with a warning.
    resolved: Vec<Option<ApprovedImage>>,
    history: H,
    passed: PhantomData<S>,
}

/// The stage `S` while images are checked.
#[derive(Debug)]
pub(crate) struct Stage<'c, H, S> {
    set: Images<'c, H, S>,
    /// The images and platforms without a verdict.
    pending: BTreeSet<ImagePlatform>,
    result: StageResult,
}

/// An image and one of its platforms, by their indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ImagePlatform {
    /// The image, in the order of the configuration.
    pub image: usize,
    /// The platform, in the order of the facts about the image.
    pub platform: usize,
}

fn resolved_images(resolutions: &[Resolution]) -> Vec<Option<ApprovedImage>> {
    let mut images = Vec::new();
    for resolution in resolutions {
        images.push(match &resolution.found {
            Ok(image) => Some(image.clone()),
            Err(_) => None,
        });
    }
    images
}

/// The digests that tags resolved to, without those of images that are not pinned.
pub(crate) fn resolved_digests(config: &Config, resolutions: &[Resolution]) -> Digests {
    pinned_digests(config, &resolved_images(resolutions))
}

/// Checks the resolution of every tag.
fn check_tags(
    state: &ChainState<'_>,
    resolutions: &[Resolution],
    strictness: &impl Strictness,
) -> StageResult {
    let mut results = StageResult::default();
    for (image, resolution) in state.config.images.iter().zip(resolutions) {
        let mut result = check_resolution(state.config, image, state.revision, resolution);
        if let Ok(found) = &resolution.found {
            let lost_platforms = strictness.lost_platforms();
            let old = &resolution.old_platforms;
            result.add(check_lost_platforms(
                state.config,
                image,
                &found.facts,
                old,
                lost_platforms,
            ));
        }
        if strictness.only_warns(image) {
            result = warn_only::<Tags>(image, result);
        }
        results.add(result);
    }
    results
}

impl<'c> SetVerification<'c> {
    /// The first stage for `revision`: the contracts as files.
    pub(crate) fn new(
        config: &'c Config,
        revision: &'c Revision,
        contracts: Vec<Check>,
    ) -> Result<Self, Stopped> {
        let state = ChainState::new(config, revision).stage(contracts.into())?;
        Ok(Self { state })
    }

    /// The stage of tags, with one resolution for each image of the configuration, in order.
    pub(crate) fn resolved(
        self,
        resolutions: &[Resolution],
    ) -> Result<Images<'c, NoHistory, Tags>, Stopped> {
        let result = check_tags(&self.state, resolutions, &NoHistory);
        let state = self.state.stage(result)?;
        Ok(Images::new(state, resolved_images(resolutions), NoHistory))
    }
}

impl<'c, H: Strictness, S> Images<'c, H, S> {
    fn new(state: ChainState<'c>, resolved: Vec<Option<ApprovedImage>>, history: H) -> Self {
        Self {
            state,
            resolved,
            history,
            passed: PhantomData,
        }
    }

    /// Stops because the facts of the next stage could not be gathered.
    pub(crate) fn stop(self, error: Error) -> Stopped {
        self.state.stop(error)
    }

    /// The digests of the images that were resolved.
    pub(crate) fn digests(&self) -> Digests {
        let mut digests = Digests::new();
        for (image, found) in self.state.config.images.iter().zip(&self.resolved) {
            if let Some(found) = found {
                digests.insert(image.name.clone(), found.facts.digest);
            }
        }
        digests
    }

    /// Starts the stage `N`, with the number of platforms of each image that `platforms` returns.
    fn start<N>(self, platforms: impl Fn(&Config, usize, &ImageFacts) -> usize) -> Stage<'c, H, N> {
        let mut pending = BTreeSet::new();
        for (image, found) in self.resolved.iter().enumerate() {
            let Some(found) = found else {
                continue;
            };
            let count = platforms(self.state.config, image, &found.facts);
            pending.extend((0..count).map(|platform| ImagePlatform { image, platform }));
        }
        Stage {
            set: Images::new(self.state, self.resolved, self.history),
            pending,
            result: StageResult::default(),
        }
    }
}

impl<'c> Images<'c, HistoryVerdict, Resolved> {
    /// The digests of the images that are pinned.
    pub(crate) fn pinned_digests(&self) -> Digests {
        pinned_digests(self.state.config, &self.resolved)
    }

    /// The step of `promote.after`, with a verdict for each of its stages. A rollback is not subject to
    /// stages.
    pub(crate) fn staged(
        self,
        stages: &[JudgedStage],
    ) -> Result<Images<'c, HistoryVerdict, Tags>, Stopped> {
        let mut result = StageResult::default();
        if let HistoryVerdict::Promotion { overrides, .. } = &self.history {
            result = check_stages(stages, overrides.unstaged);
            if stages.len() != self.state.config.promote.after.len() {
                let reason = "not every stage was examined";
                let error = Error::unavailable("`promote.after`", reason);
                result.errors.push(error);
            }
        }
        let state = self.state.stage(result)?;
        Ok(Images::new(state, self.resolved, self.history))
    }
}

impl<S> Images<'_, HistoryVerdict, S> {
    /// The promoted set, if this is a rollback.
    pub(crate) fn promoted(&self) -> Option<&Promoted> {
        self.history.promoted()
    }
}

impl<'c, H: Strictness> Images<'c, H, Tags> {
    /// Starts the stage of signatures, in which images must also have different digests. If the
    /// configuration requires signatures, each image is checked, or each of its platforms.
    pub(crate) fn signatures(self) -> Stage<'c, H, Signatures> {
        let mut digests = Vec::new();
        for (index, image) in self.resolved.iter().enumerate() {
            if let Some(image) = image {
                digests.push((index, image.facts.digest));
            }
        }
        let shared = check_shared_digests(self.state.config, &digests);
        let mut stage = self.start(|config, _, facts| {
            match config.verify.as_ref().map(|verify| verify.subject) {
                None => 0,
                Some(SignedSubject::Pinned) => 1,
                Some(SignedSubject::Platforms) => facts.platforms.len(),
            }
        });
        stage.result.checks.extend(shared);
        stage
    }
}

impl<'c, H: Strictness> Images<'c, H, Signatures> {
    /// Starts the stage of contents. `standards` has a list for each image; an image without a
    /// standard, an inventory and a contract is not checked.
    pub(crate) fn contents(self, standards: &[Vec<Standard<'_>>]) -> Stage<'c, H, Contents> {
        self.start(|config, image, facts| {
            let declared = &config.images[image];
            let has_standard = standards.get(image).is_some_and(|list| !list.is_empty());
            let is_checked = has_standard
                || config.inventory_of(declared).is_some()
                || declared.contract.is_some();
            if is_checked { facts.platforms.len() } else { 0 }
        })
    }
}

impl<'c, H: Strictness> Images<'c, H, Contents> {
    /// Starts the stage of the smoke command, which is empty without a configured command.
    pub(crate) fn smoke(self) -> Stage<'c, H, Smoke> {
        self.start(|config, _, _| usize::from(config.smoke.is_some()))
    }
}

impl Images<'_, HistoryVerdict, Smoke> {
    /// The result of a promotion's or a rollback's chain.
    pub(crate) fn approved(self) -> Approved {
        self.state.approved(self.resolved)
    }
}

impl Images<'_, NoHistory, Smoke> {
    /// The result of the chain of a set without a repository.
    pub(crate) fn verified(self) -> VerifiedSet {
        VerifiedSet {
            revision: self.state.revision.clone(),
            images: self.resolved,
            checks: self.state.checks,
        }
    }
}

impl<'c, H: Strictness, S: ImageStage> Stage<'c, H, S> {
    /// The images and platforms without a verdict, in the order of the configuration.
    pub(crate) fn pending(&self) -> impl Iterator<Item = ImagePlatform> {
        self.pending.iter().copied()
    }

    pub(crate) fn facts(&self, image: usize) -> Option<&ImageFacts> {
        Some(&self.set.resolved.get(image)?.as_ref()?.facts)
    }

    /// Records the verdict on one platform, or the errors that prevented it.
    pub(crate) fn record(&mut self, place: ImagePlatform, verdict: Result<Vec<Check>, Vec<Error>>) {
        self.pending.remove(&place);
        let image = &self.set.state.config.images[place.image];
        let mut result = match verdict {
            Ok(checks) => StageResult::from(checks),
            Err(errors) => content_result(errors, &image.name),
        };
        if self.set.history.only_warns(image) {
            result = warn_only::<S>(image, result);
        }
        self.result.add(result);
    }

    /// Ends the stage. A pending image is an error, so an image that a caller omits does not pass.
    pub(crate) fn finish(self) -> Result<Images<'c, H, S>, Stopped> {
        let Images {
            state,
            resolved,
            history,
            ..
        } = self.set;
        let mut result = self.result;
        for place in &self.pending {
            let name = state.config.images[place.image].name.clone();
            let error = Error::unavailable(name, "the image was not examined");
            result.errors.push(error);
        }
        Ok(Images::new(state.stage(result)?, resolved, history))
    }
}

impl<'c> HistoryChecked<'c> {
    /// The stage of tags, with one resolution for each image of the configuration, in order. `order`: that
    /// of the builds, if it was unknown before.
    pub(crate) fn resolved(
        self,
        resolutions: &[Resolution],
        order: Option<Order>,
        history: &dyn DigestHistory,
    ) -> Result<Images<'c, HistoryVerdict, Resolved>, Stopped> {
        let mut checked = self;
        let (state, verdict) = (&checked.state, &checked.verdict);
        let mut result = verdict.check_order(state.config, state.revision, order);
        result.add(check_tags(state, resolutions, verdict));
        let images = resolved_images(resolutions);
        // The digests of a rollback are looked up only if every tag has the right one.
        let is_complete = result.errors.is_empty() && !any_failed(&result.checks);
        if is_complete || matches!(verdict, HistoryVerdict::Promotion { .. }) {
            let digests = pinned_digests(state.config, &images);
            result.add(checked.check_digests(&digests, history));
        }
        let state = checked.state.stage(result)?;
        Ok(Images::new(state, images, checked.verdict))
    }
}

/// The digests of the images that are pinned.
fn pinned_digests(config: &Config, images: &[Option<ApprovedImage>]) -> Digests {
    let mut digests = Digests::new();
    for (image, found) in config.images.iter().zip(images) {
        if image.pins > 0
            && let Some(found) = found
        {
            digests.insert(image.name.clone(), found.facts.digest);
        }
    }
    digests
}

/// Turns failures and errors of an image that is deployed nowhere into warnings and skips.
fn warn_only<S: ImageStage>(image: &Image, result: StageResult) -> StageResult {
    let mut checks = result.checks;
    for check in &mut checks {
        if check.status == Status::Fail {
            check.status = Status::Warn;
        }
    }
    for error in result.errors {
        let check = Check::new(S::UNREADABLE, Status::Skip, error.to_string());
        checks.push(check.image(&image.name));
    }
    checks.into()
}

impl Approved {
    /// The images, in the order of the configuration; `None` only for an image without pins in a
    /// rollback, with a warning.
    pub(crate) fn images(&self) -> &[Option<ApprovedImage>] {
        &self.images
    }

    pub(crate) fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The refusal that the user overrode, which the commit records.
    pub(crate) fn overridden(&self) -> Option<Override> {
        self.overridden
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

    /// The images, in the order of the configuration. Each of them passed.
    pub(crate) fn images(&self) -> &[Option<ApprovedImage>] {
        &self.images
    }

    pub(crate) fn checks(&self) -> &[Check] {
        &self.checks
    }
}

#[cfg(test)]
mod tests;
