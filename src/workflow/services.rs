//! The services of a run: the environment, registries, forges, and the receiver of messages.

use std::{
    cell::{OnceCell, RefCell},
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use futures_util::future;
use tokio::runtime::Runtime;

use super::{Console, Environment, Interruption, settings};
use crate::{
    code::Code,
    config::{Config, Image, Mapping, few},
    error::{Class, Error, Errors, usage},
    http::{ServerTime, SharedDeadline, Transport},
    oci::{Digest, Tag},
    registry::{Registries, Settings, Source, Sources, resolve::ImageFacts},
    trust::SearchResult,
};

/// How long a command that changes nothing waits for a forge.
const SOON: Duration = Duration::from_secs(10);
/// The minimum duration of work that shows progress.
const BLINK: Duration = Duration::from_millis(150);
/// How often the message of progress is updated.
const REFRESH: Duration = Duration::from_millis(200);

/// The services of one run.
pub struct Services {
    /// The environment of the run.
    pub environment: Environment,
    /// The receiver of messages.
    pub console: Box<dyn Console>,
    /// The total time limit for requests to forges.
    pub forge_time: SharedDeadline,
    /// The record for the end of the run by a signal.
    pub interruption: Arc<Interruption>,
    mappings: [Vec<Mapping>; 2],
    settings: Settings,
    registries: OnceCell<Registries>,
    /// The digests that tags resolved to, by source and tag: a run resolves each tag once, however
    /// often it plans.
    tags: RefCell<HashMap<(String, Tag), ImageFacts>>,
    /// What was found attached to digests, by digest and policy: a run looks each up once, however
    /// often it plans.
    examined: RefCell<HashMap<String, Rc<SearchResult>>>,
    /// The policies whose roots were warned of.
    policies: RefCell<HashSet<Digest>>,
    runtime: OnceCell<Runtime>,
}

impl Services {
    /// Reads settings from the environment; `mappings` of the command line come before those of
    /// `REPIN_SOURCES` and those of the configuration.
    pub fn new(
        environment: Environment,
        mappings: Vec<Mapping>,
        console: Box<dyn Console>,
        interruption: Arc<Interruption>,
    ) -> Result<Self, Errors> {
        Ok(Self {
            interruption,
            mappings: [mappings, settings::mappings(&environment)?],
            settings: settings::registries(&environment)?,
            forge_time: settings::forge_time(&environment)?,
            environment,
            console,
            registries: OnceCell::new(),
            tags: RefCell::default(),
            examined: RefCell::default(),
            policies: RefCell::default(),
            runtime: OnceCell::new(),
        })
    }

    /// The sources of images. A run uses the same registries throughout, with their connections and
    /// tokens.
    pub fn sources(&self, config: &Config) -> Result<Sources, Errors> {
        let mappings = self.mappings.iter().chain([&config.sources]);
        let mappings = mappings.cloned().collect();
        Ok(Sources::new(mappings, self.registries(config)?))
    }

    /// The client of registries.
    pub fn registries(&self, config: &Config) -> Result<Registries, Errors> {
        if let Some(registries) = self.registries.get() {
            return Ok(registries.clone());
        }
        let settings = Settings {
            realms: config.realms.clone(),
            ..self.settings.clone()
        };
        let registries = Registries::new(settings).map_err(|error| usage(error.to_string()))?;
        Ok(self.registries.get_or_init(|| registries).clone())
    }

    /// Where each image is read from, in the order of the configuration.
    pub fn sources_of_images(&self, config: &Config) -> Result<Vec<Source>, Errors> {
        let sources = self.sources(config)?;
        let of = |image: &Image| sources.source(&image.repository);
        let found: Result<Vec<Source>, _> = config.images.iter().map(of).collect();
        found.map_err(|error| Errors::from(Error::input(Code::SOURCE, error.to_string())))
    }

    /// The digest that a tag resolved to in this run.
    pub(super) fn resolved_tag(&self, source: &Source, tag: &Tag) -> Option<ImageFacts> {
        self.tags
            .borrow()
            .get(&(source.to_string(), tag.clone()))
            .cloned()
    }

    /// Records the digest that a tag resolves to.
    pub(super) fn remember_tag(&self, source: &Source, tag: &Tag, facts: &ImageFacts) {
        self.tags
            .borrow_mut()
            .insert((source.to_string(), tag.clone()), facts.clone());
    }

    /// Whether this is the first time that a run reads a policy, by its digest.
    pub(super) fn first_policy(&self, policy: Digest) -> bool {
        self.policies.borrow_mut().insert(policy)
    }

    /// What was found attached to a digest in this run.
    pub(super) fn examined(&self, key: &str) -> Option<Rc<SearchResult>> {
        self.examined.borrow().get(key).cloned()
    }

    /// Remembers what is attached to a digest.
    pub(super) fn remember_examined(&self, key: String, found: &Rc<SearchResult>) {
        self.examined.borrow_mut().insert(key, Rc::clone(found));
    }

    /// Waits for requests; shows `message` if that takes longer.
    pub fn wait<T>(&self, work: impl Future<Output = T>, message: &str) -> Result<T, Errors> {
        self.wait_with(work, || message.to_owned())
    }

    /// Like `wait`, with a message that changes during the wait.
    pub fn wait_with<T>(
        &self,
        work: impl Future<Output = T>,
        message: impl Fn() -> String,
    ) -> Result<T, Errors> {
        Ok(self.runtime()?.block_on(async {
            tokio::pin!(work);
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(BLINK) => {}
            }
            let Some(progress) = self.console.progress(&message()) else {
                return work.await;
            };
            loop {
                tokio::select! {
                    biased;
                    done = &mut work => break done,
                    () = tokio::time::sleep(REFRESH) => progress.set_message(&message()),
                }
            }
        }))
    }

    /// Waits for requests about several things at once, and shows which of them are not done.
    pub fn wait_for_all<F: Future>(
        &self,
        what: &str,
        names: &[&str],
        work: impl IntoIterator<Item = F>,
    ) -> Result<Vec<F::Output>, Errors> {
        let open = OpenWork::of(what, names);
        let work = work.into_iter().enumerate().map(|(at, work)| {
            let open = &open;
            async move {
                let done = work.await;
                open.done(at);
                done
            }
        });
        self.wait_with(future::join_all(work), || open.describe())
    }

    /// The runtime of all requests, which owns their open connections.
    fn runtime(&self) -> Result<&Runtime, Errors> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| Errors::io(format!("cannot start: {error}")))?;
        Ok(self.runtime.get_or_init(|| runtime))
    }

    /// Ends the run without waiting for abandoned work, such as a slow name lookup.
    pub fn close(self) {
        if let Some(runtime) = self.runtime.into_inner() {
            runtime.shutdown_background();
        }
    }

    /// A transport with the same settings as that of registries. It needs no configuration, because
    /// trusted token servers do not matter to it.
    pub(super) fn client(&self, url: &reqwest::Url) -> Result<Transport, Errors> {
        let registries =
            Registries::new(self.settings.clone()).map_err(|error| usage(error.to_string()))?;
        let unavailable =
            |reason| Errors::from(Error::new(Class::Unavailable, Code::UNAVAILABLE, reason));
        registries.client(url).map_err(unavailable)
    }

    /// Waits only briefly for unreachable servers: for commands that change nothing.
    pub fn wait_less(&mut self) {
        self.settings.attempts = 2;
        self.forge_time.replace(SOON, "set by this command");
    }

    /// How often a request of this run is tried.
    pub(super) fn attempts(&self) -> u32 {
        self.settings.attempts
    }

    /// How long a response may make no progress.
    pub(super) fn progress(&self) -> Duration {
        self.settings.stall_timeout
    }

    /// The times that the contacted registries reported.
    pub fn clocks(&self) -> Vec<(String, ServerTime)> {
        self.registries
            .get()
            .map_or_else(Vec::new, Registries::clocks)
    }
}

/// The most names that a line of progress lists.
const NAMES_SHOWN: usize = 3;

/// Which of several things are not done yet.
struct OpenWork<'w> {
    what: &'w str,
    names: &'w [&'w str],
    open: RefCell<Vec<bool>>,
}

impl<'w> OpenWork<'w> {
    fn of(what: &'w str, names: &'w [&'w str]) -> Self {
        Self {
            what,
            names,
            open: RefCell::new(vec![true; names.len()]),
        }
    }

    fn done(&self, at: usize) {
        if let Some(open) = self.open.borrow_mut().get_mut(at) {
            *open = false;
        }
    }

    fn describe(&self) -> String {
        let open = self.open.borrow();
        let left = self.names.iter().zip(open.iter());
        let left: Vec<_> = left
            .filter(|(_, open)| **open)
            .map(|(name, _)| *name)
            .collect();
        format!(
            "{}: {} of {} done, waiting for {}",
            self.what,
            self.names.len() - left.len(),
            self.names.len(),
            few(left.iter().copied(), NAMES_SHOWN)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_names_what_is_not_done() {
        let names = ["review", "fix", "base", "ops", "web"];
        let open = OpenWork::of("resolving tags", &names);
        assert_eq!(
            open.describe(),
            "resolving tags: 0 of 5 done, waiting for review, fix, base and 2 more"
        );
        open.done(0);
        open.done(3);
        assert_eq!(
            open.describe(),
            "resolving tags: 2 of 5 done, waiting for fix, base, web"
        );
    }
}
