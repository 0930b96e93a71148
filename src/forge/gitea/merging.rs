//! How a pull request is merged: by the style that is configured and allowed, at once or scheduled.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Gitea, refusal::refused};
use crate::{
    config::MergeMethod,
    error::Error,
    forge::{Merge, Merging, Pull, Queue, shared},
};

const FAST_FORWARD: &str = "fast-forward-only";

/// The setting that allows a style of merging, and the style's name.
const STYLES: [(&str, &str); 5] = [
    ("allow_merge_commits", "merge"),
    ("allow_squash_merge", "squash"),
    ("allow_rebase", "rebase"),
    ("allow_rebase_explicit", "rebase-merge"),
    ("allow_fast_forward_only_merge", FAST_FORWARD),
];

#[async_trait(?Send)]
impl Merging for Gitea {
    async fn admits(&self, _base: &str) -> Result<(), Error> {
        if self.method != MergeMethod::Auto {
            self.merge_style().await?;
        }
        Ok(())
    }

    async fn is_outdated(&self, _pull: Option<&Pull>, _base: &str) -> Result<bool, Error> {
        Ok(false)
    }

    fn waits_for_silent(&self) -> bool {
        false
    }

    /// Gitea does since 1.24. A direct merge is right on every version, so the version is not
    /// requested.
    fn checks_when_scheduled(&self) -> bool {
        false
    }

    async fn auto_merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        let style = self.merge_style().await?;
        if style == FAST_FORWARD && !self.version().await?.schedules_fast_forward() {
            return Ok(Merge::Unscheduled(
                "the repository merges by fast-forward only, and Gitea cannot schedule such a merge"
                    .to_owned(),
            ));
        }
        let body = json!({"Do": style, "merge_when_checks_succeed": true, "head_commit_id": head});
        self.ask_to_merge(pull, body).await
    }

    async fn cancel_merge(&self, pull: &Pull) -> Result<bool, Error> {
        let what = format!("cancelling the scheduled merge of #{}", pull.number);
        let path = format!("pulls/{}/merge", pull.number);
        let reply = self
            .http
            .send(&self.request(Method::DELETE, &path, what))
            .await?;
        match reply.status.as_u16() {
            200 | 204 => Ok(true),
            404 => Ok(false),
            _ => Err(refused(&reply)),
        }
    }

    async fn merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        let style = self.merge_style().await?;
        self.ask_to_merge(pull, json!({"Do": style, "head_commit_id": head}))
            .await
    }

    /// Neither Gitea nor Forgejo has merge queues.
    async fn queue(&self, _pull: &Pull) -> Result<Queue, Error> {
        Ok(Queue::Missing)
    }
}

impl Gitea {
    async fn ask_to_merge(&self, pull: &Pull, body: Value) -> Result<Merge, Error> {
        let path = format!("pulls/{}/merge", pull.number);
        let request = self.request(Method::POST, &path, format!("merging #{}", pull.number));
        // A second time is refused, since it is scheduled or merged.
        let reply = self.http.send(&request.body(body).harmless()).await?;
        match reply.status.as_u16() {
            200 => Ok(Merge::Merged),
            201 => Ok(Merge::Scheduled),
            409 if reply.text().contains("already") => Ok(Merge::Scheduled),
            403 => Err(reply
                .error()
                .help("give the token the scope write:repository, and let its owner merge")),
            423 => Err(refused(&reply)),
            // The same response while it checks for conflicts, which it does right after the branch
            // was made, and where there is one.
            405 if reply.text().contains("try again later") => Ok(Merge::Later(
                "the forge is still checking it for conflicts, or found one".to_owned(),
            )),
            404 | 405 | 409 | 422 => Ok(Merge::Refused(reply.text())),
            _ => Err(reply.error()),
        }
    }

    /// The configured style, otherwise the repository's preferred style if it is allowed, otherwise
    /// the first allowed one. A server schedules a disallowed style but never merges with it, so it
    /// is refused here.
    async fn merge_style(&self) -> Result<&'static str, Error> {
        let reply = self
            .http
            .send(&self.request(Method::GET, "", "reading the merge settings"))
            .await?;
        let row: Value = reply.expect(&[200])?;
        let allowed = STYLES.iter().filter(|(key, _)| row[*key] == true);
        let allowed: Vec<_> = allowed.map(|(_, style)| *style).collect();
        let preferred = row["default_merge_style"].as_str().unwrap_or_default();
        let find = |name: &str| allowed.iter().find(|style| **style == name);
        let style = match self.method {
            MergeMethod::Auto => find(preferred).or(allowed.first()),
            method => find(method.as_str()),
        };
        style.copied().ok_or_else(|| {
            let what = format!("Gitea: merging into {}", self.full_name());
            shared::method_refused(what, self.method, "the repository", &allowed)
        })
    }
}
