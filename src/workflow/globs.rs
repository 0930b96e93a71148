//! Globs of `files` that match nothing: an error of the configuration.

use crate::{
    checks,
    code::Code,
    config::{Config, Glob, Globs, number},
    error::{Error, Errors},
    files::WorkTree,
    git,
    pins::Found,
};

/// Checks that no two places find one digest.
pub fn places_differ(config: &Config, found: &Found) -> Result<(), Errors> {
    let twice = checks::found_twice(config, found);
    if twice.is_empty() {
        return Ok(());
    }
    Err(twice.into())
}

/// Checks that every glob of `files` matches a file of the work tree.
pub fn all_match(config: &Config, found: &Found) -> Result<(), Errors> {
    refuse(config, &found.unmatched)
}

/// The same check, before any pin is searched for.
pub fn all_match_in_work_tree(config: &Config) -> Result<(), Errors> {
    let listing = git::work_tree(config).list(&config.scanned)?;
    let matches = |glob: &Glob| {
        let mut files = listing
            .files
            .iter()
            .chain(listing.hazards.iter().map(|(path, _)| path));
        files.any(|path| glob.matches(path.as_path()))
    };
    let unmatched: Vec<Glob> = config
        .scanned
        .included()
        .into_iter()
        .filter(|glob| !matches(glob))
        .cloned()
        .collect();
    refuse(config, &unmatched)
}

fn refuse(config: &Config, unmatched: &[Glob]) -> Result<(), Errors> {
    if unmatched.is_empty() {
        return Ok(());
    }
    let problem = |glob: &Glob| {
        let mut problem = Error::input(Code::CONFIG, checks::no_match_message(config, glob))
            .at(config.place(glob.at(), ""))
            .help("correct or remove the glob");
        problem.notes.extend(left_out(config, glob));
        problem
    };
    Err(unmatched.iter().map(problem).collect::<Vec<_>>().into())
}

/// The reason why files that the glob matches do not count.
fn left_out(config: &Config, glob: &Glob) -> Option<String> {
    let globs = Globs::parse([glob.as_str()]).ok()?;
    let listed = WorkTree::new(&config.root).list(&globs).ok()?;
    let (excluded, ignored): (Vec<_>, Vec<_>) = listed
        .files
        .iter()
        .partition(|path| config.scanned.excludes(path.as_path()));
    if !ignored.is_empty() {
        let files = number(ignored.len(), "matching file");
        return Some(format!(
            "git ignores {files}; `files_ignored: include` counts such files"
        ));
    }
    let files = number(excluded.len(), "matching file");
    (!excluded.is_empty()).then(|| format!("a glob that starts with `!` excludes {files}"))
}
