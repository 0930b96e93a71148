//! `prune` on simulated registries that delete a digest only when nothing refers to it.

use serde_json::json;

use crate::support::{
    Digest,
    fake::Reaction,
    images::{Image, descriptor},
    pruned::{config, old, pinned},
    refusing::{Kind, Refusing},
    scene::{Scene, days_ago, tags},
};

/// A registry whose image `pinned` is pinned.
fn scene(kind: Kind) -> (Refusing, Scene) {
    scene_of(kind, &pinned())
}

/// A registry whose image with the tag `main` is pinned.
fn scene_of(kind: Kind, main: &Image) -> (Refusing, Scene) {
    let registry = Refusing::start(kind);
    registry.store().push(&["main"], main);
    let host = registry.fake.host();
    let is_hub = matches!(kind, Kind::Hub | Kind::HubWithoutTags);
    let name = if is_hub { "docker.io" } else { host.as_str() };
    let mut text = config(name, "");
    if is_hub {
        text = format!("{text}sources: {{ docker.io: 'http://{host}' }}\n");
    }
    let scene = Scene::new(&text, &format!("{name}/acme/app"), main.digest());
    (registry, scene)
}

const ARGS: [&str; 3] = ["--apply", "--image", "app"];

fn left(registry: &Refusing) -> Vec<String> {
    registry.store().tags.keys().cloned().collect()
}

fn has(registry: &Refusing, image: &Image) -> bool {
    registry.store().manifests.contains_key(&image.digest())
}

fn attached(name: &str, subject: &Image) -> Image {
    let subject = descriptor(subject.media_type, &subject.manifest);
    old(name).with("subject", subject)
}

#[test]
fn google_deletes_tags_parents_and_referrers_first() {
    let (registry, scene) = scene(Kind::Google);
    let part = Image::created("amd64", "part", Some(&days_ago(41)));
    let index = Image::index(vec![part.clone()]);
    let signature = attached("signature", &index);
    let note = attached("note", &signature);
    registry
        .store()
        .push(&["pending-index", "pending-again"], &index);
    registry.store().push(&["pending-part"], &part);
    registry.store().push(&[], &signature);
    registry.store().push(&[], &note);
    let document = scene.prune(&ARGS, 0);
    assert_eq!(
        tags(&document["images"][0]["deleted"]),
        ["pending-again,pending-index", "pending-part"],
        "{document}"
    );
    let digest = |image: &Image| image.digest().to_string();
    // The first request checks that the registry supports deletion.
    assert_eq!(
        registry.deletions()[1..],
        [
            digest(&index),
            "pending-again".to_owned(),
            "pending-index".to_owned(),
            digest(&index),
            digest(&signature),
            digest(&note),
            digest(&signature),
            digest(&index),
            digest(&part),
            "pending-part".to_owned(),
            digest(&part),
        ]
    );
    assert_eq!(left(&registry), ["main"]);
    for image in [&index, &part, &signature, &note] {
        assert!(!has(&registry, image));
    }
    assert!(has(&registry, &pinned()));
}

#[test]
fn each_tag_is_read_again_before_its_deletion() {
    let (registry, scene) = scene(Kind::Google);
    let (image, other) = (old("a"), old("other"));
    registry.store().push(&["pending-a", "pending-b"], &image);
    registry.store().push(&["release"], &other);
    let moved = other.digest();
    registry
        .store()
        .hook("DELETE /v2/acme/app/manifests/pending-a", move |store| {
            store.tags.insert("pending-b".to_owned(), moved);
            None
        });
    let document = scene.prune(&ARGS, 3);
    assert_eq!(document["images"][0]["code"], "changed", "{document}");
    assert!(!registry.deletions().contains(&"pending-b".to_owned()));
    assert_eq!(left(&registry), ["main", "pending-b", "release"]);
    assert!(has(&registry, &image) && has(&registry, &other));
}

#[test]
fn next_run_continues_an_untagged_digest() {
    let (registry, scene) = scene(Kind::Google);
    let image = old("a");
    let report = attached("report", &image);
    registry.store().push(&["pending-a"], &image);
    // A tag that does not belong to a signature keeps what is attached. It is pushed after the check.
    let late = report.clone();
    registry
        .store()
        .hook("DELETE /v2/acme/app/manifests/pending-a", move |store| {
            store.push(&["sbom"], &late);
            None
        });
    let document = scene.prune(&ARGS, 3);
    assert_eq!(
        document["images"][0]["code"], "deletion_unfinished",
        "{document}"
    );
    assert_eq!(left(&registry), ["main", "sbom"]);
    assert!(has(&registry, &image));
    let document = scene.prune(&["--image", "app"], 0);
    let candidate = &document["images"][0]["candidates"][0];
    assert_eq!(
        candidate["digest"],
        json!(image.digest().to_string()),
        "{document}"
    );

    registry.store().tags.remove("sbom");
    registry.store().manifests.remove(&report.digest());
    let document = scene.prune(&ARGS, 0);
    assert_eq!(
        document["images"][0]["deleted"].as_array().unwrap().len(),
        1
    );
    assert!(!has(&registry, &image));
    let document = scene.prune(&["--image", "app"], 0);
    assert_eq!(document["images"][0]["candidates"], json!([]));
}

#[test]
fn google_lists_versions_without_a_tag() {
    let (registry, scene) = scene(Kind::Google);
    let (lost, index) = (old("lost"), Image::index(vec![old("used")]));
    registry.store().push(&[], &lost);
    registry.store().push(&["v1"], &index);
    scene.replace("repin.yaml", "prune: {  }", "prune: { untagged: true }");
    scene.commit("untagged");
    let document = scene.prune(&ARGS, 0);
    let deleted = &document["images"][0]["deleted"];
    assert_eq!(
        deleted[0]["digest"],
        json!(lost.digest().to_string()),
        "{document}"
    );
    assert!(!has(&registry, &lost) && has(&registry, &index.children[0]));
}

#[test]
fn docker_hub_deletes_a_digest_without_tags() {
    let (registry, scene) = scene(Kind::Hub);
    let (one, two) = (old("one"), old("two"));
    registry.store().push(&["pending-one"], &one);
    registry.store().push(&["pending-two"], &two);
    // The deletion takes place, and the response is an error.
    registry
        .store()
        .hook("DELETE /v2/acme/app/manifests/pending-two", |store| {
            let path = format!("DELETE /v2/acme/app/manifests/{}", old("two").digest());
            store.hook(&path, |store| {
                store.manifests.remove(&old("two").digest());
                Some(Reaction::new(500, ""))
            });
            None
        });
    let document = scene.prune(&ARGS, 0);
    assert_eq!(
        document["images"][0]["deleted"].as_array().unwrap().len(),
        2,
        "{document}"
    );
    assert_eq!(left(&registry), ["main"]);
    assert!(!has(&registry, &one) && !has(&registry, &two));
}

#[test]
fn docker_hub_without_tag_deletion_is_refused() {
    let (registry, scene) = scene(Kind::HubWithoutTags);
    registry.store().push(&["pending-one"], &old("one"));
    let ran = scene.run(&[&["prune"], &ARGS[..]].concat()).exits(4);
    assert!(
        ran.stderr.contains("does not delete the tag pending-one"),
        "{}",
        ran.stderr
    );
    assert_eq!(left(&registry), ["main", "pending-one"]);
}

#[test]
fn gitlab_part_is_deleted_after_its_index() {
    let (registry, scene) = scene(Kind::GitLab);
    let part = old("part");
    let index = Image::index(vec![part.clone()]);
    registry.store().push(&[], &index);
    registry.store().push(&["pending-part"], &part);
    registry.store().push(&["pending-other"], &old("other"));
    let document = scene.prune(&ARGS, 3);
    let image = &document["images"][0];
    assert_eq!(tags(&image["deleted"]), ["pending-other"], "{document}");
    assert_eq!(image["code"], "deletion_unfinished");
    assert_eq!(
        left(&registry),
        ["main", "pending-part"],
        "nothing is half deleted"
    );
    // GitLab deletes an index without a tag after a day.
    registry.store().manifests.remove(&index.digest());
    scene.prune(&ARGS, 0);
    assert_eq!(left(&registry), ["main"]);
}

#[test]
fn attached_manifest_stays_while_an_index_contains_its_subject() {
    let (registry, scene) = scene(Kind::GitLab);
    let part = old("part");
    let index = Image::index(vec![part.clone()]);
    let signature = attached("signature", &part);
    registry.store().push(&[], &index);
    registry.store().push(&["pending-part"], &part);
    let tag = format!("sha256-{}.sig", part.digest().hex());
    registry.store().push(&[&tag], &signature);
    let document = scene.prune(&ARGS, 3);
    let image = &document["images"][0];
    assert_eq!(image["code"], "deletion_unfinished", "{document}");
    assert!(has(&registry, &part) && has(&registry, &signature));
    assert!(left(&registry).contains(&tag));
}

#[test]
fn attached_manifest_that_the_plan_keeps_stays() {
    let (registry, scene) = scene(Kind::Google);
    let image = old("a");
    let signature = attached("signature", &image);
    let tag = format!("sha256-{}.sig", image.digest().hex());
    registry.store().push(&["pending-a"], &image);
    registry.store().push(&[&tag], &signature);
    scene.replace(
        "repin.yaml",
        "prune: {  }",
        "prune: { protect: ['^sha256-.*[.]sig$'] }",
    );
    scene.commit("protect signatures");
    let document = scene.prune(&ARGS, 3);
    assert_eq!(
        document["images"][0]["code"], "deletion_unfinished",
        "{document}"
    );
    assert_eq!(left(&registry), ["main", "pending-a", &tag]);
    assert!(has(&registry, &signature) && has(&registry, &image));
}

#[test]
fn version_keeps_its_tags_if_a_listed_attachment_must_stay() {
    let image = old("a");
    let part = Image::created("amd64", "part", Some(&days_ago(45)));
    // Without this subject; in a pinned index with this subject; a platform of a pinned index.
    for (entry, is_part) in [
        (old("other"), false),
        (attached("note", &image), true),
        (old("platform"), true),
    ] {
        let mut parts = vec![part.clone()];
        parts.extend(is_part.then(|| entry.clone()));
        let (registry, scene) = scene_of(Kind::Hub, &Image::index(parts));
        registry.store().push(&["release"], &pinned());
        registry.store().push(&["pending-a"], &image);
        let tag = format!("sha256-{}", image.digest().hex());
        let fallback = Image::index(vec![entry.clone()]);
        registry.store().push(&[&tag], &fallback);
        let document = scene.prune(&ARGS, 3);
        let row = &document["images"][0];
        assert_eq!(row["code"], "deletion_unfinished", "{document}");
        assert!(
            row.to_string().contains(&entry.digest().to_string()),
            "{row}"
        );
        assert_eq!(left(&registry), ["main", "pending-a", "release", &tag]);
        assert!(has(&registry, &image) && has(&registry, &entry));
        let entry = entry.digest().to_string();
        assert!(!registry.deletions().contains(&entry));
    }
}

#[test]
fn entry_of_a_fallback_tag_is_deleted_with_its_subject() {
    let (registry, scene) = scene(Kind::Hub);
    let image = old("a");
    let fallback = Image::index(vec![attached("note", &image)]);
    let tag = format!("sha256-{}", image.digest().hex());
    registry.store().push(&["pending-a"], &image);
    registry.store().push(&[&tag], &fallback);
    scene.prune(&ARGS, 0);
    assert!(!has(&registry, &image));
}

#[test]
fn entry_of_an_index_keeps_its_tags() {
    let (registry, scene) = scene(Kind::Google);
    let image = old("a");
    registry.store().push(&["pending-a"], &image);
    let path = format!("DELETE /v2/acme/app/manifests/{}", image.digest());
    for _ in 0..2 {
        registry.store().hook(&path, |_| {
            let codes = [
                "GOOGLE_MANIFEST_DANGLING_TAG",
                "GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE",
            ];
            let errors = codes.map(|code| json!({"code": code, "message": "no"}));
            Some(Reaction::new(400, json!({"errors": errors}).to_string()))
        });
    }
    let document = scene.prune(&ARGS, 3);
    let image = &document["images"][0];
    assert_eq!(image["code"], "deletion_unfinished", "{document}");
    assert_eq!(left(&registry), ["main", "pending-a"]);
}

#[test]
fn unfinished_digest_with_a_new_tag_is_no_longer_recorded() {
    let (registry, scene) = scene(Kind::Google);
    let image = old("a");
    registry.store().push(&["pending-a"], &image);
    let report = attached("report", &image);
    registry
        .store()
        .hook("DELETE /v2/acme/app/manifests/pending-a", move |store| {
            store.push(&["sbom"], &report);
            None
        });
    let candidates = || {
        let document = scene.prune(&["--image", "app"], 0);
        let candidates = document["images"][0]["candidates"].as_array();
        candidates.unwrap().len()
    };
    scene.prune(&ARGS, 3);
    assert_eq!(candidates(), 1);
    registry
        .store()
        .tags
        .insert("release".to_owned(), image.digest());
    assert_eq!(candidates(), 0);
    registry.store().tags.remove("release");
    assert_eq!(candidates(), 0, "the tag was a new purpose");
}

#[test]
fn other_refusals_delete_no_tag() {
    for (status, code) in [
        (400, "UNSUPPORTED"),
        (403, "DENIED"),
        (405, "UNSUPPORTED"),
        (409, "CONFLICT"),
    ] {
        let (registry, scene) = scene(Kind::GitLab);
        registry.store().push(&["pending-a"], &old("a"));
        let path = format!("DELETE /v2/acme/app/manifests/{}", old("a").digest());
        registry.store().hook(&path, move |_| {
            let body = json!({"errors": [{"code": code, "message": "no"}]});
            Some(Reaction::new(status, body.to_string()))
        });
        scene.prune(&ARGS, 4);
        let digest = Digest::of(&old("a").manifest).to_string();
        assert_eq!(registry.deletions()[1..], [digest]);
        assert_eq!(left(&registry), ["main", "pending-a"], "{status}");
    }
}
