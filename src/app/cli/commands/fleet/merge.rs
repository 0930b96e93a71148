//! `repin fleet merge`: merges the reports of shards.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{print_report, read_file, read_list};
use crate::{
    app::{
        cli::{context::Context, output::Exit},
        fleet::{FleetDocument, Merger},
        workflow::output_file::OutputFile,
    },
    base::{
        error::{Code, Errors},
        text::counted,
        untrusted::plain,
    },
};

const HELP: &str = "\
If several lines are about one repository, the last one counts, in the order of the files. Lines of another list, set or \
revision are refused. The repositories that failed or are missing are written to failed.txt next to the first FILE. The exit \
code is the worst one of the repositories, in the order 2, 5, 1, 4, 3; a missing repository counts as 3.

Example:
  repin fleet merge shard-*.jsonl --list list.txt";

/// Merge the reports of shards: totals, failures by cause, and failed.txt
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Reports of shards
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// List of the fleet; a repository without a line is then reported as missing
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
}

/// The file with the repositories that need another run.
const FAILED: &str = "failed.txt";

pub(super) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let mut step = cx.step_files()?;
    let failed_path = failed_path(&args.files, cx);
    let failed_file = failed_file(args, &failed_path, cx)?;
    let list = match &args.list {
        Some(file) => Some(read_list(file, cx)?),
        None => None,
    };
    let mut merger = Merger::new(list.as_ref());
    for file in &args.files {
        let report = read_file(file, Code::FLEET_REPORT, cx)?;
        merger.read(&file.to_string_lossy(), &report);
    }
    for warning in &merger.warnings {
        let line = format!("warning: {}\n", plain(warning));
        cx.output.write_stderr(&line);
    }
    let document = merger.finish()?;
    let failed = document.failed(list.as_ref());
    failed_file.write(failed.as_bytes())?;
    print_report(&document, step.as_mut(), cx)?;
    let failed_count = failed.lines().count();
    cx.output
        .note(&conclusion(&document, failed_count, &failed_path));
    Ok(document.class().map_or(Exit::Done, Exit::Failed))
}

/// The list of failed repositories, which replaces no input.
fn failed_file(args: &Arguments, path: &Path, cx: &Context) -> Result<OutputFile, Errors> {
    let directory = cx.services.environment.directory();
    let file = OutputFile::new(path, directory, None)?;
    let reports = args
        .files
        .iter()
        .map(|report| ("a report", report.as_path()));
    let list = args.list.iter().map(|list| ("--list", list.as_path()));
    let others: Vec<_> = reports.chain(list).collect();
    file.refuse_same("the list of failures", &others, directory)?;
    Ok(file)
}

/// The path of the list of failed repositories, in the directory of the first report.
fn failed_path(files: &[PathBuf], cx: &Context) -> PathBuf {
    let first = files.first().map_or(Path::new(""), PathBuf::as_path);
    let path = cx.services.environment.directory().join(first);
    path.with_file_name(FAILED)
}

fn conclusion(document: &FleetDocument, failed_count: usize, failed_path: &Path) -> String {
    let missing = document.missing.as_ref().map_or(0, Vec::len);
    let all = counted(document.repositories.len() + missing, "repository");
    match failed_count {
        0 if document.is_incomplete() => "the reports are incomplete".to_owned(),
        0 => format!("no failure in {all}"),
        _ => format!(
            "{failed_count} of {all} need another run or a person; wrote {}",
            failed_path.display()
        ),
    }
}
