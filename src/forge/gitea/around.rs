//! Around a pull request: statuses, what a branch requires, merging, workflows, issues.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Gitea;
use crate::forge::{
    Ability, Edit, Error, ErrorKind, Issue, Merge, Pull, Said, Status, StatusKind,
    alike::{IssueRow, issues},
    http::{Paging, Request},
};

/// What a token needs for issues.
const ISSUES: &str = "write:issue";

#[derive(Deserialize)]
struct Named {
    sha: String,
}

#[derive(Deserialize)]
struct StatusRow {
    id: u64,
    status: String,
    context: String,
    target_url: Option<String>,
    created_at: String,
}

#[derive(Deserialize)]
struct BranchRow {
    #[serde(default)]
    enable_status_check: bool,
    status_check_contexts: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

impl StatusRow {
    fn status(self) -> Status {
        let said = match self.status.as_str() {
            "success" | "skipped" => Said::Pass,
            "pending" => Said::Pending,
            _ => Said::Fail,
        };
        let kind = StatusKind::Status;
        Status {
            context: self.context,
            said,
            url: self.target_url,
            at: self.created_at,
            id: self.id,
            kind,
        }
    }
}

impl Gitea {
    pub(super) async fn read_commit(&self, reference: &str) -> Result<Option<String>, Error> {
        // A branch's name may have slashes, which the other place does not take.
        let named = !reference.bytes().all(|b| b.is_ascii_hexdigit());
        if named && let Some(head) = self.read_branch(reference).await? {
            return Ok(Some(head.commit));
        }
        let what = format!("looking up {reference}");
        let request = self.request(Method::GET, &format!("git/commits/{reference}"), what);
        let named: Option<Named> = self.http.find(&request, &[404, 422]).await?;
        Ok(named.map(|named| named.sha))
    }

    pub(super) async fn read_statuses(&self, commit: &str) -> Result<Vec<Status>, Error> {
        let request = self.request(
            Method::GET,
            &format!("commits/{commit}/statuses"),
            "reading statuses",
        );
        let rows: Vec<StatusRow> = self.http.pages(&request, Paging::Counted).await?;
        Ok(rows.into_iter().map(StatusRow::status).collect())
    }

    pub(super) async fn read_required(&self, branch: &str) -> Result<Option<Vec<String>>, Error> {
        let what = format!("reading what {branch} requires");
        let row: BranchRow = self
            .http
            .base_branch(&self.request(Method::GET, &format!("branches/{branch}"), what))
            .await?;
        let contexts = row.status_check_contexts.unwrap_or_default();
        Ok(Some(if row.enable_status_check {
            contexts
        } else {
            Vec::new()
        }))
    }

    pub(super) async fn schedule_merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        self.ask_to_merge(
            pull,
            json!({"merge_when_checks_succeed": true, "head_commit_id": head}),
        )
        .await
    }

    pub(super) async fn merge_now(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        self.ask_to_merge(pull, json!({"head_commit_id": head}))
            .await
    }

    async fn ask_to_merge(&self, pull: &Pull, mut body: Value) -> Result<Merge, Error> {
        body["Do"] = self.merge_style().await?.into();
        let path = format!("pulls/{}/merge", pull.number);
        let request = self.request(Method::POST, &path, format!("merging #{}", pull.number));
        // A second time is refused, since it is scheduled or merged.
        let reply = self.http.send(&request.body(body).harmless()).await?;
        match reply.status.as_u16() {
            200 => Ok(Merge::Merged),
            201 => Ok(Merge::Scheduled),
            409 if reply.text().contains("already") => Ok(Merge::Scheduled),
            403 => Err(reply.error().hint(
                "the token needs write:repository, and its owner has to be allowed to merge",
            )),
            // While it looks for conflicts, which it does right after the branch was made.
            405 if reply.text().contains("try again later") => Ok(Merge::Later(reply.text())),
            404 | 405 | 409 | 422 | 423 => Ok(Merge::Refused(reply.text())),
            _ => Err(reply.error()),
        }
    }

    /// The first way of merging that the repository allows.
    async fn merge_style(&self) -> Result<&'static str, Error> {
        let reply = self
            .http
            .send(&self.request(Method::GET, "", "reading how to merge"))
            .await?;
        let row: Value = reply.expect(&[200])?;
        let ways = [
            ("allow_merge_commits", "merge"),
            ("allow_squash_merge", "squash"),
            ("allow_rebase", "rebase"),
        ];
        Ok(ways
            .iter()
            .find(|(key, _)| row[*key] == true)
            .map_or("merge", |(_, style)| style))
    }

    /// Gitea starts workflows by request from 1.24 on, Forgejo from 8 on; there they have to be,
    /// since a merge made with a token of a workflow starts none.
    pub(super) async fn dispatch_ability(&self, _workflow: &str) -> Result<Ability, Error> {
        let request = Request::new(Method::GET, ["version"], "Gitea: reading its version");
        let version: Version = self.http.send(&request).await?.expect(&[200])?;
        if starts_workflows(&version.version) {
            return Ok(Ability::Yes);
        }
        let version = self.http.clean(&version.version);
        Ok(Ability::No(format!(
            "{version} can't be asked to start workflows, and starts them after a merge by itself"
        )))
    }

    pub(super) async fn start_workflow(&self, workflow: &str, branch: &str) -> Result<(), Error> {
        let path = format!("actions/workflows/{workflow}/dispatches");
        let request = self.request(
            Method::POST,
            &path,
            format!("starting the workflow {workflow}"),
        );
        let reply = self
            .http
            .send(&request.body(json!({"ref": branch})))
            .await?;
        reply
            .check(&[200, 201, 204])
            .map_err(|error| match error.kind {
                ErrorKind::Denied => error.hint("the token needs write:repository"),
                _ => error,
            })
    }

    pub(super) async fn list_issues(&self) -> Result<Vec<Issue>, Error> {
        let request = self
            .request(Method::GET, "issues", "listing issues")
            .query("state", "open")
            .query("type", "issues");
        let rows: Vec<IssueRow> = self.http.pages(&request, Paging::Counted).await?;
        Ok(issues(rows))
    }

    pub(super) async fn make_issue(&self, title: &str, body: &str) -> Result<Issue, Error> {
        let request = self.request(Method::POST, "issues", "opening an issue");
        self.http.new_issue(request, (title, body), ISSUES).await
    }

    pub(super) async fn change_issue(&self, number: u64, edit: &Edit<'_>) -> Result<(), Error> {
        let request = self.request(
            Method::PATCH,
            &format!("issues/{number}"),
            format!("changing issue #{number}"),
        );
        self.http
            .edited_issue(request, edit, (&[200, 201], ISSUES))
            .await
    }
}

/// `1.24.0`, or for Forgejo `8.0.1+gitea-1.22.0`.
fn starts_workflows(version: &str) -> bool {
    let (own, forgejo) = version
        .split_once('+')
        .map_or((version, false), |(own, rest)| {
            (own, rest.starts_with("gitea"))
        });
    let mut numbers = own
        .split(['.', '-'])
        .map(|part| part.parse::<u32>().unwrap_or_default());
    let version = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    if forgejo {
        version.0 >= 8
    } else {
        version >= (1, 24)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_tell_what_can_be_asked_for() {
        for yes in [
            "1.24.0",
            "1.25.1",
            "2.0.0",
            "8.0.0+gitea-1.22.0",
            "17.0.0-dev-609-a14eb80977+gitea-1.22.0",
        ] {
            assert!(starts_workflows(yes), "{yes}");
        }
        for no in ["1.23.8", "1.22.0+dev-1-g12", "7.0.3+gitea-1.21.11", "", "x"] {
            assert!(!starts_workflows(no), "{no}");
        }
    }
}
