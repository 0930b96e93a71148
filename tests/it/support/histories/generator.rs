//! Random histories: the operations of teams, of forges and of attackers.

use std::{collections::BTreeMap, fmt::Write as _, mem};

use fastrand::Rng;

use super::{Bytes, Commit, Config, History, IMAGES, Image, Tree, directory, revision};

/// The number of builds of which commits pin images; images of further ones are never pinned.
const BUILDS: usize = 7;
/// The paths at which a set may be.
const PATHS: [&str; 7] = [
    "repin.yaml",
    "envs/prod/repin.yaml",
    "envs/staging/repin.yaml",
    "envs/repin.eu.yaml",
    "envs/repin.us.yaml",
    "live/repin.yaml",
    "old/repin.yml",
];
const NAMES: [&str; 5] = ["app", "web", "job", "api", "cron"];
/// The hosts of repositories.
pub const HOSTS: [&str; 3] = ["one.example", "two.example", "three.example"];

struct Generator {
    rng: Rng,
    seed: u64,
    commits: Vec<Commit>,
    changed: Vec<Vec<usize>>,
    /// The newest build that a commit pinned.
    newest: usize,
    /// The number of files that were created.
    files: usize,
    /// Whether builds may share images with the build before.
    shares: bool,
}

/// A result of changing files: the files and the message.
type Change = (Tree, String);

/// The history of a seed.
pub fn history(seed: u64) -> History {
    generate(seed, true)
}

/// A history whose images can be built, each for one revision, in repositories of one
/// registry.
pub fn usable_history(seed: u64, host: &str) -> History {
    let mut history = generate(seed, false);
    history.is_usable = true;
    let at_host = |repository: &mut String| {
        let (registry, _) = repository.split_once('/').unwrap();
        let (_, image) = repository.rsplit_once('/').unwrap();
        *repository = format!("{host}/{registry}/{image}");
    };
    for Commit { tree, .. } in &mut history.commits {
        for image in tree
            .configs
            .values_mut()
            .flat_map(|config| &mut config.images)
        {
            at_host(&mut image.repository);
        }
        for (repository, _) in tree.files.values_mut().flatten() {
            at_host(repository);
        }
    }
    history
}

fn generate(seed: u64, shares: bool) -> History {
    let mut generator = Generator {
        rng: Rng::with_seed(seed),
        seed,
        commits: Vec::new(),
        changed: Vec::new(),
        newest: 0,
        files: 0,
        shares,
    };
    generator.make_builds();
    generator.run()
}

impl Generator {
    fn chance(&mut self, one_in: usize) -> bool {
        self.rng.usize(..one_in) == 0
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.rng.usize(..items.len())].clone()
    }

    /// Some builds share images with the build before.
    fn make_builds(&mut self) {
        for build in 0..BUILDS + 2 {
            let mut changed = Vec::new();
            for image in 0..IMAGES {
                let is_kept = self.shares && build > 0 && build < BUILDS && self.chance(5);
                changed.push(if is_kept {
                    self.changed[build - 1][image]
                } else {
                    build
                });
            }
            self.changed.push(changed);
        }
    }

    fn run(mut self) -> History {
        let is_by_content = self.rng.bool();
        let mut main = self.begin();
        let mut branches: Vec<usize> = Vec::new();
        for _ in 0..self.rng.usize(8..26) {
            match self.rng.usize(..10) {
                5 if branches.len() < 3 => {
                    let from = self.past(main, 5);
                    let branch = self.commit(from);
                    branches.push(branch);
                }
                6 if !branches.is_empty() => {
                    let at = self.rng.usize(..branches.len());
                    branches[at] = self.commit(branches[at]);
                }
                7 if !branches.is_empty() => {
                    let at = self.rng.usize(..branches.len());
                    branches[at] = self.merge(branches[at], main);
                }
                8.. if !branches.is_empty() => {
                    let at = self.rng.usize(..branches.len());
                    let branch = branches.swap_remove(at);
                    if !self.chance(8) {
                        main = self.integrate(main, branch);
                    }
                    // A merged branch may be continued.
                    if self.chance(4) {
                        branches.push(branch);
                    }
                }
                _ => main = self.commit(main),
            }
        }
        for _ in 0..3 {
            let from = if self.chance(3) {
                self.past(main, 4)
            } else {
                main
            };
            let mut head = self.commit(from);
            if self.chance(3) {
                head = self.commit(head);
            }
            if self.chance(3) {
                head = self.merge(main, head);
            }
            branches.push(head);
        }
        History {
            seed: self.seed,
            commits: self.commits,
            tip: main,
            heads: branches,
            builds: BUILDS + 2,
            changed: self.changed,
            is_by_content,
            is_usable: false,
        }
    }

    fn add(&mut self, parents: Vec<usize>, (tree, message): Change) -> usize {
        self.commits.push(Commit {
            parents,
            tree,
            message,
        });
        self.commits.len() - 1
    }

    /// A commit of the first-parent line, at most `steps` before another one.
    fn past(&mut self, from: usize, steps: usize) -> usize {
        let mut commit = from;
        for _ in 0..self.rng.usize(..steps) {
            commit = self.commits[commit]
                .parents
                .first()
                .copied()
                .unwrap_or(commit);
        }
        commit
    }

    /// One to three sets. Their files may be older than their configurations.
    fn begin(&mut self) -> usize {
        let mut tree = Tree::default();
        let mut paths = PATHS.to_vec();
        for _ in 0..self.rng.usize(1..4) {
            let path = paths.swap_remove(self.rng.usize(..5.min(paths.len())));
            self.add_set(&mut tree, path);
        }
        let mut main = None;
        for _ in 0..self.rng.usize(..3) {
            let mut unconfigured = tree.clone();
            let configs = mem::take(&mut unconfigured.configs);
            main = Some(self.add(main.into_iter().collect(), (unconfigured, "begin".into())));
            for path in configs.keys() {
                let build = self.rng.usize(..2);
                self.pin(&mut tree, path, build, &|_, _| true);
            }
        }
        let message = self.message(&tree);
        self.add(main.into_iter().collect(), (tree, message))
    }

    /// Adds a set with one to three images at a path.
    fn add_set(&mut self, tree: &mut Tree, path: &str) {
        let mut images = Vec::new();
        let first = self.rng.usize(..IMAGES);
        for image in 0..self.rng.usize(1..=IMAGES) {
            let image = (first + image) % IMAGES;
            images.push(Image {
                name: NAMES[image].to_owned(),
                repository: self.repository(HOSTS[0], image),
                number: image,
            });
        }
        let mut files = Vec::new();
        for _ in 0..self.rng.usize(1..=2) {
            self.files += 1;
            files.push(format!("file-{}.yml", self.files));
        }
        for (number, file) in files.iter().enumerate() {
            let pinned = images.iter().skip(number);
            let pins = pinned.map(|image| (image.repository.clone(), self.bytes(image.number, 0)));
            tree.files
                .insert(format!("{}{file}", directory(path)), pins.collect());
        }
        let name = if self.chance(4) {
            "set"
        } else {
            path.split('/').nth(1).unwrap_or("top")
        };
        let config = Config {
            name: name.replace(".yaml", "").replace('.', "-"),
            files,
            images,
        };
        tree.configs.insert(path.to_owned(), config);
        if self.chance(2) {
            let build = self.newest;
            self.pin(tree, path, build, &|_, _| true);
        }
    }

    fn repository(&self, host: &str, image: usize) -> String {
        format!("{host}/h{}/image-{image}", self.seed)
    }

    fn bytes(&self, image: usize, build: usize) -> Bytes {
        let build = self.changed[build][image];
        Bytes { image, build }
    }

    /// Pins the images of a set that are selected by the number of the file and the image.
    fn pin(
        &self,
        tree: &mut Tree,
        path: &str,
        build: usize,
        is_selected: &dyn Fn(usize, usize) -> bool,
    ) {
        let config = tree.configs[path].clone();
        for (number, file) in config.files.iter().enumerate() {
            let file = tree.files.get_mut(&format!("{}{file}", directory(path)));
            for (repository, bytes) in file.into_iter().flatten() {
                let mut images = config.images.iter();
                if images.any(|image| image.repository == *repository)
                    && is_selected(number, bytes.image)
                {
                    *bytes = self.bytes(bytes.image, build);
                }
            }
        }
    }

    /// A commit on top of another one.
    fn commit(&mut self, parent: usize) -> usize {
        let change = self.change(parent);
        self.add(vec![parent], change)
    }

    fn change(&mut self, parent: usize) -> Change {
        let mut tree = self.commits[parent].tree.clone();
        let paths: Vec<_> = tree.configs.keys().cloned().collect();
        if paths.is_empty() {
            let path = self.pick(&PATHS);
            self.add_set(&mut tree, path);
            let message = self.message(&tree);
            return (tree, message);
        }
        let path = self.pick(&paths);
        match self.rng.usize(..24) {
            0..6 => self.promote(tree, &path),
            6..11 => self.roll_back(tree, &path),
            11..13 => self.pin_by_hand(tree, &path),
            13..15 => self.revert(parent),
            15 => self.cherry_pick(tree),
            16 | 17 => self.change_names(tree, &path),
            18..22 => self.change_sets(tree, &path),
            _ => {
                tree.note += 1;
                let message = self.message(&tree);
                (tree, message)
            }
        }
    }

    /// A promotion, sometimes of two sets, to a newer build or by force to any.
    fn promote(&mut self, mut tree: Tree, path: &str) -> Change {
        if self.newest + 1 < BUILDS && !self.chance(3) {
            self.newest += 1;
        }
        let build = if self.chance(4) {
            self.rng.usize(..=self.newest)
        } else {
            self.newest
        };
        let mut message = self.record("promote", &tree, path, build);
        self.pin(&mut tree, path, build, &|_, _| true);
        if self.chance(4) {
            message.push_str("\nRepin-Override: rolled_back");
        }
        if self.chance(6) {
            let paths: Vec<_> = tree.configs.keys().cloned().collect();
            let other = self.pick(&paths);
            self.pin(&mut tree, &other, build, &|_, _| true);
            let _ = write!(message, "\nRepin-Set: {} ({other})", revision(build));
        }
        self.lie(tree, message)
    }

    fn roll_back(&mut self, mut tree: Tree, path: &str) -> Change {
        let build = self.rng.usize(..=self.newest);
        self.pin(&mut tree, path, build, &|_, _| true);
        let message = self.record("rollback", &tree, path, build);
        self.lie(tree, message)
    }

    /// Changes some or all pins of a set, which may disagree afterwards.
    fn pin_by_hand(&mut self, mut tree: Tree, path: &str) -> Change {
        let build = self.rng.usize(..=self.newest);
        let (file, image) = (self.rng.usize(..3), self.rng.usize(..2 * IMAGES));
        self.pin(&mut tree, path, build, &|number, pinned| {
            number != file && (image >= IMAGES || pinned == image)
        });
        let message = self.message(&tree);
        (tree, message)
    }

    /// The message of a promotion or rollback, as repin and forges write it.
    fn record(&mut self, operation: &str, tree: &Tree, path: &str, build: usize) -> String {
        let name = &tree.configs[path].name;
        let revision = revision(build);
        let title = match self.rng.usize(..6) {
            0 => format!("{operation}: {name} @{revision} (#{build})"),
            1 => "Bump images (#7)".to_owned(),
            _ => format!("{operation}: {name} @{revision}"),
        };
        match self.rng.usize(..6) {
            0 => title,
            _ if path == "repin.yaml" => format!("{title}\n\nRepin-Set: {revision}"),
            _ => format!("{title}\n\nRepin-Set: {revision} ({path})"),
        }
    }

    /// Sometimes replaces the message by one that is wrong.
    fn lie(&mut self, tree: Tree, message: String) -> Change {
        let message = if self.chance(6) {
            self.message(&tree)
        } else {
            message
        };
        (tree, message)
    }

    /// Any message: none of repin, or one about any set and build.
    fn message(&mut self, tree: &Tree) -> String {
        if self.rng.bool() || tree.configs.is_empty() {
            return "change something".to_owned();
        }
        let paths: Vec<_> = tree.configs.keys().cloned().collect();
        let path = self.pick(&paths);
        let operation = self.pick(&["promote", "rollback"]);
        let build = self.rng.usize(..BUILDS);
        let mut message = self.record(operation, tree, &path, build);
        if self.chance(5) {
            message.push_str("\nRepin-Override: rolled_back");
        }
        message
    }

    /// Restores the files that a recent commit changed.
    fn revert(&mut self, parent: usize) -> Change {
        let reverted = self.past(parent, 6);
        let Commit {
            parents,
            tree,
            message,
        } = self.commits[reverted].clone();
        let Some(before) = parents.first() else {
            return (self.commits[parent].tree.clone(), "empty".to_owned());
        };
        let before = self.commits[*before].tree.clone();
        let tree = replay(&tree, &before, &self.commits[parent].tree, true);
        let title = message.lines().next().unwrap_or_default();
        (
            tree,
            format!("Revert \"{title}\"\n\nThis reverts a commit."),
        )
    }

    fn cherry_pick(&mut self, tree: Tree) -> Change {
        let picked = self.rng.usize(..self.commits.len());
        let Commit {
            parents,
            tree: new,
            message,
        } = self.commits[picked].clone();
        let Some(before) = parents.first() else {
            return (tree, "empty".to_owned());
        };
        let tree = replay(&self.commits[*before].tree, &new, &tree, true);
        (tree, message)
    }

    /// Gives an image another name, another registry or both, or the set another name. The files follow at once
    /// or never.
    fn change_names(&mut self, mut tree: Tree, path: &str) -> Change {
        let (host, is_all) = (self.pick(&HOSTS), self.rng.bool());
        let mut config = tree.configs[path].clone();
        let at = self.rng.usize(..config.images.len());
        let kind = self.rng.usize(..8);
        for (number, image) in config.images.iter_mut().enumerate() {
            if number != at && !is_all {
                continue;
            }
            if kind < 5 {
                let repository = self.repository(host, image.number);
                let old = mem::replace(&mut image.repository, repository.clone());
                for file in &config.files {
                    let file = tree.files.get_mut(&format!("{}{file}", directory(path)));
                    for (pinned, _) in file.into_iter().flatten() {
                        if *pinned == old {
                            pinned.clone_from(&repository);
                        }
                    }
                }
            }
            if (4..7).contains(&kind) {
                image.name = format!("{}-{}", NAMES[image.number], self.rng.usize(..2));
            }
        }
        if kind == 7 {
            config.name = self.pick(&["set", "renamed"]).to_owned();
        }
        tree.configs.insert(path.to_owned(), config);
        let message = self.message(&tree);
        (tree, message)
    }

    /// Moves, copies, splits, adds or removes a set.
    fn change_sets(&mut self, mut tree: Tree, path: &str) -> Change {
        let free: Vec<_> = PATHS
            .into_iter()
            .filter(|path| !tree.configs.contains_key(*path))
            .collect();
        if !free.is_empty() {
            let new = self.pick(&free);
            match self.rng.usize(..12) {
                0..3 => move_set(&mut tree, path, new),
                3..6 => copy_set(&mut tree, path, new),
                6..8 => self.split(&mut tree, path, new),
                8 => self.add_set(&mut tree, new),
                _ => remove_set(&mut tree, path),
            }
        }
        let message = self.message(&tree);
        (tree, message)
    }

    /// Moves an image with its pins to another set, or to a new one.
    fn split(&mut self, tree: &mut Tree, path: &str, new: &str) {
        let mut config = tree.configs[path].clone();
        if config.images.len() < 2 {
            return;
        }
        let image = config.images.remove(self.rng.usize(..config.images.len()));
        let mut moved = Vec::new();
        for file in &config.files {
            if let Some(pins) = tree.files.get_mut(&format!("{}{file}", directory(path))) {
                let own = pins
                    .iter()
                    .filter(|(pinned, _)| *pinned == image.repository);
                moved.extend(own.cloned());
                pins.retain(|(pinned, _)| *pinned != image.repository);
            }
        }
        tree.configs.insert(path.to_owned(), config);
        self.files += 1;
        let file = format!("file-{}.yml", self.files);
        tree.files
            .insert(format!("{}{file}", directory(new)), moved);
        let config = Config {
            name: "part".to_owned(),
            files: vec![file],
            images: vec![image],
        };
        tree.configs.insert(new.to_owned(), config);
    }

    /// Merges a branch into another one: cleanly, with the files of one side, or with a further change.
    fn merge(&mut self, into: usize, from: usize) -> usize {
        let tree = match self.rng.usize(..8) {
            0 => self.commits[into].tree.clone(),
            1 => self.commits[from].tree.clone(),
            _ => self.merged(into, from),
        };
        let message = format!("Merge branch 'topic-{from}'");
        let merge = self.add(vec![into, from], (tree, message));
        if self.chance(6) {
            // An evil merge: no parent has this change.
            let (tree, message) = self.change(merge);
            self.commits[merge].tree = tree;
            if self.rng.bool() {
                self.commits[merge].message = message;
            }
        }
        merge
    }

    /// The clean merge; in a conflict, one side wins.
    fn merged(&mut self, into: usize, from: usize) -> Tree {
        let base = self.base(into, from);
        let base = self.commits[base].tree.clone();
        let wins = self.rng.bool();
        replay(
            &base,
            &self.commits[from].tree,
            &self.commits[into].tree,
            wins,
        )
    }

    /// The latest common ancestor.
    fn base(&self, one: usize, other: usize) -> usize {
        let reached = |from: usize| {
            let mut reached = vec![false; self.commits.len()];
            let mut next = vec![from];
            while let Some(commit) = next.pop() {
                if !mem::replace(&mut reached[commit], true) {
                    next.extend(&self.commits[commit].parents);
                }
            }
            reached
        };
        let (one, other) = (reached(one), reached(other));
        let common = (0..one.len())
            .rev()
            .find(|commit| one[*commit] && other[*commit]);
        common.unwrap_or_default()
    }

    /// Brings a branch into the promoted one as forges and operators do.
    fn integrate(&mut self, main: usize, branch: usize) -> usize {
        match self.rng.usize(..8) {
            0..4 => self.merge(main, branch),
            // A foxtrot merge: the promoted branch continues from the other one. Some are by `git pull`, which names it.
            4 => {
                let merge = self.merge(branch, main);
                let message = &mut self.commits[merge].message;
                if merge.is_multiple_of(2) && message.starts_with("Merge branch") {
                    *message = "Merge branch 'main' of example:acme/fix".to_owned();
                }
                merge
            }
            5 => {
                let tree = self.merged(main, branch);
                let mut message = "Squash (#9)".to_owned();
                for commit in self.commits_since(main, branch) {
                    let squashed = &self.commits[commit].message;
                    let _ = write!(message, "\n\n* {squashed}");
                }
                self.add(vec![main], (tree, message))
            }
            6 => {
                let mut main = main;
                for commit in self.commits_since(main, branch) {
                    let Commit {
                        parents,
                        tree,
                        message,
                    } = self.commits[commit].clone();
                    let before = parents
                        .first()
                        .map(|parent| self.commits[*parent].tree.clone());
                    let tree = replay(
                        &before.unwrap_or_default(),
                        &tree,
                        &self.commits[main].tree,
                        true,
                    );
                    main = self.add(vec![main], (tree, message));
                }
                main
            }
            _ => {
                let other = self.past(main, 4);
                let other = self.commit(other);
                let merge = self.merge(main, branch);
                self.commits[merge].parents.push(other);
                merge
            }
        }
    }

    /// The commits of a branch's first-parent line that another one does not reach, oldest first.
    fn commits_since(&self, main: usize, branch: usize) -> Vec<usize> {
        let mut commits = Vec::new();
        let mut next = Some(branch);
        while let Some(commit) = next
            && self.base(main, commit) != commit
        {
            commits.push(commit);
            next = self.commits[commit].parents.first().copied();
        }
        commits.reverse();
        commits
    }
}

/// Makes the changes between two trees to a third one. `wins`: whether they replace other changes.
fn replay(old: &Tree, new: &Tree, onto: &Tree, wins: bool) -> Tree {
    fn merge<T: Clone + PartialEq>(
        old: &BTreeMap<String, T>,
        new: &BTreeMap<String, T>,
        onto: &mut BTreeMap<String, T>,
        wins: bool,
    ) {
        for path in old.keys().chain(new.keys()) {
            let is_changed = old.get(path) != new.get(path);
            if is_changed && (wins || onto.get(path) == old.get(path)) {
                match new.get(path) {
                    Some(new) => onto.insert(path.clone(), new.clone()),
                    None => onto.remove(path),
                };
            }
        }
    }
    let mut tree = onto.clone();
    merge(&old.configs, &new.configs, &mut tree.configs, wins);
    merge(&old.files, &new.files, &mut tree.files, wins);
    tree.note = tree.note.max(new.note);
    tree
}

/// Copies the configuration of a set and, to another directory, its files.
fn copy_set(tree: &mut Tree, path: &str, new: &str) {
    let config = tree.configs[path].clone();
    for file in &config.files {
        let pins = tree
            .files
            .get(&format!("{}{file}", directory(path)))
            .cloned();
        if let Some(pins) = pins {
            tree.files.insert(format!("{}{file}", directory(new)), pins);
        }
    }
    tree.configs.insert(new.to_owned(), config);
}

fn move_set(tree: &mut Tree, path: &str, new: &str) {
    copy_set(tree, path, new);
    if directory(path) == directory(new) {
        tree.configs.remove(path);
    } else {
        remove_set(tree, path);
    }
}

/// Removes a configuration and the files that no other one uses.
fn remove_set(tree: &mut Tree, path: &str) {
    let config = tree.configs.remove(path).unwrap();
    for file in config.files {
        let mut others = tree.configs.iter();
        let is_used = others.any(|(other, config)| {
            directory(other) == directory(path) && config.files.contains(&file)
        });
        if !is_used {
            tree.files.remove(&format!("{}{file}", directory(path)));
        }
    }
}
