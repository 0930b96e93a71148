//! `repin man`: all commands on one manual page, in the macros of man(7).

use std::fmt::Write as _;

use clap::{Arg, Args, Command};

use super::documents;
use crate::{
    app::cli::{context::Context, output::Exit},
    base::error::Errors,
};

/// Print the manual page
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  repin man | man -l -")]
pub(in crate::app::cli) struct Arguments;

/// The maximum length of a line of filled text, in bytes (mandoc, "input text line longer than 80 bytes").
const COLUMNS: usize = 76;

#[expect(clippy::unnecessary_wraps, reason = "every command has this shape")]
pub(in crate::app::cli) fn run(_: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let mut root = crate::app::cli::command();
    // Gives each command its full name, such as `repin promote`.
    root.build();
    documents::print("man", page(&mut root).as_bytes(), cx);
    Ok(Exit::Done)
}

fn page(root: &mut Command) -> String {
    let about = text(root.get_about());
    let mut page = Page(format!(
        ".TH REPIN 1 \"\" \"repin {}\" \"User Commands\"\n",
        env!("CARGO_PKG_VERSION")
    ));
    page.section("NAME");
    page.fill(&format!(
        "repin \\- {}",
        escaped(about.trim_end_matches('.'))
    ));
    page.section("SYNOPSIS");
    page.line(&format!("\\fBrepin\\fR {}", escaped("[OPTIONS] COMMAND")));
    page.section("DESCRIPTION");
    page.fill(&escaped(&format!("{}.", about.trim_end_matches('.'))));
    page.section("GLOBAL OPTIONS");
    page.arguments(root, Arg::is_global_set);
    page.section("COMMANDS");
    for command in visible(root) {
        page.command(command);
    }
    for block in text(root.get_after_help()).split("\n\n") {
        match block.split_once(":\n") {
            Some((title, lines)) => {
                page.section(&title.to_uppercase());
                page.literal(lines);
            }
            None => page.fill_paragraph(block),
        }
    }
    page.0
}

fn visible(command: &mut Command) -> impl Iterator<Item = &mut Command> {
    let commands = command.get_subcommands_mut();
    commands.filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

fn text(styled: Option<&clap::builder::StyledStr>) -> String {
    styled.map(ToString::to_string).unwrap_or_default()
}

struct Page(String);

impl Page {
    fn section(&mut self, name: &str) {
        let _ = writeln!(self.0, ".SH {name}");
    }

    /// A command and those below it.
    fn command(&mut self, command: &mut Command) {
        let usage = command.render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ");
        let name = command.get_bin_name().unwrap_or_default().to_owned();
        let _ = writeln!(self.0, ".SS {}", escaped(&name));
        self.literal(usage);
        let about = command.get_long_about().or(command.get_about());
        self.blocks(&text(about));
        self.arguments(command, |argument| !argument.is_global_set());
        self.blocks(&text(command.get_after_help()));
        for command in visible(command) {
            self.command(command);
        }
    }

    fn arguments(&mut self, command: &Command, is_listed: impl Fn(&Arg) -> bool) {
        for argument in command.get_arguments() {
            if argument.is_hide_set() || !is_listed(argument) || argument.get_id() == "help" {
                continue;
            }
            let _ = writeln!(self.0, ".TP\n{}", names(argument));
            let mut help = text(argument.get_long_help().or(argument.get_help()));
            let values: Vec<_> = argument
                .get_possible_values()
                .iter()
                .map(|value| value.get_name().to_owned())
                .collect();
            let takes_values = argument.get_action().takes_values();
            if takes_values && !values.is_empty() && !argument.is_hide_possible_values_set() {
                let _ = write!(help, " [possible values: {}]", values.join(", "));
            }
            let defaults: Vec<_> = argument
                .get_default_values()
                .iter()
                .map(|value| value.to_string_lossy())
                .collect();
            if takes_values && !defaults.is_empty() && !argument.is_hide_default_value_set() {
                let _ = write!(help, " [default: {}]", defaults.join(", "));
            }
            self.fill(&escaped(&help.replace('\n', " ")));
        }
    }

    /// Paragraphs, and lists with indented lines, which are kept.
    fn blocks(&mut self, text: &str) {
        for block in text.split("\n\n").filter(|block| !block.is_empty()) {
            if block.contains("\n  ") {
                self.paragraph();
                self.literal(block);
            } else {
                self.fill_paragraph(block);
            }
        }
    }

    fn fill_paragraph(&mut self, text: &str) {
        self.paragraph();
        self.fill(&escaped(&text.replace('\n', " ")));
    }

    /// Begins a paragraph; the first of a section begins without a macro.
    fn paragraph(&mut self) {
        let last = self.0.lines().next_back().unwrap_or_default();
        if !last.starts_with(".S") {
            self.line(".PP");
        }
    }

    /// Text whose lines are kept, such as examples.
    fn literal(&mut self, text: &str) {
        self.line(".nf");
        for line in text.lines() {
            self.line(&escaped(line.trim_end()));
        }
        self.line(".fi");
    }

    /// Text that the reader's terminal wraps.
    fn fill(&mut self, text: &str) {
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > COLUMNS {
                self.line(&line);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&line);
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}

/// The forms of an option with its value, or the name of a positional argument.
fn names(argument: &Arg) -> String {
    let value_names = argument.get_value_names().unwrap_or_default();
    let values: Vec<_> = value_names
        .iter()
        .map(|name| format!("\\fI{}\\fR", escaped(name)))
        .collect();
    let values = values.join(" ");
    let mut forms = Vec::new();
    if let Some(short) = argument.get_short() {
        forms.push(format!("\\fB\\-{short}\\fR"));
    }
    if let Some(long) = argument.get_long() {
        forms.push(format!("\\fB\\-\\-{}\\fR", escaped(long)));
    }
    if forms.is_empty() {
        return values;
    }
    let forms = forms.join(", ");
    if argument.get_action().takes_values() {
        format!("{forms} {values}")
    } else {
        forms
    }
}

/// Text without the meaning of its characters in roff.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}
