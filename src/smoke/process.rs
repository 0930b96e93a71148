//! One process with everything that it starts: bounded in time, its output drained and capped.

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

use super::{capture::Capture, secrets::Secrets, tree};
use crate::error::Error;

/// How long a process that was asked to end has for it.
const GRACE: Duration = Duration::from_secs(2);
/// How long to wait for output that another process may still be writing.
const DRAIN: Duration = Duration::from_secs(2);
/// How soon an interruption is seen.
const TICK: Duration = Duration::from_millis(50);

/// Writes a process's standard input.
pub(super) type Feed = Box<dyn FnOnce(&mut dyn Write) -> Result<(), FeedError> + Send>;

/// Why standard input was not written to its end.
pub(super) enum FeedError {
    /// The process did not read its input: its exit code has the reason.
    Pipe,
    /// There was nothing right to write.
    Source(Error),
}

/// What bounds a run.
pub(super) struct Bounds<'b> {
    /// It is ended then.
    pub(super) until: Instant,
    /// It is ended once this is set.
    pub(super) interrupted: Option<&'b AtomicBool>,
    /// Taken out of what it printed.
    pub(super) secrets: &'b Secrets,
}

/// How a process ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// Its time was over.
    OutOfTime,
    /// Someone interrupted it.
    Interrupted,
}

/// A process that is no more.
pub(super) struct Ran {
    /// How it ended.
    pub(super) end: End,
    /// What it printed, without secrets.
    pub(super) output: String,
    /// Why its input could not be written.
    pub(super) unfed: Option<Error>,
}

enum Event {
    Exited,
    Drained,
    Fed(Option<Error>),
}

/// The events of a process so far.
struct ProcessEvents {
    events: Receiver<Event>,
    exited: bool,
    drained: bool,
    fed: bool,
    unfed: Option<Error>,
}

/// Runs a process to its end, or to the end of its time; then nothing of its group is left.
pub(super) fn run(
    mut command: Command,
    feed: Option<Feed>,
    bounds: &Bounds<'_>,
) -> io::Result<Ran> {
    let (reader, writer) = io::pipe()?;
    command.stdin(if feed.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    command
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0);
    let mut child = command.spawn()?;
    // Our copies of the pipe's writing end live in the command; the reader would wait for them.
    drop(command);
    let leader = Pid::from_child(&child);
    let (sender, events) = mpsc::channel();
    let capture = Arc::new(Mutex::new(Capture::new(bounds.secrets)));
    let mut watch = ProcessEvents {
        events,
        exited: false,
        drained: false,
        fed: true,
        unfed: None,
    };
    if let (Some(feed), Some(stdin)) = (feed, child.stdin.take()) {
        watch.fed = false;
        write_input(feed, stdin, sender.clone());
    }
    drain(reader, Arc::clone(&capture), sender.clone());
    wait_for(leader, sender);
    let in_time = watch.until(bounds.until, bounds.interrupted, |watch| watch.exited);
    let known = tree::descendants(leader);
    if !watch.exited {
        tree::ask(leader);
        watch.until(Instant::now() + GRACE, None, |watch| watch.exited);
    }
    tree::kill(leader, &known);
    watch.until(Instant::now() + DRAIN, None, |watch| {
        watch.exited && watch.drained && watch.fed
    });
    // Reaped only now: until here its number was the group's. What even a kill does not end is left
    // to init.
    let status = if watch.exited {
        Some(child.wait()?)
    } else {
        None
    };
    let end = match (in_time, status) {
        (WaitOutcome::Done, Some(status)) => End::Exited(status),
        (WaitOutcome::Interrupted, _) => End::Interrupted,
        _ => End::OutOfTime,
    };
    let output = capture
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .text(bounds.secrets);
    Ok(Ran {
        end,
        output,
        unfed: watch.unfed,
    })
}

/// What waiting came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WaitOutcome {
    Done,
    OutOfTime,
    Interrupted,
}

impl ProcessEvents {
    fn until(
        &mut self,
        until: Instant,
        interrupted: Option<&AtomicBool>,
        done: impl Fn(&Self) -> bool,
    ) -> WaitOutcome {
        loop {
            if done(self) {
                return WaitOutcome::Done;
            }
            if interrupted.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                return WaitOutcome::Interrupted;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return WaitOutcome::OutOfTime;
            }
            match self.events.recv_timeout(if interrupted.is_some() {
                left.min(TICK)
            } else {
                left
            }) {
                Ok(Event::Exited) => self.exited = true,
                Ok(Event::Drained) => self.drained = true,
                Ok(Event::Fed(error)) => (self.fed, self.unfed) = (true, error),
                Err(RecvTimeoutError::Timeout) => {}
                // All three have spoken.
                Err(RecvTimeoutError::Disconnected) => {
                    return if done(self) {
                        WaitOutcome::Done
                    } else {
                        WaitOutcome::OutOfTime
                    };
                }
            }
        }
    }
}

/// Says when the process has exited, and leaves it to be waited for.
fn wait_for(leader: Pid, events: Sender<Event>) {
    thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(
            waitid(WaitId::Pid(leader), options),
            Err(rustix::io::Errno::INTR)
        ) {}
        let _ = events.send(Event::Exited);
    });
}

/// Reads to the end, so that nobody who writes ever waits.
fn drain(mut reader: io::PipeReader, capture: Arc<Mutex<Capture>>, events: Sender<Event>) {
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
        let _ = events.send(Event::Drained);
    });
}

fn write_input(feed: Feed, mut stdin: ChildStdin, events: Sender<Event>) {
    thread::spawn(move || {
        let error = match feed(&mut stdin) {
            Ok(()) | Err(FeedError::Pipe) => None,
            Err(FeedError::Source(error)) => Some(error),
        };
        drop(stdin);
        let _ = events.send(Event::Fed(error));
    });
}
