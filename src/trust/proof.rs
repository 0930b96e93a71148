//! The proof of a verified bundle, or the refusal of one that does not verify.

use sigstore_verify::{CertificateError, Error, TimestampError};

use crate::oci::Digest;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub identity: Option<String>,
    /// The identity provider.
    pub issuer: Option<String>,
    /// The repository that was built.
    pub source: Option<String>,
    /// The commit that was built.
    pub commit: Option<String>,
    /// The ref that was built.
    pub source_ref: Option<String>,
    /// The event that started the build.
    pub trigger: Option<String>,
    /// The kind of runner.
    pub runner: Option<String>,
}

/// An entry of a transparency log.
#[derive(Debug, Clone, PartialEq, Eq)]
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
