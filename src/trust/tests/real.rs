//! Real bundles from published packages (`testdata/sigstore/README.md`).

use super::*;

const CONDA: &str = "https://schemas.conda.org/attestations-publish-1.schema.json";

fn bundle(name: &str) -> Vec<u8> {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sigstore");
    std::fs::read(directory.join(name)).unwrap()
}

/// The verdict on a bundle by a policy that trusts every workflow.
fn evaluate(name: &str, roots: Vec<Root>, predicate: &str, digest: &str) -> Verdict {
    let mut rules = rules();
    // The statements are about files, not images.
    rules.verify.subject_name = SubjectName::Any;
    rules.verify.predicate_types = vec![predicate.to_owned()];
    rules.verify.signers = vec![Signer {
        who: SignerIdentity::Certificate {
            identity: IdentityRule::Pattern(regex::Regex::new("^(?:https://.*)$").unwrap()),
            issuer: ISSUER.to_owned(),
            runner: Runner::GitHubHosted,
        },
        trigger: Triggers::Any,
        commit: CommitBinding::Off,
        source: None,
        images: Vec::new(),
    }];
    let policy = Policy {
        verify: &rules.verify,
        keys: vec![None],
        roots,
    };
    let subject = Subject {
        image: "app",
        repositories: &[],
        digest: Digest::from_hex(digest).unwrap(),
        revision: COMMIT,
        now: at(1_795_000_000),
    };
    policy.evaluate(&Attachment::Bundle(bundle(name)), subject)
}

const CONDA_DIGEST: &str = "54303491a8418fbed24344b513546182c29b43bf282ceb433af65e2299f9271f";

fn staging() -> Vec<Root> {
    Root::parse("staging", &bundle("staging_root.json")).unwrap()
}

#[test]
fn public_bundle_verifies_within_the_built_in_root() {
    let name = "conda-attestation.sigstore.json";
    let sigstore = || vec![Root::built_in(BuiltIn::Sigstore)];
    let verdict = evaluate(name, sigstore(), CONDA, CONDA_DIGEST);
    assert_eq!(verdict.result, UNBOUND);
    let proof = verdict.proof.unwrap();
    assert_eq!(proof.root.as_deref(), Some("sigstore"));
    assert_eq!(proof.log.unwrap().url, "https://rekor.sigstore.dev");
    assert!(proof.certificate.unwrap().commit.is_some());
    let github = vec![Root::built_in(BuiltIn::GitHub)];
    for (roots, digest) in [
        (github, CONDA_DIGEST),
        (staging(), CONDA_DIGEST),
        (sigstore(), &"0".repeat(64)),
    ] {
        let verdict = evaluate(name, roots, CONDA, digest);
        assert!(
            matches!(verdict.result, PolicyResult::Invalid(_)),
            "{verdict:?}"
        );
    }
}

#[test]
fn second_log_entries_verify_with_a_timestamp() {
    let slsa = "a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf";
    for (name, predicate, digest, result) in [
        (
            "conda-attestation-rekor2.sigstore.json",
            CONDA,
            CONDA_DIGEST,
            // The signer is not the policy's.
            PolicyResult::Untrusted,
        ),
        ("slsa-staging-rekor2.sigstore.json", SLSA, slsa, UNBOUND),
    ] {
        let verdict = evaluate(name, staging(), predicate, digest);
        assert_eq!(verdict.result, result, "{name}");
        assert!(verdict.proof.unwrap().time.is_some());
        let verdict = evaluate(name, staging(), predicate, &"0".repeat(64));
        assert!(
            matches!(verdict.result, PolicyResult::Invalid(_)),
            "{verdict:?}"
        );
    }
}

#[test]
fn real_authority_and_log_are_identified() {
    let gap = |name, roots| match evaluate(name, roots, CONDA, CONDA_DIGEST).result {
        PolicyResult::Invalid(refusal) => (refusal.gap, refusal.reason),
        other => panic!("{other:?}"),
    };
    // The authority of the staging instance has the name of the public one, but another key.
    let name = "conda-attestation.sigstore.json";
    let (missing, reason) = gap(name, staging());
    assert_eq!(missing, Some(RootGap::Authority));
    let expected = "unknown certificate authority CN=sigstore-intermediate,O=sigstore.dev (key dfd3e9cf56241196f9a8d8e92855a2c62e18643f)";
    assert_eq!(reason, expected);
    let mut old: Value = serde_json::from_slice(&bundle("staging_root.json")).unwrap();
    let logs = old["tlogs"].as_array_mut().unwrap();
    logs.retain(|log| !log["baseUrl"].as_str().unwrap().contains("log2025"));
    let old = Root::parse("old", old.to_string().as_bytes()).unwrap();
    let (missing, reason) = gap("conda-attestation-rekor2.sigstore.json", old);
    assert_eq!(missing, Some(RootGap::Log));
    let expected = "unknown transparency log log2025";
    assert!(reason.starts_with(expected), "{reason}");
}
