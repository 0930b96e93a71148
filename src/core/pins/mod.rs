//! Pins: occurrences of a configured image by digest, found and replaced in bytes.
//!
//! A whole pin is `REPOSITORY[:TAG]@sha256:<64 lowercase hex>` with exactly the repository of an image.
//! The text around it is not parsed, so a pin in a comment is a pin; `reference` removes what touches it, and
//! `embedded` finds the names that cannot be moved safely. A split pin is a digest that does
//! not directly follow its repository: `places` finds these where the configuration allows them.
//! A replacement keeps every other byte of a file. Whether the pins are right is decided in `checks`.
//!
//! [`find()`] is the only search through the files of a configuration; a file of a past commit is
//! searched by [`FileScanner`]. [`OtherDigestFinder`], [`MentionFinder`] and [`mentions()`] find digests
//! and tags in files of any size.

mod digests;
pub(crate) mod discover;
mod embedded;
mod find;
#[cfg(any(test, fuzzing))]
#[path = "../../../fuzz/properties/pins.rs"]
pub(crate) mod fuzzing;
mod lines;
mod mentions;
mod occurrences;
mod other_digests;
mod places;
mod reference;
mod replace;
mod scan;
pub(crate) mod unpinned;
mod version_comments;

pub(crate) use find::{FoundPins, Located, find};
pub(crate) use lines::{MAX_PINNED_FILE, WholeFile, read_whole};
pub(crate) use mentions::ImageNames;
pub(crate) use mentions::{Mention, MentionFinder, Mentions, TagMention, mentions};
pub(crate) use occurrences::{Occurrence, OccurrenceKind};
pub(crate) use other_digests::{OtherDigestFinder, OtherPlaces};
pub(crate) use places::{FilePlaces, FileScanner, STANDARD_PLACES};
pub(crate) use replace::{Replacement, outline, reads_alike, replace};
pub(crate) use scan::{Finder, Malformed, Met, Pin, PlacePart, Refused, Scan};
