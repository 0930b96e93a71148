//! Verdicts on signatures and attestations: the candidates that were found for a digest, compared with
//! the policy.
//!
//! The evidence that an image is trusted, as in JSON documents.

use serde::{Deserialize, Serialize};

use super::{Check, Code, Enforcement, Status};
use crate::{
    base::{error::Error, untrusted::plain},
    oci::{Digest, Platform, Repository, Revision},
    trust::{
        Binding, Certificate, JudgedSignature, LogEntry, PolicyResult, Proof, Requirement, RootGap,
        SearchResult, SignedName, SubjectName, Verdict, Verify,
    },
};

/// The maximum number of candidates in a detail.
const MAX_LISTED: usize = 8;

const PUSH: &str = "push the signatures of the build to the registry, next to the image: `push-to-registry: true` of \
                    actions/attest, or `cosign attest`";
const OLD_ROOT: &str = "the trusted root may be older than the signature: `repin trust update` shows the current one, and \
                        `repin trust update --apply` writes it (for GitHub also \
                        `gh attestation trusted-root > trusted_root.jsonl`)";
const OTHER_CHECKOUT: &str = "build the revision itself: a workflow may have checked out a commit other than the one \
                              that it ran for";

/// The signatures and attestations of an image's digest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DigestSignatures<'e> {
    /// The image's name.
    pub image: &'e str,
    pub repository: &'e Repository,
    /// The platform, if each platform has its own signatures.
    pub platform: Option<&'e Platform>,
    pub digest: Digest,
    pub found: &'e SearchResult,
}

impl DigestSignatures<'_> {
    /// One check, with a warning for each binding that the policy waives, or the errors that prevented
    /// it.
    pub(crate) fn verdict(
        &self,
        verify: &Verify,
        enforcement: Enforcement,
    ) -> Result<Vec<Check>, Vec<Error>> {
        let proven = self.proven(verify);
        if proven.len() == verify.require.len() {
            let list: Vec<_> = proven
                .iter()
                .map(|(_, candidate)| describe_proven(candidate))
                .collect();
            let passed = self.check(Code::SIGNATURE_MISSING, Status::Pass, list.join("; "));
            let mut checks = vec![passed];
            checks.extend(self.unbound_commits(&proven));
            checks.extend(self.unbound_names(verify, &proven));
            return Ok(checks);
        }
        // The missing candidate may be among those that could not be read.
        if !self.found.faults.is_empty() {
            return Err(self.found.faults.clone());
        }
        let status = match enforcement {
            Enforcement::Fail => Status::Fail,
            Enforcement::Warn => Status::Warn,
        };
        let (code, detail) = self.failure(verify);
        Ok(vec![
            self.check(code, status, detail).with_help(self.help(code)),
        ])
    }

    /// The warning that a signer's commit is not compared.
    fn unbound_commits(&self, proven: &[(Requirement, &JudgedSignature)]) -> Option<Check> {
        let mut list = Vec::new();
        for (_, candidate) in proven {
            if candidate.verdict.result == PolicyResult::Satisfied(Binding::Unbound) {
                list.push(describe_proven(candidate));
            }
        }
        if list.is_empty() {
            return None;
        }
        let check = self.check(Code::COMMIT_UNBOUND, Status::Warn, list.join("; "));
        Some(check.cause("a signer has `commit: off`: the commit is not bound"))
    }

    /// The warning that the name in statements is not compared.
    fn unbound_names(
        &self,
        verify: &Verify,
        proven: &[(Requirement, &JudgedSignature)],
    ) -> Option<Check> {
        if verify.subject_name != SubjectName::Any {
            return None;
        }
        let cause = "`subject_name: any`: the repository in signatures is not compared";
        let mut parts = vec![cause.to_owned()];
        for (_, candidate) in proven {
            let name = match &candidate.verdict.signed_name {
                SignedName::Own(name) | SignedName::Other(name) => plain(name),
                SignedName::Absent => "no repository".to_owned(),
            };
            parts.push(format!("{} refers to {name}", candidate.blob));
        }
        let check = self.check(Code::ATTESTATION_UNBOUND, Status::Warn, parts.join("; "));
        Some(check.cause(cause))
    }

    /// The first candidate that proves a required kind.
    fn proving_candidate(&self, kind: Requirement) -> Option<&JudgedSignature> {
        self.found.candidates.iter().find(|candidate| {
            let verdict = &candidate.verdict;
            verdict.kind == Some(kind) && matches!(verdict.result, PolicyResult::Satisfied(_))
        })
    }

    /// The required kinds that are proven, each with its candidate.
    pub(crate) fn proven(&self, verify: &Verify) -> Vec<(Requirement, &JudgedSignature)> {
        let mut proven = Vec::new();
        for kind in &verify.require {
            if let Some(candidate) = self.proving_candidate(*kind) {
                proven.push((*kind, candidate));
            }
        }
        proven
    }

    fn check(&self, code: Code, status: Status, detail: String) -> Check {
        let check = Check::new(code, status, detail).image(self.image);
        match self.platform {
            Some(platform) => check.platform(platform),
            None => check,
        }
    }

    /// The first code that applies, and the evidence.
    fn failure(&self, verify: &Verify) -> (Code, String) {
        let candidates = &self.found.candidates;
        let results = || candidates.iter().map(|candidate| &candidate.verdict.result);
        let has_valid = results().any(|result| !matches!(result, PolicyResult::Invalid(_)));
        let has_signed = results()
            .any(|result| !matches!(result, PolicyResult::Invalid(_) | PolicyResult::Untrusted));
        let (code, reason) = if candidates.is_empty() {
            let digest = self.digest;
            let reason = format!("neither a signature nor an attestation of {digest} was found");
            (Code::SIGNATURE_MISSING, reason)
        } else if !has_valid {
            // A root lists the authority and the log of a candidate without a gap.
            let is_listed = self
                .root_gaps()
                .any(|gap| matches!(gap, None | Some(RootGap::Period)));
            let code = match self.root_gaps().max().flatten() {
                _ if is_listed => Code::SIGNATURE_INVALID,
                Some(RootGap::Log) => Code::LOG_UNKNOWN,
                Some(RootGap::Authority) => Code::AUTHORITY_UNKNOWN,
                Some(RootGap::Period) | None => Code::SIGNATURE_INVALID,
            };
            (
                code,
                "none of the signatures and attestations verifies".to_owned(),
            )
        } else if !has_signed {
            (
                Code::SIGNER_UNTRUSTED,
                "none is signed by a configured signer".to_owned(),
            )
        } else {
            self.unproven_kind(verify)
        };
        let mut parts = vec![reason];
        for candidate in candidates.iter().take(MAX_LISTED) {
            let reason = candidate_reason(&candidate.verdict);
            parts.push(format!("{}: {reason}", candidate.blob));
        }
        let more = candidates.len().saturating_sub(MAX_LISTED) + self.found.unread;
        if more > 0 {
            parts.push(format!("{more} more"));
        }
        (code, parts.join("; "))
    }

    /// The code and the reason if configured signers signed, but a required kind is not proven. The
    /// kind that is furthest from the policy decides.
    fn unproven_kind(&self, verify: &Verify) -> (Code, String) {
        let mut missing = Vec::new();
        for kind in &verify.require {
            if self.proving_candidate(*kind).is_none() {
                missing.push(*kind);
            }
        }
        let least = missing.iter().map(|kind| self.progress(*kind)).min();
        match least.unwrap_or(Progress::Nothing) {
            Progress::Nothing => {
                let words: Vec<_> = missing.iter().map(|kind| kind.as_str()).collect();
                let reason = format!(
                    "no {} that meets the policy was found",
                    words.join(" and no ")
                );
                (Code::ATTESTATION_MISSING, reason)
            }
            Progress::NoImage => (
                Code::ATTESTATION_UNBOUND,
                format!("it refers to a digest only, not to {}", self.repository),
            ),
            Progress::OtherImage => (
                Code::ATTESTATION_OTHER_IMAGE,
                format!("it was made for an image other than {}", self.repository),
            ),
            Progress::OtherCommit => (
                Code::COMMIT_MISMATCH,
                "it was made for a commit other than the revision".to_owned(),
            ),
        }
    }

    /// The most progress of a configured signer's candidates of a kind.
    fn progress(&self, kind: Requirement) -> Progress {
        let mut most = Progress::Nothing;
        for JudgedSignature { verdict, .. } in &self.found.candidates {
            if verdict.kind != Some(kind) {
                continue;
            }
            most = most.max(match verdict.result {
                PolicyResult::NoImage => Progress::NoImage,
                PolicyResult::OtherImage => Progress::OtherImage,
                PolicyResult::OtherCommit(_) => Progress::OtherCommit,
                PolicyResult::Invalid(_)
                | PolicyResult::Untrusted
                | PolicyResult::OtherKind
                | PolicyResult::Satisfied(_) => Progress::Nothing,
            });
        }
        most
    }

    /// The gaps in the trusted roots, one for each candidate that does not verify.
    fn root_gaps(&self) -> impl Iterator<Item = Option<RootGap>> {
        let candidates = self.found.candidates.iter();
        candidates.filter_map(|candidate| match &candidate.verdict.result {
            PolicyResult::Invalid(refusal) => Some(refusal.gap),
            _ => None,
        })
    }

    fn help(&self, code: Code) -> Option<&'static str> {
        match code {
            Code::SIGNATURE_MISSING => Some(PUSH),
            Code::COMMIT_MISMATCH => Some(OTHER_CHECKOUT),
            Code::SIGNATURE_INVALID if self.root_gaps().any(|gap| gap.is_some()) => Some(OLD_ROOT),
            _ => None,
        }
    }
}

/// The progress of a configured signer's candidates toward the policy, from the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    /// No candidate is of the required kind.
    Nothing,
    /// The candidate refers to no repository.
    NoImage,
    /// The candidate refers to another repository.
    OtherImage,
    /// The candidate is for another commit.
    OtherCommit,
}

/// The kind, the signer and the commit of a candidate that meets the policy.
fn describe_proven(candidate: &JudgedSignature) -> String {
    let Verdict {
        kind,
        proof,
        result,
        ..
    } = &candidate.verdict;
    let kind = kind.map_or("signature", Requirement::as_str);
    let signer = proof.as_ref().map_or_else(String::new, signer);
    let commit = if *result == PolicyResult::Satisfied(Binding::Bound) {
        "made for this revision"
    } else {
        "the commit is not bound (`commit: off`)"
    };
    format!("{kind} {} by {signer}, {commit}", candidate.blob)
}

/// The identity or the key of a signer.
fn signer(proof: &Proof) -> String {
    if let Some(certificate) = &proof.certificate
        && let Some(identity) = &certificate.identity
    {
        return plain(identity);
    }
    match proof.key {
        Some(key) => format!("key {key}"),
        None => "unknown key".to_owned(),
    }
}

/// The result of comparing a candidate with the policy, in words.
pub(crate) fn candidate_reason(verdict: &Verdict) -> String {
    match &verdict.result {
        PolicyResult::Invalid(refusal) => plain(&refusal.reason),
        PolicyResult::Untrusted => match &verdict.proof {
            Some(proof) => configured_signer(proof),
            None => String::new(),
        },
        PolicyResult::OtherKind => {
            let predicate = verdict.predicate_type.as_deref();
            let predicate = plain(predicate.unwrap_or("a payload of cosign"));
            format!("its predicate is {predicate}, which the policy does not accept")
        }
        PolicyResult::OtherImage => match &verdict.signed_name {
            SignedName::Own(name) | SignedName::Other(name) => {
                format!("it refers to {}", plain(name))
            }
            SignedName::Absent => "it refers to no repository".to_owned(),
        },
        PolicyResult::NoImage => "it refers to no repository".to_owned(),
        PolicyResult::OtherCommit(reason) => plain(reason),
        PolicyResult::Satisfied(Binding::Bound) => "it meets the policy".to_owned(),
        PolicyResult::Satisfied(Binding::Unbound) => {
            "it meets the policy; the commit is not bound".to_owned()
        }
    }
}

/// The signer of a proof, in the form of the configuration.
fn configured_signer(proof: &Proof) -> String {
    let Some(certificate) = &proof.certificate else {
        return format!("signed by the {}", signer(proof));
    };
    let Certificate {
        identity,
        issuer,
        source,
        source_ref,
        trigger,
        runner,
        ..
    } = certificate;
    let mut parts = Vec::new();
    let mut add = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            parts.push(format!("{key}: {}", plain(value)));
        }
    };
    let workflow = certificate.workflow();
    if let Some((workflow, git_ref)) = workflow {
        add("workflow", Some(workflow));
        add("ref", Some(git_ref));
    } else {
        add("identity", Some(identity.as_deref().unwrap_or_default()));
    }
    add("issuer", issuer.as_deref());
    add("source", source.as_deref());
    // Without `source_ref`, the source must have the workflow's ref.
    if workflow.is_some_and(|(_, git_ref)| source_ref.as_deref() != Some(git_ref)) {
        add("source_ref", source_ref.as_deref());
    }
    add("runner", runner.as_deref());
    add("trigger", trigger.as_deref());
    format!("signed by {{ {} }}", parts.join(", "))
}

/// The evidence that one digest of an image is trusted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VerifiedRow {
    pub require: String,
    pub subject: String,
    pub platform: Option<String>,
    pub bundle: String,
    pub predicate_type: Option<String>,
    pub signer: Option<String>,
    pub issuer: Option<String>,
    pub source: Option<String>,
    pub commit: Option<String>,
    pub commit_bound: bool,
    pub runner: Option<String>,
    pub key: Option<String>,
    pub root: Option<String>,
    pub time: Option<String>,
    pub log: Option<LogEntry>,
}

impl VerifiedRow {
    /// A row for each required kind that is met.
    pub(crate) fn rows(
        signatures: &DigestSignatures<'_>,
        verify: &Verify,
        revision: &Revision,
    ) -> Vec<Self> {
        let proven = signatures.proven(verify).into_iter();
        proven
            .filter_map(|(kind, candidate)| Self::new(signatures, kind, candidate, revision))
            .collect()
    }

    fn new(
        signatures: &DigestSignatures<'_>,
        kind: Requirement,
        candidate: &JudgedSignature,
        revision: &Revision,
    ) -> Option<Self> {
        let verdict = &candidate.verdict;
        let proof = verdict.proof.as_ref()?;
        let certificate = proof.certificate.as_ref();
        let commit_bound = verdict.result == PolicyResult::Satisfied(Binding::Bound);
        // A bound commit may come from the predicate instead of the certificate.
        let commit = if commit_bound {
            Some(revision.to_string())
        } else {
            certificate.and_then(|found| found.commit.clone())
        };
        Some(Self {
            require: kind.as_str().to_owned(),
            subject: signatures.digest.to_string(),
            platform: signatures.platform.map(ToString::to_string),
            bundle: candidate.blob.to_string(),
            predicate_type: verdict.predicate_type.clone(),
            signer: certificate.and_then(|found| found.identity.clone()),
            issuer: certificate.and_then(|found| found.issuer.clone()),
            source: certificate.and_then(|found| found.source.clone()),
            commit,
            commit_bound,
            runner: certificate.and_then(|found| found.runner.clone()),
            key: proof.key.map(|key| key.to_string()),
            root: proof.root.clone(),
            time: proof.time.clone(),
            log: proof.log.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signer_is_printed_as_in_the_configuration() {
        let built = |identity: &str, source: Option<&str>, source_ref: Option<&str>| {
            configured_signer(&Proof {
                root: None,
                certificate: Some(Certificate {
                    identity: Some(identity.to_owned()),
                    issuer: Some("https://issuer.example".to_owned()),
                    source: source.map(str::to_owned),
                    commit: None,
                    source_ref: source_ref.map(str::to_owned),
                    trigger: None,
                    runner: None,
                }),
                key: None,
                time: None,
                log: None,
            })
        };
        let by = |identity: &str| built(identity, None, None);
        assert_eq!(
            by("https://forge.example/a/b.yml@refs/heads/main"),
            "signed by { workflow: https://forge.example/a/b.yml, ref: refs/heads/main, issuer: https://issuer.example }"
        );
        // Without `source_ref`, the source must have the ref of the workflow.
        let main = "https://forge.example/a/b.yml@refs/heads/main";
        for (source_ref, part) in [
            ("refs/heads/main", ""),
            ("refs/tags/v1", ", source_ref: refs/tags/v1"),
        ] {
            assert_eq!(
                built(main, Some("https://forge.example/a"), Some(source_ref)),
                format!(
                    "signed by {{ workflow: https://forge.example/a/b.yml, ref: refs/heads/main, issuer: https://issuer.example, source: https://forge.example/a{part} }}"
                )
            );
        }
        // An e-mail address is not a workflow.
        assert_eq!(
            by("ann@people.example"),
            "signed by { identity: ann@people.example, issuer: https://issuer.example }"
        );
        // A file name that contains `@` is not another workflow.
        assert_eq!(
            by("https://forge.example/a/b.yml@x.yml@refs/heads/main"),
            "signed by { identity: https://forge.example/a/b.yml@x.yml@refs/heads/main, issuer: https://issuer.example }"
        );
    }
}
