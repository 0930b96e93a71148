//! One set for many repositories: the list of the repositories, the keys that a fleet accepts from their
//! own configurations, and the reports of shards.
//!
//! This module sends no request and writes no file: it contains documents and verdicts only.

mod list;
mod member_config;
mod report;
mod report_line;
mod report_table;

pub(crate) use list::{FleetList, ListEntry, shard_of};
pub(crate) use member_config::{
    MemberBase, MemberConfig, MemberRefusal, config_sha256, member_config,
};
pub(crate) use report::{
    CloseDocument, CloseRow, ClosedPull, FleetDocument, Merger, close_summary, close_table,
};
pub(crate) use report_line::{
    Cost, FleetLine, FleetOutcome, FleetRow, LineCheck, PinFacts, Report, ShardRun,
};
pub(crate) use report_table::{FleetCause, summary, table};
