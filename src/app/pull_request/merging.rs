//! Requests the merge of a pull request, by the same rules on every forge.
//!
//! Required reviews remain the task of people. `head` verifies the head of a pull request first, and
//! each request contains that head, so the forge merges no other one.
//!
//! Starts workflows that a forge does not start after a merge with a token, once for each merge,
//! even with concurrent runs.
//!
//! A mark on the forge that can be created only once decides which run starts the workflow. A run that
//! could not start it deletes the mark.
//!
//! Closes an open pull request of a set.
//!
//! The branch remains, so the pull request can be reopened. A later run does not reopen it.
//!
//! Makes an open pull request a draft, because a stage of its set no longer passes.

use sha2::{Digest as _, Sha256};

use super::{
    OnlyPins, Permission, close_with, comment, content::ForgeRepository, head::HeadVerdict, origin,
};
use crate::{
    base::{
        error::{Class, Error},
        untrusted::plain,
    },
    forge::{
        Ability, Forge, Gate, GateState, ImpliedGate, Merge, PlannedWrites, Pull, PullState,
        Readiness, Repo, RunMark, judge, read_gates,
    },
    git::{Comparison, check_branch},
    oci::Digest,
};

/// The number of polls for the latest change of a pull request.
const ROUNDS: u32 = 4;

/// Schedules the merge of an open pull request at its head, or merges it at once if every gate passed.
/// `gates`: contexts that must pass in addition to those that the branch requires.
pub(crate) async fn enable_auto_merge(
    forge: &Forge,
    pull: &Pull,
    gates: &[String],
) -> Result<Merge, Error> {
    let known = forge.required_contexts(&pull.base).await?;
    let mut held = known.clone().unwrap_or_default();
    let own = gates.iter().filter(|context| !held.contains(context));
    let own: Vec<String> = own.cloned().collect();
    let implied = add_implied_gate(forge, known.as_deref(), &mut held);
    let all = [held.as_slice(), own.as_slice()].concat();
    if all.is_empty() && known.is_some() && forge.implied_gate() == ImpliedGate::Waived {
        return match forge.schedule_merge(pull, &pull.head_commit).await? {
            Merge::Clean(_) => forge.merge(pull, &pull.head_commit).await,
            merge => Ok(merge),
        };
    }
    if all.is_empty() && known.is_some() {
        let reason = format!(
            "{} requires no status and forge.gates names none, so it would be merged without any check",
            pull.base
        );
        return Ok(Merge::Refused(reason));
    }
    if all.is_empty() {
        // The rules are unknown, so only the forge may decide when to merge.
        let merge = forge.schedule_merge(pull, &pull.head_commit).await?;
        return Ok(match merge {
            Merge::Clean(reason) | Merge::Unscheduled(reason) => Merge::Refused(reason),
            merge => merge,
        });
    }
    let gates = read_gates(forge, &all, &pull.head_commit, Some(pull.number)).await?;
    let (required_by_base, additional) = gates.split_at(held.len());
    // The forge waits only for the contexts that the branch requires, so the other gates must pass
    // first.
    if let Some(merge) = not_yet(additional) {
        return Ok(merge);
    }
    // The forge does not require an implied gate: it merges at once if it is absent or failed.
    if implied
        && let Some(merge) = not_yet(&gates[..1])
        && gates[0].state != GateState::Pending
    {
        return Ok(merge);
    }
    // The forge may ignore a required context that has never reported.
    let silent = required_by_base
        .iter()
        .find(|gate| gate.state == GateState::Absent);
    if !forge.capabilities().waits_for_silent_contexts
        && let Some(silent) = silent
    {
        return Ok(later(silent));
    }
    if !forge.capabilities().checks_when_scheduled && not_yet(&gates).is_none() {
        return merge_or_schedule(forge, pull).await;
    }
    match forge.schedule_merge(pull, &pull.head_commit).await? {
        Merge::Scheduled if !forge.capabilities().checks_when_scheduled => {
            scheduled(forge, pull, &all).await
        }
        Merge::Scheduled => Ok(match silent.filter(|gate| gate.expired) {
            Some(gate) => Merge::Held(unreported(gate)),
            None => Merge::Scheduled,
        }),
        Merge::Clean(_) => match not_yet(&gates) {
            Some(merge) => Ok(merge),
            None => forge.merge(pull, &pull.head_commit).await,
        },
        // The forge merges on request, so the merge is requested as soon as everything passed.
        Merge::Unscheduled(refusal) => match not_yet(&gates) {
            Some(Merge::Later(reason)) => Ok(Merge::Later(format!("{refusal}; {reason}"))),
            Some(merge) => Ok(merge),
            None => forge.merge(pull, &pull.head_commit).await,
        },
        merge => Ok(merge),
    }
}

/// Adds the implied gate to those of the base, unless the base requires it or its rules are unknown.
fn add_implied_gate(forge: &Forge, known: Option<&[String]>, held: &mut Vec<String>) -> bool {
    let ImpliedGate::Context(context) = forge.implied_gate() else {
        return false;
    };
    let is_added = known.is_some_and(|known| known.iter().all(|name| name != context));
    if is_added {
        held.insert(0, context.to_owned());
    }
    is_added
}

/// Merges a pull request in which everything required passed; schedules the merge if the forge
/// refuses it now, for example because an approval is missing.
async fn merge_or_schedule(forge: &Forge, pull: &Pull) -> Result<Merge, Error> {
    let reason = match forge.merge(pull, &pull.head_commit).await? {
        Merge::Refused(reason) => reason,
        merge => return Ok(merge),
    };
    Ok(match forge.schedule_merge(pull, &pull.head_commit).await? {
        Merge::Scheduled => Merge::Held(reason),
        Merge::Unscheduled(_) => Merge::Refused(reason),
        merge => merge,
    })
}

/// Merges a pull request after its merge was scheduled, because the forge does not start a
/// scheduled merge if the last required status arrived before the request.
async fn scheduled(forge: &Forge, pull: &Pull, required: &[String]) -> Result<Merge, Error> {
    let reports = forge.statuses(&pull.head_commit, Some(pull.number)).await?;
    if not_yet(&judge(required, &reports)).is_some() {
        return Ok(Merge::Scheduled);
    }
    let reason = match forge.merge(pull, &pull.head_commit).await? {
        Merge::Refused(reason) => reason,
        merge => return Ok(merge),
    };
    // The forge also refuses a pull request that it has just merged itself.
    let current = forge.pull(pull.number).await?;
    Ok(match current.map(|current| current.state) {
        Some(PullState::Merged(_)) => Merge::Merged,
        _ => Merge::Held(reason),
    })
}

/// The outcome of an attempt to schedule a merge.
#[derive(Debug, Clone)]
pub(crate) enum MergeAttempt {
    /// The head was verified, with this result of the merge.
    Merge(Merge),
    /// The pull request must not be merged, for the reason in the error. A scheduled merge is
    /// canceled.
    Refused(Error),
    /// The pull request is not open, or its branch is not visible everywhere yet.
    Lagging,
}

/// Verifies the head of a pull request and schedules its merge at that head; cancels a scheduled
/// merge if the head must not be merged.
pub(crate) async fn schedule(
    repository: &ForgeRepository,
    pull: &Pull,
    gates: &[String],
    permission: &Permission<'_>,
) -> Result<MergeAttempt, Error> {
    let forge = &repository.forge;
    match permission.verify(&repository.content, pull).await? {
        HeadVerdict::Lagging => Ok(MergeAttempt::Lagging),
        HeadVerdict::Refused(error) => Ok(MergeAttempt::Refused(
            disable_auto_merge(forge, pull, error).await,
        )),
        HeadVerdict::Verified => enable_auto_merge(forge, pull, gates)
            .await
            .map(MergeAttempt::Merge),
    }
}

/// The error of a pull request that must not be merged at its head; a merge that was scheduled for it
/// is canceled.
pub(crate) async fn refusal(
    repository: &ForgeRepository,
    pull: &Pull,
    permission: &Permission<'_>,
) -> Result<Option<Error>, Error> {
    let forge = &repository.forge;
    match permission.verify(&repository.content, pull).await? {
        HeadVerdict::Refused(error) => Ok(Some(disable_auto_merge(forge, pull, error).await)),
        HeadVerdict::Verified | HeadVerdict::Lagging => Ok(None),
    }
}

/// Cancels the scheduled merge of a pull request, and adds this to the error with the reason.
pub(crate) async fn disable_auto_merge(forge: &Forge, pull: &Pull, error: Error) -> Error {
    let result = match forge.cancel_merge(pull).await {
        Ok(true) => format!("the scheduled merge of {} was canceled", pull.mark()),
        Ok(false) => return error,
        Err(failed) => format!(
            "the scheduled merge of {} could not be canceled: {}",
            pull.mark(),
            failed.message
        ),
    };
    Error {
        message: format!("{}; {result}", error.message),
        ..error
    }
}

/// Like [`schedule`], for a pull request that was just opened or changed: repeats the attempt while the
/// branch is not visible everywhere.
pub(crate) async fn schedule_new(
    repository: &ForgeRepository,
    number: u64,
    gates: &[String],
    permission: &Permission<'_>,
) -> Result<MergeAttempt, Error> {
    let forge = &repository.forge;
    for round in 1..=ROUNDS {
        let pull = forge
            .pull(number)
            .await?
            .filter(|pull| pull.state == PullState::Open);
        let Some(pull) = pull else {
            return Ok(MergeAttempt::Lagging);
        };
        match schedule(repository, &pull, gates, permission).await? {
            MergeAttempt::Lagging => forge.back_off(round).await,
            attempt => return Ok(attempt),
        }
    }
    Ok(MergeAttempt::Lagging)
}

/// The pending or failed gates as a result; `None` if all gates passed.
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
    Merge::Later(match gate.state {
        GateState::Absent => unreported(gate),
        _ => format!("{} is still pending", plain(&gate.context)),
    })
}

fn unreported(gate: &Gate) -> String {
    let context = plain(&gate.context);
    match gate.expiry() {
        Some(expiry) => format!("{context} has no report; it {expiry}"),
        None => format!("{context} has not reported yet"),
    }
}

/// Whether this token can start all of `workflows`, without starting one.
pub(crate) async fn able(forge: &Forge, workflows: &[String]) -> Result<Ability, Error> {
    for workflow in workflows {
        if let Ability::No(reason) = forge.can_dispatch(workflow).await? {
            return Ok(Ability::No(reason));
        }
    }
    // The mark is a write, too.
    let repo = forge.repository().await?;
    forge
        .check_permissions(&repo, PlannedWrites { workflows: false })
        .await?;
    Ok(Ability::Yes)
}

/// Starts `workflow` for a merged pull request, at its base branch; `false` if another run starts it.
/// `commit`: the merge. `word`: a unique word of this run.
pub(crate) async fn once(
    forge: &Forge,
    pull: &Pull,
    workflow: &str,
    commit: &str,
    word: &str,
) -> Result<bool, Error> {
    let name = format!("dispatched/pull-{}/{}", pull.number, ref_part(workflow));
    let claim = RunMark {
        name: &name,
        commit,
        base: &pull.base,
        word,
    };
    // After a lost response, the mark may exist, and no later run would use it.
    let claimed = forge.claim(&claim).await.map_err(|error| {
        if error.class == Class::Unavailable {
            by_hand(error, workflow)
        } else {
            error
        }
    });
    if !claimed? {
        return Ok(false);
    }
    match forge.dispatch(workflow, &pull.base).await {
        Ok(()) => Ok(true),
        // It is unknown whether the workflow was started.
        Err(error) if error.may_have_changed => Err(by_hand(error, workflow)),
        Err(error) => match forge.release(&claim).await {
            Ok(()) => Err(error),
            Err(second) => {
                let message = format!(
                    "{}; cannot delete the mark repin/{name} either: {}",
                    error.message, second.message
                );
                Err(by_hand(Error { message, ..error }, workflow))
            }
        },
    }
}

/// The error if it is unknown whether the workflow was started, and the mark prevents later runs from
/// starting it.
fn by_hand(error: Error, workflow: &str) -> Error {
    let hint = format!(
        "check whether {workflow} was started, and start it if not: repin may not start it again"
    );
    // The next run does not continue from here.
    Error {
        may_have_changed: false,
        ..error.help(hint)
    }
}

/// A workflow's name as a part of a reference, or its hash if git does not permit the name.
fn ref_part(workflow: &str) -> String {
    if !workflow.contains('/') && check_branch(workflow).is_ok() {
        return workflow.to_owned();
    }
    hex::encode(Sha256::digest(workflow))[..16].to_owned()
}

/// Marks the comment with which a pull request is closed.
const NOTE: &str = "<!-- repin/1 closed-with-fleet -->";

/// Fails if the pull request's branch contains a foreign commit.
pub(crate) async fn permits(
    repository: &ForgeRepository,
    pull: &Pull,
    only_pins: OnlyPins<'_>,
) -> Result<(), Error> {
    let content = &repository.content;
    let what = format!("{} ({})", pull.name(), pull.url);
    content.fetch(&[&pull.base, &pull.head]).await?;
    let compared = match content.head(&pull.base).await? {
        Some(base) => content.compare(&base, &pull.head).await?,
        None => Comparison::Absent,
    };
    match compared {
        Comparison::Absent => {
            let reason = "its branch or its base branch is missing";
            Err(Error::unavailable(what, reason))
        }
        Comparison::Unrelated(head) => Err(origin::unrelated(what, &head, &pull.base)),
        Comparison::Related(ahead) if ahead.head != pull.head_commit => {
            let words = repository.forge.words();
            let reason = format!(
                "its branch is at another commit than the {}",
                words.pull_request
            );
            Err(Error::unavailable(what, reason))
        }
        Comparison::Related(ahead) => {
            let foreign = origin::foreign(content, &ahead, &|_, _| false, only_pins).await?;
            foreign.map_or(Ok(()), |foreign| Err(foreign.error(what)))
        }
    }
}

/// Closes the pull request with a comment, unless its branch contains a foreign commit; `None` if it
/// is no longer open.
pub(crate) async fn close(
    repository: &ForgeRepository,
    repo: &Repo,
    number: u64,
    only_pins: OnlyPins<'_>,
) -> Result<Option<Pull>, Error> {
    let forge = &repository.forge;
    // Time may have passed since it was listed.
    let now = forge.pull(number).await?;
    let Some(pull) = now.filter(|pull| pull.state == PullState::Open) else {
        return Ok(None);
    };
    permits(repository, &pull, only_pins).await?;
    forge
        .check_permissions(repo, PlannedWrites { workflows: false })
        .await?;
    let text = format!(
        "Closed with `repin fleet close`: the {}s of this set are not to be merged.",
        forge.words().pull_request
    );
    close_with(forge, number, &text, NOTE).await?;
    Ok(Some(pull))
}

/// Makes a pull request a draft, cancels its scheduled merge, and explains both in a comment; `None` if it
/// is no longer open.
pub(crate) async fn make_draft(
    forge: &Forge,
    repo: &Repo,
    number: u64,
    text: &str,
) -> Result<Option<Pull>, Error> {
    // Time may have passed since it was listed.
    let now = forge.pull(number).await?;
    let Some(pull) = now.filter(|pull| pull.state == PullState::Open) else {
        return Ok(None);
    };
    let writes = PlannedWrites { workflows: false };
    forge.check_permissions(repo, writes).await?;
    if pull.readiness == Readiness::Ready {
        forge.cancel_merge(&pull).await?;
        forge.set_state(&pull, Readiness::Draft).await?;
    }
    // Another reason is another comment.
    let digest = Digest::of(text.as_bytes()).hex();
    let note = format!("<!-- repin/1 stage {} -->", &digest[..16]);
    comment(forge, number, &format!("{text}\n\n{note}\n"), &note).await?;
    Ok(Some(pull))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workflow_has_a_valid_reference() {
        assert_eq!(ref_part("deploy.yml"), "deploy.yml");
        for odd in [
            "a b.yml",
            "x..yml",
            "a/b.yml",
            "deploy.lock",
            "",
            "-x",
            "é ~",
        ] {
            let part = ref_part(odd);
            assert!(
                check_branch(&part).is_ok() && part.len() == 16,
                "{odd}: {part}"
            );
        }
        assert_ne!(ref_part("a b"), ref_part("a c"));
    }
}
