//! History without a clone: the last commits that changed the files with pins, as a forge lists them.
//!
//! The forge lists only these files, so every commit is read with the current configuration. The
//! commits before the first listed one are unknown, as in a shallow clone. Only here, a title counts as
//! a rollback to a set that no listed commit has, by the fleet's title of rollbacks or by the
//! repository's own.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    path::Path,
    sync::Arc,
};

use super::{
    History, Kind, LineFacts,
    blobs::PinList,
    claims::{self, ClaimTemplates, Claims},
    graph::Graph,
    periods::{PastImage, PastImages},
    provenance::Point,
    sets::Set,
    walk::{Commit, ConfigState, Content, UnknownContent},
};
use crate::{
    base::files::RelPath,
    config::{Config, Template, Trailer},
    core::pins::FileScanner,
    git::{Branch, ObjectId, commits::CommitInfo},
};

/// The last commits of a branch that changed some files.
pub(crate) struct PathHistory<'r> {
    pub branch: Branch,
    /// The commits, newest first.
    pub commits: Vec<PathCommit<'r>>,
    /// Whether no older commit changed the files.
    pub is_complete: bool,
    /// Looks up a blob by its id.
    pub blob: &'r dyn Fn(&str) -> Option<&'r [u8]>,
    /// Whether a file exists at a path.
    pub exists: &'r dyn Fn(&Path) -> bool,
    /// The title of the repository's own rollbacks, in addition to that of the configuration.
    pub own_rollbacks: &'r Template,
}

/// A commit that a forge lists.
pub(crate) struct PathCommit<'r> {
    pub id: ObjectId,
    /// ISO 8601.
    pub date: &'r str,
    /// The author's name.
    pub author: &'r str,
    pub message: &'r str,
    /// The files of the commit: the path and the id of the blob.
    pub files: &'r BTreeMap<String, String>,
}

/// The id of a blob that was not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the content {0} is missing")]
pub(crate) struct MissingBlob(pub String);

/// The pins of one file.
#[derive(Clone, Default)]
struct FilePins {
    pins: PinList,
    /// The location and the reason of a refused entry.
    refused: Option<String>,
}

/// The pins of one commit.
struct CommitPins {
    pins: PinList,
    refused: Option<UnknownContent>,
}

struct Reader<'l, 'r> {
    scanner: FileScanner,
    config: &'l Config,
    history: &'l PathHistory<'r>,
    /// The pins of files, by path and blob.
    files: HashMap<(&'r str, &'r str), FilePins>,
}

impl History {
    /// Reads the history of the listed commits.
    pub(crate) fn from_path_history(
        config: &Config,
        path_history: &PathHistory<'_>,
    ) -> Result<Self, MissingBlob> {
        let mut reader = Reader {
            scanner: FileScanner::new(config),
            config,
            history: path_history,
            files: HashMap::new(),
        };
        let titles = ClaimTemplates::new(config);
        let mut facts = LineFacts::default();
        let mut numbers = HashMap::new();
        let mut previous = None;
        let images = config.images.iter().map(PastImage::from);
        let images: PastImages = Arc::new(images.enumerate().collect());
        for commit in path_history.commits.iter().rev() {
            let mut found = reader.commit(commit)?;
            let subject = subject(commit.message);
            let trailers = Trailer::message_lines(commit.message);
            found.pins.sort_unstable();
            let claims = if previous.as_ref() == Some(&found.pins) {
                Claims::default()
            } else {
                titles.claims(subject.as_bytes(), &trailers, &[&config.set_path])
            };
            previous = Some(found.pins.clone());
            let info = CommitInfo::new(commit.date, commit.author, subject.as_bytes());
            let has_rollback_title = !path_history.is_complete
                && is_rollback_title(config, path_history.own_rollbacks, &subject);
            let mut point = Point {
                claims: claims.clone(),
                has_rollback_title,
                has_changed_files: true,
                images: Arc::clone(&images),
                ..Point::default()
            };
            let content = if let Some(unknown) = found.refused {
                point.partial_pins = found.pins;
                Content::Unknown(Box::new(unknown), Vec::new())
            } else {
                let slots = slots(config, &found.pins);
                let set = Set::of_images(&slots, config);
                point.slots = Some(slots);
                let number = *numbers.entry(set.clone()).or_insert_with(|| {
                    facts.sets.push(set);
                    facts.sets.len() - 1
                });
                point.set = Some(number);
                Content::Changed(Vec::new())
            };
            facts.points.push(point);
            facts.commits.push(Commit {
                id: commit.id,
                info,
                trailers,
                claims,
                added: None,
                previous: None,
                paths: 1,
                config: ConfigState::Present { is_changed: false },
                images: Arc::clone(&images),
                content,
            });
        }
        facts.graph = Graph::linear(facts.commits.len());
        if !path_history.is_complete {
            facts.doubtful.insert(0);
        }
        facts.tags = titles.into_tag_templates();
        let branch = path_history.branch.clone();
        Ok(Self::from_facts(branch, config.clone(), facts))
    }

    /// Whether a known commit records the promotion of the current set or the rollback to it, or every
    /// commit is known.
    pub(crate) fn shows_beginning(&self) -> bool {
        if !self.shallow {
            return true;
        }
        let Some(event) = self.line_events().next_back() else {
            return false;
        };
        let point = &self.facts.points[event.commit];
        match event.kind {
            Kind::Promote => true,
            Kind::Rollback => point.has_rollback_title || !point.claims.revisions.is_empty(),
            Kind::Manual => false,
        }
    }
}

impl<'r> Reader<'_, 'r> {
    fn commit(&mut self, commit: &PathCommit<'r>) -> Result<CommitPins, MissingBlob> {
        let mut found = CommitPins {
            pins: Vec::new(),
            refused: None,
        };
        for (path, id) in commit.files {
            let file = self.file(path, id)?;
            found.pins.extend(file.pins);
            if let Some(refused) = file.refused {
                found.refused.get_or_insert(UnknownContent {
                    file: Some(path.clone()),
                    reason: Arc::from(format!("{path}:{refused}")),
                });
            }
        }
        Ok(found)
    }

    fn file(&mut self, path: &'r str, id: &'r str) -> Result<FilePins, MissingBlob> {
        let unknown = match self.files.entry((path, id)) {
            Entry::Occupied(known) => return Ok(known.get().clone()),
            Entry::Vacant(unknown) => unknown,
        };
        let Some(content) = (self.history.blob)(id) else {
            return Err(MissingBlob(id.to_owned()));
        };
        let mut pins = FilePins::default();
        if let Ok(path) = RelPath::parse(path)
            && self.config.scanned.matches(path.as_path())
        {
            let places = self.scanner.places_of(&path, self.history.exists);
            let scan = self.scanner.scan(content, &places);
            pins.pins = (scan.pins.iter())
                .map(|pin| (pin.image, pin.digest))
                .collect();
            if let Some(refused) = scan.refused.first() {
                let (line, column, reason) = (refused.line, refused.column, &refused.reason);
                pins.refused = Some(format!("{line}:{column}: {reason}"));
            }
        }
        Ok(unknown.insert(pins).clone())
    }
}

/// The digests of all images.
fn slots(config: &Config, pins: &PinList) -> Set {
    let mut images = vec![Vec::new(); config.images.len()];
    for (image, digest) in pins {
        images[*image].push(*digest);
    }
    Set::new(images)
}

fn is_rollback_title(config: &Config, own: &Template, subject: &str) -> bool {
    claims::title_forms(subject).any(|text| {
        [&config.rollback.title, own]
            .iter()
            .any(|title| title.revision_in(text, &config.name).is_some())
    })
}

/// The first paragraph of a message, on one line (git-log, `%s`).
fn subject(message: &str) -> String {
    let paragraph: Vec<&str> = message
        .lines()
        .skip_while(|line| line.trim().is_empty())
        .take_while(|line| !line.trim().is_empty())
        .map(str::trim_end)
        .collect();
    paragraph.join(" ")
}

#[cfg(test)]
mod tests;
