//! `repin recover`: finish or undo an interrupted `--apply`.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    apply::{self, Content, Error, Recovery, RecoveryState},
    cli::{args, context::Context, exit::Exit, format::Format},
    error::{Class, Errors},
    untrusted::{plain, workflow::Commands},
    workflow::lock,
};

/// `repin.recover/1`.
#[derive(Serialize)]
struct Document {
    schema: &'static str,
    state: &'static str,
    files: Vec<String>,
}

pub(in crate::cli) fn run(args: &args::Recover, cx: &mut Context) -> Result<Exit, Errors> {
    let dry_run = args.dry_run == Some(true) || cx.dry_run_forced()?;
    let config = cx.load()?;
    let interruption = Arc::clone(&cx.services.interruption);
    let step = (!dry_run).then(|| interruption.step("run `repin recover` again"));
    let outcome = match (dry_run, args.discard) {
        (true, _) => apply::preview_recovery(&config.root),
        (false, true) => lock(&config, "recover", &cx.services)
            .and_then(|mut session| session.discard())
            .map(Some),
        (false, false) => lock(&config, "recover", &cx.services)
            .and_then(|mut session| session.recover())
            .map(Some),
    };
    if let Some(step) = step {
        step.done("the interrupted run was handled; `repin recover` reports its state");
    }
    let recovery = match outcome {
        Ok(recovery) => recovery.unwrap_or(Recovery {
            state: RecoveryState::Nothing,
            files: Vec::new(),
        }),
        Err(Error::Unresolved(recovery)) => recovery,
        Err(error) => return Err(Errors::from(error)),
    };
    report(&recovery, dry_run, cx);
    Ok(if recovery.state == RecoveryState::Conflict {
        Exit::Because(Class::Conflict)
    } else {
        Exit::Done
    })
}

fn report(recovery: &Recovery, dry_run: bool, cx: &mut Context) {
    let conflict = recovery.state == RecoveryState::Conflict;
    let files: Vec<_> = if conflict {
        strangers(recovery)
    } else {
        recovery.files.iter().map(|f| f.path.to_string()).collect()
    };
    match cx.output.format {
        Format::Json => {
            cx.output.json(&Document {
                schema: "repin.recover/1",
                state: recovery.state.as_str(),
                files,
            });
        }
        Format::Human | Format::Github | Format::Sarif => {
            if conflict {
                let error = Error::Unresolved(recovery.clone());
                if cx.output.format == Format::Github {
                    cx.output
                        .annotate(&Commands::error("conflict", &error.to_string(), None));
                }
                let text = plain(&error.to_string());
                cx.output.error_text(&format!(
                    "error[conflict]: {text}\n  = help: {}\n",
                    error.hint()
                ));
            } else {
                cx.output
                    .print(format!("{}\n", describe(recovery.state, dry_run)));
            }
            for file in &files {
                cx.output.print(format!("  {}\n", plain(file)));
            }
        }
    }
}

fn describe(state: RecoveryState, dry_run: bool) -> &'static str {
    match (state, dry_run) {
        (RecoveryState::Nothing, _) => "nothing to recover",
        (RecoveryState::Forward, false) => {
            "an interrupted run was finished; every file has its new content:"
        }
        (RecoveryState::Forward, true) => {
            "an interrupted run would be finished; every file would get its new content:"
        }
        (RecoveryState::Dropped, false) => {
            "an interrupted run was cleaned up; these files all have their old or all their new content:"
        }
        (RecoveryState::Dropped, true) => {
            "an interrupted run would be cleaned up; these files all have their old or all their new content:"
        }
        (RecoveryState::Discarded, _) => {
            "the journal was deleted; these files were left unchanged:"
        }
        (RecoveryState::Conflict, _) => {
            "an interrupted run needs a decision; these files hold foreign content:"
        }
    }
}

/// The files and copies that hold foreign content.
fn strangers(recovery: &Recovery) -> Vec<String> {
    let mut names = Vec::new();
    for file in &recovery.files {
        if file.content == Content::Other {
            names.push(file.path.to_string());
        }
        let others = file
            .copies
            .iter()
            .filter(|copy| copy.content == Content::Other);
        names.extend(others.map(|copy| copy.path.to_string()));
    }
    names
}
