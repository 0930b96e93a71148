//! SARIF 2.1.0: findings and errors of one run as one log.
//!
//! Locations come in as they are shown: paths from the top of the repository, columns in UTF-16 code
//! units. Text of others is escaped for SARIF's messages; the characters that no reader may see are
//! for whoever prints the log. A log is a function of its run: no clock, no host, no absolute path.

use std::{collections::HashMap, fmt::Write as _};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{annotations::with_help, json::ErrorRow};
use crate::{
    checks::{Check, FilePlace, Status},
    code::{Code, Explanation},
    config::Config,
    error::{Error, Errors},
    pins::Found,
};

/// The schema that the logs follow.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The rule of a listed pin, which is no check.
const PIN: &str = "pin";

/// A location in a file of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The path from the top of the repository, `/` between directories.
    pub path: String,
    /// 1-based.
    pub line: usize,
    /// 1-based, in UTF-16 code units; `None`: the whole line.
    pub column: Option<usize>,
}

/// Turns a place of the program into a location of the log; `None`: outside of the repository.
pub trait Locate {
    /// The location of a place in a file beneath the root.
    fn in_root(&mut self, place: &FilePlace) -> Option<Location>;

    /// The location of an error's place, whose file is named as people see it.
    fn shown(&mut self, place: &FilePlace) -> Option<Location>;
}

/// One thing that a run found.
#[derive(Debug)]
pub struct Finding {
    rule: &'static str,
    level: &'static str,
    message: String,
    /// The first is where the finding is, the others belong to it.
    places: Vec<FilePlace>,
    /// What the finding is about: keys and values.
    about: Vec<(&'static str, String)>,
    /// What stays the same while lines move.
    identity: Vec<String>,
}

/// The findings of a run, and the rules that were looked at.
#[derive(Debug, Default)]
pub struct Findings {
    rules: Vec<&'static str>,
    found: Vec<Finding>,
}

impl Findings {
    /// The checks that did not pass. A check without a place points at the image in the
    /// configuration, or at the configuration's first line.
    pub fn of_checks(config: &Config, checks: &[Check]) -> Self {
        let mut findings = Self::default();
        for check in checks {
            findings.rule(check.code.as_str());
            let level = match check.status {
                Status::Pass => continue,
                Status::Fail => "error",
                Status::Warn => "warning",
                Status::Skip => "note",
            };
            findings.found.push(Finding::of_check(config, check, level));
        }
        findings
    }

    /// Every pin, and what fails in the files themselves among `checks`.
    pub fn of_scan(config: &Config, found: &Found, checks: &[Check]) -> Self {
        let files = [Code::PIN_UNSUPPORTED, Code::FILE_UNSAFE];
        let wrong = |check: &&Check| files.contains(&check.code);
        let wrong: Vec<_> = checks.iter().filter(wrong).cloned().collect();
        let mut findings = Self::of_checks(config, &wrong);
        findings.rule(PIN);
        for pin in found.pins() {
            let image = &config.images[pin.what.image];
            let tag = pin.what.tag.as_ref();
            let tag = tag.map_or_else(String::new, |tag| format!(":{tag}"));
            let file = pin.file.to_string();
            let pointer = pin
                .what
                .split
                .as_ref()
                .and_then(|split| split.pointer.clone());
            findings.found.push(Finding {
                rule: PIN,
                level: "none",
                message: format!(
                    "{}: {}{tag}@{}",
                    image.name, image.repository, pin.what.digest
                ),
                about: vec![
                    ("image", image.name.clone()),
                    ("digest", pin.what.digest.to_string()),
                ],
                identity: vec![
                    image.name.clone(),
                    file.clone(),
                    pointer.unwrap_or_default(),
                ],
                places: vec![FilePlace {
                    file,
                    line: pin.what.line,
                    column: pin.what.column,
                }],
            });
        }
        findings
    }

    fn rule(&mut self, code: &'static str) {
        if !self.rules.contains(&code) {
            self.rules.push(code);
        }
    }
}

impl Finding {
    fn of_check(config: &Config, check: &Check, level: &'static str) -> Self {
        let own = |place: &FilePlace| check.item.as_ref() != Some(&place.to_string());
        let item = check.item.as_ref();
        let item = item.filter(|_| check.places.iter().all(own));
        let mut places = check.places.clone();
        // A wrong count is corrected where it is declared.
        if places.is_empty() || check.code == Code::PIN_COUNT {
            places.insert(0, declared(config, check.image.as_deref()));
        }
        let message = match (&check.cause, check.code) {
            // The evidence also lists the places.
            (Some(cause), Code::PIN_COUNT) => cause.clone(),
            _ => check.describe(),
        };
        let subject = [&check.image, &check.platform];
        let subject: Vec<_> = subject.into_iter().flatten().map(String::as_str).collect();
        let message = match subject.as_slice() {
            [] => message,
            subject => format!("{}: {message}", subject.join(" ")),
        };
        let about = [
            ("image", check.image.as_ref()),
            ("platform", check.platform.as_ref()),
            ("item", item),
        ];
        let about = about.into_iter();
        let about: Vec<_> = about
            .filter_map(|(key, value)| Some((key, value?.clone())))
            .collect();
        let mut identity = vec![places[0].file.clone()];
        identity.extend(about.iter().map(|(key, value)| format!("{key}={value}")));
        Self {
            rule: check.code.as_str(),
            level,
            message: with_help(&message, check.help.as_deref()),
            places,
            about,
            identity,
        }
    }
}

/// Where an image is declared, or the beginning of the configuration.
fn declared(config: &Config, image: Option<&str>) -> FilePlace {
    let (line, column) = image
        .and_then(|name| config.count_at(name))
        .unwrap_or((1, 1));
    FilePlace {
        file: config.file_name().to_owned(),
        line,
        column,
    }
}

/// The log of a run that ends with `exit`.
pub fn log(
    findings: &Findings,
    errors: Option<&Errors>,
    exit: u8,
    locate: &mut dyn Locate,
) -> Value {
    let mut ordinals: HashMap<String, usize> = HashMap::new();
    let mut result = |finding: &Finding| {
        let key = format!("{}\0{}", finding.rule, finding.identity.join("\0"));
        let ordinal = ordinals.entry(key.clone()).or_default();
        *ordinal += 1;
        let fingerprint = hex::encode(Sha256::digest(format!("{key}\0{ordinal}")));
        let index = findings.rules.iter().position(|rule| *rule == finding.rule);
        let mut located = finding
            .places
            .iter()
            .filter_map(|place| locate.in_root(place));
        let first: Vec<_> = located.next().iter().map(location).collect();
        let others: Vec<_> = located.map(|other| location(&other)).collect();
        let kind = if finding.level == "none" {
            "informational"
        } else {
            "fail"
        };
        let about = finding.about.iter().cloned();
        let about = about.map(|(key, value)| (key.to_owned(), Value::String(value)));
        json!({
            "ruleId": finding.rule,
            "ruleIndex": index,
            "kind": kind,
            "level": finding.level,
            "message": { "text": message(&finding.message) },
            "locations": first,
            "relatedLocations": others,
            "partialFingerprints": { "repinFinding/v1": fingerprint },
            "properties": about.collect::<serde_json::Map<_, _>>(),
        })
    };
    let results: Vec<_> = findings.found.iter().map(&mut result).collect();
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
    let place = error.place.as_ref().map(|place| {
        let (line, column) = place.line_column();
        FilePlace {
            file: place.source.name.clone(),
            line,
            column,
        }
    });
    let located = place.and_then(|place| locate.shown(&place));
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

/// A rule, as `repin explain` explains it.
fn descriptor(code: &str) -> Value {
    let Some(known) = Code::of(code) else {
        let text = "An image of the configuration, pinned by digest. Listed, not judged.";
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

/// Causes and remedy; `quote` stands around commands.
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

/// Text as a message: braces are doubled, since they enclose placeholders (SARIF 2.1.0, 3.11.5), and
/// no text of others becomes a link (3.11.6).
fn message(text: &str) -> String {
    text.replace('{', "{{")
        .replace('}', "}}")
        .replace("](", "] (")
}

/// A path as a relative URI reference (RFC 3986): everything but unreserved characters is encoded.
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
