//! `init` in repositories with several environments.

use std::fmt::Write as _;

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use proptest::prelude::*;
use serde_json::Value;

use crate::{
    init::{Tree, tree},
    support::{
        strace,
        sweep::sample,
        world::{REV_A, REV_B, world},
    },
};

const STAGING: &str = "envs/staging/repin.yaml";
const PROD: &str = "envs/prod/repin.yaml";

/// Lines that pin images, written as `IMAGE DIGIT`.
fn pins(images: &[&str]) -> String {
    let mut text = String::new();
    for image in images {
        let (name, digit) = image.split_once(' ').unwrap();
        let digits = digit.repeat(63);
        writeln!(text, "image: ghcr.io/acme/{name}@sha256:{digits}1").unwrap();
    }
    text
}

/// A git repository with pins in `FILE`, each written as `IMAGE DIGIT`.
fn repository(files: &[(&str, &[&str])]) -> Tree {
    let repository = tree(&[]);
    for (file, images) in files {
        repository.write(file, pins(images));
    }
    repository.git(&["init", "-q"]);
    repository.git(&["remote", "add", "origin", "https://github.com/acme/deploy"]);
    repository.git(&["add", "-A"]);
    repository
}

/// Two environments; `api` differs.
fn two() -> Tree {
    repository(&[
        ("envs/staging/app.yaml", &["api a", "web c"]),
        ("envs/prod/app.yaml", &["api b", "web c"]),
        ("envs/prod/more.yaml", &["api b"]),
    ])
}

/// The configuration files of a repository, sorted.
fn configurations(repository: &Tree) -> Vec<String> {
    let top = repository.path("");
    let mut found = Vec::new();
    let mut directories = vec![top.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.ends_with("repin.yaml") {
                let path = path.strip_prefix(&top).unwrap();
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The numbers of pins that `check` counts with a configuration, which it accepts.
fn counted(repository: &Tree, config: &str) -> Vec<(String, u64)> {
    repository.git(&["add", "-A"]);
    repository.run(&["--config", config, "check"]).exits(0);
    let scan = ["--config", config, "scan", "--format", "json"];
    let scan = repository.run(&scan).exits(0).json();
    let images = scan["images"].as_array().unwrap().iter();
    let row = |image: &Value| {
        let name = image["name"].as_str().unwrap().to_owned();
        (name, image["found"].as_u64().unwrap())
    };
    images.map(row).collect()
}

#[test]
fn differing_environments_get_a_configuration_each() {
    let repository = two();
    let dry = repository.run(&["init", "--dry-run"]).exits(0);
    let table = "SET PATH                 IMAGES  PINS  FILES\n\
                 envs/prod/repin.yaml          2     3      2\n\
                 envs/staging/repin.yaml       2     2      1\n";
    assert!(dry.stdout.ends_with(table), "{}", dry.stdout);
    assert!(dry.stdout.contains("==> envs/prod/repin.yaml <==\n"));
    assert!(dry.stderr.contains("nothing was changed"), "{}", dry.stderr);
    assert_eq!(configurations(&repository), [""; 0]);
    let ran = repository.run(&["init"]).exits(0);
    assert_eq!(ran.stdout, format!("wrote 2 configurations\n\n{table}"));
    for expected in [
        "the digests of ghcr.io/acme/api differ between envs/prod, envs/staging",
        "separate environments",
        "a promotion is half-finished",
        "`rm -- envs/prod/repin.yaml envs/staging/repin.yaml && repin --config repin.yaml init`",
        "git add -- envs/prod/repin.yaml envs/staging/repin.yaml",
        "-m 'Repin-Set: REVISION (envs/prod/repin.yaml)' -m 'Repin-Set: REVISION (envs/staging/repin.yaml)' --",
    ] {
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("acme/web"), "{}", ran.stderr);
    assert_eq!(configurations(&repository), [PROD, STAGING]);
    let [prod, staging] = [PROD, STAGING].map(|config| counted(&repository, config));
    assert_eq!(prod, [("api".to_owned(), 2), ("web".to_owned(), 1)]);
    assert_eq!(staging, [("api".to_owned(), 1), ("web".to_owned(), 1)]);
    repository.run(&["check", "--all"]).exits(0);
    let text = fs::read_to_string(repository.path(PROD)).unwrap();
    assert!(text.contains("\n#name: envs-prod\n"), "{text}");
}

#[test]
fn documents_of_several_sets_are_listed() {
    let repository = two();
    for args in [&["init"][..], &["init", "--each", "envs/*", "--dry-run"]] {
        let list = repository.run(&[args, &["--format", "json"]].concat());
        let list = list.exits(0).json();
        assert_eq!(list["schema"], "repin.sets/1");
        let sets = list["sets"].as_array().unwrap();
        let paths: Vec<_> = sets.iter().map(|set| &set["set_path"]).collect();
        assert_eq!(paths, [PROD, STAGING]);
        let document = &sets[0]["document"];
        assert_eq!(document["schema"], "repin.init/1");
        assert_eq!(document["path"], PROD);
        assert_eq!(document["written"], args.len() == 1);
        assert_eq!(document["images"][0]["pins"], 2);
        for config in configurations(&repository) {
            fs::remove_file(repository.path(&config)).unwrap();
        }
    }
}

#[test]
fn first_level_with_differing_directories_counts() {
    for (files, expected) in [
        (
            &[
                ("k/eu/staging/a.yaml", "api a"),
                ("k/eu/prod/a.yaml", "api b"),
                ("k/us/staging/a.yaml", "api a"),
                ("k/us/prod/deep/a.yaml", "api c"),
            ][..],
            &[
                "k/eu/prod/repin.yaml",
                "k/eu/staging/repin.yaml",
                "k/us/prod/repin.yaml",
                "k/us/staging/repin.yaml",
            ][..],
        ),
        (
            &[
                ("eu/staging/a.yaml", "api a"),
                ("eu/prod/a.yaml", "api a"),
                ("us/staging/a.yaml", "api b"),
                ("us/prod/a.yaml", "api b"),
            ],
            &["eu/repin.yaml", "us/repin.yaml"],
        ),
        // An image that only one directory pins, and a directory with no other image.
        (
            &[
                ("a/x.yaml", "api a"),
                ("b/x.yaml", "api b"),
                ("b/y.yaml", "job a"),
                ("c/x.yaml", "web a"),
            ],
            &["a/repin.yaml", "b/repin.yaml", "c/repin.yaml"],
        ),
        // Files of one directory, and files above it, separate nothing.
        (
            &[("a/x.yaml", "api a"), ("a/y.yaml", "api b")],
            &["repin.yaml"],
        ),
        (
            &[("x.yaml", "api a"), ("prod/x.yaml", "api b")],
            &["repin.yaml"],
        ),
    ] {
        let files: Vec<_> = files
            .iter()
            .map(|(file, image)| (*file, [*image]))
            .collect();
        let files: Vec<_> = files
            .iter()
            .map(|(file, images)| (*file, &images[..]))
            .collect();
        let repository = repository(&files);
        let ran = repository.run(&["init"]).exits(0);
        assert_eq!(configurations(&repository), expected, "{}", ran.stderr);
        if expected.len() > 1 {
            for config in expected {
                counted(&repository, config);
            }
        } else {
            // One configuration with different digests is reported with both causes.
            for cause in ["pin_disagree", "half-finished", "separate environments"] {
                assert!(ran.stderr.contains(cause), "{}", ran.stderr);
            }
        }
    }
}

#[test]
fn layouts_of_kustomize_and_helm_are_separated() {
    let image = |digit: &str| format!("sha256:{}1", digit.repeat(63));
    let repository = tree(&[("deploy/base/kustomization.yaml", "resources: []\n")]);
    for (environment, digit) in [("staging", "a"), ("prod", "b")] {
        repository.write(
            &format!("deploy/{environment}/kustomization.yaml"),
            format!(
                "resources: [../base]\nimages:\n  - name: ghcr.io/acme/api\n    digest: {}\n",
                image(digit)
            ),
        );
        repository.write(
            &format!("deploy/{environment}/values.yaml"),
            format!(
                "web:\n  image:\n    repository: ghcr.io/acme/web\n    digest: {}\n",
                image("c")
            ),
        );
    }
    repository.git(&["init", "-q"]);
    repository.run(&["init"]).exits(0);
    let expected = ["deploy/prod/repin.yaml", "deploy/staging/repin.yaml"];
    assert_eq!(configurations(&repository), expected);
    for config in expected {
        let counted = counted(&repository, config);
        assert_eq!(counted, [("api".to_owned(), 1), ("web".to_owned(), 1)]);
    }
}

#[test]
fn equal_digests_make_one_set_with_a_note() {
    for (directories, globs) in [
        (["envs/staging", "envs/prod"], Some("'envs/*'")),
        (["staging-eu", "Prod"], Some("Prod staging-eu")),
        (["live/dev", "live/test"], Some("'live/*'")),
        (["teams/a", "teams/b"], None),
        (["envs/staging", "envs/other"], None),
    ] {
        let files = directories.map(|directory| format!("{directory}/app.yaml"));
        let repository = repository(&[(&files[0], &["api a"]), (&files[1], &["api a"])]);
        let ran = repository.run(&["init"]).exits(0);
        assert_eq!(configurations(&repository), ["repin.yaml"]);
        counted(&repository, "repin.yaml");
        let Some(globs) = globs else {
            assert!(!ran.stderr.contains("--each"), "{}", ran.stderr);
            continue;
        };
        let command = format!("rm -- repin.yaml && repin init --each {globs}");
        assert!(
            ran.stderr.contains(&format!("`{command}`")),
            "{}",
            ran.stderr
        );
        let dry = repository.run(&["init", "--force", "--dry-run"]).exits(0);
        assert!(dry.stderr.contains("repin init --each"), "{}", dry.stderr);
        // The command separates them.
        let program = Path::new(env!("CARGO_BIN_EXE_repin")).parent().unwrap();
        let status = Command::new("sh")
            .args([
                "-c",
                &format!("PATH={}:$PATH; {command}", program.display()),
            ])
            .current_dir(repository.path(""))
            .env("REPIN_SOURCES", "ghcr.io=oci:absent")
            .output()
            .unwrap();
        assert!(status.status.success(), "{status:?}");
        assert_eq!(configurations(&repository).len(), 2);
    }
}

#[test]
fn each_lists_images_below_none_of_the_directories() {
    let repository = repository(&[
        ("envs/staging/app.yaml", &["api a"]),
        ("envs/prod/app.yaml", &["api b"]),
        ("worker-staging.yaml", &["worker a"]),
        ("worker.prod.yaml", &["worker b"]),
        ("tools.yaml", &["tool c"]),
    ]);
    let ran = repository.run(&["init", "--each", "envs/*"]).exits(0);
    assert_eq!(configurations(&repository), [PROD, STAGING]);
    for expected in [
        "ghcr.io/acme/tool (tools.yaml:1:8)",
        "ghcr.io/acme/worker (worker-staging.yaml:1:8, worker.prod.yaml:1:8)",
        "`repin --config repin.NAME.yaml init`",
        "repin.prod.yaml for worker.prod.yaml, repin.staging.yaml for worker-staging.yaml",
    ] {
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
    // Nothing is left to list.
    for (name, file) in [
        ("prod", "worker.prod.yaml"),
        ("staging", "worker-staging.yaml"),
    ] {
        let config = format!("repin.{name}.yaml");
        let text = format!(
            "version: 1\nfiles: [{file}]\nimages: {{ worker: {{ repository: ghcr.io/acme/worker, pins: 1 }} }}\n"
        );
        repository.write(&config, text);
    }
    for file in [PROD, STAGING] {
        fs::remove_file(repository.path(file)).unwrap();
    }
    let ran = repository.run(&["init", "--each", "envs/*"]).exits(0);
    assert!(ran.stderr.contains("ghcr.io/acme/tool ("), "{}", ran.stderr);
    assert!(
        !ran.stderr.contains("ghcr.io/acme/worker ("),
        "{}",
        ran.stderr
    );
}

#[test]
fn each_writes_a_configuration_regardless_of_the_digests() {
    let repository = repository(&[
        ("envs/staging/app.yaml", &["api a"]),
        ("envs/prod/app.yaml", &["api a", "api b"]),
        ("envs/lib/values.txt", &[]),
        (".github/workflows/ci.yaml", &["api c"]),
        ("other/x.yaml", &["api c"]),
    ]);
    let ran = repository.run(&["init", "--each", "envs/*/"]).exits(0);
    assert_eq!(configurations(&repository), [PROD, STAGING]);
    for expected in [
        "skipped, because no image of the set is pinned there: envs/lib",
        "below none of these directories: ghcr.io/acme/api (.github/workflows/ci.yaml:1:8, other/x.yaml:1:8)",
        "envs/prod/repin.yaml: `repin check` will fail: pin_disagree",
        "(envs/prod/repin.yaml)' -m 'Repin-Set: REVISION (envs/staging/repin.yaml)'",
    ] {
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
    // The remaining pins are counted by another configuration, and no pin twice.
    let ran = repository.run(&["init"]).exits(0);
    assert_eq!(configurations(&repository), [PROD, STAGING, "repin.yaml"]);
    assert!(
        ran.stderr
            .contains("envs/prod/repin.yaml counts 2 pins, envs/staging/repin.yaml counts 1 pin"),
        "{}",
        ran.stderr
    );
    assert_eq!(counted(&repository, "repin.yaml"), [("api".to_owned(), 2)]);
}

#[test]
fn each_accepts_the_directories_that_a_shell_lists() {
    let repository = two();
    repository
        .run(&["init", "--each", "envs/prod", "envs/staging", "-q"])
        .exits(0);
    assert_eq!(configurations(&repository), [PROD, STAGING]);
}

#[test]
fn each_refuses_directories_that_it_cannot_separate() {
    let repository = two();
    repository.write("docs/a.md", "none\n");
    for (args, expected) in [
        (
            &["nowhere/*"][..],
            "`--each nowhere/*` matches no directory",
        ),
        (&["envs/prod", "nowhere"], "matches no directory"),
        (&["../x"], "below the current directory"),
        (&["docs"], "no image is pinned by digest below docs"),
        (&["**"], "both configurations would count the pins below"),
        (&["envs", "envs/prod"], "matches envs and envs/prod"),
        (&["envs/*", "--config", "x.yaml"], "exclude each other"),
        (&["envs/*", "--force"], "cannot be used with"),
        (&["envs/*", "--update"], "cannot be used with"),
    ] {
        let ran = repository
            .run(&[&["init", "--each"], args].concat())
            .exits(2);
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
        assert_eq!(configurations(&repository), [""; 0]);
    }
}

#[test]
fn pins_of_existing_configurations_are_not_counted_again() {
    let repository = two();
    repository.run(&["init", "--each", "envs/staging"]).exits(0);
    let before = fs::read(repository.path(STAGING)).unwrap();
    // Of two differing environments, the other one gets a configuration.
    let ran = repository.run(&["init"]).exits(0);
    assert!(
        ran.stderr
            .contains("left out, because existing configurations count their pins: envs/staging"),
        "{}",
        ran.stderr
    );
    assert_eq!(configurations(&repository), [PROD, STAGING]);
    let ran = repository.run(&["init"]).exits(2);
    assert!(
        ran.stderr
            .contains("another configuration counts every pin of the set"),
        "{}",
        ran.stderr
    );
    let ran = repository.run(&["init", "--each", "envs/*"]).exits(2);
    for path in [PROD, STAGING] {
        let expected = format!("{path} already counts pins below");
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
    }
    assert_eq!(fs::read(repository.path(STAGING)).unwrap(), before);
    // A configuration of the whole repository, and one in a directory above the current one.
    for path in [PROD, STAGING] {
        fs::remove_file(repository.path(path)).unwrap();
    }
    repository
        .run(&["--config", "repin.eu.yaml", "init"])
        .exits(0);
    let ran = repository.run(&["init", "--each", "envs/*"]).exits(2);
    assert!(
        ran.stderr
            .contains("repin.eu.yaml already counts pins below envs/prod, envs/staging"),
        "{}",
        ran.stderr
    );
    let mut below = repository.command(&["init"]);
    let below = below.current_dir(repository.path("envs")).output().unwrap();
    let stderr = String::from_utf8(below.stderr).unwrap();
    assert_eq!(below.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("../repin.eu.yaml counts 5 pins"),
        "{stderr}"
    );
    assert_eq!(configurations(&repository), [""; 0]);
}

#[test]
fn unreadable_configuration_is_reported_and_kept() {
    let repository = two();
    repository.write(STAGING, "version: 1\n");
    for args in [&["init"][..], &["init", "--each", "envs/*"]] {
        let ran = repository.run(args).exits(2);
        let expected = "envs/staging/repin.yaml already exists";
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        assert_eq!(configurations(&repository), [STAGING]);
    }
    fs::remove_file(repository.path(STAGING)).unwrap();
    repository.write("envs/staging/repin.eu.yaml", "version: 1\n");
    let ran = repository.run(&["init"]).exits(0);
    let expected = "the pins that envs/staging/repin.eu.yaml counts are unknown";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}

#[test]
fn one_configuration_is_kept_or_requested_explicitly() {
    let repository = two();
    let ran = repository.run(&["--config", "repin.yaml", "init"]).exits(0);
    assert_eq!(configurations(&repository), ["repin.yaml"]);
    let text = fs::read_to_string(repository.path("repin.yaml")).unwrap();
    for output in [&ran.stderr, &text] {
        for cause in ["pin_disagree", "half-finished", "separate environments"] {
            assert!(output.contains(cause), "{output}");
        }
    }
    // Replacing it by two configurations requires that it is removed first.
    let ran = repository.run(&["init", "--force"]).exits(2);
    assert!(ran.stderr.contains("remove repin.yaml"), "{}", ran.stderr);
    assert_eq!(configurations(&repository), ["repin.yaml"]);
    let dry = repository.run(&["init", "--dry-run"]).exits(0);
    assert!(dry.stderr.contains("repin.yaml exists"), "{}", dry.stderr);
    let checked = repository.run(&["check"]).exits(1);
    let help = checked.stderr.split("help: ").nth(1).unwrap();
    for cause in [
        "half-finished",
        "separate environments",
        "repin init --each",
    ] {
        assert!(help.contains(cause), "{}", checked.stderr);
    }
    let explained = repository.run(&["explain", "pin_disagree"]).exits(0);
    for text in [&checked.stderr, &explained.stdout] {
        assert!(!text.contains("--revision"), "{text}");
    }
}

#[test]
fn failed_write_leaves_no_configuration() {
    let names = "fsync,renameat2,unlink";
    let repository = || {
        repository(&[
            ("a/x.yaml", &["api a"]),
            ("b/x.yaml", &["api b"]),
            ("c/x.yaml", &["api c"]),
        ])
    };
    let before = |repository: &Tree| {
        let mut names = Vec::new();
        for directory in ["a", "b", "c"] {
            for entry in fs::read_dir(repository.path(directory)).unwrap() {
                names.push(entry.unwrap().file_name());
            }
        }
        names
    };
    let traced = repository();
    let top = strace::canonical(&traced.path(""));
    let trace = strace::trace(&traced.command(&["init"]), names, &[]);
    assert!(trace.output.status.success());
    let points = trace.points(&top);
    // Three copies and three directories are synced, three files renamed.
    assert_eq!(points.len(), 9, "{points:?}");
    for point in sample(points, 5) {
        let repository = repository();
        let untouched = before(&repository);
        let output = strace::inject(&repository.command(&["init"]), &[point.inject("error=EIO")]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{point:?}: {stderr}");
        assert!(stderr.contains("cannot write "), "{point:?}: {stderr}");
        assert_eq!(before(&repository), untouched, "{point:?}: {stderr}");
        repository.run(&["init"]).exits(0);
    }
}

#[test]
fn signal_during_the_write_leaves_all_configurations() {
    let traced = two();
    let top = strace::canonical(&traced.path(""));
    let points = strace::trace(&traced.command(&["init"]), "renameat2", &[]).points(&top);
    for point in points {
        let repository = two();
        let signal = [point.inject("signal=INT")];
        let output = strace::inject(&repository.command(&["init"]), &signal);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{stderr}");
        assert!(
            stderr.ends_with("interrupted; the configurations were written\n"),
            "{stderr}"
        );
        assert_eq!(configurations(&repository), [PROD, STAGING]);
    }
}

#[test]
fn proposed_commit_is_evidence_of_each_set() {
    let world = world();
    fs::remove_file(world.path("repin.yaml")).unwrap();
    fs::remove_dir_all(world.path(".github")).unwrap();
    for (environment, revision) in [("staging", REV_B), ("prod", REV_A)] {
        let mut text = String::new();
        for image in ["review", "fix"] {
            let digest = world.digest(image, revision);
            writeln!(text, "x: ghcr.io/acme/{image}:{revision}@{digest}").unwrap();
        }
        world.write(&format!("envs/{environment}/app.yml"), text);
    }
    let world = world.with_git();
    let images = format!("ghcr.io/acme=oci:{}", world.path("images").display());
    let run = |args: &[&str]| world.run_with(args, &[("REPIN_SOURCES", &images)]);
    let ran = run(&["init"]).exits(0);
    let lines = ran.stderr.lines().map(str::trim);
    let commands: Vec<_> = lines.filter(|line| line.starts_with("git ")).collect();
    assert_eq!(commands.len(), 2, "{}", ran.stderr);
    for command in commands {
        let mut words = Vec::new();
        for (number, part) in command.split('\'').enumerate() {
            if number % 2 == 1 {
                words.push(part);
            } else {
                words.extend(part.split_whitespace());
            }
        }
        world.git(&words[1..]);
    }
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    world.push();
    let promote = ["--config", PROD, "promote", "--revision", REV_B, "--apply"];
    run(&promote).exits(0);
    world.commit(&format!("promote: envs-prod @{REV_B}"));
    world.push();
    let rollback = ["--config", PROD, "rollback", "--to", REV_A];
    let ran = run(&[&rollback[..], &["--format", "json"]].concat());
    assert_eq!(ran.json()["approved"], true, "{}{}", ran.stdout, ran.stderr);
    // Control: the staging set was never at A.
    let rollback = ["--config", STAGING, "rollback", "--to", REV_A];
    let ran = run(&[&rollback[..], &["--format", "json"]].concat());
    assert_eq!(
        ran.json()["approved"],
        false,
        "{}{}",
        ran.stdout,
        ran.stderr
    );
}

/// Directories of a tree, some of them in others.
const DIRECTORIES: [&str; 9] = [
    "",
    "a/",
    "b/",
    "a/x/",
    "a/y/",
    "b/x/",
    "envs/prod/",
    "envs/staging/",
    ".github/workflows/",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_pin_is_counted_by_exactly_one_set(
        files in proptest::collection::vec((0..DIRECTORIES.len(), 0..2_usize, 0..2_usize, 0..3_usize), 1..9),
    ) {
        let mut contents: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (directory, file, image, digit) in &files {
            let path = format!("{}{}.yaml", DIRECTORIES[*directory], ["k", "l"][*file]);
            let pin = format!("{} {}", ["api", "web"][*image], ["a", "b", "c"][*digit]);
            contents.entry(path).or_default().push(pin);
        }
        let tree = repository(&[]);
        for (path, images) in &contents {
            let images: Vec<_> = images.iter().map(String::as_str).collect();
            tree.write(path, pins(&images));
        }
        let ran = tree.run(&["init"]);
        prop_assert_eq!(ran.code, 0, "{}", ran.stderr);
        tree.git(&["add", "-A"]);
        // A second run counts the pins below none of the directories.
        if !tree.path("repin.yaml").exists() {
            let rest = ran.stderr.contains("below none of these directories");
            let ran = tree.run(&["init"]);
            prop_assert_eq!(ran.code, if rest { 0 } else { 2 }, "{}", ran.stderr);
            tree.git(&["add", "-A"]);
        }
        let mut counted = 0;
        for config in configurations(&tree) {
            let checked = tree.run(&["--config", &config, "check", "--format", "json"]);
            let document = checked.json();
            for check in document["checks"].as_array().unwrap() {
                let is_disagreement = check["code"] == "pin_disagree";
                prop_assert!(check["status"] != "fail" || is_disagreement, "{check}");
            }
            let scan = tree.run(&["--config", &config, "scan", "--format", "json"]).json();
            counted += scan["pins"].as_array().unwrap().len();
        }
        prop_assert_eq!(counted, files.len());
    }
}
