//! Extended headers of POSIX.1-2001 (pax): the records that set the path, size,
//! owner or capabilities of a member.

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
}
