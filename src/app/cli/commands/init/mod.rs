//! `repin init`: writes a first configuration from the existing pins.
//!
//! The set is chosen from the pinned repositories, with a prompt on a terminal if the choice is
//! uncertain. The scanner checks the text before it is written. If the digests differ between
//! directories, or with `--each`, each directory gets a configuration. An existing file is replaced
//! only with `--force`; `--update` changes only its counts and adds files.

mod draft;
mod next_step;
mod pin;
mod question;
mod remote;
mod separation;
mod several;
mod tag_form;
mod update;

use std::path::{Path, PathBuf};

use clap::Args;
use draft::Draft;
use question::Selection;
use remote::GitRemote;
use several::CountedPins;

use crate::{
    app::{
        cli::{
            args::strict_bool,
            context::Context,
            format::Format,
            output::Exit,
            write_file::{self, REPLACE, TargetFile},
        },
        report::{
            json::InitDocument,
            layout::{Align, aligned},
        },
    },
    base::{
        error::Errors,
        files::{RelPath, WorkTree, survey},
        text::counted,
        untrusted::plain,
    },
    core::{
        configurations::is_left_out,
        pins::discover::{Discovery, discover},
    },
    git::{self, GitError},
};

const HELP: &str = "\
The pinned images of one owner become the set: the owner of the git remote, or otherwise the most likely owner. If the \
choice is uncertain, repin prompts on a terminal; without a terminal, it marks the choice in the file. If the digests of an \
image differ between directories, each of these directories gets its own configuration, unless --config is given. An \
existing file is overwritten only with --force; --update changes the counts in it, adds files with pins that no glob matches, \
and shows the difference. --pin shows the digests that images with only a tag would get; --apply writes them.

Examples:
  repin init
  repin init --each 'envs/*'   # one configuration for each environment
  repin init --update          # after a pin was added or removed on purpose
  repin init --pin             # show the digests of images that have only a tag
  repin init --pin --apply     # write them
  repin init --dry-run true    # print the file instead of writing it";

/// Create a commented repin.yaml from the pins in the repository
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// Print the file instead of writing it; an omitted or empty BOOL means true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, num_args = 0..=1, default_missing_value = "true")]
    dry_run: Option<bool>,
    /// Write one configuration in each directory that matches GLOB
    #[arg(long, value_name = "GLOB", num_args = 1.., conflicts_with_all = ["force", "update"])]
    each: Vec<String>,
    /// Overwrite an existing file
    #[arg(long, conflicts_with = "update")]
    force: bool,
    /// Count the pins of an existing file again, and add files with pins that no glob matches
    #[arg(long)]
    update: bool,
    /// Show the digests that images with only a tag would get, in repositories that match GLOB (default: all)
    #[arg(long, value_name = "GLOB", num_args = 0.., conflicts_with_all = ["each", "force", "update"])]
    pin: Option<Vec<String>>,
    /// With --pin, write the digests
    #[arg(long, requires = "pin")]
    apply: bool,
}

/// The pins below a directory.
struct PinnedTree {
    root: PathBuf,
    tree: WorkTree,
    discovery: Discovery,
    /// The directories below the root, without those of third-party code.
    directories: Vec<RelPath>,
    counted: CountedPins,
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    if let Some(globs) = &args.pin {
        let apply = cx.may_change(args.apply, args.dry_run)?;
        return pin::run(globs, apply, cx);
    }
    let print_only = args.dry_run == Some(true) || cx.is_dry_run_forced()?;
    if args.update {
        return update::run(print_only, cx);
    }
    if !args.each.is_empty() {
        return separation::run_each(&args.each, print_only, cx);
    }
    let target = TargetFile::new(&cx.new_config(), cx.services.environment.directory())?;
    if !(print_only || args.force) {
        target.refuse_existing(REPLACE)?;
    }
    let mut pinned = PinnedTree::search(target.directory(), Some(&target), cx);
    if pinned.has_no_pins() {
        return Err(pin::only_tags(&pinned, cx));
    }
    let remote = GitRemote::read(&pinned.root);
    let selection = Selection::choose(&pinned.discovery, &remote, cx)?;
    // With `--config`, the user requests one configuration.
    if !cx.has_config_option()
        && let Some(proposal) = separation::differing(&pinned, &selection, &target, print_only)?
    {
        return several::run(
            &proposal,
            &pinned.counted,
            &selection,
            &remote,
            print_only,
            cx,
        );
    }
    let note = separation::note(&pinned, &selection, &target, !print_only);
    let unsearched = pinned.unsearched(cx);
    let counted = pinned
        .counted
        .remove_from(&mut pinned.discovery, &pinned.root);
    let chosen = selection.in_discovery(&pinned.discovery);
    if chosen.members.is_empty() {
        return Err(several::all_counted(&counted.unwrap_or_default()));
    }
    cx.services.shorten_waits();
    let services = &cx.services;
    let mut draft = Draft::new(&pinned.tree, &chosen, &remote, target.name(), services)?;
    draft.warnings.splice(0..0, pinned.counted.warnings);
    draft
        .warnings
        .extend(counted.as_deref().map(several::left_out));
    draft.warnings.extend(target.shadowing_warning());
    draft.notes.extend(note.into_iter().chain(unsearched));
    if !print_only {
        let name = plain(target.display_name());
        let step = cx
            .services
            .interruption
            .step(format!("{name} may have been written"));
        write_file::write(&target, &draft.text, args.force)?;
        step.done(format!("{name} was written"));
    }
    report(draft, &target, !print_only, cx);
    Ok(Exit::Done)
}

impl PinnedTree {
    fn has_no_pins(&self) -> bool {
        let mut repositories = self.discovery.repositories.iter();
        repositories.all(|pinned| pinned.pins.is_empty())
    }

    /// The note that a part of the repository was not searched, unless `--config` selects the directory.
    fn unsearched(&self, cx: &Context) -> Option<String> {
        let top = git::top_of_repository(&self.root).filter(|top| *top != self.root)?;
        (!cx.has_config_option()).then(|| {
            format!(
                "only the files below {} were searched; for those of the whole repository, run `repin init` in {}",
                self.root.display(),
                top.display()
            )
        })
    }

    /// Searches the files below `root`. The file that is to be replaced is ignored, with its pins and its counts.
    fn search(root: &Path, replaced: Option<&TargetFile>, cx: &Context) -> Self {
        let tree = git::work_tree_at(root);
        let mut survey = survey(root);
        let directories = std::mem::take(&mut survey.directories);
        let current_directory = cx.services.environment.directory();
        let mut counted = CountedPins::find(root, &survey, replaced, current_directory);
        counted.warnings.extend(sparse_warning(root));
        let discovery = discover(&tree, survey, replaced.map(TargetFile::name));
        Self {
            root: root.to_owned(),
            tree,
            discovery,
            directories,
            counted,
        }
    }
}

/// The warning about tracked files below `root` that the sparse checkout leaves out.
fn sparse_warning(root: &Path) -> Option<String> {
    let mut tracked = match git::tracking(root, &[]) {
        Ok(tracking) => tracking.tracked,
        Err(GitError::NoGit | GitError::NotARepository(_) | GitError::NoWorkTree(_)) => {
            return None;
        }
        Err(error) => return Some(format!("cannot list the files that git tracks: {error}")),
    };
    tracked.retain(|file| is_left_out(file, root));
    (!tracked.is_empty()).then(|| {
        format!(
            "{} not searched, because the sparse checkout leaves them out: `git sparse-checkout disable` includes them",
            counted(tracked.len(), "tracked file")
        )
    })
}

/// `repin.init/1` of a configuration.
fn document(draft: Draft, path: &str, written: bool) -> InitDocument {
    let mut warnings = draft.warnings;
    warnings.extend(draft.notes);
    InitDocument {
        schema: "repin.init/1",
        path: path.to_owned(),
        written,
        images: draft.images,
        files: draft.files,
        others: draft.others,
        warnings,
        content: draft.text,
        diff: None,
    }
}

fn report(draft: Draft, target: &TargetFile, written: bool, cx: &mut Context) {
    let path = target.display_name();
    for warning in &draft.warnings {
        cx.output
            .write_stderr(&format!("warning: {}\n", plain(warning)));
    }
    if cx.output.format == Format::Json {
        return cx.output.print_json(&document(draft, path, written));
    }
    if written {
        let mut rows = vec![["IMAGE", "REPOSITORY", "PINS"].map(str::to_owned).to_vec()];
        for image in &draft.images {
            rows.push(vec![
                image.name.clone(),
                image.repository.to_string(),
                image.pins.to_string(),
            ]);
        }
        let table = aligned(&[Align::Left, Align::Left, Align::Right], &rows);
        cx.output.print(format!(
            "wrote {}: {}\n\n{table}",
            plain(path),
            draft.summary()
        ));
    } else {
        cx.output.print(&draft.text);
    }
    for note in &draft.notes {
        cx.output.note(&format!("note: {}", plain(note)));
    }
    cx.output.note(&if written {
        next_step::of_one(target, &draft)
    } else {
        format!("dry run: {} was not written", plain(path))
    });
}
