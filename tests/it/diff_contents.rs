//! The contents of images in `repin diff` and in the section "What changes": packages, inventory names,
//! privileged files and SBOMs.

use std::fs;

use serde_json::{Value, json};

use crate::{
    support::{
        archive::Archive,
        attach::Attachment,
        authority::{Signing, provenance, statement},
        layout::Platform,
        shop::{self, shop},
        world::{REV_A, REV_B, World, details},
    },
    verify::{POLICY, attached, hex, name, trusted, with_policy},
};

const CYCLONEDX: &str = "https://cyclonedx.org/bom/v1.6";
const PROMOTE: [&str; 5] = ["promote", "--revision", REV_B, "--format", "json"];

/// The entry of an installed package in `/var/lib/dpkg/status`.
fn package(name: &str, version: &str) -> String {
    format!(
        "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n"
    )
}

/// A layer with the database of dpkg and a program.
fn system(packages: &[(&str, &str)], mode: u32) -> Vec<u8> {
    let mut status = String::new();
    for (name, version) in packages {
        status += &package(name, version);
    }
    Archive::new()
        .file("var/lib/dpkg/status", status)
        .file_of_mode("usr/bin/su", mode)
        .end()
}

/// Images with contents that differ between A, which is pinned, and B. `review` has an inventory and one more
/// agent.
fn changed() -> World {
    let mut world = shop();
    let old = system(&[("libidn2-0", "2.3.4-1"), ("openssl", "3.0.11-1")], 0o4755);
    let new = system(
        &[
            ("curl", "8.5.0-2"),
            ("openssl", "3.0.14-1"),
            ("zlib1g", "1.3-1"),
        ],
        0o755,
    );
    for (revision, layer) in [(REV_A, &old), (REV_B, &new)] {
        let mut platforms = Vec::new();
        for platform in shop::platforms("review", revision) {
            let mut platform = platform.layer(layer.clone());
            if revision == REV_B {
                let agent = Archive::new().file("opt/agent/agents/triage-deep.md", "x");
                platform = platform.layer(agent.end());
            }
            platforms.push(platform);
        }
        world.rebuild("review", revision, &platforms);
    }
    world.pin(REV_A);
    world
}

fn contents_of<'d>(changes: &'d Value, image: &str) -> &'d Value {
    let images = changes["images"].as_array().unwrap();
    let found = images.iter().find(|entry| entry["name"] == image).unwrap();
    &found["differences"][0]["contents"]
}

/// The parts that were not read, without the commits: the revisions of these images are no commits.
fn not_read(changes: &Value) -> Vec<&Value> {
    let parts = changes["not_read"].as_array().unwrap();
    parts
        .iter()
        .filter(|entry| entry["part"] != "commits")
        .collect()
}

fn expected() -> Value {
    json!({
        "kinds": [{"kind": "agents", "added": ["triage-deep"], "removed": []}],
        "packages": {"added": 2, "removed": 1, "changed": 1, "list": [
            {"type": "deb", "name": "openssl", "from": "3.0.11-1", "to": "3.0.14-1"},
            {"type": "deb", "name": "curl", "from": null, "to": "8.5.0-2"},
            {"type": "deb", "name": "zlib1g", "from": null, "to": "1.3-1"},
            {"type": "deb", "name": "libidn2-0", "from": "2.3.4-1", "to": null},
        ]},
        "files": [{"path": "/usr/bin/su", "from": ["setuid"], "to": []}],
    })
}

#[test]
fn diff_compares_the_contents_of_changed_images() {
    let world = changed();
    let args = ["diff", "--revision", REV_B, "--contents"];
    let document = world.run(&[&args[..], &["--format", "json"]].concat());
    let document = document.exits(0).json();
    assert_eq!(contents_of(&document, "review"), &expected());
    let equal = json!({"kinds": [], "files": [],
        "packages": {"added": 0, "removed": 0, "changed": 0, "list": []}});
    assert_eq!(contents_of(&document, "fix"), &equal);
    assert!(not_read(&document).is_empty(), "{document}");
    let text = world.run(&args).exits(0).stdout;
    insta::assert_snapshot!(text);
    let without = world.run(&["diff", "--revision", REV_B, "--format", "json"]);
    assert_eq!(
        contents_of(&without.exits(0).json(), "review"),
        &Value::Null
    );
}

#[test]
fn promotion_shows_the_contents_that_its_checks_read() {
    let world = changed();
    let document = world.run(&PROMOTE).exits(0).json();
    assert_eq!(contents_of(&document["changes"], "review"), &expected());
    let body = document["body"].as_str().unwrap();
    let line = body.lines().find(|line| line.starts_with("review: "));
    assert_eq!(
        line.unwrap(),
        "review: openssl 3.0.11-1 → 3.0.14-1, +2 packages (curl 8.5.0-2, zlib1g 1.3-1), \
         −1 (libidn2-0 2.3.4-1); agents +`triage-deep`; privileged files −`/usr/bin/su` (setuid)"
    );
    // The configuration precedes the default, and the option precedes the configuration.
    world.replace("repin.yaml", "report: {", "report: { changes: images,");
    let images = world.run(&PROMOTE).exits(0).json();
    assert_eq!(contents_of(&images["changes"], "review"), &Value::Null);
    let with_option = world.run(&[&PROMOTE[..], &["--contents"]].concat());
    let with_option = with_option.exits(0).json();
    assert_eq!(with_option["changes"], document["changes"]);
    world
        .run(&[&PROMOTE[..], &["--contents", "--no-changes"]].concat())
        .exits(2);
}

/// The file of the topmost layer of an image's first platform.
fn top_layer(world: &World, image: &str, revision: &'static str) -> std::path::PathBuf {
    let layout = world.layout(image);
    let read = |digest: &str| -> Value {
        serde_json::from_slice(&fs::read(layout.blob_path(digest)).unwrap()).unwrap()
    };
    let mut manifest = read(world.digest(image, revision));
    if let Some(first) = manifest["manifests"][0]["digest"].as_str() {
        manifest = read(first);
    }
    let layers = manifest["layers"].as_array().unwrap();
    layout.blob_path(layers.last().unwrap()["digest"].as_str().unwrap())
}

#[test]
fn unreadable_layers_of_the_current_set_are_listed() {
    for (args, world) in [
        (&[][..], changed()),
        (&["--contents"][..], without_inventory()),
    ] {
        fs::remove_file(top_layer(&world, "review", REV_A)).unwrap();
        let document = world.run(&[&PROMOTE[..], args].concat()).exits(0).json();
        assert_eq!(contents_of(&document["changes"], "review"), &Value::Null);
        let [unread, ..] = not_read(&document["changes"])[..] else {
            panic!("{document}");
        };
        assert_eq!(unread["part"], "contents");
        assert_eq!(unread["image"], "review");
        assert_eq!(unread["platform"], "linux/amd64");
        let body = document["body"].as_str().unwrap();
        assert!(
            body.contains("- contents review linux/amd64 not read: "),
            "{body}"
        );
    }
}

#[test]
fn wrong_bytes_of_a_current_layer_fail() {
    for (args, world) in [
        (&[][..], changed()),
        (&["--contents"][..], without_inventory()),
    ] {
        let layer = top_layer(&world, "review", REV_A);
        let mut bytes = fs::read(&layer).unwrap();
        bytes[0] ^= 1;
        fs::write(&layer, bytes).unwrap();
        let ran = world.run(&[&PROMOTE[..], args].concat()).exits(3);
        let message = ran.json()["error"]["message"].to_string();
        assert!(message.contains("its bytes hash to"), "{message}");
    }
}

/// The same images without a check that reads layers.
fn without_inventory() -> World {
    let world = changed();
    let config = world.read("repin.yaml");
    let config = config.split("inventory:").next().unwrap();
    world.write(
        "repin.yaml",
        config.replace(", contract: contracts/review.yaml", ""),
    );
    world
}

#[test]
fn without_such_checks_an_option_reads_the_contents() {
    let world = without_inventory();
    let document = world.run(&PROMOTE).exits(0).json();
    assert_eq!(contents_of(&document["changes"], "review"), &Value::Null);
    let document = world.run(&[&PROMOTE[..], &["--contents"]].concat());
    let document = document.exits(0).json();
    let mut without_kinds = expected();
    without_kinds["kinds"] = json!([]);
    assert_eq!(contents_of(&document["changes"], "review"), &without_kinds);
    // An inventory reads them, also without a contract.
    let kinds =
        "inventory: { kinds: { agents: { paths: ['^opt/agent/agents/([^/]+)[.]md$'] } } }\n";
    world.write("repin.yaml", world.read("repin.yaml") + kinds);
    let document = world.run(&PROMOTE).exits(0).json();
    assert_eq!(contents_of(&document["changes"], "review"), &expected());
}

#[test]
fn hostile_names_are_escaped_in_the_body() {
    let mut world = shop();
    let hostile = ["a|b<img>", "x\u{202e}y`#7"];
    let layer = system(&[(hostile[0], "1"), (hostile[1], "@acme")], 0o755);
    let platforms = [shop::platform("linux/amd64", REV_B).layer(layer)];
    world.rebuild("fix", REV_B, &platforms);
    world.pin(REV_A);
    let document = world.run(&PROMOTE).exits(0).json();
    let body = document["body"].as_str().unwrap();
    let line = body.lines().find(|line| line.starts_with("fix: ")).unwrap();
    assert_eq!(
        line.replace('\u{200b}', "<ZWSP>"),
        "fix: +2 packages (a\\|b\\<img\\> 1, x\\\\u{202e}y\\`#<ZWSP>7 @<ZWSP>acme)"
    );
}

/// Attaches an SBOM of one npm package, signed for a commit.
fn attach_sbom(world: &World, revision: &'static str, commit: &str, version: &str) {
    attach_sbom_to(world, world.digest("review", revision), commit, version);
}

fn attach_sbom_to(world: &World, digest: &str, commit: &str, version: &str) -> Attachment {
    let sbom = json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [
        {"type": "library", "purl": format!("pkg:npm/left-pad@{version}")}]});
    let mut predicate = sbom;
    predicate["metadata"] = json!({});
    let statement = statement(&name("review"), hex(digest), CYCLONEDX, &predicate);
    let bundle = Signing::of(commit).bundle(&statement);
    attached(world, "review", digest, &bundle)
}

/// The compared packages, and the parts that were not read.
fn compared_packages(world: &World) -> (Value, Vec<Value>) {
    let document = world.run(&[&PROMOTE[..], &["--contents"]].concat());
    let changes = document.exits(0).json()["changes"].clone();
    let packages = contents_of(&changes, "review")["packages"]["list"].clone();
    let unread = not_read(&changes).into_iter().cloned();
    (packages, unread.collect())
}

#[test]
fn sboms_by_trusted_signers_are_compared() {
    let world = trusted();
    attach_sbom(&world, REV_B, REV_B, "1.3.0");
    let (packages, not_read) = compared_packages(&world);
    assert_eq!(packages, json!([]), "only the new set has an SBOM");
    assert_eq!(not_read[0]["part"], "sbom", "{not_read:?}");
    attach_sbom(&world, REV_A, REV_A, "1.1.0");
    let (packages, not_read) = compared_packages(&world);
    let changed = json!([{"type": "npm", "name": "left-pad", "from": "1.1.0", "to": "1.3.0"}]);
    assert_eq!(packages, changed, "{not_read:?}");
    assert!(not_read.is_empty(), "{not_read:?}");
}

#[test]
fn sbom_of_another_commit_is_not_read() {
    let world = trusted();
    attach_sbom(&world, REV_A, REV_A, "1.1.0");
    attach_sbom(&world, REV_B, REV_A, "1.3.0");
    let (packages, not_read) = compared_packages(&world);
    assert_eq!(packages, json!([]));
    assert_eq!(not_read[0]["part"], "sbom", "{not_read:?}");
}

#[test]
fn platform_has_the_packages_of_its_own_sbom() {
    let world = trusted();
    with_policy(&world, &format!("{POLICY}  subject: platforms\n"));
    for (revision, versions) in [(REV_A, ["1.1.0"; 2]), (REV_B, ["1.1.0", "1.3.0"])] {
        let resolve = ["resolve", "--revision", revision, "--format", "json"];
        let resolved = world.run(&resolve).exits(0).json();
        let platforms = resolved["images"][0]["platforms"].as_array().unwrap();
        for (platform, version) in platforms.iter().zip(versions) {
            let digest = platform["digest"].as_str().unwrap();
            let provenance = provenance(&name("review"), hex(digest), revision);
            let bundle = Signing::of(revision).bundle(&provenance);
            attached(&world, "review", digest, &bundle);
            attach_sbom_to(&world, digest, revision, version);
        }
    }
    let document = world.run(&[&PROMOTE[..], &["--contents"]].concat());
    let document = document.exits(0).json();
    let mut changed = Vec::new();
    for image in document["changes"]["images"].as_array().unwrap() {
        for difference in image["differences"].as_array().unwrap() {
            if difference["contents"]["packages"]["changed"] == 1 {
                changed.push(difference["platforms"].clone());
            }
        }
    }
    assert_eq!(changed, [json!(["linux/arm64"])], "{document}");
}

#[test]
fn sbom_without_compared_contents_is_not_read() {
    let world = trusted();
    attach_sbom(&world, REV_B, REV_A, "1.3.0");
    let config = world.read("repin.yaml");
    let inventory = "inventory: { kinds: { agents: { paths: ['^(.+)$'] } } }\n";
    let unread = || {
        let document = world.run(&PROMOTE).exits(0).json();
        let unread = not_read(&document["changes"]).into_iter().cloned();
        unread.collect::<Vec<_>>()
    };
    world.write("repin.yaml", config + inventory);
    assert_eq!(unread()[0]["part"], "sbom");
    let review = "ghcr.io/acme/review, pins: 3";
    world.replace("repin.yaml", review, &format!("{review}, inventory: false"));
    assert_eq!(unread(), [] as [Value; 0]);
}

#[test]
fn sbom_of_wrong_bytes_fails_and_a_missing_one_is_listed() {
    let world = trusted();
    let digest = world.digest("review", REV_A).to_owned();
    let attachment = attach_sbom_to(&world, &digest, REV_A, "1.1.0");
    let bundle = world.layout("review").blob_path(&attachment.bundle);
    let bytes = fs::read(&bundle).unwrap();
    let args = [&PROMOTE[..], &["--contents"]].concat();
    fs::write(&bundle, bytes.repeat(2)).unwrap();
    world.run(&args).exits(3);
    fs::remove_file(&bundle).unwrap();
    let document = world.run(&args).exits(0).json();
    assert_eq!(not_read(&document["changes"])[0]["part"], "sbom");
}

#[test]
fn each_platform_is_compared_with_itself() {
    let mut world = shop();
    let with = |platform: Platform, version| platform.layer(system(&[("openssl", version)], 0o755));
    for (revision, arm) in [(REV_A, "1"), (REV_B, "2")] {
        let [amd, arm64] =
            ["linux/amd64", "linux/arm64"].map(|name| shop::platform(name, revision));
        world.rebuild("review", revision, &[with(amd, "1"), with(arm64, arm)]);
    }
    world.pin(REV_A);
    let document = world.run(&PROMOTE).exits(0).json();
    let body = document["body"].as_str().unwrap();
    assert!(
        body.contains("review linux/arm64: openssl 1 → 2\n"),
        "{body}"
    );
    assert!(body.contains("review linux/amd64: same packages"), "{body}");
}

#[test]
fn only_read_contents_are_compared_by_default() {
    let world = changed();
    let fix = "pins: 2, contract: contracts/review.yaml";
    world.replace("repin.yaml", fix, "pins: 2, inventory: false");
    let document = world.run(&PROMOTE).exits(0).json();
    assert_ne!(contents_of(&document["changes"], "review"), &Value::Null);
    assert_eq!(contents_of(&document["changes"], "fix"), &Value::Null);
    let all = world.run(&[&PROMOTE[..], &["--contents"]].concat());
    assert_ne!(
        contents_of(&all.exits(0).json()["changes"], "fix"),
        &Value::Null
    );
}

#[test]
fn contracts_of_a_rollback_need_no_inventory() {
    let world = changed().with_git();
    world.adopt(REV_A);
    world.push();
    world.promoted(REV_B);
    let rollback = || {
        let args = ["rollback", "--to", REV_A, "--format", "json"];
        world.run(&args).exits(0).json()
    };
    let config = world.read("repin.yaml");
    let config = config.split("inventory:").next().unwrap();
    world.write("repin.yaml", config);
    world.write(
        "contracts/review.yaml",
        shop::CONTRACT.to_owned() + "# new\n",
    );
    let document = rollback();
    let warned = details(&document, "expected_yaml_unknown_kind", "warn");
    assert!(!warned.is_empty(), "{document}");
    assert!(contents_of(&document["changes"], "review").is_object());
    // The past contract alone selects no comparison of the contents.
    let config = config.replace(", contract: contracts/review.yaml", "");
    world.write("repin.yaml", config);
    let document = rollback();
    let passed = details(&document, "inventory_must_contain_missing", "pass");
    assert!(!passed.is_empty(), "{document}");
    assert!(contents_of(&document["changes"], "review").is_null());
}

/// The paragraph of `fix`, whose images have these layers at A and B, and the parts that were not read.
fn paragraph_of_fix(world: &mut World, old: &[u8], new: &[u8]) -> (String, usize) {
    for (revision, layer) in [(REV_A, old), (REV_B, new)] {
        let platform = Platform::new("linux/amd64", revision).layer(layer.to_vec());
        world.rebuild("fix", revision, &[platform]);
    }
    world.pin(REV_A);
    let document = world.run(&[
        "diff",
        "--revision",
        REV_B,
        "--contents",
        "--format",
        "json",
    ]);
    let unread = not_read(&document.exits(0).json()).len();
    let text = world.run(&["diff", "--revision", REV_B, "--contents", "fix"]);
    let text = text.exits(0).stdout;
    let shown = text.lines().find(|line| line.contains("same "));
    (shown.unwrap_or(&text).trim().to_owned(), unread)
}

#[test]
fn only_compared_parts_are_called_the_same() {
    let mut world = without_inventory();
    let status = |version| {
        Archive::new()
            .file("var/lib/dpkg/status", package("a", version))
            .end()
    };
    let other = Archive::new()
        .file("lib/apk/db/installed", "garbage\n")
        .end();
    let files = Archive::new().file("a", "").end();
    let berkeley = Archive::new().file("var/lib/rpm/Packages", "x").end();
    for (old, new, expected) in [
        (
            &status("1"),
            &status("1"),
            ("same packages and privileged files", 0),
        ),
        (&files, &files, ("same privileged files", 0)),
        (&files, &other, ("same privileged files", 1)),
        (&berkeley, &berkeley, ("same privileged files", 1)),
    ] {
        let (shown, unread) = paragraph_of_fix(&mut world, old, new);
        assert_eq!((shown.as_str(), unread), expected);
    }
}

#[test]
fn packages_of_one_name_have_their_types() {
    let mut world = without_inventory();
    let both = |deb: &str, apk: &str| {
        Archive::new()
            .file(
                "var/lib/dpkg/status",
                package("a", deb) + &package("b", deb),
            )
            .file(
                "lib/apk/db/installed",
                format!("P:a\nV:{apk}\nA:x86_64\n\n"),
            )
            .end()
    };
    let (text, _) = paragraph_of_fix(&mut world, &both("1", "1"), &both("2", "3"));
    assert!(
        text.contains("    a (apk) 1 → 3, a (deb) 1 → 2, b 1 → 2\n"),
        "{text}"
    );
}

#[test]
fn order_of_a_listing_does_not_matter() {
    let world = trusted();
    for revision in [REV_A, REV_B] {
        attach_sbom(&world, revision, revision, "1.1.0");
        let digest = world.digest("review", revision).to_owned();
        for number in 0..40 {
            attached(&world, "review", &digest, &json!({ "number": number }));
        }
    }
    let args = [
        "diff",
        "--revision",
        REV_B,
        "--contents",
        "--format",
        "json",
    ];
    let document = world.run(&args).exits(0).json();
    let path = "images/review/index.json";
    let mut index: Value = serde_json::from_str(&world.read(path)).unwrap();
    index["manifests"].as_array_mut().unwrap().reverse();
    world.write(path, index.to_string());
    assert_eq!(world.run(&args).exits(0).json(), document);
    let reason = not_read(&document)[0]["reason"].as_str().unwrap();
    assert!(reason.contains("more than 32"), "{document}");
}

#[test]
fn body_lists_ten_packages() {
    let mut world = without_inventory();
    let packages = |version| {
        let list = (0..12).map(|number| package(&format!("p{number:02}"), version));
        Archive::new()
            .file("var/lib/dpkg/status", list.collect::<String>())
            .end()
    };
    paragraph_of_fix(&mut world, &packages("1"), &packages("2"));
    let document = world.run(&[&PROMOTE[..], &["--contents"]].concat());
    let document = document.exits(0).json();
    let body = document["body"].as_str().unwrap();
    let line = body.lines().find(|line| line.starts_with("fix: ")).unwrap();
    assert!(line.ends_with("p09 1 → 2, … 2 more changed"), "{line}");
    let listed = &contents_of(&document["changes"], "fix")["packages"]["list"];
    assert_eq!(listed.as_array().unwrap().len(), 12);
}
