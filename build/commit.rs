//! Determines the commit of a build, for `repin --version`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A file that `cargo package` adds to a crate.
const PACKAGED: &str = ".cargo_vcs_info.json";

/// The commit of a build, and the files whose change makes it another one.
pub(crate) struct BuiltFrom {
    pub(crate) commit: String,
    pub(crate) inputs: Vec<PathBuf>,
}

/// The `given` commit, or the one that `cargo package` recorded in a published crate, or, in a
/// release build, the commit of the work tree whose top is `root`.
///
/// A development build does not run git and is not built again after a commit. Without any of
/// these, the commit is `unknown`.
pub(crate) fn built_from(root: &Path, given: &str, release: bool) -> BuiltFrom {
    if let Some(commit) = commit_in(given) {
        return BuiltFrom {
            commit: commit.to_owned(),
            inputs: Vec::new(),
        };
    }
    packaged(root)
        .or_else(|| release.then(|| checked_out(root)).flatten())
        .unwrap_or_else(|| BuiltFrom {
            commit: "unknown".to_owned(),
            inputs: Vec::new(),
        })
}

/// The first 40 or 64 lowercase hexadecimal digits by themselves.
fn commit_in(text: &str) -> Option<&str> {
    let other = |c: char| !matches!(c, '0'..='9' | 'a'..='f');
    text.split(other).find(|word| matches!(word.len(), 40 | 64))
}

/// The commit that a published crate was made from.
fn packaged(root: &Path) -> Option<BuiltFrom> {
    let text = fs::read_to_string(root.join(PACKAGED)).ok()?;
    let commit = commit_in(&text)?.to_owned();
    Some(BuiltFrom {
        commit: marked(commit, text.contains("\"dirty\": true")),
        inputs: vec![PACKAGED.into()],
    })
}

/// The commit of the work tree, if its top is here.
fn checked_out(root: &Path) -> Option<BuiltFrom> {
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
    let sources = ["src", "Cargo.toml", "Cargo.lock", "build.rs", "build"];
    let mut inputs: Vec<PathBuf> = sources.map(PathBuf::from).into();
    for name in ["HEAD", "logs/HEAD"] {
        let path = root.join(git(&["rev-parse", "--git-path", name])?);
        if path.exists() {
            inputs.push(path);
        }
    }
    let commit = git(&["rev-parse", "--verify", "HEAD"])?;
    let status = ["status", "--porcelain", "--"];
    let changes = git(&[&status[..], &sources].concat())?;
    Some(BuiltFrom {
        commit: marked(commit_in(&commit)?.to_owned(), !changes.is_empty()),
        inputs,
    })
}

fn marked(commit: String, modified: bool) -> String {
    if modified {
        commit + ", modified"
    } else {
        commit
    }
}
