//! One set for many repositories: the set as a file that shards believe by its hash.
//!
//! Nothing here asks a registry or a forge, and nothing is written: documents and verdicts only.

mod identity;
mod set;

pub use identity::config_sha256;
pub use set::{SetDocument, SetImage, VerifiedImages};
