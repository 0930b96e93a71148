//! The caches of a run: a second planning repeats no request and no warning.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    ffi::OsString,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
};

use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::{
    core::{
        checks::{ApprovedImage, Target},
        history::{History, OtherSets},
    },
    git::{Branch, Git, GitError, ObjectId, ScratchRepository},
    oci::{
        Digest, Revision, Tag, TagOrDigest, TagPattern,
        registry::{
            Source,
            resolve::{KnownManifest, PlatformFacts},
        },
    },
    trust::SearchResult,
};

/// The commits of each source that this run fetched, by the URL.
pub(super) type FetchedSources = RefCell<HashMap<String, Arc<FetchedRepository>>>;

/// The directories for the content of repositories on forges, by the URL and the work tree of a clone that cannot be
/// written.
pub(super) type TemporaryMirrors = RefCell<HashMap<(String, Option<PathBuf>), TempDir>>;

/// Another repository in a directory that is removed when dropped.
pub(super) struct FetchedRepository {
    pub(super) scratch: ScratchRepository,
    /// Whether the other repository has every requested reference.
    pub(super) has_references: bool,
    #[expect(dead_code, reason = "it owns the directory")]
    pub(super) directory: TempDir,
}

/// The images that tags resolved to in this run. A second planning uses the same images.
#[derive(Default)]
pub(super) struct TagCache {
    images: RefCell<HashMap<TagKey, ApprovedImage>>,
    /// The digests of tags by source, without their images.
    digests: RefCell<HashMap<(String, Tag), Digest>>,
}

#[derive(PartialEq, Eq, Hash)]
struct TagKey {
    /// The name of the source.
    source: String,
    tag: TagPattern,
    /// The digest that selects one of several matching tags.
    expected: Option<Digest>,
}

impl TagKey {
    fn new(source: &Source, target: &Target) -> Self {
        let expected = match target.tag {
            TagPattern::Tag(_) => None,
            TagPattern::Wildcard(_) => target.expected_digest(),
        };
        Self {
            source: source.to_string(),
            tag: target.tag.clone(),
            expected,
        }
    }
}

impl TagCache {
    pub(super) fn get(&self, source: &Source, target: &Target) -> Option<ApprovedImage> {
        let images = self.images.borrow();
        images.get(&TagKey::new(source, target)).cloned()
    }

    pub(super) fn insert(&self, source: &Source, target: &Target, image: &ApprovedImage) {
        let key = TagKey::new(source, target);
        self.images.borrow_mut().insert(key, image.clone());
    }

    /// The digest to which this run already resolved a tag, otherwise the tag.
    pub(super) fn reference(&self, source: &Source, tag: &Tag) -> TagOrDigest {
        let key = (source.to_string(), tag.clone());
        match self.digests.borrow().get(&key) {
            Some(digest) => TagOrDigest::Digest(*digest),
            None => TagOrDigest::Tag(tag.clone()),
        }
    }

    pub(super) fn insert_digest(&self, source: &Source, tag: &Tag, digest: Digest) {
        let key = (source.to_string(), tag.clone());
        self.digests.borrow_mut().insert(key, digest);
    }
}

/// The manifests that were read in this run, by source and digest.
#[derive(Default)]
pub(super) struct ImageCache(RefCell<HashMap<(String, Digest), KnownManifest>>);

impl ImageCache {
    pub(super) fn get(&self, source: &Source, digest: Digest) -> Option<KnownManifest> {
        let key = (source.to_string(), digest);
        self.0.borrow().get(&key).cloned()
    }

    /// The platforms of every image of the source that was read completely.
    pub(super) fn platforms(&self, source: &Source) -> Vec<PlatformFacts> {
        let name = source.to_string();
        let mut platforms = Vec::new();
        for ((source, _), known) in &*self.0.borrow() {
            if let Some(facts) = known.facts().filter(|_| *source == name) {
                platforms.extend_from_slice(&facts.platforms);
            }
        }
        platforms
    }

    pub(super) fn insert(&self, source: &Source, manifest: KnownManifest) {
        let key = (source.to_string(), manifest.digest());
        self.0.borrow_mut().insert(key, manifest);
    }
}

/// The attempts to read the images that only the order of builds needs. Their results are in [`ImageCache`].
#[derive(Default)]
pub(super) struct ImageAttempts(RefCell<HashMap<(String, Digest), Rc<ImageAttempt>>>);

/// Whether an image could be read. The first of concurrent readers requests it.
pub(super) type ImageAttempt = OnceCell<bool>;

impl ImageAttempts {
    /// The only attempt of the run to read a digest.
    pub(super) fn of(&self, source: &Source, digest: Digest) -> Rc<ImageAttempt> {
        let key = (source.to_string(), digest);
        Rc::clone(self.0.borrow_mut().entry(key).or_default())
    }
}

/// The sets of the branches that this run read.
#[derive(Default)]
pub(super) struct OtherSetsCache(RefCell<HashMap<(ObjectId, OsString), Arc<OtherSets>>>);

impl OtherSetsCache {
    /// The sets in the history of a branch, which was read for one of them.
    pub(super) fn read(
        &self,
        git: &Git,
        branch: &Branch,
        history: &History,
    ) -> Result<Arc<OtherSets>, GitError> {
        // The name of the file selects the configurations that are searched.
        let own = history.set_path();
        let key = (branch.tip, OsString::from(own.file_name()));
        if let Some(known) = self.0.borrow().get(&key) {
            return Ok(Arc::clone(known));
        }
        let sets = Arc::new(OtherSets::read(git, branch, own, history.reach())?);
        self.0.borrow_mut().insert(key, Arc::clone(&sets));
        Ok(sets)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        oci::{
            Tag, TagOrDigest,
            registry::{Layout, LayoutDirectory, resolve},
        },
        support::layout,
    };

    #[test]
    fn platforms_are_those_of_the_same_source() {
        let directory = tempfile::tempdir().unwrap();
        let platforms = ["linux/amd64", "linux/arm64"];
        let platforms = platforms.map(|name| layout::Platform::new(name, "a"));
        layout::Layout::at(&directory.path().join("app")).image("v1", &platforms);
        let source = |name: &str| {
            let directory = LayoutDirectory::new(name, directory.path());
            Source::Layout(Layout::new(directory))
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let (app, tag) = (source("app"), TagOrDigest::Tag(Tag::parse("v1").unwrap()));
        let facts = runtime.block_on(resolve::resolve(&app, &tag, &[]));
        let facts = facts.unwrap().unwrap();
        let cache = ImageCache::default();
        cache.insert(&app, KnownManifest::Complete(facts.clone()));
        let digests = |source: &Source| {
            let platforms = cache.platforms(source).into_iter();
            platforms.map(|image| image.digest).collect::<Vec<_>>()
        };
        let expected: Vec<_> = facts.platforms.iter().map(|image| image.digest).collect();
        assert_eq!(digests(&app), expected);
        assert_eq!(digests(&source("web")), []);
    }
}
