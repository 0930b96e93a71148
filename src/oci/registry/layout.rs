//! OCI image layouts on disk (OCI image specification, "Image Layout").
//!
//! Supports `oci-layout`, `index.json` and blobs. No cache: each run opens the current files.

use std::{
    collections::BTreeSet,
    fmt,
    fs::File,
    io::{self, Read, Take},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use serde::Deserialize;

use super::{LayoutDirectory, memory::MemoryLimit};
use crate::{
    base::{
        error::{Class, Error},
        untrusted::plain,
    },
    oci::{
        Descriptor, Digest, MANIFEST_TYPES, MAX_DOCUMENT, MAX_LISTING, RawManifest, Tag,
        TagOrDigest,
    },
};

/// The annotation with the tag of an entry of `index.json`.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image layout: a directory with `oci-layout`, `index.json` and `blobs/`.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    directory: LayoutDirectory,
    pub(super) memory: MemoryLimit,
}

/// The content of `oci-layout`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutVersion {
    image_layout_version: String,
}

/// The content of `index.json`.
#[derive(Deserialize)]
struct LayoutIndex {
    manifests: Vec<Descriptor>,
}

impl Layout {
    /// The layout in `directory`, which is not read yet.
    pub(crate) fn new(directory: LayoutDirectory) -> Self {
        Self {
            directory,
            memory: MemoryLimit::default(),
        }
    }

    /// The manifest with a tag or digest; `None` if it is missing.
    pub(super) fn manifest(&self, reference: &TagOrDigest) -> Result<Option<RawManifest>, Error> {
        self.check_version()?;
        match reference {
            TagOrDigest::Tag(tag) => self.tagged_manifest(tag.as_str()),
            TagOrDigest::Digest(digest) => {
                let bytes = self.read(&blob_path(*digest))?;
                Ok(bytes.map(|bytes| RawManifest {
                    bytes,
                    media_type: None,
                    claimed: None,
                }))
            }
        }
    }

    fn tagged_manifest(&self, tag: &str) -> Result<Option<RawManifest>, Error> {
        let index: LayoutIndex = self.read_json("index.json")?;
        let mut tagged = index.manifests.iter().filter(|entry| {
            entry
                .annotations
                .get(REF_NAME)
                .is_some_and(|name| name == tag)
        });
        let Some(entry) = tagged.next() else {
            return Ok(None);
        };
        if tagged.any(|other| other.digest != entry.digest) {
            return Err(Error::about(
                Class::Ambiguous,
                format!("{self}:{tag}"),
                "the tag is listed twice, for two digests",
            ));
        }
        let bytes = self.blob(entry)?;
        Ok(Some(RawManifest {
            bytes,
            media_type: Some(entry.media_type.clone()),
            claimed: Some(entry.digest),
        }))
    }

    /// The tags in `index.json`, in order. Other names of entries are not tags of this layout.
    pub(super) fn tags(&self) -> Result<Vec<Tag>, Error> {
        self.check_version()?;
        let index: LayoutIndex = self.read_json("index.json")?;
        let names = index
            .manifests
            .iter()
            .filter_map(|entry| entry.annotations.get(REF_NAME));
        let tags: BTreeSet<Tag> = names.filter_map(|name| Tag::parse(name).ok()).collect();
        Ok(tags.into_iter().collect())
    }

    /// The entries of `index.json` whose manifest refers to `subject`. An unreadable manifest with an
    /// artifact type is included, because it may refer to it.
    pub(super) fn referrers(&self, subject: Digest) -> Result<Vec<Descriptor>, Error> {
        self.check_version()?;
        let index: LayoutIndex = self.read_json("index.json")?;
        let mut remaining = MAX_LISTING;
        let mut referrers = Vec::new();
        for entry in index.manifests {
            if !MANIFEST_TYPES.contains(&entry.media_type.as_str()) {
                continue;
            }
            remaining = remaining.checked_sub(entry.size).ok_or_else(|| {
                let reason = "the manifests that it lists have more than 10 MiB";
                Error::unavailable(format!("{self}/index.json"), reason)
            })?;
            let is_referrer = match self.blob(&entry) {
                Ok(bytes) => subject_of(&bytes) == Some(subject),
                Err(_) => entry.artifact_type.is_some(),
            };
            if is_referrer {
                referrers.push(entry);
            }
        }
        Ok(referrers)
    }

    /// Loads a descriptor's blob and checks its size, but not its digest.
    pub(super) fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let path = blob_path(descriptor.digest);
        let mut file = self.layer(descriptor)?;
        if descriptor.size > MAX_DOCUMENT {
            let reason = format!("the file has more than {MAX_DOCUMENT} bytes");
            return Err(self.unavailable(&path, reason));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|error| self.unavailable(&path, error))?;
        // The file may have shrunk since its size was read.
        self.check_size(&path, bytes.len() as u64, descriptor)?;
        Ok(bytes)
    }

    /// Opens a layer and checks its size, but not its digest.
    pub(super) fn layer(&self, descriptor: &Descriptor) -> Result<Take<File>, Error> {
        let path = blob_path(descriptor.digest);
        let Some(file) = self.open(&path)? else {
            return Err(self.missing(&path));
        };
        let metadata = file
            .metadata()
            .map_err(|error| self.unavailable(&path, error))?;
        self.check_size(&path, metadata.len(), descriptor)?;
        Ok(file.take(descriptor.size))
    }

    fn check_size(&self, path: &Path, size: u64, descriptor: &Descriptor) -> Result<(), Error> {
        if size == descriptor.size {
            return Ok(());
        }
        let stated = descriptor.size;
        let reason = format!("the blob has {size} bytes, but its descriptor states {stated}");
        Err(self.unavailable(path, reason).class(Class::WrongBytes))
    }

    fn check_version(&self) -> Result<(), Error> {
        let layout: LayoutVersion = self.read_json("oci-layout")?;
        if layout.image_layout_version == "1.0.0" {
            return Ok(());
        }
        let version = plain(&layout.image_layout_version);
        let reason = format!("the layout has version {version}; repin supports 1.0.0");
        Err(Error::unavailable(self.to_string(), reason))
    }

    fn read_json<T: for<'de> Deserialize<'de>>(&self, file: &str) -> Result<T, Error> {
        let path = Path::new(file);
        let Some(bytes) = self.read(path)? else {
            let reason = "the file is missing, so this is not an OCI image layout";
            return Err(self
                .unavailable(path, reason)
                .help("create a layout, for example with `skopeo copy … oci:DIR:TAG`"));
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| self.unavailable(path, format!("cannot parse it: {error}")))
    }

    /// Loads a file of at most [`MAX_DOCUMENT`] bytes; `None` if it is missing.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.open(path)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| self.unavailable(path, error))?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            let reason = format!("the file has more than {MAX_DOCUMENT} bytes");
            return Err(self.unavailable(path, reason));
        }
        Ok(Some(bytes))
    }

    /// Opens a regular file; `None` if it is missing.
    fn open(&self, path: &Path) -> Result<Option<File>, Error> {
        // Opening a named pipe must not block the run.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(self.directory.path.join(path), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.unavailable(path, io::Error::from(error))),
        };
        let metadata = file
            .metadata()
            .map_err(|error| self.unavailable(path, error))?;
        if !metadata.is_file() {
            return Err(self.unavailable(path, "it is not a regular file"));
        }
        Ok(Some(file))
    }

    fn missing(&self, path: &Path) -> Error {
        let error = self.unavailable(path, "the blob is missing");
        error.class(Class::MissingContent)
    }

    fn unavailable(&self, path: &Path, reason: impl fmt::Display) -> Error {
        Error::unavailable(format!("{self}/{}", path.display()), reason.to_string())
    }
}

/// The digest that a manifest refers to as its subject; the manifest is not verified.
fn subject_of(manifest: &[u8]) -> Option<Digest> {
    #[derive(Deserialize)]
    struct Referrer {
        subject: Option<Descriptor>,
    }
    let referrer: Referrer = serde_json::from_slice(manifest).ok()?;
    Some(referrer.subject?.digest)
}

fn blob_path(digest: Digest) -> PathBuf {
    Path::new("blobs/sha256").join(digest.hex())
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci:{}", self.directory.configured.display())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    /// A layout whose bytes a test writes, malformed ones too; `support::layout` writes valid ones.
    struct World {
        directory: tempfile::TempDir,
        layout: Layout,
    }

    /// A layout without entries.
    fn world() -> World {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
        let marker = json!({"imageLayoutVersion": "1.0.0"}).to_string();
        fs::write(directory.path().join("oci-layout"), marker).unwrap();
        let layout = Layout::new(LayoutDirectory::new("", directory.path()));
        World { directory, layout }
    }

    impl World {
        fn path(&self, digest: Digest) -> PathBuf {
            self.directory.path().join(blob_path(digest))
        }

        /// An entry with the tag `t` and the given size.
        fn entry(&self, bytes: &[u8], size: usize) -> Value {
            let digest = Digest::of(bytes);
            fs::write(self.path(digest), bytes).unwrap();
            json!({"mediaType": "x", "digest": digest.to_string(), "size": size,
                "annotations": {REF_NAME: "t"}})
        }

        fn index(&self, entries: &[Value]) {
            let index = json!({ "manifests": entries }).to_string();
            fs::write(self.directory.path().join("index.json"), index).unwrap();
        }

        fn tagged(&self) -> Result<Option<RawManifest>, Error> {
            let tag = TagOrDigest::Tag(Tag::parse("t").unwrap());
            self.layout.manifest(&tag)
        }

        fn by_digest(&self, digest: Digest) -> Result<Option<RawManifest>, Error> {
            self.layout.manifest(&TagOrDigest::Digest(digest))
        }
    }

    #[test]
    fn duplicate_tag_must_have_one_digest() {
        let world = world();
        world.index(&[]);
        assert!(world.tagged().unwrap().is_none());
        let (one, two) = (world.entry(b"one", 3), world.entry(b"two", 3));
        world.index(&[one.clone(), one.clone()]);
        assert_eq!(world.tagged().unwrap().unwrap().bytes, b"one");
        world.index(&[one, two]);
        assert_eq!(world.tagged().unwrap_err().class, Class::Ambiguous);
    }

    #[test]
    fn blob_size_must_match_its_entry() {
        let world = world();
        for size in [2, 4] {
            let entry = world.entry(b"one", size);
            world.index(&[entry]);
            let error = world.tagged().unwrap_err();
            assert!(error.message.contains("the blob has 3 bytes"), "{error}");
        }
    }

    #[test]
    fn document_size_is_limited() {
        let world = world();
        let path = world.path(Digest::of(b"one"));
        let limit = usize::try_from(MAX_DOCUMENT).unwrap();
        fs::write(&path, vec![b' '; limit]).unwrap();
        let raw = world.by_digest(Digest::of(b"one")).unwrap().unwrap();
        assert_eq!(raw.bytes.len(), limit);
        fs::write(&path, vec![b' '; limit + 1]).unwrap();
        let error = world.by_digest(Digest::of(b"one")).unwrap_err();
        assert!(error.message.contains("the file has more than"), "{error}");
    }

    #[test]
    fn only_missing_files_are_absent() {
        let world = world();
        let digest = Digest::of(b"one");
        assert!(world.by_digest(digest).unwrap().is_none());
        // A directory or a named pipe is not a blob; a file without permission may be one.
        fs::create_dir(world.path(digest)).unwrap();
        let error = world.by_digest(digest).unwrap_err();
        assert!(error.message.contains("not a regular file"), "{error}");
        fs::remove_dir(world.path(digest)).unwrap();
        std::os::unix::fs::symlink("itself", world.directory.path().join("itself")).unwrap();
        std::os::unix::fs::symlink("../../itself", world.path(digest)).unwrap();
        assert!(world.by_digest(digest).is_err());
    }

    #[test]
    fn only_manifests_of_a_supported_layout_are_referrers() {
        let world = world();
        let subject = Digest::of(b"subject");
        let attached = |name: &str| {
            json!({ "name": name, "subject": {
                "mediaType": MANIFEST_TYPES[0], "digest": subject.to_string(), "size": 7,
            } })
            .to_string()
        };
        let (one, two) = (attached("one"), attached("two"));
        let mut manifest = world.entry(one.as_bytes(), one.len());
        manifest["mediaType"] = MANIFEST_TYPES[0].into();
        world.index(&[manifest, world.entry(two.as_bytes(), two.len())]);
        let found: Vec<_> = world
            .layout
            .referrers(subject)
            .unwrap()
            .iter()
            .map(|entry| entry.digest)
            .collect();
        assert_eq!(found, [Digest::of(one.as_bytes())]);
        let marker = json!({"imageLayoutVersion": "2.0.0"}).to_string();
        fs::write(world.directory.path().join("oci-layout"), marker).unwrap();
        for error in [
            world.layout.referrers(subject).unwrap_err(),
            world.layout.tags().unwrap_err(),
        ] {
            assert!(error.message.contains("version 2.0.0"), "{error}");
        }
    }

    #[test]
    fn layer_has_the_size_of_its_descriptor() {
        let world = world();
        for (size, is_readable) in [(2, false), (3, true), (4, false)] {
            let entry = world.entry(b"one", size);
            let descriptor: Descriptor = serde_json::from_value(entry).unwrap();
            let opened = world.layout.layer(&descriptor);
            assert_eq!(opened.is_ok(), is_readable, "{size}");
        }
    }
}
