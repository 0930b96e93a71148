//! The texts of a release, which must agree. `scripts/test-packages` builds a release and uses it.

use std::{fs, path::Path, process::Command};

use regex::Regex;
use serde_json::Value;

use crate::support::digest::Digest;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

const WORKFLOW: &str = ".github/workflows/release.yml";

#[test]
fn release_pins_actions_and_limits_permissions() {
    let text = read(WORKFLOW);
    let uses: Vec<_> = text
        .lines()
        .filter(|line| line.contains("uses: "))
        .collect();
    let pinned = Regex::new(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$").unwrap();
    for line in &uses {
        assert!(pinned.is_match(line), "{line}");
    }
    assert!(uses.len() > 5);
    let workflow: Value = serde_yaml_ng::from_str(&text).unwrap();
    assert_eq!(
        workflow["permissions"],
        serde_json::json!({ "contents": "read" })
    );
    // Only the publishing jobs may write, and external text reaches the shell through variables.
    for (name, job) in workflow["jobs"].as_object().unwrap() {
        let writes = job["permissions"].to_string().contains("write");
        assert_eq!(
            writes,
            ["release", "image", "crate"].contains(&name.as_str()),
            "{name}"
        );
        for step in job["steps"].as_array().unwrap() {
            assert!(!step["run"].to_string().contains("${{"), "{step}");
        }
    }
    // crates.io trusts the workflow.
    assert!(!text.contains("secrets."));
    assert_eq!(
        workflow["jobs"]["crate"]["permissions"],
        serde_json::json!({ "contents": "read", "id-token": "write" })
    );
}

#[test]
fn nothing_is_released_without_an_equal_rebuild() {
    let workflow: Value = serde_yaml_ng::from_str(&read(WORKFLOW)).unwrap();
    let jobs = &workflow["jobs"];
    for name in ["release", "image"] {
        let needed = jobs[name]["needs"].as_array().unwrap();
        assert!(
            needed.contains(&Value::from("rebuild")),
            "{name} {needed:?}"
        );
    }
    let targets = |job: &str| -> Vec<String> {
        let built = jobs[job]["strategy"]["matrix"]["include"].as_array();
        let built = built.unwrap().iter().map(|row| row["target"].as_str());
        built.map(|target| target.unwrap().to_owned()).collect()
    };
    let mut linux = targets("build");
    linux.retain(|target| target.contains("linux"));
    assert_eq!(targets("rebuild"), linux);
    // The licenses of every released target are checked.
    let denied = read("deny.toml");
    for target in targets("build") {
        assert!(denied.contains(&format!("    \"{target}\",\n")), "{target}");
    }
}

#[test]
fn releases_have_their_own_toolchain() {
    let version = |text: &str| -> Vec<u32> {
        let numbers = text.trim().split('.');
        numbers.map(|number| number.parse().unwrap()).collect()
    };
    let printed = Command::new("scripts/package")
        .arg("toolchain")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let toolchain = String::from_utf8(printed.stdout).unwrap();
    // A whole version: a rebuild of the release needs the same compiler.
    assert_eq!(version(&toolchain).len(), 3, "{toolchain}");
    assert!(version(&toolchain) > version(env!("CARGO_PKG_RUST_VERSION")));
    let install = r#"rustup toolchain install "$(scripts/package toolchain)""#;
    assert_eq!(read(WORKFLOW).matches(install).count(), 2);
    // It is not the one of a contributor, and of everyone who builds from source.
    for name in ["rust-toolchain.toml", "rust-toolchain"] {
        assert!(!Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists());
    }
    let documented = read("docs/install.md");
    let line = format!(
        "built by Rust {}",
        toolchain.trim().rsplit_once('.').unwrap().0
    );
    assert!(documented.contains(&line), "{line}");
}

#[test]
fn recipes_have_the_checksum_of_each_archive() {
    let directory = tempfile::tempdir().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let mut sums = Vec::new();
    for machine in ["x86_64", "aarch64"] {
        for system in ["unknown-linux-musl", "apple-darwin"] {
            let name = format!("repin-{version}-{machine}-{system}.tar.gz");
            fs::write(directory.path().join(&name), &name).unwrap();
            sums.push((name.clone(), Digest::of(name.as_bytes()).hex()));
        }
    }
    let package = |arguments: &[&str]| {
        let made = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/package"))
            .args(arguments)
            .env("REPIN_DIST", directory.path())
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
    };
    package(&["recipes", "https://git.example/acme/repin"]);
    package(&["sums"]);
    let made = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    let (formula, expression) = (made("repin.rb"), made("repin.nix"));
    for (name, sum) in sums {
        let url = format!("https://git.example/acme/repin/releases/download/v{version}/{name}");
        let lines = format!("url \"{url}\"\n      sha256 \"{sum}\"\n");
        assert!(formula.contains(&lines), "{lines} {formula}");
        let (_, target) = name
            .trim_end_matches(".tar.gz")
            .split_once(&format!("{version}-"))
            .unwrap();
        let lines = format!("target = \"{target}\";\n      sha256 = \"{sum}\";\n");
        assert!(expression.contains(&lines), "{lines} {expression}");
    }
    for (name, text) in [("repin.rb", &formula), ("repin.nix", &expression)] {
        assert!(!text.contains('@'), "{text}");
        let line = format!("{}  {name}\n", Digest::of(text.as_bytes()).hex());
        assert!(made("SHA256SUMS").contains(&line), "{line}");
    }
    // Without an archive there is no recipe.
    let missing = format!("repin-{version}-x86_64-apple-darwin.tar.gz");
    fs::remove_file(directory.path().join(missing)).unwrap();
    let made = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/package"))
        .args(["recipes", "https://git.example/acme/repin"])
        .env("REPIN_DIST", directory.path())
        .output()
        .unwrap();
    assert!(!made.status.success());
}

#[test]
fn the_release_is_made_with_the_tested_tools() {
    let (workflow, script) = (read(WORKFLOW), read("scripts/test-packages"));
    for (tool, variable) in [
        ("cargo-auditable", "AUDITABLE"),
        ("cargo-deb", "DEB"),
        ("cargo-cyclonedx", "CYCLONEDX"),
    ] {
        let version = Regex::new(&format!(r"\b{variable}=([\d.]+)")).unwrap();
        let version = &version.captures(&script).unwrap()[1];
        let install = format!("cargo install {tool} --version {version} --locked");
        assert!(workflow.contains(&install), "{install}");
    }
}

#[test]
fn everybody_names_the_archives_alike() {
    let package = read("scripts/package");
    assert!(package.contains("name=repin-$version-$1\n"));
    assert!(package.contains("$DIST/$name.tar.gz"));
    let action = read("scripts/action");
    assert!(action.contains("name=repin-$version-$target\n"));
    assert!(action.contains("url=${releases%/}/v$version\n"));
    let manifest = read("Cargo.toml");
    let name = "{ name }-{ version }-{ target }";
    assert!(manifest.contains(&format!("releases/download/v{{ version }}/{name}.tar.gz")));
    assert!(manifest.contains(&format!("bin-dir = \"{name}/")));
    // Every target that the action downloads is built.
    let workflow = read(WORKFLOW);
    for target in ["unknown-linux-musl", "apple-darwin"] {
        assert!(
            action.contains(&format!("target=$machine-{target}")),
            "{target}"
        );
        for machine in ["x86_64", "aarch64"] {
            assert!(
                workflow.contains(&format!("target: {machine}-{target},")),
                "{machine} {target}"
            );
        }
    }
}

#[test]
fn no_owner_is_invented() {
    let hosts = Regex::new(r"(?:github\.com|ghcr\.io)/([\w.-]+)").unwrap();
    for path in [
        WORKFLOW,
        "action.yml",
        "scripts/action",
        "scripts/package",
        "Containerfile",
    ] {
        let text = read(path);
        let found: Vec<_> = hosts.find_iter(&text).map(|found| found.as_str()).collect();
        assert_eq!(found, [] as [&str; 0], "{path}");
    }
}
