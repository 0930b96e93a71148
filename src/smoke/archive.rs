//! An image layout's image as the archive that engines load: config, layers, and last a
//! `manifest.json` that names them.
//!
//! Both engines read this form, whichever their version, and call the image by its config's digest.
//! Each blob is hashed as it is written: one that does not verify ends the archive before
//! `manifest.json`, and then no engine takes it.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

use super::process::FeedError;
use crate::{
    error::Error,
    oci::{Descriptor, Digest, Hasher, ImageManifest},
};

/// What of a layout goes into an archive.
pub(super) struct Archive {
    directory: PathBuf,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// A blob as it is read, hashed on the way.
struct Blob {
    file: io::Take<File>,
    hasher: Hasher,
    failed: Option<io::Error>,
}

impl Archive {
    /// The image of this manifest, in the layout in `directory`.
    pub(super) fn new(directory: &Path, manifest: &ImageManifest) -> Self {
        Self {
            directory: directory.to_owned(),
            config: manifest.config.clone(),
            layers: manifest.layers.clone(),
        }
    }

    /// Writes the archive.
    pub(super) fn write(&self, out: &mut dyn Write) -> Result<(), FeedError> {
        let mut builder = tar::Builder::new(out);
        let mut written: Vec<Digest> = Vec::new();
        for blob in std::iter::once(&self.config).chain(&self.layers) {
            if !written.contains(&blob.digest) {
                self.append(&mut builder, blob)?;
                written.push(blob.digest);
            }
        }
        let names: Vec<_> = self.layers.iter().map(|layer| name(layer.digest)).collect();
        let manifest = serde_json::json!([{ "Config": name(self.config.digest), "RepoTags": null, "Layers": names }]);
        let manifest = manifest.to_string();
        let mut header = header(manifest.len() as u64);
        builder
            .append_data(&mut header, "manifest.json", manifest.as_bytes())
            .map_err(|_| FeedError::Pipe)?;
        builder
            .into_inner()
            .and_then(Write::flush)
            .map_err(|_| FeedError::Pipe)
    }

    fn append(
        &self,
        builder: &mut tar::Builder<&mut dyn Write>,
        blob: &Descriptor,
    ) -> Result<(), FeedError> {
        let what = format!("oci:{}/{}", self.directory.display(), name(blob.digest));
        let wrong = |reason: String| FeedError::Source(Error::unavailable(&what, reason));
        let file = open(&self.directory.join(name(blob.digest)))
            .map_err(|error| wrong(error.to_string()))?;
        let size = file
            .metadata()
            .map_err(|error| wrong(error.to_string()))?
            .len();
        if size != blob.size {
            return Err(wrong(format!(
                "the blob has {size} bytes, but its descriptor states {}",
                blob.size
            )));
        }
        let mut reader = Blob {
            file: file.take(size),
            hasher: Hasher::default(),
            failed: None,
        };
        let appended = builder.append_data(&mut header(size), name(blob.digest), &mut reader);
        if let Some(error) = reader.failed {
            return Err(wrong(error.to_string()));
        }
        appended.map_err(|_| FeedError::Pipe)?;
        let found = reader.hasher.finish();
        if found == blob.digest {
            Ok(())
        } else {
            Err(wrong(format!("its bytes have the digest {found}")))
        }
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer);
        match &read {
            Ok(count) => self.hasher.update(&buffer[..*count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Kept, because the copying code cannot distinguish it from a write error.
            Err(error) => self.failed = Some(error.kind().into()),
        }
        read
    }
}

fn name(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header
}

/// Without waiting: a named pipe in a blob's place must not hang the run.
fn open(path: &Path) -> io::Result<File> {
    let file = File::from(rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Layout {
        dir: tempfile::TempDir,
        manifest: ImageManifest,
    }

    fn layout(blobs: &[&[u8]]) -> Layout {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        let descriptor = |bytes: &&[u8]| {
            let digest = Digest::of(bytes);
            fs::write(dir.path().join(name(digest)), bytes).unwrap();
            let value = serde_json::json!({"mediaType": "x", "digest": digest.to_string(), "size": bytes.len()});
            serde_json::from_value::<Descriptor>(value).unwrap()
        };
        let mut all: Vec<_> = blobs.iter().map(descriptor).collect();
        let (config, annotations) = (all.remove(0), std::collections::BTreeMap::new());
        let manifest = ImageManifest {
            config,
            layers: all,
            subject: None,
            artifact_type: None,
            annotations,
        };
        Layout { dir, manifest }
    }

    fn write(layout: &Layout) -> (Vec<u8>, Option<String>) {
        let mut out = Vec::new();
        let result = Archive::new(layout.dir.path(), &layout.manifest).write(&mut out);
        let error = result.err().map(|error| match error {
            FeedError::Pipe => "pipe".to_owned(),
            FeedError::Source(error) => error.message,
        });
        (out, error)
    }

    fn names(archive: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(archive);
        archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn each_blob_once_and_the_manifest_last() {
        let layout = layout(&[b"config", b"layer", b"other", b"layer"]);
        let (archive, error) = write(&layout);
        assert_eq!(error, None);
        let blobs = [&b"config"[..], b"layer", b"other"].map(|bytes| name(Digest::of(bytes)));
        assert_eq!(
            names(&archive),
            [&blobs[..], &["manifest.json".to_owned()]].concat()
        );
    }

    #[test]
    fn archive_with_wrong_bytes_gets_no_manifest() {
        for (content, reason) in [
            (
                Some(&b"latin"[..]),
                format!("its bytes have the digest {}", Digest::of(b"latin")),
            ),
            (
                Some(b"lay"),
                "the blob has 3 bytes, but its descriptor states 5".to_owned(),
            ),
            (None, "No such file or directory (os error 2)".to_owned()),
        ] {
            let layout = layout(&[b"config", b"layer"]);
            let path = layout.dir.path().join(name(Digest::of(b"layer")));
            match content {
                Some(content) => fs::write(path, content).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
            let (archive, error) = write(&layout);
            assert_eq!(error, Some(reason));
            assert!(!names(&archive).contains(&"manifest.json".to_owned()));
        }
    }
}
