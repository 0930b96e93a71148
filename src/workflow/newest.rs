//! `promote --revision newest`: the newest build that may be promoted. The choice verifies nothing: the
//! promotion of the chosen revision runs every check.

use super::{
    Services,
    builds::{Age, BuildList, Listed},
    execution::Executor,
};
use crate::{
    builds::{BuildImage, ImageTime, ReadBuild, State},
    code::Code,
    config::{Config, Operation},
    error::{Error, Errors},
    git::FETCH_HISTORY,
    oci::Revision,
    pins::Found,
    text::few,
    untrusted::plain,
};

/// The newest build, or the current set.
pub(super) enum Newest {
    Build(Revision),
    /// No build is newer than the current set.
    Nothing {
        /// The recorded revision of the current set.
        current: Option<Revision>,
        found: Box<Found>,
    },
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
    let (mut held, mut unreadable) = (Vec::new(), Vec::new());
    let mut selected = Ok(None);
    while let Some(listed) = builds.next(1)? {
        let listed = match listed {
            Listed::Build(listed) => listed,
            Listed::Omitted { is_boundary: true } => break,
            Listed::Omitted { is_boundary: false } => continue,
        };
        if let (State::Available | State::Proposed, Some(revision)) =
            (listed.state, &listed.facts.revision)
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
                    selected = Ok(Some(revision.clone()));
                    break;
                }
            }
        }
        if listed.state == State::Held {
            held.extend(listed.facts.revision.clone());
        }
        // An unreadable build may be the newest one.
        if listed.state == State::Incomplete {
            unreadable.extend(listed.facts.errors().cloned());
        }
        if listed.is_boundary {
            break;
        }
    }
    unreadable.extend(builds.undated_errors());
    if !unreadable.is_empty() {
        return Err(unreadable_builds(unreadable));
    }
    let selected = selected?;
    let (left_out, selection) = builds.left_out();
    if left_out > 0 && selection.may_omit_newest() {
        let read = selection.phrase();
        services.console.warn(&format!(
            "{left_out} builds were not read, and one of them may be newer: only {read} were read"
        ));
    }
    note_held(&held, services);
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

/// Names the newer builds that a rollback undid.
pub(super) fn note_held(held: &[Revision], services: &Services) {
    if !held.is_empty() {
        let names = few(held.iter().map(|revision| plain(revision.as_str())), 3);
        let note = format!("not selected, because a rollback undid it: {names}");
        services.console.note(&note);
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

fn unreadable_builds(errors: Vec<Error>) -> Errors {
    let help = "repeat the run, or select a build with `--revision REV`: `repin builds` lists them";
    let errors = errors.into_iter().map(|error| match error.help {
        Some(_) => error,
        None => error.help(help),
    });
    errors.collect::<Vec<_>>().into()
}
