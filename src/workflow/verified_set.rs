//! The verification of a set on its own: the stages of images, for repositories that check pins and
//! history themselves.

use super::{
    Contracts, Services, Stop, Unconfigured, base_kept_moving, contracts,
    pull_limit::verification_pulls, revision, signatures, smoke::SmokeStage, tags, trust::Trust,
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

/// The result of the verification of a set.
pub(crate) enum SetVerdict {
    Verified(Box<SetDocument>),
    Refused {
        /// Every check up to and including that stage.
        checks: Vec<Check>,
        /// The errors that prevented checks.
        outages: Vec<Error>,
    },
}

/// Verifies the set of a revision like a promotion: all configured images.
pub(crate) fn verified_set(
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
    match verify_images(
        config,
        &revision,
        &tag,
        &contracts,
        trust.as_ref(),
        services,
    ) {
        Ok(images) => {
            let document = SetDocument::new(images, config, identity);
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
        Err(Stop::BaseMoved) => Err(base_kept_moving()),
    }
}

fn verify_images(
    config: &Config,
    revision: &Revision,
    tag: &Tag,
    contracts: &Contracts,
    trust: Option<&Trust<'_>>,
    services: &Services,
) -> Result<VerifiedImages, Stop> {
    let smoke = SmokeStage::prepare(config, Unconfigured::Fails, services)?;
    let chain = SetVerification::new(config, revision, contracts.failures(config))?;
    let target = Target {
        tag: tag.clone(),
        expected: None,
        pinned: Vec::new(),
    };
    let targets = vec![target; config.images.len()];
    let resolutions = tags::resolve_tags(config, targets, verification_pulls(config), services)?;
    let images = chain.resolved(&resolutions)?;
    let (images, verified) = signatures::verify_signatures(
        images,
        trust,
        config,
        revision,
        Enforcement::Fail,
        services,
    )?;
    let standards = contracts.standards(config);
    let (images, kinds) = contracts::verify_contents(images, config, &standards, services)?;
    let images = smoke.run(images, config, services)?;
    Ok(VerifiedImages {
        set: images.verified(),
        verified,
        kinds,
    })
}
