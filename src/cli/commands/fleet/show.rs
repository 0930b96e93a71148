//! What the commands of a fleet have in common: the list comes in, a report of repositories goes out.

use std::{fs, path::Path};

use crate::{
    cli::{context::Context, format::Format, github::StepFiles},
    code::Code,
    error::{Error, Errors},
    fleet::{self, FleetCause, FleetDocument, FleetList},
    report::annotations::with_help,
    untrusted::workflow::Commands,
};

/// Reads the list of a fleet.
pub(super) fn list(file: &Path, cx: &Context) -> Result<FleetList, Errors> {
    let bytes = read(file, Code::FLEET_LIST, cx)?;
    Ok(FleetList::parse(&file.to_string_lossy(), &bytes)?)
}

/// Reads a file that the caller named.
pub(super) fn read(file: &Path, code: Code, cx: &Context) -> Result<Vec<u8>, Errors> {
    let path = cx.services.environment.directory().join(file);
    fs::read(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", file.display());
        let help = "check the path and its permissions";
        Errors::from(Error::input(code, message).help(help))
    })
}

/// Shows a report in the requested format; `step`: the files of GitHub Actions.
pub(super) fn show(
    document: &FleetDocument,
    step: Option<&mut StepFiles>,
    cx: &mut Context,
) -> Result<(), Errors> {
    match cx.output.format {
        Format::Json => cx.output.json(document),
        Format::Human | Format::Sarif => cx.output.print(fleet::table(document)),
        Format::Github => {
            annotate(document, cx);
            cx.output.print(fleet::table(document));
        }
    }
    match step {
        Some(step) => step.summary(&fleet::summary(document)),
        None => Ok(()),
    }
}

fn annotate(document: &FleetDocument, cx: &mut Context) {
    for cause in FleetCause::of(document) {
        let detail = cause.detail.as_deref().unwrap_or("no detail was reported");
        let message = format!("{}: {detail}", cause.names());
        let message = with_help(&message, cause.help.as_deref());
        let annotation = Commands::error(&cause.title(), &message, None);
        cx.output.annotate(&annotation);
    }
}
