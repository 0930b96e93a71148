//! Reports: data in, text out. Nothing here reads, decides or prints.

pub mod annotations;
pub mod body;
pub mod branch;
pub mod causes;
pub mod dates;
pub mod diff;
pub mod doctor;
pub mod explain;
pub mod json;
pub mod page;
pub mod prune;
pub mod revision;
pub mod sarif;
pub mod starter;
pub mod status;
pub mod summary;
pub mod table;
pub mod wrap;
