//! Replaces digests, and the tags next to them, in the bytes of one file.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use super::{
    places::{needs_quotes, same_events},
    scan::{Pin, TagEdit},
    version_comments::VersionComment,
};
use crate::oci::{Digest, Tag};

/// The new digest and tag of the pins of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replacement {
    /// The new digest.
    pub digest: Digest,
    /// The tag for pins with a tag.
    pub tag: Tag,
}

impl Replacement {
    /// Whether a pin already has the new digest and tags.
    pub(crate) fn is_done(&self, pin: &Pin) -> bool {
        let tags = match &pin.split {
            None => {
                let comment = moving_comment(pin).map(|comment| &comment.tag);
                let mut tags = pin.tag.iter().chain(comment);
                tags.all(|tag| *tag == self.tag)
            }
            Some(split) => split.tags.iter().all(|edit| edit.tag == self.tag),
        };
        tags && pin.digest == self.digest
    }
}

/// The replaced ranges of a file, by their starts, with their ends and the new texts. A scalar that
/// several pins share is listed once.
type Edits<'r> = BTreeMap<usize, (usize, Cow<'r, str>)>;

/// The new bytes of a file. `replacements` has an entry for each image of the configuration, in its
/// order; the pins of an image without a replacement stay unchanged.
///
/// `pins` are the result of a scan of exactly these bytes.
pub(crate) fn replace(
    content: &[u8],
    pins: &[Pin],
    replacements: &[Option<Replacement>],
) -> Vec<u8> {
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
    put(pin.digest_range(), pin.form().text(&to.digest).into());
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

/// The bytes of a whole pin's tag.
fn tag_before(pin: &Pin) -> Option<Range<usize>> {
    let tag = pin.tag.as_ref()?;
    Some(pin.tag_at..pin.tag_at + tag.as_str().len())
}

/// The comment after a whole pin, if it becomes the tag.
fn moving_comment(pin: &Pin) -> Option<&VersionComment> {
    pin.comment.as_deref().filter(|comment| comment.moves)
}

/// A file without the bytes that its pins may change: digests, the tags next to them, and comments that
/// contain the tag.
pub(crate) fn outline(content: &[u8], pins: &[Pin]) -> Vec<u8> {
    let mut changing = BTreeMap::new();
    for pin in pins {
        let mut ranges = vec![pin.digest_range()];
        match &pin.split {
            None => {
                ranges.extend(tag_before(pin));
                ranges.extend(moving_comment(pin).map(|comment| comment.at.clone()));
            }
            Some(split) => {
                ranges.extend(split.tags.iter().map(tag_range));
                ranges.extend(split.comment.clone());
            }
        }
        changing.extend(ranges.into_iter().map(|range| (range.start, range.end)));
    }
    let mut rest = Vec::with_capacity(content.len());
    let mut reached = 0;
    for (start, end) in changing {
        rest.extend_from_slice(&content[reached.min(start)..start]);
        reached = end.max(reached);
    }
    rest.extend_from_slice(&content[reached..]);
    rest
}

/// A tag with its quotes, which a plain tag may get, unless it is only a part of its scalar.
fn tag_range(edit: &TagEdit) -> Range<usize> {
    let whole = edit.scalar.len() - edit.at.len() <= 2 && edit.scalar.end - edit.at.end <= 1;
    if whole {
        edit.scalar.clone()
    } else {
        edit.at.clone()
    }
}

/// Whether a YAML reader finds only the expected changes: the events are equal except for the scalars
/// of `pins`, which were found in `old`. Always `true` if no place read the file as YAML.
pub(crate) fn reads_alike(old: &[u8], new: &[u8], pins: &[Pin]) -> bool {
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
    !is_yaml || same_events(old, new, &moved, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::pins::scan::{DigestForm, Split};

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
    fn split_pin_is_done_if_each_tag_is() {
        let digest = Digest::of(b"new");
        let pin = |tags: Vec<TagEdit>| Pin {
            image: 0,
            line: 1,
            column: 1,
            offset: 0,
            tag: None,
            tag_at: 0,
            digest,
            split: Some(Box::new(Split {
                place: 0,
                form: DigestForm::Prefixed,
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
    fn part_of_a_scalar_has_no_quotes() {
        let cut = |at: Range<usize>, scalar: Range<usize>| tag_range(&edit(at, scalar));
        assert_eq!(cut(11..19, 10..20), 10..20);
        assert_eq!(cut(10..20, 10..20), 10..20);
        // There is text before it, after it, or on both sides.
        assert_eq!(cut(50..59, 10..60), 50..59);
        assert_eq!(cut(10..18, 10..20), 10..18);
        assert_eq!(cut(20..30, 10..60), 20..30);
    }
}
