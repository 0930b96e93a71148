//! Histories in memory, for tests of verdicts.

use std::{
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use crate::{
    config::Config,
    core::history::{
        Digests, History, LineFacts,
        claims::Claims,
        evidence,
        graph::Graph,
        sets::{Set, Sets},
        walk::{Commit, ConfigState, Content, UnknownContent},
    },
    git::{
        Branch, ObjectId,
        commits::{CommitInfo, Parents},
    },
    oci::{Digest, Pattern, date},
};

/// A commit. Its id is its index.
#[derive(Debug, Clone)]
pub(crate) struct ExampleCommit {
    /// The first parent is first.
    pub parents: Vec<usize>,
    /// A letter for the digest of each image; `None` if the commit cannot be read.
    pub set: Option<[char; 2]>,
    /// The revision that the title promotes.
    pub promotes: Option<char>,
    pub date: SystemTime,
}

impl History {
    /// The history that ends in the last commit of the line. `is_shallow`: whether parents of the first
    /// commit are missing.
    pub(crate) fn example(commits: &[ExampleCommit], tip: usize, is_shallow: bool) -> Self {
        let mut facts = LineFacts::default();
        let mut found = Sets::default();
        let mut parents = Vec::new();
        let pattern = Pattern::parse(".").unwrap();
        for (index, commit) in commits.iter().enumerate() {
            let number = commit.set.map(|set| {
                let set = Set::new(set.iter().map(|digest| vec![digest_of(*digest)]).collect());
                let known = found.distinct.iter().position(|other| *other == set);
                known.unwrap_or_else(|| {
                    found.distinct.push(set);
                    found.distinct.len() - 1
                })
            });
            let first = commit.parents.first();
            found
                .has_changed
                .push(first.is_none_or(|first| found.by_commit[*first] != number));
            found.by_commit.push(number);
            found.has_changed_files.push(true);
            let slots = number.map(|number| found.distinct[number].clone());
            found.slots_by_commit.push(slots);
            let revisions: Vec<_> = (commit.promotes.iter())
                .map(|letter| pattern.revision(&letter.to_string()).unwrap())
                .collect();
            facts.commits.push(Commit {
                id: id(index),
                info: CommitInfo::new(&date::format(commit.date), "A", b"subject"),
                trailers: Vec::new(),
                claims: Claims {
                    by_title: revisions.clone(),
                    revisions,
                    ..Claims::default()
                },
                paths: 1,
                added: None,
                previous: None,
                config: ConfigState::Present { is_changed: false },
                images: Arc::default(),
                content: if number.is_some() {
                    Content::Changed(Vec::new())
                } else {
                    let reason = format!("unreadable {index}").into();
                    let unknown = UnknownContent { file: None, reason };
                    Content::Unknown(Box::new(unknown), Vec::new())
                },
            });
            parents.push(Parents {
                first: first.map(|first| id(*first)),
                others: commit
                    .parents
                    .iter()
                    .skip(1)
                    .map(|other| id(*other))
                    .collect(),
            });
        }
        let ids = facts.commits.iter().map(|commit| &commit.id);
        facts.graph = Graph::new(ids.zip(&parents), &id(tip));
        facts.points = evidence::points(&facts.graph, &facts.commits, "origin/main", &mut found);
        facts.sets = found.distinct;
        if is_shallow {
            facts.doubtful.insert(0);
        }
        let name = "origin/main".to_owned();
        let branch = Branch { name, tip: id(tip) };
        Self::from_facts(branch, config(), facts)
    }

    /// The digests of an example set.
    pub(crate) fn example_digests(set: [char; 2]) -> Digests {
        let names = ["a", "b"].map(str::to_owned).into_iter();
        names.zip(set.map(digest_of)).collect()
    }
}

fn digest_of(letter: char) -> Digest {
    Digest::from_hex(&format!("{:064x}", u32::from(letter))).unwrap()
}

/// The id of a commit by its number.
pub(crate) fn id(number: usize) -> ObjectId {
    ObjectId::parse(format!("{number:040x}").as_bytes()).unwrap()
}

fn config() -> Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(parsed_config).clone()
}

fn parsed_config() -> Config {
    let text = "version: 1\nfiles: [x]\nrevision: { pattern: '.' }\nimages:\n  \
                a: { repository: r.example/a, pins: 1 }\n  b: { repository: r.example/b, pins: 1 }\n";
    crate::config::example(text)
}
