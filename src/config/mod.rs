//! The configuration file `repin.yaml`: search, parser and rules.
//!
//! `yaml` parses the text into a tree with places, and `reader` extracts values from the tree and
//! collects problems. Each block declares its keys in its own file, by the macros of `keys`;
//! `top_level` has the whole file. The command line and the environment belong to `cli`.

mod branches;
pub(crate) mod duration;
mod forge;
mod image_settings;
mod images;
pub(crate) mod keys;
mod places;
mod prune;
pub(crate) mod reader;
mod report;
mod revision;
mod set_path;
mod smoke;
mod stage;
mod template;
#[cfg(test)]
pub(crate) mod tests;
mod top_level;
pub(crate) mod types;
mod verify;
pub(crate) mod yaml;

use crate::{
    base::{
        error::{Error, SourceText},
        files::{
            FILE_FLAGS, MAX_CONFIG_SIZE, OpenDirectory, RelPath, Unopened, WorkTree, is_config_file,
        },
        untrusted::shell,
    },
    git::{self, top_of_repository},
};
use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::ffi::OsStringExt as _,
    path::{Component, Path, PathBuf},
};

use rustix::fs::Mode;

use super::base::error::Code;

pub(crate) use report::{ChangeParts, FormerSet, Freshness, Report};

pub(crate) use forge::{
    DispatchWhen, DispatchedWorkflow, Fleet, FleetHistory, Forge, ForgeKind, OwnPolicy,
    WhenUnconfigured, is_owner_name,
};
pub(crate) use images::{Image, ImageInventory};
pub(crate) use places::{
    CommentPolicy, DefaultFiles, KUSTOMIZATIONS, KeysRule, Owner, PinPlace, PlaceKind, PlaceSpans,
    Step, TextKind, YamlKind, above_templates, places_of,
};
pub(crate) use prune::{AlsoPinned, COMMIT_TAGS, ForkPolicy, Prune, PruneBackend};
pub(crate) use reader::{nearest, nearest_words};
pub(crate) use revision::{OrderPolicy, Revisions};
pub(crate) use set_path::SetPath;
pub(crate) use smoke::{Engine, Smoke, WhenUnavailable};
pub(crate) use stage::{Operation, OtherRepositorySet, SourceRepository, Stage, StageSet};
#[cfg(any(test, fuzzing))]
pub(crate) use template::Placeholders;
pub(crate) use template::{ABBREVIATIONS, RevisionLength, RevisionTagError, TagTemplate};
pub(crate) use template::{Override, Template, Trailer};
pub(crate) use top_level::{Config, IgnoredFiles, OutsidePolicy, parse, parse_past, schema};

/// The name of a configuration file.
pub(crate) const FILE_NAME: &str = "repin.yaml";

/// Whether a file may be a past configuration of a set, whose configuration may have a name that only
/// `--config` selects.
pub(crate) fn is_config_file_of(path: &Path, current: &SetPath) -> bool {
    let current = current.as_path();
    is_config_file(path) || (!is_config_file(current) && path.file_name() == current.file_name())
}

/// A frequent misspelling of [`FILE_NAME`]. Only `--config` selects it.
pub(crate) const MISSPELLED_NAME: &str = "repin.yml";

/// Parses the content of a configuration file with `parse`. Returns the reason if it is malformed.
pub(crate) fn parse_bytes(
    bytes: Vec<u8>,
    name: &str,
    root: &Path,
    set_path: &SetPath,
    parse: fn(&SourceText, &Path, &SetPath) -> Result<Config, Vec<Error>>,
) -> Result<Config, String> {
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let source = SourceText {
        name: name.to_owned(),
        text: text.into(),
    };
    parse(&source, root, set_path).map_err(|errors| match errors.first() {
        Some(error) => error.to_string(),
        None => "it is malformed".to_owned(),
    })
}

/// Finds the nearest `repin.yaml` in `directory` or above. A symbolic link is found as well, so that
/// it is refused and not skipped.
pub(crate) fn find(directory: &Path) -> Option<PathBuf> {
    for directory in directory.ancestors() {
        let file = directory.join(FILE_NAME);
        let is_found = file
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.is_file() || metadata.is_symlink());
        if is_found {
            return Some(file);
        }
    }
    None
}

/// Finds each `repin.yml` from `directory` upward, up to the nearest `repin.yaml`.
pub(crate) fn misspelled(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in directory.ancestors() {
        let file = directory.join(MISSPELLED_NAME);
        if file.is_file() {
            found.push(file);
        }
        if directory.join(FILE_NAME).is_file() {
            break;
        }
    }
    found
}

/// The reason that a configuration file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Selection {
    /// [`find`] found it.
    Search,
    /// The user passed its path.
    Path,
}

/// Loads a configuration that [`find`] found; its directory becomes the root. `name` is its name in
/// messages.
pub(crate) fn load(file: &Path, name: &str) -> Result<Config, Vec<Error>> {
    load_file(file, name, Selection::Search)
}

/// A configuration at the top of a repository.
#[cfg(test)]
pub(crate) fn example(text: &str) -> Config {
    let source = SourceText {
        name: FILE_NAME.to_owned(),
        text: text.into(),
    };
    parse(&source, Path::new("/root"), &SetPath::top()).unwrap()
}

/// The option `--config` that selects a file, with a space before it, for commands in messages.
pub(crate) fn option(file: &str) -> String {
    format!(" --config {}", shell(file))
}

/// The same; empty for the file that commands find without the option.
pub(crate) fn option_unless_default(file: &str) -> String {
    if file == FILE_NAME {
        String::new()
    } else {
        option(file)
    }
}

/// Loads a configuration from a path that the user passed. Outside a git repository, the path may
/// contain links.
pub(crate) fn load_chosen(file: &Path, name: &str) -> Result<Config, Vec<Error>> {
    load_file(file, name, Selection::Path)
}

fn load_file(file: &Path, name: &str, selection: Selection) -> Result<Config, Vec<Error>> {
    let error = |message: String| vec![Error::input(Code::CONFIG, message)];
    let help = |message: String, help: &str| vec![Error::input(Code::CONFIG, message).help(help)];
    let check_path = "check the path and its permissions, or write the file with `repin init`";
    let unreadable = |reason: Unopened| {
        let message = format!("cannot read the configuration {name}: {reason}");
        match reason {
            Unopened::Special if file.is_dir() => {
                let directory = name.trim_end_matches('/');
                help(
                    format!("the configuration {name} is a directory"),
                    &format!("pass a file, such as {directory}/{FILE_NAME}"),
                )
            }
            Unopened::Special => error(format!("the configuration {name} is not a file")),
            Unopened::Symlink | Unopened::NotADirectory => help(
                message,
                "replace the link by the file, or pass the file with --config",
            ),
            _ => help(message, check_path),
        }
    };
    let (opened, metadata) = open(file, selection).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(Unopened::Special));
    }
    if metadata.len() > MAX_CONFIG_SIZE {
        return Err(error(format!(
            "the configuration {name} is larger than 1 MiB"
        )));
    }
    let mut bytes = Vec::new();
    opened
        .take(MAX_CONFIG_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(Unopened::Io(error)))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let message = format!("the configuration {name} is not UTF-8 (from byte {offset} on)");
        help(message, "save the file as UTF-8")
    })?;
    let absolute = std::path::absolute(file).map_err(|error| {
        let message = format!("cannot determine the absolute path of {name}: {error}");
        help(message, check_path)
    })?;
    let source = SourceText {
        name: name.to_owned(),
        text: text.into(),
    };
    let set = set_path(&absolute).map_err(|error| {
        let message = format!("cannot determine the repository of {name}: {error}");
        vec![Error::input(Code::CONFIG, message)]
    })?;
    parse(&source, absolute.parent().unwrap_or(Path::new("/")), &set)
}

/// The identity of the set of a configuration file: outside of a repository, the name of the file.
pub(crate) fn set_path(file: &Path) -> io::Result<SetPath> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidFilename);
    let name = file.file_name().ok_or_else(invalid)?;
    // As git does, for a directory that a symbolic link leads to.
    let root = file.parent().unwrap_or(Path::new("/")).canonicalize()?;
    let path = match top_of_repository(&root) {
        Some(top) => root.strip_prefix(top).unwrap_or(&root).join(name),
        None => PathBuf::from(name),
    };
    SetPath::new(&path).map_err(|_| invalid())
}

/// Opens a configuration file. In a git repository, no link below the top of the work tree is
/// followed, because the tree may be that of a pull request.
fn open(file: &Path, selection: Selection) -> Result<(File, Metadata), Unopened> {
    let file = normalized(file).map_err(Unopened::Io)?;
    let directory = file.parent().unwrap_or(Path::new("/"));
    let top = match (top_of_repository(directory), selection) {
        (Some(work_tree), _) => work_tree,
        (None, Selection::Search) => directory,
        (None, Selection::Path) => {
            // Opening a pipe must not block; the caller refuses it.
            let opened = rustix::fs::open(&file, FILE_FLAGS, Mode::empty());
            let opened = opened.map_err(Unopened::from)?;
            let opened = File::from(opened);
            let metadata = opened.metadata().map_err(Unopened::Io)?;
            return Ok((opened, metadata));
        }
    };
    let relative = file.strip_prefix(top).map_err(|_| Unopened::Special)?;
    let path = RelPath::new(relative).map_err(|_| Unopened::Special)?;
    OpenDirectory::new(top).map_err(Unopened::Io)?.open(&path)
}

/// An absolute path without `.` and `..`; a symbolic link before `..` is resolved.
fn normalized(path: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::from("/");
    for component in std::path::absolute(path)?.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                if clean.symlink_metadata()?.is_symlink() {
                    clean = clean.canonicalize()?;
                }
                clean.pop();
            }
            _ => {}
        }
    }
    Ok(clean)
}

impl Config {
    /// The literal directories of `files:` and `places:`; none if ignored files are included.
    pub(crate) fn searched_directories(&self) -> Vec<PathBuf> {
        if self.files_ignored == IgnoredFiles::Include {
            Vec::new()
        } else {
            self.scanned.literal_directories().collect()
        }
    }

    /// The files of the root without ignored files, unless the configuration includes them.
    pub(crate) fn work_tree(&self) -> WorkTree {
        git::work_tree(&self.root, &self.searched_directories())
    }

    /// The paths below which files are searched, from the top of the work tree.
    pub(crate) fn searched_paths(&self) -> Vec<Vec<u8>> {
        let root = self.set_path.directory();
        let directories = self.searched_directories().into_iter();
        let paths = directories.map(|directory| root.join(directory));
        paths.map(|path| path.into_os_string().into_vec()).collect()
    }
}
