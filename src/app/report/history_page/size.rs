//! Keeps the page small: each set is listed, and the details of the newest ones are added while they fit.

use minijinja::Error;
use serde::Serialize;

use super::SetOfPage;
use crate::app::report::layout::Template;

/// The maximum size of the page, in bytes, unless its list without details is larger. A page of this size opens
/// quickly on a phone.
pub(super) const MAX_PAGE: usize = 150 * 1024;
/// The size of the note about omitted details, in bytes.
const NOTE: usize = 512;
/// The newest sets, which an operator compares with the current one, have their diffs before older ones have their
/// images; but not with more than a third of the page.
const RECENT: usize = 10;
const MAX_RECENT: usize = MAX_PAGE / 3;

const TEMPLATE: &str = include_str!("set.html.j2");

/// The parts of a set that the page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Detail {
    /// The set, its state, its commit and its fate.
    Row,
    /// Its images and the command that rolls back to it, too.
    Images,
    /// Everything.
    Full,
}

/// The variables of the template.
#[derive(Serialize)]
struct Variables<'s> {
    set: &'s SetOfPage,
    detail: Detail,
}

/// The numbers of entries with details, if some have none.
#[derive(Debug, Serialize)]
pub(super) struct Reduced {
    total: usize,
    with_images: usize,
    with_diff: usize,
}

/// The sets of a page as markup.
pub(super) struct Rendered<'s> {
    template: Template,
    sets: &'s [SetOfPage],
    texts: Vec<String>,
    details: Vec<Detail>,
    size: usize,
}

impl<'s> Rendered<'s> {
    /// Renders every set. `rest`: the size of the rest of the page.
    pub(super) fn new(sets: &'s [SetOfPage], rest: usize) -> Result<Self, Error> {
        let mut rendered = Self {
            template: Template::new(TEMPLATE)?,
            sets,
            texts: vec![String::new(); sets.len()],
            details: vec![Detail::Row; sets.len()],
            size: rest + NOTE,
        };
        for index in 0..sets.len() {
            rendered.replace(index, Detail::Row, usize::MAX)?;
        }
        if let Some(current) = sets.iter().position(|set| set.current) {
            rendered.replace(current, Detail::Full, usize::MAX)?;
        }
        // The changes were requested, and are only in the full form.
        let has_changes = sets.iter().any(|set| set.changes.is_some());
        if has_changes {
            rendered.add(Detail::Full, sets.len(), usize::MAX)?;
            return Ok(rendered);
        }
        let recent = MAX_PAGE.min(rendered.size + MAX_RECENT);
        rendered.add(Detail::Full, RECENT.min(sets.len()), recent)?;
        rendered.add(Detail::Images, sets.len(), MAX_PAGE)?;
        rendered.add(Detail::Full, sets.len(), MAX_PAGE)?;
        Ok(rendered)
    }

    /// Adds details to the first `count` sets, newest first, until one does not fit.
    fn add(&mut self, detail: Detail, count: usize, limit: usize) -> Result<(), Error> {
        for index in 0..count {
            if self.details[index] < detail && !self.replace(index, detail, limit)? {
                break;
            }
        }
        Ok(())
    }

    /// Renders a set again, and reports whether it fits.
    fn replace(&mut self, index: usize, detail: Detail, limit: usize) -> Result<bool, Error> {
        let set = &self.sets[index];
        let text = self.template.render(&Variables { set, detail })?;
        let size = self.size - self.texts[index].len() + text.len();
        if size > limit {
            return Ok(false);
        }
        self.size = size;
        self.texts[index] = text;
        self.details[index] = detail;
        Ok(true)
    }

    pub(super) fn reduced(&self) -> Option<Reduced> {
        let count = |least| (self.details.iter().filter(|detail| **detail >= least)).count();
        let reduced = Reduced {
            total: self.sets.len(),
            with_images: count(Detail::Images),
            with_diff: count(Detail::Full),
        };
        (reduced.with_diff < reduced.total).then_some(reduced)
    }

    pub(super) fn into_texts(self) -> Vec<String> {
        self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::report::history_page::{DiffRun, ImageOfSet};

    /// Sets with four images, a diff of this size, and texts of the maximum length.
    fn sets(count: usize, diff: usize) -> Vec<SetOfPage> {
        let set = |number: usize| {
            let commit = format!("{number:040x}");
            let image = |name: usize| ImageOfSet {
                name: format!("image-{name}"),
                repository: "ghcr.io/acme/image".to_owned(),
                digest: Some(format!("sha256:{number:064x}")),
                was: Some(format!("sha256:{name:064x}")),
                versions: vec!["v1.4.2".to_owned()],
            };
            SetOfPage {
                id: format!("set-{}", &commit[..10]),
                kind: "promote",
                revision: Some(commit.clone()),
                short_revision: commit[..12].to_owned(),
                short_commit: commit[..10].to_owned(),
                commit_url: Some(format!("https://github.com/acme/flows/commit/{commit}")),
                commit,
                date: "2026-11-20 14:02+01:00".to_owned(),
                live: Some("3 days".to_owned()),
                author: "Ann Example".to_owned(),
                subject: None,
                pull_request: Some(1234),
                pull_request_url: Some("https://github.com/acme/flows/pull/1234".to_owned()),
                current: number == 0,
                badge: None,
                rollback: Some("repin rollback --to REVISION".to_owned()),
                undone_by: None,
                back_to: None,
                unreadable: None,
                images: (0..4).map(image).collect(),
                pinned_files: None,
                changes: None,
                diff: Some(vec![DiffRun {
                    old: false,
                    new: true,
                    lines: vec!["/".repeat(diff)],
                }]),
                files: "1 file".to_owned(),
                without_diff: None,
            }
        };
        (0..count).map(set).collect()
    }

    #[test]
    fn short_history_has_every_detail() {
        let sets = sets(5, 100);
        let rendered = Rendered::new(&sets, 20_000).unwrap();
        assert!(rendered.reduced().is_none());
        assert!(
            rendered
                .details
                .iter()
                .all(|detail| *detail == Detail::Full)
        );
    }

    #[test]
    fn long_history_keeps_its_list_and_newest_details() {
        let sets = sets(200, 300);
        let rendered = Rendered::new(&sets, 20_000).unwrap();
        let reduced = rendered.reduced().unwrap();
        assert_eq!((reduced.total, reduced.with_diff), (200, RECENT));
        assert!(
            (RECENT + 1..200).contains(&reduced.with_images),
            "{reduced:?}"
        );
        assert!(rendered.details.is_sorted_by(|newer, older| newer >= older));
        let size = rendered.size;
        let texts = rendered.into_texts();
        assert_eq!(size, 20_000 + NOTE + texts.concat().len());
        assert!(size <= MAX_PAGE, "{size}");
        for (set, text) in sets.iter().zip(&texts) {
            assert!(text.contains(&set.short_commit), "{text}");
        }
    }

    #[test]
    fn current_set_has_every_detail_on_a_full_page() {
        let sets = sets(2, 40_000);
        let rendered = Rendered::new(&sets, MAX_PAGE).unwrap();
        assert_eq!(rendered.details, [Detail::Full, Detail::Row]);
    }
}
