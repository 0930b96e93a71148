//! What one job of a pipeline hands to the next: outputs of steps, gates that are pending, failed gates, and the right to
//! push.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::{
    github::outputs,
    support::{
        forge::TOKEN,
        hosted::{KINDS, document, hosted, run_with},
        world::{Ran, World, world},
    },
};

/// Runs with the forge's token in a step of a workflow; returns the outputs of the step.
fn step(world: &World, args: &[&str], exit: i32) -> (Ran, BTreeMap<String, String>) {
    step_with(world, args, &[("REPIN_FORGE_TOKEN", TOKEN)], exit)
}

fn step_with(
    world: &World,
    args: &[&str],
    env: &[(&str, &str)],
    exit: i32,
) -> (Ran, BTreeMap<String, String>) {
    let out = world.path("step-output");
    fs::write(&out, "").unwrap();
    let args = [args, &["--format", "github"]].concat();
    let env = [env, &[("GITHUB_OUTPUT", out.to_str().unwrap())]].concat();
    let ran = run_with(world, &args, &env).exits(exit);
    let outputs = outputs(&world.read("step-output"));
    (ran, outputs)
}

const GATES: [&str; 3] = ["gates", "--ref", "main"];
const SKIP: [&str; 5] = ["gates", "--ref", "main", "--pending", "skip"];

#[test]
fn state_of_gates_is_an_output() {
    for kind in KINDS {
        let (world, fake) = hosted(kind, "gates: [ci, lint]");
        let state = |args: &[&str], exit| {
            let (ran, outputs) = step(&world, args, exit);
            assert_eq!(outputs.len(), 1, "{outputs:?}");
            (ran, outputs["state"].clone())
        };
        // A gate that never reports is never reported as pending.
        for args in [&GATES[..], &SKIP] {
            assert_eq!(state(args, 1).1, "fail", "{kind:?}");
        }
        fake.store().report("ci", "success");
        fake.store().report("lint", "pending");
        assert_eq!(state(&GATES, 3).1, "pending");
        let (ran, pending) = state(&SKIP, 0);
        assert_eq!(pending, "pending");
        assert!(
            ran.stdout.contains("::notice title=lint::pending")
                && !ran.stdout.contains("::error")
                && ran.stderr.contains("this run decides nothing"),
            "{}{}",
            ran.stdout,
            ran.stderr
        );
        assert_eq!(document(&world, &SKIP, 0)["state"], "pending");
        fake.store().report("ci", "failure");
        let (ran, failed) = state(&SKIP, 1);
        assert_eq!(failed, "fail");
        assert!(ran.stdout.contains("::error title=ci::"), "{}", ran.stdout);
        fake.store().report("ci", "success");
        fake.store().report("lint", "success");
        assert_eq!(state(&SKIP, 0).1, "pass");
        let args = [&SKIP[..], &["--if-unconfigured", "skip"]].concat();
        assert_eq!(step_with(&world, &args, &[], 0).1["state"], "skipped");
    }
}

#[test]
fn failed_gate_may_be_left_to_a_reviewer() {
    for kind in KINDS {
        let settings = "auto_merge: true, gates: [ci], sync_targets: [staging]";
        let (world, fake) = hosted(kind, settings);
        fake.store().push("staging", "work", &[("x", "y")]);
        fake.store().report("ci", "failure");
        let promote = ["branch", "promote", "--from", "staging", "--to", "main"];
        let blocked = document(&world, &[&promote[..], &["--apply"]].concat(), 1);
        assert_eq!(blocked["state"], "blocked", "{kind:?}");
        let allowed = [&promote[..], &["--allow-failed-gates"]].concat();
        assert_eq!(document(&world, &allowed, 0)["state"], "planned");
        assert_eq!(fake.writes(), [] as [String; 0]);
        let apply = [&allowed[..], &["--apply"]].concat();
        let opened = document(&world, &apply, 0);
        assert_eq!(opened["state"], "open", "{kind:?}");
        assert_eq!(opened["pull_request"]["state"], "created");
        let body = fake.store().pulls[0].body.clone();
        let shown = "- `ci`: fail, <https://ci.example/";
        assert!(body.contains(shown) && body.contains("was not requested"), "{body}");
        assert_eq!(fake.store().scheduled, []);
        // A merge that was scheduled before the gate failed is canceled.
        let head = fake.store().refs["staging"].clone();
        let number = fake.store().pulls[0].number;
        fake.store().scheduled.push((number, head));
        assert_eq!(document(&world, &apply, 0)["state"], "open", "{kind:?}");
        assert_eq!(fake.store().scheduled, []);
        // Once the gate passes, the next run requests the merge.
        fake.store().report("ci", "success");
        assert_eq!(document(&world, &apply, 0)["state"], "merged", "{kind:?}");
    }
}

const SYNC: [&str; 6] = ["branch", "sync", "--from", "main", "--to", "staging"];

/// A clone whose remote has `main` and `staging`.
fn synced_clone() -> World {
    let world = world();
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "forge: { sync_targets: [staging] }\n",
    );
    let world = world.with_git();
    world.git(&["push", "-q", "origin", "main:staging"]);
    world
}

/// Gives pushes another address, at which the key of the user is refused.
fn deny_pushes(world: &World) {
    world.git(&["remote", "set-url", "--push", "origin", "ssh://git.invalid/x"]);
    let ssh = "echo 'git@git.invalid: Permission denied (publickey).' >&2; exit 255; #";
    world.git(&["config", "core.sshCommand", ssh]);
}

#[test]
fn dry_run_of_sync_tests_the_right_to_push() {
    let world = synced_clone();
    for expected in ["in_sync", "planned"] {
        let planned = world.run(&[&SYNC[..], &["--format", "json"]].concat());
        assert_eq!(planned.exits(0).json()["state"], expected);
        deny_pushes(&world);
        let ran = world.run(&[&SYNC[..], &["--format", "json"]].concat());
        let denied = ran.exits(4).json();
        let error = &denied["errors"][0];
        assert_eq!(error["code"], "denied");
        assert!(
            error["hint"].as_str().unwrap().contains("contents: write"),
            "{denied}"
        );
        world.git(&["config", "--unset", "remote.origin.pushurl"]);
        world.commit("a change of main");
        world.push();
    }
}

#[test]
fn doctor_tests_the_right_to_push() {
    let world = synced_clone();
    let line = |exit: &[i32]| -> Value {
        let ran = world.run(&["doctor", "--format", "json"]);
        assert!(exit.contains(&ran.code), "{}", ran.stdout);
        let rows = ran.json()["checks"].as_array().unwrap().clone();
        let mut rows = rows.into_iter();
        rows.find(|row| row["code"] == "sync_push").unwrap()
    };
    let row = line(&[2, 4]);
    assert_eq!(row["status"], "pass", "{row}");
    assert!(row["detail"].as_str().unwrap().contains("staging"), "{row}");
    let before = world.git(&["--git-dir=origin.git", "for-each-ref"]);
    deny_pushes(&world);
    let row = line(&[2, 4]);
    assert_eq!(row["status"], "fail", "{row}");
    assert!(row["hint"].as_str().unwrap().contains("contents: write"), "{row}");
    world.git(&["config", "--unset", "remote.origin.pushurl"]);
    world.replace("repin.yaml", "[staging]", "[staging, nowhere]");
    let row = line(&[2]);
    assert_eq!(row["status"], "fail", "{row}");
    assert!(row["detail"].as_str().unwrap().contains("nowhere"), "{row}");
    world.replace("repin.yaml", "[staging, nowhere]", "[]");
    assert_eq!(line(&[2, 4])["status"], "skip");
    assert_eq!(world.git(&["--git-dir=origin.git", "for-each-ref"]), before);
}
