//! Output for the runners of GitHub Actions: workflow commands in a step's output, and output files
//! (GitHub Actions, "Workflow commands").
//!
//! The runner recognizes commands as follows (actions/runner: `OutputManager.OnDataReceived`,
//! `ActionCommandManager.TryProcessCommand`, `ActionCommand.TryParseV2` and `TryParse`):
//!
//! - It parses standard output and standard error line by line; a carriage return also ends a line
//!   (.NET, `StreamReader.ReadLine`).
//! - `::NAME …::DATA` is a command at the start of a line, after any Unicode white space
//!   (`TrimStart`).
//! - The legacy form `##[NAME …]DATA` is a command **anywhere** in the line, from the first `##[`.
//! - Only known names are commands, in upper or lower case. After `::stop-commands::TOKEN`, the
//!   only known name is `TOKEN`, in both forms.
//! - The data is unescaped (`%0A` is a line feed), but not parsed for commands a second time.
//!
//! Therefore other text must neither start a line with `::` nor contain `##[`: see [`inert`]. Only
//! this module creates [`Commands`].

use std::fmt::{self, Write as _};

use super::{block, plain};

/// Workflow commands, the only text that a runner may execute.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Commands(String);

/// The level of an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// For a failed check.
    Error,
    /// For a problem that does not stop the run.
    Warning,
    /// For a check that was skipped.
    Notice,
}

/// The position of an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnnotationPlace<'t> {
    /// The path relative to the top of the repository.
    pub file: &'t str,
    /// The line number, from 1.
    pub line: usize,
    /// The column number, from 1.
    pub column: usize,
}

impl Commands {
    /// One annotation about an error.
    pub(crate) fn error(title: &str, message: &str, place: Option<AnnotationPlace<'_>>) -> Self {
        let mut commands = Self::default();
        commands.annotate(Level::Error, title, message, place);
        commands
    }

    /// Adds an annotation.
    pub(crate) fn annotate(
        &mut self,
        level: Level,
        title: &str,
        message: &str,
        place: Option<AnnotationPlace<'_>>,
    ) {
        let level = match level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Notice => "notice",
        };
        let position = match place {
            Some(AnnotationPlace { file, line, column }) => {
                format!("file={},line={line},col={column},", property(file))
            }
            None => String::new(),
        };
        let (title, message) = (property(title), data(message));
        let _ = writeln!(self.0, "::{level} {position}title={title}::{message}");
    }
}

impl fmt::Display for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Escapes lines so that they contain no command. Hidden characters are escaped as for a terminal;
/// see [`block`] for `colors`.
pub(crate) fn inert(text: &str, colors: bool) -> String {
    // This also escapes carriage returns and hidden white space.
    let text = block(text, colors).replace("##[", "##\\u{5b}");
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let command = line.trim_start();
        lines.push(match command.strip_prefix(':') {
            Some(rest) if rest.starts_with(':') => {
                let blank = &line[..line.len() - command.len()];
                format!("{blank}\\u{{3a}}{rest}")
            }
            _ => line.to_owned(),
        });
    }
    lines.join("\n")
}

/// Wraps unchanged bytes in `::stop-commands::`, so that they contain no command. `token` must not be
/// guessable.
pub(crate) fn unparsed(bytes: &[u8], token: &str) -> Vec<u8> {
    let mut out = format!("::stop-commands::{token}\n").into_bytes();
    out.extend(bytes);
    if !bytes.ends_with(b"\n") {
        out.push(b'\n');
    }
    out.extend(format!("::{token}::\n").as_bytes());
    out
}

/// An entry of `GITHUB_OUTPUT`; `delimiter` must not occur in the value.
pub(crate) fn output(name: &str, value: &str, delimiter: &str) -> String {
    format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")
}

/// Escapes the data of a command: line breaks in the runner's form, other hidden characters as for a
/// terminal.
fn data(text: &str) -> String {
    let lines = text
        .split('\n')
        .map(|part| part.split('\r').map(plain).collect::<Vec<_>>().join("\r"));
    lines
        .collect::<Vec<_>>()
        .join("\n")
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Escapes the value of a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unparsed_text(text: &str) -> String {
        String::from_utf8(unparsed(text.as_bytes(), "T")).unwrap()
    }

    #[test]
    fn outputs_and_commands_are_escaped() {
        assert_eq!(output("title", "a\nb=c", "D"), "title<<D\na\nb=c\nD\n");
        assert_eq!(
            unparsed_text("::error::x"),
            "::stop-commands::T\n::error::x\n::T::\n"
        );
        assert_eq!(
            unparsed(b"\xff\n", "T"),
            b"::stop-commands::T\n\xff\n::T::\n"
        );
        assert_eq!(
            Commands::error("t", "a\u{1b}[2J\r\nb", None).to_string(),
            "::error title=t::a\\u{1b}[2J%0D%0Ab\n"
        );
        let place = AnnotationPlace {
            file: "f",
            line: 1,
            column: 2,
        };
        assert_eq!(
            Commands::error("a:b", "c", Some(place)).to_string(),
            "::error file=f,line=1,col=2,title=a%3Ab::c\n"
        );
    }

    #[test]
    fn escaped_lines_contain_no_command() {
        for (text, escaped) in [
            ("::error::x", "\\u{3a}:error::x"),
            (" \t::add-mask::x", " \t\\u{3a}:add-mask::x"),
            ("\u{a0}\u{3000}::x::", "\u{a0}\u{3000}\\u{3a}:x::"),
            ("a\r::error::x", "a\\r::error::x"),
            ("a\n::x::\n", "a\n\\u{3a}:x::\n"),
            ("a ##[stop-commands]b", "a ##\\u{5b}stop-commands]b"),
            ("###[x]##[y]", "###\\u{5b}x]##\\u{5b}y]"),
            ("##\u{200b}[x]", "##\\u{200b}[x]"),
            ("\u{feff}::x::", "\\u{feff}::x::"),
            ("\u{85}::x::", "\\u{85}::x::"),
            (":::x::", "\\u{3a}::x::"),
            ("a::b ##", "a::b ##"),
            (":", ":"),
            ("", ""),
        ] {
            assert_eq!(inert(text, false), escaped, "{text:?}");
            assert_eq!(inert(escaped, false), escaped, "{text:?}");
        }
        assert_eq!(inert("##\u{1b}[31m", true), "##\u{1b}[31m");
    }
}
