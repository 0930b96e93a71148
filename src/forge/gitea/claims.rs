//! Marks that can be made once: branches, made together with a commit.
//!
//! Tags would not do: of several that are made at once the server keeps one, answers 500 to all
//! later ones, and cannot delete it. A push to a branch that exists is refused by git itself. The
//! commit's message holds a word of its maker's, so that a mark whose answer was lost is known
//! again, and `[skip ci]`, so that no workflow starts on the push.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Gitea,
    commit::{is_rejected, refusal, rejected},
};
use crate::{
    error::Error,
    forge::{
        Claim,
        http::{Paging, Reply},
    },
};

/// What the names of all marks begin with.
const MARKS: &str = "repin/";

/// How long a mark is kept: longer than anybody waits for a merge.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[derive(Deserialize)]
struct Branch {
    name: String,
    commit: Commit,
}

#[derive(Deserialize)]
struct Commit {
    #[serde(default)]
    message: String,
    #[serde(default)]
    timestamp: String,
}

fn branch(claim: &Claim<'_>) -> String {
    format!("{MARKS}{}", claim.name)
}

impl Gitea {
    pub(super) async fn make_claim(&self, claim: &Claim<'_>) -> Result<bool, Error> {
        let what = format!("claiming {}", claim.name);
        let message = format!(
            "{} [skip ci]\n\nMade by repin so that one run alone does this. {}\n",
            claim.name, claim.word
        );
        let file = json!({"operation": "create", "path": format!(".{MARKS}{}", claim.name), "content": STANDARD.encode(claim.word)});
        let body = json!({"branch": claim.base, "new_branch": branch(claim), "message": message, "files": [file]});
        let request = self.request(Method::POST, "contents", &what).body(body);
        let reply = match self.http.send(&request).await {
            Ok(reply) => reply,
            Err(failure) if is_rejected(&failure) => {
                return Err(rejected(failure, &branch(claim)));
            }
            // Of several at once those that come second are answered with 500.
            Err(failure) if failure.unsure => {
                return match self.holder(claim).await? {
                    Some(ours) => Ok(ours),
                    None => Err(failure.error),
                };
            }
            Err(failure) => return Err(failure.error),
        };
        match reply.status.as_u16() {
            200 | 201 => Ok(true),
            409 | 422 => match self.holder(claim).await? {
                Some(ours) => Ok(ours),
                None => Err(refusal(&reply)),
            },
            _ => Err(denied(&reply)),
        }
    }

    /// Whether the mark is this run's own; `None`: there is none.
    async fn holder(&self, claim: &Claim<'_>) -> Result<Option<bool>, Error> {
        let path = format!("branches/{}", branch(claim));
        let request = self.request(
            Method::GET,
            &path,
            format!("looking who claimed {}", claim.name),
        );
        let there: Option<Branch> = self.http.find(&request, &[404]).await?;
        Ok(there.map(|branch| branch.commit.message.contains(claim.word)))
    }

    pub(super) async fn drop_claim(&self, claim: &Claim<'_>) -> Result<(), Error> {
        self.drop_mark(&branch(claim)).await
    }

    async fn drop_mark(&self, name: &str) -> Result<(), Error> {
        let what = format!("deleting the mark {name}");
        let request = self.request(Method::DELETE, &format!("branches/{name}"), what);
        self.http.send(&request).await?.check(&[204, 404])
    }

    pub(super) async fn drop_old_claims(&self) -> Result<(), Error> {
        let request = self.request(Method::GET, "branches", "listing marks");
        let branches: Vec<Branch> = self.http.pages(&request, Paging::Counted).await?;
        let now = OffsetDateTime::from((self.http.now())());
        for branch in branches {
            let made = OffsetDateTime::parse(&branch.commit.timestamp, &Rfc3339).ok();
            let old = made.is_some_and(|made| now - made > KEPT);
            if branch.name.starts_with(&format!("{MARKS}dispatched/")) && old {
                self.drop_mark(&branch.name).await?;
            }
        }
        Ok(())
    }
}

fn denied(reply: &Reply) -> Error {
    match reply.status.as_u16() {
        403 => reply.error().help("the token needs write:repository"),
        _ => refusal(reply),
    }
}
