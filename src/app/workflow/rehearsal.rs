//! The rehearsal of rollbacks: the chain of a rollback for several sets at the head of the base branch.
//! Nothing is applied.
//!
//! The sets share the files, the history, and the caches of the run, so that each digest and each layer is
//! read once.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use super::{
    Access, Goal, MissingCredential, Services, SiteHistory, Stop,
    commit::CommitSite,
    contracts::PastContracts,
    engine::{self, ReadSite},
    image_contents::content_filter_of,
    request::ParsedGoal,
    run::read_standards,
    site::Site as _,
    smoke::SmokeStage,
    untagged_pins::{self, PinnedDigest},
};
use crate::{
    app::report::json::{ErrorRow, RehearseDocument, RehearsedSet},
    base::error::{Class, Code, Error, Errors},
    config::{Config, Operation},
    contents::{inventory::LayerCache, layers::ContentFilter},
    core::{
        checks::{self, ApprovedImage, Check, Status, judge_rehearsal},
        history::{History, HistoryEntry, Provenance},
    },
    oci::{Digest, Revision, date},
};

/// The sets to rehearse.
#[derive(Debug, Clone)]
pub(crate) enum RehearsalChoice {
    /// The last sets that are available for rollback.
    Last(usize),
    Current,
    /// The sets of these revisions, as typed.
    Named(Vec<String>),
}

/// A set to rehearse.
struct RehearsalTarget {
    /// The revision, as typed.
    revision: String,
    /// An error for a revision in history that has no tag.
    goal: Result<ParsedGoal, Errors>,
    entry: Option<HistoryEntry>,
}

/// The layers that were looked up in this run, by the index of the image, with the error if there is one.
type KnownLayers = HashMap<(usize, Digest), Option<Error>>;

/// Rehearses the rollback to each set. Returns an error if no set can be rehearsed, and no access if a secret is
/// missing and the run may be skipped.
pub(crate) fn rehearse(
    local: &Config,
    choice: &RehearsalChoice,
    missing_credential: MissingCredential,
    services: &Services,
) -> Result<Access<RehearseDocument>, Errors> {
    let site = CommitSite::open(local, services)?;
    let config = site.config();
    let history = site.history(services);
    let candidates = candidates(choice, &history, config)?;
    let latest = history.promoted()?.newest_available();
    let latest = latest.map(|entry| entry.commit);
    let standards = read_standards(Operation::Rollback, config, site.files(), services)?;
    let smoke = match SmokeStage::prepare(config, missing_credential, services) {
        Ok(smoke) => smoke,
        Err(Stop::Unconfigured(reason)) => return Ok(Access::NoToken(reason)),
        Err(stop) => return Err(Errors::from(stop.into_parts().1)),
    };
    let (found, checks) = site.pins(Operation::Rollback)?;
    let read = ReadSite {
        site: &site,
        found,
        checks,
        history,
        standards,
        smoke,
        services,
    };
    let filter = content_filter(&read, &candidates)?;
    *services.kept_layers.borrow_mut() = Some(LayerCache::for_sets(filter));
    let (mut sets, mut layers) = (Vec::new(), KnownLayers::new());
    for candidate in candidates {
        let commit = candidate.entry.as_ref().map(|entry| entry.commit);
        let is_latest = commit.is_some_and(|commit| Some(commit) == latest);
        let set = rehearse_set(candidate, &read, &mut layers)?;
        sets.push(RehearsedSet { is_latest, ..set });
    }
    sets.sort_by_key(|set| Reverse(set.date.as_deref().and_then(date::parse)));
    let document = RehearseDocument::new(config.set_path.clone(), sets);
    Ok(Access::Granted(document))
}

fn candidates(
    choice: &RehearsalChoice,
    history: &SiteHistory,
    config: &Config,
) -> Result<Vec<RehearsalTarget>, Errors> {
    let known = history.promoted()?;
    let parse = |revision: &str| {
        let revision = revision.to_owned();
        let goal = Goal::Rollback {
            revision: revision.clone(),
            by_digest: false,
        };
        goal.parse(&revision, config)
    };
    let mut candidates: Vec<RehearsalTarget> = Vec::new();
    let mut add = |revision: String, goal, entry: Option<&HistoryEntry>| {
        if candidates.iter().all(|other| other.revision != revision) {
            let entry = entry.cloned();
            candidates.push(RehearsalTarget {
                revision,
                goal,
                entry,
            });
        }
    };
    let recorded: Vec<&HistoryEntry> = match choice {
        RehearsalChoice::Named(texts) => {
            for text in texts {
                let text = history.expand(text, config)?;
                let goal = parse(&text)?;
                let revision = goal.revision.as_str().to_owned();
                let entry = last_entry(known, &revision);
                add(revision, Ok(goal), entry);
            }
            let position = |candidate: &RehearsalTarget| {
                let commit = candidate.entry.as_ref()?.commit;
                let mut entries = known.entries().iter();
                entries.position(|entry| entry.commit == commit)
            };
            candidates.sort_by_key(|candidate| position(candidate).unwrap_or(usize::MAX));
            return Ok(candidates);
        }
        RehearsalChoice::Current => known.current().into_iter().collect(),
        RehearsalChoice::Last(_) => history.unheld()?,
    };
    for entry in recorded {
        if let Some(revision) = &entry.revision {
            let revision = revision.to_string();
            add(revision.clone(), parse(&revision), Some(entry));
        }
    }
    if let RehearsalChoice::Last(last) = choice {
        candidates.truncate(*last);
    }
    Ok(candidates)
}

/// The last commit that made the set of a revision current.
fn last_entry<'h>(history: &'h History, revision: &str) -> Option<&'h HistoryEntry> {
    let mut entries = history.entries().iter();
    entries.find(|entry| entry.revision.as_ref().map(Revision::as_str) == Some(revision))
}

/// The contents of layers that the contracts of all sets need: then no layer is read again for another
/// contract.
fn content_filter(
    read: &ReadSite<'_>,
    candidates: &[RehearsalTarget],
) -> Result<ContentFilter, Errors> {
    let config = read.site.config();
    let known = read.history.promoted()?;
    let mut filter = ContentFilter::default();
    for candidate in candidates {
        let Some(revision) = candidate
            .entry
            .as_ref()
            .and_then(|entry| entry.revision.as_ref())
        else {
            continue;
        };
        let promoted = match known.provenance(revision) {
            Provenance::Found(promoted) => Some(promoted),
            _ => None,
        };
        // The rehearsal of the set reports a contract that cannot be read.
        if let Ok(past) = PastContracts::read(&read.history, config, promoted.as_ref()) {
            let standards = read.standards.contracts.rollback_standards(config, &past);
            filter = filter.or(content_filter_of(standards.iter().flatten()));
        }
    }
    Ok(filter)
}

/// Rehearses one set. Returns an error if the cause is not the set.
fn rehearse_set(
    candidate: RehearsalTarget,
    read: &ReadSite<'_>,
    layers: &mut KnownLayers,
) -> Result<RehearsedSet, Errors> {
    let RehearsalTarget {
        mut revision,
        goal,
        entry,
    } = candidate;
    let (mut checks, mut errors, mut images) = (Vec::new(), Vec::new(), 0);
    match goal {
        Err(unusable) => errors.extend(unusable),
        Ok(goal) => {
            let request = goal.request(read.site.files(), read.site.config(), read.services);
            let planned = request.and_then(|request| {
                // An abbreviation is expanded by the labels of the images.
                request.revision.as_str().clone_into(&mut revision);
                engine::rehearse(&request, read)
            });
            match planned {
                Ok(planned) => {
                    images = planned.approved.images().iter().flatten().count();
                    checks.extend_from_slice(planned.approved.checks());
                    checks.extend_from_slice(planned.plan.checks());
                    let (failed, layer_errors) =
                        check_layers(planned.approved.images(), read, layers)?;
                    checks.extend(failed);
                    errors.extend(layer_errors);
                }
                Err(stop) => (checks, errors) = stop.into_parts(),
            }
            check_cause(&errors)?;
        }
    }
    if let Some(entry) = &entry
        && checks.iter().any(|check| {
            check.status == Status::Fail
                && matches!(check.code, Code::TAG_MISSING | Code::DIGEST_MISMATCH)
        })
    {
        checks.extend(check_untagged(entry, read)?);
    }
    let verdict = judge_rehearsal(&checks, &errors);
    let errors = (!errors.is_empty()).then(|| Errors::from(errors));
    Ok(RehearsedSet {
        revision,
        commit: entry.as_ref().map(|entry| entry.commit.to_string()),
        date: entry.map(|entry| entry.date),
        verdict,
        checks,
        error: errors.as_ref().and_then(ErrorRow::worst),
        class: errors.map(|errors| errors.class()),
        images,
        is_latest: false,
    })
}

/// Warns about the recorded digests of a set that no tag keeps.
fn check_untagged(entry: &HistoryEntry, read: &ReadSite<'_>) -> Result<Vec<Check>, Errors> {
    let config = read.site.config();
    let sources = read.services.sources_of_images(config)?;
    let revision = entry.revision.as_ref();
    let tag = revision.and_then(|revision| config.revision.exact_tag(revision));
    let mut recorded = Vec::new();
    for (image, source) in sources.iter().enumerate() {
        if let Some(digest) = entry.images.get(&config.images[image].name)
            && untagged_pins::is_compared(config, image)
        {
            recorded.push(PinnedDigest {
                image,
                digest: *digest,
                source,
                selected: None,
                recorded: tag.clone(),
                pins: Vec::new(),
            });
        }
    }
    let mut checks = Vec::new();
    for untagged in untagged_pins::untagged_pins(config, recorded, read.services) {
        checks.push(match untagged {
            Ok(untagged) => untagged.check_recorded(config),
            // The checks of the image report that it does not exist.
            Err(error) if error.class == Class::Failed => continue,
            Err(error) => Check::new(Code::PIN_UNTAGGED, Status::Skip, error.to_string()),
        });
    }
    Ok(checks)
}

/// Checks that every layer of a set exists. A rollback reads layers only for contracts and inventories, but
/// an engine needs all of them.
fn check_layers(
    images: &[Option<ApprovedImage>],
    read: &ReadSite<'_>,
    known: &mut KnownLayers,
) -> Result<(Vec<Check>, Vec<Error>), Errors> {
    let config = read.site.config();
    let sources = read.services.sources_of_images(config)?;
    let mut requests = BTreeMap::new();
    for (index, image) in images.iter().enumerate() {
        for platform in image.iter().flat_map(|image| &image.facts.platforms) {
            for layer in &platform.manifest.layers {
                let key = (index, layer.digest);
                if !known.contains_key(&key) {
                    requests.insert(key, sources[index].check_layer(layer));
                }
            }
        }
    }
    let (keys, requests): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
    let names = keys
        .iter()
        .map(|(index, _)| config.images[*index].name.as_str());
    let names: Vec<&str> = names.collect();
    let task = "looking up the layers";
    let results = read.services.wait_for_all(task, &names, requests);
    for (key, result) in keys.into_iter().zip(results) {
        known.insert(key, result.err());
    }
    let (mut checks, mut errors) = (Vec::new(), Vec::new());
    for (index, image) in images.iter().enumerate() {
        let mut layer_errors: Vec<Error> = Vec::new();
        for platform in image.iter().flat_map(|image| &image.facts.platforms) {
            for layer in &platform.manifest.layers {
                let error = known.get(&(index, layer.digest)).cloned().flatten();
                layer_errors.extend(error.filter(|error| !layer_errors.contains(error)));
            }
        }
        let result = checks::content_result(layer_errors, &config.images[index].name);
        let (failed, remaining) = result.into_parts();
        checks.extend(failed);
        errors.extend(remaining);
    }
    Ok((checks, errors))
}

/// Returns the errors if they concern the configuration or another process: then no set can be rehearsed.
fn check_cause(errors: &[Error]) -> Result<(), Errors> {
    let is_general = |error: &Error| matches!(error.class, Class::Input | Class::Conflict);
    if errors.iter().any(is_general) {
        return Err(Errors::from(errors.to_vec()));
    }
    Ok(())
}
