//! Pins: occurrences of a configured image by digest, found and replaced in bytes.
//!
//! A pin is `REPOSITORY[:TAG]@sha256:<64 lowercase hex>` whose repository is a configured one as a
//! whole. The text around it is never parsed, so a pin in a comment is a pin, and every other byte
//! of a file stays what it was. Nothing here decides whether the pins found are right: that is for
//! `checks`.

mod chunk;
mod digests;
pub mod discover;
mod find;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod mentions;
mod outside;
mod replace;
mod scan;
mod sweep;

pub use find::{Found, Located, find};
pub use mentions::{Mention, mentions};
pub use outside::{Lookout, Sight, Sighting, Unpinned};
pub use replace::{Replacement, replace};
pub use scan::{Finder, Malformed, Pin, Scan};
pub use sweep::{Beside, Foreign, Rest, Searches, sweep};
