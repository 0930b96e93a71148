//! Keys of the configuration, each declared once with its type, its default and one sentence.
//!
//! [`block!`] turns a declaration into the struct that the program uses, its reader, its part of
//! the JSON schema and its rows of docs/configuration.md; [`choices!`] does so for an enum. A type
//! of a value is a [`KeyType`]: `types` has the common ones, and a block those that only it needs.

use serde_json::{Value as Json, json};

use super::{
    reader::ErrorCollector,
    yaml::{Key, Node, Value},
};
use crate::{
    code::Code,
    error::{SourceText, Span},
};

/// The type of a key: how its value is read and described.
pub trait KeyType {
    /// The value in the program.
    type Value;

    /// The name of the type in the reference, such as `duration`.
    fn type_name() -> String;

    /// The name of a list of this type in the reference.
    fn list_name() -> String {
        let name = Self::type_name();
        if let Some(noun) = name.strip_prefix("name of a ") {
            format!("list of names of {noun}s")
        } else if let Some(stem) = name.strip_suffix("ry") {
            format!("list of {stem}ries")
        } else if name.ends_with("ch") {
            format!("list of {name}es")
        } else {
            format!("list of {name}s")
        }
    }

    /// The JSON schema of a value.
    fn schema() -> Json;

    /// The keys in a value, with their paths from it.
    fn keys() -> Vec<Declaration> {
        Vec::new()
    }

    /// Reads the value of `key`, or an item of its list; `None` after a problem was reported.
    fn read(key: &Key, node: &Node, problems: &ErrorCollector) -> Option<Self::Value>;

    /// The value of an absent key without a default; `None` if such a key is required.
    fn absent() -> Option<Self::Value> {
        None
    }
}

/// A key as the schema and the reference describe it.
pub struct Declaration {
    /// The path from the value that contains the key: `.KEY`, `[].KEY` or `.*.KEY`.
    path: String,
    type_name: String,
    default: Option<Json>,
    is_required: bool,
    sentence: String,
    schema: Json,
    keys: Vec<Declaration>,
}

impl Declaration {
    /// Declares `key` with the text of its doc comment.
    pub(super) fn new<T: KeyType>(key: &str, comment: &str, default: Option<Json>) -> Self {
        Self {
            path: format!(".{key}"),
            type_name: T::type_name(),
            is_required: default.is_none() && T::absent().is_none(),
            default,
            sentence: comment.trim().to_owned(),
            schema: T::schema(),
            keys: T::keys(),
        }
    }

    /// The same key from a value that contains its mapping at `prefix`.
    fn within(self, prefix: &str) -> Self {
        Self {
            path: format!("{prefix}{}", self.path),
            ..self
        }
    }

    /// Appends the path and the row of the reference of this key and of all keys in its value.
    fn add_rows(&self, above: &str, rows: &mut Vec<(String, String)>) {
        let path = format!("{above}{}", self.path);
        let key = path.trim_start_matches('.').to_owned();
        let default = match &self.default {
            None if self.is_required => "required".to_owned(),
            None => String::new(),
            Some(Json::Object(_)) => String::new(),
            Some(Json::String(text)) => format!("`{text}`"),
            Some(other) => format!("`{}`", other.to_string().replace(',', ", ")),
        };
        let (type_name, sentence) = (&self.type_name, &self.sentence);
        let row = format!("| `{key}` | {type_name} | {default} | {sentence} |");
        rows.push((key, row));
        for declaration in &self.keys {
            declaration.add_rows(&path, rows);
        }
    }
}

/// The rows of the reference for the keys of `T`, in the order of their declaration, each with the
/// path of its key.
pub(super) fn reference<T: KeyType>() -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for declaration in T::keys() {
        declaration.add_rows("", &mut rows);
    }
    rows
}

/// The schema of a mapping with these keys and no other.
pub(super) fn mapping_schema(keys: &[Declaration]) -> Json {
    let mut schema = json!({"type": "object", "additionalProperties": false, "properties": {}});
    let mut required = Vec::new();
    for declaration in keys {
        let name = declaration.path.trim_start_matches('.');
        let mut property = declaration.schema.clone();
        property["description"] = json!(declaration.sentence);
        if let Some(default) = &declaration.default {
            property["default"] = default.clone();
        }
        schema["properties"][name] = property;
        if declaration.is_required {
            required.push(name);
        }
    }
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// A default as a tree, with the place of the mapping that lacks the key.
pub(super) fn default_node(default: &Json, span: Span) -> Node {
    let scalar = |text: String, plain| Value::Scalar { text, plain };
    let value = match default {
        Json::String(text) => scalar(text.clone(), false),
        Json::Array(items) => {
            Value::List(items.iter().map(|item| default_node(item, span)).collect())
        }
        Json::Object(entries) => {
            let entry = |(text, value): (&String, &Json)| {
                let text = text.clone();
                (Key { span, text }, default_node(value, span))
            };
            Value::Map(entries.iter().map(entry).collect())
        }
        other => scalar(other.to_string(), true),
    };
    Node { span, value }
}

/// A block without any key in the configuration.
///
/// # Panics
///
/// If a key of the block is required: a mistake in the program.
pub(super) fn defaults<T: KeyType>() -> T::Value {
    let source = SourceText {
        name: String::new(),
        text: "".into(),
    };
    let span = Span { start: 0, end: 0 };
    let text = String::new();
    T::read(
        &Key { span, text },
        &default_node(&json!({}), span),
        &ErrorCollector::new(source, Code::CONFIG),
    )
    .expect("each key of this block has a valid default")
}

/// Declares a mapping with fixed keys.
///
/// A key is a field with its sentence as doc comment, its [`KeyType`] and, after `=`, its default as
/// JSON. `with` adds fields that are no keys, computed from the keys' values and the mapping, and
/// `rules` are statements that report problems of several keys: each key is a variable there, `None`
/// after a problem.
macro_rules! block {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $($(#[doc = $sentence:literal])+ $key:ident: $type:ty $(= $default:tt)?,)*
        }
        $(with |$mapping:ident| {
            $($(#[doc = $comment:literal])* $other:ident: $other_type:ty = $value:expr,)*
        })?
        $(rules |$fields:ident| $rules:block)?
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone)]
        $visibility struct $name {
            $($(#[doc = $sentence])+ pub $key: <$type as $crate::config::keys::KeyType>::Value,)*
            $($($(#[doc = $comment])* pub $other: $other_type,)*)?
        }

        impl $crate::config::keys::KeyType for $name {
            type Value = Self;

            fn type_name() -> String {
                "mapping".to_owned()
            }

            fn keys() -> Vec<$crate::config::keys::Declaration> {
                vec![$($crate::config::keys::Declaration::new::<$type>(
                    stringify!($key).trim_start_matches("r#"),
                    concat!($($sentence),+),
                    $crate::config::keys::block!(@default $($default)?),
                )),*]
            }

            fn schema() -> serde_json::Value {
                $crate::config::keys::mapping_schema(&Self::keys())
            }

            fn read(
                key: &$crate::config::yaml::Key,
                node: &$crate::config::yaml::Node,
                problems: &$crate::config::reader::ErrorCollector,
            ) -> Option<Self> {
                let mapping = problems.fields(key, node)?;
                // Every key is read before the first `?`, so that one run reports all problems.
                $(let $key = mapping.read::<$type>(
                    stringify!($key).trim_start_matches("r#"),
                    $crate::config::keys::block!(@default $($default)?),
                );)*
                mapping.report_unknown();
                $(
                    let $fields = &mapping;
                    $rules
                )?
                $(let $key = $key?;)*
                $(
                    let $mapping = &mapping;
                    $(let $other: $other_type = $value;)*
                )?
                Some(Self { $($key,)* $($($other,)*)? })
            }
        }
    };
    (@default) => { None };
    (@default $default:tt) => { Some(serde_json::json!($default)) };
}
pub(super) use block;

/// Declares an enum whose variants are words of the configuration.
macro_rules! choices {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$variant_attribute:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visibility enum $name {
            $($(#[$variant_attribute])* $variant,)+
        }

        impl $name {
            const WORDS: &[(&str, Self)] = &[$(($word, Self::$variant)),+];

            /// The word of the configuration.
            #[allow(dead_code, reason = "not every word is displayed")]
            $visibility fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl $crate::config::keys::KeyType for $name {
            type Value = Self;

            fn type_name() -> String {
                $crate::config::keys::alternatives(&[$($word),+])
            }

            fn list_name() -> String {
                format!("list: {}", Self::type_name())
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({"enum": [$($word),+]})
            }

            fn read(
                _: &$crate::config::yaml::Key,
                node: &$crate::config::yaml::Node,
                problems: &$crate::config::reader::ErrorCollector,
            ) -> Option<Self> {
                problems.choice(node, Self::WORDS)
            }
        }
    };
}
pub(super) use choices;

/// The words of a choice, such as `` `a`, `b` or `c` ``.
pub(super) fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Makes `$type` the type `$base` with more rules: in the schema, and in a function that checks a
/// value and reports its problems.
macro_rules! refined_type {
    ($type:ty => $base:ty, $schema:tt, $check:path $(, absent: $absent:expr)?) => {
        impl $crate::config::keys::KeyType for $type {
            type Value = <$base as $crate::config::keys::KeyType>::Value;

            fn type_name() -> String {
                <$base as $crate::config::keys::KeyType>::type_name()
            }

            fn schema() -> serde_json::Value {
                let rules = serde_json::json!($schema);
                let base = <$base as $crate::config::keys::KeyType>::schema();
                $crate::config::keys::merged(base, &rules)
            }

            fn read(
                key: &$crate::config::yaml::Key,
                node: &$crate::config::yaml::Node,
                problems: &$crate::config::reader::ErrorCollector,
            ) -> Option<Self::Value> {
                let value = <$base as $crate::config::keys::KeyType>::read(key, node, problems)?;
                $check(&value, node, problems).then_some(value)
            }

            $(fn absent() -> Option<Self::Value> {
                Some($absent)
            })?
        }
    };
}
pub(super) use refined_type;

/// A schema with further rules.
pub(super) fn merged(mut schema: Json, rules: &Json) -> Json {
    for (name, rule) in rules.as_object().into_iter().flatten() {
        schema[name] = rule.clone();
    }
    schema
}

/// A key that may be absent.
impl<T: KeyType> KeyType for Option<T> {
    type Value = Option<T::Value>;

    fn type_name() -> String {
        T::type_name()
    }

    fn schema() -> Json {
        T::schema()
    }

    fn keys() -> Vec<Declaration> {
        T::keys()
    }

    fn read(key: &Key, node: &Node, problems: &ErrorCollector) -> Option<Self::Value> {
        T::read(key, node, problems).map(Some)
    }

    fn absent() -> Option<Self::Value> {
        Some(None)
    }
}

impl<T: KeyType> KeyType for Vec<T> {
    type Value = Vec<T::Value>;

    fn type_name() -> String {
        T::list_name()
    }

    fn schema() -> Json {
        json!({"type": "array", "items": T::schema()})
    }

    fn keys() -> Vec<Declaration> {
        let keys = T::keys().into_iter();
        keys.map(|declaration| declaration.within("[]")).collect()
    }

    fn read(key: &Key, node: &Node, problems: &ErrorCollector) -> Option<Self::Value> {
        let items = problems.list(node)?.iter();
        // Collected first, so that the problems of all items are reported.
        let items: Vec<_> = items.map(|item| T::read(key, item, problems)).collect();
        items.into_iter().collect()
    }
}

/// A list with at least one item.
pub struct NonEmpty<T>(std::marker::PhantomData<T>);

impl<T: KeyType> KeyType for NonEmpty<T> {
    type Value = Vec<T::Value>;

    fn type_name() -> String {
        T::list_name()
    }

    fn schema() -> Json {
        json!({"type": "array", "minItems": 1, "items": T::schema()})
    }

    fn keys() -> Vec<Declaration> {
        Vec::<T>::keys()
    }

    fn read(key: &Key, node: &Node, problems: &ErrorCollector) -> Option<Self::Value> {
        let items = Vec::<T>::read(key, node, problems)?;
        if items.is_empty() {
            problems.report(node.span, format!("`{}` is empty", key.text));
            return None;
        }
        Some(items)
    }
}

/// A type of values with a name that the user chooses.
pub trait Named: KeyType {
    /// The JSON schema of a name.
    fn name_schema() -> Json;

    /// Reports a malformed name.
    fn check_name(name: &Key, problems: &ErrorCollector);
}

/// A mapping from names to values.
pub struct ByName<T>(std::marker::PhantomData<T>);

impl<T: Named> KeyType for ByName<T> {
    type Value = Vec<T::Value>;

    fn type_name() -> String {
        "mapping by name".to_owned()
    }

    fn schema() -> Json {
        json!({
            "type": "object",
            "propertyNames": T::name_schema(),
            "additionalProperties": T::schema(),
        })
    }

    fn keys() -> Vec<Declaration> {
        let keys = T::keys().into_iter();
        keys.map(|declaration| declaration.within(".*")).collect()
    }

    fn read(_: &Key, node: &Node, problems: &ErrorCollector) -> Option<Self::Value> {
        let mut values = Vec::new();
        for (name, value) in problems.entries(node)? {
            T::check_name(name, problems);
            values.push(T::read(name, value, problems));
        }
        values.into_iter().collect()
    }
}
