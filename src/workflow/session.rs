//! The lock of a run that changes the work tree, and recovery from an interrupted run.

use rustix::system::uname;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Console, Intent, Services};
use crate::{
    apply::{self, Session, State},
    config::Config,
    error::Errors,
    untrusted::plain,
};

/// Takes the lock if the run may change the work tree, and recovers from an interrupted run before
/// any file is read.
pub(super) fn begin(
    config: &Config,
    intent: Intent,
    command: &str,
    services: &Services,
) -> Result<Option<Session>, Errors> {
    match intent {
        Intent::Show => {
            warn_if_interrupted(config, &*services.console);
            return Ok(None);
        }
        // The work tree is neither read nor changed.
        Intent::Open(_) | Intent::ShowOpen => return Ok(None),
        Intent::Apply => {}
    }
    let mut session = lock(config, command, services)?;
    let recovery = session.recover()?;
    if recovery.state != State::Nothing {
        services.console.note(&format!(
            "note: recovered an interrupted run first ({})",
            recovery.state.as_str()
        ));
    }
    Ok(Some(session))
}

/// Takes the lock of the work tree. Another process that finds it taken names this one.
pub fn lock(config: &Config, command: &str, services: &Services) -> Result<Session, apply::Error> {
    let started = OffsetDateTime::from((services.environment.clock)()).format(&Rfc3339);
    let holder = format!(
        "`repin {command}`, process {} on {}, since {}",
        std::process::id(),
        uname().nodename().to_string_lossy(),
        started.unwrap_or_default()
    );
    Session::begin(&config.root, &holder)
}

/// Warns if an interrupted run left a journal; the run continues.
pub fn warn_if_interrupted(config: &Config, console: &dyn Console) {
    match apply::pending(&config.root) {
        Ok(None) => {}
        Ok(Some(recovery)) => console.warn(&format!(
            "an interrupted --apply left its journal ({}); run `repin recover`",
            recovery.state.as_str()
        )),
        Err(error) => {
            let message = plain(&error.to_string());
            console.warn(&format!("{message}; {}", error.hint()));
        }
    }
}
