//! Typed reading of the tree: every problem is gathered with its place, and reading continues.
//!
//! A reader returns `None` after it has reported why; so a block is complete if and only if no
//! problem was gathered.

use std::{
    cell::{Cell, RefCell},
    fmt::Display,
};

use super::{
    path::Globs,
    yaml::{Key, Node, Value},
};
use crate::{
    code::Code,
    error::{Class, Error, Place, SourceText, Span},
};

/// Gathers the problems of one file.
pub struct ErrorCollector {
    source: SourceText,
    code: Code,
    problems: RefCell<Vec<Error>>,
    /// Whether messages may show the text.
    quoted: bool,
    /// The number of globs in the lists that were read.
    globs: Cell<usize>,
    of_the_past: bool,
}

/// The maximum number of globs in a list.
const GLOBS_OF_LIST: usize = 1_000;
/// The maximum number of globs in all lists together. Each path of a repository is compared with
/// each glob, so lists in many blocks would take as long as one long list.
const GLOBS_OF_FILE: usize = 5_000;

impl ErrorCollector {
    /// For the file `source`, whose problems carry `code`.
    pub fn new(source: SourceText, code: Code) -> Self {
        Self {
            source,
            code,
            problems: RefCell::default(),
            quoted: true,
            globs: Cell::new(0),
            of_the_past: false,
        }
    }

    /// The same for a file that a configuration refers to: messages show nothing of its text.
    #[must_use]
    pub fn unquoted(self) -> Self {
        Self {
            quoted: false,
            ..self
        }
    }

    /// The same for a text that once was the configuration: what would be handed on to others by
    /// it is of no concern.
    #[must_use]
    pub fn of_the_past(self) -> Self {
        Self {
            of_the_past: true,
            ..self
        }
    }

    pub(super) fn is_of_the_past(&self) -> bool {
        self.of_the_past
    }

    /// Parses the whole text; `None` if it is no YAML or holds nothing.
    pub fn tree(&self) -> Option<Node> {
        let (root, errors) = super::yaml::parse(&self.source.text);
        for error in errors {
            let message = if self.quoted {
                error.message
            } else {
                error.unquoted
            };
            self.report(error.span, message);
        }
        root.filter(|root| !root.is_null())
    }

    /// Whether any problem was reported.
    pub fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    /// Everything gathered, in the order of the file.
    pub fn into_problems(self) -> Vec<Error> {
        let mut errors = self.problems.into_inner();
        errors.sort_by_key(|p| p.place.as_ref().map_or(0, |place| place.span.start));
        errors
    }

    /// A place in this file.
    pub fn place(&self, span: Span, label: &str) -> Place {
        Place {
            source: self.source.clone(),
            span,
            label: label.to_owned(),
            quoted: self.quoted,
        }
    }

    /// Reports a problem at `span`.
    pub fn report(&self, span: Span, message: impl Into<String>) {
        self.push(Error::new(Class::Input, self.code, message).at(self.place(span, "")));
    }

    /// Reports a problem at `span`, with what to do.
    pub fn report_hint(&self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.push(
            Error::new(Class::Input, self.code, message)
                .at(self.place(span, ""))
                .help(hint),
        );
    }

    fn push(&self, error: Error) {
        self.problems.borrow_mut().push(error);
    }

    /// A mapping's fields.
    pub fn map<'n>(&'n self, node: &'n Node) -> Option<Fields<'n>> {
        match &node.value {
            Value::Map(entries) => Some(Fields {
                gather: self,
                span: node.span,
                entries,
                known: RefCell::default(),
            }),
            _ => self.expected(node, "a mapping of keys to values"),
        }
    }

    /// A sequence's items.
    pub fn list<'n>(&self, node: &'n Node) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            _ => self.expected(node, "a list"),
        }
    }

    /// A scalar's text; a number is accepted as a string, null is not.
    pub fn string<'n>(&self, node: &'n Node) -> Option<&'n str> {
        match &node.value {
            Value::Scalar { text, .. } if !node.is_null() => Some(text),
            _ => self.expected(node, "a string"),
        }
    }

    /// A scalar that holds something.
    pub fn nonempty<'n>(&self, node: &'n Node) -> Option<&'n str> {
        let text = self.string(node)?;
        if text.is_empty() {
            self.expected(node, "a nonempty string")
        } else {
            Some(text)
        }
    }

    /// Exactly `true` or `false`, unquoted.
    pub fn boolean(&self, node: &Node) -> Option<bool> {
        match &node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => self.expected(node, "`true` or `false`"),
        }
    }

    /// A decimal whole number, unquoted, up to a million.
    pub fn number(&self, node: &Node) -> Option<usize> {
        match &node.value {
            Value::Scalar { text, plain: true }
                if text.bytes().all(|b| b.is_ascii_digit())
                    && (text == "0" || !text.starts_with('0')) =>
            {
                match text.parse() {
                    Ok(number) if number <= 1_000_000 => Some(number),
                    _ => self.expected(node, "a whole number up to 1000000"),
                }
            }
            Value::Scalar { plain: false, .. } => self.expected(node, "an unquoted whole number"),
            _ => self.expected(node, "a whole number"),
        }
    }

    /// A scalar that `parse` makes a value of.
    pub fn parsed<T, E: Display>(
        &self,
        node: &Node,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(self.nonempty(node)?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.report(node.span, error.to_string());
                None
            }
        }
    }

    /// A list of scalars, each made a value of.
    pub fn each<T, E: Display>(
        &self,
        node: &Node,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        // Collected first, so that every wrong item is reported.
        let items: Vec<_> = self
            .list(node)?
            .iter()
            .map(|item| self.parsed(item, &parse))
            .collect();
        items.into_iter().collect()
    }

    /// A list of globs. Every malformed one is reported.
    pub(super) fn globs(&self, node: &Node) -> Option<Globs> {
        let mut globs = Globs::default();
        let mut well_formed = true;
        for item in self.glob_items(node)? {
            let parsed = self.parsed(item, |text| globs.add(text, item.span));
            well_formed &= parsed.is_some();
        }
        well_formed.then_some(globs)
    }

    /// The items of a list of globs, whose number is limited.
    pub(super) fn glob_items<'n>(&self, node: &'n Node) -> Option<&'n [Node]> {
        let items = self.list(node)?;
        let total = self.globs.get() + items.len();
        self.globs.set(total);
        let (found, most, scope) = if items.len() > GLOBS_OF_LIST {
            (items.len(), GLOBS_OF_LIST, "a list")
        } else if total > GLOBS_OF_FILE {
            (total, GLOBS_OF_FILE, "all lists together")
        } else {
            return Some(items);
        };
        self.report_hint(
            node.span,
            format!("found {found} globs; the maximum in {scope} is {most}"),
            "combine globs with `*`, `**` and `{a,b}`",
        );
        None
    }

    /// A list of strings that are not empty.
    pub fn strings(&self, node: &Node) -> Option<Vec<String>> {
        self.each(node, |text| Ok::<_, String>(text.to_owned()))
    }

    /// One of the named values.
    pub fn choice<T: Copy>(&self, node: &Node, choices: &[(&str, T)]) -> Option<T> {
        let text = self.string(node)?;
        let found = choices
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.report(
                node.span,
                format!("expected one of {}, found `{text}`", quoted(&names)),
            );
        }
        found
    }

    pub(super) fn expected<T>(&self, node: &Node, what: &str) -> Option<T> {
        let found = match &node.value {
            Value::Map(_) => "a mapping".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Scalar { .. } if node.is_null() => "nothing".to_owned(),
            Value::Scalar { text, .. } if text.is_empty() => "an empty string".to_owned(),
            Value::Scalar { plain: false, .. } => "a quoted string".to_owned(),
            Value::Scalar { text, .. } => format!("`{text}`"),
        };
        self.report(node.span, format!("expected {what}, found {found}"));
        None
    }
}

/// The fields of a mapping; each is requested by name, and [`Fields::done`] reports those nobody
/// asked for.
pub struct Fields<'n> {
    gather: &'n ErrorCollector,
    /// The mapping's place.
    pub span: Span,
    entries: &'n [(Key, Node)],
    known: RefCell<Vec<&'static str>>,
}

impl<'n> Fields<'n> {
    /// The value of `key`, if it is there.
    pub fn get(&self, key: &'static str) -> Option<&'n Node> {
        self.known.borrow_mut().push(key);
        self.entries
            .iter()
            .find(|(name, _)| name.text == key)
            .map(|(_, value)| value)
    }

    /// The value of `key`, read; the default if the key is absent. `None` only after a report.
    pub fn or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&'n Node) -> Option<T>,
    ) -> Option<T> {
        self.get(key).map_or(Some(default), read)
    }

    /// The value of `key`, read, `Some(None)` if the key is absent. `None` only after a report.
    pub fn optional<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&'n Node) -> Option<T>,
    ) -> Option<Option<T>> {
        self.get(key)
            .map_or(Some(None), |node| read(node).map(Some))
    }

    /// The value of `key`, read; its absence is reported.
    pub fn required<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&'n Node) -> Option<T>,
    ) -> Option<T> {
        let node = self.get(key);
        if node.is_none() {
            let first_line = Span {
                start: self.span.start,
                end: self.span.start,
            };
            self.gather
                .report(first_line, format!("the key `{key}` is missing"));
        }
        node.and_then(read)
    }

    /// Marks `key` as one that may be there.
    pub fn also_known(&self, key: &'static str) {
        self.known.borrow_mut().push(key);
    }

    /// Reports every key that was not asked for.
    pub fn done(&self) {
        let known = self.known.borrow();
        for (key, _) in self.entries {
            if !known.contains(&key.text.as_str()) {
                let message = format!("unknown key `{}`", key.text);
                match nearest(&key.text, &known) {
                    Some(near) => self.gather.report_hint(
                        key.span,
                        message,
                        format!("did you mean `{near}`?"),
                    ),
                    None => self.gather.report_hint(
                        key.span,
                        message,
                        format!("known keys: {}", quoted(&known)),
                    ),
                }
            }
        }
    }

    /// All entries, for mappings whose keys are names.
    pub fn entries(&self) -> &'n [(Key, Node)] {
        self.entries
    }
}

/// The known word that `word` was probably meant to be.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    similar::get_close_matches(word, known, 1, 0.7)
        .first()
        .copied()
}

fn quoted(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
