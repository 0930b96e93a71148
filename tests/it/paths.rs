//! Files that a configuration refers to: opened below the root, through no link, never in `.git`,
//! and never shown.

use std::{fs, os::unix::fs::symlink, path::Path};

use crate::support::world::{REV_B, Ran, World, world};

/// The content of a file that is not ours to print, in a form that no parser accepts.
const SECRET: &str = "hunter2: [hunter2, &hunter2\n%hunter2 'hunter2\n{{ hunter2 \n";

/// A setting that refers to the file `PATH`, and a command that reads it.
const SETTINGS: [(&str, &[&str]); 5] = [
    ("contract", &["promote", "--revision", REV_B]),
    ("template", &["promote", "--revision", REV_B]),
    ("key", &["promote", "--revision", REV_B]),
    ("root", &["promote", "--revision", REV_B]),
    ("freshness", &["freshness"]),
];

/// A repository with a configuration that refers to a file.
fn referring(setting: &str, path: &str) -> World {
    let world = world().with_git();
    let more = match setting {
        "contract" => {
            world.replace(
                "repin.yaml",
                "ghcr.io/acme/fix, pins: 2",
                &format!("ghcr.io/acme/fix, pins: 2, contract: '{path}'"),
            );
            String::new()
        }
        "template" => {
            world.replace(
                "repin.yaml",
                "report: { labels: [dev.acme.version] }",
                &format!("report: {{ template: '{path}' }}"),
            );
            String::new()
        }
        "key" => format!(
            "verify: {{ require: [signature], signers: [{{ key: '{path}', commit: 'off' }}] }}\n"
        ),
        "root" => format!(
            "verify: {{ require: [signature], signers: [{{ identity: a@b.example, issuer: https://c.example, commit: 'off' }}], trusted_roots: ['./{path}'] }}\n"
        ),
        _ => format!(
            "freshness: [{{ name: x, repository: origin.git, branch: main, max_gap: 14d, pinned: {{ file: '{path}', pointer: /ref }} }}]\n"
        ),
    };
    world.write("repin.yaml", world.read("repin.yaml") + &more);
    world
}

fn no_secret(ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

fn refused(world: &World, args: &[&str], reason: &str) {
    for format in [&[][..], &["--format", "json"], &["--format", "github"]] {
        let args = [args, format].concat();
        let ran = world.run(&args);
        no_secret(&ran);
        let printed = format!("{}{}", ran.stdout, ran.stderr);
        assert!(printed.contains(reason), "{args:?}: {printed}");
        assert_eq!(ran.code, 2, "{args:?}: {printed}");
    }
}

#[test]
fn configured_file_is_not_opened_through_a_link() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("file"), SECRET).unwrap();
    for (setting, args) in SETTINGS {
        let world = referring(setting, "link");
        symlink(elsewhere.path().join("file"), world.path("link")).unwrap();
        refused(&world, args, "symbolic link");
        let world = referring(setting, "a/link/file");
        fs::create_dir(world.path("a")).unwrap();
        symlink(elsewhere.path(), world.path("a/link")).unwrap();
        refused(&world, args, "symbolic link");
        // A link that stays in the root is a link.
        let world = referring(setting, "inner");
        world.write("file", SECRET);
        symlink("file", world.path("inner")).unwrap();
        refused(&world, args, "symbolic link");
    }
}

#[test]
fn configured_file_is_not_in_the_git_directory() {
    for (setting, args) in SETTINGS {
        for path in [
            ".git/config",
            "sub/.git/config",
            ".GIT/config",
            "git~1/config",
        ] {
            let world = referring(setting, path);
            if path == ".git/config" {
                world.git(&["config", "user.hunter2", "hunter2"]);
            } else {
                world.write(path, SECRET);
            }
            refused(&world, args, "in `.git`");
        }
    }
}

#[test]
fn message_does_not_quote_an_invalid_file() {
    for (setting, args) in SETTINGS {
        let world = referring(setting, "file");
        for content in [
            SECRET,
            "{\"type\": \"hunter2\", \"hunter2\": \"hunter2\"}",
            "hunter2: 1\nhunter2: 2\n",
            "a: *hunter2\n",
            "must_contain: hunter2\n",
            "must_contain: { hunter2: [a] }\n",
            "-----BEGIN hunter2-----\nhunter2\n",
            "-----BEGIN PUBLIC KEY-----\nhunter2\n-----END PUBLIC KEY-----\n",
            "{\"mediaType\": \"hunter2\", \"tlogs\": \"hunter2\"}",
            "{{ hunter2 }}",
            "{{ kind|hunter2 }}",
            "{% hunter2 %}",
        ] {
            // A text without markers of a template is a valid one.
            if setting == "template" && !content.contains("{{") && !content.contains("{%") {
                continue;
            }
            world.write("file", content);
            let ran = world.run(args);
            no_secret(&ran);
            assert_eq!(ran.code, 2, "{setting} {content}: {}", ran.stderr);
            let ran = world.run(&[args, &["--format", "json"]].concat());
            no_secret(&ran);
        }
    }
}

#[test]
fn error_in_a_file_has_its_location() {
    let world = referring("contract", "ci/expected.yaml");
    world.write("ci/expected.yaml", "must_contain:\n  hunter2: [a]\n");
    let args = ["promote", "--revision", REV_B];
    let ran = world.run(&args).exits(2);
    no_secret(&ran);
    assert!(
        ran.stderr.contains("ci/expected.yaml:2:3"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("unknown kind"), "{}", ran.stderr);
    let document = world.run(&[&args[..], &["--format", "json"]].concat());
    let text = document.exits(2).json().to_string();
    assert!(
        text.contains("\"line\":2") || text.contains(":2:3"),
        "{text}"
    );
}

#[test]
fn configured_file_in_the_root_is_read() {
    let world = referring("template", "a/body.md");
    world.write("a/body.md", "the set is {{ revision }}\n");
    let args = ["promote", "--revision", REV_B, "--body-file", "-"];
    let ran = world.run(&args).exits(0);
    assert!(
        ran.stdout.contains(&format!("the set is {REV_B}")),
        "{}",
        ran.stdout
    );
    let world = referring("freshness", "a/manifest.yaml");
    world.push();
    world.write("a/manifest.yaml", "ref: main\n");
    world.run(&["freshness"]).exits(0);
}

/// Runs with a configuration, given or found; the output must not quote it.
fn refuses_config(world: &World, directory: &Path, config: &[&str]) {
    let ran = world.run_in(directory, &[config, &["check"]].concat(), &[]);
    no_secret(&ran);
    let printed = format!("{}{}", ran.stdout, ran.stderr);
    assert!(printed.contains("symbolic link"), "{config:?}: {printed}");
    assert_eq!(ran.code, 2, "{config:?}: {printed}");
}

#[test]
fn linked_configuration_in_repository_is_not_read() {
    let elsewhere = tempfile::tempdir().unwrap();
    for name in ["repin.yaml", "secret"] {
        fs::write(elsewhere.path().join(name), SECRET).unwrap();
    }
    let world = world().with_git();
    fs::create_dir_all(world.path("found/deep")).unwrap();
    symlink(
        elsewhere.path().join("secret"),
        world.path("found/repin.yaml"),
    )
    .unwrap();
    symlink(elsewhere.path(), world.path("directory")).unwrap();
    let found = world.path("found");
    refuses_config(&world, &found, &[]);
    refuses_config(&world, &found.join("deep"), &[]);
    refuses_config(&world, world.root(), &["--config", "found/repin.yaml"]);
    refuses_config(&world, &found.join("deep"), &["--config", "../repin.yaml"]);
    refuses_config(&world, world.root(), &["--config", "directory/repin.yaml"]);
    refuses_config(
        &world,
        world.root(),
        &["--config", "found/../directory/repin.yaml"],
    );
    let absolute = world.path("directory/repin.yaml");
    refuses_config(
        &world,
        Path::new("/"),
        &["--config", absolute.to_str().unwrap()],
    );
    // In a directory without git, repin also does not follow a configuration that it finds.
    let bare = tempfile::tempdir().unwrap();
    symlink(
        elsewhere.path().join("secret"),
        bare.path().join("repin.yaml"),
    )
    .unwrap();
    refuses_config(&world, bare.path(), &[]);
}

#[test]
fn configuration_without_git_may_be_a_link() {
    // Kubernetes mounts a ConfigMap as links.
    let world = world();
    fs::create_dir(world.path("..data")).unwrap();
    fs::rename(world.path("repin.yaml"), world.path("..data/repin.yaml")).unwrap();
    symlink("..data/repin.yaml", world.path("repin.yaml")).unwrap();
    world.run(&["--config", "repin.yaml", "scan"]).exits(0);
    // A link above the repository is not of the repository.
    let repository = self::world().with_git();
    let above = tempfile::tempdir().unwrap();
    symlink(repository.root(), above.path().join("link")).unwrap();
    let config = above.path().join("link/.github/../repin.yaml");
    repository
        .run(&["--config", config.to_str().unwrap(), "check"])
        .exits(0);
}

#[test]
fn linked_chart_file_defines_no_chart() {
    let world = world().with_git();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("Chart.yaml"), "name: x\n").unwrap();
    fs::create_dir(world.path("chart")).unwrap();
    symlink(
        elsewhere.path().join("Chart.yaml"),
        world.path("chart/Chart.yaml"),
    )
    .unwrap();
    let fix = world.digest("fix", crate::support::world::REV_A).to_owned();
    world.write(
        "chart/values-prod.yaml",
        format!("image: {{ repository: ghcr.io/acme/fix, digest: '{fix}' }}\n"),
    );
    world.replace(
        "repin.yaml",
        "files: ['.github/workflows/*.yml']",
        "files: ['.github/workflows/*.yml', 'chart/*.yaml']\nplaces: { helm: {} }",
    );
    world.git(&["add", "-A"]);
    let found = |world: &World| world.run(&["scan"]).exits(0).stdout.contains("values-prod");
    let linked = found(&world);
    fs::remove_file(world.path("chart/Chart.yaml")).unwrap();
    assert_eq!(linked, found(&world), "as without a chart");
}

#[test]
fn apply_is_not_led_out_of_the_root() {
    let world = world().with_git();
    let elsewhere = tempfile::tempdir().unwrap();
    let outside = elsewhere.path().join("workflows");
    fs::rename(world.path(".github/workflows"), &outside).unwrap();
    symlink(&outside, world.path(".github/workflows")).unwrap();
    let before = fs::read(outside.join("a.yml")).unwrap();
    let ran = world.run(&["promote", "--revision", REV_B, "--apply"]);
    assert_ne!(ran.code, 0, "{}", ran.stdout);
    assert_eq!(fs::read(outside.join("a.yml")).unwrap(), before);
    let left: Vec<_> = fs::read_dir(&outside).unwrap().collect();
    assert_eq!(left.len(), 3, "{left:?}");
}
