//! Following the files that count along the first-parent line, commit by commit, from what `git
//! log` says has changed.
//!
//! No tree is read: the first commit of the line lists everything, and each later one what it
//! changed. The folders followed are those that the globs of today spell out; a commit whose own
//! configuration looks elsewhere makes the walk begin again with its folders too, so that nothing
//! is missed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{claims::Titles, log};
use crate::{
    config::{self, Config, Globs},
    error::SourceText,
    files::is_ours,
    git::{Git, GitError, ObjectId, Objects},
    oci::{Digest, Revision},
};

/// The pins of one content: which image, which digest.
pub(super) type Scanned = Vec<(usize, Digest)>;

/// The largest configuration, in bytes; the same as in the work tree.
pub(crate) const LARGEST_CONFIG: u64 = 1024 * 1024;
/// Said of a larger one.
pub(super) const TOO_LARGE: &str = "it is larger than 1 MiB";
/// With more folders than this, the whole tree is followed instead.
const MOST_FOLDERS: usize = 64;

/// A path beneath the root.
pub(super) type FilePath = Arc<[u8]>;

/// One commit of the line.
#[derive(Debug)]
pub(super) struct Visited {
    pub(super) id: ObjectId,
    pub(super) parents: Vec<ObjectId>,
    pub(super) date: String,
    pub(super) subject: Vec<u8>,
    /// What the commit itself claims.
    pub(super) claims: Vec<Revision>,
    pub(super) content: Content,
}

/// What became of the matched files.
#[derive(Debug)]
pub(super) enum Content {
    /// These changed; `None`: no longer there as a regular file.
    Changed(Vec<(FilePath, Option<ObjectId>)>),
    /// The rules changed: these are all.
    All(Arc<Rules>, Vec<(FilePath, ObjectId)>),
    /// The commit's own configuration can't be read, for this reason; these contents changed that
    /// any configuration which is known may take for pinned files.
    Unreadable(Arc<str>, Vec<ObjectId>),
}

/// What a configuration says about which bytes are pins.
#[derive(Debug)]
pub(super) struct Rules {
    globs: Globs,
    /// For each image of today, whether this configuration has it: by its repository, since a
    /// digest is one of a repository.
    pub(super) images: Vec<bool>,
}

impl Rules {
    fn new(config: &Config, today: &Config) -> Self {
        let has = |image: &config::Image| {
            config
                .images
                .iter()
                .any(|other| other.repository == image.repository)
        };
        Self {
            globs: config.files.clone(),
            images: today.images.iter().map(has).collect(),
        }
    }

    fn matches(&self, path: &[u8]) -> bool {
        self.globs.matches(Path::new(OsStr::from_bytes(path)))
    }

    fn same(&self, other: &Self) -> bool {
        self.images == other.images && self.globs.texts() == other.globs.texts()
    }

    fn folders(&self) -> impl Iterator<Item = PathBuf> {
        self.globs.literal_folders()
    }
}

/// What is the same for every commit of the walk.
struct Walk<'a> {
    git: &'a Git,
    config: &'a Config,
    /// The configuration's path in the repository.
    config_path: Vec<u8>,
    today: Arc<Rules>,
    objects: &'a mut Objects<Scanned>,
    /// The contents that were asked for.
    asked: HashSet<ObjectId>,
    titles: &'a mut Titles,
    parsed: HashMap<ObjectId, Result<Arc<Rules>, Arc<str>>>,
}

/// What is known after each commit.
#[derive(Default)]
struct Reached {
    /// Every regular file beneath the followed folders.
    files: BTreeMap<FilePath, ObjectId>,
    /// The configuration's content, if it is there.
    own: Option<ObjectId>,
    /// The rules of the commit before; `None` before the first, and after one that can't be read.
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
) -> Result<Vec<Visited>, GitError> {
    let today = Arc::new(Rules::new(config, config));
    let config_path = [git.prefix(), config.file_name().as_bytes()].concat();
    let mut walk = Walk {
        git,
        config,
        config_path,
        today,
        objects,
        asked: HashSet::new(),
        titles,
        parsed: HashMap::new(),
    };
    let mut folders: BTreeSet<PathBuf> = walk.today.folders().collect();
    loop {
        if folders.len() > MOST_FOLDERS {
            folders = BTreeSet::from([PathBuf::new()]);
        }
        let line = walk.once(tip, &folders)?;
        let rules = walk
            .parsed
            .values()
            .filter_map(|parsed| parsed.as_ref().ok());
        let wanted = rules.flat_map(|rules| rules.folders());
        let missed: BTreeSet<_> = wanted
            .filter(|w| !folders.iter().any(|folder| w.starts_with(folder)))
            .collect();
        if missed.is_empty() {
            return Ok(line);
        }
        folders.extend(missed);
    }
}

impl Walk<'_> {
    fn once(
        &mut self,
        tip: &ObjectId,
        folders: &BTreeSet<PathBuf>,
    ) -> Result<Vec<Visited>, GitError> {
        let whole = |folder: &PathBuf| [self.git.prefix(), folder.as_os_str().as_bytes()].concat();
        let pathspecs: Vec<_> = folders
            .iter()
            .map(whole)
            .chain([self.config_path.clone()])
            .collect();
        let mut line = Vec::new();
        let mut reached = Reached::default();
        log::line(self.git, tip, &pathspecs)?.each(|commit| {
            line.push(self.visit(commit, &mut reached)?);
            Ok(())
        })?;
        Ok(line)
    }

    fn visit(&mut self, commit: log::Commit, reached: &mut Reached) -> Result<Visited, GitError> {
        let mut touched = Vec::new();
        for change in commit.changes {
            if change.path == self.config_path {
                reached.own = change.blob;
            }
            let Some(path) = change.path.strip_prefix(self.git.prefix()) else {
                continue;
            };
            if path.split(|b| *b == b'/').any(is_ours) {
                continue;
            }
            let path = FilePath::from(path);
            match change.blob {
                Some(blob) => reached.files.insert(Arc::clone(&path), blob),
                None => reached.files.remove(&path),
            };
            touched.push((path, change.blob));
        }
        let content = match self.rules(reached.own)? {
            Err(why) => {
                // It makes no set, but what it pinned by any rules that are known was pinned all the
                // same.
                let touched = touched.iter().filter(|(path, _)| self.may_count(path));
                let blobs: Vec<_> = touched.filter_map(|(_, blob)| *blob).collect();
                blobs.iter().try_for_each(|blob| self.ask(*blob))?;
                Content::Unreadable(why, blobs)
            }
            Ok(rules) => content(rules, touched, reached),
        };
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
        let claims = self.titles.claims(&commit.subject, &commit.trailers);
        let log::Commit {
            id,
            parents,
            date,
            subject,
            ..
        } = commit;
        Ok(Visited {
            id,
            parents,
            date,
            subject,
            claims,
            content,
        })
    }

    /// Whether the configuration of today or of a commit that was visited matches this path.
    fn may_count(&self, path: &[u8]) -> bool {
        let known = self
            .parsed
            .values()
            .filter_map(|parsed| parsed.as_ref().ok());
        self.today.matches(path) || known.into_iter().any(|rules| rules.matches(path))
    }

    fn ask(&mut self, blob: ObjectId) -> Result<(), GitError> {
        if self.asked.insert(blob) {
            self.objects.ask(blob)
        } else {
            Ok(())
        }
    }

    /// The rules by a commit's own configuration; those of today if it has none.
    fn rules(&mut self, own: Option<ObjectId>) -> Result<Result<Arc<Rules>, Arc<str>>, GitError> {
        let Some(blob) = own else {
            return Ok(Ok(Arc::clone(&self.today)));
        };
        if let Some(known) = self.parsed.get(&blob) {
            return Ok(known.clone());
        }
        let parsed = match self
            .objects
            .blob(blob, LARGEST_CONFIG)?
            .map(|bytes| parse(bytes, self.config))
        {
            None => Err(TOO_LARGE.into()),
            Some(Err(why)) => Err(why.into()),
            Some(Ok(config)) => {
                self.titles.learn(&config);
                Ok(Arc::new(Rules::new(&config, self.config)))
            }
        };
        self.parsed.insert(blob, parsed.clone());
        Ok(parsed)
    }
}

/// What changed for the pins, under `rules`; `reached` goes on with them.
fn content(
    rules: Arc<Rules>,
    touched: Vec<(FilePath, Option<ObjectId>)>,
    reached: &mut Reached,
) -> Content {
    let before = reached.rules.replace(Arc::clone(&rules));
    if before.is_some_and(|before| Arc::ptr_eq(&before, &rules) || before.same(&rules)) {
        return Content::Changed(
            touched
                .into_iter()
                .filter(|(path, _)| rules.matches(path))
                .collect(),
        );
    }
    let matched = reached.files.iter().filter(|(path, _)| rules.matches(path));
    let matched = matched
        .map(|(path, blob)| (Arc::clone(path), *blob))
        .collect();
    Content::All(rules, matched)
}

/// Reads a configuration of the past, as if it were that of today's root.
pub(crate) fn parse(bytes: Vec<u8>, today: &Config) -> Result<Config, String> {
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let source = SourceText {
        name: today.file_name().to_owned(),
        text: text.into(),
    };
    config::parse_past(&source, &today.root).map_err(|problems| {
        problems
            .first()
            .map_or_else(|| "it can't be read".to_owned(), ToString::to_string)
    })
}
