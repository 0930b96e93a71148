//! `repin prune`: deletes old pending versions of the images.
//!
//! The protected digests come from git and the remote. Versions are deleted only if the verdict on every image
//! allows it; the module `prune` decides.

mod restore;

use crate::{
    cli::{
        args::{self, PruneAction},
        context::Context,
        exit::Exit,
        format::{Format, Volume},
        output::Output,
        step_files::StepFiles,
    },
    code::Code,
    config::{Config, ForkPolicy, Image, Prune, duration},
    error::{Class, Error, Errors, usage},
    git::Git,
    pins::ImageNames,
    prune::{
        self, Guards, Listing, Plan, Progress, ProtectionInputs, PullHead, RepositoryAccess, Rules,
        Warning,
        apply::{self, DeletionEvent},
        backends::Backend,
    },
    registry::Sources,
    report::prune::{ImageOutcome, PruneDocument, deletion, summary, text, warnings},
    text::counted,
    untrusted::{
        plain,
        workflow::{Commands, Level},
    },
    workflow::{
        Access, OtherRepository, check_image_name, ci, no_token_error, open_pulls, pin_rules,
        prune_backend::prune_backend, temporary_directory,
    },
};

/// The deletion of one image's versions.
struct Job {
    backend: Backend,
    guards: Guards,
    /// The listing, and the plan that it allows.
    planned: Option<(Listing, Plan)>,
    outcome: ImageOutcome,
}

/// Another repository that pins images.
struct Other {
    repository: RepositoryAccess,
    /// The directory is removed when this value is dropped.
    _directory: tempfile::TempDir,
}

/// The values that the images share.
struct Run<'a> {
    config: &'a Config,
    /// The indices of the images in the configuration.
    images: &'a [usize],
    others: &'a [Other],
    rules: &'a Rules<'a>,
    apply: bool,
}

/// The number of attempts if branches move during the run.
const ATTEMPTS: usize = 3;

pub(in crate::cli) fn run(args: &args::Prune, cx: &mut Context) -> Result<Exit, Errors> {
    if let Some(PruneAction::Restore(restore)) = &args.action {
        return match args.first_option() {
            None => restore::run(restore, cx),
            Some(option) => Err(usage(format!(
                "{option} belongs to `prune`; options of `restore` come after it"
            ))),
        };
    }
    let apply = cx.may_change(args.apply, args.dry_run)?;
    let config = cx.load()?;
    pin_rules::check_globs_of_work_tree(&config)?;
    let rules = rules(args, prune_block(&config)?)?;
    let selected = selected(&args.image, &config)?;
    let mut step = if cx.output.format == Format::Github {
        Some(StepFiles::open(&cx.services.environment)?)
    } else {
        None
    };
    let access = match jobs(&config, &selected, cx)? {
        Access::Granted(jobs) => match others(&config, cx)? {
            Access::Granted(others) => Access::Granted((jobs, others)),
            Access::NoToken(reason) => Access::NoToken(reason),
        },
        Access::NoToken(reason) => Access::NoToken(reason),
    };
    let (mut jobs, others) = match access {
        Access::Granted(granted) => granted,
        Access::NoToken(reason) if args.if_unconfigured.is_some() => {
            let skipped = Error::new(Class::Denied, Code::SKIP, format!("skipped: {reason}"));
            let mut outcomes = Vec::new();
            for image in selected {
                outcomes.push(ImageOutcome {
                    refusal: Some(skipped.clone()),
                    ..new_outcome(&config.images[image])
                });
            }
            report(&outcomes, false, None, &mut step, cx)?;
            return Ok(Exit::Done);
        }
        Access::NoToken(reason) => return Err(no_token_error(&reason)),
    };
    let run = Run {
        config: &config,
        images: &selected,
        others: &others,
        rules: &rules,
        apply,
    };
    let mut warning = None;
    let applied = run.execute(&mut jobs, &mut warning, cx)?;
    let outcomes: Vec<_> = jobs.into_iter().map(|job| job.outcome).collect();
    report(&outcomes, applied, warning.as_ref(), &mut step, cx)?;
    let refusals = outcomes
        .iter()
        .filter_map(|outcome| outcome.refusal.as_ref());
    Ok(refusals
        .map(|refusal| Exit::Failed(refusal.class))
        .fold(Exit::Done, Exit::worse))
}

fn prune_block(config: &Config) -> Result<&Prune, Errors> {
    config.prune.as_ref().ok_or_else(|| {
        let message = format!(
            "{} has no `prune` block, so nothing may be deleted",
            plain(&config.set_path.to_string())
        );
        let help =
            "add `prune: {}` for the defaults: tags that start with pending-, older than 14 days";
        Error::input(Code::CONFIG, message).help(help).into()
    })
}

fn rules<'c>(args: &args::Prune, prune: &'c Prune) -> Result<Rules<'c>, Errors> {
    let mut older_than = prune.older_than;
    if let Some(text) = &args.older_than {
        older_than =
            duration::parse(text).map_err(|error| usage(format!("--older-than: {error}")))?;
    }
    Ok(Rules {
        prune,
        older_than,
        limit: args.limit.unwrap_or(prune.limit),
    })
}

/// The indices of the given images, or of all images.
fn selected(names: &[String], config: &Config) -> Result<Vec<usize>, Errors> {
    for name in names {
        check_image_name(config, name, "--image: ")?;
    }
    let mut selected = Vec::new();
    for (index, image) in config.images.iter().enumerate() {
        if names.is_empty() || names.contains(&image.name) {
            selected.push(index);
        }
    }
    Ok(selected)
}

fn jobs(config: &Config, selected: &[usize], cx: &Context) -> Result<Access<Vec<Job>>, Errors> {
    let mut jobs = Vec::new();
    for index in selected {
        let image = &config.images[*index];
        let backend = match prune_backend(config, image, &cx.services)? {
            Access::Granted(backend) => backend,
            Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
        };
        jobs.push(Job {
            backend,
            guards: Guards::default(),
            planned: None,
            outcome: new_outcome(image),
        });
    }
    Ok(Access::Granted(jobs))
}

/// The other repositories that pin images, each with a directory for its objects.
fn others(config: &Config, cx: &Context) -> Result<Access<Vec<Other>>, Errors> {
    let entries = config.prune.iter().flat_map(|prune| &prune.also_pinned_in);
    let mut others = Vec::new();
    for entry in entries {
        let other = OtherRepository {
            key: "prune.also_pinned_in".to_owned(),
            repository: &entry.repository,
            token_env: entry.token_env.as_deref(),
        };
        let remote = match other.remote(config, &cx.services)? {
            Access::Granted(remote) => remote,
            Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
        };
        let directory = temporary_directory(&cx.services)?;
        let repository = RepositoryAccess {
            entry: entry.clone(),
            remote,
            scratch: directory.path().to_owned(),
        };
        others.push(Other {
            repository,
            _directory: directory,
        });
    }
    Ok(Access::Granted(others))
}

/// The source of each image; images may share one repository.
fn locations(config: &Config, sources: &Sources) -> Vec<String> {
    let mut locations = Vec::new();
    for image in &config.images {
        locations.push(match sources.source(&image.repository) {
            Ok(source) => source.to_string(),
            Err(_) => image.repository.canonical(),
        });
    }
    locations
}

fn new_outcome(image: &Image) -> ImageOutcome {
    ImageOutcome::new(&image.name, image.repository.to_string())
}

impl Run<'_> {
    /// Checks every image; with `--apply`, deletes if no image is refused. Returns whether it
    /// deleted, or had no candidates. Sets `warning` if open pull requests cannot be listed.
    fn execute(
        &self,
        jobs: &mut [Job],
        warning: &mut Option<Warning>,
        cx: &mut Context,
    ) -> Result<bool, Errors> {
        let mut others = Vec::new();
        for other in self.others {
            others.push(other.repository.clone());
        }
        let image_sources = cx.services.sources(self.config)?;
        let locations = locations(self.config, &image_sources);
        let names = ImageNames::new(self.config, image_sources.mappings(), &locations);
        let git = Git::discover(&self.config.root).map_err(Error::from)?;
        let branch = ci::default_branch(&cx.services.environment, git.as_ref());
        let Some(pulls) = self.open_pulls(jobs, warning, cx) else {
            return Ok(false);
        };
        let progress = cx.services.console.progress("reading branches and tags");
        let inputs = ProtectionInputs {
            branch: branch.as_deref(),
            locations: &locations,
            names: &names,
            others: &others,
            pulls: &pulls,
        };
        let gathered = prune::gather(self.config, &inputs);
        drop(progress);
        let mut sources = match gathered {
            Ok((guards, sources)) => {
                for (image, job) in self.images.iter().zip(jobs.iter_mut()) {
                    job.guards = guards[*image].clone();
                }
                sources
            }
            Err(refusal) => {
                refuse_all(jobs, &refusal);
                return Ok(false);
            }
        };
        for _ in 0..ATTEMPTS {
            self.plan(jobs, cx)?;
            if !self.apply || jobs.iter().any(|job| job.outcome.refusal.is_some()) {
                return Ok(false);
            }
            if jobs.iter().all(|job| !job.has_work()) {
                return Ok(true);
            }
            // All permissions are checked before the first deletion.
            for job in jobs.iter_mut().filter(|job| job.has_work()) {
                if let Err(refusal) = cx
                    .services
                    .wait(job.backend.deletes(), "checking permissions")?
                {
                    job.outcome.refusal = Some(refusal);
                    return Ok(false);
                }
            }
            let Some(pulls) = self.open_pulls(jobs, warning, cx) else {
                return Ok(false);
            };
            match sources.refresh(&pulls) {
                Ok(None) => return delete(jobs, self.rules, cx),
                Ok(Some(more)) => {
                    for job in jobs.iter_mut() {
                        more.add_to(&mut job.guards);
                    }
                }
                Err(refusal) => {
                    refuse_all(jobs, &refusal);
                    return Ok(false);
                }
            }
        }
        refuse_all(jobs, &prune::tips_keep_moving_error());
        Ok(false)
    }

    /// The heads of open pull requests. If they cannot be listed, sets `warning`, or refuses all images and
    /// returns `None`.
    fn open_pulls(
        &self,
        jobs: &mut [Job],
        warning: &mut Option<Warning>,
        cx: &Context,
    ) -> Option<Vec<PullHead>> {
        let reason = match open_pulls(self.config, &cx.services) {
            Ok(Access::Granted(pulls)) => {
                *warning = None;
                return Some(pulls);
            }
            Ok(Access::NoToken(reason)) => reason,
            Err(refusals) => {
                let mut refusals = refusals.iter().cloned();
                if let Some(mut first) = refusals.next() {
                    first.notes.extend(refusals.map(|other| other.to_string()));
                    refuse_all(jobs, &first);
                }
                return None;
            }
        };
        let code = Code::FORKS_UNCHECKED;
        let detail = format!("open pull requests of forks were not checked: {reason}");
        if self.rules.prune.forks == ForkPolicy::Require {
            let help = "add a `forge` block, and set a token that may read pull requests; or set \
                        `prune.forks` to `warn`";
            refuse_all(jobs, &Error::new(Class::Denied, code, detail).help(help));
            return None;
        }
        *warning = Some(Warning { code, detail });
        Some(Vec::new())
    }

    fn plan(&self, jobs: &mut [Job], cx: &mut Context) -> Result<(), Errors> {
        let progress = Progress::default();
        for job in jobs {
            let work = job.plan(self.rules, &progress);
            cx.services.wait_with(work, || progress.describe())?;
        }
        Ok(())
    }
}

/// The report of a signal after the first deletion was requested.
const DELETING: &str = "versions were deleted: those in the lines above, and at most one more; \
                        run the command again to continue";

/// Executes the plans until an error occurs. Returns whether a deletion was requested, or none was necessary.
fn delete(jobs: &mut [Job], rules: &Rules<'_>, cx: &Context) -> Result<bool, Errors> {
    let mut has_started = false;
    // The deadline of the deletions starts now, not at the start of the run.
    cx.services.forge_deadline.restart();
    for job in jobs.iter_mut().filter(|job| job.has_work()) {
        has_started |= job.apply(rules, cx)?;
        if job.outcome.refusal.is_some() {
            return Ok(has_started);
        }
    }
    Ok(true)
}

fn refuse_all(jobs: &mut [Job], refusal: &Error) {
    for job in jobs {
        job.outcome.refusal = Some(refusal.clone());
    }
}

impl Job {
    async fn plan(&mut self, rules: &Rules<'_>, progress: &Progress) {
        let listing = match self.backend.list(&self.guards, rules, progress).await {
            Ok(listing) => listing,
            Err(refusal) => {
                self.outcome.refusal = Some(refusal);
                return;
            }
        };
        let verdict = prune::judge(&listing, &self.guards, rules);
        self.planned = None;
        match verdict.approve(&listing) {
            Ok(plan) => self.planned = Some((listing, plan)),
            Err(refusal) => self.outcome.refusal = Some(refusal),
        }
        self.outcome.verdict = Some(verdict);
    }

    fn has_work(&self) -> bool {
        self.planned
            .as_ref()
            .is_some_and(|(_, plan)| !plan.order().is_empty())
    }

    /// Executes the plan; returns whether a deletion was requested.
    fn apply(&mut self, rules: &Rules<'_>, cx: &Context) -> Result<bool, Errors> {
        let Some((listing, plan)) = &self.planned else {
            return Ok(false);
        };
        let (progress, output, outcome) = (Progress::default(), &cx.output, &self.outcome);
        let run = apply::Run {
            plan,
            listing,
            guards: &self.guards,
            rules,
            progress: &progress,
        };
        let interruption = &cx.services.interruption;
        let mut on_event = |event: DeletionEvent<'_>| {
            if let DeletionEvent::Next = &event {
                interruption.changes(DELETING);
            }
            log(&event, outcome, &progress, output);
        };
        let work = apply::run(run, &self.backend, &mut on_event);
        let applied = cx.services.wait_with(work, || progress.describe())?;
        let lost = applied.lost(&self.outcome.name);
        let has_started = applied.has_started;
        self.outcome.refusal = lost.or_else(|| applied.error.clone());
        self.outcome.applied = Some(applied);
        Ok(has_started)
    }
}

/// Reports each deletion immediately, even with `--quiet`, because the line contains the information that
/// undoes it.
fn log(event: &DeletionEvent<'_>, outcome: &ImageOutcome, progress: &Progress, output: &Output) {
    let (label, candidate) = match event {
        DeletionEvent::Next => return progress.step(),
        DeletionEvent::Deleted(candidate) => ("deleted", candidate),
        DeletionEvent::Unverified(candidate) => ("deletion not verified:", candidate),
        // Another process deleted the version, or repin did and the response was lost.
        DeletionEvent::Skipped(candidate) => ("already deleted:", candidate),
    };
    let deletion = plain(&deletion(outcome, candidate));
    output.write_stderr(&format!("{label} {deletion}\n"));
}

fn report(
    images: &[ImageOutcome],
    applied: bool,
    warning: Option<&Warning>,
    step: &mut Option<StepFiles>,
    cx: &mut Context,
) -> Result<(), Errors> {
    let deleted: usize = images
        .iter()
        .filter_map(|image| image.applied.as_ref())
        .map(|applied| applied.deleted.len())
        .sum();
    if let Some(step) = step {
        step.outputs(&[
            ("kind", "prune".to_owned()),
            ("changed", (deleted > 0).to_string()),
        ])?;
        step.summary(&summary(images, applied, warning))?;
    }
    let output = &mut cx.output;
    if output.format == Format::Json {
        output.print_json(&PruneDocument::new(images, applied, warning));
        return Ok(());
    }
    if let Some(warning) = warning {
        let Warning { code, detail } = warning;
        warn(code.as_str(), detail, detail, output);
    }
    let mut refusals = Vec::new();
    for image in images {
        output.print(text(image, output.volume >= Volume::Verbose));
        for warning in warnings(image) {
            let title = format!("{} ({})", warning.code, image.name);
            let text = format!("{}: {}", image.name, warning.detail);
            warn(&title, &warning.detail, &text, output);
        }
        let Some(refusal) = &image.refusal else {
            continue;
        };
        if refusal.code == Code::SKIP {
            output.note(&format!("{}: {}", image.name, plain(&refusal.text())));
            continue;
        }
        // Only the subject contains the name, so that a shared cause is reported once.
        refusals.push(Error {
            subject: Some(match &refusal.subject {
                Some(subject) => format!("{}: {subject}", image.name),
                None => image.name.clone(),
            }),
            ..refusal.clone()
        });
    }
    if !refusals.is_empty() {
        output.report_errors(&Errors::from(refusals));
        output.print_explain_hint();
    }
    output.note(&conclusion(images, applied, deleted));
    Ok(())
}

/// Prints a warning: `text`, and for GitHub an annotation with `title` and `detail`.
fn warn(title: &str, detail: &str, text: &str, output: &mut Output) {
    if output.format == Format::Github {
        let mut commands = Commands::default();
        commands.annotate(Level::Warning, title, detail, None);
        output.annotate(&commands);
    }
    output.write_stderr(&format!("warning: {}\n", plain(text)));
}

fn conclusion(images: &[ImageOutcome], applied: bool, deleted: usize) -> String {
    let candidates: usize = images
        .iter()
        .filter_map(|image| image.verdict.as_ref())
        .map(|verdict| verdict.candidates.len())
        .sum();
    let refused = images.iter().any(|image| image.refusal.is_some());
    match (applied, refused) {
        (true, false) => format!("deleted: {}", counted(deleted, "version")),
        (true, true) => format!(
            "stopped after {deleted} of {candidates} deletions; fix the cause and run the command again"
        ),
        (false, true) => "nothing was deleted".to_owned(),
        (false, false) if candidates == 0 => "nothing to delete".to_owned(),
        (false, false) => {
            let candidates = counted(candidates, "version");
            format!(
                "dry run: nothing was deleted; --apply would delete {candidates} (deleting a digest deletes all of its \
                 tags)"
            )
        }
    }
}
