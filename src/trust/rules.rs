//! The policy as it is configured: the evidence that images must carry, the signers, and the trusted roots.

use crate::base::{error::Span, files::RelPath, text::words};

/// The signatures and attestations that each image must carry.
#[derive(Debug, Clone)]
pub struct Verify {
    /// The required evidence, each by any signer.
    pub require: Vec<Requirement>,
    /// Who may have signed; any one suffices.
    pub signers: Vec<Signer>,
    /// The types of statements that count as an attestation.
    pub predicate_types: Vec<String>,
    /// The signed object.
    pub subject: SignedSubject,
    /// The repository that a statement must refer to.
    pub subject_name: SubjectName,
    /// The trusted certificates, logs and timestamps.
    pub trusted_roots: Vec<RootSource>,
    /// The last commit whose promoted sets may be unsigned.
    pub since: Option<Since>,
}

words! {
    #[derive(PartialOrd, Ord)]
    pub enum Requirement {
        /// A statement about the build.
        Attestation = "attestation",
        /// A signature by cosign.
        Signature = "signature",
    }
}

words! {
    /// The digests of an image that must be signed.
    pub enum SignedSubject {
        Pinned = "pinned",
        /// The digest of each platform's manifest.
        Platforms = "platforms",
    }
}

words! {
    /// The repository that a statement must refer to.
    pub enum SubjectName {
        /// The image's repository, or one of `signed_as`.
        Repository = "repository",
        /// Any repository, or none.
        Any = "any",
    }
}

/// A trusted root.
#[derive(Debug, Clone)]
pub struct RootSource {
    /// The text of the configuration.
    pub name: String,
    pub kind: RootKind,
    pub span: Span,
}

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
    pub span: Span,
}

/// A signer.
#[derive(Debug, Clone)]
pub struct Signer {
    pub who: SignerIdentity,
    /// The events that may have started the build.
    pub trigger: Triggers,
    pub commit: CommitBinding,
    /// The repository that was built: always of a workflow, otherwise if it is configured.
    pub source: Option<String>,
    /// The images that it signs; empty: all.
    pub images: Vec<String>,
}

/// The identity of a signer.
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
        issuer: String,
        runner: Runner,
    },
    /// Another identity in a certificate.
    Certificate {
        identity: IdentityRule,
        issuer: String,
        runner: Runner,
    },
    /// The holder of a key.
    Key {
        /// The file with the public key.
        path: RelPath,
        span: Span,
        /// Whether a transparency log must have recorded the signature.
        log: LogRule,
    },
}

/// The identity that a certificate must have.
#[derive(Debug, Clone)]
pub enum IdentityRule {
    Exact(String),
    /// A pattern that is anchored at both ends.
    Pattern(regex::Regex),
}

words! {
    /// The runner of a workflow.
    pub enum Runner {
        /// A runner of GitHub.
        GitHubHosted = "github-hosted",
        Any = "any",
    }
}

words! {
    /// Whether a signature by a key must be recorded.
    pub enum LogRule {
        /// By a log or a timestamp authority of a trusted root.
        Required = "required",
        Off = "off",
    }
}

words! {
    /// The evidence that must equal the revision.
    pub enum CommitBinding {
        /// The source repository's commit in the certificate.
        Certificate = "certificate",
        /// The commit of the source in the attestation's predicate.
        Predicate = "predicate",
        Off = "off",
    }
}

/// The events that may have started a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Triggers {
    Any,
    /// Any except those that run a workflow of the base for content of a pull request.
    Trusted,
    Listed(Vec<String>),
}

/// Events that run with the rights of the base branch on content that a pull request provides.
const UNTRUSTED_TRIGGERS: [&str; 2] = ["pull_request_target", "workflow_run"];

impl Triggers {
    /// Whether `event` may have started a build; `None`: the certificate does not contain it.
    pub fn allow(&self, event: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Trusted => event.is_none_or(|event| !UNTRUSTED_TRIGGERS.contains(&event)),
            Self::Listed(events) => event.is_some_and(|event| events.iter().any(|e| e == event)),
        }
    }
}

impl Verify {
    /// A policy without signers, within the built-in roots: it finds the identities that a first
    /// policy can list.
    pub fn without_signers() -> Self {
        let built_in = |name: &str, kind| RootSource {
            name: name.to_owned(),
            kind,
            span: Span { start: 0, end: 0 },
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

    /// The files of the policy: keys and roots.
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

const SLSA_PROVENANCE: &str = "https://slsa.dev/provenance/v1";
