//! repin moves a set of container images from one verified build to another.
pub mod apply;
pub mod checks;
pub mod config;
pub mod facts;
pub mod files;
pub mod image;
pub mod pins;
pub mod plan;
pub mod report;
pub mod source;
