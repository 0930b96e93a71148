//! `prune --in-use` on docker-registry: images that run stay.

use serde_json::json;

use crate::support::{
    images::Image,
    pruned::{Real, old, pinned, set},
    scene::{days_ago, protection, tags},
};

#[test]
fn running_images_are_protected() {
    let parts = vec![
        Image::created("amd64", "part", Some(&days_ago(40))),
        Image::created("arm64", "part", Some(&days_ago(40))),
    ];
    let index = Image::index(parts);
    let by_id = old("by id");
    let real = Real::new(
        "",
        &[
            ("main", &pinned()),
            ("pending-tag", &old("tag")),
            ("pending-digest", &old("digest")),
            ("pending-id", &by_id),
            ("pending-index", &index),
            ("pending-mirror", &old("mirror")),
            ("pending-other", &old("other")),
        ],
    );
    let id = crate::support::Digest::of(&by_id.config);
    let (app, digest, part) = (
        real.app(),
        old("digest").digest(),
        index.children[0].digest(),
    );
    let pods = json!({"kind": "List", "items": [
        {"spec": {"containers": [{"image": format!("{app}:pending-tag")}, {"image": "r.example/mirror:pending-mirror"}]}},
        {"status": {"containerStatuses": [
            {"imageID": format!("docker-pullable://{app}@{digest}")},
            {"imageID": format!("docker://{id}")},
        ]}},
    ]});
    real.scene.write("pods.json", pods.to_string());
    real.scene
        .write("ps.txt", format!("{part}\n{app}/base:pending-other\n"));
    let args = [
        "--image",
        "app",
        "--in-use",
        "pods.json",
        "--in-use",
        "ps.txt",
    ];
    let document = real.scene.prune(&[&args[..], &["--apply"]].concat(), 0);
    let image = &document["images"][0];
    assert_eq!(tags(&image["deleted"]), ["pending-other"], "{document}");
    for (tag, place) in [
        (
            "pending-tag",
            "in pods.json (items[0].spec.containers[0].image)",
        ),
        (
            "pending-digest",
            "in pods.json (items[1].status.containerStatuses[0].imageID)",
        ),
        (
            "pending-id",
            "in pods.json (items[1].status.containerStatuses[1].imageID)",
        ),
        ("pending-mirror", "in pods.json"),
        ("pending-index", "contains"),
    ] {
        assert!(protection(image, tag).contains(place), "{tag}: {document}");
    }
    let all = [
        "main",
        "pending-tag",
        "pending-digest",
        "pending-id",
        "pending-index",
        "pending-mirror",
    ];
    assert_eq!(real.left(), set(&all));
}

#[test]
fn file_that_does_not_show_what_runs_ends_the_run() {
    let real = Real::new("", &[("main", &pinned()), ("pending-a", &old("a"))]);
    real.scene.write("empty.txt", "");
    real.scene.write("old.txt", "app:v1\n");
    real.scene.write("wrong.json", "{\"items\": [");
    let args = |rest: &[&'static str]| [&["prune", "--apply", "--image", "app"], rest].concat();
    let touched = std::process::Command::new("touch")
        .args(["-d", "3 hours ago"])
        .arg(real.scene.path().join("old.txt"))
        .status()
        .unwrap();
    assert!(touched.success());
    for (rest, reason) in [
        (&["--in-use", "empty.txt"][..], "no image"),
        (&["--in-use", "absent.txt"], "cannot be read"),
        (&["--in-use", "wrong.json"], "malformed JSON"),
        (
            &["--in-use", "old.txt", "--in-use-max-age", "2h"],
            "--in-use-max-age",
        ),
    ] {
        let ran = real.scene.run(&args(rest)).exits(3);
        assert!(ran.stderr.contains("error[in_use]"), "{}", ran.stderr);
        assert!(ran.stderr.contains(reason), "{reason}: {}", ran.stderr);
    }
    real.scene
        .run(&args(&["--in-use", "old.txt", "--in-use-max-age", "soon"]))
        .exits(2);
    assert_eq!(real.registry.requests(), [] as [&str; 0]);
    // A name of another image protects no version of this one.
    real.scene.run(&args(&["--in-use", "old.txt"])).exits(0);
    assert_eq!(real.left(), set(&["main"]));
}
