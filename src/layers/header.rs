//! One header block of a tar archive: the fixed fields, as POSIX.1-1988, star and GNU tar lay them
//! out.
//!
//! Where readers of the world differ, Go's `archive/tar` is followed: the container engines unpack
//! with it, so what it sees is what runs. No names longer than the fields here, and no sizes from
//! elsewhere: that is for `archive`.

use super::stream::BLOCK;

/// Which layout the bytes behind the common fields have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Before POSIX: nothing behind the link name means anything.
    V7,
    Ustar,
    Star,
    Gnu,
}

/// A header whose checksum is right.
pub(super) struct Header<'b> {
    block: &'b [u8; BLOCK],
    layout: Layout,
}

impl<'b> Header<'b> {
    pub(super) fn parse(block: &'b [u8; BLOCK]) -> Result<Self, &'static str> {
        let blanked =
            |(at, &byte): (usize, &u8)| if (148..156).contains(&at) { b' ' } else { byte };
        let bytes = || block.iter().enumerate().map(blanked);
        let unsigned: i64 = bytes().map(i64::from).sum();
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        let written = octal(&block[148..156]).and_then(|sum| i64::try_from(sum).ok());
        // Some old writers summed signed bytes.
        if written != Some(unsigned) && written != Some(signed) {
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

    /// Of a sparse file in GNU's first form: whether a block with more of its map follows.
    pub(super) fn map_goes_on(&self) -> Result<bool, &'static str> {
        match self.layout {
            Layout::Gnu => Ok(self.block[482] != 0),
            _ => Err("a sparse file in a non-GNU archive"),
        }
    }
}

pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    &field[..memchr::memchr(0, field).unwrap_or(field.len())]
}

/// A numeric field: octal digits, or the bytes of the number itself if the first bit is set (GNU,
/// star).
fn number(field: &[u8]) -> Option<u64> {
    match field {
        // The second bit is the sign; nothing that is read here can be negative.
        [first, rest @ ..] if first & 0x80 != 0 => {
            let small = |number: u64, byte: &u8| {
                number
                    .checked_mul(256)
                    .map(|number| number | u64::from(*byte))
            };
            if first & 0x40 == 0 {
                rest.iter().try_fold(u64::from(first & 0x3f), small)
            } else {
                None
            }
        }
        _ => octal(field),
    }
}

/// Octal digits between blanks and NULs; nothing at all is 0.
fn octal(field: &[u8]) -> Option<u64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(field.len());
    let end = field
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(start, |at| at + 1);
    let digits = until_nul(&field[start..end]);
    digits.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'7' => number
            .checked_mul(8)
            .map(|number| number | u64::from(digit - b'0')),
        _ => None,
    })
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
