//! The current trusted roots of Sigstore and of GitHub, by The Update Framework (TUF 1.0).
//!
//! A TUF repository signs its files with keys that its root document lists. The first root document
//! comes with the program or from a file, and each later one is signed by the keys of the one before.
//! sigstore-tuf verifies signatures, thresholds, versions, expiry, lengths and hashes. The requests are
//! made by the client of registries, with its limits, proxies and log, and without credentials.

use std::{error::Error as _, time::SystemTime};

use jiff::Timestamp;
use reqwest::Url;
use sigstore_tuf::{Repository, Updater, UpdaterConfig, transport::FetchFuture};

use super::provider;
use crate::{
    base::{
        code::Code,
        error::{Class, Error},
        http::address::redacted,
        untrusted::plain,
    },
    oci::registry::Registries,
};

/// The name of the trusted root in a repository.
const TARGET: &str = "trusted_root.json";
/// The maximum size of a trusted root, in bytes, as for a configured file.
const MAX_TARGET: u64 = 4 << 20;

const UNREACHABLE: &str = "check the network, the proxy (HTTPS_PROXY) and REPIN_CA_FILE; `repin trust update NAME --mirror URL` \
                           reads a mirror";

/// A TUF repository, at its own server or at a mirror.
#[derive(Debug, Clone)]
pub(crate) struct Mirror {
    registries: Registries,
    base: Url,
}

impl Mirror {
    /// The repository at `base`, a URL with a final `/`.
    pub(crate) fn new(registries: Registries, base: Url) -> Self {
        Self { registries, base }
    }

    async fn fetch(&self, path: &str, max: u64) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        let url = self
            .base
            .join(path)
            .map_err(|error| sigstore_tuf::Error::transport(error.to_string()))?;
        self.registries.document(url, max).await.map_err(|error| {
            sigstore_tuf::Error::transport_with_source("request", error.help(UNREACHABLE))
        })
    }
}

impl Repository for Mirror {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max: u64) -> FetchFuture<'a> {
        Box::pin(self.fetch(name, max))
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max: u64) -> FetchFuture<'a> {
        Box::pin(async move { self.fetch(&format!("targets/{path}"), max).await })
    }
}

/// Fetches the current trusted root of a repository, verified by the chain of root documents that
/// starts with `first`.
pub(crate) async fn current_root(
    mirror: Mirror,
    first: &[u8],
    now: SystemTime,
) -> Result<Vec<u8>, Error> {
    provider::install();
    let repository = redacted(&mirror.base);
    let fetch = async {
        let now = Timestamp::try_from(now)
            .map_err(|_| sigstore_tuf::Error::transport("the clock shows an impossible time"))?;
        let mut config = UpdaterConfig::default();
        config.target_max_length = MAX_TARGET;
        let mut updater = Updater::new(mirror, first)?.with_config(config);
        updater.refresh(now).await?;
        updater.get_target(TARGET, now).await
    };
    fetch.await.map_err(|error| problem(&error, &repository))
}

/// The error of the failed request, or of metadata that cannot be trusted.
fn problem(error: &sigstore_tuf::Error, repository: &str) -> Error {
    let source = error.source();
    if let Some(request) = source.and_then(|source| source.downcast_ref::<Error>()) {
        return request.clone();
    }
    let detail = source.map_or_else(String::new, |source| format!(": {source}"));
    let reason = plain(&format!("{error}{detail}"));
    let message = format!("cannot trust the TUF repository {repository}: {reason}");
    Error::new(Class::Unavailable, Code::ROOT_UNVERIFIED, message)
}
