//! Reading: the repository, branches, trees, contents, and what a branch has that another has not.

use reqwest::Method;
use serde::Deserialize;

use super::Gitea;
use crate::forge::{Ahead, Commit, Entry, Error, Head, Repo, Tree, http::PAGES_MAX};

#[derive(Deserialize)]
struct Repository {
    full_name: String,
    default_branch: String,
    #[serde(default)]
    private: bool,
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    #[serde(default)]
    push: bool,
}

#[derive(Deserialize)]
struct Branch {
    commit: BranchCommit,
}

#[derive(Deserialize)]
struct BranchCommit {
    id: String,
}

#[derive(Deserialize)]
struct Listing {
    sha: String,
    #[serde(default)]
    truncated: bool,
    // A tree without entries is null.
    tree: Option<Vec<Listed>>,
}

#[derive(Deserialize)]
struct Listed {
    path: String,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    sha: String,
}

#[derive(Deserialize)]
struct Comparison {
    total_commits: usize,
    commits: Option<Vec<Compared>>,
}

#[derive(Deserialize)]
struct Compared {
    sha: String,
    commit: Message,
    #[serde(default)]
    parents: Vec<Named>,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
struct Named {
    sha: String,
}

impl Gitea {
    pub(super) async fn read_repository(&self) -> Result<Repo, Error> {
        let what = format!("reading the repository {}", self.full_name());
        let reply = self
            .http
            .repository(&self.request(Method::GET, "", what))
            .await?;
        let repository: Repository = reply.expect(&[200])?;
        Ok(Repo {
            full_name: repository.full_name,
            default_branch: repository.default_branch,
            node: String::new(),
            may_push: repository.permissions.map(|permissions| permissions.push),
            scopes: None,
            public: !repository.private,
        })
    }

    pub(super) async fn read_branch(&self, name: &str) -> Result<Option<Head>, Error> {
        let what = format!("reading the branch {name}");
        let request = self.request(Method::GET, &format!("branches/{name}"), what);
        let branch: Option<Branch> = self.http.find(&request, &[404]).await?;
        Ok(branch.map(|branch| Head {
            commit: branch.commit.id,
            tree: String::new(),
        }))
    }

    pub(super) async fn read_tree(&self, commit: &str) -> Result<Tree, Error> {
        if let Some(tree) = self.trees.borrow().get(commit) {
            return Ok(tree.clone());
        }
        let request = self.request(
            Method::GET,
            &format!("git/trees/{commit}"),
            format!("listing the files of {commit}"),
        );
        let mut tree = Tree::default();
        for page in 1..=PAGES_MAX {
            let page = request
                .clone()
                .query("recursive", true)
                .query("page", page)
                .query("per_page", 1000);
            let listing: Listing = self.http.send(&page).await?.expect(&[200])?;
            let files = listing.tree.unwrap_or_default();
            let nothing = files.is_empty();
            tree.id = listing.sha;
            let files = files.into_iter().filter(|entry| entry.kind != "tree");
            tree.entries.extend(files.map(|entry| {
                (
                    entry.path,
                    Entry {
                        mode: entry.mode,
                        id: entry.sha,
                    },
                )
            }));
            if !listing.truncated {
                self.trees
                    .borrow_mut()
                    .insert(commit.to_owned(), tree.clone());
                return Ok(tree);
            }
            if nothing {
                break;
            }
        }
        Err(Error::unavailable(
            &request.what,
            "the listing does not come to an end",
        ))
    }

    pub(super) async fn read_blob(&self, id: &str) -> Result<Vec<u8>, Error> {
        let request = self.request(
            Method::GET,
            &format!("git/blobs/{id}"),
            format!("reading the content {id}"),
        );
        self.http.content(&request, id).await
    }

    pub(super) async fn compare(&self, base: &str, branch: &str) -> Result<Option<Ahead>, Error> {
        let path = format!("compare/{base}...{branch}");
        let request = self.request(
            Method::GET,
            &path,
            format!("comparing {branch} with its base"),
        );
        let reply = self.http.send(&request).await?;
        if reply.status == 404 {
            return Ok(None);
        }
        let comparison: Comparison = reply.expect(&[200])?;
        let commits = comparison.commits.unwrap_or_default();
        if commits.len() != comparison.total_commits {
            return Err(Error::unavailable(
                &request.what,
                "its list of commits is not complete",
            ));
        }
        // The newest comes first.
        let (Some(newest), Some(oldest)) = (commits.first(), commits.last()) else {
            let Some(head) = self.read_branch(branch).await? else {
                return Ok(None);
            };
            let (head, merge_base) = (head.commit.clone(), head.commit);
            return Ok(Some(Ahead {
                head,
                merge_base,
                commits: Vec::new(),
                changed: std::collections::BTreeMap::new(),
            }));
        };
        let parent = oldest.parents.first().map(|parent| parent.sha.clone());
        let merge_base = parent
            .ok_or_else(|| Error::unavailable(&request.what, "a commit on it has no parent"))?;
        let changed = self
            .read_tree(&merge_base)
            .await?
            .changes_to(&self.read_tree(&newest.sha).await?);
        let head = newest.sha.clone();
        let mut commits: Vec<_> = commits
            .into_iter()
            .map(|commit| Commit {
                id: commit.sha,
                message: commit.commit.message,
            })
            .collect();
        commits.reverse();
        Ok(Some(Ahead {
            head,
            merge_base,
            commits,
            changed,
        }))
    }
}
