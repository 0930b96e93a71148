//! The requests for each repository of a fleet, those of git included, as docs/fleet.md states them.

use serde_json::Value;

use crate::support::{
    fleet::{Fleet, REV, name, options},
    forge::Kind,
};

const COUNT: usize = 20;

/// The requests of a run for each repository, in hundredths; every repository has the outcome.
fn requests(fleet: &Fleet, more: &[&str], outcome: &str) -> usize {
    let _ = std::fs::remove_file(fleet.path("out.jsonl"));
    let before = fleet.forge.log().len();
    let args = ["fleet", "promote", "--list", "list.txt", "--revision", REV];
    fleet
        .scaled(&[&args[..], &["--out", "out.jsonl"], more].concat())
        .exits(0);
    let outcomes: Vec<Value> = fleet.lines("out.jsonl");
    assert!(
        outcomes.iter().all(|line| line["outcome"] == outcome),
        "{outcomes:#?}"
    );
    (fleet.forge.log().len() - before) * 100 / COUNT
}

#[test]
fn repository_costs_few_requests() {
    for (kind, planned, created, unchanged) in [
        (Kind::Github, 530, 1120, 120),
        (Kind::Gitea, 900, 1600, 900),
        (Kind::Gitlab, 1300, 1800, 1900),
    ] {
        let mut options = options(kind, COUNT);
        options.speed = 1000;
        let fleet = Fleet::new(options);
        let costs = [
            requests(&fleet, &[], "planned"),
            requests(&fleet, &["--pr", "draft"], "created"),
            requests(&fleet, &["--pr", "draft"], "unchanged"),
        ];
        println!("{kind:?}: {costs:?}");
        let limits = [planned, created, unchanged];
        let is_within = costs.iter().zip(limits).all(|(cost, most)| *cost <= most);
        assert!(is_within, "{kind:?}: {costs:?}, at most {limits:?}");
    }
}

#[test]
fn token_and_projects_of_gitlab_are_read_once() {
    let mut options = options(Kind::Gitlab, COUNT);
    options.speed = 1000;
    let fleet = Fleet::new(options);
    requests(&fleet, &["--pr", "draft"], "created");
    let log = fleet.forge.log();
    let count = |end: &str| {
        let lines = log.iter().map(|logged| &logged.request);
        lines.filter(|line| line.ends_with(end)).count()
    };
    assert_eq!(count("/personal_access_tokens/self"), 1);
    // The first one contains the commits of `source`.
    for number in 1..COUNT {
        let project = format!("GET /api/v4/projects/{}", name(number));
        assert_eq!(count(&project), 1, "{project}");
    }
}
