//! The files with pins of a set on the page.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{app::report::revision::abbreviated, base::text::counted, config::Config};

/// The maximum number of files that the page lists for a set; the others are counted.
const MAX_FILES: usize = 20;

/// A file with pins, in the commit that made a set current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileOfSet {
    pub path: String,
    pub pins: Vec<PinsOfFile>,
}

/// The pins of one image in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PinsOfFile {
    /// The index in the current configuration.
    pub image: usize,
    /// The number of pins; `None` in a file of a place, or in one that was not read.
    pub count: Option<usize>,
    /// The tags next to the digests.
    pub tags: BTreeSet<String>,
}

/// The variables of the template.
#[derive(Serialize)]
pub(super) struct FilesOfPage {
    summary: String,
    files: Vec<FileOfPage>,
    more: usize,
}

#[derive(Serialize)]
struct FileOfPage {
    path: String,
    pins: String,
}

impl FilesOfPage {
    /// `None` if no file of the set is known.
    pub(super) fn new(files: &[FileOfSet], config: &Config) -> Option<Self> {
        if files.is_empty() {
            return None;
        }
        let counts = files.iter().flat_map(|file| &file.pins);
        let total: Option<usize> = counts.map(|pins| pins.count).sum();
        let places = counted(files.len(), "file");
        Some(Self {
            summary: match total {
                Some(total) => format!("{} in {places}", counted(total, "pin")),
                None => format!("Pins in {places}"),
            },
            more: files.len().saturating_sub(MAX_FILES),
            files: files
                .iter()
                .take(MAX_FILES)
                .map(|file| FileOfPage::new(file, config))
                .collect(),
        })
    }
}

impl FileOfPage {
    fn new(file: &FileOfSet, config: &Config) -> Self {
        let pins = file.pins.iter().map(|pins| {
            let name = &config.images[pins.image].name;
            match pins.count {
                Some(count) if count > 1 => format!("{name} × {count}"),
                _ => name.clone(),
            }
        });
        Self {
            path: file.path.clone(),
            pins: pins.collect::<Vec<_>>().join(", "),
        }
    }
}

/// The tags that state the version of an image, without those that contain the revision of the set.
pub(super) fn versions(files: &[FileOfSet], image: usize, revision: Option<&str>) -> Vec<String> {
    let pins = files.iter().flat_map(|file| &file.pins);
    let tags: BTreeSet<&str> = pins
        .filter(|pins| pins.image == image)
        .flat_map(|pins| &pins.tags)
        .map(String::as_str)
        .filter(|tag| revision.is_none_or(|revision| !tag.contains(revision)))
        .collect();
    // Tags of other revisions are as long as revisions.
    let shown = tags.iter().map(|tag| abbreviated(tag, &tags));
    shown.collect()
}
