//! A set by itself, verified once: the chain of a promote without pins and without history, for
//! repositories that judge those themselves.

use super::{
    Contracts, Services, Stop, Unconfigured, contracts, kept_moving, revision,
    smoke::SmokeStage,
    tags,
    trust::{self, Trust},
};
use crate::{
    checks::{Check, Force, SetAlone, Target},
    config::Config,
    error::{Class, Error, Errors},
    files::WorkTree,
    fleet::{SetDocument, VerifiedImages, config_sha256},
    oci::{Revision, Tag},
};

/// What became of a set.
pub enum SetVerdict {
    /// It passed every stage.
    Verified(Box<SetDocument>),
    /// A stage stopped it.
    Refused {
        /// Every check up to and including that stage.
        checks: Vec<Check>,
        /// The errors that left something unjudged.
        outages: Vec<Error>,
    },
}

/// Verifies the set of a revision: the images that the configuration names, as a promote would.
pub fn verified_set(
    config: &Config,
    revision: &str,
    services: &Services,
) -> Result<SetVerdict, Errors> {
    let (revision, tag) = self::revision(config, revision)?;
    let files = WorkTree::new(&config.root);
    let contracts = Contracts::read(config, &files, &services.environment.path_to(&config.root));
    contracts.well_formed(config)?;
    let trust = Trust::read(config, &files)?;
    if let Some(trust) = &trust {
        trust.warn_of_old_roots(services);
    }
    let identity = config_sha256(config, &files)?;
    match chain(
        config,
        &revision,
        &tag,
        &contracts,
        trust.as_ref(),
        services,
    ) {
        Ok(found) => {
            let document = SetDocument::new(found, config, identity);
            Ok(SetVerdict::Verified(Box::new(document)))
        }
        Err(Stop::Chain(stopped)) => Ok(SetVerdict::Refused {
            checks: stopped.checks,
            outages: stopped.outages,
        }),
        Err(Stop::Count(checks)) => Ok(SetVerdict::Refused {
            checks,
            outages: Vec::new(),
        }),
        Err(Stop::Errors(errors)) => Err(errors),
        Err(Stop::Unconfigured(reason)) => Err(Error::new(Class::Denied, "denied", reason).into()),
        Err(Stop::BaseMoved) => Err(kept_moving()),
    }
}

fn chain(
    config: &Config,
    revision: &Revision,
    tag: &Tag,
    contracts: &Contracts,
    trust: Option<&Trust<'_>>,
    services: &Services,
) -> Result<VerifiedImages, Stop> {
    let smoke = SmokeStage::prepare(config, Unconfigured::Fails, services)?;
    let chain = SetAlone::new(config, revision, contracts.failures(config))?;
    let target = |_| Target {
        tag: tag.clone(),
        expected: None,
        pinned: Vec::new(),
    };
    let targets = config.images.iter().map(target).collect();
    let resolutions = tags::resolve(config, targets, services)?;
    let chain = chain.resolved(&resolutions)?;
    let signed = trust::signed(chain, trust, config, revision, Force::Decides, services);
    let (chain, verified) = signed?;
    let standards = contracts.standards(config);
    let (chain, kinds) = contracts::inspected(chain, config, &standards, services)?;
    let set = smoke.run(chain, config, services)?.verified()?;
    Ok(VerifiedImages {
        set,
        verified,
        kinds,
    })
}
