//! `repin set`: verifies the images of a revision once, and writes the evidence to a file.

use std::path::PathBuf;

use clap::Args;

use crate::{
    app::{
        cli::{
            args::revisions, context::Context, exit::Exit, format::Format, step_files::StepFiles,
        },
        workflow::{SetVerdict, output_file::OutputFile, verified_set},
    },
    base::{
        error::{Error, Errors, usage},
        text::counted,
        untrusted::plain,
    },
    config::Config,
    core::checks::{Check, Status},
    oci::Digest,
};

const HELP: &str = "\
Runs the checks of a promotion that concern only images: tags, labels, signatures, contracts, smoke command. Pins and history \
belong to a repository and are not checked. Each run writes the same bytes to FILE; their SHA-256, which is printed, identifies \
the whole set.

Example:
  repin set --revision 4f2a… --out set.json";

/// Verify the images of a revision once, and write the evidence to a file
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// Commit that the images were built from
    #[arg(short, long, value_name = "REV", allow_hyphen_values = true, add = revisions())]
    revision: String,
    /// Write the verified set to FILE; - is standard output, and the hash is then a note
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load_any()?;
    let directory = cx.services.environment.directory();
    let out = OutputFile::new(&args.out, directory, Some(&config))?;
    if out.is_stdout() && cx.output.format != Format::Human {
        return Err(usage(
            "standard output cannot contain the set in addition to a report: with --format, name a file instead of `-`",
        ));
    }
    // An unwritable file stops the run before the first request.
    let mut step = match cx.output.format {
        Format::Github => Some(StepFiles::open(&cx.services.environment)?),
        _ => None,
    };
    let document = match verified_set(&config, &args.revision, &cx.services)? {
        SetVerdict::Verified(document) => document,
        SetVerdict::Refused { checks, outages } => {
            let exit = report_refusal(&checks, outages, &config, cx);
            cx.output.note("the set was refused; no file was written");
            return Ok(exit);
        }
    };
    let bytes = document.bytes();
    let bytes = bytes.map_err(|error| Errors::io(format!("cannot write the set: {error}")))?;
    out.write(&bytes)?;
    let sha256 = Digest::of(&bytes).hex();
    cx.output.print_causes(&document.checks, &config);
    match cx.output.format {
        Format::Json => cx.output.print_json(&*document),
        _ if out.is_stdout() => cx.output.print(&bytes),
        _ => cx.output.print(format!("{sha256}\n")),
    }
    if let Some(step) = &mut step {
        step.outputs(&[
            ("revision", document.revision.clone()),
            ("set-sha256", sha256.clone()),
        ])?;
    }
    let written = if out.is_stdout() {
        format!("its SHA-256 is {sha256}")
    } else {
        format!("wrote {}", plain(&args.out.display().to_string()))
    };
    cx.output.note(&format!(
        "verified {} at {}; {written}",
        counted(document.images.len(), "image"),
        plain(&document.revision),
    ));
    Ok(Exit::Done)
}

/// Reports the reasons for the refusal of a set.
pub(super) fn report_refusal(
    checks: &[Check],
    outages: Vec<Error>,
    config: &Config,
    cx: &mut Context,
) -> Exit {
    let mut errors = Vec::new();
    for check in checks {
        if check.status == Status::Fail {
            errors.push(check.as_error());
        }
    }
    errors.extend(outages.iter().cloned());
    let errors = Errors::from(errors);
    if cx.output.format == Format::Human {
        cx.output.print_causes(checks, config);
        if !outages.is_empty() {
            cx.output.report_errors(&Errors::from(outages));
        }
    } else {
        cx.output.report_errors(&errors);
    }
    cx.output.print_explain_hint();
    Exit::from(&errors)
}
