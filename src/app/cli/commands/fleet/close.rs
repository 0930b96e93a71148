//! `repin fleet close`: closes the open pull requests of a set; without `--apply`, lists them.

use std::path::PathBuf;

use clap::Args;

use super::read_list;
use crate::{
    app::{
        cli::{args::revisions, context::Context, format::Format, output::Exit},
        fleet::{CloseDocument, FleetOutcome, close_summary, close_table},
        report::github::with_help,
        workflow::fleet::close::{self, CloseRequest},
    },
    base::{
        error::Errors,
        text::counted,
        untrusted::{plain, workflow::Commands},
    },
};

const HELP: &str = "\
Without --apply, this is a dry run. A pull request whose branch contains foreign commits stays open and is reported (exit 5). \
Branches are not deleted, and a later `repin fleet promote` of the same set does not reopen closed pull requests. At most 8 \
pull requests are closed per minute; those that were not reached within REPIN_DEADLINE are pending (exit 3): run the same \
command again to continue.

Examples:
  repin fleet close --revision 4f2a… --list list.txt
  REPIN_DEADLINE=3h repin fleet close --revision 4f2a… --list list.txt --apply";

/// Close a set's open pull requests, unless they contain foreign commits
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Revision of the set
    #[arg(short, long, value_name = "REV", allow_hyphen_values = true, add = revisions())]
    revision: String,
    /// List of the fleet: one `owner/name[ base]` per line
    #[arg(long, value_name = "FILE")]
    list: PathBuf,
    /// Close them, each with a comment
    #[arg(long)]
    apply: bool,
}

pub(super) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load_any()?;
    let list = read_list(&args.list, cx)?;
    let mut step = cx.step_files()?;
    let request = CloseRequest {
        revision: &args.revision,
        list: &list,
        apply: args.apply,
    };
    let document = close::run(&request, &config, &cx.services)?;
    if document.count(FleetOutcome::Closed) > 0 {
        let closed = count(&document, FleetOutcome::Closed);
        cx.services.interruption.changes(closed + " closed");
    }
    match cx.output.format {
        Format::Json => cx.output.print_json(&document),
        Format::Human | Format::Sarif | Format::Gitlab => {
            cx.output.print_text(&close_table(&document));
        }
        Format::Github => {
            annotate(&document, cx);
            cx.output.print_text(&close_table(&document));
        }
    }
    if let Some(step) = &mut step {
        step.summary(&close_summary(&document))?;
    }
    cx.output.note(&conclusion(&document));
    Ok(document.class().map_or(Exit::Done, Exit::Failed))
}

fn annotate(document: &CloseDocument, cx: &mut Context) {
    let failed = document.repositories.iter().filter(|row| row.exit != 0);
    for row in failed {
        let Some(error) = &row.error else { continue };
        let title = format!("{}: {}", row.outcome.as_str(), plain(&row.repository));
        let message = with_help(&error.message, error.hint.as_deref());
        let annotation = Commands::error(&title, &message, None);
        cx.output.annotate(&annotation);
    }
}

/// The number of pull requests with this outcome, in the words of the forge.
fn count(document: &CloseDocument, outcome: FleetOutcome) -> String {
    counted(document.count(outcome), document.words.pull_request)
}

fn conclusion(document: &CloseDocument) -> String {
    let result = if document.applied {
        format!("closed {}", count(document, FleetOutcome::Closed))
    } else if document.count(FleetOutcome::Open) == 0 {
        format!("no {} would be closed", document.words.pull_request)
    } else {
        let open = count(document, FleetOutcome::Open);
        format!("{open} would be closed; to close them, add --apply")
    };
    let rows = document.repositories.iter();
    match rows.filter(|row| row.exit != 0).count() {
        0 => result,
        remaining => format!("{result}; {remaining} left open or unread, see above"),
    }
}
