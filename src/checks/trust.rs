//! Verdicts on signatures and attestations: what was found for a digest, against what is required.

use super::{Check, Code, Force, Status};
use crate::{
    config::{Requirement, Verify},
    error::Error,
    oci::{Digest, Platform},
    trust::{Binding, Candidate, Certificate, Examination, Judged, Proof, Standing},
    untrusted::plain,
};

/// The most candidates that a detail names.
const SHOWN: usize = 8;

const PUSH: &str = "push what the build signs to the registry, beside the image: `push-to-registry: true` of \
                    actions/attest, or `cosign sign`";
const OLD_ROOT: &str = "the trusted root may be older than the signature: renew it, for GitHub by \
                        `gh attestation trusted-root > trusted_root.jsonl`";
const OTHER_CHECKOUT: &str = "build the revision itself: a workflow may have checked out a commit other than the one \
                              that it ran for";

/// A digest that was looked up, and what for.
#[derive(Debug, Clone, Copy)]
pub struct Examined<'e> {
    /// The image's name.
    pub image: &'e str,
    /// The platform, where each has signatures of its own.
    pub platform: Option<&'e Platform>,
    /// The digest.
    pub digest: Digest,
    /// What was found.
    pub found: &'e Examination,
}

impl Examined<'_> {
    /// The verdict: one check, or the errors that prevented it.
    pub fn verdict(&self, verify: &Verify, force: Force) -> Result<Check, Vec<Error>> {
        let winners: Option<Vec<&Candidate>> = (verify.require.iter())
            .map(|kind| self.winner(*kind))
            .collect();
        if let Some(winners) = winners {
            let shown: Vec<_> = winners.iter().map(|winner| won(winner)).collect();
            return Ok(self.check(Code::SIGNATURE_MISSING, Status::Pass, shown.join("; ")));
        }
        // What could not be read may have been the one that is missing.
        if !self.found.faults.is_empty() {
            return Err(self.found.faults.clone());
        }
        let status = match force {
            Force::Decides => Status::Fail,
            Force::Warns => Status::Warn,
        };
        let (code, detail) = self.failure(verify);
        let check = self.check(code, status, detail);
        Ok(match self.help(code) {
            Some(help) => check.help(help),
            None => check,
        })
    }

    /// What proves one of the required kinds, the first that was found.
    fn winner(&self, kind: Requirement) -> Option<&Candidate> {
        let satisfies = |candidate: &&Candidate| {
            let judged = &candidate.judged;
            judged.kind == Some(kind) && matches!(judged.standing, Standing::Satisfies(_))
        };
        self.found.candidates.iter().find(satisfies)
    }

    /// What proves each of the required kinds.
    pub fn winners(&self, verify: &Verify) -> Vec<(Requirement, &Candidate)> {
        let require = verify.require.iter();
        require
            .filter_map(|kind| Some((*kind, self.winner(*kind)?)))
            .collect()
    }

    fn check(&self, code: Code, status: Status, detail: String) -> Check {
        let check = Check::new(code, status, detail).image(self.image);
        match self.platform {
            Some(platform) => check.platform(platform),
            None => check,
        }
    }

    /// The code that applies first, and the evidence.
    fn failure(&self, verify: &Verify) -> (Code, String) {
        let candidates = &self.found.candidates;
        let any =
            |test: fn(&Standing) -> bool| candidates.iter().any(|one| test(&one.judged.standing));
        let missing: Vec<_> = (verify.require.iter())
            .filter(|kind| self.winner(**kind).is_none())
            .collect();
        let other_commit = |kind: &Requirement| {
            candidates.iter().any(|one| {
                one.judged.kind == Some(*kind)
                    && matches!(one.judged.standing, Standing::OtherCommit(_))
            })
        };
        let words: Vec<_> = missing.iter().map(|kind| kind.as_str()).collect();
        let (code, what) = if candidates.is_empty() {
            let what = format!(
                "neither a signature nor an attestation of {} was found",
                self.digest
            );
            (Code::SIGNATURE_MISSING, what)
        } else if !any(|standing| !matches!(standing, Standing::Invalid(_))) {
            (
                Code::SIGNATURE_INVALID,
                "nothing that was found verifies".to_owned(),
            )
        } else if !any(|standing| !matches!(standing, Standing::Invalid(_) | Standing::Untrusted)) {
            (
                Code::SIGNER_UNTRUSTED,
                "no configured signer signed it".to_owned(),
            )
        } else if missing.iter().all(|kind| other_commit(kind)) {
            (
                Code::COMMIT_MISMATCH,
                "it was made for another commit".to_owned(),
            )
        } else {
            let what = format!("no {} that counts was found", words.join(" and no "));
            (Code::ATTESTATION_MISSING, what)
        };
        let shown = candidates.iter().take(SHOWN).map(named);
        let mut parts: Vec<_> = std::iter::once(what).chain(shown).collect();
        let more = candidates.len().saturating_sub(SHOWN) + self.found.unread;
        if more > 0 {
            parts.push(format!("{more} more"));
        }
        (code, parts.join("; "))
    }

    fn help(&self, code: Code) -> Option<String> {
        let outdated = self.found.candidates.iter().any(|one| {
            matches!(&one.judged.standing, Standing::Invalid(refusal) if refusal.outdated_root)
        });
        match code {
            Code::SIGNATURE_MISSING => Some(PUSH.to_owned()),
            Code::COMMIT_MISMATCH => Some(OTHER_CHECKOUT.to_owned()),
            Code::SIGNATURE_INVALID if outdated => Some(OLD_ROOT.to_owned()),
            _ => None,
        }
    }
}

/// A candidate that meets the policy, in words.
fn won(candidate: &Candidate) -> String {
    let Judged {
        kind,
        proof,
        standing,
        ..
    } = &candidate.judged;
    let what = kind.map_or("signature", Requirement::as_str);
    let who = proof.as_ref().map_or_else(String::new, signer);
    let commit = if *standing == Standing::Satisfies(Binding::Bound) {
        "made for this revision"
    } else {
        "the commit is not bound (`commit: off`)"
    };
    format!("{what} {} by {who}, {commit}", candidate.blob)
}

/// Who signed, in a few words.
fn signer(proof: &Proof) -> String {
    let identity = proof
        .certificate
        .as_ref()
        .and_then(|found| found.identity.as_ref());
    match (identity, proof.key) {
        (Some(identity), _) => plain(identity),
        (None, Some(key)) => format!("key {key}"),
        (None, None) => "(unknown)".to_owned(),
    }
}

/// A candidate that does not meet the policy, with the reason.
fn named(candidate: &Candidate) -> String {
    let judged = &candidate.judged;
    format!("{}: {}", candidate.blob, reason(judged))
}

/// Why a candidate does not meet the policy, or that it does.
pub fn reason(judged: &Judged) -> String {
    let kind = || {
        let predicate = judged
            .predicate_type
            .as_deref()
            .unwrap_or("a payload of cosign");
        plain(predicate)
    };
    match &judged.standing {
        Standing::Invalid(refusal) => plain(&refusal.why),
        Standing::Untrusted => judged.proof.as_ref().map_or_else(String::new, configured),
        Standing::OtherKind => format!("its predicate is {}, which does not count", kind()),
        Standing::OtherCommit(why) => plain(why),
        Standing::Satisfies(Binding::Bound) => "it meets the policy".to_owned(),
        Standing::Satisfies(Binding::Unbound) => {
            "it meets the policy; the commit is not bound".to_owned()
        }
    }
}

/// The signer that was found, in the form in which it would be configured.
pub fn configured(proof: &Proof) -> String {
    let Some(certificate) = &proof.certificate else {
        let key = proof.key.map_or_else(String::new, |key| key.to_string());
        return format!("signed by the key {key}");
    };
    let Certificate {
        identity,
        issuer,
        source,
        runner,
        ..
    } = certificate;
    let identity = identity.as_deref().unwrap_or_default();
    let mut parts = match identity.split_once('@') {
        Some((workflow, git_ref)) if workflow.contains("://") => {
            vec![("workflow", workflow), ("ref", git_ref)]
        }
        _ => vec![("identity", identity)],
    };
    let rest = [("issuer", issuer), ("source", source), ("runner", runner)];
    parts.extend(
        rest.iter()
            .filter_map(|(key, value)| Some((*key, value.as_deref()?))),
    );
    let parts = parts
        .iter()
        .map(|(key, value)| format!("{key}: {}", plain(value)));
    format!("signed by {{ {} }}", parts.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signer_is_shown_as_it_would_be_configured() {
        let by = |identity: &str| {
            configured(&Proof {
                root: None,
                certificate: Some(Certificate {
                    identity: Some(identity.to_owned()),
                    issuer: Some("https://issuer.example".to_owned()),
                    source: None,
                    commit: None,
                    runner: None,
                }),
                key: None,
                time: None,
                log: None,
            })
        };
        assert_eq!(
            by("https://forge.example/a/b.yml@refs/heads/main"),
            "signed by { workflow: https://forge.example/a/b.yml, ref: refs/heads/main, issuer: https://issuer.example }"
        );
        // The address of a person is no workflow.
        assert_eq!(
            by("ann@people.example"),
            "signed by { identity: ann@people.example, issuer: https://issuer.example }"
        );
    }
}
