//! Rules of a base: methods of merging, GitHub's merge queue, signed commits.

use serde_json::{Value, json};

use crate::support::{
    forge::{
        Fake, Fault, Kind, Store, TOKEN, When, broken, error,
        github_rules::{Signatures, wrong},
    },
    hosted::{self, A, FORGES, PROMOTE, run},
    world::{REV_A, REV_B, World},
};

const MERGING: &str = "auto_merge: true, gates: [ci]";
const ENQUEUE: (&str, &str) = ("POST", "/graphql#enqueuePullRequest");
const COMMIT: (&str, &str) = ("POST", "/graphql#createCommitOnBranch");

/// A world with a base branch on a forge that requires `ci`; `settings` of the block `forge`.
fn hosted(kind: Kind, settings: &str) -> (World, Fake) {
    let (world, fake) = hosted::hosted(kind, settings);
    fake.store().required = vec!["ci".to_owned()];
    (world, fake)
}

fn queued() -> (World, Fake) {
    let (world, fake) = hosted(Kind::Github, MERGING);
    fake.store().rules.queue = Some("rebase");
    (world, fake)
}

fn wait(world: &World, timeout: &str, exit: i32) -> (Value, String) {
    let args = ["wait", "--pr", "1", "--timeout", timeout];
    let ran = run(world, &[&args[..], &["--format", "json"]].concat()).exits(exit);
    (ran.json(), ran.stderr)
}

/// The merge methods that a forge received.
fn method(fake: &Fake) -> String {
    let store = fake.store();
    if store.kind == Kind::Github {
        let (_, said) = store.scheduled.last().expect("a scheduled merge");
        said.split_once(' ').unwrap().1.to_lowercase()
    } else {
        store.gitea.asked_style.clone()
    }
}

#[test]
fn first_allowed_method_is_used() {
    let all = || vec!["merge", "squash", "rebase"];
    for (methods, rule, linear, signed, wanted) in [
        (all(), vec![], false, false, "merge"),
        (all(), vec!["rebase", "squash"], false, false, "squash"),
        (
            vec!["squash", "rebase"],
            vec!["merge", "rebase"],
            false,
            false,
            "rebase",
        ),
        (all(), vec![], true, false, "squash"),
        // GitHub does not sign rebased commits.
        (vec!["rebase", "squash"], vec![], true, true, "squash"),
    ] {
        let (world, fake) = hosted(Kind::Github, MERGING);
        fake.store().report("ci", "success");
        run(&world, &["promote", "--revision", REV_B, "--pr", "draft"]).exits(0);
        {
            let mut store = fake.store();
            store.rules.methods = methods;
            store.rules.rule_methods = rule;
            store.rules.linear = linear;
            store.rules.signatures = signed.then_some(Signatures::Base);
            let head = store.head_of(1);
            store.rules.signed.insert(head);
        }
        // All checks have passed, so repin requests the merge: any other method is a 405.
        let ran = run(&world, &PROMOTE).exits(0);
        assert!(
            ran.stderr.contains("was merged"),
            "{wanted}: {}",
            ran.stderr
        );
        let (world, fake_2) = hosted(Kind::Github, MERGING);
        {
            let (one, mut two) = (fake.store(), fake_2.store());
            two.rules.methods.clone_from(&one.rules.methods);
            two.rules.rule_methods.clone_from(&one.rules.rule_methods);
            two.rules.linear = one.rules.linear;
            two.rules.signatures = one.rules.signatures;
        }
        run(&world, &PROMOTE).exits(0);
        assert_eq!(method(&fake_2), wanted);
    }
}

#[test]
fn configured_method_is_used() {
    // On GitLab, the project determines the method (`tests/it/gitlab.rs`).
    for kind in [Kind::Github, Kind::Gitea] {
        for wanted in ["merge", "squash", "rebase"] {
            let settings = format!("{MERGING}, merge_method: {wanted}");
            let (world, fake) = hosted(kind, &settings);
            {
                let mut store = fake.store();
                store.rules.methods = vec!["merge", "squash", "rebase"];
                store.gitea.styles = vec!["merge", "squash", "rebase"];
                store.gitea.default_style = "merge";
                store.report("ci", "pending");
            }
            run(&world, &PROMOTE).exits(0);
            assert_eq!(method(&fake), wanted, "{kind:?}");
        }
    }
}

#[test]
fn disallowed_method_is_refused_before_any_write() {
    for kind in FORGES {
        let (world, fake) = hosted(
            kind,
            &format!("{MERGING}, merge_method: rebase, sync_targets: [staging]"),
        );
        fake.store().rules.methods = vec!["merge", "squash", "rebase"];
        fake.store().rules.rule_methods = vec!["merge", "squash"];
        fake.store().gitea.styles = vec!["merge", "squash"];
        let ran = run(&world, &PROMOTE).exits(1);
        assert!(
            ran.stderr.contains("forge.merge_method is rebase")
                && ran.stderr.contains("allows merge or squash"),
            "{}",
            ran.stderr
        );
        assert_eq!(fake.writes(), [] as [String; 0], "{kind:?}");
        fake.store().push("staging", "work", &[("x", "y")]);
        let bring = ["branch", "promote", "--from", "staging", "--to", "main"];
        run(&world, &[&bring[..], &["--apply"]].concat()).exits(1);
        assert_eq!(fake.writes(), [] as [String; 0], "{kind:?}");
        // An unused method causes no refusal.
        let (world, fake) = hosted(kind, "merge_method: rebase");
        fake.store().rules.methods = vec!["merge"];
        fake.store().gitea.styles = vec!["merge"];
        run(&world, &PROMOTE).exits(0);
        fake.store().push("staging", "work", &[("x", "y")]);
        run(&world, &[&bring[..], &["--apply"]].concat()).exits(0);
    }
}

#[test]
fn base_rule_conflicting_with_repository_settings_is_reported() {
    let (world, fake) = hosted(Kind::Github, MERGING);
    fake.store().rules.methods = vec!["merge"];
    fake.store().rules.rule_methods = vec!["squash"];
    let ran = run(&world, &PROMOTE).exits(1);
    assert!(
        ran.stderr
            .contains("the repository allows merge, and the rules of main allow squash"),
        "{}",
        ran.stderr
    );
}

#[test]
fn required_signatures_exclude_rebase() {
    for signatures in ALL {
        let (world, fake) = hosted(Kind::Github, MERGING);
        fake.store().rules.methods = vec!["rebase"];
        fake.store().rules.signatures = Some(signatures);
        let ran = run(&world, &PROMOTE).exits(1);
        assert!(
            ran.stderr.contains(
                "the repository allows rebase, and the rules of main allow merge or squash"
            ),
            "{signatures:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn unreadable_rules_are_left_to_the_forge() {
    for status in [403, 404] {
        let (world, fake) = hosted(Kind::Github, "labels: []");
        let refused = Fault::Instead(error(status, "Not for this token"));
        fake.fault(("GET", "/rules/branches/main"), 1, refused);
        run(&world, &PROMOTE).exits(0);
    }
}

#[test]
fn server_without_merge_queues_is_queried_for_methods() {
    let (world, fake) = hosted(Kind::Github, MERGING);
    fake.store().rules.methods = vec!["rebase"];
    let unknown = wrong("", "Field 'mergeQueue' doesn't exist on type 'Repository'");
    fake.fault(("POST", "/graphql#mergeQueue("), 9, Fault::Instead(unknown));
    run(&world, &PROMOTE).exits(0);
    assert_eq!(method(&fake), "rebase");
    fake.when(1, |store| store.report("ci", "success"));
    assert_eq!(wait(&world, "1m", 0).0["state"], "merged");
}

#[test]
fn outage_is_not_a_base_without_rules() {
    let down = || {
        Fault::Instead(wrong(
            "",
            "Something went wrong while executing your query.",
        ))
    };
    let (world, fake) = queued();
    fake.store().report("ci", "success");
    fake.fault(("POST", "/graphql#mergeQueue("), 1, down());
    run(&world, &PROMOTE).exits(3);
    assert_eq!(fake.store().scheduled, []);
    let (world, fake) = signing("labels: []", Signatures::Protection);
    // The repository is then read by REST, and the protection again.
    fake.fault(("POST", "/graphql#refUpdateRule"), 2, down());
    run(&world, &PROMOTE).exits(3);
    assert_eq!(fake.store().refs.len(), 1);
}

#[test]
fn malformed_method_or_sign_has_its_location() {
    for (setting, place) in [("merge_method: fast", "fast"), ("sign: always", "always")] {
        let (world, fake) = hosted(Kind::Github, setting);
        let ran = run(&world, &PROMOTE).exits(2);
        assert!(
            ran.stderr.contains(&format!("found `{place}`")) && ran.stderr.contains("repin.yaml:"),
            "{}",
            ran.stderr
        );
        assert_eq!(fake.asked(), [] as [String; 0]);
    }
}

#[test]
fn pull_request_is_queued_once_until_merged() {
    let (world, fake) = queued();
    fake.store().report("ci", "success");
    let ran = run(&world, &PROMOTE).exits(0);
    assert!(
        ran.stderr.contains("is in the merge queue, at position 1"),
        "{}",
        ran.stderr
    );
    assert_eq!(fake.store().rules.enqueued, [1]);
    let again = run(&world, &PROMOTE).exits(0);
    assert!(again.stderr.contains("at position 1"), "{}", again.stderr);
    assert_eq!(
        fake.store().rules.enqueued,
        [1],
        "a queued one is not queued twice"
    );
    fake.when(1, Store::queue_moves_all);
    let (document, messages) = wait(&world, "1m", 0);
    assert_eq!(document["state"], "merged", "{messages}");
    assert_eq!(document["merge_commit"], fake.store().refs["main"]);
    assert_eq!(fake.store().rules.enqueued, [1]);
    let received = fake.asked().join("\n");
    assert!(
        !received.contains("/merge"),
        "the queue refuses other merges: {received}"
    );
}

#[test]
fn wait_queues_pull_request_after_its_gates() {
    let (world, fake) = queued();
    fake.store().report("ci", "pending");
    let ran = run(&world, &PROMOTE).exits(0);
    assert!(
        ran.stderr.contains("the merge queue of main")
            && ran.stderr.contains("ci is still pending"),
        "{}",
        ran.stderr
    );
    assert_eq!(fake.store().rules.enqueued, [] as [u64; 0]);
    fake.when(1, |store| store.report("ci", "success"));
    let (document, messages) = wait(&world, "0s", 3);
    assert_eq!(document["state"], "open");
    assert!(messages.contains("at position 1 (QUEUED)"), "{messages}");
    assert_eq!(fake.store().rules.enqueued, [1]);
}

#[test]
fn queue_decides_which_pull_requests_it_accepts() {
    let (world, fake) = queued();
    fake.store().report("ci", "success");
    // repin requests the status of the checks once more right before it adds to the queue.
    fake.at(When::Before, ENQUEUE.0, ENQUEUE.1, 1, |store| {
        store.report("ci", "pending");
    });
    let ran = run(&world, &PROMOTE).exits(0);
    assert!(
        ran.stderr.contains("Required status check") && ran.stderr.contains("is expected"),
        "{}",
        ran.stderr
    );
    // Someone pushes right before: the branch no longer has the verified head.
    fake.store().report("ci", "success");
    let branch = fake.store().pulls[0].head.clone();
    fake.at(When::Before, ENQUEUE.0, ENQUEUE.1, 1, move |store| {
        store.push(&branch, "work", &[("x", "y")]);
    });
    let ran = run(&world, &PROMOTE).exits(1);
    assert!(
        ran.stderr.contains("Head branch was modified"),
        "{}",
        ran.stderr
    );
    assert_eq!(fake.store().rules.enqueued, [] as [u64; 0]);
}

#[test]
fn lost_queue_response_adds_no_second_entry() {
    let (world, fake) = queued();
    fake.store().report("ci", "success");
    fake.fault(ENQUEUE, 1, Fault::Silence);
    let ran = run(&world, &PROMOTE).exits(0);
    assert!(ran.stderr.contains("at position 1"), "{}", ran.stderr);
    assert_eq!(fake.store().rules.enqueued, [1]);
}

#[test]
fn removal_from_the_queue_stops_wait() {
    for reason in [Some("failed checks"), None] {
        let (world, fake) = queued();
        fake.store().report("ci", "success");
        run(&world, &PROMOTE).exits(0);
        fake.when(1, move |store| store.queue_removes(1, reason));
        let ran = run(&world, &["wait", "--pr", "1", "--timeout", "1m"]).exits(1);
        assert!(ran.stdout.contains("#1 open"), "{}", ran.stdout);
        let wanted = "was removed from the merge queue of main";
        let wanted = reason.map_or(wanted.to_owned(), |reason| format!("{wanted}: {reason}"));
        assert!(ran.stderr.contains(&wanted), "{}", ran.stderr);
        let ran = run(&world, &PROMOTE).exits(1);
        assert!(
            ran.stderr.contains("removed from the merge queue"),
            "{}",
            ran.stderr
        );
        assert_eq!(fake.store().rules.enqueued, [1]);
        // A user adds the pull request to the queue a second time.
        let head = fake.store().head_of(1);
        fake.store().queue_takes(1, &head);
        fake.when(1, Store::queue_moves_all);
        assert_eq!(wait(&world, "1m", 0).0["state"], "merged");
    }
}

#[test]
fn foreign_commit_that_stops_the_queue_is_reported() {
    let (world, fake) = queued();
    fake.store().report("ci", "success");
    run(&world, &PROMOTE).exits(0);
    let branch = fake.store().pulls[0].head.clone();
    // The removal comes after the push that is the reason for it.
    fake.when(1, move |store| {
        store.push(&branch, "theirs", &[("notes", "mine")]);
        store.queue_removes(1, Some("branch updated"));
    });
    let (document, messages) = wait(&world, "1m", 5);
    assert_eq!(document["state"], "open");
    assert!(
        messages.contains("(`theirs`) is a foreign commit"),
        "{messages}"
    );
}

#[test]
fn rebuilt_branch_is_queued_after_a_removal() {
    let (world, fake) = queued();
    fake.store().report("ci", "success");
    run(&world, &PROMOTE).exits(0);
    fake.store().queue_removes(1, Some("merge conflict"));
    let text = fake.store().content("main", A) + "# moved\n";
    fake.store().push("main", "somebody's", &[(A, &text)]);
    run(&world, &PROMOTE).exits(0);
    assert_eq!(fake.store().rules.enqueued, [1, 1]);
}

#[test]
fn merge_by_the_queue_is_not_a_removal() {
    let (world, fake) = queued();
    fake.store().report("ci", "success");
    run(&world, &PROMOTE).exits(0);
    // Removed from the queue, and still open at the first request: the merge is visible later.
    fake.at(When::After, "GET", "/pulls/1", 1, |store| {
        store.queue_removes(1, Some("MERGE"));
    });
    fake.when(2, |store| {
        store.merge(1);
    });
    assert_eq!(wait(&world, "1m", 0).0["state"], "merged");
    // GitHub reports a merge: this is not a removal, even while the pull request is still open.
    let (world, fake) = queued();
    fake.store().report("ci", "success");
    run(&world, &PROMOTE).exits(0);
    fake.store().queue_removes(1, Some("MERGE"));
    assert_eq!(wait(&world, "0s", 3).0["state"], "open");
    // The same with an empty reason.
    let (world, fake) = queued();
    fake.store().report("ci", "success");
    run(&world, &PROMOTE).exits(0);
    fake.at(When::After, "GET", "/pulls/1", 1, |store| {
        store.queue_removes(1, None);
    });
    fake.when(2, |store| {
        store.merge(1);
    });
    assert_eq!(wait(&world, "1m", 0).0["state"], "merged");
}

#[test]
fn wait_follows_a_queue_used_by_users() {
    let (world, fake) = hosted(Kind::Github, "gates: [ci]");
    fake.store().rules.queue = Some("squash");
    fake.store().report("ci", "success");
    run(&world, &PROMOTE).exits(0);
    assert_eq!(fake.store().rules.enqueued, [] as [u64; 0]);
    let head = fake.store().head_of(1);
    fake.store().queue_takes(1, &head);
    let (_, messages) = wait(&world, "0s", 3);
    assert!(messages.contains("at position 1 (QUEUED)"), "{messages}");
    fake.store().queue_moves();
    let (_, messages) = wait(&world, "0s", 3);
    assert!(messages.contains("(AWAITING_CHECKS)"), "{messages}");
    fake.store().queue_removes(1, Some("timed out"));
    let (document, messages) = wait(&world, "0s", 1);
    assert_eq!(document["state"], "open");
    assert!(messages.contains("timed out"), "{messages}");
}

#[test]
fn base_without_a_queue_is_queried_once() {
    let (world, fake) = hosted(Kind::Github, "gates: [ci]");
    run(&world, &PROMOTE).exits(0);
    fake.forget();
    fake.when(3, |store| {
        store.merge(1);
    });
    wait(&world, "1m", 0);
    let received = fake.asked();
    let queries = received
        .iter()
        .filter(|received| received.contains("/graphql"));
    assert_eq!(queries.count(), 1, "{received:#?}");
}

#[test]
fn method_that_the_queue_excludes_is_refused() {
    let (world, fake) = hosted(Kind::Github, &format!("{MERGING}, merge_method: squash"));
    fake.store().rules.queue = Some("rebase");
    let ran = run(&world, &PROMOTE).exits(1);
    assert!(
        ran.stderr.contains("the merge queue of main allows rebase"),
        "{}",
        ran.stderr
    );
    assert_eq!(fake.writes(), [] as [String; 0]);
    fake.store().rules.queue = Some("squash");
    run(&world, &PROMOTE).exits(0);
}

fn signing(settings: &str, signatures: Signatures) -> (World, Fake) {
    let (world, fake) = hosted(Kind::Github, settings);
    fake.store().rules.signatures = Some(signatures);
    (world, fake)
}

const ALL: [Signatures; 3] = [Signatures::Base, Signatures::All, Signatures::Protection];

/// The branch's head has a signature and the planned contents, and no temporary branch remains.
fn is_signed(world: &World, fake: &Fake) {
    let store = fake.store();
    let pull = store.open_pulls()[0];
    let head = &store.refs[&pull.head];
    assert!(store.rules.signed.contains(head));
    assert_eq!(store.commit(head).parents, [store.refs["main"].clone()]);
    let message = &store.commit(head).message;
    assert!(
        message
            .trim_end()
            .ends_with(&format!("\n\nRepin-Set: {REV_B}")),
        "{message}"
    );
    let text = store.content(&pull.head, A);
    assert!(text.contains(world.digest("review", REV_B)), "{text}");
    assert!(!text.contains(world.digest("review", REV_A)), "{text}");
    let branches: Vec<_> = store.refs.keys().collect();
    assert_eq!(branches, ["main", &pull.head]);
}

#[test]
fn commits_are_signed_where_the_base_requires_it() {
    for signatures in ALL {
        let (world, fake) = signing("labels: []", signatures);
        run(&world, &PROMOTE).exits(0);
        is_signed(&world, &fake);
        if signatures != Signatures::Protection {
            // The temporary branch, the commit on it, the branch, and the pull request.
            assert_eq!(fake.writes().len(), 4, "{:#?}", fake.writes());
        }
        fake.forget();
        let again = run(&world, &PROMOTE).exits(0);
        assert!(
            again.stderr.contains("unchanged") || again.stdout.contains("unchanged"),
            "{signatures:?}"
        );
        assert_eq!(fake.writes(), [] as [String; 0], "{signatures:?}");
        assert!(
            fake.asked().len() <= 9,
            "{signatures:?}: {:#?}",
            fake.asked()
        );
    }
}

#[test]
fn without_a_rule_no_commit_is_signed() {
    let (world, fake) = hosted(Kind::Github, "labels: []");
    fake.store().required.clear();
    run(&world, &PROMOTE).exits(0);
    let received = fake.asked();
    let rules = received
        .iter()
        .filter(|received| received.contains("/rules/branches/main"));
    assert_eq!(rules.count(), 1, "{received:#?}");
    assert!(
        !received
            .iter()
            .any(|received| received.contains("repin/signing")),
        "{received:#?}"
    );
    assert_eq!(fake.store().rules.signed.len(), 0);
}

#[test]
fn scheduled_merge_uses_the_rules_already_read() {
    let (world, fake) = hosted(Kind::Github, MERGING);
    fake.store().report("ci", "pending");
    run(&world, &PROMOTE).exits(0);
    assert_eq!(fake.store().scheduled.len(), 1);
    let received = fake.asked();
    let rules = received
        .iter()
        .filter(|received| received.contains("/rules/branches/main"));
    // Once before the commit is published, and once with the required contexts.
    assert_eq!(rules.count(), 2, "{received:#?}");
}

#[test]
fn signed_rebuild_never_closes_the_pull_request() {
    for signatures in ALL {
        let (world, fake) = signing("labels: []", signatures);
        run(&world, &PROMOTE).exits(0);
        let text = fake.store().content("main", A) + "# moved\n";
        let moved = fake.store().push("main", "somebody's", &[(A, &text)]);
        fake.store().rules.signed.insert(moved);
        fake.forget();
        run(&world, &PROMOTE).exits(0);
        is_signed(&world, &fake);
        if signatures != Signatures::Protection {
            assert_eq!(fake.writes().len(), 4, "{:#?}", fake.writes());
        }
        assert!(
            fake.store().pulls[0].closed_at.is_none(),
            "{signatures:?}: the pull request was closed"
        );
        assert_eq!(fake.store().pulls.len(), 1, "{signatures:?}");
    }
}

#[test]
fn executable_that_the_forge_cannot_sign_is_refused() {
    for signatures in ALL {
        let (world, fake) = signing("labels: []", signatures);
        fake.store().chmod("main", A, "100755");
        let ran = run(&world, &PROMOTE).exits(1);
        assert!(
            ran.stderr.contains("main requires signed commits")
                && ran.stderr.contains(&format!("{A} has mode 100755")),
            "{signatures:?}: {}",
            ran.stderr
        );
        assert_eq!(fake.store().refs.len(), 1, "{signatures:?}");
        assert!(
            ran.stderr.contains("set forge.sign to git"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn unsigned_commit_for_a_base_that_requires_signatures_is_refused() {
    for signatures in ALL {
        let (world, fake) = signing("sign: never", signatures);
        let ran = run(&world, &PROMOTE).exits(1);
        assert!(
            ran.stderr.contains("forge.sign is never"),
            "{signatures:?}: {}",
            ran.stderr
        );
        assert_eq!(fake.store().refs.len(), 1, "{signatures:?}");
    }
}

#[test]
fn server_without_signing_is_reported() {
    for signatures in ALL {
        let (world, fake) = signing("labels: []", signatures);
        fake.store().rules.signs = false;
        let ran = run(&world, &PROMOTE).exits(1);
        assert!(
            ran.stderr.contains("did not sign the commit"),
            "{signatures:?}: {}",
            ran.stderr
        );
        assert_eq!(fake.store().refs.len(), 1, "{signatures:?}");
    }
}

#[test]
fn leftovers_of_an_interrupted_run_are_reused() {
    let (world, fake) = signing("labels: []", Signatures::Base);
    // Interrupted before the commit, and after it.
    for (skip, at) in [(0, COMMIT), (1, ("POST", "/git-receive-pack"))] {
        fake.fault_after(skip, at, 99, Fault::Instead(broken()));
        run(&world, &PROMOTE).exits(3);
        {
            let store = fake.store();
            assert!(
                !store.refs.contains_key(&branch()),
                "never half-done: {:?}",
                store.refs
            );
        }
        fake.forget();
        if skip > 0 {
            assert_eq!(fake.store().refs.len(), 2, "the temporary branch is left");
        }
    }
    run(&world, &PROMOTE).exits(0);
    is_signed(&world, &fake);
}

fn branch() -> String {
    format!("repin/promote-{REV_B}")
}

#[test]
fn refused_signed_branch_leaves_nothing() {
    for signatures in ALL {
        let (world, fake) = signing("labels: []", signatures);
        fake.store().github.ruled = vec!["repin/promote-"];
        let ran = run(&world, &PROMOTE).exits(1);
        assert!(
            ran.stderr.contains("check which rule set"),
            "{}",
            ran.stderr
        );
        let writes = fake.writes();
        let pushes = writes
            .iter()
            .filter(|line| line.ends_with("/git-receive-pack"));
        // The temporary branch, the branch of the pull request, and the deletion.
        assert_eq!(pushes.count(), 3, "{signatures:?} {writes:#?}");
        assert_eq!(fake.store().refs.len(), 1, "{signatures:?}");
    }
}

#[test]
fn moved_temporary_branch_is_recreated() {
    let (world, fake) = signing("labels: []", Signatures::Base);
    let temporary = format!("repin/signing/{}", branch());
    let name = temporary.clone();
    fake.at(When::Before, COMMIT.0, COMMIT.1, 1, move |store| {
        store.push(&name, "another run's", &[("x", "y")]);
    });
    fake.at(When::Before, COMMIT.0, COMMIT.1, 2, move |store| {
        store.refs.remove(&temporary);
    });
    run(&world, &PROMOTE).exits(0);
    is_signed(&world, &fake);
}

#[test]
fn base_that_moves_during_signing_is_replanned() {
    let (world, fake) = signing("labels: []", Signatures::Base);
    let text = fake.store().content("main", A) + "# moved\n";
    fake.store().intruder = Some((A.to_owned(), text));
    run(&world, &PROMOTE).exits(0);
    is_signed(&world, &fake);
    let store = fake.store();
    assert!(store.content(&branch(), A).ends_with("# moved\n"));
}

#[test]
fn token_without_workflow_permission_changes_nothing() {
    let (world, fake) = signing("labels: []", Signatures::Base);
    fake.store().workflows = false;
    let ran = run(&world, &PROMOTE).exits(4);
    assert!(ran.stderr.contains("workflows: write"), "{}", ran.stderr);
    assert_eq!(fake.store().refs.len(), 1);
}

#[test]
fn runs_at_once_sign_one_commit_that_counts() {
    let (world, fake) = signing("labels: []", Signatures::All);
    let start = |_| {
        world
            .command(&PROMOTE)
            .env("REPIN_FORGE_TOKEN", TOKEN)
            .stderr(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let runs: Vec<_> = (0..3).map(start).collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        let messages = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{messages}");
    }
    is_signed(&world, &fake);
    assert_eq!(fake.store().open_pulls().len(), 1);
}

fn diagnosis(world: &World, exit: i32) -> Value {
    let ran = run(world, &["doctor", "--format", "json"]);
    let rows = ran.json()["checks"].clone();
    let row = rows
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["code"] == "signed_commits")
        .unwrap()
        .clone();
    assert_eq!(row["status"] == "fail", exit == 1, "{rows:#}");
    assert!(exit == 0 || ran.code != 0, "{rows:#}");
    row
}

#[test]
fn doctor_reports_the_method_of_signing() {
    let (world, fake) = hosted(Kind::Github, "labels: []");
    assert_eq!(diagnosis(&world, 0)["status"], "skip");
    for signatures in ALL {
        fake.store().rules.signatures = Some(signatures);
        let row = diagnosis(&world, 0);
        assert_eq!(row["status"], "pass", "{row}");
    }
    fake.store().chmod("main", A, "100755");
    let row = diagnosis(&world, 1);
    assert!(row["detail"].as_str().unwrap().contains("100755"), "{row}");
    let (world, fake) = signing("sign: never", Signatures::Base);
    let row = diagnosis(&world, 1);
    assert!(row["detail"].as_str().unwrap().contains("never"), "{row}");
    assert_eq!(fake.writes(), [] as [String; 0]);
    let (world, _fake) = hosted(Kind::Gitea, "labels: []");
    assert_eq!(diagnosis(&world, 0)["status"], json!("skip"));
}
