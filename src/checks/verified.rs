//! The evidence that an image is trusted, as documents contain it.

use serde::{Deserialize, Serialize};

use super::Examined;
use crate::{
    config::{Requirement, Verify},
    oci::Revision,
    trust::{Binding, Candidate, Standing},
};

/// The evidence that one digest of an image is trusted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifiedRow {
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
    pub log: Option<LogRow>,
}

/// An entry of a transparency log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogRow {
    pub url: String,
    pub index: u64,
}

impl VerifiedRow {
    /// The evidence for each required kind that is met.
    pub fn of(examined: &Examined<'_>, verify: &Verify, revision: &Revision) -> Vec<Self> {
        let winners = examined.winners(verify).into_iter();
        let row =
            |(kind, winner): (Requirement, &Candidate)| Self::won(examined, kind, winner, revision);
        winners.filter_map(row).collect()
    }

    fn won(
        examined: &Examined<'_>,
        kind: Requirement,
        winner: &Candidate,
        revision: &Revision,
    ) -> Option<Self> {
        let judged = &winner.judged;
        let proof = judged.proof.as_ref()?;
        let certificate = proof.certificate.as_ref();
        let commit_bound = judged.standing == Standing::Satisfies(Binding::Bound);
        // What was compared may be the predicate's commit.
        let commit = if commit_bound {
            Some(revision.to_string())
        } else {
            certificate.and_then(|found| found.commit.clone())
        };
        Some(Self {
            require: kind.as_str().to_owned(),
            subject: examined.digest.to_string(),
            platform: examined.platform.map(ToString::to_string),
            bundle: winner.blob.to_string(),
            predicate_type: judged.predicate_type.clone(),
            signer: certificate.and_then(|found| found.identity.clone()),
            issuer: certificate.and_then(|found| found.issuer.clone()),
            source: certificate.and_then(|found| found.source.clone()),
            commit,
            commit_bound,
            runner: certificate.and_then(|found| found.runner.clone()),
            key: proof.key.map(|key| key.to_string()),
            root: proof.root.clone(),
            time: proof.time.clone(),
            log: proof.log.as_ref().map(|log| LogRow {
                url: log.url.clone(),
                index: log.index,
            }),
        })
    }
}
