//! Fetches trusted roots from TUF repositories.

use std::path::Path;

use futures_util::future;
use reqwest::Url;

use super::Overrides;
use crate::{
    app::cli::context::Context,
    base::{
        code::Code,
        error::{Class, Error, Errors, usage},
        http::address::is_safe_for_credentials,
        input_file,
        untrusted::plain,
    },
    config::Config,
    trust::{self, BuiltIn, Mirror, Root},
};

/// The maximum size of a TUF root document, in bytes.
const MAX_ROOT_DOCUMENT: u64 = 512_000;

/// A TUF repository, and the first root document of its chain.
pub(super) struct Origin {
    instance: BuiltIn,
    url: Url,
    first: Vec<u8>,
}

pub(super) struct Fetched {
    pub(super) instance: BuiltIn,
    pub(super) url: Url,
    pub(super) text: String,
    pub(super) root: Root,
}

/// The repositories to read.
pub(super) fn origins(instances: &[BuiltIn], overrides: &Overrides) -> Result<Vec<Origin>, Errors> {
    let mut origins = Vec::new();
    for instance in instances {
        let url = match &overrides.mirror {
            Some(mirror) => mirror.clone(),
            None => repository(instance.repository())?,
        };
        let first = match &overrides.first {
            Some(document) => document.clone(),
            None => instance.first_root_document().into(),
        };
        origins.push(Origin {
            instance: *instance,
            url,
            first,
        });
    }
    Ok(origins)
}

/// Parses the URL of a repository, and appends `/` to its path.
pub(super) fn repository(text: &str) -> Result<Url, Errors> {
    let malformed = |reason: String| usage(format!("--mirror: `{}` {reason}", plain(text)));
    let mut url = Url::parse(text).map_err(|error| malformed(format!("is not a URL: {error}")))?;
    if !is_safe_for_credentials(&url) || !["http", "https"].contains(&url.scheme()) {
        return Err(malformed("is not an https URL".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(usage("--mirror: the URL must not contain credentials"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(malformed("has a query or a fragment".to_owned()));
    }
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

pub(super) fn first_document(path: &Path) -> Result<Vec<u8>, Errors> {
    let name = plain(&path.display().to_string());
    input_file::read(path, MAX_ROOT_DOCUMENT)
        .map_err(|error| usage(format!("--root: cannot read {name}: {error}")))
}

/// Fetches and verifies every root, and reports every error.
pub(super) fn fetch(
    origins: Vec<Origin>,
    config: &Config,
    cx: &Context,
) -> Result<Vec<Fetched>, Errors> {
    let registries = cx.services.registries(config)?;
    let usable = registries.read_roots();
    usable.map_err(|error| usage(error.to_string()))?;
    let now = (cx.services.environment.clock)();
    let requests = origins.into_iter().map(|origin| {
        let mirror = Mirror::new(registries.clone(), origin.url.clone());
        async move {
            let bytes = trust::current_root(mirror, &origin.first, now).await?;
            parse_fetched(origin, bytes)
        }
    });
    let work = future::join_all(requests);
    let mut fetched = Vec::new();
    let mut errors = Vec::new();
    for result in cx.services.wait(work, "fetching the trusted roots") {
        match result {
            Ok(root) => fetched.push(root),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(fetched)
    } else {
        Err(errors.into())
    }
}

/// Parses a fetched root, which this release must support.
pub(super) fn parse_fetched(origin: Origin, bytes: Vec<u8>) -> Result<Fetched, Error> {
    let Origin { instance, url, .. } = origin;
    let unusable = |reason: String| {
        let message = format!("cannot use the trusted root of {url}: {reason}");
        Error::new(Class::Unavailable, Code::ROOT_UNVERIFIED, message).help("update repin")
    };
    let root = parse_single(instance.as_str(), &bytes).map_err(unusable)?;
    let text = String::from_utf8(bytes).map_err(|error| unusable(error.to_string()))?;
    Ok(Fetched {
        instance,
        url,
        text,
        root,
    })
}

/// Parses a document that must contain exactly one root.
pub(super) fn parse_single(name: &str, bytes: &[u8]) -> Result<Root, String> {
    let mut roots = Root::parse(name, bytes)?;
    match (roots.pop(), roots.is_empty()) {
        (Some(root), true) => Ok(root),
        _ => Err("it contains several roots".to_owned()),
    }
}
