//! The names of configuration files, which listings of a repository select.

use std::{ffi::OsStr, path::Path};

/// Whether this is the name of a configuration file: `repin.yaml`, `repin.NAME.yaml`, or one of
/// them with `.yml`. `--config` also selects other files.
fn is_config_name(name: &str) -> bool {
    let stem = name
        .strip_suffix(".yaml")
        .or_else(|| name.strip_suffix(".yml"));
    stem.is_some_and(|stem| stem == "repin" || stem.starts_with("repin."))
}

/// The directories of a forge's workflows. A workflow that runs repin may be called `repin.yml`.
const WORKFLOWS: [&str; 3] = [
    ".github/workflows",
    ".gitea/workflows",
    ".forgejo/workflows",
];

/// Whether every file of a directory is a workflow of a forge. The path begins at the top of the
/// repository.
pub(crate) fn is_workflow_directory(directory: &Path) -> bool {
    WORKFLOWS.iter().any(|name| directory.ends_with(name))
}

/// Whether a file of a repository is a configuration file, by its path from the top of the repository.
pub(crate) fn is_config_file(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    let directory = path.parent().unwrap_or(Path::new(""));
    name.is_some_and(is_config_name) && !is_workflow_directory(directory)
}
