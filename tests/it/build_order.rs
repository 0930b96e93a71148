//! The order of builds: ancestry in the clone and in `source`, the history of the set, and creation times.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use serde_json::Value;

use super::support::{
    fake, fleet,
    forge::{
        Kind, TOKEN,
        server::Server,
        thousand::{Logged, Thousand},
    },
    hosted::FORGES,
    layout::Platform,
    world::{CONFIG, REV_A, REV_B, REV_C, Ran, World, failed, git, world},
};

/// The status, the item and the detail of `revision_order`.
fn order(document: &Value) -> (String, Option<String>, String) {
    let checks = document["checks"].as_array().unwrap();
    let mut found = checks
        .iter()
        .filter(|check| check["code"] == "revision_order");
    let check = found.next().unwrap_or_else(|| panic!("{document:#}"));
    assert!(found.next().is_none(), "{document:#}");
    let text = |key: &str| check[key].as_str().map(str::to_owned);
    (
        text("status").unwrap(),
        text("item"),
        text("detail").unwrap(),
    )
}

fn status_and_item(document: &Value) -> (String, Option<String>) {
    let (status, item, _) = order(document);
    (status, item)
}

fn expected(status: &str, item: &str) -> (String, Option<String>) {
    (status.to_owned(), Some(item.to_owned()))
}

fn promote(world: &World, revision: &str, further: &[&str]) -> Ran {
    let args = ["--format=json", "promote", "--revision", revision];
    world.run(&[&args[..], further].concat())
}

/// A repository with a branch `other` that left `main` before the last commit: early, late, other.
fn source(directory: &Path) -> [&'static str; 3] {
    std::fs::create_dir_all(directory).unwrap();
    let run = |args: &[&str]| git(directory, args);
    run(&["init", "-q", "-b", "main"]);
    let commit = |name: &str| -> &'static str {
        run(&["commit", "-q", "--allow-empty", "-m", name]);
        run(&["rev-parse", "HEAD"]).leak()
    };
    let early = commit("early");
    run(&["switch", "-q", "-c", "other"]);
    let other = commit("other");
    run(&["switch", "-q", "main"]);
    // Branches of every common name.
    run(&["branch", "master"]);
    [early, commit("late"), other]
}

/// Two commits of a repository that a server may serve as files: early, late.
fn served_source(directory: &Path) -> [&'static str; 2] {
    let [early, late, _] = source(directory);
    git(directory, &["gc", "-q"]);
    git(directory, &["update-server-info"]);
    [early, late]
}

/// A world with images that are built from these commits and pinned at `pinned`, with `further` in
/// its configuration.
fn built(revisions: &[&'static str], pinned: &'static str, further: &str) -> World {
    let mut world = World::empty();
    for revision in revisions {
        world.build(revision);
    }
    let at = CONFIG.find("images:").unwrap();
    let config = format!("{}{further}\n{}", &CONFIG[..at], &CONFIG[at..]);
    world.write("repin.yaml", config);
    world.pin(pinned);
    let world = world.with_git();
    world.adopt(pinned);
    world.push();
    world
}

#[test]
fn source_orders_builds_of_another_repository() {
    let directory = tempfile::tempdir().unwrap();
    let app = directory.path().join("app");
    let [early, late, other] = source(&app);
    for location in [
        app.to_str().unwrap().to_owned(),
        format!("file://{}", app.display()),
    ] {
        let further = format!("source: '{location}'");
        let world = built(&[early, late, other], late, &further);
        let ran = promote(&world, early, &[]).exits(1);
        let (status, item, detail) = order(&ran.json());
        assert_eq!((status, item), expected("fail", "source"));
        assert!(detail.contains(late) && detail.contains(early), "{detail}");
        let document = promote(&world, early, &["--allow-older"]).exits(0).json();
        assert_eq!(status_and_item(&document), expected("warn", "source"));
        // A build of another line is not older.
        let document = promote(&world, other, &[]).exits(0).json();
        assert_eq!(status_and_item(&document), expected("pass", "source"));
    }
}

#[test]
fn relative_source_is_below_the_root() {
    // The text before a colon is a host only without a slash.
    for path in ["app", "with:colon"] {
        let mut world = World::empty();
        let [early, late, _] = source(&world.path(path));
        for revision in [early, late] {
            world.build(revision);
        }
        world.write("repin.yaml", format!("{CONFIG}source: './{path}'\n"));
        world.write(".gitignore", format!("/{path}\n"));
        world.pin(late);
        let world = world.with_git();
        world.adopt(late);
        world.push();
        world.write("elsewhere/file", "");
        let config = ["--config", "../repin.yaml"];
        let args = ["--format=json", "promote", "--revision", early];
        let args = [&args[..], &config].concat();
        let ran = world.run_in(&world.path("elsewhere"), &args, &[]);
        let document = ran.exits(1).json();
        assert_eq!(status_and_item(&document), expected("fail", "source"));
    }
}

#[test]
fn unreadable_source_stops_a_promotion() {
    for location in ["/nonexistent/app", "./app"] {
        let world = built(&[REV_A, REV_B], REV_A, &format!("source: {location}"));
        let ran = promote(&world, REV_B, &[]).exits(3);
        let message = ran.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(location), "{message}");
        let document = promote(&world, REV_B, &["--allow-older"]).exits(0).json();
        let (status, item, detail) = order(&document);
        assert_eq!((&*status, item), ("warn", None));
        assert!(detail.ends_with("; allowed by --allow-older"), "{detail}");
    }
}

#[test]
fn shallow_source_is_unreadable() {
    let directory = tempfile::tempdir().unwrap();
    let [early, late, _] = source(&directory.path().join("app"));
    for options in [&["--depth=1"][..], &["--depth=1", "--no-single-branch"]] {
        let shallow = directory.path().join(options.len().to_string());
        let url = format!("file://{}/app", directory.path().display());
        let args = ["clone", "-q", &url, shallow.to_str().unwrap()];
        git(
            directory.path(),
            &[&args[..2], options, &args[2..]].concat(),
        );
        let further = format!("source: '{}'", shallow.display());
        let world = built(&[early, late], late, &further);
        let document = promote(&world, early, &[]).exits(3).json();
        let message = document["error"]["message"].as_str().unwrap();
        assert!(message.contains("shallow"), "{message}");
    }
}

#[test]
fn unconfigured_forge_receives_no_token() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let server = Server::start(move |request| {
        log.lock().unwrap().push(request.clone());
        None
    });
    let further = format!(
        "source: {}/acme/app\nforge: {{ kind: gitea, url: 'http://127.0.0.1:9/api/v1', repository: acme/x }}",
        server.url()
    );
    let world = built(&[REV_A, REV_B], REV_A, &further).env("REPIN_FORGE_TOKEN", TOKEN);
    promote(&world, REV_B, &[]).exits(3);
    let asked = asked.lock().unwrap();
    assert!(!asked.is_empty());
    for request in asked.iter() {
        assert!(!format!("{request:?}").contains(TOKEN), "{request:?}");
        assert!(request.path.ends_with("/info/refs"), "{request:?}");
    }
}

#[test]
fn unknown_order_warns_unless_it_is_required() {
    let directory = tempfile::tempdir().unwrap();
    let [_, late, _] = source(directory.path());
    let source = format!("source: '{}'", directory.path().display());
    let world = built(&[late, REV_B], late, &source);
    let document = promote(&world, REV_B, &[]).exits(0).json();
    let (status, item, detail) = order(&document);
    assert_eq!((&*status, item), ("warn", None));
    assert!(detail.contains("is not a commit of"), "{detail}");
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "revision: { order: require }\n",
    );
    let document = promote(&world, REV_B, &[]).exits(1).json();
    assert_eq!(order(&document).0, "fail");
    let document = promote(&world, REV_B, &["--allow-older"]).exits(0).json();
    assert_eq!(order(&document).0, "warn");
}

#[test]
fn set_that_was_current_before_is_older() {
    let world = built(&[REV_A, REV_B, REV_C], REV_A, "");
    for revision in [REV_B, REV_C] {
        world.promoted(revision);
    }
    let ran = promote(&world, REV_A, &[]).exits(1);
    assert_eq!(status_and_item(&ran.json()), expected("fail", "history"));
    let checks = ran.json()["checks"].clone();
    let help = checks.to_string();
    assert!(
        help.contains(&format!("repin rollback --to {REV_A}")),
        "{help}"
    );
    // The set that a rollback undid is held instead.
    world.run(&["rollback", "--to", REV_B, "--apply"]).exits(0);
    world.commit(&format!("rollback: test images @{REV_B}"));
    world.push();
    let document = promote(&world, REV_C, &[]).exits(1).json();
    assert_eq!(failed(&document), ["rolled_back"]);
}

/// Rolls back to a revision, commits and pushes.
fn rolled_back(world: &World, revision: &str) {
    world
        .run(&["rollback", "--to", revision, "--apply"])
        .exits(0);
    world.commit(&format!("rollback: test images @{revision}"));
    world.push();
}

#[test]
fn rollback_of_an_older_set_restores_the_order() {
    let revisions = [REV_A, REV_B, REV_C];
    let world = built(&revisions, REV_A, "");
    world.promoted(REV_B);
    world
        .run(&["promote", "--revision", REV_A, "--apply", "--allow-older"])
        .exits(0);
    world.commit(&format!("promote: test images @{REV_A}"));
    world.push();
    rolled_back(&world, REV_B);
    let document = promote(&world, REV_A, &[]).exits(1).json();
    assert_eq!(status_and_item(&document), expected("fail", "history"));
}

#[test]
fn other_sets_end_no_hold() {
    let directory = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| git(directory.path(), args);
    run(&["init", "-q", "-b", "main"]);
    let commits: [&'static str; 4] = ["1", "2", "3", "4"].map(|name| {
        run(&["commit", "-q", "--allow-empty", "-m", name]);
        &*run(&["rev-parse", "HEAD"]).leak()
    });
    let [one, two, three, four] = commits;
    let source = format!("source: '{}'", directory.path().display());
    let world = built(&commits, one, &source);
    world.promoted(three);
    rolled_back(&world, one);
    world.promoted(two);
    for revision in [three, "newest"] {
        let document = promote(&world, revision, &[]);
        if revision == "newest" {
            assert_eq!(document.exits(0).json()["revision"], four);
        } else {
            assert_eq!(failed(&document.exits(1).json()), ["rolled_back"]);
        }
    }
    let builds = world.run(&["builds", "--format", "json"]).exits(0).json();
    let rows = builds["builds"].as_array().unwrap();
    let held = rows.iter().find(|row| row["revision"] == three).unwrap();
    assert_eq!(held["state"], "held");
    // A newer set does not end the hold either.
    world.promoted(four);
    let document = promote(&world, three, &[]).exits(1).json();
    assert_eq!(failed(&document), ["revision_order", "rolled_back"]);
}

/// Pins a set in a commit that records another one.
fn record(world: &World, revision: &str, recorded: &str) {
    world
        .run(&["promote", "--revision", revision, "--apply"])
        .exits(0);
    world.commit(&format!("Deploy\n\nRepin-Set: {recorded}"));
    world.push();
}

#[test]
fn digests_do_not_belong_to_a_wrong_record() {
    let directory = tempfile::tempdir().unwrap();
    let [early, late, other] = source(directory.path());
    let further = format!("source: '{}'", directory.path().display());
    let world = built(&[early, late, other, REV_C], other, &further);
    record(&world, late, early);
    let document = promote(&world, early, &[]).exits(1).json();
    assert_eq!(status_and_item(&document), expected("fail", "source"));
    // A promotion of the same images does not change the set.
    let document = promote(&world, late, &[]).exits(0).json();
    assert_eq!(order(&document).0, "pass", "{document:#}");
    assert_eq!(document["changed"], false);
    // The label is not a commit of the source, and the recorded revision was current before.
    record(&world, REV_C, early);
    let document = promote(&world, early, &[]).exits(1).json();
    assert_eq!(status_and_item(&document), expected("fail", "history"));
    // Without commits, the order is unknown.
    let world = built(&[REV_A, REV_B, REV_C], REV_A, "");
    record(&world, REV_C, REV_B);
    let document = promote(&world, REV_B, &[]).exits(0).json();
    assert_eq!(order(&document).0, "warn", "{document:#}");
}

#[test]
fn build_older_than_the_label_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let [early, middle, _] = source(directory.path());
    git(
        directory.path(),
        &["commit", "-q", "--allow-empty", "-m", "latest"],
    );
    let latest: &'static str = git(directory.path(), &["rev-parse", "HEAD"]).leak();
    let further = format!("source: '{}'", directory.path().display());
    for recorded in [early, middle, latest] {
        let world = built(&[early, middle, latest], early, &further);
        record(&world, latest, recorded);
        let ran = promote(&world, middle, &[]).exits(1);
        assert_eq!(status_and_item(&ran.json()), expected("fail", "source"));
        let (_, _, detail) = order(&ran.json());
        assert!(detail.contains(latest), "{detail}");
        promote(&world, middle, &["--allow-older"]).exits(0);
    }
}

#[test]
fn recorded_revision_precedes_the_label() {
    let directory = tempfile::tempdir().unwrap();
    let [early, late, _] = source(directory.path());
    let mut world = World::empty();
    world.build(early);
    for image in ["review", "fix", "base"] {
        world.rebuild_whole(image, REV_C, Platform::new("linux/amd64", late));
    }
    let source = format!("source: '{}'\n", directory.path().display());
    world.write("repin.yaml", CONFIG.to_owned() + &source);
    world.pin(REV_C);
    let world = world.with_git();
    world.adopt(REV_C);
    world.push();
    // The source contains the revision of the label, but not the recorded one.
    let document = promote(&world, early, &[]).exits(0).json();
    assert_eq!(order(&document).0, "warn", "{document:#}");
}

#[test]
fn shallow_clone_is_ordered_by_its_source() {
    let world = World::empty();
    world.write("repin.yaml", CONFIG);
    let mut world = world.with_git();
    let [early, late]: [&'static str; 2] =
        ["early", "late"].map(|title| &*world.commit(title).leak());
    world.push();
    // The creation times contradict the commits.
    build_at(&mut world, early, &all_at("2026-03-02T00:00:00Z"));
    build_at(&mut world, late, &all_at("2026-03-01T00:00:00Z"));
    let source = format!("source: '{}'\n", world.path("origin.git").display());
    world.write("repin.yaml", CONFIG.to_owned() + &source);
    world.pin(late);
    world.commit(&format!("promote: test images @{late}"));
    world.push();
    world.write(".git/shallow", format!("{late}\n"));
    let document = world.run(&["builds", "--format", "json"]).exits(0).json();
    let builds = document["builds"].as_array().unwrap().iter();
    let revisions: Vec<_> = builds
        .map(|build| build["revision"].as_str().unwrap())
        .collect();
    assert_eq!(revisions, [late, early], "{document:#}");
}

#[test]
fn squash_merge_records_its_last_promotion() {
    let revisions = [REV_A, REV_B, REV_C];
    for title in ["Deploy", &format!("promote: test images @{REV_B}")] {
        let world = built(&revisions, REV_A, "");
        for revision in [REV_B, REV_C] {
            world
                .run(&["promote", "--revision", revision, "--apply"])
                .exits(0);
        }
        world.commit(&format!(
            "{title} (#7)\n\n* promote: test images @{REV_B}\n\nRepin-Set: {REV_B}\n\n* promote: test images @{REV_C}\n\nRepin-Set: {REV_C}"
        ));
        world.push();
        let status = world.run(&["status", "--format", "json"]).exits(0).json();
        assert_eq!(status["set"]["revision"], REV_C, "{status:#}");
        // The first one was never current.
        let document = world.run(&["rollback", "--to", REV_B, "--format", "json"]);
        assert_eq!(failed(&document.exits(1).json()), ["provenance_title"]);
    }
}

#[test]
fn number_is_no_abbreviated_commit() {
    let directory = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| git(directory.path(), args);
    run(&["init", "-q", "-b", "main"]);
    // A commit with a number as its first seven digits, and a descendant.
    let mut numbers: Vec<&'static str> = Vec::new();
    for count in 0.. {
        run(&["commit", "-q", "--allow-empty", "-m", &count.to_string()]);
        let digits = run(&["rev-parse", "--short=7", "HEAD"]);
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            numbers.push(digits.leak());
        }
        if numbers.len() == 2 {
            break;
        }
    }
    let [ancestor, descendant] = numbers[..] else {
        unreachable!()
    };
    let further = format!(
        "source: '{}'\nrevision: {{ pattern: '[0-9]{{7}}' }}",
        directory.path().display()
    );
    let world = built(&[ancestor, descendant], descendant, &further);
    let document = promote(&world, ancestor, &[]).exits(0).json();
    assert_eq!(order(&document).0, "warn", "{document:#}");
}

/// Builds a revision with the creation time of each image.
fn build_at(world: &mut World, revision: &'static str, times: &BTreeMap<&str, [&str; 2]>) {
    for (image, [amd64, arm64]) in times {
        let platforms = [("linux/amd64", amd64), ("linux/arm64", arm64)];
        let platforms = platforms.map(|(name, time)| Platform::new(name, revision).created(time));
        world.rebuild(image, revision, &platforms);
    }
}

/// The same creation time for both platforms of every image.
fn all_at(time: &str) -> BTreeMap<&str, [&str; 2]> {
    ["review", "fix", "base"]
        .map(|image| (image, [time; 2]))
        .into()
}

#[test]
fn creation_times_decide_at_last() {
    const T1: &str = "2026-03-01T00:00:00Z";
    const T2: &str = "2026-03-02T00:00:00Z";
    const T3: &str = "2026-03-03T01:00:00+02:00";
    const ZERO: &str = "1970-01-01T00:00:00Z";
    for (review, fix, result) in [
        ([T3, T3], [T3, T3], Some("pass")),
        ([T1, T1], [T1, T1], Some("fail")),
        // The latest platform counts.
        ([T1, T3], [T3, T1], Some("pass")),
        ([T1, T3], [T1, T1], None),
        ([T2, T2], [T2, T2], None),
        ([T2, T2], [T3, T3], None),
        ([ZERO, ZERO], [ZERO, ZERO], None),
        ([T3, "yesterday"], [T3, T3], None),
    ] {
        let mut world = World::empty();
        world.write("repin.yaml", CONFIG);
        // The image without pins does not count.
        let pinned = [("review", [T2, T1]), ("fix", [T2, T2]), ("base", [T3, T3])];
        let new = [("review", review), ("fix", fix), ("base", [T2, T2])];
        build_at(&mut world, REV_A, &pinned.into());
        build_at(&mut world, REV_B, &new.into());
        world.pin(REV_A);
        let world = world.with_git();
        world.adopt(REV_A);
        world.push();
        let exit = i32::from(result == Some("fail"));
        let document = promote(&world, REV_B, &[]).exits(exit).json();
        let found = status_and_item(&document);
        let expected = result.map_or(("warn".to_owned(), None), |status| {
            expected(status, "created")
        });
        assert_eq!(found, expected, "{review:?} {fix:?}");
    }
}

#[test]
fn creation_times_need_one_pinned_image_and_no_pull() {
    const EARLY: &str = "2026-03-01T00:00:00Z";
    const LATE: &str = "2026-03-02T00:00:00Z";
    let (early, late) = (all_at(EARLY), all_at(LATE));
    let files = [".github/workflows/a.yml", ".github/workflows/b.yml"];
    for (case, is_known) in [
        ("one", true),
        ("two", false),
        ("partly", true),
        ("docker.io", false),
        ("docker.io, one platform", true),
    ] {
        let mut world = World::empty();
        world.write("repin.yaml", CONFIG);
        build_at(&mut world, REV_C, &early);
        build_at(&mut world, REV_A, &early);
        build_at(&mut world, REV_B, &late);
        if case == "docker.io, one platform" {
            // The manifest that a check of the platforms reads is the image.
            for (revision, time) in [(REV_A, EARLY), (REV_B, LATE)] {
                for image in ["review", "fix", "base"] {
                    let platform = Platform::new("linux/amd64", revision).created(time);
                    world.rebuild(image, revision, &[platform]);
                }
            }
        }
        world.pin(REV_A);
        match case {
            "one" => {}
            // The pins of one image differ, so the direction is unknown.
            "two" => {
                let digests =
                    [REV_A, REV_C].map(|revision| world.digest("fix", revision).to_owned());
                let text = world.read(files[1]);
                assert!(text.contains(&digests[0]), "{text}");
                world.write(files[1], text.replacen(&digests[0], &digests[1], 1));
            }
            // One image has the new digest already.
            "partly" => {
                let tagged = format!("review:{REV_A}");
                for (path, name) in [
                    (files[0], "review"),
                    (files[0], &*tagged),
                    (files[1], "review"),
                ] {
                    let [from, to] = [REV_A, REV_B]
                        .map(|revision| format!("{name}@{}", world.digest("review", revision)));
                    world.replace(path, &from, &to);
                }
            }
            // Each platform of an index would be a pull.
            _ => {
                for path in ["repin.yaml", files[0], files[1]] {
                    world.replace(path, "ghcr.io/", "docker.io/");
                }
            }
        }
        let world = world.with_git();
        world.adopt(REV_A);
        world.push();
        let document = promote(&world, REV_B, &[]).json();
        let expected = if is_known {
            expected("pass", "created")
        } else {
            ("warn".to_owned(), None)
        };
        assert_eq!(status_and_item(&document), expected, "{case} {document:#}");
    }
}

#[test]
fn unreadable_pinned_image_gives_no_order() {
    let mut world = world();
    build_at(&mut world, REV_B, &all_at("2026-05-01T00:00:00Z"));
    let digest = world.digest("fix", REV_A).to_owned();
    let world = world.with_git();
    world.adopt(REV_A);
    world.push();
    let document = promote(&world, REV_B, &[]).exits(0).json();
    assert_eq!(status_and_item(&document), expected("pass", "created"));
    let hex = digest.strip_prefix("sha256:").unwrap();
    std::fs::remove_file(world.path(&format!("images/fix/blobs/sha256/{hex}"))).unwrap();
    let document = promote(&world, REV_B, &[]).exits(0).json();
    assert_eq!(order(&document).0, "warn");
}

#[test]
fn label_replaces_an_unrecorded_revision() {
    let directory = tempfile::tempdir().unwrap();
    let [early, late, _] = source(directory.path());
    let mut world = World::empty();
    for revision in [early, late] {
        world.build(revision);
    }
    let source = format!("source: '{}'\n", directory.path().display());
    world.write("repin.yaml", CONFIG.to_owned() + &source);
    world.pin(late);
    // Without git, and without a record in git.
    let document = promote(&world, early, &[]).exits(1).json();
    assert_eq!(status_and_item(&document), expected("fail", "source"));
    let world = world.with_git();
    let document = promote(&world, early, &[]).exits(1).json();
    assert_eq!(status_and_item(&document), expected("fail", "source"));
}

#[test]
fn versions_have_semver_precedence() {
    for (pinned, new, status) in [
        ("1.10.0", "1.9.0", "fail"),
        ("1.9.0", "1.10.0", "pass"),
        ("1.0.0", "1.0.0-rc.1", "fail"),
        ("1.0.0-rc.2", "1.0.0-rc.10", "pass"),
    ] {
        let further = "revision: { pattern: semver, tag: 'v{revision}' }";
        let mut world = World::empty();
        let at = CONFIG.find("images:").unwrap();
        world.write(
            "repin.yaml",
            format!("{}{further}\n{}", &CONFIG[..at], &CONFIG[at..]),
        );
        for revision in [pinned, new] {
            for image in ["review", "fix", "base"] {
                let tag: &'static str = format!("v{revision}").leak();
                world.rebuild_whole(image, tag, Platform::new("linux/amd64", revision));
            }
        }
        world.pin(format!("v{pinned}").leak());
        let world = world.with_git();
        world.adopt(pinned);
        world.push();
        let exit = i32::from(status == "fail");
        let document = promote(&world, new, &[]).exits(exit).json();
        assert_eq!(status_and_item(&document), expected(status, "semver"));
    }
}

/// A deployment repository on the forge, with images built from commits of its repository 0:
/// early, late and unrelated.
pub(crate) fn on_forge(forge: &Thousand, kind: Kind, source: &str) -> (World, [&'static str; 3]) {
    let revisions: [&'static str; 3] = {
        let mut store = forge.store(0);
        let early = store.push("main", "early", &[("a", "1")]);
        // A body lists at most 50 commits.
        for number in 0..260 {
            let number = number.to_string();
            store.push("main", &number, &[("a", &*number)]);
        }
        let late = store.push("main", "late", &[("a", "2")]);
        let unrelated = store.push_orphan("pages", "pages", &[("a", "3")]);
        [early, late, unrelated].map(|id| &*id.leak())
    };
    let kind = kind.name();
    let further = format!(
        "source: {source}\nforge: {{ kind: {kind}, url: '{}', repository: acme/app-0001 }}",
        forge.api()
    );
    let world = built(&revisions, revisions[1], &further);
    let head = world.head();
    forge.store(1).name_head("main", &head, world.root());
    (world, revisions)
}

#[test]
fn source_on_a_forge_orders_builds() {
    for kind in FORGES {
        for is_public in [false, true] {
            let mut options = fleet::options(kind, 2);
            options.public = is_public;
            let forge = Thousand::start(options);
            let (world, [early, late, unrelated]) = on_forge(&forge, kind, "acme/app-0000");
            let token = if is_public { "" } else { TOKEN };
            let world = world.env("REPIN_FORGE_TOKEN", token);
            let document = promote(&world, early, &[]).exits(1).json();
            assert_eq!(status_and_item(&document), expected("fail", "source"));
            let document = promote(&world, unrelated, &["--no-changes"]);
            let document = document.exits(0).json();
            assert_eq!(status_and_item(&document), expected("pass", "source"));
            let log = forge.log();
            let of_api = log.iter().filter(|request| !is_git(request));
            // The history of the deployment repository is that on the forge.
            let requests = of_api.count();
            let most = if kind == Kind::Gitlab { 3 } else { 2 };
            assert!(requests <= most, "{kind:?}: {requests} requests");
            // A commit that the source does not have.
            let mut world = world;
            world.build(REV_C);
            let document = promote(&world, REV_C, &[]).exits(0).json();
            assert_eq!(order(&document).0, "warn", "{kind:?} {late}");
        }
    }
}

#[test]
fn rollback_requests_no_order() {
    let forge = Thousand::start(fleet::options(Kind::Github, 2));
    let (world, [_, late, other]) = on_forge(&forge, Kind::Github, "acme/app-0000");
    let world = world.env("REPIN_FORGE_TOKEN", TOKEN);
    promote(&world, other, &["--apply"]).exits(0);
    world.commit(&format!("promote: test images @{other}"));
    world.push();
    let head = world.head();
    forge.store(1).name_head("main", &head, world.root());
    let before = forge.log().len();
    world
        .run(&["rollback", "--to", late, "--no-changes"])
        .exits(0);
    let log = forge.log();
    assert!(log[before..].iter().all(is_git), "{log:#?}");
}

/// Whether a request is that of git.
pub(crate) fn is_git(request: &Logged) -> bool {
    request.request.contains(".git/")
}

#[test]
fn git_fetches_source_that_token_cannot_read() {
    for kind in FORGES {
        let forge = Thousand::start(fleet::options(kind, 2));
        let (world, _) = on_forge(&forge, kind, "acme/hidden");
        let directory = tempfile::tempdir().unwrap();
        let [early, late, _] = source(&directory.path().join("acme/hidden.git"));
        let mut world = world.env("REPIN_FORGE_TOKEN", TOKEN);
        for revision in [early, late] {
            world.build(revision);
        }
        world.pin(late);
        world.commit(&format!("promote: test images @{late}"));
        world.push();
        // The URL of the server, redirected to a path.
        let server = forge.server.url();
        let config = format!(
            "[url \"{}/\"]\n\tinsteadOf = {server}/\n",
            directory.path().display()
        );
        world.write("no-home/.gitconfig", config);
        let document = promote(&world, early, &[]).exits(1).json();
        assert_eq!(status_and_item(&document), expected("fail", "source"));
    }
}

#[test]
fn git_fetches_private_source_once_with_its_token() {
    let directory = tempfile::tempdir().unwrap();
    let [early, late] = served_source(directory.path());
    let forge = fake::private_repository(directory.path().join(".git"), TOKEN);
    let further = format!(
        "source: acme/app\nforge: {{ kind: gitea, url: 'http://{}/api/v1', repository: acme/deploy }}",
        forge.host()
    );
    let world = built(&[early, late], late, &further);
    let document = promote(&world, early, &[]).exits(3).json();
    assert!(!document.to_string().contains(TOKEN));
    let world = world.env("REPIN_FORGE_TOKEN", TOKEN);
    let formats = "[init]\n\tdefaultObjectFormat = sha256\n\tdefaultRefFormat = reftable\n";
    world.write("no-home/.gitconfig", formats);
    let document = promote(&world, early, &[]).exits(1).json();
    assert_eq!(status_and_item(&document), expected("fail", "source"));
    // The order of the list and that of the selected build need one fetch, and no comparison by the forge.
    world.pin(early);
    world.adopt(early);
    world.push();
    let log = forge.log().len();
    let document = promote(&world, "newest", &[]).exits(0).json();
    assert_eq!(status_and_item(&document), expected("pass", "source"));
    assert_eq!(document["revision"], late);
    let requests = forge.log().split_off(log);
    let count = |path: &str| requests.iter().filter(|line| line.contains(path)).count();
    let counts = (count("app.git/info/refs"), count("/api/v1/repos/acme/app"));
    assert_eq!(counts, (1, 0), "{requests:#?}");
}

/// A configuration of git with a credential helper that makes the file `asked`.
fn configure_helper(world: &World) {
    let asked = world.path("asked");
    let config = format!(
        "[credential]\n\thelper = \"!touch '{}'; :\"\n",
        asked.display()
    );
    world.write("no-home/.gitconfig", config);
}

#[test]
fn forge_token_replaces_credential_helpers_for_a_source() {
    let directory = tempfile::tempdir().unwrap();
    let [early, late] = served_source(directory.path());
    let forge = fake::private_repository(directory.path().join(".git"), TOKEN);
    let further = format!(
        "source: acme/app\nforge: {{ kind: gitea, url: 'http://{}/api/v1', repository: acme/deploy }}",
        forge.host()
    );
    let world = built(&[early, late], late, &further);
    configure_helper(&world);
    let asked = world.path("asked");
    let order = |token: &str, exit| {
        let environment = [("REPIN_FORGE_TOKEN", token)];
        let ran = world.run_with(
            &["promote", "--revision", early, "--format", "json"],
            &environment,
        );
        ran.exits(exit).json()
    };
    assert_eq!(
        status_and_item(&order(TOKEN, 1)),
        expected("fail", "source")
    );
    assert!(!asked.exists(), "a credential helper was asked");
    // A token that does not suffice.
    order("gitea_other", 3);
    assert!(asked.exists());
}

#[test]
fn unavailable_source_on_a_forge_is_fetched_again() {
    let directory = tempfile::tempdir().unwrap();
    let [early, late] = served_source(directory.path());
    let forge = fake::late_repository(directory.path().join(".git"), 1);
    let further = format!(
        "source: acme/app\nforge: {{ kind: gitea, url: 'http://{}/api/v1', repository: acme/deploy }}",
        forge.host()
    );
    let world = built(&[early, late], late, &further);
    let document = promote(&world, early, &[]).exits(1).json();
    assert_eq!(status_and_item(&document), expected("fail", "source"));
    assert_eq!(forge.count("app.git/info/refs"), 2, "{:?}", forge.log());
}

#[test]
fn source_is_not_fetched_again_after_the_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let [early, late] = served_source(directory.path());
    let forge = fake::late_repository(directory.path().join(".git"), 1);
    let further = format!(
        "source: acme/app\nforge: {{ kind: gitea, url: 'http://{}/api/v1', repository: acme/deploy }}",
        forge.host()
    );
    let world = built(&[early, late], late, &further).env("REPIN_DEADLINE", "0s");
    promote(&world, early, &[]).exits(3);
    assert_eq!(forge.count("app.git/info/refs"), 1, "{:?}", forge.log());
}

#[test]
fn malformed_source_and_its_old_key_are_refused() {
    for (key, help) in [
        ("source: app", "expected OWNER/NAME"),
        ("source: https://u:p@git.example.com/acme/app", "password"),
        ("fleet: { source: acme/app }", "at the top of the file"),
        ("revision: { order: always }", "`warn`, `require`"),
    ] {
        let world = World::empty();
        world.write("repin.yaml", format!("{CONFIG}{key}\n"));
        let ran = world.run(&["scan"]).exits(2);
        assert!(ran.stderr.contains(help), "{key}: {}", ran.stderr);
    }
}
