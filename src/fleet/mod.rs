//! One set for many repositories: the set as a file that shards believe by its hash, the list of the
//! repositories, and the reports of shards.
//!
//! Nothing here asks a registry or a forge, and nothing is written: documents and verdicts only.

mod identity;
mod line;
mod list;
mod merge;
mod set;
mod table;

pub use identity::config_sha256;
pub use line::{FleetLine, FleetOutcome, FleetRow};
pub use list::{FleetList, ListEntry, shard_of};
pub use merge::{FleetDocument, Merger};
pub use set::{SetDocument, SetImage, VerifiedImages};
pub use table::{FleetCause, summary, table};
