//! The engine of promotions and rollbacks: takes a set through the chain at one site.
//!
//! ```text
//! site ─► pins ─► history ─┬─► tags ─► signatures ─► contents ─► smoke ─┬─► plan
//!                          └─► a set that another run verified ─────────┘
//! ```
//!
//! A stage gathers its facts just before they are judged, so that a typo costs no request. Promotion and
//! rollback differ in what history must prove, and in the standards of the images. The engine changes
//! nothing.

use super::{
    Contracts, Services, SiteHistory, Stop, Unconfigured,
    contracts::{self, ContractsThen},
    globs, images,
    request::Request,
    site::Site,
    smoke::SmokeStage,
    tags,
    trust::{self, Trust},
};
use crate::{
    checks::{Approved, Check, Counted, HistoryChecked, TrustedImages},
    config::{Config, Operation},
    history::Hold,
    pins::Found,
    plan::Plan,
    report::{
        body::{Beside, Undone},
        json::ImageRow,
    },
    untrusted::plain,
};

/// A set that may be promoted or rolled back to, and the change that makes it current.
pub(super) struct Planned {
    pub(super) approved: Approved,
    pub(super) plan: Plan,
    /// Facts that the pull request body shows in addition to the plan.
    pub(super) beside: Beside,
}

/// A set with counted pins.
pub(super) struct CountedSet<'c> {
    chain: Counted<'c>,
    pub(super) found: Found,
}

/// The standards of images in addition to the configuration.
pub(super) struct Standards<'s> {
    /// The required contents.
    pub(super) contracts: &'s Contracts,
    /// The required signers, if any.
    pub(super) trust: Option<&'s Trust<'s>>,
}

/// How the images of a set are verified.
pub(super) enum Verification<'v> {
    /// By this run.
    Now {
        standards: &'v Standards<'v>,
        smoke: &'v SmokeStage,
        services: &'v Services,
    },
    /// By another run, whose document this run trusts.
    Before(TrustedImages),
}

/// Takes a set through every stage at a site with a clone. `rows` receives what is known about the
/// images, also if a stage stops the run.
pub(super) fn plan(
    request: &Request,
    standards: &Standards<'_>,
    site: &Site,
    unconfigured: Unconfigured,
    services: &Services,
    rows: &mut [ImageRow],
) -> Result<Planned, Stop> {
    let smoke = SmokeStage::prepare(&site.config, unconfigured, services)?;
    let (found, checks) = site.pins(request.operation)?;
    let contracts = Some(standards.contracts);
    let counted = count(request, contracts, &site.config, found, checks, rows)?;
    let history = site.history(services);
    warn_of_hold(request, &history, services);
    let verification = Verification::Now {
        standards,
        smoke: &smoke,
        services,
    };
    judge(request, counted, &history, verification, site, rows)
}

/// Counts the pins of a site; `further`: the checks of its files. The contracts of a promotion must be
/// satisfiable.
pub(super) fn count<'c>(
    request: &'c Request,
    contracts: Option<&Contracts>,
    config: &'c Config,
    found: Found,
    mut further: Vec<Check>,
    rows: &mut [ImageRow],
) -> Result<CountedSet<'c>, Stop> {
    globs::places_differ(config, &found)?;
    if let (Operation::Promotion, Some(contracts)) = (request.operation, contracts) {
        further.extend(contracts.failures(config));
    }
    images::count(rows, config, &found);
    let chain = Counted::new(config, &request.revision, &found, further)?;
    Ok(CountedSet { chain, found })
}

/// Judges history and images, and plans the change.
pub(super) fn judge(
    request: &Request,
    counted: CountedSet<'_>,
    history: &SiteHistory,
    verification: Verification<'_>,
    site: &Site,
    rows: &mut [ImageRow],
) -> Result<Planned, Stop> {
    let CountedSet { chain, found } = counted;
    let config = &site.config;
    let grounded = ground(chain, request, history, &found, site)?;
    let mut beside = Beside {
        revision_now: history.current_revision(config, &found),
        ..Beside::default()
    };
    let approved = match verification {
        Verification::Before(images) => grounded.trusted(images, history)?,
        Verification::Now {
            standards,
            smoke,
            services,
        } => {
            let verified = Verifying {
                request,
                standards,
                smoke,
                history,
                site,
                services,
            };
            let approved = verified.images(grounded, &found, rows)?;
            if request.operation == Operation::Rollback {
                beside.labels_now = tags::current_labels(config, &found, services)?;
            }
            approved
        }
    };
    if let (Operation::Rollback, Ok(known)) = (request.operation, history.promoted()) {
        let undone = known.entries_since(&approved.pinned_digests(config));
        beside.undone = undone.unwrap_or_default().iter().map(Undone::of).collect();
    }
    let plan = Plan::new(&approved, config, site.files(), &found)?;
    Ok(Planned {
        approved,
        plan,
        beside,
    })
}

/// The stage of history.
fn ground<'c>(
    chain: Counted<'c>,
    request: &Request,
    history: &SiteHistory,
    found: &Found,
    site: &Site,
) -> Result<HistoryChecked<'c>, Stop> {
    Ok(match request.operation {
        Operation::Promotion => match history.past(&site.config, &request.revision, found) {
            Ok(past) => chain.not_older(&past, request.overrides)?,
            Err(outage) => return Err(chain.stop(outage).into()),
        },
        Operation::Rollback => match history.promoted() {
            Ok(known) => chain.promoted(&known.provenance(&request.revision), history.extent())?,
            Err(outage) => return Err(chain.stop(outage).into()),
        },
    })
}

/// Warns of a rollback to a set that a rollback undid.
fn warn_of_hold(request: &Request, history: &SiteHistory, services: &Services) {
    // The absence of history is reported by its stage.
    if let (Operation::Rollback, Ok(known)) = (request.operation, history.promoted())
        && let Hold::Held { rollback, .. } = known.hold(&request.revision)
    {
        services.console.warn(&format!(
            "set {} was rolled back by commit {} on {}: this returns to it",
            plain(request.revision.as_str()),
            rollback.commit.short(),
            plain(&rollback.date)
        ));
    }
}

/// The verification of a set's images by this run.
struct Verifying<'v> {
    request: &'v Request,
    standards: &'v Standards<'v>,
    smoke: &'v SmokeStage,
    history: &'v SiteHistory,
    site: &'v Site,
    services: &'v Services,
}

impl Verifying<'_> {
    fn images(
        &self,
        chain: HistoryChecked<'_>,
        found: &Found,
        rows: &mut [ImageRow],
    ) -> Result<Approved, Stop> {
        let (config, services) = (&self.site.config, self.services);
        let targets = self.request.targets(config, found, chain.promoted());
        let resolutions = tags::resolve(config, targets, services)?;
        images::resolve(rows, &resolutions, config);
        let images = chain.resolved(&resolutions, self.history)?;

        let enforcement = match trust::enforcement_of(config, &images, self.history) {
            Ok(enforcement) => enforcement,
            Err(outage) => return Err(images.stop(outage).into()),
        };
        let revision = &self.request.revision;
        let trust = self.standards.trust;
        let (images, evidence) =
            trust::verify_signatures(images, trust, config, revision, enforcement, services)?;
        images::verify(rows, evidence);

        let current = self.standards.contracts;
        let (images, _) = match self.request.operation {
            Operation::Promotion => {
                let standards = current.standards(config);
                contracts::verify_contents(images, config, &standards, services)?
            }
            Operation::Rollback => {
                let then = match ContractsThen::read(self.history, config, images.promoted()) {
                    Ok(then) => then,
                    Err(outage) => return Err(images.stop(outage).into()),
                };
                let standards = current.standards_then(config, &then);
                contracts::verify_contents(images, config, &standards, services)?
            }
        };
        let images = self.smoke.run(images, config, services)?;
        Ok(images.approved())
    }
}
