//! The forge and the repository, from the configuration and the URL of the remote.
//!
//! The facts about a server that a run reads once.

use std::{cell::RefCell, rc::Rc};

use reqwest::Url;
use tokio::sync::OnceCell;

use super::{Token, Words, gitlab::GitlabFacts};
use crate::{base::error::Error, git::HostedRepository};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// GitHub, GitHub Enterprise Cloud with data residency, or GitHub Enterprise Server.
    Github,
    /// Gitea or Forgejo.
    Gitea,
    Gitlab,
}

impl Kind {
    /// The name in messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Github => "GitHub",
            Self::Gitea => "Gitea",
            Self::Gitlab => "GitLab",
        }
    }

    /// The words for pull requests.
    pub(crate) const fn words(self) -> Words {
        match self {
            Self::Github | Self::Gitea => Words::PULL_REQUEST,
            Self::Gitlab => Words::MERGE_REQUEST,
        }
    }
}

/// The reason for which no workflow is started on GitLab.
pub(crate) const NO_DISPATCH: &str =
    "GitLab starts the pipeline of the target branch after every merge by itself";

/// The configured part of the address of a repository on a forge.
#[derive(Debug, Clone, Default)]
pub struct Address {
    pub kind: Option<Kind>,
    /// The base of the API.
    pub api: Option<String>,
    /// `OWNER/NAME`; on GitLab, the owner may be a group in another one.
    pub repository: Option<String>,
    /// The API of the server of a job of GitLab CI.
    pub job: Option<Url>,
}

/// A repository on a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub kind: Kind,
    /// The base of the API.
    pub api: Url,
    pub owner: String,
    pub name: String,
}

/// A part of the target that neither the configuration nor the remote determines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("cannot determine the kind of forge: {0}")]
    Kind(String),
    /// The URL of the API is known for public forges only.
    #[error(
        "cannot determine the URL of the API: set forge.url (Gitea and Forgejo: https://HOST/api/v1; GitLab: https://HOST)"
    )]
    Api,
    #[error("cannot determine the repository from the remote: set forge.repository to OWNER/NAME")]
    Repository,
    #[error("malformed forge.url `{0}`: {1}")]
    Url(String, String),
}

/// Public forges: the host in remotes, the kind, and the API.
const PUBLIC: [(&str, Kind, &str); 6] = [
    ("github.com", Kind::Github, "https://api.github.com"),
    ("ssh.github.com", Kind::Github, "https://api.github.com"),
    ("codeberg.org", Kind::Gitea, "https://codeberg.org/api/v1"),
    ("gitea.com", Kind::Gitea, "https://gitea.com/api/v1"),
    ("gitlab.com", Kind::Gitlab, "https://gitlab.com/api/v4"),
    (
        "altssh.gitlab.com",
        Kind::Gitlab,
        "https://gitlab.com/api/v4",
    ),
];

/// The domain of GitHub Enterprise Cloud with data residency: each enterprise has the web server `TENANT.ghe.com` and the
/// API `api.TENANT.ghe.com` (GitHub Docs, "About GitHub Enterprise Cloud with data residency").
const TENANTS: &str = ".ghe.com";

/// The web server of an enterprise with data residency, from the host of its API.
fn tenant_of_api(host: &str) -> Option<&str> {
    host.strip_prefix("api.").filter(|web| is_tenant(web))
}

/// Whether a host is the web server of an enterprise with data residency.
pub(crate) fn is_tenant(host: &str) -> bool {
    let tenant = host.strip_suffix(TENANTS);
    tenant.is_some_and(|tenant| !tenant.is_empty() && !tenant.contains('.'))
}

/// Whether an API of GitHub is that of github.com or of GitHub Enterprise Cloud, and not of a GitHub Enterprise Server.
pub(super) fn is_github_cloud(api: &Url) -> bool {
    let host = api.host_str().unwrap_or_default();
    host == "api.github.com" || tenant_of_api(host).is_some()
}

fn public(remote: &HostedRepository) -> Option<(Kind, &'static str)> {
    PUBLIC
        .iter()
        .find(|(host, ..)| *host == remote.host)
        .map(|(_, kind, api)| (*kind, *api))
}

/// The URL of the web server; `None` if the URL of the API has another form than that of a public server.
fn server(kind: Kind, api: &Url) -> Option<Url> {
    let host = api.host_str().unwrap_or_default();
    let api = api.as_str().trim_end_matches('/');
    let server = match kind {
        Kind::Github if host == "api.github.com" => "https://github.com".to_owned(),
        Kind::Github => match tenant_of_api(host) {
            Some(web) => format!("https://{web}"),
            None => api.strip_suffix("/api/v3")?.to_owned(),
        },
        Kind::Gitea => api.strip_suffix("/api/v1")?.to_owned(),
        Kind::Gitlab => api.strip_suffix(GITLAB_API)?.to_owned(),
    };
    Url::parse(&server).ok()
}

impl Target {
    /// The reason why the forge starts no workflows on request, if it never does.
    pub(crate) fn no_dispatch(&self) -> Option<&'static str> {
        (self.kind == Kind::Gitlab).then_some(NO_DISPATCH)
    }

    /// Whether a repository is on the server of an API. An SSH URL states no port of the web server.
    pub(crate) fn is_on_server(kind: Kind, api: &Url, repository: &HostedRepository) -> bool {
        let server = server(kind, api).unwrap_or_else(|| api.clone());
        match &repository.web {
            Some(web) => Url::parse(web).is_ok_and(|web| web.origin() == server.origin()),
            None => server.host_str() == Some(&*repository.host),
        }
    }

    fn server(&self) -> Option<Url> {
        server(self.kind, &self.api)
    }

    /// The URL of the repository for git, if the URL of the server is known.
    pub(crate) fn clone_url(&self) -> Option<String> {
        let name = format!("{}.git", self.name);
        Some(self.page(&[&self.owner, &name])?.into())
    }

    /// The URL of the repository for git. A server whose API has another URL than usual is expected at the same
    /// address as the API.
    pub(crate) fn git_url(&self) -> String {
        self.clone_url().unwrap_or_else(|| {
            let mut url = self.api.clone();
            if let Ok(mut path) = url.path_segments_mut() {
                path.pop_if_empty()
                    .extend(self.owner.split('/'))
                    .push(&format!("{}.git", self.name));
            }
            url.into()
        })
    }

    /// The repository at a URL, if it is on the host of this one.
    pub(crate) fn on_same_host(self, url: &str) -> Option<Self> {
        let own = self.server()?;
        let there = HostedRepository::parse(url)?;
        if own.host_str()? != there.host {
            return None;
        }
        let (owner, name) = below(self.kind, &self.api, &there)?;
        Some(Self {
            owner,
            name,
            ..self
        })
    }

    /// Whether a URL for git is that of this repository.
    pub(crate) fn is_at(&self, url: &str) -> bool {
        let own = HostedRepository::parse(&self.git_url());
        let (Some(mut own), Some(there)) = (own, HostedRepository::parse(url)) else {
            return false;
        };
        // A URL for SSH does not contain the path of the server.
        if self.kind == Kind::Gitlab && there.web.is_none() {
            own.owner.clone_from(&self.owner);
        }
        there.is_same(&own)
    }

    /// The repository of a remote on the server of an API.
    pub(crate) fn hosted(kind: Kind, api: Url, remote: &HostedRepository) -> Option<Self> {
        let (owner, name) = below(kind, &api, remote)?;
        Some(Self {
            kind,
            api,
            owner,
            name,
        })
    }

    /// The URL of the pages of pull requests, up to their number, if the URL of the server is known.
    pub(crate) fn pull_request_pages(&self) -> Option<Url> {
        self.page_below(match self.kind {
            Kind::Github => &["pull", ""],
            Kind::Gitea => &["pulls", ""],
            Kind::Gitlab => &["-", "merge_requests", ""],
        })
    }

    /// The URL of the pages of commits, up to their id, if the URL of the server is known.
    pub(crate) fn commit_pages(&self) -> Option<Url> {
        self.page_below(match self.kind {
            Kind::Github | Kind::Gitea => &["commit", ""],
            Kind::Gitlab => &["-", "commit", ""],
        })
    }

    /// The page that compares two commits, if the URL of the server is known.
    pub(crate) fn comparison(&self, older: &str, newer: &str) -> Option<Url> {
        let range = format!("{older}...{newer}");
        let segments: &[&str] = match self.kind {
            Kind::Github | Kind::Gitea => &["compare", &range],
            Kind::Gitlab => &["-", "compare", &range],
        };
        self.page_below(segments)
    }

    fn page_below(&self, segments: &[&str]) -> Option<Url> {
        let top = [&*self.owner, &self.name];
        self.page(&[&top, segments].concat())
    }

    fn page(&self, segments: &[&str]) -> Option<Url> {
        let mut page = self.server()?;
        page.path_segments_mut()
            .ok()?
            .pop_if_empty()
            .extend(segments.iter().flat_map(|segment| match self.kind {
                // Groups.
                Kind::Gitlab if *segment == self.owner => segment.split('/').collect(),
                _ => vec![*segment],
            }));
        Some(page)
    }

    /// The configured repository; `remote`: the URL that the work tree was cloned from.
    pub(crate) fn resolve(forge: &Address, remote: Option<&str>) -> Result<Self, TargetError> {
        let (kind, api) = Self::api(forge, remote)?;
        let (owner, name) = if let Some(repository) = &forge.repository {
            split(kind, repository).ok_or(TargetError::Repository)?
        } else {
            let remote = remote.and_then(HostedRepository::parse);
            let path = remote.and_then(|remote| below(kind, &api, &remote));
            path.ok_or(TargetError::Repository)?
        };
        Ok(Self {
            kind,
            api,
            owner,
            name,
        })
    }

    /// The public forge that a clone came from, and the base of its API.
    pub(crate) fn public_api(remote: Option<&str>) -> Result<(Kind, Url), TargetError> {
        let remote = remote.and_then(HostedRepository::parse);
        let (kind, api) = remote
            .as_ref()
            .and_then(public)
            .ok_or_else(|| unknown_kind(remote.as_ref()))?;
        Ok((kind, parse(api)?))
    }

    /// The repository `OWNER/NAME` on the configured forge; `remote`: the URL that the work tree was cloned
    /// from.
    pub(crate) fn on_forge(
        forge: &Address,
        remote: Option<&str>,
        repository: &str,
    ) -> Result<Self, TargetError> {
        let (kind, api) = Self::api(forge, remote)?;
        let (owner, name) = split(kind, repository).ok_or(TargetError::Repository)?;
        Ok(Self {
            kind,
            api,
            owner,
            name,
        })
    }

    /// The configured kind of forge and the base of its API.
    pub(crate) fn api(forge: &Address, remote: Option<&str>) -> Result<(Kind, Url), TargetError> {
        let remote = remote.and_then(HostedRepository::parse);
        let public = remote.as_ref().and_then(public);
        let api = forge.api.as_deref().map(parse).transpose()?;
        let by_url = api.as_ref().and_then(kind_of);
        let public_kind = public.filter(|_| api.is_none()).map(|(kind, _)| kind);
        let job = forge.job.as_ref().filter(|job| match (&api, &remote) {
            (Some(api), _) => job.origin() == api.origin(),
            (None, Some(remote)) => job.host_str() == Some(&*remote.host),
            (None, None) => true,
        });
        let job_kind = job.map(|_| Kind::Gitlab);
        let kind = forge.kind.or(by_url).or(public_kind).or(job_kind);
        let kind = kind.ok_or_else(|| unknown_kind(remote.as_ref()))?;
        match (api, public) {
            (Some(api), _) => Ok((kind, with_api_path(kind, api))),
            (None, Some((public, api))) if public == kind => Ok((kind, parse(api)?)),
            (None, _) if kind == Kind::Gitlab && job.is_some() => {
                Ok((kind, job.cloned().ok_or(TargetError::Api)?))
            }
            (None, None) if kind == Kind::Github && remote.is_none() => {
                Ok((kind, parse("https://api.github.com")?))
            }
            _ => Err(TargetError::Api),
        }
    }
}

/// The path of GitLab's API.
const GITLAB_API: &str = "/api/v4";

/// The API below the configured URL: that of GitLab may be the URL of the server.
fn with_api_path(kind: Kind, mut api: Url) -> Url {
    let path = api.path().trim_end_matches('/');
    if kind == Kind::Gitlab && !path.ends_with(GITLAB_API) {
        let path = format!("{path}{GITLAB_API}");
        api.set_path(&path);
    }
    api
}

/// The owner and the name in a path; only GitLab has groups in groups.
fn split(kind: Kind, path: &str) -> Option<(String, String)> {
    let (owner, name) = path.rsplit_once('/')?;
    let is_plain = kind == Kind::Gitlab || !owner.contains('/');
    is_plain.then(|| (owner.to_owned(), name.to_owned()))
}

/// The owner and the name of a repository on the server of an API. A GitLab may be below a path, which its URLs for SSH
/// do not contain (`build_gitlab_shell_ssh_path_prefix` in `config/settings.rb`).
fn below(kind: Kind, api: &Url, remote: &HostedRepository) -> Option<(String, String)> {
    let path = format!("/{}/{}", remote.owner, remote.name);
    let server = api.path().trim_end_matches('/').strip_suffix(GITLAB_API);
    let path = match server {
        Some(server) if kind == Kind::Gitlab && remote.web.is_some() => {
            path.strip_prefix(server)?
        }
        _ => &path,
    };
    split(kind, path.strip_prefix('/')?)
}

fn unknown_kind(remote: Option<&HostedRepository>) -> TargetError {
    TargetError::Kind(match remote {
        Some(remote) if is_tenant(&remote.host) => format!(
            "the remote's host `{0}` is not a public forge: set forge.url to https://api.{0}",
            remote.host
        ),
        Some(remote) => format!(
            "the remote's host `{0}` is not a public forge: set forge.kind (github, gitea or gitlab) and forge.url, such \
             as https://{0}",
            remote.host
        ),
        None => "the clone has no remote on a server".to_owned(),
    })
}

fn parse(text: &str) -> Result<Url, TargetError> {
    let reason = match Url::parse(text) {
        Ok(url)
            if matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some_and(|host| !host.is_empty()) =>
        {
            return Ok(url);
        }
        Ok(_) => "expected http[s]://HOST[/PATH]".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(TargetError::Url(text.to_owned(), reason))
}

/// The kind of forge by the URL of its API (github.com and data residency: the host; GitHub Enterprise Server: `/api/v3`;
/// Gitea and Forgejo: `/api/v1`; GitLab: `/api/v4`).
fn kind_of(api: &Url) -> Option<Kind> {
    let path = api.path().trim_end_matches('/');
    if is_github_cloud(api) || path.ends_with("/api/v3") {
        return Some(Kind::Github);
    }
    if path.ends_with(GITLAB_API) {
        return Some(Kind::Gitlab);
    }
    path.ends_with("/api/v1").then_some(Kind::Gitea)
}

/// The facts about a server; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerFacts {
    /// The version of a GitLab, Gitea or Forgejo.
    pub(super) version: Rc<OnceCell<String>>,
    /// The token and the projects of a GitLab.
    pub(super) gitlab: Rc<GitlabFacts>,
    /// A token that it refused, with the error.
    refused: Rc<RefCell<Option<(Token, Error)>>>,
}

impl ServerFacts {
    /// The error of a token that the server refused before.
    pub(super) fn refusal(&self, token: &Token) -> Option<Error> {
        let refused = self.refused.borrow();
        let (known, error) = refused.as_ref()?;
        (known == token).then(|| error.clone())
    }

    /// Stores the refusal of a token. Some requests need a token, or another one than that of a job: without one, or with
    /// that of a job, the refusal is not that of all requests.
    pub(super) fn refuse(&self, token: &Token, error: &Error) {
        if *token != Token::ANONYMOUS && !token.is_of_job() {
            let refused = (token.clone(), error.clone());
            *self.refused.borrow_mut() = Some(refused);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(kind: Option<Kind>, api: Option<&str>, repository: Option<&str>) -> Address {
        Address {
            kind,
            api: api.map(str::to_owned),
            repository: repository.map(str::to_owned),
            job: None,
        }
    }

    #[test]
    fn gitlab_is_below_its_server() {
        let project = Some("group/sub/project");
        for (url, api) in [
            ("https://git.example", "https://git.example/api/v4"),
            ("https://git.example/api/v4", "https://git.example/api/v4"),
            ("https://git.example/lab", "https://git.example/lab/api/v4"),
        ] {
            let own = configured(Some(Kind::Gitlab), Some(url), project);
            let target = Target::resolve(&own, None).unwrap();
            assert_eq!(target.api.as_str(), api);
            assert_eq!((&*target.owner, &*target.name), ("group/sub", "project"));
            let server = api.strip_suffix("/api/v4").unwrap();
            let page = format!("{server}/group/sub/project/-/merge_requests/");
            assert_eq!(target.pull_request_pages().unwrap().as_str(), page);
            let git = format!("{server}/group/sub/project.git");
            assert_eq!(target.git_url(), git);
            // The remote shows the path of the server as well.
            let own = configured(Some(Kind::Gitlab), Some(url), None);
            for remote in [&git, "git@git.example:group/sub/project.git"] {
                let same = Target::resolve(&own, Some(remote)).unwrap();
                assert_eq!(same, target, "{url}");
                assert!(target.is_at(remote), "{url}");
                assert_eq!(target.clone().on_same_host(remote), Some(target.clone()));
            }
            assert!(!target.is_at("git@git.example:lab/group/sub/project.git"));
        }
        // A group with the name of the path, and a repository beside the path.
        let own = configured(Some(Kind::Gitlab), Some("https://git.example/lab"), None);
        let group = Target::resolve(&own, Some("git@git.example:lab/project.git")).unwrap();
        assert_eq!((&*group.owner, &*group.name), ("lab", "project"));
        for beside in [
            "https://git.example/group/project",
            "https://git.example/labs/x/y",
        ] {
            let error = Target::resolve(&own, Some(beside));
            assert_eq!(error, Err(TargetError::Repository), "{beside}");
        }
        let auto = configured(None, None, None);
        let target = Target::resolve(&auto, Some("git@gitlab.com:a/b/c.git")).unwrap();
        assert_eq!(
            (target.kind, target.api.as_str(), &*target.owner),
            (Kind::Gitlab, "https://gitlab.com/api/v4", "a/b")
        );
        // Only GitLab has groups in groups.
        let gitea = configured(Some(Kind::Gitea), Some("https://x/api/v1"), project);
        let error = Target::resolve(&gitea, None);
        assert_eq!(error, Err(TargetError::Repository));
    }

    #[test]
    fn job_of_gitlab_shows_its_own_server_only() {
        let job = Address {
            job: Some("https://git.example/api/v4".parse().unwrap()),
            ..Address::default()
        };
        let remote = "https://gitlab-ci-token:x@git.example/a/b/c.git";
        let target = Target::resolve(&job, Some(remote)).unwrap();
        assert_eq!((target.kind, &*target.owner), (Kind::Gitlab, "a/b"));
        let other = Target::resolve(&job, Some("https://git2.example/a/b.git"));
        assert!(matches!(other, Err(TargetError::Kind(_))));
    }

    #[test]
    fn remote_completes_the_configuration() {
        let auto = configured(None, None, None);
        let target = Target::resolve(&auto, Some("git@github.com:acme/flows.git")).unwrap();
        assert_eq!(
            (target.kind, target.api.as_str(), target.owner.as_str()),
            (Kind::Github, "https://api.github.com/", "acme")
        );
        let target = Target::resolve(&auto, Some("https://codeberg.org/acme/flows")).unwrap();
        assert_eq!(
            (target.kind, target.api.as_str()),
            (Kind::Gitea, "https://codeberg.org/api/v1")
        );
        let own = configured(None, Some("http://127.0.0.1:3000/api/v1"), Some("a/b"));
        let target = Target::resolve(&own, Some("git@github.com:acme/flows.git")).unwrap();
        assert_eq!((target.kind, target.name.as_str()), (Kind::Gitea, "b"));
        let enterprise = configured(None, Some("https://ghe.example/api/v3"), None);
        assert_eq!(
            Target::resolve(&enterprise, Some("git@ghe.example:a/b"))
                .unwrap()
                .kind,
            Kind::Github
        );
        let named = configured(Some(Kind::Github), None, Some("a/b"));
        assert_eq!(
            Target::resolve(&named, None).unwrap().api.as_str(),
            "https://api.github.com/"
        );
    }

    #[test]
    fn data_residency_has_its_own_hosts() {
        for (api, kind) in [
            ("https://api.octocorp.ghe.com", None),
            ("https://api.octocorp.ghe.com/", Some(Kind::Github)),
        ] {
            let forge = configured(kind, Some(api), None);
            let remote = "octocorp@octocorp.ghe.com:acme/flows.git";
            let target = Target::resolve(&forge, Some(remote)).unwrap();
            assert_eq!((target.kind, &*target.owner), (Kind::Github, "acme"));
            assert_eq!(
                target.git_url(),
                "https://octocorp.ghe.com/acme/flows.git",
                "{api}"
            );
            assert_eq!(
                target.pull_request_pages().unwrap().as_str(),
                "https://octocorp.ghe.com/acme/flows/pull/"
            );
            assert_eq!(
                target.comparison("a", "b").unwrap().as_str(),
                "https://octocorp.ghe.com/acme/flows/compare/a...b"
            );
            let other = target
                .clone()
                .on_same_host("https://octocorp.ghe.com/acme/app");
            assert_eq!(other.unwrap().name, "app");
            let foreign = target.on_same_host("https://github.com/acme/app");
            assert_eq!(foreign, None);
        }
        // The URL of the API is not guessed from the remote: a token goes only to a configured server.
        let auto = configured(None, None, None);
        let error =
            Target::resolve(&auto, Some("https://octocorp.ghe.com/acme/flows")).unwrap_err();
        let reason = error.to_string();
        assert!(
            reason.ends_with("set forge.url to https://api.octocorp.ghe.com"),
            "{reason}"
        );
    }

    #[test]
    fn cloud_is_not_an_enterprise_server() {
        for (api, is_cloud) in [
            ("https://api.github.com", true),
            ("https://api.octocorp.ghe.com", true),
            ("https://octocorp.ghe.com/api/v3", false),
            ("https://api.a.b.ghe.com", false),
            ("https://api.ghe.com", false),
            ("https://api.evilghe.com", false),
            ("https://api.octocorp.ghe.com.example", false),
            ("https://ghe.example/api/v3", false),
        ] {
            assert_eq!(is_github_cloud(&api.parse().unwrap()), is_cloud, "{api}");
        }
    }

    #[test]
    fn undetermined_targets_are_refused() {
        let auto = configured(None, None, None);
        assert!(matches!(
            Target::resolve(&auto, None),
            Err(TargetError::Kind(_))
        ));
        assert!(matches!(
            Target::resolve(&auto, Some("git@git.example:a/b")),
            Err(TargetError::Kind(_))
        ));
        // The URL of another API does not have the kind of the remote's host.
        let other = configured(None, Some("https://git.example/x"), None);
        assert!(matches!(
            Target::resolve(&other, Some("git@github.com:a/b")),
            Err(TargetError::Kind(_))
        ));
        let gitea = configured(Some(Kind::Gitea), None, None);
        assert_eq!(
            Target::resolve(&gitea, Some("git@git.example:a/b")),
            Err(TargetError::Api)
        );
        assert_eq!(
            Target::resolve(&gitea, Some("git@github.com:a/b")),
            Err(TargetError::Api)
        );
        let github = configured(Some(Kind::Github), None, None);
        assert_eq!(Target::resolve(&github, None), Err(TargetError::Repository));
        // An Enterprise Server is not github.com.
        assert_eq!(
            Target::resolve(&github, Some("git@ghe.example:a/b")),
            Err(TargetError::Api)
        );
    }
}
