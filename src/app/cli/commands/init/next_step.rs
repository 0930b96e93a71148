//! The next step for the user: the commit that adopts the sets, or that records a set with new images.
//!
//! Its message contains the revision of each pinned set, so that the first promotion can be rolled back.

use std::{collections::BTreeSet, path::Path};

use super::draft::Draft;
use crate::{
    app::cli::write_file::TargetFile,
    base::{
        files::RelPath,
        untrusted::{plain, shell},
    },
    config::{self, Config, SetPath, Trailer},
    core::{configurations, pins::FoundPins},
    git::{self, Git},
};

/// The text in place of an unknown revision.
const UNKNOWN: &str = "REVISION";

/// A set without a record.
struct Unrecorded<'s> {
    target: &'s TargetFile,
    set_path: &'s SetPath,
    files_with_pins: &'s BTreeSet<RelPath>,
    revision: Option<&'s str>,
}

impl<'s> Unrecorded<'s> {
    fn new(target: &'s TargetFile, draft: &'s Draft) -> Self {
        Self {
            target,
            set_path: &draft.set_path,
            files_with_pins: &draft.files_with_pins,
            revision: draft.revision.as_deref(),
        }
    }
}

pub(super) fn of_one(target: &TargetFile, draft: &Draft) -> String {
    let option = config::option_unless_default(target.display_name());
    if !git::is_in_repository(target.directory()) {
        return format!(
            "next: review the file and run `repin check{option}`. A rollback needs the history of a git repository."
        );
    }
    let commit = commit(&Unrecorded::new(target, draft), "adopt repin");
    format!(
        "next: review the file and run `repin check{option}`, then commit it with the currently pinned set, so that the first\n\
         promotion can be rolled back:\n\n{commit}"
    )
}

/// The commit of a configuration with images that the committed one lacks; `None` without such an image, or without a
/// committed configuration.
pub(super) fn of_update(target: &TargetFile, config: &Config, found: &FoundPins) -> Option<String> {
    let git = Git::discover(&config.root).ok()??;
    let head = git.head().ok()?;
    let committed = configurations::config_of_set(&git, &head.tip, &config.set_path).ok()?;
    let known: BTreeSet<_> = committed
        .images
        .iter()
        .map(|image| image.repository.as_str())
        .collect();
    let mut images = config.images.iter();
    if images.all(|image| known.contains(image.repository.as_str())) {
        return None;
    }
    let files_with_pins = found.pins().iter().map(|pin| (*pin.file).clone()).collect();
    let commit = commit(
        &Unrecorded {
            target,
            set_path: &config.set_path,
            files_with_pins: &files_with_pins,
            revision: common_revision(config, found).as_deref(),
        },
        "add images",
    );
    let option = &config.option;
    Some(format!(
        "next: run `repin check{option}`, then commit the file with the currently pinned set: a rollback can only return to a\n\
         set whose record contains every image:\n\n{commit}"
    ))
}

/// The revision in the tags of all pins, if every image has one.
fn common_revision(config: &Config, found: &FoundPins) -> Option<String> {
    let mut common = None;
    for image in 0..config.images.len() {
        let tags = found.tags_of(image);
        if tags.is_empty() {
            return None;
        }
        for tag in tags {
            let text = config.revision.tag_form.revision_in(tag.as_str())?;
            let revision = config.revision.pattern.revision(text).ok()?.to_string();
            if *common.get_or_insert_with(|| revision.clone()) != revision {
                return None;
            }
        }
    }
    common
}

/// The commands that commit a set.
fn commit(set: &Unrecorded<'_>, subject: &str) -> String {
    let paths = committed_paths(&[set]);
    let option = config::option_unless_default(set.target.display_name());
    let remark = if set.revision.is_some() {
        String::new()
    } else {
        format!(
            "\nREVISION is the commit that the pinned images were built from: `repin check{option} --remote` shows it."
        )
    };
    format!(
        "    git add --{paths}\n    git commit -m '{subject}' -m {} --{paths}\n{remark}",
        trailer(set)
    )
}

/// The configurations with their paths; `path` is one without a known revision.
pub(super) fn of_several(drafts: &[(&TargetFile, &Draft)]) -> String {
    let sets: Vec<_> = drafts
        .iter()
        .map(|(target, draft)| Unrecorded::new(target, draft))
        .collect();
    let in_git = sets
        .iter()
        .any(|set| git::is_in_repository(set.target.directory()));
    if !in_git {
        return "next: review the files and run `repin check --all`. A rollback needs the history of a git repository."
            .to_owned();
    }
    let paths = committed_paths(&sets.iter().collect::<Vec<_>>());
    let (mut trailers, mut remark) = (String::new(), String::new());
    for set in &sets {
        trailers = format!("{trailers} -m {}", trailer(set));
        if set.revision.is_none() && remark.is_empty() {
            let path = shell(set.target.display_name());
            remark = format!(
                "\nREVISION is the commit that the pinned images of a set were built from: for example, \
                 `repin --config {path} check --remote` shows it."
            );
        }
    }
    format!(
        "next: review the files, then check them and commit them with the currently pinned sets, so that the first\n\
         promotion of each can be rolled back:\n\n    git add --{paths}\n    repin check --all\n    \
         git commit -m 'adopt repin'{trailers} --{paths}\n{remark}"
    )
}

/// The configurations, and the files with their pins that differ from `HEAD`: a commit records only the pins that it has.
/// Each is quoted, with a space before it.
fn committed_paths(sets: &[&Unrecorded<'_>]) -> String {
    let (mut paths, mut changed) = (String::new(), BTreeSet::new());
    for set in sets {
        let path = set.target.display_name();
        paths = format!("{paths} {}", shell(path));
        let directory = Path::new(path).parent().unwrap_or(Path::new(""));
        let files = set.files_with_pins;
        let uncommitted = Git::discover(set.target.directory()).and_then(|git| match git {
            Some(git) => git.uncommitted(files),
            None => Ok(Vec::new()),
        });
        // Adding a file without changes does no harm.
        let uncommitted = uncommitted.unwrap_or_else(|_| files.iter().collect());
        changed.extend(
            uncommitted
                .iter()
                .map(|file| directory.join(file.as_path())),
        );
    }
    for file in changed {
        paths = format!("{paths} {}", shell(&file.to_string_lossy()));
    }
    paths
}

/// The trailer of a set, quoted.
fn trailer(set: &Unrecorded<'_>) -> String {
    let revision = set.revision.map(plain);
    let revision = revision.as_deref().unwrap_or(UNKNOWN);
    shell(&Trailer::line(revision, set.set_path))
}
