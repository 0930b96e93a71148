//! Writes an image of an image layout as the archive that engines load: the config, the layers, and a
//! final `manifest.json` that lists them.
//!
//! All versions of both engines support this format, and use the config's digest as the image ID.
//! Blobs are hashed while they are written. If one does not match its digest, the archive is cut
//! before `manifest.json`, and no engine accepts it.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

use super::process::InputError;
use crate::{
    base::error::Error,
    oci::{Descriptor, Digest, Hasher, ImageManifest},
};

/// The blobs of the archive.
pub(super) struct Archive {
    directory: PathBuf,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// Hashes a blob while it is read.
struct BlobReader {
    file: io::Take<File>,
    hasher: Hasher,
    /// The caller cannot distinguish a read error from a write error, so it is stored here.
    error: Option<io::Error>,
}

impl Archive {
    /// The archive of the image with this manifest in the layout `directory`.
    pub(super) fn new(directory: &Path, manifest: &ImageManifest) -> Self {
        Self {
            directory: directory.to_owned(),
            config: manifest.config.clone(),
            layers: manifest.layers.clone(),
        }
    }

    pub(super) fn write(&self, output: &mut dyn Write) -> Result<(), InputError> {
        let mut builder = tar::Builder::new(output);
        let mut written: Vec<Digest> = Vec::new();
        for blob in std::iter::once(&self.config).chain(&self.layers) {
            if !written.contains(&blob.digest) {
                self.append(&mut builder, blob)?;
                written.push(blob.digest);
            }
        }
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| blob_path(layer.digest))
            .collect();
        let manifest = serde_json::json!([{
            "Config": blob_path(self.config.digest),
            "RepoTags": null,
            "Layers": layers,
        }])
        .to_string();
        let mut header = header(manifest.len() as u64);
        builder
            .append_data(&mut header, "manifest.json", manifest.as_bytes())
            .map_err(|_| InputError::Pipe)?;
        builder
            .into_inner()
            .and_then(Write::flush)
            .map_err(|_| InputError::Pipe)
    }

    fn append(
        &self,
        builder: &mut tar::Builder<&mut dyn Write>,
        blob: &Descriptor,
    ) -> Result<(), InputError> {
        let path = blob_path(blob.digest);
        let subject = format!("oci:{}/{path}", self.directory.display());
        let unreadable = |reason: String| InputError::Source(Error::unavailable(&subject, reason));
        let (file, size) =
            open(&self.directory.join(&path)).map_err(|error| unreadable(error.to_string()))?;
        if size != blob.size {
            return Err(unreadable(format!(
                "the blob has {size} bytes, but its descriptor states {}",
                blob.size
            )));
        }
        let mut reader = BlobReader {
            file: file.take(size),
            hasher: Hasher::default(),
            error: None,
        };
        let appended = builder.append_data(&mut header(size), path, &mut reader);
        if let Some(error) = reader.error {
            return Err(unreadable(error.to_string()));
        }
        appended.map_err(|_| InputError::Pipe)?;
        let actual = reader.hasher.finish();
        if actual != blob.digest {
            return Err(unreadable(format!("its bytes have the digest {actual}")));
        }
        Ok(())
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer);
        match &read {
            Ok(count) => self.hasher.update(&buffer[..*count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.error = Some(error.kind().into()),
        }
        read
    }
}

fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header
}

/// Opens a blob and returns its size. Opening does not block, because a named pipe at this path must
/// not hang the run.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::from(rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok((file, metadata.len()))
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
            fs::write(dir.path().join(blob_path(digest)), bytes).unwrap();
            let value = serde_json::json!({"mediaType": "x", "digest": digest.to_string(), "size": bytes.len()});
            serde_json::from_value::<Descriptor>(value).unwrap()
        };
        let mut layers: Vec<_> = blobs.iter().map(descriptor).collect();
        let manifest = ImageManifest {
            config: layers.remove(0),
            layers,
            subject: None,
            artifact_type: None,
            annotations: std::collections::BTreeMap::new(),
        };
        Layout { dir, manifest }
    }

    fn write(layout: &Layout) -> (Vec<u8>, Option<String>) {
        let mut output = Vec::new();
        let result = Archive::new(layout.dir.path(), &layout.manifest).write(&mut output);
        let error = result.err().map(|error| match error {
            InputError::Pipe => "pipe".to_owned(),
            InputError::Source(error) => error.message,
        });
        (output, error)
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
    fn archive_has_each_blob_once_and_manifest_last() {
        let layout = layout(&[b"config", b"layer", b"other", b"layer"]);
        let (archive, error) = write(&layout);
        assert_eq!(error, None);
        let blobs = [&b"config"[..], b"layer", b"other"].map(|bytes| blob_path(Digest::of(bytes)));
        assert_eq!(
            names(&archive),
            [&blobs[..], &["manifest.json".to_owned()]].concat()
        );
    }

    #[test]
    fn archive_with_wrong_bytes_has_no_manifest() {
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
            let path = layout.dir.path().join(blob_path(Digest::of(b"layer")));
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
