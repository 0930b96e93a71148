//! A promotion or a rollback: runs it, and prints the table, the diff and the files for GitHub Actions.
//!
//! Checks as text: failures and warnings, skipped checks, and the number of checks by status.

use std::path::Path;

use super::{
    args::{ChangeOptions, DiffOptions},
    context::Context,
    format::{Format, Volume},
    job::{PullOutputs, StepFiles},
    output::{Exit, Output},
};
use crate::{
    app::{
        report::{
            body, branch,
            explain::{Cause, by_cause, subject},
            github::{self, SetChecks},
            json::{ImageRow, PlanDocument},
            layout::{Align, aligned},
        },
        workflow::{
            self, ApplyMode, Effect, Goal, Intent, Options, Publication, RunResult,
            output_file::OutputFile,
        },
    },
    base::{
        error::{Class, Code, Error, Errors, usage},
        text::counted,
        untrusted::plain,
    },
    config::{ChangeParts, Config, Operation},
    core::{
        changes::shortened,
        checks::{Check, Status},
    },
    forge::Words,
};

/// The conclusion of `promote --revision newest` without a newer build.
const NOTHING_NEWER: &str = "nothing newer than the current set";

pub(super) fn run(
    goal: &Goal,
    intent: Intent,
    change: &ChangeOptions,
    config: &Config,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let [diff_file, body_file] = output_files(change, config, cx)?;
    let is_printed = is_stdout(diff_file.as_ref()) || is_stdout(body_file.as_ref());
    if cx.output.format == Format::Json && is_printed {
        return Err(usage(
            "standard output cannot contain a report in addition to --format json: name a file instead of `-`",
        ));
    }
    // An unwritable file stops the run before anything is changed.
    cx.step_files()?;
    if change.commit && !change.apply && change.dry_run != Some(false) {
        return Err(usage("--commit requires --apply"));
    }
    if (change.diff.stat || change.diff.no_diff) && is_stdout(diff_file.as_ref()) {
        return Err(usage(
            "--diff-file - prints the diff, which --stat and --no-diff leave out",
        ));
    }
    let options = Options {
        intent,
        missing_credential: change.if_unconfigured.into(),
        diff_file,
        body_file,
        changes: reported_changes(change),
    };
    let finished = workflow::run(goal, &options, config, &cx.services)?;
    let exit = report(&finished, &options, change.diff, cx);
    note_git_commands(&finished, exit, config, cx);
    Ok(exit)
}

/// Prints the commands of git for a rollback whose images could not be verified. They may still be pinned; a failed check
/// refuses that. Between the first checks and the plan, the images are read.
fn note_git_commands(finished: &RunResult, exit: Exit, config: &Config, cx: &Context) {
    let document = &finished.document;
    let is_unverified = matches!(exit, Exit::Failed(Class::Unavailable | Class::Denied));
    let mut errors = finished.errors.iter().flat_map(Errors::iter);
    if document.kind == Operation::Rollback
        && is_unverified
        && !document.checks.is_empty()
        && document.diff.is_none()
        && !errors.any(|error| error.code == Code::IO)
        && let Ok(revision) = config.revision.pattern.revision(&document.revision)
        && let Some(commands) = workflow::git_restore(&revision, config, &cx.services)
    {
        // Without an available registry, this is the result.
        cx.output.remark(&commands);
    }
}

/// The parts of the section "What changes"; `None` as the configuration selects.
fn reported_changes(change: &ChangeOptions) -> Option<ChangeParts> {
    match (change.no_changes, change.contents) {
        (true, _) => Some(ChangeParts::None),
        (false, true) => Some(ChangeParts::Contents),
        (false, false) => None,
    }
}

/// The files of `--diff-file` and `--body-file`.
fn output_files(
    change: &ChangeOptions,
    config: &Config,
    cx: &Context,
) -> Result<[Option<OutputFile>; 2], Errors> {
    let directory = cx.services.environment.directory();
    let parse = |file: &Path| OutputFile::new(file, directory, Some(config));
    let diff_file = change.diff_file.as_deref().map(parse).transpose()?;
    let body_file = change.body_file.as_deref().map(parse).transpose()?;
    if let (Some(diff), Some(body)) = (&diff_file, &body_file) {
        let others = [("--body-file", body.typed())];
        diff.refuse_same("--diff-file", &others, directory)?;
    }
    Ok([diff_file, body_file])
}

/// Whether an option selects standard output.
fn is_stdout(file: Option<&OutputFile>) -> bool {
    file.is_some_and(OutputFile::is_stdout)
}

fn report(finished: &RunResult, options: &Options, diff: DiffOptions, cx: &mut Context) -> Exit {
    let exit = finished.class().map_or(Exit::Done, Exit::Failed);
    match cx.output.format {
        Format::Json => {
            cx.output.print_json(&finished.document);
            if is_unpublished(&finished.effect) {
                cx.output.remark(&conclusion(finished, options));
            }
            return exit;
        }
        Format::Github => print_github(finished, options, &mut cx.output),
        Format::Human | Format::Sarif | Format::Gitlab => {
            print_text(finished, options, diff, &mut cx.output);
        }
    }
    if let Some(errors) = &finished.errors {
        cx.output.report_errors(errors);
    }
    cx.output.print_explain_hint();
    let conclusion = conclusion(finished, options);
    if is_unpublished(&finished.effect) {
        cx.output.remark(&conclusion);
    } else {
        cx.output.note(&conclusion);
    }
    let written = match cx.step_files() {
        Ok(Some(mut files)) => write_step_files(finished, options, &mut files),
        Ok(None) => Ok(()),
        Err(errors) => Err(errors),
    };
    match written {
        Ok(()) => exit,
        Err(errors) => exit.worse(cx.output.report_errors(&errors)),
    }
}

fn print_text(
    finished: &RunResult,
    options: &Options,
    diff_options: DiffOptions,
    output: &mut Output,
) {
    let document = &finished.document;
    if matches!(finished.effect, Effect::NothingNewer) {
        return;
    }
    output.print_text(&table(document));
    print_checks(&document.checks, &finished.config, output);
    let DiffOptions { stat, no_diff } = diff_options;
    let diff = document.diff_bytes();
    let is_requested = is_stdout(options.diff_file.as_ref());
    // The commit shows its diff.
    let is_committed = commits(options);
    if !diff.is_empty() && !stat && !no_diff && (!is_committed || is_requested) {
        output.print("\n");
        output.print_diff(diff, is_requested);
    }
    if !diff.is_empty() && !no_diff {
        output.print(format!("\n{}", files(document)));
    }
    if let Some(body) = &document.body
        && is_stdout(options.body_file.as_ref())
    {
        output.print("\n");
        output.print_body(body);
    }
}

fn print_github(finished: &RunResult, options: &Options, output: &mut Output) {
    let document = &finished.document;
    let directory = output.directory.clone();
    let set = SetChecks {
        checks: &document.checks,
        config: &finished.config,
        directory: &directory,
    };
    output.annotate(&github::annotations(&[set]));
    if matches!(finished.effect, Effect::NothingNewer) {
        return;
    }
    let table = table(document);
    let mut texts = vec![table.as_bytes()];
    if is_stdout(options.diff_file.as_ref()) {
        texts.push(document.diff_bytes());
    }
    if is_stdout(options.body_file.as_ref()) {
        texts.extend(document.body.as_deref().map(str::as_bytes));
    }
    for text in texts {
        if let Err(errors) = output.print_unparsed(text) {
            output.report_errors(&errors);
        }
    }
}

/// The changed files with their number of pins.
fn files(document: &PlanDocument) -> String {
    let rows: Vec<_> = document
        .files
        .iter()
        .map(|file| vec![counted(file.pins, "pin"), plain(&file.path)])
        .collect();
    aligned(&[Align::Right, Align::Left], &rows)
}

fn write_step_files(
    finished: &RunResult,
    options: &Options,
    files: &mut StepFiles,
) -> Result<(), Errors> {
    let document = &finished.document;
    let digests: serde_json::Map<String, serde_json::Value> = document
        .images
        .iter()
        .map(|image| (image.name.clone(), image.to.map(|to| to.to_string()).into()))
        .collect();
    let path = |file: &Option<OutputFile>| match file {
        Some(file) => file.typed().to_string_lossy().into_owned(),
        None => String::new(),
    };
    let pull = match &finished.effect {
        Effect::Opened(pull) => PullOutputs {
            number: Some(pull.row.number),
            url: pull.row.url.clone(),
            state: pull.state,
            merge_commit: pull.merge_commit.clone().unwrap_or_default(),
        },
        _ if body::skip_reason(document).is_some() => PullOutputs::skipped(),
        _ => PullOutputs::default(),
    };
    files.outputs(&[
        ("kind", document.kind.as_str().to_owned()),
        ("set-path", document.set_path.to_string()),
        ("revision", document.revision.clone()),
        ("changed", document.changed.to_string()),
        ("title", document.title.clone()),
        ("branch", document.branch.clone()),
        ("digests", serde_json::Value::Object(digests).to_string()),
        ("body-file", path(&options.body_file)),
        ("diff-file", path(&options.diff_file)),
    ])?;
    files.outputs(&pull.values())?;
    match &document.body {
        _ if matches!(finished.effect, Effect::NothingNewer) => files.summary(NOTHING_NEWER),
        Some(body) => files.summary(body),
        None => files.summary(&body::refusal(document)),
    }
}

/// The table of the images; empty if the run stopped before it selected a revision.
fn table(document: &PlanDocument) -> String {
    if document.title.is_empty() {
        return String::new();
    }
    let heading = ["IMAGE", "FROM", "TO", "PINS", "PLATFORMS", "CHECKS"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let mut labels = Vec::new();
    for image in &document.images {
        rows.push(image_row(image, document));
        for (label, value) in &image.labels {
            let value = value.as_deref().unwrap_or("(absent)");
            labels.push(vec![
                image.name.clone(),
                plain(label),
                plain(&shortened(value)),
            ]);
        }
    }
    let columns = [
        Align::Left,
        Align::Left,
        Align::Left,
        Align::Right,
        Align::Left,
        Align::Left,
    ];
    let mut text = format!("{}\n\n{}", plain(&document.title), aligned(&columns, &rows));
    for rows in [labels, skip_rows(&document.checks)] {
        if !rows.is_empty() {
            text.push('\n');
            text.push_str(&aligned(&[Align::Left; 3], &rows));
        }
    }
    text
}

fn image_row(image: &ImageRow, document: &PlanDocument) -> Vec<String> {
    let checks = document.checks.iter();
    let from = match image.from.as_slice() {
        [] => "-".to_owned(),
        [one] => one.short(),
        several => format!("{} digests", several.len()),
    };
    let to = image.to.map_or_else(|| "?".to_owned(), |to| to.short());
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
        tally(checks.filter(|check| check.image.as_ref() == Some(&image.name))),
    ]
}

/// Whether the run may commit the changed files.
fn commits(options: &Options) -> bool {
    matches!(
        options.intent,
        Intent::Apply(ApplyMode::Commit | ApplyMode::Push)
    )
}

/// The message of a commit that a user makes, as indented paragraphs.
fn commit_message(document: &PlanDocument) -> String {
    format!(
        "\n\n    {}\n\n    {}",
        plain(&document.title),
        document
            .trailers
            .iter()
            .map(|line| plain(line))
            .collect::<Vec<_>>()
            .join("\n    ")
    )
}

/// Whether a commit was not pushed, so that nobody else sees the change.
fn is_unpublished(effect: &Effect) -> bool {
    let Effect::Committed(commit) = effect else {
        return false;
    };
    matches!(
        commit.publication,
        Publication::Missing(Some(_)) | Publication::Refused(_)
    )
}

/// The last line: the completed change, and the next step.
fn conclusion(finished: &RunResult, options: &Options) -> String {
    let document = &finished.document;
    let pins: usize = document.files.iter().map(|file| file.pins).sum();
    let count = format!(
        "{} in {}",
        counted(pins, "pin"),
        counted(document.files.len(), "file")
    );
    if let Some(pull) = &document.pull_request {
        let awaited = document.wait.as_ref().map_or_else(String::new, |document| {
            let mark = Words::for_page(&pull.url).mark(pull.number);
            format!("\n{}", branch::wait_lines(document, &mark).trim_end())
        });
        return format!(
            "\n{} {}: {}{awaited}",
            Words::for_page(&pull.url).name(pull.number),
            pull.state,
            plain(&pull.url)
        );
    }
    let is_failed = finished.class().is_some();
    if let Some(reason) = body::skip_reason(document) {
        return format!("skipped: {}", plain(reason));
    }
    match &finished.effect {
        Effect::Committed(commit) => {
            format!(
                "\ncommitted: {} in {}, as {}, {}",
                counted(commit.pins, "pin"),
                counted(commit.files, "file"),
                commit.id.short(),
                commit.publication,
            )
        }
        Effect::Applied if commits(options) => {
            let commit = if is_failed {
                "the error states whether a commit contains them"
            } else {
                "nothing was committed: HEAD already contains these pins"
            };
            format!("\napplied: {count}; {commit}")
        }
        Effect::Applied => format!(
            "\napplied: {count}; commit them with the message{}",
            commit_message(document)
        ),
        Effect::NothingNewer => NOTHING_NEWER.to_owned(),
        Effect::Begun if is_failed => {
            "the changes on the forge are incomplete; run the command again".to_owned()
        }
        _ if is_failed && finished.before.is_empty() => "nothing was changed".to_owned(),
        _ if is_failed => format!(
            "{}; nothing else was changed",
            finished.before.join(", and ")
        ),
        _ if !document.changed => {
            "\nnothing to do: every pin is already at this revision".to_owned()
        }
        Effect::PullRequestShown => {
            let branch = plain(&document.branch);
            format!("\ndry run: nothing was changed; --pr would change {count} on {branch}")
        }
        _ => format!("\ndry run: nothing was changed; --apply would change {count}"),
    }
}

/// Prints failed checks and warnings; with `--verbose`, all checks.
pub(super) fn print_checks(checks: &[Check], config: &Config, output: &mut Output) {
    if output.volume >= Volume::Verbose {
        let rows: Vec<_> = checks.iter().map(row).collect();
        output.print_text(&format!("\n{}", aligned(&[Align::Left; 4], &rows)));
    }
    output.print_causes(checks, config);
}

fn row(check: &Check) -> Vec<String> {
    // A passed check shows the statement that it proves; `repin explain` accepts the code of the others.
    let title = match check.status {
        Status::Pass => check.code.passed(),
        Status::Fail | Status::Warn | Status::Skip => check.code.as_str(),
    };
    vec![
        check.status.as_str().to_owned(),
        title.to_owned(),
        plain(&subject(check)),
        plain(&check.describe()),
    ]
}

/// Prints the skipped checks, so that an incomplete verification is visible, except those whose reason
/// is one of the `errors`. The table of a verbose run already contains them.
pub(super) fn print_skipped(checks: &[Check], errors: Option<&Errors>, output: &mut Output) {
    if output.volume >= Volume::Verbose {
        return;
    }
    let reasons: Vec<_> = errors.into_iter().flatten().map(Error::text).collect();
    for cause in by_cause(checks) {
        if cause.status() == Status::Skip && !reasons.contains(&cause.first().detail) {
            output.note(&format!("skip[{}]: {}", cause.code(), described(&cause)));
        }
    }
}

/// Rows for the skipped checks. Failures and warnings are on standard error.
pub(super) fn skip_rows(checks: &[Check]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for cause in by_cause(checks) {
        if cause.status() == Status::Skip {
            rows.push(vec![
                cause.status().as_str().to_owned(),
                cause.code().to_string(),
                described(&cause),
            ]);
        }
    }
    rows
}

fn described(cause: &Cause<'_>) -> String {
    let (subject, message) = (cause.subject(), cause.message());
    if subject.is_empty() {
        plain(&message)
    } else {
        plain(&format!("{subject}: {message}"))
    }
}

/// The number of checks by status, such as `1 failed, 3 passed`.
pub(super) fn tally<'c>(checks: impl Iterator<Item = &'c Check>) -> String {
    let statuses: Vec<_> = checks.map(|check| check.status).collect();
    let mut counts = Vec::new();
    for (status, word) in [
        (Status::Fail, "failed"),
        (Status::Warn, "warned"),
        (Status::Skip, "skipped"),
        (Status::Pass, "passed"),
    ] {
        let count = statuses.iter().filter(|other| **other == status).count();
        if count > 0 {
            counts.push(format!("{count} {word}"));
        }
    }
    counts.join(", ")
}
