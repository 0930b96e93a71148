//! `repin fleet merge` as a whole: reports of shards as files.

use std::{fs, path::Path};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{
    Digest,
    runner::obeyed,
    world::{REV_A, REV_B, Ran, World},
};

/// The shard of a repository, counted from 0.
fn shard_of(repository: &str, shards: u64) -> u64 {
    let hash: [u8; 32] = Sha256::digest(repository.to_ascii_lowercase()).into();
    u64::from_be_bytes(hash[..8].try_into().unwrap()) % shards
}

/// A directory with a list and the reports of shards.
struct Reports {
    world: World,
    list: String,
}

const LIST: &str = "acme/web\nacme/api release\nacme/cli\nother/site\n";

impl Reports {
    fn new(list: &str) -> Self {
        let world = World::empty();
        world.write("list.txt", list);
        Self {
            world,
            list: list.to_owned(),
        }
    }

    fn path(&self) -> &Path {
        self.world.root()
    }

    /// The line of a repository in a run with one shard.
    fn line(&self, repository: &str, outcome: &str, exit: u8) -> Value {
        json!({
            "schema": "repin.fleet-line/1", "repository": repository, "shard": 0,
            "outcome": outcome, "exit": exit, "pins": 3,
            "from": {"ghcr.io/acme/review": format!("sha256:{}", "1".repeat(64))},
            "to": {"ghcr.io/acme/review": format!("sha256:{}", "2".repeat(64))},
            "pull_request": null, "checks": [], "error": null, "requests": 4, "seconds": 0.25,
            "revision": REV_B, "list_sha256": Digest::of(self.list.as_bytes()).hex(),
            "set_sha256": "5".repeat(64), "shards": 1,
        })
    }

    fn write(&self, file: &str, lines: &[Value]) {
        let lines: Vec<_> = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(self.path().join(file), lines.concat()).unwrap();
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, &[])
    }

    fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        self.world
            .run_with(&[&["fleet", "merge"], args].concat(), env)
    }

    /// The merged document, with the exit code that goes with it.
    fn merged(&self, args: &[&str], exit: i32) -> Value {
        self.run(&[args, &["--format", "json"]].concat())
            .exits(exit)
            .json()
    }

    fn failed(&self) -> String {
        fs::read_to_string(self.path().join("failed.txt")).unwrap()
    }
}

/// A list of `count` repositories.
fn numbered(count: usize) -> String {
    let lines: Vec<_> = (0..count).map(|at| format!("acme/r{at}\n")).collect();
    lines.concat()
}

/// A refused repository, by its failed check.
fn refused(mut line: Value, code: &str, detail: &str) -> Value {
    line["checks"] = json!([{
        "code": code, "image": "review", "platform": null, "item": null, "status": "fail",
        "detail": detail, "help": null,
    }]);
    line
}

fn with_error(mut line: Value, code: &str, message: &str) -> Value {
    line["error"] = json!({
        "code": code, "message": message, "file": null, "line": null, "column": null, "hint": null,
    });
    line
}

#[test]
fn merged_report_is_complete_and_ordered() {
    let reports = Reports::new(LIST);
    let mut created = reports.line("Acme/Api", "created", 0);
    created["pull_request"] = json!({"number": 7, "url": "https://x/7", "state": "created"});
    reports.write(
        "a.jsonl",
        &[reports.line("other/site", "current", 0), created],
    );
    reports.write(
        "b.jsonl",
        &[
            reports.line("acme/cli", "unchanged", 0),
            reports.line("acme/web", "planned", 0),
        ],
    );
    let document = reports.merged(&["a.jsonl", "b.jsonl", "--list", "list.txt"], 0);
    let names: Vec<_> = (document["repositories"].as_array().unwrap().iter())
        .map(|row| row["repository"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["acme/web", "Acme/Api", "acme/cli", "other/site"]);
    let row = &document["repositories"][1];
    assert_eq!(
        *row,
        json!({
            "repository": "Acme/Api", "shard": 0, "outcome": "created", "exit": 0, "pins": 3,
            "from": row["from"], "to": row["to"],
            "pull_request": {"number": 7, "url": "https://x/7", "state": "created"},
            "checks": [], "error": null, "requests": 4, "seconds": 0.25,
        })
    );
    let whole = json!({
        "schema": "repin.fleet/1", "revision": REV_B,
        "list_sha256": Digest::of(LIST.as_bytes()).hex(), "set_sha256": "5".repeat(64),
        "shards": {"expected": 1, "seen": [0]},
        "totals": {
            "created": 1, "updated": 0, "unchanged": 1, "current": 1, "planned": 1, "refused": 0,
            "foreign_commit": 0, "closed_by_person": 0, "unconfigured": 0, "archived": 0,
            "moved": 0, "denied": 0, "unavailable": 0, "failed": 0, "pending": 0,
        },
        "repositories": document["repositories"], "missing": [],
    });
    assert_eq!(document, whole);
    assert_eq!(reports.failed(), "");
}

#[test]
fn merged_exit_is_the_most_severe() {
    for (exits, merged) in [
        (&[0, 0, 0, 0][..], 0),
        (&[0, 3, 0, 0], 3),
        (&[0, 3, 4, 0], 4),
        (&[1, 3, 4, 0], 1),
        (&[1, 3, 4, 5], 5),
        (&[1, 2, 4, 5], 2),
    ] {
        let reports = Reports::new(LIST);
        let names = ["acme/web", "acme/api", "acme/cli", "other/site"];
        let lines = names.iter().zip(exits);
        let lines: Vec<_> = lines
            .map(|(name, exit)| reports.line(name, "refused", *exit))
            .collect();
        reports.write("a.jsonl", &lines);
        reports.merged(&["a.jsonl", "--list", "list.txt"], merged);
        let failed = exits.iter().filter(|exit| **exit != 0).count();
        assert_eq!(reports.failed().lines().count(), failed);
    }
}

#[test]
fn repository_without_a_line_is_missing() {
    let reports = Reports::new(LIST);
    fs::create_dir(reports.path().join("shards")).unwrap();
    reports.write(
        "shards/0.jsonl",
        &[
            reports.line("acme/web", "created", 0),
            reports.line("acme/cli", "refused", 1),
        ],
    );
    let document = reports.merged(&["shards/0.jsonl", "--list", "list.txt"], 1);
    assert_eq!(document["missing"], json!(["acme/api", "other/site"]));
    let failed = fs::read_to_string(reports.path().join("shards/failed.txt")).unwrap();
    assert_eq!(failed, "acme/api release\nacme/cli\nother/site\n");
    // A report with only missing repositories is unavailable.
    reports.write("shards/0.jsonl", &[reports.line("acme/web", "created", 0)]);
    let document = reports.merged(&["shards/0.jsonl", "--list", "list.txt"], 3);
    assert_eq!(document["missing"].as_array().unwrap().len(), 3);
    // An empty report is one of an interrupted shard.
    reports.write("shards/0.jsonl", &[]);
    let document = reports.merged(&["shards/0.jsonl", "--list", "list.txt"], 3);
    assert_eq!(
        (&document["revision"], &document["shards"]["expected"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(document["missing"].as_array().unwrap().len(), 4);
}

#[test]
fn shard_without_a_line_is_reported() {
    let reports = Reports::new(LIST);
    let mut line = reports.line("acme/web", "created", 0);
    line["shards"] = json!(3);
    let mut other = line.clone();
    other["shard"] = json!(2);
    other["repository"] = json!("acme/cli");
    reports.write("a.jsonl", &[line.clone(), other]);
    let document = reports.merged(&["a.jsonl"], 3);
    assert_eq!(document["missing"], json!(null));
    assert_eq!(document["shards"], json!({"expected": 3, "seen": [0, 2]}));
    let human = reports.run(&["a.jsonl"]).exits(3);
    assert!(
        human.stdout.contains("missing (1)\n  shard 1\n"),
        "{}",
        human.stdout
    );
    assert!(human.stderr.contains("incomplete"), "{}", human.stderr);
    reports.write("a.jsonl", &[]);
    reports.merged(&["a.jsonl"], 3);
    let mut third = line.clone();
    third["shard"] = json!(1);
    let mut second = line.clone();
    second["shard"] = json!(2);
    reports.write("a.jsonl", &[line, third, second]);
    reports.merged(&["a.jsonl"], 0);
}

#[test]
fn last_line_of_a_repository_counts() {
    let reports = Reports::new(LIST);
    let line = |outcome, exit| reports.line("acme/web", outcome, exit);
    let outcome = |files: &[(&str, Vec<Value>)]| {
        for (file, lines) in files {
            reports.write(file, lines);
        }
        let names: Vec<_> = files.iter().map(|(file, _)| *file).collect();
        let ran = reports.run(&[&names[..], &["--format", "json"]].concat());
        ran.json()["repositories"][0]["outcome"].clone()
    };
    let twice = outcome(&[("a", vec![line("unavailable", 3), line("created", 0)])]);
    assert_eq!(twice, "created");
    let files = [
        ("a", vec![line("created", 0)]),
        ("b", vec![line("foreign_commit", 5)]),
    ];
    assert_eq!(outcome(&files), "foreign_commit");
    let files = [
        ("a", vec![line("created", 0)]),
        ("b", vec![line("pending", 3)]),
    ];
    assert_eq!(outcome(&files), "created");
    let files = [
        ("a", vec![line("pending", 3)]),
        ("b", vec![line("created", 0)]),
    ];
    assert_eq!(outcome(&files), "created");
}

#[test]
fn only_a_truncated_last_line_is_dropped() {
    let reports = Reports::new(LIST);
    let (web, cli) = (
        reports.line("acme/web", "created", 0).to_string(),
        reports.line("acme/cli", "created", 0).to_string(),
    );
    let report = |text: &str| fs::write(reports.path().join("a.jsonl"), text).unwrap();
    let list = ["a.jsonl", "--list", "list.txt"];
    for cut in [1, cli.len() / 2, cli.len() - 1] {
        report(&format!("{web}\n{}", &cli[..cut]));
        let document = reports.merged(&list, 3);
        assert_eq!(document["repositories"].as_array().unwrap().len(), 1);
        let ran = reports.run(&list).exits(3);
        assert!(
            ran.stderr.contains("warning: a.jsonl: the last line"),
            "{}",
            ran.stderr
        );
    }
    // Only its end is missing.
    report(&format!("{web}\n{cli}"));
    let document = reports.merged(&list, 3);
    assert_eq!(document["repositories"].as_array().unwrap().len(), 2);
    for (text, place) in [
        (format!("{web}\n{}\n{cli}\n", &cli[..9]), "a.jsonl:2: "),
        (format!("\n\n[]\n{web}\n"), "a.jsonl:3: "),
        (
            format!("{web}\n{}\n", cli.replace("fleet-line/1", "x/1")),
            "a.jsonl:2: ",
        ),
    ] {
        report(&text);
        let ran = reports.run(&list).exits(2);
        let shown = ran.stderr.contains("error[fleet_report]") && ran.stderr.contains(place);
        assert!(shown, "{}", ran.stderr);
        assert!(ran.stdout.is_empty());
    }
}

#[test]
fn lines_of_another_run_are_refused() {
    let reports = Reports::new(LIST);
    let (first, second) = (
        reports.line("acme/web", "created", 0),
        reports.line("acme/cli", "created", 0),
    );
    for (key, value) in [
        ("revision", json!(REV_A)),
        ("list_sha256", json!("0".repeat(64))),
        ("set_sha256", json!("0".repeat(64))),
        ("set_sha256", json!(null)),
    ] {
        let mut other = second.clone();
        other[key] = value;
        reports.write("a.jsonl", std::slice::from_ref(&first));
        reports.write("b.jsonl", &[other]);
        let ran = reports.run(&["a.jsonl", "b.jsonl"]).exits(2);
        let named = ran.stderr.contains(&format!("`{key}`")) && ran.stderr.contains("b.jsonl:1");
        assert!(named, "{key}: {}", ran.stderr);
        assert!(!reports.path().join("failed.txt").exists());
    }
    // A list that the shards did not have, and a repository that is missing in it.
    reports.write("a.jsonl", std::slice::from_ref(&first));
    fs::write(reports.path().join("other.txt"), "acme/web\n").unwrap();
    let ran = reports.run(&["a.jsonl", "--list", "other.txt"]).exits(2);
    assert!(ran.stderr.contains("another list"), "{}", ran.stderr);
    reports.write(
        "a.jsonl",
        &[first, reports.line("acme/strange", "created", 0)],
    );
    let ran = reports.run(&["a.jsonl", "--list", "list.txt"]).exits(2);
    assert!(
        ran.stderr.contains("acme/strange is not in the list"),
        "{}",
        ran.stderr
    );
}

#[test]
fn unreadable_files_and_malformed_lists_are_input_errors() {
    let reports = Reports::new("acme/web\nacme/web\n");
    reports.write("a.jsonl", &[]);
    let ran = reports.run(&["a.jsonl", "--list", "list.txt"]).exits(2);
    assert!(
        ran.stderr.contains("error[fleet_list]") && ran.stderr.contains("list.txt:2:1"),
        "{}",
        ran.stderr
    );
    let ran = reports.run(&["none.jsonl"]).exits(2);
    assert!(ran.stderr.contains("none.jsonl"), "{}", ran.stderr);
    reports.run(&[]).exits(2);
}

#[test]
fn number_of_shards_does_not_change_the_report() {
    let list = numbered(40);
    let reports = Reports::new(&list);
    let merged = |shards: u64| {
        let files: Vec<_> = (0..shards)
            .map(|shard| format!("{shards}-{shard}.jsonl"))
            .collect();
        for (shard, file) in files.iter().enumerate() {
            let own = list
                .lines()
                .filter(|name| shard_of(name, shards) == shard as u64);
            let lines: Vec<_> = own
                .map(|name| {
                    let mut line = reports.line(name, "created", 0);
                    line["shard"] = json!(shard);
                    line["shards"] = json!(shards);
                    line
                })
                .collect();
            reports.write(file, &lines);
        }
        let mut args: Vec<_> = files.iter().map(String::as_str).collect();
        args.extend(["--list", "list.txt"]);
        let mut document = reports.merged(&args, 0);
        assert_eq!(document["shards"]["expected"], json!(shards));
        document["shards"] = json!(null);
        for row in document["repositories"].as_array_mut().unwrap() {
            row["shard"] = json!(null);
        }
        document
    };
    assert_eq!(merged(3), merged(1));
    assert_eq!(merged(7), merged(1));
}

/// A report with every kind of trouble.
fn troubled() -> Reports {
    let list = numbered(12);
    let reports = Reports::new(&list);
    let name = |at: usize| format!("acme/r{at}");
    let mut lines: Vec<_> = (0..7)
        .map(|at| {
            let detail = "found 5 pins, but `pins: 6` is declared";
            refused(reports.line(&name(at), "refused", 1), "pin_count", detail)
        })
        .collect();
    lines.push(reports.line(&name(7), "created", 0));
    lines.push(reports.line(&name(8), "closed_by_person", 1));
    let gone = "https://forge.example/x: no data received for 30 s";
    lines.push(with_error(
        reports.line(&name(9), "unavailable", 3),
        "unavailable",
        gone,
    ));
    lines.push(reports.line(&name(10), "pending", 3));
    reports.write("a.jsonl", &lines);
    reports
}

#[test]
fn text_report_has_totals_causes_and_remedies() {
    let reports = troubled();
    let ran = reports.run(&["a.jsonl", "--list", "list.txt"]).exits(1);
    insta::assert_snapshot!(ran.stdout);
    let note = "11 of 12 repositories need another run or a person; wrote ";
    assert!(ran.stderr.contains(note), "{}", ran.stderr);
    assert_eq!(reports.failed().lines().count(), 11);
}

#[test]
fn remedy_has_the_words_of_the_forge() {
    let reports = Reports::new("acme/web\n");
    let mut line = reports.line("acme/web", "foreign_commit", 5);
    let url = "https://gitlab.example/acme/web/-/merge_requests/7";
    line["pull_request"] = json!({"number": 7, "url": url, "state": "unchanged"});
    reports.write("a.jsonl", &[line]);
    let ran = reports.run(&["a.jsonl", "--list", "list.txt"]).exits(5);
    let remedy = "help: merge or close the merge request by hand";
    assert!(ran.stdout.contains(remedy), "{}", ran.stdout);
}

#[test]
fn step_summary_annotates_each_cause() {
    let reports = troubled();
    let args = ["a.jsonl", "--list", "list.txt", "--format", "github"];
    let ran = reports.run_with(&args, &[("GITHUB_STEP_SUMMARY", "summary.md")]);
    let ran = ran.exits(1);
    let summary = fs::read_to_string(reports.path().join("summary.md")).unwrap();
    insta::assert_snapshot!(summary);
    let annotations = ran
        .stdout
        .lines()
        .filter(|line| line.starts_with("::error "));
    assert_eq!(annotations.count(), 5, "{}", ran.stdout);
}

#[test]
fn report_is_escaped_for_every_reader() {
    let reports = Reports::new(LIST);
    let line = reports.line("acme/web", "refused", 1);
    let hostile = "\u{1b}[2Jx\n::set-env name=A::b\n| <script> [x](y) \u{202e}";
    reports.write("a.jsonl", &[refused(line, "evil\n::warning::x", hostile)]);
    let human = reports.run(&["a.jsonl"]).exits(1);
    assert!(
        !human.stdout.contains(['\u{1b}', '\u{202e}']),
        "{}",
        human.stdout
    );
    assert!(!human.stdout.contains("\n::"), "{}", human.stdout);
    let args = ["a.jsonl", "--format", "github"];
    let ran = reports.run_with(&args, &[("GITHUB_STEP_SUMMARY", "summary.md")]);
    let commands = obeyed(&ran.stdout);
    assert!(commands.iter().all(|obeyed| obeyed.command == "error"));
    assert_eq!(commands.len(), 1, "{}", ran.stdout);
    let summary = fs::read_to_string(reports.path().join("summary.md")).unwrap();
    assert!(
        !summary.contains("\n::") && !summary.contains("### refused: evil\n"),
        "{summary}"
    );
}
