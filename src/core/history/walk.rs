//! Collects the matched files of each commit from the changes that `git log` prints.
//!
//! No tree is read: the first commit of a history lists every file, and each later commit its changes
//! since its first parent. The walk reads the literal directories of the current globs; if a commit's
//! own configuration uses other directories, the walk restarts with these in addition.

use super::{
    blobs::{Blob, PinList, Readings},
    claims::{ClaimTemplates, Claims},
    graph::{Graph, Step},
    periods::{OwnRules, PastImages, Rules, Slots},
    read_paths::{FilePath, is_chart, limited, path_in, read_paths_of},
    renames::{self, ConfigPath, LineCommit, Origin, UnknownPast},
    walk_state::{Undo, WalkState},
};
use crate::{
    base::files::RelPath,
    config::{Config, SetPath},
    core::configurations::{self, NoConfig},
    git::{
        Git, GitError, ObjectId, Objects,
        commits::{self, CommitInfo},
    },
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The maximum of [`Walk::joins`]. Images that are joined later keep separate pasts.
const MAX_JOINS: usize = 16;

#[derive(Debug)]
pub(super) struct Commit {
    pub(super) id: ObjectId,
    pub(super) info: CommitInfo,
    /// The lines of the message that may be trailers.
    pub(super) trailers: Vec<u8>,
    /// The claims of the message.
    pub(super) claims: Claims,
    /// The former paths of the configuration, as bits, to which a trailer of this commit may refer.
    pub(super) paths: u32,
    /// The index of the path at which the commit adds the configuration file.
    pub(super) added: Option<usize>,
    /// The index of the path at which the file was before the commit.
    pub(super) previous: Option<usize>,
    pub(super) config: ConfigState,
    /// The images of the commit's own configuration.
    pub(super) images: PastImages,
    pub(super) content: Content,
}

/// The configuration file at a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ConfigState {
    /// No commit before has one either.
    #[default]
    NotAdded,
    /// The commit has it; whether the commit changed it.
    Present {
        is_changed: bool,
    },
    Removed,
}

/// The matched files of a commit.
#[derive(Debug)]
pub(super) enum Content {
    /// The changed files; `None`: the path is no longer a regular file.
    Changed(Vec<(FilePath, Option<Blob>)>),
    /// All files, because the rules changed, and the paths that the commit changed.
    All(Arc<Rules>, Vec<(FilePath, Blob)>, Vec<FilePath>),
    /// Unknown, for this reason, with the changed blobs that a known configuration matches.
    Unknown(Box<UnknownContent>, Vec<Blob>),
}

/// The reason for which a commit's content is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnknownContent {
    /// The file with a refused entry; `None`: the commit's own configuration cannot be read.
    pub(super) file: Option<String>,
    pub(super) reason: Arc<str>,
}

/// Whether the history of a set continues at the former paths of its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renames {
    Follow,
    Ignore,
}

/// The history of a branch.
pub(super) struct Walked {
    pub(super) graph: Graph,
    pub(super) commits: Vec<Commit>,
    pub(super) titles: ClaimTemplates,
    pub(super) slots: Slots,
    /// The paths of the configuration, the present one first.
    pub(super) paths: Vec<ConfigPath>,
    /// The position of the first commit of the line that belongs to the set.
    pub(super) start: usize,
    pub(super) unknown_past: Option<UnknownPast>,
}

struct Walk<'a> {
    git: &'a Git,
    config: &'a Config,
    /// The paths of the configuration, the present one first.
    paths: Vec<ConfigPath>,
    current: Arc<Rules>,
    /// The rules for commits before the first configuration.
    early: Arc<Rules>,
    slots: Slots,
    objects: &'a mut Objects<PinList>,
    readings: &'a Readings,
    requested: HashSet<Blob>,
    /// By blob and path of the configuration.
    parsed: HashMap<(ObjectId, usize), OwnRules>,
    /// How often the commits were read again because images turned out to be the same one.
    joins: usize,
}

/// Reads the commits that are reachable from `tip`. Requests every blob that may contain pins.
pub(super) fn walk(
    git: &Git,
    tip: &ObjectId,
    config: &Config,
    renames: Renames,
    objects: &mut Objects<PinList>,
    readings: &Readings,
) -> Result<Walked, GitError> {
    let mut slots = Slots::new(config);
    let current = Arc::new(Rules::new(config, &mut slots));
    let mut walk = Walk {
        git,
        config,
        paths: vec![ConfigPath::new(config.set_path.clone())],
        early: Arc::clone(&current),
        current,
        slots,
        objects,
        readings,
        requested: HashSet::new(),
        parsed: HashMap::new(),
        joins: 0,
    };
    let mut directories: BTreeSet<PathBuf> = walk.current.directories().collect();
    loop {
        directories = limited(directories);
        let (graph, mut commits, titles) = walk.read(tip, &directories)?;
        let missing = walk.missing_directories(&directories);
        if !missing.is_empty() {
            directories.extend(missing);
            continue;
        }
        if walk.joins_images() {
            continue;
        }
        let mut line = Vec::new();
        for commit in &graph.line {
            let commit = &commits[*commit];
            line.push(LineCommit {
                id: commit.id,
                added: commit.added,
                previous: commit.previous,
            });
        }
        let origin = match renames {
            Renames::Follow => renames::origin(walk.git, &walk.paths, &line)?,
            Renames::Ignore => Origin::Beginning(0),
        };
        let (start, unknown_past) = match origin {
            Origin::Renamed { from, by } => {
                walk.add_path(from, by);
                continue;
            }
            Origin::Unknown(past) => (past.position, Some(past)),
            Origin::Beginning(start) => (start, None),
        };
        for commit in &mut commits {
            let sets = walk.paths.iter().enumerate();
            let sets = sets.filter(|(index, _)| commit.paths >> index & 1 == 1);
            let sets: Vec<_> = sets.map(|(_, path)| &path.set_path).collect();
            commit.claims = titles.claims(commit.info.subject(), &commit.trailers, &sets);
        }
        return Ok(Walked {
            graph,
            commits,
            titles,
            slots: walk.slots,
            paths: walk.paths,
            start,
            unknown_past,
        });
    }
}

impl Walk<'_> {
    /// The directories of past configurations that were not read.
    fn missing_directories(&self, read: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let rules = self.parsed.values().filter_map(OwnRules::known);
        let all = rules.flat_map(|rules| rules.directories());
        let is_missing = |directory: &PathBuf| !read.iter().any(|read| directory.starts_with(read));
        all.filter(is_missing).collect()
    }

    /// Adds the path from which a commit moved the configuration.
    fn add_path(&mut self, from: SetPath, by: ObjectId) {
        if let Some(oldest) = self.paths.last_mut() {
            oldest.moved_by = Some(by);
        }
        self.paths.push(ConfigPath::new(from));
    }

    /// Joins images that turned out to be the same one; then the commits must be read again.
    fn joins_images(&mut self) -> bool {
        let is_joined = self.joins < MAX_JOINS && self.slots.join();
        if is_joined {
            self.joins += 1;
            self.parsed.clear();
        }
        is_joined
    }

    /// Reads the commits, with the titles of every configuration on the line.
    fn read(
        &mut self,
        tip: &ObjectId,
        directories: &BTreeSet<PathBuf>,
    ) -> Result<(Graph, Vec<Commit>, ClaimTemplates), GitError> {
        let mut paths = Vec::new();
        for path in &self.paths {
            paths.extend(read_paths_of(path, directories));
        }
        let mut logged = Vec::new();
        self.git.reachable(tip, &paths)?.each(|commit| {
            self.request_early(&commit.changes)?;
            logged.push(commit);
            Ok(())
        })?;
        let ids = logged.iter().map(|commit| (&commit.id, &commit.parents));
        let graph = Graph::new(ids, tip);
        let mut commits: Vec<_> = logged.iter().map(|_| None).collect();
        let line = graph.line.iter().map(|commit| &logged[*commit]);
        self.early = self.early_rules(line)?;
        let mut titles = ClaimTemplates::new(self.config);
        let mut logged: Vec<_> = logged.into_iter().map(Some).collect();
        let mut state = WalkState {
            path: self.paths.len() - 1,
            ..WalkState::default()
        };
        let mut undos = Vec::new();
        for step in &graph.steps {
            match *step {
                Step::Enter(index) => {
                    let Some(commit) = logged[index].take() else {
                        continue;
                    };
                    let is_on_line = graph.is_on_line(index);
                    let (commit, undo) = self.visit(commit, is_on_line, &mut state)?;
                    commits[index] = Some(commit);
                    if !is_on_line {
                        undos.push(undo);
                    } else if (undo.own != state.own || undo.path != state.path)
                        && let Some(OwnRules::Known(_, Some(config))) = &state.own_rules
                    {
                        titles.add(config);
                        self.paths[state.path].config = Some(Arc::clone(config));
                    }
                }
                Step::Leave(_) => {
                    if let Some(undo) = undos.pop() {
                        state.undo(undo);
                    }
                }
            }
        }
        let mut entered = Vec::new();
        for commit in commits {
            entered.push(commit.expect("the steps of the graph enter every commit"));
        }
        Ok((graph, entered, titles))
    }

    /// Requests the blobs that the current configuration reads, while git prints the other commits.
    fn request_early(&mut self, changes: &[commits::ChangedPath]) -> Result<(), GitError> {
        if !self.current.reading.is_empty() {
            return Ok(());
        }
        for change in changes {
            if let Some(path) = change.path.strip_prefix(self.paths[0].prefix.as_slice())
                && let Some(id) = change.blob
                && self.current.matches(path)
            {
                self.request(Blob { id, reading: None })?;
            }
        }
        Ok(())
    }

    fn visit(
        &mut self,
        commit: commits::Commit,
        is_on_line: bool,
        state: &mut WalkState,
    ) -> Result<(Commit, Undo), GitError> {
        let mut undo = Undo {
            files: Vec::new(),
            path: state.path,
            own: state.own,
            has_had_config: state.has_had_config,
            own_rules: state.own_rules.clone(),
            rules: state.rules.clone(),
        };
        self.follow_rename(&commit, is_on_line, state);
        let path = &self.paths[state.path];
        let mut changes = Vec::new();
        for change in commit.changes {
            if change.path == path.path {
                state.own = change.blob;
                state.own_rules = None;
            }
            let whole = FilePath::from(change.path);
            let old = match change.blob {
                Some(blob) => state.files.insert(Arc::clone(&whole), blob),
                None => state.files.remove(&whole),
            };
            if let Some(path) = path_in(&whole, &path.prefix) {
                changes.push((path, change.blob));
            }
            undo.files.push((whole, old));
        }
        let is_added = state.own.is_some() && (undo.own.is_none() || undo.path != state.path);
        let added = is_added.then_some(state.path);
        state.has_had_config |= state.own.is_some();
        let config = match state.own {
            Some(_) => ConfigState::Present {
                is_changed: state.own != undo.own,
            },
            None if state.has_had_config => ConfigState::Removed,
            None => ConfigState::NotAdded,
        };
        let paths = self.known_paths(state);
        let rules = self.rules_at(state)?;
        let images = rules.known().map(|rules| Arc::clone(&rules.images));
        let content = match rules {
            OwnRules::Unreadable(reason) => self.unknown_content(reason, &changes, state),
            OwnRules::Known(rules, _) => self.content(&rules, &changes, state),
        };
        self.request_content(&content, &changes, state)?;
        if let Content::Unknown(..) = &content {
            state.rules = None;
        }
        let commit = Commit {
            id: commit.id,
            info: commit.info,
            trailers: commit.trailers,
            claims: Claims::default(),
            paths,
            added,
            previous: undo.own.is_some().then_some(undo.path),
            config,
            images: images.unwrap_or_default(),
            content,
        };
        Ok((commit, undo))
    }

    /// Requests the blobs of a commit that may contain pins.
    fn request_content(
        &mut self,
        content: &Content,
        changes: &[(FilePath, Option<ObjectId>)],
        state: &WalkState,
    ) -> Result<(), GitError> {
        for (path, id) in changes {
            // `prune` protects the digests in files that a current place searches.
            if let Some(id) = id {
                let blob = self.blob(&self.current, path, *id, state);
                if blob.reading.is_some() {
                    self.request(blob)?;
                }
            }
        }
        match content {
            Content::Changed(files) => {
                for blob in files.iter().filter_map(|(_, blob)| *blob) {
                    self.request(blob)?;
                }
            }
            Content::All(_, files, _) => {
                for (_, blob) in files {
                    self.request(*blob)?;
                }
            }
            Content::Unknown(_, blobs) => {
                for blob in blobs {
                    self.request(*blob)?;
                }
            }
        }
        Ok(())
    }

    /// Continues with another path at a commit that moves the configuration. A merged commit may undo a rename.
    fn follow_rename(&self, commit: &commits::Commit, is_on_line: bool, state: &mut WalkState) {
        let blob = |path: &ConfigPath| {
            let mut changes = commit.changes.iter();
            let change = changes.find(|change| change.path == path.path);
            change.map(|change| change.blob)
        };
        let mut paths = self.paths.iter();
        let moved = if is_on_line {
            paths.position(|path| path.moved_by == Some(commit.id))
        } else if blob(&self.paths[state.path]) == Some(None) {
            paths.position(|path| matches!(blob(path), Some(Some(_))))
        } else {
            None
        };
        if let Some(path) = moved {
            state.path = path;
            state.rules = None;
        }
    }

    /// The paths to which a trailer may refer, as bits: the present one, and former ones at which no
    /// other set has its configuration.
    fn known_paths(&self, state: &WalkState) -> u32 {
        let mut paths = 0;
        for (index, path) in self.paths.iter().enumerate().skip(state.path) {
            if index == state.path || !state.files.contains_key(path.path.as_slice()) {
                paths |= 1 << index;
            }
        }
        paths
    }

    /// Unknown content, with the changed blobs: their pins by a known configuration count as pinned.
    fn unknown_content(
        &self,
        reason: Arc<str>,
        changes: &[(FilePath, Option<ObjectId>)],
        state: &WalkState,
    ) -> Content {
        let mut blobs = Vec::new();
        for (path, id) in changes {
            if let Some(id) = id
                && self.is_matched(path)
            {
                blobs.push(self.blob(&self.current, path, *id, state));
            }
        }
        Content::Unknown(Box::new(UnknownContent { file: None, reason }), blobs)
    }

    /// Whether the current configuration or that of a visited commit matches a path.
    fn is_matched(&self, path: &[u8]) -> bool {
        let mut known = self.parsed.values().filter_map(OwnRules::known);
        self.current.matches(path) || known.any(|rules| rules.matches(path))
    }

    /// A blob at a path, with its reading by these rules.
    fn blob(&self, rules: &Rules, path: &[u8], id: ObjectId, state: &WalkState) -> Blob {
        let prefix = &self.paths[state.path].prefix;
        let exists = |path: &Path| {
            let whole = [prefix, path.as_os_str().as_bytes()].concat();
            state.files.contains_key(whole.as_slice())
        };
        let places = RelPath::new(Path::new(OsStr::from_bytes(path)))
            .map(|path| rules.scanner.places_of(&path, &exists))
            .unwrap_or_default();
        let reading = self.readings.number(rules, places);
        Blob { id, reading }
    }

    /// The content of a commit with these rules, which become those of the state.
    fn content(
        &self,
        rules: &Arc<Rules>,
        changes: &[(FilePath, Option<ObjectId>)],
        state: &mut WalkState,
    ) -> Content {
        let old_rules = state.rules.replace(Arc::clone(rules));
        // A new or deleted chart turns other files into templates or values.
        let has_chart_change = rules.has_charts && changes.iter().any(|(path, _)| is_chart(path));
        let has_same_rules = old_rules.is_some_and(|old| old.is_equal(rules));
        if has_same_rules && !has_chart_change {
            let mut matched = Vec::new();
            for (path, id) in changes {
                if rules.matches(path) {
                    let blob = id.map(|id| self.blob(rules, path, id, state));
                    matched.push((Arc::clone(path), blob));
                }
            }
            return Content::Changed(matched);
        }
        let mut files = Vec::new();
        let prefix = &self.paths[state.path].prefix;
        for (whole, id) in state.files.range(FilePath::from(prefix.as_slice())..) {
            if let Some(path) = path_in(whole, prefix)
                && rules.matches(&path)
            {
                let blob = self.blob(rules, &path, *id, state);
                files.push((path, blob));
            }
        }
        let paths = changes.iter().map(|(path, _)| Arc::clone(path));
        Content::All(Arc::clone(rules), files, paths.collect())
    }

    fn request(&mut self, blob: Blob) -> Result<(), GitError> {
        if !self.requested.insert(blob) {
            return Ok(());
        }
        self.readings.request(blob);
        self.objects.request(blob.id)
    }

    /// The rules for commits before the first configuration of the line at the oldest path.
    fn early_rules<'c>(
        &mut self,
        line: impl IntoIterator<Item = &'c commits::Commit>,
    ) -> Result<Arc<Rules>, GitError> {
        let path = self.paths.len() - 1;
        let mut changes = line.into_iter().flat_map(|commit| &commit.changes);
        let first = changes.find(|change| change.path == self.paths[path].path);
        if let Some(blob) = first.and_then(|change| change.blob)
            && let OwnRules::Known(_, Some(first)) = self.rules(blob, path)?
        {
            let rules = Rules::before(&first, self.config, &mut self.slots);
            return Ok(Arc::new(rules));
        }
        Ok(Arc::clone(&self.current))
    }

    /// The rules of a commit's own configuration, or those before the first one or after a removal.
    fn rules_at(&mut self, state: &mut WalkState) -> Result<OwnRules, GitError> {
        let rules = match (&state.own_rules, state.own) {
            (Some(rules), _) => return Ok(rules.clone()),
            (None, Some(blob)) => self.rules(blob, state.path)?,
            (None, None) => {
                let rules = if state.has_had_config {
                    &self.current
                } else {
                    &self.early
                };
                OwnRules::Known(Arc::clone(rules), None)
            }
        };
        Ok(state.own_rules.insert(rules).clone())
    }

    /// The rules of a configuration.
    fn rules(&mut self, blob: ObjectId, path: usize) -> Result<OwnRules, GitError> {
        let (name, root) = (self.config.file_name(), &self.config.root);
        let set_path = &self.paths[path].set_path;
        let rules = match configurations::config_of_blob(self.git, blob, name, root, set_path) {
            Ok(config) => {
                let rules = Rules::new(&config, &mut self.slots);
                OwnRules::Known(Arc::new(rules), Some(Arc::new(config)))
            }
            Err(NoConfig::Git(error)) => return Err(error),
            Err(unreadable) => OwnRules::Unreadable(unreadable.to_string().into()),
        };
        self.parsed.insert((blob, path), rules.clone());
        Ok(rules)
    }
}
