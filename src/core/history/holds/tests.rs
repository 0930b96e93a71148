//! Hand-written lines and merges, and the digests that are held at their tips.

use crate::core::history::{
    Digests, EntryState, History,
    events::tests::{
        digest, facts_of, from_facts, history, history_since, merged_graph, merged_history,
    },
    graph::Graph,
    walk::ConfigState,
};

/// Commits with the parents of each.
type Line<'l> = &'l [(&'l str, &'l [usize])];

/// The letters of the held digests of each image: `b -`.
fn held(history: &History) -> String {
    let letters = |image: usize| {
        let name = format!("i{image}");
        let held = history.held.iter().filter(|held| held.image == name);
        let digests: Vec<_> = held.map(|held| held.digest).collect();
        let letters = ["a", "b", "c", "d", "e", "f", "n", "x", "y", "z"];
        let found = letters
            .iter()
            .filter(|letter| digests.contains(&digest(letter)));
        let found: String = found.copied().collect();
        if found.is_empty() {
            "-".to_owned()
        } else {
            found
        }
    };
    let images: Vec<_> = (0..history.config.images.len()).map(letters).collect();
    images.join(" ")
}

#[test]
fn return_to_earlier_digests_undoes_those_between() {
    for (commits, expected) in [
        (&["a@A", "b@B", "a"][..], "b"),
        // Whatever the title says: a rollback, a promotion, a trailer.
        (&["a@A", "b@B", "a~A"], "b"),
        (&["a!A", "b!B", "a!A"], "b"),
        (&["a@A", "b@B", "c@C", "a"], "bc"),
        (&["a@A", "b@B", "c@C", "b"], "c"),
        (&["a@A", "b@B"], "-"),
        // A newer set does not end the hold, and a further rollback adds to it.
        (&["a@A", "b@B", "a", "c@C"], "b"),
        (&["a@A", "b@B", "a", "c@C", "a", "d@D"], "bc"),
        // Pins that are missing for a while.
        (&["a@A", "b@B", "-", "a"], "b"),
        (&["a@A", "-", "a"], "-"),
        // Some pins only.
        (&["a@A", "b@B", "a,b", "a"], "b"),
        (&["a@A", "b@B", "b,c", "b"], "c"),
        (&["a@A", "b@B", "a,b"], "-"),
        // A return to pins that disagree.
        (&["a,b@A", "c@C", "a,b"], "c"),
        (&["a,b@A", "b@B", "a,b"], "-"),
        // Digests of a commit that cannot be read completely.
        (&["a@A", "?b", "a@A"], "b"),
        (&["a@A", "?b", "?c", "c@C", "b"], "c"),
        (&["a@A", "b@B", "?a", "a"], "b"),
        (&["a@A", "?a,b", "b@B"], "-"),
    ] {
        assert_eq!(held(&history(commits)), expected, "{commits:?}");
    }
}

#[test]
fn only_returned_images_are_held() {
    for (commits, expected) in [
        (&["a x@A", "b y@B", "a x"][..], "b y"),
        (&["a x@A", "b y@B", "a y"], "b -"),
        (&["a x@A", "b x@B", "b y@C", "a x"], "b y"),
        // The next build shares an image with the undone one, and replaces the older digest.
        (&["a x!A", "b y!B", "a x", "c y!C"], "b xy"),
        // The other image keeps the same digest.
        (&["a x@A", "b b@B", "a b"], "b -"),
    ] {
        assert_eq!(held(&history(commits)), expected, "{commits:?}");
    }
}

#[test]
fn digest_of_another_image_of_the_set_is_not_undone() {
    assert_eq!(held(&history(&["a b@A", "b b@B", "a b"])), "- -");
}

#[test]
fn hold_ends_on_purpose_only() {
    for (commits, expected) in [
        // By the trailer, which undoes nothing.
        (&["a!A", "b!B", "a~A", "b!B+"][..], "-"),
        (&["a!A", "b!B", "a~A", "c!C+"], "b"),
        // By a recorded rollback to the held digest, which undoes in turn.
        (&["a!A", "b!B", "a~A", "c!C", "b~B"], "ac"),
        (&["a!A", "b!B", "a~A", "b@B"], "a"),
        // Not by a revert of the rollback, an old promotion or pins by hand.
        (&["a!A", "b!B", "a~A", "b"], "ab"),
        (&["a!A", "b!B", "a~A", "b!B"], "ab"),
        // A later rollback holds the digest again.
        (&["a!A", "b!B", "a~A", "b!B+", "a~A"], "b"),
    ] {
        assert_eq!(held(&history(commits)), expected, "{commits:?}");
    }
}

#[test]
fn set_with_an_undone_image_is_held_in_lists() {
    use EntryState::{Available, Current, Held, Superseded};
    let mut history = history(&["a x!A", "b y!B", "a y", "c z!C"]);
    let states = |history: &History| {
        let entries = history.entries().iter();
        entries
            .map(|entry| history.state(entry))
            .collect::<Vec<_>>()
    };
    assert_eq!(states(&history), [Current, Superseded, Held, Available]);
    // A rollback in another set only warns.
    for held in &mut history.held {
        held.is_elsewhere = true;
    }
    assert_eq!(
        states(&history),
        [Current, Superseded, Available, Available]
    );
}

#[test]
fn sets_that_a_git_pull_replaced_are_undone_too() {
    let held_with = |pulls: &[usize], line: Line<'_>| {
        let texts: Vec<_> = line.iter().map(|(text, _)| *text).collect();
        let mut facts = facts_of(&texts, merged_graph(line), ".", false);
        for pull in pulls {
            facts.points[*pull].pulled = facts.graph.other_parents(*pull).first().copied();
        }
        held(&from_facts(facts, "."))
    };
    let held_with = |pulls: &[usize], line: Line<'_>| {
        // 3 is a commit of a colleague.
        let begin: Line<'_> = &[("a@A", &[]), ("b@B", &[0]), ("c@C", &[1]), ("a", &[0])];
        held_with(pulls, &[begin, line].concat())
    };
    let one: Line<'_> = &[("c", &[3, 2]), ("a", &[4])];
    assert_eq!(held_with(&[], one), "c");
    assert_eq!(held_with(&[4], one), "bc");
    // A second one makes the first merge and the rollback a merged line.
    let two: Line<'_> = &[("c", &[3, 2]), ("a", &[4]), ("a", &[0]), ("a", &[6, 5])];
    assert_eq!(held_with(&[4, 7], two), "bc");
    // The replaced line contains the first merge.
    let inner: Line<'_> = &[("c", &[3, 2]), ("a", &[0]), ("c", &[5, 4]), ("a", &[6])];
    assert_eq!(held_with(&[6], inner), "c");
    assert_eq!(held_with(&[4, 6], inner), "bc");
    // The second one replaces only what its own line lacks.
    let both: Line<'_> = &[("c", &[3, 2]), ("d@D", &[2]), ("c", &[5, 4]), ("d", &[6])];
    assert_eq!(held_with(&[4, 6], both), "cd");
    // Digests from before the merged commits are not newer.
    let older: Line<'_> = &[("e@E", &[3]), ("d@D", &[0]), ("e", &[5, 4]), ("d", &[6])];
    assert_eq!(held_with(&[6], older), "e");
    // A merge that keeps other digests continues its own line.
    let kept: Line<'_> = &[("d@D", &[3, 2]), ("a", &[4])];
    assert_eq!(held_with(&[4], kept), "d");
}

#[test]
fn changes_before_the_first_record_undo_nothing() {
    assert_eq!(held(&history(&["a", "b", "a"])), "-");
    assert_eq!(held(&history(&["a", "b", "a", "c@C", "a"])), "c");
    assert_eq!(held(&history(&["a", "b", "c@C", "a"])), "bc");
    // The first record may be before the start of a shallow clone.
    assert_eq!(held(&history_since(&["a", "b", "a"], true)), "b");
}

#[test]
fn change_of_the_rules_undoes_nothing() {
    let line = |commits: &[&str], has_changed_files| {
        let mut facts = facts_of(commits, Graph::linear(3), ".", false);
        facts.points[2].has_changed_files = has_changed_files;
        held(&from_facts(facts, "."))
    };
    // The second image has the name and the repository that replace those of the first one.
    for (commits, undone) in [
        (["a@A", "b@B", "a"], ["b", "-"]),
        (["a -@A", "b -@B", "- a"], ["- b", "- -"]),
    ] {
        assert_eq!([true, false].map(|is| line(&commits, is)), undone);
    }
}

#[test]
fn files_may_change_while_no_configuration_shows_them() {
    let line = |hidden: &str| {
        let commits = ["a@A", "b@B", hidden, "a"];
        let mut facts = facts_of(&commits, Graph::linear(4), ".", false);
        facts.points[3].has_changed_files = false;
        held(&from_facts(facts, "."))
    };
    // An image without pins, a commit that cannot be read, and one that shows the pins.
    assert_eq!(["-", "?", "?a", "b"].map(line), ["b", "b", "b", "-"]);
}

#[test]
fn commits_after_the_removal_of_the_configuration_do_not_count() {
    let line = |config| {
        let commits = ["a@A", "b@B", "a"];
        let mut facts = facts_of(&commits, Graph::linear(3), ".", false);
        facts.points[2].config = config;
        held(&from_facts(facts, "."))
    };
    assert_eq!(line(ConfigState::Removed), "-");
    assert_eq!(line(ConfigState::NotAdded), "b");
    let merge = |config| {
        let commits: [(&str, &[usize]); 4] =
            [("a@A", &[]), ("b@B", &[0]), ("a", &[0]), ("a", &[2, 1])];
        let texts = commits.map(|(text, _)| text);
        let mut facts = facts_of(&texts, merged_graph(&commits), ".", false);
        facts.points[3].config = config;
        held(&from_facts(facts, "."))
    };
    assert_eq!(merge(ConfigState::Removed), "-");
    assert_eq!(merge(ConfigState::NotAdded), "b");
}

#[test]
fn merged_line_counts_whatever_its_last_commit_is() {
    let held_with = |last: &str, config| {
        let commits: [(&str, &[usize]); 5] = [
            ("a@A", &[]),
            ("b@B", &[0]),
            (last, &[1]),
            ("a", &[0]),
            ("a", &[3, 2]),
        ];
        let texts = commits.map(|(text, _)| text);
        let mut facts = facts_of(&texts, merged_graph(&commits), ".", false);
        facts.points[2].config = config;
        held(&from_facts(facts, "."))
    };
    let added = ConfigState::NotAdded;
    assert_eq!(
        ["b", "-", "?", "?b"].map(|last| held_with(last, added)),
        ["b"; 4]
    );
    assert_eq!(held_with("-", ConfigState::Removed), "b");
}

#[test]
fn image_with_another_name_keeps_its_digests() {
    for (commits, expected) in [
        (&["a -@A", "b -@B", "- b", "- a"][..], "- b"),
        (&["a -@A", "b -@B", "- a"], "- b"),
        // Its pins disagree meanwhile.
        (&["a -@A", "b -@B", "a,b -", "- a,b", "- b"], "- a"),
        // Back to its former name and repository.
        (&["a -@A", "- a", "- b", "a -"], "b -"),
        // Another image with the digest of one that is still pinned.
        (&["a -@A", "b -@B", "b a"], "- -"),
    ] {
        assert_eq!(held(&history(commits)), expected, "{commits:?}");
    }
}

#[test]
fn merges_undo_the_newer_digests_of_a_parent() {
    let cases: &[(Line<'_>, &str)] = &[
        // A rollback by a pull request.
        (
            &[("a@A", &[]), ("b@B", &[0]), ("a~A", &[1]), ("a", &[1, 2])],
            "b",
        ),
        // A promotion that was merged, and one that was dropped by its merge.
        (&[("a@A", &[]), ("b!B", &[0]), ("b", &[0, 1])], "-"),
        (&[("a@A", &[]), ("b!B", &[0]), ("a", &[0, 1])], "b"),
        // A foxtrot merge: the line continues from an old branch, and keeps its pins.
        (
            &[("a@A", &[]), ("b@B", &[0]), ("a", &[0]), ("a", &[2, 1])],
            "b",
        ),
        (
            &[("a@A", &[]), ("b@B", &[0]), ("a", &[0]), ("b", &[2, 1])],
            "-",
        ),
        // The same on purpose.
        (
            &[("a@A", &[]), ("b@B", &[0]), ("a", &[0]), ("a!A+", &[2, 1])],
            "-",
        ),
        // The same after another foxtrot merge.
        (
            &[
                ("a@A", &[]),
                ("b@B", &[0]),
                ("a", &[0]),
                ("a", &[2, 1]),
                ("a", &[0]),
                ("a", &[4, 3]),
            ],
            "b",
        ),
        // Both parents have the newer set, which was replaced on purpose.
        (
            &[
                ("a@A", &[]),
                ("b@B", &[0]),
                ("a!A+", &[1]),
                ("a", &[2, 1]),
                ("a", &[0]),
                ("a", &[4, 3]),
            ],
            "-",
        ),
        // A branch that takes the newer set of the line, and one that drops it.
        (
            &[
                ("a@A", &[]),
                ("b@B", &[0]),
                ("a", &[0]),
                ("b", &[2, 1]),
                ("b", &[1, 3]),
            ],
            "-",
        ),
        (
            &[
                ("a@A", &[]),
                ("b@B", &[0]),
                ("a", &[0]),
                ("a", &[2, 1]),
                ("c@C", &[1]),
                ("c", &[4, 3]),
            ],
            "b",
        ),
        // A rollback of the line is still one after a foxtrot merge.
        (
            &[
                ("a@A", &[]),
                ("b@B", &[0]),
                ("a~A", &[1]),
                ("a", &[0]),
                ("a", &[3, 2]),
            ],
            "b",
        ),
        // A branch without a change of pins undoes nothing.
        (
            &[("a@A", &[]), ("a", &[0]), ("b@B", &[0]), ("b", &[2, 1])],
            "-",
        ),
        // The image has another name and repository on the line.
        (
            &[
                ("a -@A", &[]),
                ("b -@B", &[0]),
                ("- b", &[1]),
                ("a -~A", &[1]),
                ("- b", &[2, 3]),
            ],
            "b a",
        ),
        // A digest that only a merged side line had between is not undone.
        (
            &[
                ("a@A", &[]),
                ("b@B", &[0]),
                ("c@C", &[1]),
                ("c", &[0, 2]),
                ("a", &[3]),
            ],
            "c",
        ),
    ];
    for (commits, expected) in cases {
        assert_eq!(held(&merged_history(commits)), *expected, "{commits:?}");
    }
}

#[test]
fn old_forced_branch_does_not_end_a_later_hold() {
    let rollback: [(&str, &[usize]); 3] = [("a!A", &[]), ("b!B", &[0]), ("a~A", &[1])];
    let forced: [(&str, &[usize]); 2] = [("b!B+", &[2]), ("b", &[2, 3])];
    let current = [&rollback[..], &forced].concat();
    assert_eq!(held(&merged_history(&current)), "-");
    // Rolled back again; then the forced branch is merged a second time.
    let again: [(&str, &[usize]); 2] = [("a~A", &[4]), ("b", &[5, 3])];
    let stale = [&rollback[..], &forced, &again].concat();
    assert_eq!(held(&merged_history(&stale)), "b");
}

#[test]
fn override_of_a_head_is_for_its_digests() {
    let commits = ["a@A", "?", "b!B+"];
    let (base, head) = (history(&commits[..2]), history(&commits));
    for (pinned, is_unknown) in [("b", false), ("c", true)] {
        let digests = Digests::from([("i0".to_owned(), digest(pinned))]);
        let hold = base.hold_of_head(&head, &digests, &digests);
        assert_eq!(hold.blind_spot.is_some(), is_unknown, "{pinned}");
    }
}

#[test]
fn holds_of_a_digest_end_together() {
    let b = Digests::from([("i0".to_owned(), digest("b"))]);
    let side: [(&str, &[usize]); 3] = [("a@A", &[]), ("b@B", &[0]), ("a~A", &[1])];
    let head = merged_history(&[&side[..], &[("b!B+", &[2])]].concat());
    let twice: [(&str, &[usize]); 3] = [("a~A", &[1]), ("a", &[3, 2]), ("c@C", &[4])];
    let once: [(&str, &[usize]); 3] = [("b", &[1]), ("b", &[3, 2]), ("c@C", &[4])];
    for (line, is_held) in [(twice, true), (once, false)] {
        let base = merged_history(&[&side[..], &line].concat());
        // Control: the hold of the merged commit is the latest one, and the head ends it.
        let latest = base.holds_of(&digest("b")).next().unwrap();
        assert_eq!(latest.commit, base.facts.commits[2].id);
        assert!(head.is_released(latest));
        assert_eq!(
            base.hold_of_head(&head, &b, &b).is_held(),
            is_held,
            "{line:?}"
        );
    }
}
