//! `repin doctor`: each requirement of a run is a line; no file and no server is changed to find it
//! out.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::support::{
    forge::{FINE_TOKEN, Fake, Fault, Kind, Reply, TOKEN, error},
    registry::{PASSWORD, Protection, Registry, USER, docker_config, push_layout},
    strace,
    world::{REV_A, REV_B, Ran, World, world},
};

/// Every line that there is, in order.
const CODES: [&str; 24] = [
    "configuration",
    "files",
    "repository",
    "shallow",
    "remote",
    "rehearsal",
    "sync_push",
    "other_repositories",
    "lock",
    "journal",
    "engine",
    "secret",
    "trusted_root",
    "forge",
    "token",
    "base",
    "signed_commits",
    "permission_contents",
    "permission_pull_requests",
    "permission_workflows",
    "permission_actions",
    "permission_packages",
    "registry",
    "clock",
];

const JSON: [&str; 3] = ["doctor", "--format", "json"];

/// The document, after a check of its shape and of text that must not occur in any line.
fn document(ran: &Ran) -> Vec<Value> {
    let document = ran.json();
    assert_eq!(document["schema"], "repin.doctor/1");
    let rows = document["checks"].as_array().unwrap().clone();
    let mut codes: Vec<_> = rows
        .iter()
        .map(|row| row["code"].as_str().unwrap().to_owned())
        .collect();
    codes.dedup();
    assert_eq!(codes, CODES, "every line is always there, in its order");
    for row in &rows {
        let fields: Vec<_> = row
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            fields.iter().copied().collect::<BTreeSet<_>>(),
            ["code", "detail", "hint", "status"].into()
        );
        assert!(!row["detail"].as_str().unwrap().is_empty(), "{row}");
        assert_eq!(
            row["status"] == "fail" || row["status"] == "warn",
            row["hint"].is_string(),
            "a failed line has a remedy: {row}"
        );
    }
    let text = format!("{}{}", ran.stdout, ran.stderr);
    for secret in [TOKEN, FINE_TOKEN, PASSWORD] {
        assert!(!text.contains(secret), "{text}");
    }
    rows
}

/// The status and the evidence of the first line with this code.
fn line(rows: &[Value], code: &str) -> (String, String) {
    let row = rows.iter().find(|row| row["code"] == code).unwrap();
    (
        row["status"].as_str().unwrap().to_owned(),
        row["detail"].as_str().unwrap().to_owned(),
    )
}

/// Runs doctor with these variables; checks its exit code and the failed lines.
fn fails(world: &World, env: &[(&str, &str)], exit: i32, codes: &[&str]) -> Vec<Value> {
    let ran = world.run_with(&JSON, env).exits(exit);
    let rows = document(&ran);
    let failed: Vec<_> = rows
        .iter()
        .filter(|row| row["status"] == "fail")
        .map(|row| row["code"].clone())
        .collect();
    assert_eq!(failed, codes, "{}", ran.stdout);
    rows
}

/// A world with a base branch on a forge, without any problem.
fn hosted(kind: Kind) -> (World, Fake) {
    let (world, fake) = (world(), Fake::start(kind));
    let name = if kind == Kind::Github {
        "github"
    } else {
        "gitea"
    };
    let block = format!(
        "forge: {{ kind: {name}, url: '{}', repository: acme/flows }}\n",
        fake.api()
    );
    world.write("repin.yaml", world.read("repin.yaml") + &block);
    fake.store().push(
        "main",
        "as it is",
        &[("repin.yaml", &world.read("repin.yaml"))],
    );
    (world.with_git(), fake)
}

const ENV: [(&str, &str); 1] = [("REPIN_FORGE_TOKEN", TOKEN)];

#[test]
fn valid_repository_passes_without_a_change() {
    let world = world().with_git();
    let before = world.snapshot();
    let rows = fails(&world, &[], 0, &[]);
    for code in [
        "configuration",
        "files",
        "repository",
        "shallow",
        "remote",
        "lock",
        "journal",
        "registry",
    ] {
        assert_eq!(line(&rows, code).0, "pass", "{code}");
    }
    assert_eq!(line(&rows, "files").1, "5 pins in 2 files");
    assert!(
        line(&rows, "remote").1.starts_with("origin/main is at "),
        "{rows:?}"
    );
    let registries: Vec<_> = rows
        .iter()
        .filter(|row| row["code"] == "registry")
        .collect();
    assert_eq!(registries.len(), 3, "one for each image");
    assert!(
        registries[2]["detail"]
            .as_str()
            .unwrap()
            .contains("not pinned")
    );
    assert!(before == world.snapshot(), "something was written");
}

#[test]
fn the_outer_shape_of_each_format() {
    let world = world();
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "smoke: { command: [x], env: [SOME_SECRET], engine: docker }\n",
    );
    let none = [("PATH", "/nowhere")];
    let human = world.run_with(&["doctor"], &none).exits(1);
    assert!(
        human.stdout.starts_with("pass  configuration  "),
        "{}",
        human.stdout
    );
    assert!(
        human.stdout.contains("\nfail  engine ") && human.stdout.contains(" help: install"),
        "{}",
        human.stdout
    );
    assert!(
        human.stderr.contains("2 failed") && human.stderr.contains("nothing was changed"),
        "{}",
        human.stderr
    );
    assert!(!human.stdout.contains('\u{1b}'));
    assert!(
        world
            .run_with(&["doctor", "--color", "always"], &none)
            .stdout
            .contains("\u{1b}[31mfail\u{1b}[0m")
    );
    let summary = world.path("summary");
    let env = [none[0], ("GITHUB_STEP_SUMMARY", summary.to_str().unwrap())];
    let github = world
        .run_with(&["doctor", "--format", "github"], &env)
        .exits(1);
    assert!(
        github
            .stdout
            .contains("::error title=secret::SOME_SECRET is not set"),
        "{}",
        github.stdout
    );
    assert!(
        github.stdout.contains("::stop-commands::"),
        "{}",
        github.stdout
    );
    assert!(
        fs::read_to_string(summary)
            .unwrap()
            .contains("| fail | `engine` |")
    );
}

#[test]
fn each_missing_requirement_is_a_line() {
    let empty = tempfile::tempdir().unwrap();
    let rows = {
        let ran = world().run_in(empty.path(), &JSON, &[]).exits(2);
        document(&ran)
    };
    assert_eq!(line(&rows, "configuration").0, "fail");
    assert!(
        line(&rows, "repository")
            .1
            .contains("not in a git repository")
    );
    // These need no configuration.
    assert_eq!(
        [line(&rows, "lock").0, line(&rows, "journal").0],
        ["pass", "pass"]
    );
    let needs_none = ["lock", "journal", "engine"];
    let mut others = rows.iter().skip(1);
    assert!(
        others
            .all(|row| row["status"] == "skip"
                || needs_none.contains(&row["code"].as_str().unwrap())),
        "{rows:?}"
    );
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
    // And with a configuration, but without git on the machine.
    let world = world().with_git();
    let rows = fails(&world, &[("PATH", "/nowhere")], 3, &["repository"]);
    assert!(
        line(&rows, "repository").1.contains("`git` was not found"),
        "{rows:?}"
    );
}

#[test]
fn files_that_stop_a_run_are_lines() {
    let world = world();
    fs::hard_link(
        world.path(".github/workflows/a.yml"),
        world.path("second.yml"),
    )
    .unwrap();
    let rows = fails(&world, &[], 1, &["files"]);
    assert!(line(&rows, "files").1.contains("a.yml"), "{rows:?}");
    world.replace("repin.yaml", "files: [", "files: ['none/*.yml', ");
    let rows = fails(&world, &[], 2, &["files", "files"]);
    let part = "\"none/*.yml\" matches no file";
    assert!(line(&rows, "files").1.contains(part), "{rows:?}");
}

#[test]
fn each_configuration_error_is_a_line() {
    let world = world();
    world.replace("repin.yaml", "pins: 3", "pins: many");
    world.replace("repin.yaml", "name: test", "nmae: test");
    let rows = fails(&world, &[], 2, &["configuration", "configuration"]);
    assert!(
        line(&rows, "configuration")
            .1
            .starts_with("repin.yaml:2:1: unknown key"),
        "{rows:?}"
    );
    assert_eq!(line(&rows, "lock").0, "pass");
    assert_eq!(line(&rows, "token").0, "skip");
}

#[test]
fn shallow_clone_gets_the_command_that_completes_it() {
    let world = world().with_git();
    world.commit("second");
    world.push();
    let clone = tempfile::tempdir().unwrap();
    let origin = format!("file://{}", world.path("origin.git").display());
    world.git(&[
        "clone",
        "-q",
        "--depth",
        "1",
        &origin,
        clone.path().join("c").to_str().unwrap(),
    ]);
    let ran = world.run_in(&clone.path().join("c"), &JSON, &[]);
    let rows = document(&ran);
    assert_eq!(line(&rows, "shallow").0, "fail");
    let hint = rows.iter().find(|row| row["code"] == "shallow").unwrap()["hint"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        hint.contains("git fetch --unshallow") && hint.contains("fetch-depth: 0"),
        "{hint}"
    );
    assert_eq!(ran.code, 3, "the layouts are not in the clone, either");
    // A promotion does not continue without the history of a configured but missing branch.
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "provenance: { branch: origin/other }\n",
    );
    fails(&world, &[], 3, &["remote"]);
}

#[test]
fn running_and_interrupted_runs_are_conflicts() {
    let world = world();
    world.run(&["recover"]).exits(0);
    let lock = fs::File::open(world.path(".repin/lock")).unwrap();
    lock.lock().unwrap();
    let rows = fails(&world, &[], 5, &["lock"]);
    assert!(line(&rows, "lock").1.contains(".repin/lock"), "{rows:?}");
    lock.unlock().unwrap();
    let apply = ["promote", "--revision", REV_B, "--apply"];
    strace::inject(
        &world.command(&apply),
        &["renameat2:signal=KILL:when=2".to_owned()],
    );
    let before = world.snapshot();
    let rows = fails(&world, &[], 5, &["journal"]);
    assert!(
        line(&rows, "journal").1
            == format!(
                "an interrupted --apply of repin.yaml at revision {REV_B} left a journal of 2 files; \
                 `repin recover` would finish it"
            ),
        "{rows:?}"
    );
    assert!(before == world.snapshot(), "something was written");
    world.write(".github/workflows/b.yml", "edited\n");
    let rows = fails(&world, &[], 5, &["journal"]);
    assert!(line(&rows, "journal").1.contains("b.yml"), "{rows:?}");
}

fn program(directory: &Path, name: &str, script: &str) {
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn smoke_requires_an_engine() {
    let world = world();
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "smoke: { command: [x] }\n",
    );
    let programs = tempfile::tempdir().unwrap();
    let path = [("PATH", programs.path().to_str().unwrap())];
    let rows = fails(&world, &path, 1, &["engine"]);
    let reason = line(&rows, "engine").1;
    assert!(
        reason.contains("`podman` was not found in PATH")
            && reason.contains("`docker` was not found in PATH"),
        "{reason}"
    );
    program(programs.path(), "podman", "echo no; exit 3");
    program(programs.path(), "docker", "echo docker 27.0");
    assert_eq!(line(&fails(&world, &path, 0, &[]), "engine").0, "pass");
    world.replace(
        "repin.yaml",
        "command: [x]",
        "command: [x], engine: podman, when_unavailable: skip",
    );
    assert_eq!(line(&fails(&world, &path, 0, &[]), "engine").0, "skip");
}

#[test]
fn query_of_podman_creates_no_storage() {
    let world = world();
    let storage = world.path("storage");
    let args = format!(
        "['--root', '{0}/a', '--runroot', '{0}/b']",
        storage.display()
    );
    let smoke = format!("smoke: {{ command: [x], engine: podman, engine_args: {args} }}\n");
    world.write("repin.yaml", world.read("repin.yaml") + &smoke);
    let rows = fails(&world, &[], 0, &[]);
    assert!(
        line(&rows, "engine").1.contains("podman version"),
        "{rows:?}"
    );
    assert!(!storage.exists());
}

#[test]
fn secrets_are_checked_and_never_shown() {
    let world = world();
    let more = "smoke: { command: [x], env: [ONE, TWO], when_unavailable: skip }\n\
                freshness:\n  - { name: f, pinned: { file: m.yaml, pointer: /ref }, repository: ../x, token_env: THREE }\n";
    world.write("repin.yaml", world.read("repin.yaml") + more);
    let env = [("ONE", "value-of-one"), ("THREE", "")];
    let rows = fails(&world, &env, 4, &["secret", "secret"]);
    assert_eq!(
        line(&rows, "secret"),
        ("pass".to_owned(), "ONE is set (smoke.env)".to_owned())
    );
    assert!(!format!("{rows:?}").contains("value-of-one"));
    let ran = world
        .run_with(&[&JSON[..], &["--if-unconfigured", "skip"]].concat(), &env)
        .exits(0);
    assert_eq!(
        ran.json()["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["status"] == "fail")
            .count(),
        0
    );
}

#[test]
fn scopes_of_a_classic_token_are_permissions() {
    let (world, fake) = hosted(Kind::Github);
    for (scopes, exit, failed) in [
        ("repo, workflow", 0, &[][..]),
        ("repo", 4, &["permission_workflows"]),
        (
            "public_repo, workflow",
            4,
            &["permission_contents", "permission_pull_requests"],
        ),
        (
            "",
            4,
            &[
                "permission_contents",
                "permission_pull_requests",
                "permission_workflows",
            ],
        ),
    ] {
        fake.store().scopes = Some(scopes);
        let rows = fails(&world, &ENV, exit, failed);
        assert_eq!(
            line(&rows, "token"),
            (
                "pass".to_owned(),
                format!(
                    "from REPIN_FORGE_TOKEN, accepted by {}",
                    fake.server.url().replace("http://", "")
                )
            )
        );
        let (status, reason) = line(&rows, "permission_contents");
        assert_eq!(status == "pass", scopes.starts_with("repo"), "{reason}");
    }
    fake.store().push = Some(false);
    fake.store().scopes = Some("repo, workflow");
    fails(
        &world,
        &ENV,
        4,
        &["permission_contents", "permission_pull_requests"],
    );
    assert_eq!(fake.writes(), [] as [String; 0]);
}

#[test]
fn unreported_permissions_are_skipped_not_guessed() {
    // GitLab reports the role and the scopes (`tests/it/gitlab.rs`).
    for kind in [Kind::Github, Kind::Gitea, Kind::Forgejo] {
        let (world, fake) = hosted(kind);
        if kind == Kind::Github {
            // As it is for a token of an app.
            fake.store().push = Some(false);
            fake.store().installation = true;
        }
        let rows = fails(&world, &ENV, 0, &[]);
        for code in &CODES[16..21] {
            let (status, reason) = line(&rows, code);
            assert_eq!(status, "skip", "{kind:?} {code}: {reason}");
        }
        let explanation = line(&rows, "permission_contents").1;
        assert!(explanation.contains("does not report"), "{explanation}");
        assert!(line(&rows, "base").1.starts_with("main is at "), "{rows:?}");
        // A refused read shows the missing permission.
        fake.fault(
            ("GET", "/pulls"),
            1,
            Fault::Instead(error(403, "token does not have the required scope(s)")),
        );
        fails(&world, &ENV, 4, &["permission_pull_requests"]);
        assert_eq!(fake.writes(), [] as [String; 0]);
    }
    let (world, fake) = hosted(Kind::Gitea);
    fake.fault(
        ("GET", "/labels"),
        1,
        Fault::Instead(error(403, "required scope(s): [read:issue]")),
    );
    let rows = fails(&world, &ENV, 4, &["permission_pull_requests"]);
    assert!(
        line(&rows, "permission_pull_requests")
            .1
            .contains("read:issue"),
        "{rows:?}"
    );
    fake.store().push = Some(false);
    fails(
        &world,
        &ENV,
        4,
        &["permission_contents", "permission_pull_requests"],
    );
}

#[test]
fn empty_scopes_count_only_for_classic_tokens() {
    let (world, fake) = hosted(Kind::Github);
    fake.store().scopes = Some("");
    let env = [("REPIN_FORGE_TOKEN", FINE_TOKEN)];
    assert_eq!(
        line(&fails(&world, &env, 0, &[]), "permission_contents").0,
        "skip"
    );
    assert_eq!(fake.writes(), [] as [String; 0]);
}

#[test]
fn workflows_and_packages_count_where_they_are_needed() {
    let (world, fake) = hosted(Kind::Github);
    fake.store().scopes = Some("repo, workflow");
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "prune: { tags: '^pending-' }\n",
    );
    world.replace(
        "repin.yaml",
        "repository: acme/flows",
        "repository: acme/flows, dispatch: [ci.yml]",
    );
    let rows = fails(
        &world,
        &ENV,
        4,
        &["permission_actions", "permission_packages"],
    );
    assert!(
        line(&rows, "permission_actions")
            .1
            .contains("workflow ci.yml does not exist"),
        "{rows:?}"
    );
    fake.store().workflows_there = vec!["ci.yml"];
    fake.store().scopes = Some("repo, workflow, delete:packages");
    let rows = fails(&world, &ENV, 0, &[]);
    assert_eq!(line(&rows, "permission_packages").0, "pass");
    assert_eq!(fake.writes(), [] as [String; 0]);
}

#[test]
fn tokens_that_are_missing_malformed_or_wrong() {
    let (world, fake) = hosted(Kind::Github);
    let rows = fails(&world, &[], 4, &["token"]);
    assert!(
        line(&rows, "token").1.contains("none of REPIN_FORGE_TOKEN"),
        "{rows:?}"
    );
    let skip = [&JSON[..], &["--if-unconfigured", "skip"]].concat();
    document(&world.run(&skip).exits(0));
    let api = fake.api();
    let job = ("GITHUB_API_URL", api.as_str());
    fails(&world, &[job, ("GH_TOKEN", "two words")], 2, &["token"]);
    assert_eq!(fake.asked(), [] as [String; 0]);
    let rows = fails(&world, &[job, ("GITEA_TOKEN", "other")], 4, &["token"]);
    assert!(
        line(&rows, "token").1.contains("from GITEA_TOKEN: ")
            && line(&rows, "token").1.contains("401"),
        "{rows:?}"
    );
    world.write("token", TOKEN);
    let rows = fails(&world, &[job, ("GH_TOKEN_FILE", "token")], 0, &[]);
    let host = fake.server.url().replace("http://", "");
    assert_eq!(
        line(&rows, "token").1,
        format!("from the file that GH_TOKEN_FILE names, accepted by {host}")
    );
    // A token for another server is reported and never sent.
    fake.forget();
    let other =
        format!("GH_TOKEN is set, but it is for https://api.github.com, not for http://{host}");
    let rows = fails(&world, &[("GH_TOKEN", TOKEN)], 4, &["token"]);
    let explanation = &line(&rows, "token").1;
    assert_eq!(*explanation, format!("no token is set for {host}: {other}"));
    assert_eq!(fake.asked(), [] as [String; 0]);
    let origin = format!("{}/acme/flows.git", fake.server.url());
    world.git(&["remote", "set-head", "origin", "main"]);
    world.git(&["remote", "set-url", "origin", &origin]);
    let env = [("GH_TOKEN", "other"), ("GITEA_TOKEN", TOKEN)];
    let rows = document(&world.run_with(&JSON, &env));
    assert_eq!(
        line(&rows, "token").1,
        format!("from GITEA_TOKEN, accepted by {host}; {other}")
    );
}

#[test]
fn unreachable_or_wrong_forge_fails() {
    let (world, fake) = hosted(Kind::Gitea);
    world.replace("repin.yaml", "acme/flows", "acme/other");
    let rows = fails(&world, &ENV, 4, &["token"]);
    assert!(line(&rows, "token").1.contains("404"), "{rows:?}");
    world.replace("repin.yaml", "acme/other", "acme/flows, base: staging");
    // A promotion uses the history of that branch.
    let rows = fails(&world, &ENV, 2, &["remote", "base"]);
    assert_eq!(line(&rows, "base").1, "branch staging does not exist");
    world.git(&["push", "-q", "origin", "HEAD:refs/heads/staging"]);
    let without = Fake::start(Kind::Gitea);
    without
        .store()
        .push("staging", "no configuration", &[("README.md", "x")]);
    world.replace("repin.yaml", &fake.api(), &without.api());
    let rows = fails(&world, &ENV, 2, &["base"]);
    assert_eq!(line(&rows, "base").1, "staging does not contain repin.yaml");
    world.replace("repin.yaml", &without.api(), "http://127.0.0.1:1/api/v1");
    let rows = fails(&world, &ENV, 3, &["forge"]);
    assert!(
        line(&rows, "forge").1.contains("cannot connect"),
        "{rows:?}"
    );
    world.replace("repin.yaml", "url: 'http://127.0.0.1:1/api/v1', ", "");
    let rows = fails(&world, &ENV, 2, &["forge"]);
    assert!(line(&rows, "forge").1.contains("forge.url"), "{rows:?}");
    // Both are reported; invalid input takes precedence over a denied request.
    fails(&world, &[], 2, &["forge", "token"]);
}

/// The head is fetched without its history, which other runs need.
#[test]
fn content_of_other_runs_stays_as_it_is() {
    let (world, fake) = hosted(Kind::Gitea);
    let rows = document(&world.run_with(&JSON, &ENV));
    assert!(line(&rows, "base").1.contains("is at"), "{rows:?}");
    assert!(fake.asked().iter().any(|line| line.contains(".git/")));
    assert!(!world.path(".git/repin/forge").exists());
}

#[test]
fn clock_difference_is_measured_by_server_dates() {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    for (seconds, exit) in [(0_i64, 0), (-3600, 3), (3600, 3)] {
        let (world, fake) = hosted(Kind::Github);
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(now.saturating_add_signed(seconds));
        let body = json!({"full_name": "acme/flows", "default_branch": "main"});
        let reply = Reply::json(200, body).with("date", &httpdate::fmt_http_date(at));
        fake.fault(("GET", "/repos/acme/flows"), 1, Fault::Instead(reply));
        let rows = fails(&world, &ENV, exit, if exit == 0 { &[] } else { &["clock"] });
        let side = if seconds > 0 {
            "s behind 127.0.0.1"
        } else {
            "s ahead of 127.0.0.1"
        };
        let explanation = line(&rows, "clock").1;
        assert!(
            explanation.contains(if exit == 0 {
                "apart from 127.0.0.1"
            } else {
                side
            }),
            "{explanation}"
        );
    }
}

/// The storage of a registry that holds the world's images.
fn stored(world: &World) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path(), &Protection::None);
    for image in ["review", "fix", "base"] {
        push_layout(&world.path("images"), &registry, image, REV_A);
    }
    directory
}

#[test]
fn each_image_reports_its_user_and_credential_source() {
    let world = world();
    let directory = stored(&world);
    let registry = Registry::start(directory.path(), &Protection::Password);
    world.replace(
        "repin.yaml",
        "oci:images",
        &format!("http://{}/acme", registry.host),
    );
    let rows = fails(&world, &[], 4, &["registry"; 3]);
    assert!(
        line(&rows, "registry")
            .1
            .contains("no credentials found for"),
        "{rows:?}"
    );
    let config = docker_config(directory.path(), &registry.host, (USER, PASSWORD));
    let env = [("DOCKER_CONFIG", config.to_str().unwrap())];
    let rows = fails(&world, &env, 0, &[]);
    let asked = format!(
        "is readable as user `{USER}` from {}",
        config.join("config.json").display()
    );
    for row in rows.iter().filter(|row| row["code"] == "registry") {
        let detail = row["detail"].as_str().unwrap();
        let detail = detail.replace(" (not pinned)", "");
        assert!(detail.ends_with(&asked), "{row}");
    }
    assert!(line(&rows, "clock").1.starts_with("at most "), "{rows:?}");
    let methods = registry.requests();
    assert!(
        methods.iter().all(|line| line.starts_with("GET ")),
        "{methods:?}"
    );
    let wrong = docker_config(directory.path(), &registry.host, (USER, "wrong"));
    fails(
        &world,
        &[("DOCKER_CONFIG", wrong.to_str().unwrap())],
        4,
        &["registry"; 3],
    );
}

#[test]
fn deleted_image_and_unreachable_registry_fail() {
    let world = world();
    let directory = stored(&world);
    let registry = Registry::start(directory.path(), &Protection::None);
    world.replace(
        "repin.yaml",
        "oci:images",
        &format!("http://{}/acme", registry.host),
    );
    let rows = fails(&world, &[], 0, &[]);
    assert!(
        line(&rows, "registry")
            .1
            .ends_with("is readable anonymously"),
        "{rows:?}"
    );
    world.pin(REV_B);
    world.replace("repin.yaml", "acme/base", "acme/absent");
    let rows = fails(&world, &[], 1, &["registry"; 3]);
    assert!(
        line(&rows, "registry").1.contains("does not exist"),
        "{rows:?}"
    );
    world.replace("repin.yaml", &registry.host, "127.0.0.1:1");
    fails(&world, &[], 3, &["registry"; 3]);
}

#[test]
fn the_worst_line_decides() {
    // The order: conflicts, failures, denied requests, unreachable servers.
    let (world, fake) = hosted(Kind::Github);
    fake.store().push = Some(false);
    world.replace("repin.yaml", "oci:images", "http://127.0.0.1:1");
    let three = ["registry"; 3];
    let denied = [
        &["permission_contents", "permission_pull_requests"][..],
        &three,
    ]
    .concat();
    fails(&world, &ENV, 4, &denied);
    world.write(
        "repin.yaml",
        world.read("repin.yaml")
            + "smoke: { command: [x], engine: docker, engine_args: ['--nonsense-flag', '--host=tcp://127.0.0.1:1'] }\n",
    );
    let rows = fails(&world, &ENV, 1, &[&["engine"][..], &denied].concat());
    assert_eq!(line(&rows, "engine").0, "fail");
    world.run(&["recover"]).exits(0);
    let state: Vec<_> = fs::read_dir(world.path(".git/repin")).unwrap().collect();
    let lock = fs::File::open(state[0].as_ref().unwrap().path().join("lock")).unwrap();
    lock.lock().unwrap();
    fails(
        &world,
        &ENV,
        5,
        &[&["lock", "engine"][..], &denied].concat(),
    );
}

#[test]
fn every_line_is_explained_and_no_other() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/doctor.md")).unwrap();
    let cell = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    let explanation: Vec<_> = text
        .lines()
        .filter_map(cell)
        .filter(|code| !["pass", "fail", "warn", "skip"].contains(&code.as_str()))
        .collect();
    assert_eq!(explanation, CODES);
}

#[test]
fn remedy_in_a_bare_repository_keeps_it() {
    let world = world().with_git();
    let bare = tempfile::tempdir().unwrap();
    world.git(&["clone", "-q", "--bare", ".", bare.path().to_str().unwrap()]);
    let mut doctor = world.command(&["doctor"]);
    let ran = Ran::of(doctor.current_dir(bare.path()));
    let text = ran.stdout + &ran.stderr;
    for part in ["bare git repository", "`git clone`", "`git worktree add`"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("remove"), "{text}");
}
