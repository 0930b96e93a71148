//! Errors, warnings and diffs as text for standard error and standard output.
//!
//! Standard error of a run: notes, warnings and progress. On a terminal, progress is a line that is redrawn;
//! otherwise, it is one line every ten seconds.
//!
//! The request log of `-vv`: one line on standard error for each request.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::tz::TimeZone;
use tracing::{Dispatch, field::Field};
use tracing_subscriber::{
    field::MakeExt,
    filter::Targets,
    fmt::{self, MakeWriter, format},
    layer::{Layer, SubscriberExt},
};

use super::format::{Format, Volume};
use crate::{
    app::{
        pull_request::NoteListener,
        report::{
            explain::Cause,
            layout::{Color, Palette, with_local_times},
        },
        workflow::{Console, Progress},
    },
    base::{
        error::{Code, Error},
        http::{LOG, PauseListener},
        untrusted::{block, masked_credentials, plain, workflow},
    },
    config::Config,
    core::checks::FileLocation,
};

/// The number of locations of a wrong count that are listed; the others are counted.
const MAX_PLACES: usize = 20;

/// Renders an error with its location in the source.
pub(super) fn error(error: &Error, help: Option<&str>, color: bool) -> String {
    let code = error.code.as_str();
    let title = Level::ERROR.primary_title(plain(&error.text())).id(code);
    let mut group = match &error.location {
        Some(location) if !location.quoted => {
            let (line, column) = location.line_column();
            let origin = Origin::path(plain(&location.source.name));
            title.element(origin.line(line).char_column(column))
        }
        Some(location) => {
            let annotation = AnnotationKind::Primary
                .span(location.span.start..location.span.end.max(location.span.start));
            let annotation = if location.label.is_empty() {
                annotation
            } else {
                annotation.label(plain(&location.label))
            };
            let text = masked_credentials(&location.source.text);
            let snippet = Snippet::source(text).path(plain(&location.source.name));
            title.element(snippet.annotation(annotation))
        }
        None => {
            let title = renderer(color).render(&[Group::with_title(title)]);
            return format!("{title}\n{}", details(&error.notes, help));
        }
    };
    for note in &error.notes {
        group = group.element(Level::NOTE.message(plain(note)));
    }
    if let Some(help) = help {
        group = group.element(Level::HELP.message(plain(help)));
    }
    renderer(color).render(&[group]) + "\n"
}

fn renderer(color: bool) -> Renderer {
    if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    }
}

/// The notes and the help below a title without a location.
fn details(notes: &[String], help: Option<&str>) -> String {
    let mut text = String::new();
    for note in notes {
        let _ = writeln!(text, "  = note: {}", plain(note));
    }
    if let Some(help) = help {
        let _ = writeln!(text, "  = help: {}", plain(help));
    }
    text
}

/// Converts a failed cause to an error. The location of a wrong count is its declaration.
pub(super) fn failed(cause: &Cause<'_>, config: &Config) -> Error {
    let check = cause.first();
    let image = check.image.as_deref().and_then(|name| config.image(name));
    if let (Code::PIN_COUNT, Some(image)) = (check.code, image) {
        // The evidence would repeat the locations, which are in the notes.
        let message = check.cause.as_ref().unwrap_or(&check.detail);
        return Error {
            location: Some(Box::new(config.location(image.pins_at, "declared here"))),
            notes: location_notes(&check.locations),
            ..Error::failed(check.code, message)
        };
    }
    Error {
        notes: cause.evidence(),
        ..Error::failed(check.code, message(cause))
    }
}

/// Renders a warning; the last line is the help.
pub(super) fn warning(cause: &Cause<'_>) -> String {
    let title = format!("warning[{}]: {}\n", cause.code(), plain(&message(cause)));
    title + &details(&cause.evidence(), cause.help())
}

/// The message, preceded by the images.
fn message(cause: &Cause<'_>) -> String {
    let subject = cause.subject();
    if subject.is_empty() {
        cause.message()
    } else {
        format!("{subject}: {}", cause.message())
    }
}

fn location_notes(locations: &[FileLocation]) -> Vec<String> {
    let mut notes: Vec<_> = locations
        .iter()
        .take(MAX_PLACES)
        .map(|location| format!("found: {location}"))
        .collect();
    if locations.len() > MAX_PLACES {
        notes.push(format!(
            "found: … {} more (repin scan)",
            locations.len() - MAX_PLACES
        ));
    }
    notes
}

/// Renders a diff for a terminal, with hidden characters escaped.
pub(super) fn diff(diff: &[u8], palette: Palette) -> String {
    let text = String::from_utf8_lossy(diff);
    let mut out = String::with_capacity(text.len());
    // The lines that are left of a hunk: the header of the next file begins like changed lines.
    let [mut old, mut new] = [0_usize; 2];
    for line in text.lines() {
        let color = match line.as_bytes().first() {
            Some(b'@') if old + new == 0 => {
                [old, new] = hunk_lengths(line);
                Some(Color::Cyan)
            }
            Some(b'+') if new > 0 => {
                new -= 1;
                Some(Color::Green)
            }
            Some(b'-') if old > 0 => {
                old -= 1;
                Some(Color::Red)
            }
            Some(b' ') => {
                [old, new] = [old, new].map(|left| left.saturating_sub(1));
                None
            }
            _ => None,
        };
        let line = plain(&line.replace('\t', "    "));
        out += &palette.paint(color, &line);
        out.push('\n');
    }
    out
}

/// The numbers of old and new lines in the header of a hunk, `@@ -L,N +L,N @@`; a number that is absent is 1.
fn hunk_lengths(header: &str) -> [usize; 2] {
    let mut ranges = header.split(' ').skip(1);
    [(); 2].map(|()| {
        let range = ranges.next().unwrap_or_default();
        let length = range.split_once(',').map_or("1", |(_, length)| length);
        length.parse().unwrap_or(0)
    })
}

/// The interval of progress reports without a terminal.
const HEARTBEAT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub(super) struct StandardError {
    pub(super) format: Format,
    pub(super) volume: Volume,
    pub(super) color: bool,
    /// Whether progress is a line that is redrawn.
    pub(super) redraws: bool,
    pub(super) line: ProgressLine,
    pub(super) heading: Heading,
    /// The time zone of the reader.
    pub(super) zone: fn() -> TimeZone,
}

/// The heading of the next message; empty after it was written.
#[derive(Debug, Clone, Default)]
pub(super) struct Heading(Arc<Mutex<String>>);

impl Heading {
    pub(super) fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    fn take(&self) -> String {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The current line of progress on a terminal.
#[derive(Debug, Clone, Default)]
pub(super) struct ProgressLine(Arc<Mutex<Option<ProgressBar>>>);

impl ProgressLine {
    fn lock(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        if let Some(bar) = self.lock().take() {
            bar.finish_and_clear();
        }
    }
}

impl StandardError {
    /// A text with the times of the reader's zone.
    pub(super) fn local<'t>(&self, text: &'t str) -> Cow<'t, str> {
        with_local_times(text, &(self.zone)())
    }

    /// Writes text, above the line of progress.
    pub(super) fn write(&self, text: &str) {
        let text = &(self.heading.take() + text);
        let text = if self.format == Format::Github {
            workflow::inert(text, self.color)
        } else {
            block(text, self.color)
        };
        // A closed standard error cannot be reported.
        let write = || drop(io::stderr().lock().write_all(text.as_bytes()));
        match &*self.line.lock() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Writes a message, also with `--quiet`.
    pub(super) fn remark(&self, text: &str) {
        self.write(&format!("{}\n", self.local(text)));
    }

    /// Clears the line of progress.
    pub(super) fn clear(&self) {
        self.line.clear();
    }
}

impl Console for StandardError {
    fn note(&self, text: &str) {
        if self.volume != Volume::Quiet {
            self.remark(text);
        }
    }

    fn warn(&self, text: &str) {
        self.write(&format!("warning: {}\n", self.local(text)));
    }

    fn progress(&self, message: &str) -> Option<Box<dyn Progress>> {
        if self.volume == Volume::Quiet {
            return None;
        }
        if !self.redraws {
            return Some(Box::new(Heartbeat::start(
                self.clone(),
                message,
                HEARTBEAT,
            )?));
        }
        let bar = ProgressBar::new_spinner().with_message(plain(message));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        // Registered before it is drawn, so that a signal can always clear it.
        *self.line.lock() = Some(bar.clone());
        bar.enable_steady_tick(Duration::from_millis(100));
        Some(Box::new(Spinner {
            bar,
            line: self.line.clone(),
        }))
    }

    /// Reports a pause as a warning, which `--quiet` keeps: a silent minute looks like a hang.
    fn pause_listener(&self) -> PauseListener {
        let stderr = self.clone();
        PauseListener::new(move |pause| stderr.warn(&pause.to_string()))
    }

    fn note_listener(&self) -> NoteListener {
        let stderr = self.clone();
        NoteListener::new(move |note| stderr.note(note))
    }
}

/// A spinner that clears its line when it is dropped.
struct Spinner {
    bar: ProgressBar,
    line: ProgressLine,
}

impl Progress for Spinner {
    fn set_message(&self, message: &str) {
        self.bar.set_message(plain(message));
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.line.clear();
    }
}

/// Writes a message at regular intervals until it is dropped.
struct Heartbeat {
    message: Arc<Mutex<String>>,
    /// Dropped to end the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Returns `None` if the system cannot start a thread; progress is then not reported.
    fn start(stderr: StandardError, message: &str, interval: Duration) -> Option<Self> {
        let message = Arc::new(Mutex::new(message.to_owned()));
        let (end, ended) = mpsc::channel();
        let current = Arc::clone(&message);
        let thread = thread::Builder::new()
            .spawn(move || {
                let start = Instant::now();
                while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    let message = current.lock().unwrap_or_else(PoisonError::into_inner);
                    let seconds = start.elapsed().as_secs();
                    stderr.write(&format!("{} ({seconds} s)\n", plain(&message)));
                }
            })
            .ok()?;
        Some(Self {
            message,
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Progress for Heartbeat {
    fn set_message(&self, message: &str) {
        let mut current = self.message.lock().unwrap_or_else(PoisonError::into_inner);
        message.clone_into(&mut current);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was already reported.
            let _ = thread.join();
        }
    }
}

/// Starts the log of this process.
pub(super) fn start() {
    // A second call in one process has no effect.
    let _ = tracing::dispatcher::set_global_default(log(std::io::stderr));
}

/// Formats a request as `METHOD URL STATUS BYTES bytes MS ms attempt N (ERROR)`.
fn log(writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) -> Dispatch {
    let fields = format::debug_fn(|writer, field: &Field, value| match field.name() {
        "bytes" | "ms" => write!(writer, "{value:?} {field}"),
        "attempt" => write!(writer, "{field} {value:?}"),
        "error" => write!(writer, "({value:?})"),
        _ => write!(writer, "{value:?}"),
    });
    let lines = fmt::layer()
        .with_writer(writer)
        .without_time()
        .with_level(false)
        .with_target(false)
        .with_ansi(false)
        .fmt_fields(fields.delimited(" "))
        // The crate would report them with a macro that panics if standard error is closed.
        .log_internal_errors(false);
    // Other crates log headers, which contain credentials.
    let requests = Targets::new().with_target(LOG, tracing::Level::DEBUG);
    tracing_subscriber::registry()
        .with(lines.with_filter(requests))
        .into()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn lines_of_hunks_are_colored_and_headers_are_not() {
        let text = "--- a/x\n+++ b/x\n@@ -1,2 +1 @@\n a\n--- b\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-a\n+++ b\n";
        let expected = "--- a/x\n+++ b/x\nC@@ -1,2 +1 @@R\n a\nD--- bR\n--- a/y\n+++ b/y\nC@@ -1 +1 @@R\nD-aR\nA+++ bR\n";
        let shown = diff(text.as_bytes(), Palette::Colored)
            .replace("\u{1b}[36m", "C")
            .replace("\u{1b}[31m", "D")
            .replace("\u{1b}[32m", "A")
            .replace("\u{1b}[0m", "R");
        assert_eq!(shown, expected);
        assert_eq!(diff(text.as_bytes(), Palette::Plain), text);
    }

    #[test]
    fn only_requests_are_logged() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&written);
        let log = log(move || Shared(Arc::clone(&writer)));
        tracing::dispatcher::with_default(&log, || {
            tracing::error!(target: "h2::codec", authorization = "s3cret");
            tracing::debug!("s3cret");
            let _span = tracing::error_span!(target: "hyper", "s3cret").entered();
            tracing::debug!(target: LOG, method = %"GET", bytes = 7, ms = 2, attempt = 1, error = %"x");
        });
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "GET 7 bytes 2 ms attempt 1 (x)\n");
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
