//! Merge requests on a simulated GitLab: the tokens, the traps of merging, and the words.

use serde_json::{Value, json};

use crate::support::{
    forge::{self as fakes, Fake, Fault, GITLAB_TOKEN, JOB_TOKEN, Kind, Reply, Store, When, error},
    hosted::{self, PROMOTE, WAIT, document, run, run_as, run_with},
    world::{REV_B, Ran, World},
};

/// A world with a base branch on GitLab; `settings` of the block `forge`.
fn world_on(settings: &str) -> (World, Fake) {
    hosted::hosted(Kind::Gitlab, settings)
}

/// The same with an open merge request.
fn opened(settings: &str) -> (World, Fake) {
    let (world, fake) = world_on(settings);
    run(&world, &PROMOTE).exits(0);
    (world, fake)
}

fn branch() -> String {
    format!("repin/repin.yaml/promote-{REV_B}")
}

/// The head of the merge request's branch.
fn head(fake: &Fake) -> String {
    let store = fake.store();
    let branch = &store.pulls[0].head;
    store.refs[branch].clone()
}

/// A pipeline of the merge request for its head.
fn pipeline(fake: &Fake, status: &str) {
    let head = head(fake);
    fake.store()
        .pipeline("refs/merge-requests/1/head", &head, status);
}

fn stderr_has(ran: &Ran, text: &str) {
    assert!(ran.stderr.contains(text), "{text}: {}", ran.stderr);
}

/// The requests to merge.
fn merges(fake: &Fake) -> Vec<String> {
    let mut writes = fake.writes();
    writes.retain(|line| line.ends_with("/merge") || line.contains("/merge_trains/"));
    writes
}

const DOCTOR: [&str; 3] = ["doctor", "--format", "json"];

/// The status and the detail of a line of `doctor`.
fn doctor_row(ran: &Ran, code: &str) -> [String; 2] {
    let document = ran.json();
    let rows = document["checks"].as_array().unwrap();
    let row = rows.iter().find(|row| row["code"] == code).unwrap();
    ["status", "detail"].map(|key| row[key].as_str().unwrap().to_owned())
}

/// The number of attempts of a request.
const ATTEMPTS: usize = 5;

/// Pushes another change of a file with pins to the base branch.
fn move_base(world: &World, fake: &Fake) {
    let text = world.read(hosted::A) + "# more\n";
    fake.store()
        .push("main", "other work", &[(hosted::A, &text)]);
}

/// A change of the project on the forge.
type Change = fn(&mut Store);

#[test]
fn merge_request_is_opened_with_the_words_of_gitlab() {
    let (world, fake) = world_on("labels: [automation]");
    let ran = run(&world, &PROMOTE).exits(0);
    stderr_has(&ran, "merge request !1 created");
    for output in [&ran.stdout, &ran.stderr] {
        assert!(!output.contains("pull request"), "{output}");
    }
    {
        let store = fake.store();
        let pull = &store.pulls[0];
        assert_eq!(pull.labels, ["automation"]);
        // What the project configured remains.
        let body = &store.gitlab.opened[0];
        assert_eq!(
            (&body["remove_source_branch"], &body["squash"]),
            (&json!(false), &json!(false))
        );
        assert_eq!(body["source_branch"], json!(pull.head), "{}", branch());
    }
    let again = run(&world, &PROMOTE).exits(0);
    stderr_has(&again, "merge request !1 unchanged");
    let ran = run(&world, &["wait", "--pr", "1", "--timeout", "0s"]).exits(3);
    stderr_has(&ran, "merge request !1 was not merged");
    fake.store().close(1);
    let ran = run(&world, &PROMOTE).exits(1);
    stderr_has(
        &ran,
        "merge request !1 (https://gitlab.example/acme/flows/-/merge_requests/1)",
    );
    let args = [&PROMOTE[..], &["--reopen"]].concat();
    run(&world, &args).exits(0);
    assert!(fake.store().pulls[0].open);
    assert_eq!(fake.store().pulls.len(), 1);
}

/// The variables of the first pipeline contain only the labels of the creation.
#[test]
fn merge_request_is_opened_with_its_labels() {
    let labels = json!("automation,ci::pins");
    let (world, fake) = world_on("labels: [automation, 'ci::pins']");
    run(&world, &PROMOTE).exits(0);
    assert_eq!(fake.store().gitlab.opened[0]["labels"], labels);
    assert_eq!(fake.store().pulls[0].labels, ["automation", "ci::pins"]);
    let puts = |fake: &Fake| {
        let mut writes = fake.writes();
        writes.retain(|line| line.starts_with("PUT"));
        writes
    };
    assert_eq!(puts(&fake), [] as [String; 0]);
    // A label that a person removed is not restored.
    fake.store().pulls[0].labels.pop();
    run(&world, &PROMOTE).exits(0);
    assert_eq!(puts(&fake), [] as [String; 0]);

    fake.store().push("staging", "new work", &[("x", "y")]);
    let args = [
        "branch", "promote", "--from", "staging", "--to", "main", "--apply",
    ];
    run(&world, &args).exits(0);
    assert_eq!(fake.store().gitlab.opened[1]["labels"], labels);
    assert_eq!(puts(&fake), [] as [String; 0]);

    let (world, fake) = world_on("labels: [automation]");
    fake.store().may_label = false;
    let ran = run(&world, &PROMOTE).exits(0);
    stderr_has(&ran, "cannot add the labels");
    let (world, fake) = world_on("labels: []");
    run(&world, &PROMOTE).exits(0);
    assert_eq!(fake.store().gitlab.opened[0]["labels"], Value::Null);
}

#[test]
fn job_token_is_refused_before_any_write() {
    let (world, fake) = world_on("base: main");
    let api = fake.server.url();
    let of_job = vec![("CI_JOB_TOKEN", JOB_TOKEN), ("CI_SERVER_URL", &*api)];
    // By its prefix, and by the variable with the same text.
    let by_text = vec![("REPIN_FORGE_TOKEN", JOB_TOKEN)];
    // GitLab shows private projects to no such token.
    for (is_public, env) in [
        (true, &of_job),
        (false, &of_job),
        (true, &by_text),
        (false, &by_text),
    ] {
        fake.store().gitlab.public = is_public;
        let ran = run_with(&world, &PROMOTE, env).exits(4);
        stderr_has(
            &ran,
            "CI_JOB_TOKEN cannot open, change or merge merge requests",
        );
        stderr_has(
            &ran,
            "set REPIN_FORGE_TOKEN to a project access token with the scope `api`",
        );
    }
    assert_eq!(fake.writes(), [] as [String; 0]);
    // The token of a job is for its server only.
    let other = [
        ("CI_JOB_TOKEN", JOB_TOKEN),
        ("CI_SERVER_URL", "https://gitlab.com"),
    ];
    let ran = run_with(&world, &PROMOTE, &other).exits(4);
    stderr_has(
        &ran,
        "CI_JOB_TOKEN is set, but it is for https://gitlab.com",
    );
    // A better token has precedence.
    let both = [
        ("REPIN_FORGE_TOKEN", GITLAB_TOKEN),
        ("CI_JOB_TOKEN", JOB_TOKEN),
        ("CI_SERVER_URL", &*api),
    ];
    run_with(&world, &PROMOTE, &both).exits(0);
}

#[test]
fn job_token_does_not_merge() {
    let (world, fake) = opened("auto_merge: true");
    fake.store().gitlab.public = true;
    pipeline(&fake, "success");
    fake.forget();
    let ran = run_as(JOB_TOKEN, &world, &hosted::LOOK).exits(3);
    stderr_has(
        &ran,
        "CI_JOB_TOKEN cannot open, change or merge merge requests",
    );
    assert_eq!(fake.writes(), [] as [String; 0]);
}

#[test]
fn unusable_tokens_and_projects_are_refused_before_any_write() {
    let cases: [(Change, i32, &str); 8] = [
        (
            |store| store.version = "16.3.9-ee",
            2,
            "version 16.3.9-ee is not supported: repin needs GitLab 16.4 or newer",
        ),
        (
            |store| store.gitlab.scopes = vec!["read_api", "write_repository"],
            4,
            "give the token the scope `api`",
        ),
        (|store| store.gitlab.role = Some(20), 4, "below Developer"),
        (|store| store.archived = true, 4, "archived"),
        (
            |store| store.gitlab.merge_requests = "disabled",
            4,
            "merge requests are disabled",
        ),
        (|store| store.gitlab.mirror = true, 4, "is a mirror"),
        (
            |store| store.gitlab.empty = true,
            1,
            "the repository has no commit",
        ),
        (
            |store| store.renamed = Some("acme/moved"),
            2,
            "acme/flows was renamed to acme/moved",
        ),
    ];
    for (change, exit, text) in cases {
        let (world, fake) = world_on("base: main");
        change(&mut fake.store());
        let ran = run(&world, &PROMOTE).exits(exit);
        stderr_has(&ran, text);
        assert_eq!(fake.writes(), [] as [String; 0], "{text}");
    }
    let (world, fake) = world_on("base: main");
    let ran = run_as("gldt-s3cretS3cretS3cret0123", &world, &PROMOTE).exits(4);
    stderr_has(&ran, "a deploy token cannot use the API");
    assert_eq!(fake.asked(), [] as [String; 0]);
    // A refused token is not tried again: GitLab blocks the address after 30 of them.
    run_as("glpat-unknownS3cretS3cret01", &world, &PROMOTE).exits(4);
    assert_eq!(fake.asked().len(), 1, "{:?}", fake.asked());
}

#[test]
fn dispatch_is_a_configuration_error() {
    let (world, fake) = world_on("dispatch: [deploy.yml]");
    let ran = run(&world, &["check"]).exits(2);
    stderr_has(
        &ran,
        "GitLab starts the pipeline of the target branch after every merge",
    );
    assert_eq!(fake.asked(), [] as [String; 0]);
    // The kind is known only by the URL.
    for kind in ["kind: auto, ", ""] {
        let (world, fake) = world_on("dispatch: [deploy.yml]");
        world.replace("repin.yaml", "kind: gitlab, ", kind);
        let ran = run(&world, &PROMOTE).exits(2);
        stderr_has(&ran, "forge.dispatch is not possible: GitLab starts");
        let [status, detail] = doctor_row(&run(&world, &DOCTOR).exits(2), "forge");
        assert_eq!(status, "fail", "{detail}");
        assert!(
            detail.contains("forge.dispatch is not possible"),
            "{detail}"
        );
        assert_eq!(fake.asked(), [] as [String; 0]);
    }
}

// Trap 1: auto-merge before the first pipeline merges at once.

#[test]
fn merge_is_scheduled_only_with_a_pipeline_for_the_head() {
    let (world, fake) = world_on("auto_merge: true");
    let ran = run(&world, &PROMOTE).exits(0);
    stderr_has(
        &ran,
        "the merge of !1 is not scheduled yet: pipeline has not reported yet",
    );
    stderr_has(&ran, "`repin wait --pr 1` schedules it");
    assert_eq!(merges(&fake), [] as [String; 0]);
    // A pipeline of another commit does not count.
    let main = fake.store().refs["main"].clone();
    fake.store()
        .pipeline("refs/merge-requests/1/head", &main, "success");
    run(&world, &PROMOTE).exits(0);
    assert_eq!(merges(&fake), [] as [String; 0]);
    pipeline(&fake, "failed");
    let ran = run(&world, &PROMOTE).exits(1);
    stderr_has(&ran, "pipeline failed");
    assert_eq!(merges(&fake), [] as [String; 0]);
    pipeline(&fake, "running");
    let ran = run(&world, &PROMOTE).exits(0);
    stderr_has(
        &ran,
        "merge request !1 (https://gitlab.example/acme/flows/-/merge_requests/1) will be merged",
    );
    assert_eq!(fake.store().scheduled.len(), 1);
    assert_eq!(fake.store().gitlab.merged[0]["auto_merge"], true);
    fake.store().pipeline_ends("success");
    assert_eq!(run(&world, &WAIT).exits(0).json()["state"], "merged");
    assert_eq!(fake.store().gitlab.unvalidated, [] as [u64; 0]);
}

#[test]
fn wait_schedules_once_the_pipeline_exists() {
    let (world, fake) = opened("auto_merge: true");
    let commit = head(&fake);
    fake.when(3, move |store| {
        store.pipeline("refs/merge-requests/1/head", &commit, "running");
    });
    fake.when(5, |store| store.pipeline_ends("success"));
    let ran = run(&world, &WAIT).exits(0);
    assert_eq!(ran.json()["state"], "merged", "{}", ran.stderr);
    stderr_has(
        &ran,
        "note: !1: its merge is not scheduled yet: pipeline has not reported yet",
    );
    assert_eq!(fake.store().gitlab.unvalidated, [] as [u64; 0]);
}

#[test]
fn required_pipelines_or_an_empty_list_of_gates_suffice() {
    let (world, fake) = world_on("auto_merge: true");
    fake.store().gitlab.requires_pipelines = true;
    run(&world, &PROMOTE).exits(0);
    assert_eq!(fake.store().scheduled.len(), 1);
    pipeline(&fake, "success");
    assert!(fake.store().pulls[0].merged.is_some());
    // Written on purpose.
    let (world, fake) = world_on("auto_merge: true, gates: []");
    run(&world, &PROMOTE).exits(0);
    assert_eq!(fake.store().gitlab.unvalidated, [1]);
}

#[test]
fn ready_request_is_merged_whatever_the_version_answers() {
    for merges_ready in [false, true] {
        let (world, fake) = opened("auto_merge: true");
        fake.store().gitlab.merges_ready = merges_ready;
        pipeline(&fake, "success");
        run(&world, &PROMOTE).exits(0);
        let store = fake.store();
        assert!(store.pulls[0].merged.is_some());
        let auto: Vec<_> = store
            .gitlab
            .merged
            .iter()
            .map(|body| body["auto_merge"].clone())
            .collect();
        let expected = [json!(true), Value::Null];
        assert_eq!(auto, expected[..if merges_ready { 1 } else { 2 }]);
        let sha = &store.gitlab.merged[0]["sha"];
        assert!(store.gitlab.merged.iter().all(|body| body["sha"] == *sha));
    }
    // The pipeline had not ended when it was read.
    let (world, fake) = opened("auto_merge: true");
    pipeline(&fake, "running");
    fake.store().gitlab.status = Some("mergeable");
    let refused = Fault::Instead(error(405, "405 Method Not Allowed"));
    fake.fault(("PUT", "/merge"), 1, refused);
    let ran = run(&world, &PROMOTE).exits(0);
    stderr_has(&ran, "pipeline is still pending");
    assert_eq!(merges(&fake).len(), 1);
    assert!(fake.store().pulls[0].merged.is_none());
}

#[test]
fn older_servers_have_another_parameter() {
    let (world, fake) = opened("auto_merge: true");
    fake.store().version = "16.4.0";
    pipeline(&fake, "running");
    run(&world, &PROMOTE).exits(0);
    let merged = fake.store().gitlab.merged[0].clone();
    assert_eq!(merged["merge_when_pipeline_succeeds"], true, "{merged}");
    assert_eq!(merged["auto_merge"], Value::Null);
}

// Trap 2: the pipeline of merged results belongs to another commit.

#[test]
fn pipeline_of_merged_results_counts_for_its_head() {
    let (world, fake) = opened("auto_merge: true, gates: [build]");
    let (commit, main) = (head(&fake), fake.store().refs["main"].clone());
    let old = commit.clone();
    let result = {
        let mut store = fake.store();
        let mut row = store.commit(&commit);
        row.parents = vec![main, commit];
        store.put_commit(&row)
    };
    let reference = "refs/merge-requests/1/merge";
    fake.store()
        .job("build", &result, reference, "success", false);
    fake.store().pipeline(reference, &result, "running");
    run(&world, &PROMOTE).exits(0);
    assert_eq!(fake.store().scheduled.len(), 1);
    // The base moves, and the branch is rebuilt: the pipeline is that of an older head.
    fake.store().scheduled.clear();
    fake.store().pipeline_ends("success");
    move_base(&world, &fake);
    fake.forget();
    let ran = run(&world, &PROMOTE).exits(0);
    stderr_has(&ran, "build has not reported yet");
    assert_ne!(head(&fake), old, "the branch was rebuilt");
    assert_eq!(merges(&fake), [] as [String; 0]);
}

/// The pipelines of later heads push the one of a head out of the number that is examined.
#[test]
fn number_of_examined_merged_results_is_limited() {
    let (world, fake) = opened("auto_merge: true");
    let main = fake.store().refs["main"].clone();
    let result = |parents: Vec<String>| {
        let mut store = fake.store();
        let mut row = store.commit(&main);
        row.message = format!("merged result of {parents:?}");
        row.parents = parents;
        let id = store.put_commit(&row);
        store.pipeline("refs/merge-requests/1/merge", &id, "success");
    };
    result(vec![main.clone(), head(&fake)]);
    for number in 0..3 {
        result(vec![main.clone(), format!("{number:040}")]);
    }
    fake.forget();
    let ran = run(&world, &PROMOTE).exits(0);
    stderr_has(&ran, "pipeline has not reported yet");
    let mut asked = fake.asked();
    asked.retain(|line| line.contains("/repository/commits/") && !line.contains("/statuses"));
    assert_eq!((merges(&fake).len(), asked.len()), (0, 3), "{asked:#?}");
}

// Trap 3: a status of another merge request on the same commit.

#[test]
fn statuses_of_other_merge_requests_do_not_count() {
    let (world, fake) = opened("auto_merge: true, gates: [build]");
    let commit = head(&fake);
    pipeline(&fake, "success");
    fake.store().job(
        "build",
        &commit,
        "refs/merge-requests/2/head",
        "success",
        false,
    );
    let ran = run(&world, &PROMOTE).exits(0);
    stderr_has(&ran, "build has not reported yet");
    fake.store().job(
        "build",
        &commit,
        "refs/merge-requests/1/head",
        "failed",
        false,
    );
    let ran = run(&world, &PROMOTE).exits(1);
    stderr_has(&ran, "build failed");
    assert_eq!(merges(&fake), [] as [String; 0]);
    // The retried job replaces it; one that may fail passes.
    fake.store().job(
        "build",
        &commit,
        "refs/merge-requests/1/head",
        "failed",
        true,
    );
    run(&world, &PROMOTE).exits(0);
    assert!(fake.store().pulls[0].merged.is_some());
}

// Trap 4: refusals for some seconds after the creation and after a push.

#[test]
fn temporary_refusals_are_no_verdict() {
    let (world, fake) = world_on("auto_merge: true, gates: []");
    fake.store().gitlab.lag = 2;
    fake.store().gitlab.hidden = 1;
    run(&world, &PROMOTE).exits(0);
    assert!(fake.store().pulls[0].merged.is_some());
    assert_eq!(merges(&fake).len(), 3, "405, 422, 200");
    assert_eq!(fake.store().pulls.len(), 1);
}

#[test]
fn head_that_lags_behind_a_push_is_waited_for() {
    let (world, fake) = opened("base: main");
    fake.store().gitlab.lag = 2;
    // The base moves, and the branch is rebuilt.
    move_base(&world, &fake);
    let ran = run(&world, &PROMOTE).exits(0);
    stderr_has(&ran, "merge request !1 updated");
    run(&world, &PROMOTE).exits(0);
    assert_eq!(fake.store().pulls.len(), 1);
    // One that shows the head later is waited for; one that never does is rebuilt.
    for (reads, is_rebuilt) in [(3, false), (1000, true)] {
        let (world, fake) = opened("base: main");
        let old = fake.store().refs["main"].clone();
        fake.store().show_head(1, &old, reads);
        fake.forget();
        run(&world, &PROMOTE);
        assert_eq!(fake.store().pulls.len(), 1);
        let asked = fake.asked();
        let is_pushed = asked.iter().any(|line| line.contains("receive-pack"));
        assert_eq!(is_pushed, is_rebuilt, "{asked:#?}");
    }
}

#[test]
fn merge_is_repeated_until_the_head_is_shown() {
    for status in [400, 404, 405, 406, 409, 422] {
        let (world, fake) = world_on("auto_merge: true, gates: []");
        let refused = error(status, "SHA does not match HEAD of source branch");
        fake.fault(("PUT", "/merge"), 1, Fault::Instead(refused));
        fake.at(When::Before, "PUT", "/merge", 1, |store| {
            let old = store.refs["main"].clone();
            store.show_head(1, &old, 1);
        });
        run(&world, &PROMOTE).exits(0);
        assert!(fake.store().pulls[0].merged.is_some(), "{status}");
        // The repeated request finds nothing to wait for, so the merge is requested without a schedule.
        assert_eq!(merges(&fake).len(), 3, "{status}");
    }
}

#[test]
fn accepted_but_missing_merge_is_repeated() {
    let (world, fake) = opened("base: main");
    world.replace(
        "repin.yaml",
        "base: main }",
        "auto_merge: true, gates: [] }",
    );
    hosted::publish(&world, &fake, "automatic merges");
    let row = json!({
        "iid": 1, "web_url": "https://gitlab.example/acme/flows/-/merge_requests/1", "title": "x",
        "state": "opened", "source_branch": branch(), "target_branch": "main", "sha": head(&fake),
        "merge_when_pipeline_succeeds": false, "merge_error": "Deadline Exceeded",
    });
    let accepted = Fault::Instead(Reply::json(200, row));
    fake.fault(("PUT", "/merge"), 1, accepted.clone());
    run(&world, &PROMOTE).exits(0);
    assert!(fake.store().pulls[0].merged.is_some());
    assert_eq!(merges(&fake).len(), 3);
    // It is never carried out.
    let (world, fake) = world_on("auto_merge: true, gates: []");
    fake.fault(("PUT", "/merge"), 99, accepted);
    let ran = run(&world, &PROMOTE).exits(0);
    stderr_has(&ran, "has not carried it out: Deadline Exceeded");
    assert_eq!(merges(&fake).len(), ATTEMPTS);
}

#[test]
fn endless_check_is_reported() {
    let (world, fake) = world_on("auto_merge: true, gates: []");
    fake.store().gitlab.lag = 1000;
    let ran = run(&world, &PROMOTE).exits(0);
    stderr_has(&ran, "GitLab is still checking whether it can be merged");
    assert!(fake.store().pulls[0].merged.is_none());
    // Without a scheduled merge, only the time limit ends the wait.
    let (world, fake) = opened("base: main");
    let look = ["wait", "--pr", "1", "--timeout", "0s"];
    let hangs = "the forge has not finished its check for conflicts";
    let ran = run(&world, &look).exits(3);
    assert!(!ran.stderr.contains(hangs), "{}", ran.stderr);
    fake.store().gitlab.status = Some("checking");
    stderr_has(&run(&world, &look).exits(3), hangs);
}

#[test]
fn refused_creation_is_reported_with_its_remedy() {
    for (status, exit) in [(403, 4), (422, 1)] {
        let (world, fake) = world_on("base: main");
        let refused = error(status, "You cannot create a merge request here");
        fake.fault(("POST", "/merge_requests"), 1, Fault::Instead(refused));
        let ran = run(&world, &PROMOTE).exits(exit);
        stderr_has(&ran, "You cannot create a merge request here");
        stderr_has(&ran, "set REPIN_FORGE_TOKEN to a project access token");
    }
}

// Trap 5: refused although the page allows it.

#[test]
fn refusal_of_a_mergeable_request_is_reported_with_its_error() {
    let (world, fake) = world_on("auto_merge: true, gates: []");
    fake.store().gitlab.stubborn = Some("Merge failed: 4:Deadline Exceeded");
    let ran = run(&world, &PROMOTE).exits(1);
    stderr_has(
        &ran,
        "405 Method Not Allowed): Merge failed: 4:Deadline Exceeded",
    );
    // Once to schedule it, then as often as any request.
    assert_eq!(merges(&fake).len(), 1 + ATTEMPTS);
}

// Trap 6: two runs at once.

#[test]
fn concurrent_merge_request_is_used() {
    let (world, fake) = opened("base: main");
    // The listing does not show it yet.
    let empty = Reply::json(200, json!([])).with("x-next-page", "");
    fake.forget();
    fake.fault(("GET", "/merge_requests"), 2, Fault::Instead(empty));
    let ran = run(&world, &PROMOTE).exits(0);
    stderr_has(&ran, "merge request !1");
    assert_eq!(fake.answered(409), 1);
    assert_eq!(fake.store().pulls.len(), 1);
}

// Trap 7: a person pushes to the branch.

#[test]
fn push_of_a_person_cancels_the_schedule() {
    let (world, fake) = opened("auto_merge: true");
    pipeline(&fake, "running");
    run(&world, &PROMOTE).exits(0);
    assert_eq!(fake.store().scheduled.len(), 1);
    let branch = fake.store().pulls[0].head.clone();
    // On the real server a push cancels it as well; here it does not, so repin must.
    fake.store().push(&branch, "mine", &[("README.md", "mine")]);
    let cancel = ("POST", "/cancel_merge_when_pipeline_succeeds");
    fake.fault(cancel, 1, Fault::Instead(error(401, "401 Unauthorized")));
    let ran = run(&world, &PROMOTE).exits(5);
    stderr_has(&ran, "the scheduled merge of !1 could not be canceled: ");
    stderr_has(&ran, "the token's owner may not merge into main");
    // GitLab answers that it canceled the merge, and did not.
    let done = Fault::Instead(Reply::json(201, json!({"status": "success"})));
    fake.fault(cancel, 1, done);
    let ran = run(&world, &PROMOTE).exits(5);
    stderr_has(&ran, "the merge is still scheduled");
    let ran = run(&world, &PROMOTE).exits(5);
    stderr_has(&ran, "the scheduled merge of !1 was canceled");
    assert_eq!(fake.store().scheduled.len(), 0);
    let document = document(&world, &PROMOTE, 5);
    assert!(document.to_string().contains("`mine`"), "{document}");
}

// Trap 8: the source branch.

#[test]
fn setting_for_source_branches_is_kept() {
    let (world, fake) = world_on("base: main");
    fake.store().gitlab.removes_branches = true;
    run(&world, &PROMOTE).exits(0);
    assert_eq!(fake.store().gitlab.opened[0]["remove_source_branch"], true);
}

#[test]
fn deleted_source_branch_closes_the_merge_request() {
    let (world, fake) = opened("base: main");
    let branch = fake.store().pulls[0].head.clone();
    {
        let mut store = fake.store();
        let before = store.refs.remove(&branch);
        fakes::gitlab::pushed(&mut store, &branch, before.as_ref());
        assert!(!store.pulls[0].open);
    }
    let ran = run(&world, &PROMOTE).exits(1);
    stderr_has(&ran, "merge request !1 (");
    assert_eq!(fake.store().pulls.len(), 1);
    let args = [&PROMOTE[..], &["--reopen"]].concat();
    run(&world, &args).exits(0);
    let store = fake.store();
    assert!(store.pulls[0].open && store.refs.contains_key(&branch));
}

#[test]
fn answer_without_scopes_is_malformed() {
    let (world, fake) = world_on("base: main");
    let answer = Fault::Instead(Reply::json(200, json!({"unexpected": true})));
    fake.fault(("GET", "/personal_access_tokens/self"), 1, answer);
    let ran = run(&world, &PROMOTE).exits(3);
    stderr_has(&ran, "malformed response");
    assert_eq!(fake.writes(), [""; 0]);
}

#[test]
fn missing_target_branch_is_refused() {
    let (world, fake) = opened("base: main");
    fake.store().close(1);
    fake.store().refs.remove("main");
    run(&world, &PROMOTE).exits(2);
    assert_eq!(fake.store().pulls.len(), 1);
    // It is deleted after it was read.
    let (world, fake) = world_on("base: main");
    fake.store().push("other", "work", &[("x", "y")]);
    fake.at(When::Before, "GET", "/info/refs", 2, |store| {
        store.refs.remove("main");
    });
    run(&world, &PROMOTE).exits(2);
    assert!(fake.store().pulls.is_empty());
}

#[test]
fn branch_that_moves_before_the_merge_is_not_merged() {
    let (world, fake) = world_on("auto_merge: true, gates: []");
    fake.at(When::Before, "PUT", "/merge", 1, |store| {
        let branch = store.pulls[0].head.clone();
        store.push(&branch, "mine", &[("README.md", "mine")]);
    });
    let ran = run(&world, &PROMOTE).exits(0);
    stderr_has(&ran, "GitLab shows another head (HTTP 409");
    assert!(fake.store().pulls[0].merged.is_none());
}

/// A project whose promotions have a title with this beginning.
fn world_with_title(beginning: &str) -> (World, Fake) {
    let (world, fake) = world_on("base: main");
    let title = format!("promote: {{ title: '{beginning} {{name}} @{{revision}}' }}\n");
    world.write("repin.yaml", world.read("repin.yaml") + &title);
    hosted::publish(&world, &fake, "another title");
    (world, fake)
}

#[test]
fn title_like_a_draft_is_corrected() {
    for beginning in ["WIP:", "fixup!"] {
        let (world, fake) = world_with_title(beginning);
        run(&world, &PROMOTE).exits(0);
        let title = fake.store().pulls[0].title.clone();
        assert!(title.starts_with(beginning), "{title}");
        let draft = ["promote", "--revision", REV_B, "--pr", "draft"];
        run(&world, &draft).exits(0);
        let title = fake.store().pulls[0].title.clone();
        assert!(title.starts_with(&format!("Draft: {beginning}")), "{title}");
    }
}

#[test]
fn title_of_a_draft_is_never_ready() {
    let (world, _fake) = world_with_title("Draft:");
    let ready = ["promote", "--revision", REV_B, "--pr", "ready"];
    let ran = run(&world, &ready).exits(1);
    stderr_has(&ran, "its title begins like that of a draft");
}

// Trap 9: merge methods and squashing.

#[test]
fn methods_that_do_not_fit_are_refused_before_any_write() {
    for (method, squash, configured, allowed) in [
        ("merge", "always", "merge", "squash"),
        ("merge", "never", "squash", "merge"),
        ("ff", "never", "merge", "rebase"),
        ("rebase_merge", "default_off", "merge", "rebase or squash"),
    ] {
        let settings = format!("auto_merge: true, merge_method: {configured}");
        let (world, fake) = world_on(&settings);
        fake.store().gitlab.merge_method = method;
        fake.store().gitlab.squash_option = squash;
        let ran = run(&world, &PROMOTE).exits(1);
        stderr_has(&ran, &format!("the project allows {allowed}"));
        assert_eq!(fake.writes(), [] as [String; 0]);
    }
}

#[test]
fn every_method_records_the_promotion() {
    for (method, squash, reference) in [
        ("merge", "default_off", true),
        ("merge", "always", false),
        ("rebase_merge", "default_on", false),
        ("rebase_merge", "never", true),
        ("ff", "never", false),
        ("ff", "always", false),
    ] {
        let (world, fake) = world_on("auto_merge: true");
        fake.store().gitlab.merge_method = method;
        fake.store().gitlab.squash_option = squash;
        run(&world, &PROMOTE).exits(0);
        pipeline(&fake, "success");
        let commit = head(&fake);
        run(&world, &PROMOTE).exits(0);
        let store = fake.store();
        let merge = store.refs["main"].clone();
        assert_eq!(
            store.pulls[0].merged.as_ref(),
            Some(&merge),
            "{method} {squash}"
        );
        let is_head = method == "ff" && squash == "never";
        assert_eq!(merge == commit, is_head, "{method} {squash}");
        let message = &store.commit(&merge).message;
        let title = format!("promote: test images @{REV_B}\n");
        assert!(message.starts_with(&title), "{method} {squash}: {message}");
        let trailer = format!("Repin-Set: {REV_B}");
        assert_eq!(
            message.trim_end().lines().last(),
            Some(&*trailer),
            "{message}"
        );
        assert_eq!(
            message.contains("See merge request acme/flows!1"),
            reference
        );
    }
}

// Trap 10: reasons that repin does not override.

#[test]
fn reasons_of_gitlab_are_reported() {
    for (status, exit, text) in [
        ("not_approved", 0, "a required approval is missing"),
        ("requested_changes", 0, "a reviewer requested changes"),
        ("discussions_not_resolved", 0, "a thread is not resolved"),
        (
            "merge_request_blocked",
            0,
            "another merge request blocks it",
        ),
        (
            "security_policy_violations",
            0,
            "a security policy denies it",
        ),
        ("external_status_checks", 0, "a status check must pass"),
        ("merge_time", 0, "may not be merged before"),
        ("draft_status", 1, "it is a draft"),
        ("locked_paths", 1, "a file is locked by another user"),
        (
            "need_rebase",
            1,
            "its branch must be rebased onto its target branch",
        ),
        ("moon_phase", 0, "GitLab reports `moon_phase`"),
        ("preparing", 0, "GitLab is still checking"),
        ("ci_must_pass", 0, "its pipeline must succeed first"),
    ] {
        let (world, fake) = world_on("auto_merge: true, gates: []");
        fake.store().gitlab.status = Some(status);
        fake.fault(
            ("PUT", "/merge"),
            99,
            Fault::Instead(error(405, "405 Method Not Allowed")),
        );
        let ran = run(&world, &PROMOTE).exits(exit);
        stderr_has(&ran, text);
    }
    let (world, fake) = world_on("auto_merge: true, gates: []");
    fake.store().gitlab.locked = true;
    let refused = Fault::Instead(error(405, "405 Method Not Allowed"));
    fake.fault(("PUT", "/merge"), 99, refused);
    stderr_has(&run(&world, &PROMOTE).exits(0), "GitLab is merging it");
    assert!(merges(&fake).len() > 1, "it is repeated");
    let (world, fake) = world_on("auto_merge: true, gates: []");
    fake.store().gitlab.may_merge = false;
    let ran = run(&world, &PROMOTE).exits(4);
    stderr_has(&ran, "the token's owner may not merge into main");
    assert_eq!(merges(&fake).len(), 1);
}

#[test]
fn missing_approval_delays_the_merge() {
    let (world, fake) = opened("auto_merge: true");
    fake.store().gitlab.approved = false;
    pipeline(&fake, "success");
    run(&world, &PROMOTE).exits(0);
    assert_eq!(fake.store().scheduled.len(), 1);
    assert!(fake.store().pulls[0].merged.is_none());
    fake.when(2, Store::approve);
    assert_eq!(run(&world, &WAIT).exits(0).json()["state"], "merged");
    assert_eq!(fake.store().gitlab.unvalidated, [] as [u64; 0]);
}

#[test]
fn reason_of_gitlab_is_reported_at_the_timeout() {
    let reports = |ran: Ran, reason: &str| {
        stderr_has(&ran, &format!("it cannot be merged yet: {reason}"));
    };
    // A merge that this run neither requests nor schedules.
    let (world, fake) = opened("base: main");
    for (status, reason) in [
        ("not_approved", "a required approval is missing"),
        ("discussions_not_resolved", "a thread is not resolved"),
        ("ci_still_running", "its pipeline is still running"),
        ("moon_phase", "GitLab reports `moon_phase`"),
        ("moon\u{1b}[2J\n", "GitLab reports `moon\\u{1b}[2J\\n`"),
    ] {
        fake.store().gitlab.status = Some(status);
        reports(run(&world, &hosted::LOOK).exits(3), reason);
    }
    for status in ["mergeable", "checking"] {
        fake.store().gitlab.status = Some(status);
        let ran = run(&world, &hosted::LOOK).exits(3);
        assert!(!ran.stderr.contains("cannot be merged"), "{}", ran.stderr);
    }
    // A scheduled merge.
    let (world, fake) = opened("auto_merge: true");
    fake.store().gitlab.approved = false;
    pipeline(&fake, "success");
    run(&world, &PROMOTE).exits(0);
    assert_eq!(fake.store().scheduled.len(), 1);
    let ran = run(&world, &hosted::LOOK).exits(3);
    reports(ran, "a required approval is missing");
}

#[test]
fn merge_train_is_entered_and_followed() {
    let (world, fake) = world_on("auto_merge: true");
    fake.store().gitlab.trains = true;
    run(&world, &PROMOTE).exits(0);
    pipeline(&fake, "running");
    run(&world, &PROMOTE).exits(0);
    assert_eq!(fake.store().scheduled.len(), 1, "202");
    let parameter = |fake: &Fake, name: &str| {
        let merged = fake.store().gitlab.merged.last().unwrap()[name].clone();
        merged == true
    };
    assert!(parameter(&fake, "auto_merge"));
    fake.store().scheduled.clear();
    fake.store().version = "16.4.0";
    run(&world, &PROMOTE).exits(0);
    assert!(parameter(&fake, "when_pipeline_succeeds"));
    fake.store().version = "17.11.0-ee";
    fake.store().scheduled.clear();
    fake.store().pipeline_ends("success");
    let ran = run(&world, &PROMOTE).exits(0);
    stderr_has(&ran, "is in the merge train, at position 1");
    assert_eq!(fake.store().gitlab.train, [1]);
    fake.when(3, |store| {
        store.merge(1);
        store.gitlab.train.clear();
    });
    let ran = run(&world, &WAIT).exits(0);
    assert_eq!(ran.json()["state"], "merged");
    stderr_has(&ran, "it is in the merge train, at position 1 (fresh)");
}

#[test]
fn removal_from_the_merge_train_ends_the_wait() {
    // Before the run, and by the run itself.
    for is_queued in [true, false] {
        let (world, fake) = opened("auto_merge: true");
        fake.store().gitlab.trains = true;
        pipeline(&fake, "success");
        if is_queued {
            run(&world, &PROMOTE).exits(0);
            assert_eq!(fake.store().gitlab.train, [1]);
        }
        let train = "/merge_trains/main";
        let entered = if is_queued { 1 } else { 2 };
        fake.at(When::After, "GET", train, entered, |store| {
            store.gitlab.train.clear();
        });
        let before = merges(&fake).len();
        let ran = run(&world, &WAIT).exits(1);
        assert_eq!(ran.json()["state"], "open");
        stderr_has(&ran, "was removed from the merge train of main");
        assert_eq!(merges(&fake).len() - before, usize::from(!is_queued));
    }
    // One that is being merged is not removed, although the train does not list it.
    let (world, fake) = opened("auto_merge: true");
    fake.store().gitlab.trains = true;
    pipeline(&fake, "success");
    run(&world, &PROMOTE).exits(0);
    fake.at(When::After, "GET", "/merge_trains/main", 1, |store| {
        store.gitlab.train.clear();
        store.gitlab.locked = true;
    });
    fake.at(When::After, "GET", "/merge_trains/main", 3, |store| {
        store.gitlab.locked = false;
        store.merge(1);
    });
    assert_eq!(run(&world, &WAIT).exits(0).json()["state"], "merged");
    // One that is scheduled to enter the train again is not removed.
    let (world, fake) = opened("auto_merge: true");
    fake.store().gitlab.trains = true;
    pipeline(&fake, "success");
    run(&world, &PROMOTE).exits(0);
    let head = head(&fake);
    let train = "/merge_trains/main";
    fake.at(When::After, "GET", train, 1, move |store| {
        store.gitlab.train.clear();
        store.scheduled.push((1, head));
    });
    fake.at(When::After, "GET", train, 3, |store| {
        store.merge(1);
    });
    assert_eq!(run(&world, &WAIT).exits(0).json()["state"], "merged");
}

#[test]
fn protected_branch_that_refuses_the_push_is_reported() {
    let (world, fake) = world_on("base: main");
    fake.store().gitlab.role = Some(30);
    fake.store().gitlab.protected = vec![("repin/*", 40)];
    let ran = run(&world, &PROMOTE).exits(4);
    stderr_has(
        &ran,
        "You are not allowed to push code to protected branches",
    );
    assert_eq!(fake.store().pulls.len(), 0);
    let ran = run(&world, &["doctor", "--format", "json"]).exits(4);
    assert!(
        ran.stdout.contains("the protected branch `repin/*` covers"),
        "{}",
        ran.stdout
    );
}

#[test]
fn doctor_checks_token_settings_and_version() {
    let (world, fake) = world_on("auto_merge: true");
    let ran = run(&world, &DOCTOR).exits(0);
    let [status, detail] = doctor_row(&ran, "permission_pull_requests");
    assert_eq!(status, "warn");
    assert!(detail.contains("does not require pipelines"), "{detail}");
    assert_eq!(doctor_row(&ran, "permission_contents")[0], "pass");
    assert!(doctor_row(&ran, "forge")[1].starts_with("GitLab at "));
    fake.store().gitlab.requires_pipelines = true;
    assert_eq!(
        doctor_row(&run(&world, &DOCTOR).exits(0), "permission_pull_requests")[0],
        "pass"
    );
    let cases: [(Change, &str, &str); 5] = [
        (
            |store| store.gitlab.role = Some(20),
            "permission_contents",
            "below Developer",
        ),
        (
            |store| store.gitlab.scopes = vec!["read_api"],
            "permission_pull_requests",
            "its scopes are `read_api`",
        ),
        (
            |store| (store.gitlab.role, store.gitlab.maintainers_merge) = (Some(30), true),
            "permission_pull_requests",
            "only maintainers may merge into main",
        ),
        (
            |store| store.gitlab.merge_requests = "disabled",
            "permission_pull_requests",
            "merge requests are disabled",
        ),
        (
            |store| store.version = "15.11.0",
            "forge",
            "repin needs GitLab 16.4",
        ),
    ];
    for (change, code, text) in cases {
        let (world, fake) = world_on("auto_merge: true");
        change(&mut fake.store());
        let ran = run(&world, &DOCTOR);
        let [status, detail] = doctor_row(&ran, code);
        assert_eq!(status, "fail", "{code}");
        assert!(detail.contains(text), "{detail}");
        assert_eq!(fake.writes(), [] as [String; 0]);
    }
    // A user or a group that repin does not resolve may be that of the token.
    for named in [json!({"user_id": 3}), json!({"group_id": 9})] {
        let (world, fake) = world_on("auto_merge: true");
        {
            let mut store = fake.store();
            (store.gitlab.role, store.gitlab.maintainers_merge) = (Some(30), true);
            store.gitlab.protected = vec![("main", 40)];
            store.gitlab.mergers = vec![json!({"access_level": 40}), named];
        }
        let [status, detail] = doctor_row(&run(&world, &DOCTOR), "permission_pull_requests");
        assert_ne!(status, "fail", "{detail}");
        assert!(detail.contains("that repin does not resolve"), "{detail}");
    }
    // The most permissive rule counts, in any order.
    for rules in [[40, 30], [30, 40]] {
        let (world, fake) = world_on("auto_merge: true");
        let [first, second] = rules;
        fake.store().gitlab.role = Some(30);
        fake.store().gitlab.protected = vec![("repin/*", first), ("*", second)];
        let ran = run(&world, &DOCTOR).exits(0);
        assert_eq!(
            doctor_row(&ran, "permission_contents")[0],
            "pass",
            "{rules:?}"
        );
        fake.store().gitlab.protected = vec![("repin/*", 40), ("*", 40)];
        let ran = run(&world, &DOCTOR).exits(4);
        assert_eq!(
            doctor_row(&ran, "permission_contents")[0],
            "fail",
            "{rules:?}"
        );
    }
    let (world, fake) = world_on("auto_merge: true, merge_method: squash");
    fake.store().gitlab.squash_option = "never";
    let ran = run(&world, &DOCTOR).exits(4);
    assert!(doctor_row(&ran, "permission_pull_requests")[1].contains("the project allows merge"));
    // The token of a job is refused with the same text, whether it can read the project or not.
    for (is_public, code) in [(true, "permission_pull_requests"), (false, "token")] {
        fake.store().gitlab.public = is_public;
        let ran = run_with(&world, &DOCTOR, &[("REPIN_FORGE_TOKEN", JOB_TOKEN)]).exits(4);
        let [status, detail] = doctor_row(&ran, code);
        assert_eq!(status, "fail", "{detail}");
        assert!(detail.contains("CI_JOB_TOKEN cannot open"), "{detail}");
        let names_request = detail.contains("reading the project") && detail.contains("404");
        assert!(is_public || names_request, "{detail}");
    }
}

#[test]
fn doctor_reports_unusable_tokens_and_projects() {
    let (world, fake) = world_on("auto_merge: true");
    let ran = run_as("gldt-s3cretS3cretS3cret0123", &world, &DOCTOR).exits(4);
    let [status, detail] = doctor_row(&ran, "token");
    assert_eq!(status, "fail", "{detail}");
    assert!(
        detail.contains("a deploy token cannot use the API"),
        "{detail}"
    );
    assert_eq!(fake.asked(), [] as [String; 0]);
    let cases: [(Change, &str, &str, &str); 6] = [
        (
            |store| store.gitlab.role = None,
            "permission_contents",
            "skip",
            "GitLab does not report its role",
        ),
        // The role of the group counts as well.
        (
            |store| (store.gitlab.role, store.gitlab.group_role) = (Some(10), Some(30)),
            "permission_contents",
            "pass",
            "its role has the access level 30",
        ),
        (
            |store| store.archived = true,
            "permission_contents",
            "fail",
            "archived",
        ),
        (
            |store| store.gitlab.mirror = true,
            "permission_pull_requests",
            "fail",
            "is a mirror",
        ),
        (
            |store| store.gitlab.empty = true,
            "forge",
            "fail",
            "the repository has no commit",
        ),
        (
            |store| store.gitlab.empty = true,
            "token",
            "skip",
            "not tested: the repository cannot be used",
        ),
    ];
    for (change, code, expected, text) in cases {
        let (world, fake) = world_on("auto_merge: true");
        change(&mut fake.store());
        let [status, detail] = doctor_row(&run(&world, &DOCTOR), code);
        assert_eq!(status, expected, "{code}: {detail}");
        assert!(detail.contains(text), "{detail}");
        assert_eq!(fake.writes(), [] as [String; 0]);
    }
}

#[test]
fn doctor_does_not_guess_the_protection_of_branches() {
    let row = |world: &World, code: &str| doctor_row(&run(world, &DOCTOR), code);
    // A deploy key has the access level of a role, which it does not admit.
    let (world, fake) = world_on("auto_merge: true");
    fake.store().gitlab.protected = vec![("repin/*", 60)];
    fake.store().gitlab.pushers = vec![json!({"access_level": 40, "deploy_key_id": 1})];
    assert_eq!(row(&world, "permission_contents")[0], "fail");
    fake.store().gitlab.protected = vec![("repin/*", 40)];
    assert_eq!(row(&world, "permission_contents")[0], "pass");
    fake.store().gitlab.forced = false;
    let [status, detail] = row(&world, "permission_contents");
    assert_eq!(status, "warn", "{detail}");
    assert!(detail.contains("refuses force pushes"), "{detail}");
    // Older servers show the list to maintainers only.
    fake.store().gitlab.hides_protected = true;
    let [status, detail] = row(&world, "permission_contents");
    assert!(
        detail.contains("does not show the protected branches"),
        "{status} {detail}"
    );
    assert_ne!(status, "pass", "{detail}");
    let mut store = fake.store();
    (store.gitlab.role, store.gitlab.maintainers_merge) = (Some(30), true);
    drop(store);
    let [status, detail] = row(&world, "permission_pull_requests");
    assert!(
        detail.contains("that repin does not resolve"),
        "{status} {detail}"
    );
}

#[test]
fn gates_are_jobs_and_the_pipeline() {
    let (world, fake) = world_on("gates: [build, lint, pipeline]");
    let main = fake.store().refs["main"].clone();
    fake.store().job("build", &main, "main", "success", false);
    fake.store().job("lint", &main, "main", "running", false);
    fake.store().pipeline("main", &main, "running");
    let gates = ["gates", "--ref", "main"];
    let document = document(&world, &gates, 3);
    let states: Vec<_> = document["gates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gate| gate["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["pass", "pending", "pending"], "{document}");
    fake.store().job("lint", &main, "main", "success", false);
    fake.store().pipeline_ends("success");
    run(&world, &gates).exits(0);
}

#[test]
fn gates_of_a_branch_are_those_of_its_merge_request() {
    let (world, fake) = opened("gates: [build, pipeline]");
    let branch = fake.store().pulls[0].head.clone();
    let commit = head(&fake);
    let reference = "refs/merge-requests/1/head";
    fake.store()
        .job("build", &commit, reference, "success", false);
    pipeline(&fake, "success");
    run(&world, &["gates", "--ref", &branch]).exits(0);
    // The merge request is not that of every reference to its commit.
    let of_commit = document(&world, &["gates", "--ref", &commit], 1);
    let gates = of_commit["gates"].as_array().unwrap().iter();
    let states: Vec<_> = gates.map(|gate| gate["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["absent", "absent"], "{of_commit}");
    fake.store().pulls[0].head_repo = "other/fork".to_owned();
    run(&world, &["gates", "--ref", &branch]).exits(1);
    fake.store().gitlab.merge_requests = "disabled";
    run(&world, &["gates", "--ref", &branch]).exits(1);
}

#[test]
fn branch_promotion_has_the_words_of_gitlab() {
    let (world, fake) = world_on("sync_targets: [staging]");
    fake.store().push("staging", "work", &[("x", "y")]);
    let promote = ["branch", "promote", "--from", "staging", "--to", "main"];
    let ran = run(&world, &promote).exits(0);
    assert!(
        ran.stdout.contains("--apply would open a merge request"),
        "{}",
        ran.stdout
    );
    let args = [&promote[..], &["--apply", "--wait=1m"]].concat();
    fake.when(2, |store| {
        store.merge(1);
    });
    let ran = run(&world, &args).exits(0);
    stderr_has(&ran, "waiting for the merge of merge request !1 (");
    let output = format!("{}{}", ran.stdout, ran.stderr);
    assert!(output.contains(") is merged"), "{output}");
    assert!(!output.contains("pull request"), "{output}");
}

#[test]
fn rate_limit_in_plain_text_is_respected() {
    let (world, fake) = world_on("base: main");
    let limit = Reply {
        status: 429,
        headers: vec![("retry-after".to_owned(), "0".to_owned())],
        body: b"Retry later\n".to_vec(),
    };
    fake.fault(("GET", "/merge_requests"), 2, Fault::Instead(limit));
    run(&world, &PROMOTE).exits(0);
}

#[test]
fn code_quality_report_lists_findings_with_stable_fingerprints() {
    let (world, _fake) = world_on("base: main");
    let check = ["check", "--format", "gitlab"];
    let clean = world.run(&check).exits(0).json();
    let clean = clean.as_array().unwrap().clone();
    assert!(
        clean.iter().all(|row| row["severity"] == "minor"),
        "{clean:?}"
    );
    let pins = world.run(&["scan", "--format", "gitlab"]).exits(0).json();
    let pins = pins.as_array().unwrap().clone();
    assert!(pins.len() > 3, "{pins:?}");
    assert!(
        pins.iter()
            .all(|pin| pin["severity"] == "info" && pin["check_name"] == "pin")
    );
    // A pin more, and the same findings two lines further down.
    let text = world.read(hosted::A);
    let broken = format!("{text}# ghcr.io/acme/fix@sha256:ABC\n");
    let report = |text: &str| {
        world.write(hosted::A, text);
        let report = world.run(&check).exits(1).json();
        report.as_array().unwrap().clone()
    };
    let (first, moved) = (report(&broken), report(&format!("\n\n{broken}")));
    assert_eq!(first.len(), moved.len());
    let mut lines = Vec::new();
    for (one, other) in first.iter().zip(&moved) {
        assert_eq!(one["fingerprint"], other["fingerprint"]);
        let mut keys: Vec<_> = one.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(
            keys,
            [
                "check_name",
                "description",
                "fingerprint",
                "location",
                "severity"
            ]
        );
        lines.push([one, other].map(|row| row["location"]["lines"]["begin"].as_u64().unwrap()));
    }
    assert!(
        lines.iter().any(|[one, other]| one + 2 == *other),
        "{lines:?}"
    );
    assert!(first.iter().any(|row| row["severity"] == "major"));
    let ran = world.run(&["status", "--format", "gitlab"]).exits(2);
    assert_eq!(ran.json()[0]["check_name"], "usage", "{}", ran.stdout);
    stderr_has(&ran, "`--format gitlab` is for `check` and `scan` only");
}

#[test]
fn fleet_lists_projects_of_a_group() {
    let (world, fake) = world_on("base: main");
    let config = format!(
        "version: 1\nname: images\nfleet: {{}}\nsources: {{ ghcr.io/acme: oci:images }}\nimages:\n  fix: {{ repository: ghcr.io/acme/fix }}\n\
         forge: {{ kind: gitlab, url: '{}' }}\n",
        fake.api()
    );
    world.write("fleet.yaml", &config);
    let list = |args: &[&str]| {
        let args = [&["--config", "fleet.yaml", "fleet", "list"], args].concat();
        run(&world, &args).exits(0).stdout
    };
    // With the projects of subgroups.
    let all = "acme/flows\nacme/sub/flows\n";
    assert_eq!(list(&["--group", "acme"]), all);
    assert_eq!(list(&["--group", "acme", "--has", "repin.yaml"]), all);
    assert_eq!(list(&["--group", "acme", "--has", "absent.yaml"]), "");
    // A private project that the token of a job may not read is no project without a configuration.
    world.write("list.txt", "acme/flows\n");
    let promote = [
        "--config",
        "fleet.yaml",
        "fleet",
        "promote",
        "--list",
        "list.txt",
        "--revision",
        REV_B,
        "--out",
        "out.jsonl",
    ];
    let ran = run_as(JOB_TOKEN, &world, &promote);
    assert_ne!(ran.code, 0, "{}", ran.stderr);
    let line = world.read("out.jsonl");
    assert!(line.contains("CI_JOB_TOKEN cannot open"), "{line}");
    fake.store().archived = true;
    assert!(!list(&["--group", "acme"]).contains("acme/flows\n"));
}

#[test]
fn branch_is_promoted_by_a_merge_request() {
    let (world, fake) = world_on("auto_merge: true, sync_targets: [staging]");
    fake.store().gitlab.requires_pipelines = true;
    let work = fake.store().push("staging", "new work", &[("x", "y")]);
    let bring = [
        "branch", "promote", "--from", "staging", "--to", "main", "--apply",
    ];
    fake.store().pipeline("staging", &work, "failed");
    let ran = run(&world, &bring).exits(1);
    stderr_has(&ran, "pipeline fail");
    assert_eq!(fake.writes(), [] as [String; 0]);
    fake.store().pipeline("staging", &work, "running");
    let ran = run(&world, &bring).exits(0);
    let output = format!("{}{}", ran.stdout, ran.stderr);
    assert!(output.contains("merge request !1 ("), "{output}");
    assert_eq!(fake.store().scheduled.len(), 1);
    fake.store().pipeline_ends("success");
    let store = fake.store();
    let merge = store.commit(&store.refs["main"]);
    // The title is not that of the commit, so the message is that of GitLab.
    assert!(
        merge
            .message
            .starts_with("Merge branch 'staging' into 'main'"),
        "{}",
        merge.message
    );
}

#[test]
fn status_shows_the_open_merge_request() {
    let (world, fake) = opened("base: main");
    let world = world.with_git();
    let shows = |ran: &Ran, text: &str| {
        // Long lines are wrapped.
        let output = format!("{}{}", ran.stdout, ran.stderr);
        let output = output.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(output.contains(text), "{text}: {output}");
        assert!(!output.contains("pull request"), "{output}");
    };
    shows(&run(&world, &["status"]), "!1 promote bbbbbbbbbbbb");
    shows(
        &world.run(&["status"]),
        "help: set REPIN_FORGE_TOKEN to a token that may read merge requests",
    );
    shows(
        &world.run(&["status", "--all"]),
        "warning: merge requests not read:",
    );
    fake.store().close(1);
    shows(&run(&world, &["status"]), "no merge request");
}

/// Such a listing has the URL of its next page, but no numbers of pages
/// (<https://docs.gitlab.com/api/rest/#keyset-based-pagination>).
#[test]
fn listing_by_keyset_follows_its_links() {
    let (world, fake) = opened("base: main");
    let world = world.with_git();
    // The merge request of the set is the last one.
    for name in ["one", "two"] {
        let commit = fake.store().push(name, "work", &[("x", name)]);
        fake.store().open_pull(name, &commit);
    }
    let status = |server: &str| {
        let before = fake.asked().len();
        fake.store().gitlab.keyset = Some(server.to_owned());
        let ran = run(&world, &["status"]);
        let mut asked = fake.asked().split_off(before);
        asked.retain(|line| line.contains("cursor="));
        (ran, asked)
    };
    let (ran, asked) = status("");
    assert!(ran.stdout.contains("!1 promote"), "{}", ran.stdout);
    assert_eq!(asked.len(), 2, "{asked:#?}");
    // Nothing else receives the token.
    let path = "/api/v4/projects/7/merge_requests";
    let own = fake.server.url();
    for server in [
        "http://elsewhere.invalid",
        &own.replace("http:", "https:"),
        &own.replace("127.0.0.1", "localhost"),
        &format!("{own}/other"),
    ] {
        let (ran, asked) = status(server);
        let output = format!("{}{}", ran.stdout, ran.stderr);
        let output = output.split_whitespace().collect::<Vec<_>>().join(" ");
        let expected = format!("its next page is at another address: {server}{path}");
        assert!(output.contains(&expected), "{output}");
        assert_ne!(ran.code, 0);
        assert_eq!(asked, [] as [String; 0]);
    }
}

#[test]
fn check_compares_the_policy_with_the_target_of_the_merge_request() {
    let world = crate::support::world::world().with_git();
    world.push();
    // Only the target branch of the merge request requires a check.
    world.git(&["checkout", "-q", "-b", "release"]);
    let text = world.read("repin.yaml");
    world.write(
        "repin.yaml",
        text.clone() + "promote: { after: [{ set: staging/repin.yaml }] }\n",
    );
    world.commit("strict");
    world.git(&["push", "-q", "origin", "release"]);
    world.git(&["checkout", "-q", "-b", "work"]);
    world.write("repin.yaml", text);
    world.commit("lax");
    let policy = |env: &[(&str, &str)]| {
        let ran = world.run_with(&["check", "--remote", "--format", "json"], env);
        let checks = ran.json()["checks"].as_array().unwrap().clone();
        let mut rows = checks.iter().filter(|row| row["code"] == "policy_weakened");
        rows.next()
            .map(|row| row["detail"].as_str().unwrap().to_owned())
    };
    let name = "CI_MERGE_REQUEST_TARGET_BRANCH_NAME";
    assert_eq!(policy(&[]), None);
    let weaker = policy(&[(name, "release")]).unwrap();
    assert!(
        weaker.contains("weaker than on origin/release: promote.after"),
        "{weaker}"
    );
    // A branch that was not fetched is reported.
    let missing = policy(&[(name, "absent")]).unwrap();
    assert!(
        missing.contains("`origin/absent` is missing from this clone"),
        "{missing}"
    );
}

#[test]
fn server_below_a_path_is_found() {
    let (world, fake) = world_on("base: main");
    let former = fake.api();
    fake.move_below("/gitlab");
    let server = fake.api().replace("/api/v4", "");
    world.replace("repin.yaml", &former, &server);
    hosted::publish(&world, &fake, "below a path");
    run(&world, &PROMOTE).exits(0);
    assert_eq!(fake.store().pulls.len(), 1);
    // The project and the server by the remote and the variables of a job.
    let block = format!("url: '{server}', repository: acme/flows, ");
    world.replace("repin.yaml", &block, "");
    world.replace("repin.yaml", "kind: gitlab, ", "");
    hosted::publish(&world, &fake, "without a URL");
    let world = world.with_git();
    let web = format!("{server}/acme/flows.git");
    let host = server
        .split("://")
        .nth(1)
        .unwrap()
        .split(':')
        .next()
        .unwrap();
    let ssh = format!("git@{host}:acme/flows.git");
    let env = [
        ("REPIN_FORGE_TOKEN", fakes::TOKEN),
        ("CI_SERVER_URL", &*server),
        ("CI_PROJECT_PATH", "acme/flows"),
        ("CI_DEFAULT_BRANCH", "main"),
        ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "absent"),
    ];
    for remote in [&web, &ssh] {
        world.git(&["remote", "set-url", "origin", remote]);
        let ran = run_with(&world, &PROMOTE, &env).exits(0);
        stderr_has(&ran, "merge request !1 unchanged");
        let ran = world.run_with(&["check", "--remote"], &env);
        let output = format!("{}{}", ran.stdout, ran.stderr);
        let missing = "`origin/absent` is missing from this clone";
        assert!(output.contains(missing), "{remote}: {output}");
    }
}
