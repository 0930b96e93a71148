//! The common parts of the APIs of GitHub, Gitea and GitLab: optional responses, polling, contents,
//! comments, issues, and the refusal of a merge method.
//!
//! Callers supply the requests, and the permissions that a refusal reports as missing.
//!
//! The permissions of a token, to the extent that reading can show them.
//!
//! The requests are in `repository.rs` of each forge. A permission that a forge does not report is
//! [`Verdict::Unknown`] with the reason, never a guess.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    Comment, Edit, EditNames, Issue, Kind, LabelOutcome, MergeMethod, MergedPull, Merger, Poll,
    Pull, Repo,
    http::{Http, Paging, Reply, Request, renamed},
};
use crate::{
    base::error::{Class, Error},
    git::blob_id,
};

/// A pull request that may be merged. `S` is the forge's form of a branch.
#[derive(Deserialize)]
pub(super) struct MergedRow<S> {
    pub(super) number: u64,
    pub(super) merged_at: Option<String>,
    pub(super) merge_commit_sha: Option<String>,
    merged_by: Option<AccountRow>,
    pub(super) base: S,
}

#[derive(Deserialize)]
pub(super) struct AccountRow {
    #[serde(alias = "username")]
    pub(super) login: String,
}

impl AccountRow {
    /// The account that merged a pull request; `names` are those of workflow runs.
    pub(super) fn merger(self, names: &[&str]) -> Merger {
        let is_workflow_run = names
            .iter()
            .any(|name| self.login.eq_ignore_ascii_case(name));
        Merger {
            login: self.login,
            is_workflow_run,
        }
    }
}

impl<S> MergedRow<S> {
    /// The merge; `None` if the pull request is not merged.
    pub(super) fn merge(self) -> Option<MergedPull> {
        Some(MergedPull {
            number: self.number,
            date: self.merged_at?,
            by: self.merged_by.map(|user| user.login),
        })
    }
}

/// The content of a file or a blob.
#[derive(Deserialize)]
pub(super) struct Blob {
    content: String,
    encoding: String,
}

impl Blob {
    pub(super) fn bytes(&self, what: &str) -> Result<Vec<u8>, Error> {
        if self.encoding != "base64" {
            let reason = "the content is not base64-encoded";
            return Err(Error::unavailable(what, reason));
        }
        let text: String = self.content.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(text);
        bytes.map_err(|_| Error::unavailable(what, "malformed base64"))
    }
}

#[derive(Deserialize)]
struct VersionRow {
    version: String,
}

/// The first two numbers of a version.
pub(super) fn version_numbers(text: &str) -> [Option<u32>; 2] {
    let mut numbers = text.split(['.', '-']).map(|part| part.parse().ok());
    [(); 2].map(|()| numbers.next().flatten())
}

#[derive(Deserialize)]
pub(super) struct CommentRow {
    body: Option<String>,
}

/// An issue; the other names are those of GitLab.
#[derive(Deserialize)]
pub(super) struct IssueRow {
    #[serde(alias = "iid")]
    number: u64,
    #[serde(alias = "web_url")]
    html_url: String,
    title: String,
    #[serde(alias = "description")]
    body: Option<String>,
    pull_request: Option<Value>,
}

impl From<CommentRow> for Comment {
    fn from(row: CommentRow) -> Self {
        Self {
            body: row.body.unwrap_or_default(),
        }
    }
}

impl From<IssueRow> for Issue {
    fn from(row: IssueRow) -> Self {
        Self {
            number: row.number,
            url: row.html_url,
            title: row.title,
            body: row.body.unwrap_or_default(),
        }
    }
}

/// The issues of a listing, without its pull requests; `permission`: that for issues.
pub(super) fn issues(
    rows: Result<Vec<IssueRow>, Error>,
    permission: &str,
) -> Result<Vec<Issue>, Error> {
    let rows = rows.map_err(|error| issue_refused(error, permission))?;
    let rows = rows.into_iter().filter(|row| row.pull_request.is_none());
    Ok(rows.map(Issue::from).collect())
}

/// The outcome of adding labels.
pub(super) fn label_outcome(reply: &Reply) -> LabelOutcome {
    if reply.status == 200 {
        LabelOutcome::Done
    } else {
        LabelOutcome::NotPermitted(reply.error().to_string())
    }
}

/// The error of a refused request about issues; `permission`: the permission for it.
fn issue_refused(error: Error, permission: &str) -> Error {
    match error.status {
        Some(403 | 404) => error
            .class(Class::Denied)
            .help(format!("give the token {permission}")),
        Some(410) => error
            .class(Class::Refused)
            .help("enable issues in the repository's settings"),
        _ => error,
    }
}

/// The error of a repository whose issues are disabled.
pub(super) fn no_issues(error: Error, repository: &str) -> Error {
    let message = format!("{}: the {repository} has no issues", error.message);
    let hint = format!("enable issues in the {repository}'s settings");
    Error { message, ..error }.class(Class::Refused).help(hint)
}

/// Fails if the repository is archived.
pub(super) fn check_writable(repo: &Repo, what: &str) -> Result<(), Error> {
    if repo.archived {
        return Err(Error::about(Class::Denied, what, ARCHIVED)
            .help("unarchive the repository, or point forge.repository at another one"));
    }
    Ok(())
}

/// Fails if the response is about a repository with another name: the forge may follow a renaming
/// itself.
pub(super) fn check_name(reply: &Reply, wanted: &str, repo: &Repo) -> Result<(), Error> {
    if repo.full_name.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(renamed(reply.what(), wanted, &repo.full_name))
}

/// The error of merging into `target`, which allows only the methods `allowed`.
pub(super) fn method_refused(
    what: String,
    method: MergeMethod,
    target: &str,
    allowed: &[&str],
) -> Error {
    let method = method.as_str();
    if allowed.is_empty() {
        let reason = format!("{target} allows no merge method");
        return Error::about(Class::Refused, what, reason)
            .help("allow a merge method in the repository's settings");
    }
    let allowed = allowed.join(" or ");
    let reason = format!("forge.merge_method is {method}, and {target} allows {allowed}");
    Error::about(Class::Refused, what, reason).help(format!(
        "set forge.merge_method to auto or {allowed}, or allow {method} in the repository's settings"
    ))
}

/// The content of a blob, verified by its id.
pub(super) fn verified(content: Vec<u8>, id: &str, what: &str) -> Result<Vec<u8>, Error> {
    if blob_id(&content, id) == id {
        return Ok(content);
    }
    let reason = "the content does not match the requested digest";
    Err(Error::unavailable(what, reason))
}

/// The response to a request that opens a pull request.
pub(super) enum OpenReply {
    Received(Reply),
    /// The response was lost, with the reason. The pull request may be open.
    Lost(String),
}

impl Http {
    /// The response; `None` if its status is one of `absent`.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        request: &Request,
        absent: &[u16],
    ) -> Result<Option<T>, Error> {
        let reply = self.send(request).await?;
        if absent.contains(&reply.status.as_u16()) {
            Ok(None)
        } else {
            reply.expect(&[200]).map(Some)
        }
    }

    /// The response to a request that changes something; an error records whether the change may have
    /// been made.
    pub(super) async fn write(&self, request: &Request) -> Result<Reply, Error> {
        self.send(request).await.map_err(|failure| Error {
            may_have_changed: failure.unsure,
            ..failure.error
        })
    }

    /// The response to a request that opens a pull request.
    pub(super) async fn open_pull(&self, request: &Request) -> Result<OpenReply, Error> {
        match self.send(request).await {
            Ok(reply) => Ok(OpenReply::Received(reply)),
            Err(failure) if failure.unsure => Ok(OpenReply::Lost(failure.error.message)),
            Err(failure) => Err(failure.error),
        }
    }

    /// The response about the repository itself.
    pub(super) async fn repository(&self, request: &Request) -> Result<Reply, Error> {
        let reply = self.send(request).await?;
        if reply.status == 404 {
            let hint =
                "check forge.url and forge.repository, and that the token may read the repository";
            return Err(reply.error().class(Class::Denied).help(hint));
        }
        Ok(reply)
    }

    /// The response about the configured base branch.
    pub(super) async fn base_branch<T: DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<T, Error> {
        let reply = self.send(request).await?;
        if reply.status == 404 {
            return Err(reply.error().class(Class::Refused).help(MISSING_BASE));
        }
        reply.expect(&[200])
    }

    /// A pull request, unless it is unchanged; that response does not count against a rate limit.
    pub(super) async fn poll<T: DeserializeOwned>(
        &self,
        mut request: Request,
        etag: Option<&str>,
        pull: impl FnOnce(T) -> Pull,
    ) -> Result<Poll, Error> {
        request.etag = etag.map(str::to_owned);
        let reply = self.send(&request).await?;
        match reply.status.as_u16() {
            304 => return Ok(Poll::Unchanged),
            404 => return Ok(Poll::Absent),
            _ => {}
        }
        let etag = reply.header("etag").map(str::to_owned);
        Ok(Poll::Changed(Box::new(pull(reply.expect(&[200])?)), etag))
    }

    /// The content of a blob, verified by its id.
    pub(super) async fn content(&self, request: &Request, id: &str) -> Result<Vec<u8>, Error> {
        let blob: Blob = self.send(request).await?.expect(&[200])?;
        verified(blob.bytes(&request.what)?, id, &request.what)
    }

    /// The version of a server, requested once for all of its repositories.
    pub(super) async fn version(&self, kind: Kind) -> Result<String, Error> {
        let read = async || {
            let what = format!("{}: reading its version", kind.name());
            let request = Request::new(Method::GET, ["version"], what);
            let row: VersionRow = self.send(&request).await?.expect(&[200])?;
            Ok(row.version)
        };
        let version = self.server.version.get_or_try_init(read).await;
        version.cloned()
    }

    /// The error of a server that is too old. `oldest`: the supported versions.
    pub(super) fn unsupported(&self, kind: Kind, version: &str, oldest: &str) -> Error {
        let version = self.clean(version);
        let reason = format!("version {version} is not supported: repin needs {oldest}");
        let what = format!("{}: the server at {}", kind.name(), self.base());
        Error::about(Class::Input, what, reason)
            .help("upgrade the server, or promote with --apply in a clone and push")
    }

    /// The repositories of an organization or, if none has this name, of a user. `requests`: both listings.
    pub(super) async fn of_owner<T: DeserializeOwned>(
        &self,
        requests: [Request; 2],
        paging: Paging,
        owner: &str,
    ) -> Result<Vec<T>, Error> {
        for request in &requests {
            match self.pages(request, paging).await {
                Err(error) if error.status == Some(404) => {}
                rows => return rows,
            }
        }
        let reason = format!("the server knows no `{owner}`, or does not show it to this token");
        Err(Error::about(Class::Input, &requests[0].what, reason)
            .help("check the name of the organization or group"))
    }

    pub(super) async fn post_comment(&self, request: Request, text: &str) -> Result<(), Error> {
        self.send(&request.body(json!({"body": text})))
            .await?
            .check(&[201])
    }

    /// Opens an issue; `permission`: the permission for it.
    pub(super) async fn new_issue(
        &self,
        request: Request,
        names: &EditNames,
        [title, body]: [&str; 2],
        permission: &str,
    ) -> Result<Issue, Error> {
        let body = json!({"title": title, names.body: body});
        let reply = self.send(&request.body(body)).await?;
        reply
            .expect::<IssueRow>(&[201])
            .map(Issue::from)
            .map_err(|error| issue_refused(error, permission))
    }

    /// Changes an issue. Gitea answers 201.
    pub(super) async fn edit_issue(
        &self,
        request: Request,
        names: &EditNames,
        edit: &Edit<'_>,
        permission: &str,
    ) -> Result<(), Error> {
        let body = edit.request_body(names, |title, _| title.to_owned());
        let reply = self.send(&request.body(body)).await?;
        reply
            .check(&[200, 201])
            .map_err(|error| issue_refused(error, permission))
    }
}

/// The reason for which every write to an archived repository is refused.
pub(super) const ARCHIVED: &str = "the repository is archived: it is read-only";

/// The remedy for a missing base branch.
pub(super) const MISSING_BASE: &str = "the branch does not exist: correct forge.base";

/// The remedy for a token with which no checks start.
pub(crate) const ANOTHER_TOKEN: &str = "use the token of a GitHub App (actions/create-github-app-token) or a fine-grained token of a user, \
                                 with `contents: write` and `pull-requests: write`, as REPIN_FORGE_TOKEN";

/// The permissions that a run will need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RequiredRights {
    /// Whether files of workflows change.
    pub workflows: bool,
    /// Workflows that are started once a pull request is merged.
    pub dispatch: Vec<String>,
    /// Whether versions of packages are listed and deleted through the forge.
    pub packages: bool,
    /// Names like those of the branches that are pushed.
    pub branches: Vec<String>,
    /// The branch that merges are scheduled into, empty for the default branch; `None` without such merges.
    pub merges_into: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Making commits and branches.
    Contents,
    /// Opening and changing pull requests.
    PullRequests,
    /// Changing the files of workflows.
    Workflows,
    /// Starting workflows.
    Actions,
    /// Listing and deleting versions of images.
    Packages,
}

/// A permission, and whether the token has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Right {
    pub permission: Permission,
    pub verdict: Verdict,
}

/// Whether a token has a permission, with the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Has(String),
    /// The evidence and the remedy.
    Lacks(String, String),
    /// The forge does not report it, or nothing needs it.
    Unknown(String),
    /// It suffices, but something about its use is unsafe: the reason and the remedy.
    Warns(String, String),
}

impl Permission {
    /// The permission with the reason if it is unnecessary; `None` if it is required.
    pub(super) fn unneeded(self, required: &RequiredRights) -> Option<Right> {
        let reason = match self {
            Self::Contents | Self::PullRequests => return None,
            Self::Workflows if required.workflows => return None,
            Self::Actions if !required.dispatch.is_empty() => return None,
            Self::Packages if required.packages => return None,
            Self::Workflows => "not needed: no pin is in .github/workflows",
            Self::Actions => "not needed: forge.dispatch names no workflow",
            Self::Packages => "not needed: nothing is pruned through the forge",
        };
        Some(self.with(Verdict::unknown(reason)))
    }

    pub(super) fn with(self, verdict: Verdict) -> Right {
        Right {
            permission: self,
            verdict,
        }
    }
}

impl Verdict {
    pub(super) fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown(reason.into())
    }

    pub(super) fn lacks(reason: impl Into<String>, hint: &str) -> Self {
        Self::Lacks(reason.into(), hint.to_owned())
    }

    /// The verdict of a write that would be refused with this error.
    pub(super) fn from_refusal(error: &Error) -> Self {
        Self::Lacks(error.to_string(), error.help.clone().unwrap_or_default())
    }

    /// The verdict of a request without an effect: a refusal proves that the permission is missing,
    /// a success proves nothing about writing; `unknown` is the reason then.
    pub(super) fn from_reading(read: Result<(), Error>, unknown: &str) -> Result<Self, Error> {
        match read {
            Ok(()) => Ok(Self::unknown(unknown)),
            Err(error) if error.class == Class::Denied => {
                let hint = error
                    .help
                    .clone()
                    .unwrap_or_else(|| "give the token this permission".to_owned());
                Ok(Self::Lacks(format!("reading is denied: {error}"), hint))
            }
            Err(error) => Err(error),
        }
    }
}

/// All permissions of a token. `others`: the reasons why those besides contents and pull requests are unknown, unless
/// `required` shows that one is unnecessary.
pub(super) fn rights(
    contents: Verdict,
    pulls: Verdict,
    others: [String; 3],
    required: Option<&RequiredRights>,
) -> Vec<Right> {
    use Permission::{Actions, Contents, Packages, PullRequests, Workflows};
    let mut rights = vec![Contents.with(contents), PullRequests.with(pulls)];
    for (permission, reason) in [Workflows, Actions, Packages].into_iter().zip(others) {
        let unneeded = required.and_then(|required| permission.unneeded(required));
        rights.push(unneeded.unwrap_or_else(|| permission.with(Verdict::unknown(reason))));
    }
    rights
}

/// The verdict by the scopes of a token; one of `sufficient` grants the permission.
pub(super) fn by_scopes(scopes: &[String], sufficient: &[&str]) -> Verdict {
    let evidence = format!("its scopes are `{}`", scopes.join(", "));
    let is_granted = scopes
        .iter()
        .any(|scope| sufficient.contains(&scope.as_str()));
    if is_granted {
        return Verdict::Has(evidence);
    }
    let sufficient = sufficient.join("` or `");
    Verdict::Lacks(evidence, format!("give the token the scope `{sufficient}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_whole_words() {
        let verdict = |scopes: &[&str]| {
            let scopes: Vec<_> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            matches!(
                by_scopes(&scopes, &["repo", "public_repo"]),
                Verdict::Has(_)
            )
        };
        assert!(verdict(&["gist", "repo"]) && verdict(&["public_repo"]));
        assert!(!verdict(&["repo:status"]) && !verdict(&[]));
    }

    #[test]
    fn successful_read_leaves_write_permission_unknown() {
        let error = |kind| Err(Error::about(kind, "x", "y"));
        assert!(
            matches!(Verdict::from_reading(Ok(()), "z"), Ok(Verdict::Unknown(reason)) if reason == "z")
        );
        assert!(matches!(
            Verdict::from_reading(error(Class::Denied), "z"),
            Ok(Verdict::Lacks(..))
        ));
        assert!(Verdict::from_reading(error(Class::Unavailable), "z").is_err());
    }

    #[test]
    fn unneeded_permissions_are_reported_as_such() {
        let none = RequiredRights::default();
        assert!(
            Permission::Contents.unneeded(&none).is_none()
                && Permission::PullRequests.unneeded(&none).is_none()
        );
        let all = RequiredRights {
            workflows: true,
            dispatch: vec!["x".to_owned()],
            packages: true,
            ..RequiredRights::default()
        };
        for permission in [
            Permission::Workflows,
            Permission::Actions,
            Permission::Packages,
        ] {
            assert!(permission.unneeded(&none).is_some() && permission.unneeded(&all).is_none());
        }
    }
}
