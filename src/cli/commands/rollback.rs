//! `repin rollback`: move every pin back to a previously promoted set. Without `--to` it lists these
//! sets.

use std::io::BufRead;

use super::history::{Shown, table};
use crate::{
    cli::{args, change, context::Context, exit::Exit, format::Format},
    config::Config,
    error::{Class, Error, Errors},
    git::Git,
    history::Entry,
    workflow::{Goal, History},
};

pub(in crate::cli) fn run(args: &args::Rollback, cx: &mut Context) -> Result<Exit, Errors> {
    let intent = cx.intent(&args.change)?;
    let config = cx.load()?;
    let revision = match &args.to {
        Some(revision) => revision.clone(),
        None => choose(&config, cx)?,
    };
    change::run(
        &Goal::Rollback { revision },
        intent,
        &args.change,
        &config,
        cx,
    )
}

/// Lists the sets available for rollback; a person at a terminal can choose one.
fn choose(config: &Config, cx: &mut Context) -> Result<String, Errors> {
    let gathered = History::read(config, &cx.services);
    let history = gathered.known().map_err(|error| Errors::from(&error))?;
    let sets: Vec<&Entry> = history
        .entries
        .iter()
        .filter(|entry| entry.can_roll_back)
        .collect();
    if sets.is_empty() && gathered.git().is_some_and(Git::is_shallow) {
        let problem = Error::new(
            Class::Unavailable,
            "unavailable",
            "cannot determine which sets are available for rollback: the clone is shallow",
        );
        let problem = problem.help(
            "fetch the rest: git fetch --unshallow (in CI: fetch-depth: 0 for actions/checkout)",
        );
        return Err(Errors::from(problem));
    }
    if sets.is_empty() {
        let message = "`--to` is missing, and no set is available for rollback";
        return Err(Errors::from(
            Error::input("usage", message)
                .help("run `repin history` to list the sets and their state"),
        ));
    }
    let missing = || {
        Error::input(
            "usage",
            "`--to` is missing: name one of these sets by its revision",
        )
        .help("run `repin rollback --to REV`")
    };
    if cx.output.format != Format::Human {
        let mut error = missing();
        error.notes = sets
            .iter()
            .filter_map(|entry| entry.revision.as_ref())
            .map(ToString::to_string)
            .collect();
        return Err(error.into());
    }
    cx.output.print(table(&sets, Shown::Numbered));
    if !cx.services.environment.can_ask() {
        return Err(missing().into());
    }
    cx.output
        .ask(&format!("roll back to which set? [1-{}] ", sets.len()));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    let chosen = read
        .ok()
        .and_then(|_| line.trim().parse::<usize>().ok())
        .and_then(|number| number.checked_sub(1));
    let revision = chosen.and_then(|at| sets.get(at)?.revision.as_ref());
    revision
        .map(ToString::to_string)
        .ok_or_else(|| missing().into())
}
