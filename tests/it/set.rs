//! `repin set` as a whole: from layouts, and from a real registry.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    Digest,
    registry::{Protection, Registry},
    shop::{agents, platform, shop},
    world::{CONFIG, REV_A, REV_B, World, failed, world},
};

/// The world's configuration as that of a fleet: no files, and no counts.
const FLEET: &str = "version: 1
source: acme/runtime
fleet: {}
sources: { ghcr.io/acme: oci:images }
images:
  review: { repository: ghcr.io/acme/review }
  fix: { repository: ghcr.io/acme/fix }
  base: { repository: ghcr.io/acme/base }
report: { labels: [dev.acme.version] }
";

const SET: [&str; 5] = ["set", "--revision", REV_B, "--out", "set.json"];

fn fleet() -> World {
    let world = world();
    world.write("repin.yaml", FLEET);
    fs::remove_dir_all(world.path(".github")).unwrap();
    world
}

/// Verifies the set at B; returns the document, after a check of the printed hash.
fn verified(world: &World) -> Value {
    let ran = world.run(&SET).exits(0);
    let bytes = fs::read(world.path("set.json")).unwrap();
    assert_eq!(ran.stdout, format!("{}\n", Digest::of(&bytes).hex()));
    serde_json::from_slice(&bytes).unwrap()
}

fn no_file(world: &World) {
    assert!(
        !world.path("set.json").exists(),
        "a refused set was written"
    );
}

#[test]
fn set_of_fleet_is_written_with_hash() {
    let world = fleet();
    let set = verified(&world);
    assert_eq!(
        (&set["schema"], &set["revision"]),
        (&json!("repin.set/1"), &json!(REV_B))
    );
    let review = &set["images"][0];
    let resolved = world
        .run(&["resolve", "--revision", REV_B, "--format", "json"])
        .exits(0)
        .json();
    for (image, resolved) in (0..3).map(|at| (&set["images"][at], &resolved["images"][at])) {
        for (key, value) in resolved.as_object().unwrap() {
            assert_eq!(image[key], *value, "{key}");
        }
        assert_eq!(image["verified"], json!([]));
    }
    assert_eq!(review["digest"], json!(world.digest("review", REV_B)));
    assert_eq!(review["labels"], json!({"dev.acme.version": "1.b"}));
    assert_eq!(failed(&set), [] as [&str; 0]);
    let checks = set["checks"].as_array().unwrap().iter();
    let codes: Vec<_> = checks
        .map(|check| check["code"].as_str().unwrap())
        .collect();
    assert!(codes.contains(&"revision_label"), "{codes:?}");
    for of_a_repository in ["pin_count", "revision_order", "rolled_back", "plan_count"] {
        assert!(!codes.contains(&of_a_repository), "{codes:?}");
    }
    assert_eq!(set["inventory"], json!({}));
    assert_eq!(set["config_sha256"].as_str().unwrap().len(), 64);
    // An inventory without kinds lists no contents.
    world.write("repin.yaml", world.read("repin.yaml") + "inventory: {}\n");
    assert_eq!(verified(&world)["inventory"], json!({}));
}

#[tokio::test]
async fn set_of_real_registry_is_reproducible() {
    let world = fleet();
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path(), &Protection::None);
    push(&world, &registry).await;
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host);
    let args = [&SET[..], &["--source", &source]].concat();
    let before = registry.requests().len();
    let first = world.run(&args).exits(0);
    let bytes = fs::read(world.path("set.json")).unwrap();
    // Three tags, the two platforms of one of them, and four configs.
    assert_eq!(registry.requests().len() - before, 3 + 2 + 4);
    let again = world.run(&args).exits(0);
    assert_eq!(again.stdout, first.stdout);
    assert_eq!(fs::read(world.path("set.json")).unwrap(), bytes);
    // Where the images are read from is no part of the set.
    assert_eq!(world.run(&SET).exits(0).stdout, first.stdout);
}

async fn push(world: &World, registry: &Registry) {
    for image in ["review", "fix", "base"] {
        let layout = world.path("images").join(image);
        registry
            .push_layout(&format!("acme/{image}"), &layout)
            .await;
    }
}

#[test]
fn set_of_one_repository_has_no_pins() {
    let world = world();
    let pins = world.path(".github/workflows/a.yml");
    fs::write(&pins, "no pin at all\n").unwrap();
    let set = verified(&world);
    assert_eq!(set["images"].as_array().unwrap().len(), 3);
    assert_eq!(fs::read_to_string(pins).unwrap(), "no pin at all\n");
}

#[test]
fn set_lists_the_contents_of_images() {
    let mut world = shop();
    let set = verified(&world);
    let kinds = json!({"agents": ["ops", "review"], "plugins": ["lint"], "skills": ["git"]});
    let digest = |world: &World, image| world.digest(image, REV_B).to_owned();
    for image in ["review", "fix", "base"] {
        assert_eq!(set["inventory"][digest(&world, image)], kinds, "{image}");
    }
    assert_eq!(set["inventory"].as_object().unwrap().len(), 3);

    // Platforms that differ are listed by their digests.
    let more = "must_contain: { agents: [ops] }\n";
    world.write("contracts/review.yaml", more);
    world.replace(
        "repin.yaml",
        "  embedded_contract: /opt/expected.yaml\n",
        "",
    );
    let extra = agents(more).file("opt/agent/agents/extra.md", "x");
    let arm = platform("linux/arm64", REV_B).layer(extra.end());
    world.rebuild("review", REV_B, &[platform("linux/amd64", REV_B), arm]);
    let set = verified(&world);
    let platforms = set["images"][0]["platforms"].as_array().unwrap();
    assert_eq!(set["inventory"][digest(&world, "review")], json!(null));
    let agents = |at: usize| {
        let digest = platforms[at]["digest"].as_str().unwrap();
        set["inventory"][digest]["agents"].clone()
    };
    assert_eq!(agents(0), json!(["ops", "review"]));
    assert_eq!(agents(1), json!(["extra", "ops", "review"]));
}

#[test]
fn changed_contract_changes_configuration_identity() {
    let world = shop();
    let before = verified(&world);
    world.replace(
        "repin.yaml",
        "  embedded_contract: /opt/expected.yaml\n",
        "",
    );
    let without_copy = verified(&world);
    assert_ne!(before["config_sha256"], without_copy["config_sha256"]);
    let contract = world.read("contracts/review.yaml");
    world.write("contracts/review.yaml", contract + "# a comment\n");
    let after = verified(&world);
    assert_ne!(without_copy["config_sha256"], after["config_sha256"]);
    assert_eq!(without_copy["images"], after["images"]);
    let restored = world.read("repin.yaml");
    world.write("repin.yaml", restored.clone() + "# a comment\n");
    assert_ne!(verified(&world)["config_sha256"], after["config_sha256"]);
    world.write("repin.yaml", restored);
    assert_eq!(verified(&world)["config_sha256"], after["config_sha256"]);
}

#[test]
fn refused_set_is_not_written() {
    let world = fleet();
    world.layout("fix").untag(REV_B);
    let ran = world.run(&SET).exits(1);
    assert!(
        ran.stdout.is_empty() && ran.stderr.contains("error[tag_missing]"),
        "{}",
        ran.stderr
    );
    no_file(&world);
    let document = world.run(&[&SET[..], &["--format", "json"]].concat());
    let document = document.exits(1).json();
    assert_eq!(
        (&document["schema"], &document["errors"][0]["code"]),
        (&json!("repin.error/1"), &json!("tag_missing"))
    );
    no_file(&world);
}

#[test]
fn all_failures_of_a_set_are_reported() {
    let mut world = fleet();
    let other = crate::support::layout::Platform::new("linux/amd64", REV_A);
    world.rebuild("fix", REV_B, &[other]);
    fs::write(world.path("images/base/index.json"), "{").unwrap();
    let ran = world.run(&SET).exits(1);
    for code in ["revision_label", "unavailable"] {
        let shown = format!("error[{code}]");
        assert!(ran.stderr.contains(&shown), "{}", ran.stderr);
    }
    no_file(&world);
}

#[test]
fn contract_that_is_not_met_refuses_the_set() {
    let world = shop();
    world.write(
        "contracts/review.yaml",
        "must_contain: { agents: [missing] }\n",
    );
    world.replace(
        "repin.yaml",
        "  embedded_contract: /opt/expected.yaml\n",
        "",
    );
    let ran = world.run(&SET).exits(1);
    let code = "error[inventory_must_contain_missing]";
    assert!(ran.stderr.contains(code), "{}", ran.stderr);
    no_file(&world);
}

#[test]
fn empty_contract_stops_before_any_request() {
    let world = shop();
    world.write("contracts/review.yaml", "must_contain: {}\n");
    world.layout("fix").untag(REV_B);
    let ran = world.run(&SET).exits(1);
    let code = "error[expected_yaml_no_assertions]";
    assert!(ran.stderr.contains(code), "{}", ran.stderr);
    assert!(!ran.stderr.contains("tag_missing"), "{}", ran.stderr);
    no_file(&world);
}

#[test]
fn wrong_arguments_are_refused_before_the_first_request() {
    let world = fleet();
    let run = |args: &[&str]| world.run(args).exits(2);
    let format = ["--format", "json"];
    let out = run(&[&["set", "--revision", REV_B, "--out", "-"], &format[..]].concat());
    assert!(out.stdout.contains("standard output"), "{}", out.stdout);
    let shape = run(&["set", "--revision", "no such revision", "--out", "set.json"]);
    assert!(
        shape.stderr.contains("error[revision_shape]"),
        "{}",
        shape.stderr
    );
    run(&["set", "--revision", REV_B]);
    no_file(&world);
    let nowhere = [
        "set",
        "--revision",
        REV_B,
        "--out",
        "no/such/directory/set.json",
    ];
    world.run(&nowhere).exits(2);
}

#[test]
fn counting_commands_refuse_a_fleet_configuration() {
    let world = fleet();
    for command in [
        &["check"][..],
        &["scan"],
        &["status"],
        &["promote", "--revision", REV_B],
        &["rollback", "--to", REV_A],
        &["history"],
    ] {
        let ran = world.run(command).exits(2);
        assert!(
            ran.stderr.contains("describes a fleet") && ran.stderr.contains("`repin set`"),
            "{command:?}: {}",
            ran.stderr
        );
    }
    // Files without any count are no better.
    world.write("repin.yaml", FLEET.to_owned() + "files: ['*.yml']\n");
    let ran = world.run(&["check"]).exits(2);
    assert!(ran.stderr.contains("`pins` of any image"), "{}", ran.stderr);
}

#[test]
fn fleet_with_files_is_also_a_repository() {
    let world = world();
    world.write("repin.yaml", CONFIG.to_owned() + "fleet: {}\n");
    world.run(&["check"]).exits(0);
    verified(&world);
}

#[test]
fn json_output_of_set_is_the_file() {
    let world = fleet();
    let ran = world
        .run(&[&SET[..], &["--format", "json"]].concat())
        .exits(0);
    assert_eq!(ran.stdout, world.read("set.json"));
    let hash = Digest::of(world.read("set.json").as_bytes()).hex();
    world.write("output", "");
    let args = [&SET[..], &["--format", "github"]].concat();
    world
        .run_with(&args, &[("GITHUB_OUTPUT", "output")])
        .exits(0);
    let output = world.read("output");
    assert!(
        output.contains("set-sha256<<") && output.contains(&hash),
        "{output}"
    );
    assert!(
        output.contains("revision<<") && output.contains(REV_B),
        "{output}"
    );
}
