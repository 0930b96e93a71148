//! Facts: what sources and history say, gathered and never judged.

pub mod labels;
pub mod resolve;
