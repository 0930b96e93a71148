//! The engine of promotions and rollbacks: takes a set through the chain at one site.
//!
//! ```text
//! site ─► pins ─► history ─┬─► tags ─► stages ─► signatures ─► contents ─► smoke ─┬─► plan
//!                          └─► a set that another run verified ────────────────────┘
//! ```
//!
//! A stage gathers its facts immediately before its checks, so that a typo costs no request.
//! Promotion and rollback differ in the facts that history must prove and in the standards of the
//! images. The engine changes no files.

use std::sync::Arc;

use super::{
    Contracts, MissingCredential, Services, SiteHistory, Stop,
    build_order::{BuildOrder, ResolvedSet},
    changes::{self, ReviewedSet},
    contracts::{self, PastContracts},
    forge_overview::verification_pulls,
    other_checkout::OtherCheckout,
    request::Request,
    rollback_target,
    site::{self, Site},
    smoke::SmokeStage,
    stages::{StageVerdicts, Stages},
    tags,
    trust::{self, Trust},
};
use crate::{
    app::report::body::{TemplateContext, UndoneSet},
    base::{
        error::{Error, Errors},
        untrusted::plain,
    },
    config::{ChangeParts, Config, FormerSet, Operation},
    contents::ContentsByDigest,
    core::{
        changes::Changes,
        checks::{
            Approved, Check, Counted, HistoryChecked, Resolution, TrustedImages, VerifiedRow,
            current_digests, resolved_digests,
        },
        history::Order,
        pins::FoundPins,
        plan::Plan,
    },
};

/// A set that may be promoted or rolled back to, and the change that makes it current.
pub(super) struct Planned {
    pub(super) approved: Approved,
    pub(super) plan: Plan,
    /// Facts that the pull request body shows in addition to the plan.
    pub(super) body_context: TemplateContext,
    /// The differences of the current set and the new one, if they are reported.
    pub(super) changes: Option<Changes>,
    /// The set at former paths of its configuration.
    pub(super) former: Vec<FormerSet>,
    /// The checkout of a work tree that is not on the base branch.
    pub(super) checkout: Option<OtherCheckout>,
}

/// The facts about the images of a set, as far as a run gathered them.
#[derive(Default)]
pub(super) struct SetFacts {
    /// The pins, after the entries of places were checked.
    pub(super) found: Option<Arc<FoundPins>>,
    /// The images that the tags resolve to, in the order of the configuration.
    pub(super) resolutions: Vec<Resolution>,
    /// The signatures and attestations of each image, in the same order.
    pub(super) evidence: Vec<Vec<VerifiedRow>>,
}

pub(super) struct CountedSet<'c> {
    chain: Counted<'c>,
    pub(super) found: Arc<FoundPins>,
}

/// The standards of images in addition to the configuration.
pub(super) struct Standards<'s> {
    /// The required contents.
    pub(super) contracts: Contracts,
    /// The required signers, if any.
    pub(super) trust: Option<Trust<'s>>,
}

/// How the images of a set are verified.
pub(super) enum Verification<'v> {
    /// By this run.
    Now {
        standards: &'v Standards<'v>,
        smoke: &'v SmokeStage,
        builds: &'v BuildOrder<'v>,
        /// `None` for a rollback.
        stages: Option<&'v Stages<'v>>,
        services: &'v Services,
    },
    /// By another run with a trusted document.
    Before(VerifiedBefore),
}

/// A set that another run verified, and the facts about it in one repository.
pub(super) struct VerifiedBefore {
    pub(super) images: TrustedImages,
    pub(super) stages: StageVerdicts,
    /// The order by the images, if it was unknown before.
    pub(super) order: Option<Order>,
}

/// Takes a set through every stage at a site with a clone. `facts` receives the facts about the images,
/// even if a stage stops the run.
pub(super) fn plan(
    request: &Request,
    standards: &Standards<'_>,
    site: &dyn Site,
    missing_credential: MissingCredential,
    services: &Services,
    facts: &mut SetFacts,
) -> Result<Planned, Stop> {
    let smoke = SmokeStage::prepare(site.config(), missing_credential, services)?;
    let (found, checks) = site.pins(request.operation)?;
    let contracts = Some(&standards.contracts);
    let counted = count(request, contracts, site.config(), found, checks, facts)?;
    let mut history = site.history(services);
    let checkout = if site.has_forge() {
        None
    } else {
        compare_checkout(&history, site.config(), &counted.found, services)?
    };
    warn_of_unpushed_rollback(request, &history, site.config(), &counted.found, services);
    let git = history.git().cloned();
    let builds = BuildOrder::new(site.config(), git.as_ref(), services);
    if request.operation == Operation::Promotion {
        let order =
            history.determine_order(&builds, site.config(), &request.revision, &counted.found);
        services.wait_for_order(order);
    }
    let stages = match request.operation {
        Operation::Promotion => {
            let has_forge = site.has_forge();
            Some(Stages::open(site.config(), &history, has_forge, services)?)
        }
        Operation::Rollback => None,
    };
    let verification = Verification::Now {
        standards,
        smoke: &smoke,
        builds: &builds,
        stages: stages.as_ref(),
        services,
    };
    let planned = judge(request, counted, &history, verification, site, facts)?;
    Ok(Planned {
        checkout,
        ..planned
    })
}

/// A site whose pins and history were read once, for several sets.
pub(super) struct ReadSite<'s> {
    pub(super) site: &'s dyn Site,
    pub(super) found: FoundPins,
    /// The checks of the files.
    pub(super) checks: Vec<Check>,
    pub(super) history: SiteHistory,
    pub(super) standards: Standards<'s>,
    pub(super) smoke: SmokeStage,
    pub(super) services: &'s Services,
}

/// Takes a set through every stage of a rollback, like [`plan`].
pub(super) fn rehearse(request: &Request, read: &ReadSite<'_>) -> Result<Planned, Stop> {
    let (config, services) = (read.site.config(), read.services);
    let mut facts = SetFacts::default();
    let contracts = Some(&read.standards.contracts);
    let (found, checks) = (read.found.clone(), read.checks.clone());
    let counted = count(request, contracts, config, found, checks, &mut facts)?;
    let git = read.history.git().cloned();
    let builds = BuildOrder::new(config, git.as_ref(), services);
    let verification = Verification::Now {
        standards: &read.standards,
        smoke: &read.smoke,
        builds: &builds,
        stages: None,
        services,
    };
    judge(
        request,
        counted,
        &read.history,
        verification,
        read.site,
        &mut facts,
    )
}

/// Counts the pins of a site. `further`: the checks of its files. The contracts of a promotion must be
/// satisfiable.
pub(super) fn count<'c>(
    request: &'c Request,
    contracts: Option<&Contracts>,
    config: &'c Config,
    found: FoundPins,
    mut further: Vec<Check>,
    facts: &mut SetFacts,
) -> Result<CountedSet<'c>, Stop> {
    site::check_places(config, &found)?;
    if let (Operation::Promotion, Some(contracts)) = (request.operation, contracts) {
        further.extend(contracts.failures(config));
    }
    let found = Arc::new(found);
    facts.found = Some(Arc::clone(&found));
    let chain = Counted::new(config, &request.revision, &found, further)?;
    Ok(CountedSet { chain, found })
}

/// Checks history and images, and plans the change.
pub(super) fn judge(
    request: &Request,
    counted: CountedSet<'_>,
    history: &SiteHistory,
    verification: Verification<'_>,
    site: &dyn Site,
    facts: &mut SetFacts,
) -> Result<Planned, Stop> {
    let CountedSet { chain, found } = counted;
    let config = site.config();
    let checked = check_history(chain, request, history, config)?;
    let mut body_context = TemplateContext {
        current_revision: history.current_revision(config, &found),
        ..TemplateContext::of(config)
    };
    let mut services_of_run = None;
    let approved = match verification {
        Verification::Before(set) => {
            // The fleet's configuration determines the checks of images.
            body_context.not_configured.clear();
            body_context.stages = set.stages.rows;
            checked.trusted(set.images, &set.stages.judged, set.order, history)?
        }
        Verification::Now {
            standards,
            smoke,
            builds,
            stages,
            services,
        } => {
            let verifier = ImageVerifier {
                request,
                standards,
                smoke,
                builds,
                stages,
                history,
                config,
                services,
            };
            let set = verifier.verify(checked, &found, facts)?;
            services_of_run = Some((services, standards.trust.as_ref(), set.contents));
            body_context.stages = set.stages.rows;
            if request.operation == Operation::Rollback {
                body_context.current_labels = tags::current_labels(config, &found, services)?;
            }
            set.approved
        }
    };
    if let (Operation::Rollback, Ok(known)) = (request.operation, history.promoted()) {
        let undone = known.entries_since(&approved.pinned_digests(config));
        let undone = undone.unwrap_or_default();
        body_context.undone = undone.iter().map(UndoneSet::new).collect();
    }
    let plan = Plan::new(&approved, config, site.files(), &found)?;
    let changes = match services_of_run.filter(|_| request.changes != ChangeParts::None) {
        Some((services, trust, contents)) => {
            let set = ReviewedSet {
                request,
                images: approved.images(),
                evidence: &facts.evidence,
                trust,
                contents,
            };
            Some(changes::of_promotion(
                set, config, &found, history, services,
            )?)
        }
        None => None,
    };
    Ok(Planned {
        changes,
        approved,
        plan,
        body_context,
        former: history.former_sets(),
        checkout: None,
    })
}

fn check_history<'c>(
    chain: Counted<'c>,
    request: &Request,
    history: &SiteHistory,
    config: &Config,
) -> Result<HistoryChecked<'c>, Stop> {
    let revision = &request.revision;
    let checked = match request.operation {
        Operation::Promotion => match history.facts(revision) {
            Ok(facts) => chain
                .merged(history.membership())
                .and_then(|chain| chain.not_older(&facts, request.overrides)),
            Err(error) => Err(chain.stop(error)),
        },
        Operation::Rollback => match history.promoted() {
            Ok(known) => {
                let provenance = known.provenance(revision);
                let checked = chain.promoted(&provenance, history.extent());
                return checked.map_err(|stopped| {
                    rollback_target::with_similar_sets(
                        stopped,
                        &provenance,
                        revision,
                        known,
                        config,
                    )
                });
            }
            Err(error) => Err(chain.stop(error)),
        },
    };
    Ok(checked?)
}

/// Compares the checkout of the work tree with the base branch, and warns if it is on another branch.
fn compare_checkout(
    history: &SiteHistory,
    config: &Config,
    found: &FoundPins,
    services: &Services,
) -> Result<Option<OtherCheckout>, Errors> {
    let checkout = OtherCheckout::find(history).map_err(|error| Error::from(&error))?;
    if let (Some(checkout), Ok(known)) = (&checkout, history.promoted())
        && let Some(warning) = checkout.warning(known, config, found)
    {
        services.console.warn(&warning);
    }
    Ok(checkout)
}

/// Warns of a promotion that returns to the branch's current set: a rollback that is not on the branch does
/// not hold.
fn warn_of_unpushed_rollback(
    request: &Request,
    history: &SiteHistory,
    config: &Config,
    found: &FoundPins,
    services: &Services,
) {
    // The absence of history is reported by its stage.
    if let (Operation::Promotion, Ok(known)) = (request.operation, history.promoted())
        && let Some(current) = known.current()
        && current.revision.as_ref() == Some(&request.revision)
        && current_digests(config, found) != current.images
    {
        services.console.warn(&format!(
            "set {} is current on {}, but not in these files: if a rollback replaced it here, it does not \
             hold before it is pushed",
            plain(request.revision.as_str()),
            plain(&known.branch.name)
        ));
    }
}

/// Verifies the images of a set in this run.
struct ImageVerifier<'v> {
    request: &'v Request,
    standards: &'v Standards<'v>,
    smoke: &'v SmokeStage,
    builds: &'v BuildOrder<'v>,
    stages: Option<&'v Stages<'v>>,
    history: &'v SiteHistory,
    config: &'v Config,
    services: &'v Services,
}

/// The result of the stages of images.
struct Verified {
    approved: Approved,
    stages: StageVerdicts,
    /// The contents that were read for the comparison with the current set, in the order of the images.
    contents: Vec<ContentsByDigest>,
}

impl ImageVerifier<'_> {
    fn verify(
        &self,
        chain: HistoryChecked<'_>,
        found: &FoundPins,
        facts: &mut SetFacts,
    ) -> Result<Verified, Stop> {
        let (config, services) = (self.config, self.services);
        let targets = self.request.targets(config, found, chain.promoted());
        facts.resolutions =
            tags::resolve_tags(config, targets, verification_pulls(config), services)?;
        let resolutions = &facts.resolutions;
        let order = match chain.open_order() {
            None => None,
            Some(open) => {
                let set = ResolvedSet {
                    config,
                    revision: &self.request.revision,
                    digests: resolved_digests(config, resolutions),
                    found,
                };
                let history = self.history.promoted_or_local().ok();
                let order = self.builds.of_images(open, history, &set, services);
                match services.wait_for_order(order) {
                    Ok(order) => Some(order),
                    Err(errors) => return Err(chain.stop(errors.into_iter().collect()).into()),
                }
            }
        };
        let images = chain.resolved(resolutions, order, self.history)?;
        let stages = match self.stages {
            Some(stages) => stages.judge(&images.pinned_digests(), services),
            None => StageVerdicts::default(),
        };
        let images = images.staged(&stages.judged)?;

        let (promoted, git) = (images.promoted(), self.history.git());
        let enforcement = trust::signature_enforcement(config, promoted, &images.digests(), git);
        let enforcement = match enforcement {
            Ok(enforcement) => enforcement,
            Err(error) => return Err(images.stop(error).into()),
        };
        let revision = &self.request.revision;
        let trust = self.standards.trust.as_ref();
        let (images, evidence) =
            trust::verify_signatures(images, trust, config, revision, enforcement, services)?;
        facts.evidence = evidence;

        let pinned = match self.request.changes {
            ChangeParts::Contents => tags::pinned_images(config, found, services)?,
            _ => Vec::new(),
        };
        let current = &self.standards.contracts;
        let (images, read) = match self.request.operation {
            Operation::Promotion => {
                let standards = current.standards(config);
                contracts::verify_contents(images, config, &standards, &pinned, services)?
            }
            Operation::Rollback => {
                let past = match PastContracts::read(self.history, config, images.promoted()) {
                    Ok(past) => past,
                    Err(error) => return Err(images.stop(error).into()),
                };
                let standards = current.rollback_standards(config, &past);
                contracts::verify_contents(images, config, &standards, &pinned, services)?
            }
        };
        let images = self.smoke.run(images, config, services)?;
        Ok(Verified {
            approved: images.approved(),
            stages,
            contents: read.compared,
        })
    }
}
