//! What names an image and its bytes, parsed once and never re-parsed.
//!
//! A value of one of these types cannot be built wrong; text enters here and leaves through
//! `Display`. Nothing here reads files, networks or configuration.

mod digest;
pub mod document;
mod platform;
mod reference;
mod repository;
mod revision;
mod tag;

pub(crate) use digest::decode_hex;
pub use digest::{Digest, DigestError, Hasher, is_hex};
pub use document::{
    DOCUMENT_MAX, Descriptor, INDEX_TYPES, ImageConfig, ImageManifest, Index, LISTING_MAX,
    MANIFEST_TYPES, Manifest, RawManifest, TagOrDigest, Verified,
};
pub use platform::Platform;
pub use reference::{Reference, ReferenceError, signed_repository};
pub use repository::{Absence, Repository, RepositoryError};
pub use revision::{Pattern, PatternError, Revision, RevisionError};
pub use tag::{Tag, TagError};
