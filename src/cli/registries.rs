//! How registries and forges are asked in this run: from variables to settings.

use std::time::{Duration, SystemTime};

use super::environment::Environment;
use crate::{
    cli::exit::usage,
    config::duration,
    error::Errors,
    forge,
    http::Allowance,
    registry::{self, Settings},
};

/// The settings of the run; wrong input is found before the first request.
pub(super) fn settings(environment: &Environment) -> Result<Settings, Errors> {
    let lookup = |name: &str| environment.variable(name).cloned();
    let mut settings = Settings::new(registry::Environment::from_lookup(lookup), SystemTime::now);
    if let Some(text) = environment.filled("REPIN_HTTP_TIMEOUT") {
        let parsed = duration::parse(&text.to_string_lossy()).map_err(|error| error.to_string());
        let positive = parsed.and_then(|limit| match limit {
            Duration::ZERO => Err("no answer comes in no time".to_owned()),
            limit => Ok(limit),
        });
        settings.progress = positive.map_err(|why| usage(format!("REPIN_HTTP_TIMEOUT: {why}")))?;
    }
    settings.ca_file = environment
        .filled("REPIN_CA_FILE")
        .map(|file| environment.folder().join(file));
    // Reads the certificates, so that a wrong file is told of whatever the command is.
    registry::Registries::new(settings.clone()).map_err(|error| usage(error.to_string()))?;
    Ok(settings)
}

/// How long requests to forges are waited for in all.
pub(super) fn forge_time(environment: &Environment) -> Result<Allowance, Errors> {
    const NAME: &str = "REPIN_DEADLINE";
    let length = match environment.filled(NAME) {
        Some(text) => duration::parse(&text.to_string_lossy())
            .map_err(|error| usage(format!("{NAME}: {error}")))?,
        None => forge::TIME,
    };
    Ok(Allowance::new(length, NAME))
}
