//! Facts: what sources and history say, gathered and never judged.

pub mod git;
pub mod history;
pub mod labels;
pub mod resolve;
