//! Split pins in pull requests: files read from the forge, files written, and foreign commits.

use serde_json::{Value, json};

use crate::{
    places::{FILES, PLACES, pin, split_pins},
    support::{
        forge::{Fake, Kind},
        hosted::{FORGES, PROMOTE, hosted, promote, run},
        sweep::one_of,
        world::{REV_A, REV_B, REV_C, World, details},
    },
};

/// Where the pins are, whole and split.
const PINNED: [&str; 5] = [
    ".github/workflows/a.yml",
    ".github/workflows/b.yml",
    FILES[1],
    FILES[0],
    FILES[2],
];

/// A base branch with whole and split pins on a forge.
fn placed(kind: Kind) -> (World, Fake) {
    let (world, fake) = hosted(kind, "labels: [ci]");
    let config = split_pins(&world.read("repin.yaml"));
    world.write("repin.yaml", config + PLACES);
    pin(&world, REV_A);
    let texts = PINNED.map(|path| world.read(path));
    let config = world.read("repin.yaml");
    let mut files: Vec<(&str, &str)> = vec![("repin.yaml", &config)];
    files.extend(PINNED.iter().copied().zip(texts.iter().map(String::as_str)));
    fake.store().push("main", "places", &files);
    (world, fake)
}

fn said(document: &Value) -> &str {
    document["error"]["message"].as_str().unwrap()
}

#[test]
fn pull_request_moves_split_pins_of_base() {
    for kind in one_of(FORGES) {
        let (mut world, fake) = placed(kind);
        // The work tree does not matter: the base branch counts.
        for path in FILES {
            world.write(path, "nothing");
        }
        let document = run(&world, &promote(REV_B)).exits(0).json();
        assert_eq!(document["pull_request"]["state"], "created", "{document}");
        let paths = document["files"].as_array().unwrap().iter();
        let paths: Vec<_> = paths.map(|file| file["path"].as_str().unwrap()).collect();
        assert_eq!(paths, PINNED, "{kind:?}");
        let found = |kustomize, helm, marked| {
            json!([
                { "place": "kustomize", "found": kustomize },
                { "place": "helm", "found": helm },
                { "place": "marked", "found": marked },
            ])
        };
        assert_eq!(document["images"][0]["places"], found(1, 1, 0));
        assert_eq!(document["images"][1]["places"], found(1, 1, 1));
        let branch = document["branch"].as_str().unwrap().to_owned();
        pin(&world, REV_B);
        for path in FILES {
            assert_eq!(
                fake.store().content(&branch, path),
                world.read(path),
                "{path}"
            );
        }
        let body = document["body"].as_str().unwrap();
        for image in ["review", "fix"] {
            let row = body
                .lines()
                .find(|line| line.contains(world.digest(image, REV_B)));
            assert!(row.unwrap().contains("| 5 |"), "{body}");
        }
        // The branch is as planned, and is not changed.
        fake.forget();
        let again = run(&world, &promote(REV_B)).exits(0).json();
        assert_eq!(again["pull_request"]["state"], "unchanged");
        assert_eq!(fake.writes(), [""; 0]);
        // A newer set replaces it: the commit was recognized as a commit of repin.
        world.build(REV_C);
        let newer = run(&world, &promote(REV_C)).exits(0).json();
        assert_eq!(newer["pull_request"]["state"], "created", "{newer}");
        assert_eq!(fake.store().open_pulls().len(), 1);
    }
}

#[test]
fn refused_entry_of_the_base_fails() {
    for kind in FORGES {
        let (world, fake) = placed(kind);
        let digest = world.digest("fix", REV_A);
        let text = world
            .read(FILES[1])
            .replace("acme/fix, ", &format!("acme/fix, digest: '{digest}', "));
        fake.store().push("main", "by hand", &[(FILES[1], &text)]);
        fake.forget();
        let document = run(&world, &promote(REV_B)).exits(1).json();
        let refused = details(&document, "pin_unsupported", "fail");
        assert!(
            refused[0].starts_with("charts/app/values.yaml:1:"),
            "{document}"
        );
        assert_eq!(fake.writes(), [""; 0]);
    }
}

#[test]
fn unmatched_glob_of_base_place_is_reported() {
    for kind in FORGES {
        let (world, fake) = placed(kind);
        let config = fake
            .store()
            .content("main", "repin.yaml")
            .replace("'*.tf'", "'*.tf', '*.hcl'");
        fake.store()
            .push("main", "more", &[("repin.yaml", &config)]);
        let ran = run(&world, &PROMOTE).exits(0);
        assert!(ran.stderr.contains("*.hcl"), "{}", ran.stderr);
    }
}

#[test]
fn commit_of_split_pins_is_not_foreign() {
    for kind in one_of(FORGES) {
        let (world, fake) = placed(kind);
        let branch = run(&world, &promote(REV_B)).exits(0).json()["branch"]
            .as_str()
            .unwrap()
            .to_owned();
        let trailer = format!("promote\n\nRepin-Set: {REV_B}\n");
        let moved = FILES.map(|path| fake.store().content(&branch, path));
        let unmoved = FILES.map(|path| fake.store().content("main", path));
        let digest = world.digest("fix", REV_A);
        let other = world.digest("fix", REV_B);
        for (path, text) in [
            // A value next to the pins, a key, a comment, quotes, another entry's digest.
            (FILES[1], moved[1].clone() + "replicas: 2\n"),
            (FILES[1], moved[1].replace("a: {", "c: {")),
            (FILES[0], moved[0].replace("# prod", "# stage")),
            (FILES[1], moved[1].replace('"', "")),
            (FILES[2], moved[2].clone() + "\n# more"),
            (
                FILES[0],
                unmoved[0].clone() + &format!("- name: ghcr.io/acme/web\n  digest: {digest}\n"),
            ),
            ("other.yaml", format!("digest: {other}\n")),
        ] {
            fake.store().refs.remove(&branch);
            let amended = fake.store().push(&branch, &trailer, &[(path, &text)]);
            fake.forget();
            let document = run(&world, &promote(REV_B)).exits(5).json();
            assert!(
                said(&document).contains(&amended),
                "{kind:?} {path} {document}"
            );
            assert_eq!(fake.writes(), [""; 0], "{kind:?} {path}");
        }
        // Half of a set, by an older run: the branch is built anew.
        for (path, text) in FILES.iter().zip(&moved) {
            fake.store().refs.remove(&branch);
            fake.store().push(&branch, &trailer, &[(*path, text)]);
            let document = run(&world, &promote(REV_B)).exits(0).json();
            assert_ne!(
                document["pull_request"]["state"], "unchanged",
                "{kind:?} {path}"
            );
            for (path, text) in FILES.iter().zip(&moved) {
                assert_eq!(fake.store().content(&branch, path), *text);
            }
        }
    }
}
