//! How a run is shown: the table, the diff, what GitHub Actions reads.

use std::path::{Path, PathBuf};

use super::{Ending, Reports, Run};
use crate::{
    checks::{Check, Code, Status},
    cli::{
        context::Context,
        display,
        exit::Exit,
        github::StepFiles,
        output::{Output, Volume},
    },
    config::{Config, number},
    error::Errors,
    report::{
        annotations, body,
        json::ImageRow,
        table::{Align, aligned},
    },
    untrusted::plain,
};

impl Run<'_> {
    pub(super) fn print_human(&self, reports: &Reports, output: &mut Output) {
        output.print(self.table());
        print_checks(&self.document.checks, self.config, output);
        let dash = |file: &Option<PathBuf>| file.as_deref() == Some(Path::new("-"));
        if !self.diff.is_empty() {
            output.print("\n");
            output.print_diff(&self.diff, dash(&reports.diff_file));
        }
        if let Some(body) = self
            .document
            .body
            .as_ref()
            .filter(|_| dash(&reports.body_file))
        {
            output.print("\n");
            output.print_body(body);
        }
    }

    pub(super) fn print_github(&self, reports: &Reports, cx: &mut Context) {
        let annotations = annotations::checks(&self.document.checks, &cx.output.folder);
        cx.output.annotate(&annotations);
        let dash = |file: &Option<PathBuf>| file.as_deref() == Some(Path::new("-"));
        let diff = dash(&reports.diff_file).then(|| self.diff.clone());
        let body = self.document.body.clone();
        let body = body
            .filter(|_| dash(&reports.body_file))
            .map(String::into_bytes);
        let table = self.table().into_bytes();
        for text in [Some(table), diff, body].into_iter().flatten() {
            if let Err(fault) = cx.output.print_unparsed(text) {
                cx.output.fault(&fault);
            }
        }
    }

    pub(super) fn write_step_files(&self, reports: &Reports, cx: &Context) -> Result<(), Errors> {
        let document = &self.document;
        let digests: serde_json::Map<String, serde_json::Value> = document
            .images
            .iter()
            .map(|image| (image.name.clone(), image.to.clone().into()))
            .collect();
        let path = |file: &Option<PathBuf>| {
            file.as_ref()
                .map_or_else(String::new, |f| f.to_string_lossy().into_owned())
        };
        let pull_request = document
            .pull_request
            .as_ref()
            .map_or_else(String::new, |pr| pr.number.to_string());
        let mut files = StepFiles::open(&cx.environment)?;
        files.outputs(&[
            ("kind", document.kind.to_owned()),
            ("revision", document.revision.clone()),
            ("changed", document.changed.to_string()),
            ("title", document.title.clone()),
            ("branch", document.branch.clone()),
            ("digests", serde_json::Value::Object(digests).to_string()),
            ("body-file", path(&reports.body_file)),
            ("diff-file", path(&reports.diff_file)),
            ("pull-request", pull_request),
        ])?;
        files.summary(
            &document
                .body
                .clone()
                .unwrap_or_else(|| body::refusal(document)),
        )
    }

    fn table(&self) -> String {
        let document = &self.document;
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
        let repository: Vec<_> = document.checks.iter().filter_map(repository_row).collect();
        for rows in [labels, repository] {
            if !rows.is_empty() {
                text.push('\n');
                text.push_str(&aligned(&[Align::Left, Align::Left, Align::Left], &rows));
            }
        }
        text
    }

    pub(super) fn closing(&self, exit: Exit) -> String {
        let document = &self.document;
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
        if let (Exit::Done, Some(skip)) = (exit, skipped) {
            return format!("skipped: {}", plain(&skip.detail));
        }
        match exit {
            _ if document.applied => format!(
                "\napplied: {count}; commit them with the message\n\n    {}\n\n    Repin-Set: {}",
                plain(&document.title),
                plain(&document.revision)
            ),
            Exit::Done if !document.changed => {
                "\nnothing to do: every pin is at this revision already".to_owned()
            }
            Exit::Done if self.ending == Ending::Rehearsed => {
                let branch = plain(&document.branch);
                format!(
                    "\ndry run: nothing was changed; the pull request of {branch} would change {count}"
                )
            }
            Exit::Done => format!("\ndry run: nothing was changed; --apply would change {count}"),
            Exit::Because(_) if self.ending == Ending::Begun => {
                "the pull request does not stand yet; run it again".to_owned()
            }
            Exit::Because(_) => "nothing was changed".to_owned(),
        }
    }
}

/// Prints checks that failed or warn; with `--verbose` the others too.
pub(in crate::cli) fn print_checks(checks: &[Check], config: &Config, output: &mut Output) {
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
                check.code.to_string(),
                plain(&subject),
                plain(&check.told()),
            ]
        };
        let rows: Vec<_> = checks.iter().map(row).collect();
        output.print(format!("\n{}", aligned(&[Align::Left; 4], &rows)));
    }
    for check in checks {
        match check.status {
            Status::Fail => output.error_text(&display::problem(
                &display::failed(check, config),
                output.error_colour,
            )),
            Status::Warn => {
                let subject = plain(&display::subject(check));
                output.error_text(&format!(
                    "warning[{}]: {subject}{}\n",
                    check.code,
                    plain(&check.told())
                ));
            }
            Status::Pass | Status::Skip => {}
        }
    }
}

/// What warns about the repository or could not be checked there: no image's row counts it.
fn repository_row(check: &Check) -> Option<Vec<String>> {
    let shown = matches!(check.status, Status::Warn | Status::Skip) && check.image.is_none();
    shown.then(|| {
        vec![
            check.status.as_str().to_owned(),
            check.code.to_string(),
            plain(&check.told()),
        ]
    })
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

/// How many of them came out how.
pub(in crate::cli) fn tally<'c>(checks: impl Iterator<Item = &'c Check>) -> String {
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
