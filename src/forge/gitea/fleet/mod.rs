//! Many repositories on Gitea or Forgejo by REST, with several requests for each.
//!
//! A listing of files contains the commit of its branch, and a pull request its repository, which
//! saves requests for both. Configurations with one id are fetched once.

mod blobs;
mod list;
mod survey;

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
};

use reqwest::{Method, Url};

use super::repository::{CommitListing, PAGE, Version};
use crate::{
    base::error::Error,
    forge::{
        Settings, Token,
        fleet::{FileListing, Head, RepositoryName},
        http::{Http, Reply, Request},
        token::TokenHeader,
    },
};

/// The maximum number of listings that are cached between a survey and the next operation.
const MAX_LISTINGS: usize = 8;
/// The maximum number of files of a listing.
const MAX_FILES: usize = 100_000;

/// The repositories of one Gitea or Forgejo.
#[derive(Debug)]
pub(crate) struct GiteaFleet {
    http: Http,
    /// The last listings, by repository and commit.
    listings: RefCell<VecDeque<(RepositoryName, String, FileListing)>>,
    /// Configurations by content ids.
    configs: RefCell<HashMap<String, Vec<u8>>>,
}

impl GiteaFleet {
    pub(crate) fn new(api: &Url, token: Token, settings: Settings) -> Result<Self, Error> {
        Ok(Self {
            http: Http::new(api, token, TokenHeader::Scheme("token"), settings)?,
            listings: RefCell::default(),
            configs: RefCell::default(),
        })
    }

    async fn version(&self) -> Result<Version, Error> {
        self.http.parsed_version().await
    }

    /// The files of a commit or reference, which is one segment of the path; `None` if it does not
    /// exist.
    async fn list_files(
        &self,
        repository: &RepositoryName,
        reference: &str,
    ) -> Result<Option<CommitListing>, Error> {
        let what = format!("listing the files of {reference}");
        let mut request = request(repository, "git/trees", &what);
        request.path.push(reference.to_owned());
        self.http.gitea_files(&request, MAX_FILES / PAGE).await
    }

    fn cache_listing(&self, repository: &RepositoryName, listing: CommitListing) {
        let mut listings = self.listings.borrow_mut();
        listings.push_back((repository.clone(), listing.commit, listing.files));
        while listings.len() > MAX_LISTINGS {
            listings.pop_front();
        }
    }

    /// Removes the listing of a survey from the cache.
    fn take_listing(&self, repository: &RepositoryName, commit: &str) -> Option<FileListing> {
        let mut listings = self.listings.borrow_mut();
        let index = listings
            .iter()
            .position(|(name, id, _)| name == repository && id == commit)?;
        listings.remove(index).map(|(_, _, files)| files)
    }
}

/// A request below a repository.
fn request(repository: &RepositoryName, path: &str, what: &str) -> Request {
    let top = ["repos", &repository.owner, &repository.name];
    let below = path.split('/').filter(|part| !part.is_empty());
    let what = format!("Gitea: {what} of {repository}");
    Request::new(Method::GET, top.into_iter().chain(below), what)
}

/// The new name of a repository, from a redirect to the same path below that name.
fn new_name(reply: &Reply) -> String {
    let location = reply.header("location").unwrap_or_default();
    let path = location.split(['?', '#']).next().unwrap_or_default();
    let mut segments = path.split('/').skip_while(|segment| *segment != "repos");
    match (segments.nth(1), segments.next()) {
        (Some(owner), Some(name)) => format!("{owner}/{name}"),
        _ => String::new(),
    }
}

impl GiteaFleet {
    pub(crate) async fn files(
        &self,
        repository: &RepositoryName,
        head: &Head,
    ) -> Result<FileListing, Error> {
        if let Some(files) = self.take_listing(repository, &head.commit) {
            return Ok(files);
        }
        match self.list_files(repository, &head.commit).await? {
            Some(listing) => Ok(listing.files),
            None => Err(Error::unavailable(
                format!("Gitea: listing the files of {repository}"),
                format!("commit {} is missing", head.commit),
            )),
        }
    }
}
