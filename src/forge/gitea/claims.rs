//! Marks that can be made once: tags, the only references besides branches that the API makes.
//!
//! Each has a word of its maker's as its message, so that a mark whose answer was lost is known
//! again.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::Gitea;
use crate::forge::{Claim, Error};

#[derive(Deserialize)]
struct Tag {
    #[serde(default)]
    message: String,
}

fn tag(claim: &Claim<'_>) -> String {
    format!("repin/{}", claim.name)
}

impl Gitea {
    pub(super) async fn make_claim(&self, claim: &Claim<'_>) -> Result<bool, Error> {
        let what = format!("claiming {}", claim.name);
        let body = json!({"tag_name": tag(claim), "message": claim.word, "target": claim.commit});
        // A second time is refused, since the tag is there.
        let reply = self
            .http
            .send(
                &self
                    .request(Method::POST, "tags", &what)
                    .body(body)
                    .harmless(),
            )
            .await?;
        match reply.status.as_u16() {
            201 => Ok(true),
            409 => {
                let there = self.request(Method::GET, &format!("tags/{}", tag(claim)), what);
                Ok(self
                    .http
                    .send(&there)
                    .await?
                    .expect::<Tag>(&[200])?
                    .message
                    .trim()
                    == claim.word)
            }
            403 => Err(reply.error().hint("the token needs write:repository")),
            _ => Err(reply.error()),
        }
    }

    pub(super) async fn drop_claim(&self, claim: &Claim<'_>) -> Result<(), Error> {
        let what = format!("giving {} back", claim.name);
        let request = self.request(Method::DELETE, &format!("tags/{}", tag(claim)), what);
        self.http.send(&request).await?.check(&[204, 404])
    }
}
