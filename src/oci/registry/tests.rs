//! Registries: real ones and scripted ones, at the level of the library.

mod attached;
mod documented;
mod faults;
mod layers;
mod listing;
mod real;

use std::{ffi::OsString, time::Duration};

use super::{
    Environment, Mapping, Registries, Settings, Source, Sources,
    resolve::{ImageFacts, resolve},
};
use crate::{
    base::error::Error,
    oci::{Repository, Tag, TagOrDigest},
};

/// Settings with pauses that a test can wait for.
fn settings(variables: &[(&str, &str)]) -> Settings {
    let path = ("PATH", std::env::var("PATH").unwrap());
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .chain([path])
        .collect();
    let lookup = |name: &str| {
        variables
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| OsString::from(value))
    };
    let mut settings = Settings::new(Environment::from_lookup(lookup), std::time::SystemTime::now);
    settings.backoff = Duration::from_millis(1);
    settings.stall_timeout = Duration::from_secs(5);
    settings
}

fn sources(settings: Settings, mappings: &[&str]) -> Sources {
    let mappings = mappings
        .iter()
        .map(|text| Mapping::parse(text, std::path::Path::new("/")).unwrap())
        .collect();
    Sources::new(vec![mappings], Registries::new(settings).unwrap())
}

fn repository(host: &str, name: &str) -> Repository {
    Repository::parse(&format!("{host}/{name}")).unwrap()
}

fn source(settings: Settings, host: &str, name: &str) -> Source {
    sources(settings, &[])
        .source(&repository(host, name))
        .unwrap()
}

fn tag(text: &str) -> TagOrDigest {
    TagOrDigest::Tag(Tag::parse(text).unwrap())
}

async fn resolved(source: &Source, name: &str) -> Result<Option<ImageFacts>, Error> {
    resolve(source, &tag(name), &[]).await
}
