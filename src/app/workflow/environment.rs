//! The environment of a run: variables, the current directory, terminals, the clock. The command
//! line captures them once; other modules receive them as an [`Environment`].
//!
//! The repository that a CI job runs for, as the job's environment describes it.
//!
//! The receiver of messages during a run. The result of the run is rendered by the caller.
//!
//! Renders a custom template in another process of this program, whose memory, stack and time are limited.
//!
//! A template of a pull request may double a value thirty times or nest a list a million times. The engine has
//! no limit for either, and an overflow of the stack would end this process.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    ffi::{OsStr, OsString},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, SystemTime},
};

use jiff::tz::TimeZone;
use reqwest::Url;
use serde::Deserialize;

use crate::{
    app::{
        pull_request::NoteListener,
        report::body::{TemplateError, TemplateJob},
    },
    base::{
        http::{PauseListener, Timer},
        input_file,
        text::few,
        untrusted::job_secrets,
    },
    config::Config,
    forge::{Kind, Target},
    git::{Git, HostedRepository},
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
    /// The time zone of the reader.
    pub zone: fn() -> TimeZone,
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

    /// The directory of repin in the user's cache (XDG Base Directory Specification); `None` without a home.
    pub(crate) fn cache_directory(&self) -> Option<PathBuf> {
        let cache = self.filled("XDG_CACHE_HOME").map(PathBuf::from);
        if let Some(cache) = cache.filter(|cache| cache.is_absolute()) {
            return Some(cache.join("repin"));
        }
        let home = self.filled("HOME").map(PathBuf::from);
        let home = home.filter(|home| home.is_absolute() && home.is_dir())?;
        Some(home.join(".cache/repin"))
    }

    /// The value of a variable, unless it is empty.
    pub fn filled(&self, name: &str) -> Option<&OsString> {
        self.variable(name).filter(|value| !value.is_empty())
    }

    /// The variables for a container engine: without the tokens of the job and of other
    /// repositories, except those that `smoke.env` lists.
    pub fn for_engine(&self, config: Option<&Config>) -> Vec<(OsString, OsString)> {
        let mut secrets: HashSet<&OsStr> = job_secrets().map(OsStr::new).collect();
        let freshness = config.iter().flat_map(|config| &config.freshness);
        let freshness = freshness.map(|entry| &entry.token_env);
        let prune = config
            .iter()
            .flat_map(|config| &config.prune)
            .flat_map(|prune| &prune.also_pinned_in)
            .map(|entry| &entry.token_env);
        secrets.extend(freshness.chain(prune).flatten().map(OsStr::new));
        let smoke = config.iter().flat_map(|config| &config.smoke);
        for name in smoke.flat_map(|smoke| &smoke.env) {
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

/// The maximum size of an event, in bytes. GitHub limits payloads to 25 MB.
const MAX_EVENT: u64 = 32 * 1024 * 1024;

/// The used part of a webhook's payload, which is the same on GitHub, Gitea and Forgejo.
#[derive(Deserialize)]
struct Event {
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    default_branch: Option<String>,
    full_name: Option<String>,
}

/// The default branch of the repository at `origin`, from the event that started a workflow
/// (`GITHUB_EVENT_PATH`) or from `CI_DEFAULT_BRANCH`.
///
/// A job may check out other repositories than its own, so an event of another repository than
/// `origin` is ignored. An unreadable event is ignored too: the remote is queried instead.
pub(crate) fn default_branch(environment: &Environment, git: Option<&Git>) -> Option<String> {
    let mut candidates = Vec::new();
    if let Some(repository) = event(environment).and_then(|event| event.repository)
        && let Some(branch) = repository.default_branch
    {
        candidates.push((branch, repository.full_name));
    }
    let gitlab = |name| Some(environment.filled(name)?.to_str()?.to_owned());
    if let Some(branch) = gitlab("CI_DEFAULT_BRANCH") {
        candidates.push((branch, gitlab("CI_PROJECT_PATH")));
    }
    candidates
        .into_iter()
        .find(|(branch, name)| !branch.is_empty() && is_origin(name.as_deref(), environment, git))
        .map(|(branch, _)| branch)
}

/// The target branch of the pull request or merge request for which this job runs.
pub(crate) fn target_branch(environment: &Environment, git: Option<&Git>) -> Option<String> {
    let text = |name| Some(environment.filled(name)?.to_str()?.to_owned());
    let mut targets = [
        ("GITHUB_BASE_REF", "GITHUB_REPOSITORY"),
        ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "CI_PROJECT_PATH"),
    ]
    .into_iter();
    targets.find_map(|(branch, repository)| {
        let branch = text(branch)?;
        is_origin(text(repository).as_deref(), environment, git).then_some(branch)
    })
}

/// The API of the server of a job of GitLab CI (`CI_SERVER_URL`).
pub(crate) fn gitlab_api(environment: &Environment) -> Option<Url> {
    let server = environment.filled("CI_SERVER_URL")?.to_str()?;
    let url = Url::parse(&format!("{}/api/v4", server.trim_end_matches('/'))).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// Whether the repository of a job is the clone's `origin`, or one of both is unknown.
fn is_origin(name: Option<&str>, environment: &Environment, git: Option<&Git>) -> bool {
    let (Some(name), Some(git)) = (name, git) else {
        return true;
    };
    let url = git.origin().ok().flatten();
    let Some(origin) = url.and_then(|url| HostedRepository::parse(&url)) else {
        return true;
    };
    // A GitLab may be below a path.
    let api = gitlab_api(environment);
    let on_server = api.and_then(|api| Target::hosted(Kind::Gitlab, api, &origin));
    let mut names = vec![format!("{}/{}", origin.owner, origin.name)];
    names.extend(on_server.map(|target| format!("{}/{}", target.owner, target.name)));
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn event(environment: &Environment) -> Option<Event> {
    let path = environment.filled("GITHUB_EVENT_PATH")?;
    let text = input_file::read(&environment.directory().join(path), MAX_EVENT).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The maximum number of names in a progress message.
const NAMES_SHOWN: usize = 3;

pub(crate) trait Console {
    /// Shows a note; hidden by `--quiet`.
    fn note(&self, text: &str);

    fn warn(&self, text: &str);

    /// Shows the reason for a wait until it is dropped: a changing line on a terminal, otherwise a
    /// line every ten seconds. `None` if no progress is shown.
    fn progress(&self, message: &str) -> Option<Box<dyn Progress>>;

    /// Receives the pauses that servers request.
    fn pause_listener(&self) -> PauseListener;

    /// Shows notes from other threads.
    fn note_listener(&self) -> NoteListener;
}

/// The message about a wait.
pub(crate) trait Progress {
    fn set_message(&self, message: &str);
}

/// The progress of concurrent work.
pub(super) struct ItemProgress<'w> {
    task: &'w str,
    names: &'w [&'w str],
    is_open: RefCell<Vec<bool>>,
}

impl<'w> ItemProgress<'w> {
    pub(super) fn new(task: &'w str, names: &'w [&'w str]) -> Self {
        Self {
            task,
            names,
            is_open: RefCell::new(vec![true; names.len()]),
        }
    }

    /// Records that the work on one item is done.
    pub(super) fn finish(&self, index: usize) {
        if let Some(is_open) = self.is_open.borrow_mut().get_mut(index) {
            *is_open = false;
        }
    }

    pub(super) fn describe(&self) -> String {
        let is_open = self.is_open.borrow();
        let mut open = Vec::new();
        for (name, is_open) in self.names.iter().zip(is_open.iter()) {
            if *is_open {
                open.push(*name);
            }
        }
        format!(
            "{}: {} of {} done, waiting for {}",
            self.task,
            self.names.len() - open.len(),
            self.names.len(),
            few(open.into_iter(), NAMES_SHOWN)
        )
    }
}

/// The argument that selects the work of the other process.
pub(crate) const RENDER_TEMPLATE: &str = "__render-template";

/// The memory of the other process in addition to that of its input, in bytes.
pub(crate) const MEMORY: u64 = 512 * 1024 * 1024;
/// The stack of the other process, in bytes.
pub(crate) const STACK: u64 = 8 * 1024 * 1024;
/// The processor time of the other process, in seconds.
pub(crate) const PROCESSOR_SECONDS: u64 = 10;

/// The maximum time on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The maximum size of the result, in bytes. The output of a template has at most 4 MiB, before its escapes.
const MAX_RESULT: u64 = 64 * 1024 * 1024;

/// The result of the other process.
pub(crate) type Rendered = Result<String, TemplateError>;

/// Renders a template; `program`: this program.
pub(super) fn render(job: &TemplateJob, program: &Path) -> Rendered {
    let failed = |error: &dyn std::error::Error| TemplateError {
        message: format!("cannot render it in another process: {error}"),
        line: None,
    };
    let input = serde_json::to_vec(job).map_err(|error| failed(&error))?;
    let child = Command::new(program)
        .arg(RENDER_TEMPLATE)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| failed(&error))?;
    let output = exchange(&mut child, input);
    // The process may have exited.
    let _ = child.kill();
    let status = child.wait().map_err(|error| failed(&error))?;
    match output.and_then(|output| serde_json::from_slice::<Rendered>(&output).ok()) {
        Some(rendered) => rendered,
        None => Err(TemplateError {
            message: format!(
                "the template needs more than {} MiB of memory, {} MiB of stack or {PROCESSOR_SECONDS} s ({status})",
                MEMORY >> 20,
                STACK >> 20
            ),
            line: None,
        }),
    }
}

/// Writes the input and reads the output; `None` without an output in time.
fn exchange(child: &mut Child, input: Vec<u8>) -> Option<Vec<u8>> {
    let mut stdin = child.stdin.take()?;
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    // The end of the process ends both threads.
    thread::spawn(move || {
        // The process may end before it has read the input.
        let _ = stdin.write_all(&input);
    });
    thread::spawn(move || {
        let mut output = Vec::new();
        if stdout.take(MAX_RESULT).read_to_end(&mut output).is_ok() {
            // The receiver is gone after the timeout.
            let _ = sender.send(output);
        }
    });
    receiver.recv_timeout(TIMEOUT).ok()
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
            let variables = environment.for_engine(Some(&config::example(&text)));
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

    #[test]
    fn progress_lists_open_items() {
        let names = ["review", "fix", "base", "ops", "web"];
        let progress = ItemProgress::new("resolving tags", &names);
        assert_eq!(
            progress.describe(),
            "resolving tags: 0 of 5 done, waiting for review, fix, base and 2 more"
        );
        progress.finish(0);
        progress.finish(3);
        assert_eq!(
            progress.describe(),
            "resolving tags: 2 of 5 done, waiting for fix, base, web"
        );
    }
}
