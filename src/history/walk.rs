//! Collects the matched files of each commit from the changes that `git log` prints.
//!
//! No tree is read: the first commit of a history lists every file, and each later commit its changes
//! since its first parent. The walk reads the literal directories of the current globs; if a commit's
//! own configuration uses other directories, the walk restarts with these in addition.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ffi::OsStr,
    fmt::Write as _,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    blobs::{Blob, PinList, Readings},
    claims::{Claims, Titles},
    graph::{Graph, Step},
    log::{self, CommitInfo},
};
use crate::{
    config::{self, CHART, Config, Globs, PinPlace, PlaceKind, RelPath, above_templates},
    error::SourceText,
    files::is_reserved,
    git::{Git, GitError, ObjectId, Objects},
    pins::FileScanner,
};

/// The maximum size of a configuration, in bytes, as in the work tree.
pub(crate) const MAX_CONFIG_SIZE: u64 = 1024 * 1024;
pub(super) const TOO_LARGE: &str = "it is larger than 1 MiB";
/// The maximum number of directories; beyond it, the whole tree is read.
const MAX_DIRECTORIES: usize = 64;

/// A path under the root.
pub(super) type FilePath = Arc<[u8]>;

#[derive(Debug)]
pub(super) struct Commit {
    pub(super) id: ObjectId,
    pub(super) info: CommitInfo,
    /// The lines of the message that may be trailers.
    pub(super) trailers: Vec<u8>,
    /// The claims of the message.
    pub(super) claims: Claims,
    /// Whether the commit adds the configuration file.
    pub(super) adds_config: bool,
    pub(super) content: Content,
}

/// The matched files of a commit.
#[derive(Debug)]
pub(super) enum Content {
    /// The changed files; `None`: the path is no longer a regular file.
    Changed(Vec<(FilePath, Option<Blob>)>),
    /// All files, because the rules changed.
    All(Arc<Rules>, Vec<(FilePath, Blob)>),
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

/// The rules of a configuration for finding pins.
#[derive(Debug)]
pub(super) struct Rules {
    globs: Globs,
    scanner: FileScanner,
    /// The places and the settings that they depend on, to compare rules.
    places: String,
    /// Whether directories of charts matter.
    has_charts: bool,
    /// Whether this configuration has each currently configured image, by its repository, because a
    /// digest belongs to a repository.
    pub(super) images: Vec<bool>,
}

impl Rules {
    fn new(config: &Config, current: &Config) -> Self {
        let mut repositories = Vec::new();
        let mut has_image = Vec::new();
        for image in &current.images {
            let mut images = config.images.iter();
            has_image.push(images.any(|other| other.repository == image.repository));
            repositories.push(image.repository.clone());
        }
        let depends_on_charts = |place: &PinPlace| {
            place.files.is_none()
                && matches!(place.kind, PlaceKind::Helm { .. } | PlaceKind::Keys(_))
        };
        Self {
            globs: config.scanned.clone(),
            scanner: FileScanner::of(config, &repositories),
            places: places_key(config),
            has_charts: config.places.iter().any(depends_on_charts),
            images: has_image,
        }
    }

    fn matches(&self, path: &[u8]) -> bool {
        self.globs.matches(Path::new(OsStr::from_bytes(path)))
    }

    fn is_equal(&self, other: &Self) -> bool {
        self.images == other.images
            && self.globs.texts() == other.globs.texts()
            && self.places == other.places
    }

    fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let directories = self.globs.literal_directories();
        directories.map(|directory| match above_templates(&directory) {
            Some(above) if self.has_charts => above.to_owned(),
            _ => directory,
        })
    }
}

/// The places of a configuration, without their locations in its text.
fn places_key(config: &Config) -> String {
    let mut text = String::new();
    for place in &config.places {
        let files = place.files.as_ref().map(Globs::texts);
        let _ = write!(
            text,
            "{:?}",
            (
                &place.name,
                &place.kind,
                files,
                config.comment_policy(place)
            )
        );
    }
    if !text.is_empty() {
        let images = config
            .images
            .iter()
            .map(|image| (&image.name, &image.repository));
        let _ = write!(
            text,
            "{:?}{:?}",
            config.files.texts(),
            images.collect::<Vec<_>>()
        );
    }
    text
}

struct Walk<'a> {
    git: &'a Git,
    config: &'a Config,
    /// The configuration's path in the repository.
    config_path: Vec<u8>,
    current: Arc<Rules>,
    objects: &'a mut Objects<PinList>,
    readings: &'a Readings,
    requested: HashSet<Blob>,
    titles: &'a mut Titles,
    parsed: HashMap<ObjectId, OwnRules>,
}

/// The rules of a commit's own configuration.
#[derive(Clone)]
enum OwnRules {
    /// The rules, with the configuration unless it is the current one.
    Known(Arc<Rules>, Option<Arc<Config>>),
    /// The configuration cannot be read, for this reason.
    Unreadable(Arc<str>),
}

impl OwnRules {
    fn known(&self) -> Option<&Arc<Rules>> {
        match self {
            Self::Known(rules, _) => Some(rules),
            Self::Unreadable(_) => None,
        }
    }
}

/// The state after a commit.
#[derive(Default)]
struct WalkState {
    /// Every regular file under the read directories.
    files: BTreeMap<FilePath, ObjectId>,
    /// The blob of the commit's own configuration.
    own: Option<ObjectId>,
    /// The rules of that configuration, once it is parsed.
    own_rules: Option<OwnRules>,
    /// The rules of the last commit; `None` before the first commit and after unknown content.
    rules: Option<Arc<Rules>>,
}

/// The state before a commit, to which a visit returns.
struct Undo {
    /// The changed paths with their blobs.
    files: Vec<(FilePath, Option<ObjectId>)>,
    own: Option<ObjectId>,
    own_rules: Option<OwnRules>,
    rules: Option<Arc<Rules>>,
}

impl WalkState {
    fn undo(&mut self, undo: Undo) {
        for (path, blob) in undo.files.into_iter().rev() {
            match blob {
                Some(blob) => self.files.insert(path, blob),
                None => self.files.remove(&path),
            };
        }
        self.own = undo.own;
        self.own_rules = undo.own_rules;
        self.rules = undo.rules;
    }
}

/// Reads the commits that are reachable from `tip`. Requests every blob that may contain pins, and adds
/// the titles of every configuration to `titles`.
pub(super) fn walk(
    git: &Git,
    tip: &ObjectId,
    config: &Config,
    titles: &mut Titles,
    objects: &mut Objects<PinList>,
    readings: &Readings,
) -> Result<(Graph, Vec<Commit>), GitError> {
    let current = Arc::new(Rules::new(config, config));
    let config_path = [git.prefix(), config.file_name().as_bytes()].concat();
    let mut walk = Walk {
        git,
        config,
        config_path,
        current,
        objects,
        readings,
        requested: HashSet::new(),
        titles,
        parsed: HashMap::new(),
    };
    let mut directories: BTreeSet<PathBuf> = walk.current.directories().collect();
    loop {
        if directories.len() > MAX_DIRECTORIES {
            directories = BTreeSet::from([PathBuf::new()]);
        }
        let history = walk.read(tip, &directories)?;
        let mut missing = BTreeSet::new();
        for rules in walk.parsed.values().filter_map(OwnRules::known) {
            for directory in rules.directories() {
                if !directories.iter().any(|read| directory.starts_with(read)) {
                    missing.insert(directory);
                }
            }
        }
        if missing.is_empty() {
            let (graph, mut commits) = history;
            for commit in &mut commits {
                commit.claims = walk.titles.claims(commit.info.subject(), &commit.trailers);
            }
            return Ok((graph, commits));
        }
        directories.extend(missing);
    }
}

impl Walk<'_> {
    fn read(
        &mut self,
        tip: &ObjectId,
        directories: &BTreeSet<PathBuf>,
    ) -> Result<(Graph, Vec<Commit>), GitError> {
        let mut paths = Vec::new();
        for directory in directories {
            paths.push([self.git.prefix(), directory.as_os_str().as_bytes()].concat());
        }
        paths.push(self.config_path.clone());
        let mut logged = Vec::new();
        log::reachable(self.git, tip, &paths)?.each(|commit| {
            self.request_early(&commit.changes)?;
            logged.push(commit);
            Ok(())
        })?;
        let ids = logged.iter().map(|commit| (&commit.id, &commit.parents));
        let graph = Graph::new(ids, tip);
        let mut commits: Vec<_> = logged.iter().map(|_| None).collect();
        let mut logged: Vec<_> = logged.into_iter().map(Some).collect();
        let mut state = WalkState::default();
        let mut undos = Vec::new();
        for step in &graph.steps {
            match *step {
                Step::Enter(index) => {
                    let Some(commit) = logged[index].take() else {
                        continue;
                    };
                    let (commit, undo) = self.visit(commit, &mut state)?;
                    commits[index] = Some(commit);
                    if !graph.is_on_line(index) {
                        undos.push(undo);
                    } else if undo.own != state.own
                        && let Some(OwnRules::Known(_, Some(config))) = &state.own_rules
                    {
                        self.titles.add(config);
                    }
                }
                Step::Leave(_) => {
                    if let Some(undo) = undos.pop() {
                        state.undo(undo);
                    }
                }
            }
        }
        Ok((graph, commits.into_iter().flatten().collect()))
    }

    /// Requests the blobs that the current configuration reads, while git prints the other commits.
    fn request_early(&mut self, changes: &[log::Change]) -> Result<(), GitError> {
        if !self.current.places.is_empty() {
            return Ok(());
        }
        for change in changes {
            if let Some(path) = change.path.strip_prefix(self.git.prefix())
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
        commit: log::Commit,
        state: &mut WalkState,
    ) -> Result<(Commit, Undo), GitError> {
        let mut undo = Undo {
            files: Vec::new(),
            own: state.own,
            own_rules: state.own_rules.clone(),
            rules: state.rules.clone(),
        };
        let mut changes = Vec::new();
        for change in commit.changes {
            if change.path == self.config_path {
                state.own = change.blob;
                state.own_rules = None;
            }
            let Some(path) = change.path.strip_prefix(self.git.prefix()) else {
                continue;
            };
            if path.split(|byte| *byte == b'/').any(is_reserved) {
                continue;
            }
            let path = FilePath::from(path);
            let old = match change.blob {
                Some(blob) => state.files.insert(Arc::clone(&path), blob),
                None => state.files.remove(&path),
            };
            undo.files.push((Arc::clone(&path), old));
            changes.push((path, change.blob));
        }
        let rules = match &state.own_rules {
            Some(rules) => rules.clone(),
            None => state.own_rules.insert(self.rules(state.own)?).clone(),
        };
        let content = match rules {
            OwnRules::Unreadable(reason) => self.unknown_content(reason, &changes, state),
            OwnRules::Known(rules, _) => self.content(&rules, &changes, state),
        };
        for (path, id) in &changes {
            // `prune` protects the digests in files that a current place searches.
            if let Some(id) = id {
                let blob = self.blob(&self.current, path, *id, state);
                if blob.reading.is_some() {
                    self.request(blob)?;
                }
            }
        }
        match &content {
            Content::Changed(files) => {
                for blob in files.iter().filter_map(|(_, blob)| *blob) {
                    self.request(blob)?;
                }
            }
            Content::All(_, files) => {
                for (_, blob) in files {
                    self.request(*blob)?;
                }
            }
            Content::Unknown(_, blobs) => {
                for blob in blobs {
                    self.request(*blob)?;
                }
                state.rules = None;
            }
        }
        let commit = Commit {
            id: commit.id,
            info: commit.info,
            trailers: commit.trailers,
            claims: Claims::default(),
            adds_config: undo.own.is_none() && state.own.is_some(),
            content,
        };
        Ok((commit, undo))
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
        if rules.places.is_empty() {
            return Blob { id, reading: None };
        }
        let exists = |path: &Path| state.files.contains_key(path.as_os_str().as_bytes());
        let places = RelPath::new(Path::new(OsStr::from_bytes(path)))
            .map(|path| rules.scanner.places_of(&path, &exists))
            .unwrap_or_default();
        let reading = self.readings.number(&rules.places, &rules.scanner, places);
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
        let has_same_rules =
            old_rules.is_some_and(|old| Arc::ptr_eq(&old, rules) || old.is_equal(rules));
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
        for (path, id) in &state.files {
            if rules.matches(path) {
                let blob = self.blob(rules, path, *id, state);
                files.push((Arc::clone(path), blob));
            }
        }
        Content::All(Arc::clone(rules), files)
    }

    fn request(&mut self, blob: Blob) -> Result<(), GitError> {
        if !self.requested.insert(blob) {
            return Ok(());
        }
        self.readings.request(blob);
        self.objects.request(blob.id)
    }

    /// The rules of a commit's own configuration; the current rules if it has none.
    fn rules(&mut self, own: Option<ObjectId>) -> Result<OwnRules, GitError> {
        let Some(blob) = own else {
            return Ok(OwnRules::Known(Arc::clone(&self.current), None));
        };
        if let Some(known) = self.parsed.get(&blob) {
            return Ok(known.clone());
        }
        let rules = match self.objects.blob(blob, MAX_CONFIG_SIZE)? {
            None => OwnRules::Unreadable(TOO_LARGE.into()),
            Some(bytes) => match parse(bytes, self.config) {
                Err(reason) => OwnRules::Unreadable(reason.into()),
                Ok(config) => {
                    let rules = Rules::new(&config, self.config);
                    OwnRules::Known(Arc::new(rules), Some(Arc::new(config)))
                }
            },
        };
        self.parsed.insert(blob, rules.clone());
        Ok(rules)
    }
}

/// Whether a path is that of a chart's metadata.
fn is_chart(path: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next() == Some(CHART.as_bytes())
}

/// Parses a past configuration as if it were at the current root.
pub(crate) fn parse(bytes: Vec<u8>, current: &Config) -> Result<Config, String> {
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let source = SourceText {
        name: current.file_name().to_owned(),
        text: text.into(),
    };
    config::parse_past(&source, &current.root, &current.set_path).map_err(|errors| {
        errors
            .first()
            .map_or_else(|| "it cannot be read".to_owned(), ToString::to_string)
    })
}
