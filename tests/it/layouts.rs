//! Promotions of image layouts by other tools: skopeo, umoci, buildah.

use std::{fs, process::Command};

use serde_json::json;

use crate::support::{
    self,
    layout::REVISION_LABEL,
    world::{REV_B, World, details, world},
};

/// Runs a tool in the world's root. A tool that is missing is a failure: `scripts/test` installs
/// it.
fn tool(world: &World, program: &str, args: &[&str]) {
    let output = Command::new(program)
        .args(args)
        .current_dir(world.root())
        .output();
    let output = output
        .unwrap_or_else(|error| panic!("{program} is needed ({error}): scripts/test installs it"));
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn promote(world: &World, exit: i32) -> serde_json::Value {
    world
        .run(&["promote", "--revision", REV_B, "--format", "json"])
        .exits(exit)
        .json()
}

#[test]
fn skopeos_layouts_with_several_tags_and_an_index() {
    let world = world();
    fs::rename(world.path("images"), world.path("originals")).unwrap();
    for image in ["review", "fix", "base"] {
        for tag in [support::world::REV_A, REV_B] {
            let (from, to) = (
                format!("oci:originals/{image}:{tag}"),
                format!("oci:images/{image}:{tag}"),
            );
            fs::create_dir_all(world.path("images")).unwrap();
            tool(
                &world,
                "skopeo",
                &[
                    "copy",
                    "-q",
                    "--all",
                    "--insecure-policy",
                    "--preserve-digests",
                    &from,
                    &to,
                ],
            );
        }
    }
    let document = promote(&world, 0);
    assert_eq!(document["images"][0]["to"], world.digest("review", REV_B));
    assert_eq!(
        document["images"][0]["platforms"],
        json!(["linux/amd64", "linux/arm64"])
    );
    // An index without its tag is no image of that tag.
    fs::write(
        world.path("images/fix/index.json"),
        r#"{"schemaVersion":2,"manifests":[]}"#,
    )
    .unwrap();
    assert_eq!(details(&promote(&world, 1), "tag_missing", "fail").len(), 1);
    fs::write(
        world.path("images/fix/index.json"),
        r#"{"schemaVersion":2,"manifests":"#,
    )
    .unwrap();
    assert_eq!(promote(&world, 3)["error"]["code"], "unavailable");
}

#[test]
fn umocis_layouts_without_media_types_and_layers() {
    let world = world();
    fs::remove_dir_all(world.path("images/fix")).unwrap();
    let image = format!("images/fix:{REV_B}");
    let label = format!("{REVISION_LABEL}={REV_B}");
    tool(&world, "umoci", &["init", "--layout", "images/fix"]);
    tool(&world, "umoci", &["new", "--image", &image]);
    assert_eq!(
        details(&promote(&world, 1), "revision_label", "fail").len(),
        1
    );
    tool(
        &world,
        "umoci",
        &["config", "--config.label", &label, "--image", &image],
    );
    assert_eq!(
        promote(&world, 0)["images"][1]["platforms"],
        json!(["linux/amd64"])
    );
}

#[test]
fn buildahs_layouts() {
    let world = world();
    fs::remove_dir_all(world.path("images/fix")).unwrap();
    let (storage, run) = (world.path("storage"), world.path("run"));
    let common = [
        "--root",
        storage.to_str().unwrap(),
        "--runroot",
        run.to_str().unwrap(),
        "--storage-driver",
        "vfs",
    ];
    let label = format!("{REVISION_LABEL}={REV_B}");
    let target = format!("oci:images/fix:{REV_B}");
    let buildah = |args: &[&str]| tool(&world, "buildah", &[&common, args].concat());
    buildah(&["from", "--name", "c", "scratch"]);
    buildah(&["config", "--label", &label, "--arch", "arm64", "c"]);
    buildah(&["commit", "-q", "c", &target]);
    assert_eq!(
        promote(&world, 0)["images"][1]["platforms"],
        json!(["linux/arm64"])
    );
}
