//! A rollback at night: the set by other names than its revision, the push of the commit, and the words of refusals.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use crate::support::{
    forge::{Kind, TOKEN},
    hosted::{FORGES, document, hosted, publish},
    layout::Platform,
    terminal,
    world::{REV_A, REV_B, REV_C, Ran, World, world},
};

const A: &str = ".github/workflows/a.yml";
const ROLLBACK: [&str; 2] = ["rollback", "--to"];
const APPLY: [&str; 2] = ["--apply", "--commit"];
const PUSH: [&str; 3] = ["--apply", "--commit", "--push"];

/// A was promoted, then B, by pull requests 7 and 8.
fn promoted_twice() -> World {
    let mut world = world();
    world.build(REV_C);
    world.pin(REV_C);
    let world = world.with_git();
    world.git(&["config", "user.name", "Operator"]);
    world.git(&["config", "user.email", "operator@example.com"]);
    for (revision, number) in [(REV_A, 7), (REV_B, 8)] {
        world
            .run(&["promote", "--revision", revision, "--apply"])
            .exits(0);
        world.commit(&format!("promote: test images @{revision} (#{number})"));
        world.push();
    }
    world
}

fn to(world: &World, target: &str, options: &[&str]) -> Ran {
    world.run(&[&ROLLBACK[..], &[target], options].concat())
}

/// The commit of the branch on the remote.
fn remote(world: &World) -> String {
    world.git(&["--git-dir=origin.git", "rev-parse", "main"])
}

/// An executable hook.
fn hook(world: &World, path: &str, script: &str) {
    world.write(path, format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(world.path(path), fs::Permissions::from_mode(0o755)).unwrap();
}

/// A hook that pushes another commit as soon as this clone commits, at most `times` times.
fn rival(world: &World, times: usize) {
    rival_with(world, times, "true", "rival");
}

/// The same; `change` changes the files of the commit first.
fn rival_with(world: &World, times: usize, change: &str, subject: &str) {
    world.git(&["clone", "-q", "./origin.git", "rival"]);
    world.write(".git/info/exclude", "/rival\n/times\n");
    hook(
        world,
        ".git/hooks/post-commit",
        &format!(
            "echo >>times\n[ $(wc -l <times) -le {times} ] || exit 0\ncd rival\n\
             unset $(git rev-parse --local-env-vars)\n{change}\n\
             git -c user.name=R -c user.email=r@example.com commit -q --allow-empty -m '{subject}'\n\
             git -c protocol.file.allow=always push -q origin main"
        ),
    );
}

/// The other clone commits its files, even if there are none, and pushes them.
fn rival_pushes(world: &World) {
    let rival = [
        "-C",
        "rival",
        "-c",
        "user.name=R",
        "-c",
        "user.email=r@example.com",
    ];
    world.git(&["-C", "rival", "add", "-A"]);
    world.git(
        &[
            &rival[..],
            &["commit", "-q", "--allow-empty", "-m", "rival"],
        ]
        .concat(),
    );
    world.git(&["-C", "rival", "push", "-q", "origin", "main"]);
}

#[test]
fn previous_set_is_named_before_the_run() {
    let world = promoted_twice();
    let ran = to(&world, "previous", &["--format", "json"]).exits(0);
    assert_eq!(ran.json()["revision"], REV_A);
    let ran = to(&world, "previous", &[]).exits(0);
    let named = format!("previous is the set {REV_A}, which commit ");
    assert!(ran.stderr.starts_with(&named), "{}", ran.stderr);
    let current = format!("; current is {REV_B} (promote, commit ");
    assert!(ran.stderr.contains(&current), "{}", ran.stderr);

    // A promotion that is not pushed does not count.
    world
        .run(&["promote", "--revision", REV_C, "--apply"])
        .exits(0);
    world.commit(&format!("promote: test images @{REV_C}"));
    let ran = to(&world, "previous", &[]).exits(0);
    assert!(ran.stderr.contains(&named), "{}", ran.stderr);
    let part = format!(
        "the current set of HEAD is not pushed, so `previous` does not count it: {REV_C} ("
    );
    assert!(ran.stderr.contains(&part), "{}", ran.stderr);
    world.git(&["reset", "-q", "--hard", "HEAD~1"]);

    // A held set is not the previous one, and neither is one that was pinned manually.
    world.roll_back(REV_A);
    let ran = to(&world, "previous", &["--apply"]).exits(2);
    let part =
        "no set before the current one on origin/main is available for rollback and not held";
    assert!(ran.stderr.contains(part), "{}", ran.stderr);
    // A held one is selected only by its revision.
    let part = format!("is selected only by its revision: {REV_B} (");
    assert!(ran.stderr.contains(&part), "{}", ran.stderr);
    let ran = world.run(&["rollback"]).exits(0);
    let part = format!("the newest of them: repin rollback --to {REV_B} --apply");
    assert!(ran.stderr.contains(&part), "{}", ran.stderr);
    let ran = to(&world, "prevous", &[]).exits(2);
    let part = "did you mean `previous`?";
    assert!(ran.stderr.contains(part), "{}", ran.stderr);
}

#[test]
fn previous_after_a_rollback_warns() {
    let mut world = world();
    world.build(REV_C);
    let world = world.with_git();
    for revision in [REV_A, REV_B, REV_C] {
        world.promoted(revision);
    }
    let warns = |revision: &str| {
        let ran = to(&world, "previous", &[]).exits(0);
        let named = format!("previous is the set {revision}, ");
        assert!(ran.stderr.contains(&named), "{}", ran.stderr);
        let part = "the current set is the result of a rollback, so `previous` goes back further";
        ran.stderr.contains(part)
    };
    assert!(!warns(REV_B));
    world.roll_back(REV_B);
    assert!(warns(REV_A));
    let skipped = format!("not selected, because a rollback undid it: {REV_C} (promote");
    let ran = to(&world, "previous", &[]).exits(0);
    assert!(ran.stderr.contains(&skipped), "{}", ran.stderr);
}

#[test]
fn previous_set_without_a_revision_is_refused() {
    let mut world = world();
    world.build(REV_C);
    let world = world.with_git();
    world.promoted(REV_A);
    world.pin(REV_B);
    let commit = world.commit("bump images");
    world.push();
    world.promoted(REV_C);
    let ran = to(&world, "previous", &PUSH).exits(2);
    let part = format!("`previous` is the set of commit {}", &commit[..10]);
    assert!(ran.stderr.contains(&part), "{}", ran.stderr);
    let part = "which has no recorded revision";
    assert!(ran.stderr.contains(part), "{}", ran.stderr);
    to(&world, REV_A, &[]).exits(0);
}

#[test]
fn set_with_an_undone_image_is_not_recommended() {
    let mut world = world();
    let next = "dddddddddddddddddddddddddddddddddddddddd";
    world.build(REV_C);
    world.build(next);
    let world = world.with_git();
    world.promoted(REV_A);
    world.promoted(REV_B);
    // One image of B is bad: its pins return by hand.
    let fix = |revision| world.digest("fix", revision).to_owned();
    world.replace(".github/workflows/b.yml", &fix(REV_B), &fix(REV_A));
    world.commit("undo fix");
    world.push();
    world.promoted(REV_C);
    let newest = |revision: &str| {
        let ran = world.run(&["rollback"]).exits(0);
        let part = format!("the newest available one: repin rollback --to {revision} --apply");
        assert!(ran.stderr.contains(&part), "{}", ran.stderr);
    };
    newest(REV_A);
    // The set between has no revision.
    to(&world, "previous", &[]).exits(2);
    // By its revision, it is selected with a warning; then it was current after the rollback.
    let ran = to(&world, REV_B, &["--apply"]).exits(0);
    assert!(
        ran.stderr.contains("warning[rolled_back]"),
        "{}",
        ran.stderr
    );
    world.commit("bump");
    world.push();
    world.promoted(next);
    newest(REV_B);
}

#[test]
fn sets_before_a_git_pull_are_not_forgotten() {
    let [next, last] = [
        "dddddddddddddddddddddddddddddddddddddddd",
        "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
    ];
    let mut world = world();
    for revision in [REV_C, next, last] {
        world.build(revision);
    }
    let world = world.with_git();
    world.promoted(REV_A);
    world.promoted(REV_B);
    world.git(&["clone", "-q", "./origin.git", "rival"]);
    world.promoted(REV_C);
    world.promoted(next);
    // A colleague with an old clone commits a document, pulls and pushes: the promotions are on the merged line.
    world.write("rival/NOTES.md", "notes\n");
    world.git(&["-C", "rival", "add", "-A"]);
    let rival = [
        "-C",
        "rival",
        "-c",
        "user.name=R",
        "-c",
        "user.email=r@example.com",
    ];
    world.git(&[&rival[..], &["commit", "-q", "-m", "notes"]].concat());
    world.git(&[&rival[..], &["pull", "-q", "--no-rebase", "--no-edit"]].concat());
    world.git(&["-C", "rival", "push", "-q", "origin", "main"]);
    world.git(&["pull", "-q", "--ff-only", "origin", "main"]);

    let named = format!("(`git pull`) took this set off the line: {REV_C} (promote, commit ");
    let ran = to(&world, "previous", &["--apply"]).exits(2);
    let part = "the set before the current one is unknown: newer sets than ";
    assert!(ran.stderr.contains(part), "{}", ran.stderr);
    assert!(ran.stderr.contains(&named), "{}", ran.stderr);
    let ran = to(&world, REV_C, &[]).exits(1);
    assert!(ran.stderr.contains(&named), "{}", ran.stderr);
    let part = format!("`repin promote --revision {REV_C} --allow-older` returns to it");
    assert!(ran.stderr.contains(&part), "{}", ran.stderr);
    for command in ["history", "rollback"] {
        let ran = world.run(&[command]).exits(0);
        let warned = |revision: &str| {
            let part = format!("warning: the set {revision} of commit ");
            ran.stderr.contains(&part)
        };
        // The merge has the set of the last one.
        assert!(warned(REV_C) && !warned(next), "{}", ran.stderr);
    }
    world
        .run(&["promote", "--revision", REV_C, "--allow-older"])
        .exits(0);

    // The set before the next one is that of the merge.
    world.promoted(last);
    let ran = to(&world, "previous", &[]).exits(0);
    let named = format!("previous is the set {next}, ");
    assert!(ran.stderr.contains(&named), "{}", ran.stderr);
    // A rollback undoes all, and the set before it is known.
    world.roll_back(REV_B);
    for revision in [REV_C, next, last] {
        let ran = world.run(&["promote", "--revision", revision]).exits(1);
        assert!(ran.stderr.contains("error[rolled_back]"), "{}", ran.stderr);
    }
    let ran = to(&world, "previous", &[]).exits(0);
    let named = format!("previous is the set {REV_A}, ");
    assert!(ran.stderr.contains(&named), "{}", ran.stderr);
}

#[test]
fn commits_and_pull_requests_select_their_set() {
    let world = promoted_twice();
    world.write("README.md", "x");
    world.commit("no change of the set");
    world.push();
    for target in ["HEAD~2", "main~2", "origin/main^^", "#7"] {
        let ran = to(&world, target, &["--format", "json"]).exits(0);
        assert_eq!(ran.json()["revision"], REV_A, "{target}");
        let named = format!("{target} is the set {REV_A}");
        assert!(ran.stderr.contains(&named), "{}", ran.stderr);
    }
    // The set at a commit that did not change it.
    let ran = to(&world, "HEAD~0", &["--format", "json"]).exits(0);
    assert_eq!(ran.json()["revision"], REV_B);
    for (target, part) in [
        ("HEAD~3", "which has no recorded revision"),
        ("HEAD~9", "this clone has no commit `HEAD~9`"),
        (
            "#9",
            "no commit on origin/main records that pull request #9",
        ),
        ("main", "no set on origin/main has the revision `"),
        ("HEAD~1:x", "no set on origin/main has the revision `"),
    ] {
        let ran = to(&world, target, &["--apply"]).exits(2);
        assert!(ran.stderr.contains(part), "{target}: {}", ran.stderr);
    }
    world.git(&["checkout", "-q", "-b", "side", "HEAD~1"]);
    world.commit("elsewhere");
    world.commit("and on");
    let ran = to(&world, "side~1", &["--apply"]).exits(2);
    let part = "is not on the first-parent line of origin/main";
    assert!(ran.stderr.contains(part), "{}", ran.stderr);
}

#[test]
fn pull_request_with_several_sets_is_ambiguous() {
    let world = promoted_twice();
    world.run(&["rollback", "--to", REV_A, "--apply"]).exits(0);
    world.commit(&format!("rollback: test images @{REV_A} (#8)"));
    world.push();
    let ran = to(&world, "#8", &["--apply"]).exits(2);
    assert!(ran.stderr.contains("with different sets"), "{}", ran.stderr);
    assert!(ran.stderr.contains(REV_A) && ran.stderr.contains(REV_B));
}

#[test]
fn unknown_set_lists_similar_ones_and_the_last() {
    let world = promoted_twice();
    let typed = format!("{}b{}", &REV_A[..6], &REV_A[..5]);
    let ran = to(&world, &typed, &["--apply"]).exits(2);
    for part in [
        format!("no set on origin/main has the revision `{typed}`"),
        format!("similar: {REV_A} (promote, commit "),
        format!("the last one: {REV_A}"),
        format!("help: run `repin rollback --to {REV_A}`"),
    ] {
        assert!(ran.stderr.contains(&part), "{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("pattern"), "{}", ran.stderr);
    let ran = to(&world, "deadbeef", &[]).exits(2);
    assert!(!ran.stderr.contains("similar: "), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("the last one: {REV_A}")));

    // A commit of this clone is the revision of a build; that of a set is recognized.
    let ran = to(&world, &world.git(&["rev-parse", "HEAD~1"]), &["--apply"]).exits(1);
    let part = format!("this commit recorded the set {REV_A}");
    assert!(ran.stderr.contains(&part), "{}", ran.stderr);

    // Also if the registry would complete an abbreviated commit.
    let config = world.read("repin.yaml");
    world.write(
        "repin.yaml",
        config.clone() + "revision: { tag: 'sha-{revision:7}' }\n",
    );
    let ran = to(&world, "deadbee", &[]).exits(2);
    let part = "no set on origin/main has the revision `deadbee`";
    assert!(ran.stderr.contains(part), "{}", ran.stderr);
    world.write("repin.yaml", config);

    // A complete revision is refused by its check, with the same help.
    let whole = format!("{}b{}", &REV_A[..20], &REV_A[..19]);
    let ran = to(&world, &whole, &["--apply"]).exits(1);
    let part = format!("similar: {REV_A}");
    assert!(ran.stderr.contains(&part), "{}", ran.stderr);
}

#[test]
fn list_ends_with_the_complete_command() {
    let world = promoted_twice();
    let last = |args: &[&str]| {
        let ran = world.run(args).exits(0);
        ran.stderr.trim_end().lines().last().unwrap().to_owned()
    };
    let newest = "the newest available one: repin rollback";
    let options = format!("--to {REV_A} --apply --commit --push");
    assert_eq!(last(&["rollback"]), format!("{newest} {options}"));
    let listed = last(&["rollback", "--config", "./repin.yaml"]);
    assert_eq!(listed, format!("{newest} --config ./repin.yaml {options}"));
    // A set that was published by a pull request of the forge returns by one.
    world.write(
        "repin.yaml",
        world.read("repin.yaml")
            + "forge: { kind: gitea, repository: acme/app, url: 'http://127.0.0.1:9/api/v1' }\n",
    );
    assert_eq!(
        last(&["rollback"]),
        format!("{newest} --to {REV_A} --pr ready")
    );
    // A refusal contains the mode that was requested.
    let ran = world.run(&[&["rollback"][..], &APPLY].concat()).exits(2);
    let command = format!("repin rollback --to {REV_A} --apply --commit\n");
    assert!(ran.stderr.contains(&command), "{}", ran.stderr);
}

#[test]
fn set_is_chosen_only_at_a_terminal() {
    let world = promoted_twice();
    let typed = |text: &str, options: &[&str]| {
        let command = world.command(&[&["rollback"], options].concat());
        Ran::from(terminal::typed(command, text))
    };
    let before = world.read(A);
    for (text, options) in [
        ("\n", &APPLY[..]),
        ("0\n2\nx\n", &APPLY),
        ("1\n", &["--diff-file", "-"]),
    ] {
        let ran = typed(text, options);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert_eq!(world.read(A), before);
    }
    let ran = typed("5\n1\n", &APPLY).exits(0);
    let question = format!("1  {REV_A}  ");
    assert!(ran.stderr.contains(&question), "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("Number of the set (1 to 1; empty: change nothing): ")
    );
    assert!(world.read(A).contains(world.digest("review", REV_A)));
}

#[test]
fn pushed_set_is_chosen_after_a_fetch() {
    let world = promoted_twice();
    // B was promoted after this clone was fetched.
    world.git(&["reset", "-q", "--hard", "HEAD~1"]);
    world.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    let command = world.command(&[&["rollback"], &PUSH[..]].concat());
    let ran = Ran::from(terminal::typed(command, "1\n")).exits(0);
    let row = format!("1  {REV_A}  ");
    assert!(ran.stderr.contains(&row), "{}", ran.stderr);
    let titles = world.git(&["--git-dir=origin.git", "log", "-2", "--format=%s", "main"]);
    let expected = format!("rollback: test images @{REV_A}\npromote: test images @{REV_B} (#8)");
    assert_eq!(titles, expected);
}

#[test]
fn set_for_a_pull_request_is_chosen_at_a_terminal() {
    let (mut world, fake) = hosted(Kind::Gitea, "");
    world.build(REV_C);
    for revision in [REV_B, REV_C] {
        world.pin(revision);
        publish(&world, &fake, &format!("promote: test images @{revision}"));
    }
    world.git(&["init", "-q"]);
    let origin = format!("{}/acme/flows.git", fake.server.url());
    world.git(&["remote", "add", "origin", &origin]);
    world.git(&["add", "-A"]);
    world.git(&["commit", "-q", "-m", "x"]);
    let mut command = world.command(&["rollback", "--pr", "ready"]);
    command.env("REPIN_FORGE_TOKEN", TOKEN);
    let ran = Ran::from(terminal::typed(command, "1\n")).exits(0);
    assert!(
        ran.stderr.contains(&format!("1  {REV_B}  ")),
        "{}",
        ran.stderr
    );
    let head = fake.store().pulls[0].head.clone();
    let text = fake.store().content(&head, A);
    assert!(text.contains(world.digest("review", REV_B)), "{text}");
}

#[test]
fn push_publishes_exactly_the_commit() {
    let world = promoted_twice();
    let before = remote(&world);
    let ran = to(&world, "previous", &PUSH).exits(0);
    let line = "committed: 5 pins in 2 files, as ";
    assert!(ran.stderr.contains(line), "{}", ran.stderr);
    assert!(
        ran.stderr.ends_with(", and pushed to origin/main\n"),
        "{}",
        ran.stderr
    );
    let head = world.head();
    assert_eq!(remote(&world), head);
    assert_eq!(world.git(&["rev-parse", "HEAD~1"]), before);
    let status = world.run(&["status"]).exits(0);
    assert!(!status.stdout.contains("not pushed"), "{}", status.stdout);
    // Nothing is left to do.
    let ran = to(&world, REV_A, &PUSH).exits(0);
    assert!(ran.stderr.contains("nothing to do"), "{}", ran.stderr);
    world
        .run(&["promote", "--revision", REV_B, "--push"])
        .exits(2);
    world
        .run(&["promote", "--revision", REV_B, "--push", "--commit"])
        .exits(2);
}

#[test]
fn push_is_decided_by_the_configuration_of_the_branch() {
    let world = promoted_twice();
    let before = remote(&world);
    let config = world.read("repin.yaml");
    world.write("repin.yaml", format!("{config}# weaker\n"));
    let ran = to(&world, REV_A, &PUSH).exits(1);
    for part in [
        "--push publishes to origin/main, which has another repin.yaml",
        "`git restore --staged --worktree -- repin.yaml`",
    ] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    assert_eq!(remote(&world), before);
    // The same content with the line ends of the work tree.
    world.write(".git/info/attributes", "repin.yaml text eol=crlf\n");
    world.write("repin.yaml", config.replace('\n', "\r\n"));
    to(&world, REV_A, &PUSH).exits(0);
    assert_ne!(remote(&world), before);
}

#[test]
fn push_follows_a_branch_that_moved() {
    // Before the run, the clone is behind.
    let world = promoted_twice();
    rival(&world, 0);
    world.git(&[
        "-C",
        "rival",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "other",
    ]);
    world.git(&["-C", "rival", "push", "-q", "origin", "main"]);
    let other = remote(&world);
    to(&world, REV_A, &PUSH).exits(0);
    assert_eq!(world.git(&["rev-parse", "HEAD~1"]), other);
    assert_eq!(remote(&world), world.head());

    // It moves between the commit and the push.
    let world = promoted_twice();
    rival(&world, 1);
    let ran = to(&world, REV_A, &PUSH).exits(0);
    assert!(ran.stderr.contains("planning again"), "{}", ran.stderr);
    let subjects = world.git(&["--git-dir=origin.git", "log", "-2", "--format=%s", "main"]);
    assert_eq!(subjects, format!("rollback: test images @{REV_A}\nrival"));
    assert_eq!(remote(&world), world.head());
    assert_eq!(world.git(&["status", "--porcelain"]), "");
}

#[test]
fn branch_that_keeps_moving_ends_the_run_unchanged() {
    let world = promoted_twice();
    rival(&world, 9);
    let ran = to(&world, REV_A, &PUSH).exits(3);
    let part = "the base branch moved 3 times";
    assert!(ran.stderr.contains(part), "{}", ran.stderr);
    let end = "the work tree was updated to origin/main; nothing else was changed";
    assert!(ran.stderr.contains(end), "{}", ran.stderr);
    assert!(world.read(A).contains(world.digest("review", REV_B)));
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(world.git(&["log", "-1", "--format=%s"]), "rival");
}

#[test]
fn commit_of_an_expression_is_that_before_the_run() {
    // The clone is behind.
    let world = promoted_twice();
    rival(&world, 0);
    rival_pushes(&world);
    let ran = to(&world, "HEAD~1", &PUSH).exits(0);
    let part = format!("HEAD~1 is the set {REV_A}");
    assert!(ran.stderr.contains(&part), "{}", ran.stderr);
    assert!(world.read(A).contains(world.digest("review", REV_A)));

    // The branch moves between the commit and the push.
    for target in ["HEAD~1", "previous", "#7"] {
        let world = promoted_twice();
        rival(&world, 1);
        let ran = to(&world, target, &PUSH).exits(0);
        assert!(ran.stderr.contains("planning again"), "{}", ran.stderr);
        assert!(world.read(A).contains(world.digest("review", REV_A)));
        assert_eq!(remote(&world), world.head());
    }
}

#[test]
fn two_concurrent_rollbacks_go_back_once() {
    let back = "git checkout -q HEAD~1 -- .github";
    let subject = format!("rollback: test images @{REV_A}");
    let part = "another process changed the current set on origin/main, which `previous` depends on; \
                current is aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa (rollback, commit ";
    // The other rollback is pushed between the commit and the push.
    let world = promoted_twice();
    rival_with(&world, 1, back, &subject);
    let ran = to(&world, "previous", &PUSH).exits(5);
    for part in [part, "the work tree was updated to origin/main"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    assert!(
        !ran.stderr.contains("nothing was changed"),
        "{}",
        ran.stderr
    );
    let subjects = world.git(&["log", "-2", "--format=%s"]);
    assert_eq!(
        subjects,
        format!("{subject}\npromote: test images @{REV_B} (#8)")
    );
    assert_eq!(remote(&world), world.head());
    assert_eq!(world.git(&["status", "--porcelain"]), "");

    // It is pushed before the run.
    let world = promoted_twice();
    rival(&world, 0);
    world.git(&["-C", "rival", "checkout", "-q", "HEAD~1", "--", ".github"]);
    rival_pushes(&world);
    let ran = to(&world, "previous", &PUSH).exits(5);
    assert!(ran.stderr.contains(part), "{}", ran.stderr);
    // It is known to the next run.
    let ran = to(&world, "previous", &PUSH).exits(2);
    let part = "no set before the current one on origin/main";
    assert!(ran.stderr.contains(part), "{}", ran.stderr);

    // A promotion that the clone lacks may be the reason for the rollback.
    let world = promoted_twice();
    world.git(&["reset", "-q", "--hard", "HEAD~1"]);
    to(&world, "previous", &PUSH).exits(0);
    assert!(world.read(A).contains(world.digest("review", REV_A)));
    assert_eq!(world.git(&["rev-list", "--count", "HEAD"]), "4");
}

#[test]
fn update_of_the_work_tree_is_reported() {
    let world = promoted_twice();
    rival(&world, 0);
    rival_pushes(&world);
    // Nothing is updated during an unfinished operation.
    world.git(&["bisect", "start"]);
    let head = world.head();
    let ran = to(&world, REV_A, &PUSH).exits(5);
    assert!(
        ran.stderr.contains("unfinished operation"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
    assert_eq!(world.head(), head);
    world.git(&["bisect", "reset"]);

    // A check fails after the update.
    world.layout("review").untag(REV_A);
    let ran = to(&world, REV_A, &PUSH).exits(1);
    let end = "the work tree was updated to origin/main; nothing else was changed";
    assert!(ran.stderr.contains(end), "{}", ran.stderr);
    assert_eq!(remote(&world), world.head());
}

#[test]
fn rebuilt_revision_is_not_the_selected_set() {
    let mut world = promoted_twice();
    let rebuilt = Platform::new("linux/amd64", REV_A).label("dev.acme.version", "1.a.2");
    world.rebuild_whole("review", REV_A, rebuilt);
    world.pin(REV_A);
    world.commit(&format!("promote: test images @{REV_A} (#9)"));
    world.promoted(REV_C);
    for target in ["HEAD~3", "#7"] {
        let ran = to(&world, target, &APPLY).exits(2);
        let part = format!("recorded other images for the revision {REV_A}");
        assert!(ran.stderr.contains(&part), "{}", ran.stderr);
    }
    to(&world, "#9", &APPLY).exits(0);
    assert!(world.read(A).contains(world.digest("review", REV_A)));
}

#[test]
fn unpushed_commit_is_reported_in_every_volume_and_format() {
    let world = promoted_twice();
    for (target, options) in [
        (REV_A, &["--quiet"][..]),
        (REV_B, &["--format", "json"]),
        (REV_A, &["--format", "github", "--quiet"]),
    ] {
        let ran = to(&world, target, &[&APPLY[..], options].concat()).exits(0);
        let last = ran.stderr.trim_end().lines().last().unwrap_or_default();
        let line = ", but not pushed; publish the commit with: git push";
        assert!(last.contains(line), "{options:?}: {}", ran.stderr);
        world.push();
    }
}

/// The work tree and the forge have other sets.
#[test]
fn head_on_the_forge_decides_which_set_is_previous() {
    for kind in FORGES {
        let (mut world, fake) = hosted(kind, "");
        world.build(REV_C);
        for revision in [REV_B, REV_C] {
            world.pin(revision);
            publish(&world, &fake, &format!("promote: test images @{revision}"));
        }
        world.pin(REV_A);
        let args = ["rollback", "--to", "previous", "--pr", "ready"];
        let rolled_back = document(&world, &args, 0);
        assert_eq!(rolled_back["revision"], REV_B, "{rolled_back}");
        let state = &rolled_back["pull_request"]["state"];
        assert_eq!(state, "created", "{rolled_back}");
        let pull = fake.store().pulls[0].head.clone();
        let text = fake.store().content(&pull, A);
        assert!(text.contains(world.digest("review", REV_B)), "{text}");
    }
}

#[test]
fn refused_push_leaves_a_commit_that_status_names() {
    let world = promoted_twice();
    hook(
        &world,
        "origin.git/hooks/pre-receive",
        "echo protected >&2; exit 1",
    );
    let before = remote(&world);
    let ran = to(&world, REV_A, &[&PUSH[..], &["--quiet"]].concat());
    assert_ne!(ran.code, 0, "{}", ran.stderr);
    let commit = world.git(&["rev-parse", "--short=10", "HEAD"]);
    let last = ran.stderr.trim_end().lines().last().unwrap();
    let line = format!("as {commit}, but not pushed: the branch does not accept this push: ");
    assert!(last.contains(&line), "{last}");
    assert!(!last.contains("git push"), "{last}");
    assert_eq!(remote(&world), before);
    let status = world.run(&["status"]).exits(0);
    let shown = status
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for part in [
        format!("commit {commit} (rollback aaaaaaaaaaaa) is not on origin/main: push it"),
        format!("the set of HEAD is not pushed: commit {commit} (rollback)"),
    ] {
        assert!(shown.contains(&part), "{}", status.stdout);
    }

    // The next run does not push the commit with another one.
    fs::remove_file(world.path("origin.git/hooks/pre-receive")).unwrap();
    let ran = to(&world, REV_A, &PUSH).exits(1);
    for part in [
        "HEAD has other commits that are not on origin/main",
        "publish these commits (`git push`), or set them aside (`git branch NAME && git reset --keep origin/main`)",
    ] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    assert_eq!(remote(&world), before);
    // Without a branch, git push needs a destination.
    world.git(&["checkout", "-q", "--detach"]);
    let ran = to(&world, REV_A, &PUSH).exits(1);
    let part = "publish these commits (`git push origin HEAD:main`)";
    assert!(ran.stderr.contains(part), "{}", ran.stderr);
}

#[test]
fn push_to_another_repository_is_no_success() {
    for setting in ["remote.origin.pushurl", "url.../fork.git.pushInsteadOf"] {
        let world = promoted_twice();
        world.git(&["clone", "-q", "--bare", "origin.git", "fork.git"]);
        world.write(".git/info/exclude", "/fork.git\n");
        let fork = world.path("fork.git").display().to_string();
        let origin = world.git(&["remote", "get-url", "origin"]);
        let args = match setting {
            "remote.origin.pushurl" => [setting.to_owned(), fork],
            _ => [format!("url.{fork}.pushInsteadOf"), origin],
        };
        world.git(&["config", &args[0], &args[1]]);
        let before = remote(&world);
        let ran = to(&world, REV_A, &PUSH).exits(3);
        let part = "sent to the remote's URL for pushes, but the branch at its other URL does not contain it";
        assert!(ran.stderr.contains(part), "{setting}: {}", ran.stderr);
        assert_eq!(remote(&world), before);
        assert_eq!(world.git(&["rev-parse", "origin/main"]), before);
        // Two URLs of one repository.
        let world = promoted_twice();
        let origin = world.path("origin.git");
        let url = format!("file://{}", origin.display());
        world.git(&["config", "remote.origin.pushurl", &url]);
        let ran = to(&world, REV_A, &PUSH).exits(0);
        assert!(
            ran.stderr.contains("and pushed to origin/main"),
            "{}",
            ran.stderr
        );
        assert_ne!(remote(&world), before);
    }
}

#[test]
fn commands_of_git_are_for_images_that_cannot_be_read() {
    let world = promoted_twice();
    let hook = world.path(".git/hooks/pre-commit");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\necho refused >&2\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let ran = to(&world, "previous", &["--apply", "--commit"]).exits(3);
    assert!(ran.stderr.contains("refused"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("git returns"), "{}", ran.stderr);
}

#[test]
fn push_from_another_branch_is_refused() {
    let world = promoted_twice();
    world.git(&["checkout", "-q", "-b", "side"]);
    let ran = to(&world, REV_A, &PUSH).exits(1);
    let part = "--push publishes to origin/main, but the branch side is checked out";
    assert!(ran.stderr.contains(part), "{}", ran.stderr);
    // A job has a detached HEAD.
    world.git(&["checkout", "-q", "--detach"]);
    to(&world, REV_A, &PUSH).exits(0);
    assert_eq!(remote(&world), world.head());

    // Changes of files that the branch changed as well stay.
    let world = promoted_twice();
    rival(&world, 0);
    world.git(&["-C", "rival", "config", "user.name", "R"]);
    world.write("rival/.github/workflows/none.yml", "on: pull_request\n");
    world.git(&["-C", "rival", "commit", "-q", "-a", "-m", "other"]);
    world.git(&["-C", "rival", "push", "-q", "origin", "main"]);
    world.write(".github/workflows/none.yml", "on: [push, release]\n");
    let ran = to(&world, REV_A, &PUSH).exits(1);
    for part in [
        "cannot update the work tree to origin/main",
        "would be overwritten by merge: .github/workflows/none.yml",
    ] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    assert_eq!(
        world.read(".github/workflows/none.yml"),
        "on: [push, release]\n"
    );
}

#[test]
fn update_of_the_work_tree_keeps_ignored_files() {
    let world = promoted_twice();
    rival(&world, 0);
    world.write(".git/info/exclude", "/rival\n/local.txt\n");
    world.write("local.txt", "mine\n");
    world.write("rival/local.txt", "theirs\n");
    rival_pushes(&world);
    let head = world.head();
    let ran = to(&world, REV_A, &PUSH).exits(1);
    for part in [
        "cannot update the work tree to origin/main",
        "would be overwritten by merge: local.txt",
    ] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    assert_eq!(world.read("local.txt"), "mine\n");
    assert_eq!(world.head(), head);
}

#[test]
fn work_tree_update_ignores_hooks_and_options() {
    let world = promoted_twice();
    rival(&world, 0);
    world.write("rival/other.txt", "theirs\n");
    rival_pushes(&world);
    world.git(&["config", "branch.main.mergeOptions", "--squash"]);
    hook(&world, ".git/hooks/post-merge", "touch .git/hooked");
    to(&world, REV_A, &PUSH).exits(0);
    assert_eq!(remote(&world), world.head());
    assert_eq!(world.git(&["status", "--porcelain", "-uno"]), "");
    assert!(!world.path(".git/hooked").exists());
}

#[test]
fn unavailable_registry_answers_with_commands_of_git() {
    let world = promoted_twice();
    world.replace(
        "repin.yaml",
        "sources: { ghcr.io/acme: oci:images }",
        "sources: { ghcr.io/acme: 'http://127.0.0.1:9' }",
    );
    world.commit("another source");
    world.push();
    let ran = world.run_with(&["rollback", "--to", "previous", "--quiet"], &[]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    for part in [
        "without a check of the images, git returns to the set ",
        "Not checked: that the images still exist",
    ] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    let (_, commands) = ran.stderr.split_once("signatures and contents:\n").unwrap();
    // A commit of files that could not be restored would claim the set.
    assert_eq!(commands.matches(" &&\n").count(), 1, "{commands}");
    let script = commands.replace("then publish the commit with: ", "");
    let shell = world
        .other_command("sh")
        .args(["-ec", &script])
        .output()
        .unwrap();
    assert!(shell.status.success(), "{script}");
    assert!(world.read(A).contains(world.digest("review", REV_A)));
    assert_eq!(remote(&world), world.head());
}

#[test]
fn commands_of_git_keep_uncommitted_changes() {
    let world = promoted_twice();
    world.replace(
        "repin.yaml",
        "sources: { ghcr.io/acme: oci:images }",
        "sources: { ghcr.io/acme: 'http://127.0.0.1:9' }",
    );
    world.commit("another source");
    world.push();
    // git merges changes that are not next to each other.
    world.write(A, format!("# mine\n{}", world.read(A)));
    let ran = world.run_with(&["rollback", "--to", "previous"], &[]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let (_, commands) = ran.stderr.split_once("signatures and contents:\n").unwrap();
    let (script, pop) = commands.split_once("\nthe first command stashes").unwrap();
    let script = script.replace("then publish the commit with: ", "");
    let run = |script: &str| {
        let shell = world.other_command("sh").args(["-ec", script]).output();
        assert!(shell.unwrap().status.success(), "{script}");
    };
    run(&script);
    assert!(world.read(A).contains(world.digest("review", REV_A)));
    assert!(!world.read(A).contains("# mine"));
    assert_eq!(remote(&world), world.head());
    let (_, pop) = pop.split_once("restore them with: ").unwrap();
    run(pop);
    assert!(world.read(A).contains("# mine"));
    assert!(world.read(A).contains(world.digest("review", REV_A)));
}

#[test]
fn push_without_a_remote_prints_no_table() {
    let world = promoted_twice();
    world.git(&["remote", "remove", "origin"]);
    let ran = to(&world, "previous", &PUSH);
    assert_ne!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

#[test]
fn messages_show_local_times() {
    let world = promoted_twice();
    let zone = [("TZ", "CET-1")];
    let ran = world
        .run_with(&["rollback", "--to", "previous"], &zone)
        .exits(0);
    assert!(ran.stderr.contains("+01:00 ("), "{}", ran.stderr);
    let ran = world
        .run_with(&["rollback", "--to", "deadbeef"], &zone)
        .exits(2);
    assert!(ran.stderr.contains("+01:00, "), "{}", ran.stderr);
    assert!(!ran.stderr.contains("Z, "), "{}", ran.stderr);
    let args = ["rollback", "--to", "deadbeef", "--format", "json"];
    let ran = world.run_with(&args, &zone).exits(2);
    assert!(!ran.stdout.contains("+01:00"), "{}", ran.stdout);
}

#[test]
fn history_shows_local_times_and_authors() {
    let world = promoted_twice();
    let zone = [("TZ", "CET-1")];
    let ran = world.run_with(&["history"], &zone).exits(0);
    let row = ran.stdout.lines().nth(1).unwrap();
    assert!(row.ends_with("  2026-01-02 04:04+01:00  A"), "{row}");
    assert!(ran.stdout.lines().all(|line| line.len() <= 80));
    let ran = world.run_with(&["history", "-v"], &zone).exits(0);
    assert!(
        ran.stdout.contains("  2026-01-02 04:04+01:00  A  "),
        "{}",
        ran.stdout
    );
    let ran = world.run_with(&["status"], &zone).exits(0);
    assert!(
        ran.stdout.contains("2026-01-02 04:04+01:00 ("),
        "{}",
        ran.stdout
    );
    let ran = world.run_with(&["history", "--all"], &zone).exits(0);
    assert!(
        ran.stdout.contains("* 2026-01-02 04:04+01:00 A"),
        "{}",
        ran.stdout
    );
    // Documents keep the date of the commit.
    let ran = world
        .run_with(&["history", "--format", "json"], &zone)
        .exits(0);
    assert_eq!(ran.json()["entries"][0]["date"], "2026-01-02T03:04:05Z");
}

#[test]
fn words_of_the_output_are_explained() {
    let world = World::empty();
    for word in [
        "held",
        "superseded",
        "available",
        "stage",
        "set",
        "pin",
        "Held",
    ] {
        let page = world.run(&["explain", word]).exits(0).stdout;
        let title = format!("{} (word)\n", word.to_lowercase());
        assert!(page.starts_with(&title), "{page}");
        assert!(page.lines().all(|line| line.len() <= 80), "{page}");
    }
    let ran = world.run(&["explain", "held", "--format", "json"]).exits(0);
    let document = ran.json();
    assert_eq!(document["word"], "held");
    assert_eq!(
        (&document["code"], &document["kind"]),
        (&Value::Null, &json!("word"))
    );
    let ran = world.run(&["explain", "heldd"]).exits(2);
    assert!(
        ran.stderr.contains("did you mean `held`?"),
        "{}",
        ran.stderr
    );
}

#[test]
fn commands_of_other_tools_name_the_command() {
    let world = World::empty();
    for (word, command) in [
        ("undo", "the command is `repin rollback --to previous`"),
        ("log", "the command is `repin history`"),
        ("verify", "the command is `repin check --remote`"),
        ("version", "the command is `repin --version`"),
        ("update", "the command is `repin promote --revision newest`"),
        ("pin", "`repin init --pin`"),
    ] {
        let ran = world.run(&[word]).exits(2);
        assert!(ran.stderr.contains(command), "{}", ran.stderr);
        assert!(!ran.stderr.contains("similar"), "{}", ran.stderr);
        let ran = world.run(&[word, "--format", "json"]).exits(2);
        let hint = ran.json()["errors"][0]["hint"].as_str().unwrap().to_owned();
        assert!(hint.contains(command), "{hint}");
    }
}

#[test]
fn program_without_arguments_prints_the_groups() {
    let world = World::empty();
    let ran = world.run(&[]).exits(2);
    assert_eq!(ran.stdout, "");
    for part in [
        "Usage: repin ",
        "\nEvery day:\n",
        "\nIn CI:\n",
        "\nSetting up:\n",
        "  rollback ",
    ] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("Exit codes:"), "{}", ran.stderr);
    assert!(
        ran.stderr.lines().all(|line| line.len() <= 80),
        "{}",
        ran.stderr
    );
}

#[test]
fn doctor_without_a_configuration_has_one_line_about_it() {
    let world = World::empty();
    world.git(&["init", "-q"]);
    let ran = world.run(&["doctor"]).exits(2);
    assert_eq!(
        ran.stdout.matches("configuration").count(),
        1,
        "{}",
        ran.stdout
    );
    let lines = [
        "fail  configuration",
        "repository",
        "remote",
        "lock",
        "journal",
        "engine",
        "clock",
    ];
    for line in lines {
        assert!(ran.stdout.contains(line), "{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("requires a valid configuration"));
    let all = world.run(&["doctor", "--all"]).exits(2);
    for line in lines {
        assert!(all.stdout.contains(line), "{}", all.stdout);
    }
    let verbose = world.run(&["doctor", "-v"]).exits(2);
    assert!(verbose.stdout.contains("requires a valid configuration"));
}

#[test]
fn doctor_checks_every_set() {
    let world = promoted_twice();
    world.write("broken/repin.yaml", "version: 1\n");
    world.write(
        "other/repin.yaml",
        world
            .read("repin.yaml")
            .replace(".github/workflows/*.yml", "x/*.yml"),
    );
    world.write("other/x/y.yml", "");
    world.git(&["add", "."]);
    let ran = world.run(&["doctor", "--all"]).exits(2);
    let rows: Vec<_> = ran
        .stdout
        .lines()
        .filter(|line| line.contains(" failed, "))
        .collect();
    assert_eq!(rows.len(), 2, "{}", ran.stdout);
    assert!(ran.stderr.contains("broken/repin.yaml"), "{}", ran.stderr);
    assert!(
        ran.stdout.starts_with("other/repin.yaml:\n"),
        "{}",
        ran.stdout
    );
    let document = world
        .run(&["doctor", "--all", "--format", "json"])
        .exits(2)
        .json();
    assert_eq!(document["schema"], "repin.sets/1");
    let schemas: Vec<_> = document["sets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|set| &set["document"]["schema"])
        .collect();
    assert_eq!(
        schemas,
        ["repin.error/1", "repin.doctor/1", "repin.doctor/1"]
    );
}
