//! One set for many repositories: each becomes a site for the engine, without a clone, and receives a pull
//! request if requested.
//!
//! ```text
//! list ─► survey (batches) ─► files ─► contents (groups) ─► four at a time: history ─► engine
//!                                                                 └─► one after another: pull request
//! ```
//!
//! The set is verified once. A repository causes a request to a registry only if its commits and its
//! history do not show the order of builds: then a pinned image is read once for all repositories.
//! Batched requests only prefetch; at most four repositories are processed concurrently. Pull requests
//! are opened in the order of the list, never during prefetching. The failure of one repository never
//! stops the work on another.

pub(crate) mod close;
mod member;
mod open;
mod outcome;
mod plan;
mod stages;
mod walk;

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
};

use super::{
    FleetForge, Services, SetVerdict, Stop, build_order::BuildOrder, request::Request,
    revision::full_revision_of, verified_set,
};
use crate::{
    app::fleet::{FleetDocument, FleetLine, ListEntry, ShardRun, config_sha256},
    base::{
        error::{Code, Error, Errors},
        files::WorkTree,
        http::{RequestPacer, Shard},
    },
    config::{self, Config, Fleet, Operation, SetPath},
    core::checks::{Check, Expectation, Stopped, TrustedSet},
    forge::{Readiness, fleet::FleetReader},
    git::Git,
    oci::{Digest, Revision},
};

/// The maximum number of repositories that are read concurrently.
const CONCURRENT: usize = 4;

/// The document of a set, and its expected hash.
#[derive(Debug, Clone)]
pub(crate) struct SetFile {
    /// The name of the file, for messages.
    pub name: String,
    pub bytes: Vec<u8>,
    /// The hash from the job that verified the set.
    pub sha256: Digest,
}

/// The request to make a set current in a part of a fleet.
#[derive(Debug)]
pub(crate) struct FleetRequest {
    pub operation: Operation,
    /// The revision, as typed.
    pub revision: String,
    /// The repositories of the shard, in the order of the list.
    pub repositories: Vec<ListEntry>,
    /// The hash of the whole list.
    pub list_sha256: Digest,
    pub shard: Shard,
    /// The document of a verified set; without it, the set is verified first.
    pub set: Option<SetFile>,
    /// The state of new pull requests; `None` to open none.
    pub open: Option<Readiness>,
    /// The maximum number of new pull requests per minute, of all shards.
    pub pace: u32,
    /// The maximum number of new pull requests.
    pub limit: Option<usize>,
    /// The number of failures after which no further repository is begun.
    pub max_failures: Option<usize>,
}

/// The result of the work on a part of a fleet.
pub(crate) enum FleetRun {
    Finished(Box<FleetDocument>),
    Refused {
        /// Every check up to and including the stage that refused it.
        checks: Vec<Check>,
        /// The errors that prevented checks.
        errors: Vec<Error>,
    },
}

/// Receives the line of each repository as soon as it is finished.
pub(crate) type Recorder<'r> = &'r mut dyn FnMut(&FleetLine) -> Result<(), Errors>;

/// The work on a part of a fleet.
struct Walk<'w> {
    request: &'w FleetRequest,
    /// The fleet's configuration with the set path of its repositories, and its block `fleet`.
    fleet: &'w Config,
    rules: Fleet,
    set: &'w TrustedSet,
    revision: &'w Revision,
    /// The request to the engine, the same for every repository.
    set_request: Request,
    forge: &'w FleetForge,
    reader: FleetReader,
    builds: BuildOrder<'w>,
    pace: RequestPacer,
    services: &'w Services,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    /// New pull requests, or those that a dry run would open.
    opened: Cell<usize>,
    failures: Cell<usize>,
    done: Cell<usize>,
    /// Requests about multiple repositories, which count for the next line.
    shared: Cell<u64>,
    /// The subjects of printed notes. A second planning of a repository repeats none.
    noted: RefCell<HashSet<String>>,
}

/// The properties that a trusted set must have.
struct SetRules<'s> {
    config: &'s Config,
    config_sha256: Digest,
    revision: &'s Revision,
}

/// Makes the set current in the repositories. An error means that no repository was begun, or that a
/// line could not be recorded.
pub(crate) fn run(
    request: &FleetRequest,
    config: &Config,
    services: &Services,
    record: Recorder<'_>,
) -> Result<FleetRun, Errors> {
    let rules = config.fleet.clone().ok_or_else(no_fleet)?;
    let fleet = of_members(config)?;
    let (revision, tag) = match full_revision_of(config, &request.revision, services) {
        Ok(full) => full,
        Err(Stop::Chain(Stopped { checks, errors })) => {
            return Ok(FleetRun::Refused { checks, errors });
        }
        Err(stop) => return Err(stop.into_parts().1.into()),
    };
    let expected = SetRules {
        config,
        config_sha256: config_sha256(config, &WorkTree::new(&config.root))?,
        revision: &revision,
    };
    // A document with another hash is refused before any request.
    let trusted = match &request.set {
        Some(file) => Some(expected.trust(file)?),
        None => None,
    };
    let timer = services.environment.pacing.clone();
    let pace = RequestPacer::new(request.shard, request.pace, timer);
    let git = Git::discover(&config.root).map_err(Error::from)?;
    let configured = config.forge_or_default();
    let forge =
        FleetForge::new(&configured, git.as_ref(), Some(pace.clone()), services)?.granted()?;
    let set = match trusted {
        Some(set) => set,
        None => match verified_set(config, revision.as_str(), services)? {
            SetVerdict::Refused { checks, errors } => {
                return Ok(FleetRun::Refused { checks, errors });
            }
            SetVerdict::Verified(document) => {
                let bytes = document
                    .bytes()
                    .map_err(|error| Errors::io(error.to_string()))?;
                expected.trust(&SetFile {
                    name: "the set".to_owned(),
                    sha256: Digest::of(&bytes),
                    bytes,
                })?
            }
        },
    };
    // The verification of the set does not shorten the time of the fleet.
    services.forge_deadline.restart();
    let run = ShardRun {
        revision: revision.to_string(),
        list_sha256: request.list_sha256.hex(),
        set_sha256: Some(set.sha256().hex()),
        shard: request.shard.number.into(),
        shards: request.shard.count.into(),
    };
    let walk = Walk {
        request,
        fleet: &fleet,
        reader: forge.reader()?,
        builds: BuildOrder::new(config, None, services),
        rules,
        set: &set,
        revision: &revision,
        set_request: Request::for_fleet(request.operation, &revision, &tag),
        forge: &forge,
        pace,
        services,
        counts: Counts::default(),
    };
    let rows = walk.run(&run, record)?;
    Ok(FleetRun::Finished(Box::new(FleetDocument::from_shard(
        &run, rows,
    ))))
}

impl SetRules<'_> {
    /// Trusts a set by the hash of its bytes.
    fn trust(&self, file: &SetFile) -> Result<TrustedSet, Error> {
        let expected = Expectation {
            sha256: file.sha256,
            config_sha256: self.config_sha256,
            revision: self.revision,
        };
        TrustedSet::parse(&file.name, &file.bytes, &expected, self.config)
    }
}

/// The fleet's configuration with the set path of its repositories: branches and titles contain their
/// set key, not that of the fleet's own file.
fn of_members(fleet: &Config) -> Result<Config, Errors> {
    let rules = fleet.fleet.clone().unwrap_or_default();
    let set = SetPath::from(rules.config);
    Ok(Config {
        file: fleet.file.clone(),
        ..config::parse(&fleet.source_text, &fleet.root, &set)?
    })
}

fn no_fleet() -> Errors {
    let problem = Error::input(Code::CONFIG, "the configuration has no `fleet` block");
    Errors::from(
        problem.help("add `fleet: {}` and `source: OWNER/NAME`, as docs/fleet.md shows them"),
    )
}
