//! The dates of versions, in the configs and annotations of a version and its platforms.
//!
//! The user's cache contains most of these documents, also those that the registry lost. A version whose date is known
//! only from such a document must be judged as in a run without the cache, so the documents of candidates are read again.

use std::{
    collections::{BTreeSet, HashSet},
    time::SystemTime,
};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    Registry,
    registry::{CREATED, DateSource, RepositoryReader, ids_in},
};
use crate::{
    base::error::{Class, Error},
    git::ObjectId,
    oci::{Digest, TagOrDigest, date, registry::Source},
    prune::{
        ImageProtection, KeepReason, Listing, Progress, Protected, Rules,
        age::{Age, age},
        backends, is_eligible, judge,
        judge::MIN_EQUAL_DATES,
    },
};

/// The number of dates that are read first if all known dates are equal; each further round reads twice as many.
const DATES_IN_FIRST_ROUND: usize = 16;

impl Registry {
    /// Fetches the dates of `wanted` and of their entries.
    pub(super) async fn read_dates(
        &self,
        source: &Source,
        wanted: Vec<Digest>,
        reader: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        let mut fresh: BTreeSet<Digest> = wanted.into_iter().collect();
        let mut wanted = fresh.clone();
        let mut indexes = BTreeSet::new();
        while !fresh.is_empty() {
            let known = &reader.date_sources;
            let unread = fresh.iter().copied();
            let unread = unread.filter(|digest| !known.contains_key(digest));
            // A nested index that the registry lost refuses the run, so the registry must prove it.
            let (nested, platforms) = unread.partition(|digest| indexes.contains(digest));
            self.read_entries(&self.source, nested, reader, progress)
                .await?;
            self.read_entries(source, platforms, reader, progress)
                .await?;
            let children = fresh
                .iter()
                .filter_map(|digest| reader.listing.nodes.get(digest));
            let children = children
                .flat_map(|node| &node.children)
                .filter(|child| child.is_manifest && !child.is_attestation);
            indexes.extend(
                children
                    .clone()
                    .filter(|child| child.is_index)
                    .map(|child| child.digest),
            );
            // Digests form no cycle, so the entries end.
            fresh = children.map(|child| child.digest).collect();
            wanted.extend(&fresh);
        }
        let sources: Vec<_> = wanted
            .iter()
            .filter_map(|digest| Some((*digest, reader.date_sources.get(digest)?.as_ref()?)))
            .collect();
        progress.begin("reading configs", Some(sources.len()));
        let dates = stream::iter(sources).map(|(digest, date_source)| async move {
            let read = read_date(source, date_source).await;
            progress.step();
            read.map(|(date, commits)| (digest, date, commits))
        });
        let dates: Vec<(Digest, DateResult, Vec<ObjectId>)> =
            dates.buffered(backends::MAX_REQUESTS).try_collect().await?;
        let now = reader.listing.clock.later();
        for (digest, date, commits) in dates {
            if let Some(time) = self.latest_commit(&commits, now)? {
                reader.listing.commit_times.insert(digest, time);
            }
            match date {
                DateResult::Known(date) => {
                    reader.listing.dates.insert(digest, date);
                }
                DateResult::Absent => {}
                DateResult::Unreadable => reader.set_undated(digest),
                DateResult::Lost => {
                    reader.listing.lost_configs.insert(digest);
                    reader.set_undated(digest);
                }
            }
        }
        Ok(())
    }

    /// The latest time of those of `commits` that the clone has. A time in the future is a wrong clock.
    fn latest_commit(
        &self,
        commits: &[ObjectId],
        now: SystemTime,
    ) -> Result<Option<SystemTime>, Error> {
        let Some(git) = &self.git else {
            return Ok(None);
        };
        let mut latest = None;
        for commit in commits {
            let time = git.commit_time(commit)?.and_then(date::from_seconds);
            latest = latest.max(time.filter(|time| *time <= now));
        }
        Ok(latest)
    }

    /// Fetches entries of indexes. Missing ones are lost.
    async fn read_entries(
        &self,
        source: &Source,
        digests: Vec<Digest>,
        reader: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        let wants: Vec<_> = digests
            .into_iter()
            .map(|digest| (digest, TagOrDigest::Digest(digest)))
            .collect();
        self.check_pull_limit(source, &wants).await?;
        progress.begin("reading platforms", Some(wants.len()));
        backends::read(source, wants, progress, |digest, found| {
            if let Some(found) = found {
                reader.add_manifest(digest, &found.value);
            } else {
                reader.listing.lost.insert(digest);
                reader.listing.nodes.remove(&digest);
                reader.set_undated(digest);
            }
            Ok(())
        })
        .await
    }

    /// Reads the documents that determine ages and that were in the cache from the registry, except those of versions
    /// that are young without any of them.
    pub(super) async fn prove_dates(
        &self,
        protection: ImageProtection<'_>,
        rules: &Rules<'_>,
        reader: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        loop {
            let mut doubtful = doubtful(&reader.listing, protection, rules);
            doubtful.retain(|digest| !reader.proved.contains(digest));
            if doubtful.is_empty() {
                return Ok(());
            }
            // What a lost version protected may be a candidate now.
            self.prove(doubtful, reader, progress).await?;
        }
    }

    /// Reads the documents with the dates of these versions that were in the cache from the registry.
    async fn prove(
        &self,
        digests: BTreeSet<Digest>,
        reader: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        let (mut unproved, mut documents) = (Vec::new(), BTreeSet::new());
        for digest in &digests {
            let parts = self.unproved_parts(*digest, reader);
            if !parts.is_empty() {
                unproved.push(*digest);
                documents.extend(parts);
            }
        }
        reader.proved.extend(digests);
        // The registry returned the digest of each tag, which proves its manifest.
        let tagged = reader.listing.versions.iter();
        for version in tagged.filter(|version| !version.tags.is_empty()) {
            documents.remove(&version.digest);
        }
        reader
            .date_sources
            .retain(|digest, _| !documents.contains(digest));
        self.read_dates(&self.source, unproved, reader, progress)
            .await?;
        let listing = &mut reader.listing;
        listing
            .versions
            .retain(|version| !version.tags.is_empty() || !listing.lost.contains(&version.digest));
        Ok(())
    }

    /// The manifests with the dates of a version that were in the cache, or whose configs were.
    fn unproved_parts(&self, digest: Digest, reader: &RepositoryReader) -> HashSet<Digest> {
        let Some(cache) = &self.cache else {
            return HashSet::new();
        };
        let is_proved = |digest: &Digest| {
            match reader.date_sources.get(digest) {
                Some(Some(source)) => {
                    let config = source.config.as_ref().map(|config| config.digest);
                    cache.was_fetched(*digest)
                        && config.is_none_or(|config| cache.was_fetched(config))
                }
                Some(None) => true,
                // It was to be read again as a part of a version that is lost.
                None => false,
            }
        };
        let mut parts = reader.listing.platforms(digest);
        parts.insert(digest);
        parts.retain(|part| !is_proved(part));
        parts
    }

    /// If all known dates are equal, fetches more dates until one differs. Equal dates of some versions may be one build,
    /// but equal dates of all versions are unreliable. A date counts only if the registry has its documents.
    pub(super) async fn find_different_date(
        &self,
        reader: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        let mut tried = BTreeSet::new();
        let mut size = 1;
        loop {
            let (mut proved, mut unproved, mut unknown) =
                (BTreeSet::new(), BTreeSet::new(), Vec::new());
            let mut count = 0;
            for version in &reader.listing.versions {
                let digest = version.digest;
                match reader.listing.created(digest) {
                    Some(date) => {
                        let is_proved = reader.proved.contains(&digest)
                            || self.unproved_parts(digest, reader).is_empty();
                        if is_proved {
                            proved.insert(date);
                            count += 1;
                        } else {
                            unproved.insert((date, digest));
                        }
                    }
                    None if tried.contains(&digest) => {}
                    None => unknown.push(digest),
                }
            }
            // A date in the future refuses the run.
            let last = unproved.last();
            let is_future = last.is_some_and(|(date, _)| *date > reader.listing.clock.later());
            let is_decided = proved.len() > 1 || (proved.is_empty() && unproved.is_empty());
            if is_decided && !is_future {
                return Ok(());
            }
            // The run is refused whether the others are proved or not.
            let is_refused =
                count >= MIN_EQUAL_DATES && unproved.iter().all(|(date, _)| proved.contains(date));
            if !unproved.is_empty() && !is_refused {
                // The ends differ if any dates do.
                let ends = unproved.iter().rev().take(size);
                let ends = ends.chain(unproved.iter().take(size - 1));
                let ends = ends.map(|(_, digest)| *digest).collect();
                self.prove(ends, reader, progress).await?;
            } else if unknown.is_empty() {
                return Ok(());
            } else {
                unknown.truncate(DATES_IN_FIRST_ROUND * size);
                tried.extend(unknown.iter().copied());
                self.read_dates(&self.cached, unknown, reader, progress)
                    .await?;
            }
            size *= 2;
        }
    }
}

impl RepositoryReader {
    /// The date cannot be determined, also not by the user's cache.
    fn set_undated(&mut self, digest: Digest) {
        self.listing.dates.remove(&digest);
        self.date_sources.insert(digest, None);
    }
}

/// The versions whose age depends on a document that the registry may have lost although the user's cache has it: all but
/// those whose every date is young.
fn doubtful(
    listing: &Listing,
    protection: ImageProtection<'_>,
    rules: &Rules<'_>,
) -> BTreeSet<Digest> {
    let verdict = judge(listing, protection, rules);
    let candidates = verdict.candidates.iter();
    let mut doubtful: BTreeSet<Digest> = candidates.map(|one| one.version.digest).collect();
    for Protected { version, reason } in &verdict.protected {
        if matches!(reason, KeepReason::Broken(_) | KeepReason::UnknownAge) {
            doubtful.insert(version.digest);
        }
    }
    let now = listing.clock.earlier();
    for version in &listing.versions {
        let dates = listing.dates_of(version.digest);
        let earliest = dates
            .earliest
            .and_then(|date| now.duration_since(date).ok());
        let is_mixed = dates.has_undated || earliest.is_some_and(|age| rules.is_old(age));
        if is_mixed
            && matches!(age(listing, version.digest, rules), Age::Young)
            && is_eligible(listing, version, protection, rules.prune)
        {
            doubtful.insert(version.digest);
        }
    }
    doubtful
}

/// The date of a manifest.
enum DateResult {
    Known(SystemTime),
    /// Neither the annotation nor the config contains a date.
    Absent,
    /// One of them is malformed.
    Unreadable,
    /// The config is missing.
    Lost,
}

/// The latest date of the annotation, the config and its label, and the ids in annotations and labels.
async fn read_date(
    source: &Source,
    date: &DateSource,
) -> Result<(DateResult, Vec<ObjectId>), Error> {
    let mut commits = date.commits.clone();
    let (mut created, mut label) = (None, None);
    if let Some(config) = &date.config {
        let mut config = match source.config(config).await {
            Ok(config) => config.value,
            Err(error) if error.class == Class::MissingContent => {
                return Ok((DateResult::Lost, commits));
            }
            Err(error) => return Err(error),
        };
        commits.extend(ids_in(&config.labels));
        created = config.created;
        label = config
            .labels
            .remove(CREATED)
            .filter(|date| !date.is_empty());
    }
    let mut latest = None;
    for text in [&date.annotation, &created, &label].into_iter().flatten() {
        let Some(date) = date::parse(text) else {
            return Ok((DateResult::Unreadable, commits));
        };
        latest = latest.max(Some(date));
    }
    Ok((
        latest.map_or(DateResult::Absent, DateResult::Known),
        commits,
    ))
}
