//! Digests of the images of all sets, in files that no set with these images searches.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Outside, Scope, TrackedTree};
use crate::{
    base::files::{Globs, RelPath},
    config::{self, Config, Image, OutsidePolicy, SetPath},
    core::pins::{Found, Located, Occurrence, OccurrenceKind, Pin},
    oci::{Digest, Repository},
};

/// The images of multiple sets with their pins, as one set of a directory above them.
pub(crate) struct Union {
    pub(crate) config: Config,
    pub(crate) found: Found,
    /// The roots of the sets that declare each image and do not ignore digests outside.
    searched: Vec<Vec<PathBuf>>,
}

impl Union {
    /// The union of the sets below `directory`; `None` without an image that is searched for.
    pub(crate) fn new(directory: &Path, sets: &[(&Config, &Found)]) -> io::Result<Option<Self>> {
        let (mut images, mut searched) = (Vec::<Image>::new(), Vec::<Vec<PathBuf>>::new());
        let mut indices: HashMap<&Repository, usize> = HashMap::new();
        let mut pins = Vec::new();
        let mut outside_ignore = Globs::default();
        for (config, found) in sets {
            if config.outside == OutsidePolicy::Ignore {
                continue;
            }
            if config.root == directory {
                outside_ignore = config.outside_ignore.clone();
            }
            for image in &config.images {
                let index = *indices.entry(&image.repository).or_insert_with(|| {
                    images.push(image.clone());
                    searched.push(Vec::new());
                    images.len() - 1
                });
                searched[index].push(config.root.clone());
            }
            for pin in found.pins() {
                let path = config.root.join(pin.file.as_path());
                let below = path.strip_prefix(directory).ok();
                let Some(file) = below.and_then(|path| RelPath::new(path).ok()) else {
                    continue;
                };
                pins.push(Located {
                    file: Arc::new(file),
                    item: Pin {
                        image: indices[&config.images[pin.item.image].repository],
                        ..pin.item.clone()
                    },
                });
            }
        }
        let Some((first, _)) = sets.first().filter(|_| !images.is_empty()) else {
            return Ok(None);
        };
        // No configuration has this name, so each of them is another one.
        let set_path: SetPath = config::set_path(&directory.join("-"))?;
        Ok(Some(Self {
            config: Config {
                root: directory.to_owned(),
                set_path,
                images,
                outside: OutsidePolicy::Warn,
                outside_ignore,
                scanned: Globs::default(),
                ..(*first).clone()
            },
            found: pins.into_iter().collect(),
            searched,
        }))
    }

    /// Searches the tracked files that the sets did not search themselves.
    pub(crate) fn search(&self) -> Outside {
        let config = &self.config;
        let mut outside = TrackedTree::open(config).search(config, &self.found, Scope::Tracked);
        let pins = self.found.pins().iter();
        let images: HashMap<Digest, usize> =
            pins.map(|pin| (pin.item.digest, pin.item.image)).collect();
        outside.occurrences.retain(|occurrence| {
            let Occurrence { kind, digest, .. } = &occurrence.item;
            let image = match kind {
                OccurrenceKind::Image(image)
                | OccurrenceKind::Embedded(image)
                | OccurrenceKind::Utf16Image(image)
                | OccurrenceKind::Mirror(image, _)
                | OccurrenceKind::Marked(image) => Some(image),
                OccurrenceKind::SameOwner(_) | OccurrenceKind::Bare => images.get(digest),
            };
            let path = config.root.join(occurrence.file.as_path());
            image.is_some_and(|image| !is_below(&path, &self.searched[*image]))
        });
        outside.unread.retain(|unread| {
            let file = unread.file.as_ref();
            let path = file.map_or_else(|| config.root.clone(), |file| config.root.join(file));
            !self.searched.iter().any(|roots| is_below(&path, roots))
        });
        outside
    }
}

fn is_below(path: &Path, roots: &[PathBuf]) -> bool {
    roots.iter().any(|root| path.starts_with(root))
}
