//! The periods in which a set was current on the line, with the dates that limit them.
//!
//! The rules of past configurations for finding pins.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fmt::Write as _,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Digests, History, HistoryEntry, Kind, claims};
use crate::{
    base::files::Globs,
    config::{self, Config, DefaultFiles, Image, above_templates},
    core::pins::FileScanner,
    git::ObjectId,
    oci::Repository,
};

/// The periods of one set, and the facts that invalidate them.
#[derive(Debug)]
pub(crate) struct SetPeriods<'h> {
    /// Oldest first, without those that a rollback of the set, or to the set, forfeited.
    pub periods: Vec<Period<'h>>,
    /// The latest rollback that undid the set or an image of it, unless the set became current again.
    pub undone_by: Option<Undoing>,
    /// The reason why the set may have been current in unknown commits.
    pub gap: Option<String>,
}

/// A commit that undid a set, or an image of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Undoing {
    /// The name of the image; `None` for the whole set.
    pub image: Option<String>,
    pub commit: ObjectId,
    /// The committer date (ISO 8601).
    pub date: String,
}

/// A period in which a set was current.
#[derive(Debug)]
pub(crate) struct Period<'h> {
    /// The change that made the set current.
    pub entry: &'h HistoryEntry,
    pub start: DatedCommit,
    /// The commit that made another set current; `None` while the set is current.
    pub end: Option<DatedCommit>,
    /// The commit after `end`.
    pub after_end: Option<DatedCommit>,
    /// A commit since the start that cannot be read, with the reason.
    pub unreadable: Option<String>,
}

/// A commit of the line with its committer date.
#[derive(Debug)]
pub(crate) struct DatedCommit {
    pub commit: ObjectId,
    /// ISO 8601.
    pub date: String,
    /// The number of the pull request in the subject.
    pub pull_request: Option<u64>,
    pub parent: ParentDate,
}

/// The committer date of the first parent.
#[derive(Debug)]
pub(crate) enum ParentDate {
    NoParent,
    Known(String),
    /// The clone does not contain the parent.
    Missing,
}

impl History {
    /// The periods of the set with exactly these digests of the images that must be pinned.
    pub(crate) fn periods(&self, digests: &Digests) -> SetPeriods<'_> {
        let mut sets = self.facts.sets.iter();
        let Some(set) = sets.position(|set| set.digests(&self.config) == *digests) else {
            return SetPeriods {
                periods: Vec::new(),
                undone_by: None,
                gap: self.gap(),
            };
        };
        let events: Vec<_> = self.line_events().collect();
        let undone_by = self.events.undone_by[set].map(|rollback| &self.events.all[rollback]);
        let part = self.undone_part(digests);
        let position_of_part = part.map(|part| self.facts.graph.positions[part.commit]);
        let mut forfeited = undone_by.map_or(0, |rollback| rollback.position);
        forfeited = forfeited.max(position_of_part.unwrap_or_default());
        for event in &events {
            if event.set == set && event.kind == Kind::Rollback {
                forfeited = forfeited.max(event.position);
            }
        }
        let mut periods = Vec::new();
        for (index, event) in events.iter().enumerate() {
            if event.set == set && event.position >= forfeited {
                let entry = &self.entries()[events.len() - 1 - index];
                let end = events.get(index + 1).map(|next| next.position);
                periods.push(self.period(entry, event.position, end));
            }
        }
        let last = match part {
            Some(part) if position_of_part > undone_by.map(|rollback| rollback.position) => {
                let commit = &self.facts.commits[part.commit];
                Some(Undoing {
                    image: Some(part.image.clone()),
                    commit: commit.id,
                    date: commit.info.date(),
                })
            }
            Some(_) | None => undone_by.map(|rollback| {
                let entry = self.entry(rollback);
                Undoing {
                    image: None,
                    commit: entry.commit,
                    date: entry.date,
                }
            }),
        };
        SetPeriods {
            undone_by: last.filter(|_| periods.is_empty()),
            periods,
            gap: self.gap(),
        }
    }

    fn period<'h>(&self, entry: &'h HistoryEntry, start: usize, end: Option<usize>) -> Period<'h> {
        let after_end = end.filter(|end| end + 1 < self.facts.graph.line.len());
        Period {
            entry,
            start: self.dated(start),
            end: end.map(|end| self.dated(end)),
            after_end: after_end.map(|end| self.dated(end + 1)),
            unreadable: self.unreadable_since(start),
        }
    }

    fn dated(&self, position: usize) -> DatedCommit {
        let date = |position: usize| self.facts.line_commit(position).info.date();
        let commit = self.facts.line_commit(position);
        DatedCommit {
            commit: commit.id,
            pull_request: claims::pull_request(&commit.info),
            date: date(position),
            parent: match position.checked_sub(1) {
                Some(parent) => ParentDate::Known(date(parent)),
                None if self.facts.doubtful.contains(&0) => ParentDate::Missing,
                None => ParentDate::NoParent,
            },
        }
    }

    /// A commit after `start` that may hide a rollback.
    fn unreadable_since(&self, start: usize) -> Option<String> {
        let mut unreadable = self.unreadable.iter();
        if let Some(found) = unreadable.find(|unreadable| unreadable.index > start) {
            let commit = found.commit.short();
            return Some(format!("cannot read commit {commit}: {}", found.reason()));
        }
        let doubtful = self.facts.doubtful.range(start + 1..).next()?;
        let commit = self.facts.line_commit(*doubtful).id.short();
        Some(format!(
            "the clone is shallow: commits that {commit} merged are missing"
        ))
    }

    /// The reason why the set may have been current in a commit that is unknown.
    fn gap(&self) -> Option<String> {
        if self.shallow {
            return Some("older commits are missing in the clone".to_owned());
        }
        if let Some(past) = self.unknown_past() {
            return Some(past.to_string());
        }
        let unreadable = self.blind_spot()?;
        let commit = unreadable.commit.short();
        let reason = unreadable.reason();
        Some(format!("cannot read commit {commit}: {reason}"))
    }
}

/// The images of every configuration of a set. An image keeps its slot under another name or with another
/// repository, so that its digests form one sequence.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Every repository, those of the current configuration first.
    pub(super) repositories: Vec<Repository>,
    /// The number of images in the current configuration, which have the first slots.
    current: usize,
    images: Vec<Slot>,
    /// The slots of each configuration.
    configurations: BTreeSet<BTreeSet<usize>>,
    /// Pairs of slots of which one has the name and the other one the repository of an image.
    connected: BTreeSet<(usize, usize)>,
}

/// The names and the repositories that an image had.
#[derive(Debug, Default)]
struct Slot {
    names: BTreeSet<String>,
    repositories: BTreeSet<usize>,
    /// Whether the image had pins in any configuration.
    is_pinned: bool,
}

impl Slot {
    fn had(&self, repository: usize) -> bool {
        self.repositories.contains(&repository)
    }

    fn was_called(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether both the slot and an image have pins.
    fn is_pinned_as(&self, image: &Image) -> bool {
        self.is_pinned && image.pins > 0
    }
}

impl Slots {
    pub(super) fn new(current: &Config) -> Self {
        let mut slots = Self {
            current: current.images.len(),
            ..Self::default()
        };
        slots.assign(current);
        slots
    }

    /// The slot of each repository of a configuration: that of an image with the same name and repository,
    /// else with the same repository, else with the same name, else a new one. An image with `pins: 0` takes no slot from
    /// one with pins.
    fn assign(&mut self, config: &Config) -> BTreeMap<usize, usize> {
        let mut assigned = BTreeMap::new();
        let mut taken = BTreeSet::new();
        let similarities: [fn(&Slot, usize, &Image) -> bool; 5] = [
            |slot, repository, image| slot.had(repository) && slot.was_called(&image.name),
            |slot, repository, image| slot.is_pinned_as(image) && slot.had(repository),
            |slot, _, image| slot.is_pinned_as(image) && slot.was_called(&image.name),
            |slot, repository, _| slot.had(repository),
            |slot, _, image| slot.was_called(&image.name),
        ];
        for is_similar in similarities {
            for image in &config.images {
                let repository = self.repository(&image.repository);
                let mut slots = self.images.iter().enumerate();
                if !assigned.contains_key(&repository)
                    && let Some((number, _)) = slots.find(|(number, slot)| {
                        !taken.contains(number) && is_similar(slot, repository, image)
                    })
                {
                    taken.insert(number);
                    assigned.insert(repository, number);
                }
            }
        }
        for image in &config.images {
            let repository = self.repository(&image.repository);
            let number = *assigned.entry(repository).or_insert(self.images.len());
            if number == self.images.len() {
                self.images.push(Slot::default());
            }
            let slot = &mut self.images[number];
            slot.names.insert(image.name.clone());
            slot.repositories.insert(repository);
            slot.is_pinned |= image.pins > 0;
        }
        let own: BTreeSet<usize> = assigned.values().copied().collect();
        for image in &config.images {
            let repository = self.repository(&image.repository);
            let number = assigned[&repository];
            for (other, slot) in self.images.iter().enumerate() {
                if !own.contains(&other) && (slot.was_called(&image.name) || slot.had(repository)) {
                    let pair = (other.min(number), other.max(number));
                    self.connected.insert(pair);
                }
            }
        }
        self.configurations.insert(own);
        assigned
    }

    /// Joins the slots of an image that changed its name in one commit and its repository in another, if no
    /// configuration has both. Returns whether slots were joined; then the former assignments are outdated.
    pub(super) fn join(&mut self) -> bool {
        let mut is_joined = false;
        for (kept, other) in std::mem::take(&mut self.connected) {
            let mut configurations = self.configurations.iter();
            let are_both = configurations.any(|own| own.contains(&kept) && own.contains(&other));
            if are_both || self.images[kept].names.is_empty() || self.images[other].names.is_empty()
            {
                continue;
            }
            let joined = std::mem::take(&mut self.images[other]);
            self.images[kept].names.extend(joined.names);
            self.images[kept].repositories.extend(joined.repositories);
            self.images[kept].is_pinned |= joined.is_pinned;
            let configurations = std::mem::take(&mut self.configurations);
            for mut own in configurations {
                if own.remove(&other) {
                    own.insert(kept);
                }
                self.configurations.insert(own);
            }
            is_joined = true;
        }
        is_joined
    }

    /// The number of a repository.
    fn repository(&mut self, repository: &Repository) -> usize {
        let known = self
            .repositories
            .iter()
            .position(|other| other == repository);
        known.unwrap_or_else(|| {
            self.repositories.push(repository.clone());
            self.repositories.len() - 1
        })
    }

    /// A slot that had a repository, first one with pins.
    pub(super) fn slot_of(&self, repository: usize) -> Option<usize> {
        let slots = self.images.iter().enumerate();
        let had = slots.filter(|(_, slot)| slot.had(repository));
        let (number, _) = had.min_by_key(|(_, slot)| !slot.is_pinned)?;
        Some(number)
    }

    /// The images of the current configuration that had a repository, as indexes.
    pub(super) fn images_of(&self, repository: usize) -> impl Iterator<Item = usize> {
        let slots = self.images.iter().take(self.current).enumerate();
        slots
            .filter(move |(_, slot)| slot.had(repository))
            .map(|(image, _)| image)
    }
}

/// An image of a past configuration.
#[derive(Debug, Clone)]
pub(super) struct PastImage {
    pub(super) name: String,
    pub(super) repository: Repository,
}

impl From<&Image> for PastImage {
    fn from(image: &Image) -> Self {
        Self {
            name: image.name.clone(),
            repository: image.repository.clone(),
        }
    }
}

/// The images of a past configuration, by their slots.
pub(super) type PastImages = Arc<BTreeMap<usize, PastImage>>;

/// The rules of a configuration for finding pins.
#[derive(Debug)]
pub(super) struct Rules {
    globs: Globs,
    /// The texts of the globs, to compare rules.
    texts: Vec<String>,
    pub(super) scanner: FileScanner,
    /// Identifies the reading of a file: the places, the settings that they depend on, and the repositories
    /// that the current configuration lacks.
    pub(super) reading: String,
    /// Whether directories of charts matter.
    pub(super) has_charts: bool,
    /// The slot of each repository of this configuration, by the number of the repository.
    pub(super) slots: BTreeMap<usize, usize>,
    pub(super) images: PastImages,
    /// Whether the configuration has a repository that the current one lacks.
    pub(super) has_other_repositories: bool,
}

impl Rules {
    pub(super) fn new(config: &Config, slots: &mut Slots) -> Self {
        let own = slots.assign(config);
        let images = config.images.iter().map(|image| {
            let slot = own[&slots.repository(&image.repository)];
            (slot, PastImage::from(image))
        });
        let images = Arc::new(images.collect());
        let has_other_repositories = own.keys().any(|repository| *repository >= slots.current);
        let mut reading = places_key(config);
        if has_other_repositories {
            let images = config.images.iter();
            let repositories: Vec<_> = images.map(|image| &image.repository).collect();
            let _ = write!(reading, "{repositories:?}");
        }
        Self {
            globs: config.scanned.clone(),
            texts: config.scanned.texts(),
            scanner: FileScanner::of(config, &slots.repositories),
            reading,
            has_charts: config
                .places
                .iter()
                .any(|place| place.files.is_none() && place.default_files == DefaultFiles::Values),
            slots: own,
            images,
            has_other_repositories,
        }
    }

    /// The rules for commits before `first`, the first configuration: its files and images, and the current ones.
    pub(super) fn before(first: &Config, current: &Config, slots: &mut Slots) -> Self {
        let first = Self::new(first, slots);
        let mut rules = Self::new(current, slots);
        if first.is_equal(&rules) {
            return first;
        }
        rules.globs.add_list(first.globs);
        rules.texts.extend(first.texts);
        rules.scanner = FileScanner::of(current, &slots.repositories);
        rules.reading = format!("before {}{}", rules.reading, first.reading);
        rules.has_other_repositories |= first.has_other_repositories;
        let mut images = PastImages::unwrap_or_clone(rules.images);
        images.extend(PastImages::unwrap_or_clone(first.images));
        rules.images = images.into();
        rules.slots.extend(first.slots);
        rules
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.globs.matches(Path::new(OsStr::from_bytes(path)))
    }

    pub(super) fn is_equal(&self, other: &Self) -> bool {
        self.slots == other.slots && self.texts == other.texts && self.reading == other.reading
    }

    pub(super) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let directories = self.globs.literal_directories();
        directories.map(|directory| match above_templates(&directory) {
            Some(above) if self.has_charts => above.to_owned(),
            _ => directory,
        })
    }
}

/// Identifies the places of a configuration by all settings that they depend on. Empty without places.
pub(crate) fn places_key(config: &Config) -> String {
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

/// The rules of a commit's own configuration.
#[derive(Clone)]
pub(super) enum OwnRules {
    /// The rules, with the configuration unless it is the current one.
    Known(Arc<Rules>, Option<Arc<Config>>),
    /// The configuration cannot be read, for this reason.
    Unreadable(Arc<str>),
}

impl OwnRules {
    pub(super) fn known(&self) -> Option<&Arc<Rules>> {
        match self {
            Self::Known(rules, _) => Some(rules),
            Self::Unreadable(_) => None,
        }
    }
}

/// Parses a past configuration as if it were at the current root.
pub(crate) fn parse(bytes: Vec<u8>, current: &Config) -> Result<Config, String> {
    config::parse_bytes(
        bytes,
        current.file_name(),
        &current.root,
        &current.set_path,
        config::parse_past,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of an image with `pins: 0`.
    const UNPINNED: &str = "zero";

    /// The number of the slot in which each repository is known after these configurations, oldest first; the last one is
    /// the current one.
    fn slots_of(configurations: &[&[(&str, &str)]], repositories: &[&str]) -> Vec<Option<usize>> {
        let parsed = configurations.iter().map(|images| {
            let images = images.iter();
            let images = images.map(|(name, repository)| {
                let pins = usize::from(*name != UNPINNED);
                format!("  {name}: {{ repository: ghcr.io/acme/{repository}, pins: {pins} }}\n")
            });
            let images: String = images.collect();
            config::example(&format!("version: 1\nfiles: ['*.yml']\nimages:\n{images}"))
        });
        let parsed: Vec<_> = parsed.collect();
        let mut slots = Slots::new(parsed.last().unwrap());
        for _ in 0..configurations.len() {
            for config in &parsed {
                slots.assign(config);
            }
            if !slots.join() {
                break;
            }
        }
        let slot_of = |name: &&str| {
            let repository = format!("ghcr.io/acme/{name}");
            let mut known = slots.repositories.iter();
            let number = known.position(|known| known.to_string() == repository);
            number.and_then(|number| slots.slot_of(number))
        };
        repositories.iter().map(slot_of).collect()
    }

    #[test]
    fn image_keeps_its_past_through_two_changes() {
        // The repository first, then the name, and the reverse.
        let repositories = ["old", "new"];
        let own = [Some(0), Some(0)];
        for middle in [("a", "new"), ("b", "old")] {
            let configurations: [&[_]; 3] = [&[("a", "old")], &[middle], &[("b", "new")]];
            assert_eq!(slots_of(&configurations, &repositories), own, "{middle:?}");
        }
        // Both at once.
        let at_once: [&[_]; 2] = [&[("a", "old")], &[("b", "new")]];
        assert_eq!(slots_of(&at_once, &repositories), [Some(1), Some(0)]);
        // A configuration has both images.
        let both: [&[_]; 3] = [
            &[("a", "old"), ("b", "new")],
            &[("a", "new")],
            &[("b", "new")],
        ];
        assert_eq!(slots_of(&both, &repositories), [Some(1), Some(0)]);
    }

    #[test]
    fn image_without_pins_takes_no_past() {
        // The former repository belongs to the image with pins.
        for (current, slot) in [
            ([(UNPINNED, "old"), ("a", "new")], 1),
            ([("a", "new"), (UNPINNED, "old")], 0),
        ] {
            let moved: [&[_]; 3] = [&[("a", "old")], &[("a", "new")], &current];
            assert_eq!(slots_of(&moved, &["old", "new"]), [Some(slot); 2]);
        }
    }
}
