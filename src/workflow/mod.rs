//! The application that the commands share: the engine of promotions and rollbacks, and the services
//! of a run.
//!
//! [`run`] takes a [`Goal`] through the engine and returns the result; the command line parses the
//! arguments and prints. Nothing here prints: messages that cannot wait go to a [`Console`]. Nothing here
//! reads the process's environment: it comes in as an [`Environment`].

mod approval;
pub mod backends;
mod base_forge;
pub mod base_policy;
pub mod ci;
pub mod closing;
mod commit;
pub mod connection;
mod console;
pub mod contents;
mod contracts;
mod document;
mod engine;
mod environment;
pub mod fleet;
pub mod globs;
mod history;
mod images;
mod interruption;
pub mod on_forge;
mod panics;
mod publication;
mod publish;
pub mod pulls;
mod repositories;
mod request;
mod revision;
mod services;
mod session;
mod set;
pub mod set_diffs;
mod settings;
mod site;
mod smoke;
mod tags;
pub mod trust;

use std::{fs, io::Read as _, path::Path};

pub use approval::{Candidate, candidate};
pub use connection::{
    Access, FleetForge, Unconfigured, connect, connect_or_skip, fleet_reader, no_token,
};
pub use console::{Console, Progress};
pub use contracts::Contracts;
pub use document::Finished;
use document::Template;
use engine::{Planned, Standards};
pub use environment::{Environment, Terminals};
pub use history::{Line, SiteHistory, Standing, line};
pub use interruption::{Event, Interruption};
pub use publication::{not_scheduled, not_yet};
use publish::CarriedPull;
pub use publish::{Done, warn_of_silent_checks};
pub use repositories::{OtherRepository, scratch};
use request::Request;
pub use request::{Goal, Intent, OpenRequest, Options, configured};
pub use revision::revision;
pub use services::Services;
pub use session::{lock, warn_if_interrupted};
pub use set::{SetVerdict, verified_set};
pub use settings::parse_mappings;
use site::{Opened, Site};
pub use tags::resolve;
use trust::Trust;

use crate::{
    checks::{Check, Stopped},
    code::Code,
    config::{Config, Operation},
    error::{Class, Error, Errors},
    files::{Files, WorkTree},
    plan::PlanError,
    report::{
        body, diff,
        json::{Diff, ImageRow, PlanDocument},
    },
};

/// How often a pull request is planned if the base branch keeps moving.
const ATTEMPTS: usize = 3;

/// The reason why a run stopped early.
enum Stop {
    /// A stage of the chain.
    Chain(Stopped),
    /// The planner's count.
    Count(Vec<Check>),
    /// A token or a secret is missing, and the run may be skipped.
    Unconfigured(String),
    /// The base branch has moved since the plan was made.
    BaseMoved,
    /// Anything else.
    Errors(Errors),
}

impl From<Stopped> for Stop {
    fn from(stopped: Stopped) -> Self {
        Self::Chain(stopped)
    }
}

impl From<Errors> for Stop {
    fn from(errors: Errors) -> Self {
        Self::Errors(errors)
    }
}

impl From<PlanError> for Stop {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Counts(checks) => Self::Count(checks),
            PlanError::Read(error) => Self::Errors(error.into()),
        }
    }
}

/// Promotes a set or rolls back to one. Plans a pull request again if the base branch moved during
/// the run. Returns an error if the run has no set to report on.
pub fn run(
    goal: &Goal,
    options: &Options,
    config: &Config,
    services: &Services,
) -> Result<Finished, Errors> {
    goal.checked(config)?;
    for _ in 1..ATTEMPTS {
        if let Attempt::Finished(finished) = attempt(goal, options, config, services)? {
            return Ok(finished);
        }
        services
            .console
            .note("note: the base branch moved during the run; planning again");
    }
    match attempt(goal, options, config, services)? {
        Attempt::Finished(finished) | Attempt::BaseMoved(finished) => Ok(finished),
    }
}

/// How one attempt ended.
enum Attempt {
    /// It is the result of the run.
    Finished(Finished),
    /// The base branch has moved since the plan was made.
    BaseMoved(Finished),
}

fn attempt(
    goal: &Goal,
    options: &Options,
    config: &Config,
    services: &Services,
) -> Result<Attempt, Errors> {
    let (intent, unconfigured) = (options.intent, options.unconfigured);
    let opened = Site::open(config, goal.operation(), intent, unconfigured, services)?;
    let mut site = match opened {
        Opened::Site(site) => *site,
        Opened::Stopped(stop) => {
            let request = goal.checked(config)?;
            // A malformed file of the configuration is an error even if the run is skipped.
            let files = WorkTree::new(&config.root);
            template(config, &files)?;
            read_standards(request.operation, config, &files, services)?;
            let document = document::unplanned(&request, config, images::declared(config));
            let carried = CarriedPull::stopped(Done::Nothing, stop);
            return Ok(Attempt::ended(config.clone(), document, carried));
        }
    };
    site.config.counts_pins()?;
    let request = goal.checked(&site.config)?;
    let template = template(&site.config, site.files())?;
    let mut rows = images::declared(&site.config);
    let planned = plan_of(&request, &site, unconfigured, services, &mut rows)?;
    let unplanned = document::unplanned(&request, &site.config, rows);
    let planned = match planned {
        Ok(planned) => planned,
        Err(stop) => {
            let carried = CarriedPull::stopped(Done::Nothing, stop);
            return Ok(Attempt::ended(site.config, unplanned, carried));
        }
    };
    let mut document = document::planned(unplanned, &planned);
    document.diff = Some(Diff(diff::unified(planned.plan.changes()).into()));
    let body = document::body(&document, &planned.beside, template.as_ref());
    let written = body.and_then(|body| {
        write_files(options, document.diff_bytes(), &body, services)?;
        document.body = Some(body);
        Ok(())
    });
    let carried = match written {
        Ok(()) => publish::carry_out(&document, &planned, &mut site, services),
        Err(errors) => CarriedPull::stopped(Done::Nothing, errors.into()),
    };
    Ok(Attempt::ended(site.config, document, carried))
}

/// Takes a set through the engine; an error means that the configuration or a file that it refers to
/// is malformed.
fn plan_of(
    request: &Request,
    site: &Site,
    unconfigured: Unconfigured,
    services: &Services,
    rows: &mut [ImageRow],
) -> Result<Result<Planned, Stop>, Errors> {
    let (contracts, trust) =
        read_standards(request.operation, &site.config, site.files(), services)?;
    let standards = Standards {
        contracts: &contracts,
        trust: trust.as_ref(),
    };
    Ok(engine::plan(
        request,
        &standards,
        site,
        unconfigured,
        services,
        rows,
    ))
}

/// Reads the standards of the images: the contracts, and the policy of signers with its keys and roots.
fn read_standards<'c>(
    operation: Operation,
    config: &'c Config,
    files: &dyn Files,
    services: &Services,
) -> Result<(Contracts, Option<Trust<'c>>), Errors> {
    let prefix = services.environment.path_to(&config.root);
    let contracts = Contracts::read(config, files, &prefix);
    if operation == Operation::Promotion {
        contracts.well_formed(config)?;
    }
    let trust = Trust::read(config, files)?;
    trust::since_exists(config)?;
    if let Some(trust) = &trust {
        trust.warn_of_old_roots(services);
    }
    Ok((contracts, trust))
}

impl Attempt {
    fn ended(config: Config, document: PlanDocument, carried: CarriedPull) -> Self {
        let moved = matches!(carried.stop, Some(Stop::BaseMoved));
        let finished = Finished::new(config, document, carried);
        if moved {
            Self::BaseMoved(finished)
        } else {
            Self::Finished(finished)
        }
    }
}

/// Reads the template of the body.
fn template(config: &Config, files: &dyn Files) -> Result<Option<Template>, Errors> {
    let Some(path) = &config.report.template else {
        return Ok(None);
    };
    let unreadable = |reason: String| {
        let error = Error::input(Code::TEMPLATE, format!("cannot read {path}: {reason}"));
        Errors::from(error.help("correct `report.template`, or make the file readable"))
    };
    let mut bytes = Vec::new();
    let opened = files.open(path).map_err(|error| error.error);
    opened
        .and_then(|file| file.take(body::TEMPLATE_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > body::TEMPLATE_MAX {
        return Err(unreadable("larger than 1 MiB".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_| unreadable("not UTF-8".to_owned()))?;
    let name = path.to_string();
    Ok(Some(Template { name, text }))
}

/// Writes the files that the caller named; output for standard output is printed at the end.
fn write_files(
    options: &Options,
    diff: &[u8],
    body: &str,
    services: &Services,
) -> Result<(), Errors> {
    let files = [
        (&options.diff_file, diff),
        (&options.body_file, body.as_bytes()),
    ];
    for (file, content) in files {
        let Some(file) = file.as_ref().filter(|file| *file != Path::new("-")) else {
            continue;
        };
        let path = services.environment.directory().join(file);
        let unwritable = |error| Errors::io(format!("cannot write {}: {error}", file.display()));
        fs::write(path, content).map_err(unwritable)?;
    }
    Ok(())
}

fn kept_moving() -> Errors {
    let message = format!(
        "the base branch moved {ATTEMPTS} times while a pull request was planned against it"
    );
    Errors::from(
        Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help("run the command again"),
    )
}
