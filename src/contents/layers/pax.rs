//! Extended headers of POSIX.1-2001 (pax): the records that set the path, size,
//! owner or capabilities of a member.
//!
//! The fixed fields of a header block in a tar archive, in the layouts of POSIX.1-1988, star and GNU
//! tar.
//!
//! If other parsers disagree, this one follows Go's `archive/tar`, which the container engines use.
//! `archive` handles long names and sizes from extended headers.

use super::stream::BLOCK;

/// The maximum length of a stored `security.capability`. The kernel refuses values of more than 24
/// bytes, and a longer one remains recognizable.
const MAX_CAPABILITY: usize = 32;

/// The records of an extended header for the next member.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PaxHeader {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    /// The value of the extended attribute `security.capability`.
    pub(super) capability: Option<Box<[u8]>>,
    sparse_major: Option<Vec<u8>>,
    sparse_minor: Option<Vec<u8>>,
    has_sparse_map: bool,
    sparse_name: Option<Vec<u8>>,
}

impl PaxHeader {
    /// Parses the records. The last record of a keyword wins; an empty value removes it.
    pub(super) fn parse(mut data: &[u8]) -> Result<Self, &'static str> {
        let mut header = Self::default();
        while !data.is_empty() {
            let (keyword, value, rest) = split_record(data).ok_or(MALFORMED_RECORD)?;
            header.set(keyword, value)?;
            data = rest;
        }
        Ok(header)
    }

    fn set(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let text = || (!value.is_empty()).then(|| value.to_vec());
        match keyword {
            b"path" | b"linkpath" | b"GNU.sparse.name" if value.contains(&0) => {
                return Err("a NUL byte in a name");
            }
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = number(value)?,
            b"uid" => self.uid = id(value)?,
            b"gid" => self.gid = id(value)?,
            b"SCHILY.xattr.security.capability" => {
                let value = &value[..value.len().min(MAX_CAPABILITY)];
                self.capability = (!value.is_empty()).then(|| value.into());
            }
            b"GNU.sparse.major" => self.sparse_major = text(),
            b"GNU.sparse.minor" => self.sparse_minor = text(),
            b"GNU.sparse.name" => self.sparse_name = text(),
            b"GNU.sparse.map" | b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.has_sparse_map = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the member's content is stored without its holes (GNU formats 0.0, 0.1 and 1.0).
    pub(super) fn is_sparse(&self) -> bool {
        match (self.sparse_major.as_deref(), self.sparse_minor.as_deref()) {
            (Some(b"0"), Some(b"0" | b"1")) | (Some(b"1"), Some(b"0")) => true,
            (None, None) => self.has_sparse_map,
            _ => false,
        }
    }

    /// The path of the member, which a sparse file has in a separate record.
    pub(super) fn member_path(&self) -> Option<&Vec<u8>> {
        match &self.sparse_name {
            Some(name) if self.is_sparse() => Some(name),
            _ => self.path.as_ref(),
        }
    }

    /// Whether any record sets a path, a size, an owner or capabilities.
    pub(super) fn sets_attributes(&self) -> bool {
        *self != Self::default()
    }
}

const MALFORMED_NUMBER: &str = "a number in an extended header is malformed";
const MALFORMED_RECORD: &str = "an extended header is malformed";

/// Parses a decimal number; `None` if the value is empty.
fn number(value: &[u8]) -> Result<Option<u64>, &'static str> {
    if value.is_empty() {
        return Ok(None);
    }
    // `parse` would also accept a sign.
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(MALFORMED_NUMBER);
    }
    let digits = std::str::from_utf8(value).map_err(|_| MALFORMED_NUMBER)?;
    digits.parse().map(Some).map_err(|_| MALFORMED_NUMBER)
}

fn id(value: &[u8]) -> Result<Option<u32>, &'static str> {
    match number(value)? {
        Some(id) => u32::try_from(id).map(Some).map_err(|_| MALFORMED_NUMBER),
        None => Ok(None),
    }
}

/// Splits the first record, `LENGTH KEYWORD=VALUE\n`, from the data. The length includes the whole
/// record, and the value may contain any byte.
fn split_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = memchr::memchr(b' ', data)?;
    let length = usize::try_from(number(&data[..blank]).ok()??).ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = memchr::memchr(b'=', record)?;
    let (keyword, value) = (&record[..equals], &record[equals + 1..]);
    if keyword.is_empty() || keyword.contains(&0) {
        return None;
    }
    Some((keyword, value, rest))
}

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
        let mode = numeric_field(&self.block[100..108]).ok_or("the mode is not a number")?;
        u16::try_from(mode & 0o7777).map_err(|_| "the mode is not a number")
    }

    pub(super) fn uid(&self) -> Result<u32, &'static str> {
        numeric_field(&self.block[108..116])
            .and_then(|id| u32::try_from(id).ok())
            .ok_or("the owner is not a valid UID")
    }

    pub(super) fn gid(&self) -> Result<u32, &'static str> {
        numeric_field(&self.block[116..124])
            .and_then(|id| u32::try_from(id).ok())
            .ok_or("the group is not a valid GID")
    }

    pub(super) fn size(&self) -> Result<u64, &'static str> {
        numeric_field(&self.block[124..136]).ok_or("the size is not a number")
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
fn numeric_field(field: &[u8]) -> Option<u64> {
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
    use crate::contents::layers::tests::archive::record;

    fn parse(records: &[(&str, &str)]) -> Result<PaxHeader, &'static str> {
        let data: Vec<u8> = records
            .iter()
            .flat_map(|(keyword, value)| record(keyword, value.as_bytes()))
            .collect();
        PaxHeader::parse(&data)
    }

    #[test]
    fn last_record_of_a_keyword_wins() {
        let header = parse(&[
            ("path", "a\nb="),
            ("size", "7"),
            ("size", "9"),
            ("uid", "1001"),
        ])
        .unwrap();
        assert_eq!(header.path.as_deref(), Some(&b"a\nb="[..]));
        assert_eq!((header.size, header.uid), (Some(9), Some(1001)));
        assert_eq!(
            parse(&[("path", ""), ("comment", "x")]),
            Ok(PaxHeader::default())
        );
        assert_eq!(
            PaxHeader::parse(b"10 path=a\n").unwrap().path.as_deref(),
            Some(&b"a"[..])
        );
        assert_eq!(parse(&[]), Ok(PaxHeader::default()));
    }

    #[test]
    fn malformed_pax_records_are_refused() {
        let malformed: [&[u8]; 10] = [
            b"8 path=a\n",
            b"11 path=a\n",
            b"x path=a\n",
            b"-1 path=a\n",
            b"10 path=a",
            b"10 path=ab",
            b"3 \n",
            b"5 =a\n",
            b"10 path=a\n\0\0\0",
            b"18446744073709551616 a=b\n",
        ];
        for data in malformed {
            assert_eq!(PaxHeader::parse(data), Err(MALFORMED_RECORD), "{data:?}");
        }
        for (keyword, value) in [
            ("size", "-1"),
            ("size", "x"),
            ("uid", "4294967296"),
            ("path", "a\0b"),
        ] {
            assert!(parse(&[(keyword, value)]).is_err(), "{keyword}={value:?}");
        }
    }

    #[test]
    fn sparse_file_has_its_own_path_record() {
        let names = [("GNU.sparse.name", "f"), ("path", "tmp")];
        for form in [
            &[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")][..],
            &[("GNU.sparse.major", "0"), ("GNU.sparse.minor", "1")],
            &[("GNU.sparse.map", "0,1")],
        ] {
            let header = parse(&[form, &names].concat()).unwrap();
            assert!(header.is_sparse());
            assert_eq!(header.member_path().map(Vec::as_slice), Some(&b"f"[..]));
        }
        let unknown = parse(&[&[("GNU.sparse.major", "2")][..], &names].concat()).unwrap();
        assert!(!unknown.is_sparse());
        assert_eq!(unknown.member_path().map(Vec::as_slice), Some(&b"tmp"[..]));
    }

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(numeric_field(b"0000644\0"), Some(0o644));
        assert_eq!(numeric_field(b"   644 \0"), Some(0o644));
        assert_eq!(numeric_field(b"77777777777 "), Some(0o777_7777_7777));
        assert_eq!(numeric_field(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(numeric_field(b"\x80\0\0\0\x80\0\0\x01"), Some(0x8000_0001));
        assert_eq!(
            numeric_field(b"\xff\xff\xff\xff\xff\xff\xff\xff"),
            None,
            "negative"
        );
        assert_eq!(
            numeric_field(b"\x80\x01\0\0\0\0\0\0\0\0\0\0"),
            None,
            "more than 64 bits"
        );
        assert_eq!(numeric_field(b"12x4567\0"), None);
        assert_eq!(numeric_field(b"-000001\0"), None);
    }
}
