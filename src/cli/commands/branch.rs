//! `repin branch`: merges one long-lived branch into another, with a pull request (`promote`) or a push
//! (`sync`).

mod promote;
mod sync;

use crate::{
    cli::{
        args::{self, Branches},
        context::Context,
        exit::Exit,
        format::Format,
    },
    config::check_branch,
    error::{Errors, usage},
    report::json::BranchDocument,
};

pub(in crate::cli) fn run(args: &args::Branch, cx: &mut Context) -> Result<Exit, Errors> {
    match args {
        args::Branch::Promote(args) => promote::run(args, cx),
        args::Branch::Sync(branches) => sync::run(branches, cx),
    }
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
    }
}

/// Prints the document, or `conclusion` as text, and then the errors.
fn conclude(
    document: &BranchDocument,
    conclusion: &str,
    errors: Option<Errors>,
    cx: &mut Context,
) -> Exit {
    if cx.output.format == Format::Json {
        cx.output.print_json(document);
    } else {
        cx.output.print(format!(
            "{} → {}: {conclusion}\n",
            document.from, document.to
        ));
    }
    match errors {
        Some(errors) => cx.output.report_errors_separately(&errors),
        None => Exit::Done,
    }
}
