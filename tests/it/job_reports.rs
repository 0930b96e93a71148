//! What a job sees of a run: step summaries, and that a run was skipped.

use std::fs;

use serde_json::Value;

use crate::{
    support::{
        fake::{Fake, Reaction},
        forge::{Fake as FakeForge, Kind, TOKEN},
        hosted::{PROMOTE, hosted},
        shop::shop,
        world::{REV_A, REV_B, Ran, World, world},
    },
    sync::{SYNC, repository},
};

const BRING: [&str; 6] = ["branch", "promote", "--from", "staging", "--to", "main"];

/// Runs as a step of a workflow; returns the step summary too.
fn step(world: &World, args: &[&str], env: &[(&str, &str)]) -> (Ran, String) {
    let path = world.path("summary.md");
    let summary = [("GITHUB_STEP_SUMMARY", path.to_str().unwrap())];
    let ran = world.run_with(args, &[env, &summary].concat());
    let text = fs::read_to_string(&path).unwrap_or_default();
    fs::remove_file(&path).ok();
    (ran, text)
}

/// The same with the forge's token.
fn step_on_forge(world: &World, args: &[&str]) -> (Ran, String) {
    let (ran, summary) = step(world, args, &[("REPIN_FORGE_TOKEN", TOKEN)]);
    assert!(!summary.contains(TOKEN), "{summary}");
    (ran, summary)
}

/// A skipped run, with a notice and a summary of this reason.
fn is_skipped(world: &World, args: &[&str], env: &[(&str, &str)], reason: &str) {
    let args = [args, &["--if-unconfigured", "skip"]].concat();
    let (ran, summary) = step(world, &[&args[..], &["--format", "github"]].concat(), env);
    let ran = ran.exits(0);
    let notice = ran
        .stdout
        .lines()
        .find(|line| line.starts_with("::notice "));
    let notice = notice.unwrap_or_else(|| panic!("{args:?}: {} {}", ran.stdout, ran.stderr));
    assert!(notice.contains(reason), "{args:?}: {notice}");
    let unescaped = summary.replace('\\', "");
    assert!(unescaped.contains(reason), "{args:?}: {summary}");
    assert!(!summary.contains("Refused"), "{args:?}: {summary}");
    let (ran, _) = step(world, &args, env);
    let output = format!("{}{}", ran.stdout, ran.stderr);
    assert!(output.contains(reason), "{args:?}: {output}");
    ran.exits(0);
}

#[test]
fn skipped_run_without_token_is_no_success() {
    let (world, fake) = hosted(Kind::Github, "gates: [ci]");
    for args in [
        &["gates", "--ref", "main"][..],
        &["wait", "--pr", "1"],
        &BRING,
        &PROMOTE,
    ] {
        is_skipped(&world, args, &[], "no token is set");
    }
    assert_eq!(fake.asked(), [] as [String; 0]);
    let (_, summary) = step(
        &world,
        &["gates", "--ref", "main", "--if-unconfigured", "skip"],
        &[],
    );
    assert!(
        summary.starts_with("### gates\n\nSkipped: no token is set"),
        "{summary}"
    );
}

#[test]
fn rehearsal_is_skipped_without_token_or_secret() {
    let world = world().with_git();
    world.adopt(REV_A);
    world.push();
    world.promoted(REV_B);
    let text = world.read("repin.yaml");
    let forge = FakeForge::start(Kind::Github);
    let issue = format!(
        "rehearse: {{ issue: {{ title: t }} }}\nforge: {{ kind: github, url: '{}', repository: acme/flows }}\n",
        forge.api()
    );
    world.write("repin.yaml", format!("{text}{issue}"));
    is_skipped(&world, &["rehearse", "--apply"], &[], "no token is set");
    world.run(&["rehearse", "--apply"]).exits(4);
    let smoke = "smoke: { command: ['true'], env: [SOME_SECRET] }\n";
    world.write("repin.yaml", format!("{text}{smoke}"));
    world.commit("smoke");
    world.push();
    is_skipped(&world, &["rehearse"], &[], "SOME_SECRET");
    let json = ["rehearse", "--if-unconfigured", "skip", "--format", "json"];
    assert_eq!(
        world.run(&json).exits(0).json()["sets"],
        serde_json::json!([])
    );
    world.run(&["rehearse"]).exits(4);
}

/// Lets the configuration read its images from a registry that denies access.
fn deny(world: &World) -> Fake {
    let registry =
        Fake::start(|_| Reaction::new(401, "{}").with("WWW-Authenticate", "Basic realm=\"test\""));
    let source = format!("http://{}", registry.host());
    world.replace("repin.yaml", "oci:images", &source);
    registry
}

#[test]
fn denied_registry_is_skipped_only_on_request() {
    let world = shop().with_git();
    world.adopt(REV_A);
    world.push();
    world.promoted(REV_B);
    let registry = deny(&world);
    world.commit("a registry");
    world.push();
    for args in [
        &["check", "--remote"][..],
        &["check", "--remote", "--all"],
        &["inventory", "check"],
        &["rehearse"],
    ] {
        let ran = world.run(args).exits(4);
        assert!(ran.stderr.contains("error[denied]"), "{}", ran.stderr);
        let reason = if args[0] == "rehearse" {
            "is unknown"
        } else {
            "requires a user name and a password"
        };
        is_skipped(&world, args, &[], reason);
    }
    drop(registry);
    let json = [
        "inventory",
        "check",
        "--if-unconfigured",
        "skip",
        "--format",
        "json",
    ];
    // An unavailable registry is no missing login.
    world.run(&json).exits(3);
    world
        .run(&["check", "--remote", "--if-unconfigured", "skip"])
        .exits(3);
}

#[test]
fn skipped_contents_are_not_clean() {
    let world = shop();
    let _registry = deny(&world);
    let json = [
        "inventory",
        "check",
        "--if-unconfigured",
        "skip",
        "--format",
        "json",
    ];
    let document = world.run(&json).exits(0).json();
    assert_eq!(document["clean"], false);
}

#[test]
fn local_failures_count_despite_a_denied_registry() {
    let world = world();
    let _registry = deny(&world);
    world.replace("repin.yaml", "pins: 3", "pins: 4");
    let args = ["check", "--remote", "--if-unconfigured", "skip"];
    world.run(&args).exits(1);
    // The option is for the registry.
    world.run(&["check", "--if-unconfigured", "skip"]).exits(2);
}

#[test]
fn summaries_list_gates_and_states() {
    let (world, fake) = hosted(Kind::Github, "gates: [ci], sync_targets: [staging]");
    fake.store().push("staging", "work", &[("x", "y")]);
    fake.store().report("ci", "failure");
    let (ran, summary) = step_on_forge(&world, &["gates", "--ref", "staging"]);
    ran.exits(1);
    assert!(
        summary.starts_with("### Gates of `staging`\n\n**fail**, at commit `"),
        "{summary}"
    );
    assert!(
        summary.contains("| `ci` | fail | [details](https://ci.example/"),
        "{summary}"
    );
    let (ran, summary) = step_on_forge(&world, &BRING);
    ran.exits(1);
    assert!(
        summary
            .starts_with("### branch promote: `staging` → `main`\n\n**blocked**: a gate failed\n"),
        "{summary}"
    );
    assert!(
        summary.contains("  - `ci fail https://ci.example/"),
        "{summary}"
    );
    fake.store().report("ci", "success");
    let (ran, summary) = step_on_forge(&world, &[&BRING[..], &["--apply"]].concat());
    ran.exits(0);
    assert!(
        summary.contains("**open**") && summary.contains("pull request [1](http"),
        "{summary}"
    );
    let look = ["wait", "--pr", "1", "--timeout", "0s"];
    let (ran, summary) = step_on_forge(&world, &look);
    ran.exits(3);
    assert!(
        summary.starts_with("### Pull request 1\n\n**open**\n"),
        "{summary}"
    );
    assert!(summary.contains("was not merged within 0 s"), "{summary}");
    let commit = fake.store().merge(1);
    let (ran, summary) = step_on_forge(&world, &look);
    ran.exits(0);
    assert!(
        summary.contains(&format!("**merged** as `{commit}`")),
        "{summary}"
    );
    let (ran, summary) = step_on_forge(&world, &["wait", "--pr", "99", "--timeout", "0s"]);
    ran.exits(2);
    assert!(summary.contains("#99 does not exist"), "{summary}");
}

#[test]
fn summary_of_sync_lists_conflicts() {
    let world = repository();
    world.git(&["checkout", "-q", "-b", "staging"]);
    world.write("x`|y", "theirs");
    world.commit("theirs");
    world.git(&["push", "-q", "origin", "staging"]);
    world.git(&["checkout", "-q", "main"]);
    world.write("x`|y", "ours");
    world.commit("ours");
    world.push();
    let (ran, summary) = step(&world, &[&SYNC[..], &["--apply"]].concat(), &[]);
    ran.exits(1);
    assert!(
        summary.starts_with(
            "### branch sync: `main` → `staging`\n\n**conflict**: the branches conflict\n"
        ),
        "{summary}"
    );
    assert!(summary.contains("  - `` conflict: x`\\|y ``"), "{summary}");
    world.git(&["remote", "set-url", "origin", "./absent.git"]);
    let (ran, summary) = step(&world, &SYNC, &[]);
    ran.exits(3);
    assert!(summary.contains("- error `"), "{summary}");
}

#[test]
fn refused_sync_is_skipped_only_on_request() {
    let world = repository();
    let denying =
        Fake::start(|_| Reaction::new(401, "").with("WWW-Authenticate", "Basic realm=\"git\""));
    let url = format!("http://{}/flows.git", denying.host());
    world.git(&["remote", "set-url", "origin", &url]);
    let ran = world.run(&SYNC).exits(4);
    assert!(ran.stderr.contains("contents: write"), "{}", ran.stderr);
    is_skipped(&world, &SYNC, &[], "could not read Username");
    let skip = [
        &SYNC[..],
        &["--if-unconfigured", "skip", "--format", "json"],
    ]
    .concat();
    let document: Value = world.run(&skip).exits(0).json();
    assert_eq!(document["state"], "skipped");
}
