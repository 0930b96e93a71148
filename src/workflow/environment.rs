//! The environment of a run: variables, the current directory, terminals, the clock. The command
//! line reads them once; everything else gets them from here.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    config::{Config, JOB_SECRETS},
    http::Timer,
};

/// The environment of one run.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The variables.
    pub variables: HashMap<OsString, OsString>,
    /// The current directory.
    pub directory: PathBuf,
    /// The streams that are terminals.
    pub terminals: Terminals,
    /// The machine's architecture, as Rust names it.
    pub machine: &'static str,
    /// The wall clock.
    pub clock: fn() -> SystemTime,
    /// The clock that paced requests wait by: the wall clock, or a faster one in a test.
    pub pacing: Timer,
}

/// The streams that are terminals.
#[derive(Debug, Clone, Copy)]
pub struct Terminals {
    /// Whether input is typed.
    pub stdin: bool,
    /// Whether results are read on a screen.
    pub stdout: bool,
    /// Whether messages are read on a screen.
    pub stderr: bool,
    /// The width of the terminal at standard output; `None` if there is no terminal or it has no
    /// known width.
    pub columns: Option<usize>,
}

impl Environment {
    /// A variable's value, if it is set; empty is set.
    pub fn variable(&self, name: &str) -> Option<&OsString> {
        self.variables.get(OsStr::new(name))
    }

    /// A variable's value, if it is set and not empty.
    pub fn filled(&self, name: &str) -> Option<&OsString> {
        self.variable(name).filter(|value| !value.is_empty())
    }

    /// The variables for a container engine: without the tokens of the job and of other
    /// repositories, except those that `smoke.env` lists.
    pub fn for_engine(&self, config: &Config) -> Vec<(OsString, OsString)> {
        let freshness = config.freshness.iter().map(|entry| &entry.token_env);
        let prune = config.prune.iter().flat_map(|prune| &prune.also_pinned_in);
        let tokens: Vec<&str> = freshness
            .chain(prune.map(|entry| &entry.token_env))
            .flatten()
            .map(String::as_str)
            .chain(JOB_SECRETS)
            .collect();
        let wanted: Vec<&str> = config
            .smoke
            .iter()
            .flat_map(|smoke| &smoke.env)
            .map(String::as_str)
            .collect();
        self.variables
            .iter()
            .filter(|(name, _)| {
                let is = |other: &&str| name.as_os_str() == *other;
                wanted.iter().any(is) || !tokens.iter().any(is)
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// The current directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path that leads to `root` from the current directory where it lies beneath: empty, or with a
    /// `/` at its end.
    pub fn path_to(&self, root: &Path) -> String {
        let below = root.strip_prefix(&self.directory);
        let mut path = below.map_or_else(
            |_| String::new(),
            |below| below.to_string_lossy().into_owned(),
        );
        if !path.is_empty() {
            path.push('/');
        }
        path
    }

    /// Whether a person can read a question and type an answer.
    pub fn can_ask(&self) -> bool {
        self.terminals.stdin && self.terminals.stderr
    }
}
