//! `repin wait`: polls until a pull request is merged or closed; after a merge, starts the
//! configured workflows and deletes repin's own branch.

use std::time::Duration;

use clap::Args;

use crate::{
    app::{
        cli::{
            args::{IfUnconfigured, duration, strict_bool, whole_number},
            context::Context,
            format::Format,
            job::PullOutputs,
            output::Exit,
            write_file::random_number,
        },
        report::branch,
        workflow::{
            Access, Awaited, MergeAuthority, WaitRequest, connect_repository_or_skip,
            wait_document, wait_for_merge,
        },
    },
    base::error::Errors,
    forge::Words,
};

const HELP: &str = "\
Exit 0: merged; 1: closed, in conflict, or removed from the merge queue; 3: still open at the timeout, or not verified; 5: not the approved set. \
After a merge, repin starts the workflows in forge.dispatch if the merge does not start them itself, or with `when: always`. \
They are started once, even if several runs wait for the same pull request. repin's own branch is then deleted, unless \
forge.delete_branch is false.

Example:
  repin wait --pr 7 --timeout 30m";

/// Wait for the merge of a pull request, then start workflows
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// Number of the pull request
    #[arg(long, value_name = "N", value_parser = pull_request_number)]
    pr: u64,
    /// Give up after this time: 90s, 30m, 2h
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30m")]
    timeout: Duration,
    /// Skip instead of failing when a token is missing
    #[arg(long, value_name = "WHAT")]
    if_unconfigured: Option<IfUnconfigured>,
    /// Only wait; change nothing on the forge; an omitted or empty BOOL means true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, num_args = 0..=1, default_missing_value = "true")]
    dry_run: Option<bool>,
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let mut words = Words::for_page("");
    let result = wait_and_report(args, &mut words, cx);
    cx.summarize_errors(&branch::wait_heading(args.pr, words), result)
}

/// `words`: those of the forge, as soon as it is known.
fn wait_and_report(args: &Arguments, words: &mut Words, cx: &mut Context) -> Result<Exit, Errors> {
    let is_dry_run = args.dry_run == Some(true) || cx.is_dry_run_forced()?;
    let config = cx.load_without_images()?;
    // Outputs that cannot be written stop the run before a wait.
    cx.step_files()?;
    let number = args.pr;
    cx.services
        .forge_deadline
        .replace(args.timeout, "--timeout");
    let repository =
        match connect_repository_or_skip(&config, args.if_unconfigured.into(), &cx.services)? {
            Access::Granted(repository) => repository,
            Access::NoToken(reason) => {
                cx.output.write_stderr(&format!("skipped: {reason}\n"));
                let awaited = Awaited {
                    document: wait_document(number),
                    url: None,
                    errors: None,
                };
                print(&awaited, cx);
                cx.write_outputs(&outputs(&awaited))?;
                return Ok(cx.note_skip("wait", &reason));
            }
        };
    *words = repository.forge.words();
    let version = repository.forge.check_version();
    cx.services.wait(version, "querying the forge's version")?;
    let request = WaitRequest {
        limit: args.timeout,
        option: "--timeout",
        claim: random_number()?,
        is_dry_run,
    };
    let authority = MergeAuthority::Unverified;
    let services = &cx.services;
    let awaited = wait_for_merge(&repository, &config, number, request, &authority, services)?;
    print(&awaited, cx);
    let summary = branch::wait_summary(&awaited.document, *words);
    Ok(cx.end_step(&outputs(&awaited), summary, awaited.errors.as_ref()))
}

fn print(awaited: &Awaited, cx: &mut Context) {
    let document = &awaited.document;
    if cx.output.format == Format::Json {
        cx.output.print_json(document);
    } else {
        let words = Words::for_page(awaited.url.as_deref().unwrap_or_default());
        let mark = words.mark(document.number);
        cx.output.print_text(&branch::wait_lines(document, &mark));
    }
}

fn outputs(awaited: &Awaited) -> [(&'static str, String); 4] {
    let Awaited { document, url, .. } = awaited;
    let outputs = PullOutputs {
        number: Some(document.number),
        url: url.clone().unwrap_or_default(),
        state: document.state.unwrap_or("skipped"),
        merge_commit: document.merge_commit.clone().unwrap_or_default(),
    };
    outputs.values()
}

fn pull_request_number(text: &str) -> Result<u64, String> {
    match whole_number(text)? {
        0 => Err("pull requests are numbered from 1".to_owned()),
        number => Ok(number),
    }
}
