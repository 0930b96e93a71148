//! Random operations on two or three sets of one repository: the history of each set is that of the
//! same operations without the other sets.

use std::{collections::HashMap, path::Path, process::Command};

use fastrand::Rng;
use serde_json::Value;

use crate::support::repo::{Repo, pin, revision};

const CASES: u64 = 8;
const OPERATIONS: usize = 12;
const BUILDS: [char; 5] = ['a', 'b', 'c', 'd', 'e'];

/// The directories of the sets; the first is the top.
const DIRECTORIES: [&str; 3] = ["", "envs/prod/", "envs/staging/"];

/// A change of some sets.
#[derive(Debug, Clone)]
struct Operation {
    /// The new pins of each changed set: the builds of `fix` and `review`.
    pins: Vec<(usize, [char; 2])>,
    message: Message,
    /// Whether the commit is on a branch that a merge brings in.
    is_merged: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    /// A subject that claims no revision.
    Plain,
    /// The trailer of each changed set with its path.
    Trailers,
    /// The title of a promotion of the first changed set, and the trailers.
    Title,
}

impl Operation {
    fn random(rng: &mut Rng, sets: usize) -> Self {
        let mut pins = Vec::new();
        for set in 0..sets {
            if pins.is_empty() && set + 1 == sets || rng.u8(..) < 110 {
                let build = BUILDS[rng.usize(..BUILDS.len())];
                let other = BUILDS[rng.usize(..BUILDS.len())];
                let is_mixed = rng.u8(..) < 40;
                pins.push((set, [build, if is_mixed { other } else { build }]));
            }
        }
        Self {
            pins,
            message: [Message::Plain, Message::Trailers, Message::Title][rng.usize(..3)],
            is_merged: rng.bool(),
        }
    }

    fn text(&self, number: usize) -> String {
        let (first, [build, _]) = self.pins[0];
        let mut text = match self.message {
            Message::Title if self.pins.len() == 1 => {
                format!("promote: {} @{}", name(first), revision(build))
            }
            _ => format!("change {number}"),
        };
        text.push_str("\n\nA body.\n");
        if self.message != Message::Plain {
            for (set, [build, _]) in &self.pins {
                let path = format!("{}repin.yaml", DIRECTORIES[*set]);
                let revision = revision(*build);
                text.push_str("\nRepin-Set: ");
                text.push_str(&revision);
                if *set > 0 {
                    text.extend([" (", &path, ")"]);
                }
                text.push('\n');
            }
        }
        text
    }
}

/// The default name of a set.
fn name(set: usize) -> &'static str {
    ["images", "envs-prod", "envs-staging"][set]
}

fn config() -> &'static str {
    "version: 1\nfiles: ['pins.yml']\nimages:\n  fix: { repository: ghcr.io/acme/fix, pins: 1 }\n  \
     review: { repository: ghcr.io/acme/review, pins: 1 }\n"
}

/// The repository after the operations on `sets`, and the number of the operation of each commit.
fn repository(operations: &[Operation], sets: &[usize]) -> (Repo, HashMap<String, usize>) {
    let repo = Repo::empty();
    for set in sets {
        repo.write(&format!("{}repin.yaml", DIRECTORIES[*set]), config());
    }
    repo.commit("chore: begin");
    let mut numbers = HashMap::new();
    for (number, operation) in operations.iter().enumerate() {
        let pins = operation.pins.iter().filter(|(set, _)| sets.contains(set));
        let pins: Vec<_> = pins.collect();
        if pins.is_empty() {
            continue;
        }
        let branch = format!("topic-{number}");
        if operation.is_merged {
            repo.branch(&branch);
        }
        for (set, [fix, review]) in pins {
            repo.write(
                &format!("{}pins.yml", DIRECTORIES[*set]),
                format!("a: {}\nb: {}\n", pin("fix", *fix), pin("review", *review)),
            );
        }
        let mut commit = repo.commit(operation.text(number));
        numbers.insert(commit, number);
        if operation.is_merged {
            repo.checkout("main");
            commit = repo.merge(&[&branch], &format!("Merge {branch}"));
            numbers.insert(commit, number);
        }
    }
    repo.publish();
    (repo, numbers)
}

fn document(root: &Path, command: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_repin"))
        .current_dir(root)
        .args([command, "--format", "json"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command}: {text}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The entries and the holds of a set, with the numbers of operations instead of commits.
fn history(repo: &Repo, numbers: &HashMap<String, usize>, set: usize) -> Vec<String> {
    let root = repo.join(DIRECTORIES[set]);
    let number = |commit: &Value| commit.as_str().and_then(|commit| numbers.get(commit));
    let mut lines = Vec::new();
    for entry in document(&root, "history")["entries"].as_array().unwrap() {
        lines.push(format!(
            "{} {} {:?} {:?} {} {} {}",
            entry["kind"],
            entry["revision"],
            number(&entry["commit"]),
            number(&entry["returns_to"]),
            entry["images"],
            entry["current"],
            entry["can_roll_back"]
        ));
    }
    for hold in document(&root, "status")["holds"].as_array().unwrap() {
        let commit = number(&hold["commit"]);
        lines.push(format!(
            "held {} {commit:?} {}",
            hold["revision"], hold["images"]
        ));
    }
    lines
}

#[test]
fn other_sets_do_not_change_the_history_of_a_set() {
    let (mut entries, mut holds, mut returns) = (0, 0, 0);
    for seed in 0..CASES {
        let rng = &mut Rng::with_seed(seed);
        let sets: Vec<usize> = if rng.bool() {
            vec![0, 1, 2]
        } else {
            vec![1, 2]
        };
        let mut operations = Vec::new();
        for _ in 0..OPERATIONS {
            let mut operation = Operation::random(rng, sets.len());
            for (set, _) in &mut operation.pins {
                *set = sets[*set];
            }
            operations.push(operation);
        }
        let (all, numbers) = repository(&operations, &sets);
        for set in sets {
            let (alone, alone_numbers) = repository(&operations, &[set]);
            let expected = history(&alone, &alone_numbers, set);
            assert_eq!(
                history(&all, &numbers, set),
                expected,
                "seed {seed}, {}: {operations:#?}",
                DIRECTORIES[set]
            );
            entries += expected.len();
            holds += expected
                .iter()
                .filter(|line| line.starts_with("held"))
                .count();
            returns += expected
                .iter()
                .filter(|line| line.contains("Some") && !line.contains(" None "))
                .count();
        }
    }
    assert!(
        entries > 60 && holds > 5 && returns > 0,
        "{entries} {holds} {returns}"
    );
}
