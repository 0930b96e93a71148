//! Pins: occurrences of a configured image by digest, found and replaced in bytes.
//!
//! A whole pin is `REPOSITORY[:TAG]@sha256:<64 lowercase hex>` whose repository is a configured one as
//! a whole. The text around it is never parsed, so a pin in a comment is a pin. A split pin is a
//! digest that does not stand behind its repository: `places` finds those where the configuration says
//! that they may stand. Every other byte of a file stays what it was. Nothing here decides whether the
//! pins found are right: that is for `checks`.

mod chunk;
mod digests;
pub mod discover;
mod find;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod mentions;
mod outside;
mod places;
mod replace;
mod scan;
mod sweep;
mod versions;

pub use find::{Found, Located, find};
pub use mentions::{Mention, mentions};
pub use outside::{Lookout, Sight, Sighting, Unpinned};
pub(crate) use places::KUSTOMIZE;
pub use places::{FileScanner, Looking, read_in_ways};
pub use replace::{Replacement, outline, reads_alike, replace};
pub use scan::{Finder, Malformed, Pin, Refused, Scan, Split, TagEdit, Twice};
pub use sweep::{Beside, Layouts, Rest, Searches, find_in, sweep};
pub use versions::VersionComment;
