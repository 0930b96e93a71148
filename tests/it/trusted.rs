//! `examples/trusted`: images with attestations by a separate authority, and one forged label.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::{
    attach,
    authority::{self, Signing, provenance},
    layout::{Layout, Platform},
    world::{Ran, details, failed, repin},
};

/// The pinned set, the promoted set, and a set with a forged commit.
const PINNED: &str = "4b1d7f0e92c35a68d1f4073be6a98c25170f3d6e";
const NEXT: &str = "c93f5a17e08b64d2ab7013f9485ce6d20917b3fa";
const FORGED: &str = "0d6c1e4b7a39f58266d0cbe1f7a4835920c1d7e4";
const IMAGES: [&str; 2] = ["runtime-api", "runtime-worker"];

const CONFIG: &str = "version: 1
name: runtime images
files: [deploy.yaml]
# A real repository leaves this out and reads from the registry.
sources:
  ghcr.io/acme: oci:images
images:
  api: { repository: ghcr.io/acme/runtime-api, pins: 1 }
  worker: { repository: ghcr.io/acme/runtime-worker, pins: 1 }
verify:
  signers:
    - workflow: https://github.com/acme/runtime/.github/workflows/build.yml
      ref: refs/heads/main
  # A real repository leaves this out: the default is Sigstore's public instance.
  trusted_roots: [trusted_root.json]
";

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/trusted")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

fn run(directory: &Path, args: &[&str]) -> Ran {
    Ran::of(&mut repin(directory, args))
}

#[test]
fn attested_set_of_the_example_is_promoted() {
    let directory = tempfile::tempdir().unwrap();
    copy(&example(), directory.path());
    let args = ["promote", "--revision", NEXT, "--apply", "--format", "json"];
    let document = run(directory.path(), &args).exits(0).json();
    assert_eq!(document["applied"], true);
    let proofs = document["images"].as_array().unwrap().iter();
    let commits: Vec<&Value> = proofs
        .map(|image| &image["verified"][0]["commit"])
        .collect();
    assert_eq!(commits, [NEXT, NEXT]);
    let check = run(directory.path(), &["check", "--remote"]);
    assert_eq!(check.code, 0, "{}", check.stderr);
}

#[test]
fn forged_label_of_the_example_is_refused() {
    let args = ["promote", "--revision", FORGED, "--format", "json"];
    let document = run(&example(), &args).exits(1).json();
    assert_eq!(failed(&document), ["commit_mismatch"]);
    let details = details(&document, "commit_mismatch", "fail");
    assert_eq!(details.len(), 1);
    assert!(
        details[0].contains(NEXT) && details[0].contains(FORGED),
        "{details:?}"
    );
}

/// A copy of the example without its configuration.
fn unconfigured() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    copy(&example(), directory.path());
    fs::remove_file(directory.path().join("repin.yaml")).unwrap();
    directory
}

const INIT: [&str; 5] = [
    "init",
    "--source",
    "ghcr.io/acme=oci:images",
    "--format",
    "json",
];

#[test]
fn init_proposes_the_workflow_that_attested_every_image() {
    let directory = unconfigured();
    let document = run(directory.path(), &INIT).exits(0).json();
    let text = document["content"].as_str().unwrap();
    let block = "\nverify:
  signers:
    - workflow: \"https://github.com/acme/runtime/.github/workflows/build.yml\"
      ref: refs/heads/main
      issuer: \"https://token.actions.githubusercontent.com\"
      source: \"https://github.com/acme/runtime\"
      runner: github-hosted
  trusted_roots: [trusted_root.json]
";
    assert!(text.contains(block), "{text}");
    let source = ["--source", "ghcr.io/acme=oci:images", "--format", "json"];
    let check = [&["check", "--remote"], &source[..]].concat();
    run(directory.path(), &check).exits(0);
    let forged = [&["promote", "--revision", FORGED], &source[..]].concat();
    let document = run(directory.path(), &forged).exits(1).json();
    assert_eq!(failed(&document), ["commit_mismatch"]);
}

#[test]
fn init_proposes_only_policies_that_pass() {
    let mut warnings = Vec::new();
    // Pins of the second image: attested for another commit, never attested, and missing.
    let resolve = ["resolve", "--revision", FORGED, "--format", "json"];
    let forged = run(&example(), &resolve).exits(0).json();
    let forged = forged["images"][1]["digest"].as_str().unwrap().to_owned();
    for digest in [forged, format!("sha256:{}", "ab".repeat(32))] {
        let directory = unconfigured();
        let path = directory.path().join("deploy.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let end = text.rfind("sha256:").unwrap();
        fs::write(&path, format!("{}{digest}\n", &text[..end])).unwrap();
        let document = run(directory.path(), &INIT).exits(0).json();
        let text = document["content"].as_str().unwrap();
        assert!(
            !text.contains("\nverify:") && text.contains("\n#verify:"),
            "{text}"
        );
        warnings.push(document["warnings"].as_array().unwrap().len());
    }
    // An image without an attestation is not reported; an unreadable one is.
    assert_eq!(warnings[1], warnings[0] + 1);
}

#[test]
#[ignore = "overwrites examples/trusted"]
fn write_trusted_example() {
    let directory = example();
    let _ = fs::remove_dir_all(&directory);
    let mut deploy = String::from("services:\n");
    for image in IMAGES {
        let layout = Layout::at(&directory.join("images").join(image));
        let name = format!("ghcr.io/acme/{image}");
        for revision in [PINNED, NEXT, FORGED] {
            let files = [("opt/version", revision), ("opt/name", image)];
            let platform = Platform::new("linux/amd64", revision).files(&files);
            let digest = layout.image(revision, &[platform]);
            // The worker's label claims a commit that its attestation does not know.
            let forged = revision == FORGED && image == IMAGES[1];
            let built = if forged { NEXT } else { revision };
            let statement = provenance(&name, digest.trim_start_matches("sha256:"), built);
            let bundle = Signing::of(built).bundle(&statement).to_string();
            let attached = attach::bundle(&layout, &digest, bundle.as_bytes());
            attach::list(&layout, &[&attached]);
            if revision == PINNED {
                writeln!(deploy, "  {image}: ghcr.io/acme/{image}:{PINNED}@{digest}").unwrap();
            }
        }
    }
    fs::write(directory.join("deploy.yaml"), deploy).unwrap();
    fs::write(directory.join("repin.yaml"), CONFIG).unwrap();
    let root = serde_json::to_string_pretty(&authority::root()).unwrap();
    fs::write(directory.join("trusted_root.json"), root + "\n").unwrap();
}
