//! Other repositories that a configuration names: where they are, and the token that they are asked
//! with.

use std::path::PathBuf;

use super::context::Context;
use crate::{
    cli::exit::usage,
    config::Config,
    error::{Error, Errors},
    forge::Token,
    git::{Login, Remote},
};

/// Another repository, as it is configured.
pub(super) struct OtherRepository<'c> {
    /// What names it, for messages.
    pub(super) key: String,
    /// A URL or a path.
    pub(super) repository: &'c str,
    /// The variable that holds the token.
    pub(super) token_env: Option<&'c str>,
}

/// Whether another repository can be asked.
pub(super) enum Reach {
    /// It is there.
    At(Remote),
    /// Its token is missing.
    NoToken(String),
}

impl OtherRepository<'_> {
    /// Where it is, with the token of its variable.
    pub(super) fn reach(&self, config: &Config, cx: &Context) -> Result<Reach, Errors> {
        let url = located(self.repository, config);
        let Some(name) = self.token_env else {
            return Ok(Reach::At(Remote { url, login: None }));
        };
        let Some(value) = cx.environment.filled(name) else {
            let repository = self.repository;
            let why = format!("{name} is not set, which holds the token for {repository}");
            return Ok(Reach::NoToken(why));
        };
        let text = value.to_str().unwrap_or_default().trim();
        Token::parse(text).map_err(|error| usage(format!("{name} holds no token: {error}")))?;
        let login = Login::new(&url, text).map_err(|why| {
            let message = format!("{}: {}: {why}", self.key, self.repository);
            Errors::from(Error::input("config", message).help("use https://"))
        })?;
        Ok(Reach::At(Remote { url, login }))
    }
}

/// An empty directory for what is fetched; it goes when it is dropped.
pub(super) fn scratch(cx: &Context) -> Result<tempfile::TempDir, Errors> {
    let directory = cx
        .environment
        .filled("TMPDIR")
        .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let made = tempfile::Builder::new()
        .prefix("repin-")
        .tempdir_in(directory);
    made.map_err(|error| Errors::io(format!("cannot make a temporary directory: {error}")))
}

/// A path is relative to the root, as every path of the configuration; URLs and `host:path` stay as
/// they are (git-clone).
fn located(repository: &str, config: &Config) -> String {
    let is_url = repository.contains("://");
    let is_host = repository
        .split_once(':')
        .is_some_and(|(host, _)| !host.contains('/'));
    if is_url || is_host {
        repository.to_owned()
    } else {
        config.root.join(repository).to_string_lossy().into_owned()
    }
}
