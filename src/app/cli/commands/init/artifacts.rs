//! Pinned artifacts that are not images, such as Helm charts: the set does not contain them.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    app::workflow::Services,
    base::{
        code::Code,
        error::{Error, Errors},
    },
    config::Config,
    core::pins::Found,
    oci::{TagOrDigest, registry::resolve},
};

/// The maximum time for all requests.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the registries tell about the pinned digests.
#[derive(Default)]
pub(super) struct Artifacts {
    /// The names of the images whose digests are other artifacts, each with the reason.
    pub(super) names: BTreeMap<String, String>,
    /// The error of the first digest that could not be read.
    pub(super) unavailable: Option<Errors>,
}

/// Reads the manifest of each pinned image.
pub(super) fn find(config: &Config, found: &Found, services: &Services) -> Artifacts {
    let sources = match services.sources_of_images(config) {
        Ok(sources) => sources,
        Err(errors) => return unavailable(errors),
    };
    let lookup = async {
        let mut artifacts = Artifacts::default();
        for (index, image) in config.images.iter().enumerate() {
            let Some(digest) = found.digests_of(index).first().copied() else {
                continue;
            };
            let reference = TagOrDigest::Digest(digest);
            match resolve::known_manifest(&sources[index], &reference, &[]).await {
                Ok(_) => {}
                Err(error) if error.code == Code::NOT_AN_IMAGE => {
                    artifacts.names.insert(image.name.clone(), error.message);
                }
                Err(error) => {
                    artifacts.unavailable.get_or_insert_with(|| error.into());
                }
            }
        }
        artifacts
    };
    // The timer must be created within the runtime, which `wait` enters.
    let lookup = async { tokio::time::timeout(TIMEOUT, lookup).await };
    let found = services.wait(lookup, "reading the pinned images");
    found.unwrap_or_else(|_| {
        unavailable(Error::unavailable("the registry", "no response within 10 s").into())
    })
}

fn unavailable(errors: Errors) -> Artifacts {
    Artifacts {
        unavailable: Some(errors),
        ..Artifacts::default()
    }
}
