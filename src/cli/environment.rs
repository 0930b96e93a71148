//! What surrounds a run: variables, folders, terminals. Read once, here and nowhere else.

use std::{
    collections::HashMap,
    ffi::OsString,
    io::IsTerminal,
    path::{Path, PathBuf},
};

/// The environment of one run.
#[derive(Debug, Clone)]
pub struct Environment {
    variables: HashMap<OsString, OsString>,
    folder: PathBuf,
    stdin_is_terminal: bool,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
}

impl Environment {
    /// The environment of this process; an error if its current folder is gone.
    pub fn of_process() -> std::io::Result<Self> {
        Ok(Self {
            variables: std::env::vars_os().collect(),
            folder: std::env::current_dir()?,
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
        })
    }

    /// A variable's value, if it is set; empty is set.
    pub fn variable(&self, name: &str) -> Option<&OsString> {
        self.variables.get(std::ffi::OsStr::new(name))
    }

    /// A variable's value, if it is set and not empty.
    pub fn filled(&self, name: &str) -> Option<&OsString> {
        self.variable(name).filter(|value| !value.is_empty())
    }

    /// All variables, for a program that is to run as if from here.
    pub fn variables(&self) -> Vec<(OsString, OsString)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// The current folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether a person is there to answer: a question can be read, and an answer typed.
    pub fn can_ask(&self) -> bool {
        self.stdin_is_terminal && self.stderr_is_terminal
    }

    /// Whether results go to a terminal.
    pub fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// Whether messages go to a terminal.
    pub fn stderr_is_terminal(&self) -> bool {
        self.stderr_is_terminal
    }
}
