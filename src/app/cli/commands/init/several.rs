//! One configuration for each of the directories, all written or none.
//!
//! The pins that existing configurations of the repository count. A new configuration must not count
//! them as well.
//!
//! The configurations are read from the work tree: git does not track one that `init` has just written.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{document, draft::Draft, next_step, question::Selection, remote::GitRemote};
use crate::{
    app::{
        cli::{
            context::Context,
            format::Format,
            output::Exit,
            write_file::{self, TargetFile},
        },
        report::{
            json::{AnyDocument, SetEntry, SetsDocument},
            layout::{Align, aligned},
        },
    },
    base::{
        error::{Code, Error, Errors},
        files::{RelPath, Survey, is_config_file, survey},
        text::{counted, few},
        untrusted::plain,
    },
    config,
    core::{
        configurations,
        pins::{
            self, Located, Pin,
            discover::{Discovery, discover},
        },
    },
    git::{self, top_of_repository},
};

/// The help if one of the files exists.
const EXISTS: &str = "remove it, or select the other directories with `repin init --each`";

/// The configurations to write.
pub(super) struct Proposal {
    /// None counts a pin of another one.
    pub(super) targets: Vec<Target>,
    /// Warnings about all of them.
    pub(super) warnings: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// The files of an environment.
pub(super) enum Scope<'p> {
    Below(&'p Path),
    Files(BTreeSet<&'p RelPath>),
}

impl Scope<'_> {
    pub(super) fn contains(&self, file: &RelPath) -> bool {
        match self {
            Self::Below(directory) => file.as_path().starts_with(directory),
            Self::Files(files) => files.contains(file),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Self::Below(directory) => directory.display().to_string(),
            Self::Files(files) => few(files.iter().map(ToString::to_string), LISTED),
        }
    }
}

/// A configuration, and its files.
pub(super) struct Target {
    pub(super) file: TargetFile,
    /// `None`: all files below its directory.
    files: Option<BTreeSet<RelPath>>,
}

impl Target {
    pub(super) fn new(file: &Path, root: &Path, scope: &Scope<'_>) -> Result<Self, Errors> {
        Ok(Self {
            file: TargetFile::new(file, root)?,
            files: match scope {
                Scope::Below(_) => None,
                Scope::Files(files) => Some(files.iter().map(|path| (*path).clone()).collect()),
            },
        })
    }
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
        existing.extend(target.file.refuse_existing(EXISTS).err());
    }
    if !existing.is_empty() {
        return Err(Errors::from(existing));
    }
    cx.services.shorten_waits();
    let mut drafts = Vec::new();
    let mut unavailable = None;
    for Target {
        file: target,
        files,
    } in &proposal.targets
    {
        let root = target.directory();
        let tree = git::work_tree_at(root);
        let mut discovery = discover(&tree, survey(root), None);
        let others = counted.remove_from(&mut discovery, root);
        if let Some(files) = files {
            discovery.split_off(|pin| files.contains(&*pin.file));
        }
        let mut chosen = selection.in_discovery(&discovery);
        if let Some(files) = files {
            let all = proposal
                .targets
                .iter()
                .filter_map(|target| target.files.as_ref());
            chosen.elsewhere = Some(
                all.flatten()
                    .filter(|file| !files.contains(file))
                    .cloned()
                    .collect(),
            );
        }
        chosen.unavailable.clone_from(&unavailable);
        let mut draft = Draft::new(&tree, &chosen, remote, target.name(), &cx.services)?;
        unavailable.clone_from(&draft.unavailable);
        draft.warnings.extend(others.as_deref().map(left_out));
        draft.warnings.extend(target.shadowing_warning());
        drafts.push(draft);
    }
    if !print_only {
        let texts = drafts.iter().map(|draft| draft.text.as_str());
        let targets = proposal.targets.iter().map(|target| &target.file);
        let files: Vec<_> = targets.zip(texts).collect();
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
    let targets: Vec<_> = proposal.targets.iter().map(|target| &target.file).collect();
    if cx.output.format == Format::Json {
        let mut sets = Vec::new();
        for (target, mut draft) in targets.into_iter().zip(drafts.drain(..)) {
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
            draft.files_with_pins.len().to_string(),
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
    let adopted: Vec<_> = targets.iter().copied().zip(&drafts).collect();
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
    for (Target { file: target, .. }, draft) in proposal.targets.iter().zip(drafts) {
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

/// The maximum number of configurations in a message.
const LISTED: usize = 10;

/// Each counted pin with its configuration.
#[derive(Default)]
pub(super) struct CountedPins {
    /// By file and offset.
    configurations: HashMap<(PathBuf, usize), Arc<str>>,
    /// One line for each configuration that cannot be read.
    pub(super) warnings: Vec<String>,
}

impl CountedPins {
    /// Searches the configurations of a survey of `root`, and those in the directories above it up to
    /// the top of the repository. Those of `replaced` do not count.
    pub(super) fn find(
        root: &Path,
        survey: &Survey,
        replaced: Option<&TargetFile>,
        current_directory: &Path,
    ) -> Self {
        let mut counted = Self::default();
        let below = configurations::of_survey(survey, root).into_iter();
        let mut configurations: BTreeSet<PathBuf> =
            below.map(|file| root.join(file.as_path())).collect();
        match configurations_above(root) {
            Ok(above) => configurations.extend(above),
            Err(reason) => counted.warnings.push(reason),
        }
        for file in configurations {
            if replaced.is_some_and(|target| target.file() == file) {
                continue;
            }
            let name = display_name(&file, current_directory);
            if let Err(errors) = counted.add(&file, &name) {
                let reasons: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
                let reasons = reasons.join("; ");
                counted.warnings.push(format!(
                    "the pins that {name} counts are unknown: {reasons}"
                ));
            }
        }
        counted
    }

    fn add(&mut self, file: &Path, name: &str) -> Result<(), Errors> {
        let config = config::load(file, name)?;
        if config.counts_pins().is_err() {
            // The configuration of a fleet counts no pins here.
            return Ok(());
        }
        let found = pins::find(&config.work_tree(), &config)?;
        let name: Arc<str> = name.into();
        for pin in found.pins() {
            let file = config.root.join(pin.file.as_path());
            let key = (file, pin.item.offset);
            self.configurations.insert(key, Arc::clone(&name));
        }
        Ok(())
    }

    /// Removes the counted pins from a discovery below `root`, and returns their numbers as text: `a.yaml
    /// counts 2 pins`.
    pub(super) fn remove_from(&self, discovery: &mut Discovery, root: &Path) -> Option<String> {
        let removed = discovery.split_off(|pin| self.configuration_of(root, pin).is_none());
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        for pin in &removed {
            *numbers
                .entry(self.configuration_of(root, pin)?)
                .or_default() += 1;
        }
        let configurations = numbers
            .iter()
            .map(|(name, pins)| format!("{name} counts {}", counted(*pins, "pin")));
        (!removed.is_empty()).then(|| few(configurations, LISTED))
    }

    /// The configuration that counts a pin of a file below `root`.
    pub(super) fn configuration_of(&self, root: &Path, pin: &Located<Pin>) -> Option<&str> {
        let key = (root.join(pin.file.as_path()), pin.item.offset);
        self.configurations.get(&key).map(|name| &**name)
    }
}

/// The error if every pin of the set is counted.
pub(super) fn all_counted(numbers: &str) -> Errors {
    let message = format!("another configuration counts every pin of the set: {numbers}");
    let help = "to count them in a new configuration, first exclude their files in `files` of the other one, or remove it";
    Errors::from(Error::input(Code::INIT, message).help(help))
}

/// The warning about the pins that [`CountedPins::remove_from`] removed.
pub(super) fn left_out(numbers: &str) -> String {
    format!("not counted, because another configuration counts these pins: {numbers}")
}

/// The configuration files in the directories above `root`, up to the top of the repository, or the
/// reason why they are unknown.
fn configurations_above(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let Some(top) = top_of_repository(root) else {
        return Ok(files);
    };
    for directory in root.ancestors() {
        // The files of the root itself are listed below it.
        if directory != root {
            let unread = |error| {
                let directory = directory.display();
                format!("the pins that configurations in {directory} count are unknown: {error}")
            };
            for entry in fs::read_dir(directory).map_err(unread)? {
                let path = entry.map_err(unread)?.path();
                if path.is_file() && is_config_file(&path) {
                    files.push(path);
                }
            }
        }
        if directory == top {
            break;
        }
    }
    Ok(files)
}

/// The path for messages: relative, if the file is below the current directory or next to one of the
/// directories above it.
fn display_name(file: &Path, current_directory: &Path) -> String {
    for (level, directory) in current_directory.ancestors().enumerate() {
        if let Ok(relative) = file.strip_prefix(directory) {
            return format!("{}{}", "../".repeat(level), relative.display());
        }
    }
    file.display().to_string()
}
