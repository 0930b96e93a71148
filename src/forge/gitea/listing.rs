//! The files of a commit, read page by page.

use serde::Deserialize;

use crate::{
    base::error::Error,
    forge::{
        TreeEntry,
        fleet::FileListing,
        http::{Http, Request},
    },
};

/// The requested size of a page; servers may return smaller ones.
pub(super) const PAGE: usize = 1000;

/// The files of a commit, and its id.
pub(super) struct CommitListing {
    pub(super) commit: String,
    pub(super) files: FileListing,
}

#[derive(Deserialize)]
struct TreeRow {
    sha: String,
    #[serde(default)]
    truncated: bool,
    // An empty tree is null.
    tree: Option<Vec<EntryRow>>,
}

#[derive(Deserialize)]
struct EntryRow {
    path: String,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    sha: String,
    size: Option<u64>,
}

impl Http {
    /// The files that `request` lists, at most `pages` pages of them; `None` if the commit or branch
    /// does not exist.
    pub(super) async fn gitea_files(
        &self,
        request: &Request,
        pages: usize,
    ) -> Result<Option<CommitListing>, Error> {
        let mut listing = CommitListing {
            commit: String::new(),
            files: FileListing::default(),
        };
        for page in 1..=pages {
            let request = request
                .clone()
                .query("recursive", true)
                .query("page", page)
                .query("per_page", PAGE);
            let reply = self.send(&request).await?;
            // Some versions respond 400 or 409 for a missing object.
            if page == 1 && matches!(reply.status.as_u16(), 400 | 404 | 409) {
                return Ok(None);
            }
            let row: TreeRow = reply.expect(&[200])?;
            if page > 1 && listing.commit != row.sha {
                let reason = "the listing changed while it was read";
                return Err(Error::unavailable(&request.what, reason));
            }
            listing.commit = row.sha;
            let entries = row.tree.unwrap_or_default();
            let is_empty = entries.is_empty();
            for entry in entries.into_iter().filter(|entry| entry.kind != "tree") {
                if let Some(size) = entry.size {
                    listing.files.sizes.insert(entry.sha.clone(), size);
                }
                let (mode, id) = (entry.mode, entry.sha);
                let entries = &mut listing.files.tree.entries;
                entries.insert(entry.path, TreeEntry { mode, id });
            }
            if !row.truncated {
                return Ok(Some(listing));
            }
            if is_empty {
                break;
            }
        }
        listing.files.truncated = true;
        Ok(Some(listing))
    }
}
