//! `examples/failed-deployment`: a failed deployment proposes the rollback that a person would choose, once.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::support::{
    forge::{Fake, Kind, TOKEN},
    hosted::{hosted, publish},
    world::{REV_A, REV_B, REV_C, Ran, World, git},
};

fn example(path: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/failed-deployment");
    fs::read_to_string(directory.join(path)).unwrap()
}

fn workflow() -> Value {
    serde_yaml_ng::from_str(&example(".github/workflows/roll-back.yml")).unwrap()
}

/// The steps with a script: the choice of the set, and the rollback.
fn scripts() -> [String; 2] {
    let workflow = workflow();
    let steps = workflow["jobs"]["roll-back"]["steps"].as_array().unwrap();
    let scripts = steps.iter().filter_map(|step| step["run"].as_str());
    let scripts: Vec<_> = scripts.map(str::to_owned).collect();
    scripts.try_into().unwrap()
}

/// A was promoted, and B is current, on the base branch of a forge and in its clone.
fn promoted() -> (World, Fake) {
    let (mut world, fake) = hosted(Kind::Github, "base: main");
    world.build(REV_C);
    let world = world.with_git();
    world.adopt(REV_A);
    world.push();
    world.promoted(REV_B);
    (world, fake)
}

/// Runs the job after a failed deployment of a commit; the exit code is that of its last step.
fn job(world: &World, fake: &Fake, failed: &str) -> Ran {
    publish(world, fake, "the base branch");
    let head = git(world.root(), &["rev-parse", "HEAD"]);
    fake.store().name_head("main", &head, world.root());
    let runner = tempfile::tempdir().unwrap();
    let output = runner.path().join("output");
    let summary = runner.path().join("summary");
    fs::write(&output, "").unwrap();
    let directory = Path::new(env!("CARGO_BIN_EXE_repin")).parent().unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let [choose, roll_back] = scripts();
    let step = |script: &str, variables: &[(&str, &str)]| {
        let mut command: Command = world.other_command("bash");
        command
            .args(["-e", "-c", script])
            .env("PATH", &path)
            .env("RUNNER_TEMP", runner.path())
            .env("GITHUB_OUTPUT", &output)
            .env("GITHUB_STEP_SUMMARY", &summary)
            .envs(variables.iter().copied());
        Ran::of(&mut command)
    };
    let chosen = step(&choose, &[("FAILED", failed)]);
    let outputs = fs::read_to_string(&output).unwrap();
    let Some(revision) = outputs.trim_end().strip_prefix("revision=") else {
        assert_eq!(outputs, "");
        return chosen;
    };
    assert_eq!(chosen.code, 0, "{}", chosen.stderr);
    let told = fs::read_to_string(&summary).unwrap();
    assert!(told.contains(failed) && told.contains(revision), "{told}");
    let variables = [("REVISION", revision), ("REPIN_FORGE_TOKEN", TOKEN)];
    step(&roll_back, &variables)
}

/// The titles of the open pull requests.
fn proposed(fake: &Fake) -> Vec<String> {
    let store = fake.store();
    let open = store.open_pulls().into_iter();
    open.map(|pull| pull.title.clone()).collect()
}

fn head(world: &World) -> String {
    git(world.root(), &["rev-parse", "HEAD"])
}

#[test]
fn failed_promotion_proposes_the_set_before_it() {
    let (world, fake) = promoted();
    let expected = [format!("rollback: test images @{REV_A}")];
    // Both events of a deployment, and a failure of a later commit with the same set, have one pull request.
    let promotion = head(&world);
    for _ in 0..2 {
        job(&world, &fake, &promotion).exits(0);
        assert_eq!(proposed(&fake), expected);
    }
    world.commit("another change");
    world.push();
    job(&world, &fake, &head(&world)).exits(0);
    assert_eq!(proposed(&fake), expected);
    assert!(!fake.store().open_pulls()[0].draft);
}

#[test]
fn failed_rollback_is_not_rolled_back() {
    let (world, fake) = promoted();
    world.run(&["rollback", "--to", REV_A, "--apply"]).exits(0);
    let message = format!("rollback: test images @{REV_A}\n\nRepin-Set: {REV_A}");
    let rollback = world.commit(&message);
    world.push();
    let ran = job(&world, &fake, &rollback).exits(1);
    assert!(
        ran.stdout
            .contains("the current set is no promotion (rollback)"),
        "{}",
        ran.stdout
    );
    assert_eq!(proposed(&fake), [""; 0]);
    // The set that failed is not the target of the next rollback.
    world.promoted(REV_C);
    job(&world, &fake, &head(&world)).exits(0);
    let expected = [format!("rollback: test images @{REV_A}")];
    assert_eq!(proposed(&fake), expected);
}

#[test]
fn late_event_of_an_older_deployment_changes_nothing() {
    let (world, fake) = promoted();
    let older = git(world.root(), &["rev-parse", "HEAD^"]);
    let ran = job(&world, &fake, &older).exits(0);
    assert!(
        ran.stdout.contains("older than the current set"),
        "{}",
        ran.stdout
    );
    assert_eq!(proposed(&fake), [""; 0]);
}

#[test]
fn hostile_values_of_the_event_are_refused() {
    let (world, fake) = promoted();
    let promotion = head(&world);
    world.git(&["checkout", "-q", "-b", "side"]);
    let foreign = world.commit("not on the base branch");
    world.git(&["checkout", "-q", "main"]);
    for failed in [
        "",
        "--help",
        "$(touch pwned)",
        "`touch pwned`",
        "\"; touch pwned; \"",
        "main",
        "a[$(touch pwned)]",
        &format!("{promotion}\n::set-output name=revision::x"),
        &format!("{promotion}^{{/x}}"),
        &"0".repeat(40),
        &foreign,
    ] {
        let ran = job(&world, &fake, failed).exits(1);
        let text = "::error::the event contains no commit of the base branch\n";
        assert_eq!(ran.stdout, text, "{failed:?}");
        assert!(!world.path("pwned").exists(), "{failed:?}");
        assert_eq!(proposed(&fake), [""; 0], "{failed:?}");
    }
}

#[test]
fn argo_cd_sends_the_event_of_the_workflow() {
    let text = example("argocd-notifications.yaml");
    let (config, application) = text.split_once("\n---\n").unwrap();
    let config: Value = serde_yaml_ng::from_str(config).unwrap();
    let application: Value = serde_yaml_ng::from_str(application).unwrap();
    let part = |name: &str| -> Value {
        let text = config["data"][name].as_str().unwrap();
        serde_yaml_ng::from_str(text).unwrap()
    };
    let template = part("template.deployment-failed");
    let body = template["webhook"]["github"]["body"].as_str().unwrap();
    let start = body.find("{{").unwrap();
    let end = body.find("}}").unwrap() + 2;
    assert!(body[start..end].starts_with("{{ toJson "), "{body}");
    let body = format!("{}\"commit\"{}", &body[..start], &body[end..]);
    let body: Value = serde_json::from_str(&body).unwrap();
    let workflow = workflow();
    let types = &workflow["on"]["repository_dispatch"]["types"];
    assert_eq!(types[0], body["event_type"]);
    assert_eq!(body["client_payload"]["commit"], "commit");
    let text = example(".github/workflows/roll-back.yml");
    assert!(text.contains("github.event.client_payload.commit }}"));
    assert_eq!(
        part("trigger.on-deployment-failed")[0]["send"][0],
        "deployment-failed"
    );
    assert_eq!(
        part("service.webhook.github")["url"],
        "https://api.github.com"
    );
    let annotation = "notifications.argoproj.io/subscribe.on-deployment-failed.github";
    assert_eq!(application["metadata"]["annotations"][annotation], "");
}
