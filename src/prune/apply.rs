//! Applies a plan: lists the package again, checks each version immediately before its deletion,
//! verifies each deletion, and lists the package a last time at the end. The first unexpected
//! change stops the run.
//!
//! There is no undo. After an interruption, the package is smaller, and the next run starts from the
//! beginning.

use std::{cell::RefCell, collections::BTreeSet};

use super::{ImageProtection, Listing, Plan, Progress, PrunableVersion, Rules, Version, changes};
use crate::{
    base::{
        error::{Class, Code, Error},
        text::counted,
    },
    oci::{Digest, Tag, registry::Deletion},
};

/// A package with deletable versions.
pub(crate) trait Package {
    /// Lists the package again before the first deletion.
    fn relist(
        &self,
        first: &Listing,
        rules: &Rules<'_>,
        progress: &Progress,
    ) -> impl Future<Output = Result<Listing, Error>>;

    /// Lists the package after the last deletion. Of `keep`, the listing contains exactly the versions
    /// that still exist, tagged or not. `before` is the listing before the first deletion.
    fn list_after_deletion(
        &self,
        before: &Listing,
        keep: &[Version],
        progress: &Progress,
    ) -> impl Future<Output = Result<Listing, Error>>;

    /// Compares a version with its current state.
    fn current_state(&self, version: &Version)
    -> impl Future<Output = Result<CurrentState, Error>>;

    /// Deletes a version with all of its tags, and the manifests attached to it if the registry requires that.
    fn delete(
        &self,
        version: &Version,
        deleting: &Deleting<'_>,
    ) -> impl Future<Output = Result<Deletion, Error>>;

    /// Whether the version was deleted. Waits for a delayed deletion.
    fn is_deleted(&self, version: &Version) -> impl Future<Output = Result<bool, Error>>;

    /// The help for a deletion that returns 404 although the version still exists.
    fn missing_permission(&self) -> &'static str;
}

/// The facts for the deletion of versions, and its result.
#[derive(Debug)]
pub(crate) struct Deleting<'d> {
    /// The listing before the first deletion.
    pub(crate) listing: &'d Listing,
    pub(crate) protection: ImageProtection<'d>,
    /// The versions that stay even if they are attached to a version to delete.
    pub(crate) kept: &'d BTreeSet<Digest>,
    /// The deleted manifests that were attached to a version.
    pub(crate) attached: RefCell<Vec<Digest>>,
}

/// A plan, its inputs, and the receiver of events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'r> {
    pub plan: &'r Plan,
    /// The listing of the plan.
    pub listing: &'r Listing,
    /// The protection.
    pub protection: ImageProtection<'r>,
    pub rules: &'r Rules<'r>,
    /// The progress of the listings.
    pub progress: &'r Progress,
}

/// The change of a version since it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CurrentState {
    /// The version is unchanged.
    Unchanged,
    /// The version no longer exists.
    Missing,
    /// Any other change, with a description.
    Changed(String),
}

/// The events of a run, as they happen.
pub(crate) enum DeletionEvent<'s> {
    /// The check and deletion of the next version.
    Next,
    /// The version was deleted and can no longer be read.
    Deleted(&'s PrunableVersion),
    /// The deletion was requested, but its result is unknown.
    Unverified(&'s PrunableVersion),
    /// Another process deleted the version.
    Skipped(&'s PrunableVersion),
    /// The registry keeps the digest because something refers to it; its tags may be deleted.
    Unfinished(&'s PrunableVersion),
    /// A signature or an attestation was deleted with its version.
    Attached(Digest, &'s PrunableVersion),
}

/// The result of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Applied {
    /// Whether any deletion was requested.
    pub has_started: bool,
    /// The deleted versions in order. Each deletion was verified.
    pub deleted: Vec<PrunableVersion>,
    /// The versions that another process deleted in the meantime.
    pub deleted_elsewhere: Vec<PrunableVersion>,
    /// The versions that the registry keeps because something refers to them, with its messages.
    pub unfinished: Vec<(PrunableVersion, String)>,
    /// The signatures and attestations that were deleted with their versions.
    pub attached: BTreeSet<Digest>,
    /// The first error.
    pub error: Option<Error>,
    /// The missing protected versions.
    pub missing: Vec<Version>,
    /// The missing tags that no deleted version had.
    pub lost_tags: Vec<Tag>,
    /// The versions that may have been deleted.
    unverified: Vec<PrunableVersion>,
}

/// Deletes the versions of the plan. `on_event` is called for each event as it happens.
pub(crate) async fn run(
    run: Run<'_>,
    package: &impl Package,
    on_event: &mut dyn FnMut(DeletionEvent<'_>),
) -> Applied {
    let mut applied = Applied::default();
    let before = match relist(run, package).await {
        Ok(before) => before,
        Err(error) => {
            applied.error = Some(error);
            return applied;
        }
    };
    run.progress.begin("deleting", Some(run.plan.order().len()));
    let deleting = Deleting {
        listing: &before,
        protection: run.protection,
        kept: run.plan.fixed(),
        attached: RefCell::default(),
    };
    for candidate in run.plan.order() {
        on_event(DeletionEvent::Next);
        if let Err(error) = delete(candidate, package, &deleting, &mut applied, on_event).await {
            applied.error = Some(error);
            break;
        }
    }
    finish(package, &deleting, &mut applied, on_event).await;
    if applied.has_started {
        verify(run, package, &before, &mut applied, on_event).await;
    }
    applied
}

/// Lists the package before the first deletion, and refuses relevant changes.
async fn relist(run: Run<'_>, package: &impl Package) -> Result<Listing, Error> {
    let current = package.relist(run.listing, run.rules, run.progress).await?;
    changes::check_unchanged(run.plan, run.listing, &current, run.protection, run.rules)?;
    Ok(current)
}

/// Retries the unfinished deletions: the manifests that referred to the versions may be deleted now.
async fn finish(
    package: &impl Package,
    deleting: &Deleting<'_>,
    applied: &mut Applied,
    on_event: &mut dyn FnMut(DeletionEvent<'_>),
) {
    if applied.error.is_none() {
        for (candidate, _) in std::mem::take(&mut applied.unfinished) {
            if let Err(error) = delete(&candidate, package, deleting, applied, on_event).await {
                applied.error = Some(error);
                break;
            }
        }
    }
    for (candidate, _) in &applied.unfinished {
        on_event(DeletionEvent::Unfinished(candidate));
    }
    if let Some((candidate, reason)) = applied.unfinished.first() {
        let count = counted(applied.unfinished.len(), "deletion");
        let message = format!(
            "{count} not finished: the registry keeps {}: {reason}",
            candidate.version.digest
        );
        let hint = "delete the manifests that refer to the digest, or wait until the registry does; the next run continues";
        let error = Error::new(Class::Unavailable, Code::DELETION_UNFINISHED, message);
        applied.set_error(error.help(hint));
    }
}

async fn delete(
    candidate: &PrunableVersion,
    package: &impl Package,
    deleting: &Deleting<'_>,
    applied: &mut Applied,
    on_event: &mut dyn FnMut(DeletionEvent<'_>),
) -> Result<(), Error> {
    let version = &candidate.version;
    match package.current_state(version).await? {
        CurrentState::Unchanged => {}
        CurrentState::Missing => {
            applied.skip(candidate, on_event);
            return Ok(());
        }
        CurrentState::Changed(change) => {
            let message = format!("{} changed since it was listed: {change}", version.digest);
            return Err(Error::new(Class::Unavailable, Code::CHANGED, message)
                .help("run prune again when nothing is being pushed or tagged"));
        }
    }
    applied.has_started = true;
    applied.unverified.push(candidate.clone());
    let deletion = package.delete(version, deleting).await;
    for attached in deleting.attached.take() {
        on_event(DeletionEvent::Attached(attached, candidate));
        applied.attached.insert(attached);
    }
    let deletion = deletion?;
    if let Deletion::Blocked { reason, .. } = &deletion {
        applied.unverified.pop();
        applied.unfinished.push((candidate.clone(), reason.clone()));
        return Ok(());
    }
    if let Deletion::Forbidden(error) = deletion {
        applied.unverified.pop();
        return Err(*error);
    }
    if let Deletion::Refused(reason) = &deletion {
        applied.unverified.pop();
        let message = format!("{} is not deleted: {reason}", version.digest);
        let hint = "no other deletion is tried after a refusal; to keep versions, name their tags in prune.protect";
        return Err(Error::new(Class::Denied, Code::DELETION_REFUSED, message).help(hint));
    }
    let is_deleted = package.is_deleted(version).await?;
    applied.unverified.pop();
    match (deletion, is_deleted) {
        (Deletion::Missing, true) => applied.skip(candidate, on_event),
        (_, true) => {
            on_event(DeletionEvent::Deleted(candidate));
            applied.deleted.push(candidate.clone());
        }
        (Deletion::Missing | Deletion::MissingAfterAttempt, false) => {
            let message = format!(
                "{} is not deleted: the registry answered 404, but the version still exists",
                version.digest
            );
            let refusal = Error::new(Class::Denied, Code::DELETION_REFUSED, message);
            return Err(refusal.help(package.missing_permission()));
        }
        (_, false) => return Err(still_exists(version)),
    }
    Ok(())
}

fn still_exists(version: &Version) -> Error {
    let message = format!(
        "the registry accepted the deletion of {}, but the version still exists",
        version.digest
    );
    let hint = "run prune again; if the version persists, check the registry's log or storage";
    Error::new(Class::Unavailable, Code::DELETION_UNVERIFIED, message).help(hint)
}

/// Lists the package after the last deletion and compares it with the listing before the first.
async fn verify(
    run: Run<'_>,
    package: &impl Package,
    before: &Listing,
    applied: &mut Applied,
    on_event: &mut dyn FnMut(DeletionEvent<'_>),
) {
    let unverified = std::mem::take(&mut applied.unverified);
    // A deletion without a response is verified by digest, like a protected version: its tags may
    // refer to another version now.
    let mut keep = run.plan.keep().to_vec();
    keep.extend(unverified.iter().map(|candidate| candidate.version.clone()));
    let after = match package
        .list_after_deletion(before, &keep, run.progress)
        .await
    {
        Ok(after) => after,
        Err(error) => {
            let message = format!(
                "cannot verify that protected versions still exist: {}",
                error.text()
            );
            for candidate in &unverified {
                on_event(DeletionEvent::Unverified(candidate));
            }
            applied.set_error(Error { message, ..error });
            return;
        }
    };
    let requested: Vec<PrunableVersion> =
        applied.deleted.iter().chain(&unverified).cloned().collect();
    let mut without_tags = applied.deleted_elsewhere.clone();
    let unfinished = applied.unfinished.iter();
    without_tags.extend(unfinished.map(|(candidate, _)| candidate.clone()));
    let differences = changes::compare(
        run.plan,
        before,
        &after,
        run.rules,
        &requested,
        &without_tags,
    );
    let listed = before.versions.iter();
    let attached = listed.filter(|version| applied.attached.contains(&version.digest));
    let attached_tags: BTreeSet<&Tag> = attached.flat_map(|version| &version.tags).collect();
    let remains =
        |candidate: &PrunableVersion| differences.remaining.contains(&candidate.version.digest);
    for candidate in unverified {
        // Only the response of this deletion was lost.
        if !remains(&candidate) {
            on_event(DeletionEvent::Deleted(&candidate));
            applied.deleted.push(candidate);
        }
    }
    if let Some(candidate) = applied.deleted.iter().find(|candidate| remains(candidate)) {
        applied.set_error(still_exists(&candidate.version.clone()));
    }
    applied.deleted.retain(|candidate| !remains(candidate));
    let attached = &applied.attached;
    let mut missing = differences.missing;
    missing.retain(|version| !attached.contains(&version.digest));
    applied.missing = missing;
    applied.lost_tags = differences.lost_tags;
    applied.lost_tags.retain(|tag| !attached_tags.contains(tag));
    if let Some(error) = differences.error {
        applied.set_error(error);
    }
}

impl Applied {
    fn skip(&mut self, candidate: &PrunableVersion, on_event: &mut dyn FnMut(DeletionEvent<'_>)) {
        on_event(DeletionEvent::Skipped(candidate));
        self.deleted_elsewhere.push(candidate.clone());
    }

    /// Sets the error of the run unless an earlier one is set.
    fn set_error(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    /// The error for missing protected versions and tags of `image`. A version with an ID can be
    /// restored.
    pub(crate) fn lost(&self, image: &str) -> Option<Error> {
        if self.missing.is_empty() && self.lost_tags.is_empty() {
            return None;
        }
        let mut lost = Vec::new();
        let mut commands = Vec::new();
        for version in &self.missing {
            lost.push(version.digest.to_string());
            if let Some(id) = version.id {
                commands.push(format!(
                    "repin prune restore --image {image} --version {id} --apply"
                ));
            }
        }
        for tag in &self.lost_tags {
            lost.push(format!("the tag {tag}"));
        }
        let message = format!(
            "PROTECTED VERSIONS OF {image} ARE MISSING NOW: {}",
            lost.join(", ")
        );
        let hint = if commands.is_empty() {
            "PUSH THEM AGAIN FROM WHERE THEY WERE BUILT, and find out what else deletes versions here"
                .to_owned()
        } else {
            format!("RESTORE THEM WITHIN 30 DAYS: {}", commands.join("; "))
        };
        Some(Error::new(Class::Failed, Code::PROTECTED_MISSING, message).help(hint))
    }
}

#[cfg(test)]
pub(super) mod tests;
