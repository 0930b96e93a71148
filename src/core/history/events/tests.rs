//! Hand-written lines of sets, and random lines compared with a naive implementation of the rules.

use proptest::prelude::*;

use super::*;
use crate::{
    config::Config,
    core::history::{
        History, HistoryEntry, LineFacts, Provenance, UnknownPast,
        claims::Claims,
        periods::{PastImage, PastImages},
        tests::examples::id,
        walk::{Commit, ConfigState, Content, UnknownContent},
    },
    git::{
        Branch,
        commits::{CommitInfo, Parents},
    },
};

pub(in crate::core::history) fn digest(text: &str) -> Digest {
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

fn config(images: usize, pattern: &str) -> Config {
    let image =
        |index: usize| format!("  i{index}: {{ repository: r.example/i{index}, pins: 1 }}\n");
    let images: String = (0..images).map(image).collect();
    let text =
        format!("version: 1\nfiles: [x]\nrevision: {{ pattern: '{pattern}' }}\nimages:\n{images}");
    crate::config::example(&text)
}

/// A history of commits with a set and the revisions that they claim: by trailers after `@`, by the title
/// of a promotion after `!`, and by that of a rollback after `~`: `a a@A`. A `+` at the end promotes held
/// digests on purpose. The content of `?a a` is unknown except for these pins.
pub(in crate::core::history) fn history(commits: &[&str]) -> History {
    history_since(commits, false)
}

/// A history, of a shallow clone if `is_truncated`.
pub(in crate::core::history) fn history_since(commits: &[&str], is_truncated: bool) -> History {
    let graph = Graph::linear(commits.len());
    from_facts(facts_of(commits, graph, ".", is_truncated), ".")
}

/// A history with merges: the parents of each commit, the first of which continues its line.
pub(in crate::core::history) fn merged_history(commits: &[(&str, &[usize])]) -> History {
    merged_history_by(".", commits)
}

fn merged_history_by(pattern: &str, commits: &[(&str, &[usize])]) -> History {
    let texts: Vec<_> = commits.iter().map(|(text, _)| *text).collect();
    let facts = facts_of(&texts, merged_graph(commits), pattern, false);
    from_facts(facts, pattern)
}

pub(in crate::core::history) fn merged_graph(commits: &[(&str, &[usize])]) -> Graph {
    let ids: Vec<_> = (0..commits.len()).map(id).collect();
    let parents = commits.iter().map(|(_, parents)| Parents {
        first: parents.first().map(|parent| id(*parent)),
        others: parents.iter().skip(1).map(|parent| id(*parent)).collect(),
    });
    let parents: Vec<_> = parents.collect();
    Graph::new(ids.iter().zip(&parents), ids.last().unwrap())
}

pub(in crate::core::history) fn facts_of(
    commits: &[&str],
    graph: Graph,
    pattern: &str,
    is_truncated: bool,
) -> LineFacts {
    let pattern = config(1, pattern).revision.pattern;
    let parse = |text: &str| pattern.revision(text).unwrap();
    let mut facts = LineFacts::default();
    for (index, commit) in commits.iter().enumerate() {
        let (is_unknown, commit) = match commit.strip_prefix('?') {
            Some(commit) => (true, commit),
            None => (false, *commit),
        };
        let (is_override, commit) = match commit.strip_suffix('+') {
            Some(commit) => (true, commit),
            None => (false, commit),
        };
        let (content, claims) = commit.split_once(['@', '!', '~']).unwrap_or((commit, ""));
        let content = set(content);
        let pins = content.0.iter().enumerate();
        let pins =
            pins.flat_map(|(image, digests)| digests.iter().map(move |digest| (image, *digest)));
        let partial_pins = if is_unknown {
            pins.collect()
        } else {
            Vec::new()
        };
        let images = (0..content.0.len()).map(|image| {
            let name = format!("i{image}");
            let repository = crate::oci::Repository::parse("r.example/a").unwrap();
            (image, PastImage { name, repository })
        });
        let images: PastImages = std::sync::Arc::new(images.collect());
        let slots = content.clone();
        let known = facts.sets.iter().position(|other| *other == content);
        let number = known.unwrap_or_else(|| {
            facts.sets.push(content);
            facts.sets.len() - 1
        });
        let revisions = if pattern.as_str() == "." {
            claims.chars().map(|c| parse(&c.to_string())).collect()
        } else if claims.is_empty() {
            Vec::new()
        } else {
            vec![parse(claims)]
        };
        let claims = Claims {
            by_title: if commit.contains('!') {
                revisions.clone()
            } else {
                Vec::new()
            },
            rolled_back: if commit.contains(['@', '~']) {
                revisions.clone()
            } else {
                Vec::new()
            },
            revisions,
            is_override,
        };
        let others = graph.other_parents(index).iter();
        let set = (!is_unknown).then_some(number);
        facts.points.push(Point {
            set,
            slots: (!is_unknown).then_some(slots),
            images: std::sync::Arc::clone(&images),
            partial_pins,
            claims: claims.clone(),
            has_merged_override: (others.clone())
                .any(|other| facts.points[*other].set == set && facts.points[*other].is_override()),
            has_changed_files: true,
            config: ConfigState::Present { is_changed: false },
            is_taken: others
                .into_iter()
                .any(|other| facts.points[*other].set == set),
            pulled: None,
        });
        facts.commits.push(Commit {
            id: id(index),
            info: CommitInfo::new("", "", b""),
            trailers: Vec::new(),
            claims,
            paths: 1,
            added: None,
            previous: None,
            config: ConfigState::Present { is_changed: false },
            images,
            content: if is_unknown {
                let reason = "unreadable".into();
                let unknown = UnknownContent { file: None, reason };
                Content::Unknown(Box::new(unknown), Vec::new())
            } else {
                Content::Changed(Vec::new())
            },
        });
    }
    facts.graph = graph;
    if is_truncated {
        facts.doubtful.insert(0);
    }
    facts
}

pub(in crate::core::history) fn from_facts(facts: LineFacts, pattern: &str) -> History {
    let images = facts.sets[0].0.len();
    let branch = Branch {
        name: "origin/main".into(),
        tip: id(0),
    };
    History::from_facts(branch, config(images, pattern), facts)
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

#[test]
fn rollback_is_detected_by_its_content() {
    let history = history(&["a a@A", "b b@B", "b b", "a a"]);
    assert_eq!(
        summary(&history),
        ["promote A", "promote B <", "rollback A"]
    );
    assert!(history.entries()[0].current && !history.entries()[2].current);
}

#[test]
fn return_has_the_kind_of_its_message() {
    let trailer = history(&["a a@A", "b b@B", "a a@A", "b b@B"]);
    let kinds = ["promote A <", "promote B", "rollback A <", "rollback B"];
    assert_eq!(summary(&trailer), kinds);
    let title = history(&["a a!A", "b b!B", "c c!C", "a a", "b b!B"]);
    assert_eq!(summary(&title)[3..], ["rollback A <", "promote B"]);
    assert_eq!(title.entries()[0].returns_to, Some(id(1)));
    let mut others = title.entries()[1..].iter();
    assert!(others.all(|entry| entry.returns_to.is_none()));
    let other = history(&["a a!A", "b b!B", "a a!Z"]);
    assert_eq!(summary(&other)[2], "rollback A");
}

#[test]
fn changes_before_the_first_record_are_manual() {
    let unrecorded = history(&["a a", "b b", "a a", "b b@B", "a a"]);
    let kinds = [
        "manual -",
        "manual -",
        "manual -",
        "rollback B <",
        "rollback -",
    ];
    assert_eq!(summary(&unrecorded), kinds);
}

#[test]
fn change_of_the_rules_alone_is_manual() {
    let commits = ["a a@A", "b b@B", "a a"];
    let mut facts = facts_of(&commits, Graph::linear(3), ".", false);
    facts.points[2].has_changed_files = false;
    assert_eq!(summary(&from_facts(facts, "."))[2], "manual A");
}

#[test]
fn known_digests_keep_their_revision() {
    let history = history(&["a a!A", "b b!B", "a b!C", "c c!C"]);
    assert_eq!(
        summary(&history),
        ["promote A <", "promote B <", "manual -", "promote C"]
    );
    let ignored = &history.events.ignored;
    assert_eq!(ignored.len(), 1);
    assert_eq!((ignored[0].commit, ignored[0].introduced), (2, 0));
    // A mixture with the claim of its first image.
    let mixture = self::history(&["a a!A", "b b!B", "b a!B"]);
    let ignored = &mixture.events.ignored;
    assert_eq!((ignored[0].commit, ignored[0].introduced), (2, 0));
    // A digest without a revision belongs to none.
    let manual = self::history(&["a a", "b b!B", "a b!C"]);
    assert_eq!(summary(&manual)[2], "promote C");
}

#[test]
fn set_with_disagreeing_pins_is_not_promoted() {
    let history = history(&["a a@A", "a,b b@B", "b b@B"]);
    assert_eq!(summary(&history), ["promote A <", "manual -", "promote B"]);
    assert_eq!(history.entries()[1].images.len(), 1);
}

#[test]
fn incomplete_set_is_unavailable_for_rollback() {
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
    let first = events(
        &Graph::linear(3),
        &history.facts.points[..3],
        &history.facts.sets,
        0,
        false,
    );
    assert!(first.undone_by.iter().all(Option::is_none));
    assert!(history.entries()[0].current);
}

#[test]
fn rollback_without_a_promotion_has_its_claim() {
    let manual = history(&["a a", "b b@B", "a a@A"]);
    assert_eq!(summary(&manual), ["manual -", "promote B <", "rollback A"]);
    // The claim of the promotion takes precedence.
    let promoted = history(&["a a@A", "b b@B", "a a@Z"]);
    assert_eq!(summary(&promoted)[2], "rollback A");
    assert!(!promoted.facts.sets.is_empty());
    let events = events(
        &promoted.facts.graph,
        &promoted.facts.points,
        &promoted.facts.sets,
        0,
        false,
    );
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
    let digests: crate::core::history::Digests = [("i0", "a"), ("i1", "b")]
        .map(|(image, build)| (image.to_owned(), digest(build)))
        .into();
    for other in ["a -", "a,c b", "- -"] {
        let history = history(&["x y", other, "x y"]);
        assert_eq!(
            history.provenance_of(&digests),
            Provenance::Never,
            "{other}"
        );
    }
    let history = history(&["x y", "a b", "x y"]);
    let found = history.provenance_of(&digests);
    assert!(matches!(found, Provenance::Found(_)), "{found:?}");
}

#[test]
fn mixed_set_gives_digests_no_revision() {
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
            .collect::<crate::core::history::Digests>()
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
fn truncated_line_requires_a_claim() {
    let history = history(&["a a", "b b@B", "a a"]);
    let events = events(
        &history.facts.graph,
        &history.facts.points,
        &history.facts.sets,
        0,
        true,
    );
    let kinds: Vec<_> = events.all.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::Promote, Kind::Rollback]);
    assert_eq!(events.undone_by.iter().flatten().count(), 1);
    // With a claim.
    let history = self::history(&["a a@A", "b b@B"]);
    let events = self::events(
        &history.facts.graph,
        &history.facts.points,
        &history.facts.sets,
        0,
        true,
    );
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
    assert_eq!(
        history.revision_of(&crate::core::history::Digests::new()),
        None
    );
}

#[test]
fn later_claim_of_a_rollback_is_no_further_revision() {
    // The digest of the first image has no revision, so the last claim is valid too.
    let history = history(&["a -", "a b@A", "c c@C", "a b@Z"]);
    assert_eq!(history.events.revisions[1], [revision("A")]);
    assert_eq!(summary(&history)[3], "rollback A");
}

#[test]
fn latest_rollback_undid_a_set() {
    let undone_by = |commits: &[(&str, &[usize])]| {
        let history = merged_history(commits);
        let events = &history.events;
        let set = history
            .facts
            .sets
            .iter()
            .position(|other| *other == set("b b"));
        events.undone_by[set.unwrap()].map(|rollback| events.all[rollback].commit)
    };
    // A rollback on a branch is later than those of the line before its merge.
    let line = [("a a@A", &[][..]), ("b b@B", &[0]), ("a a", &[1])];
    let branch = [("a a", &[1][..]), ("a a", &[2, 3])];
    assert_eq!(undone_by(&[&line[..], &branch].concat()), Some(3));
    assert_eq!(undone_by(&line), Some(2));
    // Both on one branch.
    let twice = [
        ("a a@A", &[][..]),
        ("b b@B", &[0]),
        ("a a", &[1]),
        ("b b@B", &[2]),
        ("a a", &[3]),
        ("a a", &[0, 4]),
    ];
    assert_eq!(undone_by(&twice), Some(4));
}

#[test]
fn claims_of_a_branch_are_not_listed_as_ignored() {
    let history = merged_history(&[
        ("a a!A", &[]),
        ("b b!B", &[0]),
        ("a a!C", &[1]),
        ("b b", &[1, 2]),
    ]);
    assert!(history.events.ignored.is_empty());
}

#[test]
fn branch_does_not_introduce_the_first_set_of_a_shallow_clone() {
    let commits: [(&str, &[usize]); 3] = [("x x", &[]), ("a a", &[]), ("b b@B", &[1])];
    let parents = [vec![], vec![], vec![id(1)]];
    let ids: Vec<_> = (0..3).map(id).collect();
    let mut parents: Vec<_> = parents
        .into_iter()
        .map(|first| Parents {
            first: first.first().copied(),
            others: Vec::new(),
        })
        .collect();
    // The first commit of the line merged a branch.
    parents[1].others.push(id(0));
    let graph = Graph::new(ids.iter().zip(&parents), &ids[2]);
    let texts: Vec<_> = commits.iter().map(|(text, _)| *text).collect();
    let history = from_facts(facts_of(&texts, graph, ".", true), ".");
    assert_eq!(summary(&history), ["promote B"]);
}

#[test]
fn claim_of_a_branch_names_no_set_of_the_line() {
    let history = merged_history(&[("a a", &[]), ("a a@Z", &[0]), ("a a", &[0, 1])]);
    assert_eq!(summary(&history), ["manual -"]);
}

#[test]
fn only_newer_sets_replace_an_unreadable_commit() {
    let is_blind = |commits: &[&str]| history(commits).blind_spot().is_some();
    assert!(!is_blind(&["a a@A", "?- -", "c c@C"]));
    // Older digests in a new mixture, a new image, and a removed one.
    assert!(is_blind(&["a a@A", "b b@B", "?- -", "a b"]));
    assert!(is_blind(&["a -@A", "?- -", "a x"]));
    assert!(is_blind(&["a a@A", "?- -", "a -"]));
    // The set after the next one counts, unless it is empty or mixed.
    assert!(!is_blind(&["a a@A", "b b@B", "?- -", "a b", "b a"]));
    assert!(is_blind(&["a a@A", "b b@B", "?- -", "a b", "- -"]));
    assert!(is_blind(&["a a@A", "b b@B", "?- -", "a b", "a,b b"]));
    // A newer set on a merged branch is not current.
    let branch = merged_history(&[
        ("a a@A", &[]),
        ("?- -", &[0]),
        ("c c@C", &[1]),
        ("a a", &[1, 2]),
    ]);
    assert!(branch.blind_spot().is_some());
}

#[test]
fn unreadable_promotion_matters_for_its_revision() {
    let unreadable = |commits: &[&str]| {
        let history = history(commits);
        let found = history.blind_spot_of(&revision("B"));
        found.map(|unreadable| unreadable.commit)
    };
    let earlier = ["a a@A", "b b@B", "?- -@B", "a b", "b a"];
    assert_eq!(unreadable(&earlier), Some(id(2)));
    let two = ["a a@A", "b b@B", "?- -@B", "a b", "?- -", "b a", "a b"];
    assert_eq!(unreadable(&two), Some(id(2)));
    assert_eq!(unreadable(&["a a@A", "?- -@B", "c c@C"]), None);
    assert_eq!(
        unreadable(&["a a@A", "?- -@B", "b b@B", "a b", "b a"]),
        None
    );
}

#[test]
fn unknown_past_ends_with_the_next_promotion() {
    let past = |commits: &[&str]| {
        let mut facts = facts_of(commits, Graph::linear(commits.len()), ".", false);
        facts.unknown_past = Some(UnknownPast {
            commit: id(1),
            removed: Vec::new(),
            position: 1,
        });
        from_facts(facts, ".")
    };
    let known = past(&["x x@X", "a a@A", "b b@B"]);
    assert!(known.unknown_past().is_none());
    let unknown = past(&["x x@X", "a a@A", "a b"]);
    assert!(unknown.unknown_past().is_some());
    let digests = [("i0".to_owned(), digest("z"))].into();
    assert!(unknown.periods(&digests).gap.is_some());
    // The first set may be older than the first commit.
    assert_eq!(summary(&past(&["a a", "b b@B"])), ["promote B"]);
}

#[test]
fn past_before_the_set_is_not_truncated() {
    let commits = ["- -", "a a", "b b@B"];
    let mut facts = facts_of(&commits, Graph::linear(3), ".", true);
    facts.start = 1;
    let history = from_facts(facts, ".");
    assert_eq!(summary(&history), ["manual -", "promote B"]);
}

#[test]
fn images_with_disagreeing_pins_are_listed() {
    let history = history(&["a a@A", "a,b b", "b b@B"]);
    let mixed = |index: usize| history.mixed_images(&history.entries()[index]);
    assert_eq!(mixed(1), ["i0"]);
    assert!(mixed(0).is_empty() && mixed(2).is_empty());
}

#[test]
fn removed_pins_leave_no_current_set() {
    assert!(history(&["a a@A", "- -"]).current().is_none());
    assert!(history(&["a a@A", "b b"]).current().is_some());
}

#[test]
fn provenance_states_what_a_claim_lacks() {
    let other = history(&["a a!A", "b b!B", "a b!C"]);
    let found = other.provenance(&revision("C"));
    assert!(
        matches!(found, Provenance::OtherRevision { .. }),
        "{found:?}"
    );
    assert_eq!(other.provenance(&revision("Z")), Provenance::Never);
    let part = history_since(&["x y", "a -@A"], true);
    assert_eq!(part.provenance(&revision("A")), Provenance::Shallow);
    // The commits that a doubtful merge brought in are unknown, so its claim may be an older one.
    let mut facts = facts_of(&["a a@A", "b b@B"], Graph::linear(2), ".", false);
    facts.doubtful.insert(1);
    facts.commits[1].claims = Claims::default();
    let doubtful = from_facts(facts, ".");
    assert_eq!(doubtful.provenance(&revision("B")), Provenance::Shallow);
}

#[test]
fn latest_change_to_a_set_promoted_its_digests() {
    let history = history(&["a a@A", "b b@B", "a a"]);
    let digests = ["i0", "i1"].map(|image| (image.to_owned(), digest("a")));
    let Provenance::Found(promoted) = history.provenance_of(&digests.into()) else {
        panic!("the set was promoted");
    };
    assert_eq!(promoted.commit, id(2));
}

/// A naive implementation: each rule scans the whole line.
mod naive {
    use super::*;

    /// A commit: the set, the claim, and whether the title contains it.
    pub(super) type Line = Vec<(Set, Option<(char, bool)>)>;

    pub(super) struct FoldUndo {
        pub(super) index: usize,
        pub(super) set: Set,
        pub(super) kind: Kind,
    }

    /// The changes, the revisions of each set, and the positions of ignored claims.
    #[derive(Default)]
    pub(super) struct Replay {
        pub(super) changes: Vec<FoldUndo>,
        revisions: Vec<(Set, Vec<char>)>,
        pub(super) ignored: Vec<usize>,
    }

    impl Replay {
        pub(super) fn of(line: &Line) -> Self {
            let mut replay = Self::default();
            let mut previous = Set::new(vec![Vec::new(); 2]);
            for (index, (set, claim)) in line.iter().enumerate() {
                let is_valid = claim.is_some_and(|(claim, _)| replay.is_valid(set, claim));
                if claim.is_some() && !is_valid && !(set.is_empty() && previous.is_empty()) {
                    replay.ignored.push(index);
                }
                let valid = claim.filter(|_| is_valid);
                let mut claim = valid.filter(|_| !set.is_empty() && !set.is_mixed());
                if *set == previous {
                    claim = claim.filter(|_| replay.revisions_of(set).is_empty());
                } else {
                    let is_known = replay.changes.iter().any(|change| change.set == *set);
                    let has_title = claim.is_some_and(|(_, is_title)| is_title);
                    let is_recorded = line[..=index].iter().any(|(_, claim)| claim.is_some());
                    let kind = if is_recorded && is_known && !set.is_empty() && !has_title {
                        Kind::Rollback
                    } else if claim.is_some() {
                        Kind::Promote
                    } else {
                        Kind::Manual
                    };
                    if kind == Kind::Rollback {
                        claim = valid.filter(|_| replay.revisions_of(set).is_empty());
                    }
                    let set = set.clone();
                    replay.changes.push(FoldUndo { index, set, kind });
                }
                if let Some((claim, _)) = claim {
                    let mut revisions = replay.revisions_of(set);
                    if !revisions.contains(&claim) {
                        revisions.push(claim);
                    }
                    replay.revisions.retain(|(other, _)| other != set);
                    replay.revisions.push((set.clone(), revisions));
                }
                previous = set.clone();
            }
            replay
        }

        pub(super) fn revisions_of(&self, set: &Set) -> Vec<char> {
            let mut sets = self.revisions.iter();
            let found = sets.find(|(other, _)| other == set);
            found
                .map(|(_, revisions)| revisions.clone())
                .unwrap_or_default()
        }

        /// The first change that gave an image this digest.
        fn first(&self, image: usize, digest: &Digest) -> Option<usize> {
            let mut changes = self.changes.iter();
            changes.position(|change| change.set.digest(image).as_ref() == Some(digest))
        }

        fn is_valid(&self, set: &Set, claim: char) -> bool {
            let mut is_owned = true;
            let mut has_digest = false;
            for (image, digests) in set.0.iter().enumerate() {
                for digest in digests {
                    has_digest = true;
                    let first = self.first(image, digest);
                    is_owned &= first.is_some_and(|first| {
                        !self.revisions_of(&self.changes[first].set).is_empty()
                    });
                }
            }
            !(has_digest && is_owned) || self.revisions_of(set).contains(&claim)
        }
    }
}

proptest! {
    #[test]
    fn entries_equal_the_naive_implementation(
        picks in proptest::collection::vec(
            (0..7_usize, proptest::option::of((0..4_usize, any::<bool>()))),
            1..24,
        )
    ) {
        let sets = ["- -", "a a", "b b", "c c", "a -", "a,b b", "a b"];
        let claim = |(claim, is_title): (usize, bool)| (char::from(b"ABCD"[claim]), is_title);
        let line: naive::Line =
            picks.iter().map(|(index, found)| (set(sets[*index]), found.map(claim))).collect();
        let mut texts = Vec::new();
        for (index, found) in &picks {
            let claim = found.map(claim).map_or(String::new(), |(claim, is_title)| {
                format!("{}{claim}", if is_title { '!' } else { '@' })
            });
            texts.push(format!("{}{claim}", sets[*index]));
        }
        let history = history(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let replay = naive::Replay::of(&line);
        let changes = &replay.changes;
        prop_assert_eq!(history.entries().len(), changes.len());
        let tip = &line.last().unwrap().0;
        for (number, entry) in history.entries().iter().rev().enumerate() {
            let change = &changes[number];
            prop_assert_eq!(entry.commit, id(change.index));
            prop_assert_eq!(entry.kind, change.kind);
            let found = entry.revision.as_ref().map(ToString::to_string);
            let expected = replay.revisions_of(&change.set).first().map(ToString::to_string);
            prop_assert!(found.is_none() || found == expected);
            let is_whole = |set: &Set| set.0.iter().all(|digests| digests.len() == 1);
            let mut claims = line.iter().enumerate().rev();
            let latest = claims.find(|(index, (set, claim))| {
                let claim = claim.map(|(claim, _)| claim.to_string());
                is_whole(set) && claim.is_some() && claim == found && !replay.ignored.contains(index)
            });
            let is_available = latest.is_some_and(|(_, (set, _))| *set == change.set);
            prop_assert_eq!(entry.can_roll_back, is_available && change.set != *tip);
            prop_assert_eq!(entry.current, number + 1 == changes.len() && !tip.is_empty());
        }
    }
}
