//! The policy: compares one candidate with every signer of the configuration.
//!
//! A candidate must be well-formed, about the digest, verified, of a kind that counts, by a configured
//! signer, and made for the revision; [`PolicyResult`] is the first condition that it does not meet.
//! Signers are compared with whole values of the verified certificate.

use std::time::SystemTime;

use serde_json::Value;

use super::{
    CommitBinding, IdentityRule, LogRule, Requirement, Runner, Signer, SignerIdentity, SubjectName,
    Verify,
    bundle::{CosignLayer, ParsedBundle, PublicKey},
    claim::{BuiltCommit, Certificate, Claim, Proof, Refusal, SignedName},
    root::Root,
    unknown_authority,
};
use crate::oci::{Digest, Repository};

/// The predicate type of a signature by cosign.
const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// The policy of a run, with its keys and roots.
#[derive(Debug)]
pub(crate) struct Policy<'c> {
    pub verify: &'c Verify,
    /// The key of each signer, in the order of the signers; `None` if a signer has no key.
    pub keys: Vec<Option<PublicKey>>,
    /// The roots, in the order of the configuration.
    pub roots: Vec<Root>,
}

/// The image that a candidate must be about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'s> {
    /// The name of the image.
    pub image: &'s str,
    /// The repositories to which a statement may refer.
    pub repositories: &'s [Repository],
    /// The digest that must be signed.
    pub digest: Digest,
    /// The revision that must have been built.
    pub revision: &'s str,
    /// The time; later signatures are refused.
    pub now: SystemTime,
}

/// The bytes of a candidate.
#[derive(Debug, Clone)]
pub(crate) enum Attachment {
    Bundle(Vec<u8>),
    /// A signature by an older cosign.
    Cosign(CosignLayer),
}

/// The verdict on a candidate.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    /// The type of the predicate; `None` for payloads of cosign and malformed bundles.
    pub predicate_type: Option<String>,
    /// `None` for malformed bundles and predicates that do not count.
    pub kind: Option<Requirement>,
    /// The repository to which the candidate refers.
    pub signed_name: SignedName,
    /// `None` if the candidate does not verify.
    pub proof: Option<Proof>,
    pub result: PolicyResult,
}

/// The first condition that a candidate does not meet, or the success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PolicyResult {
    /// The candidate is malformed, about another digest, or does not verify.
    Invalid(Refusal),
    /// The candidate verifies, but is not by a configured signer.
    Untrusted,
    /// A configured signer signed a predicate that does not count.
    OtherKind,
    /// A configured signer signed it for another repository.
    OtherImage,
    /// A configured signer signed it, but it refers to no repository.
    NoImage,
    /// Every condition but the commit is met; the reason.
    OtherCommit(String),
    Satisfied(Binding),
}

/// A predicate that a configured signer made for the revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedPredicate {
    pub predicate_type: String,
    pub predicate: Value,
}

/// Whether a commit is bound to the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    /// The commit equals the revision.
    Bound,
    /// The signer has `commit: off`.
    Unbound,
}

impl Policy<'_> {
    /// Compares a candidate with the policy.
    pub(crate) fn evaluate(&self, attachment: &Attachment, subject: Subject<'_>) -> Verdict {
        let parsed = match attachment {
            Attachment::Bundle(bytes) => ParsedBundle::parse(bytes),
            Attachment::Cosign(layer) => layer.to_bundle(),
        };
        match parsed {
            Ok(parsed) => self.evaluate_bundle(&parsed, self.kind(&parsed.claim), subject),
            Err(reason) => Verdict {
                predicate_type: None,
                kind: None,
                signed_name: SignedName::Absent,
                proof: None,
                result: PolicyResult::Invalid(Refusal::new(reason)),
            },
        }
    }

    /// The predicate of a bundle, if its type is wanted and a signer of the configuration made it for
    /// the revision; otherwise the reason. A predicate type that the policy does not require counts
    /// here as well. `None` if the bundle has another type.
    pub(crate) fn predicate(
        &self,
        bundle: &[u8],
        subject: Subject<'_>,
        is_wanted: fn(&str) -> bool,
    ) -> Option<Result<SignedPredicate, String>> {
        let parsed = match ParsedBundle::parse(bundle) {
            Ok(parsed) => parsed,
            Err(reason) => return Some(Err(reason)),
        };
        let predicate_type = parsed.claim.predicate_type.clone()?;
        if !is_wanted(&predicate_type) {
            return None;
        }
        let verdict = self.evaluate_bundle(&parsed, Some(Requirement::Attestation), subject);
        let refused = |reason: &str| Some(Err(format!("`{predicate_type}`: {reason}")));
        match verdict.result {
            PolicyResult::Satisfied(Binding::Bound) => {}
            PolicyResult::Satisfied(Binding::Unbound) => {
                return refused("its signer has `commit: off`");
            }
            PolicyResult::Invalid(refusal) => return refused(&refusal.reason),
            PolicyResult::OtherCommit(reason) => return refused(&reason),
            PolicyResult::OtherImage => return refused("it is signed for another repository"),
            PolicyResult::NoImage => return refused("it refers to no repository"),
            PolicyResult::Untrusted | PolicyResult::OtherKind => {
                return refused("its signer is not configured");
            }
        }
        Some(Ok(SignedPredicate {
            predicate_type,
            predicate: parsed.claim.predicate,
        }))
    }

    fn evaluate_bundle(
        &self,
        parsed: &ParsedBundle,
        kind: Option<Requirement>,
        subject: Subject<'_>,
    ) -> Verdict {
        let signed_name = (parsed.claim).repository_of(subject.digest, subject.repositories);
        let verdict = |proof, result| Verdict {
            predicate_type: parsed.claim.predicate_type.clone(),
            kind,
            signed_name: signed_name.clone(),
            proof,
            result,
        };
        if !parsed.claim.is_about(subject.digest) {
            let reason = format!("it is not about {}", subject.digest);
            return verdict(None, PolicyResult::Invalid(Refusal::new(reason)));
        }
        let proven = if parsed.has_key() {
            self.verify_by_key(parsed, subject)
        } else {
            self.verify_by_certificate(parsed, subject)
        };
        let (proof, signers) = match proven {
            Ok(proven) => proven,
            Err(refusal) => return verdict(None, PolicyResult::Invalid(refusal)),
        };
        if signers.is_empty() {
            return verdict(Some(proof), PolicyResult::Untrusted);
        }
        let any_name = self.verify.subject_name == SubjectName::Any;
        let result = match &signed_name {
            _ if kind.is_none() => PolicyResult::OtherKind,
            SignedName::Other(_) if !any_name => PolicyResult::OtherImage,
            SignedName::Absent if !any_name => PolicyResult::NoImage,
            _ => commit_result(&signers, &parsed.claim, &proof, subject.revision),
        };
        verdict(Some(proof), result)
    }

    /// The requirement that a claim can satisfy.
    fn kind(&self, claim: &Claim) -> Option<Requirement> {
        match claim.predicate_type.as_ref() {
            None => Some(Requirement::Signature),
            Some(predicate) if predicate == COSIGN_SIGN => Some(Requirement::Signature),
            Some(predicate) if self.verify.predicate_types.contains(predicate) => {
                Some(Requirement::Attestation)
            }
            Some(_) => None,
        }
    }

    /// The proof of the first root in which the certificate verifies, and the signers that match it.
    fn verify_by_certificate(
        &self,
        parsed: &ParsedBundle,
        subject: Subject<'_>,
    ) -> Result<(Proof, Vec<&Signer>), Refusal> {
        let verify = |root: &Root| root.verify_certificate(parsed, subject.digest, subject.now);
        let proof = self.first_proof(parsed, verify)?;
        let mut signers = Vec::new();
        if let Some(certificate) = &proof.certificate {
            for signer in &self.verify.signers {
                if signs(signer, subject.image) && matches(certificate, signer, subject.revision) {
                    signers.push(signer);
                }
            }
        }
        Ok((proof, signers))
    }

    /// The proof by the first key that verifies, and the signers with that key.
    fn verify_by_key(
        &self,
        parsed: &ParsedBundle,
        subject: Subject<'_>,
    ) -> Result<(Proof, Vec<&Signer>), Refusal> {
        let mut refusal = Refusal::new("it is by a key, and `signers` lists none");
        let mut proven: Option<(Proof, Vec<&Signer>)> = None;
        for (signer, key) in self.verify.signers.iter().zip(&self.keys) {
            let (SignerIdentity::Key { log, .. }, Some(key)) = (&signer.who, key) else {
                continue;
            };
            let verified = match log {
                LogRule::Off => key.verify_unlogged(parsed),
                LogRule::Required => {
                    let verify =
                        |root: &Root| root.verify_key(parsed, subject.digest, key, subject.now);
                    self.first_proof(parsed, verify)
                }
            };
            match verified {
                Ok(proof) => {
                    let (_, signers) = proven.get_or_insert((proof, Vec::new()));
                    if signs(signer, subject.image) {
                        signers.push(signer);
                    }
                }
                Err(key_refusal) => refusal = key_refusal,
            }
        }
        proven.ok_or(refusal)
    }

    /// The first proof, or the refusal of the root that is most likely the signature's.
    fn first_proof(
        &self,
        parsed: &ParsedBundle,
        verify: impl Fn(&Root) -> Result<Proof, Refusal>,
    ) -> Result<Proof, Refusal> {
        let mut closest: Option<Refusal> = None;
        for root in &self.roots {
            let refusal = match verify(root) {
                Ok(proof) => return Ok(proof),
                Err(refusal) => refusal,
            };
            if closest
                .as_ref()
                .is_none_or(|best| best.rank() <= refusal.rank())
            {
                closest = Some(refusal);
            }
        }
        let refusal = closest.unwrap_or_else(|| Refusal::new("no trusted root is configured"));
        if unknown_authority::is_gap_filled(&self.roots, &refusal, parsed) {
            return Err(Refusal::new(format!(
                "no trusted root lists both the authority and the logs of the signature: {}",
                refusal.reason
            )));
        }
        Err(refusal)
    }
}

fn signs(signer: &Signer, image: &str) -> bool {
    signer.images.is_empty() || signer.images.iter().any(|name| name == image)
}

/// Whether a verified certificate matches a signer.
fn matches(certificate: &Certificate, signer: &Signer, revision: &str) -> bool {
    let Some(identity) = certificate.identity.as_deref() else {
        return false;
    };
    let (is_identity, issuer, runner) = match &signer.who {
        SignerIdentity::Workflow {
            workflow,
            git_ref,
            source_ref,
            issuer,
            runner,
        } => {
            let with_revision = |git_ref: &String| git_ref.replace("{revision}", revision);
            let is_workflow = match git_ref.as_ref().map(with_revision) {
                Some(git_ref) => identity == format!("{workflow}@{git_ref}"),
                None => (certificate.workflow()).is_some_and(|(name, _)| name == workflow),
            };
            let expected = source_ref.as_ref().or(git_ref.as_ref()).map(with_revision);
            let is_source_ref = match (expected, &certificate.source_ref) {
                (Some(expected), Some(found)) => *found == expected,
                // The ref in the identity is that of the source, unless another repository calls the
                // workflow.
                (Some(_), None) => {
                    source_ref.is_none() && !is_foreign(workflow, signer.source.as_deref())
                }
                (None, _) => true,
            };
            (is_workflow && is_source_ref, issuer, runner)
        }
        SignerIdentity::Certificate {
            identity: rule,
            issuer,
            runner,
        } => {
            let is_identity = match rule {
                IdentityRule::Exact(exact) => identity == exact,
                IdentityRule::Pattern(pattern) => pattern.is_match(identity),
            };
            (is_identity, issuer, runner)
        }
        SignerIdentity::Key { .. } => return false,
    };
    let source = signer.source.as_ref();
    let is_runner = match runner {
        Runner::Any => true,
        Runner::GitHubHosted => certificate.runner.as_deref() == Some("github-hosted"),
    };
    is_identity
        && is_runner
        && signer.trigger.allow(certificate.trigger.as_deref())
        && certificate.issuer.as_ref() == Some(issuer)
        && source.is_none_or(|source| certificate.source.as_ref() == Some(source))
}

/// Whether a reusable workflow belongs to another repository than the source.
fn is_foreign(workflow: &str, source: Option<&str>) -> bool {
    let Some(source) = source else {
        return false;
    };
    match workflow.strip_prefix(source.trim_end_matches('/')) {
        Some(path) => !path.starts_with('/'),
        None => true,
    }
}

/// Compares the commit with the revision, for each signer. A signer that binds the commit takes
/// precedence over one that does not.
fn commit_result(
    signers: &[&Signer],
    claim: &Claim,
    proof: &Proof,
    revision: &str,
) -> PolicyResult {
    let mut is_unbound = false;
    let mut mismatch = None;
    for signer in signers {
        let commit = match signer.commit {
            CommitBinding::Off => {
                is_unbound = true;
                continue;
            }
            CommitBinding::Certificate => certificate_commit(proof),
            CommitBinding::Predicate => predicate_commit(claim, signer),
        };
        let reason = match commit {
            Ok(commit) if commit == revision => return PolicyResult::Satisfied(Binding::Bound),
            Ok(commit) => format!("it was made for commit {commit}"),
            Err(reason) => reason,
        };
        mismatch.get_or_insert(reason);
    }
    match mismatch {
        Some(reason) if !is_unbound => {
            PolicyResult::OtherCommit(format!("{reason}; the revision is {revision}"))
        }
        _ => PolicyResult::Satisfied(Binding::Unbound),
    }
}

/// The built commit in a certificate.
fn certificate_commit(proof: &Proof) -> Result<String, String> {
    let certificate = proof.certificate.as_ref();
    certificate
        .and_then(|certificate| certificate.commit.clone())
        .ok_or_else(|| "the certificate names no commit".to_owned())
}

/// The built commit of a signer's source in a statement.
fn predicate_commit(claim: &Claim, signer: &Signer) -> Result<String, String> {
    let Some(source) = &signer.source else {
        return Err("the signer has no source".to_owned());
    };
    if claim.predicate_type.is_none() {
        return Err("a signature has no predicate that names a commit".to_owned());
    }
    match claim.commit_of(source) {
        BuiltCommit::One(commit) => Ok(commit),
        BuiltCommit::Absent => Err(format!("the predicate names no commit of {source}")),
        BuiltCommit::Ambiguous => Err(format!("the predicate names several commits of {source}")),
    }
}
