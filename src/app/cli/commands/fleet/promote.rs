//! `repin fleet promote` and `repin fleet rollback`: move the pins in the repositories of a list.
//!
//! The report of a shard as a file: one line for each repository, synced before the next repository.
//!
//! The file is never an input of a run. A run appends to the lines of earlier runs, and removes a truncated
//! last line, because the next line would continue it.
//!
//! The shard of a process, from `--shard` or from the environment of an engine.

use std::{
    collections::HashSet,
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    num::NonZero,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use super::{print_report, read_file, read_list};
use crate::{
    app::{
        cli::{
            args::{PullRequestState, duration, revisions, whole_number},
            commands::set,
            context::Context,
            format::Format,
            output::Exit,
        },
        fleet::{FleetDocument, FleetLine, FleetList, FleetOutcome, ListEntry, table},
        workflow::{
            Environment, connection,
            fleet::{self, FleetRequest, FleetRun, SetFile},
            output_file::OutputFile,
        },
    },
    base::{
        error::{Code, Error, Errors, usage},
        http::Shard,
        text::counted,
    },
    config::{Config, Operation},
    forge::Words,
    oci::Digest,
};

const PROMOTE: &str = "\
Without --pr, this is a dry run. The set is verified once: by an earlier `repin set`, with --set and --set-sha256, or else by \
this process. Each repository's own repin.yaml determines the places and the number of its pins; the fleet's configuration \
determines everything else. Repositories are processed in the order of the list, so list canaries first. The exit code is \
the worst one of the repositories, in the order 2, 5, 1, 4, 3. Repositories that were not reached before the deadline are \
pending; run the same command again to continue.

Examples:
  repin fleet promote --list list.txt --revision 4f2a… --limit 5               # a dry run of five
  repin fleet promote --list list.txt --revision 4f2a… --limit 5 --pr draft    # five canaries
  repin fleet promote --list list.txt --revision 4f2a… --set set.json --set-sha256 9c1d… \\
    --shard auto --pr ready --deadline 5h --out shard.jsonl";

/// Move the pins of every repository in a list to one verified revision, by pull requests
#[derive(Debug, Args)]
#[command(after_help = PROMOTE)]
pub(super) struct Promotion {
    /// Commit that the images were built from
    #[arg(short, long, value_name = "REV", allow_hyphen_values = true, add = revisions())]
    revision: String,
    /// Verified set, written by `repin set`; its tags are not resolved again
    #[arg(long, value_name = "FILE", requires = "set_sha256")]
    set: Option<PathBuf>,
    /// SHA-256 of that file, as `repin set` printed it
    #[arg(long, value_name = "HEX", requires = "set", value_parser = sha256)]
    set_sha256: Option<Digest>,
    #[command(flatten)]
    options: FleetOptions,
}

const ROLLBACK: &str = "\
Without --pr, this is a dry run. The history of each repository must record the set as promoted, with the digests to \
which its tags still resolve.

Examples:
  repin fleet rollback --list list.txt --to 4f2a…
  repin fleet rollback --list list.txt --to 4f2a… --pr ready --out shard.jsonl";

/// Move the pins of every repository in a list back to a previously promoted set
#[derive(Debug, Args)]
#[command(after_help = ROLLBACK)]
pub(super) struct Rollback {
    /// Revision to roll back to
    #[arg(short, long, value_name = "REV", allow_hyphen_values = true)]
    to: String,
    #[command(flatten)]
    options: FleetOptions,
}

/// Options of `fleet promote` and `fleet rollback`.
#[derive(Debug, Args)]
struct FleetOptions {
    /// List of the fleet: one `owner/name[ base]` per line
    #[arg(long, value_name = "FILE")]
    list: PathBuf,
    /// Only repositories that are also in this list, such as failed.txt
    #[arg(long, value_name = "FILE")]
    only: Option<PathBuf>,
    /// Only repositories of this owner
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Only the repositories of shard K of N, counted from 0; auto: from the environment of the job
    #[arg(long, value_name = "K/N|auto", value_parser = parse)]
    shard: Option<ShardChoice>,
    /// Open pull requests in this state
    #[arg(long, value_name = "STATE")]
    pr: Option<PullRequestState>,
    /// Append a line for each repository to FILE; - is standard output, and the report is then a note
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Open at most N new pull requests; the other repositories are pending
    #[arg(long, value_name = "N", value_parser = whole_number::<NonZero<usize>>)]
    limit: Option<NonZero<usize>>,
    /// Start no further repository after N failures
    #[arg(long, value_name = "N", value_parser = whole_number::<NonZero<usize>>)]
    max_failures: Option<NonZero<usize>>,
    /// New pull requests per minute, in all shards together
    #[arg(long, value_name = "N/m", value_parser = pace, default_value = "4/m")]
    pace: u32,
    /// Start no further repository after this time, and wait no longer for limits: 30m, 5h
    /// [default: `REPIN_DEADLINE`, or 15m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    deadline: Option<Duration>,
}

pub(super) fn promote(args: &Promotion, cx: &mut Context) -> Result<Exit, Errors> {
    let set = match (&args.set, args.set_sha256) {
        (Some(file), Some(sha256)) => Some(SetFile {
            name: file.to_string_lossy().into_owned(),
            bytes: read_file(file, Code::FLEET_SET, cx)?,
            sha256,
        }),
        _ => None,
    };
    let file = args.set.as_deref();
    run(
        Operation::Promotion,
        &args.revision,
        set,
        file,
        &args.options,
        cx,
    )
}

pub(super) fn rollback(args: &Rollback, cx: &mut Context) -> Result<Exit, Errors> {
    run(Operation::Rollback, &args.to, None, None, &args.options, cx)
}

fn run(
    operation: Operation,
    revision: &str,
    set: Option<SetFile>,
    set_file: Option<&Path>,
    options: &FleetOptions,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let config = cx.load_any()?;
    let open = cx.pull_request_state(options.pr)?;
    let out = output_file(options, set_file, &config, cx)?;
    let shard = of_process(options.shard, &cx.services.environment)?;
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
    let mut step = cx.step_files()?;
    // An unwritable file stops the run before the first request.
    let mut report = match &out {
        Some(file) => ReportFile::open(file)?,
        None => None,
    };
    let prints_lines = out.as_ref().is_some_and(OutputFile::is_stdout);
    let output = &mut cx.output;
    let mut record = |line: &FleetLine| match &mut report {
        Some(report) => report.append(line),
        None if prints_lines => {
            output.print(line_bytes(line)?);
            Ok(())
        }
        None => Ok(()),
    };
    let document = match fleet::run(&request, &config, &cx.services, &mut record)? {
        FleetRun::Finished(document) => document,
        FleetRun::Refused { checks, errors } => {
            let exit = set::report_refusal(&checks, errors, &config, cx);
            cx.output
                .note("the set was refused; no repository was begun");
            return Ok(exit);
        }
    };
    if prints_lines {
        cx.output.note(&table(&document));
    } else {
        print_report(&document, step.as_mut(), cx)?;
    }
    let git = cx.services.discover_git(&config).ok().flatten();
    let words = connection::words(&config, git.as_ref());
    cx.output
        .note(&conclusion(&document, request.open.is_some(), words));
    Ok(document.class().map_or(Exit::Done, Exit::Failed))
}

/// The file of `--out`, which is no other file of the command.
fn output_file(
    options: &FleetOptions,
    set: Option<&Path>,
    config: &Config,
    cx: &Context,
) -> Result<Option<OutputFile>, Errors> {
    let Some(out) = &options.out else {
        return Ok(None);
    };
    let directory = cx.services.environment.directory();
    let out = OutputFile::new(out, directory, Some(config))?;
    if out.is_stdout() && cx.output.format != Format::Human {
        return Err(usage(
            "standard output cannot contain the lines in addition to a report: with --format, name a file instead of `-`",
        ));
    }
    let mut others = vec![("--list", options.list.as_path())];
    others.extend(options.only.as_deref().map(|file| ("--only", file)));
    others.extend(set.map(|file| ("--set", file)));
    out.refuse_same("--out", &others, directory)?;
    Ok(Some(out))
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
        if crate::app::fleet::shard_of(&name, shard.count.into()) == u64::from(shard.number)
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
fn conclusion(document: &FleetDocument, opens_pull_requests: bool, words: Words) -> String {
    let all = counted(document.repositories.len(), "repository");
    let pending = document.totals.get(FleetOutcome::Pending.as_str());
    let name = words.pull_request;
    match (opens_pull_requests, pending.copied().unwrap_or_default()) {
        (false, 0) => format!("{all}; nothing was changed; to open {name}s, add --pr draft"),
        (false, pending) => format!("{all}, {pending} pending; nothing was changed"),
        (true, 0) => all,
        (true, pending) => {
            format!("{all}, {pending} pending; run the same command again to continue")
        }
    }
}

fn pace(text: &str) -> Result<u32, String> {
    match text.strip_suffix("/m").map(str::parse) {
        Some(Ok(number)) if number > 0 => Ok(number),
        _ => Err("expected a number of pull requests per minute, such as `4/m`".to_owned()),
    }
}

fn sha256(text: &str) -> Result<Digest, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    Digest::from_hex(digits).map_err(|error| error.to_string())
}

/// The prefix of every line.
const PREFIX: &[u8] = b"{\"schema\":\"repin.fleet-line/1\"";
/// The maximum length of a line, in bytes.
const MAX_LINE: u64 = 16 * 1024 * 1024;

pub(super) struct ReportFile {
    name: PathBuf,
    file: File,
}

impl ReportFile {
    /// Opens the file of `--out`, and completes or removes a truncated last line; `None` for standard
    /// output.
    pub(super) fn open(out: &OutputFile) -> Result<Option<Self>, Errors> {
        let Some(mut file) = out.open_for_append()? else {
            return Ok(None);
        };
        let name = out.typed();
        let fail = |error| unwritable(name, &error);
        let (length, last) = last_line(&mut file).map_err(fail)?;
        if !last.is_empty() {
            if FleetLine::parse(&last).is_ok() {
                file.write_all(b"\n").map_err(fail)?;
            } else if last.starts_with(PREFIX) || PREFIX.starts_with(&last) {
                file.set_len(length - last.len() as u64).map_err(fail)?;
            } else {
                let message = format!("{} is not a report of a fleet", name.display());
                let error = Error::input(Code::FLEET_REPORT, message);
                return Err(error.help("pass another file to --out").into());
            }
        }
        Ok(Some(Self {
            name: name.to_owned(),
            file,
        }))
    }

    /// Appends and syncs a line.
    pub(super) fn append(&mut self, line: &FleetLine) -> Result<(), Errors> {
        let bytes = line_bytes(line)?;
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| unwritable(&self.name, &error))
    }
}

pub(super) fn line_bytes(line: &FleetLine) -> Result<Vec<u8>, Errors> {
    line.bytes().map_err(|error| Errors::io(error.to_string()))
}

/// The length of a file, and the bytes after its last line break.
fn last_line(file: &mut File) -> std::io::Result<(u64, Vec<u8>)> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_LINE)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let start = memchr::memrchr(b'\n', &end).map_or(0, |at| at + 1);
    Ok((length, end.split_off(start)))
}

fn unwritable(name: &Path, error: &std::io::Error) -> Errors {
    Errors::io(format!("cannot write {}: {error}", name.display()))
}

/// The maximum number of shards. More would not be faster, because they share the limits of the token.
const MAX_SHARDS: u32 = 100_000;

/// The value of `--shard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShardChoice {
    /// From the environment of the job.
    Auto,
    Given(Shard),
}

pub(super) fn parse(text: &str) -> Result<ShardChoice, String> {
    if text == "auto" {
        return Ok(ShardChoice::Auto);
    }
    let (number, count) = text
        .split_once('/')
        .and_then(|(number, count)| Some((number.parse().ok()?, count.parse().ok()?)))
        .ok_or("expected K/N, such as `0/4`, or `auto`")?;
    shard_of(number, count).map(ShardChoice::Given)
}

/// Shard `number` of `count`, counted from 0.
fn shard_of(number: u32, count: u32) -> Result<Shard, String> {
    if count > MAX_SHARDS {
        return Err(format!("there can be at most {MAX_SHARDS} shards"));
    }
    if number >= count {
        return Err(format!(
            "shard {number} of {count} does not exist: they are counted from 0"
        ));
    }
    Ok(Shard { number, count })
}

/// The variables in which an engine numbers jobs.
struct Engine {
    number: &'static str,
    count: &'static str,
    /// The number of the first job.
    first: u32,
}

/// A Kubernetes Indexed Job does not provide the number of jobs, so `REPIN_SHARDS` must contain it.
const ENGINES: [Engine; 3] = [
    Engine {
        number: "JOB_COMPLETION_INDEX",
        count: "REPIN_SHARDS",
        first: 0,
    },
    Engine {
        number: "BUILDKITE_PARALLEL_JOB",
        count: "BUILDKITE_PARALLEL_JOB_COUNT",
        first: 0,
    },
    Engine {
        number: "CI_NODE_INDEX",
        count: "CI_NODE_TOTAL",
        first: 1,
    },
];

/// The shard of this process; without `--shard`, the only one.
pub(super) fn of_process(
    choice: Option<ShardChoice>,
    environment: &Environment,
) -> Result<Shard, Errors> {
    match choice {
        None => Ok(Shard {
            number: 0,
            count: 1,
        }),
        Some(ShardChoice::Given(shard)) => Ok(shard),
        Some(ShardChoice::Auto) => from_engine(environment),
    }
}

fn from_engine(environment: &Environment) -> Result<Shard, Errors> {
    let engine = ENGINES
        .iter()
        .find(|engine| environment.filled(engine.number).is_some());
    let Some(engine) = engine else {
        let names = ENGINES.map(|engine| engine.number).join(", ");
        return Err(usage(format!("--shard auto: none of {names} is set")));
    };
    let number = variable(engine.number, environment)?;
    let count = variable(engine.count, environment)?;
    let Some(from_zero) = number.checked_sub(engine.first) else {
        let (name, first) = (engine.number, engine.first);
        return Err(usage(format!(
            "--shard auto: {name} is {number}, expected {first} or more"
        )));
    };
    shard_of(from_zero, count).map_err(|reason| usage(format!("--shard auto: {reason}")))
}

fn variable(name: &str, environment: &Environment) -> Result<u32, Errors> {
    let Some(value) = environment.filled(name) else {
        return Err(usage(format!("--shard auto: {name} is not set")));
    };
    let number = value.to_str().and_then(|value| value.parse().ok());
    number.ok_or_else(|| usage(format!("--shard auto: {name} is not a whole number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paces_and_hashes_are_strict() {
        assert_eq!(pace("12/m"), Ok(12));
        for wrong in ["0/m", "4", "4/h", "/m", "-4/m"] {
            assert!(pace(wrong).is_err(), "{wrong}");
        }
        assert!(sha256(&"a".repeat(64)).is_ok() && sha256("abc").is_err());
    }

    #[test]
    fn shards_are_strict() {
        assert_eq!(parse("auto"), Ok(ShardChoice::Auto));
        let given = Shard {
            number: 2,
            count: 3,
        };
        assert_eq!(parse("2/3"), Ok(ShardChoice::Given(given)));
        for wrong in ["3/3", "0/0", "1", "a/3", "-1/3", "1/100001", "1/3/4", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
