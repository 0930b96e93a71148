//! The configuration file `repin.yaml`: search, parser and rules.
//!
//! `yaml` parses the text into a tree with places, and `reader` reads values from the tree and
//! collects problems. Each block declares its keys in its own file, by the macros of `keys`;
//! `top_level` has the whole file. The command line and the environment belong to `cli`.

pub mod duration;
mod fleet;
mod forge;
mod freshness;
mod images;
mod inventory;
pub mod keys;
mod open_directory;
mod operation;
mod path;
mod places;
mod prune;
pub mod reader;
mod signers;
mod smoke;
mod sources;
mod template;
mod top_level;
pub mod types;
mod verify;
pub mod yaml;

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
};

use crate::{
    code::Code,
    error::{Error, SourceText},
};

pub use fleet::{Fleet, FleetHistory, OwnPolicy, WhenUnconfigured};
pub use forge::{Forge, ForgeKind, MergeMethod, Sign, is_owner_name};
pub use freshness::{Freshness, Issue, PathsFrom, PinnedIn};
pub use images::{Image, ImageInventory};
pub use inventory::{Inventory, Kind, Modes, MustNotContain};
pub(crate) use open_directory::{OpenDirectory, Unopened};
pub use operation::Operation;
pub use path::{Glob, Globs, PathError, RelPath, glob_regex};
pub use places::{
    CHART, CommentPolicy, KUSTOMIZATIONS, KeysRule, Owner, PinPlace, PlaceKind, Step,
    above_templates, places_of,
};
pub use prune::{AlsoPinned, Prune, PruneBackend};
pub use reader::nearest;
pub use signers::{CommitBinding, IdentityRule, LogRule, Runner, Signer, SignerIdentity, Triggers};
pub use smoke::{Engine, Smoke, WhenUnavailable};
pub use sources::{Endpoint, Mapping, MappingError, Prefix, Where};
pub use template::{Template, TemplateError, check_branch};
pub use top_level::{
    ChangeNames, Config, Evidence, IgnoredFiles, OutsidePolicy, Promote, Provenance, Report,
    Revisions, Rollback, parse, parse_past, reference, schema,
};
pub use types::{FORGE_TOKENS, job_secrets};
pub use verify::{Requirement, RootKind, RootSource, SignedSubject, Since, SubjectName, Verify};

/// The name that is looked for.
pub const FILE_NAME: &str = "repin.yaml";

/// The largest configuration, in bytes.
const MAX: u64 = 1024 * 1024;

/// The name that is often meant and never read.
pub const MISSPELLED_NAME: &str = "repin.yml";

/// The nearest `repin.yaml` in `directory` or above; a symlink is found too, and is not followed.
pub fn find(directory: &Path) -> Option<PathBuf> {
    directory
        .ancestors()
        .map(|directory| directory.join(FILE_NAME))
        .find(|file| {
            let found = file.symlink_metadata();
            found.is_ok_and(|found| found.is_file() || found.is_symlink())
        })
}

/// How a configuration file was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chosen {
    /// By its path.
    ByPath,
    /// By [`find`].
    BySearch,
}

/// Every `repin.yml` from `directory` upward, as far as the nearest `repin.yaml` is looked for:
/// none of them is read.
pub fn misspelled(directory: &Path) -> Vec<PathBuf> {
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

/// Reads and checks the configuration at `file`, which [`find`] found; its directory becomes the root.
/// Messages call it `shown`.
pub fn load(file: &Path, shown: &str) -> Result<Config, Vec<Error>> {
    read(file, shown, Chosen::BySearch)
}

/// The same for a file that the user chose: outside a git repository, its path may lead anywhere.
pub fn load_chosen(file: &Path, shown: &str) -> Result<Config, Vec<Error>> {
    read(file, shown, Chosen::ByPath)
}

fn read(file: &Path, shown: &str, chosen: Chosen) -> Result<Config, Vec<Error>> {
    let wrong = |message: String| vec![Error::input(Code::CONFIG, message)];
    let fail = |message: String| {
        let hint = "check the path and its permissions, or write the file with `repin init`";
        vec![Error::input(Code::CONFIG, message).help(hint)]
    };
    let bytes = match open(file, chosen) {
        Ok((opened, metadata)) if metadata.is_file() && metadata.len() <= MAX => {
            let mut bytes = Vec::new();
            opened
                .take(MAX + 1)
                .read_to_end(&mut bytes)
                .map(|_| bytes)
                .map_err(Unopened::Io)
        }
        Ok((_, metadata)) if metadata.is_file() => {
            return Err(wrong(format!(
                "the configuration {shown} is larger than 1 MiB"
            )));
        }
        Ok(_) => Err(Unopened::Special),
        Err(error) => Err(error),
    };
    let bytes = bytes.map_err(|error| match error {
        Unopened::Special => wrong(format!("the configuration {shown} is not a file")),
        Unopened::Symlink | Unopened::NotADirectory => {
            let hint = "replace the link by the file, or pass the file with --config";
            let message = format!("cannot read the configuration {shown}: {error}");
            vec![Error::input(Code::CONFIG, message).help(hint)]
        }
        error => fail(format!("cannot read the configuration {shown}: {error}")),
    })?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let message = format!("the configuration {shown} is not UTF-8 (from byte {at} on)");
        vec![Error::input(Code::CONFIG, message).help("save the file as UTF-8")]
    })?;
    let absolute = std::path::absolute(file).map_err(|e| {
        fail(format!(
            "cannot determine the absolute path of {shown}: {e}"
        ))
    })?;
    let root = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    parse(
        &SourceText {
            name: shown.to_owned(),
            text: text.into(),
        },
        &root,
    )
}

/// Opens a configuration file. In a git repository, no link beneath the top of the work tree is
/// followed: the tree may be that of a pull request.
fn open(file: &Path, chosen: Chosen) -> Result<(File, Metadata), Unopened> {
    let file = normalized(file).map_err(Unopened::Io)?;
    let above = file.parent().unwrap_or(Path::new("/"));
    let top = above
        .ancestors()
        .find(|directory| directory.join(".git").symlink_metadata().is_ok());
    let top = match (top, chosen) {
        (Some(top), _) => top,
        (None, Chosen::BySearch) => above,
        (None, Chosen::ByPath) => {
            let opened = File::open(&file).and_then(|opened| {
                let metadata = opened.metadata()?;
                Ok((opened, metadata))
            });
            return opened.map_err(Unopened::Io);
        }
    };
    let path = file
        .strip_prefix(top)
        .ok()
        .and_then(|path| RelPath::new(path).ok());
    let mut directory = OpenDirectory::new(top).map_err(Unopened::Io)?;
    directory.open(&path.ok_or(Unopened::Special)?)
}

/// An absolute path without `.` and `..`; a symlink before `..` is resolved.
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

/// The keys that a configuration sets, in its order: those of `blocks` and of each image by their
/// whole path, such as `forge.base` or `images.fix.pins`, all others by the first part of it.
pub fn keys(config: &Config, blocks: &[&str]) -> Vec<String> {
    let entries = |node: Option<yaml::Node>| match node.map(|node| node.value) {
        Some(yaml::Value::Map(entries)) => entries,
        _ => Vec::new(),
    };
    let below = |key: String, node| {
        let below = entries(Some(node)).into_iter();
        below.map(move |(name, node)| (format!("{key}.{}", name.text), node))
    };
    let mut keys = Vec::new();
    for (key, node) in entries(yaml::parse(&config.source.text).0) {
        if key.text == "images" {
            let images = below(key.text, node);
            keys.extend(
                images
                    .flat_map(|(image, node)| below(image, node))
                    .map(|(key, _)| key),
            );
        } else if blocks.contains(&key.text.as_str()) {
            keys.extend(below(key.text, node).map(|(key, _)| key));
        } else {
            keys.push(key.text);
        }
    }
    keys
}

/// The first `most` names, and how many more there are, such as `a, b and 2 more`.
pub fn few(names: impl ExactSizeIterator<Item = impl Into<String>>, most: usize) -> String {
    let more = names.len().saturating_sub(most);
    let shown: Vec<String> = names.take(most).map(Into::into).collect();
    let shown = shown.join(", ");
    match more {
        0 => shown,
        _ => format!("{shown} and {more} more"),
    }
}

/// A count with its noun, such as `1 pin`, `2 pins` or `2 directories`.
pub fn number(count: usize, noun: &str) -> String {
    match (count, noun.strip_suffix("ry")) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ries"),
        (_, None) => format!("{count} {noun}s"),
    }
}
