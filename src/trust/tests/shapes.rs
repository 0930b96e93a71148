//! The forms of signatures that GitHub's action and cosign write, with a stored example of each, signed
//! by the test authority (`testdata/sigstore/shapes`).

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::{
    authority::{cosign_attestation, cosign_signature},
    *,
};

const HUB: &str = "index.docker.io/acme/app";

fn path(name: &str) -> PathBuf {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    directory.join("testdata/sigstore/shapes").join(name)
}

/// The result for a stored example and the repository `own`.
fn result(name: &str, own: &str) -> PolicyResult {
    let bytes = fs::read(path(name)).unwrap();
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    let attachment = match document["payload"].as_str() {
        Some(payload) => Attachment::Cosign(CosignLayer {
            payload: payload.as_bytes().to_vec(),
            annotations: serde_json::from_value(document["annotations"].clone()).unwrap(),
        }),
        None => Attachment::Bundle(bytes),
    };
    let rules = rules();
    let policy = Policy {
        verify: &rules.verify,
        keys: vec![None],
        roots: Root::parse("root.json", root().to_string().as_bytes()).unwrap(),
    };
    let subject = Subject {
        image: "app",
        repositories: &[Repository::parse(own).unwrap()],
        digest: digest(),
        revision: COMMIT,
        now: rules.now,
    };
    policy.evaluate(&attachment, subject).result
}

#[test]
fn stored_shapes_refer_to_their_repository() {
    for (name, own) in [
        ("github-attest.json", IMAGE),
        ("cosign-3-attest.json", HUB),
        ("cosign-3-attest.json", "acme/app"),
        ("cosign-2-sign.json", "docker.io/acme/app"),
    ] {
        assert_eq!(result(name, own), BOUND, "{name}");
        assert_eq!(
            result(name, "ghcr.io/acme/other"),
            PolicyResult::OtherImage,
            "{name}"
        );
    }
    for name in ["cosign-3-sign.json", "cosign-1-sign.json"] {
        assert_eq!(result(name, IMAGE), PolicyResult::NoImage, "{name}");
    }
}

#[test]
#[ignore = "writes testdata/sigstore/shapes"]
fn write_shapes() {
    fs::create_dir_all(path("")).unwrap();
    let write = |name: &str, document: &Value| {
        let text = serde_json::to_string_pretty(document).unwrap() + "\n";
        fs::write(path(name), text).unwrap();
    };
    let signing = Signing::of(COMMIT);
    let hex = digest().hex();
    write(
        "github-attest.json",
        &signing.bundle(&provenance(IMAGE, &hex, COMMIT)),
    );
    write(
        "cosign-3-attest.json",
        &signing.bundle(&cosign_attestation(HUB, &hex, COMMIT)),
    );
    write(
        "cosign-3-sign.json",
        &signing.bundle(&cosign_signature(&hex)),
    );
    for (name, docker_reference) in [("cosign-2-sign.json", HUB), ("cosign-1-sign.json", "")] {
        let payload = payload(docker_reference, &hex);
        let annotations: BTreeMap<_, _> = signing.annotations(&payload, None).into_iter().collect();
        let text = String::from_utf8(payload).unwrap();
        write(
            name,
            &json!({ "payload": text, "annotations": annotations }),
        );
    }
}
