//! Facts: what sources and history say, gathered and never judged.

pub mod freshness;
pub mod git;
pub mod history;
pub mod inventory;
pub mod labels;
pub mod outside;
pub mod resolve;
pub mod smoke;
pub mod tree;
pub mod user;
