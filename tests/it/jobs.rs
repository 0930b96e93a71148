//! What one job of a pipeline hands to the next: outputs of steps, gates that are pending, failed gates, the right to
//! push, a promotion that waits for its merge, started workflows, and deleted branches.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use crate::{
    github::outputs,
    support::{
        forge::{Fake, Fault, Kind, TOKEN, error},
        hosted::{
            DISPATCHING, FORGES, PROMOTE, SERVERS, document, hosted, on_servers, run, run_with,
        },
        sweep::one_of,
        world::{REV_A, REV_B, Ran, World},
    },
    sync::{SYNC, repository},
};

/// Runs with the forge's token in a step of a workflow; returns the outputs of the step.
fn step(world: &World, args: &[&str], exit: i32) -> (Ran, BTreeMap<String, String>) {
    step_with(world, args, &[("REPIN_FORGE_TOKEN", TOKEN)], exit)
}

fn step_with(
    world: &World,
    args: &[&str],
    env: &[(&str, &str)],
    exit: i32,
) -> (Ran, BTreeMap<String, String>) {
    let out = world.path("step-output");
    fs::write(&out, "").unwrap();
    let args = [args, &["--format", "github"]].concat();
    let env = [env, &[("GITHUB_OUTPUT", out.to_str().unwrap())]].concat();
    let ran = run_with(world, &args, &env).exits(exit);
    let outputs = outputs(&world.read("step-output"));
    (ran, outputs)
}

const GATES: [&str; 3] = ["gates", "--ref", "main"];
const SKIP: [&str; 5] = ["gates", "--ref", "main", "--pending", "skip"];

#[test]
fn state_of_gates_is_an_output() {
    for kind in FORGES {
        let (world, fake) = hosted(kind, "gates: [ci, lint]");
        let state = |args: &[&str], exit| {
            let (ran, outputs) = step(&world, args, exit);
            assert_eq!(outputs.len(), 1, "{outputs:?}");
            (ran, outputs["state"].clone())
        };
        // A gate that never reports is never reported as pending.
        for args in [&GATES[..], &SKIP] {
            assert_eq!(state(args, 1).1, "fail", "{kind:?}");
        }
        fake.store().report("ci", "success");
        fake.store().report("lint", "pending");
        assert_eq!(state(&GATES, 3).1, "pending");
        let (ran, pending) = state(&SKIP, 0);
        assert_eq!(pending, "pending");
        assert!(
            ran.stdout.contains("::notice title=lint::pending")
                && !ran.stdout.contains("::error")
                && ran.stderr.contains("this run decides nothing"),
            "{}{}",
            ran.stdout,
            ran.stderr
        );
        assert_eq!(document(&world, &SKIP, 0)["state"], "pending");
        fake.store().report("ci", "failure");
        let (ran, failed) = state(&SKIP, 1);
        assert_eq!(failed, "fail");
        assert!(ran.stdout.contains("::error title=ci::"), "{}", ran.stdout);
        fake.store().report("ci", "success");
        fake.store().report("lint", "success");
        assert_eq!(state(&SKIP, 0).1, "pass");
        let args = [&SKIP[..], &["--if-unconfigured", "skip"]].concat();
        assert_eq!(step_with(&world, &args, &[], 0).1["state"], "skipped");
    }
}

#[test]
fn failed_gate_may_be_left_to_a_reviewer() {
    for kind in one_of(FORGES) {
        let settings = "auto_merge: true, gates: [ci], sync_targets: [staging]";
        let (world, fake) = hosted(kind, settings);
        fake.store().push("staging", "work", &[("x", "y")]);
        fake.store().report("ci", "failure");
        let promote = ["branch", "promote", "--from", "staging", "--to", "main"];
        let blocked = document(&world, &[&promote[..], &["--apply"]].concat(), 1);
        assert_eq!(blocked["state"], "blocked", "{kind:?}");
        let allowed = [&promote[..], &["--allow-failed-gates"]].concat();
        assert_eq!(document(&world, &allowed, 0)["state"], "planned");
        assert_eq!(fake.writes(), [] as [String; 0]);
        let apply = [&allowed[..], &["--apply"]].concat();
        let opened = document(&world, &apply, 0);
        assert_eq!(opened["state"], "open", "{kind:?}");
        assert_eq!(opened["pull_request"]["state"], "created");
        let body = fake.store().pulls[0].body.clone();
        let shown = "- `ci`: fail, <https://ci.example/";
        assert!(
            body.contains(shown) && body.contains("was not requested"),
            "{body}"
        );
        assert_eq!(fake.store().scheduled, []);
        // A merge that was scheduled before the gate failed is canceled.
        let head = fake.store().refs["staging"].clone();
        let number = fake.store().pulls[0].number;
        fake.store().scheduled.push((number, head));
        assert_eq!(document(&world, &apply, 0)["state"], "open", "{kind:?}");
        assert_eq!(fake.store().scheduled, []);
        // Once the gate passes, the next run requests the merge.
        fake.store().report("ci", "success");
        assert_eq!(document(&world, &apply, 0)["state"], "merged", "{kind:?}");
    }
}

/// Gives pushes another address, at which the key of the user is refused.
fn deny_pushes(world: &World) {
    world.git(&[
        "remote",
        "set-url",
        "--push",
        "origin",
        "ssh://git.invalid/x",
    ]);
    let ssh = "echo 'git@git.invalid: Permission denied (publickey).' >&2; exit 255; #";
    world.git(&["config", "core.sshCommand", ssh]);
}

#[test]
fn dry_run_of_sync_tests_the_right_to_push() {
    let world = repository();
    for expected in ["in_sync", "planned"] {
        let planned = world.run(&[&SYNC[..], &["--format", "json"]].concat());
        assert_eq!(planned.exits(0).json()["state"], expected);
        deny_pushes(&world);
        let ran = world.run(&[&SYNC[..], &["--format", "json"]].concat());
        let denied = ran.exits(4).json();
        let error = &denied["errors"][0];
        assert_eq!(error["code"], "denied");
        assert!(
            error["hint"].as_str().unwrap().contains("contents: write"),
            "{denied}"
        );
        world.git(&["config", "--unset", "remote.origin.pushurl"]);
        world.commit("a change of main");
        world.push();
    }
}

#[test]
fn doctor_tests_the_right_to_push() {
    let world = repository();
    let line = |exit: &[i32]| -> Value {
        let ran = world.run(&["doctor", "--format", "json"]);
        assert!(exit.contains(&ran.code), "{}", ran.stdout);
        let rows = ran.json()["checks"].as_array().unwrap().clone();
        let mut rows = rows.into_iter();
        rows.find(|row| row["code"] == "sync_push").unwrap()
    };
    let row = line(&[2, 4]);
    assert_eq!(row["status"], "pass", "{row}");
    assert!(row["detail"].as_str().unwrap().contains("staging"), "{row}");
    let before = world.git(&["--git-dir=origin.git", "for-each-ref"]);
    deny_pushes(&world);
    let row = line(&[2, 4]);
    assert_eq!(row["status"], "fail", "{row}");
    assert!(
        row["hint"].as_str().unwrap().contains("contents: write"),
        "{row}"
    );
    world.git(&["config", "--unset", "remote.origin.pushurl"]);
    world.replace("repin.yaml", "[staging]", "[staging, nowhere]");
    let row = line(&[2]);
    assert_eq!(row["status"], "fail", "{row}");
    assert!(row["detail"].as_str().unwrap().contains("nowhere"), "{row}");
    world.replace("repin.yaml", "[staging, nowhere]", "[]");
    assert_eq!(line(&[2, 4])["status"], "skip");
    assert_eq!(world.git(&["--git-dir=origin.git", "for-each-ref"]), before);
}

const DISPATCH: &str = "dispatch: [ci.yml, { workflow: deploy.yml, when: always }]";
const WAIT: [&str; 5] = ["wait", "--pr", "1", "--timeout", "1m"];

fn with_workflows(kind: Kind, settings: &str) -> (World, Fake) {
    let (world, fake) = hosted(kind, settings);
    fake.store().workflows_there = vec!["ci.yml", "deploy.yml"];
    run(&world, &PROMOTE).exits(0);
    (world, fake)
}

#[test]
fn workflow_starts_only_if_the_merge_starts_none() {
    for (kind, merger, is_run) in [
        (Kind::Github, "github-actions[bot]", true),
        (Kind::Github, "ada", false),
        (Kind::Github, "some-app[bot]", false),
        (Kind::Gitea, "gitea-actions", true),
        (Kind::Gitea, "Ghost", true),
        (Kind::Gitea, "ada", false),
        (Kind::Forgejo, "forgejo-actions", true),
        (Kind::Forgejo, "ada", false),
    ] {
        let (world, fake) = with_workflows(kind, DISPATCH);
        fake.store().merger = merger;
        fake.store().merge(1);
        let args = [&WAIT[..], &["--format", "json"]].concat();
        let ran = run(&world, &args).exits(0);
        let expected = if is_run {
            json!(["ci.yml", "deploy.yml"])
        } else {
            json!(["deploy.yml"])
        };
        assert_eq!(ran.json()["dispatched"], expected, "{kind:?} {merger}");
        let says = if is_run {
            format!("token of a workflow run ({merger}), which starts no workflow: starting ci.yml")
        } else {
            format!("ci.yml need not be started: {merger} merged pull request #1")
        };
        assert!(ran.stderr.contains(&says), "{kind:?} {}", ran.stderr);
    }
}

#[test]
fn unknown_merger_starts_nothing_and_warns() {
    // GitLab starts no workflows.
    for kind in [Kind::Github, Kind::Gitea] {
        let (world, fake) = with_workflows(kind, "dispatch: [ci.yml]");
        fake.store().merger = "";
        fake.store().merge(1);
        let ran = run(&world, &WAIT).exits(0);
        assert!(
            ran.stderr.contains("warning: ci.yml was not started")
                && ran.stderr.contains("when: always"),
            "{}",
            ran.stderr
        );
        assert_eq!(fake.store().dispatched, []);
    }
}

#[test]
fn workflow_that_must_start_needs_a_server_that_can() {
    let (world, fake) = with_workflows(Kind::Gitea, DISPATCH);
    fake.store().version = "1.23.0";
    let ran = run(&world, &WAIT).exits(1);
    assert!(
        ran.stderr
            .contains("deploy.yml is started after every merge")
            && ran.stderr.contains("1.23.0 cannot start workflows"),
        "{}",
        ran.stderr
    );
}

/// A promotion to B that waits; the gate passes when the pull request is read for the `reads`th time.
fn waited(kind: Kind, reads: usize, arg: &str) -> (World, Fake, Ran, BTreeMap<String, String>) {
    let settings = "auto_merge: true, gates: [ci], dispatch: [deploy.yml]";
    let (world, fake) = hosted(kind, settings);
    fake.store().workflows_there = vec!["deploy.yml"];
    fake.store().required = vec!["ci".to_owned()];
    fake.store().report("ci", "pending");
    fake.when(reads, |store| store.report("ci", "success"));
    let (ran, outputs) = step(&world, &[&PROMOTE[..], &[arg]].concat(), 0);
    (world, fake, ran, outputs)
}

#[test]
fn one_run_opens_waits_and_starts_workflows() {
    for kind in DISPATCHING {
        let (_world, fake, ran, outputs) = waited(kind, 4, "--wait");
        let store = fake.store();
        assert_eq!(outputs["pull-request"], "1", "{kind:?}");
        assert!(
            outputs["pull-request-url"].starts_with("https://"),
            "{outputs:?}"
        );
        assert_eq!(outputs["pull-request-state"], "merged", "{kind:?}");
        assert_eq!(outputs["merge-commit"], store.refs["main"], "{kind:?}");
        assert_eq!(store.dispatched.len(), 1, "{kind:?}");
        assert!(
            ran.stderr
                .contains("waiting for the merge of pull request #1 (https://")
                && ran.stderr.contains("#1 merged as ")
                && ran.stderr.contains("started deploy.yml"),
            "{}",
            ran.stderr
        );
        let branches = store
            .refs
            .keys()
            .filter(|name| name.starts_with("repin/promote-"));
        assert_eq!(branches.count(), 0, "{kind:?}");
    }
}

#[test]
fn waiting_promotion_has_the_exit_codes_of_wait() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind, "labels: []");
        let late = [&PROMOTE[..], &["--wait=0s"]].concat();
        let ran = document(&world, &late, 3);
        assert_eq!(ran["wait"]["state"], "open", "{kind:?}");
        assert_eq!(ran["pull_request"]["state"], "created");
        assert!(
            ran["error"]["hint"]
                .as_str()
                .unwrap()
                .contains("longer --wait"),
            "{ran}"
        );
        let (_, outputs) = step(&world, &late, 3);
        assert_eq!(outputs["pull-request-state"], "open", "{kind:?}");
        fake.when(2, |store| store.close(1));
        let (_, outputs) = step(&world, &[&PROMOTE[..], &["--wait=1m"]].concat(), 1);
        assert_eq!(outputs["pull-request-state"], "closed", "{kind:?}");
        assert_eq!(outputs["merge-commit"], "");
        // A rehearsal opens nothing, and has nothing to wait for.
        let dry = [&PROMOTE[..], &["--wait", "--dry-run", "true"]].concat();
        fake.forget();
        assert!(document(&world, &dry, 0).get("wait").is_none());
        assert_eq!(fake.writes(), [] as [String; 0]);
    }
    let (world, _fake) = hosted(Kind::Github, "labels: []");
    for wrong in [
        &["promote", "--revision", REV_B, "--wait"][..],
        &["promote", "--revision", REV_B, "--apply", "--wait=5m"],
        &["rollback", "--to", REV_A, "--wait"],
        &[
            "promote",
            "--revision",
            REV_B,
            "--pr",
            "ready",
            "--wait=soon",
        ],
        &[
            "branch", "promote", "--from", "staging", "--to", "main", "--wait",
        ],
    ] {
        run(&world, wrong).exits(2);
    }
}

#[test]
fn promotion_of_a_branch_waits_for_its_merge() {
    // GitLab starts no workflows.
    for kind in [Kind::Github, Kind::Gitea] {
        let settings =
            "auto_merge: true, gates: [ci], sync_targets: [staging], dispatch: [deploy.yml]";
        let (world, fake) = hosted(kind, settings);
        fake.store().workflows_there = vec!["deploy.yml"];
        fake.store().push("staging", "work", &[("x", "y")]);
        let promote = ["branch", "promote", "--from", "staging", "--to", "main"];
        let (_, outputs) = step(&world, &promote, 0);
        assert_eq!(outputs["pull-request"], "", "{kind:?}");
        fake.when(2, |store| store.report("ci", "success"));
        let args = [&promote[..], &["--apply", "--wait=1m"]].concat();
        let (ran, outputs) = step(&world, &args, 0);
        assert_eq!(
            outputs["pull-request"],
            fake.store().pulls[0].number.to_string()
        );
        assert_eq!(
            outputs["pull-request-state"], "merged",
            "{kind:?} {}",
            ran.stderr
        );
        assert_eq!(outputs["merge-commit"], fake.store().refs["main"]);
        assert!(ran.stdout.contains("is merged"), "{}", ran.stdout);
        assert_eq!(fake.store().dispatched.len(), 1);
        // A branch that repin did not make stays.
        assert!(fake.store().refs.contains_key("staging"), "{kind:?}");
    }
}

#[test]
fn wait_writes_the_pull_request() {
    for kind in FORGES {
        let (world, fake) = hosted(kind, "labels: []");
        run(&world, &PROMOTE).exits(0);
        let look = ["wait", "--pr", "1", "--timeout", "0s"];
        let (_, outputs) = step(&world, &look, 3);
        assert_eq!(outputs["pull-request-state"], "open", "{kind:?}");
        assert!(
            outputs["pull-request-url"].starts_with("https://"),
            "{outputs:?}"
        );
        let skip = [&look[..], &["--if-unconfigured", "skip"]].concat();
        let (_, outputs) = step_with(&world, &skip, &[], 0);
        assert_eq!(outputs["pull-request-state"], "skipped");
        fake.store().merge(1);
        let (_, outputs) = step(&world, &look, 0);
        assert_eq!(
            (&*outputs["pull-request"], &*outputs["pull-request-state"]),
            ("1", "merged")
        );
        assert_eq!(outputs["merge-commit"], fake.store().refs["main"]);
    }
}

/// Whether the branch of the first pull request exists.
fn has_branch(fake: &Fake) -> bool {
    let store = fake.store();
    store.refs.contains_key(&store.pulls[0].head)
}

/// The branch of the first pull request is deleted only in the case `merged`.
fn only_merged_is_deleted(fake: &Fake, case: &str, ran: &Ran) -> bool {
    let is_deleted = case == "merged";
    let says = &ran.stderr;
    assert_eq!(has_branch(fake), !is_deleted, "{case}: {says}");
    is_deleted
}

#[test]
fn wait_deletes_only_the_merged_branch_of_repin() {
    for kind in one_of(SERVERS) {
        let (world, fake) = hosted(kind, "labels: []");
        run(&world, &PROMOTE).exits(0);
        let branch = fake.store().pulls[0].head.clone();
        let head = fake.store().refs[&branch].clone();
        let wait = |case: &str, args: &[&str], exit: i32| {
            let ran = run(&world, &[&WAIT[..], args].concat()).exits(exit);
            let is_deleted = only_merged_is_deleted(&fake, case, &ran);
            let says = format!("the branch {branch} was deleted");
            assert_eq!(
                ran.stderr.contains(&says),
                is_deleted,
                "{kind:?} {case}: {}",
                ran.stderr
            );
        };
        fake.store().close(1);
        wait("closed", &[], 1);
        {
            let mut store = fake.store();
            let pull = store.pull_mut(1).unwrap();
            (pull.open, pull.closed_at) = (true, None);
            store.merge(1);
        }
        wait("rehearsal", &["--dry-run", "true"], 0);
        world.replace("repin.yaml", "labels: []", "delete_branch: false");
        wait("kept", &[], 0);
        world.replace("repin.yaml", "delete_branch: false", "labels: []");
        {
            let mut store = fake.store();
            store.push("topic", "work", &[("x", "y")]);
            let mut other = store.pulls[0].clone();
            (other.number, other.open, other.merged) = (99, true, None);
            (other.head, other.base) = ("topic".to_owned(), branch.clone());
            store.pulls.push(other);
        }
        wait("used", &[], 0);
        fake.store().pulls.pop();
        fake.store().push(&branch, "a person's work", &[("x", "y")]);
        wait("moved", &[], 0);
        fake.store().refs.insert(branch.clone(), head);
        wait("merged", &[], 0);
        // A branch elsewhere may be anyone's.
        let (world, fake) = hosted(kind, "labels: []");
        let text = world.read("repin.yaml") + "promote: { branch: 'work/{revision}' }\n";
        fake.store()
            .push("main", "other branches", &[("repin.yaml", &text)]);
        world.write("repin.yaml", text);
        run(&world, &PROMOTE).exits(0);
        fake.store().merge(1);
        run(&world, &WAIT).exits(0);
        assert!(has_branch(&fake), "{kind:?}");
    }
}

#[test]
fn refused_deletion_only_warns() {
    let (world, fake) = hosted(Kind::Github, "labels: []");
    run(&world, &PROMOTE).exits(0);
    fake.store().merge(1);
    fake.store().github.protected = vec!["repin/"];
    let ran = run(&world, &WAIT).exits(0);
    assert!(
        ran.stderr.contains("was not deleted") && ran.stderr.contains("GH006"),
        "{}",
        ran.stderr
    );
    assert!(has_branch(&fake));
    // The answer of the server is lost.
    fake.store().github.protected.clear();
    let lost = Fault::Instead(error(502, "Bad Gateway"));
    fake.fault(("POST", "/git-receive-pack"), 99, lost);
    let ran = run(&world, &WAIT).exits(0);
    assert!(ran.stderr.contains("was not deleted"), "{}", ran.stderr);
}

#[test]
fn next_promotion_deletes_the_branches_of_earlier_ones() {
    let cases = ["merged", "kept", "moved", "closed", "text", "used", "fork"];
    for (kind, case) in on_servers(&cases) {
        let settings = if case == "kept" {
            "delete_branch: false"
        } else {
            "labels: []"
        };
        let (world, fake) = hosted(kind, settings);
        run(&world, &PROMOTE).exits(0);
        let branch = fake.store().pulls[0].head.clone();
        fake.store().merge(1);
        // The branch of another set with a merged pull request, and one that a person made there.
        let other = format!("repin/other/promote-{REV_A}");
        {
            let mut store = fake.store();
            store.push(&other, "another set", &[("x", "y")]);
            store.push("repin/mine", "mine", &[("x", "z")]);
            let mut pull = store.pulls[0].clone();
            (pull.number, pull.head) = (98, other.clone());
            store.pulls.push(pull);
            let mut pull = store.pulls[0].clone();
            (pull.number, pull.open, pull.merged) = (99, true, None);
            match case {
                "moved" => drop(store.push(&branch, "a person's work", &[("x", "y")])),
                // Somebody merged the same change in another way.
                "closed" => store.pulls[0].merged = None,
                "text" => "by hand".clone_into(&mut store.pulls[0].body),
                "used" => {
                    store.push("topic", "work", &[("x", "y")]);
                    (pull.head, pull.base) = ("topic".to_owned(), branch.clone());
                    store.pulls.push(pull);
                }
                "fork" => {
                    "fork/flows".clone_into(&mut pull.head_repo);
                    store.pulls.push(pull);
                }
                _ => {}
            }
        }
        let back = [
            "promote",
            "--revision",
            REV_A,
            "--allow-older",
            "--pr",
            "ready",
        ];
        let ran = run(&world, &back).exits(0);
        let case = if case == "fork" { "merged" } else { case };
        only_merged_is_deleted(&fake, case, &ran);
        let is_reported = ran.stderr.contains(&branch);
        assert_eq!(is_reported, case == "merged", "{case}: {}", ran.stderr);
        let store = fake.store();
        assert!(store.refs.contains_key(&other) && store.refs.contains_key("repin/mine"));
        let last = store.pulls.last().unwrap();
        assert!(last.open && last.head.contains(REV_A), "{kind:?} {case}");
    }
}

/// The requests to the API, without those of git.
fn requests_of_api(fake: &Fake) -> usize {
    let asked = fake.asked();
    let of_api = asked.iter().filter(|line| !line.contains(".git/"));
    of_api.count()
}

#[test]
fn earlier_branches_cost_requests_only_if_they_exist() {
    let (world, fake) = hosted(Kind::Github, "labels: []");
    let promote = [&PROMOTE[..], &["--allow-older"]].concat();
    run(&world, &promote).exits(0);
    assert!(requests_of_api(&fake) <= 4, "{:#?}", fake.asked());
    fake.forget();
    run(&world, &promote).exits(0);
    assert!(requests_of_api(&fake) <= 2, "{:#?}", fake.asked());
    fake.store().merge(1);
    fake.forget();
    let back = [&promote[..2], &[REV_A], &promote[3..]].concat();
    run(&world, &back).exits(0);
    // The list of the open pull requests, and the merged one of the branch.
    assert!(requests_of_api(&fake) <= 6, "{:#?}", fake.asked());
    assert!(!has_branch(&fake));
}

#[test]
fn opened_pull_request_is_reported_after_an_error() {
    let (world, fake) = hosted(Kind::Github, "sync_targets: [staging]");
    fake.store().push("staging", "work", &[("x", "y")]);
    let promote = [
        "branch",
        "promote",
        "--from",
        "staging",
        "--to",
        "main",
        "--apply",
        "--wait=1m",
    ];
    // Outputs that cannot be written are noticed first.
    let env = [
        ("REPIN_FORGE_TOKEN", TOKEN),
        ("GITHUB_OUTPUT", world.root().to_str().unwrap()),
    ];
    let github = [&promote[..], &["--format", "github"]].concat();
    run_with(&world, &github, &env).exits(3);
    assert_eq!(fake.writes(), [] as [String; 0]);
    let refused = Fault::Instead(error(403, "Forbidden"));
    fake.fault(("GET", "/pulls/1"), 99, refused.clone());
    let (_, outputs) = step(&world, &promote, 4);
    let pull = |name: &str| outputs[name].as_str();
    assert_eq!(pull("pull-request"), "1");
    assert_eq!(pull("pull-request-state"), "unknown");
    assert!(pull("pull-request-url").starts_with("https://"));
    fake.fault(("GET", "/pulls/1"), 99, refused);
    let document = document(&world, &promote, 4);
    assert_eq!(document["pull_request"]["number"], 1, "{document}");
}

#[test]
fn skipped_runs_write_the_same_state() {
    let (world, _fake) = hosted(Kind::Github, "labels: []");
    let revision = ["promote", "--revision", REV_B, "--pr", "ready"];
    let back = ["rollback", "--to", REV_A, "--pr", "ready"];
    let branch = ["branch", "promote", "--from", "staging", "--to", "main"];
    let wait = ["wait", "--pr", "1"];
    for args in [&revision[..], &back, &branch, &wait] {
        let args = [args, &["--if-unconfigured", "skip"]].concat();
        let (_, outputs) = step_with(&world, &args, &[], 0);
        assert_eq!(outputs["pull-request-state"], "skipped", "{args:?}");
        assert_eq!(outputs["pull-request-url"], "", "{args:?}");
    }
}
