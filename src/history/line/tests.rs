//! Hand-written lines of sets, and random lines compared with a naive implementation of the rules.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{
    config::Config,
    error::SourceText,
    git::{Branch, ObjectId},
    history::{
        History, HistoryEntry, Hold, LineFacts, Provenance,
        log::{CommitInfo, Parents},
        walk::{Content, LineCommit},
    },
};

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn revision(text: &str) -> Revision {
    static PATTERN: std::sync::OnceLock<crate::oci::Pattern> = std::sync::OnceLock::new();
    PATTERN
        .get_or_init(|| crate::oci::Pattern::parse(".").unwrap())
        .revision(text)
        .unwrap()
}

/// A set with its images separated by spaces and the digests of each by commas: `a b` is one digest of
/// each image, `a,b -` two of the first and none of the second.
fn set(text: &str) -> Set {
    let digests = |image: &str| {
        image
            .split(',')
            .filter(|digest| *digest != "-")
            .map(digest)
            .collect()
    };
    Set::new(text.split(' ').map(digests).collect())
}

fn config(images: usize) -> Config {
    let image =
        |index: usize| format!("  i{index}: {{ repository: r.example/i{index}, pins: 1 }}\n");
    let images: String = (0..images).map(image).collect();
    let text = format!("version: 1\nfiles: [x]\nrevision: {{ pattern: '.' }}\nimages:\n{images}");
    crate::config::parse(
        &SourceText {
            name: "repin.yaml".into(),
            text: text.into(),
        },
        Path::new("/"),
        &crate::config::SetPath::top(),
    )
    .unwrap()
}

fn id(number: usize) -> ObjectId {
    ObjectId::parse(format!("{number:040x}").as_bytes()).unwrap()
}

/// A history of commits with a set and, after `@`, the claimed revisions: `a a@A`.
fn history(commits: &[&str]) -> History {
    history_since(commits, false)
}

/// A history, of a shallow clone if `is_truncated`.
fn history_since(commits: &[&str], is_truncated: bool) -> History {
    let mut facts = LineFacts::default();
    for (index, commit) in commits.iter().enumerate() {
        let (content, claims) = commit.split_once('@').unwrap_or((commit, ""));
        let content = set(content);
        let known = facts.sets.iter().position(|other| *other == content);
        let number = known.unwrap_or_else(|| {
            facts.sets.push(content);
            facts.sets.len() - 1
        });
        let claims: Vec<_> = claims.chars().map(|c| revision(&c.to_string())).collect();
        facts.points.push(Point {
            has_rollback_title: false,
            set: Some(number),
            partial_pins: Vec::new(),
            claims: claims.clone(),
        });
        facts.commits.push(LineCommit {
            id: id(index),
            parents: Parents::default(),
            info: CommitInfo::new("", "", b""),
            claims,
            content: Content::Changed(Vec::new()),
        });
    }
    if is_truncated {
        facts.doubtful.insert(0);
    }
    let images = facts.sets[0].0.len();
    History::from_facts(
        Branch {
            name: "origin/main".into(),
            tip: id(0),
        },
        config(images),
        facts,
    )
}

/// The entries, oldest first: kind, revision, and `<` if the set is available for rollback.
fn summary(history: &History) -> Vec<String> {
    let line = |entry: &HistoryEntry| {
        let kind = entry.kind.as_str();
        let revision = entry.revision.as_ref().map_or("-", Revision::as_str);
        format!(
            "{kind} {revision}{}",
            if entry.can_roll_back { " <" } else { "" }
        )
    };
    history.entries().iter().rev().map(line).collect()
}

fn is_held(history: &History, name: &str) -> bool {
    matches!(history.hold(&revision(name)), Hold::Held { .. })
}

#[test]
fn rollback_is_detected_by_its_content() {
    let history = history(&["a a@A", "b b@B", "b b", "a a"]);
    assert_eq!(
        summary(&history),
        ["promote A", "promote B <", "rollback A"]
    );
    assert!(history.entries()[0].current && !history.entries()[2].current);
    assert!(is_held(&history, "B") && !is_held(&history, "A"));
}

#[test]
fn hold_contains_the_rollback_and_the_undone_entry() {
    let history = history(&["a a@A", "b b@B", "c c@C", "a a"]);
    let Hold::Held { rollback, undone } = history.hold(&revision("B")) else {
        panic!()
    };
    assert_eq!((rollback.commit, undone.unwrap().commit), (id(3), id(1)));
    assert!(is_held(&history, "C"));
}

#[test]
fn holds_are_listed_by_rollback_and_newest_first() {
    let commits = [
        "a a@A", "b b@B", "c c@C", "d d@D", "e e@E", "f f@F", "c c", "a a",
    ];
    let history = history(&commits);
    let held: Vec<_> = history
        .holds()
        .iter()
        .map(|hold| hold.revision.unwrap().as_str().to_owned())
        .collect();
    assert_eq!(held, ["C", "F", "E", "D", "B"]);
}

#[test]
fn newer_set_ends_the_hold() {
    let history = history(&["a a@A", "b b@B", "a a", "c c@C"]);
    assert!(!is_held(&history, "B"));
    assert_eq!(
        summary(&history),
        ["promote A <", "promote B <", "rollback A <", "promote C"]
    );
}

#[test]
fn repeated_promotion_moves_the_hold_to_the_other_set() {
    let history = history(&["a a@A", "b b@B", "a a@A", "b b@B"]);
    assert_eq!(
        summary(&history),
        ["promote A <", "promote B", "rollback A <", "rollback B"]
    );
    assert!(is_held(&history, "A") && !is_held(&history, "B"));
}

#[test]
fn added_image_or_mixed_set_does_not_end_the_hold() {
    let added = history(&["a -@A", "b -@B", "a -", "a x"]);
    assert!(is_held(&added, "B"));
    let mixed = history(&["a a@A", "b b@B", "a a", "b a"]);
    assert!(is_held(&mixed, "B"));
    assert_eq!(summary(&mixed)[3], "manual -");
}

#[test]
fn set_with_disagreeing_pins_is_not_promoted() {
    let history = history(&["a a@A", "a,b b@B", "b b@B"]);
    assert_eq!(summary(&history), ["promote A <", "manual -", "promote B"]);
    assert_eq!(history.entries()[1].images.len(), 1);
}

#[test]
fn set_without_a_configured_image_is_not_available_for_rollback() {
    let history = history(&["a -@A", "b b@B"]);
    assert_eq!(summary(&history), ["promote A", "promote B"]);
}

#[test]
fn latest_content_of_a_revision_counts() {
    let history = history(&["a a@A", "b b@A", "c c@C"]);
    assert_eq!(summary(&history), ["promote A", "promote A <", "promote C"]);
}

#[test]
fn removed_and_restored_pins_hold_no_set() {
    let history = history(&["a a@A", "- -", "a a", "b b@B", "- -", "a a"]);
    assert_eq!(
        summary(&history)[..3],
        ["promote A", "manual -", "rollback A"]
    );
    assert!(is_held(&history, "B"));
    assert!(
        events(&history.facts.points[..3], &history.facts.sets, false)
            .held
            .is_empty()
    );
    assert!(history.entries()[0].current);
}

#[test]
fn claim_of_a_rollback_is_used_without_a_promotion() {
    let manual = history(&["a a", "b b@B", "a a@A"]);
    assert_eq!(summary(&manual), ["manual -", "promote B <", "rollback A"]);
    // The claim of the promotion takes precedence.
    let promoted = history(&["a a@A", "b b@B", "a a@Z"]);
    assert_eq!(summary(&promoted)[2], "rollback A");
    assert!(!promoted.facts.sets.is_empty());
    let events = events(&promoted.facts.points, &promoted.facts.sets, false);
    assert_eq!(events.revisions[0], [revision("A")]);
}

#[test]
fn claim_without_a_change_records_the_revision() {
    let adopted = history(&["a a", "a a@A", "b b@B"]);
    assert_eq!(summary(&adopted), ["manual A <", "promote B"]);
    let digests = [("i0".to_owned(), digest("a"))].into();
    assert_eq!(adopted.revision_of(&digests), Some(&revision("A")));
    // After a manual rollback.
    let back = history(&["a a", "b b@B", "a a", "a a@A"]);
    assert_eq!(summary(&back), ["manual -", "promote B <", "rollback A"]);
    // The revision remains after a rollback to the set.
    let again = history(&["a a", "a a@A", "b b@B", "a a"]);
    assert_eq!(summary(&again), ["manual A", "promote B <", "rollback A"]);
    // A set without pins has no revision.
    let empty = history(&["- -@Z", "- -@Z", "a a@A", "- -"]);
    assert_eq!(summary(&empty), ["promote A <", "manual -"]);
    // The claim of the promotion takes precedence, two claims are ambiguous, and a mixed set has no
    // revision.
    for (line, expected) in [
        (["a a@A", "a a@Z", "b b@B"], "promote A <"),
        (["a a", "a a@AZ", "b b@B"], "manual -"),
        (["a,c a", "a,c a@A", "b b@B"], "manual -"),
    ] {
        assert_eq!(summary(&history(&line))[0], expected, "{line:?}");
    }
}

#[test]
fn incomplete_or_mixed_set_agrees_with_no_digests() {
    let digests: crate::history::Digests = [("i0", "a"), ("i1", "b")]
        .map(|(image, build)| (image.to_owned(), digest(build)))
        .into();
    for other in ["a -", "a,c b", "- -"] {
        let history = history(&["x y", other, "x y"]);
        assert_eq!(
            history.provenance_of(&digests),
            Provenance::Never,
            "{other}"
        );
        assert!(
            matches!(history.hold_of_set(&digests), Hold::Free),
            "{other}"
        );
    }
    let history = history(&["x y", "a b", "x y"]);
    let found = history.provenance_of(&digests);
    assert!(matches!(found, Provenance::Found(_)), "{found:?}");
    assert!(matches!(history.hold_of_set(&digests), Hold::Held { .. }));
    let other = [("i0", "a"), ("i1", "c")].map(|(image, build)| (image.to_owned(), digest(build)));
    assert!(matches!(history.hold_of_set(&other.into()), Hold::Free));
}

#[test]
fn digests_do_not_have_the_revision_of_a_mixed_set() {
    let digests = [("i1".to_owned(), digest("b"))].into();
    let mixed = history(&["a,c b", "x y", "a,c b@R"]);
    assert_eq!(mixed.entries()[0].revision, Some(revision("R")));
    assert_eq!(mixed.revision_of(&digests), None);
    let whole = history(&["a b", "x y", "a b@R"]);
    assert_eq!(whole.revision_of(&digests), Some(&revision("R")));
}

#[test]
fn first_set_of_a_shallow_clone_has_provenance() {
    let digests = |builds: [&str; 2]| {
        ["i0", "i1"]
            .iter()
            .zip(builds)
            .map(|(image, build)| ((*image).to_owned(), digest(build)))
            .collect::<crate::history::Digests>()
    };
    let shallow = history_since(&["a b", "x y"], true);
    let found = shallow.provenance_of(&digests(["a", "b"]));
    assert!(matches!(found, Provenance::Found(_)), "{found:?}");
    let absent = shallow.provenance_of(&digests(["a", "y"]));
    assert_eq!(absent, Provenance::Shallow);
    let part = history_since(&["a -", "x y"], true);
    assert_eq!(
        part.provenance_of(&digests(["a", "b"])),
        Provenance::Shallow
    );
}

#[test]
fn branch_without_pins_has_no_current_set() {
    let emptied = history(&["a a@A", "- -"]);
    assert_eq!(summary(&emptied), ["promote A <", "manual -"]);
    assert!(history(&["- -", "- -"]).entries().is_empty());
}

#[test]
fn first_set_of_a_truncated_line_requires_a_claim() {
    let history = history(&["a a", "b b@B", "a a"]);
    let events = events(&history.facts.points, &history.facts.sets, true);
    let kinds: Vec<_> = events.all.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::Promote, Kind::Rollback]);
    assert_eq!(events.held.len(), 1);
    // With a claim.
    let history = self::history(&["a a@A", "b b@B"]);
    let events = self::events(&history.facts.points, &history.facts.sets, true);
    let kinds: Vec<_> = events.all.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::Promote, Kind::Promote]);
}

#[test]
fn revision_is_found_by_the_common_images() {
    let history = history(&["a a@A", "b b@B", "b x"]);
    let digests =
        |i0: &str, i1: &str| [("i0".to_owned(), digest(i0)), ("i1".to_owned(), digest(i1))].into();
    assert_eq!(
        history.revision_of(&digests("a", "a")),
        Some(&revision("A"))
    );
    assert_eq!(history.revision_of(&digests("b", "x")), None);
    assert_eq!(
        history.revision_of(&[("i0".to_owned(), digest("b"))].into()),
        Some(&revision("B"))
    );
    assert_eq!(history.revision_of(&super::super::Digests::new()), None);
}

/// A naive implementation, in which each rule reads the whole line.
mod oracle {
    use super::*;

    pub(super) struct Change {
        pub(super) at: usize,
        pub(super) set: Set,
    }

    pub(super) fn changes(line: &[(Set, Option<char>)]) -> Vec<Change> {
        let nothing = Set::new(vec![Vec::new(); 2]);
        let before = |at: usize| at.checked_sub(1).map_or(&nothing, |before| &line[before].0);
        (0..line.len())
            .filter(|at| *before(*at) != line[*at].0)
            .map(|at| Change {
                at,
                set: line[at].0.clone(),
            })
            .collect()
    }

    pub(super) fn kind(changes: &[Change], at: usize, line: &[(Set, Option<char>)]) -> Kind {
        let change = &changes[at];
        if !change.set.is_empty()
            && changes[..at]
                .iter()
                .any(|earlier| earlier.set == change.set)
        {
            return Kind::Rollback;
        }
        let alike = change.set.0.iter().all(|digests| digests.len() < 2) && !change.set.is_empty();
        if alike && line[change.at].1.is_some() {
            Kind::Promote
        } else {
            Kind::Manual
        }
    }

    fn newer(changes: &[Change], at: usize) -> bool {
        (0..2).any(|image| {
            let had: Vec<_> = changes[..at]
                .iter()
                .filter_map(|change| change.set.digest(image))
                .collect();
            changes[at]
                .set
                .digest(image)
                .is_some_and(|digest| !had.is_empty() && !had.contains(&digest))
        })
    }

    pub(super) fn held(changes: &[Change], set: &Set, line: &[(Set, Option<char>)]) -> bool {
        if set.is_empty() {
            return false;
        }
        let rollback = |at: usize| kind(changes, at, line) == Kind::Rollback;
        let undid = |at: &usize| {
            let target = &changes[*at].set;
            let last = (0..*at)
                .rev()
                .find(|earlier| changes[*earlier].set == *target)
                .unwrap();
            changes[last + 1..*at]
                .iter()
                .any(|between| between.set == *set)
        };
        let ends = |at: usize| changes[at].set == *set || (!rollback(at) && newer(changes, at));
        let last = (0..changes.len()).filter(|at| rollback(*at)).rfind(undid);
        last.is_some_and(|at| !(at + 1..changes.len()).any(ends))
    }
}

proptest! {
    #[test]
    fn entries_and_holds_equal_the_naive_implementation(
        picks in proptest::collection::vec((0..7_usize, proptest::option::of(0..4_usize)), 1..24)
    ) {
        let sets = ["- -", "a a", "b b", "c c", "a -", "a,b b", "a b"];
        let line: Vec<(Set, Option<char>)> =
            picks.iter().map(|(s, claim)| (set(sets[*s]), claim.map(|claim| b"ABCD"[claim] as char))).collect();
        let texts: Vec<_> = picks
            .iter()
            .map(|(s, claim)| format!("{}{}", sets[*s], claim.map_or(String::new(), |c| format!("@{}", b"ABCD"[c] as char))))
            .collect();
        let history = history(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let changes = oracle::changes(&line);
        prop_assert_eq!(history.entries().len(), changes.len());
        let tip = &line.last().unwrap().0;
        for (at, entry) in history.entries().iter().rev().enumerate() {
            prop_assert_eq!(entry.commit, id(changes[at].at));
            prop_assert_eq!(entry.kind, oracle::kind(&changes, at, &line));
            let whole = |set: &Set| set.0.iter().all(|digests| digests.len() == 1);
            let latest = |revision: &Revision| {
                let claimed = |claim: &Option<char>| claim.is_some_and(|c| c.to_string() == revision.as_str());
                line.iter().rev().find(|(set, claim)| whole(set) && claimed(claim)).map(|(set, _)| set)
            };
            let back = entry.revision.as_ref().is_some_and(|revision| latest(revision) == Some(&changes[at].set));
            prop_assert_eq!(entry.can_roll_back, back && changes[at].set != *tip);
            prop_assert_eq!(entry.current, at + 1 == changes.len() && !tip.is_empty());
        }
        for (number, content) in history.facts.sets.iter().enumerate() {
            let held = history.events.held.contains_key(&number);
            prop_assert_eq!(held, oracle::held(&changes, content, &line), "{:?}", content);
        }
    }
}
