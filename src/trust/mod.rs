//! Signatures and attestations: bytes in, verdict out.
//!
//! A candidate is a bundle, or a signature by an older cosign, that is attached to an image (`find`).
//! It is refused where its form allows two readings (`bundle`), verified within one trusted root
//! ([`Root`]), and held against the signers of the configuration ([`Policy`]). Verification contacts
//! no server: the roots are files or built in. Only `tuf` fetches roots, for `repin trust update`. The
//! verifier is sigstore-verify; this module is the only one that knows it.

mod authority;
mod built_in;
mod bundle;
mod claim;
mod cosign;
mod difference;
mod find;
mod json;
mod key;
mod policy;
mod proof;
mod provider;
mod root;
mod tuf;

pub use built_in::{BUILT_IN_DATE, BUILT_IN_SOURCE, BuiltIn};
pub use claim::SignedName;
pub use cosign::CosignLayer;
pub use difference::{Change, ChangeKind, Entry, EntryKind, difference};
pub use find::{Candidate, Examination, Search, examine};
pub use key::PublicKey;
pub use policy::{Attached, Binding, Judged, Policy, Standing, Subject};
pub use proof::{Certificate, LogEntry, Proof, Refusal, RootGap};
pub use root::{Root, RootAge};
pub use tuf::{Mirror, current_root};

#[cfg(test)]
mod tests;
