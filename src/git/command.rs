//! Running `git` so that nothing around it changes what it reads.
//!
//! The environment is inherited, without the variables that make git look elsewhere or answer
//! differently: those that `git rev-parse --local-env-vars` lists (a hook has them set for *its*
//! repository), those that change how pathspecs, diffs and object names are read, and tracing. What
//! configures git for a person or a CI job stays: `GIT_CONFIG_GLOBAL`, `GIT_CONFIG_SYSTEM`,
//! `GIT_CONFIG_COUNT` with its keys and values (the usual way to set `safe.directory` in a
//! container), `GIT_CEILING_DIRECTORIES`, `GIT_EXEC_PATH`. Settings that could alter the output are
//! overridden on the command line, where they win over every file and variable.
//!
//! Every process receives the repository that [`Location::find`] found, so that git never searches
//! for one, and the tokens of the job only if it may need them.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Read},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{GitError, location::Location};
use crate::config::job_secrets;

/// Variables that redirect git, or change the meaning of what it is asked or answers.
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
    // Meaning of names, paths and output.
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
    // Tracing goes to standard error by default, which is read here.
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

/// Variables that are set: English messages, no grafts, no prompts, and no fetching of what a
/// partial clone left out, which git before 2.44 is kept from by allowing it no protocol at all
/// where it need not ask a remote.
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
    // Since git 2.38: no bare repository counts unless `--git-dir` selects it.
    "-c",
    "safe.bareRepository=explicit",
    "-c",
    "protocol.ext.allow=never",
    "-c",
    "log.showSignature=false",
    "-c",
    "diff.orderFile=/dev/null",
    "-c",
    "trailer.separators=:",
    "-c",
    "color.ui=false",
];

/// No hook runs, except those of a commit.
const UNHOOKED: &[&str] = &["-c", "core.hooksPath=/dev/null"];

/// Paths are the names of files, whatever characters they hold.
const LITERAL: &[&str] = &["--literal-pathspecs"];

/// A connection that moves nothing for so long is given up (git-config, `http.lowSpeedTime`).
const STALLED: &[&str] = &["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=30"];

/// The most that is kept of what git says on standard error, in bytes.
const STDERR: u64 = 16 * 1024;

/// A running git.
pub(super) struct Running {
    command: &'static str,
    child: Child,
    stderr: Option<JoinHandle<Vec<u8>>>,
    root: std::path::PathBuf,
}

/// What a running git may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Read the repository.
    Read,
    /// The same, with questions on standard input.
    Talk,
    /// Connect to a remote.
    Network(Transports),
    /// Commit: with the caller's hooks, and with the paths on standard input.
    Commit,
}

/// The transports that a connection may use. `ext::` runs a command, and `git:` is not
/// authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transports {
    /// A remote on another machine, or a path.
    Any,
    /// Also plain HTTP: the remote is on this machine.
    Loopback,
}

/// The oldest git that has every option used here: `--config-env` is of 2.31.
const OLDEST: (u32, u32) = (2, 31);

/// The program whose version was checked last: a run uses one.
static CHECKED: Mutex<Option<OsString>> = Mutex::new(None);

/// Refuses a git that lacks options used here; each program is checked once in a process.
pub(super) fn check_version(program: &OsStr) -> Result<(), GitError> {
    let mut checked = CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
    if checked.as_deref() == Some(program) {
        return Ok(());
    }
    let place = Location::outside(Path::new("."));
    let mut running = start(program, &place, "version", &[], Mode::Read)?;
    let mut printed = String::new();
    let read = running.stdout()?.take(STDERR).read_to_string(&mut printed);
    read.map_err(|error| running.io(error))?;
    running.finish(&[])?;
    if version(&printed).ok_or(GitError::Malformed {
        command: "version",
        what: "an unknown version",
    })? < OLDEST
    {
        return Err(GitError::TooOld(printed.trim().to_owned()));
    }
    *checked = Some(program.to_owned());
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
    running.finish(&[]).map(drop)
}

/// The major and minor version in `git version 2.39.5 (Apple Git-154)`.
fn version(printed: &str) -> Option<(u32, u32)> {
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
    spawn(git, &place.root, command)
}

/// git with the options before the subcommand.
pub(super) fn prepare(program: &OsStr, place: &Location, mode: Mode) -> Command {
    let mut git = Command::new(program);
    git.args(ALWAYS);
    git.args(if mode == Mode::Commit {
        LITERAL
    } else {
        UNHOOKED
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
    git.stdin(if matches!(mode, Mode::Talk | Mode::Commit) {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    for name in SCRUBBED {
        git.env_remove(name);
    }
    // What the hooks of a commit run is the user's.
    let set = if mode == Mode::Commit { 1 } else { SET.len() };
    git.envs(SET.iter().copied().take(set));
    match mode {
        Mode::Read | Mode::Talk => {
            git.env("GIT_ALLOW_PROTOCOL", "none");
            remove_job_secrets(&mut git);
        }
        Mode::Commit => remove_job_secrets(&mut git),
        // A credential helper may need a token, such as that of the GitHub CLI.
        Mode::Network(transports) => {
            git.args(STALLED);
            git.env(
                "GIT_ALLOW_PROTOCOL",
                match transports {
                    Transports::Any => "file:https:ssh",
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

/// Starts what was prepared.
pub(super) fn spawn(
    mut git: Command,
    root: &Path,
    command: &'static str,
) -> Result<Running, GitError> {
    git.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = git.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => GitError::NoGit,
        _ => GitError::Io { command, error },
    })?;
    let stderr = child
        .stderr
        .take()
        .map(|stderr| std::thread::spawn(move || drained(stderr)));
    Ok(Running {
        command,
        child,
        stderr,
        root: root.to_owned(),
    })
}

/// The beginning of what comes; the rest is read too, so that git never waits for a reader.
fn drained(mut from: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    // Unreadable parts of a message are left out; the exit status reports the failure.
    let _ = from.by_ref().take(STDERR).read_to_end(&mut kept);
    let _ = io::copy(&mut from, &mut io::sink());
    kept
}

impl Running {
    pub(super) fn stdout(&mut self) -> Result<ChildStdout, GitError> {
        self.child
            .stdout
            .take()
            .ok_or_else(|| self.io(io::Error::other("no standard output")))
    }

    /// The process, until it was waited for.
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

    /// Waits for the process to end in any way; returns the exit code and standard error.
    pub(super) fn end(&mut self) -> Result<(Option<i32>, String), GitError> {
        let status = self.child.wait().map_err(|error| GitError::Io {
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

    /// Waits for the end; the exit code is 0 or one of `fine`.
    pub(super) fn finish(&mut self, fine: &[i32]) -> Result<i32, GitError> {
        let (code, stderr) = self.end()?;
        match code {
            Some(code) if code == 0 || fine.contains(&code) => Ok(code),
            _ => Err(self.failed(&stderr)),
        }
    }

    /// Ends git early, for a reader that is done or cannot continue.
    pub(super) fn stop(&mut self) {
        // The process may already have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn failed(&self, stderr: &str) -> GitError {
        if stderr.contains("dubious ownership") {
            return GitError::Ownership(self.root.clone());
        }
        if stderr.contains("not a git repository") {
            return GitError::NotARepository(self.root.clone());
        }
        let line = stderr
            .lines()
            .find(|line| line.starts_with("fatal:") || line.starts_with("error:"));
        let message = line
            .or_else(|| stderr.lines().next())
            .unwrap_or("it was stopped without a message");
        GitError::Failed {
            command: self.command,
            message: message.chars().take(500).collect(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Ends a git process that takes too long: a silent remote would block it indefinitely.
pub(super) struct Watchdog {
    done: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watchdog {
    pub(super) fn over(running: &Running, patience: Duration) -> Self {
        let (done, ended) = channel::<()>();
        let pid = i32::try_from(running.id()).ok().and_then(Pid::from_raw);
        let thread = std::thread::spawn(move || {
            let late = ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout);
            if let Some(pid) = pid.filter(|_| late) {
                // It may have ended by itself just now.
                let _ = kill_process(pid, Signal::KILL);
            }
            late
        });
        Self { done, thread }
    }

    /// Before the process is waited for, so that its process id cannot be reused yet: whether it
    /// took too long.
    pub(super) fn end(self) -> bool {
        drop(self.done);
        self.thread.join().unwrap_or(false)
    }
}
