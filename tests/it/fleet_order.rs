//! `repin fleet promote`: the order of builds by the images, if commits and histories do not show it.

use std::fs;

use serde_json::Value;

use crate::support::{
    attach,
    fake::Fake,
    fleet::{Fleet, options},
    forge::Kind,
    hosted::FORGES,
    layout::{Layout, Platform},
    sweep::one_of,
};

const OLD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const CURRENT: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const NEW: &str = "cccccccccccccccccccccccccccccccccccccccc";
const IMAGES: [&str; 2] = ["api", "web"];

/// Builds both images at a revision; returns their digests.
fn build(fleet: &Fleet, revision: &str, created: &str) -> [String; 2] {
    IMAGES.map(|image| {
        let layout = Layout::at(&fleet.path("images").join(image));
        let platform = Platform::new("linux/amd64", revision);
        layout.image(revision, &[platform.created(created)])
    })
}

/// Repositories that pin the current build, in a fleet without `source`, and its digests.
fn without_source(kind: Kind, count: usize) -> (Fleet, [String; 2]) {
    let fleet = Fleet::new(options(kind, count));
    let config = fleet.read("repin.yaml");
    fleet.write("repin.yaml", config.replace("source: acme/app-0000\n", ""));
    build(&fleet, OLD, "2026-03-01T00:00:00Z");
    let current = build(&fleet, CURRENT, "2026-03-02T00:00:00Z");
    build(&fleet, NEW, "2026-03-03T00:00:00Z");
    for number in 0..count {
        let message = format!("promote: images @{CURRENT}");
        fleet.pin(number, &current, &message);
    }
    (fleet, current)
}

/// Runs a promotion; returns the lines of its report and its messages.
fn promote(fleet: &Fleet, revision: &str) -> (Vec<Value>, String) {
    let _ = fs::remove_file(fleet.path("out.jsonl"));
    let args = ["fleet", "promote", "--revision", revision];
    let args = [&args[..], &["--list", "list.txt", "--out", "out.jsonl"]].concat();
    let ran = fleet.run(&args);
    (fleet.lines("out.jsonl"), ran.stderr)
}

/// Asserts that the order of every repository was refused; returns the item and the detail of the first.
fn refused(lines: &[Value]) -> (Option<String>, String) {
    for line in lines {
        assert_eq!(
            (&line["outcome"], &line["exit"]),
            (&"refused".into(), &1.into()),
            "{line:#}"
        );
        assert_eq!(line["checks"].as_array().unwrap().len(), 1, "{line:#}");
        assert_eq!(line["checks"][0]["code"], "revision_order", "{line:#}");
    }
    let check = &lines[0]["checks"][0];
    let detail = check["detail"].as_str().unwrap().to_owned();
    (check["item"].as_str().map(str::to_owned), detail)
}

fn assert_planned(lines: &[Value]) {
    for line in lines {
        assert_eq!(line["outcome"], "planned", "{line:#}");
    }
}

/// Removes an image from its layout.
fn remove(fleet: &Fleet, image: &str, digest: &str) {
    let hex = digest.strip_prefix("sha256:").unwrap();
    let path = format!("images/{image}/blobs/sha256/{hex}");
    fs::remove_file(fleet.path(&path)).unwrap();
}

/// Has the image `api` requested from a registry with the content of the layout.
fn serve_api(fleet: &Fleet) -> Fake {
    let registry = attach::serve(&fleet.path("images/api"), |_| None);
    let api = format!("ghcr.io/acme/api: 'http://{}/acme/api'", registry.host());
    let config = fleet.read("repin.yaml");
    let config = config.replace("sources: {", &format!("sources: {{ {api},"));
    fleet.write("repin.yaml", config);
    registry
}

#[test]
fn creation_times_order_builds_in_fleets() {
    for kind in one_of(FORGES) {
        let (fleet, current) = without_source(kind, 2);
        let (lines, _) = promote(&fleet, NEW);
        assert_planned(&lines);
        let (lines, _) = promote(&fleet, OLD);
        let (item, detail) = refused(&lines);
        assert_eq!(item.as_deref(), Some("created"), "{detail}");
        // A pinned image that cannot be read.
        remove(&fleet, "web", &current[1]);
        let (lines, _) = promote(&fleet, NEW);
        let (item, detail) = refused(&lines);
        assert_eq!(item, None);
        assert!(detail.contains("`source` is not configured"), "{detail}");
    }
}

#[test]
fn verified_set_is_ordered_by_creation_times() {
    let (fleet, current) = without_source(Kind::Github, 2);
    let promote = |revision: &str| {
        let ran = fleet.run(&["set", "--revision", revision, "--out", "set.json"]);
        let sha256 = ran.exits(0).stdout.trim().to_owned();
        let set = ["--set", "set.json", "--set-sha256", &sha256];
        let _ = fs::remove_file(fleet.path("out.jsonl"));
        let args = ["fleet", "promote", "--revision", revision];
        let list = ["--list", "list.txt", "--out", "out.jsonl"];
        fleet.run(&[&args[..], &list, &set].concat());
        fleet.lines("out.jsonl")
    };
    assert_planned(&promote(NEW));
    let (item, _) = refused(&promote(OLD));
    assert_eq!(item.as_deref(), Some("created"));
    let [api, _] = &current;
    remove(&fleet, "api", api);
    refused(&promote(NEW));
}

#[test]
fn creation_time_in_the_future_orders_no_fleet() {
    let (fleet, _) = without_source(Kind::Github, 3);
    let future = "dddddddddddddddddddddddddddddddddddddddd";
    build(&fleet, future, "2096-11-20T00:00:00Z");
    let (lines, stderr) = promote(&fleet, future);
    let (item, _) = refused(&lines);
    assert_eq!(item, None);
    let warnings = stderr.matches("lies in the future (2096-11-20").count();
    assert_eq!(warnings, IMAGES.len(), "{stderr}");
}

#[test]
fn label_orders_an_unrecorded_set_of_a_fleet() {
    for kind in FORGES {
        let fleet = Fleet::new(options(kind, 2));
        let [early, late] = ["1", "2"].map(|content| {
            let mut store = fleet.forge.store(0);
            store.push("main", "build", &[("src/a", content)])
        });
        // The creation times contradict the commits.
        build(&fleet, &early, "2026-03-02T00:00:00Z");
        let digests = build(&fleet, &late, "2026-03-01T00:00:00Z");
        for number in 0..2 {
            fleet.pin(number, &digests, "Pin the images");
        }
        let (lines, _) = promote(&fleet, &early);
        let (item, detail) = refused(&lines);
        assert_eq!(item.as_deref(), Some("source"), "{detail}");
    }
}

#[test]
fn pinned_images_are_requested_once_for_a_fleet() {
    const COUNT: usize = 9;
    let (fleet, [current, _]) = without_source(Kind::Github, COUNT);
    let registry = serve_api(&fleet);
    let requests = || registry.count(&format!("manifests/{current}"));
    let (lines, _) = promote(&fleet, NEW);
    assert_planned(&lines);
    assert_eq!(requests(), 1, "{:#?}", registry.log());
    // The manifest and the config of each build.
    let blobs = registry.count("/blobs/");
    assert_eq!(blobs, 2, "{:#?}", registry.log());
    // A missing image is not requested again either.
    remove(&fleet, "api", &current);
    let (lines, _) = promote(&fleet, NEW);
    assert_eq!(lines.len(), COUNT);
    refused(&lines);
    assert_eq!(requests(), 2, "{:#?}", registry.log());
}

#[test]
fn known_order_requests_no_pinned_image() {
    let fleet = Fleet::new(options(Kind::Github, 3));
    let [old, new] = ["1", "2"].map(|content| {
        let mut store = fleet.forge.store(0);
        store.push("main", "build", &[("src/a", content)])
    });
    let digests = build(&fleet, &old, "2026-03-02T00:00:00Z");
    build(&fleet, &new, "2026-03-01T00:00:00Z");
    for number in 0..3 {
        fleet.pin(number, &digests, &format!("promote: images @{old}"));
    }
    let registry = serve_api(&fleet);
    let (lines, _) = promote(&fleet, &new);
    assert_planned(&lines);
    let pinned = registry.count(&digests[0]);
    assert_eq!(pinned, 0, "{:#?}", registry.log());
}
