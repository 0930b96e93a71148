//! Waits for the merge of a pull request; after the merge, starts the configured workflows and deletes repin's own branch.
//!
//! The permission to start workflows is checked before the first poll, so that a refusal is
//! reported immediately.

use super::{MergeCandidate, Services, WaitRequest, candidate};
use crate::{
    app::{
        pull_request::{
            ForgeRepository, Permission, merging, own_branches,
            waiting::{
                MergeObstacle, MergeSchedule, PollSchedule, TimeoutState, WaitOutcome, WaitTarget,
                Waiting,
            },
        },
        report::json::WaitDocument,
    },
    base::{
        error::{Class, Code, Error, Errors, usage},
        untrusted::plain,
    },
    config::{Config, DispatchWhen, DispatchedWorkflow},
    forge::{Ability, Forge, Pull, PullState, Words},
};

/// The merge of a pull request by `forge.auto_merge`.
pub(crate) enum MergeAuthority<'a> {
    /// The pull request is verified first.
    Unverified,
    /// This run verified it.
    Given(Permission<'a>),
    /// Its merge is not requested.
    Withheld,
}

/// The outcome of a wait.
pub(crate) struct Awaited {
    pub document: WaitDocument,
    /// The address of the pull request, if it was read.
    pub url: Option<String>,
    pub errors: Option<Errors>,
}

/// The document of a wait that has not begun.
pub(crate) fn wait_document(number: u64) -> WaitDocument {
    WaitDocument {
        schema: "repin.wait/1",
        number,
        state: None,
        merge_commit: None,
        dispatched: Vec::new(),
    }
}

/// Polls the pull request until it is merged or closed, and takes the steps after its merge.
pub(crate) fn wait_for_merge(
    repository: &ForgeRepository,
    config: &Config,
    number: u64,
    request: WaitRequest,
    authority: &MergeAuthority<'_>,
    services: &Services,
) -> Result<Awaited, Errors> {
    let forge = &repository.forge;
    services
        .forge_deadline
        .replace(request.limit, request.option);
    let workflows = workflows(forge, config, request.is_dry_run, services)?;
    let mark = forge.words().mark(number);
    let note = |text: &str| {
        let text = format!("note: {mark}: {text}");
        services.console.note(&text);
    };
    let target = WaitTarget {
        number,
        pace: PollSchedule::until(request.limit),
        schedule: None,
        report: &note,
    };
    let schedules = config.forge_or_default().auto_merge && !request.is_dry_run;
    let authority = if schedules {
        authority
    } else {
        &MergeAuthority::Withheld
    };
    let mut waiting = Waiting::default();
    let outcome = follow(
        &mut waiting,
        repository,
        target,
        config,
        authority,
        services,
    )?;
    let mut awaited = Awaited {
        document: wait_document(number),
        url: waiting.pull().map(|pull| pull.url.clone()),
        errors: None,
    };
    let (state, errors) = match outcome {
        WaitOutcome::Absent => return Err(usage(format!("--pr: {mark} does not exist"))),
        WaitOutcome::Merged(pull, commit) => {
            awaited.document.merge_commit = commit;
            let document = &mut awaited.document;
            let errors = start_workflows(forge, &pull, &workflows, request, document, services)?;
            if !request.is_dry_run {
                delete_branch(repository, config, &pull, services);
            }
            ("merged", errors)
        }
        WaitOutcome::Closed(pull) => ("closed", Some(closed(&pull))),
        WaitOutcome::Stuck(pull, obstacle) => ("open", Some(stuck(&pull, &obstacle))),
        WaitOutcome::Removed(pull, reason) => ("open", Some(removed(&pull, reason.as_deref()))),
        WaitOutcome::Refused(error) => ("open", Some(Errors::from(error))),
        WaitOutcome::OutOfTime(state) => {
            let word = if state.answered { "open" } else { "unknown" };
            (
                word,
                Some(out_of_time(&forge.words().name(number), request, state)),
            )
        }
    };
    awaited.document.state = Some(state);
    awaited.errors = errors;
    Ok(awaited)
}

/// Reports that the run waits for a pull request that it opened.
pub(crate) fn note_wait(number: u64, url: &str, services: &Services) {
    let name = Words::for_page(url).name(number);
    let url = plain(url);
    services
        .console
        .note(&format!("note: waiting for the merge of {name} ({url})"));
}

/// The merge commit of a pull request; `None` if the forge does not report it.
pub(crate) fn merge_commit(
    forge: &Forge,
    number: u64,
    services: &Services,
) -> Result<Option<String>, Error> {
    let pull = services.wait(forge.pull(number), "reading the merge")?;
    Ok(match pull.map(|pull| pull.state) {
        Some(PullState::Merged(commit)) => commit,
        _ => None,
    })
}

/// Polls the pull request, and schedules its merge if it is permitted.
fn follow(
    waiting: &mut Waiting,
    repository: &ForgeRepository,
    target: WaitTarget<'_>,
    config: &Config,
    authority: &MergeAuthority<'_>,
    services: &Services,
) -> Result<WaitOutcome, Errors> {
    let forge = &repository.forge;
    let message = format!("waiting for {}", forge.words().mark(target.number));
    if let Some(ended) = services.wait(waiting.read(repository, &target), &message)? {
        return Ok(ended);
    }
    let open = waiting.pull().filter(|pull| pull.state == PullState::Open);
    let permitted = match (open, authority) {
        (Some(pull), MergeAuthority::Unverified) => candidate(pull, config, forge, services)?,
        _ => MergeCandidate::Unmarked,
    };
    match (&permitted, waiting.pull()) {
        (MergeCandidate::Refused(error), Some(pull)) => {
            let work = merging::disable_auto_merge(forge, pull, error.clone());
            let error = services.wait(work, "canceling the scheduled merge");
            return Ok(WaitOutcome::Refused(error));
        }
        (MergeCandidate::OtherSet(error) | MergeCandidate::Unverified(error), _) => {
            return Ok(WaitOutcome::Refused(error.clone()));
        }
        _ => {}
    }
    let gates = permitted.gates(config);
    let permission = match authority {
        MergeAuthority::Given(permission) => Some(*permission),
        MergeAuthority::Unverified | MergeAuthority::Withheld => permitted.permission(),
    };
    let schedule = permission.map(|permission| MergeSchedule {
        gates: &gates,
        permission,
    });
    let target = WaitTarget { schedule, ..target };
    services
        .wait(waiting.until_merged(repository, &target), &message)
        .map_err(Errors::from)
}

/// The workflows that may be started after the merge.
fn workflows(
    forge: &Forge,
    config: &Config,
    is_dry_run: bool,
    services: &Services,
) -> Result<Vec<DispatchedWorkflow>, Errors> {
    let wanted = config.forge_or_default().dispatch;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<_> = wanted.iter().map(|entry| entry.workflow.clone()).collect();
    if is_dry_run {
        services.console.note(&format!(
            "dry run: after a merge {} would be started, unless the merge starts workflows itself",
            names.join(", ")
        ));
        return Ok(Vec::new());
    }
    let reason = match services.wait(merging::able(forge, &names), "checking permissions")? {
        Ability::Yes => return Ok(wanted),
        Ability::No(reason) => reason,
    };
    let mut always = wanted.iter().filter(|entry| is_always(entry));
    if let Some(entry) = always.next() {
        let what = format!(
            "forge.dispatch: {} is started after every merge",
            entry.workflow
        );
        let help =
            "upgrade the server, or let the workflow listen to pushes, without `when: always`";
        return Err(Error::about(Class::Refused, what, reason).help(help).into());
    }
    services.console.note(&format!(
        "note: {} need not be started: {reason}",
        names.join(", ")
    ));
    Ok(Vec::new())
}

fn is_always(entry: &DispatchedWorkflow) -> bool {
    entry.when == DispatchWhen::Always
}

/// The workflows to start: a merge that starts workflows itself leaves only those that are started after every merge.
fn due<'w>(pull: &Pull, workflows: &'w [DispatchedWorkflow], services: &Services) -> Vec<&'w str> {
    let name = |entry: &'w DispatchedWorkflow| entry.workflow.as_str();
    let (always, auto): (Vec<_>, Vec<_>) = workflows.iter().partition(|entry| is_always(entry));
    let auto: Vec<_> = auto.into_iter().map(name).collect();
    let mut due: Vec<_> = always.into_iter().map(name).collect();
    if auto.is_empty() {
        return due;
    }
    let (names, name) = (plain(&auto.join(", ")), pull.name());
    match &pull.merged_by {
        Some(merger) if merger.is_workflow_run => {
            services.console.note(&format!(
                "note: {name} was merged with the token of a workflow run ({}), which starts no workflow: starting {names}",
                plain(&merger.login)
            ));
            due.splice(0..0, auto);
        }
        Some(merger) => services.console.note(&format!(
            "note: {names} need not be started: {} merged {name}, and such a merge starts the workflows that listen to pushes",
            plain(&merger.login)
        )),
        None => services.console.warn(&format!(
            "{names} was not started: the forge does not report who merged {name}\n  = help: start it by hand if the merge did not, or set `when: always`"
        )),
    }
    due
}

/// Starts each workflow that no other run starts; a failure does not prevent the others.
fn start_workflows(
    forge: &Forge,
    pull: &Pull,
    workflows: &[DispatchedWorkflow],
    request: WaitRequest,
    document: &mut WaitDocument,
    services: &Services,
) -> Result<Option<Errors>, Errors> {
    let mut errors = Vec::new();
    let due = due(pull, workflows, services);
    if document.merge_commit.is_none() && !due.is_empty() {
        let head = services.wait(forge.branch(&pull.base), "reading the base branch")?;
        document.merge_commit = head;
    }
    let commit = document.merge_commit.clone().unwrap_or_default();
    let claim = format!("repin-{:032x}", request.claim);
    for workflow in due {
        services.interruption.changes(format!(
            "{} may have been started; run the command again",
            plain(workflow)
        ));
        let started = merging::once(forge, pull, workflow, &commit, &claim);
        match services.wait(started, &format!("starting {workflow}")) {
            Ok(true) => document.dispatched.push(workflow.to_owned()),
            Ok(false) => services.console.note(&format!(
                "note: another run started {workflow}, or is starting it"
            )),
            Err(error) => errors.push(error),
        }
    }
    if !document.dispatched.is_empty()
        && let Err(error) = services.wait(forge.delete_old_claims(), "deleting old markers")
    {
        services
            .console
            .warn(&format!("cannot delete old markers: {error}"));
    }
    Ok((!errors.is_empty()).then(|| errors.into()))
}

/// Deletes the branch of the merged pull request if it is repin's own.
fn delete_branch(repository: &ForgeRepository, config: &Config, pull: &Pull, services: &Services) {
    let work = own_branches::delete_merged(repository, config, pull);
    match services.wait(work, "deleting the merged branch") {
        Ok(true) => services.console.note(&format!(
            "note: the branch {} was deleted",
            plain(&pull.head)
        )),
        Ok(false) => {}
        Err(error) => services.console.warn(&format!(
            "the branch {} was not deleted: {error}",
            plain(&pull.head)
        )),
    }
}

fn closed(pull: &Pull) -> Errors {
    let message = format!(
        "{} ({}) was closed without being merged",
        pull.name(),
        pull.url
    );
    Errors::from(Error::failed(Code::CONFLICT, message))
}

fn removed(pull: &Pull, reason: Option<&str>) -> Errors {
    let reason = reason.map_or_else(String::new, |reason| format!(": {}", plain(reason)));
    let message = format!(
        "{} ({}) was removed from the {} of {}{reason}",
        pull.name(),
        pull.url,
        Words::for_page(&pull.url).queue,
        pull.base
    );
    let hint = format!(
        "fix the cause, return {} to it, then wait again",
        pull.name()
    );
    Errors::from(Error::failed(Code::CONFLICT, message).help(hint))
}

/// The number of files of a conflict that are listed.
const MAX_FILES: usize = 20;

fn stuck(pull: &Pull, obstacle: &MergeObstacle) -> Errors {
    let (name, url, base) = (pull.name(), &pull.url, &pull.base);
    let MergeObstacle::Conflict(files) = obstacle else {
        let message = format!(
            "the forge has not reported {name} ({url}) as mergeable for two minutes, although no file was changed on both sides; its conflict check probably hangs"
        );
        let hint =
            "restart the check: push to the branch, or close it and promote again with --reopen";
        return Errors::from(Error::failed(Code::CONFLICT, message).help(hint));
    };
    let message = format!("{name} ({url}) conflicts with {base}");
    let mut error = Error::failed(Code::CONFLICT, message).help(format!(
        "run the promotion or rollback again: it rebuilds the branch from {base}"
    ));
    for path in files.iter().take(MAX_FILES) {
        error.notes.push(format!("changed on both sides: {path}"));
    }
    if files.len() > MAX_FILES {
        let omitted = files.len() - MAX_FILES;
        error.notes.push(format!("and {omitted} more files"));
    }
    Errors::from(error)
}

fn out_of_time(name: &str, request: WaitRequest, state: TimeoutState) -> Errors {
    let seconds = request.limit.as_secs();
    if let Some(error) = &state.trouble
        && error.class == Class::Limited
    {
        return Errors::from(error.clone());
    }
    let message = if state.answered {
        format!("{name} was not merged within {seconds} s")
    } else {
        format!("the forge reported nothing about {name} within {seconds} s")
    };
    let mut error = Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help(format!(
        "wait again, if necessary with a longer {}",
        request.option
    ));
    if state.checks {
        let check = "the forge has not finished its check for conflicts, which may hang: a push to the branch restarts it";
        error.notes.push(check.to_owned());
    }
    if let Some(reason) = state.merge_delay {
        let reason = plain(&reason);
        error
            .notes
            .push(format!("it cannot be merged yet: {reason}"));
    }
    if let Some(last) = state.trouble {
        error.notes.push(format!("the last request: {last}"));
    }
    Errors::from(error)
}
