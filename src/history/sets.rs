//! What each commit of the line pins, as sets that can be compared.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{self, Read},
    sync::Arc,
};

use super::{
    Digests,
    walk::{Content, FilePath, Rules, Scanned, Visited},
};
use crate::{config::Config, git::ObjectId, oci::Digest, pins::Finder};

/// The distinct digests that each image is pinned to, in the order of today's configuration; images
/// with `pins: 0` have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Set(pub(super) Vec<BTreeSet<Digest>>);

impl Set {
    /// Whether nothing is pinned at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(BTreeSet::is_empty)
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

    /// The digest of each image whose pins are all alike, by name.
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
    /// For each commit, the place of its set in `all`; `None` where its configuration can't be
    /// read.
    pub(super) of: Vec<Option<usize>>,
    /// For each commit whose configuration can't be read, what its changed files pin all the same.
    pub(super) glimpsed: HashMap<usize, Scanned>,
    /// Every digest of an image in a matched file of any commit, in the order of today's
    /// configuration.
    pub(super) ever: Vec<BTreeSet<Digest>>,
}

/// Makes pins of a content of any size, if it holds any.
pub(super) fn scanner(
    config: &Config,
) -> impl FnMut(&mut dyn Read) -> io::Result<Option<Scanned>> + Send + 'static {
    let finder = Finder::new(&config.images);
    let mut buffer = Vec::new();
    move |content| {
        let scan = finder.scan_reader(content, &mut buffer)?;
        let mut found: Scanned = scan
            .pins
            .iter()
            .map(|pin| (pin.image, pin.digest))
            .collect();
        found.sort_unstable();
        found.dedup();
        Ok(Some(found).filter(|found| !found.is_empty()))
    }
}

/// Tells what each commit of the line pins; `scanned` are the contents that hold pins.
pub(super) fn sets(
    line: &[Visited],
    scanned: &HashMap<ObjectId, Scanned>,
    config: &Config,
) -> Sets {
    let mut ever = vec![BTreeSet::new(); config.images.len()];
    for (image, digest) in scanned.values().flatten() {
        ever[*image].insert(*digest);
    }
    let mut sets = Sets {
        all: Vec::new(),
        of: Vec::with_capacity(line.len()),
        glimpsed: HashMap::new(),
        ever,
    };
    let mut numbers = HashMap::new();
    let mut tree = Tree::default();
    let mut reached = None;
    for commit in line {
        if let Content::Unreadable(_, blobs) = &commit.content {
            let pinned = blobs.iter().filter_map(|blob| scanned.get(blob));
            let pinned = pinned.flatten().copied().collect();
            sets.glimpsed.insert(sets.of.len(), pinned);
            sets.of.push(None);
            continue;
        }
        if tree.follow(&commit.content, scanned) {
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

/// The matched files that hold pins, at the commit reached.
#[derive(Default)]
struct Tree<'s> {
    files: BTreeMap<FilePath, &'s Scanned>,
    rules: Option<Arc<Rules>>,
}

impl<'s> Tree<'s> {
    /// Goes on to the next commit; whether a file with pins came, changed or went.
    fn follow(&mut self, content: &Content, scanned: &'s HashMap<ObjectId, Scanned>) -> bool {
        match content {
            Content::Unreadable(..) => false,
            Content::All(rules, files) => {
                let with_pins = |(path, blob): &(FilePath, ObjectId)| {
                    Some((Arc::clone(path), scanned.get(blob)?))
                };
                self.files = files.iter().filter_map(with_pins).collect();
                self.rules = Some(Arc::clone(rules));
                true
            }
            Content::Changed(files) => {
                let mut changed = false;
                for (path, blob) in files {
                    changed |= match blob.and_then(|blob| scanned.get(&blob)) {
                        Some(found) => self.files.insert(Arc::clone(path), found) != Some(found),
                        None => self.files.remove(path).is_some(),
                    };
                }
                changed
            }
        }
    }

    fn set(&self, config: &Config) -> Set {
        let mut set = vec![BTreeSet::new(); config.images.len()];
        let counts = |image: usize| {
            config.images[image].pins > 0
                && self.rules.as_ref().is_some_and(|rules| rules.images[image])
        };
        for (image, digest) in self.files.values().copied().flatten() {
            if counts(*image) {
                set[*image].insert(*digest);
            }
        }
        Set(set)
    }
}
