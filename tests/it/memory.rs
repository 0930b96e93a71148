//! The memory of a run with large manifests and configs.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::support::{
    fake::{Fake, Reaction},
    layout::Platform,
    world::{REV_A, REV_B, World, world},
};

/// The limit of private memory of a process (`RLIMIT_DATA`), in KiB.
const LIMIT: usize = 256 * 1024;

/// Runs `resolve` for B with that much memory; exit, document.
fn resolve(world: &World, source: &str) -> (Option<i32>, Value) {
    let args = ["resolve", "--revision", REV_B, "--format", "json"];
    let program = world.command(&args);
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -d {LIMIT}; exec \"$0\" \"$@\"")])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(world.root())
        .env("REPIN_SOURCES", source);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let document = serde_json::from_str(&text)
        .unwrap_or_else(|_| String::from_utf8_lossy(&output.stderr).into());
    (output.status.code(), document)
}

/// The image `review` at B with `count` platforms, which all have the labels of `one`.
fn with_platforms(world: &World, one: &Platform, count: usize) {
    let layout = world.layout("review");
    layout.untag(REV_B);
    let manifest = layout.manifest(one);
    let entry = |number: usize| {
        let mut entry = manifest.descriptor();
        entry["platform"] = json!({"os": "linux", "architecture": format!("a{number}")});
        entry
    };
    let index = layout.index(&(0..count).map(entry).collect::<Vec<_>>());
    layout.tag(REV_B, &index);
}

/// A registry that has the images of the world's layouts.
fn registry(world: &World) -> Fake {
    let images = world.path("images");
    Fake::start(move |request| {
        let path: Vec<&str> = request.path().split('/').collect();
        let [.., image, _, reference] = path[..] else {
            return Reaction::new(200, "{}");
        };
        let layout = images.join(image);
        let index = fs::read(layout.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let tagged =
            |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == reference;
        let tagged = index["manifests"].as_array().unwrap().iter().find(tagged);
        let digest = tagged.map_or(reference, |entry| entry["digest"].as_str().unwrap());
        let blob = layout.join("blobs/sha256").join(&digest["sha256:".len()..]);
        let bytes = fs::read(blob).unwrap();
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let kind = document["mediaType"]
            .as_str()
            .unwrap_or("application/octet-stream");
        Reaction::new(200, bytes).with("Content-Type", kind)
    })
}

#[test]
fn large_labels_of_platforms_are_refused() {
    let world = world();
    let large = "x".repeat((4 << 20) - 1000);
    let one = Platform::new("linux/amd64", REV_B).label("large", &large);
    let server = registry(&world);
    let sources = [
        "ghcr.io/acme=oci:images".to_owned(),
        format!("ghcr.io/acme=http://{}/acme", server.host()),
    ];
    // A few of them are read, and of fifty the rest is left.
    for (count, exit) in [(5, 0), (50, 3)] {
        with_platforms(&world, &one, count);
        for source in &sources {
            let (code, document) = resolve(&world, source);
            assert_eq!(code, Some(exit), "{count} from {source}: {document}");
            if exit == 3 {
                let said = document["errors"][0]["message"].as_str().unwrap();
                assert!(
                    said.contains("take more than 32 MiB of memory"),
                    "{document}"
                );
            }
        }
    }
}

#[test]
fn labels_without_number_are_refused_below_the_limit() {
    let world = world();
    let many = |one, number: usize| Platform::label(one, &format!("{number:x}"), "");
    let one = (0..100_000).fold(Platform::new("linux/amd64", REV_B), many);
    with_platforms(&world, &one, 100);
    let (code, document) = resolve(&world, "ghcr.io/acme=oci:images");
    assert_eq!(code, Some(3), "{document}");
    let ran = world.run(&["resolve", "--revision", REV_A]);
    ran.exits(0);
}
