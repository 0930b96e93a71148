//! SARIF 2.1.0: the findings and errors of one run as one log.
//!
//! Foreign text is escaped for messages of SARIF; the caller escapes hidden characters when it prints the
//! log. The same run gives the same log, without the time, the host name or an absolute path.

use std::{collections::HashMap, fmt::Write as _};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{explain::subject, github::with_help, json::ErrorRow};
use crate::{
    base::error::{Code, Error, Errors, Explanation},
    config::Config,
    core::{
        checks::{Check, FileLocation, Status},
        pins::FoundPins,
    },
};

/// The schema that the logs follow.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The rule of a listed pin, which is not a check.
const PIN: &str = "pin";

/// A location in a file of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// The path from the top of the repository, with `/` between directories.
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in UTF-16 code units; `None` for the whole line.
    pub column: Option<usize>,
}

/// Converts a location in a file to one of the log; `None` for a file outside of the repository.
pub(crate) trait Locate {
    /// Converts a location in a file below the root.
    fn in_root(&mut self, location: &FileLocation) -> Option<Location>;

    /// Converts the location of an error. Its path is relative to the current directory or the root.
    fn of_error(&mut self, location: &FileLocation) -> Option<Location>;
}

#[derive(Debug)]
pub(crate) struct Finding {
    rule: &'static str,
    level: &'static str,
    message: String,
    /// The location of the finding, followed by related locations.
    locations: Vec<FileLocation>,
    properties: Vec<(&'static str, String)>,
    /// The input of the fingerprint: values that do not change when lines move.
    identity: Vec<String>,
}

/// The findings of a run, and the rules that were checked.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    rules: Vec<&'static str>,
    found: Vec<Finding>,
}

impl Findings {
    /// The checks that did not pass. A check without a location gets that of its image in the configuration, or
    /// the first line of the configuration.
    pub(crate) fn from_checks(config: &Config, checks: &[Check]) -> Self {
        let mut findings = Self::default();
        for check in checks {
            findings.rule(check.code.as_str());
            let level = match check.status {
                Status::Pass => continue,
                Status::Fail => "error",
                Status::Warn => "warning",
                Status::Skip => "note",
            };
            findings
                .found
                .push(Finding::from_check(config, check, level));
        }
        findings
    }

    /// Every pin, and the checks about malformed pins and unreadable files.
    pub(crate) fn from_scan(config: &Config, found: &FoundPins, checks: &[Check]) -> Self {
        let codes = [Code::PIN_UNSUPPORTED, Code::FILE_UNSAFE];
        let mut checks = checks.to_vec();
        checks.retain(|check| codes.contains(&check.code));
        let mut findings = Self::from_checks(config, &checks);
        findings.rule(PIN);
        for pin in found.pins() {
            let (file, pin) = (pin.file.to_string(), &pin.item);
            let image = &config.images[pin.image];
            let tag = match &pin.tag {
                Some(tag) => format!(":{tag}"),
                None => String::new(),
            };
            let pointer = pin.split.as_ref().and_then(|split| split.pointer.clone());
            findings.found.push(Finding {
                rule: PIN,
                level: "none",
                message: format!("{}: {}{tag}@{}", image.name, image.repository, pin.digest),
                properties: vec![
                    ("image", image.name.clone()),
                    ("digest", pin.digest.to_string()),
                ],
                identity: vec![
                    image.name.clone(),
                    file.clone(),
                    pointer.unwrap_or_default(),
                ],
                locations: vec![FileLocation {
                    file,
                    line: pin.line,
                    column: pin.column,
                }],
            });
        }
        findings
    }

    /// Adds the findings of another set with the root `directory`: empty, or with a final `/`.
    pub(crate) fn add(&mut self, others: Self, directory: &str) {
        for rule in others.rules {
            self.rule(rule);
        }
        for mut finding in others.found {
            for location in &mut finding.locations {
                location.file.insert_str(0, directory);
            }
            // The directory of a set at the top is empty, as without `--all`.
            if !directory.is_empty() {
                finding.identity.insert(0, directory.to_owned());
            }
            self.found.push(finding);
        }
    }

    /// The findings, each with a fingerprint that does not depend on lines.
    pub(crate) fn fingerprinted(&self) -> Vec<(&Finding, String)> {
        let mut ordinals: HashMap<String, usize> = HashMap::new();
        let mut all = Vec::new();
        for finding in &self.found {
            let key = format!("{}\0{}", finding.rule, finding.identity.join("\0"));
            let ordinal = ordinals.entry(key.clone()).or_default();
            *ordinal += 1;
            let fingerprint = hex::encode(Sha256::digest(format!("{key}\0{ordinal}")));
            all.push((finding, fingerprint));
        }
        all
    }

    fn rule(&mut self, code: &'static str) {
        if !self.rules.contains(&code) {
            self.rules.push(code);
        }
    }
}

impl Finding {
    pub(crate) fn rule(&self) -> &'static str {
        self.rule
    }

    /// The level of SARIF.
    pub(crate) fn level(&self) -> &'static str {
        self.level
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Its first location.
    pub(crate) fn location(&self) -> &FileLocation {
        &self.locations[0]
    }

    fn from_check(config: &Config, check: &Check, level: &'static str) -> Self {
        // The locations contain an item that is a place.
        let item = check.item.as_ref().filter(|item| {
            let mut locations = check.locations.iter();
            locations.all(|location| location.to_string() != **item)
        });
        let mut locations = check.locations.clone();
        // The remedy for a wrong count is at its declaration.
        if locations.is_empty() || check.code == Code::PIN_COUNT {
            locations.insert(0, declaration(config, check.image.as_deref()));
        }
        let mut message = match (&check.cause, check.code) {
            // The evidence would repeat the locations.
            (Some(cause), Code::PIN_COUNT) => cause.clone(),
            _ => check.describe(),
        };
        let subject = subject(check);
        if !subject.is_empty() {
            message = format!("{subject}: {message}");
        }
        let mut properties = Vec::new();
        let mut identity = vec![locations[0].file.clone()];
        for (key, value) in [
            ("image", check.image.as_ref()),
            ("platform", check.platform.as_ref()),
            ("item", item),
        ] {
            if let Some(value) = value {
                properties.push((key, value.clone()));
                identity.push(format!("{key}={value}"));
            }
        }
        Self {
            rule: check.code.as_str(),
            level,
            message: with_help(&message, check.help.as_deref()),
            locations,
            properties,
            identity,
        }
    }
}

/// The declaration of an image's count, or the first line of the configuration.
fn declaration(config: &Config, image: Option<&str>) -> FileLocation {
    let (line, column) = image
        .and_then(|name| config.count_at(name))
        .unwrap_or((1, 1));
    FileLocation {
        file: config.file_name().to_owned(),
        line,
        column,
    }
}

/// The log of a run with this exit.
pub(crate) fn log(
    findings: &Findings,
    errors: Option<&Errors>,
    exit: u8,
    locate: &mut dyn Locate,
) -> Value {
    let mut results = Vec::new();
    for (finding, fingerprint) in findings.fingerprinted() {
        let index = findings.rules.iter().position(|rule| *rule == finding.rule);
        let mut located = finding
            .locations
            .iter()
            .filter_map(|location| locate.in_root(location));
        let first: Vec<_> = located.next().iter().map(location).collect();
        let others: Vec<_> = located.map(|other| location(&other)).collect();
        let kind = if finding.level == "none" {
            "informational"
        } else {
            "fail"
        };
        let properties: serde_json::Map<_, _> = finding
            .properties
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Value::String(value.clone())))
            .collect();
        results.push(json!({
            "ruleId": finding.rule,
            "ruleIndex": index,
            "kind": kind,
            "level": finding.level,
            "message": { "text": message(&finding.message) },
            "locations": first,
            "relatedLocations": others,
            "partialFingerprints": { "repinFinding/v1": fingerprint },
            "properties": properties,
        }));
    }
    let errors: Vec<_> = errors.into_iter().flatten().collect();
    let mut codes: Vec<&str> = Vec::new();
    for error in &errors {
        if !codes.contains(&error.code.as_str()) {
            codes.push(error.code.as_str());
        }
    }
    let notifications: Vec<_> = errors
        .iter()
        .map(|error| notification(error, &codes, locate))
        .collect();
    let rules = findings.rules.iter().map(|code| descriptor(code));
    let faults = codes.iter().map(|code| descriptor(code));
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "repin",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.collect::<Vec<_>>(),
                "notifications": faults.collect::<Vec<_>>(),
            }},
            "columnKind": "utf16CodeUnits",
            "invocations": [{
                "executionSuccessful": errors.is_empty(),
                "exitCode": exit,
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    })
}

fn notification(error: &Error, codes: &[&str], locate: &mut dyn Locate) -> Value {
    let row = ErrorRow::of(error);
    let written = error.location.as_ref().map(|location| {
        let (line, column) = location.line_column();
        FileLocation {
            file: location.source.name.clone(),
            line,
            column,
        }
    });
    let located = written.and_then(|location| locate.of_error(&location));
    json!({
        "descriptor": {
            "id": row.code,
            "index": codes.iter().position(|code| *code == row.code),
        },
        "level": "error",
        "message": { "text": message(&with_help(&row.message, row.hint.as_deref())) },
        "locations": located.iter().map(location).collect::<Vec<_>>(),
    })
}

fn location(location: &Location) -> Value {
    let mut region = json!({ "startLine": location.line });
    if let Some(column) = location.column {
        region["startColumn"] = column.into();
    }
    json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(&location.path), "uriBaseId": "%SRCROOT%" },
            "region": region,
        }
    })
}

/// A rule, with the explanation of `repin explain`.
fn descriptor(code: &str) -> Value {
    let Some(known) = Code::of(code) else {
        let text = "An image of the configuration, pinned by digest. Listed, not checked.";
        return json!({
            "id": code,
            "shortDescription": { "text": text },
            "fullDescription": { "text": text },
            "help": { "text": "Verify pins with `repin check`." },
            "defaultConfiguration": { "level": "none" },
        });
    };
    let found = known.explanation();
    let level = if found.exits == [0] {
        "warning"
    } else {
        "error"
    };
    json!({
        "id": code,
        "shortDescription": { "text": message(found.summary) },
        "fullDescription": { "text": message(found.meaning) },
        "help": { "text": message(&help(found, "")), "markdown": message(&help(found, "`")) },
        "defaultConfiguration": { "level": level },
    })
}

/// The causes and the remedy; `quote` encloses commands.
fn help(found: &Explanation, quote: &str) -> String {
    let mut text = "Common causes:\n\n".to_owned();
    for cause in found.causes {
        text = text + "- " + cause + "\n";
    }
    let Explanation {
        remedy, example, ..
    } = found;
    format!("{text}\nWhat to do: {remedy}\n\nExample: {quote}{example}{quote}")
}

/// Escapes text for a message: braces enclose placeholders (SARIF 2.1.0, 3.11.5), and brackets followed by
/// a parenthesis form a link (3.11.6).
fn message(text: &str) -> String {
    text.replace('{', "{{")
        .replace('}', "}}")
        .replace("](", "] (")
}

/// Encodes a path as a relative URI reference (RFC 3986).
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            _ => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}
