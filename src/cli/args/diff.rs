//! Arguments of `repin diff`.

use clap::Args;

use super::{images, revisions};

pub(super) const EXAMPLES: &str = "\
A SET is a revision, a commit that records a set, or `current`: the pinned set. A revision that history records selects the \
digests that were pinned then; any other revision selects its tags. Without options, the two newest sets in history are \
compared. The exit code is 0 whether or not the sets differ; parts that cannot be read are listed.

Examples:
  repin diff                                # the latest promotion or rollback
  repin diff --revision 4f2a…               # the changes that a promotion would bring
  repin diff --from 4f2a… --to current app  # one image
  repin diff --format json | jq '.source.added.commits[].subject'";

#[derive(Debug, Args)]
pub(in crate::cli) struct Diff {
    /// Compare the current set with the images of this revision
    #[arg(
        short,
        long,
        value_name = "REV",
        allow_hyphen_values = true,
        conflicts_with_all = ["from", "to"],
        add = revisions()
    )]
    pub(in crate::cli) revision: Option<String>,
    /// The old set
    #[arg(long, value_name = "SET", requires = "to", allow_hyphen_values = true, add = revisions())]
    pub(in crate::cli) from: Option<String>,
    /// The new set
    #[arg(long, value_name = "SET", requires = "from", allow_hyphen_values = true, add = revisions())]
    pub(in crate::cli) to: Option<String>,
    /// Compare the contents of the images too: packages, privileged files and inventory names
    #[arg(long)]
    pub(in crate::cli) contents: bool,
    /// Images to compare [default: all]
    #[arg(value_name = "IMAGE", add = images())]
    pub(in crate::cli) images: Vec<String>,
}
