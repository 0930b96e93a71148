//! `init`: a configuration that `check` accepts at once, from any pins of a tree.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt::Write as _,
    fs,
    ops::Deref,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::Path,
    process::{Command, Stdio},
};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{
    terminal,
    world::{REV_A, REV_B, Ran, World, world},
};

/// A world without a configuration and without access to a registry.
pub(crate) struct Tree(World);

impl Deref for Tree {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

/// Layouts that do not exist, in place of registries.
const ABSENT: &str =
    "ghcr.io=oci:absent\ndocker.io=oci:absent\nquay.io=oci:absent\nlocalhost:5000=oci:absent";

fn hex(letter: char) -> String {
    letter.to_string().repeat(63) + "1"
}

fn pin(repository: &str) -> String {
    format!("{repository}@sha256:{}", hex('a'))
}

pub(crate) fn tree(files: &[(&str, &str)]) -> Tree {
    let world = World::empty()
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        // No registry is reachable from this test, on any network.
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .env("REPIN_SOURCES", ABSENT);
    let tree = Tree(world);
    for (path, text) in files {
        tree.write(path, text);
    }
    tree
}

impl Tree {
    fn remote(&self, url: &str) {
        self.git(&["init", "-q"]);
        self.git(&["remote", "add", "origin", url]);
    }

    /// Removes the `#` before every setting that is disabled.
    fn take_suggestions(&self) {
        let text = fs::read_to_string(self.path("repin.yaml")).unwrap();
        let mut used = String::new();
        for line in text.lines() {
            let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
            let setting = rest.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
            used.extend([indent, setting.unwrap_or(rest), "\n"]);
        }
        assert_ne!(used, text);
        self.write("repin.yaml", used);
    }

    /// Writes a configuration, which `check` then accepts; returns the output of `init`.
    fn started(&self) -> Value {
        let document = self.run(&["init", "--format", "json"]).exits(0).json();
        assert_eq!(
            (&document["schema"], &document["written"]),
            (&json!("repin.init/1"), &json!(true))
        );
        assert_eq!(
            document["content"],
            fs::read_to_string(self.path("repin.yaml")).unwrap()
        );
        let checked = self.run(&["check"]);
        assert_eq!(
            checked.code,
            0,
            "{}{}{}",
            checked.stdout,
            checked.stderr,
            document["content"].as_str().unwrap()
        );
        document
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.root())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// Runs at a terminal with the input `typed`; returns the standard output, and the text on the
    /// terminal.
    fn typed(&self, typed: &str, args: &[&str]) -> Ran {
        Ran::from(terminal::typed(self.command(args), typed))
    }
}

/// Repository → name and number of pins.
fn images(document: &Value) -> BTreeMap<String, (String, u64)> {
    let row = |image: &Value| {
        let text = |key: &str| image[key].as_str().unwrap().to_owned();
        (
            text("repository"),
            (text("name"), image["pins"].as_u64().unwrap()),
        )
    };
    document["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(row)
        .collect()
}

/// The warnings except that about the unreachable registry.
fn warnings(document: &Value) -> Value {
    let all = document["warnings"].as_array().unwrap().iter();
    let unreached = |warning: &&Value| {
        let warning = warning.as_str().unwrap();
        warning.starts_with("attestations were not looked up: ") && warning.contains("absent")
    };
    let (unreached, others): (Vec<_>, Vec<_>) = all.partition(unreached);
    assert_eq!(unreached.len(), 1, "{document}");
    others.into_iter().cloned().collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::write(target, fs::read(&path).unwrap()).unwrap();
        }
    }
}

#[test]
fn init_restores_the_quick_start_configuration() {
    let tree = tree(&[]);
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart"),
        tree.root(),
    );
    let scan = |tree: &Tree| tree.run(&["scan", "--format", "json"]).exits(0).json();
    let theirs = scan(&tree);
    fs::remove_file(tree.path("repin.yaml")).unwrap();
    let document = tree.started();
    // Images that are pinned nowhere cannot be known.
    let rows = theirs["images"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|image| image["expected"] != 0);
    let row = |image: &Value| {
        let text = |key: &str| image[key].as_str().unwrap().to_owned();
        (
            text("repository"),
            (text("name"), image["expected"].as_u64().unwrap()),
        )
    };
    assert_eq!(images(&document), rows.map(row).collect());
    assert_eq!(document["files"], json!([".github/workflows/*.{yml,yaml}"]));
    assert!(
        document["content"]
            .as_str()
            .unwrap()
            .contains("name: \"runtime images\"")
    );
    assert_eq!(
        document["others"][0]["repository"],
        "ghcr.io/acme/runtime-triage-next"
    );
    let places = |scan: &Value| -> Vec<Value> {
        let pins = scan["pins"].as_array().unwrap().iter();
        pins.map(|pin| json!([pin["image"], pin["file"], pin["offset"], pin["digest"]]))
            .collect()
    };
    assert_eq!(places(&scan(&tree)), places(&theirs));
    let revision = "c93f5a17e08b64d2ab7013f9485ce6d20917b3fa";
    tree.run(&[
        "promote",
        "--revision",
        revision,
        "--source",
        "ghcr.io/acme=oci:images",
    ])
    .exits(0);
}

/// Twenty registries, and every kind of file that pins something.
fn foreign() -> Tree {
    let tree = tree(&[(".gitignore", "/out/\n")]);
    let mut values = String::new();
    for n in 0..20 {
        let image = pin(&format!("registry{n}.example:{}/team{n}/tool", 5000 + n));
        writeln!(values, "image{n}: \"{image}\"").unwrap();
        tree.write(
            &format!("services/{n}/Dockerfile"),
            format!("FROM --platform=linux/amd64 {image} AS build\n"),
        );
    }
    tree.write("charts/app/values.yaml", values);
    tree.write("Dockerfile", format!("FROM {}\nRUN true\n", pin("alpine")));
    tree.write(
        "compose.yaml",
        format!(
            "services:\n  db: {{ image: {} }}\n",
            pin("docker.io/library/postgres:16")
        ),
    );
    tree.write(
        "k8s/dep.yaml",
        format!("spec:\n  - image: '{}'\n", pin("quay.io/other/proxy:v2")),
    );
    tree.write(
        "README.md",
        format!("Try `{}`.\n", pin("ghcr.io/example/demo")),
    );
    tree.write(
        "out/rendered.yaml",
        format!("image: {}\n", pin("ghcr.io/acme/app-fix")),
    );
    tree.write(
        "logo.png",
        [
            b"\x89PNG\0".as_slice(),
            pin("ghcr.io/acme/app-fix").as_bytes(),
        ]
        .concat(),
    );
    let checkout = "actions/checkout@0123456789abcdef0123456789abcdef01234567";
    tree.write(
        ".github/workflows/ci.yml",
        format!(
            "- uses: {checkout}\n- uses: docker://{}\n",
            pin("hadolint/hadolint")
        ),
    );
    tree
}

#[test]
fn remote_owner_selects_the_set_among_foreign_pins() {
    let tree = foreign();
    tree.remote("https://bot:s3cret@github.com/Acme/infra.git");
    tree.git(&[
        "symbolic-ref",
        "refs/remotes/origin/HEAD",
        "refs/remotes/origin/trunk",
    ]);
    tree.write(
        ".github/workflows/app.yml",
        format!(
            "a: {}\nb: {}\n",
            pin("ghcr.io/acme/app-fix"),
            pin("ghcr.io/acme/app-fix")
        ),
    );
    tree.write(
        "k8s/app.yaml",
        format!("image: {}\n", pin("ghcr.io/acme/app-review")),
    );
    tree.write("k8s/link.yaml.txt", "");
    symlink("app.yaml", tree.path("k8s/link.yaml")).unwrap();
    let document = tree.started();
    let expected = [
        ("ghcr.io/acme/app-fix", "fix", 2),
        ("ghcr.io/acme/app-review", "review", 1),
    ];
    let expected =
        expected.map(|(repository, name, pins)| (repository.to_owned(), (name.to_owned(), pins)));
    assert_eq!(images(&document), BTreeMap::from(expected));
    assert_eq!(
        document["files"],
        json!([".github/workflows/*.{yml,yaml}", "k8s/app.yaml"])
    );
    assert_eq!(document["others"].as_array().unwrap().len(), 25);
    assert_eq!(warnings(&document), json!([]));
    let content = document["content"].as_str().unwrap();
    assert!(
        content.contains("\nforge:\n  kind: github\n  repository: Acme/infra\n"),
        "{content}"
    );
    assert!(
        content.contains("registry19.example:5019/team19/tool (2 pins): another owner's"),
        "{content}"
    );
    assert!(
        !content.contains("s3cret") && !content.contains("To look at"),
        "{content}"
    );
}

#[test]
fn pipe_marks_the_most_likely_set() {
    let tree = foreign();
    let document = tree.started();
    let warning = document["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("using "), "{warning}");
    assert!(
        document["content"]
            .as_str()
            .unwrap()
            .contains(&format!("# Review before committing:\n# - {warning}\n"))
    );
    assert_eq!(document["images"].as_array().unwrap().len(), 1);
    let ran = tree.run(&["init", "--dry-run", "true"]).exits(0);
    assert!(
        ran.stderr.contains("warning: using ") && !ran.stderr.contains('?'),
        "{}",
        ran.stderr
    );
}

#[test]
fn foreign_images_form_a_set_without_others() {
    let (alpine, nginx) = (pin("alpine"), pin("index.docker.io/library/nginx"));
    let tree = tree(&[
        ("a/Dockerfile", &format!("FROM {alpine}")),
        ("b/Dockerfile", &format!("FROM {nginx}\n# {nginx}")),
    ]);
    tree.remote("git@git.example:acme/infra.git");
    fs::create_dir(tree.path(".forgejo")).unwrap();
    let document = tree.started();
    assert_eq!(document["files"], json!(["a/Dockerfile", "b/Dockerfile"]));
    assert_eq!(
        images(&document).values().cloned().collect::<Vec<_>>(),
        [("alpine".into(), 1), ("nginx".into(), 2)]
    );
    let content = document["content"].as_str().unwrap();
    assert!(
        content.contains("although the remote has another owner"),
        "{content}"
    );
    assert!(
        content.contains("  #kind: gitea\n  #url: \"https://git.example/api/v1\"\n"),
        "{content}"
    );
}

#[test]
fn forge_with_a_port_is_gitea() {
    for (remote, kind, url) in [
        (
            "http://git.example:3000/acme/infra.git",
            "gitea",
            "http://git.example:3000/api/v1",
        ),
        (
            "https://u:p@git.example:8443/acme/infra",
            "gitea",
            "https://git.example:8443/api/v1",
        ),
        (
            "http://gitlab.example:8080/acme/sub/infra.git",
            "gitlab",
            "http://gitlab.example:8080",
        ),
        (
            "http://gitea.example/acme/infra",
            "gitea",
            "http://gitea.example/api/v1",
        ),
        // GitHub Enterprise Server has no other port; the port of SSH is not that of its pages.
        (
            "https://git.example/acme/infra.git",
            "github",
            "https://git.example/api/v3",
        ),
        (
            "ssh://git@git.example:2222/acme/infra",
            "github",
            "https://git.example/api/v3",
        ),
    ] {
        let tree = tree(&[(".github/workflows/a.yml", &pin("ghcr.io/acme/app"))]);
        tree.remote(remote);
        let document = tree.started();
        let content = document["content"].as_str().unwrap();
        let expected = format!("#forge:\n  #kind: {kind}\n  #url: \"{url}\"\n");
        assert!(content.contains(&expected), "{remote} {content}");
        tree.take_suggestions();
        tree.run(&["check"]).exits(0);
    }
}

#[test]
fn gitlab_is_known_by_its_host_or_its_pipeline() {
    let image = pin("registry.gitlab.com/acme/sub/app");
    let pipeline = format!("build: {{ image: '{image}', script: [make] }}\n");
    for (remote, block) in [
        (
            "git@gitlab.com:acme/sub/infra.git",
            "\nforge:\n  kind: gitlab\n  repository: acme/sub/infra\n",
        ),
        (
            "https://gitlab.com/acme/sub/infra",
            "\nforge:\n  kind: gitlab\n  repository: acme/sub/infra\n",
        ),
        // The file of the pipeline shows it, and the user confirms it.
        (
            "ssh://git@git.example:2222/acme/sub/infra.git",
            "#forge:\n  #kind: gitlab\n  #url: \"https://git.example\"\n  #repository: acme/sub/infra\n",
        ),
    ] {
        let tree = tree(&[(".gitlab-ci.yml", &pipeline)]);
        tree.remote(remote);
        let document = tree.started();
        assert_eq!(document["files"], json!([".gitlab-ci.yml"]), "{document}");
        let content = document["content"].as_str().unwrap();
        assert!(content.contains(block), "{remote} {content}");
        tree.take_suggestions();
        tree.run(&["check"]).exits(0);
    }
}

#[test]
fn data_residency_has_a_forge_with_its_api() {
    for remote in [
        "octocorp@octocorp.ghe.com:acme/infra.git",
        "https://octocorp.ghe.com/acme/infra",
    ] {
        let tree = tree(&[(".github/workflows/a.yml", &pin("ghcr.io/acme/app"))]);
        tree.remote(remote);
        let document = tree.started();
        let content = document["content"].as_str().unwrap();
        let expected = "\nforge:\n  kind: github\n  url: \"https://api.octocorp.ghe.com\"\n";
        assert!(content.contains(expected), "{remote} {content}");
        tree.run(&["check"]).exits(0);
    }
}

#[test]
fn suggestions_work_for_every_registry() {
    for (repository, source) in [
        ("ghcr.io/acme/app", "ghcr.io/acme: \"https://ghcr.io/acme\""),
        (
            "docker.io/library/alpine",
            "docker.io/library: \"https://docker.io/library\"",
        ),
        (
            "registry.example:8443/team/app",
            "\"registry.example:8443/team\": \"https://registry.example:8443/team\"",
        ),
        (
            "registry.example:8443/app",
            "\"registry.example:8443\": \"https://registry.example:8443\"",
        ),
        (
            "localhost:5000/app",
            "\"localhost:5000\": \"http://localhost:5000\"",
        ),
        (
            "127.0.0.1:5000/team/app",
            "\"127.0.0.1:5000/team\": \"http://127.0.0.1:5000/team\"",
        ),
    ] {
        let tree = tree(&[("a.yml", &pin(repository))]);
        let document = tree.started();
        let content = document["content"].as_str().unwrap();
        let expected = format!("#sources:\n  #{source}\n");
        assert!(content.contains(&expected), "{repository} {content}");
        tree.take_suggestions();
        tree.run(&["check"]).exits(0);
    }
}

#[test]
fn ambiguous_set_is_a_prompt_at_terminals() {
    let two = format!(
        "{}\n{}\n",
        pin("a.example/one/app"),
        pin("b.example/two/app")
    );
    let tree = tree(&[("a.yml", &two)]);
    let ran = tree
        .typed("7\n2\n", &["init", "--dry-run", "true"])
        .exits(0);
    assert!(
        ran.stderr.contains("Which of these images")
            && ran.stderr.contains("Enter numbers from 1 to 2"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stdout.contains("repository: b.example/two/app") && !ran.stdout.contains("To look at"),
        "{}",
        ran.stdout
    );
    let ran = tree.typed("1 2\n", &["init", "--dry-run", "true"]).exits(0);
    assert!(
        ran.stdout.contains("  one-app:\n") && ran.stdout.contains("  two-app:\n"),
        "{}",
        ran.stdout
    );
    // End of file instead of a choice: no file is written.
    let ran = tree.typed("\u{4}", &["init"]).exits(2);
    assert!(ran.stderr.contains("nothing was written"), "{}", ran.stderr);
    assert_eq!(tree.names(), ["a.yml"]);
    tree.typed("\n", &["init"]).exits(0);
    assert!(
        fs::read_to_string(tree.path("repin.yaml"))
            .unwrap()
            .contains("repository: a.example/one/app")
    );
    tree.remote("git@github.com:two/x");
    let ran = tree.typed("", &["init", "--force"]).exits(0);
    assert!(!ran.stderr.contains("Which of these"), "{}", ran.stderr);
}

#[test]
fn existing_file_is_overwritten_only_with_force() {
    let tree = tree(&[("a.yml", &pin("ghcr.io/acme/app")), ("repin.yaml", "mine")]);
    for found in ["file", "dangling link", "directory"] {
        let ran = tree.run(&["init"]).exits(2);
        assert!(
            ran.stderr.contains("already exists") && ran.stderr.contains("--force"),
            "{found}: {}",
            ran.stderr
        );
        assert!(
            ran.stderr
                .contains("help: `--update` counts its pins again"),
            "{found}: {}",
            ran.stderr
        );
        for forbids in [
            &["init", "--force", "--dry-run="][..],
            &["init", "--dry-run", "true"],
        ] {
            assert!(
                tree.run(forbids)
                    .exits(0)
                    .stdout
                    .contains("ghcr.io/acme/app"),
                "{found}"
            );
        }
        ran_with(
            &tree,
            &["init", "--force", "--dry-run", "false"],
            ("REPIN_DRY_RUN", "true"),
        )
        .exits(0);
        match found {
            "file" => {
                assert_eq!(fs::read_to_string(tree.path("repin.yaml")).unwrap(), "mine");
                fs::remove_file(tree.path("repin.yaml")).unwrap();
                symlink("nowhere", tree.path("repin.yaml")).unwrap();
            }
            "dangling link" => {
                assert!(fs::read_link(tree.path("repin.yaml")).is_ok());
                fs::remove_file(tree.path("repin.yaml")).unwrap();
                fs::create_dir(tree.path("repin.yaml")).unwrap();
            }
            _ => {
                assert!(
                    tree.run(&["init", "--force"])
                        .exits(2)
                        .stderr
                        .contains("is a directory")
                );
                fs::remove_dir(tree.path("repin.yaml")).unwrap();
            }
        }
    }
    tree.write(
        "repin.yaml",
        format!("# old: {}\nmine", pin("ghcr.io/acme/app")),
    );
    tree.run(&["init", "--force"]).exits(0);
    assert_eq!(
        tree.run(&["check"]).exits(0).stdout,
        "OK: 1 pin of 1 image in 1 file\n"
    );
    assert_eq!(tree.names(), ["a.yml", "repin.yaml"]);
    tree.run(&["init", "--dry-run", "yes"]).exits(2);
    ran_with(&tree, &["init"], ("REPIN_DRY_RUN", "1")).exits(2);
}

fn ran_with(tree: &Tree, args: &[&str], (name, value): (&str, &str)) -> Ran {
    Ran::of(tree.command(args).env(name, value))
}

#[test]
fn init_reports_future_refusals_and_writes() {
    let app = "ghcr.io/acme/app";
    let text = format!(
        "{}\n{app}@sha256:{}\n{app}@sha256:abc\n",
        pin(app),
        hex('b')
    );
    let tree = tree(&[("a.yaml", &text), ("b.yaml", &pin(app)), ("c.yml", "x")]);
    let document = tree.run(&["init", "--format", "json"]).exits(0).json();
    assert_eq!(document["files"], json!(["*.{yml,yaml}"]));
    let warnings = document["warnings"].to_string();
    assert!(
        warnings.contains("pin_disagree") && warnings.contains("a.yaml:3:1"),
        "{warnings}"
    );
    let content = document["content"].as_str().unwrap();
    assert!(
        content.contains("`repin check` fails for `app` at present: pin_disagree"),
        "{content}"
    );
    // The configuration matches itself here, and must not be part of the trouble.
    let checked = tree.run(&["check", "--format", "json"]).exits(1).json();
    let failed: Vec<_> = checked["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["status"] == "fail")
        .collect();
    let codes: Vec<_> = failed
        .iter()
        .map(|check| check["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["pin_unsupported", "pin_disagree"], "{checked}");
}

#[test]
fn pins_in_files_without_a_utf_8_name_are_reported() {
    let tree = tree(&[("a.yml", &pin("ghcr.io/acme/app"))]);
    for (name, text) in [
        (b"\xff1", pin("ghcr.io/acme/web")),
        (b"\xff2", "x".to_owned()),
    ] {
        fs::write(tree.root().join(OsStr::from_bytes(name)), text).unwrap();
    }
    let content = tree.run(&["init", "--dry-run"]).exits(0).stdout;
    let remark = |number: u8| format!("{number}: the name is not UTF-8");
    assert!(content.contains(&remark(1)), "{content}");
    assert!(!content.contains(&remark(2)), "{content}");
}

#[test]
fn written_counts_equal_the_scanned_counts() {
    // After a template's brace, `init` discovers no repository, but a configured one is a pin.
    let tree = tree(&[(
        "a.yml",
        &format!(
            "{}\n{{{{ mirror }}}}{}\n",
            pin("ghcr.io/acme/app"),
            pin("ghcr.io/acme/app")
        ),
    )]);
    assert_eq!(images(&tree.started())["ghcr.io/acme/app"].1, 2);
}

#[test]
fn tags_determine_the_revision_pattern() {
    let tagged = format!("ghcr.io/acme/app:sha-0a1b2c3@sha256:{}", hex('a'));
    let tree = tree(&[(
        "a.yml",
        &format!("{tagged}\n{}\n", pin("ghcr.io/acme/tool:v1.2")),
    )]);
    let document = tree.started();
    let content = document["content"].as_str().unwrap();
    assert!(
        content
            .contains("\n#revision:\n  #pattern: \"[0-9a-f]{40}\"\n  #tag: \"sha-{revision:7}\"\n"),
        "{content}"
    );
    assert_eq!(document["others"][0]["repository"], "ghcr.io/acme/tool");
}

#[test]
fn blocked_run_reports_the_next_step() {
    let tree = tree(&[
        ("a.yml", "image: ghcr.io/acme/app:latest\n"),
        ("b.yml", "x@sha256:<digest>"),
    ]);
    let ran = tree.run(&["init"]).exits(2);
    assert!(
        ran.stderr
            .contains("no image is pinned by digest; 2 files scanned"),
        "{}",
        ran.stderr
    );
    assert_eq!(tree.names(), ["a.yml", "b.yml"]);
    let document = tree.run(&["init", "--format", "json"]).exits(2).json();
    assert_eq!(document["errors"][0]["code"], "init");
    tree.run(&["--config", "nowhere/repin.yaml", "init"])
        .exits(2);
}

#[test]
fn failed_write_leaves_no_file() {
    let tree = tree(&[("a.yml", &pin("ghcr.io/acme/app"))]);
    let mut limited = Command::new("sh");
    limited.args([
        "-c",
        "trap '' XFSZ; ulimit -f 0; exec \"$0\" init",
        env!("CARGO_BIN_EXE_repin"),
    ]);
    let ran = Ran::of(limited.current_dir(tree.root()).stdin(Stdio::null())).exits(3);
    assert!(
        ran.stderr.contains("cannot write repin.yaml"),
        "{}",
        ran.stderr
    );
    assert_eq!(tree.names(), ["a.yml"]);
}

#[test]
fn it_works_without_git_and_for_another_file() {
    let tree = tree(&[
        ("sub/a.yml", &pin("ghcr.io/acme/app")),
        ("b.yml", &pin("ghcr.io/acme/app")),
    ]);
    ran_with(
        &tree,
        &["--config", "sub/pins.yaml", "init"],
        ("PATH", "/nowhere"),
    )
    .exits(0);
    let checked = tree.run(&["--config", "sub/pins.yaml", "check"]).exits(0);
    assert_eq!(checked.stdout, "OK: 1 pin of 1 image in 1 file\n");
    let ran = tree.run(&["init"]).exits(0);
    assert_eq!(
        ran.stdout,
        "wrote repin.yaml: 1 image, 2 pins in 2 files\n\nIMAGE  REPOSITORY        PINS\napp    ghcr.io/acme/app     2\n"
    );
    let next = "run `repin check`. A rollback needs the history of a git repository.";
    assert!(ran.stderr.contains(next), "{}", ran.stderr);
    assert!(!ran.stderr.contains("git add"), "{}", ran.stderr);
    let mut below = tree.command(&["init"]);
    let ran = Ran::of(below.current_dir(tree.path("sub"))).exits(0);
    assert!(
        ran.stderr.contains("no longer applies in this directory"),
        "{}",
        ran.stderr
    );
}

#[test]
fn init_in_a_subdirectory_reports_the_top() {
    let tree = tree(&[("sub/a.yml", &pin("ghcr.io/acme/app")), ("empty/b.txt", "")]);
    tree.git(&["init", "-q"]);
    let notice = "only the files below";
    let init_in = |directory: &str| {
        let mut init = tree.command(&["init", "--dry-run"]);
        Ran::of(init.current_dir(tree.path(directory)))
    };
    let ran = init_in("sub").exits(0);
    assert!(ran.stderr.contains(notice), "{}", ran.stderr);
    let ran = init_in("empty").exits(2);
    assert!(ran.stderr.contains(notice), "{}", ran.stderr);
    for args in [
        &["init", "--dry-run"][..],
        &["--config", "sub/repin.yaml", "init", "--dry-run"],
    ] {
        let ran = tree.run(args).exits(0);
        assert!(!ran.stderr.contains(notice), "{}", ran.stderr);
    }
}

#[test]
fn clean_tree_gets_outside_refuse() {
    let app = "ghcr.io/acme/app";
    let tree = tree(&[("a.yml", &pin(app)), ("Chart.yaml", "x")]);
    tree.git(&["init", "-q"]);
    let document = tree.started();
    let content = document["content"].as_str().unwrap();
    assert!(content.contains("\noutside: refuse\n"), "{content}");
    assert_eq!(warnings(&document), json!([]));
    // Files that are not added yet are not reported, but the next commit may hold them.
    tree.write("values.yaml", format!("digest: {}\n", hex('a')));
    tree.write("vendor/x/y.md", pin(app));
    let again = || {
        let init = ["init", "--force", "--format", "json"];
        let document = tree.run(&init).exits(0).json();
        let content = document["content"].as_str().unwrap().to_owned();
        assert!(content.contains("\n#outside: warn\n"), "{content}");
        assert!(!content.contains(&hex('a')), "{content}");
        warnings(&document).to_string()
    };
    assert_eq!(again(), "[]");
    tree.git(&["add", "-A"]);
    let warnings = again();
    for place in [
        "digest_outside: values.yaml:1:9",
        "pin_outside: vendor/x/y.md:1:1",
    ] {
        assert!(warnings.contains(place), "{warnings}");
    }
}

#[test]
fn matched_ignored_file_is_searched_without_git() {
    let tree = tree(&[
        (".gitignore", "ignored*\n"),
        (".github/workflows/a.yml", &pin("ghcr.io/acme/app")),
        (
            ".github/workflows/ignored.yml",
            &pin("ghcr.io/acme/app-extra"),
        ),
    ]);
    let document = tree.started();
    let content = document["content"].as_str().unwrap();
    assert!(content.contains("\n#outside: warn\n"), "{content}");
    let warnings = warnings(&document).to_string();
    let place = "digest_outside: .github/workflows/ignored.yml:1:24";
    assert!(warnings.contains(place), "{warnings}");
}

const REPOSITORIES: &[&str] = &[
    "ghcr.io/acme/app",
    "ghcr.io/acme/app-extra",
    "ghcr.io/acme/team/app",
    "acme/app",
    "nginx",
    "docker.io/library/nginx",
    "localhost:5000/app",
    "Quay.io/o/x",
];

const FILES: &[&str] = &[
    ".github/workflows/a.yml",
    ".github/workflows/b.yml",
    ".github/workflows/c.yaml",
    "a.yaml",
    "b.yaml",
    "Dockerfile",
    "k8s/1/x.yaml",
    "k8s/2/x.yaml",
    "k8s/2/y.yaml",
    "k8s/[3]/{x}*.yaml",
    "ö \"'#: \\/\u{7f}\n.yml",
    "-x/~",
    "ignored/x.yaml",
    ".github/workflows/ignored.yml",
    "k8s/node_modules/y.yaml",
];

fn is_left_out(file: &str) -> bool {
    file.contains("ignored") || file.contains("node_modules")
}

/// A repository's place, a tag or none, and whether the pin is quoted.
type Pinned = (usize, Option<&'static str>, bool);

/// The locations in files, with their pins.
fn pins() -> impl Strategy<Value = Vec<(usize, Vec<Pinned>)>> {
    let tag = prop_oneof![
        Just(None),
        Just(Some("v1")),
        Just(Some("4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f"))
    ];
    let pin = (0..REPOSITORIES.len(), tag, any::<bool>());
    proptest::collection::vec(
        (0..FILES.len(), proptest::collection::vec(pin, 0..4)),
        0..12,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn configuration_counts_any_pins_exactly(files in pins(), force in any::<bool>()) {
        let tree = tree(&[(".gitignore", "ignored*\n")]);
        let files: BTreeMap<_, _> = files.into_iter().collect();
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (file, pins) in &files {
            let mut text = String::new();
            for (repository, tag, quoted) in pins {
                let repository = REPOSITORIES[*repository];
                let quote = if *quoted { "\"" } else { "" };
                let tag = tag.map_or_else(String::new, |tag| format!(":{tag}"));
                writeln!(text, "- image: {quote}{repository}{tag}@sha256:{}{quote} # x@sha256:abc", hex('c')).unwrap();
                let one = repository.replace("docker.io/library/", "");
                *counts.entry(one).or_default() += u64::from(!is_left_out(FILES[*file]));
            }
            tree.write(FILES[*file], text);
        }
        counts.retain(|_, count| *count > 0);
        if force {
            tree.write("repin.yaml", format!("# {}\n", pin("ghcr.io/acme/app")));
        }
        let ran = tree.run(&["init", "--format", "json", if force { "--force" } else { "-q" }]);
        if counts.is_empty() {
            prop_assert_eq!(ran.code, 2);
        } else {
            prop_assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
            let document = ran.json();
            for (repository, (_, count)) in images(&document) {
                prop_assert_eq!(counts.get(&repository.replace("docker.io/library/", "")), Some(&count), "{}", repository);
            }
            let warnings = warnings(&document);
            let warnings = warnings.as_array().unwrap();
            let outside = |warning: &Value| warning.as_str().unwrap().contains("_outside: ");
            let starts = |warning: &Value, text| warning.as_str().unwrap().starts_with(text);
            let expected = |warning: &Value| {
                starts(warning, "the pinned tags have no known form") || starts(warning, "using ") || outside(warning)
            };
            prop_assert!(warnings.iter().all(expected), "{:?}", warnings);
            let refuses = document["content"].as_str().unwrap().contains("\noutside: refuse\n");
            prop_assert_eq!(refuses, !warnings.iter().any(outside));
            let checked = tree.run(&["check"]);
            prop_assert_eq!(checked.code, 0, "{}{}{}", checked.stdout, checked.stderr, document["content"].as_str().unwrap());
        }
    }
}

#[test]
fn update_changes_only_the_counts() {
    let tree = tree(&[
        (
            "a.yml",
            &format!("{}\n{}\n", pin("ghcr.io/acme/app"), pin("ghcr.io/acme/app")),
        ),
        ("b.yml", &pin("ghcr.io/acme/web")),
    ]);
    let before = "\u{feff}version: 1 # kept\r\nfiles: ['*.yml']\r\nimages:\r\n  app: { pins: 1, repository: ghcr.io/acme/app } # one\r\n  web: { repository: ghcr.io/acme/web, pins: 1 }\r\n";
    tree.write("repin.yaml", before);
    let after = before.replace("app: { pins: 1", "app: { pins: 2");
    let dry = tree
        .run(&["init", "--update", "--dry-run", "true"])
        .exits(0);
    assert!(dry.stdout.contains("+  app: { pins: 2, "), "{}", dry.stdout);
    assert!(
        dry.stderr
            .contains("dry run: repin.yaml was not written; 1 count would change")
    );
    assert_eq!(fs::read_to_string(tree.path("repin.yaml")).unwrap(), before);
    let document = tree
        .run(&["init", "--update", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(fs::read_to_string(tree.path("repin.yaml")).unwrap(), after);
    assert_eq!(document["written"], true);
    assert_eq!(document["content"], after.as_str());
    assert!(
        document["diff"]
            .as_str()
            .unwrap()
            .starts_with("--- a/repin.yaml\n")
    );
    let again = tree.run(&["init", "--update"]).exits(0);
    assert_eq!(again.stdout, "repin.yaml: every count is up to date\n");
    tree.run(&["check"]).exits(0);
}

#[test]
fn update_refuses_pins_without_a_count() {
    let tree = tree(&[("a.yml", &pin("ghcr.io/acme/app"))]);
    let ran = tree.run(&["init", "--update"]).exits(2);
    assert!(
        ran.stderr.contains("repin.yaml not found"),
        "{}",
        ran.stderr
    );
    let config =
        "version: 1\nfiles: ['*.yml']\nimages:\n  app: { repository: ghcr.io/acme/app, pins: 7 }\n";
    tree.write("repin.yaml", config);
    tree.write("b.yml", "ghcr.io/acme/app@sha256:abc\n");
    let ran = tree.run(&["init", "--update"]).exits(1);
    assert!(ran.stderr.contains("pin_unsupported"), "{}", ran.stderr);
    fs::remove_file(tree.path("b.yml")).unwrap();
    tree.write("a.yml", "nothing\n");
    tree.run(&["init", "--update"]).exits(2);
    tree.run(&["init", "--update", "--force"]).exits(2);
    assert_eq!(fs::read_to_string(tree.path("repin.yaml")).unwrap(), config);
    tree.write("a.yml", pin("ghcr.io/acme/app"));
    fs::rename(tree.path("repin.yaml"), tree.path("other.yaml")).unwrap();
    symlink("other.yaml", tree.path("repin.yaml")).unwrap();
    let ran = tree.run(&["init", "--update"]).exits(2);
    assert!(
        ran.stderr.contains("it is a symbolic link"),
        "{}",
        ran.stderr
    );
    assert_eq!(fs::read_to_string(tree.path("other.yaml")).unwrap(), config);
}

#[test]
fn init_proposes_the_first_commit() {
    let world = world().with_git();
    // Every image's pins name the revision.
    for (file, image) in [("a.yml", "review"), ("b.yml", "fix")] {
        let digest = world.digest(image, REV_A);
        let pin = format!("x: ghcr.io/acme/{image}:{REV_A}@{digest}\n");
        world.write(&format!(".github/workflows/{file}"), pin);
    }
    fs::remove_file(world.path("repin.yaml")).unwrap();
    world.commit("pins");
    let ran = world.run(&["init"]).exits(0);
    let command = format!("git commit -m 'adopt repin' -m 'Repin-Set: {REV_A}' -- repin.yaml");
    assert!(ran.stderr.contains(&command), "{}", ran.stderr);
    let config = world.read("repin.yaml") + "sources: { ghcr.io/acme: oci:images }\n";
    world.write("repin.yaml", config);
    world.git(&["add", "--", "repin.yaml"]);
    let trailer = format!("Repin-Set: {REV_A}");
    world.git(&[
        "commit",
        "-q",
        "-m",
        "adopt repin",
        "-m",
        &trailer,
        "--",
        "repin.yaml",
    ]);
    world.push();
    world
        .run(&["promote", "--revision", REV_B, "--apply"])
        .exits(0);
    world.commit(&format!("promote: images @{REV_B}"));
    world.push();
    let ran = world.run(&["rollback", "--to", REV_A, "--format", "json"]);
    assert_eq!(ran.json()["approved"], true, "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn proposed_commit_contains_changed_pins() {
    let world = world().with_git();
    fs::remove_file(world.path("repin.yaml")).unwrap();
    world.commit("pins");
    let path = ".github/workflows/a.yml";
    world.write(path, world.read(path) + "# moved\n");
    let ran = world.run(&["init"]).exits(0);
    let lines: Vec<_> = ran.stderr.lines().map(str::trim).collect();
    let add = format!("git add -- repin.yaml {path}");
    assert!(lines.contains(&&*add), "{}", ran.stderr);
    let commit = lines.iter().find(|line| line.starts_with("git commit"));
    let files = format!(" -- repin.yaml {path}");
    assert!(commit.unwrap().ends_with(&files), "{}", ran.stderr);
}

#[test]
fn written_configuration_matches_the_tree() {
    let tree = tree(&[(
        ".github/workflows/a.yaml",
        &pin("registry.example/acme/app"),
    )]);
    tree.run(&["init"]).exits(0);
    let text = fs::read_to_string(tree.path("repin.yaml")).unwrap();
    assert!(
        text.contains("  - \".github/workflows/*.{yml,yaml}\"\n"),
        "{text}"
    );
    for absent in ["ghcr.io", "CHANGELOG", "main", "automation", "acme/runtime"] {
        assert!(!text.contains(absent), "{absent} is invented: {text}");
    }
    for block in ["#inventory:\n", "#smoke:\n", "#prune:\n"] {
        assert!(text.contains(block), "no {block}: {text}");
    }
    tree.run(&["check"]).exits(0);
}
