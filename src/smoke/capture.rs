//! What a process printed: its beginning and its end, of any amount.

use std::collections::VecDeque;

use super::secrets::Secrets;
use crate::untrusted::starred;

/// How much of the beginning and of the end is shown, in bytes each.
const KEPT: usize = 32 * 1024;

/// Bytes as they come in. A little more than is shown is kept, so that a secret across the cut is
/// still recognized.
pub(super) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
    /// How much of the beginning and of the end is kept.
    kept: usize,
}

impl Capture {
    /// Nothing yet.
    pub(super) fn new(secrets: &Secrets) -> Self {
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            dropped: 0,
            kept: KEPT + secrets.longest(),
        }
    }

    /// Takes in more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(self.kept - self.head.len()));
        self.head.extend(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(self.kept);
        self.tail.drain(..over);
        self.dropped += over as u64;
    }

    /// The beginning and the end as text, each secret as `***`.
    pub(super) fn text(&self, secrets: &Secrets) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if self.dropped == 0 {
            let all = [self.head.as_slice(), &tail].concat();
            let mask = secrets.mask(&all);
            if all.len() <= 2 * KEPT {
                return hidden(&all, &mask);
            }
            let end = all.len() - KEPT;
            return joined(
                &hidden(&all[..KEPT], &mask[..KEPT]),
                &hidden(&all[end..], &mask[end..]),
                end - KEPT,
            );
        }
        let (first, last) = (secrets.mask(&self.head), secrets.mask(&tail));
        let end = tail.len() - KEPT;
        let between =
            self.head.len() - KEPT + usize::try_from(self.dropped).unwrap_or(usize::MAX) + end;
        joined(
            &hidden(&self.head[..KEPT], &first[..KEPT]),
            &hidden(&tail[end..], &last[end..]),
            between,
        )
    }
}

fn joined(head: &str, tail: &str, between: usize) -> String {
    format!("{head}\n[{between} bytes omitted]\n{tail}")
}

/// The text with each run of masked bytes as `***`.
fn hidden(bytes: &[u8], mask: &[bool]) -> String {
    String::from_utf8_lossy(&starred(bytes, mask)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::secrets::tests::secrets;

    fn captured(secret: &str, parts: &[&[u8]]) -> String {
        let secrets = secrets(&[secret]);
        let mut capture = Capture::new(&secrets);
        for part in parts {
            capture.push(part);
        }
        capture.text(&secrets)
    }

    #[test]
    fn secrets_are_found_however_the_bytes_came_in() {
        assert_eq!(captured("token", &[b"a to", b"ke", b"n b"]), "a *** b");
        assert_eq!(captured("token", &[b"\xfftokentoken\n"]), "\u{fffd}***\n");
    }

    #[test]
    fn all_of_what_fits_is_shown() {
        let text = "x".repeat(2 * KEPT);
        assert_eq!(captured("token", &[text.as_bytes()]), text);
    }

    #[test]
    fn more_is_cut_in_the_middle() {
        for extra in [1, 3, 10, 11, 1000, 5 * KEPT] {
            let text = format!(
                "{}{}{}",
                "a".repeat(KEPT),
                "m".repeat(extra),
                "z".repeat(KEPT)
            );
            let expected = joined(&"a".repeat(KEPT), &"z".repeat(KEPT), extra);
            assert_eq!(captured("token", &[text.as_bytes()]), expected, "{extra}");
            let parts: Vec<_> = text.as_bytes().chunks(999).collect();
            assert_eq!(captured("token", &parts), expected, "{extra}");
        }
    }

    #[test]
    fn a_secret_across_a_cut_shows_no_byte() {
        for before in KEPT - 6..=KEPT {
            for (more, between) in [(100, 0), (0, 3), (0, 100), (9 * KEPT, 100)] {
                let text = format!(
                    "{}SECRET{}{}SECRET{}",
                    "a".repeat(before),
                    "m".repeat(more),
                    "n".repeat(between),
                    "z".repeat(before)
                );
                let shown = captured("SECRET", &[text.as_bytes()]);
                assert!(
                    !shown.contains(['S', 'E', 'C', 'R', 'T']),
                    "{before} {more} {between}"
                );
                assert!(shown.len() < 2 * KEPT + 200);
            }
        }
    }
}
