//! The stage of the smoke command: one image at a time, in the first engine that works.

use std::thread;

use tokio::sync::oneshot;

use super::{Services, Stop, Unconfigured};
use crate::{
    checks::{self, Inspected, Trial},
    config::Config,
    error::{Error, Errors},
    smoke::{self, EngineContext, ImageLocation, Request, Secrets, SmokeReport},
};

/// What the smoke command needs, gathered before the first request.
pub(super) struct SmokeStage {
    secrets: Option<Secrets>,
}

impl SmokeStage {
    /// Finds the secrets; a missing one stops the run before it begins.
    pub(super) fn prepare(
        config: &Config,
        unconfigured: Unconfigured,
        services: &Services,
    ) -> Result<Self, Stop> {
        let Some(smoke) = &config.smoke else {
            return Ok(Self { secrets: None });
        };
        match Secrets::of(&smoke.env, &services.environment.for_engine(config)) {
            Ok(secrets) => Ok(Self {
                secrets: Some(secrets),
            }),
            Err(missing) if unconfigured == Unconfigured::Skips => {
                Err(Stop::Unconfigured(missing.to_string()))
            }
            Err(missing) => Err(Stop::Errors(Errors::from(&Error::from(missing)))),
        }
    }

    /// The stage, with every image judged.
    pub(super) fn run<'c>(
        &self,
        chain: Inspected<'c>,
        config: &Config,
        services: &Services,
    ) -> Result<Trial<'c>, Errors> {
        let mut stage = chain.try_out();
        let images: Vec<_> = stage.open().collect();
        if let (Some(smoke), Some(secrets), false) =
            (&config.smoke, &self.secrets, images.is_empty())
        {
            // A signal stops the container, then the program.
            let _step = services.interruption.harmless_step();
            let sources = services.sources(config)?;
            for at in images {
                let Some(facts) = stage.facts(at) else {
                    continue;
                };
                let image = &config.images[at];
                let place =
                    ImageLocation::of(&image.repository, sources.mapping(&image.repository));
                let container = format!("repin-smoke-{:016x}", fastrand::u64(..));
                let request = Request {
                    smoke,
                    repository: &image.repository,
                    image: facts,
                    place: &place,
                    container,
                };
                let smoked = smoked(&request, secrets, config, services)?;
                stage.judged(at, checks::smoke(smoke, &image.name, &smoked));
            }
        }
        Ok(stage)
    }
}

/// Runs the command in a separate thread, while the terminal shows progress.
fn smoked(
    request: &Request<'_>,
    secrets: &Secrets,
    config: &Config,
    services: &Services,
) -> Result<SmokeReport, Errors> {
    let around = EngineContext {
        variables: services.environment.for_engine(config),
        machine: services.environment.machine.to_owned(),
        interrupted: services.interruption.flag(),
    };
    thread::scope(|scope| {
        let (sender, done) = oneshot::channel();
        scope.spawn(move || drop(sender.send(Box::new(smoke::run(request, secrets, &around)))));
        let message = format!("running the smoke command in {}", request.repository);
        let broke = |_| Errors::io("the smoke command was interrupted");
        services
            .wait(done, &message)?
            .map(|smoked| *smoked)
            .map_err(broke)
    })
}
