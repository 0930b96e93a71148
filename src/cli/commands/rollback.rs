//! `repin rollback`: moves every pin back to a previously promoted set. Without `--to`, it lists the sets
//! available for rollback.

use std::collections::BTreeSet;

use super::history;
use crate::{
    cli::{args, change, context::Context, exit::Exit, format::Format},
    code::Code,
    config::Config,
    error::{Class, Error, Errors},
    git::{FETCH_HISTORY, Git},
    history::HistoryEntry,
    oci::Revision,
    workflow::{Goal, Intent, SiteHistory},
};

/// The minimum length of an abbreviated revision, as in git (gitrevisions(7)).
const ABBREVIATION_MIN: usize = 4;

pub(in crate::cli) fn run(args: &args::Rollback, cx: &mut Context) -> Result<Exit, Errors> {
    let intent = cx.intent(&args.change)?;
    let config = cx.load()?;
    let Some(revision) = &args.to else {
        return without_target(intent, args, &config, cx);
    };
    let revision = expand(revision, &config, cx)?;
    let goal = Goal::Rollback { revision };
    change::run(&goal, intent, &args.change, &config, cx)
}

/// Expands an abbreviated revision, as in the list of sets. Returns `text` unchanged if it is a complete
/// revision, or if no set in history matches.
fn expand(text: &str, config: &Config, cx: &Context) -> Result<String, Errors> {
    let is_complete = config.revision.pattern.revision(text).is_ok();
    if is_complete || text.len() < ABBREVIATION_MIN {
        return Ok(text.to_owned());
    }
    let site_history = SiteHistory::of_work_tree(config, &cx.services);
    // The rollback reports a missing history.
    let Ok(history) = site_history.promoted() else {
        return Ok(text.to_owned());
    };
    let revisions: BTreeSet<&str> = history
        .entries()
        .iter()
        .filter_map(|entry| entry.revision.as_ref())
        .map(Revision::as_str)
        .filter(|revision| revision.starts_with(text))
        .collect();
    if revisions.len() > 1 {
        let message = format!("`{text}` is ambiguous: the revisions of several sets begin with it");
        let mut error =
            Error::input(Code::REVISION_SHAPE, message).help("write more of the revision");
        error.notes = revisions.into_iter().map(str::to_owned).collect();
        return Err(error.into());
    }
    Ok(revisions
        .first()
        .map_or(text, |revision| revision)
        .to_owned())
}

/// Lists the sets if no change was requested; otherwise, reports the missing `--to`.
fn without_target(
    intent: Intent,
    args: &args::Rollback,
    config: &Config,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let site_history = SiteHistory::of_work_tree(config, &cx.services);
    let history = site_history
        .promoted()
        .map_err(|error| Errors::from(&error))?;
    let entries = history.entries().iter();
    let sets: Vec<&HistoryEntry> = entries.filter(|entry| entry.can_roll_back).collect();
    if sets.is_empty() && site_history.git().is_some_and(Git::is_shallow) {
        return Err(shallow());
    }
    let change = &args.change;
    let is_change = change.apply || change.pr.is_some() || intent != Intent::Show;
    if is_change || change.diff_file.is_some() || change.body_file.is_some() {
        return Err(missing_target(&sets));
    }
    history::list(history, None, cx);
    if cx.output.format != Format::Json {
        cx.output.note(match sets.as_slice() {
            [] => "no set is available for rollback",
            _ => "nothing was changed; choose a set with: repin rollback --to REVISION",
        });
    }
    Ok(Exit::Done)
}

fn shallow() -> Errors {
    let message = "cannot determine which sets are available for rollback: the clone is shallow";
    let error = Error::new(Class::Unavailable, Code::UNAVAILABLE, message);
    Errors::from(error.help(FETCH_HISTORY))
}

fn missing_target(sets: &[&HistoryEntry]) -> Errors {
    let message = match sets {
        [] => "`--to` is missing, and no set is available for rollback",
        _ => "`--to` is missing: specify the revision of one of these sets",
    };
    let mut error =
        Error::input(Code::USAGE, message).help("run `repin rollback` to list the sets");
    let revisions = sets.iter().filter_map(|entry| entry.revision.as_ref());
    error.notes = revisions.map(ToString::to_string).collect();
    Errors::from(error)
}
