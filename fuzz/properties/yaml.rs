//! The configuration and contracts: locations are within the text, limits hold, and written files
//! are read back.

use std::path::Path;

use regex::bytes::Regex;

use super::text;
use crate::{
    base::error::{Error, SourceText},
    config::{Operation, parse, parse_past, yaml},
    contents::inventory::{Enumeration, Kind, MustNotContain},
    core::checks::contract,
    git::check_branch,
    oci::Pattern,
};

/// The configuration.
pub fn configuration(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let source = SourceText {
        name: "repin.yaml".to_owned(),
        text: text.into(),
    };
    let (tree, faults) = yaml::parse(text);
    for error in &faults {
        spans(text, error.span.start, error.span.end);
    }
    if let Some(tree) = &tree {
        nodes(text, tree, 0);
    }
    match parse(&source, Path::new("/root"), &crate::config::SetPath::top()) {
        Ok(config) => {
            assert!(
                faults.is_empty()
                    && parse_past(&source, Path::new("/root"), &crate::config::SetPath::top())
                        .is_ok()
            );
            assert!(config.images.iter().any(|image| image.pins > 0));
            for (at, image) in config.images.iter().enumerate() {
                assert!(image.pins <= 1_000_000 && !image.name.is_empty());
                let twins = config
                    .images
                    .iter()
                    .filter(|other| other.name == image.name);
                assert_eq!(twins.count(), 1, "{}", image.name);
                assert!(config.image(&image.name).is_some(), "{at}");
                spans(text, image.pins_at.start, image.pins_at.end);
                if let Some(path) = &image.contract {
                    beneath(path.as_path());
                }
            }
            if let Ok(revision) = Pattern::parse(".*").unwrap().revision(&"0a".repeat(20)) {
                for operation in Operation::ALL {
                    let templates = config.templates(operation);
                    let branch = templates.branch.render(&revision, &config.name);
                    assert!(check_branch(&branch).is_ok(), "{branch}");
                    let title = templates.title.render(&revision, &config.name);
                    assert_eq!(
                        templates.title.revision_in(&title, &config.name),
                        Some(revision.as_str())
                    );
                }
            }
        }
        Err(errors) => check_errors(text, &errors),
    }
}

/// A path that stays beneath its directory.
fn beneath(path: &Path) {
    let normal = |part| matches!(part, std::path::Component::Normal(_));
    assert!(path.components().all(normal), "{}", path.display());
}

/// Checks that every value is within the text, keys differ, and nesting is bounded.
fn nodes(text: &str, node: &yaml::Node, depth: usize) {
    assert!(depth <= 64);
    spans(text, node.span.start, node.span.end);
    match &node.value {
        yaml::Value::Scalar { text: value, plain } => {
            // The text of a plain scalar on one line is its bytes.
            let there = &text[node.span.start..node.span.end];
            if *plain && !there.contains(['\n', '\r']) && !there.is_empty() {
                assert_eq!(there.trim_end(), value);
            }
        }
        yaml::Value::List(items) => items.iter().for_each(|item| nodes(text, item, depth + 1)),
        yaml::Value::Map(entries) => {
            for (key, value) in entries {
                spans(text, key.span.start, key.span.end);
                nodes(text, value, depth + 1);
            }
        }
    }
}

/// Checks that a location can be shown: it is within the text, between characters.
fn spans(text: &str, start: usize, end: usize) {
    assert!(
        start <= end && text.get(start..end).is_some(),
        "{start}..{end}"
    );
}

/// Checks that every error has a location that can be shown.
fn check_errors(text: &str, errors: &[Error]) {
    assert!(!errors.is_empty());
    for error in errors {
        assert!(!error.message.is_empty());
        if let Some(location) = &error.location {
            spans(text, location.span.start, location.span.end);
            let (line, column) = location.line_column();
            assert!(line >= 1 && column >= 1);
        }
    }
}

/// Contracts, and the documents that list what an image contains.
pub fn contracts(input: &[u8]) {
    let kind = |name: &str, must_not_contain| Kind {
        name: name.to_owned(),
        paths: vec![Regex::new("^(.*)$").unwrap()],
        must_not_contain,
        non_empty: false,
    };
    let kinds = [
        kind("agents", MustNotContain::Supported),
        kind("skills", MustNotContain::Unsupported),
    ];
    match contract::parse("expected.yaml", input, &kinds) {
        Ok((contract, _)) => {
            let sections = [&contract.must_contain, &contract.must_not_contain];
            assert!(
                sections
                    .iter()
                    .any(|names| names.iter().any(|(_, names)| !names.is_empty()))
            );
            let all = sections.into_iter().flatten();
            for (name, names) in all {
                assert!(kinds.iter().any(|kind| kind.name == *name));
                assert!(names.iter().all(|name| !name.is_empty()));
            }
            assert!(
                contract
                    .must_not_contain
                    .iter()
                    .all(|(name, _)| name == "agents")
            );
        }
        Err(errors) => check_errors(text(input).unwrap_or_default(), &errors),
    }
    if let Ok(found) = Enumeration::from_json("listing", input, &kinds) {
        let again = Enumeration::from_json("listing", found.to_json().as_bytes(), &kinds).unwrap();
        assert_eq!(again, found);
    }
    // A contract that is written for any names is parsed to the same names, and they satisfy it.
    let names = String::from_utf8_lossy(input);
    let mut names = names.split('\n').filter(|name| !name.is_empty());
    let found = Enumeration {
        kinds: vec![
            (
                "agents".to_owned(),
                names.by_ref().take(2).map(str::to_owned).collect(),
            ),
            ("skills".to_owned(), names.map(str::to_owned).collect()),
        ],
        not_utf8: Vec::new(),
    };
    if found.is_empty() {
        return;
    }
    let written = contract::write(&found);
    if written.len() > 1024 * 1024 {
        return;
    }
    let (read, warnings) = contract::parse("expected.yaml", written.as_bytes(), &kinds).unwrap();
    let expected: Vec<_> = found
        .kinds
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .collect();
    let written: Vec<_> = read
        .must_contain
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .collect();
    assert_eq!(written, expected);
    assert!(warnings.is_empty() && read.must_not_contain.is_empty());
    assert!(contract::check(&read, &found).is_empty());
    let json = found.to_json();
    assert_eq!(
        Enumeration::from_json("l", json.as_bytes(), &kinds).unwrap(),
        found
    );
}
