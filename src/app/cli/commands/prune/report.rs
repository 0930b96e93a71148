//! The output of `repin prune`.

use crate::{
    app::{
        cli::{
            context::Context,
            format::{Format, Volume},
            output::Output,
            write_file::StepFiles,
        },
        report::prune::{ImageOutcome, PruneDocument, deletion, summary, text, warnings},
    },
    base::{
        error::{Code, Error, Errors},
        text::counted,
        untrusted::{
            plain,
            workflow::{Commands, Level},
        },
    },
    prune::{Warning, apply::DeletionEvent},
};

/// Reports each deletion immediately, even with `--quiet`, because the line contains the information that
/// undoes it.
pub(super) fn log(event: &DeletionEvent<'_>, outcome: &ImageOutcome, output: &Output) {
    let (label, candidate) = match event {
        DeletionEvent::Next => return,
        DeletionEvent::Deleted(candidate) => ("deleted", candidate),
        DeletionEvent::Unverified(candidate) => ("deletion not verified:", candidate),
        // Another process deleted the version, or repin did and the response was lost.
        DeletionEvent::Skipped(candidate) => ("already deleted:", candidate),
    };
    let deletion = plain(&deletion(outcome, candidate));
    output.write_stderr(&format!("{label} {deletion}\n"));
}

pub(super) fn report(
    images: &[ImageOutcome],
    applied: bool,
    warning: Option<&Warning>,
    step: &mut Option<StepFiles>,
    cx: &mut Context,
) -> Result<(), Errors> {
    let deleted: usize = images
        .iter()
        .filter_map(|image| image.applied.as_ref())
        .map(|applied| applied.deleted.len())
        .sum();
    let changed = if applied {
        deleted > 0
    } else {
        images.iter().any(ImageOutcome::would_delete)
    };
    if let Some(step) = step {
        step.outputs(&[
            ("kind", "prune".to_owned()),
            ("changed", changed.to_string()),
        ])?;
        step.summary(&summary(images, applied, warning))?;
    }
    let output = &mut cx.output;
    if output.format == Format::Json {
        output.print_json(&PruneDocument::new(images, applied, warning));
        return Ok(());
    }
    if let Some(warning) = warning {
        let Warning { code, detail } = warning;
        warn(code.as_str(), detail, detail, output);
    }
    let mut refusals = Vec::new();
    for image in images {
        output.print(text(image, output.volume >= Volume::Verbose));
        for warning in warnings(image) {
            let title = format!("{} ({})", warning.code, image.name);
            let text = format!("{}: {}", image.name, warning.detail);
            warn(&title, &warning.detail, &text, output);
        }
        let Some(refusal) = &image.refusal else {
            continue;
        };
        if refusal.code == Code::SKIP {
            output.note(&format!("{}: {}", image.name, plain(&refusal.text())));
            continue;
        }
        // Only the subject contains the name, so that a shared cause is reported once.
        refusals.push(Error {
            subject: Some(match &refusal.subject {
                Some(subject) => format!("{}: {subject}", image.name),
                None => image.name.clone(),
            }),
            ..refusal.clone()
        });
    }
    if !refusals.is_empty() {
        output.report_errors(&Errors::from(refusals));
        output.print_explain_hint();
    }
    output.note(&conclusion(images, applied, deleted));
    Ok(())
}

/// Prints a warning: `text`, and for GitHub an annotation with `title` and `detail`.
fn warn(title: &str, detail: &str, text: &str, output: &mut Output) {
    if output.format == Format::Github {
        let mut commands = Commands::default();
        commands.annotate(Level::Warning, title, detail, None);
        output.annotate(&commands);
    }
    output.write_stderr(&format!("warning: {}\n", plain(text)));
}

fn conclusion(images: &[ImageOutcome], applied: bool, deleted: usize) -> String {
    let candidates: usize = images
        .iter()
        .filter_map(|image| image.verdict.as_ref())
        .map(|verdict| verdict.candidates.len())
        .sum();
    let refused = images.iter().any(|image| image.refusal.is_some());
    match (applied, refused) {
        (true, false) => format!("deleted: {}", counted(deleted, "version")),
        (true, true) => format!(
            "stopped after {deleted} of {candidates} deletions; fix the cause and run the command again"
        ),
        (false, true) => "nothing was deleted".to_owned(),
        (false, false) if candidates == 0 => "nothing to delete".to_owned(),
        (false, false) => {
            let candidates = counted(candidates, "version");
            format!(
                "dry run: nothing was deleted; --apply would delete {candidates} (deleting a digest deletes all of its \
                 tags)"
            )
        }
    }
}
