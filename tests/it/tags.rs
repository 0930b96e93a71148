//! The forms of tags: abbreviated commits, tags with a changing part, and versions.

use std::{fmt::Write as _, fs};

use serde_json::{Value, json};

use crate::support::{
    fleet::{Fleet, options},
    forge::Kind,
    layout::Platform,
    pruned::{Real, old, pinned},
    registry::{Protection, Registry, run as run_tool},
    scene::{protection, tags},
    world::{REV_A, World, details, failed, whole, world},
};

/// A commit of another repository.
const COMMIT: &str = "b330f60cf4e6a1b2c3d4e5f60718293a4b5c6d7e";
/// Another commit with the same first 8 digits.
const TWIN: &str = "b330f60c00000000000000000000000000000000";
const IMAGES: [&str; 3] = ["review", "fix", "base"];

/// Images of the default world with this `revision` block.
fn world_with(revision: &str) -> World {
    let world = world();
    let config = world.read("repin.yaml");
    world.write("repin.yaml", format!("{config}revision: {revision}\n"));
    world
}

/// Adds a build of an image for two platforms; returns its digest.
fn build(world: &World, image: &str, tag: &str, revisions: [&str; 2]) -> String {
    let [amd64, arm64] = revisions;
    let platforms = [
        Platform::new("linux/amd64", amd64).files(&[("tag", tag), ("image", image)]),
        Platform::new("linux/arm64", arm64).files(&[("tag", tag), ("image", image)]),
    ];
    world.layout(image).image(tag, &platforms)
}

/// Builds all images of [`COMMIT`] under a tag.
fn build_all(world: &World, tag: &str) {
    for image in IMAGES {
        build(world, image, tag, [COMMIT; 2]);
    }
}

fn promote(world: &World, revision: &str, exit: i32) -> Value {
    let args = ["promote", "--revision", revision, "--format", "json"];
    world.run(&args).exits(exit).json()
}

fn error_of(world: &World, revision: &str) -> Value {
    promote(world, revision, 2)["errors"][0].clone()
}

#[test]
fn abbreviated_tag_needs_the_full_label() {
    let world = world_with("{ tag: 'sha-{revision:7}' }").with_git();
    build_all(&world, "sha-b330f60");
    let full = promote(&world, COMMIT, 0);
    assert_eq!(full["revision"], COMMIT);
    assert_eq!(full["title"], format!("promote: test images @{COMMIT}"));
    let text = full["diff"].as_str().unwrap();
    assert!(
        text.contains("ghcr.io/acme/review:sha-b330f60@sha256:"),
        "{text}"
    );
    // No clone contains the commit, so the labels complete it.
    for abbreviation in [&COMMIT[..7], &COMMIT[..12], &COMMIT[..39]] {
        assert_eq!(promote(&world, abbreviation, 0), full, "{abbreviation}");
    }
    let resolved = world.run(&["resolve", "--revision", "b330f60", "--format", "json"]);
    assert_eq!(resolved.exits(0).json()["revision"], COMMIT);
    let set = world.run(&["set", "--revision", "b330f60", "--out", "set.json"]);
    set.exits(0);
    assert!(world.read("set.json").contains(COMMIT));
}

#[test]
fn commit_of_the_clone_completes_an_abbreviation() {
    let world = world_with("{ tag: 'sha-{revision:7}' }").with_git();
    let head = world.head();
    for image in IMAGES {
        build(&world, image, &format!("sha-{}", &head[..7]), [&head; 2]);
    }
    assert_eq!(promote(&world, &head[..4], 0)["revision"], head);
}

#[test]
fn abbreviation_that_is_too_short_is_refused() {
    let world = world_with("{ tag: 'sha-{revision:12}' }").with_git();
    build_all(&world, "sha-b330f60cf4e6");
    promote(&world, &COMMIT[..12], 0);
    let error = error_of(&world, &COMMIT[..11]);
    assert_eq!(error["code"], "revision_shape");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("at least 12 digits"), "{message}");
    world.replace("repin.yaml", "{revision:12}", "{revision}");
    let error = error_of(&world, &COMMIT[..39]);
    assert_eq!(error["code"], "revision_shape");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("requires the full revision"), "{message}");
    world.replace("repin.yaml", "sha-{revision}", "sha-{revision:7}");
    assert_eq!(error_of(&world, &COMMIT[..6])["code"], "revision_shape");
}

#[test]
fn registry_expands_abbreviation_of_a_build() {
    let world = world_with("{ tag: 'v-{revision}' }").with_git();
    build_all(&world, &format!("v-{COMMIT}"));
    // As `builds` prints it.
    let ran = world.run(&["builds"]).exits(0);
    let printed = ran.stdout.lines().nth(1).unwrap();
    let printed = printed.split(' ').next().unwrap();
    assert_eq!(printed, &COMMIT[..12]);
    assert_eq!(promote(&world, printed, 0)["revision"], COMMIT);
    assert_eq!(promote(&world, &COMMIT[..4], 0)["revision"], COMMIT);
    let ran = world.run(&["resolve", "--revision", printed]).exits(0);
    assert!(ran.stdout.contains("sha256:"), "{}", ran.stdout);

    let error = error_of(&world, "0123456789ab");
    assert_eq!(error["code"], "revision_shape");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("no build in the registry begins with"),
        "{message}"
    );
    // A second build that begins in the same way.
    let near = format!("{}{}", &COMMIT[..12], "0".repeat(28));
    build_all(&world, &format!("v-{near}"));
    let error = error_of(&world, &COMMIT[..12]);
    assert_eq!(error["code"], "revision_shape");
    let message = error["message"].as_str().unwrap();
    for part in ["several builds begin with it", &near, COMMIT] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(promote(&world, &COMMIT[..14], 0)["revision"], COMMIT);
    // A rollback searches history.
    let ran = world.run(&["rollback", "--to", &COMMIT[..14]]).exits(2);
    assert!(
        ran.stderr
            .contains("no set on origin/main has the revision"),
        "{}",
        ran.stderr
    );
}

#[test]
fn label_must_begin_with_the_abbreviation() {
    let world = world_with("{ tag: 'sha-{revision:7}' }");
    for image in ["review", "base"] {
        build(&world, image, "sha-b330f60", [COMMIT; 2]);
    }
    build(&world, "fix", "sha-b330f60", [REV_A; 2]);
    let document = promote(&world, "b330f60c", 1);
    assert_eq!(failed(&document), ["revision_label"]);
    assert_eq!(document["revision"], "b330f60c");
    assert_eq!(document["title"], "promote: test images @b330f60c");
    assert_eq!(document["approved"], false);
    let detail = &details(&document, "revision_label", "fail")[0];
    assert!(detail.contains("begins with `b330f60c`"), "{detail}");
}

#[test]
fn abbreviation_needs_every_image() {
    let world = world_with("{ tag: 'sha-{revision:7}' }");
    build_all(&world, "sha-b330f60");
    fs::write(world.path("images/fix/index.json"), "{").unwrap();
    let document = promote(&world, "b330f60c", 3);
    assert_eq!(document["approved"], false);
    let error = document["error"].to_string();
    assert!(error.contains("images/fix"), "{document}");
}

#[test]
fn images_and_platforms_must_have_one_revision() {
    let disagree = |world: &World| {
        let document = promote(world, "b330f60c", 1);
        assert_eq!(failed(&document), ["set_disagree"], "{document}");
        assert_eq!(document["revision"], "b330f60c");
        let detail = details(&document, "set_disagree", "fail").remove(0);
        assert!(detail.contains(COMMIT) && detail.contains(TWIN), "{detail}");
    };
    let world = world_with("{ tag: 'sha-{revision:7}' }");
    for image in ["review", "base"] {
        build(&world, image, "sha-b330f60", [COMMIT; 2]);
    }
    build(&world, "fix", "sha-b330f60", [TWIN; 2]);
    disagree(&world);
    world.layout("fix").untag("sha-b330f60");
    build(&world, "fix", "sha-b330f60", [COMMIT, TWIN]);
    disagree(&world);
    world.layout("fix").untag("sha-b330f60");
    assert_eq!(failed(&promote(&world, "b330f60c", 1)), ["tag_missing"]);
    build(&world, "fix", "sha-b330f60", [COMMIT; 2]);
    assert_eq!(promote(&world, "b330f60c", 0)["revision"], COMMIT);
}

#[test]
fn exactly_one_tag_must_match_a_pattern() {
    let world = world_with("{ tag: 'main-{revision:7}-*' }").with_git();
    assert_eq!(failed(&promote(&world, COMMIT, 1)), ["tag_missing"]);
    build_all(&world, "main-b330f60-100");
    build_all(&world, "other-b330f60-200");
    let document = promote(&world, COMMIT, 0);
    let text = document["diff"].as_str().unwrap();
    assert!(text.contains("review:main-b330f60-100@sha256:"), "{text}");
    assert_eq!(promote(&world, "b330f60", 0), document);

    let second = build(&world, "fix", "main-b330f60-200", [COMMIT; 2]);
    let document = promote(&world, COMMIT, 1);
    assert_eq!(failed(&document), ["tag_ambiguous"]);
    let detail = details(&document, "tag_ambiguous", "fail").remove(0);
    for tag in ["main-b330f60-100", "main-b330f60-200"] {
        assert!(detail.contains(tag), "{detail}");
    }
    let resolved = world.run(&["resolve", "--revision", COMMIT]).exits(1);
    assert!(
        resolved.stderr.contains("error[tag_ambiguous]"),
        "{}",
        resolved.stderr
    );

    // A known digest selects one of several tags.
    let digest = format!("fix={second}");
    let args = [
        "promote",
        "--revision",
        "b330f60",
        "--digest",
        &digest,
        "--apply",
    ];
    world.run(&args).exits(0);
    assert!(world.read(".github/workflows/b.yml").contains(&second));
    let check = world.run(&["check", "--remote", "--format", "json"]);
    assert_eq!(check.exits(0).json()["clean"], true);

    let wrong = format!("fix=sha256:{}", "0".repeat(64));
    let args = [
        "promote",
        "--revision",
        COMMIT,
        "--digest",
        &wrong,
        "--format",
        "json",
    ];
    let document = world.run(&args).exits(1).json();
    assert_eq!(failed(&document), ["digest_mismatch"]);
    let detail = details(&document, "digest_mismatch", "fail").remove(0);
    assert!(
        detail.contains("none resolves to the digest that --digest expects"),
        "{detail}"
    );
}

#[test]
fn rollback_selects_the_tag_of_the_pinned_digest() {
    let world = world_with("{ tag: 'main-{revision:7}-*' }").with_git();
    build_all(&world, "main-b330f60-100");
    for image in IMAGES {
        build(&world, image, "main-aaaaaaa-100", [REV_A; 2]);
    }
    for revision in [COMMIT, REV_A] {
        world
            .run(&["promote", "--revision", revision, "--apply"])
            .exits(0);
        world.commit(&format!("promote: test images @{revision}"));
        world.push();
    }
    let [first, _] = ["100", "200"].map(|number| {
        let tag = format!("main-b330f60-{number}");
        if number == "200" {
            build_all(&world, &tag);
        }
        tag
    });
    let args = ["rollback", "--to", "b330f60", "--format", "json"];
    let document = world.run(&args).exits(0).json();
    assert_eq!(document["revision"], COMMIT);
    let text = document["diff"].as_str().unwrap();
    assert!(text.contains(&format!("review:{first}@")), "{text}");
    for image in IMAGES {
        world.layout(image).untag(&first);
        build(&world, image, "main-b330f60-300", [COMMIT; 2]);
    }
    let document = world.run(&args).exits(1).json();
    assert!(
        failed(&document).contains(&"digest_mismatch".to_owned()),
        "{document}"
    );
}

#[test]
fn rollback_needs_no_build_of_an_image_without_pins() {
    let world = world_with("{ tag: 'sha-{revision:7}' }");
    let config = world.read("repin.yaml") + "provenance: { require: [content] }\n";
    world.write("repin.yaml", config);
    let world = world.with_git();
    world.push();
    let args = ["rollback", "--to", "b330f60", "--format", "json"];
    let failing = || failed(&world.run(&args).exits(1).json());
    build(&world, "review", "sha-b330f60", [COMMIT; 2]);
    assert_eq!(failing(), ["tag_missing"]);
    build(&world, "fix", "sha-b330f60", [COMMIT; 2]);
    assert_eq!(failing(), ["provenance_content"]);
}

#[test]
fn pattern_selects_a_tag_of_a_real_registry() {
    let world = world_with("{ tag: 'main-{revision:7}-*' }");
    build_all(&world, "main-b330f60-100");
    build_all(&world, "main-c000000-100");
    let storage = tempfile::tempdir().unwrap();
    let registry = Registry::start(storage.path(), &Protection::None);
    let push = |image: &str, tag: &str| {
        let from = format!("oci:{}:{tag}", world.path("images").join(image).display());
        let to = format!("docker://{}/acme/{image}:{tag}", registry.host);
        let flags = [
            "copy",
            "-q",
            "--all",
            "--preserve-digests",
            "--insecure-policy",
        ];
        let last = ["--dest-tls-verify=false", &from, &to];
        run_tool("skopeo", &[&flags[..], &last].concat());
    };
    for image in IMAGES {
        push(image, "main-b330f60-100");
        push(image, "main-c000000-100");
    }
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host);
    let args = [
        "--source",
        &source,
        "promote",
        "--revision",
        "b330f60",
        "--format",
        "json",
    ];
    let document = world.run(&args).exits(0).json();
    assert_eq!(document["revision"], COMMIT);
    let lists = |requests: Vec<String>| {
        requests
            .iter()
            .filter(|line| line.contains("/acme/fix/tags/list"))
            .count()
    };
    // One page, and one that shows that it was the last.
    assert_eq!(lists(registry.requests()), 2, "{:?}", registry.requests());
    build(&world, "fix", "main-b330f60-200", [COMMIT; 2]);
    push("fix", "main-b330f60-200");
    let document = world.run(&args).exits(1).json();
    assert_eq!(failed(&document), ["tag_ambiguous"]);
    assert_eq!(document["revision"], "b330f60");
}

#[test]
fn version_is_the_revision() {
    let label = "org.opencontainers.image.version";
    let world = world_with(&format!(
        "{{ pattern: semver, tag: 'v{{revision}}', label: {label} }}"
    ));
    for (image, version) in IMAGES.iter().zip(["v1.4.2", "1.4.2", "v1.4.2"]) {
        let platform = Platform::new("linux/amd64", REV_A).label(label, version);
        let platform = platform.files(&[("image", image)]);
        world.layout(image).image("v1.4.2", &whole(image, platform));
    }
    let document = promote(&world, "1.4.2", 0);
    assert_eq!(document["title"], "promote: test images @1.4.2");
    let args = ["promote", "--revision", "1.4.2", "--apply"];
    world.run(&args).exits(0);
    let check = world.run(&["check", "--remote", "--format", "json"]);
    assert_eq!(check.exits(0).json()["clean"], true);
    for malformed in ["v1.4.2", "1.4", "1.4.2+linux", "HEAD", "b330f60"] {
        assert_eq!(error_of(&world, malformed)["code"], "revision_shape");
    }
    let platform = Platform::new("linux/amd64", REV_A).label(label, "vv1.4.2");
    world.layout("fix").untag("v1.4.2");
    world.layout("fix").image("v1.4.2", &[platform]);
    assert_eq!(failed(&promote(&world, "1.4.2", 1)), ["revision_label"]);
}

#[test]
fn complete_version_abbreviates_no_other() {
    let label = "org.opencontainers.image.version";
    let world = world_with(&format!(
        "{{ pattern: semver, tag: '{{revision}}', label: {label} }}"
    ));
    let world = world.with_git();
    for version in ["1.20.30", "1.20.300"] {
        for image in IMAGES {
            let platform = Platform::new("linux/amd64", version).label(label, version);
            let platform = platform.files(&[("image", image)]);
            world.layout(image).image(version, &whole(image, platform));
        }
        world
            .run(&["promote", "--revision", version, "--apply"])
            .exits(0);
        world.commit(&format!("promote: test images @{version}"));
        world.push();
    }
    for command in ["rollback", "rehearse"] {
        world.run(&[command, "--to", "1.20.30"]).exits(0);
    }
}

#[test]
fn revision_without_tag_fails_remote_check() {
    let world = world_with("{ pattern: '[a-z0-9]+', tag: '{revision}' }").with_git();
    for image in IMAGES {
        build(&world, image, "release1", ["release1"; 2]);
    }
    let args = ["promote", "--revision", "release1", "--apply"];
    world.run(&args).exits(0);
    let check = ["check", "--remote", "--format", "json"];
    assert_eq!(world.run(&check).exits(0).json()["clean"], true);
    world.replace("repin.yaml", "'{revision}'", "'sha-{revision:7}'");
    let document = world.run(&check).exits(1).json();
    assert_eq!(failed(&document), ["tag_missing"]);
    let detail = &details(&document, "tag_missing", "fail")[0];
    assert!(
        detail.contains("`release1` does not begin with 7 hexadecimal digits"),
        "{detail}"
    );
}

#[test]
fn missing_tag_of_another_form_shows_both_forms() {
    let mut world = world();
    world.rebuild("fix", REV_A, &[Platform::new("linux/amd64", REV_A)]);
    let digest = world.digest("review", REV_A).to_owned();
    let pin = format!("ghcr.io/acme/review:sha-aaaaaaa@{digest}\n");
    world.write(".github/workflows/a.yml", pin.repeat(2));
    let document = promote(&world, COMMIT, 1);
    let help = |image: &str| {
        let checks = document["checks"].as_array().unwrap();
        let mut missing = checks.iter().filter(|check| check["code"] == "tag_missing");
        missing
            .find(|check| check["image"] == image)
            .unwrap()
            .clone()
    };
    let review = help("review");
    let detail = review["detail"].as_str().unwrap();
    assert!(
        detail.contains("`sha-aaaaaaa`") && detail.contains("`{revision}`"),
        "{detail}"
    );
    assert!(
        !review["help"]
            .as_str()
            .unwrap()
            .contains("push every image"),
        "{review}"
    );
    let fix = help("fix");
    assert!(
        fix["help"].as_str().unwrap().contains("push every image"),
        "{fix}"
    );
    // A tag of the form of `revision.tag` is not shown.
    world.replace(".github/workflows/a.yml", "sha-aaaaaaa", REV_A);
    let document = promote(&world, COMMIT, 1);
    let shown = document["checks"].to_string();
    assert!(!shown.contains("is pinned with"), "{shown}");
    // A tag that moves does not have the form of any build.
    world.replace(".github/workflows/a.yml", REV_A, "latest");
    let shown = promote(&world, COMMIT, 1)["checks"].to_string();
    assert!(!shown.contains("is pinned with"), "{shown}");
}

#[test]
fn missing_tag_of_an_abbreviation_shows_both_forms() {
    let world = world_with("{ tag: 'sha-{revision:7}' }");
    let digest = world.digest("review", REV_A);
    let pin = format!("ghcr.io/acme/review:main-aaaaaaa@{digest}\n");
    world.write(".github/workflows/a.yml", pin.repeat(2));
    let document = promote(&world, "ccccccc", 1);
    let shown = document["checks"].to_string();
    assert!(
        shown.contains("`main-aaaaaaa`") && shown.contains("`sha-{revision:7}`"),
        "{shown}"
    );
}

#[test]
fn malformed_tag_templates_are_refused() {
    for (revision, reason) in [
        ("{ tag: 'sha-{revision:6}' }", "N from 7 to 40"),
        ("{ tag: 'sha-{revision:41}' }", "N from 7 to 40"),
        ("{ tag: 'sha-*' }", "is missing"),
        ("{ tag: '{revision}-{revision:7}' }", "a second"),
        (
            "{ pattern: semver, tag: '{revision:7}' }",
            "not abbreviated",
        ),
    ] {
        let world = world_with(revision);
        let ran = world.run(&["check"]).exits(2);
        assert!(ran.stderr.contains(reason), "{}", ran.stderr);
    }
    for title in ["promote: {revision:7}", "promote {rev}"] {
        let world = world();
        let config = world.read("repin.yaml");
        world.write(
            "repin.yaml",
            format!("{config}promote: {{ title: '{title}' }}\n"),
        );
        let ran = world.run(&["check"]).exits(2);
        assert!(ran.stderr.contains("unknown placeholder"), "{}", ran.stderr);
    }
}

#[test]
fn prune_protects_each_tag_that_a_pattern_matches() {
    let (released, stale) = (old("released"), old("stale"));
    let tagged = [
        ("main", &pinned()),
        ("pending-b330f60-100", &released),
        ("pending-c330f60-100", &stale),
    ];
    let real = Real::new("", &tagged);
    let candidates = |real: &Real| tags(&real.scene.prune(&[], 0)["images"][0]["candidates"]);
    let config = real.scene.read("repin.yaml");
    real.scene
        .commit(&format!("promote: test images @{COMMIT}"));
    assert_eq!(
        candidates(&real),
        ["pending-b330f60-100", "pending-c330f60-100"]
    );
    let tag = "revision: { tag: 'pending-{revision:7}-*' }\n";
    real.scene.write("repin.yaml", format!("{config}{tag}"));
    real.scene.commit("tags in use");
    assert_eq!(candidates(&real), ["pending-c330f60-100"]);
    let document = real.scene.prune(&[], 0);
    let reason = protection(&document["images"][0], "pending-b330f60-100");
    assert!(reason.contains(COMMIT), "{reason}");
}

#[test]
fn fleet_completes_an_abbreviation() {
    let mut options = options(Kind::Github, 2);
    options.branch = format!("repin/promote-{COMMIT}");
    let fleet = Fleet::new(options);
    let config = fleet.read("repin.yaml");
    let pattern = "revision: { pattern: 'x|[0-9a-f]{40}' }";
    assert!(config.contains(pattern));
    fleet.write(
        "repin.yaml",
        config.replace(pattern, "revision: { tag: 'sha-{revision:7}' }"),
    );
    for image in ["api", "web"] {
        build(&fleet, image, "sha-b330f60", [COMMIT; 2]);
    }
    let args = [
        "fleet",
        "promote",
        "--list",
        "list.txt",
        "--out",
        "out.jsonl",
        "--revision",
    ];
    fleet.run(&[&args[..], &["b330f60"]].concat()).exits(0);
    for line in fleet.lines("out.jsonl") {
        assert_eq!(
            (&line["revision"], &line["outcome"]),
            (&json!(COMMIT), &json!("planned"))
        );
    }
    fleet.run(&[&args[..], &["b330f60d"]].concat()).exits(1);
}

/// Pins images with tags in a directory without a configuration, and runs `init`.
fn init(world: &World, pins: &[(&str, &str, &str)]) -> Value {
    let mut text = String::new();
    for (image, tag, digest) in pins {
        writeln!(text, "image: ghcr.io/acme/{image}:{tag}@{digest}").unwrap();
    }
    world.write("deploy/a.yml", text);
    let source = "ghcr.io/acme=oci:images";
    let args = [
        "init",
        "--dry-run",
        "true",
        "--source",
        source,
        "--format",
        "json",
    ];
    world.run(&args).exits(0).json()
}

#[test]
fn init_infers_the_form_of_tags() {
    let label = "org.opencontainers.image.version";
    for (tag, revision, settings) in [
        ("sha-b330f60", COMMIT, "  tag: \"sha-{revision:7}\"\n"),
        ("b330f60", COMMIT, "  tag: \"{revision:7}\"\n"),
        (
            "main-b330f60-1732291200",
            COMMIT,
            "  tag: \"main-{revision:7}-*\"\n",
        ),
        (
            "v1.4.2",
            "1.4.2",
            "  pattern: semver\n  tag: \"v{revision}\"\n  label: org",
        ),
        (
            "1.4.2",
            "1.4.2",
            "  pattern: semver\n  tag: \"{revision}\"\n  label: org",
        ),
    ] {
        let world = World::empty();
        let mut digests = Vec::new();
        for image in ["api", "web"] {
            let platform = Platform::new("linux/amd64", COMMIT).files(&[("image", image)]);
            digests.push(
                world
                    .layout(image)
                    .image(tag, &[platform.label(label, tag)]),
            );
        }
        let document = init(
            &world,
            &[("api", tag, &digests[0]), ("web", tag, &digests[1])],
        );
        let content = document["content"].as_str().unwrap();
        assert!(content.contains("\nrevision:\n"), "{content}");
        assert!(content.contains(settings), "{content}");
        assert_eq!(document["warnings"], json!([]), "{tag}");
        // The written configuration finds the current set by its tags.
        world.write("repin.yaml", content);
        let source = ["--source", "ghcr.io/acme=oci:images"];
        let check = [&["check", "--remote"], &source[..]].concat();
        world.run(&check).exits(0);
        let resolve = [&["resolve", "--revision", revision], &source[..]].concat();
        world.run(&resolve).exits(0);
    }
}

#[test]
fn init_believes_no_hexadecimal_tag_without_its_label() {
    let world = World::empty();
    let digest = world
        .layout("api")
        .image("20261120", &[Platform::new("linux/amd64", COMMIT)]);
    let document = init(&world, &[("api", "20261120", &digest)]);
    let content = document["content"].as_str().unwrap();
    assert!(content.contains("\n#revision:\n"), "{content}");
    let warning = document["warnings"][0].as_str().unwrap();
    assert!(warning.contains("no known form: 20261120"), "{warning}");

    // Without the image, the settings are a suggestion.
    std::fs::remove_dir_all(world.path("images")).unwrap();
    let document = init(&world, &[("api", "b330f60", &digest)]);
    let content = document["content"].as_str().unwrap();
    assert!(content.contains("\n#revision:\n"), "{content}");
    assert!(
        content.contains("\n  #tag: \"{revision:7}\"\n"),
        "{content}"
    );
    let warning = document["warnings"][0].as_str().unwrap();
    assert!(warning.contains("suggest"), "{warning}");
}

#[test]
fn init_lists_tags_of_an_unknown_form() {
    let world = World::empty();
    let digest = world
        .layout("api")
        .image("stable", &[Platform::new("linux/amd64", COMMIT)]);
    let document = init(
        &world,
        &[("api", "stable", &digest), ("web", "b330f60", &digest)],
    );
    let warning = document["warnings"][0].as_str().unwrap();
    for part in [
        "stable",
        "b330f60",
        "revision.tag",
        "revision.pattern",
        "revision.label",
    ] {
        assert!(warning.contains(part), "{warning}");
    }
}
