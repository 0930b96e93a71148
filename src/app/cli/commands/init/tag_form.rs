//! The form of the pinned tags: guessed from their text, and confirmed by the labels of the images.
//!
//! A hexadecimal tag may also be a date or a number, and a version may have another origin than the
//! build. If an image is unavailable, the settings are only suggested.

use std::collections::{BTreeMap, BTreeSet};

use super::{question::SelectedSet, remote};
use crate::{
    app::{
        report::starter::{RevisionSettings, StarterRevision},
        workflow::Services,
    },
    base::{
        error::{Error, Errors},
        text::few,
    },
    config::Config,
    core::pins::{
        FoundPins,
        discover::tag_forms::{self, GuessedForm},
    },
    oci::{Digest, Revision, Tag, registry::Source},
};

/// The maximum number of tags in a message; further ones are counted.
const MAX_LISTED: usize = 10;

/// The result of the comparison with the labels.
#[derive(Default)]
pub(super) struct Confirmation {
    /// The revision that the pins have in common.
    pub(super) revision: Option<String>,
    /// The settings if those for the form are not confirmed.
    pub(super) settings: Option<StarterRevision>,
    /// The remark in the file.
    pub(super) remark: Option<String>,
    pub(super) warning: Option<String>,
    /// The reason why the labels could not be read, and the attestations cannot be listed either.
    pub(super) unavailable: Option<String>,
}

impl Confirmation {
    /// The settings for the form are right.
    fn of(revision: Option<String>) -> Self {
        Self {
            revision,
            ..Self::default()
        }
    }
}

/// The settings for a form, if they are not the defaults.
pub(super) fn settings(form: Option<&GuessedForm>) -> StarterRevision {
    let Some(settings) = form.map(settings_of) else {
        return StarterRevision::Default;
    };
    if settings.pattern.is_none() && settings.label.is_none() && settings.tag == "{revision}" {
        return StarterRevision::Default;
    }
    StarterRevision::Found(settings)
}

fn settings_of(form: &GuessedForm) -> RevisionSettings {
    RevisionSettings {
        pattern: form.pattern(),
        tag: form.template(),
        label: form.label(),
    }
}

/// Compares the form of the tags with the labels of the pinned images. `config` contains the settings for
/// the form.
pub(super) fn confirm(
    form: Option<&GuessedForm>,
    chosen: &SelectedSet<'_>,
    config: &Config,
    found: &FoundPins,
    services: &Services,
) -> Confirmation {
    let tags = tag_forms::tags(chosen.repositories());
    let form = match form {
        _ if tags.is_empty() => return Confirmation::of(None),
        Some(form) if form.is_certain() => {
            return Confirmation::of(tag_forms::common_commit(chosen.repositories()));
        }
        Some(form) => form,
        None => {
            let forms = tag_forms::forms(chosen.repositories());
            return match forms {
                Some(forms) if forms.len() > 1 => mixed(&forms),
                _ => unknown(&tags),
            };
        }
    };
    let labels = match &chosen.unavailable {
        Some(reason) => Err(reason.clone()),
        None => revisions(config, found, services).map_err(|errors| {
            let errors: Vec<_> = errors.iter().map(Error::text).collect();
            errors.join("; ")
        }),
    };
    match labels {
        Ok(Some(revisions)) => {
            let mut revisions = revisions.into_iter();
            let first = revisions.next();
            let common = first.filter(|first| revisions.all(|other| other == *first));
            Confirmation::of(common.map(|revision| revision.to_string()))
        }
        Ok(None) => unknown(&tags),
        Err(reason) => {
            let template = form.template();
            Confirmation {
                revision: None,
                settings: Some(StarterRevision::Suggested(settings_of(form))),
                remark: Some(format!(
                    "`revision.tag` may have to be `{template}`: the labels of the images could not be read"
                )),
                warning: Some(format!(
                    "the pinned tags suggest `revision.tag: \"{template}\"`, but the labels of the images \
                     could not be read: {reason}"
                )),
                unavailable: Some(reason),
            }
        }
    }
}

/// The revision that the labels of all pinned images have in common.
pub(super) fn common_label(
    config: &Config,
    found: &FoundPins,
    services: &Services,
) -> Result<Option<String>, Errors> {
    let sources = services.sources_of_images(config)?;
    let lookup = async {
        let mut common = None;
        for (image, source) in sources.iter().enumerate() {
            for digest in found.digests_of(image) {
                let facts = remote::pinned_image(source, digest).await?;
                let revision = config.revision.stated_by(&facts);
                let revision = revision.map(|revision| revision.to_string());
                if revision.is_none() || common.is_some() && common != revision {
                    return Ok(None);
                }
                common = revision;
            }
        }
        Ok(common)
    };
    remote::wait(lookup, "reading the pinned images", services)
}

/// The maximum number of files in a message.
const MAX_FILES: usize = 5;

/// Tags of several known forms: environments that need a configuration each, because a set has one form.
fn mixed(forms: &BTreeMap<String, BTreeSet<String>>) -> Confirmation {
    let listed = forms.iter().map(|(template, files)| {
        format!("`{template}` in {}", few(files.iter().cloned(), MAX_FILES))
    });
    let listed = few(listed, MAX_LISTED);
    let number = match forms.len() {
        2 => "two".to_owned(),
        number => number.to_string(),
    };
    let help = "which need a configuration each: a set has one `revision.tag`. Write them with `repin init --each GLOB` for \
                directories or files with the names of environments, or with `repin --config repin.NAME.yaml init` and limit \
                its `files`";
    Confirmation {
        settings: Some(StarterRevision::Unknown(listed.clone())),
        remark: Some(format!(
            "the pinned tags have {number} forms, probably of {number} environments, which need a configuration each"
        )),
        warning: Some(format!(
            "the pinned tags have {number} forms: {listed}. They are probably of {number} environments, {help}"
        )),
        ..Confirmation::default()
    }
}

/// Tags of an unknown form, with the required settings.
fn unknown(tags: &[&str]) -> Confirmation {
    let listed = few(tags.iter().copied(), MAX_LISTED);
    Confirmation {
        settings: Some(StarterRevision::Unknown(listed.clone())),
        remark: Some(
            "the form of the pinned tags is unknown: set `revision.tag`, `revision.pattern` and \
             `revision.label`"
                .to_owned(),
        ),
        warning: Some(format!(
            "the pinned tags have no known form: {listed}; set `revision.tag` to the form of the tags that \
             the build pushes, `revision.pattern` to that of a revision, and `revision.label` to the label \
             that contains the revision (docs/configuration.md, \"Tags\")"
        )),
        ..Confirmation::default()
    }
}

/// The revisions in the labels of the pinned images with a tag; `None` if a tag does not have the form
/// for the revision in a label.
fn revisions(
    config: &Config,
    found: &FoundPins,
    services: &Services,
) -> Result<Option<Vec<Revision>>, Errors> {
    let sources = services.sources_of_images(config)?;
    let mut pinned: Vec<(usize, Digest, &Tag)> = Vec::new();
    for index in 0..config.images.len() {
        for pin in found.pins_of(index) {
            if let Some(tag) = &pin.item.tag
                && !pinned.contains(&(index, pin.item.digest, tag))
            {
                pinned.push((index, pin.item.digest, tag));
            }
        }
    }
    let lookup = async {
        let mut revisions = Vec::new();
        for (image, digest, tag) in pinned {
            match revision_of(&sources[image], digest, tag, config).await? {
                Some(revision) => revisions.push(revision),
                None => return Ok(None),
            }
        }
        Ok(Some(revisions))
    };
    remote::wait(lookup, "reading the pinned images", services)
}

/// The revision in the labels of all platforms, if `tag` is a tag of it.
async fn revision_of(
    source: &Source,
    digest: Digest,
    tag: &Tag,
    config: &Config,
) -> Result<Option<Revision>, Error> {
    let facts = remote::pinned_image(source, digest).await?;
    let stated = config.revision.stated_by(&facts);
    Ok(stated.filter(|revision| {
        let pattern = config.revision.tag.tag(revision);
        pattern.is_ok_and(|pattern| pattern.matches(tag))
    }))
}
