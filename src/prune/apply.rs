//! Carrying out a plan: each version is read again just before it is deleted, the first surprise
//! ends it, and what was to be kept is asked for afterwards.
//!
//! Nothing is put back here. A run that breaks off leaves a shorter package and nothing else, so
//! that the next one simply begins anew.

use futures_util::{StreamExt, stream};

use super::{Candidate, Plan, Refusal, Version, refusal::Kind};
use crate::{image::Tag, source::Deletion};

/// How many are asked for at once afterwards.
const AT_ONCE: usize = 8;

/// A package whose versions can be deleted.
pub trait Package {
    /// The version as it is now.
    fn look(&self, version: &Version) -> impl Future<Output = Result<Now, Refusal>>;

    /// Deletes a version with all of its tags.
    fn delete(&self, version: &Version) -> impl Future<Output = Result<Deletion, Refusal>>;

    /// Whether the bytes of a version are still there.
    fn has(&self, version: &Version) -> impl Future<Output = Result<bool, Refusal>>;

    /// Tags that are gone although they were of none of these versions.
    fn lost_tags(&self, gone: &[&Version]) -> impl Future<Output = Result<Vec<Tag>, Refusal>>;
}

/// What became of a version since it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Now {
    /// Nothing.
    Same,
    /// It is not there any more.
    Gone,
    /// Something else about it.
    Changed(String),
}

/// What happens, as it happens.
pub enum Step<'s> {
    /// This one is going to be read again and deleted.
    Next(&'s Candidate),
    /// It was deleted.
    Deleted(&'s Candidate),
    /// Somebody else was faster.
    Skipped(&'s Candidate),
}

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// What was deleted, in this order.
    pub deleted: Vec<Candidate>,
    /// What somebody else had deleted meanwhile.
    pub gone: Vec<Candidate>,
    /// Why it ended before its end.
    pub stopped: Option<Refusal>,
    /// What was to be kept and is missing.
    pub missing: Vec<Version>,
    /// Tags that are missing although nothing was deleted that had them.
    pub lost_tags: Vec<Tag>,
}

/// Deletes what `plan` says; `tell` hears of each step when it happens.
pub async fn run(plan: &Plan, package: &impl Package, tell: &mut dyn FnMut(Step<'_>)) -> Applied {
    let mut applied = Applied::default();
    for candidate in plan.order() {
        tell(Step::Next(candidate));
        match one(candidate, package).await {
            Ok(Deletion::Deleted) => {
                tell(Step::Deleted(candidate));
                applied.deleted.push(candidate.clone());
            }
            Ok(Deletion::Gone) => {
                tell(Step::Skipped(candidate));
                applied.gone.push(candidate.clone());
            }
            Ok(Deletion::Refused(said)) => {
                let message = format!("{} is not deleted: {said}", candidate.version.digest);
                let hint = "a registry that refuses one is asked for no other; what may stay can be named in prune.protect";
                applied.stopped =
                    Some(Refusal::new(Kind::Denied, "deletion_refused", message).hint(hint));
                break;
            }
            Err(refusal) => {
                applied.stopped = Some(refusal);
                break;
            }
        }
    }
    verify(plan, package, &mut applied).await;
    applied
}

async fn one(candidate: &Candidate, package: &impl Package) -> Result<Deletion, Refusal> {
    let version = &candidate.version;
    match package.look(version).await? {
        Now::Same => package.delete(version).await,
        Now::Gone => Ok(Deletion::Gone),
        Now::Changed(how) => {
            let message = format!("{} changed since it was listed: {how}", version.digest);
            Err(Refusal::later("changed", message)
                .hint("somebody pushes or tags right now; run it again"))
        }
    }
}

/// Asks for everything that was to be kept, if anything may have been deleted.
async fn verify(plan: &Plan, package: &impl Package, applied: &mut Applied) {
    // A deletion whose answer was lost may have happened, too.
    if applied.deleted.is_empty() && applied.stopped.is_none() {
        return;
    }
    let gone: Vec<_> = applied
        .deleted
        .iter()
        .chain(&applied.gone)
        .map(|candidate| &candidate.version)
        .collect();
    match package.lost_tags(&gone).await {
        Ok(tags) => applied.lost_tags = tags,
        Err(refusal) => applied.unverified(refusal),
    }
    let asked = stream::iter(plan.keep())
        .map(|version| async move { (version, package.has(version).await) });
    let found: Vec<_> = asked.buffered(AT_ONCE).collect().await;
    for (version, there) in found {
        match there {
            Ok(true) => {}
            Ok(false) => applied.missing.push(version.clone()),
            Err(refusal) => applied.unverified(refusal),
        }
    }
}

impl Applied {
    fn unverified(&mut self, refusal: Refusal) {
        let message = format!(
            "whether what was kept is still there can't be told: {}",
            refusal.message
        );
        self.stopped = self.stopped.take().or(Some(Refusal { message, ..refusal }));
    }

    /// The cry for help where something is missing that was to be kept; `image`: its name,
    /// `restores`: whether the registry can put it back.
    pub fn lost(&self, image: &str, restores: bool) -> Option<Refusal> {
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
            "PUSH THEM AGAIN FROM WHERE THEY WERE BUILT, and look who else deletes here".to_owned()
        } else {
            format!("RESTORE THEM WITHIN 30 DAYS: {}", commands.join("; "))
        };
        Some(Refusal::new(Kind::Failed, "protected_missing", message).hint(hint))
    }
}
