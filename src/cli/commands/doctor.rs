//! `repin doctor`: check that everything a run needs is available; changes nothing.
//!
//! Each line passes, fails or is skipped, with the evidence and what to do. A missing part is a line
//! of its own and never ends the diagnosis. The exit is that of the worst line: the one with which
//! the same cause ends any other command.

mod forge;
mod images;
mod lines;
mod local;

use std::time::Duration;

use forge::Connection;
use lines::Lines;
use local::NO_CONFIG;

use crate::{
    checks::Status,
    cli::{
        args,
        context::Context,
        exit::Exit,
        format::{Format, Volume},
        github::StepFiles,
    },
    code::Code,
    error::{Class, Errors},
    http::ServerTime,
    report::{
        doctor::{self, DoctorDocument, DoctorRow, Shown},
        wrap::wrapped,
    },
};

/// How far clocks may differ without a wrong verdict on an age.
const TOLERANCE: Duration = Duration::from_secs(300);

pub(in crate::cli) fn run(args: &args::Doctor, cx: &mut Context) -> Result<Exit, Errors> {
    let skip = args.if_unconfigured.is_some();
    cx.services.wait_less();
    let mut lines = Lines::new();
    let config = local::configuration(&mut lines, cx);
    let config = config.as_ref();
    let found = local::files(&mut lines, config);
    let root = config.map_or_else(
        || cx.services.environment.directory().to_owned(),
        |config| config.root.clone(),
    );
    let git = local::history(&mut lines, &root, config, cx);
    local::state(&mut lines, config);
    local::engine(&mut lines, config, cx);
    local::secrets(&mut lines, config, skip, cx);
    local::roots(&mut lines, config, cx);
    elsewhere(&mut lines, (config, git.as_ref(), found.as_ref()), skip, cx)?;
    report(&lines, cx)
}

type Local<'l> = (
    Option<&'l crate::config::Config>,
    Option<&'l crate::git::Git>,
    Option<&'l crate::pins::Found>,
);

/// Queries the forge and the registries concurrently, and compares their clocks.
fn elsewhere(
    lines: &mut Lines,
    (config, git, found): Local<'_>,
    skip: bool,
    cx: &Context,
) -> Result<(), Errors> {
    let connection = forge::connect(config, git, found, skip, cx);
    let asked = images::asked(config, found, cx)?;
    let forge = async {
        match &connection {
            Connection::Ready(ready) => Some(ready.examine().await),
            Connection::Not(_) => None,
        }
    };
    let both = futures_util::future::join(forge, images::examine(&asked));
    let (examined, registries) = cx
        .services
        .wait(both, "querying the forge and the registries")?;
    let mut clocks = cx.services.clocks();
    match connection {
        Connection::Ready(ready) => {
            lines.extend(examined.unwrap_or_else(Lines::new));
            clocks.extend(ready.server_time());
        }
        Connection::Not(not) => lines.extend(not),
    }
    lines.extend(registries);
    clock(lines, &clocks);
    Ok(())
}

fn clock(lines: &mut Lines, clocks: &[(String, ServerTime)]) {
    let Some((host, worst)) = clocks.iter().max_by_key(|(_, time)| time.apart()) else {
        return lines.skip(Code::CLOCK, "no server reported its time");
    };
    let seconds = worst.apart().as_secs();
    if worst.apart() > TOLERANCE {
        let side = if worst.is_behind() {
            "behind"
        } else {
            "ahead of"
        };
        let reason = format!("this machine's clock is {seconds} s {side} {host}");
        let hint = "set the clock: ages, tokens and certificates depend on it";
        return lines.fail(
            Code::CLOCK,
            Exit::Because(Class::Unavailable),
            reason,
            hint.to_owned(),
        );
    }
    let hosts: Vec<_> = clocks.iter().map(|(host, _)| host.as_str()).collect();
    lines.pass(
        Code::CLOCK,
        format!("at most {seconds} s apart from {}", hosts.join(", ")),
    );
}

fn report(lines: &Lines, cx: &mut Context) -> Result<Exit, Errors> {
    let rows = &lines.rows;
    match cx.output.format {
        Format::Json => cx.output.json(&DoctorDocument {
            schema: "repin.doctor/1",
            checks: rows.clone(),
        }),
        Format::Human | Format::Sarif => {
            let colour = cx.output.colour;
            let shown = match cx.output.volume {
                Volume::Quiet => Shown::Failed,
                Volume::Normal => Shown::Concerned,
                Volume::Verbose | Volume::Requests => Shown::All,
            };
            let (rows, rest) = doctor::folded(rows, shown);
            let columns = cx.output.columns;
            cx.output
                .print(doctor::table(&rows, columns, |status, word| {
                    paint(status, word, colour)
                }));
            if let Some(rest) = rest {
                let rest = wrapped(&rest, columns.unwrap_or(usize::MAX)).join("\n");
                cx.output.print(format!("\n{rest}\n"));
            }
        }
        Format::Github => {
            cx.output.annotate(&doctor::annotated(rows));
            let table = doctor::table(rows, None, |_, word| word.to_owned());
            cx.output.print_unparsed(table)?;
            StepFiles::open(&cx.services.environment)?.summary(&doctor::summary(rows))?;
        }
    }
    if cx.output.format != Format::Json {
        let count = |status| {
            rows.iter()
                .filter(|row: &&DoctorRow| row.status == status)
                .count()
        };
        let (passed, failed, skipped) = (
            count(Status::Pass),
            count(Status::Fail),
            count(Status::Skip),
        );
        for row in rows.iter().filter(|row| row.status == Status::Fail) {
            cx.output.reported(row.code);
        }
        cx.output.refer();
        cx.output.wrapped_note(&format!(
            "\n{passed} passed, {failed} failed, {skipped} skipped; nothing was changed"
        ));
    }
    Ok(lines.exit)
}

fn paint(status: Status, word: &str, colour: bool) -> String {
    let code = match status {
        Status::Pass => "32",
        Status::Fail => "31",
        Status::Warn | Status::Skip => "33",
    };
    if colour {
        format!("\u{1b}[{code}m{word}\u{1b}[0m")
    } else {
        word.to_owned()
    }
}
