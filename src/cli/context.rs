//! What a command needs: arguments, environment and configuration file, turned into values once.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::runtime::Runtime;

use super::{
    args::{Change, Cli, Global, PullRequestState, strict_bool},
    environment::Environment,
    exit::usage,
    output::{Output, Volume},
    registries::{forge_time, settings},
    requests,
};
use crate::{
    config::{self, Config, FILE_NAME, MISSPELLED_NAME, Mapping},
    error::{Class, Error, Errors},
    forge::State,
    http::{Allowance, ServerTime, Transport},
    oci::Tag,
    registry::{Registries, Settings, Source, Sources, resolve::ImageFacts},
    untrusted::plain,
};

/// How long a command that only looks waits for a forge.
const SOON: Duration = Duration::from_secs(10);

/// Everything around a command.
pub(super) struct Context {
    /// Where results and messages go.
    pub(super) output: Output,
    /// What surrounds the run.
    pub(super) environment: Environment,
    config: Option<PathBuf>,
    flag_sources: Vec<Mapping>,
    env_sources: Vec<Mapping>,
    settings: Settings,
    /// How long requests to forges are waited for in all.
    pub(super) forge_time: Allowance,
    registries: OnceCell<Registries>,
    /// What tags were seen to name, by source and tag: a run asks for each once, however often it
    /// plans.
    tags: RefCell<HashMap<(String, Tag), ImageFacts>>,
    runtime: OnceCell<Runtime>,
}

/// Whether a command may change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// Nothing changes.
    Show,
    /// The work tree changes.
    Apply,
    /// A pull request is opened.
    Open(State),
    /// What a pull request would be is shown.
    ShowOpen,
}

impl Context {
    /// Turns what was typed into what is meant.
    pub(super) fn new(cli: &Cli, environment: Environment) -> Result<Self, Errors> {
        let Global {
            config,
            source,
            format,
            color,
            quiet,
            verbose,
        } = &cli.global;
        let volume = match (quiet, verbose) {
            (true, _) => Volume::Quiet,
            (_, 0) => Volume::Normal,
            (_, 1) => Volume::Verbose,
            _ => Volume::Requests,
        };
        if volume == Volume::Requests {
            requests::show();
        }
        let flag_sources = mappings(
            source.iter().map(String::as_str),
            environment.folder(),
            "--source",
        )?;
        let variable = match environment.filled("REPIN_SOURCES") {
            Some(value) => value
                .to_str()
                .ok_or_else(|| usage("REPIN_SOURCES is not UTF-8"))?,
            None => "",
        };
        let lines = variable
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        let env_sources = mappings(lines, environment.folder(), "REPIN_SOURCES")?;
        let settings = settings(&environment)?;
        let forge_time = forge_time(&environment)?;
        let output = Output::new(*format, *color, volume, &environment);
        let (config, registries, runtime, tags) = (
            config.clone(),
            OnceCell::new(),
            OnceCell::new(),
            RefCell::default(),
        );
        Ok(Self {
            output,
            environment,
            config,
            flag_sources,
            env_sources,
            settings,
            forge_time,
            registries,
            tags,
            runtime,
        })
    }

    /// Reads the configuration that was named, or the nearest one.
    pub(super) fn load(&mut self) -> Result<Config, Errors> {
        let folder = self.environment.folder();
        let file = match &self.config {
            Some(file) => folder.join(file),
            None => config::find(folder).ok_or_else(|| no_config(folder))?,
        };
        self.mention_misspelled(&file);
        let shown = file
            .strip_prefix(folder)
            .map_or_else(|_| file.clone(), Path::to_owned);
        let config = config::load(&file, &shown.to_string_lossy())?;
        if let Ok(below) = config.root.strip_prefix(folder) {
            self.output.folder = below.to_string_lossy().into_owned();
            if !self.output.folder.is_empty() {
                self.output.folder.push('/');
            }
        }
        Ok(config)
    }

    /// Warns of every `repin.yml` that is not read although somebody may have meant it to be.
    fn mention_misspelled(&self, file: &Path) {
        let folder = self.environment.folder();
        let beside = file.file_name().is_some_and(|name| name == FILE_NAME);
        let ignored = match (&self.config, file.parent()) {
            (None, _) => config::misspelled(folder),
            (Some(_), Some(parent)) if beside => {
                let file = parent.join(MISSPELLED_NAME);
                if file.is_file() {
                    vec![file]
                } else {
                    Vec::new()
                }
            }
            (Some(_), _) => Vec::new(),
        };
        for ignored in ignored {
            let shown = ignored.strip_prefix(folder).unwrap_or(&ignored).display();
            let shown = plain(&shown.to_string());
            self.output.error_text(&format!(
                "warning: {shown} is not read: the configuration is called {FILE_NAME}\n"
            ));
        }
    }

    /// Where a configuration is to be written: the file that was named, or `repin.yaml` in the
    /// current folder.
    pub(super) fn new_config(&self) -> PathBuf {
        self.environment
            .folder()
            .join(self.config.as_deref().unwrap_or(Path::new(FILE_NAME)))
    }

    /// Where images are read from. The registries of a run are the same throughout: connections and
    /// tokens are theirs.
    pub(super) fn sources(&self, config: &Config) -> Result<Sources, Errors> {
        let layers = vec![
            self.flag_sources.clone(),
            self.env_sources.clone(),
            config.sources.clone(),
        ];
        if let Some(registries) = self.registries.get() {
            return Ok(Sources::new(layers, registries.clone()));
        }
        let settings = Settings {
            realms: config.realms.clone(),
            ..self.settings.clone()
        };
        let registries = Registries::new(settings).map_err(|error| usage(error.to_string()))?;
        Ok(Sources::new(
            layers,
            self.registries.get_or_init(|| registries).clone(),
        ))
    }

    /// What a tag was seen to name in this run.
    pub(super) fn named(&self, source: &Source, tag: &Tag) -> Option<ImageFacts> {
        self.tags
            .borrow()
            .get(&(source.to_string(), tag.clone()))
            .cloned()
    }

    /// Keeps in mind what a tag names.
    pub(super) fn keep(&self, source: &Source, tag: &Tag, facts: &ImageFacts) {
        self.tags
            .borrow_mut()
            .insert((source.to_string(), tag.clone()), facts.clone());
    }

    /// Where all requests of the run are made: connections that are kept belong to it.
    pub(super) fn runtime(&self) -> Result<&Runtime, Errors> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| Errors::io(format!("can't start: {error}")))?;
        Ok(self.runtime.get_or_init(|| runtime))
    }

    /// Ends the run without waiting for what nobody needs any more, such as a name that does not
    /// resolve.
    pub(super) fn close(self) {
        if let Some(runtime) = self.runtime.into_inner() {
            runtime.shutdown_background();
        }
    }

    /// Connections that go the way that registries' connections go. Which token servers are trusted
    /// does not matter to them, so they need no configuration.
    pub(super) fn client(&self, url: &reqwest::Url) -> Result<Transport, Errors> {
        let registries =
            Registries::new(self.settings.clone()).map_err(|error| usage(error.to_string()))?;
        let unavailable = |why| Errors::from(Error::new(Class::Unavailable, "unavailable", why));
        registries.client(url).map_err(unavailable)
    }

    /// For looking only: what does not answer is told of soon.
    pub(super) fn ask_less(&mut self) {
        self.settings.attempts = 2;
        self.forge_time.replace(SOON, "set by this command");
    }

    /// How often a request of this run is tried.
    pub(super) fn attempts(&self) -> u32 {
        self.settings.attempts
    }

    /// How long an answer may make no progress.
    pub(super) fn progress(&self) -> Duration {
        self.settings.progress
    }

    /// What the registries that were asked so far said about the time.
    pub(super) fn clocks(&self) -> Vec<(String, ServerTime)> {
        self.registries
            .get()
            .map_or_else(Vec::new, Registries::clocks)
    }

    /// Whether a command with these options may change anything; `REPIN_DRY_RUN` can only forbid.
    pub(super) fn intent(&self, change: &Change) -> Result<Intent, Errors> {
        let armed = change.apply || change.dry_run == Some(false);
        let forbidden = change.dry_run == Some(true) || self.dry_run_forced()?;
        Ok(match change.pr {
            Some(_) if forbidden => Intent::ShowOpen,
            Some(PullRequestState::Draft) => Intent::Open(State::Draft),
            Some(PullRequestState::Ready) => Intent::Open(State::Ready),
            None if armed && !forbidden => Intent::Apply,
            None => Intent::Show,
        })
    }

    /// Whether a command that was told `--apply` or not, and `--dry-run`, may change something.
    pub(super) fn armed(&self, apply: bool, dry_run: Option<bool>) -> Result<bool, Errors> {
        let forbidden = dry_run == Some(true) || self.dry_run_forced()?;
        Ok((apply || dry_run == Some(false)) && !forbidden)
    }

    /// Whether `REPIN_DRY_RUN` forbids every change.
    pub(super) fn dry_run_forced(&self) -> Result<bool, Errors> {
        let Some(value) = self.environment.variable("REPIN_DRY_RUN") else {
            return Ok(false);
        };
        let strict = value
            .to_str()
            .ok_or_else(|| "it is not UTF-8".to_owned())
            .and_then(strict_bool);
        strict.map_err(|why| {
            usage(format!(
                "REPIN_DRY_RUN is `{}`: {why}",
                plain(&value.to_string_lossy())
            ))
        })
    }
}

/// That a name is one of a configured image; `what`: where it was typed.
pub(super) fn configured(config: &Config, name: &str, what: &str) -> Result<(), Errors> {
    if config.image(name).is_some() {
        return Ok(());
    }
    let known: Vec<_> = config
        .images
        .iter()
        .map(|image| image.name.as_str())
        .collect();
    Err(usage(format!(
        "{what}`{name}` is no configured image; there are {}",
        known.join(", ")
    )))
}

fn mappings<'t>(
    texts: impl Iterator<Item = &'t str>,
    folder: &Path,
    from: &str,
) -> Result<Vec<Mapping>, Errors> {
    texts
        .map(|text| Mapping::parse(text, folder).map_err(|error| usage(format!("{from}: {error}"))))
        .collect()
}

fn no_config(folder: &Path) -> Errors {
    let message = format!("there is no {FILE_NAME} in {} or above", folder.display());
    let problem = Error::input("config", message);
    Errors::from(match config::misspelled(folder).first() {
        Some(file) => problem.help(format!(
            "found {}: rename it to {FILE_NAME}, or name it with --config FILE",
            file.display()
        )),
        None => problem.help("change to the repository, or name the file with --config FILE"),
    })
}
