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

mod formats;
mod forms;
mod hidden;
mod job_secrets;
pub(crate) mod markdown;
mod secret_words;
mod secrets;
mod text;
pub(crate) mod workflow;

pub(crate) use formats::{has_credential, masked_credentials};
pub(crate) use forms::{Forms, redacted, starred};
pub(crate) use hidden::is_hidden;
pub(crate) use job_secrets::{FORGE_TOKENS, job_secrets};
pub(crate) use secret_words::{
    masked_label, masked_text, masked_urls, masked_words, secret_reason,
};
pub(crate) use secrets::{Secret, Secrets};
pub(crate) use text::{
    block, code_points, json, json_string, padded, plain, shell, short, tail, width,
};
