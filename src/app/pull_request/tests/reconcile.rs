//! The branches and pull requests that a run treats as repin's, its writes and its reports: one
//! fault or one similar pull request at a time, on simulated forges.

use serde_json::json;

use super::forge::{
    A, B, KINDS, REQUEST, Request, attempt, branch, fake, forge, is_whole, mark, promote,
};
use crate::{
    app::pull_request::reconcile::{Outcome, PullRequestAction, RevisionAge},
    base::error::{Class, Error},
    support::{
        forge::{self as fakes, Fake, Fault, Kind, PullRow, Reply, When, broken, error},
        sweep::{one_of, with_each},
    },
};

const COMMIT: &str = "promote: images @rev2\n\nRepin-Set: rev2\n";
const REOPEN: Request = Request {
    reopen: true,
    ..REQUEST
};

fn body(revision: &str) -> String {
    format!("changes\n\n<!-- repin/2 kind=promote set=repin.yaml revision={revision} -->\n")
}

/// The text of a pull request while its branch is recreated.
/// Pushes repin's commit with this revision to the branch of `rev2`; returns the head.
fn push(fake: &Fake, revision: &str) -> String {
    let (a, b) = (
        format!("image: x@{revision}\r\n"),
        format!("image: x@{revision} # é"),
    );
    fake.store()
        .push(&branch("rev2"), COMMIT, &[(A, &a), (B, &b)])
}

/// Adds repin's pull request for `rev2` after `change`; returns its number.
fn add(fake: &Fake, change: impl FnOnce(&mut PullRow)) -> u64 {
    let mut store = fake.store();
    let number = store.number();
    let mut pull = row(number);
    change(&mut pull);
    store.pulls.push(pull);
    number
}

/// The title of a draft; GitHub has no prefix.
fn draft_title(kind: Kind, title: &str) -> String {
    let prefix = if kind == Kind::Gitlab {
        "Draft:"
    } else {
        "WIP:"
    };
    format!("{prefix} {title}")
}

fn row(number: u64) -> PullRow {
    PullRow {
        number,
        title: "promote: images @rev2".to_owned(),
        body: body("rev2"),
        open: true,
        merged: None,
        draft: false,
        head: branch("rev2"),
        head_repo: "acme/flows".to_owned(),
        base: "main".to_owned(),
        labels: Vec::new(),
        closed_at: None,
    }
}

fn to_revision(pull: &mut PullRow, revision: &str) {
    (pull.head, pull.body) = (branch(revision), body(revision));
}

fn open(fake: &Fake) -> Vec<u64> {
    let store = fake.store();
    store.open_pulls().iter().map(|pull| pull.number).collect()
}

/// The writing requests, without the address of the repository.
fn writes(fake: &Fake) -> Vec<String> {
    let writes = fake.writes();
    let short = writes.iter().map(|line| {
        let line = line.replace("/api/v1", "").replace("/repos/acme/flows", "");
        // The same requests on GitLab.
        let line = line.replace("/api/v4/projects/7/merge_requests", "/pulls");
        line.replace("PUT /pulls", "PATCH /pulls")
    });
    short.collect()
}

fn refusal() -> Fault {
    Fault::Instead(error(403, "no"))
}

/// The error of one attempt, and whether it may have had an effect.
async fn failed(fake: &Fake, request: Request) -> Error {
    attempt(&forge(fake), request).await.unwrap_err()
}

#[tokio::test]
async fn only_older_pull_requests_are_superseded() {
    for kind in one_of(KINDS) {
        // Another run opens one for another revision right after this run: its number is higher.
        for (age, is_closed) in [(&RevisionAge::Unknown, false), (&RevisionAge::Older, true)] {
            let fake = fake(kind);
            fake.at(When::After, "POST", "/pulls", 1, |store| {
                let files = [(A, "image: x@rev3\r\n"), (B, "image: x@rev3 # é")];
                store.push(&branch("rev3"), COMMIT, &files);
                let mut pull = row(store.number());
                to_revision(&mut pull, "rev3");
                store.pulls.push(pull);
            });
            let result = promote(&fake, Request { age, ..REQUEST }).await.unwrap();
            let expected: &[u64] = if is_closed { &[2] } else { &[] };
            assert_eq!(result.superseded, expected, "{kind:?} {age:?}");
            assert_eq!(open(&fake).len(), 2 - expected.len());
        }

        // A foreign commit: it stays open, and only its scheduled merge is canceled.
        for auto_merge in [false, true] {
            let fake = fake(kind);
            push(&fake, "rev2");
            add(&fake, |_| {});
            fake.store()
                .push(&branch("rev2"), "mine", &[("notes", "x")]);
            let head = fake.store().refs[&branch("rev2")].clone();
            fake.store().scheduled.push((1, head));
            let request = Request {
                revision: "rev3",
                auto_merge,
                ..REQUEST
            };
            let result = promote(&fake, request).await.unwrap();
            assert_eq!(open(&fake), [1, 2], "{kind:?}");
            let [warning] = &*result.warnings else {
                panic!("{kind:?} {:?}", result.warnings)
            };
            assert!(warning.contains("not closed: "), "{warning}");
            assert_eq!(fake.store().scheduled.is_empty(), auto_merge, "{kind:?}");
        }

        // An outage is no foreign commit.
        let fake = fake(kind);
        push(&fake, "rev2");
        add(&fake, |_| {});
        fake.at(When::After, "POST", "/pulls", 1, |store| {
            store.refs.remove(&branch("rev2"));
        });
        let request = Request {
            revision: "rev3",
            ..REQUEST
        };
        let error = promote(&fake, request).await.unwrap_err();
        assert_eq!(error.class, Class::Unavailable, "{kind:?} {error}");
    }
}

#[tokio::test]
async fn branch_of_another_set_is_refused() {
    let marker =
        |kind: &str| format!("<!-- repin/2 kind={kind} set=x/repin.yaml revision=rev2 -->");
    let other = "Repin-Set: rev2 (x/repin.yaml)\n";
    let belongs = "it belongs to the set x/repin.yaml";
    for kind in KINDS {
        let with_commit = async |trailers: &str| {
            let fake = fake(kind);
            let message = format!("promote: images @rev2\n\n{trailers}");
            let files = [(A, "image: x@rev2\r\n"), (B, "image: x@rev2 # é")];
            fake.store().push(&branch("rev2"), &message, &files);
            attempt(&forge(&fake), REQUEST).await
        };
        let error = with_commit(other).await.unwrap_err();
        assert!(error.to_string().contains(belongs), "{kind:?} {error}");
        // A squash of both sets belongs to each of them.
        let both = with_commit(&format!("{other}Repin-Set: rev2 (repin.yaml)\n")).await;
        assert!(
            matches!(both, Ok(Outcome::Reconciled(_))),
            "{kind:?} {both:?}"
        );

        let with_pull = async |body: String, repository: &str| {
            let fake = fake(kind);
            push(&fake, "rev2");
            add(&fake, |pull| {
                (pull.body, pull.head_repo) = (body, repository.to_owned());
            });
            attempt(&forge(&fake), REQUEST).await
        };
        let error = with_pull(marker("promote"), "acme/flows")
            .await
            .unwrap_err();
        assert!(error.to_string().contains(belongs), "{kind:?} {error}");
        // The branch of a fork, and a pull request of two long-lived branches, are those of no set.
        let fork = with_pull(marker("promote"), "fork/flows").await;
        assert!(
            matches!(fork, Ok(Outcome::Reconciled(_))),
            "{kind:?} {fork:?}"
        );
        let error = with_pull(marker("branch"), "acme/flows").await.unwrap_err();
        assert!(!error.to_string().contains("belongs"), "{kind:?} {error}");
    }
}

#[tokio::test]
async fn commit_with_pins_outside_of_the_plan_is_foreign() {
    const C: &str = "c.yml";
    let config =
        format!("version: 1\nfiles: [{C}]\nimages: {{ c: {{ repository: y, pins: 1 }} }}\n");
    let pin = |digit: &str| format!("image: y@sha256:{}\n", digit.repeat(64));
    for kind in KINDS {
        let fake = fake(kind);
        let files = [("repin.yaml", &*config), (C, &pin("1"))];
        fake.store().push("main", "more", &files);
        // The base's configuration of this set has pins that the plan does not have.
        fake.store()
            .push(&branch("rev2"), COMMIT, &[(C, &pin("2"))]);
        let error = failed(&fake, REQUEST).await.to_string();
        assert!(error.contains("foreign commit"), "{kind:?} {error}");
    }
}

#[tokio::test]
async fn base_moved_before_opening_keeps_the_plan() {
    for kind in KINDS {
        let fake = fake(kind);
        fake.at(When::Before, "POST", "/pulls", 1, |store| {
            store.push("main", "docs", &[("README.md", "more")]);
        });
        let outcome = attempt(&forge(&fake), REQUEST).await.unwrap();
        let Outcome::Reconciled(result) = outcome else {
            panic!("{kind:?}: {outcome:?}")
        };
        assert_eq!(result.change, PullRequestAction::Created, "{kind:?}");
    }
}

#[tokio::test]
async fn only_a_verified_branch_is_compared_unread() {
    // Before version 12, Forgejo responds 500 to the comparison of a missing branch.
    for case in ["another branch", "a fork", "a deleted branch"] {
        let fake = fake(Kind::Forgejo);
        fake.store().push("other", "work", &[("x", "y")]);
        add(&fake, |pull| match case {
            "another branch" => pull.head = "other".to_owned(),
            "a fork" => pull.head_repo = "fork/flows".to_owned(),
            _ => {}
        });
        promote(&fake, REQUEST).await.unwrap();
        assert_eq!(fake.answered(500), 0, "{case}");
    }
}

#[tokio::test]
async fn foreign_commit_cancels_only_its_merge() {
    for kind in KINDS {
        let fake = fake(kind);
        let request = Request {
            auto_merge: true,
            ..REQUEST
        };
        let ours = promote(&fake, request).await.unwrap().number;
        fake.store().push("other", "work", &[("x", "y")]);
        let others = [
            add(&fake, |pull| pull.head_repo = "fork/flows".to_owned()),
            add(&fake, |pull| pull.head = "other".to_owned()),
            add(&fake, |pull| pull.body = "mine".to_owned()),
        ];
        let head = fake
            .store()
            .push(&branch("rev2"), "theirs", &[("notes", "x")]);
        for number in others.into_iter().chain([ours]) {
            fake.store().scheduled.push((number, head.clone()));
        }
        let error = promote(&fake, request).await.unwrap_err();
        let said = format!("the scheduled merge of {} was canceled", mark(kind, ours));
        assert!(error.message.contains(&said), "{kind:?} {error}");
        let store = fake.store();
        let left: Vec<_> = store.scheduled.iter().map(|(number, _)| *number).collect();
        assert_eq!(left, others, "{kind:?}");
    }
}

#[tokio::test]
async fn branch_after_a_merge_starts_at_the_base() {
    for kind in KINDS {
        // The base merged it by squashing, and then restored its earlier content.
        let fake = fake(kind);
        let first = promote(&fake, REQUEST).await.unwrap().number;
        {
            let mut store = fake.store();
            let both = [(A, "image: x@rev2\r\n"), (B, "image: x@rev2 # é")];
            let id = store.push("main", "promote (#1)", &both);
            let pull = store.pull_mut(first).unwrap();
            (pull.open, pull.merged) = (false, Some(id));
            let both = [(A, "image: x@rev1\r\n"), (B, "image: x@rev1 # é")];
            store.push("main", "revert", &both);
        }
        fake.fault(("POST", "/pulls"), 1, refusal());
        assert!(failed(&fake, REQUEST).await.may_have_changed, "{kind:?}");
        // The branch exists; the next run opens the pull request for it.
        fake.forget();
        let second = promote(&fake, REQUEST).await.unwrap();
        assert_eq!(second.change, PullRequestAction::Created, "{kind:?}");
        assert_eq!(writes(&fake), ["POST /pulls"], "{kind:?}");
        is_whole(&fake, "rev2");
    }
}

#[tokio::test]
async fn reopened_pull_request_keeps_a_matching_branch() {
    for kind in KINDS {
        let fake = fake(kind);
        let number = promote(&fake, REQUEST).await.unwrap().number;
        fake.store().close(number);
        fake.forget();
        let again = promote(&fake, REOPEN).await.unwrap();
        assert_eq!(
            (again.number, again.change),
            (number, PullRequestAction::Updated)
        );
        let edit = format!("PATCH /pulls/{number}");
        assert_eq!(writes(&fake), std::slice::from_ref(&edit), "{kind:?}");
        is_whole(&fake, "rev2");
    }
}

#[tokio::test]
async fn branch_reported_as_behind_is_rebuilt() {
    let fake = fake(Kind::Github);
    promote(&fake, REQUEST).await.unwrap();
    {
        let mut store = fake.store();
        store.github.strict = fakes::github::Strict::Protection;
        store.required = vec!["ci".to_owned()];
        store.push("main", "docs", &[("README.md", "more")]);
    }
    fake.store().report("ci", "success");
    let again = promote(&fake, REQUEST).await.unwrap();
    assert_eq!(again.change, PullRequestAction::Updated);
    is_whole(&fake, "rev2");
}

/// The commits change only pins, so they are repin's.
#[tokio::test]
async fn branch_with_other_pins_is_rebuilt() {
    const C: &str = "deploy/c.yml";
    for kind in KINDS {
        for other_path in [false, true] {
            let fake = fake(kind);
            fake.store()
                .push("main", "more", &[(C, "image: x@rev1\r\n")]);
            push(&fake, if other_path { "rev2" } else { "rev0" });
            if other_path {
                let more = [(C, "image: x@rev0\r\n")];
                fake.store().push(&branch("rev2"), COMMIT, &more);
            }
            promote(&fake, REQUEST).await.unwrap();
            is_whole(&fake, "rev2");
            let after = fake.store().content(&branch("rev2"), C);
            assert_eq!(after, "image: x@rev1\r\n", "{kind:?} {other_path}");
        }
    }
}

#[tokio::test]
async fn planned_content_at_another_path_is_foreign() {
    for kind in KINDS {
        let fake = fake(kind);
        let swapped = [(A, "image: x@rev2 # é"), (B, "image: x@rev2 # é")];
        let theirs = fake.store().push(&branch("rev2"), COMMIT, &swapped);
        let error = failed(&fake, REQUEST).await;
        assert_eq!(error.class, Class::Conflict, "{kind:?}");
        assert!(error.message.contains(&theirs), "{kind:?} {error}");
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");
    }
}

#[tokio::test]
async fn update_without_a_response_is_reported_as_updated() {
    for kind in KINDS {
        let fake = fake(kind);
        let number = promote(&fake, REQUEST).await.unwrap().number;
        let more = [(A, "image: x@rev1\r\nmore: lines\r\n")];
        fake.store().push("main", "other lines", &more);
        fake.fault(("POST", "/git-receive-pack"), 1, Fault::Silence);
        let again = promote(&fake, REQUEST).await.unwrap();
        let reported = (again.number, again.change);
        assert_eq!(reported, (number, PullRequestAction::Updated), "{kind:?}");
    }
}

#[tokio::test]
async fn only_workflows_require_the_workflow_permission() {
    let fake = fake(Kind::Github);
    fake.store().scopes = Some("repo");
    assert_eq!(failed(&fake, REQUEST).await.class, Class::Denied);
    // Only a file outside of the workflows remains to change.
    fake.store()
        .push("main", "half", &[(A, "image: x@rev2\r\n")]);
    promote(&fake, REQUEST).await.unwrap();
}

/// The state before a write; the first write of the run is the one in question.
fn before(case: &str, kind: Kind) -> (Fake, Request) {
    let fake = fake(kind);
    let head = push(&fake, "rev2");
    let mut request = REQUEST;
    match case {
        "a new pull request" => {}
        "labels" => {
            add(&fake, |_| {});
            request.labels = true;
        }
        "a draft" => {
            add(&fake, |pull| {
                pull.draft = true;
                pull.title = draft_title(kind, &pull.title);
            });
        }
        "a closed one" => {
            add(&fake, |pull| {
                (pull.open, pull.closed_at) = (false, Some(head));
            });
            request.reopen = true;
        }
        "a duplicate" => {
            add(&fake, |_| {});
            add(&fake, |_| {});
        }
        _ => {
            let files = [(A, "image: x@rev0\r\n"), (B, "image: x@rev0 # é")];
            fake.store().push(&branch("rev0"), COMMIT, &files);
            add(&fake, |pull| to_revision(pull, "rev0"));
            add(&fake, |_| {});
        }
    }
    (fake, request)
}

#[tokio::test]
async fn permission_is_checked_before_the_first_write() {
    let cases = [
        "a new pull request",
        "labels",
        "a draft",
        "a closed one",
        "a duplicate",
        "an older one",
    ];
    for (kind, case) in with_each(&cases, &KINDS) {
        let (fake, request) = before(case, kind);
        fake.store().push = Some(false);
        let denied = promote(&fake, request).await.unwrap_err();
        assert_eq!(denied.class, Class::Denied, "{kind:?} {case} {denied}");
        assert_eq!(fake.writes(), [""; 0], "{kind:?} {case}");
        // With the permission, this write is the first.
        fake.store().push = Some(true);
        promote(&fake, request).await.unwrap();
        assert_ne!(fake.writes(), [""; 0], "{kind:?} {case}");
    }
}

#[tokio::test]
async fn error_states_whether_something_was_begun() {
    for kind in one_of(KINDS) {
        // An update: its first request is refused, or its response is lost.
        for (fault, may_have_changed) in [(refusal(), false), (Fault::Silence, true)] {
            let fake = fake(kind);
            let number = promote(&fake, REQUEST).await.unwrap().number;
            let more = [(A, "image: x@rev1\r\nmore: lines\r\n")];
            fake.store().push("main", "other lines", &more);
            fake.fault(("PATCH", &format!("/pulls/{number}")), 99, fault);
            assert_eq!(
                failed(&fake, REQUEST).await.may_have_changed,
                may_have_changed,
                "{kind:?}"
            );
        }
        // A pull request for an existing branch: refused, lost and then refused, malformed.
        let malformed = Fault::After(Reply::json(201, json!("opened")));
        for (first, may_have_changed) in [
            (refusal(), false),
            (Fault::Instead(broken()), true),
            (malformed.clone(), true),
        ] {
            let fake = fake(kind);
            push(&fake, "rev2");
            fake.fault(("POST", "/pulls"), 1, first);
            fake.fault(("POST", "/pulls"), 9, refusal());
            assert_eq!(
                failed(&fake, REQUEST).await.may_have_changed,
                may_have_changed,
                "{kind:?}"
            );
        }
    }
    for kind in one_of(KINDS) {
        // A branch with a lost response, which the branch itself settles.
        let fake = fake(kind);
        fake.fault(("POST", "/git-receive-pack"), 1, Fault::Silence);
        fake.fault(("POST", "/pulls"), 9, refusal());
        let failure = failed(&fake, REQUEST).await;
        assert!(
            failure.may_have_changed,
            "{kind:?} {failure} {:#?}",
            fake.asked()
        );
        // One that cannot be settled.
        let fake = super::forge::fake(kind);
        fake.fault(("POST", "/git-receive-pack"), 99, Fault::Silence);
        let refs = ("GET", "/info/refs?service=git-upload-pack");
        fake.fault_after(3, refs, 99, Fault::Instead(broken()));
        assert!(failed(&fake, REQUEST).await.may_have_changed, "{kind:?}");
        // A refused push.
        let fake = super::forge::fake(kind);
        push(&fake, "rev0");
        let refs = ("GET", "/info/refs?service=git-receive-pack");
        fake.fault(refs, 9, Fault::Instead(error(403, "no")));
        assert!(!failed(&fake, REQUEST).await.may_have_changed, "{kind:?}");
    }
}

#[tokio::test]
async fn moved_base_changes_nothing() {
    for kind in KINDS {
        for path in ["README.md", A] {
            let fake = fake(kind);
            fake.store().intruder = Some((path.to_owned(), "image: x@rev1 other".to_owned()));
            let outcome = attempt(&forge(&fake), REQUEST).await.unwrap();
            assert!(
                matches!(outcome, Outcome::BaseMoved { may_have_changed } if !may_have_changed),
                "{kind:?} {path} {outcome:?}"
            );
        }
    }
}

#[tokio::test]
async fn branch_without_commits_is_moved_forward() {
    for kind in KINDS {
        let fake = fake(kind);
        let main = fake.store().refs["main"].clone();
        fake.store().refs.insert(branch("rev2"), main);
        promote(&fake, REQUEST).await.unwrap();
        is_whole(&fake, "rev2");
        let backward = |line: &&String| line.contains("graphql") || line.starts_with("DELETE");
        let writes = writes(&fake);
        assert_eq!(writes.iter().find(backward), None, "{kind:?}");
    }
}

#[tokio::test]
async fn persons_closing_overrides_earlier_notices() {
    for kind in KINDS {
        let fake = fake(kind);
        let main = fake.store().refs["main"].clone();
        add(&fake, |pull| {
            (pull.open, pull.merged) = (false, Some(main.clone()));
        });
        let last = add(&fake, |pull| pull.open = false);
        let said = vec!["no thanks".to_owned()];
        fake.store().comments.insert(last, said);
        assert_eq!(
            failed(&fake, REQUEST).await.class,
            Class::Refused,
            "{kind:?}"
        );
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");
    }
}

#[tokio::test]
async fn merged_duplicate_counts_as_merged() {
    for kind in KINDS {
        let fake = fake(kind);
        let main = fake.store().refs["main"].clone();
        add(&fake, |pull| pull.open = false);
        let last = add(&fake, |pull| {
            (pull.open, pull.merged) = (false, Some(main.clone()));
        });
        let said = vec!["<!-- repin/1 duplicate-of=1 -->".to_owned()];
        fake.store().comments.insert(last, said);
        let opened = promote(&fake, REQUEST).await.unwrap();
        assert_eq!(opened.change, PullRequestAction::Created, "{kind:?}");
    }
}

#[tokio::test]
async fn similar_pull_request_of_a_person_stays_open() {
    for kind in KINDS {
        let fake = fake(kind);
        push(&fake, "rev2");
        fake.store().push("other", "work", &[("x", "y")]);
        let all = [
            add(&fake, |_| {}),
            add(&fake, |pull| pull.head = "other".to_owned()),
            add(&fake, |pull| pull.body = "mine".to_owned()),
            add(&fake, |pull| pull.head_repo = "fork/flows".to_owned()),
        ];
        let result = promote(&fake, REQUEST).await.unwrap();
        assert_eq!(result.change, PullRequestAction::Unchanged, "{kind:?}");
        assert_eq!(open(&fake), all, "{kind:?}");
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");
    }
}

#[tokio::test]
async fn lowest_number_of_duplicates_stays() {
    for kind in KINDS {
        // A delayed listing contains only the duplicate.
        let lagging = fake(kind);
        push(&lagging, "rev2");
        lagging.at(When::After, "POST", "/pulls", 1, |store| {
            store.pulls = vec![row(99)];
        });
        let result = promote(&lagging, REQUEST).await.unwrap();
        let reported = (result.number, result.change);
        assert_eq!(reported, (1, PullRequestAction::Created), "{kind:?}");
        assert_eq!(open(&lagging), [0; 0], "{kind:?}");
        // The other run was faster: this pull request is closed.
        let late = fake(kind);
        push(&late, "rev2");
        for _ in 0..5 {
            late.store().number();
        }
        late.at(When::After, "POST", "/pulls", 1, |store| {
            store.pulls.push(row(2));
        });
        let result = promote(&late, REQUEST).await.unwrap();
        let reported = (result.number, result.change);
        assert_eq!(reported, (2, PullRequestAction::Unchanged), "{kind:?}");
        assert!(result.url.ends_with("/2"), "{}", result.url);
        assert_eq!(open(&late), [2], "{kind:?}");
        // The result is the same if the next request fails.
        late.store().pulls.clear();
        late.at(When::After, "POST", "/pulls", 1, move |store| {
            let mut duplicate = row(3);
            (duplicate.draft, duplicate.title) = (true, draft_title(kind, &duplicate.title));
            store.pulls.push(duplicate);
        });
        late.fault(("PATCH", "/pulls/3"), 9, refusal());
        late.fault(("POST", "/graphql#Ready"), 9, refusal());
        let outcome = attempt(&forge(&late), REQUEST).await.unwrap();
        let Outcome::Reconciled(result) = outcome else {
            panic!("{kind:?} {outcome:?}")
        };
        let reported = (result.number, result.change);
        assert_eq!(reported, (3, PullRequestAction::Unchanged), "{kind:?}");
        assert!(result.late_error.is_some(), "{kind:?}");
        // A duplicate that cannot be closed is an error.
        let stuck = fake(kind);
        push(&stuck, "rev2");
        add(&stuck, |_| {});
        let duplicate = add(&stuck, |_| {});
        stuck.fault(("POST", "/comments"), 9, refusal());
        let error = promote(&stuck, REQUEST).await.unwrap_err();
        assert_eq!(error.class, Class::Denied, "{kind:?}");
        assert!(open(&stuck).contains(&duplicate), "{kind:?}");
    }
}

#[tokio::test]
async fn pull_request_is_replaced_after_a_refused_reopening() {
    // GitHub cannot reopen a pull request after its branch moved.
    for (case, pushes) in [("planned", 0), ("stale", 1), ("behind", 1)] {
        let fake = fake(Kind::Github);
        match case {
            "planned" => drop(push(&fake, "rev2")),
            "stale" => drop(push(&fake, "rev0")),
            _ => {
                let main = fake.store().refs["main"].clone();
                fake.store().refs.insert(branch("rev2"), main);
            }
        }
        let closed = add(&fake, |pull| {
            (pull.open, pull.closed_at) = (false, Some("0".repeat(40)));
        });
        let result = promote(&fake, REOPEN).await.unwrap();
        assert_eq!(result.change, PullRequestAction::Created, "{case}");
        assert_ne!(result.number, closed, "{case}");
        is_whole(&fake, "rev2");
        let writes = writes(&fake);
        let count = |end: &str| writes.iter().filter(|line| line.ends_with(end)).count();
        assert_eq!(count("/git-receive-pack"), pushes, "{case} {writes:#?}");
    }
    // Other errors do not open a second pull request.
    for kind in KINDS {
        let fake = fake(kind);
        let head = push(&fake, "rev2");
        let closed = add(&fake, |pull| {
            (pull.open, pull.closed_at) = (false, Some(head));
        });
        let path = format!("/pulls/{closed}");
        fake.fault(("PATCH", &path), 9, refusal());
        assert_eq!(failed(&fake, REOPEN).await.class, Class::Denied, "{kind:?}");
        assert_eq!(writes(&fake), [format!("PATCH {path}")], "{kind:?}");
    }
}

#[tokio::test]
async fn up_to_date_run_keeps_later_promotions() {
    for kind in KINDS {
        let fake = fake(kind);
        let request = Request {
            age: &RevisionAge::Older,
            ..REQUEST
        };
        let ours = promote(&fake, request).await.unwrap().number;
        let later = add(&fake, |pull| to_revision(pull, "rev0"));
        let result = promote(&fake, request).await.unwrap();
        assert_eq!(result.superseded, [0; 0], "{kind:?}");
        assert_eq!(open(&fake), [ours, later], "{kind:?}");
    }
}

#[tokio::test]
async fn concurrent_newer_revision_closes_the_pull_request() {
    for kind in KINDS {
        for meanwhile in [false, true] {
            let fake = fake(kind);
            let request = Request {
                age: &RevisionAge::Newer,
                ..REQUEST
            };
            push(&fake, "rev2");
            fake.store().push("other", "work", &[("x", "y")]);
            let mine = add(&fake, |pull| {
                (pull.head, pull.body) = ("other".to_owned(), "mine".to_owned());
            });
            let mut newer = row(50);
            to_revision(&mut newer, "rev9");
            if meanwhile {
                fake.at(When::After, "POST", "/pulls", 1, |store| {
                    store.pulls.push(newer);
                });
                assert_eq!(
                    promote(&fake, request).await.unwrap_err().class,
                    Class::Refused,
                    "{kind:?}"
                );
                assert_eq!(open(&fake), [mine, 50], "{kind:?}");
            } else {
                fake.store().pulls.push(newer);
                let ours = promote(&fake, request).await.unwrap().number;
                assert_eq!(open(&fake), [mine, 50, ours], "{kind:?}");
            }
        }
    }
}
