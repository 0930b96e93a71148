//! The question which images are the set, at a terminal.

use std::{
    fmt::Write as _,
    io::{self, BufRead, Read},
};

use crate::{
    cli::output::Output,
    error::{Errors, usage},
    pins::discover::{PinnedRepository, groups::Group},
};

/// How many groups are offered.
const OFFERED: usize = 20;
/// How many answers are read before giving up.
const TRIES: usize = 3;
/// The maximum length of an answer, in bytes.
const ANSWER: u64 = 1024;

/// Asks which groups make the set; returns their indices, the first one for an empty answer.
pub(super) fn which(
    groups: &[Group],
    seen: &[PinnedRepository],
    output: &Output,
) -> Result<Vec<usize>, Errors> {
    let offered = &groups[..groups.len().min(OFFERED)];
    output.error_text(&question(offered, seen));
    let mut input = io::stdin().lock();
    for _ in 0..TRIES {
        output.error_text("Numbers of the set, separated by blanks [1]: ");
        let mut answer = String::new();
        let read = input.by_ref().take(ANSWER).read_line(&mut answer);
        if read.map_err(|error| Errors::io(format!("cannot read the answer: {error}")))? == 0 {
            break;
        }
        if let Some(places) = places(&answer, offered.len()) {
            return Ok(places);
        }
        output.error_text(&format!("Enter numbers from 1 to {}.\n", offered.len()));
    }
    Err(usage(
        "no answer to the question which images form the set; nothing was written",
    ))
}

fn question(groups: &[Group], seen: &[PinnedRepository]) -> String {
    let mut text = "Which of these images form the set that is promoted together?\n".to_owned();
    for (at, group) in groups.iter().enumerate() {
        let members = group.members.iter().map(|&at| &seen[at]);
        let pins: usize = members.clone().map(|one| one.pins.len()).sum();
        let names = members.map(|one| one.repository.path().rsplit('/').next().unwrap_or_default());
        let mut names: Vec<_> = names.take(6).collect();
        if group.members.len() > names.len() {
            names.push("…");
        }
        let _ = writeln!(
            text,
            "  {:>2}  {}: {} ({pins} pinned)",
            at + 1,
            group.owner,
            names.join(", ")
        );
    }
    text
}

/// The indices in an answer, each once; `None` if the answer is malformed.
fn places(answer: &str, count: usize) -> Option<Vec<usize>> {
    let mut places = Vec::new();
    for word in answer
        .split([' ', ',', '\t', '\r', '\n'])
        .filter(|word| !word.is_empty())
    {
        let number: usize = word
            .parse()
            .ok()
            .filter(|number| (1..=count).contains(number))?;
        if !places.contains(&(number - 1)) {
            places.push(number - 1);
        }
    }
    Some(if places.is_empty() { vec![0] } else { places })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        assert_eq!(places("\n", 3), Some(vec![0]));
        assert_eq!(places("2\n", 3), Some(vec![1]));
        assert_eq!(places(" 3, 1 3\r\n", 3), Some(vec![2, 0]));
        for wrong in ["0", "4", "y", "1 x", "-1"] {
            assert_eq!(places(wrong, 3), None, "{wrong}");
        }
    }
}
