//! `repin fleet promote --pr`: pull requests with every trouble, their pace, and killed runs.

use std::{io::Read, thread::sleep, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{
    digest::Digest,
    fleet::{BRANCH, Fleet, REV, options},
    forge::{
        Kind,
        gitea::{self, FORGEJO, GITEA, GITEA_1_25},
        thousand::{Options, Trouble, contents::PINNED},
    },
    hosted::FORGES,
    sweep::one_of,
    terminal,
};

const PROMOTE: [&str; 10] = [
    "fleet",
    "promote",
    "--list",
    "list.txt",
    "--revision",
    REV,
    "--pr",
    "draft",
    "--out",
    "out.jsonl",
];

/// A forge with a clock that runs a thousand times as fast.
fn fast(kind: Kind, count: usize) -> Options {
    let mut options = options(kind, count);
    options.speed = 1000;
    options
}

fn promoted(fleet: &Fleet, more: &[&str]) -> i32 {
    let _ = std::fs::remove_file(fleet.path("out.jsonl"));
    let ran = fleet.scaled(&[&PROMOTE[..], more].concat());
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    ran.code
}

/// The repositories with one open pull request each.
fn open(fleet: &Fleet) -> Vec<usize> {
    let open = fleet.forge.open_pulls();
    let numbers: Vec<usize> = open.iter().map(|(number, _)| *number).collect();
    let mut once = numbers.clone();
    once.dedup();
    assert_eq!(numbers, once, "a repository has two");
    numbers
}

#[test]
fn each_trouble_concerns_one_repository() {
    use Trouble::{
        Closed, Denied, DoneThenBroken, Foreign, Limited, RetryAfter, Silent, TooQuickly, UsedUp,
    };
    let troubles = [
        RetryAfter,
        Limited,
        UsedUp,
        TooQuickly,
        Denied,
        DoneThenBroken,
        Silent,
        Foreign,
        Closed,
    ];
    for kind in one_of(FORGES) {
        let mut options = fast(kind, 11);
        options.troubles = troubles.into_iter().enumerate().collect();
        let fleet = Fleet::new(options);
        assert_eq!(promoted(&fleet, &[]), 5);
        let created = "created 0";
        let expected = [
            created,
            created,
            created,
            created,
            "denied 4",
            // The response was lost, and the next request found the pull request.
            created,
            created,
            "foreign_commit 5",
            "closed_by_person 1",
            created,
            created,
        ];
        assert_eq!(
            fleet.outcomes("out.jsonl"),
            expected,
            "{kind:?} {}",
            fleet.read("out.jsonl")
        );
        let expected: Vec<usize> = (0..11).filter(|at| ![4, 7, 8].contains(at)).collect();
        assert_eq!(open(&fleet), expected);
        let hasty = fleet.forge.hasty_writes();
        assert!(hasty.is_empty(), "{kind:?} {hasty:#?}");
        // Each action was carried out once.
        for number in 0..11 {
            let log = fleet.forge.log();
            let opened = log.iter().filter(|logged| {
                let accepted = [201, 502].contains(&logged.status);
                logged.repository == Some(number)
                    && logged.request.ends_with("/pulls")
                    && logged.write
                    && accepted
            });
            assert!(opened.count() <= 1, "{kind:?} {number}");
        }
        // A repetition of the command writes nothing.
        let before = fleet.forge.log().len();
        promoted(&fleet, &[]);
        let outcomes = fleet.outcomes("out.jsonl");
        let unchanged = outcomes
            .iter()
            .filter(|outcome| *outcome == "unchanged 0")
            .count();
        assert_eq!(unchanged, 8, "{kind:?} {outcomes:?}");
        let since = fleet.forge.log().split_off(before);
        // Gitea shows no branch without a pull request, so it refuses to create the existing
        // branch.
        let carried_out = |status: u16| status < 400;
        let again: Vec<_> = since
            .into_iter()
            .filter(|logged| logged.write && carried_out(logged.status))
            .collect();
        assert!(again.is_empty(), "{kind:?} {again:#?}");
    }
}

#[test]
fn last_of_several_closed_pull_requests_counts() {
    for kind in FORGES {
        let closed = fast(kind, 3).trouble(1, Trouble::Closed);
        let fleet = Fleet::new(closed.trouble(2, Trouble::Closed));
        for number in 1..3 {
            let mut store = fleet.forge.store(number);
            let mut second = store.pulls[0].clone();
            second.number = store.number();
            store.pulls.push(second);
        }
        // Another error is not hidden by the closed pull request.
        let file = [("notes", "by hand")];
        fleet.forge.store(2).push(BRANCH, "notes", &file);
        assert_eq!(promoted(&fleet, &[]), 5, "{kind:?}");
        let expected = ["created 0", "closed_by_person 1", "foreign_commit 5"];
        let lines = fleet.read("out.jsonl");
        assert_eq!(fleet.outcomes("out.jsonl"), expected, "{kind:?} {lines}");
    }
}

#[test]
fn pull_request_belongs_to_its_repository() {
    let fleet = Fleet::new(fast(Kind::Github, 2));
    {
        let mut store = fleet.forge.store(1);
        store.labels.push((1, "deps".to_owned()));
        let config = store.content("main", "repin.yaml");
        store.push(
            "main",
            "ours",
            &[(
                "repin.yaml",
                &format!("{config}name: the web\nforge: {{ labels: [deps] }}\n"),
            )],
        );
    }
    assert_eq!(promoted(&fleet, &[]), 0);
    assert_eq!(fleet.outcomes("out.jsonl"), ["created 0", "created 0"]);
    let store = fleet.forge.store(1);
    let pull = &store.pulls[0];
    assert_eq!(pull.title, "promote: the web @x");
    assert_eq!(
        (pull.draft, &*pull.head, &*pull.labels),
        (true, BRANCH, &["deps".to_owned()][..])
    );
    assert!(pull.body.ends_with("\n\nRepin-Set: x\n"), "{}", pull.body);
    // The repository does not configure the checks of images.
    assert!(!pull.body.contains("not checked"), "{}", pull.body);
    let sha256 = fleet.lines("out.jsonl")[1]["set_sha256"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(pull.body.contains(&sha256), "{}", pull.body);
    let head = &store.refs[BRANCH];
    assert!(store.commit(head).message.ends_with("\n\nRepin-Set: x\n"));
    let text = store.content(BRANCH, PINNED[0]);
    assert!(
        !text.contains(&"a".repeat(64)) && text.contains("ghcr.io/acme/api@sha256:"),
        "{text}"
    );
    drop(store);
    assert_eq!(
        fleet.lines("out.jsonl")[1]["pull_request"]["state"],
        json!("created")
    );
}

#[test]
fn fleet_arms_the_verified_head() {
    // The simulated fleet on Gitea shows no merge settings.
    let kind = Kind::Github;
    let fleet = Fleet::new(fast(kind, 2));
    for number in 0..2 {
        let mut store = fleet.forge.store(number);
        let config = store.content("main", "repin.yaml");
        let config = format!("{config}forge: {{ auto_merge: true, gates: [ci] }}\n");
        store.push("main", "ours", &[("repin.yaml", &config)]);
        store.required = vec!["ci".to_owned()];
    }
    assert_eq!(promoted(&fleet, &[]), 0, "{kind:?}");
    // A commit that a user adds to a draft is not merged.
    {
        let mut store = fleet.forge.store(1);
        store.push(BRANCH, "theirs", &[("notes", "mine")]);
        let head = store.refs[BRANCH].clone();
        store.scheduled.push((1, head));
    }
    for number in 0..2 {
        fleet.forge.store(number).report("ci", "pending");
    }
    let _ = std::fs::remove_file(fleet.path("out.jsonl"));
    let ready = PROMOTE.map(|arg| if arg == "draft" { "ready" } else { arg });
    fleet.scaled(&ready);
    let outcomes = fleet.outcomes("out.jsonl");
    assert_eq!(outcomes[1], "foreign_commit 5", "{kind:?} {outcomes:?}");
    assert!(
        outcomes[0].ends_with(" 0"),
        "{kind:?} {:#}",
        fleet.lines("out.jsonl")[0]
    );
    assert_eq!(fleet.forge.store(1).scheduled, [], "{kind:?}");
    // An unchanged pull request is armed again.
    let armed = std::mem::take(&mut fleet.forge.store(0).scheduled);
    let _ = std::fs::remove_file(fleet.path("out.jsonl"));
    fleet.scaled(&ready);
    assert_eq!(fleet.outcomes("out.jsonl")[0], "unchanged 0", "{kind:?}");
    assert_eq!(fleet.forge.store(0).scheduled, armed, "{kind:?}");
    assert_eq!(armed.len(), 1, "{kind:?}");
    // A context that only the configuration requires must pass first.
    fleet.forge.store(0).report("ci", "success");
    let merged = fleet.forge.store(0).pulls[0].merged.is_some();
    if !merged {
        let _ = std::fs::remove_file(fleet.path("out.jsonl"));
        fleet.scaled(&ready);
    }
    assert!(fleet.forge.store(0).pulls[0].merged.is_some(), "{kind:?}");
    assert!(fleet.forge.store(1).pulls[0].merged.is_none(), "{kind:?}");
}

#[test]
fn unchanged_pull_requests_cost_about_one_listing() {
    // Per cent of requests a repository. Gitea's version and the configuration, which is the same, are
    // read by the first four.
    for (kind, count, most, creating) in
        [(Kind::Github, 50, 110, 720), (Kind::Gitea, 20, 540, 1200)]
    {
        let fleet = Fleet::new(fast(kind, count));
        let sha256 = fleet.verified();
        let set = ["--set", "set.json", "--set-sha256", &sha256];
        assert_eq!(promoted(&fleet, &set), 0);
        let [all, writes] = fleet.requests_since(0);
        assert!(all * 100 <= count * creating, "{kind:?}: {all}");
        assert!(writes <= count * 5, "{kind:?}: {writes}");
        let before = fleet.forge.log().len();
        assert_eq!(promoted(&fleet, &set), 0);
        assert_eq!(fleet.outcomes("out.jsonl"), vec!["unchanged 0"; count]);
        let [all, writes] = fleet.requests_since(before);
        assert_eq!(writes, 0);
        assert!(all * 100 <= count * most, "{kind:?}: {all}");
    }
}

#[test]
fn unchanged_pull_request_is_recognized_by_its_survey() {
    let again = |keys: &str, state: &'static str, outdated: bool| {
        let fleet = Fleet::new(fast(Kind::Github, 1));
        let mut store = fleet.forge.store(0);
        let config = store.content("main", "repin.yaml") + keys;
        store.push("main", "ours", &[("repin.yaml", &config)]);
        store.labels.push((1, "deps".to_owned()));
        drop(store);
        let args = PROMOTE.map(|arg| if arg == "draft" { state } else { arg });
        fleet.scaled(&args).exits(0);
        if outdated {
            let mut store = fleet.forge.store(0);
            let main = store.refs["main"].clone();
            store.gitea.shown.insert(1, main);
        }
        let before = fleet.forge.log().len();
        fleet.scaled(&args).exits(0);
        assert_eq!(fleet.outcomes("out.jsonl"), ["unchanged 0"]);
        fleet.requests_since(before)[0]
    };
    let expected = again("", "draft", false);
    assert_eq!(again("", "ready", false), expected);
    let merges = "forge: { auto_merge: true }\n";
    assert_eq!(again(merges, "draft", false), expected);
    let labels = "forge: { labels: [deps] }\n";
    assert_eq!(again(labels, "draft", false), expected);
    // The pull request may lag behind its branch.
    assert!(again("", "draft", true) > expected);
}

#[test]
fn only_opened_pull_requests_count_for_the_limit() {
    let fleet = Fleet::new(fast(Kind::Github, 6).trouble(2, Trouble::Denied));
    assert_eq!(promoted(&fleet, &["--limit", "2"]), 0);
    for number in 0..2 {
        let mut store = fleet.forge.store(number);
        let text = store.content("main", PINNED[0]);
        store.push("main", "more", &[(PINNED[0], &format!("# more\n{text}"))]);
    }
    assert_eq!(promoted(&fleet, &["--limit", "2"]), 4);
    let outcomes = [
        "updated 0",
        "updated 0",
        "denied 4",
        "created 0",
        "created 0",
        "pending 0",
    ];
    assert_eq!(fleet.outcomes("out.jsonl"), outcomes);
}

#[test]
fn successes_are_no_failures() {
    let fleet = Fleet::new(fast(Kind::Github, 4).trouble(2, Trouble::Denied));
    promoted(&fleet, &["--max-failures", "1"]);
    let outcomes = fleet.outcomes("out.jsonl");
    assert_eq!(outcomes[..3], ["created 0", "created 0", "denied 4"]);
    assert!(outcomes[3].starts_with("pending"), "{outcomes:?}");
}

#[test]
fn failed_pull_request_does_not_count_for_the_limit() {
    let fleet = Fleet::new(fast(Kind::Github, 2).trouble(0, Trouble::DeniedPull));
    {
        let mut store = fleet.forge.store(0);
        // The base moves before the existing branch is changed.
        let head = store.refs["main"].clone();
        store.refs.insert(BRANCH.to_owned(), head);
        let text = store.content("main", PINNED[0]);
        store.intruder = Some((PINNED[0].to_owned(), format!("# moved\n{text}")));
    }
    promoted(&fleet, &["--limit", "1"]);
    assert_eq!(fleet.outcomes("out.jsonl"), ["denied 4", "created 0"]);
}

#[test]
fn refusal_of_an_open_pull_request_is_reported() {
    let fleet = Fleet::new(fast(Kind::Github, 1));
    assert_eq!(promoted(&fleet, &[]), 0);
    {
        let mut store = fleet.forge.store(0);
        let text = store.content("main", PINNED[0]);
        store.push("main", "more", &[(PINNED[0], &format!("# more\n{text}"))]);
        store.github.ruled = vec!["repin/"];
    }
    assert_eq!(promoted(&fleet, &[]), 1);
    let line = &fleet.lines("out.jsonl")[0];
    assert_eq!(line["outcome"], "refused", "{line:#}");
}

#[test]
fn repositories_after_the_limit_are_not_read() {
    let fleet = Fleet::new(fast(Kind::Github, 30));
    assert_eq!(promoted(&fleet, &["--limit", "1"]), 0);
    let mut outcomes = vec!["pending 0"; 30];
    outcomes[0] = "created 0";
    assert_eq!(fleet.outcomes("out.jsonl"), outcomes);
    let log = fleet.forge.log();
    let reads = |name: &str| log.iter().any(|logged| logged.request.contains(name));
    assert!(reads("app-0024") && !reads("app-0025"), "{log:#?}");
}

#[test]
fn pull_requests_of_a_configured_branch_are_found() {
    for kind in one_of(FORGES) {
        let fleet = Fleet::new(fast(kind, 3));
        for number in 0..3 {
            let mut store = fleet.forge.store(number);
            let config = store.content("main", "repin.yaml");
            let config = format!("{config}promote: {{ branch: 'deploy/{{revision}}' }}\n");
            store.push("main", "ours", &[("repin.yaml", &config)]);
        }
        assert_eq!(promoted(&fleet, &[]), 0, "{}", fleet.read("out.jsonl"));
        fleet.forge.store(0).close(1);
        {
            // The pull request of a rollback.
            let mut store = fleet.forge.store(1);
            store.close(1);
            let body = &mut store.pulls[0].body;
            *body = body.replace("kind=promote", "kind=rollback");
        }
        assert_eq!(promoted(&fleet, &[]), 1, "{kind:?}");
        let outcomes = ["closed_by_person 1", "created 0", "unchanged 0"];
        let lines = fleet.read("out.jsonl");
        assert_eq!(fleet.outcomes("out.jsonl"), outcomes, "{kind:?} {lines}");
        assert_eq!(fleet.forge.open_pulls(), [(1, 2), (2, 1)], "{kind:?}");
    }
}

#[test]
fn body_contains_the_facts_of_the_verified_set() {
    let fleet = Fleet::new(fast(Kind::Github, 1));
    let config = fleet.read("repin.yaml");
    fleet.write("repin.yaml", config + "report: { labels: [team] }\n");
    fleet.verified();
    let mut set: Value = serde_json::from_str(&fleet.read("set.json")).unwrap();
    for image in set["images"].as_array_mut().unwrap() {
        image["labels"] = json!({"team": "blue"});
        image["verified"] = json!([{
            "require": "signature", "subject": image["digest"], "platform": null, "bundle": "b",
            "predicate_type": null, "signer": "the signer", "issuer": null, "source": null,
            "commit": null, "commit_bound": false, "runner": null, "key": null, "root": null,
            "time": null, "log": {"url": "rekor.example", "index": 7},
        }]);
    }
    let text = set.to_string();
    fleet.write("set.json", &text);
    let sha256 = Digest::of(text.as_bytes()).hex();
    let set_of_run = ["--set", "set.json", "--set-sha256", &sha256];
    assert_eq!(
        promoted(&fleet, &set_of_run),
        0,
        "{}",
        fleet.read("out.jsonl")
    );
    let body = fleet.forge.store(0).pulls[0].body.clone();
    let digest = set["images"][0]["digest"].as_str().unwrap();
    for fact in [
        digest,
        "| `linux/amd64` |",
        "blue",
        "`the signer`",
        "`rekor.example 7`",
    ] {
        assert!(body.contains(fact), "{fact}: {body}");
    }
}

#[test]
fn warnings_name_their_repository() {
    let fleet = Fleet::new(fast(Kind::Github, 2));
    for (number, keys) in [
        (0, "labels: [deps]"),
        (1, "auto_merge: true, gates: [manual]"),
    ] {
        let mut store = fleet.forge.store(number);
        let config = store.content("main", "repin.yaml");
        let config = format!("{config}forge: {{ {keys} }}\n");
        store.push("main", "ours", &[("repin.yaml", &config)]);
        store.may_label = false;
    }
    let ready = PROMOTE.map(|arg| if arg == "draft" { "ready" } else { arg });
    let stderr = fleet.scaled(&ready).exits(0).stderr;
    for warning in [
        "warning: acme/app-0000: cannot add the labels",
        "warning: acme/app-0001: the merge of #1 is not scheduled yet: manual has not reported yet",
    ] {
        assert!(stderr.contains(warning), "{stderr}");
    }
}

#[test]
fn commit_without_the_trailer_proves_no_check_of_history() {
    let other = format!("by hand\n\nRepin-Set: {}", "c".repeat(40));
    for (kind, message) in [
        (Kind::Github, "by hand"),
        (Kind::Gitea, "by hand"),
        (Kind::Github, &other),
    ] {
        let fleet = Fleet::new(fast(kind, 1));
        assert_eq!(promoted(&fleet, &[]), 0);
        {
            let mut store = fleet.forge.store(0);
            let texts = |branch| PINNED.map(|path| store.content(branch, path));
            let [old, new] = ["main", BRANCH].map(texts);
            // The set was promoted and rolled back before a user made the commit again.
            for (texts, message) in [(new, "promote: images @x"), (old, "revert")] {
                let files = PINNED.into_iter().zip(texts.iter().map(String::as_str));
                store.push("main", message, &files.collect::<Vec<_>>());
            }
            let mut commit = store.commit(&store.refs[BRANCH]);
            commit.parents = vec![store.refs["main"].clone()];
            message.clone_into(&mut commit.message);
            let id = store.put_commit(&commit);
            store.refs.insert(BRANCH.to_owned(), id);
        }
        assert_eq!(promoted(&fleet, &[]), 1, "{kind:?}");
        let code = &fleet.lines("out.jsonl")[0]["checks"][0]["code"];
        assert_eq!(code, "rolled_back", "{kind:?} {}", fleet.read("out.jsonl"));
    }
}

#[test]
fn changed_pull_requests_are_corrected() {
    for kind in one_of(FORGES) {
        let fleet = Fleet::new(fast(kind, 6));
        {
            let mut store = fleet.forge.store(0);
            store.labels.push((1, "deps".to_owned()));
            let config = store.content("main", "repin.yaml");
            let config = format!("{config}forge: {{ labels: [deps] }}\n");
            store.push("main", "ours", &[("repin.yaml", &config)]);
        }
        assert_eq!(promoted(&fleet, &[]), 0);
        fleet.forge.store(0).pulls[0].labels.clear();
        {
            let mut store = fleet.forge.store(1);
            let head = store.refs[BRANCH].clone();
            let mut commit = store.commit(&head);
            let mut files = (*store.files_of(&head)).clone();
            let text = store.content(BRANCH, PINNED[0]) + "# more\n";
            let blob = store.put_blob(text.as_bytes());
            files.get_mut(PINNED[0]).unwrap().1 = blob;
            commit.tree = store.put_tree(&files);
            let id = store.put_commit(&commit);
            store.refs.insert(BRANCH.to_owned(), id);
        }
        {
            let mut store = fleet.forge.store(3);
            let row = &mut store.pulls[0];
            row.draft = false;
            row.title = row.title.replace("WIP: ", "").replace("Draft: ", "");
        }
        fleet.forge.store(4).refs.remove(BRANCH);
        promoted(&fleet, &[]);
        let changed = ["foreign_commit 5", "unchanged 0", "updated 0"];
        let outcomes = fleet.outcomes("out.jsonl");
        assert_eq!(outcomes[1..4], changed, "{kind:?} {outcomes:?}");
        // The forge reports what is left of the pull request without a branch.
        assert_ne!(outcomes[4], "unchanged 0", "{kind:?}");
        assert_eq!(outcomes[5], "unchanged 0", "{kind:?}");
        assert_eq!(fleet.forge.store(0).pulls[0].labels, ["deps"], "{kind:?}");
    }
}

/// A fleet of one repository on a server of this version, with its pull request.
fn with_pull(version: &'static str) -> Fleet {
    let kind = if version.contains("+gitea") {
        Kind::Forgejo
    } else {
        Kind::Gitea
    };
    let mut options = fast(kind, 1);
    options.version = Some(version);
    let fleet = Fleet::new(options);
    promotes(&fleet, "created 0", version);
    gitea::drain(&mut fleet.forge.store(0));
    fleet
}

/// Promotes, and checks this outcome of the only repository.
fn promotes(fleet: &Fleet, outcome: &str, case: &str) {
    promoted(fleet, &[]);
    let lines = fleet.read("out.jsonl");
    assert_eq!(fleet.outcomes("out.jsonl"), [outcome], "{case} {lines}");
}

/// One open pull request without a notice, which shows its branch with a commit on the base's head.
fn is_whole(fleet: &Fleet, case: &str) {
    assert_eq!(fleet.forge.open_pulls(), [(0, 1)], "{case}");
    let mut store = fleet.forge.store(0);
    gitea::drain(&mut store);
    let head = &store.refs[BRANCH];
    let base = std::slice::from_ref(&store.refs["main"]);
    assert_eq!(store.commit(head).parents, base, "{case}");
    assert_eq!(store.gitea.shown.get(&1), Some(head), "{case}");
    assert!(!store.pulls[0].body.contains("moving"), "{case}");
}

#[test]
fn fleet_updates_branch_on_every_version() {
    for version in ["1.22.6", "1.23.8", GITEA_1_25, GITEA, FORGEJO] {
        let fleet = with_pull(version);
        {
            let mut store = fleet.forge.store(0);
            let text = store.content("main", PINNED[0]);
            store.push("main", "more", &[(PINNED[0], &format!("# more\n{text}"))]);
        }
        let before = fleet.forge.log().len();
        promotes(&fleet, "updated 0", version);
        is_whole(&fleet, version);
        let log = fleet.forge.log().split_off(before);
        let is_deletion = |request: &str| request.starts_with("DELETE ");
        let deletes = log.iter().any(|logged| is_deletion(&logged.request));
        assert!(!deletes, "{version} {log:#?}");
        promotes(&fleet, "unchanged 0", version);
    }
}

#[test]
fn fleet_repairs_outdated_pull_request() {
    for version in [GITEA_1_25, GITEA, FORGEJO] {
        let fleet = with_pull(version);
        {
            let mut store = fleet.forge.store(0);
            let old = store.refs["main"].clone();
            store.gitea.shown.insert(1, old);
        }
        promotes(&fleet, "updated 0", version);
        is_whole(&fleet, version);
        let before = fleet.forge.log().len();
        promotes(&fleet, "unchanged 0", version);
        assert_eq!(fleet.requests_since(before)[1], 0, "{version}");
    }
}

#[test]
fn canaries_come_first_and_the_rest_follows() {
    let fleet = Fleet::new(fast(Kind::Github, 7));
    assert_eq!(promoted(&fleet, &["--limit", "2"]), 0);
    let outcomes = fleet.outcomes("out.jsonl");
    assert_eq!(outcomes[..3], ["created 0", "created 0", "pending 0"]);
    assert_eq!(open(&fleet), [0, 1]);
    assert_eq!(promoted(&fleet, &["--limit", "2"]), 0);
    assert_eq!(
        fleet.outcomes("out.jsonl")[..5],
        [
            "unchanged 0",
            "unchanged 0",
            "created 0",
            "created 0",
            "pending 0"
        ]
    );
    assert_eq!(promoted(&fleet, &[]), 0);
    assert_eq!(open(&fleet), (0..7).collect::<Vec<_>>());
}

#[test]
fn pace_spreads_new_pull_requests_over_all_shards() {
    let fleet = Fleet::new(fast(Kind::Github, 6));
    assert_eq!(promoted(&fleet, &["--pace", "2/m", "--shard", "0/1"]), 0);
    let log = fleet.forge.log();
    let opened: Vec<_> = log
        .iter()
        .filter(|logged| logged.write && logged.request.ends_with("/pulls"))
        .map(|logged| logged.at)
        .collect();
    assert_eq!(opened.len(), 6);
    // The first turn is after the first request, and each other one half a minute after the one before. A busy
    // machine delays only the requests after a turn. The clock of the server is estimated.
    let all = opened[5].duration_since(log[0].at).unwrap();
    assert!(all >= Duration::from_secs(5 * 30 - 15), "{all:?}");
}

#[test]
fn only_new_pull_requests_wait_for_their_turn() {
    let mut options = options(Kind::Github, 5);
    options.troubles = (0..2).map(|number| (number, Trouble::Closed)).collect();
    let fleet = Fleet::new(options);
    for number in 0..2 {
        fleet.forge.store(number).pulls[0].open = true;
    }
    let pace = ["--pace", "1/m", "--max-failures", "1"];
    // The next turn is after the deadline. A pending repository is not a failure.
    let deadline = [("REPIN_DEADLINE", "50s")];
    fleet.run_with(&[&PROMOTE[..], &pace].concat(), &deadline);
    let outcomes = [
        "updated 0",
        "updated 0",
        "created 0",
        "pending 3",
        "pending 3",
    ];
    assert_eq!(fleet.outcomes("out.jsonl"), outcomes);
    let reason = fleet.lines("out.jsonl")[4]["error"]["message"].to_string();
    assert!(reason.contains("the deadline has passed"), "{reason}");
}

#[test]
fn interrupted_run_reports_opened_pull_requests() {
    let fleet = Fleet::new(fast(Kind::Github, 2).trouble(1, Trouble::Silent));
    let mut command = fleet.scaled_command(&PROMOTE);
    command
        .env("REPIN_HTTP_TIMEOUT", "60s")
        .env("TERM", "xterm");
    let (mut child, mut screen) = terminal::attached(command);
    let is_silent = || fleet.forge.log().iter().any(|logged| logged.status == 0);
    while !is_silent() {
        assert_eq!(child.try_wait().unwrap(), None);
        sleep(Duration::from_millis(1));
    }
    let mut shown = String::new();
    while !shown.contains("1 of 2 repositories done") {
        let mut buffer = [0; 1024];
        let read = screen.read(&mut buffer).unwrap();
        shown.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut rest = Vec::new();
    // The end of a terminal is an error: EIO once its other side is closed.
    let _ = screen.read_to_end(&mut rest);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let rest = String::from_utf8_lossy(&rest);
    let report = "interrupted; 1 pull requests were opened; that of acme/app-0001 may be incomplete; \
                  run the same command again";
    assert!(rest.contains(report), "{rest}");
}

#[test]
fn forbidden_changes_are_not_made() {
    let fleet = Fleet::new(options(Kind::Github, 2));
    let ran = fleet
        .run_with(&PROMOTE, &[("REPIN_DRY_RUN", "true")])
        .exits(0);
    assert!(
        ran.stderr
            .contains("`--pr` changed nothing, because `REPIN_DRY_RUN`"),
        "{}",
        ran.stderr
    );
    assert_eq!(fleet.outcomes("out.jsonl"), ["planned 0", "planned 0"]);
    assert!(fleet.forge.log().iter().all(|logged| !logged.write));
}

#[test]
fn moved_base_is_planned_again() {
    let fleet = Fleet::new(fast(Kind::Github, 1));
    {
        let mut store = fleet.forge.store(0);
        let text = store.content("main", PINNED[0]);
        store.intruder = Some((PINNED[0].to_owned(), format!("# moved\n{text}")));
    }
    let stderr = fleet.scaled(&PROMOTE).exits(0).stderr;
    let note = "note: acme/app-0000: the base branch moved; planning again";
    assert!(stderr.contains(note), "{stderr}");
    assert_eq!(fleet.outcomes("out.jsonl"), ["created 0"]);
    let mut store = fleet.forge.store(0);
    assert!(store.content(BRANCH, PINNED[0]).starts_with("# moved\n"));
    assert!(
        store
            .commit(&store.refs[BRANCH])
            .parents
            .contains(&store.refs["main"])
    );
    // The base moves again, before and during an update.
    let text = store.content("main", PINNED[0]);
    store.push("main", "more", &[(PINNED[0], &format!("# more\n{text}"))]);
    store.intruder = Some((PINNED[0].to_owned(), format!("# again\n{text}")));
    drop(store);
    assert_eq!(promoted(&fleet, &[]), 0);
    assert_eq!(fleet.outcomes("out.jsonl"), ["updated 0"]);
}

#[test]
fn pull_request_on_a_moved_base_counts() {
    let fleet = Fleet::new(fast(Kind::Github, 2));
    {
        let mut store = fleet.forge.store(0);
        store.intruder = Some(("README.md".to_owned(), "moved".to_owned()));
    }
    promoted(&fleet, &["--limit", "1"]);
    assert_eq!(fleet.outcomes("out.jsonl"), ["created 0", "pending 0"]);
}

#[test]
fn fleet_supersedes_only_older_pull_requests() {
    let fleet = Fleet::new(fast(Kind::Github, 4));
    let (old, new) = {
        let mut store = fleet.forge.store(0);
        let old = store.push("main", "build one", &[("src/a", "1")]);
        (old, store.push("main", "build two", &[("src/a", "2")]))
    };
    for revision in [&old, &new] {
        fleet.build(revision);
    }
    let promote = |revision: &str, only: &str| {
        fleet.write("only.txt", only);
        let args = [
            "fleet",
            "promote",
            "--list",
            "list.txt",
            "--pr",
            "draft",
            "--only",
            "only.txt",
            "--revision",
            revision,
        ];
        let ran = fleet.scaled(&args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stderr
    };
    promote(&old, "acme/app-0001\nacme/app-0002\n");
    let message = promote(&new, "acme/app-0001\nacme/app-0002\nacme/app-0003\n");
    assert!(
        message.contains("acme/app-0001: pull request #1 was closed"),
        "{message}"
    );
    for number in [1, 2] {
        let store = fleet.forge.store(number);
        let open: Vec<_> = store.open_pulls().iter().map(|pull| pull.number).collect();
        assert_eq!(open, [2], "{number}");
    }
    // A superseded pull request stays closed, although no user closed it.
    fleet.write("only.txt", "acme/app-0001\n");
    let again = [
        "fleet",
        "promote",
        "--list",
        "list.txt",
        "--pr",
        "draft",
        "--only",
        "only.txt",
        "--revision",
        &old,
        "--out",
        "again.jsonl",
    ];
    assert_eq!(fleet.scaled(&again).code, 1);
    assert_eq!(fleet.outcomes("again.jsonl"), ["refused 1"]);
    assert!(
        fleet
            .read("again.jsonl")
            .contains("#2 supersedes it, and is open")
    );
    // The promotion of an older build does not change the newer pull request.
    promote(&old, "acme/app-0003\n");
    assert_eq!(fleet.forge.store(3).open_pulls().len(), 2);
}

/// Runs the command and kills it, each time `every` requests later, until it finishes.
fn killed_again_and_again(fleet: &Fleet, every: usize) -> usize {
    let mut kills = 0;
    loop {
        let before = fleet.forge.log().len();
        let mut process = fleet.scaled_command(&PROMOTE);
        process
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut process = process.spawn().unwrap();
        let next = before + every * (kills + 1);
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                assert_eq!(status.code(), Some(0));
                return kills;
            }
            if fleet.forge.log().len() >= next {
                break;
            }
            sleep(Duration::from_millis(1));
        }
        // SIGKILL.
        process.kill().unwrap();
        process.wait().unwrap();
        kills += 1;
        assert!(kills < 1000, "no run gets to the end");
    }
}

fn survives_kills(kind: Kind, count: usize, every: usize, least: usize) {
    let fleet = Fleet::new(fast(kind, count));
    let kills = killed_again_and_again(&fleet, every);
    assert!(kills >= least, "{kills}");
    assert_eq!(open(&fleet), (0..count).collect::<Vec<_>>());
    let lines = fleet.lines("out.jsonl");
    assert_eq!(lines.len(), count);
    let before = fleet.forge.log().len();
    assert_eq!(promoted(&fleet, &[]), 0);
    assert_eq!(fleet.outcomes("out.jsonl"), vec!["unchanged 0"; count]);
    assert_eq!(fleet.requests_since(before)[1], 0);
    let hasty = fleet.forge.hasty_writes();
    assert!(hasty.is_empty(), "{hasty:#?}");
}

#[test]
fn killed_fleet_runs_are_continued() {
    survives_kills(Kind::Github, 24, 9, 4);
    survives_kills(Kind::Gitea, 8, 13, 3);
}

#[test]
#[ignore = "ten minutes: a thousand repositories"]
fn killed_runs_of_a_thousand_are_continued() {
    survives_kills(Kind::Github, 1000, 100, 10);
}

#[test]
fn set_rolled_back_during_the_run_is_refused() {
    let fleet = Fleet::new(fast(Kind::Github, 1));
    assert_eq!(promoted(&fleet, &[]), 0);
    // A user merges the same change and reverts it: the files are unchanged.
    let before = PINNED.map(|path| fleet.forge.store(0).content("main", path));
    fleet.pin(0, &fleet.build(REV), "promote: images @x");
    let files = PINNED
        .into_iter()
        .zip(before.each_ref().map(String::as_str));
    let files: Vec<(&str, &str)> = files.collect();
    fleet.forge.store(0).push("main", "Revert", &files);
    assert_eq!(promoted(&fleet, &[]), 1);
    let line = &fleet.lines("out.jsonl")[0];
    assert_eq!(line["checks"][0]["code"], json!("rolled_back"), "{line:#}");
    assert_eq!(open(&fleet), [0]);
}

#[test]
fn two_fleet_runs_share_their_pull_requests() {
    let fleet = Fleet::new(fast(Kind::Github, 4));
    let run = || {
        let mut process = fleet.scaled_command(&PROMOTE);
        process
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        process.spawn().unwrap()
    };
    for mut process in [run(), run()] {
        // One run may always be slower than the other, and then leaves the remaining work to the
        // next run.
        let code = process.wait().unwrap().code().unwrap();
        assert!([0, 3, 5].contains(&code), "{code}");
    }
    assert_eq!(promoted(&fleet, &[]), 0);
    assert_eq!(open(&fleet), [0, 1, 2, 3]);
}
