//! The names of each kind that an image contains, and the JSON document that lists them.

use std::{borrow::Cow, collections::BTreeSet};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

use super::listing::Listing;
use crate::{
    code::Code,
    config::Kind,
    error::{Class, Error},
    untrusted,
};

/// Names by kind, in the order of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enumeration {
    /// Each kind with its names, sorted by their bytes, each once.
    pub kinds: Vec<(String, BTreeSet<String>)>,
    /// Paths with names that are not UTF-8, and the name as it is listed: with U+FFFD.
    pub not_utf8: Vec<(Vec<u8>, String)>,
}

impl Enumeration {
    /// What the kinds' patterns find in the paths of the files.
    pub fn of(listing: &Listing, kinds: &[Kind]) -> Self {
        let mut all: Vec<_> = kinds
            .iter()
            .map(|kind| (kind.name.clone(), BTreeSet::new()))
            .collect();
        let mut not_utf8 = Vec::new();
        for file in &listing.files {
            // Patterns match characters: a byte that belongs to none would silently keep a file out
            // of every kind.
            let path = String::from_utf8_lossy(&file.path);
            for (kind, (_, names)) in kinds.iter().zip(&mut all) {
                for name in kind
                    .paths
                    .iter()
                    .filter_map(|pattern| pattern.captures(path.as_bytes())?.get(1))
                {
                    let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
                    if matches!(path, Cow::Owned(_)) && name.contains(char::REPLACEMENT_CHARACTER) {
                        not_utf8.push((file.path.clone(), format!("{}/{name}", kind.name)));
                    }
                    names.insert(name);
                }
            }
        }
        Self {
            kinds: all,
            not_utf8,
        }
    }

    /// The names of a kind.
    pub fn names(&self, kind: &str) -> Option<&BTreeSet<String>> {
        self.kinds
            .iter()
            .find(|(name, _)| name == kind)
            .map(|(_, names)| names)
    }

    /// Whether no kind has a name.
    pub fn is_empty(&self) -> bool {
        self.kinds.iter().all(|(_, names)| names.is_empty())
    }

    /// The document, on one line without a newline.
    pub fn to_json(&self) -> String {
        let list = |names: &BTreeSet<String>| {
            names
                .iter()
                .map(|name| quoted(name))
                .collect::<Vec<_>>()
                .join(",")
        };
        let kinds: Vec<_> = self
            .kinds
            .iter()
            .map(|(kind, names)| format!("{}:[{}]", quoted(kind), list(names)))
            .collect();
        format!("{{{}}}", kinds.join(","))
    }

    /// Reads a document back: the kinds, or `repin.enumeration/1` around them. It must hold each of the
    /// kinds, and nothing else.
    pub fn from_json(name: &str, bytes: &[u8], kinds: &[Kind]) -> Result<Self, Vec<Error>> {
        let mut entries: Entries = parsed(name, bytes)?;
        // A kind may be called `schema`; it is a list.
        let schema = entries.0.iter().find(|(key, _)| key == "schema");
        if let Some((_, serde_json::Value::String(schema))) = schema {
            let document: SchemaDocument = match schema.as_str() {
                SCHEMA => parsed(name, bytes)?,
                other => {
                    let why = format!("expected a document `{SCHEMA}`, found `{other}`");
                    return Err(vec![problem(INVALID_TYPE, name, &why)]);
                }
            };
            entries = document.kinds;
        }
        let mut errors = Vec::new();
        let known = |key: &str| kinds.iter().any(|kind| kind.name == key);
        for (at, (key, _)) in entries.0.iter().enumerate() {
            if entries.0[..at].iter().any(|(other, _)| other == key) {
                errors.push(problem(
                    PARSE_FAILED,
                    name,
                    &format!("duplicate key `{key}`"),
                ));
            } else if !known(key) {
                errors.push(problem(
                    INVALID_TYPE,
                    name,
                    &format!("`{key}` is not a configured kind"),
                ));
            }
        }
        let mut all = Vec::new();
        for kind in kinds {
            let found = entries
                .0
                .iter()
                .find(|(key, _)| *key == kind.name)
                .map(|(_, value)| value);
            match found.map(strings) {
                Some(Ok(names)) => all.push((kind.name.clone(), names)),
                Some(Err(why)) => errors.push(problem(
                    INVALID_TYPE,
                    name,
                    &format!("`{}` {why}", kind.name),
                )),
                None => errors.push(problem(
                    INVALID_TYPE,
                    name,
                    &format!("the kind `{}` is missing", kind.name),
                )),
            }
        }
        if errors.is_empty() {
            Ok(Self {
                kinds: all,
                not_utf8: Vec::new(),
            })
        } else {
            Err(errors)
        }
    }

    /// The image that a document with a schema names.
    pub fn image(bytes: &[u8]) -> Option<String> {
        let document: SchemaDocument = serde_json::from_slice(bytes).ok()?;
        document.image
    }

    /// The error for a missing document.
    pub fn not_found(name: &str, reason: &str) -> Error {
        problem(Code::ENUMERATION_JSON_NOT_FOUND, name, reason)
    }
}

impl Serialize for Enumeration {
    /// The kinds in their order.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.kinds.iter().map(|(kind, names)| (kind, names)))
    }
}

/// The name of the document with a schema.
pub const SCHEMA: &str = "repin.enumeration/1";

/// What [`SCHEMA`] puts around the kinds.
#[derive(Deserialize)]
struct SchemaDocument {
    image: Option<String>,
    kinds: Entries,
}

fn parsed<'d, T: Deserialize<'d>>(name: &str, bytes: &'d [u8]) -> Result<T, Vec<Error>> {
    serde_json::from_slice(bytes).map_err(|error| {
        vec![match error.classify() {
            serde_json::error::Category::Data => problem(INVALID_TYPE, name, &error.to_string()),
            _ => problem(PARSE_FAILED, name, &format!("malformed JSON: {error}")),
        }]
    })
}

/// A string of the document.
fn quoted(text: &str) -> String {
    untrusted::json_string(text)
}

const PARSE_FAILED: Code = Code::ENUMERATION_JSON_PARSE_FAILED;
const INVALID_TYPE: Code = Code::ENUMERATION_JSON_INVALID_TYPE;

fn problem(code: Code, name: &str, why: &str) -> Error {
    let hint = "write the document with `repin inventory enumerate`: a list of names for each kind";
    Error::new(Class::Input, code, format!("{name}: {why}")).help(hint)
}

fn strings(value: &serde_json::Value) -> Result<BTreeSet<String>, String> {
    let items = value
        .as_array()
        .ok_or_else(|| format!("is {}, not a list of names", kind_of(value)))?;
    let name = |item: &serde_json::Value| item.as_str().map(str::to_owned);
    let names = items
        .iter()
        .map(|item| name(item).ok_or_else(|| format!("lists {}, not a name", kind_of(item))));
    names.collect()
}

fn kind_of(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "a boolean",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a string",
        serde_json::Value::Array(_) => "a list",
        serde_json::Value::Object(_) => "an object",
    }
}

/// An object's entries, in its order and with its duplicates.
struct Entries(Vec<(String, serde_json::Value)>);

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
