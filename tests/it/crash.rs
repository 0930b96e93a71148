//! The program itself, killed or hindered while it promotes: `repin recover` finds all old or all
//! new.
//!
//! Each call of the module is swept in `src/core/apply/tests/crashes.rs`; here the whole program is, from its
//! first look at the lock on.

use serde_json::json;

use crate::support::{
    strace::{self, Point},
    sweep::sample,
    world::{REV_A, REV_B, World, world},
};

const APPLY: [&str; 4] = ["promote", "--revision", REV_B, "--apply"];
/// The calls that change the disk, and the lock; opening and writing are swept in
/// `src/core/apply/tests/crashes.rs`, where only one thread works.
const CHANGES: &str = "fsync,renameat2,renameat,linkat,unlinkat,mkdirat,fchmod,flock";

/// Which set the files hold, whole.
fn set_in_place(world: &World) -> &'static str {
    let text = world.read(".github/workflows/a.yml") + &world.read(".github/workflows/b.yml");
    let holds = |revision| {
        ["review", "fix"]
            .iter()
            .map(|image| text.matches(world.digest(image, revision)).count())
            .sum::<usize>()
    };
    // `fix-extra` has the digest of `fix` at A for good.
    match (holds(REV_A), holds(REV_B)) {
        (6, 0) => REV_A,
        (1, 5) => REV_B,
        mixture => panic!("a mixture: {mixture:?}\n{text}"),
    }
}

fn leftovers(world: &World) -> Vec<String> {
    let names = world
        .snapshot()
        .into_keys()
        .map(|path| path.display().to_string());
    names
        .filter(|name| name.contains("/.repin-") || name.ends_with("journal"))
        .collect()
}

/// Every place of a clean run at which something in the repository is touched.
fn points() -> Vec<Point> {
    let world = world();
    let directory = strace::canonical(world.root());
    let trace = strace::trace(&world.command(&APPLY), CHANGES, &[]);
    assert!(trace.output.status.success());
    let points = trace.points(&directory);
    assert!(points.len() > 15, "{points:?}");
    points
}

#[test]
fn recover_after_a_kill_finds_one_set() {
    let mut seen = [0, 0];
    for point in sample(points(), 12) {
        let world = world();
        strace::inject(&world.command(&APPLY), &[point.inject("signal=KILL")]);
        let recovered = world.run(&["recover", "--format", "json"]).exits(0).json();
        assert_eq!(recovered["schema"], "repin.recover/1");
        let set = set_in_place(&world);
        seen[usize::from(set == REV_B)] += 1;
        assert_eq!(leftovers(&world), [] as [&str; 0], "{point:?}");
        assert_eq!(
            world.run(&["recover", "--format", "json"]).exits(0).json()["state"],
            "nothing",
            "{point:?}"
        );
        world.run(&APPLY).exits(0);
        assert_eq!(set_in_place(&world), REV_B, "{point:?}");
    }
    assert!(
        seen[0] > 0 && seen[1] > 0,
        "the sweep has to reach both sides: {seen:?}"
    );
}

/// A world with a run that was killed between two exchanges of files.
fn interrupted() -> World {
    let renames: Vec<_> = points()
        .into_iter()
        .filter(|point| point.name == "renameat2")
        .collect();
    let world = world();
    strace::inject(&world.command(&APPLY), &[renames[1].inject("signal=KILL")]);
    world
}

#[test]
fn interrupted_apply_is_recovered_before_the_next() {
    let world = interrupted();
    for args in [&["scan"][..], &["promote", "--revision", REV_B]] {
        let ran = world.run(args).exits(0);
        assert!(ran.stderr.contains("repin recover"), "{}", ran.stderr);
    }
    let before = world.snapshot();
    let forbids = [("REPIN_DRY_RUN", "true")];
    for (args, env) in [
        (&["--dry-run", "true"][..], &[][..]),
        (&["--discard", "--dry-run", "true"], &[]),
        (&[], &forbids),
        (&["--discard"], &forbids),
        (&["--discard", "--dry-run", "false"], &forbids),
    ] {
        let args = [&["recover", "--format", "json"], args].concat();
        let foreseen = world.run_with(&args, env).exits(0).json();
        assert_eq!(foreseen["state"], "forward", "{args:?} {env:?}");
        assert_eq!(before, world.snapshot(), "{args:?} {env:?}");
    }
    let ran = world.run(&APPLY).exits(0);
    assert!(
        ran.stderr.contains(&format!(
            "warning: an interrupted run of repin.yaml at revision {REV_B} was finished"
        )),
        "{}",
        ran.stderr
    );
    assert_eq!(set_in_place(&world), REV_B);
}

#[test]
fn refused_run_reports_that_it_finished_another() {
    let world = interrupted();
    let ran = world.run(&["promote", "--revision", &"d".repeat(40), "--apply"]);
    let part = "the files of an interrupted run were changed; nothing else was changed";
    let ran = ran.exits(1);
    let printed = format!("{}{}", ran.stdout, ran.stderr);
    assert!(printed.contains(part), "{printed}");
}

#[test]
fn edit_during_an_interruption_is_kept() {
    let world = interrupted();
    world.write(".github/workflows/b.yml", "edited\n");
    for args in [&APPLY[..], &["recover"]] {
        let ran = world.run(&[args, &["--format", "json"]].concat()).exits(5);
        assert!(
            ran.stdout.contains(".github/workflows/b.yml"),
            "{}",
            ran.stdout
        );
        assert_eq!(world.read(".github/workflows/b.yml"), "edited\n");
    }
    let document = world
        .run(&["recover", "--discard", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(document["state"], "discarded");
    assert_eq!(world.read(".github/workflows/b.yml"), "edited\n");
    assert_eq!(
        world.run(&["recover", "--format", "json"]).exits(0).json()["state"],
        "nothing"
    );
}

#[test]
fn refused_write_keeps_the_old_contents() {
    for (name, error) in [
        ("fsync", "EIO"),
        ("mkdirat", "EROFS"),
        ("mkdirat", "EACCES"),
        ("renameat2", "EXDEV"),
        ("fsync", "ENOSPC"),
    ] {
        let touched: Vec<_> = points()
            .into_iter()
            .filter(|point| point.name == name)
            .collect();
        let last = touched.len() - 1;
        for point in [&touched[0], &touched[last / 2]] {
            let world = world();
            let output = strace::inject(
                &world.command(&[&APPLY[..], &["--format", "json"]].concat()),
                &[point.inject(&format!("error={error}"))],
            );
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.code() == Some(0) {
                // A preparation or a second check may fail without harm.
                assert_eq!(set_in_place(&world), REV_B, "{point:?}: {printed}");
                continue;
            }
            assert_eq!(output.status.code(), Some(3), "{point:?}: {printed}");
            world.run(&["recover"]).exits(0);
            assert_eq!(set_in_place(&world), REV_A, "{point:?}: {printed}");
            assert_eq!(leftovers(&world), [] as [&str; 0], "{point:?}");
        }
    }
}

#[test]
fn second_concurrent_run_is_refused() {
    let world = world();
    let lock = points()
        .into_iter()
        .find(|point| point.name == "flock")
        .unwrap();
    let first = strace::stop_after(&world.command(&APPLY), &lock, &[]);
    let second = world
        .run(&[&APPLY[..], &["--format", "json"]].concat())
        .exits(5)
        .json();
    assert_eq!(
        (&second["schema"], &second["error"]["code"]),
        (&json!("repin.plan/1"), &json!("locked"))
    );
    world.run(&["recover"]).exits(5);
    world.run(&["promote", "--revision", REV_B]).exits(0);
    assert!(first.go_on().output.status.success());
    assert_eq!(set_in_place(&world), REV_B);
}
