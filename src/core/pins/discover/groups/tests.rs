//! Tests of the guess.

use std::sync::Arc;

use super::*;
use crate::{
    base::files::RelPath,
    core::pins::{Located, Pin},
    oci::Tag,
};

/// Pins as `REPOSITORY[:TAG] FILE`.
fn pinned(pins: &[&str]) -> Vec<PinnedRepository> {
    let mut all: Vec<PinnedRepository> = Vec::new();
    for (nth, line) in pins.iter().enumerate() {
        let (reference, file) = line
            .split_once(' ')
            .unwrap_or((line, ".github/workflows/a.yml"));
        let (name, tag) = match reference.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (reference, None),
        };
        let repository = Repository::parse(name).unwrap();
        let digit = if name.ends_with("example") {
            "0".repeat(64)
        } else {
            format!("{nth:064x}1")[1..].to_owned()
        };
        let pin = Pin {
            tag_at: 0,
            image: 0,
            line: 1,
            column: 1,
            offset: 0,
            tag: tag.map(|tag| Tag::parse(tag).unwrap()),
            digest: Digest::from_hex(&digit).unwrap(),
            split: None,
            comment: None,
        };
        let pin = Located {
            file: Arc::new(RelPath::parse(file).unwrap()),
            item: pin,
        };
        match all.iter_mut().find(|one| one.repository == repository) {
            Some(one) => one.pins.push(pin),
            None => all.push(PinnedRepository {
                refused: Vec::new(),
                repository,
                pins: vec![pin],
                malformed: Vec::new(),
            }),
        }
    }
    all
}

fn owners(guess: &Guess) -> Vec<&str> {
    guess
        .groups
        .iter()
        .map(|group| group.owner.as_str())
        .collect()
}

#[test]
fn owner_of_the_remote_decides() {
    let seen = pinned(&[
        "quay.io/other/a",
        "quay.io/other/b",
        "ghcr.io/acme/app",
        "nginx",
        "nginx",
        "nginx",
    ]);
    let guess = guess(&seen, Some("Acme"));
    assert_eq!(
        owners(&guess),
        ["ghcr.io/acme", "quay.io/other", "docker.io/library"]
    );
    assert!(guess.sure);
}

#[test]
fn guess_without_an_owner_needs_confirmation() {
    let seen = pinned(&[
        "quay.io/other/a",
        "quay.io/other/b",
        "ghcr.io/acme/app",
        "nginx",
    ]);
    for owner in [None, Some("unknown")] {
        let guess = guess(&seen, owner);
        assert_eq!(owners(&guess)[0], "quay.io/other");
        assert!(!guess.sure);
    }
    assert!(!guess(&seen[2..3], Some("unknown")).sure);
    assert!(guess(&seen[2..3], None).sure);
    assert!(guess(&seen[2..3], Some("acme")).sure);
}

#[test]
fn two_registries_of_one_owner_need_confirmation() {
    let seen = pinned(&["ghcr.io/acme/app", "acme/app"]);
    assert!(!guess(&seen, Some("acme")).sure);
}

#[test]
fn tags_with_commits_make_a_group_likelier() {
    let commit = format!("b.example/x/app:{}", "4f".repeat(20));
    let tagged = pinned(&["a.example/x/app", "a.example/x/other", &commit]);
    assert_eq!(owners(&guess(&tagged, None))[0], "b.example/x");
    for file in ["deploy/k8s/app.yaml", ".gitea/workflows/a.yml"] {
        let placed = pinned(&[
            "a.example/x/app README.md",
            "a.example/x/b README.md",
            &format!("b.example/x/app {file}"),
        ]);
        assert_eq!(owners(&guess(&placed, None))[0], "b.example/x", "{file}");
    }
}

#[test]
fn placeholders_and_version_tags_are_excluded() {
    let commit = format!("ghcr.io/acme/app:{}", "4f".repeat(20));
    let seen = pinned(&[
        "ghcr.io/acme/example",
        &commit,
        "ghcr.io/acme/tool:v1.2",
        "ghcr.io/acme/plain",
        "ghcr.io/acme/variant:sha-4f4f4f4-alpine",
    ]);
    let guess = guess(&seen, None);
    assert_eq!(
        guess.groups,
        [Group {
            owner: "ghcr.io/acme".into(),
            members: vec![1, 3]
        }]
    );
    assert_eq!(
        guess.apart,
        [
            (0, Reason::Placeholder),
            (2, Reason::OtherTags),
            (4, Reason::OtherTags)
        ]
    );
}

#[test]
fn repository_without_pins_is_ignored() {
    let mut seen = pinned(&["ghcr.io/acme/app"]);
    seen[0].pins.clear();
    assert_eq!(guess(&seen, None), Guess::default());
}

#[test]
fn owner_is_the_first_part_of_the_path() {
    let owner = |text| owner_of(&Repository::parse(text).unwrap());
    assert_eq!(owner("ghcr.io/acme/team/app"), "ghcr.io/acme");
    assert_eq!(owner("localhost:5000/app"), "localhost:5000");
    assert_eq!(owner("nginx"), "docker.io/library");
}
