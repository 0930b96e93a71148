//! When a pull request may be merged by the forge: what must hold before that is requested, the
//! same for all forges.
//!
//! Nothing here approves anything: reviews that a branch requires stay a person's. What is asked
//! for names the head that was judged, so another one is never merged on its account.

use super::{Marker, OnlyPins, origin};
use crate::{
    error::Error,
    forge::{Comparison, Forge, Gate, GateState, Merge, Merging, Pull, PullState, judge},
    untrusted::plain,
};

/// How often a pull request is read again if it does not show the latest change yet.
const ROUNDS: u32 = 4;

/// Schedules the merge of an open pull request at its head; merges it at once where nothing is left
/// to wait for and every gate passed. `gates`: contexts that must pass whatever the branch
/// requires.
pub async fn arm(forge: &dyn Forge, pull: &Pull, gates: &[String]) -> Result<Merge, Error> {
    let known = forge.required(&pull.base).await?;
    let held = known.clone().unwrap_or_default();
    let own: Vec<String> = gates
        .iter()
        .filter(|context| !held.contains(context))
        .cloned()
        .collect();
    let all = [held.as_slice(), own.as_slice()].concat();
    if all.is_empty() && known.is_some() {
        let reason = format!(
            "{} requires no status and forge.gates names none, so it would be merged without any check",
            pull.base
        );
        return Ok(Merge::Refused(reason));
    }
    let reports = forge.statuses(&pull.head_commit).await?;
    // The forge waits for what the branch requires and for nothing else: what only we require comes
    // first.
    if let Some(merge) = not_yet(&judge(&own, &reports)) {
        return Ok(merge);
    }
    // It may take a context that has never reported for one that is not required.
    if !forge.waits_for_silent()
        && let Some(silent) = judge(&held, &reports)
            .iter()
            .find(|gate| gate.state == GateState::Absent)
    {
        return Ok(later(silent));
    }
    match forge.auto_merge(pull, &pull.head_commit).await? {
        Merge::Clean(said) if all.is_empty() => Ok(Merge::Refused(said)),
        Merge::Clean(_) => match not_yet(&judge(&all, &reports)) {
            Some(merge) => Ok(merge),
            None => forge.merge(pull, &pull.head_commit).await,
        },
        // It merges on request: then it is asked as soon as everything passed.
        Merge::Unscheduled(said) => match not_yet(&judge(&all, &reports)) {
            Some(Merge::Later(reason)) => Ok(Merge::Later(format!("{said}; {reason}"))),
            Some(merge) => Ok(merge),
            None if all.is_empty() => Ok(Merge::Refused(said)),
            None => forge.merge(pull, &pull.head_commit).await,
        },
        merge => Ok(merge),
    }
}

/// The owner of a pull request that may be repin's.
#[derive(Debug, Clone)]
pub enum MergeAttempt {
    /// It is repin's, and this became of its merge.
    Merge(Merge),
    /// The pull request is repin's, but its branch has a foreign commit, for the reason in the
    /// error. A scheduled merge is cancelled.
    Foreign(Error),
    /// It is not repin's, or its branch has not arrived everywhere.
    Other,
}

/// The owner of the commits on a pull request's branch.
#[derive(Debug, Clone)]
pub enum Owner {
    /// repin opened it, and its branch contains only commits that repin may merge.
    Repin,
    /// Repin opened it, but its branch has a foreign commit, which the error names.
    Foreign(Error),
    /// Someone else opened it, or its branch is not visible everywhere yet.
    Other,
}

/// The owner of the commits on a pull request's branch.
pub(super) async fn owner(
    forge: &dyn Forge,
    pull: &Pull,
    only_pins: OnlyPins<'_>,
) -> Result<Owner, Error> {
    let Some(marker) = Marker::find(&pull.body).filter(|_| pull.own) else {
        return Ok(Owner::Other);
    };
    // A branch that is promoted as a whole is people's work; a set's branch holds what repin
    // committed and nothing else.
    if marker.kind == Marker::BRANCH {
        return Ok(Owner::Repin);
    }
    let Some(base) = forge.branch(&pull.base).await? else {
        return Ok(Owner::Other);
    };
    let what = format!("{}: the branch {}", forge.name(), pull.head);
    let ahead = match forge
        .ahead(&pull.base, &base, &pull.head, pull.head_exists)
        .await?
    {
        Comparison::Absent => return Ok(Owner::Other),
        Comparison::Unrelated(head) => {
            return Ok(Owner::Foreign(origin::unrelated(what, &head, &pull.base)));
        }
        Comparison::Related(ahead) => ahead,
    };
    let foreign = origin::foreign(forge, &ahead, &|_, _| false, only_pins).await?;
    Ok(match foreign {
        Some(foreign) => Owner::Foreign(foreign.error(what)),
        // What was pushed just now may not have arrived everywhere.
        None if ahead.head != pull.head_commit => Owner::Other,
        None => Owner::Repin,
    })
}

/// The same for a pull request that repin opened.
pub async fn schedule_if_repin(
    forge: &dyn Forge,
    pull: &Pull,
    gates: &[String],
    only_pins: OnlyPins<'_>,
) -> Result<MergeAttempt, Error> {
    match owner(forge, pull, only_pins).await? {
        Owner::Other => Ok(MergeAttempt::Other),
        Owner::Foreign(error) => Ok(MergeAttempt::Foreign(disarm(forge, pull, error).await)),
        Owner::Repin => arm(forge, pull, gates).await.map(MergeAttempt::Merge),
    }
}

/// The error of a pull request of repin's whose branch holds a foreign commit; a merge that was
/// scheduled for it is cancelled.
pub async fn foreign(
    forge: &dyn Forge,
    pull: &Pull,
    only_pins: OnlyPins<'_>,
) -> Result<Option<Error>, Error> {
    match owner(forge, pull, only_pins).await? {
        Owner::Foreign(error) => Ok(Some(disarm(forge, pull, error).await)),
        Owner::Repin | Owner::Other => Ok(None),
    }
}

/// Cancels the merge of a pull request, and says so in the error that says why.
pub(super) async fn disarm(forge: &dyn Merging, pull: &Pull, error: Error) -> Error {
    let told = match forge.cancel_merge(pull).await {
        Ok(true) => format!("the scheduled merge of #{} was cancelled", pull.number),
        Ok(false) => return error,
        Err(failed) => format!(
            "the scheduled merge of #{} could not be cancelled: {}",
            pull.number, failed.message
        ),
    };
    Error {
        message: format!("{}; {told}", error.message),
        ..error
    }
}

/// The same for one that was opened or changed just now: what was pushed may not have arrived
/// everywhere, so it is looked at again. `Other` also where it is not open any more.
pub async fn arm_new(
    forge: &dyn Forge,
    number: u64,
    gates: &[String],
    only_pins: OnlyPins<'_>,
) -> Result<MergeAttempt, Error> {
    for round in 1..=ROUNDS {
        let pull = forge
            .pull(number)
            .await?
            .filter(|pull| pull.state == PullState::Open);
        let Some(pull) = pull else {
            return Ok(MergeAttempt::Other);
        };
        match schedule_if_repin(forge, &pull, gates, only_pins).await? {
            MergeAttempt::Other => forge.back_off(round).await,
            armed => return Ok(armed),
        }
    }
    Ok(MergeAttempt::Other)
}

/// Why gates that must pass did not; `None` if all passed.
fn not_yet(gates: &[Gate]) -> Option<Merge> {
    let failed = gates.iter().find(|gate| gate.state == GateState::Fail);
    if let Some(gate) = failed {
        return Some(Merge::Refused(format!("{} failed", plain(&gate.context))));
    }
    gates
        .iter()
        .find(|gate| gate.state != GateState::Pass)
        .map(later)
}

fn later(gate: &Gate) -> Merge {
    let context = plain(&gate.context);
    Merge::Later(match gate.state {
        GateState::Absent => format!("{context} has not reported yet"),
        _ => format!("{context} is still pending"),
    })
}
