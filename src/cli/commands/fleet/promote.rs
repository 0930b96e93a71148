//! `repin fleet promote` and `repin fleet rollback`: the repositories of a list, or a part of them.

use std::collections::HashSet;

use super::{
    report_file::ReportFile,
    shard,
    show::{list, read, show},
};
use crate::{
    cli::{
        args::{FleetPart, FleetPromote, FleetRollback},
        commands::set,
        context::Context,
        exit::Exit,
        format::Format,
        github::StepFiles,
    },
    code::Code,
    config::{Operation, number},
    error::{Error, Errors},
    fleet::{FleetDocument, FleetLine, FleetList, FleetOutcome, ListEntry, shard_of},
    http::Shard,
    workflow::fleet::{self, FleetRequest, FleetRun, SetFile},
};

pub(super) fn promote(args: &FleetPromote, cx: &mut Context) -> Result<Exit, Errors> {
    let set = match (&args.set, args.set_sha256) {
        (Some(file), Some(sha256)) => Some(SetFile {
            name: file.to_string_lossy().into_owned(),
            bytes: read(file, Code::FLEET_SET, cx)?,
            sha256,
        }),
        _ => None,
    };
    run(Operation::Promotion, &args.revision, set, &args.part, cx)
}

pub(super) fn rollback(args: &FleetRollback, cx: &mut Context) -> Result<Exit, Errors> {
    run(Operation::Rollback, &args.to, None, &args.part, cx)
}

fn run(
    operation: Operation,
    revision: &str,
    set: Option<SetFile>,
    part: &FleetPart,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let config = cx.load_any()?;
    let open = cx.opens(part.pr)?;
    let shard = shard::chosen(part.shard, &cx.services.environment)?;
    let list = list(&part.list, cx)?;
    let request = FleetRequest {
        operation,
        revision: revision.to_owned(),
        repositories: selected(&list, shard, part, cx)?,
        list_sha256: list.sha256,
        shard,
        set,
        open,
        pace: part.pace,
        limit: part.limit.map(Into::into),
        max_failures: part.max_failures.map(Into::into),
    };
    if let Some(deadline) = part.deadline {
        cx.services.forge_deadline.replace(deadline, "--deadline");
    }
    let mut step = match cx.output.format {
        Format::Github => Some(StepFiles::open(&cx.services.environment)?),
        _ => None,
    };
    // An unwritable file stops the run before the first request.
    let directory = cx.services.environment.directory();
    let out = part.out.as_deref();
    let mut out = out
        .map(|out| ReportFile::open(directory, out))
        .transpose()?;
    let mut record = |line: &FleetLine| match &mut out {
        Some(out) => out.append(line),
        None => Ok(()),
    };
    let document = match fleet::run(&request, &config, &cx.services, &mut record)? {
        FleetRun::Finished(document) => document,
        FleetRun::Refused { checks, outages } => {
            let exit = set::refused(&checks, outages, &config, cx);
            cx.output
                .note("the set was refused; no repository was begun");
            return Ok(exit);
        }
    };
    show(&document, step.as_mut(), cx)?;
    cx.output.note(&closing(&document, request.open.is_some()));
    Ok(document.class().map_or(Exit::Done, Exit::Because))
}

/// The repositories of the list that this process works on, in the order of the list.
fn selected(
    list: &FleetList,
    shard: Shard,
    part: &FleetPart,
    cx: &Context,
) -> Result<Vec<ListEntry>, Errors> {
    let only = part.only.as_deref();
    let only = only.map(|file| only_of(file, list, cx)).transpose()?;
    let owner = part.owner.as_deref();
    let is_selected = |entry: &&ListEntry| {
        let name = entry.key();
        let of_owner = |owner: &str| {
            let found = name.split_once('/').map(|(owner, _)| owner);
            found.is_some_and(|found| found.eq_ignore_ascii_case(owner))
        };
        shard_of(&name, shard.count.into()) == u64::from(shard.number)
            && owner.is_none_or(of_owner)
            && only.as_ref().is_none_or(|only| only.contains(&name))
    };
    Ok(list.entries.iter().filter(is_selected).cloned().collect())
}

/// The repositories in the file of `--only`, which the list must have; failed.txt may be empty.
fn only_of(
    file: &std::path::Path,
    list: &FleetList,
    cx: &Context,
) -> Result<HashSet<String>, Errors> {
    let bytes = read(file, Code::FLEET_LIST, cx)?;
    if bytes.trim_ascii().is_empty() {
        return Ok(HashSet::new());
    }
    let only = FleetList::parse(&file.to_string_lossy(), &bytes)?;
    if let Some(stray) = only.entries.iter().find(|entry| !list.has(&entry.key())) {
        let message = format!(
            "{}: {} is not in the list",
            file.display(),
            stray.repository
        );
        return Err(Error::input(Code::FLEET_LIST, message).into());
    }
    Ok(only.entries.iter().map(ListEntry::key).collect())
}

/// What the run came to, and what comes next.
fn closing(document: &FleetDocument, opens: bool) -> String {
    let all = number(document.repositories.len(), "repository");
    let pending = document.totals.get(FleetOutcome::Pending.as_str());
    let pending = pending.copied().unwrap_or_default();
    match (opens, pending) {
        (false, 0) => format!("{all}; nothing was changed; to open pull requests, add --pr draft"),
        (false, pending) => format!("{all}, {pending} pending; nothing was changed"),
        (true, 0) => all,
        (true, pending) => format!("{all}, {pending} pending; the same command goes on from there"),
    }
}
