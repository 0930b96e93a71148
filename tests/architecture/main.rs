//! Tests of the structure of the code: dependencies between modules, the length of functions and
//! files, and calls that only the command line may make.
//!
//! `source` parses a file into the facts that the rules need; `rules` contains the limits.

mod rules;
mod source;

use std::{fs, path::Path};

use source::Source;

/// The source files below `directory`, ordered by path.
fn sources(directory: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join(directory), &mut files);
    files.sort();
    assert!(!files.is_empty(), "{directory} contains no source");
    let read = |path: &std::path::PathBuf| {
        let name = path
            .strip_prefix(root)
            .expect("it was found below the root")
            .to_str()
            .expect("our names are ASCII");
        let text = fs::read_to_string(path).expect("our sources are UTF-8");
        Source::parse(name, &text).expect("our sources compile")
    };
    files.iter().map(read).collect()
}

fn collect(directory: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).expect("the directory is part of the project") {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// One test, because most of its time is that of parsing.
#[test]
fn sources_obey_the_rules() {
    let (src, tests) = (sources("src"), sources("tests"));
    let rules = [
        (
            "edges that CONTRIBUTING.md does not allow",
            rules::edges(&src),
        ),
        ("files in a cycle", rules::cycles(&src)),
        ("over the budget", rules::budgets(&src)),
        ("not here", rules::forbidden(&src)),
        ("no module docs (`//!`)", rules::undocumented(&src)),
        ("no module docs (`//!`)", rules::undocumented(&tests)),
    ];
    let broken: Vec<_> = rules
        .iter()
        .filter(|(_, files)| !files.is_empty())
        .map(|(rule, files)| format!("{rule}:\n  {}\n", files.join("\n  ")))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn contributing_lists_the_edges() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("CONTRIBUTING.md")).expect("the page is UTF-8");
    assert_eq!(rules::listed(&page), rules::allowed());
}
