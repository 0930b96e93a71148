//! `repin rollback`: move every pin back to a previously promoted set. Without `--to` it lists the
//! sets.

use std::collections::BTreeSet;

use super::history;
use crate::{
    cli::{args, change, context::Context, exit::Exit, format::Format},
    code::Code,
    config::Config,
    error::{Class, Error, Errors},
    git::Git,
    history::HistoryEntry,
    oci::Revision,
    workflow::{Goal, Intent, SiteHistory},
};

/// The fewest characters of a revision that name a set, as of a commit (gitrevisions(7)).
const SHORTEST: usize = 4;

pub(in crate::cli) fn run(args: &args::Rollback, cx: &mut Context) -> Result<Exit, Errors> {
    let intent = cx.intent(&args.change)?;
    let config = cx.load()?;
    let Some(revision) = &args.to else {
        return without_target(intent, args, &config, cx);
    };
    let revision = in_full(revision, &config, cx)?;
    change::run(
        &Goal::Rollback { revision },
        intent,
        &args.change,
        &config,
        cx,
    )
}

/// The revision that begins with `text`, as the list of sets shortens it; `text` itself if it is a whole
/// revision, or if no set of history has one.
fn in_full(text: &str, config: &Config, cx: &Context) -> Result<String, Errors> {
    let is_whole = config.revision.pattern.revision(text).is_ok();
    if is_whole || text.len() < SHORTEST {
        return Ok(text.to_owned());
    }
    let gathered = SiteHistory::of_work_tree(config, &cx.services);
    // Why there is no history is reported where it is needed.
    let Ok(history) = gathered.promoted() else {
        return Ok(text.to_owned());
    };
    let revisions = history
        .entries()
        .iter()
        .filter_map(|entry| entry.revision.as_ref());
    let revisions: BTreeSet<&str> = revisions
        .map(Revision::as_str)
        .filter(|revision| revision.starts_with(text))
        .collect();
    let mut revisions = revisions.into_iter();
    match (revisions.next(), revisions.next()) {
        (None, _) => Ok(text.to_owned()),
        (Some(revision), None) => Ok(revision.to_owned()),
        (Some(first), Some(second)) => {
            let message =
                format!("`{text}` is ambiguous: the revisions of several sets begin with it");
            let mut error =
                Error::input(Code::REVISION_SHAPE, message).help("write more of the revision");
            let all = [first, second].into_iter().chain(revisions);
            error.notes = all.map(str::to_owned).collect();
            Err(error.into())
        }
    }
}

/// Lists the sets if no change was requested; otherwise refuses to choose one.
fn without_target(
    intent: Intent,
    args: &args::Rollback,
    config: &Config,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let gathered = SiteHistory::of_work_tree(config, &cx.services);
    let history = gathered.promoted().map_err(|error| Errors::from(&error))?;
    let available = |entry: &&HistoryEntry| entry.can_roll_back;
    let sets: Vec<&HistoryEntry> = history.entries().iter().filter(available).collect();
    if sets.is_empty() && gathered.git().is_some_and(Git::is_shallow) {
        return Err(shallow());
    }
    let change = &args.change;
    let asks = change.apply || change.pr.is_some() || intent != Intent::Show;
    if asks || change.diff_file.is_some() || change.body_file.is_some() {
        return Err(missing(&sets));
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
    let help = "fetch the rest: git fetch --unshallow (in CI: fetch-depth: 0 for actions/checkout)";
    Errors::from(Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help(help))
}

fn missing(sets: &[&HistoryEntry]) -> Errors {
    let message = match sets {
        [] => "`--to` is missing, and no set is available for rollback",
        _ => "`--to` is missing: name one of these sets by its revision",
    };
    let mut error =
        Error::input(Code::USAGE, message).help("run `repin rollback` to list the sets");
    let revisions = sets.iter().filter_map(|entry| entry.revision.as_ref());
    error.notes = revisions.map(ToString::to_string).collect();
    Errors::from(error)
}
