//! The new names of renamed or transferred repositories, from the redirects of a forge.
//!
//! URLs outside of the base of the API are neither requested nor trusted.

use reqwest::Method;
use serde::Deserialize;

use super::{Http, Reply, Request};
use crate::{
    base::{
        error::{Class, Error},
        untrusted,
    },
    forge::fleet::RepositoryName,
};

#[derive(Deserialize)]
struct FullName {
    full_name: String,
}

impl Http {
    /// The error of a request for a repository that was renamed or transferred. The redirect of
    /// Gitea and Forgejo contains the new name, that of GitHub the number of the repository.
    pub(super) async fn renamed(&self, request: &Request, reply: &Reply) -> Option<Error> {
        let [top, owner, name, ..] = &*request.path else {
            return None;
        };
        let target = self.below_base(reply.header("location")?)?;
        let new = match target.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["repos", owner, name, ..] => format!("{owner}/{name}"),
            ["repositories", number, ..] if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                let path = ["repositories", number];
                let request = Request::new(Method::GET, path, "reading the new name");
                let row: FullName = self.exchange(&request).await.ok()?.expect(&[200]).ok()?;
                row.full_name
            }
            _ => return None,
        };
        let old = format!("{owner}/{name}");
        let is_other =
            RepositoryName::parse(&new).is_some_and(|name| name.is_plain() && !name.is(&old));
        (top == "repos" && is_other).then(|| renamed(&reply.what, &old, &new))
    }

    /// The segments of a URL below the base of the API; `None` if the URL is outside.
    fn below_base(&self, location: &str) -> Option<Vec<String>> {
        let url = self.base.join(location).ok()?;
        if url.origin() != self.base.origin() {
            return None;
        }
        let base = self.base.path().trim_end_matches('/');
        let below = url.path().strip_prefix(base)?.strip_prefix('/')?;
        Some(below.split('/').map(str::to_owned).collect())
    }
}

/// The error of a repository that was renamed. `new`: the name in a response.
pub(crate) fn renamed(what: &str, old: &str, new: &str) -> Error {
    let new = untrusted::plain(new);
    Error::about(Class::Input, what, format!("{old} was renamed to {new}")).help(format!(
        "set forge.repository to {new}; if it is not configured, correct the URL of the remote: git remote set-url origin URL"
    ))
}
