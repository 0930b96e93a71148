//! The differences of two sets as variables of the template of a page.

use serde::Serialize;

use super::{
    Style, counts, detailed_rows, image_details, layers, listed, not_read, range, short,
    state_word, subject,
};
use crate::{
    app::report::layout::with_short_ids,
    base::untrusted::plain,
    core::changes::{Changes, CommitList, ImageChanges, Origin},
};

/// The changes of a set since the one before it.
#[derive(Serialize)]
pub(crate) struct ChangesOfPage {
    summary: String,
    /// The page that compares the revisions.
    link: Option<String>,
    is_stated_by_label: bool,
    lists: Vec<CommitsOfPage>,
    images: Vec<ImageRowOfPage>,
    not_read: Vec<String>,
}

#[derive(Serialize)]
struct CommitsOfPage {
    sign: &'static str,
    commits: Vec<CommitOfPage>,
    /// The number of commits that are not listed.
    more: u64,
}

#[derive(Serialize)]
struct CommitOfPage {
    id: String,
    subject: String,
    author: String,
    pull_request: Option<u64>,
    pull_request_url: Option<String>,
}

/// A group of platforms of an image.
#[derive(Serialize)]
struct ImageRowOfPage {
    name: String,
    platforms: String,
    sizes: String,
    layers: String,
    details: Vec<String>,
}

impl ChangesOfPage {
    pub(crate) fn new(changes: &Changes) -> Self {
        let source = &changes.source;
        let pages = source.pull_requests.as_deref();
        let lists = [("−", &source.removed), ("+", &source.added)];
        let lists = lists.into_iter().filter_map(|(sign, commits)| {
            let commits = commits.as_ref().filter(|commits| commits.count > 0)?;
            Some(CommitsOfPage::new(sign, commits, pages))
        });
        let not_read = changes.not_read.iter().map(|entry| not_read(entry, plain));
        Self {
            summary: summary(changes),
            link: source.link.clone(),
            is_stated_by_label: source.stated_by == Some(Origin::Label),
            lists: lists.collect(),
            images: changes
                .images
                .iter()
                .flat_map(ImageRowOfPage::all)
                .collect(),
            not_read: not_read.collect(),
        }
    }
}

fn summary(changes: &Changes) -> String {
    let range = range(changes, str::to_owned, |from, to| format!("{from} → {to}"));
    match counts(&changes.source) {
        Some(counts) => format!("{range}: {counts}"),
        None => range,
    }
}

impl CommitsOfPage {
    fn new(sign: &'static str, commits: &CommitList, pages: Option<&str>) -> Self {
        let (listed, more) = listed(commits);
        let commits = listed.iter().map(|commit| CommitOfPage {
            id: short(&commit.commit).to_owned(),
            subject: with_short_ids(subject(commit)),
            author: commit.author.clone(),
            pull_request: commit.pull_request,
            pull_request_url: commit
                .pull_request
                .zip(pages)
                .map(|(number, pages)| format!("{pages}{number}")),
        });
        Self {
            sign,
            commits: commits.collect(),
            more,
        }
    }
}

impl ImageRowOfPage {
    fn all(image: &ImageChanges) -> Vec<Self> {
        let groups = detailed_rows(image, Style::PLAIN);
        if groups.is_empty() {
            return vec![Self {
                name: image.name.clone(),
                platforms: String::new(),
                sizes: state_word(image).unwrap_or("–").to_owned(),
                layers: "–".to_owned(),
                details: image_details(image, Style::PLAIN),
            }];
        }
        let has_several = groups.len() > 1;
        let rows = groups.into_iter().map(|(group, details)| Self {
            name: image.name.clone(),
            platforms: if has_several {
                group.platforms.join(", ")
            } else {
                String::new()
            },
            layers: layers(group.content),
            sizes: group.sizes,
            details,
        });
        rows.collect()
    }
}
