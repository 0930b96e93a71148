//! Many repositories on Gitea or Forgejo: REST alone, so each costs some requests.
//!
//! A listing of files also names the commit that its branch is at, and a pull request its repository,
//! which spares requests for both; configurations with one name are read once.

mod contents;
mod list;
mod order;
mod recent;
mod survey;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, VecDeque},
};

use async_trait::async_trait;
use reqwest::{Method, Url};

use super::{
    listing::{FILES, Listed},
    version::Version,
};
use crate::{
    error::Error,
    forge::{
        Head, Settings, Token,
        fleet::{
            ContentRequest, Contents, FileListing, FleetReader, ListQuery, RecentHistory,
            RepositoryList, RepositoryName, Survey, SurveyRequest,
        },
        http::{Http, Reply, Request},
    },
};

/// Listings that are kept between a survey and what follows it.
const LISTINGS: usize = 8;
/// Files of a listing that is read to its end.
const FILES_MAX: usize = 100_000;

/// The repositories of one Gitea or Forgejo.
#[derive(Debug)]
pub struct GiteaFleet {
    http: Http,
    /// The server's version, once it was requested.
    version: RefCell<Option<Version>>,
    /// The last listings, by repository and commit.
    listings: RefCell<VecDeque<(RepositoryName, String, FileListing)>>,
    /// Configurations by the names of their contents.
    configs: RefCell<HashMap<String, Vec<u8>>>,
}

impl GiteaFleet {
    /// The repositories below the API at `api`; nothing is sent yet.
    pub fn new(api: &Url, token: Token, settings: Settings) -> Result<Self, Error> {
        Ok(Self {
            http: Http::new(api, token, "token", settings)?,
            version: RefCell::default(),
            listings: RefCell::default(),
            configs: RefCell::default(),
        })
    }

    /// The server's version, requested once.
    async fn version(&self) -> Result<Version, Error> {
        if let Some(version) = *self.version.borrow() {
            return Ok(version);
        }
        let version = Version::parse(&self.http.gitea_version().await?);
        *self.version.borrow_mut() = Some(version);
        Ok(version)
    }

    /// The files of what `name` stands for, as one part of the path; `None`: there is no such thing.
    async fn list_files(
        &self,
        repository: &RepositoryName,
        name: &str,
    ) -> Result<Option<Listed>, Error> {
        let what = format!("listing the files of {name}");
        let mut request = request(repository, "git/trees", &what);
        request.path.push(name.to_owned());
        let pages = FILES_MAX / FILES;
        self.http.gitea_files(&request, pages).await
    }

    fn keep(&self, repository: &RepositoryName, listed: &Listed) {
        let mut listings = self.listings.borrow_mut();
        listings.push_back((
            repository.clone(),
            listed.commit.clone(),
            listed.files.clone(),
        ));
        while listings.len() > LISTINGS {
            listings.pop_front();
        }
    }

    /// The listing that a survey left.
    fn kept(&self, repository: &RepositoryName, commit: &str) -> Option<FileListing> {
        let mut listings = self.listings.borrow_mut();
        let at = listings
            .iter()
            .position(|(name, id, _)| name == repository && id == commit)?;
        listings.remove(at).map(|(_, _, files)| files)
    }
}

/// A request below a repository.
fn request(repository: &RepositoryName, path: &str, what: &str) -> Request {
    let top = ["repos", &repository.owner, &repository.name];
    let below = path.split('/').filter(|part| !part.is_empty());
    let what = format!("Gitea: {what} of {repository}");
    Request::new(Method::GET, top.into_iter().chain(below), what)
}

/// The new name of a repository, by where its redirect leads: to the same path below another name.
fn moved_to(reply: &Reply) -> String {
    let location = reply.header("location").unwrap_or_default();
    let path = location.split(['?', '#']).next().unwrap_or_default();
    let mut parts = path.split('/').skip_while(|part| *part != "repos").skip(1);
    match (parts.next(), parts.next()) {
        (Some(owner), Some(name)) => format!("{owner}/{name}"),
        _ => String::new(),
    }
}

#[async_trait(?Send)]
impl FleetReader for GiteaFleet {
    fn at_once(&self) -> usize {
        1
    }

    async fn survey(&self, requests: &[SurveyRequest]) -> Vec<Survey> {
        let mut surveys = Vec::new();
        for request in requests {
            let survey = self.survey_one(request).await;
            surveys.push(survey.unwrap_or_else(Survey::Failed));
        }
        surveys
    }

    async fn files(&self, repository: &RepositoryName, head: &Head) -> Result<FileListing, Error> {
        if let Some(files) = self.kept(repository, &head.commit) {
            return Ok(files);
        }
        let listed = self.list_files(repository, &head.commit).await?;
        let gone = || {
            let what = format!("Gitea: listing the files of {repository}");
            Error::unavailable(what, format!("commit {} is missing", head.commit))
        };
        Ok(listed.ok_or_else(gone)?.files)
    }

    async fn contents(&self, requests: &[ContentRequest]) -> Vec<Result<Contents, Error>> {
        let mut contents = Vec::new();
        for request in requests {
            contents.push(self.read_contents(request).await);
        }
        contents
    }

    async fn recent(
        &self,
        repository: &RepositoryName,
        head: &Head,
        files: &BTreeMap<String, String>,
    ) -> Result<RecentHistory, Error> {
        self.read_recent(repository, head, files).await
    }

    async fn is_ancestor(
        &self,
        repository: &RepositoryName,
        older: &str,
        newer: &str,
    ) -> Result<Option<bool>, Error> {
        self.read_order(repository, older, newer).await
    }

    async fn list(&self, query: &ListQuery) -> Result<RepositoryList, Error> {
        self.read_list(query).await
    }
}
