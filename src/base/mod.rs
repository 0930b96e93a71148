//! What every room uses: errors and their codes, escaping and redaction, paths and globs, files, and the HTTP client.
//!
//! Knows no git, no registry and no configuration. Its parts:
//!
//! - [`error`]: one `Error`: class, code, message, location, help; the class determines the exit code; the codes of checks,
//!   errors and lines of `doctor`, with their explanations, from `codes.yaml`;
//! - [`untrusted`]: external text: escaped for its reader, secrets redacted;
//! - [`files`]: paths and globs inside a root; text files of a work tree or a commit;
//! - [`input_file`]: files that options and variables name: regular files and pipes, with a limit of size;
//! - [`http`]: one client: transport, retries, deadlines, rate limits, the pace of processes that share a token, the request log;
//! - [`text`]: counts and lists in messages, enums with words, hexadecimal digits.

pub(crate) mod error;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod input_file;
pub(crate) mod text;
pub(crate) mod untrusted;
