//! `repin history`: lists the sets in git history, newest first, with the current set and the sets available
//! for rollback; as a list or as an HTML page.

mod page;

use std::{collections::BTreeSet, num::NonZero, path::PathBuf};

use clap::Args;
use jiff::tz::TimeZone;
use page::{Destination, page_error};

use super::set::{self, SetResults};
use crate::{
    app::{
        cli::{
            args::whole_number,
            context::Context,
            format::{Format, Volume},
            output::Exit,
        },
        report::{
            json::{AnyDocument, HistoryDocument, HistoryRow},
            layout::{Align, Color, Palette, abbreviated, aligned, indented, local, wrapped},
            set_histories::{self, Grid, SetColumn},
            sets::{self, Gap},
            status::ignored_claim,
        },
        workflow::{QuickTest, SiteHistory},
    },
    base::{
        error::Errors,
        text::{counted, few},
        untrusted::{self, padded, plain, width},
    },
    config::SetPath,
    core::history::{self, EntryState, HistoryEntry},
    git::FETCH_HISTORY,
    oci::Revision,
};

const HELP: &str = "\
The page of --html is one self-contained file, which sends no requests: the deployed set, its state and the command that rolls \
back, then revisions, digests, authors, times, rollbacks, holds and diffs, as recorded in git.

Examples:
  repin history --limit 5
  repin history --all
  repin history --html history.html
  repin history --all --html sets.html";

/// List the sets in git history, newest first
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// List at most N entries
    #[arg(short = 'n', long, value_name = "N", value_parser = whole_number::<NonZero<usize>>)]
    limit: Option<NonZero<usize>>,
    /// List every set below the current directory as one table: a column for each configuration file that
    /// git tracks, a row for each set of digests
    #[arg(long)]
    all: bool,
    /// Write the sets to FILE as one self-contained HTML page; - is standard output. With --all, the page has
    /// the table of every set
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// With --html, add the changes of each set since the one before it, as `repin diff` finds them now: this
    /// reads the images from their registries
    #[arg(long, requires = "html", conflicts_with = "all")]
    changes: bool,
}

/// The maximum width of the table, if its authors have the minimum width.
const COLUMNS: usize = 80;
/// The minimum width of a name.
const MIN_AUTHOR: usize = 6;

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let html = args.html.as_deref();
    if args.all {
        let destination = Destination::new(html, None, cx)?;
        return list_all(args.limit, &destination, cx);
    }
    let config = cx.load()?;
    let destination = Destination::new(html, Some(&config), cx)?;
    let site_history = SiteHistory::for_work_tree(&config, &cx.services);
    let history = site_history
        .promoted()
        .map_err(|error| Errors::from(&error))?;
    if let Destination::List = destination {
        list(history, &config.option, args.limit, None, cx);
        return Ok(Exit::Done);
    }
    let text = page::page(args, &config, &site_history, cx)?;
    destination.write(&text, cx)?;
    if cx.output.format == Format::Json {
        list(history, &config.option, args.limit, None, cx);
    } else {
        warn(history, cx);
    }
    destination.note(cx);
    Ok(Exit::Done)
}

/// Lists the sets of every configuration below the current directory.
fn list_all(
    limit: Option<NonZero<usize>>,
    destination: &Destination,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let limit = limit.map_or(usize::MAX, NonZero::get);
    let mut results = SetResults::default();
    let mut columns = Vec::new();
    for set in set::select(cx)? {
        let Some((path, config)) = results.start(set, cx) else {
            continue;
        };
        let history = cx.enter(&config).and_then(|()| {
            let site_history = SiteHistory::for_work_tree(&config, &cx.services);
            let history = site_history
                .promoted()
                .map_err(|error| Errors::from(&error))?;
            warn(history, cx);
            let mut entries = history.all_entries();
            columns.push(SetColumn::new(&config, history, &entries));
            entries.truncate(limit);
            Ok(entries)
        });
        match history {
            Ok(entries) => {
                let document = document(path.clone(), entries, None);
                results.add_document(path, AnyDocument::History(document), Exit::Done);
            }
            Err(errors) => results.fail(path, errors, cx),
        }
    }
    cx.leave();
    let grid = Grid::new(columns, limit);
    if !matches!(destination, Destination::List) {
        let gaps = results.rows.iter().map(|row| Gap {
            set_path: row.set_path.to_string(),
            reason: row.state.clone(),
        });
        let gaps: Vec<Gap> = gaps.collect();
        let text = sets::html(&grid, &gaps).map_err(|error| page_error(&error))?;
        destination.write(&text, cx)?;
        destination.note(cx);
        return Ok(if cx.output.format == Format::Json {
            results.print_table(String::new(), cx)
        } else {
            results.exit()
        });
    }
    let is_verbose = cx.output.volume >= Volume::Verbose;
    let table = set_histories::table(&grid, is_verbose, &(cx.services.environment.zone)());
    if cx.output.format != Format::Json {
        for row in &results.rows {
            let set = plain(&row.set_path.to_string());
            cx.output.note(&format!("{set}: {}", row.state));
        }
        cx.output.wrapped_note(set_histories::LEGEND);
    }
    Ok(results.print_table(table, cx))
}

fn document(
    set_path: SetPath,
    entries: Vec<HistoryEntry>,
    tested: Option<&QuickTest>,
) -> HistoryDocument {
    let rows = entries.into_iter().map(|entry| HistoryRow {
        ready: tested.and_then(|tested| tested.result(&entry)),
        entry,
    });
    HistoryDocument {
        schema: "repin.history/1",
        set_path,
        entries: rows.collect(),
    }
}

/// Warns about unknown and missing sets.
fn warn(history: &history::History, cx: &mut Context) {
    for unreadable in &history.unreadable {
        cx.output.write_stderr(&format!(
            "warning: the set of commit {} is unknown: cannot read its configuration: {}\n",
            unreadable.commit.short(),
            plain(&unreadable.reason())
        ));
    }
    for claim in history.ignored_claims() {
        cx.output.warn(&ignored_claim(&claim));
    }
    for set in history.replaced_sets() {
        let revision = set.entry.revision.as_ref();
        let name = revision.map(|revision| format!("the set {}", plain(revision.as_str())));
        cx.output.warn(&format!(
            "{} of commit {} is not listed: merge {} (`git pull`) took it off the first-parent line",
            name.unwrap_or_else(|| "a set without a revision".to_owned()),
            set.entry.commit.short(),
            set.merge.short()
        ));
    }
    if let Some(past) = history.unknown_past() {
        cx.output.warn(&past.to_string());
    }
    if history.shallow {
        cx.output.write_stderr(&format!(
            "warning: this clone is shallow, so older sets and holds on the listed ones may be missing\n  = help: {FETCH_HISTORY}\n"
        ));
    }
}

/// The repositories in which listed sets were pinned, if these are not the present ones.
fn former_repositories(listed: &[ListedEntry<'_>]) -> Vec<String> {
    let mut groups: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
    for entry in listed.iter().map(|listed| listed.entry) {
        let repositories = entry.former_repositories.values();
        let repositories: Vec<_> = repositories.map(String::as_str).collect();
        if repositories.is_empty() {
            continue;
        }
        let name = entry.commit.short();
        match groups.last_mut() {
            Some((known, commits)) if *known == repositories => commits.push(name),
            _ => groups.push((repositories, vec![name])),
        }
    }
    let note = |(repositories, commits): (Vec<&str>, Vec<String>)| {
        let repositories = few(repositories.into_iter().map(plain), 3);
        let commits = few(commits.into_iter(), 3);
        format!("pinned in other repositories then: {commits} ({repositories})")
    };
    groups.into_iter().map(note).collect()
}

/// Prints the sets, with warnings about unknown and missing sets. `option`: the one that selects the configuration, with a
/// space before it; `tested`: the results of the quick test.
pub(super) fn list(
    history: &history::History,
    option: &str,
    limit: Option<NonZero<usize>>,
    tested: Option<&QuickTest>,
    cx: &mut Context,
) {
    let mut entries = history.all_entries();
    let is_complete = cx.output.format == Format::Json || cx.output.volume >= Volume::Verbose;
    let repeated = if is_complete {
        0
    } else {
        omit_repeated(&mut entries)
    };
    entries.truncate(limit.map_or(usize::MAX, NonZero::get));
    warn(history, cx);
    if cx.output.format == Format::Json {
        let document = document(history.set_path().clone(), entries, tested);
        cx.output.print_json(&document);
    } else if entries.is_empty() {
        let branch = plain(&history.branch.name);
        cx.output.note(&if history.shallow {
            format!("no fetched commit on {branch} changed the set")
        } else if let Some(past) = history.unknown_past() {
            format!(
                "no commit on {branch} changed the set after {}",
                past.commit.short()
            )
        } else {
            format!("no commit on {branch} pins an image of the set")
        });
    } else {
        let listed: Vec<_> = entries
            .iter()
            .map(|entry| ListedEntry {
                entry,
                state: history.state(entry),
            })
            .collect();
        let zone = (cx.services.environment.zone)();
        let table = if cx.output.volume >= Volume::Verbose {
            match cx.output.columns {
                Some(columns) => blocks(&listed, tested, &zone, columns),
                None => complete(&listed, tested, &zone),
            }
        } else {
            short(&listed, tested, &zone, cx.output.palette())
        };
        cx.output.print(table);
        let mut legend = format!(
            "{}: * is current, < is available for rollback",
            plain(&history.branch.name)
        );
        if listed.iter().any(|listed| listed.state == EntryState::Held) {
            legend += ", ! is held: a rollback undid it";
        }
        cx.output.wrapped_note(&legend);
        for note in former_repositories(&listed) {
            cx.output.wrapped_note(&note);
        }
        if repeated > 0 {
            let entries = counted(repeated, "earlier entry");
            cx.output.wrapped_note(&format!(
                "{entries} of the same sets: repin history{option} -v"
            ));
        }
    }
}

/// An entry with its state.
struct ListedEntry<'h> {
    entry: &'h HistoryEntry,
    state: EntryState,
}

/// The color of the row of a set.
fn color(state: EntryState) -> Option<Color> {
    match state {
        EntryState::Current => Some(Color::Green),
        EntryState::Held => Some(Color::Yellow),
        EntryState::Available => None,
        EntryState::Superseded => Some(Color::Dim),
    }
}

/// Omits the earlier entries of each set, and counts them.
fn omit_repeated(entries: &mut Vec<HistoryEntry>) -> usize {
    let total = entries.len();
    let mut known = BTreeSet::new();
    entries.retain(|entry| {
        let set = (entry.revision.clone(), entry.images.clone());
        entry.unreadable.is_some() || known.insert(set)
    });
    total - entries.len()
}

/// A table of at most [`COLUMNS`] columns.
fn short(
    entries: &[ListedEntry<'_>],
    tested: Option<&QuickTest>,
    zone: &TimeZone,
    palette: Palette,
) -> String {
    let mut heading = ["", "KIND", "REVISION", "COMMIT", "TIME"]
        .map(str::to_owned)
        .to_vec();
    heading.extend(tested.map(|_| "READY".to_owned()));
    let revisions: BTreeSet<&str> = entries
        .iter()
        .filter_map(|listed| listed.entry.revision.as_ref())
        .map(Revision::as_str)
        .collect();
    let columns = vec![Align::Left; heading.len()];
    let (mut rows, mut authors) = (vec![heading], vec![("AUTHOR", None)]);
    for ListedEntry { entry, state } in entries {
        let revision = match &entry.revision {
            Some(revision) => abbreviated(revision.as_str(), &revisions),
            None => "-".to_owned(),
        };
        let mut row = vec![
            state.mark().to_owned(),
            entry.kind_name().to_owned(),
            revision,
            entry.commit.short(),
            local(&entry.date, zone),
        ];
        row.extend(tested.map(|tested| ready(entry, tested).to_owned()));
        rows.push(row);
        authors.push((&entry.author, color(*state)));
    }
    let table = aligned(&columns, &rows);
    let table_width = table.lines().map(width).max().unwrap_or_default();
    let remaining = COLUMNS.saturating_sub(table_width + "  …".chars().count());
    let mut text = String::new();
    for (line, (author, color)) in table.lines().zip(authors) {
        let author = untrusted::short(author, remaining.max(MIN_AUTHOR));
        let line = format!("{line}{}  {author}", padded(line, table_width));
        text += &palette.paint(color, line.trim_end());
        text.push('\n');
    }
    text
}

/// The result of the quick test of a set.
fn ready(entry: &HistoryEntry, tested: &QuickTest) -> &'static str {
    match tested.result(entry) {
        Some(true) => "yes",
        Some(false) => "no",
        None if entry.can_roll_back => "?",
        None => "-",
    }
}

/// A table with complete revisions, names and subjects, and with digests.
fn complete(entries: &[ListedEntry<'_>], tested: Option<&QuickTest>, zone: &TimeZone) -> String {
    let heading = [
        "", "KIND", "REVISION", "COMMIT", "TIME", "AUTHOR", "DIGESTS", "SUBJECT",
    ];
    let mut heading = heading.map(str::to_owned).to_vec();
    heading.extend(tested.map(|_| "READY".to_owned()));
    let columns = vec![Align::Left; heading.len()];
    let mut rows = vec![heading];
    for ListedEntry { entry, state } in entries {
        let digests: Vec<_> = entry
            .images
            .iter()
            .map(|(name, digest)| format!("{name}={}", digest.short()))
            .collect();
        let revision = entry.revision.as_ref().map(ToString::to_string);
        let mut row = vec![
            state.mark().to_owned(),
            entry.kind_name().to_owned(),
            revision.unwrap_or_else(|| "-".to_owned()),
            entry.commit.short(),
            local(&entry.date, zone),
            plain(&entry.author),
            digests.join(" "),
            plain(&entry.subject),
        ];
        row.extend(tested.map(|tested| ready(entry, tested).to_owned()));
        rows.push(row);
    }
    aligned(&columns, &rows)
}

/// Complete entries as blocks for a terminal; each digest is on a separate line.
fn blocks(
    entries: &[ListedEntry<'_>],
    tested: Option<&QuickTest>,
    zone: &TimeZone,
    columns: usize,
) -> String {
    let mut lines = Vec::new();
    for ListedEntry { entry, state } in entries {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let head = format!(
            "{:<1}  {}  {}  {}",
            state.mark(),
            entry.kind_name(),
            local(&entry.date, zone),
            plain(&entry.author)
        );
        lines.extend(wrapped(&head, columns));
        let revision = entry.revision.as_ref().map_or("-", Revision::as_str);
        lines.extend(indented(&format!("revision {revision}"), 3, columns));
        lines.extend(indented(&format!("commit {}", entry.commit), 3, columns));
        if let Some(tested) = tested {
            let ready = ready(entry, tested);
            lines.extend(indented(&format!("ready {ready}"), 3, columns));
        }
        for (name, digest) in &entry.images {
            lines.extend(indented(name, 3, columns));
            lines.extend(indented(&digest.to_string(), 5, columns));
        }
        lines.extend(indented(&plain(&entry.subject), 3, columns));
    }
    lines.push(String::new());
    lines.join("\n")
}
