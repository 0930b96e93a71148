//! `verify`: signatures and attestations in promote, rollback and `check --remote`, from layouts
//! that carry them and from a registry.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::support::{
    attach::{self, Attachment},
    authority::{self, ISSUER, Key, SOURCE, Signing, WORKFLOW, provenance, statement},
    fake::{Reaction, Request},
    forge,
    hosted::{self, FORGES},
    layout::Platform,
    world::{REV_A, REV_B, World, details, failed, world},
};

pub(crate) const IMAGES: [&str; 3] = ["review", "fix", "base"];

/// The policy of these tests.
pub(crate) const POLICY: &str = "verify:
  signers:
    - workflow: https://github.com/acme/runtime/.github/workflows/build.yml
      ref: refs/heads/main
  trusted_roots: [root.json]
";

/// The usual world with a policy and the root of our authority; no image is signed yet.
pub(crate) fn unsigned() -> World {
    let world = world();
    with_policy(&world, POLICY);
    world.write("root.json", authority::root().to_string());
    world
}

pub(crate) fn with_policy(world: &World, policy: &str) {
    let config = world.read("repin.yaml");
    let config = config.split("verify:").next().unwrap().to_owned();
    world.write("repin.yaml", config + policy);
}

/// The repository of an image, as its signature names it.
pub(crate) fn name(image: &str) -> String {
    format!("ghcr.io/acme/{image}")
}

pub(crate) fn hex(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}

/// The same with an attestation of each image at A and B.
pub(crate) fn trusted() -> World {
    let world = unsigned();
    for revision in [REV_A, REV_B] {
        for image in IMAGES {
            attest(&world, image, revision, &Signing::of(revision), revision);
        }
    }
    world
}

/// Attaches an attestation for `commit` to an image at a revision.
pub(crate) fn attest(
    world: &World,
    image: &str,
    revision: &'static str,
    signing: &Signing,
    commit: &str,
) -> Attachment {
    let digest = world.digest(image, revision).to_owned();
    let statement = provenance(&name(image), hex(&digest), commit);
    attached(world, image, &digest, &signing.bundle(&statement))
}

pub(crate) fn attached(world: &World, image: &str, digest: &str, bundle: &Value) -> Attachment {
    let layout = world.layout(image);
    let attachment = attach::bundle(&layout, digest, bundle.to_string().as_bytes());
    attach::list(&layout, &[&attachment]);
    attachment
}

pub(crate) const PROMOTE: [&str; 5] = ["promote", "--revision", REV_B, "--format", "json"];

#[test]
fn attested_set_is_promoted_with_its_evidence() {
    let world = trusted();
    let document = world.run(&PROMOTE).exits(0).json();
    assert_eq!(details(&document, "signature_missing", "pass").len(), 3);
    let proof = &document["images"][0]["verified"][0];
    let digest = world.digest("review", REV_B);
    let bundle = proof["bundle"].clone();
    assert_eq!(
        *proof,
        json!({
            "require": "attestation", "subject": digest, "platform": null, "bundle": bundle,
            "predicate_type": authority::SLSA, "signer": format!("{WORKFLOW}@refs/heads/main"),
            "issuer": ISSUER, "source": SOURCE, "commit": REV_B, "commit_bound": true,
            "runner": "github-hosted", "key": null, "root": "root.json",
            "time": "2024-06-01T12:00:00Z", "log": {"url": "https://log.example", "index": 1001},
        })
    );
    let body = document["body"].as_str().unwrap();
    assert!(body.contains("### Signatures and attestations"), "{body}");
    assert!(body.contains("`https://log.example 1001`"), "{body}");
    assert!(!body.contains("is not bound"), "{body}");
    // No clock: a second run writes the same bytes.
    assert_eq!(world.run(&PROMOTE).exits(0).json(), document);
    let table = world.run(&["-v", "promote", "--revision", REV_B]).exits(0);
    assert!(
        table.stdout.contains("build.yml@refs/heads/main"),
        "{}",
        table.stdout
    );
}

#[test]
fn unsigned_set_is_not_written() {
    let world = trusted();
    let run = |world: &World| world.run(&["set", "--revision", REV_B, "--out", "set.json"]);
    let first = run(&world).exits(0).stdout;
    let set: Value = serde_json::from_str(&world.read("set.json")).unwrap();
    let plan = world.run(&PROMOTE).exits(0).json();
    for image in 0..3 {
        let (in_set, in_plan) = (&set["images"][image], &plan["images"][image]);
        assert_eq!(in_set["verified"], in_plan["verified"]);
        assert_eq!(in_set["verified"].as_array().unwrap().len(), 1);
    }
    assert_eq!(run(&world).exits(0).stdout, first);
    // Another root verifies another set, even if it has the same images.
    let root = world.read("root.json");
    world.write("root.json", root + "\n");
    assert_ne!(run(&world).exits(0).stdout, first);

    let world = unsigned();
    let ran = run(&world).exits(1);
    let code = "error[signature_missing]";
    assert!(ran.stderr.contains(code), "{}", ran.stderr);
    assert!(!world.path("set.json").exists());
}

#[test]
fn without_policy_no_signatures_are_requested() {
    let world = trusted();
    with_policy(&world, "");
    let document = world.run(&PROMOTE).exits(0).json();
    assert_eq!(document["images"][0]["verified"], json!([]));
    let codes = document["checks"].to_string();
    assert!(!codes.contains("signature_missing"), "{codes}");
    let body = document["body"].as_str().unwrap();
    assert!(!body.contains("### Signatures"), "{body}");
}

#[test]
fn unsigned_image_is_refused() {
    let world = unsigned();
    let document = world.refuses(&[], 1, &["signature_missing"]);
    let first = &document["checks"].as_array().unwrap().iter();
    let help = first
        .clone()
        .find(|check| check["code"] == "signature_missing");
    let help = help.unwrap()["help"].as_str().unwrap().to_owned();
    assert!(help.contains("push-to-registry: true"), "{help}");
    assert_eq!(document["images"][0]["verified"], json!([]));
}

#[test]
fn forged_label_is_refused_by_attestation() {
    let world = trusted();
    let mut world = world;
    // Tag and label claim B; the attestation is for A.
    world.rebuild(
        "fix",
        REV_B,
        &[Platform::new("linux/amd64", REV_B).files(&[("x", "y")])],
    );
    attest(&world, "fix", REV_B, &Signing::of(REV_A), REV_A);
    let document = world.refuses(&[], 1, &["commit_mismatch"]);
    let detail = &details(&document, "commit_mismatch", "fail")[0];
    assert!(detail.contains(REV_A) && detail.contains(REV_B), "{detail}");
    assert_eq!(details(&document, "signature_missing", "pass").len(), 2);
}

#[test]
fn each_refusal_has_its_code() {
    let digest = |world: &World| {
        world
            .digest("fix", REV_B)
            .trim_start_matches("sha256:")
            .to_owned()
    };
    let refused = |code: &str, attach: &dyn Fn(&World)| {
        let world = unsigned();
        for image in ["review", "base"] {
            attest(&world, image, REV_B, &Signing::of(REV_B), REV_B);
        }
        attach(&world);
        let document = world.refuses(&[], 1, &[code]);
        let mut checks = document["checks"].as_array().unwrap().iter();
        let help = checks.find(|check| check["code"] == code && check["status"] == "fail");
        let help = help.unwrap()["help"].to_string();
        let other_commit = help.contains("may have checked out a commit other");
        assert_eq!(other_commit, code == "commit_mismatch", "{help}");
        assert!(!help.contains("gh attestation trusted-root"), "{help}");
        let detail = details(&document, code, "fail").remove(0);
        assert!(!detail.ends_with("more"), "{detail}");
        detail
    };
    let detail = refused("signature_invalid", &|world| {
        let bundle = Signing::of(REV_B).bundle(&provenance(&name("fix"), &"0".repeat(64), REV_B));
        attached(world, "fix", world.digest("fix", REV_B), &bundle);
    });
    assert!(detail.contains("not about"), "{detail}");
    let detail = refused("signer_untrusted", &|world| {
        let mut signing = Signing::of(REV_B);
        signing.identity = "https://github.com/evil/\u{1b}[31m/x.yml@refs/heads/x".to_owned();
        signing.runner = Some("self-hosted".to_owned());
        attest(world, "fix", REV_B, &signing, REV_B);
    });
    // As it would be configured, and harmless.
    assert!(
        detail.contains("ref: refs/heads/x, issuer: https://token"),
        "{detail}"
    );
    assert!(detail.contains("runner: self-hosted"), "{detail}");
    assert!(!detail.contains('\u{1b}'), "{detail}");
    let detail = refused("attestation_missing", &|world| {
        let sbom = statement(
            &name("fix"),
            &digest(world),
            "https://spdx.dev/Document",
            &json!({}),
        );
        attached(
            world,
            "fix",
            world.digest("fix", REV_B),
            &Signing::of(REV_B).bundle(&sbom),
        );
    });
    assert!(detail.contains("https://spdx.dev/Document"), "{detail}");
    let detail = refused("commit_mismatch", &|world| {
        attest(world, "fix", REV_B, &Signing::of(REV_A), REV_B);
    });
    assert!(detail.contains(REV_A), "{detail}");
}

#[test]
fn refusal_names_eight_candidates() {
    let world = trusted();
    let mut world = world;
    world.rebuild(
        "fix",
        REV_B,
        &[Platform::new("linux/amd64", REV_B).files(&[("x", "y")])],
    );
    for _ in 0..10 {
        attest(&world, "fix", REV_B, &Signing::of(REV_A), REV_A);
    }
    let document = world.refuses(&[], 1, &["commit_mismatch"]);
    let detail = &details(&document, "commit_mismatch", "fail")[0];
    assert_eq!(detail.matches("sha256:").count(), 8, "{detail}");
    assert!(detail.ends_with("2 more"), "{detail}");
}

#[test]
fn old_root_is_named_as_the_likely_reason() {
    let world = unsigned();
    let mut root = authority::root_without_logs();
    root["certificateAuthorities"][0]["validFor"]["end"] = json!("2024-05-01T00:00:00Z");
    world.write("root.json", root.to_string());
    for image in IMAGES {
        let signing = Signing {
            log: None,
            ct: None,
            stamp: Some("tsa"),
            ..Signing::of(REV_B)
        };
        attest(&world, image, REV_B, &signing, REV_B);
    }
    let document = world.refuses(&[], 1, &["signature_invalid"]);
    let text = document["checks"].to_string();
    assert!(
        text.contains("gh attestation trusted-root > trusted_root.jsonl"),
        "{text}"
    );
}

#[test]
fn unknown_authority_and_log_are_separate_failures() {
    let other_ca = Signing {
        ca: "stranger",
        ..Signing::of(REV_B)
    };
    let other_log = Signing {
        log: Some("stranger"),
        ..Signing::of(REV_B)
    };
    let id = STANDARD.encode(Key::named("stranger").id());
    for (code, signing, identified) in [
        ("authority_unknown", &other_ca, "CN=stranger"),
        ("log_unknown", &other_log, &*id),
    ] {
        let world = unsigned();
        for image in IMAGES {
            attest(&world, image, REV_B, signing, REV_B);
        }
        let document = world.refuses(&[], 1, &[code]);
        let checks = document["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["code"] == code).unwrap();
        let detail = check["detail"].as_str().unwrap();
        assert!(detail.contains(identified), "{detail}");
        let help = check["help"].as_str().unwrap();
        assert!(help.contains("`repin trust update"), "{help}");
    }
}

#[test]
fn no_layer_of_an_untrusted_image_is_read() {
    let world = unsigned();
    let config = world.read("repin.yaml");
    world.write(
        "repin.yaml",
        config + "inventory: { root: /, kinds: { files: { paths: ['^(.+)$'] } } }\n",
    );
    // Every layer was deleted: a request for one would be exit 3.
    for image in IMAGES {
        for file in fs::read_dir(world.path("images").join(image).join("blobs/sha256")).unwrap() {
            let path = file.unwrap().path();
            if !fs::read(&path).unwrap().starts_with(b"{") {
                fs::remove_file(path).unwrap();
            }
        }
    }
    world.refuses(&[], 1, &["signature_missing"]);
}

#[test]
fn both_kinds_are_required_by_any_signer() {
    let world = trusted();
    let both = "verify:
  require: [attestation, signature]
  signers:
    - workflow: https://github.com/acme/runtime/.github/workflows/build.yml
    - identity: release@acme.example
      issuer: https://accounts.example
      commit: \"off\"
  trusted_roots: [root.json]
";
    with_policy(&world, both);
    let document = world.refuses(&[], 1, &["attestation_missing"]);
    let detail = &details(&document, "attestation_missing", "fail")[0];
    assert!(
        detail.starts_with("no signature that meets the policy"),
        "{detail}"
    );
    // A foreign attestation does not change the code to that of the commit, and neither does an
    // attestation for another one where the signature is missing.
    let stranger = trusted();
    with_policy(&stranger, both);
    let digest = stranger.digest("fix", REV_B).to_owned();
    let signing = [Signing::by("someone@evil.example")];
    attach::signatures(&stranger.layout("fix"), &name("fix"), &digest, &signing);
    let document = stranger.refuses(&[], 1, &["attestation_missing"]);
    let found = details(&document, "attestation_missing", "fail").join("\n");
    assert_eq!(
        found.matches("no signature that meets the policy").count(),
        3,
        "{found}"
    );
    let other = unsigned();
    with_policy(&other, both);
    for image in IMAGES {
        attest(&other, image, REV_B, &Signing::of(REV_A), REV_A);
    }
    let document = other.refuses(&[], 1, &["attestation_missing"]);
    let detail = &details(&document, "attestation_missing", "fail")[0];
    assert!(
        detail.starts_with("no attestation and no signature that meets the policy"),
        "{detail}"
    );
    // A signature by a user, with an older cosign.
    for image in IMAGES {
        let digest = world.digest(image, REV_B).to_owned();
        let signing = [Signing::by("release@acme.example")];
        attach::signatures(&world.layout(image), &name(image), &digest, &signing);
    }
    let document = world.run(&PROMOTE).exits(0).json();
    let verified = document["images"][0]["verified"].as_array().unwrap();
    let kinds: Vec<_> = verified
        .iter()
        .map(|proof| proof["require"].clone())
        .collect();
    assert_eq!(kinds, ["attestation", "signature"]);
    assert_eq!(verified[1]["commit_bound"], false);
    let body = document["body"].as_str().unwrap();
    assert!(body.contains("The commit of review is not bound"), "{body}");
    let detail = &details(&document, "signature_missing", "pass")[0];
    assert!(detail.contains("the commit is not bound"), "{detail}");
}

#[test]
fn key_without_log_needs_the_predicate() {
    let world = unsigned();
    let policy = "verify:
  signers:
    - key: cosign.pub
      log: \"off\"
      source: https://github.com/acme/runtime
      commit: predicate
";
    with_policy(&world, policy);
    world.write("cosign.pub", Key::named("signer").pem());
    let mut signing = Signing::of("");
    signing.log = None;
    for image in IMAGES {
        let digest = world.digest(image, REV_B).to_owned();
        let statement = provenance(&name(image), hex(&digest), REV_B);
        attached(
            &world,
            image,
            &digest,
            &signing.bundle_by_key(&statement, "signer"),
        );
    }
    let document = world.run(&PROMOTE).exits(0).json();
    let proof = &document["images"][0]["verified"][0];
    assert_eq!(
        (&proof["signer"], &proof["root"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        (&proof["commit"], &proof["commit_bound"]),
        (&json!(REV_B), &json!(true))
    );
    assert!(proof["key"].as_str().unwrap().starts_with("sha256:"));
}

#[test]
fn each_platform_may_have_a_signature() {
    let world = trusted();
    with_policy(&world, &format!("{POLICY}  subject: platforms\n"));
    let resolved = ["resolve", "--revision", REV_B, "--format", "json"];
    let resolved = world.run(&resolved).exits(0).json();
    // The attestations of `review` are about its index, not about its platforms.
    let document = world.refuses(&[], 1, &["signature_missing"]);
    assert_eq!(details(&document, "signature_missing", "fail").len(), 2);
    for platform in resolved["images"][0]["platforms"].as_array().unwrap() {
        let digest = platform["digest"].as_str().unwrap();
        let statement = provenance(&name("review"), hex(digest), REV_B);
        attached(
            &world,
            "review",
            digest,
            &Signing::of(REV_B).bundle(&statement),
        );
    }
    let document = world.run(&PROMOTE).exits(0).json();
    let verified = document["images"][0]["verified"].as_array().unwrap();
    let platforms: Vec<_> = verified
        .iter()
        .map(|proof| proof["platform"].clone())
        .collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
}

/// A was promoted, then B, before anything was signed.
fn promoted_unsigned() -> World {
    let world = world();
    world.write("root.json", authority::root().to_string());
    let world = world.with_git();
    world.promoted(REV_A);
    world.promoted(REV_B);
    world
}

const ROLLBACK: [&str; 5] = ["rollback", "--to", REV_A, "--format", "json"];

#[test]
fn rollback_follows_the_policy_of_today() {
    let world = promoted_unsigned();
    with_policy(&world, POLICY);
    world.refuses_to(&["rollback", "--to", REV_A], 1, &["signature_missing"]);
    for image in ["review", "fix"] {
        attest(&world, image, REV_A, &Signing::of(REV_A), REV_A);
    }
    // An image without pins only warns.
    let document = world.run(&ROLLBACK).exits(0).json();
    assert_eq!(details(&document, "signature_missing", "warn").len(), 1);
    // A signer that was removed is no longer trusted.
    with_policy(&world, &POLICY.replace("build.yml", "other.yml"));
    world.refuses_to(&["rollback", "--to", REV_A], 1, &["signer_untrusted"]);
}

#[test]
fn sets_promoted_up_to_since_only_warn() {
    let world = promoted_unsigned();
    let line = world.git(&["rev-list", "HEAD"]);
    let line: Vec<&str> = line.lines().collect();
    let since = |commit: &str| with_policy(&world, &format!("{POLICY}  since: {commit}\n"));
    // The last commit is B's, the previous one A's, then the first one, which pinned A.
    since(line[0]);
    let document = world.run(&ROLLBACK).exits(0).json();
    assert_eq!(failed(&document), Vec::<String>::new());
    assert_eq!(details(&document, "signature_missing", "warn").len(), 3);
    let check = world
        .run(&["check", "--remote", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(details(&check, "signature_missing", "warn").len(), 2);
    // B was promoted after A.
    since(line[1]);
    let check = world
        .run(&["check", "--remote", "--format", "json"])
        .exits(1)
        .json();
    assert_eq!(failed(&check), ["signature_missing"]);
    world.run(&ROLLBACK).exits(0);
    // A promotion never has the exemption.
    since(line[0]);
    world.refuses(&["--force-after-rollback"], 1, &["signature_missing"]);
    since("0000000000000000000000000000000000000000");
    let ran = world.run(&ROLLBACK).exits(2);
    assert!(ran.stdout.contains("names no commit"), "{}", ran.stdout);
}

#[test]
fn exemption_needs_the_digests_that_were_pinned() {
    let world = promoted_unsigned();
    let head = world.head();
    with_policy(&world, &format!("{POLICY}  since: {head}\n"));
    world.run(&["check", "--remote"]).exits(0);
    // Another image with B's tag and label is pinned: its revision does not exempt it.
    let mut world = world;
    let before = world.digest("fix", REV_B).to_owned();
    world.rebuild(
        "fix",
        REV_B,
        &[Platform::new("linux/amd64", REV_B).files(&[("x", "y")])],
    );
    let now = world.digest("fix", REV_B).to_owned();
    world.replace(".github/workflows/b.yml", &before, &now);
    let check = world
        .run(&["check", "--remote", "--format", "json"])
        .exits(1)
        .json();
    assert_eq!(failed(&check), ["signature_missing"]);
}

#[test]
fn shallow_clone_cannot_decide_on_since() {
    let world = promoted_unsigned();
    let first = world.git(&["rev-list", "--max-parents=0", "HEAD"]);
    let policy = format!("{POLICY}  since: {first}\n");
    let clone = world.path("clone");
    let url = format!("file://{}", world.path("origin.git").display());
    world.git(&["clone", "-q", "--depth", "1", &url, clone.to_str().unwrap()]);
    std::os::unix::fs::symlink(world.path("images"), clone.join("images")).unwrap();
    let config = fs::read_to_string(clone.join("repin.yaml")).unwrap();
    fs::write(clone.join("repin.yaml"), config + &policy).unwrap();
    let ran = world.run_in(&clone, &["check", "--remote"], &[]).exits(3);
    assert!(
        ran.stderr.contains("git fetch --unshallow"),
        "{}",
        ran.stderr
    );
}

#[test]
fn check_remote_verifies_the_pinned_digests() {
    let world = trusted().with_git();
    let check = world
        .run(&["check", "--remote", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(details(&check, "signature_missing", "pass").len(), 2);
    with_policy(&world, &POLICY.replace("heads/main", "heads/other"));
    let check = world
        .run(&["check", "--remote", "--format", "json"])
        .exits(1)
        .json();
    assert_eq!(failed(&check), ["signer_untrusted"]);
    // Without --remote, no request is sent.
    world.run(&["check"]).exits(0);
}

#[test]
fn unusable_keys_are_refused_before_any_request() {
    let world = trusted();
    let refused = |policy: &str, expected: &str| {
        with_policy(&world, policy);
        let ran = world.run(&["promote", "--revision", REV_B]).exits(2);
        let text = &ran.stderr;
        assert!(
            text.contains(expected) && text.contains("repin.yaml:"),
            "{text}"
        );
    };
    refused(
        &POLICY.replace("root.json", "gone.json"),
        "cannot read gone.json",
    );
    world.write("broken.json", "{}");
    refused(
        &POLICY.replace("root.json", "broken.json"),
        "cannot use the trusted root",
    );
    let key = "verify:\n  signers: [{ key: cosign.pub, commit: \"off\" }]\n";
    refused(key, "cannot read cosign.pub");
    world.write("cosign.pub", "-----BEGIN PRIVATE KEY-----\n");
    refused(key, "it is a private key");
    with_policy(&world, &POLICY.replace("root.json", "gone.json"));
    world.run(&["check"]).exits(2);
}

/// A set of one image in a registry with the referrers API, its configuration, and the requests of
/// a promotion.
fn requests(
    policy: &str,
    exit: i32,
    answer: impl Fn(&Request) -> Option<Reaction> + Send + Sync + 'static,
) -> Vec<String> {
    let world = trusted();
    let fake = attach::serve(&world.path("images/fix"), answer);
    world.write(
        "repin.yaml",
        format!(
            "version: 1\nfiles: ['.github/workflows/b.yml']\n\
             sources: {{ ghcr.io/acme: 'http://{}/acme' }}\n\
             images: {{ fix: {{ repository: ghcr.io/acme/fix, pins: 2 }} }}\n{policy}",
            fake.host()
        ),
    );
    world.run(&["promote", "--revision", REV_B]).exits(exit);
    fake.log()
}

#[test]
fn without_a_policy_not_one_request_more() {
    let without = requests("", 0, |_| None);
    let with = requests(POLICY, 0, |_| None);
    assert!(
        !without.iter().any(|line| line.contains("referrers")),
        "{without:?}"
    );
    assert!(
        !without.iter().any(|line| line.contains(".sig")),
        "{without:?}"
    );
    assert_eq!(with.len(), without.len() + 3, "{with:#?}");
}

#[test]
fn pull_request_uses_keys_of_the_base() {
    let ours = authority::root().to_string();
    let theirs = include_str!("../../src/trust/roots/sigstore.json");
    for kind in FORGES {
        for (base, here, exit) in [(ours.as_str(), theirs, 0), (theirs, ours.as_str(), 1)] {
            let (world, fake) = hosted::hosted(kind, "labels: [ci]");
            with_policy(&world, POLICY);
            for image in IMAGES {
                attest(&world, image, REV_B, &Signing::of(REV_B), REV_B);
            }
            let config = world.read("repin.yaml");
            let files = [("repin.yaml", config.as_str()), ("root.json", base)];
            fake.store().push("main", "a policy", &files);
            // The policy and the root of the work tree do not matter.
            with_policy(&world, "");
            world.write("root.json", here);
            let document = hosted::run(&world, &hosted::promote(REV_B))
                .exits(exit)
                .json();
            if exit == 0 {
                assert_eq!(document["pull_request"]["state"], "created", "{document}");
                assert_eq!(document["images"][0]["verified"][0]["commit"], REV_B);
            } else {
                assert_eq!(failed(&document), ["authority_unknown"]);
                assert_eq!(fake.writes(), [""; 0]);
            }
        }
    }
}

#[test]
fn attestations_are_requested_once_per_run() {
    let world = trusted();
    let registry = attach::serve(&world.path("images/fix"), |_| None);
    let fake = forge::Fake::start(forge::Kind::Github);
    let config = format!(
        "version: 1\nfiles: ['.github/workflows/b.yml']\n\
         sources: {{ ghcr.io/acme: 'http://{}/acme' }}\n\
         images: {{ fix: {{ repository: ghcr.io/acme/fix, pins: 2 }} }}\n\
         forge: {{ kind: github, url: '{}', repository: acme/flows }}\n{POLICY}",
        registry.host(),
        fake.api()
    );
    world.write("repin.yaml", &config);
    let (pins, root) = (
        world.read(".github/workflows/b.yml"),
        world.read("root.json"),
    );
    let files = [
        ("repin.yaml", config.as_str()),
        (".github/workflows/b.yml", &pins),
        ("root.json", &root),
    ];
    fake.store().push("main", "as it is", &files);
    fake.store().intruder = Some(("README.md".to_owned(), "other".to_owned()));
    let ran = hosted::run(&world, &hosted::promote(REV_B)).exits(0);
    assert!(ran.stderr.contains("planning again"), "{}", ran.stderr);
    let log = registry.log();
    let lookups = log.iter().filter(|line| line.contains("/referrers/"));
    assert_eq!(lookups.count(), 1, "{log:#?}");
}

#[test]
fn outages_and_refusals_are_no_verdict() {
    let referrers = |status: u16| {
        move |request: &Request| {
            let asked = request.path().contains("/referrers/");
            asked.then(|| Reaction::new(status, "").with("www-authenticate", "Basic realm=\"x\""))
        }
    };
    requests(POLICY, 3, referrers(400));
    requests(POLICY, 4, referrers(403));
}

#[test]
fn trust_show_lists_every_candidate_with_its_reason() {
    let world = trusted();
    let mut evil = Signing::of(REV_A);
    evil.identity = "https://github.com/evil/x/.github/workflows/y.yml@refs/heads/z".to_owned();
    attest(&world, "fix", REV_A, &evil, REV_A);
    let show = ["trust", "show", "fix", "--format", "json"];
    let document = world.run(&show).exits(0).json();
    assert_eq!(document["schema"], "repin.trust/1");
    let image = &document["images"][0];
    assert_eq!(image["digest"], world.digest("fix", REV_A));
    let of = |key: &str| -> Vec<Value> {
        let candidates = image["candidates"].as_array().unwrap().iter();
        candidates.map(|candidate| candidate[key].clone()).collect()
    };
    assert_eq!(of("verified"), [true, true]);
    assert_eq!(of("satisfies"), [true, false]);
    assert_eq!(of("commit"), [REV_A, REV_A]);
    let reason = of("reason")[1].as_str().unwrap().to_owned();
    let found = "workflow: https://github.com/evil/x/.github/workflows/y.yml, ref: refs/heads/z";
    assert!(reason.contains(found), "{reason}");

    // By digest, for people.
    let shown = world
        .run(&["trust", "show", world.digest("review", REV_B)])
        .exits(0);
    assert!(
        shown.stdout.starts_with("review  sha256:"),
        "{}",
        shown.stdout
    );
    assert!(
        shown.stdout.contains("attestation: meets the policy"),
        "{}",
        shown.stdout
    );
    // Without a policy, within the built-in roots, which do not know our authority.
    with_policy(&world, "");
    let document = world.run(&show).exits(0).json();
    let candidates = document["images"][0]["candidates"].as_array().unwrap();
    assert_eq!(candidates[0]["verified"], false);
    world.run(&["trust", "show", "nobody"]).exits(2);
    world.run(&["trust", "show", "base"]).exits(2);
    world.run(&["trust", "show", &"0".repeat(64)]).exits(1);
}

#[test]
fn roots_of_one_set_do_not_verify_another() {
    let world = trusted();
    let source = "sources: { ghcr.io/acme: oci:images }\n";
    let config = world.read("repin.yaml").replace(source, "");
    fs::remove_file(world.path("repin.yaml")).unwrap();
    let mut expired = authority::root();
    expired["certificateAuthorities"][0]["validFor"]["end"] = json!("2023-01-01T00:00:00Z");
    for (set, root) in [("one", authority::root()), ("two", expired)] {
        world.write(&format!("{set}/repin.yaml"), &config);
        world.write(&format!("{set}/root.json"), root.to_string());
        for file in ["a.yml", "b.yml"] {
            let path = format!(".github/workflows/{file}");
            world.write(&format!("{set}/{path}"), world.read(&path));
        }
    }
    fs::remove_dir_all(world.path(".github")).unwrap();
    let world = world.with_git();
    world.push();
    let images = format!("ghcr.io/acme=oci:{}", world.path("images").display());
    let args = ["check", "--all", "--remote", "--format", "json"];
    let ran = world.run_with(&args, &[("REPIN_SOURCES", &images)]);
    let document = ran.exits(1).json();
    let sets = document["sets"].as_array().unwrap();
    assert_eq!(failed(&sets[0]["document"]), [""; 0]);
    assert_eq!(failed(&sets[1]["document"]), ["signature_invalid"]);
}

#[test]
fn doctor_reports_roots_and_their_age() {
    let lines = |world: &World, exit: i32| -> Vec<(String, String)> {
        let document = world
            .run(&["doctor", "--format", "json"])
            .exits(exit)
            .json();
        let rows = document["checks"].as_array().unwrap().iter();
        let roots = rows.filter(|row| row["code"] == "trusted_root");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        roots
            .map(|row| (text(&row["status"]), text(&row["detail"])))
            .collect()
    };
    let world = trusted();
    let (status, detail) = lines(&world, 0).remove(0);
    assert_eq!(status, "pass", "{detail}");
    let expected =
        "root.json: certificate authorities: 1, logs: 1, timestamp authorities: 1, until 2032-";
    assert!(detail.starts_with(expected), "{detail}");
    let mut old = authority::root();
    old["timestampAuthorities"][0]["validFor"]["end"] = json!("2024-07-01T00:00:00Z");
    world.write("root.json", old.to_string());
    let (status, detail) = lines(&world, 0).remove(0);
    assert_eq!(status, "warn", "{detail}");
    assert!(
        detail.contains("covers signatures until 2024-07-01"),
        "{detail}"
    );
    let ran = world.run(&["doctor"]).exits(0);
    assert!(
        ran.stdout.contains("repin trust update --apply"),
        "{}",
        ran.stdout
    );
    // A run warns too, once and on standard error only.
    world.write("root.json", format!("{old}\n{old}\n"));
    for args in [
        &PROMOTE[..],
        &["set", "--revision", REV_B, "--out", "set.json"],
    ] {
        let ran = world.run(args).exits(0);
        let warning = "covers signatures until 2024-07-01";
        assert_eq!(ran.stderr.matches(warning).count(), 1, "{}", ran.stderr);
        assert!(!ran.stdout.contains("2024-07-01"), "{}", ran.stdout);
    }
    world.write("root.json", "{}");
    assert_eq!(lines(&world, 2)[0].0, "fail");
    with_policy(&world, &POLICY.replace("root.json", "sigstore"));
    let (_, detail) = lines(&world, 0).remove(0);
    assert!(detail.starts_with("sigstore (built in, from "), "{detail}");
    with_policy(&world, "");
    assert_eq!(lines(&world, 0)[0].0, "skip");
}
