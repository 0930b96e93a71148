//! `repin rollback`: moves every pin back to a previously promoted set. Without `--to`, it lists the sets
//! available for rollback, and at a terminal it prompts for one if a change is requested.

use std::fmt::Write as _;

use clap::Args;
use clap_complete::ArgValueCompleter;

use super::history;
use crate::{
    app::{
        cli::{
            args::{ChangeOptions, PullRequestState},
            change, complete,
            context::Context,
            format::Format,
            output::{Exit, PROMPT_ATTEMPTS},
        },
        report::{
            deployed::{published_options, rollback_command},
            layout::{Align, aligned, local},
        },
        workflow::{self, ApplyMode, Goal, Intent, QuickTest, SiteHistory},
    },
    base::{
        error::{Code, Error, Errors},
        text::counted,
        untrusted::{plain, short},
    },
    config::Config,
    core::history::{History, HistoryEntry},
    oci::Revision,
};

const HELP: &str = "\
Git history must record the set as promoted, and every tag must still resolve to the digest that was pinned then.

Examples:
  repin rollback                                  # list the sets available for rollback
  repin rollback --remote                         # also test them in the registry
  repin rollback --to previous                    # show what would change and run every check
  repin rollback --to 4f2a… --apply               # change every pin, or none
  repin rollback --to '#123' --pr draft           # one commit, one branch, one pull request";

/// Move every pin back to a previously promoted set
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// Revision to roll back to, or its first characters; `previous`: the newest available set before the
    /// current one; steps from a name of git, such as HEAD~1: the set that was current at that commit; the number
    /// of the pull request that recorded it, such as '#123'. Without it, repin lists the sets available for rollback, and prompts for one at a terminal if
    /// --apply or --pr is given
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

/// The maximum number of sets in the prompt.
const MAX_CHOICES: usize = 9;
/// The maximum width of a name in the prompt.
const NAME_WIDTH: usize = 24;

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let intent = cx.intent(&args.change)?;
    let config = cx.load()?;
    let revision = match &args.to {
        Some(revision) => revision.clone(),
        None => match without_target(intent, args, &config, cx)? {
            Choice::Set(revision) => revision,
            Choice::Listed(exit) => return Ok(exit),
        },
    };
    let goal = Goal::Rollback {
        revision,
        by_digest: args.by_digest,
    };
    change::run(&goal, intent, &args.change, &config, cx)
}

/// The result of a run without `--to`.
enum Choice {
    /// The user chose the set with this revision.
    Set(String),
    /// The sets were listed.
    Listed(Exit),
}

/// Lists the sets if no change was requested; otherwise, prompts for one, or reports the missing `--to`.
fn without_target(
    intent: Intent,
    args: &Arguments,
    config: &Config,
    cx: &mut Context,
) -> Result<Choice, Errors> {
    let can_prompt = cx.services.environment.can_prompt() && cx.output.format == Format::Human;
    if can_prompt && intent == Intent::Apply(ApplyMode::Push) {
        workflow::fetch_branch(config, &cx.services)?;
    }
    let site_history = SiteHistory::for_choice(config, &cx.services);
    let history = site_history
        .promoted()
        .map_err(|error| Errors::from(&error))?;
    let change = &args.change;
    let is_change = change.apply || change.pr.is_some() || intent != Intent::Show;
    if is_change || change.diff_file.is_some() || change.body_file.is_some() {
        let sets = site_history.unheld()?;
        let named: Vec<_> = sets
            .iter()
            .copied()
            .filter(|entry| entry.revision.is_some())
            .collect();
        if is_change && can_prompt && !named.is_empty() {
            return prompt(&named, history, cx).map(Choice::Set);
        }
        return Err(missing_target(&sets, args, history, config));
    }
    let available = site_history.available()?;
    let mut tested = QuickTest::default();
    if args.remote {
        tested = workflow::quick_test(&site_history, config, &cx.services)?;
    }
    let tested_sets = args.remote.then_some(&tested);
    history::list(history, &config.option, None, tested_sets, cx);
    let exit = match std::mem::take(&mut tested.errors) {
        errors if errors.is_empty() => Exit::Done,
        errors => cx.output.report_errors_separately(&errors.into()),
    };
    if cx.output.format != Format::Json {
        let mut note = match available.as_slice() {
            [] => "no set is available for rollback".to_owned(),
            _ => format!(
                "nothing was changed; choose a set with: repin rollback{} --to REVISION",
                config.option
            ),
        };
        // A set that the test refuses is not suggested.
        let newest = |sets: &[&HistoryEntry]| {
            let mut sets = sets.iter();
            sets.find_map(|set| {
                let revision = set.revision.clone();
                revision.filter(|_| tested.result(set) != Some(false))
            })
        };
        if history.shallow {
            note += "\nwhich sets a rollback undid is unknown, because the clone is shallow";
            cx.output.note(&note);
            return Ok(Choice::Listed(exit));
        }
        let sets = site_history.unheld()?;
        let has_unheld = sets.iter().any(|set| set.revision.is_some());
        if let Some(newest) = newest(&sets) {
            let command = command(&newest, args, history, config);
            let _ = write!(note, "\nthe newest available one: {command}");
        } else if !has_unheld && let Some(held) = newest(&available) {
            let command = command(&held, args, history, config);
            let _ = write!(
                note,
                "\na rollback undid every available set; the newest of them: {command}"
            );
        }
        cx.output.note(&note);
    }
    Ok(Choice::Listed(exit))
}

/// The complete command for a set, with the options that the user gave, or else those with which the current set
/// was published.
fn command(revision: &Revision, args: &Arguments, history: &History, config: &Config) -> String {
    let change = &args.change;
    let mut options = String::new();
    if change.apply || change.dry_run == Some(false) && change.pr.is_none() {
        options += " --apply";
    }
    for (option, is_given) in [(" --commit", change.commit), (" --push", change.push)] {
        if is_given {
            options += option;
        }
    }
    match change.pr {
        Some(PullRequestState::Draft) => options += " --pr draft",
        Some(PullRequestState::Ready) => options += " --pr ready",
        None => {}
    }
    if options.is_empty() {
        options += published_options(config, history);
    }
    rollback_command(revision, &config.option, &options)
}

fn missing_target(
    sets: &[&HistoryEntry],
    args: &Arguments,
    history: &History,
    config: &Config,
) -> Errors {
    let message = match sets {
        [] => "`--to` is missing, and no set is available for rollback that is not held",
        _ => "`--to` is missing: specify the revision of one of these sets",
    };
    let revisions = sets.iter().filter_map(|entry| entry.revision.as_ref());
    let revisions: Vec<&Revision> = revisions.collect();
    let help = match revisions.first() {
        Some(newest) => format!(
            "for the newest available set: {}",
            command(newest, args, history, config)
        ),
        None => format!("run `repin rollback{}` to list the sets", config.option),
    };
    let mut error = Error::input(Code::USAGE, message).help(help);
    error.notes = revisions.iter().map(ToString::to_string).collect();
    Errors::from(error)
}

/// Prompts for one of the sets, newest first, and returns its revision. There is no default, because a wrong set would be
/// deployed.
fn prompt(sets: &[&HistoryEntry], history: &History, cx: &Context) -> Result<String, Errors> {
    let older = sets.len().saturating_sub(MAX_CHOICES);
    let sets = &sets[..sets.len() - older];
    let zone = (cx.services.environment.zone)();
    let mut rows = Vec::new();
    for (index, entry) in sets.iter().enumerate() {
        rows.push(vec![
            (index + 1).to_string(),
            entry
                .revision
                .as_ref()
                .map_or_else(String::new, |revision| plain(revision.as_str())),
            entry.commit.short(),
            local(&entry.date, &zone),
            short(&entry.author, NAME_WIDTH),
        ]);
    }
    let mut text = format!(
        "Sets of {} that are available for rollback, newest first:\n",
        plain(&history.branch.name)
    );
    let mut columns = [Align::Left; 5];
    columns[0] = Align::Right;
    text += &aligned(&columns, &rows);
    if older > 0 {
        let _ = writeln!(
            text,
            "{} without a number: repin rollback",
            counted(older, "older set")
        );
    }
    cx.output.write_stderr(&text);
    let question = format!(
        "Number of the set (1 to {}; empty: change nothing): ",
        sets.len()
    );
    for _ in 0..PROMPT_ATTEMPTS {
        let line = cx.output.ask(&question)?.unwrap_or_default();
        let answer = line.trim();
        if answer.is_empty() {
            break;
        }
        let number = answer.parse::<usize>().ok();
        let chosen = number.and_then(|number| sets.get(number.checked_sub(1)?));
        if let Some(revision) = chosen.and_then(|entry| entry.revision.as_ref()) {
            return Ok(revision.to_string());
        }
    }
    let help = "run the command again and type a number, or specify the set with --to";
    let error = Error::input(Code::USAGE, "no set was chosen; nothing was changed");
    Err(error.help(help).into())
}
