//! Documents by their digest in the user's cache directory, for all repositories and all runs.
//!
//! Only the content of a digest is known from here, never that a registry still has it. Bytes are hashed when they
//! are read, so a damaged or foreign file is an absent one. Each file is written next to its place and renamed, so
//! that concurrent runs need no lock. Deleting the directory costs time, and the dates of manifests that a registry lost.
//!
//! The last known digests of a repository's tags decide how a tag is requested (HEAD if the manifest is known), and
//! nothing else.

use std::{
    collections::{BTreeMap, HashMap},
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

/// The maximum size of all documents, in bytes, and their maximum number.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
const MAX_FILES: usize = 400_000;
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
    /// Whether this run wrote a document.
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
        let name = Digest::of(repository.as_bytes()).hex();
        let tags_file = directory.join("tags").join(name);
        Self {
            directory: directory.join("documents"),
            tags: Mutex::new(read_tags(&tags_file).unwrap_or_default()),
            tags_file,
            has_grown: AtomicBool::new(false),
            now,
        }
    }

    /// The digest that a tag had, if its manifest is known.
    pub(super) fn known_digest(&self, tag: &Tag) -> Option<Digest> {
        let tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = *tags.get(tag)?;
        self.path(digest).is_file().then_some(digest)
    }

    /// Whether the manifest of a tag is known, unless the tag was moved.
    pub(crate) fn knows(&self, tag: &Tag) -> bool {
        self.known_digest(tag).is_some()
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

    /// Stores a verified document. A failure costs only time.
    pub(super) fn store(&self, digest: Digest, media_type: Option<&str>, bytes: &[u8]) {
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

    /// Stores the tags of a complete listing, and removes the least recently used documents if there are too many.
    pub(crate) fn finish(&self, tags: &BTreeMap<Tag, Digest>) {
        let mut text = String::new();
        for (tag, digest) in tags {
            let _ = writeln!(text, "{tag} {digest}");
        }
        // Without it, the next run requests every manifest again.
        let _ = write(&self.tags_file, &[text.as_bytes()]);
        if self.has_grown.load(Ordering::Relaxed) {
            let _ = remove_oldest(&self.directory, MAX_BYTES, MAX_FILES);
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        let digits = digest.hex();
        self.directory.join(&digits[..2]).join(digits)
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

/// Removes documents until three quarters of both limits remain, if one is exceeded.
fn remove_oldest(directory: &Path, max_bytes: u64, max_files: usize) -> io::Result<()> {
    let mut files = Vec::new();
    let mut bytes = 0;
    for part in fs::read_dir(directory)? {
        // A foreign file is no directory, and another run may remove a document.
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
        cache.finish(&[(tag("a"), known), (tag("b"), unknown)].into());
        let again = DocumentCache::open(directory.path(), "r", SystemTime::now);
        assert_eq!(again.known_digest(&tag("a")), Some(known));
        assert!(!again.knows(&tag("b")), "its manifest is not known");
        assert!(!DocumentCache::open(directory.path(), "other", SystemTime::now).knows(&tag("a")));
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
