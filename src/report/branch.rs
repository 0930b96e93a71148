//! The pull request that brings one long-lived branch into another: its title and text.

use std::fmt::Write as _;

use crate::{forge::branches::Between, untrusted::markdown::code};

/// Commits that the text lists.
const LISTED: usize = 50;

/// The title.
pub fn title(between: Between<'_>) -> String {
    format!("promote: {} into {}", between.from, between.to)
}

/// The text, with the subjects of the commits (the oldest first) and the marker.
pub fn body(between: Between<'_>, subjects: &[String]) -> String {
    let count = if subjects.len() == 1 {
        "1 commit".to_owned()
    } else {
        format!("{} commits", subjects.len())
    };
    let mut text = format!(
        "Brings {} into {}, {count}:\n\n",
        code(between.from),
        code(between.to)
    );
    for subject in subjects.iter().rev().take(LISTED) {
        let subject: String = subject.chars().take(200).collect();
        let _ = writeln!(text, "- {}", code(&subject));
    }
    if subjects.len() > LISTED {
        let _ = writeln!(text, "- … and {} older ones", subjects.len() - LISTED);
    }
    let _ = write!(text, "\n{}\n", between.marker());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_lists_what_comes_and_is_no_markup() {
        let subjects = ["first", "a `b` @team #12 <b>", ""].map(str::to_owned);
        let text = body(
            Between {
                from: "staging",
                to: "main",
            },
            &subjects,
        );
        insta::assert_snapshot!(text, @r"
        Brings `staging` into `main`, 3 commits:

        - (empty)
        - `` a `b` @team #12 <b> ``
        - `first`

        <!-- repin/1 kind=branch revision=staging -->
        ");
        assert!(body(Between { from: "a", to: "b" }, &vec!["x".repeat(900); 900]).len() < 60_000);
    }
}
