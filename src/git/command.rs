//! Runs `git` so that its environment does not change the meaning of a command.
//!
//! The environment is inherited without the variables that redirect git or change its output: those
//! that `git rev-parse --local-env-vars` lists (a hook has them set for *its* repository), those that
//! change the meaning of pathspecs, diffs and object names, and tracing. The configuration of a user
//! or a CI job remains: `GIT_CONFIG_GLOBAL`, `GIT_CONFIG_SYSTEM`, `GIT_CONFIG_COUNT` with its keys and
//! values (the usual way to set `safe.directory` in a container), `GIT_CEILING_DIRECTORIES`,
//! `GIT_EXEC_PATH`. Settings that could alter the output are overridden on the command line, which
//! takes precedence over every file and variable.
//!
//! Every process receives the repository that [`Location::find`] found, so that git never searches
//! for one, and the tokens of the job only if it may need them.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    io::{self, Read},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};

use super::{GitError, location::Location};
use crate::base::untrusted::job_secrets;

/// Variables that redirect git, or change the meaning of its input or output.
const SCRUBBED: &[&str] = &[
    // Of `git rev-parse --local-env-vars`, without GIT_CONFIG_COUNT.
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
    // Interpretation of revisions, paths and output.
    "GIT_ATTR_SOURCE",
    "GIT_DEFAULT_HASH",
    "GIT_DEFAULT_REF_FORMAT",
    "GIT_DIFF_OPTS",
    "GIT_EXTERNAL_DIFF",
    "GIT_FLUSH",
    "GIT_GLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_LITERAL_PATHSPECS",
    "GIT_NAMESPACE",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_QUARANTINE_PATH",
    "GIT_REF_PARANOIA",
    // Tracing is written to standard error, which is parsed.
    "GIT_CURL_VERBOSE",
    "GIT_TRACE",
    "GIT_TRACE2",
    "GIT_TRACE2_EVENT",
    "GIT_TRACE2_PERF",
    "GIT_TRACE_CURL",
    "GIT_TRACE_CURL_NO_DATA",
    "GIT_TRACE_PACKET",
    "GIT_TRACE_PACK_ACCESS",
    "GIT_TRACE_PERFORMANCE",
    "GIT_TRACE_REDACT",
    "GIT_TRACE_REFS",
    "GIT_TRACE_SETUP",
    "GIT_TRACE_SHALLOW",
    "LANGUAGE",
];

/// Variables that are set: English messages, no grafts, no prompts, and no fetching of objects that
/// are missing in a partial clone. git before 2.44 ignores the latter, so commands without a remote
/// may use no protocol at all.
const SET: &[(&str, &str)] = &[
    ("LC_ALL", "C"),
    ("GIT_GRAFT_FILE", "/dev/null"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
];

/// The options before every subcommand.
const ALWAYS: &[&str] = &[
    "--no-pager",
    "--no-replace-objects",
    "--no-optional-locks",
    "-c",
    "core.fsmonitor=false",
    // Since git 2.38: a bare repository is used only if `--git-dir` selects it.
    "-c",
    "safe.bareRepository=explicit",
    "-c",
    "protocol.ext.allow=never",
    "-c",
    "log.showSignature=false",
    // The messages of commits are written and read as UTF-8.
    "-c",
    "i18n.commitEncoding=UTF-8",
    "-c",
    "i18n.logOutputEncoding=UTF-8",
    "-c",
    "diff.orderFile=/dev/null",
    "-c",
    "trailer.separators=:",
    "-c",
    "color.ui=false",
];

/// Disables hooks, except for a commit.
pub(super) const NO_HOOKS: &[&str] = &["-c", "core.hooksPath=/dev/null"];

/// Paths are literal, not patterns.
const LITERAL: &[&str] = &["--literal-pathspecs"];

/// Aborts a connection that transfers nothing for 30 s (git-config, `http.lowSpeedTime`).
const STALL_LIMIT: &[&str] = &["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=30"];

/// The maximum size of the captured standard error, in bytes.
const MAX_STDERR: u64 = 16 * 1024;

#[derive(Debug)]
pub(super) struct Running {
    command: &'static str,
    child: Child,
    stderr: Option<JoinHandle<Vec<u8>>>,
    root: std::path::PathBuf,
    /// The entry `.git` of the selected repository.
    git_dir: Option<std::path::PathBuf>,
}

/// The permissions of a running git.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Queries the repository.
    Read,
    /// Queries the repository, with requests on standard input.
    Input,
    /// Connects to a remote.
    Network(Transports),
    /// Commits, with the hooks of the user, and with the paths on standard input.
    Commit,
}

/// The transports that a connection may use. `ext::` runs a command, and `git:` is not
/// authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transports {
    /// HTTPS, SSH, and paths.
    Encrypted,
    /// Also plain HTTP, for a remote on this machine.
    Loopback,
}

/// The program that runs unless a test selects another one.
pub(super) const PROGRAM: &str = "git";

/// The oldest git with all options that are used here: `--config-env` exists since 2.31.
const OLDEST: (u32, u32) = (2, 31);

/// The check of the version of git; a run uses one program.
enum VersionCheck {
    Running(Running),
    /// This program is new enough.
    Passed(OsString),
}

static VERSION: Mutex<Option<VersionCheck>> = Mutex::new(None);

/// Starts the check of the version, which runs during other work; [`check_version`] reports the result. If git
/// cannot be started, `check_version` tries again and returns the error.
pub(crate) fn start_version_check() {
    let mut version = VERSION.lock().unwrap_or_else(PoisonError::into_inner);
    if version.is_none() {
        *version = start_version(OsStr::new(PROGRAM))
            .ok()
            .map(VersionCheck::Running);
    }
}

fn start_version(program: &OsStr) -> Result<Running, GitError> {
    let place = Location::outside(Path::new("."));
    start(program, &place, "version", &[], Mode::Read)
}

/// Refuses a git that is too old; each program is checked once in a process.
pub(super) fn check_version(program: &OsStr) -> Result<(), GitError> {
    let mut version_check = VERSION.lock().unwrap_or_else(PoisonError::into_inner);
    let mut running = match version_check.take() {
        Some(VersionCheck::Running(running)) if program == PROGRAM => running,
        Some(VersionCheck::Passed(passed)) if passed == program => {
            *version_check = Some(VersionCheck::Passed(passed));
            return Ok(());
        }
        Some(VersionCheck::Running(_) | VersionCheck::Passed(_)) | None => start_version(program)?,
    };
    let mut printed = String::new();
    let read = running
        .stdout()?
        .take(MAX_STDERR)
        .read_to_string(&mut printed);
    read.map_err(|error| running.io(error))?;
    running.finish(&[])?;
    if version(&printed).ok_or(GitError::Malformed {
        command: "version",
        what: "an unknown version",
    })? < OLDEST
    {
        return Err(GitError::TooOld(printed.trim().to_owned()));
    }
    *version_check = Some(VersionCheck::Passed(program.to_owned()));
    Ok(())
}

/// Refuses the repository of another user unless git's `safe.directory` allows it. git itself skips
/// this check for a repository that `--git-dir` selects.
pub(super) fn check_owner(program: &OsStr, place: &Location) -> Result<(), GitError> {
    let Some(repository) = place.repository.as_ref().filter(|found| !found.owned) else {
        return Ok(());
    };
    let searched = Location::outside(&repository.work_tree);
    let args = ["--git-dir"].map(OsString::from);
    let mut running = start(program, &searched, "rev-parse", &args, Mode::Read)?;
    let read = io::copy(&mut running.stdout()?, &mut io::sink());
    read.map_err(|error| running.io(error))?;
    match running.finish(&[]) {
        Ok(_) => Ok(()),
        Err(GitError::NotARepository(_)) => Err(GitError::Rejected(repository.git_dir.clone())),
        Err(error) => Err(error),
    }
}

/// The major and minor version in `git version 2.39.5 (Apple Git-154)`.
pub(super) fn version(printed: &str) -> Option<(u32, u32)> {
    let mut numbers = printed.split_ascii_whitespace().nth(2)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Starts `git -C ROOT COMMAND ARGS`.
pub(super) fn start(
    program: &OsStr,
    place: &Location,
    command: &'static str,
    args: &[OsString],
    mode: Mode,
) -> Result<Running, GitError> {
    let mut git = prepare(program, place, mode);
    git.arg(command).args(args);
    spawn(git, place, command)
}

/// git with the options before the subcommand.
pub(super) fn prepare(program: &OsStr, place: &Location, mode: Mode) -> Command {
    let mut git = Command::new(program);
    git.args(ALWAYS);
    git.args(if mode == Mode::Commit {
        LITERAL
    } else {
        NO_HOOKS
    });
    if let Some(repository) = &place.repository {
        let options = [
            ("--git-dir=", &repository.git_dir),
            ("--work-tree=", &repository.work_tree),
        ];
        for (option, path) in options {
            let mut argument = OsString::from(option);
            argument.push(path);
            git.arg(argument);
        }
    }
    git.arg("-C").arg(&place.root);
    git.stdin(if matches!(mode, Mode::Input | Mode::Commit) {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    for name in SCRUBBED {
        git.env_remove(name);
    }
    // The hooks of a commit may fetch and prompt.
    let set = if mode == Mode::Commit { 1 } else { SET.len() };
    git.envs(SET.iter().copied().take(set));
    match mode {
        Mode::Read | Mode::Input => {
            git.env("GIT_ALLOW_PROTOCOL", "none");
            remove_job_secrets(&mut git);
        }
        Mode::Commit => remove_job_secrets(&mut git),
        // A credential helper may need a token, such as that of the GitHub CLI.
        Mode::Network(transports) => {
            git.args(STALL_LIMIT);
            git.env(
                "GIT_ALLOW_PROTOCOL",
                match transports {
                    Transports::Encrypted => "file:https:ssh",
                    Transports::Loopback => "file:http:https:ssh",
                },
            );
        }
    }
    git
}

/// Removes the tokens of the job from the environment of a process that needs none.
pub(super) fn remove_job_secrets(command: &mut Command) {
    for name in job_secrets() {
        command.env_remove(name);
    }
}

/// Starts a prepared command.
pub(super) fn spawn(
    mut git: Command,
    place: &Location,
    command: &'static str,
) -> Result<Running, GitError> {
    git.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = git.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => GitError::NoGit,
        _ => GitError::Io { command, error },
    })?;
    running().insert(child.id());
    let stderr = child
        .stderr
        .take()
        .map(|stderr| std::thread::spawn(move || drain(stderr)));
    Ok(Running {
        command,
        child,
        stderr,
        root: place.root.clone(),
        git_dir: place.repository.as_ref().map(|found| found.git_dir.clone()),
    })
}

/// The processes that were not waited for.
fn running() -> MutexGuard<'static, BTreeSet<u32>> {
    static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills all processes of git, before the program ends by a signal.
pub(crate) fn stop_all() {
    for id in running().iter() {
        stop(*id, Signal::TERM);
    }
}

/// Sends a signal to a process, and to its helpers if it leads a group. It may have exited just now.
fn stop(id: u32, signal: Signal) {
    let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) else {
        return;
    };
    let _ = match getpgid(Some(pid)) {
        Ok(group) if group == pid => kill_process_group(pid, signal),
        Ok(_) | Err(_) => kill_process(pid, signal),
    };
}

/// The start of a stream. The remaining bytes are consumed as well, so that git is never blocked.
fn drain(mut stream: impl Read) -> Vec<u8> {
    let mut text = Vec::new();
    // A read error truncates the message; the exit status reports the failure.
    let _ = stream.by_ref().take(MAX_STDERR).read_to_end(&mut text);
    let _ = io::copy(&mut stream, &mut io::sink());
    text
}

impl Running {
    pub(super) fn stdout(&mut self) -> Result<ChildStdout, GitError> {
        self.child
            .stdout
            .take()
            .ok_or_else(|| self.io(io::Error::other("no standard output")))
    }

    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The process id, valid until the process was waited for.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn stdin(&mut self) -> Result<ChildStdin, GitError> {
        self.child
            .stdin
            .take()
            .ok_or_else(|| self.io(io::Error::other("no standard input")))
    }

    pub(super) fn io(&self, error: io::Error) -> GitError {
        GitError::Io {
            command: self.command,
            error,
        }
    }

    /// Returns the exit code, `None` after a signal, and standard error.
    pub(super) fn wait(&mut self) -> Result<(Option<i32>, String), GitError> {
        let waited = self.child.wait();
        running().remove(&self.child.id());
        let status = waited.map_err(|error| GitError::Io {
            command: self.command,
            error,
        })?;
        let stderr = self
            .stderr
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default();
        Ok((status.code(), String::from_utf8_lossy(&stderr).into_owned()))
    }

    /// Checks that the exit code is 0 or one of `expected`.
    pub(super) fn finish(&mut self, expected: &[i32]) -> Result<i32, GitError> {
        let (code, stderr) = self.wait()?;
        match code {
            Some(code) if code == 0 || expected.contains(&code) => Ok(code),
            _ => Err(self.failed(code, &stderr)),
        }
    }

    /// Kills git, for a reader that does not need the remaining output.
    pub(super) fn stop(&mut self) {
        // The process may already have exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
        running().remove(&self.child.id());
    }

    fn failed(&self, code: Option<i32>, stderr: &str) -> GitError {
        if stderr.contains("dubious ownership") {
            return GitError::Ownership(self.root.clone());
        }
        if stderr.contains("not a git repository") {
            return match &self.git_dir {
                Some(git_dir) => GitError::Rejected(git_dir.clone()),
                None => GitError::NotARepository(self.root.clone()),
            };
        }
        let reported = stderr
            .lines()
            .find(|line| line.starts_with("fatal:") || line.starts_with("error:"))
            .or_else(|| stderr.lines().next());
        let message = match (reported, code) {
            // `The following files would be overwritten:`, each on a line of its own.
            (Some(line), _) if line.ends_with(':') => {
                let files: Vec<_> = (stderr.lines())
                    .filter_map(|line| line.strip_prefix('\t'))
                    .collect();
                let listed = format!("{line} {}", files.join(", "));
                listed.trim_end().chars().take(500).collect()
            }
            (Some(line), _) => line.chars().take(500).collect(),
            (None, Some(code)) => format!("exit {code} without a message"),
            (None, None) => "a signal stopped it".to_owned(),
        };
        let command = self.command;
        // A failed hook exits with 1, even if it prints such a message.
        let is_locked = message.contains("index.lock': File exists")
            || message.starts_with("fatal: cannot lock ref 'HEAD'");
        if code == Some(128) && is_locked {
            return GitError::Locked { command, message };
        }
        GitError::Failed { command, message }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Kills a git process after a timeout: a silent remote would block it indefinitely.
pub(super) struct Watchdog {
    done: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watchdog {
    pub(super) fn new(running: &Running, timeout: Duration) -> Self {
        let (done, exited) = channel::<()>();
        let id = running.id();
        let thread = std::thread::spawn(move || {
            let is_late = exited.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout);
            if is_late {
                stop(id, Signal::KILL);
            }
            is_late
        });
        Self { done, thread }
    }

    /// Stops watching; returns whether the timeout passed. Must be called before the process is waited
    /// for, so that its id is not reused.
    pub(super) fn stop(self) -> bool {
        drop(self.done);
        self.thread.join().unwrap_or(false)
    }
}
