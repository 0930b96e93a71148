//! Failures whose remedy keeps what git records and what the registry has: pins of one platform, tags that are
//! missing, artifacts that are no images, and content of a wrong size.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::support::{
    Digest,
    images::Image,
    layout::Platform,
    pruned::push,
    registry::{Protection, Registry},
    world::{REV_A, REV_B, World, details, failed, world},
};

const TO_A: [&str; 3] = ["rollback", "--to", REV_A];
const CHECK: [&str; 4] = ["check", "--remote", "--format", "json"];

fn json_of(world: &World, args: &[&str], exit: i32) -> Value {
    let args = [args, &["--format", "json"]].concat();
    world.run(&args).exits(exit).json()
}

/// The digest of one platform of an index.
fn part(world: &World, image: &str, revision: &'static str) -> String {
    let index = world.layout(image).blob_path(world.digest(image, revision));
    let index: Value = serde_json::from_slice(&fs::read(index).unwrap()).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}

/// Replaces the pins of `review` at a revision with one platform of it.
fn pin_part(world: &World, revision: &'static str) -> String {
    let part = part(world, "review", revision);
    for file in [".github/workflows/a.yml", ".github/workflows/b.yml"] {
        world.replace(file, world.digest("review", revision), &part);
    }
    part
}

/// The help of the first failure.
fn help(document: &Value) -> String {
    let checks = document["checks"].as_array().unwrap();
    let failure = checks.iter().find(|check| check["status"] == "fail");
    failure.unwrap()["help"].as_str().unwrap().to_owned()
}

#[test]
fn pinned_platform_is_repaired_by_a_promotion() {
    let world = world();
    let part = pin_part(&world, REV_A);
    let document = world.run(&CHECK).exits(1).json();
    assert_eq!(failed(&document), ["digest_mismatch"], "{document}");
    let detail = &details(&document, "digest_mismatch", "fail")[0];
    let index = world.digest("review", REV_A);
    assert!(
        detail.contains(&format!(
            "{part} is the linux/amd64 part of the index that ghcr.io/acme/review:{REV_A} resolves to, {index}"
        )),
        "{detail}"
    );
    let help = help(&document);
    assert!(help.contains("the tag was not moved"), "{help}");
    assert!(
        help.contains("repin promote --revision REV --apply"),
        "{help}"
    );
    world
        .run(&["promote", "--revision", REV_A, "--apply"])
        .exits(0);
    assert!(!world.read(".github/workflows/a.yml").contains(&part));
    let document = world.run(&CHECK).exits(0).json();
    assert_eq!(details(&document, "digest_mismatch", "pass").len(), 2);
}

#[test]
fn recorded_platform_is_no_moved_tag() {
    let world = world();
    let part = pin_part(&world, REV_A);
    let world = world.with_git();
    world.adopt(REV_A);
    world.promoted(REV_B);
    let document = world.refuses_to(&TO_A, 1, &["digest_mismatch"]);
    let detail = &details(&document, "digest_mismatch", "fail")[0];
    assert!(
        detail.contains(&format!("{part}, which is only its image for linux/amd64")),
        "{detail}"
    );
    let help = help(&document);
    assert!(help.contains("the tag was not moved"), "{help}");
    assert!(!help.contains("skopeo"), "{help}");
    let by_digest = [&TO_A[..], &["--by-digest", "--apply"]].concat();
    world.run(&by_digest).exits(0);
    assert!(world.read(".github/workflows/a.yml").contains(&part));
}

#[test]
fn digest_of_one_platform_is_no_other_build() {
    let world = world();
    let part = part(&world, "review", REV_B);
    let digest = format!("review={part}");
    let document = world.refuses(&["--digest", &digest], 1, &["digest_mismatch"]);
    let help = help(&document);
    let index = world.digest("review", REV_B);
    assert!(
        help.contains("the digest of the index") && help.contains(index),
        "{help}"
    );
}

/// A was promoted, then B.
fn promoted() -> World {
    let world = world().with_git();
    world.adopt(REV_A);
    world.promoted(REV_B);
    world
}

#[test]
fn recorded_digest_without_its_tag_is_offered() {
    let mut world = promoted();
    let recorded = world.digest("fix", REV_A).to_owned();
    world.layout("fix").untag(REV_A);
    let moved = [Platform::new("linux/amd64", REV_A).label("moved", "yes")];
    for code in ["tag_missing", "digest_mismatch"] {
        let document = world.refuses_to(&TO_A, 1, &[code]);
        let detail = &details(&document, code, "fail")[0];
        assert!(
            detail.contains(&recorded) && detail.contains("exists, and its label is that of"),
            "{detail}"
        );
        let help = help(&document);
        assert!(help.contains("`--by-digest`"), "{help}");
        assert!(!help.contains("build"), "{help}");
        let document = json_of(&world, &[&TO_A[..], &["--by-digest"]].concat(), 0);
        let allowed = &details(&document, code, "warn")[0];
        assert!(allowed.ends_with("; allowed by --by-digest"), "{allowed}");
        let body = document["body"].as_str().unwrap();
        assert!(body.contains("allowed by --by-digest"), "{body}");
        assert_eq!(document["images"][1]["to"], recorded);
        // The tag of the next round exists, but was moved.
        world.layout("fix").image(REV_A, &moved);
    }
    let apply = [&TO_A[..], &["--by-digest", "--apply"]].concat();
    world.run(&apply).exits(0);
    assert!(world.read(".github/workflows/b.yml").contains(&recorded));
    // With its tag, the option changes nothing.
    world.run(&[
        "promote",
        "--revision",
        REV_B,
        "--force-after-rollback",
        "--apply",
    ]);
    world.rebuild(
        "fix",
        REV_A,
        &[Platform::new("linux/amd64", REV_A).label("dev.acme.version", "1.a")],
    );
    assert_eq!(world.digest("fix", REV_A), recorded);
    let document = json_of(&world, &[&TO_A[..], &["--by-digest"]].concat(), 0);
    assert_eq!(details(&document, "digest_mismatch", "warn"), [""; 0]);
}

#[test]
fn deleted_recorded_digest_is_reported_as_such() {
    let world = promoted();
    let layout = world.layout("fix");
    layout.untag(REV_A);
    fs::remove_file(layout.blob_path(world.digest("fix", REV_A))).unwrap();
    for option in [&[][..], &["--by-digest"]] {
        let args = [&TO_A[..], option].concat();
        let document = world.refuses_to(&args, 1, &["tag_missing"]);
        let detail = &details(&document, "tag_missing", "fail")[0];
        assert!(
            detail.contains(&format!("{}, does not exist", world.digest("fix", REV_A))),
            "{detail}"
        );
        assert!(help(&document).contains("a new build has another digest"));
    }
}

#[test]
fn recorded_digest_needs_the_label_of_its_revision() {
    let mut world = world();
    world.rebuild("fix", REV_A, &[Platform::new("linux/amd64", REV_B)]);
    world.pin(REV_A);
    let world = world.with_git();
    world.adopt(REV_A);
    world.promoted(REV_B);
    world.layout("fix").untag(REV_A);
    let document = world.refuses_to(&TO_A, 1, &["tag_missing"]);
    let detail = &details(&document, "tag_missing", "fail")[0];
    assert!(
        detail.contains("its label is not that of the revision"),
        "{detail}"
    );
    assert!(!help(&document).contains("--by-digest"));
    let remedy = format!("repin promote --revision {REV_B} --allow-older");
    assert!(help(&document).ends_with(&remedy), "{document:#}");
    let by_digest = [&TO_A[..], &["--by-digest"]].concat();
    world.refuses_to(&by_digest, 1, &["revision_label"]);
}

#[test]
fn printed_command_sets_the_tag_again() {
    let world = promoted();
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path(), &Protection::None);
    for (image, revision) in [("review", REV_A), ("fix", REV_B), ("base", REV_A)] {
        crate::support::registry::push_layout(&world.path("images"), &registry, image, revision);
    }
    // The image exists without a tag.
    let fix = world.digest("fix", REV_A).to_owned();
    let images = world.path("images/fix");
    let run = |args: &[&str]| crate::support::registry::run("skopeo", args);
    let insecure = ["--insecure-policy", "--dest-tls-verify=false"];
    let to = format!("docker://{}/acme/fix", registry.host);
    let tagged = format!("{to}:other");
    let from = format!("oci:{}:{REV_A}", images.display());
    run(&[
        &["copy", "-q", "--all", "--preserve-digests"],
        &insecure[..],
        &[&from, &tagged],
    ]
    .concat());
    let sources = format!("ghcr.io/acme=http://{}/acme", registry.host);
    let rollback = [&TO_A[..], &["--format", "json"]].concat();
    let rolled_back = |exit| {
        world
            .run_with(&rollback, &[("REPIN_SOURCES", &sources)])
            .exits(exit)
            .json()
    };
    let document = rolled_back(1);
    assert_eq!(failed(&document), ["tag_missing"], "{document}");
    let help = help(&document);
    let command = help.split("set the tag again: ").nth(1).unwrap();
    let words: Vec<_> = command.split(' ').collect();
    assert_eq!(words[words.len() - 2], format!("{to}@{fix}"));
    let insecure = [
        "--insecure-policy",
        "--dest-tls-verify=false",
        "--src-tls-verify=false",
    ];
    run(&[&words[1..2], &insecure[..], &words[2..]].concat());
    rolled_back(0);
}

#[test]
fn pin_tag_claims_the_revision_of_its_digest() {
    let world = world().with_git();
    world.adopt(REV_A);
    world.push();
    let file = ".github/workflows/a.yml";
    let text = world.read(file);
    let check = |exit| json_of(&world, &["check"], exit);
    let remote = |exit| world.run(&CHECK).exits(exit).json();
    assert_eq!(details(&check(0), "pin_tag", "pass").len(), 1);
    assert_eq!(details(&remote(0), "pin_tag", "pass").len(), 1);
    // The tag of another revision next to the digest: history records the right one.
    world.write(file, text.replace(REV_A, REV_B));
    let document = check(1);
    assert_eq!(failed(&document), ["pin_tag"], "{document}");
    let detail = &details(&document, "pin_tag", "fail")[0];
    assert!(
        detail.contains(&format!("the tag {REV_B} at {file}:3:")) && detail.contains(REV_A),
        "{detail}"
    );
    // Two claims for one digest.
    world.write(file, text.replace("review@", &format!("review:{REV_B}@")));
    let detail = &details(&check(1), "pin_tag", "fail")[0];
    assert!(detail.contains("claim different revisions"), "{detail}");
    let status = json_of(&world, &["status"], 0);
    assert_eq!(status["pins"][0]["code"], "pin_tag", "{status}");
    // Another form claims nothing.
    world.write(file, text.replace(REV_A, "latest"));
    let document = remote(0);
    assert_eq!(details(&document, "pin_tag", "pass"), [""; 0], "{document}");
    // Comments that a promotion writes.
    let digest = world.digest("review", REV_A);
    let line = format!("review@{digest}\r");
    let comment = text.replace(&line, &format!("review@{digest} # {REV_B}\r"));
    assert_ne!(comment, text);
    world.write(file, &comment);
    assert_eq!(failed(&check(0)), [""; 0]);
    let config = world.read("repin.yaml");
    world.write("repin.yaml", format!("{config}comments: tag\n"));
    assert_eq!(failed(&check(1)), ["pin_tag"]);
}

#[test]
fn tags_of_pins_resolve_to_the_pinned_digest() {
    let world = world();
    let file = ".github/workflows/a.yml";
    let text = world.read(file);
    let remote = |exit| world.run(&CHECK).exits(exit).json();
    // Without history, only the registry knows the digest of the tag.
    world.write(
        file,
        text.replace(&format!(":{REV_A}@"), &format!(":{REV_B}@")),
    );
    world.run(&["check"]).exits(0);
    let document = remote(1);
    assert_eq!(failed(&document), ["pin_tag"], "{document}");
    let detail = &details(&document, "pin_tag", "fail")[0];
    assert!(detail.contains(world.digest("review", REV_B)), "{detail}");
    world.layout("review").untag(REV_B);
    let document = remote(0);
    let detail = &details(&document, "pin_tag", "warn")[0];
    assert!(detail.contains("does not exist any more"), "{detail}");
}

#[test]
fn artifact_is_no_image() {
    let world = world();
    let layout = world.layout("fix");
    let oci = "application/vnd.oci.image";
    for (config_type, artifact_type, expected) in [
        (
            "application/vnd.cncf.helm.config.v1+json",
            None,
            "vnd.cncf.helm.config.v1+json",
        ),
        ("application/vnd.devcontainers", None, "vnd.devcontainers"),
        (
            "application/vnd.wasm.config.v0+json",
            None,
            "vnd.wasm.config.v0+json",
        ),
        (
            "application/vnd.oci.empty.v1+json",
            Some("application/spdx+json"),
            "spdx+json",
        ),
    ] {
        let config = layout.json(
            config_type,
            &json!({"os": "linux", "architecture": "amd64"}),
        );
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": format!("{oci}.manifest.v1+json"),
            "config": config.descriptor(), "layers": [],
        });
        if let Some(artifact_type) = artifact_type {
            manifest["artifactType"] = json!(artifact_type);
        }
        layout.untag(REV_B);
        layout.tag(
            REV_B,
            &layout.json(&format!("{oci}.manifest.v1+json"), &manifest),
        );
        let document = world.refuses(&[], 1, &["not_an_image"]);
        let detail = &details(&document, "not_an_image", "fail")[0];
        assert!(detail.contains(expected), "{detail}");
    }
}

#[test]
fn annotation_states_the_revision_if_configured() {
    const NAME: &str = "org.opencontainers.image.revision";
    let world = world();
    let config = world.read("repin.yaml");
    let layout = world.layout("fix");
    let from = |from: &str| {
        let revision = format!("revision: {{ from: {from} }}\n");
        world.write("repin.yaml", format!("{config}{revision}"));
    };
    let tagged = |label: Option<&str>, annotation: &str, is_of_index: bool| {
        let mut platform = Platform::new("linux/amd64", label.unwrap_or("removed"));
        if label.is_none() {
            platform.labels.remove(NAME);
        }
        if !is_of_index {
            platform = platform.annotation(NAME, annotation);
        }
        let manifest = layout.manifest(&platform);
        let mut entry = manifest.descriptor();
        entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let media_type = "application/vnd.oci.image.index.v1+json";
        let mut index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [entry]});
        if is_of_index {
            index["annotations"] = json!({NAME: annotation});
        }
        layout.untag(REV_B);
        layout.tag(REV_B, &layout.json(media_type, &index));
    };
    for is_of_index in [false, true] {
        tagged(None, REV_B, is_of_index);
        let document = world.refuses(&[], 1, &["revision_label"]);
        let detail = &details(&document, "revision_label", "fail")[0];
        let expected =
            format!("the label {NAME} is missing; an annotation with this name is `{REV_B}`");
        assert!(detail.starts_with(&expected), "{detail}");
        assert!(help(&document).contains("revision.from: annotation"));
        from("either");
        world.run(&["promote", "--revision", REV_B]).exits(0);
        tagged(Some(REV_A), REV_B, is_of_index);
        let document = world.refuses(&[], 1, &["revision_label"]);
        let detail = &details(&document, "revision_label", "fail")[0];
        assert!(detail.contains("but the annotation is"), "{detail}");
        world.write("repin.yaml", &config);
        let document = world.refuses(&[], 1, &["revision_label"]);
        let detail = &details(&document, "revision_label", "fail")[0];
        assert!(detail.contains(&format!("{NAME} is `{REV_A}`")), "{detail}");
        from("either");
        tagged(Some(REV_B), REV_B, is_of_index);
        world.run(&["promote", "--revision", REV_B]).exits(0);
        world.write("repin.yaml", &config);
    }
    // The other images have a label only.
    from("annotation");
    let document = world.refuses(&[], 1, &["revision_label"]);
    assert_eq!(details(&document, "revision_label", "fail").len(), 3);
}

#[test]
fn init_leaves_out_other_artifacts() {
    let world = world();
    let layout = world.layout("chart");
    let config = layout.json(
        "application/vnd.cncf.helm.config.v1+json",
        &json!({"name": "chart"}),
    );
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type, "config": config.descriptor(), "layers": [],
    });
    let chart = layout.json(media_type, &manifest).digest;
    world.write(
        ".github/workflows/c.yml",
        format!("ghcr.io/acme/chart@{chart}\n"),
    );
    fs::remove_file(world.path("repin.yaml")).unwrap();
    let init = ["init", "--source", "ghcr.io/acme=oci:images"];
    let document = json_of(&world, &init, 0);
    let images = document["images"].as_array().unwrap();
    let repositories = images
        .iter()
        .map(|image| image["repository"].as_str().unwrap());
    let repositories: Vec<_> = repositories.collect();
    assert!(repositories.contains(&"ghcr.io/acme/review"), "{document}");
    assert!(!repositories.contains(&"ghcr.io/acme/chart"), "{document}");
    assert!(
        document["others"]
            .to_string()
            .contains("ghcr.io/acme/chart"),
        "{document}"
    );
    let warnings = document["warnings"].to_string();
    assert!(
        warnings.contains("vnd.cncf.helm.config.v1+json"),
        "{warnings}"
    );
}

/// A registry with two sets of one image, both promoted.
struct Stored {
    world: World,
    directory: tempfile::TempDir,
    image: Image,
}

impl Stored {
    fn new(image: Image) -> Self {
        let directory = tempfile::tempdir().unwrap();
        {
            let registry = Registry::start(directory.path(), &Protection::None);
            let later = Image::single("amd64", REV_B);
            push(&registry, "acme/app", &[(REV_A, &image), (REV_B, &later)]);
        }
        let world = World::empty();
        world.write(
            "repin.yaml",
            "version: 1\nname: test images\nfiles: ['k.yml']\n\
             images: { app: { repository: ghcr.io/acme/app, pins: 1 } }\n",
        );
        world.write("k.yml", format!("ghcr.io/acme/app@{}\n", image.digest()));
        let world = world.with_git();
        world.adopt(REV_A);
        world.push();
        let stored = Self {
            world,
            directory,
            image,
        };
        stored.run(&["promote", "--revision", REV_B, "--apply"], 0);
        stored
            .world
            .commit(&format!("promote: test images @{REV_B}"));
        stored.world.push();
        stored
    }

    fn run(&self, args: &[&str], exit: i32) -> String {
        let registry = Registry::start(self.directory.path(), &Protection::None);
        let sources = format!("ghcr.io/acme=http://{}/acme", registry.host);
        let ran = self.world.run_with(args, &[("REPIN_SOURCES", &sources)]);
        ran.exits(exit).stdout
    }

    /// The verdict of a rehearsal, with the failed checks.
    fn rehearsed(&self, exit: i32) -> (String, Vec<String>) {
        let output = self.run(&["rehearse", "--format", "json"], exit);
        let document: Value = serde_json::from_str(&output).unwrap();
        let set = &document["sets"][0];
        let verdict = set["verdict"].as_str().unwrap().to_owned();
        (verdict, failed(set))
    }

    fn blob(&self, bytes: &[u8]) -> PathBuf {
        let hex = Digest::of(bytes).hex();
        let blobs = "data/docker/registry/v2/blobs/sha256";
        let path = format!("{blobs}/{}/{hex}/data", &hex[..2]);
        self.directory.path().join(path)
    }
}

#[test]
fn content_of_another_size_fails_a_rehearsal() {
    let stored = Stored::new(Image::single("amd64", REV_A));
    let ready = ("ready".to_owned(), Vec::new());
    assert_eq!(stored.rehearsed(0), ready);
    let expected = ("fails".to_owned(), vec!["content_mismatch".to_owned()]);
    for bytes in [&stored.image.config, &stored.image.layer] {
        let path = stored.blob(bytes);
        let longer = [bytes, &b" "[..]].concat();
        for changed in [&bytes[..bytes.len() - 1], &longer] {
            fs::write(&path, changed).unwrap();
            assert_eq!(stored.rehearsed(1), expected);
        }
        fs::write(&path, bytes).unwrap();
        assert_eq!(stored.rehearsed(0), ready);
    }
}

#[test]
fn layer_of_another_size_fails_a_rehearsal() {
    let image = Image::single("amd64", REV_A);
    let manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    let mut layers = manifest["layers"].clone();
    layers[0]["size"] = json!(7);
    let stored = Stored::new(image.with("layers", layers));
    let expected = ("fails".to_owned(), vec!["content_mismatch".to_owned()]);
    assert_eq!(stored.rehearsed(1), expected);
}
