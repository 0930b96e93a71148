//! Ctrl-C (SIGINT) and SIGTERM: the changes are reported, then the process exits with 128 plus the number of
//! the signal.
//!
//! Captures the environment of this process, once.

use std::{
    env,
    io::{self, IsTerminal},
    mem,
    path::PathBuf,
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::SystemTime,
};

use jiff::tz::TimeZone;
use rustix::termios::tcgetwinsize;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
    iterator::Signals,
};

use super::{
    diagnostics::StandardError,
    format::{Format, Volume, When},
    output::Output,
};
use crate::{
    app::{
        report::{
            json::{ErrorDocument, ErrorRow},
            sarif::Findings,
        },
        workflow::{Environment, Event, Interruption, Terminals},
    },
    base::{
        error::{Class, Code, Error, Errors},
        http::Timer,
        untrusted::workflow::Commands,
    },
};

/// Starts to receive signals.
pub(super) fn watch(
    format: Format,
    color: When,
    environment: &Environment,
    stderr: StandardError,
) -> Result<Arc<Interruption>, Errors> {
    let output = Output::new(format, color, Volume::Normal, environment);
    let output = Mutex::new(output);
    // A signal before the end of this function, or during the final report, whose reader may be
    // stalled, exits immediately.
    let exits_now = Arc::new(AtomicBool::new(true));
    let ends = Arc::clone(&exits_now);
    let report = move |event: &Event<'_>| match event {
        Event::Wait => stderr.write(
            "interrupted: waiting for the current step to end; interrupt again to end now\n",
        ),
        Event::Exit {
            signal,
            changed,
            printed,
        } => {
            ends.store(true, Ordering::SeqCst);
            stderr.clear();
            if let Ok(mut output) = output.lock() {
                report_end(&mut output, *signal, changed, *printed);
            }
            process::exit(128 + signal);
        }
    };
    let interruption = Arc::new(Interruption::new(Box::new(report)));
    let fail = |error: io::Error| Errors::io(format!("cannot handle signals: {error}"));
    // A handler runs its actions in the order of their registration. The reporting thread sets
    // `exits_now`, so it must be notified last.
    for signal in [SIGINT, SIGTERM] {
        let code = 128 + signal;
        flag::register_conditional_shutdown(signal, code, Arc::clone(&exits_now)).map_err(fail)?;
        flag::register(signal, interruption.flag()).map_err(fail)?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(fail)?;
    let received = Arc::clone(&interruption);
    let spawned = thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                received.request(signal);
            }
        });
    spawned.map_err(fail)?;
    exits_now.store(false, Ordering::SeqCst);
    Ok(interruption)
}

fn report_end(output: &mut Output, signal: i32, changed: &str, printed: bool) {
    let message = format!("interrupted; {changed}");
    let code = 128 + u8::try_from(signal).unwrap_or_default();
    match output.format {
        Format::Json | Format::Github | Format::Sarif | Format::Gitlab if printed => {}
        Format::Json => {
            output.print_json(&ErrorDocument {
                schema: "repin.error/1",
                exit: code,
                errors: vec![ErrorRow {
                    code: Code::INTERRUPTED.to_string(),
                    message,
                    file: None,
                    line: None,
                    column: None,
                    hint: Some(Code::INTERRUPTED.help()),
                }],
            });
            return;
        }
        Format::Sarif | Format::Gitlab => {
            let error = Error::new(Class::Unavailable, Code::INTERRUPTED, &message);
            output.print_only_findings(&Findings::default(), Some(&error.into()), code);
        }
        Format::Github => {
            output.annotate(&Commands::error(Code::INTERRUPTED.as_str(), &message, None));
        }
        Format::Human => {}
    }
    // The other threads go on until the process ends, and must write nothing below the report.
    let locked = io::stderr().lock();
    output.write_stderr(&format!("{message}\n"));
    mem::forget(locked);
}

/// Captures the environment; an error if the current directory does not exist.
pub fn environment() -> io::Result<Environment> {
    Ok(Environment {
        variables: env::vars_os().collect(),
        directory: env::current_dir()?,
        program: program()?,
        terminals: Terminals {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
            columns: columns(),
        },
        machine: env::consts::ARCH,
        clock: SystemTime::now,
        zone: TimeZone::system,
        pacing: Timer::new(SystemTime::now),
    })
}

/// The path of this program. On Linux, it remains valid after an update of the file.
fn program() -> io::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() {
        Ok(running)
    } else {
        env::current_exe()
    }
}

/// The width of the terminal at standard output. A terminal without a known size reports 0.
fn columns() -> Option<usize> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then(|| size.ws_col.into())
}
