//! The stage of the smoke command: one image at a time, in the first engine that works.

use std::thread;

use tokio::sync::oneshot;

use super::{MissingCredential, Services, Stop};
use crate::{
    base::error::{Error, Errors},
    config::Config,
    core::{
        checks::{self, Contents, Images, Smoke, Strictness},
        smoke::{self, EngineContext, ImageLocation, Request, Secrets, SmokeReport},
    },
};

/// The stage of the smoke command, with its secrets.
pub(super) struct SmokeStage {
    secrets: Option<Secrets>,
}

impl SmokeStage {
    /// Finds the secrets before the first request. A missing secret stops the run.
    pub(super) fn prepare(
        config: &Config,
        missing_credential: MissingCredential,
        services: &Services,
    ) -> Result<Self, Stop> {
        let Some(smoke) = &config.smoke else {
            return Ok(Self { secrets: None });
        };
        let variables = services.environment.for_engine(Some(config));
        match Secrets::from_variables(&smoke.env, &variables) {
            Ok(secrets) => Ok(Self {
                secrets: Some(secrets),
            }),
            Err(missing) if missing_credential == MissingCredential::Skip => {
                Err(Stop::Unconfigured(missing.to_string()))
            }
            Err(missing) => Err(Stop::Errors(Errors::from(&Error::from(missing)))),
        }
    }

    /// Runs the command in every image.
    pub(super) fn run<'c, H: Strictness>(
        &self,
        images: Images<'c, H, Contents>,
        config: &Config,
        services: &Services,
    ) -> Result<Images<'c, H, Smoke>, Stop> {
        let mut stage = images.smoke();
        let open: Vec<_> = stage.pending().collect();
        if let (Some(smoke), Some(secrets), false) = (&config.smoke, &self.secrets, open.is_empty())
        {
            // A signal stops the container, then the program.
            let _step = services.interruption.harmless_step();
            let sources = services.sources(config)?;
            for place in open {
                let Some(facts) = stage.facts(place.image) else {
                    continue;
                };
                let image = &config.images[place.image];
                let location = ImageLocation::for_repository(
                    &image.repository,
                    sources.mapping(&image.repository),
                );
                let container = format!("repin-smoke-{:016x}", fastrand::u64(..));
                let request = Request {
                    smoke,
                    repository: &image.repository,
                    image: facts,
                    location: &location,
                    container,
                };
                let report = run_in_thread(&request, secrets, config, services)?;
                let verdict = checks::check_smoke(smoke, &image.name, &report);
                stage.record(place, verdict.map_err(|error| vec![error]));
            }
        }
        Ok(stage.finish()?)
    }
}

/// Runs the command in a separate thread, while the terminal shows progress.
fn run_in_thread(
    request: &Request<'_>,
    secrets: &Secrets,
    config: &Config,
    services: &Services,
) -> Result<SmokeReport, Errors> {
    let context = EngineContext {
        variables: services.environment.for_engine(Some(config)),
        machine: services.environment.machine.to_owned(),
        interrupted: services.interruption.flag(),
    };
    thread::scope(|scope| {
        let (sender, done) = oneshot::channel();
        scope.spawn(move || drop(sender.send(Box::new(smoke::run(request, secrets, &context)))));
        let message = format!("running the smoke command in {}", request.repository);
        let report = services
            .wait(done, &message)
            .map_err(|_| Errors::io("the smoke command was interrupted"))?;
        Ok(*report)
    })
}
