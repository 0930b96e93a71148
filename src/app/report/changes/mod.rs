//! The differences of two sets as text: phrases that the body of a pull request and the terminal share.

pub(crate) mod markdown;
pub(crate) mod page;
pub(crate) mod terminal;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    mem,
};

use crate::{
    base::{
        text::{counted, few, is_hex, size},
        untrusted::{self, plain, short as short_text, width},
    },
    contents::{ContentsDifference, PackageDifference},
    core::changes::{
        BaseChange, Changes, CommitList, Difference, DifferenceKind, ImageChanges, ListedCommit,
        NotRead, PlatformDifference, SetState, SourceChanges, shortened,
    },
};

/// The maximum number of commits in each list.
const MAX_COMMITS: usize = 20;
/// The maximum number of names in a list; further ones are counted.
const MAX_NAMES: usize = 20;
/// The number of digits of a shortened commit.
const DIGITS: usize = 7;

/// The number of digits of a shortened digest.
const DIGEST_DIGITS: usize = 12;

/// Escapes external text for its reader.
type Escape = fn(&str) -> String;

/// The form of external text: escaped, and at most 120 characters of it.
#[derive(Clone, Copy)]
struct Style {
    escape: Escape,
    /// Escapes a name of the image's contents.
    name: Escape,
    /// The maximum width of a word; longer ones are cut.
    columns: usize,
}

impl Style {
    const PLAIN: Self = Self {
        escape: plain,
        name: plain,
        columns: usize::MAX,
    };
    const MARKDOWN: Self = Self {
        escape: untrusted::markdown::inline,
        name: untrusted::markdown::code,
        columns: usize::MAX,
    };

    fn text(self, text: &str) -> String {
        fitted(&(self.escape)(&shortened(text)), self.columns)
    }

    fn name(self, text: &str) -> String {
        fitted(&(self.name)(&shortened(text)), self.columns)
    }

    /// Two different values, from their first difference if they would look alike.
    fn pair(self, from: &str, to: &str) -> [String; 2] {
        let texts = [from, to].map(|text| self.text(text));
        if texts[0] != texts[1] || from == to {
            return texts;
        }
        let pairs = from.chars().zip(to.chars());
        let same = pairs.take_while(|(from, to)| from == to);
        let start = same.map(|(c, _)| c.len_utf8()).sum();
        [from, to].map(|text| format!("…{}", self.text(&text[start..])))
    }
}

/// A text whose words have at most `columns` columns.
fn fitted(text: &str, columns: usize) -> String {
    let words = text.split(' ').map(|word| {
        if width(word) > columns {
            short_text(word, columns - 1)
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The platforms of an image that differ in the same way, except for their sizes.
struct Row<'c> {
    platforms: Vec<&'c str>,
    sizes: String,
    content: &'c PlatformDifference,
}

fn rows(image: &ImageChanges) -> Vec<Row<'_>> {
    let mut groups: Vec<Vec<&Difference>> = Vec::new();
    for difference in &image.differences {
        let mut known = groups.iter_mut();
        match known.find(|group| group[0].content == difference.content) {
            Some(group) => group.push(difference),
            None => groups.push(vec![difference]),
        }
    }
    let rows = groups.into_iter().map(|group| Row {
        platforms: group
            .iter()
            .flat_map(|difference| &difference.platforms)
            .map(String::as_str)
            .collect(),
        sizes: sizes(&group),
        content: &group[0].content,
    });
    rows.collect()
}

/// The rows with their details. The details that all platforms share are in the first row.
fn detailed_rows(image: &ImageChanges, style: Style) -> Vec<(Row<'_>, Vec<String>)> {
    let mut common = image_details(image, style);
    let rows = rows(image).into_iter().map(|row| {
        let mut all = mem::take(&mut common);
        all.extend(details(row.content, style));
        (row, all)
    });
    rows.collect()
}

/// The state of an image without rows; `None` if it was changed.
fn state_word(image: &ImageChanges) -> Option<&'static str> {
    match (&image.from, &image.to) {
        (None, Some(_)) => Some("new"),
        (Some(_), None) => Some("removed"),
        (from, to) => (from == to).then_some("unchanged"),
    }
}

/// The sizes before and after, and their difference; ranges if they vary.
fn sizes(group: &[&Difference]) -> String {
    let range = |values: Vec<i128>, text: fn(i128) -> String| {
        let (least, most) = (values.iter().min(), values.iter().max());
        let (least, most) = (least.copied().unwrap_or(0), most.copied().unwrap_or(0));
        if least == most {
            text(least)
        } else {
            format!("{} to {}", text(least), text(most))
        }
    };
    let of =
        |value: fn(&Difference) -> i128| group.iter().map(|difference| value(difference)).collect();
    let from = range(of(|difference| difference.size.from.into()), size);
    let to = range(of(|difference| difference.size.to.into()), size);
    if group
        .iter()
        .all(|difference| difference.size.from == difference.size.to)
    {
        return to;
    }
    let growth =
        |difference: &Difference| i128::from(difference.size.to) - i128::from(difference.size.from);
    format!("{from} → {to} ({})", range(of(growth), signed))
}

fn signed(bytes: i128) -> String {
    match bytes {
        0 => "±0 B".to_owned(),
        1.. => format!("+{}", size(bytes)),
        _ => format!("−{}", size(-bytes)),
    }
}

fn layers(content: &PlatformDifference) -> String {
    format!("{} of {} shared", content.layers.shared, content.layers.to)
}

/// The changed parts of an image that its platforms share.
fn image_details(image: &ImageChanges, style: Style) -> Vec<String> {
    let mut details = Vec::new();
    let platforms = signs(
        &[
            ("+", &image.platforms.added),
            ("−", &image.platforms.removed),
        ],
        style,
    );
    if !platforms.is_empty() && image.from.is_some() && image.to.is_some() {
        details.push(format!("platforms {platforms}"));
    }
    if let Some(media_type) = &image.media_type {
        let [from, to] = style.pair(&media_type.from, &media_type.to);
        details.push(format!("media type {from} → {to}"));
    }
    details
}

/// The changed parts of the configuration.
fn details(content: &PlatformDifference, style: Style) -> Vec<String> {
    let mut details = Vec::new();
    for change in &content.configuration {
        let [from, to] = [&change.from, &change.to]
            .map(|field| Some(field.text()).filter(|text| !text.is_empty()));
        let [from, to] = values(from.as_deref(), to.as_deref(), style);
        let field = change.field.replace('_', " ");
        details.push(format!("{field} {from} → {to}"));
    }
    let environment = &content.environment;
    let names = signs(
        &[
            ("+", &environment.added),
            ("−", &environment.removed),
            ("~", &environment.changed),
        ],
        style,
    );
    if !names.is_empty() {
        details.push(format!("env {names}"));
    }
    let (mut added, mut removed, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for label in &content.labels {
        if label.from.is_some() || label.to.is_some() {
            let [from, to] = values(label.from.as_deref(), label.to.as_deref(), style);
            let name = style.text(&label.name);
            details.push(format!("label {name} {from} → {to}"));
            continue;
        }
        let names = match label.change {
            DifferenceKind::Added => &mut added,
            DifferenceKind::Removed => &mut removed,
            DifferenceKind::Changed => &mut changed,
        };
        names.push(label.name.clone());
    }
    let names = signs(&[("+", &added), ("−", &removed), ("~", &changed)], style);
    if !names.is_empty() {
        details.push(format!("labels {names}"));
    }
    if let Some(base) = &content.base {
        details.push(format!("base {}", base_text(base, style)));
    }
    details
}

/// The changed contents of an image: at most `max` packages, the names of inventory kinds and the privileged
/// files.
fn contents(difference: &ContentsDifference, max: usize, style: Style) -> String {
    if difference.is_empty() {
        let compared = difference.compared;
        let parts = match (compared.packages, compared.kinds) {
            (true, true) => "packages, inventory names and privileged files",
            (true, false) => "packages and privileged files",
            (false, true) => "inventory names and privileged files",
            (false, false) => "privileged files",
        };
        return format!("same {parts}");
    }
    let mut parts = Vec::new();
    let packages = packages(difference, max, style);
    if !packages.is_empty() {
        parts.push(packages);
    }
    for kind in &difference.kinds {
        let names = [("+", &kind.added), ("−", &kind.removed)];
        let names = signed_names(&names, style, |name| style.name(name));
        parts.push(format!("{} {names}", style.text(&kind.kind)));
    }
    let files = difference.files.iter().map(|file| {
        let properties = |properties: &BTreeSet<String>| {
            let names: Vec<_> = properties.iter().map(|name| style.text(name)).collect();
            names.join(" ")
        };
        let path = style.name(&file.path);
        match (file.from.is_empty(), file.to.is_empty()) {
            (true, _) => format!("+{path} ({})", properties(&file.to)),
            (_, true) => format!("−{path} ({})", properties(&file.from)),
            _ => format!(
                "{path} ({} → {})",
                properties(&file.from),
                properties(&file.to)
            ),
        }
    });
    if !difference.files.is_empty() {
        parts.push(format!("privileged files {}", few(files, MAX_NAMES)));
    }
    parts.join("; ")
}

/// The changed packages with their versions, then the numbers of added and removed ones with the first names.
fn packages(difference: &ContentsDifference, max: usize, style: Style) -> String {
    let packages = &difference.packages;
    let mut types: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &packages.list {
        types
            .entry(&package.name)
            .or_default()
            .insert(&package.r#type);
    }
    let listed = |package: &&PackageDifference| {
        let mut name = style.text(&package.name);
        if types[package.name.as_str()].len() > 1 {
            let _ = write!(name, " ({})", style.text(&package.r#type));
        }
        match (&package.from, &package.to) {
            (Some(from), Some(to)) => {
                let [from, to] = style.pair(from, to);
                format!("{name} {from} → {to}")
            }
            (from, to) => {
                let version = from.as_deref().or(to.as_deref()).unwrap_or_default();
                format!("{name} {}", style.text(version))
            }
        }
    };
    let list: Vec<_> = packages.list.iter().take(max).collect();
    let (changed, others): (Vec<_>, Vec<_>) = list
        .into_iter()
        .partition(|package| package.from.is_some() && package.to.is_some());
    let mut parts: Vec<_> = changed.iter().map(listed).collect();
    if packages.changed > changed.len() {
        parts.push(format!(
            "… {} more changed",
            packages.changed - changed.len()
        ));
    }
    let mut has_noun = false;
    for (sign, count, is_added) in [("+", packages.added, true), ("−", packages.removed, false)] {
        if count == 0 {
            continue;
        }
        let mut part = format!("{sign}{count}");
        if !has_noun {
            part = format!("{sign}{}", counted(count, "package"));
            has_noun = true;
        }
        let names: Vec<_> = others
            .iter()
            .filter(|package| package.to.is_some() == is_added)
            .map(listed)
            .collect();
        if !names.is_empty() {
            let more = if names.len() < count { ", …" } else { "" };
            let _ = write!(part, " ({}{more})", names.join(", "));
        }
        parts.push(part);
    }
    parts.join(", ")
}

/// The base images: the name once if only the digest differs.
fn base_text(base: &BaseChange, style: Style) -> String {
    let (from, to) = (base.from.as_ref(), base.to.as_ref());
    let digests = [from, to].map(|base| base.map(|base| short_digest(&base.digest)));
    let digests = match (&digests, from, to) {
        ([Some(old), Some(new)], Some(from), Some(to)) if old == new => {
            [from, to].map(|base| Some(base.digest.as_str()))
        }
        ([old, new], ..) => [old.as_deref(), new.as_deref()],
    };
    let [old, new] = values(digests[0], digests[1], style);
    let names = [from, to].map(|base| base.map(|base| base.name.as_str()));
    let [from, to] = values(names[0], names[1], style);
    match names {
        [Some(first), Some(second)] if first == second => format!("{from} {old} → {new}"),
        [Some(_), Some(_)] => format!("{from} {old} → {to} {new}"),
        [Some(_), None] => format!("{from} {old} → {to}"),
        [None, _] => format!("{from} → {to} {new}"),
    }
}

/// The first digits of a digest; another text remains complete.
fn short_digest(digest: &str) -> String {
    match digest.split_once(':') {
        Some((algorithm, digits)) if is_hex(digits.as_bytes()) => {
            let digits = digits.get(..DIGEST_DIGITS).unwrap_or(digits);
            format!("{algorithm}:{digits}")
        }
        _ => digest.to_owned(),
    }
}

/// Two values, of which each may be absent.
fn values(from: Option<&str>, to: Option<&str>, style: Style) -> [String; 2] {
    if let (Some(from), Some(to)) = (from, to)
        && !from.is_empty()
        && !to.is_empty()
    {
        return style.pair(from, to);
    }
    [from, to].map(|text| match text {
        None => "(none)".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => style.text(text),
    })
}

fn signs(lists: &[(&str, &Vec<String>)], style: Style) -> String {
    signed_names(lists, style, |name| style.text(name))
}

/// The names of each list with its sign before them.
fn signed_names(
    lists: &[(&str, &Vec<String>)],
    style: Style,
    shown: impl Fn(&str) -> String,
) -> String {
    let mut texts = Vec::new();
    for (sign, names) in lists {
        if !names.is_empty() {
            // The sign of a changed name would strike text through in Markdown.
            let sign = if *sign == "~" {
                (style.escape)(sign)
            } else {
                (*sign).to_owned()
            };
            let names = names.iter().map(|name| match name.as_str() {
                "" => format!("{sign}(empty)"),
                name => format!("{sign}{}", shown(name)),
            });
            texts.push(few(names, MAX_NAMES));
        }
    }
    texts.join(", ")
}

/// The subject of a commit, not escaped.
fn subject(commit: &ListedCommit) -> &str {
    match commit.subject.as_str() {
        "" => "(no subject)",
        subject => subject,
    }
}

/// A shortened commit; another revision remains complete.
fn short(revision: &str) -> &str {
    if revision.len() >= 40 && is_hex(revision.as_bytes()) {
        &revision[..DIGITS]
    } else {
        revision
    }
}

/// The two revisions, as `join` joins them, unless the previous one is unknown.
fn range(changes: &Changes, escape: Escape, join: impl Fn(&str, &str) -> String) -> String {
    let name = |set: &SetState| match &set.revision {
        Some(revision) => escape(short(revision)),
        None => "unknown".to_owned(),
    };
    let to = name(&changes.to);
    if changes.from.revision.is_none() {
        return format!("previous revision unknown, new revision {to}");
    }
    join(&name(&changes.from), &to)
}

/// The commits that a list contains, and the number of further ones.
fn listed(commits: &CommitList) -> (&[ListedCommit], u64) {
    let listed = &commits.commits[..commits.commits.len().min(MAX_COMMITS)];
    (listed, commits.count.saturating_sub(listed.len() as u64))
}

/// The numbers of commits: those that are added, or also those that are taken away.
fn counts(source: &SourceChanges) -> Option<String> {
    let (added, removed) = (source.added.as_ref()?, source.removed.as_ref());
    if let Some(removed) = removed.filter(|_| source.descendant == Some(false)) {
        let taken = if removed.count == 1 { "is" } else { "are" };
        let are = if added.count == 1 { "is" } else { "are" };
        return Some(format!(
            "not a descendant: {} {taken} taken away, {} {are} added",
            commits(removed.count),
            added.count
        ));
    }
    let authors = added.authors.filter(|_| added.count > 0);
    let authors = authors.map_or_else(String::new, |authors| {
        format!(" by {}", counted(authors, "author"))
    });
    Some(format!("{}{authors}", commits(added.count)))
}

fn commits(count: u64) -> String {
    counted(usize::try_from(count).unwrap_or(usize::MAX), "commit")
}

fn not_read(entry: &NotRead, escape: Escape) -> String {
    let subject = [&entry.image, &entry.platform].into_iter().flatten();
    let subject: Vec<_> = subject.map(|text| escape(text)).collect();
    let mut text = format!("{} not read", entry.part.as_str());
    if !subject.is_empty() {
        text = format!("{} {} not read", entry.part.as_str(), subject.join(" "));
    }
    format!("{text}: {}", escape(&entry.reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_of_sizes_are_signed() {
        assert_eq!([-2048, 0, 2048].map(signed), ["−2 KiB", "±0 B", "+2 KiB"]);
    }
}
