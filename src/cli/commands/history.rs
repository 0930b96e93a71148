//! `repin history`: the sets in git history, newest first; which one is current, and which are
//! available for rollback.

use serde::Serialize;

use crate::{
    cli::{context::Context, exit::Exit, format::Format},
    error::Errors,
    history::{Entry, Kind},
    report::table::{Align, aligned},
    untrusted::plain,
    workflow::History,
};

/// `repin.history/1`.
#[derive(Serialize)]
struct Document<'e> {
    schema: &'static str,
    entries: Vec<&'e Entry>,
}

/// The content of the table's first column.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// `*` for the current set, `<` for those available for rollback.
    Marked,
    /// Numbers to choose from.
    Numbered,
}

pub(in crate::cli) fn run(limit: Option<usize>, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load()?;
    let gathered = History::read(&config, &cx.services);
    let history = gathered.known().map_err(|error| Errors::from(&error))?;
    let listed = history.listed();
    let entries: Vec<&Entry> = listed.iter().take(limit.unwrap_or(usize::MAX)).collect();
    for unreadable in &history.unreadable {
        cx.output.error_text(&format!(
            "warning: the set of commit {} is unknown: cannot read its configuration: {}\n",
            unreadable.commit.short(),
            plain(&unreadable.reason())
        ));
    }
    match cx.output.format {
        Format::Json => cx.output.json(&Document {
            schema: "repin.history/1",
            entries,
        }),
        Format::Human | Format::Github => {
            if entries.is_empty() {
                let branch = plain(&history.branch.name);
                cx.output.note(&if history.shallow {
                    format!("no fetched commit on {branch} changed the set")
                } else {
                    format!("no commit on {branch} pins an image of the set")
                });
            } else {
                cx.output.print(table(&entries, Shown::Marked));
                let legend = format!(
                    "{}: * is current, < is available for rollback",
                    plain(&history.branch.name)
                );
                cx.output.note(&legend);
            }
        }
    }
    if history.shallow {
        cx.output.error_text(
            "warning: this clone is shallow, so older sets are missing\n  = help: fetch them: git fetch --unshallow\n",
        );
    }
    Ok(Exit::Done)
}

/// Entries as an aligned table.
pub(super) fn table(entries: &[&Entry], shown: Shown) -> String {
    let heading = [
        "", "KIND", "REVISION", "COMMIT", "DATE", "DIGESTS", "SUBJECT",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut rows = vec![heading];
    for (at, entry) in entries.iter().enumerate() {
        let mark = match shown {
            Shown::Numbered => (at + 1).to_string(),
            Shown::Marked if entry.current => "*".to_owned(),
            Shown::Marked if entry.can_roll_back => "<".to_owned(),
            Shown::Marked => String::new(),
        };
        let kind = match entry.kind {
            _ if entry.unreadable.is_some() => "unreadable",
            Kind::Promote => "promote",
            Kind::Rollback => "rollback",
            Kind::Manual => "manual",
        };
        let digests = entry
            .images
            .iter()
            .map(|(name, digest)| format!("{name}={}", digest.short()));
        rows.push(vec![
            mark,
            kind.to_owned(),
            entry
                .revision
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
            entry.commit.short(),
            entry.date.clone(),
            digests.collect::<Vec<_>>().join(" "),
            plain(&entry.subject),
        ]);
    }
    aligned(&[Align::Left; 7], &rows)
}
