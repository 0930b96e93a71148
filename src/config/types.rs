//! The types of values that blocks of the configuration share.

use std::{convert::Infallible, time::Duration};

use serde_json::{Value as Json, json};

use super::{
    duration,
    keys::{KeyType, Shape},
    reader::{ErrorCollector, has_password},
    template::{Placeholders, TagTemplate, Template},
    yaml::{Key, Node},
};
use crate::{
    base::{
        files::{Glob, Globs, RelPath},
        untrusted::{FORGE_TOKENS, job_secrets},
    },
    git::{BranchNameError, check_branch},
    oci::{PatternError, Platform, Repository},
};

/// Makes `$type` a type of nonempty texts: its value, its name in the reference, its schema and its
/// parser.
macro_rules! text_type {
    ($type:ty => $value:ty, $name:literal, $schema:tt, $parse:expr) => {
        impl $crate::config::keys::KeyType for $type {
            type Value = $value;

            fn shape() -> $crate::config::keys::Shape {
                $crate::config::keys::Shape::new($name, serde_json::json!($schema))
            }

            fn read(
                _: &$crate::config::yaml::Key,
                node: &$crate::config::yaml::Node,
                problems: &$crate::config::reader::ErrorCollector,
            ) -> Option<$value> {
                problems.parsed(node, $parse)
            }
        }
    };
}
pub(super) use text_type;

/// Any text.
pub struct Text;
text_type!(Text => String, "text", {"type": "string", "minLength": 1}, any_text);

#[expect(clippy::unnecessary_wraps, reason = "parsers return a Result")]
pub(super) fn any_text(text: &str) -> Result<String, Infallible> {
    Ok(text.to_owned())
}

/// A branch, by the rules of git.
pub struct Branch;
text_type!(Branch => String, "branch", {
    "type": "string",
    "minLength": 1,
    "pattern": "^[^-]",
    "not": {"pattern": r"[\u0000-\u0020\u007f~^:?*\[\\]|\.\.|@\{|//|/$|^/"},
}, branch);

fn branch(text: &str) -> Result<String, BranchNameError> {
    check_branch(text)?;
    Ok(text.to_owned())
}

/// A path inside the root.
pub(super) fn path_schema() -> Json {
    json!({
        "type": "string",
        "minLength": 1,
        "allOf": [{"not": {"pattern": "^/"}}, {"not": {"pattern": r"(^|/)\.\.(/|$)"}}],
    })
}

text_type!(RelPath => RelPath, "path", (path_schema()), RelPath::parse);

text_type!(Repository => Repository, "repository", {
    "type": "string",
    "maxLength": 255,
    "pattern": r"^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$",
}, Repository::parse);

text_type!(Platform => Platform, "platform", {
    "type": "string",
    "pattern": "^[^/:]+/[^/:]+(/[^/:]+)?(:.+)?$",
}, platform);

fn platform(text: &str) -> Result<Platform, String> {
    Platform::parse(text)
        .ok_or_else(|| format!("`{text}` is not a platform: {}", Platform::EXPECTED))
}

text_type!(
    Duration => Duration,
    "duration",
    {"type": "string", "pattern": "^[0-9]+[dhms]$"},
    duration::parse
);

text_type!(
    regex::Regex => regex::Regex,
    "regular expression",
    {"type": "string", "minLength": 1},
    regex
);

fn regex(text: &str) -> Result<regex::Regex, PatternError> {
    regex::Regex::new(text).map_err(|error| PatternError::new(&error))
}

/// A place in a YAML or JSON file (RFC 6901).
pub struct Pointer;
text_type!(Pointer => String, "JSON pointer", {"type": "string", "pattern": "^/"}, pointer);

fn pointer(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is not a JSON pointer (RFC 6901): it must start with `/`"
        ))
    }
}

/// A git remote, without a password.
pub struct Remote;
text_type!(
    Remote => String,
    "text",
    {"type": "string", "minLength": 1, "pattern": "^[^-]"},
    remote
);

pub(super) fn remote(text: &str) -> Result<String, &'static str> {
    if has_password(text) {
        return Err(
            "the URL must not contain a password: use credentials of git, or a variable in `token_env`",
        );
    }
    if text.starts_with('-') || text.contains(char::is_control) || text.contains("::") {
        return Err("expected a URL or a path");
    }
    Ok(text.to_owned())
}

/// The schema of a text on one line.
pub(super) fn line_schema() -> Json {
    json!({"type": "string", "minLength": 1, "pattern": r"^[^\u0000-\u001f\u007f]*$"})
}

fn template_shape() -> Shape {
    Shape::new(
        "text with `{revision}`",
        json!({"type": "string", "pattern": r"\{revision\}", "allOf": [line_schema()]}),
    )
}

text_type!(TagTemplate => TagTemplate, "text with `{revision}`", {
    "type": "string",
    "pattern": r"^[^{}]*\{revision(:([7-9]|[12][0-9]|3[0-9]|40))?\}[^{}]*$",
    "allOf": [line_schema()],
}, TagTemplate::parse);

/// The branch of a change.
pub struct BranchTemplate;

impl KeyType for BranchTemplate {
    type Value = Template;

    fn shape() -> Shape {
        template_shape()
    }

    fn read(_: &Key, node: &Node, problems: &ErrorCollector) -> Option<Template> {
        problems.parsed(node, |text| Template::branch(text, problems.set_key()))
    }
}

/// The title of a change.
pub struct TitleTemplate;

impl KeyType for TitleTemplate {
    type Value = Template;

    fn shape() -> Shape {
        template_shape()
    }

    fn read(_: &Key, node: &Node, problems: &ErrorCollector) -> Option<Template> {
        problems.parsed(node, |text| {
            Template::parse(text, Placeholders::Title(problems.set_key()))
        })
    }
}

impl KeyType for bool {
    type Value = bool;

    fn shape() -> Shape {
        Shape::new("`true` or `false`", json!({"type": "boolean"}))
    }

    fn read(_: &Key, node: &Node, problems: &ErrorCollector) -> Option<bool> {
        problems.boolean(node)
    }
}

impl KeyType for usize {
    type Value = usize;

    fn shape() -> Shape {
        Shape::new(
            "whole number, up to 1000000",
            json!({"type": "integer", "minimum": 0, "maximum": 1_000_000}),
        )
    }

    fn read(_: &Key, node: &Node, problems: &ErrorCollector) -> Option<usize> {
        problems.number(node)
    }
}

fn globs_schema() -> Json {
    let mut glob = path_schema();
    glob["maxLength"] = json!(4096);
    json!({"type": "array", "maxItems": 1000, "items": glob})
}

/// Globs of which those that begin with `!` exclude.
impl KeyType for Globs {
    type Value = Globs;

    fn shape() -> Shape {
        Shape::new("list of globs", globs_schema())
    }

    fn read(_: &Key, node: &Node, problems: &ErrorCollector) -> Option<Globs> {
        problems.globs(node)
    }
}

/// Globs that are used one by one.
pub(super) struct GlobList;

impl KeyType for GlobList {
    type Value = Vec<Glob>;

    fn shape() -> Shape {
        Globs::shape()
    }

    fn read(_: &Key, node: &Node, problems: &ErrorCollector) -> Option<Vec<Glob>> {
        let items = problems.glob_items(node)?.iter();
        let globs: Vec<_> = items
            .map(|item| problems.parsed(item, Glob::parse))
            .collect();
        globs.into_iter().collect()
    }
}

/// The schema of the name of an image or a place.
pub(super) fn name_schema() -> Json {
    json!({"pattern": "^[A-Za-z0-9._][A-Za-z0-9._-]*$"})
}

/// Whether a text can name an image or a place.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// A variable that is passed to another repository's server or to a container. An author of the
/// configuration must not receive the job's own credentials.
pub struct Variable;

impl KeyType for Variable {
    type Value = String;

    fn shape() -> Shape {
        Shape::new(
            "name of a variable",
            json!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}),
        )
    }

    fn read(_: &Key, node: &Node, problems: &ErrorCollector) -> Option<String> {
        problems.parsed(node, |text| {
            // A configuration from history passes nothing on.
            if !problems.is_past() {
                check_secret(text)?;
            }
            variable(text)
        })
    }
}

fn check_secret(text: &str) -> Result<(), String> {
    let name = text.to_ascii_uppercase();
    let reason = if FORGE_TOKENS.as_flattened().contains(&name.as_str()) {
        "is a token for the forge"
    } else if name == "DOCKER_AUTH_CONFIG" {
        "holds credentials for registries"
    } else if name.starts_with("ACTIONS_") || job_secrets().any(|secret| secret == name) {
        "belongs to the job"
    } else {
        return Ok(());
    };
    Err(format!("`{text}` {reason}: use a separate variable"))
}

fn variable(text: &str) -> Result<String, String> {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
    {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is not the name of an environment variable (write the name, not the value)"
        ))
    }
}
