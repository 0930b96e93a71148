//! repin moves a set of container images from one verified build to another.
pub mod config;
pub mod files;
pub mod image;
pub mod pins;
pub mod plan;
pub mod source;
