//! The search for whole pins and for digests, compared with searches that share no code with them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a panic is the finding"
)]

use std::{path::Path, sync::LazyLock};

use regex::bytes::Regex;

use super::{
    Finder, Replacement,
    digests::{OVERLAP, Width, runs_in},
    lines::{BLOCK, each_block},
    reference::MAX_REFERENCE,
    replace,
    scan::Scan,
};
use crate::{
    base::error::SourceText,
    config::{self, Config},
    oci::{Digest, Repository, Tag},
};

const IMAGES: [&str; 4] = [
    "ghcr.io/acme/app",
    "ghcr.io/acme/app-extra",
    "localhost:5000/app",
    "nginx",
];

pub use super::places::fuzzing::places;

/// A configuration whose comments move.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let source = SourceText {
        name: "repin.yaml".to_owned(),
        text: "version: 1\nfiles: [x]\nimages:\n  app: { repository: ghcr.io/acme/app, pins: 1 }\n\
               revision: { pattern: \"[0-9a-z]+\" }\ncomments: tag\n"
            .into(),
    };
    config::parse(&source, Path::new("/"), &crate::config::SetPath::top()).unwrap()
});

/// A result of the slow search: the image, the offset of the digest, and the tag and the digest of a pin, or
/// `None` for a malformed one.
type Hit = (usize, usize, Option<(Option<String>, String)>);

const NAME: &str = r"(?:(?:[gG][hH][cC][rR]\.[iI][oO](?::443)?/acme/(app|app-extra))|(?:[lL][oO][cC][aA][lL][hH][oO][sS][tT]:5000/(app))|(?:(?:(?:(?:[iI][nN][dD][eE][xX]\.|[rR][eE][gG][iI][sS][tT][rR][yY]-1\.)?[dD][oO][cC][kK][eE][rR]\.[iI][oO](?::443)?|[rR][eE][gG][iI][sS][tT][rR][yY]\.[hH][uU][bB]\.[dD][oO][cC][kK][eE][rR]\.[cC][oO][mM](?::443)?)/)?(?:library/)?(nginx)))";
static BEFORE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!(
        r"(?-u)\A(?:docker://|oci://)?({NAME}(?::([^/]*))?)\z"
    ))
    .unwrap()
});
/// The text before the digest of every pin, if its escapes are removed.
static PIN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!(
        r"(?-u){NAME}(?::[^/\n]*|:[^\n]*[$}})>%][^\n/]*)?(?:@|u0040|x40)(?:\$\{{[A-Za-z0-9_]+:?[-=])*\z"
    ))
    .unwrap()
});
static TAG: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?-u)\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\z").unwrap());
static AFTER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?-u)\A([A-Za-z0-9+._-]{1,32}):([A-Za-z0-9]+)").unwrap());
static COMMENT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("(?-u)\\A[ \\t\"'`,\\])}]{0,15}[ \\t](?:#|//)[ \\t]{0,16}([0-9a-z]{1,128})[ \\t]{0,16}(?:\\r?\\n|\\z)").unwrap()
});
static HEX: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?-u)\A[0-9a-f]{64}\z").unwrap());

fn is_in_reference(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._/:-".contains(&byte)
}

/// Every `@` after a reference that no other text touches, with the text after it.
fn slow(content: &[u8]) -> Vec<Hit> {
    let mut hits = Vec::new();
    for at in (0..content.len()).filter(|at| content[*at] == b'@') {
        let start = content[..at]
            .iter()
            .rposition(|byte| !is_in_reference(*byte))
            .map_or(0, |at| at + 1);
        let before = start.checked_sub(1).map(|at| content[at]);
        if at - start > MAX_REFERENCE || before.is_some_and(|byte| b"\\${}@".contains(&byte)) {
            continue;
        }
        let (Some(before), Some(after)) = (
            BEFORE.captures(&content[start..at]),
            AFTER.captures(&content[at + 1..]),
        ) else {
            continue;
        };
        let image = match (before.get(2), before.get(3)) {
            (Some(name), _) => usize::from(name.as_bytes() == b"app-extra"),
            (None, Some(_)) => 2,
            (None, None) => 3,
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let tag = before.get(5).map(|tag| tag.as_bytes());
        let rest = &content[at + 1 + after[0].len()..];
        let ends = match rest {
            [b'@', ..] => false,
            [b':', next, ..] => !(next.is_ascii_alphanumeric() || b"_${".contains(next)),
            _ => true,
        };
        let good = tag.is_none_or(|tag| TAG.is_match(tag))
            && &after[1] == b"sha256"
            && HEX.is_match(&after[2])
            && ends;
        let pin = good.then(|| (tag.map(text), text(&after[2])));
        hits.push((image, at + 1, pin));
    }
    hits
}

fn hits(scan: &Scan) -> Vec<Hit> {
    let pins = scan.pins.iter().map(|pin| {
        let tag = pin.tag.as_ref().map(ToString::to_string);
        (pin.image, pin.offset, Some((tag, pin.digest.hex())))
    });
    let malformed = scan.malformed.iter();
    let malformed = malformed.map(|malformed| (malformed.image, malformed.digest.start, None));
    pins.chain(malformed).collect()
}

/// A slow search of references that no other text touches finds the same pins, the other pins follow the
/// name of an image, and a replacement changes the digest and nothing else.
pub fn scanner(input: &[u8]) {
    // A file with zeros is UTF-16, with other line ends.
    let input: Vec<u8> = [b" ".as_slice(), input].concat();
    let input: Vec<u8> = input
        .into_iter()
        .map(|byte| if byte == 0 { b' ' } else { byte })
        .collect();
    let repositories = IMAGES.map(|name| Repository::parse(name).unwrap());
    let finder = Finder::for_repositories(&repositories).with_version_comments(&CONFIG);
    let scan = finder.scan(&input);
    commented(&input, &scan);
    let found = hits(&scan);
    for hit in slow(&input) {
        assert!(found.contains(&hit), "{hit:?}");
    }
    for pin in &scan.pins {
        let before: Vec<u8> = input[..pin.offset]
            .iter()
            .copied()
            .filter(|byte| *byte != b'\\')
            .collect();
        assert!(PIN.is_match(&before), "{pin:?}");
    }
    replaced(&finder, &input, &scan);
}

/// Every comment that names a version is found where a slow search finds it.
fn commented(content: &[u8], scan: &Scan) {
    for pin in &scan.pins {
        let end = pin.offset + "sha256:".len() + 64;
        let expected = COMMENT
            .captures(&content[end..])
            .and_then(|found| found.get(1));
        let expected = expected.map(|word| end + word.start()..end + word.end());
        let found = pin.comment.as_deref();
        assert_eq!(found.map(|comment| comment.at.clone()), expected);
        assert!(
            found.is_none_or(
                |comment| comment.tag.as_str().as_bytes() == &content[comment.at.clone()]
            )
        );
    }
}

fn replaced(finder: &Finder, input: &[u8], scan: &Scan) {
    let to = Replacement {
        digest: Digest::of(b"new"),
        tag: Tag::parse("new").unwrap(),
    };
    let none = vec![None; IMAGES.len()];
    assert_eq!(replace(input, &scan.pins, &none), input);
    let all = vec![Some(to.clone()); IMAGES.len()];
    let new = replace(input, &scan.pins, &all);
    // The last pin is replaced first, so that no offset moves.
    let mut expected = input.to_vec();
    for pin in scan.pins.iter().rev() {
        if let Some(comment) = &pin.comment {
            expected.splice(comment.at.clone(), *b"new");
        }
        let digest = to.digest.hex();
        expected.splice(pin.offset + 7..pin.offset + 71, digest.bytes());
        if let Some(tag) = &pin.tag {
            let at = pin.tag_at;
            expected.splice(at..at + tag.as_str().len(), *b"new");
        }
    }
    assert_eq!(new, expected);
    let again = finder.scan(&new);
    assert_eq!(again.pins.len(), scan.pins.len());
    assert!(again.pins.iter().all(|pin| pin.digest == to.digest));
    // A tag of another length may decide whether the text around it is longer than any reference.
    let fits = |text: &[u8]| {
        let mut words = text.split(|byte| !is_in_reference(*byte));
        words.all(|word| word.len() <= MAX_REFERENCE)
    };
    if fits(input) && fits(&new) {
        assert_eq!(again.malformed.len(), scan.malformed.len());
    }
}

/// The runs of digits, by a search that examines every byte.
pub(super) fn slow_runs(bytes: &[u8]) -> Vec<(usize, Width)> {
    let digit = |at: usize| {
        let byte = bytes.get(at).copied();
        byte.is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    // Whether no digits precede the one at `start`, or at most eight of an escape.
    let is_start = |start: usize, width: usize, is_digit: &dyn Fn(usize) -> bool| {
        let character = |back: usize| Some(bytes[start.checked_sub(back * width)?]);
        let mut digits = 0;
        while start >= (digits + 1) * width && is_digit(start - (digits + 1) * width) {
            digits += 1;
        }
        let before: Vec<_> = [2, 1]
            .map(|back| character(digits + back))
            .into_iter()
            .flatten()
            .collect();
        let escapes = [
            &b"\\"[..],
            b"%",
            b"\\x",
            b"\\u",
            b"\\U",
            b"%x",
            b"%u",
            b"%U",
        ];
        digits == 0 || digits <= 8 && escapes.iter().any(|escape| before.ends_with(escape))
    };
    let mut found = Vec::new();
    for start in 0..bytes.len() {
        if (0..64).all(|i| digit(start + i))
            && !digit(start + 64)
            && is_start(start, 1, &|at| digit(at))
        {
            found.push((start, Width::One));
        }
        let zero = |at: usize| bytes.get(at) == Some(&0);
        let pair = |at: usize| zero(at + 1) && digit(at + 2);
        if digit(start)
            && (0..63).all(|i| pair(start + 2 * i))
            && !pair(start + 126)
            && is_start(start, 2, &|at| digit(at) && zero(at + 1))
        {
            found.push((start, Width::Two));
        }
    }
    found
}

/// A slow search finds the same digests, wherever a block of the file ends.
pub fn digests(input: &[u8]) {
    let Some((&cut, bytes)) = input.split_first() else {
        return;
    };
    let expected = slow_runs(bytes);
    let found = |range| {
        let mut found = Vec::new();
        runs_in(bytes, range, |run| found.push((run.offset, run.width)));
        found
    };
    assert_eq!(found(0..bytes.len()), expected);
    let cut = usize::from(cut).min(bytes.len());
    assert_eq!([found(0..cut), found(cut..bytes.len())].concat(), expected);
    let start = BLOCK - usize::from(input[0]);
    let padded = [vec![b'\n'; start], bytes.to_vec()].concat();
    let mut streamed = Vec::new();
    each_block(
        padded.as_slice(),
        &mut Vec::new(),
        OVERLAP,
        |bytes, range, lines| {
            runs_in(bytes, range, |run| {
                streamed.push((lines.offset(run.offset) - start, run.width));
            });
        },
    )
    .unwrap();
    assert_eq!(streamed, expected);
    for (offset, width) in expected {
        let step = if width == Width::One { 1 } else { 2 };
        let text: Vec<u8> = bytes[offset..]
            .iter()
            .copied()
            .step_by(step)
            .take(64)
            .collect();
        runs_in(bytes, offset..offset + 1, |run| {
            assert_eq!(run.digest.hex().as_bytes(), text);
        });
    }
}
