//! `repin diff`, and the section "What changes" of a promotion.

use serde_json::{Value, json};

use crate::{
    support::{
        authority::{self, Signing},
        fake::{Fake, Reaction},
        layout::Platform,
        registry::{Protection, Registry},
        world::{REV_A, REV_B, REV_C, World, both, git, world},
    },
    verify::{IMAGES, POLICY, attest, unsigned, with_policy},
};

const SOURCE: &str = "org.opencontainers.image.source";

/// Two commits of the source in the same repository, with images of a set that is promoted from the
/// first to the second.
fn promoted() -> (World, String, String) {
    promoted_with("fix: retry `now` @ada (#412)")
}

fn promoted_with(subject: &str) -> (World, String, String) {
    let world = world().with_git();
    let old = world.commit("feat: serve");
    let new = source_commit(&world, subject);
    for (revision, entry) in [(&old, "A=1"), (&new, "LOG_FORMAT=json")] {
        for image in ["review", "fix", "base"] {
            let platform = |name| {
                Platform::new(name, revision)
                    .env(entry)
                    .label("image", image)
            };
            let platforms = [platform("linux/amd64"), platform("linux/arm64")];
            world.layout(image).image(revision, &platforms);
        }
    }
    (world, old, new)
}

fn source_commit(world: &World, subject: &str) -> String {
    let commit = world.commit(subject);
    world.push();
    commit
}

fn promote(world: &World, revision: &str) {
    world
        .run(&["promote", "--revision", revision, "--apply"])
        .exits(0);
    world.commit(&format!("promote: test images @{revision}"));
    world.push();
}

fn diff(world: &World, args: &[&str]) -> Value {
    let args = [&["diff", "--format", "json"], args].concat();
    world.run(&args).exits(0).json()
}

#[test]
fn newest_two_sets_are_compared() {
    let (world, old, new) = promoted();
    promote(&world, &old);
    promote(&world, &new);
    let document = diff(&world, &[]);
    assert_eq!(document["schema"], "repin.diff/1");
    assert_eq!(document["from"]["revision"], old.as_str());
    assert_eq!(document["from"]["known_by"], "history");
    assert_eq!(document["to"]["revision"], new.as_str());
    let source = &document["source"];
    assert_eq!(source["stated_by"], "clone");
    assert_eq!(source["read_from"], "clone");
    assert_eq!(source["descendant"], true);
    assert_eq!(source["link"], Value::Null);
    assert_eq!(source["removed"]["count"], 0);
    assert_eq!(source["added"]["count"], 1);
    assert_eq!(source["added"]["authors"], 1);
    assert_eq!(
        source["added"]["commits"][0]["pull_request"], 412,
        "{source}"
    );
    let [review, fix] = document["images"].as_array().unwrap().as_slice() else {
        panic!("{document}");
    };
    assert_eq!(fix["name"], "fix");
    let [difference] = review["differences"].as_array().unwrap().as_slice() else {
        panic!("{review}");
    };
    assert_eq!(
        difference["platforms"],
        json!(["linux/amd64", "linux/arm64"])
    );
    assert_eq!(
        difference["environment"],
        json!({"added": ["LOG_FORMAT"], "removed": ["A"], "changed": []})
    );
    assert_eq!(difference["contents"], Value::Null);
    assert_eq!(document["not_read"], json!([]));
    // The set of a commit, an abbreviation, and the opposite direction.
    let commit = document["to"]["commit"].as_str().unwrap().to_owned();
    let reversed = diff(&world, &["--from", &commit[..9], "--to", &old[..9], "fix"]);
    assert_eq!(reversed["from"]["revision"], new.as_str());
    assert_eq!(reversed["source"]["descendant"], false);
    assert_eq!(reversed["source"]["removed"]["count"], 1);
    assert_eq!(reversed["images"].as_array().unwrap().len(), 1);
    // Another image than the selected one is not even read.
    let (_, config) = config_of(&world, "review", &old);
    std::fs::write(config, "wrong").unwrap();
    let selected = diff(&world, &["--from", &commit, "--to", &old, "fix"]);
    assert_eq!(selected, reversed);
    world.run(&["diff"]).exits(3);
}

/// The digest and the file of the config of an image with one platform or more.
fn config_of(world: &World, image: &str, tag: &str) -> (String, std::path::PathBuf) {
    let index = world.path("images").join(image).join("index.json");
    let index: Value = serde_json::from_slice(&std::fs::read(index).unwrap()).unwrap();
    let entry = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == tag);
    let mut manifest = blob_json(world, image, entry.unwrap()["digest"].as_str().unwrap());
    if let Some(platform) = manifest["manifests"][0]["digest"].as_str() {
        manifest = blob_json(world, image, platform);
    }
    let digest = manifest["config"]["digest"].as_str().unwrap().to_owned();
    let file = blob(world, image, &digest);
    (digest, file)
}

#[test]
fn current_set_is_that_of_the_work_tree() {
    let (world, old, new) = promoted();
    promote(&world, &old);
    let commit = world.head();
    promote(&world, &new);
    let plan = |args: &[&str]| {
        let args = [args, &["--format", "json"]].concat();
        world.run(&args).exits(0).json()["changes"].clone()
    };
    let of_history = json!({"revision": old, "known_by": "history", "commit": commit});
    assert_eq!(plan(&["rollback", "--to", &old])["to"], of_history);
    let older = plan(&["promote", "--revision", &old, "--allow-older"]);
    let argument = json!({"revision": old, "known_by": "argument", "commit": null});
    assert_eq!(older["to"], argument);
    // The pins differ from those of the last commit.
    world.run(&["rollback", "--to", &old, "--apply"]).exits(0);
    let args = ["promote", "--revision", &new];
    assert_eq!(plan(&args)["from"], of_history);
    for image in ["review", "fix", "base"] {
        let platform = Platform::new("linux/amd64", REV_C).label("image", image);
        world.layout(image).image(REV_C, &both(platform));
    }
    let apply = ["promote", "--revision", REV_C, "--apply"];
    world.run(&apply).exits(0);
    let unrecorded = json!({"revision": REV_C, "known_by": "label", "commit": null});
    assert_eq!(plan(&args)["from"], unrecorded);
}

#[test]
fn equal_revisions_have_no_commits() {
    // No clone contains the commit.
    let world = world().with_git();
    let document = diff(&world, &["--revision", REV_A]);
    let source = &document["source"];
    assert_eq!(source["descendant"], true);
    for list in ["added", "removed"] {
        assert_eq!(source[list]["count"], 0, "{document}");
    }
    assert_eq!(document["not_read"], json!([]));
}

#[test]
fn versions_have_no_commits() {
    let world = world().with_git();
    for (revision, version) in [(REV_A, "1.0.0"), (REV_B, "1.1.0")] {
        for image in ["review", "fix", "base"] {
            // Like the tags of git; the tag in the registry has no `v`.
            let platform =
                Platform::new("linux/amd64", &format!("v{version}")).label("image", image);
            world.layout(image).untag(revision);
            world.layout(image).image(version, &both(platform));
        }
    }
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "revision: { pattern: semver }\n",
    );
    let apply = ["promote", "--revision", "1.0.0", "--apply"];
    world
        .run(&[&apply[..], &["--allow-older"]].concat())
        .exits(0);
    let document = diff(&world, &["--revision", "1.1.0"]);
    assert_eq!(document["from"]["revision"], "1.0.0", "by its labels");
    assert_eq!(
        reasons(&document),
        ["commits are listed only between revisions that are commit ids"]
    );
}

/// The reasons of everything that was not read.
fn reasons(document: &Value) -> Vec<&str> {
    let not_read = document["not_read"].as_array().unwrap().iter();
    not_read
        .map(|entry| entry["reason"].as_str().unwrap())
        .collect()
}

#[test]
fn missing_commits_have_a_reason() {
    let (world, old, _) = promoted();
    promote(&world, &old);
    let lacks = "this clone does not contain both revisions";
    let args = ["--revision", REV_B];
    let document = diff(&world, &args);
    let unconfigured = format!("{lacks}, and `source` is not configured");
    assert_eq!(reasons(&document), [unconfigured]);
    let config = world.read("repin.yaml");
    world.write("repin.yaml", format!("{config}source: ./gone\n"));
    let document = diff(&world, &args);
    let [reason] = reasons(&document)[..] else {
        panic!("{document}");
    };
    assert!(reason.starts_with(&format!("{lacks}; ")), "{reason}");
    // A shallow clone may lack commits between the revisions that it contains.
    world.write("repin.yaml", config);
    let (world, old, new) = promoted();
    promote(&world, &old);
    let origin = format!("file://{}", world.path("origin.git").display());
    world.git(&["clone", "-q", "--depth", "3", &origin, "clone"]);
    let clone = world.path("clone");
    std::os::unix::fs::symlink(world.path("images"), clone.join("images")).unwrap();
    let args = ["diff", "--format", "json", "--revision", &new];
    let document = world.run_in(&clone, &args, &[]).exits(0).json();
    assert_eq!(document["from"]["revision"], *old);
    assert_eq!(reasons(&document), ["this clone is shallow"]);
}

#[test]
fn commits_of_a_local_source_are_listed() {
    let world = world().with_git();
    let directory = tempfile::tempdir().unwrap();
    let app = directory.path();
    git(app, &["init", "-q", "-b", "main"]);
    let commit = |subject: &str| {
        git(app, &["commit", "-q", "--allow-empty", "-m", subject]);
        git(app, &["rev-parse", "HEAD"]).trim().to_owned()
    };
    let [old, new] = ["feat: serve", "fix: retry"].map(commit);
    for revision in [&old, &new] {
        for image in ["review", "fix", "base"] {
            let platform = Platform::new("linux/amd64", revision);
            world.layout(image).image(revision, &both(platform));
        }
    }
    promote(&world, &old);
    let args = ["--revision", &new];
    let unconfigured = "this clone does not contain both revisions, and `source` is not configured";
    assert_eq!(reasons(&diff(&world, &args)), [unconfigured]);
    let config = world.read("repin.yaml");
    world.write("repin.yaml", format!("{config}source: {}\n", app.display()));
    let document = diff(&world, &args);
    let added = &document["source"]["added"];
    assert_eq!(added["count"], 1, "{document}");
    assert_eq!(added["commits"][0]["subject"], "fix: retry");
    // The body of a promotion lists the same commits.
    let [_, _, body] = outputs(&world, &new);
    assert!(body.contains("fix: retry"), "{body}");
}

#[test]
fn newest_build_is_compared() {
    let (world, old, new) = promoted();
    world.git(&["tag", "released", &new]);
    for revision in [REV_A, REV_B, REV_C] {
        for image in ["review", "fix", "base"] {
            world.layout(image).untag(revision);
        }
    }
    promote(&world, &old);
    let newest = diff(&world, &["-r", "newest"]);
    assert_eq!(newest["to"]["revision"], *new, "{newest}");
    assert_eq!(newest, diff(&world, &["--revision", &new]));
    let both = diff(&world, &["--from", "current", "--to", "newest"]);
    assert_eq!(both["to"]["revision"], *new);
    // Nothing is newer than the current set.
    promote(&world, &new);
    let ran = world
        .run(&["diff", "-r", "newest", "--format", "json"])
        .exits(0);
    let document = ran.json();
    assert_eq!(document["from"], document["to"]);
    assert!(ran.stderr.contains("nothing newer"), "{}", ran.stderr);
}

#[test]
fn credentials_in_labels_and_subjects_are_masked() {
    let token = format!("ghp_{}", "a1B2".repeat(9));
    let (world, old, _) = promoted();
    world.replace(
        "repin.yaml",
        "labels: [dev.acme.version]",
        "labels: [dev.acme.version, dev.acme.note, dev.acme.password]",
    );
    promote(&world, &old);
    let new = source_commit(
        &world,
        &format!("fix: use {token} and --password hunter22 (#7)"),
    );
    for image in ["review", "fix", "base"] {
        let platforms = ["linux/amd64", "linux/arm64"].map(|name| {
            Platform::new(name, &new)
                .label("dev.acme.version", "1.2.3")
                .label("dev.acme.note", &format!("built with {token}"))
                .label("dev.acme.password", "hunter22")
        });
        world.layout(image).image(&new, &platforms);
    }
    for output in outputs(&world, &new) {
        assert!(!output.contains(&token), "{output}");
        assert!(!output.contains("hunter22"), "{output}");
        assert!(
            output.contains("***") || output.contains(r"\*\*\*"),
            "{output}"
        );
        assert!(output.contains("1.2.3"), "{output}");
    }
    let [_, json, _] = outputs(&world, &new);
    let document: Value = serde_json::from_str(&json).unwrap();
    let commit = &document["source"]["added"]["commits"][0];
    assert_eq!(commit["subject"], "fix: use *** and --password *** (#7)");
    assert_eq!(commit["pull_request"], 7);
    let promoted = world
        .run(&["promote", "--revision", &new, "--format", "json"])
        .exits(0);
    let labels = &promoted.json()["images"][0]["labels"];
    assert_eq!(labels["dev.acme.note"], "built with ***");
    assert_eq!(labels["dev.acme.password"], "***");
    // History shows subjects too.
    world
        .run(&["promote", "--revision", &new, "--apply"])
        .exits(0);
    world.commit(&format!("promote: test images @{new}\n\n{token}"));
    world.git(&[
        "commit",
        "-q",
        "--amend",
        "-m",
        &format!("move {token}\n\nRepin-Set: {new}"),
    ]);
    world.push();
    let ran = world.run(&["history", "--format", "json"]).exits(0);
    assert!(!ran.stdout.contains(&token), "{}", ran.stdout);
    assert!(ran.stdout.contains("move ***"), "{}", ran.stdout);
}

#[test]
fn image_of_one_set_is_added_or_removed() {
    let world = world().with_git();
    let commit = |pins: &[&str], revision: &'static str| {
        let (mut images, mut lines) = (String::new(), String::new());
        for image in pins {
            let digest = world.digest(image, revision);
            images.push_str(
                &[
                    "  ",
                    image,
                    ": { repository: ghcr.io/acme/",
                    image,
                    ", pins: 1 }\n",
                ]
                .concat(),
            );
            lines.push_str(&["image: ghcr.io/acme/", image, "@", digest, "\n"].concat());
        }
        world.write(
            "repin.yaml",
            format!(
                "version: 1\nname: test images\nfiles: ['*.yml']\nsources: {{ ghcr.io/acme: oci:images }}\nimages:\n{images}"
            ),
        );
        world.write("a.yml", lines);
        world.commit(&format!("promote: test images @{revision}"))
    };
    let one = commit(&["fix"], REV_A);
    let both = commit(&["fix", "review"], REV_B);
    world.push();
    for (from, to, [absent, present]) in
        [(&one, &both, ["from", "to"]), (&both, &one, ["to", "from"])]
    {
        let document = diff(&world, &["--from", from, "--to", to]);
        let images = document["images"].as_array().unwrap();
        let review = images.iter().find(|image| image["name"] == "review");
        let review = review.unwrap_or_else(|| panic!("{document}"));
        assert_eq!(review[absent], Value::Null, "{document}");
        assert_eq!(review[present], world.digest("review", REV_B));
    }
    // A commit whose pins of an image disagree.
    world.write(
        "a.yml",
        world.read("a.yml") + &format!("image: ghcr.io/acme/fix@{}\n", world.digest("fix", REV_A)),
    );
    world.replace("repin.yaml", "acme/fix, pins: 1", "acme/fix, pins: 2");
    let mixed = world.commit(&format!("promote: test images @{REV_B}"));
    world.push();
    let document = diff(&world, &["--from", &one, "--to", &mixed]);
    let reason = format!("its pins disagree in commit {}", &mixed[..10]);
    assert!(reasons(&document).contains(&&*reason), "{document}");
}

#[test]
fn page_shows_changes_only_on_request() {
    let (world, old, new) = promoted();
    promote(&world, &old);
    promote(&world, &new);
    let page = |args: &[&str]| {
        let args = [&["history", "--html", "-"], args].concat();
        world.run(&args).exits(0).stdout
    };
    let text = page(&["--changes"]);
    for shown in [
        "<strong>What changed</strong> ",
        ": 1 commit by 1 author",
        "fix: retry `now` @ada (#412), <span",
        "<td>env +LOG_FORMAT, −A</td>",
    ] {
        assert!(text.contains(shown), "{shown} in {text}");
    }
    assert!(!text.contains("LOG_FORMAT=json"), "{text}");
    let text = page(&[]);
    assert!(!text.contains("What changed"), "{text}");
    for args in [&["--changes"][..], &["--all", "--html", "-", "--changes"]] {
        world.run(&[&["history"], args].concat()).exits(2);
    }
}

#[test]
fn page_escapes_commits_and_states_missing_images() {
    let (world, old, new) = promoted_with("<script>alert(1)</script> \u{202e}");
    promote(&world, &old);
    promote(&world, &new);
    let document = diff(&world, &[]);
    let digest = document["images"][0]["to"].as_str().unwrap();
    std::fs::remove_file(blob(&world, "review", digest)).unwrap();
    let ran = world.run(&["history", "--html", "-", "--changes"]).exits(0);
    for shown in [
        "&lt;script&gt;alert(1)&lt;&#x2f;script&gt; \\u{202e}, <span",
        "image review not read: ",
    ] {
        assert!(ran.stdout.contains(shown), "{shown} in {}", ran.stdout);
    }
    assert_eq!(ran.stdout.matches("<script").count(), 1);
}

#[test]
fn text_fits_in_80_columns() {
    let (world, old, new) = promoted();
    promote(&world, &old);
    let ran = world.run(&["diff", "--revision", &new]).exits(0);
    for line in ran.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    insta::assert_snapshot!(
        ran.stdout
            .replace(&old[..7], "OLD")
            .replace(&new[..7], "NEW")
    );
    assert_eq!(ran.stderr, "");
}

#[test]
fn unknown_sets_and_images_are_refused() {
    let (world, old, _) = promoted();
    promote(&world, &old);
    for args in [
        &["diff", "--from", "v9", "--to", "current"][..],
        &["diff", "nope"],
        &["diff", "--from", "current"],
    ] {
        world.run(args).exits(2);
    }
    let ran = world.run(&["diff", "--revision", REV_C]).exits(1);
    assert!(ran.stderr.contains("tag_missing"), "{}", ran.stderr);
}

#[test]
fn unpromoted_set_is_known_by_its_labels() {
    let world = world().with_git();
    let document = diff(&world, &["--revision", REV_B]);
    assert_eq!(
        document["from"],
        json!({"revision": REV_A, "known_by": "label", "commit": document["from"]["commit"]})
    );
    assert_eq!(document["to"]["known_by"], "argument");
    assert_eq!(document["source"]["added"], Value::Null);
    assert_eq!(document["not_read"][0]["part"], "commits");
}

#[test]
fn disagreeing_pins_are_not_compared() {
    let world = world().with_git();
    let (a, b) = (world.digest("fix", REV_A), world.digest("fix", REV_B));
    let text = world.read(".github/workflows/b.yml");
    world.write(".github/workflows/b.yml", text.replacen(a, b, 1));
    let document = diff(&world, &["--revision", REV_B]);
    let images = document["images"].as_array().unwrap();
    assert!(images.iter().all(|image| image["name"] != "fix"));
    // The labels of the other images do not state the revision of the set.
    assert_eq!(document["from"]["revision"], Value::Null, "{document}");
    let selected = diff(&world, &["--revision", REV_B, "review"]);
    assert_eq!(selected["from"]["revision"], REV_A, "{selected}");
    assert!(
        !selected["not_read"].to_string().contains("disagree"),
        "{selected}"
    );
    let not_read = document["not_read"].as_array().unwrap();
    let entry = not_read.iter().find(|entry| entry["image"] == "fix");
    assert!(
        entry.unwrap()["reason"]
            .as_str()
            .unwrap()
            .contains("disagree")
    );
}

#[test]
fn labels_state_a_link_to_a_known_forge() {
    const APP: &str = "https://github.com/acme/app";
    const OTHER: &str = "https://github.com/acme/other";
    let labels = |labels: [&str; 2], other: &str, forge: &str| {
        let mut world = world().with_git();
        for (revision, label) in [REV_A, REV_B].into_iter().zip(labels) {
            for image in ["review", "fix", "base"] {
                let is_other = image == "fix" && !other.is_empty();
                let label = if is_other { other } else { label };
                let platform = Platform::new("linux/amd64", revision).label(SOURCE, label);
                world.rebuild(image, revision, &[platform.label("image", image)]);
            }
        }
        world.pin(REV_A);
        world.write("repin.yaml", world.read("repin.yaml") + forge);
        diff(&world, &["--revision", REV_B])["source"].clone()
    };
    let same = labels([APP; 2], APP, "");
    assert_eq!(same["stated_by"], "label", "{same}");
    // Another repository of one image, or of one set, or on another server than the forge.
    let forge =
        "forge: { kind: gitea, url: 'https://git.example/api/v1', repository: acme/deploy }\n";
    for source in [
        labels([APP; 2], OTHER, ""),
        labels([APP, OTHER], "", ""),
        labels(
            ["https://evil.example/acme/app"; 2],
            "https://evil.example/acme/app",
            forge,
        ),
        // Without a URL, the API of a forge is no known host.
        labels(
            ["https://api.github.com/acme/app"; 2],
            "https://api.github.com/acme/app",
            "forge: { kind: github, repository: acme/deploy }\n",
        ),
    ] {
        assert_eq!(
            (&source["stated_by"], &source["link"]),
            (&json!("clone"), &Value::Null)
        );
    }
    for (source, link) in [
        ("https://github.com/acme/app", true),
        ("https://github.com/acme/app.git", true),
        ("http://github.com/acme/app", false),
        ("https://github.com/acme/app/", false),
        ("https://evil.example/acme/app", false),
        ("https://github.com:444/acme/app", false),
    ] {
        let mut world = world().with_git();
        for revision in [REV_A, REV_B] {
            for image in ["review", "fix", "base"] {
                let platform = Platform::new("linux/amd64", revision).label(SOURCE, source);
                world.rebuild(image, revision, &[platform]);
            }
        }
        world.pin(REV_A);
        let document = diff(&world, &["--revision", REV_B]);
        let expected = format!("https://github.com/acme/app/compare/{REV_A}...{REV_B}");
        if link {
            assert_eq!(document["source"]["link"], expected);
            assert_eq!(document["source"]["stated_by"], "label");
        } else {
            assert_eq!(document["source"]["link"], Value::Null, "{source}");
            assert_eq!(document["source"]["stated_by"], "clone");
        }
    }
}

#[test]
fn body_contains_the_section_twice_alike() {
    let (world, old, new) = promoted();
    promote(&world, &old);
    let args = ["promote", "--revision", &new, "--format", "json"];
    let document = world.run(&args).exits(0).json();
    assert_eq!(document["changes"]["to"]["known_by"], "argument");
    assert!(document["changes"].get("schema").is_none());
    let body = document["body"].as_str().unwrap();
    assert_eq!(document, world.run(&args).exits(0).json());
    let section = body.split("### What changes").nth(1).unwrap();
    let section = section.split("### Labels").next().unwrap();
    let section = section.split("### Files").next().unwrap();
    insta::assert_snapshot!(
        section
            .replace(&old[..7], "OLD")
            .replace(&new[..7], "NEW")
            .replace('\u{200b}', "<ZWSP>")
    );
    let without = world.run(&[&args[..], &["--no-changes"]].concat()).exits(0);
    let without = without.json();
    assert_eq!(without["changes"], Value::Null);
    assert!(
        !without["body"]
            .as_str()
            .unwrap()
            .contains("### What changes")
    );
    world.replace("repin.yaml", "report: {", "report: { changes: source,");
    let source = world.run(&args).exits(0).json();
    assert_eq!(source["changes"]["images"], json!([]));
    assert_eq!(source["changes"]["source"]["added"]["count"], 1);
}

#[test]
fn rollback_lists_the_commits_that_it_takes_away() {
    let (world, old, new) = promoted();
    promote(&world, &old);
    promote(&world, &new);
    let document = world
        .run(&["rollback", "--to", &old, "--format", "json"])
        .exits(0)
        .json();
    let changes = &document["changes"];
    assert_eq!(changes["source"]["descendant"], false);
    assert_eq!(changes["source"]["removed"]["count"], 1);
    assert_eq!(changes["to"]["known_by"], "history");
    let body = document["body"].as_str().unwrap();
    assert!(
        body.contains("not a descendant: 1 commit is taken away, 0 are added"),
        "{body}"
    );
}

/// Pushes the layouts of the pinned images to a registry after a proxy that records requests.
fn served(world: &World) -> (tempfile::TempDir, Registry) {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path(), &Protection::None);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for image in ["review", "fix", "base"] {
        let (name, layout) = (format!("acme/{image}"), world.path("images").join(image));
        runtime.block_on(registry.push_layout(&name, &layout));
    }
    (directory, registry)
}

#[test]
fn registry_gives_the_same_differences() {
    let (world, old, new) = promoted();
    promote(&world, &old);
    let (_directory, registry) = served(&world);
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host);
    let remote = diff(&world, &["--revision", &new, "--source", &source]);
    assert_eq!(remote, diff(&world, &["--revision", &new]));
}

#[test]
fn single_platform_images_cost_no_request() {
    let mut world = world();
    for revision in [REV_A, REV_B] {
        for image in ["review", "fix", "base"] {
            let platform = Platform::new("linux/amd64", revision).env(revision);
            world.rebuild(image, revision, &[platform]);
        }
    }
    let (_directory, registry) = served(&world);
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host);
    let run = |more: &[&str]| {
        let args = ["promote", "--revision", REV_A, "--source", &source];
        world.run(&[&args[..], more].concat()).exits(0);
    };
    run(&["--apply", "--allow-lost-platform"]);
    let requests = |more: &[&str]| {
        let before = registry.requests().len();
        let args = ["promote", "--revision", REV_B, "--source", &source];
        let ran = world.run(&[&args[..], &["--format", "json"], more].concat());
        let document = ran.exits(0).json();
        let mut requests = registry.requests().split_off(before);
        requests.sort();
        (document, requests)
    };
    let (with, requested) = requests(&[]);
    assert_eq!(with["changes"]["images"].as_array().unwrap().len(), 2);
    let (without, expected) = requests(&["--no-changes"]);
    assert_eq!(without["changes"], Value::Null);
    assert!(expected.len() > 6, "{expected:?}");
    assert_eq!(requested, expected);
}

#[test]
fn nothing_is_requested_twice() {
    let mut world = world().with_git();
    for revision in [REV_A, REV_B] {
        for image in IMAGES {
            let platforms = [
                Platform::new("linux/amd64", revision),
                Platform::new("linux/arm64", REV_A).env("SHARED=1"),
            ];
            world.rebuild(image, revision, &platforms);
        }
    }
    world.pin(REV_A);
    world.adopt(REV_A);
    world.pin(REV_B);
    world.commit(&format!("promote: test images @{REV_B}"));
    world.push();
    let (_directory, registry) = served(&world);
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host);
    let before = registry.requests().len();
    let document = diff(
        &world,
        &["--from", REV_A, "--to", REV_B, "--source", &source],
    );
    assert_eq!(document["images"].as_array().unwrap().len(), 2);
    let mut requests = registry.requests().split_off(before);
    // Of each of two images: two indexes, three platforms, and their configs.
    assert_eq!(requests.len(), 2 * (2 + 3 + 3), "{requests:#?}");
    requests.sort();
    requests.dedup();
    assert_eq!(requests.len(), 2 * (2 + 3 + 3), "{requests:#?}");
}

#[test]
fn rollback_reads_replaced_images_only_to_report_them() {
    let (world, old, new) = promoted();
    promote(&world, &old);
    promote(&world, &new);
    let (_directory, registry) = served(&world);
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host);
    let (config, _) = config_of(&world, "review", &new);
    let has_read = || {
        let before = registry.requests().len();
        let args = [
            "rollback",
            "--to",
            &old,
            "--no-changes",
            "--source",
            &source,
        ];
        world.run(&args).exits(0);
        let mut requests = registry.requests().split_off(before).into_iter();
        requests.any(|line| line.contains(&config))
    };
    assert!(has_read());
    world.replace("repin.yaml", "report: { labels: [dev.acme.version] }\n", "");
    assert!(!has_read());
}

/// The file of a blob in the layout of an image.
fn blob(world: &World, image: &str, digest: &str) -> std::path::PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap();
    world
        .path("images")
        .join(image)
        .join("blobs/sha256")
        .join(hex)
}

fn blob_json(world: &World, image: &str, digest: &str) -> Value {
    serde_json::from_slice(&std::fs::read(blob(world, image, digest)).unwrap()).unwrap()
}

/// The digest of the config of `fix`, which has one platform, and that of a platform of `review`.
fn current_documents(world: &World) -> [(&'static str, String); 2] {
    let fix = blob_json(world, "fix", world.digest("fix", REV_A));
    let review = blob_json(world, "review", world.digest("review", REV_A));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    [
        ("fix", text(&fix["config"]["digest"])),
        ("review", text(&review["manifests"][0]["digest"])),
    ]
}

#[test]
fn wrong_bytes_of_the_current_set_fail() {
    for index in 0..2 {
        let world = world().with_git();
        let (image, digest) = &current_documents(&world)[index];
        let file = blob(&world, image, digest);
        let bytes = std::fs::read_to_string(&file).unwrap();
        let wrong = bytes
            .replacen("linux", "xunil", 1)
            .replacen("layers", "lagers", 1);
        assert_ne!(bytes, wrong);
        std::fs::write(&file, wrong).unwrap();
        for args in [
            &["promote", "--revision", REV_B][..],
            &["diff", "--revision", REV_B],
        ] {
            let ran = world.run(args).exits(3);
            assert!(ran.stderr.contains("hash to"), "{}", ran.stderr);
        }
    }
}

#[test]
fn missing_parts_of_the_current_set_are_listed() {
    for index in 0..2 {
        let world = world().with_git();
        let (image, digest) = &current_documents(&world)[index];
        std::fs::remove_file(blob(&world, image, digest)).unwrap();
        let args = ["promote", "--revision", REV_B, "--format", "json"];
        let document = world.run(&args).exits(0).json();
        let not_read = document["changes"]["not_read"].as_array().unwrap();
        let entry = not_read.iter().find(|entry| entry["image"] == *image);
        assert_eq!(entry.unwrap()["part"], "image", "{not_read:?}");
        let body = document["body"].as_str().unwrap();
        assert!(
            body.contains(&format!("- image {image} not read: ")),
            "{body}"
        );
    }
}

#[test]
fn summary_contains_the_section() {
    let world = world().with_git();
    let summary = world.path("summary.md");
    let ran = world.run_with(
        &["diff", "--revision", REV_B, "--format", "github"],
        &[("GITHUB_STEP_SUMMARY", summary.to_str().unwrap())],
    );
    assert!(ran.exits(0).stdout.contains("review\n"));
    let summary = std::fs::read_to_string(summary).unwrap();
    assert!(summary.starts_with("### What changes\n"), "{summary}");
    assert!(summary.contains("| review | "), "{summary}");
}

#[test]
fn image_without_pins_is_refused() {
    let ran = world().run(&["diff", "--revision", REV_B, "base"]).exits(2);
    assert!(
        ran.stderr.contains("`base` has `pins: 0`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn help_lists_the_forms_of_a_set() {
    let world = world().with_git();
    let ran = world.run(&["diff", "--from", "nope", "--to", "current"]);
    let text = ran.exits(2).stderr.replace('\n', " ");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("a SET is also `current`, `newest`, or a commit that records a set"),
        "{text}"
    );
}

/// Text, document and body of the changes to a revision.
fn outputs(world: &World, revision: &str) -> [String; 3] {
    let json = ["diff", "--revision", revision, "--format", "json"];
    let text = world.run(&["diff", "--revision", revision]).exits(0).stdout;
    let json = world.run(&json).exits(0).stdout;
    let args = ["promote", "--revision", revision, "--format", "json"];
    let document = world.run(&args).exits(0).json();
    [text, json, document["body"].as_str().unwrap().to_owned()]
}

#[test]
fn addresses_of_authors_never_appear() {
    let (world, old, _) = promoted();
    promote(&world, &old);
    for (author, message) in [
        ("ada@secret.example <ada@secret.example>", "one"),
        ("Eve <eve@secret.example>", ""),
    ] {
        let author = format!("--author={author}");
        let args = ["commit", "-q", "--allow-empty", "--allow-empty-message"];
        world.git(&[&args[..], &[&author, "-m", message]].concat());
    }
    world.push();
    let newest = world.head();
    for image in ["review", "fix", "base"] {
        let platform = Platform::new("linux/amd64", &newest).label("image", image);
        world.layout(image).image(&newest, &both(platform));
    }
    let [text, json, body] = outputs(&world, &newest);
    for output in [&text, &json, &body] {
        assert!(!output.contains("secret.example"), "{output}");
        assert!(!output.contains("@example.com"), "{output}");
    }
    for output in [text, body] {
        assert!(output.contains("one, ada\n"), "{output}");
        assert!(output.contains("(no subject), Eve\n"), "{output}");
    }
}

#[test]
fn lists_and_subjects_are_limited() {
    let (world, old, _) = promoted();
    promote(&world, &old);
    let mut newest = String::new();
    for number in 0..25 {
        newest = world.commit(&format!("{number} {}", "s".repeat(200)));
    }
    world.push();
    for image in ["review", "fix", "base"] {
        let platform = Platform::new("linux/amd64", &newest).label("image", image);
        world.layout(image).image(&newest, &both(platform));
    }
    let [text, json, body] = outputs(&world, &newest);
    let document: Value = serde_json::from_str(&json).unwrap();
    // With the commit of the promotion and the one before the 25.
    let added = &document["source"]["added"];
    assert_eq!(added["count"], 27);
    assert_eq!(added["commits"].as_array().unwrap().len(), 27);
    let subject = format!("24 {}…", "s".repeat(117));
    assert_eq!(added["commits"][0]["subject"], subject.as_str());
    assert!(body.contains(&format!("{subject}, A\n")), "{body}");
    let listed = body.lines().filter(|line| line.contains(" ssss")).count();
    assert_eq!(listed, 20);
    assert!(body.contains("- … 7 more\n"), "{body}");
    assert!(text.contains("+ … 7 more\n"), "{text}");
}

#[test]
fn configured_parts_are_reported() {
    let (world, old, new) = promoted();
    promote(&world, &old);
    promote(&world, &new);
    let before = world.commit("before the configurations");
    for (changes, source, images, contents) in [
        ("none", false, false, false),
        ("source", true, false, false),
        ("images", true, true, false),
        ("contents", true, true, true),
    ] {
        world.git(&["checkout", "-q", &before, "--", "repin.yaml"]);
        world.replace(
            "repin.yaml",
            "report: {",
            &format!("report: {{ changes: {changes},"),
        );
        for args in [
            ["rollback", "--to", &old, "--format", "json"],
            ["promote", "--revision", &old, "--allow-older", "--format"],
        ] {
            let more: &[&str] = if args[0] == "promote" { &["json"] } else { &[] };
            let document = world.run(&[&args[..], more].concat()).exits(0).json();
            let reported = &document["changes"];
            let shown = (
                reported["source"].is_object(),
                reported["images"][0].is_object(),
                reported["images"][0]["differences"][0]["contents"].is_object(),
            );
            assert_eq!(shown, (source, images, contents), "{changes} {args:?}");
        }
    }
}

/// Two commits, and images that state their source. No set is promoted.
fn labeled() -> (World, [String; 2]) {
    let world = world().with_git();
    let revisions = [world.commit("one"), world.commit("two")];
    world.push();
    for revision in &revisions {
        for image in ["review", "fix", "base"] {
            let platforms = ["linux/amd64", "linux/arm64"].map(|name| {
                Platform::new(name, revision)
                    .label(SOURCE, "https://github.com/acme/app")
                    .label("image", image)
            });
            world.layout(image).image(revision, &platforms);
        }
    }
    (world, revisions)
}

#[test]
fn images_are_read_for_missing_facts() {
    let (world, [old, new]) = labeled();
    let args = ["promote", "--revision", &new, "--format", "json"];
    let changes = || world.run(&args).exits(0).json()["changes"].clone();
    let config = world.read("repin.yaml");
    let config = config.replace("report: {", "report: { changes: source,");
    let with_source = config.clone() + "source: ./origin.git\n";
    world.write("repin.yaml", &with_source);
    world
        .run(&["promote", "--revision", &old, "--apply"])
        .exits(0);
    world.commit("by hand");
    world.push();
    assert_eq!(changes()["from"]["known_by"], "label");
    let title = format!("promote: test images @{old}");
    world.git(&["commit", "-q", "--amend", "-m", &title]);
    world.push();
    world.write("repin.yaml", &config);
    let shown = changes();
    assert_eq!(shown["from"]["known_by"], "history");
    assert_eq!(shown["source"]["stated_by"], "label");
    // With a known revision and source, wrong bytes matter only for the images.
    let pins = world.read(".github/workflows/a.yml");
    let (_, digest) = pins.split_once("b: 'ghcr.io/acme/review:").unwrap();
    let (_, digest) = digest.split_once('@').unwrap();
    let index = blob_json(&world, "review", &digest[..71]);
    let platform = index["manifests"][0]["digest"].as_str().unwrap();
    std::fs::write(blob(&world, "review", platform), "{}").unwrap();
    world.write("repin.yaml", &with_source);
    assert_eq!(changes()["source"]["stated_by"], "configuration");
    world.replace("repin.yaml", "changes: source", "changes: images");
    world.run(&args).exits(3);
}

#[test]
fn missing_image_of_both_sets_is_requested_once() {
    let world = world().with_git();
    world.adopt(REV_A);
    world.push();
    let registry = Fake::start(|_| Reaction::new(404, "{}"));
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host());
    let sets = ["--from", "current", "--to", "current"];
    diff(&world, &[&sets[..], &["--source", &source]].concat());
    let mut requests = registry.log();
    requests.retain(|line| line.contains("/manifests/"));
    assert_eq!(requests.len(), 2, "{requests:?}");
}

#[test]
fn link_of_a_rollback_compares_the_new_set_with_the_old() {
    let (world, [old, new]) = &labeled();
    promote(world, old);
    promote(world, new);
    let args = ["rollback", "--to", old, "--format", "json"];
    let document = world.run(&args).exits(0).json();
    let link = format!("https://github.com/acme/app/compare/{old}...{new}");
    assert_eq!(document["changes"]["source"]["link"], link);
    let back = diff(world, &["--from", new, "--to", old]);
    assert_eq!(back["source"]["link"], link);
    let body = document["body"].as_str().unwrap();
    let range = format!("[{}...{}]({link})", &old[..7], &new[..7]);
    assert!(body.contains(&range), "{body}");
}

#[test]
fn signatures_prove_the_stated_source() {
    let mut world = unsigned();
    for revision in [REV_A, REV_B] {
        for image in IMAGES {
            let platform = Platform::new("linux/amd64", revision)
                .label(SOURCE, authority::SOURCE)
                .label("image", image);
            world.rebuild(image, revision, &[platform]);
            attest(&world, image, revision, &Signing::of(revision), revision);
        }
    }
    world.pin(REV_A);
    let args = ["promote", "--revision", REV_B, "--format", "json"];
    let document = world.run(&args).exits(0).json();
    let source = &document["changes"]["source"];
    assert_eq!(source["stated_by"], "signature", "{document}");
    assert_eq!(
        source["link"],
        format!("{}/compare/{REV_A}...{REV_B}", authority::SOURCE)
    );
    let body = document["body"].as_str().unwrap();
    assert!(!body.contains("as the image's label states"), "{body}");
    // A signature that is not bound to the commit proves no source.
    let unbound = POLICY.replace("  trusted", "      commit: \"off\"\n  trusted");
    with_policy(&world, &unbound);
    let document = world.run(&args).exits(0).json();
    assert_eq!(document["changes"]["source"]["stated_by"], "label");
    with_policy(&world, POLICY);
    // The label states another repository than the signature.
    for image in IMAGES {
        let platform = Platform::new("linux/amd64", REV_A)
            .label(SOURCE, "https://github.com/acme/other")
            .label("image", image);
        world.rebuild(image, REV_A, &[platform]);
        let platform = Platform::new("linux/amd64", REV_B)
            .label(SOURCE, "https://github.com/acme/other")
            .label("image", image);
        world.rebuild(image, REV_B, &[platform]);
        for revision in [REV_A, REV_B] {
            attest(&world, image, revision, &Signing::of(revision), revision);
        }
    }
    world.pin(REV_A);
    let document = world.run(&args).exits(0).json();
    assert_eq!(
        document["changes"]["source"]["stated_by"], "label",
        "{document}"
    );
}
