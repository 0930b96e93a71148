//! `repin set`: verifies the images of a revision once, and writes the evidence to a file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    checks::{Check, SetDocument, Status},
    cli::{args::revisions, context::Context, exit::Exit, format::Format, step_files::StepFiles},
    config::Config,
    error::{Error, Errors, usage},
    oci::Digest,
    text::counted,
    untrusted::plain,
    workflow::{SetVerdict, verified_set},
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
pub(in crate::cli) struct Arguments {
    /// Commit that the images were built from
    #[arg(short, long, value_name = "REV", allow_hyphen_values = true, add = revisions())]
    revision: String,
    /// Write the verified set to FILE
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

pub(in crate::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    if args.out == Path::new("-") {
        let error = "--out - is not possible: standard output receives the hash of the set";
        return Err(usage(error));
    }
    let config = cx.load_any()?;
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
    let sha256 = write(&document, &args.out, cx)?;
    cx.output.print_causes(&document.checks, &config);
    match cx.output.format {
        Format::Json => cx.output.print_json(&*document),
        _ => cx.output.print(format!("{sha256}\n")),
    }
    if let Some(step) = &mut step {
        step.outputs(&[
            ("revision", document.revision.clone()),
            ("set-sha256", sha256),
        ])?;
    }
    cx.output.note(&format!(
        "verified {} at {}; wrote {}",
        counted(document.images.len(), "image"),
        plain(&document.revision),
        plain(&args.out.display().to_string())
    ));
    Ok(Exit::Done)
}

/// Writes the document; returns its hash.
fn write(document: &SetDocument, out: &Path, cx: &Context) -> Result<String, Errors> {
    let unwritable = |error: &dyn std::fmt::Display| {
        let out = plain(&out.display().to_string());
        Errors::io(format!("cannot write {out}: {error}"))
    };
    let bytes = document.bytes().map_err(|error| unwritable(&error))?;
    let path = cx.services.environment.directory().join(out);
    fs::write(path, &bytes).map_err(|error| unwritable(&error))?;
    Ok(Digest::of(&bytes).hex())
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
