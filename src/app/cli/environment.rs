//! Captures the environment of this process, once.

use std::{
    env,
    io::{self, IsTerminal},
    path::PathBuf,
    time::SystemTime,
};

use rustix::termios::tcgetwinsize;

use crate::{
    app::workflow::{Environment, Terminals},
    base::http::Timer,
};

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
