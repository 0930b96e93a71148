//! The files of a commit, page by page.

use serde::Deserialize;

use crate::{
    error::Error,
    forge::{
        Entry,
        fleet::FileListing,
        http::{Http, Request},
    },
};

/// Entries of a page; servers have their own limit.
pub(super) const FILES: usize = 1000;

/// The files of a commit, and which commit that is.
pub(super) struct Listed {
    pub(super) commit: String,
    pub(super) files: FileListing,
}

#[derive(Deserialize)]
struct TreeRow {
    sha: String,
    #[serde(default)]
    truncated: bool,
    // A tree without entries is null.
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
    /// The files that `request` lists, at most so many pages of them; `None`: what it names does not
    /// exist.
    pub(super) async fn gitea_files(
        &self,
        request: &Request,
        pages: usize,
    ) -> Result<Option<Listed>, Error> {
        let mut listed = Listed {
            commit: String::new(),
            files: FileListing::default(),
        };
        for page in 1..=pages {
            let request = request
                .clone()
                .query("recursive", true)
                .query("page", page)
                .query("per_page", FILES);
            let reply = self.send(&request).await?;
            // What is no object is a bad request for some versions.
            if page == 1 && matches!(reply.status.as_u16(), 400 | 404 | 409) {
                return Ok(None);
            }
            let row: TreeRow = reply.expect(&[200])?;
            if page > 1 && listed.commit != row.sha {
                let reason = "the listing changed while it was read";
                return Err(Error::unavailable(&request.what, reason));
            }
            listed.commit = row.sha;
            let entries = row.tree.unwrap_or_default();
            let nothing = entries.is_empty();
            for entry in entries.into_iter().filter(|entry| entry.kind != "tree") {
                if let Some(size) = entry.size {
                    listed.files.sizes.insert(entry.sha.clone(), size);
                }
                let (mode, id) = (entry.mode, entry.sha);
                let entries = &mut listed.files.tree.entries;
                entries.insert(entry.path, Entry { mode, id });
            }
            if !row.truncated {
                return Ok(Some(listed));
            }
            if nothing {
                break;
            }
        }
        listed.files.truncated = true;
        Ok(Some(listed))
    }
}
