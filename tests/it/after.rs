//! After the pull request, as whole runs: gates, automatic merges, waiting, started workflows,
//! branches.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{
    forge::{self as fakes, Fake, Fault, Kind, TOKEN, error},
    hosted::{FORGES, PROMOTE, SERVERS, document as json, hosted, promote, run},
    sweep::one_of,
    world::REV_B,
};

fn requires(fake: &Fake, contexts: &[&str]) {
    fake.store().required = contexts
        .iter()
        .map(|context| (*context).to_owned())
        .collect();
}

fn keys(document: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = document
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

#[test]
fn gates_are_open_undecided_shut_or_silent() {
    for kind in FORGES {
        let (world, fake) = hosted(kind, "gates: [ci, lint]");
        let gates = |exit| json(&world, &["gates", "--ref", "main"], exit);
        let document = gates(1);
        assert_eq!(
            keys(&document),
            ["commit", "gates", "ref", "schema", "state"]
        );
        assert_eq!(
            (&document["schema"], &document["ref"]),
            (&json!("repin.gates/1"), &json!("main"))
        );
        assert_eq!(document["state"], "absent", "{kind:?}");
        assert_eq!(document["commit"], fake.store().refs["main"]);
        fake.store().report("ci", "failure");
        fake.store().report("lint", "success");
        let document = gates(1);
        assert_eq!(document["state"], "fail");
        assert_eq!(
            keys(&document["gates"][0]),
            ["context", "detail", "state", "url"]
        );
        let states: Vec<_> = document["gates"]
            .as_array()
            .unwrap()
            .iter()
            .map(|gate| &gate["state"])
            .collect();
        assert_eq!(states, ["fail", "pass"]);
        assert!(
            document["gates"][0]["url"]
                .as_str()
                .unwrap()
                .starts_with("https://ci.example/")
        );
        fake.store().report("ci", "pending");
        assert_eq!(gates(3)["state"], "pending");
        fake.store().report("ci", "success");
        assert_eq!(gates(0)["state"], "pass");
        let ran = run(&world, &["gates", "--ref", "main"]).exits(0);
        assert!(
            ran.stdout
                .starts_with("GATE  STATE  MORE\nci    pass   https://ci.example/"),
            "{}",
            ran.stdout
        );
        assert_eq!(fake.writes(), [] as [String; 0]);
    }
}

/// The words for a status that is missing on an old commit.
const EXPIRED: &str = "may have expired: the commit is older than 90 days";

#[test]
fn missing_status_of_old_commit_may_have_expired() {
    for (kind, days, expired) in [
        (Kind::Github, 89, false),
        (Kind::Github, 91, true),
        (Kind::Gitea, 91, false),
    ] {
        let case = format!("{kind:?} {days}");
        let (world, fake) = hosted(kind, "gates: [ci, lint]");
        fake.store().github.days = days;
        fake.store().report("lint", "failure");
        let gates = ["gates", "--ref", "main"];
        let ran = run(&world, &gates).exits(1);
        let row = ran.stdout.lines().nth(1).unwrap().trim_end();
        let expected = if expired { EXPIRED } else { "" };
        assert_eq!(
            row,
            format!("ci    absent  {expected}").trim_end(),
            "{case}"
        );
        let failed = ran.stdout.lines().nth(2).unwrap();
        assert!(!failed.contains(EXPIRED), "{case} {failed}");
        let document = json(&world, &gates, 1);
        let detail = if expired { json!(EXPIRED) } else { Value::Null };
        assert_eq!(document["gates"][0]["detail"], detail, "{case}");
        assert_eq!(document["gates"][1]["detail"], Value::Null, "{case}");
        let annotated = run(&world, &[&gates[..], &["--format", "github"]].concat()).exits(1);
        let is_annotated = annotated.stdout.contains(&format!("absent {EXPIRED}"));
        assert_eq!(is_annotated, expired, "{case} {}", annotated.stdout);

        fake.store().statuses.clear();
        fake.store().push("staging", "work", &[("x", "y")]);
        let ran = run(&world, &BRING).exits(0);
        assert_eq!(
            ran.stderr.contains(EXPIRED),
            expired,
            "{case} {}",
            ran.stderr
        );
        fake.store().report("ci", "success");
        fake.store().report("lint", "success");
        let ran = run(&world, &gates).exits(0);
        assert!(!ran.stdout.contains(EXPIRED), "{case}");
    }
}

#[test]
fn merge_that_waits_for_expired_status_is_reported() {
    for (days, expired) in [(89, false), (91, true)] {
        // repin waits for a context that only `forge.gates` requires.
        let (world, fake) = hosted(Kind::Github, "gates: [ci], auto_merge: true");
        fake.store().github.days = days;
        for args in [&PROMOTE[..], &promote(REV_B)] {
            let ran = run(&world, args).exits(0);
            let says = "is not scheduled yet: ci has";
            assert!(ran.stderr.contains(says), "{}", ran.stderr);
            let is_reported = ran.stderr.contains(EXPIRED);
            assert_eq!(is_reported, expired, "{days} {}", ran.stderr);
        }
        let ran = run(&world, &["wait", "--pr", "1", "--timeout", "0s"]).exits(3);
        assert_eq!(
            ran.stderr.contains(EXPIRED),
            expired,
            "{days} {}",
            ran.stderr
        );

        // The forge waits for a context that the base requires.
        let (world, fake) = hosted(Kind::Github, "auto_merge: true");
        requires(&fake, &["ci"]);
        fake.store().github.days = days;
        let document = json(&world, &PROMOTE, 0);
        assert_eq!(fake.store().scheduled.len(), 1, "{document}");
        let ran = run(&world, &PROMOTE).exits(0);
        assert!(ran.stderr.contains("will be merged once"), "{}", ran.stderr);
        assert_eq!(
            ran.stderr.contains(EXPIRED),
            expired,
            "{days} {}",
            ran.stderr
        );
    }
}

#[test]
fn latest_status_counts_on_any_page() {
    for kind in FORGES {
        let (world, fake) = hosted(kind, "gates: [ci]");
        for _ in 0..130 {
            fake.store().report("ci", "failure");
        }
        fake.store().report("ci", "success");
        for turn in [0, 40, 111] {
            fake.store().statuses.rotate_left(turn);
            assert_eq!(
                json(&world, &["gates", "--ref", "main"], 0)["state"],
                "pass",
                "{kind:?}"
            );
        }
        let newest = fake
            .store()
            .statuses
            .iter()
            .max_by_key(|row| row["id"].as_u64())
            .unwrap()["target_url"]
            .clone();
        assert_eq!(
            json(&world, &["gates", "--ref", "main"], 0)["gates"][0]["url"],
            newest
        );
    }
}

#[test]
fn check_runs_and_statuses_count() {
    let (world, fake) = hosted(Kind::Github, "gates: [build]");
    let row = |id: u64, status: &str, conclusion: Value| json!({"id": id, "name": "build", "status": status, "conclusion": conclusion, "html_url": "https://run", "started_at": null});
    fake.store().runs = vec![
        row(2, "queued", Value::Null),
        row(1, "completed", json!("success")),
    ];
    assert_eq!(
        json(&world, &["gates", "--ref", "main"], 3)["state"],
        "pending"
    );
    fake.store().runs = vec![
        row(2, "completed", json!("neutral")),
        row(1, "completed", json!("failure")),
    ];
    assert_eq!(
        json(&world, &["gates", "--ref", "main"], 0)["state"],
        "pass"
    );
    fake.store().report("build", "error");
    assert_eq!(
        json(&world, &["gates", "--ref", "main"], 1)["state"],
        "fail"
    );
}

#[test]
fn latest_run_of_each_workflow_must_pass() {
    let (world, fake) = hosted(Kind::Github, "gates: [build]");
    let row = |id: u64, app: u64, suite: u64, conclusion: &str| {
        json!({
            "id": id, "name": "build", "status": "completed", "conclusion": conclusion,
            "html_url": "https://run", "started_at": format!("2026-01-01T10:00:{id:02}Z"),
            "app": {"id": app, "slug": "x"}, "check_suite": {"id": suite},
        })
    };
    let run = |suite: u64, workflow: u64| json!({"id": suite, "workflow_id": workflow, "check_suite_id": suite});
    let state = |exit| json(&world, &["gates", "--ref", "main"], exit)["state"].clone();
    let failed = || row(1, 15368, 10, "failure");
    for (case, later, workflows, passes) in [
        ("same suite", row(2, 15368, 10, "success"), None, true),
        ("another app", row(2, 7, 11, "success"), None, false),
        (
            "unknown workflow",
            row(2, 15368, 11, "success"),
            None,
            false,
        ),
        (
            "another workflow",
            row(2, 15368, 11, "success"),
            Some(vec![run(10, 1), run(11, 2)]),
            false,
        ),
        (
            "same workflow",
            row(2, 15368, 11, "success"),
            Some(vec![run(10, 1), run(11, 1)]),
            true,
        ),
    ] {
        fake.store().runs = vec![later, failed()];
        fake.store().github.workflow_runs = workflows;
        let (exit, expected) = if passes { (0, "pass") } else { (1, "fail") };
        assert_eq!(state(exit), expected, "{case}");
    }
}

#[test]
fn user_does_not_replace_status_of_app() {
    let (world, fake) = hosted(Kind::Github, "gates: [build]");
    let row = |id: u64, state: &str, creator: Value| {
        json!({
            "id": id, "state": state, "context": "build", "target_url": null,
            "created_at": format!("2026-01-01T10:00:{id:02}Z"), "creator": creator,
        })
    };
    let bot = || json!({"id": 5, "login": "ci[bot]", "type": "Bot"});
    let user = || json!({"id": 6, "login": "mallory", "type": "User"});
    for (creator, exit) in [(user(), 1), (bot(), 0)] {
        fake.store().statuses = vec![row(1, "failure", bot()), row(2, "success", creator)];
        json(&world, &["gates", "--ref", "main"], exit);
    }
}

#[test]
fn base_branch_determines_gates_without_configuration() {
    // On GitLab, a branch requires pipelines, not contexts.
    for kind in [Kind::Github, Kind::Gitea] {
        let (world, fake) = hosted(kind, "labels: []");
        let ran = run(&world, &["gates", "--ref", "main"]).exits(2);
        assert!(
            ran.stderr.contains("no status is required") && ran.stderr.contains("forge.gates"),
            "{}",
            ran.stderr
        );
        requires(&fake, &["ci"]);
        fake.store().push("feature/x", "work", &[("x", "y")]);
        assert_eq!(
            json(&world, &["gates", "--ref", "feature/x"], 1)["gates"][0]["context"],
            "ci",
            "{kind:?}"
        );
        let commit = fake.store().refs["feature/x"].clone();
        assert_eq!(
            json(&world, &["gates", "--ref", &commit], 1)["commit"],
            commit
        );
        let ran = run(&world, &["gates", "--ref", "nowhere"]).exits(2);
        assert!(ran.stderr.contains("no commit `nowhere`"), "{}", ran.stderr);
        for odd in ["../x", "-x", "a b", "", "main/.."] {
            assert_eq!(
                json(&world, &["gates", &format!("--ref={odd}")], 2)["errors"][0]["code"],
                "usage",
                "{odd}"
            );
        }
    }
    for kind in SERVERS {
        for (settings, requires_pipelines) in [
            ("base: nowhere", false),
            ("base: nowhere", true),
            ("base: nowhere, gates: [ci]", false),
        ] {
            let (world, fake) = hosted(kind, settings);
            fake.store().gitlab.requires_pipelines = requires_pipelines;
            let ran = run(&world, &["gates", "--ref", "main"]).exits(1);
            let reason = "reading what nowhere requires";
            assert!(ran.stderr.contains(reason), "{kind:?} {}", ran.stderr);
            let help = "the branch does not exist: correct forge.base";
            assert!(ran.stderr.contains(help), "{kind:?} {}", ran.stderr);
        }
    }
    let (world, fake) = hosted(Kind::Github, "labels: []");
    fake.fault(
        ("GET", "/rules/branches/main"),
        1,
        Fault::Instead(error(403, "Resource not accessible")),
    );
    assert_eq!(
        json(&world, &["gates", "--ref", "main"], 4)["errors"][0]["code"],
        "denied"
    );
}

#[test]
fn without_a_token_it_is_denied_or_skipped() {
    for kind in FORGES {
        let (world, fake) = hosted(kind, "gates: [ci]");
        for args in [
            &["gates", "--ref", "main"][..],
            &["wait", "--pr", "1"],
            &["branch", "promote", "--from", "staging", "--to", "main"],
        ] {
            assert_eq!(
                world
                    .run(&[args, &["--format", "json"]].concat())
                    .exits(4)
                    .json()["errors"][0]["code"],
                "denied"
            );
            let ran = world
                .run(&[args, &["--if-unconfigured", "skip", "--format", "json"]].concat())
                .exits(0);
            assert!(
                ran.json()["schema"].as_str().unwrap().contains(args[0]),
                "{}",
                ran.stdout
            );
            let ran = world
                .run(&[args, &["--if-unconfigured", "skip"]].concat())
                .exits(0);
            assert!(
                format!("{}{}", ran.stdout, ran.stderr).contains("skipped: no token"),
                "{}",
                ran.stderr
            );
        }
        assert_eq!(fake.asked(), [] as [String; 0]);
    }
}

#[test]
fn promoted_gated_merged_by_itself_and_dispatched() {
    for kind in [Kind::Github, Kind::Forgejo] {
        let (world, fake) = hosted(
            kind,
            "auto_merge: true, gates: [ci], dispatch: [deploy.yml, notify.yml]",
        );
        requires(&fake, &["ci"]);
        fake.store().version = "8.0.1+gitea-1.22.0";
        fake.store().workflows_there = vec!["deploy.yml", "notify.yml"];
        let ran = run(&world, &PROMOTE).exits(0);
        let scheduled = || fake.store().scheduled.len();
        if kind == Kind::Github {
            assert!(
                ran.stderr.contains("will be merged once its gates pass"),
                "{}",
                ran.stderr
            );
            assert_eq!(scheduled(), 1);
        } else {
            assert!(
                ran.stderr.contains("ci has not reported yet"),
                "{}",
                ran.stderr
            );
            assert_eq!(scheduled(), 0);
            // A repetition of the command makes up for the failed step.
            fake.store().report("ci", "pending");
            let document = json(&world, &PROMOTE, 0);
            assert_eq!(document["pull_request"]["state"], "unchanged");
            assert_eq!(scheduled(), 1);
        }
        let branch = fake.store().pulls[0].head.clone();
        fake.store().report("ci", "pending");
        assert_eq!(
            json(&world, &["gates", "--ref", &branch], 3)["state"],
            "pending"
        );
        let open = json(&world, &["wait", "--pr", "1", "--timeout", "0s"], 3);
        assert_eq!(
            (&open["state"], &open["merge_commit"]),
            (&json!("open"), &Value::Null)
        );
        fake.when(2, |store| store.report("ci", "success"));
        let document = json(&world, &["wait", "--pr", "1", "--timeout", "1m"], 0);
        assert_eq!(
            keys(&document),
            ["dispatched", "merge_commit", "number", "schema", "state"]
        );
        assert_eq!(
            (&document["schema"], &document["state"]),
            (&json!("repin.wait/1"), &json!("merged"))
        );
        assert_eq!(
            document["merge_commit"],
            fake.store().refs["main"],
            "{kind:?}"
        );
        assert_eq!(document["dispatched"], json!(["deploy.yml", "notify.yml"]));
        let text = fake.store().content("main", ".github/workflows/a.yml");
        assert!(text.contains(world.digest("review", REV_B)), "{text}");
        // Once is once, also for those who come later.
        let again = json(&world, &["wait", "--pr", "1"], 0);
        assert_eq!(
            (&again["state"], &again["dispatched"]),
            (&json!("merged"), &json!([]))
        );
        let started: Vec<_> = fake.store().dispatched.clone();
        assert_eq!(
            started,
            [
                ("deploy.yml".to_owned(), "main".to_owned()),
                ("notify.yml".to_owned(), "main".to_owned())
            ]
        );
    }
}

#[test]
fn passed_pull_request_is_merged_at_expected_head() {
    for kind in FORGES {
        let (world, fake) = hosted(kind, "auto_merge: true, gates: [ci]");
        fake.store().report("ci", "success");
        let ran = run(&world, &PROMOTE).exits(0);
        assert!(
            ran.stderr
                .contains("was merged: its gates had already passed"),
            "{}",
            ran.stderr
        );
        assert!(fake.store().pulls[0].merged.is_some());
    }
}

#[test]
fn drafts_and_rehearsals_schedule_no_merge() {
    // On GitLab, the pipeline is a gate without a required context.
    for kind in [Kind::Github, Kind::Gitea] {
        let (world, fake) = hosted(kind, "auto_merge: true");
        requires(&fake, &["ci"]);
        fake.store().report("ci", "pending");
        run(&world, &["promote", "--revision", REV_B, "--pr", "draft"]).exits(0);
        run(&world, &[&PROMOTE[..], &["--dry-run", "true"]].concat()).exits(0);
        assert_eq!(fake.store().scheduled, []);
        fake.store().no_merge = Some("Auto merge is not allowed");
        let document = json(&world, &PROMOTE, 1);
        assert_eq!(document["error"]["code"], "conflict", "{kind:?}");
        assert!(
            document["error"]["message"]
                .as_str()
                .unwrap()
                .contains("Auto merge is not allowed"),
            "{document}"
        );
        assert_eq!(document["pull_request"]["state"], "updated");
    }
}

#[test]
fn wait_stops_when_closed_or_timed_out() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind, "labels: []");
        run(&world, &PROMOTE).exits(0);
        fake.store().close(1);
        let document = json(&world, &["wait", "--pr", "1", "--timeout", "1h"], 1);
        assert_eq!(
            (&document["state"], &document["dispatched"]),
            (&json!("closed"), &json!([])),
            "{kind:?}"
        );
        let ran = run(&world, &["wait", "--pr", "1"]).exits(1);
        assert!(
            ran.stderr.contains("was closed without being merged"),
            "{}",
            ran.stderr
        );
        fake.store().pulls[0].open = true;
        let ran = run(&world, &["wait", "--pr", "1", "--timeout", "1s"]).exits(3);
        assert!(
            ran.stderr.contains("not merged within 1 s"),
            "{}",
            ran.stderr
        );
        assert_eq!(
            json(&world, &["wait", "--pr", "77"], 2)["errors"][0]["code"],
            "usage"
        );
        for wrong in [
            &["wait", "--pr", "0"][..],
            &["wait", "--pr", "x"],
            &["wait"],
            &["wait", "--pr", "1", "--timeout", "soon"],
        ] {
            run(&world, wrong).exits(2);
        }
    }
}

#[test]
fn dispatch_permission_is_checked_before_waiting() {
    for (reply, exit, says) in [
        (
            error(403, "Resource not accessible by integration"),
            4,
            "actions: write",
        ),
        (error(404, "Not Found"), 4, "actions: write"),
        (
            fakes::Reply::json(200, json!({"id": 1, "state": "disabled_manually"})),
            1,
            "disabled_manually",
        ),
    ] {
        let (world, fake) = hosted(Kind::Github, "dispatch: [deploy.yml]");
        fake.store().workflows_there = vec!["deploy.yml"];
        run(&world, &PROMOTE).exits(0);
        fake.forget();
        fake.fault(("GET", "/workflows/deploy.yml"), 1, Fault::Instead(reply));
        let ran = run(&world, &["wait", "--pr", "1", "--timeout", "1h"]).exits(exit);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
        assert!(
            !fake.asked().iter().any(|line| line.contains("/pulls/")),
            "no run waited: {:?}",
            fake.asked()
        );
    }
    let (world, fake) = hosted(Kind::Github, "dispatch: [deploy.yml]");
    fake.store().workflows_there = vec!["deploy.yml"];
    fake.store().push = Some(false);
    assert_eq!(
        json(&world, &["wait", "--pr", "1", "--timeout", "1h"], 4)["errors"][0]["code"],
        "denied"
    );
}

#[test]
fn unneeded_workflow_is_not_started_and_reported() {
    let (world, fake) = hosted(Kind::Gitea, "dispatch: [deploy.yml]");
    fake.store().version = "1.23.0";
    run(&world, &PROMOTE).exits(0);
    fake.store().merge(1);
    let ran = run(&world, &["wait", "--pr", "1"]).exits(0);
    assert!(
        ran.stderr
            .contains("deploy.yml need not be started: 1.23.0"),
        "{}",
        ran.stderr
    );
    assert_eq!(fake.store().dispatched, []);
}

#[test]
fn refused_schedule_does_not_end_the_wait() {
    let (world, fake) = hosted(Kind::Github, "auto_merge: true, gates: [ci]");
    requires(&fake, &["ci"]);
    run(&world, &PROMOTE).exits(0);
    fake.store().scheduled.clear();
    fake.fault(
        ("GET", "/statuses"),
        100,
        Fault::Instead(error(403, "Resource not accessible by integration")),
    );
    fake.when(2, |store| drop(store.merge(1)));
    let ran = run(&world, &["wait", "--pr", "1", "--timeout", "1m"]).exits(0);
    assert!(
        ran.stderr.contains("its merge cannot be scheduled") && ran.stdout.contains("#1 merged"),
        "{}",
        ran.stderr
    );
}

#[test]
fn rehearsal_of_wait_starts_no_workflow() {
    let (world, fake) = hosted(Kind::Github, "dispatch: [deploy.yml], auto_merge: true");
    requires(&fake, &["ci"]);
    fake.store().workflows_there = vec!["deploy.yml"];
    run(&world, &PROMOTE).exits(0);
    fake.store().scheduled.clear();
    fake.forget();
    json(
        &world,
        &["wait", "--pr", "1", "--timeout", "0s", "--dry-run="],
        3,
    );
    fake.store().merge(1);
    let ran = run(&world, &["wait", "--pr", "1", "--dry-run", "true"]).exits(0);
    assert!(
        ran.stderr.contains("deploy.yml would be started"),
        "{}",
        ran.stderr
    );
    let env = [("REPIN_FORGE_TOKEN", TOKEN), ("REPIN_DRY_RUN", "true")];
    world.run_with(&["wait", "--pr", "1"], &env).exits(0);
    assert_eq!(fake.writes(), [] as [String; 0]);
    assert_eq!(
        json(&world, &["wait", "--pr", "1", "--dry-run", "false"], 0)["dispatched"],
        json!(["deploy.yml"])
    );
}

#[test]
fn refused_start_is_reported_and_can_be_retried() {
    for kind in [Kind::Github, Kind::Forgejo] {
        let (world, fake) = hosted(kind, "dispatch: [deploy.yml, notify.yml]");
        fake.store().version = "8.0.1+gitea-1.22.0";
        fake.store().workflows_there = vec!["deploy.yml", "notify.yml"];
        run(&world, &PROMOTE).exits(0);
        fake.store().merge(1);
        fake.fault(
            ("POST", "/deploy.yml/dispatches"),
            1,
            Fault::Instead(error(403, "Resource not accessible")),
        );
        let ran = run(&world, &["wait", "--pr", "1", "--format", "json"]).exits(4);
        let document = ran.json();
        assert_eq!(
            (&document["state"], &document["dispatched"]),
            (&json!("merged"), &json!(["notify.yml"])),
            "{kind:?}"
        );
        assert!(
            ran.stderr.contains("starting the workflow deploy.yml"),
            "{}",
            ran.stderr
        );
        assert_eq!(
            json(&world, &["wait", "--pr", "1"], 0)["dispatched"],
            json!(["deploy.yml"])
        );
        assert_eq!(fake.store().dispatched.len(), 2);
    }
}

#[test]
fn failed_start_releases_its_mark() {
    // GitHub responds with 404 to a token that may read a workflow but not start it (reported).
    for (kind, status, exit) in [(Kind::Github, 404, 4), (Kind::Forgejo, 400, 3)] {
        let (world, fake) = hosted(kind, "dispatch: [deploy.yml]");
        fake.store().version = "8.0.1+gitea-1.22.0";
        fake.store().workflows_there = vec!["deploy.yml"];
        run(&world, &PROMOTE).exits(0);
        fake.store().merge(1);
        let answer = Fault::Instead(error(status, "no"));
        fake.fault(("POST", "/deploy.yml/dispatches"), 1, answer);
        let ran = run(&world, &["wait", "--pr", "1"]).exits(exit);
        let named = "starting the workflow deploy.yml";
        assert!(ran.stderr.contains(named), "{}", ran.stderr);
        assert_eq!(
            json(&world, &["wait", "--pr", "1"], 0)["dispatched"],
            json!(["deploy.yml"]),
            "{kind:?}"
        );
    }
}

/// Forges respond with 204. Another success is from a proxy, which may have forwarded the request.
#[test]
fn response_other_than_204_is_unknown() {
    for kind in [Kind::Github, Kind::Forgejo] {
        for status in [200, 201, 202] {
            let (world, fake) = hosted(kind, "dispatch: [deploy.yml]");
            fake.store().version = "8.0.1+gitea-1.22.0";
            fake.store().workflows_there = vec!["deploy.yml"];
            run(&world, &PROMOTE).exits(0);
            fake.store().merge(1);
            let answer = Fault::Instead(fakes::Reply::json(status, json!({})));
            fake.fault(("POST", "/deploy.yml/dispatches"), 1, answer);
            let ran = run(&world, &["wait", "--pr", "1", "--format", "json"]).exits(3);
            assert_eq!(ran.json()["dispatched"], json!([]), "{kind:?} {status}");
            let said = "check whether deploy.yml was started";
            assert!(ran.stderr.contains(said), "{}", ran.stderr);
            // The mark stays: no later run starts it a second time.
            let again = json(&world, &["wait", "--pr", "1"], 0);
            assert_eq!(again["dispatched"], json!([]), "{kind:?} {status}");
            assert_eq!(fake.store().dispatched, [], "{kind:?} {status}");
        }
    }
}

#[test]
fn four_waiting_runs_start_one_workflow() {
    for kind in [Kind::Github, Kind::Forgejo] {
        let (world, fake) = hosted(kind, "dispatch: [deploy.yml]");
        fake.store().version = "8.0.1+gitea-1.22.0";
        fake.store().workflows_there = vec!["deploy.yml"];
        run(&world, &PROMOTE).exits(0);
        // Each of the four has polled once before the merge.
        fake.when(5, |store| drop(store.merge(1)));
        let args = ["wait", "--pr", "1", "--timeout", "1m", "--format", "json"];
        let start = |_| {
            let mut command = world.command(&args);
            command
                .env("REPIN_FORGE_TOKEN", TOKEN)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let runs: Vec<_> = (0..4).map(start).collect();
        let mut started = 0;
        for run in runs {
            let output = run.wait_with_output().unwrap();
            assert_eq!(
                output.status.code(),
                Some(0),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            let document: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(document["state"], "merged");
            started += document["dispatched"].as_array().unwrap().len();
        }
        assert_eq!((started, fake.store().dispatched.len()), (1, 1), "{kind:?}");
    }
}

const BRING: [&str; 6] = ["branch", "promote", "--from", "staging", "--to", "main"];

#[test]
fn staging_is_promoted_by_one_merged_pull_request() {
    // On GitLab, a branch requires pipelines, not contexts.
    for kind in [Kind::Github, Kind::Gitea] {
        let (world, fake) = hosted(
            kind,
            "auto_merge: true, labels: [ci], sync_targets: [staging]",
        );
        requires(&fake, &["ci"]);
        let work = fake
            .store()
            .push("staging", "new `work` by @ada\n\nmore", &[("x", "y")]);
        let document = json(&world, &BRING, 0);
        assert_eq!(
            keys(&document),
            [
                "action",
                "commit",
                "from",
                "pull_request",
                "schema",
                "state",
                "to"
            ]
        );
        assert_eq!(
            (&document["state"], &document["pull_request"]),
            (&json!("planned"), &Value::Null),
            "{kind:?}"
        );
        assert_eq!(fake.writes(), [] as [String; 0]);

        let apply = [&BRING[..], &["--apply"]].concat();
        fake.store().report("ci", "failure");
        let ran = run(&world, &apply).exits(1);
        assert!(
            ran.stderr.contains("ci fail https://ci.example/"),
            "{}",
            ran.stderr
        );
        assert_eq!(fake.writes(), [] as [String; 0]);
        fake.store().report("ci", "pending");
        let document = json(&world, &apply, 0);
        assert_eq!(
            (&document["schema"], &document["action"]),
            (&json!("repin.branch/1"), &json!("promote"))
        );
        assert_eq!(
            (&document["state"], &document["commit"]),
            (&json!("scheduled"), &json!(work))
        );
        assert_eq!(document["pull_request"]["state"], "created");
        let body = fake.store().pulls[0].body.clone();
        assert!(
            body.contains("- `` new `work` by @ada ``") && !body.contains("more"),
            "{body}"
        );
        assert_eq!(fake.store().pulls[0].labels, ["ci"]);

        let again = json(&world, &apply, 0);
        assert_eq!(
            (&again["state"], &again["pull_request"]["state"]),
            (&json!("scheduled"), &json!("unchanged"))
        );
        assert_eq!(fake.store().pulls.len(), 1);
        fake.store().report("ci", "success");
        let number = document["pull_request"]["number"].to_string();
        assert_eq!(
            json(&world, &["wait", "--pr", &number], 0)["state"],
            "merged"
        );
        assert_eq!(fake.store().content("main", "x"), "y");
        assert_eq!(json(&world, &apply, 0)["state"], "in_sync");
    }
}

#[test]
fn wait_arms_only_with_auto_merge() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind, "gates: [ci]");
        fake.store().push("staging", "work", &[("x", "y")]);
        let document = json(&world, &[&BRING[..], &["--dry-run", "false"]].concat(), 0);
        assert_eq!(document["state"], "open", "{kind:?}");
        assert_eq!(fake.store().scheduled, []);
        fake.store().close(1);

        let (world, fake) = hosted(
            kind,
            "gates: [ci], auto_merge: true, sync_targets: [staging]",
        );
        fake.store().push("staging", "work", &[("x", "y")]);
        let ran = run(&world, &[&BRING[..], &["--apply"]].concat()).exits(0);
        assert!(
            ran.stderr.contains("`repin wait --pr 1` schedules it"),
            "{}",
            ran.stderr
        );
        let number = fake.store().pulls[0].number.to_string();
        fake.when(2, |store| store.report("ci", "success"));
        let document = json(&world, &["wait", "--pr", &number, "--timeout", "1m"], 0);
        assert_eq!(document["state"], "merged", "{kind:?}");
    }
}

#[test]
fn branches_that_can_not_be_are_refused() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind, "labels: []");
        for (from, to) in [
            ("main", "main"),
            ("-x", "main"),
            ("a b", "main"),
            ("nowhere", "main"),
            ("main", "nowhere"),
        ] {
            let args = [
                "branch",
                "promote",
                &format!("--from={from}"),
                &format!("--to={to}"),
                "--apply",
            ];
            assert_eq!(
                json(&world, &args, 2)["errors"][0]["code"],
                "usage",
                "{kind:?} {from} {to}"
            );
        }
        fake.store().push("staging", "work", &[("x", "y")]);
        fake.store().push = Some(false);
        assert_eq!(
            json(&world, &[&BRING[..], &["--apply"]].concat(), 4)["errors"][0]["code"],
            "denied"
        );
        let env = [("REPIN_FORGE_TOKEN", TOKEN), ("REPIN_DRY_RUN", "")];
        world
            .run_with(&[&BRING[..], &["--apply"]].concat(), &env)
            .exits(0);
        assert_eq!(fake.writes(), [] as [String; 0]);
    }
}

#[test]
fn four_runs_at_once_open_one_pull_request() {
    for kind in FORGES {
        let (world, fake) = hosted(kind, "labels: []");
        fake.store().push("staging", "work", &[("x", "y")]);
        let args = [&BRING[..], &["--apply"]].concat();
        let start = |_| {
            world
                .command(&args)
                .env("REPIN_FORGE_TOKEN", TOKEN)
                .stderr(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let runs: Vec<_> = (0..4).map(start).collect();
        for run in runs {
            let output = run.wait_with_output().unwrap();
            assert_eq!(
                output.status.code(),
                Some(0),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        assert_eq!(fake.store().pulls.len(), 1, "{kind:?}");
    }
}
