//! Pinned artifacts that are not images, such as Helm charts: the set does not contain them.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    code::Code,
    config::Config,
    error::{Error, Errors},
    oci::TagOrDigest,
    pins::Found,
    registry::resolve,
    workflow::Services,
};

/// The maximum time for all requests.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The names of the images whose pinned digests are other artifacts, each with the reason.
pub(super) fn find(
    config: &Config,
    found: &Found,
    services: &Services,
) -> Result<BTreeMap<String, String>, Errors> {
    let sources = services.sources_of_images(config)?;
    let lookup = async {
        let mut artifacts = BTreeMap::new();
        for (index, image) in config.images.iter().enumerate() {
            let Some(digest) = found.digests_of(index).first().copied() else {
                continue;
            };
            let reference = TagOrDigest::Digest(digest);
            match resolve::known_manifest(&sources[index], &reference, &[]).await {
                Err(error) if error.code == Code::NOT_AN_IMAGE => {
                    artifacts.insert(image.name.clone(), error.message);
                }
                other => {
                    other?;
                }
            }
        }
        Ok(artifacts)
    };
    // The timer must be created within the runtime, which `wait` enters.
    let lookup = async { tokio::time::timeout(TIMEOUT, lookup).await };
    let result: Result<Result<_, Error>, _> = services.wait(lookup, "reading the pinned images");
    match result {
        Ok(artifacts) => Ok(artifacts?),
        Err(_) => Err(Error::unavailable("the registry", "no response within 10 s").into()),
    }
}
