//! The texts of a release, which must agree. `scripts/test-packages` builds a release and uses it.

use std::{fs, path::Path};

use regex::Regex;
use serde_json::Value;

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
    // Only the publishing job may write, and external text reaches the shell through variables.
    for (name, job) in workflow["jobs"].as_object().unwrap() {
        let writes = job["permissions"].to_string().contains("write");
        assert_eq!(
            writes,
            ["release", "image"].contains(&name.as_str()),
            "{name}"
        );
        for step in job["steps"].as_array().unwrap() {
            assert!(!step["run"].to_string().contains("${{"), "{step}");
        }
    }
}

#[test]
fn the_release_is_made_with_the_tested_tools() {
    let (workflow, script) = (read(WORKFLOW), read("scripts/test-packages"));
    for (tool, variable) in [("cargo-deb", "DEB"), ("cargo-cyclonedx", "CYCLONEDX")] {
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
