//! `repin rollback`, `repin history`, and order and hold in promote, on real git repositories.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    layout::{Platform, REVISION_LABEL},
    world::{REV_A, REV_B, REV_C, World, details, failed, world},
};

const TO_A: [&str; 3] = ["rollback", "--to", REV_A];

/// A was promoted, then B; both are on the remote's branch.
fn promoted_twice() -> World {
    let mut world = world();
    world.build(REV_C);
    world.pin(REV_C);
    let world = world.with_git();
    world.promoted(REV_A);
    world.promoted(REV_B);
    world
}

fn entries(world: &World) -> Vec<Value> {
    let document = world.run(&["history", "--format", "json"]).exits(0).json();
    assert_eq!(document["schema"], "repin.history/1");
    document["entries"].as_array().unwrap().clone()
}

#[test]
fn back_to_a_and_forward_to_b() {
    let world = promoted_twice();
    let document = world
        .run(&[&TO_A[..], &["--apply", "--format", "json"]].concat())
        .exits(0)
        .json();
    assert_eq!(
        (&document["kind"], &document["applied"]),
        (&json!("rollback"), &json!(true))
    );
    assert_eq!(document["title"], format!("rollback: test images @{REV_A}"));
    assert_eq!(document["branch"], format!("repin/rollback-{REV_A}"));
    let codes: Vec<_> = document["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| check["code"].as_str().unwrap())
        .collect();
    for code in [
        "provenance_title",
        "provenance_content",
        "digest_mismatch",
        "revision_label",
        "plan_count",
    ] {
        assert!(codes.contains(&code), "{codes:?}");
    }
    assert!(
        !codes.contains(&"revision_order") && !codes.contains(&"rolled_back"),
        "{codes:?}"
    );
    assert!(
        world
            .read(".github/workflows/a.yml")
            .contains(world.digest("review", REV_A))
    );
    world.commit(&format!("rollback: test images @{REV_A}"));
    let ran = world.run(&["promote", "--revision", REV_B]).exits(0);
    let expected =
        format!("warning: set {REV_B} is current on origin/main, but not in these files");
    assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
    let ran = world.run(&["promote", "--revision", REV_A]);
    assert!(!ran.stderr.contains("not in these files"), "{}", ran.stderr);
    world.push();

    let document = world.refuses(&[], 1, &["rolled_back"]);
    assert!(
        details(&document, "rolled_back", "fail")[0].contains("was rolled back by commit"),
        "{document}"
    );
    let forced = world.run(&[
        "promote",
        "--revision",
        REV_B,
        "--force-after-rollback",
        "--apply",
        "--format",
        "json",
    ]);
    let forced = forced.exits(0).json();
    assert_eq!(details(&forced, "rolled_back", "warn").len(), 1);
    assert!(
        world
            .read(".github/workflows/a.yml")
            .contains(world.digest("review", REV_B))
    );
}

#[test]
fn image_that_lost_its_pins_may_have_moved() {
    let mut world = promoted_twice();
    let moved = Platform::new("linux/amd64", REV_A).label("moved", "yes");
    world.rebuild("fix", REV_A, &[moved]);
    world.run(&TO_A).exits(1);
    world.replace("repin.yaml", "acme/fix, pins: 2", "acme/fix, pins: 0");
    world.replace(".github/workflows/b.yml", "ghcr.io/acme/fix@", "x@");
    world.commit("fix without pins");
    world.push();
    let document = world.run(&[&TO_A[..], &["--format", "json"]].concat());
    let document = document.exits(0).json();
    let warned = details(&document, "digest_mismatch", "warn");
    assert_eq!(warned, [""; 0]);
}

#[test]
fn manual_revert_is_a_rollback() {
    let world = promoted_twice();
    world.git(&["revert", "--no-edit", "HEAD"]);
    world.push();
    world.refuses(&[], 1, &["rolled_back"]);
    let mut world = world;
    world.build("dddddddddddddddddddddddddddddddddddddddd");
    world.promoted("dddddddddddddddddddddddddddddddddddddddd");
    // A newer set does not end the hold.
    world.refuses(&[], 1, &["revision_order", "rolled_back"]);
}

#[test]
fn history_lists_the_change_of_every_commit() {
    let world = promoted_twice();
    world.run(&[&TO_A[..], &["--apply"]].concat()).exits(0);
    world.commit(&format!(
        "rollback: test images @{REV_A}\n\nRepin-Set: {REV_A}"
    ));
    world.push();
    let entries = entries(&world);
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            let flag = |name: &str| entry[name].as_bool().unwrap();
            (
                entry["kind"].as_str().unwrap(),
                entry["revision"].as_str(),
                flag("current"),
                flag("can_roll_back"),
            )
        })
        .collect();
    let expected = [
        ("rollback", Some(REV_A), true, false),
        ("promote", Some(REV_B), false, true),
        ("promote", Some(REV_A), false, false),
        ("manual", None, false, false),
    ];
    assert_eq!(told, expected);
    // The table lists each set once, without the first promotion to A.
    let table = world.run(&["history"]).exits(0);
    assert_eq!(table.stdout.lines().count(), 1 + 3, "{}", table.stdout);
    let omitted = "1 earlier entry of the same sets: repin history -v";
    assert!(table.stderr.contains(omitted), "{}", table.stderr);
    let complete = world.run(&["history", "-v"]).exits(0);
    assert_eq!(
        complete.stdout.lines().count(),
        1 + 4,
        "{}",
        complete.stdout
    );
    let colored = world.run(&["history", "--color", "always"]).exits(0);
    for start in [
        "\u{1b}[32m*  rollback",
        "\u{1b}[33m!  promote",
        "\u{1b}[2m   manual",
    ] {
        assert!(colored.stdout.contains(start), "{}", colored.stdout);
    }
    let keys: Vec<_> = entries[0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "author",
            "can_roll_back",
            "commit",
            "current",
            "date",
            "images",
            "kind",
            "pull_request",
            "ready",
            "revision",
            "subject"
        ]
    );
    assert_eq!(entries[1]["images"]["fix"], world.digest("fix", REV_B));
    let human = world.run(&["history", "--limit", "2"]).exits(0);
    let filters = vec![("[0-9a-f]{12}", "<short>"), ("[0-9a-f]{7}  ", "<commit>  ")];
    insta::with_settings!({filters => filters}, { insta::assert_snapshot!("history", human.stdout); });
}

#[test]
fn unpromoted_set_is_refused_before_any_request() {
    let world = promoted_twice();
    fs::rename(world.path("images"), world.path("gone")).unwrap();
    let unknown = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";
    let document = world.refuses_to(&["rollback", "--to", unknown], 1, &["provenance_title"]);
    assert!(
        details(&document, "provenance_title", "fail")[0].contains(unknown),
        "{document}"
    );
    // Pinned once, but never by a promotion.
    world.refuses_to(&["rollback", "--to", REV_C], 1, &["provenance_title"]);
    for wrong in ["HEAD~9", "main", "@{u}", "--all", "-n1"] {
        let ran = world
            .run(&["rollback", "--format", "json", "--to", wrong])
            .exits(2);
        assert_eq!(ran.json()["errors"][0]["code"], "revision_shape");
    }
}

#[test]
fn manual_set_counts_by_content_if_configured() {
    let world = promoted_twice();
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "provenance: { require: [content] }\n",
    );
    world.commit("by content");
    world.push();
    let document = world
        .run(&["rollback", "--to", REV_C, "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(details(&document, "provenance_content", "pass").len(), 1);
    world.layout("fix").untag(REV_C);
    world.layout("fix").image(
        REV_C,
        &[Platform::new("linux/amd64", REV_C).label("x", "y")],
    );
    world.refuses_to(&["rollback", "--to", REV_C], 1, &["provenance_content"]);
}

#[test]
fn unknown_digests_are_not_searched_in_history() {
    let world = promoted_twice();
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "provenance: { require: [content] }\n",
    );
    world.commit("by content");
    world.push();
    let asked = |document: &Value| {
        ["pass", "fail", "warn", "skip"]
            .iter()
            .any(|status| !details(document, "provenance_content", status).is_empty())
    };
    // One tag is missing: the digests of the others were pinned together, and that proves nothing.
    world.layout("fix").untag(REV_A);
    let document = world.refuses_to(&TO_A, 1, &["tag_missing"]);
    assert!(!asked(&document), "{document}");
    // One image is unavailable.
    fs::write(world.path("images/fix/index.json"), "{").unwrap();
    let document = world.refuses_to(&TO_A, 3, &[]);
    assert!(!asked(&document), "{document}");
}

#[test]
fn shallow_clone_finds_no_set_by_content() {
    let world = promoted_twice();
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "provenance: { require: [content] }\n",
    );
    world.commit("by content");
    world.push();
    let url = format!("file://{}", world.path("origin.git").display());
    world.git(&["clone", "-q", "--depth", "1", &url, "clone"]);
    let clone = world.path("clone");
    std::os::unix::fs::symlink(world.path("images"), clone.join("images")).unwrap();
    let ran = world.run_in(
        &clone,
        &[&TO_A[..], &["--apply", "--format", "json"]].concat(),
        &[],
    );
    let document = ran.exits(3).json();
    assert_eq!(
        (&document["approved"], &document["error"]["code"]),
        (&json!(false), &json!("unavailable")),
        "{document}"
    );
    let hint = document["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("git fetch --unshallow"), "{document}");
    // Where the commit is known it is found.
    world.git(&["-C", "clone", "fetch", "-q", "--unshallow"]);
    world
        .run_in(&clone, &[&TO_A[..], &["--apply"]].concat(), &[])
        .exits(0);
}

#[test]
fn moved_or_deleted_tag_stops_a_rollback() {
    let mut world = promoted_twice();
    let then = world.digest("fix", REV_A).to_owned();
    world.rebuild(
        "fix",
        REV_A,
        &[Platform::new("linux/amd64", REV_A).label("moved", "yes")],
    );
    let document = world.refuses_to(&TO_A, 1, &["digest_mismatch"]);
    let detail = &details(&document, "digest_mismatch", "fail")[0];
    assert!(
        detail.contains(&then) && detail.contains(world.digest("fix", REV_A)),
        "{detail}"
    );
    world.layout("fix").untag(REV_A);
    world.refuses_to(&TO_A, 1, &["tag_missing"]);
    let arm = Platform::new("linux/arm64", REV_A).label(REVISION_LABEL, "another");
    world.rebuild("fix", REV_A, &[Platform::new("linux/amd64", REV_A), arm]);
    world.refuses_to(&TO_A, 1, &["digest_mismatch", "revision_label"]);
}

#[test]
fn digest_of_another_commit_is_no_moved_tag() {
    let world = promoted_twice();
    let commits = world.git(&["log", "-2", "--format=%h"]);
    let (newer, older) = commits.split_once('\n').unwrap();
    let layout = world.layout("fix");
    layout.untag(REV_A);
    let digest = world.digest("fix", REV_B).to_owned();
    layout.add(json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": fs::metadata(layout.blob_path(&digest)).unwrap().len(),
        "annotations": {"org.opencontainers.image.ref.name": REV_A},
    }));
    let document = world.refuses_to(&TO_A, 1, &["digest_mismatch", "revision_label"]);
    let checks = document["checks"].as_array().unwrap().iter();
    let mut mismatches = checks.filter(|check| check["code"] == "digest_mismatch");
    let mismatch = mismatches.find(|check| check["status"] == "fail").unwrap();
    let (detail, help) = (mismatch["detail"].as_str(), mismatch["help"].as_str());
    for (text, commits) in [(detail, [newer, older]), (help, [newer, older])] {
        for commit in commits {
            assert!(text.unwrap().contains(&commit[..7]), "{mismatch}");
        }
    }
}

#[test]
fn image_without_pins_only_warns_in_rollback() {
    let world = promoted_twice();
    world.layout("base").untag(REV_A);
    let document = world
        .run(&[&TO_A[..], &["--format", "json"]].concat())
        .exits(0)
        .json();
    assert_eq!(details(&document, "tag_missing", "warn").len(), 1);
    fs::remove_dir_all(world.path("images/base")).unwrap();
    let document = world
        .run(&[&TO_A[..], &["--format", "json"]].concat())
        .exits(0)
        .json();
    assert_eq!(details(&document, "tag_missing", "skip").len(), 1);
}

#[test]
fn configured_image_missing_from_the_set_is_named() {
    let world = promoted_twice();
    world.replace(
        "repin.yaml",
        "ghcr.io/acme/base, pins: 0",
        "ghcr.io/acme/base, pins: 1",
    );
    world.write(
        ".github/workflows/c.yml",
        format!("ghcr.io/acme/base@{}\n", world.digest("base", REV_B)),
    );
    world.commit("base is pinned now");
    world.push();
    let document = world.refuses_to(&TO_A, 1, &["provenance_content"]);
    assert!(
        details(&document, "provenance_content", "fail")[0].contains("`base`"),
        "{document}"
    );
}

#[test]
fn commit_outside_the_remotes_branch_was_not_promoted() {
    let world = promoted_twice();
    let mut world = world;
    world.build("dddddddddddddddddddddddddddddddddddddddd");
    world
        .run(&[
            "promote",
            "--revision",
            "dddddddddddddddddddddddddddddddddddddddd",
            "--apply",
        ])
        .exits(0);
    world.commit("promote: test images @dddddddddddddddddddddddddddddddddddddddd");
    world.refuses_to(
        &[
            "rollback",
            "--to",
            "dddddddddddddddddddddddddddddddddddddddd",
        ],
        1,
        &["provenance_title"],
    );
}

#[test]
fn a_late_build_does_not_overtake() {
    let world = world().with_git();
    // Revisions that are commits of this repository: the build of the older one comes late.
    let older: &'static str = Box::leak(world.commit("older source").into_boxed_str());
    let newer: &'static str = Box::leak(world.commit("newer source").into_boxed_str());
    world.push();
    let mut world = world;
    world.build(older);
    world.build(newer);
    world.promoted(newer);
    let document = world.refuses_to(&["promote", "--revision", older], 1, &["revision_order"]);
    assert!(
        details(&document, "revision_order", "fail")[0].contains(newer),
        "{document}"
    );
    let document = world
        .run(&[
            "promote",
            "--revision",
            older,
            "--allow-older",
            "--format",
            "json",
        ])
        .exits(0)
        .json();
    assert_eq!(details(&document, "revision_order", "warn").len(), 1);
}

#[test]
fn too_shallow_clone_names_the_fetch_command() {
    let world = promoted_twice();
    let url = format!("file://{}", world.path("origin.git").display());
    world.git(&["clone", "-q", "--depth", "1", &url, "clone"]);
    let clone = world.path("clone");
    std::os::unix::fs::symlink(world.path("images"), clone.join("images")).unwrap();
    for args in [&TO_A[..], &["promote", "--revision", REV_C]] {
        let ran = world
            .run_in(&clone, &[args, &["--format", "json"]].concat(), &[])
            .exits(3);
        let document = ran.json();
        assert_eq!(
            (&document["error"]["code"], failed(&document).len()),
            (&json!("unavailable"), 0),
            "{document}"
        );
        assert!(
            document["error"]["hint"]
                .as_str()
                .unwrap()
                .contains("git fetch --unshallow"),
            "{document}"
        );
    }
    world
        .run_in(
            &clone,
            &[
                "promote",
                "--revision",
                REV_C,
                "--allow-older",
                "--force-after-rollback",
            ],
            &[],
        )
        .exits(0);
    let listed = world.run_in(&clone, &["history"], &[]).exits(0);
    assert!(
        listed.stderr.contains("git fetch --unshallow"),
        "{}",
        listed.stderr
    );
}

#[test]
fn without_git_only_promotion_continues() {
    let world = world();
    let document = world
        .run(&["promote", "--revision", REV_B, "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(details(&document, "rolled_back", "warn").len(), 1);
    let document = world
        .run(&[&TO_A[..], &["--format", "json"]].concat())
        .exits(3)
        .json();
    assert!(
        document["error"]["message"]
            .as_str()
            .unwrap()
            .contains("not in a git repository"),
        "{document}"
    );
    let document = world.run(&["history", "--format", "json"]).exits(3).json();
    assert_eq!(document["schema"], "repin.error/1");
    let nowhere = [("PATH", "/nonexistent")];
    world
        .run_with(&["promote", "--revision", REV_B], &nowhere)
        .exits(0);
    // A branch that is configured and not here is no reason to go on, and neither is a missing git.
    let world = world.with_git();
    for command in [&["promote", "--revision", REV_B][..], &TO_A, &["history"]] {
        let ran = world.run_with(command, &nowhere).exits(3);
        assert!(ran.stderr.contains("install git"), "{}", ran.stderr);
    }
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "provenance: { branch: origin/nowhere }\n",
    );
    let ran = world.run(&["promote", "--revision", REV_B]).exits(3);
    assert!(
        ran.stderr.contains("git fetch origin nowhere"),
        "{}",
        ran.stderr
    );
}

#[test]
fn without_a_target_rollback_lists_the_sets() {
    let world = promoted_twice();
    let listed = world.run(&["rollback"]).exits(0);
    assert_eq!(listed.stdout, world.run(&["history"]).exits(0).stdout);
    let next = "choose a set with: repin rollback --to REVISION";
    assert!(listed.stderr.contains(next), "{}", listed.stderr);
    // The command that a user copies selects the same set.
    let selected = world.run(&["rollback", "-c", "repin.yaml"]).exits(0);
    let next = "choose a set with: repin rollback --config repin.yaml --to REVISION";
    assert!(selected.stderr.contains(next), "{}", selected.stderr);
    let document = world.run(&["rollback", "--format", "json"]).exits(0).json();
    assert_eq!(document["schema"], "repin.history/1");
    assert_eq!(document["entries"][1]["revision"], REV_A);
    assert_eq!(document["entries"][1]["can_roll_back"], true);
    let before = world.snapshot();
    for change in [
        &["--apply"][..],
        &["--pr", "draft"],
        &["--dry-run", "false"],
        &["--apply", "--dry-run", "true"],
        &["--diff-file", "diff"],
    ] {
        let args = [&["rollback", "--format", "json"], change].concat();
        let document = world.run(&args).exits(2).json();
        let message = document["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("`--to` is missing"), "{document}");
        assert!(message.contains(REV_A), "{document}");
        assert!(!message.contains(REV_B), "{document}");
    }
    assert_eq!(world.snapshot(), before);
}

#[test]
fn a_listed_revision_can_be_pasted() {
    let world = promoted_twice();
    let head = world.head();
    let listed = world.run(&["history"]).exits(0);
    for line in listed.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let verbose = world.run(&["history", "-v"]).exits(0);
    for whole in [REV_A, REV_B, "review="] {
        assert!(verbose.stdout.contains(whole), "{}", verbose.stdout);
        assert!(!listed.stdout.contains(whole), "{}", listed.stdout);
    }
    // As the list shortens it.
    for shortened in [&REV_A[..12], &REV_A[..4]] {
        let back = ["rollback", "--to", shortened, "--format", "json"];
        let document = world.run(&back).exits(0).json();
        assert_eq!(document["revision"], REV_A);
    }
    let ran = world.run(&["rollback", "--to", &REV_A[..3]]).exits(2);
    assert!(ran.stderr.contains("malformed revision"), "{}", ran.stderr);
    // The sets of this world belong to commits of another repository; a commit of this one is
    // found.
    let document = world.refuses_to(&["rollback", "--to", &head[..12]], 1, &["provenance_title"]);
    assert_eq!(document["revision"], *head);
}

#[test]
fn beginning_of_several_revisions_is_ambiguous() {
    let world = promoted_twice();
    let other = format!("{}{}", &REV_A[..12], &REV_B[12..]);
    world.pin(REV_C);
    world.commit(&format!("promote: test images @{other}"));
    world.push();
    let ran = world.run(&["rollback", "--to", &REV_A[..6]]).exits(2);
    for part in ["is ambiguous", REV_A, &other] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}

#[test]
fn return_to_a_held_set_is_a_warning() {
    let world = promoted_twice();
    let says = |to: &str| {
        let ran = world.run(&["rollback", "--to", to]).exits(0);
        ran.stderr.contains("was rolled back by commit")
    };
    assert!(!says(REV_A));
    world.run(&[&TO_A[..], &["--apply"]].concat()).exits(0);
    world.commit(&format!("rollback: test images @{REV_A}"));
    world.push();
    assert!(says(REV_B));
}

#[test]
fn rollback_body_lists_undone_sets() {
    let world = promoted_twice();
    let document = world
        .run(&[&TO_A[..], &["--format", "json"]].concat())
        .exits(0)
        .json();
    let body = document["body"].as_str().unwrap();
    let filters = vec![
        ("sha256:[0-9a-f]{64}", "<digest>"),
        ("[0-9a-f]{12}", "<short>"),
        ("commit `[0-9a-f]{7}`", "commit `<c>`"),
        ("commit [0-9a-f]{7} ", "commit <c> "),
    ];
    insta::with_settings!({filters => filters}, { insta::assert_snapshot!("rollback_body", body); });
    let promote = world
        .run(&["promote", "--revision", REV_C, "--format", "json"])
        .exits(0)
        .json();
    let body = promote["body"].as_str().unwrap();
    assert!(body.contains(&format!("repin rollback --to {REV_B} --apply")));
    assert!(body.contains("| image | label | value |"), "{body}");
}

#[test]
fn check_remote_reads_the_label_of_every_platform() {
    let cases: [(&str, &[&str]); 4] = [
        // Two builds under one index, each of which is a revision.
        ("review", &[REV_A, REV_B]),
        ("fix", &[&REV_A[..39]]),
        ("fix", &[&REV_A[..1]]),
        ("fix", &[""]),
    ];
    for (image, labels) in cases {
        let mut world = world();
        let names = ["linux/amd64", "linux/arm64"];
        let platforms: Vec<_> = names
            .iter()
            .zip(labels)
            .map(|(name, label)| Platform::new(name, REV_A).label(REVISION_LABEL, label))
            .collect();
        world.rebuild(image, REV_A, &platforms);
        world.pin(REV_A);
        let document = world
            .run(&["check", "--remote", "--format", "json"])
            .exits(1)
            .json();
        let wrong = names[labels.len() - 1];
        let check = document["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["code"] == "revision_label" && check["status"] == "fail");
        let check = check.unwrap_or_else(|| panic!("{labels:?} {document}"));
        assert_eq!(
            (&check["image"], &check["platform"]),
            (&json!(image), &json!(wrong))
        );
    }
}

#[test]
fn check_remote_verifies_the_pinned_set() {
    let mut world = promoted_twice();
    let ran = world.run(&["check", "--remote"]).exits(0);
    let expected = format!("OK: 5 pins of 3 images in 2 files at revision {REV_B}\n");
    assert_eq!(ran.stdout, expected);
    let check = |world: &World, exit: i32| {
        world
            .run(&["check", "--remote", "--format", "json"])
            .exits(exit)
            .json()
    };
    // The change of a promotion that is not merged yet.
    world.build("dddddddddddddddddddddddddddddddddddddddd");
    world
        .run(&[
            "promote",
            "--revision",
            "dddddddddddddddddddddddddddddddddddddddd",
            "--apply",
        ])
        .exits(0);
    let document = check(&world, 0);
    assert_eq!(
        (
            details(&document, "provenance_title", "warn").len(),
            &document["clean"]
        ),
        (1, &json!(true))
    );
    // One image of another revision.
    let text = world.read(".github/workflows/b.yml").replace(
        world.digest("fix", "dddddddddddddddddddddddddddddddddddddddd"),
        world.digest("fix", REV_B),
    );
    world.write(".github/workflows/b.yml", text);
    assert_eq!(failed(&check(&world, 1)), ["set_disagree"]);
    world.git(&["checkout", "-q", "."]);
    // The tag was moved; the digest was deleted; the label is wrong.
    let pinned = world.digest("fix", REV_B).to_owned();
    world.rebuild(
        "fix",
        REV_B,
        &[Platform::new("linux/amd64", REV_B).label("moved", "yes")],
    );
    let document = check(&world, 1);
    assert_eq!(
        (failed(&document), &document["clean"]),
        (vec!["digest_mismatch".to_owned()], &json!(false))
    );
    let ran = world
        .run(&["check", "--remote", "--format", "github"])
        .exits(1);
    assert!(
        ran.stdout.contains(
            "::error file=.github/workflows/b.yml,line=1,col=14,title=digest_mismatch (fix)::"
        ),
        "{}",
        ran.stdout
    );
    world.layout("fix").untag(REV_B);
    assert_eq!(failed(&check(&world, 1)), ["tag_missing"]);
    fs::remove_file(world.layout("fix").blob_path(&pinned)).unwrap();
    assert_eq!(failed(&check(&world, 1)), ["digest_missing", "tag_missing"]);
    fs::remove_dir_all(world.path("images/fix")).unwrap();
    let document = check(&world, 3);
    assert_eq!(
        (
            details(&document, "digest_missing", "skip").len(),
            &document["clean"]
        ),
        (1, &json!(false))
    );
}

#[test]
fn check_remote_reports_each_pinned_digest() {
    let world = promoted_twice();
    let check = |exit: i32| {
        let ran = world.run(&["check", "--remote", "--format", "json"]);
        ran.exits(exit).json()
    };
    let document = check(0);
    let (review, fix) = (world.digest("review", REV_B), world.digest("fix", REV_B));
    assert_eq!(
        details(&document, "digest_missing", "pass"),
        [format!("{review} exists"), format!("{fix} exists")]
    );
    let agreed = format!("the revision of every image is {REV_B}");
    assert_eq!(details(&document, "set_disagree", "pass"), [agreed]);
    let labels = details(&document, "revision_label", "pass");
    assert!(
        labels.len() >= 2 && labels.iter().all(|label| label.ends_with(REV_B)),
        "{labels:?}"
    );
    let tags = details(&document, "digest_mismatch", "pass");
    assert_eq!(tags.len(), 2, "{document}");
    // A tag that is there twice.
    let layout = world.layout("fix");
    let platform = Platform::new("linux/amd64", REV_B);
    let other = layout.manifest(&platform.label("x", "y"));
    layout.tag(REV_B, &other);
    assert_eq!(failed(&check(1)), ["manifest_ambiguous"]);
    // A pinned document that two readers could understand differently.
    let text = fs::read_to_string(layout.blob_path(&other.digest)).unwrap();
    let mut both = serde_json::from_str::<Value>(&text).unwrap();
    both["manifests"] = json!([]);
    let both = layout.json("application/vnd.oci.image.manifest.v1+json", &both);
    layout.tag("both", &both);
    let pins = world.read(".github/workflows/b.yml");
    let ambiguous = pins.replace(fix, &both.digest);
    world.write(".github/workflows/b.yml", &ambiguous);
    let document = check(1);
    assert_eq!(failed(&document), ["manifest_ambiguous"]);
    let ran = world.run(&["check", "--remote", "--format", "github"]);
    let place = "::error file=.github/workflows/b.yml,line=1,col=14,title=manifest_ambiguous (fix)::the document is an index and a manifest at once";
    assert!(ran.stdout.contains(place), "{}", ran.stdout);
    // A pinned document with other bytes, while the tag refers to it.
    world.write(".github/workflows/b.yml", &pins);
    layout.untag(REV_B);
    let whole = layout.manifest(&Platform::new("linux/amd64", REV_B));
    assert_ne!(whole.digest, other.digest);
    world.write(".github/workflows/b.yml", pins.replace(fix, &whole.digest));
    layout.tag(REV_B, &whole);
    check(0);
    fs::write(layout.blob_path(&whole.digest), "{}").unwrap();
    let document = check(3);
    assert_eq!(details(&document, "digest_missing", "skip").len(), 1);
    assert_eq!(document["clean"], false);
}

#[test]
fn repeated_rollback_does_nothing() {
    let world = promoted_twice();
    let document = world
        .run(&["rollback", "--to", REV_B, "--apply", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(
        (&document["changed"], &document["applied"]),
        (&json!(false), &json!(false))
    );
}

/// The commands of git that a rollback to A suggests while the registry is unavailable.
fn suggested_commands(world: &World) -> Vec<String> {
    let sources = "ghcr.io=http://127.0.0.1:9";
    let env = [("REPIN_SOURCES", sources), ("REPIN_DEADLINE", "1s")];
    let ran = world.run_with(&TO_A, &env).exits(3);
    let lines = ran
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("  git "));
    let lines = lines.map(|line| line.strip_suffix(" &&").unwrap_or(line));
    lines.map(|line| format!("git {line}")).collect()
}

#[test]
fn git_returns_exactly_to_the_named_set() {
    let mut world = world();
    world.build(REV_C);
    let world = world.with_git();
    world.adopt(REV_A);
    let files = [".github/workflows/a.yml", ".github/workflows/b.yml"];
    let of_a = files.map(|file| {
        let at_a = format!("HEAD:{file}");
        world.git(&["show", &at_a])
    });
    // A revert of the last commit would return to B.
    world.promoted(REV_B);
    world.promoted(REV_C);
    let commands = suggested_commands(&world);
    assert_eq!(commands.len(), 2, "{commands:?}");
    for command in &commands {
        let mut shell = world.other_command("sh");
        for variable in ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"] {
            shell.env(variable, "A");
        }
        for variable in ["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"] {
            shell.env(variable, "a@example.com");
        }
        let status = shell.args(["-c", command]).status().unwrap();
        assert!(status.success(), "{command}");
    }
    let now = files.map(|file| world.git(&["show", &format!("HEAD:{file}")]));
    assert_eq!(now, of_a);
    assert_eq!(world.git(&["status", "--short"]), "");
    world.push();
    // It is a rollback, and holds the sets that it undid.
    world.refuses_to(&["promote", "--revision", REV_C], 1, &["rolled_back"]);
    let ran = world.run(&TO_A).exits(0);
    assert!(!ran.stderr.contains("  git "), "{}", ran.stderr);
}

#[test]
fn git_is_not_suggested_if_it_returns_elsewhere() {
    let world = promoted_twice();
    assert_eq!(suggested_commands(&world).len(), 2);
    let file = ".github/workflows/a.yml";
    let text = world.read(file);
    world.write(file, format!("{text}# not committed\n"));
    let commands = suggested_commands(&world);
    let stash = format!("git --literal-pathspecs stash push -- {file}");
    assert_eq!((commands.len(), &commands[0]), (3, &stash));
    world.write(file, &text);
    // The file did not exist at A.
    world.git(&["mv", file, ".github/workflows/c.yml"]);
    world.commit("move a file");
    world.push();
    assert_eq!(suggested_commands(&world), [""; 0]);
}

#[test]
fn shallow_clone_cannot_list_sets() {
    let world = world().with_git();
    world.promoted(REV_B);
    let origin = format!("file://{}", world.path("origin.git").display());
    world.git(&["clone", "-q", "--depth", "1", &origin, "shallow"]);
    let ran = world
        .run_in(&world.path("shallow"), &["rollback"], &[])
        .exits(3);
    assert!(
        ran.stderr.contains("git fetch --unshallow"),
        "{}",
        ran.stderr
    );
}

#[test]
fn whole_version_is_no_abbreviation() {
    let mut world = world();
    for version in ["1.0.0", "1.0.0-rc.1"] {
        world.build(version);
    }
    let config = world.read("repin.yaml") + "revision: { pattern: semver }\n";
    world.write("repin.yaml", config);
    world.pin("1.0.0-rc.1");
    let world = world.with_git();
    for version in ["1.0.0-rc.1", "1.0.0", "1.0.0-rc.1"] {
        let args = ["promote", "--revision", version, "--allow-older", "--apply"];
        world.run(&args).exits(0);
        world.commit(&format!("promote: test images @{version}"));
        world.push();
    }
    world.run(&["rollback", "--to", "1.0.0"]).exits(0);
}

#[test]
fn listed_sets_are_tested_in_layouts() {
    let tested = |world: &World| {
        let args = ["rollback", "--remote", "--format", "json"];
        let document = world.run(&args).exits(0).json();
        let entries = document["entries"].as_array().unwrap();
        assert!(entries[0]["ready"].is_null(), "{document}");
        entries[1]["ready"].clone()
    };
    let remove = |world: &World| {
        let hex = world.digest("fix", REV_A).trim_start_matches("sha256:");
        let blob = format!("images/fix/blobs/sha256/{hex}");
        std::fs::remove_file(world.path(&blob)).unwrap();
    };
    let world = promoted_twice();
    assert_eq!(tested(&world), true);
    // The tag is not known from the revision.
    let config = world.read("repin.yaml");
    let tag = "revision: { tag: 'v-{revision}-*' }\n";
    world.write("repin.yaml", config.clone() + tag);
    assert_eq!(tested(&world), Value::Null);
    remove(&world);
    assert_eq!(tested(&world), false);
    // An image without pins is not rolled back.
    let without = config.replace("acme/fix, pins: 2", "acme/fix, pins: 0");
    world.write("repin.yaml", without);
    assert_eq!(tested(&world), true);
    world.write("repin.yaml", config);
    assert_eq!(tested(&world), false);
    // Such a set is not suggested.
    let suggests = |args: &[&str]| {
        world
            .run(args)
            .exits(0)
            .stderr
            .contains(&format!("--to {REV_A}"))
    };
    assert!(suggests(&["rollback"]));
    assert!(!suggests(&["rollback", "--remote"]));
}

#[test]
fn shallow_clone_lists_the_sets_that_it_contains() {
    let world = promoted_twice();
    let origin = format!("file://{}", world.path("origin.git").display());
    world.git(&["clone", "-q", "--depth", "2", &origin, "clone"]);
    let args = ["rollback", "--format", "json"];
    let ran = world.run_in(&world.path("clone"), &args, &[]).exits(0);
    let entries = ran.json()["entries"].as_array().unwrap().len();
    assert!(entries > 0, "{}", ran.stdout);
    let listed = world.run_in(&world.path("clone"), &["rollback"], &[]);
    let listed = listed.exits(0).stderr;
    assert!(!listed.contains("the newest available one"), "{listed}");
    assert!(
        listed.contains("holds on the listed ones may be missing"),
        "{listed}"
    );
    world.git(&["clone", "-q", "--depth", "1", &origin, "shallow"]);
    for args in [&args[..], &["rollback", "--to", &REV_A[..12]]] {
        let ran = world.run_in(&world.path("shallow"), args, &[]).exits(3);
        let text = ran.stdout + &ran.stderr;
        assert!(text.contains("the clone is shallow"), "{text}");
        assert!(text.contains("git fetch --unshallow"), "{text}");
    }
}

#[test]
fn shallow_clone_does_not_select_a_held_set() {
    let world = promoted_twice();
    world.promoted(REV_C);
    world.roll_back(REV_A);
    let origin = format!("file://{}", world.path("origin.git").display());
    for depth in 1..4 {
        let clone = format!("clone{depth}");
        world.git(&[
            "clone",
            "-q",
            "--depth",
            &depth.to_string(),
            &origin,
            &clone,
        ]);
        let clone = world.path(&clone);
        std::os::unix::fs::symlink(world.path("images"), clone.join("images")).unwrap();
        for args in [
            &["rollback", "--to", "previous"][..],
            &["rollback", "--apply"],
            &["rehearse"],
        ] {
            let ran = world.run_in(&clone, args, &[]).exits(3);
            assert!(
                ran.stderr.contains("git fetch --unshallow"),
                "{}",
                ran.stderr
            );
        }
        let args = ["rollback", "--to", REV_B, "--format", "json"];
        let ran = world.run_in(&clone, &args, &[]);
        if ran.code == 0 {
            let document = ran.json();
            let warned = details(&document, "rolled_back", "warn");
            assert_eq!(warned.len(), 1, "{document}");
        } else {
            assert_eq!(ran.code, 3, "{}", ran.stdout);
        }
    }
}
