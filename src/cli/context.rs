//! What a command needs: arguments, environment and configuration file, turned into values once.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    args::{Change, Cli, Global, PullRequestState, strict_bool},
    format::Volume,
    output::Output,
    requests, signals,
};
use crate::{
    code::Code,
    config::{self, Config, FILE_NAME, MISSPELLED_NAME},
    error::{Error, Errors, usage},
    forge::State,
    git,
    untrusted::plain,
    workflow::{Environment, Intent, OpenRequest, Services, parse_mappings},
};

/// The surroundings of a command.
pub(super) struct Context {
    /// Where results and messages go.
    pub(super) output: Output,
    /// The services of a run.
    pub(super) services: Services,
    config: Option<PathBuf>,
    /// The option that asked for a change, and what forbade it.
    forbidden: Cell<Option<[&'static str; 2]>>,
}

impl Context {
    /// Interprets the typed arguments.
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
        let texts = source.iter().map(String::as_str);
        let mappings = parse_mappings(texts, environment.directory(), "--source")?;
        let mut output = Output::new(*format, *color, volume, &environment);
        let interruption = signals::watch(*format, *color, &environment, output.stderr())?;
        output.interruption = Some(Arc::clone(&interruption));
        let console = Box::new(output.stderr());
        Ok(Self {
            services: Services::new(environment, mappings, console, interruption)?,
            output,
            config: config.clone(),
            forbidden: Cell::new(None),
        })
    }

    /// Ends a run that was asked for a change and must not make one by stating what forbade it.
    pub(super) fn name_what_forbade(&self) {
        if let Some([asked, by]) = self.forbidden.get() {
            let line = format!("`{asked}` changed nothing, because `{by}` forbids every change");
            self.output.note(&line);
        }
    }

    /// Reads the configuration given by `--config`, or the nearest one, of one repository.
    pub(super) fn load(&mut self) -> Result<Config, Errors> {
        let config = self.load_any()?;
        config.counts_pins()?;
        Ok(config)
    }

    /// Reads the configuration given by `--config`, or the nearest one; that of a fleet may leave
    /// files and counts to its repositories.
    pub(super) fn load_any(&mut self) -> Result<Config, Errors> {
        let directory = self.services.environment.directory();
        let file = match &self.config {
            Some(file) => directory.join(file),
            None => config::find(directory).ok_or_else(|| no_config(directory))?,
        };
        self.mention_misspelled(&file);
        let shown = file
            .strip_prefix(directory)
            .map_or_else(|_| file.clone(), Path::to_owned);
        let load = match self.config {
            Some(_) => config::load_chosen,
            None => config::load,
        };
        let config = load(&file, &shown.to_string_lossy())?;
        git::refuse_bare_root(&config.root).map_err(Error::from)?;
        self.output.directory = self.services.environment.path_to(&config.root);
        self.output.directories.root.clone_from(&config.root);
        Ok(config)
    }

    /// Warns about every `repin.yml`, which is never read.
    fn mention_misspelled(&self, file: &Path) {
        let directory = self.services.environment.directory();
        let beside = file.file_name().is_some_and(|name| name == FILE_NAME);
        let ignored = match (&self.config, file.parent()) {
            (None, _) => config::misspelled(directory),
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
            let shown = ignored
                .strip_prefix(directory)
                .unwrap_or(&ignored)
                .display();
            let shown = plain(&shown.to_string());
            self.output.error_text(&format!(
                "warning: {shown} is ignored: the configuration must be named {FILE_NAME}\n"
            ));
        }
    }

    /// The path of a configuration to write: the file given by `--config`, or `repin.yaml` in the
    /// current directory.
    pub(super) fn new_config(&self) -> PathBuf {
        self.services
            .environment
            .directory()
            .join(self.config.as_deref().unwrap_or(Path::new(FILE_NAME)))
    }

    /// Whether a command with these options may change anything; `REPIN_DRY_RUN` can only forbid it.
    pub(super) fn intent(&self, change: &Change) -> Result<Intent, Errors> {
        let armed = change.apply || change.dry_run == Some(false);
        let asked = change.pr.map_or("--apply", |_| "--pr");
        let asks = change.apply || change.pr.is_some();
        let forbidden = self.forbids(asks.then_some(asked), change.dry_run)?;
        Ok(match change.pr {
            Some(_) if forbidden => Intent::ShowPullRequest,
            Some(state) => Intent::OpenPullRequest(OpenRequest {
                state: state.into(),
                reopen: change.reopen,
            }),
            None if armed && !forbidden => Intent::Apply {
                commit: change.commit,
            },
            None => Intent::Show,
        })
    }

    /// The state in which pull requests are opened; `None`: none was requested, or all changes are
    /// forbidden.
    pub(super) fn opens(&self, pr: Option<PullRequestState>) -> Result<Option<State>, Errors> {
        let forbidden = self.forbids(pr.map(|_| "--pr"), None)?;
        Ok(pr.map(State::from).filter(|_| !forbidden))
    }

    /// Whether a command may change anything, given `--apply` and `--dry-run`.
    pub(super) fn armed(&self, apply: bool, dry_run: Option<bool>) -> Result<bool, Errors> {
        let forbidden = self.forbids(apply.then_some("--apply"), dry_run)?;
        Ok((apply || dry_run == Some(false)) && !forbidden)
    }

    /// Whether every change is forbidden; remembers it if an option `asked` for one.
    fn forbids(&self, asked: Option<&'static str>, dry_run: Option<bool>) -> Result<bool, Errors> {
        let forced = self.dry_run_forced()?;
        let by = match (dry_run, forced) {
            (Some(true), _) => "--dry-run",
            (_, true) => "REPIN_DRY_RUN",
            _ => return Ok(false),
        };
        self.forbidden.set(asked.map(|asked| [asked, by]));
        Ok(true)
    }

    /// Whether `REPIN_DRY_RUN` forbids every change.
    pub(super) fn dry_run_forced(&self) -> Result<bool, Errors> {
        let Some(value) = self.services.environment.variable("REPIN_DRY_RUN") else {
            return Ok(false);
        };
        let strict = value
            .to_str()
            .ok_or_else(|| "not UTF-8".to_owned())
            .and_then(strict_bool);
        strict.map_err(|reason| {
            usage(format!(
                "REPIN_DRY_RUN is `{}`: {reason}",
                plain(&value.to_string_lossy())
            ))
        })
    }
}

fn no_config(directory: &Path) -> Errors {
    let message = format!(
        "{FILE_NAME} not found in {} or any directory above it",
        directory.display()
    );
    let problem = Error::input(Code::CONFIG, message);
    Errors::from(match config::misspelled(directory).first() {
        Some(file) => problem.help(format!(
            "found {}: rename it to {FILE_NAME}, or pass it with --config FILE",
            file.display()
        )),
        None => problem.help("run repin in the repository, pass the file with --config FILE, or write one with `repin init`"),
    })
}
