//! The directories that are OCI image layouts (image specification, "Image Layout").
//!
//! A file called `oci-layout` proves nothing: otherwise, everyone who may add a file to a directory
//! could hide every other file in it.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::base::files::RelPath;

/// Loads a regular file with at most a number of bytes.
type Read<'r> = dyn FnMut(&RelPath, u64) -> Option<Vec<u8>> + 'r;

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
pub(super) fn find(files: &[&RelPath], read: &mut Read<'_>) -> Layouts {
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
    read: &mut Read<'_>,
) -> Option<T> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};
    let path = [directory, name].concat();
    let path = RelPath::new(Path::new(OsStr::from_bytes(&path))).ok()?;
    serde_json::from_slice(&read(&path, most)?).ok()
}
