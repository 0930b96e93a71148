//! `repin rehearse` on real git repositories, real registries, and simulated forges.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    fake::{Fake, Reaction},
    forge::{Fake as FakeForge, Kind, TOKEN},
    hosted::FORGES,
    layout::Platform,
    pruned::{old, push},
    registry::{Protection, Registry, push_layout, run},
    shop::{CONTRACT, agents, base, shop},
    sweep::one_of,
    world::{REV_A, REV_B, REV_C, Ran, World, details, failed, git_at, world},
};

use crate::verify::trusted;

const TITLE: &str = "Rollback is not ready";
const REV_D: &str = "dddddddddddddddddddddddddddddddddddddddd";
const REHEARSE: [&str; 3] = ["rehearse", "--format", "json"];

/// A, B and C were promoted; C is current.
fn promoted() -> World {
    promoted_on("ghcr.io")
}

/// The same with the images on this host.
fn promoted_on(host: &str) -> World {
    let mut world = world();
    world.build(REV_C);
    for file in [
        "repin.yaml",
        ".github/workflows/a.yml",
        ".github/workflows/b.yml",
    ] {
        world.replace(file, "ghcr.io/acme", &format!("{host}/acme"));
    }
    let world = world.with_git();
    world.adopt(REV_A);
    world.push();
    world.promoted(REV_B);
    world.promoted(REV_C);
    world
}

fn rehearsed(world: &World, args: &[&str], exit: i32) -> Value {
    let ran = world.run(&[&REHEARSE[..], args].concat()).exits(exit);
    let document = ran.json();
    assert_eq!(document["schema"], "repin.rehearse/1");
    document
}

/// The revision and the verdict of each set.
fn verdicts(document: &Value) -> Vec<[&str; 2]> {
    let sets = document["sets"].as_array().unwrap().iter();
    sets.map(|set| ["revision", "verdict"].map(|key| set[key].as_str().unwrap()))
        .collect()
}

fn revisions(document: &Value) -> Vec<&str> {
    verdicts(document)
        .iter()
        .map(|[revision, _]| *revision)
        .collect()
}

/// Replaces the manifest of an image with a directory, which cannot be read.
fn make_unavailable(world: &World, image: &str, revision: &'static str) {
    let blob = world.layout(image).blob_path(world.digest(image, revision));
    fs::remove_file(&blob).unwrap();
    fs::create_dir(&blob).unwrap();
}

#[test]
fn sets_of_history_are_taken_through_the_rollback() {
    let world = promoted();
    let before = world.snapshot();
    let document = rehearsed(&world, &[], 0);
    assert_eq!(verdicts(&document), [[REV_B, "ready"], [REV_A, "ready"]]);
    let mut keys: Vec<_> = document.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        ["failed", "ready", "schema", "set_path", "sets", "unknown"]
    );
    let mut keys: Vec<_> = document["sets"][0].as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        ["checks", "commit", "date", "error", "revision", "verdict"]
    );
    let rollback = world
        .run(&["rollback", "--to", REV_B, "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(document["sets"][0]["checks"], rollback["checks"]);
    assert_eq!(
        (
            &document["ready"],
            &document["failed"],
            &document["unknown"]
        ),
        (&json!(2), &json!(0), &json!(0))
    );
    let mut after = world.snapshot();
    after.retain(|path, _| !path.starts_with(world.path(".git")));
    let mut before = before;
    before.retain(|path, _| !path.starts_with(world.path(".git")));
    assert_eq!(before, after, "something was changed");
    let human = world.run(&["rehearse"]).exits(0);
    assert!(
        human
            .stdout
            .contains("bbbbbbbbbbbb  ready     2026-01-02 03:04Z  3 images, "),
        "{}",
        human.stdout
    );
}

#[test]
fn missing_layer_fails_without_a_contract() {
    let mut world = world();
    world.build(REV_C);
    // Both platforms share the layer.
    let platforms = ["linux/amd64", "linux/arm64"];
    let layered = platforms.map(|name| Platform::new(name, REV_B).gzipped(base()));
    world.rebuild("fix", REV_B, &layered);
    let later = platforms.map(|name| Platform::new(name, REV_C));
    world.rebuild("fix", REV_C, &later);
    let world = world.with_git();
    world.adopt(REV_A);
    world.push();
    world.promoted(REV_B);
    world.promoted(REV_C);
    let document = rehearsed(&world, &[], 0);
    assert_eq!(verdicts(&document), [[REV_B, "ready"], [REV_A, "ready"]]);
    let layout = world.layout("fix");
    let read = |digest: &str| -> Value {
        let manifest = fs::read(layout.blob_path(digest)).unwrap();
        serde_json::from_slice(&manifest).unwrap()
    };
    let index = read(world.digest("fix", REV_B));
    let manifest = read(index["manifests"][1]["digest"].as_str().unwrap());
    let blob = layout.blob_path(manifest["layers"][0]["digest"].as_str().unwrap());
    fs::remove_file(&blob).unwrap();
    let document = rehearsed(&world, &[], 1);
    assert_eq!(verdicts(&document), [[REV_B, "fails"], [REV_A, "ready"]]);
    assert_eq!(failed(&document["sets"][0]), ["content_missing"]);
    let missing = details(&document["sets"][0], "content_missing", "fail");
    assert_eq!(missing.len(), 1, "{missing:?}");
    // It cannot be read.
    fs::create_dir(&blob).unwrap();
    let document = rehearsed(&world, &[], 0);
    assert_eq!(verdicts(&document), [[REV_B, "unknown"], [REV_A, "ready"]]);
}

#[test]
fn trusted_roots_are_those_of_the_branch() {
    let world = trusted().with_git();
    world.adopt(REV_A);
    world.push();
    world.promoted(REV_B);
    // The work tree has none.
    fs::remove_file(world.path("root.json")).unwrap();
    let document = rehearsed(&world, &[], 0);
    assert_eq!(verdicts(&document), [[REV_A, "ready"]]);
}

#[test]
fn failed_set_does_not_stop_the_others() {
    let world = promoted();
    world.layout("fix").untag(REV_B);
    let ran = world.run(&REHEARSE).exits(1);
    let document = ran.json();
    assert_eq!(verdicts(&document), [[REV_B, "fails"], [REV_A, "ready"]]);
    assert_eq!(failed(&document["sets"][0]), ["tag_missing"]);
    assert!(document["sets"][0]["error"].is_null(), "{document}");
    let latest = "error[rehearsal_failed]: the most recent available set, bbbbbbbbbbbb, is not ready: 1 of 2 sets";
    assert!(ran.stderr.contains(latest), "{}", ran.stderr);
    let human = world.run(&["rehearse"]).exits(1);
    assert!(
        human
            .stdout
            .contains("bbbbbbbbbbbb  fails     2026-01-02 03:04Z  tag_missing: fix: "),
        "{}",
        human.stdout
    );
    let github = world.run(&["rehearse", "--format", "github"]).exits(1);
    assert!(
        github
            .stdout
            .contains(&format!("::error title=rehearse::{REV_B}: fails")),
        "{}",
        github.stdout
    );
    world.layout("fix").untag(REV_A);
    make_unavailable(&world, "review", REV_B);
    let document = rehearsed(&world, &[], 1);
    assert_eq!(verdicts(&document), [[REV_B, "fails"], [REV_A, "fails"]]);
    assert_eq!(document["sets"][0]["error"]["code"], "unavailable");
    // The most recent set is ready.
    let world = promoted();
    world.layout("fix").untag(REV_A);
    let ran = world.run(&REHEARSE).exits(1);
    assert!(!ran.stderr.contains("the most recent"), "{}", ran.stderr);
}

#[test]
fn unavailable_registry_leaves_a_set_unknown() {
    let world = promoted();
    make_unavailable(&world, "fix", REV_B);
    let ran = world.run(&["rehearse"]).exits(0);
    assert!(
        ran.stderr
            .starts_with("warning: the most recent available set, bbbbbbbbbbbb, is unknown"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stdout
            .contains("bbbbbbbbbbbb  unknown   2026-01-02 03:04Z  unavailable: "),
        "{}",
        ran.stdout
    );
    let document = rehearsed(&world, &[], 0);
    assert_eq!(verdicts(&document), [[REV_B, "unknown"], [REV_A, "ready"]]);
    assert_eq!(document["sets"][0]["error"]["code"], "unavailable");
    make_unavailable(&world, "fix", REV_A);
    let ran = world.run(&["rehearse"]).exits(3);
    let latest = "error[unavailable]: the most recent available set, bbbbbbbbbbbb, is not ready: 2 of 2 sets are unknown";
    assert!(ran.stderr.contains(latest), "{}", ran.stderr);
}

#[test]
fn refused_access_is_exit_4() {
    let world = promoted();
    let registry = Fake::start(|_| Reaction::new(403, "{}"));
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host());
    let document = rehearsed(&world, &["--source", &source], 4);
    assert_eq!(
        verdicts(&document),
        [[REV_B, "unknown"], [REV_A, "unknown"]]
    );
    assert_eq!(document["sets"][1]["error"]["code"], "denied");
}

#[test]
fn missing_and_wrong_content_of_a_set_fails() {
    for (code, content) in [("content_missing", None), ("content_mismatch", Some("{}"))] {
        let world = promoted();
        let index = world
            .layout("review")
            .blob_path(world.digest("review", REV_B));
        let index: Value = serde_json::from_slice(&fs::read(index).unwrap()).unwrap();
        let platform = index["manifests"][1]["digest"].as_str().unwrap();
        let blob = world.layout("review").blob_path(platform);
        match content {
            None => fs::remove_file(blob).unwrap(),
            Some(content) => fs::write(blob, content).unwrap(),
        }
        let document = rehearsed(&world, &[], 1);
        assert_eq!(verdicts(&document), [[REV_B, "fails"], [REV_A, "ready"]]);
        assert_eq!(failed(&document["sets"][0]), [code]);
        let detail = &details(&document["sets"][0], code, "fail")[0];
        assert!(detail.contains(&platform[7..]), "{detail}");
    }
}

#[test]
fn current_set_is_only_compared() {
    let world = promoted();
    let blob = world.layout("fix").blob_path(world.digest("fix", REV_C));
    let manifest = fs::read(&blob).unwrap();
    fs::write(&blob, "{}").unwrap();
    let document = rehearsed(&world, &[], 3);
    assert_eq!(
        verdicts(&document),
        [[REV_B, "unknown"], [REV_A, "unknown"]]
    );
    fs::remove_file(&blob).unwrap();
    let document = rehearsed(&world, &[], 0);
    assert_eq!(verdicts(&document), [[REV_B, "ready"], [REV_A, "ready"]]);
    let skipped = details(&document["sets"][0], "platform_lost", "skip");
    assert!(skipped[0].contains("cannot read"), "{skipped:?}");
    fs::write(&blob, &manifest).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let config = manifest["config"]["digest"].as_str().unwrap();
    fs::remove_file(world.layout("fix").blob_path(config)).unwrap();
    let document = rehearsed(&world, &[], 0);
    assert_eq!(
        details(&document["sets"][0], "platform_lost", "skip").len(),
        1
    );
}

#[test]
fn arguments_select_the_sets() {
    let world = promoted();
    let of = |args: &[&str], exit| {
        let document = rehearsed(&world, args, exit);
        verdicts(&document)
            .iter()
            .map(|set| set.join(" "))
            .collect::<Vec<_>>()
    };
    let ready = |revision: &str| format!("{revision} ready");
    assert_eq!(of(&["--last", "1"], 0), [ready(REV_B)]);
    assert_eq!(of(&["--last", "0"], 0), [ready(REV_C)]);
    assert_eq!(of(&["--to", "aaaa", "--to", REV_A], 0), [ready(REV_A)]);
    let named = ["--to", REV_D, "--to", REV_A, "--to", REV_B];
    assert_eq!(
        of(&named, 1),
        [ready(REV_B), ready(REV_A), format!("{REV_D} fails")]
    );
    let never = &rehearsed(&world, &["--to", REV_D], 1)["sets"][0];
    assert_eq!(failed(never), ["provenance_title"]);
    assert!(
        never["commit"].is_null() && never["date"].is_null(),
        "{never}"
    );
    // The labels of the images complete an abbreviation.
    let config = world.read("repin.yaml");
    let tag = "revision: { tag: '{revision:7}' }\n";
    world.write("repin.yaml", config.clone() + tag);
    for image in ["review", "fix", "base"] {
        let platform = Platform::new("linux/amd64", REV_D);
        world.layout(image).image(&REV_D[..7], &[platform]);
    }
    world.commit("abbreviated tags");
    world.push();
    assert_eq!(of(&["--to", &REV_D[..7]], 1), [format!("{REV_D} fails")]);
    world.write("repin.yaml", config);
    world.commit("whole tags");
    world.push();
    for args in [
        &["--last", "1", "--to", REV_A][..],
        &["--to", "HEAD~1"],
        &["--last", "-1"],
    ] {
        world.run(&[&["rehearse"], args].concat()).exits(2);
    }
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "rehearse: { last: 1 }\n",
    );
    assert_eq!(of(&[], 0), [ready(REV_B)]);
}

#[test]
fn each_revision_is_rehearsed_at_its_last_commit() {
    let mut world = promoted();
    world.build(REV_D);
    world.run(&["rollback", "--to", REV_A, "--apply"]).exits(0);
    let rolled_back = world.commit(&format!("rollback: test images @{REV_A}"));
    world.push();
    // The sets that the rollback undid are held.
    let document = rehearsed(&world, &["--last", "9"], 0);
    assert_eq!(verdicts(&document), [[""; 2]; 0]);
    let document = rehearsed(&world, &["--to", REV_A], 0);
    assert_eq!(document["sets"][0]["commit"], rolled_back);
    world.promoted(REV_D);
    let document = rehearsed(&world, &["--last", "9"], 0);
    assert_eq!(revisions(&document), [REV_A]);
    assert_eq!(document["sets"][0]["commit"], rolled_back);
}

#[test]
fn rows_are_sorted_by_date() {
    let mut world = world();
    world.build(REV_C);
    let world = world.with_git();
    world.adopt(REV_A);
    for (revision, date) in [
        (REV_B, "2026-03-01T00:00:00Z"),
        (REV_C, "2026-02-01T00:00:00Z"),
    ] {
        world
            .run(&["promote", "--revision", revision, "--apply"])
            .exits(0);
        let title = format!("promote: test images @{revision}");
        git_at(world.root(), &["commit", "-qam", &title], date);
    }
    world.push();
    let document = rehearsed(&world, &["--to", REV_A, "--to", REV_C, "--to", REV_B], 0);
    assert_eq!(revisions(&document), [REV_B, REV_C, REV_A]);
}

#[test]
fn base_branch_counts_and_not_the_work_tree() {
    let world = promoted();
    world.write(".github/workflows/b.yml", "on: push\n");
    world.replace("repin.yaml", "pins: 3", "pins: 9");
    world.commit("wip");
    let document = rehearsed(&world, &[], 0);
    assert_eq!(verdicts(&document), [[REV_B, "ready"], [REV_A, "ready"]]);
    world.push();
    // The set without `fix` is current, so C is available too.
    let document = rehearsed(&world, &[], 1);
    let fails = [[REV_C, "fails"], [REV_B, "fails"], [REV_A, "fails"]];
    assert_eq!(verdicts(&document), fails);
    assert!(failed(&document["sets"][0]).contains(&"pin_count".to_owned()));
}

#[test]
fn unusable_files_of_the_base_branch_are_refused() {
    let world = promoted();
    let config = world.read("repin.yaml");
    let refused = |reason: &str| {
        let ran = world.run(&["rehearse"]).exits(2);
        assert!(ran.stderr.contains(reason), "{}", ran.stderr);
    };
    for pins in [", pins: 3", ", pins: 2", ", pins: 0"] {
        world.replace("repin.yaml", pins, "");
    }
    let fleet = world.read("repin.yaml") + "fleet: { history: recent }\n";
    world.write("repin.yaml", fleet);
    world.commit("a fleet");
    world.push();
    world.write("repin.yaml", &config);
    refused("lacks `pins` of any image");
    let large = ".github/workflows/large.yml";
    world.write(large, vec![b'\n'; (16 << 20) + 1]);
    world.git(&["add", large]);
    world.commit("a large file");
    world.push();
    fs::remove_file(world.path(large)).unwrap();
    refused("large.yml on origin/main has more than 16 MiB");
}

#[test]
fn configuration_error_is_no_failure_of_a_set() {
    let world = promoted();
    let pin = world.digest("fix", REV_C);
    let values = format!("i: {{ repository: ghcr.io/acme/fix, digest: '{pin}' }}\n");
    world.write("values.yaml", values);
    let places = "places:\n  helm: { files: [values.yaml] }\n  \
                  keys: { files: [values.yaml], entry: /i, digest: digest, image: fix }\n";
    world.write("repin.yaml", world.read("repin.yaml") + places);
    world.commit("two places");
    world.push();
    let ran = world.run(&["rehearse"]).exits(2);
    let message = "both find this digest";
    assert!(ran.stderr.contains(message), "{}", ran.stderr);
}

#[test]
fn history_without_a_set_has_nothing_to_rehearse() {
    let world = world().with_git();
    world.adopt(REV_A);
    world.push();
    let ran = world.run(&["rehearse"]).exits(0);
    assert!(ran.stderr.contains("nothing to rehearse"), "{}", ran.stderr);
    let document = rehearsed(&world, &[], 0);
    assert_eq!(document["sets"], json!([]));
    world.git(&["remote", "remove", "origin"]);
    assert!(world.run(&["rehearse"]).exits(3).stderr.contains("remote"));
}

#[test]
fn every_finished_rehearsal_reports_its_sets() {
    let world = promoted();
    let summary = world.path("summary");
    for format in ["human", "json", "github"] {
        let _ = fs::remove_file(&summary);
        let env = [
            ("GITHUB_STEP_SUMMARY", summary.to_str().unwrap()),
            ("TZ", "CET-1"),
        ];
        let ran = world
            .run_with(&["rehearse", "--format", format, "-q"], &env)
            .exits(0);
        let written = fs::read_to_string(&summary).unwrap();
        for (text, zone) in [(&ran.stderr, "+01:00\n"), (&written, "Z")] {
            let (_, time) = text.split_once("; checked 20").unwrap();
            assert!(time.contains(zone), "{text}");
        }
        assert!(ran.stderr.contains("rehearse: 2 ready; "), "{}", ran.stderr);
        for revision in [REV_A, REV_B] {
            assert!(written.contains(&format!("{revision}: ready")), "{written}");
        }
    }
}

#[test]
fn each_set_is_printed_once_with_short_digests() {
    let world = promoted();
    world.layout("fix").untag(REV_B);
    let moved = Platform::new("linux/amd64", REV_B).label("moved", "yes");
    let whole = world.layout("fix").image(REV_B, &[moved]);
    let ran = world.run(&["rehearse"]).exits(1);
    let printed = format!("{}{}", ran.stdout, ran.stderr);
    for revision in [REV_A, REV_B] {
        let lines = printed.lines();
        let of_set = lines.filter(|line| line.starts_with(&revision[..12]));
        assert_eq!(of_set.count(), 1, "{printed}");
        assert!(!ran.stderr.contains(revision), "{printed}");
    }
    assert!(printed.contains(&whole[..19]), "{printed}");
    assert!(!printed.contains(&whole), "{printed}");
    assert!(
        printed.contains("rehearse: 1 ready, 1 failed; checked "),
        "{printed}"
    );
    let document = rehearsed(&world, &[], 1);
    assert!(document.to_string().contains(&whole), "{document}");
}

/// The images of a world in a registry, and the option that selects it.
fn in_registry(world: &World, revisions: &[&str]) -> (tempfile::TempDir, Registry, String) {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path(), &Protection::None);
    for revision in revisions {
        for image in ["review", "fix", "base"] {
            push_layout(&world.path("images"), &registry, image, revision);
        }
    }
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host);
    (directory, registry, source)
}

#[test]
fn shared_content_is_read_once() {
    // The copies of the contract in the later sets have another length.
    let contract = format!("{CONTRACT}# checked\n");
    let mut world = shop();
    for revision in [REV_B, REV_C] {
        for image in ["review", "fix", "base"] {
            let names = if image == "review" {
                &["linux/amd64", "linux/arm64"][..]
            } else {
                &["linux/amd64"]
            };
            let platform = |name: &&'static str| {
                Platform::new(name, revision)
                    .label("dev.acme.version", "1")
                    .label("dev.acme.image", image)
                    .gzipped(base())
                    .layer(agents(&contract).end())
            };
            let platforms: Vec<_> = names.iter().map(platform).collect();
            world.rebuild(image, revision, &platforms);
        }
    }
    let world = world.with_git();
    world.adopt(REV_A);
    world.write("contracts/review.yaml", &contract);
    world.commit("contract");
    world.promoted(REV_B);
    world.promoted(REV_C);
    let (_directory, registry, source) = in_registry(&world, &[REV_A, REV_B, REV_C]);
    let before = registry.requests().len();
    let document = rehearsed(&world, &["--source", &source], 0);
    assert_eq!(verdicts(&document), [[REV_B, "ready"], [REV_A, "ready"]]);
    let requests = registry.requests().split_off(before);
    let base_layer = |revision| {
        let manifest = world.layout("fix").blob_path(world.digest("fix", revision));
        let manifest: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
        manifest["layers"][1]["digest"].as_str().unwrap().to_owned()
    };
    let shared = base_layer(REV_A);
    assert_eq!(shared, base_layer(REV_B));
    let reads = |part: &str| {
        let matching = requests.iter();
        matching
            .filter(|request| request.starts_with("GET") && request.contains(part))
            .count()
    };
    assert_eq!(reads(&shared), 1, "{requests:#?}");
    let is_lookup = |line: &&String| line.starts_with("HEAD") && line.contains("/blobs/");
    // The check of contents looks up layers that another repository has, too.
    let mut lookups: Vec<&String> = requests.iter().filter(is_lookup).collect();
    lookups.sort();
    let mut thrice = lookups.windows(3).filter(|lines| lines[0] == lines[2]);
    assert_eq!(thrice.next(), None);
    for revision in [REV_A, REV_B, REV_C] {
        for image in ["review", "fix"] {
            let part = format!("{image}/manifests/{}", world.digest(image, revision));
            assert!(reads(&part) <= 1, "{part}: {requests:#?}");
        }
    }
    assert_eq!(
        reads(&format!("fix/manifests/{}", world.digest("fix", REV_C))),
        1
    );
}

#[test]
fn nightly_example_rehearses() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let workflow = root.join("examples/nightly/.github/workflows/rehearse.yml");
    let workflow = fs::read_to_string(workflow).unwrap();
    let command = workflow
        .lines()
        .find_map(|line| line.trim().strip_prefix("- run: repin "))
        .unwrap();
    let args: Vec<_> = command.split(" #").next().unwrap().split(' ').collect();
    let ran = promoted().run(&args).exits(0);
    assert!(ran.stderr.contains(": 2 ready;"), "{}", ran.stderr);
}

#[test]
fn prune_protects_the_sets_of_a_rehearsal() {
    let world = promoted();
    let block = "prune: { older_than: 1d, untagged: true }\n";
    world.write("repin.yaml", world.read("repin.yaml") + block);
    world.commit("prune");
    world.push();
    let (_directory, registry, source) = in_registry(&world, &[REV_A, REV_B, REV_C]);
    push(&registry, "acme/fix", &[("pending-1", &old("one"))]);
    push(&registry, "acme/review", &[("pending-2", &old("two"))]);
    let ran = world
        .run(&["prune", "--apply", "--source", &source])
        .exits(0);
    for tag in ["tags=pending-1", "tags=pending-2"] {
        assert!(ran.stderr.contains(tag), "{}", ran.stderr);
    }
    let document = rehearsed(&world, &["--source", &source], 0);
    assert_eq!(verdicts(&document), [[REV_B, "ready"], [REV_A, "ready"]]);
}

/// Removes a file of a repository from the storage of a registry.
fn remove(storage: &tempfile::TempDir, path: &str) {
    let repositories = "data/docker/registry/v2/repositories/acme";
    fs::remove_dir_all(storage.path().join(repositories).join(path)).unwrap();
}

#[test]
fn lost_tag_of_a_set_warns_with_the_tag() {
    let world = promoted();
    let (storage, _registry, source) = in_registry(&world, &[REV_A, REV_B, REV_C]);
    remove(&storage, &format!("fix/_manifests/tags/{REV_B}"));
    // The manifest of this image is lost, too.
    let lost = &world.digest("fix", REV_A)[7..];
    remove(&storage, &format!("fix/_manifests/tags/{REV_A}"));
    remove(&storage, &format!("fix/_manifests/revisions/sha256/{lost}"));
    let document = rehearsed(&world, &["--source", &source], 1);
    assert_eq!(verdicts(&document), [[REV_B, "fails"], [REV_A, "fails"]]);
    for set in [0, 1] {
        assert_eq!(failed(&document["sets"][set]), ["tag_missing"]);
    }
    let rows = |set: usize| {
        let rows = document["sets"][set]["checks"].as_array().unwrap().clone();
        let rows = rows.into_iter();
        rows.filter(|row| row["code"] == "pin_untagged")
            .collect::<Vec<_>>()
    };
    let digest = world.digest("fix", REV_B);
    let [row] = &rows(0)[..] else {
        panic!("{document}");
    };
    assert_eq!(
        (&row["status"], &row["image"]),
        (&json!("warn"), &json!("fix"))
    );
    let detail = format!("no tag resolves to the pinned digest ghcr.io/acme/fix@{digest}: ");
    assert!(
        row["detail"].as_str().unwrap().starts_with(&detail),
        "{row}"
    );
    let command = format!("prune restore --image fix --digest {digest} --tag {REV_B} --apply");
    let help = format!("set the tag {REV_B} again: repin {command}");
    assert_eq!(row["help"], help);
    assert_eq!(rows(1), [] as [Value; 0]);
    let mut restore: Vec<&str> = command.split(' ').collect();
    restore.extend(["--source", &source]);
    world.run(&restore).exits(0);
    let document = rehearsed(&world, &["--source", &source], 1);
    assert_eq!(verdicts(&document), [[REV_B, "ready"], [REV_A, "fails"]]);

    // A tag that was moved keeps nothing either, and is not moved back.
    let link = |revision: &str| {
        let path = format!("acme/fix/_manifests/tags/{revision}/current/link");
        storage
            .path()
            .join("data/docker/registry/v2/repositories")
            .join(path)
    };
    std::fs::write(link(REV_B), world.digest("fix", REV_C)).unwrap();
    let document = rehearsed(&world, &["--source", &source], 1);
    assert_eq!(
        failed(&document["sets"][0]),
        ["digest_mismatch", "revision_label"]
    );
    let rows = document["sets"][0]["checks"].as_array().unwrap();
    let mut warnings = rows.iter().filter(|row| row["code"] == "pin_untagged");
    let help = "put a tag on the digest, so that nothing deletes it";
    assert_eq!(warnings.next().unwrap()["help"], help, "{document}");
}

#[test]
fn lost_tag_on_docker_hub_is_not_compared() {
    let world = promoted_on("docker.io");
    let (storage, registry, source) = in_registry(&world, &[REV_A, REV_B, REV_C]);
    let source = source.replace("ghcr.io", "docker.io");
    remove(&storage, &format!("fix/_manifests/tags/{REV_B}"));
    let before = registry.requests().len();
    let document = rehearsed(&world, &["--source", &source], 1);
    assert_eq!(verdicts(&document), [[REV_B, "fails"], [REV_A, "ready"]]);
    let set = &document["sets"][0];
    assert_eq!(failed(set), ["tag_missing"]);
    assert!(!set.to_string().contains("pin_untagged"), "{set}");
    let requests = registry.requests().split_off(before);
    let is_list = |line: &&String| line.contains("tags/list");
    assert_eq!(requests.iter().find(is_list), None);
}

#[test]
fn listed_sets_are_tested_with_two_requests_each() {
    let world = promoted();
    let (_directory, registry, source) = in_registry(&world, &[REV_A, REV_B, REV_C]);
    let tested =
        |args: &[&str]| world.run(&[&["rollback", "--remote", "--source", &source], args].concat());
    let ready = |document: &Value| {
        let entries = document["entries"].as_array().unwrap().iter();
        entries
            .map(|entry| entry["ready"].clone())
            .collect::<Vec<_>>()
    };
    let before = registry.requests().len();
    let document = tested(&["--format", "json"]).exits(0).json();
    assert_eq!(ready(&document), [json!(null), json!(true), json!(true)]);
    let requests = registry.requests().split_off(before);
    assert!(requests.len() <= 2 * 2 * 2, "{requests:#?}");
    assert!(
        requests.iter().all(|request| request.starts_with("HEAD")),
        "{requests:#?}"
    );
    // The tag moves; then the digest is deleted.
    push(&registry, "acme/fix", &[(REV_B, &old("moved"))]);
    let document = tested(&["--format", "json"]).exits(0).json();
    assert_eq!(ready(&document), [json!(null), json!(false), json!(true)]);
    let image = format!(
        "docker://{}/acme/review@{}",
        registry.host,
        world.digest("review", REV_A)
    );
    run("skopeo", &["delete", "--tls-verify=false", &image]);
    let human = tested(&[]).exits(0);
    assert!(
        human.stdout.contains("TIME               READY  AUTHOR"),
        "{}",
        human.stdout
    );
    assert_eq!(
        human.stdout.matches("2026-01-02 03:04Z  no ").count(),
        2,
        "{}",
        human.stdout
    );
    assert_eq!(
        human.stdout.matches("2026-01-02 03:04Z  - ").count(),
        1,
        "{}",
        human.stdout
    );
    drop(registry);
    let env = [("REPIN_HTTP_ATTEMPTS", "1")];
    let args = ["rollback", "--remote", "--source", &source];
    let unread = world.run_with(&args, &env).exits(3);
    assert_eq!(
        unread.stdout.matches("2026-01-02 03:04Z  ? ").count(),
        2,
        "{}",
        unread.stdout
    );
    assert!(
        unread.stderr.contains("error[unavailable]: "),
        "{}",
        unread.stderr
    );
    world.run(&["rollback", "--remote", "--to", REV_A]).exits(2);
    let listed = world.run(&["rollback", "--format", "json"]).exits(0).json();
    assert_eq!(ready(&listed), [json!(null), json!(null), json!(null)]);
}

#[test]
fn set_without_its_manifest_is_not_ready() {
    let world = promoted();
    let manifest = world.layout("fix").blob_path(world.digest("fix", REV_A));
    let is_not_ready = || {
        let ran = world.run(&["rollback", "--remote", "--format", "json"]);
        let document = ran.exits(0).json();
        let entries = document["entries"].as_array().unwrap();
        let ready: Vec<_> = entries.iter().map(|entry| entry["ready"].clone()).collect();
        assert_eq!(
            ready,
            [json!(null), json!(true), json!(false)],
            "{document}"
        );
    };
    // The bytes of another manifest.
    let other = world.layout("fix").blob_path(world.digest("fix", REV_B));
    fs::copy(other, &manifest).unwrap();
    is_not_ready();
    fs::remove_file(manifest).unwrap();
    is_not_ready();
}

#[test]
fn doctor_warns_of_a_missing_rehearsal() {
    let line = |world: &World| {
        let document = world.run(&["doctor", "--format", "json"]).json();
        let checks = document["checks"].as_array().unwrap().clone();
        let mut lines = checks
            .into_iter()
            .filter(|check| check["code"] == "rehearsal");
        let line = lines.next().unwrap();
        assert!(lines.next().is_none());
        line
    };
    let one_set = world().with_git();
    one_set.adopt(REV_A);
    one_set.push();
    assert_eq!(line(&one_set)["status"], "pass");
    let world = promoted();
    let warned = line(&world);
    assert_eq!(warned["status"], "warn");
    assert!(
        warned["detail"].as_str().unwrap().contains("3 sets"),
        "{warned}"
    );
    world.write("repin.yaml", world.read("repin.yaml") + "rehearse: {}\n");
    assert_eq!(line(&world)["status"], "pass");
    world.write("repin.yaml", "version: 9\n");
    assert_eq!(line(&world)["status"], "skip");
}

/// The key of the first issue's comments: GitLab numbers issues apart from merge requests.
fn issue_comments(kind: Kind) -> u64 {
    if kind == Kind::Gitlab { 1_000_001 } else { 1 }
}

/// The world with a forge and an issue.
fn hosted(kind: Kind) -> (World, FakeForge) {
    let (world, fake) = (promoted(), FakeForge::start(kind));
    let forge = kind.name();
    let blocks = format!(
        "forge: {{ kind: {forge}, url: '{}', repository: acme/flows, base: main }}\nrehearse: {{ issue: {{ title: '{TITLE}', labels: [ops] }} }}\n",
        fake.api()
    );
    world.write("repin.yaml", world.read("repin.yaml") + &blocks);
    world.commit("rehearse");
    world.push();
    (world, fake)
}

fn apply(world: &World, args: &[&str]) -> Ran {
    world.run_with(
        &[&["rehearse", "--apply"], args].concat(),
        &[("REPIN_FORGE_TOKEN", TOKEN)],
    )
}

#[test]
fn failing_set_opens_one_issue() {
    for kind in one_of(FORGES) {
        let (mut world, fake) = hosted(kind);
        apply(&world, &[]).exits(0);
        assert!(fake.store().open_issues().is_empty());
        world.layout("fix").untag(REV_B);
        let ran = apply(&world, &[]).exits(1);
        assert!(ran.stderr.contains("issue #1 created"), "{}", ran.stderr);
        let issue = fake.store().issues[0].clone();
        assert_eq!(
            (issue.title.as_str(), issue.labels),
            (TITLE, vec!["ops".to_owned()])
        );
        assert!(
            issue.body.contains(r"tag\_missing") && issue.body.contains("last checked: "),
            "{}",
            issue.body
        );
        // Another reason.
        let moved = [Platform::new("linux/amd64", REV_B).label("moved", "yes")];
        let digest = world.digest("fix", REV_B).to_owned();
        world.rebuild("fix", REV_B, &moved);
        apply(&world, &[]).exits(1);
        let body = fake.store().issues[0].body.clone();
        assert!(
            body.contains(r"digest\_mismatch") && !body.contains("missing"),
            "{body}"
        );
        let layout = world.layout("fix");
        layout.untag(REV_B);
        layout.add(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": fs::metadata(layout.blob_path(&digest)).unwrap().len(),
            "annotations": {"org.opencontainers.image.ref.name": REV_B},
        }));
        // A run for fewer sets proves too little.
        for args in [&["--last", "1"][..], &["--to", REV_B], &["--last", "0"]] {
            let ran = apply(&world, args).exits(0);
            assert!(ran.stderr.contains("issue #1 updated"), "{}", ran.stderr);
        }
        let ran = apply(&world, &[]).exits(0);
        assert!(ran.stderr.contains("issue #1 closed"), "{}", ran.stderr);
        assert!(fake.store().open_issues().is_empty(), "{kind:?}");
        let comments = fake.store().comments[&issue_comments(kind)].clone();
        assert!(
            comments.len() == 1 && comments[0].contains("ready for rollback: 2 sets"),
            "{comments:?}"
        );
    }
}

#[test]
fn unknown_set_neither_opens_nor_closes_the_issue() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind);
        let blob = world.layout("fix").blob_path(world.digest("fix", REV_A));
        let manifest = fs::read(&blob).unwrap();
        make_unavailable(&world, "fix", REV_A);
        apply(&world, &[]).exits(0);
        assert!(fake.store().open_issues().is_empty(), "{kind:?}");
        world.layout("fix").untag(REV_B);
        apply(&world, &[]).exits(1);
        let body = || fake.store().issues[0].body.clone();
        for run in 2..=4 {
            apply(&world, &[]).exits(1);
            let mention = format!("unknown in {run} consecutive runs");
            assert_eq!(body().contains(&mention), run >= 3, "{}", body());
        }
        fs::remove_dir(&blob).unwrap();
        fs::write(&blob, manifest).unwrap();
        apply(&world, &[]).exits(1);
        assert!(!body().contains("consecutive"), "{}", body());
        make_unavailable(&world, "fix", REV_A);
        apply(&world, &[]).exits(1);
        assert!(!body().contains("consecutive"), "{}", body());
        assert_eq!(fake.store().open_issues().len(), 1);
    }
}

#[test]
fn issue_needs_its_configuration_and_permission() {
    let world = promoted();
    let ran = world.run(&["rehearse", "--apply"]).exits(2);
    assert!(ran.stderr.contains("rehearse.issue"), "{}", ran.stderr);
    let (world, fake) = hosted(Kind::Github);
    world.run(&["rehearse", "--apply"]).exits(4);
    fake.forget();
    world.layout("fix").untag(REV_B);
    let env = [("REPIN_FORGE_TOKEN", TOKEN), ("REPIN_DRY_RUN", "true")];
    world.run_with(&["rehearse", "--apply"], &env).exits(1);
    let mut asked = fake.asked();
    // The history of a verdict is that on the forge.
    asked.retain(|request| !request.contains(".git/"));
    assert_eq!(
        asked,
        [] as [String; 0],
        "a dry run sends no request to the API"
    );
}
