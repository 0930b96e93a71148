//! Properties of any input, one function for each fuzz target.
//!
//! A function takes any bytes and panics if a property does not hold: a round trip, an oracle that
//! shares no code with the program, a limit, an exact byte. The targets of `fuzz/fuzz_targets` call
//! nothing else, and a test per target feeds the checked-in corpus to the same function. Compiled
//! for tests and under `cfg(fuzzing)`, which cargo-fuzz sets, so that the functions can use
//! internals that are not public.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a panic is the finding"
)]

#[cfg(test)]
pub(crate) mod conformance;
mod documents;
mod escapes;
mod forge;
mod layers;
mod names;
mod trust;
mod yaml;

pub use documents::documents;
pub use escapes::escapes;
pub use forge::forge;
pub use layers::layers;
pub use names::{references, templates};
pub use trust::trust;
pub use yaml::{configuration, contracts};

/// The scanner against a slow search.
pub fn scanner(input: &[u8]) {
    crate::pins::fuzzing::scanner(input);
}

/// Any bytes as a file of every kind of place.
pub fn places(input: &[u8]) {
    crate::pins::fuzzing::places(input);
}

/// Digests in any text against a slow search.
pub fn digests(input: &[u8]) {
    crate::pins::fuzzing::digests(input);
}

/// The journal of an interrupted run.
pub fn journal(input: &[u8]) {
    crate::apply::fuzzing::journal(input);
}

/// The output of `git log`.
pub fn git_log(input: &[u8]) {
    crate::history::fuzzing::git_log(input);
}

/// The header `Link` of a listing.
pub fn link(input: &[u8]) {
    crate::registry::remote::fuzzing::link(input);
}

/// The header `WWW-Authenticate`.
pub fn challenge(input: &[u8]) {
    crate::registry::remote::fuzzing::challenge(input);
}

/// The text of an input, if it is UTF-8.
fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

#[cfg(test)]
mod tests;
