//! GitLab: REST.
//!
//! A project is read once by its path, and then addressed by its number. Merge requests and issues have
//! separate numbers, drafts are marked in the title, and a merge that is refused may be possible a few
//! seconds later.

mod branches;
mod fleet;
mod issues;
mod merge_status;
mod merging;
mod project;
mod pull_requests;
mod repository;

use std::rc::Rc;

use reqwest::Method;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use super::{
    Item, MergeMethod, Settings, Sign, Target, Token, Words,
    http::{Http, Request},
    token::TokenHeader,
};
use crate::base::error::{Class, Error};

pub(super) use fleet::GitlabFleet;
pub(super) use merging::PIPELINE;
pub(super) use project::GitlabFacts;
use project::Project;

/// A project on GitLab.
#[derive(Debug)]
pub(crate) struct Gitlab {
    pub(super) http: Rc<Http>,
    /// Its groups and its name, with slashes in between.
    full_name: String,
    /// The configured merge method.
    method: MergeMethod,
    /// Whether commits are signed.
    pub(super) sign: Sign,
    /// Whether a merge may be requested without a pipeline.
    pub(super) merges_unchecked: bool,
    project: Rc<OnceCell<Project>>,
}

impl Gitlab {
    pub(super) fn new(
        target: &Target,
        token: Token,
        settings: Settings,
        method: MergeMethod,
        sign: Sign,
    ) -> Result<Self, Error> {
        let (header, merges_unchecked) = (TokenHeader::Private, settings.merges_unchecked);
        let http = Rc::new(Http::new(&target.api, token, header, settings)?);
        let full_name = format!("{}/{}", target.owner, target.name);
        Ok(Self {
            method,
            sign,
            merges_unchecked,
            ..Self::read_only(&http, full_name)
        })
    }

    /// A project that is only read.
    fn read_only(http: &Rc<Http>, full_name: String) -> Self {
        Self {
            http: Rc::clone(http),
            project: http.server.gitlab.project(&full_name),
            full_name,
            method: MergeMethod::Auto,
            sign: Sign::Never,
            merges_unchecked: false,
        }
    }

    /// A request below the project. A segment of the path may contain slashes.
    async fn request(
        &self,
        method: Method,
        path: &[&str],
        what: impl Into<String>,
    ) -> Result<Request, Error> {
        if method != Method::GET {
            self.check_token_kind()?;
        }
        let project = self.project().await?.id.to_string();
        let what = format!("GitLab: {}", what.into());
        let mut request = Request::new(method, ["projects"], what);
        let path = path.iter().map(|&part| part.to_owned());
        request.path.extend([project].into_iter().chain(path));
        Ok(request)
    }

    /// The response to a request below the project; `None` if it is 404.
    async fn find<T: DeserializeOwned>(
        &self,
        path: &[&str],
        what: String,
    ) -> Result<Option<T>, Error> {
        let request = self.request(Method::GET, path, what).await?;
        self.http.find(&request, &[404]).await
    }

    /// A request below a merge request or an issue. `verb`: the part of its purpose before their number.
    async fn of_item(
        &self,
        method: Method,
        item: Item,
        path: &[&str],
        verb: &str,
    ) -> Result<Request, Error> {
        let (kind, number, mark) = match item {
            Item::Pull(number) => ("merge_requests", number, Words::MERGE_REQUEST.mark(number)),
            Item::Issue(number) => ("issues", number, format!("#{number}")),
        };
        let number = number.to_string();
        let path = [&[kind, &number], path].concat();
        let what = format!("{verb} {mark}");
        self.request(method, &path, what).await
    }

    /// Fails if GitLab refuses every write of the token: that of a job may read, and push to its project.
    fn check_token_kind(&self) -> Result<(), Error> {
        if !self.http.token().is_of_job() {
            return Ok(());
        }
        let reason = format!("{OF_JOB}, and cannot write issues");
        Err(Error::about(Class::Denied, "GitLab: the token", reason).help(ANOTHER_TOKEN))
    }
}

/// The limits of the token of a job.
const OF_JOB: &str = "CI_JOB_TOKEN cannot open, change or merge merge requests";

/// The remedy for a token that cannot use the API, or only read.
const ANOTHER_TOKEN: &str = "set REPIN_FORGE_TOKEN to a project access token with the scope `api` and the role Developer \
     (Maintainer if only maintainers may merge or push)";
