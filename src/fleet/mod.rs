//! One set for many repositories: the list of the repositories, the keys that a fleet accepts from their
//! own configurations, and the reports of shards.
//!
//! This module sends no request and writes no file: it contains documents and verdicts only.

mod close_report;
mod config_hash;
mod list;
mod member_config;
mod merged_report;
mod report_line;
mod report_table;

pub use close_report::{
    CloseDocument, CloseOutcome, CloseRow, ClosedPull, close_summary, close_table,
};
pub use config_hash::config_sha256;
pub use list::{FleetList, ListEntry, shard_of};
pub use member_config::{Member, MemberConfig, MemberRefusal, member_config};
pub use merged_report::{FleetDocument, Merger};
pub use report_line::{
    FleetLine, FleetOutcome, FleetRow, LineCheck, LinePullRequest, ShardRun, worst_errors,
};
pub use report_table::{FleetCause, summary, table};
