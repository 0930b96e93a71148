//! The head, configuration and pull requests of a repository.

use super::{CommitListing, GiteaFleet, new_name, request};
use crate::{
    base::{error::Error, files::MAX_CONFIG_SIZE},
    forge::{
        Pull, Repo,
        fleet::{
            ConfigFile, FileListing, Head, RepositoryName, RepositoryState, Survey, SurveyRequest,
            SurveyedBranch,
        },
        gitea::{
            branches::{BranchRow, GitCommitRow},
            pull_requests,
            repository::{RepositoryRow, no_pull_requests},
        },
        http::{Paging, Reply, Request},
    },
    git::AheadCommit,
};
use serde::Deserialize;
use serde_json::Value;

/// The pull requests of a page: the default limit of servers.
const PULLS: usize = 50;
/// The maximum number of cached configurations.
const MAX_CONFIGS: usize = 64;

/// The first page of the pull requests of a repository.
struct PullPage {
    repository: Option<RepositoryRow>,
    pulls: Vec<Pull>,
    is_last: bool,
}

/// A response about a repository.
enum Response {
    Moved(String),
    Missing,
    Present(Reply),
}

impl GiteaFleet {
    async fn request_repository(&self, mut request: Request) -> Result<Response, Error> {
        request.handles_redirect = true;
        let reply = self.http.send(&request).await?;
        Ok(match reply.status.as_u16() {
            301 | 302 | 307 | 308 => Response::Moved(self.http.clean(&new_name(&reply))),
            // The server also sends these statuses if pull requests are disabled or no commit exists.
            404 | 409 => Response::Missing,
            _ => Response::Present(reply),
        })
    }

    pub(crate) async fn survey_one(&self, request: &SurveyRequest) -> Result<Survey, Error> {
        let repository = &request.repository;
        let pulls = match self.pulls(repository).await? {
            Response::Moved(to) => return Ok(Survey::Moved(to)),
            Response::Missing => PullPage {
                repository: None,
                pulls: Vec::new(),
                is_last: false,
            },
            Response::Present(reply) => pull_page(&reply, repository)?,
        };
        let row = if let Some(row) = pulls.repository {
            row
        } else {
            let request = super::request(repository, "", "reading the state");
            match self.request_repository(request).await? {
                Response::Moved(to) => return Ok(Survey::Moved(to)),
                Response::Missing => return Ok(Survey::Missing),
                Response::Present(reply) => reply.expect(&[200])?,
            }
        };
        // A renamed organization is followed silently.
        if !repository.is(&row.full_name) {
            return Ok(Survey::Moved(row.full_name));
        }
        row.check_server(&self.http).await?;
        if row.archived {
            return Ok(Survey::Archived);
        }
        if row.empty {
            return Ok(Survey::Empty);
        }
        if row.has_pull_requests == Some(false) {
            return Ok(Survey::Failed(no_pull_requests(&row.full_name)));
        }
        let repo = Repo::from(row);
        let base = request
            .base
            .as_ref()
            .unwrap_or(&repo.default_branch)
            .clone();
        let Some(listing) = self.list_branch(repository, &base).await? else {
            return Ok(Survey::NoBase(base));
        };
        let config = self
            .config(repository, &request.config, &listing.files)
            .await?;
        let newest_pull = pulls.pulls.iter().map(|pull| pull.number).max();
        let (own, open) = request.own(pulls.pulls, &base);
        let branch = match open {
            Some(open) if open.head_exists => {
                Some(self.commit(repository, &open.head_commit).await?)
            }
            _ => None,
        };
        let head = Head::from_commit(&listing.commit);
        self.cache_listing(repository, listing);
        Ok(Survey::Present(Box::new(RepositoryState {
            repo,
            base,
            head,
            config,
            branch,
            pulls: own,
            all_pulls: pulls.is_last,
            newest_pull: newest_pull.unwrap_or(0),
            requires_signatures: false,
        })))
    }

    async fn pulls(&self, repository: &RepositoryName) -> Result<Response, Error> {
        let listing = request(repository, "pulls", "listing the pull requests")
            .query("state", "all")
            .query("sort", "recentupdate")
            .query("limit", PULLS)
            .query("page", 1);
        self.request_repository(listing).await
    }

    /// The files at the head of a branch; `None` if the branch is missing.
    async fn list_branch(
        &self,
        repository: &RepositoryName,
        branch: &str,
    ) -> Result<Option<CommitListing>, Error> {
        // The full name, because a tag may have the same short name. It is one segment of the path with
        // encoded slashes, which some proxies do not forward.
        let name = format!("refs/heads/{branch}");
        if let Some(listing) = self.list_files(repository, &name).await? {
            return Ok(Some(listing));
        }
        let path = format!("branches/{branch}");
        let request = request(repository, &path, "reading the base branch");
        let branch: Option<BranchRow> = self.http.find(&request, &[404]).await?;
        match branch {
            Some(row) => self.list_files(repository, &row.commit.id).await,
            None => Ok(None),
        }
    }

    async fn config(
        &self,
        repository: &RepositoryName,
        path: &str,
        files: &FileListing,
    ) -> Result<ConfigFile, Error> {
        let Some(entry) = files.tree.entries.get(path) else {
            return Ok(if files.truncated {
                ConfigFile::Unusable("the forge's list of files is incomplete".to_owned())
            } else {
                ConfigFile::Missing
            });
        };
        if !entry.is_file() {
            return Ok(ConfigFile::Unusable("it is not a regular file".to_owned()));
        }
        if files
            .sizes
            .get(&entry.id)
            .is_some_and(|size| *size > MAX_CONFIG_SIZE)
        {
            return Ok(ConfigFile::too_large());
        }
        if let Some(known) = self.configs.borrow().get(&entry.id) {
            return Ok(ConfigFile::from_bytes(known.clone()));
        }
        let content = self.read_blob(repository, &entry.id).await?;
        let mut configs = self.configs.borrow_mut();
        if configs.len() < MAX_CONFIGS && content.len() as u64 <= MAX_CONFIG_SIZE {
            configs.insert(entry.id.clone(), content.clone());
        }
        Ok(ConfigFile::from_bytes(content))
    }

    async fn commit(&self, repository: &RepositoryName, id: &str) -> Result<SurveyedBranch, Error> {
        let path = format!("git/commits/{id}");
        let request = request(repository, &path, "reading the head of the branch")
            .query("stat", false)
            .query("files", false)
            .query("verification", false);
        let row: GitCommitRow = self.http.send(&request).await?.expect(&[200])?;
        Ok(SurveyedBranch {
            tree: row.tree(),
            commit: AheadCommit::from(row),
        })
    }
}

/// The pull requests of a response, and their target repository.
fn pull_page(reply: &Reply, repository: &RepositoryName) -> Result<PullPage, Error> {
    let rows: Vec<Option<Value>> = reply.expect_list()?;
    let what = format!("Gitea: listing the pull requests of {repository}");
    let mut page = PullPage {
        repository: None,
        pulls: Vec::new(),
        is_last: !reply.has_more(Paging::Counted, rows.len()),
    };
    for row in rows {
        // Gitea lists null for an entry that it could not load.
        let Some(mut row) = row else {
            return Err(Error::unavailable(
                what,
                "the listing contains a null entry",
            ));
        };
        // Every pull request contains its target repository, which is parsed once.
        if page.repository.is_none() {
            page.repository = RepositoryRow::deserialize(&row["base"]["repo"]).ok();
        }
        if let Some(base) = row["base"].as_object_mut() {
            base.remove("repo");
        }
        let full_name = match &page.repository {
            Some(row) => row.full_name.clone(),
            None => repository.to_string(),
        };
        let row = pull_requests::Row::deserialize(row)
            .map_err(|_| Error::unavailable(&what, "malformed response"))?;
        page.pulls.push(row.pull(&full_name));
    }
    Ok(page)
}
