//! `repin recover`: finishes or undoes an interrupted `--apply`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use serde::Serialize;

use crate::{
    app::{
        cli::{args::strict_bool, context::Context, format::Format, output::Exit},
        workflow::{lock, warn_if_interrupted},
    },
    base::{
        error::{Class, Errors},
        untrusted::{plain, workflow::Commands},
    },
    config::{self, SetPath},
    core::{
        apply::{self, Content, Error, Recovery, RecoveryState},
        configurations,
    },
    git,
};

/// Finish or undo an interrupted --apply
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  repin recover --dry-run true    # report without changing anything"
)]
pub(in crate::app::cli) struct Arguments {
    /// Delete the journal and leave the files as they are
    #[arg(long)]
    discard: bool,
    /// Report what recover would do without changing anything; an omitted or empty BOOL means true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, num_args = 0..=1, default_missing_value = "true")]
    dry_run: Option<bool>,
}

/// `repin.recover/1`.
#[derive(Serialize)]
struct Document {
    schema: &'static str,
    set_path: Option<SetPath>,
    revision: Option<String>,
    state: &'static str,
    files: Vec<String>,
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let dry_run = args.dry_run == Some(true) || cx.is_dry_run_forced()?;
    let root = root(cx)?;
    let interruption = Arc::clone(&cx.services.interruption);
    let step = (!dry_run).then(|| interruption.step("run `repin recover` again"));
    let outcome = match (dry_run, args.discard) {
        (true, _) => apply::preview_recovery(&root),
        (false, true) => lock(&root, "recover", &cx.services)
            .and_then(|mut session| session.discard())
            .map(Some),
        (false, false) => lock(&root, "recover", &cx.services)
            .and_then(|mut session| session.recover())
            .map(Some),
    };
    if let Some(step) = step {
        step.done("the interrupted run was handled; `repin recover` reports its state");
    }
    let recovery = match outcome {
        Ok(recovery) => recovery.unwrap_or(Recovery {
            state: RecoveryState::Nothing,
            run: None,
            files: Vec::new(),
        }),
        Err(Error::Unresolved(recovery)) => recovery,
        Err(error) => return Err(Errors::from(error)),
    };
    report(&recovery, dry_run, cx);
    if recovery.state == RecoveryState::Nothing && !cx.has_config_option() {
        warn_of_other_sets(&root, cx);
    }
    Ok(if recovery.state == RecoveryState::Conflict {
        Exit::Failed(Class::Conflict)
    } else {
        Exit::Done
    })
}

/// The root of the configuration. Without one, the current directory, if an interrupted run changed files there:
/// `init --pin` needs no configuration.
fn root(cx: &mut Context) -> Result<PathBuf, Errors> {
    let errors = match cx.load() {
        Ok(config) => return Ok(config.root),
        Err(errors) => errors,
    };
    let directory = cx.services.environment.directory();
    let is_interrupted = matches!(apply::preview_recovery(directory), Ok(Some(_)));
    if is_interrupted && !cx.has_config_option() {
        return Ok(directory.to_owned());
    }
    Err(errors)
}

/// Warns about the interrupted runs of the other sets below the current directory.
fn warn_of_other_sets(own: &Path, cx: &Context) {
    let directory = cx.services.environment.directory();
    // Without git, every file below the directory would be visited.
    if !git::is_in_repository(directory) {
        return;
    }
    let listing = configurations::list(directory, usize::MAX);
    for error in &listing.incomplete {
        cx.output.warn(&plain(&error.text()));
    }
    for file in listing.files {
        let name = file.to_string();
        // Other commands report a configuration that cannot be read.
        if let Ok(mut config) = config::load(&directory.join(file.as_path()), &name)
            && config.root != own
        {
            config.option = config::option(&name);
            warn_if_interrupted(&config, &*cx.services.console);
        }
    }
}

fn report(recovery: &Recovery, dry_run: bool, cx: &mut Context) {
    let is_conflict = recovery.state == RecoveryState::Conflict;
    let files: Vec<_> = if is_conflict {
        foreign_paths(recovery)
    } else {
        let files = recovery.files.iter();
        files.map(|file| file.path.to_string()).collect()
    };
    if cx.output.format == Format::Json {
        let run = recovery.run.as_ref();
        cx.output.print_json(&Document {
            schema: "repin.recover/1",
            set_path: run.map(|run| run.set_path.clone()),
            revision: run.and_then(|run| run.revision.clone()),
            state: recovery.state.as_str(),
            files,
        });
        return;
    }
    if is_conflict {
        let error = Error::Unresolved(recovery.clone());
        let message = error.to_string();
        if cx.output.format == Format::Github {
            cx.output
                .annotate(&Commands::error("conflict", &message, None));
        }
        cx.output.write_stderr(&format!(
            "error[conflict]: {}\n  = help: {}\n",
            cx.output.local(&plain(&message)),
            error.hint()
        ));
    } else {
        let end = if files.is_empty() { "" } else { ":" };
        let text = plain(&recovery.describe(dry_run));
        cx.output.print(format!("{text}{end}\n"));
    }
    for file in &files {
        cx.output.print(format!("  {}\n", plain(file)));
    }
}

/// The paths of files and copies with foreign content.
fn foreign_paths(recovery: &Recovery) -> Vec<String> {
    let mut paths = Vec::new();
    for file in &recovery.files {
        if file.content == Content::Other {
            paths.push(file.path.to_string());
        }
        for copy in &file.copies {
            if copy.content == Content::Other {
                paths.push(copy.path.to_string());
            }
        }
    }
    paths
}
