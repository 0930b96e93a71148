//! Which image a signature is about: moved and swapped tags, names, triggers, platforms, and a policy
//! that a pull request weakens.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::{
    support::{
        attach,
        authority::{Key, Signing, cosign_attestation, cosign_signature, provenance},
        layout::Platform,
        world::{REV_A, REV_B, World, both, details, failed, world},
    },
    verify::{POLICY, PROMOTE, attached, hex, name, trusted, unsigned, with_policy},
};

/// Signatures by the workflow, of any form.
const SIGNATURES: &str = "verify:
  require: [signature]
  signers:
    - workflow: https://github.com/acme/runtime/.github/workflows/build.yml
  trusted_roots: [root.json]
";

/// Builds `fix` so that it differs from the other images, and attests it under a name.
fn build_fix(world: &mut World, revision: &'static str, signed: &str) {
    // With the platforms of `review`, so that an exchange loses none.
    let platform = Platform::new("linux/amd64", revision).files(&[("name", signed)]);
    world.rebuild("fix", revision, &both(platform));
    let digest = world.digest("fix", revision).to_owned();
    let statement = provenance(signed, hex(&digest), revision);
    let bundle = Signing::of(revision).bundle(&statement);
    attached(world, "fix", &digest, &bundle);
}

/// A world with different images that have attestations.
fn distinct() -> World {
    let mut world = trusted();
    for revision in [REV_A, REV_B] {
        build_fix(&mut world, revision, &name("fix"));
    }
    world.pin(REV_A);
    world
}

/// Moves the tag of `image` to a digest of the image `from`, with its attestations, as anyone can who
/// may push.
fn move_tag(world: &World, image: &str, revision: &str, from: &str, digest: &str) {
    let layouts = world.path("images");
    let (source, target) = (layouts.join(from), layouts.join(image));
    for blob in fs::read_dir(source.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        let copy = target.join("blobs/sha256").join(blob.file_name());
        fs::copy(blob.path(), copy).unwrap();
    }
    let index = fs::read(source.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let layout = world.layout(image);
    layout.untag(revision);
    for entry in index["manifests"].as_array().unwrap() {
        let tag = &entry["annotations"]["org.opencontainers.image.ref.name"];
        if entry["digest"] == digest {
            let mut entry = entry.clone();
            entry["annotations"]["org.opencontainers.image.ref.name"] = json!(revision);
            layout.add(entry);
        } else if tag.is_null() {
            layout.add(entry.clone());
        }
    }
}

/// Exchanges the images of `review` and `fix` at a revision.
fn swap(world: &World, revision: &'static str) {
    let [review, fix] = ["review", "fix"].map(|image| world.digest(image, revision).to_owned());
    let (from, to) = (
        world.path("images/review"),
        world.path("images/review-before"),
    );
    let copied = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(copied.unwrap().success());
    move_tag(world, "review", revision, "fix", &fix);
    move_tag(world, "fix", revision, "review-before", &review);
}

#[test]
fn tag_of_another_image_is_refused() {
    let world = distinct();
    world.run(&PROMOTE).exits(0);
    let fix = world.digest("fix", REV_B).to_owned();
    move_tag(&world, "review", REV_B, "fix", &fix);
    let document = world.refuses(&[], 1, &["digest_shared", "attestation_other_image"]);
    let detail = details(&document, "attestation_other_image", "fail");
    assert_eq!(detail.len(), 1);
    assert!(
        detail[0].contains("an image other than ghcr.io/acme/review"),
        "{detail:?}"
    );
    assert!(
        detail[0].contains("it refers to ghcr.io/acme/fix"),
        "{detail:?}"
    );
    // Without a policy, only the digest shows it.
    with_policy(&world, "");
    let document = world.run(&PROMOTE).exits(0).json();
    let shared = details(&document, "digest_shared", "warn");
    assert_eq!(
        shared,
        [format!("`review` and `fix` have one digest, {fix}")]
    );
}

#[test]
fn swapped_images_are_refused() {
    let world = distinct();
    swap(&world, REV_B);
    let document = world.refuses(&[], 1, &["attestation_other_image"]);
    assert_eq!(
        details(&document, "attestation_other_image", "fail").len(),
        2
    );
}

#[test]
fn image_of_another_repository_needs_signed_as() {
    let mut world = trusted();
    build_fix(&mut world, REV_B, "ghcr.io/acme/fix-debug:v1");
    let document = world.refuses(&[], 1, &["attestation_other_image"]);
    let detail = &details(&document, "attestation_other_image", "fail")[0];
    assert!(
        detail.contains("it refers to ghcr.io/acme/fix-debug:v1"),
        "{detail}"
    );
    let signed_as = |name: &str| {
        world.replace(
            "repin.yaml",
            "fix, pins: 2",
            &format!("fix, signed_as: [{name}], pins: 2"),
        );
    };
    signed_as("ghcr.io/acme/fix-debug");
    let document = world.run(&PROMOTE).exits(0).json();
    assert_eq!(details(&document, "attestation_unbound", "warn"), [""; 0]);
    world.replace(
        "repin.yaml",
        "[ghcr.io/acme/fix-debug]",
        "[ghcr.io/acme/fix-other]",
    );
    world.refuses(&[], 1, &["attestation_other_image"]);
    world.replace(
        "repin.yaml",
        "ghcr.io/acme/fix-other",
        "ghcr.io/acme/fix:v1",
    );
    world.run(&PROMOTE).exits(2);
}

#[test]
fn rollback_to_swapped_images_is_refused() {
    let mut world = world();
    world.write("root.json", crate::support::authority::root().to_string());
    for revision in [REV_A, REV_B] {
        build_fix(&mut world, revision, &name("fix"));
        for image in ["review", "base"] {
            crate::verify::attest(&world, image, revision, &Signing::of(revision), revision);
        }
    }
    world.pin(REV_A);
    let world = world.with_git();
    // The swapped set was promoted before there was a policy.
    swap(&world, REV_A);
    let [review, fix] = ["review", "fix"].map(|image| world.digest(image, REV_A).to_owned());
    for (file, text) in [
        (".github/workflows/a.yml", review.clone()),
        (".github/workflows/b.yml", fix.clone()),
    ] {
        let swapped = world
            .read(file)
            .replace(&review, "REVIEW")
            .replace(&fix, &review);
        assert!(world.read(file).contains(&text));
        world.write(file, swapped.replace("REVIEW", &fix));
    }
    world.commit(&format!("promote: test images @{REV_A}"));
    world.push();
    world.promoted(REV_B);
    let back = ["rollback", "--to", REV_A];
    world.run(&back).exits(0);
    with_policy(&world, POLICY);
    let document = world.refuses_to(&back, 1, &["attestation_other_image"]);
    assert_eq!(
        details(&document, "attestation_other_image", "fail").len(),
        2
    );
}

#[test]
fn check_remote_refuses_pinned_images_of_another_repository() {
    let world = distinct().with_git();
    let check = ["check", "--remote", "--format", "json"];
    world.run(&check).exits(0);
    // `review` is pinned to the digest of `fix`, and its tag was moved there.
    let [review, fix] = ["review", "fix"].map(|image| world.digest(image, REV_A).to_owned());
    move_tag(&world, "review", REV_A, "fix", &fix);
    for file in [".github/workflows/a.yml", ".github/workflows/b.yml"] {
        world.write(file, world.read(file).replace(&review, &fix));
    }
    let document = world.run(&check).exits(1).json();
    assert_eq!(
        failed(&document),
        ["digest_shared", "attestation_other_image"]
    );
    // The pins show that two images have one digest, without a request.
    let document = world.run(&["check", "--format", "json"]).exits(1).json();
    assert_eq!(failed(&document), ["digest_shared"]);
    with_policy(&world, "");
    let document = world.run(&check).exits(0).json();
    assert_eq!(details(&document, "digest_shared", "warn").len(), 1);
}

#[test]
fn copies_may_share_a_digest_if_declared() {
    let world = distinct();
    let fix = world.digest("fix", REV_B).to_owned();
    move_tag(&world, "review", REV_B, "fix", &fix);
    world.replace(
        "repin.yaml",
        "review, pins",
        "review, signed_as: [ghcr.io/acme/fix], pins",
    );
    let document = world.run(&PROMOTE).exits(0).json();
    assert_eq!(details(&document, "digest_shared", "warn").len(), 1);
    // The image with the declaration may also be the later one.
    world.replace("repin.yaml", ", signed_as: [ghcr.io/acme/fix]", "");
    world.replace(
        "repin.yaml",
        "fix, pins",
        "fix, signed_as: [ghcr.io/acme/review], pins",
    );
    let document = world.run(&PROMOTE).json();
    assert_eq!(details(&document, "digest_shared", "warn").len(), 1);
}

/// Signs every image at B as cosign 2 does, with the name that `docker_reference` makes.
fn sign(world: &World, docker_reference: impl Fn(&str) -> String) {
    for image in ["review", "fix", "base"] {
        let digest = world.digest(image, REV_B).to_owned();
        let signing = [Signing::of(REV_B)];
        attach::signatures(
            &world.layout(image),
            &docker_reference(image),
            &digest,
            &signing,
        );
    }
}

#[test]
fn payload_of_another_repository_is_refused() {
    let signed = |docker_reference: &dyn Fn(&str) -> String| {
        let world = unsigned();
        with_policy(&world, SIGNATURES);
        sign(&world, docker_reference);
        world
    };
    signed(&|image| name(image)).run(&PROMOTE).exits(0);
    signed(&|image| format!("{}:v1", name(image)))
        .run(&PROMOTE)
        .exits(0);
    let moved = |image: &str| {
        if image == "review" {
            name("fix")
        } else {
            name(image)
        }
    };
    let document = signed(&moved).refuses(&[], 1, &["attestation_other_image"]);
    assert_eq!(
        details(&document, "attestation_other_image", "fail").len(),
        1
    );
    signed(&|_| String::new()).refuses(&[], 1, &["attestation_unbound"]);
}

#[test]
fn nameless_signature_needs_subject_name_any() {
    let world = unsigned();
    with_policy(&world, SIGNATURES);
    for (image, revision) in ["review", "fix", "base"]
        .iter()
        .flat_map(|image| [(image, REV_A), (image, REV_B)])
    {
        let digest = world.digest(image, revision).to_owned();
        let bundle = Signing::of(revision).bundle(&cosign_signature(hex(&digest)));
        attached(&world, image, &digest, &bundle);
    }
    let document = world.refuses(&[], 1, &["attestation_unbound"]);
    let mut checks = document["checks"].as_array().unwrap().iter();
    let help = checks
        .find(|check| check["code"] == "attestation_unbound")
        .unwrap();
    let help = help["help"].as_str().unwrap();
    assert!(help.contains("`verify.subject_name: any`"), "{help}");

    with_policy(&world, &format!("{SIGNATURES}  subject_name: any\n"));
    let document = world.run(&PROMOTE).exits(0).json();
    let stated = "`subject_name: any`: the repository in signatures is not compared";
    let warned = details(&document, "attestation_unbound", "warn");
    assert_eq!(warned.len(), 3);
    assert!(warned[0].starts_with(stated), "{warned:?}");
    assert!(warned[0].contains(" refers to no repository"), "{warned:?}");
    let body = document["body"].as_str().unwrap();
    assert!(
        body.contains("`attestation_unbound`") && body.contains("subject_name: any"),
        "{body}"
    );
    let world = world.with_git();
    for run in [
        &["promote", "--revision", REV_B][..],
        &["check", "--remote"],
    ] {
        for format in ["human", "github"] {
            let ran = world.run(&[run, &["--format", format]].concat()).exits(0);
            let text = format!("{}{}", ran.stdout, ran.stderr);
            assert!(text.contains(stated), "{run:?} {format}: {text}");
        }
    }
    let sarif = world
        .run(&["check", "--remote", "--format", "sarif"])
        .exits(0);
    assert!(sarif.stdout.contains(stated), "{}", sarif.stdout);
    let document = world
        .run(&["check", "--remote", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(details(&document, "attestation_unbound", "warn").len(), 2);
}

#[test]
fn unbound_commit_is_reported_in_every_format() {
    let world = trusted();
    with_policy(
        &world,
        &POLICY.replace("  trusted", "      commit: \"off\"\n  trusted"),
    );
    let world = world.with_git();
    let stated = "a signer has `commit: off`: the commit is not bound";
    for run in [
        &["promote", "--revision", REV_B][..],
        &["check", "--remote"],
    ] {
        for format in ["human", "github"] {
            let ran = world.run(&[run, &["--format", format]].concat()).exits(0);
            let text = format!("{}{}", ran.stdout, ran.stderr);
            assert!(text.contains(stated), "{run:?} {format}: {text}");
        }
        let document = world
            .run(&[run, &["--format", "json"]].concat())
            .exits(0)
            .json();
        let warned = details(&document, "commit_unbound", "warn");
        assert!(warned[0].contains("the commit is not bound"), "{warned:?}");
    }
    let document = world.run(&PROMOTE).exits(0).json();
    let body = document["body"].as_str().unwrap();
    assert!(body.contains("`commit_unbound`"), "{body}");
    let sarif = world
        .run(&["check", "--remote", "--format", "sarif"])
        .exits(0);
    assert!(sarif.stdout.contains("commit_unbound"), "{}", sarif.stdout);
    // A bound commit is not reported.
    with_policy(&world, POLICY);
    let document = world.run(&PROMOTE).exits(0).json();
    assert_eq!(details(&document, "commit_unbound", "warn"), [""; 0]);
}

#[test]
fn document_contains_the_commit_of_an_unbound_signature() {
    let world = unsigned();
    let policy = POLICY.replace("  trusted", "      commit: \"off\"\n  trusted");
    with_policy(&world, &policy);
    for image in ["review", "fix", "base"] {
        let digest = world.digest(image, REV_B).to_owned();
        let statement = provenance(&name(image), hex(&digest), REV_A);
        let bundle = Signing::of(REV_A).bundle(&statement);
        attached(&world, image, &digest, &bundle);
    }
    let document = world.run(&PROMOTE).exits(0).json();
    let verified = &document["images"][0]["verified"][0];
    assert_eq!(verified["commit"], REV_A);
    assert_eq!(verified["commit_bound"], false);
}

#[test]
fn untrusted_event_and_ref_are_refused() {
    let signed = |change: &dyn Fn(&mut Signing)| {
        let world = unsigned();
        for image in ["review", "fix", "base"] {
            let digest = world.digest(image, REV_B).to_owned();
            let mut signing = Signing::of(REV_B);
            change(&mut signing);
            let statement = provenance(&name(image), hex(&digest), REV_B);
            attached(&world, image, &digest, &signing.bundle(&statement));
        }
        world
    };
    let world = signed(&|signing| signing.trigger = Some("pull_request_target".to_owned()));
    let document = world.refuses(&[], 1, &["signer_untrusted"]);
    let detail = &details(&document, "signer_untrusted", "fail")[0];
    assert!(detail.contains("trigger: pull_request_target"), "{detail}");
    let event =
        |event: &str| POLICY.replace("  trusted", &format!("      trigger: [{event}]\n  trusted"));
    with_policy(&world, &event("pull_request_target"));
    world.run(&PROMOTE).exits(0);
    with_policy(&world, &event("push"));
    world.refuses(&[], 1, &["signer_untrusted"]);
    let world = signed(&|signing| {
        signing.identity.clear();
        signing
            .identity
            .push_str("https://github.com/acme/runtime/.github/workflows/build.yml");
        signing.identity.push_str("@evil.yml@refs/heads/main");
    });
    with_policy(&world, &POLICY.replace("      ref: refs/heads/main\n", ""));
    world.refuses(&[], 1, &["signer_untrusted"]);
    with_policy(&world, &POLICY.replace("build.yml", "build.yml@evil.yml"));
    let ran = world.run(&["promote", "--revision", REV_B]).exits(2);
    assert!(
        ran.stderr.contains("must not contain one"),
        "{}",
        ran.stderr
    );
    // A workflow of another repository, called from another branch.
    let shared = POLICY.replace("acme/runtime", "acme/workflows");
    let shared = shared.replace(
        "  trusted",
        "      source: https://github.com/acme/runtime\n  trusted",
    );
    let identity = "https://github.com/acme/workflows/.github/workflows/build.yml@refs/heads/main";
    for (source_ref, exit) in [("refs/heads/main", 0), ("refs/heads/evil", 1)] {
        let world = signed(&|signing| {
            identity.clone_into(&mut signing.identity);
            signing.source_ref = Some(source_ref.to_owned());
        });
        with_policy(&world, &shared);
        world.run(&PROMOTE).exits(exit);
    }
}

/// The indexes below lack platforms of the pinned one.
const LOST: &[&str] = &["--allow-lost-platform"];

/// Builds an image of two platforms, each listed for a platform of `platforms`.
fn build_index(world: &mut World, platforms: &[(&'static str, Value); 2]) {
    let layout = world.layout("review");
    let entries: Vec<_> = platforms
        .iter()
        .enumerate()
        .map(|(at, (built, listed))| {
            let file = at.to_string();
            let platform = Platform::new(built, REV_B).files(&[("at", &file)]);
            let mut entry = layout.manifest(&platform).descriptor();
            entry["platform"] = listed.clone();
            entry
        })
        .collect();
    let index = layout.index(&entries);
    layout.untag(REV_B);
    layout.tag(REV_B, &index);
    world
        .digests
        .insert(("review".to_owned(), REV_B), index.digest);
}

#[test]
fn index_has_the_platforms_of_its_images() {
    let listed = |architecture: &str| json!({"os": "linux", "architecture": architecture});
    let mut world = world();
    build_index(
        &mut world,
        &[
            ("linux/amd64", listed("arm64")),
            ("linux/arm64", listed("amd64")),
        ],
    );
    let document = world.refuses(LOST, 1, &["platform_mismatch"]);
    let detail = details(&document, "platform_mismatch", "fail");
    assert_eq!(detail.len(), 2);
    assert!(
        detail[0].ends_with("for linux/arm64, but its configuration is for linux/amd64"),
        "{detail:?}"
    );
    world.pin(REV_B);
    let check = ["check", "--remote", "--format", "json"];
    assert_eq!(
        failed(&world.run(&check).exits(1).json()),
        ["platform_mismatch"]
    );
    let windows = json!({"os": "windows", "architecture": "arm64"});
    build_index(
        &mut world,
        &[("linux/amd64", listed("amd64")), ("linux/arm64", windows)],
    );
    world.pin(REV_A);
    world.refuses(LOST, 1, &["platform_mismatch"]);
    let stated = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
    build_index(
        &mut world,
        &[("linux/amd64", listed("amd64")), ("linux/arm64", stated)],
    );
    world.run(&PROMOTE).exits(0);
}

#[test]
fn every_platform_occurs_once() {
    let of = |platforms| {
        let mut world = world();
        build_index(&mut world, &platforms);
        world
    };
    let arm = |variant: &str| json!({"os": "linux", "architecture": "arm64", "variant": variant});
    let plain = || json!({"os": "linux", "architecture": "arm64"});
    let versioned = |version: &str| {
        let mut platform = plain();
        platform["os.version"] = json!(version);
        platform
    };
    for twins in [
        [plain(), plain()],
        [plain(), arm("v8")],
        [versioned("1"), versioned("2")],
    ] {
        let [one, other] = twins;
        let world = of([("linux/arm64", one), ("linux/arm64", other)]);
        world.refuses(LOST, 1, &["platform_duplicate"]);
        world.pin(REV_B);
        let check = world
            .run(&["check", "--remote", "--format", "json"])
            .exits(1)
            .json();
        assert_eq!(failed(&check), ["platform_duplicate"]);
    }
    of([("linux/arm64", plain()), ("linux/arm64", arm("v9"))])
        .run(&[&PROMOTE[..], LOST].concat())
        .exits(0);
}

/// The warnings of `check --remote` about the policy.
fn weakened(world: &World) -> Vec<String> {
    let document = world
        .run(&["check", "--remote", "--format", "json"])
        .exits(0)
        .json();
    details(&document, "policy_weakened", "warn")
}

#[test]
fn weaker_policy_than_on_the_base_is_reported() {
    let world = trusted().with_git();
    assert_eq!(weakened(&world), [""; 0]);
    let expect = |keys: &str| {
        assert_eq!(
            weakened(&world),
            [format!("weaker than on origin/main: {keys}")]
        );
    };
    with_policy(&world, "");
    expect("verify");
    let ran = world.run(&["check", "--remote"]).exits(0);
    assert!(ran.stderr.contains("policy_weakened"), "{}", ran.stderr);
    // Committed on a separate branch.
    world.git(&["checkout", "-q", "-b", "change"]);
    world.commit("no policy");
    expect("verify");
    with_policy(
        &world,
        &POLICY.replace("      ref: refs/heads/main\n", "      runner: any\n"),
    );
    expect("verify.signers[0].ref, verify.signers[0].runner");
    with_policy(&world, &format!("{POLICY}  subject_name: any\n"));
    expect("verify.subject_name");
    with_policy(&world, POLICY);
    world.replace(
        "repin.yaml",
        "fix, pins: 2",
        "fix, signed_as: [ghcr.io/acme/x], pins: 2",
    );
    expect("images.fix.signed_as");
    world.replace(
        "repin.yaml",
        "fix, signed_as: [ghcr.io/acme/x], pins: 2",
        "fix, pins: 2",
    );
    assert_eq!(weakened(&world), [""; 0]);
    world.write(
        "root.json",
        crate::support::authority::root().to_string() + "\n",
    );
    expect("root.json (replaced)");
    // Another file replaces none.
    world.git(&["checkout", "-q", "main", "--", "root.json"]);
    world.write("other.json", world.read("root.json"));
    with_policy(&world, &POLICY.replace("root.json", "other.json"));
    expect("verify.trusted_roots");
    // A stricter policy is not reported.
    with_policy(
        &world,
        &POLICY.replace("  trusted", "      trigger: [push]\n  trusted"),
    );
    assert_eq!(weakened(&world), [""; 0]);
}

#[test]
fn changed_base_does_not_hide_default_branch() {
    let world = trusted().with_git();
    world.git(&["checkout", "-q", "-b", "evil"]);
    with_policy(&world, "");
    let config = world.read("repin.yaml");
    world.write(
        "repin.yaml",
        config + "forge: { kind: github, repository: acme/flows, base: evil }\n",
    );
    world.commit("another base");
    world.git(&["push", "-q", "origin", "evil"]);
    world.git(&["remote", "set-head", "origin", "main"]);
    assert_eq!(
        weakened(&world),
        ["weaker than on origin/main: forge.base, verify"]
    );
}

#[test]
fn keys_of_a_moved_policy_are_compared() {
    let world = trusted().with_git();
    fs::create_dir(world.path("moved")).unwrap();
    for name in ["repin.yaml", "root.json", ".github"] {
        world.git(&["mv", name, "moved"]);
    }
    fs::rename(world.path("images"), world.path("moved/images")).unwrap();
    world.git(&["add", "-A"]);
    let args = [
        "check",
        "--remote",
        "--config",
        "moved/repin.yaml",
        "--format",
        "json",
    ];
    let warned = || details(&world.run(&args).exits(0).json(), "policy_weakened", "warn");
    assert_eq!(warned(), [""; 0]);
    world.write("moved/root.json", world.read("moved/root.json") + "\n");
    assert_eq!(
        warned(),
        ["weaker than repin.yaml on origin/main: root.json (replaced)"]
    );
}

#[test]
fn unknown_base_is_reported() {
    let world = trusted().with_git();
    let config = world.read("repin.yaml");
    world.write(
        "repin.yaml",
        format!("forge: {{ kind: github, repository: acme/flows, base: gone }}\n{config}"),
    );
    let ran = world.run(&["check", "--remote", "--format", "json"]);
    let skipped = details(&ran.json(), "policy_weakened", "skip");
    assert_eq!(skipped.len(), 1, "{}", ran.stdout);
    assert!(skipped[0].contains("gone"), "{skipped:?}");
}

#[test]
fn any_reference_can_be_shown() {
    let world = distinct();
    let digest = world.digest("fix", REV_B).to_owned();
    let show = |reference: &str| world.run(&["trust", "show", reference, "--format", "json"]);
    for reference in [
        format!("ghcr.io/acme/fix:{REV_B}"),
        format!("ghcr.io/acme/fix@{digest}"),
    ] {
        let document = show(&reference).exits(0).json();
        assert_eq!(document["images"][0]["name"], "fix");
        assert_eq!(document["images"][0]["digest"], digest);
        let candidate = &document["images"][0]["candidates"][0];
        assert_eq!(candidate["satisfies"], true, "{candidate}");
        assert_eq!(candidate["subject_name"], "ghcr.io/acme/fix");
        assert_eq!(candidate["trigger"], "push");
    }
    // A repository that is not configured.
    fs::rename(world.path("images/fix"), world.path("images/other")).unwrap();
    let document = show(&format!("ghcr.io/acme/other:{REV_B}")).exits(0).json();
    assert_eq!(document["images"][0]["name"], "ghcr.io/acme/other");
    let candidate = &document["images"][0]["candidates"][0];
    assert_eq!(candidate["satisfies"], false);
    assert_eq!(candidate["reason"], "it refers to ghcr.io/acme/fix");
    let ran = world
        .run(&["trust", "show", "ghcr.io/acme/other:none"])
        .exits(1);
    assert!(
        ran.stderr
            .contains("ghcr.io/acme/other:none does not exist"),
        "{}",
        ran.stderr
    );
    let ran = world.run(&["trust", "show", "ghcr.io/acme/other"]).exits(2);
    assert!(
        ran.stderr
            .contains("expected a configured image, a digest or a reference"),
        "{}",
        ran.stderr
    );
    // As the screen of `status` abbreviates it.
    let ran = world.run(&["trust", "show", &digest[..19]]).exits(2);
    assert!(ran.stderr.contains("write all 64 digits"), "{}", ran.stderr);
    let ran = world.run(&["trust", "show", "reviev"]).exits(2);
    assert!(
        ran.stderr.contains("did you mean `review`?"),
        "{}",
        ran.stderr
    );
}

#[test]
fn key_signs_under_the_name_of_the_repository() {
    let world = unsigned();
    with_policy(
        &world,
        "verify:
  signers: [{ key: cosign.pub, log: \"off\", commit: \"off\" }]
",
    );
    world.write("cosign.pub", Key::named("signer").pem());
    let mut signing = Signing::of("");
    signing.log = None;
    let attest = |image: &str, signed: &str| {
        let digest = world.digest(image, REV_B).to_owned();
        let statement = cosign_attestation(signed, hex(&digest), REV_B);
        attached(
            &world,
            image,
            &digest,
            &signing.bundle_by_key(&statement, "signer"),
        );
    };
    for image in ["review", "base"] {
        attest(image, &name(image));
    }
    attest("fix", "ghcr.io/acme/review");
    world.refuses(&[], 1, &["attestation_other_image"]);
    attest("fix", "ghcr.io/acme/fix");
    world.run(&PROMOTE).exits(0);
}
