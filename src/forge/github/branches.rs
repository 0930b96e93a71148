//! Branches and commits by their names, and listings of files for fleets.

use std::collections::{BTreeMap, HashMap};

use reqwest::Method;
use serde::Deserialize;

use super::Github;
use crate::{
    base::error::Error,
    forge::fleet::{FileListing, Head},
    git::{Tree, TreeEntry},
};

#[derive(Deserialize)]
pub(super) struct ObjectRow {
    pub(super) sha: String,
}

#[derive(Deserialize)]
pub(super) struct TreeRow {
    sha: String,
    #[serde(default)]
    truncated: bool,
    tree: Vec<EntryRow>,
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

impl Github {
    pub(crate) async fn branch(&self, name: &str) -> Result<Option<String>, Error> {
        let what = format!("reading the branch {name}");
        let request = self.request(Method::GET, &format!("branches/{name}"), what);
        let branch: Option<BranchRow> = self.http.find(&request, &[404]).await?;
        Ok(branch.map(|branch| branch.commit.sha))
    }

    pub(crate) async fn commit(&self, reference: &str) -> Result<Option<String>, Error> {
        let what = format!("looking up {reference}");
        let request = self.request(Method::GET, &format!("commits/{reference}"), what);
        let commit: Option<ObjectRow> = self.http.find(&request, &[404, 422]).await?;
        Ok(commit.map(|commit| commit.sha))
    }
}

#[derive(Deserialize)]
struct BranchRow {
    commit: ObjectRow,
}

/// The path of a tree, by its id if that is known.
pub(super) fn tree_path(head: &Head) -> String {
    let id = if head.tree.is_empty() {
        &head.commit
    } else {
        &head.tree
    };
    format!("git/trees/{id}")
}

pub(super) fn listing(row: TreeRow) -> FileListing {
    let mut listing = FileListing {
        tree: Tree {
            id: row.sha,
            entries: BTreeMap::new(),
        },
        sizes: HashMap::new(),
        truncated: row.truncated,
    };
    for row in row.tree.into_iter().filter(|row| row.kind != "tree") {
        if let Some(size) = row.size {
            listing.sizes.insert(row.sha.clone(), size);
        }
        let (mode, id) = (row.mode, row.sha);
        listing
            .tree
            .entries
            .insert(row.path, TreeEntry { mode, id });
    }
    listing
}
