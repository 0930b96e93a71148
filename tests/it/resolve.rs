//! `repin resolve` as a whole, from image layouts.

use std::fs;

use serde_json::json;

use crate::support::{
    layout::{Platform, REVISION_LABEL},
    world::{REV_A, REV_B, world},
};

#[test]
fn resolve_shows_every_platform_without_checks() {
    let mut world = world();
    let arm = Platform::new("linux/arm64", REV_A).label("dev.acme.version", "2\u{1b}");
    world.rebuild("review", REV_B, &[Platform::new("linux/amd64", REV_B), arm]);
    let mut bare = Platform::new("linux/amd64", REV_B);
    bare.labels.remove(REVISION_LABEL);
    world.rebuild("fix", REV_B, &[bare]);
    let document = world
        .run(&["resolve", "--revision", REV_B, "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(
        (&document["schema"], &document["revision"]),
        (&json!("repin.resolve/1"), &json!(REV_B))
    );
    let review = &document["images"][0];
    assert_eq!(
        (&review["tag"], &review["digest"]),
        (&json!(REV_B), &json!(world.digest("review", REV_B)))
    );
    assert_eq!(
        review["media_type"],
        "application/vnd.oci.image.index.v1+json"
    );
    assert_eq!(
        review["labels"],
        json!({"dev.acme.version": "linux/amd64: (absent), linux/arm64: 2\u{1b}"})
    );
    assert_eq!(
        (
            &review["platforms"][1]["platform"],
            &review["platforms"][1]["revision"]
        ),
        (&json!("linux/arm64"), &json!(REV_A))
    );
    assert_eq!(
        document["images"][1]["platforms"][0]["revision"],
        json!(null)
    );
    let human = world.run(&["resolve", "--revision", REV_B]).exits(0);
    let widest = human.stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{}", human.stdout);
    insta::with_settings!({filters => vec![("[0-9a-f]{64}", "<digest>")]}, {
        insta::assert_snapshot!(human.stdout);
    });
}

#[test]
fn dead_registry_is_one_error() {
    let world = world();
    // Nothing listens at this port.
    let port = 1;
    world.replace(
        "repin.yaml",
        "oci:images",
        &format!("'http://127.0.0.1:{port}/acme'"),
    );
    let ran = world.run(&["promote", "--revision", REV_B]).exits(3);
    let stderr = &ran.stderr;
    assert_eq!(stderr.matches("error[unavailable]").count(), 1, "{stderr}");
    for image in ["review", "fix", "base"] {
        let named = format!("= note: 127.0.0.1:{port}/acme/{image}:{REV_B}");
        assert_eq!(stderr.matches(&named).count(), 1, "{stderr}");
    }
}

#[test]
fn each_unresolved_image_is_named() {
    let world = world();
    world.layout("review").untag(REV_B);
    fs::remove_file(world.layout("fix").blob_path(world.digest("fix", REV_B))).unwrap();
    let document = world
        .run(&["resolve", "--revision", REV_B, "--format", "json"])
        .exits(1)
        .json();
    assert_eq!(
        (&document["schema"], &document["exit"]),
        (&json!("repin.error/1"), &json!(1))
    );
    let codes: Vec<_> = document["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["tag_missing", "unavailable"]);
    assert_eq!(
        world
            .run(&["resolve", "--revision", "HEAD", "--format", "json"])
            .exits(2)
            .json()["errors"][0]["code"],
        "revision_shape"
    );
}
