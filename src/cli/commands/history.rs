//! `repin history`: the sets in git history, newest first; which one is current, and which are
//! available for rollback; as a list or as a page.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    num::NonZero,
    path::Path,
};

use serde::Serialize;

use reqwest::Url;

use crate::{
    cli::{
        args,
        context::Context,
        exit::Exit,
        format::{Format, Volume},
        write::{self, Target},
    },
    config::Config,
    error::{Error, Errors, usage},
    history::{self, HistoryEntry},
    oci::Revision,
    report::{
        dates, page,
        revision::abbreviated,
        table::{Align, aligned},
        wrap::{indented, wrapped},
    },
    untrusted::{self, padded, plain, width},
    workflow::{SiteHistory, connection, set_diffs::set_diffs},
};

/// `repin.history/1`.
#[derive(Serialize)]
struct Document<'e> {
    schema: &'static str,
    entries: Vec<&'e HistoryEntry>,
}

/// The width that the table keeps to.
const COLUMNS: usize = 80;

pub(in crate::cli) fn run(args: &args::History, cx: &mut Context) -> Result<Exit, Errors> {
    let dash = args.html.as_deref() == Some(Path::new("-"));
    if dash && cx.output.format == Format::Json {
        return Err(usage(
            "standard output cannot contain a page in addition to --format json: name a file instead of `-`",
        ));
    }
    let config = cx.load()?;
    let gathered = SiteHistory::of_work_tree(&config, &cx.services);
    let history = gathered.promoted().map_err(|error| Errors::from(&error))?;
    let Some(file) = &args.html else {
        list(history, args.limit, cx);
        return Ok(Exit::Done);
    };
    let text = page(&config, &gathered, history, args.limit)?;
    if dash {
        warn(history, cx);
        if cx.output.format == Format::Github {
            cx.output.print_unparsed(&text)?;
        } else {
            cx.output.print(&text);
        }
        return Ok(Exit::Done);
    }
    let directory = cx.services.environment.directory();
    let path = directory.join(file);
    let target = Target::new(&path, directory)?;
    replaceable(&path, target.shown())?;
    let step = cx
        .services
        .interruption
        .step(format!("{} may have been written", plain(target.shown())));
    write::put(&target, &text, true)?;
    step.done(format!("{} was written", plain(target.shown())));
    if cx.output.format == Format::Json {
        list(history, args.limit, cx);
    } else {
        warn(history, cx);
    }
    cx.output.note(&format!("wrote {}", plain(target.shown())));
    Ok(Exit::Done)
}

/// Refuses a path that stands for something else: replacing `/dev/stdout` would harm every other
/// program, and what a symlink leads to was not named.
fn replaceable(path: &Path, shown: &str) -> Result<(), Errors> {
    match fs::symlink_metadata(path) {
        Ok(standing) if !standing.is_file() && !standing.is_dir() => Err(usage(format!(
            "{shown} is not a regular file: name another file, or `-` for standard output"
        ))),
        _ => Ok(()),
    }
}

/// The page of the newest entries.
fn page(
    config: &Config,
    gathered: &SiteHistory,
    history: &history::History,
    limit: Option<NonZero<usize>>,
) -> Result<String, Errors> {
    let mut listed = history.all_entries();
    let total = listed.len();
    listed.truncate(limit.map_or(usize::MAX, NonZero::get));
    let git = gathered.git();
    let diffs = match git {
        Some(git) => set_diffs(git, history, &listed)
            .map_err(|error| Errors::from(Error::from(git.explained(error))))?,
        None => HashMap::new(),
    };
    let forge = config.forge.as_ref();
    let target = forge.and_then(|forge| connection::target(forge, git).ok());
    let pull_requests = target.and_then(|target| target.pull_request_pages());
    let facts = page::Facts {
        config,
        history,
        listed: &listed,
        total,
        diffs: &diffs,
        pull_requests: pull_requests.as_ref().map(Url::as_str),
    };
    page::html(facts).map_err(|error| Errors::io(format!("cannot make the page: {error}")))
}

/// Warns of the sets that are missing.
fn warn(history: &history::History, cx: &mut Context) {
    for unreadable in &history.unreadable {
        cx.output.error_text(&format!(
            "warning: the set of commit {} is unknown: cannot read its configuration: {}\n",
            unreadable.commit.short(),
            plain(&unreadable.reason())
        ));
    }
    if history.shallow {
        cx.output.error_text(
            "warning: this clone is shallow, so older sets are missing\n  = help: fetch them: git fetch --unshallow\n",
        );
    }
}

/// Prints the sets, and warns of what is missing among them.
pub(super) fn list(history: &history::History, limit: Option<NonZero<usize>>, cx: &mut Context) {
    let listed = history.all_entries();
    let entries: Vec<&HistoryEntry> = listed
        .iter()
        .take(limit.map_or(usize::MAX, NonZero::get))
        .collect();
    warn(history, cx);
    if cx.output.format == Format::Json {
        cx.output.json(&Document {
            schema: "repin.history/1",
            entries,
        });
    } else if entries.is_empty() {
        let branch = plain(&history.branch.name);
        cx.output.note(&if history.shallow {
            format!("no fetched commit on {branch} changed the set")
        } else {
            format!("no commit on {branch} pins an image of the set")
        });
    } else {
        let table = if cx.output.volume >= Volume::Verbose {
            match cx.output.columns {
                Some(columns) => blocks(&entries, columns),
                None => whole(&entries),
            }
        } else {
            short(&entries)
        };
        cx.output.print(table);
        let legend = format!(
            "{}: * is current, < is available for rollback",
            plain(&history.branch.name)
        );
        cx.output.wrapped_note(&legend);
    }
}

/// Entries as a table that fits into [`COLUMNS`].
fn short(entries: &[&HistoryEntry]) -> String {
    let heading = ["", "KIND", "REVISION", "COMMIT", "DATE"].map(str::to_owned);
    let revisions = entries.iter().filter_map(|entry| entry.revision.as_ref());
    let revisions = revisions.map(Revision::as_str).collect();
    let rows: Vec<_> = std::iter::once(heading.to_vec())
        .chain(entries.iter().map(|entry| {
            vec![
                mark(entry).to_owned(),
                entry.kind_name().to_owned(),
                short_revision(entry, &revisions),
                entry.commit.short(),
                dates::day(&entry.date),
            ]
        }))
        .collect();
    let left = aligned(&[Align::Left; 5], &rows);
    let widest = left.lines().map(width).max().unwrap_or_default();
    let remaining = COLUMNS.saturating_sub(widest + "  …".chars().count());
    let subjects = entries.iter().map(|entry| entry.subject.as_str());
    let subjects = std::iter::once("SUBJECT").chain(subjects);
    let lines = left.lines().zip(subjects).map(|(line, subject)| {
        let subject = untrusted::short(subject, remaining);
        format!("{line}{}  {subject}", padded(line, widest))
    });
    lines
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

/// The entry's revision, as short as it can be among `listed`.
fn short_revision(entry: &HistoryEntry, listed: &BTreeSet<&str>) -> String {
    let revision = entry.revision.as_ref().map(Revision::as_str);
    revision.map_or_else(|| "-".to_owned(), |revision| abbreviated(revision, listed))
}

fn mark(entry: &HistoryEntry) -> &'static str {
    match entry {
        HistoryEntry { current: true, .. } => "*",
        HistoryEntry {
            can_roll_back: true,
            ..
        } => "<",
        _ => "",
    }
}

/// Entries as a table in which nothing is cut, with their digests.
fn whole(entries: &[&HistoryEntry]) -> String {
    let heading = [
        "", "KIND", "REVISION", "COMMIT", "DATE", "DIGESTS", "SUBJECT",
    ]
    .map(str::to_owned)
    .to_vec();
    let row = |entry: &&HistoryEntry| {
        let digests = entry
            .images
            .iter()
            .map(|(name, digest)| format!("{name}={}", digest.short()));
        let revision = entry.revision.as_ref().map(ToString::to_string);
        vec![
            mark(entry).to_owned(),
            entry.kind_name().to_owned(),
            revision.unwrap_or_else(|| "-".to_owned()),
            entry.commit.short(),
            entry.date.clone(),
            digests.collect::<Vec<_>>().join(" "),
            plain(&entry.subject),
        ]
    };
    let rows: Vec<_> = std::iter::once(heading)
        .chain(entries.iter().map(row))
        .collect();
    aligned(&[Align::Left; 7], &rows)
}

/// Entries as blocks for a terminal of so many columns, in which nothing is cut: each digest has a
/// line of its own.
fn blocks(entries: &[&HistoryEntry], columns: usize) -> String {
    let mut lines = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            lines.push(String::new());
        }
        let head = format!("{:<1}  {}  {}", mark(entry), entry.kind_name(), entry.date);
        lines.extend(wrapped(&head, columns));
        let revision = entry.revision.as_ref().map(Revision::as_str);
        let revision = revision.unwrap_or("-");
        lines.extend(indented(&format!("revision {revision}"), 3, columns));
        lines.extend(indented(&format!("commit {}", entry.commit), 3, columns));
        for (name, digest) in &entry.images {
            lines.extend(indented(name, 3, columns));
            lines.extend(indented(&digest.to_string(), 5, columns));
        }
        lines.extend(indented(&plain(&entry.subject), 3, columns));
    }
    lines.push(String::new());
    lines.join("\n")
}
