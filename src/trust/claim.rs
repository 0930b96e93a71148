//! What signed bytes say: about which digests, in which words, and which commit was built.
//!
//! Statements are in-toto's (versions 0.1 and 1), payloads those of older cosign versions. Both are
//! read here with unique keys; nothing is verified.

use serde_json::Value;

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

/// What signed bytes say.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// The type of the statement's predicate; `None` for a payload of cosign, which has none.
    pub(super) predicate_type: Option<String>,
    subjects: Vec<ClaimSubject>,
    predicate: Value,
}

/// One subject of a claim.
#[derive(Debug, Clone)]
struct ClaimSubject {
    /// The SHA-256, in hexadecimal.
    sha256: String,
    /// The name, as signed.
    name: Option<String>,
}

/// The repository that a claim refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedName {
    /// One of the image's; as signed.
    Own(String),
    /// Others only; as signed.
    Other(String),
    /// None: only a digest is signed.
    Absent,
}

/// The commit that a statement says was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BuiltCommit {
    /// Exactly one.
    One(String),
    /// None of the source's.
    Absent,
    /// Several.
    Ambiguous,
}

impl Claim {
    /// Reads an in-toto statement.
    pub(super) fn of_statement(bytes: &[u8]) -> Result<Self, String> {
        let mut statement =
            json::unique(bytes).map_err(|error| format!("malformed statement: {error}"))?;
        if !statement["_type"]
            .as_str()
            .is_some_and(|kind| STATEMENTS.contains(&kind))
        {
            return Err("malformed statement: unknown type".to_owned());
        }
        let predicate_type = statement["predicateType"].as_str().map(str::to_owned);
        let predicate_type =
            predicate_type.ok_or("malformed statement: the type of the predicate is missing")?;
        let subjects = statement["subject"].as_array();
        let subjects = subjects.ok_or("malformed statement: the subjects are missing")?;
        let entry = |subject: &Value| {
            Some(ClaimSubject {
                sha256: subject["digest"]["sha256"].as_str()?.to_owned(),
                name: name(&subject["name"]),
            })
        };
        Ok(Self {
            predicate_type: Some(predicate_type),
            subjects: subjects.iter().filter_map(entry).collect(),
            predicate: statement["predicate"].take(),
        })
    }

    /// Reads a payload of cosign.
    pub(super) fn of_payload(bytes: &[u8]) -> Result<Self, String> {
        let payload = json::unique(bytes).map_err(|error| format!("malformed payload: {error}"))?;
        let critical = &payload["critical"];
        if !critical["type"]
            .as_str()
            .is_some_and(|kind| PAYLOADS.contains(&kind))
        {
            return Err("malformed payload: not a signature of an image".to_owned());
        }
        let digest = critical["image"]["docker-manifest-digest"].as_str();
        let digest = digest.and_then(|digest| digest.strip_prefix("sha256:"));
        let digest = digest.ok_or("malformed payload: the digest is missing")?;
        Ok(Self {
            predicate_type: None,
            subjects: vec![ClaimSubject {
                sha256: digest.to_owned(),
                name: name(&critical["identity"]["docker-reference"]),
            }],
            predicate: Value::Null,
        })
    }

    /// Whether it is about a digest.
    pub(super) fn is_about(&self, digest: Digest) -> bool {
        let hex = digest.hex();
        self.subjects.iter().any(|subject| subject.sha256 == hex)
    }

    /// The repository that the claim gives a digest. Only the subjects with this digest count: a
    /// statement about several images has a name for each.
    pub(super) fn repository_of(&self, digest: Digest, own: &[Repository]) -> SignedName {
        let hex = digest.hex();
        let subjects = self.subjects.iter().filter(|subject| subject.sha256 == hex);
        let names: Vec<_> = subjects
            .filter_map(|subject| subject.name.as_deref())
            .collect();
        let is_own =
            |name: &&&str| signed_repository(name).is_some_and(|found| own.contains(&found));
        match (names.iter().find(is_own), names.is_empty()) {
            (Some(name), _) => SignedName::Own((*name).to_owned()),
            (None, false) => SignedName::Other(names.join(", ")),
            (None, true) => SignedName::Absent,
        }
    }

    /// The commit of `source` that was built, by SLSA's `resolvedDependencies`.
    pub(super) fn commit_of(&self, source: &str) -> BuiltCommit {
        let dependencies = &self.predicate["buildDefinition"]["resolvedDependencies"];
        let of_source = |dependency: &&Value| {
            let uri = dependency["uri"].as_str().unwrap_or_default();
            let uri = uri.strip_prefix("git+").unwrap_or(uri);
            let repository = uri
                .split_once('@')
                .map_or(uri, |(repository, _)| repository);
            repository == source
        };
        let dependencies = dependencies.as_array().map_or(&[][..], Vec::as_slice);
        let commit = |dependency: &Value| {
            dependency["digest"]["gitCommit"]
                .as_str()
                .map(str::to_owned)
        };
        let mut commits = dependencies.iter().filter(of_source).filter_map(commit);
        match (commits.next(), commits.next()) {
            (Some(commit), None) => BuiltCommit::One(commit),
            (None, _) => BuiltCommit::Absent,
            (Some(_), Some(_)) => BuiltCommit::Ambiguous,
        }
    }
}

/// The name in a claim. In-toto suggests `_` for a name without a meaning, and the first versions of
/// cosign signed an empty one.
fn name(value: &Value) -> Option<String> {
    let name = value.as_str()?;
    (!name.is_empty() && name != "_").then(|| name.to_owned())
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
        Claim::of_statement(statement.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn any_sha256_of_a_subject_counts_whole() {
        let claim = statement(&json!([]));
        assert!(claim.is_about(Digest::from_hex(&"b".repeat(64)).unwrap()));
        assert!(!claim.is_about(Digest::from_hex(&"c".repeat(64)).unwrap()));
    }

    #[test]
    fn name_counts_only_with_its_digest() {
        let [ours, theirs] = ["a", "b"].map(|digit| digit.repeat(64));
        let own = [Repository::parse("ghcr.io/acme/app").unwrap()];
        let of = |subjects: Value| {
            let statement = json!({
                "_type": STATEMENTS[0], "subject": subjects, "predicateType": "p", "predicate": {},
            });
            let claim = Claim::of_statement(statement.to_string().as_bytes()).unwrap();
            claim.repository_of(Digest::from_hex(&ours).unwrap(), &own)
        };
        let subject = |name: &str, hex: &str| json!({"name": name, "digest": {"sha256": hex}});
        let (app, fix) = ("ghcr.io/acme/app:v1", "ghcr.io/acme/fix");
        assert_eq!(
            of(json!([subject(app, &ours)])),
            SignedName::Own(app.to_owned())
        );
        // Both images in one statement, each with the other's digest.
        let swapped = json!([subject(app, &theirs), subject(fix, &ours)]);
        assert_eq!(of(swapped), SignedName::Other(fix.to_owned()));
        let both = json!([subject(fix, &ours), subject(app, &ours)]);
        assert_eq!(of(both), SignedName::Own(app.to_owned()));
        for nameless in [
            subject("", &ours),
            subject("_", &ours),
            json!({"digest": {"sha256": ours}}),
            json!({"name": null, "digest": {"sha256": ours}}),
            json!({"name": [app], "digest": {"sha256": ours}}),
            json!({"uri": app, "digest": {"sha256": ours}}),
        ] {
            assert_eq!(
                of(json!([nameless, subject(app, &theirs)])),
                SignedName::Absent
            );
        }
    }

    #[test]
    fn built_commit_is_the_only_one_of_the_source() {
        let source = "https://github.com/acme/runtime";
        let at = |uri: &str, commit: &str| json!({"uri": uri, "digest": {"gitCommit": commit}});
        let whole = format!("git+{source}@refs/heads/main");
        let other = at(
            "git+https://github.com/acme/runtime-extra@refs/heads/main",
            "x",
        );
        let commit = |list: Value| statement(&list).commit_of(source);
        assert_eq!(
            commit(json!([other, at(&whole, "c")])),
            BuiltCommit::One("c".to_owned())
        );
        assert_eq!(
            commit(json!([at(source, "c")])),
            BuiltCommit::One("c".to_owned())
        );
        assert_eq!(commit(json!([other])), BuiltCommit::Absent);
        assert_eq!(commit(json!([{"uri": source}])), BuiltCommit::Absent);
        assert_eq!(commit(json!("x")), BuiltCommit::Absent);
        let twice = json!([at(source, "c"), at(&whole, "c")]);
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
            assert!(Claim::of_statement(text.as_bytes()).is_err(), "{text}");
        }
        for text in [
            "{}",
            r#"{"critical":{"type":"other","image":{"docker-manifest-digest":"sha256:aa"}}}"#,
            r#"{"critical":{"type":"cosign container image signature","image":{}}}"#,
        ] {
            assert!(Claim::of_payload(text.as_bytes()).is_err(), "{text}");
        }
    }
}
