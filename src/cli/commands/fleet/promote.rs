//! `repin fleet promote` and `repin fleet rollback`: move the pins in the repositories of a list.

use std::{collections::HashSet, path::Path};

use super::{print_report, read_file, read_list, report_file::ReportFile, shard};
use crate::{
    cli::{
        args::{FleetOptions, FleetPromote, FleetRollback},
        commands::set,
        context::Context,
        exit::Exit,
        format::Format,
        step_files::StepFiles,
    },
    code::Code,
    config::Operation,
    error::{Error, Errors},
    fleet::{FleetDocument, FleetLine, FleetList, FleetOutcome, ListEntry, shard_of},
    http::Shard,
    text::counted,
    workflow::fleet::{self, FleetRequest, FleetRun, SetFile},
};

pub(super) fn promote(args: &FleetPromote, cx: &mut Context) -> Result<Exit, Errors> {
    let set = match (&args.set, args.set_sha256) {
        (Some(file), Some(sha256)) => Some(SetFile {
            name: file.to_string_lossy().into_owned(),
            bytes: read_file(file, Code::FLEET_SET, cx)?,
            sha256,
        }),
        _ => None,
    };
    run(Operation::Promotion, &args.revision, set, &args.options, cx)
}

pub(super) fn rollback(args: &FleetRollback, cx: &mut Context) -> Result<Exit, Errors> {
    run(Operation::Rollback, &args.to, None, &args.options, cx)
}

fn run(
    operation: Operation,
    revision: &str,
    set: Option<SetFile>,
    options: &FleetOptions,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let config = cx.load_any()?;
    let open = cx.pull_request_state(options.pr)?;
    let shard = shard::of_process(options.shard, &cx.services.environment)?;
    let list = read_list(&options.list, cx)?;
    let request = FleetRequest {
        operation,
        revision: revision.to_owned(),
        repositories: selected(&list, shard, options, cx)?,
        list_sha256: list.sha256,
        shard,
        set,
        open,
        pace: options.pace,
        limit: options.limit.map(Into::into),
        max_failures: options.max_failures.map(Into::into),
    };
    if let Some(deadline) = options.deadline {
        cx.services.forge_deadline.replace(deadline, "--deadline");
    }
    let mut step = match cx.output.format {
        Format::Github => Some(StepFiles::open(&cx.services.environment)?),
        _ => None,
    };
    // An unwritable file stops the run before the first request.
    let directory = cx.services.environment.directory();
    let mut report = match &options.out {
        Some(file) => Some(ReportFile::open(directory, file)?),
        None => None,
    };
    let mut record = |line: &FleetLine| match &mut report {
        Some(report) => report.append(line),
        None => Ok(()),
    };
    let document = match fleet::run(&request, &config, &cx.services, &mut record)? {
        FleetRun::Finished(document) => document,
        FleetRun::Refused { checks, outages } => {
            let exit = set::report_refusal(&checks, outages, &config, cx);
            cx.output
                .note("the set was refused; no repository was begun");
            return Ok(exit);
        }
    };
    print_report(&document, step.as_mut(), cx)?;
    cx.output
        .note(&conclusion(&document, request.open.is_some()));
    Ok(document.class().map_or(Exit::Done, Exit::Failed))
}

/// The repositories of the list that this process works on, in the order of the list.
fn selected(
    list: &FleetList,
    shard: Shard,
    options: &FleetOptions,
    cx: &Context,
) -> Result<Vec<ListEntry>, Errors> {
    let only = match &options.only {
        Some(file) => Some(read_only_list(file, list, cx)?),
        None => None,
    };
    let mut selected = Vec::new();
    for entry in &list.entries {
        let name = entry.key();
        let is_of_owner = options.owner.as_ref().is_none_or(|wanted| {
            let owner = name.split_once('/').map(|(owner, _)| owner);
            owner.is_some_and(|owner| owner.eq_ignore_ascii_case(wanted))
        });
        if shard_of(&name, shard.count.into()) == u64::from(shard.number)
            && is_of_owner
            && only.as_ref().is_none_or(|only| only.contains(&name))
        {
            selected.push(entry.clone());
        }
    }
    Ok(selected)
}

/// Parses the list of `--only`, which must be a subset of the list; failed.txt may be empty.
fn read_only_list(file: &Path, list: &FleetList, cx: &Context) -> Result<HashSet<String>, Errors> {
    let bytes = read_file(file, Code::FLEET_LIST, cx)?;
    if bytes.trim_ascii().is_empty() {
        return Ok(HashSet::new());
    }
    let only = FleetList::parse(&file.to_string_lossy(), &bytes)?;
    let mut entries = only.entries.iter();
    if let Some(unlisted) = entries.find(|entry| !list.contains(&entry.key())) {
        let message = format!(
            "{}: {} is not in the list",
            file.display(),
            unlisted.repository
        );
        return Err(Error::input(Code::FLEET_LIST, message).into());
    }
    Ok(only.entries.iter().map(ListEntry::key).collect())
}

/// The last line: the result, and the next step.
fn conclusion(document: &FleetDocument, opens_pull_requests: bool) -> String {
    let all = counted(document.repositories.len(), "repository");
    let pending = document.totals.get(FleetOutcome::Pending.as_str());
    match (opens_pull_requests, pending.copied().unwrap_or_default()) {
        (false, 0) => format!("{all}; nothing was changed; to open pull requests, add --pr draft"),
        (false, pending) => format!("{all}, {pending} pending; nothing was changed"),
        (true, 0) => all,
        (true, pending) => {
            format!("{all}, {pending} pending; run the same command again to continue")
        }
    }
}
