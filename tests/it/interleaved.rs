//! Random operations on two or three sets of one repository: the history of each set is that of the
//! same operations without the other sets.

use std::{collections::HashMap, env, fs, process::Command};

use fastrand::Rng;
use serde_json::Value;

use crate::support::repo::{Repo, pin, revision};

const CASES: u64 = 8;
const OPERATIONS: usize = 14;
const BUILDS: [char; 5] = ['a', 'b', 'c', 'd', 'e'];

/// The files of a set.
#[derive(Debug, Clone)]
struct Files {
    /// The directory: empty, or with a trailing slash.
    directory: String,
    config: String,
    pins: &'static str,
}

/// The files of each set at the beginning. The last two sets share a directory.
fn files() -> Vec<Files> {
    let files = [
        ("", "repin.yaml", "pins.yml"),
        ("envs/prod/", "repin.yaml", "pins.yml"),
        ("envs/shared/", "repin.eu.yaml", "eu.yml"),
        ("envs/shared/", "repin.us.yaml", "us.yml"),
    ];
    let files = files.map(|(directory, config, pins)| Files {
        directory: directory.to_owned(),
        config: config.to_owned(),
        pins,
    });
    files.to_vec()
}

impl Files {
    fn path(&self) -> String {
        format!("{}{}", self.directory, self.config)
    }

    /// The default name of the set.
    fn name(&self) -> String {
        let mut parts: Vec<&str> = self.directory.split_terminator('/').collect();
        let key = self.config.trim_start_matches("repin.");
        let key = key.trim_end_matches("yaml").trim_end_matches('.');
        parts.extend((!key.is_empty()).then_some(key));
        if parts.is_empty() {
            return "images".to_owned();
        }
        parts.join("-")
    }

    /// `needs_path`: whether the trailer must not refer to other sets of the commit.
    fn trailer(&self, build: char, needs_path: bool) -> String {
        match &*self.path() {
            "repin.yaml" if !needs_path => format!("Repin-Set: {}", revision(build)),
            path => format!("Repin-Set: {} ({path})", revision(build)),
        }
    }

    /// A configuration of the set.
    fn text(&self) -> String {
        format!(
            "version: 1\nfiles: ['{}']\nimages:\n  fix: {{ repository: ghcr.io/acme/fix, pins: 1 }}\n  \
             review: {{ repository: ghcr.io/acme/review, pins: 1 }}\n",
            self.pins
        )
    }
}

/// A change of some sets.
#[derive(Debug, Clone)]
struct Operation {
    files: FileChange,
    /// The new pins of each changed set: the builds of `fix` and `review`.
    pins: Vec<(usize, [char; 2])>,
    message: Message,
    /// Whether the commit is on a branch that a merge brings in.
    is_merged: bool,
}

/// A change of the configuration files, in the same commit as that of the pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileChange {
    Nothing,
    /// The configuration of a set is added.
    Add(usize),
    /// The directory of a set moves, with all sets in it.
    Move(usize),
    /// The configuration of a set gets another name.
    Rename(usize),
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
    fn is_move(&self) -> bool {
        matches!(self.files, FileChange::Move(_) | FileChange::Rename(_))
    }

    /// `only_files`: whether an operation that moves files changes no pins.
    fn random(rng: &mut Rng, sets: &[usize], only_files: bool) -> Self {
        let set = sets[rng.usize(..sets.len())];
        let files = match rng.u8(..100) {
            0..8 => FileChange::Move(set),
            8..16 => FileChange::Rename(set),
            _ => FileChange::Nothing,
        };
        let mut pins = Vec::new();
        let only_files = only_files && files != FileChange::Nothing;
        for (index, set) in sets.iter().enumerate() {
            let is_needed = pins.is_empty() && index + 1 == sets.len();
            if !only_files && (is_needed || rng.u8(..) < 110) {
                let build = BUILDS[rng.usize(..BUILDS.len())];
                let other = BUILDS[rng.usize(..BUILDS.len())];
                let is_mixed = rng.u8(..) < 40;
                pins.push((*set, [build, if is_mixed { other } else { build }]));
            }
        }
        Self {
            files,
            pins,
            message: [Message::Plain, Message::Trailers, Message::Title][rng.usize(..3)],
            is_merged: rng.bool(),
        }
    }

    /// The message in a repository with `sets`, with the files of each set after the operation. A
    /// title, and a trailer without a path, refer to every set of a configuration that the commit
    /// adds.
    fn text(&self, number: usize, files: &[Files], sets: &[usize]) -> String {
        let adds_files = self.files != FileChange::Nothing;
        let mut text = match (self.message, &self.pins[..]) {
            (Message::Title, [(set, [build, _])]) if !adds_files => {
                format!("promote: {} @{}", files[*set].name(), revision(*build))
            }
            _ => format!("change {number}"),
        };
        text.push_str("\n\nA body.\n");
        if self.message != Message::Plain {
            for (set, [build, _]) in self.pins.iter().filter(|(set, _)| sets.contains(set)) {
                let trailer = files[*set].trailer(*build, adds_files);
                text.extend(["\n", &trailer, "\n"]);
            }
        }
        text
    }
}

/// Operations on `sets`. One of the sets may be added by one of them.
fn operations(rng: &mut Rng, sets: &[usize]) -> Vec<Operation> {
    let mut operations = Vec::new();
    let only_files = rng.bool();
    for _ in 0..OPERATIONS {
        operations.push(Operation::random(rng, sets, only_files));
    }
    if rng.bool() {
        let added = sets[rng.usize(..sets.len())];
        let position = rng.usize(1..OPERATIONS / 2);
        for operation in &mut operations[..position] {
            // The files with pins may exist before.
            operation.files = FileChange::Nothing;
        }
        operations[position].files = FileChange::Add(added);
    }
    operations
        .retain(|operation| operation.files != FileChange::Nothing || !operation.pins.is_empty());
    operations
}

/// The operations without moved files, if they lead to the same history: a message that moves the
/// configuration is evidence even if the pins stay the same.
fn without_moves(operations: &[Operation]) -> Option<Vec<Operation>> {
    let mut unmoved = operations.to_vec();
    for operation in &mut unmoved {
        if operation.is_move() {
            if !operation.pins.is_empty() {
                return None;
            }
            operation.files = FileChange::Nothing;
        }
    }
    Some(unmoved)
}

/// The repository after the operations on `sets`.
struct History {
    repo: Repo,
    /// The number of the operation of each commit.
    numbers: HashMap<String, usize>,
    /// The files of every set.
    files: Vec<Files>,
}

impl History {
    fn new(operations: &[Operation], sets: &[usize]) -> Self {
        let mut history = Self {
            repo: Repo::empty(),
            numbers: HashMap::new(),
            files: files(),
        };
        for set in sets {
            let files = &history.files[*set];
            let is_added = |operation: &Operation| operation.files == FileChange::Add(*set);
            if !operations.iter().any(is_added) {
                history.repo.write(&files.path(), files.text());
            }
        }
        history.repo.commit("chore: begin");
        for (number, operation) in operations.iter().enumerate() {
            history.apply(number, operation, sets);
        }
        history.repo.publish();
        history
    }

    fn apply(&mut self, number: usize, operation: &Operation, sets: &[usize]) {
        let branch = format!("topic-{number}");
        if operation.is_merged {
            self.repo.branch(&branch);
        }
        let mut is_changed = self.change_files(number, operation.files, sets);
        for (set, [fix, review]) in &operation.pins {
            if sets.contains(set) {
                let files = &self.files[*set];
                let text = format!("a: {}\nb: {}\n", pin("fix", *fix), pin("review", *review));
                (self.repo).write(&format!("{}{}", files.directory, files.pins), text);
                is_changed = true;
            }
        }
        if !is_changed {
            if operation.is_merged {
                self.repo.checkout("main");
            }
            return;
        }
        let text = operation.text(number, &self.files, sets);
        self.numbers.insert(self.repo.commit(text), number);
        if operation.is_merged {
            self.repo.checkout("main");
            let merge = self.repo.merge(&[&branch], &format!("Merge {branch}"));
            self.numbers.insert(merge, number);
        }
    }

    /// Changes the files of all sets, on disk if they are among `sets`.
    fn change_files(&mut self, number: usize, change: FileChange, sets: &[usize]) -> bool {
        let mut is_changed = false;
        let (directory, name) = match change {
            FileChange::Nothing => return false,
            FileChange::Add(set) => {
                let files = &self.files[set];
                is_changed = sets.contains(&set);
                if is_changed {
                    self.repo.write(&files.path(), files.text());
                }
                return is_changed;
            }
            FileChange::Move(_) => (Some(format!("moved-{number}/")), None),
            FileChange::Rename(_) => (None, Some(format!("repin.n{number}.yaml"))),
        };
        let (FileChange::Move(moved) | FileChange::Rename(moved) | FileChange::Add(moved)) = change
        else {
            return false;
        };
        let old_directory = self.files[moved].directory.clone();
        for set in 0..self.files.len() {
            let is_moved = directory.is_some() && self.files[set].directory == old_directory;
            if set != moved && !is_moved {
                continue;
            }
            let old = self.files[set].clone();
            let new = Files {
                directory: directory.clone().unwrap_or(old.directory.clone()),
                config: name.clone().unwrap_or(old.config.clone()),
                pins: old.pins,
            };
            let pins = [&old, &new].map(|files| format!("{}{}", files.directory, files.pins));
            for [from, to] in [[old.path(), new.path()], pins] {
                if sets.contains(&set) && from != to && self.repo.join(&from).exists() {
                    let directory = self.repo.join(&new.directory);
                    fs::create_dir_all(directory).unwrap();
                    fs::rename(self.repo.join(&from), self.repo.join(&to)).unwrap();
                    is_changed = true;
                }
            }
            self.files[set] = new;
        }
        is_changed
    }

    fn document(&self, command: &str, set: usize) -> Value {
        let config = self.files[set].path();
        let output = Command::new(env!("CARGO_BIN_EXE_repin"))
            .current_dir(self.repo.path())
            .args([command, "--config", &config, "--format", "json"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}: {text}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The entries, holds and ignored claims of a set, with the numbers of operations instead of
    /// commits.
    fn lines(&self, set: usize) -> Vec<String> {
        let number = |commit: &Value| commit.as_str().and_then(|commit| self.numbers.get(commit));
        let mut lines = Vec::new();
        for entry in self.document("history", set)["entries"].as_array().unwrap() {
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
        let status = self.document("status", set);
        for hold in status["holds"].as_array().unwrap() {
            let commit = number(&hold["commit"]);
            lines.push(format!(
                "held {} {commit:?} {}",
                hold["revision"], hold["images"]
            ));
        }
        for claim in status["ignored_claims"].as_array().unwrap() {
            let commits = [number(&claim["commit"]), number(&claim["introduced"])];
            lines.push(format!(
                "ignored {commits:?} {} {}",
                claim["claimed"], claim["revision"]
            ));
        }
        for row in status["not_read"].as_array().unwrap() {
            lines.push(format!("not read: {}", row["what"]));
        }
        lines
    }
}

/// The lines without holds that others lack: digests that a set undid which no longer exists are held in every
/// set.
fn without_further_holds(mut lines: Vec<String>, others: &[String]) -> Vec<String> {
    lines.retain(|line| !line.starts_with("held ") || others.contains(line));
    lines
}

#[test]
fn other_sets_do_not_change_history() {
    let (mut entries, mut holds, mut returns) = (0, 0, 0);
    let (mut moved, mut added, mut unmoved) = (0, 0, 0);
    let first = env::var("REPIN_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + CASES {
        let rng = &mut Rng::with_seed(seed);
        let mut sets = vec![0, 1, 2, 3];
        rng.shuffle(&mut sets);
        sets.truncate(rng.usize(2..4));
        sets.sort_unstable();
        let operations = operations(rng, &sets);
        for operation in &operations {
            moved += usize::from(operation.is_move());
            added += usize::from(matches!(operation.files, FileChange::Add(_)));
        }
        let all = History::new(&operations, &sets);
        for set in sets {
            let expected = History::new(&operations, &[set]).lines(set);
            if let Some(operations) = without_moves(&operations) {
                let lines = History::new(&operations, &[set]).lines(set);
                // A moved set is held at its former paths too.
                assert_eq!(
                    lines,
                    without_further_holds(expected.clone(), &lines),
                    "seed {seed}, set {set}: {operations:#?}"
                );
                unmoved += 1;
            }
            let mut lines = all.lines(set);
            if operations.iter().any(Operation::is_move) {
                lines = without_further_holds(lines, &expected);
            }
            assert_eq!(lines, expected, "seed {seed}, set {set}: {operations:#?}");
            let count = |start: &str| {
                expected
                    .iter()
                    .filter(|line| line.starts_with(start))
                    .count()
            };
            entries += expected.len();
            holds += count("held");
            returns += expected
                .iter()
                .filter(|line| line.contains("Some") && !line.contains(" None "))
                .count();
        }
    }
    let counts = [entries, holds, returns, moved, added, unmoved];
    let least = [60, 5, 1, 10, 3, 3];
    assert!(
        counts
            .iter()
            .zip(least)
            .all(|(count, least)| *count >= least),
        "{counts:?}"
    );
}
