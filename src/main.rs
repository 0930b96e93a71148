//! `repin`: parse, run, exit.

use std::process::ExitCode;

use repin::cli;

fn main() -> ExitCode {
    match cli::environment() {
        Ok(environment) => cli::run(&std::env::args_os().collect::<Vec<_>>(), environment),
        Err(error) => cli::no_directory(&error),
    }
}
