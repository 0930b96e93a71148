//! What a verified bundle proves, or why it does not verify.

use sigstore_verify::{CertificateError, Error, TimestampError};

use crate::oci::Digest;

/// Why a bundle does not verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub why: String,
    /// What the trusted root lacks; `None` if a newer root would not help.
    pub gap: Option<RootGap>,
}

/// What a trusted root lacks, the most likely reason of several roots last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RootGap {
    /// The authority that issued the certificate.
    Authority,
    /// A transparency log.
    Log,
    /// An authority that was valid at the signing time.
    Period,
}

/// What a verified bundle proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The root in which it verified; `None` for a key without a log.
    pub root: Option<String>,
    /// The certificate, if it is not by a key.
    pub certificate: Option<Certificate>,
    /// The digest of the key, if it is by one.
    pub key: Option<Digest>,
    /// When it was signed, by the log or the timestamp authority (RFC 3339).
    pub time: Option<String>,
    /// The first log entry.
    pub log: Option<LogEntry>,
}

/// What a verified certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is.
    pub identity: Option<String>,
    /// Who vouched for the identity.
    pub issuer: Option<String>,
    /// The repository that was built.
    pub source: Option<String>,
    /// The commit that was built.
    pub commit: Option<String>,
    /// The ref from which it was built.
    pub source_ref: Option<String>,
    /// The event that started the build.
    pub trigger: Option<String>,
    /// The kind of runner.
    pub runner: Option<String>,
}

/// An entry of a transparency log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The log.
    pub url: String,
    /// The index of the entry.
    pub index: u64,
}

impl Certificate {
    /// The workflow and its ref, if the identity is one. A ref begins with `refs/` or is a commit, so
    /// that a file whose name contains `@` is never taken for another one.
    pub fn workflow(&self) -> Option<(&str, &str)> {
        let (workflow, git_ref) = self.identity.as_deref()?.split_once('@')?;
        let is_ref = match git_ref.strip_prefix("refs/") {
            Some(rest) => !rest.contains("@refs/"),
            None => !git_ref.contains('@'),
        };
        (workflow.contains("://") && is_ref).then_some((workflow, git_ref))
    }
}

impl Refusal {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            gap: None,
        }
    }

    pub(super) fn of(error: &Error) -> Self {
        let is_outside_period = matches!(
            error,
            Error::Certificate(CertificateError::NoValidAuthority { .. })
                | Error::Timestamp(TimestampError::OutsideAuthorityValidity { .. })
        );
        Self {
            why: error.to_string(),
            gap: is_outside_period.then_some(RootGap::Period),
        }
    }

    /// How likely the root is the one of the signature: a root that lacks its authority or its log is
    /// probably another instance's.
    pub(super) fn rank(&self) -> u8 {
        match self.gap {
            Some(RootGap::Authority) => 0,
            Some(RootGap::Log) => 1,
            None => 2,
            Some(RootGap::Period) => 3,
        }
    }
}
