//! SARIF logs of real runs, against the published schema (testdata/sarif).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    codes::explanation,
    schema::Schema,
    world::{Ran, World, world},
};

/// Validates the log of a run and returns its only run.
fn log(ran: &Ran) -> Value {
    let schema = include_str!("../../testdata/sarif/sarif-schema-2.1.0.json");
    let document = ran.json();
    let valid = Schema::new(&serde_json::from_str(schema).unwrap()).validate(&document);
    assert_eq!(valid, Ok(()), "{document}");
    let runs = document["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    let run = runs[0].clone();
    for result in run["results"].as_array().unwrap() {
        let index = result["ruleIndex"].as_u64().unwrap();
        let rule = &run["tool"]["driver"]["rules"][usize::try_from(index).unwrap()];
        assert_eq!(rule["id"], result["ruleId"], "{result}");
    }
    assert_eq!(run["invocations"][0]["exitCode"], ran.code);
    run
}

fn sarif(world: &World, args: &[&str], exit: i32) -> Value {
    log(&world
        .run(&[args, &["--format", "sarif"]].concat())
        .exits(exit))
}

/// `RULE LEVEL PATH:LINE:COLUMN` of each result.
fn results(run: &Value) -> Vec<String> {
    let row = |result: &Value| {
        let place = place(&result["locations"][0]);
        let text = |key: &str| result[key].as_str().unwrap().to_owned();
        format!("{} {} {place}", text("ruleId"), text("level"))
    };
    run["results"].as_array().unwrap().iter().map(row).collect()
}

fn place(location: &Value) -> String {
    let physical = &location["physicalLocation"];
    let artifact = &physical["artifactLocation"];
    assert_eq!(artifact["uriBaseId"], "%SRCROOT%");
    let (uri, region) = (artifact["uri"].as_str().unwrap(), &physical["region"]);
    format!("{uri}:{}:{}", region["startLine"], region["startColumn"])
}

fn fingerprints(run: &Value) -> Vec<String> {
    let results = run["results"].as_array().unwrap().iter();
    let prints = results.map(|result| &result["partialFingerprints"]["repinFinding/v1"]);
    prints
        .map(|print| print.as_str().unwrap().to_owned())
        .collect()
}

/// A world with a finding of each level that is possible without a registry.
fn untidy() -> World {
    let world = world().with_git();
    world.write(
        ".github/workflows/b.yml",
        "é: ghcr.io/acme/fix@sha256:ABC\nz: ghcr.io/acme/review:latest\n",
    );
    world
}

const UNTIDY: [&str; 4] = [
    "pin_count error repin.yaml:6:52",
    "pin_count error repin.yaml:7:46",
    "pin_unsupported error .github/workflows/b.yml:1:4",
    "image_unpinned warning .github/workflows/b.yml:2:4",
];

#[test]
fn findings_of_check_are_results_at_their_lines() {
    let world = untidy();
    let ran = world.run(&["check", "--format", "sarif"]).exits(1);
    let run = log(&ran);
    assert_eq!(results(&run), UNTIDY);
    // The run itself succeeded; people see the findings where they look.
    assert_eq!(run["invocations"][0]["executionSuccessful"], true);
    assert_eq!(
        run["invocations"][0]["toolExecutionNotifications"],
        json!([])
    );
    assert!(ran.stderr.contains("error[pin_count]"), "{}", ran.stderr);
    // A count that is wrong is declared in the configuration, and counts these pins.
    let count = &run["results"][0];
    let related = count["relatedLocations"].as_array().unwrap();
    let related: Vec<_> = related.iter().map(place).collect();
    assert_eq!(
        related,
        [".github/workflows/a.yml:2:4", ".github/workflows/a.yml:3:5"]
    );
    assert_eq!(
        count["message"]["text"],
        "review: found 2 pins of `review` in 3 files, but `pins: 3` is declared\nhelp: if a pin was \
         removed on purpose, set `pins: 2` (`repin init --update` counts again); otherwise check that `files:` matches every \
         file, or restore the digest of .github/workflows/b.yml:2:4, which has only a tag (`repin init --pin --apply` adds \
         that of the tag)"
    );
    assert_eq!(count["properties"], json!({ "image": "review" }));
}

#[test]
fn sarif_rules_match_repin_explain() {
    let run = sarif(&untidy(), &["check"], 1);
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    // Passed checks are listed, too.
    assert!(rules.iter().any(|rule| rule["id"] == "file_unsafe"));
    for rule in rules {
        let found = explanation(rule["id"].as_str().unwrap());
        assert_eq!(rule["shortDescription"]["text"], found.summary);
        assert_eq!(rule["fullDescription"]["text"], found.meaning);
        let help = rule["help"]["markdown"].as_str().unwrap();
        for part in found.causes.iter().chain([&found.remedy, &found.example]) {
            let part = part.replace('{', "{{").replace('}', "}}");
            assert!(help.contains(&part), "{help}");
        }
        let level = if found.exits == [0] {
            "warning"
        } else {
            "error"
        };
        assert_eq!(rule["defaultConfiguration"]["level"], level);
    }
}

#[test]
fn fingerprints_survive_moved_lines() {
    let world = untidy();
    let text = world.read(".github/workflows/b.yml");
    world.write(".github/workflows/b.yml", text.repeat(2));
    let before = sarif(&world, &["check"], 1);
    let prints = fingerprints(&before);
    let distinct: BTreeSet<_> = prints.iter().collect();
    assert_eq!((distinct.len(), prints.len()), (6, 6));
    world.write(".github/workflows/b.yml", format!("\n\n{}", text.repeat(2)));
    let after = sarif(&world, &["check"], 1);
    assert_ne!(results(&after), results(&before));
    assert_eq!(fingerprints(&after), prints);
}

#[test]
fn a_clean_tree_has_no_results() {
    let run = sarif(&world().with_git(), &["check", "--remote"], 0);
    let levels: BTreeSet<_> = results(&run)
        .iter()
        .map(|row| row.split(' ').nth(1).unwrap().to_owned())
        .collect();
    assert!(!levels.contains("error"), "{run}");
    assert!(run["tool"]["driver"]["rules"].as_array().unwrap().len() > 8);
}

#[test]
fn scan_lists_pins_and_malformed_pins() {
    let world = untidy();
    let run = sarif(&world, &["scan"], 0);
    assert_eq!(
        results(&run),
        [
            "pin_unsupported error .github/workflows/b.yml:1:4",
            "pin none .github/workflows/a.yml:2:4",
            "pin none .github/workflows/a.yml:3:5",
        ]
    );
    let pin = &run["results"][1];
    assert_eq!(pin["kind"], "informational");
    let digest = world.digest("review", crate::support::world::REV_A);
    assert_eq!(
        pin["message"]["text"],
        format!("review: ghcr.io/acme/review@{digest}")
    );
    let prints = fingerprints(&run);
    assert_ne!(prints[1], prints[2]);
}

#[test]
fn paths_start_at_the_repository_top() {
    let world = untidy();
    let name = "deploy to/é.yml";
    world.git(&["rm", "-q", "--cached", "-r", "."]);
    world.write(
        "sub/repin.yaml",
        world
            .read("repin.yaml")
            .replace(".github/workflows/*.yml", "**/*.yml"),
    );
    world.write(&format!("sub/{name}"), "a: ghcr.io/acme/fix@sha256:x\n");
    let expected = "pin_unsupported error sub/deploy%20to/%C3%A9.yml:1:4";
    for (directory, config) in [("sub", "repin.yaml"), ("images", "../sub/repin.yaml")] {
        let args = ["scan", "--format", "sarif", "--config", config];
        let run = log(&world.run_in(&world.path(directory), &args, &[]).exits(0));
        assert_eq!(results(&run), [expected]);
    }
}

#[test]
fn text_of_others_gives_neither_links_nor_placeholders() {
    let world = untidy();
    let hostile = "a: ghcr.io/acme/fix@sha256:x\n";
    world.write(".github/workflows/[x](y){0}.yml", hostile);
    let run = sarif(&world, &["scan"], 0);
    let results = run["results"].as_array().unwrap();
    let text = |result: &Value| result["message"]["text"].as_str().unwrap().to_owned();
    let texts: Vec<_> = results.iter().map(text).collect();
    assert!(
        texts.iter().any(|text| text.contains("[x] (y){{0}}.yml")),
        "{texts:?}"
    );
    assert!(texts.iter().all(|text| !text.contains("](")), "{texts:?}");
}

#[test]
fn errors_are_notifications_of_an_unsuccessful_run() {
    let world = untidy();
    world.replace("repin.yaml", "pins: 2", "pins: two");
    let ran = world.run(&["check", "--format", "sarif"]).exits(2);
    let run = log(&ran);
    let invocation = &run["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    let notification = &invocation["toolExecutionNotifications"][0];
    assert_eq!(
        notification["descriptor"],
        json!({ "id": "config", "index": 0 })
    );
    assert_eq!(run["tool"]["driver"]["notifications"][0]["id"], "config");
    assert_eq!(place(&notification["locations"][0]), "repin.yaml:7:46");
    assert!(ran.stderr.contains("error[config]"), "{}", ran.stderr);
}

#[test]
fn unreachable_registry_is_a_sarif_notification() {
    let world = world().with_git();
    world.write(
        "notes.txt",
        world.digest("fix", crate::support::world::REV_A),
    );
    world.git(&["add", "notes.txt"]);
    let source = ["--source", "ghcr.io/acme=oci:nowhere"];
    let run = sarif(&world, &[&["check", "--remote"], &source[..]].concat(), 3);
    assert!(
        results(&run).contains(&"digest_outside warning notes.txt:1:1".to_owned()),
        "{run}"
    );
    let invocation = &run["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    let notifications = invocation["toolExecutionNotifications"].as_array().unwrap();
    assert!(!notifications.is_empty());
    for notification in notifications {
        assert_eq!(notification["descriptor"]["id"], "unavailable");
    }
}

#[test]
fn other_commands_refuse_the_format() {
    let world = world();
    for args in [
        &["promote", "--revision", "x"][..],
        &["history"],
        &["explain"],
        &["schema"],
        &["check", "--unknown"],
    ] {
        let ran = world.run(&[args, &["--format", "sarif"]].concat()).exits(2);
        let run = log(&ran);
        let notification = &run["invocations"][0]["toolExecutionNotifications"][0];
        assert_eq!(notification["descriptor"]["id"], "usage", "{run}");
        assert_eq!(results(&run), [] as [&str; 0]);
    }
    let ran = world.run(&["history", "--format", "sarif"]);
    assert_eq!(
        ran.stderr,
        "error[usage]: `--format sarif` is for `check` and `scan` only\n  = help: use --format \
         json for the documents of other commands\nfor more: repin explain usage\n"
    );
}
