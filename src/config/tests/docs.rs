//! docs/configuration.md: its tables list every key, and its examples parse.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    base::error::SourceText,
    config::{self, Config, keys},
};

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")
}

/// docs/configuration.md with generated rows: a comment before a table lists its keys, each for
/// itself and for all keys in its value.
fn configuration_md() -> String {
    const HEAD: &str = "| key | type | default | meaning |\n| --- | --- | --- | --- |\n";
    let text = fs::read_to_string(page()).unwrap();
    let mut rows = keys::reference::<Config>();
    let mut page = String::new();
    for (number, section) in text.split("<!-- keys: ").enumerate() {
        if number == 0 {
            page.push_str(section);
            continue;
        }
        let (keys, rest) = section.split_once(" -->\n").unwrap();
        let _ = write!(page, "<!-- keys: {keys} -->\n{HEAD}");
        for key in keys.split(' ') {
            let is_within = |path: &str| {
                let rest = path.strip_prefix(key);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            assert!(rows.iter().any(|(path, _)| is_within(path)), "{key}");
            for (_, row) in rows.extract_if(.., |(path, _)| is_within(path)) {
                page.push_str(&row);
                page.push('\n');
            }
        }
        let prose = rest.lines().skip_while(|line| line.starts_with('|'));
        for line in prose {
            page.push_str(line);
            page.push('\n');
        }
    }
    assert!(rows.is_empty(), "docs/configuration.md is missing {rows:?}");
    page
}

/// `UPDATE_DOCS=1` writes the file instead of comparing it.
#[test]
fn configuration_md_is_generated() {
    let expected = configuration_md();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(page(), &expected).unwrap();
    }
    assert!(
        fs::read_to_string(page()).unwrap() == expected,
        "the tables of docs/configuration.md differ from the declared keys; run: \
         UPDATE_DOCS=1 cargo nextest run md_is_generated"
    );
}

#[test]
fn examples_of_the_configuration_parse() {
    let text = fs::read_to_string(page()).unwrap();
    let blocks: Vec<_> = text
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() > 10);
    for block in blocks {
        let mut whole = String::new();
        for (key, needed) in [
            ("version", "version: 1"),
            ("files", "files: ['*.yml']"),
            ("images", "images: { x: { repository: a/b, pins: 1 } }"),
        ] {
            if !block
                .lines()
                .any(|line| line.starts_with(&format!("{key}:")))
            {
                whole = whole + needed + "\n";
            }
        }
        whole.push_str(block);
        let source = SourceText {
            name: "example".to_owned(),
            text: whole.as_str().into(),
        };
        let problems = config::parse(&source, Path::new("/"), &config::SetPath::top())
            .err()
            .unwrap_or_default();
        assert!(problems.is_empty(), "{whole}\n{}", problems[0]);
    }
}
