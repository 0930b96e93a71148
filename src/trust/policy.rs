//! The policy: one candidate, held against every signer of the configuration.
//!
//! A candidate is well-formed, about the digest, verified, of a kind that counts, by a configured
//! signer, and made for the revision, or it stops at one of these ([`Standing`]). Signers are
//! compared with what the verified certificate says, each value whole.

use std::time::SystemTime;

use super::{
    bundle::WellFormed,
    claim::{BuiltCommit, Claim, SignedName},
    cosign::CosignLayer,
    key::PublicKey,
    proof::{Certificate, Proof, Refusal},
    root::Root,
};
use crate::{
    config::{
        CommitBinding, IdentityRule, LogRule, Requirement, Runner, Signer, SignerIdentity,
        SubjectName, Verify,
    },
    oci::{Digest, Repository},
};

/// The predicate that is a signature by cosign.
const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// The policy of a run, with the keys and roots that it names.
#[derive(Debug)]
pub struct Policy<'c> {
    /// As it is configured.
    pub verify: &'c Verify,
    /// The key of each signer that is one, in the order of the signers.
    pub keys: Vec<Option<PublicKey>>,
    /// The roots, in the order of the configuration.
    pub roots: Vec<Root>,
}

/// What a candidate is held against.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'s> {
    /// The name of the image.
    pub image: &'s str,
    /// The repositories that a statement about it may refer to.
    pub repositories: &'s [Repository],
    /// The digest that must be signed.
    pub digest: Digest,
    /// The revision that it must have been made for.
    pub revision: &'s str,
    /// The time; later signatures are refused.
    pub now: SystemTime,
}

/// What was attached to an image.
#[derive(Debug, Clone)]
pub enum Attached {
    /// A bundle.
    Bundle(Vec<u8>),
    /// A signature by an older cosign.
    Cosign(CosignLayer),
}

/// What became of one candidate.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The type of the predicate; `None` for payloads of cosign and malformed bundles.
    pub predicate_type: Option<String>,
    /// What it is, where its form allowed to tell.
    pub kind: Option<Requirement>,
    /// The repository that it refers to.
    pub signed_name: SignedName,
    /// What was verified, if it was.
    pub proof: Option<Proof>,
    /// How far it came.
    pub standing: Standing,
}

/// How far a candidate came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is malformed, about another digest, or does not verify.
    Invalid(Refusal),
    /// It verifies, but no configured signer made it.
    Untrusted,
    /// A configured signer made it, but it is neither a signature nor an attestation that counts.
    OtherKind,
    /// A configured signer made it for another repository.
    OtherImage,
    /// A configured signer made it, but it refers to no repository.
    NoImage,
    /// Everything but the commit; the reason.
    OtherCommit(String),
    /// It meets the policy.
    Satisfies(Binding),
}

/// Whether a commit is bound to the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// It equals the revision.
    Bound,
    /// `commit: off`.
    Unbound,
}

impl Policy<'_> {
    /// Judges what was attached to the subject.
    pub fn judge(&self, attached: &Attached, subject: Subject<'_>) -> Judged {
        let checked = match attached {
            Attached::Bundle(bytes) => WellFormed::read(bytes),
            Attached::Cosign(layer) => layer.converted(),
        };
        match checked {
            Ok(checked) => self.well_formed(&checked, subject),
            Err(why) => Judged {
                predicate_type: None,
                kind: None,
                signed_name: SignedName::Absent,
                proof: None,
                standing: Standing::Invalid(Refusal::new(why)),
            },
        }
    }

    fn well_formed(&self, checked: &WellFormed, subject: Subject<'_>) -> Judged {
        let kind = self.kind(&checked.claim);
        let signed_name = (checked.claim).repository_of(subject.digest, subject.repositories);
        let judged = |proof, standing| Judged {
            predicate_type: checked.claim.predicate_type.clone(),
            kind,
            signed_name: signed_name.clone(),
            proof,
            standing,
        };
        if !checked.claim.is_about(subject.digest) {
            let why = format!("it is not about {}", subject.digest);
            return judged(None, Standing::Invalid(Refusal::new(why)));
        }
        let proven = if checked.has_key() {
            self.by_key(checked, subject)
        } else {
            self.by_certificate(checked, subject)
        };
        let (proof, signers) = match proven {
            Ok(proven) => proven,
            Err(refusal) => return judged(None, Standing::Invalid(refusal)),
        };
        if signers.is_empty() {
            return judged(Some(proof), Standing::Untrusted);
        }
        let any_name = self.verify.subject_name == SubjectName::Any;
        let standing = match &signed_name {
            _ if kind.is_none() => Standing::OtherKind,
            SignedName::Other(_) if !any_name => Standing::OtherImage,
            SignedName::Absent if !any_name => Standing::NoImage,
            _ => commit(&signers, &checked.claim, &proof, subject.revision),
        };
        judged(Some(proof), standing)
    }

    /// What a claim counts as.
    fn kind(&self, claim: &Claim) -> Option<Requirement> {
        match claim.predicate_type.as_deref() {
            None | Some(COSIGN_SIGN) => Some(Requirement::Signature),
            Some(other) => {
                let counts = self.verify.predicate_types.iter().any(|kind| kind == other);
                counts.then_some(Requirement::Attestation)
            }
        }
    }

    /// The proof of the first root in which a certificate verifies, and the signers whose it is.
    fn by_certificate(
        &self,
        checked: &WellFormed,
        subject: Subject<'_>,
    ) -> Result<(Proof, Vec<&Signer>), Refusal> {
        let verify = |root: &Root| root.verify_certificate(checked, subject.digest, subject.now);
        let proof = first_proof(self.roots.iter().map(verify))?;
        let signers = self.verify.signers.iter();
        let signers = match &proof.certificate {
            Some(certificate) => signers
                .filter(|signer| signs(signer, subject.image))
                .filter(|signer| is_of(certificate, signer, subject.revision))
                .collect(),
            None => Vec::new(),
        };
        Ok((proof, signers))
    }

    /// The proof by the first key that verifies, and the signers with that key.
    fn by_key(
        &self,
        checked: &WellFormed,
        subject: Subject<'_>,
    ) -> Result<(Proof, Vec<&Signer>), Refusal> {
        let mut refusal = Refusal::new("it is by a key, and `signers` lists none");
        let mut proven: Option<(Proof, Vec<&Signer>)> = None;
        for (signer, key) in self.verify.signers.iter().zip(&self.keys) {
            let (SignerIdentity::Key { log, .. }, Some(key)) = (&signer.who, key) else {
                continue;
            };
            let verified = match log {
                LogRule::Off => key.verify_unlogged(checked),
                LogRule::Required => {
                    let verify =
                        |root: &Root| root.verify_key(checked, subject.digest, key, subject.now);
                    first_proof(self.roots.iter().map(verify))
                }
            };
            match verified {
                Ok(proof) => {
                    let (_, signers) = proven.get_or_insert((proof, Vec::new()));
                    signers.extend(signs(signer, subject.image).then_some(signer));
                }
                Err(why) => refusal = why,
            }
        }
        proven.ok_or(refusal)
    }
}

/// The first proof, or the refusal of the root that is most likely the one of the signature.
fn first_proof(proofs: impl Iterator<Item = Result<Proof, Refusal>>) -> Result<Proof, Refusal> {
    let mut closest: Option<Refusal> = None;
    for proof in proofs {
        let refusal = match proof {
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
    Err(closest.unwrap_or_else(|| Refusal::new("no trusted root is configured")))
}

fn signs(signer: &Signer, image: &str) -> bool {
    signer.images.is_empty() || signer.images.iter().any(|name| name == image)
}

/// Whether a verified certificate is a signer's.
fn is_of(certificate: &Certificate, signer: &Signer, revision: &str) -> bool {
    let Some(identity) = certificate.identity.as_deref() else {
        return false;
    };
    let (named, issuer, runner) = match &signer.who {
        SignerIdentity::Workflow {
            workflow,
            git_ref,
            source_ref,
            issuer,
            runner,
        } => {
            let with_revision = |git_ref: &String| git_ref.replace("{revision}", revision);
            let named = match git_ref.as_ref().map(with_revision) {
                Some(git_ref) => identity == format!("{workflow}@{git_ref}"),
                None => (certificate.workflow()).is_some_and(|(name, _)| name == workflow),
            };
            let expected = source_ref.as_ref().or(git_ref.as_ref()).map(with_revision);
            let from_ref = match (expected, &certificate.source_ref) {
                (Some(expected), Some(found)) => *found == expected,
                // The ref in the identity is that of the source, unless another repository calls the
                // workflow.
                (Some(_), None) => {
                    source_ref.is_none() && !is_called(workflow, signer.source.as_deref())
                }
                (None, _) => true,
            };
            (named && from_ref, issuer, runner)
        }
        SignerIdentity::Certificate {
            identity: rule,
            issuer,
            runner,
        } => {
            let named = match rule {
                IdentityRule::Exact(exact) => identity == exact,
                IdentityRule::Pattern(pattern) => pattern.is_match(identity),
            };
            (named, issuer, runner)
        }
        SignerIdentity::Key { .. } => return false,
    };
    let source = signer.source.as_ref();
    let runner = match runner {
        Runner::Any => true,
        Runner::GitHubHosted => certificate.runner.as_deref() == Some("github-hosted"),
    };
    named
        && runner
        && signer.trigger.allow(certificate.trigger.as_deref())
        && certificate.issuer.as_ref() == Some(issuer)
        && source.is_none_or(|source| certificate.source.as_ref() == Some(source))
}

/// Whether a workflow belongs to another repository than the one that is built: it is reusable.
fn is_called(workflow: &str, source: Option<&str>) -> bool {
    source.is_some_and(|source| {
        let rest = workflow.strip_prefix(source.trim_end_matches('/'));
        !rest.is_some_and(|rest| rest.starts_with('/'))
    })
}

/// Whether what was signed was made for the revision, by the word of any of the signers; one that
/// binds a commit goes before one that does not.
fn commit(signers: &[&Signer], claim: &Claim, proof: &Proof, revision: &str) -> Standing {
    let named = |signer: &Signer| match signer.commit {
        CommitBinding::Off => None,
        CommitBinding::Certificate => Some(certified(proof)),
        CommitBinding::Predicate => Some(predicate(claim, signer)),
    };
    let named: Vec<_> = signers.iter().filter_map(|signer| named(signer)).collect();
    if named.iter().any(|commit| commit.as_deref() == Ok(revision)) {
        return Standing::Satisfies(Binding::Bound);
    }
    let unbound = signers
        .iter()
        .any(|signer| signer.commit == CommitBinding::Off);
    match named.into_iter().next() {
        Some(found) if !unbound => {
            let found = found.map_or_else(
                |why| why,
                |commit| format!("it was made for commit {commit}"),
            );
            Standing::OtherCommit(format!("{found}; the revision is {revision}"))
        }
        _ => Standing::Satisfies(Binding::Unbound),
    }
}

/// The commit that a certificate says was built.
fn certified(proof: &Proof) -> Result<String, String> {
    let certificate = proof.certificate.as_ref();
    certificate
        .and_then(|certificate| certificate.commit.clone())
        .ok_or_else(|| "the certificate names no commit".to_owned())
}

/// The commit that a statement says was built from a signer's source.
fn predicate(claim: &Claim, signer: &Signer) -> Result<String, String> {
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
