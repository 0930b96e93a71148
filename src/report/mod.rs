//! Reports: data in, text out. This module reads nothing, decides nothing and prints nothing.

pub mod body;
pub mod branch;
pub mod causes;
pub mod dates;
pub mod diff;
pub mod doctor;
pub mod explain;
pub mod github;
pub mod history_page;
pub mod json;
pub mod layout;
pub mod prune;
pub mod revision;
pub mod sarif;
pub mod sets;
pub mod starter;
pub mod status;
