//! Keys of the configuration, each declared once with its type, its default and one sentence.
//!
//! `block!` turns a declaration into the struct that the program uses, its reader, its part of
//! the JSON schema and its rows of docs/configuration.md; `choices!` does so for an enum. A type
//! of a value is a [`KeyType`]: `types` has the common ones, and a block those that only it needs.

use serde_json::{Value as Json, json};

use super::{
    reader::{ErrorCollector, Fields},
    yaml::{Key, Node, Value},
};
use crate::base::error::{Code, SourceText, Span};

/// The type of a key.
pub trait KeyType {
    /// The value in the program.
    type Value;

    /// The description of the type.
    fn shape() -> Shape;

    /// Parses the value of `key`, or an item of its list; `None` after a problem was reported.
    fn read(key: &Key, node: &Node, problems: &ErrorCollector) -> Option<Self::Value>;

    /// The value of an absent key without a default; `None` if such a key is required.
    fn absent() -> Option<Self::Value> {
        None
    }
}

/// A type as the schema and the reference describe it.
pub struct Shape {
    /// The name in the reference, such as `duration`.
    pub(super) name: String,
    /// The name of a list of this type.
    pub(super) list_name: String,
    pub(super) schema: Json,
    /// The keys in a value.
    keys: Vec<Declaration>,
}

impl Shape {
    pub(super) fn new(name: &str, schema: Json) -> Self {
        let list_name = if let Some(noun) = name.strip_prefix("name of a ") {
            format!("list of names of {noun}s")
        } else if let Some(stem) = name.strip_suffix("ry") {
            format!("list of {stem}ries")
        } else if name.ends_with("ch") {
            format!("list of {name}es")
        } else {
            format!("list of {name}s")
        };
        Self {
            name: name.to_owned(),
            list_name,
            schema,
            keys: Vec::new(),
        }
    }

    /// One of these words.
    pub(super) fn choice(words: &[&str]) -> Self {
        let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
        let name = match quoted.split_last() {
            Some((last, others)) if !others.is_empty() => {
                format!("{} or {last}", others.join(", "))
            }
            _ => quoted.concat(),
        };
        Self {
            list_name: format!("list: {name}"),
            ..Self::new(&name, json!({"enum": words}))
        }
    }

    /// A mapping with these keys and no other.
    pub(super) fn mapping(keys: Vec<Declaration>) -> Self {
        let mut schema = json!({"type": "object", "additionalProperties": false, "properties": {}});
        let mut required = Vec::new();
        for declaration in &keys {
            let name = declaration.path.trim_start_matches('.');
            let mut property = declaration.shape.schema.clone();
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
        Self {
            keys,
            ..Self::new("mapping", schema)
        }
    }

    /// A list of values of this type.
    fn list(self) -> Self {
        Self {
            keys: within("[]", self.keys),
            ..Self::new(
                &self.list_name,
                json!({"type": "array", "items": self.schema}),
            )
        }
    }

    /// The type with further rules in its schema.
    pub(super) fn with(mut self, rules: &Json) -> Self {
        for (name, rule) in rules.as_object().into_iter().flatten() {
            self.schema[name] = rule.clone();
        }
        self
    }
}

/// A key as the schema and the reference describe it.
pub(crate) struct Declaration {
    /// The path from the value that contains the key: `.KEY`, `[].KEY` or `.*.KEY`.
    path: String,
    shape: Shape,
    default: Option<Json>,
    is_required: bool,
    sentence: String,
}

impl Declaration {
    /// Declares `key` with the text of its doc comment.
    pub(super) fn new<T: KeyType>(key: &str, comment: &str, default: Option<Json>) -> Self {
        Self {
            path: format!(".{key}"),
            shape: T::shape(),
            is_required: default.is_none() && T::absent().is_none(),
            default,
            sentence: comment.trim().to_owned(),
        }
    }

    /// Appends the path and the row of docs/configuration.md of this key and of all keys in its value.
    #[cfg(test)]
    fn add_rows(&self, above: &str, rows: &mut Vec<(String, String)>) {
        let path = format!("{above}{}", self.path);
        let key = path.trim_start_matches('.').to_owned();
        let default = match &self.default {
            None if self.is_required => "required".to_owned(),
            None | Some(Json::Object(_)) => String::new(),
            Some(Json::String(text)) => format!("`{text}`"),
            Some(other) => format!("`{}`", other.to_string().replace(',', ", ")),
        };
        let (name, sentence) = (&self.shape.name, &self.sentence);
        let row = format!("| `{key}` | {name} | {default} | {sentence} |");
        rows.push((key, row));
        for declaration in &self.shape.keys {
            declaration.add_rows(&path, rows);
        }
    }
}

/// Keys from a value that contains their mapping at `prefix`.
fn within(prefix: &str, keys: Vec<Declaration>) -> Vec<Declaration> {
    keys.into_iter()
        .map(|declaration| Declaration {
            path: format!("{prefix}{}", declaration.path),
            ..declaration
        })
        .collect()
}

/// The rows of docs/configuration.md for the keys of `T`, in the order of their declaration, each with the
/// path of its key.
#[cfg(test)]
pub(super) fn reference<T: KeyType>() -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for declaration in T::shape().keys {
        declaration.add_rows("", &mut rows);
    }
    rows
}

impl Fields<'_> {
    /// Parses the value of `key` or its default; `None` after a problem was reported.
    pub(super) fn read<T: KeyType>(
        &self,
        key: &'static str,
        default: Option<Json>,
    ) -> Option<T::Value> {
        self.add_known(key);
        if let Some((key, node)) = self.entry(key) {
            return T::read(key, node, self.problems);
        }
        if let Some(default) = default {
            return T::read(self.key, &default_node(&default, self.span), self.problems);
        }
        let absent = T::absent();
        if absent.is_none() {
            self.report_missing(key);
        }
        absent
    }
}

/// A default as a tree, at the place of the mapping without the key.
fn default_node(default: &Json, span: Span) -> Node {
    let scalar = |text: String, plain| Value::Scalar { text, plain };
    let value = match default {
        Json::String(text) => scalar(text.clone(), false),
        Json::Array(items) => {
            Value::List(items.iter().map(|item| default_node(item, span)).collect())
        }
        Json::Object(entries) => Value::Map(
            entries
                .iter()
                .map(|(text, value)| {
                    let text = text.clone();
                    (Key { span, text }, default_node(value, span))
                })
                .collect(),
        ),
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
/// A key is a field with its sentence as doc comment, its [`KeyType`] and, after `=`, its default
/// as JSON. `with` adds fields that are not keys, computed from the keys' values and the mapping,
/// and `rules` are statements that report problems of several keys: each key is a variable there,
/// `None` after a problem. With `for`, the struct is that of another module.
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

        $crate::config::keys::block! {
            for $name {
                $($(#[doc = $sentence])+ $key: $type $(= $default)?,)*
            }
            $(with |$mapping| {
                $($other: $other_type = $value,)*
            })?
            $(rules |$fields| $rules)?
        }
    };
    (
        for $name:ident {
            $($(#[doc = $sentence:literal])+ $key:ident: $type:ty $(= $default:tt)?,)*
        }
        $(with |$mapping:ident| {
            $($other:ident: $other_type:ty = $value:expr,)*
        })?
        $(rules |$fields:ident| $rules:block)?
    ) => {
        impl $crate::config::keys::KeyType for $name {
            type Value = Self;

            fn shape() -> $crate::config::keys::Shape {
                $crate::config::keys::Shape::mapping(vec![
                    $($crate::config::keys::Declaration::new::<$type>(
                        stringify!($key).trim_start_matches("r#"),
                        concat!($($sentence),+),
                        $crate::config::keys::block!(@default $($default)?),
                    )),*
                ])
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

/// Declares an enum for the words that a key accepts.
macro_rules! choices {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident { $($variants:tt)+ }
    ) => {
        $crate::base::text::words! {
            $(#[$attribute])*
            $visibility enum $name { $($variants)+ }
        }

        $crate::config::keys::choice!($name);
    };
}
pub(super) use choices;

/// Makes an enum with words the type of a key that accepts these words.
macro_rules! choice {
    ($name:ident) => {
        impl $crate::config::keys::KeyType for $name {
            type Value = Self;

            fn shape() -> $crate::config::keys::Shape {
                $crate::config::keys::Shape::choice(&Self::ALL.map(Self::as_str))
            }

            fn read(
                _: &$crate::config::yaml::Key,
                node: &$crate::config::yaml::Node,
                problems: &$crate::config::reader::ErrorCollector,
            ) -> Option<Self> {
                problems.choice(node, &Self::ALL.map(|choice| (choice.as_str(), choice)))
            }
        }
    };
}
pub(super) use choice;

/// Makes `$type` the type `$base` with more rules: in the schema, and in a function that checks a
/// value and reports its problems.
macro_rules! refined_type {
    ($type:ty => $base:ty, $schema:tt, $check:path $(, absent: $absent:expr)?) => {
        impl $crate::config::keys::KeyType for $type {
            type Value = <$base as $crate::config::keys::KeyType>::Value;

            fn shape() -> $crate::config::keys::Shape {
                <$base as $crate::config::keys::KeyType>::shape().with(&serde_json::json!($schema))
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

/// A key that may be absent.
impl<T: KeyType> KeyType for Option<T> {
    type Value = Option<T::Value>;

    fn shape() -> Shape {
        T::shape()
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

    fn shape() -> Shape {
        T::shape().list()
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

    fn shape() -> Shape {
        T::shape().list().with(&json!({"minItems": 1}))
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

    /// The problem of a malformed name.
    fn name_problem(name: &str) -> Option<String>;
}

/// A mapping from names to values.
pub struct ByName<T>(std::marker::PhantomData<T>);

impl<T: Named> KeyType for ByName<T> {
    type Value = Vec<T::Value>;

    fn shape() -> Shape {
        let values = T::shape();
        let schema = json!({
            "type": "object",
            "propertyNames": T::name_schema(),
            "additionalProperties": values.schema,
        });
        Shape {
            keys: within(".*", values.keys),
            ..Shape::new("mapping by name", schema)
        }
    }

    fn read(_: &Key, node: &Node, problems: &ErrorCollector) -> Option<Self::Value> {
        let mut values = Vec::new();
        for (name, value) in problems.entries(node)? {
            if let Some(problem) = T::name_problem(&name.text) {
                problems.report(name.span, problem);
            }
            values.push(T::read(name, value, problems));
        }
        values.into_iter().collect()
    }
}
