//! `examples/fleet`: its files agree on the shards, its commands parse, and the script numbers
//! processes as a Kubernetes Indexed Job does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use regex::Regex;
use serde_json::Value;

use crate::support::{
    fleet::{self, Fleet, REV},
    forge::{Kind, TOKEN},
    world::REV_B,
};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/fleet")
        .join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

fn document(name: &str) -> Value {
    serde_yaml_ng::from_str(&text(name)).unwrap()
}

/// The arguments of a container.
fn arguments(container: &Value) -> Vec<String> {
    let arguments = container["args"].as_array().unwrap().iter();
    arguments
        .map(|argument| argument.as_str().unwrap().to_owned())
        .collect()
}

fn containers() -> Vec<Value> {
    let mut containers: Vec<Value> = ["kubernetes/job.yaml", "kubernetes/merge.yaml"]
        .map(|name| document(name)["spec"]["template"]["spec"]["containers"][0].clone())
        .to_vec();
    let workflow = document("argo/workflow.yaml");
    let templates = workflow["spec"]["templates"].as_array().unwrap();
    let with_one = templates.iter().map(|it| it["container"].clone());
    containers.extend(with_one.filter(Value::is_object));
    containers
}

/// The commands of the examples, as words.
fn commands() -> Vec<Vec<String>> {
    let mut commands: Vec<_> = containers().iter().map(arguments).collect();
    let quoted = Regex::new("\"([^\"]*)\"").unwrap();
    for name in [".github/workflows/fleet.yml", ".buildkite/pipeline.yml"] {
        for line in text(name).lines() {
            let Some((_, command)) = line.split_once("repin ") else {
                continue;
            };
            let starts = ["set --", "fleet "].iter();
            if !starts.clone().any(|start| command.starts_with(start)) {
                continue;
            }
            let command = quoted.replace_all(command, "$1");
            let words = command.trim_end_matches(')').split(' ');
            commands.push(words.map(str::to_owned).collect());
        }
    }
    commands
}

/// A word as the engine would fill it in.
fn filled(word: &str) -> String {
    let variable = Regex::new(r"\$+\(?[A-Za-z0-9_]+\)?|\{\{.*?\}\}|SET_SHA256|REVISION").unwrap();
    let value = |found: &regex::Captures<'_>| {
        let name = found[0].to_lowercase();
        if name.contains("sha256") {
            "0".repeat(64)
        } else if name.contains("revision") {
            REV_B.to_owned()
        } else if name == "$shard" {
            "0/4".to_owned()
        } else {
            "3".to_owned()
        }
    };
    variable.replace_all(word, value).into_owned()
}

#[test]
fn every_command_of_the_examples_parses() {
    let empty = tempfile::tempdir().unwrap();
    let commands = commands();
    let count = |word: &str| {
        let named = |command: &&Vec<String>| command.iter().take(2).any(|first| first == word);
        commands.iter().filter(named).count()
    };
    // One of each for Argo, Buildkite and GitHub; Kubernetes has no job for the set.
    assert_eq!(
        (count("set"), count("promote"), count("merge")),
        (3, 4, 4),
        "{commands:#?}"
    );
    for command in commands {
        let mut words: Vec<_> = command.iter().map(|word| filled(word)).collect();
        // A directory of the job that is missing here.
        for word in &mut words {
            *word = word.replace("/reports", empty.path().to_str().unwrap());
        }
        if let Some(at) = words.iter().position(|word| word == "--format") {
            words.drain(at..at + 2);
        }
        let output = Command::new(env!("CARGO_BIN_EXE_repin"))
            .args(&words)
            .args(["--format", "json"])
            .current_dir(&empty)
            .env_clear()
            .env("JOB_COMPLETION_INDEX", "0")
            .env("REPIN_SHARDS", "4")
            .output()
            .unwrap();
        // Past the arguments, the configuration or a report is missing here.
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {stdout}");
        let document: Value = serde_json::from_str(&stdout).unwrap();
        let code = &document["errors"][0]["code"];
        assert!(
            ["config", "fleet_list", "fleet_report", "fleet_set"]
                .iter()
                .any(|known| code == known),
            "{words:?}: {stdout}"
        );
    }
}

#[test]
fn the_examples_agree_on_the_number_of_shards() {
    let job = &document("kubernetes/job.yaml")["spec"];
    let shards = job["completions"].as_u64().unwrap();
    assert_eq!(job["parallelism"], shards);
    let environment = containers()[0]["env"].as_array().unwrap().clone();
    let variable = environment.iter().find(|row| row["name"] == "REPIN_SHARDS");
    assert_eq!(variable.unwrap()["value"], shards.to_string());
    let merged: Vec<_> = (0..shards)
        .map(|shard| format!("/reports/shard-{shard}.jsonl"))
        .collect();
    let mut jobs = 0;
    for container in containers() {
        let arguments = arguments(&container);
        let reports = arguments.iter().filter(|it| it.starts_with("/reports/"));
        if arguments.contains(&"merge".to_owned()) {
            jobs += 1;
            assert!(reports.eq(&merged), "{arguments:?}");
        }
        let image = concat!("ghcr.io/owner/repin:", env!("CARGO_PKG_VERSION"));
        assert_eq!(container["image"], image);
    }
    assert_eq!(jobs, 2);
    let argo = text("argo/workflow.yaml");
    assert!(argo.contains(&format!("withSequence: {{ count: \"{shards}\" }}")));
    assert!(argo.contains(&format!(
        "--shard={{{{inputs.parameters.shard}}}}/{shards} "
    )));
}

#[test]
fn shards_are_numbered_as_by_an_indexed_job() {
    let directory = tempfile::tempdir().unwrap();
    let run = |shards: &str, command: &[&str]| {
        let output = Command::new(path("shards"))
            .arg(shards)
            .args(command)
            .current_dir(&directory)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), stderr)
    };
    let script = "echo $JOB_COMPLETION_INDEX/$REPIN_SHARDS > \"$0\"";
    let (code, stderr) = run("3", &["sh", "-c", script, "out-$(JOB_COMPLETION_INDEX)"]);
    assert_eq!((code, &*stderr), (0, ""));
    for index in 0..3 {
        let written = fs::read_to_string(directory.path().join(format!("out-{index}")));
        assert_eq!(written.unwrap(), format!("{index}/3\n"));
    }
    // The order of exits is that of `fleet merge`; foreign exit codes come first.
    for (exits, worst) in [
        ("0 3 4", 4),
        ("3 4 1", 1),
        ("1 5 4", 5),
        ("5 2 1", 2),
        ("2 137 5", 137),
    ] {
        let script = format!("set -- {exits}; shift $JOB_COMPLETION_INDEX; exit $1");
        let (code, stderr) = run("3", &["sh", "-c", &script]);
        assert_eq!(code, worst, "{exits}");
        assert!(stderr.contains("of 3: exit"), "{stderr}");
    }
    for wrong in ["0", "x", "-1", ""] {
        assert_eq!(run(wrong, &["true"]).0, 2, "{wrong}");
    }
    assert_eq!(run("3", &[]).0, 2);
}

#[test]
fn shards_on_one_machine_make_one_report() {
    let fleet = Fleet::new(fleet::options(Kind::Github, 8));
    let sha256 = fleet.verified();
    let repin = env!("CARGO_BIN_EXE_repin");
    let promote = ["fleet", "promote", "--list", "list.txt", "--revision", REV];
    let ran = Command::new(path("shards"))
        .args(["3", repin])
        .args(promote)
        .args(["--set", "set.json", "--set-sha256", &sha256])
        .args(["--shard", "auto"])
        .args(["--out", "shard-$(JOB_COMPLETION_INDEX).jsonl"])
        .current_dir(fleet.root())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("REPIN_FORGE_TOKEN", TOKEN)
        .output()
        .unwrap();
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(0), "{stderr}");
    let reports = [0, 1, 2].map(|shard| format!("shard-{shard}.jsonl"));
    let reports: Vec<&str> = reports.iter().map(String::as_str).collect();
    let merge = ["--list", "list.txt", "--format", "json"];
    let merged = fleet.run(&[&["fleet", "merge"], &*reports, &merge].concat());
    let merged: Value = serde_json::from_str(&merged.exits(0).stdout).unwrap();
    assert_eq!(merged["totals"]["planned"], 8);
    assert_eq!(merged["shards"]["expected"], 3);
}
