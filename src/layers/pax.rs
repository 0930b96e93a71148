//! Extended headers of POSIX.1-2001 (pax): the records that move a file or its content.

/// What an extended header says about the member behind it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    major: Option<Vec<u8>>,
    minor: Option<Vec<u8>>,
    map: bool,
    sparse_name: Option<Vec<u8>>,
}

impl Extended {
    /// The records of a header for one member; of two with one keyword the last counts, an empty
    /// value counts nothing.
    pub(super) fn parse(data: &[u8]) -> Result<Self, &'static str> {
        let mut all = Self::default();
        for record in Records(data) {
            let (keyword, value) = record?;
            all.record(keyword, value)?;
        }
        Ok(all)
    }

    fn record(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let text = || (!value.is_empty()).then(|| value.to_vec());
        let id = || {
            number(value).map_or(Ok(None), |id| {
                u32::try_from(id?).map(Some).map_err(|_| NOT_A_NUMBER)
            })
        };
        match keyword {
            b"path" | b"linkpath" | b"GNU.sparse.name" if value.contains(&0) => {
                return Err("a NUL byte in a name");
            }
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = number(value).transpose()?,
            b"uid" => self.uid = id()?,
            b"gid" => self.gid = id()?,
            b"GNU.sparse.major" => self.major = text(),
            b"GNU.sparse.minor" => self.minor = text(),
            b"GNU.sparse.name" => self.sparse_name = text(),
            b"GNU.sparse.map" | b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.map = true,
            _ => {}
        }
        Ok(())
    }

    /// Whether the member's content is stored without its holes (GNU's forms 0.0, 0.1 and 1.0).
    pub(super) fn sparse(&self) -> bool {
        match (self.major.as_deref(), self.minor.as_deref()) {
            (Some(b"0"), Some(b"0" | b"1")) | (Some(b"1"), Some(b"0")) => true,
            (None, None) => self.map,
            _ => false,
        }
    }

    /// The member's path, if the header gives one.
    pub(super) fn name(&self) -> Option<&Vec<u8>> {
        self.sparse_name
            .as_ref()
            .filter(|_| self.sparse())
            .or(self.path.as_ref())
    }

    /// Whether any record says where a member lies, whose it is or how long.
    pub(super) fn moves_something(&self) -> bool {
        *self != Self::default()
    }
}

const NOT_A_NUMBER: &str = "a number in an extended header is malformed";
const NOT_A_RECORD: &str = "an extended header is malformed";

fn number(value: &[u8]) -> Option<Result<u64, &'static str>> {
    let digits = std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    (!value.is_empty()).then(|| {
        digits
            .and_then(|digits| digits.parse().ok())
            .ok_or(NOT_A_NUMBER)
    })
}

/// `LENGTH KEYWORD=VALUE\n`, where the length counts the whole record; a value may hold any byte.
struct Records<'d>(&'d [u8]);

impl<'d> Iterator for Records<'d> {
    type Item = Result<(&'d [u8], &'d [u8]), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = self.split().ok_or(NOT_A_RECORD);
        if record.is_err() {
            self.0 = &[];
        }
        Some(record)
    }
}

impl<'d> Records<'d> {
    fn split(&mut self) -> Option<(&'d [u8], &'d [u8])> {
        let blank = memchr::memchr(b' ', self.0)?;
        let length = usize::try_from(number(&self.0[..blank])?.ok()?).ok()?;
        let (record, rest) = self.0.split_at_checked(length)?;
        let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
        let equals = memchr::memchr(b'=', record)?;
        let (keyword, value) = (&record[..equals], &record[equals + 1..]);
        if keyword.is_empty() || keyword.contains(&0) {
            return None;
        }
        self.0 = rest;
        Some((keyword, value))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::archive::record, *};

    fn parsed(records: &[(&str, &str)]) -> Result<Extended, &'static str> {
        let data: Vec<u8> = records
            .iter()
            .flat_map(|(keyword, value)| record(keyword, value.as_bytes()))
            .collect();
        Extended::parse(&data)
    }

    #[test]
    fn records_may_hold_newlines_and_the_last_one_counts() {
        let all = parsed(&[
            ("path", "a\nb="),
            ("size", "7"),
            ("size", "9"),
            ("uid", "1001"),
        ])
        .unwrap();
        assert_eq!(all.path.as_deref(), Some(&b"a\nb="[..]));
        assert_eq!((all.size, all.uid), (Some(9), Some(1001)));
        assert_eq!(
            parsed(&[("path", ""), ("comment", "x")]),
            Ok(Extended::default())
        );
        assert_eq!(
            Extended::parse(b"10 path=a\n").unwrap().path.as_deref(),
            Some(&b"a"[..])
        );
        assert_eq!(parsed(&[]), Ok(Extended::default()));
    }

    #[test]
    fn malformed_pax_records_are_refused() {
        let bad: [&[u8]; 10] = [
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
        for data in bad {
            assert_eq!(Extended::parse(data), Err(NOT_A_RECORD), "{data:?}");
        }
        for (keyword, value) in [
            ("size", "-1"),
            ("size", "x"),
            ("uid", "4294967296"),
            ("path", "a\0b"),
        ] {
            assert!(parsed(&[(keyword, value)]).is_err(), "{keyword}={value:?}");
        }
    }

    #[test]
    fn a_sparse_file_has_its_name_in_its_own_record() {
        let names = [("GNU.sparse.name", "f"), ("path", "tmp")];
        for form in [
            &[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")][..],
            &[("GNU.sparse.major", "0"), ("GNU.sparse.minor", "1")],
            &[("GNU.sparse.map", "0,1")],
        ] {
            let all = parsed(&[form, &names].concat()).unwrap();
            assert!(all.sparse());
            assert_eq!(all.name().map(Vec::as_slice), Some(&b"f"[..]));
        }
        let unknown = parsed(&[&[("GNU.sparse.major", "2")][..], &names].concat()).unwrap();
        assert!(!unknown.sparse());
        assert_eq!(unknown.name().map(Vec::as_slice), Some(&b"tmp"[..]));
    }
}
