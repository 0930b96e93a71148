//! `repin history`: lists the sets in git history, newest first, with the current set and the sets available
//! for rollback; as a list or as an HTML page.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    num::NonZero,
    path::Path,
};

use reqwest::Url;

use crate::{
    changes::Changes,
    cli::{
        args,
        commands::sets::{self, SetResults},
        context::Context,
        exit::Exit,
        format::{Format, Volume},
        write_file::{self, TargetFile},
    },
    config::{ChangeParts, Config, SetPath},
    error::{Error, Errors, usage},
    forge::Target,
    git::{FETCH_HISTORY, Git, ObjectId},
    history::{self, HistoryEntry, Hold, Kind},
    oci::Revision,
    report::{
        color::{Color, Palette},
        dates, history_page,
        json::{AnyDocument, HistoryDocument, HistoryRow, IgnoredClaimRow},
        layout::{Align, aligned},
        layout::{indented, wrapped},
        revision::abbreviated,
        set_histories::{self, Grid, SetColumn},
        sets_page::{self, Gap},
        status::ignored_claim,
    },
    text::counted,
    untrusted::{self, padded, plain, width},
    workflow::{
        QuickTest, SiteHistory,
        changes::{ComparedSet, Comparison, compare},
        connection,
        set_diffs::set_diffs,
        set_files::set_files,
    },
};

/// The maximum width of the table.
const COLUMNS: usize = 80;

pub(in crate::cli) fn run(args: &args::History, cx: &mut Context) -> Result<Exit, Errors> {
    let destination = Destination::new(args.html.as_deref(), cx)?;
    if args.all {
        return list_all(args.limit, &destination, cx);
    }
    let config = cx.load()?;
    let site_history = SiteHistory::of_work_tree(&config, &cx.services);
    let history = site_history
        .promoted()
        .map_err(|error| Errors::from(&error))?;
    if let Destination::List = destination {
        list(history, args.limit, None, cx);
        return Ok(Exit::Done);
    }
    let text = page(args, &config, &site_history, cx)?;
    destination.write(&text, cx)?;
    if cx.output.format == Format::Json {
        list(history, args.limit, None, cx);
    } else {
        warn(history, cx);
    }
    destination.note(cx);
    Ok(Exit::Done)
}

/// The destination of the sets.
enum Destination {
    /// The list or the document on standard output.
    List,
    /// The page on standard output.
    Stdout,
    /// The page in a file.
    File(TargetFile),
}

impl Destination {
    fn new(html: Option<&Path>, cx: &Context) -> Result<Self, Errors> {
        let Some(file) = html else {
            return Ok(Self::List);
        };
        if file == Path::new("-") {
            if cx.output.format == Format::Json {
                return Err(usage(
                    "standard output cannot contain a page in addition to --format json: name a file instead of `-`",
                ));
            }
            return Ok(Self::Stdout);
        }
        let directory = cx.services.environment.directory();
        let path = directory.join(file);
        let target = TargetFile::new(&path, directory)?;
        check_replaceable(&path, target.display_name())?;
        Ok(Self::File(target))
    }

    fn write(&self, page: &str, cx: &mut Context) -> Result<(), Errors> {
        match self {
            Self::List => {}
            Self::Stdout if cx.output.format == Format::Github => cx.output.print_unparsed(page)?,
            Self::Stdout => cx.output.print(page),
            Self::File(target) => {
                let name = plain(target.display_name());
                let step = cx
                    .services
                    .interruption
                    .step(format!("{name} may have been written"));
                write_file::write(target, page, true)?;
                step.done(format!("{name} was written"));
            }
        }
        Ok(())
    }

    /// Reports a written file.
    fn note(&self, cx: &mut Context) {
        if let Self::File(target) = self {
            let name = plain(target.display_name());
            cx.output.note(&format!("wrote {name}"));
        }
    }
}

/// Lists the sets of every configuration below the current directory.
fn list_all(
    limit: Option<NonZero<usize>>,
    destination: &Destination,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let limit = limit.map_or(usize::MAX, NonZero::get);
    let mut gaps = Vec::new();
    let mut results = SetResults::default();
    let mut columns = Vec::new();
    for set in sets::select(cx)? {
        let Some((path, config)) = results.start(set, cx) else {
            continue;
        };
        let history = cx.enter(&config).and_then(|()| {
            let site_history = SiteHistory::of_work_tree(&config, &cx.services);
            let history = site_history
                .promoted()
                .map_err(|error| Errors::from(&error))?;
            warn(history, cx);
            gaps.extend(Gap::of_history(&path.to_string(), history));
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
        gaps.extend(results.rows.iter().map(|row| Gap {
            set_path: row.set_path.to_string(),
            reason: row.state.clone(),
        }));
        let text = sets_page::html(&grid, &gaps).map_err(|error| page_error(&error))?;
        destination.write(&text, cx)?;
        destination.note(cx);
        return Ok(if cx.output.format == Format::Json {
            results.print_table(String::new(), cx)
        } else {
            results.exit()
        });
    }
    let is_verbose = cx.output.volume >= Volume::Verbose;
    let table = set_histories::table(&grid, is_verbose);
    if cx.output.format != Format::Json {
        for row in &results.rows {
            let set = plain(&row.set_path.to_string());
            cx.output.note(&format!("{set}: {}", row.state));
        }
        cx.output.wrapped_note(set_histories::LEGEND);
    }
    Ok(results.print_table(table, cx))
}

fn page_error(error: &minijinja::Error) -> Errors {
    Errors::io(format!("cannot make the page: {error}"))
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

/// Refuses devices and symlinks: replacing `/dev/stdout` would harm every other program, and a symlink would
/// be replaced instead of its target.
fn check_replaceable(path: &Path, display_name: &str) -> Result<(), Errors> {
    match fs::symlink_metadata(path) {
        Ok(existing) if !existing.is_file() && !existing.is_dir() => Err(usage(format!(
            "{display_name} is not a regular file: name another file, or `-` for standard output"
        ))),
        _ => Ok(()),
    }
}

fn page(
    args: &args::History,
    config: &Config,
    site_history: &SiteHistory,
    cx: &Context,
) -> Result<String, Errors> {
    let history = site_history
        .promoted()
        .map_err(|error| Errors::from(&error))?;
    let mut listed = history.all_entries();
    let total = listed.len();
    listed.truncate(args.limit.map_or(usize::MAX, NonZero::get));
    let git = site_history.git();
    let changes = if args.changes {
        Some(changes_of(&listed, history, config, git, cx)?)
    } else {
        None
    };
    let diffs = match git {
        Some(git) => set_diffs(git, history, &listed)
            .map_err(|error| Errors::from(Error::from(git.explain(error))))?,
        None => HashMap::new(),
    };
    let files = match git {
        Some(git) => set_files(git, history, &listed, config)
            .map_err(|error| Errors::from(Error::from(git.explain(error))))?,
        None => HashMap::new(),
    };
    let forge = config.forge.as_ref();
    let target = forge.and_then(|forge| connection::target(forge, git).ok());
    let target = target.as_ref();
    let pull_requests = target.and_then(Target::pull_request_pages);
    let commits = target.and_then(Target::commit_pages);
    let facts = history_page::Facts {
        config,
        history,
        listed: &listed,
        total,
        diffs: &diffs,
        files: &files,
        changes: changes.as_ref(),
        pull_requests: pull_requests.as_ref().map(Url::as_str),
        commits: commits.as_ref().map(Url::as_str),
    };
    history_page::html(facts).map_err(|error| page_error(&error))
}

/// The changes of each set since the one before it.
fn changes_of(
    listed: &[HistoryEntry],
    history: &history::History,
    config: &Config,
    git: Option<&Git>,
    cx: &Context,
) -> Result<HashMap<ObjectId, Changes>, Errors> {
    let mut changes = HashMap::new();
    for pair in history.entries().windows(2) {
        let [entry, previous] = pair else { continue };
        if !listed.iter().any(|listed| listed.commit == entry.commit) {
            continue;
        }
        let comparison = Comparison {
            from: ComparedSet::recorded(config, previous, history),
            to: ComparedSet::recorded(config, entry, history),
            images: &[],
            parts: ChangeParts::Images,
            is_rollback: entry.kind == Kind::Rollback,
            proven_sources: Vec::new(),
            git,
            trust: None,
            contents: Vec::new(),
            only_read_contents: false,
        };
        changes.insert(entry.commit, compare(comparison, config, &cx.services)?);
    }
    Ok(changes)
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
        cx.output
            .warn(&ignored_claim(&IgnoredClaimRow::from(claim)));
    }
    if let Some(past) = history.unknown_past() {
        cx.output.warn(&past.to_string());
    }
    if history.shallow {
        cx.output.write_stderr(&format!(
            "warning: this clone is shallow, so older sets are missing\n  = help: {FETCH_HISTORY}\n"
        ));
    }
}

/// Prints the sets, with warnings about unknown and missing sets. `tested`: the results of the quick test.
pub(super) fn list(
    history: &history::History,
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
                mark: mark(entry, history),
            })
            .collect();
        let table = if cx.output.volume >= Volume::Verbose {
            match cx.output.columns {
                Some(columns) => blocks(&listed, tested, columns),
                None => complete(&listed, tested),
            }
        } else {
            short(&listed, tested, cx.output.palette())
        };
        cx.output.print(table);
        let mut legend = format!(
            "{}: * is current, < is available for rollback",
            plain(&history.branch.name)
        );
        if listed.iter().any(|listed| listed.mark == Mark::Held) {
            legend += ", ! is held: a rollback undid it";
        }
        cx.output.wrapped_note(&legend);
        if repeated > 0 {
            let entries = counted(repeated, "earlier entry");
            cx.output
                .wrapped_note(&format!("{entries} of the same sets: repin history -v"));
        }
    }
}

/// An entry with its mark.
struct ListedEntry<'h> {
    entry: &'h HistoryEntry,
    mark: Mark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Current,
    /// A rollback undid the set; a rollback may return to it.
    Held,
    Available,
    Superseded,
}

impl Mark {
    fn as_str(self) -> &'static str {
        match self {
            Self::Current => "*",
            Self::Held => "!",
            Self::Available => "<",
            Self::Superseded => "",
        }
    }

    /// The color of its row.
    fn color(self) -> Option<Color> {
        match self {
            Self::Current => Some(Color::Green),
            Self::Held => Some(Color::Yellow),
            Self::Available => None,
            Self::Superseded => Some(Color::Dim),
        }
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
fn short(entries: &[ListedEntry<'_>], tested: Option<&QuickTest>, palette: Palette) -> String {
    let mut heading = ["", "KIND", "REVISION", "COMMIT", "DATE"]
        .map(str::to_owned)
        .to_vec();
    heading.extend(tested.map(|_| "READY".to_owned()));
    let revisions: BTreeSet<&str> = entries
        .iter()
        .filter_map(|listed| listed.entry.revision.as_ref())
        .map(Revision::as_str)
        .collect();
    let columns = vec![Align::Left; heading.len()];
    let (mut rows, mut subjects) = (vec![heading], vec![("SUBJECT", None)]);
    for ListedEntry { entry, mark } in entries {
        let revision = match &entry.revision {
            Some(revision) => abbreviated(revision.as_str(), &revisions),
            None => "-".to_owned(),
        };
        let mut row = vec![
            mark.as_str().to_owned(),
            entry.kind_name().to_owned(),
            revision,
            entry.commit.short(),
            dates::day(&entry.date),
        ];
        row.extend(tested.map(|tested| ready(entry, tested).to_owned()));
        rows.push(row);
        subjects.push((&entry.subject, mark.color()));
    }
    let table = aligned(&columns, &rows);
    let table_width = table.lines().map(width).max().unwrap_or_default();
    let remaining = COLUMNS.saturating_sub(table_width + "  …".chars().count());
    let mut text = String::new();
    for (line, (subject, color)) in table.lines().zip(subjects) {
        let subject = untrusted::short(subject, remaining);
        let line = format!("{line}{}  {subject}", padded(line, table_width));
        text += &palette.paint(color, line.trim_end());
        text.push('\n');
    }
    text
}

fn mark(entry: &HistoryEntry, history: &history::History) -> Mark {
    let hold = match &entry.revision {
        Some(revision) => history.hold(revision),
        None => history.hold_of_set(&entry.images),
    };
    if entry.current {
        Mark::Current
    } else if matches!(hold, Hold::Held { .. }) {
        Mark::Held
    } else if entry.can_roll_back {
        Mark::Available
    } else {
        Mark::Superseded
    }
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

/// A table with complete revisions, dates and subjects, and with digests.
fn complete(entries: &[ListedEntry<'_>], tested: Option<&QuickTest>) -> String {
    let heading = [
        "", "KIND", "REVISION", "COMMIT", "DATE", "DIGESTS", "SUBJECT",
    ];
    let mut heading = heading.map(str::to_owned).to_vec();
    heading.extend(tested.map(|_| "READY".to_owned()));
    let columns = vec![Align::Left; heading.len()];
    let mut rows = vec![heading];
    for ListedEntry { entry, mark } in entries {
        let digests: Vec<_> = entry
            .images
            .iter()
            .map(|(name, digest)| format!("{name}={}", digest.short()))
            .collect();
        let revision = entry.revision.as_ref().map(ToString::to_string);
        let mut row = vec![
            mark.as_str().to_owned(),
            entry.kind_name().to_owned(),
            revision.unwrap_or_else(|| "-".to_owned()),
            entry.commit.short(),
            entry.date.clone(),
            digests.join(" "),
            plain(&entry.subject),
        ];
        row.extend(tested.map(|tested| ready(entry, tested).to_owned()));
        rows.push(row);
    }
    aligned(&columns, &rows)
}

/// Complete entries as blocks for a terminal; each digest is on a separate line.
fn blocks(entries: &[ListedEntry<'_>], tested: Option<&QuickTest>, columns: usize) -> String {
    let mut lines = Vec::new();
    for ListedEntry { entry, mark } in entries {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let head = format!(
            "{:<1}  {}  {}",
            mark.as_str(),
            entry.kind_name(),
            entry.date
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
