//! One file for each command: gather, decide, act, report.

pub(super) mod branch;
pub(super) mod check;
pub(super) mod doctor;
pub(super) mod documents;
pub(super) mod explain;
pub(super) mod fleet;
pub(super) mod freshness;
pub(super) mod gates;
pub(super) mod history;
pub(super) mod init;
pub(super) mod inventory;
pub(super) mod promote;
pub(super) mod prune;
pub(super) mod recover;
pub(super) mod resolve;
pub(super) mod rollback;
pub(super) mod scan;
pub(super) mod set;
mod sets;
pub(super) mod status;
pub(super) mod trust;
pub(super) mod wait;
