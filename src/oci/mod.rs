//! References to images and their documents (OCI image and distribution specifications).
//!
//! Each type is parsed once and always valid; `Display` writes it. Only [`registry`] has access to files and networks.

mod artifact;
pub(crate) mod date;
pub(crate) mod document;
mod platform;
mod reference;
pub(crate) mod registry;
mod repository;
mod revision;

pub(crate) use artifact::CONFIG_TYPES;
pub(crate) use document::{
    Descriptor, INDEX_TYPES, ImageConfig, ImageManifest, MANIFEST_TYPES, MAX_DOCUMENT, MAX_LISTING,
    Manifest, RawManifest, TagOrDigest, Verified,
};
pub(crate) use platform::{Platform, RuntimeConfig};
pub(crate) use reference::{
    Digest, Hasher, Reference, ReferenceError, Tag, TagError, TagPattern, signed_repository,
};
pub(crate) use repository::{Repository, RepositoryError, canonical_host, host_spellings};
pub(crate) use revision::{Pattern, PatternError, Revision};
