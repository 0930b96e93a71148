//! The names and documents of images (OCI image and distribution specifications).
//!
//! Each type is parsed once and always valid; `Display` writes it. Nothing here reads files,
//! networks or configuration.

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
