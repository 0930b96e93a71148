//! The rules of past configurations for finding pins.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fmt::Write as _,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    base::files::Globs,
    config::{self, Config, DefaultFiles, Image, SetPath, above_templates},
    core::pins::FileScanner,
    oci::Repository,
};

pub(super) const TOO_LARGE: &str = "it is larger than 1 MiB";

/// The images of every configuration of a set. An image keeps its slot under another name or with another
/// repository, so that its digests form one sequence.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Every repository, those of the current configuration first.
    pub(super) repositories: Vec<Repository>,
    /// The number of images in the current configuration, which have the first slots.
    current: usize,
    images: Vec<Slot>,
}

/// The names and the repositories that an image had.
#[derive(Debug, Default)]
struct Slot {
    names: BTreeSet<String>,
    repositories: BTreeSet<usize>,
}

impl Slots {
    pub(super) fn new(current: &Config) -> Self {
        let mut slots = Self {
            current: current.images.len(),
            ..Self::default()
        };
        slots.assign(current);
        slots
    }

    /// The slot of each repository of a configuration: that of an image with the same name and repository,
    /// else with the same repository, else with the same name, else a new one.
    fn assign(&mut self, config: &Config) -> BTreeMap<usize, usize> {
        let mut assigned = BTreeMap::new();
        let mut taken = BTreeSet::new();
        let similarities: [fn(&Slot, usize, &str) -> bool; 3] = [
            |slot, repository, name| {
                slot.repositories.contains(&repository) && slot.names.contains(name)
            },
            |slot, repository, _| slot.repositories.contains(&repository),
            |slot, _, name| slot.names.contains(name),
        ];
        for is_similar in similarities {
            for image in &config.images {
                let repository = self.repository(&image.repository);
                let mut slots = self.images.iter().enumerate();
                if !assigned.contains_key(&repository)
                    && let Some((number, _)) = slots.find(|(number, slot)| {
                        !taken.contains(number) && is_similar(slot, repository, &image.name)
                    })
                {
                    taken.insert(number);
                    assigned.insert(repository, number);
                }
            }
        }
        for image in &config.images {
            let repository = self.repository(&image.repository);
            let number = *assigned.entry(repository).or_insert(self.images.len());
            if number == self.images.len() {
                self.images.push(Slot::default());
            }
            let slot = &mut self.images[number];
            slot.names.insert(image.name.clone());
            slot.repositories.insert(repository);
        }
        assigned
    }

    /// The number of a repository.
    fn repository(&mut self, repository: &Repository) -> usize {
        let known = self
            .repositories
            .iter()
            .position(|other| other == repository);
        known.unwrap_or_else(|| {
            self.repositories.push(repository.clone());
            self.repositories.len() - 1
        })
    }

    /// A slot that had a repository.
    pub(super) fn slot_of(&self, repository: usize) -> Option<usize> {
        let mut slots = self.images.iter();
        slots.position(|slot| slot.repositories.contains(&repository))
    }

    /// The images of the current configuration that had a repository, as indexes.
    pub(super) fn images_of(&self, repository: usize) -> impl Iterator<Item = usize> {
        let slots = self.images.iter().take(self.current).enumerate();
        slots
            .filter(move |(_, slot)| slot.repositories.contains(&repository))
            .map(|(image, _)| image)
    }
}

/// An image of a past configuration.
#[derive(Debug, Clone)]
pub(super) struct PastImage {
    pub(super) name: String,
    pub(super) repository: Repository,
}

impl From<&Image> for PastImage {
    fn from(image: &Image) -> Self {
        Self {
            name: image.name.clone(),
            repository: image.repository.clone(),
        }
    }
}

/// The images of a past configuration, by their slots.
pub(super) type PastImages = Arc<BTreeMap<usize, PastImage>>;

/// The rules of a configuration for finding pins.
#[derive(Debug)]
pub(super) struct Rules {
    globs: Globs,
    /// The texts of the globs, to compare rules.
    texts: Vec<String>,
    pub(super) scanner: FileScanner,
    /// Identifies the reading of a file: the places, the settings that they depend on, and the repositories
    /// that the current configuration lacks.
    pub(super) reading: String,
    /// Whether directories of charts matter.
    pub(super) has_charts: bool,
    /// The slot of each repository of this configuration, by the number of the repository.
    pub(super) slots: BTreeMap<usize, usize>,
    pub(super) images: PastImages,
    /// Whether the configuration has a repository that the current one lacks.
    pub(super) has_other_repositories: bool,
}

impl Rules {
    pub(super) fn new(config: &Config, slots: &mut Slots) -> Self {
        let own = slots.assign(config);
        let images = config.images.iter().map(|image| {
            let slot = own[&slots.repository(&image.repository)];
            (slot, PastImage::from(image))
        });
        let images = Arc::new(images.collect());
        let has_other_repositories = own.keys().any(|repository| *repository >= slots.current);
        let mut reading = places_key(config);
        if has_other_repositories {
            let images = config.images.iter();
            let repositories: Vec<_> = images.map(|image| &image.repository).collect();
            let _ = write!(reading, "{repositories:?}");
        }
        Self {
            globs: config.scanned.clone(),
            texts: config.scanned.texts(),
            scanner: FileScanner::of(config, &slots.repositories),
            reading,
            has_charts: config
                .places
                .iter()
                .any(|place| place.files.is_none() && place.default_files == DefaultFiles::Values),
            slots: own,
            images,
            has_other_repositories,
        }
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.globs.matches(Path::new(OsStr::from_bytes(path)))
    }

    pub(super) fn is_equal(&self, other: &Self) -> bool {
        self.slots == other.slots && self.texts == other.texts && self.reading == other.reading
    }

    pub(super) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let directories = self.globs.literal_directories();
        directories.map(|directory| match above_templates(&directory) {
            Some(above) if self.has_charts => above.to_owned(),
            _ => directory,
        })
    }
}

/// Identifies the places of a configuration by all settings that they depend on. Empty without places.
pub(crate) fn places_key(config: &Config) -> String {
    let mut text = String::new();
    for place in &config.places {
        let files = place.files.as_ref().map(Globs::texts);
        let _ = write!(
            text,
            "{:?}",
            (
                &place.name,
                &place.kind,
                files,
                config.comment_policy(place)
            )
        );
    }
    if !text.is_empty() {
        let images = config
            .images
            .iter()
            .map(|image| (&image.name, &image.repository));
        let _ = write!(
            text,
            "{:?}{:?}",
            config.files.texts(),
            images.collect::<Vec<_>>()
        );
    }
    text
}

/// The rules of a commit's own configuration.
#[derive(Clone)]
pub(super) enum OwnRules {
    /// The rules, with the configuration unless it is the current one.
    Known(Arc<Rules>, Option<Arc<Config>>),
    /// The configuration cannot be read, for this reason.
    Unreadable(Arc<str>),
}

impl OwnRules {
    pub(super) fn known(&self) -> Option<&Arc<Rules>> {
        match self {
            Self::Known(rules, _) => Some(rules),
            Self::Unreadable(_) => None,
        }
    }
}

/// Parses a past configuration as if it were at the current root.
pub(crate) fn parse(bytes: Vec<u8>, current: &Config) -> Result<Config, String> {
    parse_at(bytes, current, &current.set_path)
}

pub(super) fn parse_at(
    bytes: Vec<u8>,
    current: &Config,
    set_path: &SetPath,
) -> Result<Config, String> {
    config::parse_bytes(
        bytes,
        current.file_name(),
        &current.root,
        set_path,
        config::parse_past,
    )
}
