//! Replacing digests, and the tags beside them, in the bytes of one file.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use super::{
    places::{needs_quotes, same_events},
    scan::Pin,
    versions::VersionComment,
};
use crate::oci::{Digest, Tag};

/// What the pins of one image become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The new digest.
    pub digest: Digest,
    /// The new tag of pins that have one.
    pub tag: Tag,
}

impl Replacement {
    /// Whether a pin is what it becomes.
    pub fn is_done(&self, pin: &Pin) -> bool {
        let tags = match &pin.split {
            None => {
                let beside = pin.tag.as_ref();
                let comment = moving_comment(pin).map(|comment| &comment.tag);
                let mut tags = beside.into_iter().chain(comment);
                tags.all(|tag| *tag == self.tag)
            }
            Some(split) => split.tags.iter().all(|edit| edit.tag == self.tag),
        };
        tags && pin.digest == self.digest
    }
}

/// Ranges of a content by where they begin, each with its end and with what replaces it. Scalars that
/// several pins share come once.
type Edits<'r> = BTreeMap<usize, (usize, Cow<'r, str>)>;

/// The file's new bytes; `replacements` has an entry for each image of the configuration, in its
/// order. Pins of an image that has none stay.
///
/// `pins` are those that a scan of exactly these bytes found.
pub fn replace(content: &[u8], pins: &[Pin], replacements: &[Option<Replacement>]) -> Vec<u8> {
    let mut edits = Edits::new();
    for pin in pins {
        if let Some(to) = &replacements[pin.image] {
            add(&mut edits, pin, to);
        }
    }
    let mut new = Vec::with_capacity(content.len());
    let mut reached = 0;
    for (start, (end, text)) in edits {
        new.extend_from_slice(&content[reached..start]);
        new.extend_from_slice(text.as_bytes());
        reached = end;
    }
    new.extend_from_slice(&content[reached..]);
    new
}

fn add<'r>(edits: &mut Edits<'r>, pin: &Pin, to: &'r Replacement) {
    let mut put = |at: Range<usize>, text: Cow<'r, str>| {
        edits.insert(at.start, (at.end, text));
    };
    let end = pin.offset + pin.digest.to_string().len();
    put(pin.offset..end, to.digest.to_string().into());
    let tag = to.tag.as_str();
    let Some(split) = &pin.split else {
        if let Some(at) = tag_before(pin) {
            put(at, tag.into());
        }
        if let Some(comment) = moving_comment(pin) {
            put(comment.at.clone(), tag.into());
        }
        return;
    };
    for edit in &split.tags {
        let text = if edit.plain && needs_quotes(tag) {
            format!("\"{tag}\"").into()
        } else {
            tag.into()
        };
        put(edit.at.clone(), text);
    }
    if let Some(comment) = &split.comment {
        put(comment.clone(), tag.into());
    }
}

/// The tag of a whole pin: before the digest stands `@`, and before that the tag, if there is one.
fn tag_before(pin: &Pin) -> Option<Range<usize>> {
    let tag = pin.tag.as_ref()?;
    let end = pin.offset - 1;
    Some(end - tag.as_str().len()..end)
}

/// The comment behind a whole pin, if it becomes the tag.
fn moving_comment(pin: &Pin) -> Option<&VersionComment> {
    pin.comment.as_deref().filter(|comment| comment.moves)
}

/// What is left of a content without what its pins may change: digests, the tags beside them, and
/// comments that name the tag.
pub fn outline(content: &[u8], pins: &[Pin]) -> Vec<u8> {
    let mut cut = BTreeMap::new();
    for pin in pins {
        let mut put = |at: Range<usize>| {
            cut.insert(at.start, at.end);
        };
        put(pin.offset..pin.offset + pin.digest.to_string().len());
        match &pin.split {
            None => {
                let comment = moving_comment(pin).map(|comment| comment.at.clone());
                tag_before(pin)
                    .into_iter()
                    .chain(comment)
                    .for_each(&mut put);
            }
            Some(split) => {
                // Quotes may come where a plain tag stood.
                let tags = split.tags.iter();
                tags.for_each(|edit| put(tag_range(edit)));
                split.comment.clone().into_iter().for_each(&mut put);
            }
        }
    }
    let mut rest = Vec::with_capacity(content.len());
    let mut reached = 0;
    for (start, end) in cut {
        rest.extend_from_slice(&content[reached.min(start)..start]);
        reached = end.max(reached);
    }
    rest.extend_from_slice(&content[reached..]);
    rest
}

/// A tag with its quotes, unless it is only a part of its scalar.
fn tag_range(edit: &super::scan::TagEdit) -> Range<usize> {
    let whole = edit.scalar.len() - edit.at.len() <= 2 && edit.scalar.end - edit.at.end <= 1;
    if whole {
        edit.scalar.clone()
    } else {
        edit.at.clone()
    }
}

/// Whether the readers of a file see nothing else change: its events are equal but for the scalars
/// that `pins`, found in `old`, move or stand in. `true` where no place read it as YAML.
pub fn reads_alike(old: &[u8], new: &[u8], pins: &[Pin]) -> bool {
    let mut moved = Vec::new();
    let mut is_yaml = false;
    for pin in pins {
        moved.push(pin.offset);
        if let Some(split) = &pin.split {
            is_yaml |= split.document.is_some();
            moved.extend(split.tags.iter().map(|edit| edit.at.start));
        }
    }
    moved.sort_unstable();
    !is_yaml || same_events(old, new, &moved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pins::scan::{Split, TagEdit};

    fn tag(text: &str) -> Tag {
        Tag::parse(text).unwrap()
    }

    fn edit(at: Range<usize>, scalar: Range<usize>) -> TagEdit {
        TagEdit {
            tag: tag("old"),
            at,
            plain: false,
            scalar,
        }
    }

    #[test]
    fn split_pin_is_done_once_each_of_its_tags_is() {
        let digest = Digest::of(b"new");
        let pin = |tags: Vec<TagEdit>| Pin {
            image: 0,
            line: 1,
            column: 1,
            offset: 0,
            tag: None,
            digest,
            split: Some(Box::new(Split {
                place: 0,
                pointer: None,
                document: None,
                tags,
                comment: None,
                managed: false,
            })),
            comment: None,
        };
        let to = |text| Replacement {
            digest,
            tag: tag(text),
        };
        let [one, other] = [edit(0..3, 0..3), edit(9..12, 9..12)];
        assert!(to("old").is_done(&pin(vec![one.clone(), other.clone()])));
        let moved = TagEdit {
            tag: tag("new"),
            ..one
        };
        for text in ["old", "new"] {
            assert!(!to(text).is_done(&pin(vec![moved.clone(), other.clone()])));
        }
        assert!(to("new").is_done(&pin(vec![moved])));
    }

    #[test]
    fn tag_that_is_a_part_of_its_scalar_is_cut_alone() {
        let cut = |at: Range<usize>, scalar: Range<usize>| tag_range(&edit(at, scalar));
        assert_eq!(cut(11..19, 10..20), 10..20);
        assert_eq!(cut(10..20, 10..20), 10..20);
        // Something stands before it, behind it, or on both sides.
        assert_eq!(cut(50..59, 10..60), 50..59);
        assert_eq!(cut(10..18, 10..20), 10..18);
        assert_eq!(cut(20..30, 10..60), 20..30);
    }
}
