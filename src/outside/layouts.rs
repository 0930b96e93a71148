//! Which directories are OCI image layouts (image specification, "Image Layout").
//!
//! A file called `oci-layout` proves nothing: whoever may add a file to a directory would otherwise
//! hide every other file in it.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Contents;
use crate::{config::RelPath, pins::Layouts};

/// The maximum size of the marker, in bytes; it contains a version.
const MARKER_MAX: u64 = 4 * 1024;
/// The maximum size of an index, in bytes.
const INDEX_MAX: u64 = 16 * 1024 * 1024;

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

/// The layouts among the files of a tree: directories with a valid marker, a valid index, and blobs.
pub(super) fn find(files: &[&RelPath], contents: &mut dyn Contents) -> Layouts {
    let mut layouts = Layouts::default();
    let marked: Vec<&[u8]> = files
        .iter()
        .filter_map(|path| directory_of(path, Layouts::MARKER))
        .collect();
    if marked.is_empty() {
        return layouts;
    }
    let paths: BTreeSet<&[u8]> = files.iter().map(|path| path.as_bytes()).collect();
    for directory in marked {
        let blobs = [directory, Layouts::BLOBS].concat();
        let first = paths.range(&blobs[..]..).next();
        let has_blobs = first.is_some_and(|path| path.starts_with(&blobs));
        if has_blobs
            && parses::<Marker>(directory, Layouts::MARKER, MARKER_MAX, contents)
                .is_some_and(|marker| marker.version == "1.0.0")
            && parses::<Index>(directory, Layouts::INDEX, INDEX_MAX, contents).is_some()
        {
            layouts.add(directory);
        }
    }
    layouts
}

/// The directory of a file with this name: empty, or with a `/` at its end.
fn directory_of<'p>(path: &'p RelPath, name: &[u8]) -> Option<&'p [u8]> {
    let directory = path.as_bytes().strip_suffix(name)?;
    (directory.is_empty() || directory.ends_with(b"/")).then_some(directory)
}

fn parses<T: for<'de> Deserialize<'de>>(
    directory: &[u8],
    name: &[u8],
    most: u64,
    contents: &mut dyn Contents,
) -> Option<T> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};
    let path = [directory, name].concat();
    let path = RelPath::new(Path::new(OsStr::from_bytes(&path))).ok()?;
    serde_json::from_slice(&contents.read(&path, most)?).ok()
}
