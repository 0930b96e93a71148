//! Carrying out a plan: the listing is read again, each version is read again just before it is
//! deleted, the first surprise ends it, each deletion is verified by reading, and at the end the
//! whole listing is read once more.
//!
//! Nothing is restored here. An interrupted run leaves a smaller package and nothing else, so the
//! next run simply starts over.

use super::{Candidate, Guards, Listing, Plan, Progress, Rules, Version, changes};
use crate::{
    code::Code,
    error::{Class, Error},
    oci::Tag,
    registry::Deletion,
};

/// A package whose versions can be deleted.
pub trait Package {
    /// The listing as it is now, before the first deletion.
    fn again(
        &self,
        first: &Listing,
        progress: &Progress,
    ) -> impl Future<Output = Result<Listing, Error>>;

    /// The whole listing after the last deletion; of `keep`, it has exactly the versions whose
    /// bytes still exist, with or without a tag. `before`: the listing before the first deletion.
    fn afterwards(
        &self,
        before: &Listing,
        keep: &[Version],
        progress: &Progress,
    ) -> impl Future<Output = Result<Listing, Error>>;

    /// The version as it is now.
    fn look(&self, version: &Version) -> impl Future<Output = Result<CurrentState, Error>>;

    /// Deletes a version with all of its tags.
    fn delete(&self, version: &Version) -> impl Future<Output = Result<Deletion, Error>>;

    /// Whether a version is gone; waits for a delayed deletion.
    fn is_gone(&self, version: &Version) -> impl Future<Output = Result<bool, Error>>;

    /// The permission to grant if a deletion returns 404 and the version still exists.
    fn grant(&self) -> &'static str;
}

/// A plan, its inputs, and the receiver of events.
#[derive(Debug, Clone, Copy)]
pub struct Run<'r> {
    /// The plan.
    pub plan: &'r Plan,
    /// The listing that the plan was made from.
    pub listing: &'r Listing,
    /// The protection.
    pub guards: &'r Guards,
    /// The configuration.
    pub rules: &'r Rules<'r>,
    /// How far the listings are.
    pub progress: &'r Progress,
}

/// The change of a version since it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CurrentState {
    /// Nothing.
    Same,
    /// It no longer exists.
    Gone,
    /// Something else about it.
    Changed(String),
}

/// The events of a run, as they happen.
pub enum DeletionEvent<'s> {
    /// This one is going to be read again and deleted.
    Next(&'s Candidate),
    /// It was deleted, and cannot be read any more.
    Deleted(&'s Candidate),
    /// Its deletion was requested, and whether it happened is unknown.
    Unverified(&'s Candidate),
    /// Another process deleted it first.
    Skipped(&'s Candidate),
}

/// The result.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// Whether any deletion was requested.
    pub begun: bool,
    /// The deleted versions, verified to be gone, in this order.
    pub deleted: Vec<Candidate>,
    /// Versions that another process deleted in the meantime.
    pub gone: Vec<Candidate>,
    /// Why it ended before its end.
    pub stopped: Option<Error>,
    /// Missing protected versions.
    pub missing: Vec<Version>,
    /// Tags that are missing although nothing was deleted that had them.
    pub lost_tags: Vec<Tag>,
    /// Versions that may have been deleted.
    unverified: Vec<Candidate>,
}

/// Deletes the versions of the plan; `tell` is called for each step when it happens.
pub async fn run(
    run: Run<'_>,
    package: &impl Package,
    tell: &mut dyn FnMut(DeletionEvent<'_>),
) -> Applied {
    let mut applied = Applied::default();
    let before = match again(run, package).await {
        Ok(before) => before,
        Err(refusal) => {
            applied.stopped = Some(refusal);
            return applied;
        }
    };
    run.progress.begin("deleting", Some(run.plan.order().len()));
    for candidate in run.plan.order() {
        tell(DeletionEvent::Next(candidate));
        if let Err(refusal) = one(candidate, package, &mut applied, tell).await {
            applied.stopped = Some(refusal);
            break;
        }
    }
    if applied.begun {
        close(run, package, &before, &mut applied, tell).await;
    }
    applied
}

/// The listing before the first deletion, unless it shows a change that matters.
async fn again(run: Run<'_>, package: &impl Package) -> Result<Listing, Error> {
    let now = package.again(run.listing, run.progress).await?;
    changes::unchanged(run.plan, run.listing, &now, run.guards, run.rules)?;
    Ok(now)
}

async fn one(
    candidate: &Candidate,
    package: &impl Package,
    applied: &mut Applied,
    tell: &mut dyn FnMut(DeletionEvent<'_>),
) -> Result<(), Error> {
    let version = &candidate.version;
    match package.look(version).await? {
        CurrentState::Same => {}
        CurrentState::Gone => {
            applied.skip(candidate, tell);
            return Ok(());
        }
        CurrentState::Changed(how) => {
            let message = format!("{} changed since it was listed: {how}", version.digest);
            return Err(Error::new(Class::Unavailable, Code::CHANGED, message)
                .help("run prune again when nothing is being pushed or tagged"));
        }
    }
    applied.begun = true;
    applied.unverified.push(candidate.clone());
    let answer = package.delete(version).await?;
    if let Deletion::Refused(said) = answer {
        applied.unverified.pop();
        let message = format!("{} is not deleted: {said}", version.digest);
        let hint = "no other deletion is tried after a refusal; to keep versions, name their tags in prune.protect";
        return Err(Error::new(Class::Denied, Code::DELETION_REFUSED, message).help(hint));
    }
    let gone = package.is_gone(version).await?;
    applied.unverified.pop();
    match (answer, gone) {
        (Deletion::Missing, true) => applied.skip(candidate, tell),
        (_, true) => {
            tell(DeletionEvent::Deleted(candidate));
            applied.deleted.push(candidate.clone());
        }
        (Deletion::Missing | Deletion::MissingAfterAttempt, false) => {
            let message = format!(
                "{} is not deleted: the registry answered 404, but the version still exists",
                version.digest
            );
            let refusal = Error::new(Class::Denied, Code::DELETION_REFUSED, message);
            return Err(refusal.help(package.grant()));
        }
        (_, false) => return Err(still_there(version)),
    }
    Ok(())
}

fn still_there(version: &Version) -> Error {
    let message = format!(
        "the registry accepted the deletion of {}, but the version still exists",
        version.digest
    );
    let hint = "run prune again; if the version persists, check the registry's log or storage";
    Error::new(Class::Unavailable, Code::DELETION_UNVERIFIED, message).help(hint)
}

/// Compares the whole listing with the one before.
async fn close(
    run: Run<'_>,
    package: &impl Package,
    before: &Listing,
    applied: &mut Applied,
    tell: &mut dyn FnMut(DeletionEvent<'_>),
) {
    let unverified = std::mem::take(&mut applied.unverified);
    // A deletion without a response is verified by digest, like a kept version: its tags may name
    // another version by now.
    let doubtful = unverified.iter().map(|candidate| &candidate.version);
    let keep: Vec<Version> = run.plan.keep().iter().chain(doubtful).cloned().collect();
    let after = match package.afterwards(before, &keep, run.progress).await {
        Ok(after) => after,
        Err(refusal) => {
            let message = format!(
                "cannot verify that protected versions still exist: {}",
                refusal.text()
            );
            for candidate in &unverified {
                tell(DeletionEvent::Unverified(candidate));
            }
            applied.surprise(Error { message, ..refusal });
            return;
        }
    };
    let asked: Vec<Candidate> = applied.deleted.iter().chain(&unverified).cloned().collect();
    let finding = changes::finding(run.plan, before, &after, run.rules, &asked, &applied.gone);
    let still = |candidate: &Candidate| finding.still.contains(&candidate.version.digest);
    // The response was lost, and the deletion happened.
    for candidate in unverified.into_iter().filter(|candidate| !still(candidate)) {
        tell(DeletionEvent::Deleted(&candidate));
        applied.deleted.push(candidate);
    }
    if let Some(candidate) = applied.deleted.iter().find(|candidate| still(candidate)) {
        applied.surprise(still_there(&candidate.version.clone()));
    }
    applied.deleted.retain(|candidate| !still(candidate));
    applied.missing = finding.missing;
    applied.lost_tags = finding.lost_tags;
    if let Some(refusal) = finding.surprise {
        applied.surprise(refusal);
    }
}

impl Applied {
    fn skip(&mut self, candidate: &Candidate, tell: &mut dyn FnMut(DeletionEvent<'_>)) {
        tell(DeletionEvent::Skipped(candidate));
        self.gone.push(candidate.clone());
    }

    /// A reason to stop, unless there is one already.
    fn surprise(&mut self, refusal: Error) {
        self.stopped.get_or_insert(refusal);
    }

    /// The cry for help where something is missing that was to be kept; `image`: its name,
    /// `restores`: whether the registry can put it back.
    pub fn lost(&self, image: &str, restores: bool) -> Option<Error> {
        if self.missing.is_empty() && self.lost_tags.is_empty() {
            return None;
        }
        let digests = self
            .missing
            .iter()
            .map(|version| version.digest.to_string());
        let lost: Vec<_> = digests
            .chain(self.lost_tags.iter().map(|tag| format!("the tag {tag}")))
            .collect();
        let message = format!(
            "PROTECTED VERSIONS OF {image} ARE MISSING NOW: {}",
            lost.join(", ")
        );
        let numbers = self
            .missing
            .iter()
            .filter_map(|version| version.id)
            .filter(|_| restores);
        let commands: Vec<_> = numbers
            .map(|id| format!("repin prune restore --image {image} --version {id} --apply"))
            .collect();
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
