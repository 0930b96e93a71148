//! The text of the configuration, counted with the real scanner before it is shown.

use std::collections::BTreeSet;

use super::{Chosen, Surroundings, signers, split};
use crate::{
    checks::{self, Status},
    config::{self, Config, FILE_NAME, Operation, RelPath},
    error::{Errors, SourceText},
    files::WorkTree,
    git::HostedRepository,
    outside::{Scope, TrackedTree},
    pins::{
        self, Finder, Found,
        discover::{Discovery, PinnedRepository, groups, names, narrow},
    },
    report::{
        json::{InitImage, InitOther},
        starter::{self, Starter, StarterForge, StarterImage, StarterOther, StarterRevision},
    },
    workflow::Services,
};

/// A first configuration.
pub(super) struct Draft {
    pub(super) text: String,
    pub(super) images: Vec<InitImage>,
    pub(super) files: Vec<String>,
    pub(super) others: Vec<InitOther>,
    pub(super) warnings: Vec<String>,
    /// The revision of the pinned set, where its tags name it.
    pub(super) revision: Option<String>,
    holders: usize,
}

impl Draft {
    pub(super) fn new(
        tree: &WorkTree,
        discovery: &Discovery,
        chosen: &Chosen<'_>,
        around: &Surroundings,
        target: Option<&RelPath>,
        services: &Services,
    ) -> Result<Self, Errors> {
        let repositories: Vec<_> = chosen.members.iter().map(|seen| &seen.repository).collect();
        let finder = Finder::of(repositories.iter().copied());
        let members = || chosen.members.iter().flat_map(|seen| &seen.pins);
        let holders: BTreeSet<_> = members().map(|pin| (*pin.file).clone()).collect();
        let whole = members().filter(|pin| pin.what.split.is_none());
        let whole = whole.map(|pin| (*pin.file).clone()).collect();
        let mut files = narrow::narrow(tree, &whole, &finder);
        let places = split::places(tree, chosen, &finder);
        if files.is_empty() {
            // Something must be named, and whole references may come where split pins stand.
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
            forge: around
                .hosted
                .as_ref()
                .and_then(|hosted| forge(hosted, tree)),
            base: around.base.clone(),
            others: others(chosen),
            signer: None,
            remarks: remarks(discovery, chosen),
        };
        let (config, found) = counted(&mut starter, tree)?;
        let left_out = starter.places.iter().flat_map(|place| &place.left_out);
        let left_out: Vec<_> = left_out
            .map(|line| format!("left out of `places`: {line}"))
            .collect();
        let mut warnings = starter.remarks.clone();
        warnings.extend(left_out);
        let outside = |scope| outside_problems(&config, &found, scope, target);
        let tracked = outside(Scope::Tracked);
        // What is not added yet is not reported yet, but the next commit may hold it.
        starter.refuses_outside = tracked.is_empty() && outside(Scope::Addable).is_empty();
        warnings.extend(tracked);
        for (remark, detail) in failing(&config, &found) {
            starter.remarks.push(remark);
            warnings.push(detail);
        }
        starter.remarks.dedup();
        let signers = signers::signers(&config, &found, services);
        starter.signer = signers.proposal;
        warnings.extend(signers.warning);
        let (images, others) = rows(&starter);
        let text = starter::text(&starter);
        Ok(Self {
            text,
            images,
            others,
            warnings,
            revision: groups::common_revision(chosen.members.iter().copied()),
            holders: holders.len(),
            files,
        })
    }

    /// `3 images, 7 pins in 5 files`.
    pub(super) fn summary(&self) -> String {
        let times = |count: usize, what: &str| {
            format!("{count} {what}{}", if count == 1 { "" } else { "s" })
        };
        let pins = self.images.iter().map(|image| image.pins).sum();
        format!(
            "{}, {} in {}",
            times(self.images.len(), "image"),
            times(pins, "pin"),
            times(self.holders, "file")
        )
    }
}

fn images<'s>(names: &'s [String], chosen: &Chosen<'s>) -> Vec<StarterImage<'s>> {
    let images = names.iter().zip(&chosen.members);
    images
        .map(|(name, seen)| StarterImage {
            name,
            repository: &seen.repository,
            pins: seen.pins.len(),
        })
        .collect()
}

fn others<'s>(chosen: &Chosen<'s>) -> Vec<StarterOther<'s>> {
    let other = |(seen, reason): &(&'s PinnedRepository, groups::Reason)| StarterOther {
        repository: &seen.repository,
        pins: seen.pins.len(),
        reason: reason.to_string(),
    };
    chosen.others.iter().map(other).collect()
}

/// The draft as a document.
fn rows(starter: &Starter<'_>) -> (Vec<InitImage>, Vec<InitOther>) {
    let image = |image: &StarterImage<'_>| InitImage {
        name: image.name.to_owned(),
        repository: image.repository.to_string(),
        pins: image.pins,
    };
    let other = |other: &StarterOther<'_>| InitOther {
        repository: other.repository.to_string(),
        pins: other.pins,
        reason: other.reason.clone(),
    };
    (
        starter.images.iter().map(image).collect(),
        starter.others.iter().map(other).collect(),
    )
}

/// Parses the text and counts with it, so that `pins:` states what `check` will count.
fn counted(starter: &mut Starter<'_>, tree: &WorkTree) -> Result<(Config, Found), Errors> {
    let source = SourceText {
        name: FILE_NAME.to_owned(),
        text: starter::text(starter).into(),
    };
    let config = config::parse(&source, tree.root())?;
    let found = pins::find(tree, &config)?;
    for (at, image) in starter.images.iter_mut().enumerate() {
        image.pins = found.pins_of(at).count();
    }
    let source = SourceText {
        name: FILE_NAME.to_owned(),
        text: starter::text(starter).into(),
    };
    Ok((config::parse(&source, tree.root())?, found))
}

/// Digests outside the pins and unreadable files, one in each line, without those in the configuration
/// that is replaced.
fn outside_problems(
    config: &Config,
    found: &Found,
    scope: Scope,
    target: Option<&RelPath>,
) -> Vec<String> {
    let mut outside = TrackedTree::open(config).search(config, found, scope);
    outside
        .occurrences
        .retain(|occurrence| Some(&*occurrence.file) != target);
    let checks = checks::outside(config, found, &outside, Operation::Promotion);
    let reported = checks.iter().filter(|check| check.status != Status::Pass);
    reported
        .map(|check| format!("{}: {}", check.code, check.describe()))
        .collect()
}

/// The failures of `check`, as a remark for the file and in full. The remark never quotes a pin,
/// because the file may itself be scanned.
fn failing(config: &Config, found: &Found) -> Vec<(String, String)> {
    let mut verdict = checks::counts(config, found);
    verdict.extend(checks::agreement(config, found, Status::Fail));
    let failed = verdict
        .into_iter()
        .filter(|check| check.status == Status::Fail);
    let pair = |check: checks::Check| {
        let subject = check
            .image
            .as_deref()
            .map_or_else(|| "a file".to_owned(), |name| format!("`{name}`"));
        let remark = format!(
            "`repin check` fails for {subject} at present: {}",
            check.code
        );
        (
            remark,
            format!("`repin check` will fail: {}: {}", check.code, check.detail),
        )
    };
    failed.map(pair).collect()
}

fn remarks(discovery: &Discovery, chosen: &Chosen<'_>) -> Vec<String> {
    let mut remarks: Vec<_> = chosen.remark.iter().cloned().collect();
    let unread = discovery
        .unread
        .iter()
        .map(|error| format!("pins there are not counted: {error}"));
    remarks.extend(unread);
    let unnameable = discovery.unnameable.iter();
    remarks.extend(
        unnameable.map(|path| format!("cannot count pins in {path}: the name is not UTF-8")),
    );
    remarks
}

/// The template from revisions to tags, if it is not the default.
fn revision(chosen: &Chosen<'_>) -> Option<StarterRevision> {
    let form = groups::tag_form(chosen.members.iter().copied())?;
    let default = form.prefix.is_empty() && form.digits == 40;
    let revision = || StarterRevision {
        pattern: format!("[0-9a-f]{{{}}}", form.digits),
        tag: form.prefix.clone() + "{revision}",
    };
    (!default).then(revision)
}

/// The forge, by the remote's host, or by directories that only one kind of forge reads.
fn forge(hosted: &HostedRepository, tree: &WorkTree) -> Option<StarterForge> {
    let host = hosted.host.as_str();
    let has = |directory: &str| tree.root().join(directory).is_dir();
    let web = hosted.web.clone();
    let web = web.unwrap_or_else(|| format!("https://{host}"));
    // GitHub Enterprise Server has the default ports.
    let has_port = web.matches(':').count() > 1;
    let gitea = || Some(format!("{web}/api/v1"));
    let (kind, url, sure) = match host {
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
        sure,
    })
}
