//! The command that must succeed in each image: the block `smoke`.
//!
//! The rehearsal of rollbacks: the block `rehearse`.
//!
//! The contents that images must have: the block `inventory`.

use std::time::Duration;

use regex::bytes::Regex;
use serde_json::{Value as Json, json};

use super::{
    duration,
    keys::{self, ByName, Named, block, choice, choices, refined_type},
    reader::ErrorCollector,
    report::Issue,
    types::{GlobList, Text, Variable, any_text, text_type},
    yaml::Node,
};
use crate::{
    base::files::RelPath,
    contents::inventory::{Inventory, Kind, Modes, MustNotContain},
    oci::PatternError,
};

block! {
    /// A command that must succeed in each image.
    pub struct Smoke {
        /// The arguments.
        command: Vec<Text>,
        /// The user to run as. Absent: the user of the image.
        user: Option<EngineUser>,
        /// The environment variables to pass to the container; a forge token's name,
        /// `ACTIONS_*` and `DOCKER_AUTH_CONFIG` are refused.
        env: Vec<Variable> = [],
        /// Whether the command can reach the network.
        network: bool = false,
        /// Time limit, after which the command is stopped and fails.
        timeout: Timeout = "60s",
        /// The container engine; `auto` uses the first that works.
        engine: Engine = "auto",
        /// Additional arguments for the engine's run command.
        engine_args: Vec<Text> = [],
        /// Without an engine: refuse the set, or skip the check and report it.
        when_unavailable: WhenUnavailable = "refuse",
    }
}

choices! {
    pub enum Engine {
        Auto = "auto",
        Podman = "podman",
        Docker = "docker",
    }
}

choices! {
    pub enum WhenUnavailable {
        Refuse = "refuse",
        Skip = "skip",
    }
}

/// The schema of a user. A number needs no quotes.
pub(super) fn user_schema() -> Json {
    json!({"type": ["string", "integer"], "minLength": 1, "minimum": 0})
}

/// A user as the engine takes it.
pub struct EngineUser;
text_type!(EngineUser => String, "text or number", (user_schema()), any_text);

/// A duration of at least a second.
pub struct Timeout;
text_type!(
    Timeout => Duration,
    "duration",
    {"type": "string", "pattern": "^[0-9]+[dhms]$"},
    timeout
);

fn timeout(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(Duration::ZERO) => Err("the timeout must be at least 1s".to_owned()),
        Ok(timeout) => Ok(timeout),
        Err(error) => Err(error.to_string()),
    }
}

block! {
    /// The rehearsal of rollbacks.
    pub struct Rehearse {
        /// The number of sets that are rehearsed: the last ones that are available for rollback. With 0,
        /// only the current set is rehearsed.
        last: usize = 3,
        /// The issue that is open while a rollback to one of the sets fails.
        issue: Option<Issue>,
    }
}

block! {
    for Inventory {
        /// The directory in the image that is listed.
        root: Absolute = "/",
        /// Files that this user cannot read are failures. Absent: readability is not checked.
        user: Option<User>,
        /// Kinds of content to list, by name, in this order.
        kinds: ByName<Kind> = {},
        /// Globs under the root, each of which must match a file.
        required_files: GlobList = [],
        /// Globs of files that must be absent from every layer; a glob without a slash matches the
        /// last part of a path.
        forbidden_files: GlobList = [],
        /// The exact modes under the root. Absent: modes are not checked.
        modes: Modes = {},
        /// Labels that every platform must have, with a value.
        required_labels: Vec<Text> = [],
        /// A file in the image that must equal the contract byte for byte.
        embedded_contract: Option<Absolute>,
    }
}

block! {
    for Kind {
        /// Regular expressions for paths relative to the root, each with exactly one capture
        /// group: the name.
        paths: NamePatterns,
        /// Whether a contract may list forbidden entries of this kind.
        must_not_contain: MustNotContain = "supported",
        /// Whether at least one name is required.
        non_empty: bool = false,
    }
    with |fields| {
        name: String = fields.key.text.clone(),
    }
}

block! {
    for Modes {
        /// The mode of every directory, in octal digits.
        directories: Option<Mode>,
        /// The mode of every file, in octal digits.
        files: Option<Mode>,
    }
}

impl Default for Inventory {
    fn default() -> Self {
        keys::defaults::<Self>()
    }
}

choice!(MustNotContain);

impl Named for Kind {
    fn name_schema() -> Json {
        json!({"minLength": 1})
    }

    fn name_problem(name: &str) -> Option<String> {
        name.is_empty().then(|| "a kind needs a name".to_owned())
    }
}

/// An absolute path in the image.
struct Absolute;
text_type!(
    Absolute => String,
    "absolute path in the image",
    {"type": "string", "pattern": "^/", "not": {"pattern": r"(^|/)\.\.(/|$)"}},
    absolute
);

fn absolute(text: &str) -> Result<String, String> {
    match text.strip_prefix('/').map(RelPath::parse) {
        Some(Ok(path)) => Ok(format!("/{path}")),
        Some(Err(_)) if text == "/" => Ok(text.to_owned()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err(format!("`{text}` is not an absolute path in the image")),
    }
}

/// A user as `USER[:GROUP]`, each a number or a name; names are looked up in the image.
struct User;
text_type!(User => String, "text or number", (user_schema()), user);

fn user(text: &str) -> Result<String, String> {
    let parts: Vec<_> = text.split(':').collect();
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let is_part =
        |part: &&str| !part.is_empty() && (!is_number(part) || part.parse::<u32>().is_ok());
    if parts.len() <= 2 && parts.iter().all(is_part) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is not a user: write UID, UID:GID, or names that exist in the image"
    ))
}

/// The mode of a file.
struct Mode;
text_type!(
    Mode => u32,
    "four octal digits, quoted",
    {"type": "string", "pattern": "^[0-7]{1,4}$"},
    mode
);

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(mode),
        _ => Err(format!(
            "`{text}` is not a mode: up to four octal digits, such as \"0644\""
        )),
    }
}

/// A regular expression whose capture group is a name; the paths need not be UTF-8.
struct NamePattern;
text_type!(
    NamePattern => Regex,
    "regular expression",
    {"type": "string", "minLength": 1},
    name_pattern
);

fn name_pattern(text: &str) -> Result<Regex, String> {
    let regex = Regex::new(text).map_err(|error| PatternError::new(&error).to_string())?;
    match regex.captures_len() {
        2 => Ok(regex),
        _ => Err("the pattern needs exactly one capture group: the name".to_owned()),
    }
}

/// At least one pattern.
struct NamePatterns;
refined_type!(NamePatterns => Vec<NamePattern>, {}, check_patterns);

fn check_patterns(patterns: &[Regex], node: &Node, problems: &ErrorCollector) -> bool {
    if patterns.is_empty() {
        let message = "a kind without patterns has no names: list at least one";
        problems.report(node.span, message);
    }
    !patterns.is_empty()
}
