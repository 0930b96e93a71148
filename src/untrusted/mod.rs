//! Text from outside: what makes it harmless wherever it is shown, and what keeps secrets out of it.
//!
//! File names, commit subjects, labels, tags and server messages are written by others. Data goes
//! one way: foreign text in, text for one kind of reader out. There is one function for each reader:
//!
//! - [`plain`] and [`block`] for terminals, [`short`] and [`tail`] for the beginning and the end;
//! - [`shell`] for commands that people copy;
//! - [`markdown`] for pages;
//! - [`workflow`] for the runners of GitHub Actions: annotations, plain text, output files;
//! - [`json`] for documents.
//!
//! All of them escape the same characters, [`is_hidden`]; no other module decides on that. [`Secrets`]
//! removes what nobody may read. Nothing here prints, and nothing here knows the rest of the program.

mod formats;
mod forms;
mod hidden;
pub mod markdown;
mod secrets;
mod text;
pub mod workflow;

pub use formats::has_credential;
pub use forms::{Forms, starred};
pub use hidden::is_hidden;
pub use secrets::{Secret, Secrets};
pub use text::{block, code_points, json, json_string, padded, plain, shell, short, tail, width};
