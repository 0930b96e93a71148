//! `repin builds` and `promote --revision newest` on image layouts: order, states and selection.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{
    fake::{Fake, Reaction},
    forge::{self, Fault, TOKEN, broken, not_found},
    hosted::{FORGES, PROMOTE, hosted, promote, publish, run},
    layout::{Platform, REVISION_LABEL},
    sweep::one_of,
    terminal::shown_at,
    world::{CONFIG, REV_A, REV_B, REV_C, Ran, World, git, whole, world},
};

const IMAGES: [&str; 3] = ["review", "fix", "base"];
const REV_D: &str = "dddddddddddddddddddddddddddddddddddddddd";
const REV_E: &str = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";
const NEWEST: [&str; 3] = ["promote", "--revision", "newest"];

/// Builds these images with a tag, a revision label and a creation time.
fn build_as(world: &World, images: &[&str], tag: &str, revision: &str, created: &str) {
    for image in images {
        let layout = world.layout(image);
        layout.untag(tag);
        let platform = Platform::new("linux/amd64", revision).created(created);
        layout.image(tag, &whole(image, platform));
    }
}

fn build(world: &World, revision: &str, created: &str) {
    build_as(world, &IMAGES, revision, revision, created);
}

/// Removes the tags of a revision.
fn untag(world: &World, revision: &str) {
    for image in IMAGES {
        world.layout(image).untag(revision);
    }
}

fn listed(world: &World) -> Value {
    let ran = world.run(&["builds", "--format", "json"]).exits(0);
    ran.json()
}

/// The revision, the state and the detail of each build.
fn states(document: &Value) -> Vec<(&str, &str, &str)> {
    let text = |row: &'_ Value, key: &str| row[key].as_str().unwrap().to_owned().leak() as &str;
    let rows = document["builds"].as_array().unwrap().iter();
    rows.map(|row| {
        (
            text(row, "revision"),
            text(row, "state"),
            text(row, "detail"),
        )
    })
    .collect()
}

fn revisions(document: &Value) -> Vec<&str> {
    let rows = document["builds"].as_array().unwrap().iter();
    rows.map(|row| row["revision"].as_str().unwrap()).collect()
}

/// A world in which A was promoted, then B, and B was rolled back; both are rebuilt with times, so
/// that they are pinned with these.
fn rolled_back() -> World {
    let mut world = world();
    for (revision, created) in [
        (REV_A, "2026-11-18T08:55:00Z"),
        (REV_B, "2026-11-19T17:21:00Z"),
    ] {
        for image in IMAGES {
            let platform = Platform::new("linux/amd64", revision).created(created);
            world.rebuild_whole(image, revision, platform);
        }
    }
    world.pin(REV_A);
    let world = world.with_git();
    world.promoted(REV_A);
    world.promoted(REV_B);
    world.roll_back(REV_A);
    world
}

#[test]
fn unknown_holds_are_reported() {
    let ran = world().run(&["builds"]).exits(0);
    let warning = "warning: held builds are unknown: the root is not in a git repository";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    let world = rolled_back();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let known = world.run(&["builds"]).exits(0);
    assert!(known.stdout.contains("held: "), "{}", known.stdout);
    let ran = world.run_with(&["builds"], &[("PATH", path)]).exits(3);
    let expected = "git history: the command `git` was not found";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    // A history that cannot be read is an error.
    let parent = world.git(&["rev-parse", "HEAD~1"]);
    let object = format!(".git/objects/{}/{}", &parent[..2], &parent[2..]);
    fs::remove_file(world.path(&object)).unwrap();
    let ran = world.run(&["builds"]).exits(3);
    assert!(ran.stderr.contains(&parent), "{}", ran.stderr);
}

#[test]
fn each_build_has_the_first_state_that_applies() {
    let world = rolled_back();
    build(&world, REV_C, "2026-11-20T14:02:00Z");
    build_as(
        &world,
        &["review", "base"],
        REV_D,
        REV_D,
        "2026-11-20T09:40:00+00:00",
    );
    build(&world, REV_E, "2026-11-01T00:00:00Z");
    let rollback = world.head()[..10].to_owned();
    let ran = world.run(&["builds"]).exits(0);
    let expected = format!(
        "BUILD         CREATED            IMAGES  STATE\n\
         cccccccccccc  2026-11-20 14:02Z  3 of 3  available\n\
         dddddddddddd  2026-11-20 09:40Z  2 of 3  incomplete: `fix` is missing\n\
         bbbbbbbbbbbb  2026-11-19 17:21Z  3 of 3  held: rolled back by commit {rollback} on 2026-01-02 03:04Z\n\
         aaaaaaaaaaaa  2026-11-18 08:55Z  3 of 3  current\n\
         eeeeeeeeeeee  2026-11-01 00:00Z  3 of 3  older\n"
    );
    assert_eq!((ran.stdout, ran.stderr), (expected, String::new()));
    let document = listed(&world);
    assert_eq!(document["schema"], "repin.builds/1");
    assert_eq!(document["set_path"], "repin.yaml");
    assert_eq!(document["left_out"], 0);
    assert_eq!(document["warnings"], json!([]));
    assert_eq!(
        document["builds"][1],
        json!({
            "revision": REV_D, "created": "2026-11-20T09:40:00Z", "state": "incomplete",
            "detail": "`fix` is missing", "waiting": [],
            "images": IMAGES.iter().enumerate().map(|(at, name)| json!({
                "name": name, "tag": REV_D, "digest": document["builds"][1]["images"][at]["digest"],
                "protected": null, "reason": null, "place": null,
            })).collect::<Vec<_>>(),
        })
    );
    assert_eq!(document["builds"][1]["images"][1]["digest"], Value::Null);
    let digest = &document["builds"][3]["images"][1]["digest"];
    assert_eq!(digest, world.digest("fix", REV_A));
    // A held build that is incomplete too is held.
    world.layout("fix").untag(REV_B);
    assert_eq!(states(&listed(&world))[2].1, "held");
    let ran = world.run(&["builds", "--limit", "2"]).exits(0);
    assert_eq!(ran.stdout.lines().count(), 3, "{}", ran.stdout);
    // A newer set does not end the hold of the older one.
    build(&world, REV_B, "2026-11-19T17:21:00Z");
    let newer = ["promote", "--revision", REV_C, "--apply"];
    world.run(&newer).exits(0);
    world.commit(&format!("promote: test images @{REV_C}"));
    world.push();
    let document = listed(&world);
    let mut states = states(&document).into_iter();
    let older = states.find(|(revision, ..)| *revision == REV_B);
    assert_eq!(older.map(|(_, state, _)| state), Some("held"), "{document}");
}

#[test]
fn protected_builds_show_the_evidence_of_prune() {
    let world = rolled_back();
    let ran = world.run(&["builds", "--protected"]).exits(2);
    assert!(
        ran.stderr.contains("has no `prune` block"),
        "{}",
        ran.stderr
    );
    let block = format!("{CONFIG}prune: {{ tags: '.', protect: ['^d'] }}\n");
    world.write("repin.yaml", block);
    world.write("values.yaml", format!("tag: {REV_E}\n"));
    world.commit("configure prune");
    world.push();
    build(&world, REV_C, "2026-11-20T14:02:00Z");
    build_as(&world, &["review"], REV_D, REV_D, "2026-11-20T09:40:00Z");
    build(&world, REV_E, "2026-11-01T00:00:00Z");
    let args = ["builds", "--protected", "--format", "json"];
    let document = world.run(&args).exits(0).json();
    let evidence = |build: usize, image: usize| {
        let image = &document["builds"][build]["images"][image];
        let text = |key: &str| image[key].as_str().unwrap_or_default().to_owned();
        (image["protected"].clone(), text("reason"), text("place"))
    };
    let none = String::new;
    assert_eq!(evidence(0, 0), (json!(false), none(), none()), "{document}");
    // The image is missing.
    assert_eq!(evidence(1, 1), (Value::Null, none(), none()));
    for (build, image, reason, place) in [
        (
            1,
            0,
            format!("{REV_D} matches prune.protect"),
            "in prune.protect",
        ),
        (
            2,
            0,
            "pinned by a set in promotion history".to_owned(),
            "in promotion history",
        ),
        (
            2,
            2,
            "pinned in promotion history as fix".to_owned(),
            "in promotion history as fix",
        ),
        (
            3,
            0,
            "pinned in the work tree (.github/workflows/".to_owned(),
            "in the work tree (",
        ),
        (
            4,
            0,
            format!("{REV_E} is used in values.yaml:1 in the work tree"),
            "in values.yaml:1 in the work tree",
        ),
    ] {
        let (protected, found, at) = evidence(build, image);
        assert_eq!(protected, true, "{reason}: {document}");
        assert!(found.starts_with(&reason), "{reason}: {found}");
        assert!(at.starts_with(place), "{place}: {at}");
    }
    let ran = world.run(&["builds", "--protected"]).exits(0);
    for line in [
        "3 of 3  available\n                                         not protected\n",
        "`review`, `fix` protected: pinned by a set in promotion history\n",
    ] {
        assert!(ran.stdout.contains(line), "{}", ran.stdout);
    }
    // The same evidence as that of `prune`: it is refused where prune is.
    let shallow = world.head();
    fs::write(world.path(".git/shallow"), format!("{shallow}\n")).unwrap();
    let ran = world.run(&["builds", "--protected"]).exits(3);
    assert!(
        ran.stderr.contains("this clone is shallow"),
        "{}",
        ran.stderr
    );
}

#[test]
fn protection_costs_one_more_list_of_pull_requests() {
    for kind in FORGES {
        let (world, fake) = hosted(kind, "");
        let config = world.read("repin.yaml");
        world.write("repin.yaml", format!("{config}prune: {{ tags: '.' }}\n"));
        let world = world.with_git();
        let requests = |args: &[&str]| {
            fake.forget();
            run(&world, args).exits(0);
            fake.asked().len()
        };
        let without = requests(&["builds"]);
        let with = requests(&["builds", "--protected"]);
        let args = ["builds", "--protected", "--format", "json"];
        let document = run(&world, &args).exits(0).json();
        assert_eq!(document["warnings"], json!([]), "{kind:?}");
        assert!(
            with > without && with <= without + 2,
            "{kind:?}: {without}, {with}"
        );
    }
}

#[test]
fn table_fits_the_terminal() {
    let world = rolled_back();
    for columns in [80, 40] {
        let (text, code) = shown_at(columns, world.command(&["builds"]));
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.lines().all(|line| line.len() <= usize::from(columns)),
            "{text}"
        );
        assert!(text.contains("on 2026-01-02"), "{text}");
    }
}

/// Commits on main, each with a build.
fn commits(world: &World, created: &[&str]) -> Vec<String> {
    let mut commits = Vec::new();
    for created in created {
        let commit = world.commit("source");
        build(world, &commit, created);
        commits.push(commit);
    }
    commits
}

#[test]
fn ancestor_follows_its_descendants() {
    // Every commit has the same date, and the images of the oldest were built last.
    for created in [
        [
            "2026-11-03T00:00:00Z",
            "2026-11-02T00:00:00Z",
            "2026-11-01T00:00:00Z",
        ],
        ["2026-11-01T00:00:00Z"; 3],
        ["1970-01-01T00:00:00Z"; 3],
    ] {
        let world = world().with_git();
        let mut expected = commits(&world, &created);
        expected.reverse();
        for revision in [REV_A, REV_B] {
            untag(&world, revision);
        }
        let document = listed(&world);
        assert_eq!(revisions(&document), expected, "{created:?}");
    }
}

#[test]
fn unrelated_builds_are_sorted_by_time() {
    let world = world().with_git();
    let commits = commits(&world, &["2026-11-01T00:00:00Z", "2026-11-05T00:00:00Z"]);
    build(&world, REV_A, "2026-11-09T00:00:00Z");
    build(&world, REV_B, "2026-11-04T00:00:00Z");
    build(&world, REV_C, "2026-10-01T00:00:00Z");
    let document = listed(&world);
    assert_eq!(
        revisions(&document),
        [REV_A, &commits[1], REV_B, &commits[0], REV_C]
    );
}

#[test]
fn ancestor_of_the_current_set_is_older() {
    let world = world().with_git();
    let commits = commits(
        &world,
        &[
            "2026-11-09T00:00:00Z",
            "2026-11-01T00:00:00Z",
            "2026-11-02T00:00:00Z",
        ],
    );
    world
        .run(&["promote", "--revision", &commits[1], "--apply"])
        .exits(0);
    world.commit(&format!("promote: test images @{}", commits[1]));
    world.push();
    let document = listed(&world);
    let states: Vec<_> = states(&document)
        .into_iter()
        .filter(|row| commits.contains(&row.0.to_owned()))
        .collect();
    assert_eq!(
        states,
        [
            (&*commits[2], "available", ""),
            (&*commits[1], "current", ""),
            (&*commits[0], "older", ""),
        ]
    );
}

#[test]
fn current_set_without_tags_has_the_time_of_its_commit() {
    let world = world().with_git();
    let commits = commits(&world, &["2026-09-01T00:00:00Z", "2026-11-10T00:00:00Z"]);
    world
        .run(&["promote", "--revision", &commits[1], "--apply"])
        .exits(0);
    world.commit(&format!("promote: test images @{}", commits[1]));
    for image in IMAGES {
        for revision in [REV_A, &commits[1]] {
            world.layout(image).untag(revision);
        }
    }
    build(&world, REV_B, "2026-06-01T00:00:00Z");
    // The ancestor follows the current set.
    assert_eq!(revisions(&listed(&world)), [REV_B, &commits[0]]);
}

/// Keys of a configuration that are added to that of the world.
fn configure(world: &World, keys: &str) {
    world.write("repin.yaml", CONFIG.to_owned() + keys);
}

#[test]
fn versions_are_sorted_by_precedence() {
    let world = World::empty();
    configure(
        &world,
        "revision: { pattern: semver, tag: 'v{revision}', label: version }\n",
    );
    let versions = ["1.9.0", "1.10.0", "1.10.0-rc.1", "2.0.0-alpha"];
    for (version, day) in versions.iter().zip(1..) {
        let created = format!("2026-11-0{day}T00:00:00Z");
        build_as(&world, &IMAGES, &format!("v{version}"), version, &created);
    }
    build_as(&world, &IMAGES, "latest", "", "2026-12-01T00:00:00Z");
    world.write(".github/workflows/a.yml", "on: push\n");
    let document = listed(&world);
    assert_eq!(
        revisions(&document),
        ["2.0.0-alpha", "1.10.0", "1.10.0-rc.1", "1.9.0"]
    );
    assert_eq!(document["builds"][0]["images"][0]["tag"], "v2.0.0-alpha");
}

#[test]
fn abbreviation_is_completed_by_the_label() {
    let world = World::empty();
    configure(&world, "revision: { tag: 'main-{revision:7}-*' }\n");
    world.write(".github/workflows/a.yml", "on: push\n");
    let tag = |revision: &str, build: u32| format!("main-{}-{build}", &revision[..7]);
    build_as(
        &world,
        &IMAGES,
        &tag(REV_A, 1),
        REV_A,
        "2026-11-04T00:00:00Z",
    );
    // Two builds of one commit, images of different commits, and an image without a label.
    build_as(
        &world,
        &IMAGES,
        &tag(REV_B, 1),
        REV_B,
        "2026-11-03T00:00:00Z",
    );
    build_as(
        &world,
        &["fix"],
        &tag(REV_B, 2),
        REV_B,
        "2026-11-03T00:00:00Z",
    );
    build_as(
        &world,
        &["review", "fix"],
        &tag(REV_C, 1),
        REV_C,
        "2026-11-02T00:00:00Z",
    );
    let other = format!("{}{}", &REV_C[..7], &REV_D[..33]);
    build_as(
        &world,
        &["base"],
        &tag(REV_C, 1),
        &other,
        "2026-11-02T00:00:00Z",
    );
    build_as(
        &world,
        &IMAGES,
        &tag(REV_D, 1),
        REV_E,
        "2026-11-01T00:00:00Z",
    );
    let document = listed(&world);
    let labels = format!("the label {REVISION_LABEL} does not contain one revision for all images");
    assert_eq!(
        states(&document),
        [
            (REV_A, "available", ""),
            (REV_B, "incomplete", "2 tags of `fix` have this revision"),
            (&REV_C[..7], "incomplete", &*labels),
            (&REV_D[..7], "incomplete", &*labels),
        ]
    );
    let tags: Vec<_> = document["builds"][1]["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["tag"].as_str().unwrap())
        .collect();
    assert_eq!(tags, [&*tag(REV_B, 1), "main-bbbbbbb-*", &tag(REV_B, 1)]);
}

/// A world with one image and a layout that has these tags for one manifest.
fn many(count: usize) -> (World, Vec<String>) {
    let world = World::empty();
    let layout = world.layout("app");
    let written = layout.manifest(&Platform::new("linux/amd64", REV_A));
    let tags: Vec<String> = (1..=count).map(|number| format!("{number:040}")).collect();
    let entry = |tag: &String| {
        let mut entry = written.descriptor();
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        entry
    };
    let entries: Vec<Value> = tags.iter().map(entry).collect();
    let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    fs::write(world.path("images/app/index.json"), index).unwrap();
    world.write(
        "repin.yaml",
        "version: 1\nname: test images\nfiles: ['*.yml']\nsources: { ghcr.io/acme: oci:images }\n\
         images: { app: { repository: ghcr.io/acme/app, pins: 1 } }\n",
    );
    (world, tags)
}

#[test]
fn at_most_500_revisions_are_read() {
    let (world, tags) = many(600);
    let other = world
        .layout("app")
        .image(REV_B, &[Platform::new("linux/amd64", REV_B)]);
    world.write("a.yml", format!("image: ghcr.io/acme/app@{other}\n"));
    let document = listed(&world);
    assert_eq!(document["left_out"], 101);
    let mut found = revisions(&document);
    found.sort_unstable();
    // The last by name.
    let mut expected: Vec<&str> = tags[101..]
        .iter()
        .map(String::as_str)
        .chain([REV_B])
        .collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let ran = world.run(&["builds", "--limit", "3"]).exits(0);
    let last = ran.stdout.lines().last().unwrap();
    assert_eq!(
        last,
        "101 revisions were not read; listed are the last by name"
    );
    assert_eq!(ran.stdout.lines().count(), 5);
    let newest = || world.run(&[&NEWEST[..], &["--allow-older"]].concat());
    let warned = newest();
    let omitted = "warning: 101 builds were not read";
    assert!(warned.stderr.contains(omitted), "{}", warned.stderr);
    // None of the versions that are not read is the newest.
    let index = world.read("images/app/index.json");
    let versions = (0..600).map(|patch| format!("1.0.{patch}"));
    let index = tags
        .iter()
        .zip(versions)
        .fold(index, |index, (tag, version)| index.replace(tag, &version));
    world.write("images/app/index.json", index);
    let config = world.read("repin.yaml") + "revision: { pattern: semver }\n";
    world.write("repin.yaml", config);
    let ran = newest();
    assert!(ran.stderr.contains("is 1.0.599\n"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("were not read"), "{}", ran.stderr);
}

#[test]
fn newest_is_the_first_available_build() {
    let world = rolled_back();
    build_as(
        &world,
        &["review", "base"],
        REV_D,
        REV_D,
        "2026-11-21T00:00:00Z",
    );
    let before = world.snapshot();
    let nothing = world
        .run(&[&NEWEST[..], &["--apply", "--format", "json"]].concat())
        .exits(0);
    let document = nothing.json();
    assert_eq!(document["schema"], "repin.plan/1");
    assert_eq!(
        (&document["revision"], &document["changed"]),
        (&json!(REV_A), &json!(false))
    );
    assert_eq!(
        (&document["approved"], &document["applied"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(
        document["images"][0]["from"],
        json!([world.digest("review", REV_A)])
    );
    assert_eq!(document["images"][0]["to"], world.digest("review", REV_A));
    let ran = world.run(&NEWEST).exits(0);
    assert_eq!(ran.stdout, "");
    let skipped = format!(
        "warning: not selected, because a rollback undid it: {REV_B}\n\
         warning: not selected, because it is incomplete: {REV_D} (`fix` is missing)\n"
    );
    assert_eq!(
        ran.stderr,
        format!("{skipped}nothing newer than the current set\n")
    );
    let quiet = world.run(&[&NEWEST[..], &["-q"]].concat()).exits(0);
    assert_eq!(quiet.stderr, skipped);
    build(&world, REV_C, "2026-11-20T14:02:00Z");
    build(&world, REV_E, "2026-11-20T14:01:00Z");
    let ran = world.run(&NEWEST).exits(0);
    assert!(
        ran.stdout
            .starts_with(&format!("promote: test images @{REV_C}\n")),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr
            .contains(&format!("the newest build is {REV_C}\n")),
        "{}",
        ran.stderr
    );
    assert_eq!(world.snapshot().len(), before.len());
    let named = world
        .run(&["promote", "--revision", REV_C, "--format", "json"])
        .exits(0)
        .json();
    let newest = world
        .run(&[&NEWEST[..], &["--format", "json"]].concat())
        .exits(0)
        .json();
    assert_eq!(named, newest);
    world.run(&[&NEWEST[..], &["--apply"]].concat()).exits(0);
    assert!(
        world
            .read(".github/workflows/a.yml")
            .contains(world_digest(&world, "review", REV_C).as_str())
    );
}

#[test]
fn added_image_releases_no_build() {
    let mut world = rolled_back();
    // An image of a world with one platform has the bytes of the others.
    for (revision, created) in [
        (REV_A, "2026-11-18T08:55:00Z"),
        (REV_B, "2026-11-19T17:21:00Z"),
    ] {
        let platform = Platform::new("linux/amd64", revision).created(created);
        let platform = platform.label("dev.acme.part", "base");
        world.rebuild("base", revision, &[platform]);
    }
    let skips = || {
        let ran = world.run(&NEWEST).exits(0);
        let skipped = format!("not selected, because a rollback undid it: {REV_B}\n");
        assert!(ran.stderr.contains(&skipped), "{}", ran.stderr);
    };
    skips();
    world.replace("repin.yaml", "acme/base, pins: 0", "acme/base, pins: 1");
    let pin = format!("image: ghcr.io/acme/base@{}\n", world.digest("base", REV_A));
    world.write(".github/workflows/base.yml", pin);
    world.commit("add an image");
    world.push();
    skips();
    let document = listed(&world);
    assert_eq!(document["builds"][0]["state"], "held", "{document}");
}

#[test]
fn applied_newest_build_is_committed() {
    let world = rolled_back();
    world.git(&["config", "user.name", "Operator"]);
    world.git(&["config", "user.email", "operator@example.com"]);
    build(&world, REV_C, "2026-11-20T14:02:00Z");
    let newest = |options: &[&str]| world.run(&[&NEWEST[..], options].concat()).exits(0);
    newest(&["--apply"]);
    let ran = newest(&["--apply"]);
    assert!(ran.stderr.contains("nothing newer"), "{}", ran.stderr);
    let commit = ["--apply", "--commit", "--push"];
    newest(&commit);
    assert_eq!(world.git(&["status", "--short"]), "");
    let title = world.git(&["--git-dir=origin.git", "log", "-1", "--format=%s", "main"]);
    assert_eq!(title, format!("promote: test images @{REV_C}"));
    let ran = newest(&commit);
    assert!(ran.stderr.contains("nothing newer"), "{}", ran.stderr);
}

fn world_digest(world: &World, image: &str, revision: &str) -> String {
    let resolved = world
        .run(&["resolve", "--revision", revision, "--format", "json"])
        .exits(0)
        .json();
    let images = resolved["images"].as_array().unwrap();
    let found = images.iter().find(|row| row["name"] == image).unwrap();
    found["digest"].as_str().unwrap().to_owned()
}

#[test]
fn newest_skips_no_check() {
    let world = rolled_back();
    for image in IMAGES {
        let platform = Platform::new("linux/amd64", REV_D).created("2026-11-22T00:00:00Z");
        world.layout(image).image(REV_C, &whole(image, platform));
    }
    let ran = world
        .run(&[&NEWEST[..], &["--apply", "--format", "json"]].concat())
        .exits(1);
    let document = ran.json();
    assert_eq!(document["revision"], REV_C);
    let failed = document["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["status"] == "fail");
    assert!(
        failed.clone().count() > 0
            && failed
                .clone()
                .all(|check| check["code"] == "revision_label"),
        "{document}"
    );
    world
        .run(&[&NEWEST[..], &["--digest", "typo"]].concat())
        .exits(2);
}

/// Damages the manifest of an image's build.
fn damage(world: &World, image: &str, revision: &str) {
    let index = world.read(&format!("images/{image}/index.json"));
    let index: Value = serde_json::from_str(&index).unwrap();
    let mut entries = index["manifests"].as_array().unwrap().iter();
    let is_tagged =
        |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == revision;
    let digest = entries.find(is_tagged).unwrap()["digest"].as_str().unwrap();
    let path = world.layout(image).blob_path(digest);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("schemaVersion\":2", "schemaVersion\":3")).unwrap();
}

#[test]
fn unreadable_build_is_listed_and_reported() {
    let world = rolled_back();
    build(&world, REV_C, "2026-11-20T14:02:00Z");
    build(&world, REV_E, "2026-11-20T14:01:00Z");
    damage(&world, "fix", REV_C);
    let ran = world.run(&["builds", "--format", "json"]).exits(3);
    let document = ran.json();
    assert_eq!(
        states(&document)[0],
        (REV_C, "incomplete", "`fix` cannot be read")
    );
    assert_eq!(document["builds"].as_array().unwrap().len(), 4);
    assert!(ran.stderr.contains(REV_C), "{}", ran.stderr);
    // The unreadable build may be the newest.
    let ran = world.run(&NEWEST).exits(3);
    assert!(ran.stderr.contains("repin builds"), "{}", ran.stderr);
    // All images of the build are unreadable, so even its time is unknown.
    damage(&world, "review", REV_C);
    damage(&world, "base", REV_C);
    world.run(&NEWEST).exits(3);
}

#[test]
fn several_builds_that_are_all_unreadable_are_an_outage() {
    let world = world();
    damage(&world, "fix", REV_A);
    damage(&world, "fix", REV_B);
    let ran = world.run(&["builds"]).exits(3);
    assert_eq!(ran.stdout, "", "{}", ran.stderr);
    untag(&world, REV_A);
    let ran = world.run(&["builds"]).exits(3);
    assert!(ran.stdout.contains("incomplete"), "{}", ran.stdout);
}

#[test]
fn unreadable_held_build_stops_no_promotion() {
    let world = rolled_back();
    build(&world, REV_C, "2026-11-19T00:00:00Z");
    damage(&world, "fix", REV_B);
    let ran = world.run(&[&NEWEST[..], &["--format", "json"]].concat());
    assert_eq!(ran.exits(0).json()["revision"], REV_C);
    // Nor does an older one: its other images have a time.
    build(&world, REV_E, "2026-11-01T00:00:00Z");
    damage(&world, "fix", REV_E);
    let ran = world.run(&[&NEWEST[..], &["--format", "json"]].concat());
    assert_eq!(ran.exits(0).json()["revision"], REV_C);
}

#[test]
fn unreadable_build_that_is_older_is_ignored() {
    let world = world().with_git();
    let commits = commits(
        &world,
        &[
            "2026-11-01T00:00:00Z",
            "2026-11-02T00:00:00Z",
            "2026-11-03T00:00:00Z",
        ],
    );
    for revision in [REV_A, REV_B] {
        untag(&world, revision);
    }
    world
        .run(&["promote", "--revision", &commits[1], "--apply"])
        .exits(0);
    world.commit(&format!("promote: test images @{}", commits[1]));
    world.push();
    // A build on another line of commits is read, because its time decides its position.
    world.git(&["switch", "-q", "-c", "side", &commits[0]]);
    let side = world.commit("side");
    build(&world, &side, "2026-11-01T12:00:00Z");
    world.git(&["switch", "-q", "main"]);
    for image in IMAGES {
        damage(&world, image, &commits[0]);
        damage(&world, image, &side);
    }
    let document = world
        .run(&[&NEWEST[..], &["--format", "json"]].concat())
        .exits(0)
        .json();
    assert_eq!(document["revision"], commits[2]);
    damage(&world, "fix", &commits[2]);
    world.run(&NEWEST).exits(3);
}

#[test]
fn missing_layout_is_an_error() {
    let world = world();
    for image in ["fix", "base"] {
        fs::remove_dir_all(world.path("images").join(image)).unwrap();
    }
    for args in [&["builds"][..], &NEWEST] {
        let ran = world.run(args).exits(3);
        assert!(
            ran.stderr.contains("images/fix") && ran.stderr.contains("images/base"),
            "{}",
            ran.stderr
        );
        assert_eq!(ran.stdout, "");
    }
    world.write("repin.yaml", CONFIG.replace("pins: 2", "pins: two"));
    world.run(&["builds"]).exits(2);
    world.run(&["builds", "--limit", "0"]).exits(2);
}

#[test]
fn repository_without_builds_has_no_table() {
    let world = world();
    configure(&world, "revision: { tag: 'sha-{revision}' }\n");
    let ran = world.run(&["builds"]).exits(0);
    assert_eq!(ran.stdout, "");
    assert_eq!(
        ran.stderr,
        "no tag has the form of `revision.tag`: sha-{revision}\n"
    );
    assert_eq!(listed(&world)["builds"], json!([]));
    let ran = world.run(&NEWEST).exits(0);
    let warning = "warning: no tag has the form of `revision.tag`: sha-{revision}";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
}

/// The builds of a run with the token of the forge.
fn with_token(world: &World) -> Value {
    run(world, &["builds", "--format", "json"]).exits(0).json()
}

#[test]
fn proposed_build_has_its_pull_request_number() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind, "");
        run(&world, &PROMOTE).exits(0);
        let number = fake.store().pulls[0].number;
        fake.forget();
        let document = with_token(&world);
        let proposed = states(&document);
        assert!(
            proposed.contains(&(REV_B, "proposed", &*kind.spelled(&format!("#{number}")))),
            "{document}"
        );
        assert_eq!(fake.writes(), [] as [String; 0]);
        let ran = run(&world, &["builds"]).exits(0);
        assert!(
            ran.stdout
                .contains(&kind.spelled(&format!("proposed in #{number}\n"))),
            "{}",
            ran.stdout
        );
        // Without a token, proposals are unknown.
        let document = listed(&world);
        assert!(
            states(&document).contains(&(REV_B, "available", "")),
            "{document}"
        );
        // A token that may not list them is like none, and is reported.
        let denied = world
            .run_with(&["builds"], &[("REPIN_FORGE_TOKEN", "ghp_other")])
            .exits(0);
        let warning = kind.spelled("warning: open pull requests of the set are unknown");
        assert!(denied.stderr.contains(&warning), "{}", denied.stderr);
        // The pull request of a rollback proposes no build.
        {
            let mut store = fake.store();
            let pull = &mut store.pulls[0];
            pull.head = pull.head.replace("promote", "rollback");
            pull.body = pull.body.replace("kind=promote ", "kind=rollback ");
        }
        let document = with_token(&world);
        assert!(
            states(&document).contains(&(REV_B, "available", "")),
            "{document}"
        );
    }
    assert!(!TOKEN.is_empty());
}

#[test]
fn hidden_pull_requests_are_unknown_and_an_outage_is_an_error() {
    let (world, fake) = hosted(FORGES[0], "");
    let env = [("REPIN_FORGE_TOKEN", TOKEN), ("REPIN_DEADLINE", "1s")];
    // GitHub hides a private repository from a token that may not read it.
    for (reply, exit) in [(not_found(), 0), (broken(), 3)] {
        fake.fault(("GET", "/pulls"), 99, Fault::Instead(reply));
        let ran = world.run_with(&["builds"], &env).exits(exit);
        let warning = "pull requests of the set are unknown";
        assert_eq!(ran.stderr.contains(warning), exit == 0, "{}", ran.stderr);
        fake.clear_faults();
    }
}

#[test]
fn newest_opens_the_pull_request_of_its_revision() {
    for kind in one_of(FORGES) {
        let (mut world, fake) = hosted(kind, "");
        for image in IMAGES {
            let platform = Platform::new("linux/amd64", REV_B).created("2026-11-02T00:00:00Z");
            world.rebuild_whole(image, REV_B, platform);
        }
        let newest = [
            "promote",
            "--revision",
            "newest",
            "--pr",
            "ready",
            "--format",
            "json",
        ];
        let opened = run(&world, &newest).exits(0).json();
        assert_eq!(opened["revision"], REV_B);
        let named = run(&world, &promote(REV_B)).exits(0).json();
        for key in ["branch", "title", "body", "diff", "files"] {
            assert_eq!(opened[key], named[key], "{key}");
        }
        assert_eq!(fake.store().pulls.len(), 1);
        // The base branch counts, not the work tree.
        world.pin(REV_B);
        publish(&world, &fake, "B is current");
        world.pin(REV_A);
        let document = run(&world, &newest).exits(0).json();
        assert_eq!(document["changed"], false, "{document}");
        let ran = run(&world, &newest[..5]).exits(0);
        assert!(
            ran.stderr.ends_with("nothing newer than the current set\n"),
            "{}",
            ran.stderr
        );
    }
}

/// Rebuilds B, and C a day later.
fn rebuild_later(world: &mut World) {
    for (revision, created) in [
        (REV_B, "2026-11-02T00:00:00Z"),
        (REV_C, "2026-11-03T00:00:00Z"),
    ] {
        for image in IMAGES {
            let platform = Platform::new("linux/amd64", revision).created(created);
            world.rebuild_whole(image, revision, platform);
        }
    }
}

#[test]
fn newest_is_not_older_than_an_open_proposal() {
    let (mut world, fake) = hosted(FORGES[0], "");
    rebuild_later(&mut world);
    run(&world, &promote(REV_C)).exits(0);
    let newest = [&NEWEST[..], &["--pr", "ready", "--format", "json"]].concat();
    // The next run selects the proposed build.
    let document = run(&world, &newest).exits(0).json();
    assert_eq!(document["revision"], REV_C);
    // It lost an image, and B is older.
    world.layout("fix").untag(REV_C);
    let document = run(&world, &newest).exits(0).json();
    assert_eq!(
        (&document["changed"], &document["pull_request"]),
        (&json!(false), &Value::Null),
        "{document}"
    );
    assert_eq!(fake.store().pulls.len(), 1);
    // Without the proposal, B is selected.
    fake.store().pulls.clear();
    let document = run(&world, &newest).exits(0).json();
    assert_eq!(document["revision"], REV_B);
}

/// B is proposed, and C is later.
fn with_later_build_than_proposal() -> (World, forge::Fake) {
    let (mut world, fake) = hosted(FORGES[0], "");
    rebuild_later(&mut world);
    run(&world, &promote(REV_B)).exits(0);
    (world, fake)
}

#[test]
fn newest_may_be_later_than_an_open_proposal() {
    let (world, _fake) = with_later_build_than_proposal();
    // A proposed build remains proposed if a later one is pinned.
    world.pin(REV_C);
    let document = with_token(&world);
    let states = states(&document);
    let proposed = states.iter().find(|(revision, ..)| *revision == REV_B);
    assert_eq!(proposed.unwrap().1, "proposed", "{document}");
    world.pin(REV_A);
    let newest = [&NEWEST[..], &["--pr", "ready", "--format", "json"]].concat();
    let document = run(&world, &newest).exits(0).json();
    assert_eq!(document["revision"], REV_C);
}

#[test]
fn proposal_may_be_older_than_the_current_set() {
    let (mut world, _fake) = with_later_build_than_proposal();
    world.pin(REV_C);
    // An image without pins determines the position in the list, but not the age.
    let platform = Platform::new("linux/amd64", REV_B).created("2026-11-04T00:00:00Z");
    world.rebuild("base", REV_B, &[platform]);
    assert_eq!(revisions(&with_token(&world))[0], REV_B);
    let ran = run(&world, &NEWEST).exits(0);
    let nothing = "nothing newer than the current set\n";
    assert!(ran.stderr.ends_with(nothing), "{}", ran.stderr);
}

#[test]
fn build_must_be_later_than_an_open_proposal() {
    let (world, _fake) = hosted(FORGES[0], "");
    for revision in [REV_B, REV_C] {
        build(&world, revision, "2026-11-02T00:00:00Z");
    }
    run(&world, &promote(REV_B)).exits(0);
    let ran = run(&world, &NEWEST).exits(1);
    assert!(ran.stderr.contains("pull request #1"), "{}", ran.stderr);
}

#[test]
fn proposal_without_tags_has_no_time() {
    let (world, fake) = hosted(FORGES[0], "");
    run(&world, &PROMOTE).exits(0);
    let world = world.with_git();
    // The images of the newer commit are older.
    let commits = commits(&world, &["2026-11-10T00:00:00Z", "2026-11-05T00:00:00Z"]);
    world
        .run(&["promote", "--revision", &commits[0], "--apply"])
        .exits(0);
    world.commit(&format!("promote: test images @{}", commits[0]));
    world.push();
    fake.store().name_head("main", &world.head(), world.root());
    untag(&world, REV_B);
    let ran = run(&world, &NEWEST).exits(1);
    assert!(ran.stderr.contains("pull request #1"), "{}", ran.stderr);
}

#[test]
fn proposal_under_a_former_path_counts() {
    let (mut world, fake) = hosted(FORGES[0], "");
    rebuild_later(&mut world);
    let world = world.with_git();
    world.promoted(REV_A);
    publish(&world, &fake, "as it is");
    fake.store().name_head("main", &world.head(), world.root());
    run(&world, &promote(REV_C)).exits(0);
    world.layout("fix").untag(REV_C);
    world.git(&["mv", "repin.yaml", "repin.live.yaml"]);
    world.commit("chore: rename the set");
    world.push();
    fake.store().name_head("main", &world.head(), world.root());
    let config = ["--config", "repin.live.yaml", "--format", "json"];
    let newest = || {
        let document = run(&world, &[&NEWEST[..], &config].concat())
            .exits(0)
            .json();
        document["revision"].clone()
    };
    assert_eq!(newest(), REV_A);
    fake.store().pulls.clear();
    assert_eq!(newest(), REV_B);
}

#[test]
fn missing_token_skips_newest() {
    let (world, _fake) = hosted(FORGES[0], "");
    let args = [
        &NEWEST[..],
        &[
            "--pr",
            "ready",
            "--if-unconfigured",
            "skip",
            "--format",
            "json",
        ],
    ]
    .concat();
    let document = world.run(&args).exits(0).json();
    assert_eq!(document["checks"][0]["code"], "unconfigured", "{document}");
    assert_eq!(document["revision"], "");
}

#[test]
fn summary_reports_that_nothing_is_newer() {
    let world = rolled_back();
    let (output, summary) = (world.path("output"), world.path("summary"));
    let env = [
        ("GITHUB_OUTPUT", output.to_str().unwrap()),
        ("GITHUB_STEP_SUMMARY", summary.to_str().unwrap()),
    ];
    let ran: Ran = world.run_with(&[&NEWEST[..], &["--format", "github"]].concat(), &env);
    let ran = ran.exits(0);
    assert!(
        ran.stderr.contains("nothing newer than the current set"),
        "{}",
        ran.stderr
    );
    let outputs = fs::read_to_string(output).unwrap();
    assert!(
        outputs.contains("false") && outputs.contains(REV_A),
        "{outputs}"
    );
    assert_eq!(
        fs::read_to_string(summary).unwrap().trim(),
        "nothing newer than the current set"
    );
}

/// A world with another repository as its source, which has these commits in order; the images of
/// each have the same time, and those of `pinned` are pinned. No commit records their revision.
fn built_elsewhere(pinned: usize) -> (World, [&'static str; 3]) {
    let mut world = World::empty();
    let app = world.path("app");
    fs::create_dir_all(&app).unwrap();
    git(&app, &["init", "-q", "-b", "main"]);
    let commits = ["one", "two", "three"].map(|name| commit_in(&app, name));
    for commit in commits {
        for image in IMAGES {
            let platform = Platform::new("linux/amd64", commit).created(PLACEHOLDER);
            world.rebuild_whole(image, commit, platform);
        }
    }
    world.write("repin.yaml", format!("{CONFIG}source: ./app\n"));
    world.write(".gitignore", "/app\n/images\n");
    world.pin(commits[pinned]);
    (world.with_git(), commits)
}

fn commit_in(repository: &Path, name: &str) -> &'static str {
    git(repository, &["commit", "-q", "--allow-empty", "-m", name]);
    git(repository, &["rev-parse", "HEAD"]).leak()
}

/// The creation time in images of reproducible builds.
const PLACEHOLDER: &str = "1970-01-01T00:00:00Z";

#[test]
fn source_orders_the_list() {
    let (world, commits) = built_elsewhere(1);
    let [one, two, three] = commits;
    let document = listed(&world);
    let expected = [
        (three, "available", ""),
        (two, "current", ""),
        (one, "older", ""),
    ];
    assert_eq!(states(&document), expected);
    let chosen = world.run(&[&NEWEST[..], &["--format", "json"]].concat());
    assert_eq!(chosen.exits(0).json()["revision"], three);
    untag(&world, three);
    let nothing = world.run(&NEWEST).exits(0);
    assert_eq!(nothing.stderr, "nothing newer than the current set\n");
    // A missing commit may record another revision than the labels.
    let head = world.head();
    world.write(".git/shallow", head + "\n");
    let expected = [(two, "current", ""), (one, "available", "")];
    assert_eq!(states(&listed(&world)), expected);
}

#[test]
fn source_is_fetched_only_for_the_order_of_commits() {
    // This clone has the commit of the pinned set.
    let world = world().with_git();
    let days = ["2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"];
    let commits = commits(&world, &days);
    for image in IMAGES {
        for revision in [REV_A, REV_B] {
            world.layout(image).untag(revision);
        }
    }
    world.write("repin.yaml", format!("{CONFIG}source: ./gone\n"));
    let apply = ["promote", "--revision", &commits[0], "--apply"];
    world
        .run(&[&apply[..], &["--allow-older"]].concat())
        .exits(0);
    world.commit(&format!("promote: test images @{}", commits[0]));
    world.push();
    assert_eq!(world.run(&["builds"]).exits(0).stderr, "");
    // Versions have an order of their own.
    let world = World::empty();
    configure(&world, "revision: { pattern: semver }\nsource: ./gone\n");
    build_as(&world, &IMAGES, "1.0.0", "1.0.0", days[0]);
    world.write(".github/workflows/a.yml", "on: push\n");
    let world = world.with_git();
    assert_eq!(world.run(&["builds"]).exits(0).stderr, "");
}

#[test]
fn unreadable_source_is_reported_with_the_list() {
    let (world, commits) = built_elsewhere(1);
    fs::remove_dir_all(world.path("app")).unwrap();
    let ran = world.run(&["builds", "--format", "json"]).exits(3);
    assert_eq!(revisions(&ran.json()).len(), commits.len());
    assert!(
        ran.stderr.contains("not ordered by commits"),
        "{}",
        ran.stderr
    );
    let ran = world.run(&NEWEST).exits(3);
    assert!(ran.stderr.contains("./app"), "{}", ran.stderr);
}

#[test]
fn unreadable_source_is_requested_once() {
    let (world, [one, _, three]) = built_elsewhere(1);
    let fake = Fake::start(|_| Reaction::new(500, "broken"));
    let source = format!("source: http://{}/app.git\n", fake.host());
    world.replace("repin.yaml", "source: ./app\n", &source);
    world.run(&["builds"]).exits(3);
    assert_eq!(fake.count("info/refs"), 1, "{:?}", fake.log());
    // Incomplete builds and the current set are not compared, but may be unmerged.
    for revision in [one, three] {
        world.layout("fix").untag(revision);
    }
    world.run(&["builds"]).exits(3);
    assert_eq!(fake.count("info/refs"), 2, "{:?}", fake.log());
}

#[test]
fn builds_after_the_current_set_are_ignored() {
    // The tags of the current set are gone, but its images are not.
    let other = rolled_back();
    for image in IMAGES {
        other.layout(image).untag(REV_A);
    }
    build(&other, REV_E, "2026-11-01T00:00:00Z");
    damage(&other, "fix", REV_E);
    let ran = other.run(&NEWEST).exits(0);
    assert!(ran.stderr.contains("nothing newer"), "{}", ran.stderr);
    // No commit and no label states the revision of the current set.
    let mut world = world();
    for image in IMAGES {
        let platform = Platform::new("linux/amd64", REV_A).created("2026-11-18T08:55:00Z");
        world.rebuild_whole(image, REV_A, platform);
        world.layout(image).untag(REV_B);
    }
    world.pin(REV_A);
    configure(&world, "revision: { label: other }\n");
    let world = world.with_git();
    build(&world, REV_E, "2026-11-01T00:00:00Z");
    damage(&world, "fix", REV_E);
    let ran = world.run(&NEWEST).exits(0);
    assert!(ran.stderr.contains("nothing newer"), "{}", ran.stderr);
}

#[test]
fn newest_needs_evidence_of_its_age() {
    let mut world = world();
    for revision in [REV_A, REV_B, REV_C] {
        for image in IMAGES {
            let platform = Platform::new("linux/amd64", revision).created(PLACEHOLDER);
            world.rebuild_whole(image, revision, platform);
        }
    }
    world.pin(REV_B);
    let world = world.with_git();
    world.promoted(REV_B);
    let ran = world.run(&NEWEST).exits(1);
    assert!(
        ran.stderr.contains("error[revision_order]"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("repin promote --revision "),
        "{}",
        ran.stderr
    );
    world
        .run(&[&NEWEST[..], &["--allow-older"]].concat())
        .exits(0);
    // The set of C was current first.
    world.promoted(REV_C);
    world.promoted(REV_A);
    untag(&world, REV_B);
    let ran = world.run(&NEWEST).exits(0);
    assert_eq!(ran.stderr, "nothing newer than the current set\n");
}

#[test]
fn build_without_a_time_precedes_the_current_set() {
    let world = rolled_back();
    build(&world, REV_C, PLACEHOLDER);
    let document = listed(&world);
    let states = states(&document);
    assert_eq!(
        states[1..],
        [(REV_C, "available", ""), (REV_A, "current", "")]
    );
    // It may be newer.
    let ran = world.run(&NEWEST).exits(1);
    assert!(
        ran.stderr.contains("error[revision_order]"),
        "{}",
        ran.stderr
    );
    let forced = [&NEWEST[..], &["--allow-older", "--format", "json"]].concat();
    assert_eq!(world.run(&forced).exits(0).json()["revision"], REV_C);
    // An unreadable build may be newer, too: it is reported first.
    build(&world, REV_E, PLACEHOLDER);
    for image in IMAGES {
        damage(&world, image, REV_E);
    }
    world.run(&NEWEST).exits(3);
}

#[test]
fn build_on_another_line_needs_its_time() {
    for (created, is_selected) in [
        (PLACEHOLDER, None),
        ("2026-11-01T00:00:00Z", Some(false)),
        ("2026-11-03T00:00:00Z", Some(true)),
    ] {
        let (mut world, commits) = built_elsewhere(2);
        let app = world.path("app");
        git(&app, &["switch", "-q", "-c", "other", commits[0]]);
        let other = commit_in(&app, "other");
        for (revision, created) in [(commits[2], "2026-11-02T00:00:00Z"), (other, created)] {
            let created = if is_selected.is_none() {
                PLACEHOLDER
            } else {
                created
            };
            for image in IMAGES {
                let platform = Platform::new("linux/amd64", revision).created(created);
                world.rebuild_whole(image, revision, platform);
            }
        }
        world.pin(commits[2]);
        let states = listed(&world);
        let states = self::states(&states);
        assert!(states.contains(&(other, "available", "")), "{states:?}");
        let ran = world.run(&[&NEWEST[..], &["--format", "json"]].concat());
        match is_selected {
            None => {
                let document = ran.exits(1).json();
                let error = &document["errors"][0];
                assert_eq!(error["code"], "revision_order", "{document:#}");
                let message = error["message"].as_str().unwrap();
                assert!(message.contains("another line of commits"), "{message}");
            }
            Some(true) => assert_eq!(ran.exits(0).json()["revision"], other),
            Some(false) => assert_eq!(ran.exits(0).json()["revision"], commits[2]),
        }
    }
}

#[test]
fn proposal_without_tags_stops_newest() {
    let (mut world, fake) = hosted(FORGES[0], "");
    rebuild_later(&mut world);
    run(&world, &promote(REV_C)).exits(0);
    untag(&world, REV_C);
    let newest = [&NEWEST[..], &["--pr", "ready"]].concat();
    let ran = run(&world, &newest).exits(1);
    assert!(ran.stderr.contains("pull request #1"), "{}", ran.stderr);
    fake.store().pulls.clear();
    run(&world, &newest).exits(0);
}

#[test]
fn newest_is_a_merged_build() {
    let world = world().with_git();
    let days = ["2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"];
    let commits = commits(&world, &days);
    for revision in [REV_A, REV_B] {
        untag(&world, revision);
    }
    world
        .run(&["promote", "--revision", &commits[0], "--apply"])
        .exits(0);
    world.commit(&format!("promote: test images @{}", commits[0]));
    world.push();
    world.git(&["checkout", "-q", "-b", "topic"]);
    let topic = world.commit("topic");
    world.git(&["checkout", "-q", "main"]);
    build(&world, &topic, "2026-11-05T00:00:00Z");
    // The commit of a deleted branch, which the clone does not contain.
    build(&world, REV_C, "2026-11-06T00:00:00Z");
    let document = listed(&world);
    let unmerged = "not in origin/main";
    assert_eq!(
        states(&document)[..3],
        [
            (REV_C, "unmerged", unmerged),
            (&*topic, "unmerged", unmerged),
            (&*commits[1], "available", ""),
        ]
    );
    let newest = || {
        let ran = world.run(&[&NEWEST[..], &["--format", "json"]].concat());
        ran.exits(0).json()["revision"].clone()
    };
    assert_eq!(newest(), commits[1]);
    let explicit = ["promote", "--revision", &topic];
    for revision in [&topic, REV_C] {
        let ran = world.run(&["promote", "--revision", revision]).exits(0);
        let warning = "warning[revision_unmerged]: origin/main does not contain";
        assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    }
    configure(&world, "promote: { require_merged: true }\n");
    let refused = world.run(&explicit).exits(1);
    let error = "error[revision_unmerged]";
    assert!(refused.stderr.contains(error), "{}", refused.stderr);
    world.run(&["promote", "--revision", &commits[1]]).exits(0);
    world.git(&["checkout", "-q", "--", "repin.yaml"]);
    world.git(&["merge", "-q", "--no-edit", "topic"]);
    world.push();
    assert_eq!(newest(), topic);
    let merged = world.run(&explicit).exits(0);
    assert!(!merged.stderr.contains("unmerged"), "{}", merged.stderr);
}

#[test]
fn unmerged_build_of_the_source_is_not_newest() {
    let (world, commits) = built_elsewhere(1);
    let [_, _, three] = commits;
    let chosen = || {
        let ran = world.run(&[&NEWEST[..], &["--format", "json"]].concat());
        ran.exits(0).json()["revision"].clone()
    };
    assert_eq!(chosen(), three);
    // The source never had the commit.
    build(&world, REV_E, "2026-11-25T00:00:00Z");
    let document = listed(&world);
    let row = states(&document)[0];
    assert_eq!((row.0, row.1), (REV_E, "unmerged"), "{document}");
    assert_eq!(chosen(), three);
}

#[test]
fn build_dated_in_the_future_is_no_evidence() {
    let world = rolled_back();
    build(&world, REV_C, "2036-11-20T00:00:00Z");
    build(&world, REV_D, "2026-11-21T00:00:00Z");
    let chosen = world.run(&[&NEWEST[..], &["--format", "json"]].concat());
    assert_eq!(chosen.exits(0).json()["revision"], REV_D);
    let promote = |revision: &str| {
        let ran = world.run(&["promote", "--revision", revision, "--apply"]);
        let ran = ran.exits(0);
        world.commit(&format!("promote: test images @{revision}"));
        world.push();
        ran
    };
    let ran = promote(REV_C);
    assert!(
        ran.stderr.contains("lies in the future (2036-11-20"),
        "{}",
        ran.stderr
    );
    // It does not end the promotions.
    let ran = world.run(&NEWEST).exits(1);
    assert!(
        ran.stderr.contains("error[revision_order]"),
        "{}",
        ran.stderr
    );
    let ran = promote(REV_D);
    assert!(
        ran.stderr.contains("warning[revision_order]"),
        "{}",
        ran.stderr
    );
    build(&world, REV_E, "2026-11-22T00:00:00Z");
    let chosen = world.run(&[&NEWEST[..], &["--format", "json"]].concat());
    assert_eq!(chosen.exits(0).json()["revision"], REV_E);
}
