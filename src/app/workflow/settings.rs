//! The settings of registry and forge clients, read from variables.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Interruption, environment::Environment};
use crate::{
    base::{
        error::{Errors, usage},
        http::SharedDeadline,
    },
    config::duration,
    forge,
    git::Authorities,
    oci::registry::{self, Mapping, Settings},
};

/// The settings for registries. Malformed input is reported before the first request.
pub(super) fn registries(environment: &Environment) -> Result<Settings, Errors> {
    let mut settings = Settings::new(
        registry::Environment::from_lookup(|name| environment.variable(name).cloned()),
        environment.clock,
    );
    if let Some(text) = environment.filled("REPIN_HTTP_TIMEOUT") {
        let timeout = duration::parse(&text.to_string_lossy())
            .map_err(|error| usage(format!("REPIN_HTTP_TIMEOUT: {error}")))?;
        if timeout.is_zero() {
            return Err(usage("REPIN_HTTP_TIMEOUT: must be longer than 0s"));
        }
        settings.stall_timeout = timeout;
    }
    settings.ca_file = environment
        .filled("REPIN_CA_FILE")
        .map(|file| environment.directory().join(file));
    // Every command reports an invalid proxy. Only one with connections reads the file of certificates.
    registry::Registries::new(settings.clone()).map_err(|error| usage(error.to_string()))?;
    Ok(settings)
}

/// The parent of temporary directories.
pub(super) fn temporary_parent(environment: &Environment) -> PathBuf {
    environment
        .filled("TMPDIR")
        .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

/// The certificates for git, unless its own variable selects some.
pub(super) fn authorities(
    environment: &Environment,
    interruption: &Arc<Interruption>,
) -> Option<Arc<Authorities>> {
    let file = environment.filled("REPIN_CA_FILE")?;
    if environment.filled("GIT_SSL_CAINFO").is_some() {
        return None;
    }
    let (parent, interruption) = (temporary_parent(environment), Arc::clone(interruption));
    let directory = move || interruption.temporary_directory(&parent);
    let file = environment.directory().join(file);
    Some(Arc::new(Authorities::new(file, Box::new(directory))))
}

/// The deadline for all requests to forges.
pub(super) fn forge_deadline(environment: &Environment) -> Result<SharedDeadline, Errors> {
    const NAME: &str = "REPIN_DEADLINE";
    let length = match environment.filled(NAME) {
        Some(text) => duration::parse(&text.to_string_lossy())
            .map_err(|error| usage(format!("{NAME}: {error}")))?,
        None => forge::DEFAULT_DEADLINE,
    };
    Ok(SharedDeadline::new(length, NAME))
}

/// The mappings of `REPIN_SOURCES`, one per line.
pub(super) fn mappings(environment: &Environment) -> Result<Vec<Mapping>, Errors> {
    let text = match environment.filled("REPIN_SOURCES") {
        Some(value) => value
            .to_str()
            .ok_or_else(|| usage("REPIN_SOURCES is not UTF-8"))?,
        None => "",
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    parse_mappings(lines, environment.directory(), "REPIN_SOURCES")
}

/// Parses mappings. `origin`: the option or variable, for errors.
pub(crate) fn parse_mappings<'t>(
    texts: impl Iterator<Item = &'t str>,
    directory: &Path,
    origin: &str,
) -> Result<Vec<Mapping>, Errors> {
    texts
        .map(|text| {
            Mapping::parse(text, directory).map_err(|error| usage(format!("{origin}: {error}")))
        })
        .collect()
}
