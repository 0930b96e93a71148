//! `examples/environments`: two sets in one repository, with separate histories.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::world::{self, Ran, World};

const STAGING: &str = "envs/staging/repin.yaml";
const PROD: &str = "envs/prod/repin.yaml";
/// The builds of `examples/quickstart`; the example pins the first.
const FIRST: &str = "4b1d7f0e92c35a68d1f4073be6a98c25170f3d6e";
const SECOND: &str = "c93f5a17e08b64d2ab7013f9485ce6d20917b3fa";

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/environments")
        .join(path)
}

/// The repository of the example in a scratch directory, with the images of `examples/quickstart`.
struct Example {
    world: World,
}

impl Example {
    fn create() -> Self {
        let images = example("../quickstart/images").canonicalize().unwrap();
        let sources = format!("ghcr.io/acme=oci:{}", images.display());
        let mut world = World::empty().env("REPIN_SOURCES", &sources);
        for (name, value) in [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_AUTHOR_NAME", "A"),
            ("GIT_AUTHOR_EMAIL", "a@example.com"),
            ("GIT_COMMITTER_NAME", "C"),
            ("GIT_COMMITTER_EMAIL", "c@example.com"),
            // More than a day ago, so that production accepts the sets of staging.
            ("GIT_COMMITTER_DATE", "2025-11-20T14:02:00+01:00"),
        ] {
            world = world.env(name, value);
        }
        let created = Ran::of(world.other_command(example("create")).arg("deploy"));
        assert_eq!(created.stdout + &created.stderr, "");
        Self { world }
    }

    fn root(&self) -> PathBuf {
        self.world.path("deploy")
    }

    fn git(&self, args: &[&str]) -> String {
        world::git(&self.root(), args)
    }

    fn run(&self, set: &str, args: &[&str]) -> Ran {
        let args = [args, &["--config", set]].concat();
        self.world.run_in(&self.root(), &args, &[])
    }

    /// Changes a set, and pushes the commit.
    fn change(&self, set: &str, args: &[&str]) {
        let args = [args, &["--apply", "--commit"]].concat();
        self.run(set, &args).exits(0);
        self.git(&["push", "-q"]);
    }

    fn history(&self, set: &str) -> Value {
        let history = self.run(set, &["history", "--format", "json"]);
        history.exits(0).json()["entries"].clone()
    }

    /// `KIND REVISION` of each entry of the history of a set, separated by commas.
    fn kinds(&self, set: &str) -> String {
        let history = self.history(set);
        let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
        let entries = history.as_array().unwrap().iter();
        let entries = entries.map(|entry| text(entry, "kind") + " " + &text(entry, "revision"));
        entries.collect::<Vec<_>>().join(", ")
    }

    /// The files of an environment.
    fn files(&self, environment: &str) -> [String; 2] {
        ["deployment.yaml", "cronjob.yaml"].map(|file| {
            let path = self.root().join("envs").join(environment).join(file);
            fs::read_to_string(path).unwrap()
        })
    }
}

#[test]
fn rollback_of_production_does_not_affect_staging() {
    let example = Example::create();
    let adopted = format!("manual {FIRST}");
    for set in [STAGING, PROD] {
        assert_eq!(example.kinds(set), adopted);
    }
    let old = example.files("prod");
    example.change(STAGING, &["promote", "--revision", SECOND]);
    assert_eq!(example.files("prod"), old);
    assert_eq!(example.kinds(PROD), adopted);
    let staging = (example.history(STAGING), example.files("staging"));

    example.change(PROD, &["promote", "--revision", SECOND]);
    let promoted = format!("promote {SECOND}, {adopted}");
    assert_eq!(example.kinds(PROD), promoted);
    example.change(PROD, &["rollback", "--to", FIRST]);
    assert_eq!(example.files("prod"), old);
    let rolled_back = format!("rollback {FIRST}, {promoted}");
    assert_eq!(example.kinds(PROD), rolled_back);
    let now = (example.history(STAGING), example.files("staging"));
    assert_eq!(now, staging);

    // The set is held in production only.
    let promote = ["promote", "--revision", SECOND];
    let held = example.run(PROD, &promote).exits(1);
    assert!(held.stderr.contains("rolled_back"), "{}", held.stderr);
    example.run(STAGING, &promote).exits(0);
    let rollback = ["rollback", "--to", FIRST];
    example.run(STAGING, &rollback).exits(0);
}

#[test]
fn repository_of_the_example_is_reproducible() {
    let [one, other] = [Example::create(), Example::create()];
    let log = ["log", "--format=%H %s%n%b"];
    assert_eq!(one.git(&log), other.git(&log));
    let checked = one
        .world
        .run_in(&one.root(), &["check", "--all", "--remote"], &[]);
    checked.exits(0);
    // The files of the commits are those of the example.
    let mut files: Vec<String> = one.git(&["ls-files"]).lines().map(str::to_owned).collect();
    for file in &files {
        let committed = fs::read(one.root().join(file)).unwrap();
        assert_eq!(committed, fs::read(example(file)).unwrap(), "{file}");
    }
    files.extend(["README.md", "create"].map(str::to_owned));
    files.sort();
    assert_eq!(files, files_below(&example(""), ""));
    let again = Ran::of(one.world.other_command(example("create")).arg("deploy"));
    assert_eq!((again.code, again.stdout), (2, String::new()));
}

/// The paths of all files, sorted.
fn files_below(directory: &Path, prefix: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            files.extend(files_below(&entry.path(), &format!("{path}/")));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn workflows_of_the_example_run() {
    let example_repository = Example::create();
    // Each command except the check fails when it needs a token.
    for (workflow, command, exit) in [
        ("staging", "promote", 4),
        ("production", "promote", 4),
        ("nightly", "promote", 4),
        ("pins", "check", 0),
        ("prune", "prune", 4),
    ] {
        let path = example(&format!(".github/workflows/{workflow}.yml"));
        let text = fs::read_to_string(path).unwrap();
        let start = format!("run: repin {command} ");
        let line = text.lines().find(|line| line.contains(&start)).unwrap();
        let script = line.split_once("run: ").unwrap().1;
        let mut run = example_repository.world.other_command("bash");
        let program = Path::new(env!("CARGO_BIN_EXE_repin")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        run.current_dir(example_repository.root())
            .args(["-e", "-c", script])
            .envs([
                ("PATH", &*path),
                ("REVISION", SECOND),
                ("STATE", "draft"),
                ("DRY_RUN", ""),
            ]);
        let ran = Ran::of(&mut run);
        assert_eq!(ran.code, exit, "{workflow}: {}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn production_receives_the_newest_set_that_staging_proved() {
    let example = Example::create();
    let newest = || {
        let ran = example.run(
            PROD,
            &["promote", "--revision", "newest", "--format", "json"],
        );
        let document = ran.exits(0).json();
        (document["revision"].clone(), document["changed"].clone())
    };
    assert_eq!(newest(), (FIRST.into(), false.into()));
    example.change(STAGING, &["promote", "--revision", SECOND]);
    assert_eq!(newest(), (SECOND.into(), true.into()));
}

#[test]
fn guide_shows_the_job_of_the_example() {
    let guide = example("../../docs/guides/environments.md");
    let text = fs::read_to_string(guide).unwrap();
    for workflow in ["production", "nightly"] {
        let path = example(&format!(".github/workflows/{workflow}.yml"));
        let job = fs::read_to_string(path).unwrap();
        assert!(text.contains(&format!("```yaml\n{job}```")), "{job}");
    }
}
