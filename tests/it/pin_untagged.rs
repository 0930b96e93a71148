//! Pinned digests without a tag, on docker-registry.

use serde_json::{Value, json};

use crate::support::{
    images::Image,
    pruned::{Real, config, pinned, push, set, young},
    refusing::{Kind, Refusing},
    scene::{Scene, days_ago},
};

/// The commands that warn, with the lists of their documents.
const COMMANDS: [(&[&str], &str); 3] = [
    (&["check", "--remote"], "checks"),
    (&["status"], "pins"),
    (&["doctor"], "checks"),
];
const REVISION: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A repository whose pinned digest lost its tag to another image.
fn untagged() -> (Real, Image) {
    let image = Image::created("amd64", REVISION, Some(&days_ago(50)));
    let real = Real::new("", &[("main", &image)]);
    push(&real.registry, "acme/app", &[("main", &young("other"))]);
    (real, image)
}

/// The details of the warnings in a document.
fn warnings(document: &Value, list: &str) -> Vec<String> {
    let rows = document[list].as_array().unwrap().iter();
    let rows = rows.filter(|row| row["code"] == "pin_untagged" && row["status"] == "warn");
    rows.map(|row| row["detail"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn pinned_digest_without_a_tag_warns() {
    let (real, image) = untagged();
    for (args, list) in COMMANDS {
        let run = || real.scene.run(&[args, &["--format", "json"]].concat());
        let found = warnings(&run().json(), list);
        assert_eq!(found.len(), 1, "{args:?}: {}", run().stdout);
        assert!(found[0].contains(&image.digest().to_string()), "{found:?}");
    }
    let document = real
        .scene
        .run(&["status", "--format", "json"])
        .exits(0)
        .json();
    let text = document.to_string();
    let help = format!("set the tag {REVISION} again: repin prune restore --image app --apply");
    assert!(text.contains(&help), "{text}");

    // A tag of an index with it suffices.
    let index = Image::index(vec![image]);
    push(&real.registry, "acme/app", &[("index", &index)]);
    for (args, list) in COMMANDS {
        let document = real
            .scene
            .run(&[args, &["--format", "json"]].concat())
            .json();
        assert_eq!(warnings(&document, list), [] as [&str; 0], "{args:?}");
    }
}

#[test]
fn rule_of_the_registry_is_named() {
    for (host, rule) in [
        (
            "registry.gitlab.com",
            "GitLab.com deletes manifests without a tag after 24 hours",
        ),
        (
            "registry.example.com",
            "cleanup policies and garbage collections delete manifests without a tag",
        ),
    ] {
        let registry = Refusing::start(Kind::GitLab);
        let text = format!(
            "{}sources: {{ {host}: 'http://{}' }}\n",
            config(host, ""),
            registry.fake.host()
        );
        let scene = Scene::new(&text, &format!("{host}/acme/app"), pinned().digest());
        registry.store().push(&[], &pinned());
        let expected = format!(
            "no tag resolves to the pinned digest {host}/acme/app@{}: {rule}",
            pinned().digest()
        );
        for (args, list) in COMMANDS {
            let document = scene.run(&[args, &["--format", "json"]].concat()).json();
            let found = warnings(&document, list);
            assert_eq!(found.len(), 1, "{args:?}: {document}");
            assert!(found[0].ends_with(&expected), "{found:?}");
        }
    }
}

#[test]
fn more_tags_than_are_compared_are_unknown() {
    let registry = Refusing::start(Kind::GitLab);
    let host = registry.fake.host();
    let scene = Scene::new(
        &config(&host, ""),
        &format!("{host}/acme/app"),
        pinned().digest(),
    );
    registry.store().push(&[], &pinned());
    for number in 0..101 {
        let tag = format!("other-{number}");
        registry.store().push(&[&tag], &young("other"));
    }
    let run = |args: &[&str]| scene.run(&[args, &["--format", "json"]].concat()).json();
    for args in [&["check", "--remote"][..], &["doctor"]] {
        let document = run(args);
        let rows = document["checks"].as_array().unwrap();
        let row = rows.iter().find(|row| row["code"] == "pin_untagged");
        let row = row.unwrap_or_else(|| panic!("{document}"));
        assert_eq!(row["status"], "skip", "{row}");
        assert!(row["detail"].as_str().unwrap().contains("101 other tags"));
    }
    let document = run(&["status"]);
    let rows = document["not_read"].as_array().unwrap();
    let is_unknown = |row: &Value| {
        row["what"] == "tags of pinned digests" && row["reason"].to_string().contains("101")
    };
    assert!(rows.iter().any(is_unknown), "{document}");
    let ran = scene.run(&["prune", "restore"]).exits(3);
    assert!(ran.stderr.contains("101 other tags"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("has a tag"), "{}", ran.stderr);
}

#[test]
fn restore_sets_the_tag_again() {
    let (real, image) = untagged();
    let dry = real
        .scene
        .run(&["prune", "restore", "--format", "json"])
        .exits(0)
        .json();
    let row = json!({
        "image": "app", "repository": real.app(), "digest": image.digest().to_string(),
        "tag": REVISION, "set": false,
    });
    assert_eq!(
        dry,
        json!({"schema": "repin.retag/1", "applied": false, "tags": [row], "errors": []})
    );
    assert_eq!(real.left(), set(&["main"]));
    let ran = real
        .scene
        .run(&["prune", "restore", "--image", "app", "--apply"])
        .exits(0);
    assert!(ran.stdout.contains(": set"), "{}", ran.stdout);
    assert_eq!(real.left(), set(&["main", REVISION]));
    let again = real.scene.run(&["prune", "restore", "--apply"]).exits(0);
    assert!(
        again.stderr.contains("every pinned digest has a tag"),
        "{}",
        again.stderr
    );
}

#[test]
fn label_decides_about_the_restored_tag() {
    let outdated = "b".repeat(40);
    for (text, tags) in [
        (outdated.as_str(), &["main"][..]),
        ("latest", &["main", "latest"]),
    ] {
        let (real, image) = untagged();
        for tag in tags {
            push(&real.registry, "acme/app", &[(tag, &young("other"))]);
        }
        real.scene.write(
            ".github/workflows/a.yml",
            format!("image: {}:{text}@{}\n", real.app(), image.digest()),
        );
        real.scene.commit("another tag in the text");
        let command = "repin prune restore --image app --apply";
        let help = format!("set the tag {REVISION} again: {command}");
        for (args, _) in COMMANDS {
            let ran = real.scene.run(&[args, &["--format", "json"]].concat());
            assert!(ran.stdout.contains(&help), "{args:?}: {}", ran.stdout);
        }
        let args: Vec<_> = command.split(' ').skip(1).collect();
        real.scene.run(&args).exits(0);
        assert_eq!(real.left(), set(&[tags, &[REVISION]].concat()), "{text}");
        let again = real.scene.run(&args).exits(0);
        assert!(again.stderr.contains("every pinned digest has a tag"));
    }
}

#[test]
fn recorded_revision_is_selected_without_a_label() {
    let image = Image::created("amd64", "none", Some(&days_ago(50)));
    let real = Real::new("", &[("main", &image)]);
    push(&real.registry, "acme/app", &[("main", &young("other"))]);
    let digest = image.digest();
    let text = format!("image: {}:v1.0@{digest}\n", real.app());
    real.scene.write(".github/workflows/a.yml", text);
    real.scene.adopt(REVISION);
    real.scene.git(&["push", "-q", "--force", "origin", "HEAD"]);
    let command =
        format!("repin prune restore --image app --digest {digest} --tag {REVISION} --apply");
    let help = format!("set the tag {REVISION} again: {command}");
    let ran = real.scene.run(&["status", "--format", "json"]);
    assert!(ran.stdout.contains(&help), "{}", ran.stdout);
    // Without history, the text of the pin is the only evidence.
    let dry = real.scene.run(&["prune", "restore"]).exits(0);
    assert!(dry.stdout.contains(":v1.0 -> "), "{}", dry.stdout);
    let args: Vec<_> = command.split(' ').skip(1).collect();
    real.scene.run(&args).exits(0);
    assert_eq!(real.left(), set(&["main", REVISION]));
}

#[test]
fn dry_run_reports_the_tag_of_another_digest() {
    let (real, image) = untagged();
    push(&real.registry, "acme/app", &[(REVISION, &young("rebuilt"))]);
    for more in [&[][..], &["--apply"]] {
        let args = [&["prune", "restore"], more].concat();
        let ran = real.scene.run(&args).exits(3);
        let refusal = format!(
            "{REVISION} resolves to {} and is not moved",
            young("rebuilt").digest()
        );
        assert!(ran.stderr.contains(&refusal), "{}", ran.stderr);
        let help = format!(
            "repin prune restore --image app --digest {} --tag",
            image.digest()
        );
        assert!(ran.stderr.contains(&help), "{}", ran.stderr);
        assert!(!ran.stderr.contains("would set"), "{}", ran.stderr);
        assert!(!ran.stdout.contains("missing"), "{}", ran.stdout);
        let document = real.scene.run(&[&args[..], &["--format", "json"]].concat());
        let document = document.exits(3).json();
        assert_eq!(document["applied"], false, "{document}");
        assert_eq!(document["errors"][0]["code"], "changed", "{document}");
    }
    assert_eq!(real.left(), set(&["main", REVISION]));
}

#[test]
fn digest_that_does_not_exist_has_no_tag() {
    let (real, image) = untagged();
    let digest = image.digest().to_string();
    real.lose(image.digest());
    for args in [&["prune", "restore"][..], &["prune", "restore", "--apply"]] {
        let ran = real.scene.run(args).exits(1);
        let part = format!("@{digest} does not exist, and no tag resolves to it");
        assert!(ran.stderr.contains(&part), "{}", ran.stderr);
        assert!(!ran.stderr.contains("has a tag"), "{}", ran.stderr);
        let args = [args, &["--format", "json"]].concat();
        let document = real.scene.run(&args).exits(1).json();
        let error = document["errors"][0]["message"].to_string();
        assert!(error.contains(&part), "{document}");
    }
    let status = real.scene.run(&["status"]).exits(0).stdout;
    assert!(
        status.contains("not OK") && status.contains("does not exist"),
        "{status}"
    );
    real.scene.run(&["doctor"]).exits(1);
}

#[test]
fn restore_moves_no_tag() {
    let (real, image) = untagged();
    let digest = image.digest().to_string();
    let args = [
        "prune", "restore", "--image", "app", "--tag", "main", "--apply",
    ];
    let ran = real.scene.run(&args).exits(3);
    assert!(ran.stderr.contains("is not moved"), "{}", ran.stderr);
    let given = [
        "--image",
        "app",
        "--digest",
        digest.as_str(),
        "--tag",
        "v1",
        "--apply",
    ];
    real.scene
        .run(&[&["prune", "restore"], &given[..]].concat())
        .exits(0);
    assert_eq!(real.left(), set(&["main", "v1"]));
    for args in [
        &["--digest", digest.as_str(), "--tag", "v1"][..],
        &["--image", "app", "--tag", "v/1"],
        &["--image", "app", "--digest", "sha256:1", "--tag", "v1"],
        &["--version", "1"],
    ] {
        real.scene
            .run(&[&["prune", "restore"], args].concat())
            .exits(2);
    }
}

#[test]
fn digest_on_docker_hub_is_not_reported_as_tagged() {
    let registry = Refusing::start(Kind::Hub);
    let host = registry.fake.host();
    let text = format!(
        "{}sources: {{ docker.io: 'http://{host}' }}\n",
        config("docker.io", "")
    );
    let scene = Scene::new(&text, "docker.io/acme/app", pinned().digest());
    let ran = scene.run(&["prune", "restore"]).exits(0);
    assert!(ran.stderr.contains("were not checked"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("has a tag"), "{}", ran.stderr);
    registry.store().push(&[], &pinned());
    for (args, list) in COMMANDS {
        let document = scene.run(&[args, &["--format", "json"]].concat()).json();
        assert_eq!(warnings(&document, list), [] as [&str; 0], "{args:?}");
    }
}

#[test]
fn tag_that_exists_needs_no_listing() {
    let image = pinned();
    let real = Real::new("", &[("main", &image)]);
    real.scene.write(
        ".github/workflows/a.yml",
        format!("image: {}:main@{}\n", real.app(), image.digest()),
    );
    real.scene.commit("with a tag");
    let document = real
        .scene
        .run(&["status", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(warnings(&document, "pins"), [] as [&str; 0]);
    let requests = real.registry.requests();
    assert!(
        !requests.iter().any(|request| request.contains("tags/list")),
        "{requests:?}"
    );
}
