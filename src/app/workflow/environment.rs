//! The environment of a run: variables, the current directory, terminals, the clock. The command
//! line captures them once; other modules receive them as an [`Environment`].

use std::{
    collections::{HashMap, HashSet},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    base::{http::Timer, untrusted::job_secrets},
    config::Config,
};

#[derive(Debug, Clone)]
pub struct Environment {
    pub variables: HashMap<OsString, OsString>,
    pub directory: PathBuf,
    /// This program, for another process.
    pub program: PathBuf,
    pub terminals: Terminals,
    /// The machine's architecture, with Rust's name.
    pub machine: &'static str,
    /// The wall clock.
    pub clock: fn() -> SystemTime,
    /// The clock for paced requests: the wall clock, or a faster one in a test.
    pub pacing: Timer,
}

/// The streams that are terminals.
#[derive(Debug, Clone, Copy)]
pub struct Terminals {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// The width of the terminal at standard output; `None` without a terminal or a known width.
    pub columns: Option<usize>,
}

impl Environment {
    /// Paces requests by the clock of a simulated server: it agrees with the wall clock at `origin` and runs `speed`
    /// times as fast.
    pub fn use_server_clock(&mut self, origin: SystemTime, speed: u32) {
        self.pacing = Timer::scaled(self.clock, origin, speed);
    }

    /// The value of a variable, which may be empty.
    pub fn variable(&self, name: &str) -> Option<&OsString> {
        self.variables.get(OsStr::new(name))
    }

    /// The value of a variable, unless it is empty.
    pub fn filled(&self, name: &str) -> Option<&OsString> {
        self.variable(name).filter(|value| !value.is_empty())
    }

    /// The variables for a container engine: without the tokens of the job and of other
    /// repositories, except those that `smoke.env` lists.
    pub fn for_engine(&self, config: &Config) -> Vec<(OsString, OsString)> {
        let mut secrets: HashSet<&OsStr> = job_secrets().map(OsStr::new).collect();
        let freshness = config.freshness.iter().map(|entry| &entry.token_env);
        let prune = config
            .prune
            .iter()
            .flat_map(|prune| &prune.also_pinned_in)
            .map(|entry| &entry.token_env);
        secrets.extend(freshness.chain(prune).flatten().map(OsStr::new));
        for name in config.smoke.iter().flat_map(|smoke| &smoke.env) {
            secrets.remove(OsStr::new(name));
        }
        let mut variables = Vec::new();
        for (name, value) in &self.variables {
            if !secrets.contains(name.as_os_str()) {
                variables.push((name.clone(), value.clone()));
            }
        }
        variables
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path from the current directory to a `root` below it, with a `/` at its end; otherwise empty.
    pub fn path_to(&self, root: &Path) -> String {
        match root.strip_prefix(&self.directory) {
            Ok(below) if below != Path::new("") => format!("{}/", below.to_string_lossy()),
            _ => String::new(),
        }
    }

    /// Whether the user can see a question and type a response.
    pub fn can_prompt(&self) -> bool {
        self.terminals.stdin && self.terminals.stderr
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config;

    /// An environment with these variables, and without terminals.
    pub(in crate::app::workflow) fn with_variables(variables: &[(&str, &str)]) -> Environment {
        let mut environment = crate::app::cli::environment().unwrap();
        let variables = variables.iter();
        environment.variables = variables
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        environment
    }

    #[test]
    fn engine_gets_only_the_listed_secrets() {
        let environment = with_variables(&[
            ("PATH", "/bin"),
            ("REPIN_FORGE_TOKEN", "a"),
            ("SOURCE_TOKEN", "b"),
            ("OTHER_TOKEN", "c"),
        ]);
        let names = |keys: &str| {
            let text = format!(
                "version: 1\nfiles: [x]\nimages:\n  a: {{ repository: r.example/a, pins: 1 }}\n{keys}"
            );
            let variables = environment.for_engine(&config::example(&text));
            let mut names: Vec<_> = variables.into_iter().map(|(name, _)| name).collect();
            names.sort();
            names
        };
        assert_eq!(names(""), ["OTHER_TOKEN", "PATH", "SOURCE_TOKEN"]);
        let prune = "prune: { also_pinned_in: [{ repository: ./x, token_env: SOURCE_TOKEN }] }\n";
        assert_eq!(names(prune), ["OTHER_TOKEN", "PATH"]);
        let smoke = "smoke: { command: [x], env: [SOURCE_TOKEN] }\n";
        let listed = format!("{prune}{smoke}");
        assert_eq!(names(&listed), ["OTHER_TOKEN", "PATH", "SOURCE_TOKEN"]);
    }

    #[test]
    fn prompt_needs_both_terminals() {
        for (stdin, stderr) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut environment = with_variables(&[]);
            (environment.terminals.stdin, environment.terminals.stderr) = (stdin, stderr);
            assert_eq!(environment.can_prompt(), stdin && stderr);
        }
    }
}
