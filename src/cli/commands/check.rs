//! `repin check`: counts exact, digests well-formed, all pins of an image alike. Without a single request.

use crate::{
    checks::{self, Status},
    cli::{
        context::Context,
        exit::{Exit, Fault},
        output::Format,
    },
    files::WorkTree,
    pins,
    report::{annotations, json::CheckDocument},
};

pub(in crate::cli) fn run(cx: &mut Context) -> Result<Exit, Fault> {
    let config = cx.load()?;
    super::recover::mention(&config, &cx.output);
    let found = pins::find(&WorkTree::new(&config.root), &config)?;
    let mut verdict = checks::counts(&config, &found);
    verdict.extend(checks::agreement(&config, &found, Status::Fail));
    let exit = if checks::any_failed(&verdict) { Exit::Failed } else { Exit::Done };
    match cx.output.format {
        Format::Json => cx.output.json(&CheckDocument::new(verdict)),
        Format::Human | Format::Github => {
            if cx.output.format == Format::Github {
                let annotations = annotations::checks(&verdict, &cx.output.folder);
                cx.output.print(annotations);
            }
            super::set::print_checks(&verdict, &config, &mut cx.output);
            if exit == Exit::Done {
                cx.output.print(format!("clean: {} pins in {} files\n", found.pins.len(), found.files));
            }
        }
    }
    Ok(exit)
}
