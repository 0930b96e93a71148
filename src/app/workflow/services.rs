//! The context of a run: the environment, registries, forges, and the receiver of messages.

use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future;
use reqwest::Url;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    Console, Environment, Interruption,
    caches::{
        FetchedSources, ImageAttempts, ImageCache, OtherSetsCache, TagCache, TemporaryMirrors,
        TrustCache,
    },
    environment::ItemProgress,
    known_heads::KnownHeads,
    settings,
    shared_repository::SharedRepository,
};
use crate::{
    base::{
        error::{Class, Code, Error, Errors, usage},
        http::{ServerTime, ServerTimes, SharedDeadline, Transport},
        text::few,
        untrusted::plain,
    },
    config::Config,
    contents::inventory::LayerCache,
    core::outside::TrackedTree,
    forge::ServerFacts,
    git::{self, Authorities, Connections, DefaultBranches, Git, GitError},
    oci::{
        date,
        registry::{Mapping, Registries, RequestedRepositories, Settings, Source, Sources},
    },
};

/// The deadline for forges in a command that changes nothing.
const SHORT_DEADLINE: Duration = Duration::from_secs(10);
/// The tolerated lead of the clock of a build.
const BUILD_CLOCK_TOLERANCE: Duration = Duration::from_secs(300);
/// The minimum duration of work that shows progress.
const PROGRESS_DELAY: Duration = Duration::from_millis(150);
/// The interval between updates of the progress message.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// The context of one run.
pub(crate) struct Services {
    pub environment: Environment,
    pub console: Box<dyn Console>,
    /// The deadline for all requests to forges.
    pub forge_deadline: SharedDeadline,
    /// The clocks of the forges that were contacted.
    pub(super) forge_times: ServerTimes,
    pub interruption: Arc<Interruption>,
    /// The mappings of the command line, and those of `REPIN_SOURCES`.
    mappings: [Vec<Mapping>; 2],
    requested: RequestedRepositories,
    settings: Settings,
    registries: OnceCell<Result<Registries, Errors>>,
    pub(super) resolved_tags: TagCache,
    pub(super) images: ImageCache,
    pub(super) image_attempts: ImageAttempts,
    pub(super) other_sets: OtherSetsCache,
    pub(super) fetched_sources: FetchedSources,
    pub(super) known_heads: KnownHeads,
    pub(super) temporary_mirrors: TemporaryMirrors,
    /// The facts about the servers of forges, by the URL of the API.
    server_facts: RefCell<HashMap<Url, ServerFacts>>,
    pub(super) trust_cache: TrustCache,
    /// The layers of several sets; `None` in a run for one set.
    pub(super) kept_layers: RefCell<Option<LayerCache>>,
    /// The repository of several sets; empty in a run for one set.
    pub(super) shared_repository: OnceCell<SharedRepository>,
    /// The creation times in the future that were reported.
    reported_times: RefCell<BTreeSet<String>>,
    /// The certificates for git; `None`: git trusts those that it is configured with.
    authorities: Option<Arc<Authorities>>,
    /// The default branches of the remotes of clones, each of which is requested once.
    defaults: DefaultBranches,
    /// Whether the deadline is only for servers that are unreachable.
    has_short_waits: bool,
    /// The runtime of all requests, which owns their open connections.
    runtime: Runtime,
}

impl Services {
    /// Creates the services from the settings of the environment. `mappings` of the command line
    /// precede those of `REPIN_SOURCES` and those of the configuration.
    pub(crate) fn new(
        environment: Environment,
        mappings: Vec<Mapping>,
        console: Box<dyn Console>,
        interruption: Arc<Interruption>,
    ) -> Result<Self, Errors> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Errors::io(format!("cannot start: {error}")))?;
        Ok(Self {
            authorities: settings::authorities(&environment, &interruption),
            defaults: DefaultBranches::default(),
            has_short_waits: false,
            interruption,
            mappings: [mappings, settings::mappings(&environment)?],
            requested: RequestedRepositories::default(),
            settings: settings::registries(&environment)?,
            forge_deadline: settings::forge_deadline(&environment)?,
            forge_times: ServerTimes::default(),
            reported_times: RefCell::default(),
            environment,
            console,
            registries: OnceCell::new(),
            resolved_tags: TagCache::default(),
            images: ImageCache::default(),
            image_attempts: ImageAttempts::default(),
            other_sets: OtherSetsCache::default(),
            fetched_sources: FetchedSources::default(),
            known_heads: KnownHeads::default(),
            temporary_mirrors: TemporaryMirrors::default(),
            server_facts: RefCell::default(),
            trust_cache: TrustCache::default(),
            kept_layers: RefCell::default(),
            shared_repository: OnceCell::new(),
            runtime,
        })
    }

    /// The sources of images, which request a manifest by its digest once in the run. A run uses the same
    /// registries throughout, with their connections and tokens.
    pub(crate) fn sources(&self, config: &Config) -> Result<Sources, Errors> {
        let mappings = self
            .mappings
            .iter()
            .chain([&config.sources])
            .cloned()
            .collect();
        let sources = Sources::new(mappings, self.registries(config)?);
        Ok(sources.keeping_manifests().recorded_in(&self.requested))
    }

    /// The mappings of the command line whose prefix no repository has that was read.
    pub(crate) fn unmatched_mappings(&self) -> Vec<&Mapping> {
        self.requested.unmatched(&self.mappings[0])
    }

    /// The sources of images without a configuration.
    pub(crate) fn sources_without_config(&self) -> Result<Sources, Errors> {
        let registries = Registries::new(self.settings.clone());
        let registries = registries.map_err(|error| usage(error.to_string()))?;
        Ok(Sources::new(self.mappings.to_vec(), registries).recorded_in(&self.requested))
    }

    pub(crate) fn registries(&self, config: &Config) -> Result<Registries, Errors> {
        let registries = self.registries.get_or_init(|| {
            let settings = Settings {
                realms: config.realms.clone(),
                ..self.settings.clone()
            };
            Registries::new(settings).map_err(|error| usage(error.to_string()))
        });
        registries.clone()
    }

    /// The facts about the server of a forge, which are read once in the run.
    pub(super) fn server_facts(&self, api: &Url) -> ServerFacts {
        let mut servers = self.server_facts.borrow_mut();
        servers.entry(api.clone()).or_default().clone()
    }

    /// The source of each image, in the order of the configuration.
    pub(crate) fn sources_of_images(&self, config: &Config) -> Result<Vec<Source>, Errors> {
        let sources = self.sources(config)?;
        let mut of_images = Vec::new();
        for image in &config.images {
            let source = sources.source(&image.repository);
            of_images.push(source.map_err(|error| Error::input(Code::SOURCE, error.to_string()))?);
        }
        Ok(of_images)
    }

    /// Runs requests to completion, and shows `message` if they take longer.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>, message: &str) -> T {
        self.wait_with(work, || message.to_owned())
    }

    /// Determines the order of builds.
    pub(super) fn wait_for_order<T>(&self, order: impl Future<Output = T>) -> T {
        self.wait(order, "determining the order of builds")
    }

    /// Like `wait`, with a message that changes during the wait.
    pub(crate) fn wait_with<T>(
        &self,
        work: impl Future<Output = T>,
        message: impl Fn() -> String,
    ) -> T {
        self.runtime.block_on(async {
            tokio::pin!(work);
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(PROGRESS_DELAY) => {}
            }
            let Some(progress) = self.console.progress(&message()) else {
                return work.await;
            };
            loop {
                tokio::select! {
                    biased;
                    done = &mut work => break done,
                    () = tokio::time::sleep(PROGRESS_INTERVAL) => progress.set_message(&message()),
                }
            }
        })
    }

    /// Runs concurrent requests to completion, and shows the items that are pending.
    pub(crate) fn wait_for_all<F: Future>(
        &self,
        task: &str,
        names: &[&str],
        work: impl IntoIterator<Item = F>,
    ) -> Vec<F::Output> {
        let progress = ItemProgress::new(task, names);
        let work = work.into_iter().enumerate().map(|(index, work)| {
            let progress = &progress;
            async move {
                let output = work.await;
                progress.finish(index);
                output
            }
        });
        self.wait_with(future::join_all(work), || progress.describe())
    }

    /// Closes the runtime without its abandoned work, such as a slow name lookup.
    pub(crate) fn close(self) {
        self.runtime.shutdown_background();
    }

    /// A transport with the settings of the transport for registries. It needs no configuration, because
    /// it contacts no token server.
    pub(super) fn client(&self, url: &reqwest::Url) -> Result<Transport, Errors> {
        let registries =
            Registries::new(self.settings.clone()).map_err(|error| usage(error.to_string()))?;
        let usable = registries.read_roots();
        usable.map_err(|error| usage(error.to_string()))?;
        let unavailable =
            |reason| Errors::from(Error::new(Class::Unavailable, Code::UNAVAILABLE, reason));
        registries.client(url).map_err(unavailable)
    }

    /// Shortens the wait for unreachable servers, in commands that change nothing.
    pub(crate) fn shorten_waits(&mut self) {
        self.has_short_waits = true;
        self.settings.attempts = 2;
        self.forge_deadline
            .replace(SHORT_DEADLINE, "set by this command");
    }

    /// Applies the deadline for forges to registries as well, in a command that may read many images.
    pub(crate) fn limit_registries(&mut self) {
        self.settings.deadline = Some(self.forge_deadline.clone());
    }

    /// The maximum number of attempts for a request.
    pub(super) fn attempts(&self) -> u32 {
        self.settings.attempts
    }

    /// Creates an empty directory for fetched objects, which is removed when dropped.
    pub(crate) fn temporary_directory(&self) -> Result<TempDir, Errors> {
        let parent = settings::temporary_parent(&self.environment);
        self.interruption
            .temporary_directory(&parent)
            .map_err(|error| Errors::io(format!("cannot make a temporary directory: {error}")))
    }

    /// The settings for connections of git to a forge or a source. A fetch that makes progress may take longer than a
    /// command waits for unreachable servers.
    pub(crate) fn connections(&self) -> Connections {
        let deadline = (!self.has_short_waits).then(|| self.forge_deadline.clone());
        Connections {
            stall_limit: Some(self.stall_timeout()),
            deadline,
            authorities: self.authorities.clone(),
            defaults: self.defaults.clone(),
        }
    }

    /// The settings for connections of git to the remotes of a clone.
    pub(crate) fn clone_connections(&self) -> Connections {
        Connections {
            authorities: self.authorities.clone(),
            defaults: self.defaults.clone(),
            ..Connections::default()
        }
    }

    /// The maximum time without progress in a response.
    pub(super) fn stall_timeout(&self) -> Duration {
        self.settings.stall_timeout
    }

    /// The times that the contacted registries reported.
    pub(crate) fn clocks(&self) -> Vec<(String, ServerTime)> {
        match self.registries.get() {
            Some(Ok(registries)) => registries.clocks(),
            Some(Err(_)) | None => Vec::new(),
        }
    }

    /// The present time by the registries and forges that this run contacted, the earliest if they differ; without
    /// one, that of this machine.
    pub(crate) fn authoritative_time(&self) -> SystemTime {
        let now = (self.environment.clock)();
        let forges = self.forge_times.all();
        let times = self.clocks().into_iter().chain(forges);
        times.map(|(_, time)| time.at(now)).min().unwrap_or(now)
    }

    /// A creation time, unless it lies in the future: then it is no evidence, which is reported once.
    pub(super) fn credible_time(&self, subject: &str, time: SystemTime) -> Option<SystemTime> {
        if time <= self.authoritative_time() + BUILD_CLOCK_TOLERANCE {
            return Some(time);
        }
        let text = format!(
            "the creation time of {} lies in the future ({}), so it is no evidence of the order",
            plain(subject),
            date::format(time)
        );
        if self.reported_times.borrow_mut().insert(text.clone()) {
            self.console.warn(&text);
        }
        None
    }
}

impl Services {
    /// Warns of builds or sets that were not selected because a rollback undid them.
    pub(super) fn warn_of_held(&self, held: Vec<String>) {
        if !held.is_empty() {
            let names = few(held.into_iter(), 3);
            let warning = format!("not selected, because a rollback undid it: {names}");
            self.console.warn(&warning);
        }
    }

    /// Reads the repository around the current directory once for these sets. A single set reads only its
    /// own files and their history.
    pub(crate) fn share_repository(&self, sets: &[&Config]) {
        if sets.len() < 2 {
            return;
        }
        let shared = SharedRepository::new(self.environment.directory(), sets);
        // A command selects its sets once.
        let _ = self.shared_repository.set(shared);
    }

    /// The repository of a set.
    pub(crate) fn git(&self, config: &Config) -> Result<Git, GitError> {
        let shared = self.shared_repository.get();
        let git = match shared.and_then(SharedRepository::git) {
            Some(shared) => shared.at(&config.root),
            None => Git::open(&config.root),
        };
        Ok(git?.connecting_with(self.clone_connections()))
    }

    /// The repository of a set; `None` outside of a work tree.
    pub(crate) fn discover_git(&self, config: &Config) -> Result<Option<Git>, GitError> {
        git::unless_missing(self.git(config))
    }

    /// The work tree of a set, with the list of its files.
    pub(crate) fn tracked_tree(&self, config: &Config) -> TrackedTree {
        let shared = self.shared_repository.get();
        match shared.and_then(SharedRepository::tree) {
            Some(shared) => TrackedTree::from_shared(config, shared),
            None => TrackedTree::open(config),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::app::{cli::Silence, workflow::environment::tests::with_variables};

    /// The services of a run without variables.
    pub(in crate::app::workflow) fn services() -> Services {
        let interruption = Arc::new(Interruption::new(Box::new(|_| ())));
        let environment = with_variables(&[]);
        Services::new(environment, Vec::new(), Box::new(Silence), interruption).unwrap()
    }

    #[test]
    fn closing_does_not_wait_for_abandoned_work() {
        let services = services();
        let (end, ends) = mpsc::channel::<()>();
        services.runtime.spawn_blocking(move || ends.recv());
        services.close();
        end.send(()).unwrap();
    }

    #[test]
    fn earliest_server_time_is_authoritative() {
        let services = services();
        let now = (services.environment.clock)();
        let day = Duration::from_secs(86_400);
        assert!(services.authoritative_time() >= now);
        for (host, server) in [("one.example", now + day), ("two.example", now - 2 * day)] {
            let time = ServerTime { server, local: now };
            services.forge_times.record(host.to_owned(), time);
        }
        let time = services.authoritative_time();
        assert!(time >= now - 2 * day && time < now - day);
        assert_eq!(services.credible_time("`a`", now), None);
        let past = now - 3 * day;
        assert_eq!(services.credible_time("`a`", past), Some(past));
    }

    #[test]
    fn shortened_waits_limit_attempts_and_the_forge() {
        let mut services = services();
        services.shorten_waits();
        assert_eq!(services.attempts(), 2);
        let deadline = services.forge_deadline.describe();
        assert_eq!(deadline, "set by this command, 10 s");
    }
}
