//! The application that the commands share: the engine of promotions and rollbacks, and the services
//! of a run.
//!
//! [`run`] takes a [`Goal`] through the engine and returns the result; the command line parses the
//! arguments and prints. This module prints nothing: messages during a run go to a [`Console`]. It does
//! not read the environment of the process either: the command line passes an [`Environment`].

mod approval;
mod base_forge;
pub(crate) mod base_policy;
mod caches;
pub(crate) mod ci;
mod commit;
pub(crate) mod connection;
mod console;
mod contracts;
mod document;
mod engine;
mod environment;
mod execution;
pub(crate) mod fleet;
mod forge_overview;
mod history;
pub(crate) mod image_contents;
mod image_rows;
mod interruption;
mod open_pulls;
pub(crate) mod pin_rules;
pub(crate) mod prune_backend;
mod publication;
pub(crate) mod pull_limit;
mod repositories;
mod request;
mod revision;
mod services;
mod session;
pub(crate) mod set_diffs;
mod settings;
pub(crate) mod signatures;
mod site;
mod smoke;
mod tags;
pub(crate) mod trust;
mod verified_set;

use std::{fs, io::Read as _, path::Path};

pub(crate) use approval::{Candidate, candidate};
pub(crate) use connection::{
    Access, FleetForge, Unconfigured, connect, connect_or_skip, fleet_reader, no_token_error,
};
pub(crate) use console::{Console, Progress};
pub(crate) use contracts::Contracts;
pub(crate) use document::RunResult;
use document::Template;
use engine::{Planned, Standards};
pub(crate) use environment::{Environment, Terminals};
pub(crate) use execution::{Effect, warn_of_silent_checks};
use execution::{Execution, Executor};
pub(crate) use forge_overview::{ForgeOverview, forge_overview};
pub(crate) use history::{BranchRole, HistoryBranch, SiteHistory, history_branch, known_history};
pub(crate) use interruption::{Event, Interruption};
pub(crate) use open_pulls::open_pulls;
pub(crate) use publication::{held_merge, merge_pending_warning, merge_refused_error};
pub(crate) use repositories::{OtherRepository, temporary_directory};
use request::Request;
pub(crate) use request::{Goal, Intent, OpenRequest, Options, check_image_name};
pub(crate) use revision::revision;
pub(crate) use services::Services;
pub(crate) use session::{lock, warn_if_interrupted};
pub(crate) use settings::parse_mappings;
use site::{BranchSite, Site, WorkTreeChange, WorkTreeSite};
pub(crate) use tags::resolve_tags;
use trust::Trust;
pub(crate) use verified_set::{SetVerdict, verified_set};

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

/// The cause of an early stop.
enum Stop {
    /// A stage of the chain refused the set.
    Chain(Stopped),
    /// The planner counted other pins.
    Count(Vec<Check>),
    /// A token or a secret is missing, and the run may be skipped.
    Unconfigured(String),
    /// The base branch moved after it was read.
    BaseMoved,
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

/// Promotes a set or rolls back to one. Repeats the planning of a pull request if the base branch
/// moved during the run. Returns an error if the run has no set to report on.
pub(crate) fn run(
    goal: &Goal,
    options: &Options,
    config: &Config,
    services: &Services,
) -> Result<RunResult, Errors> {
    goal.request(config)?;
    for _ in 1..ATTEMPTS {
        let (config, document, execution) = attempt(goal, options, config, services)?;
        if !matches!(execution.stop, Some(Stop::BaseMoved)) {
            return Ok(RunResult::new(config, document, execution));
        }
        services
            .console
            .note("note: the base branch moved during the run; planning again");
    }
    let (config, document, execution) = attempt(goal, options, config, services)?;
    Ok(RunResult::new(config, document, execution))
}

/// Plans the change and carries it out once. Returns the configuration at the site, the document and the
/// effect.
fn attempt(
    goal: &Goal,
    options: &Options,
    config: &Config,
    services: &Services,
) -> Result<(Config, PlanDocument, Execution), Errors> {
    let stopped = |stop| Execution::stopped(Effect::Nothing, stop);
    let mut site = match open_site(goal.operation(), options, config, services)? {
        Ok(site) => site,
        Err(stop) => {
            let request = goal.request(config)?;
            // A malformed file of the configuration is an error even if the run is skipped.
            let files = WorkTree::new(&config.root);
            template(config, &files)?;
            read_standards(request.operation, config, &files, services)?;
            let document = document::unplanned(&request, config, image_rows::declared(config));
            return Ok((config.clone(), document, stopped(stop)));
        }
    };
    let config = site.config().clone();
    config.counts_pins()?;
    let request = goal.request(&config)?;
    let template = template(&config, site.files())?;
    let mut rows = image_rows::declared(&config);
    let planned = plan(&request, &*site, options.unconfigured, services, &mut rows)?;
    let unplanned = document::unplanned(&request, &config, rows);
    let planned = match planned {
        Ok(planned) => planned,
        Err(stop) => return Ok((config, unplanned, stopped(stop))),
    };
    let mut document = document::planned(unplanned, &planned);
    document.diff = Some(Diff(diff::unified(planned.plan.changes()).into()));
    let body = document::render_body(&document, &planned.body_context, template.as_ref());
    let body = body.and_then(|body| {
        write_files(options, document.diff_bytes(), &body, services)?;
        Ok(body)
    });
    let execution = match body {
        Ok(body) => {
            document.body = Some(body);
            site.carry_out(&planned, &document, services)
        }
        Err(errors) => stopped(errors.into()),
    };
    Ok((config, document, execution))
}

/// Opens the site that the run requires: the work tree, or the base branch on the forge. A run that
/// changes the work tree takes its lock and recovers from an interrupted run before any file is read.
fn open_site(
    operation: Operation,
    options: &Options,
    config: &Config,
    services: &Services,
) -> Result<Result<Box<dyn Executor>, Stop>, Errors> {
    let open = match options.intent {
        Intent::Show => {
            warn_if_interrupted(config, &*services.console);
            return Ok(Ok(Box::new(WorkTreeSite::new(config, None))));
        }
        Intent::Apply { commit } => {
            return Ok(match session::begin(config, operation.as_str(), services) {
                Ok(session) => {
                    let change = WorkTreeChange { session, commit };
                    Ok(Box::new(WorkTreeSite::new(config, Some(change))))
                }
                Err(errors) => Err(errors.into()),
            });
        }
        Intent::ShowPullRequest => None,
        Intent::OpenPullRequest(request) => Some(request),
    };
    match BranchSite::open(config, open, services)? {
        Access::NoToken(reason) if options.unconfigured == Unconfigured::Skips => {
            Ok(Err(Stop::Unconfigured(reason)))
        }
        access => Ok(Ok(Box::new(access.granted()?))),
    }
}

/// Loads the standards and takes a set through the engine. Returns an error if the configuration or
/// a file that it refers to is malformed.
fn plan(
    request: &Request,
    site: &dyn Site,
    unconfigured: Unconfigured,
    services: &Services,
    rows: &mut [ImageRow],
) -> Result<Result<Planned, Stop>, Errors> {
    let (contracts, trust) =
        read_standards(request.operation, site.config(), site.files(), services)?;
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

/// Loads the standards of the images: the contracts, and the policy with its keys and roots.
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
    signatures::check_since(config)?;
    if let Some(trust) = &trust {
        trust.warn_of_old_roots(services);
    }
    Ok((contracts, trust))
}

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

/// Writes the files of the options. Output for standard output (`-`) is printed at the end.
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
        fs::write(path, content)
            .map_err(|error| Errors::io(format!("cannot write {}: {error}", file.display())))?;
    }
    Ok(())
}

fn base_kept_moving() -> Errors {
    let message = format!(
        "the base branch moved {ATTEMPTS} times while a pull request was planned against it"
    );
    Errors::from(
        Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help("run the command again"),
    )
}
