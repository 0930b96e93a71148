//! Verdicts on signatures and attestations: what was found for a digest, against what is required.

use super::{Check, Code, Force, Status};
use crate::{
    config::{Requirement, SubjectName, Verify},
    error::Error,
    oci::{Digest, Platform, Repository},
    trust::{
        Binding, Candidate, Certificate, Examination, Judged, Proof, RootGap, SignedName, Standing,
    },
    untrusted::plain,
};

/// The most candidates that a detail names.
const SHOWN: usize = 8;

const PUSH: &str = "push what the build signs to the registry, beside the image: `push-to-registry: true` of \
                    actions/attest, or `cosign attest`";
const OLD_ROOT: &str = "the trusted root may be older than the signature: `repin trust update` shows the current one, and \
                        `repin trust update --apply` writes it (for GitHub also \
                        `gh attestation trusted-root > trusted_root.jsonl`)";
const OTHER_CHECKOUT: &str = "build the revision itself: a workflow may have checked out a commit other than the one \
                              that it ran for";

const NO_NAME: &str = "`cosign sign` of version 3 signs a digest without a repository: require an attestation, whose \
                       subject has a name, or accept any name with `verify.subject_name: any`";

/// A digest that was looked up, and what for.
#[derive(Debug, Clone, Copy)]
pub struct Examined<'e> {
    /// The image's name.
    pub image: &'e str,
    /// Its repository.
    pub repository: &'e Repository,
    /// The platform, where each has signatures of its own.
    pub platform: Option<&'e Platform>,
    /// The digest.
    pub digest: Digest,
    /// What was found.
    pub found: &'e Examination,
}

impl Examined<'_> {
    /// The verdict: one check, with a warning for each binding that the policy does without, or the
    /// errors that prevented it.
    pub fn verdict(&self, verify: &Verify, force: Force) -> Result<Vec<Check>, Vec<Error>> {
        let winners: Option<Vec<&Candidate>> = (verify.require.iter())
            .map(|kind| self.winner(*kind))
            .collect();
        if let Some(winners) = winners {
            let shown: Vec<_> = winners.iter().map(|winner| won(winner)).collect();
            let passed = self.check(Code::SIGNATURE_MISSING, Status::Pass, shown.join("; "));
            let mut checks = vec![passed];
            checks.extend(self.without_commit(&winners));
            checks.extend(self.without_name(verify, &winners));
            return Ok(checks);
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
        Ok(vec![match self.help(code) {
            Some(help) => check.help(help),
            None => check,
        }])
    }

    /// The warning that a signer's commit is not compared.
    fn without_commit(&self, winners: &[&Candidate]) -> Option<Check> {
        let is_unbound =
            |winner: &&&Candidate| winner.judged.standing == Standing::Satisfies(Binding::Unbound);
        let shown: Vec<_> = winners
            .iter()
            .filter(is_unbound)
            .map(|one| won(one))
            .collect();
        let cause = "a signer has `commit: off`: the commit is not bound";
        let check = self.check(Code::COMMIT_UNBOUND, Status::Warn, shown.join("; "));
        (!shown.is_empty()).then(|| check.cause(cause))
    }

    /// The warning that the name in statements is not compared.
    fn without_name(&self, verify: &Verify, winners: &[&Candidate]) -> Option<Check> {
        let shown = winners.iter().map(|winner| {
            let name = match &winner.judged.signed_name {
                SignedName::Own(name) | SignedName::Other(name) => plain(name),
                SignedName::Absent => "no repository".to_owned(),
            };
            format!("{} refers to {name}", winner.blob)
        });
        let detail = shown.collect::<Vec<_>>().join("; ");
        let cause = "`subject_name: any`: the repository in signatures is not compared";
        let check = self.check(
            Code::ATTESTATION_UNBOUND,
            Status::Warn,
            format!("{cause}; {detail}"),
        );
        (verify.subject_name == SubjectName::Any).then(|| check.cause(cause))
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
        let words: Vec<_> = missing.iter().map(|kind| kind.as_str()).collect();
        let (code, what) = if candidates.is_empty() {
            let what = format!(
                "neither a signature nor an attestation of {} was found",
                self.digest
            );
            (Code::SIGNATURE_MISSING, what)
        } else if !any(|standing| !matches!(standing, Standing::Invalid(_))) {
            let code = match self.root_gap() {
                Some(RootGap::Log) => Code::LOG_UNKNOWN,
                Some(RootGap::Authority) => Code::AUTHORITY_UNKNOWN,
                Some(RootGap::Period) | None => Code::SIGNATURE_INVALID,
            };
            (code, "nothing that was found verifies".to_owned())
        } else if !any(|standing| !matches!(standing, Standing::Invalid(_) | Standing::Untrusted)) {
            (
                Code::SIGNER_UNTRUSTED,
                "no configured signer signed it".to_owned(),
            )
        } else {
            // The kind that is furthest from the policy decides.
            let least = missing.iter().map(|kind| self.progress(**kind)).min();
            match least.unwrap_or(Progress::Nothing) {
                Progress::Nothing => {
                    let what = format!("no {} that counts was found", words.join(" and no "));
                    (Code::ATTESTATION_MISSING, what)
                }
                Progress::NoImage => (
                    Code::ATTESTATION_UNBOUND,
                    format!(
                        "it does not refer to {}, but to a digest only",
                        self.repository
                    ),
                ),
                Progress::OtherImage => (
                    Code::ATTESTATION_OTHER_IMAGE,
                    format!("it was made for another image than {}", self.repository),
                ),
                Progress::OtherCommit => (
                    Code::COMMIT_MISMATCH,
                    "it was made for another commit".to_owned(),
                ),
            }
        };
        let shown = candidates.iter().take(SHOWN).map(named);
        let mut parts: Vec<_> = std::iter::once(what).chain(shown).collect();
        let more = candidates.len().saturating_sub(SHOWN) + self.found.unread;
        if more > 0 {
            parts.push(format!("{more} more"));
        }
        (code, parts.join("; "))
    }

    /// How far the candidates of a kind that a configured signer made came.
    fn progress(&self, kind: Requirement) -> Progress {
        let of_kind = self.found.candidates.iter().map(|one| &one.judged);
        let of_kind = of_kind.filter(|judged| judged.kind == Some(kind));
        let reached = of_kind.map(|judged| match judged.standing {
            Standing::NoImage => Progress::NoImage,
            Standing::OtherImage => Progress::OtherImage,
            Standing::OtherCommit(_) => Progress::OtherCommit,
            Standing::Invalid(_)
            | Standing::Untrusted
            | Standing::OtherKind
            | Standing::Satisfies(_) => Progress::Nothing,
        });
        reached.max().unwrap_or(Progress::Nothing)
    }

    /// What the trusted roots lack for the candidate that came closest.
    fn root_gap(&self) -> Option<RootGap> {
        let candidates = self.found.candidates.iter();
        candidates
            .filter_map(|one| match &one.judged.standing {
                Standing::Invalid(refusal) => refusal.gap,
                _ => None,
            })
            .max()
    }

    fn help(&self, code: Code) -> Option<String> {
        match code {
            Code::LOG_UNKNOWN | Code::AUTHORITY_UNKNOWN => Some(OLD_ROOT.to_owned()),
            Code::SIGNATURE_MISSING => Some(PUSH.to_owned()),
            Code::COMMIT_MISMATCH => Some(OTHER_CHECKOUT.to_owned()),
            Code::ATTESTATION_UNBOUND => Some(NO_NAME.to_owned()),
            Code::SIGNATURE_INVALID if self.root_gap().is_some() => Some(OLD_ROOT.to_owned()),
            _ => None,
        }
    }
}

/// How far candidates by a configured signer came, from the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    /// None is of the required kind.
    Nothing,
    /// It refers to no repository.
    NoImage,
    /// It refers to another repository.
    OtherImage,
    /// It was made for another commit.
    OtherCommit,
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
        Standing::OtherImage => match &judged.signed_name {
            SignedName::Own(name) | SignedName::Other(name) => {
                format!("it refers to {}", plain(name))
            }
            SignedName::Absent => "it refers to no repository".to_owned(),
        },
        Standing::NoImage => "it refers to no repository".to_owned(),
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
        source_ref,
        trigger,
        runner,
        ..
    } = certificate;
    let identity = identity.as_deref().unwrap_or_default();
    let mut parts = match certificate.workflow() {
        Some((workflow, git_ref)) => vec![("workflow", workflow), ("ref", git_ref)],
        None => vec![("identity", identity)],
    };
    let git_ref = certificate.workflow().map(|(_, git_ref)| git_ref);
    let source_ref = &source_ref
        .clone()
        .filter(|found| git_ref.is_some_and(|it| it != found));
    let rest = [
        ("issuer", issuer),
        ("source", source),
        ("source_ref", source_ref),
        ("runner", runner),
        ("trigger", trigger),
    ];
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
                    source_ref: None,
                    trigger: None,
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
        // Nor is a file whose name contains `@` the workflow before it.
        assert_eq!(
            by("https://forge.example/a/b.yml@x.yml@refs/heads/main"),
            "signed by { identity: https://forge.example/a/b.yml@x.yml@refs/heads/main, issuer: https://issuer.example }"
        );
    }
}
