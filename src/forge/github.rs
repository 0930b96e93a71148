//! GitHub, and GitHub Enterprise Server: REST, and GraphQL for what REST can't do.
//!
//! A commit is made object by object (blobs, tree, commit), none of which anybody sees until a
//! branch is at it.

mod around;
mod claims;
mod commit;
mod graphql;
mod merging;
mod pulls;
mod read;
mod refusal;
mod rights;
mod rules;
mod signed;

use std::cell::RefCell;

use async_trait::async_trait;
use reqwest::Method;

use super::{
    Ability, Claim, Comment, Comparison, Created, Edit, Forge, Head, Issue, Labelled, Merge, Need,
    NewCommit, NewPull, Poll, Published, Pull, Pulls, Queue, Repo, Right, Settings, Signing, State,
    Status, Target, Token, Tree, Wanted, Was,
    http::{Http, Request},
};
use crate::{
    config::{MergeMethod, Sign},
    error::{Class, Error},
    forge::rights::ARCHIVED,
    http::Heard,
};

/// A repository on GitHub.
#[derive(Debug)]
pub struct Github {
    http: Http,
    owner: String,
    name: String,
    /// How pull requests are merged, as configured.
    method: MergeMethod,
    /// Whether GitHub may be asked to sign commits.
    sign: Sign,
    /// The objects that this run made last.
    made: RefCell<Option<commit::Objects>>,
}

impl Github {
    /// The repository that `target` names; nothing is sent yet.
    pub fn new(target: &Target, token: Token, settings: Settings) -> Result<Self, Error> {
        let http = Http::new(target, token, "Bearer", settings)?
            .with_header("accept", "application/vnd.github+json")
            .with_header("x-github-api-version", "2022-11-28");
        Ok(Self {
            http,
            owner: target.owner.clone(),
            name: target.name.clone(),
            method: MergeMethod::Auto,
            sign: Sign::Auto,
            made: RefCell::default(),
        })
    }

    /// The same with how pull requests are merged and commits signed, as configured.
    #[must_use]
    pub fn configured(self, method: MergeMethod, sign: Sign) -> Self {
        Self {
            method,
            sign,
            ..self
        }
    }

    /// A request below the repository.
    fn request(&self, method: Method, path: &str, what: impl Into<String>) -> Request {
        let top = ["repos", &self.owner, &self.name];
        let below = path.split('/').filter(|part| !part.is_empty());
        Request::new(
            method,
            top.into_iter().chain(below),
            format!("GitHub: {}", what.into()),
        )
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

#[async_trait(?Send)]
impl Forge for Github {
    fn name(&self) -> &'static str {
        "GitHub"
    }

    async fn repository(&self) -> Result<Repo, Error> {
        self.read_repository().await
    }

    async fn permit(&self, repo: &Repo, need: Need) -> Result<(), Error> {
        let what = format!("GitHub: the token's permissions on {}", repo.full_name);
        if repo.archived {
            return Err(Error::about(Class::Denied, what, ARCHIVED)
                .help("unarchive the repository, or point forge.repository at another one"));
        }
        if let Some(scopes) = &repo.scopes {
            let has = |name: &str| scopes.iter().any(|scope| scope == name);
            if !(has("repo") || repo.public && has("public_repo")) {
                let why = format!(
                    "its scopes are `{}`, and pushing needs `repo`",
                    scopes.join(", ")
                );
                return Err(
                    Error::about(Class::Denied, what, why).help("give the token the scope `repo`")
                );
            }
            if need.workflows && !has("workflow") {
                return Err(commit::no_workflows(
                    &what,
                    &format!("its scopes are `{}`", scopes.join(", ")),
                ));
            }
        }
        // For an app's installation, the token of a workflow's run among them, `push` is always
        // false.
        if repo.may_push == Some(false) && !self.is_installation().await? {
            let why = "whoever it belongs to may not push";
            let hint = "use the token of somebody who may, or of an app with `contents: write` and `pull-requests: write`";
            return Err(Error::about(Class::Denied, what, why).help(hint));
        }
        Ok(())
    }

    async fn rights(&self, repo: &Repo, wanted: &Wanted) -> Result<Vec<Right>, Error> {
        self.read_rights(repo, wanted).await
    }

    async fn signing(&self, base: &str, files: &[(String, String)]) -> Result<Signing, Error> {
        self.read_signing(base, files).await
    }

    fn heard(&self) -> Option<Heard> {
        self.http.heard()
    }

    async fn branch(&self, name: &str) -> Result<Option<Head>, Error> {
        self.read_branch(name).await
    }

    async fn tree(&self, head: &Head) -> Result<Tree, Error> {
        self.read_tree(head).await
    }

    async fn blobs(&self, ids: &[String]) -> Result<Vec<Vec<u8>>, Error> {
        self.read_blobs(ids).await
    }

    async fn supported(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn ahead(
        &self,
        base: (&str, &Head),
        branch: &str,
        _exists: bool,
    ) -> Result<Comparison, Error> {
        self.compare(base.1, branch).await
    }

    async fn publish(
        &self,
        commit: &NewCommit<'_>,
        branch: &str,
        was: &Was,
    ) -> Result<Published, Error> {
        self.make_commit(commit, branch, was).await
    }

    async fn is_outdated(&self, pull: Option<&Pull>, base: &str) -> Result<bool, Error> {
        self.outdated(pull, base).await
    }

    async fn drafts(&self, repo: &Repo) -> Result<Ability, Error> {
        self.draft_ability(repo).await
    }

    async fn starts_checks(&self) -> Result<Ability, Error> {
        self.check_ability().await
    }

    async fn moving_closes(&self) -> Result<bool, Error> {
        Ok(false)
    }

    async fn stays_open(&self, _pull: &Pull) -> Result<bool, Error> {
        Ok(true)
    }

    async fn pulls(&self, which: Pulls<'_>) -> Result<Vec<Pull>, Error> {
        self.list_pulls(which).await
    }

    async fn pull(&self, number: u64) -> Result<Option<Pull>, Error> {
        self.read_pull(number).await
    }

    async fn create_pull(&self, new: &NewPull<'_>) -> Result<Created, Error> {
        self.open_pull(new).await
    }

    async fn edit_pull(&self, number: u64, edit: &Edit<'_>) -> Result<Pull, Error> {
        self.change_pull(number, edit).await
    }

    async fn set_state(&self, pull: &Pull, state: State) -> Result<(), Error> {
        self.convert(pull, state).await
    }

    async fn label(&self, number: u64, labels: &[String]) -> Result<Labelled, Error> {
        self.add_labels(number, labels).await
    }

    async fn comments(&self, number: u64) -> Result<Vec<Comment>, Error> {
        self.list_comments(number).await
    }

    async fn breathe(&self, round: u32) {
        self.http.breathe(round).await;
    }

    async fn comment(&self, number: u64, text: &str) -> Result<(), Error> {
        self.add_comment(number, text).await
    }

    async fn commit(&self, reference: &str) -> Result<Option<String>, Error> {
        self.read_commit(reference).await
    }

    async fn statuses(&self, commit: &str) -> Result<Vec<Status>, Error> {
        self.read_statuses(commit).await
    }

    async fn required(&self, branch: &str) -> Result<Option<Vec<String>>, Error> {
        self.read_required(branch).await
    }

    async fn auto_merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        self.schedule_merge(pull, head).await
    }

    async fn admits(&self, base: &str) -> Result<(), Error> {
        if self.method != MergeMethod::Auto {
            self.way(base).await?;
        }
        Ok(())
    }

    async fn queue(&self, pull: &Pull) -> Result<Queue, Error> {
        self.read_queue(pull).await
    }

    fn waits_for_silent(&self) -> bool {
        true
    }

    async fn cancel_merge(&self, pull: &Pull) -> Result<bool, Error> {
        self.unschedule_merge(pull).await
    }

    async fn merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        self.merge_now(pull, head).await
    }

    async fn poll(&self, number: u64, etag: Option<&str>) -> Result<Poll, Error> {
        self.poll_pull(number, etag).await
    }

    async fn can_dispatch(&self, workflow: &str) -> Result<Ability, Error> {
        self.dispatch_ability(workflow).await
    }

    async fn dispatch(&self, workflow: &str, branch: &str) -> Result<(), Error> {
        self.start_workflow(workflow, branch).await
    }

    async fn claim(&self, claim: &Claim<'_>) -> Result<bool, Error> {
        self.make_claim(claim).await
    }

    async fn release(&self, claim: &Claim<'_>) -> Result<(), Error> {
        self.drop_claim(claim).await
    }

    /// References below `refs/repin` show nowhere and are kept.
    async fn expire_claims(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn issues(&self) -> Result<Vec<Issue>, Error> {
        self.list_issues().await
    }

    async fn open_issue(&self, title: &str, body: &str) -> Result<Issue, Error> {
        self.make_issue(title, body).await
    }

    async fn edit_issue(&self, number: u64, edit: &Edit<'_>) -> Result<(), Error> {
        self.change_issue(number, edit).await
    }
}

/// Whether GitHub runs what is at `path`.
pub fn is_workflow(path: &str) -> bool {
    path.starts_with(".github/workflows/")
}
