//! The digests and tags that a text of any size mentions.
//!
//! The words that mean an image in texts: the last components of its repository and of the repositories and
//! layouts that `sources` maps it to, and its names in configurations.
//!
//! The words of texts that may be tags, in any format.
//!
//! A tag is a word of a text if neither a letter nor a digit precedes or follows it: punctuation next to a
//! word may be part of a tag or of the text around it. Words are found in the text itself, and in the
//! text without the escapes of JSON, YAML, shells and URLs. A superfluous word protects a version, a missing
//! word deletes one.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io::{self, Read},
    ops::Range,
    path::PathBuf,
};

use regex::Regex;

use super::{
    digests::{self, Run, runs_in},
    lines::{Lines, each_block},
    occurrences::mirrors,
};
use crate::{
    base::text::hex_value,
    config::{ABBREVIATIONS, Config},
    oci::{
        Digest, Repository, Tag,
        registry::{Mapping, SourceLocation},
    },
};

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
        each_block(reader, buffer, OVERLAP, |bytes, range, lines| {
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

/// Whether `sha256:` directly precedes the digit at `at`, in the encoding of the digits. The colon may be an escape
/// of a URL, as in a package URL, or of a string.
fn follows_algorithm(bytes: &[u8], at: usize) -> bool {
    const NAMES: [&[u8]; 7] = [
        b"sha256:",
        b"sha256%3a",
        b"sha256%3A",
        b"sha256\\x3a",
        b"sha256\\x3A",
        b"sha256\\u003a",
        b"sha256\\u003A",
    ];
    // `at` is the byte of the digit that is not zero, in either byte order.
    let utf16 = |name: &[u8]| {
        name.iter().rev().zip(1..).all(|(byte, back)| {
            let at = at.checked_sub(2 * back);
            at.is_some_and(|at| bytes.get(at) == Some(byte) && bytes.get(at + 1) == Some(&0))
        })
    };
    let before = bytes.get(..at).unwrap_or_default();
    NAMES
        .iter()
        .any(|name| before.ends_with(name) || utf16(name))
}

/// The names of the images of a configuration. An image is its index in the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageNames {
    mappings: Vec<Mapping>,
    repositories: HashMap<Repository, BTreeSet<usize>>,
    words: HashMap<String, BTreeSet<usize>>,
}

impl ImageNames {
    /// For the images of `config`. `mappings` are all mappings of `sources`, and `locations` are
    /// the sources of the images: images with the same source have the same names. `others` are further
    /// configurations, which may call the images by other names.
    pub(crate) fn new<'c>(
        config: &Config,
        mappings: impl IntoIterator<Item = &'c Mapping>,
        locations: &[String],
        others: &[Config],
    ) -> Self {
        let mut names = Self {
            mappings: mappings.into_iter().cloned().collect(),
            ..Self::default()
        };
        for (number, image) in config.images.iter().enumerate() {
            let mut images = BTreeSet::new();
            for other in 0..config.images.len() {
                if locations.get(number) == locations.get(other) {
                    images.insert(other);
                }
            }
            // Another configuration may map the source of this one.
            let mut repositories = HashSet::new();
            for form in names.forms(&image.repository) {
                repositories.extend(names.forms(&form));
            }
            names.add(&image.name, &images);
            for repository in repositories {
                names.add(repository.path(), &images);
                for layout in names.layouts_of(&repository) {
                    names.add(&layout, &images);
                }
                let known = names.repositories.entry(repository);
                known.or_default().extend(&images);
            }
        }
        for number in 0..names.mappings.len() {
            let prefix = names.mappings[number].prefix.to_string();
            if let Ok(repository) = Repository::parse(&prefix) {
                names.add(&prefix, &names.images(&repository));
            }
        }
        for other in others {
            names.add_configuration(config, other);
        }
        names
    }

    /// Adds the names in another configuration, which may be a former one of the same set.
    fn add_configuration(&mut self, config: &Config, other: &Config) {
        for image in &other.images {
            let mut images = self.images(&image.repository);
            if other.set_path == config.set_path {
                let mut current = config.images.iter();
                images.extend(current.position(|current| current.name == image.name));
            }
            self.add(&image.name, &images);
            self.add(image.repository.path(), &images);
        }
    }

    /// Adds the last component of a path.
    fn add(&mut self, path: &str, images: &BTreeSet<usize>) {
        let path = path.trim_end_matches('/');
        let word = path.rsplit('/').next().unwrap_or(path);
        if !images.is_empty() {
            self.words
                .entry(word.to_owned())
                .or_default()
                .extend(images);
        }
    }

    /// The images that a word means.
    pub(crate) fn of_word(&self, word: &str) -> Option<&BTreeSet<usize>> {
        self.words.get(word)
    }

    /// The images of a repository.
    fn images(&self, repository: &Repository) -> BTreeSet<usize> {
        let mut images = BTreeSet::new();
        for form in self.forms(repository) {
            images.extend(self.repositories.get(&form).into_iter().flatten());
        }
        images
    }

    /// The repository itself, and those that `sources` maps it to.
    fn forms(&self, repository: &Repository) -> Vec<Repository> {
        let mut forms = vec![repository.clone()];
        forms.extend(mirrors(&self.mappings, repository));
        forms
    }

    /// The directories of layouts that `sources` maps a repository to.
    fn layouts_of(&self, repository: &Repository) -> Vec<String> {
        let mut layouts = Vec::new();
        for mapping in &self.mappings {
            if let SourceLocation::Layouts(directory) = &mapping.location
                && let Some(rest) = mapping.prefix.rest_of(repository)
            {
                // An empty rest adds a slash, which is not a component.
                let layout: PathBuf = directory.path.join(rest).components().collect();
                layouts.push(layout.display().to_string());
            }
        }
        layouts
    }
}

/// The maximum length of a word, in bytes: that of a repository. A tag is shorter.
const MAX_WORD: usize = 255;
/// The maximum number of nested escapes, as in JSON in a string of JSON.
const MAX_NESTING: usize = 4;
/// The number of bytes around a word that belong to it, with escapes and in UTF-16.
pub(super) const OVERLAP: usize = 8 * 1024;

/// Whether a word is too common to mean a tag without the name of an image in the same file: fewer than
/// four characters, only letters, or only digits. Seven hexadecimal digits may be a commit.
pub(super) fn is_common(word: &str) -> bool {
    let is_commit =
        word.len() >= *ABBREVIATIONS.start() && word.bytes().all(|b| b.is_ascii_hexdigit());
    let is_plain =
        word.bytes().all(|b| b.is_ascii_alphabetic()) || word.bytes().all(|b| b.is_ascii_digit());
    !is_commit && (word.len() < 4 || is_plain)
}

/// Calls `visit` with every word of a block, and with the offset of its first character in the block. The
/// offsets are in no particular order.
pub(super) fn each_word(block: &[u8], mut visit: impl FnMut(usize, &str)) {
    let mut pending = vec![Form::of(block)];
    if block.contains(&0) {
        pending.extend(utf16_forms(block));
    }
    for mut form in pending {
        for _ in 0..=MAX_NESTING {
            form.each_word(&mut visit);
            match form.unescaped() {
                Some(unescaped) => form = unescaped,
                None => break,
            }
        }
    }
}

/// A block, or a block without its escapes.
struct Form<'b> {
    text: std::borrow::Cow<'b, [u8]>,
    /// The offset in the block of each byte; `None` for the block itself.
    offsets: Option<Vec<usize>>,
}

/// The text in UTF-16 of either byte order, from an even and from an odd offset on.
fn utf16_forms(block: &[u8]) -> Vec<Form<'static>> {
    let mut forms = Vec::new();
    for first in [0, 1] {
        for low in [0, 1] {
            let mut form = Form::empty();
            let units = block.get(first..).unwrap_or_default().chunks_exact(2);
            for (number, unit) in units.enumerate() {
                let is_ascii = unit[1 - low] == 0;
                form.push(if is_ascii { unit[low] } else { b' ' }, first + 2 * number);
            }
            forms.push(form);
        }
    }
    forms
}

impl<'b> Form<'b> {
    fn of(block: &'b [u8]) -> Self {
        Self {
            text: block.into(),
            offsets: None,
        }
    }

    fn empty() -> Self {
        Self {
            text: Vec::new().into(),
            offsets: Some(Vec::new()),
        }
    }

    fn push(&mut self, byte: u8, offset: usize) {
        self.text.to_mut().push(byte);
        self.offsets.get_or_insert_default().push(offset);
    }

    fn offset(&self, at: usize) -> usize {
        self.offsets.as_ref().map_or(at, |offsets| offsets[at])
    }

    fn each_word(&self, visit: &mut impl FnMut(usize, &str)) {
        let text = &*self.text;
        let is_part = |byte: &u8| Tag::has_character(*byte) || *byte == b'+';
        let mut at = 0;
        while let Some(start) = text[at..].iter().position(is_part) {
            let start = at + start;
            let length = text[start..].iter().position(|byte| !is_part(byte));
            at = length.map_or(text.len(), |length| start + length);
            // All characters of a run are ASCII.
            let run = std::str::from_utf8(&text[start..at]).unwrap_or_default();
            let mut part_at = start;
            for part in run.split('+') {
                words_of(part, |first, word| {
                    visit(self.offset(part_at + first), word);
                });
                part_at += part.len() + 1;
            }
            // Helm replaces the `+` of a version with `_` in the tag of a chart (Helm Documentation, "Use OCI-based
            // registries").
            if run.contains('+') {
                words_of(&run.replace('+', "_"), |first, word| {
                    visit(self.offset(start + first), word);
                });
            }
        }
    }

    /// The text with each escape replaced by its character; `None` if it contains no escape. A character
    /// that no tag contains becomes a space.
    fn unescaped(&self) -> Option<Form<'static>> {
        let text = &*self.text;
        memchr::memchr2(b'\\', b'%', text)?;
        let mut form = Form::empty();
        let mut is_changed = false;
        let mut at = 0;
        while at < text.len() {
            let (byte, length) = match escape(&text[at..]) {
                Some((byte, length)) => (byte, length),
                None => (Some(text[at]), 1),
            };
            is_changed |= length > 1;
            if let Some(byte) = byte {
                form.push(byte, self.offset(at));
            }
            at += length;
        }
        is_changed.then_some(form)
    }
}

/// The character of the escape at the start of a text, `None` for an escaped line break, and the length of the
/// escape.
fn escape(text: &[u8]) -> Option<(Option<u8>, usize)> {
    let code = |from: usize, digits: usize| {
        let code = hex_value(text.get(from..from + digits)?)?;
        Some(u8::try_from(code).ok().filter(u8::is_ascii).unwrap_or(b' '))
    };
    let number = |digits: usize| Some((Some(code(2, digits)?), 2 + digits));
    match *text {
        [b'%', ..] => Some((Some(code(1, 2)?), 3)),
        [b'\\', b'x', ..] => number(2),
        [b'\\', b'u', ..] => number(4),
        [b'\\', b'U', ..] => number(8),
        // A line that continues on the next one, without its indentation.
        [b'\\', b'\n', ..] | [b'\\', b'\r', b'\n', ..] => {
            let rest = &text[1..];
            let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
            Some((None, 1 + blank.count()))
        }
        [b'\\', next, ..] if next.is_ascii_alphanumeric() || next == b'_' => Some((Some(b' '), 2)),
        [b'\\', next, ..] => Some((Some(next), 2)),
        _ => None,
    }
}

/// The words in a run of characters of tags.
fn words_of(run: &str, mut visit: impl FnMut(usize, &str)) {
    let bytes = run.as_bytes();
    let is_inside = |at: usize| bytes[at].is_ascii_alphanumeric();
    for start in 0..bytes.len() {
        let is_start = is_inside(start) || bytes[start] == b'_';
        if !is_start || start > 0 && is_inside(start - 1) {
            continue;
        }
        let mut is_name = false;
        for end in start + 1..=bytes.len().min(start + MAX_WORD) {
            is_name |= is_inside(end - 1);
            if is_name && (end == bytes.len() || !is_inside(end)) {
                visit(start, &run[start..end]);
            }
        }
    }
}

/// The key of kustomize with a text that is appended to the tag.
const SUFFIX_KEY: &[u8] = b"tagSuffix";

/// The suffixes of tags in the entries of kustomize.
pub(super) fn tag_suffixes(block: &[u8]) -> Vec<String> {
    let mut suffixes = Vec::new();
    for at in memchr::memmem::find_iter(block, SUFFIX_KEY) {
        let rest = &block[at + SUFFIX_KEY.len()..];
        let value = rest
            .iter()
            .position(|byte| Tag::has_character(*byte))
            .unwrap_or(rest.len());
        let value = rest[value..].iter().take(Tag::MAX);
        let suffix: Vec<u8> = value
            .copied()
            .take_while(|byte| Tag::has_character(*byte))
            .collect();
        suffixes.extend(
            String::from_utf8(suffix)
                .ok()
                .filter(|suffix| !suffix.is_empty()),
        );
    }
    suffixes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, core::pins::lines::BLOCK};

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
            "a+t-x1+b",
        ] {
            assert!(protects(text), "{text}");
        }
        for text in [
            "version: 1.0.0+build.5",
            r#"{"targetRevision": "1.0.0\u002bbuild.5"}"#,
            "chart=1.0.0%2Bbuild.5",
            "1.0.0_build.5",
            "x+1.0.0+build.5",
        ] {
            let expected = [("1.0.0_build.5".to_owned(), None, 1)];
            assert_eq!(
                tags(r"^1\.0\.0_build\.5$", text.as_bytes()),
                expected,
                "{text}"
            );
        }
        assert_eq!(
            tags(r"^1\.0\.0_build\.5$", b"1.0.0 + build.5 1.0.0-build.5"),
            []
        );
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
            for colon in [":", "%3a", "%3A", r"\x3a", r"\x3A", r"\u003a", r"\u003A"] {
                assert!(has_algorithm(format!("sha256{colon}{hex}")), "{colon}");
            }
            assert!(!has_algorithm(format!("sha256%3d{hex}")));
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

    #[test]
    fn image_has_the_names_of_all_its_sources_and_configurations() {
        let text = "version: 1
files: [a]
sources:
  quay.io/team/tool: oci:layouts/one
  mirror.example/x: https://ghcr.io/acme
  alias.example/second: https://ghcr.io/acme/app
images:
  app: { repository: ghcr.io/acme/app, pins: 1 }
  tool: { repository: quay.io/team/tool, pins: 1 }
  same: { repository: mirror.example/x/app, pins: 1 }
";
        let config = config::example(text);
        let former = config::example(
            &text
                .replace("ghcr.io/acme/app, pins", "old.example/server, pins")
                .replace("  tool: {", "  instrument: {"),
        );
        let locations = ["a", "b", "a"].map(str::to_owned);
        let names = ImageNames::new(&config, &config.sources, &locations, &[former]);
        for (word, expected) in [
            ("app", &[0, 2][..]),
            ("same", &[0, 2]),
            ("second", &[0, 2]),
            ("server", &[0]),
            ("tool", &[1]),
            ("one", &[1]),
            ("instrument", &[1]),
            ("acme", &[]),
            ("web", &[]),
        ] {
            let found = names.of_word(word).cloned().unwrap_or_default();
            assert_eq!(found, expected.iter().copied().collect(), "{word}");
        }
    }

    #[test]
    fn words_of_hostile_text_are_bounded() {
        for part in ["_", "a-", "a__", "a+", "+", "\\\\", "%5c", "\0a"] {
            let text = part.repeat(16 * 1024 / part.len());
            let mut count = 0;
            each_word(text.as_bytes(), |_, _| count += 1);
            let forms = if part.contains('\0') { 5 } else { 1 };
            let most = forms * (MAX_NESTING + 1) * text.len() * MAX_WORD / 2;
            assert!(count <= most, "{part:?} {count}");
        }
    }

    #[test]
    fn escapes_are_replaced_at_their_offsets() {
        for (text, expected) in [
            (r"a\u0062c", Some(("abc", &[0, 1, 7][..]))),
            (r"\x61\U00000062%63", Some(("abc", &[0, 4, 14]))),
            (r"\/\\\n\t\u00e9", Some(("/\\   ", &[0, 2, 4, 6, 8]))),
            ("a\\\r\n\t b", Some(("ab", &[0, 6]))),
            (r"a\u00zz", None),
            ("100% a%zz", None),
            ("plain", None),
        ] {
            let found = Form::of(text.as_bytes()).unescaped();
            let found = found.map(|form| {
                let offsets = form.offsets.unwrap();
                (String::from_utf8(form.text.into_owned()).unwrap(), offsets)
            });
            let expected = expected.map(|(text, offsets)| (text.to_owned(), offsets.to_vec()));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn suffix_of_kustomize_is_found() {
        let text = b"newTag: v1\ntagSuffix: '-x'\n---\n{\"tagSuffix\":\"_y.z\", \"tagSuffix\": ";
        assert_eq!(tag_suffixes(text), ["-x", "_y.z"]);
    }
}
