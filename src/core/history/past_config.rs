//! The configurations of past commits.

use super::{
    Promoted,
    renames::ConfigPath,
    rules::{TOO_LARGE, parse_at},
};
use crate::{
    base::files::{MAX_CONFIG_SIZE, RelPath},
    config::{Config, SetPath},
    git::{Git, GitError, ObjectId, TreeFile},
};
use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

/// The configuration with which a commit is read.
#[derive(Debug)]
pub(crate) enum CommitConfig {
    /// The commit's own configuration.
    Config(Box<Config>),
    /// The current configuration, because the commit has none.
    Current,
    /// The commit's configuration cannot be read, for this reason.
    Unreadable(String),
}

/// The configuration in the tree of `commit`, at the current path.
pub(crate) fn commit_config(
    git: &Git,
    commit: &ObjectId,
    current_config: &Config,
) -> Result<CommitConfig, GitError> {
    let file = Path::new(current_config.file_name());
    config_at(git, commit, file, current_config, &current_config.set_path)
}

/// The configuration with which a set was promoted, and the repository with its root at that time.
pub(crate) fn promoted_config(
    git: &Git,
    promoted: &Promoted,
    current_config: &Config,
) -> Result<(Git, CommitConfig), GitError> {
    let commit = &promoted.contracts;
    let Some(set_path) = &promoted.former_path else {
        let config = commit_config(git, commit, current_config)?;
        return Ok((git.clone(), config));
    };
    let path = ConfigPath::new(set_path.clone());
    let git = git.with_prefix(path.prefix.clone());
    let file = Path::new(OsStr::from_bytes(path.file_name()));
    let config = config_at(&git, commit, file, current_config, set_path)?;
    Ok((git, config))
}

fn config_at(
    git: &Git,
    commit: &ObjectId,
    file: &Path,
    current_config: &Config,
    set_path: &SetPath,
) -> Result<CommitConfig, GitError> {
    let path = match RelPath::new(file) {
        Ok(path) => path,
        Err(error) => return Ok(CommitConfig::Unreadable(error.to_string())),
    };
    Ok(match git.file(commit, &path, MAX_CONFIG_SIZE)? {
        TreeFile::Absent => CommitConfig::Current,
        TreeFile::TooLarge => CommitConfig::Unreadable(TOO_LARGE.to_owned()),
        TreeFile::Content(bytes) => match parse_at(bytes, current_config, set_path) {
            Ok(config) => CommitConfig::Config(Box::new(config)),
            Err(reason) => CommitConfig::Unreadable(reason),
        },
    })
}
