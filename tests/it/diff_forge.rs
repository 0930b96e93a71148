//! The commits between two sets, from the forge of their source.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::{
    build_order::{is_git, on_forge},
    support::{
        fake::{Fake, Reaction},
        fleet::{self, Fleet},
        forge::{Kind, TOKEN, thousand::Thousand},
        hosted::FORGES,
        layout::Platform,
        sweep::one_of,
        world::{REV_A, REV_B, REV_C, World, world},
    },
};

const NAME: &str = "acme/app-0000";

fn diff(world: &World, args: &[&str]) -> Value {
    let args = [&["diff", "--format", "json"], args].concat();
    world.run(&args).exits(0).json()
}

fn subjects(list: &Value) -> Vec<&str> {
    let commits = list["commits"].as_array().unwrap();
    commits
        .iter()
        .map(|commit| commit["subject"].as_str().unwrap())
        .collect()
}

#[test]
fn newest_commits_of_a_long_range_are_listed() {
    for kind in one_of(FORGES) {
        let forge = Thousand::start(fleet::options(kind, 2));
        let (world, [early, late, _]) = on_forge(&forge, kind, NAME);
        let world = world.env("REPIN_FORGE_TOKEN", TOKEN);
        let document = diff(&world, &["--from", early, "--to", late]);
        let source = &document["source"];
        assert_eq!(source["read_from"], "forge", "{document}");
        assert_eq!(source["stated_by"], "configuration");
        assert_eq!(source["descendant"], true);
        assert_eq!(source["added"]["count"], 261);
        assert_eq!(source["added"]["authors"], 1);
        let listed = subjects(&source["added"]);
        assert_eq!(listed.len(), 50);
        assert_eq!(listed[..2], ["late", "259"]);
        assert_eq!(
            source["removed"],
            json!({"count": 0, "authors": 0, "commits": []})
        );
        let reversed = diff(&world, &["--from", late, "--to", early]);
        let source = &reversed["source"];
        assert_eq!(source["descendant"], false);
        assert_eq!(source["added"]["count"], 0);
        assert_eq!(source["removed"]["count"], 261);
        assert_eq!(subjects(&source["removed"])[..2], ["late", "259"]);
        assert_eq!(requests_of_api(&forge, 0), [""; 0], "{kind:?}");
    }
}

/// The requests of the log that are not those of git.
fn requests_of_api(forge: &Thousand, from: usize) -> Vec<String> {
    let log = forge.log().split_off(from);
    let of_api = log.into_iter().filter(|logged| !is_git(logged));
    of_api.map(|logged| logged.request).collect()
}

#[test]
fn unknown_commits_are_not_read_and_unrelated_ones_listed() {
    for kind in one_of(FORGES) {
        let forge = Thousand::start(fleet::options(kind, 2));
        let (mut world, [_, late, unrelated]) = on_forge(&forge, kind, NAME);
        world.build(REV_C);
        let world = world.env("REPIN_FORGE_TOKEN", TOKEN);
        let document = diff(&world, &["--from", late, "--to", REV_C]);
        assert_eq!(document["source"]["added"], Value::Null);
        assert_eq!(document["not_read"][0]["part"], "commits");
        let reason = document["not_read"][0]["reason"].as_str().unwrap();
        let expected = format!("the source {NAME} does not contain both revisions");
        assert!(reason.ends_with(&expected), "{reason}");
        let document = diff(&world, &["--from", late, "--to", unrelated]);
        let source = &document["source"];
        assert_eq!(source["descendant"], false, "{document}");
        assert_eq!(subjects(&source["added"]), ["pages"]);
        // With the two commits that the repository began with.
        assert_eq!(source["removed"]["count"], 264);
    }
}

#[test]
fn commit_without_a_branch_is_fetched_by_its_id() {
    let forge = Thousand::start(fleet::options(Kind::Gitea, 2));
    let (world, [early, late, unrelated]) = on_forge(&forge, Kind::Gitea, NAME);
    let world = world.env("REPIN_FORGE_TOKEN", TOKEN);
    forge.store(0).refs.remove("pages");
    let document = diff(&world, &["--from", early, "--to", unrelated]);
    assert_eq!(subjects(&document["source"]["added"]), ["pages"], "{late}");
}

#[test]
fn forge_that_is_down_fails_no_promotion() {
    let forge = Thousand::start(fleet::options(Kind::Github, 2));
    let (world, [early, late, _]) = on_forge(&forge, Kind::Github, NAME);
    let world = world.env("REPIN_FORGE_TOKEN", "wrong");
    let document = diff(&world, &["--from", early, "--to", late]);
    assert_eq!(document["source"]["read_from"], Value::Null);
    let reason = document["not_read"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("the source"), "{reason}");
    assert!(!reason.contains("wrong"), "{reason}");
}

#[test]
fn forge_has_commits_missing_in_shallow_clone() {
    let forge = Thousand::start(fleet::options(Kind::Github, 2));
    let (world, [early, late, _]) = on_forge(&forge, Kind::Github, NAME);
    world.replace("repin.yaml", &format!("source: {NAME}\n"), "");
    world.replace("repin.yaml", "acme/app-0001", NAME);
    world.commit("without source");
    world.push();
    let origin = format!("file://{}", world.path("origin.git").display());
    let world = world.env("REPIN_FORGE_TOKEN", TOKEN);
    let args = ["diff", "--format", "json", "--from", early, "--to", late];
    // A complete clone has all commits of this repository.
    let before = forge.log().len();
    let complete = world.run(&args).exits(0).json();
    assert_eq!(complete["source"]["read_from"], Value::Null);
    assert_eq!(forge.log().len(), before);
    world.git(&["clone", "-q", "--depth", "1", &origin, "clone"]);
    let clone = world.path("clone");
    std::os::unix::fs::symlink(world.path("images"), clone.join("images")).unwrap();
    let document = world.run_in(&clone, &args, &[]).exits(0).json();
    assert_eq!(document["source"]["read_from"], "forge", "{document}");
    assert_eq!(document["source"]["stated_by"], "clone");
    assert_eq!(document["source"]["added"]["count"], 261);
}

#[test]
fn fleet_lists_the_commits_of_the_source() {
    for kind in one_of(FORGES) {
        let mut options = fleet::options(kind, 4);
        options.speed = 1000;
        let fleet = Fleet::new(options);
        let [old, new] = {
            let mut store = fleet.forge.store(0);
            ["fix: first", "fix: a *second* (#7)"]
                .map(|message| store.push("main", message, &[("src/a", message)]))
        };
        let digests = fleet.build(&old);
        for number in 1..4 {
            fleet.pin(number, &digests, &format!("promote: images @{old}"));
        }
        fleet.build(&new);
        let promote = |more: &[&str]| {
            let out = if more.is_empty() {
                "dry.jsonl"
            } else {
                "out.jsonl"
            };
            let list = ["--list", "list.txt", "--out", out];
            let ran = fleet
                .scaled(&[&["fleet", "promote", "--revision", &new], &list[..], more].concat());
            assert_eq!(ran.code, 0, "{kind:?} {}", ran.stderr);
        };
        let body = |number: usize| fleet.forge.store(number).pulls[0].body.clone();

        // A dry run needs the source for the order.
        let before = fleet.forge.log().len();
        promote(&[]);
        assert_eq!(fetches_of_source(&fleet.forge, before), 1, "{kind:?}");
        let before = fleet.forge.log().len();
        promote(&["--pr", "draft"]);
        let section = body(1);
        for text in [
            "### What changes",
            &format!("{}...{}", &old[..7], &new[..7]),
            "1 commit by 1 author",
            r"fix: a \*second\*",
        ] {
            assert!(section.contains(text), "{kind:?} {text}: {section}");
        }
        assert!(!section.contains("fix: first"), "{section}");
        assert_eq!(section, body(2).replace("app-0002", "app-0001"));
        // No commit records the set of the first repository.
        assert!(body(0).contains("previous revision unknown"), "{}", body(0));
        // Once for the order and the commits.
        assert_eq!(fetches_of_source(&fleet.forge, before), 1, "{kind:?}");
    }
}

/// The fetches of the source since `from`: the first repository is fetched once more than the second one, which is no source.
pub(crate) fn fetches_of_source(forge: &Thousand, from: usize) -> usize {
    let log = forge.log().split_off(from);
    let fetches = |repository: usize| {
        let own = log
            .iter()
            .filter(|logged| logged.repository == Some(repository));
        let fetch = "/info/refs?service=git-upload-pack";
        own.filter(|logged| logged.request.contains(fetch)).count()
    };
    fetches(0).saturating_sub(fetches(1))
}

#[test]
fn fleet_without_changes_reads_no_commits() {
    let mut options = fleet::options(Kind::Github, 2);
    options.speed = 1000;
    let fleet = Fleet::new(options);
    let config = fleet.read("repin.yaml");
    fleet.write("repin.yaml", config + "report: { changes: none }\n");
    let args = ["fleet", "promote", "--revision", "x", "--pr", "draft"];
    fleet
        .scaled(&[&args[..], &["--list", "list.txt", "--out", "out.jsonl"]].concat())
        .exits(0);
    let body = fleet.forge.store(1).pulls[0].body.clone();
    assert!(!body.contains("What changes"), "{body}");
}

/// Images at A and B that state a source, in a shallow clone of their world.
fn with_source_label(source: &str, forge: &str) -> (World, PathBuf) {
    let mut world = world().with_git();
    for revision in [REV_A, REV_B] {
        for image in ["review", "fix", "base"] {
            let label = "org.opencontainers.image.source";
            let platform = Platform::new("linux/amd64", revision).label(label, source);
            world.rebuild(image, revision, &[platform.label("image", image)]);
        }
    }
    world.pin(REV_A);
    world.write("repin.yaml", world.read("repin.yaml") + forge);
    world.commit("images with a source");
    world.push();
    let origin = format!("file://{}", world.path("origin.git").display());
    world.git(&["clone", "-q", "--depth", "1", &origin, "clone"]);
    let clone = world.path("clone");
    std::os::unix::fs::symlink(world.path("images"), clone.join("images")).unwrap();
    (world, clone)
}

#[test]
fn label_gives_a_link_and_causes_no_request() {
    let fake = Fake::start(|_| Reaction::new(404, "{}"));
    let source = format!("http://{}/acme/app", fake.host());
    let forge = format!(
        "forge: {{ kind: gitea, url: 'http://{}/api/v1', repository: acme/deploy }}\n",
        fake.host()
    );
    let (world, clone) = with_source_label(&source, &forge);
    let args = ["diff", "--revision", REV_B, "--format", "json"];
    let env = [("REPIN_FORGE_TOKEN", TOKEN)];
    let document = world.run_in(&clone, &args, &env).exits(0).json();
    assert_eq!(document["source"]["stated_by"], "label", "{document}");
    assert_eq!(
        document["source"]["link"],
        format!("{source}/compare/{REV_A}...{REV_B}")
    );
    assert_eq!(document["not_read"][0]["part"], "commits", "{document}");
    assert_eq!(fake.log(), [""; 0]);
}
