//! `repin prune`: delete pending versions of the images, and never anything else.
//!
//! Gathers what protects (from git and the remote), lists each image, judges it, and deletes only
//! if every image's verdict allows it. Nothing is decided here: that is in `prune`.

mod restore;

use std::time::Duration;

use super::globs;
use crate::{
    cli::{
        args::{self, IfUnconfigured, PruneAction},
        ci,
        context::{Context, configured},
        exit::{Exit, usage},
        forge::no_token,
        github::StepFiles,
        output::{Format, Output},
        packages, progress,
        repositories::{OtherRepository, Reach, scratch},
    },
    config::{self, Config, Prune, duration, number},
    error::{Class, Error, Errors},
    git::Git,
    prune::{
        self, Elsewhere, Guards, Listing, Plan, Progress, Rules, Since, Watch,
        apply::{self, Step},
        backends::Backend,
    },
    report::prune::{Image, PruneDocument, deletion, summary, text, warnings},
    untrusted::{
        plain,
        workflow::{Commands, Level},
    },
};

/// An image of the run, and how it is reached.
struct Job {
    backend: Backend,
    guards: Guards,
    /// What the verdict was made from, and what it allows.
    planned: Option<(Listing, Plan)>,
    image: Image,
}

/// Another repository that pins images.
struct Other {
    at: Elsewhere,
    /// It goes with the run.
    _directory: tempfile::TempDir,
}

/// What is the same for all images.
struct Run<'a> {
    config: &'a Config,
    /// The images of the run, by their places in the configuration.
    chosen: &'a [usize],
    others: &'a [Other],
    rules: &'a Rules<'a>,
    armed: bool,
}

/// Branches that always bring something new are read again so often.
const ROUNDS: usize = 3;

pub(in crate::cli) fn run(args: &args::Prune, cx: &mut Context) -> Result<Exit, Errors> {
    if let Some(PruneAction::Restore(restore)) = &args.action {
        return match args.own_option() {
            None => restore::run(restore, cx),
            Some(option) => Err(usage(format!(
                "{option} is an option of `prune`: write it behind `restore`, if `restore` takes it"
            ))),
        };
    }
    let armed = armed(args.apply, args.dry_run, cx)?;
    let config = cx.load()?;
    globs::all_match_in_work_tree(&config)?;
    let rules = rules(args, block(&config)?)?;
    let chosen = chosen(&args.image, &config)?;
    let mut step = if cx.output.format == Format::Github {
        Some(StepFiles::open(&cx.environment)?)
    } else {
        None
    };
    let reached = match jobs(&config, &chosen, cx)? {
        Ok(jobs) => others(&config, cx)?.map(|others| (jobs, others)),
        Err(why) => Err(why),
    };
    let (mut jobs, others) = match reached {
        Ok(reached) => reached,
        Err(why) if args.if_unconfigured == Some(IfUnconfigured::Skip) => {
            let skipped = Error::new(Class::Denied, SKIP, format!("skipped: {why}"));
            let skip = |at: &usize| Image {
                refusal: Some(skipped.clone()),
                ..blank(&config.images[*at])
            };
            let images: Vec<_> = chosen.iter().map(skip).collect();
            report(&images, false, &mut step, cx)?;
            return Ok(Exit::Done);
        }
        Err(why) => return Err(no_token(&why)),
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

/// The code of a run that has no token and may do without.
const SKIP: &str = "skip";

/// Whether anything may be changed: a dry run is the default, and whatever forbids wins.
fn armed(apply: bool, dry_run: Option<bool>, cx: &Context) -> Result<bool, Errors> {
    let forbidden = dry_run == Some(true) || cx.dry_run_forced()?;
    Ok((apply || dry_run == Some(false)) && !forbidden)
}

fn block(config: &Config) -> Result<&Prune, Errors> {
    config.prune.as_ref().ok_or_else(|| {
        let problem = Error::input(
            "config",
            "there is no `prune` in the configuration, so nothing may be deleted",
        );
        Errors::from(problem.help(
            "add `prune: {}` for the defaults: tags that begin with pending-, older than 14 days",
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

/// The images that were named, or all, by their places in the configuration.
fn chosen(names: &[String], config: &Config) -> Result<Vec<usize>, Errors> {
    for name in names {
        configured(config, name, "--image: ")?;
    }
    let all = config.images.iter().enumerate();
    Ok(all
        .filter(|(_, image)| names.is_empty() || names.contains(&image.name))
        .map(|(at, _)| at)
        .collect())
}

/// The images with their backends; the inner error: a token is missing.
fn jobs(
    config: &Config,
    chosen: &[usize],
    cx: &Context,
) -> Result<Result<Vec<Job>, String>, Errors> {
    let mut jobs = Vec::new();
    for at in chosen {
        let image = &config.images[*at];
        let backend = match packages::backend(config, image, cx)? {
            Ok(backend) => backend,
            Err(why) => return Ok(Err(why)),
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
    Ok(Ok(jobs))
}

/// The other repositories that pin images, with a directory for what is fetched of each; the inner
/// error: a token is missing.
fn others(config: &Config, cx: &Context) -> Result<Result<Vec<Other>, String>, Errors> {
    let entries = config.prune.iter().flat_map(|prune| &prune.also_pinned_in);
    let mut others = Vec::new();
    for entry in entries {
        let other = OtherRepository {
            key: "prune.also_pinned_in".to_owned(),
            repository: &entry.repository,
            token_env: entry.token_env.as_deref(),
        };
        let remote = match other.reach(config, cx)? {
            Reach::At(remote) => remote,
            Reach::NoToken(why) => return Ok(Err(why)),
        };
        let directory = scratch(cx)?;
        let at = Elsewhere {
            entry: entry.clone(),
            remote,
            scratch: directory.path().to_owned(),
        };
        others.push(Other {
            at,
            _directory: directory,
        });
    }
    Ok(Ok(others))
}

/// Where each image is read from: two names may mean one repository.
fn places(config: &Config, cx: &Context) -> Result<Vec<String>, Errors> {
    let sources = cx.sources(config)?;
    let place = |image: &config::Image| match sources.of(&image.repository) {
        Ok(source) => source.to_string(),
        Err(_) => image.repository.canonical(),
    };
    Ok(config.images.iter().map(place).collect())
}

fn blank(image: &config::Image) -> Image {
    Image::new(&image.name, image.repository.to_string())
}

impl Run<'_> {
    /// Judges every image, and deletes if that was asked for and none was refused; whether it came
    /// to that.
    fn carry_out(&self, jobs: &mut [Job], cx: &mut Context) -> Result<bool, Errors> {
        let elsewhere: Vec<_> = self.others.iter().map(|other| other.at.clone()).collect();
        let places = places(self.config, cx)?;
        let git = Git::open(&self.config.root).ok();
        let stated = ci::default_branch(&cx.environment, git.as_ref());
        let gathered = prune::gather(self.config, stated.as_deref(), &places, &elsewhere);
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
                if let Err(refusal) = cx.runtime()?.block_on(job.backend.deletes()) {
                    job.image.refusal = Some(refusal);
                    return Ok(false);
                }
            }
            match watch.again() {
                Ok(Since::Nothing) => return delete(jobs, self.rules, cx),
                Ok(Since::More(more)) => {
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
        refuse_all(jobs, &Watch::restless());
        Ok(false)
    }

    fn judge(&self, jobs: &mut [Job], cx: &mut Context) -> Result<(), Errors> {
        let progress = Progress::default();
        for job in jobs {
            let work = job.judge(self.rules, &progress);
            cx.runtime()?.block_on(progress::while_counting(
                cx.output.progress,
                || progress.told(),
                work,
            ));
        }
        Ok(())
    }
}

/// Deletes what every image's verdict allows, until something stops it; whether any deletion was
/// asked for, or none had to be.
fn delete(jobs: &mut [Job], rules: &Rules<'_>, cx: &Context) -> Result<bool, Errors> {
    let mut begun = false;
    // What was read before takes nothing of the deletions' time.
    cx.forge_time.restart();
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

    /// Carries out the plan; whether any deletion was asked for.
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
        let mut tell = |step: Step<'_>| log(&step, image, &progress, output);
        let work = apply::run(run, &self.backend, &mut tell);
        let applied = cx.runtime()?.block_on(progress::while_counting(
            output.progress,
            || progress.told(),
            work,
        ));
        let lost = applied.lost(&self.image.name, self.image.restores);
        let begun = applied.begun;
        self.image.refusal = lost.or_else(|| applied.stopped.clone());
        self.image.applied = Some(applied);
        Ok(begun)
    }
}

/// Each deletion is told when it happened, however quiet the run: what is lost with the run could
/// not be undone.
fn log(step: &Step<'_>, image: &Image, progress: &Progress, output: &Output) {
    match step {
        Step::Next(_) => progress.step(),
        Step::Deleted(candidate) => {
            output.error_text(&format!("deleted {}\n", plain(&deletion(image, candidate))));
        }
        Step::Unverified(candidate) => {
            output.error_text(&format!(
                "deletion not verified: {}\n",
                plain(&deletion(image, candidate))
            ));
        }
        // By somebody else, or by a deletion of ours whose answer was lost: then this line is what
        // undoes it.
        Step::Skipped(candidate) => {
            output.error_text(&format!(
                "gone already: {}\n",
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
    for image in images {
        output.print(text(
            image,
            output.volume >= crate::cli::output::Volume::Verbose,
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
        if refusal.code == SKIP {
            output.note(&format!("{}: {}", image.name, plain(&refusal.text())));
            continue;
        }
        if output.format == Format::Github {
            let title = format!("{} ({})", refusal.code, image.name);
            output.annotate(&Commands::error(&title, &refusal.text(), None));
        }
        output.problem(&Error {
            subject: None,
            message: format!("{}: {}", image.name, refusal.text()),
            ..refusal.clone()
        });
    }
    output.note(&told(images, applied, deleted));
    Ok(())
}

fn told(images: &[Image], applied: bool, deleted: usize) -> String {
    let candidates: usize = images
        .iter()
        .filter_map(|i| i.judged.as_ref())
        .map(|judged| judged.candidates.len())
        .sum();
    let refused = images.iter().any(|image| image.refusal.is_some());
    let takes = "a deletion takes every tag of its digest with it";
    match (applied, refused) {
        (true, false) => format!("deleted: {}", number(deleted, "version")),
        (true, true) => format!(
            "stopped after {deleted} of {candidates} deletions; run it again once that is mended"
        ),
        (false, true) => "nothing was deleted".to_owned(),
        (false, false) if candidates == 0 => "nothing to delete".to_owned(),
        (false, false) => {
            let candidates = number(candidates, "version");
            format!("dry run: nothing was deleted; --apply would delete {candidates} ({takes})")
        }
    }
}
