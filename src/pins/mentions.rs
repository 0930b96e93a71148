//! Digests that any text names, read as a stream: of a file of any size only a part is in memory.

use std::{
    io::{self, Read},
    ops::Range,
};

use super::{
    chunk::{Overlap, Window, each_window},
    digests::{BACK, FORWARD, runs_in},
};
use crate::oci::Digest;

/// A digest that a text names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mention {
    /// The digest.
    pub digest: Digest,
    /// Whether `sha256:` precedes it somewhere in the text.
    pub algorithm: bool,
}

/// The digests that a text names, each once, sorted. `buffer` can be used again.
pub fn mentions(reader: impl Read, buffer: &mut Vec<u8>) -> io::Result<Vec<Mention>> {
    let mut found = Mentions::default();
    each_window(reader, buffer, OVERLAP, |window, range, _| {
        found.window(window, range);
    })?;
    Ok(found.finish())
}

/// What the search has to see.
pub(super) const OVERLAP: Overlap = Overlap {
    back: BACK,
    forward: FORWARD,
};

/// The digests that a text names, as far as it was read.
#[derive(Default)]
pub(super) struct Mentions {
    found: Vec<Mention>,
}

impl Mentions {
    /// Reads the next part.
    pub(super) fn window(&mut self, window: &Window<'_>, range: Range<usize>) {
        runs_in(window.bytes, range, |run| {
            self.found.push(Mention {
                digest: run.digest,
                algorithm: follows_algorithm(window.bytes, run.offset),
            });
        });
    }

    /// Each once, sorted.
    pub(super) fn finish(self) -> Vec<Mention> {
        let mut found = self.found;
        found.sort_unstable_by_key(|mention| (mention.digest, !mention.algorithm));
        found.dedup_by_key(|mention| mention.digest);
        found
    }
}

/// Whether `sha256:` stands right before the digit at `at`, in the encoding of the digits.
fn follows_algorithm(bytes: &[u8], at: usize) -> bool {
    const NAME: &[u8] = b"sha256:";
    // Of a digit of UTF-16 this is the byte that is not zero, in either byte order.
    let wide = || {
        NAME.iter().rev().zip(1..).all(|(byte, back)| {
            let at = at.checked_sub(2 * back);
            at.is_some_and(|at| bytes.get(at) == Some(byte) && bytes.get(at + 1) == Some(&0))
        })
    };
    bytes.get(..at).is_some_and(|before| before.ends_with(NAME)) || wide()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pins::chunk::CHUNK;

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
    fn a_digest_is_seen_wherever_a_chunk_ends() {
        let chunk = CHUNK;
        for text in [
            format!("sha256:{}", Digest::of(b"a").hex()).into_bytes(),
            format!("sha256:{}", Digest::of(b"a").hex())
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect(),
        ] {
            for back in (0..1_400).step_by(7) {
                let mut bytes = vec![b'-'; 2 * chunk - back];
                bytes.extend(&text);
                bytes.extend(vec![b'-'; chunk]);
                let found = mentions(Slow(&bytes), &mut Vec::new()).unwrap();
                let expected = Mention {
                    digest: Digest::of(b"a"),
                    algorithm: true,
                };
                assert_eq!(found, [expected], "{back}");
            }
        }
    }

    #[test]
    fn a_file_of_nothing_but_digits_names_nothing() {
        let chunk = CHUNK;
        for size in [3 * chunk, 3 * chunk + 64, 2 * chunk + 513, 65, 63] {
            let found = mentions(&*vec![b'a'; size], &mut Vec::new()).unwrap();
            assert_eq!(found, [], "{size}");
        }
    }

    #[test]
    fn the_algorithm_is_known_in_each_encoding() {
        let hex = Digest::of(b"a").hex();
        for encode in [
            |text: &str| text.as_bytes().to_vec(),
            |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        ] {
            let named = |text: String| {
                let found = mentions(&*encode(&text), &mut Vec::new()).unwrap();
                assert_eq!(found.len(), 1, "{text}");
                found[0].algorithm
            };
            assert!(named(format!("sha256:{hex}")));
            assert!(!named(format!("sha512:{hex}")));
            assert!(!named(hex.clone()));
        }
    }

    #[test]
    fn a_digest_that_stands_there_twice_comes_once_with_its_algorithm() {
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
