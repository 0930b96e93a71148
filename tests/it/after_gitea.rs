//! After the pull request on Gitea and Forgejo, as real servers behave: styles of merging,
//! conflicts, workflows that are started once, issues.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{
    forge::{self as fakes, Fake, Fault, Kind, TOKEN, broken},
    hosted::{self, GITEAS, LOOK, PROMOTE, WAIT, run},
    sweep::{one_of, with_each},
    world::{REV_B, World},
};

/// A world with a base branch on a forge and an open pull request; `settings` of the block
/// `forge`.
fn opened(kind: Kind, settings: &str) -> (World, Fake) {
    let (world, fake) = hosted::hosted(kind, settings);
    run(&world, &PROMOTE).exits(0);
    (world, fake)
}

fn requires_ci(fake: &Fake) {
    fake.store().required = vec!["ci".to_owned()];
    fake.store().report("ci", "pending");
}

#[test]
fn merge_uses_preferred_allowed_style() {
    let cases = [
        (&["merge", "squash"][..], "squash"),
        (&["rebase"], "merge"),
        (&["rebase", "rebase-merge"], "rebase-merge"),
        (&["squash"], ""),
    ];
    for (kind, (styles, preferred)) in with_each(&cases, &GITEAS) {
        let (world, fake) = opened(kind, "auto_merge: true, gates: [ci]");
        {
            let mut store = fake.store();
            store.gitea.styles = styles.to_vec();
            store.gitea.default_style = preferred;
        }
        requires_ci(&fake);
        run(&world, &PROMOTE).exits(0);
        assert_eq!(fake.store().scheduled.len(), 1, "{kind:?} {styles:?}");
        fake.when(1, |store| store.report("ci", "success"));
        let document = run(&world, &WAIT).exits(0).json();
        assert_eq!(document["state"], "merged", "{kind:?} {styles:?}");
        let wanted = if styles.contains(&preferred) {
            preferred
        } else {
            styles[0]
        };
        assert_eq!(
            fake.store().gitea.asked_style,
            wanted,
            "{kind:?} {styles:?}"
        );
    }
    for kind in one_of(GITEAS) {
        let (world, fake) = opened(kind, "auto_merge: true, gates: [ci]");
        fake.store().gitea.styles.clear();
        requires_ci(&fake);
        let ran = run(&world, &PROMOTE).exits(1);
        assert!(
            ran.stderr.contains("allows no merge method"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn unscheduled_gitea_merge_is_reported_and_wait_merges() {
    let (world, fake) = opened(Kind::Gitea, "auto_merge: true, gates: [ci]");
    fake.store().gitea.styles = vec!["fast-forward-only"];
    requires_ci(&fake);
    let ran = run(&world, &PROMOTE).exits(0);
    assert!(
        ran.stderr.contains("by fast-forward only"),
        "{}",
        ran.stderr
    );
    assert_eq!(fake.store().scheduled, []);
    fake.when(2, |store| store.report("ci", "success"));
    assert_eq!(run(&world, &WAIT).exits(0).json()["state"], "merged");
}

#[test]
fn unknown_draft_prefix_is_an_error() {
    for kind in GITEAS {
        let (world, fake) = opened(kind, "");
        fake.store().pulls.clear();
        fake.store().gitea.drafts = vec!["Draft:"];
        let draft = ["promote", "--revision", REV_B, "--pr", "draft"];
        for _ in 0..2 {
            let ran = run(&world, &draft).exits(1);
            assert!(
                ran.stderr.contains("ready for review")
                    && ran.stderr.contains("WORK_IN_PROGRESS_PREFIXES"),
                "{}",
                ran.stderr
            );
        }
        fake.store().gitea.drafts = vec!["WIP:"];
        run(&world, &draft).exits(0);
    }
}

#[test]
fn silent_forge_is_unknown_and_not_open() {
    let (world, fake) = opened(Kind::Gitea, "");
    assert_eq!(run(&world, &LOOK).exits(3).json()["state"], "open");
    fake.fault(("GET", "/pulls/1"), 99, Fault::Instead(broken()));
    assert_eq!(run(&world, &LOOK).exits(3).json()["state"], "unknown");
}

/// A merged pull request with a workflow that the merge starts.
fn merged(kind: Kind, there: &[&'static str]) -> (World, Fake) {
    let (world, fake) = opened(kind, "dispatch: [deploy.yml]");
    fake.store().workflows_there = there.to_vec();
    let number = fake.store().pulls[0].number;
    fake.store().merge(number);
    fake.store().gitea.started.clear();
    (world, fake)
}

#[test]
fn concurrent_waits_start_a_workflow_once() {
    for kind in GITEAS {
        let (world, fake) = merged(kind, &["deploy.yml"]);
        fake.meet("POST", "/contents", 4);
        let start = |_| {
            let mut command = world.command(&WAIT);
            let command = command.env("REPIN_FORGE_TOKEN", TOKEN);
            let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let children: Vec<_> = (0..4).map(start).collect();
        let mut dispatched = 0;
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let document: Value = serde_json::from_slice(&output.stdout).unwrap();
            dispatched += document["dispatched"].as_array().unwrap().len();
        }
        assert_eq!(dispatched, 1, "{kind:?}");
        assert_eq!(fake.store().dispatched.len(), 1, "{kind:?}");
        // A later run starts no workflow, and succeeds.
        assert_eq!(run(&world, &WAIT).exits(0).json()["dispatched"], json!([]));
        assert_eq!(fake.store().dispatched.len(), 1, "{kind:?}");
        assert_eq!(fake.store().gitea.started, [""; 0], "{kind:?}: by a push");
    }
}

#[test]
fn missing_workflow_is_reported_and_releases_its_mark() {
    for kind in GITEAS {
        let (world, fake) = merged(kind, &[]);
        for _ in 0..2 {
            let ran = run(&world, &WAIT).exits(1);
            assert!(
                ran.stderr.contains("deploy.yml is missing"),
                "{}",
                ran.stderr
            );
            let store = fake.store();
            assert!(
                !store
                    .refs
                    .keys()
                    .any(|name| name.starts_with("repin/") && !name.starts_with("repin/promote-")),
                "{kind:?}"
            );
        }
        fake.store().workflows_there = vec!["deploy.yml"];
        let document = run(&world, &WAIT).exits(0).json();
        assert_eq!(document["dispatched"], json!(["deploy.yml"]), "{kind:?}");
    }
}

#[test]
fn marks_older_than_thirty_days_are_deleted() {
    let (world, fake) = merged(Kind::Gitea, &["deploy.yml"]);
    let mark = |store: &mut fakes::Store, number: u32, at: &str| {
        let name = format!("repin/dispatched/pull-{number}/deploy.yml");
        let id = store.push(&name, "mark [skip ci]", &[(&name, "word")]);
        store.gitea.times.insert(id, at.to_owned());
    };
    mark(&mut fake.store(), 70, "2020-01-01T00:00:00Z");
    mark(&mut fake.store(), 71, "2099-01-01T00:00:00Z");
    {
        let mut store = fake.store();
        // The second is the branch of a set with the key `dispatched`.
        for (name, content) in [("repin/mine", "y"), ("repin/dispatched/promote-x", "z")] {
            let id = store.push(name, "a person's", &[("x", content)]);
            store
                .gitea
                .times
                .insert(id, "2020-01-01T00:00:00Z".to_owned());
        }
    }
    run(&world, &WAIT).exits(0);
    let store = fake.store();
    let left: Vec<_> = store
        .refs
        .keys()
        .filter(|name| name.starts_with("repin/") && !name.starts_with("repin/promote-"))
        .collect();
    assert_eq!(
        left,
        [
            "repin/dispatched/promote-x",
            "repin/dispatched/pull-1/deploy.yml",
            "repin/dispatched/pull-71/deploy.yml",
            "repin/mine"
        ]
    );
}
