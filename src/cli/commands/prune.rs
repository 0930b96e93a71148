//! `repin prune`: delete pending versions of the images, and nothing else.
//!
//! Gathers the protected digests from git and the remote, lists and judges each image, and deletes
//! only if the verdict on every image allows it. The decisions are made in `prune`.

mod restore;

use std::time::Duration;

use crate::{
    cli::{
        args::{self, PruneAction},
        context::Context,
        exit::Exit,
        format::Format,
        github::StepFiles,
        output::Output,
    },
    code::Code,
    config::{self, Config, Prune, duration, number},
    error::{Class, Error, Errors, usage},
    git::Git,
    prune::{
        self, ExternalRepository, Guards, Listing, Plan, Progress, Protection, Rules, TipsChange,
        apply::{self, DeletionEvent},
        backends::Backend,
    },
    report::prune::{Image, PruneDocument, deletion, summary, text, warnings},
    untrusted::{
        plain,
        workflow::{Commands, Level},
    },
    workflow::{
        Access, OtherRepository, check_image_name, ci, no_token_error, pin_rules,
        prune_backend::prune_backend, temporary_directory,
    },
};

/// An image of the run, with its backend.
struct Job {
    backend: Backend,
    guards: Guards,
    /// The listing that was judged, and the plan that it allows.
    planned: Option<(Listing, Plan)>,
    image: Image,
}

/// Another repository that pins images.
struct Other {
    at: ExternalRepository,
    /// The directory is removed with this value.
    _directory: tempfile::TempDir,
}

/// The values that all images share.
struct Run<'a> {
    config: &'a Config,
    /// The indices of the images of the run in the configuration.
    chosen: &'a [usize],
    others: &'a [Other],
    rules: &'a Rules<'a>,
    armed: bool,
}

/// How often branches that keep moving are read again.
const ROUNDS: usize = 3;

pub(in crate::cli) fn run(args: &args::Prune, cx: &mut Context) -> Result<Exit, Errors> {
    if let Some(PruneAction::Restore(restore)) = &args.action {
        return match args.first_option() {
            None => restore::run(restore, cx),
            Some(option) => Err(usage(format!(
                "{option} belongs to `prune`; options of `restore` come after it"
            ))),
        };
    }
    let armed = cx.armed(args.apply, args.dry_run)?;
    let config = cx.load()?;
    pin_rules::check_globs_of_work_tree(&config)?;
    let rules = rules(args, block(&config)?)?;
    let chosen = chosen(&args.image, &config)?;
    let mut step = if cx.output.format == Format::Github {
        Some(StepFiles::open(&cx.services.environment)?)
    } else {
        None
    };
    let reached = match jobs(&config, &chosen, cx)? {
        Access::Granted(jobs) => match others(&config, cx)? {
            Access::Granted(others) => Access::Granted((jobs, others)),
            Access::NoToken(reason) => Access::NoToken(reason),
        },
        Access::NoToken(reason) => Access::NoToken(reason),
    };
    let (mut jobs, others) = match reached {
        Access::Granted(reached) => reached,
        Access::NoToken(reason) if args.if_unconfigured.is_some() => {
            let skipped = Error::new(Class::Denied, Code::SKIP, format!("skipped: {reason}"));
            let skip = |at: &usize| Image {
                refusal: Some(skipped.clone()),
                ..blank(&config.images[*at])
            };
            let images: Vec<_> = chosen.iter().map(skip).collect();
            report(&images, false, &mut step, cx)?;
            return Ok(Exit::Done);
        }
        Access::NoToken(reason) => return Err(no_token_error(&reason)),
    };
    let run = Run {
        config: &config,
        chosen: &chosen,
        others: &others,
        rules: &rules,
        armed,
    };
    let applied = run.carry_out(&mut jobs, cx)?;
    let images: Vec<_> = jobs.into_iter().map(|job| job.image).collect();
    report(&images, applied, &mut step, cx)?;
    Ok(images
        .iter()
        .filter_map(|image| image.refusal.as_ref())
        .map(exit)
        .fold(Exit::Done, Exit::worse))
}

fn block(config: &Config) -> Result<&Prune, Errors> {
    config.prune.as_ref().ok_or_else(|| {
        let problem = Error::input(
            Code::CONFIG,
            "the configuration has no `prune` block, so nothing may be deleted",
        );
        Errors::from(problem.help(
            "add `prune: {}` for the defaults: tags that start with pending-, older than 14 days",
        ))
    })
}

fn rules<'c>(args: &args::Prune, prune: &'c Prune) -> Result<Rules<'c>, Errors> {
    let older_than: Duration = match &args.older_than {
        Some(text) => {
            duration::parse(text).map_err(|error| usage(format!("--older-than: {error}")))?
        }
        None => prune.older_than,
    };
    Ok(Rules {
        prune,
        older_than,
        limit: args.limit.unwrap_or(prune.limit),
    })
}

/// The indices of the named images, or of all.
fn chosen(names: &[String], config: &Config) -> Result<Vec<usize>, Errors> {
    for name in names {
        check_image_name(config, name, "--image: ")?;
    }
    let all = config.images.iter().enumerate();
    Ok(all
        .filter(|(_, image)| names.is_empty() || names.contains(&image.name))
        .map(|(at, _)| at)
        .collect())
}

/// The images with their backends.
fn jobs(config: &Config, chosen: &[usize], cx: &Context) -> Result<Access<Vec<Job>>, Errors> {
    let mut jobs = Vec::new();
    for at in chosen {
        let image = &config.images[*at];
        let backend = match prune_backend(config, image, &cx.services)? {
            Access::Granted(backend) => backend,
            Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
        };
        let image = Image {
            restores: backend.restores(),
            ..blank(image)
        };
        jobs.push(Job {
            backend,
            guards: Guards::default(),
            planned: None,
            image,
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
        let at = ExternalRepository {
            entry: entry.clone(),
            remote,
            scratch: directory.path().to_owned(),
        };
        others.push(Other {
            at,
            _directory: directory,
        });
    }
    Ok(Access::Granted(others))
}

/// The source of each image; two names may share one repository.
fn places(config: &Config, cx: &Context) -> Result<Vec<String>, Errors> {
    let sources = cx.services.sources(config)?;
    let place = |image: &config::Image| match sources.source(&image.repository) {
        Ok(source) => source.to_string(),
        Err(_) => image.repository.canonical(),
    };
    Ok(config.images.iter().map(place).collect())
}

fn blank(image: &config::Image) -> Image {
    Image::new(&image.name, image.repository.to_string())
}

impl Run<'_> {
    /// Judges every image, and deletes if `--apply` was given and none was refused; returns whether
    /// it did.
    fn carry_out(&self, jobs: &mut [Job], cx: &mut Context) -> Result<bool, Errors> {
        let elsewhere: Vec<_> = self.others.iter().map(|other| other.at.clone()).collect();
        let places = places(self.config, cx)?;
        let git = Git::discover(&self.config.root).map_err(Error::from)?;
        let stated = ci::default_branch(&cx.services.environment, git.as_ref());
        let progress = cx.services.console.progress("reading branches and tags");
        let gathered = prune::gather(self.config, stated.as_deref(), &places, &elsewhere);
        drop(progress);
        let mut watch = match gathered {
            Ok((guards, watch)) => {
                for (at, job) in self.chosen.iter().zip(jobs.iter_mut()) {
                    job.guards = guards[*at].clone();
                }
                watch
            }
            Err(refusal) => {
                refuse_all(jobs, &refusal);
                return Ok(false);
            }
        };
        for _ in 0..ROUNDS {
            self.judge(jobs, cx)?;
            if !self.armed || jobs.iter().any(|job| job.image.refusal.is_some()) {
                return Ok(false);
            }
            if jobs.iter().all(|job| !job.has_work()) {
                return Ok(true);
            }
            // Everything that may stop it is asked before the first deletion.
            for job in jobs.iter_mut().filter(|job| job.has_work()) {
                if let Err(refusal) = cx
                    .services
                    .wait(job.backend.deletes(), "checking permissions")?
                {
                    job.image.refusal = Some(refusal);
                    return Ok(false);
                }
            }
            match watch.again() {
                Ok(TipsChange::Nothing) => return delete(jobs, self.rules, cx),
                Ok(TipsChange::More(more)) => {
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
        refuse_all(jobs, &Protection::restless());
        Ok(false)
    }

    fn judge(&self, jobs: &mut [Job], cx: &mut Context) -> Result<(), Errors> {
        let progress = Progress::default();
        for job in jobs {
            let work = job.judge(self.rules, &progress);
            cx.services.wait_with(work, || progress.describe())?;
        }
        Ok(())
    }
}

/// What a signal reports once the first deletion was requested.
const DELETING: &str = "versions were deleted: those that the lines above name, and at most one more; \
                        run the command again to continue";

/// Deletes what the verdict on every image allows, until an error stops it; returns whether a
/// deletion was requested, or none was necessary.
fn delete(jobs: &mut [Job], rules: &Rules<'_>, cx: &Context) -> Result<bool, Errors> {
    let mut begun = false;
    // What was read before takes nothing of the deletions' time.
    cx.services.forge_deadline.restart();
    for job in jobs.iter_mut().filter(|job| job.has_work()) {
        begun |= job.apply(rules, cx)?;
        if job.image.refusal.is_some() {
            return Ok(begun);
        }
    }
    Ok(true)
}

fn refuse_all(jobs: &mut [Job], refusal: &Error) {
    for job in jobs {
        job.image.refusal = Some(refusal.clone());
    }
}

impl Job {
    async fn judge(&mut self, rules: &Rules<'_>, progress: &Progress) {
        let listing = match self.backend.list(&self.guards, rules, progress).await {
            Ok(listing) => listing,
            Err(refusal) => {
                self.image.refusal = Some(refusal);
                return;
            }
        };
        let judged = prune::judge(&listing, &self.guards, rules);
        self.planned = None;
        match judged.approve(&listing) {
            Ok(plan) => self.planned = Some((listing, plan)),
            Err(refusal) => self.image.refusal = Some(refusal),
        }
        self.image.judged = Some(judged);
    }

    fn has_work(&self) -> bool {
        self.planned
            .as_ref()
            .is_some_and(|(_, plan)| !plan.order().is_empty())
    }

    /// Carries out the plan; returns whether a deletion was requested.
    fn apply(&mut self, rules: &Rules<'_>, cx: &Context) -> Result<bool, Errors> {
        let Some((listing, plan)) = &self.planned else {
            return Ok(false);
        };
        let (progress, output, image) = (Progress::default(), &cx.output, &self.image);
        let run = apply::Run {
            plan,
            listing,
            guards: &self.guards,
            rules,
            progress: &progress,
        };
        let interruption = &cx.services.interruption;
        let mut tell = |step: DeletionEvent<'_>| {
            if let DeletionEvent::Next(_) = &step {
                interruption.changes(DELETING);
            }
            log(&step, image, &progress, output);
        };
        let work = apply::run(run, &self.backend, &mut tell);
        let applied = cx.services.wait_with(work, || progress.describe())?;
        let lost = applied.lost(&self.image.name, self.image.restores);
        let begun = applied.has_started;
        self.image.refusal = lost.or_else(|| applied.error.clone());
        self.image.applied = Some(applied);
        Ok(begun)
    }
}

/// Reports each deletion as it happens, even with `--quiet`, because a deletion that is not recorded
/// could not be undone.
fn log(step: &DeletionEvent<'_>, image: &Image, progress: &Progress, output: &Output) {
    match step {
        DeletionEvent::Next(_) => progress.step(),
        DeletionEvent::Deleted(candidate) => {
            output.error_text(&format!("deleted {}\n", plain(&deletion(image, candidate))));
        }
        DeletionEvent::Unverified(candidate) => {
            output.error_text(&format!(
                "deletion not verified: {}\n",
                plain(&deletion(image, candidate))
            ));
        }
        // By someone else, or by a deletion of repin's whose answer was lost: then this line is
        // what undoes it.
        DeletionEvent::Skipped(candidate) => {
            output.error_text(&format!(
                "already deleted: {}\n",
                plain(&deletion(image, candidate))
            ));
        }
    }
}

fn exit(refusal: &Error) -> Exit {
    Exit::Because(refusal.class)
}

fn report(
    images: &[Image],
    applied: bool,
    step: &mut Option<StepFiles>,
    cx: &mut Context,
) -> Result<(), Errors> {
    let deleted: usize = images
        .iter()
        .filter_map(|i| i.applied.as_ref())
        .map(|applied| applied.deleted.len())
        .sum();
    if let Some(step) = step {
        step.outputs(&[
            ("kind", "prune".to_owned()),
            ("changed", (deleted > 0).to_string()),
        ])?;
        step.summary(&summary(images, applied))?;
    }
    let output = &mut cx.output;
    if output.format == Format::Json {
        output.json(&PruneDocument::new(images, applied));
        return Ok(());
    }
    let mut refusals = Vec::new();
    for image in images {
        output.print(text(
            image,
            output.volume >= crate::cli::format::Volume::Verbose,
        ));
        for warning in warnings(image) {
            if output.format == Format::Github {
                let title = format!("{} ({})", warning.code, image.name);
                let mut commands = Commands::default();
                commands.annotate(Level::Warning, &title, &warning.detail, None);
                output.annotate(&commands);
            }
            let text = format!("warning: {}: {}\n", image.name, plain(&warning.detail));
            output.error_text(&text);
        }
        let Some(refusal) = &image.refusal else {
            continue;
        };
        if refusal.code == Code::SKIP {
            output.note(&format!("{}: {}", image.name, plain(&refusal.text())));
            continue;
        }
        // The message stays as it is, so that a cause that several images share is reported once.
        refusals.push(Error {
            subject: Some(match &refusal.subject {
                Some(subject) => format!("{}: {subject}", image.name),
                None => image.name.clone(),
            }),
            ..refusal.clone()
        });
    }
    if !refusals.is_empty() {
        output.fault(&Errors::from(refusals));
        output.refer();
    }
    output.note(&closing_line(images, applied, deleted));
    Ok(())
}

fn closing_line(images: &[Image], applied: bool, deleted: usize) -> String {
    let candidates: usize = images
        .iter()
        .filter_map(|i| i.judged.as_ref())
        .map(|judged| judged.candidates.len())
        .sum();
    let refused = images.iter().any(|image| image.refusal.is_some());
    let takes = "deleting a digest deletes all of its tags";
    match (applied, refused) {
        (true, false) => format!("deleted: {}", number(deleted, "version")),
        (true, true) => format!(
            "stopped after {deleted} of {candidates} deletions; fix the cause and run the command again"
        ),
        (false, true) => "nothing was deleted".to_owned(),
        (false, false) if candidates == 0 => "nothing to delete".to_owned(),
        (false, false) => {
            let candidates = number(candidates, "version");
            format!("dry run: nothing was deleted; --apply would delete {candidates} ({takes})")
        }
    }
}
