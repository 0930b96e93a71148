//! The digests and tags that a text of any size mentions.

use std::{
    collections::{BTreeSet, HashMap},
    io::{self, Read},
    ops::Range,
};

use regex::Regex;

use super::{
    digests::{self, Run, runs_in},
    image_names::ImageNames,
    lines::Lines,
    read::each_block,
    words::{self, each_word, is_common, tag_suffixes},
};
use crate::oci::{Digest, Tag};

/// A digest that a text mentions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mention {
    pub digest: Digest,
    /// Whether `sha256:` precedes it somewhere in the text.
    pub algorithm: bool,
    /// The line of its first occurrence, starting at 1.
    pub line: usize,
}

/// A tag that a text mentions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TagMention {
    pub tag: Tag,
    /// The index of the image; `None` for the tag of any image.
    pub image: Option<usize>,
    /// The line of its first occurrence, starting at 1.
    pub line: usize,
}

/// The digests in a text, sorted and without duplicates. `buffer` receives the text in blocks and
/// can be reused.
pub(crate) fn mentions(reader: impl Read, buffer: &mut Vec<u8>) -> io::Result<Vec<Mention>> {
    let mut found = Vec::new();
    each_block(reader, buffer, digests::OVERLAP, |bytes, range, lines| {
        runs_in(bytes, range, |run| {
            let line = lines.line(bytes, run.offset);
            found.push(Mention::new(bytes, &run, line));
        });
    })?;
    sort(&mut found);
    Ok(found)
}

/// The digests and the tags that a text mentions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mentions {
    /// The digests, sorted and without duplicates.
    pub digests: Vec<Mention>,
    /// The tags, sorted and without duplicates.
    pub tags: Vec<TagMention>,
}

impl Mentions {
    /// Whether the text contains no mentions.
    pub(crate) fn is_empty(&self) -> bool {
        self.digests.is_empty() && self.tags.is_empty()
    }
}

impl Mention {
    fn new(bytes: &[u8], run: &Run, line: usize) -> Self {
        Self {
            digest: run.digest,
            algorithm: follows_algorithm(bytes, run.offset),
            line,
        }
    }
}

/// Finds digests, and the words that may be tags.
#[derive(Debug)]
pub(crate) struct MentionFinder {
    tags: Regex,
    names: ImageNames,
}

/// The words of one text.
#[derive(Default)]
struct TextWords {
    /// The words that may be tags, with the line of the first occurrence of each.
    tags: HashMap<String, usize>,
    /// The images that the text names.
    images: BTreeSet<usize>,
}

impl MentionFinder {
    /// Finds the tags that match `tags`, because `prune` deletes no other; `names` are those of the images.
    pub(crate) fn new(tags: &Regex, names: ImageNames) -> Self {
        let tags = tags.clone();
        Self { tags, names }
    }

    /// The mentions in a text, which is loaded into `buffer` in blocks. A common word is a tag of the images
    /// that the text names.
    pub(crate) fn read(&self, reader: impl Read, buffer: &mut Vec<u8>) -> io::Result<Mentions> {
        let mut found = Mentions::default();
        let mut words = TextWords::default();
        each_block(reader, buffer, words::OVERLAP, |bytes, range, lines| {
            self.add(bytes, range, lines, &mut found.digests, &mut words);
        })?;
        sort(&mut found.digests);
        for (word, line) in words.tags {
            let Ok(tag) = Tag::parse(&word) else {
                continue;
            };
            if !is_common(&word) {
                let image = None;
                found.tags.push(TagMention { tag, image, line });
                continue;
            }
            for image in words.images.iter().copied().map(Some) {
                let tag = tag.clone();
                found.tags.push(TagMention { tag, image, line });
            }
        }
        found.tags.sort_unstable();
        Ok(found)
    }

    /// Adds the mentions of a block that start in `range`.
    fn add(
        &self,
        bytes: &[u8],
        range: Range<usize>,
        lines: &mut Lines,
        digests: &mut Vec<Mention>,
        words: &mut TextWords,
    ) {
        let suffixes = tag_suffixes(bytes);
        let mut tags = Vec::new();
        each_word(bytes, |at, word| {
            if !range.contains(&at) {
                return;
            }
            words
                .images
                .extend(self.names.of_word(word).into_iter().flatten());
            if self.tags.is_match(word) && !words.tags.contains_key(word) {
                tags.push((at, word.to_owned()));
            }
            for suffix in &suffixes {
                let tag = format!("{word}{suffix}");
                if self.tags.is_match(&tag) {
                    tags.push((at, tag));
                }
            }
        });
        tags.sort_unstable();
        // Lines are counted in the order of offsets.
        let mut tags = tags.into_iter().peekable();
        let mut add_tags = |end: usize, lines: &mut Lines| {
            while let Some((at, tag)) = tags.next_if(|(at, _)| *at < end) {
                let line = lines.line(bytes, at);
                words.tags.entry(tag).or_insert(line);
            }
        };
        runs_in(bytes, range, |run| {
            add_tags(run.offset, lines);
            let line = lines.line(bytes, run.offset);
            digests.push(Mention::new(bytes, &run, line));
        });
        add_tags(bytes.len(), lines);
    }
}

/// Keeps each digest once, with the line of its first occurrence.
fn sort(found: &mut Vec<Mention>) {
    found.sort_unstable_by_key(|mention| (mention.digest, mention.line));
    found.dedup_by(|later, first| {
        let is_equal = later.digest == first.digest;
        first.algorithm |= is_equal && later.algorithm;
        is_equal
    });
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
    use crate::{config, core::pins::read::BLOCK};

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
                    line: 1,
                };
                assert_eq!(found, [expected], "{back}");
            }
        }
    }

    const CONFIG: &str =
        "version: 1\nfiles: [a]\nimages: { a: { repository: x.example/acme/app, pins: 1 } }\n";

    /// The tags in a text, with the image of a common word, and the line.
    fn tags(pattern: &str, text: &[u8]) -> Vec<(String, Option<usize>, usize)> {
        let config = config::example(CONFIG);
        let names = ImageNames::new(&config, [], &["x".to_owned()], &[]);
        let finder = MentionFinder::new(&Regex::new(pattern).unwrap(), names);
        let found = finder.read(Slow(text), &mut Vec::new()).unwrap().tags;
        let tag = |found: TagMention| (found.tag.to_string(), found.image, found.line);
        found.into_iter().map(tag).collect()
    }

    /// Whether a text protects the tag `t-x1`, in each encoding.
    fn protects(text: &str) -> bool {
        let encodings: [fn(&str) -> Vec<u8>; 6] = [
            |text| text.as_bytes().to_vec(),
            |text| format!("\u{feff}{text}").into_bytes(),
            |text| text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            |text| text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            |text| {
                let text = format!("\u{feff}\u{4e0a}{text}\u{4e0a}");
                text.encode_utf16().flat_map(u16::to_le_bytes).collect()
            },
            |text| {
                let text = format!("\u{feff}\u{4e0a}{text}\u{4e0a}");
                text.encode_utf16().flat_map(u16::to_be_bytes).collect()
            },
        ];
        let found = encodings.map(|encode| {
            let found = tags("^t-x1$", &encode(text));
            found
                .iter()
                .any(|(tag, image, _)| tag == "t-x1" && image.is_none())
        });
        assert_eq!(found, [found[0]; 6], "{text}");
        found[0]
    }

    #[test]
    fn tag_is_a_word_in_any_format() {
        for text in [
            "t-x1",
            "image: x.example/acme/app:t-x1@sha256:0",
            "x.example:443/acme/app:t-x1.",
            "image: { name: app, version: t-x1 }",
            "image: app\nimageTag: 't-x1'\n",
            "registry: x\nname: app\ntag: t-x1\n",
            "helm: { parameters: [{ name: image.tag, value: \"t-x1\" }] }",
            "set: [{ name: image.tag, value: t-x1 }]",
            "ref: { tag: t-x1 }",
            "tags: [t-x0,t-x1]",
            "tag = \"${TAG:-t-x1}\"",
            "_t-x1_ __t-x1__ app-t-x1-amd64.tar.gz",
            "{{- if eq 1 1 }}\ntag: t-x1\n",
            "{\"a\": \"tag: t-x1\\n\"}",
            "{\"a\": \"\\nt-x1\\n\"}",
            "{\"a\": \"{\\\"b\\\": \\\"\\\\nt-x1\\\"}\"}",
            "{\"tag\": \"t\\u002dx1\"}",
            "{\"a\": \"{\\\"b\\\": \\\"t\\\\u002Dx1\\\"}\"}",
            "tag: \"t\\x2dx\\U00000031\"",
            "tag: \"t-\\\n    x1\"",
            "tag: \"t-\\\r\n\tx1\"",
            "docker://x.example%2Facme%2Fapp%3At-x1",
            "tag: t\\-x1",
        ] {
            assert!(protects(text), "{text}");
        }
        let kustomize = b"newTag: t-x\ntagSuffix: '1'\n";
        assert_eq!(tags("^t-x1$", kustomize), [("t-x1".to_owned(), None, 1)]);
        for text in [
            "t-x10",
            "at-x1",
            "0t-x1",
            "t-x",
            "t- x1",
            "T-X1",
            "t-\nx1",
            "tag: t%x1",
            "t\\u002x1",
            "newTag: t-x\nsuffix: '1'\n",
        ] {
            assert!(!protects(&format!("\n{text}\n")), "{text}");
        }
    }

    #[test]
    fn common_word_needs_the_name_of_an_image() {
        for word in ["1", "v1", "1.2", "main", "latest", "123456"] {
            for (text, image) in [
                (format!("the {word}\n"), None),
                (format!("tag: {word} # my-apps\n"), None),
                (format!("tag: {word}\nrepository: acme/app\n"), Some(0)),
                (format!("image: {word}\nx: \"\\u0061pp\"\n"), Some(0)),
                (format!("version = \"{word}\" # repin: a\n"), Some(0)),
            ] {
                let pattern = format!("^{}$", regex::escape(word));
                let expected: Vec<_> = image
                    .iter()
                    .map(|image| (word.to_owned(), Some(*image), 1))
                    .collect();
                assert_eq!(tags(&pattern, text.as_bytes()), expected, "{text}");
            }
        }
        for word in [
            "1.20",
            "v1.2.3",
            "pr-1",
            "1234567",
            "abcdefa",
            "2024-01-01",
            "v123",
            "a1b2",
        ] {
            let pattern = format!("^{}$", regex::escape(word));
            let found = tags(&pattern, format!("\n{word}\n").as_bytes());
            assert_eq!(found, [(word.to_owned(), None, 2)]);
        }
    }

    #[test]
    fn first_line_of_a_tag_is_reported() {
        let text = "a\nb: t-01\nc: \"\\u0074-01 t\\u002d02\"\nd: t-02\n";
        let expected = [("t-01".to_owned(), None, 2), ("t-02".to_owned(), None, 3)];
        assert_eq!(tags("^t-0[12]$", text.as_bytes()), expected);
        for big in [false, true] {
            let encode = |unit: u16| {
                if big {
                    unit.to_be_bytes()
                } else {
                    unit.to_le_bytes()
                }
            };
            let text: Vec<u8> = text.encode_utf16().flat_map(encode).collect();
            assert_eq!(tags("^t-0[12]$", &text), expected, "{big}");
        }
    }

    #[test]
    fn tag_across_two_blocks_is_found() {
        let mut bytes = vec![b'-'; 60 * BLOCK];
        let mut expected = BTreeSet::new();
        for block in 1..58 {
            let (tag, text) = if block % 2 == 0 {
                (format!("t{block:03}"), format!(" t{block:03} "))
            } else {
                (
                    format!("t{block:03}"),
                    format!(" \\u0074\\u0030{block:02} "),
                )
            };
            // The word moves over the end of a block.
            let at = block * BLOCK - block % (text.len() + 2);
            bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
            expected.insert(tag);
        }
        let found = tags("^t0", &bytes).into_iter().map(|(tag, ..)| tag);
        let found: BTreeSet<_> = found.filter(|tag| tag.len() == 4).collect();
        assert_eq!(found, expected);
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
        }
    }
}
