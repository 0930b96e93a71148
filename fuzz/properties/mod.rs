//! Properties of any input, one function for each fuzz target.
//!
//! A function takes any bytes and panics if a property does not hold: a round trip, an oracle that
//! shares no code with the program, a limit, an exact byte. The targets of `fuzz/fuzz_targets` call
//! nothing else, and a test per target feeds the checked-in corpus to the same function.
//!
//! These files are modules of the library, compiled for tests and under `cfg(fuzzing)`, which
//! cargo-fuzz sets. A file that tests internals is a child of their module, so that no internal has
//! to be public.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a panic is the finding"
)]

mod contents;
#[cfg(test)]
mod corpora;
mod documents;
mod escapes;
mod forge;
mod layers;
mod names;
mod sets;
mod trust;
mod yaml;

pub use crate::{
    core::{
        apply::fuzzing::journal,
        pins::fuzzing::{digests, places, scanner},
    },
    git::fuzzing::git_log,
    oci::registry::remote::fuzzing::{challenge, link},
};
pub use contents::{packages, sboms};
pub use documents::documents;
pub use escapes::escapes;
pub use forge::forge;
pub use layers::layers;
pub use names::{references, templates};
pub use sets::{markers, tags, trailers};
pub use trust::trust;
pub use yaml::{configuration, contracts};

/// The text of an input, if it is UTF-8.
fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}
