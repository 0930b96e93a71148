//! `--apply --commit`: exactly the planned files, as history reads them, or no commit at all.

use std::{fs, os::unix::fs::PermissionsExt, process::Command, thread, time::Duration};

use serde_json::json;

use crate::support::{
    strace,
    world::{REV_A, REV_B, Ran, World, world},
};

const A: &str = ".github/workflows/a.yml";
const B: &str = ".github/workflows/b.yml";
const COMMIT: [&str; 5] = ["promote", "--revision", REV_B, "--apply", "--commit"];

/// A world in git, with an author and a committer.
fn committer() -> World {
    let world = world().with_git();
    world.git(&["config", "user.name", "Operator"]);
    world.git(&["config", "user.email", "operator@example.com"]);
    world
}

fn commit(world: &World) -> Ran {
    world.run(&[&COMMIT[..], &["--format", "json"]].concat())
}

/// The files that the last commit changed, and its message.
fn last(world: &World) -> (Vec<String>, String) {
    let names = world.git(&["diff-tree", "-r", "--name-only", "--no-commit-id", "HEAD"]);
    let names = names.lines().map(str::to_owned).collect();
    (names, world.git(&["log", "-1", "--format=%B"]))
}

/// A hook of the repository.
fn hook(world: &World, name: &str, script: &str) {
    let path = world.path(&format!(".git/hooks/{name}"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn is_pinned_at(world: &World, revision: &'static str) -> bool {
    [A, B]
        .iter()
        .all(|file| world.read(file).contains(world.digest("review", revision)))
}

/// Moves the pins without a commit.
fn apply(world: &World) {
    world
        .run(&["promote", "--revision", REV_B, "--apply"])
        .exits(0);
}

/// Checks that the last commit contains the whole set, and that nothing is left to commit.
fn is_whole(world: &World) {
    assert_eq!(last(world).0, [A, B]);
    assert!(last(world).1.contains(&format!("Repin-Set: {REV_B}")));
    assert_eq!(world.git(&["status", "--porcelain", "-uno"]), "");
    assert!(is_pinned_at(world, REV_B));
}

#[test]
fn earlier_change_of_pins_is_committed() {
    let world = committer();
    apply(&world);
    let ran = world.run(&COMMIT).exits(0);
    let part = "committed: 5 pins in 2 files";
    assert!(ran.stderr.contains(part), "{}", ran.stderr);
    is_whole(&world);
    let head = world.head();
    let ran = world.run(&COMMIT).exits(0);
    assert!(ran.stderr.contains("nothing to do"), "{}", ran.stderr);
    assert_eq!(world.head(), head);

    let world = committer();
    world.adopt(REV_A);
    world.run(&COMMIT).exits(0);
    world.push();
    let rollback = ["rollback", "--to", REV_A, "--apply"];
    world.run(&rollback).exits(0);
    world.git(&["checkout", "-q", B]);
    world.run(&[&rollback[..], &["--commit"]].concat()).exits(0);
    assert_eq!(last(&world).0, [A, B]);
    assert!(last(&world).1.starts_with("rollback: "));
}

/// Changes the repository before the run.
type Change = fn(&World);

#[test]
fn commit_contains_the_whole_set() {
    let changes: [Change; 4] = [
        // Another run already moved the pins of one file.
        |world| {
            world.git(&["checkout", "-q", A]);
        },
        // Everything is staged, and one file is put back in the work tree only.
        |world| {
            world.git(&["add", "."]);
            world.git(&["restore", "--source=HEAD", "--worktree", A]);
        },
        // One of the pins of a file is put back.
        |world| {
            let [old, new] = [REV_A, REV_B].map(|revision| world.digest("review", revision));
            world.write(A, world.read(A).replacen(new, old, 1));
        },
        // The line endings of the work tree are not those of the commits.
        |world| {
            world.git(&["config", "core.autocrlf", "true"]);
            world.write(B, world.read(B).replace('\n', "\r\n"));
        },
    ];
    for change in changes {
        let world = committer();
        apply(&world);
        change(&world);
        world.run(&COMMIT).exits(0);
        is_whole(&world);
    }
}

#[test]
fn other_changes_of_planned_files_stop_the_commit() {
    let more = "more than its pins differs from HEAD";
    let staged = "another content is staged";
    let cases: [(&str, Change); 4] = [
        (more, |world| world.write(A, world.read(A) + "# mine\n")),
        (more, |world| {
            world.git(&["checkout", "-q", A]);
            world.write(A, world.read(A) + "# mine\n");
        }),
        // As `git add --patch` with some of the changes.
        (staged, |world| {
            let all = world.read(A);
            let [old, new] = [REV_A, REV_B].map(|revision| world.digest("review", revision));
            world.write(A, all.replacen(new, old, 1));
            world.git(&["add", A]);
            world.write(A, all);
        }),
        (staged, |world| {
            let all = world.read(A);
            world.write(A, all.clone() + "# mine\n");
            world.git(&["add", A]);
            world.write(A, all);
        }),
    ];
    for (reason, change) in cases {
        let world = committer();
        apply(&world);
        change(&world);
        let before = (world.read(A), world.git(&["status", "--porcelain"]));
        let head = world.head();
        let ran = world.run(&COMMIT).exits(1);
        let reason = format!("{A}: {reason}");
        for part in [&*reason, "git restore", "nothing was changed"] {
            assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
        }
        assert!(
            !ran.stderr.contains(&format!("note: {B}")),
            "{}",
            ran.stderr
        );
        assert_eq!(world.head(), head);
        assert_eq!(
            (world.read(A), world.git(&["status", "--porcelain"])),
            before
        );
        // The suggested command allows the commit.
        world.git(&["restore", "--staged", "--worktree", "--", A]);
        world.run(&COMMIT).exits(0);
        is_whole(&world);
    }
}

#[test]
fn file_with_committed_pins_keeps_its_changes() {
    let world = committer();
    apply(&world);
    world.git(&["commit", "-q", "-m", "by hand", B]);
    world.git(&["checkout", "-q", A]);
    world.write(B, world.read(B) + "# mine\n");
    world.run(&COMMIT).exits(0);
    assert_eq!(last(&world).0, [A]);
    assert_eq!(
        world.git(&["status", "--porcelain", "-uno"]),
        format!(" M {B}")
    );
    assert!(is_pinned_at(&world, REV_B));
}

#[test]
fn pins_of_head_are_restored_without_commit() {
    let world = committer();
    let old = world.read(A);
    apply(&world);
    world.commit("by hand");
    let head = world.head();
    world.write(A, old);
    let ran = world.run(&COMMIT).exits(0);
    let part = "HEAD already contains these pins";
    assert!(ran.stderr.contains(part), "{}", ran.stderr);
    assert_eq!(world.head(), head);
    assert_eq!(world.git(&["status", "--porcelain", "-uno"]), "");
}

/// The command that publishes the commit of a run.
fn push_command(ran: &Ran) -> &str {
    let (_, command) = ran.stderr.split_once("publish the commit with: ").unwrap();
    command.trim()
}

#[test]
fn push_command_needs_no_upstream() {
    let world = committer();
    world.git(&["config", "push.default", "simple"]);
    let ran = world.run(&COMMIT).exits(0);
    let command = push_command(&ran).to_owned();
    let args: Vec<_> = command.split(' ').skip(1).collect();
    world.git(&args);
    assert_eq!(world.git(&["rev-parse", "origin/main"]), world.head());

    // `git push` without arguments would push to the fork.
    let world = committer();
    world.git(&["push", "-q", "-u", "origin", "main"]);
    world.git(&["init", "-q", "--bare", "fork.git"]);
    world.git(&["remote", "add", "fork", "fork.git"]);
    world.git(&["config", "remote.pushDefault", "fork"]);
    let ran = world.run(&COMMIT).exits(0);
    assert_eq!(push_command(&ran), "git push origin HEAD:main");

    // Without a remote-tracking branch, the base is unknown.
    let world = committer();
    world.git(&["remote", "remove", "origin"]);
    let ran = world.run(&COMMIT).exits(0);
    assert!(
        ran.stderr
            .contains(", but not pushed: the repository has no remote"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("git push"), "{}", ran.stderr);
}

#[test]
fn detached_head_warns_with_the_base_set() {
    let world = committer();
    world.promoted(REV_A);
    world.git(&["checkout", "-q", "--detach"]);
    let ran = world.run(&COMMIT).exits(0);
    let detached = "warning: HEAD is detached at";
    assert!(ran.stderr.starts_with(detached), "{}", ran.stderr);
    let same = "not origin/main: FROM is read from these files; origin/main pins the same set";
    assert!(ran.stderr.contains(same), "{}", ran.stderr);
    assert_eq!(push_command(&ran), "git push origin HEAD:main");
    world.git(&["push", "-q", "origin", "HEAD:main"]);
    assert_eq!(world.git(&["rev-parse", "origin/main"]), world.head());

    // An older commit has other pins than the branch.
    world.git(&["checkout", "-q", "HEAD~1"]);
    for args in [
        &["promote", "--revision", REV_A][..],
        &["rollback", "--to", REV_A],
    ] {
        let ran = world.run(args).exits(0);
        let digest = &world.digest("review", REV_B)["sha256:".len()..][..12];
        assert!(ran.stderr.starts_with(detached), "{}", ran.stderr);
        for part in [
            &format!("origin/main pins {REV_B} (FROM "),
            &format!("review {digest}"),
            "run `git switch main` first",
        ] {
            assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
        }
    }
}

#[test]
fn other_branch_warns_before_a_change() {
    let world = committer();
    world.git(&["checkout", "-q", "-b", "feature"]);
    let ran = world.run(&COMMIT).exits(0);
    let warning = "warning: the branch feature is checked out, not origin/main";
    assert!(ran.stderr.starts_with(warning), "{}", ran.stderr);
    assert_eq!(push_command(&ran), "git push origin HEAD:feature");

    // The base branch, and a branch that follows it.
    let world = committer();
    let ran = world.run(&COMMIT).exits(0);
    assert!(!ran.stderr.contains("checked out"), "{}", ran.stderr);
    assert_eq!(push_command(&ran), "git push origin HEAD:main");
    world.git(&["push", "-q", "-u", "origin", "main"]);
    let older = [
        "promote",
        "--revision",
        REV_A,
        "--allow-older",
        "--apply",
        "--commit",
    ];
    let ran = world.run(&older).exits(0);
    assert_eq!(push_command(&ran), "git push");
    world.git(&["push", "-q"]);
    world.git(&["checkout", "-q", "-b", "mine", "--track", "origin/main"]);
    let again = [&COMMIT[..], &["--force-after-rollback"]].concat();
    let ran = world.run(&again).exits(0);
    assert!(!ran.stderr.contains("checked out"), "{}", ran.stderr);
    assert_eq!(push_command(&ran), "git push origin HEAD:main");
}

#[test]
fn promotion_commits_its_files() {
    let world = committer();
    world.write("notes.txt", "mine\n");
    world.git(&["add", "notes.txt"]);
    world.write(".gitignore", world.read(".gitignore") + "# mine\n");
    world.write("loose.txt", "mine\n");
    let ran = world.run(&COMMIT).exits(0);
    let head = world.head();
    assert!(
        ran.stderr
            .contains(&format!("committed: 5 pins in 2 files, as {}", &head[..10])),
        "{}",
        ran.stderr
    );
    let title = format!("promote: test images @{REV_B}");
    let message = format!("{title}\n\nRepin-Set: {REV_B}\n");
    assert_eq!(
        last(&world),
        (
            vec![A.to_owned(), B.to_owned()],
            message.trim_end().to_owned()
        )
    );
    // Other staged, changed and new files stay unchanged.
    let status = world.git(&["status", "--porcelain"]);
    assert_eq!(
        status,
        " M .gitignore\nA  notes.txt\n?? loose.txt".trim_start_matches('\n')
    );
    world.push();
    let entries = world.run(&["history", "--format", "json"]).exits(0).json();
    let newest = &entries["entries"][0];
    assert_eq!(
        (&newest["kind"], &newest["revision"]),
        (&json!("promote"), &json!(REV_B))
    );
    assert_eq!(newest["commit"], *head);
}

#[test]
fn a_rollback_commits_too() {
    let world = committer();
    world.adopt(REV_A);
    world.run(&["promote", "--revision", REV_B, "--apply"]);
    world.commit(&format!("promote: test images @{REV_B}"));
    world.push();
    let document = world
        .run(&[
            "rollback", "--to", REV_A, "--apply", "--commit", "--format", "json",
        ])
        .exits(0)
        .json();
    assert_eq!(document["applied"], true);
    assert!(
        last(&world)
            .1
            .starts_with(&format!("rollback: test images @{REV_A}"))
    );
    world.push();
    let entries = world.run(&["history", "--format", "json"]).exits(0).json();
    assert_eq!(entries["entries"][0]["kind"], "rollback");
    // Nothing to change is nothing to commit.
    let head = world.head();
    let again = [
        "rollback", "--to", REV_A, "--apply", "--commit", "--format", "json",
    ];
    let document = world.run(&again).exits(0).json();
    assert_eq!(document["changed"], false);
    assert_eq!(world.head(), head);
}

#[test]
fn file_that_differs_from_head_stops_the_commit() {
    let cases: [(&str, Change); 6] = [
        ("changed", |world| {
            world.write(A, world.read(A) + "# mine\n");
        }),
        ("staged", |world| {
            let text = world.read(A);
            world.write(A, text.clone() + "# mine\n");
            world.git(&["add", A]);
            world.write(A, text);
        }),
        ("mode", |world| {
            fs::set_permissions(world.path(A), fs::Permissions::from_mode(0o755)).unwrap();
        }),
        ("untracked", |world| {
            world.git(&["rm", "-q", "--cached", A]);
            world.git(&["commit", "-q", "-m", "forget"]);
        }),
        ("skip-worktree", |world| {
            world.git(&["update-index", "--skip-worktree", A]);
        }),
        ("assume-unchanged", |world| {
            world.git(&["update-index", "--assume-unchanged", A]);
        }),
    ];
    for (case, change) in cases {
        let world = committer();
        change(&world);
        let status = world.git(&["status", "--porcelain"]);
        let ran = commit(&world).exits(1);
        let document = ran.json();
        assert_eq!(document["error"]["code"], "conflict", "{case} {document}");
        assert!(
            document["error"]["message"].as_str().unwrap().contains(A),
            "{case} {document}"
        );
        assert_eq!(document["applied"], false, "{case}");
        assert!(is_pinned_at(&world, REV_A), "{case}");
        assert_eq!(world.git(&["status", "--porcelain"]), status, "{case}");
    }
}

#[test]
fn failed_write_is_not_committed() {
    let world = committer();
    let failing = ["renameat2:error=EIO:when=1+".to_owned()];
    let output = strace::inject(&world.command(&COMMIT), &failing);
    let ran = Ran::from(output).exits(3);
    assert!(
        ran.stderr.contains("error[io]: exchanging"),
        "{}",
        ran.stderr
    );
    assert_eq!(world.git(&["log", "--format=%s"]).lines().count(), 1);
    assert!(is_pinned_at(&world, REV_A));
}

#[test]
fn an_unfinished_merge_stops_the_run() {
    let world = committer();
    world.git(&["checkout", "-q", "-b", "other"]);
    world.write("other.txt", "other\n");
    world.commit("other");
    world.git(&["checkout", "-q", "main"]);
    world.write("main.txt", "main\n");
    world.commit("main");
    world.git(&["merge", "-q", "--no-commit", "--no-ff", "other"]);
    let document = commit(&world).exits(5).json();
    assert!(
        document["error"]["message"]
            .as_str()
            .unwrap()
            .contains("MERGE_HEAD"),
        "{document}"
    );
    assert!(is_pinned_at(&world, REV_A));
}

#[test]
fn commit_needs_an_author_and_a_repository() {
    let world = world().with_git();
    world.git(&["config", "user.useConfigOnly", "true"]);
    let document = commit(&world).exits(3).json();
    assert!(
        document["error"]["message"]
            .as_str()
            .unwrap()
            .contains("who commits"),
        "{document}"
    );
    assert!(is_pinned_at(&world, REV_A));
    let bare = crate::support::world::world();
    let document = commit(&bare).exits(3).json();
    assert!(
        document["error"]["message"]
            .as_str()
            .unwrap()
            .contains("git repository"),
        "{document}"
    );
    assert!(is_pinned_at(&bare, REV_A));
}

#[test]
fn refusing_hook_leaves_the_files_as_they_were() {
    let world = committer();
    world.git(&["config", "core.hooksPath", ".git/hooks"]);
    hook(&world, "pre-commit", "echo 'not today' >&2; exit 1");
    let head = world.head();
    let ran = world.run(&COMMIT).exits(3);
    for part in [
        "nothing was committed, and the files were restored",
        "not today",
        "run the command again",
        "nothing was changed",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    assert_eq!(world.head(), head);
    assert_eq!(world.git(&["status", "--porcelain", "-uno"]), "");
    assert!(is_pinned_at(&world, REV_A));
    // The same command again, without the cause.
    fs::remove_file(world.path(".git/hooks/pre-commit")).unwrap();
    world.run(&COMMIT).exits(0);
    assert_eq!(last(&world).0, [A, B]);
    // A hook that also changes a file: its change is kept, and a command finishes the commit.
    let world = committer();
    world.git(&["config", "core.hooksPath", ".git/hooks"]);
    hook(
        &world,
        "pre-commit",
        "echo '# x' >> .github/workflows/a.yml; exit 1",
    );
    let ran = world.run(&COMMIT).exits(3);
    fs::remove_file(world.path(".git/hooks/pre-commit")).unwrap();
    let text = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    let command = text.split("finish by hand: ").nth(1).unwrap();
    let command = command.split(" for more:").next().unwrap();
    let command = command.split(" applied:").next().unwrap();
    let done = Command::new("sh")
        .args(["-c", command])
        .current_dir(world.root())
        .status()
        .unwrap();
    assert!(done.success(), "{command}");
    assert_eq!(last(&world).0, [A, B]);
    assert!(last(&world).1.contains(&format!("Repin-Set: {REV_B}")));
}

#[test]
fn commit_is_no_part_of_an_unfinished_operation() {
    let begin: [(&str, &[&[&str]]); 3] = [
        ("BISECT_LOG", &[&["bisect", "start"]]),
        (
            "rebase-merge",
            &[&[
                "-c",
                "sequence.editor=sed -i s/^pick/edit/",
                "rebase",
                "-q",
                "-i",
                "HEAD~1",
            ]],
        ),
        ("sequencer", &[]),
    ];
    for (name, commands) in begin {
        let world = committer();
        world.write("other.txt", "other\n");
        world.commit("other");
        for command in commands {
            world.git(command);
        }
        if commands.is_empty() {
            fs::create_dir(world.path(".git/sequencer")).unwrap();
        }
        let ran = world.run(&COMMIT).exits(5);
        assert!(ran.stderr.contains(name), "{name}: {}", ran.stderr);
        assert!(is_pinned_at(&world, REV_A));
        // Without the commit, the files are changed.
        world
            .run(&["promote", "--revision", REV_B, "--apply"])
            .exits(0);
    }
}

#[test]
fn commit_encoding_does_not_change_the_message() {
    for encoding in ["ISO-8859-1", "UTF-16"] {
        let world = committer();
        world.replace("repin.yaml", "name: test images", "name: Bäume");
        world.commit("name");
        world.git(&["config", "i18n.commitEncoding", encoding]);
        world.git(&["config", "i18n.logOutputEncoding", encoding]);
        world.run(&COMMIT).exits(0);
        let raw = world.git(&["cat-file", "commit", "HEAD"]);
        assert!(raw.contains("Bäume") && !raw.contains("encoding"), "{raw}");
    }
}

#[test]
fn a_hook_that_changes_the_commit_undoes_it() {
    for (name, script, difference) in [
        (
            "pre-commit",
            "echo '# hook' >> .github/workflows/a.yml; git add .github/workflows/a.yml",
            "a.yml",
        ),
        (
            "pre-commit",
            "echo x > hook.txt; git add hook.txt",
            "hook.txt",
        ),
        ("commit-msg", "sed -i /Repin-Set/d \"$1\"", "Repin-Set"),
    ] {
        let world = committer();
        hook(&world, name, script);
        let head = world.head();
        let document = commit(&world).exits(3).json();
        let message = document["error"]["message"].as_str().unwrap();
        assert!(message.contains("HEAD was set back"), "{script} {document}");
        assert!(message.contains(difference), "{script} {document}");
        assert_eq!(world.head(), head, "{script}");
        // A file that the hook changed as well is not restored.
        let is_restored = difference != "a.yml";
        assert_eq!(document["applied"], !is_restored);
        let revision = if is_restored { REV_A } else { REV_B };
        assert!(is_pinned_at(&world, revision), "{script}");
        if is_restored {
            assert_eq!(
                world.git(&["diff", "--cached", "--name-only", "--", A, B]),
                ""
            );
        }
    }
    // A line that a hook adds to the message is the user's.
    let world = committer();
    hook(&world, "commit-msg", "printf 'Change-Id: I1\\n' >> \"$1\"");
    commit(&world).exits(0);
    assert!(last(&world).1.contains("Change-Id: I1"));
}

/// Sets a filter by which git converts the file A when it stores it.
fn clean(world: &World, command: &str) {
    world.write(".git/info/attributes", format!("{A} filter=x\n"));
    world.git(&["config", "filter.x.clean", command]);
}

#[test]
fn filter_that_keeps_old_pins_undoes_the_commit() {
    let world = committer();
    let [old, new] = [REV_A, REV_B].map(|revision| world.digest("review", revision));
    clean(&world, &format!("sed /^a:/s/{new}/{old}/"));
    let head = world.head();
    let document = commit(&world).exits(3).json();
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.contains("a hook or a filter"), "{document}");
    assert!(message.contains("another content of"), "{document}");
    assert_eq!(world.head(), head);
    assert!(is_pinned_at(&world, REV_A));

    // git also converts the line endings that an attribute requires.
    let world = committer();
    world.write(".git/info/attributes", format!("{A} text\n"));
    commit(&world).exits(0);
    let stored = world.git(&["show", &format!("HEAD:{A}")]);
    assert!(!stored.contains('\r'), "{stored:?}");
    assert!(stored.contains(world.digest("review", REV_B)), "{stored}");

    // A filter that keeps the pins is the user's.
    let world = committer();
    clean(&world, "sed s/^#/##/");
    world.git(&["commit", "-q", "-m", "convert", "--", A]);
    commit(&world).exits(0);
    let stored = world.git(&["show", &format!("HEAD:{A}")]);
    assert!(stored.starts_with("## "), "{stored}");
    assert!(stored.contains(world.digest("review", REV_B)), "{stored}");
}

/// A `git` that wraps the real one: its behavior for a subcommand.
fn git_in_front(world: &World, subcommand: &str, does: &str) -> String {
    let path = std::env::var("PATH").unwrap();
    let script = format!(
        "#!/bin/sh\nPATH='{path}'\ncase \" $* \" in *' {subcommand} '*) {does};; esac\nexec git \"$@\"\n"
    );
    world.write("front/git", script);
    fs::set_permissions(world.path("front/git"), fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{path}", world.path("front").display())
}

/// The commit of another process, before or after the commit of the run.
fn run_with_foreign_commit(world: &World, is_first: bool, changes: &str) -> Ran {
    let foreign = format!("{{ {changes}; }} < /dev/null >&2");
    let both = if is_first {
        format!("{foreign}; git \"$@\"; exit")
    } else {
        format!("git \"$@\"; code=$?; {foreign}; exit $code")
    };
    let path = git_in_front(world, "commit", &both);
    world.run_with(&COMMIT, &[("PATH", &path)])
}

/// The titles of the commits after `base`, newest first.
fn titles(world: &World, base: &str) -> Vec<String> {
    let range = format!("{base}..HEAD");
    let printed = world.git(&["log", "--format=%s", &range]);
    printed.lines().map(str::to_owned).collect()
}

#[test]
fn commit_of_another_process_is_kept() {
    let title = format!("promote: test images @{REV_B}");
    for (is_first, expected) in [(true, [&*title, "foreign"]), (false, ["foreign", &*title])] {
        let world = committer();
        world.write("notes.txt", "mine\n");
        world.git(&["add", "notes.txt"]);
        let base = world.head();
        let changes = "git commit -qm foreign -- notes.txt";
        run_with_foreign_commit(&world, is_first, changes).exits(0);
        assert_eq!(titles(&world, &base), expected);
        assert_eq!(world.git(&["status", "--porcelain", "-uno"]), "");
    }
}

#[test]
fn foreign_commit_of_a_pinned_file_is_reported() {
    let title = format!("promote: test images @{REV_B}");
    for (is_first, expected) in [(true, [&*title, "foreign"]), (false, ["foreign", &*title])] {
        let world = committer();
        let base = world.head();
        let mut changes = format!("git commit -qm foreign -- {A}");
        if !is_first {
            changes = format!("echo '# mine' >> {A}; {changes}");
        }
        let ran = run_with_foreign_commit(&world, is_first, &changes).exits(3);
        let reason = format!("another process committed {A} at the same time");
        assert!(ran.stderr.contains(&reason), "{}", ran.stderr);
        assert_eq!(titles(&world, &base), expected);
    }
}

#[test]
fn changed_commit_next_to_foreign_commit_is_kept() {
    let title = format!("promote: test images @{REV_B}");
    for (is_first, expected) in [(true, [&*title, "foreign"]), (false, ["foreign", &*title])] {
        let world = committer();
        hook(&world, "pre-commit", "echo x > hook.txt; git add hook.txt");
        let base = world.head();
        let changes = "git commit -qm foreign --allow-empty --no-verify --only";
        let ran = run_with_foreign_commit(&world, is_first, changes).exits(3);
        assert!(ran.stderr.contains("hook.txt"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("set back"), "{}", ran.stderr);
        assert_eq!(titles(&world, &base), expected);
    }
}

#[test]
fn head_that_moves_during_the_commit_is_retried() {
    let world = committer();
    let script = "[ -e .git/moved ] && exit 0; touch .git/moved\n\
                  git update-ref HEAD $(git commit-tree -p HEAD -m foreign HEAD^{tree})";
    hook(&world, "pre-commit", script);
    let base = world.head();
    world.run(&COMMIT).exits(0);
    let title = format!("promote: test images @{REV_B}");
    assert_eq!(titles(&world, &base), [&*title, "foreign"]);
}

#[test]
fn lock_of_git_is_awaited() {
    let world = committer();
    let lock = world.path(".git/index.lock");
    fs::write(&lock, "").unwrap();
    thread::scope(|scope| {
        let run = scope.spawn(|| world.run(&COMMIT));
        while !is_pinned_at(&world, REV_B) && !run.is_finished() {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_secs(1));
        fs::remove_file(&lock).unwrap();
        run.join().unwrap().exits(0);
    });
    assert!(last(&world).1.contains(&format!("Repin-Set: {REV_B}")));
}

#[test]
fn lock_of_git_that_stays_is_reported() {
    let world = committer();
    let head = world.head();
    fs::write(world.path(".git/index.lock"), "").unwrap();
    let ran = world.run(&COMMIT).exits(3);
    for part in [
        "nothing was committed",
        "index.lock",
        "run the command again",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    assert_eq!(world.head(), head);
    assert!(is_pinned_at(&world, REV_A));
}

#[test]
fn commit_of_another_run_is_awaited() {
    let world = committer();
    let head = world.head();
    world.write(".git/repin/commit.lock", "");
    let lock = fs::File::open(world.path(".git/repin/commit.lock")).unwrap();
    lock.lock().unwrap();
    thread::scope(|scope| {
        let run = scope.spawn(|| world.run(&COMMIT));
        while !is_pinned_at(&world, REV_B) && !run.is_finished() {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_secs(1));
        let is_finished = run.is_finished();
        let waiting = world.head();
        lock.unlock().unwrap();
        run.join().unwrap().exits(0);
        assert!(!is_finished);
        assert_eq!(waiting, head);
    });
    assert!(last(&world).1.contains(&format!("Repin-Set: {REV_B}")));
}

#[test]
fn branch_reset_during_the_commit_is_reported() {
    let world = committer();
    let ran = run_with_foreign_commit(&world, false, "git update-ref HEAD HEAD~1").exits(3);
    let reason = "another process moved HEAD, which does not contain it";
    assert!(ran.stderr.contains(reason), "{}", ran.stderr);
    assert!(
        !ran.stderr.contains("nothing was committed"),
        "{}",
        ran.stderr
    );
}

#[test]
fn two_sets_are_committed_at_the_same_time() {
    let world = committer();
    for file in ["repin.yaml", A, B] {
        world.write(&format!("sub/{file}"), world.read(file));
    }
    world.commit("two sets");
    let base = world.head();
    // Each run blocks in a hook until the other run has started.
    hook(&world, "pre-commit", "sleep 2");
    let source = format!("ghcr.io/acme=oci:{}", world.path("images").display());
    let args = [&COMMIT[..], &["--source", &source]].concat();
    thread::scope(|scope| {
        let directories = [world.root().to_owned(), world.path("sub")];
        let [first, second] = directories.map(|directory| {
            let (world, args) = (&world, &args);
            scope.spawn(move || world.run_in(&directory, args, &[]))
        });
        first.join().unwrap().exits(0);
        second.join().unwrap().exits(0);
    });
    let mut titles = titles(&world, &base);
    titles.sort();
    assert_eq!(titles.len(), 2, "{titles:?}");
    assert_eq!(world.git(&["status", "--porcelain", "-uno"]), "");
}

#[test]
fn head_decides_whether_a_commit_exists() {
    // git moves the branch and fails then: the commit is there.
    let world = committer();
    let path = git_in_front(&world, "commit", "git \"$@\"; exit 128");
    let ran = world.run_with(&COMMIT, &[("PATH", &path)]).exits(0);
    assert!(ran.stderr.contains("committed: 5 pins"), "{}", ran.stderr);
    assert!(last(&world).1.contains(&format!("Repin-Set: {REV_B}")));
    // The commit exists but is unreadable: the run must not deny it.
    let world = committer();
    let path = git_in_front(&world, "diff-tree", "exit 128");
    let ran = world.run_with(&COMMIT, &[("PATH", &path)]).exits(3);
    assert!(ran.stderr.contains("may have been made"), "{}", ran.stderr);
    assert!(
        !ran.stderr.contains("nothing was committed"),
        "{}",
        ran.stderr
    );
    assert!(last(&world).1.contains(&format!("Repin-Set: {REV_B}")));
}

#[test]
fn commit_is_signed_if_git_is_configured() {
    let world = committer();
    world.write("sign", "#!/bin/sh\ncat > /dev/null\necho '[GNUPG:] SIG_CREATED ' >&2\necho '-----BEGIN PGP SIGNATURE-----'\n");
    fs::set_permissions(world.path("sign"), fs::Permissions::from_mode(0o755)).unwrap();
    world.git(&["config", "commit.gpgSign", "true"]);
    world.git(&[
        "config",
        "gpg.program",
        world.path("sign").to_str().unwrap(),
    ]);
    commit(&world).exits(0);
    let raw = world.git(&["cat-file", "commit", "HEAD"]);
    assert!(
        raw.contains("gpgsig -----BEGIN PGP SIGNATURE-----"),
        "{raw}"
    );
    // A signature that fails is no commit.
    let world = committer();
    world.git(&["config", "commit.gpgSign", "true"]);
    world.git(&["config", "gpg.program", "/bin/false"]);
    let document = commit(&world).exits(3).json();
    assert!(
        document["error"]["message"]
            .as_str()
            .unwrap()
            .contains("nothing was committed"),
        "{document}"
    );
}

#[test]
fn paths_like_patterns_are_committed_literally() {
    let world = committer();
    let odd = [":(glob)*.yml", "[a]*?.yml", "\"quoted\".yml", "né w\n.yml"];
    let pin = |revision| format!("x: ghcr.io/acme/fix@{}\n", world.digest("fix", revision));
    for name in odd {
        world.write(&format!("workflows/{name}"), pin(REV_A));
    }
    world.replace("repin.yaml", "['.github/workflows/*.yml']", "['**/*.yml']");
    world.replace(
        "repin.yaml",
        "fix, pins: 2",
        &format!("fix, pins: {}", 2 + odd.len()),
    );
    world.commit("odd names");
    // A pattern matches this sibling, but the plan does not contain it.
    world.write("workflows/sibling.txt", "mine\n");
    commit(&world).exits(0);
    for name in odd {
        assert_eq!(
            world.read(&format!("workflows/{name}")),
            pin(REV_B),
            "{name}"
        );
    }
    assert_eq!(
        world.git(&["status", "--porcelain"]),
        "?? workflows/sibling.txt"
    );
    assert_eq!(last(&world).0.len(), 2 + odd.len());
}

#[test]
fn root_may_be_a_subdirectory() {
    let world = committer();
    for (from, to) in [("repin.yaml", "sub/repin.yaml"), (".github", "sub/.github")] {
        fs::create_dir_all(world.path("sub")).unwrap();
        fs::rename(world.path(from), world.path(to)).unwrap();
    }
    let images = world.path("images");
    world.commit("moved");
    let source = format!("ghcr.io/acme=oci:{}", images.display());
    let args = [&COMMIT[..], &["--source", &source]].concat();
    let ran = world.run_in(&world.path("sub"), &args, &[]);
    ran.exits(0);
    assert_eq!(last(&world).0, [format!("sub/{A}"), format!("sub/{B}")]);
}

#[test]
fn the_option_needs_apply() {
    let world = committer();
    let head = world.head();
    for args in [
        &["--commit"][..],
        &["--commit", "--pr", "draft"],
        &["--commit", "--dry-run", "true"],
    ] {
        let args = [&["promote", "--revision", REV_B], args].concat();
        world.run(&args).exits(2);
    }
    let ran = world
        .run(&[&COMMIT[..], &["--dry-run", "true"]].concat())
        .exits(0);
    assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
    assert_eq!(world.head(), head);
    assert!(is_pinned_at(&world, REV_A));
}

#[test]
fn diff_is_replaced_by_list_or_count() {
    let world = world();
    let promote = ["promote", "--revision", REV_B];
    let shown = |options: &[&str]| world.run(&[&promote[..], options].concat()).exits(0).stdout;
    let [whole, stat, none] = [&[][..], &["--stat"], &["--no-diff"]].map(shown);
    assert!(whole.contains("\n+++ b/"), "{whole}");
    // The last lines are the summary, not the diff.
    assert!(whole.trim_end().ends_with(&format!("  {B}")), "{whole}");
    assert!(!stat.contains("+++") && stat.contains(A), "{stat}");
    assert!(!none.contains("+++") && !none.contains(A), "{none}");
    world
        .run(&[&promote[..], &["--stat", "--no-diff"]].concat())
        .exits(2);
    world
        .run(&[&promote[..], &["--stat", "--diff-file", "-"]].concat())
        .exits(2);
    let written = [&promote[..], &["--no-diff", "--diff-file", "diff"]].concat();
    world.run(&written).exits(0);
    assert!(world.read("diff").contains("+++ b/"));
}
