//! `repin branch`: merges one long-lived branch into another, with a pull request (`promote`) or a push
//! (`sync`).

mod promote;
mod sync;

use clap::{Args, Subcommand};

use crate::{
    app::{
        cli::{args::ApplyOptions, context::Context, format::Format, output::Exit},
        report::{branch, json::BranchDocument},
    },
    base::{
        error::{Errors, usage},
        untrusted::markdown,
    },
    git::check_branch,
};

const HELP: &str = "\
Without --apply, this is a dry run.

Examples:
  repin branch promote --from staging --to main --apply
  repin branch sync --from main --to staging --apply";

/// Move commits from one long-lived branch to another
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Open a pull request from one branch to another and schedule its merge
    #[command(after_help = "Example:\n  repin branch promote --from staging --to main --apply")]
    Promote(promote::Arguments),
    /// Fast-forward or merge one branch into another and push the result
    #[command(after_help = "Example:\n  repin branch sync --from main --to staging --apply")]
    Sync(sync::Arguments),
}

#[derive(Debug, Args)]
struct Branches {
    /// Source branch
    #[arg(long, value_name = "BRANCH", allow_hyphen_values = true)]
    from: String,
    /// Target branch
    #[arg(long, value_name = "BRANCH", allow_hyphen_values = true)]
    to: String,
    #[command(flatten)]
    options: ApplyOptions,
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    match &args.action {
        Action::Promote(args) => {
            let result = promote::run(args, cx);
            cx.summarize_errors(&heading("promote", args.branches()), result)
        }
        Action::Sync(args) => {
            let result = sync::run(args, cx);
            cx.summarize_errors(&heading("sync", args.branches()), result)
        }
    }
}

/// The heading of the step summary.
fn heading(action: &str, branches: &Branches) -> String {
    let (from, to) = (markdown::code(&branches.from), markdown::code(&branches.to));
    format!("branch {action}: {from} → {to}")
}

/// Fails if a name is malformed, or if both are the same.
fn check_branches(branches: &Branches) -> Result<(), Errors> {
    for (flag, name) in [("--from", &branches.from), ("--to", &branches.to)] {
        check_branch(name).map_err(|error| usage(format!("{flag}: {error}")))?;
    }
    if branches.from == branches.to {
        return Err(usage(format!("--from and --to are both `{}`", branches.to)));
    }
    Ok(())
}

fn planned_document(action: &'static str, branches: &Branches) -> BranchDocument {
    BranchDocument {
        schema: "repin.branch/1",
        action,
        from: branches.from.clone(),
        to: branches.to.clone(),
        state: "planned",
        pull_request: None,
        commit: None,
        wait: None,
    }
}

/// Prints the document of a run that was skipped, and reports the reason.
fn skip(document: BranchDocument, reason: &str, cx: &mut Context) -> Exit {
    let document = BranchDocument {
        state: "skipped",
        ..document
    };
    print(&document, &format!("skipped: {reason}"), cx);
    cx.note_skip(&format!("branch {}", document.action), reason)
}

fn print(document: &BranchDocument, conclusion: &str, cx: &mut Context) {
    if cx.output.format == Format::Json {
        cx.output.print_json(document);
    } else {
        cx.output.print(format!(
            "{} → {}: {conclusion}\n",
            document.from, document.to
        ));
    }
}

/// Prints the document, or `conclusion` as text, and ends the run.
fn conclude(
    document: &BranchDocument,
    conclusion: &str,
    outputs: &[(&str, String)],
    errors: Option<&Errors>,
    cx: &mut Context,
) -> Exit {
    print(document, conclusion, cx);
    cx.end_step(outputs, branch::summary(document, conclusion), errors)
}
