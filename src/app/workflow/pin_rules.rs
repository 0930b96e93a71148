//! Errors of the configuration that only the files reveal: globs and places that select nothing, and places
//! that find the same digest.

use crate::{
    base::{
        code::Code,
        error::{Error, Errors},
        files::{Glob, Globs, WorkTree},
        text::counted,
    },
    config::Config,
    core::{checks, pins::Found},
};

/// Checks that no two places find the same digest.
pub(crate) fn check_places(config: &Config, found: &Found) -> Result<(), Errors> {
    let mut errors = Vec::new();
    for double_match in &found.double_matches {
        errors.push(double_match.error(config));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(errors.into())
}

/// Checks that every place can find a pin.
pub(crate) fn check_met(config: &Config, found: &Found) -> Result<(), Errors> {
    let errors = checks::unmet_errors(config, found);
    if errors.is_empty() {
        return Ok(());
    }
    Err(errors.into())
}

/// Checks that every glob of `files` matches a file.
pub(crate) fn check_globs(config: &Config, found: &Found) -> Result<(), Errors> {
    refuse(config, &found.unmatched)
}

/// Checks that every glob of `files` matches a file of the work tree, without a search for pins.
pub(crate) fn check_globs_of_work_tree(config: &Config) -> Result<(), Errors> {
    let listing = config.work_tree().list(&config.scanned)?;
    refuse(config, &listing.unmatched(&config.scanned))
}

fn refuse(config: &Config, unmatched: &[Glob]) -> Result<(), Errors> {
    let mut problems = Vec::new();
    for glob in unmatched {
        let mut problem = Error::input(Code::CONFIG, checks::no_match_message(config, glob))
            .at(config.place(glob.span(), ""))
            .help("correct or remove the glob");
        problem.notes.extend(skipped_files(config, glob));
        problems.push(problem);
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(problems.into())
}

/// The note about files that the glob matches and another rule skips.
fn skipped_files(config: &Config, glob: &Glob) -> Option<String> {
    let globs = Globs::parse([glob.as_str()]).ok()?;
    let listing = WorkTree::new(&config.root).list(&globs).ok()?;
    let (excluded, ignored): (Vec<_>, Vec<_>) = listing
        .files
        .iter()
        .partition(|path| config.scanned.excludes(path.as_path()));
    if !ignored.is_empty() {
        let files = counted(ignored.len(), "matching file");
        return Some(format!(
            "git ignores {files}; `files_ignored: include` counts such files"
        ));
    }
    if excluded.is_empty() {
        return None;
    }
    let files = counted(excluded.len(), "matching file");
    Some(format!("a glob that starts with `!` excludes {files}"))
}
