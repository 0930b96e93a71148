//! The shape of the code, as a test: which module may use which, how long functions and files may
//! be, and what has no place outside the command line.
//!
//! `source` turns a file into what it says and how long that is; `rules` holds the limits. What
//! compiles, what clippy finds and what the program does are for others to test.

mod rules;
mod source;

use std::{fs, path::Path};

use source::Source;

/// Every file of repin's under `directory`, in the order of their paths.
fn sources(directory: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join(directory), &mut files);
    files.sort();
    assert!(!files.is_empty(), "{directory} holds no source");
    let read = |path: &std::path::PathBuf| {
        let name = path
            .strip_prefix(root)
            .expect("it was found beneath the root")
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

fn assert_none(what: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{what}:\n  {}\n", broken.join("\n  "));
}

#[test]
fn modules_use_only_what_lies_below_them() {
    assert_none(
        "edges that CONTRIBUTING.md does not allow",
        &rules::edges(&sources("src")),
    );
}

#[test]
fn contributing_lists_the_edges() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("CONTRIBUTING.md")).expect("the page is UTF-8");
    assert_eq!(rules::listed(&page), rules::allowed());
}

#[test]
fn no_files_need_each_other() {
    assert_none("files in a cycle", &rules::cycles(&sources("src")));
}

#[test]
fn functions_and_files_are_short() {
    assert_none("over the budget", &rules::budgets(&sources("src")));
}

#[test]
fn nothing_stops_the_program_or_speaks_past_the_command_line() {
    assert_none("not here", &rules::forbidden(&sources("src")));
}

#[test]
fn every_file_has_module_docs() {
    let directories = ["src", "tests"].into_iter().flat_map(sources);
    assert_none(
        "no module docs (`//!`)",
        &rules::undocumented(&directories.collect::<Vec<_>>()),
    );
}
