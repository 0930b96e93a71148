//! The signatures and attestations that images must carry: the block `verify`.

use serde_json::json;

use super::{
    keys::{KeyType, NonEmpty, Shape, block, choice},
    reader::{ErrorCollector, Fields},
    signers::report_commit,
    types::{Text, path_schema},
    yaml::{Key, Node},
};
use crate::{
    base::{error::Span, files::RelPath, hex::is_hex},
    trust::{
        CommitBinding, Requirement, RootKind, RootSource, SignedSubject, Signer, Since,
        SubjectName, Verify,
    },
};

block! {
    for Verify {
        /// The required evidence, each by any signer: a build `attestation`, a `signature`, or
        /// both.
        require: NonEmpty<Requirement> = ["attestation"],
        /// Who may have signed; any one suffices. Each is exactly one of `workflow`, `identity`,
        /// `identity_pattern` and `key`, and every image needs one.
        signers: NonEmpty<Signer>,
        /// The types of statements that count as an attestation.
        predicate_types: NonEmpty<Text> = ["https://slsa.dev/provenance/v1"],
        /// The signed object: the `pinned` digest, or the manifest of each of its `platforms`.
        subject: SignedSubject = "pinned",
        /// The repository that a statement must refer to: the image's `repository` or one of its
        /// `signed_as` (`repository`), or any and none (`any`), which every report states.
        subject_name: SubjectName = "repository",
        /// The trusted certificates, logs and timestamps: `sigstore` or `github`, both built in, or
        /// files: a `trusted_root.json`, or a `.jsonl` with one a line.
        trusted_roots: NonEmpty<RootSource> = ["sigstore"],
        /// The full id of a commit: sets that were promoted up to it may be unsigned, which only
        /// warns.
        since: Since,
    }
    rules |fields| {
        if require.as_deref() == Some(&[Requirement::Signature]) {
            check_predicates(signers.as_deref().unwrap_or_default(), fields);
        }
    }
}

choice!(Requirement);
choice!(SignedSubject);
choice!(SubjectName);

impl KeyType for RootSource {
    type Value = Self;

    fn shape() -> Shape {
        Shape::new("path", path_schema())
    }

    fn read(_: &Key, node: &Node, problems: &ErrorCollector) -> Option<Self> {
        let kind = problems.parsed(node, |text| match text {
            "sigstore" => Ok(RootKind::Sigstore),
            "github" => Ok(RootKind::GitHub),
            path => RelPath::parse(path).map(RootKind::File),
        })?;
        Some(Self {
            name: problems.string(node)?.to_owned(),
            kind,
            span: node.span,
        })
    }
}

impl KeyType for Since {
    type Value = Option<Self>;

    fn shape() -> Shape {
        Shape::new(
            "text",
            json!({"type": ["string", "null"], "pattern": "^([0-9a-f]{40}|[0-9a-f]{64})$"}),
        )
    }

    fn read(_: &Key, node: &Node, problems: &ErrorCollector) -> Option<Option<Self>> {
        if node.is_null() {
            return Some(None);
        }
        let commit = problems.parsed(node, full_commit)?;
        let span = node.span;
        Some(Some(Self { commit, span }))
    }

    fn absent() -> Option<Option<Self>> {
        Some(None)
    }
}

fn full_commit(text: &str) -> Result<String, String> {
    if matches!(text.len(), 40 | 64) && is_hex(text.as_bytes()) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is not the full id of a commit (git rev-parse COMMIT)"
        ))
    }
}

/// Reports signers with the commit of a predicate if only signatures are required.
fn check_predicates(signers: &[Signer], fields: &Fields<'_>) {
    for (number, signer) in signers.iter().enumerate() {
        if signer.commit == CommitBinding::Predicate {
            let node = fields.node("signers");
            report_commit(
                fields.problems,
                node.and_then(|node| node.pointer(&format!("/{number}/commit"))),
                "only signatures are required, and a signature has no predicate",
            );
        }
    }
}

/// Reports signers of images that do not exist, and images without a signer.
pub(super) fn check_images(
    problems: &ErrorCollector,
    span: Span,
    verify: &Verify,
    images: &[&str],
) {
    for signer in &verify.signers {
        for name in signer
            .images
            .iter()
            .filter(|name| !images.contains(&name.as_str()))
        {
            let known = images.join(", ");
            problems.report_hint(
                span,
                format!("`{name}` in `images` of a signer is not an image"),
                format!("known images: {known}"),
            );
        }
    }
    let signs = |signer: &Signer, image: &str| {
        signer.images.is_empty() || signer.images.iter().any(|name| name == image)
    };
    for image in images {
        if !verify.signers.iter().any(|signer| signs(signer, image)) {
            let message = format!("no signer signs `{image}`");
            problems.report_hint(span, message, "add it to `images` of a signer");
        }
    }
}
