//! The pins that existing configurations of the repository count. A new configuration must not count
//! them as well.
//!
//! The configurations are read from the work tree: git does not track one that `init` has just written.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    app::cli::write_file::TargetFile,
    base::{
        code::Code,
        error::{Error, Errors},
        files::{Survey, is_config_file},
        text::{counted, few},
    },
    config,
    core::{
        configurations,
        pins::{self, Located, Pin, discover::Discovery},
    },
    git::top_of_repository,
};

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
