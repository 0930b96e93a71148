//! The differences of two sets as text: phrases that the body of a pull request and the terminal share.

pub(crate) mod markdown;
pub(crate) mod page;
pub(crate) mod terminal;

use std::{collections::BTreeSet, fmt::Write as _, mem};

use crate::{
    changes::{
        BaseImage, Change, Changes, CommitList, Difference, ImageChanges, ListedCommit, NotRead,
        PlatformDifference, SetState, SourceChanges, shortened,
    },
    contents::{ContentsDifference, PackageDifference},
    oci::is_hex,
    text::{counted, few},
};

/// The maximum number of commits in each list.
const MAX_COMMITS: usize = 20;
/// The maximum number of names in a list; further ones are counted.
const MAX_NAMES: usize = 20;
/// The number of digits of a shortened commit.
const DIGITS: usize = 7;

/// Escapes external text for its reader.
type Escape = fn(&str) -> String;

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
fn detailed_rows(image: &ImageChanges, escape: Escape) -> Vec<(Row<'_>, Vec<String>)> {
    let mut common = image_details(image, escape);
    let rows = rows(image).into_iter().map(|row| {
        let mut all = mem::take(&mut common);
        all.extend(details(row.content, escape));
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
    let from = range(of(|difference| difference.size.from.into()), amount);
    let to = range(of(|difference| difference.size.to.into()), amount);
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

/// A number of bytes with at most one decimal.
fn amount(bytes: i128) -> String {
    const UNITS: [(&str, i128); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, size) in UNITS {
        if bytes >= size && unit == "KiB" {
            return format!("{} KiB", (bytes + size / 2) / size);
        }
        if bytes >= size {
            let tenths = (bytes * 10 + size / 2) / size;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

fn signed(bytes: i128) -> String {
    match bytes {
        0 => "±0 B".to_owned(),
        1.. => format!("+{}", amount(bytes)),
        _ => format!("−{}", amount(-bytes)),
    }
}

fn layers(content: &PlatformDifference) -> String {
    format!("{} of {} shared", content.layers.shared, content.layers.to)
}

/// The changed parts of an image that its platforms share.
fn image_details(image: &ImageChanges, escape: Escape) -> Vec<String> {
    let mut details = Vec::new();
    let platforms = signs(
        &[
            ("+", &image.platforms.added),
            ("−", &image.platforms.removed),
        ],
        escape,
    );
    if !platforms.is_empty() && image.from.is_some() && image.to.is_some() {
        details.push(format!("platforms {platforms}"));
    }
    if let Some(media_type) = &image.media_type {
        let [from, to] = [&media_type.from, &media_type.to].map(|text| value(text, escape));
        details.push(format!("media type {from} → {to}"));
    }
    details
}

/// The changed parts of the configuration.
fn details(content: &PlatformDifference, escape: Escape) -> Vec<String> {
    let mut details = Vec::new();
    for change in &content.configuration {
        let [from, to] = [&change.from, &change.to].map(|field| value(&field.text(), escape));
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
        escape,
    );
    if !names.is_empty() {
        details.push(format!("env {names}"));
    }
    let (mut added, mut removed, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for label in &content.labels {
        if label.from.is_some() || label.to.is_some() {
            let [from, to] = [&label.from, &label.to]
                .map(|text| value(text.as_deref().unwrap_or_default(), escape));
            let name = escape(&shortened(&label.name));
            details.push(format!("label {name} {from} → {to}"));
            continue;
        }
        let names = match label.change {
            Change::Added => &mut added,
            Change::Removed => &mut removed,
            Change::Changed => &mut changed,
        };
        names.push(label.name.clone());
    }
    let names = signs(&[("+", &added), ("−", &removed), ("~", &changed)], escape);
    if !names.is_empty() {
        details.push(format!("labels {names}"));
    }
    if let Some(base) = &content.base {
        let [from, to] = [&base.from, &base.to].map(|base| base_text(base.as_ref(), escape));
        details.push(format!("base {from} → {to}"));
    }
    details
}

/// The changed contents of an image: at most `max` packages, the names of inventory kinds and the privileged
/// files.
fn contents(difference: &ContentsDifference, max: usize, escape: Escape, name: Escape) -> String {
    if difference.is_empty() {
        return "same packages, inventory names and privileged files".to_owned();
    }
    let mut parts = Vec::new();
    let packages = packages(difference, max, escape);
    if !packages.is_empty() {
        parts.push(packages);
    }
    for kind in &difference.kinds {
        let names = signs(&[("+", &kind.added), ("−", &kind.removed)], name);
        parts.push(format!("{} {names}", escape(&shortened(&kind.kind))));
    }
    let files = difference.files.iter().map(|file| {
        let properties = |properties: &BTreeSet<String>| {
            let names: Vec<_> = properties
                .iter()
                .map(|name| escape(&shortened(name)))
                .collect();
            names.join(" ")
        };
        let path = name(&shortened(&file.path));
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
fn packages(difference: &ContentsDifference, max: usize, escape: Escape) -> String {
    let packages = &difference.packages;
    let listed = |package: &&PackageDifference| {
        let text = |text: &str| escape(&shortened(text));
        let name = text(&package.name);
        match (&package.from, &package.to) {
            (Some(from), Some(to)) => format!("{name} {} → {}", text(from), text(to)),
            (from, to) => {
                let version = from.as_deref().or(to.as_deref()).unwrap_or_default();
                format!("{name} {}", text(version))
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

fn base_text(base: Option<&BaseImage>, escape: Escape) -> String {
    base.map_or_else(
        || "(none)".to_owned(),
        |base| {
            escape(&format!(
                "{}@{}",
                shortened(&base.name),
                shortened(&base.digest)
            ))
        },
    )
}

fn value(text: &str, escape: Escape) -> String {
    if text.is_empty() {
        return "(none)".to_owned();
    }
    escape(&shortened(text))
}

/// The names of each list with its sign before them.
fn signs(lists: &[(&str, &Vec<String>)], escape: Escape) -> String {
    let mut texts = Vec::new();
    for (sign, names) in lists {
        if !names.is_empty() {
            // The sign of a changed name would strike text through in Markdown.
            let sign = if *sign == "~" {
                escape(sign)
            } else {
                (*sign).to_owned()
            };
            let names = names
                .iter()
                .map(|name| format!("{sign}{}", escape(&shortened(name))));
            texts.push(few(names, MAX_NAMES));
        }
    }
    texts.join(", ")
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
    fn amounts_have_at_most_one_decimal() {
        let texts = [0, 1023, 12 * 1024, 1 << 20, 222_717_542, 3 << 30].map(amount);
        assert_eq!(
            texts,
            ["0 B", "1023 B", "12 KiB", "1.0 MiB", "212.4 MiB", "3.0 GiB"]
        );
        assert_eq!([-2048, 0, 2048].map(signed), ["−2 KiB", "±0 B", "+2 KiB"]);
    }
}
