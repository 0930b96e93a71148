//! The context of a command, from its arguments, the environment and the configuration file.
//!
//! The other side of `workflow::environment::render`: renders one template within limits.

use std::{
    cell::Cell,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    args::{ChangeOptions, Global, PullRequestState, strict_bool},
    diagnostics,
    format::{FormatWord, Volume},
    output::Output,
    signals,
    write_file::random_number,
};
use crate::{
    app::{
        report::body::TemplateJob,
        workflow::{
            ApplyMode, Environment, Intent, OpenRequest, Services, WaitRequest,
            environment::{MEMORY, PROCESSOR_SECONDS, STACK, gitlab_api},
            parse_mappings,
        },
    },
    base::{
        error::{Code, Error, Errors, usage},
        files::{RelPath, is_config_file},
        text::few,
        untrusted::plain,
    },
    config::{self, Config, FILE_NAME, MISSPELLED_NAME},
    core::configurations::{self, Listing},
    forge::Readiness,
    git::{self, GitError},
};

/// The number of configuration files that an error lists; the others are counted.
const MAX_LISTED: usize = 10;
/// The number of files and directories that are searched for these files without git.
const MAX_VISITED: usize = 20_000;

pub(super) struct Context {
    pub(super) output: Output,
    pub(super) services: Services,
    config: Option<PathBuf>,
    /// Whether `--format plain` is given.
    pub(super) is_plain: bool,
    /// The option that requested a change, and the option or variable that forbids it.
    forbidden: Cell<Option<[&'static str; 2]>>,
}

impl Context {
    pub(super) fn new(global: &Global, environment: Environment) -> Result<Self, Errors> {
        let Global {
            config,
            source,
            format,
            color,
            quiet,
            verbose,
        } = global;
        let volume = match (quiet, verbose) {
            (true, _) => Volume::Quiet,
            (_, 0) => Volume::Normal,
            (_, 1) => Volume::Verbose,
            _ => Volume::Requests,
        };
        if volume == Volume::Requests {
            diagnostics::start();
        }
        let texts = source.iter().map(String::as_str);
        let mappings = parse_mappings(texts, environment.directory(), "--source")?;
        let (is_plain, format) = (*format == FormatWord::Plain, format.format());
        let mut output = Output::new(format, *color, volume, &environment);
        let interruption = signals::watch(format, *color, &environment, output.stderr())?;
        output.interruption = Some(Arc::clone(&interruption));
        let console = Box::new(output.stderr());
        Ok(Self {
            services: Services::new(environment, mappings, console, interruption)?,
            output,
            config: config.clone(),
            is_plain,
            forbidden: Cell::new(None),
        })
    }

    /// Notes that a requested change was not made because another option forbids it.
    pub(super) fn note_forbidden_change(&self) {
        if let Some([option, by]) = self.forbidden.get() {
            let line = format!("`{option}` changed nothing, because `{by}` forbids every change");
            self.output.note(&line);
        }
    }

    /// Warns about each `--source` whose prefix no repository has that was read.
    pub(super) fn warn_of_unmatched_sources(&self) {
        for mapping in self.services.unmatched_mappings() {
            let prefix = plain(&mapping.prefix.to_string());
            self.output.warn(&format!(
                "`--source {prefix}=` changed nothing: no repository that was read begins with `{prefix}`"
            ));
        }
    }

    /// Loads the configuration of `--config`, or the nearest one.
    pub(super) fn load(&mut self) -> Result<Config, Errors> {
        let config = self.read()?;
        config.counts_pins()?;
        Ok(config)
    }

    /// Like [`Self::load`], but accepts a configuration without images.
    pub(super) fn load_without_images(&mut self) -> Result<Config, Errors> {
        let config = self.read()?;
        if !config.images.is_empty() {
            config.counts_pins()?;
        }
        Ok(config)
    }

    /// Like [`Self::load`], but accepts a fleet's configuration, in which `files` and counts are optional.
    pub(super) fn load_any(&mut self) -> Result<Config, Errors> {
        let config = self.read()?;
        config.has_images()?;
        Ok(config)
    }

    /// The root of a configuration that cannot be read or does not exist yet, and the option that selects it.
    pub(super) fn expected_root(&self) -> (PathBuf, String) {
        let directory = self.services.environment.directory();
        let (file, option) = match &self.config {
            Some(file) => (
                Some(directory.join(file)),
                config::option(&file.to_string_lossy()),
            ),
            None => (config::find(directory), String::new()),
        };
        let parent = file.as_deref().and_then(Path::parent);
        let root = parent.filter(|parent| parent.is_dir());
        (root.unwrap_or(directory).to_owned(), option)
    }

    fn read(&mut self) -> Result<Config, Errors> {
        let directory = self.services.environment.directory();
        let file = match &self.config {
            Some(file) => directory.join(file),
            None => config::find(directory).ok_or_else(|| no_config(directory))?,
        };
        self.warn_misspelled(&file);
        let name = match file.strip_prefix(directory) {
            Ok(name) if name.as_os_str().is_empty() => Path::new("."),
            Ok(name) => name,
            Err(_) => &file,
        };
        let load = match self.config {
            Some(_) => config::load_chosen,
            None => config::load,
        };
        let mut config = load(&file, &name.to_string_lossy())?;
        if let Some(file) = &self.config {
            config.option = config::option(&file.to_string_lossy());
        }
        if let Some(forge) = &mut config.forge {
            forge.job = gitlab_api(&self.services.environment);
        }
        self.enter(&config)?;
        Ok(config)
    }

    /// Works on the root of `config` from now on: messages report places in files below it.
    pub(super) fn enter(&mut self, config: &Config) -> Result<(), Errors> {
        git::refuse_bare_root(&config.root).map_err(Error::from)?;
        self.output.directory = self.services.environment.path_to(&config.root);
        self.output.directories.root.clone_from(&config.root);
        Ok(())
    }

    /// Reports places in files from now on as those below the current directory, without the heading
    /// of a set.
    pub(super) fn leave(&mut self) {
        self.output.end_section();
        self.output.directory.clear();
        let directories = &mut self.output.directories;
        directories.root.clone_from(&directories.current);
    }

    /// The configuration files below the current directory, for `--all`.
    pub(super) fn configuration_files(&self) -> Result<Listing, Errors> {
        if self.config.is_some() {
            let message = "`--all` and `--config` exclude each other: `--all` selects every configuration below the current directory";
            return Err(usage(message));
        }
        let directory = self.services.environment.directory();
        self.warn_of_untracked(directory)?;
        let listing = configurations::list(directory, usize::MAX);
        if !listing.incomplete.is_empty() {
            return Err(Errors::from(listing.incomplete));
        }
        if listing.files.is_empty() && listing.sparse.is_empty() {
            let message = format!(
                "no configuration file found in {} or below it",
                directory.display()
            );
            let help = match config::find(directory) {
                Some(found) if found.parent() == Some(directory) => format!(
                    "git does not track {}: add it with `git add`, or omit `--all`",
                    plain(&found.display().to_string())
                ),
                Some(above) => format!(
                    "{} is in a parent directory: omit `--all`, or run repin there",
                    plain(&above.display().to_string())
                ),
                None => "run repin in the repository, add the configuration to git, or write one with `repin init`"
                    .to_owned(),
            };
            return Err(Error::input(Code::CONFIG, message).help(help).into());
        }
        Ok(listing)
    }

    /// Warns about the configuration files that git does not track, which `--all` leaves out.
    fn warn_of_untracked(&self, directory: &Path) -> Result<(), Errors> {
        if !git::is_in_repository(directory) {
            return Ok(());
        }
        let untracked = match git::untracked(directory) {
            Ok(files) => files,
            // As without a repository.
            Err(GitError::NoGit | GitError::NotARepository(_) | GitError::NoWorkTree(_)) => {
                return Ok(());
            }
            Err(error) => return Err(Error::from(&error).into()),
        };
        let is_config = |file: &&RelPath| is_config_file(file.as_path());
        let files: Vec<_> = untracked.iter().filter(is_config).collect();
        if !files.is_empty() {
            let names = few(files.iter().map(ToString::to_string), MAX_LISTED);
            self.output.warn(&plain(&format!(
                "`--all` leaves out configurations that git does not track: {names}; add them with `git add`"
            )));
        }
        Ok(())
    }

    /// Warns if `--config` selects a file that other sets and `prune` do not find.
    pub(super) fn warn_of_file_name(&self, config: &Config) {
        if !is_config_file(config.set_path.as_path()) {
            let name = plain(config.file_name());
            self.output.write_stderr(&format!(
                "warning: other sets and `repin prune` do not find {name}: a configuration is called {FILE_NAME} or \
                 repin.NAME.yaml, and is not in the directory of a forge's workflows\n"
            ));
        }
    }

    /// Warns about every `repin.yml` that is not read.
    fn warn_misspelled(&self, file: &Path) {
        let directory = self.services.environment.directory();
        let has_default_name = file.file_name().is_some_and(|name| name == FILE_NAME);
        let ignored = match (&self.config, file.parent()) {
            (None, _) => config::misspelled(directory),
            (Some(_), Some(parent)) if has_default_name => {
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
            let name = ignored.strip_prefix(directory).unwrap_or(&ignored);
            let name = plain(&name.display().to_string());
            self.output.write_stderr(&format!(
                "warning: {name} is not read: the default configuration is {FILE_NAME}; --config selects another one\n"
            ));
        }
    }

    /// The path of a new configuration: that of `--config`, or `repin.yaml` in the current directory.
    pub(super) fn new_config(&self) -> PathBuf {
        self.services
            .environment
            .directory()
            .join(self.config.as_deref().unwrap_or(Path::new(FILE_NAME)))
    }

    /// Whether `--config` is given.
    pub(super) fn has_config_option(&self) -> bool {
        self.config.is_some()
    }

    /// The intent of a promotion or rollback; `REPIN_DRY_RUN` can only forbid changes.
    pub(super) fn intent(&self, change: &ChangeOptions) -> Result<Intent, Errors> {
        let option = match change.pr {
            Some(_) => Some("--pr"),
            None => change.apply.then_some("--apply"),
        };
        let is_forbidden = self.is_forbidden(option, change.dry_run)?;
        let applies = change.apply || change.dry_run == Some(false);
        Ok(match change.pr {
            Some(_) if is_forbidden => Intent::ShowPullRequest,
            Some(state) => Intent::OpenPullRequest(OpenRequest {
                state: state.into(),
                reopen: change.reopen,
                wait: change.wait.map(wait_request).transpose()?,
            }),
            None if applies && !is_forbidden => Intent::Apply(match (change.commit, change.push) {
                (false, _) => ApplyMode::Files,
                (true, false) => ApplyMode::Commit,
                (true, true) => ApplyMode::Push,
            }),
            None => Intent::Show,
        })
    }

    /// The state of the pull requests to open; `None` if pull requests were not requested or all changes are
    /// forbidden.
    pub(super) fn pull_request_state(
        &self,
        pr: Option<PullRequestState>,
    ) -> Result<Option<Readiness>, Errors> {
        let is_forbidden = self.is_forbidden(pr.map(|_| "--pr"), None)?;
        Ok(pr.map(Readiness::from).filter(|_| !is_forbidden))
    }

    /// Whether `--apply` and `--dry-run` allow changes.
    pub(super) fn may_change(&self, apply: bool, dry_run: Option<bool>) -> Result<bool, Errors> {
        let is_forbidden = self.is_forbidden(apply.then_some("--apply"), dry_run)?;
        Ok((apply || dry_run == Some(false)) && !is_forbidden)
    }

    /// Whether every change is forbidden; records the `option` that requested a change.
    fn is_forbidden(
        &self,
        option: Option<&'static str>,
        dry_run: Option<bool>,
    ) -> Result<bool, Errors> {
        let is_forced = self.is_dry_run_forced()?;
        let by = match (dry_run, is_forced) {
            (Some(true), _) => "--dry-run",
            (_, true) => "REPIN_DRY_RUN",
            _ => return Ok(false),
        };
        self.forbidden.set(option.map(|option| [option, by]));
        Ok(true)
    }

    /// Whether `REPIN_DRY_RUN` forbids every change.
    pub(super) fn is_dry_run_forced(&self) -> Result<bool, Errors> {
        let Some(value) = self.services.environment.variable("REPIN_DRY_RUN") else {
            return Ok(false);
        };
        let parsed = match value.to_str() {
            Some(text) => strict_bool(text),
            None => Err("not UTF-8".to_owned()),
        };
        parsed.map_err(|reason| {
            let value = plain(&value.to_string_lossy());
            usage(format!("REPIN_DRY_RUN is `{value}`: {reason}"))
        })
    }
}

/// The request of `--wait`.
pub(super) fn wait_request(limit: Duration) -> Result<WaitRequest, Errors> {
    Ok(WaitRequest {
        limit,
        option: "--wait",
        claim: random_number()?,
        is_dry_run: false,
    })
}

/// The error if no configuration is found, with those in the directories below.
fn no_config(directory: &Path) -> Errors {
    let message = format!(
        "{FILE_NAME} not found in {} or any directory above it",
        directory.display()
    );
    let mut problem = Error::input(Code::CONFIG, message);
    let misspelled = config::misspelled(directory);
    if let Some(file) = misspelled.first() {
        return Errors::from(problem.help(format!(
            "found {}: rename it to {FILE_NAME}, or pass it with --config FILE",
            file.display()
        )));
    }
    let listing = configurations::list(directory, MAX_VISITED);
    for error in &listing.incomplete {
        let note = format!("further configurations may exist: {error}");
        problem.notes.push(note);
    }
    let files = listing.files;
    if files.is_empty() {
        return Errors::from(problem.help("run repin in the repository, pass the file with --config FILE, or write one with `repin init`"));
    }
    for file in files.iter().take(MAX_LISTED) {
        problem.notes.push(format!("found: {file}"));
    }
    if files.len() > MAX_LISTED {
        let more = files.len() - MAX_LISTED;
        problem
            .notes
            .push(format!("found: {more} more configurations"));
    }
    let example = files.iter().map(ToString::to_string);
    // A reader copies the command into a shell.
    let example = example.filter(|file| {
        !file.starts_with('-')
            && file
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c))
    });
    let example = example.into_iter().next();
    Errors::from(problem.help(format!(
        "select one with `--config {}`, or run `repin check --all` or `repin status --all`",
        example.as_deref().unwrap_or("FILE")
    )))
}

/// The memory for each byte of the input.
const MEMORY_PER_BYTE: u64 = 32;

/// Reads a job from standard input and writes its result to standard output. The caller reports a failure.
pub(super) fn run() -> ExitCode {
    match render() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn render() -> io::Result<()> {
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    limit(Resource::As, MEMORY + MEMORY_PER_BYTE * input.len() as u64)?;
    limit(Resource::Stack, STACK)?;
    limit(Resource::Cpu, PROCESSOR_SECONDS)?;
    limit(Resource::Core, 0)?;
    let job: TemplateJob = serde_json::from_slice(&input)?;
    let result = serde_json::to_vec(&job.render())?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&result)?;
    stdout.flush()
}

/// Lowers a limit of this process.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let current = getrlimit(resource);
    let lowered = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
    let limit = Rlimit {
        current: lowered(current.current),
        maximum: lowered(current.maximum),
    };
    Ok(setrlimit(resource, limit)?)
}
