//! `repin branch`: merge one long-lived branch into another, by a pull request (`promote`) or by a
//! push (`sync`).

mod promote;
mod sync;

use crate::{
    cli::{
        args::{self, Between},
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
        args::Branch::Promote(asked) => promote::run(asked, cx),
        args::Branch::Sync(between) => sync::run(between, cx),
    }
}

/// The typed names, checked as branch names.
fn check(between: &Between) -> Result<(), Errors> {
    for (flag, name) in [("--from", &between.from), ("--to", &between.to)] {
        check_branch(name).map_err(|error| usage(format!("{flag}: {error}")))?;
    }
    if between.from == between.to {
        return Err(usage(format!("--from and --to are both `{}`", between.to)));
    }
    Ok(())
}

fn document(action: &'static str, between: &Between) -> BranchDocument {
    let (from, to) = (between.from.clone(), between.to.clone());
    BranchDocument {
        schema: "repin.branch/1",
        action,
        from,
        to,
        state: "planned",
        pull_request: None,
        commit: None,
    }
}

/// Prints the document, or `line` for people, and the errors.
fn report(document: &BranchDocument, line: &str, fault: Option<Errors>, cx: &mut Context) -> Exit {
    if cx.output.format == Format::Json {
        cx.output.json(document);
    } else {
        cx.output
            .print(format!("{} → {}: {line}\n", document.from, document.to));
    }
    let exit = fault.as_ref().map_or(Exit::Done, Exit::from);
    if let Some(fault) = fault {
        cx.output.fault_beside(&fault);
    }
    exit
}
