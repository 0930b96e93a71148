//! The pipeline of `promote` and `rollback`: a sequence of stages, each of which takes the values
//! of the previous one.
//!
//! ```text
//! workspace ─► pins ─► history ─► tags ─► signatures ─► contents ─► smoke ─► plan
//! ```
//!
//! A stage gathers its facts just before they are judged, so that a typo costs no request. The two
//! commands differ in what history must prove, and in the standards of the images. The pipeline
//! changes nothing, except that it first recovers from an interrupted run.

use super::{
    Contracts, History, Options, Services, Stop, Workspace,
    contracts::{self, KindsOfPlatforms, Then},
    images,
    request::{Goal, Proof, Request},
    session,
    smoke::SmokeStage,
    tags,
    trust::{self, Trust},
};
use crate::{
    apply::Session,
    checks::{self, Approved, Counted, Ordered, Proven, Resolution, Resolved, Signed, Stopped},
    config::Config,
    error::Errors,
    history::{self, Hold, Promoted},
    pins::Found,
    plan::Plan,
    report::{
        body::{Beside, Undone},
        json::ImageRow,
    },
    untrusted::plain,
};

/// A set that may be promoted or rolled back to, and what would change.
pub(super) struct Planned {
    pub(super) images: Vec<ImageRow>,
    pub(super) approved: Approved,
    pub(super) plan: Plan,
    /// What the pull request body shows in addition to the plan.
    pub(super) beside: Beside,
    /// The lock of the work tree, if the run may change it.
    pub(super) session: Option<Session>,
}

/// The reason why a run stopped before it had a plan, and what was known about the images by then.
pub(super) struct Halt {
    pub(super) images: Vec<ImageRow>,
    pub(super) stop: Stop,
}

/// Adds what was known about the images to the reason why a stage stopped.
trait OrHalt<T> {
    fn or_halt(self, images: &[ImageRow]) -> Result<T, Halt>;
}

impl<T, E: Into<Stop>> OrHalt<T> for Result<T, E> {
    fn or_halt(self, images: &[ImageRow]) -> Result<T, Halt> {
        self.map_err(|stop| Halt {
            images: images.to_vec(),
            stop: stop.into(),
        })
    }
}

/// What images are held against beside the configuration.
pub(super) struct Standards<'s> {
    /// What they must contain.
    pub(super) contracts: &'s Contracts,
    /// Who must have signed them, if anyone must.
    pub(super) trust: Option<&'s Trust<'s>>,
}

/// Takes a set through every stage.
pub(super) fn run(
    goal: &Goal,
    request: &Request,
    standards: &Standards<'_>,
    workspace: &Workspace,
    options: &Options,
    services: &Services,
) -> Result<Planned, Halt> {
    let (config, contracts) = (&workspace.config, standards.contracts);
    let rows = images::declared(config);
    workspace.configured().or_halt(&rows)?;
    let smoke = SmokeStage::prepare(config, options.unconfigured, services).or_halt(&rows)?;
    let session = session::begin(config, options.intent, goal.kind(), services);
    let session = session.or_halt(&rows)?;

    let history = History::begin(workspace, services);
    let (found, mut further) = workspace.look(request.direction()).or_halt(&rows)?;
    if let Proof::Newer { .. } = request.proof {
        further.extend(contracts.failures(config));
    }
    let rows = images::counted(rows, config, &found);
    let chain = Counted::new(config, &request.revision, &found, further).or_halt(&rows)?;

    warn_of_hold(request, &history, services);
    let chain = Grounded::of(chain, request, &history, &found).or_halt(&rows)?;
    let targets = request.targets(config, &found, chain.promoted());
    let resolutions = tags::resolve(config, targets, services).or_halt(&rows)?;
    let rows = images::resolved(rows, &resolutions, config);
    let chain = chain.resolved(&resolutions, &history).or_halt(&rows)?;
    let force = match trust::force_of(config, &chain, &history) {
        Ok(force) => force,
        Err(outage) => return Err(chain.stop(outage)).or_halt(&rows),
    };
    let signed = trust::signed(
        chain,
        standards.trust,
        config,
        &request.revision,
        force,
        services,
    );
    let (chain, evidence) = signed.or_halt(&rows)?;
    let rows = images::verified(rows, evidence);

    let chain = match request.proof {
        Proof::Newer { .. } => {
            let standards = contracts.standards(config);
            contracts::inspected(chain, config, &standards, services)
        }
        Proof::Promoted => inspected_as_then(chain, contracts, &history, config, services),
    };
    let tried = chain.and_then(|(chain, _)| Ok(smoke.run(chain, config, services)?));
    let approved = tried.and_then(|stage| Ok(stage.done()?));
    let approved = approved.or_halt(&rows)?;

    let beside = beside(&approved, request, &history, &found, config, services);
    let beside = beside.or_halt(&rows)?;
    let plan = Plan::new(&approved, config, workspace.files(), &found).or_halt(&rows)?;
    Ok(Planned {
        images: rows,
        approved,
        plan,
        beside,
        session,
    })
}

/// Warns of a way back to a set that a rollback left.
fn warn_of_hold(request: &Request, history: &History<'_>, services: &Services) {
    // Why there is no history is reported where it decides.
    if let (Proof::Promoted, Ok(known)) = (&request.proof, history.known())
        && let Hold::Held { rollback, .. } = known.held(&request.revision)
    {
        services.console.warn(&format!(
            "set {} was rolled back by commit {} on {}: this returns to it",
            plain(request.revision.as_str()),
            rollback.commit.short(),
            plain(&rollback.date)
        ));
    }
}

/// A chain whose set has the required history.
enum Grounded<'c, 'h> {
    /// The set is newer than the current one, and not held.
    Newer(Ordered<'c>),
    /// The set was promoted before.
    Promoted(Proven<'c>, &'h history::History),
}

impl<'c, 'h> Grounded<'c, 'h> {
    /// The stage of history.
    fn of(
        chain: Counted<'c>,
        request: &Request,
        history: &'h History<'_>,
        found: &Found,
    ) -> Result<Self, Stopped> {
        match &request.proof {
            Proof::Newer { overruled, .. } => match history.past(&request.revision, found) {
                Ok(past) => Ok(Self::Newer(chain.ordered(&past, *overruled)?)),
                Err(outage) => Err(chain.stop(outage)),
            },
            Proof::Promoted => match history.known() {
                Ok(known) => {
                    let chain = chain.proven(&known.provenance(&request.revision))?;
                    Ok(Self::Promoted(chain, known))
                }
                Err(outage) => Err(chain.stop(outage)),
            },
        }
    }

    /// The promoted set, if the title of a commit names it.
    fn promoted(&self) -> Option<&Promoted> {
        match self {
            Self::Newer(_) => None,
            Self::Promoted(chain, _) => chain.promoted(),
        }
    }

    /// The stage of the source: resolves every tag.
    fn resolved(
        self,
        resolutions: &[Resolution],
        history: &History<'_>,
    ) -> Result<Resolved<'c>, Stopped> {
        match self {
            Self::Newer(chain) => chain.resolved(resolutions, |digests| history.held_set(digests)),
            Self::Promoted(chain, known) => {
                chain.resolved(resolutions, |digests| known.provenance_of(digests))
            }
        }
    }
}

/// The stage of contents in a rollback: checks images against the contracts of the commit that
/// promoted them.
fn inspected_as_then<'c>(
    chain: Signed<'c>,
    contracts: &Contracts,
    history: &History<'_>,
    config: &'c Config,
    services: &Services,
) -> Result<(checks::Inspected<'c>, KindsOfPlatforms), Stop> {
    match Then::read(history, config, chain.promoted()) {
        Ok(then) => {
            let standards = contracts.standards_then(config, &then);
            contracts::inspected(chain, config, &standards, services)
        }
        Err(outage) => Err(chain.stop(outage).into()),
    }
}

/// What the pull request body shows in addition to the plan: the current set, and in a rollback the
/// sets that it undoes.
fn beside(
    approved: &Approved,
    request: &Request,
    history: &History<'_>,
    found: &Found,
    config: &Config,
    services: &Services,
) -> Result<Beside, Errors> {
    let revision_now = history.revision_now(found);
    let beside = Beside {
        revision_now: revision_now.map(|revision| revision.to_string()),
        ..Beside::default()
    };
    match (&request.proof, history.known()) {
        (Proof::Promoted, Ok(known)) => {
            let undone = known.since(&approved.pinned_digests(config));
            Ok(Beside {
                undone: undone.unwrap_or_default().iter().map(Undone::of).collect(),
                labels_now: tags::current_labels(config, found, services)?,
                ..beside
            })
        }
        _ => Ok(beside),
    }
}
