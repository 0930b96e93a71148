//! How `--revision` and `--to` name a commit: literally, abbreviated, as `HEAD`, or by a tag.

use std::{collections::BTreeSet, fmt::Write as _, process::Stdio};

use crate::support::world::{REV_B, World, world};

/// A world in git with images that are also built at the current commit; and the ID of the commit.
fn built_at_head() -> (World, String) {
    let mut world = world().with_git();
    let head = world.head();
    world.build(String::leak(head.clone()));
    (world, head)
}

/// The revision that a command takes `text` for.
fn taken_for(world: &World, text: &str) -> String {
    let ran = world.run(&["promote", "--format", "json", "--revision", text]);
    let document = ran.json();
    assert_eq!(document["schema"], "repin.plan/1", "{text}: {document}");
    document["revision"].as_str().unwrap().to_owned()
}

/// The message by which `text` is refused.
fn refused(world: &World, text: &str) -> String {
    let ran = world.run(&["promote", "--format", "json", "--revision", text]);
    let document = ran.exits(2).json();
    let error = &document["errors"][0];
    assert_eq!(error["code"], "revision_shape", "{text}: {document}");
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn abbreviation_tag_and_head_are_one_revision() {
    let (world, head) = built_at_head();
    world.git(&["tag", "release"]);
    world.git(&["tag", "-a", "-m", "signed off", "2026/annotated"]);
    for text in [&head[..4], &head[..12], &head[..39], &head] {
        assert_eq!(taken_for(&world, text), head, "{text}");
    }
    for text in ["HEAD", "release", "2026/annotated"] {
        assert_eq!(taken_for(&world, text), head, "{text}");
    }
    let ran = world.run(&["promote", "--revision", &head[..7]]).exits(0);
    assert!(ran.stdout.contains(&head), "{}", ran.stdout);
    let resolved = world.run(&["resolve", "--format", "json", "--revision", "release"]);
    assert_eq!(resolved.exits(0).json()["revision"], *head);
}

#[test]
fn text_that_matches_the_pattern_is_literal() {
    let (world, head) = built_at_head();
    // A tag that has a revision's name moves nothing.
    world.git(&["tag", REV_B]);
    assert_eq!(taken_for(&world, REV_B), REV_B);
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "revision: { pattern: '[0-9a-f]{7}' }\n",
    );
    assert_eq!(taken_for(&world, &head[..7]), head[..7]);
    // The expansion of a shorter text must match, too.
    assert!(refused(&world, &head[..6]).contains(&head));
}

#[test]
fn digits_never_name_a_reference() {
    let (world, head) = built_at_head();
    for name in ["beef", "cafe12"] {
        world.git(&["branch", name]);
        world.git(&["tag", name]);
        assert!(!head.starts_with(name));
        let message = refused(&world, name);
        assert!(
            message.contains("no commit of this clone begins"),
            "{message}"
        );
    }
}

#[test]
fn other_objects_and_expressions_are_no_revisions() {
    let (world, head) = built_at_head();
    let tree = world.git(&["rev-parse", "HEAD^{tree}"]);
    world.git(&["tag", "a-tree", &tree]);
    world.git(&["tag", "release"]);
    for text in [
        &tree[..12],
        &head[..3],
        "a-tree",
        "main",
        "origin/main",
        "release~0",
        "release^{commit}",
        "refs/tags/release",
        "tags/release",
        "HEAD~0",
        "@",
        "no-such-tag",
        "--all",
        "-q",
        "../../HEAD",
        "a b",
        "x\n",
        "",
    ] {
        refused(&world, text);
    }
    let upper = head[..8].to_uppercase();
    if upper != head[..8] {
        refused(&world, &upper);
    }
}

#[test]
fn an_ambiguous_abbreviation_names_its_candidates() {
    let (world, _) = built_at_head();
    let mut stream = String::new();
    for at in 0..2000 {
        let message = format!("commit {at}");
        writeln!(stream, "commit refs/heads/many").unwrap();
        writeln!(stream, "committer repin <repin@localhost> 1700000000 +0000").unwrap();
        writeln!(stream, "data {}\n{message}", message.len()).unwrap();
    }
    imported(&world, &stream);
    let listed = world.git(&["rev-list", "many"]);
    let mut seen = BTreeSet::new();
    let twice = listed.lines().find(|id| !seen.insert(&id[..4])).unwrap();
    let message = refused(&world, &twice[..4]);
    assert!(message.contains("is ambiguous"), "{message}");
    assert!(message.contains(twice), "{message}");
}

#[test]
fn refused_revisions_have_a_reason() {
    let check = |world: &World, text: &str, reason: &str, is_abbreviated: bool| {
        let message = refused(world, text);
        assert!(message.contains(reason), "{text}: {message}");
        let requires = message.contains("`revision.tag` requires the full revision");
        assert_eq!(requires, is_abbreviated, "{text}: {message}");
    };
    let (with_git, head) = built_at_head();
    check(&with_git, &head[..3], "has no tag `", false);
    check(&with_git, &format!("{head}0"), "has no tag `", false);
    check(&with_git, "no-such-tag", "has no tag `no-such-tag`", false);
    for text in ["", "-q", "x\n"] {
        let message = refused(&with_git, text);
        assert!(!message.contains("this clone"), "{text}: {message}");
    }
    let other = if head.starts_with("beef") {
        "cafe"
    } else {
        "beef"
    };
    check(&with_git, other, "no commit of this clone begins", true);
    let world = world();
    check(&world, "beef", "needs a git repository", true);
    check(&world, "v1", "needs a git repository", false);
    world.git(&["init", "-q"]);
    check(&world, "beef", "no commit of this clone begins", true);
    check(&world, "HEAD", "this clone has no commit", false);
    let config = world.read("repin.yaml") + "revision: { pattern: semver }\n";
    world.write("repin.yaml", config);
    let ran = world.run(&["promote", "--revision", "v1.0.0"]).exits(2);
    for text in ["without a leading `v`", "belongs into `revision.tag`"] {
        assert!(ran.stderr.contains(text), "{}", ran.stderr);
    }
}

#[test]
fn missing_tag_of_an_abbreviation_is_an_error() {
    let world = world();
    let config = world.read("repin.yaml") + "revision: { tag: '{revision:7}' }\n";
    world.write("repin.yaml", config);
    for command in ["resolve", "set"] {
        let args = [command, "--revision", "beefbee"];
        let out: &[&str] = if command == "set" {
            &["--out", "set.json"]
        } else {
            &[]
        };
        let ran = world.run(&[&args[..], out].concat()).exits(1);
        assert!(ran.stderr.contains("error[tag_missing]"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("error[file_unsafe]"), "{}", ran.stderr);
    }
}

#[test]
fn without_git_only_whole_revisions_are_known() {
    let message = refused(&world(), "HEAD");
    assert!(message.contains("needs a git repository"), "{message}");
    let unborn = world();
    unborn.git(&["init", "-q", "-b", "main"]);
    let message = refused(&unborn, "HEAD");
    assert!(message.contains("has no commit"), "{message}");
}

/// Lets `git fast-import` read a stream.
fn imported(world: &World, stream: &str) {
    let mut git = std::process::Command::new("git");
    let mut importing = git
        .args(["fast-import", "--quiet"])
        .current_dir(world.root())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = importing.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, stream.as_bytes()).unwrap();
    drop(input);
    assert!(importing.wait().unwrap().success());
}
