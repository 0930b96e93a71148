//! One configuration for each of the directories, all written or none.

use std::collections::HashSet;

use super::{
    counted::{self, CountedPins},
    document,
    draft::Draft,
    next_step,
    remote::GitRemote,
    selection::Selection,
};
use crate::{
    app::{
        cli::{
            context::Context,
            exit::Exit,
            format::Format,
            write_file::{self, TargetFile},
        },
        report::{
            json::{AnyDocument, SetEntry, SetsDocument},
            layout::{Align, aligned},
        },
    },
    base::{error::Errors, files::survey, text::counted, untrusted::plain},
    core::pins::discover::discover,
    git,
};

/// The help if one of the files exists.
const EXISTS: &str = "remove it, or select the other directories with `repin init --each`";

/// The configurations to write.
pub(super) struct Proposal {
    /// One in each directory; none contains another one.
    pub(super) targets: Vec<TargetFile>,
    /// Warnings about all of them.
    pub(super) warnings: Vec<String>,
    pub(super) notes: Vec<String>,
}

pub(super) fn run(
    proposal: &Proposal,
    counted: &CountedPins,
    selection: &Selection,
    remote: &GitRemote,
    print_only: bool,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let mut existing = Vec::new();
    for target in &proposal.targets {
        existing.extend(target.refuse_existing(EXISTS).err());
    }
    if !existing.is_empty() {
        return Err(Errors::from(existing));
    }
    cx.services.shorten_waits();
    let mut drafts = Vec::new();
    let mut unavailable = None;
    for target in &proposal.targets {
        let root = target.directory();
        let tree = git::work_tree_at(root);
        let mut discovery = discover(&tree, survey(root), None);
        let others = counted.remove_from(&mut discovery, root);
        let mut chosen = selection.in_discovery(&discovery);
        chosen.unavailable.clone_from(&unavailable);
        let mut draft = Draft::new(&tree, &chosen, remote, target.name(), &cx.services)?;
        unavailable.clone_from(&draft.unavailable);
        draft
            .warnings
            .extend(others.as_deref().map(counted::left_out));
        draft.warnings.extend(target.shadowing_warning());
        drafts.push(draft);
    }
    if !print_only {
        let texts = drafts.iter().map(|draft| draft.text.as_str());
        let files: Vec<_> = proposal.targets.iter().zip(texts).collect();
        let interruption = &cx.services.interruption;
        let step = interruption.step("some of the configurations may have been written");
        write_file::write_new(&files, EXISTS)?;
        step.done("the configurations were written");
    }
    report(proposal, drafts, !print_only, cx);
    Ok(Exit::Done)
}

fn report(proposal: &Proposal, mut drafts: Vec<Draft>, written: bool, cx: &mut Context) {
    print_warnings(proposal, &drafts, cx);
    let targets = &proposal.targets;
    if cx.output.format == Format::Json {
        let mut sets = Vec::new();
        for (target, mut draft) in targets.iter().zip(drafts.drain(..)) {
            draft.warnings.extend(proposal.warnings.iter().cloned());
            draft.notes.extend(proposal.notes.iter().cloned());
            sets.push(SetEntry {
                set_path: draft.set_path.clone(),
                document: Some(AnyDocument::Init(document(
                    draft,
                    target.display_name(),
                    written,
                ))),
            });
        }
        let schema = "repin.sets/1";
        return cx.output.print_json(&SetsDocument {
            schema,
            sets,
            checks: Vec::new(),
        });
    }
    let mut rows = vec![
        ["SET PATH", "IMAGES", "PINS", "FILES"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (target, draft) in targets.iter().zip(&drafts) {
        if !written {
            let name = plain(target.display_name());
            cx.output
                .print(format!("==> {name} <==\n\n{}\n", draft.text));
        }
        rows.push(vec![
            plain(&draft.set_path.to_string()),
            draft.images.len().to_string(),
            draft.pins().to_string(),
            draft.files_with_pins.to_string(),
        ]);
    }
    let align = [Align::Left, Align::Right, Align::Right, Align::Right];
    let table = aligned(&align, &rows);
    let count = counted(drafts.len(), "configuration");
    if written {
        cx.output.print(format!("wrote {count}\n\n{table}"));
    } else {
        cx.output.print(table);
    }
    for note in &proposal.notes {
        cx.output.note(&format!("note: {}", plain(note)));
    }
    let paths = targets.iter().map(TargetFile::display_name);
    let adopted: Vec<_> = paths.zip(&drafts).collect();
    cx.output.note(&if written {
        next_step::of_several(&adopted)
    } else {
        format!("dry run: {count} would be written; nothing was changed")
    });
}

/// Prints each warning once: without a path if it is about all configurations.
fn print_warnings(proposal: &Proposal, drafts: &[Draft], cx: &Context) {
    let mut printed = HashSet::new();
    for warning in &proposal.warnings {
        cx.output
            .write_stderr(&format!("warning: {}\n", plain(warning)));
    }
    for (target, draft) in proposal.targets.iter().zip(drafts) {
        for warning in &draft.warnings {
            let is_common = drafts.iter().all(|draft| draft.warnings.contains(warning));
            if is_common && !printed.insert(warning) {
                continue;
            }
            let subject = if is_common && drafts.len() > 1 {
                String::new()
            } else {
                format!("{}: ", plain(target.display_name()))
            };
            let warning = plain(warning);
            cx.output
                .write_stderr(&format!("warning: {subject}{warning}\n"));
        }
    }
}
