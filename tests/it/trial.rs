//! The smoke command in the chains: in real containers by podman, and by scripts in its place for
//! what it cannot be made to do.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    layout::Platform,
    machine::{platforms, processes},
    world::{REV_A, REV_B, World, details, world},
};

const SECRET: &str = "hunter2-and-more";

/// A world with images that run on this machine, and a smoke block.
fn with_smoke(block: &str, programs: &[(&str, &[u8])]) -> World {
    let mut world = world();
    for revision in [REV_A, REV_B] {
        for image in ["review", "fix", "base"] {
            let platform = programs.iter().fold(
                Platform::new(platforms()[0], revision),
                |platform, (path, content)| platform.program(path, content),
            );
            world.rebuild(image, revision, &[platform.label("image", image)]);
        }
    }
    world.pin(REV_A);
    let config = world.read("repin.yaml");
    world.write("repin.yaml", config + block);
    world
}

/// Puts a script in podman's place and returns the `PATH` with it.
fn engine(world: &World, script: &str) -> String {
    let bin = world.path("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("podman"), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(bin.join("podman"), fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:/usr/bin:/bin", bin.display())
}

#[test]
fn set_is_promoted_after_its_images_run() {
    let busybox =
        fs::read("/bin/busybox").expect("/bin/busybox is needed: apt-get install busybox-static");
    let storage = tempfile::tempdir().unwrap();
    let directory = |name: &str| storage.path().join(name).to_str().unwrap().to_owned();
    let (root, state) = (directory("root"), directory("runroot"));
    // The options of containers on machines that are containers.
    let args = format!(
        "--root {root} --runroot {state} --storage-driver=vfs --runtime runc --cgroup-manager=cgroupfs \
         --events-backend=file --ulimit nofile=1024:1024 --ulimit nproc=1024:1024"
    );
    let args: Vec<_> = args
        .split_whitespace()
        .map(|arg| format!("\"{arg}\""))
        .collect();
    let block = format!(
        "smoke: {{ command: [/bin/busybox, grep, -q, built, /hello], engine: podman, engine_args: [{}] }}\n",
        args.join(", ")
    );
    let mut world = with_smoke(&block, &[("bin/busybox", &busybox)]);
    let broken = Platform::new(platforms()[0], REV_B)
        .files(&[("hello", "no good")])
        .program("bin/busybox", &busybox);
    let whole = world.digest("fix", REV_B).to_owned();
    world.rebuild("fix", REV_B, &[broken]);
    let document = world.refuses(&[], 1, &["smoke_failed"]);
    assert_eq!(
        details(&document, "smoke_failed", "pass").len(),
        2,
        "{document}"
    );
    assert_eq!(
        details(&document, "smoke_failed", "fail").len(),
        1,
        "{document}"
    );

    world.layout("fix").untag(REV_B);
    let platform = Platform::new(platforms()[0], REV_B)
        .program("bin/busybox", &busybox)
        .label("image", "fix");
    assert_eq!(world.layout("fix").image(REV_B, &[platform]), whole);
    let document = world
        .run(&[
            "promote",
            "--revision",
            REV_B,
            "--apply",
            "--format",
            "json",
        ])
        .exits(0)
        .json();
    assert_eq!(
        details(&document, "smoke_failed", "pass").len(),
        3,
        "{document}"
    );
    assert!(
        document["body"]
            .as_str()
            .unwrap()
            .contains("smoke command succeeds")
    );
    let listed = Command::new("podman")
        .args([
            "--root",
            &root,
            "--runroot",
            &state,
            "--storage-driver=vfs",
            "ps",
            "--all",
            "--quiet",
        ])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&listed.stdout),
        "",
        "a container stayed"
    );
}

#[test]
fn rollback_runs_the_smoke_command() {
    let world = with_smoke("smoke: { command: [x], engine: podman }\n", &[]).with_git();
    for revision in [REV_A, REV_B] {
        world.pin(revision);
        world.commit(&format!("promote: test images @{revision}"));
    }
    world.push();
    // `base`, which nothing pins, fails, and nothing else.
    let digest = world.digest("base", REV_A);
    let path = engine(
        &world,
        &format!("[ $1 = run ] || exit 0; case \"$*\" in *{digest}*) exit 3;; esac"),
    );
    let ran = world
        .run_with(
            &["rollback", "--to", REV_A, "--format", "json"],
            &[("PATH", &path)],
        )
        .exits(0);
    assert_eq!(
        details(&ran.json(), "smoke_failed", "warn").len(),
        1,
        "{}",
        ran.stdout
    );
    let digest = world.digest("fix", REV_A);
    let path = engine(
        &world,
        &format!("[ $1 = run ] || exit 0; case \"$*\" in *{digest}*) exit 3;; esac"),
    );
    let ran = world
        .run_with(
            &["rollback", "--to", REV_A, "--format", "json"],
            &[("PATH", &path)],
        )
        .exits(1);
    assert_eq!(
        details(&ran.json(), "smoke_failed", "fail").len(),
        1,
        "{}",
        ran.stdout
    );
}

#[test]
fn set_command_runs_smoke_on_every_image() {
    let world = with_smoke("smoke: { command: [x], engine: podman }\n", &[]);
    let set = |script: &str| {
        let path = engine(&world, script);
        let args = ["set", "--revision", REV_B, "--out", "set.json"];
        world.run_with(&args, &[("PATH", &path)])
    };
    let digest = world.digest("base", REV_B);
    let ran = set(&format!(
        "[ $1 = run ] || exit 0; case \"$*\" in *{digest}*) exit 3;; esac"
    ));
    let ran = ran.exits(1);
    assert!(ran.stderr.contains("error[smoke_failed]"), "{}", ran.stderr);
    assert!(!world.path("set.json").exists());
    set("exit 0").exits(0);
    let document = serde_json::from_str(&world.read("set.json")).unwrap();
    assert_eq!(details(&document, "smoke_failed", "pass").len(), 3);
}

#[test]
fn missing_engine_follows_when_unavailable() {
    let unavailable =
        "echo 'Error: no such runtime' >&2; [ $1 = inspect ] && echo no such container; exit 125";
    let world = with_smoke("smoke: { command: [x], engine: podman }\n", &[]);
    let path = engine(&world, unavailable);
    let promote = ["promote", "--revision", REV_B, "--format", "json"];
    let ran = world.run_with(&promote, &[("PATH", &path)]).exits(1);
    let failed = details(&ran.json(), "smoke_unavailable", "fail");
    assert_eq!(failed.len(), 3);
    assert!(failed[0].contains("Error: no such runtime"), "{failed:?}");
    let ran = world.run_with(&promote[..3], &[("PATH", &path)]).exits(1);
    let once = format!(
        "error[smoke_unavailable]: review {0}, fix {0}, base {0}: ",
        platforms()[0]
    );
    assert_eq!(ran.stderr.matches("error[").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains(&once), "{}", ran.stderr);
    world.replace(
        "repin.yaml",
        "engine: podman }",
        "engine: podman, when_unavailable: skip }",
    );
    let ran = world.run_with(&promote, &[("PATH", &path)]).exits(0);
    assert_eq!(details(&ran.json(), "smoke_unavailable", "skip").len(), 3);
    // A user sees it below the table, once for its cause.
    let ran = world.run_with(&promote[..3], &[("PATH", &path)]).exits(0);
    let note = format!(
        "skip  smoke_unavailable  review {0}, fix {0}, base {0}: ",
        platforms()[0]
    );
    assert_eq!(ran.stdout.matches(&note).count(), 1, "{}", ran.stdout);
}

#[test]
fn missing_secret_is_found_before_any_request() {
    let world = with_smoke(
        "smoke: { command: [x], engine: podman, env: [TOKEN] }\n",
        &[],
    );
    // The registry is unreachable.
    world.replace("repin.yaml", "oci:images", "'http://127.0.0.1:9/acme'");
    let promote = ["promote", "--revision", REV_B, "--format", "json"];
    let ran = world.run(&promote).exits(4);
    let error = &ran.json()["error"];
    assert_eq!(error["code"], "denied");
    assert!(
        error["message"].as_str().unwrap().contains("TOKEN"),
        "{error}"
    );
    let skipped = world
        .run(&[&promote[..], &["--if-unconfigured", "skip"]].concat())
        .exits(0)
        .json();
    assert_eq!(
        details(&skipped, "unconfigured", "skip").len(),
        1,
        "{skipped}"
    );
    assert_eq!(
        (&skipped["approved"], &skipped["changed"]),
        (&false.into(), &false.into())
    );
    // The variable is set, but not visible.
    world.replace("repin.yaml", "'http://127.0.0.1:9/acme'", "oci:images");
    let path = engine(
        &world,
        "[ $1 = run ] || exit 0; echo \"token $TOKEN\"; exit 1",
    );
    let ran = world
        .run_with(&promote, &[("PATH", &path), ("TOKEN", SECRET)])
        .exits(1);
    assert!(
        !(ran.stdout.clone() + &ran.stderr).contains(SECRET),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("token ***"), "{}", ran.stdout);
}

#[test]
fn interrupt_stops_the_container() {
    let world = with_smoke(
        "smoke: { command: [x], engine: podman, timeout: 20s }\n",
        &[],
    );
    let mark = world.path("started");
    // An argument of only this process, to find it.
    let seconds = format!("987.{}", std::process::id());
    let script = format!(
        "[ $1 = run ] || exit 0; touch {}; exec sleep {seconds}",
        mark.display()
    );
    let path = engine(&world, &script);
    let before = world.read(".github/workflows/b.yml");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut command = world.command(&["promote", "--revision", REV_B, "--apply"]);
        let child = command
            .env("PATH", &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        while !mark.exists() {
            assert!(Instant::now() < end, "the command never began");
            thread::sleep(Duration::from_millis(10));
        }
        let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(
            stderr.ends_with("interrupted; nothing was changed\n"),
            "{stderr}"
        );
        assert_eq!(world.read(".github/workflows/b.yml"), before);
        assert_eq!(processes(&seconds), Vec::<String>::new());
        fs::remove_file(&mark).unwrap();
    }
}
