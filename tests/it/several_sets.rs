//! Several sets in one repository: selected together, and apart from each other.

use std::{fs, os::unix::fs::symlink};

use serde_json::{Value, json};

use crate::support::{
    strace::{self, Point},
    world::{self, REV_A, REV_B, Ran, World, details, failed},
};

const PROD: &str = "envs/prod/repin.yaml";
const STAGING: &str = "envs/staging/repin.yaml";

/// A configuration of the image `fix`.
fn config(files: &str, pins: usize) -> String {
    format!(
        "version: 1\nfiles: [{files}]\nrevision: {{ pattern: '[a-c]{{40}}' }}\nimages:\n  \
         fix: {{ repository: ghcr.io/acme/fix, pins: {pins} }}\n"
    )
}

/// Two environments with one pin each, without git.
fn environments() -> World {
    let world = world::world();
    fs::remove_file(world.path("repin.yaml")).unwrap();
    fs::remove_dir_all(world.path(".github")).unwrap();
    for name in ["prod", "staging"] {
        add_set(&world, &format!("envs/{name}"), "app.yml");
    }
    world
}

/// The same as a repository with a remote.
fn repository() -> World {
    environments().with_git()
}

/// Adds a configuration with one pin in a file next to it.
fn add_set(world: &World, directory: &str, file: &str) {
    world.write(&format!("{directory}/repin.yaml"), config(file, 1));
    world.write(&format!("{directory}/{file}"), pin(world));
}

fn pin(world: &World) -> String {
    format!("image: ghcr.io/acme/fix@{}\n", world.digest("fix", REV_A))
}

/// Runs the program with the images of the world.
fn run(world: &World, args: &[&str]) -> Ran {
    let sources = format!("ghcr.io/acme=oci:{}", world.path("images").display());
    world.run_with(args, &[("REPIN_SOURCES", &sources)])
}

/// The checks of `pin_counted_twice` with this status.
fn counted_twice(document: &Value, status: &str) -> Vec<String> {
    details(document, "pin_counted_twice", status)
}

fn check(world: &World, set: &str, exit: i32) -> Value {
    let args = ["check", "--config", set, "--format", "json"];
    run(world, &args).exits(exit).json()
}

/// `SET EXIT-OR-CLEAN` of each entry of a document.
fn entries(document: &Value) -> Vec<String> {
    assert_eq!(document["schema"], "repin.sets/1");
    let sets = document["sets"].as_array().unwrap().iter();
    sets.map(|set| {
        let inner = &set["document"];
        let schema = inner["schema"].as_str().unwrap_or("none");
        let result = if schema == "repin.error/1" {
            &inner["exit"]
        } else {
            &inner["clean"]
        };
        format!("{} {schema} {result}", set["set_path"].as_str().unwrap())
    })
    .collect()
}

#[test]
fn missing_configuration_lists_those_below() {
    for world in [environments(), repository()] {
        let ran = world.run(&["check"]).exits(2);
        for part in [
            "repin.yaml not found in ",
            &format!("found: {PROD}\n"),
            &format!("found: {STAGING}\n"),
            "--config envs/prod/repin.yaml",
        ] {
            assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
        }
        let document = world.run(&["check", "--format", "json"]).exits(2).json();
        let message = document["errors"][0]["message"].as_str().unwrap();
        assert!(
            message.contains(PROD) && message.contains(STAGING),
            "{message}"
        );
        // From a directory of a set, that set is found.
        let below = world.path("envs/prod");
        world.run_in(&below, &["scan"], &[]).exits(0);
    }
    let empty = tempfile::tempdir().unwrap();
    let ran = environments()
        .run_in(empty.path(), &["check"], &[])
        .exits(2);
    assert!(!ran.stderr.contains("found: "), "{}", ran.stderr);
}

#[test]
fn list_of_configurations_below_is_bounded() {
    let world = repository();
    for number in 0..20 {
        add_set(&world, &format!("more/{number:02}"), "app.yml");
    }
    world.write("untracked/repin.yaml", config("app.yml", 1));
    world.git(&["add", "more"]);
    let ran = world.run(&["check"]).exits(2);
    assert_eq!(ran.stderr.matches("found: ").count(), 11, "{}", ran.stderr);
    assert!(ran.stderr.contains("found: 12 more"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("untracked"), "{}", ran.stderr);
}

#[test]
fn hostile_path_is_not_suggested_as_a_command() {
    let world = world::world();
    fs::remove_file(world.path("repin.yaml")).unwrap();
    let hostile = "a; touch x/repin.yaml";
    world.write(hostile, config("app.yml", 1));
    let world = world.with_git();
    let ran = world.run(&["check"]).exits(2);
    assert!(ran.stderr.contains(hostile), "{}", ran.stderr);
    assert!(ran.stderr.contains("`--config FILE`"), "{}", ran.stderr);
}

#[test]
fn all_checks_every_tracked_set() {
    let world = repository();
    world.write("repin.eu.yaml", config("eu.yml", 1));
    world.write("eu.yml", pin(&world));
    world.write("untracked/repin.yaml", "");
    let message =
        format!("promote\n\nRepin-Set: {REV_A} ({PROD})\nRepin-Set: {REV_A} (repin.eu.yaml)");
    world.git(&["rm", "-q", "--cached", "envs/prod/app.yml"]);
    world.git(&["commit", "-q", "-m", "without pins"]);
    world.git(&["add", "envs/prod/app.yml", "repin.eu.yaml", "eu.yml"]);
    world.git(&["commit", "-q", "-a", "-m", &message]);
    world.push();
    let document = world.run(&["check", "--all", "--format", "json"]);
    let clean = |set: &str| format!("{set} repin.check/1 true");
    assert_eq!(
        entries(&document.exits(0).json()),
        [clean(PROD), clean(STAGING), clean("repin.eu.yaml")]
    );
    let ran = world.run(&["check", "--all"]).exits(0);
    let date = r"\d{4}-\d\d-\d\d \d\d:\d\d\S+";
    let table = regex::Regex::new(date).unwrap();
    let table = table.replace_all(&ran.stdout, "<date>").into_owned();
    insta::assert_snapshot!(table, @r"
    SET PATH                 REVISION      SINCE              PINS    STATE
    envs/prod/repin.yaml     aaaaaaaaaaaa  <date>  1 of 1  OK
    envs/staging/repin.yaml  not recorded  <date>  1 of 1  OK
    repin.eu.yaml            aaaaaaaaaaaa  <date>  1 of 1  OK
    ");
    // Below a directory, only the sets there.
    let ran = world.run_in(
        &world.path("envs"),
        &["check", "--all", "--format", "json"],
        &[],
    );
    assert_eq!(entries(&ran.exits(0).json()), [clean(PROD), clean(STAGING)]);
}

#[test]
fn history_of_a_clone_without_a_remote_is_that_of_its_branch() {
    let world = repository();
    let shows = |since: &str| {
        let (stderr, table) = all(&world, &["check"], 0);
        assert!(table.lines().nth(1).unwrap().contains(since), "{table}");
        assert_eq!(stderr, "");
    };
    let url = world.git(&["remote", "get-url", "origin"]);
    world.git(&["remote", "remove", "origin"]);
    shows("  2026-01-02 ");
    world.git(&["remote", "add", "origin", &url]);
    shows("  -  ");
}

/// `CODE STATUS ITEM` of the checks between the sets.
fn between(world: &World) -> Vec<String> {
    let args = ["check", "--all", "--format", "json"];
    let document = world.run(&args).exits(0).json();
    let checks = document["checks"].as_array().unwrap().iter();
    let rows = checks.map(|check| {
        let [code, status, item] = ["code", "status", "item"].map(|key| check[key].as_str());
        format!(
            "{} {} {}",
            code.unwrap(),
            status.unwrap(),
            item.unwrap_or("-")
        )
    });
    rows.collect()
}

#[test]
fn pins_between_the_sets_are_reported() {
    let world = repository();
    assert!(between(&world).is_empty());
    // A configuration that is not tracked is left out.
    world.write("envs/next/repin.yaml", config("app.yml", 1));
    world.write("envs/next/app.yml", pin(&world));
    let ran = world.run(&["check", "--all"]).exits(0);
    let left_out = "configurations that git does not track: envs/next/repin.yaml";
    assert!(ran.stderr.contains(left_out), "{}", ran.stderr);
    fs::remove_dir_all(world.path("envs/next")).unwrap();
    // A new environment without a configuration, and a digest without its repository.
    world.write("envs/canary/app.yml", pin(&world));
    let digest = world.digest("fix", REV_A).to_owned();
    world.write("notes.md", format!("canary runs {digest}\n"));
    assert!(between(&world).is_empty(), "git does not track them");
    world.git(&["add", "envs/canary", "notes.md"]);
    let expected = [
        "pin_outside warn envs/canary/app.yml:1:8",
        "digest_outside warn notes.md:1:13",
    ];
    assert_eq!(between(&world), expected);
    // The patterns of a set apply to its own directory.
    for set in [PROD, STAGING] {
        world.write(set, config("app.yml", 1) + "outside_ignore: ['**']\n");
    }
    assert_eq!(between(&world), expected);
    let ran = world.run(&["check", "--all"]).exits(0);
    assert!(
        ran.stderr.contains("warning[pin_outside]"),
        "{}",
        ran.stderr
    );
    let sarif = world.run(&["check", "--all", "--format", "sarif"]).exits(0);
    assert!(
        sarif.stdout.contains("envs/canary/app.yml"),
        "{}",
        sarif.stdout
    );
    // A set above searches all files for its images, with its own policy.
    let other = config("own.yml", 1).replace("acme/fix", "acme/other");
    world.write("repin.yaml", &other);
    let new = world.digest("fix", REV_B);
    world.write("own.yml", format!("image: ghcr.io/acme/other@{new}\n"));
    world.git(&["add", "repin.yaml", "own.yml"]);
    assert_eq!(between(&world), expected, "it has another image");
    world.write("repin.yaml", other + "outside_ignore: ['*.md']\n");
    assert_eq!(between(&world), expected[..1]);
    world.write("repin.yaml", config("own.yml", 1));
    world.write("own.yml", pin(&world));
    assert!(between(&world).is_empty());
    // A set that ignores digests outside searches for none.
    world.git(&["rm", "--quiet", "--force", "repin.yaml", "own.yml"]);
    for set in [PROD, STAGING] {
        world.write(set, config("app.yml", 1) + "outside: ignore\n");
    }
    assert!(between(&world).is_empty());
}

#[test]
fn unreadable_file_between_the_sets_is_reported() {
    let world = repository();
    let path = world.track_unreadable("");
    // The set reports its own files itself.
    world.track_unreadable("envs/prod/");
    assert_eq!(between(&world), [format!("pin_outside warn {path}")]);
    for set in [PROD, STAGING] {
        world.write(set, config("app.yml", 1) + "outside: ignore\n");
    }
    assert!(between(&world).is_empty());
}

#[test]
fn all_fails_if_one_set_fails() {
    let world = repository();
    world.write("envs/prod/app.yml", "nothing\n");
    let ran = world.run(&["check", "--all"]).exits(1);
    assert!(
        ran.stderr
            .contains("envs/prod/repin.yaml:\nerror[pin_count]"),
        "{}",
        ran.stderr
    );
    let rows: Vec<_> = ran.stdout.lines().collect();
    assert!(
        rows[1].starts_with(PROD) && rows[1].ends_with("1 failed"),
        "{rows:?}"
    );
    assert!(
        rows[2].starts_with(STAGING) && rows[2].ends_with("OK"),
        "{rows:?}"
    );
    // A set that cannot start has an error, which takes precedence.
    world.write("broken/repin.yml", "version: 2\n");
    world.write(
        "fleet/repin.yaml",
        "version: 1\nfleet: {}\nimages: { fix: { repository: ghcr.io/acme/fix } }\n",
    );
    world.git(&["add", "broken", "fleet"]);
    let ran = world.run(&["check", "--all", "--format", "json"]).exits(2);
    assert_eq!(
        entries(&ran.json()),
        [
            "broken/repin.yml repin.error/1 2".to_owned(),
            format!("{PROD} repin.check/1 false"),
            format!("{STAGING} repin.check/1 true"),
            "fleet/repin.yaml none null".to_owned(),
        ]
    );
    let ran = world.run(&["check", "--all"]).exits(2);
    assert!(ran.stdout.contains("error: config\n"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("skipped: it describes a fleet\n"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr.contains("broken/repin.yml:1:10"),
        "{}",
        ran.stderr
    );
}

#[test]
fn all_verifies_every_set_remotely() {
    let world = repository();
    run(&world, &["check", "--all", "--remote"]).exits(0);
    world.layout("fix").untag(REV_A);
    let ran = run(&world, &["check", "--all", "--remote", "--format", "json"]).exits(1);
    assert_eq!(
        entries(&ran.json()),
        [
            format!("{PROD} repin.check/1 false"),
            format!("{STAGING} repin.check/1 false"),
        ]
    );
}

#[test]
fn all_excludes_config() {
    let world = repository();
    for command in ["check", "status"] {
        for args in [
            [command, "--all", "--config", PROD],
            ["--config", PROD, command, "--all"],
        ] {
            let ran = world.run(&args).exits(2);
            assert!(
                ran.stderr.contains("`--all` and `--config`"),
                "{}",
                ran.stderr
            );
        }
    }
    let empty = tempfile::tempdir().unwrap();
    let ran = world
        .run_in(empty.path(), &["check", "--all"], &[])
        .exits(2);
    assert!(
        ran.stderr.contains("no configuration file found"),
        "{}",
        ran.stderr
    );
}

#[test]
fn all_without_git_checks_existing_sets() {
    let world = environments();
    let ran = world.run(&["check", "--all", "--format", "json"]).exits(0);
    assert_eq!(
        entries(&ran.json()),
        [
            format!("{PROD} repin.check/1 true"),
            format!("{STAGING} repin.check/1 true"),
        ]
    );
}

#[test]
fn sarif_of_all_sets_is_one_log() {
    let world = repository();
    for name in ["prod", "staging"] {
        world.write(
            &format!("envs/{name}/app.yml"),
            "image: ghcr.io/acme/fix:v1\n",
        );
    }
    world.write("broken/repin.yaml", "version: 2\n");
    world.git(&["add", "broken"]);
    let ran = world.run(&["check", "--all", "--format", "sarif"]).exits(2);
    let log = ran.json();
    assert_eq!(log["runs"].as_array().unwrap().len(), 1);
    let results = log["runs"][0]["results"].as_array().unwrap();
    let uri = |result: &Value| {
        let location = &result["locations"][0]["physicalLocation"];
        let uri = location["artifactLocation"]["uri"].as_str().unwrap();
        format!("{} {uri}", result["ruleId"].as_str().unwrap())
    };
    let uris: Vec<_> = results.iter().map(uri).collect();
    assert_eq!(
        uris,
        [
            "pin_count envs/prod/repin.yaml",
            "image_unpinned envs/prod/app.yml",
            "pin_count envs/staging/repin.yaml",
            "image_unpinned envs/staging/app.yml",
        ]
    );
    let prints: std::collections::HashSet<_> = results
        .iter()
        .map(|result| result["partialFingerprints"]["repinFinding/v1"].as_str())
        .collect();
    assert_eq!(prints.len(), 4);
    let invocation = &log["runs"][0]["invocations"][0];
    let error = &invocation["toolExecutionNotifications"][0];
    let location = &error["locations"][0]["physicalLocation"]["artifactLocation"];
    assert_eq!(location["uri"], "broken/repin.yaml", "{error}");
    assert_eq!(invocation["exitCode"], 2);
}

#[test]
fn summary_of_all_sets_has_the_table() {
    let world = repository();
    world.write("envs/prod/app.yml", "nothing\n");
    let summary = world.path("summary.md");
    let env = [("GITHUB_STEP_SUMMARY", summary.to_str().unwrap())];
    let ran = world.run_with(&["check", "--all", "--format", "github"], &env);
    let ran = ran.exits(1);
    let annotation = "::error file=envs/prod/repin.yaml,line=5,col=46,title=pin_count (fix)::";
    assert!(ran.stdout.contains(annotation), "{}", ran.stdout);
    let text = fs::read_to_string(summary).unwrap();
    for part in [
        "| SET PATH | REVISION |",
        "| envs/prod/repin.yaml | - | - | 0 of 1 | 1 failed |",
        "| envs/staging/repin.yaml | not recorded |",
        "\n## check: envs/prod/repin.yaml\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("## check: envs/staging"), "{text}");
}

#[test]
fn status_of_all_sets_is_one_table() {
    let world = repository();
    world.write("envs/prod/app.yml", "nothing\n");
    let ran = world.run(&["status", "--all"]).exits(0);
    let rows: Vec<_> = ran.stdout.lines().collect();
    assert!(rows[0].starts_with("SET PATH"), "{rows:?}");
    assert!(
        rows[1].contains("0 of 1  not OK: 1 failed pin check"),
        "{rows:?}"
    );
    assert!(
        rows[2].contains("1 of 1  OK in git; not queried: registry, forge"),
        "{rows:?}"
    );
    let document = world.run(&["status", "--all", "--format", "json"]);
    let document = document.exits(0).json();
    let sets: Vec<_> = document["sets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|set| (&set["set_path"], &set["document"]["set_path"]))
        .collect();
    let paths = [json!(PROD), json!(STAGING)];
    assert_eq!(sets, [(&paths[0], &paths[0]), (&paths[1], &paths[1])]);
    // A clone without its remote branch cannot tell which set is current.
    world.git(&["update-ref", "-d", "refs/remotes/origin/main"]);
    let ran = world.run(&["status", "--all"]).exits(3);
    assert!(
        ran.stderr
            .contains("envs/staging/repin.yaml:\nwarning: history not read"),
        "{}",
        ran.stderr
    );
}

/// A repository with a top configuration that also counts the pin of production.
fn overlapping() -> World {
    let world = environments();
    world.write("repin.yaml", config("'envs/prod/*.yml'", 1));
    let world = world.with_git();
    let message = format!("promote\n\nRepin-Set: {REV_A} ({PROD})");
    world.replace("envs/prod/app.yml", "image:", "new:");
    world.commit(&message);
    world.push();
    world
}

#[test]
fn pin_of_two_sets_fails_the_check() {
    let world = overlapping();
    for set in ["repin.yaml", PROD] {
        let document = check(&world, set, 1);
        assert_eq!(failed(&document), ["pin_counted_twice"]);
        let details = counted_twice(&document, "fail");
        assert_eq!(details.len(), 1);
        let both = details[0].contains("`repin.yaml`") && details[0].contains(&format!("`{PROD}`"));
        let count = "both count 1 pin of `fix`: ";
        assert!(both && details[0].contains(count), "{details:?}");
        assert!(details[0].ends_with("app.yml:1:6"), "{details:?}");
    }
    // Another file of the same sets, and a set without a common pin.
    assert_eq!(counted_twice(&check(&world, STAGING, 0), "pass").len(), 1);
    world.write("repin.yaml", config("'envs/*.yml'", 1));
    world.write("envs/app.yml", pin(&world));
    assert_eq!(counted_twice(&check(&world, PROD, 0), "pass").len(), 1);
    check(&world, "repin.yaml", 0);
}

#[test]
fn pin_of_two_sets_fails_under_every_policy() {
    let world = overlapping();
    for policy in ["ignore", "warn", "refuse"] {
        world.write(PROD, config("app.yml", 1) + &format!("outside: {policy}\n"));
        assert_eq!(failed(&check(&world, PROD, 1)), ["pin_counted_twice"]);
    }
}

#[test]
fn configurations_in_one_directory_count_apart() {
    let world = repository();
    let other = config("app.yml", 1);
    world.write("envs/prod/repin.eu.yaml", &other);
    check(&world, PROD, 0);
    // An untracked file is no configuration.
    world.git(&["add", "envs/prod/repin.eu.yaml"]);
    let document = check(&world, PROD, 1);
    assert_eq!(failed(&document), ["pin_counted_twice"]);
    for other in [
        other.replace("acme/fix", "acme/review"),
        other.replace("app.yml", "eu.yml"),
    ] {
        world.write("envs/prod/repin.eu.yaml", other);
        check(&world, PROD, 0);
    }
}

#[test]
fn pin_of_two_sets_stops_a_promotion() {
    let world = overlapping();
    let promote = ["promote", "--revision", REV_B, "--config", PROD];
    let args = [&promote[..], &["--apply", "--format", "json"]].concat();
    let document = run(&world, &args).exits(1).json();
    assert_eq!(failed(&document), ["pin_counted_twice"]);
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    world.git(&["rm", "-q", "--cached", "repin.yaml"]);
    run(&world, &promote).exits(0);
}

#[test]
fn pin_of_two_sets_warns_in_rollback() {
    let world = repository();
    let promoted = |revision: &'static str| {
        let text = pin(&world).replace(world.digest("fix", REV_A), world.digest("fix", revision));
        world.write("envs/prod/app.yml", text + revision);
        world.commit(&format!("promote\n\nRepin-Set: {revision} ({PROD})"));
    };
    promoted(REV_B);
    promoted(REV_A);
    promoted(REV_B);
    world.push();
    world.write("repin.yaml", config("'envs/prod/*.yml'", 1));
    world.git(&["add", "repin.yaml"]);
    let args = [
        "rollback", "--to", REV_A, "--config", PROD, "--format", "json",
    ];
    let document = run(&world, &args).exits(0).json();
    assert_eq!(counted_twice(&document, "warn").len(), 1, "{document}");
}

#[test]
fn unreadable_configuration_is_a_warning() {
    let world = repository();
    world.write("repin.yaml", "version: 1\nfiles: [x]\n");
    world.write("other/repin.yaml", "");
    world.git(&["add", "repin.yaml", "other"]);
    let document = check(&world, PROD, 0);
    let warnings = counted_twice(&document, "warn");
    // A configuration in another directory cannot count the pin.
    assert_eq!(warnings.len(), 1, "{document}");
    assert!(warnings[0].contains("repin.yaml:1:1"), "{warnings:?}");
    let promote = ["promote", "--revision", REV_B, "--config", PROD];
    let ran = run(&world, &promote).exits(0);
    assert!(
        ran.stderr.contains("warning[pin_counted_twice]"),
        "{}",
        ran.stderr
    );
}

#[test]
fn unlisted_configurations_are_a_warning() {
    let world = repository();
    world.write(PROD, config("app.yml", 1) + "outside: ignore\n");
    assert_eq!(counted_twice(&check(&world, PROD, 0), "pass").len(), 1);
    world.write(".git/index", "this is no index");
    let warnings = counted_twice(&check(&world, PROD, 0), "warn");
    assert!(
        warnings.len() == 1 && warnings[0].contains("cannot list the files that git tracks"),
        "{warnings:?}"
    );
}

#[test]
fn workflow_of_a_forge_is_no_configuration() {
    let world = repository();
    let workflow = "on: push\njobs: {}\n";
    for forge in [".github", ".gitea", ".forgejo"] {
        world.write(&format!("{forge}/workflows/repin.yml"), workflow);
        world.write(&format!("{forge}/workflows/a.yml"), pin(&world));
    }
    world.write("repin.yaml", config("'.*/workflows/a.yml'", 3));
    world.git(&[
        "add",
        "-A",
        "-f",
        ".github",
        ".gitea",
        ".forgejo",
        "repin.yaml",
    ]);
    let document = check(&world, "repin.yaml", 0);
    assert_eq!(counted_twice(&document, "pass").len(), 1, "{document}");
    let ran = world.run(&["check", "--all"]).exits(0);
    assert!(!ran.stdout.contains("workflows"), "{}", ran.stdout);
    // In other directories, it is one.
    world.write(".github/repin.yml", workflow);
    world.git(&["add", ".github/repin.yml"]);
    let document = check(&world, "repin.yaml", 0);
    assert_eq!(counted_twice(&document, "warn").len(), 1, "{document}");
    world.run(&["check", "--all"]).exits(2);
}

#[test]
fn ignored_file_belongs_to_its_including_set() {
    let world = environments();
    world.write("repin.yaml", config("'envs/prod/*.yml'", 1));
    world.write("envs/prod/.gitignore", "app.yml\n");
    world.write(PROD, config("app.yml", 1) + "files_ignored: include\n");
    let world = world.with_git();
    check(&world, PROD, 0);
    world.git(&["add", "-f", "envs/prod/app.yml"]);
    assert_eq!(failed(&check(&world, PROD, 1)), ["pin_counted_twice"]);
}

/// The items of the checks of a code that warn.
fn warned(document: &Value, code: &str) -> Vec<String> {
    let checks = document["checks"].as_array().unwrap().iter();
    let these = checks.filter(|check| check["code"] == code && check["status"] == "warn");
    these
        .map(|check| check["item"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn pins_of_other_sets_are_not_outside() {
    let world = repository();
    for file in ["eu.yml", "above.yml", "none.yml"] {
        world.write(&format!("envs/prod/{file}"), pin(&world));
    }
    world.git(&["add", "envs"]);
    let outside = |world: &World| warned(&check(world, PROD, 0), "pin_outside");
    assert_eq!(
        outside(&world),
        ["above.yml:1:8", "eu.yml:1:8", "none.yml:1:8"]
    );
    world.write("envs/prod/repin.eu.yml", config("eu.yml", 1));
    world.write("repin.yaml", config("'envs/*/above.yml'", 1));
    world.git(&["add", "repin.yaml", "envs"]);
    assert_eq!(outside(&world), ["none.yml:1:8"]);
    // Only counted pins are excluded: not separate digests, and not other images.
    world.write("envs/prod/eu.yml", world.digest("fix", REV_A));
    world.write(
        "repin.yaml",
        config("'envs/*/above.yml'", 1).replace("acme/fix", "acme/review"),
    );
    assert_eq!(outside(&world), ["above.yml:1:8", "none.yml:1:8"]);
    let digests = warned(&check(&world, PROD, 0), "digest_outside");
    assert_eq!(digests, ["eu.yml:1:1"]);
}

#[test]
fn images_of_other_sets_are_declared() {
    let world = repository();
    let review = format!("b: ghcr.io/acme/review@{}\n", world.digest("review", REV_A));
    world.write("envs/prod/app.yml", pin(&world) + &review);
    let undeclared = |world: &World| warned(&check(world, PROD, 0), "image_undeclared");
    assert_eq!(undeclared(&world), ["app.yml:2:4"]);
    let other = config("app.yml", 1).replace("acme/fix", "acme/review");
    world.write("envs/prod/repin.review.yaml", other);
    world.git(&["add", "envs"]);
    assert_eq!(undeclared(&world), [] as [&str; 0]);
}

#[test]
fn sparse_configuration_counts_its_pins() {
    let world = overlapping();
    world.git(&["sparse-checkout", "set", "--no-cone", "/envs/"]);
    assert!(!world.path("repin.yaml").exists());
    assert_eq!(failed(&check(&world, PROD, 1)), ["pin_counted_twice"]);
}

#[test]
fn bare_root_is_refused_among_all_sets() {
    let world = repository();
    for file in ["HEAD", "objects/x", "refs/x"] {
        world.write(&format!("envs/prod/{file}"), "");
    }
    world.git(&["add", "envs"]);
    for command in ["check", "status"] {
        let args = [command, "--all", "--format", "json"];
        let document = world.run(&args).exits(2).json();
        let schemas: Vec<_> = document["sets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|set| set["document"]["schema"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            schemas,
            ["repin.error/1".to_owned(), format!("repin.{command}/1")]
        );
    }
}

#[test]
fn file_with_another_name_is_reported() {
    let world = repository();
    fs::rename(world.path(PROD), world.path("envs/prod/pins.yaml")).unwrap();
    for command in ["check", "doctor"] {
        let warned = |set: &str| {
            let ran = world.run(&[command, "--config", set]);
            ran.stderr
                .contains("other sets and `repin prune` do not find")
        };
        assert!(warned("envs/prod/pins.yaml"), "{command}");
        assert!(!warned(STAGING), "{command}");
    }
}

/// The standard error and the table of `--all`.
fn all(world: &World, args: &[&str], exit: i32) -> (String, String) {
    let ran = run(world, &[args, &["--all"]].concat()).exits(exit);
    (ran.stderr, ran.stdout)
}

#[test]
fn deleted_configuration_counts_no_pins() {
    let world = repository();
    world.write("repin.yaml", config("envs/*/app.yml", 2));
    world.commit("one set");
    fs::remove_file(world.path("repin.yaml")).unwrap();
    let (stderr, table) = all(&world, &["check"], 0);
    assert_eq!(stderr, "");
    assert!(!table.contains("\nrepin.yaml"), "{table}");
}

#[test]
fn linked_configuration_is_refused_and_not_skipped() {
    let world = repository();
    fs::create_dir_all(world.path("envs/link")).unwrap();
    symlink("../prod/repin.yaml", world.path("envs/link/repin.yaml")).unwrap();
    world.git(&["add", "-A"]);
    let (stderr, table) = all(&world, &["check"], 2);
    assert!(stderr.contains("envs/link/repin.yaml"), "{stderr}");
    assert!(table.contains("envs/link/repin.yaml"), "{table}");
}

#[test]
fn workflows_are_no_configurations_in_any_directory() {
    let world = repository();
    world.write(".github/workflows/repin.yml", "on: push\njobs: {}\n");
    add_set(&world, ".github", "app.yml");
    world.commit("a workflow");
    let github = world.path(".github");
    for directory in [world.root(), &github] {
        let ran = world.run_in(directory, &["check", "--all"], &[]).exits(0);
        assert!(!ran.stdout.contains("workflows"), "{}", ran.stdout);
    }
}

#[test]
fn removed_workflow_is_no_removed_configuration() {
    let world = world::world();
    let moved = world.path("configuration");
    fs::rename(world.path("repin.yaml"), &moved).unwrap();
    world.write(".github/workflows/repin.yaml", "on: push\njobs: {}\n");
    let world = world.with_git();
    fs::remove_file(world.path(".github/workflows/repin.yaml")).unwrap();
    fs::rename(&moved, world.path("repin.yaml")).unwrap();
    world.commit("adopt repin");
    world.push();
    let ran = world.run(&["history"]).exits(0);
    assert!(!ran.stderr.contains("unknown"), "{}", ran.stderr);
}

#[test]
fn sparse_configuration_is_skipped_with_a_warning() {
    let world = repository();
    world.git(&["sparse-checkout", "set", "--no-cone", "/envs/prod/"]);
    let (stderr, table) = all(&world, &["check"], 0);
    assert!(
        stderr.contains("a sparse checkout leaves it out"),
        "{stderr}"
    );
    assert!(table.contains("skipped: a sparse"), "{table}");
}

#[test]
fn unreadable_history_of_a_set_is_a_warning() {
    let world = repository();
    world.push();
    let (stderr, _) = all(&world, &["check"], 0);
    assert_eq!(stderr, "");
    let head = world.head();
    let object = format!(".git/objects/{}/{}", &head[..2], &head[2..]);
    fs::remove_file(world.path(&object)).unwrap();
    let (stderr, _) = all(&world, &["check"], 0);
    let warning = "envs/prod/repin.yaml:\nwarning: history not read: ";
    assert!(stderr.contains(warning), "{stderr}");
}

#[test]
fn status_of_all_sets_lists_problems() {
    let world = repository();
    world.write(PROD, config("app.yml", 3));
    let (stderr, _) = all(&world, &["status"], 0);
    let unread = "warning: pull requests not read: the configuration has no `forge` block\n";
    let (prod, rest) = stderr.split_once(unread).unwrap();
    assert!(prod.starts_with(&format!("{PROD}:\n")), "{stderr}");
    assert!(prod.contains("error[pin_count]"), "{stderr}");
    // The reason is the same for both sets.
    assert!(!rest.contains("warning: "), "{stderr}");
}

#[test]
fn status_of_all_sets_reports_each_reason_once() {
    let world = repository();
    let forge = "forge: { kind: github, repository: acme/flows }\n";
    world.write(PROD, config("app.yml", 1) + forge);
    let (stderr, _) = all(&world, &["status"], 0);
    let lines = stderr.lines();
    let lines: Vec<_> = lines.filter(|line| line.starts_with("warning")).collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    for (line, set, reason) in [
        (lines[0], PROD, "no token is set"),
        (lines[1], STAGING, "the configuration has no `forge` block"),
    ] {
        let start = format!("warning: pull requests of {set} not read: {reason}");
        assert!(line.starts_with(&start), "{stderr}");
    }
}

#[test]
fn warnings_appear_below_their_set() {
    let world = environments();
    world.write("envs/staging/.repin/journal", "damaged");
    let (stderr, _) = all(&world, &["check"], 0);
    assert!(stderr.starts_with(&format!("{STAGING}:\n")), "{stderr}");
}

#[test]
fn sets_with_a_common_root_share_its_lock() {
    let eu = "envs/prod/repin.eu.yaml";
    let world = environments();
    world.write(eu, config("eu.yml", 1));
    world.write("envs/prod/eu.yml", pin(&world));
    let apply = |set| ["promote", "--revision", REV_B, "--apply", "--config", set];
    let sources = format!("ghcr.io/acme=oci:{}", world.path("images").display());
    let mut command = world.command(&apply(PROD));
    command.env("REPIN_SOURCES", &sources);
    let lock = Point {
        name: "flock".to_owned(),
        nth: 1,
    };
    let first = strace::stop_after(&command, &lock, &[]);
    let ran = run(&world, &apply(eu)).exits(5);
    assert!(ran.stderr.contains("holds the lock"), "{}", ran.stderr);
    assert!(world.read("envs/prod/eu.yml") == pin(&world));
    run(&world, &apply(STAGING)).exits(0);
    assert!(first.go_on().output.status.success());
    run(&world, &apply(eu)).exits(0);
    let new = pin(&world).replace(world.digest("fix", REV_A), world.digest("fix", REV_B));
    for file in ["prod/app.yml", "prod/eu.yml", "staging/app.yml"] {
        assert_eq!(world.read(&format!("envs/{file}")), new, "{file}");
    }
}

#[test]
fn interrupted_run_of_another_set_is_reported() {
    for format in ["human", "json"] {
        let world = environments();
        for (set, files) in [("a", 2), ("b", 1)] {
            let files: Vec<_> = (0..files).map(|file| format!("{set}{file}.yml")).collect();
            let text = config(&files.join(", "), files.len());
            world.write(&format!("repin.{set}.yaml"), text);
            for file in &files {
                world.write(file, pin(&world));
            }
        }
        let apply = |set: &'static str| {
            [
                "promote",
                "--config",
                set,
                "--revision",
                REV_B,
                "--apply",
                "--quiet",
            ]
        };
        let sources = format!("ghcr.io/acme=oci:{}", world.path("images").display());
        let mut command = world.command(&apply("repin.a.yaml"));
        command.env("REPIN_SOURCES", &sources);
        strace::inject(&command, &["renameat2:signal=KILL:when=2".to_owned()]);
        assert_ne!(world.read("a0.yml"), world.read("a1.yml"));
        let args = [&apply("repin.b.yaml")[..], &["--format", format]].concat();
        let ran = run(&world, &args).exits(0);
        let warning = format!(
            "warning: an interrupted run of repin.a.yaml at revision {REV_B} was finished; \
             every file has its new content: a0.yml, a1.yml\n"
        );
        assert!(ran.stderr.contains(&warning), "{}", ran.stderr);
        for file in ["a0.yml", "a1.yml", "b0.yml"] {
            let new = world.digest("fix", REV_B);
            assert!(world.read(file).contains(new), "{file}");
        }
    }
}

#[test]
fn recover_finds_the_interrupted_runs_of_other_sets() {
    let world = environments();
    add_set(&world, ".", "own.yml");
    let world = world.with_git();
    let args = ["promote", "--config", PROD, "--revision", REV_B, "--apply"];
    let mut command = world.command(&args);
    let sources = format!("ghcr.io/acme=oci:{}", world.path("images").display());
    command.env("REPIN_SOURCES", &sources);
    strace::inject(&command, &["renameat2:signal=KILL:when=1".to_owned()]);
    let remedy = format!("`repin recover --config {PROD}` would");
    let ran = world.run(&["recover"]).exits(0);
    assert!(ran.stderr.contains(&remedy), "{}", ran.stderr);
    let ran = world.run(&["check", "--all"]).exits(0);
    assert!(ran.stderr.contains(&remedy), "{}", ran.stderr);
    world.run(&["recover", "--config", PROD]).exits(0);
    let ran = world.run(&["recover"]).exits(0);
    assert_eq!(ran.stderr, "");
}
