//! The layout of text for a terminal: aligned tables and wrapped lines.
//!
//! A word, such as a digest or an address, is never broken, so that it can be copied.
//!
//! Colors in text for a terminal.
//!
//! Dates of commits as text.
//!
//! Short forms of revisions for tables.
//!
//! Renders self-contained pages, which send no requests.
//!
//! The content of a repository is hostile. The formatter of the templates escapes it twice: hidden characters
//! become visible, then markup becomes text. Only the style and the script are exempt; the Content Security
//! Policy of a page lists their hashes, so a browser applies and runs no others.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt::Write as _,
    ops::Bound,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{Timestamp, tz::TimeZone};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, HtmlEscape, Output, State, UndefinedBehavior, Value,
    syntax::SyntaxConfig,
    value::{Serde, ValueKind},
};
use regex::{Captures, Regex};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    base::untrusted::{padded, plain, to_minute, width},
    git::ObjectId,
    oci::date,
};

/// The alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    /// For numbers.
    Right,
}

/// Formats rows as lines with two blanks between the columns and no trailing blanks.
pub(crate) fn aligned(columns: &[Align], rows: &[Vec<String>]) -> String {
    let mut widths = vec![0; columns.len()];
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width(cell).max(*widest);
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut cells = Vec::new();
        for ((cell, align), width) in row.iter().zip(columns).zip(&widths) {
            let blanks = padded(cell, *width);
            cells.push(match align {
                Align::Left => format!("{cell}{blanks}"),
                Align::Right => format!("{blanks}{cell}"),
            });
        }
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Splits a line at single blanks into lines of at most `columns` columns. A longer word gets a
/// separate line.
pub(crate) fn wrapped(line: &str, columns: usize) -> Vec<String> {
    fill(line.split(' '), columns)
}

/// Wraps a line and indents the result by `indent` blanks, or by fewer if a word is too long.
pub(crate) fn indented(line: &str, indent: usize, columns: usize) -> Vec<String> {
    indented_words(line.split(' '), indent, columns)
}

/// Wraps and indents words that may contain blanks, such as paths.
pub(crate) fn indented_words<'w>(
    words: impl IntoIterator<Item = &'w str>,
    indent: usize,
    columns: usize,
) -> Vec<String> {
    let mut lines = fill(words, columns.saturating_sub(indent));
    for line in &mut lines {
        let indent = indent.min(columns.saturating_sub(width(line)));
        line.insert_str(0, &" ".repeat(indent));
    }
    lines
}

fn fill<'w>(words: impl IntoIterator<Item = &'w str>, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(last) if width(last) + 1 + width(word) <= columns => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A color of the terminal's palette, or a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Color {
    Red,
    Green,
    Yellow,
    Cyan,
    Dim,
}

impl Color {
    /// The parameter of ECMA-48, "Select graphic rendition".
    fn parameter(self) -> u8 {
        match self {
            Self::Red => 31,
            Self::Green => 32,
            Self::Yellow => 33,
            Self::Cyan => 36,
            Self::Dim => 2,
        }
    }
}

/// Whether the destination of a text shows colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Palette {
    Colored,
    Plain,
}

impl Palette {
    /// Colors each line of `text`, so that a pager that cuts lines shows no color after the text.
    /// `text` is complete: its width with colors cannot be measured.
    pub(crate) fn paint(self, color: impl Into<Option<Color>>, text: &str) -> String {
        let (Self::Colored, Some(color)) = (self, color.into()) else {
            return text.to_owned();
        };
        let mut painted = String::new();
        for line in text.split_inclusive('\n') {
            let end = if line.ends_with('\n') { "\n" } else { "" };
            let line = line.strip_suffix('\n').unwrap_or(line);
            if line.is_empty() {
                painted.push_str(end);
            } else {
                let parameter = color.parameter();
                let _ = write!(painted, "\u{1b}[{parameter}m{line}\u{1b}[0m{end}");
            }
        }
        painted
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Units of time: the least number of seconds for which a unit is used, its length and its name. Each unit
/// is used from a count of two, which is more precise than one of the next unit.
const UNITS: [(u64, u64, &str); 5] = [
    (730 * DAY, 365 * DAY, "year"),
    (60 * DAY, 30 * DAY, "month"),
    (2 * DAY, DAY, "day"),
    (2 * HOUR, HOUR, "hour"),
    (2 * MINUTE, MINUTE, "minute"),
];

/// A date for a reader in `zone`, to the minute, with the offset from UTC.
pub(crate) fn local(date: &str, zone: &TimeZone) -> String {
    plain(&with_local_times(date, zone))
}

/// Like [`local`], for the end of a period.
pub(crate) fn local_end(date: &str, zone: &TimeZone) -> String {
    let rounded = date::parse(date).map(|time| date::format(date::end_of_period(time)));
    local(rounded.as_deref().unwrap_or(date), zone)
}

/// Converts the times in a text, such as those in the detail of a check, to the form of [`local`]; a time of
/// `to_second` keeps its seconds. The texts themselves are a part of documents, which are the same bytes on every
/// machine.
pub(crate) fn with_local_times<'t>(text: &'t str, zone: &TimeZone) -> Cow<'t, str> {
    /// The form of RFC 3339, and those of `to_minute` and `to_second`.
    static TIME: LazyLock<Regex> = LazyLock::new(|| {
        let form = r"\b(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(?:\.\d+)?(Z|[+-]\d\d:\d\d)\b";
        Regex::new(form).expect("the pattern is constant")
    });
    TIME.replace_all(text, |time: &Captures<'_>| {
        let seconds = time.get(3).map_or(":00", |seconds| seconds.as_str());
        let standard = format!("{}T{}{seconds}{}", &time[1], &time[2], &time[4]);
        match standard.parse::<Timestamp>() {
            Ok(instant) => {
                let instant = instant.to_zoned(zone.clone());
                if &time[0][10..11] == " " && time.get(3).is_some() {
                    let shown = instant.strftime("%Y-%m-%d %H:%M:%S%:z").to_string();
                    return shown.replace("+00:00", "Z");
                }
                to_minute(&instant.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
            }
            Err(_) => time[0].to_owned(),
        }
    })
}

/// The age of a date; `None` if the date is malformed.
pub(crate) fn ago(date: &str, now: SystemTime) -> Option<String> {
    Some(match now.duration_since(date::parse(date)?) {
        Ok(passed) if passed < Duration::from_secs(2 * MINUTE) => "just now".to_owned(),
        Ok(passed) => format!("{} ago", span(passed)),
        Err(_) => "in the future, by this machine's clock".to_owned(),
    })
}

/// The time between two dates; `None` if one is malformed, or the second is earlier.
pub(crate) fn between(from: &str, to: &str) -> Option<String> {
    let passed = date::parse(to)?.duration_since(date::parse(from)?).ok()?;
    Some(span(passed))
}

fn span(passed: Duration) -> String {
    let seconds = passed.as_secs();
    match UNITS.iter().find(|(least, ..)| seconds >= *least) {
        Some((_, unit, name)) => format!("{} {name}s", seconds / unit),
        None if seconds < MINUTE => "less than a minute".to_owned(),
        None => "1 minute".to_owned(),
    }
}

/// The minimum length of an abbreviated revision.
const LENGTH_MIN: usize = 12;

/// Shortens a revision to a prefix, of at least `LENGTH_MIN` digits, that is unique among `listed`. Only
/// commit ids are shortened, because no command expands the prefix of another revision.
pub(crate) fn abbreviated(revision: &str, listed: &BTreeSet<&str>) -> String {
    if ObjectId::parse(revision.as_bytes()).is_none() {
        return revision.to_owned();
    }
    let before = listed.range::<&str, _>(..&revision).next_back();
    let after = listed
        .range::<&str, _>((Bound::Excluded(&revision), Bound::Unbounded))
        .next();
    let most = before
        .into_iter()
        .chain(after)
        .map(|other| {
            let digits = revision.bytes().zip(other.bytes());
            digits.take_while(|(one, other)| one == other).count()
        })
        .max();
    let length = most.map_or(LENGTH_MIN, |most| LENGTH_MIN.max(most + 1));
    revision.get(..length).unwrap_or(revision).to_owned()
}

/// Shortens the digests in a text, such as those in the detail of a check.
pub(crate) fn with_short_digests(text: &str) -> String {
    const PREFIX: &str = "sha256:";
    let mut parts = text.split(PREFIX);
    let mut shortened = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        shortened += PREFIX;
        shortened += match digits {
            64 => &part[..LENGTH_MIN],
            _ => &part[..digits],
        };
        shortened += &part[digits..];
    }
    shortened
}

/// Shortens the commit ids in a text, such as those in the titles of promotions.
pub(crate) fn with_short_ids(text: &str) -> String {
    let mut shortened = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (before, word) = rest.split_at(start);
        let end = word.find(|c: char| !c.is_ascii_alphanumeric());
        let (word, after) = word.split_at(end.unwrap_or(word.len()));
        shortened.push_str(before);
        shortened.push_str(match ObjectId::parse(word.as_bytes()) {
            Some(_) => &word[..LENGTH_MIN],
            None => word,
        });
        rest = after;
    }
    shortened + rest
}

/// The style of every page.
pub(super) const STYLE: &str = include_str!("history_page/page.css");
/// The script of every page.
pub(super) const SCRIPT: &str = include_str!("history_page/page.js");
/// The macro that answers the first questions of an operator, for every page.
const ANSWERS: &str = include_str!("history_page/answers.html.j2");

/// A template of a page or of a part of one.
pub(super) struct Template(Environment<'static>);

impl Template {
    pub(super) fn new(source: &'static str) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_formatter(write_escaped);
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?;
        environment.set_syntax(syntax);
        environment.add_template("answers", ANSWERS)?;
        environment.add_template("page", source)?;
        Ok(Self(environment))
    }

    /// Renders the template with the fields of `page` as its variables.
    pub(super) fn render<P: Serialize>(&self, page: &P) -> Result<String, Error> {
        let template = self.0.get_template("page")?;
        template.render(Value::from(Serde(page)))
    }
}

/// A text as a source of Content Security Policy (CSP Level 3, "hash-source").
pub(super) fn source_hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// Writes a value into the page; text that is not marked as safe is escaped.
fn write_escaped(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = match value.kind() {
        ValueKind::None => return Ok(()),
        _ if value.is_undefined() => return Err(Error::from(ErrorKind::UndefinedError)),
        _ if value.is_safe() => value.to_string(),
        _ => HtmlEscape(&plain(&value.to_string())).to_string(),
    };
    out.write_str(&text).map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["IMAGE".into(), "PINS".into(), "TO".into()],
            vec!["fix".into(), "12".into(), String::new()],
        ];
        assert_eq!(
            aligned(&[Align::Left, Align::Right, Align::Left], &rows),
            "IMAGE  PINS  TO\nfix      12\n"
        );
    }

    #[test]
    fn columns_use_display_width() {
        let rows = [
            vec!["表".into(), "a".into()],
            vec!["abc".into(), "b".into()],
            vec!["e\u{301}".into(), "c".into()],
        ];
        assert_eq!(
            aligned(&[Align::Right, Align::Left], &rows),
            " 表  a\nabc  b\n  e\u{301}  c\n"
        );
    }

    #[test]
    fn long_words_get_their_own_line() {
        let text = "a b 123456789012 c d e f";
        assert_eq!(wrapped(text, 7), ["a b", "123456789012", "c d e f"]);
        assert_eq!(wrapped("表表 表表", 8), ["表表", "表表"]);
        assert_eq!(wrapped("a  b", 4), ["a  b"]);
        assert_eq!(wrapped("", 1), [""]);
    }

    #[test]
    fn long_words_are_indented_less() {
        assert_eq!(
            indented("a b 123456 c 1234567890", 4, 8),
            ["    a b", "  123456", "    c", "1234567890"]
        );
        assert_eq!(indented("a b", 4, 2), [" a", " b"]);
        assert_eq!(indented_words(["(a", "b c)"], 1, 5), [" (a", " b c)"]);
        assert_eq!(indented("a b", 4, usize::MAX), ["    a b"]);
    }

    #[test]
    fn each_line_is_colored() {
        let text = "a\n\nb";
        let painted = "\u{1b}[33ma\u{1b}[0m\n\n\u{1b}[33mb\u{1b}[0m";
        assert_eq!(Palette::Colored.paint(Color::Yellow, text), painted);
        assert_eq!(Palette::Colored.paint(None, text), text);
        assert_eq!(Palette::Plain.paint(Color::Yellow, text), text);
    }

    #[test]
    fn ages_use_the_most_precise_unit() {
        let now = date::parse("2026-11-21T09:00:00Z").unwrap();
        for (date, age) in [
            ("2026-11-21T08:59:01Z", "just now"),
            ("2026-11-21T08:57:00Z", "3 minutes ago"),
            ("2026-11-21T07:01:00Z", "119 minutes ago"),
            ("2026-11-20T10:00:00+01:00", "24 hours ago"),
            ("2026-11-19T09:00:00Z", "2 days ago"),
            ("2026-09-22T09:00:00Z", "2 months ago"),
            ("2024-11-21T09:00:00Z", "2 years ago"),
            (
                "2026-11-21T09:00:01Z",
                "in the future, by this machine's clock",
            ),
        ] {
            assert_eq!(ago(date, now).as_deref(), Some(age), "{date}");
        }
        assert_eq!(ago("yesterday", now), None);
        assert_eq!(
            between("2026-11-21T09:00:00Z", "2026-11-21T08:00:00Z"),
            None
        );
        assert_eq!(
            between("2026-11-18T08:00:00Z", "2026-11-21T09:00:00+01:00").as_deref(),
            Some("3 days")
        );
        for (to, passed) in [
            ("09:00:59Z", "less than a minute"),
            ("09:01:00Z", "1 minute"),
        ] {
            let to = format!("2026-11-21T{to}");
            assert_eq!(
                between("2026-11-21T09:00:00Z", &to).as_deref(),
                Some(passed)
            );
        }
    }

    #[test]
    fn dates_are_shown_in_the_zone_of_the_reader() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (date, shown) in [
            ("2026-11-20T14:02:11Z", "2026-11-20 15:02+01:00"),
            ("2026-11-20T23:30:00-01:00", "2026-11-21 01:30+01:00"),
            ("2026-07-20T14:02:11Z", "2026-07-20 16:02+02:00"),
            ("no\u{1b}", "no\\u{1b}"),
        ] {
            assert_eq!(local(date, &zone), shown);
        }
        let text =
            "before 2026-11-20 14:02Z (2026-11-20T14:02:11.5+01:00), 2026-11-20, 2026-99-20 14:02Z";
        assert_eq!(
            with_local_times(text, &zone),
            "before 2026-11-20 15:02+01:00 (2026-11-20 14:02+01:00), 2026-11-20, 2026-99-20 14:02Z"
        );
        for (zone, shown) in [
            (zone, "2026-07-20 16:02:11+02:00"),
            (TimeZone::UTC, "2026-07-20 14:02:11Z"),
        ] {
            assert_eq!(local("2026-07-20 14:02:11Z", &zone), shown);
        }
        let date = "2026-11-20T14:02:11+01:00";
        assert_eq!(local(date, &TimeZone::UTC), "2026-11-20 13:02Z");
    }

    #[test]
    fn digests_in_a_text_are_shortened() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(
            with_short_digests(&format!("x@{digest}, {digest}: sha256:0a1")),
            "x@sha256:0a0a0a0a0a0a, sha256:0a0a0a0a0a0a: sha256:0a1"
        );
        assert_eq!(with_short_digests("none"), "none");
    }

    #[test]
    fn abbreviations_are_unique() {
        let near = format!("{}{}", "a".repeat(20), "b".repeat(20));
        let far = format!("c{}", "a".repeat(39));
        let full = "a".repeat(40);
        let listed = BTreeSet::from([full.as_str(), &near, &far, "v1.20.3-candidate"]);
        let short = |revision: &str| abbreviated(revision, &listed);
        assert_eq!(short(&full), full[..21]);
        assert_eq!(short(&near), near[..21]);
        assert_eq!(short(&far), far[..LENGTH_MIN]);
        assert_eq!(short("v1.20.3-candidate"), "v1.20.3-candidate");
    }

    #[test]
    fn only_commit_ids_are_shortened() {
        let [id, long] = ["a".repeat(40), "a".repeat(41)];
        let text = format!("promote: é @{id} ({id}), {long} #1");
        let expected = format!("promote: é @aaaaaaaaaaaa (aaaaaaaaaaaa), {long} #1");
        assert_eq!(with_short_ids(&text), expected);
        assert_eq!(with_short_ids(&id), id[..LENGTH_MIN]);
        assert_eq!(with_short_ids(""), "");
    }
}
