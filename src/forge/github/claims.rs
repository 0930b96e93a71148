//! Marks that can be made once: references of our own, which GitHub makes only if they are not
//! there.
//!
//! Each points at a tag object with a word of its maker's, so that a mark whose answer was lost is
//! known again.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::Github;
use crate::{
    error::{Class, Error},
    forge::{Claim, http::Reply},
};

#[derive(Deserialize)]
struct Named {
    sha: String,
}

#[derive(Deserialize)]
struct Reference {
    object: Named,
}

/// Neither a branch nor a tag: it starts no workflow, and nobody sees it who does not look for it.
fn reference(claim: &Claim<'_>) -> String {
    format!("repin/{}", claim.name)
}

impl Github {
    pub(super) async fn make_claim(&self, claim: &Claim<'_>) -> Result<bool, Error> {
        let what = format!("claiming {}", claim.name);
        let body = json!({"tag": claim.name, "message": claim.word, "object": claim.commit, "type": "commit"});
        let request = self
            .request(Method::POST, "git/tags", &what)
            .body(body)
            .harmless();
        let reply = self.http.send(&request).await?;
        let object = if reply.status == 201 {
            reply.expect::<Named>(&[201])?.sha
        } else {
            return Err(refused(&reply));
        };

        let body = json!({"ref": format!("refs/{}", reference(claim)), "sha": object});
        // A second time is refused, since the reference is there.
        let reply = self
            .http
            .send(
                &self
                    .request(Method::POST, "git/refs", &what)
                    .body(body)
                    .harmless(),
            )
            .await?;
        match reply.status.as_u16() {
            201 => Ok(true),
            409 | 422 if reply.text().contains("already exists") => {
                let there =
                    self.request(Method::GET, &format!("git/ref/{}", reference(claim)), what);
                Ok(self
                    .http
                    .send(&there)
                    .await?
                    .expect::<Reference>(&[200])?
                    .object
                    .sha
                    == object)
            }
            _ => Err(refused(&reply)),
        }
    }

    pub(super) async fn drop_claim(&self, claim: &Claim<'_>) -> Result<(), Error> {
        let what = format!("giving {} back", claim.name);
        let request = self.request(
            Method::DELETE,
            &format!("git/refs/{}", reference(claim)),
            what,
        );
        self.http.send(&request).await?.check(&[204, 404, 422])
    }
}

fn refused(reply: &Reply) -> Error {
    let error = reply.error();
    match reply.status.as_u16() {
        403 | 404 => error
            .class(Class::Denied)
            .help("the token needs `contents: write`"),
        _ => error,
    }
}
