//! `repin fleet rollback`: provenance from recent commits, repository by repository.

use serde_json::{Value, json};

use crate::support::{
    fleet::{Fleet, REV, name, options},
    forge::{
        Kind,
        thousand::{Options, contents::PINNED},
    },
    hosted::FORGES,
    sweep::one_of,
};

const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const BRANCH: &str = "repin/rollback-x";

fn rollback(fleet: &Fleet, more: &[&str]) -> Vec<Value> {
    rollback_to(REV, fleet, more)
}

fn rollback_to(revision: &str, fleet: &Fleet, more: &[&str]) -> Vec<Value> {
    let _ = std::fs::remove_file(fleet.path("out.jsonl"));
    let args = [
        "fleet",
        "rollback",
        "--list",
        "list.txt",
        "--to",
        revision,
        "--out",
        "out.jsonl",
    ];
    let ran = fleet.scaled(&[&args[..], more].concat());
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    fleet.lines("out.jsonl")
}

fn codes(line: &Value) -> Vec<String> {
    let checks = line["checks"].as_array().unwrap().iter();
    checks
        .map(|check| check["code"].as_str().unwrap().to_owned())
        .collect()
}

/// Repositories that were promoted to [`REV`], then to another set; the second never had the first,
/// and in the third the tag of one image moved since.
fn fleet(kind: Kind) -> Fleet {
    let mut options: Options = options(kind, 4);
    options.speed = 1000;
    let fleet = Fleet::new(options);
    let set = fleet.build(REV);
    let other = fleet.build(OTHER);
    let moved = [set[0].clone(), format!("sha256:{}", "d".repeat(64))];
    for (number, first) in [
        (0, Some(&set)),
        (1, None),
        (2, Some(&moved)),
        (3, Some(&set)),
    ] {
        if let Some(first) = first {
            fleet.pin(number, first, "promote: images @x (#1)");
        }
        let message = format!("promote: images @{OTHER}\n\nRepin-Set: {OTHER}");
        fleet.pin(number, &other, &message);
    }
    fleet
}

#[test]
fn each_repository_must_have_had_the_set() {
    for kind in one_of(FORGES) {
        let fleet = fleet(kind);
        let lines = rollback(&fleet, &[]);
        let outcomes: Vec<_> = lines
            .iter()
            .map(|line| line["outcome"].as_str().unwrap())
            .collect();
        assert_eq!(
            outcomes,
            ["planned", "refused", "refused", "planned"],
            "{kind:?} {lines:#?}"
        );
        assert_eq!(codes(&lines[1]), ["provenance_title"]);
        assert_eq!(codes(&lines[2]), ["digest_mismatch"]);
        assert!(fleet.forge.log().iter().all(|logged| !logged.write));
        let lines = rollback(&fleet, &["--pr", "ready"]);
        let outcomes: Vec<_> = lines
            .iter()
            .map(|line| line["outcome"].as_str().unwrap())
            .collect();
        assert_eq!(
            outcomes,
            ["created", "refused", "refused", "created"],
            "{kind:?} {lines:#?}"
        );
        let store = fleet.forge.store(0);
        let pull = &store.pulls[0];
        assert_eq!(
            (&*pull.title, pull.draft, &*pull.head),
            ("rollback: images @x", false, BRANCH)
        );
        assert!(pull.body.ends_with("\n\nRepin-Set: x\n"), "{}", pull.body);
        assert!(pull.body.contains(OTHER), "the undone sets: {}", pull.body);
        let text = store.content(BRANCH, PINNED[0]);
        assert!(text.contains(lines[0]["to"]["ghcr.io/acme/api"].as_str().unwrap()));
        drop(store);
        let before = fleet.forge.log().len();
        let lines = rollback(&fleet, &["--pr", "ready"]);
        assert_eq!(lines[0]["outcome"], json!("unchanged"));
        assert_eq!(fleet.requests_since(before)[1], 0);
    }
}

#[test]
fn rolled_back_repository_holds_the_undone_set() {
    let fleet = fleet(Kind::Github);
    let set = fleet.build(REV);
    fleet.pin(0, &set, "rollback: images @x\n\nRepin-Set: x");
    assert_eq!(rollback(&fleet, &[])[0]["outcome"], json!("current"));
    let args = [
        "fleet",
        "promote",
        "--list",
        "list.txt",
        "--revision",
        OTHER,
        "--out",
        "out.jsonl",
    ];
    fleet.run(&args).exits(1);
    let lines = fleet.lines("out.jsonl");
    assert_eq!(codes(&lines[0]), ["rolled_back"]);
    assert_eq!(lines[3]["outcome"], json!("current"));
}

#[test]
fn range_of_a_rollback_begins_at_the_older_set() {
    let mut options = options(Kind::Github, 2);
    options.speed = 1000;
    let fleet = Fleet::new(options);
    let older = "a".repeat(40);
    for revision in [&older, OTHER] {
        let set = fleet.build(revision);
        fleet.pin(1, &set, &format!("promote: images @{revision}"));
    }
    rollback_to(&older, &fleet, &["--pr", "draft"]);
    let body = fleet.forge.store(1).pulls[0].body.clone();
    // The source does not have the commits, so only the kind of the run shows the order.
    assert!(body.contains("not read"), "{body}");
    assert!(body.contains("aaaaaaa...bbbbbbb"), "{body}");
}

#[test]
fn promotion_before_many_commits_is_found() {
    let fleet = fleet(Kind::Github);
    for at in 0..40 {
        let mut store = fleet.forge.store(3);
        let text = store.content("main", PINNED[0]);
        store.push(
            "main",
            "reformat",
            &[(PINNED[0], &format!("{text}# {at}\n"))],
        );
    }
    assert_eq!(rollback(&fleet, &[])[3]["outcome"], json!("planned"));
}

#[test]
fn rollback_needs_no_order_of_builds() {
    let fleet = Fleet::new(options(Kind::Github, 2));
    let [old, new] = ["1", "2"].map(|content| {
        let mut store = fleet.forge.store(0);
        store.push("main", "build", &[("src/a", content)])
    });
    for revision in [&old, &new] {
        let message = format!("promote: images @{revision}");
        fleet.pin(1, &fleet.build(revision), &message);
    }
    let config = fleet.read("repin.yaml") + "report: { changes: none }\n";
    fleet.write("repin.yaml", config);
    fleet.write("list.txt", name(1));
    fleet
        .run(&["fleet", "rollback", "--list", "list.txt", "--to", &old])
        .exits(0);
    let log = fleet.forge.log();
    let mut requests = log.iter().map(|logged| &logged.request);
    assert!(!requests.any(|request| request.contains("app-0000.git/")));
}
