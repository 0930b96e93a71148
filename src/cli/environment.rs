//! Reads the environment of this process, once.

use std::{
    env,
    io::{self, IsTerminal},
    time::SystemTime,
};

use crate::{
    http::Timer,
    workflow::{Environment, Terminals},
};

/// The environment of this process; an error if its current directory is gone.
pub fn environment() -> io::Result<Environment> {
    Ok(Environment {
        variables: env::vars_os().collect(),
        directory: env::current_dir()?,
        terminals: Terminals {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
        },
        machine: env::consts::ARCH,
        clock: SystemTime::now,
        pacing: Timer::new(SystemTime::now),
    })
}
