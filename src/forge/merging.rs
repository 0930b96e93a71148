//! When a pull request may be merged by the forge: what has to hold before that is asked for, the
//! same for all forges.
//!
//! Nothing here approves anything: reviews that a branch requires stay a person's. What is asked
//! for names the head that was judged, so another one is never merged on its account.

use super::{
    Ahead, Error, Forge, Gate, GateState, Marker, Merge, Pull, PullState, branches, judge,
    together, trailer,
};
use crate::untrusted::plain;

/// How often a pull request is looked at that is not yet what was just made of it.
const ROUNDS: u32 = 4;

/// Schedules the merge of an open pull request at its head; merges it at once where nothing is left
/// to wait for and every gate passed. `gates`: contexts that have to pass whatever the branch
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
        let why = format!(
            "{} requires no status and forge.gates names none, so nothing would hold it back",
            pull.base
        );
        return Ok(Merge::Refused(why));
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
        merge => Ok(merge),
    }
}

/// The same for a pull request that repin opened; `None`: it is another one, or its branch is not
/// repin's alone any more.
pub async fn arm_ours(
    forge: &dyn Forge,
    pull: &Pull,
    gates: &[String],
) -> Result<Option<Merge>, Error> {
    let Some(marker) = Marker::find(&pull.body).filter(|_| pull.own) else {
        return Ok(None);
    };
    // A branch that is promoted as a whole is people's work; a set's branch holds what repin
    // committed and nothing else.
    if marker.kind != branches::MARKER {
        let Some(base) = forge.branch(&pull.base).await? else {
            return Ok(None);
        };
        let ahead = forge.ahead((&pull.base, &base), &pull.head).await?;
        let ours = |ahead: &Ahead| {
            ahead.head == pull.head_commit
                && ahead
                    .commits
                    .iter()
                    .all(|commit| trailer(&commit.message).is_some())
        };
        if !ahead.as_ref().is_some_and(ours) {
            return Ok(None);
        }
    }
    arm(forge, pull, gates).await.map(Some)
}

/// The same for one that was opened or changed just now: what was pushed may not have arrived
/// everywhere, so it is looked at again. `None` also where it is not open any more.
pub async fn arm_new(
    forge: &dyn Forge,
    number: u64,
    gates: &[String],
) -> Result<Option<Merge>, Error> {
    for round in 1..=ROUNDS {
        let pull = forge
            .pull(number)
            .await?
            .filter(|pull| pull.state == PullState::Open);
        let Some(pull) = pull else { return Ok(None) };
        if let Some(merge) = arm_ours(forge, &pull, gates).await? {
            return Ok(Some(merge));
        }
        forge.breathe(round).await;
    }
    Ok(None)
}

/// Why gates that have to pass did not.
fn not_yet(gates: &[Gate]) -> Option<Merge> {
    if together(gates) == GateState::Pass {
        return None;
    }
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
        _ => format!("{context} is not decided yet"),
    })
}
