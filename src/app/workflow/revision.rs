//! The revision argument of a command: literal, an abbreviated commit, `HEAD` or a tag.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::{
    Services, Stop, builds::builds_beginning_with, forge_overview::verification_pulls,
    tags::resolve_tags,
};
use crate::{
    base::{
        error::{Code, Error, Errors},
        files::Files,
        text::is_hex,
    },
    config::{ABBREVIATIONS, Config, Operation, RevisionLength},
    core::{
        checks::{Check, Expected, Target, full_revision},
        pins,
    },
    git::{Git, GitError, MIN_PREFIX, ObjectId},
    oci::{Digest, Revision, TagPattern},
};

/// The number of digits of an abbreviated commit of a clone.
const DIGITS: RangeInclusive<usize> = MIN_PREFIX..=40;

/// A requested revision with its tag, or with the pattern that its tags match.
#[derive(Debug, Clone)]
pub(crate) enum RequestedRevision {
    Full(Revision, TagPattern),
    /// The first digits of a commit that no clone contains: the images have the full revision.
    Abbreviated(String, TagPattern),
    /// The same, if tags contain the full revision: exactly one build in the registry begins with it.
    OfBuild {
        text: String,
        /// The reason that no clone expands it.
        missing: String,
    },
}

impl RequestedRevision {
    /// Parses the argument; sends no request. A text that matches `revision.pattern` is the revision
    /// itself. Other hex digits abbreviate a commit and never name a reference; any other text is
    /// `HEAD` or a tag.
    pub(crate) fn parse(config: &Config, text: &str) -> Result<Self, Errors> {
        let pattern = &config.revision.pattern;
        let revision = match pattern.revision(text) {
            Ok(revision) => revision,
            Err(mismatch) if pattern.is_semver() => {
                let error = Error::input(Code::REVISION_SHAPE, mismatch.to_string());
                let help = "write the version without a leading `v`, for example 1.4.2; the `v` of a tag \
                            belongs into `revision.tag`";
                return Err(error.help(help).into());
            }
            Err(mismatch) => match commit(config, text, &mismatch.to_string())? {
                NamedCommit::InClone(commit) => {
                    pattern.revision(&commit.to_string()).map_err(|error| {
                        malformed(format!("`{text}` is commit {commit}: {error}"), config)
                    })?
                }
                NamedCommit::Missing(reason) => return Self::abbreviated(config, text, &reason),
            },
        };
        match config.revision.tag.tag(&revision) {
            Ok(tag) => Ok(Self::Full(revision, tag)),
            Err(error) => Err(malformed(error.to_string(), config)),
        }
    }

    /// An abbreviation of a commit that no clone contains. `missing`: the reason without a clone.
    fn abbreviated(config: &Config, text: &str, missing: &str) -> Result<Self, Errors> {
        let template = &config.revision.tag;
        let digits = match template.length() {
            RevisionLength::Digits(digits) => digits,
            RevisionLength::Full => {
                return Ok(Self::OfBuild {
                    text: text.to_owned(),
                    missing: missing.to_owned(),
                });
            }
        };
        if text.len() < digits.max(*ABBREVIATIONS.start()) {
            let message = format!(
                "{missing}, and `{}` requires at least {digits} digits",
                template.as_str()
            );
            return Err(malformed(message, config));
        }
        match template.tag_of(text) {
            Ok(tag) => Ok(Self::Abbreviated(text.to_owned(), tag)),
            Err(error) => Err(malformed(error.to_string(), config)),
        }
    }

    /// The full revision, otherwise the text as given.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Full(revision, _) => revision.as_str(),
            Self::Abbreviated(text, _) | Self::OfBuild { text, .. } => text,
        }
    }

    /// The tag, or the pattern of tags. The abbreviation of a build is searched in the registry.
    pub(crate) fn tag(&self, config: &Config, services: &Services) -> Result<TagPattern, Errors> {
        match self {
            Self::Full(_, tag) | Self::Abbreviated(_, tag) => Ok(tag.clone()),
            Self::OfBuild { text, missing } => {
                build(config, text, missing, services).map(|(_, tag)| tag)
            }
        }
    }

    /// The full revision: that of an abbreviation is in the labels of its images. `digests`: those that
    /// builds reported. `files`: those with the pins, whose tags a failure shows. A rollback requires only
    /// the images with pins.
    pub(super) fn expand(
        &self,
        operation: Operation,
        digests: &BTreeMap<String, Digest>,
        files: Option<&dyn Files>,
        config: &Config,
        services: &Services,
    ) -> Result<(Revision, TagPattern), Stop> {
        let (text, tag) = match self {
            Self::Full(revision, tag) => return Ok((revision.clone(), tag.clone())),
            Self::Abbreviated(text, tag) => (text, tag),
            Self::OfBuild { text, missing } => {
                return match operation {
                    Operation::Promotion => Ok(build(config, text, missing, services)?),
                    // A rollback returns to a set of history, not to a build.
                    Operation::Rollback => {
                        let reason = "`revision.tag` requires the full revision";
                        Err(malformed(format!("{missing}, and {reason}"), config).into())
                    }
                };
            }
        };
        let found = files.map(|files| pins::find(files, config)).transpose();
        let found = found.map_err(Errors::from)?;
        let mut targets = Vec::new();
        for (index, image) in config.images.iter().enumerate() {
            let pinned_tags = found.as_ref().map(|found| found.tags_of(index));
            targets.push(Target {
                expected: digests.get(&image.name).copied().map(Expected::HandedOver),
                pinned_tags: pinned_tags.unwrap_or_default(),
                ..Target::new(tag.clone())
            });
        }
        let resolutions = resolve_tags(config, targets, verification_pulls(config), services)?;
        let mut required = Vec::new();
        for (image, resolution) in config.images.iter().zip(&resolutions) {
            let is_optional = operation == Operation::Rollback && image.pins == 0;
            required.push((!is_optional).then_some(resolution));
        }
        Ok((full_revision(config, text, &required)?, tag.clone()))
    }
}

/// The revision of an argument and its tags, for all images. That of an abbreviation is read from the
/// images.
pub(super) fn full_revision_of(
    config: &Config,
    text: &str,
    services: &Services,
) -> Result<(Revision, TagPattern), Stop> {
    let requested = RequestedRevision::parse(config, text)?;
    requested.expand(
        Operation::Promotion,
        &BTreeMap::new(),
        None,
        config,
        services,
    )
}

/// The same for a command without checks: a refused abbreviation is an error.
pub(crate) fn revision(
    config: &Config,
    text: &str,
    services: &Services,
) -> Result<(Revision, TagPattern), Errors> {
    full_revision_of(config, text, services).map_err(|stop| {
        // All of these checks failed.
        let (checks, errors) = stop.into_parts();
        let failed: Vec<_> = checks.iter().map(Check::as_error).collect();
        Errors::from([failed, errors].concat())
    })
}

/// The only build in the registry whose revision begins with `text`. `missing`: the reason that no clone
/// expands it.
fn build(
    config: &Config,
    text: &str,
    missing: &str,
    services: &Services,
) -> Result<(Revision, TagPattern), Errors> {
    let builds = builds_beginning_with(text, config, services)?;
    let full = match builds.as_slice() {
        [] => {
            let message = format!(
                "{missing}; `revision.tag` requires the full revision, and no build in the registry begins with `{text}`"
            );
            return Err(malformed(message, config));
        }
        [build] => build,
        [..] => {
            let message = format!("`{text}` is ambiguous: several builds begin with it");
            let mut error =
                Error::input(Code::REVISION_SHAPE, message).help("write more of the revision");
            error.notes = builds;
            return Err(error.into());
        }
    };
    let revision = config.revision.pattern.revision(full);
    let revision = revision.map_err(|error| malformed(error.to_string(), config))?;
    let tag = config.revision.tag.tag(&revision);
    let tag = tag.map_err(|error| malformed(error.to_string(), config))?;
    Ok((revision, tag))
}

enum NamedCommit {
    InClone(ObjectId),
    /// The reason that no clone contains the abbreviated commit.
    Missing(String),
}

/// Resolves `text` to a commit of the clone around the root.
fn commit(config: &Config, text: &str, mismatch: &str) -> Result<NamedCommit, Errors> {
    let is_abbreviated = DIGITS.contains(&text.len()) && is_hex(text.as_bytes());
    let is_name = !text.is_empty() && !text.starts_with('-') && !text.contains(char::is_control);
    if !is_name {
        return Err(malformed(mismatch.to_owned(), config));
    }
    let Some(git) = Git::discover(&config.root).map_err(Error::from)? else {
        let reason = format!("{mismatch}; expanding it needs a git repository");
        return if is_abbreviated {
            Ok(NamedCommit::Missing(reason))
        } else {
            Err(malformed(reason, config))
        };
    };
    let commits = if is_abbreviated {
        git.commits_named(text)
    } else if text == "HEAD" {
        git.head().map(|head| vec![head.tip])
    } else {
        git.commit_of_tag(text)
            .map(|commit| commit.into_iter().collect())
    };
    let commits = match commits {
        Ok(commits) => commits,
        Err(GitError::Unborn) => {
            return Err(malformed(
                format!("{mismatch}; this clone has no commit"),
                config,
            ));
        }
        Err(error) => return Err(Error::from(&error).into()),
    };
    match commits.as_slice() {
        [commit] => Ok(NamedCommit::InClone(*commit)),
        [] if is_abbreviated => Ok(NamedCommit::Missing(format!(
            "{mismatch}; no commit of this clone begins with `{text}`"
        ))),
        [] => Err(malformed(
            format!("{mismatch}; this clone has no tag `{text}`"),
            config,
        )),
        commits => Err(ambiguous(text, commits)),
    }
}
fn ambiguous(text: &str, commits: &[ObjectId]) -> Errors {
    let message = format!("`{text}` is ambiguous: several commits begin with it");
    let mut error =
        Error::input(Code::REVISION_SHAPE, message).help("write more digits of the commit");
    error.notes = commits.iter().map(|id| format!("commit {id}")).collect();
    Errors::from(error)
}

fn malformed(message: String, config: &Config) -> Errors {
    let option = &config.option;
    let help = format!(
        "write the revision in full, as `revision.pattern` in the configuration requires, or name a commit of this \
         clone: `HEAD`, a tag, or at least 4 digits; `repin history{option} -v` and `repin builds{option} -v` list full \
         revisions, and `repin promote{option} --revision newest` selects one"
    );
    Errors::from(Error::input(Code::REVISION_SHAPE, message).help(help))
}
