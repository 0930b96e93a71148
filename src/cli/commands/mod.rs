//! One file a command: gather, decide, act, report.

pub(super) mod branch;
pub(super) mod check;
mod content;
pub(super) mod doctor;
pub(super) mod documents;
pub(super) mod freshness;
pub(super) mod gates;
mod globs;
pub(super) mod history;
pub(super) mod init;
pub(super) mod inventory;
mod past;
pub(super) mod promote;
pub(super) mod prune;
pub(super) mod recover;
pub(super) mod resolve;
pub(super) mod rollback;
pub(super) mod scan;
mod set;
pub(super) mod wait;
