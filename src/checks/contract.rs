//! Contracts (`expected.yaml`): parsed strictly, compared with the contents of an image, written
//! from them.
//!
//! A malformed contract gives problems with places and no verdict. The codes `expected_yaml_empty`
//! and `expected_yaml_no_assertions` stand for a contract that asserts nothing.

use std::collections::BTreeSet;

use super::{Check, Code, Status};
use crate::{
    config::{
        Kind,
        raw::{ErrorCollector, nearest},
        yaml::{Key, Node, Value},
    },
    error::{Class, Error, SourceText, Span},
    inventory::Enumeration,
    untrusted::is_hidden,
};

const MUST: &str = "must_contain";
const MUST_NOT: &str = "must_not_contain";

/// The largest contract, in bytes.
const MAX: usize = 1024 * 1024;

/// The names that an image must contain, and those that it must not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contract {
    /// Exact names by kind, in the order of the file.
    pub must_contain: Names,
    /// The names that must be absent.
    pub must_not_contain: Names,
}

/// Kinds with the names that a contract lists.
pub type Names = Vec<(String, BTreeSet<String>)>;

/// The problem of a contract that cannot be read.
pub fn not_found(name: &str, reason: &str) -> Error {
    problem(
        Code::EXPECTED_YAML_NOT_FOUND,
        format!("cannot read the contract {name}: {reason}"),
    )
    .help(
        "correct `contract:` in the configuration, or write a contract with `repin inventory init`",
    )
}

/// Reads a contract for the configured kinds; warnings come with it. All problems are reported at
/// once.
pub fn parse(
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
    let start = gather.place(Span { start: 0, end: 0 }, "");
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
            // An empty section asserts nothing; the caller judges the whole.
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
        if section.text == MUST_NOT && !kind.must_not_contain {
            let message = format!("`{MUST_NOT}` is not supported for `{}`", kind.name);
            let problem = problem(Code::EXPECTED_YAML_UNSUPPORTED_FIELD, message)
                .at(self.gather.place(key.span, ""));
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

    fn names(&mut self, at: &str, list: &Node) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let Value::List(items) = &list.value else {
            if list.is_null() {
                self.warn(at, "lists nothing");
            } else {
                self.report(
                    Code::EXPECTED_YAML_INVALID_TYPE,
                    list.span,
                    format!("`{at}` must be a list of names: write `[…]`"),
                );
            }
            return names;
        };
        for item in items {
            match &item.value {
                Value::Scalar { text, .. } if !item.is_null() => {
                    if text.is_empty() {
                        self.warn(at, "has an empty name, which asserts nothing");
                    } else if !names.insert(text.clone()) {
                        self.warn(at, &format!("lists `{text}` more than once"));
                    }
                }
                _ => self.report(
                    Code::EXPECTED_YAML_INVALID_TYPE,
                    item.span,
                    format!("`{at}` must contain only names"),
                ),
            }
        }
        names
    }

    fn unknown(&mut self, code: Code, key: &Key, known: &[&str]) {
        let what = if code == Code::EXPECTED_YAML_UNKNOWN_KIND {
            "unknown kind"
        } else {
            "unknown key"
        };
        let problem = problem(code, what).at(self.gather.place(key.span, ""));
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
            .push(problem(code, message).at(self.gather.place(span, "")));
    }

    fn warn(&mut self, at: &str, what: &str) {
        let warning = Check::new(
            Code::EXPECTED_YAML_INVALID_TYPE,
            Status::Warn,
            format!("`{at}` {what}"),
        );
        self.warnings.push(warning.item(at));
    }
}

/// Every violation, in the order of the kinds: missing names first, then forbidden ones.
pub fn check(contract: &Contract, found: &Enumeration) -> Vec<Check> {
    let listed = |names: &Names, kind: &str| -> BTreeSet<String> {
        names
            .iter()
            .find(|(name, _)| name == kind)
            .map(|(_, names)| names.clone())
            .unwrap_or_default()
    };
    let mut findings = Vec::new();
    for (kind, names) in &found.kinds {
        let has = |name: &String| names.contains(name);
        for name in listed(&contract.must_contain, kind)
            .into_iter()
            .filter(|name| !has(name))
        {
            let detail = format!("`{name}` is missing from `{kind}`, but the contract requires it");
            findings.push(
                Check::new(Code::INVENTORY_MUST_CONTAIN_MISSING, Status::Fail, detail)
                    .item(format!("{kind}/{name}")),
            );
        }
        for name in listed(&contract.must_not_contain, kind)
            .into_iter()
            .filter(has)
        {
            let detail = format!("`{name}` is in `{kind}`, but the contract forbids it");
            findings.push(
                Check::new(
                    Code::INVENTORY_MUST_NOT_CONTAIN_PRESENT,
                    Status::Fail,
                    detail,
                )
                .item(format!("{kind}/{name}")),
            );
        }
    }
    findings
}

/// A contract that asserts everything found, to start from.
pub fn write(found: &Enumeration) -> String {
    let mut lines = vec![if found.kinds.is_empty() {
        format!("{MUST}: {{}}")
    } else {
        format!("{MUST}:")
    }];
    for (kind, names) in &found.kinds {
        lines.push(format!(
            "  {}:{}",
            scalar(kind),
            if names.is_empty() { " []" } else { "" }
        ));
        lines.extend(names.iter().map(|name| format!("    - {}", scalar(name))));
    }
    lines.join("\n") + "\n"
}

/// `text` as a YAML scalar that every reader takes for this string: plain only where that is
/// unambiguous.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        return text.to_owned();
    }
    let quoted: String = text.chars().map(quoted).collect();
    // A runner takes `##[` for a command wherever it stands.
    format!("\"{}\"", quoted.replace("##[", "##\\u005b"))
}

/// A character within double quotes.
fn quoted(c: char) -> String {
    match c {
        '"' | '\\' => format!("\\{c}"),
        // Among them is what is not printable in YAML 1.2, or taken for line breaks or a byte order
        // mark.
        c if is_hidden(c) || c == '\u{a0}' => match u32::from(c) {
            code @ ..=0xffff => format!("\\u{code:04x}"),
            code => format!("\\U{code:08x}"),
        },
        c => c.to_string(),
    }
}

#[cfg(test)]
mod tests;
