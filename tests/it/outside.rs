//! References to an image in the tree that are not counted pins, on real repositories.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::{
    forge::{Fake, Kind, TOKEN},
    world::{REV_A, REV_B, Ran, World, details, failed, git, world},
};

const OTHER: &str = "sha256:1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef";

/// A repository with workflows that contain only pins of the configured images.
fn repository() -> World {
    let world = bare();
    world.with_git()
}

/// The same without git.
fn bare() -> World {
    let world = world();
    let fix = world.digest("fix", REV_A);
    let extra = format!("y: ghcr.io/acme/fix-extra@{fix}\n");
    world.replace(".github/workflows/b.yml", &extra, "");
    world
}

/// Writes a file and adds it to the index.
fn track(world: &World, path: &str, text: impl AsRef<[u8]>) {
    world.write(path, text);
    world.git(&["add", "-f", path]);
}

/// `CODE ITEM` of every check of these codes that did not pass, as `check` reports them.
fn checked(world: &World) -> Vec<String> {
    let document = world.run(&["check", "--format", "json"]).json();
    let (warned, passed) = (rows(&document, "warn"), rows(&document, "pass"));
    let code = |row: &String| row.split(' ').next().unwrap().to_owned();
    let both = passed
        .iter()
        .find(|row| warned.iter().any(|warning| code(warning) == code(row)));
    assert_eq!(
        both, None,
        "a check with a warning does not also pass: {document}"
    );
    warned
}

const CODES: [&str; 4] = [
    "pin_outside",
    "digest_outside",
    "image_unpinned",
    "image_undeclared",
];

fn rows(document: &Value, status: &str) -> Vec<String> {
    let checks = document["checks"].as_array().unwrap().iter();
    let these = checks.filter(|check| {
        CODES.contains(&check["code"].as_str().unwrap()) && check["status"] == status
    });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    these
        .map(|check| format!("{} {}", text(&check["code"]), text(&check["item"])))
        .collect()
}

fn promote(world: &World, more: &[&str]) -> Ran {
    world.run(&[&["promote", "--revision", REV_B], more].concat())
}

fn set(world: &World, key: &str) {
    world.write("repin.yaml", world.read("repin.yaml") + key + "\n");
}

fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect()
}

#[test]
fn clean_tree_passes_once_for_each_code() {
    let world = repository();
    let document = world.run(&["check", "--format", "json"]).exits(0).json();
    assert_eq!(rows(&document, "warn"), [] as [&str; 0]);
    assert_eq!(
        rows(&document, "pass"),
        CODES.map(|code| format!("{code} "))
    );
    let document = promote(&world, &["--format", "json"]).exits(0).json();
    assert_eq!(rows(&document, "pass"), ["pin_outside ", "digest_outside "]);
}

#[test]
fn pin_without_a_glob_warns_everywhere() {
    let world = repository();
    let pin = format!("docker://ghcr.io/acme/fix:v1@{OTHER}");
    track(&world, "docs/run book.md", format!("# Run\n\n  {pin}\n"));
    let item = "pin_outside docs/run book.md:3:12";
    assert_eq!(checked(&world), [item]);
    let ran = world.run(&["check"]).exits(0);
    assert!(
        ran.stderr
            .contains("warning[pin_outside]: fix: docs/run book.md:3:12: pinned to"),
        "{}",
        ran.stderr
    );
    let ran = promote(&world, &["--body-file", "-"]).exits(0);
    assert!(
        ran.stderr.contains("docs/run book.md:3:12"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stdout.contains("| warn | `pin_outside` | fix |"),
        "{}",
        ran.stdout
    );
    let document = promote(&world, &["--format", "json"]).exits(0).json();
    assert_eq!(rows(&document, "warn"), [item]);
    let ran = promote(&world, &["--format", "github"]).exits(0);
    assert!(
        ran.stdout
            .contains("::warning file=docs/run book.md,line=3,col=12,title=pin_outside (fix)"),
        "{}",
        ran.stdout
    );
}

#[test]
fn outside_refuse_stops_and_ignore_is_silent() {
    let world = repository();
    track(&world, "docs/a.md", format!("ghcr.io/acme/fix@{OTHER}\n"));
    set(&world, "outside: refuse");
    let document = world.run(&["check", "--format", "json"]).exits(1).json();
    assert_eq!(failed(&document), ["pin_outside"]);
    assert_eq!(document["clean"], false);
    world.refuses(&[], 1, &["pin_outside"]);
    world.replace("repin.yaml", "outside: refuse", "outside: ignore");
    let document = promote(&world, &["--format", "json"]).exits(0).json();
    assert_eq!(rows(&document, "warn"), [] as [&str; 0]);
    assert_eq!(rows(&document, "pass"), [] as [&str; 0]);
    world.replace(
        "repin.yaml",
        "outside: ignore",
        "outside: refuse\noutside_ignore: ['docs/**', '!docs/b.md']",
    );
    world.run(&["check"]).exits(0);
    track(&world, "docs/b.md", format!("ghcr.io/acme/fix@{OTHER}\n"));
    world.run(&["check"]).exits(1);
}

#[test]
fn separate_pinned_digest_is_reported_anywhere() {
    let world = repository();
    let fix = world.digest("fix", REV_A).to_owned();
    let digits = fix.trim_start_matches("sha256:");
    let old = OTHER.trim_start_matches("sha256:");
    track(
        &world,
        "kustomization.yaml",
        format!("images:\n- digest: {fix}\n"),
    );
    track(
        &world,
        "chart/values.yaml",
        format!("tag: \"{digits}\"\nold: {old}\n"),
    );
    track(
        &world,
        "Dockerfile",
        format!("ARG D={digits}0\nARG E=x{digits}z\n"),
    );
    // In a file that counts, after another repository.
    let b = world.read(".github/workflows/b.yml");
    track(
        &world,
        ".github/workflows/b.yml",
        format!("# other.example/fix@{fix}\n{b}"),
    );
    let items = [
        "digest_outside .github/workflows/b.yml:1:21",
        "digest_outside Dockerfile:2:8",
        "digest_outside chart/values.yaml:1:7",
        "digest_outside kustomization.yaml:2:11",
    ];
    assert_eq!(checked(&world), items);
    let document = promote(&world, &["--format", "json"]).exits(0).json();
    assert_eq!(rows(&document, "warn"), items);
    set(&world, "outside: refuse");
    world.refuses(&[], 1, &["digest_outside"]);
}

#[test]
fn digest_after_an_escape_is_outside() {
    let world = repository();
    let fix = world.digest("fix", REV_A).to_owned();
    let digits = fix.trim_start_matches("sha256:");
    set(&world, "outside: refuse");
    let b = world.read(".github/workflows/b.yml");
    for (before, code) in [
        ("ghcr.io/acme/fix@sha256%3a", "pin_outside"),
        ("ghcr.io/acme/fix@sha256%253a", "digest_outside"),
        (r"ghcr.io/acme/fix@sha256\u003a", "pin_outside"),
        (r"ghcr.io/acme/fix@sha256\x3a", "pin_outside"),
        (r"fix.sha\u003d", "digest_outside"),
    ] {
        track(&world, "values.json", format!("\"{before}{digits}\"\n"));
        let document = world.run(&["check", "--format", "json"]).exits(1).json();
        assert_eq!(failed(&document), [code], "{before}");
        world.refuses(&[], 1, &[code]);
        track(&world, "values.json", "");
        // The digest is no pin in a file that counts.
        let text = format!("{b}# {before}{digits}\n");
        track(&world, ".github/workflows/b.yml", text);
        world.refuses(&[], 1, &[code]);
        track(&world, ".github/workflows/b.yml", &b);
        world.run(&["check"]).exits(0);
    }
}

#[test]
fn location_has_the_first_matching_code() {
    let world = repository();
    let fix = world.digest("fix", REV_A).to_owned();
    // Whole references with a digest that is pinned: of the image in another file, and of another
    // repository of its owner in a file that counts.
    track(&world, "x.md", format!("ghcr.io/acme/fix@{fix}"));
    track(
        &world,
        ".github/workflows/c.yml",
        format!("- ghcr.io/acme/copy@{fix}\n- ghcr.io/acme/copy@{OTHER}\n- ghcr.io/acme/fix:v1\n"),
    );
    let mut found = checked(&world);
    found.sort();
    assert_eq!(
        found,
        [
            "digest_outside .github/workflows/c.yml:1:21",
            "image_undeclared .github/workflows/c.yml:2:3",
            "image_unpinned .github/workflows/c.yml:3:3",
            "pin_outside x.md:1:1",
        ]
    );
    // Advice never stops a promotion, and is not part of its document.
    set(&world, "outside: ignore");
    assert_eq!(
        checked(&world),
        [
            "image_unpinned .github/workflows/c.yml:3:3",
            "image_undeclared .github/workflows/c.yml:1:3",
            "image_undeclared .github/workflows/c.yml:2:3",
        ]
    );
    let document = promote(&world, &["--format", "json"]).exits(0).json();
    assert_eq!(
        rows(&document, "warn"),
        ["image_unpinned .github/workflows/c.yml:3:3"]
    );
}

#[test]
fn utf_16_counts_as_text() {
    let world = repository();
    let fix = world.digest("fix", REV_A).to_owned();
    let text = format!("x\r\n  image: ghcr.io/acme/fix@{OTHER}\r\n{fix}\r\n");
    track(&world, "ops/run.ps1", utf16(&text));
    // A file that counts is scanned for bytes: its text in UTF-16 contains no counted pin.
    let counted = format!("{text}\r\n- ghcr.io/acme/fix:v1\r\n");
    track(&world, ".github/workflows/w.yml", utf16(&counted));
    assert_eq!(
        checked(&world),
        [
            "pin_outside .github/workflows/w.yml:2:19",
            "digest_outside .github/workflows/w.yml:3:1",
            "pin_outside ops/run.ps1:2:19",
            "digest_outside ops/run.ps1:3:1",
            "image_unpinned .github/workflows/w.yml:5:5",
        ]
    );
}

#[test]
fn pin_under_a_mirrors_name_is_outside() {
    let world = repository();
    world.replace(
        "repin.yaml",
        "ghcr.io/acme: oci:images",
        "ghcr.io/acme: oci:images, ghcr.io: 'https://mirror.example/hub'",
    );
    let a = world.read(".github/workflows/a.yml");
    let mirrored = format!("- mirror.example/hub/acme/fix:t@{OTHER}\n");
    track(&world, ".github/workflows/a.yml", format!("{mirrored}{a}"));
    track(
        &world,
        "x.md",
        format!("mirror.example/acme/fix@{OTHER}\n{mirrored}"),
    );
    assert_eq!(
        checked(&world),
        [
            "pin_outside .github/workflows/a.yml:1:3",
            "pin_outside x.md:2:3"
        ]
    );
}

#[test]
fn only_tracked_files_are_searched() {
    let world = repository();
    let pin = format!("ghcr.io/acme/fix@{OTHER}\n");
    world.write("untracked.md", &pin);
    world.write("images/note.md", &pin);
    world.write(".git/note.md", &pin);
    assert_eq!(checked(&world), [] as [&str; 0]);
    // Ignored, and tracked all the same.
    track(&world, "images/forced.md", &pin);
    // Another configuration counts some pins; a layout contains digests.
    track(&world, "team/repin.yaml", counting("'**/*.md'"));
    track(&world, "team/deep/a.md", &pin);
    track(&world, "team.md", &pin);
    layout(&world, "layouts/app/");
    track(&world, "layouts/readme.md", &pin);
    // In the root such a file hides nothing.
    track(&world, "oci-layout", &pin);
    assert_eq!(
        checked(&world),
        [
            "pin_outside images/forced.md:1:1",
            "pin_outside layouts/readme.md:1:1",
            "pin_outside oci-layout:1:1",
            "pin_outside team.md:1:1",
        ]
    );
    // A tracked but deleted file contains no digest.
    for path in ["images/forced.md", "oci-layout", "layouts/readme.md"] {
        fs::remove_file(world.path(path)).unwrap();
    }
    assert_eq!(checked(&world), ["pin_outside team.md:1:1"]);
}

/// A configuration with these globs and the image `fix`.
fn counting(files: &str) -> String {
    format!(
        "version: 1\nfiles: [{files}]\nimages: {{ own: {{ repository: ghcr.io/acme/fix, pins: 1 }} }}\n"
    )
}

/// Tracks an image layout with a pinned digest in its index, in a blob, and next to both.
fn layout(world: &World, directory: &str) {
    let fix = world.digest("fix", REV_A).to_owned();
    let manifest = format!("{{\"digest\": \"{fix}\"}}");
    for (path, text) in [
        (
            "oci-layout",
            "{\"imageLayoutVersion\": \"1.0.0\"}".to_owned(),
        ),
        ("index.json", format!("{{\"manifests\": [{manifest}]}}")),
        (
            &format!("blobs/sha256/{}", "a".repeat(64)),
            manifest.clone(),
        ),
    ] {
        track(world, &format!("{directory}{path}"), text);
    }
}

#[test]
fn nested_configuration_hides_only_its_counted_pins() {
    let world = repository();
    let fix = world.digest("fix", REV_A).to_owned();
    let pin = format!("ghcr.io/acme/fix@{fix}\n");
    for directory in [
        "counts",
        "counts/deeper",
        "other",
        "broken",
        "empty",
        "fleet",
        "link",
    ] {
        track(
            &world,
            &format!("{directory}/a.yml"),
            format!("{pin}# {fix}\n"),
        );
    }
    track(&world, "counts/b.txt", &pin);
    track(&world, "counts/repin.yaml", counting("'**/*.yml'"));
    track(
        &world,
        "other/repin.yaml",
        counting("'**/*.yml'").replace("acme/fix", "acme/unrelated"),
    );
    track(&world, "broken/repin.yaml", counting("'**/*.yml', '{'"));
    track(&world, "empty/repin.yaml", "");
    track(
        &world,
        "fleet/repin.yaml",
        "version: 1\nfleet: {}\nimages: { own: { repository: ghcr.io/acme/fix } }\n",
    );
    symlink("../counts/repin.yaml", world.path("link/repin.yaml")).unwrap();
    world.git(&["add", "-A"]);
    let expected = [
        "digest_outside broken/a.yml:2:3",
        "digest_outside counts/a.yml:2:3",
        "digest_outside counts/deeper/a.yml:2:3",
        "digest_outside empty/a.yml:2:3",
        "digest_outside fleet/a.yml:2:3",
        "digest_outside link/a.yml:2:3",
        "digest_outside other/a.yml:2:3",
        "pin_outside broken/a.yml:1:1",
        "pin_outside counts/b.txt:1:1",
        "pin_outside empty/a.yml:1:1",
        "pin_outside fleet/a.yml:1:1",
        "pin_outside link/a.yml:1:1",
        "pin_outside other/a.yml:1:1",
    ];
    let mut found = checked(&world);
    found.sort();
    assert_eq!(found, expected);
    // A nested configuration cannot switch the search off.
    track(
        &world,
        "other/repin.yaml",
        counting("'**/*.yml'") + "outside: ignore\n",
    );
    track(
        &world,
        "broken/repin.yaml",
        counting("'x'") + "outside_ignore: ['**']\n",
    );
    let found = checked(&world);
    assert!(
        found.contains(&"pin_outside broken/a.yml:1:1".to_owned()),
        "{found:?}"
    );
    assert!(
        !found.contains(&"pin_outside other/a.yml:1:1".to_owned()),
        "{found:?}"
    );
}

#[test]
fn nested_configuration_counts_its_split_pins() {
    let world = repository();
    let fix = world.digest("fix", REV_A).to_owned();
    let entry = format!("image: {{ repository: ghcr.io/acme/fix, digest: '{fix}' }}\n");
    track(
        &world,
        "team/values.yaml",
        format!("{entry}other: '{fix}'\n"),
    );
    track(&world, "team/repin.yaml", counting("'*.yaml'"));
    assert_eq!(
        checked(&world),
        [
            "pin_outside team/values.yaml:1:49",
            "digest_outside team/values.yaml:2:9"
        ]
    );
    track(
        &world,
        "team/repin.yaml",
        counting("'*.yaml'") + "places: { helm: {} }\n",
    );
    assert_eq!(checked(&world), ["digest_outside team/values.yaml:2:9"]);
}

#[test]
fn layout_hides_only_files_of_its_format() {
    let world = repository();
    let fix = world.digest("fix", REV_A).to_owned();
    layout(&world, "");
    layout(&world, "images/app/");
    let sha512 = format!("images/app/blobs/sha512/{}", "a".repeat(128));
    track(&world, &sha512, &fix);
    assert_eq!(checked(&world), [] as [&str; 0]);
    // All other files of the directory are searched.
    for path in [
        "images/app/deploy.yml",
        "images/app/sub/index.json",
        "images/app/blobs/deploy.yml",
        "images/app/blobs/sha256/deploy.yml",
        "images/app/blobs/md5/aaaa",
    ] {
        track(&world, path, format!("{fix}\n"));
    }
    assert_eq!(
        checked(&world),
        [
            "digest_outside images/app/blobs/deploy.yml:1:1",
            "digest_outside images/app/blobs/md5/aaaa:1:1",
            "digest_outside images/app/blobs/sha256/deploy.yml:1:1",
            "digest_outside images/app/deploy.yml:1:1",
            "digest_outside images/app/sub/index.json:1:1",
        ]
    );
}

#[test]
fn only_digests_in_a_layout_are_blobs() {
    let world = repository();
    let fix = world.digest("fix", REV_A).to_owned();
    layout(&world, "app/");
    let digits = "a".repeat(64);
    let paths = [
        format!("app/blobs/sha256/{}", "A".repeat(64)),
        format!("app/blobs/sha256/{}", "a".repeat(63)),
        format!("other/blobs/sha256/{digits}"),
    ];
    let mut expected = Vec::new();
    for path in paths {
        track(&world, &path, &fix);
        expected.push(format!("digest_outside {path}:1:1"));
    }
    // The names of the parts of a layout, with a prefix.
    layout(&world, "prefix-");
    expected.push(format!("digest_outside prefix-blobs/sha256/{digits}:1:13"));
    expected.push("digest_outside prefix-index.json:1:28".to_owned());
    assert_eq!(checked(&world), expected);
}

#[test]
fn layout_needs_all_of_its_parts() {
    for (path, text) in [
        ("oci-layout", Some("")),
        ("oci-layout", Some("{}")),
        ("oci-layout", Some("{\"imageLayoutVersion\": \"2.0.0\"}")),
        ("oci-layout", None),
        ("index.json", None),
        ("blobs", None),
    ] {
        let world = repository();
        layout(&world, "app/");
        let file = format!("app/{path}");
        match text {
            Some(text) => track(&world, &file, text),
            None => drop(world.git(&["rm", "-q", "-r", "-f", &file])),
        }
        assert_ne!(checked(&world), [] as [&str; 0], "{path} {text:?}");
    }
    let world = repository();
    layout(&world, "app/");
    let fix = world.digest("fix", REV_A).to_owned();
    track(
        &world,
        "app/index.json",
        format!("{{\"manifests\": \"{fix}\"}}"),
    );
    assert_eq!(checked(&world).len(), 2);
}

#[test]
fn tracked_file_with_a_temporary_name_is_searched() {
    let world = repository();
    let pin = format!("ghcr.io/acme/fix@{OTHER}\n");
    let names = [
        ".github/workflows/.repin-x.yml",
        ".repin-y/deploy.yml",
        ".repin/z.yml",
        "deploy/.repin-0123.yml",
    ];
    for name in names {
        world.write(name, &pin);
    }
    // Untracked, they are files of a run that is in progress.
    assert_eq!(checked(&world), [] as [&str; 0]);
    for name in names {
        world.git(&["add", "-f", name]);
    }
    assert_eq!(
        checked(&world),
        names.map(|name| format!("pin_outside {name}:1:1"))
    );
    let document = world.run(&["check", "--format", "json"]).json();
    let reasons = details(&document, "pin_outside", "warn");
    assert!(
        reasons[0].contains("repin uses names such as"),
        "{reasons:?}"
    );
    // A digest that a nested configuration would count there is not counted by anything.
    track(
        &world,
        "deploy/repin.yaml",
        counting("'**/*.yml', '.repin-0123.yml'"),
    );
    assert!(checked(&world).contains(&"pin_outside deploy/.repin-0123.yml:1:1".to_owned()));
    set(&world, "outside: refuse");
    world.run(&["check"]).exits(1);
    promote(&world, &[]).exits(1);
}

#[test]
fn promotion_reports_references_without_a_digest() {
    let world = repository();
    world.write(
        ".github/workflows/tag.yml",
        "image: ghcr.io/acme/fix:latest\n",
    );
    world.git(&["add", "-A"]);
    let item = "image_unpinned .github/workflows/tag.yml:1:8";
    assert_eq!(checked(&world), [item]);
    let document = promote(&world, &["--format", "json"]).exits(0).json();
    assert_eq!(rows(&document, "warn"), [item]);
    // A rollback is urgent, and restores references with a digest only.
    let rollback = ["rollback", "--to", REV_A, "--format", "json"];
    let document = world.run(&rollback).json();
    assert_eq!(failed(&document), ["provenance_title"]);
    assert!(!rows(&document, "warn").contains(&item.to_owned()));
    let ran = promote(&world, &["--body-file", "-"]).exits(0);
    assert!(
        ran.stderr.contains("warning[image_unpinned]"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stdout.contains("| warn | `image_unpinned` | fix |"),
        "{}",
        ran.stdout
    );
    set(&world, "outside: ignore");
    let document = promote(&world, &["--format", "json"]).exits(0).json();
    assert_eq!(rows(&document, "warn"), [item]);
}

#[test]
fn images_without_a_fixed_tag_are_unpinned() {
    let world = repository();
    let workflow = |name: &str, text: &str| {
        track(&world, &format!(".github/workflows/{name}.yml"), text);
    };
    workflow(
        "compose",
        "services:\n  a: {image: \"ghcr.io/acme/fix:${TAG:-main}\"}\n  b: {image: \"${REG:-ghcr.io}/acme/fix:main\"}\n  \
         c: {image: ghcr.io/acme/fix}\n  d: {image: \"${IMAGE:-ghcr.io/acme/fix:main}\"}\n",
    );
    workflow("other", "tool: {image: 'ghcr.io/acme/fix:v$TAG'}\n");
    // An unknown registry, a built image, prose, and text that is no image or whose tag another file sets.
    workflow(
        "more",
        "services:\n  a: {image: \"${REG}/acme/fix:main\"}\n  b: {image: ghcr.io/acme/fix, build: .}\n  # image: \
         ghcr.io/acme/fix:${TAG}\n  c: {image: x, labels: {a: 'see ghcr.io/acme/fix:${TAG}, or ghcr.io/acme/fix'}}\n",
    );
    workflow(
        "values",
        "image: {repository: ghcr.io/acme/fix}\nlogo: {image: ghcr.io/acme/fix}\n",
    );
    workflow(
        "kustomization",
        "images: [{name: ghcr.io/acme/fix, newName: ghcr.io/acme/fix}]\n",
    );
    workflow(
        "pod",
        "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: ghcr.io/acme/fix}]}\n",
    );
    let item = |place: &str| format!("image_unpinned .github/workflows/{place}");
    let expected = [
        "compose.yml:2:15",
        "compose.yml:3:15",
        "compose.yml:4:14",
        "compose.yml:5:24",
        "other.yml:1:16",
    ];
    assert_eq!(checked(&world), expected.map(item));
    let document = world.run(&["check", "--format", "json"]).json();
    let reasons = details(&document, "image_unpinned", "warn");
    assert!(reasons[0].starts_with("referenced by a tag with a variable"));
    assert!(reasons[1].starts_with("referenced by the tag main"));
    assert!(reasons[2].starts_with("referenced by the tag latest"));
}

#[test]
fn matched_file_is_searched_before_git_add() {
    let world = repository();
    let fix = world.digest("fix", REV_A).to_owned();
    world.write(".github/workflows/new.yml", format!("digest: {fix}\n"));
    assert_eq!(
        checked(&world),
        ["digest_outside .github/workflows/new.yml:1:9"]
    );
}

#[test]
fn root_below_the_top_searches_itself() {
    let world = bare();
    world.git(&["init", "-q", "-b", "main"]);
    let pin = format!("ghcr.io/acme/fix@{OTHER}\n");
    for (path, text) in [
        ("repin.yaml", world.read("repin.yaml")),
        (
            ".github/workflows/a.yml",
            world.read(".github/workflows/a.yml"),
        ),
        (
            ".github/workflows/b.yml",
            world.read(".github/workflows/b.yml"),
        ),
    ] {
        world.write(&format!("team/{path}"), text);
    }
    track(&world, "team/x.md", &pin);
    track(&world, "x.md", &pin);
    world.git(&["add", "team"]);
    let ran = world.run_in(&world.path("team"), &["check", "--format", "json"], &[]);
    assert_eq!(rows(&ran.exits(0).json(), "warn"), ["pin_outside x.md:1:1"]);
}

#[test]
fn links_and_submodules_are_not_followed() {
    let world = repository();
    let pin = format!("ghcr.io/acme/fix@{OTHER}\n");
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("a.md"), &pin).unwrap();
    track(&world, "target.md", &pin);
    symlink("target.md", world.path("link.md")).unwrap();
    symlink(elsewhere.path().join("a.md"), world.path("out.md")).unwrap();
    // A directory that became a link since its file was added.
    track(&world, "sub/a.md", "nothing");
    fs::remove_dir_all(world.path("sub")).unwrap();
    symlink(elsewhere.path(), world.path("sub")).unwrap();
    world.git(&["add", "link.md", "out.md"]);
    git(elsewhere.path(), &["init", "-q", "-b", "main"]);
    git(elsewhere.path(), &["add", "-A"]);
    git(elsewhere.path(), &["commit", "-q", "-m", "x"]);
    let url = elsewhere.path().to_str().unwrap();
    world.git(&["submodule", "--quiet", "add", url, "module"]);
    assert_eq!(checked(&world), ["pin_outside target.md:1:1"]);
}

#[test]
fn sparse_file_is_read_from_the_index() {
    let world = repository();
    let fix = world.digest("fix", REV_A).to_owned();
    track(&world, "deploy/values.yaml", format!("digest: {fix}\n"));
    // No layout, and one.
    track(&world, "layout/oci-layout", &fix);
    layout(&world, "stored/");
    world.commit("more");
    world.git(&[
        "sparse-checkout",
        "set",
        "--no-cone",
        "/repin.yaml",
        "/.github/",
        "/.gitignore",
    ]);
    assert!(!world.path("deploy/values.yaml").exists());
    assert!(!world.path("stored/oci-layout").exists());
    assert_eq!(
        checked(&world),
        [
            "digest_outside deploy/values.yaml:1:9",
            "digest_outside layout/oci-layout:1:1",
        ]
    );
    // Also if `files` matches it: a missing file is not counted.
    let more = format!("ghcr.io/acme/fix@{fix}\n");
    track(&world, ".github/workflows/more.yml", more);
    world.commit("a pin more");
    let rest = ["sparse-checkout", "add", "!/.github/workflows/more.yml"];
    world.git(&rest);
    assert!(!world.path(".github/workflows/more.yml").exists());
    assert_eq!(
        checked(&world),
        [
            "digest_outside deploy/values.yaml:1:9",
            "digest_outside layout/oci-layout:1:1",
        ]
    );
    world.write("elsewhere.yml", format!("ghcr.io/acme/fix@{fix}\n"));
    world.git(&["add", "--sparse", "elsewhere.yml"]);
    let document = world.run(&["check", "--format", "json"]).json();
    assert_eq!(
        rows(&document, "fail"),
        ["pin_outside .github/workflows/more.yml:1:1"]
    );
    let reasons = details(&document, "pin_outside", "fail");
    assert!(
        reasons[0].contains(".github/workflows/more.yml is outside of the sparse checkout"),
        "{reasons:?}"
    );
    let reasons = details(&document, "pin_outside", "warn");
    assert!(
        reasons[0].contains("`files` does not match elsewhere.yml"),
        "{reasons:?}"
    );
}

#[test]
fn left_out_pin_of_files_stops_every_change() {
    let world = repository();
    world.adopt(REV_A);
    world.push();
    world.promoted(REV_B);
    let fix = world.digest("fix", REV_B).to_owned();
    let more = format!("ghcr.io/acme/fix@{fix}\n");
    track(&world, ".github/workflows/more.yml", more);
    world.commit("a pin more");
    world.git(&[
        "sparse-checkout",
        "set",
        "--no-cone",
        "/*",
        "!/.github/workflows/more.yml",
    ]);
    let remedy = "`git sparse-checkout add .github/workflows`, or every file with";
    for args in [
        &["check"][..],
        &["promote", "--revision", REV_B],
        &["rollback", "--to", REV_A],
    ] {
        let ran = world.run(args).exits(1);
        for part in ["error[pin_outside]", "more.yml:1:1", remedy] {
            assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
        }
    }
    // A wrong count may be that of the files in the work tree.
    world.replace("repin.yaml", "acme/fix, pins: 2", "acme/fix, pins: 3");
    let checked = world.run(&["check"]).exits(1);
    let remedy = "include the 1 file that `files:` matches and the sparse checkout leaves out";
    assert!(checked.stderr.contains(remedy), "{}", checked.stderr);
    assert!(!checked.stderr.contains("--update"), "{}", checked.stderr);
    world.replace("repin.yaml", "acme/fix, pins: 3", "acme/fix, pins: 2");
    set(&world, "outside: ignore");
    world.run(&["check"]).exits(0);
    world.git(&["sparse-checkout", "disable"]);
    world.replace("repin.yaml", "acme/fix, pins: 2", "acme/fix, pins: 3");
    world.run(&["check"]).exits(0);
}

#[test]
fn left_out_split_pin_of_files_fails() {
    let world = repository();
    let fix = world.digest("fix", REV_A).to_owned();
    let entry = format!("a: {{ name: ghcr.io/acme/fix, hash: '{fix}' }}\n");
    for path in ["x/a.yml", "x/kept.yml"] {
        track(&world, path, &entry);
    }
    track(&world, "x/kept.txt", "");
    let keys = "places: { keys: { entry: /a, repository: name, digest: hash, files: ['x/*.yml'] }, \
                marked: { files: ['x/*.txt'] } }";
    set(&world, keys);
    track(&world, "x/m.txt", format!("{fix} # repin: fix\n"));
    world.replace("repin.yaml", "pins: 2", "pins: 5");
    world.commit("a place");
    world.run(&["check"]).exits(0);
    let rules = ["/*", "!/x/a.yml", "!/x/m.txt"];
    world.git(&[&["sparse-checkout", "set", "--no-cone"][..], &rules].concat());
    let document = world.run(&["check", "--format", "json"]).exits(1).json();
    let expected = ["pin_outside x/a.yml:1:37", "pin_outside x/m.txt:1:1"];
    assert_eq!(rows(&document, "fail"), expected);
}

/// Entries of kustomize and Helm with another digest, in files that no glob matches.
const SPLIT: [(&str, &str, &str); 2] = [
    (
        "clusters/eu/kustomization.yaml",
        "images:\n- name: web\n  newName: ghcr.io/acme/fix\n  digest: DIGEST\n",
        "pin_outside clusters/eu/kustomization.yaml:4:11",
    ),
    (
        "helm/values-eu.yaml",
        "image:\n  registry: ghcr.io/acme\n  repository: fix\n  digest: DIGEST\n",
        "pin_outside helm/values-eu.yaml:4:11",
    ),
];

#[test]
fn split_pin_without_a_glob_is_reported() {
    let world = repository();
    for (path, text, _) in SPLIT {
        track(&world, path, text.replace("DIGEST", OTHER));
    }
    let escaped = SPLIT[1]
        .1
        .replace("  repository: fix", r#"  repository: "f\x69x""#);
    track(
        &world,
        "helm/escaped.yaml",
        escaped.replace("DIGEST", OTHER),
    );
    // Entries of another repository, and the same text in no file of a place.
    let other = SPLIT[1]
        .1
        .replace(": fix", ": fixed")
        .replace("DIGEST", OTHER);
    track(&world, "helm/other.yaml", other);
    track(
        &world,
        "helm/values.md",
        SPLIT[1].1.replace("DIGEST", OTHER),
    );
    let expected = [SPLIT[0].2, "pin_outside helm/escaped.yaml:4:11", SPLIT[1].2];
    assert_eq!(checked(&world), expected);
    let remedy = "`files` does not match the file: `places: { helm: {} }` finds such entries";
    let update = world.run(&["init", "--update", "--dry-run"]).exits(0);
    assert!(update.stderr.contains(remedy), "{}", update.stderr);
    // Also from the index.
    world.commit("more clusters");
    world.git(&[
        "sparse-checkout",
        "set",
        "--no-cone",
        "/*",
        "!/clusters/",
        "!/helm/",
    ]);
    assert_eq!(checked(&world), expected);
    world.git(&["sparse-checkout", "disable"]);
    set(&world, "outside: refuse");
    let document = world.run(&["check", "--format", "json"]).exits(1).json();
    assert_eq!(rows(&document, "fail"), expected);
}

#[test]
fn missing_sparse_object_is_reported() {
    let world = repository();
    track(&world, "deploy/values.yaml", "missing: true\n");
    world.commit("more");
    world.git(&["sparse-checkout", "set", "--no-cone", "/*", "!/deploy/"]);
    let blob = world.git(&["rev-parse", "HEAD:deploy/values.yaml"]);
    let object = format!(".git/objects/{}/{}", &blob[..2], &blob[2..]);
    fs::remove_file(world.path(&object)).unwrap();
    let document = world.run(&["check", "--format", "json"]).exits(0).json();
    let reasons = details(&document, "pin_outside", "warn");
    assert!(
        reasons[0].starts_with("cannot read the files outside of the sparse checkout: "),
        "{reasons:?}"
    );
}

#[test]
fn sparse_configuration_in_the_work_tree_is_read_there() {
    let world = repository();
    track(&world, "team/repin.yaml", counting("'x'"));
    track(&world, "team/a.md", format!("ghcr.io/acme/fix@{OTHER}\n"));
    world.git(&["update-index", "--skip-worktree", "team/repin.yaml"]);
    assert_eq!(checked(&world), ["pin_outside team/a.md:1:1"]);
    world.write("team/repin.yaml", counting("'*.md'"));
    assert_eq!(checked(&world), [] as [&str; 0]);
}

#[test]
fn unreadable_file_is_reported() {
    let world = repository();
    let path = world.track_unreadable("");
    assert_eq!(checked(&world), [format!("pin_outside {path}")]);
}

/// Tracks a set with a split pin in a template of a chart, which it does not count, and in a similar
/// file outside of charts.
fn chart(world: &World) {
    let fix = world.digest("fix", REV_A).to_owned();
    let entry = format!("image: {{ repository: ghcr.io/acme/fix, digest: '{fix}' }}\n");
    let config = counting("'**/*.yaml'") + "places: { helm: {} }\n";
    track(world, "helm/repin.yaml", config);
    track(world, "helm/chart/Chart.yaml", "name: app\n");
    track(world, "helm/chart/templates/x.yaml", &entry);
    track(world, "helm/plain/templates/x.yaml", &entry);
}

const IN_CHART: [&str; 1] = ["digest_outside helm/chart/templates/x.yaml:1:49"];

#[test]
fn nested_configuration_counts_no_template_of_a_chart() {
    let world = repository();
    chart(&world);
    assert_eq!(checked(&world), IN_CHART);
    // Also if the file that marks the chart is outside of the sparse checkout.
    world.commit("a chart");
    let rules = ["/*", "!/helm/chart/Chart.yaml"];
    world.git(&[&["sparse-checkout", "set", "--no-cone"][..], &rules].concat());
    assert!(!world.path("helm/chart/Chart.yaml").exists());
    assert_eq!(checked(&world), IN_CHART);
}

#[test]
fn nested_configuration_counts_its_pins_without_git() {
    let world = bare();
    set(&world, "files_ignored: include");
    world.write("team/a.md", format!("ghcr.io/acme/fix@{OTHER}\n"));
    assert_eq!(checked(&world), ["pin_outside team/a.md:1:1"]);
    world.write("team/repin.yaml", counting("'*.md'"));
    assert_eq!(checked(&world), [] as [&str; 0]);
}

#[test]
fn without_git_every_unignored_file_counts() {
    let world = bare();
    let pin = format!("ghcr.io/acme/fix@{OTHER}\n");
    world.write(".gitignore", "/build\n");
    world.write("build/x.md", &pin);
    world.write("deep/down/x.md", &pin);
    world.write("vendor/x.md", &pin);
    world.write("team/repin.yaml", &pin);
    assert_eq!(
        checked(&world),
        [
            "pin_outside deep/down/x.md:1:1",
            "pin_outside team/repin.yaml:1:1",
            "pin_outside vendor/x.md:1:1"
        ]
    );
}

#[test]
fn unreadable_tree_fails_under_refuse() {
    let world = repository();
    world.write(".git/index", "this is no index");
    let ran = world.run(&["check"]).exits(0);
    assert!(
        ran.stderr
            .contains("warning[pin_outside]: cannot list the files that git tracks"),
        "{}",
        ran.stderr
    );
    set(&world, "outside: refuse");
    let document = world.run(&["check", "--format", "json"]).exits(1).json();
    assert_eq!(failed(&document), ["pin_outside"]);
}

#[test]
fn outside_digest_only_warns_in_a_rollback() {
    let world = repository();
    world.adopt(REV_A);
    world.push();
    world.promoted(REV_B);
    let fix = world.digest("fix", REV_B).to_owned();
    track(&world, "values.yaml", format!("digest: {fix}\n"));
    set(&world, "outside: refuse");
    world.refuses(&[], 1, &["digest_outside"]);
    let back = ["rollback", "--to", REV_A, "--format", "json"];
    let document = world.run(&back).exits(0).json();
    assert_eq!(rows(&document, "warn"), ["digest_outside values.yaml:1:9"]);
    track(&world, "x.md", format!("ghcr.io/acme/fix@{OTHER}\n"));
    let document = world.run(&back).exits(1).json();
    assert_eq!(failed(&document), ["pin_outside"]);
}

#[test]
fn file_of_digits_is_no_finding() {
    let world = repository();
    let fix = world.digest("fix", REV_A).to_owned();
    let digits = "0123456789abcdef".repeat(4 * 1024 * 1024);
    track(&world, "digits.txt", format!("{digits}\n{fix}"));
    assert_eq!(checked(&world), ["digest_outside digits.txt:2:1"]);
}

#[test]
fn digest_after_16_mib_is_found() {
    let world = repository();
    let fix = world.digest("fix", REV_A).to_owned();
    let filling = "no digest here\n".repeat(1_200_000);
    track(&world, "large.txt", format!("{filling}x: {fix}\n"));
    assert_eq!(checked(&world), ["digest_outside large.txt:1200001:4"]);
}

#[test]
fn matched_file_over_16_mib_is_refused() {
    const LARGEST: usize = 16 * 1024 * 1024;
    let world = repository();
    let path = ".github/workflows/large.yml";
    track(&world, path, " ".repeat(LARGEST));
    world.run(&["check"]).exits(0);
    track(&world, path, " ".repeat(LARGEST + 1));
    for command in [&["check"][..], &["scan"], &["promote", "--revision", REV_B]] {
        let ran = world.run(command).exits(3);
        let expected = format!("cannot read {path}: it is larger than 16 MiB");
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
        let help = format!("exclude it from `files:` with `!{path}`");
        assert!(ran.stderr.contains(&help), "{}", ran.stderr);
    }
    let config = world.read("repin.yaml");
    let excluding = config.replacen("files: [", &format!("files: ['!{path}', "), 1);
    assert_ne!(config, excluding);
    world.write("repin.yaml", excluding);
    world.run(&["check"]).exits(0);
}

mod under_pr {
    use super::*;

    /// A repository, and a forge that has the head of its remote's main branch.
    fn hosted() -> (World, Fake) {
        let fake = Fake::start(Kind::Github);
        let world = bare();
        set(
            &world,
            &format!(
                "forge: {{ kind: github, url: '{}', repository: acme/flows }}",
                fake.api()
            ),
        );
        (world.with_git(), fake)
    }

    /// The forge has the commits of the remote.
    fn publish(world: &World, fake: &Fake) {
        let paths = world.git(&["ls-tree", "-r", "--name-only", "-z", "origin/main"]);
        let files: Vec<_> = paths
            .split('\0')
            .filter(|path| !path.is_empty())
            .map(|path| (path, world.git(&["show", &format!("origin/main:{path}")])))
            .collect();
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| (*path, text.as_str()))
            .collect();
        let mut store = fake.store();
        store.push("main", "as it is", &files);
        let real = world.git(&["rev-parse", "origin/main"]);
        store.name_head("main", &real, world.root());
    }

    fn document(directory: &Path, world: &World) -> Value {
        let args = [
            "promote",
            "--revision",
            REV_B,
            "--pr",
            "draft",
            "--dry-run",
            "true",
            "--format",
            "json",
        ];
        let env = [("REPIN_FORGE_TOKEN", TOKEN)];
        world.run_in(directory, &args, &env).json()
    }

    #[test]
    fn tree_of_the_base_head_is_read() {
        let (world, fake) = hosted();
        let fix = world.digest("fix", REV_A).to_owned();
        track(&world, "values.yaml", format!("a: 1\ndigest: {fix}\n"));
        track(&world, "copy.yaml", format!("a: 1\ndigest: {fix}\n"));
        track(&world, "team/repin.yaml", "");
        track(&world, "team/x.md", format!("ghcr.io/acme/fix@{OTHER}\n"));
        track(
            &world,
            "x.md",
            utf16(&format!("ghcr.io/acme/fix@{OTHER}\n")),
        );
        world.commit("more");
        world.push();
        publish(&world, &fake);
        // A deleted file, and a file that does not exist yet.
        fs::remove_file(world.path("values.yaml")).unwrap();
        track(&world, "new.md", format!("ghcr.io/acme/fix@{OTHER}\n"));
        let document = document(world.root(), &world);
        assert_eq!(
            rows(&document, "warn"),
            [
                "digest_outside copy.yaml:2:9",
                "pin_outside team/x.md:1:1",
                "digest_outside values.yaml:2:9",
                "pin_outside x.md:1:3",
            ]
        );
        assert!(
            document["body"]
                .as_str()
                .unwrap()
                .contains("values.yaml:2:9"),
            "{document}"
        );
    }

    #[test]
    fn base_is_searched_like_a_work_tree() {
        let (world, fake) = hosted();
        let fix = world.digest("fix", REV_A).to_owned();
        let pin = format!("ghcr.io/acme/fix@{OTHER}\n");
        let rev = format!("promote: test images @{REV_A}");
        track(&world, "team/repin.yaml", counting("'*.yml'"));
        track(&world, "team/a.yml", &pin);
        track(&world, "team/b.txt", &pin);
        track(&world, "x/repin.yaml", "version: 1\n");
        track(&world, "x/a.yml", &pin);
        track(&world, "y/oci-layout", "{}");
        track(&world, "y/index.json", &pin);
        layout(&world, "z/");
        track(&world, "z/a.yml", &pin);
        track(&world, ".repin-a.yml", &pin);
        track(&world, ".github/workflows/.repin-b.yml", &pin);
        track(
            &world,
            ".github/workflows/tag.yml",
            format!("image: ghcr.io/acme/fix:latest\n# {fix}\n"),
        );
        world.commit(&rev);
        world.push();
        publish(&world, &fake);
        let mut found = rows(&document(world.root(), &world), "warn");
        found.sort();
        assert_eq!(
            found,
            [
                "digest_outside .github/workflows/tag.yml:2:3",
                "image_unpinned .github/workflows/tag.yml:1:8",
                "pin_outside .github/workflows/.repin-b.yml:1:1",
                "pin_outside .repin-a.yml:1:1",
                "pin_outside team/b.txt:1:1",
                "pin_outside x/a.yml:1:1",
                "pin_outside y/index.json:1:1",
                "pin_outside z/a.yml:1:1",
            ]
        );
    }

    #[test]
    fn other_sets_of_the_base_count_their_pins() {
        let (world, fake) = hosted();
        set(&world, "files_ignored: include");
        chart(&world);
        world.commit("more");
        world.push();
        publish(&world, &fake);
        let document = document(world.root(), &world);
        assert_eq!(rows(&document, "warn"), IN_CHART);
    }

    #[test]
    fn complete_clone_needs_no_remote() {
        let (world, fake) = hosted();
        layout(&world, "stored/");
        world.commit("more");
        world.push();
        publish(&world, &fake);
        world.git(&["remote", "remove", "origin"]);
        let document = document(world.root(), &world);
        assert_eq!(rows(&document, "warn"), [] as [&str; 0]);
        assert_eq!(rows(&document, "pass"), ["pin_outside ", "digest_outside "]);
    }

    #[test]
    fn outside_ignore_fetches_no_other_file() {
        let (world, fake) = hosted();
        allow_filters(&world);
        set(&world, "outside: ignore");
        track(&world, "x.md", "not fetched\n");
        world.commit("more");
        world.push();
        publish(&world, &fake);
        let (_partial, partial) = clone(&world, &["--filter=blob:none", "--no-checkout"]);
        git(&partial, &["checkout", "-q", "main", "--", "repin.yaml"]);
        document(&partial, &world);
        let objects = ["rev-list", "--objects", "--missing=print", "HEAD"];
        let missing = format!("?{}", world.git(&["rev-parse", "HEAD:x.md"]));
        assert!(git(&partial, &objects).contains(&missing));
    }

    /// The remote serves partial clones.
    fn allow_filters(world: &World) {
        for key in ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"] {
            git(&world.path("origin.git"), &["config", key, "true"]);
        }
    }

    /// Another clone of the remote, next to the images.
    fn clone(world: &World, options: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let from = format!("file://{}", world.path("origin.git").display());
        let args = [&["clone", "-q"], options, &[from.as_str(), "clone"]].concat();
        git(dir.path(), &args);
        let directory = dir.path().join("clone");
        symlink(world.path("images"), directory.join("images")).unwrap();
        (dir, directory)
    }

    #[test]
    fn missing_objects_are_fetched() {
        let (world, fake) = hosted();
        allow_filters(&world);
        let (_behind, behind) = clone(&world, &[]);
        let fix = world.digest("fix", REV_A).to_owned();
        track(&world, "values.yaml", format!("digest: {fix}\n"));
        layout(&world, "stored/");
        world.commit("more");
        world.push();
        publish(&world, &fake);
        let (_partial, partial) = clone(&world, &["--filter=blob:none", "--no-checkout"]);
        git(&partial, &["checkout", "-q", "main", "--", "repin.yaml"]);
        let warned = ["digest_outside values.yaml:1:9"];
        let refs = |directory: &Path| git(directory, &["for-each-ref"]);
        for directory in [&behind, &partial] {
            let before = refs(directory);
            assert_eq!(rows(&document(directory, &world), "warn"), warned);
            assert_eq!(before, refs(directory), "no reference moves");
        }
    }
}
