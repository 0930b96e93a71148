//! One run of `prune`: gathers the protection, judges every image, and deletes if no image is refused.

use std::path::PathBuf;

use regex::Regex;

use super::{Access, Services, protection::ProtectionReader, prune_backend::prune_backend};
use crate::{
    app::report::prune::{ImageOutcome, KeepTag, KeepTagState},
    base::error::{Errors, usage},
    config::{Config, Prune},
    oci::{Digest, Tag},
    prune::{
        self, ImageProtection, KeepReason, Listing, Plan, Progress, ProtectionSources, PullHead,
        Rules, RunningFile, Scope, Warning,
        apply::{self, DeletionEvent},
        backends::Backend,
    },
};

pub(crate) struct PruneRequest<'c> {
    /// The indices of the images in the configuration.
    pub(crate) images: &'c [usize],
    pub(crate) rules: Rules<'c>,
    pub(crate) apply: bool,
    /// Whether every protected version is listed, for other policies.
    pub(crate) lists_protected: bool,
    /// The directory for immutable documents.
    pub(crate) cache: Option<PathBuf>,
    /// The images that run.
    pub(crate) running: &'c [RunningFile],
    /// The prefix of `--tag-protected`: the run tags protected versions, and deletes none.
    pub(crate) tag_prefix: Option<&'c str>,
}

impl PruneRequest<'_> {
    fn scope(&self) -> Scope {
        if self.lists_protected || self.tag_prefix.is_some() {
            Scope::Protected
        } else {
            Scope::Candidates
        }
    }
}

pub(crate) struct PruneResult {
    pub(crate) images: Vec<ImageOutcome>,
    /// Whether versions were deleted, or none had to be.
    pub(crate) applied: bool,
    /// The warnings about evidence that was not read.
    pub(crate) warnings: Vec<Warning>,
}

/// The receiver of each deletion, as it happens, and of its image.
pub(crate) type OnDeletion<'f> = dyn FnMut(&DeletionEvent<'_>, &ImageOutcome) + 'f;

/// The number of attempts if branches move during the run.
const ATTEMPTS: usize = 3;

/// The report of a signal after the first deletion was requested.
const DELETING: &str = "versions were deleted: those in the lines above, and at most one more; \
                        run the command again to continue";

/// The report of a signal after the first tag was set.
const TAGGING: &str = "protected digests were tagged; run the command again to continue";

/// The deletion of one image's versions.
struct Job {
    /// The index of the image in the configuration.
    image: usize,
    backend: Backend,
    /// The rules, with the protection by the other sets.
    prune: Prune,
    /// The listing, and the plan that it allows.
    planned: Option<(Listing, Plan)>,
    outcome: ImageOutcome,
}

struct Run<'r> {
    request: &'r PruneRequest<'r>,
    services: &'r Services,
    inputs: ProtectionReader<'r>,
    jobs: Vec<Job>,
    warnings: Vec<Warning>,
}

/// Checks every image; with `apply`, deletes if no image is refused.
pub(crate) fn prune(
    config: &Config,
    request: &PruneRequest<'_>,
    services: &Services,
    on_deletion: &mut OnDeletion<'_>,
) -> Result<Access<PruneResult>, Errors> {
    let tags = mentioned_tags(request)?;
    let inputs = match ProtectionReader::open(config, tags, request.running, services)? {
        Access::Granted(inputs) => inputs,
        Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
    };
    let mut jobs = Vec::new();
    for index in request.images {
        let image = &config.images[*index];
        let backend = match prune_backend(config, image, services)? {
            Access::Granted(backend) => backend
                .in_clone(inputs.git())?
                .caching(request.cache.as_deref()),
            Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
        };
        jobs.push(Job {
            image: *index,
            backend,
            prune: inputs.rules_of(*index, request.rules.prune)?,
            planned: None,
            outcome: ImageOutcome::new(image),
        });
    }
    let mut run = Run {
        request,
        services,
        inputs,
        jobs,
        warnings: Vec::new(),
    };
    let applied = run.execute(on_deletion).unwrap_or_else(|refusals| {
        run.refuse(refusals);
        false
    });
    Ok(Access::Granted(PruneResult {
        images: run.jobs.into_iter().map(|job| job.outcome).collect(),
        applied,
        warnings: run.warnings,
    }))
}

/// The words that count as tags: those of candidates, or all, because other policies delete other tags.
fn mentioned_tags(request: &PruneRequest<'_>) -> Result<Regex, Errors> {
    match request.scope() {
        Scope::Candidates => Ok(request.rules.prune.tags.clone()),
        Scope::Protected => Regex::new("").map_err(|error| usage(error.to_string())),
    }
}

impl Run<'_> {
    /// Returns whether versions were deleted, or none had to be. An error refuses all images.
    fn execute(&mut self, on_deletion: &mut OnDeletion<'_>) -> Result<bool, Errors> {
        let pulls = self.open_pulls()?;
        let deletes = self.request.tag_prefix.is_none();
        let mut sources = self.inputs.gather(&pulls, deletes)?;
        for _ in 0..ATTEMPTS {
            self.plan(&sources)?;
            if self.request.tag_prefix.is_some() {
                return Ok(self.tag_protected());
            }
            let mut jobs = self.jobs.iter();
            if !self.request.apply || jobs.any(|job| job.outcome.refusal.is_some()) {
                return Ok(false);
            }
            if self.jobs.iter().all(|job| !job.has_work()) {
                return Ok(true);
            }
            // All permissions are checked before the first deletion.
            for job in self.jobs.iter_mut().filter(|job| job.has_work()) {
                let permission = job.backend.deletes();
                if let Err(refusal) = self.services.wait(permission, "checking permissions") {
                    job.outcome.refusal = Some(refusal);
                    return Ok(false);
                }
            }
            let pulls = self.open_pulls()?;
            if !sources.refresh(&pulls)? {
                return Ok(self.delete(&sources, on_deletion));
            }
        }
        Err(prune::tips_keep_moving_error().into())
    }

    /// The heads of open pull requests, with the warnings about evidence that is not read.
    fn open_pulls(&mut self) -> Result<Vec<PullHead>, Errors> {
        let (pulls, warnings) = self.inputs.open_pulls(self.request.rules.prune)?;
        self.warnings = warnings;
        Ok(pulls)
    }

    fn plan(&mut self, sources: &ProtectionSources) -> Result<(), Errors> {
        let progress = Progress::default();
        for job in &mut self.jobs {
            let protection = sources.of(job.image);
            let work = job.plan(protection, self.request, &progress);
            self.services.wait_with(work, || progress.describe());
            if let Some(prefix) = self.request.tag_prefix {
                job.plan_tags(prefix)?;
            }
        }
        Ok(())
    }

    /// Sets the missing tags of protected versions with `--apply`; returns whether they exist now.
    fn tag_protected(&mut self) -> bool {
        let mut jobs = self.jobs.iter();
        if !self.request.apply || jobs.any(|job| job.outcome.refusal.is_some()) {
            return false;
        }
        for job in &mut self.jobs {
            for keep in &mut job.outcome.protected_tags {
                if keep.state != KeepTagState::Missing {
                    continue;
                }
                self.services.interruption.changes(TAGGING);
                let work = job.backend.set_tag(keep.digest, &keep.tag);
                match self.services.wait(work, "tagging protected digests") {
                    Ok(()) => keep.state = KeepTagState::Set,
                    Err(error) => {
                        job.outcome.refusal = Some(error);
                        return true;
                    }
                }
            }
        }
        true
    }

    /// Executes the plans until an error occurs. Returns whether a deletion was requested, or none was
    /// necessary.
    fn delete(&mut self, sources: &ProtectionSources, on_deletion: &mut OnDeletion<'_>) -> bool {
        let mut has_started = false;
        // The deadline of the deletions starts now, not at the start of the run.
        self.services.forge_deadline.restart();
        for job in self.jobs.iter_mut().filter(|job| job.has_work()) {
            let protection = sources.of(job.image);
            has_started |= job.apply(protection, self.request.rules, self.services, on_deletion);
            if job.outcome.refusal.is_some() {
                return has_started;
            }
        }
        true
    }

    fn refuse(&mut self, refusals: Errors) {
        let refusal = refusals.into_iter().reduce(|mut first, other| {
            first.notes.push(other.to_string());
            first
        });
        for job in &mut self.jobs {
            job.outcome.refusal.clone_from(&refusal);
        }
    }
}

impl Job {
    async fn plan(
        &mut self,
        protection: ImageProtection<'_>,
        request: &PruneRequest<'_>,
        progress: &Progress,
    ) {
        let rules = &Rules {
            prune: &self.prune,
            ..request.rules
        };
        let scope = request.scope();
        let listing = self.backend.list(protection, rules, scope, progress);
        let listing = match listing.await {
            Ok(listing) => listing,
            Err(refusal) => {
                self.outcome.refusal = Some(refusal);
                return;
            }
        };
        let verdict = prune::judge(&listing, protection, rules);
        if scope == Scope::Protected {
            self.outcome.protected = prune::protected(&listing, protection, rules.prune);
        }
        self.planned = None;
        match verdict.approve(&listing) {
            Ok(plan) => self.planned = Some((listing, plan)),
            Err(refusal) => self.outcome.refusal = Some(refusal),
        }
        self.outcome.verdict = Some(verdict);
    }

    /// Plans the tag `PREFIX` and the digits of the digest for each protected version. Registries keep the parts
    /// of an index with it, and a referrer with its `subject`; one that only its tag attaches needs a tag.
    fn plan_tags(&mut self, prefix: &str) -> Result<(), Errors> {
        let mut tags = Vec::new();
        let listing = self.planned.as_ref().map(|(listing, _)| listing);
        let has_subject = |digest| {
            let node = listing.and_then(|listing| listing.nodes.get(&digest));
            node.is_some_and(|node| node.subject.is_some())
        };
        let is_archived = |digest: Digest| {
            let kept = listing.and_then(|listing| listing.kept.get(&digest));
            kept == Some(&KeepReason::Archived)
        };
        for protected in &self.outcome.protected {
            let digest = protected.version.digest;
            match protected.reason {
                KeepReason::IndexEntry(_) => continue,
                KeepReason::Referrer(_) if has_subject(digest) => continue,
                _ => {}
            }
            let tag = Tag::parse(&format!("{prefix}{}", digest.hex()))
                .map_err(|error| usage(format!("--tag-protected: {error}")))?;
            let state = if protected.version.tags.contains(&tag) {
                KeepTagState::Present
            } else if is_archived(digest) {
                // The registry does not return its manifest.
                continue;
            } else {
                KeepTagState::Missing
            };
            tags.push(KeepTag { tag, digest, state });
        }
        for version in listing.iter().flat_map(|listing| &listing.versions) {
            let digest = version.digest;
            let is_own = |tag: &&Tag| tag.as_str() == format!("{prefix}{}", digest.hex());
            let Some(tag) = version.tags.iter().find(is_own) else {
                continue;
            };
            if tags.iter().all(|known| known.digest != digest) {
                let (tag, state) = (tag.clone(), KeepTagState::Stale);
                tags.push(KeepTag { tag, digest, state });
            }
        }
        self.outcome.protected_tags = tags;
        Ok(())
    }

    fn has_work(&self) -> bool {
        self.planned
            .as_ref()
            .is_some_and(|(_, plan)| !plan.order().is_empty())
    }

    /// Executes the plan; returns whether a deletion was requested.
    fn apply(
        &mut self,
        protection: ImageProtection<'_>,
        rules: Rules<'_>,
        services: &Services,
        on_deletion: &mut OnDeletion<'_>,
    ) -> bool {
        let Some((listing, plan)) = &self.planned else {
            return false;
        };
        let (progress, outcome) = (Progress::default(), &self.outcome);
        let rules = &Rules {
            prune: &self.prune,
            ..rules
        };
        let run = apply::Run {
            plan,
            listing,
            protection,
            rules,
            progress: &progress,
        };
        let mut on_event = |event: DeletionEvent<'_>| {
            if let DeletionEvent::Next = &event {
                services.interruption.changes(DELETING);
                progress.step();
            }
            on_deletion(&event, outcome);
        };
        let work = apply::run(run, &self.backend, &mut on_event);
        let applied = services.wait_with(work, || progress.describe());
        let lost = applied.lost(&self.outcome.name);
        let has_started = applied.has_started;
        self.outcome.refusal = lost.or_else(|| applied.error.clone());
        self.outcome.applied = Some(applied);
        has_started
    }
}
