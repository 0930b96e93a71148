//! The output of `git log`: parsed the same however it is split, and read back as written.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a panic is the finding"
)]

use std::io::BufReader;

use super::commits::{Commit, LogParser, MAX_BODY, MAX_FIELD};

fn commits(mut parser: LogParser<impl std::io::BufRead>) -> (Vec<Commit>, bool) {
    let mut all = Vec::new();
    loop {
        match parser.next() {
            Ok(Some(commit)) => all.push(commit),
            Ok(None) => return (all, true),
            Err(_) => return (all, false),
        }
    }
}

/// Any bytes as the output of git.
pub fn git_log(input: &[u8]) {
    let (whole, end) = commits(LogParser::new(input));
    assert_eq!(
        commits(LogParser::new(BufReader::with_capacity(1, input))),
        (read_again(&whole), end)
    );
    for commit in &whole {
        assert!(commit.info.subject().len() <= MAX_FIELD);
        // Each line ends with a line feed, which the last one of the body may lack.
        assert!(commit.trailers.len() <= MAX_BODY + 1);
        let fields = [commit.info.subject(), commit.trailers.as_slice()];
        assert!(fields.iter().all(|field| !field.contains(&0)));
        for change in &commit.changes {
            assert!(
                !change.path.is_empty()
                    && change.path.len() < MAX_FIELD
                    && !change.path.contains(&0)
            );
        }
    }
    // Every field ends at a NUL, so that each commit takes five and each change two.
    let fields = memchr::memchr_iter(0, input).count();
    let taken: usize = whole
        .iter()
        .map(|commit| 5 + 2 * commit.changes.len())
        .sum();
    assert!(
        taken <= fields && (!end || taken == fields),
        "{taken} of {fields}"
    );
}

/// The commits as they are written by git, and read again.
fn read_again(commits: &[Commit]) -> Vec<Commit> {
    let mut text = Vec::new();
    for commit in commits {
        let parents = commit.parents.first.iter().chain(&commit.parents.others);
        let parents: Vec<_> = parents.map(ToString::to_string).collect();
        let head = format!(
            "{}\0{}\0{} {}\0",
            commit.id,
            parents.join(" "),
            commit.info.date(),
            commit.info.author()
        );
        text.extend(
            [
                head.as_bytes(),
                commit.info.subject(),
                b"\0",
                &commit.trailers,
                b"\0",
            ]
            .concat(),
        );
        for change in &commit.changes {
            let zero = "0".repeat(40);
            let (mode, id) = match &change.blob {
                Some(id) => ("100644", id.to_string()),
                None => ("000000", zero.clone()),
            };
            text.extend(format!(":100644 {mode} {zero} {id} M\0").as_bytes());
            text.extend([change.path.as_slice(), b"\0"].concat());
        }
    }
    let (again, end) = self::commits(LogParser::new(text.as_slice()));
    assert!(end);
    again
}
