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
mod pull_requests;
mod repository;

use reqwest::Method;
use tokio::sync::OnceCell;

use super::{
    MergeMethod, Settings, Sign, Target, Token,
    http::{Http, Request},
    token::TokenHeader,
};
use crate::base::error::{Class, Error};

pub(super) use fleet::GitlabFleet;
pub(super) use merging::PIPELINE;
use repository::Project;

/// A project on GitLab.
#[derive(Debug)]
pub(crate) struct Gitlab {
    pub(super) http: Http,
    /// Its groups, with slashes in between.
    owner: String,
    name: String,
    /// The configured merge method.
    method: MergeMethod,
    /// Whether commits are signed.
    pub(super) sign: Sign,
    /// Whether a merge may be requested without a pipeline.
    pub(super) merges_unchecked: bool,
    project: OnceCell<Project>,
}

impl Gitlab {
    pub(super) fn new(
        target: &Target,
        token: Token,
        settings: Settings,
        method: MergeMethod,
        sign: Sign,
    ) -> Result<Self, Error> {
        Ok(Self {
            merges_unchecked: settings.merges_unchecked,
            http: Http::new(&target.api, token, TokenHeader::Private, settings)?,
            owner: target.owner.clone(),
            name: target.name.clone(),
            method,
            sign,
            project: OnceCell::new(),
        })
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// A request below the project.
    async fn request(
        &self,
        method: Method,
        path: &[&str],
        what: impl Into<String>,
    ) -> Result<Request, Error> {
        let project = self.project().await?.id;
        let what = format!("GitLab: {}", what.into());
        Ok(below_project(method, project, path, what))
    }

    /// A request below a merge request.
    async fn of_merge_request(
        &self,
        method: Method,
        number: u64,
        path: &[&str],
        what: impl Into<String>,
    ) -> Result<Request, Error> {
        let number = number.to_string();
        let top = ["merge_requests", &number];
        self.request(method, &[&top, path].concat(), what).await
    }

    /// Fails if GitLab refuses every write of the token: that of a job may read, and push to its project.
    fn check_token_kind(&self) -> Result<(), Error> {
        if !self.http.token().is_of_job() {
            return Ok(());
        }
        let reason =
            "CI_JOB_TOKEN cannot open, change or merge merge requests, and cannot write issues";
        Err(Error::about(Class::Denied, "GitLab: the token", reason).help(ANOTHER_TOKEN))
    }
}

/// The error of a project that does not exist for the token of a job. For most requests, and for this one, such a token
/// counts as none, so it shows public projects only
/// (<https://docs.gitlab.com/ci/jobs/ci_job_token/#job-token-access>).
fn unreadable_by_job(error: Error) -> Error {
    let message = format!(
        "{}: CI_JOB_TOKEN cannot open, change or merge merge requests, and shows only public projects",
        error.message
    );
    Error { message, ..error }
        .class(Class::Denied)
        .help(ANOTHER_TOKEN)
}

/// The request for a project by its name. The redirect of a renamed project is handled by the caller.
fn named_project(full_name: String, what: String) -> Request {
    let mut request = Request::new(Method::GET, ["projects"], what);
    request.path.push(full_name);
    request.handles_redirect = true;
    request
}

/// A request below a project. A segment of the path may contain slashes.
fn below_project(method: Method, number: u64, path: &[&str], what: String) -> Request {
    let mut request = Request::new(method, ["projects"], what);
    request.path.push(number.to_string());
    request
        .path
        .extend(path.iter().map(|&part| part.to_owned()));
    request
}

/// The remedy for a token that cannot use the API, or only read.
const ANOTHER_TOKEN: &str = "set REPIN_FORGE_TOKEN to a project access token with the scope `api` and the role Developer \
     (Maintainer if only maintainers may merge or push)";
