//! The contents of reports: the block `report`.

use super::{
    keys::{block, choices},
    types::Text,
};
use crate::base::files::RelPath;

block! {
    /// The contents of reports.
    pub struct Report {
        /// Labels shown for each image, in this order.
        labels: Vec<Text> = [],
        /// A Jinja template for the pull request body; its variables are the fields of
        /// repin.plan/1.
        template: Option<RelPath>,
        /// The differences of the current set and the new one that the pull request body shows:
        /// `none`, `source` (the commits), `images` (the commits and the images), or `contents`
        /// (also the packages, privileged files and inventory entries in the images). Absent:
        /// `contents` if images have an inventory or a contract, otherwise `images`.
        changes: Option<ChangeParts>,
    }
}

choices! {
    pub enum ChangeParts {
        None = "none",
        Source = "source",
        Images = "images",
        Contents = "contents",
    }
}
