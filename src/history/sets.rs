//! What each commit of the line pins, as sets that can be compared.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    Digests,
    readings::{Blob, BlobPins, Contents, Scanned},
    walk::{Content, FilePath, Rules, Visited},
};
use crate::{config::Config, oci::Digest};

/// The distinct digests that each image is pinned to, sorted, in the order of the current
/// configuration; images with `pins: 0` have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Set(pub(super) Arc<[Vec<Digest>]>);

impl Set {
    /// The set of these digests, by image.
    pub(super) fn new(mut images: Vec<Vec<Digest>>) -> Self {
        for digests in &mut images {
            digests.sort_unstable();
            digests.dedup();
        }
        Self(images.into())
    }

    /// Whether nothing is pinned at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }

    /// Whether the pins of some image disagree.
    pub(super) fn is_mixed(&self) -> bool {
        self.0.iter().any(|digests| digests.len() > 1)
    }

    /// The digest that all pins of an image have.
    pub(super) fn digest(&self, image: usize) -> Option<Digest> {
        let digests = self.0.get(image)?;
        digests.first().copied().filter(|_| digests.len() == 1)
    }

    /// The digest of each image whose pins all agree, by name.
    pub(super) fn digests(&self, config: &Config) -> Digests {
        let named = config.images.iter().enumerate();
        named
            .filter_map(|(at, image)| Some((image.name.clone(), self.digest(at)?)))
            .collect()
    }
}

/// The sets of a line.
pub(super) struct Sets {
    /// Each set once.
    pub(super) all: Vec<Set>,
    /// For each commit, the place of its set in `all`; `None` where its configuration cannot be
    /// read.
    pub(super) of: Vec<Option<usize>>,
    /// For each commit whose configuration cannot be read, the digests that its changed files pin.
    pub(super) glimpsed: HashMap<usize, Scanned>,
    /// For each commit with a file of a place that is refused, that file, and where and why.
    pub(super) refused: HashMap<usize, (FilePath, Arc<str>)>,
}

/// Tells what each commit of the line pins; `contents` are those that hold pins.
pub(super) fn sets(line: &[Visited], contents: &Contents, config: &Config) -> Sets {
    let scanned = &contents.pins;
    let mut sets = Sets {
        all: Vec::new(),
        of: Vec::with_capacity(line.len()),
        glimpsed: HashMap::new(),
        refused: HashMap::new(),
    };
    let mut numbers = HashMap::new();
    let mut tree = Tree::default();
    let mut reached = None;
    for commit in line {
        if let Content::Unreadable(_, blobs) = &commit.content {
            let pinned = blobs.iter().filter_map(|blob| scanned.get(blob));
            let pinned = pinned.flat_map(|found| &found.pins).copied().collect();
            sets.glimpsed.insert(sets.of.len(), pinned);
            sets.of.push(None);
            continue;
        }
        let changed = tree.follow(&commit.content, scanned);
        if let Some((path, why)) = tree.refused() {
            let pinned = touched(&commit.content)
                .filter_map(|blob| scanned.get(&blob))
                .flat_map(|found| &found.pins);
            sets.glimpsed
                .insert(sets.of.len(), pinned.copied().collect());
            sets.refused
                .insert(sets.of.len(), (Arc::clone(path), Arc::clone(why)));
            sets.of.push(None);
            continue;
        }
        // A refused file is among the files, so its repair is a change.
        if changed {
            let set = tree.set(config);
            reached = Some(*numbers.entry(set.clone()).or_insert_with(|| {
                sets.all.push(set);
                sets.all.len() - 1
            }));
        }
        sets.of.push(reached);
    }
    sets
}

/// The contents that a commit brought.
fn touched(content: &Content) -> Box<dyn Iterator<Item = Blob> + '_> {
    match content {
        Content::Changed(files) => Box::new(files.iter().filter_map(|(_, blob)| *blob)),
        Content::All(_, files) => Box::new(files.iter().map(|(_, blob)| *blob)),
        Content::Unreadable(_, blobs) => Box::new(blobs.iter().copied()),
    }
}

/// The matched files that hold pins, at the commit reached.
#[derive(Default)]
struct Tree<'s> {
    files: BTreeMap<FilePath, &'s BlobPins>,
    /// Those of them that are refused.
    refused: BTreeMap<FilePath, Arc<str>>,
    rules: Option<Arc<Rules>>,
}

impl<'s> Tree<'s> {
    /// Goes on to the next commit; whether a file with pins came, changed or went.
    fn follow(&mut self, content: &Content, scanned: &'s HashMap<Blob, BlobPins>) -> bool {
        match content {
            Content::Unreadable(..) => false,
            Content::All(rules, files) => {
                *self = Self {
                    rules: Some(Arc::clone(rules)),
                    ..Self::default()
                };
                for (path, blob) in files {
                    self.put(path, scanned.get(blob));
                }
                true
            }
            Content::Changed(files) => files.iter().fold(false, |changed, (path, blob)| {
                let found = blob.and_then(|blob| scanned.get(&blob));
                self.put(path, found) || changed
            }),
        }
    }

    /// Replaces or removes a file; whether one with pins came, changed or went.
    fn put(&mut self, path: &FilePath, found: Option<&'s BlobPins>) -> bool {
        match found.and_then(|found| found.refused.clone()) {
            Some(why) => self.refused.insert(Arc::clone(path), why),
            None => self.refused.remove(path),
        };
        match found {
            Some(found) => self.files.insert(Arc::clone(path), found) != Some(found),
            None => self.files.remove(path).is_some(),
        }
    }

    /// A file that is refused, and where and why.
    fn refused(&self) -> Option<(&FilePath, &Arc<str>)> {
        self.refused.iter().next()
    }

    fn set(&self, config: &Config) -> Set {
        let mut set = vec![Vec::new(); config.images.len()];
        let counts = |image: usize| {
            config.images[image].pins > 0
                && self.rules.as_ref().is_some_and(|rules| rules.images[image])
        };
        for (image, digest) in self.files.values().flat_map(|found| &found.pins) {
            if counts(*image) {
                set[*image].push(*digest);
            }
        }
        Set::new(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_count_once_and_in_any_order() {
        let [a, b] = ["a", "b"].map(|text| Digest::of(text.as_bytes()));
        let set = Set::new(vec![vec![b, a, b]]);
        assert_eq!(set, Set::new(vec![vec![a, b]]));
        assert!(set.is_mixed());
        assert_eq!(Set::new(vec![vec![a, a]]).digest(0), Some(a));
    }
}
