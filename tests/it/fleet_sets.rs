//! Sets in the repositories of a fleet: one set path in several repositories, several sets in each
//! repository.

use std::fs;

use serde_json::Value;

use crate::support::{
    fleet::{Fleet, REV, name, options},
    forge::{
        Kind, Store,
        thousand::{Options, Trouble},
    },
    hosted::FORGES,
    scene::hours_ago,
    sweep::one_of,
    world::Ran,
};

/// The sets in each repository: the configuration of the fleet, the path of the set, its branches, and
/// the files with its pins.
const SETS: [[&str; 4]; 3] = [
    ["repin.yaml", "repin.yaml", "repin", ".github/workflows"],
    [
        "repin.staging.yaml",
        "envs/staging/repin.yaml",
        "repin/envs-staging",
        "envs/staging/app.yml",
    ],
    [
        "repin.prod.yaml",
        "envs/prod/repin.yaml",
        "repin/envs-prod",
        "envs/prod/app.yml",
    ],
];
const STAGING: [&str; 4] = SETS[1];
const PROD: [&str; 4] = SETS[2];
const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// Repositories with two environments below the set at the top; the last repository has no
/// environment. `more`: further keys of the environments.
fn fleet(kind: Kind, count: usize, more: &str) -> Fleet {
    fleet_of(options(kind, count), more)
}

fn fleet_of(mut options: Options, more: &str) -> Fleet {
    let (kind, count) = (options.kind, options.count);
    options.speed = 1000;
    let fleet = Fleet::new(options);
    for [file, set, ..] in [STAGING, PROD] {
        let rules = format!("{{ config: {set} }}");
        fleet.write(file, fleet.config(kind, &rules));
    }
    let config = format!(
        "version: 1\nfiles: [app.yml]\nimages:\n  api: {{ repository: ghcr.io/acme/api, pins: 1 }}\n  \
         web: {{ repository: ghcr.io/acme/web, pins: 1 }}\n{more}"
    );
    let pins = pins(&["a", "b"].map(|digit| format!("sha256:{}", digit.repeat(64))));
    for number in 0..count - 1 {
        let files: [(&str, &str); 4] = [
            (STAGING[1], &config),
            (STAGING[3], &pins),
            (PROD[1], &config),
            (PROD[3], &pins),
        ];
        let mut store = fleet.forge.store(number);
        store.push("main", "environments", &files);
    }
    fleet
}

fn pins([api, web]: &[String; 2]) -> String {
    format!("a: ghcr.io/acme/api@{api}\nb: ghcr.io/acme/web@{web}\n")
}

fn run(fleet: &Fleet, set: [&str; 4], args: &[&str]) -> Ran {
    let _ = fs::remove_file(fleet.path("out.jsonl"));
    let common = ["--list", "list.txt", "--config", set[0]];
    let ran = fleet.scaled(&[&["fleet"], args, &common].concat());
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    // An attempt to close the pull request of another set would be a warning.
    assert!(!ran.stderr.contains("not closed"), "{}", ran.stderr);
    ran
}

/// The outcomes of a promotion, with further options.
fn promote(fleet: &Fleet, set: [&str; 4], revision: &str, more: &[&str]) -> Vec<String> {
    let args = ["promote", "--revision", revision, "--out", "out.jsonl"];
    run(fleet, set, &[&args, more].concat());
    fleet.outcomes("out.jsonl")
}

/// `HEAD FILE…` of each open pull request of a repository.
fn open_pulls(fleet: &Fleet, number: usize) -> Vec<String> {
    let store = fleet.forge.store(number);
    let base = store.files_of(&store.refs["main"]);
    let mut lines = Vec::new();
    for pull in store.pulls.iter().filter(|pull| pull.open) {
        let mut line = pull.head.clone();
        for (path, file) in store.files_of(&store.refs[&pull.head]).iter() {
            if base.get(path) != Some(file) {
                line.push(' ');
                line.push_str(path);
            }
        }
        lines.push(line);
    }
    lines
}

fn pull_of(set: [&str; 4], name: &str) -> String {
    format!("{}/{name} {}", set[2], set[3])
}

#[test]
fn sets_of_a_fleet_stay_apart() {
    let ready = ["--pr", "ready"];
    for kind in one_of(FORGES) {
        let fleet = fleet(kind, 3, "");
        let planned = promote(&fleet, PROD, REV, &[]);
        assert_eq!(planned, ["planned 0", "planned 0", "unconfigured 0"]);
        let lines = fleet.lines("out.jsonl");
        assert_eq!(lines[0]["pins"], 2, "{kind:?} {lines:#?}");
        let missing = lines[2].to_string();
        assert!(missing.contains("main has no envs/prod/repin.yaml"));

        let created = ["created 0", "created 0", "unconfigured 0"];
        assert_eq!(promote(&fleet, PROD, REV, &ready), created, "{kind:?}");
        assert_eq!(promote(&fleet, STAGING, REV, &ready), created, "{kind:?}");
        let top = promote(&fleet, SETS[0], REV, &ready);
        assert_eq!(top, ["created 0"; 3], "{kind:?}");
        for number in 0..2 {
            let open = open_pulls(&fleet, number);
            let environments = [PROD, STAGING].map(|set| pull_of(set, "promote-x"));
            assert_eq!(open[..2], environments, "{kind:?}");
            assert!(open[2].starts_with("repin/promote-x .github/workflows/"));
            let store = fleet.forge.store(number);
            let body = &store.pulls[0].body;
            let marker = "<!-- repin/2 kind=promote set=envs/prod/repin.yaml revision=x -->";
            assert!(body.contains(marker), "{body}");
            let trailer = "\n\nRepin-Set: x (envs/prod/repin.yaml)\n";
            assert!(body.ends_with(trailer), "{body}");
            let message = &store.commit(&store.refs[&store.pulls[0].head]).message;
            assert!(message.ends_with(trailer), "{message}");
        }

        let before = fleet.forge.log().len();
        let unchanged = ["unchanged 0", "unchanged 0", "unconfigured 0"];
        assert_eq!(promote(&fleet, PROD, REV, &ready), unchanged, "{kind:?}");
        assert_eq!(promote(&fleet, STAGING, REV, &ready), unchanged, "{kind:?}");
        assert_eq!(fleet.requests_since(before)[1], 0, "{kind:?}");

        // A user closes the pull request of one set, and reopens it.
        fleet.forge.store(1).close(1);
        let closed = ["unchanged 0", "closed_by_person 1", "unconfigured 0"];
        assert_eq!(promote(&fleet, PROD, REV, &ready), closed, "{kind:?}");
        assert_eq!(promote(&fleet, STAGING, REV, &ready), unchanged, "{kind:?}");
        fleet.forge.store(1).pulls[0].open = true;
        assert_eq!(promote(&fleet, PROD, REV, &ready), unchanged, "{kind:?}");
    }
}

#[test]
fn fleet_closes_pull_requests_of_its_set() {
    for kind in one_of(FORGES) {
        let fleet = fleet(kind, 3, "");
        for set in SETS {
            promote(&fleet, set, REV, &["--pr", "ready"]);
        }
        let close = ["close", "--revision", REV, "--format", "json"];
        let shown: Value = run(&fleet, PROD, &close).exits(0).json();
        let numbers: Vec<&Value> = shown["repositories"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| &row["pull_request"]["number"])
            .collect();
        let prod = [Some(3), Some(3), None].map(|number| serde_json::json!(number));
        assert_eq!(
            numbers,
            prod.iter().collect::<Vec<_>>(),
            "{kind:?} {shown:#}"
        );
        run(&fleet, PROD, &[&close[..], &["--apply"]].concat()).exits(0);
        for number in 0..2 {
            let open = open_pulls(&fleet, number);
            assert_eq!(open.len(), 2, "{kind:?} {open:?}");
            assert_eq!(open[1], pull_of(STAGING, "promote-x"), "{kind:?}");
        }
        let closed = ["closed_by_person 1", "closed_by_person 1", "unconfigured 0"];
        let again = promote(&fleet, PROD, REV, &["--pr", "ready"]);
        assert_eq!(again, closed, "{kind:?}");
    }
}

#[test]
fn newer_fleet_set_supersedes_only_itself() {
    for kind in one_of(FORGES) {
        let fleet = fleet(kind, 3, "");
        let [old, new] = {
            let mut store = fleet.forge.store(0);
            ["1", "2"].map(|build| store.push("main", "build", &[("src/a", build)]))
        };
        fleet.build(&old);
        fleet.build(&new);
        let ready = ["--pr", "ready"];
        let created = ["created 0", "created 0", "unconfigured 0"];
        assert_eq!(promote(&fleet, STAGING, &old, &ready), created, "{kind:?}");
        assert_eq!(promote(&fleet, PROD, &old, &ready), created, "{kind:?}");
        assert_eq!(promote(&fleet, PROD, &new, &ready), created, "{kind:?}");
        for number in 0..2 {
            let expected = [
                pull_of(STAGING, &format!("promote-{old}")),
                pull_of(PROD, &format!("promote-{new}")),
            ];
            assert_eq!(open_pulls(&fleet, number), expected, "{kind:?}");
        }
        // The older pull request is reopened once the newer one is closed.
        let refused = ["refused 1", "refused 1", "unconfigured 0"];
        assert_eq!(promote(&fleet, PROD, &old, &ready), refused, "{kind:?}");
        for number in 0..2 {
            fleet.forge.store(number).close(3);
        }
        let updated = ["updated 0", "updated 0", "unconfigured 0"];
        assert_eq!(promote(&fleet, PROD, &old, &ready), updated, "{kind:?}");
    }
}

#[test]
fn fleet_rollback_needs_evidence_of_its_set() {
    for kind in one_of(FORGES) {
        let fleet = fleet(kind, 3, "");
        let set = pins(&fleet.build(REV));
        let other = pins(&fleet.build(OTHER));
        // The trailers of the promotion: the second repository promoted staging only.
        for (number, trailers) in [
            (
                0,
                "Repin-Set: x (envs/staging/repin.yaml)\nRepin-Set: x (envs/prod/repin.yaml)",
            ),
            (1, "Repin-Set: x (envs/staging/repin.yaml)"),
        ] {
            let mut store = fleet.forge.store(number);
            let message = format!("change both\n\n{trailers}\n");
            store.push("main", &message, &[(STAGING[3], &set), (PROD[3], &set)]);
            for [_, path, _, file] in [STAGING, PROD] {
                let message = format!("next\n\nRepin-Set: {OTHER} ({path})\n");
                store.push("main", &message, &[(file, &other)]);
            }
            // A rollback does not read the stages, which are a cycle here.
            for (set, stage) in [(STAGING, PROD), (PROD, STAGING)] {
                let after = format!("promote: {{ after: [{{ set: ../../{} }}] }}\n", stage[1]);
                let config = text_at(&store, "main", set[1]) + &after;
                store.push("main", "stages", &[(set[1], &config)]);
            }
        }
        let args = [
            "rollback",
            "--to",
            REV,
            "--out",
            "out.jsonl",
            "--pr",
            "ready",
        ];
        run(&fleet, STAGING, &args);
        let outcomes = ["created 0", "created 0", "unconfigured 0"];
        assert_eq!(fleet.outcomes("out.jsonl"), outcomes, "{kind:?}");
        run(&fleet, PROD, &args);
        let lines = fleet.lines("out.jsonl");
        let outcomes = ["created 0", "refused 1", "unconfigured 0"];
        assert_eq!(fleet.outcomes("out.jsonl"), outcomes, "{kind:?} {lines:#?}");
        assert_eq!(lines[1]["checks"][0]["code"], "provenance_title");
        let expected = [STAGING, PROD].map(|set| pull_of(set, "rollback-x"));
        assert_eq!(open_pulls(&fleet, 0), expected, "{kind:?}");
        assert_eq!(open_pulls(&fleet, 1), expected[..1], "{kind:?}");
    }
}

#[test]
fn fleet_branches_contain_the_set_key() {
    let branches = "promote: { branch: 'up/{set}-{revision}' }\n\
                    rollback: { branch: 'back/{set}-{revision}' }\n";
    for kind in one_of(FORGES) {
        let fleet = fleet(kind, 2, "");
        for [file, set, ..] in [STAGING, PROD] {
            let rules = format!("{{ config: {set} }}");
            fleet.write(file, fleet.config(kind, &rules) + branches);
        }
        for (revision, digests) in [(REV, fleet.build(REV)), (OTHER, fleet.build(OTHER))] {
            for [_, path, _, file] in [STAGING, PROD] {
                let message = format!("next\n\nRepin-Set: {revision} ({path})\n");
                let mut store = fleet.forge.store(0);
                store.push("main", &message, &[(file, &pins(&digests))]);
            }
        }
        let args = [
            "rollback",
            "--to",
            REV,
            "--out",
            "out.jsonl",
            "--pr",
            "ready",
        ];
        for outcome in ["created 0", "unchanged 0"] {
            for set in [STAGING, PROD] {
                run(&fleet, set, &args);
                assert_eq!(fleet.outcomes("out.jsonl")[0], outcome, "{kind:?}");
            }
        }
        let expected = [("envs-staging", STAGING[3]), ("envs-prod", PROD[3])];
        let expected = expected.map(|(key, file)| format!("back/{key}-x {file}"));
        assert_eq!(open_pulls(&fleet, 0), expected, "{kind:?}");
        run(&fleet, STAGING, &["close", "--revision", REV, "--apply"]).exits(0);
        assert_eq!(open_pulls(&fleet, 0), expected[1..], "{kind:?}");
    }
}

#[test]
fn common_branch_of_fleet_sets_is_refused() {
    let common = "promote: { branch: 'deploy-{revision}' }\n";
    for kind in one_of(FORGES) {
        let fleet = fleet(kind, 3, common);
        promote(&fleet, STAGING, REV, &["--pr", "ready"]);
        let before: Vec<_> = (0..2).map(|at| open_pulls(&fleet, at)).collect();
        let outcomes = promote(&fleet, PROD, REV, &["--pr", "ready"]);
        let lines = fleet.lines("out.jsonl");
        for number in 0..2 {
            assert!(outcomes[number].ends_with(" 5"), "{kind:?} {outcomes:?}");
            let error = lines[number]["error"].to_string();
            for part in [STAGING[1], PROD[1], "a name that contains {set}"] {
                assert!(error.contains(part), "{kind:?} {part}: {error}");
            }
            assert_eq!(open_pulls(&fleet, number), before[number], "{kind:?}");
        }
        run(&fleet, PROD, &["close", "--revision", REV, "--apply"]).exits(0);
        let after: Vec<_> = (0..2).map(|at| open_pulls(&fleet, at)).collect();
        assert_eq!(after, before, "{kind:?}");
    }
}

/// Merges the open pull request of staging, `hours` hours ago. Gitea finds the pull request of the
/// commit of a merge only, so the branch is squashed there.
fn merge_staging(fleet: &Fleet, kind: Kind, number: usize, hours: u64) {
    let mut store = fleet.forge.store(number);
    let pull = store.pulls.iter().find(|pull| pull.open).unwrap().clone();
    if kind == Kind::Github {
        store.merge(pull.number);
    } else {
        let pins = text_at(&store, &pull.head, STAGING[3]);
        let commit = store.push("main", &pull.title, &[(STAGING[3], &pins)]);
        let mut pulls = store.pulls.iter_mut();
        let row = pulls.find(|row| row.number == pull.number).unwrap();
        (row.open, row.merged) = (false, Some(commit));
    }
    store.merge_times.insert(pull.number, hours_ago(hours));
}

fn text_at(store: &Store, branch: &str, path: &str) -> String {
    let (_, blob) = &store.files_of(&store.refs[branch])[path];
    String::from_utf8(store.blob(blob).unwrap()).unwrap()
}

/// The codes of the first failed check of each repository.
fn refusals(fleet: &Fleet) -> Vec<String> {
    let mut codes = Vec::new();
    for line in fleet.lines("out.jsonl") {
        let code = line["checks"][0]["code"].as_str();
        codes.push(code.unwrap_or_default().to_owned());
    }
    codes
}

#[test]
fn fleet_obeys_stages_of_each_repository() {
    let ready = ["--pr", "ready"];
    for kind in FORGES {
        let after = "promote: { after: [{ set: ../staging/repin.yaml, for: 30d }] }\n";
        let fleet = fleet(kind, 3, "");
        for number in 0..2 {
            let mut store = fleet.forge.store(number);
            let config = text_at(&store, "main", PROD[1]) + after;
            store.push("main", "stages", &[(PROD[1], &config)]);
        }
        let refused = ["refused 1", "refused 1", "unconfigured 0"];
        assert_eq!(promote(&fleet, PROD, REV, &ready), refused, "{kind:?}");
        // The commits of the stages are on the branch that was already fetched.
        let most = if kind == Kind::Github { 29 } else { 41 };
        let requests = fleet.forge.log().len();
        assert!(requests <= most, "{kind:?}: {requests} requests");
        assert_eq!(refusals(&fleet)[..2], ["stage_missing"; 2], "{kind:?}");
        promote(&fleet, STAGING, REV, &ready);
        for (number, hours) in [(0, 31 * 24), (1, 0)] {
            merge_staging(&fleet, kind, number, hours);
        }
        let outcomes = ["created 0", "refused 1", "unconfigured 0"];
        let found = promote(&fleet, PROD, REV, &ready);
        assert_eq!(found, outcomes, "{kind:?} {:#?}", fleet.lines("out.jsonl"));
        assert_eq!(refusals(&fleet)[1], "stage_soak", "{kind:?}");
        let store = fleet.forge.store(0);
        let pull = store.pulls.iter().find(|pull| pull.open).unwrap();
        let row = pull
            .body
            .lines()
            .find(|line| line.starts_with("| **api** "));
        let cells: Vec<_> = row.unwrap().split(" | ").collect();
        assert!(cells[2].starts_with("`sha256:"), "{cells:?}");
        assert!(cells[4].starts_with("`linux/"), "{cells:?}");
        let stages = pull.body.split("### Stages").nth(1);
        assert!(
            stages.is_some_and(|stages| stages.contains("| `envs/staging/repin.yaml` |")),
            "{}",
            pull.body
        );
        drop(store);

        // Without a pull request, the time at which a commit reached the branch is unknown.
        let pins = text_at(&fleet.forge.store(1), "main", STAGING[3]);
        let mut store = fleet.forge.store(1);
        let other = pins.replace("sha256:", "sha256:0").replace("0\n", "\n");
        store.push("main", "another set", &[(STAGING[3], &other)]);
        let message = format!("promote: envs-staging @{REV}");
        store.push("main", &message, &[(STAGING[3], &pins)]);
        drop(store);
        promote(&fleet, PROD, REV, &ready);
        assert_eq!(refusals(&fleet)[1], "stage_unknown", "{kind:?}");
    }
}

#[test]
fn stage_of_a_fleet_in_another_repository() {
    for kind in FORGES {
        let fleet = fleet(kind, 3, "");
        let other = name(1);
        let staging = STAGING[1];
        let stage = format!("{{ set: {{ repository: {other}, config: {staging} }} }}");
        let after = format!("promote: {{ after: [{stage}] }}\n");
        let mut store = fleet.forge.store(0);
        let config = text_at(&store, "main", PROD[1]) + &after;
        store.push("main", "stages", &[(PROD[1], &config)]);
        drop(store);
        assert_eq!(promote(&fleet, PROD, REV, &[])[0], "refused 1", "{kind:?}");
        assert_eq!(refusals(&fleet)[0], "stage_missing", "{kind:?}");
        promote(&fleet, STAGING, REV, &["--pr", "ready"]);
        merge_staging(&fleet, kind, 1, 1);
        let found = promote(&fleet, PROD, REV, &[]);
        let lines = fleet.lines("out.jsonl");
        assert_eq!(found[0], "planned 0", "{kind:?} {lines:#?}");
        let text = text_at(&fleet.forge.store(0), "main", PROD[1]);
        if kind == Kind::Gitea {
            // The same repository by its URL.
            let url = format!("{}/{other}", fleet.forge.server.url());
            let config = text.replace(&other, &url);
            let mut store = fleet.forge.store(0);
            store.push("main", "stages", &[(PROD[1], &config)]);
            drop(store);
            assert_eq!(promote(&fleet, PROD, REV, &[])[0], "planned 0");
        }
        // The token may read repositories of other owners, but users of this one may not.
        let mut store = fleet.forge.store(0);
        let config = text.replace(&other, "other/app-0001");
        store.push("main", "stages", &[(PROD[1], &config)]);
        drop(store);
        promote(&fleet, PROD, REV, &[]);
        assert_eq!(refusals(&fleet)[0], "stage_unknown", "{kind:?}");
        let line = fleet.lines("out.jsonl")[0].clone();
        let detail = line["checks"][0]["detail"].as_str().unwrap();
        let reason = "a fleet reads only repositories of acme on its own forge";
        assert!(detail.contains(reason), "{detail}");
    }
}

#[test]
fn unusable_stages_of_a_fleet_are_refused() {
    const HERE: &str = "{ set: ../staging/repin.yaml }";
    let there = |number: usize, set: &str| {
        format!(
            "{{ set: {{ repository: {}, config: {set} }} }}",
            name(number)
        )
    };
    for kind in one_of(FORGES) {
        let fleet = fleet(kind, 9, "");
        // The stages of the sets of each repository.
        let rules = [
            (STAGING, 0, "{ set: ../prod/repin.yaml }".to_owned()),
            (PROD, 0, HERE.to_owned()),
            (STAGING, 1, there(1, PROD[1])),
            (PROD, 1, HERE.to_owned()),
            (PROD, 2, there(3, STAGING[1])),
            (STAGING, 3, there(2, PROD[1])),
            // No cycle: a set of another repository, or another set.
            (PROD, 4, there(0, STAGING[1])),
            (STAGING, 5, "{ set: ../../repin.yaml }".to_owned()),
            (PROD, 5, HERE.to_owned()),
            (
                STAGING,
                6,
                format!("{}, {}", there(6, "repin.yaml"), there(5, PROD[1])),
            ),
            (PROD, 6, HERE.to_owned()),
        ];
        for (set, number, rule) in rules {
            let mut store = fleet.forge.store(number);
            let config = text_at(&store, "main", set[1]);
            let config = format!("{config}promote: {{ after: [{rule}] }}\n");
            store.push("main", "stages", &[(set[1], &config)]);
        }
        {
            let mut store = fleet.forge.store(7);
            let config = text_at(&store, "main", PROD[1]);
            let after = format!("{config}promote: {{ after: [{HERE}] }}\n");
            let other = config.replace("ghcr.io/acme/", "ghcr.io/acme/other-");
            store.push("main", "stages", &[(PROD[1], &after), (STAGING[1], &other)]);
        }
        let outcomes = promote(&fleet, PROD, REV, &[]);
        let lines = fleet.lines("out.jsonl");
        let message = |number: usize| lines[number]["error"]["message"].to_string();
        for (number, reason) in [
            (0, "is a cycle"),
            (1, "is a cycle"),
            (2, "is a cycle"),
            (7, "pins none of the images"),
        ] {
            assert_eq!(outcomes[number], "refused 2", "{kind:?} {number}");
            assert!(message(number).contains(reason), "{}", message(number));
        }
        assert_eq!(outcomes[3], "planned 0", "{kind:?} {:#}", lines[3]);
        assert_eq!(refusals(&fleet)[4..7], ["stage_missing"; 3], "{kind:?}");
    }
}

#[test]
fn only_a_refused_stage_is_unknown() {
    let options = options(Kind::Github, 5).trouble(3, Trouble::Unlisted);
    let fleet = fleet_of(options, "");
    for number in [0, 1] {
        let mut store = fleet.forge.store(number);
        let stage = format!(
            "{{ repository: {}, config: {} }}",
            name(number + 2),
            STAGING[1]
        );
        let config = text_at(&store, "main", PROD[1])
            + &format!("promote: {{ after: [{{ set: {stage} }}] }}\n");
        store.push("main", "stages", &[(PROD[1], &config)]);
    }
    {
        let mut store = fleet.forge.store(2);
        let config = text_at(&store, "main", STAGING[1]).replace("app.yml", "'**'");
        let paths: Vec<_> = (0..201).map(|at| format!("envs/staging/{at}")).collect();
        let mut files: Vec<_> = paths.iter().map(|path| (&**path, "")).collect();
        files.push((STAGING[1], &config));
        store.push("main", "many files", &files);
    }
    let outcomes = promote(&fleet, PROD, REV, &[]);
    assert_eq!(outcomes[..2], ["refused 1", "denied 4"]);
    assert_eq!(refusals(&fleet)[0], "stage_unknown");
    let detail = fleet.lines("out.jsonl")[0]["checks"][0]["detail"].to_string();
    assert!(detail.contains("more than 200"), "{detail}");
}

#[test]
fn stage_of_a_fleet_is_read_at_its_own_branch() {
    for kind in one_of(FORGES) {
        let fleet = fleet(kind, 3, "");
        promote(&fleet, STAGING, REV, &["--pr", "ready"]);
        merge_staging(&fleet, kind, 0, 1);
        let after = "promote: { after: [{ set: ../staging/repin.yaml }] }\n";
        let mut store = fleet.forge.store(0);
        let main = store.refs["main"].clone();
        store.refs.insert("live".to_owned(), main);
        let config = text_at(&store, "main", PROD[1]) + after;
        let staging = text_at(&store, "main", STAGING[1]) + "forge: { base: live }\n";
        let other = text_at(&store, "main", STAGING[3])
            .replace("sha256:", "sha256:0")
            .replace("0\n", "\n");
        let files = [
            (PROD[1], &*config),
            (STAGING[1], &staging),
            (STAGING[3], &other),
        ];
        store.push("main", "another set", &files);
        store.push("live", "same set", &[(STAGING[1], &staging)]);
        for row in &mut store.pulls {
            "live".clone_into(&mut row.base);
        }
        drop(store);
        let outcomes = promote(&fleet, PROD, REV, &[]);
        let lines = fleet.lines("out.jsonl");
        assert_eq!(outcomes[0], "planned 0", "{kind:?} {:#}", lines[0]);
    }
}
