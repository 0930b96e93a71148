//! Typed reading of a YAML tree: every problem is collected with its place, and reading continues.
//!
//! A reader returns `None` after it has reported a problem, so a block is complete if and only if
//! no problem was collected.

use std::{
    cell::{Cell, OnceCell, RefCell},
    fmt::Display,
    path::{Path, PathBuf},
};

use super::{
    set_path::SetPath,
    yaml::{Key, Node, Value},
};
use crate::base::{
    error::{Class, Code, Error, Location, SourceText, Span},
    files::Globs,
    untrusted::redacted,
};

/// Whether a URL contains a user and a password. The password may contain any character.
pub(super) fn has_password(text: &str) -> bool {
    let after_scheme = text.split_once("://").map(|(_, rest)| rest);
    let authority = after_scheme.map(|rest| rest.split('/').next().unwrap_or_default());
    authority.is_some_and(|authority| authority.contains('@') && authority.contains(':'))
}

/// Collects the problems of one file.
pub struct ErrorCollector {
    source: SourceText,
    code: Code,
    problems: RefCell<Vec<Error>>,
    /// Whether messages may quote the text.
    is_quoted: bool,
    /// The number of globs in the lists that were read.
    globs: Cell<usize>,
    is_past: bool,
    root: PathBuf,
    set_path: SetPath,
    /// The key of the set, which several defaults contain.
    set_key: OnceCell<String>,
}

/// The maximum number of globs in a list.
const GLOBS_OF_LIST: usize = 1_000;
/// The maximum number of globs in all lists together. Each path of a repository is compared with
/// each glob, so lists in many blocks would take as long as one long list.
const GLOBS_OF_FILE: usize = 5_000;

impl ErrorCollector {
    /// A collector for problems with `code` in the file `source`.
    pub fn new(source: SourceText, code: Code) -> Self {
        Self {
            source,
            code,
            problems: RefCell::default(),
            is_quoted: true,
            globs: Cell::new(0),
            is_past: false,
            root: PathBuf::new(),
            set_path: SetPath::top(),
            set_key: OnceCell::new(),
        }
    }

    /// For a file that a configuration refers to: messages quote nothing of its text.
    #[must_use]
    pub fn unquoted(self) -> Self {
        Self {
            is_quoted: false,
            ..self
        }
    }

    /// For a configuration from history: its variables are never passed to another process, so they
    /// are not restricted.
    #[must_use]
    pub(super) fn past(self) -> Self {
        Self {
            is_past: true,
            ..self
        }
    }

    pub(super) fn is_past(&self) -> bool {
        self.is_past
    }

    /// For a configuration with paths relative to `root`, which identifies this set.
    #[must_use]
    pub(super) fn with_root(self, root: &Path, set_path: &SetPath) -> Self {
        Self {
            root: root.to_owned(),
            set_path: set_path.clone(),
            set_key: OnceCell::new(),
            ..self
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn set_path(&self) -> &SetPath {
        &self.set_path
    }

    pub(super) fn set_key(&self) -> &str {
        self.set_key.get_or_init(|| self.set_path.key())
    }

    pub(super) fn source(&self) -> &SourceText {
        &self.source
    }

    /// Parses the whole text; `None` if it is malformed or empty.
    pub fn tree(&self) -> Option<Node> {
        let (root, errors) = super::yaml::parse(&self.source.text);
        for error in errors {
            let message = if self.is_quoted {
                error.message
            } else {
                error.unquoted
            };
            self.report(error.span, message);
        }
        root.filter(|root| !root.is_null())
    }

    pub(super) fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    /// The collected problems, in the order of the file.
    pub fn into_problems(self) -> Vec<Error> {
        let mut errors = self.problems.into_inner();
        errors.sort_by_key(|error| {
            error
                .location
                .as_ref()
                .map_or(0, |location| location.span.start)
        });
        errors
    }

    /// A location in this file.
    pub fn location(&self, span: Span, label: &str) -> Location {
        Location {
            source: self.source.clone(),
            span,
            label: label.to_owned(),
            quoted: self.is_quoted,
        }
    }

    pub(super) fn report(&self, span: Span, message: impl Into<String>) {
        self.problems.borrow_mut().push(self.error(span, message));
    }

    fn error(&self, span: Span, message: impl Into<String>) -> Error {
        let message = redacted(&message.into());
        Error::new(Class::Input, self.code, message).at(self.location(span, ""))
    }

    pub(super) fn report_hint(
        &self,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let error = self.error(span, message).help(hint);
        self.problems.borrow_mut().push(error);
    }

    pub(super) fn entries<'n>(&self, node: &'n Node) -> Option<&'n [(Key, Node)]> {
        match &node.value {
            Value::Map(entries) => Some(entries),
            _ => self.expected(node, "a mapping of keys to values"),
        }
    }

    /// The fields of the mapping that is the value of `key`.
    pub(super) fn fields<'n>(&'n self, key: &'n Key, node: &'n Node) -> Option<Fields<'n>> {
        Some(Fields {
            problems: self,
            key,
            span: node.span,
            entries: self.entries(node)?,
            known: RefCell::default(),
        })
    }

    pub(super) fn list<'n>(&self, node: &'n Node) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            _ => self.expected(node, "a list"),
        }
    }

    /// A scalar's text; a number is accepted as a string, null is not.
    pub(super) fn string<'n>(&self, node: &'n Node) -> Option<&'n str> {
        match &node.value {
            Value::Scalar { text, .. } if !node.is_null() => Some(text),
            _ => self.expected(node, "a string"),
        }
    }

    fn nonempty<'n>(&self, node: &'n Node) -> Option<&'n str> {
        let text = self.string(node)?;
        if text.is_empty() {
            self.expected(node, "a nonempty string")
        } else {
            Some(text)
        }
    }

    /// Exactly `true` or `false`, unquoted.
    pub(super) fn boolean(&self, node: &Node) -> Option<bool> {
        match &node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => self.expected(node, "`true` or `false`"),
        }
    }

    /// A decimal whole number, unquoted, up to a million.
    pub(super) fn number(&self, node: &Node) -> Option<usize> {
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

    /// Parses a nonempty scalar.
    pub(super) fn parsed<T, E: Display>(
        &self,
        node: &Node,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.nonempty(node)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                let mut error = self.error(node.span, error.to_string());
                if let Some(location) = error.location.as_mut().filter(|_| has_password(text)) {
                    location.quoted = false;
                }
                self.problems.borrow_mut().push(error);
                None
            }
        }
    }

    /// A list of globs. Every malformed one is reported.
    pub(super) fn globs(&self, node: &Node) -> Option<Globs> {
        let mut globs = Globs::default();
        let mut is_well_formed = true;
        for item in self.glob_items(node)? {
            let parsed = self.parsed(item, |text| globs.add(text, item.span));
            is_well_formed &= parsed.is_some();
        }
        is_well_formed.then_some(globs)
    }

    /// The items of a list of globs, up to a maximum number.
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

    /// One of the named values.
    pub(super) fn choice<T: Copy>(&self, node: &Node, choices: &[(&str, T)]) -> Option<T> {
        let text = self.string(node)?;
        let found = choices.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            let message = format!("expected one of {}, found `{text}`", quoted(&names));
            self.report(node.span, message);
        }
        found.map(|(_, value)| *value)
    }

    pub(super) fn expected<T>(&self, node: &Node, expected: &str) -> Option<T> {
        let found = match &node.value {
            Value::Map(_) => "a mapping".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Scalar { .. } if node.is_null() => "nothing".to_owned(),
            Value::Scalar { text, .. } if text.is_empty() => "an empty string".to_owned(),
            Value::Scalar { plain: false, .. } => "a quoted string".to_owned(),
            Value::Scalar { text, .. } => format!("`{text}`"),
        };
        self.report(node.span, format!("expected {expected}, found {found}"));
        None
    }
}

/// Keys that moved: the mapping, the key, and the remedy.
const MOVED: [(&str, &str, &str); 1] = [(
    "fleet",
    "source",
    "write `source: OWNER/NAME` at the top of the file",
)];

/// The entries of a mapping with fixed keys. `Fields::report_unknown` reports those that are not
/// declared.
pub(crate) struct Fields<'n> {
    pub(super) problems: &'n ErrorCollector,
    /// The key of the mapping.
    pub(super) key: &'n Key,
    pub(super) span: Span,
    entries: &'n [(Key, Node)],
    known: RefCell<Vec<&'static str>>,
}

impl<'n> Fields<'n> {
    /// The entry of `key`.
    pub(super) fn entry(&self, key: &str) -> Option<&'n (Key, Node)> {
        self.entries.iter().find(|(name, _)| name.text == key)
    }

    /// The entries with declared keys.
    pub(super) fn known_entries(&self) -> impl Iterator<Item = &'n (Key, Node)> {
        let known = self.known.borrow().clone();
        let entries = self.entries.iter();
        entries.filter(move |(key, _)| known.contains(&key.text.as_str()))
    }

    /// The value of `key`, unread.
    pub(super) fn node(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|(_, node)| node)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Marks `key` as a key of this mapping.
    pub(super) fn add_known(&self, key: &'static str) {
        self.known.borrow_mut().push(key);
    }

    pub(super) fn report_missing(&self, key: &str) {
        self.report(format!("the key `{key}` is missing"));
    }

    /// Reports a problem that concerns the whole mapping, at its start.
    pub(super) fn report(&self, message: impl Into<String>) {
        let start = self.span.start;
        self.problems.report(Span { start, end: start }, message);
    }

    /// Reports every key that is not declared.
    pub(super) fn report_unknown(&self) {
        let known = self.known.borrow();
        for (key, _) in self.entries {
            if known.contains(&key.text.as_str()) {
                continue;
            }
            let moved = MOVED.iter().find(|(mapping, name, _)| {
                (*mapping, *name) == (self.key.text.as_str(), key.text.as_str())
            });
            let hint = match (moved, nearest(&key.text, &known)) {
                (Some((.., remedy)), _) => (*remedy).to_owned(),
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => format!("known keys: {}", quoted(&known)),
            };
            let message = format!("unknown key `{}`", key.text);
            self.problems.report_hint(key.span, message, hint);
        }
    }
}

/// The known word that `word` probably misspells.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    nearest_words(word, known, 1).first().copied()
}

/// The known words that `word` probably misspells, the most similar one first.
pub(crate) fn nearest_words<'k>(word: &str, known: &[&'k str], most: usize) -> Vec<&'k str> {
    similar::get_close_matches(word, known, most, 0.7)
}

fn quoted(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
