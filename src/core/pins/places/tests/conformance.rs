//! The cases of yaml-test-suite: the tree of each document, compared with the events of the suite.
//!
//! `scripts/conformance` runs [`suite`]; the reasons for differences are in `scripts/conformance.yaml`.

use std::fs;

use granit_parser::ScalarStyle;
use serde_yaml_ng::Value;

use crate::{
    conformance::{Case, check, directories, suites::visible},
    core::pins::places::{
        same_events,
        yaml::{Document, Id, Kind, documents},
    },
};

/// The events of the suite without anchors and tags, which a tree does not contain.
fn stated(tree: &str) -> Vec<String> {
    let mut events = Vec::new();
    for line in tree.lines() {
        let line = line.trim_start();
        let (kind, rest) = line.split_at(line.len().min(4));
        if !["+DOC", "+SEQ", "+MAP", "=VAL", "=ALI", "-SEQ", "-MAP"].contains(&kind) {
            continue;
        }
        let mut rest = rest.trim_start();
        let mut event = kind.to_owned();
        while !rest.is_empty() && kind != "+DOC" && kind != "=ALI" {
            let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
            match rest.as_bytes()[0] {
                b'&' => event.push_str(" &"),
                b'<' if word == "<tag:yaml.org,2002:str>" => {}
                b'<' => event.push_str(" !"),
                b'[' | b'{' => {}
                _ => {
                    event.push(' ');
                    event.push_str(&unescaped(rest));
                    break;
                }
            }
            rest = behind;
        }
        events.push(event);
    }
    events
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next().unwrap() {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                other => other,
            },
            c => c,
        });
    }
    out
}

fn events(document: &Document<'_>, id: Id, out: &mut Vec<String>) {
    let node = document.node(id);
    let mut event = String::new();
    if node.anchored {
        event.push_str(" &");
    }
    if node.tagged {
        event.push_str(" !");
    }
    match node.kind {
        Kind::Alias => {
            assert!(document.resolved(id).is_some());
            out.push("=ALI".to_owned());
        }
        Kind::Scalar(style) => {
            let sign = match style {
                ScalarStyle::Plain => ':',
                ScalarStyle::SingleQuoted => '\'',
                ScalarStyle::DoubleQuoted => '"',
                ScalarStyle::Literal => '|',
                ScalarStyle::Folded => '>',
            };
            let text = document.scalar(id).unwrap();
            if document.is_verbatim(id) && !matches!(sign, '|' | '>') {
                assert_eq!(&document.text[document.within_quotes(id)], text);
            }
            out.push(format!("=VAL{event} {sign}{text}"));
        }
        Kind::List => {
            out.push(format!("+SEQ{event}"));
            for item in document.list(id) {
                events(document, *item, out);
            }
            out.push("-SEQ".to_owned());
        }
        Kind::Map => {
            out.push(format!("+MAP{event}"));
            for (key, value) in document.map(id) {
                events(document, key, out);
                events(document, value, out);
            }
            out.push("-MAP".to_owned());
        }
    }
}

/// The events of a text, or the reason of its refusal.
fn read(text: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let ended = documents(text, |document| {
        out.push("+DOC".to_owned());
        document
            .root
            .into_iter()
            .for_each(|root| events(document, root, &mut out));
    });
    ended.map(|()| out).map_err(|fault| fault.reason)
}

/// The cases of one file of the suite.
fn cases(name: &str, file: &str) -> Vec<Case> {
    let items: Vec<Value> = serde_yaml_ng::from_str(file).unwrap();
    let mut cases = Vec::new();
    // A missing field has the value of the case before.
    let mut tree = String::new();
    for (at, item) in items.iter().enumerate() {
        let text = |key: &str| item.get(key).and_then(Value::as_str);
        let fails = item.get("fail").and_then(Value::as_bool) == Some(true);
        if let Some(stated) = text("tree") {
            stated.clone_into(&mut tree);
        }
        let text = visible(text("yaml").unwrap());
        let found = read(&text);
        assert_eq!(
            same_events(text.as_bytes(), text.as_bytes(), &[], &[]),
            found.is_ok()
        );
        let refusal = found.as_ref().err().cloned();
        let difference = match (fails, found) {
            (true, Ok(_)) => Some("is read".to_owned()),
            (false, Err(reason)) => Some(format!("is refused: {reason}")),
            (true, Err(_)) => None,
            (false, Ok(found)) => {
                let stated = stated(&visible(&tree));
                (found != stated).then(|| format!("{found:?} instead of {stated:?}"))
            }
        };
        cases.push(Case {
            name: format!("{name}/{}", at + 1),
            difference,
            refusal,
        });
    }
    cases
}

#[test]
#[ignore = "scripts/conformance runs it on checkouts"]
fn suite() {
    for directory in directories() {
        let Ok(files) = fs::read_dir(directory.join("src")) else {
            continue;
        };
        let paths = files.map(|file| file.unwrap().path());
        let mut paths: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
            .collect();
        paths.sort();
        let read = |path: &std::path::PathBuf| {
            let name = path.file_stem().unwrap().to_str().unwrap();
            cases(name, &fs::read_to_string(path).unwrap())
        };
        let cases: Vec<_> = paths.iter().flat_map(read).collect();
        check("yaml-test-suite of places", cases);
    }
}

#[test]
fn cases_of_the_suite_are_read() {
    let case = |yaml: &str, tree: &str| {
        format!(
            "- yaml: |\n    {yaml}\n  tree: |\n    +STR\n     +DOC ---\n    {tree}\n     -DOC\n    -STR\n"
        )
    };
    let differs = |file: &str| cases("X", file).remove(0).difference;
    let same = case("&a !!str␣b", "  =VAL &a <tag:yaml.org,2002:str> :b");
    assert_eq!(differs(&same), None);
    for (yaml, tree) in [
        ("a", "  =VAL :b"),
        ("a", "  =VAL 'a"),
        ("a", "  =VAL &x :a"),
        ("a", "  =VAL <!x> :a"),
        ("[", "  +SEQ"),
    ] {
        assert!(differs(&case(yaml, tree)).is_some(), "{yaml}");
    }
    assert!(differs("- yaml: a\n  fail: true\n").is_some());
    assert_eq!(differs("- yaml: '['\n  fail: true\n"), None);
}
