//! Random histories in git: the verdicts about each set equal those of an oracle that knows only contents.

use std::{cell::RefCell, collections::BTreeMap, path::Path};

use crate::{
    config::SetPath,
    core::{
        configurations::config_of_set,
        history::{Digests, History, Hold, HoldScope, OtherSets, Provenance},
    },
    git::{Branch, Git, ObjectId, SharedGit},
    support::{
        histories::{
            self, Bytes, generator,
            oracle::{self, Answers, Build, Verdict},
        },
        repo::Repo,
    },
};

/// The number of tests, which may run at the same time.
const PARTS: u64 = 4;
/// Seeds of later histories that found defects, in addition to those of a normal run.
const FOUND: [u64; 20] = [
    614, 743, 768, 778, 811, 832, 889, 915, 921, 957, 1025, 1087, 1100, 2320, 2442, 2920, 4877,
    12187, 16384, 18535,
];
/// The number of histories in one repository.
const TOGETHER: usize = 25;

/// A history in a repository.
struct Case<'h> {
    /// The sets of a repository share what they read, as in a run for all sets.
    git: &'h Git,
    history: &'h histories::History,
    ids: &'h [String],
    /// The sets of a branch, by its tip and the name of the configuration, as in a run of the program.
    others: RefCell<BTreeMap<(usize, String), OtherSets>>,
}

/// A set that asks, as the program and the oracle read it.
struct Asked<'o> {
    program: History,
    oracle: Answers<'o>,
}

/// Differences of a case, and the number of compared verdicts of each kind.
#[derive(Default)]
struct Comparison {
    differences: Vec<String>,
    answers: BTreeMap<String, usize>,
}

impl Comparison {
    fn expect<T: PartialEq + std::fmt::Debug>(
        &mut self,
        question: &str,
        asked: &str,
        program: &T,
        oracle: &T,
    ) {
        let oracle_text = format!("{oracle:?}");
        let kind = format!(
            "{question} {}",
            oracle_text.split('(').next().unwrap_or_default()
        );
        *self.answers.entry(kind).or_default() += 1;
        if program != oracle {
            let difference =
                format!("{question} of {asked}: {program:?}, but the oracle says {oracle:?}");
            self.differences.push(difference);
        }
    }
}

fn verdict(hold: &Hold) -> Verdict {
    if hold.is_held() {
        Verdict::Fails
    } else if hold.latest().is_some() {
        Verdict::Warns
    } else {
        Verdict::Passes
    }
}

impl Case<'_> {
    fn id(&self, commit: usize) -> ObjectId {
        ObjectId::parse(self.ids[commit].as_bytes()).unwrap()
    }

    fn digests(&self, build: &Build) -> Digests {
        let digests = build
            .iter()
            .map(|(name, bytes)| (name.clone(), bytes.digest(self.history.seed)));
        digests.collect()
    }

    /// The history of the set at `path`, which has the configuration of the commit `own`.
    fn read(&self, tip: usize, own: usize, path: &str, scope: HoldScope) -> History {
        let set_path = SetPath::new(Path::new(path)).unwrap();
        let Ok(config) = config_of_set(self.git, &self.id(own), &set_path) else {
            panic!("the configuration of {path} cannot be read");
        };
        let branch = Branch {
            name: "origin/main".to_owned(),
            tip: self.id(tip),
        };
        let history = History::for_branch(self.git, &config, branch.clone()).unwrap();
        let reach = history.reach();
        let mut others = self.others.borrow_mut();
        let read = || OtherSets::read(self.git, &branch, &set_path, reach).unwrap();
        let others = others
            .entry((tip, config.file_name().to_owned()))
            .or_insert_with(read);
        history.with_other_sets(others, scope).unwrap()
    }

    /// Compares the verdicts about every set at the tip, and about a set of each pull request. A set with an unknown past
    /// is skipped.
    fn compare(&self, comparison: &mut Comparison) {
        let (commits, tip) = (&self.history.commits, self.history.tip);
        let base = oracle::Branch::new(commits, tip);
        let is_all = histories::asks_everything();
        let seed = usize::try_from(self.history.seed).unwrap();
        // A normal run asks about a pull request or a set.
        let asks_head = seed % 3 == 0;
        let configs = &commits[tip].tree.configs;
        for (number, (path, config)) in configs.iter().enumerate() {
            if !is_all && (asks_head || seed % configs.len() != number) {
                continue;
            }
            if let Some(oracle) = base.ask(path, config) {
                let program = self.read(tip, tip, path, HoldScope::All);
                self.compare_builds(path, config, &Asked { program, oracle }, comparison);
            }
        }
        let heads = match (is_all, asks_head) {
            (true, _) => 3,
            (false, true) => 1,
            (false, false) => 0,
        };
        for head in self.history.heads.iter().rev().take(heads) {
            let branch = oracle::Branch::new(commits, *head);
            let configs = &commits[*head].tree.configs;
            let Some((path, config)) = configs.iter().nth(head % configs.len().max(1)) else {
                continue;
            };
            if let (Some(on_base), Some(on_head)) =
                (base.ask(path, config), branch.ask(path, config))
            {
                let program = self.read(tip, *head, path, HoldScope::All);
                let with_head = self.read(*head, *head, path, HoldScope::All);
                let pinned = self.digests(&on_head.current());
                let hold = program.hold_of_head(&with_head, &pinned, &pinned);
                let asked = format!("{path} at {head}");
                comparison.expect("check", &asked, &verdict(&hold), &on_base.check(&on_head));
            }
        }
    }

    /// Compares promotions of each build, and rollbacks to each.
    fn compare_builds(
        &self,
        path: &str,
        config: &histories::Config,
        Asked { program, oracle }: &Asked<'_>,
        comparison: &mut Comparison,
    ) {
        let current = oracle.current();
        // Lists need only the holds that refuse.
        let tip = self.history.tip;
        let listed = self.read(tip, tip, path, HoldScope::Refusals);
        for build in 0..self.history.builds {
            let images = config.images.iter();
            let build_of = |image: &histories::Image| self.history.bytes(image.number, build);
            let images: BTreeMap<String, Bytes> = images
                .map(|image| (image.name.clone(), build_of(image)))
                .collect();
            let asked = format!("{path} to {build}");
            for pinned in [&current, &Build::new()] {
                let hold = program.hold(&self.digests(&images), &self.digests(pinned));
                let expected = oracle.promote(&images, pinned);
                comparison.expect("promote", &asked, &verdict(&hold), &expected);
            }
            let hold = listed.hold(&self.digests(&images), &self.digests(&current));
            let expected = oracle.promote(&images, &current) == Verdict::Fails;
            comparison.expect("builds", &asked, &hold.is_held(), &expected);
            let found = listed.provenance_of(&self.digests(&images));
            let found = matches!(found, Provenance::Found(_));
            let was_current = oracle.was_current(&images);
            comparison.expect("rollback", &asked, &found, &was_current);
        }
        if self.history.is_by_content {
            let previous = listed.newest_available().map(|entry| entry.images.clone());
            let expected = oracle.previous().map(|build| self.digests(&build));
            comparison.expect("previous", path, &previous, &expected);
        }
    }
}

/// Compares the histories of these seeds. Returns the number of compared verdicts of each kind.
fn compare(seeds: impl IntoIterator<Item = u64>) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    let mut failed = Vec::new();
    let seeds: Vec<_> = seeds.into_iter().collect();
    for seeds in seeds.chunks(TOGETHER) {
        let made: Vec<_> = seeds.iter().map(|seed| generator::history(*seed)).collect();
        let repo = Repo::empty();
        let digest =
            |history: &histories::History, bytes: Bytes| bytes.digest(history.seed).to_string();
        let ids = histories::import(repo.path(), &made, &digest);
        let shared = SharedGit::open(repo.path(), [Vec::new()]).unwrap();
        let git = shared.at(repo.path()).unwrap();
        for (history, ids) in made.iter().zip(&ids) {
            let mut comparison = Comparison::default();
            let case = Case {
                git: &git,
                history,
                ids,
                others: RefCell::default(),
            };
            case.compare(&mut comparison);
            for (kind, count) in comparison.answers {
                *all.entry(kind).or_default() += count;
            }
            if !comparison.differences.is_empty() {
                failed.push((history.commits.len(), history.seed, comparison.differences));
            }
        }
    }
    failed.sort();
    let count = failed.len();
    assert!(
        failed.is_empty(),
        "{count} histories differ, the shortest first: {:#?}",
        &failed[..count.min(5)]
    );
    all
}

/// The histories of one part of a run.
fn part(number: u64) {
    let seeds = histories::seeds();
    let found = FOUND.into_iter().filter(|seed| !seeds.contains(seed));
    let answers = compare(
        seeds
            .clone()
            .chain(found)
            .filter(|seed| seed % PARTS == number),
    );
    println!("{answers:#?}");
}

#[test]
fn answers_follow_contents_first_quarter() {
    part(0);
}

#[test]
fn answers_follow_contents_second_quarter() {
    part(1);
}

#[test]
fn answers_follow_contents_third_quarter() {
    part(2);
}

#[test]
fn answers_follow_contents_last_quarter() {
    part(3);
}
