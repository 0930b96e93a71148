//! Applies a plan to a package with scripted responses, and checks the order of requests and the report.

use std::{
    cell::RefCell,
    collections::HashMap,
    time::{Duration, SystemTime},
};

use super::*;
use crate::{
    config::{Prune, PruneBackend},
    oci::{Digest, registry::Clock},
    prune::{Child, Node, ProtectionSet, judge},
};

const DAY: Duration = Duration::from_secs(86_400);

pub(in crate::prune) fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// Versions with different dates, each with its name as the tag.
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
    let clock = Clock {
        local: now,
        server: Some(now),
    };
    Listing {
        nodes: names
            .iter()
            .map(|name| (digest(name), Node::default()))
            .collect(),
        dates: dates.collect(),
        ..Listing::new(names.iter().map(version).collect(), clock)
    }
}

/// Adds 64 nested indexes below `kept`, each with the next one twice, so that 2^64 paths lead to the
/// last.
pub(in crate::prune) fn add_nested_twice(listing: &mut Listing) {
    let mut parent = digest("stable");
    for level in 0..64 {
        let child = Child {
            digest: digest(&format!("level {level}")),
            is_index: true,
            is_attestation: false,
            is_manifest: true,
            platform: None,
        };
        let node = Node {
            children: vec![child.clone(); 2],
            subject: None,
            config: None,
        };
        listing.nodes.insert(parent, node);
        parent = child.digest;
    }
    listing.nodes.insert(parent, Node::default());
}

/// A package with the pending versions `pending-b` and `pending-a`, the oldest first, and `kept`.
struct Scripted {
    states: HashMap<Digest, CurrentState>,
    deletions: HashMap<Digest, Result<Deletion, Error>>,
    gone: HashMap<Digest, Result<bool, Error>>,
    afterwards: Result<Listing, Error>,
    calls: RefCell<Vec<String>>,
}

const A: &str = "pending-a";
const B: &str = "pending-b";
pub(in crate::prune) const ALL: [&str; 3] = ["stable", A, B];

/// Rules that allow the deletion of both pending versions and protect `stable`.
pub(in crate::prune) fn prune() -> Prune {
    Prune {
        backend: PruneBackend::Auto,
        tags: regex::Regex::new("^pending-").unwrap(),
        older_than: DAY * 14,
        limit: 50,
        protect: vec![regex::Regex::new("^stable$").unwrap()],
        untagged: false,
        also_pinned_in: vec![],
        forks: crate::config::ForkPolicy::Warn,
    }
}

impl Scripted {
    /// Every deletion succeeds, and the final listing contains these versions.
    fn new(remaining: &[&str]) -> Self {
        let all = listing(&ALL);
        let versions = all.versions.iter().filter(|version| {
            let listed = |name: &&str| digest(name) == version.digest;
            remaining.iter().any(listed)
        });
        Self {
            states: HashMap::new(),
            deletions: HashMap::new(),
            gone: HashMap::new(),
            afterwards: Ok(Listing {
                versions: versions.cloned().collect(),
                ..all.clone()
            }),
            calls: RefCell::default(),
        }
    }

    fn state(mut self, name: &str, now: CurrentState) -> Self {
        self.states.insert(digest(name), now);
        self
    }

    fn deletion(mut self, name: &str, answer: Result<Deletion, Error>) -> Self {
        self.deletions.insert(digest(name), answer);
        self
    }

    fn with_gone_result(mut self, name: &str, answer: Result<bool, Error>) -> Self {
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

    /// Returns the report, all events and all calls.
    fn run(&self) -> (Applied, Vec<String>, Vec<String>) {
        let prune = prune();
        let rules = Rules {
            prune: &prune,
            older_than: prune.older_than,
            limit: prune.limit,
        };
        let (listing, set) = (listing(&ALL), ProtectionSet::default());
        let plan = judge(&listing, set.of(0), &rules)
            .approve(&listing)
            .unwrap();
        let mut steps = Vec::new();
        let mut tell = |step: DeletionEvent<'_>| {
            let (step, candidate) = match step {
                DeletionEvent::Next => return steps.push("next".to_owned()),
                DeletionEvent::Deleted(candidate) => ("deleted", candidate),
                DeletionEvent::Unverified(candidate) => ("unverified", candidate),
                DeletionEvent::Skipped(candidate) => ("skipped", candidate),
                DeletionEvent::Unfinished(candidate) => ("unfinished", candidate),
                DeletionEvent::Attached(_, candidate) => ("attached to", candidate),
            };
            steps.push(format!("{step} {}", candidate.version.tags[0]));
        };
        let progress = Progress::default();
        let run = Run {
            plan: &plan,
            listing: &listing,
            protection: set.of(0),
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
    async fn relist(&self, first: &Listing, _: &Rules<'_>, _: &Progress) -> Result<Listing, Error> {
        self.calls.borrow_mut().push("list".to_owned());
        Ok(first.clone())
    }

    async fn list_after_deletion(
        &self,
        _: &Listing,
        keep: &[Version],
        _: &Progress,
    ) -> Result<Listing, Error> {
        let keep: Vec<_> = keep
            .iter()
            .map(|version| version.tags[0].as_str())
            .collect();
        let call = format!("verify {}", keep.join(" "));
        self.calls.borrow_mut().push(call);
        self.afterwards.clone()
    }

    async fn current_state(&self, version: &Version) -> Result<CurrentState, Error> {
        self.note("read", version);
        let now = self.states.get(&version.digest);
        Ok(now.cloned().unwrap_or(CurrentState::Unchanged))
    }

    async fn delete(&self, version: &Version, _: &Deleting<'_>) -> Result<Deletion, Error> {
        self.note("delete", version);
        let answer = self.deletions.get(&version.digest);
        answer.cloned().unwrap_or(Ok(Deletion::Deleted))
    }

    async fn is_deleted(&self, version: &Version) -> Result<bool, Error> {
        self.gone.get(&version.digest).cloned().unwrap_or(Ok(true))
    }

    fn missing_permission(&self) -> &'static str {
        "grant it"
    }
}

fn names(candidates: &[PrunableVersion]) -> Vec<&str> {
    let tags = candidates
        .iter()
        .map(|candidate| &candidate.version.tags[0]);
    tags.map(Tag::as_str).collect()
}

fn error_of(applied: &Applied) -> Option<(&'static str, Class)> {
    let error = applied.error.as_ref()?;
    Some((error.code.as_str(), error.class))
}

fn no_response() -> Error {
    Error::new(Class::Unavailable, Code::UNAVAILABLE, "no answer")
}

#[test]
fn version_is_checked_before_its_deletion() {
    let (applied, steps, calls) = Scripted::new(&["stable"]).run();
    assert_eq!(
        calls,
        [
            "list",
            "read pending-b",
            "delete pending-b",
            "read pending-a",
            "delete pending-a",
            "verify stable"
        ]
    );
    assert_eq!(
        steps,
        ["next", "deleted pending-b", "next", "deleted pending-a"]
    );
    assert_eq!(
        (names(&applied.deleted), error_of(&applied)),
        (vec![B, A], None)
    );
    assert_eq!((applied.missing.len(), applied.lost_tags.len()), (0, 0));
}

#[test]
fn change_before_first_deletion_stops_the_run() {
    let changed = CurrentState::Changed("its tags are gone".to_owned());
    let (applied, steps, calls) = Scripted::new(&ALL).state(B, changed).run();
    assert!(!applied.has_started);
    assert_eq!(error_of(&applied), Some(("changed", Class::Unavailable)));
    assert_eq!(steps, ["next"]);
    assert_eq!(calls, ["list", "read pending-b"]);
}

#[test]
fn version_deleted_by_another_process_is_skipped() {
    for scripted in [
        Scripted::new(&["stable"]).state(B, CurrentState::Missing),
        Scripted::new(&["stable"]).deletion(B, Ok(Deletion::Missing)),
    ] {
        let (applied, steps, _) = scripted.run();
        assert_eq!(steps[..2], ["next", "skipped pending-b"]);
        assert_eq!(
            (names(&applied.deleted_elsewhere), names(&applied.deleted)),
            (vec![B], vec![A])
        );
        assert_eq!(error_of(&applied), None);
    }
}

#[test]
fn refused_deletion_is_not_reported_as_unverified() {
    let refused = || Scripted::new(&ALL).deletion(B, Ok(Deletion::Refused("no".to_owned())));
    for scripted in [refused(), refused().unlisted()] {
        let (applied, steps, calls) = scripted.run();
        assert_eq!(steps, ["next"]);
        // The first error is reported.
        assert_eq!(
            error_of(&applied),
            Some(("deletion_refused", Class::Denied))
        );
        assert_eq!(names(&applied.deleted), [] as [&str; 0]);
        assert_eq!(calls[3], "verify stable");
    }
}

#[test]
fn deletion_without_response_is_verified_by_listing() {
    let lost_responses = |afterwards: &[&str]| {
        [
            Scripted::new(afterwards).deletion(B, Err(no_response())),
            Scripted::new(afterwards).with_gone_result(B, Err(no_response())),
        ]
    };
    for scripted in lost_responses(&["stable", A]) {
        let (applied, steps, calls) = scripted.run();
        assert_eq!(steps, ["next", "deleted pending-b"]);
        assert_eq!(names(&applied.deleted), [B]);
        assert_eq!(
            error_of(&applied),
            Some(("unavailable", Class::Unavailable))
        );
        assert_eq!(calls[3], "verify stable pending-b");
    }
    for scripted in lost_responses(&ALL) {
        let (applied, steps, _) = scripted.run();
        assert_eq!(steps, ["next"]);
        assert_eq!(names(&applied.deleted), [] as [&str; 0]);
        assert_eq!(
            error_of(&applied),
            Some(("unavailable", Class::Unavailable))
        );
    }
    for scripted in lost_responses(&ALL) {
        let (applied, steps, _) = scripted.unlisted().run();
        assert_eq!(steps, ["next", "unverified pending-b"]);
        assert_eq!(names(&applied.deleted), [] as [&str; 0]);
        assert_eq!(
            error_of(&applied),
            Some(("unavailable", Class::Unavailable))
        );
    }
}

#[test]
fn version_that_remains_listed_is_not_reported_deleted() {
    let (applied, ..) = Scripted::new(&["stable", B]).run();
    assert_eq!(
        error_of(&applied),
        Some(("deletion_unverified", Class::Unavailable))
    );
    assert_eq!(names(&applied.deleted), [A]);
}

#[test]
fn version_that_remains_readable_is_not_reported_deleted() {
    let (applied, steps, _) = Scripted::new(&ALL).with_gone_result(B, Ok(false)).run();
    assert_eq!(
        error_of(&applied),
        Some(("deletion_unverified", Class::Unavailable))
    );
    assert_eq!(steps, ["next"]);
    let gone = Scripted::new(&ALL).deletion(B, Ok(Deletion::Missing));
    let (applied, steps, _) = gone.with_gone_result(B, Ok(false)).run();
    assert_eq!(
        error_of(&applied),
        Some(("deletion_refused", Class::Denied))
    );
    assert_eq!(applied.error.unwrap().help.as_deref(), Some("grant it"));
    assert_eq!(steps, ["next"]);
}

#[test]
fn failed_final_listing_is_an_error() {
    let (applied, ..) = Scripted::new(&["stable"]).unlisted().run();
    let error = applied.error.unwrap();
    assert_eq!(
        error.message,
        "cannot verify that protected versions still exist: no listing"
    );
    assert_eq!(names(&applied.deleted), [B, A]);
}

#[test]
fn missing_protected_version_is_reported_with_restore_command() {
    let (applied, ..) = Scripted::new(&[]).run();
    assert_eq!(applied.missing[0].digest, digest("stable"));
    assert_eq!(applied.lost_tags, [Tag::parse("stable").unwrap()]);
    let hint = |applied: &Applied| applied.lost("api").unwrap().help.unwrap();
    assert!(hint(&applied).starts_with("PUSH THEM AGAIN"));
    let numbered = Applied {
        missing: vec![Version {
            id: Some(7),
            ..applied.missing[0].clone()
        }],
        ..Applied::default()
    };
    assert_eq!(
        hint(&numbered),
        "RESTORE THEM WITHIN 30 DAYS: repin prune restore --image api --version 7 --apply"
    );
    let only_a_tag = Applied {
        lost_tags: applied.lost_tags.clone(),
        ..Applied::default()
    };
    assert!(only_a_tag.lost("api").is_some());
    assert_eq!(Applied::default().lost("api"), None);
}
