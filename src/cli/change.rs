//! Runs a promotion or a rollback, and prints the result.

use std::path::{Path, PathBuf};

use crate::{
    cli::{
        args::Change,
        context::Context,
        exit::Exit,
        format::Format,
        github::StepFiles,
        render::{self, Shown},
    },
    config::Config,
    error::{Errors, usage},
    workflow::{self, Goal, Intent, Options},
};

pub(super) fn run(
    goal: &Goal,
    intent: Intent,
    change: &Change,
    config: &Config,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let dash = |file: &Option<PathBuf>| file.as_deref() == Some(Path::new("-"));
    if cx.output.format == Format::Json && (dash(&change.diff_file) || dash(&change.body_file)) {
        return Err(usage(
            "standard output cannot contain a report in addition to --format json: name a file instead of `-`",
        ));
    }
    if cx.output.format == Format::Github {
        // An unwritable file stops the run before anything is changed.
        StepFiles::open(&cx.services.environment)?;
    }
    if change.commit && !change.apply && change.dry_run != Some(false) {
        return Err(usage("--commit requires --apply"));
    }
    if (change.changes.stat || change.changes.no_diff) && dash(&change.diff_file) {
        return Err(usage(
            "--diff-file - prints the diff, which --stat and --no-diff leave out",
        ));
    }
    let options = Options {
        intent,
        unconfigured: change.if_unconfigured.into(),
        diff_file: change.diff_file.clone(),
        body_file: change.body_file.clone(),
    };
    let finished = workflow::run(goal, &options, config, &cx.services)?;
    Ok(render::finished(
        &finished,
        &options,
        Shown::of(change.changes),
        cx,
    ))
}
