//! `repin`: parse, run, exit.

use std::process::ExitCode;

use repin::cli::{self, Environment};

fn main() -> ExitCode {
    match Environment::of_process() {
        Ok(environment) => cli::run(std::env::args_os().collect(), environment),
        Err(error) => cli::no_folder(&error),
    }
}
