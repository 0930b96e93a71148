//! Each rule of the module, with candidates of a test authority and real bundles
//! (`testdata/sigstore`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    CommitBinding, IdentityRule, LogRule, Requirement, RootKind, RootSource, Runner, SignedSubject,
    Signer, SignerIdentity, SubjectName, Triggers, Verify, policy::SignedPredicate, *,
};
use crate::{
    base::{error::Span, files::RelPath},
    oci::{Digest, Repository},
    support::authority::{
        self, ISSUER, Key, NOW, SLSA, SOURCE, Signing, WORKFLOW, payload, provenance, root,
        root_without_logs, statement,
    },
};

mod conformance;
mod real;
mod shapes;

/// The predicate type of a signature by cosign.
const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
const COMMIT: &str = "1111111111111111111111111111111111111111";
const OTHER: &str = "2222222222222222222222222222222222222222";

/// The repository of the image.
const IMAGE: &str = "ghcr.io/acme/app";

fn repositories() -> Vec<Repository> {
    vec![Repository::parse(IMAGE).unwrap()]
}

fn digest() -> Digest {
    Digest::of(b"the image")
}

fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap())
}

/// A policy and its verdicts.
struct Rules {
    verify: Verify,
    keys: Vec<Option<PublicKey>>,
    roots: Vec<Value>,
    now: SystemTime,
}

fn span() -> Span {
    Span { start: 0, end: 0 }
}

fn workflow() -> Signer {
    Signer {
        who: SignerIdentity::Workflow {
            workflow: WORKFLOW.to_owned(),
            git_ref: Some("refs/heads/main".to_owned()),
            source_ref: None,
            issuer: ISSUER.to_owned(),
            runner: Runner::GitHubHosted,
        },
        trigger: Triggers::Trusted,
        commit: CommitBinding::Certificate,
        source: Some(SOURCE.to_owned()),
        images: Vec::new(),
    }
}

fn key(log: LogRule, commit: CommitBinding) -> Signer {
    Signer {
        who: SignerIdentity::Key {
            path: RelPath::parse("cosign.pub").unwrap(),
            span: span(),
            log,
        },
        trigger: Triggers::Any,
        commit,
        source: Some(SOURCE.to_owned()),
        images: Vec::new(),
    }
}

fn rules() -> Rules {
    Rules {
        verify: Verify {
            require: vec![Requirement::Attestation],
            signers: vec![workflow()],
            predicate_types: vec![SLSA.to_owned()],
            subject: SignedSubject::Pinned,
            subject_name: SubjectName::Repository,
            trusted_roots: vec![RootSource {
                name: "root.json".to_owned(),
                kind: RootKind::File(RelPath::parse("root.json").unwrap()),
                span: span(),
            }],
            since: None,
        },
        keys: vec![None],
        roots: vec![root()],
        now: at(NOW + 3600),
    }
}

impl Rules {
    fn signers(mut self, signers: Vec<Signer>) -> Self {
        let key = |signer: &Signer| {
            let is_key = matches!(signer.who, SignerIdentity::Key { .. });
            is_key.then(|| PublicKey::parse(Key::named("signer").pem().as_bytes()).unwrap())
        };
        self.keys = signers.iter().map(key).collect();
        self.verify.signers = signers;
        self
    }

    fn roots(self, roots: Vec<Value>) -> Self {
        Self { roots, ..self }
    }

    fn policy(&self) -> Policy<'_> {
        let roots = self.roots.iter();
        Policy {
            verify: &self.verify,
            keys: self.keys.clone(),
            roots: roots
                .flat_map(|root| Root::parse("root.json", root.to_string().as_bytes()).unwrap())
                .collect(),
        }
    }

    fn subject<'s>(&self, repositories: &'s [Repository]) -> Subject<'s> {
        Subject {
            image: "app",
            repositories,
            digest: digest(),
            revision: COMMIT,
            now: self.now,
        }
    }

    fn evaluate(&self, attachment: &Attachment) -> Verdict {
        let policy = self.policy();
        policy.evaluate(attachment, self.subject(&repositories()))
    }

    /// The predicate of an SBOM, or the reason that it is not read.
    fn sbom(&self, bundle: &Value) -> Option<Result<SignedPredicate, String>> {
        let bytes = bundle.to_string().into_bytes();
        let is_sbom = |predicate_type: &str| predicate_type == SPDX;
        let policy = self.policy();
        policy.predicate(&bytes, self.subject(&repositories()), is_sbom)
    }

    fn result(&self, bundle: &Value) -> PolicyResult {
        self.evaluate(&Attachment::Bundle(bundle.to_string().into_bytes()))
            .result
    }

    /// The reason for which a bundle is invalid.
    #[track_caller]
    fn refusal(&self, bundle: &Value) -> String {
        match self.result(bundle) {
            PolicyResult::Invalid(refusal) => refusal.reason,
            other => panic!("{other:?}"),
        }
    }

    fn cosign(&self, signing: &Signing, payload: &[u8], key: Option<&str>) -> Verdict {
        self.evaluate(&layer(signing, payload, key))
    }
}

fn layer(signing: &Signing, payload: &[u8], key: Option<&str>) -> Attachment {
    Attachment::Cosign(CosignLayer {
        payload: payload.to_vec(),
        annotations: signing.annotations(payload, key).into_iter().collect(),
    })
}

fn build() -> Value {
    provenance(IMAGE, &digest().hex(), COMMIT)
}

const BOUND: PolicyResult = PolicyResult::Satisfied(Binding::Bound);
const UNBOUND: PolicyResult = PolicyResult::Satisfied(Binding::Unbound);

/// The certificate in a bundle.
fn certificate(bundle: &mut Value) -> &mut Value {
    &mut bundle["verificationMaterial"]["certificate"]["rawBytes"]
}

/// A bundle with these bytes as its certificate.
fn with_certificate(der: &[u8]) -> Value {
    let mut bundle = Signing::of(COMMIT).bundle(&build());
    *certificate(&mut bundle) = json!(STANDARD.encode(der));
    bundle
}

#[test]
fn certificates_that_recurse_are_refused() {
    let mut nested = Vec::new();
    for _ in 0..10_000 {
        nested = authority::der::tlv(0x30, &nested);
    }
    rules().refusal(&with_certificate(&nested));
    // As an extension of a certificate.
    let mut whole = Signing::of(COMMIT).certificate();
    whole.extend(&nested);
    rules().refusal(&with_certificate(&whole));
    // Without an end.
    for endless in [
        &[0x30, 0x80][..],
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        &[0x3f],
    ] {
        rules().refusal(&with_certificate(&endless.repeat(10_000)));
    }
}

#[test]
fn certificates_with_malformed_times_are_refused() {
    let mut bundle = Signing::of(COMMIT).bundle(&build());
    assert_eq!(rules().result(&bundle), BOUND);
    let der = STANDARD
        .decode(certificate(&mut bundle).as_str().unwrap())
        .unwrap();
    let tag = der.windows(2).position(|tag| tag == [0x17, 13]);
    let time = tag.expect("a UTCTime of 13 bytes") + 2;
    for malformed in [
        "991332250000Z",
        "000000000000Z",
        "240230000000Z",
        "2405010000\0\0Z",
        "-40501000000Z",
        "240501000060Z",
        "240501240000Z",
        "999999999999Z",
        "zzzzzzzzzzzzz",
    ] {
        let mut changed = der.clone();
        changed[time..time + 13].copy_from_slice(malformed.as_bytes());
        *certificate(&mut bundle) = json!(STANDARD.encode(changed));
        rules().refusal(&bundle);
    }
}

#[test]
fn attestation_by_the_workflow_for_the_revision_satisfies() {
    let bundle = Signing::of(COMMIT).bundle(&build());
    let verdict = rules().evaluate(&Attachment::Bundle(bundle.to_string().into_bytes()));
    assert_eq!(verdict.result, BOUND);
    assert_eq!(verdict.kind, Some(Requirement::Attestation));
    assert_eq!(verdict.predicate_type.as_deref(), Some(SLSA));
    let proof = verdict.proof.unwrap();
    assert_eq!(
        proof,
        Proof {
            root: Some("root.json".to_owned()),
            certificate: Some(Certificate {
                identity: Some(format!("{WORKFLOW}@refs/heads/main")),
                issuer: Some(ISSUER.to_owned()),
                source: Some(SOURCE.to_owned()),
                commit: Some(COMMIT.to_owned()),
                source_ref: Some("refs/heads/main".to_owned()),
                trigger: Some("push".to_owned()),
                runner: Some("github-hosted".to_owned()),
            }),
            key: None,
            time: Some("2024-06-01T12:00:00Z".to_owned()),
            log: Some(claim::LogEntry {
                url: "https://log.example".to_owned(),
                index: 1001,
            }),
        }
    );
}

#[test]
fn certificate_requires_authority_usage_and_log_promise() {
    let with = |change: fn(&mut Signing)| {
        let mut signing = Signing::of(COMMIT);
        change(&mut signing);
        rules().refusal(&signing.bundle(&build()))
    };
    let reason = with(|signing| signing.ca = "stranger");
    assert!(reason.contains("unknown certificate authority"), "{reason}");
    let reason = with(|signing| signing.usage = "1.3.6.1.5.5.7.3.1");
    assert!(reason.contains("certificate chain"), "{reason}");
    let reason = with(|signing| signing.ct = None);
    assert!(reason.contains("missing SCT"), "{reason}");
    let reason = with(|signing| signing.ct = Some("stranger"));
    let unknown = "unknown certificate transparency log";
    assert!(reason.starts_with(unknown), "{reason}");
}

#[test]
fn root_without_certificate_logs_requires_no_promise() {
    let mut signing = Signing::of(COMMIT);
    signing.ct = None;
    let mut root = root();
    root["ctlogs"] = json!([]);
    assert_eq!(
        rules().roots(vec![root]).result(&signing.bundle(&build())),
        BOUND
    );
}

#[test]
fn root_with_logs_requires_an_inclusion_proof() {
    let timestamped = Signing {
        stamp: Some("tsa"),
        ..Signing::of(COMMIT)
    };
    assert_eq!(rules().result(&timestamped.bundle(&build())), BOUND);
    let unlogged = Signing {
        log: None,
        ..timestamped.clone()
    };
    let reason = rules().refusal(&unlogged.bundle(&build()));
    assert!(reason.contains("the log entry is missing"), "{reason}");
    let stranger = Signing {
        log: Some("stranger"),
        ..timestamped.clone()
    };
    rules().refusal(&stranger.bundle(&build()));

    let change = |path: &str, value: Value| {
        let mut bundle = timestamped.bundle(&build());
        *bundle
            .pointer_mut(&format!("/verificationMaterial/tlogEntries/0{path}"))
            .unwrap() = value;
        rules().refusal(&bundle)
    };
    let reason = change("/inclusionProof", Value::Null);
    assert!(reason.contains("without its inclusion proof"), "{reason}");
    let hash = STANDARD.encode([7; 32]);
    let reason = change("/inclusionProof/hashes", json!([hash]));
    assert!(reason.contains("inclusion proof"), "{reason}");
    let bundle = timestamped.bundle(&build());
    let entry = &bundle["verificationMaterial"]["tlogEntries"][0];
    let checkpoint = entry["inclusionProof"]["checkpoint"]["envelope"]
        .as_str()
        .unwrap()
        .replace("log.example - 1", "log.example - 2");
    let reason = change("/inclusionProof/checkpoint/envelope", json!(checkpoint));
    assert!(reason.contains("checkpoint"), "{reason}");
    let reason = change("/integratedTime", json!((NOW + 1).to_string()));
    assert!(reason.contains("promise"), "{reason}");
}

#[test]
fn every_log_entry_requires_its_proof() {
    let mut bundle = Signing::of(COMMIT).bundle(&build());
    let entries = bundle["verificationMaterial"]["tlogEntries"]
        .as_array_mut()
        .unwrap();
    let mut second = entries[0].clone();
    second["inclusionProof"] = Value::Null;
    entries.push(second);
    let reason = rules().refusal(&bundle);
    assert!(reason.contains("without its inclusion proof"), "{reason}");
}

#[test]
fn log_entry_of_another_bundle_is_refused() {
    let mut bundle = Signing::of(COMMIT).bundle(&build());
    let mut statement = provenance(IMAGE, &digest().hex(), OTHER);
    statement["subject"][0]["name"] = json!("other");
    let other = Signing::of(COMMIT).bundle(&statement);
    bundle["verificationMaterial"]["tlogEntries"] =
        other["verificationMaterial"]["tlogEntries"].clone();
    let reason = rules().refusal(&bundle);
    assert!(reason.contains("does not match"), "{reason}");
}

#[test]
fn root_without_logs_requires_a_timestamp() {
    let private = || rules().roots(vec![root_without_logs()]);
    let signing = |stamp| Signing {
        log: None,
        ct: None,
        stamp,
        ..Signing::of(COMMIT)
    };
    let verdict = private().evaluate(&Attachment::Bundle(
        signing(Some("tsa"))
            .bundle(&build())
            .to_string()
            .into_bytes(),
    ));
    assert_eq!(verdict.result, BOUND);
    let proof = verdict.proof.unwrap();
    assert_eq!(proof.time.as_deref(), Some("2024-06-01T12:00:00Z"));
    assert_eq!(proof.log, None);
    let reason = private().refusal(&signing(None).bundle(&build()));
    assert!(reason.contains("timestamp is missing"), "{reason}");
    private().refusal(&signing(Some("stranger")).bundle(&build()));
    // The log of a logged bundle is unknown.
    private().refusal(&Signing::of(COMMIT).bundle(&build()));
}

#[test]
fn time_outside_validity_is_a_period_gap() {
    let mut old = root_without_logs();
    old["timestampAuthorities"][0]["validFor"]["end"] = json!("2024-05-01T00:00:00Z");
    let signing = Signing {
        log: None,
        ct: None,
        stamp: Some("tsa"),
        ..Signing::of(COMMIT)
    };
    let bundle = signing.bundle(&build());
    let refusal = |roots| match rules().roots(roots).result(&bundle) {
        PolicyResult::Invalid(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(vec![old.clone()]).gap, Some(RootGap::Period));
    // It takes precedence over the reason of an unrelated root.
    assert_eq!(
        refusal(vec![old.clone(), root()]).gap,
        Some(RootGap::Period)
    );
    let mut old = root_without_logs();
    old["certificateAuthorities"][0]["validFor"]["end"] = json!("2024-05-01T00:00:00Z");
    assert_eq!(refusal(vec![old]).gap, Some(RootGap::Period));
    assert_eq!(refusal(vec![root()]).gap, None);
}

#[test]
fn unknown_authority_and_log_are_identified() {
    let refusal = |signing: &Signing, roots| {
        let bundle = signing.bundle(&build());
        match rules().roots(roots).result(&bundle) {
            PolicyResult::Invalid(refusal) => (refusal.gap, refusal.reason),
            other => panic!("{other:?}"),
        }
    };
    let other_ca = Signing {
        ca: "stranger",
        ..Signing::of(COMMIT)
    };
    let expected = (
        Some(RootGap::Authority),
        "unknown certificate authority CN=stranger".to_owned(),
    );
    assert_eq!(refusal(&other_ca, vec![root()]), expected);
    let other_log = Signing {
        log: Some("stranger"),
        ..Signing::of(COMMIT)
    };
    let (gap, reason) = refusal(&other_log, vec![root()]);
    assert_eq!(gap, Some(RootGap::Log));
    let id = STANDARD.encode(Key::named("stranger").id());
    assert!(reason.starts_with("unknown transparency log "), "{reason}");
    assert!(reason.ends_with(&format!("({id})")), "{reason}");
    // Another root lists the log, but not the authority.
    let (mut with_log, stranger) = (root(), Key::named("stranger"));
    with_log["certificateAuthorities"] = json!([]);
    with_log["tlogs"][0]["publicKey"]["rawBytes"] = json!(STANDARD.encode(stranger.spki()));
    with_log["tlogs"][0]["logId"]["keyId"] = json!(STANDARD.encode(stranger.id()));
    for roots in [[root(), with_log.clone()], [with_log, root()]] {
        let (gap, reason) = refusal(&other_log, roots.to_vec());
        assert_eq!(gap, None, "{reason}");
        assert!(reason.contains("no trusted root lists both"), "{reason}");
    }
    // The root with the smaller gap decides, in any order.
    let mut stranger = root();
    stranger["certificateAuthorities"] = json!([]);
    for roots in [[root(), stranger.clone()], [stranger, root()]] {
        assert_eq!(refusal(&other_log, roots.to_vec()).0, Some(RootGap::Log));
    }
    // Control: an invalid bundle of a known authority and log.
    let altered = Signing {
        usage: "1.3.6.1.5.5.7.3.1",
        ..Signing::of(COMMIT)
    };
    assert_eq!(refusal(&altered, vec![root()]).0, None);
}

#[test]
fn first_root_documents_are_signed_by_their_keys() {
    provider::install();
    for instance in [BuiltIn::Sigstore, BuiltIn::GitHub] {
        let document = instance.first_root_document().as_bytes();
        let trusted = sigstore_tuf::TrustedMetadataSet::from_root(document).unwrap();
        let name = instance.as_str();
        for role in ["root", "timestamp", "snapshot", "targets"] {
            assert!(trusted.root().role(role).is_some(), "{name} {role}");
        }
        assert!(trusted.root().role("root").unwrap().threshold > 1, "{name}");
    }
}

#[test]
fn authority_and_log_must_be_of_one_root() {
    let mut only_logs = root();
    only_logs["certificateAuthorities"] = json!([]);
    let bundle = Signing::of(COMMIT).bundle(&build());
    let split = rules().roots(vec![root_without_logs(), only_logs.clone()]);
    split.refusal(&bundle);
    assert_eq!(
        rules().roots(vec![only_logs, root()]).result(&bundle),
        BOUND
    );
}

#[test]
fn times_in_the_future_are_refused() {
    let mut early = rules();
    early.now = at(NOW - 1);
    let reason = early.refusal(&Signing::of(COMMIT).bundle(&build()));
    assert!(reason.contains("in the future"), "{reason}");
    early.now = at(NOW);
    assert_eq!(early.result(&Signing::of(COMMIT).bundle(&build())), BOUND);
}

#[test]
fn ambiguous_bundles_are_malformed() {
    let bundle = || Signing::of(COMMIT).bundle(&build());
    let mut two = bundle();
    two["messageSignature"] = json!({ "signature": "AA==" });
    let reason = rules().refusal(&two);
    assert!(reason.contains("kind of content"), "{reason}");
    let chain = json!({ "certificates": [bundle()["verificationMaterial"]["certificate"]] });
    for (kind, value) in [
        ("publicKey", json!({ "hint": "" })),
        ("x509CertificateChain", chain),
    ] {
        let mut two = bundle();
        two["verificationMaterial"][kind] = value;
        let reason = rules().refusal(&two);
        assert!(reason.contains("kind of key"), "{reason}");
    }
    let twice = bundle().to_string().replacen(
        "\"dsseEnvelope\":",
        "\"dsseEnvelope\":{\"payload\":\"\",\"payloadType\":\"\",\"signatures\":[]},\"dsseEnvelope\":",
        1,
    );
    let verdict = rules().evaluate(&Attachment::Bundle(twice.into_bytes()));
    let PolicyResult::Invalid(refusal) = verdict.result else {
        panic!("{verdict:?}");
    };
    assert!(refusal.reason.contains("duplicate key"), "{refusal:?}");
}

#[test]
fn bundles_with_many_entries_or_bytes_are_refused() {
    let mut many = Signing {
        stamp: Some("tsa"),
        ..Signing::of(COMMIT)
    }
    .bundle(&build());
    let repeat = |list: &mut Value, count: usize| {
        let entry = list[0].clone();
        *list = vec![entry; count].into();
    };
    let material = &mut many["verificationMaterial"];
    repeat(&mut material["tlogEntries"], 8);
    repeat(
        &mut material["timestampVerificationData"]["rfc3161Timestamps"],
        8,
    );
    assert_eq!(rules().result(&many), BOUND);
    let mut entries = many.clone();
    repeat(&mut entries["verificationMaterial"]["tlogEntries"], 9);
    let reason = rules().refusal(&entries);
    assert!(reason.contains("more than 8 log entries"), "{reason}");
    repeat(
        &mut many["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"],
        9,
    );
    let reason = rules().refusal(&many);
    assert!(reason.contains("more than 8 timestamps"), "{reason}");

    let mut large = Signing::of(COMMIT)
        .bundle(&build())
        .to_string()
        .into_bytes();
    large.resize(4 << 20, b' ');
    assert_eq!(
        rules().evaluate(&Attachment::Bundle(large.clone())).result,
        BOUND
    );
    large.push(b' ');
    let verdict = rules().evaluate(&Attachment::Bundle(large));
    assert!(
        matches!(verdict.result, PolicyResult::Invalid(_)),
        "{verdict:?}"
    );
}

#[test]
fn old_bundle_with_only_a_promise_is_refused() {
    let mut bundle = Signing::of(COMMIT).bundle(&build());
    bundle["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.1");
    assert_eq!(rules().result(&bundle), BOUND);
    bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"] = Value::Null;
    let reason = rules().refusal(&bundle);
    assert!(reason.contains("without its inclusion proof"), "{reason}");
}

#[test]
fn statement_must_be_signed_and_about_the_digest() {
    let other = provenance(IMAGE, &Digest::of(b"another").hex(), COMMIT);
    let reason = rules().refusal(&Signing::of(COMMIT).bundle(&other));
    assert!(reason.contains("not about"), "{reason}");

    let mut bundle = Signing::of(COMMIT).bundle(&other);
    bundle["dsseEnvelope"]["payload"] = json!(STANDARD.encode(build().to_string()));
    let reason = rules().refusal(&bundle);
    assert!(reason.contains("signature"), "{reason}");

    let mut many = build();
    let subject = many["subject"][0].clone();
    let mut subjects = vec![json!({ "digest": { "sha256": "0".repeat(64) } }); 999];
    subjects.push(subject);
    many["subject"] = subjects.into();
    assert_eq!(rules().result(&Signing::of(COMMIT).bundle(&many)), BOUND);
}

#[test]
fn message_signatures_are_not_about_images() {
    let mut bundle = Signing::of(COMMIT).bundle(&build());
    let signature = bundle["dsseEnvelope"]["signatures"][0]["sig"].clone();
    bundle["messageSignature"] = json!({ "signature": signature });
    bundle.as_object_mut().unwrap().remove("dsseEnvelope");
    let reason = rules().refusal(&bundle);
    assert!(reason.contains("not a statement"), "{reason}");
}

#[test]
fn signer_must_match_in_each_whole_value() {
    let stranger = |change: fn(&mut Signing)| {
        let mut signing = Signing::of(COMMIT);
        change(&mut signing);
        assert_eq!(
            rules().result(&signing.bundle(&build())),
            PolicyResult::Untrusted
        );
    };
    stranger(|signing| signing.identity = format!("{WORKFLOW}@refs/heads/main2"));
    stranger(|signing| signing.identity = format!("{WORKFLOW}@refs/heads/mai"));
    stranger(|signing| signing.identity = format!("{WORKFLOW}x@refs/heads/main"));
    stranger(|signing| signing.identity = WORKFLOW.to_owned());
    stranger(|signing| signing.issuer = format!("{ISSUER}.evil.example"));
    stranger(|signing| signing.source = Some(format!("{SOURCE}-fork")));
    stranger(|signing| signing.source = None);
    stranger(|signing| signing.runner = Some("self-hosted".to_owned()));
    stranger(|signing| signing.runner = None);
}

#[test]
fn ref_may_be_any_or_contain_the_revision() {
    let with_ref = |git_ref: Option<&str>| {
        let mut signer = workflow();
        let SignerIdentity::Workflow {
            git_ref: rule,
            runner,
            ..
        } = &mut signer.who
        else {
            unreachable!("the signer is a workflow");
        };
        *rule = git_ref.map(str::to_owned);
        *runner = Runner::Any;
        rules().signers(vec![signer])
    };
    let at = |git_ref: &str| {
        let mut signing = Signing::of(COMMIT);
        signing.identity = format!("{WORKFLOW}@{git_ref}");
        signing.source_ref = Some(git_ref.to_owned());
        signing.runner = Some("self-hosted".to_owned());
        signing.bundle(&build())
    };
    assert_eq!(with_ref(None).result(&at("refs/heads/any@thing")), BOUND);
    let mut other = Signing::of(COMMIT);
    other.identity = "https://github.com/acme/runtime/.github/workflows/x.yml@refs/x".to_owned();
    let other = other.bundle(&build());
    assert_eq!(with_ref(None).result(&other), PolicyResult::Untrusted);
    let tagged = with_ref(Some("refs/tags/{revision}"));
    assert_eq!(tagged.result(&at(&format!("refs/tags/{COMMIT}"))), BOUND);
    assert_eq!(
        tagged.result(&at(&format!("refs/tags/{OTHER}"))),
        PolicyResult::Untrusted
    );
}

#[test]
fn identity_is_exact_or_matches_the_whole_pattern() {
    let by = |identity: IdentityRule| {
        rules().signers(vec![Signer {
            who: SignerIdentity::Certificate {
                identity,
                issuer: "https://accounts.example".to_owned(),
                runner: Runner::Any,
            },
            trigger: Triggers::Any,
            commit: CommitBinding::Off,
            source: None,
            images: Vec::new(),
        }])
    };
    let bundle = Signing::by("release@acme.example").bundle(&build());
    let exact = |text: &str| by(IdentityRule::Exact(text.to_owned())).result(&bundle);
    assert_eq!(exact("release@acme.example"), UNBOUND);
    assert_eq!(exact("elease@acme.example"), PolicyResult::Untrusted);
    let pattern = |text: &str| by(IdentityRule::Pattern(regex::Regex::new(text).unwrap()));
    assert_eq!(
        pattern("^(?:[a-z]+@acme\\.example)$").result(&bundle),
        UNBOUND
    );
    assert_eq!(
        pattern("^(?:[a-z]+@acme)$").result(&bundle),
        PolicyResult::Untrusted
    );
}

#[test]
fn certificate_commit_must_equal_the_revision() {
    let PolicyResult::OtherCommit(reason) = rules().result(&Signing::of(OTHER).bundle(&build()))
    else {
        panic!("the commit was not compared");
    };
    assert!(
        reason.contains(OTHER) && reason.contains(COMMIT),
        "{reason}"
    );
    let mut none = Signing::of(COMMIT);
    none.commit = None;
    let result = rules().result(&none.bundle(&build()));
    assert!(matches!(result, PolicyResult::OtherCommit(_)), "{result:?}");
}

#[test]
fn predicate_commit_must_equal_the_revision() {
    let signer = || Signer {
        commit: CommitBinding::Predicate,
        ..workflow()
    };
    let rules = || rules().signers(vec![signer()]);
    // The certificate's commit is not compared.
    assert_eq!(rules().result(&Signing::of(OTHER).bundle(&build())), BOUND);
    let other = provenance(IMAGE, &digest().hex(), OTHER);
    let result = rules().result(&Signing::of(COMMIT).bundle(&other));
    assert!(matches!(result, PolicyResult::OtherCommit(_)), "{result:?}");
    let verdict = rules().cosign(&Signing::of(COMMIT), &payload(IMAGE, &digest().hex()), None);
    let PolicyResult::OtherCommit(reason) = verdict.result else {
        panic!("{verdict:?}");
    };
    assert!(reason.contains("no predicate"), "{reason}");
}

#[test]
fn signer_that_binds_the_commit_takes_precedence() {
    let off = Signer {
        commit: CommitBinding::Off,
        ..workflow()
    };
    let both = rules().signers(vec![off, workflow()]);
    assert_eq!(both.result(&Signing::of(COMMIT).bundle(&build())), BOUND);
    assert_eq!(both.result(&Signing::of(OTHER).bundle(&build())), UNBOUND);
}

#[test]
fn signer_of_another_image_does_not_count() {
    let of = |image: &str| Signer {
        images: vec![image.to_owned()],
        ..workflow()
    };
    let bundle = Signing::of(COMMIT).bundle(&build());
    assert_eq!(rules().signers(vec![of("app")]).result(&bundle), BOUND);
    assert_eq!(
        rules().signers(vec![of("ap")]).result(&bundle),
        PolicyResult::Untrusted
    );
}

#[test]
fn other_predicates_do_not_count() {
    let sbom = statement(
        IMAGE,
        &digest().hex(),
        "https://spdx.dev/Document",
        &json!({}),
    );
    assert_eq!(
        rules().result(&Signing::of(COMMIT).bundle(&sbom)),
        PolicyResult::OtherKind
    );
    let signature = statement(IMAGE, &digest().hex(), COSIGN_SIGN, &json!({}));
    let bundle = Signing::of(COMMIT).bundle(&signature);
    let verdict = rules().evaluate(&Attachment::Bundle(bundle.to_string().into_bytes()));
    assert_eq!(verdict.kind, Some(Requirement::Signature));
    assert_eq!(verdict.result, BOUND);
}

const SPDX: &str = "https://spdx.dev/Document";

#[test]
fn predicate_counts_only_by_its_signer() {
    let contents = json!({"spdxVersion": "SPDX-2.3"});
    let sbom = statement(IMAGE, &digest().hex(), SPDX, &contents);
    let accepted = SignedPredicate {
        predicate_type: SPDX.to_owned(),
        predicate: contents.clone(),
    };
    let signed = Signing::of(COMMIT).bundle(&sbom);
    assert_eq!(rules().sbom(&signed), Some(Ok(accepted)));
    assert_eq!(rules().sbom(&Signing::of(COMMIT).bundle(&build())), None);

    let refused = |rules: Rules, bundle: &Value| match rules.sbom(bundle) {
        Some(Err(reason)) => reason,
        other => panic!("{other:?}"),
    };
    let other_commit = Signing::of(&"2".repeat(40)).bundle(&sbom);
    assert!(refused(rules(), &other_commit).contains("it was made for commit 2222"));
    let unbound = Signer {
        commit: CommitBinding::Off,
        ..workflow()
    };
    let reason = refused(rules().signers(vec![unbound]), &signed);
    assert!(reason.contains("commit: off"), "{reason}");
    let other_signer = Signer {
        images: vec!["fix".to_owned()],
        ..workflow()
    };
    let reason = refused(rules().signers(vec![other_signer]), &signed);
    assert!(reason.contains("not configured"), "{reason}");
    let other_image = statement("ghcr.io/acme/other", &digest().hex(), SPDX, &contents);
    let reason = refused(rules(), &Signing::of(COMMIT).bundle(&other_image));
    assert!(reason.contains("another repository"), "{reason}");
    let other_digest = statement(IMAGE, &Digest::of(b"x").hex(), SPDX, &contents);
    let reason = refused(rules(), &Signing::of(COMMIT).bundle(&other_digest));
    assert!(reason.contains("not about"), "{reason}");
    let mut altered = signed.clone();
    altered["dsseEnvelope"]["signatures"][0]["sig"] = json!("AAAA");
    refused(rules(), &altered);
    refused(rules(), &json!({}));
}

#[test]
fn key_must_be_listed_and_its_signature_logged() {
    let listed = |log| rules().signers(vec![key(log, CommitBinding::Predicate)]);
    let logged = Signing::of("").bundle_by_key(&build(), "signer");
    let verdict =
        listed(LogRule::Required).evaluate(&Attachment::Bundle(logged.to_string().into()));
    assert_eq!(verdict.result, BOUND);
    let public = PublicKey::parse(Key::named("signer").pem().as_bytes()).unwrap();
    assert_eq!(verdict.proof.unwrap().key, Some(public.digest()));

    let stranger = Signing::of("").bundle_by_key(&build(), "stranger");
    listed(LogRule::Required).refusal(&stranger);
    listed(LogRule::Off).refusal(&stranger);
    let reason = rules().refusal(&logged);
    assert!(reason.contains("lists none"), "{reason}");

    let mut unlogged = Signing::of("");
    unlogged.log = None;
    let unlogged = unlogged.bundle_by_key(&build(), "signer");
    listed(LogRule::Required).refusal(&unlogged);
    assert_eq!(listed(LogRule::Off).result(&unlogged), BOUND);
    let mut forged = unlogged;
    let other = provenance(IMAGE, &digest().hex(), OTHER).to_string();
    forged["dsseEnvelope"]["payload"] = json!(STANDARD.encode(other));
    listed(LogRule::Off).refusal(&forged);
}

#[test]
fn timestamped_key_counts_without_logs() {
    let listed = rules()
        .signers(vec![key(LogRule::Required, CommitBinding::Off)])
        .roots(vec![root_without_logs()]);
    let signing = |stamp| Signing {
        log: None,
        stamp,
        ..Signing::of("")
    };
    let by_key = |stamp| listed.result(&signing(stamp).bundle_by_key(&build(), "signer"));
    assert_eq!(by_key(Some("tsa")), UNBOUND);
    assert!(matches!(by_key(None), PolicyResult::Invalid(_)));
    assert!(matches!(by_key(Some("stranger")), PolicyResult::Invalid(_)));
}

#[test]
fn private_weak_and_malformed_keys_are_refused() {
    assert!(PublicKey::parse(Key::named("signer").pem().as_bytes()).is_ok());
    for text in [
        "",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ] {
        assert!(PublicKey::parse(text.as_bytes()).is_err(), "{text}");
    }
    let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let reason = PublicKey::parse(private.as_bytes()).unwrap_err();
    assert!(reason.contains("private key"), "{reason}");
    // RSA with 1024 bits.
    let modulus = authority::der::tlv(2, &[&[0], &[0xc5; 128][..]].concat());
    let raw = authority::der::sequence(&[modulus, authority::der::integer(65537)]);
    let algorithm = [authority::der::oid("1.2.840.113549.1.1.1"), vec![5, 0]];
    let algorithm = authority::der::sequence(&algorithm);
    let weak = authority::der::sequence(&[algorithm, authority::der::bits(&raw)]);
    let reason = PublicKey::parse(authority::pem("PUBLIC KEY", &weak).as_bytes()).unwrap_err();
    assert!(reason.contains("1024"), "{reason}");
}

#[test]
fn signature_of_an_older_cosign_is_converted() {
    let payload = payload(IMAGE, &digest().hex());
    let verdict = rules().cosign(&Signing::of(COMMIT), &payload, None);
    assert_eq!(verdict.result, BOUND);
    assert_eq!(verdict.kind, Some(Requirement::Signature));
    assert_eq!(verdict.predicate_type, None);
    assert_eq!(verdict.proof.unwrap().log.unwrap().index, 1001);

    let listed = |log| rules().signers(vec![key(log, CommitBinding::Off)]);
    let by_key =
        |rules: Rules, signing: &Signing, key| rules.cosign(signing, &payload, Some(key)).result;
    let logged = Signing::of("");
    let mut unlogged = logged.clone();
    unlogged.log = None;
    assert_eq!(
        by_key(listed(LogRule::Required), &logged, "signer"),
        UNBOUND
    );
    assert_eq!(by_key(listed(LogRule::Off), &unlogged, "signer"), UNBOUND);
    for (log, signing, key) in [
        (LogRule::Required, &unlogged, "signer"),
        (LogRule::Required, &logged, "stranger"),
        (LogRule::Off, &unlogged, "stranger"),
    ] {
        let result = by_key(listed(log), signing, key);
        assert!(matches!(result, PolicyResult::Invalid(_)), "{log:?} {key}");
    }
    // With a timestamp instead of a log.
    let timestamped = Signing {
        log: None,
        ct: None,
        stamp: Some("tsa"),
        ..Signing::of(COMMIT)
    };
    let private = rules().roots(vec![root_without_logs()]);
    assert_eq!(private.cosign(&timestamped, &payload, None).result, BOUND);
}

/// A public key in the place of the certificate verified signatures by that key, without an authority and before any
/// configured key (cosign before 3.1.3 and 2.6.5, GHSA-fx35-mq7g-6g98).
#[test]
fn public_key_in_place_of_a_certificate_is_refused() {
    let message = payload(IMAGE, &digest().hex());
    let keys = |log| rules().signers(vec![key(log, CommitBinding::Off)]);
    let policies = || [rules(), keys(LogRule::Required), keys(LogRule::Off)];
    for name in ["stranger", "signer"] {
        let public = Key::named(name);
        for text in [public.pem(), authority::pem("CERTIFICATE", &public.spki())] {
            for log in [Signing::of("").log, None] {
                let signing = Signing {
                    log,
                    ..Signing::of("")
                };
                let Attachment::Cosign(mut layer) = layer(&signing, &message, Some(name)) else {
                    unreachable!("the attachment is a layer");
                };
                let place = "dev.sigstore.cosign/certificate".to_owned();
                layer.annotations.insert(place, text.clone());
                for rules in policies() {
                    let verdict = rules.evaluate(&Attachment::Cosign(layer.clone()));
                    let is_invalid = matches!(verdict.result, PolicyResult::Invalid(_));
                    assert!(is_invalid, "{name} {log:?} {text} {verdict:?}");
                }
            }
        }
        let statement = build();
        for material in [
            json!({ "certificate": { "rawBytes": STANDARD.encode(public.spki()) } }),
            json!({ "x509CertificateChain": { "certificates": [{ "rawBytes": STANDARD.encode(public.spki()) }] } }),
        ] {
            let mut bundle = Signing::of("").bundle_by_key(&statement, name);
            let old = bundle["verificationMaterial"].as_object_mut().unwrap();
            old.remove("publicKey").unwrap();
            old.extend(material.as_object().unwrap().clone());
            for rules in policies() {
                rules.refusal(&bundle);
            }
        }
    }
    // Only a configured key counts, whatever key the bundle contains.
    let mut bundle = Signing::of("").bundle_by_key(&build(), "stranger");
    bundle["verificationMaterial"]["publicKey"]["rawBytes"] =
        json!(STANDARD.encode(Key::named("stranger").spki()));
    for rules in policies() {
        rules.refusal(&bundle);
    }
}

#[test]
fn altered_signature_of_an_older_cosign_is_invalid() {
    let valid = payload(IMAGE, &digest().hex());
    let altered = |change: &dyn Fn(&mut CosignLayer)| {
        let Attachment::Cosign(mut layer) = layer(&Signing::of(COMMIT), &valid, None) else {
            unreachable!("the attachment is a layer");
        };
        change(&mut layer);
        match rules().evaluate(&Attachment::Cosign(layer)).result {
            PolicyResult::Invalid(refusal) => refusal.reason,
            other => panic!("{other:?}"),
        }
    };
    altered(&|layer| layer.payload.push(b' '));
    let reason = altered(&|layer| layer.payload.resize((4 << 20) + 1, b' '));
    assert!(reason.contains("more than 4 MiB"), "{reason}");
    let (leaf, chain) = (
        "dev.sigstore.cosign/certificate",
        "dev.sigstore.cosign/chain",
    );
    let reason = altered(&|layer| {
        let both = layer.annotations[leaf].clone() + &layer.annotations[chain];
        layer.annotations.insert(leaf.to_owned(), both);
    });
    assert!(reason.contains("exactly one certificate"), "{reason}");
    altered(&|layer| layer.payload = payload(IMAGE, &Digest::of(b"another").hex()));
    for name in [
        "dev.cosignproject.cosign/signature",
        "dev.sigstore.cosign/bundle",
        "dev.sigstore.cosign/certificate",
    ] {
        altered(&|layer| drop(layer.annotations.remove(name)));
        altered(&|layer| drop(layer.annotations.insert(name.to_owned(), "x".to_owned())));
    }
    let bundle = "dev.sigstore.cosign/bundle";
    let reason = altered(&|layer| {
        let text = layer.annotations.get_mut(bundle).unwrap();
        *text = text.replace(&NOW.to_string(), &(NOW + 1).to_string());
    });
    assert!(reason.contains("promise"), "{reason}");
}

#[test]
fn root_file_has_one_document_per_line() {
    let lines = format!("{}\n\n{}\n", root(), root_without_logs());
    assert_eq!(Root::parse("r.jsonl", lines.as_bytes()).unwrap().len(), 2);
    let pretty = serde_json::to_string_pretty(&root()).unwrap();
    assert_eq!(Root::parse("r.json", pretty.as_bytes()).unwrap().len(), 1);
    let mut empty = root();
    for list in ["certificateAuthorities", "tlogs", "timestampAuthorities"] {
        empty[list] = json!([]);
    }
    for text in [
        "",
        "\n",
        "{}",
        "x",
        &format!("{}\nx", root()),
        &empty.to_string(),
    ] {
        assert!(Root::parse("r", text.as_bytes()).is_err(), "{text}");
    }
    let twice = root()
        .to_string()
        .replacen("\"tlogs\"", "\"tlogs\":[],\"tlogs\"", 1);
    assert!(Root::parse("r", twice.as_bytes()).is_err());
}

/// The path of a candidate of the fuzz target.
fn candidate(name: &str) -> std::path::PathBuf {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/trust");
    directory.join(name)
}

#[test]
fn candidates_of_the_fuzz_target_verify() {
    for name in ["own-bundle", "own-timestamp"] {
        let bundle = std::fs::read(candidate(name)).unwrap();
        let verdict = rules().evaluate(&Attachment::Bundle(bundle));
        assert_eq!(verdict.result, BOUND, "{name}");
    }
}

#[test]
#[ignore = "writes candidates to fuzz/corpus/trust"]
fn write_fuzz_corpus() {
    let write = |name: &str, text: String| std::fs::write(candidate(name), text).unwrap();
    let logged = Signing::of(COMMIT);
    let timestamped = Signing {
        stamp: Some("tsa"),
        ..Signing::of(COMMIT)
    };
    write("own-bundle", logged.bundle(&build()).to_string());
    write("own-timestamp", timestamped.bundle(&build()).to_string());
    write(
        "own-key",
        logged.bundle_by_key(&build(), "signer").to_string(),
    );
    // The format of the target: the payload, and an annotation on each further line.
    for (name, key) in [("own-cosign", None), ("own-cosign-key", Some("signer"))] {
        let payload = payload(IMAGE, &digest().hex());
        let mut text = String::from_utf8(payload.clone()).unwrap();
        for (name, value) in logged.annotations(&payload, key) {
            let value = value.replace('\n', "\\n");
            text.extend(["\n", &name, "=", &value]);
        }
        write(name, text);
    }
}

/// The result for a bundle by the workflow after a change of the signing.
fn signed_with(change: impl FnOnce(&mut Signing)) -> PolicyResult {
    let mut signing = Signing::of(COMMIT);
    change(&mut signing);
    rules().result(&signing.bundle(&build()))
}

#[test]
fn statement_must_refer_to_the_repository() {
    let of = |rules: &Rules, name: &str| {
        let statement = provenance(name, &digest().hex(), COMMIT);
        rules.result(&Signing::of(COMMIT).bundle(&statement))
    };
    for name in [
        "ghcr.io/acme/app",
        "ghcr.io/acme/app:v1",
        "ghcr.io/Acme/App",
    ] {
        assert_eq!(of(&rules(), name), BOUND, "{name}");
    }
    for name in [
        "ghcr.io/acme/app-debug",
        "ghcr.io/acme/app/debug",
        "ghcr.io/acme/ap",
        "acme/app",
        "app",
        "quay.io/acme/app",
        "ghcr.io:444/acme/app",
        "pkg:docker/ghcr.io/acme/app",
        "ghcr.io/acme/app ",
    ] {
        assert_eq!(of(&rules(), name), PolicyResult::OtherImage, "{name}");
    }
    for name in ["", "_"] {
        assert_eq!(of(&rules(), name), PolicyResult::NoImage, "{name}");
    }
    let mut any = rules();
    any.verify.subject_name = SubjectName::Any;
    for name in ["acme/other", "", "_"] {
        assert_eq!(of(&any, name), BOUND, "{name}");
    }
    // The commit is still compared.
    let other = provenance("", &digest().hex(), OTHER);
    let verdict = any.result(&Signing::of(OTHER).bundle(&other));
    assert!(
        matches!(verdict, PolicyResult::OtherCommit(_)),
        "{verdict:?}"
    );
}

#[test]
fn payload_must_refer_to_the_repository() {
    let rules = || {
        let mut rules = rules();
        rules.verify.require = vec![Requirement::Signature];
        rules
    };
    let of = |rules: &Rules, name: &str| {
        let payload = payload(name, &digest().hex());
        rules.cosign(&Signing::of(COMMIT), &payload, None).result
    };
    assert_eq!(of(&rules(), IMAGE), BOUND);
    assert_eq!(of(&rules(), "ghcr.io/acme/app:v1"), BOUND);
    assert_eq!(of(&rules(), "ghcr.io/acme/other"), PolicyResult::OtherImage);
    assert_eq!(of(&rules(), ""), PolicyResult::NoImage);
    // Cosign 3 signs only a digest.
    let bundle = Signing::of(COMMIT).bundle(&authority::cosign_signature(&digest().hex()));
    assert_eq!(rules().result(&bundle), PolicyResult::NoImage);
    let mut any = rules();
    any.verify.subject_name = SubjectName::Any;
    assert_eq!(any.result(&bundle), BOUND);
    assert_eq!(of(&any, "ghcr.io/acme/other"), BOUND);
}

#[test]
fn builds_for_pull_requests_are_untrusted_by_default() {
    let with =
        |event: Option<&str>| signed_with(|signing| signing.trigger = event.map(str::to_owned));
    for event in [
        Some("push"),
        Some("workflow_dispatch"),
        Some("pull_request"),
        None,
    ] {
        assert_eq!(with(event), BOUND, "{event:?}");
    }
    for event in ["pull_request_target", "workflow_run"] {
        assert_eq!(with(Some(event)), PolicyResult::Untrusted, "{event}");
    }
    let listed = |event: Option<&str>| {
        let signer = Signer {
            trigger: Triggers::Listed(vec!["push".to_owned(), "workflow_run".to_owned()]),
            ..workflow()
        };
        let signing = Signing {
            trigger: event.map(str::to_owned),
            ..Signing::of(COMMIT)
        };
        rules()
            .signers(vec![signer])
            .result(&signing.bundle(&build()))
    };
    assert_eq!(listed(Some("push")), BOUND);
    assert_eq!(listed(Some("workflow_run")), BOUND);
    assert_eq!(listed(Some("schedule")), PolicyResult::Untrusted);
    assert_eq!(listed(None), PolicyResult::Untrusted);
}

#[test]
fn source_ref_must_match() {
    const SHARED: &str = "https://github.com/acme/workflows/.github/workflows/build.yml";
    let of = |workflow: &str, git_ref: &str, expected: Option<&str>, source_ref: Option<&str>| {
        let signer = Signer {
            who: SignerIdentity::Workflow {
                workflow: workflow.to_owned(),
                git_ref: Some(git_ref.to_owned()),
                source_ref: expected.map(str::to_owned),
                issuer: ISSUER.to_owned(),
                runner: Runner::GitHubHosted,
            },
            ..self::workflow()
        };
        let signing = Signing {
            identity: format!("{workflow}@{git_ref}"),
            source_ref: source_ref.map(str::to_owned),
            ..Signing::of(COMMIT)
        };
        rules()
            .signers(vec![signer])
            .result(&signing.bundle(&build()))
    };
    let (main, fork, tag) = ("refs/heads/main", "refs/heads/fork", "refs/tags/v1");
    assert_eq!(of(SHARED, main, None, Some(main)), BOUND);
    assert_eq!(of(SHARED, main, None, Some(fork)), PolicyResult::Untrusted);
    assert_eq!(of(SHARED, main, None, None), PolicyResult::Untrusted);
    // A workflow of the same repository can also be called from another branch.
    assert_eq!(
        of(WORKFLOW, main, None, Some(fork)),
        PolicyResult::Untrusted
    );
    assert_eq!(of(WORKFLOW, main, None, None), BOUND);
    // A workflow that is called by its tag.
    assert_eq!(of(SHARED, tag, Some(main), Some(main)), BOUND);
    assert_eq!(
        of(SHARED, tag, Some(main), Some(fork)),
        PolicyResult::Untrusted
    );
    assert_eq!(of(SHARED, tag, None, Some(main)), PolicyResult::Untrusted);
    assert_eq!(
        of(WORKFLOW, main, Some(main), None),
        PolicyResult::Untrusted
    );
}

#[test]
fn at_sign_in_a_file_is_another_workflow() {
    let without_ref = || {
        let mut signer = workflow();
        if let SignerIdentity::Workflow { git_ref, .. } = &mut signer.who {
            *git_ref = None;
        }
        rules().signers(vec![signer])
    };
    let of = |rules: Rules, rest: &str| {
        let signing = Signing {
            identity: format!("{WORKFLOW}@{rest}"),
            ..Signing::of(COMMIT)
        };
        rules.result(&signing.bundle(&build()))
    };
    for rest in [
        "refs/heads/main",
        "refs/heads/ann@home",
        "refs/tags/app@1.0.0",
        "0123456789012345678901234567890123456789",
    ] {
        assert_eq!(of(without_ref(), rest), BOUND, "{rest}");
    }
    for rest in [
        "evil.yml@refs/heads/main",
        "refs@refs/heads/main",
        "refs/heads/x.yml@refs/heads/main",
        "@refs/heads/main",
        "x@0123456789012345678901234567890123456789",
    ] {
        assert_eq!(of(without_ref(), rest), PolicyResult::Untrusted, "{rest}");
    }
    assert_eq!(
        of(rules(), "evil.yml@refs/heads/main"),
        PolicyResult::Untrusted
    );
}
