//! Other repositories in a configuration, and the tokens for them.

use std::{io, path::PathBuf};

use super::{Access, Services, caches::FetchedRepository};
use crate::{
    base::{
        code::Code,
        error::{Error, Errors, usage},
    },
    config::Config,
    forge::Token,
    git::{FetchedObjects, GitError, Login, Remote, ScratchRepository},
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
        let login = Login::new(&url, text).map_err(|reason| {
            let message = format!("{}: {}: {reason}", self.key, self.repository);
            Errors::from(Error::input(Code::CONFIG, message).help("use https://"))
        })?;
        Ok(Access::Granted(Remote { url, login }))
    }
}

/// The references of a fetch, and their objects.
#[derive(Debug, Clone)]
pub(super) struct Fetch {
    pub(super) refspecs: Vec<String>,
    pub(super) objects: FetchedObjects,
}

/// Fetches another repository into a temporary directory. git uses its own credentials; if these do not
/// suffice, it uses `login`. A fetch that takes too long is not repeated. The inner error is the reason of git.
pub(super) async fn fetch(
    remote: Remote,
    login: Option<Login>,
    fetch: &Fetch,
    services: &Services,
) -> Result<Result<FetchedRepository, String>, Errors> {
    let mut fetched = fetch_once(remote.clone(), fetch, services).await?;
    if let Some(remote) = remote.retry(&fetched, login.as_ref()) {
        fetched = fetch_once(remote, fetch, services).await?;
    }
    Ok(fetched.map_err(|error| error.to_string()))
}

async fn fetch_once(
    remote: Remote,
    fetch: &Fetch,
    services: &Services,
) -> Result<Result<FetchedRepository, GitError>, Errors> {
    let directory = temporary_directory(services)?;
    let Fetch { refspecs, objects } = fetch.clone();
    let fetched = tokio::task::spawn_blocking(move || {
        let scratch = ScratchRepository::init(directory.path(), remote, objects)?;
        let refspecs: Vec<_> = refspecs.iter().map(String::as_str).collect();
        Ok::<_, GitError>(FetchedRepository {
            has_references: scratch.fetch(&refspecs)?,
            scratch,
            directory,
        })
    });
    Ok(fetched.await.unwrap_or_else(|error| {
        let (command, error) = ("fetch", io::Error::other(error));
        Err(GitError::Io { command, error })
    }))
}

/// Creates an empty directory for fetched objects, which is removed when dropped.
pub(crate) fn temporary_directory(services: &Services) -> Result<tempfile::TempDir, Errors> {
    let directory = services
        .environment
        .filled("TMPDIR")
        .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let directory = tempfile::Builder::new()
        .prefix("repin-")
        .tempdir_in(directory)
        .map_err(|error| Errors::io(format!("cannot make a temporary directory: {error}")))?;
    services.interruption.removes(directory.path().to_owned());
    Ok(directory)
}

/// Resolves a path relative to the root, like every path of the configuration. URLs and `host:path`
/// remain unchanged (git-clone).
fn resolved_url(repository: &str, config: &Config) -> String {
    match repository.split_once(':') {
        Some((scheme_or_host, _)) if !scheme_or_host.contains('/') => repository.to_owned(),
        _ => config.root.join(repository).to_string_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

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
}
