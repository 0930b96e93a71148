//! Who must have signed the images, and what for: the block `verify`.

use crate::{
    config::{
        path::RelPath,
        raw::{ErrorCollector, Fields},
        yaml::Node,
    },
    error::Span,
    oci::{PatternError, is_hex},
};

/// The signatures and attestations that each image must carry.
#[derive(Debug, Clone)]
pub struct Verify {
    /// Each of these must be there; at least one.
    pub require: Vec<Requirement>,
    /// Any one of these must have signed; at least one applies to each image.
    pub signers: Vec<Signer>,
    /// The predicates that count as an attestation.
    pub predicate_types: Vec<String>,
    /// Which digests carry them.
    pub subject: SignedSubject,
    /// Whether a statement must refer to the image's repository.
    pub subject_name: SubjectName,
    /// Whose certificates, logs and timestamps count; at least one.
    pub trusted_roots: Vec<RootSource>,
    /// The last commit whose promoted sets may be unsigned.
    pub since: Option<Since>,
}

/// What must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    /// A statement about the build.
    Attestation,
    /// A signature by cosign.
    Signature,
}

/// Which digests of an image must be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedSubject {
    /// The one that is pinned.
    Pinned,
    /// That of each platform's manifest.
    Platforms,
}

/// The repository that a statement must refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectName {
    /// The image's repository, or one of `signed_as`.
    Repository,
    /// Any, or none.
    Any,
}

/// Where a trusted root comes from, with its place in the configuration.
#[derive(Debug, Clone)]
pub struct RootSource {
    /// As it is configured.
    pub name: String,
    /// Where it comes from.
    pub kind: RootKind,
    /// Where it is named.
    pub at: Span,
}

/// Where a trusted root comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootKind {
    /// Sigstore's public instance, built in.
    Sigstore,
    /// GitHub's instance for private repositories, built in.
    GitHub,
    /// A `trusted_root.json`, or a `.jsonl` with one a line.
    File(RelPath),
}

/// The last commit whose promoted sets may be unsigned.
#[derive(Debug, Clone)]
pub struct Since {
    /// The full id of the commit.
    pub commit: String,
    /// Where it is named.
    pub at: Span,
}

/// One signer.
#[derive(Debug, Clone)]
pub struct Signer {
    /// Who it is.
    pub who: SignerIdentity,
    /// The events that may have started the build.
    pub trigger: Triggers,
    /// What must equal the revision.
    pub commit: CommitBinding,
    /// The repository that was built: of a workflow always, else where it is configured.
    pub source: Option<String>,
    /// The images it signs; empty: all.
    pub images: Vec<String>,
}

/// Who a signer is.
#[derive(Debug, Clone)]
pub enum SignerIdentity {
    /// A workflow, by its certificate.
    Workflow {
        /// The identity up to its `@`.
        workflow: String,
        /// The ref after the `@`; `{revision}` is replaced. `None`: any.
        git_ref: Option<String>,
        /// The ref of the source; `{revision}` is replaced. `None`: that of the workflow.
        source_ref: Option<String>,
        /// Who vouched for the identity.
        issuer: String,
        /// Where it ran.
        runner: Runner,
    },
    /// Anyone else with a certificate.
    Certificate {
        /// The identity.
        identity: IdentityRule,
        /// Who vouched for it.
        issuer: String,
        /// Where it ran.
        runner: Runner,
    },
    /// The holder of a key.
    Key {
        /// The file with the public key.
        path: RelPath,
        /// Where it is named.
        at: Span,
        /// Whether a transparency log has recorded it.
        log: LogRule,
    },
}

/// What the identity in a certificate must be, as a whole.
#[derive(Debug, Clone)]
pub enum IdentityRule {
    /// Exactly this.
    Exact(String),
    /// A match of this pattern, which is anchored at both ends.
    Pattern(regex::Regex),
}

/// Where a workflow must have run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// On a runner of GitHub.
    GitHubHosted,
    /// Anywhere.
    Any,
}

/// The events that may have started a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Triggers {
    /// Any.
    Any,
    /// Any except those that run a workflow of the base for content of a pull request.
    Trusted,
    /// One of these.
    Listed(Vec<String>),
}

/// Whether a signature by a key must be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogRule {
    /// By a log or a timestamp authority of a trusted root.
    Required,
    /// Not at all.
    Off,
}

/// What must equal the revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitBinding {
    /// The source repository's commit in the certificate.
    Certificate,
    /// The commit of the source in the attestation's predicate.
    Predicate,
    /// Nothing.
    Off,
}

impl Verify {
    /// A policy that trusts nobody, for whoever looks before writing one: what verifies is seen
    /// within the built-in roots.
    pub fn nobody() -> Self {
        let built_in = |name: &str, kind| RootSource {
            name: name.to_owned(),
            kind,
            at: Span { start: 0, end: 0 },
        };
        Self {
            require: vec![Requirement::Attestation],
            signers: Vec::new(),
            predicate_types: vec![SLSA_PROVENANCE.to_owned()],
            subject: SignedSubject::Pinned,
            subject_name: SubjectName::Repository,
            trusted_roots: vec![
                built_in("sigstore", RootKind::Sigstore),
                built_in("github", RootKind::GitHub),
            ],
            since: None,
        }
    }

    /// The files that it names: keys and roots.
    pub fn files(&self) -> impl Iterator<Item = &RelPath> {
        let keys = self.signers.iter().filter_map(|signer| match &signer.who {
            SignerIdentity::Key { path, .. } => Some(path),
            _ => None,
        });
        let roots = self
            .trusted_roots
            .iter()
            .filter_map(|root| match &root.kind {
                RootKind::File(path) => Some(path),
                _ => None,
            });
        keys.chain(roots)
    }
}

/// Events that run with the rights of the base branch on content that a pull request provides.
const UNTRUSTED_TRIGGERS: [&str; 2] = ["pull_request_target", "workflow_run"];

impl Triggers {
    /// Whether a build that `event` started counts; `None`: the certificate does not contain it.
    pub fn allow(&self, event: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Trusted => event.is_none_or(|event| !UNTRUSTED_TRIGGERS.contains(&event)),
            Self::Listed(events) => event.is_some_and(|event| events.iter().any(|e| e == event)),
        }
    }
}

impl Requirement {
    /// As it is configured.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attestation => "attestation",
            Self::Signature => "signature",
        }
    }
}

/// The issuer of workflows on GitHub.
const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";
/// The predicate of build provenance.
const SLSA_PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// Where the repository ends in the name of a workflow: GitHub's, and GitLab's.
const REPOSITORY_ENDS: [&str; 2] = ["/.github/workflows/", "//"];

pub(in crate::config) fn verify(g: &ErrorCollector, node: &Node) -> Option<Verify> {
    let fields = g.map(node)?;
    let requirements = [
        (Requirement::Attestation.as_str(), Requirement::Attestation),
        (Requirement::Signature.as_str(), Requirement::Signature),
    ];
    let require = fields.or("require", vec![Requirement::Attestation], |n| {
        let chosen: Vec<_> = (g.list(n)?.iter())
            .map(|item| g.choice(item, &requirements))
            .collect();
        filled(g, n, "require", chosen.into_iter().collect::<Option<_>>()?)
    });
    let only_signatures = require.as_deref() == Some(&[Requirement::Signature]);
    let signers = fields.required("signers", |n| {
        let signers: Vec<_> = (g.list(n)?.iter())
            .map(|item| signer(g, item, only_signatures))
            .collect();
        filled(g, n, "signers", signers.into_iter().collect::<Option<_>>()?)
    });
    let slsa = vec![SLSA_PROVENANCE.to_owned()];
    let predicate_types = fields.or("predicate_types", slsa, |n| {
        filled(g, n, "predicate_types", g.strings(n)?)
    });
    let subjects = [
        ("pinned", SignedSubject::Pinned),
        ("platforms", SignedSubject::Platforms),
    ];
    let subject = fields.or("subject", SignedSubject::Pinned, |n| g.choice(n, &subjects));
    let names = [
        ("repository", SubjectName::Repository),
        ("any", SubjectName::Any),
    ];
    let subject_name = fields.or("subject_name", SubjectName::Repository, |n| {
        g.choice(n, &names)
    });
    let sigstore = vec![RootSource {
        name: "sigstore".to_owned(),
        kind: RootKind::Sigstore,
        at: fields.span,
    }];
    let trusted_roots = fields.or("trusted_roots", sigstore, |n| {
        let roots: Vec<_> = g.list(n)?.iter().map(|item| root(g, item)).collect();
        filled(
            g,
            n,
            "trusted_roots",
            roots.into_iter().collect::<Option<_>>()?,
        )
    });
    let since = fields.get("since").filter(|n| !n.is_null());
    let since = since.map_or(Some(None), |n| {
        let commit = g.parsed(n, full_commit)?;
        Some(Some(Since { commit, at: n.span }))
    });
    fields.done();
    Some(Verify {
        require: require?,
        signers: signers?,
        predicate_types: predicate_types?,
        subject: subject?,
        subject_name: subject_name?,
        trusted_roots: trusted_roots?,
        since: since?,
    })
}

/// A list that must not be empty.
fn filled<T>(g: &ErrorCollector, node: &Node, key: &str, list: Vec<T>) -> Option<Vec<T>> {
    if list.is_empty() {
        g.report(node.span, format!("`{key}` is empty"));
        return None;
    }
    Some(list)
}

fn root(g: &ErrorCollector, node: &Node) -> Option<RootSource> {
    let kind = |text: &str| match text {
        "sigstore" => Ok(RootKind::Sigstore),
        "github" => Ok(RootKind::GitHub),
        path => RelPath::parse(path).map(RootKind::File),
    };
    Some(RootSource {
        name: g.string(node)?.to_owned(),
        kind: g.parsed(node, kind)?,
        at: node.span,
    })
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

/// The kinds of signers, by the key that says which it is.
const WORKFLOW: &str = "workflow";
const IDENTITY: &str = "identity";
const PATTERN: &str = "identity_pattern";
const KEY: &str = "key";

fn signer(g: &ErrorCollector, node: &Node, only_signatures: bool) -> Option<Signer> {
    let fields = g.map(node)?;
    let kinds = [WORKFLOW, IDENTITY, PATTERN, KEY];
    let given: Vec<_> = (kinds.into_iter())
        .filter(|kind| fields.get(kind).is_some())
        .collect();
    let [kind] = given.as_slice() else {
        let message =
            "a signer is exactly one of `workflow`, `identity`, `identity_pattern` and `key`";
        g.report(fields.span, message);
        return None;
    };
    // Each key with the kinds that it is for.
    let suited = [
        ("ref", &kinds[..1]),
        ("source_ref", &kinds[..1]),
        ("trigger", &kinds[..3]),
        ("issuer", &kinds[..3]),
        ("runner", &kinds[..3]),
        ("log", &kinds[3..]),
    ];
    for (name, kinds) in suited {
        let unsuited = fields.get(name).filter(|_| !kinds.contains(kind));
        if let Some(node) = unsuited {
            let kinds: Vec<_> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
            let message = format!("`{name}` is only for signers with {}", kinds.join(" or "));
            g.report(node.span, message);
        }
    }
    let images = fields.or("images", Vec::new(), |n| g.strings(n));
    let source = fields.optional("source", |n| super::text(g, n));
    let who = match *kind {
        WORKFLOW => workflow(g, &fields),
        KEY => key(g, &fields),
        _ => identity(g, &fields, kind),
    };
    let commit = commit(g, &fields, kind, only_signatures);
    let trigger = triggers(g, &fields, kind);
    fields.done();
    let (who, commit, source) = (who?, commit?, source?);
    let source = match (&who, source) {
        (_, Some(source)) => Some(source),
        (SignerIdentity::Workflow { workflow, .. }, None) => {
            let ends = REPOSITORY_ENDS.into_iter();
            // Behind the scheme, which has two slashes of its own.
            let host = workflow.find("://").map_or(0, |at| at + 3);
            let end = ends.filter_map(|end| workflow[host..].find(end)).min();
            let Some(end) = end else {
                let message = "cannot derive the repository from `workflow`";
                g.report_hint(fields.span, message, "add `source: REPOSITORY`");
                return None;
            };
            Some(workflow[..host + end].to_owned())
        }
        (_, None) => None,
    };
    if commit == CommitBinding::Predicate && source.is_none() {
        let message = "`commit: predicate` needs `source`: whose commit the predicate must name";
        g.report(fields.span, message);
        return None;
    }
    Some(Signer {
        who,
        trigger: trigger?,
        commit,
        source,
        images: images?,
    })
}

fn commit(
    g: &ErrorCollector,
    fields: &Fields<'_>,
    kind: &str,
    only_signatures: bool,
) -> Option<CommitBinding> {
    let bindings = [
        ("certificate", CommitBinding::Certificate),
        ("predicate", CommitBinding::Predicate),
        ("off", CommitBinding::Off),
    ];
    let read = |n: &Node| {
        let binding = g.choice(n, &bindings)?;
        let wrong = match binding {
            CommitBinding::Certificate if kind == KEY => "a key has no certificate",
            CommitBinding::Predicate if only_signatures => {
                "only signatures are required, and a signature has no predicate"
            }
            _ => return Some(binding),
        };
        g.report_hint(
            n.span,
            wrong,
            "bind the commit elsewhere, or write `commit: \"off\"`",
        );
        None
    };
    if kind == WORKFLOW {
        fields.or("commit", CommitBinding::Certificate, read)
    } else {
        fields.required("commit", read)
    }
}

fn triggers(g: &ErrorCollector, fields: &Fields<'_>, kind: &str) -> Option<Triggers> {
    let default = if kind == WORKFLOW {
        Triggers::Trusted
    } else {
        Triggers::Any
    };
    let event = |text: &str| {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if text.bytes().all(is_plain) {
            Ok(text.to_owned())
        } else {
            Err(format!(
                "`{text}` is not the name of an event, such as `push`"
            ))
        }
    };
    fields.or("trigger", default, |n| {
        filled(g, n, "trigger", g.each(n, event)?).map(Triggers::Listed)
    })
}

fn runner(g: &ErrorCollector, fields: &Fields<'_>, default: Runner) -> Option<Runner> {
    let runners = [
        ("github-hosted", Runner::GitHubHosted),
        ("any", Runner::Any),
    ];
    fields.or("runner", default, |n| g.choice(n, &runners))
}

fn workflow(g: &ErrorCollector, fields: &Fields<'_>) -> Option<SignerIdentity> {
    let name = |text: &str| {
        if text.contains('@') {
            Err(
                "`workflow` ends before the `@`, and the name of its file must not contain one; write the ref in `ref`",
            )
        } else {
            Ok(text.to_owned())
        }
    };
    let workflow = fields.required(WORKFLOW, |n| g.parsed(n, name));
    let source_ref = fields.optional("source_ref", |n| g.parsed(n, git_ref));
    let git_ref = fields.optional("ref", |n| g.parsed(n, git_ref));
    let issuer = fields.or("issuer", GITHUB_ISSUER.to_owned(), |n| super::text(g, n));
    let runner = runner(g, fields, Runner::GitHubHosted);
    Some(SignerIdentity::Workflow {
        workflow: workflow?,
        git_ref: git_ref?,
        source_ref: source_ref?,
        issuer: issuer?,
        runner: runner?,
    })
}

/// A ref, in which `{revision}` may stand.
fn git_ref(text: &str) -> Result<String, String> {
    let rest = text.replace("{revision}", "");
    if rest.contains(['{', '}']) {
        return Err("only `{revision}` may stand in braces".to_owned());
    }
    Ok(text.to_owned())
}

fn identity(g: &ErrorCollector, fields: &Fields<'_>, kind: &str) -> Option<SignerIdentity> {
    let identity = if kind == PATTERN {
        fields.required(PATTERN, |n| g.parsed(n, pattern).map(IdentityRule::Pattern))
    } else {
        fields.required(IDENTITY, |n| super::text(g, n).map(IdentityRule::Exact))
    };
    let issuer = fields.required("issuer", |n| super::text(g, n));
    let runner = runner(g, fields, Runner::Any);
    Some(SignerIdentity::Certificate {
        identity: identity?,
        issuer: issuer?,
        runner: runner?,
    })
}

/// A pattern that matches a whole text or not at all.
fn pattern(text: &str) -> Result<regex::Regex, PatternError> {
    let fails = |error| PatternError::new(&error);
    // By itself first: in a group, a lone bracket could find its other half.
    regex::Regex::new(text).map_err(fails)?;
    regex::Regex::new(&format!("^(?:{text})$")).map_err(fails)
}

fn key(g: &ErrorCollector, fields: &Fields<'_>) -> Option<SignerIdentity> {
    let path = fields.required(KEY, |n| Some((g.parsed(n, RelPath::parse)?, n.span)));
    let rules = [("required", LogRule::Required), ("off", LogRule::Off)];
    let log = fields.or("log", LogRule::Required, |n| g.choice(n, &rules));
    let (path, at) = path?;
    Some(SignerIdentity::Key {
        path,
        at,
        log: log?,
    })
}

/// Reports signers of images that do not exist, and images that nobody signs.
pub(in crate::config) fn images_are_signed(
    g: &ErrorCollector,
    at: Span,
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
            g.report_hint(
                at,
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
            g.report_hint(at, message, "add it to `images` of a signer");
        }
    }
}
