//! The program. Its parts, each of which uses only those before it:
//!
//! - [`pull_request`]: one branch, one commit, one pull request;
//! - [`report`]: data in, text out;
//! - [`fleet`]: one set for many repositories, as documents: the list, the merged configurations, the reports of shards;
//! - [`workflow`]: what commands share: one engine for promotions and rollbacks at every site, services, tokens, contracts;
//! - [`cli`]: arguments, environment, terminal; one file per command.

pub mod cli;
pub(crate) mod fleet;
pub(crate) mod pull_request;
pub(crate) mod report;
pub(crate) mod workflow;
