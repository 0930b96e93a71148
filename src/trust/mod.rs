//! Signatures and attestations: bytes in, verdict out.
//!
//! A candidate is a bundle, or a signature by an older cosign, that is attached to an image (`search`).
//! It is refused if its form is ambiguous (`bundle`), verified within one trusted root ([`Root`]), and
//! compared with the signers of the configuration ([`Policy`]). Verification contacts no server: the
//! roots are files or built in. Only `root` fetches roots, for `repin trust update`. Only this module
//! uses the verifier, sigstore-verify.

mod bundle;
mod claim;
mod difference;
mod json;
mod policy;
mod provider;
mod root;
mod rules;
mod search;
mod unknown_authority;

pub(crate) use bundle::PublicKey;
pub(crate) use claim::{Certificate, LogEntry, Proof, RootGap, SignedName};
pub(crate) use difference::{Change, difference};
pub(crate) use policy::{Binding, Policy, PolicyResult, Subject, Verdict};
pub(crate) use root::{BUILT_IN_DATE, BUILT_IN_SOURCE, BuiltIn, Mirror, Root, current_root};
pub(crate) use rules::{
    CommitBinding, IdentityRule, LogRule, Requirement, RootKind, RootSource, Runner, SignedSubject,
    Signer, SignerIdentity, Since, SubjectName, Triggers, Verify,
};
pub(crate) use search::{JudgedSignature, SearchExtent, SearchResult, search, search_predicates};
#[cfg(any(test, fuzzing))]
pub(crate) use {bundle::CosignLayer, policy::Attachment};

#[cfg(test)]
mod tests;
