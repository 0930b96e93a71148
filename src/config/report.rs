//! The contents of reports: the block `report`.
//!
//! The templates of a set's pull requests, including those at former paths of its configuration and of
//! earlier versions.
//!
//! Pinned references to other repositories: the block `freshness`.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{
    keys::{block, choices},
    set_path::SetPath,
    template::Template,
    types::{Branch, Pointer, Remote, Text, Variable, line_schema, path_schema, text_type},
};
use crate::base::files::{PathError, RelPath};

block! {
    /// The contents of reports.
    pub struct Report {
        /// Labels shown for each image, in this order.
        labels: Vec<Text> = [],
        /// A Jinja template for the pull request body; its variables are the fields of
        /// repin.plan/1.
        template: Option<RelPath>,
        /// The differences of the current set and the new one that the pull request body shows:
        /// `none`, `source` (the commits), `images` (the commits and the images), or `contents`
        /// (also the packages, privileged files and inventory entries in the images). Absent:
        /// `contents` if images have an inventory or a contract, otherwise `images`.
        changes: Option<ChangeParts>,
        /// How the project rolls back: the address of a workflow, or one line of text. The body of a
        /// promotion shows it with the command.
        rollback: Option<RollbackInstruction>,
    }
}

/// An address, or a text on one line.
pub struct RollbackInstruction;
text_type!(RollbackInstruction => String, "text", (line_schema()), rollback_instruction);

fn rollback_instruction(text: &str) -> Result<String, &'static str> {
    if text.contains(char::is_control) {
        return Err("expected an address or one line of text");
    }
    Ok(text.to_owned())
}

choices! {
    pub enum ChangeParts {
        None = "none",
        Source = "source",
        Images = "images",
        Contents = "contents",
    }
}

/// The templates of a promotion or of a rollback.
#[derive(Debug, Clone, Copy)]
pub struct ChangeTemplates<'c> {
    pub branch: &'c Template,
    /// The title of the commit and of the pull request.
    pub title: &'c Template,
}

/// The branch templates of the set at a former path of its configuration, or by the defaults of an
/// earlier version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerSet {
    pub set_path: SetPath,
    pub name: String,
    pub promotion_branch: Template,
    pub rollback_branch: Template,
}

impl FormerSet {
    /// The defaults of versions that did not distinguish sets.
    pub(super) fn defaults(set: &SetPath) -> Vec<Self> {
        if !set.is_top() {
            return Vec::new();
        }
        vec![Self {
            set_path: set.clone(),
            name: String::new(),
            promotion_branch: constant_branch("auto/runtime-promote-{revision}"),
            rollback_branch: constant_branch("auto/runtime-rollback-{revision}"),
        }]
    }
}

fn constant_branch(text: &str) -> Template {
    Template::branch(text, "").expect("a constant branch template is valid")
}

block! {
    /// A pinned reference to another repository.
    pub struct Freshness {
        /// Its name in reports.
        name: Text,
        /// Where the pinned reference is.
        pinned: PinnedIn,
        /// The other repository: a URL without a password, or a path.
        repository: Remote,
        /// The environment variable that contains the token for it; a forge token's name,
        /// `ACTIONS_*` and `DOCKER_AUTH_CONFIG` are refused.
        token_env: Option<Variable>,
        /// The branch that the pinned reference is compared with.
        branch: Branch = "main",
        /// Only commits that touch these paths count. Empty, and no `paths_from`: all commits
        /// count.
        paths: Vec<PathText> = [],
        /// Lists in files that add paths.
        paths_from: Vec<PathsFrom> = [],
        /// Maximum age difference at which the reference counts as fresh.
        max_gap: Duration = "14d",
        /// The issue that is open while the reference is stale.
        issue: Option<Issue>,
    }
}

block! {
    /// The place of a pinned reference.
    pub struct PinnedIn {
        /// The YAML or JSON file.
        file: RelPath,
        /// The value in it; values that `*` selects must be equal.
        pointer: Pointer,
    }
}

block! {
    /// A list in a file; each item gives a path.
    pub struct PathsFrom {
        /// The YAML or JSON file.
        file: RelPath,
        /// The list in it. `*` is every item of a list and every value of a mapping: a list that is
        /// absent in one of them is empty. A single value is a list of one.
        pointer: Pointer,
        /// The path for an item; `{}` is the item.
        path: ItemPath,
    }
}

block! {
    /// An issue of a forge.
    pub struct Issue {
        /// The exact title, which identifies the issue.
        title: Text,
        /// Its labels.
        labels: Vec<Text> = [],
    }
}

/// A path of another repository, as it is written.
pub struct PathText;
text_type!(PathText => String, "path", (path_schema()), path_text);

fn path_text(text: &str) -> Result<String, PathError> {
    RelPath::parse(text)?;
    Ok(text.to_owned())
}

/// A path with `{}` for an item of a list.
pub struct ItemPath;
text_type!(ItemPath => String, "path", (item_path_schema()), item_path);

fn item_path_schema() -> Json {
    let mut schema = path_schema();
    schema["pattern"] = json!(r"\{\}");
    schema
}

fn item_path(text: &str) -> Result<String, String> {
    let path = path_text(text).map_err(|error| error.to_string())?;
    if path.contains("{}") {
        Ok(path)
    } else {
        Err("`{}` (the item) is missing".to_owned())
    }
}
