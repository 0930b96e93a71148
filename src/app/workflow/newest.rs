//! `promote --revision newest`: the newest build that may be promoted. The choice verifies nothing: the
//! promotion of the chosen revision runs every check.

use super::{
    Services,
    builds::{Age, Build, BuildList, NextBuild},
    execution::Executor,
};
use crate::{
    base::{
        error::{Code, Error, Errors},
        text::few,
        untrusted::plain,
    },
    config::{Config, Operation, Revisions},
    core::{
        builds::{BuildImage, ImageTime, ReadBuild, State},
        checks,
        history::History,
        pins::FoundPins,
    },
    git::FETCH_HISTORY,
    oci::Revision,
};

/// The newest build, or the current set.
pub(super) enum Newest {
    Build(Revision),
    /// No build is newer than the current set.
    Nothing {
        /// The recorded revision of the current set.
        current: Option<Revision>,
        found: Box<FoundPins>,
    },
}

impl Newest {
    /// The current set if only the files have it, so that a run commits what an earlier one changed.
    pub(super) fn or_uncommitted(
        self,
        site: &dyn Executor,
        services: &Services,
    ) -> Result<Self, Errors> {
        let Self::Nothing {
            current: Some(revision),
            found,
        } = &self
        else {
            return Ok(self);
        };
        let history = site.history(services);
        let committed = history.known()?.and_then(History::current);
        let pinned = checks::current_digests(site.config(), found);
        if committed.is_none_or(|committed| committed.images == pinned) {
            return Ok(self);
        }
        Ok(Self::Build(revision.clone()))
    }
}

/// Warns if no build can be found: `revision.tag` may be wrong.
fn warn_of_form(builds: &BuildList<'_>, config: &Config, services: &Services) {
    if builds.is_empty() {
        let form = config.revision.tag.as_str();
        services.console.warn(&format!(
            "no tag has the form of `revision.tag`: {form}; `repin init` shows the forms of the tags that exist"
        ));
    }
}

/// Selects the first build that is available or proposed, unless it is older than the current set or an
/// open pull request. `allow_older`: whether its age may be unknown.
pub(super) fn newest(
    site: &dyn Executor,
    allow_older: bool,
    services: &Services,
) -> Result<Newest, Errors> {
    let mut config = site.config().clone();
    let (found, _) = site.pins(Operation::Promotion)?;
    let history = site.history(services);
    config.former.extend(history.former_sets());
    let pulls = site.open_pull_requests(&config, &history, services)?;
    let mut builds = BuildList::open(&config, &found, &history, &pulls, services)?;
    warn_of_form(&builds, &config, services);
    let mut skipped = Skipped::default();
    let mut unreadable = Vec::new();
    let mut selected = Ok(None);
    while let Some(listed) = builds.next(1)? {
        let listed = match listed {
            NextBuild::Build(listed) => listed,
            NextBuild::Omitted { is_boundary: true } => break,
            NextBuild::Omitted { is_boundary: false } => continue,
        };
        if let (State::Available | State::Proposed, Some(revision)) =
            (listed.state, &listed.facts.revision)
            && is_eligible(revision, builds.current(), &config)
        {
            match builds.age(&listed)? {
                Age::Older => {}
                Age::Unknown(reason) if !allow_older => {
                    let unknown = unknown_age(revision, &reason);
                    selected = Err(builds.source_error().unwrap_or(unknown));
                    break;
                }
                Age::Newer | Age::Unknown(_) => {
                    keep_digests(&listed.facts, &config, services)?;
                    // A build of unknown membership may not be merged.
                    selected = match builds.source_error() {
                        Some(errors) if !allow_older => Err(errors),
                        _ => Ok(Some(revision.clone())),
                    };
                    break;
                }
            }
        }
        // An unreadable build may be the newest one.
        if listed.state == State::Incomplete {
            unreadable.extend(listed.facts.errors().cloned());
        }
        let is_boundary = listed.is_boundary && listed.state != State::Unmerged;
        skipped.add(&listed, builds.current(), &config);
        if is_boundary {
            break;
        }
    }
    unreadable.extend(builds.undated_errors());
    if !unreadable.is_empty() {
        return Err(unreadable_builds(unreadable, &config));
    }
    let selected = selected?;
    let (left_out, selection) = builds.left_out();
    if left_out > 0 && selection.may_omit_newest() {
        let read = selection.phrase();
        services.console.warn(&format!(
            "{left_out} builds were not read, and one of them may be newer: only {read} were read"
        ));
    }
    skipped.report(services);
    Ok(match selected {
        Some(revision) => {
            let name = plain(revision.as_str());
            services
                .console
                .note(&format!("the newest build is {name}"));
            Newest::Build(revision)
        }
        None => Newest::Nothing {
            current: builds.current().cloned(),
            found: Box::new(found),
        },
    })
}

/// Keeps the digests of the selected build's tags, so that its promotion does not resolve them again.
fn keep_digests(build: &ReadBuild, config: &Config, services: &Services) -> Result<(), Errors> {
    let sources = services.sources_of_images(config)?;
    for (source, image) in sources.iter().zip(&build.images) {
        // The packages API of a forge does not resolve tags.
        if let BuildImage::Read(tag, image) = image
            && !matches!(image.time, Some(ImageTime::Pushed(_)))
        {
            let cache = &services.resolved_tags;
            cache.insert_digest(source, tag, image.digest);
        }
    }
    Ok(())
}

/// Whether a revision may be the newest one: a pre-release only if the current set is one, or if the configuration
/// allows it.
pub(super) fn is_eligible(
    revision: &Revision,
    current: Option<&Revision>,
    config: &Config,
) -> bool {
    let Revisions {
        pattern,
        prerelease,
        ..
    } = &config.revision;
    *prerelease
        || !pattern.is_prerelease(revision)
        || current.is_some_and(|current| pattern.is_prerelease(current))
}

/// The builds before the selected one.
#[derive(Default)]
pub(super) struct Skipped {
    held: Vec<String>,
    /// With the obstacles.
    incomplete: Vec<String>,
    unmerged: Vec<String>,
    prereleases: Vec<String>,
}

impl Skipped {
    fn add(&mut self, listed: &Build, current: Option<&Revision>, config: &Config) {
        let name = plain(&listed.facts.text);
        let revision = listed.facts.revision.as_ref();
        if revision.is_some_and(|revision| !is_eligible(revision, current, config)) {
            self.prereleases.push(name);
            return;
        }
        match listed.state {
            State::Held => self.held.push(name),
            State::Incomplete => {
                let detail = &listed.detail;
                self.incomplete.push(format!("{name} ({detail})"));
            }
            State::Unmerged => self.unmerged.push(name),
            State::Current | State::Proposed | State::Older | State::Waiting | State::Available => {
            }
        }
    }

    pub(super) fn add_held(&mut self, revision: &Revision) {
        self.held.push(plain(revision.as_str()));
    }

    pub(super) fn add_unmerged(&mut self, revision: &Revision) {
        self.unmerged.push(plain(revision.as_str()));
    }

    pub(super) fn add_prerelease(&mut self, revision: &Revision) {
        self.prereleases.push(plain(revision.as_str()));
    }

    /// Warns of held and incomplete builds: the newest build is not selected. The others are expected.
    pub(super) fn report(self, services: &Services) {
        services.warn_of_held(self.held);
        let list = |names: Vec<String>| few(names.into_iter(), 3);
        let console = &services.console;
        if !self.incomplete.is_empty() {
            let names = list(self.incomplete);
            console.warn(&format!("not selected, because it is incomplete: {names}"));
        }
        if !self.unmerged.is_empty() {
            let names = list(self.unmerged);
            console.note(&format!("not selected, because it is not merged: {names}"));
        }
        if !self.prereleases.is_empty() {
            let names = list(self.prereleases);
            console.note(&format!(
                "not selected, because it is a pre-release: {names}"
            ));
        }
    }
}

/// The refusal to choose a build that may be older than the current set.
pub(super) fn unknown_age(revision: &Revision, reason: &str) -> Errors {
    let name = plain(revision.as_str());
    let message = format!("cannot determine whether {name} is the newest build: {reason}");
    let help = format!(
        "if the build is newer, promote it by its revision: repin promote --revision {name}; in a shallow clone, \
         first {FETCH_HISTORY}; with `source`, the repository of the images, repin compares commits"
    );
    Errors::from(Error::failed(Code::REVISION_ORDER, message).help(help))
}

fn unreadable_builds(errors: Vec<Error>, config: &Config) -> Errors {
    let help = format!(
        "repeat the run, or select a build with `--revision REV`: `repin builds{}` lists them",
        config.option
    );
    let errors = errors.into_iter().map(|error| match error.help {
        Some(_) => error,
        None => error.help(help.clone()),
    });
    errors.collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::example;

    #[test]
    fn prerelease_requires_one_or_the_setting() {
        let config = |more: &str| {
            example(&format!(
                "version: 1\nfiles: [x]\nrevision: {{ pattern: semver{more} }}\nimages: {{ a: {{ repository: r.example/a, pins: 1 }} }}\n"
            ))
        };
        let (strict, allowed) = (config(""), config(", prerelease: true"));
        let revision = |text: &str| strict.revision.pattern.revision(text).unwrap();
        let [candidate, release] = ["2.0.0-rc.2", "1.9.0"].map(revision);
        let earlier = revision("2.0.0-rc.1");
        assert!(!is_eligible(&candidate, Some(&release), &strict));
        assert!(!is_eligible(&candidate, None, &strict));
        assert!(is_eligible(&candidate, Some(&earlier), &strict));
        assert!(is_eligible(&candidate, Some(&release), &allowed));
        assert!(is_eligible(&release, None, &strict));
    }
}
