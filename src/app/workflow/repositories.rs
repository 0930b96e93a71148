//! Other repositories in a configuration, and the tokens for them.
//!
//! Where the source repository of a configuration is hosted.

use std::io;

use reqwest::Url;

use super::{Access, Services, caches::FetchedRepository, connection::TokenUse};
use crate::{
    base::{
        error::{Code, Error, Errors, usage},
        http::{FORGES, Policy},
    },
    config::{Config, SourceRepository},
    forge::{Kind, Target, TargetError, Token},
    git::{
        FetchedObjects, Git, GitError, HostedRepository, Login, Remote, Routes, ScratchRepository,
    },
};

pub(crate) struct OtherRepository<'c> {
    /// The key of the configuration, for messages.
    pub key: String,
    /// A URL or a path.
    pub repository: &'c str,
    pub token_env: Option<&'c str>,
}

impl OtherRepository<'_> {
    /// The URL of the repository, with the token from its variable.
    pub(crate) fn remote(
        &self,
        config: &Config,
        services: &Services,
    ) -> Result<Access<Remote>, Errors> {
        let url = resolved_url(self.repository, config);
        let Some(name) = self.token_env else {
            return Ok(Access::Granted(Remote { url, login: None }));
        };
        let Some(value) = services.environment.filled(name) else {
            let repository = self.repository;
            let reason = format!("{name} is not set; it must hold the token for {repository}");
            return Ok(Access::NoToken(reason));
        };
        let text = value.to_str().unwrap_or_default().trim();
        Token::parse(text)
            .map_err(|error| usage(format!("{name} does not hold a token: {error}")))?;
        let login = Login::new(&url, "x-access-token", text).map_err(|reason| {
            let message = format!("{}: {}: {reason}", self.key, self.repository);
            Errors::from(Error::input(Code::CONFIG, message).help("use https://"))
        })?;
        Ok(Access::Granted(Remote { url, login }))
    }
}

/// The page on a known forge that compares two commits of a repository of the configuration.
pub(crate) fn comparison_page(
    repository: &str,
    older: &str,
    newer: &str,
    config: &Config,
) -> Option<String> {
    let location = SourceRepository::Location(repository.to_owned());
    let target = target(&location, config).ok()??;
    Some(target.comparison(older, newer)?.to_string())
}

/// The references of a fetch, and their objects.
#[derive(Debug, Clone)]
pub(super) struct Fetch {
    pub(super) refspecs: Vec<String>,
    pub(super) objects: FetchedObjects,
    /// How often the connection is attempted.
    pub(super) attempts: u32,
}

/// The result of a fetch with git.
pub(super) enum FetchOutcome {
    Done(Box<FetchedRepository>),
    Failed(GitError),
}

/// Fetches another repository into a temporary directory.
pub(super) async fn fetch(
    routes: Routes,
    fetch: &Fetch,
    services: &Services,
) -> Result<FetchOutcome, Errors> {
    let mut fetched = fetch_from(routes.first.clone(), fetch, services).await?;
    if let FetchOutcome::Failed(error) = &fetched
        && let Some(other) = routes.after(error)
    {
        fetched = fetch_from(other, fetch, services).await?;
    }
    Ok(fetched)
}

/// Fetches; repeats it if the connection fails.
async fn fetch_from(
    remote: Remote,
    fetch: &Fetch,
    services: &Services,
) -> Result<FetchOutcome, Errors> {
    let connections = services.connections();
    let retries = Policy {
        attempts: fetch.attempts,
        ..FORGES
    };
    let mut attempt = 1;
    loop {
        match fetch_once(remote.clone(), fetch, services).await? {
            FetchOutcome::Failed(error)
                if error.is_transient()
                    && connections.pause_before_retry(attempt, &retries).await =>
            {
                attempt += 1;
            }
            fetched => return Ok(fetched),
        }
    }
}

async fn fetch_once(
    remote: Remote,
    fetch: &Fetch,
    services: &Services,
) -> Result<FetchOutcome, Errors> {
    let directory = services.temporary_directory()?;
    let Fetch {
        refspecs, objects, ..
    } = fetch.clone();
    let connections = services.connections();
    let fetched = tokio::task::spawn_blocking(move || {
        let scratch = ScratchRepository::init(directory.path(), remote, objects, connections)?;
        let refspecs: Vec<_> = refspecs.iter().map(String::as_str).collect();
        Ok::<_, GitError>(FetchedRepository {
            has_references: scratch.fetch(&refspecs)?,
            scratch,
            directory,
        })
    });
    Ok(match fetched.await {
        Ok(Ok(repository)) => FetchOutcome::Done(Box::new(repository)),
        Ok(Err(error)) => FetchOutcome::Failed(error),
        Err(error) => {
            let (command, error) = ("fetch", io::Error::other(error));
            FetchOutcome::Failed(GitError::Io { command, error })
        }
    })
}

/// Resolves a path relative to the root, like every path of the configuration. URLs and `host:path`
/// remain unchanged (git-clone).
fn resolved_url(repository: &str, config: &Config) -> String {
    match repository.split_once(':') {
        Some((scheme_or_host, _)) if !scheme_or_host.contains('/') => repository.to_owned(),
        _ => config.root.join(repository).to_string_lossy().into_owned(),
    }
}

/// The repository on the configured or a public forge; `None` if neither hosts it.
pub(super) fn target(
    repository: &SourceRepository,
    config: &Config,
) -> Result<Option<Target>, Errors> {
    match repository {
        SourceRepository::OnForge(name) => {
            let (forge, origin) = (config.forge_or_default(), origin(config));
            let target = Target::on_forge(&forge.address(), origin.as_deref(), name);
            Ok(Some(target.map_err(|error| {
                let message = format!("cannot find `source` {name}: {error}");
                Error::input(Code::CONFIG, message)
                    .help("write the URL of the repository in `source`, or configure `forge`")
            })?))
        }
        SourceRepository::Location(location) => {
            let Some(hosted) = HostedRepository::parse(location) else {
                return Ok(None);
            };
            let configured = configured_forge(config).ok();
            let configured =
                configured.filter(|(kind, api)| Target::is_on_server(*kind, api, &hosted));
            let public = Target::public_api(Some(location)).ok();
            let known = configured.or(public);
            Ok(known.and_then(|(kind, api)| Target::hosted(kind, api, &hosted)))
        }
    }
}

/// Which tokens may be sent to an API.
pub(super) fn token_use(config: &Config, api: &Url) -> TokenUse {
    match configured_forge(config) {
        Ok((_, configured)) if configured.origin() == api.origin() => TokenUse::ConfiguredForge,
        Ok(_) | Err(_) => TokenUse::OtherForge,
    }
}

/// The configured forge, which the remote of this clone may determine.
fn configured_forge(config: &Config) -> Result<(Kind, Url), TargetError> {
    Target::api(
        &config.forge_or_default().address(),
        origin(config).as_deref(),
    )
}

fn origin(config: &Config) -> Option<String> {
    let git = Git::discover(&config.root).ok().flatten();
    git.and_then(|git| git.origin().ok().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{self, example},
        git::tests::git,
    };

    #[test]
    fn only_paths_are_relative_to_the_root() {
        let config = config::example(
            "version: 1\nfiles: [a]\nimages: { a: { repository: a.example/a, pins: 1 } }\n",
        );
        for (repository, url) in [
            ("../deploy.git", "/root/../deploy.git"),
            ("a/b:c", "/root/a/b:c"),
            ("/srv/deploy.git", "/srv/deploy.git"),
            (
                "git@forge.example:acme/deploy",
                "git@forge.example:acme/deploy",
            ),
            (
                "https://forge.example/acme/deploy",
                "https://forge.example/acme/deploy",
            ),
            ("file:///srv/deploy.git", "file:///srv/deploy.git"),
        ] {
            assert_eq!(resolved_url(repository, &config), url);
        }
    }

    const IMAGES: &str =
        "version: 1\nfiles: [a]\nimages: { a: { repository: ghcr.io/a/b, pins: 1 } }\n";

    fn config(more: &str) -> Config {
        example(&format!("{IMAGES}{more}"))
    }

    #[test]
    fn source_is_on_the_configured_or_a_public_forge() {
        let gitea = "forge: { kind: gitea, url: 'https://git.example:3000' }\n";
        for (source, expected) in [
            ("acme/app", Some("https://git.example:3000/")),
            (
                "https://git.example:3000/acme/app",
                Some("https://git.example:3000/"),
            ),
            (
                "git@git.example:acme/app.git",
                Some("https://git.example:3000/"),
            ),
            (
                "https://github.com/acme/app",
                Some("https://api.github.com/"),
            ),
            // Another port is another server.
            ("https://git.example/acme/app", None),
            ("https://other.example/acme/app", None),
            ("git@other.example:acme/app.git", None),
            ("../app", None),
        ] {
            let config = config(&format!("{gitea}source: '{source}'\n"));
            let found = target(config.source.as_ref().unwrap(), &config).unwrap();
            let api = found.map(|target| target.api.to_string());
            assert_eq!(api.as_deref(), expected, "{source}");
        }
    }

    #[test]
    fn server_of_a_tenant_is_that_of_its_api() {
        let config = config(
            "forge: { url: 'https://api.acme.ghe.com' }\nsource: 'https://acme.ghe.com/acme/app'\n",
        );
        for source in [
            "https://acme.ghe.com/acme/app",
            "git@acme.ghe.com:acme/app.git",
        ] {
            let location = SourceRepository::Location(source.to_owned());
            let found = target(&location, &config).unwrap().unwrap();
            assert_eq!(found.api.as_str(), "https://api.acme.ghe.com/", "{source}");
            let page = comparison_page(source, "a", "b", &config);
            let expected = "https://acme.ghe.com/acme/app/compare/a...b";
            assert_eq!(page.as_deref(), Some(expected), "{source}");
        }
        let other = SourceRepository::Location("https://api.acme.ghe.com/acme/app".to_owned());
        assert!(target(&other, &config).unwrap().is_none());
    }

    #[test]
    fn commits_of_known_forges_have_a_page() {
        let gitea = config("forge: { kind: gitea, url: 'https://git.example/api/v1' }\n");
        for (repository, page) in [
            (
                "https://github.com/acme/app.git",
                Some("https://github.com/acme/app/compare/a...b"),
            ),
            (
                "git@git.example:acme/app",
                Some("https://git.example/acme/app/compare/a...b"),
            ),
            ("https://other.example/acme/app", None),
            ("../app.git", None),
        ] {
            let found = comparison_page(repository, "a", "b", &gitea);
            assert_eq!(found.as_deref(), page, "{repository}");
        }
    }

    #[test]
    fn token_of_the_configured_forge_is_for_its_server() {
        let gitea = config("forge: { kind: gitea, url: 'https://git.example:3000' }\n");
        for (api, expected) in [
            ("https://git.example:3000/api/v1", TokenUse::ConfiguredForge),
            ("https://git.example/", TokenUse::OtherForge),
            ("http://git.example:3000/", TokenUse::OtherForge),
            ("https://api.github.com/", TokenUse::OtherForge),
        ] {
            assert_eq!(
                token_use(&gitea, &Url::parse(api).unwrap()),
                expected,
                "{api}"
            );
        }
        // Without a configured forge, the remote of the clone selects it.
        let directory = tempfile::tempdir().unwrap();
        git(directory.path(), &["init", "-q"]);
        let mut unconfigured = config("");
        unconfigured.root = directory.path().to_owned();
        let github = Url::parse("https://api.github.com/").unwrap();
        assert_eq!(token_use(&unconfigured, &github), TokenUse::OtherForge);
        let origin = ["remote", "add", "origin", "https://github.com/acme/flows"];
        git(directory.path(), &origin);
        assert_eq!(token_use(&unconfigured, &github), TokenUse::ConfiguredForge);
    }
}
