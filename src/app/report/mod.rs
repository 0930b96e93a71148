//! Renders data as text, without access to files, servers or the terminal.

pub(crate) mod body;
pub(crate) mod branch;
pub(crate) mod builds;
pub(crate) mod changes;
pub(crate) mod code_quality;
pub(crate) mod deployed;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod freshness;
pub(crate) mod github;
pub(crate) mod history_page;
pub(crate) mod json;
pub(crate) mod layout;
pub(crate) mod protected;
pub(crate) mod prune;
pub(crate) mod rehearsal;
pub(crate) mod sarif;
pub(crate) mod set_histories;
pub(crate) mod sets;
pub(crate) mod starter;
pub(crate) mod status;
pub(crate) mod words;
