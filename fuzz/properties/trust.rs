//! Bundles, payloads and roots from outside: whatever the bytes are, there is a verdict, and nothing
//! that was altered is trusted.

use std::{
    collections::BTreeMap,
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    oci::Digest,
    trust::{
        Attachment, BuiltIn, CosignLayer, Policy, PolicyResult, PublicKey, Root, Subject, Verify,
    },
};

static VERIFY: LazyLock<Verify> = LazyLock::new(Verify::without_signers);
/// The root of the authority that signed the corpus.
const OWN: &str = include_str!("../../examples/trusted/trusted_root.json");
/// Reading the roots takes longer than most inputs.
static POLICY: LazyLock<Policy<'static>> = LazyLock::new(|| {
    let built_in = [BuiltIn::Sigstore, BuiltIn::GitHub].map(Root::built_in);
    let own = Root::parse("own", OWN.as_bytes()).unwrap();
    Policy {
        verify: &VERIFY,
        keys: Vec::new(),
        roots: built_in.into_iter().chain(own).collect(),
    }
});
/// The commit that every statement of the corpus is about.
const COMMIT: &str = "1111111111111111111111111111111111111111";

/// The statement in a bundle that verified.
fn statement(bundle: &[u8]) -> Value {
    let bundle: Value = serde_json::from_slice(bundle).unwrap();
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
    serde_json::from_slice(&STANDARD.decode(payload).unwrap()).unwrap()
}

/// A bundle, a payload with annotations, a trusted root and a key.
pub fn trust(input: &[u8]) {
    let subject = Subject {
        image: "app",
        repositories: &[],
        digest: Digest::of(b"the image"),
        revision: COMMIT,
        now: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
    };
    let mut candidates = vec![Attachment::Bundle(input.to_vec())];
    // The first line is the payload, each further one an annotation.
    let mut lines = input.split(|byte| *byte == b'\n');
    let payload = lines.next().unwrap_or_default().to_vec();
    let annotations = lines.filter_map(|line| {
        let (name, value) = str::from_utf8(line).ok()?.split_once('=')?;
        Some((name.to_owned(), value.replace("\\n", "\n")))
    });
    let annotations: BTreeMap<String, String> = annotations.collect();
    candidates.push(Attachment::Cosign(CosignLayer {
        payload,
        annotations,
    }));
    for candidate in &candidates {
        let verdict = POLICY.evaluate(candidate, subject);
        if verdict.proof.is_none() {
            let refused = matches!(verdict.result, PolicyResult::Invalid(_));
            assert!(refused, "{verdict:?}");
            continue;
        }
        // No signer is trusted, and only the content that the authority signed verifies, whatever was
        // altered around it.
        assert_eq!(verdict.result, PolicyResult::Untrusted);
        let hex = subject.digest.hex();
        match candidate {
            Attachment::Bundle(bundle) => {
                let statement = statement(bundle);
                assert_eq!(statement["subject"][0]["digest"]["sha256"], hex);
                let built = &statement["predicate"]["buildDefinition"]["resolvedDependencies"][0];
                assert_eq!(built["digest"]["gitCommit"], COMMIT);
            }
            Attachment::Cosign(layer) => {
                let payload: Value = serde_json::from_slice(&layer.payload).unwrap();
                let digest = &payload["critical"]["image"]["docker-manifest-digest"];
                assert_eq!(*digest, format!("sha256:{hex}"));
            }
        }
    }
    if let Ok(roots) = Root::parse("root", input) {
        assert!(!roots.is_empty());
        for root in roots {
            root.summary();
        }
    }
    if let Ok(key) = PublicKey::parse(input) {
        assert_eq!(PublicKey::parse(input).unwrap().digest(), key.digest());
    }
}
