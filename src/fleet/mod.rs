//! One set for many repositories: the list of the repositories, the keys of their own configurations
//! that are obeyed, and the reports of shards.
//!
//! Nothing here sends a request or writes a file: documents and verdicts only.

mod close;
mod identity;
mod line;
mod list;
mod merge;
mod own;
mod table;

pub use close::{CloseDocument, CloseOutcome, CloseRow, ClosedPull, close_summary, close_table};
pub use identity::config_sha256;
pub use line::{FleetLine, FleetOutcome, FleetRow, LineCheck, LinePullRequest, ShardRun, deciding};
pub use list::{FleetList, ListEntry, shard_of};
pub use merge::{FleetDocument, Merger};
pub use own::{Disobeyed, Member, ObeyedConfig, obeyed};
pub use table::{FleetCause, summary, table};
