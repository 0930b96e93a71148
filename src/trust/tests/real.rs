//! Real bundles, which published packages ship (`testdata/sigstore/README.md`).

use super::*;

const CONDA: &str = "https://schemas.conda.org/attestations-publish-1.schema.json";

fn bundle(name: &str) -> Vec<u8> {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sigstore");
    std::fs::read(directory.join(name)).unwrap()
}

/// Judges a bundle with the digest that it is about, by a policy that trusts anyone.
fn judge(name: &str, roots: Vec<Root>, predicate: &str, digest: &str) -> Judged {
    let mut rules = rules();
    // They are about files, not images.
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
    policy.judge(&Attached::Bundle(bundle(name)), subject)
}

const CONDA_DIGEST: &str = "54303491a8418fbed24344b513546182c29b43bf282ceb433af65e2299f9271f";

fn staging() -> Vec<Root> {
    Root::parse("staging", &bundle("staging_root.json")).unwrap()
}

#[test]
fn bundle_of_the_public_instance_verifies_within_its_built_in_root() {
    let name = "conda-attestation.sigstore.json";
    let sigstore = || vec![Root::built_in(BuiltIn::Sigstore).unwrap()];
    let judged = judge(name, sigstore(), CONDA, CONDA_DIGEST);
    assert_eq!(judged.standing, UNBOUND);
    let proof = judged.proof.unwrap();
    assert_eq!(proof.root.as_deref(), Some("sigstore"));
    assert_eq!(proof.log.unwrap().url, "https://rekor.sigstore.dev");
    assert!(proof.certificate.unwrap().commit.is_some());
    let github = vec![Root::built_in(BuiltIn::GitHub).unwrap()];
    for (roots, digest) in [
        (github, CONDA_DIGEST),
        (staging(), CONDA_DIGEST),
        (sigstore(), &"0".repeat(64)),
    ] {
        let judged = judge(name, roots, CONDA, digest);
        assert!(
            matches!(judged.standing, Standing::Invalid(_)),
            "{judged:?}"
        );
    }
}

#[test]
fn entries_of_the_second_log_verify_with_a_timestamp() {
    let slsa = "a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf";
    for (name, predicate, digest, standing) in [
        (
            "conda-attestation-rekor2.sigstore.json",
            CONDA,
            CONDA_DIGEST,
            // Its signer is not that of the policy.
            Standing::Untrusted,
        ),
        ("slsa-staging-rekor2.sigstore.json", SLSA, slsa, UNBOUND),
    ] {
        let judged = judge(name, staging(), predicate, digest);
        assert_eq!(judged.standing, standing, "{name}");
        assert!(judged.proof.unwrap().time.is_some());
        let judged = judge(name, staging(), predicate, &"0".repeat(64));
        assert!(
            matches!(judged.standing, Standing::Invalid(_)),
            "{judged:?}"
        );
    }
}

#[test]
fn real_authority_and_log_are_identified() {
    let gap = |name, roots| match judge(name, roots, CONDA, CONDA_DIGEST).standing {
        Standing::Invalid(refusal) => (refusal.gap, refusal.why),
        other => panic!("{other:?}"),
    };
    // The authority of the staging instance has the name of the public one, and another key.
    let name = "conda-attestation.sigstore.json";
    let (missing, why) = gap(name, staging());
    assert_eq!(missing, Some(RootGap::Authority));
    let expected = "unknown certificate authority CN=sigstore-intermediate,O=sigstore.dev (key dfd3e9cf56241196f9a8d8e92855a2c62e18643f)";
    assert_eq!(why, expected);
    let mut old: Value = serde_json::from_slice(&bundle("staging_root.json")).unwrap();
    let logs = old["tlogs"].as_array_mut().unwrap();
    logs.retain(|log| !log["baseUrl"].as_str().unwrap().contains("log2025"));
    let old = Root::parse("old", old.to_string().as_bytes()).unwrap();
    let (missing, why) = gap("conda-attestation-rekor2.sigstore.json", old);
    assert_eq!(missing, Some(RootGap::Log));
    let expected = "unknown transparency log log2025";
    assert!(why.starts_with(expected), "{why}");
}
