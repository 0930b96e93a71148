//! The pull request machinery against GitHub as unkind as it really is, as whole runs: rules,
//! branches that must be up to date, conflicts, tokens that start no checks, servers without drafts.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{
    forge::{self as fakes, APP_TOKEN, Fake, Fault, Kind, TOKEN, When, error, github::Strict},
    hosted::{A, LOOK, WAIT, hosted, run, run_as},
    world::{REV_B, World},
};

const READY: [&str; 7] = [
    "promote",
    "--revision",
    REV_B,
    "--pr",
    "ready",
    "--format",
    "json",
];
const DRAFT: [&str; 7] = [
    "promote",
    "--revision",
    REV_B,
    "--pr",
    "draft",
    "--format",
    "json",
];

/// The document and the error message of a run with this exit code.
fn refused(world: &World, args: &[&str], exit: i32) -> (Value, String) {
    let document = run(world, args).exits(exit).json();
    let messages = format!("{} {}", document["error"], document["errors"]);
    (document, messages)
}

fn count(fake: &Fake, path: &str) -> usize {
    let writes = fake.writes();
    writes.iter().filter(|line| line.ends_with(path)).count()
}

/// The base's file changes where the set is pinned.
fn rival(fake: &Fake) {
    let edited = format!("{}\nmore: lines\n", fake.store().content("main", A));
    fake.store().push("main", "another change", &[(A, &edited)]);
}

#[test]
fn refused_branch_is_pushed_once() {
    for (rule, exit, text, hint) in [
        (
            "rule set",
            1,
            "Repository rule violations",
            "check which rule set",
        ),
        (
            "directory",
            1,
            "cannot create",
            "delete the existing branch",
        ),
        (
            "protection",
            4,
            "not authorized",
            "in the branch protection",
        ),
    ] {
        let (world, fake) = hosted(Kind::Github, "");
        match rule {
            "rule set" => fake.store().github.ruled = vec!["repin/"],
            "protection" => fake.store().github.protected = vec!["repin/"],
            _ => drop(fake.store().push("repin", "a branch", &[("x", "y")])),
        }
        let (_, messages) = refused(&world, &READY, exit);
        assert!(
            messages.contains(text) && messages.contains(hint),
            "{rule} {messages}"
        );
        assert!(
            !messages.contains("the next run continues"),
            "{rule} {messages}"
        );
        assert!(!messages.contains("again later"), "{rule} {messages}");
        assert_eq!(fake.writes().len(), 1, "{rule} {:?}", fake.writes());
    }
}

#[test]
fn update_rule_is_a_refusal() {
    for (protected, exit, text) in [
        (false, 1, "Repository rule violations found"),
        (true, 4, "not authorized"),
    ] {
        let (world, fake) = hosted(Kind::Github, "");
        run(&world, &READY).exits(0);
        rival(&fake);
        fake.forget();
        let before = fake.store().refs.clone();
        if protected {
            fake.store().github.protected = vec!["repin/"];
        } else {
            fake.store().github.ruled = vec!["repin/"];
        }
        let (_, messages) = refused(&world, &READY, exit);
        assert!(messages.contains(text), "{messages}");
        assert_eq!(fake.store().refs, before);
        // The text of the pull request, and the push.
        assert_eq!(fake.writes().len(), 2, "{:?}", fake.writes());
    }
}

#[test]
fn a_branch_that_really_moved_is_a_race() {
    let (world, fake) = hosted(Kind::Github, "");
    let branch = run(&world, &READY).exits(0).json()["branch"].clone();
    let branch = branch.as_str().unwrap().to_owned();
    rival(&fake);
    // Another run of repin rebuilds the branch on an older base right before this one does.
    let moved = branch.clone();
    fake.at(When::Before, "POST", "/graphql", 1, move |store| {
        let commit = store.commit(&store.refs[&moved]);
        let again = store.put_commit(&commit);
        store.refs.insert(moved, again);
    });
    fake.forget();
    let document = run(&world, &READY).exits(0).json();
    assert_eq!(document["pull_request"]["state"], "updated");
    let store = fake.store();
    let head = store.commit(&store.refs[&branch]);
    assert_eq!(head.parents, [store.refs["main"].clone()]);
}

/// An outdated pull request with other changes on its base, which requires up-to-date branches.
fn behind(strict: Strict, state: &str, args: &[&str]) -> (World, Fake) {
    let (world, fake) = hosted(Kind::Github, "");
    run(&world, args).exits(0);
    {
        let mut store = fake.store();
        store.github.strict = strict;
        store.github.administers = strict == Strict::Protection;
        store.required = vec!["ci".to_owned()];
        store.push("main", "elsewhere", &[("README.md", "hello")]);
    }
    fake.store().report("ci", state);
    fake.forget();
    (world, fake)
}

#[test]
fn branch_that_must_be_current_is_rebuilt() {
    for strict in [Strict::RuleSet, Strict::Protection] {
        // `blocked` hides `behind` while a required check is pending, `draft` always.
        for (state, args) in [("success", READY), ("pending", READY), ("success", DRAFT)] {
            let case = format!("{strict:?} {state} {}", args[4]);
            let (world, fake) = behind(strict, state, &args);
            // GitHub works it out in the background.
            fake.store().github.delay = usize::from(state == "success" && args == READY);
            let document = run(&world, &args).exits(0).json();
            assert_eq!(document["pull_request"]["state"], "updated", "{case}");
            let branch = document["branch"].as_str().unwrap();
            {
                let store = fake.store();
                let head = store.commit(&store.refs[branch]);
                assert_eq!(head.parents, [store.refs["main"].clone()], "{case}");
            }
            fake.forget();
            let document = run(&world, &args).exits(0).json();
            assert_eq!(document["pull_request"]["state"], "unchanged", "{case}");
            assert!(fake.asked().len() <= 10, "{case} {:#?}", fake.asked());
        }
    }
}

#[test]
fn outdated_branch_stays_if_permitted() {
    for (strict, state) in [
        (Strict::Nowhere, "success"),
        (Strict::Nowhere, "pending"),
        // `blocked` hides it, and the protection is unreadable: the state is unknown.
        (Strict::Protection, "pending"),
    ] {
        let (world, fake) = behind(strict, state, &READY);
        fake.store().github.administers = false;
        let document = run(&world, &READY).exits(0).json();
        assert_eq!(document["pull_request"]["state"], "unchanged", "{state}");
        assert_eq!(fake.writes(), [""; 0]);
        assert!(fake.asked().len() <= 16, "{:#?}", fake.asked());
    }
}

#[test]
fn cleanly_merged_branch_is_up_to_date() {
    let (world, fake) = behind(Strict::RuleSet, "success", &READY);
    {
        let mut store = fake.store();
        let branch = store.pulls[0].head.clone();
        let (ours, base) = (store.refs[&branch].clone(), store.refs["main"].clone());
        let mut files = (*store.files_of(&ours)).clone();
        files.extend(
            store
                .files_of(&base)
                .get_key_value("README.md")
                .map(|(path, entry)| (path.clone(), entry.clone())),
        );
        let tree = store.put_tree(&files);
        let id = store.put_commit(&fakes::store::CommitRow {
            tree,
            parents: vec![ours, base],
            message: "Merge branch 'main'".to_owned(),
        });
        store.refs.insert(branch, id);
    }
    let document = run(&world, &READY).exits(0).json();
    assert_eq!(document["pull_request"]["state"], "unchanged");
    assert_eq!(fake.writes(), [""; 0]);
}

#[test]
fn wait_stops_with_conflicting_files() {
    let (world, fake) = hosted(Kind::Github, "");
    run(&world, &READY).exits(0);
    fake.store().github.delay = 2;
    rival(&fake);
    let ran = run(&world, &WAIT).exits(1);
    assert_eq!(ran.json()["state"], "open");
    assert!(
        ran.stderr.contains("conflicts with main") && ran.stderr.contains(A),
        "{}",
        ran.stderr
    );
    // Two requests without a result, then one with a result.
    let looks = fake.asked();
    let looks = looks
        .iter()
        .filter(|line| *line == "GET /repos/acme/flows/pulls/1");
    assert_eq!(looks.count(), 3);
}

#[test]
fn outage_during_a_conflict_does_not_stop_wait() {
    let (world, fake) = hosted(Kind::Github, "");
    run(&world, &READY).exits(0);
    rival(&fake);
    // A response that cannot be used, which no attempt makes better at once.
    let answer = fakes::Reply::json(200, serde_json::json!("no branch"));
    fake.fault(("GET", "/branches/main"), 1, Fault::Instead(answer));
    let ran = run(&world, &WAIT).exits(1);
    assert_eq!(ran.json()["state"], "open");
    assert!(
        ran.stderr.contains("conflicts with main") && ran.stderr.contains(A),
        "{}",
        ran.stderr
    );
}

#[test]
fn pending_mergeability_is_not_a_conflict() {
    let (world, fake) = hosted(Kind::Github, "");
    run(&world, &READY).exits(0);
    fake.store().github.delay = 99;
    rival(&fake);
    assert_eq!(run(&world, &LOOK).exits(3).json()["state"], "open");
}

#[test]
fn conflict_without_conflicting_files_is_checked_again() {
    let (world, fake) = hosted(Kind::Github, "");
    run(&world, &READY).exits(0);
    // GitHub reports the state of an earlier head, and then the current one.
    let stale = r#"{"number":1,"html_url":"https://x","title":"x","body":null,"state":"open","head":{"ref":"HEAD","sha":"SHA","repo":null},"base":{"ref":"main"},"mergeable":false,"mergeable_state":"dirty"}"#;
    let branch = fake.store().pulls[0].head.clone();
    let head = fake.store().refs[&branch].clone();
    let stale = stale.replace("HEAD", &branch).replace("SHA", &head);
    let stale = fakes::Reply::json(200, serde_json::from_str(&stale).unwrap());
    fake.fault(("GET", "/pulls/1"), 1, Fault::Instead(stale));
    fake.when(2, |store| drop(store.merge(1)));
    assert_eq!(run(&world, &WAIT).exits(0).json()["state"], "merged");
}

#[test]
fn wait_reports_an_outdated_branch() {
    let (world, fake) = behind(Strict::RuleSet, "success", &READY);
    fake.store().github.delay = 0;
    let ran = run(&world, &["wait", "--pr", "1", "--timeout", "0s"]).exits(3);
    assert!(ran.stderr.contains("is behind main"), "{}", ran.stderr);
}

#[test]
fn held_workflow_runs_are_reported() {
    let (world, fake) = hosted(Kind::Github, "gates: [ci]");
    run(&world, &READY).exits(0);
    let row = |conclusion: &str| {
        json!({
            "id": 1, "workflow_id": 1, "check_suite_id": 1, "status": "completed", "conclusion": conclusion,
            "html_url": "https://github.example/acme/flows/actions/runs/1",
        })
    };
    let head = fake.store().pulls[0].head.clone();
    let gates = ["gates", "--ref", &head];
    for (rows, is_held) in [
        (Some(vec![row("success"), row("action_required")]), true),
        (Some(vec![row("success")]), false),
        (None, false),
    ] {
        fake.store().github.workflow_runs = rows;
        let ran = run(&world, &["wait", "--pr", "1", "--timeout", "1s"]).exits(3);
        let told = ran
            .stderr
            .matches("a user with write access must approve them")
            .count();
        assert_eq!(told, usize::from(is_held), "{}", ran.stderr);
        assert_eq!(ran.stderr.contains("/acme/flows/pull/1)"), is_held);
        let ran = run(&world, &gates).exits(1);
        assert_eq!(
            ran.stderr.contains("/actions/runs/1)"),
            is_held,
            "{}",
            ran.stderr
        );
    }
    let is_query =
        |line: &String| line.contains("head_sha=") && line.contains("status=action_required");
    assert!(fake.asked().iter().any(is_query), "{:?}", fake.asked());
    // A present check is not held.
    fake.store().report("ci", "pending");
    fake.store().github.workflow_runs = Some(vec![row("action_required")]);
    let ran = run(&world, &gates).exits(3);
    assert!(!ran.stderr.contains("write access"), "{}", ran.stderr);
}

#[test]
fn token_that_starts_no_checks_is_reported() {
    for (settings, login, told) in [
        ("gates: [ci]", "github-actions[bot]", true),
        ("auto_merge: true", "github-actions[bot]", true),
        ("gates: [ci]", "an-app[bot]", false),
        ("", "github-actions[bot]", false),
    ] {
        let case = format!("{settings} {login}");
        let (world, fake) = hosted(Kind::Github, settings);
        {
            let mut store = fake.store();
            store.installation = true;
            store.push = Some(false);
            store.github.login = login;
            store.required = vec!["ci".to_owned()];
        }
        let ran = run_as(APP_TOKEN, &world, &READY).exits(0);
        let warned = ran.stderr.contains("starts no workflow");
        assert_eq!(warned, told, "{case} {}", ran.stderr);
        assert_eq!(ran.stderr.contains("create-github-app-token"), told);
        let ran = run_as(APP_TOKEN, &world, &["doctor", "--format", "json"]);
        let document = ran.exits(if told { 4 } else { 0 }).json();
        let checks = document["checks"].as_array().unwrap();
        let token = checks.iter().find(|row| row["code"] == "token").unwrap();
        let status = if told { "fail" } else { "pass" };
        assert_eq!(token["status"], status, "{case} {token}");
        let hint = token["hint"].as_str().unwrap_or_default();
        assert_eq!(hint.contains("fine-grained"), told, "{case} {token}");
    }
    // Other tokens cost no query, and a missing response to it is not a refusal.
    let (world, fake) = hosted(Kind::Github, "gates: [ci]");
    run(&world, &READY).exits(0);
    assert_eq!(count(&fake, "/graphql"), 0);
    fake.store().graphql = false;
    let ran = run_as(APP_TOKEN, &world, &READY).exits(0);
    assert!(!ran.stderr.contains("starts no workflow"), "{}", ran.stderr);
}

#[test]
fn draft_in_a_private_repository_needs_no_plan() {
    let (world, fake) = hosted(Kind::Github, "");
    let document = run(&world, &DRAFT).exits(0).json();
    assert_eq!(document["pull_request"]["state"], "created");
    assert!(fake.store().pulls[0].draft);
    let received = fake.asked();
    let elsewhere = received.iter().filter(|line| {
        let path = line.split(' ').nth(1).unwrap_or_default();
        let own = ["/repos/acme/flows", "/acme/flows.git/", "/graphql"];
        !own.iter().any(|start| path.starts_with(start))
    });
    assert_eq!(elsewhere.count(), 0, "{received:?}");
}

#[test]
fn draft_that_the_server_refuses_names_the_alternative() {
    // The branch exists by then, and the next run uses it.
    let (world, fake) = hosted(Kind::Github, "");
    fake.store().github.drafts = false;
    let (_, messages) = refused(&world, &DRAFT, 1);
    assert!(
        messages.contains("Draft pull requests are not supported")
            && messages.contains("--pr ready"),
        "{messages}"
    );
    assert!(messages.contains("the next run continues"), "{messages}");
    assert_eq!(count(&fake, "/pulls"), 1, "{:?}", fake.writes());
    let document = run(&world, &READY).exits(0).json();
    assert_eq!(document["pull_request"]["state"], "created");
    // One that is ready cannot become a draft.
    let (_, messages) = refused(&world, &DRAFT, 1);
    assert!(messages.contains("--pr ready"), "{messages}");
}

#[test]
fn server_without_rule_sets_uses_branch_protection() {
    let (world, fake) = hosted(Kind::Github, "");
    fake.store().github.rule_sets = false;
    fake.store().required = vec!["ci".to_owned()];
    fake.store().report("ci", "success");
    let gates = ["gates", "--ref", "main", "--format", "json"];
    let document = run(&world, &gates).exits(0).json();
    assert_eq!(document["gates"][0]["context"], "ci", "{document}");
}

#[test]
fn concurrent_openings_find_the_open_pull_request() {
    let (world, fake) = hosted(Kind::Github, "");
    fake.meet("POST", "/pulls", 3);
    let start = |_| {
        let mut command = world.command(&READY);
        let command = command.env("REPIN_FORGE_TOKEN", TOKEN);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let children: Vec<_> = (0..3).map(start).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["pull_request"]["number"], 1, "{document}");
    }
    assert_eq!(fake.store().pulls.len(), 1);
    assert!(fake.answered(422) >= 2, "one for each of the others");
}

#[test]
fn label_by_another_run_is_added() {
    let (world, fake) = hosted(Kind::Github, "labels: [ci]");
    fake.at(When::Before, "POST", "/flows/labels", 1, |store| {
        let id = store.number();
        store.labels.push((id, "ci".to_owned()));
    });
    let ran = run(&world, &READY).exits(0);
    assert!(
        !ran.stderr.contains("warning: the labels"),
        "{}",
        ran.stderr
    );
    assert_eq!(fake.store().pulls[0].labels, ["ci"]);
    let long = "x".repeat(51);
    let (world, _fake) = hosted(Kind::Github, &format!("labels: [{long}]"));
    let ran = run(&world, &READY).exits(0);
    assert!(ran.stderr.contains("name is too long"), "{}", ran.stderr);
}

#[test]
fn only_started_work_is_reported_as_left() {
    let (world, fake) = hosted(Kind::Github, "");
    fake.fault(("POST", "/pulls"), 99, Fault::Instead(error(403, "no")));
    let (_, messages) = refused(&world, &READY, 4);
    assert!(messages.contains("the next run continues"), "{messages}");
    // The branch is there now: nothing more is begun.
    let (_, messages) = refused(&world, &READY, 4);
    assert!(!messages.contains("the next run continues"), "{messages}");
}

/// The most unkind push: foreign, in conflict, while the merge is scheduled.
#[test]
fn foreign_commit_in_conflict_is_not_scheduled() {
    let (world, fake) = hosted(Kind::Github, "auto_merge: true");
    fake.store().required = vec!["ci".to_owned()];
    fake.store().report("ci", "pending");
    run(&world, &READY).exits(0);
    assert_eq!(fake.store().scheduled.len(), 1);
    rival(&fake);
    let branch = fake.store().pulls[0].head.clone();
    let foreign = fake.store().push(&branch, "theirs", &[(A, "theirs")]);
    // The first look finds the conflict.
    fake.store().github.delay = 0;
    let ran = run(&world, &WAIT).exits(5);
    assert!(
        ran.stderr.contains(&foreign) && ran.stderr.contains("merge of #1 was canceled"),
        "{}",
        ran.stderr
    );
    assert_eq!(fake.store().scheduled, []);
}

#[test]
fn uncancellable_merge_is_reported() {
    let (world, fake) = hosted(Kind::Github, "auto_merge: true");
    fake.store().required = vec!["ci".to_owned()];
    fake.store().report("ci", "pending");
    run(&world, &READY).exits(0);
    let branch = fake.store().pulls[0].head.clone();
    fake.store().push(&branch, "theirs", &[("notes", "mine")]);
    fake.store().github.cancels = false;
    let (_, messages) = refused(&world, &READY, 5);
    assert!(messages.contains("could not be canceled"), "{messages}");
    // One that was never scheduled needs no word.
    fake.store().scheduled.clear();
    let (_, messages) = refused(&world, &READY, 5);
    assert!(!messages.contains("cancelled"), "{messages}");
}
