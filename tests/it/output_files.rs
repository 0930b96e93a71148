//! The files of options: where output may be written, and which files are read.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Stdio,
};

use crate::support::{
    fake::{Fake, Reaction},
    fleet::{Fleet, options},
    forge::Kind,
    world::{REV_A, REV_B, Ran, World, world},
};

/// The options for output, each with the arguments of its command.
const OUTPUTS: [&[&str]; 5] = [
    &["promote", "--revision", REV_B, "--body-file"],
    &["promote", "--revision", REV_B, "--apply", "--diff-file"],
    &["set", "--revision", REV_B, "--out"],
    &["history", "--html"],
    &["history", "--all", "--html"],
];

fn with_git() -> World {
    let world = world().with_git();
    world.promoted(REV_A);
    world
}

fn pipe(path: &Path) {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RWXU).unwrap();
}

/// Runs every command with `file`: each refuses it, mentions `reason`, and changes nothing.
fn refused(world: &World, file: &str, reason: &str) {
    for args in OUTPUTS {
        let before = world.snapshot();
        let ran = world.run(&[args, &[file]].concat()).exits(2);
        let text = format!("{args:?} {file}: {}", ran.stderr);
        assert!(ran.stderr.contains(reason), "{text}");
        assert_eq!(world.snapshot(), before, "{text}");
    }
}

#[test]
fn output_never_replaces_a_file_that_is_used() {
    let world = with_git();
    world.write("other.txt", "tracked");
    world.write("sparse.txt", "tracked");
    world.commit("tracked");
    fs::remove_file(world.path("sparse.txt")).unwrap();
    world.write("envs/repin.new.yaml", "version: 1\n");
    refused(&world, "other.txt", "git tracks it");
    refused(&world, "sparse.txt", "git tracks it");
    refused(&world, ".github/workflows/a.yml", "git tracks it");
    refused(&world, "repin.yaml", "a configuration");
    refused(&world, "envs/repin.new.yaml", "a configuration");
    for git in [".git/config", ".git/new", ".GIT/hooks/x", "images/.git"] {
        fs::create_dir_all(world.path(git).parent().unwrap()).unwrap();
        refused(&world, git, "belongs to git");
    }
    fs::create_dir(world.path(".repin")).unwrap();
    refused(&world, ".repin/journal", "belongs to git");
    // A git directory with another name.
    world.git(&["init", "--bare", "-q", "bare"]);
    refused(&world, "bare/config", "belongs to git");
}

#[test]
fn output_is_no_untracked_file_with_pins() {
    let world = world();
    for file in [".github/workflows/a.yml", ".github/workflows/new.yml"] {
        for args in &OUTPUTS[..4] {
            let ran = world.run(&[args, &[file][..]].concat()).exits(2);
            assert!(ran.stderr.contains("`files`"), "{}", ran.stderr);
        }
    }
    // A configuration with any name.
    fs::rename(world.path("repin.yaml"), world.path("other.conf")).unwrap();
    let args = ["promote", "--revision", REV_B, "--config", "other.conf"];
    let ran = world.run(&[&args[..], &["--body-file", "other.conf"]].concat());
    let ran = ran.exits(2);
    assert!(ran.stderr.contains("the configuration"), "{}", ran.stderr);
    // Git ignores the file, so that its pins do not count.
    let world = with_git();
    world.write(".gitignore", "/.github/workflows/out-*\n");
    let ignored = [".github/workflows/out-1.yml", "--apply"];
    world.run(&[OUTPUTS[0], &ignored[..]].concat()).exits(0);
    assert!(world.path(ignored[0]).exists());
}

#[test]
fn output_follows_no_link_out_of_the_root() {
    let world = with_git();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), world.path("link")).unwrap();
    symlink("link", world.path("chain")).unwrap();
    refused(&world, "link/x", "leads out of the repository");
    refused(&world, "chain/x", "leads out of the repository");
    symlink("nowhere", world.path("dangling")).unwrap();
    refused(&world, "dangling", "is not a regular file");
    symlink(outside.path().join("x"), world.path("file")).unwrap();
    refused(&world, "file", "is not a regular file");
    // Out of the root of the configuration, in the same repository.
    fs::create_dir(world.path("images/above")).unwrap();
    fs::create_dir(world.path("set")).unwrap();
    symlink("../images/above", world.path("set/link")).unwrap();
    fs::copy(world.path("repin.yaml"), world.path("set/repin.yaml")).unwrap();
    let args = [
        "history",
        "--config",
        "set/repin.yaml",
        "--html",
        "set/link/x",
    ];
    let ran = world.run(&args).exits(2);
    assert!(ran.stderr.contains("leads out"), "{}", ran.stderr);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    // A link that stays inside, and a path that leads outside without a link.
    fs::create_dir(world.path("reports")).unwrap();
    symlink("reports", world.path("inside")).unwrap();
    let outside = outside.path().join("page.html");
    for (file, at) in [
        ("inside/page.html", world.path("reports/page.html")),
        (outside.to_str().unwrap(), outside.clone()),
        ("reports/../page.html", world.path("page.html")),
    ] {
        world.run(&["history", "--html", file]).exits(0);
        assert!(at.exists(), "{file}");
    }
}

#[test]
fn output_is_a_regular_file() {
    let world = with_git();
    fs::create_dir(world.path("directory")).unwrap();
    pipe(&world.path("pipe"));
    refused(&world, "directory", "is a directory");
    refused(&world, "new/", "is not the path of a file");
    for file in ["pipe", "/dev/null", "/dev/stderr"] {
        refused(&world, file, "is not a regular file");
    }
}

#[test]
fn existing_output_is_replaced_and_keeps_its_mode() {
    let world = with_git();
    for args in OUTPUTS {
        let file = "out/file";
        world.write(file, "a long old text\n".repeat(10_000));
        let mode = fs::Permissions::from_mode(0o640);
        fs::set_permissions(world.path(file), mode).unwrap();
        fs::hard_link(world.path(file), world.path("out/other")).unwrap();
        world.run(&[args, &[file]].concat()).exits(0);
        assert!(!world.read(file).contains("old text"), "{args:?}");
        assert!(world.read("out/other").contains("old text"), "{args:?}");
        let mode = world.path(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{args:?}");
        assert_eq!(fs::read_dir(world.path("out")).unwrap().count(), 2);
        fs::remove_dir_all(world.path("out")).unwrap();
        world.pin(REV_A);
    }
}

#[test]
fn standard_output_has_two_names() {
    let world = with_git();
    for args in OUTPUTS {
        let dash = world.run(&[args, &["-"]].concat()).exits(0);
        world.pin(REV_A);
        let device = world.run(&[args, &["/dev/stdout"]].concat()).exits(0);
        world.pin(REV_A);
        assert_eq!(dash.stdout, device.stdout, "{args:?}");
        assert!(!dash.stdout.is_empty());
    }
    // The set itself, whose hash is a note.
    let printed = world.run(&["set", "--revision", REV_B, "-o", "-"]).exits(0);
    let hash = world.run(&["set", "--revision", REV_B, "-o", "set.json"]);
    assert_eq!(printed.stdout, world.read("set.json"));
    assert!(
        printed.stderr.contains(hash.stdout.trim()),
        "{}",
        printed.stderr
    );
}

#[test]
fn two_options_cannot_name_one_file() {
    let world = with_git();
    fs::create_dir(world.path("out")).unwrap();
    for files in [["x", "./x"], ["out/../x", "x"], ["out/x", "out//x"]] {
        let [diff, body] = files;
        let args = ["--diff-file", diff, "--body-file", body];
        let args = [&["promote", "--revision", REV_B, "--apply"], &args[..]].concat();
        let ran = world.run(&args).exits(2);
        assert!(ran.stderr.contains("the same file"), "{}", ran.stderr);
        assert!(!world.path("x").exists());
    }
    world.write("x", "");
    fs::hard_link(world.path("x"), world.path("y")).unwrap();
    let args = ["--diff-file", "x", "--body-file", "y"];
    let promote = ["promote", "--revision", REV_B];
    world.run(&[&promote[..], &args].concat()).exits(2);
    let args = ["--diff-file", "x", "--body-file", "z"];
    world.run(&[&promote[..], &args].concat()).exits(0);
}

#[test]
fn fleet_report_is_no_other_file() {
    let fleet = Fleet::new(options(Kind::Github, 2));
    let sha256 = fleet.verified();
    let run = |args: &[&str]| {
        let promote = ["fleet", "promote", "--list", "list.txt", "--revision"];
        let set = ["--set", "set.json", "--set-sha256", &sha256];
        fleet.run(&[&promote[..], &[crate::support::fleet::REV], &set, args].concat())
    };
    let list = fleet.read("list.txt");
    fleet.write("only.txt", &list);
    pipe(&fleet.path("pipe"));
    for (out, reason) in [
        ("list.txt", "the same file"),
        ("./only.txt", "the same file"),
        ("set.json", "the same file"),
        ("repin.yaml", "a configuration"),
        ("pipe", "is not a regular file"),
    ] {
        let ran = run(&["--only", "only.txt", "--out", out]).exits(2);
        assert!(ran.stderr.contains(reason), "{out}: {}", ran.stderr);
    }
    assert_eq!(fleet.read("list.txt"), list);
    // The lines on standard output, and the report as a note.
    run(&["--out", "out.jsonl"]).exits(0);
    let printed = run(&["--out", "-"]).exits(0);
    let lines = |text: &str| text.lines().count();
    assert_eq!(lines(&printed.stdout), lines(&fleet.read("out.jsonl")));
    assert!(
        printed
            .stdout
            .starts_with("{\"schema\":\"repin.fleet-line/1\"")
    );
    let note = "nothing was changed";
    assert!(printed.stderr.contains(note), "{}", printed.stderr);
    // The list of failures replaces no report.
    fs::copy(fleet.path("out.jsonl"), fleet.path("failed.txt")).unwrap();
    let merge = ["fleet", "merge", "failed.txt", "--list", "list.txt"];
    let ran = fleet.run(&merge).exits(2);
    assert!(ran.stderr.contains("the same file"), "{}", ran.stderr);
    assert_eq!(fleet.read("failed.txt"), fleet.read("out.jsonl"));
}

/// A run with the content `text` in a pipe, which the shell passes as `/dev/fd/N`.
fn piped(world: &World, variable: &str, text: &str, args: &[&str]) -> Ran {
    let run = format!("{variable}=<(printf '%s' '{text}') exec \"$@\"");
    let mut command = world.other_command("bash");
    command.args(["-c", &run, "bash", env!("CARGO_BIN_EXE_repin")]);
    Ran::of(command.args(args))
}

#[test]
fn input_is_a_bounded_file_or_a_pipe() {
    let world = world();
    world.replace(
        "repin.yaml",
        "sources: { ghcr.io/acme: oci:images }",
        "sources: { ghcr.io/acme: 'http://127.0.0.1:9/acme' }",
    );
    let file = fs::File::create(world.path("large")).unwrap();
    file.set_len(1 << 30).unwrap();
    fs::create_dir(world.path("directory")).unwrap();
    let promote = ["promote", "--revision", REV_B];
    for (file, reason) in [
        ("large", "larger than"),
        ("/dev/zero", "neither a regular file nor a pipe"),
        ("directory", "is a directory"),
    ] {
        for args in [&promote[..], &["builds"]] {
            let ran = world.run_with(args, &[("REPIN_CA_FILE", file)]).exits(2);
            assert!(ran.stderr.contains(reason), "{file}: {}", ran.stderr);
        }
    }
    let text = "not a certificate";
    let ran = piped(&world, "REPIN_CA_FILE", text, &promote).exits(2);
    assert!(
        ran.stderr.contains("contains no certificate"),
        "{}",
        ran.stderr
    );
}

#[test]
fn unread_event_does_not_block() {
    let world = with_git();
    for file in ["/dev/zero", "images"] {
        let environment = [("GITHUB_EVENT_PATH", file)];
        world.run_with(&["status"], &environment).exits(0);
    }
    // The configuration and the files of a step.
    pipe(&world.path("pipe"));
    let ran = world.run(&["check", "--config", "pipe"]).exits(2);
    let expected = "the configuration pipe is not a file";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    let args = ["promote", "--revision", REV_B, "--format", "github"];
    let ran = world.run_with(&args, &[("GITHUB_OUTPUT", "pipe")]).exits(3);
    assert!(ran.stderr.contains("GITHUB_OUTPUT"), "{}", ran.stderr);
}

#[test]
fn builds_end_at_the_deadline() {
    let server = Fake::start(|_| Reaction::new(503, "").with("Retry-After", "600"));
    let world = world();
    world.replace(
        "repin.yaml",
        "sources: { ghcr.io/acme: oci:images }",
        &format!(
            "sources: {{ ghcr.io/acme: 'http://{}/acme' }}",
            server.host()
        ),
    );
    // Without the deadline, the run would wait until the test is stopped.
    let deadline = [("REPIN_DEADLINE", "1s")];
    world.run_with(&["builds"], &deadline).exits(3);
    // Each repository was queried, and none again.
    let requests = server.requests().len();
    assert!((1..=3).contains(&requests), "{requests}");
}

#[test]
fn help_on_a_full_disk_is_exit_3() {
    let world = world();
    for args in [
        &["--help"][..],
        &["-h"],
        &["--version"],
        &["help"],
        &["promote", "--help"],
        &["completions", "bash"],
        &["man"],
        &["explain", "pin_count"],
        &["schema"],
        &["scan"],
        &["scan", "--format", "json"],
    ] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut command = world.command(args);
        let output = command.stdout(Stdio::from(full)).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {stderr}");
        assert!(
            stderr.contains("cannot write to standard output"),
            "{args:?}: {stderr}"
        );
    }
}
