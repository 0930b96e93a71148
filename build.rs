//! Records the commit and the target of the build, for `repin --version`, and turns `src/codes.yaml`
//! into the constants and the table of `src/code.rs`.
//!
//! The commit is `REPIN_COMMIT`, or what `cargo package` recorded in a published crate, or, in a
//! release build, what git says about the work tree that this file is in. A development build asks
//! nobody and is not built again after a commit; without any of these the commit is `unknown`.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use serde_yaml_ng::Mapping;

/// What `cargo package` adds to a crate.
const PACKAGED: &str = ".cargo_vcs_info.json";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=REPIN_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let given = commit_in(&variable("REPIN_COMMIT")).map(str::to_owned);
    let release = variable("PROFILE") == "release";
    let commit = given
        .or_else(|| packaged(&root))
        .or_else(|| release.then(|| checked_out(&root)).flatten());
    let commit = commit.unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=REPIN_BUILD_COMMIT={commit}");
    println!("cargo::rustc-env=REPIN_BUILD_TARGET={}", variable("TARGET"));
    println!("cargo::rerun-if-changed={CODES}");
    let text = fs::read_to_string(root.join(CODES))?;
    fs::write(
        Path::new(&variable("OUT_DIR")).join("codes.rs"),
        codes(&text)?,
    )?;
    Ok(())
}

/// The list of codes.
const CODES: &str = "src/codes.yaml";

/// An entry of the list; `src/code.rs` describes the fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: Kind,
    passed: Option<String>,
    exits: Vec<u8>,
    summary: String,
    meaning: String,
    causes: Vec<String>,
    remedy: String,
    example: String,
    formerly: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Check,
    Error,
    Doctor,
}

/// The list as Rust: a constant for each code, and the table that the constants are indices of.
fn codes(text: &str) -> Result<String, String> {
    let sections: Mapping =
        serde_yaml_ng::from_str(text).map_err(|error| format!("{CODES}: {error}"))?;
    let mut constants = String::new();
    let mut table = String::new();
    let mut count = 0;
    for (section, entries) in &sections {
        let (Some(section), Some(entries)) = (section.as_str(), entries.as_mapping()) else {
            return Err(format!("{CODES}: expected codes in section {section:?}"));
        };
        for (code, entry) in entries {
            let code = code.as_str().unwrap_or_default();
            let entry: Entry = serde_yaml_ng::from_value(entry.clone())
                .map_err(|error| format!("{CODES}: {code}: {error}"))?;
            if entry.passed.is_some() != (entry.kind == Kind::Check) {
                return Err(format!("{CODES}: {code}: `passed` belongs to checks"));
            }
            let Entry {
                kind,
                passed,
                exits,
                summary,
                meaning,
                causes,
                remedy,
                example,
                formerly,
            } = entry;
            let constant = code.to_uppercase();
            let _ = writeln!(
                constants,
                "pub(crate) const {constant}: Self = Self({count});"
            );
            let _ = writeln!(
                table,
                "Explanation {{ code: {code:?}, section: {section:?}, kind: Kind::{kind:?}, \
                 passed: {passed:?}, exits: &{exits:?}, summary: {summary:?}, \
                 meaning: {meaning:?}, causes: &{causes:?}, remedy: {remedy:?}, \
                 example: {example:?}, formerly: {formerly:?} }},"
            );
            count += 1;
        }
    }
    Ok(format!(
        "impl Code {{\n{constants}}}\n\
         static EXPLANATIONS: [Explanation; {count}] = [\n{table}];\n"
    ))
}

/// The first 40 or 64 lowercase hexadecimal digits by themselves.
fn commit_in(text: &str) -> Option<&str> {
    let other = |c: char| !matches!(c, '0'..='9' | 'a'..='f');
    text.split(other).find(|word| matches!(word.len(), 40 | 64))
}

/// The commit that a published crate was made from.
fn packaged(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join(PACKAGED)).ok()?;
    println!("cargo::rerun-if-changed={PACKAGED}");
    let commit = commit_in(&text)?.to_owned();
    Some(marked(commit, text.contains("\"dirty\": true")))
}

/// The commit of the work tree, if its top is here.
fn checked_out(root: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(root)
            .args(arguments)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim_end().to_owned())
    };
    // A copy of the sources in the repository of something else is not at that repository's commit.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if fs::canonicalize(top).ok()? != fs::canonicalize(root).ok()? {
        return None;
    }
    for name in ["HEAD", "logs/HEAD"] {
        let path = root.join(git(&["rev-parse", "--git-path", name])?);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    let sources = ["src", "Cargo.toml", "Cargo.lock", "build.rs"];
    for name in sources {
        println!("cargo::rerun-if-changed={name}");
    }
    let commit = git(&["rev-parse", "--verify", "HEAD"])?;
    let status = ["status", "--porcelain", "--"];
    let changes = git(&[&status[..], &sources].concat())?;
    Some(marked(commit_in(&commit)?.to_owned(), !changes.is_empty()))
}

fn marked(commit: String, modified: bool) -> String {
    if modified {
        commit + ", modified"
    } else {
        commit
    }
}
