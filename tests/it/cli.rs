//! The command line itself: help, mistakes, where the configuration is found, `scan` and `check`.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::json;

use crate::support::world::{REV_A, REV_B, REV_C, Ran, World, world};

#[test]
fn scan_lists_every_pin_and_never_fails() {
    let world = world();
    world.replace("repin.yaml", "pins: 2", "pins: 9");
    world.write(
        ".github/workflows/c.yml",
        "\n ghcr.io/acme/fix@sha256:abc\n",
    );
    let ran = world.run(&["scan"]).exits(0);
    insta::with_settings!({filters => vec![("[0-9a-f]{64}", "<digest>")]}, {
        insta::assert_snapshot!("scan", ran.stdout);
    });
    let document = world.run(&["scan", "--format", "json"]).exits(0).json();
    assert_eq!(document["schema"], "repin.scan/1");
    let review = json!({"name": "review", "repository": "ghcr.io/acme/review", "expected": 3, "found": 3, "digests": [world.digest("review", REV_A)], "places": []});
    assert_eq!(document["images"][0], review);
    assert_eq!(
        document["malformed"],
        json!([{"image": "fix", "file": ".github/workflows/c.yml", "line": 2, "column": 2, "place": null, "text": "ghcr.io/acme/fix@sha256:abc"}])
    );
    let pins = document["pins"].as_array().unwrap();
    assert_eq!(pins.len(), 5);
    assert_eq!(
        (&pins[1]["tag"], &pins[0]["tag"]),
        (&json!(REV_A), &json!(null))
    );
    for pin in pins {
        let text = world.read(pin["file"].as_str().unwrap());
        let offset = usize::try_from(pin["offset"].as_u64().unwrap()).unwrap();
        assert_eq!(&text[offset..offset + 71], pin["digest"].as_str().unwrap());
    }
}

#[test]
fn scan_accepts_files_that_are_not_text() {
    let world = world();
    let pin = format!("ghcr.io/acme/fix@{}", world.digest("fix", REV_A));
    world.write(
        ".github/workflows/c.yml",
        [b"\xff\xfe\0\x80".as_slice(), pin.as_bytes(), b"\0"].concat(),
    );
    let document = world.run(&["scan", "--format", "json"]).exits(0).json();
    assert_eq!(document["images"][1]["found"], 3);
    world.replace("repin.yaml", "pins: 2", "pins: 3");
    world
        .run(&["promote", "--revision", REV_B, "--apply"])
        .exits(0);
    let expected = [
        b"\xff\xfe\0\x80".as_slice(),
        format!("ghcr.io/acme/fix@{}", world.digest("fix", REV_B)).as_bytes(),
        b"\0",
    ]
    .concat();
    assert_eq!(
        fs::read(world.path(".github/workflows/c.yml")).unwrap(),
        expected
    );
}

#[test]
fn check_reports_ok_or_the_failures() {
    let world = world();
    let ran = world.run(&["check"]).exits(0);
    assert_eq!(ran.stdout, "OK: 5 pins of 3 images in 2 files\n");
    let document = world.run(&["check", "--format", "json"]).exits(0).json();
    assert_eq!(
        (&document["schema"], &document["clean"]),
        (&json!("repin.check/1"), &json!(true))
    );
    world.replace("repin.yaml", "pins: 2", "pins: 1");
    let document = world.run(&["check", "--format", "json"]).exits(1).json();
    assert_eq!(document["clean"], false);
}

#[test]
fn the_nearest_configuration_upward_is_found() {
    let world = world();
    let deep = world.path("a/b");
    fs::create_dir_all(&deep).unwrap();
    world.run_in(&deep, &["check"], &[]).exits(0);
    let lost = tempfile::tempdir().unwrap();
    let ran = world.run_in(lost.path(), &["scan"], &[]).exits(2);
    assert!(
        ran.stderr.contains("repin.yaml not found in ") && ran.stderr.contains("--config"),
        "{}",
        ran.stderr
    );
    let document = world
        .run_in(lost.path(), &["scan", "--format=json"], &[])
        .exits(2)
        .json();
    assert_eq!(
        (&document["schema"], &document["exit"]),
        (&json!("repin.error/1"), &json!(2))
    );
    world.run(&["--config", "nowhere.yaml", "scan"]).exits(2);
    world.run(&["--config", ".", "scan"]).exits(2);
    world.write("latin1.yaml", b"version: 1\nname: caf\xe9\n");
    let ran = world.run(&["--config", "latin1.yaml", "scan"]).exits(2);
    assert!(
        ran.stderr.contains("= help: save the file as UTF-8"),
        "{}",
        ran.stderr
    );
}

#[test]
fn mistakes_on_the_command_line_are_explained() {
    let world = world();
    for (args, says) in [
        (&["promot"][..], "promote"),
        (&["promote"], "--revision"),
        (&["promote", "--revison", "x"], "--revision"),
        (&["scan", "--format", "xml"], "human"),
        (&["-q", "-v", "scan"], "cannot be used"),
        (&["wait", "--pr", "x"], "expected a whole number"),
        (&["wait", "--pr", "0"], "numbered from 1"),
        (&["history", "--limit", "x"], "expected a whole number"),
        (&["prune", "--limit", "9".repeat(30).as_str()], "too large"),
        (&[], "Usage"),
    ] {
        let ran = world.run(args).exits(2);
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{args:?}");
    }
    let document = world.run(&["promote", "--format", "json"]).exits(2).json();
    assert_eq!(document["errors"][0]["code"], "usage");
}

#[test]
fn every_mistake_in_the_configuration_is_pointed_at() {
    let world = world();
    world.write(
        "repin.yaml",
        "version: 1\nfile: [a]\nfiles: ['../x']\nimages:\n  a: { repository: ghcr.io/A, pins: two }\n  b: { repositry: x, pins: 1 }\npromote: { branch: 'x' }\n",
    );
    let ran = world.run(&["check", "--color", "never"]).exits(2);
    insta::assert_snapshot!("mistakes", ran.stderr);
    let document = world.run(&["check", "--format", "json"]).exits(2).json();
    let places: Vec<_> = document["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["line"].as_u64(), e["column"].as_u64()))
        .collect();
    assert_eq!(places[0], (Some(2), Some(1)), "{document}");
    assert!(places.len() >= 6, "{document}");
}

#[test]
fn manual_is_one_page_without_defects() {
    let world = world();
    let page = world.run(&["man"]).exits(0).stdout;
    assert_eq!(page.matches(".TH ").count(), 1);
    world.write("repin.1", &page);
    let mandoc = |args: &[&str]| {
        let mut command = world.other_command("mandoc");
        Ran::of(command.args(args).arg(world.path("repin.1"))).stdout
    };
    let findings = mandoc(&["-T", "lint"]);
    let mut findings = findings.lines();
    // A build has no date.
    findings
        .next()
        .filter(|line| line.contains("missing date"))
        .unwrap();
    assert_eq!(findings.next(), None);
    let shown = mandoc(&["-T", "utf8", "-O", "width=80"]);
    // Examples are not wrapped, options of all commands are listed once.
    let example =
        "repin promote -r 4f2a… --apply --commit     # change every pin, or none, and commit";
    assert!(shown.contains(example), "{shown}");
    assert_eq!(shown.matches("Read repositories under PREFIX").count(), 1);
}

#[test]
fn color_is_used_on_request() {
    let world = world();
    world.replace("repin.yaml", "pins: 2", "pins: 9");
    assert!(!world.run(&["check"]).stderr.contains('\u{1b}'));
    assert!(
        world
            .run(&["check", "--color", "always"])
            .stderr
            .contains('\u{1b}')
    );
    assert!(
        !world
            .run(&["check", "--color", "never"])
            .stderr
            .contains('\u{1b}')
    );
}

#[test]
fn closed_pipe_succeeds_and_full_disk_fails() {
    use std::process::Stdio;
    let world = world();
    let mut child = world
        .command(&["scan"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = world.command(&["scan"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"));
}

#[test]
fn an_unreadable_file_is_named() {
    let world = world();
    fs::remove_file(world.path(".github/workflows/none.yml")).unwrap();
    fs::create_dir(world.path(".github/workflows/none.yml")).unwrap();
    // A directory that is called like a file is not a file.
    world.run(&["check"]).exits(0);
    fs::set_permissions(
        world.path(".github/workflows/b.yml"),
        fs::Permissions::from_mode(0o000),
    )
    .unwrap();
    if fs::read(world.path(".github/workflows/b.yml")).is_err() {
        let ran = world.run(&["check"]).exits(3);
        assert!(
            ran.stderr.contains(".github/workflows/b.yml"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn directory_as_configuration_names_the_file() {
    let ran = world().run(&["--config", ".github/", "check"]).exits(2);
    assert!(
        ran.stderr
            .contains("pass a file, such as .github/repin.yaml"),
        "{}",
        ran.stderr
    );
}

#[test]
fn document_lists_missing_requirements() {
    let world = world();
    for (args, name) in [
        (&["promote"][..], "--revision"),
        (&["inventory", "match"], "--expected"),
        (&["inventory"], "subcommand"),
    ] {
        let document = world
            .run(&[args, &["--format", "json"]].concat())
            .exits(2)
            .json();
        let message = document["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn generated_texts_are_documents_too() {
    let world = world();
    for args in [&["completions", "bash"][..], &["man"], &["schema"]] {
        let text = world.run(args).exits(0).stdout;
        let document = world
            .run(&[args, &["--format", "json"]].concat())
            .exits(0)
            .json();
        assert_eq!(
            document,
            json!({"schema": "repin.text/1", "name": args[0], "content": text})
        );
    }
}

#[test]
fn a_misspelled_argument_is_suggested_in_the_document() {
    let world = world();
    for (args, near) in [
        (&["prmote"][..], "promote"),
        (&["promote", "--revison", REV_B], "--revision"),
        (&["completions", "bsh"], "bash"),
    ] {
        let ran = world.run(&[args, &["--format", "json"]].concat()).exits(2);
        let error = &ran.json()["errors"][0];
        assert_eq!(
            error["hint"],
            format!("did you mean `{near}`? See `repin --help`"),
            "{error}"
        );
    }
    let words = ["promote", REV_B, "--format", "json"];
    let document = world.run(&words).exits(2).json();
    assert_eq!(
        document["errors"][0]["hint"],
        format!("a revision is written as '--revision {REV_B}'")
    );
}

#[test]
fn passed_checks_have_titles_and_codes() {
    let world = world();
    let ran = world
        .run(&["promote", "--revision", REV_B, "-v", "--no-diff"])
        .exits(0);
    for line in [
        "pass  revision label matches",
        "pass  tag exists",
        "pass  pins agree",
        "warn  revision_order",
    ] {
        assert!(ran.stdout.contains(line), "no {line}: {}", ran.stdout);
    }
    assert!(
        !ran.stdout.contains("pass  revision_label"),
        "{}",
        ran.stdout
    );
    let ran = world.run(&["promote", "--revision", REV_B, "--format", "json"]);
    assert!(
        ran.stdout.contains(r#""code":"revision_label""#),
        "{}",
        ran.stdout
    );
}

/// The completions of the last of `words`; `fish` prints a value, a tab and its help.
fn offered(world: &World, words: &[&str]) -> String {
    let args = [&["--", "repin"], words].concat();
    world
        .run_with(&args, &[("REPIN_COMPLETE", "fish"), ("TZ", "CET-1")])
        .exits(0)
        .stdout
}

#[test]
fn completions_know_images_and_sets() {
    let mut world = world().with_git();
    world.promoted(REV_B);
    let current = offered(&world, &["rollback", "--to", ""]);
    assert_eq!(current, "", "the current set is no rollback");
    world.build(REV_C);
    world.promoted(REV_C);
    let sets = offered(&world, &["rollback", "--to", ""]);
    let mut sets = sets.lines();
    let previous = "previous\tthe newest available set before the current one";
    assert_eq!(sets.next(), Some(previous));
    let set = sets.next().unwrap();
    assert!(
        set.starts_with(&format!("{REV_B}\t2026-01-02 04:04+01:00 promote: ")),
        "{set}"
    );
    assert_eq!(sets.next(), None);
    world.pin(REV_B);
    world.commit("by hand");
    let held = offered(&world, &["rollback", "--to", ""]);
    assert_eq!(held, "", "a set that was rolled back");
    assert!(offered(&world, &["resolve", "-r", "bb"]).starts_with(&format!("{REV_B}\t")));
    let images = "review\tghcr.io/acme/review\nfix\tghcr.io/acme/fix\nbase\tghcr.io/acme/base\n";
    let trust = offered(&world, &["trust", "show", ""]);
    assert!(trust.starts_with(images), "{trust}");
    assert_eq!(
        offered(&world, &["prune", "--image", "re"]),
        "review\tghcr.io/acme/review\n"
    );
    let builds = offered(&world, &["promote", "--revision", ""]);
    assert!(builds.starts_with("newest\tthe newest build\n"), "{builds}");
    for build in [REV_A, REV_B] {
        assert!(
            builds.contains(&format!("{build}\t3 of 3 images\n")),
            "{builds}"
        );
    }
    assert_eq!(builds.matches(REV_B).count(), 1, "{builds}");
    world.layout("base").untag(REV_A);
    let builds = offered(&world, &["promote", "--revision", ""]);
    let incomplete = format!("{REV_A}\t2 of 3 images\n");
    assert!(builds.contains(&incomplete), "{builds}");
    // Without a registry, the sets of history remain.
    let layouts = world.path("images");
    std::fs::rename(&layouts, world.path("moved")).unwrap();
    let sets = offered(&world, &["promote", "--revision", "bb"]);
    assert!(
        sets.starts_with(&format!("{REV_B}\t2026-01-02 04:04+01:00 by hand")),
        "{sets}"
    );
    std::fs::rename(world.path("moved"), &layouts).unwrap();
    let states = offered(&world, &["promote", "--pr", ""]);
    assert_eq!(states.lines().collect::<Vec<_>>(), ["draft", "ready"]);
    assert!(offered(&world, &["explain", "pin_c"]).starts_with("pin_count\t"));
    // An unreadable repository has no completions and no errors.
    world.write("repin.yaml", "version: [");
    assert_eq!(offered(&world, &["prune", "--image", "re"]), "");
    let script = world
        .run_with(&[], &[("REPIN_COMPLETE", "bash")])
        .exits(0)
        .stdout;
    assert!(script.contains("REPIN_COMPLETE"), "{script}");
}

#[test]
fn global_options_have_separate_help() {
    let world = world();
    let help = world.run(&["help", "global"]).exits(0);
    insta::assert_snapshot!("help_global", help.stdout);
    let top = world.run(&["--help"]).exits(0).stdout;
    assert!(top.contains(help.stdout.trim_end()), "{top}");
    for args in [
        &["promote", "--help"][..],
        &["help", "promote"],
        &["prune", "restore", "-h"],
    ] {
        let text = world.run(args).exits(0).stdout;
        assert!(
            text.ends_with("Global options: repin help global\n"),
            "{text}"
        );
        assert!(!text.contains("--color"), "{text}");
    }
}
