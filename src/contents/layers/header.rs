//! The fixed fields of a header block in a tar archive, in the layouts of POSIX.1-1988, star and GNU
//! tar.
//!
//! If other parsers disagree, this one follows Go's `archive/tar`, which the container engines use.
//! `archive` handles long names and sizes from extended headers.

use super::stream::BLOCK;

/// The layout of the bytes after the common fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Before POSIX: the bytes after the link name have no meaning.
    V7,
    Ustar,
    Star,
    Gnu,
}

/// A header with a valid checksum.
pub(super) struct Header<'b> {
    block: &'b [u8; BLOCK],
    layout: Layout,
}

impl<'b> Header<'b> {
    pub(super) fn parse(block: &'b [u8; BLOCK]) -> Result<Self, &'static str> {
        // The checksum counts its own field as blanks. Some old writers summed signed bytes.
        let mut blanked = *block;
        blanked[148..156].fill(b' ');
        let unsigned: i64 = blanked.iter().map(|&byte| i64::from(byte)).sum();
        let signed: i64 = blanked
            .iter()
            .map(|byte| i64::from(byte.cast_signed()))
            .sum();
        let stored = octal(&block[148..156]).and_then(|sum| i64::try_from(sum).ok());
        if stored != Some(unsigned) && stored != Some(signed) {
            return Err("the header's checksum is wrong");
        }
        let layout = match (&block[257..263], &block[263..265]) {
            (b"ustar\0", b"00") if block[508..] == *b"tar\0" => Layout::Star,
            (b"ustar\0", _) => Layout::Ustar,
            (b"ustar ", b" \0") => Layout::Gnu,
            _ => Layout::V7,
        };
        Ok(Self { block, layout })
    }

    pub(super) fn kind(&self) -> u8 {
        self.block[156]
    }

    pub(super) fn name(&self) -> Vec<u8> {
        let prefix = match self.layout {
            Layout::Ustar => until_nul(&self.block[345..500]),
            Layout::Star => until_nul(&self.block[345..476]),
            Layout::V7 | Layout::Gnu => &[],
        };
        let name = until_nul(&self.block[..100]);
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        until_nul(&self.block[157..257]).to_vec()
    }

    pub(super) fn mode(&self) -> Result<u16, &'static str> {
        let mode = number(&self.block[100..108]).ok_or("the mode is not a number")?;
        u16::try_from(mode & 0o7777).map_err(|_| "the mode is not a number")
    }

    pub(super) fn uid(&self) -> Result<u32, &'static str> {
        number(&self.block[108..116])
            .and_then(|id| u32::try_from(id).ok())
            .ok_or("the owner is not a valid UID")
    }

    pub(super) fn gid(&self) -> Result<u32, &'static str> {
        number(&self.block[116..124])
            .and_then(|id| u32::try_from(id).ok())
            .ok_or("the group is not a valid GID")
    }

    pub(super) fn size(&self) -> Result<u64, &'static str> {
        number(&self.block[124..136]).ok_or("the size is not a number")
    }

    /// Whether the map of a sparse file in GNU's old format continues in the next block.
    pub(super) fn has_extended_map(&self) -> Result<bool, &'static str> {
        match self.layout {
            Layout::Gnu => Ok(self.block[482] != 0),
            _ => Err("a sparse file in a non-GNU archive"),
        }
    }
}

pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    &field[..memchr::memchr(0, field).unwrap_or(field.len())]
}

/// Parses a numeric field: octal digits, or a big-endian number if the first bit is set (GNU, star).
fn number(field: &[u8]) -> Option<u64> {
    match field {
        [first, rest @ ..] if first & 0x80 != 0 => {
            // The second bit is the sign, and no field may be negative.
            if first & 0x40 != 0 {
                return None;
            }
            let mut number = u64::from(first & 0x3f);
            for &byte in rest {
                number = number.checked_mul(256)? | u64::from(byte);
            }
            Some(number)
        }
        _ => octal(field),
    }
}

/// Parses octal digits with leading and trailing blanks and NULs; an empty field is 0.
fn octal(mut field: &[u8]) -> Option<u64> {
    while let [b' ' | 0, rest @ ..] = field {
        field = rest;
    }
    while let [rest @ .., b' ' | 0] = field {
        field = rest;
    }
    let mut number: u64 = 0;
    for digit in until_nul(field) {
        let b'0'..=b'7' = digit else { return None };
        number = number.checked_mul(8)? | u64::from(digit - b'0');
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"77777777777 "), Some(0o777_7777_7777));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"\x80\0\0\0\x80\0\0\x01"), Some(0x8000_0001));
        assert_eq!(
            number(b"\xff\xff\xff\xff\xff\xff\xff\xff"),
            None,
            "negative"
        );
        assert_eq!(
            number(b"\x80\x01\0\0\0\0\0\0\0\0\0\0"),
            None,
            "more than 64 bits"
        );
        assert_eq!(number(b"12x4567\0"), None);
        assert_eq!(number(b"-000001\0"), None);
    }
}
