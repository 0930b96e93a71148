//! Following the files that count along the first-parent line, commit by commit, from what `git
//! log` says has changed.
//!
//! No tree is read: the first commit of the line lists everything, and each later one what it
//! changed. The walk follows the directories that the current globs spell out; if a commit's own
//! configuration names other directories, the walk restarts with those too, so that nothing is
//! missed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ffi::OsStr,
    fmt::Write as _,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    claims::Titles,
    log::{self, Parents, Said},
    readings::{Blob, Readings, Scanned},
};
use crate::{
    config::{self, CHART, Config, Globs, PinPlace, PlaceKind, RelPath, above_templates},
    error::SourceText,
    files::is_reserved,
    git::{Git, GitError, ObjectId, Objects},
    oci::Revision,
    pins::FileScanner,
};

/// The largest configuration, in bytes; the same as in the work tree.
pub(crate) const LARGEST_CONFIG: u64 = 1024 * 1024;
/// Said of a larger one.
pub(super) const TOO_LARGE: &str = "it is larger than 1 MiB";
/// With more directories than this, the whole tree is followed instead.
const MOST_DIRECTORIES: usize = 64;

/// A path beneath the root.
pub(super) type FilePath = Arc<[u8]>;

/// One commit of the line.
#[derive(Debug)]
pub(super) struct Visited {
    pub(super) id: ObjectId,
    pub(super) parents: Parents,
    pub(super) said: Said,
    /// What the commit itself claims.
    pub(super) claims: Vec<Revision>,
    pub(super) content: Content,
}

/// The outcome of the matched files.
#[derive(Debug)]
pub(super) enum Content {
    /// These changed; `None`: no longer there as a regular file.
    Changed(Vec<(FilePath, Option<Blob>)>),
    /// The rules changed: these are all.
    All(Arc<Rules>, Vec<(FilePath, Blob)>),
    /// It is not known, for this reason; these contents changed that any configuration which is known
    /// may take for pinned files.
    Unreadable(Box<Unknown>, Vec<Blob>),
}

/// Why a commit's content is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unknown {
    /// The file of a place that is refused; `None`: the commit's own configuration cannot be read.
    pub(super) file: Option<String>,
    pub(super) why: Arc<str>,
}

/// What a configuration says about which bytes are pins.
#[derive(Debug)]
pub(super) struct Rules {
    globs: Globs,
    scanner: FileScanner,
    /// The places and what they depend on, for telling these rules from others.
    places: String,
    /// Whether directories of charts matter.
    charts: bool,
    /// For each currently configured image, whether this configuration has it: by its repository,
    /// since a digest is one of a repository.
    pub(super) images: Vec<bool>,
}

impl Rules {
    fn new(config: &Config, current: &Config) -> Self {
        let has = |image: &config::Image| {
            config
                .images
                .iter()
                .any(|other| other.repository == image.repository)
        };
        let repositories: Vec<_> = current
            .images
            .iter()
            .map(|image| image.repository.clone())
            .collect();
        let by_name = |place: &PinPlace| {
            place.files.is_none()
                && matches!(place.kind, PlaceKind::Helm { .. } | PlaceKind::Keys(_))
        };
        Self {
            globs: config.scanned.clone(),
            scanner: FileScanner::of(config, &repositories),
            places: places_of(config),
            charts: config.places.iter().any(by_name),
            images: current.images.iter().map(has).collect(),
        }
    }

    fn matches(&self, path: &[u8]) -> bool {
        self.globs.matches(Path::new(OsStr::from_bytes(path)))
    }

    fn same(&self, other: &Self) -> bool {
        self.images == other.images
            && self.globs.texts() == other.globs.texts()
            && self.places == other.places
    }

    fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let directories = self.globs.literal_directories();
        directories.map(|directory| match above_templates(&directory) {
            Some(above) if self.charts => above.to_owned(),
            _ => directory,
        })
    }
}

/// The places of a configuration, without their positions in its text.
fn places_of(config: &Config) -> String {
    let mut text = String::new();
    for place in &config.places {
        let files = place.files.as_ref().map(Globs::texts);
        let _ = write!(
            text,
            "{:?}",
            (&place.name, &place.kind, files, place.comment)
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

/// What is the same for every commit of the walk.
struct Walk<'a> {
    git: &'a Git,
    config: &'a Config,
    /// The configuration's path in the repository.
    config_path: Vec<u8>,
    current: Arc<Rules>,
    objects: &'a mut Objects<Scanned>,
    readings: &'a Readings,
    /// The contents that were requested.
    asked: HashSet<Blob>,
    titles: &'a mut Titles,
    parsed: HashMap<ObjectId, OwnRules>,
}

/// What a commit's own configuration makes of it.
#[derive(Clone)]
enum OwnRules {
    Known(Arc<Rules>),
    /// The configuration cannot be read, and why.
    Unreadable(Arc<str>),
}

impl OwnRules {
    fn known(&self) -> Option<&Arc<Rules>> {
        match self {
            Self::Known(rules) => Some(rules),
            Self::Unreadable(_) => None,
        }
    }
}

/// What is known after each commit.
#[derive(Default)]
struct WalkState {
    /// Every regular file beneath the followed directories.
    files: BTreeMap<FilePath, ObjectId>,
    /// The configuration's content, if it is there.
    own: Option<ObjectId>,
    /// The rules of that configuration, once they were read.
    own_rules: Option<OwnRules>,
    /// The rules of the commit before; `None` before the first, and after one that cannot be read.
    rules: Option<Arc<Rules>>,
}

/// Walks the line that ends in `tip`, oldest commit first. Every content that may hold pins is
/// asked for on the way, and `titles` learns those of every configuration.
pub(super) fn walk(
    git: &Git,
    tip: &ObjectId,
    config: &Config,
    titles: &mut Titles,
    objects: &mut Objects<Scanned>,
    readings: &Readings,
) -> Result<Vec<Visited>, GitError> {
    let current = Arc::new(Rules::new(config, config));
    let config_path = [git.prefix(), config.file_name().as_bytes()].concat();
    let mut walk = Walk {
        git,
        config,
        config_path,
        current,
        objects,
        readings,
        asked: HashSet::new(),
        titles,
        parsed: HashMap::new(),
    };
    let mut directories: BTreeSet<PathBuf> = walk.current.directories().collect();
    loop {
        if directories.len() > MOST_DIRECTORIES {
            directories = BTreeSet::from([PathBuf::new()]);
        }
        let line = walk.once(tip, &directories)?;
        let rules = walk.parsed.values().filter_map(OwnRules::known);
        let wanted = rules.flat_map(|rules| rules.directories());
        let missed: BTreeSet<_> = wanted
            .filter(|w| !directories.iter().any(|directory| w.starts_with(directory)))
            .collect();
        if missed.is_empty() {
            return Ok(line);
        }
        directories.extend(missed);
    }
}

impl Walk<'_> {
    fn once(
        &mut self,
        tip: &ObjectId,
        directories: &BTreeSet<PathBuf>,
    ) -> Result<Vec<Visited>, GitError> {
        let whole =
            |directory: &PathBuf| [self.git.prefix(), directory.as_os_str().as_bytes()].concat();
        let pathspecs: Vec<_> = directories
            .iter()
            .map(whole)
            .chain([self.config_path.clone()])
            .collect();
        let mut line = Vec::new();
        let mut reached = WalkState::default();
        log::line(self.git, tip, &pathspecs)?.each(|commit| {
            line.push(self.visit(commit, &mut reached)?);
            Ok(())
        })?;
        Ok(line)
    }

    fn visit(&mut self, commit: log::Commit, reached: &mut WalkState) -> Result<Visited, GitError> {
        let mut touched = Vec::new();
        for change in commit.changes {
            if change.path == self.config_path {
                reached.own = change.blob;
                reached.own_rules = None;
            }
            let Some(path) = change.path.strip_prefix(self.git.prefix()) else {
                continue;
            };
            if path.split(|b| *b == b'/').any(is_reserved) {
                continue;
            }
            let path = FilePath::from(path);
            match change.blob {
                Some(blob) => reached.files.insert(Arc::clone(&path), blob),
                None => reached.files.remove(&path),
            };
            touched.push((path, change.blob));
        }
        let rules = match &reached.own_rules {
            Some(rules) => rules.clone(),
            None => reached.own_rules.insert(self.rules(reached.own)?).clone(),
        };
        let content = match rules {
            OwnRules::Unreadable(why) => {
                let why = Box::new(Unknown { file: None, why });
                // It makes no set, but what it pinned by any rules that are known was pinned all
                // the same.
                let counted = touched.iter().filter(|(path, _)| self.may_count(path));
                let blob = |(path, id): &(FilePath, Option<ObjectId>)| {
                    Some(self.blob(&self.current, path, (*id)?, reached))
                };
                let blobs: Vec<_> = counted.filter_map(blob).collect();
                blobs.iter().try_for_each(|blob| self.ask(*blob))?;
                Content::Unreadable(why, blobs)
            }
            OwnRules::Known(rules) => self.content(&rules, &touched, reached),
        };
        for (path, id) in &touched {
            // Files that a current place searches protect their digests from being pruned.
            if let Some(id) = id {
                let blob = self.blob(&self.current, path, *id, reached);
                if blob.reading.is_some() {
                    self.ask(blob)?;
                }
            }
        }
        match &content {
            Content::Changed(files) => {
                files
                    .iter()
                    .filter_map(|(_, blob)| *blob)
                    .try_for_each(|blob| self.ask(blob))?;
            }
            Content::All(_, files) => files.iter().try_for_each(|(_, blob)| self.ask(*blob))?,
            Content::Unreadable(..) => reached.rules = None,
        }
        let claims = self.titles.claims(commit.said.subject(), &commit.trailers);
        let log::Commit {
            id, parents, said, ..
        } = commit;
        Ok(Visited {
            id,
            parents,
            said,
            claims,
            content,
        })
    }

    /// Whether the current configuration or that of a visited commit matches this path.
    fn may_count(&self, path: &[u8]) -> bool {
        let known = self.parsed.values().filter_map(OwnRules::known);
        self.current.matches(path) || known.into_iter().any(|rules| rules.matches(path))
    }

    /// A content at a path, as these rules read it.
    fn blob(&self, rules: &Rules, path: &[u8], id: ObjectId, reached: &WalkState) -> Blob {
        if rules.places.is_empty() {
            return Blob { id, reading: None };
        }
        let exists = |path: &Path| reached.files.contains_key(path.as_os_str().as_bytes());
        let places = RelPath::new(Path::new(OsStr::from_bytes(path)))
            .map(|path| rules.scanner.places_of(&path, &exists))
            .unwrap_or_default();
        let reading = self.readings.number(&rules.places, &rules.scanner, places);
        Blob { id, reading }
    }

    /// What changed for the pins, under `rules`; `reached` continues with them.
    fn content(
        &self,
        rules: &Arc<Rules>,
        touched: &[(FilePath, Option<ObjectId>)],
        reached: &mut WalkState,
    ) -> Content {
        let before = reached.rules.replace(Arc::clone(rules));
        // A chart that comes or goes makes other files templates, or values.
        let charts = rules.charts && touched.iter().any(|(path, _)| is_chart(path));
        let same = before.is_some_and(|before| Arc::ptr_eq(&before, rules) || before.same(rules));
        if same && !charts {
            let matched = touched.iter().filter(|(path, _)| rules.matches(path));
            let changed = matched.map(|(path, id)| {
                let blob = id.map(|id| self.blob(rules, path, id, reached));
                (Arc::clone(path), blob)
            });
            return Content::Changed(changed.collect());
        }
        let matched = reached.files.iter().filter(|(path, _)| rules.matches(path));
        let matched = matched.map(|(path, id)| {
            let blob = self.blob(rules, path, *id, reached);
            (Arc::clone(path), blob)
        });
        Content::All(Arc::clone(rules), matched.collect())
    }

    fn ask(&mut self, blob: Blob) -> Result<(), GitError> {
        if self.asked.insert(blob) {
            self.readings.want(blob);
            self.objects.ask(blob.id)
        } else {
            Ok(())
        }
    }

    /// The rules of a commit's own configuration; the current rules if it has none.
    fn rules(&mut self, own: Option<ObjectId>) -> Result<OwnRules, GitError> {
        let Some(blob) = own else {
            return Ok(OwnRules::Known(Arc::clone(&self.current)));
        };
        if let Some(known) = self.parsed.get(&blob) {
            return Ok(known.clone());
        }
        let parsed = match self
            .objects
            .blob(blob, LARGEST_CONFIG)?
            .map(|bytes| parse(bytes, self.config))
        {
            None => OwnRules::Unreadable(TOO_LARGE.into()),
            Some(Err(reason)) => OwnRules::Unreadable(reason.into()),
            Some(Ok(config)) => {
                self.titles.learn(&config);
                OwnRules::Known(Arc::new(Rules::new(&config, self.config)))
            }
        };
        self.parsed.insert(blob, parsed.clone());
        Ok(parsed)
    }
}

/// Whether a path is that of a file that makes its directory a chart.
fn is_chart(path: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next() == Some(CHART.as_bytes())
}

/// Reads a past configuration as if it were at the current root.
pub(crate) fn parse(bytes: Vec<u8>, current: &Config) -> Result<Config, String> {
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let source = SourceText {
        name: current.file_name().to_owned(),
        text: text.into(),
    };
    config::parse_past(&source, &current.root).map_err(|errors| {
        errors
            .first()
            .map_or_else(|| "it cannot be read".to_owned(), ToString::to_string)
    })
}
