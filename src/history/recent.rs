//! History without a clone: the last commits that touched the files with pins, as a forge shows them.
//!
//! The forge shows these files alone, so every commit is read with the present configuration. What
//! was before the first of these commits is as unknown as what a shallow clone lacks. Only here a
//! title counts as a rollback to a set that none of the commits has, by the fleet's names of rollbacks
//! or by the repository's own.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use super::{
    History, Known,
    claims::{self, Titles},
    line::Point,
    log::{Parents, Said},
    readings::Scanned,
    sets::Set,
    walk::{Content, Unknown, Visited},
};
use crate::{
    config::{Config, RelPath, Template},
    git::{Branch, ObjectId},
    pins::FileScanner,
};

/// The last commits of a branch that touched some files.
pub struct RecentLine<'r> {
    /// The branch.
    pub branch: Branch,
    /// The commits, the newest first.
    pub commits: Vec<CommitShown<'r>>,
    /// Whether nothing older touched the files.
    pub whole: bool,
    /// The contents by their names.
    pub contents: &'r dyn Fn(&str) -> Option<&'r [u8]>,
    /// Whether there is a file at a path.
    pub exists: &'r dyn Fn(&Path) -> bool,
    /// The titles of the repository's own rollbacks, beside those of the configuration.
    pub own_rollbacks: &'r Template,
}

/// A commit as a forge shows it.
pub struct CommitShown<'r> {
    /// Its name.
    pub id: ObjectId,
    /// When it was committed (ISO 8601).
    pub date: &'r str,
    /// Its author's name.
    pub author: &'r str,
    /// Its message.
    pub message: &'r str,
    /// The files that it has: path, and the name of the content.
    pub files: &'r BTreeMap<String, String>,
}

/// A content that a commit has and that is not at hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the content {0} is missing")]
pub struct ContentMissing(pub String);

/// What one file pins.
#[derive(Clone)]
struct FilePins {
    pins: Scanned,
    /// Where and why an entry of a place is refused.
    refused: Option<String>,
}

/// What one commit pins.
struct CommitPins {
    pins: Scanned,
    refused: Option<Unknown>,
}

struct Reader<'l, 'r> {
    scanner: FileScanner,
    config: &'l Config,
    line: &'l RecentLine<'r>,
    /// By path and content.
    read: HashMap<(&'r str, &'r str), FilePins>,
}

impl History {
    /// The history that the last commits show.
    pub fn of_recent(config: &Config, line: &RecentLine<'_>) -> Result<Self, ContentMissing> {
        let mut reader = Reader {
            scanner: FileScanner::new(config),
            config,
            line,
            read: HashMap::new(),
        };
        let titles = Titles::new(config);
        let mut known = Known::default();
        let mut numbers = HashMap::new();
        for commit in line.commits.iter().rev() {
            let found = reader.commit(commit)?;
            let (subject, trailers) = (subject(commit.message), trailers(commit.message));
            let claims = titles.claims(subject.as_bytes(), trailers.as_bytes());
            let set = found.refused.is_none().then(|| {
                let set = set(config, &found.pins);
                *numbers.entry(set.clone()).or_insert_with(|| {
                    known.sets.push(set);
                    known.sets.len() - 1
                })
            });
            known.line.push(Point {
                set,
                glimpsed: set.map_or(found.pins, |_| Vec::new()),
                claims: claims.clone(),
                returns: !line.whole && returns(config, line.own_rollbacks, &subject),
            });
            known.commits.push(Visited {
                id: commit.id,
                parents: Parents::default(),
                said: Said::new(commit.date, commit.author, subject.as_bytes()),
                claims,
                content: match found.refused {
                    Some(why) => Content::Unreadable(Box::new(why), Vec::new()),
                    None => Content::Changed(Vec::new()),
                },
            });
        }
        if !line.whole {
            known.doubtful.insert(0);
        }
        known.tags = titles.into_tags();
        Ok(Self::of(line.branch.clone(), config.clone(), known))
    }

    /// Whether the commits show how the current set became current, by a promote or a rollback, or
    /// else are all that there are.
    pub fn shows_beginning(&self) -> bool {
        let latest = self.entries().first();
        let shown = latest.is_some_and(|entry| entry.kind != super::Kind::Manual);
        !self.shallow || shown
    }
}

impl<'r> Reader<'_, 'r> {
    fn commit(&mut self, commit: &CommitShown<'r>) -> Result<CommitPins, ContentMissing> {
        let mut found = CommitPins {
            pins: Vec::new(),
            refused: None,
        };
        for (path, id) in commit.files {
            let file = self.file(path, id)?;
            found.pins.extend(file.pins);
            if let Some(why) = file.refused {
                let why = Arc::from(format!("{path}:{why}"));
                let file = Some(path.clone());
                found.refused.get_or_insert(Unknown { file, why });
            }
        }
        Ok(found)
    }

    fn file(&mut self, path: &'r str, id: &'r str) -> Result<FilePins, ContentMissing> {
        if let Some(known) = self.read.get(&(path, id)) {
            return Ok(known.clone());
        }
        let content = (self.line.contents)(id).ok_or_else(|| ContentMissing(id.to_owned()))?;
        let matched = RelPath::parse(path).ok();
        let matched = matched.filter(|path| self.config.scanned.matches(path.as_path()));
        let mut pins = FilePins {
            pins: Vec::new(),
            refused: None,
        };
        if let Some(path) = matched {
            let places = self.scanner.places_of(&path, self.line.exists);
            let scan = self.scanner.scan(content, &places);
            let found = scan.pins.iter().map(|pin| (pin.image, pin.digest));
            pins.pins = found.collect();
            let refused = scan.refused.first();
            pins.refused = refused
                .map(|refused| format!("{}:{}: {}", refused.line, refused.column, refused.why));
        }
        self.read.insert((path, id), pins.clone());
        Ok(pins)
    }
}

/// The set that these pins are.
fn set(config: &Config, pins: &Scanned) -> Set {
    let mut set = vec![Vec::new(); config.images.len()];
    for (image, digest) in pins
        .iter()
        .filter(|(image, _)| config.images[*image].pins > 0)
    {
        set[*image].push(*digest);
    }
    Set::new(set)
}

/// Whether a commit's title is that of a rollback.
fn returns(config: &Config, own: &Template, subject: &str) -> bool {
    let titles = [&config.rollback.title, own];
    let mut exact = claims::without_number(subject).into_iter().chain([subject]);
    exact.any(|text| {
        titles
            .iter()
            .any(|title| title.revision_in(text, &config.name).is_some())
    })
}

/// The first paragraph of a message, on one line (git-log, `%s`).
fn subject(message: &str) -> String {
    let lines = message.lines().skip_while(|line| line.trim().is_empty());
    let lines: Vec<&str> = lines
        .take_while(|line| !line.trim().is_empty())
        .map(str::trim_end)
        .collect();
    lines.join(" ")
}

/// The values of `Repin-Set` in the last paragraph, if that has trailers alone and is not the subject;
/// a line each.
fn trailers(message: &str) -> String {
    let text = message.replace('\r', "");
    let Some((_, last)) = text.trim_end().rsplit_once("\n\n") else {
        return String::new();
    };
    let trailer = |line: &str| {
        let key = line.split_once(':').map_or("", |(key, _)| key);
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        line.starts_with([' ', '\t']) || !key.is_empty() && key.chars().all(word)
    };
    if !last.lines().all(trailer) {
        return String::new();
    }
    let values = last.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case("Repin-Set").then(|| value.trim())
    });
    values.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
