//! The configuration file `repin.yaml`: found, read, checked.
//!
//! `yaml` makes a tree with places of the text, `raw` reads the tree and gathers problems,
//! `checked` and `blocks` are what everything else sees. No environment and no command line here:
//! those belong to `cli`.

mod blocks;
mod checked;
pub mod duration;
mod path;
pub mod raw;
mod sources;
mod template;
pub mod yaml;

use std::path::{Path, PathBuf};

use crate::error::{Error, SourceText};

pub use blocks::{
    AlsoPinned, Engine, FORGE_TOKENS, Forge, ForgeKind, Freshness, Inventory, Issue, Kind,
    MergeMethod, PathsFrom, Prune, PruneBackend, Sign, Smoke,
};
pub use checked::{
    Config, Image, Naming, Outside, OutsidePolicy, Provenance, Report, Revisions, parse, parse_past,
};
pub use path::{Glob, Globs, PathError, RelPath};
pub use sources::{Endpoint, Mapping, MappingError, Prefix, Where};
pub use template::{Template, TemplateError, check_branch};

/// The name that is looked for.
pub const FILE_NAME: &str = "repin.yaml";

/// The largest configuration, in bytes.
const MAX: u64 = 1024 * 1024;

/// The name that is often meant and never read.
pub const MISSPELLED_NAME: &str = "repin.yml";

/// The nearest `repin.yaml` in `folder` or above.
pub fn find(folder: &Path) -> Option<PathBuf> {
    folder
        .ancestors()
        .map(|folder| folder.join(FILE_NAME))
        .find(|file| file.is_file())
}

/// Every `repin.yml` from `folder` upward, as far as the nearest `repin.yaml` is looked for: none
/// of them is read.
pub fn misspelled(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folder.ancestors() {
        let file = folder.join(MISSPELLED_NAME);
        if file.is_file() {
            found.push(file);
        }
        if folder.join(FILE_NAME).is_file() {
            break;
        }
    }
    found
}

/// Reads and checks the configuration at `file`; its folder becomes the root. Messages call it
/// `shown`.
pub fn load(file: &Path, shown: &str) -> Result<Config, Vec<Error>> {
    let fail = |message: String| {
        vec![Error::input("config", message).help("name the file with --config FILE")]
    };
    let metadata = std::fs::metadata(file)
        .map_err(|e| fail(format!("can't read the configuration {shown}: {e}")))?;
    if !metadata.is_file() {
        return Err(fail(format!("the configuration {shown} is not a file")));
    }
    if metadata.len() > MAX {
        return Err(fail(format!(
            "the configuration {shown} is larger than 1 MiB"
        )));
    }
    let bytes = std::fs::read(file)
        .map_err(|e| fail(format!("can't read the configuration {shown}: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        fail(format!(
            "the configuration {shown} is not UTF-8 (from byte {at} on)"
        ))
    })?;
    let absolute =
        std::path::absolute(file).map_err(|e| fail(format!("can't tell where {shown} is: {e}")))?;
    let root = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    parse(
        &SourceText {
            name: shown.to_owned(),
            text: text.into(),
        },
        &root,
    )
}

/// A count in words, such as `1 pin` or `2 pins`.
pub fn number(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
