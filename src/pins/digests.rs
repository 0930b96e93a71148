//! Runs of exactly 64 lowercase hexadecimal digits: a digest, whatever stands around it.
//!
//! The digits may be single bytes, as in ASCII, UTF-8 and most other encodings, or 16-bit units, as
//! in UTF-16 of either byte order. Nothing is parsed. A run of 64 digits covers one of any 64
//! positions in a row, so that one byte in 64 is looked at where there are no digits.

use std::ops::Range;

use crate::oci::Digest;

/// A run of exactly 64 lowercase hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// 0-based offset of the first digit's byte.
    pub(super) offset: usize,
    /// How far apart the digits are.
    pub(super) width: Width,
    /// What the digits say.
    pub(super) digest: Digest,
}

/// How far apart the characters of a text are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// A byte each.
    One,
    /// Two bytes each, of which the other is zero.
    Two,
}

/// Digits in a digest.
const DIGITS: usize = 64;
/// Bytes from a run's first digit on that tell whether it ends after 64.
pub(super) const FORWARD: usize = 2 * (DIGITS + 1);
/// Bytes before a run's first digit that tell whether it begins there.
pub(super) const BACK: usize = 2 * (DIGITS + 1);

impl Width {
    /// In bytes.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// Whether a digit of the same run stands so many bytes before `at`; it must be in `bytes`.
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

/// Every run that begins in `range`. Where `bytes` are part of a file, they hold enough around the
/// range to see where a run begins and ends.
pub(super) fn runs_in(bytes: &[u8], range: Range<usize>, mut visit: impl FnMut(Run)) {
    let mut reached = range.start;
    while reached < range.end {
        let sample = reached + DIGITS - 1;
        let Some(&byte) = bytes.get(sample) else {
            return;
        };
        let chain = if is_digit(byte) {
            let single = Chain::around(bytes, sample, Width::One);
            if single.digits == 1 {
                Some(Chain::around(bytes, sample, Width::Two))
            } else {
                Some(single)
            }
        } else if byte == 0 && is_digit(bytes[sample - 1]) {
            Some(Chain::around(bytes, sample - 1, Width::Two))
        } else {
            None
        };
        reached = sample + 1;
        if let Some(chain) = chain {
            if let Some(run) = chain.run(bytes).filter(|run| range.contains(&run.offset)) {
                visit(run);
            }
            // Its last digit may be the first one of a chain of the other width.
            reached = chain.end - 1;
        }
    }
}

/// Digits in a row.
struct Chain {
    width: Width,
    /// Offset of the first; of a chain that is too long, of one that shows that it is.
    start: usize,
    /// Offset behind the last.
    end: usize,
    digits: usize,
}

impl Chain {
    fn around(bytes: &[u8], at: usize, width: Width) -> Self {
        let (mut start, mut last, mut digits) = (at, at, 1);
        // A chain is left backwards once it is too long, so that a file of digits is read once.
        while digits <= DIGITS
            && let Some(previous) = width.previous(bytes, start)
        {
            start = previous;
            digits += 1;
        }
        while let Some(next) = width.next(bytes, last) {
            last = next;
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
        if self.digits != DIGITS {
            return None;
        }
        let mut text = [0; DIGITS];
        let digits = bytes[self.start..self.end]
            .iter()
            .step_by(self.width.bytes());
        for (to, digit) in text.iter_mut().zip(digits) {
            *to = *digit;
        }
        let digest = Digest::from_hex(std::str::from_utf8(&text).ok()?).ok()?;
        Some(Run {
            offset: self.start,
            width: self.width,
            digest,
        })
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
    use std::io::{self, Cursor, Read};

    use proptest::prelude::*;

    use super::*;
    use crate::pins::{
        chunk::{Overlap, Window, each_window},
        fuzzing::slow_runs,
    };

    /// Every run in `bytes`.
    fn runs(bytes: &[u8]) -> Vec<Run> {
        let mut found = Vec::new();
        runs_in(bytes, 0..bytes.len(), |run| found.push(run));
        found
    }

    /// Passes on every run in a file of any size, a chunk of which is held at a time, in `buffer`.
    fn each_run(
        reader: impl Read,
        buffer: &mut Vec<u8>,
        mut visit: impl FnMut(Run),
    ) -> io::Result<()> {
        let overlap = Overlap {
            back: BACK,
            forward: FORWARD,
        };
        each_window(reader, buffer, overlap, |window: &Window<'_>, range, _| {
            runs_in(window.bytes, range, |run| {
                visit(Run {
                    offset: window.base + run.offset,
                    ..run
                });
            });
        })
    }

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn offsets(bytes: &[u8]) -> Vec<(usize, Width)> {
        let found = runs(bytes);
        found.iter().map(|run| (run.offset, run.width)).collect()
    }

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        let bytes = |unit: u16| {
            if big {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        };
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn exactly_64_digits_are_a_run_and_no_other_number() {
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
    fn a_file_of_digits_is_read_once_and_holds_no_run() {
        let mut digits = io::repeat(b'a').take(8 * 1024 * 1024);
        let mut buffer = Vec::new();
        let mut found = 0;
        each_run(&mut digits, &mut buffer, |_| found += 1).unwrap();
        assert_eq!(found, 0);
        assert!(buffer.capacity() < 1024 * 1024, "{}", buffer.capacity());
    }

    /// A reader that passes on a byte more each time, so that every boundary is met.
    fn chunked(bytes: &[u8]) -> Vec<Run> {
        let mut found = Vec::new();
        let padded = [vec![b'\n'; super::super::chunk::CHUNK - 70], bytes.to_vec()].concat();
        each_run(Cursor::new(padded), &mut Vec::new(), |run| {
            found.push(Run {
                offset: run.offset - (super::super::chunk::CHUNK - 70),
                ..run
            });
        })
        .unwrap();
        found
    }

    proptest! {
        #[test]
        fn no_run_is_missed_and_none_is_made_up(
            parts in prop::collection::vec((0..5_usize, 60..68_usize), 0..8),
        ) {
            let mut bytes = Vec::new();
            for (kind, length) in parts {
                let digits: String = HEX.chars().cycle().take(length).collect();
                match kind {
                    0 => bytes.extend(digits.into_bytes()),
                    1 => bytes.extend(utf16(&digits, false)),
                    2 => bytes.extend(utf16(&digits, true)),
                    3 => bytes.extend(vec![b' '; length - 59]),
                    _ => bytes.extend(vec![0; length - 59]),
                }
            }
            let quick = offsets(&bytes);
            prop_assert_eq!(&quick, &slow_runs(&bytes));
            let chunked: Vec<_> = chunked(&bytes).iter().map(|run| (run.offset, run.width)).collect();
            prop_assert_eq!(chunked, quick);
        }
    }
}
