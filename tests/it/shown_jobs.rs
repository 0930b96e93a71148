//! The jobs of the README, `docs/` and `examples/`, run step by step on a simulated forge and a real registry that
//! requires a login.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use regex::Regex;
use serde_json::Value;

use crate::{
    support::{
        forge::{Fake, Kind, TOKEN},
        hosted::{hosted, publish},
        registry::{PASSWORD, Protection, Registry, USER, push_layout},
        world::{REV_A, REV_B, REV_C, World, git},
    },
    workflows::shown,
};

/// Parts of jobs that need more than one set, many repositories, another API or another branch; most of these commands have
/// tests of their own.
const OTHER: [&str; 9] = [
    // `tests/it/jobs.rs`
    "--wait",
    "--config envs/",
    "repin fleet",
    "repin prune",
    "repin freshness",
    "repin branch",
    "repin rollback --format json",
    "client_payload.commit",
    "docker/build-push-action",
];

/// `docker login`, which stores its arguments as docker does.
const DOCKER: &str = r#"#!/bin/sh
[ "$1" = login ] && [ "$3" = --username ] && [ "$5" = --password-stdin ] || exit 64
mkdir -p "$HOME/.docker"
auth=$(printf '%s:%s' "$4" "$(cat)" | base64 | tr -d '\n')
printf '{"auths":{"%s":{"auth":"%s"}}}\n' "$2" "$auth" >"$HOME/.docker/config.json"
"#;

/// A repository in which A was promoted and B is current, with a build C, and the machine of a job.
struct Machine {
    world: World,
    fake: Fake,
    registry: Registry,
    _storage: tempfile::TempDir,
    runner: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let (mut world, fake) = hosted(Kind::Github, "base: main");
        world.build(REV_C);
        let issue = "rehearse: { issue: { title: Rollback is not ready } }\n";
        world.write("repin.yaml", world.read("repin.yaml") + issue);
        let world = world.with_git();
        world.adopt(REV_A);
        world.push();
        world.promoted(REV_B);
        let storage = tempfile::tempdir().unwrap();
        let open = Registry::start(storage.path(), &Protection::None);
        for image in ["review", "fix", "base"] {
            for revision in [REV_A, REV_B, REV_C] {
                push_layout(&world.path("images"), &open, image, revision);
            }
        }
        drop(open);
        let registry = Registry::start(storage.path(), &Protection::Password);
        let source = format!("http://{}/acme", registry.host);
        world.replace("repin.yaml", "oci:images", &source);
        world.commit("read the registry");
        world.push();
        publish(&world, &fake, "the base branch");
        let head = git(world.root(), &["rev-parse", "HEAD"]);
        fake.store().name_head("main", &head, world.root());
        let runner = tempfile::tempdir().unwrap();
        let programs = runner.path().join("programs");
        fs::create_dir(&programs).unwrap();
        fs::write(programs.join("docker"), DOCKER).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(programs.join("docker"), mode).unwrap();
        Self {
            world,
            fake,
            registry,
            _storage: storage,
            runner,
        }
    }

    /// Runs the steps of a job on a new machine; returns the exit code and the output of the last one.
    fn job(&self, steps: &[Value], revision: &str, pull: u64) -> (i32, String) {
        let home = self.runner.path().join("home");
        fs::remove_dir_all(&home).ok();
        fs::create_dir(&home).unwrap();
        let mut last = (0, String::new());
        for step in steps.iter().filter(|step| step["if"].is_null()) {
            for mut command in self.commands(step, revision, pull) {
                for (name, value) in step["env"].as_object().into_iter().flatten() {
                    let value = value.as_str().unwrap_or_default();
                    command.env(name, evaluated(value, revision, pull));
                }
                let ran = command.output().unwrap();
                let text = [ran.stdout, ran.stderr].concat();
                last = (
                    ran.status.code().unwrap(),
                    String::from_utf8_lossy(&text).into_owned(),
                );
                assert!(
                    !last.1.contains(PASSWORD) && !last.1.contains(TOKEN),
                    "{}",
                    last.1
                );
                if last.0 != 0 {
                    return last;
                }
            }
        }
        last
    }

    /// The commands of a step: its script, or those of the action of repin.
    fn commands(&self, step: &Value, revision: &str, pull: u64) -> Vec<Command> {
        if let Some(script) = step["run"].as_str() {
            let mut command = self.command("bash");
            command.args(["-e", "-c", script]);
            return vec![command];
        }
        if !step["uses"]
            .as_str()
            .is_some_and(|action| action.contains("/repin@"))
        {
            return Vec::new();
        }
        let with = |input: &str| step["with"][input].as_str().unwrap_or_default().to_owned();
        let action = |name: &str| {
            let mut command = self.command("sh");
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/action");
            command.arg(script).arg(name);
            command
        };
        let mut commands = Vec::new();
        let registry = with("registry");
        if !registry.is_empty() {
            assert!(
                ["ghcr.io", "git.example.com"].contains(&registry.as_str()),
                "{registry}"
            );
            let mut login = action("login");
            login
                .env("INPUT_REGISTRY", &self.registry.host)
                .env("REGISTRY_USER", USER)
                .env("REGISTRY_PASSWORD", PASSWORD);
            commands.push(login);
        }
        if !with("command").is_empty() {
            let mut run = action("run");
            run.env("INPUT_COMMAND", with("command"))
                .env("INPUT_ARGS", evaluated(&with("args"), revision, pull))
                .env("REPIN_PATH", program_directory());
            commands.push(run);
        }
        commands
    }

    fn command(&self, program: &str) -> Command {
        let runner = self.runner.path();
        let path = format!(
            "{}:{}:{}",
            runner.join("programs").display(),
            program_directory().display(),
            std::env::var("PATH").unwrap()
        );
        let mut command = self.world.other_command(program);
        command
            .env("PATH", path)
            .env("HOME", runner.join("home"))
            .env("RUNNER_TEMP", runner)
            .env("GITHUB_API_URL", self.fake.api())
            .env("GITHUB_OUTPUT", runner.join("output"))
            .env("GITHUB_STEP_SUMMARY", runner.join("summary"));
        command
    }
}

fn program_directory() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_repin"))
        .parent()
        .unwrap()
        .to_owned()
}

/// A text with the values of its expressions, all of which must be known here.
fn evaluated(text: &str, revision: &str, pull: u64) -> String {
    let expression = Regex::new(r"\$\{\{ (.*?) \}\}").unwrap();
    let value = |found: &regex::Captures<'_>| match &found[1] {
        "github.sha"
        | "inputs.revision"
        | "github.event.inputs.revision"
        | "github.event.client_payload.revision" => revision.to_owned(),
        "inputs.pull_request" | "needs.promote.outputs.pull-request" => pull.to_string(),
        "steps.wait.outputs.merge-commit" => "a".repeat(40),
        "inputs.dry_run" => "true".to_owned(),
        "github.event.inputs.dry_run == 'false' && 'ready' || 'draft'" => "ready".to_owned(),
        "github.token" | "secrets.REPIN_FORGE_TOKEN" | "steps.app.outputs.token" => {
            TOKEN.to_owned()
        }
        other => panic!("unknown expression: {other}"),
    };
    expression.replace_all(text, value).into_owned()
}

/// The jobs that call repin, each list of steps once.
fn jobs() -> Vec<(String, Vec<Value>)> {
    let mut seen = BTreeSet::new();
    let mut jobs = Vec::new();
    for shown in shown(Path::new(env!("CARGO_MANIFEST_DIR"))) {
        let of_workflow = shown.document["jobs"].as_object();
        for job in of_workflow.into_iter().flat_map(|jobs| jobs.values()) {
            let text = job["steps"].to_string();
            let is_other = OTHER.iter().any(|part| text.contains(part));
            if text.contains("/repin@") && !is_other && seen.insert(text) {
                jobs.push((
                    shown.place.clone(),
                    job["steps"].as_array().unwrap().clone(),
                ));
            }
        }
    }
    jobs
}

#[test]
fn shown_jobs_work_with_a_registry_that_requires_a_login() {
    let machine = Machine::new();
    let (waits, others): (Vec<_>, Vec<_>) = jobs().into_iter().partition(|(_, steps)| {
        steps
            .iter()
            .any(|step| step.to_string().contains("repin wait"))
    });
    assert!(others.len() >= 9 && waits.len() == 2, "{}", others.len());
    for (place, steps) in &others {
        let text = steps.iter().map(Value::to_string).collect::<String>();
        let revision = if text.contains("repin rollback") {
            REV_A
        } else {
            REV_C
        };
        let (code, output) = machine.job(steps, revision, 0);
        assert_eq!(code, 0, "{place}: {output}");
    }
    let pull = machine.fake.store().open_pulls()[0].number;
    machine.fake.store().merge(pull);
    for (place, steps) in &waits {
        let (code, output) = machine.job(steps, REV_C, pull);
        assert_eq!(code, 0, "{place}: {output}");
        assert!(output.contains("merged"), "{output}");
    }

    // The login is what makes the difference.
    let (place, mut steps) = others
        .into_iter()
        .find(|(place, _)| place.starts_with("README"))
        .unwrap();
    for step in &mut steps {
        step.as_object_mut().unwrap().remove("with");
    }
    let (code, output) = machine.job(&steps, REV_C, 0);
    assert_eq!(code, 4, "{place}: {output}");
}
