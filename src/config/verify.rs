//! The signatures and attestations that images must carry: the block `verify`.
//!
//! The signers of images: the key `verify.signers`.

use serde_json::json;

use super::{
    keys::{KeyType, NonEmpty, Shape, block, choice},
    reader::{ErrorCollector, Fields},
    types::{Text, path_schema, text_type},
    yaml::{Key, Node},
};
use crate::{
    base::{error::Span, files::RelPath, text::is_hex},
    forge::is_tenant,
    oci::PatternError,
    trust::{
        CommitBinding, IdentityRule, LogRule, Requirement, RootKind, RootSource, Runner,
        SignedSubject, Signer, SignerIdentity, Since, SubjectName, Triggers, Verify,
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

block! {
    /// The keys of a signer of any kind.
    struct SignerKeys {
        /// The workflow that signed: the identity in its certificate, up to the `@`.
        workflow: Option<Workflow>,
        /// With `workflow`: the text after the `@` of the identity; `{revision}` is replaced.
        /// Absent: anything.
        r#ref: Option<GitRef>,
        /// With `workflow`: the ref of the source repository; `{revision}` is replaced. Absent:
        /// `ref`, if that is given.
        source_ref: Option<GitRef>,
        /// The events that may have started the build, such as `push`. Absent: with `workflow` every
        /// event except `pull_request_target` and `workflow_run`, otherwise every event; not with
        /// `key`.
        trigger: Option<NonEmpty<Event>>,
        /// The whole identity in the certificate, such as an e-mail address.
        identity: Option<Text>,
        /// A regular expression that must match the whole identity.
        identity_pattern: Option<WholePattern>,
        /// Who vouched for the identity. With `workflow` GitHub
        /// (`https://token.actions.githubusercontent.com`, or `https://token.actions.TENANT.ghe.com`
        /// for a workflow on `https://TENANT.ghe.com`), else required; not with `key`.
        issuer: Option<Text>,
        /// The repository that was built. Absent: the repository of the workflow, and any for other
        /// signers; required for `commit: predicate`.
        source: Option<Text>,
        /// Where the build ran: `github-hosted`, the default with `workflow`, or `any`, the default
        /// with an identity; not with `key`.
        runner: Option<Runner>,
        /// A file with a public key in PEM: ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or
        /// more.
        key: Option<RelPath>,
        /// With `key`: whether a log or a timestamp authority must have recorded the signature
        /// (`required`, the default), or it may be unrecorded (`off`).
        log: Option<LogRule>,
        /// The value that must equal the revision: the commit in the `certificate`, the default
        /// with `workflow` and impossible with `key`; the commit of `source` in the attestation's
        /// `predicate`; or no value (`"off"`), which every report states. Required except with
        /// `workflow`.
        commit: Option<CommitBinding>,
        /// The images that the signer signs, by name; empty: all.
        images: Vec<Text> = [],
    }
    with |fields| {
        key_span: Span = fields.node("key").map_or(fields.span, |node| node.span),
    }
    rules |fields| {
        check_signer(fields, commit.flatten());
    }
}

choice!(Runner);
choice!(LogRule);
choice!(CommitBinding);

/// The issuer of workflows on github.com.
const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";
/// The separators after the repository in the name of a workflow: GitHub's, and GitLab's.
const REPOSITORY_ENDS: [&str; 2] = ["/.github/workflows/", "//"];

/// The keys of which a signer has exactly one.
const KINDS: [&str; 4] = ["workflow", "identity", "identity_pattern", "key"];
/// Keys that suit some kinds of signers, with these kinds.
const SUITED: [(&str, &[&str]); 6] = [
    ("ref", &["workflow"]),
    ("source_ref", &["workflow"]),
    ("trigger", &["workflow", "identity", "identity_pattern"]),
    ("issuer", &["workflow", "identity", "identity_pattern"]),
    ("runner", &["workflow", "identity", "identity_pattern"]),
    ("log", &["key"]),
];

fn check_signer(fields: &Fields<'_>, commit: Option<CommitBinding>) {
    let problems = fields.problems;
    let given: Vec<_> = KINDS.into_iter().filter(|kind| fields.has(kind)).collect();
    let &[kind] = given.as_slice() else {
        let message =
            "a signer is exactly one of `workflow`, `identity`, `identity_pattern` and `key`";
        problems.report(fields.span, message);
        return;
    };
    for (name, kinds) in SUITED {
        if let Some(node) = fields.node(name)
            && !kinds.contains(&kind)
        {
            let kinds: Vec<_> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
            let message = format!("`{name}` is only for signers with {}", kinds.join(" or "));
            problems.report(node.span, message);
        }
    }
    if matches!(kind, "identity" | "identity_pattern") && !fields.has("issuer") {
        fields.report_missing("issuer");
    }
    if kind != "workflow" && !fields.has("commit") {
        fields.report_missing("commit");
    }
    if kind == "key" && commit == Some(CommitBinding::Certificate) {
        report_commit(problems, fields.node("commit"), "a key has no certificate");
    }
    if kind != "workflow" && commit == Some(CommitBinding::Predicate) && !fields.has("source") {
        let message = "`commit: predicate` needs `source`: whose commit the predicate must name";
        problems.report(fields.span, message);
    }
}

pub(super) fn report_commit(problems: &ErrorCollector, node: Option<&Node>, message: &str) {
    if let Some(node) = node {
        let hint = "bind the commit elsewhere, or write `commit: \"off\"`";
        problems.report_hint(node.span, message, hint);
    }
}

impl KeyType for Signer {
    type Value = Self;

    fn shape() -> Shape {
        SignerKeys::shape().with(&json!({"oneOf": [
            {"required": ["workflow"]},
            {"required": ["identity", "issuer", "commit"]},
            {"required": ["identity_pattern", "issuer", "commit"]},
            {"required": ["key", "commit"]},
        ]}))
    }

    fn read(key: &Key, node: &Node, problems: &ErrorCollector) -> Option<Self> {
        let keys = SignerKeys::read(key, node, problems)?;
        let is_workflow = keys.workflow.is_some();
        let source = match (&keys.workflow, keys.source) {
            (Some(workflow), None) => {
                let Some(repository) = repository_of(workflow) else {
                    let message = "cannot derive the repository from `workflow`";
                    problems.report_hint(node.span, message, "add `source: REPOSITORY`");
                    return None;
                };
                Some(repository)
            }
            (_, source) => source,
        };
        let (default_trigger, default_runner) = if is_workflow {
            (Triggers::Trusted, Runner::GitHubHosted)
        } else {
            (Triggers::Any, Runner::Any)
        };
        let runner = keys.runner.unwrap_or(default_runner);
        let certificate = |identity, issuer| SignerIdentity::Certificate {
            identity,
            issuer,
            runner,
        };
        let who = match (
            keys.workflow,
            keys.identity,
            keys.identity_pattern,
            keys.key,
        ) {
            (Some(workflow), ..) => SignerIdentity::Workflow {
                issuer: keys.issuer.unwrap_or_else(|| issuer_of(&workflow)),
                workflow,
                git_ref: keys.r#ref,
                source_ref: keys.source_ref,
                runner,
            },
            (_, Some(identity), ..) => certificate(IdentityRule::Exact(identity), keys.issuer?),
            (.., Some(pattern), _) => certificate(IdentityRule::Pattern(pattern), keys.issuer?),
            (.., key) => SignerIdentity::Key {
                path: key?,
                span: keys.key_span,
                log: keys.log.unwrap_or(LogRule::Required),
            },
        };
        let default_commit = is_workflow.then_some(CommitBinding::Certificate);
        Some(Self {
            who,
            trigger: keys.trigger.map_or(default_trigger, Triggers::Listed),
            commit: keys.commit.or(default_commit)?,
            source,
            images: keys.images,
        })
    }
}

/// The repository of a workflow.
fn repository_of(workflow: &str) -> Option<String> {
    // The scheme has two slashes of its own.
    let host = workflow.find("://").map_or(0, |scheme| scheme + 3);
    let ends = REPOSITORY_ENDS.into_iter();
    let end = ends.filter_map(|end| workflow[host..].find(end)).min()?;
    Some(workflow[..host + end].to_owned())
}

/// The issuer of a workflow: that of its enterprise with data residency, or of github.com.
fn issuer_of(workflow: &str) -> String {
    let address = workflow.strip_prefix("https://");
    let host = address.and_then(|address| address.split_once('/'));
    match host {
        Some((host, _)) if is_tenant(host) => format!("https://token.actions.{host}"),
        _ => GITHUB_ISSUER.to_owned(),
    }
}

/// The identity of a workflow up to its `@`.
struct Workflow;
text_type!(
    Workflow => String,
    "text",
    {"type": "string", "minLength": 1, "pattern": "^[^@]*$"},
    workflow
);

fn workflow(text: &str) -> Result<String, &'static str> {
    if text.contains('@') {
        Err(
            "`workflow` ends before the `@`, and the name of its file must not contain one; write the ref in `ref`",
        )
    } else {
        Ok(text.to_owned())
    }
}

/// A ref, which may contain `{revision}`.
struct GitRef;
text_type!(GitRef => String, "text", {"type": "string", "minLength": 1}, git_ref);

fn git_ref(text: &str) -> Result<String, &'static str> {
    if text.replace("{revision}", "").contains(['{', '}']) {
        return Err("only `{revision}` may stand in braces");
    }
    Ok(text.to_owned())
}

/// An event that starts a workflow.
struct Event;
text_type!(
    Event => String,
    "text",
    {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
    event
);

fn event(text: &str) -> Result<String, String> {
    if text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is not the name of an event, such as `push`"
        ))
    }
}

/// A regular expression that is anchored at both ends.
struct WholePattern;
text_type!(
    WholePattern => regex::Regex,
    "regular expression",
    {"type": "string", "minLength": 1},
    whole_pattern
);

fn whole_pattern(text: &str) -> Result<regex::Regex, PatternError> {
    // The text must be well-formed without the group, in which a lone bracket could find its pair.
    regex::Regex::new(text)
        .and_then(|_| regex::Regex::new(&format!("^(?:{text})$")))
        .map_err(|error| PatternError::new(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workflow_determines_the_issuer() {
        let tenant = "https://token.actions.octocorp.ghe.com";
        for (workflow, issuer) in [
            (
                "https://github.com/a/b/.github/workflows/c.yml",
                GITHUB_ISSUER,
            ),
            (
                "https://octocorp.ghe.com/a/b/.github/workflows/c.yml",
                tenant,
            ),
            (
                "https://octocorp.ghe.com.example/a/b/.github/workflows/c.yml",
                GITHUB_ISSUER,
            ),
            (
                "http://octocorp.ghe.com/a/b/.github/workflows/c.yml",
                GITHUB_ISSUER,
            ),
            (
                "https://a.b.ghe.com/a/b/.github/workflows/c.yml",
                GITHUB_ISSUER,
            ),
        ] {
            assert_eq!(issuer_of(workflow), issuer, "{workflow}");
        }
    }
}
