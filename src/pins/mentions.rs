//! Digests that any text names, read as a stream: of a file of any size only a part is in memory.

use std::io::{self, Read};

use super::digests::{follows_algorithm, hex_runs};
use crate::image::Digest;

/// A digest that a text names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mention {
    /// The digest.
    pub digest: Digest,
    /// Whether `sha256:` stands before it somewhere in the text.
    pub algorithm: bool,
}

/// Bytes read at once.
const CHUNK: u64 = 256 * 1024;
/// Bytes that are looked at on both sides of a run: more than a run, a digit beyond each of its
/// ends, and the algorithm, in UTF-16.
const CONTEXT: usize = 512;

/// The digests that a text names, each once, sorted. `buffer` can be used again.
pub fn mentions(mut reader: impl Read, buffer: &mut Vec<u8>) -> io::Result<Vec<Mention>> {
    let mut found = Vec::new();
    let mut begin = 0;
    buffer.clear();
    loop {
        let ended = reader.by_ref().take(CHUNK).read_to_end(buffer)? == 0;
        // What begins later is looked at again, with the bytes that follow.
        let end = if ended {
            buffer.len()
        } else {
            buffer.len().saturating_sub(CONTEXT).max(begin)
        };
        let runs = hex_runs(buffer).into_iter();
        found.extend(
            runs.filter(|(at, _)| (begin..end).contains(at))
                .map(|(at, digest)| Mention {
                    digest,
                    algorithm: follows_algorithm(buffer, at),
                }),
        );
        if ended {
            break;
        }
        let passed = end.saturating_sub(CONTEXT);
        buffer.drain(..passed);
        begin = end - passed;
    }
    found.sort_unstable_by_key(|mention| (mention.digest, !mention.algorithm));
    found.dedup_by_key(|mention| mention.digest);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out as few bytes at a time as a pipe may.
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
        let chunk = usize::try_from(CHUNK).unwrap();
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
        let chunk = usize::try_from(CHUNK).unwrap();
        for size in [3 * chunk, 3 * chunk + 64, 2 * chunk + 513, 65, 63] {
            let found = mentions(&*vec![b'a'; size], &mut Vec::new()).unwrap();
            assert_eq!(found, [], "{size}");
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
