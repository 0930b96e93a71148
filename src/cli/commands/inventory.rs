//! `repin inventory`: lists the contents of images, writes them as a contract, and compares them with one.

mod check;
mod enumerate;
mod matching;
mod subject;

use enumerate::OutputKind;

use crate::{
    cli::{
        args::Inventory,
        check_output::{print_checks, print_skipped, tally},
        context::Context,
        exit::Exit,
        format::Format,
    },
    config::Config,
    error::{Error, Errors},
    report::{
        github::{self, SetChecks},
        json::{InventoryDocument, InventoryImage},
        layout::{Align, aligned},
    },
    untrusted::plain,
};

pub(in crate::cli) fn run(command: Inventory, cx: &mut Context) -> Result<Exit, Errors> {
    match command {
        Inventory::Enumerate(args) => enumerate::run(&args, OutputKind::Listing, cx),
        Inventory::Init(args) => enumerate::run(&args, OutputKind::Contract, cx),
        Inventory::Match {
            enumeration,
            expected,
        } => matching::run(&enumeration, &expected, cx),
        Inventory::Check { images, revision } => check::run(&images, revision.as_deref(), cx),
    }
}

/// Prints the verdicts. `problems` in contracts and listings are printed with their places instead of as
/// checks.
fn report(
    images: Vec<InventoryImage>,
    problems: Vec<Error>,
    exit: Exit,
    config: &Config,
    cx: &mut Context,
) -> Exit {
    if cx.output.format == Format::Json {
        cx.output.print_json(&InventoryDocument {
            schema: "repin.inventory/1",
            clean: exit == Exit::Done,
            images,
        });
        return exit;
    }
    let mut checks = Vec::new();
    for check in images.iter().flat_map(|image| &image.checks) {
        if problems.iter().all(|problem| problem.code != check.code) {
            checks.push(check.clone());
        }
    }
    let table = table(&images);
    if cx.output.format == Format::Github {
        let directory = cx.output.directory.clone();
        let set = SetChecks {
            checks: &checks,
            config,
            directory: &directory,
        };
        cx.output.annotate(&github::annotations(&[set]));
        // The table contains foreign text, which a runner must not interpret as a command.
        if let Err(errors) = cx.output.print_unparsed(table) {
            return exit.worse(cx.output.report_errors(&errors));
        }
        if !problems.is_empty() {
            cx.output.report_errors(&problems.into());
        }
        return exit;
    }
    if !problems.is_empty() {
        cx.output.report_errors(&problems.into());
    }
    print_checks(&checks, config, &mut cx.output);
    cx.output.print(table);
    print_skipped(&checks, None, &mut cx.output);
    exit
}

fn table(images: &[InventoryImage]) -> String {
    let heading = ["IMAGE", "PLATFORM", "DIGEST", "CHECKS"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let or_dash = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), plain);
    for image in images {
        let digest = image.digest.as_deref().unwrap_or("-");
        let hex = digest.trim_start_matches("sha256:");
        rows.push(vec![
            or_dash(&image.image),
            or_dash(&image.platform),
            hex.chars().take(12).collect(),
            tally(image.checks.iter()),
        ]);
    }
    aligned(&[Align::Left; 4], &rows)
}
