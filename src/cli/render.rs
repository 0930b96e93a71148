//! Shows a promote or a rollback: the table, the diff, the files of GitHub Actions.

use std::path::{Path, PathBuf};

use super::{
    args::Changes,
    context::Context,
    exit::Exit,
    format::{Format, Volume},
    github::StepFiles,
    output::Output,
};
use crate::{
    checks::{Check, Status},
    code::Code,
    config::{Config, number},
    error::Errors,
    report::{
        annotations, body,
        causes::{Cause, by_cause},
        json::{FileRow, ImageRow, PlanDocument},
        table::{Align, aligned},
    },
    untrusted::plain,
    workflow::{Effect, Intent, Options, RunResult},
};

/// How people see what changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// As a diff, and as a list of files.
    Diff,
    /// As a list of files.
    Files,
    /// As a count.
    Count,
}

impl Shown {
    pub(super) fn of(changes: Changes) -> Self {
        match (changes.stat, changes.no_diff) {
            (true, _) => Self::Files,
            (false, true) => Self::Count,
            (false, false) => Self::Diff,
        }
    }
}

/// Shows the result of a run in the chosen format.
pub(super) fn finished(
    finished: &RunResult,
    options: &Options,
    shown: Shown,
    cx: &mut Context,
) -> Exit {
    let exit = finished.class().map_or(Exit::Done, Exit::Because);
    match cx.output.format {
        Format::Json => {
            cx.output.json(&finished.document);
            return exit;
        }
        Format::Github => print_github(finished, options, &mut cx.output),
        Format::Human | Format::Sarif => print_human(finished, options, shown, &mut cx.output),
    }
    if let Some(errors) = &finished.errors {
        cx.output.fault(errors);
    }
    cx.output.refer();
    cx.output.note(&closing(finished, options));
    if cx.output.format != Format::Github {
        return exit;
    }
    match write_step_files(&finished.document, options, cx) {
        Ok(()) => exit,
        Err(errors) => exit.worse(cx.output.fault(&errors)),
    }
}

fn print_human(finished: &RunResult, options: &Options, shown: Shown, output: &mut Output) {
    let document = &finished.document;
    output.print(table(document));
    print_checks(&document.checks, &finished.config, output);
    let diff = document.diff_bytes();
    if !diff.is_empty() && shown == Shown::Diff {
        output.print("\n");
        output.print_diff(diff, dash(options.diff_file.as_ref()));
    }
    if !diff.is_empty() && shown != Shown::Count {
        output.print(format!("\n{}", files(document)));
    }
    let body = document.body.as_ref();
    if let Some(body) = body.filter(|_| dash(options.body_file.as_ref())) {
        output.print("\n");
        output.print_body(body);
    }
}

fn print_github(finished: &RunResult, options: &Options, output: &mut Output) {
    let document = &finished.document;
    let annotations = annotations::checks(&document.checks, &finished.config, &output.directory);
    output.annotate(&annotations);
    let table = table(document);
    let diff = dash(options.diff_file.as_ref()).then_some(document.diff_bytes());
    let body = document.body.as_deref().map(str::as_bytes);
    let body = body.filter(|_| dash(options.body_file.as_ref()));
    for text in [Some(table.as_bytes()), diff, body].into_iter().flatten() {
        if let Err(errors) = output.print_unparsed(text) {
            output.fault(&errors);
        }
    }
}

/// The files that change, with their number of pins.
fn files(document: &PlanDocument) -> String {
    let row = |file: &FileRow| vec![number(file.pins, "pin"), plain(&file.path)];
    let rows: Vec<_> = document.files.iter().map(row).collect();
    aligned(&[Align::Right, Align::Left], &rows)
}

/// Whether a file is standard output.
fn dash(file: Option<&PathBuf>) -> bool {
    file.map(PathBuf::as_path) == Some(Path::new("-"))
}

fn write_step_files(
    document: &PlanDocument,
    options: &Options,
    cx: &Context,
) -> Result<(), Errors> {
    let digests: serde_json::Map<String, serde_json::Value> = document
        .images
        .iter()
        .map(|image| (image.name.clone(), image.to.clone().into()))
        .collect();
    let path = |file: &Option<PathBuf>| {
        file.as_ref()
            .map_or_else(String::new, |f| f.to_string_lossy().into_owned())
    };
    let pull_request = document.pull_request.as_ref();
    let number = pull_request.map_or_else(String::new, |pr| pr.number.to_string());
    let url = pull_request.map_or_else(String::new, |pr| pr.url.clone());
    let mut files = StepFiles::open(&cx.services.environment)?;
    files.outputs(&[
        ("kind", document.kind.as_str().to_owned()),
        ("revision", document.revision.clone()),
        ("changed", document.changed.to_string()),
        ("title", document.title.clone()),
        ("branch", document.branch.clone()),
        ("digests", serde_json::Value::Object(digests).to_string()),
        ("body-file", path(&options.body_file)),
        ("diff-file", path(&options.diff_file)),
        ("pull-request", number),
        ("pull-request-url", url),
    ])?;
    files.summary(
        &document
            .body
            .clone()
            .unwrap_or_else(|| body::refusal(document)),
    )
}

fn table(document: &PlanDocument) -> String {
    let heading = ["IMAGE", "FROM", "TO", "PINS", "PLATFORMS", "CHECKS"]
        .map(str::to_owned)
        .to_vec();
    let row = |image: &ImageRow| {
        let of_image = document
            .checks
            .iter()
            .filter(|check| check.image.as_ref() == Some(&image.name));
        let from = match image.from.as_slice() {
            [] => "-".to_owned(),
            [one] => short(one),
            many => format!("{} digests", many.len()),
        };
        let to = image.to.as_deref().map_or_else(|| "?".to_owned(), short);
        let platforms = if image.platforms.is_empty() {
            "?".to_owned()
        } else {
            plain(&image.platforms.join(","))
        };
        vec![
            image.name.clone(),
            from,
            to,
            image.pins.to_string(),
            platforms,
            tally(of_image),
        ]
    };
    let rows: Vec<_> = std::iter::once(heading)
        .chain(document.images.iter().map(row))
        .collect();
    let columns = [
        Align::Left,
        Align::Left,
        Align::Left,
        Align::Right,
        Align::Left,
        Align::Left,
    ];
    let mut text = format!("{}\n\n{}", plain(&document.title), aligned(&columns, &rows));
    let labels: Vec<_> = document.images.iter().flat_map(label_rows).collect();
    let causes = by_cause(&document.checks);
    let notes: Vec<_> = causes.iter().filter_map(note_row).collect();
    for rows in [labels, notes] {
        if !rows.is_empty() {
            text.push('\n');
            text.push_str(&aligned(&[Align::Left, Align::Left, Align::Left], &rows));
        }
    }
    text
}

/// The closing line: what was done, and what may be done next.
fn closing(finished: &RunResult, options: &Options) -> String {
    let document = &finished.document;
    let pins: usize = document.files.iter().map(|file| file.pins).sum();
    let count = format!(
        "{} in {}",
        number(pins, "pin"),
        number(document.files.len(), "file")
    );
    if let Some(pull) = &document.pull_request {
        return format!(
            "\npull request #{} {}: {}",
            pull.number,
            pull.state,
            plain(&pull.url)
        );
    }
    let skipped = document
        .checks
        .iter()
        .find(|check| check.code == Code::UNCONFIGURED);
    let failed = finished.class().is_some();
    if let (false, Some(skip)) = (failed, skipped) {
        return format!("skipped: {}", plain(&skip.detail));
    }
    match &finished.effect {
        Effect::Committed(id) => format!(
            "\ncommitted: {count}, as {}; publish the commit with: git push",
            id.short()
        ),
        Effect::Applied => format!(
            "\napplied: {count}; commit them with the message\n\n    {}\n\n    Repin-Set: {}",
            plain(&document.title),
            plain(&document.revision)
        ),
        Effect::Begun if failed => "the pull request is incomplete; run the command again".to_owned(),
        _ if failed => "nothing was changed".to_owned(),
        _ if !document.changed && options.intent == (Intent::Apply { commit: true }) => {
            "\nnothing to do: every pin is already at this revision; nothing was committed; run `git status` \
             to see whether the pins are committed"
                .to_owned()
        }
        _ if !document.changed => {
            "\nnothing to do: every pin is already at this revision".to_owned()
        }
        Effect::PullRequestShown => {
            let branch = plain(&document.branch);
            format!(
                "\ndry run: nothing was changed; the pull request of {branch} would change {count}"
            )
        }
        _ => format!("\ndry run: nothing was changed; --apply would change {count}"),
    }
}

/// Prints failed checks and warnings; with `--verbose`, all checks.
pub(super) fn print_checks(checks: &[Check], config: &Config, output: &mut Output) {
    if output.volume >= Volume::Verbose {
        let row = |check: &Check| {
            let subject = [&check.image, &check.platform]
                .into_iter()
                .flatten()
                .cloned()
                .collect::<Vec<_>>()
                .join(" ");
            vec![
                check.status.as_str().to_owned(),
                titled(check).to_owned(),
                plain(&subject),
                plain(&check.describe()),
            ]
        };
        let rows: Vec<_> = checks.iter().map(row).collect();
        output.print(format!("\n{}", aligned(&[Align::Left; 4], &rows)));
    }
    output.causes(checks, config);
}

/// What a passed check states; the code of every other check, which `repin explain` takes.
fn titled(check: &Check) -> &'static str {
    match check.status {
        Status::Pass => check.code.passed(),
        Status::Fail | Status::Warn | Status::Skip => check.code.as_str(),
    }
}

/// Reports the skipped checks, so that a run that verified less does not look like one that
/// verified everything; the table of a verbose run already contains them.
pub(super) fn print_skipped(checks: &[Check], output: &mut Output) {
    if output.volume >= Volume::Verbose {
        return;
    }
    for cause in by_cause(checks) {
        if cause.status() == Status::Skip {
            output.note(&format!("skip[{}]: {}", cause.code(), noted(&cause)));
        }
    }
}

/// The note of a skipped check, and of a warning about the repository, which no image's row counts.
fn note_row(cause: &Cause<'_>) -> Option<Vec<String>> {
    let shown = match cause.status() {
        Status::Skip => true,
        Status::Warn => cause.first().image.is_none(),
        Status::Pass | Status::Fail => false,
    };
    shown.then(|| {
        vec![
            cause.status().as_str().to_owned(),
            cause.code().to_string(),
            noted(cause),
        ]
    })
}

/// What a cause is about, and what was found.
fn noted(cause: &Cause<'_>) -> String {
    let (subject, message) = (cause.subject(), cause.message());
    if subject.is_empty() {
        plain(&message)
    } else {
        plain(&format!("{subject}: {message}"))
    }
}

fn label_rows(image: &ImageRow) -> Vec<Vec<String>> {
    let row = |(label, value): (&String, &Option<String>)| {
        vec![
            image.name.clone(),
            plain(label),
            plain(value.as_deref().unwrap_or("(absent)")),
        ]
    };
    image.labels.iter().map(row).collect()
}

/// The number of checks by status.
pub(super) fn tally<'c>(checks: impl Iterator<Item = &'c Check>) -> String {
    let statuses: Vec<_> = checks.map(|check| check.status).collect();
    let count = |status| {
        statuses
            .iter()
            .filter(|of_check| **of_check == status)
            .count()
    };
    let words = [
        (Status::Fail, "failed"),
        (Status::Warn, "warned"),
        (Status::Skip, "skipped"),
        (Status::Pass, "passed"),
    ];
    let told = words
        .iter()
        .map(|(status, word)| (count(*status), word))
        .filter(|(count, _)| *count > 0);
    told.map(|(count, word)| format!("{count} {word}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn short(digest: &str) -> String {
    digest
        .trim_start_matches("sha256:")
        .chars()
        .take(12)
        .collect()
}
