//! The stage of the smoke command: one image after the other, in whichever engine works.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use signal_hook::{consts, flag};
use tokio::sync::oneshot;

use super::{Stop, wait};
use crate::{
    checks::{self, Approved, Inspected},
    cli::{
        args::{Change, IfUnconfigured},
        context::Context,
    },
    config::Config,
    error::{Error, Errors},
    smoke::{self, Place, Request, Secrets, Smoked, Surroundings},
};

/// What the smoke command needs, found before anything is asked for.
pub(in super::super) struct Trial {
    secrets: Option<Secrets>,
}

impl Trial {
    /// Finds the secrets; without one nothing is begun.
    pub(in super::super) fn prepare(
        config: &Config,
        change: &Change,
        cx: &Context,
    ) -> Result<Self, Stop> {
        let Some(smoke) = &config.smoke else {
            return Ok(Self { secrets: None });
        };
        match Secrets::of(&smoke.env, &cx.environment.variables()) {
            Ok(secrets) => Ok(Self {
                secrets: Some(secrets),
            }),
            Err(missing) if change.if_unconfigured == Some(IfUnconfigured::Skip) => {
                Err(Stop::Unconfigured(missing.to_string()))
            }
            Err(missing) => Err(Stop::Errors(Errors::from(&Error::from(missing)))),
        }
    }

    /// The stage.
    pub(in super::super) fn run(
        &self,
        chain: Inspected<'_>,
        config: &Config,
        cx: &Context,
    ) -> Result<Approved, Stop> {
        let mut stage = chain.try_out();
        let images: Vec<_> = stage.open().collect();
        if let (Some(smoke), Some(secrets), false) =
            (&config.smoke, &self.secrets, images.is_empty())
        {
            let signals = Signals::take()
                .map_err(|error| Errors::io(format!("can't take signals: {error}")))?;
            let sources = cx.sources(config)?;
            for at in images {
                let Some(facts) = stage.facts(at) else {
                    continue;
                };
                let image = &config.images[at];
                let place = Place::of(&image.repository, sources.mapping(&image.repository));
                let container = format!("repin-smoke-{:016x}", fastrand::u64(..));
                let request = Request {
                    smoke,
                    repository: &image.repository,
                    image: facts,
                    place: &place,
                    container,
                };
                let smoked = smoked(&request, secrets, &signals, cx)?;
                stage.judged(at, checks::smoke(smoke, &image.name, &smoked));
            }
        }
        Ok(stage.done()?)
    }
}

/// Runs the command in a thread of its own, while the terminal is told.
fn smoked(
    request: &Request<'_>,
    secrets: &Secrets,
    signals: &Signals,
    cx: &Context,
) -> Result<Smoked, Errors> {
    let around = Surroundings {
        variables: cx.environment.variables(),
        machine: std::env::consts::ARCH.to_owned(),
        interrupted: Arc::clone(&signals.interrupted),
    };
    thread::scope(|scope| {
        let (sender, done) = oneshot::channel();
        scope.spawn(move || drop(sender.send(Box::new(smoke::run(request, secrets, &around)))));
        let message = format!("running the smoke command in {}", request.repository);
        let broke = |_| Errors::io("running the smoke command broke off");
        wait(done, &message, cx)?
            .map(|smoked| *smoked)
            .map_err(broke)
    })
}

/// SIGINT and SIGTERM, which stop a container before they stop the program.
struct Signals {
    interrupted: Arc<AtomicBool>,
    /// Once set, the signals end the program as they always do.
    over: Arc<AtomicBool>,
}

impl Signals {
    fn take() -> io::Result<Self> {
        let signals = Self {
            interrupted: Arc::default(),
            over: Arc::default(),
        };
        for signal in [consts::SIGINT, consts::SIGTERM] {
            flag::register_conditional_default(signal, Arc::clone(&signals.over))?;
            flag::register(signal, Arc::clone(&signals.interrupted))?;
        }
        Ok(signals)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}
