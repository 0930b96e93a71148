//! The caches of a run: a second planning repeats no request and no warning.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::Arc,
};

use crate::{
    oci::{Digest, Revision, Tag},
    registry::{Source, resolve::ImageFacts},
    trust::SearchResult,
};

/// The images that tags resolved to in this run. A second planning uses the same images.
#[derive(Default)]
pub(super) struct TagCache(RefCell<HashMap<TagKey, ImageFacts>>);

#[derive(PartialEq, Eq, Hash)]
struct TagKey {
    /// The name of the source.
    source: String,
    tag: Tag,
}

impl TagKey {
    fn new(source: &Source, tag: &Tag) -> Self {
        Self {
            source: source.to_string(),
            tag: tag.clone(),
        }
    }
}

impl TagCache {
    pub(super) fn get(&self, source: &Source, tag: &Tag) -> Option<ImageFacts> {
        self.0.borrow().get(&TagKey::new(source, tag)).cloned()
    }

    pub(super) fn insert(&self, source: &Source, tag: &Tag, facts: &ImageFacts) {
        let key = TagKey::new(source, tag);
        self.0.borrow_mut().insert(key, facts.clone());
    }
}

/// The texts that determine a policy.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct PolicyId {
    pub(super) config: Arc<str>,
    /// The digests of the files with keys and roots.
    pub(super) files: Vec<Digest>,
}

/// The examinations of this run, and the warnings about roots. A second planning repeats neither.
#[derive(Default)]
pub(super) struct TrustCache {
    pub(super) examinations: RefCell<HashMap<ExaminationKey, Rc<SearchResult>>>,
    pub(super) warnings: RefCell<HashSet<String>>,
}

/// The subject of an examination. The configuration in the policy determines the source of the image and
/// the repositories that it may be signed for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct ExaminationKey {
    pub(super) policy: PolicyId,
    pub(super) image: String,
    pub(super) digest: Digest,
    pub(super) revision: Revision,
}
