//! Signatures and attestations: bytes in, verdict out.
//!
//! A candidate is a bundle, or a signature by an older cosign, that is attached to an image (`search`).
//! It is refused if its form is ambiguous (`bundle`), verified within one trusted root ([`Root`]), and
//! compared with the signers of the configuration ([`Policy`]). Verification contacts no server: the
//! roots are files or built in. Only `tuf` fetches roots, for `repin trust update`. Only this module
//! uses the verifier, sigstore-verify.

mod built_in;
mod bundle;
mod claim;
mod cosign;
mod difference;
mod json;
mod key;
mod policy;
mod proof;
mod provider;
mod root;
mod rules;
mod search;
mod tuf;
mod unknown_authority;

pub(crate) use built_in::{BUILT_IN_DATE, BUILT_IN_SOURCE, BuiltIn};
pub(crate) use claim::SignedName;
pub(crate) use difference::{Change, RootEntry, difference};
pub(crate) use key::PublicKey;
pub(crate) use policy::{Binding, Policy, PolicyResult, Subject, Verdict};
pub(crate) use proof::{Certificate, Proof, RootGap};
pub(crate) use root::Root;
pub(crate) use rules::{
    CommitBinding, IdentityRule, LogRule, Requirement, RootKind, RootSource, Runner, SignedSubject,
    Signer, SignerIdentity, Since, SubjectName, Triggers, Verify,
};
pub(crate) use search::{Candidate, SearchExtent, SearchResult, search, search_predicates};
pub(crate) use tuf::{Mirror, current_root};
#[cfg(any(test, fuzzing))]
pub(crate) use {cosign::CosignLayer, policy::Attachment};

#[cfg(test)]
mod tests;
