//! `prune --in-use` on docker-registry: images that run stay.

use serde_json::json;

use crate::support::{
    Digest,
    fake::Reaction,
    images::Image,
    pruned::{Real, config, old, pinned, push, set},
    refusing::{Kind, Refusing},
    scene::{Scene, days_ago, protection, tags},
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
    let id = Digest::of(&by_id.config);
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
fn platforms_of_a_running_index_without_a_tag_are_protected() {
    let part = old("part");
    let index = Image::index(vec![part.clone()]);
    let real = Real::new("", &[("main", &pinned()), ("tmp", &index)]);
    // The index loses its tag.
    let all = [("tmp", &pinned()), ("pending-part", &part)];
    push(&real.registry, "acme/app", &all);
    for running in ["mirror.example/copy@", "docker://"] {
        let running = format!("{running}{}\n", index.digest());
        real.scene.write("ps.txt", running);
        let document = real
            .scene
            .prune(&["--image", "app", "--in-use", "ps.txt"], 0);
        let reason = protection(&document["images"][0], "pending-part");
        assert!(reason.contains(&index.digest().to_string()), "{document}");
    }
}

#[test]
fn config_of_an_unlisted_image_is_no_manifest() {
    for is_tracked in [false, true] {
        let real = Real::new("", &[("main", &pinned()), ("tmp", &old("gone"))]);
        push(
            &real.registry,
            "acme/app",
            &[("tmp", &pinned()), ("pending-a", &old("a"))],
        );
        let id = Digest::of(&old("gone").config);
        let elsewhere = Digest::of(b"elsewhere");
        let mut args = vec!["--image", "app", "--apply"];
        let images = format!("docker://{id}\ndocker://{elsewhere}\n");
        real.scene.write("images.txt", images);
        if is_tracked {
            real.scene.commit("the images of a machine");
        } else {
            args.extend(["--in-use", "images.txt"]);
        }
        let document = real.scene.prune(&args, 0);
        assert_eq!(tags(&document["images"][0]["deleted"]), ["pending-a"]);
    }
}

#[test]
fn running_digest_that_cannot_be_read_ends_the_run() {
    let registry = Refusing::start(Kind::GitLab);
    registry.store().push(&["main"], &pinned());
    registry.store().push(&["pending-a"], &old("a"));
    let host = registry.fake.host();
    let scene = Scene::new(
        &config(&host, ""),
        &format!("{host}/acme/app"),
        pinned().digest(),
    );
    let digest = Digest::of(b"elsewhere");
    scene.write("ps.txt", format!("docker://{digest}\n"));
    let path = format!("GET /v2/acme/app/manifests/{digest}");
    registry
        .store()
        .hook(&path, |_| Some(Reaction::new(400, "")));
    let document = scene.prune(&["--image", "app", "--in-use", "ps.txt", "--apply"], 3);
    assert!(
        document.to_string().contains(&digest.to_string()),
        "{document}"
    );
    assert!(registry.store().tags.contains_key("pending-a"));
}

#[test]
fn file_that_does_not_show_what_runs_ends_the_run() {
    let real = Real::new("", &[("main", &pinned()), ("pending-a", &old("a"))]);
    real.scene.write("empty.txt", "");
    real.scene.write("old.txt", "app:v1\n");
    real.scene.write("wrong.json", "{\"items\": [");
    real.scene.write("future.txt", "app:v1\n");
    let args = |rest: &[&'static str]| [&["prune", "--apply", "--image", "app"], rest].concat();
    for (date, name) in [("3 hours ago", "old.txt"), ("10 minutes", "future.txt")] {
        let touched = std::process::Command::new("touch")
            .args(["-d", date])
            .arg(real.scene.path().join(name))
            .status()
            .unwrap();
        assert!(touched.success());
    }
    for (rest, reason) in [
        (&["--in-use", "empty.txt"][..], "no image"),
        (&["--in-use", "absent.txt"], "cannot be read"),
        (&["--in-use", "wrong.json"], "malformed JSON"),
        (&["--in-use", "future.txt"], "in the future"),
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
