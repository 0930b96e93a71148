//! The digests that a text of any size mentions.

use std::io::{self, Read};

use super::{
    digests::{OVERLAP, runs_in},
    read::each_block,
};
use crate::oci::Digest;

/// A digest that a text mentions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mention {
    /// The digest.
    pub digest: Digest,
    /// Whether `sha256:` precedes it somewhere in the text.
    pub algorithm: bool,
}

/// The digests that a text mentions, each once and sorted. The text is read in blocks into `buffer`,
/// which can be reused.
pub fn mentions(reader: impl Read, buffer: &mut Vec<u8>) -> io::Result<Vec<Mention>> {
    let mut found = Vec::new();
    each_block(reader, buffer, OVERLAP, |bytes, range, _| {
        runs_in(bytes, range, |run| {
            found.push(Mention {
                digest: run.digest,
                algorithm: follows_algorithm(bytes, run.offset),
            });
        });
    })?;
    found.sort_unstable_by_key(|mention| (mention.digest, !mention.algorithm));
    found.dedup_by_key(|mention| mention.digest);
    Ok(found)
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
    use crate::pins::read::BLOCK;

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
