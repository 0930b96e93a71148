//! Shows verdicts on contents.

use crate::{
    checks::Check,
    cli::{
        context::Context,
        exit::Exit,
        format::Format,
        render::{print_checks, print_skipped, tally},
    },
    config::Config,
    error::Error,
    report::{
        annotations,
        json::{InventoryDocument, InventoryImage},
        table::{Align, aligned},
    },
    untrusted::plain,
};

/// Prints the verdicts; problems in contracts and listings are shown at their places instead of as
/// checks.
pub(super) fn show(
    images: Vec<InventoryImage>,
    problems: Vec<Error>,
    exit: Exit,
    config: &Config,
    cx: &mut Context,
) -> Exit {
    if cx.output.format == Format::Json {
        cx.output.json(&InventoryDocument {
            schema: "repin.inventory/1",
            clean: exit == Exit::Done,
            images,
        });
        return exit;
    }
    let checks: Vec<Check> = images
        .iter()
        .flat_map(|image| image.checks.iter().cloned())
        .collect();
    let told = |check: &Check| problems.iter().any(|problem| problem.code == check.code);
    let others: Vec<_> = checks
        .iter()
        .filter(|check| !told(check))
        .cloned()
        .collect();
    let table = table(&images);
    if cx.output.format == Format::Github {
        let annotations = annotations::checks(&others, config, &cx.output.directory);
        cx.output.annotate(&annotations);
        // Foreign text in the table must not be taken for a command.
        if let Err(fault) = cx.output.print_unparsed(table) {
            return exit.worse(cx.output.fault(&fault));
        }
        if !problems.is_empty() {
            cx.output.fault(&problems.into());
        }
        return exit;
    }
    if !problems.is_empty() {
        cx.output.fault(&problems.into());
    }
    print_checks(&others, config, &mut cx.output);
    cx.output.print(table);
    print_skipped(&others, &mut cx.output);
    exit
}

fn table(images: &[InventoryImage]) -> String {
    let mut rows = vec![
        ["IMAGE", "PLATFORM", "DIGEST", "CHECKS"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(images.iter().map(|image| {
        let or_dash = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), plain);
        let digest = image
            .digest
            .as_deref()
            .map_or("-", |digest| digest.trim_start_matches("sha256:"));
        let digest: String = digest.chars().take(12).collect();
        vec![
            or_dash(&image.image),
            or_dash(&image.platform),
            digest,
            tally(image.checks.iter()),
        ]
    }));
    aligned(&[Align::Left; 4], &rows)
}
