//! The contents of an image by kind, and the JSON document that lists them.
//!
//! The progress of reading layers: the current image, and the number of its bytes. It is not printed here.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fmt::Write as _,
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, error::Category};

use super::{Kind, Listing};
use crate::base::{
    error::{Class, Code, Error},
    untrusted::json_string,
};

/// The distinct names by kind, in the order of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Enumeration {
    /// The distinct names of each kind, sorted by their bytes.
    pub kinds: Vec<(String, BTreeSet<String>)>,
    /// The paths with invalid UTF-8 in a name, and the listed name, with U+FFFD.
    pub not_utf8: Vec<(Vec<u8>, String)>,
}

impl Enumeration {
    /// Matches the patterns of each kind against the paths of the files.
    pub(crate) fn from_listing(listing: &Listing, kinds: &[Kind]) -> Self {
        let mut names_by_kind = Vec::new();
        let mut not_utf8 = Vec::new();
        for kind in kinds {
            names_by_kind.push((kind.name.clone(), BTreeSet::new()));
        }
        for file in &listing.files {
            // Patterns match characters: in the original bytes, an invalid byte would silently exclude
            // the file from every kind.
            let path = String::from_utf8_lossy(&file.path);
            for (kind, (_, names)) in kinds.iter().zip(&mut names_by_kind) {
                for pattern in &kind.paths {
                    let captures = pattern.captures(path.as_bytes());
                    let Some(name) = captures.and_then(|captures| captures.get(1)) else {
                        continue;
                    };
                    let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
                    if matches!(path, Cow::Owned(_)) && name.contains(char::REPLACEMENT_CHARACTER) {
                        not_utf8.push((file.path.clone(), format!("{}/{name}", kind.name)));
                    }
                    names.insert(name);
                }
            }
        }
        Self {
            kinds: names_by_kind,
            not_utf8,
        }
    }

    /// The names of one kind.
    pub(crate) fn names(&self, kind: &str) -> Option<&BTreeSet<String>> {
        self.kinds
            .iter()
            .find(|(name, _)| name == kind)
            .map(|(_, names)| names)
    }

    /// Whether no kind has a name.
    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.iter().all(|(_, names)| names.is_empty())
    }

    /// The document, on one line without a newline.
    pub(crate) fn to_json(&self) -> String {
        let mut lists = Vec::new();
        for (kind, names) in &self.kinds {
            let names: Vec<_> = names.iter().map(|name| json_string(name)).collect();
            lists.push(format!("{}:[{}]", json_string(kind), names.join(",")));
        }
        format!("{{{}}}", lists.join(","))
    }

    /// Parses a document: the kinds, or a `repin.enumeration/1` document with the kinds. It must
    /// contain every configured kind and no other key.
    pub(crate) fn from_json(
        document: &str,
        bytes: &[u8],
        kinds: &[Kind],
    ) -> Result<Self, Vec<Error>> {
        let entries = parse_entries(document, bytes).map_err(|error| vec![error])?;
        let mut errors = Vec::new();
        for (index, (key, _)) in entries.iter().enumerate() {
            if entries[..index].iter().any(|(other, _)| other == key) {
                let reason = format!("duplicate key `{key}`");
                errors.push(document_error(PARSE_FAILED, document, &reason));
            } else if !kinds.iter().any(|kind| kind.name == *key) {
                let reason = format!("`{key}` is not a configured kind");
                errors.push(document_error(INVALID_TYPE, document, &reason));
            }
        }
        let mut names_by_kind = Vec::new();
        for kind in kinds {
            let kind = &kind.name;
            let names = match entries.iter().find(|(key, _)| key == kind) {
                Some((_, value)) => {
                    parse_names(value).map_err(|reason| format!("`{kind}` {reason}"))
                }
                None => Err(format!("the kind `{kind}` is missing")),
            };
            match names {
                Ok(names) => names_by_kind.push((kind.clone(), names)),
                Err(reason) => errors.push(document_error(INVALID_TYPE, document, &reason)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            kinds: names_by_kind,
            not_utf8: Vec::new(),
        })
    }

    /// The image in a `repin.enumeration/1` document.
    pub(crate) fn image_name(bytes: &[u8]) -> Option<String> {
        let document: SchemaDocument = serde_json::from_slice(bytes).ok()?;
        document.image
    }

    /// The error for a missing document.
    pub(crate) fn not_found(document: &str, reason: &str) -> Error {
        document_error(Code::ENUMERATION_JSON_NOT_FOUND, document, reason)
    }
}

impl Serialize for Enumeration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.kinds.iter().map(|(kind, names)| (kind, names)))
    }
}

/// The schema of the document that wraps the kinds.
pub(crate) const SCHEMA: &str = "repin.enumeration/1";

#[derive(Deserialize)]
struct SchemaDocument {
    image: Option<String>,
    kinds: Entries,
}

fn parse_entries(document: &str, bytes: &[u8]) -> Result<Vec<(String, Value)>, Error> {
    let Entries(entries) = parse(document, bytes)?;
    // A configured kind may be called `schema`, but its value is a list.
    match entries.iter().find(|(key, _)| key == "schema") {
        Some((_, Value::String(schema))) if schema == SCHEMA => {
            let document: SchemaDocument = parse(document, bytes)?;
            Ok(document.kinds.0)
        }
        Some((_, Value::String(schema))) => {
            let reason = format!("expected a document `{SCHEMA}`, found `{schema}`");
            Err(document_error(INVALID_TYPE, document, &reason))
        }
        _ => Ok(entries),
    }
}

fn parse<'d, T: Deserialize<'d>>(document: &str, bytes: &'d [u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => document_error(INVALID_TYPE, document, &error.to_string()),
        _ => document_error(PARSE_FAILED, document, &format!("malformed JSON: {error}")),
    })
}

const PARSE_FAILED: Code = Code::ENUMERATION_JSON_PARSE_FAILED;
const INVALID_TYPE: Code = Code::ENUMERATION_JSON_INVALID_TYPE;

fn document_error(code: Code, document: &str, reason: &str) -> Error {
    let hint = "write the document with `repin inventory enumerate`: a list of names for each kind";
    Error::new(Class::Input, code, format!("{document}: {reason}")).help(hint)
}

fn parse_names(value: &Value) -> Result<BTreeSet<String>, String> {
    let Value::Array(items) = value else {
        return Err(format!("is {}, not a list of names", type_of(value)));
    };
    let mut names = BTreeSet::new();
    for item in items {
        let Value::String(name) = item else {
            return Err(format!("lists {}, not a name", type_of(item)));
        };
        names.insert(name.clone());
    }
    Ok(names)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The entries of an object, in order and with duplicates.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entries;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with a list of names for each kind")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Entries, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

const MIB: u64 = 1 << 20;

/// The progress of reading layers.
#[derive(Debug, Default)]
pub(crate) struct ReadingProgress {
    image: RefCell<String>,
    /// The index of the image, and the number of images.
    position: Cell<(usize, usize)>,
    expected: Cell<u64>,
    read: Arc<AtomicU64>,
}

impl ReadingProgress {
    /// Starts the image `name` with the given index.
    pub(crate) fn begin(&self, name: &str, index: usize, total: usize) {
        name.clone_into(&mut self.image.borrow_mut());
        self.position.set((index, total));
        self.expect(0);
    }

    /// Sets the total size of the layers that will be read.
    pub(super) fn expect(&self, bytes: u64) {
        self.expected.set(bytes);
        self.read.store(0, Ordering::Relaxed);
    }

    /// Counts the bytes that are read from `blob`.
    pub(super) fn count<R: Read>(&self, blob: R) -> impl Read + use<R> {
        CountingReader {
            inner: blob,
            read: Arc::clone(&self.read),
        }
    }

    /// The progress in one line.
    pub(crate) fn describe(&self) -> String {
        let (index, total) = self.position.get();
        let mut text = format!("reading the layers of {}", self.image.borrow());
        if total > 1 {
            let _ = write!(text, " ({} of {total})", index + 1);
        }
        let (read, expected) = (self.read.load(Ordering::Relaxed), self.expected.get());
        if expected > 0 {
            let _ = write!(
                text,
                ": {} of {}",
                format_size(read.min(expected)),
                format_size(expected)
            );
        }
        text
    }
}

fn format_size(bytes: u64) -> String {
    match bytes {
        ..10_240 => format!("{bytes} bytes"),
        10_240..MIB => format!("{} KiB", bytes / 1024),
        _ => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
    }
}

struct CountingReader<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_contains_image_and_bytes() {
        let progress = ReadingProgress::default();
        progress.begin("review linux/amd64", 1, 8);
        assert_eq!(
            progress.describe(),
            "reading the layers of review linux/amd64 (2 of 8)"
        );
        progress.expect(3 * MIB + MIB / 2);
        let mut layer = progress.count(io::repeat(0).take(2 * MIB));
        io::copy(&mut layer, &mut io::sink()).unwrap();
        assert_eq!(
            progress.describe(),
            "reading the layers of review linux/amd64 (2 of 8): 2.0 MiB of 3.5 MiB"
        );
        progress.begin("fix", 0, 1);
        assert_eq!(progress.describe(), "reading the layers of fix");
    }

    #[test]
    fn sizes_have_a_unit() {
        let sizes = [0, 10_239, 10_240, MIB - 1, MIB, 25 * MIB + MIB / 10].map(format_size);
        let expected = [
            "0 bytes",
            "10239 bytes",
            "10 KiB",
            "1023 KiB",
            "1.0 MiB",
            "25.0 MiB",
        ];
        assert_eq!(sizes, expected);
    }
}
