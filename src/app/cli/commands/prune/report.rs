//! The output of `repin prune`.

use crate::{
    app::{
        cli::{
            context::Context,
            format::{Format, Volume},
            job::StepFiles,
            output::Output,
        },
        report::prune::{
            ImageOutcome, KeepTagState, PruneDocument, deletion, summary, text, warnings,
        },
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
        DeletionEvent::Unfinished(candidate) => ("not finished:", candidate),
        DeletionEvent::Attached(digest, candidate) => {
            let (repository, subject) = (&outcome.repository, candidate.version.digest);
            let line = format!("deleted {repository}@{digest}, which is attached to {subject}");
            output.write_stderr(&format!("{}\n", plain(&line)));
            return;
        }
    };
    let deletion = output.local(&plain(&deletion(outcome, candidate)));
    output.write_stderr(&format!("{label} {deletion}\n"));
}

pub(super) fn report(
    images: &[ImageOutcome],
    applied: bool,
    unread: &[Warning],
    tags: bool,
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
        step.summary(&summary(images, applied, unread))?;
    }
    let output = &mut cx.output;
    if output.format == Format::Json {
        output.print_json(&PruneDocument::new(images, applied, unread));
        return Ok(());
    }
    for image in images {
        output.print_text(&text(image, output.volume >= Volume::Verbose));
    }
    report_errors(images, unread, cx);
    let conclusion = if tags {
        tag_conclusion(images, applied)
    } else {
        conclusion(images, applied, deleted)
    };
    cx.output.note(&conclusion);
    Ok(())
}

/// Reports warnings and refusals on standard error. `unread`: the warnings about the whole run.
pub(super) fn report_errors(images: &[ImageOutcome], unread: &[Warning], cx: &mut Context) {
    let output = &mut cx.output;
    for Warning { code, detail } in unread {
        warn(code.as_str(), detail, detail, output);
    }
    let mut refusals = Vec::new();
    for image in images {
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
}

/// The conclusion of `--tag-protected`.
fn tag_conclusion(images: &[ImageOutcome], applied: bool) -> String {
    let count = |state: KeepTagState| {
        let tags = images.iter().flat_map(|image| &image.protected_tags);
        tags.filter(|tag| tag.state == state).count()
    };
    let (set, missing) = (count(KeepTagState::Set), count(KeepTagState::Missing));
    let refused = images.iter().any(|image| image.refusal.is_some());
    match (applied, refused) {
        (true, false) => format!("tagged: {}", counted(set, "protected digest")),
        (true, true) => format!(
            "stopped after {set} of {} tags; fix the cause and run the command again",
            set + missing
        ),
        (false, true) => "no tag was set".to_owned(),
        (false, false) if missing == 0 => "every protected digest has its tag".to_owned(),
        (false, false) => format!(
            "dry run: no tag was set; --apply would tag {}",
            counted(missing, "protected digest")
        ),
    }
}

/// Prints a warning: `text`, and for GitHub an annotation with `title` and `detail`.
fn warn(title: &str, detail: &str, text: &str, output: &mut Output) {
    if output.format == Format::Github {
        let mut commands = Commands::default();
        commands.annotate(Level::Warning, title, detail, None);
        output.annotate(&commands);
    }
    output.warn(&plain(text));
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
