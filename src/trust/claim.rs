//! Claims: the subjects, the predicate and the built commit of a signed statement or payload.
//!
//! Statements are in-toto's (versions 0.1 and 1), payloads those of older cosign versions. Both are
//! parsed with unique keys, and not verified.
//!
//! The proof of a verified bundle, or the refusal of one that does not verify.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sigstore_verify::{CertificateError, Error, TimestampError};

use super::json;
use crate::oci::{Digest, Repository, signed_repository};

/// The type of an in-toto statement, both versions.
const STATEMENTS: [&str; 2] = [
    "https://in-toto.io/Statement/v1",
    "https://in-toto.io/Statement/v0.1",
];
/// The type of cosign's payload (cosign, `specs/SIGNATURE_SPEC.md`); newer images of the same
/// format use the second.
const PAYLOADS: [&str; 2] = [
    "cosign container image signature",
    "https://sigstore.dev/cosign/sign/v1",
];

/// The content of a signed statement or payload.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// The type of the statement's predicate; `None` for a payload of cosign.
    pub(super) predicate_type: Option<String>,
    subjects: Vec<ClaimSubject>,
    pub(super) predicate: Value,
}

#[derive(Debug, Clone)]
struct ClaimSubject {
    /// In hexadecimal.
    sha256: String,
    name: Option<String>,
}

/// The repository that a claim refers to, as signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SignedName {
    /// A repository of the image.
    Own(String),
    /// Other repositories only.
    Other(String),
    /// Only a digest is signed.
    Absent,
}

/// The commit of a source in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BuiltCommit {
    One(String),
    Absent,
    /// The statement contains multiple commits of the source.
    Ambiguous,
}

impl Claim {
    /// Parses an in-toto statement.
    pub(super) fn from_statement(bytes: &[u8]) -> Result<Self, String> {
        let mut statement =
            json::unique(bytes).map_err(|error| format!("malformed statement: {error}"))?;
        if !statement["_type"]
            .as_str()
            .is_some_and(|kind| STATEMENTS.contains(&kind))
        {
            return Err("malformed statement: unknown type".to_owned());
        }
        let Some(predicate_type) = statement["predicateType"].as_str().map(str::to_owned) else {
            return Err("malformed statement: the type of the predicate is missing".to_owned());
        };
        let Some(list) = statement["subject"].as_array() else {
            return Err("malformed statement: the subjects are missing".to_owned());
        };
        let mut subjects = Vec::new();
        for subject in list {
            if let Some(sha256) = subject["digest"]["sha256"].as_str() {
                subjects.push(ClaimSubject {
                    sha256: sha256.to_owned(),
                    name: name(&subject["name"]),
                });
            }
        }
        Ok(Self {
            predicate_type: Some(predicate_type),
            subjects,
            predicate: statement["predicate"].take(),
        })
    }

    /// Parses a payload of cosign.
    pub(super) fn from_payload(bytes: &[u8]) -> Result<Self, String> {
        let payload = json::unique(bytes).map_err(|error| format!("malformed payload: {error}"))?;
        let critical = &payload["critical"];
        if !critical["type"]
            .as_str()
            .is_some_and(|kind| PAYLOADS.contains(&kind))
        {
            return Err("malformed payload: not a signature of an image".to_owned());
        }
        let digest = critical["image"]["docker-manifest-digest"].as_str();
        let Some(sha256) = digest.and_then(|digest| digest.strip_prefix("sha256:")) else {
            return Err("malformed payload: the digest is missing".to_owned());
        };
        Ok(Self {
            predicate_type: None,
            subjects: vec![ClaimSubject {
                sha256: sha256.to_owned(),
                name: name(&critical["identity"]["docker-reference"]),
            }],
            predicate: Value::Null,
        })
    }

    pub(super) fn is_about(&self, digest: Digest) -> bool {
        let hex = digest.hex();
        self.subjects.iter().any(|subject| subject.sha256 == hex)
    }

    /// The repository of the claim for a digest. Only subjects with this digest count, because a
    /// statement about multiple images has a name for each.
    pub(super) fn repository_of(&self, digest: Digest, own: &[Repository]) -> SignedName {
        let hex = digest.hex();
        let mut names = Vec::new();
        for subject in &self.subjects {
            if subject.sha256 == hex
                && let Some(name) = &subject.name
            {
                if signed_repository(name).is_some_and(|repository| own.contains(&repository)) {
                    return SignedName::Own(name.clone());
                }
                names.push(name.as_str());
            }
        }
        if names.is_empty() {
            return SignedName::Absent;
        }
        SignedName::Other(names.join(", "))
    }

    /// The commit of `source` in SLSA's `resolvedDependencies`.
    pub(super) fn commit_of(&self, source: &str) -> BuiltCommit {
        let dependencies = &self.predicate["buildDefinition"]["resolvedDependencies"];
        let mut commits = Vec::new();
        for dependency in dependencies.as_array().into_iter().flatten() {
            let uri = dependency["uri"].as_str().unwrap_or_default();
            if repository_of_uri(uri) == source
                && let Some(commit) = dependency["digest"]["gitCommit"].as_str()
            {
                commits.push(commit);
            }
        }
        match commits.as_slice() {
            [] => BuiltCommit::Absent,
            [commit] => BuiltCommit::One((*commit).to_owned()),
            _ => BuiltCommit::Ambiguous,
        }
    }
}

/// The repository in a dependency's URI, without its prefix and its ref.
fn repository_of_uri(uri: &str) -> &str {
    let url = uri.strip_prefix("git+").unwrap_or(uri);
    url.split_once('@')
        .map_or(url, |(repository, _)| repository)
}

/// The name in a claim. In-toto suggests `_` for a name without a meaning, and the first versions of
/// cosign signed an empty name.
fn name(value: &Value) -> Option<String> {
    let name = value.as_str()?;
    (!name.is_empty() && name != "_").then(|| name.to_owned())
}

/// The reason for which a bundle does not verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub reason: String,
    /// The missing entry of the trusted root; `None` if a newer root would not help.
    pub gap: Option<RootGap>,
}

/// A missing entry of a trusted root, ordered by the likelihood that the root is the signature's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RootGap {
    /// The authority that issued the certificate.
    Authority,
    /// A transparency log.
    Log,
    /// An authority that was valid at the signing time.
    Period,
}

/// The verified facts about a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    /// The name of the root; `None` for a key without a log.
    pub root: Option<String>,
    pub certificate: Option<Certificate>,
    /// The digest of the key, for a signature by a key.
    pub key: Option<Digest>,
    /// The signing time according to the log or the timestamp authority (RFC 3339).
    pub time: Option<String>,
    /// The first log entry.
    pub log: Option<LogEntry>,
}

/// The claims of a verified certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Certificate {
    #[serde(rename = "signer")]
    pub identity: Option<String>,
    /// The identity provider.
    pub issuer: Option<String>,
    /// The repository that was built.
    pub source: Option<String>,
    /// The ref that was built.
    pub source_ref: Option<String>,
    /// The commit that was built.
    pub commit: Option<String>,
    /// The event that started the build.
    pub trigger: Option<String>,
    /// The kind of runner.
    pub runner: Option<String>,
}

/// An entry of a transparency log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    /// The URL of the log.
    pub url: String,
    pub index: u64,
}

impl Certificate {
    /// The workflow and its ref, if the identity is a workflow. A ref starts with `refs/` or is a
    /// commit, so a file name that contains `@` cannot imitate another workflow.
    pub(crate) fn workflow(&self) -> Option<(&str, &str)> {
        let (workflow, git_ref) = self.identity.as_deref()?.split_once('@')?;
        let is_ref = match git_ref.strip_prefix("refs/") {
            Some(rest) => !rest.contains("@refs/"),
            None => !git_ref.contains('@'),
        };
        (workflow.contains("://") && is_ref).then_some((workflow, git_ref))
    }
}

impl Refusal {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            gap: None,
        }
    }

    pub(super) fn from_error(error: &Error) -> Self {
        let is_outside_period = matches!(
            error,
            Error::Certificate(CertificateError::NoValidAuthority { .. })
                | Error::Timestamp(TimestampError::OutsideAuthorityValidity { .. })
        );
        Self {
            reason: error.to_string(),
            gap: is_outside_period.then_some(RootGap::Period),
        }
    }

    /// The likelihood that the root is the signature's: a root without its authority or its log
    /// probably belongs to another instance.
    pub(super) fn rank(&self) -> u8 {
        match self.gap {
            Some(RootGap::Authority) => 0,
            Some(RootGap::Log) => 1,
            None => 2,
            Some(RootGap::Period) => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn statement(dependencies: &Value) -> Claim {
        let statement = json!({
            "_type": STATEMENTS[0],
            "subject": [{"name": "x", "digest": {"sha1": "aa"}}, {"digest": {"sha256": "b".repeat(64)}}],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {"buildDefinition": {"resolvedDependencies": dependencies}},
        });
        Claim::from_statement(statement.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn claim_is_about_each_sha256_of_its_subjects() {
        let claim = statement(&json!([]));
        assert!(claim.is_about(Digest::from_hex(&"b".repeat(64)).unwrap()));
        assert!(!claim.is_about(Digest::from_hex(&"c".repeat(64)).unwrap()));
    }

    #[test]
    fn name_counts_only_with_its_digest() {
        let [digest, other] = ["a", "b"].map(|digit| digit.repeat(64));
        let own = [Repository::parse("ghcr.io/acme/app").unwrap()];
        let name = |subjects: Value| {
            let statement = json!({
                "_type": STATEMENTS[0], "subject": subjects, "predicateType": "p", "predicate": {},
            });
            let claim = Claim::from_statement(statement.to_string().as_bytes()).unwrap();
            claim.repository_of(Digest::from_hex(&digest).unwrap(), &own)
        };
        let subject = |name: &str, hex: &str| json!({"name": name, "digest": {"sha256": hex}});
        let (app, fix) = ("ghcr.io/acme/app:v1", "ghcr.io/acme/fix");
        assert_eq!(
            name(json!([subject(app, &digest)])),
            SignedName::Own(app.to_owned())
        );
        // Both images in one statement, each with the other's digest.
        let swapped = json!([subject(app, &other), subject(fix, &digest)]);
        assert_eq!(name(swapped), SignedName::Other(fix.to_owned()));
        let both = json!([subject(fix, &digest), subject(app, &digest)]);
        assert_eq!(name(both), SignedName::Own(app.to_owned()));
        for nameless in [
            subject("", &digest),
            subject("_", &digest),
            json!({"digest": {"sha256": digest}}),
            json!({"name": null, "digest": {"sha256": digest}}),
            json!({"name": [app], "digest": {"sha256": digest}}),
            json!({"uri": app, "digest": {"sha256": digest}}),
        ] {
            assert_eq!(
                name(json!([nameless, subject(app, &other)])),
                SignedName::Absent
            );
        }
    }

    #[test]
    fn built_commit_is_the_only_source_commit() {
        let source = "https://github.com/acme/runtime";
        let built = |uri: &str, commit: &str| json!({"uri": uri, "digest": {"gitCommit": commit}});
        let whole = format!("git+{source}@refs/heads/main");
        let other = built(
            "git+https://github.com/acme/runtime-extra@refs/heads/main",
            "x",
        );
        let commit = |list: Value| statement(&list).commit_of(source);
        assert_eq!(
            commit(json!([other, built(&whole, "c")])),
            BuiltCommit::One("c".to_owned())
        );
        assert_eq!(
            commit(json!([built(source, "c")])),
            BuiltCommit::One("c".to_owned())
        );
        assert_eq!(commit(json!([other])), BuiltCommit::Absent);
        assert_eq!(commit(json!([{"uri": source}])), BuiltCommit::Absent);
        assert_eq!(commit(json!("x")), BuiltCommit::Absent);
        let twice = json!([built(source, "c"), built(&whole, "c")]);
        assert_eq!(commit(twice), BuiltCommit::Ambiguous);
    }

    #[test]
    fn malformed_claims_are_refused() {
        for text in [
            "{}",
            r#"{"_type":"https://in-toto.io/Statement/v2","subject":[],"predicateType":"p"}"#,
            r#"{"_type":"https://in-toto.io/Statement/v1","predicateType":"p"}"#,
            r#"{"_type":"https://in-toto.io/Statement/v1","subject":[]}"#,
            r#"{"_type":"https://in-toto.io/Statement/v1","subject":[],"subject":[],"predicateType":"p"}"#,
        ] {
            assert!(Claim::from_statement(text.as_bytes()).is_err(), "{text}");
        }
        for text in [
            "{}",
            r#"{"critical":{"type":"other","image":{"docker-manifest-digest":"sha256:aa"}}}"#,
            r#"{"critical":{"type":"cosign container image signature","image":{}}}"#,
        ] {
            assert!(Claim::from_payload(text.as_bytes()).is_err(), "{text}");
        }
    }
}
