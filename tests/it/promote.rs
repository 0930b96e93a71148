//! `repin promote` as a whole, from image layouts.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use crate::support::{
    self, Digest,
    layout::{Platform, REVISION_LABEL},
    world::{REV_A, REV_B, REV_C, World, details, failed, world},
};

const PROMOTE: [&str; 3] = ["promote", "--revision", REV_B];

#[test]
fn dry_run_shows_the_plan_without_changes() {
    let world = world();
    let before = world.snapshot();
    let ran = world.run(&PROMOTE).exits(0);
    assert_eq!(before, world.snapshot());
    assert!(
        ran.stdout.contains("promote: test images @bbbb"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("+++ b/.github/workflows/a.yml"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr
            .contains("dry run: nothing was changed; --apply would change 5 pins in 2 files"),
        "{}",
        ran.stderr
    );
}

#[test]
fn reading_history_writes_nothing() {
    let world = world().with_git();
    world.commit(&format!("promote: test images @{REV_A}"));
    world.push();
    let before = world.snapshot();
    for command in [
        &PROMOTE[..],
        &["rollback"],
        &["history"],
        &["status"],
        &["check"],
    ] {
        world.run(command).exits(0);
        assert_eq!(before, world.snapshot(), "{command:?}");
    }
    assert!(before.keys().any(|path| path.ends_with(".git/HEAD")));
}

#[test]
fn apply_changes_only_and_all_pins() {
    let world = world();
    fs::set_permissions(
        world.path(".github/workflows/b.yml"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let expected: Vec<String> = ["a.yml", "b.yml"]
        .map(|file| {
            let mut text = world.read(&format!(".github/workflows/{file}"));
            for image in ["review", "fix"] {
                let extra = format!("ghcr.io/acme/fix-extra@{}", world.digest("fix", REV_A));
                text = text
                    .replace(&extra, "EXTRA")
                    .replace(world.digest(image, REV_A), world.digest(image, REV_B));
                text = text.replace("EXTRA", &extra);
            }
            text.replace(REV_A, REV_B)
        })
        .to_vec();
    let none = fs::metadata(world.path(".github/workflows/none.yml"))
        .unwrap()
        .modified()
        .unwrap();
    let ran = world
        .run(&["promote", "--revision", REV_B, "--apply"])
        .exits(0);
    assert!(
        ran.stderr.contains("promote: test images @bbbb") && ran.stderr.contains("Repin-Set: bbbb"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        [
            world.read(".github/workflows/a.yml"),
            world.read(".github/workflows/b.yml")
        ],
        *expected
    );
    assert_eq!(
        fs::metadata(world.path(".github/workflows/none.yml"))
            .unwrap()
            .modified()
            .unwrap(),
        none
    );
    assert_eq!(
        fs::metadata(world.path(".github/workflows/b.yml"))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777,
        0o755
    );

    // The lock names the run that held it last.
    let but_the_lock = || {
        let mut files = world.snapshot();
        files.remove(&world.path(".repin/lock"));
        files
    };
    let before = but_the_lock();
    let again = world
        .run(&[
            "promote",
            "--revision",
            REV_B,
            "--apply",
            "--format",
            "json",
        ])
        .exits(0)
        .json();
    assert_eq!(before, but_the_lock(), "there was nothing to do");
    assert_eq!(
        (&again["changed"], &again["applied"], &again["diff"]),
        (&json!(false), &json!(false), &json!(""))
    );
    assert_eq!(again["files"], json!([]));
}

#[test]
fn the_document_of_an_approved_plan() {
    let world = world();
    let document = world
        .run(&["promote", "--revision", REV_B, "--format", "json"])
        .exits(0)
        .json();
    let keys: Vec<_> = document.as_object().unwrap().keys().cloned().collect();
    let expected = [
        "applied",
        "approved",
        "body",
        "branch",
        "changed",
        "changes",
        "checks",
        "diff",
        "error",
        "files",
        "images",
        "kind",
        "pull_request",
        "revision",
        "schema",
        "set_path",
        "title",
        "trailers",
    ];
    assert_eq!(keys, expected);
    assert_eq!(document["schema"], "repin.plan/1");
    assert_eq!(document["set_path"], "repin.yaml");
    assert_eq!(document["branch"], format!("repin/promote-{REV_B}"));
    assert_eq!(document["title"], format!("promote: test images @{REV_B}"));
    assert_eq!(document["error"], json!(null));
    let review = json!({
        "name": "review", "repository": "ghcr.io/acme/review", "from": [world.digest("review", REV_A)],
        "to": world.digest("review", REV_B), "pins": 3, "places": [], "platforms": ["linux/amd64", "linux/arm64"],
        "labels": {"dev.acme.version": "1.b"}, "verified": [],
    });
    assert_eq!(document["images"][0], review);
    let old = fs::read(world.path(".github/workflows/a.yml")).unwrap();
    assert_eq!(document["files"][0]["path"], ".github/workflows/a.yml");
    assert_eq!(document["files"][0]["old_sha256"], Digest::of(&old).hex());
    assert_eq!(document["files"][1]["pins"], 3);
    assert!(failed(&document).is_empty());
}

#[test]
fn diff_and_body_have_the_requested_destination() {
    let world = world();
    let args = [
        "promote",
        "--revision",
        REV_B,
        "--diff-file",
        "the.diff",
        "--body-file",
        "the.md",
        "--format",
        "json",
    ];
    let document = world.run(&args).exits(0).json();
    assert_eq!(document["diff"], world.read("the.diff"));
    assert_eq!(document["body"], world.read("the.md"));
    let mut git = std::process::Command::new("git");
    git.args(["apply", "the.diff"]).current_dir(world.root());
    git.env("GIT_CEILING_DIRECTORIES", world.root().parent().unwrap());
    assert!(git.status().unwrap().success());
    let again = world
        .run(&["promote", "--revision", REV_B, "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(again["changed"], false);

    let world = support::world::world();
    let both = world
        .run(&[
            "promote",
            "--revision",
            REV_B,
            "--diff-file",
            "-",
            "--body-file",
            "-",
        ])
        .exits(0);
    assert_eq!(
        both.stdout.matches("+++ b/.github/workflows/a.yml").count(),
        1,
        "{}",
        both.stdout
    );
    assert!(
        both.stdout.contains("### Review checklist"),
        "{}",
        both.stdout
    );
    world
        .run(&[
            "promote",
            "--revision",
            REV_B,
            "--body-file",
            "-",
            "--format",
            "json",
        ])
        .exits(2);
    let unwritable = world
        .run(&[
            "promote",
            "--revision",
            REV_B,
            "--apply",
            "--body-file",
            "nowhere/x.md",
        ])
        .exits(2);
    assert!(
        unwritable.stderr.contains("nowhere/x.md"),
        "{}",
        unwritable.stderr
    );
    assert!(
        world
            .read(".github/workflows/a.yml")
            .contains(world.digest("review", REV_A))
    );
}

#[test]
fn every_missing_tag_is_named_at_once() {
    let world = world();
    world.layout("review").untag(REV_B);
    world.layout("base").untag(REV_B);
    let document = world.refuses(&[], 1, &["tag_missing"]);
    let details = details(&document, "tag_missing", "fail");
    assert!(
        details[0].contains(&format!("ghcr.io/acme/review:{REV_B}")),
        "{details:?}"
    );
    assert!(
        details[1].contains(&format!("ghcr.io/acme/base:{REV_B}")),
        "{details:?}"
    );
    assert_eq!(
        (
            &document["images"][0]["to"],
            &document["diff"],
            &document["body"]
        ),
        (&json!(null), &json!(null), &json!(null))
    );
    assert_eq!(document["files"], json!([]));
}

#[test]
fn wrong_label_is_shown_for_its_platform() {
    let mut world = world();
    let mut bare = Platform::new("linux/amd64", REV_B);
    bare.labels.clear();
    world.rebuild("fix", REV_B, &[bare]);
    world.rebuild("base", REV_B, &[Platform::new("linux/amd64", REV_A)]);
    let arm = Platform::new("linux/arm64", REV_B)
        .label(REVISION_LABEL, "elsewhere\u{1b}[31m\n::error::x");
    world.rebuild("review", REV_B, &[Platform::new("linux/amd64", REV_B), arm]);
    let document = world.refuses(&[], 1, &["revision_label"]);
    let details = details(&document, "revision_label", "fail");
    assert_eq!(details.len(), 3, "{details:?}");
    assert!(
        details[0].contains("elsewhere\\u{1b}[31m\\n") && details[0].contains(REV_B),
        "{details:?}"
    );
    assert!(details[1].contains("missing"), "{details:?}");
    assert!(
        details[2].contains(REV_A) && details[2].contains(REV_B),
        "{details:?}"
    );
    let checks = document["checks"].as_array().unwrap();
    let wrong = checks
        .iter()
        .find(|check| check["code"] == "revision_label" && check["status"] == "fail")
        .unwrap();
    assert_eq!(
        (&wrong["image"], &wrong["platform"]),
        (&json!("review"), &json!("linux/arm64"))
    );
    let human = world.run(&PROMOTE).exits(1);
    assert!(!human.stdout.contains('\u{1b}') && !human.stderr.contains('\u{1b}'));
    assert!(
        human.stderr.contains("nothing was changed"),
        "{}",
        human.stderr
    );
}

#[test]
fn long_list_of_counts_is_truncated() {
    let world = world();
    fs::remove_dir_all(world.path(".github/workflows")).unwrap();
    let pin = format!("ghcr.io/acme/fix@{}\n", world.digest("fix", REV_A));
    let told = |pins: usize| {
        world.write(
            ".github/workflows/only.yml",
            "x\n".to_owned() + &pin.repeat(pins),
        );
        let document = world.run(&["check", "--format", "json"]).exits(1).json();
        let mut all = details(&document, "pin_count", "fail");
        all.extend(details(&document, "pin_count", "pass"));
        all.into_iter()
            .find(|told| told.contains("`fix`") || told.contains("as declared"))
    };
    let said = |rest: &str| Some(format!("found {rest}"));
    assert_eq!(
        told(0),
        said("0 pins of `fix` in 1 file, but `pins: 2` is declared")
    );
    let place = ".github/workflows/only.yml";
    let once = format!("1 pin of `fix` in 1 file, but `pins: 2` is declared: {place}:2:1");
    assert_eq!(told(1), said(&once));
    assert_eq!(told(2).as_deref(), Some("2 pins, as declared"));
    world.write(".github/workflows/other.yml", "x\n");
    let twenty = told(20).unwrap();
    assert!(
        twenty.contains("20 pins of `fix` in 2 files") && twenty.ends_with(":21:1"),
        "{twenty}"
    );
    let more = told(21).unwrap();
    assert!(
        more.ends_with(&format!("{place}:21:1 and 1 more")),
        "{more}"
    );
}

#[test]
fn help_of_a_wrong_count_matches_it() {
    for (declared, other, says) in [
        (
            "pins: 3",
            "pins: 4",
            "if a pin was removed on purpose, set `pins: 3`",
        ),
        (
            "pins: 3",
            "pins: 2",
            "if a pin was added on purpose, set `pins: 3`",
        ),
    ] {
        let world = world();
        world.replace("repin.yaml", declared, &format!("{other} "));
        let ran = world.run(&PROMOTE).exits(1);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
    // A digest that was cut off is the cause, and `pins` is right.
    let world = world();
    let digest = world.digest("review", REV_A);
    let text = world.read(".github/workflows/a.yml");
    let cut = text.replacen(digest, &digest[..70], 1);
    assert_ne!(cut, text);
    world.write(".github/workflows/a.yml", cut);
    for declared in ["pins: 3", "pins: 1"] {
        world.replace("repin.yaml", "pins: 3", declared);
        let ran = world.run(&PROMOTE).exits(1);
        let help = "= help: first correct what pin_unsupported reports: it does not count as a pin";
        assert!(ran.stderr.contains(help), "{}", ran.stderr);
        assert!(!ran.stderr.contains("set `pins:"), "{}", ran.stderr);
    }
}

#[test]
fn images_with_moved_tags_are_one_error() {
    let world = world();
    let moved = ["review", "fix"].map(|image| format!("{image}={}", world.digest(image, REV_A)));
    let [review, fix] = &moved;
    let digests = ["--digest", review, "--digest", fix];
    let ran = world.run(&[&PROMOTE[..], &digests].concat()).exits(1);
    let cause = format!("error[digest_mismatch]: review, fix: tag `{REV_B}` does not ");
    assert_eq!(ran.stderr.matches(&cause).count(), 1, "{}", ran.stderr);
    for image in ["review", "fix"] {
        let digest = world.digest(image, REV_A);
        assert!(ran.stderr.contains(digest), "{}", ran.stderr);
    }
}

#[test]
fn a_wrong_count_names_every_place() {
    let world = world();
    world.replace("repin.yaml", "pins: 3", "pins: 4");
    let document = world.refuses(&[], 1, &["pin_count"]);
    assert_eq!(document["images"][0]["pins"], 3);
    let detail = &details(&document, "pin_count", "fail")[0];
    for place in [
        ".github/workflows/a.yml:2:4",
        ".github/workflows/a.yml:3:5",
        ".github/workflows/b.yml:1:",
    ] {
        assert!(detail.contains(place), "{detail}");
    }
    let human = world.run(&PROMOTE).exits(1);
    insta::assert_snapshot!("wrong_count", human.stderr);
    // No image is requested once the count is wrong: the next stage has not begun.
    assert!(
        !document["checks"]
            .as_array()
            .unwrap()
            .iter()
            .any(|check| check["code"] == "tag_missing")
    );
}

#[test]
fn pin_of_an_unpinned_image_fails() {
    let world = world();
    world.write(
        ".github/workflows/c.yml",
        format!("ghcr.io/acme/base@{}", world.digest("base", REV_A)),
    );
    world.refuses(&[], 1, &["pin_count"]);
}

#[test]
fn a_malformed_pin_is_named_with_its_place() {
    let world = world();
    world.write(
        ".github/workflows/c.yml",
        "x:\n  ghcr.io/acme/fix@sha256:ABC\n  ghcr.io/acme/fix@sha256:<digest>\n",
    );
    let document = world.refuses(&[], 1, &["pin_unsupported"]);
    assert!(
        details(&document, "pin_unsupported", "fail")[0].contains(".github/workflows/c.yml:2:3"),
        "{document}"
    );
}

#[test]
fn disagreeing_pins_warn_and_become_equal() {
    let world = world();
    let (a, b) = (
        world.digest("review", REV_A).to_owned(),
        world.digest("review", REV_B).to_owned(),
    );
    let text = world.read(".github/workflows/a.yml").replacen(&a, &b, 1);
    world.write(".github/workflows/a.yml", text);
    assert_eq!(
        failed(&world.run(&["check", "--format", "json"]).exits(1).json()),
        ["pin_disagree"]
    );
    let document = world
        .run(&[
            "promote",
            "--revision",
            REV_B,
            "--apply",
            "--format",
            "json",
        ])
        .exits(0)
        .json();
    assert_eq!(details(&document, "pin_disagree", "warn").len(), 1);
    assert_eq!(document["images"][0]["from"], json!([b, a]));
    world.run(&["check"]).exits(0);
}

#[test]
fn given_digest_must_match_the_tag() {
    let world = world();
    let good = format!("review={}", world.digest("review", REV_B));
    let bare = format!(
        "fix={}",
        world.digest("fix", REV_B).trim_start_matches("sha256:")
    );
    world
        .run(&[
            "promote",
            "--revision",
            REV_B,
            "--digest",
            &good,
            "--digest",
            &bare,
        ])
        .exits(0);
    let moved = format!("review={}", world.digest("review", REV_A));
    let document = world.refuses(&["--digest", &moved], 1, &["digest_mismatch"]);
    let detail = &details(&document, "digest_mismatch", "fail")[0];
    assert!(
        detail.contains(world.digest("review", REV_A))
            && detail.contains(world.digest("review", REV_B)),
        "{detail}"
    );
    let upper = format!("review=sha256:{}", "A".repeat(64));
    let short = format!("review=sha256:{}", "a".repeat(63));
    for (wrong, says) in [
        (upper.as_str(), "lower case"),
        (short.as_str(), "64 hexadecimal digits, found 63"),
        ("review", "NAME=DIGEST"),
        ("nobody=sha256:0", "unknown image"),
        ("review=sha512:00", "only sha256"),
    ] {
        let ran = world
            .run(&["promote", "--revision", REV_B, "--digest", wrong])
            .exits(2);
        assert!(ran.stderr.contains(says), "{wrong}: {}", ran.stderr);
    }
}

#[test]
fn a_revision_of_another_shape_is_malformed_input() {
    let world = world();
    for wrong in [
        "HEAD",
        "",
        "-x",
        "--apply",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
    ] {
        let ran = world
            .run(&["promote", "--format", "json", "--revision", wrong])
            .exits(2);
        let document = ran.json();
        assert_eq!(
            (&document["schema"], &document["exit"]),
            (&json!("repin.error/1"), &json!(2))
        );
        assert_eq!(
            document["errors"][0]["code"], "revision_shape",
            "{document}"
        );
    }
}

#[test]
fn booleans_are_strict_and_can_only_forbid() {
    let world = world();
    let before = world.snapshot();
    let promote =
        |args: &[&str], env: &[(&str, &str)]| world.run_with(&[&PROMOTE[..], args].concat(), env);
    promote(&["--apply", "--dry-run", "true"], &[]).exits(0);
    promote(&["--apply", "--dry-run", ""], &[]).exits(0);
    promote(&["--apply", "--dry-run="], &[]).exits(0);
    promote(&["--apply"], &[("REPIN_DRY_RUN", "true")]).exits(0);
    promote(&["--dry-run", "false"], &[("REPIN_DRY_RUN", "")]).exits(0);
    promote(&[], &[("REPIN_DRY_RUN", "false")]).exits(0);
    for wrong in ["True", "1", "no", "yes", " false"] {
        promote(&["--apply", "--dry-run", wrong], &[]).exits(2);
        let ran = promote(&["--apply"], &[("REPIN_DRY_RUN", wrong)]).exits(2);
        assert!(ran.stderr.contains("REPIN_DRY_RUN"), "{}", ran.stderr);
    }
    // Without a value it means true, and swallows no option.
    for args in [&["--dry-run"][..], &["--dry-run", "--apply"]] {
        promote(args, &[("REPIN_DRY_RUN", "false")]).exits(0);
    }
    let last = |ran: &support::world::Ran| ran.stderr.lines().last().unwrap().to_owned();
    for (args, env, by) in [
        (&["--apply", "--dry-run"][..], "false", "--dry-run"),
        (&["--apply"], "true", "REPIN_DRY_RUN"),
        (&["--apply", "--dry-run", "false"], "", "REPIN_DRY_RUN"),
    ] {
        let ran = promote(args, &[("REPIN_DRY_RUN", env)]).exits(0);
        let line = format!("`--apply` changed nothing, because `{by}` forbids every change");
        assert_eq!(last(&ran), line, "{args:?}");
    }
    let ran = promote(&[], &[("REPIN_DRY_RUN", "true")]).exits(0);
    assert!(
        last(&ran).contains("--apply would change"),
        "{}",
        ran.stderr
    );
    assert_eq!(before, world.snapshot(), "auto-merge was not enabled");
    promote(&["--dry-run", "false"], &[]).exits(0);
    assert_ne!(before, world.snapshot());
}

#[test]
fn files_that_cannot_be_replaced_are_refused() {
    let world = world();
    fs::rename(
        world.path(".github/workflows/none.yml"),
        world.path("real.yml"),
    )
    .unwrap();
    std::os::unix::fs::symlink("../../real.yml", world.path(".github/workflows/none.yml")).unwrap();
    world.refuses(&[], 1, &["file_unsafe"]);
    fs::remove_file(world.path(".github/workflows/none.yml")).unwrap();
    fs::hard_link(
        world.path(".github/workflows/a.yml"),
        world.path("twin.yml"),
    )
    .unwrap();
    let document = world.refuses(&[], 1, &["file_unsafe"]);
    assert!(
        details(&document, "file_unsafe", "fail")[0].contains("2 hard links"),
        "{document}"
    );
}

#[test]
fn a_layout_that_does_not_verify_is_unavailable() {
    let world = world();
    let fix = world.digest("fix", REV_B).to_owned();
    let blob = world.layout("fix").blob_path(&fix);
    let good = fs::read(&blob).unwrap();
    for bad in [
        &good[..good.len() - 1],
        &[&good[..good.len() - 1], b" "].concat(),
        b"",
    ] {
        fs::write(&blob, bad).unwrap();
        let document = world.refuses(&[], 1, &["content_mismatch"]);
        let detail = &details(&document, "content_mismatch", "fail")[0];
        assert!(detail.contains(&fix[7..]), "{document}");
    }
    fs::write(&blob, vec![b' '; 5_000_000]).unwrap();
    let document = world.refuses(&[], 1, &["content_mismatch"]);
    let detail = &details(&document, "content_mismatch", "fail")[0];
    assert!(detail.contains("has 5000000 bytes"), "{document}");
    fs::remove_file(&blob).unwrap();
    world.refuses(&[], 1, &["content_missing"]);
    fs::write(&blob, &good).unwrap();
    // A config of the right size and with the right label, but of other bytes.
    let manifest: serde_json::Value = serde_json::from_slice(&good).unwrap();
    let config = world
        .layout("fix")
        .blob_path(manifest["config"]["digest"].as_str().unwrap());
    let bytes = fs::read_to_string(&config).unwrap();
    fs::write(&config, bytes.replace("1001", "1002")).unwrap();
    let document = world.refuses(&[], 1, &["content_mismatch"]);
    let detail = &details(&document, "content_mismatch", "fail")[0];
    assert!(detail.contains("hash to"), "{document}");
    fs::write(&config, bytes).unwrap();
    fs::write(
        world.path("images/fix/oci-layout"),
        r#"{"imageLayoutVersion":"2.0.0"}"#,
    )
    .unwrap();
    world.refuses(&[], 3, &[]);
    fs::remove_dir_all(world.path("images/fix")).unwrap();
    let ran = world.run(&PROMOTE).exits(3);
    assert!(
        ran.stderr.contains("not an OCI image layout"),
        "{}",
        ran.stderr
    );
}

#[test]
fn failed_check_precedes_outage_and_both_are_reported() {
    let world = world();
    fs::write(world.path("images/fix/index.json"), "{").unwrap();
    world.layout("review").untag(REV_B);
    let document = world.refuses(&[], 1, &["tag_missing"]);
    assert_eq!(document["error"]["code"], "unavailable");
}

#[test]
fn a_tag_that_is_there_twice_is_ambiguous() {
    let world = world();
    let layout = world.layout("fix");
    let other = layout.manifest(&Platform::new("linux/amd64", REV_B).label("x", "y"));
    layout.tag(REV_B, &other);
    world.refuses(&[], 1, &["manifest_ambiguous"]);
}

#[test]
fn ambiguous_document_is_refused() {
    let mut world = world();
    let layout = world.layout("fix");
    let manifest = layout.manifest(&Platform::new("linux/amd64", REV_B));
    let text = fs::read_to_string(layout.blob_path(&manifest.digest)).unwrap();
    let both = serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let mut cases = Vec::new();
    let mut index_too = both.clone();
    index_too["manifests"] = json!([]);
    cases.push(("application/vnd.oci.image.manifest.v1+json", index_too));
    cases.push(("application/vnd.oci.image.index.v1+json", both.clone()));
    let mut other_case = both.clone();
    other_case["Config"] = json!(null);
    cases.push(("application/vnd.oci.image.manifest.v1+json", other_case));
    let mut lies = both.clone();
    lies["mediaType"] = json!("application/vnd.docker.distribution.manifest.v2+json");
    cases.push(("application/vnd.oci.image.manifest.v1+json", lies));
    let nested = layout.index(&[layout.index(&[manifest.descriptor()]).descriptor()]);
    let nested =
        serde_json::from_slice(&fs::read(layout.blob_path(&nested.digest)).unwrap()).unwrap();
    cases.push(("application/vnd.oci.image.index.v1+json", nested));
    let mut attestation = manifest.descriptor();
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let empty = layout.index(&[attestation]);
    let empty =
        serde_json::from_slice(&fs::read(layout.blob_path(&empty.digest)).unwrap()).unwrap();
    cases.push(("application/vnd.oci.image.index.v1+json", empty));
    for (media_type, value) in cases {
        layout.untag(REV_B);
        layout.tag(REV_B, &layout.json(media_type, &value));
        world.refuses(&[], 1, &["manifest_ambiguous"]);
    }
    world.build(REV_B);
    world.run(&PROMOTE).exits(0);
}

#[test]
fn only_attestations_are_skipped_platforms() {
    let world = world();
    let layout = world.layout("fix");
    let real = layout.manifest(&Platform::new("linux/amd64", REV_B));
    let other = layout.manifest(&Platform::new("unknown/unknown", "elsewhere"));
    let mut entry = other.descriptor();
    entry["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    layout.untag(REV_B);
    layout.tag(REV_B, &layout.index(&[real.descriptor(), entry.clone()]));
    world.refuses(&[], 1, &["revision_label"]);
    entry["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    layout.untag(REV_B);
    layout.tag(REV_B, &layout.index(&[real.descriptor(), entry]));
    let document = world
        .run(&["promote", "--revision", REV_B, "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(document["images"][1]["platforms"], json!(["linux/amd64"]));
}

/// A world in which the new `review` lacks linux/arm64.
fn half_built() -> World {
    let mut world = world();
    world.rebuild("review", REV_B, &[Platform::new("linux/amd64", REV_B)]);
    world
}

#[test]
fn lost_platform_is_refused() {
    let world = half_built();
    let document = world.refuses(&[], 1, &["platform_lost"]);
    let lost = details(&document, "platform_lost", "fail");
    assert!(
        lost.len() == 1 && lost[0].contains("linux/arm64"),
        "{document}"
    );
    let json = [&PROMOTE[..], &["--format", "json"]].concat();
    let allow = [&json[..], &["--allow-lost-platform"]].concat();
    let document = world.run(&allow).exits(0).json();
    let allowed = details(&document, "platform_lost", "warn");
    let expected = format!("{}; allowed by --allow-lost-platform", lost[0]);
    assert_eq!(allowed, [expected.as_str()], "{document}");
    let body = document["body"].as_str().unwrap();
    assert!(body.contains("allowed by --allow-lost-platform"), "{body}");
    let kept = details(&document, "platform_lost", "pass");
    assert_eq!(kept.len(), 1, "{document}");
    fs::remove_file(
        world
            .layout("review")
            .blob_path(world.digest("review", REV_A)),
    )
    .unwrap();
    let document = world
        .run(&["promote", "--revision", REV_B, "--format", "json"])
        .exits(0)
        .json();
    assert!(
        details(&document, "platform_lost", "skip")[0].contains("cannot read"),
        "{document}"
    );
}

#[test]
fn only_declared_platforms_are_required() {
    let world = half_built();
    let config = world.read("repin.yaml");
    world.write("repin.yaml", format!("{config}platforms: [linux/x86_64]\n"));
    let json = [&PROMOTE[..], &["--format", "json"]].concat();
    let document = world.run(&json).exits(0).json();
    assert_eq!(details(&document, "platform_lost", "pass").len(), 3);
    let both = "platforms: [linux/amd64, linux/arm64]\n";
    world.write("repin.yaml", format!("{config}{both}"));
    // The other images never had the platform.
    let document = world.refuses(&[], 1, &["platform_lost"]);
    let lost = details(&document, "platform_lost", "fail");
    assert_eq!(lost.len(), 3, "{document}");
    assert!(
        lost[0].starts_with("`platforms` requires linux/arm64, but sha256:"),
        "{document}"
    );
    let of_review = "repository: ghcr.io/acme/review, platforms: [linux/amd64, linux/arm64]";
    world.write(
        "repin.yaml",
        config.replace("repository: ghcr.io/acme/review", of_review) + "platforms: [linux/amd64]\n",
    );
    let document = world.refuses(&[], 1, &["platform_lost"]);
    assert_eq!(details(&document, "platform_lost", "fail").len(), 1);
    world.pin(REV_B);
    let ran = world.run(&["check", "--remote", "--format", "json"]);
    let document = ran.exits(1).json();
    assert_eq!(failed(&document), ["platform_lost"], "{document}");
}

#[test]
fn rollback_to_a_set_without_a_platform_warns() {
    let mut world = world();
    world.rebuild("review", REV_A, &[Platform::new("linux/amd64", REV_A)]);
    world.pin(REV_A);
    let world = world.with_git();
    world.adopt(REV_A);
    world.promoted(REV_B);
    let rollback = ["rollback", "--to", REV_A, "--format", "json"];
    let document = world.run(&rollback).exits(0).json();
    let lost = details(&document, "platform_lost", "warn");
    assert!(
        lost.len() == 1 && lost[0].contains("linux/arm64"),
        "{document}"
    );
    let required = "platforms: [linux/amd64, linux/arm64]\n";
    world.write("repin.yaml", world.read("repin.yaml") + required);
    let document = world.run(&rollback).exits(0).json();
    assert_eq!(details(&document, "platform_lost", "warn").len(), 3);
}

#[test]
fn single_manifest_has_platform_of_its_config() {
    let mut world = world();
    let promote = ["promote", "--revision", REV_B, "--format", "json"];
    let lost = |world: &World, status| {
        let ran = world.run(&promote);
        let document = ran.exits(i32::from(status == "fail")).json();
        let checks = document["checks"].as_array().unwrap().clone();
        let of_fix = checks.into_iter().find(|check| {
            check["code"] == "platform_lost" && check["image"] == "fix" && check["status"] == status
        });
        of_fix.unwrap_or_else(|| panic!("{document}"))
    };
    let same = lost(&world, "pass");
    assert!(
        same["detail"].as_str().unwrap().contains("no platform"),
        "{same}"
    );
    assert!(
        details(&world.run(&promote).json(), "platform_lost", "skip").is_empty(),
        "no check is skipped"
    );
    world.rebuild("fix", REV_B, &[Platform::new("linux/arm64", REV_B)]);
    assert_eq!(lost(&world, "fail")["platform"], "linux/amd64");
    // A manifest without its config has no label.
    let layout = world.layout("fix");
    let manifest = fs::read(layout.blob_path(world.digest("fix", REV_A))).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let config = manifest["config"]["digest"].as_str().unwrap();
    fs::remove_file(layout.blob_path(config)).unwrap();
    let skipped = lost(&world, "skip");
    assert!(
        skipped["detail"].as_str().unwrap().contains("cannot read"),
        "{skipped}"
    );
}

#[test]
fn entry_without_platform_uses_its_config() {
    let world = world();
    let layout = world.layout("fix");
    let only = layout.manifest(&Platform::new("linux/arm64", REV_A));
    let mut entry = only.descriptor();
    entry.as_object_mut().unwrap().remove("platform");
    let index = layout.index(&[entry]).digest;
    let pin = format!("acme/fix@{}", world.digest("fix", REV_A));
    let file = ".github/workflows/b.yml";
    world.replace(file, &pin, &format!("acme/fix@{index}"));
    let document = world
        .run(&["promote", "--revision", REV_B, "--format", "json"])
        .exits(1)
        .json();
    let lost = details(&document, "platform_lost", "fail");
    assert!(
        lost.len() == 1 && lost[0].contains("linux/arm64"),
        "{document}"
    );
}

#[test]
fn required_labels_must_not_be_empty() {
    let mut world = world();
    let config = world.read("repin.yaml")
        + "inventory: { required_labels: [dev.acme.version, org.opencontainers.image.source] }\n";
    world.write("repin.yaml", config);
    let platform = |name, source: &str| {
        Platform::new(name, REV_B)
            .label("dev.acme.version", "1")
            .label("org.opencontainers.image.source", source)
    };
    world.rebuild(
        "review",
        REV_B,
        &[platform("linux/amd64", "x"), platform("linux/arm64", "")],
    );
    world.rebuild("fix", REV_B, &[platform("linux/amd64", "x")]);
    world.rebuild("base", REV_B, &[platform("linux/amd64", "x")]);
    let document = world.refuses(&[], 1, &["label_missing"]);
    assert_eq!(
        details(&document, "label_missing", "fail"),
        ["org.opencontainers.image.source is missing or empty"]
    );
    assert_eq!(
        details(&document, "label_missing", "pass"),
        ["2 required labels are present"; 3]
    );
}

#[test]
fn labels_are_shown_for_each_platform() {
    let mut world = world();
    let platform =
        |name, version: &str| Platform::new(name, REV_B).label("dev.acme.version", version);
    world.rebuild(
        "review",
        REV_B,
        &[platform("linux/amd64", "1"), platform("linux/arm64", "2")],
    );
    let document = world
        .run(&["promote", "--revision", REV_B, "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(
        document["images"][0]["labels"]["dev.acme.version"],
        "linux/amd64: 1, linux/arm64: 2"
    );
}

#[test]
fn sources_prefer_flag_then_environment() {
    let mut world = world();
    world.build(REV_C);
    fs::rename(world.path("images"), world.path("elsewhere")).unwrap();
    world.run(&PROMOTE).exits(3);
    world
        .run_with(
            &PROMOTE,
            &[("REPIN_SOURCES", "ghcr.io/acme=oci:elsewhere\n\n")],
        )
        .exits(0);
    let flag = [
        "promote",
        "--revision",
        REV_B,
        "--source",
        "ghcr.io/acme=oci:elsewhere",
    ];
    world
        .run_with(&flag, &[("REPIN_SOURCES", "ghcr.io/acme=oci:nowhere")])
        .exits(0);
    // A directory on the command line is relative to the current directory, not to the root.
    let args = [
        "--config",
        "../repin.yaml",
        "promote",
        "--revision",
        REV_B,
        "--source",
        "ghcr.io/acme=oci:.",
    ];
    world.run_in(&world.path("elsewhere"), &args, &[]).exits(0);
    world
        .run(&["promote", "--revision", REV_B, "--source", "ghcr.io/acme"])
        .exits(2);
}

#[test]
fn unused_source_is_named() {
    let world = world();
    let promote = |source: &str| {
        let ran = world.run(&[&PROMOTE[..], &["--source", source]].concat());
        ran.exits(0).stderr
    };
    let text = "no repository that was read begins with `ghcr.io/acne`";
    let warned = promote("ghcr.io/acne=oci:images");
    assert_eq!(warned.matches(text).count(), 1, "{warned}");
    let quiet = promote("ghcr.io/acme=oci:images");
    assert!(!quiet.contains("changed nothing"), "{quiet}");
    // Nothing is read of images.
    let scan = world.run(&["scan", "--source", "ghcr.io/acne=oci:images"]);
    assert!(!scan.stderr.contains("changed nothing"), "{}", scan.stderr);
}

#[test]
fn the_users_template_makes_the_body() {
    let world = world();
    world.write(
        "repin.yaml",
        world
            .read("repin.yaml")
            .replace("report: {", "report: { template: body.j2,"),
    );
    world.write("body.j2", "{{ kind }} {{ images[0].name }}");
    let document = world
        .run(&["promote", "--revision", REV_B, "--format", "json"])
        .exits(0)
        .json();
    assert!(
        document["body"]
            .as_str()
            .unwrap()
            .starts_with("promote review\n"),
        "{document}"
    );
    world.write("body.j2", "a\n{{ nobody }}");
    let ran = world
        .run(&["promote", "--revision", REV_B, "--apply"])
        .exits(2);
    assert!(
        ran.stderr.contains("body.j2:2: undefined value\n"),
        "{}",
        ran.stderr
    );
    fs::remove_file(world.path("body.j2")).unwrap();
    let ran = world.run(&["promote", "--revision", REV_B]).exits(2);
    assert!(
        ran.stderr.contains("= help: correct `report.template`"),
        "{}",
        ran.stderr
    );
}

/// A world with comments after its pins, three of which have the shape of a version; A is pinned.
fn commented(policy: &str) -> World {
    let world = world();
    world.write("repin.yaml", world.read("repin.yaml") + policy);
    let fix = format!("ghcr.io/acme/fix@{}", world.digest("fix", REV_A));
    let review = format!("ghcr.io/acme/review@{}", world.digest("review", REV_A));
    let lines = [
        format!("a: {fix} # {REV_A}"),
        format!("b: '{fix}' # {REV_B}"),
        format!("c: [{review}] # {REV_A} again"),
        format!("d: {review} # prod"),
        format!("e: {{ f: {review} }}   #{REV_A}"),
    ];
    for file in ["b.yml", "none.yml"] {
        world.write(&format!(".github/workflows/{file}"), "");
    }
    world.write(".github/workflows/a.yml", lines.join("\n"));
    world
}

#[test]
fn version_comments_are_reported_and_stay() {
    let world = commented("");
    let checked = world.run(&["check", "--remote", "--format", "json"]);
    let warned = |document: &Value| details(document, "version_comment", "warn").join("\n");
    let passed = |document: &Value| details(document, "version_comment", "pass").join("\n");
    let document = checked.json();
    assert_eq!(
        warned(&document),
        format!("1 out-of-date comment: .github/workflows/a.yml:2:5 names {REV_B}, not {REV_A}")
    );
    assert_eq!(
        passed(&document),
        format!("1 comment after the digest: {REV_A}")
    );
    let help = "set `comments: tag`, so that promote and rollback write the tag into the comment";
    assert_eq!(helps(&document, "version_comment"), [help]);
    // Without a registry, the version of a digest is unknown.
    let document = world.run(&["check", "--format", "json"]).exits(0).json();
    assert_eq!(warned(&document) + &passed(&document), "");
    let old = world.read(".github/workflows/a.yml");
    let ran = world.run(&[
        "promote",
        "--revision",
        REV_B,
        "--apply",
        "--format",
        "json",
    ]);
    let document = ran.exits(0).json();
    assert_eq!(
        warned(&document),
        format!(
            "1 out-of-date comment: .github/workflows/a.yml:5:9 names {REV_A}, not {REV_B}\n\
             1 out-of-date comment: .github/workflows/a.yml:1:4 names {REV_A}, not {REV_B}"
        )
    );
    let expected = old
        .replace(world.digest("fix", REV_A), world.digest("fix", REV_B))
        .replace(world.digest("review", REV_A), world.digest("review", REV_B));
    assert_eq!(world.read(".github/workflows/a.yml"), expected);
}

#[test]
fn version_comments_move_with_their_pins() {
    let world = commented("comments: tag\n");
    let old = world.read(".github/workflows/a.yml");
    let promote = [
        "promote",
        "--revision",
        REV_B,
        "--apply",
        "--format",
        "json",
    ];
    let document = world.run(&promote).exits(0).json();
    assert_eq!(details(&document, "version_comment", "warn"), [""; 0]);
    let expected = old
        .replace(world.digest("fix", REV_A), world.digest("fix", REV_B))
        .replace(world.digest("review", REV_A), world.digest("review", REV_B))
        .replace(&format!("# {REV_A}\n"), &format!("# {REV_B}\n"))
        .replace(&format!("#{REV_A}"), &format!("#{REV_B}"));
    assert_eq!(world.read(".github/workflows/a.yml"), expected);
    // The digests are correct, so only a comment is changed.
    let wrong = expected.replace(&format!("#{REV_B}"), &format!("#{REV_A}"));
    world.write(".github/workflows/a.yml", &wrong);
    let checked = world.run(&["check", "--remote", "--format", "json"]);
    let help = "the next promote or rollback writes the tag into the comment";
    assert_eq!(helps(&checked.json(), "version_comment"), [help]);
    let document = world.run(&promote).exits(0).json();
    assert_eq!(document["files"][0]["pins"], 1, "{document}");
    assert_eq!(world.read(".github/workflows/a.yml"), expected);
}

#[test]
fn comment_that_contradicts_its_tag_is_reported() {
    let world = world();
    let text = world.read(".github/workflows/a.yml");
    let digest = world.digest("fix", REV_A);
    let pin = format!("ghcr.io/acme/fix:{REV_A}@{digest}");
    assert!(!text.contains(&pin));
    let pins = format!("a: {pin} # {REV_A}\nb: {pin} # {REV_B}\n");
    for file in ["b.yml", "none.yml"] {
        world.write(&format!(".github/workflows/{file}"), "");
    }
    world.write(".github/workflows/a.yml", pins);
    let config = world.read("repin.yaml").replace("pins: 3", "pins: 0");
    world.write("repin.yaml", config);
    for remote in [&[][..], &["--remote"]] {
        let document = world
            .run(&[&["check", "--format", "json"], remote].concat())
            .json();
        let warned = details(&document, "version_comment", "warn");
        assert_eq!(
            warned,
            [format!(
                "1 out-of-date comment: .github/workflows/a.yml:2:4 names {REV_B}, not {REV_A}"
            )]
        );
    }
}

/// The helps of the checks with this code.
fn helps(document: &Value, code: &str) -> Vec<String> {
    let checks = document["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["code"] == code)
        .filter_map(|check| Some(check["help"].as_str()?.to_owned()))
        .collect()
}

#[test]
fn equal_inputs_result_in_equal_bytes() {
    let world = world();
    let args = ["promote", "--revision", REV_B, "--format", "json"];
    assert_eq!(world.run(&args).stdout, world.run(&args).stdout);
}

#[test]
fn two_digests_for_an_image_are_refused() {
    let world = world();
    let (one, other) = (world.digest("fix", REV_A), world.digest("fix", REV_B));
    let run = |first: &str, second: &str, exit: i32| {
        let given = [first, second].map(|digest| format!("fix={digest}"));
        let [first, second] = &given;
        let args = [
            "promote",
            "--revision",
            REV_B,
            "--digest",
            first,
            "--digest",
            second,
        ];
        world.run(&args).exits(exit)
    };
    let ran = run(one, other, 2);
    assert!(
        ran.stderr.contains("duplicate digest for `fix`"),
        "{}",
        ran.stderr
    );
    run(other, one, 2);
    run(other, other, 0);
}

#[test]
fn a_report_names_no_directory_of_the_machine() {
    let world = world();
    let args = ["promote", "--revision", REV_B, "--format", "json"];
    let document = world.run(&args).exits(0).json();
    let body = document["body"].as_str().unwrap();
    assert!(body.contains("is not in a git repository"), "{body}");
    let root = world.root().to_str().unwrap();
    assert!(!document.to_string().contains(root), "{document}");
}

#[test]
fn template_may_have_1_mib() {
    let world = world();
    world.replace("repin.yaml", "report: {", "report: { template: body.j2,");
    let comment = |length: usize| format!("{{#{}#}}", " ".repeat(length - 4));
    world.write("body.j2", comment(1 << 20));
    let args = ["promote", "--revision", REV_B];
    world.run(&args).exits(0);
    world.write("body.j2", comment((1 << 20) + 1));
    let ran = world.run(&args).exits(2);
    assert!(ran.stderr.contains("larger than 1 MiB"), "{}", ran.stderr);
}
