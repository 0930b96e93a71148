//! Gitea and Forgejo: REST, one commit and its branch in one request.
//!
//! Most versions cannot move a branch: one that has to go back is deleted and made again from its
//! base. Drafts are told by the title, labels go by number, listings ignore filters that they don't
//! know.

mod around;
mod claims;
mod commit;
mod pulls;
mod read;
mod rights;
mod version;

use std::{cell::RefCell, collections::HashMap};

use async_trait::async_trait;
use reqwest::Method;

use super::{
    Ability, Claim, Comment, Comparison, Created, Edit, Forge, Head, Issue, Labelled, Merge, Need,
    NewCommit, NewPull, Poll, Published, Pull, Pulls, Queue, Repo, Right, Settings, Signing, State,
    Status, Target, Token, Tree, Wanted, Was,
    http::{Http, Request},
};
use crate::{
    config::MergeMethod,
    error::{Class, Error},
    forge::rights::ARCHIVED,
    http::Heard,
};

/// A repository on Gitea or Forgejo.
#[derive(Debug)]
pub struct Gitea {
    http: Http,
    owner: String,
    name: String,
    /// Trees by commit: they never change.
    trees: RefCell<HashMap<String, Tree>>,
    /// The server's version, once it was asked for.
    version: RefCell<Option<String>>,
    /// The branch that this run deleted while it had no pull request: the server closes whatever it
    /// has once the deletion comes up in its queue.
    deleted: RefCell<Option<String>>,
    /// The pull request that this run opened again while its branch was missing.
    reopened: RefCell<Option<u64>>,
    /// How pull requests are merged, as configured.
    method: MergeMethod,
}

impl Gitea {
    /// The repository that `target` names; nothing is sent yet.
    pub fn new(target: &Target, token: Token, settings: Settings) -> Result<Self, Error> {
        let http = Http::new(target, token, "token", settings)?;
        let (owner, name) = (target.owner.clone(), target.name.clone());
        Ok(Self {
            http,
            owner,
            name,
            trees: RefCell::default(),
            version: RefCell::default(),
            deleted: RefCell::default(),
            reopened: RefCell::default(),
            method: MergeMethod::Auto,
        })
    }

    /// The same with how pull requests are merged, as configured.
    #[must_use]
    pub fn configured(self, method: MergeMethod) -> Self {
        Self { method, ..self }
    }

    /// A request below the repository.
    fn request(&self, method: Method, path: &str, what: impl Into<String>) -> Request {
        let top = ["repos", &self.owner, &self.name];
        let below = path.split('/').filter(|part| !part.is_empty());
        Request::new(
            method,
            top.into_iter().chain(below),
            format!("Gitea: {}", what.into()),
        )
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

#[async_trait(?Send)]
impl Forge for Gitea {
    fn name(&self) -> &'static str {
        "Gitea"
    }

    async fn repository(&self) -> Result<Repo, Error> {
        self.read_repository().await
    }

    async fn permit(&self, repo: &Repo, _: Need) -> Result<(), Error> {
        self.check_version().await?;
        let what = format!("Gitea: the token's permissions on {}", repo.full_name);
        if repo.archived {
            return Err(Error::about(Class::Denied, what, ARCHIVED)
                .help("unarchive the repository, or point forge.repository at another one"));
        }
        if repo.may_push != Some(false) {
            return Ok(());
        }
        let hint =
            "use the token of somebody who may, with the scopes write:repository and write:issue";
        Err(Error::about(Class::Denied, what, "whoever it belongs to may not push").help(hint))
    }

    async fn rights(&self, repo: &Repo, wanted: &Wanted) -> Result<Vec<Right>, Error> {
        self.read_rights(repo, wanted).await
    }

    /// What a protection requires of signatures is not looked at: the server signs by its own
    /// settings.
    async fn signing(&self, _base: &str, _files: &[(String, String)]) -> Result<Signing, Error> {
        Ok(Signing::Unknown)
    }

    fn heard(&self) -> Option<Heard> {
        self.http.heard()
    }

    async fn branch(&self, name: &str) -> Result<Option<Head>, Error> {
        self.read_branch(name).await
    }

    async fn tree(&self, head: &Head) -> Result<Tree, Error> {
        self.read_tree(&head.commit).await
    }

    async fn blobs(&self, ids: &[String]) -> Result<Vec<Vec<u8>>, Error> {
        let mut contents = Vec::new();
        for id in ids {
            contents.push(self.read_blob(id).await?);
        }
        Ok(contents)
    }

    async fn supported(&self) -> Result<(), Error> {
        self.check_version().await
    }

    async fn ahead(
        &self,
        base: (&str, &Head),
        branch: &str,
        exists: bool,
    ) -> Result<Comparison, Error> {
        self.compare(base.0, base.1, branch, exists).await
    }

    async fn publish(
        &self,
        commit: &NewCommit<'_>,
        branch: &str,
        was: &Was,
    ) -> Result<Published, Error> {
        self.make_commit(commit, branch, was).await
    }

    async fn is_outdated(&self, _pull: Option<&Pull>, _base: &str) -> Result<bool, Error> {
        Ok(false)
    }

    async fn drafts(&self, _repo: &Repo) -> Result<Ability, Error> {
        Ok(Ability::Yes)
    }

    async fn starts_checks(&self) -> Result<Ability, Error> {
        Ok(Ability::Yes)
    }

    async fn moving_closes(&self) -> Result<bool, Error> {
        Ok(!self.version().await?.replaces_branches())
    }

    async fn stays_open(&self, pull: &Pull) -> Result<bool, Error> {
        self.outlasts_deletion(pull).await
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
        let edit = Edit {
            title: Some((&pull.title, state)),
            ..Edit::default()
        };
        let changed = self.change_pull(pull.number, &edit).await?;
        pulls::check_draft(&changed, state)
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

    async fn admits(&self, _base: &str) -> Result<(), Error> {
        if self.method != MergeMethod::Auto {
            self.merge_style().await?;
        }
        Ok(())
    }

    /// Neither Gitea nor Forgejo has merge queues.
    async fn queue(&self, _pull: &Pull) -> Result<Queue, Error> {
        Ok(Queue::Missing)
    }

    fn waits_for_silent(&self) -> bool {
        false
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

    async fn expire_claims(&self) -> Result<(), Error> {
        self.drop_old_claims().await
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
