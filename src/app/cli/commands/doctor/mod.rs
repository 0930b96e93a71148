//! `repin doctor`: checks without changes that everything that a run needs is available.
//!
//! Each line passes, fails, warns or is skipped, with the evidence and the remedy. The submodules return
//! lines; `report::doctor` renders them. A missing part gets a line and does not stop the
//! diagnosis. The exit code is that of the worst line: the code with which the same cause fails
//! other commands.
//!
//! Lines about the sources of images: the same request for each image as in a promotion.

mod forge;
mod local;

use std::{fmt::Write as _, time::Duration};

use clap::Args;
use forge::Connection;

use super::set::{self, SelectedSet, SetResults};
use crate::{
    app::{
        cli::{
            args::IfUnconfigured,
            context::Context,
            format::{Format, Volume},
            job::StepFiles,
            output::Exit,
        },
        report::{
            doctor::{self, DoctorDocument, DoctorRow, RowFilter},
            json::AnyDocument,
            layout::{Color, wrapped},
            sets::SetSummary,
        },
        workflow::{forge_overview::verification_pulls, untagged_pins},
    },
    base::{
        error::{Class, Code, Error, Errors},
        http::ServerTime,
        text::counted,
        untrusted::plain,
    },
    config::{Config, Image, SetPath},
    core::{checks::Status, pins::FoundPins},
    git::Git,
    oci::{
        Digest, Tag, TagOrDigest,
        registry::{PULL_HELP, Source},
    },
};

const HELP: &str = "\
Each check passes, fails, warns or is skipped, with evidence and a hint. A check that would have to write is skipped, with the \
reason. The exit code is that of the worst failure: the code with which the same cause ends a run.

Examples:
  repin doctor
  repin doctor --all
  repin doctor --format json | jq -r '.checks[] | select(.status == \"fail\") | .hint'";

/// Check that everything a run needs is available; changes nothing
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// Skip instead of failing when a token or secret is missing
    #[arg(long, value_name = "WHAT")]
    if_unconfigured: Option<IfUnconfigured>,
    /// Check every set below the current directory: one set for each configuration file that git tracks
    #[arg(long)]
    all: bool,
}

/// The maximum difference of two clocks. A larger one would give wrong ages of versions.
const TOLERANCE: Duration = Duration::from_secs(300);

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    cx.services.shorten_waits();
    let skip = args.if_unconfigured.is_some();
    if args.all {
        return match set::select(cx) {
            Ok(sets) => run_all(sets, skip, cx),
            Err(errors) if errors.iter().all(|error| error.code == Code::CONFIG) => {
                report(without_configuration(&errors, cx), cx)
            }
            Err(errors) => Err(errors),
        };
    }
    let rows = match cx.load_without_images() {
        Ok(config) => {
            cx.warn_of_file_name(&config);
            diagnose(&config, skip, cx)?
        }
        Err(errors) => without_configuration(&errors, cx),
    };
    report(rows, cx)
}

/// Checks every set below the current directory: prints the lines that did not pass, and a table with a row for each set.
fn run_all(sets: Vec<SelectedSet>, skip: bool, cx: &mut Context) -> Result<Exit, Errors> {
    let mut results = SetResults::default();
    for set in sets {
        let Some((path, config)) = results.start(set, cx) else {
            continue;
        };
        let rows = cx.enter(&config).and_then(|()| {
            cx.warn_of_file_name(&config);
            diagnose(&config, skip, cx)
        });
        match rows {
            Ok(rows) => {
                print_problems(&path, &rows, cx)?;
                let exit = exit_of(&rows);
                let row = SetSummary::without_set(path, totals(&rows));
                let document = DoctorDocument::new(rows);
                results.add(row, AnyDocument::Doctor(document), exit);
            }
            Err(errors) => results.fail(path, errors, cx),
        }
    }
    cx.leave();
    let exit = results.print(cx);
    cx.output.print_explain_hint();
    cx.output.note("nothing was changed");
    Ok(exit)
}

/// Prints the failed lines and the warnings of a set, or with `--verbose` all lines.
fn print_problems(path: &SetPath, rows: &[DoctorRow], cx: &mut Context) -> Result<(), Errors> {
    for row in rows.iter().filter(|row| row.status == Status::Fail) {
        cx.output.record_code(row.code);
    }
    if cx.output.format == Format::Json {
        return Ok(());
    }
    if cx.output.format == Format::Github {
        cx.output.annotate(&doctor::annotations(rows));
    }
    let is_verbose = cx.output.volume >= Volume::Verbose;
    let is_problem =
        |row: &&DoctorRow| is_verbose || matches!(row.status, Status::Fail | Status::Warn);
    let mut rows: Vec<_> = rows.iter().filter(is_problem).cloned().collect();
    localize(&mut rows, cx);
    if rows.is_empty() {
        return Ok(());
    }
    let (palette, columns) = (cx.output.palette(), cx.output.columns);
    let table = doctor::table(&rows, columns, |status, word| {
        palette.paint(color_of(status), word)
    });
    let text = format!("{}:\n{table}\n", plain(&path.to_string()));
    if cx.output.format == Format::Github {
        return cx.output.print_unparsed(text);
    }
    cx.output.print(text);
    Ok(())
}

fn diagnose(config: &Config, skip: bool, cx: &Context) -> Result<Vec<DoctorRow>, Errors> {
    let mut rows = vec![local::configuration(config)];
    let (found, lines) = local::files(config);
    rows.extend(lines);
    let (git, lines) = local::repository(&config.root, Some(config), cx);
    rows.extend(lines);
    rows.push(local::sync_push(config, git.as_ref(), cx));
    rows.push(local::other_repositories(config, git.as_ref(), skip, cx));
    rows.extend(local::state(&config.root, &config.option));
    rows.push(local::engine(Some(config), cx));
    rows.extend(local::secrets(config, skip, cx));
    rows.extend(local::roots(config, cx));
    rows.extend(remote(config, git.as_ref(), found.as_ref(), skip, cx)?);
    Ok(rows)
}

/// The lines that require no configuration; the others are skipped.
fn without_configuration(errors: &Errors, cx: &Context) -> Vec<DoctorRow> {
    let mut rows = DoctorRow::errors(Code::CONFIGURATION, errors);
    rows.push(DoctorRow::without_configuration(Code::FILES));
    let (root, option) = cx.expected_root();
    let (_, lines) = local::repository(&root, None, cx);
    rows.extend(lines);
    rows.push(DoctorRow::without_configuration(Code::SYNC_PUSH));
    rows.push(DoctorRow::without_configuration(Code::OTHER_REPOSITORIES));
    rows.extend(local::state(&root, &option));
    rows.push(local::engine(None, cx));
    let local = [Code::SECRET, Code::TRUSTED_ROOT, Code::FORGE, Code::TOKEN];
    let queried = forge::QUERIED.into_iter().chain([Code::REGISTRY]);
    for code in local.into_iter().chain(queried) {
        rows.push(DoctorRow::without_configuration(code));
    }
    rows.push(clock(&[]));
    rows
}

/// Queries the forge and the registries concurrently, and compares their clocks.
fn remote(
    config: &Config,
    git: Option<&Git>,
    found: Option<&FoundPins>,
    skip: bool,
    cx: &Context,
) -> Result<Vec<DoctorRow>, Errors> {
    let connection = forge::connect(config, git, found, skip, cx);
    let images = queries(config, found, cx)?;
    let forge = async {
        match &connection {
            Connection::Ready(ready) => ready.examine().await,
            Connection::Unavailable(rows) => rows.clone(),
        }
    };
    let both = futures_util::future::join(forge, examine(&images));
    let (mut rows, registries) = cx
        .services
        .wait(both, "querying the forge and the registries");
    let mut clocks = cx.services.clocks();
    if let Connection::Ready(ready) = &connection {
        clocks.extend(ready.server_time());
    }
    let untagged = found.map(|found| untagged(config, found, &registries, cx));
    rows.extend(registries);
    rows.extend(untagged.transpose()?.into_iter().flatten());
    if images.is_empty() {
        rows.push(DoctorRow::not_configured(Code::REGISTRY, "images"));
    }
    rows.push(clock(&clocks));
    Ok(rows)
}

/// A line for each pinned digest without a tag, or for which that is unknown. A failed line of `registries` already
/// reports that an image cannot be read.
fn untagged(
    config: &Config,
    found: &FoundPins,
    registries: &[DoctorRow],
    cx: &Context,
) -> Result<Vec<DoctorRow>, Errors> {
    let sources = cx.services.sources_of_images(config)?;
    let mut pinned = untagged_pins::pinned_digests(config, found, &sources, None);
    pinned.retain(|pinned| {
        let subject = format!("{}: ", config.images[pinned.image].name);
        let mut failed = registries.iter().filter(|row| row.status == Status::Fail);
        !failed.any(|row| row.detail.starts_with(&subject))
    });
    let mut rows = Vec::new();
    for untagged in untagged_pins::untagged_pins(config, pinned, &cx.services) {
        let untagged = match untagged {
            Ok(untagged) => untagged,
            Err(error) => {
                rows.push(match error.class {
                    Class::Failed => DoctorRow::error(Code::PIN_UNTAGGED, "", error),
                    _ => DoctorRow::skip(Code::PIN_UNTAGGED, error.text()),
                });
                continue;
            }
        };
        let check = untagged.check(config, found);
        let detail = format!("{}: {}", config.images[untagged.image].name, check.detail);
        rows.push(DoctorRow::warn(
            Code::PIN_UNTAGGED,
            detail,
            check.help.unwrap_or_default(),
        ));
    }
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
    let exit = exit_of(&rows);
    match cx.output.format {
        Format::Json => {
            cx.output.print_json(&DoctorDocument::new(rows));
            return Ok(exit);
        }
        Format::Human | Format::Sarif | Format::Gitlab => {
            let palette = cx.output.palette();
            let filter = match cx.output.volume {
                Volume::Quiet => RowFilter::Failed,
                Volume::Normal => RowFilter::Configured,
                Volume::Verbose | Volume::Requests => RowFilter::All,
            };
            let (mut rows, omitted) = doctor::filtered(&rows, filter);
            localize(&mut rows, cx);
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
            let (printed, omitted) = doctor::filtered(&rows, RowFilter::Configured);
            let mut table = doctor::table(&printed, None, |_, word| word.to_owned());
            if let Some(line) = omitted {
                let _ = writeln!(table, "\n{line}");
            }
            cx.output.print_unparsed(table)?;
            StepFiles::open(&cx.services.environment)?.summary(&doctor::summary(&printed))?;
        }
    }
    for row in rows.iter().filter(|row| row.status == Status::Fail) {
        cx.output.record_code(row.code);
    }
    cx.output.print_explain_hint();
    cx.output
        .wrapped_note(&format!("\n{}; nothing was changed", totals(&rows)));
    Ok(exit)
}

/// Converts the times in rows to the zone of the reader.
fn localize(rows: &mut [DoctorRow], cx: &Context) {
    for row in rows {
        row.detail = cx.output.local(&row.detail);
    }
}

/// The exit of the most severe line.
fn exit_of(rows: &[DoctorRow]) -> Exit {
    let classes = rows.iter().filter_map(|row| row.class);
    classes.map(Exit::Failed).fold(Exit::Done, Exit::worse)
}

/// The numbers of lines by status.
fn totals(rows: &[DoctorRow]) -> String {
    let count = |status| rows.iter().filter(|row| row.status == status).count();
    format!(
        "{} passed, {} failed, {}, {} skipped",
        count(Status::Pass),
        count(Status::Fail),
        counted(count(Status::Warn), "warning"),
        count(Status::Skip)
    )
}

fn color_of(status: Status) -> Color {
    match status {
        Status::Pass => Color::Green,
        Status::Fail => Color::Red,
        Status::Warn | Status::Skip => Color::Yellow,
    }
}

const MISSING: &str =
    "check that the image was pushed, was not deleted, and is visible to this account";

/// An image to query, with its source.
struct Query<'c> {
    image: &'c Image,
    pinned: Option<Digest>,
    source: Result<Source, Error>,
    /// The minimum number of pulls from Docker Hub in a promotion, for all images.
    pulls_needed: u64,
}

/// The images to query, without a request.
fn queries<'c>(
    config: &'c Config,
    found: Option<&FoundPins>,
    cx: &Context,
) -> Result<Vec<Query<'c>>, Errors> {
    let sources = cx.services.sources(config)?;
    // The new tag and the replaced digest of each image.
    let pulls_needed = config
        .images
        .iter()
        .filter(|image| image.repository.is_on_hub())
        .map(|image| if image.pins > 0 { 2 } else { 1 } + verification_pulls(config))
        .sum();
    let mut queries = Vec::new();
    for (index, image) in config.images.iter().enumerate() {
        let source = sources.source(&image.repository);
        queries.push(Query {
            image,
            pinned: found.and_then(|found| found.digests_of(index).first().copied()),
            source: source.map_err(|error| Error::input(Code::SOURCE, error.to_string())),
            pulls_needed,
        });
    }
    Ok(queries)
}

/// Queries all images concurrently, and returns the lines in the order of the configuration.
async fn examine(queries: &[Query<'_>]) -> Vec<DoctorRow> {
    futures_util::future::join_all(queries.iter().map(Query::line)).await
}

impl Query<'_> {
    async fn line(&self) -> DoctorRow {
        let subject = format!("{}: ", self.image.name);
        let source = match &self.source {
            Ok(source) => source,
            Err(error) => return DoctorRow::error(Code::REGISTRY, &subject, error.clone()),
        };
        match self.evidence(source).await {
            Ok(Some(evidence)) => {
                let account = match account(source).await {
                    Some(account) => format!(" {account}"),
                    None => String::new(),
                };
                let unpinned = self.pinned.map_or(" (not pinned)", |_| "");
                self.readable(source, format!("{subject}{evidence}{account}{unpinned}"))
                    .await
            }
            Ok(None) => {
                let missing = match self.pinned {
                    Some(digest) => format!("{source}@{digest}"),
                    None => source.to_string(),
                };
                let absence = self.image.repository.absence(missing);
                let account = match account(source).await {
                    Some(account) => format!(" (requested {account})"),
                    None => String::new(),
                };
                DoctorRow::fail(
                    Code::REGISTRY,
                    Class::Failed,
                    format!("{subject}{}{account}", absence.detail),
                    absence.help.unwrap_or(MISSING),
                )
            }
            Err(error) => DoctorRow::error(Code::REGISTRY, &subject, error),
        }
    }

    /// The line of a readable image, with the remaining pulls from Docker Hub.
    async fn readable(&self, source: &Source, detail: String) -> DoctorRow {
        let remaining = match (source, self.pinned) {
            (Source::Remote(remote), Some(digest)) if self.image.repository.is_on_hub() => {
                let estimate = remote.estimate(&TagOrDigest::Digest(digest)).await;
                estimate.ok().and_then(|estimate| estimate.pulls)
            }
            _ => None,
        };
        let Some(remaining) = remaining else {
            return DoctorRow::pass(Code::REGISTRY, detail);
        };
        let detail = format!("{detail}; Docker Hub allows {remaining} more pulls");
        let needed = self.pulls_needed;
        if remaining >= needed {
            return DoctorRow::pass(Code::REGISTRY, detail);
        }
        let reason = format!("{detail}, and a promotion needs at least {needed}");
        DoctorRow::fail(Code::REGISTRY, Class::Unavailable, reason, PULL_HELP)
    }

    /// The evidence; `None` if the image does not exist.
    async fn evidence(&self, source: &Source) -> Result<Option<String>, Error> {
        match (self.pinned, source) {
            (Some(digest), _) => {
                let found = source.manifest(&TagOrDigest::Digest(digest), None).await?;
                Ok(found.map(|_| format!("{source}@{digest} is readable")))
            }
            // Without a pin, the list of tags shows whether the repository is readable.
            (None, Source::Remote(remote)) => Ok(remote
                .exists()
                .await?
                .then(|| format!("{source} is readable"))),
            (None, Source::Layout(_)) => match Tag::parse("latest") {
                // A missing tag is fine; a directory that is not a layout is an error.
                Ok(tag) => {
                    source.manifest(&TagOrDigest::Tag(tag), None).await?;
                    Ok(Some(format!("{source} is readable")))
                }
                Err(_) => Ok(None),
            },
        }
    }
}

/// The account of the requests, such as `as user …`; `None` for a layout.
async fn account(source: &Source) -> Option<String> {
    match source {
        Source::Layout(_) => None,
        Source::Remote(remote) => {
            let account = remote.account().await;
            Some(account.unwrap_or_else(|| "anonymously".to_owned()))
        }
    }
}
