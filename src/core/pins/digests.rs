//! Runs of exactly 64 lowercase hexadecimal digits: digests in any surrounding text.
//!
//! The digits of an escape directly before a digest, as in `sha256%3a` or `\u003a`, do not belong to its run.
//!
//! The digits are single bytes, as in ASCII, UTF-8 and most other encodings, or 16-bit units, as in
//! UTF-16 of either byte order. The text is not parsed. A run of 64 digits covers one of any 64 consecutive
//! positions, so one byte in 64 is examined in text without digits.

use std::ops::Range;

use crate::oci::Digest;

/// A run of exactly 64 lowercase hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The offset of the first digit.
    pub(super) offset: usize,
    pub(super) width: Width,
    pub(super) digest: Digest,
}

/// The number of bytes of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    One,
    /// Two bytes, one of which is zero.
    Two,
}

/// The number of digits of a digest.
const DIGITS: usize = 64;
/// The maximum number of digits of an escape, as of `\U0000003a` or the nested `%2525253a`.
const ESCAPE: usize = 8;
/// The number of bytes before and after the first digit of a run that determine its bounds.
pub(super) const OVERLAP: usize = 2 * (DIGITS + 1);

impl Width {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// Whether the byte at `at` is a digit, and the byte between it and its neighbor is zero.
    fn digit_at(bytes: &[u8], at: usize, between: Option<usize>) -> bool {
        is_digit(bytes[at]) && between.is_none_or(|between| bytes[between] == 0)
    }

    /// The digit before the one at `at`, if there is one.
    fn previous(self, bytes: &[u8], at: usize) -> Option<usize> {
        let previous = at.checked_sub(self.bytes())?;
        let between = (self == Self::Two).then(|| at - 1);
        Self::digit_at(bytes, previous, between).then_some(previous)
    }

    /// The digit after the one at `at`, if there is one.
    fn next(self, bytes: &[u8], at: usize) -> Option<usize> {
        let next = at + self.bytes();
        let between = (self == Self::Two).then_some(at + 1);
        (next < bytes.len() && Self::digit_at(bytes, next, between)).then_some(next)
    }
}

/// Finds the runs that start in `range`. If `bytes` are a part of a file, they include [`OVERLAP`]
/// bytes around the range.
pub(super) fn runs_in(bytes: &[u8], range: Range<usize>, mut visit: impl FnMut(Run)) {
    let mut reached = range.start;
    while range.contains(&reached) {
        let sample = reached + DIGITS - 1;
        let Some(&byte) = bytes.get(sample) else {
            return;
        };
        // In UTF-16, a zero byte separates two digits: examine the digit before it.
        let digit = if byte == 0 { sample - 1 } else { sample };
        reached = sample + 1;
        if is_digit(bytes[digit]) {
            let mut chain = Chain::around(bytes, digit, Width::One);
            if chain.digits == 1 {
                chain = Chain::around(bytes, digit, Width::Two);
            }
            if let Some(run) = chain.run(bytes).filter(|run| range.contains(&run.offset)) {
                visit(run);
            }
            // The last digit may be the first one of a chain of the other width.
            reached = chain.end - 1;
        }
    }
}

/// Consecutive digits.
struct Chain {
    width: Width,
    /// The offset of the first digit; if the chain is too long, of a later one.
    start: usize,
    /// The offset after the last digit.
    end: usize,
    digits: usize,
}

impl Chain {
    fn around(bytes: &[u8], at: usize, width: Width) -> Self {
        let mut last = at;
        while let Some(next) = width.next(bytes, last) {
            last = next;
        }
        // The backward search stops at a maximum length, so that the time for a file of digits is
        // linear.
        let (mut start, mut digits) = (last, 1);
        while digits <= ESCAPE + DIGITS
            && let Some(previous) = width.previous(bytes, start)
        {
            start = previous;
            digits += 1;
        }
        Self {
            width,
            start,
            end: last + 1,
            digits,
        }
    }

    fn run(&self, bytes: &[u8]) -> Option<Run> {
        let escape = self.digits.checked_sub(DIGITS)?;
        if escape > 0 && !(escape <= ESCAPE && self.follows_escape(bytes)) {
            return None;
        }
        let offset = self.start + escape * self.width.bytes();
        let mut text = [0; DIGITS];
        let digits = bytes[offset..self.end].iter().step_by(self.width.bytes());
        for (to, digit) in text.iter_mut().zip(digits) {
            *to = *digit;
        }
        let digest = Digest::from_hex(std::str::from_utf8(&text).ok()?).ok()?;
        Some(Run {
            offset,
            width: self.width,
            digest,
        })
    }

    /// Whether the first digits belong to an escape of a string or a URL: `\3a`, `\x3a`, `\u003a`, `%3a`, `%u003a`.
    fn follows_escape(&self, bytes: &[u8]) -> bool {
        let before = |count: usize| {
            let at = self.start.checked_sub(count * self.width.bytes());
            at.map(|at| bytes[at])
        };
        let is_start = |byte: Option<u8>| matches!(byte, Some(b'\\' | b'%'));
        is_start(before(1)) || matches!(before(1), Some(b'x' | b'u' | b'U')) && is_start(before(2))
    }
}

fn is_digit(byte: u8) -> bool {
    const DIGIT: [bool; 256] = {
        let mut table = [false; 256];
        let digits = b"0123456789abcdef";
        let mut at = 0;
        while at < digits.len() {
            table[digits[at] as usize] = true;
            at += 1;
        }
        table
    };
    DIGIT[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use proptest::prelude::*;

    use super::*;
    use crate::core::pins::{
        fuzzing::slow_runs,
        lines::{BLOCK, each_block},
    };

    /// Every run in `bytes`.
    fn runs(bytes: &[u8]) -> Vec<Run> {
        let mut found = Vec::new();
        runs_in(bytes, 0..bytes.len(), |run| found.push(run));
        found
    }

    /// Every run in a file that is read in blocks.
    fn streamed(reader: impl Read, buffer: &mut Vec<u8>) -> io::Result<Vec<(usize, Width)>> {
        let mut found = Vec::new();
        each_block(reader, buffer, OVERLAP, |bytes, range, lines| {
            runs_in(bytes, range, |run| {
                found.push((lines.offset(run.offset), run.width));
            });
        })?;
        Ok(found)
    }

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn offsets(bytes: &[u8]) -> Vec<(usize, Width)> {
        let found = runs(bytes);
        found.iter().map(|run| (run.offset, run.width)).collect()
    }

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        text.encode_utf16()
            .flat_map(|unit| {
                if big {
                    unit.to_be_bytes()
                } else {
                    unit.to_le_bytes()
                }
            })
            .collect()
    }

    #[test]
    fn only_runs_of_64_digits_count() {
        for (before, after) in [
            ("", ""),
            ("x", "g"),
            ("sha256:", "\n"),
            ("F", "A"),
            ("é", "é"),
        ] {
            let text = format!("{before}{HEX}{after}");
            assert_eq!(offsets(text.as_bytes()), [(before.len(), Width::One)]);
        }
        for text in [
            &HEX[1..],
            &format!("{HEX}0"),
            &format!("a{HEX}"),
            &HEX.to_uppercase(),
            &HEX.repeat(2),
            &format!("{}g{}", &HEX[..32], &HEX[..32]),
        ] {
            assert_eq!(offsets(text.as_bytes()), [], "{text}");
        }
        assert_eq!(runs(HEX.as_bytes())[0].digest.hex(), HEX);
    }

    #[test]
    fn digits_of_an_escape_precede_a_run() {
        for escape in [
            "sha256%3a",
            "sha256%253a",
            "sha256%2525253a",
            "sha256%u003a",
            r"sha256\u003a",
            r"sha256\\u003a",
            r"sha256\x3a",
            r"sha256\U0000003a",
            r"sha256\072",
            r"sha\u003d",
            r"\u0022",
            r"\b",
            r"\1",
            "%20",
        ] {
            let text = format!("{escape}{HEX}{escape}");
            let at = escape.len();
            assert_eq!(offsets(text.as_bytes()), [(at, Width::One)], "{text}");
            assert_eq!(runs(text.as_bytes())[0].digest.hex(), HEX);
            for big in [false, true] {
                let expected = (2 * at + usize::from(big), Width::Two);
                assert_eq!(offsets(&utf16(&text, big)), [expected], "{text}");
            }
        }
        // The dump of a database writes bytes after `\x`.
        let text = format!(r"\x{HEX}");
        assert_eq!(offsets(text.as_bytes()), [(2, Width::One)]);
        for before in [
            "0x3a",
            "x3a",
            "u003a",
            "U0000003a",
            "=3a",
            r"\y3a",
            r"\x25252523a",
            "%A3a",
            &format!("%{}", &HEX[..9]),
            &format!("%{HEX}"),
        ] {
            let text = format!("{before}{HEX}");
            assert_eq!(offsets(text.as_bytes()), [], "{text}");
        }
    }

    #[test]
    fn utf_16_of_either_byte_order_counts() {
        let text = format!("image: a/b@sha256:{HEX}\r\n{HEX}0\n{HEX}");
        for big in [false, true] {
            let bytes = utf16(&text, big);
            let first = 18 * 2 + usize::from(big);
            let last = (text.len() - 64) * 2 + usize::from(big);
            assert_eq!(
                offsets(&bytes),
                [(first, Width::Two), (last, Width::Two)],
                "{big}"
            );
        }
    }

    #[test]
    fn run_is_found_in_the_range_of_its_start() {
        for padding in 0..64 {
            let padding = "x".repeat(padding);
            for digits in [HEX.to_owned(), format!("{HEX}0")] {
                let text = format!("{padding}{digits}\n");
                for bytes in [
                    text.clone().into_bytes(),
                    utf16(&text, false),
                    utf16(&text, true),
                ] {
                    let expected = slow_runs(&bytes);
                    assert_eq!(expected.len(), usize::from(digits == HEX));
                    for end in 0..bytes.len() {
                        let mut found = Vec::new();
                        for range in [0..end, end..bytes.len()] {
                            runs_in(&bytes, range, |run| found.push((run.offset, run.width)));
                        }
                        assert_eq!(found, expected, "{text} {end}");
                    }
                }
            }
        }
    }

    #[test]
    fn file_of_digits_has_no_run() {
        let digits = io::repeat(b'a').take(8 * 1024 * 1024);
        let mut buffer = Vec::new();
        assert_eq!(streamed(digits, &mut buffer).unwrap(), []);
        assert!(buffer.capacity() < 1024 * 1024, "{}", buffer.capacity());
    }

    proptest! {
        #[test]
        fn slow_search_finds_the_same_runs(
            parts in prop::collection::vec((0..8_usize, 60..74_usize), 0..8),
        ) {
            let mut bytes = Vec::new();
            for (kind, length) in parts {
                let digits: String = HEX.chars().cycle().take(length).collect();
                match kind {
                    0 => bytes.extend(digits.into_bytes()),
                    1 => bytes.extend(utf16(&digits, false)),
                    2 => bytes.extend(utf16(&digits, true)),
                    3 => bytes.extend(vec![b' '; length - 59]),
                    4 => bytes.extend([b'\\', b'%', b'x', b'u'].iter().cycle().take(length - 59)),
                    5 => bytes.extend(b"\\u003a"),
                    6 => bytes.extend(utf16("%3a", true)),
                    _ => bytes.extend(vec![0; length - 59]),
                }
            }
            let quick = offsets(&bytes);
            prop_assert_eq!(&quick, &slow_runs(&bytes));
            let start = BLOCK - 70;
            let padded = [vec![b'\n'; start], bytes].concat();
            let padded = streamed(padded.as_slice(), &mut Vec::new()).unwrap();
            let moved: Vec<_> = padded.iter().map(|(at, width)| (at - start, *width)).collect();
            prop_assert_eq!(moved, quick);
        }
    }
}
