//! The search in a commit's tree.
//!
//! The directories that are OCI image layouts (image specification, "Image Layout").
//!
//! A file called `oci-layout` proves nothing: otherwise, everyone who may add a file to a directory
//! could hide every other file in it.
//!
//! The configuration files of a repository, and the listing of its files that several sets share.
//!
//! Digests of the images of all sets, in files that no set with these images searches.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use serde::Deserialize;

use super::{
    Exists, Outside, Scope, TrackedFile, TrackedTree, Unreadable, add_other_sets, from_top,
    is_outside, is_searched, read_blob,
};
use crate::{
    base::files::{Globs, RelPath, is_config_file},
    config::{self, Config, Image, OutsidePolicy, SetPath},
    core::{
        configurations::{self, ConfigurationFiles, Contents, OtherConfigurations, is_left_out},
        pins::{
            FoundPins, Located, Occurrence, OccurrenceKind, OtherDigestFinder, OtherPlaces, Pin,
        },
    },
    git::{Git, GitError, ObjectId, SharedTracking},
    oci::{Digest, Repository},
};

/// One file of a tree.
struct Entry {
    path: RelPath,
    blob: ObjectId,
}

/// Searches the tree of a commit; `found` are the pins of the same tree.
pub(crate) fn commit(config: &Config, git: &Git, commit: &str, found: &FoundPins) -> Outside {
    let mut outside = Outside::default();
    let Some(id) = ObjectId::parse(commit.as_bytes()) else {
        let reason = format!(
            "`{}` is not the name of a commit",
            crate::base::untrusted::plain(commit)
        );
        let unread = Unreadable {
            file: None,
            reason,
            hint: None,
        };
        outside.unread_configurations.push(unread.clone());
        outside.unread.push(unread);
        return outside;
    };
    if let Err(error) = search(config, git, &id, found, &mut outside) {
        let reason = format!("cannot read the files of commit {}: {error}", id.short());
        let unread = Unreadable::tree(reason, error.hint());
        outside.unread_configurations.push(unread.clone());
        outside.unread.push(unread);
    }
    outside
}

fn search(
    config: &Config,
    git: &Git,
    commit: &ObjectId,
    found: &FoundPins,
    outside: &mut Outside,
) -> Result<(), GitError> {
    let (mut entries, mut blobs) = (Vec::new(), HashMap::new());
    let root = config.set_path.directory();
    git.regular_files(commit, |path, blob| {
        let below = path.as_path().strip_prefix(root);
        if let Ok(Ok(below)) = below.map(RelPath::new) {
            entries.push(Entry { path: below, blob });
        }
        blobs.insert(path, blob);
    })?;
    let configurations = blobs.keys().filter(|path| is_config_file(path.as_path()));
    let configurations = Arc::new(configurations.cloned().collect());
    let others = OtherConfigurations::new(config, configurations);
    let mut contents = CommitContents { git, blobs };
    if config.outside != OutsidePolicy::Ignore {
        let paths: Vec<_> = entries.iter().map(|entry| &entry.path).collect();
        let layouts = find(&paths, &mut |path, most| {
            contents.read(&from_top(config, path), most).ok()
        });
        entries.retain(|entry| is_searched(&layouts, config, &entry.path));
        let blobs: Vec<ObjectId> = entries.iter().map(|entry| entry.blob).collect();
        fetch(git, &blobs)?;
        let exists = |path: &Path| contents.has_chart(&root.join(path));
        search_blobs(config, git, found, entries, &exists, outside)?;
    }
    add_other_sets(&others, found, &mut contents, outside);
    Ok(())
}

/// The files of a commit, by their paths from the top of the repository.
struct CommitContents<'g> {
    git: &'g Git,
    blobs: HashMap<RelPath, ObjectId>,
}

impl Contents for CommitContents<'_> {
    fn read(&mut self, path: &RelPath, most: u64) -> Result<Vec<u8>, String> {
        let Some(blob) = self.blobs.get(path) else {
            return Err("the file does not exist".to_owned());
        };
        fetch(self.git, &[*blob]).map_err(|error| error.to_string())?;
        read_blob(self.git, *blob, most)
    }

    fn has_chart(&self, path: &Path) -> bool {
        RelPath::new(path).is_ok_and(|path| self.blobs.contains_key(&path))
    }

    /// A commit contains no ignored file.
    fn is_ignored(&self, _: &RelPath) -> Result<bool, String> {
        Ok(false)
    }
}

/// Fetches contents that are missing in a mirror or in a partial clone.
fn fetch(git: &Git, blobs: &[ObjectId]) -> Result<(), GitError> {
    let missing = git.missing(blobs)?;
    if missing.is_empty() || git.fetch_missing(&missing)? {
        return Ok(());
    }
    git.fetch_blobs(&git.only_remote()?, &missing)
}

/// Searches files outside of a sparse checkout.
pub(super) fn sparse(
    config: &Config,
    found: &FoundPins,
    files: Vec<TrackedFile>,
    exists: &Exists<'_>,
    outside: &mut Outside,
) {
    let entries = files.into_iter().filter_map(|file| {
        Some(Entry {
            path: file.path,
            blob: file.sparse?,
        })
    });
    let entries = entries.collect();
    let searched = Git::open(&config.root)
        .and_then(|git| search_blobs(config, &git, found, entries, exists, outside));
    if let Err(error) = searched {
        let reason = format!("cannot read the files outside of the sparse checkout: {error}");
        outside.unread.push(Unreadable::tree(reason, error.hint()));
    }
}

/// Searches each content once for the same places, however many files have it.
fn search_blobs(
    config: &Config,
    git: &Git,
    found: &FoundPins,
    entries: Vec<Entry>,
    exists: &Exists<'_>,
    outside: &mut Outside,
) -> Result<(), GitError> {
    let finder = Arc::new(OtherDigestFinder::new(config));
    let pinned: HashSet<Digest> = found.pins().iter().map(|pin| pin.item.digest).collect();
    let pinned = Arc::new(pinned);
    outside.files += entries.len();
    let mut groups: HashMap<OtherPlaces, Vec<Entry>> = HashMap::new();
    for entry in entries {
        let places = if outside.left_out.contains(&entry.path) {
            finder.places_of_left_out(&entry.path, exists)
        } else {
            finder.places_of(&entry.path, exists)
        };
        groups.entry(places).or_default().push(entry);
    }
    let pins: HashSet<_> = found
        .pins()
        .iter()
        .map(|pin| (&*pin.file, pin.item.offset, pin.item.digest))
        .collect();
    let mut occurrences = Vec::new();
    for (places, entries) in groups {
        let (finder, pinned) = (Arc::clone(&finder), Arc::clone(&pinned));
        let mut buffer = Vec::new();
        let mut objects = git.objects(move |content: &mut dyn Read| {
            let found = finder.in_file(content, &mut buffer, &places, |kind, digest| {
                is_outside(kind, digest, &pinned)
            })?;
            Ok(Some(found.occurrences).filter(|occurrences| !occurrences.is_empty()))
        });
        let mut requested = HashSet::new();
        for entry in &entries {
            if requested.insert(entry.blob) {
                objects.request(entry.blob)?;
            }
        }
        let contents: HashMap<ObjectId, Vec<Occurrence>> = objects.finish()?;
        for entry in entries {
            let file = Arc::new(entry.path);
            for occurrence in contents.get(&entry.blob).into_iter().flatten() {
                // Files that are not counted, or not in the work tree, have no pins in `found`.
                if !pins.contains(&(&*file, occurrence.offset, occurrence.digest)) {
                    occurrences.push(Located {
                        file: Arc::clone(&file),
                        item: occurrence.clone(),
                    });
                }
            }
        }
    }
    outside.occurrences.extend(occurrences);
    outside.sort();
    Ok(())
}

/// Loads a regular file with at most a number of bytes.
type ReadFile<'r> = dyn FnMut(&RelPath, u64) -> Option<Vec<u8>> + 'r;

/// The file that marks a layout.
const MARKER: &[u8] = b"oci-layout";
/// The file with the manifests of a layout.
const INDEX: &[u8] = b"index.json";
/// The directory with the blobs of a layout.
const BLOBS: &[u8] = b"blobs/";
/// The maximum size of the marker, in bytes; it contains a version.
const MAX_MARKER: u64 = 4 * 1024;
/// The maximum size of an index, in bytes.
const MAX_INDEX: u64 = 16 * 1024 * 1024;

#[derive(Deserialize)]
struct Marker {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

#[derive(Deserialize)]
struct Index {
    #[serde(rename = "manifests")]
    _manifests: Vec<serde_json::Map<String, serde_json::Value>>,
}

/// OCI image layouts: directories with an `oci-layout` file, an index and blobs.
#[derive(Debug, Default)]
pub(super) struct Layouts {
    /// Each path has a final `/`, unless it is the root.
    directories: BTreeSet<Vec<u8>>,
}

impl Layouts {
    /// Whether a file belongs to a layout: its marker, its index, or a blob with a digest as its name.
    /// Any other file in the directory belongs to the repository.
    pub(super) fn contains(&self, path: &RelPath) -> bool {
        let path = path.as_bytes();
        let name = memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1);
        if [MARKER, INDEX].contains(&&path[name..]) {
            return self.directories.contains(&path[..name]);
        }
        let mut parts = path.rsplitn(3, |byte| *byte == b'/');
        let (encoded, algorithm, above) = (parts.next(), parts.next(), parts.next());
        let digits = match algorithm {
            Some(b"sha256") => 64,
            Some(b"sha512") => 128,
            _ => return false,
        };
        let is_digest = encoded.is_some_and(|encoded| {
            encoded.len() == digits
                && encoded
                    .iter()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        });
        let directory = above.and_then(|above| above.strip_suffix(b"blobs"));
        is_digest && directory.is_some_and(|directory| self.directories.contains(directory))
    }
}

/// The layouts among the files of a tree: directories with a valid marker, a valid index, and blobs.
pub(super) fn find(files: &[&RelPath], read: &mut ReadFile<'_>) -> Layouts {
    let mut layouts = Layouts::default();
    let marked: Vec<&[u8]> = files
        .iter()
        .filter_map(|path| directory_of(path, MARKER))
        .collect();
    if marked.is_empty() {
        return layouts;
    }
    let paths: BTreeSet<&[u8]> = files.iter().map(|path| path.as_bytes()).collect();
    for directory in marked {
        let blobs = [directory, BLOBS].concat();
        let first = paths.range(&blobs[..]..).next();
        let has_blobs = first.is_some_and(|path| path.starts_with(&blobs));
        if has_blobs
            && parses::<Marker>(directory, MARKER, MAX_MARKER, read)
                .is_some_and(|marker| marker.version == "1.0.0")
            && parses::<Index>(directory, INDEX, MAX_INDEX, read).is_some()
        {
            layouts.directories.insert(directory.to_vec());
        }
    }
    layouts
}

/// The directory of a file with this name: empty, or ending with `/`.
fn directory_of<'p>(path: &'p RelPath, name: &[u8]) -> Option<&'p [u8]> {
    let directory = path.as_bytes().strip_suffix(name)?;
    (directory.is_empty() || directory.ends_with(b"/")).then_some(directory)
}

fn parses<T: for<'de> Deserialize<'de>>(
    directory: &[u8],
    name: &[u8],
    most: u64,
    read: &mut ReadFile<'_>,
) -> Option<T> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};
    let path = [directory, name].concat();
    let path = RelPath::new(Path::new(OsStr::from_bytes(&path))).ok()?;
    serde_json::from_slice(&read(&path, most)?).ok()
}

/// The tracked and the ignored files of a directory, and the configuration files of the repository.
#[derive(Debug)]
pub(crate) struct SharedTree {
    pub(super) tracking: SharedTracking,
    pub(super) configurations: Arc<ListedConfigurations>,
}

impl SharedTree {
    /// Lists the files of a directory once for all sets with these
    /// [`searched_paths`](crate::config::Config::searched_paths).
    pub(crate) fn read(directory: &Path, searched: &[Vec<u8>]) -> Result<Self, GitError> {
        let (tracking, configurations) = SharedTracking::read(directory, searched)?;
        Ok(Self {
            tracking,
            configurations: Arc::new(ListedConfigurations::new(configurations)),
        })
    }
}

/// The configuration files of a repository, by their paths from the top.
#[derive(Debug)]
pub(super) struct ListedConfigurations {
    listed: Vec<TrackedFile>,
    existing: OnceLock<ExistingConfigurations>,
}

/// The configuration files that were not deleted in the work tree.
#[derive(Debug)]
pub(super) struct ExistingConfigurations {
    pub(super) files: Arc<ConfigurationFiles>,
    /// The contents of the files outside of the sparse checkout.
    pub(super) left_out: HashMap<RelPath, ObjectId>,
}

impl ListedConfigurations {
    pub(super) fn new(listed: Vec<TrackedFile>) -> Self {
        Self {
            listed,
            existing: OnceLock::new(),
        }
    }

    /// The files that exist, which the first call determines. `top`: that of the repository.
    pub(super) fn existing(&self, top: &Path) -> &ExistingConfigurations {
        self.existing.get_or_init(|| {
            let (mut files, mut left_out) = (Vec::new(), HashMap::new());
            for file in configurations::existing(self.listed.clone(), top) {
                if let Some(id) = file.sparse.filter(|_| is_left_out(&file, top)) {
                    left_out.insert(file.path.clone(), id);
                }
                files.push(file.path);
            }
            ExistingConfigurations {
                files: Arc::new(files.into_iter().collect()),
                left_out,
            }
        })
    }
}

/// The images of multiple sets with their pins, as one set of a directory above them.
pub(crate) struct Union {
    pub(crate) config: Config,
    pub(crate) found: FoundPins,
    /// The roots of the sets that declare each image and do not ignore digests outside.
    searched: Vec<Vec<PathBuf>>,
}

impl Union {
    /// The union of the sets below `directory`; `None` without an image that is searched for.
    pub(crate) fn new(
        directory: &Path,
        sets: &[(&Config, &FoundPins)],
    ) -> io::Result<Option<Self>> {
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
                | OccurrenceKind::Marked(image)
                | OccurrenceKind::Entry(image, _) => Some(image),
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
