//! Contracts (`expected.yaml`): parsed strictly, compared with the contents of an image, and
//! generated from them.
//!
//! A malformed contract yields problems with places and no verdict. The codes `expected_yaml_empty`
//! and `expected_yaml_no_assertions` report a contract without assertions.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{Check, Code, Status};
use crate::{
    base::{
        error::{Class, Error, SourceText, Span},
        untrusted::is_hidden,
    },
    config::{
        nearest,
        reader::ErrorCollector,
        yaml::{Key, Node, Value},
    },
    contents::inventory::{Enumeration, Kind, MustNotContain},
};

const MUST: &str = "must_contain";
const MUST_NOT: &str = "must_not_contain";

/// The largest contract, in bytes.
const MAX: usize = 1024 * 1024;

/// The required and the forbidden names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contract {
    pub must_contain: Names,
    pub must_not_contain: Names,
}

/// Exact names by kind, in the order of the file.
pub(crate) type Names = Vec<(String, BTreeSet<String>)>;

/// The problem of a contract that cannot be read.
pub(crate) fn not_found(name: &str, reason: &str) -> Error {
    problem(
        Code::EXPECTED_YAML_NOT_FOUND,
        format!("cannot read the contract {name}: {reason}"),
    )
    .help(
        "correct `contract:` in the configuration, or write a contract with `repin inventory init`",
    )
}

/// Parses a contract for the configured kinds and returns it with warnings, or reports every
/// problem.
pub(crate) fn parse(
    name: &str,
    bytes: &[u8],
    kinds: &[Kind],
) -> Result<(Contract, Vec<Check>), Vec<Error>> {
    let unreadable = |reason: String| {
        vec![problem(
            Code::EXPECTED_YAML_PARSE_FAILED,
            format!("the contract {name} {reason}"),
        )]
    };
    if bytes.len() > MAX {
        return Err(unreadable("is larger than 1 MiB".to_owned()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        unreadable(format!(
            "is not UTF-8 (first malformed byte at offset {})",
            error.valid_up_to()
        ))
    })?;
    let source = SourceText {
        name: name.to_owned(),
        text: text.into(),
    };
    let gather = ErrorCollector::new(source, Code::EXPECTED_YAML_PARSE_FAILED).unquoted();
    let tree = gather.tree();
    let start = gather.location(Span { start: 0, end: 0 }, "");
    let mut reader = Reader {
        gather: &gather,
        kinds,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let contract = tree.as_ref().map(|tree| reader.contract(tree));
    let Reader {
        problems, warnings, ..
    } = reader;
    let faults = gather.into_problems();
    if !faults.is_empty() {
        return Err(faults);
    }
    match contract {
        _ if !problems.is_empty() => Err(problems),
        None => Err(vec![
            nothing(Code::EXPECTED_YAML_EMPTY, "the contract is empty").at(start),
        ]),
        Some(contract) if contract.is_empty() => Err(vec![
            nothing(
                Code::EXPECTED_YAML_NO_ASSERTIONS,
                "the contract asserts nothing: it would accept every image",
            )
            .at(start),
        ]),
        Some(contract) => Ok((contract, warnings)),
    }
}

fn problem(code: Code, message: impl Into<String>) -> Error {
    Error::new(Class::Input, code, message)
}

fn nothing(code: Code, message: &str) -> Error {
    problem(code, message)
        .help("list what the image must contain; `repin inventory init IMAGE` writes a contract to start from")
}

impl Contract {
    fn is_empty(&self) -> bool {
        [&self.must_contain, &self.must_not_contain]
            .into_iter()
            .flatten()
            .all(|(_, names)| names.is_empty())
    }
}

struct Reader<'r> {
    gather: &'r ErrorCollector,
    kinds: &'r [Kind],
    problems: Vec<Error>,
    warnings: Vec<Check>,
}

impl Reader<'_> {
    fn contract(&mut self, root: &Node) -> Contract {
        let mut contract = Contract::default();
        let Value::Map(sections) = &root.value else {
            self.report(
                Code::EXPECTED_YAML_INVALID_TYPE,
                root.span,
                format!("a contract must be a mapping with `{MUST}` and `{MUST_NOT}`"),
            );
            return contract;
        };
        for (key, section) in sections {
            match key.text.as_str() {
                MUST => contract.must_contain = self.section(key, section),
                MUST_NOT => contract.must_not_contain = self.section(key, section),
                _ => self.unknown(
                    Code::EXPECTED_YAML_UNKNOWN_TOP_LEVEL_KEY,
                    key,
                    &[MUST, MUST_NOT],
                ),
            }
        }
        contract
    }

    fn section(&mut self, section: &Key, node: &Node) -> Names {
        match &node.value {
            Value::Map(lists) => lists
                .iter()
                .filter_map(|(kind, list)| self.kind(section, kind, list))
                .collect(),
            // `parse` refuses a contract with only empty sections.
            _ if node.is_null() => Vec::new(),
            _ => {
                let message = format!(
                    "`{}` must be a mapping of kinds to lists of names",
                    section.text
                );
                self.report(Code::EXPECTED_YAML_INVALID_TYPE, node.span, message);
                Vec::new()
            }
        }
    }

    fn kind(
        &mut self,
        section: &Key,
        key: &Key,
        list: &Node,
    ) -> Option<(String, BTreeSet<String>)> {
        let Some(kind) = self.kinds.iter().find(|kind| kind.name == key.text) else {
            let known: Vec<_> = self.kinds.iter().map(|kind| kind.name.as_str()).collect();
            self.unknown(Code::EXPECTED_YAML_UNKNOWN_KIND, key, &known);
            return None;
        };
        if section.text == MUST_NOT && kind.must_not_contain == MustNotContain::Unsupported {
            let message = format!("`{MUST_NOT}` is not supported for `{}`", kind.name);
            let problem = problem(Code::EXPECTED_YAML_UNSUPPORTED_FIELD, message)
                .at(self.gather.location(key.span, ""));
            self.problems.push(problem.help(
                "remove the key, or change `must_not_contain` of the kind in the configuration",
            ));
            return None;
        }
        Some((
            kind.name.clone(),
            self.names(&format!("{}.{}", section.text, kind.name), list),
        ))
    }

    fn names(&mut self, key: &str, list: &Node) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let Value::List(items) = &list.value else {
            if list.is_null() {
                self.warn(key, "lists nothing");
            } else {
                self.report(
                    Code::EXPECTED_YAML_INVALID_TYPE,
                    list.span,
                    format!("`{key}` must be a list of names: write `[…]`"),
                );
            }
            return names;
        };
        for item in items {
            match &item.value {
                Value::Scalar { text, .. } if !item.is_null() => {
                    if text.is_empty() {
                        self.warn(key, "has an empty name, which asserts nothing");
                    } else if !names.insert(text.clone()) {
                        self.warn(key, &format!("lists `{text}` more than once"));
                    }
                }
                _ => self.report(
                    Code::EXPECTED_YAML_INVALID_TYPE,
                    item.span,
                    format!("`{key}` must contain only names"),
                ),
            }
        }
        names
    }

    fn unknown(&mut self, code: Code, key: &Key, known: &[&str]) {
        let message = if code == Code::EXPECTED_YAML_UNKNOWN_KIND {
            "unknown kind"
        } else {
            "unknown key"
        };
        let problem = problem(code, message).at(self.gather.location(key.span, ""));
        let hint = match nearest(&key.text, known) {
            _ if known.is_empty() => {
                "the configuration declares no kinds: add them under `inventory.kinds`".to_owned()
            }
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("expected one of: {}", known.join(", ")),
        };
        self.problems.push(problem.help(hint));
    }

    fn report(&mut self, code: Code, span: Span, message: String) {
        self.problems
            .push(problem(code, message).at(self.gather.location(span, "")));
    }

    fn warn(&mut self, key: &str, defect: &str) {
        let warning = Check::new(
            Code::EXPECTED_YAML_INVALID_TYPE,
            Status::Warn,
            format!("`{key}` {defect}"),
        );
        self.warnings.push(warning.item(key));
    }
}

/// Every violation, in the order of the kinds: missing entries first, then forbidden ones.
pub(crate) fn check(contract: &Contract, found: &Enumeration) -> Vec<Check> {
    let mut findings = Vec::new();
    let mut fail = |code, kind: &str, name: &str, detail: String| {
        let check = Check::new(code, Status::Fail, detail);
        findings.push(check.item(format!("{kind}/{name}")));
    };
    for (kind, names) in &found.kinds {
        for name in names_of(&contract.must_contain, kind) {
            if !names.contains(name) {
                let detail =
                    format!("`{name}` is missing from `{kind}`, but the contract requires it");
                fail(Code::INVENTORY_MUST_CONTAIN_MISSING, kind, name, detail);
            }
        }
        for name in names_of(&contract.must_not_contain, kind) {
            if names.contains(name) {
                let detail = format!("`{name}` is in `{kind}`, but the contract forbids it");
                fail(Code::INVENTORY_MUST_NOT_CONTAIN_PRESENT, kind, name, detail);
            }
        }
    }
    findings
}

fn names_of<'n>(names: &'n Names, kind: &str) -> impl Iterator<Item = &'n String> {
    let section = names.iter().find(|(name, _)| name == kind);
    section.into_iter().flat_map(|(_, names)| names)
}

/// A contract that asserts every name that was found.
pub(crate) fn write(found: &Enumeration) -> String {
    if found.kinds.is_empty() {
        return format!("{MUST}: {{}}\n");
    }
    let mut text = format!("{MUST}:\n");
    for (kind, names) in &found.kinds {
        let empty = if names.is_empty() { " []" } else { "" };
        let _ = writeln!(text, "  {}:{empty}", scalar(kind));
        for name in names {
            let _ = writeln!(text, "    - {}", scalar(name));
        }
    }
    text
}

/// `text` as a YAML scalar that every parser interprets as this string: plain only if that is
/// unambiguous.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_plain {
        return text.to_owned();
    }
    let quoted: String = text.chars().map(quoted).collect();
    // A runner treats `##[` as a command anywhere in a line.
    format!("\"{}\"", quoted.replace("##[", "##\\u005b"))
}

/// A character within double quotes.
fn quoted(c: char) -> String {
    match c {
        '"' | '\\' => format!("\\{c}"),
        // Hidden characters include those that YAML 1.2 does not print or treats as line breaks or
        // a byte order mark.
        c if is_hidden(c) || c == '\u{a0}' => match u32::from(c) {
            code @ ..=0xffff => format!("\\u{code:04x}"),
            code => format!("\\U{code:08x}"),
        },
        c => c.to_string(),
    }
}

#[cfg(test)]
mod tests;
