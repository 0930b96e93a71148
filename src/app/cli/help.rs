//! The arrangement of the help: commands in groups, and the global options only at the top level and in
//! `repin help global`.

use std::fmt::Write as _;

use clap::{Arg, Command, builder::StyledStr};

use super::commands::GROUPS;
use crate::base::untrusted::width;

const GLOBAL: &str = "Global options: repin help global";

/// Whether the arguments, without the name of the program, are `help global`.
pub(super) fn is_global_help(arguments: &[std::ffi::OsString]) -> bool {
    arguments.len() == 2 && arguments[0] == "help" && arguments[1] == "global"
}

/// Arranges the help of a command.
pub(super) fn arranged(command: Command) -> Command {
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{}\n{}\n{{options}}\n\n{}{{after-help}}",
        groups(&command),
        heading(&command, "Options"),
        global(&command).ansi(),
    );
    let after = command
        .get_after_help()
        .map(|help| with_comments_above(&help.ansi().to_string()));
    command
        .after_help(StyledStr::from(after.unwrap_or_default()))
        .mut_args(|arg| {
            let global = arg.is_global_set();
            arg.hide(global)
        })
        .mut_subcommands(with_global_hint)
        .help_template(StyledStr::from(template))
}

/// The output of `repin` without arguments: the commands in groups.
pub(super) fn short(command: &Command) -> StyledStr {
    let (header, literal) = (
        command.get_styles().get_header(),
        command.get_styles().get_literal(),
    );
    StyledStr::from(format!(
        "{header}Usage:{header:#} {literal}repin{literal:#} [OPTIONS] <COMMAND>\n{}\n\
         Options, examples and exit codes: {literal}repin --help{literal:#}; of a command: {literal}repin help \
         COMMAND{literal:#}\n",
        groups(command)
    ))
}

/// The output of `repin help global`.
pub(super) fn global(command: &Command) -> StyledStr {
    let options: Vec<Arg> = command
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .cloned()
        .collect();
    Command::new("repin")
        .disable_help_flag(true)
        .max_term_width(100)
        .args(options)
        .help_template("{all-args}\n")
        .render_help()
}

/// Refers to the global options in the help of a command and its subcommands.
fn with_global_hint(command: Command) -> Command {
    let before = command.get_after_help().map(|help| help.ansi().to_string());
    let text = match before {
        Some(before) => format!("{}\n\n{GLOBAL}", with_comments_above(&before)),
        None => GLOBAL.to_owned(),
    };
    command
        .after_help(StyledStr::from(text))
        .mut_subcommands(with_global_hint)
}

/// The width that help must fit.
const COLUMNS: usize = 80;

/// Puts the comments of examples above their commands, unless each line fits: a wrapped comment could be taken for
/// a part of the next command.
fn with_comments_above(help: &str) -> String {
    let example = |line: &str| {
        let (command, comment) = line.strip_prefix("  ")?.split_once(" # ")?;
        Some(format!("  # {}\n  {}", comment.trim(), command.trim_end()))
    };
    let is_wide = |line: &str| width(line) > COLUMNS && example(line).is_some();
    if !help.lines().any(is_wide) {
        return help.to_owned();
    }
    let lines = help
        .lines()
        .map(|line| example(line).unwrap_or_else(|| line.to_owned()));
    lines.collect::<Vec<_>>().join("\n")
}

fn groups(command: &Command) -> String {
    let names = command
        .get_subcommands()
        .map(|command| command.get_name().len());
    let width = names.max().unwrap_or_default();
    let mut text = String::new();
    for found in command.get_subcommands() {
        let name = found.get_name();
        if let Some((title, _)) = GROUPS.iter().find(|(_, commands)| commands[0] == name) {
            let _ = writeln!(text, "\n{}", heading(command, title));
        }
        let about = found.get_about().map(ToString::to_string);
        let literal = command.get_styles().get_literal();
        let _ = writeln!(
            text,
            "  {literal}{name}{literal:#}{:1$}  {2}",
            "",
            width - name.len(),
            about.unwrap_or_default()
        );
    }
    text
}

fn heading(command: &Command, title: &str) -> String {
    let style = command.get_styles().get_header();
    format!("{style}{title}:{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::cli::command;

    #[test]
    fn every_command_is_in_a_group() {
        let command = command();
        let names: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
        let grouped: Vec<_> = GROUPS.iter().flat_map(|(_, commands)| *commands).collect();
        assert!(names.iter().eq(grouped), "{names:?}");
    }

    #[test]
    fn comments_of_examples_are_not_wrapped() {
        fn check(command: &mut Command) {
            let help = command.render_help().to_string();
            let mut comments = help.lines().filter(|line| line.contains(" # "));
            let name = command.get_name().to_owned();
            assert!(
                comments.all(|line| width(line) <= COLUMNS),
                "{name}: {help}"
            );
            command.get_subcommands_mut().for_each(check);
        }
        let mut whole = arranged(command());
        whole.build();
        check(&mut whole);
        let long = "x".repeat(70);
        let above = with_comments_above(&format!(
            "A # b\n  repin a  # one\n  repin {long}  # two\n\nEnd"
        ));
        assert_eq!(
            above,
            format!("A # b\n  # one\n  repin a\n  # two\n  repin {long}\n\nEnd")
        );
        let short = "  repin a  # one\n  repin b\n";
        assert_eq!(with_comments_above(short), short);
    }

    #[test]
    fn only_the_top_level_lists_global_options() {
        let mut whole = arranged(command());
        whole.build();
        let top = whole.render_help().to_string();
        let global = global(&command()).to_string();
        for option in [
            "--config",
            "--source",
            "--format",
            "--color",
            "--quiet",
            "--verbose",
        ] {
            assert_eq!(top.matches(option).count(), 1, "{option}: {top}");
            assert!(global.contains(option), "{option}: {global}");
        }
        for below in whole.get_subcommands_mut() {
            if below.get_name() == "help" {
                continue;
            }
            let text = below.clone().render_help().to_string();
            assert!(!text.contains("--color") && text.contains(GLOBAL), "{text}");
        }
    }
}
