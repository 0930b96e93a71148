//! A repository in memory, for unit tests.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use async_trait::async_trait;

use crate::{
    error::Error,
    forge::{
        AheadCommits, BranchState, Branches, Comparison, Entry, Head, NewCommit, PublishOutcome,
        Tree,
    },
};

/// Commits by their names. The name of a content is the content itself.
#[derive(Default)]
pub(super) struct Trees {
    pub(super) of: BTreeMap<String, Tree>,
    /// The contents that were requested.
    pub(super) asked: RefCell<BTreeSet<String>>,
    /// Every branch's head.
    pub(super) head: String,
    /// Every branch's comparison with its base.
    pub(super) ahead: Option<AheadCommits>,
}

#[async_trait(?Send)]
impl Branches for Trees {
    async fn tree(&self, head: &Head) -> Result<Tree, Error> {
        Ok(self.of[&head.commit].clone())
    }

    async fn blobs(&self, ids: &[String]) -> Result<Vec<Vec<u8>>, Error> {
        for id in ids {
            assert!(self.asked.borrow_mut().insert(id.clone()), "{id} again");
        }
        Ok(ids.iter().map(|id| id.clone().into_bytes()).collect())
    }

    async fn branch(&self, name: &str) -> Result<Option<Head>, Error> {
        assert_eq!(name, "main");
        Ok(Some(Head::of_commit(&self.head)))
    }

    async fn commit(&self, reference: &str) -> Result<Option<String>, Error> {
        panic!("commit {reference}")
    }

    async fn ahead(&self, _: &str, _: &Head, _: &str, _: bool) -> Result<Comparison, Error> {
        let ahead = self.ahead.clone();
        Ok(ahead.map_or(Comparison::Absent, Comparison::Related))
    }

    async fn publish(
        &self,
        _: &NewCommit<'_>,
        _: &str,
        _: &BranchState,
    ) -> Result<PublishOutcome, Error> {
        panic!("publish")
    }

    async fn rebuilding_closes(&self, _: &BranchState) -> Result<bool, Error> {
        panic!("rebuilding")
    }
}

impl Trees {
    /// A commit with these files, and with a symlink that looks like a pin.
    pub(super) fn with(mut self, commit: &str, files: &[(&str, &str)]) -> Self {
        let link = Entry {
            mode: "120000".to_owned(),
            id: "x@1".to_owned(),
        };
        let file = |(path, text): &(&str, &str)| {
            let entry = Entry {
                mode: "100644".to_owned(),
                id: (*text).to_owned(),
            };
            ((*path).to_owned(), entry)
        };
        let mut entries: BTreeMap<_, _> = files.iter().map(file).collect();
        entries.entry("link".to_owned()).or_insert(link);
        let id = String::new();
        self.of.insert(commit.to_owned(), Tree { id, entries });
        self
    }

    pub(super) fn with_mode(mut self, commit: &str, path: &str, mode: &str) -> Self {
        let tree = self.of.get_mut(commit).unwrap();
        mode.clone_into(&mut tree.entries.get_mut(path).unwrap().mode);
        self
    }
}
