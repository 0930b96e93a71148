//! The request of `promote` or `rollback`: as typed, and parsed with a configuration.

use std::{collections::BTreeMap, time::Duration};

use super::{MissingCredential, RequestedRevision, Services, Stop, output_file::OutputFile};
use crate::{
    base::{
        error::{Code, Error, Errors, usage},
        files::Files,
    },
    config::{ChangeParts, Config, Image, Operation},
    core::{
        checks::{Expected, Overrides, PinnedDigest, Target},
        history::Promoted,
        pins::FoundPins,
    },
    forge::Readiness,
    oci::{Digest, Revision, TagPattern},
};

/// The word of `rollback --to` for the newest available set before the current one.
pub(super) const PREVIOUS: &str = "previous";

/// The requested set, as typed.
#[derive(Debug, Clone)]
pub(crate) enum Goal {
    Promote {
        revision: RevisionChoice,
        /// `NAME=DIGEST`: the digest that the build of an image reported.
        digests: Vec<String>,
        /// The refusals that the caller overrides.
        overrides: Overrides,
    },
    /// To a set that was current before.
    Rollback {
        /// Its revision, `previous`, a commit or a pull request, as typed.
        revision: String,
        /// Whether the digests that git records are used if tags do not resolve to them.
        by_digest: bool,
    },
}

/// The revision that is promoted.
#[derive(Debug, Clone)]
pub(crate) enum RevisionChoice {
    /// The commit that its images were built from, as typed.
    Named(String),
    /// That of the newest build that may be promoted.
    Newest,
}

/// The change that a run may make, and the other files that it writes.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub intent: Intent,
    pub missing_credential: MissingCredential,
    pub diff_file: Option<OutputFile>,
    /// The file for the body of the pull request.
    pub body_file: Option<OutputFile>,
    /// The differences of the sets that are read and reported; `None` as the configuration selects.
    pub changes: Option<ChangeParts>,
}

/// The change that a run may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    /// None; the change of the work tree is shown.
    Show,
    Apply(ApplyMode),
    /// None; the pull request is shown.
    ShowPullRequest,
    OpenPullRequest(OpenRequest),
}

impl Intent {
    pub(crate) fn commits(self) -> bool {
        matches!(self, Self::Apply(ApplyMode::Commit | ApplyMode::Push))
    }
}

/// The last step of a change of the work tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApplyMode {
    /// The files are changed.
    Files,
    /// The changed files are committed.
    Commit,
    /// The commit is pushed to the branch that counts.
    Push,
}

/// The permission to open a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenRequest {
    pub state: Readiness,
    /// Whether a pull request that a user closed is reopened.
    pub reopen: bool,
    /// Whether the run waits for its merge.
    pub wait: Option<WaitRequest>,
}

/// A request to wait for the merge of a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitRequest {
    pub limit: Duration,
    /// The option with the limit.
    pub option: &'static str,
    /// A number unique to this run.
    pub claim: u128,
    /// Whether nothing is changed on the forge.
    pub is_dry_run: bool,
}

/// The parsed arguments, before any request.
pub(super) struct ParsedGoal {
    pub(super) operation: Operation,
    pub(super) revision: RequestedRevision,
    digests: BTreeMap<String, Digest>,
    overrides: Overrides,
}

pub(super) struct Request {
    pub(super) operation: Operation,
    pub(super) revision: Revision,
    tag: TagPattern,
    /// The digests that builds reported, by image; a rollback has none.
    digests: BTreeMap<String, Digest>,
    pub(super) overrides: Overrides,
    /// The differences of the current set and the new one that are read.
    pub(super) changes: ChangeParts,
    /// Whether the contents of images are compared only if the checks read them.
    pub(super) only_read_contents: bool,
}

impl Options {
    /// The parts that the command line or the configuration selects.
    fn selected_changes(&self, config: &Config) -> Option<ChangeParts> {
        self.changes.or(config.report.changes)
    }

    fn changes(&self, config: &Config) -> ChangeParts {
        let default = || {
            let mut images = config.images.iter();
            // Their layers are read in any case.
            if images.any(|image| image.contract.is_some() || config.inventory_of(image).is_some())
            {
                ChangeParts::Contents
            } else {
                ChangeParts::Images
            }
        };
        self.selected_changes(config).unwrap_or_else(default)
    }
}

impl Goal {
    pub(super) fn operation(&self) -> Operation {
        match self {
            Self::Promote { .. } => Operation::Promotion,
            Self::Rollback { .. } => Operation::Rollback,
        }
    }

    /// The set as typed; `None` for the newest build.
    pub(super) fn revision(&self) -> Option<&str> {
        match self {
            Self::Promote {
                revision: RevisionChoice::Newest,
                ..
            } => None,
            Self::Promote {
                revision: RevisionChoice::Named(revision),
                ..
            }
            | Self::Rollback { revision, .. } => Some(revision),
        }
    }

    /// The revision, unless the site determines it.
    pub(super) fn literal_revision(&self, config: &Config) -> Option<&str> {
        let pattern = &config.revision.pattern;
        match self {
            Self::Promote { .. } => self.revision(),
            Self::Rollback { revision, .. } => {
                Some(&**revision).filter(|text| *text != PREVIOUS && pattern.revision(text).is_ok())
            }
        }
    }

    /// The refusals that the user overrides.
    pub(super) fn overrides(&self) -> Overrides {
        match self {
            Self::Rollback { by_digest, .. } => Overrides {
                by_digest: *by_digest,
                ..Overrides::default()
            },
            Self::Promote { overrides, .. } => *overrides,
        }
    }

    /// Checks the arguments. Sends no request.
    pub(super) fn check(&self, config: &Config) -> Result<(), Errors> {
        match self.literal_revision(config) {
            Some(text) => self.parse(text, config).map(drop),
            None => self.digests(config).map(drop),
        }
    }

    /// The digests that builds reported.
    fn digests(&self, config: &Config) -> Result<BTreeMap<String, Digest>, Errors> {
        match self {
            Self::Rollback { .. } => Ok(BTreeMap::new()),
            Self::Promote { digests, .. } => parse_digests(digests, config),
        }
    }

    /// Parses the arguments, with `text` as the revision. Sends no request.
    pub(super) fn parse(&self, text: &str, config: &Config) -> Result<ParsedGoal, Errors> {
        let digests = self.digests(config)?;
        Ok(ParsedGoal {
            operation: self.operation(),
            revision: RequestedRevision::parse(config, text)?,
            digests,
            overrides: self.overrides(),
        })
    }
}

impl ParsedGoal {
    /// Reads the full revision from the images if it is abbreviated. `files`: those with the pins.
    pub(super) fn request(
        self,
        files: &dyn Files,
        config: &Config,
        services: &Services,
    ) -> Result<Request, Stop> {
        let (operation, digests) = (self.operation, &self.digests);
        let expanded = (self.revision).expand(operation, digests, Some(files), config, services);
        let (revision, tag) = expanded?;
        Ok(Request {
            operation: self.operation,
            revision,
            tag,
            digests: self.digests,
            overrides: self.overrides,
            changes: ChangeParts::None,
            only_read_contents: true,
        })
    }
}

impl Request {
    /// The request of a fleet, which overrides no refusal.
    pub(super) fn for_fleet(operation: Operation, revision: &Revision, tag: &TagPattern) -> Self {
        Self {
            operation,
            revision: revision.clone(),
            tag: tag.clone(),
            digests: BTreeMap::new(),
            overrides: Overrides::default(),
            changes: ChangeParts::None,
            only_read_contents: true,
        }
    }

    pub(super) fn with_changes(self, options: &Options, config: &Config) -> Self {
        Self {
            changes: options.changes(config),
            only_read_contents: options.selected_changes(config).is_none(),
            ..self
        }
    }

    /// The digest that each image's tag must resolve to, in the order of the configuration: the one
    /// that the build reported, or that `promoted` pinned.
    pub(super) fn targets(
        &self,
        config: &Config,
        found: &FoundPins,
        promoted: Option<&Promoted>,
    ) -> Vec<Target> {
        let expected = |image: &Image| match self.operation {
            Operation::Promotion => {
                let digest = self.digests.get(&image.name)?;
                Some(Expected::HandedOver(*digest))
            }
            // The promoted set contains only images with pins.
            Operation::Rollback => PinnedDigest::of(&image.name, promoted?).map(Expected::Pinned),
        };
        let images = config.images.iter().enumerate();
        images
            .map(|(at, image)| Target {
                tag: self.tag.clone(),
                expected: expected(image),
                pinned: found.digests_of(at),
                pinned_tags: found.tags_of(at),
                by_digest: self.overrides.by_digest,
            })
            .collect()
    }
}

/// Checks that an image with this name is configured. `origin`: the prefix of the message.
pub(crate) fn check_image_name(config: &Config, name: &str, origin: &str) -> Result<(), Error> {
    if config.image(name).is_some() {
        return Ok(());
    }
    let names: Vec<_> = config.images.iter().map(|image| &*image.name).collect();
    let names = names.join(", ");
    let message = format!("{origin}unknown image `{name}`; configured: {names}");
    Err(Error::input(Code::USAGE, message))
}

/// Parses the digests that builds reported, `NAME=DIGEST`.
fn parse_digests(texts: &[String], config: &Config) -> Result<BTreeMap<String, Digest>, Errors> {
    let mut digests = BTreeMap::new();
    for text in texts {
        let (name, digest) = text
            .split_once('=')
            .ok_or_else(|| usage(format!("--digest {text}: expected NAME=DIGEST")))?;
        check_image_name(config, name, "--digest: ")?;
        let digest = Digest::parse_input(digest)
            .map_err(|error| usage(format!("--digest {name}: {error}")))?;
        let former = digests.insert(name.to_owned(), digest);
        if former.is_some_and(|former| former != digest) {
            return Err(usage(format!("--digest: duplicate digest for `{name}`")));
        }
    }
    Ok(digests)
}
