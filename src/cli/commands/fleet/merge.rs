//! `repin fleet merge`: the reports of shards as one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::show::{list, read, show};
use crate::{
    cli::{args, context::Context, exit::Exit, format::Format, github::StepFiles},
    code::Code,
    config::number,
    error::Errors,
    fleet::{FleetDocument, Merger},
    untrusted::plain,
};

/// The file for the repositories that need another run.
const FAILED: &str = "failed.txt";

pub(super) fn run(args: &args::FleetMerge, cx: &mut Context) -> Result<Exit, Errors> {
    let mut step = match cx.output.format {
        Format::Github => Some(StepFiles::open(&cx.services.environment)?),
        _ => None,
    };
    let list = args
        .list
        .as_deref()
        .map(|file| list(file, cx))
        .transpose()?;
    let mut merger = Merger::new(list.as_ref());
    for file in &args.files {
        merger.read(
            &file.to_string_lossy(),
            &read(file, Code::FLEET_REPORT, cx)?,
        );
    }
    for note in std::mem::take(&mut merger.notes) {
        cx.output
            .error_text(&format!("warning: {}\n", plain(&note)));
    }
    let document = merger.finish()?;
    let failed = beside(&args.files, cx);
    let open = document.failed(list.as_ref());
    fs::write(&failed, &open)
        .map_err(|error| Errors::io(format!("cannot write {}: {error}", failed.display())))?;

    show(&document, step.as_mut(), cx)?;
    cx.output.note(&closing(&document, &open, &failed));
    Ok(document.class().map_or(Exit::Done, Exit::Because))
}

/// The path of the list of failed repositories: in the directory of the first report.
fn beside(files: &[PathBuf], cx: &Context) -> PathBuf {
    let first = files.first().map_or(Path::new(""), PathBuf::as_path);
    let path = cx.services.environment.directory().join(first);
    path.with_file_name(FAILED)
}

fn closing(document: &FleetDocument, open: &str, failed: &Path) -> String {
    let listed = document.repositories.len() + document.missing.as_ref().map_or(0, Vec::len);
    match open.lines().count() {
        0 if document.is_incomplete() => "the reports are incomplete".to_owned(),
        0 => format!("no failure in {}", repositories(listed)),
        count => format!(
            "{} of {} need another run or a person; wrote {}",
            count,
            repositories(listed),
            failed.display()
        ),
    }
}

fn repositories(count: usize) -> String {
    number(count, "repository")
}
