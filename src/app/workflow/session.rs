//! The lock of a run that changes the work tree, and recovery from an interrupted run.

use rustix::system::uname;
use time::format_description::well_known::Rfc3339;

use super::{Console, Services};
use crate::{
    base::{error::Errors, untrusted::plain},
    config::Config,
    core::apply::{self, Session},
    oci::date,
};

/// Takes the lock of the work tree, and recovers from an interrupted run, which may be of another set in
/// the same root. So its set, its revision and its files are reported in every volume.
pub(crate) fn begin(
    config: &Config,
    command: &str,
    services: &Services,
) -> Result<Session, Errors> {
    let mut session = lock(config, command, services)?;
    let recovery = session.recover()?;
    if let Some(warning) = recovery.warning() {
        services.console.warn(&plain(&warning));
    }
    Ok(session)
}

/// Takes the lock of the work tree. A process that fails to take it shows this one as the holder.
pub(crate) fn lock(
    config: &Config,
    command: &str,
    services: &Services,
) -> Result<Session, apply::Error> {
    let started = date::offset((services.environment.clock)()).format(&Rfc3339);
    let holder = format!(
        "`repin {command}`, process {} on {}, since {}",
        std::process::id(),
        uname().nodename().to_string_lossy(),
        started.unwrap_or_default()
    );
    Session::begin(&config.root, &holder)
}

/// Warns if an interrupted run left a journal; the run continues.
pub(crate) fn warn_if_interrupted(config: &Config, console: &dyn Console) {
    match apply::preview_recovery(&config.root) {
        Ok(None) => {}
        Ok(Some(recovery)) => console.warn(&plain(&recovery.notice(&config.option))),
        Err(error) => {
            let message = plain(&error.to_string());
            console.warn(&format!("{message}; {}", error.hint()));
        }
    }
}
