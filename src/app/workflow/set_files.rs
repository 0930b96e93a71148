//! The files with pins of the sets in history, with their numbers of pins and their tags, from the objects
//! of the clone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry};

use crate::{
    app::report::history_page::{FileOfSet, PinsOfFile},
    config::Config,
    core::{
        history::{History, HistoryEntry, PinnedFile},
        pins::Finder,
    },
    git::{Git, GitError, ObjectId},
};

/// The maximum size of a file whose pins are counted, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The files with pins of each entry.
pub(crate) fn set_files(
    git: &Git,
    history: &History,
    entries: &[HistoryEntry],
    config: &Config,
) -> Result<HashMap<ObjectId, Vec<FileOfSet>>, GitError> {
    let commits: HashSet<ObjectId> = entries.iter().map(|entry| entry.commit).collect();
    let mut reader = Reader {
        git,
        finder: Finder::for_images(&config.images),
        known: HashMap::new(),
    };
    let mut by_commit = HashMap::new();
    for (commit, files) in history.pinned_files(&commits) {
        let mut found = Vec::new();
        for file in files {
            found.push(FileOfSet {
                path: String::from_utf8_lossy(&file.path).into_owned(),
                pins: reader.pins(&file)?,
            });
        }
        by_commit.insert(commit, found);
    }
    Ok(by_commit)
}

/// Reads each content once: most files are equal in several sets.
struct Reader<'g> {
    git: &'g Git,
    finder: Finder,
    /// By the blob and its images: a place may apply to one of two files with the same content.
    known: HashMap<(ObjectId, BTreeSet<usize>), Vec<PinsOfFile>>,
}

impl Reader<'_> {
    fn pins(&mut self, file: &PinnedFile) -> Result<Vec<PinsOfFile>, GitError> {
        match self.known.entry((file.blob, file.images.clone())) {
            Entry::Occupied(known) => Ok(known.get().clone()),
            Entry::Vacant(entry) => {
                let pins = read_pins(file, self.git, &self.finder)?;
                Ok(entry.insert(pins).clone())
            }
        }
    }
}

fn read_pins(file: &PinnedFile, git: &Git, finder: &Finder) -> Result<Vec<PinsOfFile>, GitError> {
    let content = git.blob(file.blob, MAX_FILE)?;
    let scan = finder.scan(&content.unwrap_or_default());
    let mut pins = BTreeMap::new();
    for image in &file.images {
        let unread = PinsOfFile {
            image: *image,
            count: None,
            tags: BTreeSet::new(),
        };
        pins.insert(*image, unread);
    }
    for pin in scan.pins {
        // The history may ignore an image that is not pinned.
        if let Some(of_image) = pins.get_mut(&pin.image) {
            of_image.count = Some(of_image.count.unwrap_or(0) + 1);
            of_image
                .tags
                .extend(pin.tag.map(|tag| tag.as_str().to_owned()));
        }
    }
    Ok(pins.into_values().collect())
}
