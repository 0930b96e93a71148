//! Digests in text: runs of exactly 64 lowercase hexadecimal digits, whatever stands around them.
//!
//! A run that continues with another such digit is something else (a SHA-512, a key) and is left
//! out. Text is ASCII-compatible or UTF-16 of either byte order, with or without a byte order mark;
//! nothing is decoded, so that a binary file does no harm.

use crate::image::Digest;

/// Digits of a digest.
const DIGITS: usize = 64;

/// Every run of exactly 64 lowercase hexadecimal digits: the offset of its first digit, and the
/// digest. In the order of the bytes. UTF-16 is read in both byte orders, and the wrong one may see
/// a digest more: in a run of 65 digits, or between letters of other alphabets.
pub fn hex_runs(bytes: &[u8]) -> Vec<(usize, Digest)> {
    let mut found = Vec::new();
    let every_byte = |at: usize| bytes.get(at).is_some_and(|byte| is_digit(*byte));
    collect(bytes, 1, 0, every_byte, &mut found);
    if memchr::memchr(0, bytes).is_some() {
        // A unit of UTF-16, by its first byte: the digit and a zero, or a zero and the digit.
        let little = |at: usize| every_byte(at) && bytes.get(at + 1) == Some(&0);
        let big = |at: usize| bytes.get(at) == Some(&0) && every_byte(at + 1);
        collect(bytes, 2, 0, little, &mut found);
        collect(bytes, 2, 1, big, &mut found);
        found.sort_unstable_by_key(|(at, _)| *at);
        // What is followed by a zero can be read in either byte order.
        found.dedup_by_key(|(at, _)| *at);
    }
    found
}

/// Whether `sha256:` stands right before the digit at `at`, in the encoding of the digits.
pub fn follows_algorithm(bytes: &[u8], at: usize) -> bool {
    const NAME: &[u8] = b"sha256:";
    let wide = || {
        NAME.iter().rev().zip(1..).all(|(byte, back)| {
            let at = at.checked_sub(2 * back);
            at.is_some_and(|at| bytes.get(at) == Some(byte) && bytes.get(at + 1) == Some(&0))
        })
    };
    bytes.get(..at).is_some_and(|before| before.ends_with(NAME)) || wide()
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// Collects the runs of units of `width` bytes, of which the digit is the byte at `digit`.
///
/// Whole runs are jumped over: a probe in every stretch as long as a run cannot miss one.
fn collect(
    bytes: &[u8],
    width: usize,
    digit: usize,
    is_unit: impl Fn(usize) -> bool,
    found: &mut Vec<(usize, Digest)>,
) {
    let stride = width * (DIGITS - 1);
    let mut probe = 0;
    while probe < bytes.len() {
        // The units of a run may begin at odd or at even offsets.
        let Some(unit) = (probe..probe + width).find(|at| is_unit(*at)) else {
            probe += stride;
            continue;
        };
        let mut first = unit;
        while first >= width && is_unit(first - width) {
            first -= width;
        }
        let mut end = unit + width;
        while is_unit(end) {
            end += width;
        }
        if end - first == DIGITS * width {
            let digits: Vec<u8> = (first + digit..end)
                .step_by(width)
                .map(|at| bytes[at])
                .collect();
            let digest = std::str::from_utf8(&digits)
                .ok()
                .and_then(|digits| Digest::from_hex(digits).ok());
            found.extend(digest.map(|digest| (first + digit, digest)));
        }
        probe = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(seed: &str) -> String {
        Digest::of(seed.as_bytes()).hex()
    }

    fn utf16(text: &str, little: bool) -> Vec<u8> {
        let units = text.encode_utf16();
        units
            .flat_map(|unit| {
                if little {
                    unit.to_le_bytes()
                } else {
                    unit.to_be_bytes()
                }
            })
            .collect()
    }

    /// By definition: every maximal run, looked at byte by byte.
    fn plainly(bytes: &[u8]) -> Vec<(usize, Digest)> {
        let mut found = Vec::new();
        let mut first = 0;
        for at in 0..=bytes.len() {
            if bytes.get(at).is_some_and(|byte| is_digit(*byte)) {
                continue;
            }
            if at - first == 64 {
                let text = std::str::from_utf8(&bytes[first..at]).unwrap();
                found.push((first, Digest::from_hex(text).unwrap()));
            }
            first = at + 1;
        }
        found
    }

    #[test]
    fn only_runs_of_exactly_64_lowercase_digits_are_digests() {
        let (a, b) = (hex("a"), hex("b"));
        let one = Digest::of(b"a");
        for (text, expected) in [
            (a.clone(), vec![(0, one)]),
            (format!("digest: sha256:{a}"), vec![(15, one)]),
            (format!("{a}\n{b}"), vec![(0, one), (65, Digest::of(b"b"))]),
            (format!("X{a}G"), vec![(1, one)]),
            (format!("{a}{b}"), vec![]),
            (format!("0{a}"), vec![]),
            (format!("{a}f"), vec![]),
            (a[1..].to_owned(), vec![]),
            (a.to_uppercase(), vec![]),
            (String::new(), vec![]),
        ] {
            assert_eq!(hex_runs(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn every_offset_and_every_neighbour_is_seen() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..3_000 {
            let mut text = Vec::new();
            for _ in 0..rng.usize(1..6) {
                let lengths = [rng.usize(..200), 63, 64, 64, 65, 128];
                let run = lengths[rng.usize(..6)];
                text.extend((0..run).map(|_| b"0123456789abcdef"[rng.usize(..16)]));
                let gap = rng.usize(..70);
                text.extend((0..gap).map(|_| b" \n:/@zGAx\xff"[rng.usize(..10)]));
            }
            assert_eq!(hex_runs(&text), plainly(&text), "{text:?}");
        }
    }

    #[test]
    fn utf_16_is_text_in_both_byte_orders() {
        let digits = hex("a");
        // The letters around it share a byte with a digit.
        for (before, after) in [
            ("", ""),
            ("\u{feff}x: sha256:", "\r\n"),
            ("š", "š"),
            ("\u{6100}", "\u{6100}"),
        ] {
            for little in [true, false] {
                for shift in 0..3 {
                    let text = utf16(&format!("{before}{digits}{after}"), little);
                    let bytes = [vec![b'#'; shift], text].concat();
                    let found = hex_runs(&bytes);
                    let at = found.iter().find(|(_, digest)| *digest == Digest::of(b"a"));
                    assert!(at.is_some(), "{before:?} {little} {shift}: {found:?}");
                }
            }
        }
        for little in [true, false] {
            // Of 65 digits the other byte order has 64, and nothing tells which one is meant.
            let longer = utf16(&format!("{digits}00 "), little);
            assert_eq!(hex_runs(&longer), [], "{little}");
        }
    }

    #[test]
    fn the_algorithm_is_known_in_each_encoding() {
        let text = format!("sha256:{}", hex("a"));
        let bare = format!("sha512:{}", hex("a"));
        for encode in [
            |text: &str| text.as_bytes().to_vec(),
            |text: &str| utf16(text, true),
            |text: &str| utf16(text, false),
        ] {
            let named = |text: &str| {
                let bytes = encode(text);
                let (at, _) = hex_runs(&bytes)[0];
                follows_algorithm(&bytes, at)
            };
            assert!(named(&text));
            assert!(!named(&bare));
            assert!(!named(&hex("a")));
        }
    }
}
