//! The polls of a pull request: outcomes, scheduled merges and reports, on simulated forges.

use std::{cell::RefCell, time::Duration};

use serde_json::{Value, json};

use super::forge::{A, KINDS, PACE, PERMISSION, REQUEST, branch, opened, promote};
use crate::app::pull_request::ForgeRepository;
use crate::{
    app::pull_request::waiting::{
        MergeObstacle, MergeSchedule, PollSchedule, TimeoutState, WaitOutcome, WaitTarget, Waiting,
    },
    base::error::{Class, Error},
    forge::{PullState, Readiness},
    support::forge::{self as fakes, Fake, Fault, Kind, Reply, When, broken, error},
};

const GITEAS: [Kind; 2] = [Kind::Gitea, Kind::Forgejo];

/// A limited number of polls.
fn for_polls(polls: u32) -> PollSchedule {
    let pause = Duration::from_millis(50);
    PollSchedule {
        first: pause,
        most: pause,
        limit: pause * polls,
        ..PACE
    }
}

/// A head is stuck at the second such poll, because the pause is longer than the period.
fn unclear() -> PollSchedule {
    PollSchedule {
        unclear: Duration::from_millis(40),
        ..for_polls(600)
    }
}

async fn watched(
    forge: &ForgeRepository,
    pace: PollSchedule,
    arm: bool,
) -> (Result<WaitOutcome, Error>, Vec<String>) {
    let reports = RefCell::new(Vec::new());
    let report = |text: &str| reports.borrow_mut().push(text.to_owned());
    let arm = arm.then_some(MergeSchedule {
        gates: &[],
        permission: PERMISSION,
    });
    let watch = WaitTarget {
        number: 1,
        pace,
        schedule: arm,
        report: &report,
    };
    let waited = Waiting::default().until_merged(forge, &watch).await;
    (waited, reports.into_inner())
}

fn late(waited: Result<WaitOutcome, Error>) -> TimeoutState {
    match waited {
        Ok(WaitOutcome::OutOfTime(late)) => late,
        other => panic!("{other:?}"),
    }
}

/// The number of requests for the pull request.
fn polls(fake: &Fake) -> usize {
    count(fake, "/pulls/1")
}

fn count(fake: &Fake, end: &str) -> usize {
    let asked = fake.asked();
    asked.iter().filter(|line| line.ends_with(end)).count()
}

fn scheduled(fake: &Fake) -> usize {
    fake.store().scheduled.len()
}

/// A person closes the pull request before this poll, which ends the wait.
fn until_poll(fake: &Fake, poll: usize) {
    fake.when(poll, |store| store.close(1));
}

/// GitHub's response for the current pull request, with this state of its merge.
fn stated(fake: &Fake, mergeable: &Value, state: &str) -> Fault {
    let store = fake.store();
    let pull = &store.pulls[0];
    let row = json!({
        "number": 1, "html_url": "https://x", "title": pull.title, "body": pull.body,
        "node_id": "PR_1", "state": "open", "draft": false, "merged_at": null,
        "head": {"ref": pull.head, "sha": store.refs[&pull.head], "repo": {"full_name": "acme/flows"}},
        "base": {"ref": "main"}, "mergeable": mergeable, "mergeable_state": state,
    });
    Fault::Instead(Reply::json(200, row))
}

/// Makes the branch conflict with its base.
fn rival(fake: &Fake) {
    fake.store()
        .push("main", "rival", &[(A, "image: x@rev9\r\n")]);
}

/// Adds another commit of repin to the branch.
fn rebuild(store: &mut fakes::Store) {
    let commit = store.commit(&store.refs[&branch("rev2")]);
    let again = store.put_commit(&commit);
    store.refs.insert(branch("rev2"), again);
}

async fn queued() -> (Fake, ForgeRepository) {
    let (fake, forge, _) = opened(Kind::Github, &["ci"]).await;
    fake.store().rules.queue = Some("squash");
    fake.store().report("ci", "success");
    fake.forget();
    (fake, forge)
}

#[tokio::test]
async fn polls_are_spaced_and_report_the_last_failure() {
    for kind in KINDS {
        let (fake, forge, _) = opened(kind, &[]).await;
        fake.forget();
        // The attempts of the first poll.
        fake.fault(("GET", "/pulls/1"), 5, Fault::Instead(broken()));
        let late = late(watched(&forge, for_polls(40), false).await.0);
        assert!(late.answered && late.trouble.is_none(), "{late:?}");
        assert!(polls(&fake) <= 40 + 5, "{:#?}", fake.asked());
    }
}

#[tokio::test]
async fn first_read_continues_after_an_outage() {
    for kind in KINDS {
        let (fake, forge, _) = opened(kind, &[]).await;
        // Ten responses are two rounds of attempts.
        fake.fault(("GET", "/pulls/1"), 10, Fault::Instead(broken()));
        let watch = WaitTarget {
            number: 1,
            pace: PACE,
            schedule: None,
            report: &|_| {},
        };
        let mut waiting = Waiting::default();
        let read = waiting.read(&forge, &watch).await.unwrap();
        assert!(read.is_none(), "{kind:?} {read:?}");
        assert_eq!(waiting.pull().map(|pull| pull.number), Some(1), "{kind:?}");
    }
}

#[tokio::test]
async fn pauses_become_longer() {
    let (fake, forge, _) = opened(Kind::Github, &[]).await;
    fake.forget();
    let pace = PollSchedule {
        first: Duration::from_millis(5),
        most: Duration::from_secs(1),
        limit: Duration::from_millis(500),
        ..PACE
    };
    late(watched(&forge, pace, false).await.0);
    // A hundred without growth. A slow machine polls less often.
    assert!(polls(&fake) < 20, "{}", polls(&fake));
}

#[tokio::test]
async fn pull_request_that_vanishes_is_an_outage() {
    for kind in KINDS {
        let (fake, forge, _) = opened(kind, &[]).await;
        fake.when(2, |store| store.pulls.clear());
        let late = late(watched(&forge, for_polls(40), false).await.0);
        let trouble = late.trouble.unwrap().to_string();
        assert!(late.answered, "{kind:?}");
        assert!(
            trouble.contains("it no longer exists"),
            "{kind:?} {trouble}"
        );
    }
}

#[tokio::test]
async fn denied_conflict_check_ends_the_wait() {
    let (fake, forge, _) = opened(Kind::Github, &[]).await;
    rival(&fake);
    fake.store().github.delay = 0;
    let denied = Fault::Instead(error(403, "no"));
    fake.fault(("GET", "/info/refs"), 99, denied);
    let (waited, _) = watched(&forge, for_polls(3), false).await;
    assert_eq!(waited.unwrap_err().class, Class::Denied);
}

#[tokio::test]
async fn closed_pull_request_is_not_reported_as_merged() {
    for kind in KINDS {
        let (fake, forge, _) = opened(kind, &["ci"]).await;
        fake.when(2, |store| {
            store.push(&branch("rev2"), "theirs", &[("notes", "x")]);
            store.close(1);
        });
        let (waited, reports) = watched(&forge, for_polls(99), true).await;
        assert!(matches!(waited, Ok(WaitOutcome::Closed(_))), "{waited:?}");
        let merged = reports.iter().find(|text| text.contains("was merged"));
        assert_eq!(merged, None, "{kind:?}");
    }
}

#[tokio::test]
async fn conflict_without_a_known_head_is_reexamined() {
    // Only the verification of the head fetches the source branch.
    let (fake, forge, _) = opened(Kind::Github, &[]).await;
    rival(&fake);
    fake.store().github.delay = 0;
    fake.forget();
    fake.fault(("GET", "/info/refs"), 5, Fault::Instead(broken()));
    let (waited, _) = watched(&forge, for_polls(200), true).await;
    let Ok(WaitOutcome::Stuck(_, MergeObstacle::Conflict(files))) = waited else {
        panic!("{waited:?}")
    };
    assert_eq!((files.as_slice(), polls(&fake)), (&[A.to_owned()][..], 2));
}

// Only Gitea and Forgejo report a conflict and an unfinished check as the same state, which the period separates.
#[tokio::test]
async fn failed_verification_does_not_restart_the_period() {
    for kind in GITEAS {
        let (fake, forge, _) = opened(kind, &[]).await;
        fake.store().gitea.unchecked.insert(1);
        fake.forget();
        // The first poll verifies the head for the merge, and the second one compares it first.
        fake.fault_after(2, ("GET", "/info/refs"), 5, Fault::Instead(broken()));
        let (waited, _) = watched(&forge, unclear(), true).await;
        let is_stuck = matches!(&waited, Ok(WaitOutcome::Stuck(_, MergeObstacle::Unchecked)));
        assert!(is_stuck, "{kind:?} {waited:?}");
        assert_eq!(polls(&fake), 3, "{kind:?} {:#?}", fake.asked());
    }
}

// Only on Gitea and Forgejo, as above.
#[tokio::test]
async fn head_is_stuck_after_the_full_period() {
    for kind in GITEAS {
        for (case, expected) in [
            ("at once", 1),
            ("same", 2),
            ("moved", 3),
            ("mergeable between", 4),
        ] {
            let (fake, forge, _) = opened(kind, &[]).await;
            fake.store().gitea.unchecked.insert(1);
            fake.forget();
            let mut pace = unclear();
            match case {
                "at once" => pace.unclear = Duration::ZERO,
                "moved" => fake.when(2, rebuild),
                "mergeable between" => {
                    fake.when(2, |store| store.gitea.unchecked.clear());
                    fake.when(3, |store| {
                        store.gitea.unchecked.insert(1);
                    });
                }
                _ => {}
            }
            let (waited, _) = watched(&forge, pace, false).await;
            assert!(
                matches!(&waited, Ok(WaitOutcome::Stuck(_, MergeObstacle::Unchecked))),
                "{kind:?} {case} {waited:?}"
            );
            assert_eq!(polls(&fake), expected, "{kind:?} {case}");
        }
    }
}

#[tokio::test]
async fn conflict_without_files_counts_after_a_delay() {
    let dirty = |fake: &Fake| stated(fake, &json!(false), "dirty");
    let (fake, forge, _) = opened(Kind::Github, &[]).await;
    fake.forget();
    fake.fault(("GET", "/pulls/1"), 3, dirty(&fake));
    fake.when(4, |store| drop(store.merge(1)));
    let (waited, _) = watched(&forge, for_polls(600), false).await;
    assert!(matches!(waited, Ok(WaitOutcome::Merged(..))), "{waited:?}");
    assert_eq!(
        count(&fake, "/info/refs?service=git-upload-pack"),
        // A list; the commits were fetched before.
        1,
        "{:#?}",
        fake.asked()
    );
    // GitHub repeats the state at the same head: it is reported regardless of the files.
    let (fake, forge, _) = opened(Kind::Github, &[]).await;
    fake.forget();
    fake.fault(("GET", "/pulls/1"), 9, dirty(&fake));
    let (waited, _) = watched(&forge, unclear(), false).await;
    let Ok(WaitOutcome::Stuck(_, MergeObstacle::Conflict(files))) = waited else {
        panic!("{waited:?}")
    };
    assert_eq!((files.len(), polls(&fake)), (0, 2));
}

#[tokio::test]
async fn outdated_branch_is_reported_once_for_each_head() {
    let (fake, forge, _) = opened(Kind::Github, &[]).await;
    {
        let mut store = fake.store();
        store.github.strict = fakes::github::Strict::RuleSet;
        store.github.delay = 0;
        store.push("main", "docs", &[("README.md", "more")]);
    }
    fake.when(4, rebuild);
    until_poll(&fake, 7);
    let (waited, reports) = watched(&forge, for_polls(600), false).await;
    assert!(matches!(waited, Ok(WaitOutcome::Closed(_))), "{waited:?}");
    let outdated = reports
        .iter()
        .filter(|text| text.contains("is behind main"));
    assert_eq!(outdated.count(), 2, "{reports:?}");
}

#[tokio::test]
async fn earlier_queue_removal_does_not_end_the_wait() {
    let (fake, forge) = queued().await;
    fake.store().queue_removes(1, Some("branch updated"));
    // The branch is rebuilt immediately after the poll that reports the removal.
    fake.when(2, rebuild);
    fake.when(5, |store| drop(store.merge(1)));
    let (waited, _) = watched(&forge, for_polls(99), false).await;
    assert!(matches!(waited, Ok(WaitOutcome::Merged(..))), "{waited:?}");
}

#[tokio::test]
async fn unexplained_queue_removal_is_reported_at_the_end() {
    let read = ("GET", "/pulls/1");
    for (skip, at, arm) in [
        (1, read, false),
        (0, ("GET", "/info/refs?service=git-upload-pack"), true),
    ] {
        let (fake, forge) = queued().await;
        fake.store().queue_removes(1, Some("branch updated"));
        fake.fault_after(skip, at, 5, Fault::Instead(broken()));
        let (waited, _) = watched(&forge, for_polls(0), arm).await;
        assert!(late(waited).trouble.is_some(), "{at:?}");
        assert_eq!(fake.store().rules.enqueued, [0; 0], "{at:?}");
    }
}

#[tokio::test]
async fn merge_of_a_draft_is_not_scheduled() {
    for kind in KINDS {
        let (fake, forge, pull) = opened(kind, &["ci"]).await;
        fake.store().report("ci", "pending");
        forge.set_state(&pull, Readiness::Draft).await.unwrap();
        let (waited, reports) = watched(&forge, for_polls(2), true).await;
        late(waited);
        assert_eq!(reports, [""; 0], "{kind:?}");
        assert_eq!(scheduled(&fake), 0, "{kind:?}");
    }
}

#[tokio::test]
async fn merge_canceled_by_a_person_is_not_rescheduled() {
    for kind in KINDS {
        let (fake, forge, _) = opened(kind, &["ci"]).await;
        fake.store().report("ci", "pending");
        fake.when(3, |store| {
            assert_eq!(store.scheduled.len(), 1);
            store.scheduled.clear();
        });
        until_poll(&fake, 6);
        let (waited, _) = watched(&forge, for_polls(600), true).await;
        assert!(matches!(waited, Ok(WaitOutcome::Closed(_))), "{waited:?}");
        assert_eq!(scheduled(&fake), 0, "{kind:?}");
    }
}

#[tokio::test]
async fn completed_or_queued_merge_is_requested_once() {
    // GitHub reports the pull request as open for another poll.
    let (fake, forge, _) = opened(Kind::Github, &["ci"]).await;
    fake.store().report("ci", "success");
    let stale = stated(&fake, &json!(true), "clean");
    fake.fault_after(1, ("GET", "/pulls/1"), 3, stale);
    let (waited, reports) = watched(&forge, for_polls(99), true).await;
    assert!(matches!(waited, Ok(WaitOutcome::Merged(..))), "{waited:?}");
    assert_eq!(reports, [""; 0]);
    // The queue has finished, and the pull request is still reported as open: a second request
    // would be refused.
    let (fake, forge) = queued().await;
    let again = fakes::github_rules::wrong("UNPROCESSABLE", "a second request");
    let at = ("POST", "/graphql#enqueuePullRequest");
    fake.fault_after(1, at, 9, Fault::Instead(again));
    fake.when(3, |store| store.queue_removes(1, Some("MERGE")));
    until_poll(&fake, 6);
    let (waited, reports) = watched(&forge, for_polls(600), true).await;
    assert!(matches!(waited, Ok(WaitOutcome::Closed(_))), "{waited:?}");
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].contains("at position 1"), "{reports:?}");
}

#[tokio::test]
async fn head_is_verified_once() {
    for kind in KINDS {
        // The gate reports after some polls.
        let (fake, forge, _) = opened(kind, &["ci"]).await;
        fake.forget();
        until_poll(&fake, 5);
        let (waited, _) = watched(&forge, for_polls(600), true).await;
        assert!(matches!(waited, Ok(WaitOutcome::Closed(_))), "{waited:?}");
        // The branches, and the contents of the files with pins.
        let read = count(&fake, "/info/refs?service=git-upload-pack");
        assert!(read <= 2, "{kind:?} {:#?}", fake.asked());
    }
}

#[tokio::test]
async fn pull_request_from_a_fork_ends_the_wait() {
    for kind in KINDS {
        let (fake, forge, pull) = opened(kind, &["ci"]).await;
        assert_eq!(pull.state, PullState::Open);
        fake.store().report("ci", "pending");
        fake.store().pulls[0].head_repo = "fork/flows".to_owned();
        let (waited, _) = watched(&forge, for_polls(3), true).await;
        assert!(matches!(waited, Ok(WaitOutcome::Refused(_))), "{waited:?}");
        assert_eq!(scheduled(&fake), 0, "{kind:?}");
        // The run that opens repin's pull request ignores it.
        let ours = promote(&fake, REQUEST).await.unwrap().number;
        assert_ne!(ours, 1, "{kind:?}");
    }
}

#[tokio::test]
async fn merge_of_a_ready_draft_is_scheduled() {
    for kind in KINDS {
        let (fake, forge, pull) = opened(kind, &["ci"]).await;
        fake.store().report("ci", "pending");
        forge.set_state(&pull, Readiness::Draft).await.unwrap();
        fake.at(When::Before, "GET", "/pulls/1", 3, move |store| {
            let pull = &mut store.pulls[0];
            pull.draft = false;
            pull.title = pull.title.replace("WIP: ", "").replace("Draft: ", "");
        });
        until_poll(&fake, 6);
        let (waited, _) = watched(&forge, for_polls(600), true).await;
        assert!(matches!(waited, Ok(WaitOutcome::Closed(_))), "{waited:?}");
        assert_eq!(scheduled(&fake), 1, "{kind:?}");
    }
}
