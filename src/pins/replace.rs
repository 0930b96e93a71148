//! Replacing digests, and the tags before them, in the bytes of one file.

use super::scan::Pin;
use crate::oci::{Digest, Tag};

/// What the pins of one image become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The new digest.
    pub digest: Digest,
    /// The new tag of pins that have one.
    pub tag: Tag,
}

/// The file's new bytes; `replacements` has an entry for each image of the configuration, in its
/// order. Pins of an image that has none stay.
///
/// `pins` are those that a scan of exactly these bytes found.
pub fn replace(content: &[u8], pins: &[Pin], replacements: &[Option<Replacement>]) -> Vec<u8> {
    let mut new = Vec::with_capacity(content.len());
    let mut reached = 0;
    for pin in pins {
        let Some(to) = &replacements[pin.image] else {
            continue;
        };
        // Before the digest stands `@`, and before that the tag, if there is one.
        let tag = pin.tag.as_ref().map_or(0, |tag| tag.as_str().len());
        let at = pin.offset - 1 - tag;
        new.extend_from_slice(&content[reached..at]);
        if tag > 0 {
            new.extend_from_slice(to.tag.as_str().as_bytes());
        }
        new.push(b'@');
        new.extend_from_slice(to.digest.to_string().as_bytes());
        reached = pin.offset + pin.digest.to_string().len();
    }
    new.extend_from_slice(&content[reached..]);
    new
}
