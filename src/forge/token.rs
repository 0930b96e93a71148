//! The token of requests to a forge.
//!
//! The server that a token is for.
//!
//! The configuration contains the forge's URL, and a user who may edit it must not receive the
//! token of a job. So the token of a job is sent only to the server of the job according to the
//! environment, which is an argument here.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use reqwest::{
    Url,
    header::{AUTHORIZATION, HeaderName},
};

use crate::{
    base::http::address::{host_of, is_safe_for_credentials},
    git::{HostedRepository, Login},
};

/// A token: no `Display`, and `Debug` does not show it.
///
/// Without a text, requests are anonymous.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token {
    text: Option<String>,
    /// Whether it is that of a job of GitLab CI (`CI_JOB_TOKEN`).
    of_job: bool,
}

/// The prefix of the tokens of jobs on GitLab; older ones are JSON Web Tokens or have no prefix.
/// <https://docs.gitlab.com/security/tokens/#token-prefixes>
const JOB_PREFIX: &str = "glcbt-";

/// The end of the path of every API of GitLab, also below a relative URL.
const GITLAB_API: &str = "/api/v4";

/// The prefix of the deploy tokens of GitLab.
const DEPLOYMENT_PREFIX: &str = "gldt-";

/// The syntax error of a malformed token; never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token is empty")]
    Empty,
    /// It does not fit into a header.
    #[error("the token contains white space, a control character, or a non-ASCII character")]
    Character,
}

impl Token {
    /// No token, for public repositories.
    pub(crate) const ANONYMOUS: Self = Self {
        text: None,
        of_job: false,
    };

    /// The token in `text`, without the final line break of a file.
    pub(crate) fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TokenError::Character);
        }
        Ok(Self {
            text: Some(text.to_owned()),
            of_job: text.starts_with(JOB_PREFIX),
        })
    }

    /// The token, which is known to be that of a job if `of_job`.
    #[must_use]
    pub(crate) fn known(self, of_job: bool) -> Self {
        Self {
            of_job: self.of_job || of_job,
            ..self
        }
    }

    /// Whether it has this text.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text.as_deref() == Some(text)
    }

    /// Whether it is that of a job of GitLab CI.
    pub(super) fn is_of_job(&self) -> bool {
        self.of_job
    }

    /// Whether it is a deploy token of GitLab.
    pub(super) fn is_of_deployment(&self) -> bool {
        let text = self.text.as_deref();
        text.is_some_and(|text| text.starts_with(DEPLOYMENT_PREFIX))
    }

    /// The text, for the one header that contains it; `None` for anonymous requests.
    pub(super) fn expose(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The token as a password for git at `url`; `None` without a token, or if the URL is not HTTP.
    pub(crate) fn git_login(&self, url: &str) -> Result<Option<Login>, &'static str> {
        // GitLab requires this name for the token of a job, and accepts any name for other tokens.
        let user = if self.of_job {
            "gitlab-ci-token"
        } else {
            "x-access-token"
        };
        match &self.text {
            Some(token) => Login::new(url, user, token),
            None => Ok(None),
        }
    }

    /// Whether the token is of a kind with scopes: GitHub does not report the permissions of other
    /// tokens (GitHub Docs, "GitHub's token formats"; before 2021 classic tokens were 40 hexadecimal
    /// digits).
    pub(super) fn has_scopes(&self) -> bool {
        let text = self.text.as_deref().unwrap_or_default();
        let old = text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
        old || ["ghp_", "gho_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
    }
}

/// The header with the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenHeader {
    /// `Authorization`, with this scheme.
    Scheme(&'static str),
    /// `PRIVATE-TOKEN`, or `JOB-TOKEN` for the token of a job (GitLab).
    Private,
}

impl TokenHeader {
    pub(super) fn of(self, token: &Token, text: &str) -> (HeaderName, String) {
        match self {
            Self::Scheme(scheme) => (AUTHORIZATION, format!("{scheme} {text}")),
            Self::Private if token.is_of_job() => {
                (HeaderName::from_static("job-token"), text.to_owned())
            }
            Self::Private => (HeaderName::from_static("private-token"), text.to_owned()),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The properties of a token that this process has read and that are the same for all repositories;
/// clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenFacts {
    /// Whether the token belongs to the installation of an app.
    installation: Arc<Mutex<Option<bool>>>,
}

impl TokenFacts {
    pub(super) fn installation(&self) -> Option<bool> {
        *self
            .installation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_installation(&self, installation: bool) {
        *self
            .installation
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(installation);
    }
}

/// The evidence for the server of a token, without the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Audience {
    /// The API that the job's tokens are for (`GITHUB_API_URL`, which Gitea and Forgejo set as well).
    pub job_api: Option<Url>,
    /// The API of the server of a job of GitLab CI.
    pub gitlab_api: Option<Url>,
    /// The URL that the work tree was cloned from.
    pub origin: Option<String>,
}

/// The mismatch between a token and a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotFor {
    #[error("it is for {owner}, not for {requested}")]
    Other {
        /// The server that the token is for.
        owner: String,
        requested: String,
    },
    #[error("neither {0} nor the remote `origin` shows that it is for {1}")]
    Unknown(&'static str, String),
    #[error("CI_SERVER_URL does not show that it is for {0}")]
    NoJob(String),
    #[error("it is for {0}, and the API at {1} is that of another forge")]
    OtherForge(&'static str, String),
}

impl Audience {
    /// Checks that the token of `variable` may be sent to the API `api`.
    ///
    /// `REPIN_FORGE_TOKEN` is for the configured forge.
    pub(crate) fn check(&self, variable: &str, api: &Url) -> Result<(), NotFor> {
        if variable == "REPIN_FORGE_TOKEN" {
            return Ok(());
        }
        // Servers on one host, such as different ports over SSH, are distinguished only by their API.
        let is_gitlab = api.path().trim_end_matches('/').ends_with(GITLAB_API);
        let other = |forge| Err(NotFor::OtherForge(forge, server(api)));
        match variable {
            "GITLAB_TOKEN" | "CI_JOB_TOKEN" if !is_gitlab => return other("GitLab"),
            "GITEA_TOKEN" if is_gitlab => return other("Gitea or Forgejo"),
            _ => {}
        }
        let of = |job: &Url| (server(job), job.origin() == api.origin());
        let origin = |evidence| {
            let server_of_clone = self.origin_server(api);
            server_of_clone.ok_or_else(|| NotFor::Unknown(evidence, server(api)))
        };
        let (owner, is_owner) = if variable == "CI_JOB_TOKEN" {
            let job = self.gitlab_api.as_ref();
            of(job.ok_or_else(|| NotFor::NoJob(server(api)))?)
        } else if variable == "GITLAB_TOKEN" {
            match &self.gitlab_api {
                Some(job) => of(job),
                None => origin("CI_SERVER_URL")?,
            }
        } else if let Some(job) = &self.job_api {
            of(job)
        } else if variable == "GITEA_TOKEN" {
            origin("GITHUB_API_URL")?
        } else {
            let public = "https://api.github.com".to_owned();
            let is_public = server(api) == public;
            (public, is_public)
        };
        if is_owner {
            return Ok(());
        }
        Err(NotFor::Other {
            owner,
            requested: server(api),
        })
    }

    /// The server of the clone, and whether `api` is on it. An HTTP URL has a scheme and a port, which
    /// must match; an SSH URL shows only the host.
    fn origin_server(&self, api: &Url) -> Option<(String, bool)> {
        let origin = self.origin.as_ref()?;
        if let Ok(url) = Url::parse(origin)
            && matches!(url.scheme(), "http" | "https")
        {
            return Some((server(&url), url.origin() == api.origin()));
        }
        let host = HostedRepository::parse(origin)?.host;
        let is_owner = is_safe_for_credentials(api) && api.host_str() == Some(&*host);
        Some((format!("https://{host}"), is_owner))
    }
}

/// The scheme, the host, and the port unless it is the default of the scheme.
fn server(url: &Url) -> String {
    format!("{}://{}", url.scheme(), host_of(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_one_ascii_word() {
        assert_eq!(Token::parse("abc\n").unwrap().expose(), Some("abc"));
        assert_eq!(Token::parse(" \n"), Err(TokenError::Empty));
        for bad in ["a b", "a\nb", "a\u{7f}", "ä"] {
            assert_eq!(Token::parse(bad), Err(TokenError::Character), "{bad:?}");
        }
    }

    #[test]
    fn classic_tokens_have_scopes() {
        for (text, has_scopes) in [
            ("ghp_x", true),
            ("gho_x", true),
            ("0123456789abcdef0123456789abcdef01234567", true),
            ("github_pat_x", false),
            ("ghs_x", false),
            ("ghu_x", false),
            ("0123456789abcdef", false),
        ] {
            assert_eq!(
                Token::parse(text).unwrap().has_scopes(),
                has_scopes,
                "{text}"
            );
        }
    }

    #[test]
    fn debug_output_hides_the_token() {
        let token = Token::parse("s3cret").unwrap();
        assert_eq!(format!("{token:?} {:?}", Some(&token)), "*** Some(***)");
    }

    fn audience(job_api: Option<&str>, origin: Option<&str>) -> Audience {
        Audience {
            job_api: job_api.map(|url| url.parse().unwrap()),
            gitlab_api: None,
            origin: origin.map(str::to_owned),
        }
    }

    fn admits(audience: &Audience, variable: &str, api: &str) -> bool {
        audience.check(variable, &api.parse().unwrap()).is_ok()
    }

    #[test]
    fn job_token_is_only_for_its_api() {
        let job = audience(Some("https://GHE.corp/api/v3"), Some("git@git.example:a/b"));
        for name in ["GITHUB_TOKEN", "GH_TOKEN", "GITEA_TOKEN"] {
            for api in [
                "https://ghe.corp/api/v3",
                "https://GHE.CORP/api/v3",
                "https://ghe.corp:443/",
            ] {
                assert!(admits(&job, name, api), "{name} {api}");
            }
            for api in [
                "http://ghe.corp/api/v3",
                "http://ghe.corp:443/api/v3",
                "https://ghe.corp:8443/api/v3",
                "https://ghe.corp.evil.example/api/v3",
                "https://evil.example/ghe.corp",
                "https://api.github.com",
                "https://git.example/api/v1",
            ] {
                assert!(!admits(&job, name, api), "{name} {api}");
            }
        }
        assert!(admits(
            &job,
            "REPIN_FORGE_TOKEN",
            "https://git.example/api/v1"
        ));
    }

    #[test]
    fn github_tokens_are_for_github_com_outside_jobs() {
        let person = audience(None, Some("git@ghe.corp:a/b"));
        for name in ["GITHUB_TOKEN", "GH_TOKEN"] {
            assert!(admits(&person, name, "https://api.github.com"));
            for api in [
                "https://ghe.corp/api/v3",
                "http://api.github.com",
                "https://api.github.com:8443",
                "https://api.github.com.evil.example",
                "http://127.0.0.1:1",
            ] {
                assert!(!admits(&person, name, api), "{name} {api}");
            }
        }
    }

    #[test]
    fn gitea_token_is_for_the_origin_outside_jobs() {
        let ssh = ["git@Git.example:a/b.git", "ssh://git@git.example:2222/a/b"];
        for origin in ssh.map(|origin| audience(None, Some(origin))) {
            for (api, sent) in [
                ("https://git.example/api/v1", true),
                ("https://git.example:3000/api/v1", true),
                ("http://git.example/api/v1", false),
                ("https://evil.example/api/v1", false),
            ] {
                assert_eq!(admits(&origin, "GITEA_TOKEN", api), sent, "{api}");
            }
        }
        let http = audience(None, Some("https://user:pass@git.example:3000/a/b"));
        assert!(admits(
            &http,
            "GITEA_TOKEN",
            "https://git.example:3000/api/v1"
        ));
        assert!(!admits(&http, "GITEA_TOKEN", "https://git.example/api/v1"));
        let reason = http
            .check("GITEA_TOKEN", &"https://evil.example/x".parse().unwrap())
            .unwrap_err();
        assert_eq!(
            reason.to_string(),
            "it is for https://git.example:3000, not for https://evil.example"
        );
        for nowhere in [
            None,
            Some("../b.git"),
            Some("/srv/a/b"),
            Some("file:///a/b"),
        ] {
            let nowhere = audience(None, nowhere);
            assert!(!admits(
                &nowhere,
                "GITEA_TOKEN",
                "https://git.example/api/v1"
            ));
        }
    }

    #[test]
    fn tokens_are_for_their_kind_of_forge() {
        let server = |text: &str| text.parse().unwrap();
        let clone = audience(None, Some("git@git.example:a/b"));
        let job = Audience {
            gitlab_api: Some(server("https://git.example/api/v4")),
            ..clone.clone()
        };
        let both = Audience {
            job_api: Some(server("https://git.example/api/v1")),
            ..job.clone()
        };
        for (path, is_gitlab) in [
            ("/api/v4", true),
            ("/api/v4/", true),
            ("/lab/api/v4", true),
            ("/api/v1", false),
            ("/api/v3", false),
            ("/api/v4/x", false),
            ("/xapi/v4", false),
            ("/api/v40", false),
            ("/?/api/v4", false),
            ("/#/api/v4", false),
            ("", false),
        ] {
            let api = format!("https://git.example{path}");
            for (audience, variable, sent) in [
                (&clone, "GITLAB_TOKEN", is_gitlab),
                (&clone, "GITEA_TOKEN", !is_gitlab),
                (&clone, "CI_JOB_TOKEN", false),
                (&job, "GITLAB_TOKEN", is_gitlab),
                (&job, "CI_JOB_TOKEN", is_gitlab),
                (&both, "GITEA_TOKEN", !is_gitlab),
                (&both, "GITLAB_TOKEN", is_gitlab),
                (&both, "REPIN_FORGE_TOKEN", true),
            ] {
                assert_eq!(admits(audience, variable, &api), sent, "{variable} {api}");
            }
        }
        let reason = clone.check("GITEA_TOKEN", &server("https://git.example/api/v4"));
        assert_eq!(
            reason.unwrap_err().to_string(),
            "it is for Gitea or Forgejo, and the API at https://git.example is that of another forge"
        );
    }
}
