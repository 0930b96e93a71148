//! The rows of one table in an `SQLite` database, read from its bytes.
//!
//! This is our own reader, because rpm's databases need one table of one file, and its library is
//! C code that parses hostile bytes: docs/decisions/0048-package-databases.md. Each page is
//! read at most once, and the rows together are not longer than the file, so the time is linear. Section
//! numbers refer to "Database File Format" of `SQLite`.

const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The length of the database header, at the start of the first page.
const HEADER: usize = 100;

const INTERIOR_TABLE: u8 = 0x05;
const LEAF_TABLE: u8 = 0x0d;

/// The maximum depth of a table. Each level has at least two pages for each page of the level above.
const MAX_DEPTH: usize = 40;

/// A database.
pub(super) struct Sqlite<'d> {
    bytes: &'d [u8],
    page_size: usize,
    /// The size of a page without its reserved bytes.
    usable: usize,
}

/// The columns of a row.
pub(super) struct Row<'r> {
    record: &'r [u8],
}

/// The walk through the pages of one table.
struct TableWalk<'d> {
    database: &'d Sqlite<'d>,
    is_visited: Vec<bool>,
    /// The number of bytes that further rows may have.
    remaining: usize,
}

fn malformed(what: &str) -> String {
    format!("SQLite: {what}")
}

impl<'d> Sqlite<'d> {
    /// Parses the header of a database (1.3).
    pub(super) fn open(bytes: &'d [u8]) -> Result<Self, String> {
        let header: &[u8; HEADER] = bytes
            .first_chunk()
            .filter(|header| header.starts_with(MAGIC))
            .ok_or_else(|| malformed("the header is missing"))?;
        let page_size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65536,
            size => usize::from(size),
        };
        let usable = page_size.saturating_sub(usize::from(header[20]));
        if page_size < 512 || !page_size.is_power_of_two() || usable < 480 {
            return Err(malformed("the page size is invalid"));
        }
        let encoding = u32_at(header, 56)?;
        if encoding != 1 {
            return Err(malformed("its text is not UTF-8"));
        }
        // The number of pages is valid if both counters of changes are equal.
        let pages = usize::try_from(u32_at(header, 28)?).unwrap_or(usize::MAX);
        let is_valid = u32_at(header, 24)? == u32_at(header, 92)?;
        if !bytes.len().is_multiple_of(page_size) || is_valid && pages > bytes.len() / page_size {
            return Err(malformed("it is truncated"));
        }
        Ok(Self {
            bytes,
            page_size,
            usable,
        })
    }

    /// Calls `on_row` for each row of a table, in the order of its keys.
    pub(super) fn rows(
        &self,
        table: &str,
        on_row: impl FnMut(&Row<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut root = None;
        // The schema is a table in the first page (2.6): type, name, table, root page, SQL.
        self.walk(1, |row| {
            if row.bytes(0)? == b"table" && row.bytes(1)? == table.as_bytes() {
                root = Some(row.integer(3)?);
            }
            Ok(())
        })?;
        let root = root.ok_or_else(|| malformed(&format!("the table `{table}` is missing")))?;
        self.walk(root, on_row)
    }

    fn walk(
        &self,
        root: u64,
        mut on_row: impl FnMut(&Row<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut walk = TableWalk {
            database: self,
            is_visited: vec![false; self.bytes.len() / self.page_size],
            remaining: self.bytes.len(),
        };
        // The pages of each level that are not yet read, the next one last.
        let mut pending = vec![(root, 0)];
        while let Some((number, depth)) = pending.pop() {
            if depth > MAX_DEPTH {
                return Err(malformed("a table has too many levels"));
            }
            let page = Page::parse(walk.visit(number)?, self.usable, number == 1)?;
            match page.kind {
                INTERIOR_TABLE => {
                    pending.push((u64::from(u32_at(page.bytes, page.start + 8)?), depth + 1));
                    for cell in page.cells(12)?.into_iter().rev() {
                        pending.push((u64::from(u32_at(page.bytes, cell)?), depth + 1));
                    }
                }
                LEAF_TABLE => {
                    for cell in page.cells(8)? {
                        let record = walk.record(page.bytes, cell)?;
                        on_row(&Row { record: &record })?;
                    }
                }
                _ => return Err(malformed("a page is not part of a table")),
            }
        }
        Ok(())
    }
}

/// A page of a b-tree (1.6).
struct Page<'p> {
    /// The usable bytes of the page.
    bytes: &'p [u8],
    kind: u8,
    /// The start of the page's header.
    start: usize,
}

impl<'p> Page<'p> {
    fn parse(bytes: &'p [u8], usable: usize, is_first: bool) -> Result<Self, String> {
        let bytes = &bytes[..usable];
        let start = if is_first { HEADER } else { 0 };
        let kind = *bytes
            .get(start)
            .ok_or_else(|| malformed("a page is too short"))?;
        Ok(Self { bytes, kind, start })
    }

    /// The offsets of the cells, after a header of `header` bytes.
    fn cells(&self, header: usize) -> Result<Vec<usize>, String> {
        let count = u16_at(self.bytes, self.start + 3)?;
        let first = self.start + header;
        (0..count)
            .map(|index| u16_at(self.bytes, first + 2 * index))
            .collect()
    }
}

impl<'d> TableWalk<'d> {
    /// The bytes of a page, which may be used once.
    fn visit(&mut self, number: u64) -> Result<&'d [u8], String> {
        let invalid = || malformed("a page number is invalid");
        let index = usize::try_from(number)
            .ok()
            .and_then(|number| number.checked_sub(1))
            .ok_or_else(invalid)?;
        let is_visited = self.is_visited.get_mut(index).ok_or_else(invalid)?;
        if *is_visited {
            return Err(malformed("a page is used twice"));
        }
        *is_visited = true;
        let start = index * self.database.page_size;
        Ok(&self.database.bytes[start..start + self.database.page_size])
    }

    /// The record of a leaf's cell: its length, its key, the first bytes, and the number of the page
    /// with further bytes (1.6).
    fn record(&mut self, page: &[u8], cell: usize) -> Result<Vec<u8>, String> {
        let (length, rest) = varint(page.get(cell..).unwrap_or_default())?;
        let (_key, rest) = varint(rest)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        // Cells that overlap would make the rows longer than the file.
        self.remaining = self
            .remaining
            .checked_sub(length)
            .ok_or_else(|| malformed("the rows are longer than the file"))?;
        let local = self.local_length(length);
        let short = || malformed("a row ends outside of its page");
        let mut record = rest.get(..local).ok_or_else(short)?.to_vec();
        if local == length {
            return Ok(record);
        }
        let mut next = u32_at(rest, local)?;
        while record.len() < length {
            let page = &self.visit(u64::from(next))?[..self.database.usable];
            next = u32_at(page, 0)?;
            let count = (length - record.len()).min(page.len() - 4);
            record.extend_from_slice(&page[4..4 + count]);
        }
        Ok(record)
    }

    /// The number of a record's bytes that are in its leaf.
    fn local_length(&self, length: usize) -> usize {
        let usable = self.database.usable;
        let maximum = usable - 35;
        if length <= maximum {
            return length;
        }
        let minimum = (usable - 12) * 32 / 255 - 23;
        let surplus = minimum + (length - minimum) % (usable - 4);
        if surplus <= maximum { surplus } else { minimum }
    }
}

impl Row<'_> {
    /// The text or blob in a column.
    pub(super) fn bytes(&self, column: usize) -> Result<&[u8], String> {
        match self.column(column)? {
            (kind, value) if kind >= 12 => Ok(value),
            _ => Err(malformed("a column has an unexpected type")),
        }
    }

    /// The positive integer in a column.
    fn integer(&self, column: usize) -> Result<u64, String> {
        let (kind, value) = self.column(column)?;
        match kind {
            8 => Ok(0),
            9 => Ok(1),
            1..=6 => {
                let number = value.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
                Ok(number)
            }
            _ => Err(malformed("a column has an unexpected type")),
        }
    }

    /// The type and the bytes of a column (2.1).
    fn column(&self, column: usize) -> Result<(u64, &[u8]), String> {
        let short = || malformed("a row is truncated");
        let (header, rest) = varint(self.record)?;
        let header = usize::try_from(header).map_err(|_| short())?;
        let consumed = self.record.len() - rest.len();
        let mut types = self.record.get(consumed..header).ok_or_else(short)?;
        let mut values = &self.record[header..];
        for index in 0.. {
            let (kind, rest) = varint(types)?;
            types = rest;
            let length = match kind {
                0 | 8 | 9 => 0,
                1..=4 => kind,
                5 => 6,
                6 | 7 => 8,
                10 | 11 => return Err(malformed("a column has a reserved type")),
                _ => (kind - 12) / 2,
            };
            let length = usize::try_from(length).map_err(|_| short())?;
            let (value, rest) = values.split_at_checked(length).ok_or_else(short)?;
            if index == column {
                return Ok((kind, value));
            }
            values = rest;
        }
        Err(short())
    }
}

/// A variable-length integer (1.6): seven bits in each of up to eight bytes, and eight in the ninth.
fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), String> {
    let mut number = 0;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        if index == 8 {
            return Ok((number << 8 | u64::from(*byte), &bytes[9..]));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Ok((number, &bytes[index + 1..]));
        }
    }
    Err(malformed("a number is truncated"))
}

fn u16_at(bytes: &[u8], offset: usize) -> Result<usize, String> {
    match bytes.get(offset..).and_then(<[u8]>::first_chunk) {
        Some(number) => Ok(usize::from(u16::from_be_bytes(*number))),
        None => Err(malformed("a page is too short")),
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> Result<u32, String> {
    match bytes.get(offset..).and_then(<[u8]>::first_chunk) {
        Some(number) => Ok(u32::from_be_bytes(*number)),
        None => Err(malformed("a page is too short")),
    }
}
