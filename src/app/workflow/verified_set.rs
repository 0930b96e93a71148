//! The verification of a set on its own: the stages of images, for repositories that check pins and
//! history themselves.

use super::{
    Contracts, MissingCredential, Services, Stop, contracts,
    forge_overview::verification_pulls,
    revision::full_revision_of,
    smoke::SmokeStage,
    tags,
    trust::{self, Trust},
};
use crate::{
    app::fleet::config_sha256,
    base::{
        error::{Error, Errors},
        files::WorkTree,
    },
    config::Config,
    core::checks::{Check, Enforcement, SetDocument, SetVerification, Target, VerifiedImages},
    oci::{Revision, TagPattern},
};

/// The result of the verification of a set.
pub(crate) enum SetVerdict {
    Verified(Box<SetDocument>),
    Refused {
        /// Every check up to and including that stage.
        checks: Vec<Check>,
        /// The errors that prevented checks.
        errors: Vec<Error>,
    },
}

/// Verifies the set of a revision like a promotion: all configured images.
pub(crate) fn verified_set(
    config: &Config,
    revision: &str,
    services: &Services,
) -> Result<SetVerdict, Errors> {
    let files = WorkTree::new(&config.root);
    let contracts = Contracts::read(config, &files, &services.environment.path_to(&config.root));
    contracts.well_formed(config)?;
    let trust = Trust::read(config, &files)?;
    if let Some(trust) = &trust {
        trust.warn_of_old_roots(services);
    }
    let identity = config_sha256(config, &files)?;
    let verified = full_revision_of(config, revision, services).and_then(|(revision, tag)| {
        verify_images(
            config,
            &revision,
            &tag,
            &contracts,
            trust.as_ref(),
            services,
        )
    });
    match verified {
        Ok(images) => {
            let document = SetDocument::new(images, config, identity);
            Ok(SetVerdict::Verified(Box::new(document)))
        }
        Err(stop @ (Stop::Chain(_) | Stop::Count(_))) => {
            let (checks, errors) = stop.into_parts();
            Ok(SetVerdict::Refused { checks, errors })
        }
        Err(stop) => Err(stop.into_parts().1.into()),
    }
}

fn verify_images(
    config: &Config,
    revision: &Revision,
    tag: &TagPattern,
    contracts: &Contracts,
    trust: Option<&Trust<'_>>,
    services: &Services,
) -> Result<VerifiedImages, Stop> {
    let smoke = SmokeStage::prepare(config, MissingCredential::Fail, services)?;
    let chain = SetVerification::new(config, revision, contracts.failures(config))?;
    let targets = vec![Target::new(tag.clone()); config.images.len()];
    let resolutions = tags::resolve_tags(config, targets, verification_pulls(config), services)?;
    let images = chain.resolved(&resolutions)?;
    let (images, verified) =
        trust::verify_signatures(images, trust, config, revision, Enforcement::Fail, services)?;
    let standards = contracts.standards(config);
    let (images, read) = contracts::verify_contents(images, config, &standards, &[], services)?;
    let images = smoke.run(images, config, services)?;
    Ok(VerifiedImages {
        set: images.verified(),
        verified,
        kinds: read.kinds,
    })
}
