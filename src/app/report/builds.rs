//! The table of builds.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use super::{
    json::BuildRow,
    layout::{Align, abbreviated, aligned, local, wrapped},
};
use crate::base::untrusted::{padded, plain, width};

const COLUMNS: [&str; 4] = ["BUILD", "CREATED", "IMAGES", "STATE"];
/// The minimum width of the last column, which is wrapped on a narrow terminal.
const MIN_STATE_WIDTH: usize = 20;

/// The table; `columns` is the width of the terminal. `in_full`: revisions are not abbreviated.
pub(crate) fn table(
    builds: &[BuildRow],
    in_full: bool,
    columns: Option<usize>,
    zone: &TimeZone,
) -> String {
    let listed: BTreeSet<&str> = builds.iter().map(|build| &*build.revision).collect();
    let [build, created, images, state] = COLUMNS.map(str::to_owned);
    let (mut rows, mut states) = (vec![vec![build, created, images]], vec![vec![state]]);
    for build in builds {
        let revision = if in_full {
            build.revision.clone()
        } else {
            abbreviated(&build.revision, &listed)
        };
        rows.push(vec![
            plain(&revision),
            build
                .created
                .as_deref()
                .map_or_else(|| "-".to_owned(), |date| local(date, zone)),
            count(build),
        ]);
        states.push(
            [state_text(build, zone)]
                .into_iter()
                .chain(protection(build))
                .collect(),
        );
    }
    let table = aligned(&[Align::Left; 3], &rows);
    let indent = table.lines().map(width).max().unwrap_or_default() + 2;
    let columns = columns.unwrap_or(usize::MAX);
    let mut text = String::new();
    for (line, state) in table.lines().zip(states) {
        let is_narrow = columns < indent + MIN_STATE_WIDTH;
        let (first, indent) = if is_narrow {
            (format!("{line}\n  "), 2)
        } else {
            (format!("{line}{}", padded(line, indent)), indent)
        };
        let mut lines = Vec::new();
        for part in state {
            lines.extend(wrapped(&part, columns.saturating_sub(indent)));
        }
        text += &first;
        text += &lines.join(&format!("\n{}", " ".repeat(indent)));
        text.push('\n');
    }
    text
}

/// The number of images that exist, of all.
fn count(build: &BuildRow) -> String {
    let existing = build.images.iter().filter(|image| image.digest.is_some());
    format!("{} of {}", existing.count(), build.images.len())
}

fn state_text(build: &BuildRow, zone: &TimeZone) -> String {
    let (state, detail) = (build.state, local(&build.detail, zone));
    match (state, detail.as_str()) {
        (_, "") => state.to_owned(),
        ("proposed", number) => format!("proposed in {number}"),
        (_, detail) => format!("{state}: {detail}"),
    }
}

/// The evidence that keeps the images of a build, a line for each that differs; empty without `--protected`.
fn protection(build: &BuildRow) -> Vec<String> {
    let mut reasons: Vec<(Option<&str>, Vec<String>)> = Vec::new();
    for image in &build.images {
        if image.protected.is_none() {
            continue;
        }
        let (reason, name) = (image.reason.as_deref(), format!("`{}`", image.name));
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, images)) => images.push(name),
            None => reasons.push((reason, vec![name])),
        }
    }
    let mut lines = Vec::new();
    for (reason, images) in &reasons {
        let phrase = match reason {
            Some(reason) => format!("protected: {reason}"),
            None => "not protected".to_owned(),
        };
        lines.push(match reasons.len() {
            1 => plain(&phrase),
            _ => plain(&format!("{} {phrase}", images.join(", "))),
        });
    }
    lines
}

/// The line about revisions that were not read; `None` if all were.
pub(crate) fn omission(left_out: usize, rule: &str) -> Option<String> {
    let revisions = match left_out {
        0 => return None,
        1 => "1 revision was".to_owned(),
        _ => format!("{left_out} revisions were"),
    };
    Some(format!("{revisions} not read; listed are {rule}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::report::json::BuildImageRow;

    fn build(revision: &str, missing: usize, state: &'static str, detail: &str) -> BuildRow {
        let images = (0..4).map(|index| BuildImageRow {
            name: format!("i{index}"),
            tag: revision.to_owned(),
            digest: (index >= missing).then(|| "sha256:0".to_owned()),
            protected: None,
            reason: None,
            place: None,
        });
        BuildRow {
            revision: revision.to_owned(),
            created: Some("2026-11-20T14:02:59Z".to_owned()),
            images: images.collect(),
            state,
            detail: detail.to_owned(),
            waiting: Vec::new(),
        }
    }

    #[test]
    fn each_build_is_one_row() {
        let held = "rolled back by commit c1d2e3f4a5 on 2026-11-20";
        let commit = "c93f5a17e08b".repeat(4)[..40].to_owned();
        let mut unknown = build("v1\u{1b}[31m", 4, "incomplete", "`a`, `b` are missing");
        unknown.created = None;
        let mut builds = [
            build(&commit, 0, "available", ""),
            build("1.4.2", 1, "held", held),
            build("1.4.1", 0, "proposed", "#7"),
            unknown,
        ];
        insta::assert_snapshot!(table(&builds, false, None, &TimeZone::UTC), @r"
        BUILD         CREATED            IMAGES  STATE
        c93f5a17e08b  2026-11-20 14:02Z  4 of 4  available
        1.4.2         2026-11-20 14:02Z  3 of 4  held: rolled back by commit c1d2e3f4a5 on 2026-11-20
        1.4.1         2026-11-20 14:02Z  4 of 4  proposed in #7
        v1\u{1b}[31m  -                  0 of 4  incomplete: `a`, `b` are missing
        ");
        let zone = TimeZone::posix("CET-1").unwrap();
        builds[1].detail = "rolled back by commit c1d2e3f4a5 on 2026-11-20 14:02Z".to_owned();
        let text = table(&builds, false, None, &zone);
        let held = "2026-11-20 15:02+01:00  3 of 4  held: rolled back by commit c1d2e3f4a5 on 2026-11-20 15:02+01:00\n";
        assert!(text.contains(held), "{text}");
        assert!(table(&builds, true, None, &TimeZone::UTC).contains(&format!("\n{commit}  2026")));
        for columns in [40, 80] {
            let text = table(&builds, false, Some(columns), &TimeZone::UTC);
            assert!(text.lines().all(|line| width(line) <= columns), "{text}");
            assert!(text.contains("c1d2e3f4a5"), "{text}");
        }
    }

    #[test]
    fn images_with_one_reason_share_it() {
        let mut build = build("1.4.2", 0, "older", "");
        assert_eq!(protection(&build), [] as [String; 0]);
        for image in &mut build.images {
            image.protected = Some(false);
        }
        assert_eq!(protection(&build), ["not protected"]);
        for image in &mut build.images[1..3] {
            (image.protected, image.reason) = (Some(true), Some("pinned at x".to_owned()));
        }
        assert_eq!(
            protection(&build),
            [
                "`i0`, `i3` not protected",
                "`i1`, `i2` protected: pinned at x"
            ]
        );
        insta::assert_snapshot!(table(&[build], false, Some(60), &TimeZone::UTC), @r"
        BUILD  CREATED            IMAGES  STATE
        1.4.2  2026-11-20 14:02Z  4 of 4  older
                                          `i0`, `i3` not protected
                                          `i1`, `i2` protected:
                                          pinned at x
        ");
    }

    #[test]
    fn omitted_revisions_are_counted() {
        assert_eq!(omission(0, "the last by name"), None);
        let line = omission(1, "the last by name").unwrap();
        assert_eq!(line, "1 revision was not read; listed are the last by name");
        assert!(
            omission(2, "")
                .unwrap()
                .starts_with("2 revisions were not read")
        );
    }
}
