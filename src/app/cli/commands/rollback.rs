//! `repin rollback`: moves every pin back to a previously promoted set. Without `--to`, it lists the sets
//! available for rollback.

use clap::Args;
use clap_complete::ArgValueCompleter;

use super::history;
use crate::{
    app::{
        cli::{
            args::ChangeOptions, change, complete, context::Context, format::Format, output::Exit,
        },
        workflow::{self, Goal, Intent, SiteHistory},
    },
    base::error::{Class, Code, Error, Errors},
    config::Config,
    core::history::HistoryEntry,
};

const HELP: &str = "\
Git history must record the set as promoted, and every tag must still resolve to the digest that was pinned then.

Examples:
  repin rollback                                  # list the sets available for rollback
  repin rollback --remote                         # also test them in the registry
  repin rollback --to 4f2a…                       # show what would change and run every check
  repin rollback --to 4f2a… --apply               # change every pin, or none
  repin rollback --to 4f2a… --pr draft            # one commit, one branch, one pull request";

/// Move every pin back to a previously promoted set
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// Revision to roll back to, or its first characters; without it, repin lists the sets available
    /// for rollback
    #[arg(
        short,
        long,
        value_name = "REV",
        allow_hyphen_values = true,
        add = ArgValueCompleter::new(complete::rollbacks)
    )]
    to: Option<String>,
    /// Test the listed sets in the registry: whether each pinned digest exists, and whether its tag still
    /// resolves to it; `repin rehearse` runs every check
    #[arg(long, conflicts_with = "to")]
    remote: bool,
    /// Use the digests that git records even if a tag is missing or resolves to another digest
    #[arg(long, requires = "to")]
    by_digest: bool,
    #[command(flatten)]
    change: ChangeOptions,
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let intent = cx.intent(&args.change)?;
    let config = cx.load()?;
    let Some(revision) = &args.to else {
        return without_target(intent, args, &config, cx);
    };
    let is_complete = config.revision.pattern.revision(revision).is_ok();
    let revision = if is_complete {
        revision.clone()
    } else {
        SiteHistory::of_work_tree(&config, &cx.services).expand(revision, &config)?
    };
    let goal = Goal::Rollback {
        revision: revision.clone(),
        by_digest: args.by_digest,
    };
    let exit = change::run(&goal, intent, &args.change, &config, cx)?;
    // An image that cannot be verified may still be pinned; a failed check refuses that.
    if matches!(exit, Exit::Failed(Class::Unavailable | Class::Denied))
        && let Ok(revision) = config.revision.pattern.revision(&revision)
        && let Some(commands) = workflow::git_restore(&revision, &config, &cx.services)
    {
        cx.output.note(&commands);
    }
    Ok(exit)
}

/// Lists the sets if no change was requested; otherwise, reports the missing `--to`.
fn without_target(
    intent: Intent,
    args: &Arguments,
    config: &Config,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let site_history = SiteHistory::of_work_tree(config, &cx.services);
    let history = site_history
        .promoted()
        .map_err(|error| Errors::from(&error))?;
    let sets = site_history.available()?;
    let change = &args.change;
    let is_change = change.apply || change.pr.is_some() || intent != Intent::Show;
    if is_change || change.diff_file.is_some() || change.body_file.is_some() {
        return Err(missing_target(&sets));
    }
    let tested = if args.remote {
        Some(workflow::quick_test(&site_history, config, &cx.services)?)
    } else {
        None
    };
    history::list(history, None, tested.as_ref(), cx);
    if cx.output.format != Format::Json {
        let note = match sets.as_slice() {
            [] => "no set is available for rollback".to_owned(),
            _ => format!(
                "nothing was changed; choose a set with: repin rollback{} --to REVISION",
                config.option
            ),
        };
        cx.output.note(&note);
    }
    match tested.map_or_else(Vec::new, |tested| tested.errors) {
        errors if errors.is_empty() => Ok(Exit::Done),
        errors => Ok(cx.output.report_errors_separately(&errors.into())),
    }
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
