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

pub(crate) use close_report::{CloseDocument, CloseRow, ClosedPull, close_summary, close_table};
pub(crate) use config_hash::config_sha256;
pub(crate) use list::{FleetList, ListEntry, shard_of};
pub(crate) use member_config::{Member, MemberConfig, MemberRefusal, member_config};
pub(crate) use merged_report::{FleetDocument, Merger};
pub(crate) use report_line::{
    FleetLine, FleetOutcome, FleetRow, LineCheck, LinePullRequest, ShardRun,
};
pub(crate) use report_table::{FleetCause, summary, table};
