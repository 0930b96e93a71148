//! Repositories that were renamed or transferred: their new names, from the redirects of a forge.
//!
//! Nothing outside of the API's base is requested or believed.

use reqwest::Method;
use serde::Deserialize;

use super::{Http, Reply, Request};
use crate::{
    error::{Class, Error},
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
        let to = self.below_base(reply.header("location")?)?;
        let now = match to.iter().map(String::as_str).collect::<Vec<_>>()[..] {
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
        let good = RepositoryName::parse(&now).is_some_and(|now| now.is_plain() && !now.is(&old));
        (top == "repos" && good).then(|| renamed(&reply.what, &old, &now))
    }

    /// The path of an address below the API's base; `None` if the address is elsewhere.
    fn below_base(&self, address: &str) -> Option<Vec<String>> {
        let to = self.base.join(address).ok()?;
        let base = self.base.path().trim_end_matches('/');
        let below = to.path().strip_prefix(base)?.strip_prefix('/')?;
        let same = to.origin() == self.base.origin();
        same.then(|| below.split('/').map(str::to_owned).collect())
    }
}

/// The error of a repository that has another name now.
pub(in crate::forge) fn renamed(what: &str, old: &str, new: &str) -> Error {
    Error::about(Class::Input, what, format!("{old} was renamed to {new}")).help(format!(
        "set forge.repository to {new}; if it is not configured, correct the URL of the remote: git remote set-url origin URL"
    ))
}
