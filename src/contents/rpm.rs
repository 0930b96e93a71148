//! The packages in rpm's database: `rpmdb.sqlite`, whose table `Packages` has the header of each
//! package.

use std::collections::BTreeSet;

use super::{
    Package, PackageList, field, files,
    layers::{FileType, ResolvedPath, Tree},
    sqlite::Sqlite,
};

const DIRECTORIES: [&str; 2] = ["var/lib/rpm", "usr/lib/sysimage/rpm"];
const DATABASE: &str = "rpmdb.sqlite";
/// The databases of Berkeley DB and ndb, which are not read.
const OTHER_DATABASES: [&str; 2] = ["Packages", "Packages.db"];
/// The files with changes that are not yet in the database.
const PENDING_CHANGES: [&str; 2] = ["rpmdb.sqlite-wal", "rpmdb.sqlite-journal"];

/// The packages; `None` if the image has no database.
pub(super) fn read(tree: &Tree) -> Option<Result<BTreeSet<Package>, String>> {
    let mut paths = Vec::new();
    for directory in DIRECTORIES {
        for name in [DATABASE].iter().chain(&OTHER_DATABASES) {
            paths.push(format!("{directory}/{name}"));
        }
    }
    let found = match files::only_file(tree, &paths) {
        Ok(found) => found?,
        Err(reason) => return Some(Err(reason)),
    };
    Some(read_database(tree, &found))
}

fn read_database(tree: &Tree, found: &ResolvedPath<'_>) -> Result<BTreeSet<Package>, String> {
    let path = files::display(found);
    let Some(directory) = found.path.strip_suffix(DATABASE.as_bytes()) else {
        return Err(format!(
            "{path} is not `{DATABASE}`, the only file that is read"
        ));
    };
    for name in PENDING_CHANGES {
        // Only an empty file is stored.
        let pending = tree.find(&[directory, name.as_bytes()].concat());
        if pending.is_some_and(|found| !matches!(found.inode.kind, FileType::File(Some(_)))) {
            return Err(format!("changes in `{name}` are not yet in {path}"));
        }
    }
    packages(files::content(found)?).map_err(|reason| format!("{path} is malformed: {reason}"))
}

/// The packages in the content of a database.
pub(crate) fn packages(content: &[u8]) -> Result<BTreeSet<Package>, String> {
    let database = Sqlite::open(content)?;
    let mut list = PackageList::default();
    database.rows("Packages", |row| {
        // The first column is the key of the row.
        let header = row.bytes(1)?;
        list.push(package(header)?)
    })?;
    Ok(list.0)
}

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCHITECTURE: u32 = 1022;

const TYPE_INT32: u32 = 4;
const TYPE_STRING: u32 = 6;

/// The length of an entry in the index of a header.
const ENTRY: usize = 16;

/// Parses a header (rpm, "RPM v4 header format"): the number of index entries, the number of data
/// bytes, the index, and the data. All numbers are big-endian.
fn package(header: &[u8]) -> Result<Package, String> {
    let malformed = || "a header is malformed".to_owned();
    let (entries, rest) = header.split_first_chunk().ok_or_else(malformed)?;
    let (size, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
    let entries = usize::try_from(u32::from_be_bytes(*entries)).map_err(|_| malformed())?;
    let size = usize::try_from(u32::from_be_bytes(*size)).map_err(|_| malformed())?;
    let index = entries.checked_mul(ENTRY).ok_or_else(malformed)?;
    let (index, data) = rest.split_at_checked(index).ok_or_else(malformed)?;
    if data.len() != size {
        return Err(malformed());
    }
    let (mut name, mut version, mut release) = (None, None, None);
    let (mut epoch, mut architecture) = (None, None);
    for entry in index.as_chunks::<ENTRY>().0 {
        let entry = Entry::parse(entry);
        let slot = match entry.tag {
            NAME => &mut name,
            VERSION => &mut version,
            RELEASE => &mut release,
            EPOCH => &mut epoch,
            ARCHITECTURE => &mut architecture,
            _ => continue,
        };
        if slot.is_some() {
            return Err(format!("the tag {} occurs twice in a header", entry.tag));
        }
        *slot = Some(match (entry.tag, entry.value(data)) {
            (EPOCH, Some(Value::Number(epoch))) => format!("{epoch}:"),
            (NAME | VERSION | RELEASE | ARCHITECTURE, Some(Value::Text(text))) => field(text)?,
            (tag, _) => return Err(format!("the tag {tag} of a header is malformed")),
        });
    }
    let name = name.ok_or("a header has no name")?;
    let version = version.ok_or_else(|| format!("`{name}` has no version"))?;
    let release = release.ok_or_else(|| format!("`{name}` has no release"))?;
    let epoch = epoch.unwrap_or_default();
    Ok(Package {
        version: format!("{epoch}{version}-{release}"),
        name,
        architecture,
    })
}

/// An entry of a header's index.
struct Entry {
    tag: u32,
    kind: u32,
    offset: u32,
    count: u32,
}

#[derive(Clone, Copy)]
enum Value<'h> {
    Text(&'h [u8]),
    Number(u32),
}

impl Entry {
    fn parse(bytes: &[u8; ENTRY]) -> Self {
        let words = bytes.as_chunks().0;
        let [tag, kind, offset, count] =
            std::array::from_fn(|index| u32::from_be_bytes(words[index]));
        Self {
            tag,
            kind,
            offset,
            count,
        }
    }

    fn value<'h>(&self, data: &'h [u8]) -> Option<Value<'h>> {
        let data = data.get(usize::try_from(self.offset).ok()?..)?;
        match (self.kind, self.count) {
            (TYPE_STRING, 1) => {
                // A longer text is refused below, so the search for its end is bounded.
                let end = data.len().min(super::MAX_FIELD + 1);
                let end = memchr::memchr(0, &data[..end]).unwrap_or(end);
                (end < data.len()).then_some(Value::Text(&data[..end]))
            }
            (TYPE_INT32, 1) => Some(Value::Number(u32::from_be_bytes(*data.first_chunk()?))),
            _ => None,
        }
    }
}
