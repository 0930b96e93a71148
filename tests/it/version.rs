//! What `repin --version` says of a build, and where the build script takes it from.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::world::{git, world};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The build script, run as cargo runs it.
struct Script {
    dir: tempfile::TempDir,
}

impl Script {
    fn compiled() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
        let status = Command::new("rustc")
            .args(["--edition=2024", "-o"])
            .arg(dir.path().join("script"))
            .arg(source)
            .status();
        assert!(status.unwrap().success());
        Self { dir }
    }

    /// A directory of sources.
    fn sources(&self, name: &str) -> PathBuf {
        let root = self.dir.path().join(name);
        fs::create_dir_all(root.join("src")).unwrap();
        fs::write(root.join("src/main.rs"), "fn main() {}\n").unwrap();
        root
    }

    /// The commit that a build in `root` is said to be of, and every line.
    fn runs(&self, root: &Path, profile: &str, given: &str) -> (String, String) {
        let output = Command::new(self.dir.path().join("script"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .envs([
                ("PROFILE", profile),
                ("REPIN_COMMIT", given),
                ("TARGET", "t"),
            ])
            .env("CARGO_MANIFEST_DIR", root)
            .current_dir(root)
            .output()
            .unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("cargo::rustc-env=REPIN_BUILD_TARGET=t\n"),
            "{text}"
        );
        let mut lines = text.lines();
        let commit =
            lines.find_map(|line| line.strip_prefix("cargo::rustc-env=REPIN_BUILD_COMMIT="));
        (commit.unwrap().to_owned(), text)
    }
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
fn a_given_commit_counts_first_and_a_packaged_one_needs_no_git() {
    let script = Script::compiled();
    let root = script.sources("crate");
    let info = format!("{{\n  \"git\": {{\n    \"sha1\": \"{COMMIT}\"\n  }}\n}}");
    let commit = |given| script.runs(&root, "release", given).0;
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
fn only_a_release_build_in_its_own_repository_asks_git() {
    let script = Script::compiled();
    let root = script.sources("repository");
    git(&root, &["init", "-q", "-b", "main"]);
    git(&root, &["add", "-A"]);
    git(&root, &["commit", "-q", "-m", "first"]);
    let head = git(&root, &["rev-parse", "HEAD"]);
    let (commit, lines) = script.runs(&root, "release", "");
    assert_eq!(commit, head);
    // After a commit, and after a change of the sources, cargo asks again.
    for watched in [".git/HEAD\n", ".git/logs/HEAD\n", "=src\n"] {
        assert!(lines.contains(watched), "{lines}");
    }
    // A development build is the same before and after a commit.
    let (commit, lines) = script.runs(&root, "debug", "");
    assert_eq!(commit, "unknown");
    assert!(!lines.contains(".git"), "{lines}");
    fs::write(root.join("src/main.rs"), "fn main() { todo!() }\n").unwrap();
    let (commit, _) = script.runs(&root, "release", "");
    assert_eq!(commit, format!("{head}, modified"));
    // Sources in the repository of something else.
    let inner = script.sources("repository/vendor/repin");
    assert_eq!(script.runs(&inner, "release", "").0, "unknown");
}
