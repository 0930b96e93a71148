//! The differences between versions of Gitea and Forgejo that real servers showed, as whole runs.

use std::{
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{
    forge::{
        self as fakes, Fake, Fault, Kind, TOKEN, When,
        gitea::{FORGEJO, GITEA, GITEA_1_25},
    },
    hosted::{A, PROMOTE, WAIT, hosted, promote, run},
    sweep::{one_of, sample, with_each},
    world::{REV_B, World},
};

/// The servers that races and interruptions were tried on.
const SERVERS: [&str; 4] = ["1.23.8", GITEA_1_25, GITEA, FORGEJO];

const REOPEN: [&str; 8] = [
    "promote",
    "--revision",
    REV_B,
    "--pr",
    "ready",
    "--reopen",
    "--format",
    "json",
];

/// A world on a server of this version.
fn on(version: &'static str, settings: &str) -> (World, Fake) {
    let kind = if version.contains("+gitea") {
        Kind::Forgejo
    } else {
        Kind::Gitea
    };
    let (world, fake) = hosted(kind, settings);
    fake.store().version = version;
    (world, fake)
}

fn promoted(world: &World, exit: i32) -> Value {
    run(world, &promote(REV_B)).exits(exit).json()
}

/// The errors of a document.
fn messages(document: &Value) -> String {
    format!("{} {}", document["error"], document["errors"])
}

fn state(document: &Value) -> &str {
    document["pull_request"]["state"].as_str().unwrap()
}

fn started(world: &World, args: &[&str]) -> Child {
    let mut command = world.command(args);
    let command = command.env("REPIN_FORGE_TOKEN", TOKEN);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn ended(child: Child, case: &str) -> Value {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{case} {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Another process changes a pinned file on the base branch.
fn rival(fake: &Fake) {
    let text = fake.store().content("main", A) + "\nmore: lines\n";
    fake.store().push("main", "another change", &[(A, &text)]);
}

/// One open pull request without a notice, which shows its branch with a commit on the base's
/// head.
fn is_whole(fake: &Fake, case: &str) {
    let mut store = fake.store();
    fakes::gitea::drain(&mut store);
    let open = store.open_pulls();
    assert_eq!(open.len(), 1, "{case}: {:?}", store.pulls);
    let head = &store.refs[&open[0].head];
    let base = std::slice::from_ref(&store.refs["main"]);
    assert_eq!(store.commit(head).parents, base, "{case}");
    assert!(!open[0].body.contains("moving"), "{case}: {}", open[0].body);
    let number = open[0].number;
    assert_eq!(store.gitea.shown.get(&number), Some(head), "{case}");
    assert!(store.gitea.checked.contains(&number), "{case}");
}

#[test]
fn branch_is_updated_on_every_version() {
    for version in SERVERS {
        let (world, fake) = on(version, "");
        let first = promoted(&world, 0);
        rival(&fake);
        let again = promoted(&world, 0);
        assert_eq!(state(&again), "updated", "{version}");
        let number = |document: &Value| document["pull_request"]["number"].clone();
        assert_eq!(number(&again), number(&first), "{version}");
        is_whole(&fake, version);
        assert_eq!(state(&promoted(&world, 0)), "unchanged", "{version}");
    }
}

#[test]
fn losers_of_race_for_new_branch_succeed() {
    for (version, admin) in with_each(&[true, false], &SERVERS) {
        let case = format!("{version} {admin}");
        let (world, fake) = on(version, "");
        fake.store().gitea.admin = admin;
        let children: Vec<_> = (0..4).map(|_| started(&world, &promote(REV_B))).collect();
        for child in children {
            assert_eq!(ended(child, &case)["pull_request"]["number"], 1, "{case}");
        }
        is_whole(&fake, &case);
    }
}

#[test]
fn losers_of_race_for_rebuilt_branch_succeed() {
    // The text of a 500 is visible to administrators only.
    let cases = vec![
        ("1.23.8", false),
        (GITEA_1_25, true),
        (GITEA_1_25, false),
        (GITEA, false),
        (FORGEJO, true),
        (FORGEJO, false),
    ];
    for (version, admin) in sample(cases, 3) {
        let case = format!("{version} {admin}");
        let (world, fake) = on(version, "");
        promoted(&world, 0);
        rival(&fake);
        fake.store().gitea.admin = admin;
        let children: Vec<_> = (0..3).map(|_| started(&world, &promote(REV_B))).collect();
        for child in children {
            assert_eq!(ended(child, &case)["pull_request"]["number"], 1, "{case}");
        }
        is_whole(&fake, &case);
    }
}

#[test]
fn losers_of_race_for_dispatch_succeed() {
    for version in [GITEA_1_25, GITEA, FORGEJO] {
        for admin in [true, false] {
            let case = format!("{version} {admin}");
            let (world, fake) = on(version, "dispatch: [deploy.yml]");
            run(&world, &PROMOTE).exits(0);
            fake.store().workflows_there = vec!["deploy.yml"];
            fake.store().gitea.admin = admin;
            fake.store().merge(1);
            fake.meet("POST", "/contents", 2);
            let children: Vec<_> = (0..2).map(|_| started(&world, &WAIT)).collect();
            let dispatched = children
                .into_iter()
                .map(|child| ended(child, &case)["dispatched"].as_array().unwrap().len());
            assert_eq!(dispatched.sum::<usize>(), 1, "{case}");
            assert_eq!(fake.store().dispatched.len(), 1, "{case}");
        }
    }
}

/// The controls of the races: git's text about a nested branch, and a missing permission.
#[test]
fn refusals_that_look_like_races_are_reported() {
    for (is_nested, exit, help) in [
        (true, 1, "delete the existing branch"),
        (false, 4, "write:repository"),
    ] {
        let (world, fake) = on(GITEA, "");
        if is_nested {
            fake.store().push("repin", "a branch", &[("x", "y")]);
        } else {
            let text = "user should have a permission to write";
            let push = ("GET", "/info/refs?service=git-receive-pack");
            fake.fault(push, 9, Fault::Instead(fakes::error(403, text)));
        }
        let document = promoted(&world, exit);
        let messages = messages(&document);
        assert!(messages.contains(help), "{messages}");
        assert!(fake.writes().len() <= 1, "{is_nested}");
    }
}

/// Wherever a run that rebuilds a branch is killed, the next one finishes, without `--reopen`.
#[test]
fn killed_rebuild_is_finished_by_the_next_run() {
    let steps = [("PATCH", "/pulls/1"), ("POST", "/git-receive-pack")];
    for (version, (method, path)) in with_each(&steps, &[GITEA_1_25, GITEA, FORGEJO]) {
        let case = format!("{version} {method}");
        let (world, fake) = on(version, "");
        promoted(&world, 0);
        rival(&fake);
        killed_at(&world, &fake, 0, (method, path), Signal::KILL);
        fakes::gitea::drain(&mut fake.store());
        let again = promoted(&world, 0);
        assert_eq!(again["pull_request"]["number"], 1, "{case}");
        is_whole(&fake, &case);
    }
}

/// Forgejo stores the body of the request that reopens the pull request before its state.
#[test]
fn terminated_rebuild_is_finished_by_the_next_run() {
    for version in [GITEA_1_25, FORGEJO] {
        for at in [("PATCH", "/pulls/1"), ("POST", "/git-receive-pack")] {
            let case = format!("{version} {at:?}");
            let (world, fake) = on(version, "");
            promoted(&world, 0);
            rival(&fake);
            killed_at(&world, &fake, 0, at, Signal::TERM);
            fakes::gitea::drain(&mut fake.store());
            let again = promoted(&world, 0);
            assert_eq!(again["pull_request"]["number"], 1, "{case}");
            is_whole(&fake, &case);
        }
    }
}

/// Like [`killed`], by a signal in the middle of a later request of this kind.
fn killed_at(world: &World, fake: &Fake, skip: usize, at: (&'static str, &str), signal: Signal) {
    fake.forget();
    fake.fault_after(skip, at, 1, Fault::Cut);
    let mut child = started(world, &promote(REV_B));
    let end = Instant::now() + Duration::from_secs(60);
    let seen = || {
        let asked = fake.asked();
        let fits = |line: &&String| line.starts_with(at.0) && line.ends_with(at.1);
        asked.iter().filter(fits).count()
    };
    while seen() <= skip {
        assert!(Instant::now() < end, "{at:?} {:#?}", fake.asked());
        assert!(child.try_wait().unwrap().is_none(), "{at:?} {skip}");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The request is logged before it is carried out.
    std::thread::sleep(Duration::from_millis(50));
    kill_process(Pid::from_child(&child), signal).unwrap();
    child.wait().unwrap();
}

/// A pull request that a user closed stays closed, even after its branch was deleted.
#[test]
fn deleted_branch_needs_reopen_and_then_no_wait() {
    for version in one_of(SERVERS) {
        let (world, fake) = on(version, "");
        promoted(&world, 0);
        {
            let mut store = fake.store();
            let branch = store.pulls[0].head.clone();
            store.refs.remove(&branch);
            store.close(1);
        }
        let messages = messages(&promoted(&world, 1));
        assert!(messages.contains("--reopen"), "{version} {messages}");
        let begin = Instant::now();
        let document = run(&world, &REOPEN).exits(0).json();
        assert_eq!(document["pull_request"]["number"], 1, "{version}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{version}");
        is_whole(&fake, version);
    }
}

#[test]
fn outdated_pull_request_is_repaired() {
    for version in one_of(SERVERS) {
        let (world, fake) = on(version, "");
        promoted(&world, 0);
        fakes::gitea::drain(&mut fake.store());
        let old = fake.store().refs["main"].clone();
        fake.store().gitea.shown.insert(1, old);
        assert_eq!(state(&promoted(&world, 0)), "updated", "{version}");
        is_whole(&fake, version);
        assert_eq!(state(&promoted(&world, 0)), "unchanged", "{version}");
    }
}

/// The queue is slow: repin does not repair a delay.
#[test]
fn pull_request_that_follows_late_is_left() {
    let (world, fake) = on(GITEA, "");
    promoted(&world, 0);
    fakes::gitea::drain(&mut fake.store());
    let (old, head) = {
        let store = fake.store();
        (
            store.refs["main"].clone(),
            store.refs[&store.pulls[0].head].clone(),
        )
    };
    fake.store().gitea.shown.insert(1, old);
    fake.at(
        When::After,
        "GET",
        "/git/refs/pull/1/head",
        2,
        move |store| {
            store.gitea.shown.insert(1, head);
        },
    );
    fake.forget();
    assert_eq!(state(&promoted(&world, 0)), "unchanged");
    assert_eq!(fake.writes(), [""; 0]);
}

#[test]
fn unrelated_branch_is_refused_on_every_version() {
    for version in SERVERS {
        for admin in [true, false] {
            let (world, fake) = on(version, "");
            fake.store().gitea.admin = admin;
            let branch = promoted(&world, 0)["branch"].as_str().unwrap().to_owned();
            let orphan = fake.store().push_orphan(&branch, "mine", &[("x", "y")]);
            fake.forget();
            let begin = Instant::now();
            let messages = messages(&promoted(&world, 5));
            assert!(
                messages.contains(&orphan) && messages.contains(&branch),
                "{version} {messages}"
            );
            assert_eq!(fake.writes(), [""; 0], "{version}");
            assert!(begin.elapsed() < Duration::from_secs(5), "{version}");
        }
    }
}

// The simulated GitHub does not have this setting.
#[test]
fn disabled_pull_requests_are_reported_as_such() {
    for kind in [Kind::Gitea, Kind::Forgejo, Kind::Gitlab] {
        let (world, fake) = hosted(kind, "");
        run(&world, &PROMOTE).exits(0);
        fake.store().gitea.pull_requests = false;
        fake.store().gitlab.merge_requests = "disabled";
        fake.forget();
        for args in [&PROMOTE[..], &["status"], &["doctor"]] {
            let ran = run(&world, args).exits(4);
            let messages = format!("{}{}", ran.stdout, ran.stderr);
            assert!(
                messages.contains(&kind.spelled("pull requests are disabled")),
                "{args:?} {messages}"
            );
            assert!(
                messages.contains(&kind.spelled("enable pull requests")),
                "{args:?} {messages}"
            );
            assert!(!messages.contains("again later"), "{args:?} {messages}");
        }
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");
        // Any other 404 is none.
        fake.store().gitea.pull_requests = true;
        fake.store().gitlab.merge_requests = "enabled";
        fake.fault(("GET", "/pulls"), 2, Fault::Instead(fakes::not_found()));
        let ran = run(&world, &PROMOTE).exits(3);
        assert!(!ran.stderr.contains("disabled"), "{}", ran.stderr);
    }
}

#[test]
fn renamed_organization_is_an_input_error() {
    for (kind, has_pulls) in [(Kind::Gitea, false), (Kind::Forgejo, true)] {
        let (world, fake) = hosted(kind, "");
        if has_pulls {
            fake.store().push("other", "work", &[("x", "y")]);
            fake.store().add_pull("other", "main");
        }
        fake.store().gitea.followed = Some("emca/flows");
        let ran = run(&world, &PROMOTE).exits(2);
        assert!(ran.stderr.contains("emca/flows"), "{kind:?} {}", ran.stderr);
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");
    }
}

#[test]
fn renamed_repository_is_an_input_error() {
    for kind in crate::support::hosted::SERVERS {
        let (world, fake) = hosted(kind, "");
        fake.store().renamed = Some("acme/streams");
        for args in [
            &PROMOTE[..],
            &["promote", "--revision", REV_B, "--pr", "draft"],
            &["status"],
            &["doctor"],
            &WAIT,
            &["branch", "promote", "--from", "staging", "--to", "main"],
            &["gates", "--ref", "main"],
        ] {
            let ran = run(&world, args).exits(2);
            let messages = format!("{}{}", ran.stdout, ran.stderr);
            let messages = messages.split_whitespace().collect::<Vec<_>>().join(" ");
            let new = "acme/flows was renamed to acme/streams";
            assert!(messages.contains(new), "{kind:?} {args:?} {messages}");
        }
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");
    }
}

/// A redirect to another server is not followed, and its name is not trusted.
#[test]
fn redirect_to_another_server_is_no_renaming() {
    for location in [
        "http://elsewhere.invalid/api/v1/repos/acme/streams",
        "/repos/acme/streams",
        "/api/v1/repos/acme/str%0aeams",
        "/api/v1/repos/acme/flows",
        "/api/v1/repos/acme",
        "//elsewhere.invalid/api/v1/repos/acme/streams",
    ] {
        let (world, fake) = hosted(Kind::Gitea, "");
        let reply = fakes::Reply::json(307, Value::Null).with("location", location);
        fake.fault(("GET", "/repos/acme/flows"), 9, Fault::Instead(reply));
        let ran = run(&world, &PROMOTE).exits(3);
        assert!(!ran.stderr.contains("renamed"), "{location} {}", ran.stderr);
    }
}

#[test]
fn repository_with_another_name_is_refused() {
    // GitLab redirects (`tests/it/gitlab.rs`).
    for kind in [Kind::Github, Kind::Gitea] {
        let (world, fake) = hosted(kind, "");
        let row = serde_json::json!({"full_name": "acme/streams", "default_branch": "main"});
        let reply = fakes::Reply::json(200, row);
        fake.fault(("GET", "/repos/acme/flows"), 9, Fault::Instead(reply));
        fake.store().graphql = false;
        let ran = run(&world, &PROMOTE).exits(2);
        assert!(
            ran.stderr.contains("acme/streams"),
            "{kind:?} {}",
            ran.stderr
        );
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");
    }
}

#[test]
fn unknown_draft_prefix_is_taken_off_the_title() {
    for version in one_of(SERVERS) {
        let (world, fake) = on(version, "");
        fake.store().gitea.drafts = vec!["Draft:"];
        let draft = ["promote", "--revision", REV_B, "--pr", "draft"];
        for _ in 0..2 {
            run(&world, &draft).exits(1);
            let title = fake.store().pulls[0].title.clone();
            assert!(title.starts_with("promote:"), "{version} {title}");
        }
        // A server with this prefix accepts it.
        fake.store().gitea.drafts = vec!["WIP:"];
        run(&world, &draft).exits(0);
        let title = fake.store().pulls[0].title.clone();
        assert!(title.starts_with("WIP: promote:"), "{version} {title}");
    }
}

/// Servers that check a scheduled merge at once, and those that wait for a status or a review.
const MERGING: [&str; 6] = [
    "1.22.6",
    "1.23.8",
    GITEA_1_25,
    GITEA,
    "8.0.1+gitea-1.22.0",
    FORGEJO,
];

/// A world with automatic merges and a base that requires a status if `required`.
fn merging(version: &'static str, required: bool) -> (World, Fake) {
    let gates = if required { "[]" } else { "[ci]" };
    let (world, fake) = on(version, &format!("auto_merge: true, gates: {gates}"));
    if required {
        fake.store().required = vec!["ci".to_owned()];
    }
    (world, fake)
}

fn merges(fake: &Fake) -> usize {
    let writes = fake.writes();
    let asked = writes.iter().filter(|line| line.ends_with("/merge"));
    asked.count()
}

#[test]
fn passed_pull_request_is_merged_at_once() {
    for version in one_of(MERGING) {
        for required in [true, false] {
            let (world, fake) = merging(version, required);
            fake.store().report("ci", "success");
            let ran = run(&world, &PROMOTE).exits(0);
            assert!(
                ran.stderr.contains("was merged"),
                "{version} {}",
                ran.stderr
            );
            assert_eq!(merges(&fake), 1, "{version} {required}");
            let store = fake.store();
            assert!(store.pulls[0].merged.is_some(), "{version} {required}");
            assert_eq!(store.scheduled, [], "{version} {required}");
        }
    }
}

/// The control: a pending pull request is scheduled, and the server merges it.
#[test]
fn pending_pull_request_is_scheduled_on_every_version() {
    for version in MERGING {
        let (world, fake) = merging(version, true);
        fake.store().report("ci", "pending");
        let ran = run(&world, &PROMOTE).exits(0);
        let says = "will be merged once its gates pass";
        assert!(ran.stderr.contains(says), "{version} {}", ran.stderr);
        assert_eq!(merges(&fake), 1, "{version}");
        assert_eq!(fake.store().scheduled.len(), 1, "{version}");
        assert!(fake.store().pulls[0].merged.is_none(), "{version}");
        fake.when(2, |store| store.report("ci", "success"));
        let document = run(&world, &WAIT).exits(0).json();
        assert_eq!(document["state"], "merged", "{version}");
    }
}

#[test]
fn wait_merges_passed_pull_request() {
    // Scheduled by an earlier run, or not at all.
    for (version, scheduled) in with_each(&[true, false], &MERGING) {
        let (world, fake) = merging(version, true);
        fake.store().report("ci", "pending");
        run(&world, &PROMOTE).exits(0);
        let rows = std::mem::take(&mut fake.store().scheduled);
        fake.store().report("ci", "success");
        if scheduled {
            fake.store().scheduled = rows;
        }
        let document = run(&world, &WAIT).exits(0).json();
        assert_eq!(document["state"], "merged", "{version} {scheduled}");
    }
}

#[test]
fn status_that_arrives_before_scheduling_is_noticed() {
    for version in MERGING {
        let (world, fake) = merging(version, true);
        fake.store().report("ci", "pending");
        fake.store().gitea.late_status = Some("ci");
        run(&world, &PROMOTE).exits(0);
        let store = fake.store();
        assert!(store.pulls[0].merged.is_some(), "{version}");
        assert_eq!(store.scheduled, [], "{version}");
    }
}

/// The last required status arrives right before the merge is scheduled, so the server does not check
/// it, and it refuses the direct merge.
#[test]
fn late_status_of_refused_merge_is_held() {
    for version in one_of(MERGING) {
        let (world, fake) = merging(version, true);
        fake.store().report("ci", "pending");
        fake.store().gitea.late_status = Some("ci");
        fake.store().gitea.approved = false;
        let ran = run(&world, &PROMOTE).exits(0);
        for says in [
            "will be merged once a status or a review arrives that allows it",
            "Does not have enough approvals",
            "if none arrives, merge it by hand",
        ] {
            assert!(ran.stderr.contains(says), "{version} {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("once its gates pass"), "{version}");
        assert_eq!(fake.store().scheduled.len(), 1, "{version}");
        assert!(fake.store().pulls[0].merged.is_none(), "{version}");
        // An approval that the server does not notice: `wait` merges.
        fake.store().gitea.approved = true;
        let document = run(&world, &WAIT).exits(0).json();
        assert_eq!(document["state"], "merged", "{version}");
    }
}

/// The server merges the pull request after the merge was scheduled, and refuses the direct merge.
#[test]
fn late_status_of_merged_pull_request_passes() {
    for version in one_of(MERGING) {
        let (world, fake) = merging(version, true);
        fake.store().report("ci", "pending");
        fake.store().gitea.late_status = Some("ci");
        fake.at(When::After, "POST", "/pulls/1/merge", 1, |store| {
            store.merge(1);
        });
        let ran = run(&world, &PROMOTE).exits(0);
        let says = "was merged";
        assert!(ran.stderr.contains(says), "{version} {}", ran.stderr);
        assert_eq!(merges(&fake), 2, "{version}");
    }
}

#[test]
fn missing_approval_is_reported_and_awaited() {
    for version in one_of(MERGING) {
        let (world, fake) = merging(version, true);
        fake.store().report("ci", "success");
        fake.store().gitea.approved = false;
        let ran = run(&world, &PROMOTE).exits(0);
        for says in [
            "once a status or a review arrives that allows it",
            "Does not have enough approvals",
        ] {
            assert!(ran.stderr.contains(says), "{version} {}", ran.stderr);
        }
        assert_eq!(fake.store().scheduled.len(), 1, "{version}");
        fake.when(2, |store| {
            store.gitea.approved = true;
            store.settle();
        });
        let ran = run(&world, &WAIT).exits(0);
        assert_eq!(ran.json()["state"], "merged", "{version}");
        let says = "when a status or a review arrives; now it refuses";
        assert!(ran.stderr.contains(says), "{version} {}", ran.stderr);
    }
}

#[test]
fn wait_does_not_repeat_a_canceled_merge() {
    for version in ["1.23.8", GITEA] {
        let (world, fake) = merging(version, true);
        fake.store().report("ci", "pending");
        run(&world, &PROMOTE).exits(0);
        fake.when(3, |store| {
            assert_eq!(store.scheduled.len(), 1);
            store.scheduled.clear();
            store.report("ci", "success");
        });
        fake.when(5, |store| store.close(1));
        let document = run(&world, &WAIT).exits(1).json();
        assert_eq!(document["state"], "closed", "{version}");
        assert!(fake.store().pulls[0].merged.is_none(), "{version}");
    }
}
