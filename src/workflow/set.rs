//! A set by itself, verified once: the stages of images, for repositories that judge pins and history
//! themselves.

use super::{
    Contracts, Services, Stop, Unconfigured, contracts, kept_moving, revision,
    smoke::SmokeStage,
    tags,
    trust::{self, Trust},
};
use crate::{
    checks::{Check, Enforcement, SetDocument, SetVerification, Target, VerifiedImages},
    code::Code,
    config::Config,
    error::{Class, Error, Errors},
    files::WorkTree,
    fleet::config_sha256,
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
        Err(Stop::Unconfigured(reason)) => {
            Err(Error::new(Class::Denied, Code::DENIED, reason).into())
        }
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
    let chain = SetVerification::new(config, revision, contracts.failures(config))?;
    let target = |_| Target {
        tag: tag.clone(),
        expected: None,
        pinned: Vec::new(),
    };
    let targets = config.images.iter().map(target).collect();
    let resolutions = tags::resolve(config, targets, services)?;
    let images = chain.resolved(&resolutions)?;
    let (images, verified) =
        trust::verify_signatures(images, trust, config, revision, Enforcement::Fail, services)?;
    let standards = contracts.standards(config);
    let (images, kinds) = contracts::verify_contents(images, config, &standards, services)?;
    let images = smoke.run(images, config, services)?;
    Ok(VerifiedImages {
        set: images.verified(),
        verified,
        kinds,
    })
}
