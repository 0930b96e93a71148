//! The sets in git history as one page that needs nothing else: no request, no file beside it, and
//! no script to be read.
//!
//! Everything that a repository contains is hostile here. The template's formatter escapes it twice:
//! hidden characters become visible, then markup becomes text; only the style and the script are
//! exempt, and the page's own policy names their digests, so that a browser applies and runs no
//! other. Equal history makes equal bytes: ages are between commits, and no clock is read.

mod view;

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, HtmlEscape, Output, State, UndefinedBehavior, Value,
    syntax::SyntaxConfig,
    value::{Serde, ValueKind},
};
use sha2::{Digest as _, Sha256};

use crate::{
    config::Config,
    git::ObjectId,
    history::{History, HistoryEntry},
    untrusted::plain,
};

const TEMPLATE: &str = include_str!("page.html.j2");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What the page is made of.
#[derive(Clone, Copy)]
pub struct Facts<'f> {
    /// The current configuration.
    pub config: &'f Config,
    /// The history.
    pub history: &'f History,
    /// The entries to list, newest first.
    pub listed: &'f [HistoryEntry],
    /// How many there are beyond a limit.
    pub total: usize,
    /// What each entry's commit changed.
    pub diffs: &'f HashMap<ObjectId, SetDiff>,
    /// The address of a pull request's page, up to its number.
    pub pull_requests: Option<&'f str>,
}

/// What a commit changed in the files with pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetDiff {
    /// A unified diff, with the number of files.
    Text(String, usize),
    /// It is left out, for this reason.
    Omitted(&'static str),
}

/// The page.
pub fn html(facts: Facts<'_>) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_formatter(escaped);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    environment.set_syntax(syntax);
    environment.add_template("page", TEMPLATE)?;
    let page = view::Page::of(facts);
    environment
        .get_template("page")?
        .render(Value::from(Serde(&page)))
}

/// A text as a source of Content Security Policy (CSP Level 3, "hash-source").
fn source_hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// Writes a value into the page; text that is not marked as safe is escaped.
fn escaped(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let write = |out: &mut Output<'_>, text: &str| out.write_str(text).map_err(Error::from);
    match value.kind() {
        ValueKind::None => Ok(()),
        _ if value.is_undefined() => Err(Error::from(ErrorKind::UndefinedError)),
        _ if value.is_safe() => write(out, &value.to_string()),
        _ => write(out, &HtmlEscape(&plain(&value.to_string())).to_string()),
    }
}
