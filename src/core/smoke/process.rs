//! Runs a process with its descendants, with a time limit and a limited output.
//!
//! Kills a process and its descendants.
//!
//! The process leads its own group. Descendants outside the group are found in `/proc`, if it exists,
//! unless init has adopted them. Processes of an engine's daemon are no descendants: they are in the
//! container, which is removed by its name.
//!
//! The output of a process: its beginning and its end, with a limited length.
//!
//! The values of `smoke.env`, which are masked in all output.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::Path,
    process::{ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

use crate::base::{
    error::{Class, Error},
    untrusted::{Forms, starred},
};

/// The time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// The time limit for output that another process may still write.
const DRAIN: Duration = Duration::from_secs(2);
/// The interval of checks for an interruption.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Writes the standard input of a process.
pub(super) type InputWriter = Box<dyn FnOnce(&mut dyn Write) -> Result<(), InputError> + Send>;

/// The reason that the input was not written completely.
pub(super) enum InputError {
    /// The process stopped reading. Its exit code contains the reason.
    Pipe,
    /// The source of the input failed.
    Source(Error),
}

/// The limits of a run.
pub(super) struct Limits<'b> {
    /// The time at which the process is killed.
    pub(super) deadline: Instant,
    /// A flag that kills the process.
    pub(super) interrupted: Option<&'b AtomicBool>,
    /// Masked in the output.
    pub(super) secrets: &'b Secrets,
}

/// The end of a process.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Exited(ExitStatus),
    TimedOut,
    Interrupted,
}

impl End {
    pub(super) fn exit_code(self) -> Option<i32> {
        match self {
            Self::Exited(status) => status.code(),
            Self::TimedOut | Self::Interrupted => None,
        }
    }

    pub(super) fn is_success(self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }
}

pub(super) struct ProcessResult {
    pub(super) end: End,
    /// Standard output and standard error, with masked secrets.
    pub(super) output: String,
    /// The failure of the input's source.
    pub(super) input_error: Option<Error>,
}

enum Event {
    Exited,
    OutputClosed,
    InputWritten(Option<Error>),
}

/// The state of a process according to its events.
struct ProcessState {
    events: Receiver<Event>,
    is_exited: bool,
    is_output_closed: bool,
    is_input_written: bool,
    input_error: Option<Error>,
}

/// Runs a process until it exits or reaches a limit, then kills its process group and descendants.
pub(super) fn run(
    mut command: Command,
    input: Option<InputWriter>,
    limits: &Limits<'_>,
) -> io::Result<ProcessResult> {
    let (reader, writer) = io::pipe()?;
    command.stdin(if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    command
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0);
    let mut child = command.spawn()?;
    // The command contains this process's copies of the writer, for which the reader would wait.
    drop(command);
    let leader = Pid::from_child(&child);
    let (sender, events) = mpsc::channel();
    let capture = Arc::new(Mutex::new(Capture::new(limits.secrets)));
    let mut state = ProcessState {
        events,
        is_exited: false,
        is_output_closed: false,
        is_input_written: true,
        input_error: None,
    };
    if let (Some(input), Some(stdin)) = (input, child.stdin.take()) {
        state.is_input_written = false;
        write_input(input, stdin, sender.clone());
    }
    capture_output(reader, Arc::clone(&capture), sender.clone());
    watch_exit(leader, sender);
    let waited = state.wait(limits.deadline, limits.interrupted, |state| state.is_exited);
    let descendants = descendants(leader);
    if !state.is_exited {
        terminate(leader);
        state.wait(Instant::now() + GRACE, None, |state| state.is_exited);
    }
    kill(leader, &descendants);
    state.wait(Instant::now() + DRAIN, None, |state| {
        state.is_exited && state.is_output_closed && state.is_input_written
    });
    // Reaped only now, because the process ID is also the ID of the group. A process that survives
    // SIGKILL is left to init.
    let status = if state.is_exited {
        Some(child.wait()?)
    } else {
        None
    };
    let end = match (waited, status) {
        (WaitOutcome::Done, Some(status)) => End::Exited(status),
        (WaitOutcome::Interrupted, _) => End::Interrupted,
        _ => End::TimedOut,
    };
    let output = capture
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .text(limits.secrets);
    Ok(ProcessResult {
        end,
        output,
        input_error: state.input_error,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WaitOutcome {
    Done,
    TimedOut,
    Interrupted,
}

impl ProcessState {
    /// Blocks until `is_done` returns true, the deadline passes, or the flag is set.
    fn wait(
        &mut self,
        deadline: Instant,
        interrupted: Option<&AtomicBool>,
        is_done: impl Fn(&Self) -> bool,
    ) -> WaitOutcome {
        loop {
            if is_done(self) {
                return WaitOutcome::Done;
            }
            if interrupted.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                return WaitOutcome::Interrupted;
            }
            let mut timeout = deadline.saturating_duration_since(Instant::now());
            if timeout.is_zero() {
                return WaitOutcome::TimedOut;
            }
            if interrupted.is_some() {
                timeout = timeout.min(POLL_INTERVAL);
            }
            match self.events.recv_timeout(timeout) {
                Ok(Event::Exited) => self.is_exited = true,
                Ok(Event::OutputClosed) => self.is_output_closed = true,
                Ok(Event::InputWritten(error)) => {
                    self.is_input_written = true;
                    self.input_error = error;
                }
                Err(RecvTimeoutError::Timeout) => {}
                // All threads have sent their event.
                Err(RecvTimeoutError::Disconnected) => {
                    return if is_done(self) {
                        WaitOutcome::Done
                    } else {
                        WaitOutcome::TimedOut
                    };
                }
            }
        }
    }
}

/// Sends an event when the process has exited, without reaping it.
fn watch_exit(leader: Pid, events: Sender<Event>) {
    thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(
            waitid(WaitId::Pid(leader), options),
            Err(rustix::io::Errno::INTR)
        ) {}
        let _ = events.send(Event::Exited);
    });
}

/// Consumes the whole output, so that no writer blocks.
fn capture_output(mut reader: io::PipeReader, capture: Arc<Mutex<Capture>>, events: Sender<Event>) {
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => capture
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = events.send(Event::OutputClosed);
    });
}

fn write_input(input: InputWriter, mut stdin: ChildStdin, events: Sender<Event>) {
    thread::spawn(move || {
        let error = match input(&mut stdin) {
            Ok(()) | Err(InputError::Pipe) => None,
            Err(InputError::Source(error)) => Some(error),
        };
        drop(stdin);
        let _ = events.send(Event::InputWritten(error));
    });
}

/// A process. Its start time distinguishes it from a later process with the same ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pid: Pid,
    parent: i32,
    start_time: u64,
}

/// Sends SIGTERM to the group.
pub(super) fn terminate(leader: Pid) {
    // Fails if the group is empty.
    let _ = kill_process_group(leader, Signal::TERM);
}

/// Kills the group, and those of `known` that still exist with their descendants.
///
/// The leader must not be reaped before: its process ID is the ID of the group.
pub(super) fn kill(leader: Pid, known: &[Process]) {
    let _ = kill_process_group(leader, Signal::KILL);
    let current = processes();
    for process in known {
        let is_alive = current
            .iter()
            .any(|other| other.pid == process.pid && other.start_time == process.start_time);
        if is_alive {
            for descendant in descendants_in(process.pid, &current) {
                let _ = kill_process(descendant.pid, Signal::KILL);
            }
            let _ = kill_process(process.pid, Signal::KILL);
        }
    }
}

/// The direct and indirect children of `root`.
pub(super) fn descendants(root: Pid) -> Vec<Process> {
    descendants_in(root, &processes())
}

fn descendants_in(root: Pid, processes: &[Process]) -> Vec<Process> {
    let mut descendants: Vec<Process> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for process in processes {
            if process.parent == parent.as_raw_nonzero().get() && !descendants.contains(process) {
                descendants.push(*process);
                parents.push(process.pid);
            }
        }
    }
    descendants
}

fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| process(&entry.path()))
        .collect()
}

fn process(directory: &Path) -> Option<Process> {
    let pid = directory.file_name()?.to_str()?.parse().ok()?;
    // proc_pid_stat(5): the name in parentheses may contain any bytes, including parentheses.
    let stat = fs::read(directory.join("stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    Some(Process {
        pid: Pid::from_raw(pid)?,
        parent: fields.get(1)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

/// The length of the reported beginning and of the reported end, in bytes.
const REPORTED: usize = 32 * 1024;

/// Collects output. It stores slightly more than it reports, so that a secret across a cut is still
/// recognized.
pub(super) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
    /// The length of the stored beginning and of the stored end.
    stored: usize,
}

impl Capture {
    pub(super) fn new(secrets: &Secrets) -> Self {
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            dropped: 0,
            stored: REPORTED + secrets.longest(),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(self.stored - self.head.len()));
        self.head.extend(head);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(self.stored);
        self.tail.drain(..excess);
        self.dropped += excess as u64;
    }

    /// The beginning and the end as text, with `***` for each secret.
    pub(super) fn text(&self, secrets: &Secrets) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if self.dropped == 0 {
            let output = [self.head.as_slice(), &tail].concat();
            let mask = secrets.mask(&output);
            if output.len() <= 2 * REPORTED {
                return redact(&output, &mask);
            }
            let end = output.len() - REPORTED;
            return join(
                &redact(&output[..REPORTED], &mask[..REPORTED]),
                &redact(&output[end..], &mask[end..]),
                end - REPORTED,
            );
        }
        let (head_mask, tail_mask) = (secrets.mask(&self.head), secrets.mask(&tail));
        let end = tail.len() - REPORTED;
        let dropped = usize::try_from(self.dropped).unwrap_or(usize::MAX);
        join(
            &redact(&self.head[..REPORTED], &head_mask[..REPORTED]),
            &redact(&tail[end..], &tail_mask[end..]),
            self.head.len() - REPORTED + dropped + end,
        )
    }
}

fn join(head: &str, tail: &str, omitted: usize) -> String {
    format!("{head}\n[{omitted} bytes omitted]\n{tail}")
}

/// Replaces each run of masked bytes with `***`.
fn redact(bytes: &[u8], mask: &[bool]) -> String {
    String::from_utf8_lossy(&starred(bytes, mask)).into_owned()
}

/// Shorter lines of a value are not masked separately, because they may also occur in other text.
const MIN_LINE: usize = 8;

/// Variables that are unset or empty. A CI system sets an unavailable secret to an empty value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the smoke command needs {}, which {} not set", .names.join(", "), if .names.len() == 1 { "is" } else { "are" })]
pub struct MissingSecret {
    /// The variables, in the order of the configuration.
    pub names: Vec<String>,
}

/// The values of `smoke.env`.
pub(crate) struct Secrets {
    forms: Forms,
}

impl From<MissingSecret> for Error {
    fn from(missing: MissingSecret) -> Self {
        let hint = "set it in the environment of repin, or remove it from `smoke.env`".to_owned();
        Self {
            help: Some(hint),
            ..Self::about(Class::Denied, "smoke", missing.to_string())
        }
    }
}

impl Secrets {
    /// Looks up the variables in `names`, each of which must be set.
    pub(crate) fn from_variables(
        names: &[String],
        variables: &[(OsString, OsString)],
    ) -> Result<Self, MissingSecret> {
        let mut forms = Forms::default();
        let mut missing = Vec::new();
        for name in names {
            let variable = variables
                .iter()
                .find(|(key, _)| key.as_bytes() == name.as_bytes())
                .filter(|(_, value)| !value.is_empty());
            let Some((_, value)) = variable else {
                missing.push(name.clone());
                continue;
            };
            for pattern in patterns(value.as_bytes()) {
                forms.add(&pattern);
            }
        }
        if !missing.is_empty() {
            return Err(MissingSecret { names: missing });
        }
        Ok(Self { forms })
    }

    /// The maximum length of a secret in any of its forms, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.forms.longest()
    }

    /// Marks each byte that is part of a secret.
    pub(super) fn mask(&self, bytes: &[u8]) -> Vec<bool> {
        self.forms.mask(bytes)
    }
}

/// The value, the value without surrounding white space, and each of its long lines.
fn patterns(value: &[u8]) -> Vec<Vec<u8>> {
    let mut patterns = vec![value.to_vec(), value.trim_ascii().to_vec()];
    for line in value.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.len() >= MIN_LINE {
            patterns.push(line.to_vec());
        }
    }
    patterns.retain(|pattern| !pattern.is_empty());
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::core::smoke) fn secrets(values: &[&str]) -> Secrets {
        let names: Vec<_> = (0..values.len()).map(|index| format!("S{index}")).collect();
        let variables: Vec<_> = names
            .iter()
            .zip(values)
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Secrets::from_variables(&names, &variables).unwrap()
    }

    fn mask(values: &[&str], text: &str) -> String {
        let mask = secrets(values).mask(text.as_bytes());
        text.bytes()
            .zip(mask)
            .map(|(byte, secret)| if secret { '#' } else { char::from(byte) })
            .collect()
    }

    #[test]
    fn unset_and_empty_variables_are_reported() {
        let names = ["A", "B", "C"].map(str::to_owned);
        let variables = [("A".into(), "x".into()), ("B".into(), "".into())];
        let missing = Secrets::from_variables(&names, &variables).err().unwrap();
        assert_eq!(missing.names, ["B", "C"]);
        assert_eq!(
            missing.to_string(),
            "the smoke command needs B, C, which are not set"
        );
        let error = Error::from(missing);
        assert_eq!(error.class, Class::Denied);
    }

    #[test]
    fn overlapping_occurrences_are_masked() {
        assert_eq!(mask(&["toke"], "a toke, toke"), "a ####, ####");
        assert_eq!(mask(&["abba"], "xabbabbax"), "x#######x");
        assert_eq!(mask(&["abcd", "cdef"], "abcdef"), "######");
        // Too short to be a secret.
        assert_eq!(mask(&["abc"], "abcd"), "abcd");
        assert_eq!(mask(&[], "abc"), "abc");
    }

    #[test]
    fn encoded_forms_are_masked() {
        // `user:s3cret!` in an Authorization header, and `s3cret!` in a form.
        assert_eq!(
            mask(&["s3cret!"], "Basic dXNlcjpzM2NyZXQh."),
            "Basic dXNlcj##########."
        );
        assert_eq!(mask(&["s3cret!"], "<s3cret%21>"), "<#########>");
    }

    #[test]
    fn value_is_masked_without_newline_and_by_line() {
        assert_eq!(mask(&["token\n"], "<token>"), "<#####>");
        assert_eq!(
            mask(
                &["-----BEGIN\nlong line here\nab"],
                "> long line here\n> ab"
            ),
            "> ##############\n> ab"
        );
        assert_eq!(mask(&["    "], "a    b"), "a####b");
    }

    fn capture(secret: &str, parts: &[&[u8]]) -> String {
        let secrets = secrets(&[secret]);
        let mut capture = Capture::new(&secrets);
        for part in parts {
            capture.push(part);
        }
        capture.text(&secrets)
    }

    #[test]
    fn secrets_are_found_across_chunks() {
        assert_eq!(capture("token", &[b"a to", b"ke", b"n b"]), "a *** b");
        assert_eq!(capture("token", &[b"\xfftokentoken\n"]), "\u{fffd}***\n");
    }

    #[test]
    fn short_output_is_complete() {
        let text = "x".repeat(2 * REPORTED);
        assert_eq!(capture("token", &[text.as_bytes()]), text);
    }

    #[test]
    fn long_output_is_cut_in_the_middle() {
        for extra in [1, 3, 10, 11, 1000, 5 * REPORTED] {
            let text = format!(
                "{}{}{}",
                "a".repeat(REPORTED),
                "m".repeat(extra),
                "z".repeat(REPORTED)
            );
            let expected = join(&"a".repeat(REPORTED), &"z".repeat(REPORTED), extra);
            assert_eq!(capture("token", &[text.as_bytes()]), expected, "{extra}");
            let parts: Vec<_> = text.as_bytes().chunks(999).collect();
            assert_eq!(capture("token", &parts), expected, "{extra}");
        }
    }

    #[test]
    fn secret_across_a_cut_is_masked() {
        for before in REPORTED - 6..=REPORTED {
            for (first, second) in [(100, 0), (0, 3), (0, 100), (9 * REPORTED, 100)] {
                let text = format!(
                    "{}SECRET{}{}SECRET{}",
                    "a".repeat(before),
                    "m".repeat(first),
                    "n".repeat(second),
                    "z".repeat(before)
                );
                let text = capture("SECRET", &[text.as_bytes()]);
                assert!(
                    !text.contains(['S', 'E', 'C', 'R', 'T']),
                    "{before} {first} {second}"
                );
                assert!(text.len() < 2 * REPORTED + 200);
            }
        }
    }
}
