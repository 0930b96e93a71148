//! The state of a set as one screen of 80 columns.

use std::{collections::BTreeSet, fmt::Write as _, time::SystemTime};

use super::{
    dates::{ago, shown},
    json::{
        BranchRow, HoldRow, MergedRow, NotRead, OpenRow, StatusDocument, UnreadableRow, WorkTreeRow,
    },
    revision::abbreviated,
    table::{Align, aligned},
    wrap,
};
use crate::{
    checks::Check,
    config::number,
    untrusted::{padded, plain, short},
};

/// The width that the screen keeps to.
const COLUMNS: usize = 80;
/// How many digits of a commit are shown, as by `history`.
const SHORT: usize = 10;
/// Where the values begin.
const INDENT: usize = 14;
/// How many rows of one kind are shown; the rest is counted.
const ROWS: usize = 5;

/// What the screen depends on beside the document.
#[derive(Debug, Clone, Copy)]
pub struct View<'v> {
    /// Now, for ages.
    pub now: SystemTime,
    /// The revisions that history knows, which an abbreviation must tell apart.
    pub revisions: &'v BTreeSet<&'v str>,
    /// Whether every row is shown, and digests whole.
    pub verbose: bool,
}

/// The document as one screen.
pub fn screen(document: &StatusDocument, view: View<'_>) -> String {
    let mut screen = Screen {
        view,
        text: String::new(),
    };
    screen.set(document);
    screen.images(document);
    screen.holds(document);
    screen.open(document);
    screen.checks("pins", &document.pins, "counted and in agreement");
    screen.checks("outside", &document.outside, "none");
    screen.checks("unpinned", &document.unpinned, "none");
    screen.apply(document);
    for row in &document.not_read {
        screen.not_read(row);
    }
    screen.text.push('\n');
    screen.text.push_str(&closing(document));
    screen.text
}

struct Screen<'v> {
    view: View<'v>,
    text: String,
}

impl Screen<'_> {
    /// Lines behind a label; lines that are too wide are wrapped, and words are never cut.
    fn row(&mut self, label: &str, lines: &[String]) {
        let mut label = label;
        for line in lines.iter().flat_map(|line| wrapped(line)) {
            let blanks = padded(label, INDENT);
            let _ = writeln!(self.text, "{}", format!("{label}{blanks}{line}").trim_end());
            label = "";
        }
    }

    /// At most [`ROWS`] of them, and how many more there are.
    fn rows(&mut self, label: &str, mut lines: Vec<String>, more: &str) {
        if !self.view.verbose && lines.len() > ROWS {
            let rest = lines.len() - ROWS;
            lines.truncate(ROWS);
            lines.push(format!("… {rest} more ({more})"));
        }
        self.row(label, &lines);
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
            let what = match &document.branch {
                Some(branch) => format!(
                    "{name}: no commit on {} pins an image of the set",
                    plain(&branch.name)
                ),
                None => format!("{name}: unknown, since history was not read"),
            };
            return self.row("set", &[what]);
        };
        let revision = match &set.revision {
            Some(revision) => format!("{name} @{} ({})", self.revision(revision), set.kind),
            None => format!("{name}, revision not recorded ({})", set.kind),
        };
        self.row("set", &[revision]);
        let since = format!("{}{}", shown(&set.date), self.age(&set.date));
        self.row("since", &[since]);
        let author = document.author.as_deref().unwrap_or_default();
        let who = if author.is_empty() {
            "unknown".to_owned()
        } else {
            short(author, COLUMNS - INDENT)
        };
        self.row("by", &[who]);
        let branch = document.branch.as_ref();
        let branch =
            branch.map_or_else(String::new, |branch| format!(" on {}", plain(&branch.name)));
        let commit = set.commit.get(..SHORT).unwrap_or(&set.commit);
        let subject = short(&set.subject, COLUMNS - INDENT - "…".len());
        self.row("commit", &[format!("{commit}{branch}"), subject]);
        let pull = match &document.pull_request {
            Some(MergedRow {
                number,
                url: Some(url),
            }) => format!("#{number} {}", plain(url)),
            Some(MergedRow { number, url: None }) => format!("#{number}, by the commit's subject"),
            None => "unknown".to_owned(),
        };
        self.row("pull request", &[pull]);
        self.behind(document);
    }

    /// Where the clone does not show what the forge or the branch has.
    fn behind(&mut self, document: &StatusDocument) {
        if let Some(BranchRow {
            name,
            commit,
            head: Some(head),
        }) = document.branch.as_ref().filter(|branch| branch.behind())
        {
            let [commit, head] = [commit, head].map(|id| id.get(..SHORT).unwrap_or(id));
            let text = format!(
                "{} is at {commit} here, and at {head} on the forge: run git fetch",
                plain(name)
            );
            self.row("behind", &[text]);
        }
        let unreadable = |row: &UnreadableRow| {
            let commit = row.commit.get(..SHORT).unwrap_or(&row.commit);
            format!("{commit}: {}", plain(&row.reason))
        };
        let lines: Vec<_> = document.unreadable.iter().map(unreadable).collect();
        self.rows("unreadable", lines, "repin history");
    }

    fn images(&mut self, document: &StatusDocument) {
        let digest = |text: &str| {
            let shown = if self.view.verbose { 71 } else { 19 };
            text.get(..shown).unwrap_or(text).to_owned()
        };
        let mut rows = Vec::new();
        for row in &document.work_tree {
            let set = document.set.as_ref();
            let deployed = set.and_then(|set| set.images.get(&row.image));
            let here = match row.digests.as_slice() {
                [] => "-".to_owned(),
                [one] => digest(one),
                many => number(many.len(), "digest"),
            };
            let note = match row.current {
                Some(false) => format!("work tree: {here}"),
                _ if row.expected == 0 => "not pinned".to_owned(),
                _ => format!("{} of {}", row.pins, number(row.expected, "pin")),
            };
            let deployed = match deployed {
                Some(deployed) => digest(deployed),
                None if set.is_some() => "-".to_owned(),
                None => here,
            };
            rows.push(vec![short(&row.image, 30), deployed, note]);
        }
        let table = aligned(&[Align::Left; 3], &rows);
        let lines = table.lines().map(ToOwned::to_owned).collect();
        self.rows("images", lines, "repin scan");
    }

    fn holds(&mut self, document: &StatusDocument) {
        if document.branch.is_none() {
            // Which sets are held is unknown.
            return;
        }
        let hold = |row: &HoldRow| {
            let what = match &row.revision {
                Some(revision) => self.revision(revision),
                None => "a set of no known revision".to_owned(),
            };
            let commit = row.commit.get(..SHORT).unwrap_or(&row.commit);
            format!("{what}, rolled back by {commit}{}", self.age(&row.date))
        };
        let mut lines: Vec<_> = document.holds.iter().map(hold).collect();
        if lines.is_empty() {
            lines.push("nothing".to_owned());
        }
        self.rows("held", lines, "repin status -v");
    }

    fn open(&mut self, document: &StatusDocument) {
        let Some(open) = &document.pull_requests else {
            // The reason is among what was not read.
            return;
        };
        let open_row = |row: &OpenRow| {
            let draft = if row.draft { " (draft)" } else { "" };
            format!(
                "#{} {} {}{draft} {}",
                row.number,
                row.kind,
                self.revision(&row.revision),
                plain(&row.url)
            )
        };
        let mut lines: Vec<_> = open.iter().map(open_row).collect();
        if lines.is_empty() {
            lines.push("no pull request".to_owned());
        }
        self.rows("open", lines, "repin status -v");
    }

    fn checks(&mut self, label: &str, checks: &[Check], none: &str) {
        let line = |check: &Check| {
            let image = check.image.as_deref().map(|image| format!("{image}: "));
            let image = image.unwrap_or_default();
            match (&check.item, &check.cause) {
                (Some(item), _) if !check.places.is_empty() => {
                    plain(&format!("{item} ({image}{})", check.code))
                }
                // The evidence may also list every place.
                (_, Some(cause)) => plain(&format!("{image}{cause}")),
                (_, None) => plain(&format!("{image}{}", check.describe())),
            }
        };
        let mut lines: Vec<_> = checks.iter().map(line).collect();
        if lines.is_empty() {
            lines.push(none.to_owned());
        }
        self.rows(label, lines, "repin check");
    }

    fn apply(&mut self, document: &StatusDocument) {
        let line = match (&document.running, document.recovery) {
            (Some(running), _) => plain(running),
            (None, Some(state)) => {
                format!("an interrupted --apply left its journal ({state}): run repin recover")
            }
            (None, None) if document.interrupted => {
                "an interrupted --apply left its journal: run repin recover".to_owned()
            }
            (None, None) if document.not_read.iter().any(|row| row.what == "journal") => return,
            (None, None) => "no interrupted --apply".to_owned(),
        };
        self.row("apply", &[line]);
    }

    fn not_read(&mut self, row: &NotRead) {
        let mut lines = vec![format!(
            "{}: {}",
            row.what.replace('_', " "),
            plain(&row.reason)
        )];
        lines.extend(
            row.hint
                .as_deref()
                .map(|hint| format!("help: {}", plain(hint))),
        );
        self.row("not read", &lines);
    }
}

/// What is off, in words.
fn off(document: &StatusDocument) -> Vec<String> {
    let mut off = Vec::new();
    let mut add = |count: usize, noun: &str| {
        if count > 0 {
            off.push(number(count, noun));
        }
    };
    let without_place = |check: &&Check| check.places.is_empty();
    let unsearched = document.outside.iter().filter(without_place).count();
    add(document.pins.len(), "pin problem");
    add(document.outside.len() - unsearched, "outside digest");
    add(unsearched, "unsearched file");
    add(document.unpinned.len(), "unpinned reference");
    let differ = |row: &&WorkTreeRow| row.current == Some(false);
    let differing = document.work_tree.iter().filter(differ).count();
    add(differing, "differing image");
    add(document.unreadable.len(), "unreadable commit");
    if document.branch.as_ref().is_some_and(BranchRow::behind) {
        off.push("the clone is behind the forge".to_owned());
    }
    if document.interrupted {
        off.push("an interrupted --apply".to_owned());
    }
    if document.running.is_some() {
        off.push("another run at work".to_owned());
    }
    off
}

/// The last line: whether anything is off.
fn closing(document: &StatusDocument) -> String {
    let off = off(document);
    let line = if !off.is_empty() {
        format!("off: {}", off.join(", "))
    } else if document.not_read.is_empty() {
        "nothing is off".to_owned()
    } else {
        "nothing is off in what was read".to_owned()
    };
    let lines = wrap::wrapped(&line, COLUMNS);
    lines.join("\n") + "\n"
}

fn wrapped(line: &str) -> Vec<String> {
    wrap::wrapped(line, COLUMNS - INDENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::json::SetRow;

    fn document() -> StatusDocument {
        let set = SetRow {
            revision: Some("a".repeat(40)),
            kind: "promote",
            commit: "b".repeat(40),
            date: "2026-11-20T14:02:11Z".to_owned(),
            subject: "promote\u{1b}[31m".to_owned(),
            images: [("review".to_owned(), format!("sha256:{}", "c".repeat(64)))].into(),
        };
        StatusDocument {
            schema: "repin.status/1",
            name: "images".to_owned(),
            set: Some(set),
            author: Some("A\u{202e}nn".to_owned()),
            pull_request: None,
            branch: Some(BranchRow {
                name: "origin/main".to_owned(),
                commit: "b".repeat(40),
                head: Some("b".repeat(40)),
            }),
            work_tree: Vec::new(),
            holds: Vec::new(),
            pull_requests: Some(Vec::new()),
            pins: Vec::new(),
            outside: Vec::new(),
            unpinned: Vec::new(),
            interrupted: false,
            recovery: None,
            running: None,
            unreadable: Vec::new(),
            not_read: Vec::new(),
        }
    }

    fn shown(document: &StatusDocument, verbose: bool) -> String {
        let view = View {
            now: crate::prune::date::parse("2026-11-21T14:02:11Z").unwrap(),
            revisions: &BTreeSet::new(),
            verbose,
        };
        screen(document, view)
    }

    #[test]
    fn nothing_is_off_only_if_everything_was_read() {
        let mut document = document();
        assert!(shown(&document, false).ends_with("\nnothing is off\n"));
        document.not_read.push(NotRead {
            what: "pull_requests",
            reason: "no token".to_owned(),
            hint: None,
        });
        assert!(shown(&document, false).ends_with("\nnothing is off in what was read\n"));
        document.branch.as_mut().unwrap().head = Some("d".repeat(40));
        let text = shown(&document, false);
        assert!(
            text.ends_with("\noff: the clone is behind the forge\n"),
            "{text}"
        );
    }

    #[test]
    fn foreign_text_is_escaped_and_long_lists_are_counted() {
        let mut document = document();
        let row = |at: u64| OpenRow {
            number: at,
            url: format!(
                "https://forge.example/acme/flows/pull/{at}?{}",
                "x".repeat(60)
            ),
            kind: "promote",
            revision: at.to_string().repeat(40),
            title: String::new(),
            draft: at == 2,
        };
        document.pull_requests = Some((1..=7).map(row).collect());
        let text = shown(&document, false);
        assert!(
            text.contains("promote\\u{1b}[31m") && text.contains("A\\u{202e}nn"),
            "{text}"
        );
        assert!(text.contains("#2 promote 222222222222 (draft)\n"), "{text}");
        assert!(
            text.contains("… 2 more (repin status -v)\n") && !text.contains("#6"),
            "{text}"
        );
        assert!(shown(&document, true).contains("#7 promote"));
        // An address is never cut.
        assert!(
            text.contains(&format!("pull/1?{}\n", "x".repeat(60))),
            "{text}"
        );
    }
}
