//! The sets of commits.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::Arc,
};

use super::{
    Digests,
    blobs::{Blob, BlobPins, PinList, ScannedBlobs},
    graph::{Graph, Step},
    periods::{PastImages, Rules, Slots},
    read_paths::FilePath,
    walk::{Commit, Content},
};
use crate::{config::Config, oci::Digest};

/// The distinct digests that each image is pinned to, sorted: those of the images of the current configuration,
/// where images with `pins: 0` have none, or those of every slot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Set(pub(super) Arc<[Vec<Digest>]>);

impl Set {
    pub(super) fn new(mut images: Vec<Vec<Digest>>) -> Self {
        for digests in &mut images {
            digests.sort_unstable();
            digests.dedup();
        }
        Self(images.into())
    }

    /// The digests of the currently configured images that must be pinned, from those of every slot.
    pub(super) fn for_images(slots: &Self, config: &Config) -> Self {
        let images = config.images.iter().enumerate().map(|(slot, image)| {
            let digests = slots.0.get(slot).filter(|_| image.pins > 0);
            digests.cloned().unwrap_or_default()
        });
        Self(images.collect())
    }

    /// Whether no image is pinned.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }

    /// Whether an image or a slot is pinned.
    pub(super) fn has(&self, image: usize) -> bool {
        self.0.get(image).is_some_and(|digests| !digests.is_empty())
    }

    /// Whether an image or a slot is pinned to a digest.
    pub(super) fn pins(&self, image: usize, digest: &Digest) -> bool {
        let digests = self.0.get(image);
        digests.is_some_and(|digests| digests.contains(digest))
    }

    /// Whether the pins of some image disagree.
    pub(super) fn is_mixed(&self) -> bool {
        self.0.iter().any(|digests| digests.len() > 1)
    }

    /// The digest of an image with agreeing pins.
    pub(super) fn digest(&self, image: usize) -> Option<Digest> {
        let digests = self.0.get(image)?;
        digests.first().copied().filter(|_| digests.len() == 1)
    }

    pub(super) fn digests(&self, config: &Config) -> Digests {
        let images = config.images.iter().enumerate();
        images
            .filter_map(|(index, image)| Some((image.name.clone(), self.digest(index)?)))
            .collect()
    }

    /// The repositories of pinned images that differ from the present ones, by the names of the images. `past`:
    /// the images of the commit with this set.
    pub(super) fn former_repositories(
        &self,
        past: &PastImages,
        config: &Config,
    ) -> BTreeMap<String, String> {
        let mut former = BTreeMap::new();
        for ((slot, image), digests) in config.images.iter().enumerate().zip(&*self.0) {
            if let Some(past) = past.get(&slot)
                && past.repository != image.repository
                && !digests.is_empty()
            {
                former.insert(image.name.clone(), past.repository.to_string());
            }
        }
        former
    }
}

/// The sets of the commits of a history.
#[derive(Default)]
pub(super) struct Sets {
    pub(super) distinct: Vec<Set>,
    /// The index in `distinct` of the set of each commit; `None` if the content is unknown.
    pub(super) by_commit: Vec<Option<usize>>,
    /// The digests of every slot at each commit; `None` if the content is unknown.
    pub(super) slots_by_commit: Vec<Option<Set>>,
    /// Whether each commit changed pins since its first parent, or may have.
    pub(super) has_changed: Vec<bool>,
    /// Whether each commit changed a file with pins; otherwise only the configuration changed the set.
    pub(super) has_changed_files: Vec<bool>,
    /// The digests that the changed files of commits with unknown content pin, each with its slot, by commit.
    pub(super) partial_pins: HashMap<usize, Vec<(usize, Digest)>>,
    /// The file with a refused entry, with the location and the reason, by commit.
    pub(super) refused: HashMap<usize, (FilePath, Arc<str>)>,
}

impl Sets {
    /// The set of a commit.
    pub(super) fn at(&self, commit: usize) -> Option<&Set> {
        self.by_commit[commit].map(|set| &self.distinct[set])
    }
}

/// Finds the set of each commit.
pub(super) fn find_sets(
    graph: &Graph,
    commits: &[Commit],
    blobs: &ScannedBlobs,
    slots: &Slots,
    config: &Config,
) -> Sets {
    let mut sets = Sets {
        distinct: Vec::new(),
        by_commit: vec![None; commits.len()],
        slots_by_commit: vec![None; commits.len()],
        has_changed: vec![false; commits.len()],
        has_changed_files: vec![false; commits.len()],
        partial_pins: HashMap::new(),
        refused: HashMap::new(),
    };
    let mut numbers = HashMap::new();
    let mut tree = Tree::default();
    let (mut current, mut pinned) = (None, None);
    // Whether the content of the commit before is unknown.
    let mut is_after_unknown = false;
    let mut undos = Vec::new();
    for step in &graph.steps {
        let index = match *step {
            Step::Enter(index) => index,
            Step::Leave(_) => {
                if let Some((undo, state)) = undos.pop() {
                    tree.undo(undo);
                    (current, pinned, is_after_unknown) = state;
                }
                continue;
            }
        };
        let commit = &commits[index];
        let (changed, undo) = tree.apply(&commit.content, &blobs.pins);
        let has_other_rules = matches!(commit.content, Content::All(..));
        if !graph.is_on_line(index) {
            undos.push((undo, (current, pinned.clone(), is_after_unknown)));
        }
        let is_unknown = matches!(commit.content, Content::Unknown(..));
        let refused = tree.refused.first_key_value();
        sets.has_changed[index] = changed.pins;
        // An unknown commit may have changed the files.
        sets.has_changed_files[index] = changed.files || is_after_unknown && changed.pins;
        if !is_unknown && refused.is_none() {
            // A refused file is one of the files, so its correction is a change.
            if changed.pins || has_other_rules {
                let digests = tree.slots();
                let set = Set::for_images(&digests, config);
                pinned = Some(digests);
                current = Some(*numbers.entry(set.clone()).or_insert_with(|| {
                    sets.distinct.push(set);
                    sets.distinct.len() - 1
                }));
            }
            sets.by_commit[index] = current;
            sets.slots_by_commit[index].clone_from(&pinned);
            is_after_unknown = false;
            continue;
        }
        is_after_unknown = true;
        if let Some((path, reason)) = refused
            && !is_unknown
        {
            let refused = (Arc::clone(path), Arc::clone(reason));
            sets.refused.insert(index, refused);
        }
        let mut pins = Vec::new();
        for blob in changed_blobs(&commit.content) {
            for (repository, digest) in blobs.pins.get(&blob).map_or(&[][..], |found| &found.pins) {
                pins.extend(slots.slot_of(*repository).map(|slot| (slot, *digest)));
            }
        }
        sets.has_changed[index] |= !pins.is_empty();
        sets.has_changed_files[index] |= !pins.is_empty();
        sets.partial_pins.insert(index, pins);
    }
    sets
}

/// The blobs that a commit added.
fn changed_blobs(content: &Content) -> Vec<Blob> {
    match content {
        Content::Changed(files) => files.iter().filter_map(|(_, blob)| *blob).collect(),
        Content::All(_, files, _) => files.iter().map(|(_, blob)| *blob).collect(),
        Content::Unknown(_, blobs) => blobs.clone(),
    }
}

/// The parts that a commit changed.
#[derive(Debug, Clone, Copy, Default)]
struct Changed {
    /// The pins, or a refused file, which it corrected.
    pins: bool,
    /// A file with pins.
    files: bool,
}

/// The matched files with pins at a commit.
#[derive(Default)]
struct Tree<'s> {
    files: BTreeMap<FilePath, &'s BlobPins>,
    /// The refused files, each with the location and the reason.
    refused: BTreeMap<FilePath, Arc<str>>,
    rules: Option<Arc<Rules>>,
}

/// The files before a commit, to which a visit returns.
enum Undo<'s> {
    Files(Vec<(FilePath, Option<&'s BlobPins>)>),
    All(Tree<'s>),
}

impl<'s> Tree<'s> {
    /// Applies a commit.
    fn apply(
        &mut self,
        content: &Content,
        pins: &'s HashMap<Blob, BlobPins>,
    ) -> (Changed, Undo<'s>) {
        match content {
            Content::Unknown(..) => (Changed::default(), Undo::Files(Vec::new())),
            Content::All(rules, files, changed) => {
                let new = Self {
                    rules: Some(Arc::clone(rules)),
                    ..Self::default()
                };
                let old = mem::replace(self, new);
                for (path, blob) in files {
                    self.replace(path, pins.get(blob));
                }
                let changed = Changed {
                    pins: differ(
                        pins_of(old.rules.as_deref(), old.files.values().copied()).as_ref(),
                        pins_of(self.rules.as_deref(), self.files.values().copied()).as_ref(),
                    ),
                    files: (changed.iter()).any(|path| old.files.get(path) != self.files.get(path)),
                };
                (changed, Undo::All(old))
            }
            Content::Changed(files) => {
                let (mut old, mut new) = (Vec::new(), Vec::new());
                for (path, blob) in files {
                    let found = blob.and_then(|blob| pins.get(&blob));
                    let replaced = self.replace(path, found);
                    if replaced != found {
                        old.push((Arc::clone(path), replaced));
                        new.extend(found);
                    }
                }
                let replaced = old.iter().filter_map(|(_, found)| *found);
                let rules = self.rules.as_deref();
                let is_changed = differ(
                    pins_of(rules, replaced).as_ref(),
                    pins_of(rules, new).as_ref(),
                );
                let changed = Changed {
                    pins: is_changed,
                    files: is_changed,
                };
                (changed, Undo::Files(old))
            }
        }
    }

    fn undo(&mut self, undo: Undo<'s>) {
        match undo {
            Undo::All(tree) => *self = tree,
            Undo::Files(files) => {
                for (path, found) in files.into_iter().rev() {
                    self.replace(&path, found);
                }
            }
        }
    }

    /// Replaces or removes a file. Returns the old pins.
    fn replace(&mut self, path: &FilePath, found: Option<&'s BlobPins>) -> Option<&'s BlobPins> {
        match found.and_then(|found| found.refused.clone()) {
            Some(reason) => self.refused.insert(Arc::clone(path), reason),
            None => self.refused.remove(path),
        };
        match found {
            Some(found) => self.files.insert(Arc::clone(path), found),
            None => self.files.remove(path),
        }
    }

    /// The digests of every slot.
    fn slots(&self) -> Set {
        let Some(rules) = &self.rules else {
            return Set::default();
        };
        let length = rules.slots.values().max().map_or(0, |last| last + 1);
        let mut slots = vec![Vec::new(); length];
        for (repository, digest) in self.files.values().flat_map(|found| &found.pins) {
            if let Some(slot) = rules.slots.get(repository) {
                slots[*slot].push(*digest);
            }
        }
        Set::new(slots)
    }
}

/// The sorted pins of files whose repositories belong to images, or `None` if a file is refused.
fn pins_of<'p>(
    rules: Option<&Rules>,
    files: impl IntoIterator<Item = &'p BlobPins>,
) -> Option<PinList> {
    let mut all = PinList::new();
    for file in files {
        if file.refused.is_some() {
            return None;
        }
        let pins = file.pins.iter().copied();
        all.extend(pins.filter(|(repository, _)| {
            rules.is_some_and(|rules| rules.slots.contains_key(repository))
        }));
    }
    all.sort_unstable();
    Some(all)
}

/// Whether pins differ, or one of their files is refused.
fn differ(old: Option<&PinList>, new: Option<&PinList>) -> bool {
    old.is_none() || old != new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, git::ObjectId};

    #[test]
    fn equal_sets_have_the_same_distinct_digests() {
        let [a, b] = ["a", "b"].map(|text| Digest::of(text.as_bytes()));
        let set = Set::new(vec![vec![b, a, b]]);
        assert_eq!(set, Set::new(vec![vec![a, b]]));
        assert!(set.is_mixed());
        assert_eq!(Set::new(vec![vec![a, a]]).digest(0), Some(a));
    }

    #[test]
    fn order_and_pins_of_others_are_no_difference() {
        let text =
            "version: 1\nfiles: ['*.yml']\nimages:\n  a: { repository: ghcr.io/acme/a, pins: 1 }\n";
        let config = config::example(text);
        let rules = Rules::new(&config, &mut Slots::new(&config));
        let pins = |repository: usize, text: &str| BlobPins {
            pins: vec![(repository, Digest::of(text.as_bytes()))],
            refused: None,
        };
        let [a, b, other] = [pins(0, "a"), pins(0, "b"), pins(1, "a")];
        let of = |files: &[&BlobPins]| pins_of(Some(&rules), files.iter().copied());
        let differ =
            |old: &[&BlobPins], new: &[&BlobPins]| differ(of(old).as_ref(), of(new).as_ref());
        assert!(!differ(&[&a, &b], &[&b, &a]));
        assert!(!differ(&[&a, &other], &[&a]));
        assert!(differ(&[&a], &[&b]));
    }

    #[test]
    fn refused_file_changes_with_its_correction() {
        let refused = BlobPins {
            pins: PinList::new(),
            refused: Some("2:3: a duplicate key".into()),
        };
        let [first, second, correct] = ["1", "2", "3"].map(|digit| Blob {
            id: ObjectId::parse(digit.repeat(40).as_bytes()).unwrap(),
            reading: Some(0),
        });
        let pins = HashMap::from([(first, refused.clone()), (second, refused)]);
        let mut tree = Tree::default();
        let mut has_changed = |blob| {
            let path = FilePath::from(&b"values.yaml"[..]);
            let content = Content::Changed(vec![(path, Some(blob))]);
            tree.apply(&content, &pins).0.pins
        };
        assert!(has_changed(first));
        // Another comment, with the same refused entry.
        assert!(!has_changed(second));
        assert!(has_changed(correct));
    }
}
