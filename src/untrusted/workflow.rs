//! What a runner of GitHub Actions reads: workflow commands in a step's output, and output files
//! (GitHub Actions, "Workflow commands").
//!
//! How the runner recognizes a command (actions/runner: `OutputManager.OnDataReceived`,
//! `ActionCommandManager.TryProcessCommand`, `ActionCommand.TryParseV2` and `TryParse`):
//!
//! - Standard output and standard error are read the same way, line by line; a carriage return ends
//!   a line as a line feed does (.NET, `StreamReader.ReadLine`).
//! - `::NAME …::DATA` where the line begins with it after its leading white space, of any kind that
//!   Unicode knows (`TrimStart`).
//! - Otherwise the legacy form `##[NAME …]DATA` from the first `##[` on, **anywhere** in the line.
//! - Names are known ones, in upper or lower case. After `::stop-commands::TOKEN` the only one is
//!   `TOKEN`, in either form.
//! - A command's data is unescaped, `%0A` into a line feed; it is never read as a command again.
//!
//! So any text that is not one of repin's commands must neither start a line with `::` nor contain
//! `##[`: see [`inert`]. [`Commands`] are made only here.

use std::fmt::{self, Write as _};

use super::{block, plain};

/// Workflow commands of our own: the only text that a runner may obey.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Commands(String);

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// It failed.
    Error,
    /// It may go on.
    Warning,
    /// It was not looked at.
    Notice,
}

/// Where in the repository it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'t> {
    /// Relative to the top of the repository.
    pub file: &'t str,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
}

impl Commands {
    /// One annotation that says that something failed.
    pub fn error(title: &str, message: &str, place: Option<Place<'_>>) -> Self {
        let mut commands = Self::default();
        commands.annotate(Level::Error, title, message, place);
        commands
    }

    /// Adds an annotation.
    pub fn annotate(&mut self, level: Level, title: &str, message: &str, place: Option<Place<'_>>) {
        let level = match level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Notice => "notice",
        };
        let at = place.map_or_else(String::new, |place| {
            let Place { file, line, column } = place;
            format!("file={},line={line},col={column},", property(file))
        });
        let (title, message) = (property(title), data(message));
        let _ = writeln!(self.0, "::{level} {at}title={title}::{message}");
    }
}

impl fmt::Display for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Any text, as lines that no runner obeys. A step's log is shown on a terminal's terms, so that
/// hidden characters are escaped as they are there; see [`block`] for `colours`.
pub fn inert(text: &str, colours: bool) -> String {
    // No carriage return and no white space that is hidden is left from here on.
    let text = block(text, colours).replace("##[", "##\\u{5b}");
    let lines = text.split('\n').map(|line| {
        let rest = line.trim_start();
        if rest.starts_with("::") {
            let (blank, rest) = line.split_at(line.len() - rest.len() + 1);
            format!("{}\\u{{3a}}{rest}", &blank[..blank.len() - 1])
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Any bytes, exactly, as lines that no runner obeys: they are between `::stop-commands::` and its
/// end. `token` must not be guessable.
pub fn unparsed(bytes: &[u8], token: &str) -> Vec<u8> {
    let mut out = format!("::stop-commands::{token}\n").into_bytes();
    out.extend(bytes);
    if !bytes.ends_with(b"\n") {
        out.push(b'\n');
    }
    out.extend(format!("::{token}::\n").as_bytes());
    out
}

/// A name with a value of any text, for `GITHUB_OUTPUT`; `delimiter` must not occur in the value.
pub fn output(name: &str, value: &str, delimiter: &str) -> String {
    format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")
}

/// A command's data. Line breaks come through in the runner's own form, nothing else that is
/// hidden.
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

/// The value of a command's property.
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
    fn outputs_and_unparsed_text_keep_their_bounds() {
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
        let place = Place {
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
    fn no_line_is_a_command() {
        for (text, shown) in [
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
            assert_eq!(inert(text, false), shown, "{text:?}");
            assert_eq!(inert(shown, false), shown, "{text:?}");
        }
        assert_eq!(inert("##\u{1b}[31m", true), "##\u{1b}[31m");
    }
}
