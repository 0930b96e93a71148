//! Documents by their digest in the user's cache directory, for all repositories and all runs.
//!
//! Only the content of a digest is known from here, never that a registry still has it. Bytes are hashed when they
//! are read, so a damaged or foreign file is an absent one. Each file is written next to its place and renamed, so
//! that concurrent runs need no lock. Deleting the directory costs only time.
//!
//! The last known digests of a repository's tags decide how a tag is requested (HEAD if the manifest is known), and
//! nothing else. They are one file for each repository, next to the documents, and count for the same limits.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::oci::{Digest, MAX_DOCUMENT, RawManifest, Tag};

/// The maximum size of all files, in bytes, and their maximum number. Three quarters of both, which an eviction
/// leaves, are enough for 100,000 tags of two platforms: an index, two manifests and two configs each.
const MAX_BYTES: u64 = 5 * 1024 * 1024 * 1024;
const MAX_FILES: usize = 800_000;
/// The age after which a document that is used is marked as used again.
const REFRESH: Duration = Duration::from_secs(86_400);
/// The maximum size of the file with the tags of a repository, in bytes.
const MAX_TAGS: u64 = 128 * 1024 * 1024;
/// The maximum length of the first line of a document, which is its media type.
const MAX_MEDIA_TYPE: usize = 256;

/// The cache of the user, for one repository.
#[derive(Debug)]
pub(crate) struct DocumentCache {
    directory: PathBuf,
    /// The file with the tags of the repository.
    tags_file: PathBuf,
    tags: Mutex<HashMap<Tag, Digest>>,
    /// The documents that this run fetched.
    fetched: Mutex<HashSet<Digest>>,
    /// Whether this run wrote a file.
    has_grown: AtomicBool,
    /// The wall clock.
    now: fn() -> SystemTime,
}

/// A document that was verified by its digest.
#[derive(Debug)]
struct CachedDocument {
    media_type: Option<String>,
    bytes: Vec<u8>,
}

impl DocumentCache {
    /// `directory`: that of repin in the user's cache; `repository`: the URL of the repository.
    pub(crate) fn open(directory: &Path, repository: &str, now: fn() -> SystemTime) -> Self {
        let directory = directory.join("documents");
        let name = Digest::of(repository.as_bytes()).hex();
        let tags_file = directory.join("tags").join(name);
        Self {
            directory,
            tags: Mutex::new(read_tags(&tags_file).unwrap_or_default()),
            tags_file,
            fetched: Mutex::default(),
            has_grown: AtomicBool::new(false),
            now,
        }
    }

    /// The digest that a tag had, if its manifest is known.
    pub(super) fn known_digest(&self, tag: &Tag) -> Option<Digest> {
        let tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        tags.get(tag)
            .copied()
            .filter(|digest| self.contains(*digest))
    }

    /// Whether a document is known.
    pub(super) fn contains(&self, digest: Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Whether this run fetched a document, so that the registry has it.
    pub(crate) fn was_fetched(&self, digest: Digest) -> bool {
        let fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        fetched.contains(&digest)
    }

    pub(super) fn manifest(&self, digest: Digest) -> Option<RawManifest> {
        let document = self.read(digest)?;
        Some(RawManifest {
            bytes: document.bytes,
            media_type: document.media_type,
            claimed: Some(digest),
        })
    }

    pub(super) fn blob(&self, digest: Digest) -> Option<Vec<u8>> {
        self.read(digest).map(|document| document.bytes)
    }

    /// Reads a document, and removes a damaged one.
    fn read(&self, digest: Digest) -> Option<CachedDocument> {
        let path = self.path(digest);
        let mut file = File::open(&path).ok()?;
        let mut content = Vec::new();
        let max = MAX_DOCUMENT + MAX_MEDIA_TYPE as u64 + 1;
        (&mut file).take(max).read_to_end(&mut content).ok()?;
        let end = content
            .iter()
            .take(MAX_MEDIA_TYPE + 1)
            .position(|b| *b == b'\n');
        let Some(end) = end.filter(|end| Digest::of(&content[end + 1..]) == digest) else {
            let _ = fs::remove_file(&path);
            return None;
        };
        let media_type = String::from_utf8_lossy(&content[..end]).into_owned();
        let bytes = content.split_off(end + 1);
        mark_as_used(&file, (self.now)());
        Some(CachedDocument {
            media_type: Some(media_type).filter(|text| !text.is_empty()),
            bytes,
        })
    }

    /// Stores a verified document that was fetched. A failure costs only time.
    pub(super) fn store(&self, digest: Digest, media_type: Option<&str>, bytes: &[u8]) {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        fetched.insert(digest);
        drop(fetched);
        let path = self.path(digest);
        let media_type = media_type.unwrap_or_default();
        let is_line = media_type.len() <= MAX_MEDIA_TYPE && !media_type.contains('\n');
        if is_line && !path.exists() {
            let stored = write(&path, &[media_type.as_bytes(), b"\n", bytes]);
            if stored.is_ok() {
                self.has_grown.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Stores the digests of tags. `listed`: all tags of the repository; the digests of the others are forgotten.
    pub(crate) fn store_tags(
        &self,
        listed: &BTreeSet<Tag>,
        read: impl IntoIterator<Item = (Tag, Digest)>,
    ) {
        let mut tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        tags.extend(read);
        tags.retain(|tag, _| listed.contains(tag));
        let mut text = String::new();
        for (tag, digest) in tags.iter() {
            let _ = writeln!(text, "{tag} {digest}");
        }
        // Without it, the next run requests every manifest again.
        if write(&self.tags_file, &[text.as_bytes()]).is_ok() {
            self.has_grown.store(true, Ordering::Relaxed);
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        let digits = digest.hex();
        self.directory.join(&digits[..2]).join(digits)
    }
}

impl Drop for DocumentCache {
    /// Removes the least recently used files if there are too many, also after a failed run.
    fn drop(&mut self) {
        if self.has_grown.load(Ordering::Relaxed) {
            let _ = remove_oldest(&self.directory, MAX_BYTES, MAX_FILES);
        }
    }
}

/// Sets the time of the last use, at most once a day.
fn mark_as_used(file: &File, now: SystemTime) {
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    let age = modified.map(|modified| now.duration_since(modified).unwrap_or_default());
    if age.is_ok_and(|age| age > REFRESH) {
        let _ = file.set_modified(now);
    }
}

fn read_tags(file: &Path) -> io::Result<HashMap<Tag, Digest>> {
    let mut text = String::new();
    File::open(file)?.take(MAX_TAGS).read_to_string(&mut text)?;
    let parse = |line: &str| {
        let (tag, digest) = line.split_once(' ')?;
        Some((Tag::parse(tag).ok()?, digest.parse().ok()?))
    };
    Ok(text.lines().filter_map(parse).collect())
}

/// Writes a file that other runs see completely or not at all.
fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.persist(path)?;
    Ok(())
}

/// Removes files until three quarters of both limits remain, if one is exceeded.
fn remove_oldest(directory: &Path, max_bytes: u64, max_files: usize) -> io::Result<()> {
    let mut files = Vec::new();
    let mut bytes = 0;
    for part in fs::read_dir(directory)? {
        // A foreign file is no directory, and another run may remove a file.
        for file in fs::read_dir(part?.path()).into_iter().flatten().flatten() {
            let Ok(metadata) = file.metadata() else {
                continue;
            };
            bytes += metadata.len();
            files.push((metadata.modified()?, metadata.len(), file.path()));
        }
    }
    if bytes <= max_bytes && files.len() <= max_files {
        return Ok(());
    }
    files.sort();
    let mut count = files.len();
    for (_, length, path) in files {
        if bytes <= max_bytes / 4 * 3 && count <= max_files / 4 * 3 {
            break;
        }
        // Another run may have removed it.
        if fs::remove_file(path).is_ok() {
            bytes -= length;
            count -= 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> Tag {
        Tag::parse(text).unwrap()
    }

    #[test]
    fn document_is_verified_when_it_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let cache = DocumentCache::open(directory.path(), "r", SystemTime::now);
        let digest = Digest::of(b"{}");
        assert!(cache.manifest(digest).is_none());
        cache.store(digest, Some("type"), b"{}");
        let raw = cache.manifest(digest).unwrap();
        assert_eq!(
            (raw.bytes, raw.media_type),
            (b"{}".to_vec(), Some("type".to_owned()))
        );
        for damaged in ["type\n{ }", "", "no line", "\n"] {
            fs::write(cache.path(digest), damaged).unwrap();
            assert!(cache.manifest(digest).is_none(), "{damaged}");
            assert!(!cache.path(digest).exists(), "{damaged}");
        }
        cache.store(digest, None, b"{}");
        assert_eq!(cache.manifest(digest).unwrap().media_type, None);
        assert_eq!(cache.blob(digest).unwrap(), b"{}");
    }

    #[test]
    fn tags_belong_to_their_repository() {
        let directory = tempfile::tempdir().unwrap();
        let (known, unknown) = (Digest::of(b"known"), Digest::of(b"unknown"));
        let cache = DocumentCache::open(directory.path(), "r", SystemTime::now);
        cache.store(known, None, b"known");
        let listed = BTreeSet::from([tag("a"), tag("b"), tag("c")]);
        let read = [(tag("a"), known), (tag("b"), unknown), (tag("c"), known)];
        cache.store_tags(&listed, read);
        let open = |repository| DocumentCache::open(directory.path(), repository, SystemTime::now);
        let again = open("r");
        assert_eq!(again.known_digest(&tag("a")), Some(known));
        assert_eq!(again.known_digest(&tag("b")), None, "unknown manifest");
        assert_eq!(open("other").known_digest(&tag("a")), None);
        // A tag that an interrupted listing did not read keeps its digest.
        again.store_tags(&BTreeSet::from([tag("a"), tag("b")]), [(tag("b"), known)]);
        let known_digests = ["a", "b", "c"].map(|name| open("r").known_digest(&tag(name)));
        assert_eq!(known_digests, [Some(known), Some(known), None]);
    }

    #[test]
    fn only_fetched_documents_are_proved() {
        let directory = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"a");
        for _ in 0..2 {
            let cache = DocumentCache::open(directory.path(), "r", SystemTime::now);
            let _ = cache.blob(digest);
            assert!(!cache.was_fetched(digest));
            cache.store(digest, None, b"a");
            assert!(cache.was_fetched(digest));
        }
    }

    /// Documents of the size that builds with 15 layers and 60 lines of history produce.
    #[test]
    fn limits_fit_hundred_thousand_tags_of_two_platforms() {
        const TAGS: u64 = 100_000;
        const INDEX: u64 = 4 * 500;
        const MANIFEST: u64 = 500 + 15 * 250;
        const CONFIG: u64 = 2_000 + 15 * 75 + 60 * 150;
        // One more file contains all tags, of at most 128 characters each.
        let files = TAGS * (1 + 2 + 2) + 1;
        let tags = TAGS * (128 + 1 + 71 + 1);
        let bytes = TAGS * (INDEX + 2 * MANIFEST + 2 * CONFIG) + tags;
        assert!(files <= MAX_FILES as u64 / 4 * 3, "{files}");
        assert!(bytes <= MAX_BYTES / 4 * 3, "{bytes}");
        assert!(tags <= MAX_TAGS, "{tags}");
    }

    #[test]
    fn oldest_documents_are_removed_first() {
        let directory = tempfile::tempdir().unwrap();
        let cache = DocumentCache::open(directory.path(), "r", SystemTime::now);
        let now = SystemTime::now();
        let mut digests = Vec::new();
        for age in 0..8_u8 {
            let digest = Digest::of(&[age]);
            cache.store(digest, None, &[age]);
            let file = File::open(cache.path(digest)).unwrap();
            file.set_modified(now - Duration::from_secs(3_600 * u64::from(age)))
                .unwrap();
            digests.push(digest);
        }
        let left = || {
            let exists = |digest: &&Digest| cache.path(**digest).exists();
            digests.iter().filter(exists).count()
        };
        fs::write(cache.directory.join("foreign"), "").unwrap();
        remove_oldest(&cache.directory, 16, 8).unwrap();
        assert_eq!(left(), 8, "at the limits");
        remove_oldest(&cache.directory, 16, 4).unwrap();
        assert_eq!(left(), 3);
        assert!(cache.path(digests[2]).exists(), "the newest remain");
        remove_oldest(&cache.directory, 4, 8).unwrap();
        assert_eq!(left(), 1);
    }
}
