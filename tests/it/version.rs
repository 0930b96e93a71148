//! The output of `repin --version`, and its sources in the build script.

use std::{fs, path::Path};

use crate::support::world::{git, world};

#[path = "../../build/commit.rs"]
mod commit;

use commit::built_from;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A directory of sources.
fn write_sources(root: &Path) {
    fs::create_dir_all(root.join("src")).unwrap();
    fs::write(root.join("src/main.rs"), "fn main() {}\n").unwrap();
}

#[test]
fn version_names_the_commit_and_the_target() {
    let world = world();
    let long = world.run(&["--version"]).exits(0).stdout;
    let form =
        r"^repin \d+\.\d+\.\d+ \(commit ([0-9a-f]{40}|unknown)(, modified)?, \w+-[\w-]+\)\n$";
    assert!(regex::Regex::new(form).unwrap().is_match(&long), "{long}");
    let short = world.run(&["-V"]).exits(0).stdout;
    assert_eq!(short, concat!("repin ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn given_commit_of_a_build_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write_sources(root);
    let info = format!("{{\n  \"git\": {{\n    \"sha1\": \"{COMMIT}\"\n  }}\n}}");
    let commit = |given| built_from(root, given, true).commit;
    assert_eq!([commit(""), commit("main")], ["unknown"; 2]);
    fs::write(root.join(".cargo_vcs_info.json"), &info).unwrap();
    assert_eq!(commit(""), COMMIT);
    let other = "f".repeat(40);
    assert_eq!(commit(&other), other);
    let dirty = info.replace("\"\n  }", "\",\n    \"dirty\": true\n  }");
    fs::write(root.join(".cargo_vcs_info.json"), dirty).unwrap();
    assert_eq!(commit(""), format!("{COMMIT}, modified"));
}

#[test]
fn only_release_builds_query_git() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write_sources(root);
    git(root, &["init", "-q", "-b", "main"]);
    git(root, &["add", "-A"]);
    git(root, &["commit", "-q", "-m", "first"]);
    let head = git(root, &["rev-parse", "HEAD"]);
    let built = built_from(root, "", true);
    assert_eq!(built.commit, head);
    // After a commit, and after a change of the sources, cargo reruns the script.
    for input in [
        root.join(".git/HEAD"),
        root.join(".git/logs/HEAD"),
        "src".into(),
    ] {
        assert!(built.inputs.contains(&input), "{:?}", built.inputs);
    }
    // A development build is the same before and after a commit.
    let built = built_from(root, "", false);
    assert_eq!(built.commit, "unknown");
    assert!(built.inputs.is_empty(), "{:?}", built.inputs);
    fs::write(root.join("src/main.rs"), "fn main() { todo!() }\n").unwrap();
    let built = built_from(root, "", true);
    assert_eq!(built.commit, format!("{head}, modified"));
    // Sources in the repository of something else.
    let inner = root.join("vendor/repin");
    write_sources(&inner);
    assert_eq!(built_from(&inner, "", true).commit, "unknown");
}
