//! Carrying out a plan against a package whose every response is scripted: what is requested, in
//! which order, and what is reported.

use std::{
    cell::RefCell,
    collections::HashMap,
    time::{Duration, SystemTime},
};

use super::*;
use crate::{
    config::{Prune, PruneBackend},
    oci::Digest,
    prune::{Node, judge},
    registry::Clock,
};

const DAY: Duration = Duration::from_secs(86_400);

pub(in crate::prune) fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// Versions with a tag of their own name each, and every one of another day.
pub(in crate::prune) fn listing(names: &[&str]) -> Listing {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let version = |name: &&str| Version {
        id: None,
        digest: digest(name),
        tags: vec![Tag::parse(name).unwrap()],
    };
    let dates = (90..)
        .zip(names)
        .map(|(days, name)| (digest(name), now - DAY * days));
    Listing {
        versions: names.iter().map(version).collect(),
        nodes: names
            .iter()
            .map(|name| (digest(name), Node::default()))
            .collect(),
        dates: dates.collect(),
        clock: Clock {
            local: now,
            server: Some(now),
        },
        dangling: Vec::new(),
    }
}

/// A package with the pending versions `pending-b` and `pending-a`, the oldest first, and `kept`.
struct Scripted {
    looks: HashMap<Digest, CurrentState>,
    deletions: HashMap<Digest, Result<Deletion, Error>>,
    gone: HashMap<Digest, Result<bool, Error>>,
    afterwards: Result<Listing, Error>,
    calls: RefCell<Vec<String>>,
}

const A: &str = "pending-a";
const B: &str = "pending-b";
pub(in crate::prune) const ALL: [&str; 3] = ["kept", A, B];

/// Rules by which the two pending versions may go, and `kept` is protected.
pub(in crate::prune) fn prune() -> Prune {
    Prune {
        backend: PruneBackend::Auto,
        tags: regex::Regex::new("^pending-").unwrap(),
        older_than: DAY * 14,
        limit: 50,
        protect: vec![regex::Regex::new("^kept$").unwrap()],
        untagged: false,
        also_pinned_in: vec![],
    }
}

impl Scripted {
    /// Every deletion goes well, and afterwards these versions are listed.
    fn new(afterwards: &[&str]) -> Self {
        let all = listing(&ALL);
        let versions = all.versions.iter().filter(|version| {
            let listed = |name: &&str| digest(name) == version.digest;
            afterwards.iter().any(listed)
        });
        Self {
            looks: HashMap::new(),
            deletions: HashMap::new(),
            gone: HashMap::new(),
            afterwards: Ok(Listing {
                versions: versions.cloned().collect(),
                ..all.clone()
            }),
            calls: RefCell::default(),
        }
    }

    fn look(mut self, name: &str, now: CurrentState) -> Self {
        self.looks.insert(digest(name), now);
        self
    }

    fn deletion(mut self, name: &str, answer: Result<Deletion, Error>) -> Self {
        self.deletions.insert(digest(name), answer);
        self
    }

    fn answers_gone(mut self, name: &str, answer: Result<bool, Error>) -> Self {
        self.gone.insert(digest(name), answer);
        self
    }

    fn unlisted(mut self) -> Self {
        self.afterwards = Err(Error::new(
            Class::Unavailable,
            Code::UNAVAILABLE,
            "no listing",
        ));
        self
    }

    fn note(&self, call: &str, version: &Version) {
        let call = format!("{call} {}", version.tags[0]);
        self.calls.borrow_mut().push(call);
    }

    /// The outcome, every step, and every call.
    fn run(&self) -> (Applied, Vec<String>, Vec<String>) {
        let prune = prune();
        let rules = Rules {
            prune: &prune,
            older_than: prune.older_than,
            limit: prune.limit,
        };
        let (listing, guards) = (listing(&ALL), Guards::default());
        let plan = judge(&listing, &guards, &rules).approve(&listing).unwrap();
        let mut steps = Vec::new();
        let mut tell = |step: DeletionEvent<'_>| {
            let (step, candidate) = match step {
                DeletionEvent::Next(candidate) => ("next", candidate),
                DeletionEvent::Deleted(candidate) => ("deleted", candidate),
                DeletionEvent::Unverified(candidate) => ("unverified", candidate),
                DeletionEvent::Skipped(candidate) => ("skipped", candidate),
            };
            steps.push(format!("{step} {}", candidate.version.tags[0]));
        };
        let progress = Progress::default();
        let run = Run {
            plan: &plan,
            listing: &listing,
            guards: &guards,
            rules: &rules,
            progress: &progress,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let applied = runtime.unwrap().block_on(super::run(run, self, &mut tell));
        assert_eq!(progress.describe(), "deleting");
        (applied, steps, self.calls.take())
    }
}

impl Package for Scripted {
    async fn again(&self, first: &Listing, _: &Progress) -> Result<Listing, Error> {
        self.calls.borrow_mut().push("again".to_owned());
        Ok(first.clone())
    }

    async fn afterwards(
        &self,
        _: &Listing,
        keep: &[Version],
        _: &Progress,
    ) -> Result<Listing, Error> {
        let keep: Vec<_> = keep
            .iter()
            .map(|version| version.tags[0].as_str())
            .collect();
        let call = format!("afterwards {}", keep.join(" "));
        self.calls.borrow_mut().push(call);
        self.afterwards.clone()
    }

    async fn look(&self, version: &Version) -> Result<CurrentState, Error> {
        self.note("look", version);
        let now = self.looks.get(&version.digest);
        Ok(now.cloned().unwrap_or(CurrentState::Same))
    }

    async fn delete(&self, version: &Version) -> Result<Deletion, Error> {
        self.note("delete", version);
        let answer = self.deletions.get(&version.digest);
        answer.cloned().unwrap_or(Ok(Deletion::Deleted))
    }

    async fn is_gone(&self, version: &Version) -> Result<bool, Error> {
        self.gone.get(&version.digest).cloned().unwrap_or(Ok(true))
    }

    fn grant(&self) -> &'static str {
        "grant it"
    }
}

fn names(candidates: &[Candidate]) -> Vec<&str> {
    let tags = candidates
        .iter()
        .map(|candidate| &candidate.version.tags[0]);
    tags.map(Tag::as_str).collect()
}

fn stopped(applied: &Applied) -> Option<(&'static str, Class)> {
    let stopped = applied.stopped.as_ref()?;
    Some((stopped.code.as_str(), stopped.class))
}

fn no_answer() -> Error {
    Error::new(Class::Unavailable, Code::UNAVAILABLE, "no answer")
}

#[test]
fn each_version_is_read_again_before_its_deletion_and_the_listing_last() {
    let (applied, steps, calls) = Scripted::new(&["kept"]).run();
    assert_eq!(
        calls,
        [
            "again",
            "look pending-b",
            "delete pending-b",
            "look pending-a",
            "delete pending-a",
            "afterwards kept"
        ]
    );
    assert_eq!(
        steps,
        [
            "next pending-b",
            "deleted pending-b",
            "next pending-a",
            "deleted pending-a"
        ]
    );
    assert_eq!(
        (names(&applied.deleted), stopped(&applied)),
        (vec![B, A], None)
    );
    assert_eq!((applied.missing.len(), applied.lost_tags.len()), (0, 0));
}

#[test]
fn a_change_before_the_first_deletion_ends_the_run_with_nothing_asked_for() {
    let changed = CurrentState::Changed("its tags are gone".to_owned());
    let (applied, steps, calls) = Scripted::new(&ALL).look(B, changed).run();
    assert!(!applied.begun);
    assert_eq!(stopped(&applied), Some(("changed", Class::Unavailable)));
    assert_eq!(steps, ["next pending-b"]);
    assert_eq!(calls, ["again", "look pending-b"]);
}

#[test]
fn a_version_that_another_process_deleted_is_skipped() {
    for scripted in [
        Scripted::new(&["kept"]).look(B, CurrentState::Gone),
        Scripted::new(&["kept"]).deletion(B, Ok(Deletion::Missing)),
    ] {
        let (applied, steps, _) = scripted.run();
        assert_eq!(steps[..2], ["next pending-b", "skipped pending-b"]);
        assert_eq!(
            (names(&applied.gone), names(&applied.deleted)),
            (vec![B], vec![A])
        );
        assert_eq!(stopped(&applied), None);
    }
}

#[test]
fn a_refused_deletion_is_not_reported_as_possibly_done() {
    let refused = || Scripted::new(&ALL).deletion(B, Ok(Deletion::Refused("no".to_owned())));
    for scripted in [refused(), refused().unlisted()] {
        let (applied, steps, calls) = scripted.run();
        assert_eq!(steps, ["next pending-b"]);
        // The reason to stop is the first one, whatever comes after it.
        assert_eq!(stopped(&applied), Some(("deletion_refused", Class::Denied)));
        assert_eq!(names(&applied.deleted), [] as [&str; 0]);
        assert_eq!(calls[3], "afterwards kept");
    }
}

#[test]
fn a_deletion_without_an_answer_is_decided_by_the_listing() {
    let lost_answers = |afterwards: &[&str]| {
        [
            Scripted::new(afterwards).deletion(B, Err(no_answer())),
            Scripted::new(afterwards).answers_gone(B, Err(no_answer())),
        ]
    };
    for scripted in lost_answers(&["kept", A]) {
        let (applied, steps, calls) = scripted.run();
        assert_eq!(steps, ["next pending-b", "deleted pending-b"]);
        assert_eq!(names(&applied.deleted), [B]);
        assert_eq!(stopped(&applied), Some(("unavailable", Class::Unavailable)));
        assert_eq!(calls[3], "afterwards kept pending-b");
    }
    for scripted in lost_answers(&ALL) {
        let (applied, steps, _) = scripted.run();
        assert_eq!(steps, ["next pending-b"]);
        assert_eq!(names(&applied.deleted), [] as [&str; 0]);
        assert_eq!(stopped(&applied), Some(("unavailable", Class::Unavailable)));
    }
    for scripted in lost_answers(&ALL) {
        let (applied, steps, _) = scripted.unlisted().run();
        assert_eq!(steps, ["next pending-b", "unverified pending-b"]);
        assert_eq!(names(&applied.deleted), [] as [&str; 0]);
        assert_eq!(stopped(&applied), Some(("unavailable", Class::Unavailable)));
    }
}

#[test]
fn a_version_that_is_listed_after_its_deletion_was_not_deleted() {
    let (applied, ..) = Scripted::new(&["kept", B]).run();
    assert_eq!(
        stopped(&applied),
        Some(("deletion_unverified", Class::Unavailable))
    );
    assert_eq!(names(&applied.deleted), [A]);
}

#[test]
fn a_version_that_can_be_read_after_its_deletion_was_not_deleted() {
    let (applied, steps, _) = Scripted::new(&ALL).answers_gone(B, Ok(false)).run();
    assert_eq!(
        stopped(&applied),
        Some(("deletion_unverified", Class::Unavailable))
    );
    assert_eq!(steps, ["next pending-b"]);
    let gone = Scripted::new(&ALL).deletion(B, Ok(Deletion::Missing));
    let (applied, steps, _) = gone.answers_gone(B, Ok(false)).run();
    assert_eq!(stopped(&applied), Some(("deletion_refused", Class::Denied)));
    assert_eq!(applied.stopped.unwrap().help.as_deref(), Some("grant it"));
    assert_eq!(steps, ["next pending-b"]);
}

#[test]
fn a_listing_that_cannot_be_verified_stops_a_run_that_went_well() {
    let (applied, ..) = Scripted::new(&["kept"]).unlisted().run();
    let stopped = applied.stopped.unwrap();
    assert_eq!(
        stopped.message,
        "cannot verify that protected versions still exist: no listing"
    );
    assert_eq!(names(&applied.deleted), [B, A]);
}

#[test]
fn a_missing_protected_version_is_reported_with_the_way_back() {
    let (applied, ..) = Scripted::new(&[]).run();
    assert_eq!(applied.missing[0].digest, digest("kept"));
    assert_eq!(applied.lost_tags, [Tag::parse("kept").unwrap()]);
    let hint = |applied: &Applied, restores| applied.lost("api", restores).unwrap().help.unwrap();
    assert!(hint(&applied, true).starts_with("PUSH THEM AGAIN"));
    let numbered = Applied {
        missing: vec![Version {
            id: Some(7),
            ..applied.missing[0].clone()
        }],
        ..Applied::default()
    };
    assert_eq!(
        hint(&numbered, true),
        "RESTORE THEM WITHIN 30 DAYS: repin prune restore --image api --version 7 --apply"
    );
    assert!(hint(&numbered, false).starts_with("PUSH THEM AGAIN"));
    let only_a_tag = Applied {
        lost_tags: applied.lost_tags.clone(),
        ..Applied::default()
    };
    assert!(only_a_tag.lost("api", true).is_some());
    assert_eq!(Applied::default().lost("api", true), None);
}
