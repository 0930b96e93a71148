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
        context::{Context, configured, usage},
        exit::{Exit, Fault},
        forge::no_token,
        github::StepFiles,
        output::{Format, Output},
        packages, progress,
    },
    config::{self, Config, Problem, Prune, duration, wording::number},
    prune::{
        self, Guards, Kind, Plan, Refusal, Rules,
        apply::{self, Step},
        backends::{Backend, Progress},
    },
    report::{
        annotations,
        prune::{Image, PruneDocument, deletion, summary, text},
        table::plain,
    },
};

/// An image of the run, and how it is reached.
struct Job {
    backend: Backend,
    guards: Guards,
    plan: Option<Plan>,
    image: Image,
}

pub(in crate::cli) fn run(args: &args::Prune, cx: &mut Context) -> Result<Exit, Fault> {
    if let Some(PruneAction::Restore(args)) = &args.action {
        return restore::run(args, cx);
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
    let mut jobs = match jobs(&config, &chosen, cx)? {
        Ok(jobs) => jobs,
        Err(why) if args.if_unconfigured == Some(IfUnconfigured::Skip) => {
            let skipped = Refusal::new(Kind::Denied, SKIP, format!("skipped: {why}"));
            let skip = |at: &usize| Image {
                refusal: Some(skipped.clone()),
                ..blank(&config.images[*at])
            };
            let images: Vec<_> = chosen.iter().map(skip).collect();
            report(&images, false, (&mut step, cx))?;
            return Ok(Exit::Done);
        }
        Err(why) => return Err(no_token(&why)),
    };
    let applied = carry_out(&config, (&chosen, &mut jobs), (&rules, armed), cx)?;
    let images: Vec<_> = jobs.into_iter().map(|job| job.image).collect();
    report(&images, applied, (&mut step, cx))?;
    Ok(images
        .iter()
        .filter_map(|image| image.refusal.as_ref())
        .map(exit)
        .fold(Exit::Done, Exit::worse))
}

/// The code of a run that has no token and may do without.
const SKIP: &str = "skip";

/// Whether anything may be changed: a dry run is the default, and whatever forbids wins.
fn armed(apply: bool, dry_run: Option<bool>, cx: &Context) -> Result<bool, Fault> {
    let forbidden = dry_run == Some(true) || cx.dry_run_forced()?;
    Ok((apply || dry_run == Some(false)) && !forbidden)
}

fn block(config: &Config) -> Result<&Prune, Fault> {
    config.prune.as_ref().ok_or_else(|| {
        let problem = Problem::new(
            "config",
            "there is no `prune` in the configuration, so nothing may be deleted",
        );
        Fault::input(problem.hint(
            "add `prune: {}` for the defaults: tags that begin with pending-, older than 14 days",
        ))
    })
}

fn rules<'c>(args: &args::Prune, prune: &'c Prune) -> Result<Rules<'c>, Fault> {
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
fn chosen(names: &[String], config: &Config) -> Result<Vec<usize>, Fault> {
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
) -> Result<Result<Vec<Job>, String>, Fault> {
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
            plan: None,
            image,
        });
    }
    Ok(Ok(jobs))
}

/// Where each image is read from: two names may mean one repository.
fn places(config: &Config, cx: &Context) -> Result<Vec<String>, Fault> {
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

/// Judges every image, and deletes if that was asked for and none was refused; whether it came to
/// that.
fn carry_out(
    config: &Config,
    (chosen, jobs): (&[usize], &mut [Job]),
    (rules, armed): (&Rules<'_>, bool),
    cx: &mut Context,
) -> Result<bool, Fault> {
    let branches = match prune::gather(config, chosen, &places(config, cx)?) {
        Ok((guards, branches)) => {
            for (at, job) in chosen.iter().zip(jobs.iter_mut()) {
                job.guards = guards[*at].clone();
            }
            branches
        }
        Err(refusal) => {
            refuse_all(jobs, &refusal);
            return Ok(false);
        }
    };
    let progress = Progress::default();
    for job in jobs.iter_mut() {
        let work = job.judge(rules, &progress);
        cx.runtime()?.block_on(progress::while_counting(
            cx.output.progress,
            || progress.told(),
            work,
        ));
    }
    if !armed || jobs.iter().any(|job| job.image.refusal.is_some()) {
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
    if let Err(refusal) = prune::unmoved(&branches) {
        refuse_all(jobs, &refusal);
        return Ok(false);
    }
    for job in jobs.iter_mut().filter(|job| job.has_work()) {
        job.apply(cx)?;
        if job.image.refusal.is_some() {
            break;
        }
    }
    Ok(true)
}

fn refuse_all(jobs: &mut [Job], refusal: &Refusal) {
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
        match judged.approve(&listing) {
            Ok(plan) => self.plan = Some(plan),
            Err(refusal) => self.image.refusal = Some(refusal),
        }
        self.image.judged = Some(judged);
    }

    fn has_work(&self) -> bool {
        self.plan
            .as_ref()
            .is_some_and(|plan| !plan.order().is_empty())
    }

    fn apply(&mut self, cx: &Context) -> Result<(), Fault> {
        let Some(plan) = &self.plan else {
            return Ok(());
        };
        let (progress, output, image) = (Progress::default(), &cx.output, &self.image);
        progress.begin("deleting", Some(plan.order().len()));
        let mut tell = |step: Step<'_>| log(&step, image, (&progress, output));
        let work = apply::run(plan, &self.backend, &mut tell);
        let applied = cx.runtime()?.block_on(progress::while_counting(
            output.progress,
            || progress.told(),
            work,
        ));
        let lost = applied.lost(&self.image.name, self.image.restores);
        self.image.refusal = lost.or_else(|| applied.stopped.clone());
        self.image.applied = Some(applied);
        Ok(())
    }
}

/// Each deletion is told when it happened, however quiet the run: what is lost with the run could
/// not be undone.
fn log(step: &Step<'_>, image: &Image, (progress, output): (&Progress, &Output)) {
    match step {
        Step::Next(_) => progress.step(),
        Step::Deleted(candidate) => {
            output.error_text(&format!("deleted {}\n", plain(&deletion(image, candidate))));
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

fn exit(refusal: &Refusal) -> Exit {
    match refusal.kind {
        Kind::Later => Exit::Unavailable,
        Kind::Failed => Exit::Failed,
        Kind::Denied => Exit::Denied,
        Kind::Input => Exit::Input,
    }
}

fn report(
    images: &[Image],
    applied: bool,
    (step, cx): (&mut Option<StepFiles>, &mut Context),
) -> Result<(), Fault> {
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
            output.volume == crate::cli::output::Volume::Verbose,
        ));
        let Some(refusal) = &image.refusal else {
            continue;
        };
        if refusal.code == SKIP {
            output.note(&format!("{}: {}", image.name, plain(&refusal.message)));
            continue;
        }
        if output.format == Format::Github {
            let title = format!("{} ({})", refusal.code, image.name);
            output.print(annotations::error(&title, &refusal.message, None));
        }
        let mut problem =
            Problem::new(refusal.code, format!("{}: {}", image.name, refusal.message));
        problem.hint.clone_from(&refusal.hint);
        output.problem(&problem);
    }
    output.note(&told(images, (applied, deleted)));
    Ok(())
}

fn told(images: &[Image], (applied, deleted): (bool, usize)) -> String {
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
