//! Many projects of one GitLab by REST, with several requests for each.
//!
//! A file contains the commit of its branch, which saves a request for the branch.

use std::rc::Rc;

use reqwest::{Method, Url};
use serde::Deserialize;

use super::{
    Gitlab,
    project::Project,
    pull_requests::{NumberRow, Row},
    repository::Lookup,
};
use crate::{
    base::{error::Error, files::MAX_CONFIG_SIZE},
    forge::{
        Repo, Settings, Token,
        fleet::{
            ConfigFile, ContentRequest, Contents, FileListing, Head, ListQuery, MAX_FILE,
            RepositoryList, RepositoryName, RepositoryState, Survey, SurveyRequest, SurveyedBranch,
        },
        http::{Http, Paging, Request},
        shared::{Blob, verified},
        token::TokenHeader,
    },
    git::{AheadCommit, TreeEntry},
};

/// The maximum size of the text in a symbolic link, in bytes (`PATH_MAX` of Linux).
const MAX_LINK: usize = 4096;

/// The projects of one GitLab.
#[derive(Debug)]
pub(crate) struct GitlabFleet {
    http: Rc<Http>,
}

#[derive(Deserialize)]
struct FileRow {
    #[serde(flatten)]
    blob: Blob,
    size: u64,
    commit_id: String,
}

#[derive(Deserialize)]
struct EntryRow {
    id: String,
    path: String,
    #[serde(rename = "type")]
    kind: String,
    mode: String,
}

impl GitlabFleet {
    pub(crate) fn new(api: &Url, token: Token, settings: Settings) -> Result<Self, Error> {
        let http = Http::new(api, token, TokenHeader::Private, settings)?;
        Ok(Self { http: http.into() })
    }

    fn project(&self, repository: &RepositoryName) -> Gitlab {
        Gitlab::read_only(&self.http, repository.to_string())
    }

    pub(crate) async fn survey_one(&self, request: &SurveyRequest) -> Result<Survey, Error> {
        let repository = &request.repository;
        // Another survey reads the project again.
        self.http.server.gitlab.forget(&repository.to_string());
        let client = self.project(repository);
        let project = match client.look_up().await? {
            Lookup::Missing(_) => return Ok(Survey::Missing),
            Lookup::Moved(to, _) => {
                return Ok(Survey::Moved(self.http.clean(&to.unwrap_or_default())));
            }
            Lookup::Present(project) => project,
        };
        client.know(&project);
        let repo = Repo::from(&*project);
        if repo.archived {
            return Ok(Survey::Archived);
        }
        if project.is_empty() {
            return Ok(Survey::Empty);
        }
        if let Some(error) = project.disabled() {
            return Err(error);
        }
        let default = &repo.default_branch;
        let base = request.base.as_ref().unwrap_or(default).clone();
        let Some((commit, config)) = client.head_and_config(&request.config, &base).await? else {
            return Ok(Survey::NoBase(base));
        };
        let what = format!("listing the merge requests of {repository}");
        let listing = client.request(Method::GET, &["merge_requests"], what);
        let listing = listing.await?.query("state", "all");
        let newest = listing
            .clone()
            .query("order_by", "created_at")
            .query("per_page", 1);
        let newest: Vec<NumberRow> = self.http.send(&newest).await?.expect(&[200])?;
        let own = listing
            .query("source_branch", &request.branch)
            .query("target_branch", &base);
        let rows: Vec<Row> = self.http.pages(&own, Paging::NextPage).await?;
        let pulls = rows.into_iter().map(|row| row.pull(project.id));
        let (pulls, open) = request.own(pulls, &base);
        let branch = match open {
            Some(open) => client.commit_row(&open.head_commit).await?,
            None => None,
        };
        Ok(Survey::Present(Box::new(RepositoryState {
            repo,
            base,
            head: Head::from_commit(&commit),
            config,
            branch: branch.map(|commit| SurveyedBranch {
                commit: AheadCommit::from(commit),
                tree: String::new(),
            }),
            pulls,
            all_pulls: true,
            newest_pull: newest.first().map_or(0, |row| row.iid),
            requires_signatures: false,
        })))
    }

    pub(crate) async fn files(
        &self,
        repository: &RepositoryName,
        head: &Head,
    ) -> Result<FileListing, Error> {
        let mut listing = FileListing::default();
        let project = self.project(repository);
        for entry in project.tree(&head.commit, "", true).await? {
            if entry.kind != "tree" {
                let (mode, id) = (entry.mode, entry.id);
                let entries = &mut listing.tree.entries;
                entries.insert(entry.path, TreeEntry { mode, id });
            }
        }
        Ok(listing)
    }

    pub(crate) async fn read_contents(&self, request: &ContentRequest) -> Result<Contents, Error> {
        let mut contents = Contents::new();
        let project = self.project(&request.repository);
        for id in request.files.values() {
            if !contents.contains_key(id) {
                contents.insert(id.clone(), project.blob(id).await?);
            }
        }
        Ok(contents)
    }

    pub(crate) async fn list(&self, query: &ListQuery) -> Result<RepositoryList, Error> {
        let mut list = RepositoryList::default();
        let (projects, has): (Vec<Project>, _) = match query {
            ListQuery::Owner { owner, topic, has } => {
                (self.owned(owner, topic.as_deref()).await?, has.as_deref())
            }
            ListQuery::Search(text) => {
                let request = Request::new(Method::GET, ["projects"], "GitLab: searching projects");
                let request = request.query("search", text);
                (self.http.pages(&request, Paging::NextPage).await?, None)
            }
        };
        for project in projects {
            let repo = Repo::from(&project);
            if let Some(path) = has
                && !self.has_file(&project, &repo, path).await?
            {
                continue;
            }
            list.add(repo.full_name, repo.archived);
        }
        Ok(list.sorted())
    }

    /// The projects of a group and the groups below it, or of a user.
    async fn owned(&self, owner: &str, topic: Option<&str>) -> Result<Vec<Project>, Error> {
        let what = format!("GitLab: listing the projects of {owner}");
        let requests = ["groups", "users"].map(|kind| {
            let mut request = Request::new(Method::GET, [kind], what.clone());
            let path = [owner.to_owned(), "projects".to_owned()];
            request.path.extend(path);
            if kind == "groups" {
                request = request.query("include_subgroups", true);
                // Projects of other groups that are shared with this one belong to those.
                request = request.query("with_shared", false);
            }
            match topic {
                Some(topic) => request.query("topic", topic),
                None => request,
            }
        });
        self.http.of_owner(requests, Paging::NextPage, owner).await
    }

    /// Whether the default branch has a file at this path.
    async fn has_file(&self, project: &Project, repo: &Repo, path: &str) -> Result<bool, Error> {
        let name = RepositoryName::parse(&repo.full_name);
        let Some(name) = name.filter(|_| !project.is_empty()) else {
            return Ok(false);
        };
        let client = self.project(&name);
        client.know(project);
        let what = format!("looking up a file of {name}");
        let file = client.file(path, &repo.default_branch, &what);
        Ok(file.await?.is_some())
    }
}

impl Gitlab {
    /// The head of the base branch, and the configuration there; `None` if the branch is missing.
    async fn head_and_config(
        &self,
        path: &str,
        base: &str,
    ) -> Result<Option<(String, ConfigFile)>, Error> {
        let what = format!("reading the configuration of {}", self.full_name);
        let Some(file) = self.file(path, base, &what).await? else {
            let head = self.branch(base).await?;
            return Ok(head.map(|head| (head, ConfigFile::Missing)));
        };
        let commit = file.commit_id;
        if file.size > MAX_CONFIG_SIZE {
            return Ok(Some((commit, ConfigFile::too_large())));
        }
        let content = file.blob.bytes(&format!("GitLab: {what}"))?;
        // GitLab shows the text of a symbolic link like that of a file.
        if content.len() <= MAX_LINK && !content.contains(&b'\n') {
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            let entries = self.tree(&commit, directory, false).await?;
            let is_file = |entry: &EntryRow| entry.path == *path && entry.mode.starts_with("100");
            if !entries.iter().any(is_file) {
                let reason = "it is not a regular file".to_owned();
                return Ok(Some((commit, ConfigFile::Unusable(reason))));
            }
        }
        Ok(Some((commit, ConfigFile::from_bytes(content))))
    }

    async fn file(
        &self,
        path: &str,
        reference: &str,
        what: &str,
    ) -> Result<Option<FileRow>, Error> {
        let segments = ["repository", "files", path];
        let request = self.request(Method::GET, &segments, what).await?;
        let request = request.query("ref", reference);
        self.http.find(&request, &[404]).await
    }

    /// The entries of a directory at a commit; none if the commit does not have it.
    async fn tree(
        &self,
        commit: &str,
        directory: &str,
        recursive: bool,
    ) -> Result<Vec<EntryRow>, Error> {
        let what = format!("listing the files of {} at {commit}", self.full_name);
        let request = self.request(Method::GET, &["repository", "tree"], what);
        let request = request.await?.query("ref", commit);
        let mut request = request.query("recursive", recursive);
        if !directory.is_empty() {
            request = request.query("path", directory);
        }
        match self.http.pages(&request, Paging::NextPage).await {
            Err(error) if error.status == Some(404) => Ok(Vec::new()),
            entries => entries,
        }
    }

    /// The content of a blob, verified by its id.
    async fn blob(&self, id: &str) -> Result<Vec<u8>, Error> {
        let path = ["repository", "blobs", id, "raw"];
        let what = format!("reading a blob of {}", self.full_name);
        let mut request = self.request(Method::GET, &path, what).await?;
        request.max = MAX_FILE;
        let reply = self.http.send(&request).await?;
        reply.check(&[200])?;
        verified(reply.body, id, &request.what)
    }
}
