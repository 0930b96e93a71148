//! Programs under strace: their system calls, and runs that are killed at a call or for which a
//! call fails.
//!
//! Injections count the calls of each thread separately, so the start of a program does not shift
//! the count as long as one thread makes all of the traced calls, and more of them than the others
//! do ([`Trace::points`] checks it).

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// One call of a traced program.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    thread: String,
    pub(crate) name: String,
    /// The arguments and the result, descriptors with their paths: `(3</a>, "b", …) = 0`.
    pub(crate) text: String,
    /// Which call of this name by this thread it is, from 1.
    nth: usize,
}

/// A call to inject something at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) nth: usize,
}

impl Point {
    /// An injection of `what` here: `signal=KILL`, `error=EIO`.
    pub(crate) fn inject(&self, kinds: &str) -> String {
        format!("{}:{kinds}:when={}", self.name, self.nth)
    }

    /// The same here and at every later call of this name.
    pub(crate) fn inject_from_here(&self, kinds: &str) -> String {
        format!("{}:{kinds}:when={}+", self.name, self.nth)
    }
}

impl Call {
    /// Where to inject something into this call.
    pub(crate) fn point(&self) -> Point {
        Point {
            name: self.name.clone(),
            nth: self.nth,
        }
    }
}

/// The calls of a program.
pub(crate) struct Trace {
    pub(crate) calls: Vec<Call>,
    pub(crate) output: Output,
}

impl Trace {
    /// The calls with a path in `directory`, or with a descriptor of such a path.
    pub(crate) fn calls_in(&self, directory: &Path) -> Vec<&Call> {
        let directory = directory.to_str().expect("a plain path");
        self.calls
            .iter()
            .filter(|call| call.text.contains(directory))
            .collect()
    }

    /// Those as points, all on one thread.
    pub(crate) fn points(&self, directory: &Path) -> Vec<Point> {
        let calls = self.calls_in(directory);
        let elsewhere = |of: &Call| {
            let other = self
                .calls
                .iter()
                .filter(|call| call.name == of.name && call.thread != of.thread);
            other.map(|call| call.nth).max().unwrap_or(0)
        };
        for call in &calls {
            assert_eq!(
                call.thread,
                calls[0].thread,
                "two threads work on {}",
                directory.display()
            );
            assert!(
                call.nth > elsewhere(call),
                "another thread comes before at {} {}",
                call.name,
                call.nth
            );
        }
        calls.into_iter().map(Call::point).collect()
    }
}

/// Runs `command` and lists its calls of the kinds `what` (strace's `trace=`), with `injections`.
pub(crate) fn trace(command: &Command, kinds: &str, injections: &[String]) -> Trace {
    let log = tempfile::NamedTempFile::new().unwrap();
    let output = traced(command, kinds, injections, log.path())
        .output()
        .expect(MISSING);
    Trace {
        calls: parse(&fs::read_to_string(log.path()).unwrap()),
        output,
    }
}

/// Runs `command` with `injections`.
pub(crate) fn inject(command: &Command, injections: &[String]) -> Output {
    let names: Vec<_> = injections
        .iter()
        .filter_map(|injection| injection.split(':').next())
        .collect();
    traced(
        command,
        &names.join(","),
        injections,
        Path::new("/dev/null"),
    )
    .output()
    .expect(MISSING)
}

/// Runs `command` and lists all system calls of its first thread, with complete data. Other threads
/// and processes are not traced, and `injections` count only the calls of that thread.
pub(crate) fn first_thread(command: &Command, kinds: &str, injections: &[String]) -> Trace {
    let log = tempfile::NamedTempFile::new().unwrap();
    let strace = strace(command, &["-s", "100000000"], kinds, injections, log.path());
    let output = { strace }.output().expect(MISSING);
    let log = fs::read(log.path()).unwrap();
    let log = String::from_utf8_lossy(&log);
    let lines = format!("1 {}\n", log.trim_end().replace('\n', "\n1 "));
    Trace {
        calls: parse(&lines),
        output,
    }
}

/// A program that is stopped after one of its calls.
pub(crate) struct Stopped {
    strace: Child,
    log: tempfile::NamedTempFile,
    thread: i32,
}

/// Runs `command`, with `injections`, until its call at `point`.
pub(crate) fn stop_after(command: &Command, point: &Point, injections: &[String]) -> Stopped {
    let log = tempfile::NamedTempFile::new().unwrap();
    let injections = [injections, &[point.inject("signal=STOP")]].concat();
    let mut command = traced(command, "%file,%desc", &injections, log.path());
    let strace = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(MISSING);
    // A limit for a program that never gets there; how fast it does decides nothing.
    let limit = Instant::now() + Duration::from_secs(60);
    let thread = loop {
        let text = fs::read_to_string(log.path()).unwrap();
        let stopped = text
            .lines()
            .find(|line| line.contains("stopped by SIGSTOP"));
        if let Some((thread, _)) = stopped.and_then(|line| line.split_once(' ')) {
            break thread.parse().expect("a thread's number");
        }
        assert!(Instant::now() < limit, "never came to {point:?}:\n{text}");
        std::thread::sleep(Duration::from_millis(2));
    };
    Stopped {
        strace,
        log,
        thread,
    }
}

impl Stopped {
    /// Limits the size of the files that it may write from here on.
    pub(crate) fn limit_files(&self, bytes: usize) {
        let status = Command::new("prlimit")
            .args([format!("--pid={}", self.thread), format!("--fsize={bytes}")])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Lets it continue to its end.
    pub(crate) fn go_on(self) -> Trace {
        let thread = rustix::process::Pid::from_raw(self.thread).unwrap();
        rustix::process::kill_process(thread, rustix::process::Signal::CONT).unwrap();
        let output = self.strace.wait_with_output().unwrap();
        Trace {
            calls: parse(&fs::read_to_string(self.log.path()).unwrap()),
            output,
        }
    }
}

const MISSING: &str =
    "strace is needed by this test and can't be run: install it (apt-get install strace)";

fn traced(command: &Command, kinds: &str, injections: &[String], log: &Path) -> Command {
    strace(command, &["-f", "-s", "64"], kinds, injections, log)
}

fn strace(
    command: &Command,
    options: &[&str],
    kinds: &str,
    injections: &[String],
    log: &Path,
) -> Command {
    let mut strace = Command::new("strace");
    strace
        .args(options)
        .args(["-qq", "-y", "-e", &format!("trace={kinds}"), "-o"])
        .arg(log);
    for injection in injections {
        strace.args(["-e", &format!("inject={injection}")]);
    }
    strace
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        strace.current_dir(directory);
    }
    strace
}

/// Lines are `<thread> <name>(<arguments>) = <result>`; a call that another thread's line
/// interrupts is in two parts.
fn parse(log: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut counts = HashMap::new();
    let mut unfinished: HashMap<String, usize> = HashMap::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(end) = rest.strip_prefix("<... ") {
            if let (Some(at), Some((_, end))) =
                (unfinished.remove(thread), end.split_once("resumed>"))
            {
                calls[at].text.push_str(end);
            }
            continue;
        }
        let Some((name, text)) = rest.split_once('(').filter(|(name, _)| is_name(name)) else {
            continue;
        };
        let nth = counts
            .entry((thread.to_owned(), name.to_owned()))
            .or_insert(0);
        *nth += 1;
        if text.ends_with("<unfinished ...>") {
            unfinished.insert(thread.to_owned(), calls.len());
        }
        let text = format!("({text}");
        calls.push(Call {
            thread: thread.to_owned(),
            name: name.to_owned(),
            text,
            nth: *nth,
        });
    }
    calls
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A scratch directory by its canonical name.
pub(crate) fn canonical(directory: &Path) -> PathBuf {
    directory.canonicalize().unwrap()
}
