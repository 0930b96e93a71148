//! The request to `promote` or `rollback`: as typed, and checked against a configuration.

use std::{collections::BTreeMap, path::PathBuf};

use super::{Unconfigured, revision::revision};
use crate::{
    checks::{Direction, Expected, Overruled, Target},
    config::{ChangeNames, Config, Image},
    error::{Errors, usage},
    forge::State,
    history::Promoted,
    oci::{Digest, Revision, Tag},
    pins::Found,
};

/// The requested set, as typed.
#[derive(Debug, Clone)]
pub enum Goal {
    /// A set that was built.
    Promote {
        /// The commit that its images were built from.
        revision: String,
        /// `NAME=DIGEST`: the digest that the build of an image reported.
        digests: Vec<String>,
        /// The refusals that the caller overrides.
        overruled: Overruled,
    },
    /// A set that was in production before.
    Rollback {
        /// Its revision.
        revision: String,
    },
}

/// What a run may change, and which other files it writes.
#[derive(Debug, Clone)]
pub struct Options {
    /// What it may change.
    pub intent: Intent,
    /// Whether what was applied is committed.
    pub commit: bool,
    /// Whether a pull request is reopened even if someone closed it.
    pub reopen: bool,
    /// What a missing token or secret means.
    pub unconfigured: Unconfigured,
    /// The file for the diff.
    pub diff_file: Option<PathBuf>,
    /// The file for the pull request body.
    pub body_file: Option<PathBuf>,
}

/// What a run may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Nothing.
    Show,
    /// The work tree.
    Apply,
    /// The forge: it opens a pull request.
    Open(State),
    /// Nothing: it shows the pull request that would be opened.
    ShowOpen,
}

/// A goal that was checked against a configuration.
pub(super) struct Request {
    pub(super) revision: Revision,
    pub(super) tag: Tag,
    pub(super) proof: Proof,
}

/// What history must prove about a set before its images are read.
pub(super) enum Proof {
    /// That it is newer than what is pinned, and not held.
    Newer {
        digests: BTreeMap<String, Digest>,
        overruled: Overruled,
    },
    /// That it was promoted.
    Promoted,
}

impl Goal {
    /// The name of the command.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Promote { .. } => "promote",
            Self::Rollback { .. } => "rollback",
        }
    }

    /// How its branch and its commit are named.
    pub(super) fn naming<'c>(&self, config: &'c Config) -> &'c ChangeNames {
        match self {
            Self::Promote { .. } => &config.promote,
            Self::Rollback { .. } => &config.rollback,
        }
    }

    /// Checks the arguments before the first request.
    pub(super) fn checked(&self, config: &Config) -> Result<Request, Errors> {
        let (text, proof) = match self {
            Self::Rollback { revision } => (revision, Proof::Promoted),
            Self::Promote {
                revision,
                digests,
                overruled,
            } => {
                let digests = handed_over(digests, config)?;
                let overruled = *overruled;
                (revision, Proof::Newer { digests, overruled })
            }
        };
        let (revision, tag) = revision(config, text)?;
        Ok(Request {
            revision,
            tag,
            proof,
        })
    }
}

impl Request {
    pub(super) fn direction(&self) -> Direction {
        match self.proof {
            Proof::Newer { .. } => Direction::Forward,
            Proof::Promoted => Direction::Back,
        }
    }

    /// The digest that each image's tag must resolve to, in the order of the configuration: the one
    /// that the build reported, or that `promoted` pinned.
    pub(super) fn targets(
        &self,
        config: &Config,
        found: &Found,
        promoted: Option<&Promoted>,
    ) -> Vec<Target> {
        let expected = |image: &Image| match &self.proof {
            Proof::Newer { digests, .. } => {
                digests.get(&image.name).copied().map(Expected::HandedOver)
            }
            Proof::Promoted => {
                let promoted = promoted.filter(|_| image.pins > 0)?;
                let digest = *promoted.images.get(&image.name)?;
                Some(Expected::PinnedBy(promoted.commit.short(), digest))
            }
        };
        let images = config.images.iter().enumerate();
        images
            .map(|(at, image)| Target {
                tag: self.tag.clone(),
                expected: expected(image),
                pinned: found.digests_of(at),
            })
            .collect()
    }
}

/// Checks that a name is one of a configured image; `origin` names where it was typed.
pub fn configured(config: &Config, name: &str, origin: &str) -> Result<(), Errors> {
    if config.image(name).is_some() {
        return Ok(());
    }
    let names: Vec<_> = config.images.iter().map(|image| &*image.name).collect();
    Err(usage(format!(
        "{origin}unknown image `{name}`; configured: {}",
        names.join(", ")
    )))
}

/// The digests that builds reported, by image.
fn handed_over(texts: &[String], config: &Config) -> Result<BTreeMap<String, Digest>, Errors> {
    let mut digests = BTreeMap::new();
    for text in texts {
        let (name, digest) = text
            .split_once('=')
            .ok_or_else(|| usage(format!("--digest {text}: expected NAME=DIGEST")))?;
        configured(config, name, "--digest: ")?;
        let digest = Digest::parse_input(digest)
            .map_err(|error| usage(format!("--digest {name}: {error}")))?;
        let former = digests.insert(name.to_owned(), digest);
        if former.is_some_and(|former| former != digest) {
            return Err(usage(format!("--digest: duplicate digest for `{name}`")));
        }
    }
    Ok(digests)
}
