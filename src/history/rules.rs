//! The rules of past configurations for finding pins.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    config::{self, Config, DefaultFiles, Globs, SetPath, above_templates},
    pins::FileScanner,
};

pub(super) const TOO_LARGE: &str = "it is larger than 1 MiB";

/// The rules of a configuration for finding pins.
#[derive(Debug)]
pub(super) struct Rules {
    globs: Globs,
    /// The texts of the globs, to compare rules.
    texts: Vec<String>,
    pub(super) scanner: FileScanner,
    /// The places and the settings that they depend on, to compare rules.
    pub(super) places: String,
    /// Whether directories of charts matter.
    pub(super) has_charts: bool,
    /// Whether this configuration has each currently configured image, by its repository, because a
    /// digest belongs to a repository.
    pub(super) images: Vec<bool>,
}

impl Rules {
    pub(super) fn new(config: &Config, current: &Config) -> Self {
        let mut repositories = Vec::new();
        let mut has_image = Vec::new();
        for image in &current.images {
            let mut images = config.images.iter();
            has_image.push(images.any(|other| other.repository == image.repository));
            repositories.push(image.repository.clone());
        }
        Self {
            globs: config.scanned.clone(),
            texts: config.scanned.texts(),
            scanner: FileScanner::of(config, &repositories),
            places: places_key(config),
            has_charts: config
                .places
                .iter()
                .any(|place| place.files.is_none() && place.default_files == DefaultFiles::Values),
            images: has_image,
        }
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.globs.matches(Path::new(OsStr::from_bytes(path)))
    }

    pub(super) fn is_equal(&self, other: &Self) -> bool {
        self.images == other.images && self.texts == other.texts && self.places == other.places
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
