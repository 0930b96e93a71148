//! The status of a set as one screen of 80 columns.

use std::{collections::BTreeSet, fmt::Write as _, time::SystemTime};

use jiff::tz::TimeZone;

use super::{
    json::{AdoptionRow, BranchRow, MergedRow, NotRead, StatusDocument, WaitingRow},
    layout::{Align, Color, Palette, abbreviated, ago, aligned, local, local_end, wrapped},
    sets::SetSummary,
};
use crate::{
    base::{
        text::counted,
        untrusted::{padded, plain, short},
    },
    core::{checks, history::IgnoredClaim},
    forge::Words,
    oci::Digest,
};

const COLUMNS: usize = 80;
/// The systems that `status` may not query.
pub(crate) const REGISTRY: &str = "registry";
pub(crate) const FORGE: &str = "forge";
/// The name of open pull requests among the information that was not read.
pub(crate) const PULL_REQUESTS: &str = "pull_requests";
/// The number of digits of a commit id, as in `repin history`.
const COMMIT_DIGITS: usize = 10;
/// The width of the labels.
const INDENT: usize = 14;
/// The number of rows of one kind that are listed; the others are counted.
const LISTED: usize = 5;

/// The settings of the screen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'v> {
    /// The current time, for ages.
    pub now: SystemTime,
    /// The time zone of the reader.
    pub zone: &'v TimeZone,
    /// The known revisions, among which an abbreviation must be unique.
    pub revisions: &'v BTreeSet<&'v str>,
    /// Whether every row and complete digests are printed.
    pub verbose: bool,
    pub palette: Palette,
    /// The option that selects the set, with a space before it, for commands.
    pub config_option: &'v str,
    /// The words of the configured forge.
    pub words: Words,
}

pub(crate) fn screen(document: &StatusDocument, view: View<'_>) -> String {
    let mut screen = Screen {
        view,
        text: String::new(),
    };
    if has_images(document) {
        screen.set(document);
        screen.adoption(document);
        screen.unpushed(document);
        screen.images(document);
        screen.holds(document);
        screen.waiting(document);
        screen.ignored_claims(document);
        screen.open_pull_requests(document);
        screen.checks("pins", &document.pins, "counted and in agreement");
        screen.checks("outside", &document.outside, "none");
        screen.checks("unpinned", &document.unpinned, "none");
        screen.interrupted_apply(document);
    } else {
        let name = plain(&document.name);
        screen.row("set", &[format!("{name}: no images, so there are no pins")]);
        screen.open_pull_requests(document);
    }
    screen.not_queried(document);
    for row in &document.not_read {
        screen.not_read(row);
    }
    screen.text.push('\n');
    let lines = wrapped(&conclusion(document), COLUMNS).join("\n") + "\n";
    screen.text += &view.palette.paint(outcome(document).color(), &lines);
    screen.text
}

/// Whether the configuration has images.
fn has_images(document: &StatusDocument) -> bool {
    !document.work_tree.is_empty()
}

struct Screen<'v> {
    view: View<'v>,
    text: String,
}

impl Screen<'_> {
    /// Writes lines after a label, wrapped at the width of the screen.
    fn row(&mut self, label: &str, lines: &[String]) {
        self.row_in(None, label, lines);
    }

    fn row_in(&mut self, color: Option<Color>, label: &str, lines: &[String]) {
        let mut label = label;
        for line in lines
            .iter()
            .flat_map(|line| wrapped(line, COLUMNS - INDENT))
        {
            let blanks = padded(label, INDENT);
            let line = format!("{label}{blanks}{line}");
            self.text += &self.view.palette.paint(color, line.trim_end());
            self.text.push('\n');
            label = "";
        }
    }

    /// Writes at most [`LISTED`] lines, and the number of the others.
    fn rows(&mut self, label: &str, lines: Vec<String>, more: &str) {
        self.rows_in(None, label, lines, more);
    }

    fn rows_in(&mut self, color: Option<Color>, label: &str, mut lines: Vec<String>, more: &str) {
        if !self.view.verbose && lines.len() > LISTED {
            let omitted = lines.len() - LISTED;
            lines.truncate(LISTED);
            lines.push(format!("… {omitted} more ({more})"));
        }
        self.row_in(color, label, &lines);
    }

    fn revision(&self, revision: &str) -> String {
        plain(&abbreviated(revision, self.view.revisions))
    }

    fn age(&self, date: &str) -> String {
        let age = ago(date, self.view.now);
        age.map_or_else(String::new, |age| format!(" ({age})"))
    }

    fn set(&mut self, document: &StatusDocument) {
        let name = plain(&document.name);
        let Some(set) = &document.set else {
            let mut unread = document.not_read.iter();
            let is_partial = unread.any(|row| row.what == "older_sets");
            let text = match &document.branch {
                Some(branch) if is_partial => {
                    format!("{name}: not recorded on {}", plain(&branch.name))
                }
                Some(branch) => format!(
                    "{name}: no commit on {} pins an image of the set",
                    plain(&branch.name)
                ),
                None => format!("{name}: unknown, since history was not read"),
            };
            return self.row("set", &[text]);
        };
        let revision = match &set.revision {
            Some(revision) => format!("{name} @{} ({})", self.revision(revision), set.kind),
            None => format!("{name}, revision not recorded ({})", set.kind),
        };
        self.row_in(Some(Color::Green), "set", &[revision]);
        let since = format!(
            "{}{}",
            local(&set.date, self.view.zone),
            self.age(&set.date)
        );
        self.row("since", &[since]);
        let author = match document.author.as_deref() {
            None | Some("") => "unknown".to_owned(),
            Some(author) => short(author, COLUMNS - INDENT),
        };
        self.row("by", &[author]);
        let branch = match &document.branch {
            Some(branch) => format!(" on {}", plain(&branch.name)),
            None => String::new(),
        };
        let commit = set.commit.short();
        let subject = short(&set.subject, COLUMNS - INDENT - "…".len());
        self.row("commit", &[format!("{commit}{branch}"), subject]);
        let pull = match &document.pull_request {
            Some(MergedRow {
                number,
                url: Some(url),
            }) => format!("{} {}", self.view.words.mark(*number), plain(url)),
            Some(MergedRow { number, url: None }) => {
                let mark = self.view.words.mark(*number);
                format!("{mark}, by the commit's subject")
            }
            None => "unknown".to_owned(),
        };
        self.row(self.view.words.pull_request, &[pull]);
        self.unknown_commits(document);
    }

    /// The commits that this clone or repin cannot read.
    fn unknown_commits(&mut self, document: &StatusDocument) {
        if let Some(BranchRow {
            name,
            commit,
            head: Some(head),
        }) = document
            .branch
            .as_ref()
            .filter(|branch| branch.is_outdated())
        {
            let (commit, head) = (commit.short(), head.get(..COMMIT_DIGITS).unwrap_or(head));
            let text = format!(
                "{} is at {commit} here, and at {head} on the forge: run git fetch",
                plain(name)
            );
            self.row_in(Some(Color::Red), "behind", &[text]);
        }
        let lines = document
            .unreadable
            .iter()
            .map(|row| format!("{}: {}", row.commit.short(), plain(&row.reason)))
            .collect();
        self.rows_in(Some(Color::Red), "unreadable", lines, "repin history");
    }

    /// The configuration that the branch does not contain.
    fn adoption(&mut self, document: &StatusDocument) {
        let Some(AdoptionRow { branch, commit }) = &document.adoption else {
            return;
        };
        let (file, branch) = (plain(&document.set_path.to_string()), plain(branch));
        let text = match commit {
            Some(commit) => format!(
                "commit {} adds {file} and is not on {branch}: push it",
                commit.short()
            ),
            None => format!("{file} is not committed: commit it, and push it to {branch}"),
        };
        self.row_in(Some(Color::Red), "adoption", &[text]);
    }

    /// The set that the branch does not contain.
    fn unpushed(&mut self, document: &StatusDocument) {
        let Some(row) = &document.unpushed else {
            return;
        };
        let set = match &row.revision {
            Some(revision) => format!("{} {}", row.kind, self.revision(revision)),
            None => row.kind.to_owned(),
        };
        let (commit, branch) = (row.commit.short(), plain(&row.branch));
        let text = format!("commit {commit} ({set}) is not on {branch}: push it");
        self.row_in(Some(Color::Red), "not pushed", &[text]);
    }

    fn images(&mut self, document: &StatusDocument) {
        let digest = |digest: &Digest| {
            if self.view.verbose {
                digest.to_string()
            } else {
                format!("sha256:{}", digest.short())
            }
        };
        let mut rows = Vec::new();
        for row in &document.work_tree {
            let set = document.set.as_ref();
            let deployed = set.and_then(|set| set.images.get(&row.image));
            let pinned = match row.digests.as_slice() {
                [] => "-".to_owned(),
                [one] => digest(one),
                many => counted(many.len(), "digest"),
            };
            let note = match row.current {
                Some(false) => format!("work tree: {pinned}"),
                _ if row.expected == 0 => "not pinned".to_owned(),
                _ => format!("{} of {}", row.pins, counted(row.expected, "pin")),
            };
            let deployed = match deployed {
                Some(deployed) => digest(deployed),
                None if set.is_some() => "-".to_owned(),
                None => pinned,
            };
            rows.push(vec![short(&row.image, 30), deployed, note]);
        }
        let table = aligned(&[Align::Left; 3], &rows);
        let lines = table.lines().map(ToOwned::to_owned).collect();
        self.rows("images", lines, "repin scan");
    }

    fn holds(&mut self, document: &StatusDocument) {
        if document.branch.is_none() {
            // The holds are unknown.
            return;
        }
        let mut lines = Vec::new();
        for row in &document.holds {
            let set = match &row.revision {
                Some(revision) => self.revision(revision),
                None => "a set of no known revision".to_owned(),
            };
            let (commit, age) = (row.commit.short(), self.age(&row.date));
            lines.push(format!("{set}, rolled back by {commit}{age}"));
        }
        let color = (!lines.is_empty()).then_some(Color::Yellow);
        if lines.is_empty() {
            lines.push("nothing".to_owned());
        }
        self.rows_in(color, "held", lines, "repin status -v");
    }

    fn waiting(&mut self, document: &StatusDocument) {
        let mut lines = Vec::new();
        for row in &document.waiting {
            let revision = row.revision.as_deref().map(|name| self.revision(name));
            lines.push(waiting(row, revision, self.view.zone));
        }
        self.rows_in(Some(Color::Yellow), "waiting", lines, "repin status -v");
    }

    fn ignored_claims(&mut self, document: &StatusDocument) {
        let lines = document.ignored_claims.iter().map(ignored_claim).collect();
        self.rows_in(Some(Color::Yellow), "ignored", lines, "repin history");
    }

    fn open_pull_requests(&mut self, document: &StatusDocument) {
        let Some(open) = &document.pull_requests else {
            // `not_read` contains the reason.
            return;
        };
        let mut lines = Vec::new();
        for row in open {
            let draft = if row.draft { " (draft)" } else { "" };
            lines.push(format!(
                "{} {} {}{draft} {}",
                self.view.words.mark(row.number),
                row.kind,
                self.revision(&row.revision),
                plain(&row.url)
            ));
        }
        if lines.is_empty() {
            lines.push(format!("no {}", self.view.words.pull_request));
        }
        self.rows("open", lines, "repin status -v");
    }

    fn checks(&mut self, label: &str, checks: &[checks::Check], none: &str) {
        let mut lines = Vec::new();
        for check in checks {
            let image = match &check.image {
                Some(image) => format!("{image}: "),
                None => String::new(),
            };
            let line = match (&check.item, &check.cause) {
                (Some(item), _) if !check.locations.is_empty() => {
                    format!("{item} ({image}{})", check.code)
                }
                // The evidence may list every location, which is too long.
                (_, Some(cause)) => format!("{image}{cause}"),
                (_, None) => format!("{image}{}", check.describe()),
            };
            lines.push(plain(&line));
        }
        let color = (!lines.is_empty()).then_some(Color::Red);
        if lines.is_empty() {
            lines.push(none.to_owned());
        }
        self.rows_in(color, label, lines, "repin check");
    }

    fn interrupted_apply(&mut self, document: &StatusDocument) {
        let line = match (&document.running, document.recovery) {
            (Some(running), _) => plain(running),
            (None, Some(state)) => {
                let (option, effect) = (self.view.config_option, state.effect());
                format!("an interrupted --apply left a journal; `repin recover{option}` {effect}")
            }
            (None, None) if document.interrupted => {
                let option = self.view.config_option;
                format!("an interrupted --apply left a damaged journal: run repin recover{option}")
            }
            (None, None) if document.not_read.iter().any(|row| row.what == "journal") => return,
            (None, None) => "no interrupted --apply".to_owned(),
        };
        let is_idle = document.running.is_none() && !document.interrupted;
        let color = (!is_idle).then_some(Color::Red);
        self.row_in(color, "apply", &[line]);
    }

    /// The systems that may know more than git.
    fn not_queried(&mut self, document: &StatusDocument) {
        let systems = document.not_queried.iter().map(|system| {
            if *system == REGISTRY {
                let option = self.view.config_option;
                format!("{system} (repin check{option} --remote)")
            } else {
                (*system).to_owned()
            }
        });
        let systems: Vec<_> = systems.collect();
        if systems.is_empty() {
            return;
        }
        self.row_in(Some(Color::Dim), "not queried", &[systems.join(", ")]);
    }

    fn not_read(&mut self, row: &NotRead) {
        let mut lines = vec![format!("{}: {}", row.name(), plain(&row.reason))];
        lines.extend(
            row.hint
                .as_deref()
                .map(|hint| format!("help: {}", plain(hint))),
        );
        self.row_in(Some(Color::Yellow), "not read", &lines);
    }
}

/// The problems, each as a count or a phrase.
fn problems(document: &StatusDocument) -> Vec<String> {
    let outside = document.outside.iter();
    let unsearched = outside.filter(|check| check.locations.is_empty()).count();
    let mut warned = document.pins.clone();
    warned.retain(|check| check.status != checks::Status::Fail);
    let images = document.work_tree.iter();
    let differing = images.filter(|row| row.current == Some(false)).count();
    let counts = [
        (document.pins.len() - warned.len(), "failed pin check"),
        (warned.len(), "pin warning"),
        (document.outside.len() - unsearched, "outside digest"),
        (unsearched, "unsearched file"),
        (document.unpinned.len(), "unpinned reference"),
        (differing, "differing image"),
        (document.unreadable.len(), "unreadable commit"),
    ];
    let mut problems = Vec::new();
    for (count, noun) in counts {
        if count > 0 {
            problems.push(counted(count, noun));
        }
    }
    let is_outdated = document.branch.as_ref().is_some_and(BranchRow::is_outdated);
    let has_adoption = document.adoption.is_some();
    let states = [
        (document.is_held(), "the current set is held"),
        (is_outdated, "the clone is behind the forge"),
        (has_adoption, "the configuration is not pushed"),
        (document.interrupted, "an interrupted --apply"),
        (document.running.is_some(), "a concurrent run"),
    ];
    let states = states.into_iter().filter(|(is_so, _)| *is_so);
    problems.extend(states.map(|(_, state)| state.to_owned()));
    if let Some(row) = &document.unpushed {
        let (commit, kind) = (row.commit.short(), row.kind);
        problems.push(format!(
            "the set of HEAD is not pushed: commit {commit} ({kind})"
        ));
    }
    problems
}

/// The overall result, for the systems that were queried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    /// Information that a queried system has was not read.
    Incomplete,
    Problems,
}

impl Outcome {
    fn color(self) -> Color {
        match self {
            Self::Ok => Color::Green,
            Self::Incomplete => Color::Yellow,
            Self::Problems => Color::Red,
        }
    }
}

fn outcome(document: &StatusDocument) -> Outcome {
    let is_forge_queried = !document.not_queried.contains(&FORGE);
    let mut unread = document.not_read.iter();
    if !problems(document).is_empty() {
        Outcome::Problems
    } else if unread.any(|row| is_forge_queried || row.what != PULL_REQUESTS) {
        Outcome::Incomplete
    } else {
        Outcome::Ok
    }
}

/// The overall result as a sentence, which lists the systems that were not queried.
fn conclusion(document: &StatusDocument) -> String {
    let result = match outcome(document) {
        Outcome::Problems => return format!("not OK: {}", problems(document).join(", ")),
        Outcome::Incomplete => "no problem found, but some information was not read",
        Outcome::Ok if !has_images(document) => "no problem found",
        Outcome::Ok if document.not_queried.contains(&FORGE) => "OK in git",
        Outcome::Ok => "OK in git and on the forge",
    };
    if document.not_queried.is_empty() {
        return result.to_owned();
    }
    format!("{result}; not queried: {}", document.not_queried.join(", "))
}

/// The stage for which a set waits.
fn waiting(row: &WaitingRow, revision: Option<String>, zone: &TimeZone) -> String {
    let stage = plain(&row.stage);
    let revision = revision.unwrap_or_else(|| "a set without a recorded revision".to_owned());
    match &row.until {
        Some(until) => format!(
            "{revision} waits for {stage} until {}",
            local_end(until, zone)
        ),
        None => format!("{revision} waits for {stage}"),
    }
}

/// The row of a set in the table of all sets.
pub(crate) fn set_summary(document: &StatusDocument, zone: &TimeZone) -> SetSummary {
    let set = document.set.as_ref();
    let rows = document.work_tree.iter();
    let pins = rows.fold([0, 0], |[found, declared], row| {
        [found + row.pins, declared + row.expected]
    });
    let mut state = conclusion(document);
    for row in &document.waiting {
        let revision = row.revision.as_deref();
        let revision = revision.map(|name| plain(&abbreviated(name, &BTreeSet::from([name]))));
        state = format!("{state}; {}", waiting(row, revision, zone));
    }
    SetSummary {
        set_path: document.set_path.clone(),
        revision: set.and_then(|set| set.revision.clone()),
        since: set.map(|set| set.date.clone()),
        pins: Some(pins),
        state,
    }
}

/// The information in one set of several that was not read or is ignored, for standard error.
/// [`unread_pull_requests`] reports pull requests.
pub(crate) fn warnings(document: &StatusDocument) -> String {
    let mut text = String::new();
    for row in &document.not_read {
        if row.what != PULL_REQUESTS {
            text.push_str(&unread(row, ""));
        }
    }
    for row in &document.ignored_claims {
        let _ = writeln!(text, "warning: {}", ignored_claim(row));
    }
    text
}

/// The pull requests of several sets that were not read, once for each reason, for standard error.
/// Lists the sets of a reason that does not apply to all sets.
pub(crate) fn unread_pull_requests(documents: &[&StatusDocument]) -> String {
    let mut reasons: Vec<(&NotRead, Vec<String>)> = Vec::new();
    for document in documents {
        for row in &document.not_read {
            if row.what != PULL_REQUESTS {
                continue;
            }
            let path = plain(&document.set_path.to_string());
            match reasons.iter_mut().find(|(known, _)| *known == row) {
                Some((_, paths)) => paths.push(path),
                None => reasons.push((row, vec![path])),
            }
        }
    }
    let mut text = String::new();
    for (row, paths) in reasons {
        let sets = if paths.len() == documents.len() {
            String::new()
        } else {
            format!(" of {}", paths.join(", "))
        };
        text.push_str(&unread(row, &sets));
    }
    text
}

/// The warning about unread information. `sets`: the sets that it is about.
fn unread(row: &NotRead, sets: &str) -> String {
    let (what, reason) = (row.name(), plain(&row.reason));
    let mut text = format!("warning: {what}{sets} not read: {reason}\n");
    if let Some(hint) = &row.hint {
        let _ = writeln!(text, "  = help: {}", plain(hint));
    }
    text
}

/// The reason for which a claim is ignored, with both commits.
pub(crate) fn ignored_claim(row: &IgnoredClaim) -> String {
    format!(
        "commit {} claims {}, but its digests belong to {}, since commit {} introduced them",
        row.commit.short(),
        plain(row.claimed.as_str()),
        plain(row.revision.as_str()),
        row.introduced.short()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::report::json::{OpenRow, SetRow, WorkTreeRow},
        config::SetPath,
        git::ObjectId,
    };

    fn document() -> StatusDocument {
        let set = SetRow {
            revision: Some("a".repeat(40)),
            kind: "promote",
            commit: ObjectId::parse(&[b'b'; 40]).unwrap(),
            date: "2026-11-20T14:02:11Z".to_owned(),
            subject: "promote\u{1b}[31m".to_owned(),
            images: [("review".to_owned(), Digest::of(b"c"))].into(),
        };
        StatusDocument {
            schema: "repin.status/1",
            set_path: SetPath::top(),
            name: "images".to_owned(),
            set: Some(set),
            author: Some("A\u{202e}nn".to_owned()),
            pull_request: None,
            branch: Some(BranchRow {
                name: "origin/main".to_owned(),
                commit: ObjectId::parse(&[b'b'; 40]).unwrap(),
                head: Some("b".repeat(40)),
            }),
            work_tree: vec![WorkTreeRow {
                image: "review".to_owned(),
                repository: "ghcr.io/acme/review".to_owned(),
                digests: vec![Digest::of(b"c")],
                pins: 1,
                expected: 1,
                current: Some(true),
            }],
            waiting: Vec::new(),
            holds: Vec::new(),
            pull_requests: Some(Vec::new()),
            pins: Vec::new(),
            outside: Vec::new(),
            unpinned: Vec::new(),
            interrupted: false,
            recovery: None,
            running: None,
            unreadable: Vec::new(),
            ignored_claims: Vec::new(),
            adoption: None,
            unpushed: None,
            not_queried: vec![REGISTRY],
            not_read: Vec::new(),
        }
    }

    fn printed(document: &StatusDocument, verbose: bool) -> String {
        let view = View {
            now: crate::oci::date::parse("2026-11-21T14:02:11Z").unwrap(),
            zone: &TimeZone::UTC,
            revisions: &BTreeSet::new(),
            verbose,
            config_option: "",
            palette: Palette::Plain,
            words: Words::PULL_REQUEST,
        };
        screen(document, view)
    }

    #[test]
    fn status_is_ok_only_if_everything_was_read() {
        let mut document = document();
        let text = printed(&document, false);
        let ok = "\nOK in git and on the forge; not queried: registry\n";
        assert!(text.ends_with(ok), "{text}");
        assert!(text.contains("not queried   registry (repin check --remote)\n"));
        document.not_read.push(NotRead {
            what: PULL_REQUESTS,
            reason: "no token".to_owned(),
            hint: None,
            words: Words::PULL_REQUEST,
        });
        let text = printed(&document, false);
        let incomplete =
            "\nno problem found, but some information was not read; not queried: registry\n";
        assert!(text.ends_with(incomplete), "{text}");
        document.not_queried.push(FORGE);
        let text = printed(&document, false);
        assert!(text.ends_with("\nOK in git; not queried: registry, forge\n"));
        document.not_read[0].what = "older_sets";
        let text = printed(&document, false);
        assert!(text.contains("\nno problem found, but "), "{text}");
        document.branch.as_mut().unwrap().head = Some("d".repeat(40));
        let text = printed(&document, false);
        assert!(
            text.ends_with("\nnot OK: the clone is behind the forge\n"),
            "{text}"
        );
    }

    #[test]
    fn foreign_text_is_escaped_and_long_lists_cut() {
        let mut document = document();
        let row = |number: u64| OpenRow {
            number,
            url: format!(
                "https://forge.example/acme/flows/pull/{number}?{}",
                "x".repeat(60)
            ),
            kind: "promote",
            revision: number.to_string().repeat(40),
            title: String::new(),
            draft: number == 2,
        };
        document.pull_requests = Some((1..=7).map(row).collect());
        let text = printed(&document, false);
        assert!(
            text.contains("promote\\u{1b}[31m") && text.contains("A\\u{202e}nn"),
            "{text}"
        );
        assert!(text.contains("#2 promote 222222222222 (draft)\n"), "{text}");
        assert!(
            text.contains("… 2 more (repin status -v)\n") && !text.contains("#6"),
            "{text}"
        );
        assert!(printed(&document, true).contains("#7 promote"));
        // Addresses are complete.
        assert!(
            text.contains(&format!("pull/1?{}\n", "x".repeat(60))),
            "{text}"
        );
    }
}
