//! External text: escapes it for its reader, and redacts secrets.
//!
//! File names, commit subjects, labels, tags and server messages are hostile. There is one function
//! for each kind of output:
//!
//! - [`plain`] and [`block`] for terminals, [`short`] and [`tail`] for shortened text;
//! - [`shell`] for commands that users copy;
//! - [`markdown`] for pages;
//! - [`workflow`] for the runners of GitHub Actions: annotations, plain text, output files;
//! - [`json`] for documents.
//!
//! All of them escape the same characters, defined by [`is_hidden`]. [`Secrets`] redacts the
//! secrets of a run. This module does not print.

mod forms;
pub(crate) mod markdown;
mod secret_words;
mod secrets;
mod text;
pub(crate) mod workflow;

pub(crate) use forms::{Forms, has_credential, masked_credentials, redacted, starred};
pub(crate) use secret_words::{
    is_secret_parameter, masked_label, masked_text, masked_urls, masked_words, secret_reason,
};
pub(crate) use secrets::{FORGE_TOKENS, Secret, Secrets, job_secrets};
pub(crate) use text::{
    block, code_points, is_hidden, json, json_line, json_string, padded, plain, shell, short, tail,
    to_minute, width,
};
