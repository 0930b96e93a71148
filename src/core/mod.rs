//! Pins, their history, and the rules that decide about them: found, judged, planned and applied.
//!
//! Knows no forge, and writes no text for people. Its parts, each of which uses only those before it:
//!
//! - [`pins`]: pins found and replaced; `places/` reads split pins; digests in files of any size;
//! - [`configurations`]: the configuration files of a repository, and the pins that they count;
//! - [`outside`]: digests in tracked files that no rule counts, and pins that two sets count;
//! - [`history`]: sets in git history: provenance, order, holds;
//! - [`builds`]: the builds in the registry: selected, ordered, with their states;
//! - [`freshness`]: pinned references to other repositories;
//! - [`smoke`]: the smoke command in a container engine;
//! - [`changes`]: the differences of two sets as data: commits, images, contents;
//! - [`checks`]: facts become verdicts; only a finished chain, or a document with a checked hash, ends in `Approved`;
//! - [`plan`]: an approved set and its pins become new contents, counted again;
//! - [`apply`]: lock, journal, exchange, recovery.

pub(crate) mod apply;
pub(crate) mod builds;
pub(crate) mod changes;
pub(crate) mod checks;
pub(crate) mod configurations;
pub(crate) mod freshness;
pub(crate) mod history;
pub(crate) mod outside;
pub(crate) mod pins;
pub(crate) mod plan;
pub(crate) mod smoke;
