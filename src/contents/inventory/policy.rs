//! The contents that images must have, as they are configured.

use regex::bytes::Regex;

use crate::base::{files::Glob, text::words};

/// The contents that an image must have.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The directory in the image that is listed: an absolute path.
    pub root: String,
    /// Files that this user cannot read are failures; `None`: readability is not checked.
    pub user: Option<String>,
    /// Kinds of content to list, in this order.
    pub kinds: Vec<Kind>,
    /// Globs under the root, each of which must match a file.
    pub required_files: Vec<Glob>,
    /// Globs of files that must be absent from every layer.
    pub forbidden_files: Vec<Glob>,
    pub modes: Modes,
    /// Labels that every platform must have, with a value.
    pub required_labels: Vec<String>,
    /// A file in the image that must equal the contract byte for byte.
    pub embedded_contract: Option<String>,
}

/// A kind of content.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Regular expressions for paths relative to the root; the capture group is the name.
    pub paths: Vec<Regex>,
    /// Whether a contract may list forbidden entries of this kind.
    pub must_not_contain: MustNotContain,
    /// Whether at least one name is required.
    pub non_empty: bool,
    /// The name of the kind: a key of contracts and of listings.
    pub name: String,
}

/// The exact modes under the root; `None`: not checked.
#[derive(Debug, Clone)]
pub struct Modes {
    /// The mode of every directory.
    pub directories: Option<u32>,
    /// The mode of every file.
    pub files: Option<u32>,
}

words! {
    /// Whether a contract may list forbidden entries of a kind.
    pub enum MustNotContain {
        Supported = "supported",
        Unsupported = "unsupported",
    }
}
