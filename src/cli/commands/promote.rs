//! `repin promote`: moves every pin of the set to one verified revision.

use crate::{
    checks::Overrides,
    cli::{args, change, context::Context, exit::Exit},
    error::Errors,
    workflow::{Goal, RevisionChoice},
};

/// The revision that selects the newest build.
const NEWEST: &str = "newest";

pub(in crate::cli) fn run(args: &args::Promote, cx: &mut Context) -> Result<Exit, Errors> {
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
        },
    };
    let intent = cx.intent(&args.change)?;
    let config = cx.load()?;
    change::run(&goal, intent, &args.change, &config, cx)
}
