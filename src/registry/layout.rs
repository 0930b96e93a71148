//! OCI image layouts on disk (OCI image specification, "Image Layout").
//!
//! Reading only: `oci-layout`, `index.json` and blobs. Nothing is cached, so each run sees what is
//! there now.

use std::{
    fmt,
    fs::File,
    io::{ErrorKind as Io, Read, Take},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};
use serde::Deserialize;

use super::memory::Memory;
use crate::oci::{DOCUMENT_MAX, Descriptor, LISTING_MAX, MANIFEST_TYPES, RawManifest, TagOrDigest};
use crate::{
    error::{Class, Error},
    oci::Digest,
    untrusted::plain,
};

/// The annotation of an entry of `index.json` that holds its tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image layout: a directory with `oci-layout`, `index.json` and `blobs/`.
#[derive(Debug, Clone)]
pub struct Layout {
    directory: PathBuf,
    pub(super) memory: Memory,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

#[derive(Deserialize)]
struct Entries {
    manifests: Vec<Descriptor>,
}

impl Layout {
    /// The layout in `directory`, which is looked at when something is requested.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            memory: Memory::default(),
        }
    }

    /// The manifest that a tag names or that has a digest; `None` if there is none.
    pub(super) fn manifest(&self, want: &TagOrDigest) -> Result<Option<RawManifest>, Error> {
        self.check_version()?;
        match want {
            TagOrDigest::Tag(tag) => self.tagged(tag.as_str()),
            TagOrDigest::Digest(digest) => {
                let bytes = self.read(&blob_path(*digest), DOCUMENT_MAX)?;
                Ok(bytes.map(|bytes| RawManifest {
                    bytes,
                    media_type: None,
                    claimed: None,
                }))
            }
        }
    }

    fn tagged(&self, tag: &str) -> Result<Option<RawManifest>, Error> {
        let entries: Entries = self.json("index.json")?;
        let named = |entry: &&Descriptor| {
            entry
                .annotations
                .get(REF_NAME)
                .is_some_and(|name| name == tag)
        };
        let mut entries = entries.manifests.iter().filter(named);
        let Some(entry) = entries.next() else {
            return Ok(None);
        };
        if entries.any(|other| other.digest != entry.digest) {
            let what = format!("{self}:{tag}");
            return Err(Error::about(
                Class::Ambiguous,
                what,
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

    /// The entries of `index.json` whose manifest names `subject` as what it is attached to, and those
    /// that cannot be read and have a type of their own: they may be.
    pub(super) fn referrers(&self, subject: Digest) -> Result<Vec<Descriptor>, Error> {
        self.check_version()?;
        let entries: Entries = self.json("index.json")?;
        let mut left = LISTING_MAX;
        let mut referrers = Vec::new();
        for entry in entries.manifests {
            if !MANIFEST_TYPES.contains(&entry.media_type.as_str()) {
                continue;
            }
            left = left.checked_sub(entry.size).ok_or_else(|| {
                let reason = "the manifests that it lists have more than 10 MiB";
                Error::unavailable(format!("{self}/index.json"), reason)
            })?;
            let attached = match self.blob(&entry) {
                Ok(bytes) => subject_of(&bytes) == Some(subject),
                Err(_) => entry.artifact_type.is_some(),
            };
            if attached {
                referrers.push(entry);
            }
        }
        Ok(referrers)
    }

    /// The bytes that a descriptor points to, of the size that it gives; not hashed yet.
    pub(super) fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let path = blob_path(descriptor.digest);
        let what = || format!("{self}/{}", path.display());
        let bytes = self
            .read(&path, DOCUMENT_MAX)?
            .ok_or_else(|| Error::unavailable(what(), "the blob is missing"))?;
        if bytes.len() as u64 != descriptor.size {
            let reason = format!(
                "the blob has {} bytes, but its descriptor states {}",
                bytes.len(),
                descriptor.size
            );
            return Err(Error::unavailable(what(), reason));
        }
        Ok(bytes)
    }

    /// The file that a layer's descriptor points to, of the size that it gives; not hashed yet.
    pub(super) fn layer(&self, descriptor: &Descriptor) -> Result<Take<File>, Error> {
        let path = blob_path(descriptor.digest);
        let unavailable =
            |reason: String| Error::unavailable(format!("{self}/{}", path.display()), reason);
        let file = self
            .open(&path)?
            .ok_or_else(|| unavailable("the blob is missing".to_owned()))?;
        let length = file
            .metadata()
            .map_err(|error| unavailable(error.to_string()))?
            .len();
        if length != descriptor.size {
            return Err(unavailable(format!(
                "the blob has {length} bytes, but its descriptor states {}",
                descriptor.size
            )));
        }
        Ok(file.take(descriptor.size))
    }

    fn check_version(&self) -> Result<(), Error> {
        let marker: Marker = self.json("oci-layout")?;
        if marker.image_layout_version == "1.0.0" {
            return Ok(());
        }
        let version = plain(&marker.image_layout_version);
        let reason = format!("the layout has version {version}; repin supports 1.0.0");
        Err(Error::unavailable(self.to_string(), reason))
    }

    fn json<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<T, Error> {
        let what = || format!("{self}/{name}");
        let bytes = self
            .read(Path::new(name), DOCUMENT_MAX)?
            .ok_or_else(|| Error {
                help: Some(
                    "create a layout, for example with `skopeo copy … oci:DIR:TAG`".to_owned(),
                ),
                ..Error::unavailable(
                    what(),
                    "the file is missing, so this is not an OCI image layout",
                )
            })?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::unavailable(what(), format!("cannot parse it: {error}")))
    }

    /// A file's bytes, at most `max`; `None` if it is missing.
    fn read(&self, path: &Path, max: u64) -> Result<Option<Vec<u8>>, Error> {
        let what = || format!("{self}/{}", path.display());
        let Some(file) = self.open(path)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(max + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::unavailable(what(), error.to_string()))?;
        if bytes.len() as u64 > max {
            return Err(Error::unavailable(
                what(),
                format!("the file has more than {max} bytes"),
            ));
        }
        Ok(Some(bytes))
    }

    /// A regular file; `None` if it is missing.
    fn open(&self, path: &Path) -> Result<Option<File>, Error> {
        let what = || format!("{self}/{}", path.display());
        let fail = |error: std::io::Error| Error::unavailable(what(), error.to_string());
        // Without waiting: a named pipe in a blob's place must not hang the run.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(self.directory.join(path), flags, Mode::empty())
            .map_err(std::io::Error::from)
        {
            Ok(file) => File::from(file),
            Err(error) if error.kind() == Io::NotFound => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        if !file.metadata().map_err(fail)?.is_file() {
            return Err(Error::unavailable(what(), "it is not a regular file"));
        }
        Ok(Some(file))
    }
}

/// The digest that a manifest is attached to, if it says so; nothing else about it is checked.
fn subject_of(manifest: &[u8]) -> Option<Digest> {
    #[derive(Deserialize)]
    struct Attached {
        subject: Option<Descriptor>,
    }
    let attached: Attached = serde_json::from_slice(manifest).ok()?;
    Some(attached.subject?.digest)
}

fn blob_path(digest: Digest) -> PathBuf {
    Path::new("blobs/sha256").join(digest.hex())
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci:{}", self.directory.display())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;
    use crate::oci::Tag;

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
        let layout = Layout::new(directory.path().to_owned());
        World { directory, layout }
    }

    impl World {
        fn path(&self, digest: Digest) -> PathBuf {
            self.directory.path().join(blob_path(digest))
        }

        /// An entry with the tag `t`, of a size that may be another than the blob's.
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
    fn a_tag_may_be_there_twice_for_one_digest() {
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
    fn a_document_is_read_up_to_its_limit() {
        let world = world();
        let path = world.path(Digest::of(b"one"));
        let limit = usize::try_from(DOCUMENT_MAX).unwrap();
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
        // A directory or a named pipe is not a blob, and what cannot be opened may be one.
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
        let found = world.layout.referrers(subject).unwrap();
        let found: Vec<_> = found.iter().map(|entry| entry.digest).collect();
        assert_eq!(found, [Digest::of(one.as_bytes())]);
        let marker = json!({"imageLayoutVersion": "2.0.0"}).to_string();
        fs::write(world.directory.path().join("oci-layout"), marker).unwrap();
        let error = world.layout.referrers(subject).unwrap_err();
        assert!(error.message.contains("version 2.0.0"), "{error}");
    }
}
