//! Hand-written lines of sets, and random ones compared with a naive implementation of the rules.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{
    config::Config,
    error::SourceText,
    git::{Branch, ObjectId},
    history::{
        Entry, History, Hold, Known, Provenance,
        log::{Parents, Said},
        walk::{Content, Visited},
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

/// Images by blanks, the digests of each by commas: `a b` is one of each, `a,b -` two of the first
/// and none of the second.
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
    let image = |at: usize| format!("  i{at}: {{ repository: r.example/i{at}, pins: 1 }}\n");
    let images: String = (0..images).map(image).collect();
    let text = format!("version: 1\nfiles: [x]\nrevision: {{ pattern: '.' }}\nimages:\n{images}");
    crate::config::parse(
        &SourceText {
            name: "repin.yaml".into(),
            text: text.into(),
        },
        Path::new("/"),
    )
    .unwrap()
}

fn id(at: usize) -> ObjectId {
    ObjectId::parse(format!("{at:040x}").as_bytes()).unwrap()
}

/// A history of commits that have the set and, behind `@`, claim the revisions given: `a a@A`.
fn history(commits: &[&str]) -> History {
    history_since(commits, false)
}

/// The same, where the clone may begin with the first commit.
fn history_since(commits: &[&str], cut: bool) -> History {
    let mut known = Known::default();
    for (at, commit) in commits.iter().enumerate() {
        let (content, claims) = commit.split_once('@').unwrap_or((commit, ""));
        let content = set(content);
        let number = known
            .sets
            .iter()
            .position(|other| *other == content)
            .unwrap_or_else(|| {
                known.sets.push(content);
                known.sets.len() - 1
            });
        let claims: Vec<_> = claims.chars().map(|c| revision(&c.to_string())).collect();
        known.line.push(Point {
            returns: false,
            set: Some(number),
            glimpsed: Vec::new(),
            claims: claims.clone(),
        });
        known.commits.push(Visited {
            id: id(at),
            parents: Parents::default(),
            said: Said::new("", "", b""),
            claims,
            content: Content::Changed(Vec::new()),
        });
    }
    known.doubtful = cut.then_some(0).into_iter().collect();
    let images = known.sets[0].0.len();
    History::of(
        Branch {
            name: "origin/main".into(),
            tip: id(0),
        },
        config(images),
        known,
    )
}

/// The entries in the order in which they happened: kind, revision, whether the set is available
/// for rollback.
fn summary(history: &History) -> Vec<String> {
    let one = |entry: &Entry| {
        let kind = entry.kind.as_str();
        let revision = entry.revision.as_ref().map_or("-", Revision::as_str);
        format!(
            "{kind} {revision}{}",
            if entry.can_roll_back { " <" } else { "" }
        )
    };
    history.entries().iter().rev().map(one).collect()
}

fn is_held(history: &History, name: &str) -> bool {
    matches!(history.held(&revision(name)), Hold::Held { .. })
}

#[test]
fn a_rollback_is_known_by_its_content_alone() {
    let history = history(&["a a@A", "b b@B", "b b", "a a"]);
    assert_eq!(
        summary(&history),
        ["promote A", "promote B <", "rollback A"]
    );
    assert!(history.entries()[0].current && !history.entries()[2].current);
    assert!(is_held(&history, "B") && !is_held(&history, "A"));
}

#[test]
fn a_hold_names_the_rollback_and_what_it_undid() {
    let history = history(&["a a@A", "b b@B", "c c@C", "a a"]);
    let Hold::Held { rollback, undone } = history.held(&revision("B")) else {
        panic!()
    };
    assert_eq!((rollback.commit, undone.unwrap().commit), (id(3), id(1)));
    assert!(is_held(&history, "C"));
}

#[test]
fn holds_are_listed_by_their_rollback_and_newer_sets_first() {
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
fn a_newer_set_ends_the_hold() {
    let history = history(&["a a@A", "b b@B", "a a", "c c@C"]);
    assert!(!is_held(&history, "B"));
    assert_eq!(
        summary(&history),
        ["promote A <", "promote B <", "rollback A <", "promote C"]
    );
}

#[test]
fn going_forward_again_ends_the_hold_of_that_set_and_holds_the_other() {
    let history = history(&["a a@A", "b b@B", "a a@A", "b b@B"]);
    assert_eq!(
        summary(&history),
        ["promote A <", "promote B", "rollback A <", "rollback B"]
    );
    assert!(is_held(&history, "A") && !is_held(&history, "B"));
}

#[test]
fn an_image_that_is_added_by_hand_does_not_end_the_hold() {
    let grown = history(&["a -@A", "b -@B", "a -", "a x"]);
    assert!(is_held(&grown, "B"));
    // Neither does a mixture of older digests.
    let mixed = history(&["a a@A", "b b@B", "a a", "b a"]);
    assert!(is_held(&mixed, "B"));
    assert_eq!(summary(&mixed)[3], "manual -");
}

#[test]
fn disagreeing_pins_are_not_a_promoted_set() {
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
fn of_a_revision_that_was_promoted_twice_the_latest_content_counts() {
    let history = history(&["a a@A", "b b@A", "c c@C"]);
    assert_eq!(summary(&history), ["promote A", "promote A <", "promote C"]);
}

#[test]
fn pins_that_vanish_and_come_back_undo_nothing() {
    let history = history(&["a a@A", "- -", "a a", "b b@B", "- -", "a a"]);
    assert_eq!(
        summary(&history)[..3],
        ["promote A", "manual -", "rollback A"]
    );
    assert!(is_held(&history, "B"));
    assert!(
        events(&history.known.line[..3], &history.known.sets, false)
            .held
            .is_empty()
    );
    assert!(history.entries()[0].current);
}

#[test]
fn a_rollback_says_which_revision_it_went_back_to_where_nothing_else_does() {
    let by_hand = history(&["a a", "b b@B", "a a@A"]);
    assert_eq!(summary(&by_hand), ["manual -", "promote B <", "rollback A"]);
    // What promoted it knows better.
    let promoted = history(&["a a@A", "b b@B", "a a@Z"]);
    assert_eq!(summary(&promoted)[2], "rollback A");
    assert!(!promoted.known.sets.is_empty());
    let events = events(&promoted.known.line, &promoted.known.sets, false);
    assert_eq!(events.revisions[0], [revision("A")]);
}

#[test]
fn a_commit_that_leaves_the_set_as_it_is_records_its_revision() {
    let adopted = history(&["a a", "a a@A", "b b@B"]);
    assert_eq!(summary(&adopted), ["manual A <", "promote B"]);
    let digests = [("i0".to_owned(), digest("a"))].into();
    assert_eq!(adopted.revision_of(&digests), Some(&revision("A")));
    // After a rollback to it by hand, too.
    let back = history(&["a a", "b b@B", "a a", "a a@A"]);
    assert_eq!(summary(&back), ["manual -", "promote B <", "rollback A"]);
    // The set keeps that revision when it comes back.
    let again = history(&["a a", "a a@A", "b b@B", "a a"]);
    assert_eq!(summary(&again), ["manual A", "promote B <", "rollback A"]);
    // A set without pins has no revision.
    let empty = history(&["- -@Z", "- -@Z", "a a@A", "- -"]);
    assert_eq!(summary(&empty), ["promote A <", "manual -"]);
    // What promoted it knows better; two claims name no revision; a mixture is no set of one.
    for (line, expected) in [
        (["a a@A", "a a@Z", "b b@B"], "promote A <"),
        (["a a", "a a@AZ", "b b@B"], "manual -"),
        (["a,c a", "a,c a@A", "b b@B"], "manual -"),
    ] {
        assert_eq!(summary(&history(&line))[0], expected, "{line:?}");
    }
}

#[test]
fn a_set_that_lacks_an_image_or_mixes_digests_agrees_with_no_digests() {
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
        assert!(matches!(history.held_set(&digests), Hold::Free), "{other}");
    }
    let history = history(&["x y", "a b", "x y"]);
    let found = history.provenance_of(&digests);
    assert!(matches!(found, Provenance::Found(_)), "{found:?}");
    assert!(matches!(history.held_set(&digests), Hold::Held { .. }));
    let other = [("i0", "a"), ("i1", "c")].map(|(image, build)| (image.to_owned(), digest(build)));
    assert!(matches!(history.held_set(&other.into()), Hold::Free));
}

#[test]
fn digests_have_the_revision_of_no_mixed_set() {
    let digests = [("i1".to_owned(), digest("b"))].into();
    let mixed = history(&["a,c b", "x y", "a,c b@R"]);
    assert_eq!(mixed.entries()[0].revision, Some(revision("R")));
    assert_eq!(mixed.revision_of(&digests), None);
    let whole = history(&["a b", "x y", "a b@R"]);
    assert_eq!(whole.revision_of(&digests), Some(&revision("R")));
}

#[test]
fn the_set_that_a_shallow_clone_begins_with_was_pinned() {
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
fn a_branch_without_pins_has_no_current_set() {
    let emptied = history(&["a a@A", "- -"]);
    assert_eq!(summary(&emptied), ["promote A <", "manual -"]);
    assert!(history(&["- -", "- -"]).entries().is_empty());
}

#[test]
fn first_set_of_a_truncated_line_has_no_author() {
    let history = history(&["a a", "b b@B", "a a"]);
    let events = events(&history.known.line, &history.known.sets, true);
    let kinds: Vec<_> = events.all.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::Promote, Kind::Rollback]);
    assert_eq!(events.held.len(), 1);
    // Unless it says so.
    let history = self::history(&["a a@A", "b b@B"]);
    let events = self::events(&history.known.line, &history.known.sets, true);
    let kinds: Vec<_> = events.all.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::Promote, Kind::Promote]);
}

#[test]
fn the_revision_of_a_set_is_that_of_the_images_in_common() {
    let history = history(&["a a@A", "b b@B", "b x"]);
    let named =
        |r: &str, i1: &str| [("i0".to_owned(), digest(r)), ("i1".to_owned(), digest(i1))].into();
    assert_eq!(history.revision_of(&named("a", "a")), Some(&revision("A")));
    assert_eq!(history.revision_of(&named("b", "x")), None);
    assert_eq!(
        history.revision_of(&[("i0".to_owned(), digest("b"))].into()),
        Some(&revision("B"))
    );
    assert_eq!(history.revision_of(&super::super::Digests::new()), None);
}

/// The rules again, each read off the whole line at once.
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
    fn kinds_holds_and_targets_agree_with_the_rules_read_naively(
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
        for (number, content) in history.known.sets.iter().enumerate() {
            let held = history.events.held.contains_key(&number);
            prop_assert_eq!(held, oracle::held(&changes, content, &line), "{:?}", content);
        }
    }
}
