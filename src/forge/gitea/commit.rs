//! One commit and the branch at it, in one request.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Gitea;
use crate::forge::{Error, NewCommit, Published, Was};

#[derive(Deserialize)]
struct Answer {
    commit: Made,
}

#[derive(Deserialize)]
struct Made {
    sha: String,
    #[serde(default)]
    parents: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    sha: String,
}

impl Gitea {
    pub(super) async fn make_commit(
        &self,
        new: &NewCommit<'_>,
        branch: &str,
        was: &Was,
    ) -> Result<Published, Error> {
        if self.base_moved(new).await? {
            return Ok(Published::BaseMoved);
        }
        match was {
            Was::Absent => {}
            Was::Behind(head) if *head == new.parent.commit => {
                return self.change_files(new, (branch, None)).await;
            }
            Was::Behind(head) | Was::Diverged(head) => {
                if let Some(raced) = self.delete_branch(branch, head).await? {
                    return Ok(raced);
                }
            }
        }
        self.change_files(new, (new.base, Some(branch))).await
    }

    async fn base_moved(&self, new: &NewCommit<'_>) -> Result<bool, Error> {
        Ok(self
            .read_branch(new.base)
            .await?
            .is_none_or(|head| head.commit != new.parent.commit))
    }

    /// The forge can't delete a branch only if it is at a given commit, so it is looked at right
    /// before.
    async fn delete_branch(&self, branch: &str, head: &str) -> Result<Option<Published>, Error> {
        if self
            .read_branch(branch)
            .await?
            .is_none_or(|now| now.commit != *head)
        {
            return Ok(Some(Published::Raced(
                "the branch was moved meanwhile".to_owned(),
            )));
        }
        let what = format!("deleting the branch {branch}, to make it again from its base");
        let reply = self
            .http
            .send(&self.request(Method::DELETE, &format!("branches/{branch}"), what))
            .await?;
        reply.check(&[204, 404]).map(|()| None)
    }

    async fn change_files(
        &self,
        new: &NewCommit<'_>,
        (from, to): (&str, Option<&str>),
    ) -> Result<Published, Error> {
        let files: Vec<Value> = new
            .files
            .iter()
            .map(|file| {
                // The content that it has: if that is another by now, nothing is written. The mode
                // stays.
                json!({"operation": "update", "path": file.path, "sha": file.old, "content": STANDARD.encode(&file.content)})
            })
            .collect();
        let mut body = json!({"branch": from, "message": new.message, "files": files});
        if let Some(to) = to {
            body["new_branch"] = to.into();
        }
        let what = format!("making the commit on {}", to.unwrap_or(from));
        let reply = match self
            .http
            .send(&self.request(Method::POST, "contents", what).body(body))
            .await
        {
            Ok(reply) => reply,
            // Whoever asked looks how the branch is now.
            Err(failure) if failure.unsure => return Ok(Published::Raced(failure.error.why)),
            Err(failure) => return Err(failure.error),
        };
        match reply.status.as_u16() {
            200 | 201 => {
                let made = reply.expect::<Answer>(&[200, 201])?.commit;
                let right = made.parents.len() == 1 && made.parents[0].sha == new.parent.commit;
                Ok(if right {
                    Published::Done(made.sha)
                } else {
                    Published::BaseMoved
                })
            }
            409 | 422 if self.base_moved(new).await? => Ok(Published::BaseMoved),
            409 | 422 => Ok(Published::Raced(reply.text())),
            403 => Err(reply
                .error()
                .hint("the token needs write:repository, and the branch must not be protected")),
            _ => Err(reply.error()),
        }
    }
}
