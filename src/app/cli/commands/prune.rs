//! `repin prune`: deletes old pending versions of the images.
//!
//! The protected digests come from git and the remote. Versions are deleted only if the verdict on every image
//! allows it; the module `prune` decides.

mod report;
mod restore;

use clap::{Args, Subcommand};

use crate::{
    app::{
        cli::{
            args::{IfUnconfigured, images, strict_bool, whole_number},
            context::Context,
            format::Format,
            output::Exit,
            write_file::StepFiles,
        },
        report::prune::ImageOutcome,
        workflow::{
            Access, check_image_name, environment, no_token_error, open_pulls,
            prune_backend::prune_backend,
            repository_sets::{
                NamedRepository, locations, named_repositories, other_sets, with_protection,
            },
            site,
        },
    },
    base::{
        error::{Class, Code, Error, Errors, usage},
        untrusted::plain,
    },
    config::{Config, ForkPolicy, Image, Prune, duration},
    git::Git,
    prune::{
        self, Guards, Listing, Plan, Progress, ProtectionInputs, ProtectionSources, PullHead,
        Rules, Warning,
        apply::{self, DeletionEvent},
        backends::Backend,
    },
};

const HELP: &str = "\
Without --apply, prune is a dry run, also in a scheduled job. Candidates are versions that are older than prune.older_than \
and whose tags all match prune.tags. repin protects every version whose digest occurs in a tracked file of the work tree or \
of any branch or tag of the remote, every version that was ever promoted, and every version that these require. If the \
protected versions cannot be determined completely, nothing is deleted.

Examples:
  repin prune                                  # show candidates and protected versions
  repin prune --image review --older-than 30d
  repin prune --apply --limit 200
  repin prune restore --image review --version 123456 --apply";

/// Delete old image versions that were never pinned
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Prune only this configured image; may be repeated
    #[arg(short, long, value_name = "NAME", add = images())]
    image: Vec<String>,
    /// Delete the candidates
    #[arg(long)]
    apply: bool,
    /// true forbids every change; false means --apply; an empty BOOL means true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, allow_hyphen_values = true)]
    dry_run: Option<bool>,
    /// Minimum age of a candidate, such as 14d or 36h [default: `prune.older_than`]
    #[arg(long, value_name = "DURATION")]
    older_than: Option<String>,
    /// Delete nothing if an image has more than N candidates [default: `prune.limit`]
    #[arg(long, value_name = "N", value_parser = whole_number::<usize>)]
    limit: Option<usize>,
    /// Skip instead of failing when a token is missing
    #[arg(long, value_name = "WHAT")]
    if_unconfigured: Option<IfUnconfigured>,
}

impl Arguments {
    /// Returns the first given option of `prune`.
    fn first_option(&self) -> Option<&'static str> {
        [
            ("--image", !self.image.is_empty()),
            ("--apply", self.apply),
            ("--dry-run", self.dry_run.is_some()),
            ("--older-than", self.older_than.is_some()),
            ("--limit", self.limit.is_some()),
            ("--if-unconfigured", self.if_unconfigured.is_some()),
        ]
        .into_iter()
        .find_map(|(name, given)| given.then_some(name))
    }
}

#[derive(Debug, Subcommand)]
enum Action {
    Restore(restore::Arguments),
}

/// The deletion of one image's versions.
struct Job {
    backend: Backend,
    /// The rules, with the protection by the other sets.
    prune: Prune,
    guards: Guards,
    /// The listing, and the plan that it allows.
    planned: Option<(Listing, Plan)>,
    outcome: ImageOutcome,
}

/// The values that the images share.
struct Run<'a> {
    config: &'a Config,
    /// The indices of the images in the configuration.
    images: &'a [usize],
    others: &'a [NamedRepository],
    /// The other sets of the repository, or the reason why they are unknown.
    sets: &'a Result<Vec<Config>, Error>,
    rules: &'a Rules<'a>,
    apply: bool,
}

/// The number of attempts if branches move during the run.
const ATTEMPTS: usize = 3;

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    if let Some(Action::Restore(restore)) = &args.action {
        return match args.first_option() {
            None => restore::run(restore, cx),
            Some(option) => Err(usage(format!(
                "{option} belongs to `prune`; options of `restore` come after it"
            ))),
        };
    }
    let apply = cx.may_change(args.apply, args.dry_run)?;
    let config = cx.load()?;
    site::check_globs_of_work_tree(&config)?;
    let rules = rules(args, prune_block(&config)?)?;
    let selected = selected(&args.image, &config)?;
    let mut step = if cx.output.format == Format::Github {
        Some(StepFiles::open(&cx.services.environment)?)
    } else {
        None
    };
    let git = Git::discover(&config.root).map_err(Error::from)?;
    let sets = git
        .as_ref()
        .map_or_else(|| Ok(Vec::new()), |git| other_sets(&config, git));
    let mut all_sets = vec![&config];
    all_sets.extend(sets.iter().flatten());
    let access = match jobs(&config, &selected, sets.as_deref().unwrap_or_default(), cx)? {
        Access::Granted(jobs) => match named_repositories(&all_sets, git.as_ref(), &cx.services)? {
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
            report::report(&outcomes, false, None, &mut step, cx)?;
            return Ok(Exit::Done);
        }
        Access::NoToken(reason) => return Err(no_token_error(&reason)),
    };
    let run = Run {
        config: &config,
        images: &selected,
        others: &others,
        sets: &sets,
        rules: &rules,
        apply,
    };
    let mut warning = None;
    let applied = run.execute(&mut jobs, &mut warning, cx)?;
    let outcomes: Vec<_> = jobs.into_iter().map(|job| job.outcome).collect();
    report::report(&outcomes, applied, warning.as_ref(), &mut step, cx)?;
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

fn rules<'c>(args: &Arguments, prune: &'c Prune) -> Result<Rules<'c>, Errors> {
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

fn jobs(
    config: &Config,
    selected: &[usize],
    sets: &[Config],
    cx: &Context,
) -> Result<Access<Vec<Job>>, Errors> {
    let locations = locations(config, &cx.services.sources(config)?);
    let mut jobs = Vec::new();
    for index in selected {
        let image = &config.images[*index];
        let backend = match prune_backend(config, image, &cx.services)? {
            Access::Granted(backend) => backend,
            Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
        };
        jobs.push(Job {
            backend,
            prune: with_protection(prune_block(config)?, &locations[*index], sets, &cx.services)?,
            guards: Guards::default(),
            planned: None,
            outcome: new_outcome(image),
        });
    }
    Ok(Access::Granted(jobs))
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
        let Some(pulls) = self.open_pulls(jobs, warning, cx) else {
            return Ok(false);
        };
        let Some(mut sources) = self.gather(jobs, &pulls, cx)? else {
            return Ok(false);
        };
        for _ in 0..ATTEMPTS {
            self.plan(jobs, cx);
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
                    .wait(job.backend.deletes(), "checking permissions")
                {
                    job.outcome.refusal = Some(refusal);
                    return Ok(false);
                }
            }
            let Some(pulls) = self.open_pulls(jobs, warning, cx) else {
                return Ok(false);
            };
            match sources.refresh(&pulls) {
                Ok(None) => return Ok(delete(jobs, self.rules, cx)),
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

    /// Gathers the protection of each image, or refuses all images and returns `None`.
    fn gather(
        &self,
        jobs: &mut [Job],
        pulls: &[PullHead],
        cx: &Context,
    ) -> Result<Option<ProtectionSources>, Errors> {
        let sets = match self.sets {
            Ok(sets) => sets,
            Err(refusal) => {
                refuse_all(jobs, refusal);
                return Ok(None);
            }
        };
        let mut others = Vec::new();
        for other in self.others {
            others.push(other.access.clone());
        }
        let image_sources = cx.services.sources(self.config)?;
        let locations = locations(self.config, &image_sources);
        let mappings: Vec<_> = image_sources.mappings().cloned().collect();
        let git = Git::discover(&self.config.root).map_err(Error::from)?;
        let branch = environment::default_branch(&cx.services.environment, git.as_ref());
        let progress = cx.services.console.progress("reading branches and tags");
        let inputs = ProtectionInputs {
            branch: branch.as_deref(),
            locations: &locations,
            mappings: &mappings,
            tags: &self.rules.prune.tags,
            others: &others,
            sets,
            pulls,
        };
        let gathered = prune::gather(self.config, &inputs);
        drop(progress);
        match gathered {
            Ok((guards, sources)) => {
                for (image, job) in self.images.iter().zip(jobs.iter_mut()) {
                    job.guards = guards[*image].clone();
                }
                Ok(Some(sources))
            }
            Err(refusal) => {
                refuse_all(jobs, &refusal);
                Ok(None)
            }
        }
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

    fn plan(&self, jobs: &mut [Job], cx: &mut Context) {
        let progress = Progress::default();
        for job in jobs {
            let work = job.plan(self.rules, &progress);
            cx.services.wait_with(work, || progress.describe());
        }
    }
}

/// The report of a signal after the first deletion was requested.
const DELETING: &str = "versions were deleted: those in the lines above, and at most one more; \
                        run the command again to continue";

/// Executes the plans until an error occurs. Returns whether a deletion was requested, or none was necessary.
fn delete(jobs: &mut [Job], rules: &Rules<'_>, cx: &Context) -> bool {
    let mut has_started = false;
    // The deadline of the deletions starts now, not at the start of the run.
    cx.services.forge_deadline.restart();
    for job in jobs.iter_mut().filter(|job| job.has_work()) {
        has_started |= job.apply(rules, cx);
        if job.outcome.refusal.is_some() {
            return has_started;
        }
    }
    true
}

fn refuse_all(jobs: &mut [Job], refusal: &Error) {
    for job in jobs {
        job.outcome.refusal = Some(refusal.clone());
    }
}

impl Job {
    async fn plan(&mut self, rules: &Rules<'_>, progress: &Progress) {
        let prune = self.prune.clone();
        let rules = &Rules {
            prune: &prune,
            ..*rules
        };
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
    fn apply(&mut self, rules: &Rules<'_>, cx: &Context) -> bool {
        let Some((listing, plan)) = &self.planned else {
            return false;
        };
        let (progress, output, outcome) = (Progress::default(), &cx.output, &self.outcome);
        let rules = &Rules {
            prune: &self.prune,
            ..*rules
        };
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
            report::log(&event, outcome, &progress, output);
        };
        let work = apply::run(run, &self.backend, &mut on_event);
        let applied = cx.services.wait_with(work, || progress.describe());
        let lost = applied.lost(&self.outcome.name);
        let has_started = applied.has_started;
        self.outcome.refusal = lost.or_else(|| applied.error.clone());
        self.outcome.applied = Some(applied);
        has_started
    }
}
