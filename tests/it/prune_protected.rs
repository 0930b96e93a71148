//! `prune --protected` and `--tag-protected` on docker-registry: the evidence for other policies.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    images::{Image, descriptor},
    pruned::{Real, old, pinned, push, set},
    scene::days_ago,
};

/// An index that is pinned, its attestation without a tag, a tag in a file, and versions without evidence.
fn shop(block: &str) -> (Real, Image, Image) {
    let parts = vec![
        Image::created("amd64", "parts", Some(&days_ago(50))),
        Image::created("arm64", "parts", Some(&days_ago(51))),
    ];
    let index = Image::index(parts);
    let subject = descriptor(index.media_type, &index.manifest);
    let signature = old("signature").with("subject", subject);
    let fallback = Image::index(vec![signature.clone()]);
    let fallback_tag = format!("sha256-{}", index.digest().hex());
    let real = Real::new(
        block,
        &[
            ("main", &index),
            (&fallback_tag, &fallback),
            ("pending-used", &old("used")),
            ("1.2.3", &pinned()),
            ("latest", &old("latest")),
            ("pending-stale", &old("stale")),
        ],
    );
    real.scene
        .write("values.yaml", "tags: [pending-used, 1.2.3]\n");
    real.scene.commit("deploy");
    (real, index, signature)
}

fn document(real: &Real, name: &str) -> Value {
    serde_json::from_str(&real.scene.read(name)).unwrap()
}

#[test]
fn protected_file_contains_all_evidence() {
    let (real, index, signature) = shop("");
    let args = ["prune", "--protected", "protected.json", "--image", "app"];
    let ran = real.scene.run(&args).exits(0);
    assert!(
        ran.stderr.contains("wrote protected.json"),
        "{}",
        ran.stderr
    );
    let protected = document(&real, "protected.json");
    assert_eq!(protected["schema"], "repin.protected/1");
    let repository = &protected["repositories"][0];
    assert_eq!(repository["repository"], json!(real.app()));
    assert_eq!(repository["images"], json!(["app"]));
    let rows = repository["digests"].as_array().unwrap();
    let row = |image: &Image| {
        let digest = json!(image.digest().to_string());
        let mut rows = rows.iter().filter(move |row| row["digest"] == digest);
        rows.next().cloned()
    };
    for (image, place) in [
        (
            &index,
            "in the work tree (.github/workflows/a.yml:1)".to_owned(),
        ),
        (&old("used"), "in values.yaml:1 in the work tree".to_owned()),
        (&pinned(), "in values.yaml:1 in the work tree".to_owned()),
        (
            &index.children[0],
            format!("in the index {}", index.digest()),
        ),
        (&signature, format!("attached to {}", index.digest())),
    ] {
        let row = row(image).unwrap_or_else(|| panic!("{place}: {protected}"));
        assert_eq!(row["place"], json!(place), "{row}");
        assert!(row["reason"].as_str().unwrap().len() > 10, "{row}");
    }
    for image in [&old("latest"), &old("stale")] {
        assert_eq!(row(image), None, "{protected}");
    }
    let tags: BTreeSet<&str> = repository["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["tag"].as_str().unwrap())
        .collect();
    assert!(tags.is_superset(&["main", "pending-used", "1.2.3"].into()));
    assert!(!tags.contains("latest"));
    assert_eq!(real.deletions(), [] as [&str; 0]);
}

#[test]
fn plain_file_has_one_reference_a_line() {
    let (real, index, _) = shop("");
    let args = [
        "prune",
        "--format",
        "plain",
        "--protected",
        "-",
        "--image",
        "app",
    ];
    let ran = real.scene.run(&args).exits(0);
    let lines: Vec<_> = ran.stdout.lines().collect();
    let app = real.app();
    assert!(lines.contains(&format!("{app}@{}", index.digest()).as_str()));
    assert!(lines.contains(&format!("{app}:main").as_str()));
    let is_reference = |line: &&str| {
        line.starts_with(&format!("{app}@sha256:")) || line.starts_with(&format!("{app}:"))
    };
    assert!(lines.iter().all(is_reference), "{}", ran.stdout);
    for args in [
        &["prune", "--format", "plain"][..],
        &["scan", "--format", "plain"],
        &["prune", "--format", "json", "--protected", "-"],
        &["prune", "--protected", "repin.yaml"],
    ] {
        real.scene.run(args).exits(2);
    }
}

#[test]
fn incomplete_protection_writes_no_file() {
    let (real, ..) = shop("limit: 0");
    let args = ["prune", "--protected", "protected.json", "--image", "app"];
    // More candidates than the limit do not change what is protected.
    real.scene.run(&args).exits(1);
    assert_eq!(
        document(&real, "protected.json")["schema"],
        "repin.protected/1"
    );
    std::fs::remove_file(real.scene.path().join("protected.json")).unwrap();
    let absent = old("absent").digest();
    real.scene.pin(&real.app(), absent);
    real.scene.commit("pin a missing digest");
    let ran = real.scene.run(&args).exits(3);
    assert!(ran.stderr.contains("no file was written"), "{}", ran.stderr);
    assert!(!real.scene.path().join("protected.json").exists());
}

#[test]
fn tags_are_put_on_protected_digests_only() {
    let (real, index, signature) = shop("");
    // Only its tag attaches it to the index.
    let fallback = Image::index(vec![signature]);
    let before = real.left();
    let args = ["--tag-protected", "keep-", "--image", "app"];
    let keep = |image: &Image| format!("keep-{}", image.digest().hex());
    let states = |document: &Value| {
        let rows = document["images"][0]["protected_tags"]
            .as_array()
            .unwrap()
            .clone();
        let state = |row: &Value| {
            let (tag, state) = (row["tag"].as_str().unwrap(), row["state"].as_str().unwrap());
            (tag.to_owned(), state.to_owned())
        };
        rows.iter().map(state).collect::<BTreeSet<_>>()
    };
    let all = |state: &str| {
        let kept = [&index, &old("used"), &pinned(), &fallback];
        let kept = kept.map(|image| (keep(image), state.to_owned()));
        kept.into_iter().collect::<BTreeSet<_>>()
    };
    assert_eq!(states(&real.scene.prune(&args, 0)), all("missing"));
    assert_eq!(real.left(), before, "a dry run sets no tag");
    let applied = [&args[..], &["--apply"]].concat();
    let document = real.scene.prune(&applied, 0);
    assert_eq!(
        (states(&document), &document["applied"]),
        (all("set"), &json!(true))
    );
    let tagged: BTreeSet<String> = all("").into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(real.left(), before.union(&tagged).cloned().collect());
    assert_eq!(
        real.deletions(),
        [] as [&str; 0],
        "this run deletes nothing"
    );
    assert_eq!(states(&real.scene.prune(&applied, 0)), all("present"));

    // The text that protected a version is gone, in the work tree and on every branch.
    real.scene.write("values.yaml", "tags: [1.2.3]\n");
    real.scene.git(&["add", "-A"]);
    real.scene.git(&["commit", "-q", "--amend", "-m", "deploy"]);
    real.scene.git(&["push", "-q", "--force", "origin", "HEAD"]);
    let state = (keep(&old("used")), "stale".to_owned());
    let document = real.scene.prune(&args, 0);
    assert!(states(&document).contains(&state), "{document}");
}

#[test]
fn unusable_prefix_is_refused() {
    let real = Real::new("", &[("main", &pinned())]);
    for prefix in ["", "-x", "pending-", "sha256-", &"x".repeat(70)] {
        let option = format!("--tag-protected={prefix}");
        real.scene.run(&["prune", &option]).exits(2);
    }
    assert_eq!(real.registry.requests(), [] as [&str; 0]);
}

#[test]
fn tag_of_another_version_is_not_moved() {
    let real = Real::new("", &[("main", &pinned())]);
    let tag = format!("keep-{}", pinned().digest().hex());
    push(&real.registry, "acme/app", &[(&tag, &old("other"))]);
    let pushes = || {
        let requests = real.registry.requests().into_iter();
        requests
            .filter(|request| request.starts_with("PUT"))
            .count()
    };
    let before = pushes();
    let args = ["--tag-protected", "keep-", "--image", "app", "--apply"];
    let document = real.scene.prune(&args, 3);
    assert_eq!(document["images"][0]["code"], "changed", "{document}");
    assert_eq!(real.left(), set(&["main", &tag]));
    assert_eq!(pushes(), before);
}
