//! `repin inventory`: lists the contents of images, writes them as a contract, and compares them with one.

mod check;
mod enumerate;
mod matching;
mod subject;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use enumerate::OutputKind;
use subject::ImageArguments;

use crate::{
    app::{
        cli::{
            args::{images, revisions},
            check_output::{print_checks, print_skipped, tally},
            context::Context,
            exit::Exit,
            format::Format,
        },
        report::{
            github::{self, SetChecks},
            json::{InventoryDocument, InventoryImage},
            layout::{Align, aligned},
        },
    },
    base::{
        error::{Error, Errors},
        untrusted::plain,
    },
    config::Config,
};

const HELP: &str = "\
Layers are streamed from a registry or an image layout; no container engine is needed.

Example:
  repin inventory check --revision 4f2a…";

/// List the contents of images and check them against contracts
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the names of each kind in an image, as JSON
    #[command(after_help = "Example:\n  repin inventory enumerate review > enumeration.json")]
    Enumerate(ImageArguments),
    /// Compare a listing of an image with a contract
    #[command(
        after_help = "Example:\n  repin inventory match --enumeration enumeration.json --expected expected.yaml"
    )]
    Match {
        /// Output of `repin inventory enumerate`; - is standard input
        #[arg(long, value_name = "FILE")]
        enumeration: PathBuf,
        /// Contract to compare with
        #[arg(long, value_name = "FILE")]
        expected: PathBuf,
    },
    /// Check images against their contracts and the configured rules for their content
    #[command(
        after_help = "Example, before a promotion:\n  repin inventory check --revision 4f2a…\nExample, for the pinned images:\n  repin inventory check review fix"
    )]
    Check {
        /// Names of configured images [default: all]
        #[arg(value_name = "IMAGE", add = images())]
        images: Vec<String>,
        /// Check the images that this revision's tags resolve to instead of the pinned ones
        #[arg(
            short,
            long,
            value_name = "REV",
            allow_hyphen_values = true,
            add = revisions()
        )]
        revision: Option<String>,
    },
    /// Print a starting contract that lists everything in an image
    #[command(after_help = "Example:\n  repin inventory init review > images/review/expected.yaml")]
    Init(ImageArguments),
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    match &args.action {
        Action::Enumerate(args) => enumerate::run(args, OutputKind::Listing, cx),
        Action::Init(args) => enumerate::run(args, OutputKind::Contract, cx),
        Action::Match {
            enumeration,
            expected,
        } => matching::run(enumeration, expected, cx),
        Action::Check { images, revision } => check::run(images, revision.as_deref(), cx),
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
