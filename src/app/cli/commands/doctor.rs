//! `repin doctor`: checks without changes that everything that a run needs is available.
//!
//! Each line passes, fails, warns or is skipped, with the evidence and the remedy. The submodules return
//! lines; `report::doctor` renders them. A missing part gets a line and does not stop the
//! diagnosis. The exit code is that of the worst line: the code with which the same cause fails
//! other commands.

mod forge;
mod images;
mod local;

use std::time::Duration;

use clap::Args;
use forge::Connection;

use crate::{
    app::{
        cli::{
            args::IfUnconfigured,
            context::Context,
            exit::Exit,
            format::{Format, Volume},
            step_files::StepFiles,
        },
        report::{
            color::Color,
            doctor::{self, DoctorDocument, DoctorRow, RowFilter},
            layout::wrapped,
        },
    },
    base::{
        code::Code,
        error::{Class, Errors},
        http::ServerTime,
        text::counted,
    },
    config::Config,
    core::{checks::Status, pins::Found},
    git::Git,
};

const HELP: &str = "\
Each check passes, fails, warns or is skipped, with evidence and a hint. A check that would have to write is skipped, with the \
reason. The exit code is that of the worst failure: the code with which the same cause ends a run.

Examples:
  repin doctor
  repin doctor --format json | jq -r '.checks[] | select(.status == \"fail\") | .hint'";

/// Check that everything a run needs is available; changes nothing
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// Skip instead of failing when a token or secret is missing
    #[arg(long, value_name = "WHAT")]
    if_unconfigured: Option<IfUnconfigured>,
}

/// The maximum difference of two clocks. A larger one would give wrong ages of versions.
const TOLERANCE: Duration = Duration::from_secs(300);
const NO_CONFIG: &str = "requires a valid configuration";

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    cx.services.shorten_waits();
    let skip = args.if_unconfigured.is_some();
    let rows = match cx.load() {
        Ok(config) => {
            cx.warn_of_file_name(&config);
            diagnose(&config, skip, cx)?
        }
        Err(errors) => without_configuration(&errors, cx),
    };
    report(rows, cx)
}

fn diagnose(config: &Config, skip: bool, cx: &Context) -> Result<Vec<DoctorRow>, Errors> {
    let mut rows = vec![local::configuration(config)];
    let (found, row) = local::files(config);
    rows.push(row);
    let (git, lines) = local::repository(&config.root, Some(config), cx);
    rows.extend(lines);
    rows.extend(local::state(config));
    rows.push(local::engine(config, cx));
    rows.extend(local::secrets(config, skip, cx));
    rows.extend(local::roots(config, cx));
    rows.extend(remote(config, git.as_ref(), found.as_ref(), skip, cx)?);
    Ok(rows)
}

/// The lines that require no configuration; the others are skipped.
fn without_configuration(errors: &Errors, cx: &Context) -> Vec<DoctorRow> {
    let mut rows = DoctorRow::errors(Code::CONFIGURATION, errors);
    rows.push(DoctorRow::skip(Code::FILES, NO_CONFIG));
    let (_, lines) = local::repository(cx.services.environment.directory(), None, cx);
    rows.extend(lines);
    let local = [
        Code::LOCK,
        Code::JOURNAL,
        Code::ENGINE,
        Code::SECRET,
        Code::TRUSTED_ROOT,
        Code::FORGE,
        Code::TOKEN,
    ];
    let queried = forge::QUERIED.into_iter().chain([Code::REGISTRY]);
    for code in local.into_iter().chain(queried) {
        rows.push(DoctorRow::skip(code, NO_CONFIG));
    }
    rows.push(clock(&[]));
    rows
}

/// Queries the forge and the registries concurrently, and compares their clocks.
fn remote(
    config: &Config,
    git: Option<&Git>,
    found: Option<&Found>,
    skip: bool,
    cx: &Context,
) -> Result<Vec<DoctorRow>, Errors> {
    let connection = forge::connect(config, git, found, skip, cx);
    let images = images::queries(config, found, cx)?;
    let forge = async {
        match &connection {
            Connection::Ready(ready) => ready.examine().await,
            Connection::Unavailable(rows) => rows.clone(),
        }
    };
    let both = futures_util::future::join(forge, images::examine(&images));
    let (mut rows, registries) = cx
        .services
        .wait(both, "querying the forge and the registries");
    let mut clocks = cx.services.clocks();
    if let Connection::Ready(ready) = &connection {
        clocks.extend(ready.server_time());
    }
    rows.extend(registries);
    rows.push(clock(&clocks));
    Ok(rows)
}

fn clock(clocks: &[(String, ServerTime)]) -> DoctorRow {
    let Some((host, worst)) = clocks.iter().max_by_key(|(_, time)| time.difference()) else {
        return DoctorRow::skip(Code::CLOCK, "no server reported its time");
    };
    let seconds = worst.difference().as_secs();
    if worst.difference() > TOLERANCE {
        let side = if worst.is_local_behind() {
            "behind"
        } else {
            "ahead of"
        };
        return DoctorRow::fail(
            Code::CLOCK,
            Class::Unavailable,
            format!("this machine's clock is {seconds} s {side} {host}"),
            "set the clock: ages, tokens and certificates depend on it",
        );
    }
    let hosts: Vec<_> = clocks.iter().map(|(host, _)| host.as_str()).collect();
    let detail = format!("at most {seconds} s apart from {}", hosts.join(", "));
    DoctorRow::pass(Code::CLOCK, detail)
}

fn report(rows: Vec<DoctorRow>, cx: &mut Context) -> Result<Exit, Errors> {
    let classes = rows.iter().filter_map(|row| row.class);
    let exit = classes.map(Exit::Failed).fold(Exit::Done, Exit::worse);
    match cx.output.format {
        Format::Json => {
            cx.output.print_json(&DoctorDocument {
                schema: "repin.doctor/1",
                checks: rows,
            });
            return Ok(exit);
        }
        Format::Human | Format::Sarif => {
            let palette = cx.output.palette();
            let filter = match cx.output.volume {
                Volume::Quiet => RowFilter::Failed,
                Volume::Normal => RowFilter::Configured,
                Volume::Verbose | Volume::Requests => RowFilter::All,
            };
            let (rows, omitted) = doctor::filtered(&rows, filter);
            let columns = cx.output.columns;
            cx.output
                .print(doctor::table(&rows, columns, |status, word| {
                    palette.paint(color_of(status), word)
                }));
            if let Some(line) = omitted {
                let line = wrapped(&line, columns.unwrap_or(usize::MAX)).join("\n");
                cx.output.print(format!("\n{line}\n"));
            }
        }
        Format::Github => {
            cx.output.annotate(&doctor::annotations(&rows));
            let table = doctor::table(&rows, None, |_, word| word.to_owned());
            cx.output.print_unparsed(table)?;
            StepFiles::open(&cx.services.environment)?.summary(&doctor::summary(&rows))?;
        }
    }
    for row in rows.iter().filter(|row| row.status == Status::Fail) {
        cx.output.record_code(row.code);
    }
    cx.output.print_explain_hint();
    let count = |status| rows.iter().filter(|row| row.status == status).count();
    cx.output.wrapped_note(&format!(
        "\n{} passed, {} failed, {}, {} skipped; nothing was changed",
        count(Status::Pass),
        count(Status::Fail),
        counted(count(Status::Warn), "warning"),
        count(Status::Skip)
    ));
    Ok(exit)
}

fn color_of(status: Status) -> Color {
    match status {
        Status::Pass => Color::Green,
        Status::Fail => Color::Red,
        Status::Warn | Status::Skip => Color::Yellow,
    }
}
