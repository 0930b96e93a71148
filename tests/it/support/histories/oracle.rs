//! The answers about a history by its contents alone: a commit is its parents, the digests in its files and its
//! message.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use super::{Bytes, Commit, Config, Image, Tree, directory};

/// The digests of each image of a set.
type Pins = BTreeMap<usize, BTreeSet<Bytes>>;

/// The bytes that each image gets, by its name.
pub type Build = BTreeMap<String, Bytes>;

/// The answer about a change of pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Passes,
    Warns,
    Fails,
}

/// The commits that a tip reaches.
pub struct Branch<'h> {
    commits: &'h [Commit],
    /// The first-parent line, oldest first.
    line: Vec<usize>,
    /// The position in the line at which each commit was merged.
    positions: Vec<Option<usize>>,
    /// The holds of each path, once they are known.
    of_paths: OnceCell<Vec<(String, Vec<Undone>)>>,
}

/// A set: the paths that its configuration had, newest first, and its last configuration.
struct Set<'h> {
    paths: Vec<String>,
    last: &'h Config,
    /// The first configuration of the line at the oldest path.
    first: Option<&'h Config>,
    /// The position in the line at which the set begins.
    start: usize,
    /// The number of the path at each commit, and whether that commit or one before had a configuration.
    states: Vec<(usize, bool)>,
    /// The files of each commit: the pins of the set's images.
    files: Vec<Files<'h>>,
    pins: Vec<Pins>,
}

/// The paths that a configuration had.
#[derive(Default)]
struct Paths {
    newest_first: Vec<String>,
    /// The position in the line at which the configuration was moved to each path but the last one.
    moves: Vec<usize>,
    /// The position in the line at which the set begins.
    start: usize,
}

/// The pins of each file.
type Files<'h> = BTreeMap<&'h str, Vec<(&'h str, Bytes)>>;

/// A commit that undid bytes, with the name that the image had.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Undone {
    bytes: Bytes,
    name: String,
    commit: usize,
}

/// The bytes that the commits of a set undid, and those that commits pinned on purpose.
#[derive(Default)]
struct Holds {
    undone: Vec<Undone>,
    released: Vec<(Bytes, usize)>,
}

/// The holds of a branch for one of its sets.
pub struct Answers<'h> {
    branch: &'h Branch<'h>,
    set: Set<'h>,
    /// The repositories that each image had, by its name.
    repositories: BTreeMap<String, BTreeSet<&'h str>>,
    /// The commits that pinned bytes of the set on purpose.
    released: Vec<(Bytes, usize)>,
    /// The bytes that are held here.
    here: Vec<Undone>,
    /// The bytes that are held in a set that still exists.
    elsewhere: Vec<Undone>,
}

/// The parts of a message that refer to a set.
#[derive(Default)]
struct Record {
    /// The revision that it rolls back to.
    rolled_back: Option<String>,
    /// The revision that it records.
    revision: Option<String>,
    is_override: bool,
    is_evidence: bool,
}

impl<'h> Set<'h> {
    /// The configurations of a commit with this state: its own, the first and the last one before any, or the last one after
    /// a removal.
    fn configs(&self, tree: &'h Tree, (at, had): (usize, bool)) -> Vec<&'h Config> {
        if let Some(own) = tree.configs.get(&self.paths[at]) {
            return vec![own];
        }
        let first = self.first.filter(|_| !had);
        first.into_iter().chain([self.last]).collect()
    }
}

impl<'h> Branch<'h> {
    pub fn new(commits: &'h [Commit], tip: usize) -> Self {
        let mut line = vec![tip];
        while let Some(parent) = commits[line[line.len() - 1]].parents.first() {
            line.push(*parent);
        }
        line.reverse();
        let mut positions = vec![None; commits.len()];
        for (position, commit) in line.iter().enumerate() {
            let mut next = vec![*commit];
            while let Some(commit) = next.pop() {
                if positions[commit].is_none() {
                    positions[commit] = Some(position);
                    next.extend(&commits[commit].parents);
                }
            }
        }
        Self {
            commits,
            line,
            positions,
            of_paths: OnceCell::new(),
        }
    }

    fn tip(&self) -> &'h Commit {
        &self.commits[self.line[self.line.len() - 1]]
    }

    fn reachable(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.commits.len()).filter(|commit| self.positions[*commit].is_some())
    }

    fn is_on_line(&self, commit: usize) -> bool {
        self.positions[commit].is_some_and(|position| self.line[position] == commit)
    }

    /// Whether a commit is a proper ancestor of another one.
    fn is_ancestor(&self, older: usize, newer: usize) -> bool {
        let mut is_reached = vec![false; self.commits.len()];
        let mut next = self.commits[newer].parents.clone();
        while let Some(commit) = next.pop() {
            // A parent has a smaller index.
            if commit >= older && !is_reached[commit] {
                is_reached[commit] = true;
                next.extend(&self.commits[commit].parents);
            }
        }
        is_reached[older]
    }

    /// Whether a merge reaches a commit, and its first parent does not.
    fn is_merged_by(&self, commit: usize, merge: usize) -> bool {
        let first = self.commits[merge].parents.first();
        self.is_ancestor(commit, merge)
            && first.is_some_and(|first| commit != *first && !self.is_ancestor(commit, *first))
    }

    /// The path of every configuration that a commit has.
    fn paths(&self) -> BTreeSet<&'h String> {
        let trees = self.reachable().map(|commit| &self.commits[commit].tree);
        trees.flat_map(|tree| tree.configs.keys()).collect()
    }

    /// The paths from which the configuration at `path` was renamed, and the position at which its set begins;
    /// `None` if git cannot tell.
    fn former_paths(&self, path: &str) -> Option<Paths> {
        let mut paths = vec![path.to_owned()];
        let mut moves = Vec::new();
        for position in (1..self.line.len()).rev() {
            let path = paths[paths.len() - 1].clone();
            if !self.is_added(position, &path) {
                continue;
            }
            match self.renamed(position, &path)? {
                Some(old) => {
                    paths.push(old);
                    moves.push(position);
                }
                None if self.has_moved_away(position, &path)? => {
                    let start = position;
                    return Some(Paths {
                        newest_first: paths,
                        moves,
                        start,
                    });
                }
                None => {}
            }
        }
        Some(Paths {
            newest_first: paths,
            moves,
            start: 0,
        })
    }

    fn is_added(&self, position: usize, path: &str) -> bool {
        let has = |position: usize| {
            let tree = &self.commits[self.line[position]].tree;
            tree.configs.contains_key(path)
        };
        has(position) && !has(position - 1)
    }

    /// The configuration that a commit of the line moved to `path`; `None` if git cannot tell.
    #[allow(
        clippy::option_option,
        reason = "no rename is another answer than an unknown one"
    )]
    fn renamed(&self, position: usize, path: &str) -> Option<Option<String>> {
        let [old, new] =
            [position - 1, position].map(|at| &self.commits[self.line[at]].tree.configs);
        let removed: Vec<_> = old.keys().filter(|path| !new.contains_key(*path)).collect();
        let added: Vec<_> = new.keys().filter(|path| !old.contains_key(*path)).collect();
        match (&removed[..], &added[..]) {
            ([], _) => Some(None),
            ([removed], [_]) if are_similar(&old[*removed], &new[path]) => {
                Some(Some((*removed).clone()))
            }
            _ => {
                let mut same = removed.iter().filter(|removed| old[**removed] == new[path]);
                let twins = added
                    .iter()
                    .filter(|added| new[**added] == new[path])
                    .count();
                match (same.next(), same.next(), twins) {
                    (Some(source), None, 1) => Some(Some((*source).clone())),
                    _ => None,
                }
            }
        }
    }

    /// Whether the configuration that was last at `path` before a position was renamed.
    fn has_moved_away(&self, position: usize, path: &str) -> Option<bool> {
        let has = |at: usize| self.commits[self.line[at]].tree.configs.contains_key(path);
        let Some(removal) = (1..position).rev().find(|at| has(at - 1)) else {
            return Some(false);
        };
        let [old, new] = [removal - 1, removal].map(|at| &self.commits[self.line[at]].tree.configs);
        for added in new.keys().filter(|added| !old.contains_key(*added)) {
            if self.renamed(removal, added)?.as_deref() == Some(path) {
                return Some(true);
            }
        }
        Some(false)
    }

    /// The sets that were at `path`.
    fn set_of_path(&self, path: &str) -> Set<'h> {
        let mut newest = self.reachable().collect::<Vec<_>>();
        newest.reverse();
        let tip = self.line[self.line.len() - 1];
        let mut configs = [tip].into_iter().chain(newest);
        let last = configs.find_map(|commit| self.commits[commit].tree.configs.get(path));
        let paths = Paths {
            newest_first: vec![path.to_owned()],
            ..Paths::default()
        };
        self.set_at(paths, last.unwrap())
    }

    fn set_at(&self, paths: Paths, last: &'h Config) -> Set<'h> {
        let Paths {
            newest_first: paths,
            moves,
            start,
        } = paths;
        let on_line = |position: usize| {
            let mut moves = moves.iter();
            moves
                .position(|moved| position >= *moved)
                .unwrap_or(paths.len() - 1)
        };
        let mut states: Vec<(usize, bool)> = Vec::new();
        for (index, commit) in self.commits.iter().enumerate() {
            let new = &commit.tree.configs;
            let (mut at, mut had) = (paths.len() - 1, false);
            if let Some(parent) = commit.parents.first() {
                (at, had) = states[*parent];
                let old = &self.commits[*parent].tree.configs;
                if old.contains_key(&paths[at]) && !new.contains_key(&paths[at]) {
                    let moved =
                        |path: &String| new.contains_key(path) && new.get(path) != old.get(path);
                    at = paths.iter().position(moved).unwrap_or(at);
                }
            }
            if let Some(position) = self.positions[index].filter(|_| self.is_on_line(index)) {
                at = on_line(position);
            }
            had |= new.contains_key(&paths[at]);
            states.push((at, had));
        }
        let oldest = &paths[paths.len() - 1];
        let mut line = self.line.iter();
        let first = line.find_map(|commit| self.commits[*commit].tree.configs.get(oldest));
        let mut set = Set {
            paths,
            last,
            first,
            start,
            states,
            files: Vec::new(),
            pins: Vec::new(),
        };
        for commit in 0..self.commits.len() {
            let files = self.files(&set, commit);
            let mut pins = Pins::new();
            for (_, bytes) in files.values().flatten() {
                pins.entry(bytes.image).or_default().insert(*bytes);
            }
            set.files.push(files);
            set.pins.push(pins);
        }
        set
    }

    /// The files of a set at a commit: the pins of its images.
    fn files(&self, set: &Set<'h>, commit: usize) -> BTreeMap<&'h str, Vec<(&'h str, Bytes)>> {
        let tree = &self.commits[commit].tree;
        let path = &set.paths[set.states[commit].0];
        let configs = set.configs(tree, set.states[commit]);
        let names = configs.iter().flat_map(|config| &config.files);
        let images: Vec<_> = configs.iter().flat_map(|config| &config.images).collect();
        let mut files = BTreeMap::new();
        for file in names {
            let pins = tree.files.get(&format!("{}{file}", directory(path)));
            let mut own = Vec::new();
            for (repository, bytes) in pins.into_iter().flatten() {
                if images.iter().any(|image| image.repository == *repository) {
                    own.push((repository.as_str(), *bytes));
                }
            }
            if !own.is_empty() {
                files.insert(file.as_str(), own);
            }
        }
        files
    }

    /// Whether the configuration of the set was removed before or at a commit.
    fn is_removed(&self, set: &Set<'h>, commit: usize) -> bool {
        let (at, had) = set.states[commit];
        had && !self.commits[commit]
            .tree
            .configs
            .contains_key(&set.paths[at])
    }

    /// The name of the image that pins these bytes.
    fn name_of(&self, set: &Set<'h>, commit: usize, bytes: Bytes) -> String {
        let configs = set.configs(&self.commits[commit].tree, set.states[commit]);
        let files = &set.files[commit];
        let mut pins = files.values().flatten();
        let (repository, _) = pins.find(|(_, pinned)| *pinned == bytes).unwrap();
        let mut images = configs.iter().flat_map(|config| &config.images);
        images
            .find(|image| image.repository == *repository)
            .unwrap()
            .name
            .clone()
    }

    /// Whether a commit changes a file with pins.
    fn changes_file(&self, set: &Set<'h>, commit: usize) -> bool {
        let new = &set.files[commit];
        let Some(parent) = self.commits[commit].parents.first() else {
            return !new.is_empty();
        };
        let old = &set.files[*parent];
        let root = directory(&set.paths[set.states[commit].0]);
        let mut files = old.keys().chain(new.keys());
        files.any(|file| {
            let whole = format!("{root}{file}");
            let [before, after] =
                [*parent, commit].map(|at| self.commits[at].tree.files.get(&whole));
            before != after && old.get(file) != new.get(file)
        })
    }

    /// The repositories of an image under any of its names.
    fn repositories(&self, set: &Set<'h>, image: &'h Image) -> BTreeSet<&'h str> {
        let configs = self.reachable().filter_map(|commit| {
            let path = &set.paths[set.states[commit].0];
            self.commits[commit].tree.configs.get(path)
        });
        let past: Vec<_> = configs.flat_map(|config| &config.images).collect();
        let (mut names, mut repositories) = (BTreeSet::new(), BTreeSet::new());
        names.insert(image.name.as_str());
        repositories.insert(image.repository.as_str());
        loop {
            let before = names.len() + repositories.len();
            for Image {
                name, repository, ..
            } in &past
            {
                if names.contains(name.as_str()) || repositories.contains(repository.as_str()) {
                    names.insert(name);
                    repositories.insert(repository);
                }
            }
            if names.len() + repositories.len() == before {
                return repositories;
            }
        }
    }

    /// Whether the message of a commit is evidence for the set: the commit changes its pins, or adds or corrects
    /// its configuration.
    fn is_evidence(&self, set: &Set<'h>, commit: usize) -> bool {
        let list = |commit: usize| {
            let files = set.files[commit].values();
            let mut pins: Vec<_> = files.flatten().collect();
            pins.sort_unstable();
            pins
        };
        let Some(parent) = self.commits[commit].parents.first() else {
            return !list(commit).is_empty() || self.is_added_at(set, commit);
        };
        list(*parent) != list(commit) || self.is_added_at(set, commit)
    }

    fn is_added_at(&self, set: &Set<'h>, commit: usize) -> bool {
        let path = &set.paths[set.states[commit].0];
        let parent = self.commits[commit].parents.first();
        let before = parent.and_then(|parent| {
            let is_same = set.states[*parent].0 == set.states[commit].0;
            self.commits[*parent]
                .tree
                .configs
                .get(path)
                .filter(|_| is_same)
        });
        self.commits[commit].tree.configs.contains_key(path) && before.is_none()
    }

    fn changes_config(&self, set: &Set<'h>, commit: usize) -> bool {
        let path = &set.paths[set.states[commit].0];
        let after = self.commits[commit].tree.configs.get(path);
        let parent = self.commits[commit].parents.first();
        after.is_some()
            && after != parent.and_then(|parent| self.commits[*parent].tree.configs.get(path))
    }

    /// The names that the configuration had on the line.
    fn names(&self, set: &Set<'h>) -> BTreeSet<&'h str> {
        let mut names = BTreeSet::from([set.last.name.as_str()]);
        for commit in &self.line {
            let path = &set.paths[set.states[*commit].0];
            let config = self.commits[*commit].tree.configs.get(path);
            names.extend(config.map(|config| config.name.as_str()));
        }
        names
    }

    /// The parts of a commit's message that refer to the set.
    fn record(&self, set: &Set<'h>, commit: usize) -> Record {
        let Commit { message, tree, .. } = &self.commits[commit];
        // The first paragraph is the title.
        let (first, body) = message.split_once("\n\n").unwrap_or((message, ""));
        let first = first.replace('\n', " ");
        let title = match first.rsplit_once(" (#") {
            Some((title, number)) if number.trim_end_matches(')').parse::<u32>().is_ok() => title,
            _ => &first,
        };
        let names = self.names(set);
        let titled = |operation: &str| {
            let rest = title.strip_prefix(operation)?;
            let (name, revision) = rest.split_once(" @")?;
            (names.contains(name) && revision.len() == 8).then_some(revision)
        };
        let at = set.states[commit].0;
        let own = |path: &str| {
            let mut paths = set.paths.iter().enumerate().skip(at);
            paths.any(|(number, known)| {
                known == path && (number == at || !tree.configs.contains_key(path))
            })
        };
        let (mut with_path, mut without_path, mut sets) = (Vec::new(), Vec::new(), BTreeSet::new());
        for line in body.lines() {
            let Some(value) = line.strip_prefix("Repin-Set: ") else {
                continue;
            };
            let (revision, path) = match value.split_once(" (") {
                Some((revision, path)) => (revision, path.strip_suffix(')')),
                None => (value, None),
            };
            sets.insert(path);
            match path {
                None => without_path.push(revision),
                Some(path) if own(path) => with_path.push(revision),
                Some(_) => {}
            }
        }
        let agrees = |revision: &&str| with_path.is_empty() || with_path.contains(revision);
        let promoted = titled("promote: ").filter(agrees);
        // The title may be that of another set with the same name, which the trailers name.
        let is_of_others =
            with_path.is_empty() && !sets.is_empty() && sets.iter().all(Option::is_some);
        let rolled_back = titled("rollback: ").filter(|revision| agrees(revision) && !is_of_others);
        // The override follows the last trailer.
        let mut lines = message.lines().rev();
        let last = lines
            .find(|line| line.starts_with("Repin-Set: ") || *line == "Repin-Override: rolled_back");
        let has_override = last.is_some_and(|line| line.starts_with("Repin-Override"));
        let trailers = if with_path.is_empty() {
            &without_path
        } else {
            &with_path
        };
        // A squash merge may have the title of its first promotion.
        let titled = promoted.filter(|revision| !trailers.contains(revision));
        let revision = titled.or(trailers.last().copied());
        Record {
            is_override: has_override
                && rolled_back.is_none()
                && revision.is_some()
                && !is_of_others
                && sets.len() <= 1,
            is_evidence: revision.is_some() || rolled_back.is_some(),
            rolled_back: rolled_back.map(str::to_owned),
            revision: revision.map(str::to_owned),
        }
    }

    /// Whether a commit before `rollback` records its revision with these digests of an image.
    fn was_recorded(
        &self,
        set: &Set<'h>,
        rollback: usize,
        revision: &str,
        image: usize,
        digests: &BTreeSet<Bytes>,
    ) -> bool {
        let first = self.first_record(set);
        self.reachable().any(|commit| {
            let is_first = self.positions[commit] == first && self.changes_config(set, commit);
            commit != rollback
                && self.is_ancestor(commit, rollback)
                && (self.is_evidence(set, commit) || is_first)
                && set.pins[commit].get(&image) == Some(digests)
                && self.record(set, commit).revision.as_deref() == Some(revision)
        })
    }

    /// The position of the first commit that records the set.
    fn first_record(&self, set: &Set<'h>) -> Option<usize> {
        let records = self.reachable().filter(|commit| {
            let is_evidence = self.is_evidence(set, *commit) || self.changes_config(set, *commit);
            is_evidence && self.record(set, *commit).is_evidence
        });
        records.filter_map(|commit| self.positions[commit]).min()
    }

    /// Whether a merge brought the promoted branch into another one that then became the promoted branch.
    fn is_pull(&self, merge: usize) -> bool {
        let Commit {
            parents, message, ..
        } = &self.commits[merge];
        // A cherry-picked commit may have the message.
        parents.len() > 1 && message.starts_with("Merge branch 'main' of ")
    }

    /// The digests of an image in the commits up to one, on its first-parent line, oldest first. A merge by `git pull` is
    /// preceded by the commits that it replaced.
    fn past(
        &self,
        set: &Set<'h>,
        commit: Option<usize>,
        image: usize,
    ) -> Vec<(BTreeSet<Bytes>, usize)> {
        let mut past: Vec<(BTreeSet<Bytes>, usize)> = Vec::new();
        let mut line = Vec::new();
        let mut next = commit;
        while let Some(commit) = next {
            line.push(commit);
            next = self.commits[commit].parents.first().copied();
        }
        for commit in line.into_iter().rev() {
            if self.positions[commit] < Some(set.start) || self.is_removed(set, commit) {
                continue;
            }
            if let Some(digests) = set.pins[commit].get(&image)
                && past.last().is_none_or(|(last, _)| last != digests)
            {
                if self.is_pull(commit) {
                    let mut pulled = self.past(set, Some(self.commits[commit].parents[1]), image);
                    pulled.retain(|(_, newer)| self.is_merged_by(*newer, commit));
                    if pulled.last().is_some_and(|(last, _)| last == digests) {
                        past.append(&mut pulled);
                        continue;
                    }
                }
                past.push((digests.clone(), commit));
            }
        }
        past
    }

    fn holds(&self, set: &Set<'h>) -> Holds {
        let mut holds = Holds::default();
        let Some(recorded) = self.first_record(set) else {
            return holds;
        };
        for commit in self.reachable() {
            let position = self.positions[commit];
            if position < Some(set.start) || self.is_removed(set, commit) {
                continue;
            }
            let pins = &set.pins[commit];
            let record = if self.is_evidence(set, commit) {
                self.record(set, commit)
            } else {
                Record::default()
            };
            if record.is_override {
                let all = pins.values().flatten();
                holds.released.extend(all.map(|bytes| (*bytes, commit)));
            }
            let is_override = record.is_override || self.merges_override(set, commit, pins);
            let parents = &self.commits[commit].parents;
            for (image, digests) in pins {
                let past = self.past(set, parents.first().copied(), *image);
                let is_changed = past.last().is_none_or(|(last, _)| last != digests);
                let is_return = is_changed && past.iter().any(|(past, _)| past == digests);
                if is_return
                    && !record.is_override
                    && position > Some(recorded)
                    && record.rolled_back.as_ref().is_some_and(|revision| {
                        self.was_recorded(set, commit, revision, *image, digests)
                    })
                {
                    holds
                        .released
                        .extend(digests.iter().map(|bytes| (*bytes, commit)));
                }
                if is_override || position < Some(recorded) {
                    continue;
                }
                let mut newer: Vec<&Bytes> = Vec::new();
                // The files may have changed while no configuration showed this image.
                let is_back = parents.first().is_some_and(|parent| {
                    self.is_removed(set, *parent) || !set.pins[*parent].contains_key(image)
                });
                if is_changed && (self.changes_file(set, commit) || is_back) {
                    newer.extend(since(&past, digests).iter().flat_map(|(newer, _)| newer));
                }
                let others = parents.get(1..).into_iter().flatten();
                let pasts: Vec<_> = others
                    .map(|other| self.past(set, Some(*other), *image))
                    .collect();
                for past in &pasts {
                    let own = since(past, digests)
                        .iter()
                        .filter(|(_, newer)| self.is_merged_by(*newer, commit));
                    newer.extend(own.flat_map(|(newer, _)| newer));
                }
                newer.retain(|bytes| !pins.values().flatten().any(|pinned| pinned == *bytes));
                let name = || self.name_of(set, commit, digests.first().copied().unwrap());
                holds.undone.extend(newer.into_iter().map(|bytes| Undone {
                    bytes: *bytes,
                    name: name(),
                    commit,
                }));
            }
        }
        holds
    }

    /// Whether a merge brought in a promotion on purpose of the digests that it pins.
    fn merges_override(&self, set: &Set<'h>, merge: usize, pins: &Pins) -> bool {
        let is_part = |commit: usize| {
            let merged = &set.pins[commit];
            let mut images = merged.iter();
            !merged.is_empty() && images.all(|(image, digests)| pins.get(image) == Some(digests))
        };
        self.is_evidence(set, merge)
            && self.reachable().any(|commit| {
                self.is_merged_by(commit, merge)
                    && self.is_evidence(set, commit)
                    && self.record(set, commit).is_override
                    && is_part(commit)
            })
    }

    fn is_released(&self, released: &[(Bytes, usize)], undone: &Undone) -> bool {
        let mut released = released.iter();
        released.any(|(bytes, commit)| {
            *bytes == undone.bytes && self.is_ancestor(undone.commit, *commit)
        })
    }

    /// Whether a path got a configuration that has no image of its last one: another set, or the same one with other
    /// names and repositories.
    fn has_stranger(&self) -> bool {
        let mut reachable = self.reachable();
        reachable.any(|index| {
            let Commit { parents, tree, .. } = &self.commits[index];
            let mut configs = tree.configs.iter();
            configs.any(|(path, new)| {
                let mut before = parents.first();
                let mut is_removed = false;
                while let Some(parent) = before {
                    let Commit { parents, tree, .. } = &self.commits[*parent];
                    if let Some(old) = tree.configs.get(path) {
                        return is_removed && !have_common_image(old, new);
                    }
                    is_removed = true;
                    before = parents.first();
                }
                false
            })
        })
    }

    /// The answers for the set at `path` with this configuration; `None` if git cannot tell its past.
    pub fn ask(&'h self, path: &str, config: &'h Config) -> Option<Answers<'h>> {
        if self.has_stranger() {
            return None;
        }
        let paths = self.former_paths(path)?;
        let set = self.set_at(paths, config);
        let holds = self.holds(&set);
        let is_held = |holds: &Holds, undone: &Undone| !self.is_released(&holds.released, undone);
        let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
        here.extend(
            holds
                .undone
                .iter()
                .filter(|undone| is_held(&holds, undone))
                .cloned(),
        );
        let of_paths = self.of_paths.get_or_init(|| {
            let mut all = Vec::new();
            for path in self.paths() {
                let holds = self.holds(&self.set_of_path(path));
                let held = holds.undone.iter().filter(|undone| is_held(&holds, undone));
                all.push((path.clone(), held.cloned().collect()));
            }
            all
        });
        for (other, held) in of_paths {
            let present = self.tip().tree.configs.get(other);
            for undone in held {
                if self.is_released(&holds.released, undone) {
                    continue;
                }
                let exists = present.is_some_and(|config| {
                    config.images.iter().any(|image| image.name == undone.name)
                });
                if other == path || !exists {
                    here.push(undone.clone());
                } else {
                    elsewhere.push(undone.clone());
                }
            }
        }
        let mut repositories = BTreeMap::new();
        for image in &config.images {
            let own = self.repositories(&set, image);
            repositories.insert(image.name.clone(), own);
        }
        Some(Answers {
            branch: self,
            repositories,
            released: holds.released,
            set,
            here,
            elsewhere,
        })
    }

    /// The digests that any commit up to the heads pinned in a file of a set.
    pub fn needed(commits: &[Commit], heads: impl IntoIterator<Item = usize>) -> BTreeSet<Bytes> {
        let mut needed = BTreeSet::new();
        for head in heads {
            for commit in Branch::new(commits, head).reachable() {
                let tree = &commits[commit].tree;
                for (path, config) in &tree.configs {
                    let files = config.files.iter();
                    let files = files
                        .filter_map(|file| tree.files.get(&format!("{}{file}", directory(path))));
                    for (repository, bytes) in files.flatten() {
                        let mut images = config.images.iter();
                        if images.any(|image| image.repository == *repository) {
                            needed.insert(*bytes);
                        }
                    }
                }
            }
        }
        needed
    }

    /// The digests in any file of a commit up to the heads.
    pub fn present(commits: &[Commit], heads: impl IntoIterator<Item = usize>) -> BTreeSet<Bytes> {
        let mut present = BTreeSet::new();
        for head in heads {
            for commit in Branch::new(commits, head).reachable() {
                let pins = commits[commit].tree.files.values().flatten();
                present.extend(pins.map(|(_, bytes)| *bytes));
            }
        }
        present
    }
}

/// Whether git certainly takes one configuration for the other one after a rename.
fn are_similar(old: &Config, new: &Config) -> bool {
    let mut images = new.images.iter();
    old.images.len() == new.images.len()
        && (old.files == new.files && images.all(|image| is_in(old, image))
            || old.images == new.images)
}

/// Whether a configuration has an image with the same name or repository.
fn is_in(config: &Config, image: &Image) -> bool {
    let mut images = config.images.iter();
    images.any(|old| old.name == image.name || old.repository == image.repository)
}

fn have_common_image(old: &Config, new: &Config) -> bool {
    new.images.iter().any(|image| is_in(old, image))
}

/// The digests after the last return to `digests`; none if they were never current.
fn since<'p>(
    past: &'p [(BTreeSet<Bytes>, usize)],
    digests: &BTreeSet<Bytes>,
) -> &'p [(BTreeSet<Bytes>, usize)] {
    let last = past.iter().rposition(|(past, _)| past == digests);
    last.map_or(&[], |last| &past[last + 1..])
}

impl Answers<'_> {
    /// The bytes of each image with one digest at a commit, by the name that the image has now. An image keeps its past
    /// with another name or repository, unless both change at once.
    fn build_at(&self, commit: usize) -> Build {
        let mut build = Build::new();
        let files = &self.set.files[commit];
        for (name, repositories) in &self.repositories {
            let pins = files.values().flatten();
            let own = pins.filter(|(repository, _)| repositories.contains(*repository));
            let digests: BTreeSet<_> = own.map(|(_, bytes)| *bytes).collect();
            if let (1, Some(bytes)) = (digests.len(), digests.first()) {
                build.insert(name.clone(), *bytes);
            }
        }
        build
    }

    /// The sets of the line, newest first, that pin each image to one digest.
    fn whole_builds(&self) -> impl Iterator<Item = Build> + '_ {
        let line = self.branch.line[self.set.start..].iter().rev();
        let builds = line.map(|commit| self.build_at(*commit));
        builds.filter(|build| build.len() == self.repositories.len())
    }

    /// The set that the tip pins.
    pub fn current(&self) -> Build {
        self.build_at(self.branch.line[self.branch.line.len() - 1])
    }

    fn is_held(&self, bytes: Bytes) -> bool {
        self.here.iter().any(|undone| undone.bytes == bytes)
    }

    fn is_held_elsewhere(&self, bytes: Bytes) -> bool {
        self.elsewhere.iter().any(|undone| undone.bytes == bytes)
    }

    /// The verdict on a promotion of `build`, where the files pin `pinned`.
    pub fn promote(&self, build: &Build, pinned: &Build) -> Verdict {
        let current = self.current();
        let is_changed = |(name, bytes): &(&String, &Bytes)| {
            [pinned, &current]
                .iter()
                .any(|old| old.get(*name) != Some(*bytes))
        };
        let mut changed = build.iter().filter(is_changed).peekable();
        if changed.peek().is_some() && changed.all(|(_, bytes)| self.is_held(*bytes)) {
            return Verdict::Fails;
        }
        let mut all = build.values();
        if all.any(|bytes| self.is_held(*bytes) || self.is_held_elsewhere(*bytes)) {
            Verdict::Warns
        } else {
            Verdict::Passes
        }
    }

    /// The verdict on a head with the pins of `head`, which would replace those of this branch.
    pub fn check(&self, head: &Self) -> Verdict {
        let build = head.current();
        let is_refused = |bytes: &Bytes| {
            let mut here = self.here.iter().filter(|undone| undone.bytes == *bytes);
            here.any(|undone| !head.branch.is_released(&head.released, undone))
                || self.is_held_elsewhere(*bytes) && !self.is_held(*bytes) && head.is_held(*bytes)
        };
        let current = self.current();
        let changed = build
            .iter()
            .filter(|(name, bytes)| current.get(*name) != Some(*bytes));
        let changed: Vec<_> = changed.map(|(_, bytes)| bytes).collect();
        if !changed.is_empty() && changed.iter().all(|bytes| is_refused(bytes)) {
            return Verdict::Fails;
        }
        self.promote(&build, &build).min(Verdict::Warns)
    }

    /// The set to which a rollback returns unless another one is requested.
    pub fn previous(&self) -> Option<Build> {
        let current = self.current();
        let mut builds = self.whole_builds().filter(|build| *build != current);
        builds.find(|build| {
            self.promote(build, &current) != Verdict::Fails && !self.is_partly_undone(build)
        })
    }

    /// Whether bytes of a set that would change were undone after the set last became current.
    fn is_partly_undone(&self, build: &Build) -> bool {
        let is_current = |position: usize| self.build_at(self.branch.line[position]) == *build;
        let mut positions = (self.set.start..self.branch.line.len()).rev();
        let became = positions.find(|position| {
            is_current(*position) && (*position == self.set.start || !is_current(position - 1))
        });
        let current = self.current();
        build.iter().any(|(name, bytes)| {
            current.get(name) != Some(bytes)
                && self.here.iter().any(|undone| {
                    undone.bytes == *bytes && self.branch.positions[undone.commit] > became
                })
        })
    }

    /// Whether a commit of the line pinned these bytes together.
    pub fn was_current(&self, build: &Build) -> bool {
        self.whole_builds().any(|known| known == *build)
    }
}
