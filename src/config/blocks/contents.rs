//! What images contain and do: the blocks `inventory` and `smoke`.

use std::time::Duration;

use regex::bytes::Regex;

use super::{handed_on, text};
use crate::{
    config::{
        duration,
        path::{Glob, RelPath},
        raw::ErrorCollector,
        yaml::{Key, Node},
    },
    oci::PatternError,
};

/// What an image must contain.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The absolute directory in the image that is listed.
    pub root: String,
    /// The user whose permissions count; `None`: everything can be read.
    pub user: Option<String>,
    /// What is counted, in the order of the file.
    pub kinds: Vec<Kind>,
    /// Globs under the root that must each match a file.
    pub required_files: Vec<Glob>,
    /// Globs of files that must not be there; without a slash they match base names.
    pub forbidden_files: Vec<Glob>,
    /// The exact mode of every directory under the root.
    pub directory_mode: Option<u32>,
    /// The exact mode of every file under the root.
    pub file_mode: Option<u32>,
    /// Labels that must be there and not be empty.
    pub required_labels: Vec<String>,
    /// The absolute path of a copy of the contract in the image.
    pub embedded_contract: Option<String>,
}

impl Default for Inventory {
    /// Nothing is looked at.
    fn default() -> Self {
        Self {
            root: "/".to_owned(),
            user: None,
            kinds: Vec::new(),
            required_files: Vec::new(),
            forbidden_files: Vec::new(),
            directory_mode: None,
            file_mode: None,
            required_labels: Vec::new(),
            embedded_contract: None,
        }
    }
}

/// One kind of thing that an image contains.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Its name: a key of contracts and of listings.
    pub name: String,
    /// Patterns against paths relative to the root; the capture group is the thing's name.
    pub paths: Vec<Regex>,
    /// Whether contracts may list what must not be there.
    pub must_not_contain: bool,
    /// Whether there must be at least one.
    pub non_empty: bool,
}

/// A command that must work in the image.
#[derive(Debug, Clone)]
pub struct Smoke {
    /// The arguments.
    pub command: Vec<String>,
    /// The user to run as.
    pub user: Option<String>,
    /// Names of environment variables that are passed on.
    pub env: Vec<String>,
    /// Whether the network can be reached.
    pub network: bool,
    /// After this it is killed.
    pub timeout: Duration,
    /// What runs it.
    pub engine: Engine,
    /// Flags of the engine's run command.
    pub engine_args: Vec<String>,
    /// Whether an unavailable engine is a `skip` instead of a failure.
    pub skip_when_unavailable: bool,
}

/// Container engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Whichever works.
    Auto,
    /// podman.
    Podman,
    /// docker.
    Docker,
}

fn absolute(g: &ErrorCollector, node: &Node) -> Option<String> {
    g.parsed(node, |text| {
        match text.strip_prefix('/').map(RelPath::parse) {
            Some(Ok(path)) => Ok(format!("/{path}")),
            Some(Err(_)) if text == "/" => Ok(text.to_owned()),
            Some(Err(error)) => Err(error.to_string()),
            None => Err(format!("`{text}` is not an absolute path in the image")),
        }
    })
}

pub(in crate::config) fn inventory(g: &ErrorCollector, node: &Node) -> Option<Inventory> {
    let fields = g.map(node)?;
    let root = fields.or("root", "/".to_owned(), |n| absolute(g, n));
    let user = fields.optional("user", |n| g.parsed(n, user));
    let kinds = fields.or("kinds", Vec::new(), |n| {
        let kinds: Vec<_> = g
            .map(n)?
            .entries()
            .iter()
            .map(|(key, value)| kind(g, key, value))
            .collect();
        kinds.into_iter().collect()
    });
    let required_files = fields.or("required_files", Vec::new(), |n| globs(g, n));
    let forbidden_files = fields.or("forbidden_files", Vec::new(), |n| globs(g, n));
    let modes = fields.or("modes", (None, None), |n| modes(g, n));
    let required_labels = fields.or("required_labels", Vec::new(), |n| g.strings(n));
    let embedded_contract = fields.optional("embedded_contract", |n| absolute(g, n));
    fields.done();
    let (directory_mode, file_mode) = modes?;
    Some(Inventory {
        root: root?,
        user: user?,
        kinds: kinds?,
        required_files: required_files?,
        forbidden_files: forbidden_files?,
        directory_mode,
        file_mode,
        required_labels: required_labels?,
        embedded_contract: embedded_contract?,
    })
}

fn globs(g: &ErrorCollector, node: &Node) -> Option<Vec<Glob>> {
    g.glob_items(node)?;
    g.each(node, Glob::parse)
}

/// A user as `USER[:GROUP]`, each a number or a name; names are looked up in the image.
fn user(text: &str) -> Result<String, String> {
    let parts: Vec<_> = text.split(':').collect();
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let fits = |part: &&str| !part.is_empty() && (!number(part) || part.parse::<u32>().is_ok());
    if parts.len() <= 2 && parts.iter().all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is not a user: write UID, UID:GID, or names that exist in the image"
    ))
}

fn kind(g: &ErrorCollector, key: &Key, node: &Node) -> Option<Kind> {
    if key.text.is_empty() {
        g.report(key.span, "a kind needs a name");
    }
    let fields = g.map(node)?;
    let paths = fields.required("paths", |n| {
        let paths = g.each(n, name_pattern)?;
        if paths.is_empty() {
            g.report(
                n.span,
                "a kind without patterns has no names: list at least one",
            );
        }
        Some(paths)
    });
    let must_not_contain = fields.or("must_not_contain", true, |n| {
        g.choice(n, &[("supported", true), ("unsupported", false)])
    });
    let non_empty = fields.or("non_empty", false, |n| g.boolean(n));
    fields.done();
    Some(Kind {
        name: key.text.clone(),
        paths: paths?,
        must_not_contain: must_not_contain?,
        non_empty: non_empty?,
    })
}

/// A pattern with one capture group, for paths that need not be UTF-8.
fn name_pattern(text: &str) -> Result<Regex, String> {
    let regex = Regex::new(text).map_err(|error| PatternError::new(&error).to_string())?;
    match regex.captures_len() {
        2 => Ok(regex),
        _ => Err("the pattern needs exactly one capture group: the name".to_owned()),
    }
}

fn modes(g: &ErrorCollector, node: &Node) -> Option<(Option<u32>, Option<u32>)> {
    let mode = |n: &Node| {
        g.parsed(n, |text| match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o7777 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(mode),
            _ => Err(format!(
                "`{text}` is not a mode: up to four octal digits, such as \"0644\""
            )),
        })
    };
    let fields = g.map(node)?;
    let directories = fields.optional("directories", mode);
    let files = fields.optional("files", mode);
    fields.done();
    Some((directories?, files?))
}

pub(in crate::config) fn smoke(g: &ErrorCollector, node: &Node) -> Option<Smoke> {
    let fields = g.map(node)?;
    let engines = [
        ("auto", Engine::Auto),
        ("podman", Engine::Podman),
        ("docker", Engine::Docker),
    ];
    let command = fields.required("command", |n| g.strings(n));
    let user = fields.optional("user", |n| text(g, n));
    let env = fields.or("env", Vec::new(), |n| g.each(n, handed_on(g)));
    let network = fields.or("network", false, |n| g.boolean(n));
    let timeout = fields.or("timeout", Duration::from_secs(60), |n| {
        g.parsed(n, |text| match duration::parse(text) {
            Ok(Duration::ZERO) => Err("the timeout must be at least 1s".to_owned()),
            other => other.map_err(|error| error.to_string()),
        })
    });
    let engine = fields.or("engine", Engine::Auto, |n| g.choice(n, &engines));
    let engine_args = fields.or("engine_args", Vec::new(), |n| g.strings(n));
    let skip = fields.or("when_unavailable", false, |n| {
        g.choice(n, &[("refuse", false), ("skip", true)])
    });
    fields.done();
    Some(Smoke {
        command: command?,
        user: user?,
        env: env?,
        network: network?,
        timeout: timeout?,
        engine: engine?,
        engine_args: engine_args?,
        skip_when_unavailable: skip?,
    })
}
