//! Holds belong to digests: under whatever name, in whatever set, and until somebody promotes them on purpose.

use std::fs;

use serde_json::Value;

use crate::support::world::{REV_A, REV_B, REV_C, Ran, World, details, failed, git, world};

const CODE: &str = "rolled_back";
const OVERRIDE: &str = "Repin-Override: rolled_back";

/// C is built.
fn built() -> World {
    let mut world = world();
    world.build(REV_C);
    world.with_git()
}

/// A and B were promoted, and B was rolled back by a recorded commit; C is built.
fn rolled_back() -> World {
    let world = built();
    world.git(&["config", "user.name", "Operator"]);
    world.git(&["config", "user.email", "operator@acme.example"]);
    world.promoted(REV_A);
    world.promoted(REV_B);
    world.roll_back(REV_A);
    world
}

fn title(operation: &str, revision: &str) -> String {
    format!("{operation}: test images @{revision}")
}

/// The result of a promotion: its exit code and the statuses of the hold.
fn promote(world: &World, revision: &str, args: &[&str]) -> (i32, Vec<String>, Vec<String>) {
    let command = ["promote", "--revision", revision, "--format", "json"];
    let ran = world.run(&[&command[..], args].concat());
    let document = ran.json();
    let details = |status| details(&document, CODE, status);
    (ran.code, details("fail"), details("warn"))
}

fn is_refused(world: &World, revision: &str, args: &[&str]) -> bool {
    let (code, failed, _) = promote(world, revision, args);
    (code, failed.len()) == (1, 1)
}

fn passes(world: &World, revision: &str, args: &[&str]) {
    let (code, failed, warned) = promote(world, revision, args);
    assert_eq!((code, failed.len()), (0, 0), "{warned:?}");
}

#[test]
fn status_reports_a_held_current_set() {
    let world = rolled_back();
    let problem = "the current set is held";
    let status = world.run(&["status"]).exits(0);
    assert!(!status.stdout.contains(problem), "{}", status.stdout);
    // An image that goes back alone leaves a set that is not held.
    let whole = world.git(&["rev-parse", "HEAD"]);
    world.git(&["reset", "-q", "--hard", "HEAD~1"]);
    let [newer, older] = [REV_B, REV_A].map(|revision| world.digest("fix", revision));
    world.replace(".github/workflows/b.yml", newer, older);
    world.commit("images: fix is back");
    world.push();
    let status = world.run(&["status"]).exits(0);
    let held = format!("held          {}, ", &REV_B[..12]);
    assert!(status.stdout.contains(&held), "{}", status.stdout);
    assert!(!status.stdout.contains(problem), "{}", status.stdout);
    world.git(&["reset", "-q", "--hard", &whole]);
    world.git(&["revert", "--no-edit", "HEAD"]);
    world.push();
    let status = world.run(&["status"]).exits(0);
    let conclusion = status.stdout.lines().last().unwrap();
    assert!(conclusion.starts_with("not OK: "), "{conclusion}");
    assert!(conclusion.contains(problem), "{conclusion}");
}

#[test]
fn hold_survives_another_registry() {
    let world = rolled_back();
    for file in [
        "repin.yaml",
        ".github/workflows/a.yml",
        ".github/workflows/b.yml",
    ] {
        world.replace(file, "ghcr.io/acme", "quay.io/acme");
    }
    world.commit("move to another registry");
    world.push();
    assert!(is_refused(&world, REV_B, &[]));
    passes(&world, REV_C, &[]);
    // The former sets are available for rollback, since their digests exist under the new name.
    let entries = world.run(&["history", "--format", "json"]).exits(0).json();
    let revisions: Vec<_> = entries["entries"].as_array().unwrap().iter().collect();
    assert_eq!(revisions[1]["revision"], REV_B, "{entries}");
    assert_eq!(revisions[1]["can_roll_back"], true, "{entries}");
    let former = &revisions[1]["former_repositories"];
    assert_eq!(former["fix"], "ghcr.io/acme/fix", "{entries}");
    let listed = world.run(&["history"]).exits(0);
    let note = "(ghcr.io/acme/fix, ghcr.io/acme/review)";
    assert!(listed.stderr.contains(note), "{}", listed.stderr);
    let ran = world.run(&["rollback", "--to", REV_B, "--format", "json"]);
    assert_eq!(details(&ran.exits(0).json(), CODE, "warn").len(), 1);
}

#[test]
fn hold_survives_a_configuration_moved_in_two_commits() {
    let config = ["--config", "repin.live.yaml"];
    for steps in [["copy", "delete"], ["delete", "copy"]] {
        let world = rolled_back();
        let text = world.read("repin.yaml");
        for step in steps {
            if step == "copy" {
                world.write("repin.live.yaml", &text);
            } else {
                fs::remove_file(world.path("repin.yaml")).unwrap();
            }
            world.commit(step);
        }
        world.push();
        assert!(is_refused(&world, REV_B, &config), "{steps:?}");
        passes(&world, REV_C, &config);
        let forced = [&config[..], &["--force-after-rollback"]].concat();
        passes(&world, REV_B, &forced);
    }
}

/// Adds a set `tools` with the image `fix`, pinned at A.
fn add_tools(world: &World) {
    let config = "version: 1\nname: tools\nfiles: [app.yml]\nimages:\n  fix: { repository: ghcr.io/acme/fix, pins: 1 }\n";
    world.write("tools/repin.yaml", config);
    let digest = world.digest("fix", REV_A);
    world.write(
        "tools/app.yml",
        format!("image: ghcr.io/acme/fix@{digest}\n"),
    );
}

fn promote_tools(world: &World) -> Ran {
    let sources = format!("ghcr.io/acme=oci:{}", world.path("images").display());
    let command = [
        "promote",
        "--revision",
        REV_B,
        "--config",
        "tools/repin.yaml",
    ];
    let args = [&command[..], &["--format", "json"]].concat();
    world.run_with(&args, &[("REPIN_SOURCES", &sources)])
}

#[test]
fn other_set_is_warned_until_the_image_is_gone() {
    let world = rolled_back();
    add_tools(&world);
    world.commit("another set");
    world.push();
    let document = promote_tools(&world).exits(0).json();
    let warned = details(&document, CODE, "warn");
    assert!(
        warned[0].contains("in the set repin.yaml by commit"),
        "{warned:?}"
    );
    // The image moves to that set.
    world.replace(
        "repin.yaml",
        "  fix: { repository: ghcr.io/acme/fix, pins: 2 }\n",
        "",
    );
    world.replace(
        ".github/workflows/b.yml",
        "ghcr.io/acme/fix@",
        "x.example/fix@",
    );
    world.commit("fix is in tools now");
    world.push();
    let document = promote_tools(&world).exits(1).json();
    assert_eq!(failed(&document), [CODE], "{document}");
}

#[test]
fn unknown_rollback_of_another_set_is_a_warning() {
    let world = rolled_back();
    add_tools(&world);
    world.commit("another set");
    world.push();
    let promote = ["promote", "--revision", REV_C];
    let expected =
        "warning: rollbacks of the set tools/repin.yaml may be unknown: cannot read commit";
    let tools = world.read("tools/repin.yaml");
    for (change, is_unknown) in [
        ("", false),
        // Another version may have these keys, and they concern no pins.
        ("report: { later: 1 }\nrehearse: { later: 1 }\n", false),
        ("later: 1\n", true),
        ("images: [\n", true),
    ] {
        world.write("tools/repin.yaml", format!("{tools}{change}"));
        world.commit("change the configuration");
        world.push();
        let ran = world.run(&promote).exits(0);
        assert_eq!(ran.stderr.contains(expected), is_unknown, "{}", ran.stderr);
    }
}

#[test]
fn forced_promotion_is_recorded_and_ends_the_hold() {
    let world = rolled_back();
    assert!(is_refused(&world, REV_B, &[]));
    let status = || world.run(&["status", "--format", "json"]).exits(0).json();
    assert_eq!(status()["holds"][0]["revision"], REV_B);
    // A newer set does not end the hold.
    world.promoted(REV_C);
    assert_eq!(status()["holds"][0]["revision"], REV_B);
    let older = ["--allow-older", "--apply", "--commit"];
    assert!(is_refused(&world, REV_B, &older));
    let forced = [&older[..], &["--force-after-rollback"]].concat();
    passes(&world, REV_B, &forced);
    let message = world.git(&["log", "-1", "--format=%B"]);
    assert!(message.ends_with(&format!("\n{OVERRIDE}")), "{message}");
    assert!(message.starts_with(&title("promote", REV_B)), "{message}");
    world.push();
    let document = status();
    assert_eq!(document["holds"].as_array().unwrap().len(), 0, "{document}");
    let table = world.run(&["history"]).exits(0).stdout;
    assert!(!table.contains('!'), "{table}");
    // A later rollback holds it again.
    world.roll_back(REV_A);
    assert_eq!(status()["holds"][0]["revision"], REV_C);
    assert!(is_refused(&world, REV_B, &[]));
}

#[test]
fn override_in_a_squash_merge_is_for_its_own_set() {
    let world = rolled_back();
    world.promoted(REV_C);
    let forced = format!(
        "* {}\n\nRepin-Set: {REV_B}\n{OVERRIDE}",
        title("promote", REV_B)
    );
    let back = format!("* {}\n\nRepin-Set: {REV_A}", title("rollback", REV_A));
    let held = || {
        let document = world.run(&["status", "--format", "json"]).exits(0).json();
        let holds = document["holds"].as_array().unwrap().iter();
        holds
            .map(|hold| hold["revision"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    world.pin(REV_A);
    world.commit(&format!("Back again (#9)\n\n{forced}\n\n{back}"));
    world.push();
    assert!(is_refused(&world, REV_C, &[]));
    assert_eq!(held(), [REV_C, REV_B]);
    // The last one is that of the pins.
    world.pin(REV_B);
    world.commit(&format!("Forward again (#10)\n\n{back}\n\n{forced}"));
    world.push();
    assert_eq!(held(), [REV_C]);
}

#[test]
fn promotion_without_a_hold_records_no_override() {
    let world = rolled_back();
    passes(
        &world,
        REV_C,
        &["--apply", "--commit", "--force-after-rollback"],
    );
    let message = world.git(&["log", "-1", "--format=%B"]);
    assert!(!message.contains("Repin-Override"), "{message}");
}

#[test]
fn merge_that_keeps_older_pins_is_a_rollback() {
    let world = built();
    world.promoted(REV_A);
    world.git(&["checkout", "-q", "-b", "old"]);
    world.write("notes.txt", "x");
    world.commit("notes");
    world.git(&["checkout", "-q", "main"]);
    world.promoted(REV_B);
    world.git(&["checkout", "-q", "old"]);
    world.git(&["merge", "-q", "--no-edit", "-s", "ours", "main"]);
    world.git(&["branch", "-q", "-M", "old", "main"]);
    world.push();
    assert!(is_refused(&world, REV_B, &[]));
    passes(&world, REV_C, &[]);
}

#[test]
fn correction_of_a_new_configuration_is_no_rollback() {
    let world = world();
    let text = world.read("repin.yaml");
    fs::remove_file(world.path("repin.yaml")).unwrap();
    let world = world.with_git();
    world.write("repin.yaml", text.replace("*.yml", "b.yml"));
    world.commit("adopt repin");
    world.write("repin.yaml", &text);
    world.commit(&format!("correct repin.yaml\n\nRepin-Set: {REV_A}"));
    world.push();
    passes(&world, REV_B, &[]);
    let entries = world.run(&["history", "--format", "json"]).exits(0).json();
    let current = &entries["entries"][0];
    assert_eq!(
        (&current["current"], &current["revision"]),
        (&true.into(), &REV_A.into())
    );
    assert_ne!(current["kind"], "rollback", "{entries}");
}

/// Makes the commits of a branch.
type Change<'c> = &'c dyn Fn(&World);

/// Runs `check --remote` on a branch whose commits are made by `change`.
fn check_head(world: &World, change: Change<'_>) -> (i32, Value) {
    world.git(&["checkout", "-q", "-B", "topic", "origin/main"]);
    change(world);
    let ran = world.run(&["check", "--remote", "--format", "json"]);
    (ran.code, ran.json())
}

fn pin_by_hand(world: &World, message: &str) {
    world.pin(REV_B);
    world.commit(message);
}

/// Checks that `check --remote` refuses such a branch; returns the document.
fn is_refused_head(world: &World, name: &str, change: Change<'_>) -> Value {
    let (code, document) = check_head(world, change);
    assert_eq!(
        (code, failed(&document)),
        (1, vec![CODE.to_owned()]),
        "{name} {document}"
    );
    document
}

#[test]
fn check_refuses_a_head_with_held_digests() {
    let world = rolled_back();
    let revert = |world: &World| drop(world.git(&["revert", "--no-edit", "HEAD"]));
    let by_hand = |world: &World| pin_by_hand(world, "by hand");
    let promotion = |world: &World| pin_by_hand(world, &title("promote", REV_B));
    let old_branch = |world: &World| {
        world.git(&["checkout", "-q", "-B", "old", "main~2"]);
        world.pin(REV_B);
        world.write("notes.txt", "x");
        world.commit(&format!("{}\n\n{OVERRIDE}", title("promote", REV_B)));
        world.git(&["checkout", "-q", "topic"]);
        world.git(&["merge", "-q", "-X", "theirs", "--no-edit", "old"]);
        world.pin(REV_B);
        world.git(&["commit", "-q", "--amend", "--no-edit", "-a"]);
    };
    // A trailer does not state the operation.
    let trailer =
        |world: &World| pin_by_hand(world, &format!("Deploy it (#30)\n\nRepin-Set: {REV_B}"));
    let other_title = |world: &World| {
        let rollback = title("rollback", REV_B);
        pin_by_hand(world, &format!("fixup! {rollback}\n\nRepin-Set: {REV_B}"));
    };
    let other_revision = |world: &World| {
        let rollback = title("rollback", REV_A);
        pin_by_hand(world, &format!("{rollback}\n\nRepin-Set: {REV_A}"));
    };
    let of_another_set = |world: &World| {
        let message = format!(
            "{}\n\nRepin-Set: {REV_B} (b/repin.yaml)",
            title("rollback", REV_B)
        );
        pin_by_hand(world, &message);
    };
    let forced_elsewhere = |world: &World| {
        let message = format!(
            "{}\n\nRepin-Set: {REV_B} (b/repin.yaml)\n{OVERRIDE}",
            title("promote", REV_B)
        );
        pin_by_hand(world, &message);
    };
    let cases: [(&str, Change<'_>); 9] = [
        ("other revision", &other_revision),
        ("rollback of another set", &of_another_set),
        ("override for another set", &forced_elsewhere),
        ("revert", &revert),
        ("by hand", &by_hand),
        ("promotion", &promotion),
        ("old branch", &old_branch),
        ("trailer", &trailer),
        ("another title", &other_title),
    ];
    for (name, change) in cases {
        is_refused_head(&world, name, change);
    }
    let ran = world.run(&["check", "--all", "--remote"]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    // The table shows the set that the files pin.
    assert!(ran.stdout.contains(&REV_B[..12]), "{}", ran.stdout);
}

#[test]
fn rollback_with_a_removed_configuration_counts() {
    for is_removed in [true, false] {
        let world = built();
        world.promoted(REV_A);
        world.promoted(REV_B);
        let text = world.read("repin.yaml");
        if is_removed {
            fs::remove_file(world.path("repin.yaml")).unwrap();
        } else {
            let image = "  fix: { repository: ghcr.io/acme/fix, pins: 2 }\n";
            world.replace("repin.yaml", image, "");
        }
        world.pin(REV_A);
        world.commit("remove");
        world.write("repin.yaml", text);
        world.commit("restore");
        world.push();
        assert!(is_refused(&world, REV_B, &[]), "{is_removed}");
        passes(&world, REV_C, &[]);
        is_refused_head(&world, "by hand", &|world| pin_by_hand(world, "by hand"));
    }
}

#[test]
fn change_after_an_unreadable_commit_is_refused() {
    for is_corrected in [true, false] {
        let world = built();
        world.promoted(REV_A);
        let text = world.read("repin.yaml");
        for revision in [REV_B, REV_A] {
            world.write("repin.yaml", format!("{text}unknown: true\n"));
            world.pin(revision);
            world.commit(&title("promote", revision));
        }
        if is_corrected {
            world.write("repin.yaml", &text);
            world.commit("correct it");
        }
        world.push();
        let correct = |world: &World| {
            world.write("repin.yaml", &text);
            world.commit("correct it");
        };
        // The pins do not change.
        assert_eq!(check_head(&world, &correct).0, 0);
        for revision in [REV_B, REV_C] {
            let document = is_refused_head(&world, revision, &|world| {
                correct(world);
                world.pin(revision);
                world.commit(&title("promote", revision));
            });
            let detail = &details(&document, CODE, "fail")[0];
            // The correction shows that the pins returned from B to A.
            let expected = if is_corrected && revision == REV_B {
                "was rolled back by"
            } else {
                "cannot read commit"
            };
            assert!(detail.contains(expected), "{detail}");
            let is_hidden = document
                .to_string()
                .contains("inspect the commit (git show ");
            assert_eq!(is_hidden, expected == "cannot read commit", "{document}");
        }
        let forced = format!(
            "{}\n\nRepin-Set: {REV_B}\n{OVERRIDE}",
            title("promote", REV_B)
        );
        let (code, document) = check_head(&world, &|world| {
            correct(world);
            pin_by_hand(world, &forced);
        });
        assert_eq!(code, 0, "{document}");
    }
}

#[test]
fn unreadable_current_set_hides_no_change() {
    let world = rolled_back();
    // No rename: most of its lines are new.
    let lines = "# another line\n".repeat(60);
    let text = world.read("repin.yaml").replace("test images", "live") + &lines;
    fs::remove_file(world.path("repin.yaml")).unwrap();
    world.write("repin.live.yaml", format!("{text}unknown: true\n"));
    world.commit("move and break it");
    world.push();
    for (is_pinned, exit) in [(false, 0), (true, 1)] {
        world.git(&["checkout", "-q", "-B", "topic", "origin/main"]);
        world.write("repin.live.yaml", &text);
        if is_pinned {
            world.pin(REV_B);
        }
        world.commit("correct it");
        let args = [
            "check",
            "--remote",
            "--format",
            "json",
            "--config",
            "repin.live.yaml",
        ];
        let document = world.run(&args).exits(exit).json();
        let failed = failed(&document);
        assert_eq!(
            failed.iter().any(|code| code == CODE),
            is_pinned,
            "{document}"
        );
    }
}

#[test]
fn change_of_the_branch_does_not_end_a_hold() {
    let world = rolled_back();
    world.git(&["push", "-q", "origin", "HEAD~1:refs/heads/old"]);
    world.git(&["fetch", "-q"]);
    let config = world.read("repin.yaml");
    let selects = |more: &str| {
        let text = format!("{config}{more}");
        move |world: &World| {
            world.write("repin.yaml", &text);
            pin_by_hand(world, "by hand");
        }
    };
    let history = selects("provenance: { branch: origin/old }\n");
    let base = selects("forge: { base: old }\n");
    let cases: [Change<'_>; 2] = [&history, &base];
    for change in cases {
        let (code, document) = check_head(&world, change);
        assert_eq!(
            (code, failed(&document)),
            (1, vec![CODE.to_owned()]),
            "{document}"
        );
    }
    // The branch that the configuration on the default branch selects counts, and no other one.
    world.git(&["checkout", "-q", "main"]);
    selects("provenance: { branch: origin/old }\n")(&world);
    world.push();
    let (code, document) = check_head(&world, &|_| {});
    assert_eq!(code, 0, "{document}");
    let (code, document) = check_head(&world, &|world| {
        world.write("repin.yaml", &config);
        world.commit("select the default branch");
    });
    assert_eq!(code, 0, "{document}");
}

#[test]
fn rollback_on_the_target_of_a_pull_request_counts() {
    let world = rolled_back();
    // Only the release branch has the rollback; no configuration selects a branch.
    world.git(&["push", "-q", "origin", "HEAD:refs/heads/release"]);
    world.git(&["push", "-q", "--force", "origin", "HEAD~1:refs/heads/main"]);
    world.git(&["fetch", "-q"]);
    world.git(&["checkout", "-q", "-B", "topic", "origin/release"]);
    pin_by_hand(&world, "by hand");
    let args = ["check", "--remote", "--format", "json"];
    for (target, exit) in [("release", 1), ("main", 0)] {
        let environment = [("GITHUB_BASE_REF", target)];
        let document = world.run_with(&args, &environment).exits(exit).json();
        let is_failed = failed(&document).contains(&CODE.to_owned());
        assert_eq!(is_failed, exit == 1, "{target} {document}");
    }
}

#[test]
fn branch_of_an_environment_has_its_own_holds() {
    let world = rolled_back();
    let config = world.read("repin.yaml") + "provenance: { branch: origin/production }\n";
    world.git(&["checkout", "-q", "-B", "production", "HEAD~2"]);
    world.write("repin.yaml", &config);
    world.commit("select production");
    world.git(&["push", "-q", "origin", "production"]);
    let check = || {
        let ran = world.run(&["check", "--remote", "--format", "json"]);
        (ran.code, ran.json())
    };
    world.git(&["checkout", "-q", "-B", "topic"]);
    pin_by_hand(&world, "by hand");
    let (code, document) = check();
    assert_eq!((code, failed(&document).len()), (0, 0), "{document}");
    // The known target of a pull request counts, whatever its configuration selects.
    for target in ["GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"] {
        let args = ["check", "--remote", "--format", "json"];
        let document = world.run_with(&args, &[(target, "main")]).exits(1).json();
        assert!(failed(&document).contains(&CODE.to_owned()), "{document}");
        world.run_with(&args, &[(target, "production")]).exits(0);
    }
    // A branch that does not select itself is that of the pull request.
    world.git(&[
        "push",
        "-q",
        "-f",
        "origin",
        "topic~2:refs/heads/production",
    ]);
    world.git(&["fetch", "-q", "--prune"]);
    let (code, document) = check();
    assert_eq!(
        (code, failed(&document)),
        (1, vec![CODE.to_owned()]),
        "{document}"
    );
}

#[test]
fn shallow_branch_of_a_pull_request_hides_no_hold() {
    let world = rolled_back();
    let config = world.read("repin.yaml") + "provenance: { branch: origin/old }\n";
    world.git(&["checkout", "-q", "-B", "old", "HEAD~1"]);
    world.write("notes.txt", "x");
    world.commit("a line of its own");
    world.git(&["push", "-q", "origin", "old"]);
    let origin = format!("file://{}", world.path("origin.git").display());
    world.git(&["clone", "-q", &origin, "clone"]);
    let clone = world.path("clone");
    let in_clone = |args: &[&str]| git(&clone, args);
    in_clone(&["fetch", "-q", "--depth=1", "origin", "old"]);
    std::os::unix::fs::symlink(world.path("images"), clone.join("images")).unwrap();
    fs::write(clone.join("repin.yaml"), config).unwrap();
    let pinned = |file: &str| {
        world.pin(REV_C);
        fs::write(clone.join(file), world.read(file)).unwrap();
    };
    pinned(".github/workflows/a.yml");
    pinned(".github/workflows/b.yml");
    in_clone(&["commit", "-q", "-a", "-m", "C"]);
    let check = ["check", "--remote"];
    let ran = world.run_in(&clone, &check, &[]).exits(3);
    assert!(ran.stderr.contains("shallow"), "{}", ran.stderr);
}

/// `git subtree add` brings in the history of another repository, whose files were not in a directory.
#[test]
fn hold_of_an_imported_set_belongs_to_no_set_of_its_path() {
    let imported = rolled_back();
    let world = built();
    let origin = imported.path("origin.git").display().to_string();
    world.git(&["fetch", "-q", &origin, "main"]);
    world.git(&[
        "merge",
        "-q",
        "-s",
        "ours",
        "--no-commit",
        "--allow-unrelated-histories",
        "FETCH_HEAD",
    ]);
    world.git(&["read-tree", "--prefix=apps/old/", "-u", "FETCH_HEAD"]);
    world.git(&["commit", "-q", "-m", "add apps/old"]);
    world.push();
    let config = ["--config", "apps/old/repin.yaml"];
    let sources = format!("ghcr.io/acme=oci:{}", world.path("images").display());
    let verdict = |revision| {
        let command = ["promote", "--revision", revision, "--format", "json"];
        let env = [("REPIN_SOURCES", &*sources)];
        let ran = world.run_with(&[&command[..], &config].concat(), &env);
        (ran.code, failed(&ran.json()))
    };
    assert_eq!(verdict(REV_B), (1, vec![CODE.to_owned()]));
    assert_eq!(verdict(REV_C), (0, Vec::new()));
}

#[test]
fn check_warns_of_a_return_on_purpose() {
    let world = rolled_back();
    let recorded = |world: &World| {
        pin_by_hand(
            world,
            &format!("{}\n\nRepin-Set: {REV_B}", title("rollback", REV_B)),
        );
    };
    let forced = |world: &World| {
        pin_by_hand(
            world,
            &format!(
                "{}\n\nRepin-Set: {REV_B}\n{OVERRIDE}",
                title("promote", REV_B)
            ),
        );
    };
    let nothing = |_: &World| {};
    let newer = |world: &World| {
        world.pin(REV_C);
        world.commit("newer");
    };
    let cases: [(Change<'_>, usize); 4] =
        [(&recorded, 1), (&forced, 1), (&nothing, 0), (&newer, 0)];
    for (change, warnings) in cases {
        let (code, document) = check_head(&world, change);
        assert_eq!(code, 0, "{document}");
        assert_eq!(
            details(&document, CODE, "warn").len(),
            warnings,
            "{document}"
        );
    }
    // The base pins the held digests already.
    world.git(&["checkout", "-q", "main"]);
    world.git(&["revert", "--no-edit", "HEAD"]);
    world.push();
    let (code, document) = check_head(&world, &nothing);
    assert_eq!(
        (code, details(&document, CODE, "warn").len()),
        (0, 1),
        "{document}"
    );
}

#[test]
fn shallow_check_cannot_pass_a_change() {
    let world = rolled_back();
    let url = format!("file://{}", world.path("origin.git").display());
    world.git(&["clone", "-q", "--depth", "1", &url, "clone"]);
    let clone = world.path("clone");
    std::os::unix::fs::symlink(world.path("images"), clone.join("images")).unwrap();
    let check = |exit| {
        let args = ["check", "--remote", "--format", "json"];
        world.run_in(&clone, &args, &[]).exits(exit).json()
    };
    check(0);
    for file in ["a.yml", "b.yml"] {
        let path = format!(".github/workflows/{file}");
        let text = world.read(&path);
        let text = ["review", "fix"].iter().fold(text, |text, image| {
            text.replace(world.digest(image, REV_A), world.digest(image, REV_C))
        });
        fs::write(clone.join(&path), text.replace(REV_A, REV_C)).unwrap();
    }
    let document = check(3);
    let error = document["errors"][0]["message"].to_string();
    assert!(error.contains("the clone is shallow"), "{document}");
}
