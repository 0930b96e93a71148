//! The pull request machinery against forges that are as unkind as the real ones, as whole runs:
//! races as scripted interleavings, refusals, servers that are too old.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    process::Stdio,
};

use serde_json::Value;

use crate::support::{
    forge::{self as fakes, Fake, Fault, Kind, TOKEN, When, broken, error},
    hosted::{A, FILES, GITEAS, SERVERS, hosted, promote, publish, run, run_with},
    sweep::{one_of, sample, with_each},
    world::{REV_A, REV_B, REV_C, World},
};

/// The document of a promotion with this exit code.
fn promoted(world: &World, revision: &'static str, exit: i32) -> Value {
    run(world, &promote(revision)).exits(exit).json()
}

/// Promotes a set that was rolled back by hand.
fn promoted_again(world: &World, exit: i32) -> Value {
    let args = [&promote(REV_B)[..], &["--force-after-rollback"]].concat();
    run(world, &args).exits(exit).json()
}

/// The message of the error.
fn printed(document: &Value) -> String {
    format!("{} {}", document["error"], document["errors"])
}

fn started(world: &World, args: &[&str]) -> std::process::Child {
    let mut command = world.command(args);
    command
        .env("REPIN_FORGE_TOKEN", TOKEN)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn ended(child: std::process::Child, exit: i32) -> Value {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let trouble = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{text} {trouble}");
    serde_json::from_str(&text).unwrap()
}

/// The base's file changes at a pin of the set: the earlier plan conflicts.
fn rival(fake: &Fake) {
    let text = fake.store().content("main", A);
    let edited = format!("{text}\nmore: lines\n");
    fake.store().push("main", "another change", &[(A, &edited)]);
}

/// The only open pull request is based on the base's head, and can be merged.
fn is_whole(fake: &Fake, case: &str) {
    let mut store = fake.store();
    fakes::gitea::drain(&mut store);
    let open = store.open_pulls();
    assert_eq!(open.len(), 1, "{case}: {:?}", store.pulls);
    let head = &store.refs[&open[0].head];
    assert_eq!(
        store.commit(head).parents,
        [store.refs["main"].clone()],
        "{case}"
    );
    assert_eq!(
        store.conflicts(&store.refs["main"], head),
        [""; 0],
        "{case}"
    );
    assert!(!open[0].body.contains("moving"), "{case}: {}", open[0].body);
    if GITEAS.contains(&store.kind) {
        let number = open[0].number;
        assert_eq!(store.gitea.shown.get(&number), Some(head), "{case}");
        assert!(store.gitea.checked.contains(&number), "{case}");
    }
}

#[test]
fn branch_in_conflict_with_base_is_rebuilt() {
    for kind in one_of(SERVERS) {
        let (world, fake) = hosted(kind, "");
        let first = promoted(&world, REV_B, 0);
        rival(&fake);
        let again = promoted(&world, REV_B, 0);
        let (before, after) = (&first["pull_request"], &again["pull_request"]);
        assert_eq!(after["number"], before["number"], "{kind:?}");
        assert_eq!(after["state"], "updated", "{kind:?}");
        is_whole(&fake, &format!("{kind:?}"));
        // The next run has no changes.
        fake.forget();
        assert_eq!(
            promoted(&world, REV_B, 0)["pull_request"]["state"],
            "unchanged"
        );
        assert_eq!(fake.writes(), [""; 0]);
    }
}

#[test]
fn base_with_the_same_pins_makes_branch_stale() {
    for kind in one_of(SERVERS) {
        let (world, fake) = hosted(kind, "");
        promoted(&world, REV_B, 0);
        // The base gets another set of pins in the same files: the branch has the planned contents,
        // and merging it would conflict.
        let mut world = world;
        world.build(REV_C);
        world.pin(REV_C);
        // Other text than pins is unchanged, so the plan has the same contents.
        let (new, old) = (world.digest("fix", REV_C), world.digest("fix", REV_A));
        let (new, old) = (format!("fix-extra@{new}"), format!("fix-extra@{old}"));
        world.replace(".github/workflows/b.yml", &new, &old);
        publish(&world, &fake, "promote: something else");
        assert_eq!(
            promoted(&world, REV_B, 0)["pull_request"]["state"],
            "updated"
        );
        is_whole(&fake, &format!("{kind:?}"));
    }
}

#[test]
fn branch_of_unrelated_history_is_refused() {
    for kind in one_of(SERVERS) {
        let (world, fake) = hosted(kind, "");
        let branch = promoted(&world, REV_B, 0)["branch"]
            .as_str()
            .unwrap()
            .to_owned();
        fake.store().pulls.clear();
        let orphan = fake
            .store()
            .push_orphan(&branch, "my own", &[("notes", "mine")]);
        fake.forget();
        let document = promoted(&world, REV_B, 5);
        assert!(printed(&document).contains(&orphan), "{kind:?} {document}");
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");
        assert_eq!(fake.store().refs[&branch], orphan);
    }
}

#[test]
fn outdated_branch_is_reused() {
    for kind in one_of(SERVERS) {
        let (world, fake) = hosted(kind, "");
        let number = promoted(&world, REV_B, 0)["pull_request"]["number"]
            .as_u64()
            .unwrap();
        fake.store().merge(number);
        publish(&world, &fake, "revert");
        let document = promoted_again(&world, 0);
        assert_eq!(document["pull_request"]["state"], "created", "{kind:?}");
        is_whole(&fake, &format!("{kind:?}"));
    }
}

#[test]
fn foreign_commit_on_merged_branch_stays() {
    for kind in one_of(SERVERS) {
        let (world, fake) = hosted(kind, "");
        let document = promoted(&world, REV_B, 0);
        let branch = document["branch"].as_str().unwrap();
        fake.store()
            .merge(document["pull_request"]["number"].as_u64().unwrap());
        publish(&world, &fake, "revert");
        let foreign = fake.store().push(branch, "more work", &[("notes", "mine")]);
        fake.forget();
        let document = promoted_again(&world, 5);
        assert!(printed(&document).contains(&foreign), "{kind:?} {document}");
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");
    }
}

#[test]
fn an_amended_commit_with_the_trailer_is_foreign() {
    for kind in one_of(SERVERS) {
        let (world, fake) = hosted(kind, "");
        let branch = promoted(&world, REV_B, 0)["branch"]
            .as_str()
            .unwrap()
            .to_owned();
        let text = fake.store().content(&branch, A);
        // The trailer stays, and more than pins changes: another file, or the file with the pins.
        for (path, text) in [("notes", "mine"), (A, &*(text + "\nmore: lines\n"))] {
            let message = format!("promote\n\nRepin-Set: {REV_B}\n");
            fake.store().refs.remove(&branch);
            let amended = fake.store().push(&branch, &message, &[(path, text)]);
            fake.forget();
            let document = promoted(&world, REV_B, 5);
            assert!(printed(&document).contains(&amended), "{kind:?} {document}");
            assert!(printed(&document).contains(path), "{kind:?} {document}");
            assert_eq!(fake.writes(), [""; 0], "{kind:?}");
        }
    }
}

#[test]
fn foreign_commit_below_another_stays() {
    for kind in one_of(SERVERS) {
        let (world, fake) = hosted(kind, "");
        let branch = promoted(&world, REV_B, 0)["branch"]
            .as_str()
            .unwrap()
            .to_owned();
        let planned: Vec<_> = FILES[1..3]
            .iter()
            .map(|path| (*path, fake.store().content(&branch, path)))
            .collect();
        let planned: Vec<_> = planned
            .iter()
            .map(|(path, text)| (*path, &**text))
            .collect();
        let trailer = format!("promote\n\nRepin-Set: {REV_B}\n");
        // Without the trailer, and with a trailer that was copied.
        for message in ["more work", &trailer] {
            fake.store().refs.remove(&branch);
            let foreign = fake.store().push(&branch, message, &[("notes", "mine")]);
            fake.store().push(&branch, &trailer, &planned);
            fake.forget();
            let document = promoted(&world, REV_B, 5);
            assert!(printed(&document).contains(&foreign), "{kind:?} {document}");
            assert_eq!(fake.writes(), [""; 0], "{kind:?}");
        }
    }
}

#[test]
fn foreign_commit_before_a_reopening_stays() {
    let (world, fake) = hosted(Kind::Github, "");
    let document = promoted(&world, REV_B, 0);
    let branch = document["branch"].as_str().unwrap().to_owned();
    let number = document["pull_request"]["number"].as_u64().unwrap();
    fake.store().close(number);
    let there = branch.clone();
    // GitHub does not reopen a closed pull request after its branch moved.
    fake.at(When::Before, "PATCH", "/pulls/1", 1, move |store| {
        store.push(&there, "more work", &[("notes", "mine")]);
    });
    let reopen = [&promote(REV_B)[..], &["--reopen"]].concat();
    let document = run(&world, &reopen).exits(5).json();
    let foreign = fake.store().refs[&branch].clone();
    assert!(printed(&document).contains(&foreign), "{document}");
    assert_eq!(fake.store().content(&branch, "notes"), "mine");
    assert!(fake.store().open_pulls().is_empty());
}

#[test]
fn clean_merge_of_base_is_not_foreign() {
    for kind in one_of(SERVERS) {
        for evil in [false, true] {
            let (world, fake) = hosted(kind, "");
            let branch = promoted(&world, REV_B, 0)["branch"]
                .as_str()
                .unwrap()
                .to_owned();
            fake.store()
                .push("main", "elsewhere", &[("README.md", "hello")]);
            let merge = {
                let mut store = fake.store();
                let (ours, base) = (store.refs[&branch].clone(), store.refs["main"].clone());
                let mut files = (*store.files_of(&ours)).clone();
                files.extend([(
                    "README.md".to_owned(),
                    store.files_of(&base)["README.md"].clone(),
                )]);
                if evil {
                    let blob = store.put_blob(b"theirs");
                    files.insert("notes".to_owned(), ("100644".to_owned(), blob));
                }
                let tree = store.put_tree(&files);
                let id = store.put_commit(&fakes::store::CommitRow {
                    tree,
                    parents: vec![ours, base],
                    message: "Merge branch 'main'".to_owned(),
                });
                store.refs.insert(branch.clone(), id.clone());
                id
            };
            fake.forget();
            let document = promoted(&world, REV_B, if evil { 5 } else { 0 });
            assert_eq!(fake.writes(), [""; 0], "{kind:?} {evil}");
            if evil {
                assert!(printed(&document).contains(&merge), "{kind:?} {document}");
                assert!(printed(&document).contains("notes"), "{kind:?} {document}");
            } else {
                assert_eq!(document["pull_request"]["state"], "unchanged", "{kind:?}");
            }
        }
    }
}

/// With any behavior of the queue, an update results in one open pull request that shows the new
/// commit and can be merged.
#[test]
fn update_keeps_its_pull_request_with_any_queue() {
    let servers = [
        ("1.24.7", Kind::Gitea),
        (fakes::gitea::GITEA_1_25, Kind::Gitea),
        (fakes::gitea::GITEA, Kind::Gitea),
        (fakes::gitea::FORGEJO, Kind::Forgejo),
    ];
    for ((version, kind), delay) in with_each(&[0, 1, 2, 3, 4, 6, 9], &servers) {
        let case = format!("{version} {delay}");
        let (world, fake) = hosted(kind, "");
        fake.store().version = version;
        fake.store().gitea.delay = delay;
        let first = promoted(&world, REV_B, 0);
        rival(&fake);
        fake.forget();
        let again = promoted(&world, REV_B, 0);
        let (before, after) = (&first["pull_request"], &again["pull_request"]);
        assert_eq!(after["number"], before["number"], "{case}");
        assert_eq!(after["state"], "updated", "{case}");
        is_whole(&fake, &case);
        let most = if version == fakes::gitea::GITEA { 2 } else { 5 };
        assert!(fake.writes().len() <= most, "{case} {:#?}", fake.writes());
    }
}

/// The deletion of a branch without a pull request closes the next pull request.
#[test]
fn pull_request_after_deletion_survives_the_queue() {
    for delay in [1, 3, 5] {
        let (world, fake) = hosted(Kind::Forgejo, "");
        let number = promoted(&world, REV_B, 0)["pull_request"]["number"]
            .as_u64()
            .unwrap();
        fake.store().merge(number);
        publish(&world, &fake, "revert");
        fake.store().gitea.delay = delay;
        promoted_again(&world, 0);
        is_whole(&fake, &format!("{delay}"));
    }
}

#[test]
fn interrupted_update_is_finished_by_the_next() {
    for (method, path) in [
        ("GET", "/info/refs?service=git-receive-pack"),
        ("POST", "/git-receive-pack"),
    ] {
        let (world, fake) = hosted(Kind::Forgejo, "");
        promoted(&world, REV_B, 0);
        rival(&fake);
        fake.fault((method, path), 9, Fault::Instead(broken()));
        assert_ne!(run(&world, &promote(REV_B)).code, 0, "{method} {path}");
        fake.forget();
        promoted(&world, REV_B, 0);
        is_whole(&fake, &format!("{method} {path}"));
    }
}

/// A git that runs each push under strace, with the injection in `INJECTION`, and kills the run after it.
fn trace_pushes(world: &World) -> String {
    let script = format!(
        "#!/bin/sh\nPATH=${{PATH#*:}}\ncase \" $* \" in *' push '*)\n\
         strace -f -qq -o '{}' -e trace={PUSH_CALLS} $INJECTION git \"$@\"\ncode=$?\n\
         [ -z \"$INJECTION\" ] || kill -9 $PPID\nexit $code;;\nesac\nexec git \"$@\"\n",
        world.path("calls").display()
    );
    world.write("bin/git", script);
    fs::set_permissions(world.path("bin/git"), PermissionsExt::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    format!("{}:{path}", world.path("bin").display())
}

/// The calls of a push that read or change something outside of its processes.
const PUSH_CALLS: &str =
    "execve,openat,write,rename,link,unlink,mkdir,connect,sendto,recvfrom,poll";

/// The calls of each name that a push makes, as injections.
fn injections(calls: &str) -> Vec<String> {
    let mut counts = BTreeMap::<(&str, &str), usize>::new();
    let mut most = BTreeMap::<&str, usize>::new();
    for line in calls.lines() {
        let Some((process, call)) = line.split_once(' ') else {
            continue;
        };
        let Some((name, _)) = call.trim_start().split_once('(') else {
            continue;
        };
        if !PUSH_CALLS.split(',').any(|known| known == name) {
            continue;
        }
        let count = counts.entry((process, name)).or_default();
        *count += 1;
        let most = most.entry(name).or_default();
        *most = (*most).max(*count);
    }
    let mut all = Vec::new();
    for (name, most) in most {
        for nth in 1..=most {
            all.push(format!("-e inject={name}:signal=KILL:when={nth}"));
        }
    }
    all
}

#[test]
fn killed_push_is_repaired_by_the_next() {
    let run_under = |world: &World, path: &str, injection: &str| {
        let mut command = world.command(&promote(REV_B));
        command
            .env("REPIN_FORGE_TOKEN", TOKEN)
            .env("PATH", path)
            .env("INJECTION", injection);
        command.output().unwrap().status
    };
    let cloned = || {
        let (world, fake) = hosted(Kind::Gitea, "");
        let world = world.with_git();
        let head = world.head();
        fake.store().name_head("main", &head, world.root());
        (world, fake)
    };
    let (world, _fake) = cloned();
    let path = trace_pushes(&world);
    assert!(run_under(&world, &path, "").success());
    let all = injections(&world.read("calls"));
    assert!(all.len() > 40, "{all:#?}");
    let mut before = [0, 0];
    for injection in sample(all, 5) {
        let (world, fake) = cloned();
        let path = trace_pushes(&world);
        let status = run_under(&world, &path, &injection);
        assert_eq!(status.signal(), Some(9), "{injection}");
        assert!(fake.store().pulls.is_empty(), "{injection}");
        before[usize::from(fake.store().refs.len() > 1)] += 1;
        let document = promoted(&world, REV_B, 0);
        assert_eq!(document["pull_request"]["state"], "created", "{injection}");
        is_whole(&fake, &injection);
        assert_eq!(fake.store().refs.len(), 2, "{injection}");
        fake.forget();
        let document = promoted(&world, REV_B, 0);
        assert_eq!(
            document["pull_request"]["state"], "unchanged",
            "{injection}"
        );
        assert_eq!(fake.writes(), [""; 0], "{injection}");
        world.git(&["fsck", "--no-dangling"]);
    }
    let [unmoved, moved] = before;
    println!("figures: pushes killed: {unmoved} before the branch was created, {moved} after it");
    assert!(unmoved > 0, "every push was finished");
}

#[test]
fn first_of_concurrent_pull_requests_stays() {
    for kind in SERVERS {
        let (world, fake) = hosted(kind, "labels: [ci]");
        promoted(&world, REV_B, 0);
        {
            let mut store = fake.store();
            store.pulls.clear();
            store.labels.clear();
        }
        fake.meet("POST", "/pulls", 4);
        let children: Vec<_> = (0..4).map(|_| started(&world, &promote(REV_B))).collect();
        let numbers: Vec<Value> = children
            .into_iter()
            .map(|child| ended(child, 0)["pull_request"]["number"].clone())
            .collect();
        let store = fake.store();
        // Only Gitea and Forgejo open another one for the same branch.
        let opened = if GITEAS.contains(&kind) { 4 } else { 1 };
        assert_eq!(store.pulls.len(), opened, "{kind:?}");
        let first = store.pulls.iter().map(|pull| pull.number).min().unwrap();
        assert!(
            numbers.iter().all(|number| *number == first),
            "{kind:?} {numbers:?}"
        );
        let open: Vec<_> = store.open_pulls().iter().map(|pull| pull.number).collect();
        assert_eq!(open, [first], "{kind:?}");
        for pull in store.pulls.iter().filter(|pull| pull.number != first) {
            let note = format!("Duplicate of #{first}");
            assert!(store.comments[&pull.number][0].contains(&note), "{kind:?}");
        }
    }
}

// Only Gitea and Forgejo accept two labels of one name.
#[test]
fn labels_that_several_make_at_once_are_one() {
    for kind in GITEAS {
        let (world, fake) = hosted(kind, "labels: [ci]");
        promoted(&world, REV_B, 0);
        {
            let mut store = fake.store();
            store.labels.clear();
            store.pulls[0].labels.clear();
            store.gitea.put_on.clear();
        }
        // Another run makes the same label right before this one does.
        fake.at(When::Before, "POST", "/acme/flows/labels", 1, |store| {
            let id = store.number();
            store.labels.push((id, "ci".to_owned()));
        });
        promoted(&world, REV_B, 0);
        let lowest = fake.store().labels[0].0;
        assert_eq!(fake.store().gitea.put_on, [lowest], "{kind:?}");
    }
}

#[test]
fn concurrent_older_pull_request_is_superseded() {
    for kind in one_of(SERVERS) {
        let (mut world, fake) = hosted(kind, "");
        world.build(REV_C);
        // Right before this run opens its pull request, another one opens that of an older
        // revision.
        let number = promoted(&world, REV_B, 0)["pull_request"]["number"]
            .as_u64()
            .unwrap();
        let older = fake.store().pulls.remove(0);
        fake.at(When::Before, "POST", "/pulls", 1, move |store| {
            store.pulls.push(older);
        });
        let document = promoted(&world, REV_C, 0);
        let open: Vec<_> = fake
            .store()
            .open_pulls()
            .iter()
            .map(|pull| pull.number)
            .collect();
        assert_eq!(document["pull_request"]["number"], open[0], "{kind:?}");
        assert_eq!(open.len(), 1, "{kind:?}");
        assert_ne!(open[0], number);
    }
}

#[test]
fn unreadable_ancestry_leaves_an_older_pull_request_open() {
    // The control: both commits are readable, and neither is an ancestor of the other.
    for (exit, open) in [(128, 2), (1, 1)] {
        let (world, fake) = hosted(Kind::Gitea, "");
        let mut world = world.with_git();
        world.build(REV_C);
        let head = world.commit("promote: test images");
        world.push();
        fake.store().name_head("main", &head, world.root());
        let path = std::env::var("PATH").unwrap();
        let script = format!(
            "#!/bin/sh\nPATH='{path}'\ncase \"$*\" in\n\
             *'cat-file --batch') while read -r id; do case $id in\n\
             {REV_B}|{REV_C}) printf '%s commit 0\\n\\n' \"$id\";;\n\
             *) echo \"$id\" | git \"$@\";; esac; done; exit;;\n\
             *'--is-ancestor {REV_B} {REV_C}'|*'--is-ancestor {REV_C} {REV_B}') exit {exit};;\n\
             *'--is-ancestor {REV_B} '*|*'--is-ancestor {REV_C} '*) exit 1;;\n\
             esac\nexec git \"$@\"\n"
        );
        let programs = tempfile::tempdir().unwrap();
        let program = programs.path().join("git");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{path}", programs.path().display());
        let env = [("REPIN_FORGE_TOKEN", TOKEN), ("PATH", &*path)];
        run_with(&world, &promote(REV_B), &env).exits(0);
        let ran = run_with(&world, &promote(REV_C), &env).exits(0);
        assert_eq!(fake.store().open_pulls().len(), open, "{}", ran.stderr);
        let warning =
            format!("was not closed: cannot determine whether revision {REV_B} is older: ");
        assert_eq!(ran.stderr.contains(&warning), open == 2, "{}", ran.stderr);
    }
}

#[test]
fn concurrent_branch_promotions_schedule_one_merge() {
    for kind in SERVERS {
        let (world, fake) = hosted(kind, "auto_merge: true, sync_targets: [staging]");
        let work = fake.store().push("staging", "work", &[("x", "y")]);
        fake.store().required = vec!["ci".to_owned()];
        fake.store().report("ci", "pending");
        fake.store().gitlab.requires_pipelines = true;
        fake.store().pipeline("staging", &work, "running");
        fake.meet("POST", "/pulls", 3);
        let args = [
            "branch", "promote", "--from", "staging", "--to", "main", "--apply", "--format", "json",
        ];
        let children: Vec<_> = (0..3).map(|_| started(&world, &args)).collect();
        let mut created = 0;
        for child in children {
            let document = ended(child, 0);
            assert_eq!(document["pull_request"]["number"], 1, "{kind:?}");
            created += usize::from(document["pull_request"]["state"] == "created");
        }
        assert_eq!(created, 1, "{kind:?}");
        let store = fake.store();
        // Only Gitea and Forgejo open another one for the same branch.
        let opened = if GITEAS.contains(&kind) { 3 } else { 1 };
        let counts = (store.pulls.len(), store.open_pulls().len());
        assert_eq!(counts, (opened, 1), "{kind:?}");
        let scheduled: Vec<_> = store.scheduled.iter().map(|(number, _)| *number).collect();
        assert_eq!(scheduled, [1], "{kind:?}");
    }
}

#[test]
fn foreign_pull_request_is_no_lost_response() {
    for kind in SERVERS {
        let (world, fake) = hosted(kind, "");
        fake.store().push("staging", "work", &[("x", "y")]);
        fake.at(When::Before, "POST", "/pulls", 1, |store| {
            store.add_pull("staging", "main").body = "mine".to_owned();
        });
        fake.fault(("POST", "/pulls"), 1, Fault::Silence);
        let args = [
            "branch", "promote", "--from", "staging", "--to", "main", "--apply", "--format", "json",
        ];
        let document = run(&world, &args).exits(0).json();
        assert_eq!(document["pull_request"]["state"], "unchanged", "{kind:?}");
        assert_eq!(fake.store().pulls.len(), 1, "{kind:?}");
    }
}

#[test]
fn closed_pull_request_is_found_without_its_branch() {
    for kind in one_of(SERVERS) {
        // Gitea and Forgejo find it by its branches, or by the list of all.
        for (finds, base, own) in [
            (true, "main", "repin"),
            (false, "main", "repin"),
            (true, "release/1", "repin"),
            (true, "main", "reviews"),
        ] {
            let (world, fake) = hosted(kind, &format!("base: {base}"));
            let names = format!("promote: {{ branch: '{own}/{{revision}}' }}\n");
            world.write("repin.yaml", world.read("repin.yaml") + &names);
            publish(&world, &fake, "names of branches");
            {
                let mut store = fake.store();
                let head = store.refs["main"].clone();
                store.refs.insert(base.to_owned(), head);
                store.gitea.finds_by_branch = finds;
            }
            promoted(&world, REV_B, 0);
            {
                let mut store = fake.store();
                store.close(1);
                let closed = store.pulls[0].head.clone();
                store.refs.remove(&closed);
            }
            fake.forget();
            let document = promoted(&world, REV_B, 1);
            let text = printed(&document);
            let case = format!("{kind:?} {finds} {base} {own}");
            assert!(text.contains("--reopen"), "{case} {text}");
            assert_eq!(fake.writes(), [""; 0], "{case}");
        }
    }
}

#[test]
fn a_missing_branch_is_not_compared() {
    for version in [
        "9.0.3+gitea-1.22.0",
        "11.0.1+gitea-1.22.0",
        "12.0.0+gitea-1.22.0",
    ] {
        let (world, fake) = hosted(Kind::Forgejo, "");
        fake.store().version = version;
        assert_eq!(
            promoted(&world, REV_B, 0)["pull_request"]["state"],
            "created"
        );
        assert_eq!(fake.answered(500), 0, "{version}");
        is_whole(&fake, version);
    }
}

#[test]
fn old_server_is_refused_before_any_write() {
    for (version, supported) in [
        ("1.21.11", false),
        ("1.21.11-1+gitea-1.21.11", false),
        ("7.0.12+gitea-1.21.11", true),
        ("1.22.0", true),
        ("8.0.0+gitea-1.22.0", true),
    ] {
        let (world, fake) = hosted(Kind::Gitea, "auto_merge: true, gates: [ci]");
        fake.store().version = "1.25.4";
        promoted(&world, REV_B, 0);
        fake.store().version = version;
        fake.store().push("staging", "work", &[("x", "y")]);
        let between = ["--from", "staging", "--to", "main"];
        let exit = |supported_exit| if supported { supported_exit } else { 2 };
        let runs: [(Vec<&str>, i32); 4] = [
            (promote(REV_B).to_vec(), exit(0)),
            ([&["branch", "promote"][..], &between].concat(), exit(0)),
            (vec!["wait", "--pr", "1", "--timeout", "0s"], exit(3)),
            (vec!["doctor"], exit(0)),
        ];
        // With an open pull request, and with one that a user closed.
        for closed in [false, true] {
            fake.forget();
            for (args, exit) in &runs {
                let exit = match (closed && supported, args[0]) {
                    (true, "promote" | "wait") => 1,
                    _ => *exit,
                };
                let ran = run(&world, args).exits(exit);
                let printed = format!("{}{}", ran.stdout, ran.stderr);
                assert_eq!(
                    printed.contains("Gitea 1.22 or Forgejo 7"),
                    !supported,
                    "{printed}"
                );
            }
            assert_eq!(fake.writes(), [""; 0], "{version}");
            fake.store().close(1);
        }
    }
}

// The refusals of GitHub and GitLab have other texts: they are in `rivals_github` and `gitlab`.
#[test]
fn protected_branch_and_hook_are_refusals() {
    for kind in GITEAS {
        let (world, fake) = hosted(kind, "");
        fake.store().gitea.protected = vec!["repin/"];
        let document = promoted(&world, REV_B, 4);
        assert!(
            printed(&document).contains("protected branch repin/"),
            "{document}"
        );
        assert_eq!(fake.writes().len(), 1, "{kind:?} {:?}", fake.writes());
        fake.store().gitea.protected.clear();
        fake.store().gitea.hook = Some("commits need a ticket");
        fake.forget();
        let document = promoted(&world, REV_B, 1);
        assert!(
            printed(&document).contains("commits need a ticket"),
            "{document}"
        );
        assert!(
            !printed(&document).contains("the next run continues"),
            "{document}"
        );
        assert_eq!(fake.writes().len(), 1, "{kind:?} {:?}", fake.writes());
    }
}

#[test]
fn archived_repository_is_denied() {
    for kind in SERVERS {
        let (world, fake) = hosted(kind, "");
        fake.store().archived = true;
        assert!(printed(&promoted(&world, REV_B, 4)).contains("archived"));
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");
        let ran = run(&world, &["doctor"]).exits(4);
        assert!(ran.stdout.contains("archived"), "{}", ran.stdout);
        // It is archived while a run is at work.
        fake.store().archived = false;
        let push = "/info/refs?service=git-receive-pack";
        fake.at(When::Before, "GET", push, 1, |store| {
            store.archived = true;
        });
        let document = promoted(&world, REV_B, 4);
        assert!(printed(&document).contains("unarchive"), "{document}");
    }
}

#[test]
fn foreign_push_cancels_scheduled_merge() {
    for kind in one_of(SERVERS) {
        let (world, fake) = hosted(kind, "auto_merge: true");
        fake.store().required = vec!["ci".to_owned()];
        promoted(&world, REV_B, 0);
        fake.store().report("ci", "pending");
        promoted(&world, REV_B, 0);
        assert_eq!(fake.store().scheduled.len(), 1);
        let branch = fake.store().pulls[0].head.clone();
        // While it is waited for, and then for the next promote.
        let theirs = branch.clone();
        fake.when(2, move |store| {
            drop(store.push(&theirs, "theirs", &[("notes", "mine")]));
        });
        let wait = ["wait", "--pr", "1", "--timeout", "1m", "--format", "json"];
        let document = run(&world, &wait).exits(5);
        assert!(
            document
                .stderr
                .contains(&kind.spelled("scheduled merge of #1 was canceled")),
            "{}",
            document.stderr
        );
        assert_eq!(fake.store().scheduled, []);
        fake.store().report("ci", "success");
        assert!(fake.store().pulls[0].merged.is_none(), "{kind:?}");
        let head = fake.store().refs[&branch].clone();
        fake.store().scheduled.push((1, head));
        let document = promoted(&world, REV_B, 5);
        assert!(
            printed(&document).contains(&kind.spelled("scheduled merge of #1 was canceled")),
            "{document}"
        );
        assert_eq!(fake.store().scheduled, []);
    }
}

#[test]
fn head_merged_between_two_polls_is_reported() {
    for kind in one_of(SERVERS) {
        let (world, fake) = hosted(kind, "auto_merge: true, gates: [ci]");
        promoted(&world, REV_B, 0);
        let branch = fake.store().pulls[0].head.clone();
        let theirs = branch.clone();
        fake.when(2, move |store| {
            store.push(&theirs, "theirs", &[("notes", "mine")]);
            store.merge(1);
        });
        let wait = ["wait", "--pr", "1", "--timeout", "1m", "--format", "json"];
        let ran = run(&world, &wait).exits(0);
        let head = fake.store().refs.get(&branch).cloned();
        let head = head.unwrap_or_default();
        let says = format!("it was merged at {head}");
        assert!(ran.stderr.contains(&says), "{kind:?} {}", ran.stderr);
    }
}

// Gitea and Forgejo only: the other servers distinguish a conflict from an unfinished check.
#[test]
#[ignore = "waits for the two minutes after which a conflict on Gitea counts as one"]
fn conflict_on_gitea_stops_after_two_minutes() {
    let waiting: Vec<_> = GITEAS
        .into_iter()
        .map(|kind| {
            let (world, fake) = hosted(kind, "");
            promoted(&world, REV_B, 0);
            let text = fake.store().content("main", A);
            let edited = text.replace("ghcr.io/acme/review@", "ghcr.io/acme/review:mine@");
            assert_ne!(edited, text);
            fake.store().push("main", "mine", &[(A, &edited)]);
            let wait = ["wait", "--pr", "1", "--timeout", "5m", "--format", "json"];
            (started(&world, &wait), world, fake)
        })
        .collect();
    for (child, _world, fake) in waiting {
        let document = ended(child, 1);
        assert_eq!(document["state"], "open", "{document}");
        assert!(fake.store().pulls[0].open);
    }
}

#[test]
fn a_failed_label_is_a_warning() {
    for kind in SERVERS {
        // Labels have a scope of their own, and are listed first, only on Gitea and Forgejo.
        let cases: &[&str] = if GITEAS.contains(&kind) {
            &["repository", "scope", "organization", "outage"]
        } else {
            &["repository"]
        };
        for &case in cases {
            let (world, fake) = hosted(kind, "labels: [ci]");
            match case {
                "scope" => fake.store().gitea.issue_scope = false,
                "repository" => fake.store().may_label = false,
                "organization" => {
                    fake.fault(("GET", "/orgs/acme/labels"), 9, Fault::Instead(broken()));
                }
                _ => fake.fault(("GET", "/flows/labels"), 9, Fault::Instead(broken())),
            }
            let ran = run(&world, &promote(REV_B)).exits(0);
            let name = format!("{kind:?} {case}: {}", ran.stderr);
            assert!(
                ran.stderr.contains("warning: cannot add the labels"),
                "{name}"
            );
            assert!(!ran.stderr.contains("is incomplete"), "{name}");
            assert_eq!(ran.json()["pull_request"]["state"], "created", "{name}");
            // The owner's labels are unknown: no label is created.
            assert_eq!(fake.store().labels, [], "{name}");
        }
    }
}

// Only Gitea and Forgejo address a label by its number, so that labels of an organization must be listed.
#[test]
fn organization_label_is_used_without_listing() {
    for kind in GITEAS {
        for listed in [true, false] {
            for there in [true, false] {
                let (world, fake) = hosted(kind, "labels: [ci]");
                {
                    let mut store = fake.store();
                    store.gitea.organization_scope = listed;
                    let name = if there { "ci" } else { "other" };
                    store.gitea.organization = Some(vec![(900, name.to_owned())]);
                }
                promoted(&world, REV_B, 0);
                let store = fake.store();
                assert_eq!(store.pulls[0].labels, ["ci"], "{kind:?} {listed} {there}");
                assert_eq!(
                    store.labels.len(),
                    usize::from(!there),
                    "{kind:?} {listed} {there}"
                );
            }
        }
    }
}

#[test]
fn hints_match_the_state() {
    for kind in one_of(SERVERS) {
        let (world, fake) = hosted(kind, "");
        // No attempt started: the base moved before each.
        let edited = format!("{}\n# ", world.read(A));
        fake.store().intruder = Some((A.to_owned(), edited));
        fake.store().restless = 9;
        let ran = run(&world, &["promote", "--revision", REV_B, "--pr", "ready"]);
        assert_eq!(fake.store().pulls.len(), 0, "{kind:?}");
        assert!(
            !ran.stderr.contains("the next run continues"),
            "{}",
            ran.stderr
        );
        // Something was: the branch.
        let (world, fake) = hosted(kind, "");
        fake.fault(("POST", "/pulls"), 1, Fault::Instead(error(403, "no")));
        let ran = run(&world, &["promote", "--revision", REV_B, "--pr", "ready"]).exits(4);
        assert!(
            ran.stderr.contains("the next run continues"),
            "{}",
            ran.stderr
        );
        // The pull request was created, but an older one could not be closed.
        let (mut world, fake) = hosted(kind, "");
        world.build(REV_C);
        promoted(&world, REV_B, 0);
        fake.fault(("POST", "/comments"), 9, Fault::Instead(error(403, "no")));
        let ran = run(&world, &["promote", "--revision", REV_C, "--pr", "ready"]).exits(4);
        let printed = format!("{}{}", ran.stdout, ran.stderr);
        let created = kind.spelled("pull request #2 created");
        assert!(printed.contains(&created), "{printed}");
        assert!(!printed.contains("is incomplete"), "{printed}");
    }
}

#[test]
fn promoted_branch_reports_its_pending_gates() {
    for kind in SERVERS {
        let (world, fake) = hosted(
            kind,
            "auto_merge: true, gates: [ci, lint], sync_targets: [staging]",
        );
        fake.store().push("staging", "work", &[("x", "y")]);
        fake.store().required = vec!["ci".to_owned(), "lint".to_owned()];
        let args = [
            "branch", "promote", "--from", "staging", "--to", "main", "--apply", "--format", "json",
        ];
        fake.store().report("ci", "failure");
        fake.store().report("lint", "pending");
        assert_eq!(run(&world, &args).exits(1).json()["state"], "blocked");
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");
        fake.store().report("ci", "success");
        let document = run(&world, &args).exits(0).json();
        // A project on GitLab cannot require single jobs, so they must pass first.
        let state = if kind == Kind::Gitlab {
            "open"
        } else {
            "scheduled"
        };
        assert_eq!(document["state"], state, "{kind:?}");
        let store = fake.store();
        let body = &store.pulls[0].body;
        assert!(body.contains("- `lint`: pending"), "{kind:?}");
        assert!(!body.contains("`ci`"), "{kind:?}");
        assert!(
            kind != Kind::Gitlab || !body.contains("pull request"),
            "{body}"
        );
        let count = usize::from(state == "scheduled");
        assert_eq!(store.scheduled.len(), count, "{kind:?}");
    }
}

#[test]
fn amended_commit_with_a_mode_is_foreign() {
    const NONE: &str = ".github/workflows/none.yml";
    for kind in SERVERS {
        let (world, fake) = hosted(kind, "");
        let branch = promoted(&world, REV_B, 0)["branch"]
            .as_str()
            .unwrap()
            .to_owned();
        {
            let mut store = fake.store();
            store.chmod(&branch, NONE, "100755");
            let (head, base) = (store.refs[&branch].clone(), store.refs["main"].clone());
            let mut commit = store.commit(&head);
            commit.parents = vec![base];
            commit.message = format!("promote\n\nRepin-Set: {REV_B}\n");
            let amended = store.put_commit(&commit);
            store.refs.insert(branch.clone(), amended);
        }
        fake.forget();
        let document = promoted(&world, REV_B, 5);
        assert!(printed(&document).contains(NONE), "{kind:?} {document}");
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");
    }
}

/// The base and repin changed the same file: a clean merge has repin's pins and no others.
#[test]
fn a_merge_that_brings_other_pins_is_foreign() {
    for kind in one_of(SERVERS) {
        let (world, fake) = hosted(kind, "");
        let branch = promoted(&world, REV_B, 0)["branch"]
            .as_str()
            .unwrap()
            .to_owned();
        rival(&fake);
        let ours = fake.store().refs[&branch].clone();
        let clean = fake.store().content(&branch, A) + "\nmore: lines\n";
        let pin = world.digest("review", REV_B);
        let other = format!("sha256:{}", "e".repeat(64));
        for (text, exit) in [(clean.clone(), 0), (clean.replace(pin, &other), 5)] {
            let merge = {
                let mut store = fake.store();
                let base = store.refs["main"].clone();
                let mut files = (*store.files_of(&ours)).clone();
                let blob = store.put_blob(text.as_bytes());
                files.insert(A.to_owned(), ("100644".to_owned(), blob));
                let tree = store.put_tree(&files);
                let id = store.put_commit(&fakes::store::CommitRow {
                    tree,
                    parents: vec![ours.clone(), base],
                    message: "Merge branch 'main'".to_owned(),
                });
                store.refs.insert(branch.clone(), id.clone());
                id
            };
            fake.forget();
            let document = promoted(&world, REV_B, exit);
            assert_eq!(fake.writes(), [""; 0], "{kind:?} {exit}");
            if exit == 0 {
                assert_eq!(document["pull_request"]["state"], "unchanged", "{kind:?}");
            } else {
                assert!(printed(&document).contains(&merge), "{kind:?} {document}");
                assert!(printed(&document).contains(A), "{kind:?} {document}");
            }
        }
    }
}

#[test]
fn closed_duplicate_does_not_prevent_next_pull_request() {
    for kind in one_of(SERVERS) {
        let (world, fake) = hosted(kind, "");
        promoted(&world, REV_B, 0);
        fake.store().pulls.clear();
        fake.meet("POST", "/pulls", 2);
        let children: Vec<_> = (0..2).map(|_| started(&world, &promote(REV_B))).collect();
        for child in children {
            ended(child, 0);
        }
        let first = fake.store().open_pulls()[0].number;
        fake.store().merge(first);
        publish(&world, &fake, "revert");
        let document = promoted_again(&world, 0);
        assert_eq!(document["pull_request"]["state"], "created", "{document}");
        is_whole(&fake, &format!("{kind:?}"));
        // A pull request that a user closed stays closed.
        let last = document["pull_request"]["number"].as_u64().unwrap();
        fake.store().close(last);
        let document = promoted_again(&world, 1);
        assert!(printed(&document).contains("--reopen"), "{document}");
    }
}
