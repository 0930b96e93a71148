//! Runs a process with its descendants, with a time limit and a limited output.

use std::{
    io::{self, Read, Write},
    os::unix::process::CommandExt as _,
    process::{ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::{capture::Capture, process_tree, secrets::Secrets};
use crate::base::error::Error;

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
    let descendants = process_tree::descendants(leader);
    if !state.is_exited {
        process_tree::terminate(leader);
        state.wait(Instant::now() + GRACE, None, |state| state.is_exited);
    }
    process_tree::kill(leader, &descendants);
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
