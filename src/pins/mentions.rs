//! The digests and tags that a text of any size mentions.

use std::{
    io::{self, Read},
    ops::Range,
    sync::Arc,
};

use memchr::memmem;

use super::{
    digests::{OVERLAP, runs_in},
    image_names::ImageNames,
    occurrences::{self, TAG_CONTEXT, around, tag_after, width_at},
    places::TagPlaces,
    read::{WholeFile, each_block, read_whole},
};
use crate::{
    config::Config,
    oci::{Digest, Tag},
};

/// A digest that a text mentions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mention {
    pub digest: Digest,
    /// Whether `sha256:` precedes it somewhere in the text.
    pub algorithm: bool,
}

/// The digests in a text, sorted and without duplicates. `buffer` receives the text in blocks and
/// can be reused.
pub(crate) fn mentions(reader: impl Read, buffer: &mut Vec<u8>) -> io::Result<Vec<Mention>> {
    let mut found = Vec::new();
    each_block(reader, buffer, OVERLAP, |bytes, range, _| {
        add_digests(bytes, range, &mut found);
    })?;
    sort(&mut found);
    Ok(found)
}

/// The digests and the tags of images that a text mentions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mentions {
    /// The digests, sorted and without duplicates.
    pub digests: Vec<Mention>,
    /// The tags, sorted and without duplicates, with the indexes of their images. A tag may end with
    /// punctuation of the text around it.
    pub tags: Vec<(usize, Tag)>,
}

impl Mentions {
    /// Whether the text contains no mentions.
    pub(crate) fn is_empty(&self) -> bool {
        self.digests.is_empty() && self.tags.is_empty()
    }
}

/// Finds digests, references by tag, and the tags of entries in texts.
#[derive(Debug)]
pub(crate) struct MentionFinder {
    names: Arc<ImageNames>,
    places: TagPlaces,
}

impl MentionFinder {
    /// For the images that `names` knows; `configs` contain the places of entries.
    pub(crate) fn new<'c>(
        names: Arc<ImageNames>,
        configs: impl IntoIterator<Item = &'c Config>,
    ) -> Self {
        let places = TagPlaces::new(&names, configs);
        Self { names, places }
    }

    /// The mentions in a text, which is loaded into `buffer`. Entries are found in a text of up to
    /// 16 MiB, the limit for files with pins. A larger text is searched in blocks: every word of a block
    /// with an entry counts as a tag.
    pub(crate) fn read(&self, reader: impl Read, buffer: &mut Vec<u8>) -> io::Result<Mentions> {
        let mut found = Mentions::default();
        match read_whole(reader, buffer)? {
            WholeFile::Complete(text) => {
                self.add(text, 0..text.len(), &mut found);
                found.tags.extend(self.places.tags(&self.names, text));
            }
            WholeFile::TooLarge(content) => {
                let overlap = occurrences::OVERLAP;
                each_block(content, &mut Vec::new(), overlap, |bytes, range, _| {
                    self.add(bytes, range, &mut found);
                    found.tags.extend(self.places.words(&self.names, bytes));
                })?;
            }
        }
        sort(&mut found.digests);
        found.tags.sort_unstable();
        found.tags.dedup();
        Ok(found)
    }

    fn add(&self, bytes: &[u8], range: Range<usize>, found: &mut Mentions) {
        add_digests(bytes, range.clone(), &mut found.digests);
        let start = range.start;
        for colon in memchr::memchr_iter(b':', &bytes[range]) {
            self.add_tag(bytes, start + colon, &mut found.tags);
        }
    }

    /// Adds the tag after the colon at `colon` for each image that the name before it refers to. A digest
    /// after the tag changes nothing: the tag may have moved, and other readers may prefer it.
    fn add_tag(&self, bytes: &[u8], colon: usize, tags: &mut Vec<(usize, Tag)>) {
        let width = width_at(bytes, colon);
        let (text, colon) = around(bytes, colon, TAG_CONTEXT, width);
        let before = &text[..colon];
        let mut components = self.names.components();
        if !components.any(|component| before.ends_with(component.as_bytes())) {
            return;
        }
        let Some((tag, _)) = tag_after(&text, colon) else {
            return;
        };
        if let Ok(tag) = Tag::parse(&tag[..tag.len().min(Tag::MAX)]) {
            let mut images = self.names.images_before(before);
            if memmem::find(before, br"\/").is_some() {
                // JSON may contain a slash as `\/`.
                let unescaped: Vec<u8> = before.iter().copied().filter(|b| *b != b'\\').collect();
                images.extend(self.names.images_before(&unescaped));
            }
            tags.extend(images.into_iter().map(|image| (image, tag.clone())));
        }
    }
}

fn add_digests(bytes: &[u8], range: Range<usize>, found: &mut Vec<Mention>) {
    runs_in(bytes, range, |run| {
        found.push(Mention {
            digest: run.digest,
            algorithm: follows_algorithm(bytes, run.offset),
        });
    });
}

/// Keeps each digest once.
fn sort(found: &mut Vec<Mention>) {
    found.sort_unstable_by_key(|mention| (mention.digest, !mention.algorithm));
    found.dedup_by_key(|mention| mention.digest);
}

/// Whether `sha256:` directly precedes the digit at `at`, in the encoding of the digits.
fn follows_algorithm(bytes: &[u8], at: usize) -> bool {
    const NAME: &[u8] = b"sha256:";
    // `at` is the byte of the digit that is not zero, in either byte order.
    let utf16 = || {
        NAME.iter().rev().zip(1..).all(|(byte, back)| {
            let at = at.checked_sub(2 * back);
            at.is_some_and(|at| bytes.get(at) == Some(byte) && bytes.get(at + 1) == Some(&0))
        })
    };
    bytes.get(..at).is_some_and(|before| before.ends_with(NAME)) || utf16()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config,
        pins::read::{BLOCK, MAX_PINNED_FILE},
    };

    /// Returns as few bytes at a time as a pipe may.
    struct Slow<'b>(&'b [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let size = to.len().min(self.0.len()).min(1_000);
            to[..size].copy_from_slice(&self.0[..size]);
            self.0 = &self.0[size..];
            Ok(size)
        }
    }

    #[test]
    fn digest_is_found_across_blocks() {
        for text in [
            format!("sha256:{}", Digest::of(b"a").hex()).into_bytes(),
            format!("sha256:{}", Digest::of(b"a").hex())
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect(),
        ] {
            for back in (0..1_400).step_by(7) {
                let mut bytes = vec![b'-'; 2 * BLOCK - back];
                bytes.extend(&text);
                bytes.extend(vec![b'-'; BLOCK]);
                let found = mentions(Slow(&bytes), &mut Vec::new()).unwrap();
                let expected = Mention {
                    digest: Digest::of(b"a"),
                    algorithm: true,
                };
                assert_eq!(found, [expected], "{back}");
            }
        }
    }

    fn finder() -> MentionFinder {
        let config = config::example(
            "version: 1\nfiles: [a]\nimages: { a: { repository: x.example/acme/app, pins: 1 } }\n",
        );
        let names = ImageNames::new(&config, [], &["x".to_owned()]);
        MentionFinder::new(Arc::new(names), [&config])
    }

    #[test]
    fn tag_across_two_blocks_is_found() {
        let mut bytes = vec![b'-'; MAX_PINNED_FILE + 4 * BLOCK];
        let mut expected = Vec::new();
        for block in 1..MAX_PINNED_FILE / BLOCK {
            let tag = format!("t{block}");
            let text = format!(" x.example/acme/app:{tag} ");
            // The reference moves over the end of a block.
            let at = block * BLOCK - block % (text.len() + 2);
            bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
            expected.push((0, Tag::parse(&tag).unwrap()));
        }
        expected.sort();
        let found = finder().read(&*bytes, &mut Vec::new()).unwrap();
        assert_eq!(found.tags, expected);
    }

    #[test]
    fn escaped_slash_before_a_tag_is_found() {
        for (text, is_found) in [
            (r#"{"image": "x.example\/acme\/app:t1"}"#, true),
            (
                r#"{"a": "{\"image\": \"x.example\\\/acme\\\/app:t1\"}"}"#,
                true,
            ),
            (r#"{"image": "x.example\/other\/app:t1"}"#, false),
            (r"x.exam\ple/acme/app:t1", false),
        ] {
            let found = finder().read(text.as_bytes(), &mut Vec::new()).unwrap();
            let expected = [(0, Tag::parse("t1").unwrap())];
            assert_eq!(found.tags, expected[..usize::from(is_found)], "{text}");
        }
    }

    #[test]
    fn entry_in_a_large_text_is_found() {
        for (repository, is_found) in [("x.example/acme/app", true), ("x.example/acme/web", false)]
        {
            let mut bytes = vec![b'-'; MAX_PINNED_FILE + BLOCK];
            let text = format!("\nrepository: {repository}\ntag: t1\n");
            // At the end of a block.
            let at = 2 * BLOCK - text.len() / 2;
            bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
            let found = finder().read(&*bytes, &mut Vec::new()).unwrap();
            let tag = (0, Tag::parse("t1").unwrap());
            assert_eq!(found.tags.contains(&tag), is_found, "{repository}");
        }
    }

    #[test]
    fn file_of_digits_mentions_nothing() {
        for size in [3 * BLOCK, 3 * BLOCK + 64, 2 * BLOCK + 513, 65, 63] {
            let found = mentions(&*vec![b'a'; size], &mut Vec::new()).unwrap();
            assert_eq!(found, [], "{size}");
        }
    }

    #[test]
    fn algorithm_is_found_in_each_encoding() {
        let hex = Digest::of(b"a").hex();
        for encode in [
            |text: &str| text.as_bytes().to_vec(),
            |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        ] {
            let has_algorithm = |text: String| {
                let found = mentions(&*encode(&text), &mut Vec::new()).unwrap();
                assert_eq!(found.len(), 1, "{text}");
                found[0].algorithm
            };
            assert!(has_algorithm(format!("sha256:{hex}")));
            assert!(!has_algorithm(format!("sha512:{hex}")));
            assert!(!has_algorithm(hex.clone()));
        }
        let mut bytes = b"s-h-a-2-5-6-:-".to_vec();
        bytes.extend(hex.encode_utf16().flat_map(u16::to_le_bytes));
        let found = mentions(&*bytes, &mut Vec::new()).unwrap();
        assert_eq!((found.len(), found[0].algorithm), (1, false));
    }

    #[test]
    fn repeated_digest_is_listed_once_with_its_algorithm() {
        let hex = Digest::of(b"a").hex();
        for text in [
            format!("{hex} sha256:{hex}"),
            format!("sha256:{hex} {hex} {hex}"),
        ] {
            let found = mentions(text.as_bytes(), &mut Vec::new()).unwrap();
            assert_eq!((found.len(), found[0].algorithm), (1, true), "{text}");
            let digests = finder()
                .read(text.as_bytes(), &mut Vec::new())
                .unwrap()
                .digests;
            assert_eq!(digests, found, "{text}");
        }
    }

    #[test]
    fn repeated_tag_is_listed_once() {
        let text = ["_1", "t", "_1"].map(|tag| format!("x.example/acme/app:{tag}\n"));
        let found = finder().read(text.concat().as_bytes(), &mut Vec::new());
        let tags = ["_1", "t"].map(|tag| (0, Tag::parse(tag).unwrap()));
        assert_eq!(found.unwrap().tags, tags);
    }
}
