//! `prune` on plain registries: docker-registry, and a scripted one for behavior that it never
//! does.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::support::{
    Digest, date,
    fake::{Fake, Reaction, Request},
    images::{Image, descriptor},
    pruned::{Real, config, old, pinned, push, refused, set, young},
    registry::{Protection, Registry},
    scene::{Scene, days_ago, protection, tags},
    world::{git, git_at},
};

const REV_A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const REV_B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

#[test]
fn index_with_a_lost_platform_is_broken() {
    let lost = Image::created("arm64", "lost", Some(&days_ago(41)));
    let index = Image::index(vec![old("kept"), lost.clone()]);
    let real = Real::new("", &[("main", &pinned()), ("pending-broken", &index)]);
    real.lose(lost.digest());
    let document = real.scene.prune(&[], 0);
    let image = &document["images"][0];
    assert_eq!(image["candidates"], json!([]), "{document}");
    let reason = protection(image, "pending-broken");
    assert_eq!(reason, "broken: linux/arm64 is missing");
}

/// A nested index is read only if there are candidates, so it must not be missed if another index protects them all.
#[test]
fn protected_candidates_need_no_nested_index() {
    let part = old("part");
    let index = Image::index(vec![part.clone(), Image::index(vec![young("leaf")])]);
    let images = [
        ("main", &pinned()),
        ("v1", &index),
        ("pending-part", &part),
        // With its date, no other one is needed.
        ("pending-young", &young("y")),
    ];
    let document = Real::new("", &images).scene.prune(&["--apply"], 0);
    let image = &document["images"][0];
    assert_eq!(image["candidates"], json!([]), "{document}");
    let reason = protection(image, "pending-part");
    assert!(reason.contains(&index.digest().to_string()), "{reason}");
}

#[test]
fn text_shows_local_times() {
    let real = Real::new("", &[("main", &pinned()), ("pending-old", &old("old"))]);
    let zone = [("TZ", "CET-1")];
    let utc = days_ago(40);
    let document = real.scene.prune(&["--image", "app"], 0);
    assert_eq!(document["images"][0]["candidates"][0]["created"], utc);
    let ran = real.scene.run_with(&["prune"], &zone).exits(0);
    let hour = (utc[11..13].parse::<u32>().unwrap() + 1) % 24;
    let local = format!(" {hour:02}{}+01:00", &utc[13..16]);
    assert!(
        ran.stdout.contains(&format!("{local})\n")),
        "{}",
        ran.stdout
    );
    let json = ["prune", "--format", "json"];
    let ran = real.scene.run_with(&json, &zone).exits(0);
    assert!(!ran.stdout.contains("+01:00"), "{}", ran.stdout);
    let ran = real.scene.run_with(&["prune", "--apply"], &zone).exits(0);
    assert!(
        ran.stderr.contains(&format!("{local}; undo")),
        "{}",
        ran.stderr
    );
}

#[test]
fn exactly_the_stale_pending_versions_go() {
    let (pinned, released, both) = (pinned(), old("released"), old("both"));
    let part = Image::created("arm64", "part", Some(&days_ago(41)));
    let index = Image::index(vec![old("x"), part.clone()]);
    let half = Image::index(vec![
        old("y"),
        Image::created("arm64", "y", Some(&days_ago(3))),
    ]);
    let subject = descriptor(pinned.media_type, &pinned.manifest);
    let (stale_index, note) = (
        Image::index(vec![old("p"), old("q")]),
        old("note").with("subject", subject),
    );
    let dated = old("z").with(
        "annotations",
        json!({"org.opencontainers.image.created": days_ago(1)}),
    );
    let real = Real::new(
        "",
        &[
            ("main", &pinned),
            ("pending-stale", &old("stale")),
            ("pending-stale-index", &stale_index),
            ("pending-fresh", &young("fresh")),
            ("pending-half", &half),
            ("pending-dated", &dated),
            ("pending-never", &Image::created("amd64", "never", None)),
            (
                "pending-epoch",
                &Image::created("amd64", "epoch", Some("1970-01-01T00:00:00Z")),
            ),
            ("pending-both", &both),
            ("both", &both),
            (REV_A, &released),
            ("pending-released", &released),
            ("latest", &index),
            ("pending-part", &part),
            ("pending-note", &note),
        ],
    );
    let before = real.left();
    let document = real.scene.prune(&[], 0);
    assert_eq!(
        (&document["schema"], &document["applied"]),
        (&json!("repin.prune/1"), &json!(false))
    );
    let image = &document["images"][0];
    assert_eq!(
        tags(&image["candidates"]),
        ["pending-stale", "pending-stale-index"],
        "{document}"
    );
    assert_eq!(
        (&image["refused"], &image["deleted"], &image["mixed"]),
        (&json!(null), &json!([]), &json!(1))
    );
    for (tag, says) in [
        ("main", "in the work tree (.github/workflows/a.yml:1)"),
        ("pending-both", "both is not"),
        ("pending-released", "which prune.protect keeps by default"),
        ("pending-part", "part of the index"),
        ("pending-note", "belongs to"),
        ("pending-never", "age is unknown"),
        ("pending-epoch", "age is unknown"),
    ] {
        let found = protection(image, tag);
        assert!(found.contains(says), "{tag}: {found}");
    }
    assert_eq!(real.left(), before, "a dry run changes nothing");
    assert_eq!(
        real.deletions(),
        [] as [&str; 0],
        "and asks for nothing to be changed"
    );

    let ran = real.scene.run(&["prune", "--apply"]).exits(0);
    let gone = set(&["pending-stale", "pending-stale-index"]);
    assert_eq!(real.left(), before.difference(&gone).cloned().collect());
    let line = |image: &Image, tag: &str| {
        format!(
            "deleted {}@{} tags={tag} created=",
            real.app(),
            image.digest()
        )
    };
    for (image, tag) in [
        (&old("stale"), "pending-stale"),
        (&stale_index, "pending-stale-index"),
    ] {
        assert_eq!(
            ran.stderr.matches(&line(image, tag)).count(),
            1,
            "{}",
            ran.stderr
        );
    }
    let again = real.scene.prune(&["--apply"], 0);
    assert_eq!(
        (&again["images"][0]["candidates"], &again["applied"]),
        (&json!([]), &json!(true)),
        "{again}"
    );
}

/// `BuildKit` writes the time of the last layer into `created`, also if that comes from its cache.
#[test]
fn build_from_a_cache_is_young() {
    let real = Real::new("", &[("main", &pinned()), ("pending-stale", &old("stale"))]);
    let commit = |message, days| {
        let commit = ["commit", "-q", "--allow-empty", "-m", message];
        git_at(real.scene.path(), &commit, &days_ago(days));
        git(real.scene.path(), &["rev-parse", "HEAD"])
    };
    let (former, commit) = (commit("long ago", 30), commit("build it", 3));
    let dated = json!({"org.opencontainers.image.created": days_ago(1)});
    let labeled = Image::labeled("amd64", "labeled", Some(&days_ago(40)), &dated);
    let whole = Image::index(vec![old("part"), old(&commit)]);
    // The cache itself: its entries are layers.
    let cache = Image::index(vec![old("cached")]);
    let layer = descriptor(
        "application/vnd.oci.image.layer.v1.tar",
        &old("cached").layer,
    );
    let cache = cache.with("manifests", json!([layer]));
    let tagged: [(&str, &Image); 5] = [
        ("pending-former", &old(&former)),
        ("pending-labeled", &labeled),
        ("pending-new", &old(&commit)),
        ("pending-whole", &whole),
        ("pending-cache", &cache),
    ];
    push(&real.registry, "acme/app", &tagged);
    let document = real.scene.prune(&[], 0);
    let image = &document["images"][0];
    let stale = ["pending-former", "pending-stale"];
    assert_eq!(tags(&image["candidates"]), stale, "{document}");
    let found = protection(image, "pending-cache");
    assert!(found.contains("age is unknown"), "{found}");
}

#[test]
fn dry_run_is_default_and_wins() {
    let real = Real::new("", &[("main", &pinned()), ("pending-stale", &old("stale"))]);
    for (args, env) in [
        (&[][..], None),
        (&["--dry-run", "true"], None),
        (&["--dry-run", ""], None),
        (&["--apply", "--dry-run", "true"], None),
        (&["--apply"], Some("true")),
        (&["--dry-run", "false"], Some("")),
        (&[], Some("false")),
    ] {
        let env: Vec<_> = env
            .map(|value| ("REPIN_DRY_RUN", value))
            .into_iter()
            .collect();
        real.scene
            .run_with(&[&["prune"], args].concat(), &env)
            .exits(0);
        assert_eq!(real.deletions(), [] as [&str; 0], "{args:?}");
    }
    for args in [
        &["--dry-run", "yes"][..],
        &["--image", "nobody"],
        &["--older-than", "soon"],
        &["--limit", "-1"],
    ] {
        real.scene.run(&[&["prune"], args].concat()).exits(2);
    }
    real.scene.run(&["prune", "--dry-run", "false"]).exits(0);
    assert_eq!(real.left(), set(&["main"]));
}

#[test]
fn options_overrule_the_configuration() {
    let real = Real::new(
        "older_than: 60d, limit: 0",
        &[
            ("main", &pinned()),
            ("pending-a", &old("a")),
            ("pending-b", &young("b")),
        ],
    );
    assert_eq!(real.scene.prune(&[], 0)["images"][0]["young"], 2);
    let document = real.scene.prune(
        &["--older-than", "30d", "--limit", "1", "--image", "app"],
        0,
    );
    assert_eq!(tags(&document["images"][0]["candidates"]), ["pending-a"]);
    assert_eq!(document["images"].as_array().unwrap().len(), 1);
    real.scene.prune(&["--older-than", "30d"], 1);
    real.scene.write(
        "repin.yaml",
        config(&real.registry.host, "").replace("prune: {  }\n", ""),
    );
    let ran = real.scene.run(&["prune"]).exits(2);
    assert!(ran.stderr.contains("no `prune`"), "{}", ran.stderr);
}

#[test]
fn impossible_requests_fail_before_any_network_access() {
    let real = Real::new("", &[("main", &pinned()), ("pending-stale", &old("stale"))]);
    let ran = real
        .scene
        .run(&[
            "prune",
            "restore",
            "--image",
            "app",
            "--version",
            "1",
            "--apply",
        ])
        .exits(2);
    assert!(ran.stderr.contains("cannot restore"), "{}", ran.stderr);
    real.scene
        .run(&[
            "prune",
            "--image",
            "app",
            "restore",
            "--image",
            "app",
            "--version",
            "1",
        ])
        .exits(2);
    // Without a version, it sets missing tags again.
    real.scene
        .run(&["prune", "restore", "--image", "app"])
        .exits(0);
    let host = &real.registry.host;
    let ran = real
        .scene
        .run(&["prune", "--source", &format!("{host}=oci:images")])
        .exits(2);
    assert!(ran.stderr.contains("cannot be pruned"), "{}", ran.stderr);
    // The registry of GitHub's packages goes by its name; a mirror in its place is a registry like
    // any other.
    real.scene.write("repin.yaml", config("ghcr.io", ""));
    assert!(
        real.scene
            .run(&["prune"])
            .exits(2)
            .stderr
            .contains("forge.kind")
    );
    real.scene.pin("ghcr.io/acme/app", pinned().digest());
    let there = format!("ghcr.io=http://{host}");
    assert!(
        real.scene
            .run(&["prune", "--source", &there])
            .exits(0)
            .stdout
            .contains("pending-stale")
    );
}

#[test]
fn too_many_candidates_refuse_the_run() {
    let all: Vec<_> = (0..22)
        .map(|n| (format!("pending-{n:02}"), old(&n.to_string())))
        .collect();
    let (pinned, mut tagged) = (pinned(), Vec::new());
    tagged.push(("main", &pinned));
    tagged.extend(all.iter().map(|(tag, image)| (tag.as_str(), image)));
    let real = Real::new("limit: 21", &tagged);
    push(
        &real.registry,
        "acme/base",
        &[("pending-x", &old("x")), ("other", &young("y"))],
    );
    let document = real.scene.prune(&["--apply"], 1);
    let image = &document["images"][0];
    assert!(
        image["refused"]
            .as_str()
            .unwrap()
            .contains("22 candidates, and the limit is 21"),
        "{image}"
    );
    assert_eq!(
        (
            &image["code"],
            image["candidates"].as_array().unwrap().len()
        ),
        (&json!("limit"), 20)
    );
    assert_eq!(
        real.deletions(),
        [] as [&str; 0],
        "the other image is not touched either"
    );
    real.scene.prune(&["--apply", "--limit", "22"], 0);
    assert_eq!(real.left(), set(&["main"]));
}

#[test]
fn registry_without_deletion_is_reported_first() {
    let stale = old("stale");
    let real = Real::with(
        &Protection::Undeletable,
        "",
        &[("main", &pinned()), ("pending-stale", &stale)],
    );
    real.scene.prune(&[], 0);
    let document = real.scene.prune(&["--apply"], 4);
    let image = &document["images"][0];
    assert!(
        image["refused"]
            .as_str()
            .unwrap()
            .contains("does not delete"),
        "{image}"
    );
    assert_eq!(
        (&image["code"], &document["applied"]),
        (&json!("deletion_disabled"), &json!(false))
    );
    let received = real.deletions();
    assert!(
        received.len() == 1 && !received[0].contains(&stale.digest().hex()),
        "{received:?}"
    );
}

#[test]
fn unfetched_branches_of_the_remote_protect() {
    let (pinned, open, later) = (pinned(), old("open"), old("later"));
    let all = [
        ("main", &pinned),
        ("pending-open", &open),
        ("pending-later", &later),
        ("pending-stale", &old("stale")),
    ];
    let real = Real::new("", &all);
    push(
        &real.registry,
        "acme/base",
        &[
            ("pending-base", &old("base")),
            (&format!("pending-{REV_B}"), &old("rev")),
        ],
    );
    let text = config(&real.registry.host, "").replace(
        "\nprune",
        "\nrevision: { tag: 'pending-{revision}' }\nprune",
    );
    real.scene.write("repin.yaml", &text);
    real.scene.commit("tags of revisions are pending");
    let pin = format!("image: {}@{}\n", real.app(), open.digest());
    real.scene.elsewhere(
        &format!("repin/promote-{REV_B}"),
        &[(".github/workflows/b.yml", &pin)],
    );
    // A branch that is no base and not by repin: a user may deploy it nevertheless.
    let pin = format!("image: {}@{}\n", real.app(), later.digest());
    real.scene
        .elsewhere("feature/x", &[(".github/workflows/c.yml", &pin)]);
    let refs = real.scene.git(&["for-each-ref"]);
    let document = real.scene.prune(&[], 0);
    assert_eq!(
        tags(&document["images"][0]["candidates"]),
        ["pending-stale"],
        "{document}"
    );
    let reason = protection(&document["images"][0], "pending-later");
    assert!(
        reason.contains("c.yml:1 on feature/x of origin"),
        "{reason}"
    );
    let reason = protection(&document["images"][0], "pending-open");
    assert!(
        reason.contains(&format!("on repin/promote-{REV_B} of origin")),
        "{reason}"
    );
    let reason = protection(&document["images"][1], &format!("pending-{REV_B}"));
    assert!(
        reason.contains("is the tag of a revision that repin/promote-"),
        "{reason}"
    );
    assert_eq!(
        real.scene.git(&["for-each-ref"]),
        refs,
        "no reference of the clone is touched"
    );
    assert!(!real.scene.path().join(".git/FETCH_HEAD").exists());
    // A rollback's branch, too; and if only the remote can be queried, a broken one
    // proves nothing.
    real.scene
        .elsewhere("repin/rollback-x", &[(".github/workflows/c.yml", &pin)]);
    assert_eq!(
        tags(&real.scene.prune(&[], 0)["images"][0]["candidates"]),
        ["pending-stale"]
    );
    real.scene
        .git(&["remote", "set-url", "origin", "./nowhere.git"]);
    let document = real.scene.prune(&["--apply"], 3);
    assert_eq!(document["images"][0]["code"], "unavailable", "{document}");
    assert_eq!(real.deletions(), [] as [&str; 0]);
}

/// A registry with a stale version and the pins of `twin`, which is the same repository under
/// another name.
fn twin(
    all: &[(&str, &Image)],
    name: impl Fn(&str) -> (String, String),
    pinned_too: &Image,
) -> (Real, Value) {
    let (pinned, stale) = (pinned(), old("stale"));
    let all: Vec<_> = [("main", &pinned), ("pending-stale", &stale)]
        .into_iter()
        .chain(all.iter().copied())
        .collect();
    let real = Real::new("", &all);
    let (block, repository) = name(&real.registry.host);
    let images = format!("{block}\nimages:\n  twin: {{ repository: '{repository}', pins: 1 }}");
    real.scene.write(
        "repin.yaml",
        config(&real.registry.host, "").replace("\nimages:", &images),
    );
    real.scene.write(
        ".github/workflows/b.yml",
        format!("x: {repository}@{}\n", pinned_too.digest()),
    );
    real.scene.commit("a twin");
    let document = real.scene.prune(&["--apply", "--image", "app"], 0);
    (real, document)
}

#[test]
fn pin_under_another_repository_name_protects() {
    let child = old("child");
    let index = Image::index(vec![child.clone(), old("other")]);
    // No tag refers to the index: only the pin does.
    let all = [
        ("edge", &index),
        ("edge", &young("edge")),
        ("pending-child", &child),
    ];
    let mirror = |host: &str| {
        (
            format!("\nsources: {{ mirror.example: 'http://{host}/acme' }}"),
            "mirror.example/app".to_owned(),
        )
    };
    let (real, document) = twin(&all, mirror, &index);
    assert_eq!(
        tags(&document["images"][0]["deleted"]),
        ["pending-stale"],
        "{document}"
    );
    assert_eq!(real.left(), set(&["main", "edge", "pending-child"]));
}

/// Only history refers to the index: no tag refers to it, and no file pins it.
#[test]
fn past_pin_under_another_name_protects() {
    let child = old("child");
    let index = Image::index(vec![child.clone(), old("other")]);
    let all = [
        ("main", &pinned()),
        ("pending-stale", &old("stale")),
        ("edge", &index),
        ("edge", &young("edge")),
        ("pending-child", &child),
    ];
    let real = Real::new("", &all);
    let host = &real.registry.host;
    let twin = format!(
        "\nsources: {{ mirror.example: 'http://{host}/acme' }}\nimages:\n  \
         twin: {{ repository: mirror.example/app, pins: 1 }}"
    );
    let config = config(host, "").replace("\nimages:", &twin);
    real.scene.write("repin.yaml", config);
    for (digest, message) in [
        (index.digest(), "a twin"),
        (young("edge").digest(), "another twin"),
    ] {
        let pin = format!("x: mirror.example/app@{digest}\n");
        real.scene.write(".github/workflows/b.yml", pin);
        real.scene.commit(message);
    }
    let document = real.scene.prune(&["--apply", "--image", "app"], 0);
    let deleted = tags(&document["images"][0]["deleted"]);
    assert_eq!(deleted, ["pending-stale"], "{document}");
    assert_eq!(real.left(), set(&["main", "edge", "pending-child"]));
}

#[test]
fn the_same_bytes_stay_under_every_name() {
    // repin cannot determine that this is the same registry.
    let other = |host: &str| {
        (
            String::new(),
            format!("{}/acme/app", host.replace("127.0.0.1", "localhost")),
        )
    };
    let image = old("twin");
    let (real, document) = twin(&[("pending-twin", &image)], other, &image);
    assert_eq!(
        tags(&document["images"][0]["deleted"]),
        ["pending-stale"],
        "{document}"
    );
    assert_eq!(real.left(), set(&["main", "pending-twin"]));
}

#[test]
fn open_branches_protect_by_former_names() {
    // The second is the default of an earlier version.
    for name in ["repin/promote", "auto/runtime-promote"] {
        let (pinned, open) = (pinned(), old("open"));
        let real = Real::new(
            "",
            &[
                ("main", &pinned),
                ("pending-open", &open),
                // Only the name of the branch refers to it.
                (&format!("pending-{REV_B}"), &old("tagged")),
                ("pending-stale", &old("stale")),
            ],
        );
        let pin = format!("image: {}@{}\n", real.app(), open.digest());
        real.scene.elsewhere(
            &format!("{name}-{REV_B}"),
            &[(".github/workflows/b.yml", &pin)],
        );
        // From now on, their branches have other names.
        let text = config(&real.registry.host, "").replace(
            "\nprune",
            "\npromote: { branch: 'x-{revision}' }\nrevision: { tag: 'pending-{revision}' }\nprune",
        );
        real.scene.write("repin.yaml", text);
        real.scene.commit("other names");
        let document = real.scene.prune(&["--apply"], 0);
        assert_eq!(
            tags(&document["images"][0]["deleted"]),
            ["pending-stale"],
            "{document}"
        );
    }
}

/// The refusal of the run for a promotion branch with these files.
fn open_branch_refuses(files: &[(&str, &str)], exit: i32, code: &str) -> String {
    let real = Real::new("", &[("main", &pinned()), ("pending-stale", &old("stale"))]);
    let app = real.app();
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (*path, text.replace("APP", &app)))
        .collect();
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    let branch = format!("repin/promote-{REV_B}");
    real.scene.elsewhere(&branch, &files);
    let document = refused(&real, exit, code);
    let reason = document["images"][0]["refused"].as_str().unwrap();
    assert!(reason.contains(&branch), "{document}");
    reason.to_owned()
}

#[test]
fn open_branch_uses_its_files() {
    let own = config("127.0.0.1:1", "").replace(".github/workflows/*.yml", ".github/*.yml");
    let pin = (".github/d.yml", "image: APP@sha256:abc\n");
    let reason = open_branch_refuses(&[("repin.yaml", &own), pin], 1, "pin_unsupported");
    assert!(reason.contains(".github/d.yml:1"), "{reason}");
}

#[test]
fn open_branch_is_read_by_each_configured_name() {
    // The first name is that of the base, the second that of the work tree.
    for name in ["former", "current"] {
        let real = Real::new("", &[("main", &pinned()), ("pending-stale", &old("stale"))]);
        let pin = format!("image: {}@sha256:abc\n", real.app());
        let branch = format!("{name}-{REV_B}");
        let file = ".github/workflows/b.yml";
        real.scene.elsewhere(&branch, &[(file, &pin)]);
        let configure = |name: &str| {
            let block = format!("\npromote: {{ branch: '{name}-{{revision}}' }}\nprune");
            let text = config(&real.registry.host, "").replace("\nprune", &block);
            real.scene.write("repin.yaml", text);
        };
        configure("former");
        real.scene.commit("a name");
        configure("current");
        let document = refused(&real, 1, "pin_unsupported");
        let reason = document["images"][0]["refused"].as_str().unwrap();
        assert!(reason.contains(&branch), "{document}");
    }
}

#[test]
fn open_branch_without_readable_configuration_refuses() {
    let broken = ("repin.yaml", "version: [");
    open_branch_refuses(&[broken], 3, "unavailable");
}

#[test]
fn base_is_read_for_any_checkout() {
    let real = Real::new("", &[("main", &pinned()), ("pending-stale", &old("stale"))]);
    real.scene.git(&["branch", "-q", "side"]);
    let files = [".github/workflows/b.yml", ".github/workflows/c.yml"];
    real.scene
        .write(files[0], format!("image: {}@sha256:abc\n", real.app()));
    real.scene.commit("malformed");
    real.scene.git(&["checkout", "-q", "side"]);
    let says = |code| {
        let document = refused(&real, 1, code);
        document["images"][0]["refused"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let reason = says("pin_unsupported");
    assert!(
        reason.contains("on main of origin") && reason.contains(files[0]),
        "{reason}"
    );
    real.scene.git(&["checkout", "-q", "main"]);
    std::fs::remove_file(real.scene.path().join(files[0])).unwrap();
    std::os::unix::fs::symlink("a.yml", real.scene.path().join(files[1])).unwrap();
    real.scene.commit("a link");
    real.scene.git(&["checkout", "-q", "side"]);
    let reason = says("file_unsafe");
    assert!(
        reason.contains("on main of origin") && reason.contains(files[1]),
        "{reason}"
    );
}

#[test]
fn base_of_pull_requests_protects() {
    let (first, stale) = (old("first"), old("stale"));
    let all = [
        ("main", &pinned()),
        ("pending-first", &first),
        ("pending-stale", &stale),
    ];
    let real = Real::new("", &all);
    real.scene.git(&["checkout", "-q", "-b", "release"]);
    let pinned_by_main = real.scene.git(&["show", "HEAD:.github/workflows/a.yml"]);
    real.scene.pin(&real.app(), first.digest());
    real.scene.commit("promote: test images @x");
    real.scene
        .write(".github/workflows/a.yml", pinned_by_main + "\n");
    real.scene.commit("another");
    real.scene.git(&["checkout", "-q", "main"]);
    let config = config(&real.registry.host, "");
    let forge =
        "{ kind: gitea, url: 'http://127.0.0.1:1/api/v1', repository: acme/flows, base: release }";
    let config = format!("{config}provenance: {{ branch: origin/main }}\nforge: {forge}\n");
    real.scene.write("repin.yaml", config);
    real.scene.commit("another base");
    let kept = |document: &Value| {
        let image = &document["images"][0];
        assert_eq!(tags(&image["candidates"]), ["pending-stale"], "{document}");
        assert!(
            protection(image, "pending-first").contains("promotion history"),
            "{document}"
        );
    };
    kept(&real.scene.prune(&[], 0));
    // Without a base in the configuration, the default branch of the remote is the base.
    let file = real.scene.path().join("repin.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    real.scene
        .write("repin.yaml", text.replace(", base: release", ""));
    real.scene.commit("no base");
    let origin = real.scene.path().join("origin.git");
    git(&origin, &["symbolic-ref", "HEAD", "refs/heads/release"]);
    kept(&real.scene.prune(&["--apply"], 0));
}

#[test]
fn promoted_sets_stay_by_digest_and_tag() {
    let (pinned, first) = (pinned(), old("first"));
    let real = Real::new(
        "",
        &[
            ("main", &pinned),
            ("pending-first", &first),
            ("pending-stale", &old("stale")),
        ],
    );
    push(
        &real.registry,
        "acme/base",
        &[
            ("pending-base", &old("base")),
            (&format!("pending-{REV_A}"), &old("rev")),
        ],
    );
    let plain = config(&real.registry.host, "");
    // Promoted once, with another way to tag, and long since replaced.
    real.scene.write(
        "repin.yaml",
        plain.replace(
            "\nprune",
            "\nrevision: { tag: 'pending-{revision}' }\nprune",
        ),
    );
    real.scene.pin(&real.app(), first.digest());
    real.scene.commit(&format!("promote: test images @{REV_A}"));
    real.scene.write("repin.yaml", &plain);
    real.scene.pin(&real.app(), pinned.digest());
    real.scene.commit(&format!("promote: test images @{REV_B}"));
    let document = real.scene.prune(&["--apply"], 0);
    assert!(
        protection(&document["images"][0], "pending-first").contains("promotion history"),
        "{document}"
    );
    assert!(
        protection(&document["images"][1], &format!("pending-{REV_A}"))
            .contains("origin/main promoted"),
        "{document}"
    );
    assert_eq!(tags(&document["images"][0]["deleted"]), ["pending-stale"]);
    assert_eq!(tags(&document["images"][1]["deleted"]), ["pending-base"]);
    assert_eq!(real.left(), set(&["main", "pending-first"]));
}

#[test]
fn commit_with_broken_configuration_protects() {
    let (pinned, lost) = (pinned(), old("lost"));
    let real = Real::new(
        "",
        &[
            ("main", &pinned),
            ("pending-lost", &lost),
            ("pending-stale", &old("stale")),
        ],
    );
    real.scene.write("repin.yaml", "version: 1\nfiles: [\n");
    real.scene.pin(&real.app(), lost.digest());
    real.scene.commit("broken, and pinned");
    real.scene
        .write("repin.yaml", config(&real.registry.host, ""));
    real.scene.pin(&real.app(), pinned.digest());
    real.scene.commit("mended");
    let document = real.scene.prune(&[], 0);
    assert_eq!(
        tags(&document["images"][0]["candidates"]),
        ["pending-stale"],
        "{document}"
    );
}

#[test]
fn outdated_base_branch_refuses() {
    let stale = old("stale");
    let real = Real::new("", &[("main", &pinned()), ("pending-stale", &stale)]);
    // Promoted a minute ago, by someone else.
    let pin = format!("image: {}@{}\n", real.app(), stale.digest());
    real.scene
        .elsewhere("main", &[(".github/workflows/a.yml", &pin)]);
    let document = refused(&real, 3, "base_behind");
    assert!(
        document["images"][0]["hint"]
            .as_str()
            .unwrap()
            .contains("git fetch origin"),
        "{document}"
    );
    real.scene.git(&["fetch", "-q", "origin"]);
    assert_eq!(
        real.scene.prune(&["--apply"], 0)["images"][0]["deleted"],
        json!([])
    );
}

#[test]
fn help_fetches_the_base_without_a_refspec() {
    let real = Real::new("", &[("main", &pinned()), ("pending-stale", &old("stale"))]);
    let git = |args: &[&str]| real.scene.git(args);
    git(&["remote", "set-head", "origin", "main"]);
    // A bare clone has none, and that of one branch another one.
    git(&["config", "--unset-all", "remote.origin.fetch"]);
    real.scene.elsewhere("main", &[("x.txt", "x")]);
    // The remote-tracking branch has diverged, and a tag with the name of the branch hides it from a short refspec.
    git(&["commit", "-q", "--allow-empty", "-m", "diverged"]);
    git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    git(&["push", "-q", "origin", "HEAD:refs/tags/main"]);
    let document = refused(&real, 3, "base_behind");
    let hint = document["images"][0]["hint"].as_str().unwrap();
    let command = "git fetch origin +refs/heads/main:refs/remotes/origin/main";
    assert_eq!(hint, format!("fetch it: {command}"));
    git(&command.split(' ').skip(1).collect::<Vec<_>>());
    let document = real.scene.prune(&["--apply"], 0);
    assert_eq!(
        tags(&document["images"][0]["deleted"]),
        ["pending-stale"],
        "{document}"
    );
}

#[test]
fn base_branch_by_ci_replaces_unknown_default() {
    let (pinned, first, stale) = (pinned(), old("first"), old("stale"));
    let real = Real::new(
        "",
        &[
            ("main", &pinned),
            ("pending-first", &first),
            ("pending-stale", &stale),
        ],
    );
    real.scene.pin(&real.app(), first.digest());
    real.scene.commit("promote: test images @x");
    real.scene.pin(&real.app(), pinned.digest());
    real.scene.commit("another");
    real.scene
        .git(&["push", "-q", "origin", "HEAD:refs/heads/aside"]);
    real.scene.git(&["fetch", "-q", "origin"]);
    let origin = real.scene.path().join("origin.git");
    git(&origin, &["symbolic-ref", "HEAD", "refs/heads/gone"]);
    // `main` is still the only branch with a usual name; after a rename, the clone does not show
    // it.
    for args in [
        ["remote", "set-head", "origin", "--delete"].as_slice(),
        &["push", "-q", "origin", "main:refs/heads/trunk"],
        &["push", "-q", "origin", ":main"],
        &["fetch", "-q", "--prune", "origin"],
    ] {
        real.scene.git(args);
    }
    refused(&real, 3, "unavailable");
    let run = ["prune", "--apply", "--format", "json"];
    let stated = [("CI_DEFAULT_BRANCH", "trunk")];
    let document = real.scene.run_with(&run, &stated).exits(0).json();
    let image = &document["images"][0];
    assert_eq!(tags(&image["deleted"]), ["pending-stale"], "{document}");
    assert!(
        protection(image, "pending-first").contains("promotion history"),
        "{document}"
    );
}

#[test]
fn shallow_clone_refuses_to_prune() {
    let (pinned, first) = (pinned(), old("first"));
    let real = Real::new("", &[("main", &pinned), ("pending-first", &first)]);
    real.scene.pin(&real.app(), first.digest());
    real.scene.commit("promote: test images @x");
    real.scene.pin(&real.app(), pinned.digest());
    real.scene.commit("another");
    std::fs::rename(
        real.scene.path().join(".git"),
        real.scene.path().join("git.whole"),
    )
    .unwrap();
    real.scene.git(&["init", "-q", "-b", "main"]);
    let origin = format!("file://{}", real.scene.path().join("origin.git").display());
    real.scene.git(&["remote", "add", "origin", &origin]);
    real.scene.git(&[
        "fetch",
        "-q",
        "--depth=1",
        "origin",
        "main:refs/remotes/origin/main",
    ]);
    let document = refused(&real, 3, "shallow");
    assert!(
        document["images"][0]["hint"]
            .as_str()
            .unwrap()
            .contains("--unshallow"),
        "{document}"
    );
    real.scene.git(&["fetch", "-q", "--unshallow", "origin"]);
    let document = real.scene.prune(&["--apply"], 0);
    assert_eq!(document["images"][0]["deleted"], json!([]), "{document}");
}

#[test]
fn prune_refuses_without_git() {
    let real = Real::new("", &[("main", &pinned()), ("pending-stale", &old("stale"))]);
    std::fs::rename(
        real.scene.path().join(".git"),
        real.scene.path().join("git.away"),
    )
    .unwrap();
    refused(&real, 3, "unavailable");
}

#[test]
fn pin_that_is_missing_in_registry_refuses() {
    let real = Real::new("", &[("main", &pinned()), ("pending-stale", &old("stale"))]);
    real.scene.pin(&real.app(), Digest::of(b"nobody has it"));
    refused(&real, 3, "pinned_missing");
    // It exists without a tag; and so do the parts of a pinned index without a tag.
    let part = old("part");
    let index = Image::index(vec![part.clone(), young("other")]);
    push(
        &real.registry,
        "acme/app",
        &[
            ("moved", &index),
            ("pending-part", &part),
            ("moved", &young("moved")),
        ],
    );
    real.scene.pin(&real.app(), index.digest());
    real.scene.commit("pinned without a tag");
    let document = real.scene.prune(&["--apply"], 0);
    assert_eq!(
        tags(&document["images"][0]["deleted"]),
        ["pending-stale"],
        "{document}"
    );
    assert!(protection(&document["images"][0], "pending-part").contains("part of the index"));
}

#[test]
fn pins_that_cant_be_read_refuse() {
    let real = Real::new("", &[("main", &pinned()), ("pending-stale", &old("stale"))]);
    let digest = old("stale")
        .digest()
        .to_string()
        .to_uppercase()
        .replace("SHA256", "sha256");
    real.scene.write(
        ".github/workflows/b.yml",
        format!("x: {}@{digest}\n", real.app()),
    );
    refused(&real, 1, "pin_unsupported");
    std::fs::remove_file(real.scene.path().join(".github/workflows/b.yml")).unwrap();
    std::os::unix::fs::symlink(
        "../../elsewhere",
        real.scene.path().join(".github/workflows/b.yml"),
    )
    .unwrap();
    refused(&real, 1, "file_unsafe");
}

#[test]
fn meaningless_dates_refuse() {
    let at = days_ago(40);
    let one = |seed: &str| Image::created("amd64", seed, Some(&at));
    let real = Real::new(
        "",
        &[
            ("main", &one("main")),
            ("pending-a", &one("a")),
            ("pending-b", &one("b")),
        ],
    );
    refused(&real, 3, "timestamps");
    push(&real.registry, "acme/app", &[("other", &young("other"))]);
    assert_eq!(
        tags(&real.scene.prune(&[], 0)["images"][0]["candidates"]),
        ["pending-a", "pending-b"]
    );
    let ahead = date(std::time::SystemTime::now() + std::time::Duration::from_secs(3_600));
    push(
        &real.registry,
        "acme/app",
        &[(
            "pending-ahead",
            &Image::created("amd64", "ahead", Some(&ahead)),
        )],
    );
    refused(&real, 3, "timestamps");
}

type Hook = Box<dyn FnOnce(&mut Store) -> Option<Reaction> + Send>;
type Surprise = Box<dyn FnOnce(&mut Store) + Send>;

/// A scripted registry: manifests and configs by digest, tags in pages, a separate clock.
#[derive(Default)]
struct Store {
    tags: BTreeMap<String, Digest>,
    bytes: BTreeMap<Digest, (String, Vec<u8>)>,
    date: Option<String>,
    page: usize,
    /// Pages have no `Link` (optional by the OCI distribution specification 1.1, "Listing Tags").
    unlinked: bool,
    deleted: Vec<Digest>,
    /// An action just before the first request with this text in its target.
    hooks: Vec<(String, Hook)>,
}

impl Store {
    fn put(&mut self, tag: &str, image: &Image) {
        for (digest, bytes) in image.blobs() {
            self.bytes
                .insert(digest, ("application/octet-stream".to_owned(), bytes));
        }
        for manifest in image.manifests() {
            self.bytes.insert(
                manifest.digest(),
                (manifest.media_type.to_owned(), manifest.manifest.clone()),
            );
        }
        self.tags.insert(tag.to_owned(), image.digest());
    }

    fn hook(
        &mut self,
        part: &str,
        does: impl FnOnce(&mut Store) -> Option<Reaction> + Send + 'static,
    ) {
        self.hooks.push((part.to_owned(), Box::new(does)));
    }

    fn answer(&mut self, request: &Request) -> Reaction {
        let target = format!("{} {}", request.method, request.target);
        if let Some(at) = self
            .hooks
            .iter()
            .position(|(part, _)| target.contains(part.as_str()))
        {
            let (_, hook) = self.hooks.remove(at);
            if let Some(reaction) = hook(self) {
                return reaction;
            }
        }
        let reaction = self.plain(request);
        match &self.date {
            Some(date) => reaction.with("Date", date.clone()),
            None => reaction,
        }
    }

    fn plain(&mut self, request: &Request) -> Reaction {
        let Some(path) = request.path().strip_prefix("/v2/acme/app/") else {
            return Reaction::new(404, "");
        };
        if path == "tags/list" {
            return self.list(&request.target);
        }
        let reference = path.rsplit('/').next().unwrap();
        let digest = reference
            .parse()
            .ok()
            .or_else(|| self.tags.get(reference).copied());
        let Some(digest) = digest.filter(|digest| self.bytes.contains_key(digest)) else {
            return Reaction::new(404, "");
        };
        if request.method == "DELETE" {
            self.bytes.remove(&digest);
            self.tags.retain(|_, named| *named != digest);
            self.deleted.push(digest);
            return Reaction::new(202, "");
        }
        let (media_type, bytes) = &self.bytes[&digest];
        Reaction::new(200, bytes.clone()).with("Content-Type", media_type.clone())
    }

    fn list(&self, target: &str) -> Reaction {
        let last = target.split("last=").nth(1).unwrap_or_default();
        let rest: Vec<_> = self.tags.keys().filter(|tag| tag.as_str() > last).collect();
        let size = if self.page == 0 {
            rest.len()
        } else {
            self.page
        };
        let page: Vec<_> = rest.iter().take(size).collect();
        let body = json!({"name": "acme/app", "tags": page}).to_string();
        match page.last().filter(|_| rest.len() > size && !self.unlinked) {
            Some(last) => Reaction::new(200, body).with(
                "Link",
                format!("</v2/acme/app/tags/list?n=5&last={last}>; rel=\"next\""),
            ),
            None => Reaction::new(200, body),
        }
    }
}

struct Scripted {
    store: Arc<Mutex<Store>>,
    fake: Fake,
    scene: Scene,
}

impl Scripted {
    fn new(all: &[(&str, &Image)]) -> Self {
        let store = Arc::new(Mutex::new(Store::default()));
        for (tag, image) in all {
            store.lock().unwrap().put(tag, image);
        }
        let behind = Arc::clone(&store);
        let fake = Fake::start(move |request| behind.lock().unwrap().answer(request));
        let app = format!("{}/acme/app", fake.host());
        let scene = Scene::new(&config(&fake.host(), ""), &app, all[0].1.digest());
        Self { store, fake, scene }
    }

    fn store(&self) -> std::sync::MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    fn prune(&self, exit: i32) -> Value {
        self.scene.prune(&["--apply", "--image", "app"], exit)
    }
}

fn three() -> Scripted {
    Scripted::new(&[
        ("main", &pinned()),
        ("pending-a", &old("a")),
        (
            "pending-b",
            &Image::created("amd64", "b", Some(&days_ago(45))),
        ),
    ])
}

#[test]
fn each_manifest_of_tag_pages_is_read_once() {
    let scripted = three();
    for n in 0..40 {
        scripted
            .store()
            .put(&format!("kept-{n:02}"), &young(&n.to_string()));
    }
    scripted.store().page = 5;
    scripted.scene.prune(&["--image", "app"], 0);
    let log = scripted.fake.log();
    assert_eq!(
        log.iter()
            .filter(|line| line.ends_with("/tags/list"))
            .count(),
        10,
        "nine pages, and the question for more: {log:?}"
    );
    let manifests: Vec<_> = log
        .iter()
        .filter(|line| line.contains("/manifests/"))
        .collect();
    assert_eq!(manifests.len(), 43, "{manifests:?}");
    assert_eq!(
        manifests.iter().collect::<BTreeSet<_>>().len(),
        43,
        "none twice"
    );
    // Only the configs of the two deletable versions.
    assert_eq!(
        log.iter().filter(|line| line.contains("/blobs/")).count(),
        2,
        "{log:?}"
    );
    assert!(scripted.fake.busiest() <= 8, "{}", scripted.fake.busiest());
    scripted.store().page = 5;
    scripted
        .store()
        .hook("last=kept-29", |_| Some(Reaction::new(404, "")));
    let document = scripted.prune(3);
    assert_eq!(
        (
            &document["images"][0]["code"],
            &scripted.store().deleted.len()
        ),
        (&json!("unavailable"), &0)
    );
}

#[test]
fn clocks_that_are_apart_refuse() {
    for (seconds, exit, deleted) in [(0, 0, 2), (250, 0, 2), (3_600, 3, 0)] {
        for ahead in [true, false] {
            let scripted = three();
            let gap = std::time::Duration::from_secs(seconds);
            let now = std::time::SystemTime::now();
            scripted.store().date = Some(httpdate::fmt_http_date(if ahead {
                now + gap
            } else {
                now - gap
            }));
            let document = scripted.prune(exit);
            assert_eq!(scripted.store().deleted.len(), deleted, "{document}");
            if exit == 3 {
                assert_eq!(document["images"][0]["code"], "clock", "{document}");
            }
        }
    }
    assert_eq!(
        three().prune(0)["images"][0]["deleted"]
            .as_array()
            .unwrap()
            .len(),
        2,
        "a server need not tell"
    );
}

#[test]
fn first_deletion_without_a_response_is_verified() {
    let scripted = three();
    let request = format!(
        "DELETE /v2/acme/app/manifests/{}",
        sorted_by_age()[0].digest()
    );
    // The registry deletes more than requested, and a gateway drops its response.
    scripted.store().hook(&request, |store| {
        let kept = store.tags.remove("main").unwrap();
        store.bytes.remove(&kept);
        Some(Reaction::new(504, ""))
    });
    for _ in 0..10 {
        scripted
            .store()
            .hook(&request, |_| Some(Reaction::new(504, "")));
    }
    let document = scripted.prune(1);
    let reason = document["images"][0]["refused"].as_str().unwrap();
    assert!(reason.contains("main"), "{document}");
}

#[test]
fn unreadable_kept_version_counts_as_missing() {
    let scripted = three();
    let request = format!(
        "DELETE /v2/acme/app/manifests/{}",
        sorted_by_age()[1].digest()
    );
    scripted.store().hook(&request, |store| {
        for _ in 0..100 {
            store.hook("GET /v2/acme/app/manifests/main", |_| {
                Some(Reaction::new(503, ""))
            });
        }
        None
    });
    let document = scripted.prune(3);
    let image = &document["images"][0];
    let reason = image["refused"].as_str().unwrap();
    assert!(reason.contains("cannot verify"), "{document}");
    assert_eq!(
        tags(&image["deleted"]),
        ["pending-a", "pending-b"],
        "{document}"
    );
}

#[test]
fn candidate_that_lost_a_tag_stops_the_run() {
    let scripted = three();
    scripted.store().put("pending-twin", &sorted_by_age()[1]);
    let request = format!(
        "DELETE /v2/acme/app/manifests/{}",
        sorted_by_age()[0].digest()
    );
    scripted.store().hook(&request, |store| {
        store.tags.remove("pending-twin");
        None
    });
    let document = scripted.prune(3);
    let image = &document["images"][0];
    let reason = image["refused"].as_str().unwrap();
    assert!(reason.contains("some of its tags are gone"), "{document}");
    assert_eq!(scripted.store().deleted, [sorted_by_age()[0].digest()]);
}

/// The candidates of `three`, in the order in which they are deleted.
fn sorted_by_age() -> [Image; 2] {
    let older = Image::created("amd64", "b", Some(&days_ago(45)));
    [older, old("a")]
}

#[test]
fn the_first_surprise_ends_it() {
    // `pending-b` is the older one and goes first; each of these happens between the listing and
    // its deletion.
    let moved = young("moved");
    let surprises: [(&str, Surprise); 3] = [
        (
            "an index that was pushed meanwhile needs it",
            Box::new(|store| {
                let index = Image::index(vec![Image::created("amd64", "b", Some(&days_ago(45)))]);
                store.put("v9", &index);
            }),
        ),
        (
            "its tag names another one now",
            Box::new(move |store| store.put("pending-b", &moved)),
        ),
        (
            "another tag names it, too",
            Box::new(|store| {
                let digest = store.tags["pending-b"];
                store.tags.insert("released".to_owned(), digest);
            }),
        ),
    ];
    for (case, surprise) in surprises {
        let scripted = three();
        // The probe for deletion is the last thing before it.
        scripted.store().hook("DELETE", move |store| {
            surprise(store);
            None
        });
        let document = scripted.prune(3);
        assert_eq!(
            document["images"][0]["code"], "changed",
            "{case}: {document}"
        );
        assert_eq!(scripted.store().deleted, [], "{case}");
    }
    // Another process deleted it already: the run skips it and deletes the other one.
    let scripted = three();
    scripted.store().hook("DELETE", |store| {
        store.tags.remove("pending-b");
        None
    });
    let document = scripted.prune(0);
    assert_eq!(
        tags(&document["images"][0]["deleted"]),
        ["pending-a"],
        "{document}"
    );
}

#[test]
fn tag_that_vanishes_during_listing_refuses() {
    let scripted = three();
    scripted.store().hook("manifests/main", |store| {
        store.tags.remove("main");
        None
    });
    let document = scripted.prune(3);
    assert_eq!(
        (
            &document["images"][0]["code"],
            scripted.store().deleted.len()
        ),
        (&json!("listing"), 0),
        "{document}"
    );
}

#[test]
fn protected_version_missing_afterwards_is_an_error() {
    let scripted = three();
    // A registry that also deletes the pinned version with the first deletion.
    let pinned = pinned().digest();
    let first = Image::created("amd64", "b", Some(&days_ago(45)));
    scripted.store().hook(
        &format!("DELETE /v2/acme/app/manifests/{}", first.digest()),
        move |store| {
            store.bytes.remove(&pinned);
            None
        },
    );
    let ran = scripted
        .scene
        .run(&["prune", "--apply", "--image", "app"])
        .exits(1);
    assert!(
        ran.stderr
            .contains("PROTECTED VERSIONS OF app ARE MISSING NOW"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains(&pinned.to_string()) && ran.stderr.contains("PUSH THEM AGAIN"),
        "{}",
        ran.stderr
    );
}

#[test]
fn killed_run_can_be_repeated() {
    let scripted = three();
    let (send, pid) = std::sync::mpsc::channel::<u32>();
    let last = old("a").digest();
    // The registry deletes the version, but the killed process cannot report it.
    scripted.store().hook(
        &format!("DELETE /v2/acme/app/manifests/{last}"),
        move |store| {
            let pid = i32::try_from(pid.recv().unwrap()).unwrap();
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(pid).unwrap(),
                rustix::process::Signal::KILL,
            )
            .unwrap();
            store.tags.retain(|_, named| *named != last);
            store.bytes.remove(&last);
            store.deleted.push(last);
            None
        },
    );
    let mut child = scripted
        .scene
        .command(&["prune", "--apply", "--image", "app"])
        .spawn()
        .unwrap();
    send.send(child.id()).unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "it was killed");
    assert_eq!(scripted.store().deleted.len(), 2);
    scripted.store().put(
        "pending-c",
        &Image::created("amd64", "c", Some(&days_ago(42))),
    );
    let document = scripted.prune(0);
    assert_eq!(tags(&document["images"][0]["deleted"]), ["pending-c"]);
    assert_eq!(scripted.store().tags.keys().collect::<Vec<_>>(), ["main"]);
}

#[test]
fn tag_moved_at_the_last_moment_is_lost() {
    let scripted = three();
    scripted.store().put("edge", &young("edge"));
    let first = Image::created("amd64", "b", Some(&days_ago(45))).digest();
    scripted.store().hook(
        &format!("DELETE /v2/acme/app/manifests/{first}"),
        move |store| {
            store.tags.insert("edge".to_owned(), first);
            None
        },
    );
    let document = scripted.prune(1);
    let reason = document["images"][0]["refused"].as_str().unwrap();
    assert!(reason.contains("ARE MISSING NOW: the tag edge"), "{reason}");
}

#[test]
fn moved_remote_refuses_before_the_first_deletion() {
    let scripted = three();
    let origin = scripted.scene.path().join("origin.git");
    // During the test deletion, a user opens a promotion.
    scripted.store().hook("DELETE", move |_| {
        let head = std::fs::read_to_string(origin.join("refs/heads/main")).unwrap();
        std::fs::create_dir_all(origin.join("refs/heads/repin")).unwrap();
        std::fs::write(origin.join("refs/heads/repin/promote-now"), head).unwrap();
        None
    });
    let document = scripted.prune(3);
    assert_eq!(
        (
            &document["images"][0]["code"],
            scripted.store().deleted.len()
        ),
        (&json!("base_moved"), 0),
        "{document}"
    );
    scripted.prune(0);
    assert_eq!(scripted.store().deleted.len(), 2);
}

#[test]
fn deleted_base_refuses_before_the_first_deletion() {
    let scripted = three();
    let origin = scripted.scene.path().join("origin.git");
    scripted.store().hook("DELETE", move |_| {
        std::fs::remove_file(origin.join("refs/heads/main")).unwrap();
        None
    });
    let document = scripted.prune(3);
    let image = &document["images"][0];
    assert_eq!(image["code"], "base_moved", "{document}");
    assert_eq!(scripted.store().deleted, []);
}

#[test]
fn page_after_a_full_one_is_read() {
    // The release that needs `pending-a` is on the last page, which is full, too.
    let scripted = three();
    let index = Image::index(vec![old("a"), young("other")]);
    scripted.store().put("release", &index);
    (scripted.store().page, scripted.store().unlinked) = (2, true);
    let document = scripted.prune(0);
    let image = &document["images"][0];
    assert_eq!(tags(&image["deleted"]), ["pending-b"], "{document}");
    assert!(protection(image, "pending-a").contains("part of the index"));
}

#[test]
fn repeated_list_of_docker_registry_is_complete() {
    let real = Real::new("", &[("main", &pinned()), ("pending-stale", &old("stale"))]);
    let before = real.registry.requests().len();
    let document = real.scene.prune(&["--image", "app"], 0);
    assert_eq!(
        tags(&document["images"][0]["candidates"]),
        ["pending-stale"]
    );
    let lists: Vec<_> = real.registry.requests()[before..]
        .iter()
        .filter(|request| request.contains("/tags/list"))
        .cloned()
        .collect();
    // It does not sort its tags, so any may be the last.
    let (first, more) = ("/v2/acme/app/tags/list?n=1000", "&last=");
    assert_eq!(lists.len(), 2, "{lists:?}");
    assert_eq!(lists[0], format!("GET {first} 200"));
    assert!(
        lists[1].starts_with(&format!("GET {first}{more}")),
        "{lists:?}"
    );
}

type Meddler = Box<dyn FnMut(&str, &Registry) -> Option<Reaction> + Send>;

/// A docker-registry with a proxy that interferes: it changes the content of the registry between
/// two requests, or responds in its place.
struct Meddled {
    real: Real,
    meddler: Arc<Mutex<Option<Meddler>>>,
    proxy: Fake,
}

impl Meddled {
    fn new(all: &[(&str, &Image)]) -> Self {
        let real = Real::new("", all);
        let meddler: Arc<Mutex<Option<Meddler>>> = Arc::default();
        // The proxy's thread never stops: it must not hold the registry's process.
        let registry = Arc::downgrade(&real.registry);
        let behind = Arc::clone(&meddler);
        let proxy = Fake::start(move |request| {
            let registry = registry.upgrade().unwrap();
            let line = format!("{} {}", request.method, request.target);
            let reaction = match behind.lock().unwrap().as_mut() {
                Some(meddle) => meddle(&line, &registry),
                None => None,
            };
            reaction.unwrap_or_else(|| forward(&registry.host, request))
        });
        let app = format!("{}/acme/app", proxy.host());
        real.scene.write("repin.yaml", config(&proxy.host(), ""));
        real.scene.pin(&app, all[0].1.digest());
        real.scene.commit("by the proxy");
        Self {
            real,
            meddler,
            proxy,
        }
    }

    /// Interferes with each request from now on.
    fn meddle(&self, with: impl FnMut(&str, &Registry) -> Option<Reaction> + Send + 'static) {
        *self.meddler.lock().unwrap() = Some(Box::new(with));
    }

    /// Interferes once, before a request with this text in its line.
    fn once(&self, part: &str, does: impl FnOnce(&Registry) + Send + 'static) {
        let (part, mut does) = (part.to_owned(), Some(does));
        self.meddle(move |line, registry| {
            if line.contains(&part)
                && let Some(does) = does.take()
            {
                does(registry);
            }
            None
        });
    }

    fn prune(&self, exit: i32) -> Value {
        self.real.scene.prune(&["--apply", "--image", "app"], exit)
    }
}

/// The registry's response to a request.
fn forward(host: &str, request: &Request) -> Reaction {
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let (method, target) = (&request.method, &request.target);
    let accept = request.header("accept").unwrap_or("*/*");
    write!(
        stream,
        "{method} {target} HTTP/1.0\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n"
    )
    .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes
        .windows(4)
        .position(|part| part == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut reaction = Reaction::new(status.parse().unwrap(), &bytes[end + 4..]);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if ["Content-Type", "Docker-Content-Digest", "Date", "Link"].contains(&name) {
            reaction = reaction.with(name, value);
        }
    }
    reaction
}

/// The real registry with a tag that is moved, a release, and two stale versions.
fn meddled() -> Meddled {
    Meddled::new(&[
        ("main", &pinned()),
        ("latest", &young("latest")),
        ("pending-a", &old("a")),
        (
            "pending-b",
            &Image::created("amd64", "b", Some(&days_ago(45))),
        ),
    ])
}

const PROBE: &str = "DELETE ";

#[test]
fn moved_tag_that_needs_a_candidate_refuses() {
    let meddled = meddled();
    meddled.once(PROBE, |registry| {
        let index = Image::index(vec![old("a"), young("arm")]);
        push(registry, "acme/app", &[("latest", &index)]);
    });
    let document = meddled.prune(3);
    let image = &document["images"][0];
    assert_eq!(
        (&image["code"], &image["deleted"], &document["applied"]),
        (&json!("changed"), &json!([]), &json!(false)),
        "{document}"
    );
    assert!(
        image["refused"]
            .as_str()
            .unwrap()
            .contains("is protected now: part of the index"),
        "{document}"
    );
    assert!(meddled.real.left().contains("pending-a"));
    // A push that does not concern the plan is always permitted.
    let meddled = self::meddled();
    meddled.once(PROBE, |registry| {
        let latest = young("other");
        push(
            registry,
            "acme/app",
            &[("latest", &latest), ("pending-new", &young("new"))],
        );
    });
    let document = meddled.prune(0);
    assert_eq!(
        tags(&document["images"][0]["deleted"]),
        ["pending-a", "pending-b"]
    );
}

#[test]
fn new_pending_index_keeps_its_parts() {
    let meddled = meddled();
    // The index is as old as its parts: a candidate of the next run, and not of this one.
    meddled.once(PROBE, |registry| {
        let index = Image::index(vec![old("a")]);
        push(registry, "acme/app", &[("pending-new", &index)]);
    });
    let document = meddled.prune(3);
    let image = &document["images"][0];
    assert_eq!(
        (&image["code"], &image["deleted"]),
        (&json!("changed"), &json!([])),
        "{document}"
    );
    assert!(
        image["refused"]
            .as_str()
            .unwrap()
            .contains("is protected now: part of the index"),
        "{document}"
    );
}

#[test]
fn protected_version_that_vanishes_refuses() {
    let meddled = meddled();
    let main = pinned().digest();
    meddled.once(PROBE, move |registry| {
        let path = format!("/v2/acme/app/manifests/{main}");
        let request = Request {
            method: "DELETE".to_owned(),
            target: path,
            headers: Vec::new(),
            body: String::new(),
            number: 0,
        };
        forward(&registry.host, &request);
    });
    let document = meddled.prune(3);
    let image = &document["images"][0];
    assert_eq!(
        (&image["code"], &image["deleted"]),
        (&json!("changed"), &json!([]))
    );
    assert!(meddled.real.left().contains("pending-a"), "{document}");
}

#[test]
fn index_pushed_during_deletion_is_a_loss() {
    let meddled = meddled();
    let b = Image::created("amd64", "b", Some(&days_ago(45)));
    let digest = b.digest();
    // After the last check of the version: no guard can prevent this.
    meddled.once(
        &format!("DELETE /v2/acme/app/manifests/{digest}"),
        move |registry| {
            let index = Image::index(vec![b, young("arm")]);
            push(registry, "acme/app", &[("latest", &index)]);
        },
    );
    let document = meddled.prune(1);
    let reason = document["images"][0]["refused"].as_str().unwrap();
    assert!(
        reason.contains("ARE MISSING NOW") && reason.contains(&digest.to_string()),
        "{reason}"
    );
}

#[test]
fn protected_version_with_moved_tag_is_not_missing() {
    let meddled = meddled();
    let b = Image::created("amd64", "b", Some(&days_ago(45))).digest();
    meddled.once(&format!("DELETE /v2/acme/app/manifests/{b}"), |registry| {
        push(registry, "acme/app", &[("main", &young("other"))]);
    });
    let document = meddled.prune(3);
    let reason = document["images"][0]["refused"].as_str().unwrap();
    assert!(
        reason.contains("the tags of the protected version") && reason.contains("were main"),
        "{reason}"
    );
    assert_eq!(
        tags(&document["images"][0]["deleted"]),
        ["pending-a", "pending-b"]
    );
}

#[test]
fn moved_tag_prevents_a_failed_deletion() {
    let meddled = meddled();
    let b = Image::created("amd64", "b", Some(&days_ago(45))).digest();
    let deletion = format!("DELETE /v2/acme/app/manifests/{b}");
    meddled.meddle(move |line, registry| {
        line.starts_with(&deletion).then(|| {
            push(registry, "acme/app", &[("pending-b", &young("other"))]);
            Reaction::new(403, "")
        })
    });
    let document = meddled.prune(4);
    assert_eq!(document["images"][0]["deleted"], json!([]), "{document}");
}

#[test]
fn tag_moved_before_deletion_keeps_its_version() {
    let meddled = meddled();
    let a = old("a").digest();
    let b = Image::created("amd64", "b", Some(&days_ago(45))).digest();
    // The second listing was read, and another version is deleted first.
    meddled.once(&format!("DELETE /v2/acme/app/manifests/{b}"), |registry| {
        push(registry, "acme/app", &[("pending-a", &young("other"))]);
    });
    let document = meddled.prune(3);
    let image = &document["images"][0];
    assert_eq!(tags(&image["deleted"]), ["pending-b"], "{document}");
    let reason = image["refused"].as_str().unwrap();
    assert!(reason.contains("pending-a now resolves to"), "{reason}");
    let of_a = |deletion: &String| deletion.contains(&a.to_string());
    assert!(!meddled.real.deletions().iter().any(of_a));
}

#[test]
fn failed_second_listing_deletes_nothing() {
    // A connection that drops, and a proxy that responds once with an error page.
    for (failure, times) in [
        (Reaction::Reset, usize::MAX),
        (Reaction::new(200, "<html>"), 1),
    ] {
        let meddled = meddled();
        let (mut probed, mut failed) = (false, 0);
        meddled.meddle(move |line, _| {
            probed |= line.starts_with(PROBE);
            let fails = probed && line.contains("/tags/list") && failed < times;
            failed += usize::from(fails);
            fails.then(|| failure.clone())
        });
        let document = meddled.prune(3);
        let image = &document["images"][0];
        assert_eq!(
            (&image["code"], &image["deleted"]),
            (&json!("unavailable"), &json!([])),
            "{document}"
        );
        assert_eq!(meddled.real.deletions().len(), 1, "the probe");
    }
}

#[test]
fn accepted_deletion_without_effect_is_not_reported() {
    let meddled = meddled();
    // A registry that queues deletions, or that has read-only storage.
    meddled.meddle(|line, _| line.starts_with(PROBE).then(|| Reaction::new(202, "")));
    let ran = meddled
        .real
        .scene
        .run(&["prune", "--apply", "--image", "app"])
        .exits(3);
    assert!(!ran.stderr.contains("\ndeleted "), "{}", ran.stderr);
    let document = meddled.prune(3);
    let image = &document["images"][0];
    assert_eq!(
        (&image["code"], &image["deleted"]),
        (&json!("deletion_unverified"), &json!([])),
        "{document}"
    );
    assert_eq!(meddled.real.left().len(), 4);
}

#[test]
fn deletion_404_of_existing_version_is_denied() {
    let meddled = meddled();
    meddled.meddle(|line, _| line.starts_with(PROBE).then(|| Reaction::new(404, "")));
    let document = meddled.prune(4);
    let image = &document["images"][0];
    assert_eq!(
        (&image["code"], &image["deleted"]),
        (&json!("deletion_refused"), &json!([])),
        "{document}"
    );
    let hint = image["hint"].as_str().unwrap();
    assert!(hint.contains("permission to delete"), "{hint}");
    assert_eq!(
        meddled
            .proxy
            .log()
            .iter()
            .filter(|line| line.starts_with(PROBE))
            .count(),
        2
    );
}

#[test]
fn version_deleted_under_another_name_is_skipped() {
    let real = Real::new(
        "",
        &[
            ("main", &pinned()),
            ("pending-a", &old("a")),
            (
                "pending-b",
                &Image::created("amd64", "b", Some(&days_ago(45))),
            ),
        ],
    );
    let host = &real.registry.host;
    let other = format!("{}/acme/app", host.replace("127.0.0.1", "localhost"));
    let images = format!("\nimages:\n  twin: {{ repository: '{other}', pins: 0 }}");
    real.scene
        .write("repin.yaml", config(host, "").replace("\nimages:", &images));
    real.scene.commit("a twin");
    let document = real.scene.prune(&["--apply"], 0);
    let deleted = |at: usize| document["images"][at]["deleted"].as_array().unwrap().len();
    assert_eq!(document["images"][0]["name"], "twin", "{document}");
    assert_eq!((deleted(0), deleted(1)), (2, 0), "{document}");
    assert_eq!(real.left(), set(&["main"]));
}

#[test]
fn dangling_pending_tag_only_warns() {
    let lost = old("lost");
    let all = [
        ("main", &pinned()),
        ("pending-lost", &lost),
        ("pending-stale", &old("stale")),
    ];
    let real = Real::new("", &all);
    real.lose(lost.digest());
    assert!(
        real.left().contains("pending-lost"),
        "it is listed all the same"
    );
    let ran = real.scene.run(&["prune", "--image", "app"]).exits(0);
    assert!(
        ran.stderr
            .contains("warning: app: tag pending-lost is dangling"),
        "{}",
        ran.stderr
    );
    let document = real.scene.prune(&["--apply"], 0);
    let image = &document["images"][0];
    assert_eq!(tags(&image["deleted"]), ["pending-stale"], "{document}");
    assert_eq!(image["warnings"][0]["code"], "tag_dangling", "{document}");
    assert_eq!(image["listed"], 1 + 1, "{document}");
}

#[test]
fn a_deletion_may_take_five_readings_to_show() {
    for (readings, exit) in [(4, 0), (5, 3)] {
        let scripted = three();
        let image = Image::created("amd64", "b", Some(&days_ago(45)));
        let read = format!("GET /v2/acme/app/manifests/{}", image.digest());
        scripted
            .store()
            .hook("DELETE /v2/acme/app/manifests/", |_| None);
        scripted
            .store()
            .hook("DELETE /v2/acme/app/manifests/", move |store| {
                for _ in 0..readings {
                    let manifest = image.manifests()[0].clone();
                    store.hook(&read, move |_| {
                        let answer = Reaction::new(200, manifest.manifest.clone());
                        Some(answer.with("Content-Type", manifest.media_type))
                    });
                }
                None
            });
        let document = scripted.prune(exit);
        let code = if exit == 0 {
            json!(null)
        } else {
            json!("deletion_unverified")
        };
        assert_eq!(document["images"][0]["code"], code, "{document}");
    }
}

#[test]
fn new_tag_that_needs_a_candidate_refuses() {
    let named: fn(&mut Store) = |store| {
        let b = store.tags["pending-b"];
        store.tags.insert("new".to_owned(), b);
    };
    let needed: fn(&mut Store) = |store| {
        let b = Image::created("amd64", "b", Some(&days_ago(45)));
        store.put("new", &Image::index(vec![b, Image::single("arm64", "x")]));
    };
    let within: fn(&mut Store) = |store| {
        let b = Image::created("amd64", "b", Some(&days_ago(45)));
        let inner = Image::index(vec![b, Image::single("arm64", "x")]);
        store.put("new", &Image::index(vec![inner]));
    };
    let moved: fn(&mut Store) = |store| store.put("pending-b", &young("moved"));
    let unrelated: fn(&mut Store) = |store| store.put("new", &young("new"));
    for (does, reason) in [
        (named, Some("new resolves to it too")),
        (within, Some("new is new, and an index that may need it")),
        (moved, Some("pending-b now resolves to")),
        (needed, Some("new is new, and an index that may need it")),
        (unrelated, None),
    ] {
        let scripted = three();
        // Tags are listed once, before the first deletion, and before each deletion.
        for _ in 0..3 {
            scripted.store().hook("/tags/list", |_| None);
        }
        scripted.store().hook("/tags/list", move |store| {
            does(store);
            None
        });
        let document = scripted.prune(if reason.is_some() { 3 } else { 0 });
        let image = &document["images"][0];
        if let Some(reason) = reason {
            assert_eq!(
                (&image["code"], &image["deleted"]),
                (&json!("changed"), &json!([]))
            );
            let refused = image["refused"].as_str().unwrap();
            assert!(refused.contains(reason), "{refused}");
        } else {
            assert_eq!(tags(&image["deleted"]), ["pending-a", "pending-b"]);
            // Before the first deletion, and in the listing after the last.
            let log = scripted.fake.log();
            let requests = log.iter().filter(|line| line.contains("/manifests/new"));
            assert_eq!(requests.count(), 2);
        }
    }
}

#[test]
fn new_tag_is_compared_with_every_later_candidate() {
    let named: fn(&mut Store) = |store| {
        let last = store.tags["pending-a"];
        store.tags.insert("release".to_owned(), last);
    };
    let needed: fn(&mut Store) = |store| {
        let last = old("a");
        store.put(
            "release",
            &Image::index(vec![last, Image::single("arm64", "x")]),
        );
    };
    for does in [named, needed] {
        let scripted = three();
        let (first, last) = (Image::created("amd64", "c", Some(&days_ago(50))), old("a"));
        scripted.store().put("pending-c", &first);
        // During the first deletion, the digest of the last candidate gets another tag.
        scripted.store().hook("DELETE", |_| None);
        scripted.store().hook("DELETE", move |store| {
            does(store);
            None
        });
        let document = scripted.prune(3);
        let image = &document["images"][0];
        assert_eq!(image["code"], "changed", "{document}");
        assert!(
            !scripted.store().deleted.contains(&last.digest()),
            "{document}"
        );
        assert!(scripted.store().tags.contains_key("release"), "{document}");
    }
}

#[test]
fn index_is_as_old_as_youngest_part() {
    let within = |parts: [Image; 2]| Image::index(vec![Image::index(parts.into()), old("c")]);
    let stale = within([old("a"), old("b")]);
    let fresh = within([old("d"), young("e")]);
    let all = [
        ("main", &pinned()),
        ("pending-stale", &stale),
        ("pending-fresh", &fresh),
    ];
    let real = Real::new("", &all);
    let document = real.scene.prune(&["--apply"], 0);
    assert_eq!(
        tags(&document["images"][0]["deleted"]),
        ["pending-stale"],
        "{document}"
    );
    assert_eq!(real.left(), set(&["main", "pending-fresh"]));
}

#[test]
fn outer_index_is_deleted_before_its_parts() {
    let part = Image::created("amd64", "part", Some(&days_ago(60)));
    let outer = Image::index(vec![Image::index(vec![part.clone()]), old("b")]);
    let scripted = Scripted::new(&[
        ("main", &pinned()),
        ("pending-part", &part),
        ("pending-outer", &outer),
    ]);
    scripted.prune(0);
    // The part is older.
    assert_eq!(scripted.store().deleted, [outer.digest(), part.digest()]);
}

#[test]
fn tags_may_be_listed_in_any_order() {
    let scripted = Scripted::new(&[
        ("main", &pinned()),
        ("pending-a", &old("a")),
        ("pending-b", &old("a")),
    ]);
    let reversed = json!({"name": "acme/app", "tags": ["pending-b", "pending-a", "main"]});
    scripted.store().hook("/tags/list", move |_| {
        Some(Reaction::new(200, reversed.to_string()))
    });
    let document = scripted.prune(0);
    let deleted = &document["images"][0]["deleted"];
    assert_eq!(deleted[0]["tags"], json!(["pending-a", "pending-b"]));
    assert_eq!(scripted.store().deleted, [old("a").digest()]);
}

#[test]
fn second_listing_equals_the_first() {
    let dangling: fn(&mut Store) = |store| {
        store.tags.insert("v2".to_owned(), old("lost").digest());
    };
    let within: fn(&mut Store) = |store| {
        let inner = Image::index(vec![old("a"), young("x")]);
        store.put("v2", &Image::index(vec![inner]));
    };
    for (does, reason) in [
        (
            dangling,
            "the registry lists tag v2, but its manifest is now missing",
        ),
        (within, "is protected now: part of the index"),
    ] {
        let scripted = three();
        scripted.store().hook(PROBE, move |store| {
            does(store);
            None
        });
        let document = scripted.prune(3);
        let image = &document["images"][0];
        assert_eq!(
            (&image["code"], &image["deleted"]),
            (&json!("changed"), &json!([])),
            "{document}"
        );
        let refused = image["refused"].as_str().unwrap();
        assert!(refused.contains(reason), "{refused}");
    }
}

#[test]
fn tag_with_a_late_manifest_does_not_dangle() {
    let scripted = three();
    scripted.store().put("pending-lost", &old("lost"));
    let read = "manifests/pending-lost";
    scripted
        .store()
        .hook(read, |_| Some(Reaction::new(404, "")));
    let document = scripted.prune(3);
    let image = &document["images"][0];
    assert_eq!(image["code"], "listing", "{document}");
    assert_eq!(scripted.store().deleted, []);
}

#[test]
fn a_dangling_tag_that_is_kept_refuses() {
    let lost = old("lost");
    for (tag, block) in [
        ("v1", ""),
        ("pending-kept", "protect: [kept]"),
        (REV_A, "tags: ."),
    ] {
        let all = [
            ("main", &pinned()),
            (tag, &lost),
            ("pending-stale", &old("stale")),
        ];
        let real = Real::new(block, &all);
        real.lose(lost.digest());
        let document = refused(&real, 3, "tag_dangling");
        assert!(
            document["images"][0]["refused"]
                .as_str()
                .unwrap()
                .contains(tag),
            "{document}"
        );
    }
    // The tag of a revision that was promoted.
    let tag = format!("pending-{REV_A}");
    let real = Real::new(
        "",
        &[("main", &pinned()), (&tag, &lost), ("pending-a", &old("a"))],
    );
    let text = config(&real.registry.host, "");
    let revision = "\nrevision: { tag: 'pending-{revision}' }\nprune";
    real.scene
        .write("repin.yaml", text.replace("\nprune", revision));
    real.scene.pin(&real.app(), old("a").digest());
    real.scene.commit(&format!("promote: test images @{REV_A}"));
    real.lose(lost.digest());
    refused(&real, 3, "tag_dangling");
}

#[test]
fn placeholder_dates_do_not_hide_equal_dates() {
    let at = days_ago(40);
    let one = |seed: &str| Image::created("amd64", seed, Some(&at));
    let epoch = Image::created("amd64", "epoch", Some("1970-01-01T00:00:00Z"));
    let zero = Image::created("amd64", "zero", Some("0001-01-01T00:00:00Z"));
    let real = Real::new(
        "",
        &[
            ("main", &one("main")),
            ("pending-a", &one("a")),
            ("pending-b", &one("b")),
            ("pending-epoch", &epoch),
            ("zero", &zero),
        ],
    );
    refused(&real, 3, "timestamps");
}

#[test]
fn config_with_a_known_date_is_reused() {
    let at = days_ago(40);
    let one = |seed: &str| Image::created("amd64", seed, Some(&at));
    let real = Real::new(
        "",
        &[
            ("main", &one("main")),
            ("pending-a", &one("a")),
            ("pending-b", &one("b")),
        ],
    );
    let before = real.registry.requests().len();
    refused(&real, 3, "timestamps");
    let requests = real.registry.requests();
    let configs = requests[before..]
        .iter()
        .filter(|line| line.contains("/blobs/"));
    assert_eq!(configs.count(), 3, "{requests:#?}");
}

/// Deletes `going` of `count` versions, and compares the requests with the numbers in
/// docs/decisions/0008-prune.md.
fn measured(count: usize, going: usize) {
    let all: Vec<_> = (1..count)
        .map(|n| {
            let tag = match n % (count / going) {
                1 => format!("pending-{n}"),
                _ => format!("kept-{n}"),
            };
            let days = 20 + n as u64 % 80;
            (
                tag,
                Image::created("amd64", &n.to_string(), Some(&days_ago(days))),
            )
        })
        .collect();
    let pinned = pinned();
    let mut tagged = vec![("main", &pinned)];
    tagged.extend(all.iter().map(|(tag, image)| (tag.as_str(), image)));
    let scripted = Scripted::new(&tagged);
    scripted.store().page = 1_000;
    let document = scripted.prune(0);
    let deleted = document["images"][0]["deleted"].as_array().unwrap().len();
    assert_eq!(deleted, going, "{document}");
    let log = scripted.fake.log();
    let of = |part: &str| log.iter().filter(|line| line.contains(part)).count();
    let (lists, manifests, configs) = (of("/tags/list"), of("GET /v2/acme/app/m"), of("/blobs/"));
    // Three listings, and one for each deletion; each is a request a page and one more.
    let pages = |count: usize| count.div_ceil(1_000) + 1;
    let each: usize = (0..going).map(|gone| pages(count - gone)).sum();
    assert_eq!(lists, 2 * pages(count) + each + pages(count - going));
    // Each tag is resolved three times, and for each deletion its tag and the proof.
    assert_eq!(manifests, 2 * count + (count - going) + 2 * going);
    assert_eq!((configs, of("DELETE")), (going, going + 1));
}

#[test]
fn three_listings_and_five_requests_a_deletion() {
    measured(60, 3);
}

#[test]
#[ignore = "takes minutes; docs/decisions/0008-prune.md has its numbers"]
fn ten_thousand_tags_stay_within_the_budget() {
    measured(10_000, 40);
}

#[test]
fn config_of_an_artifact_has_no_date() {
    // An artifact with any config, which here contains the current date.
    let config =
        br#"{"created": "2999-01-01T00:00:00Z", "os": "linux", "architecture": "x", "rootfs": {}}"#;
    let mut artifact = old("artifact")
        .with(
            "config",
            descriptor("application/vnd.example.config+json", config),
        )
        .with(
            "annotations",
            json!({"org.opencontainers.image.created": days_ago(40)}),
        );
    artifact.config = config.to_vec();
    let real = Real::new("", &[("main", &pinned()), ("pending-artifact", &artifact)]);
    let document = real.scene.prune(&["--apply"], 0);
    assert_eq!(
        tags(&document["images"][0]["deleted"]),
        ["pending-artifact"],
        "{document}"
    );
}

/// Signatures and attestations of a pinned digest are protected in every form, even if the rules
/// match all versions; those of deleted digests are not.
#[test]
fn attestations_of_protected_digests_stay() {
    let (pinned, stale) = (pinned(), old("stale"));
    let attached = |image: &Image, seed: &str| {
        let subject = descriptor(image.media_type, &image.manifest);
        old(seed).with("subject", subject)
    };
    let tag = |image: &Image, ending: &str| format!("sha256-{}{ending}", image.digest().hex());
    let listed = Image::index(vec![attached(&pinned, "listed")]);
    let names = ["", ".sig", ".att", ".sbom"].map(|ending| tag(&pinned, ending));
    let (by_subject, of_stale) = (attached(&pinned, "subject"), old("signature of stale"));
    let stale_name = tag(&stale, ".sig");
    let all = [
        ("main", &pinned),
        (names[0].as_str(), &listed),
        (names[1].as_str(), &old("signature")),
        (names[2].as_str(), &old("attestation")),
        (names[3].as_str(), &old("sbom")),
        ("pending-attached", &by_subject),
        ("pending-stale", &stale),
        (stale_name.as_str(), &of_stale),
    ];
    let real = Real::new("tags: '.*', protect: []", &all);
    real.scene.prune(&["--apply"], 0);
    let kept = [
        &["main", "pending-attached"],
        &names.each_ref().map(String::as_str)[..],
    ]
    .concat();
    assert_eq!(real.left(), set(&kept));
}
