//! The text of the configuration. The scanner counts its pins before it is printed or written.

use std::collections::{BTreeMap, BTreeSet};

use super::{Chosen, GitRemote, signers};
use crate::{
    checks::{self, Status},
    config::{self, Config, FILE_NAME, Operation, RelPath, SetPath, number},
    error::{Errors, SourceText},
    files::WorkTree,
    git::HostedRepository,
    outside::{Scope, TrackedTree},
    pins::{
        self, Finder, Found, KUSTOMIZE,
        discover::{Discovery, groups, names, narrow},
    },
    report::{
        json::{InitImage, InitOther},
        starter::{
            self, Starter, StarterForge, StarterImage, StarterOther, StarterPlace, StarterRevision,
        },
    },
    workflow::Services,
};

pub(super) struct Draft {
    pub(super) text: String,
    pub(super) set_path: SetPath,
    pub(super) images: Vec<InitImage>,
    pub(super) files: Vec<String>,
    pub(super) others: Vec<InitOther>,
    pub(super) warnings: Vec<String>,
    /// The revision in the tags of the pinned set.
    pub(super) revision: Option<String>,
    files_with_pins: usize,
}

impl Draft {
    pub(super) fn new(
        tree: &WorkTree,
        discovery: &Discovery,
        chosen: &Chosen<'_>,
        remote: &GitRemote,
        target: &RelPath,
        services: &Services,
    ) -> Result<Self, Errors> {
        let members = &chosen.members;
        let repositories: Vec<_> = members.iter().map(|member| &member.repository).collect();
        let finder = Finder::of(repositories.iter().copied());
        let (mut files_with_pins, mut files_with_references) = (BTreeSet::new(), BTreeSet::new());
        for pin in members.iter().flat_map(|member| &member.pins) {
            files_with_pins.insert((*pin.file).clone());
            if pin.what.split.is_none() {
                files_with_references.insert((*pin.file).clone());
            }
        }
        let mut files = narrow::narrow(tree, &files_with_references, &finder);
        let places = split_places(tree, chosen, &finder);
        if files.is_empty() {
            // `files` must not be empty, and files with split pins may also get references.
            files = places
                .iter()
                .flat_map(|place| place.files.clone())
                .collect();
        }
        let names = names::names(&repositories);
        let mut starter = Starter {
            name: names
                .common
                .as_ref()
                .map(|common| format!("{common} images")),
            files: &files,
            places,
            refuses_outside: false,
            images: images(&names.images, chosen),
            revision: revision(chosen),
            forge: remote
                .hosted
                .as_ref()
                .and_then(|hosted| forge(hosted, tree)),
            base: remote.base.clone(),
            others: others(chosen),
            signer: None,
            remarks: remarks(discovery, chosen),
        };
        let (config, found) = counted(&mut starter, tree, target)?;
        let mut warnings = starter.remarks.clone();
        for line in starter.places.iter().flat_map(|place| &place.excluded) {
            warnings.push(format!("left out of `places`: {line}"));
        }
        let tracked = outside_problems(&config, &found, Scope::Tracked, target);
        // Untracked files are not reported, but the next commit may contain them.
        starter.refuses_outside = tracked.is_empty()
            && outside_problems(&config, &found, Scope::Addable, target).is_empty();
        warnings.extend(tracked);
        for (remark, detail) in failures(&config, &found) {
            starter.remarks.push(remark);
            warnings.push(detail);
        }
        starter.remarks.dedup();
        let signers = signers::signers(&config, &found, services);
        starter.signer = signers.proposal;
        warnings.extend(signers.warning);
        Ok(Self {
            text: starter::text(&starter),
            set_path: config.set_path,
            images: image_rows(&starter),
            others: other_rows(&starter),
            warnings,
            revision: groups::common_revision(chosen.members.iter().copied()),
            files_with_pins: files_with_pins.len(),
            files,
        })
    }

    /// For example `3 images, 7 pins in 5 files`.
    pub(super) fn summary(&self) -> String {
        let pins = self.images.iter().map(|image| image.pins).sum();
        format!(
            "{}, {} in {}",
            number(self.images.len(), "image"),
            number(pins, "pin"),
            number(self.files_with_pins, "file")
        )
    }
}

fn images<'s>(names: &'s [String], chosen: &Chosen<'s>) -> Vec<StarterImage<'s>> {
    let images = names.iter().zip(&chosen.members);
    images
        .map(|(name, member)| StarterImage {
            name,
            repository: &member.repository,
            pins: member.pins.len(),
        })
        .collect()
}

fn others<'s>(chosen: &Chosen<'s>) -> Vec<StarterOther<'s>> {
    let mut others = Vec::new();
    for (pinned, reason) in &chosen.others {
        others.push(StarterOther {
            repository: &pinned.repository,
            pins: pinned.pins.len(),
            reason: reason.to_string(),
        });
    }
    others
}

fn image_rows(starter: &Starter<'_>) -> Vec<InitImage> {
    let images = starter.images.iter();
    images
        .map(|image| InitImage {
            name: image.name.to_owned(),
            repository: image.repository.to_string(),
            pins: image.pins,
        })
        .collect()
}

fn other_rows(starter: &Starter<'_>) -> Vec<InitOther> {
    let others = starter.others.iter();
    others
        .map(|other| InitOther {
            repository: other.repository.to_string(),
            pins: other.pins,
            reason: other.reason.clone(),
        })
        .collect()
}

/// The kinds of proposed places, with their indices in the discovery.
const PLACE_KINDS: [(usize, &str); 2] = [(KUSTOMIZE, "kustomize"), (KUSTOMIZE + 1, "helm")];

/// The places for the images of the set. A file with an entry that would be refused is excluded, with the
/// reason.
fn split_places(tree: &WorkTree, chosen: &Chosen<'_>, finder: &Finder) -> Vec<StarterPlace> {
    let mut places = Vec::new();
    for (index, kind) in PLACE_KINDS {
        let (mut files, mut refused) = (BTreeSet::new(), BTreeMap::new());
        for member in &chosen.members {
            for pin in &member.pins {
                if pin
                    .what
                    .split
                    .as_ref()
                    .is_some_and(|split| split.place == index)
                {
                    files.insert((*pin.file).clone());
                }
            }
            for entry in &member.refused {
                let (file, what) = (&entry.file, &entry.what);
                if what.place == index {
                    // Only the first refused entry of a file is reported.
                    refused.entry((**file).clone()).or_insert_with(|| {
                        format!("{file}:{}:{}: {}", what.line, what.column, what.why)
                    });
                }
            }
        }
        files.retain(|file| !refused.contains_key(file));
        // A wider glob could match an excluded file.
        let files = if refused.is_empty() {
            narrow::narrow(tree, &files, finder)
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

/// Parses the text and counts its pins with the scanner, so that `repin check` accepts the counts.
fn counted(
    starter: &mut Starter<'_>,
    tree: &WorkTree,
    target: &RelPath,
) -> Result<(Config, Found), Errors> {
    let set = config::set_path(&tree.root().join(target.as_path()))
        .map_err(|error| Errors::io(format!("cannot determine the repository: {error}")))?;
    let source = SourceText {
        name: FILE_NAME.to_owned(),
        text: starter::text(starter).into(),
    };
    let config = config::parse(&source, tree.root(), &set)?;
    let found = pins::find(tree, &config)?;
    for (index, image) in starter.images.iter_mut().enumerate() {
        image.pins = found.pins_of(index).count();
    }
    let source = SourceText {
        name: FILE_NAME.to_owned(),
        text: starter::text(starter).into(),
    };
    Ok((config::parse(&source, tree.root(), &set)?, found))
}

/// The digests outside of pins and the unreadable files, one per line, except those in the replaced
/// configuration.
fn outside_problems(config: &Config, found: &Found, scope: Scope, target: &RelPath) -> Vec<String> {
    let mut outside = TrackedTree::open(config).search(config, found, scope);
    outside
        .occurrences
        .retain(|occurrence| *occurrence.file != *target);
    let checks = checks::outside(config, found, &outside, Operation::Promotion);
    checks
        .iter()
        .filter(|check| check.status != Status::Pass)
        .map(|check| format!("{}: {}", check.code, check.describe()))
        .collect()
}

/// The failures of `repin check`, each as a remark for the file and as a warning. The remark does not quote a
/// pin, because the file itself may be scanned.
fn failures(config: &Config, found: &Found) -> Vec<(String, String)> {
    let mut all_checks = checks::counts(config, found);
    all_checks.extend(checks::agreement(config, found, Status::Fail));
    let mut failures = Vec::new();
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
    }
    failures
}

fn remarks(discovery: &Discovery, chosen: &Chosen<'_>) -> Vec<String> {
    let mut remarks: Vec<_> = chosen.remark.iter().cloned().collect();
    for error in &discovery.unread {
        remarks.push(format!("pins there are not counted: {error}"));
    }
    for path in &discovery.unnameable {
        remarks.push(format!(
            "cannot count pins in {path}: the name is not UTF-8"
        ));
    }
    remarks
}

/// The pattern and the tag of revisions, if they are not the default.
fn revision(chosen: &Chosen<'_>) -> Option<StarterRevision> {
    let form = groups::tag_form(chosen.members.iter().copied())?;
    if form.prefix.is_empty() && form.digits == 40 {
        return None;
    }
    Some(StarterRevision {
        pattern: format!("[0-9a-f]{{{}}}", form.digits),
        tag: form.prefix + "{revision}",
    })
}

/// Guesses the forge from the host of the remote, or from directories that only one kind of forge uses.
fn forge(hosted: &HostedRepository, tree: &WorkTree) -> Option<StarterForge> {
    let host = hosted.host.as_str();
    let has = |directory: &str| tree.root().join(directory).is_dir();
    let web = match &hosted.web {
        Some(web) => web.clone(),
        None => format!("https://{host}"),
    };
    // GitHub Enterprise Server uses the default ports.
    let has_port = web.matches(':').count() > 1;
    let gitea = || Some(format!("{web}/api/v1"));
    let (kind, url, is_certain) = match host {
        "github.com" => ("github", None, true),
        "codeberg.org" | "gitea.com" => ("gitea", gitea(), true),
        "gitlab.com" | "bitbucket.org" => return None,
        _ if has(".gitea")
            || has(".forgejo")
            || host.contains("gitea")
            || host.contains("forgejo")
            || has_port =>
        {
            ("gitea", gitea(), false)
        }
        _ if has(".github") => ("github", Some(format!("{web}/api/v3")), false),
        _ => return None,
    };
    Some(StarterForge {
        kind,
        url,
        repository: format!("{}/{}", hosted.owner, hosted.name),
        is_certain,
    })
}
