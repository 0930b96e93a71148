//! `repin promote`: moves every pin of the set to one verified revision.

use clap::Args;
use clap_complete::ArgValueCompleter;

use crate::{
    app::{
        cli::{args::ChangeOptions, change, complete, context::Context, output::Exit},
        workflow::{Goal, RevisionChoice},
    },
    base::error::Errors,
    core::checks::Overrides,
};

const HELP: &str = "\
Without --apply or --pr, this is a dry run: repin prints the table, the diff and the reports, and changes no file of the \
repository.

Examples:
  repin promote --revision 4f2a…                  # show what would change and run every check
  repin promote --revision 4f2a… --apply          # change every pin, or none
  repin promote --revision 4f2a… --pr ready       # one commit, one branch, one pull request
  repin promote --revision newest --pr ready      # the newest build of the registry
  repin promote --revision 4f2a… --digest review=sha256:9c1d… --body-file body.md";

/// Move every pin of the set to one verified revision
#[expect(clippy::struct_excessive_bools, reason = "independent flags")]
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// Commit that the images were built from, or `newest`: the newest build in the registry, or with
    /// `promote.after` the newest set that passed every stage
    #[arg(
        short,
        long,
        value_name = "REV",
        allow_hyphen_values = true,
        add = ArgValueCompleter::new(complete::builds)
    )]
    revision: String,
    /// Digest that the image's tag must resolve to, as reported by its build
    #[arg(long, value_name = "NAME=DIGEST")]
    digest: Vec<String>,
    /// Promote even if the revision is older than the pinned one
    #[arg(long)]
    allow_older: bool,
    /// Promote even if this set was rolled back
    #[arg(long)]
    force_after_rollback: bool,
    /// Promote even if this set has not passed the stages of `promote.after`
    #[arg(long)]
    allow_unstaged: bool,
    /// Promote even if a new image lacks a platform of the current one, or of `platforms`
    #[arg(long)]
    allow_lost_platform: bool,
    #[command(flatten)]
    change: ChangeOptions,
}

/// The revision that selects the newest build.
const NEWEST: &str = "newest";

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let goal = Goal::Promote {
        revision: match args.revision.as_str() {
            NEWEST => RevisionChoice::Newest,
            revision => RevisionChoice::Named(revision.to_owned()),
        },
        digests: args.digest.clone(),
        overrides: Overrides {
            older: args.allow_older,
            rolled_back: args.force_after_rollback,
            unstaged: args.allow_unstaged,
            lost_platform: args.allow_lost_platform,
            by_digest: false,
        },
    };
    let intent = cx.intent(&args.change)?;
    let config = cx.load()?;
    change::run(&goal, intent, &args.change, &config, cx)
}
