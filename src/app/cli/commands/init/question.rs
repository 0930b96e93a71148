//! The prompt for the images of the set, on a terminal.

use std::{
    fmt::Write as _,
    io::{self, BufRead, Read},
};

use crate::{
    app::cli::output::Output,
    base::error::{Errors, usage},
    core::pins::discover::{PinnedRepository, groups::Group},
};

/// The maximum number of groups in the prompt.
const MAX_GROUPS: usize = 20;
/// The number of attempts.
const TRIES: usize = 3;
/// The number of images that are listed for a group.
const MAX_NAMES: usize = 6;
/// The maximum length of the input, in bytes.
const MAX_INPUT: u64 = 1024;

/// Prompts for the groups that make the set, and returns their indices; the default is the first group.
pub(super) fn prompt(
    groups: &[Group],
    repositories: &[PinnedRepository],
    output: &Output,
) -> Result<Vec<usize>, Errors> {
    let groups = &groups[..groups.len().min(MAX_GROUPS)];
    output.write_stderr(&question(groups, repositories));
    let mut input = io::stdin().lock();
    for _ in 0..TRIES {
        output.write_stderr("Numbers of the set, separated by blanks [1]: ");
        let mut line = String::new();
        let length = input
            .by_ref()
            .take(MAX_INPUT)
            .read_line(&mut line)
            .map_err(|error| Errors::io(format!("cannot read the answer: {error}")))?;
        if length == 0 {
            break;
        }
        if let Some(indices) = parse(&line, groups.len()) {
            return Ok(indices);
        }
        output.write_stderr(&format!("Enter numbers from 1 to {}.\n", groups.len()));
    }
    Err(usage(
        "no answer to the question which images form the set; nothing was written",
    ))
}

fn question(groups: &[Group], repositories: &[PinnedRepository]) -> String {
    let mut text = "Which of these images form the set that is promoted together?\n".to_owned();
    for (index, group) in groups.iter().enumerate() {
        let (mut names, mut pins) = (Vec::new(), 0);
        for member in &group.members {
            let pinned = &repositories[*member];
            let name = pinned.repository.path().rsplit('/').next();
            names.push(name.unwrap_or_default());
            pins += pinned.pins.len();
        }
        if names.len() > MAX_NAMES {
            names.truncate(MAX_NAMES);
            names.push("…");
        }
        let _ = writeln!(
            text,
            "  {:>2}  {}: {} ({pins} pinned)",
            index + 1,
            group.owner,
            names.join(", ")
        );
    }
    text
}

/// Parses distinct numbers from 1 to `count`, and returns them as indices; `None` if the line is malformed.
fn parse(line: &str, count: usize) -> Option<Vec<usize>> {
    let mut indices = Vec::new();
    for word in line.split([' ', ',', '\t', '\r', '\n']) {
        if word.is_empty() {
            continue;
        }
        let number: usize = word.parse().ok()?;
        if !(1..=count).contains(&number) {
            return None;
        }
        if !indices.contains(&(number - 1)) {
            indices.push(number - 1);
        }
    }
    if indices.is_empty() {
        indices.push(0);
    }
    Some(indices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_parsed() {
        assert_eq!(parse("\n", 3), Some(vec![0]));
        assert_eq!(parse("2\n", 3), Some(vec![1]));
        assert_eq!(parse(" 3, 1 3\r\n", 3), Some(vec![2, 0]));
        for wrong in ["0", "4", "y", "1 x", "-1"] {
            assert_eq!(parse(wrong, 3), None, "{wrong}");
        }
    }
}
