//! The plan of `init --pin`: adds digests to images that have only a tag.
//!
//! The new contents are searched like the files of a first configuration. Each new digest must be a pin of its
//! repository there, and nothing else may have changed.

use std::ops::Range;

use super::FileChange;
use crate::{
    base::{
        error::{Class, Code, Error},
        files::{Files as _, RelPath, WorkTree},
    },
    core::pins::{
        discover::discover_content,
        unpinned::{self, TaggedImage, Unpinned, UnpinnedKind},
    },
    oci::Digest,
};

/// A digest that was added to a content.
struct AddedDigest<'i> {
    image: &'i TaggedImage,
    digest: Digest,
    /// The bytes of the insertion in the new content.
    new: Range<usize>,
}

/// The change of a file that gives these images their digests.
pub(crate) fn pin_file(
    tree: &WorkTree,
    path: &RelPath,
    images: &[(&Unpinned, Digest)],
) -> Result<FileChange, Error> {
    let old = tree
        .read(path)
        .map_err(|error| Error::io(error.to_string()))?;
    let unread = |reason| Error::io(format!("{path}: {reason}"));
    let present = unpinned::of_content(tree, path, &old).map_err(unread)?;
    let mut new = Vec::with_capacity(old.len());
    let mut added = Vec::new();
    let mut reached = 0;
    let mut ordered: Vec<_> = images.iter().collect();
    // An image is at its tag; the empty digest of an entry may follow that of another entry.
    ordered.sort_by_key(|(unpinned, _)| match &unpinned.kind {
        UnpinnedKind::Pinnable(image) => image.insertion.at.start,
        UnpinnedKind::Refused(_) => 0,
    });
    for (unpinned, digest) in ordered {
        let UnpinnedKind::Pinnable(image) = &unpinned.kind else {
            continue;
        };
        if !present.contains(unpinned) {
            let message = format!("{path} was changed during the run");
            let error = Error::new(Class::Conflict, Code::CONFLICT, message);
            return Err(error.help("run the command again"));
        }
        let at = &image.insertion.at;
        let Some(between) = old.get(reached..at.start) else {
            return Err(not_pins(path, "two of them would have one place"));
        };
        new.extend_from_slice(between);
        let start = new.len();
        new.extend_from_slice(image.insertion.text(digest).as_bytes());
        reached = at.end;
        added.push(AddedDigest {
            image,
            digest: *digest,
            new: start..new.len(),
        });
    }
    new.extend_from_slice(&old[reached..]);
    let left = present.len() - added.len();
    if let Some(reason) = difference(tree, path, &old, &new, &added, left) {
        return Err(not_pins(path, &reason));
    }
    Ok(FileChange {
        path: path.clone(),
        pins: added.len(),
        old_sha256: Digest::of(&old),
        new_sha256: Digest::of(&new),
        old,
        new,
    })
}

fn not_pins(path: &RelPath, reason: &str) -> Error {
    let message = format!("{path} would not contain the new digests as pins: {reason}");
    let help = "leave out the repository with `--pin GLOB`, and add its digests by hand";
    Error::failed(Code::PLAN_COUNT, message).help(help)
}

/// The first difference between the new content and the expected one.
fn difference(
    tree: &WorkTree,
    path: &RelPath,
    old: &[u8],
    new: &[u8],
    added: &[AddedDigest<'_>],
    left: usize,
) -> Option<String> {
    let pins = |content: &[u8]| {
        let discovery = discover_content(tree, path, content);
        let mut pins = Vec::new();
        for pinned in discovery.repositories {
            for pin in pinned.pins {
                let tag = pin.item.tag.clone();
                pins.push((
                    pin.item.offset,
                    pinned.repository.clone(),
                    tag,
                    pin.item.digest,
                ));
            }
        }
        pins
    };
    let (before, after) = (pins(old), pins(new));
    if after.len() != before.len() + added.len() {
        return Some(format!("it would have {} pins", after.len()));
    }
    for digest in added {
        let offset = digest.new.start + digest.image.insertion.before.len();
        let found = after.iter().find(|(at, ..)| *at == offset);
        let is_right = found.is_some_and(|(_, repository, tag, found)| {
            // A reference without a tag means `latest`.
            let same_tag = tag.as_ref().is_none_or(|tag| *tag == digest.image.tag);
            *repository == digest.image.repository && same_tag && *found == digest.digest
        });
        if !is_right {
            return Some(format!(
                "`{}` would have another image",
                digest.image.repository
            ));
        }
    }
    match unpinned::of_content(tree, path, new) {
        Ok(remaining) if remaining.len() == left => {}
        Ok(_) => return Some("another number of images without a digest would remain".to_owned()),
        Err(reason) => return Some(reason),
    }
    let (mut moved, mut keys) = (Vec::new(), Vec::new());
    for digest in added {
        let insertion = &digest.image.insertion;
        if insertion.adds_key() {
            keys.push(digest.new.clone());
        } else {
            // A reference ends before its digest.
            moved.push(insertion.at.start - insertion.before.len());
        }
    }
    moved.sort_unstable();
    let reads_alike = unpinned::reads_alike(path, old, new, &moved, &keys);
    (!reads_alike).then(|| "more than digests would change".to_owned())
}

#[cfg(test)]
mod tests;
