//! The text of the configuration. Before it is printed or written, it is parsed, and the scanner
//! counts its pins.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    question::{self, Artifacts, SelectedSet},
    remote::{self, GitRemote},
    tag_form,
};
use crate::{
    app::{
        report::{
            json::{InitImage, InitOther},
            starter::{self, Starter, StarterPlace, StarterRevision},
        },
        workflow::Services,
    },
    base::{
        error::{Code, Error, Errors, SourceText},
        files::{RelPath, WorkTree},
        text::{counted, few},
    },
    config::{self, Config, FILE_NAME, Operation, SetPath},
    core::{
        checks::{self, Check, Status},
        outside::{Outside, Scope, TrackedTree},
        pins::{
            self, Finder, FoundPins, STANDARD_PLACES,
            discover::{narrow, tag_forms},
        },
    },
};

pub(super) struct Draft {
    pub(super) text: String,
    pub(super) set_path: SetPath,
    pub(super) images: Vec<InitImage>,
    pub(super) files: Vec<String>,
    pub(super) others: Vec<InitOther>,
    pub(super) warnings: Vec<String>,
    pub(super) notes: Vec<String>,
    /// The revision in the tags of the pinned set.
    pub(super) revision: Option<String>,
    pub(super) files_with_pins: BTreeSet<RelPath>,
    /// The reason why the attestations could not be listed.
    pub(super) unavailable: Option<String>,
}

impl Draft {
    pub(super) fn new(
        tree: &WorkTree,
        chosen: &SelectedSet<'_>,
        remote: &GitRemote,
        target: &RelPath,
        services: &Services,
    ) -> Result<Self, Errors> {
        let members = &chosen.members;
        let finder = Finder::for_repositories(members.iter().map(|(_, member)| &member.repository));
        let pins = || members.iter().flat_map(|(_, member)| &member.pins);
        let files_with_pins: BTreeSet<_> = pins().map(|pin| (*pin.file).clone()).collect();
        let references = pins().filter(|pin| pin.item.split.is_none());
        let files_with_references = references.map(|pin| (*pin.file).clone()).collect();
        let mut files = globs(tree, chosen, &files_with_references, &finder);
        let places = split_places(tree, chosen, &finder);
        if files.is_empty() {
            // `files` must not be empty, and files with split pins may also get references.
            files = places
                .iter()
                .flat_map(|place| place.files.clone())
                .collect();
        }
        if files.is_empty() {
            return Err(only_refused_entries(&places));
        }
        let set = config::set_path(&tree.root().join(target.as_path()))
            .map_err(|error| Errors::io(format!("cannot determine the repository: {error}")))?;
        let form = tag_forms::common_form(chosen.repositories());
        let settings = tag_form::settings(form.as_ref());
        let mut starter = starter(chosen, remote, &set, &files, places, settings);
        let (mut config, mut found) = count_pins(&mut starter, tree, &set)?;
        if let Some(images) = images_of(chosen, &config, &found, services)? {
            return Self::new(tree, &images, remote, target, services);
        }
        let tags = tag_form::confirm(form.as_ref(), chosen, &config, &found, services);
        let mut warnings = starter.remarks.clone();
        warnings.extend(tags.warning);
        starter.remarks.extend(tags.remark);
        if let Some(settings) = tags.settings {
            starter.revision = settings;
            (config, found) = count_pins(&mut starter, tree, &set)?;
        }
        let mut unavailable = chosen.unavailable.clone().or(tags.unavailable);
        let revision = revision(tags.revision, &config, &found, services, &mut unavailable);
        let excluded = starter.places.iter().flat_map(|place| &place.excluded);
        warnings.extend(excluded.map(|line| format!("left out of `places`: {line}")));
        let problems = |scope| problems_in_scope(&config, &found, chosen, target, scope);
        let tracked = problems(Scope::Tracked);
        // Untracked files are not reported, but the next commit may contain them.
        starter.refuses_outside = tracked.is_empty() && problems(Scope::Addable).is_empty();
        warnings.extend(tracked);
        for (remark, detail) in failures(&config, &found) {
            starter.remarks.push(remark);
            warnings.push(detail);
        }
        let mut seen = BTreeSet::new();
        starter.remarks.retain(|remark| seen.insert(remark.clone()));
        if unavailable.is_none() {
            let signers = remote::signers(&config, &found, services);
            starter.signer = signers.proposal;
            warnings.extend(signers.warning);
            unavailable = signers.unavailable;
        }
        if let Some(reason) = &unavailable {
            warnings.push(format!("attestations were not looked up: {reason}"));
        }
        parsed(&starter, tree, &set)?;
        Ok(Self {
            text: starter::text(&starter),
            set_path: config.set_path,
            images: starter.images,
            others: starter.others,
            warnings,
            notes: Vec::new(),
            revision,
            unavailable,
            files_with_pins,
            files,
        })
    }

    pub(super) fn pins(&self) -> usize {
        self.images.iter().map(|image| image.pins).sum()
    }

    /// For example `3 images, 7 pins in 5 files`.
    pub(super) fn summary(&self) -> String {
        format!(
            "{}, {} in {}",
            counted(self.images.len(), "image"),
            counted(self.pins(), "pin"),
            counted(self.files_with_pins.len(), "file")
        )
    }
}

/// The revision in the tags, or otherwise that in the labels of the images. An unreadable label makes the registry
/// `unavailable`.
fn revision(
    in_tags: Option<String>,
    config: &Config,
    found: &FoundPins,
    services: &Services,
    unavailable: &mut Option<String>,
) -> Option<String> {
    if in_tags.is_some() || unavailable.is_some() {
        return in_tags;
    }
    match tag_form::common_label(config, found, services) {
        Ok(label) => label,
        Err(errors) => {
            let errors: Vec<_> = errors.iter().map(Error::text).collect();
            *unavailable = Some(errors.join("; "));
            None
        }
    }
}

/// The choice without artifacts that are no images, or with the reason for which these are unknown; `None` if
/// nothing changes.
fn images_of<'c>(
    chosen: &SelectedSet<'c>,
    config: &Config,
    found: &FoundPins,
    services: &Services,
) -> Result<Option<SelectedSet<'c>>, Errors> {
    if chosen.unavailable.is_some() {
        return Ok(None);
    }
    let Artifacts { names, unavailable } = question::find(config, found, services);
    let mut images = None;
    if !names.is_empty() {
        images = Some(chosen.without(&names)?);
    }
    if let Some(errors) = unavailable {
        images = Some(images.as_ref().unwrap_or(chosen).with_unavailable(&errors));
    }
    Ok(images)
}

/// The values of the text before its pins are counted.
fn starter<'s>(
    chosen: &SelectedSet<'s>,
    remote: &GitRemote,
    set: &SetPath,
    files: &'s [String],
    places: Vec<StarterPlace>,
    revision: StarterRevision,
) -> Starter<'s> {
    let key = set.key();
    // The sets of a repository are called by their keys by default.
    let (name, default_name) = if key.is_empty() {
        let common = chosen.common_name.map(|common| format!("{common} images"));
        (common, "images".to_owned())
    } else {
        (None, key)
    };
    Starter {
        name,
        default_name,
        files,
        places,
        refuses_outside: false,
        images: images(chosen),
        revision,
        forge: remote.forge.clone(),
        base: remote.base.clone(),
        others: others(chosen),
        signer: None,
        remarks: chosen.remarks.clone(),
    }
}

fn images(chosen: &SelectedSet<'_>) -> Vec<InitImage> {
    let members = chosen.members.iter();
    members
        .map(|(name, member)| InitImage {
            name: (*name).to_owned(),
            repository: member.repository.clone(),
            pins: member.pins.len(),
        })
        .collect()
}

fn others(chosen: &SelectedSet<'_>) -> Vec<InitOther> {
    let mut others = Vec::new();
    for (pinned, reason) in &chosen.others {
        others.push(InitOther {
            repository: pinned.repository.clone(),
            pins: pinned.pins.len(),
            reason: reason.to_string(),
        });
    }
    others
}

/// The places for the images of the set. A file with an entry that would be refused is excluded, with the
/// reason.
fn split_places(tree: &WorkTree, chosen: &SelectedSet<'_>, finder: &Finder) -> Vec<StarterPlace> {
    let mut places = Vec::new();
    for (index, kind) in STANDARD_PLACES.into_iter().enumerate() {
        let (mut files, mut refused) = (BTreeSet::new(), BTreeMap::new());
        for (_, member) in &chosen.members {
            for pin in &member.pins {
                if pin
                    .item
                    .split
                    .as_ref()
                    .is_some_and(|split| split.place == index)
                {
                    files.insert((*pin.file).clone());
                }
            }
            for entry in &member.refused {
                let (file, item) = (&entry.file, &entry.item);
                if item.place == index {
                    // Only the first refused entry of a file is reported.
                    refused.entry((**file).clone()).or_insert_with(|| {
                        format!("{file}:{}:{}: {}", item.line, item.column, item.reason)
                    });
                }
            }
        }
        files.retain(|file| !refused.contains_key(file));
        // A wider glob could match an excluded file.
        let files = if refused.is_empty() {
            globs(tree, chosen, &files, finder)
        } else {
            files.iter().filter_map(narrow::exactly).collect()
        };
        if !(files.is_empty() && refused.is_empty()) {
            places.push(StarterPlace {
                kind,
                files,
                excluded: refused.into_values().collect(),
            });
        }
    }
    places
}

/// The globs of the files. Those of an environment that the names of files divide match no other file, because a new
/// one may belong to another environment.
fn globs(
    tree: &WorkTree,
    chosen: &SelectedSet<'_>,
    files: &BTreeSet<RelPath>,
    finder: &Finder,
) -> Vec<String> {
    if chosen.elsewhere.is_some() {
        return files.iter().filter_map(narrow::exactly).collect();
    }
    narrow::narrow(tree, files, finder)
}

/// The error if every file with pins has an entry that is refused.
fn only_refused_entries(places: &[StarterPlace]) -> Errors {
    let excluded: Vec<_> = places.iter().flat_map(|place| &place.excluded).collect();
    let message = format!(
        "every file with pins has an entry that cannot be a pin: {}",
        few(excluded.iter().map(|entry| entry.as_str()), 5)
    );
    let help = "fix these entries, then run `repin init` again";
    Errors::from(Error::input(Code::INIT, message).help(help))
}

/// Parses the text and counts its pins with the scanner, so that `repin check` accepts the counts.
fn count_pins(
    starter: &mut Starter<'_>,
    tree: &WorkTree,
    set: &SetPath,
) -> Result<(Config, FoundPins), Errors> {
    let config = parsed(starter, tree, set)?;
    let found = pins::find(tree, &config)?;
    for (index, image) in starter.images.iter_mut().enumerate() {
        image.pins = found.pins_of(index).count();
    }
    Ok((parsed(starter, tree, set)?, found))
}

/// Parses the text.
fn parsed(starter: &Starter<'_>, tree: &WorkTree, set: &SetPath) -> Result<Config, Errors> {
    let source = SourceText {
        name: FILE_NAME.to_owned(),
        text: starter::text(starter).into(),
    };
    Ok(config::parse(&source, tree.root(), set)?)
}

/// The problems outside of the pins in the files of a scope. The configuration at `replaced` may contain
/// digests, which do not count, and other configurations of this run count the pins of their files.
fn problems_in_scope(
    config: &Config,
    found: &FoundPins,
    chosen: &SelectedSet<'_>,
    replaced: &RelPath,
    scope: Scope,
) -> Vec<String> {
    let elsewhere = |file: &RelPath| {
        let files = chosen.elsewhere.as_ref();
        files.is_some_and(|files| files.contains(file))
    };
    let mut outside = TrackedTree::open(config).search(config, found, scope);
    outside
        .occurrences
        .retain(|occurrence| *occurrence.file != *replaced && !elsewhere(&occurrence.file));
    outside_problems(config, found, &outside)
}

/// The digests outside of pins, the unreadable files and the pins of other sets, one per line.
pub(super) fn outside_problems(
    config: &Config,
    found: &FoundPins,
    outside: &Outside,
) -> Vec<String> {
    problems(&checks::check_outside(
        config,
        found,
        outside,
        Operation::Promotion,
    ))
}

/// The checks that do not pass, one per line.
pub(super) fn problems(checks: &[Check]) -> Vec<String> {
    checks
        .iter()
        .filter(|check| check.status != Status::Pass)
        .map(|check| format!("{}: {}", check.code, check.describe()))
        .collect()
}

/// The possible causes of `pin_disagree`.
pub(super) const DISAGREEMENT: &str = "pins of one image differ: either a promotion is half-finished, or the pins belong to separate \
                            environments, which need a configuration each (`repin explain pin_disagree`)";

/// The failures of `repin check`, each as a remark for the file and as a warning. The remark does not quote a
/// pin, because the file itself may be scanned.
fn failures(config: &Config, found: &FoundPins) -> Vec<(String, String)> {
    let mut all_checks = checks::check_pins(config, found);
    all_checks.extend(checks::check_agreement(config, found, Status::Fail));
    let (mut failures, mut disagree) = (Vec::new(), false);
    for check in all_checks {
        if check.status != Status::Fail {
            continue;
        }
        let subject = match &check.image {
            Some(name) => format!("`{name}`"),
            None => "a file".to_owned(),
        };
        let code = check.code;
        failures.push((
            format!("`repin check` fails for {subject} at present: {code}"),
            format!("`repin check` will fail: {code}: {}", check.detail),
        ));
        disagree |= code == Code::PIN_DISAGREE;
    }
    if disagree {
        failures.push((DISAGREEMENT.to_owned(), DISAGREEMENT.to_owned()));
    }
    failures
}
