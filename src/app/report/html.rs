//! Renders self-contained pages, which send no requests.
//!
//! The content of a repository is hostile. The formatter of the templates escapes it twice: hidden characters
//! become visible, then markup becomes text. Only the style and the script are exempt; the Content Security
//! Policy of a page lists their hashes, so a browser applies and runs no others.

use base64::{Engine, engine::general_purpose::STANDARD};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, HtmlEscape, Output, State, UndefinedBehavior, Value,
    syntax::SyntaxConfig,
    value::{Serde, ValueKind},
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::base::untrusted::plain;

/// The style of every page.
pub(super) const STYLE: &str = include_str!("history_page/page.css");

/// Renders a template with the fields of `page` as its variables.
pub(super) fn render<P: Serialize>(template: &'static str, page: &P) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_formatter(write_escaped);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    environment.set_syntax(syntax);
    environment.add_template("page", template)?;
    environment
        .get_template("page")?
        .render(Value::from(Serde(page)))
}

/// A text as a source of Content Security Policy (CSP Level 3, "hash-source").
pub(super) fn source_hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// Writes a value into the page; text that is not marked as safe is escaped.
fn write_escaped(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = match value.kind() {
        ValueKind::None => return Ok(()),
        _ if value.is_undefined() => return Err(Error::from(ErrorKind::UndefinedError)),
        _ if value.is_safe() => value.to_string(),
        _ => HtmlEscape(&plain(&value.to_string())).to_string(),
    };
    out.write_str(&text).map_err(Error::from)
}
