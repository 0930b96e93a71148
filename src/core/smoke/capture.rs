//! The output of a process: its beginning and its end, with a limited length.

use std::collections::VecDeque;

use super::secrets::Secrets;
use crate::base::untrusted::starred;

/// The length of the reported beginning and of the reported end, in bytes.
const REPORTED: usize = 32 * 1024;

/// Collects output. It stores slightly more than it reports, so that a secret across a cut is still
/// recognized.
pub(super) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
    /// The length of the stored beginning and of the stored end.
    stored: usize,
}

impl Capture {
    pub(super) fn new(secrets: &Secrets) -> Self {
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            dropped: 0,
            stored: REPORTED + secrets.longest(),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(self.stored - self.head.len()));
        self.head.extend(head);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(self.stored);
        self.tail.drain(..excess);
        self.dropped += excess as u64;
    }

    /// The beginning and the end as text, with `***` for each secret.
    pub(super) fn text(&self, secrets: &Secrets) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if self.dropped == 0 {
            let output = [self.head.as_slice(), &tail].concat();
            let mask = secrets.mask(&output);
            if output.len() <= 2 * REPORTED {
                return redact(&output, &mask);
            }
            let end = output.len() - REPORTED;
            return join(
                &redact(&output[..REPORTED], &mask[..REPORTED]),
                &redact(&output[end..], &mask[end..]),
                end - REPORTED,
            );
        }
        let (head_mask, tail_mask) = (secrets.mask(&self.head), secrets.mask(&tail));
        let end = tail.len() - REPORTED;
        let dropped = usize::try_from(self.dropped).unwrap_or(usize::MAX);
        join(
            &redact(&self.head[..REPORTED], &head_mask[..REPORTED]),
            &redact(&tail[end..], &tail_mask[end..]),
            self.head.len() - REPORTED + dropped + end,
        )
    }
}

fn join(head: &str, tail: &str, omitted: usize) -> String {
    format!("{head}\n[{omitted} bytes omitted]\n{tail}")
}

/// Replaces each run of masked bytes with `***`.
fn redact(bytes: &[u8], mask: &[bool]) -> String {
    String::from_utf8_lossy(&starred(bytes, mask)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::smoke::secrets::tests::secrets;

    fn capture(secret: &str, parts: &[&[u8]]) -> String {
        let secrets = secrets(&[secret]);
        let mut capture = Capture::new(&secrets);
        for part in parts {
            capture.push(part);
        }
        capture.text(&secrets)
    }

    #[test]
    fn secrets_are_found_across_chunks() {
        assert_eq!(capture("token", &[b"a to", b"ke", b"n b"]), "a *** b");
        assert_eq!(capture("token", &[b"\xfftokentoken\n"]), "\u{fffd}***\n");
    }

    #[test]
    fn short_output_is_complete() {
        let text = "x".repeat(2 * REPORTED);
        assert_eq!(capture("token", &[text.as_bytes()]), text);
    }

    #[test]
    fn long_output_is_cut_in_the_middle() {
        for extra in [1, 3, 10, 11, 1000, 5 * REPORTED] {
            let text = format!(
                "{}{}{}",
                "a".repeat(REPORTED),
                "m".repeat(extra),
                "z".repeat(REPORTED)
            );
            let expected = join(&"a".repeat(REPORTED), &"z".repeat(REPORTED), extra);
            assert_eq!(capture("token", &[text.as_bytes()]), expected, "{extra}");
            let parts: Vec<_> = text.as_bytes().chunks(999).collect();
            assert_eq!(capture("token", &parts), expected, "{extra}");
        }
    }

    #[test]
    fn secret_across_a_cut_is_masked() {
        for before in REPORTED - 6..=REPORTED {
            for (first, second) in [(100, 0), (0, 3), (0, 100), (9 * REPORTED, 100)] {
                let text = format!(
                    "{}SECRET{}{}SECRET{}",
                    "a".repeat(before),
                    "m".repeat(first),
                    "n".repeat(second),
                    "z".repeat(before)
                );
                let text = capture("SECRET", &[text.as_bytes()]);
                assert!(
                    !text.contains(['S', 'E', 'C', 'R', 'T']),
                    "{before} {first} {second}"
                );
                assert!(text.len() < 2 * REPORTED + 200);
            }
        }
    }
}
