//! One set for many repositories: the set as a file that shards believe by its hash, the list of the
//! repositories, what is obeyed of their own configurations, and the reports of shards.
//!
//! Nothing here asks a registry or a forge, and nothing is written: documents and verdicts only.

mod believed;
mod close;
mod identity;
mod line;
mod list;
mod merge;
mod own;
mod set;
mod table;

pub use believed::{BelievedImage, BelievedSet, Expectation};
pub use close::{CloseDocument, CloseOutcome, CloseRow, ClosedPull, close_summary, close_table};
pub use identity::config_sha256;
pub use line::{FleetLine, FleetOutcome, FleetRow, LineCheck, LinePullRequest, ShardRun, deciding};
pub use list::{FleetList, ListEntry, shard_of};
pub use merge::{FleetDocument, Merger};
pub use own::{Disobeyed, Member, ObeyedConfig, obeyed};
pub use set::{SetDocument, SetImage, VerifiedImages};
pub use table::{FleetCause, summary, table};
