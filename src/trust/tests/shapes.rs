//! The shapes of signatures as GitHub's action and cosign write them, one stored example of each, made
//! by our own authority (`testdata/sigstore/shapes`).

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

/// Judges a stored example for the repository `own`.
fn judge(name: &str, own: &str) -> Standing {
    let bytes = fs::read(path(name)).unwrap();
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    let attached = match document["payload"].as_str() {
        Some(payload) => {
            let annotations = document["annotations"].clone();
            let annotations: BTreeMap<String, String> =
                serde_json::from_value(annotations).unwrap();
            Attached::Cosign(CosignLayer {
                payload: payload.as_bytes().to_vec(),
                annotations,
            })
        }
        None => Attached::Bundle(bytes),
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
    policy.judge(&attached, subject).standing
}

#[test]
fn stored_shapes_refer_to_their_repository() {
    for (name, own) in [
        ("github-attest.json", IMAGE),
        ("cosign-3-attest.json", HUB),
        ("cosign-3-attest.json", "acme/app"),
        ("cosign-2-sign.json", "docker.io/acme/app"),
    ] {
        assert_eq!(judge(name, own), BOUND, "{name}");
        assert_eq!(
            judge(name, "ghcr.io/acme/other"),
            Standing::OtherImage,
            "{name}"
        );
    }
    for name in ["cosign-3-sign.json", "cosign-1-sign.json"] {
        assert_eq!(judge(name, IMAGE), Standing::NoImage, "{name}");
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
