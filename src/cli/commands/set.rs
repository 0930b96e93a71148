//! What `promote` and `rollback` share: the run as it goes, and how it is reported.

mod base_forge;
mod open;
mod place;
mod reports;
mod show;
mod standards;
mod trial;

use futures_util::future;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    apply::{Session, State},
    checks::{self, Approved, Check, Code, Resolution, Status, Stopped, Target},
    cli::{
        context::{Context, Intent},
        exit::Exit,
        output::{Format, Output},
        progress,
    },
    config::{Config, Naming},
    error::{Class, Error, Errors},
    history::Entry,
    oci::{Digest, Revision, Tag},
    pins::Found,
    plan::{Plan, PlanError},
    registry::{
        Source,
        resolve::{self, ImageFacts},
    },
    report::{
        body::{self, Beside, Labels, Undone},
        diff,
        json::{ErrorRow, FileRow, ImageRow, PlanDocument},
    },
};

pub(super) use open::{not_scheduled, not_yet, warn_of_silent_checks};
pub(super) use place::{HeadOnForge, Place, at_place};
pub(super) use reports::Reports;
pub(super) use show::{print_checks, tally};
pub(super) use standards::{Contracts, Then, inspected};
pub(super) use trial::Trial;

/// Why a run did not come to its end.
pub(super) enum Stop {
    /// A stage of the chain.
    Chain(Stopped),
    /// The planner's count.
    Count(Vec<Check>),
    /// A token is missing, and that was said to be fine.
    Unconfigured(String),
    /// The base branch was moved meanwhile.
    BaseMoved,
    /// Anything else.
    Errors(Errors),
}

/// A run, filled in as it goes; at any time it can be reported.
pub(super) struct Run<'c> {
    pub(super) config: &'c Config,
    document: PlanDocument,
    beside: Beside,
    diff: Vec<u8>,
    plan: Option<Plan>,
    ending: Ending,
}

/// What a run came to beside what its document says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing.
    Plain,
    /// It would have opened a pull request.
    Rehearsed,
    /// It broke off after it had begun to open one.
    Begun,
}

impl From<Stopped> for Stop {
    fn from(stopped: Stopped) -> Self {
        Self::Chain(stopped)
    }
}

impl From<Errors> for Stop {
    fn from(fault: Errors) -> Self {
        Self::Errors(fault)
    }
}

impl From<PlanError> for Stop {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Counts(checks) => Self::Count(checks),
            PlanError::Read(error) => Self::Errors(error.into()),
        }
    }
}

/// The revision that was typed, and its tag: a mistake in either is the caller's, before anything
/// is read.
pub(super) fn revision(config: &Config, text: &str) -> Result<(Revision, Tag), Errors> {
    let wrong = |message: String| {
        let hint = "the pattern is `revision.pattern` in the configuration; a revision is written out in full";
        Errors::from(Error::input("revision_shape", message).help(hint))
    };
    let revision = config
        .revision
        .pattern
        .revision(text)
        .map_err(|error| wrong(error.to_string()))?;
    let tag = config
        .revision
        .tag
        .tag(&revision)
        .map_err(|error| wrong(error.to_string()))?;
    Ok((revision, tag))
}

/// Takes the lock if something is to be changed, and recovers from an interrupted run before
/// anything is looked at.
pub(super) fn begin(
    config: &Config,
    intent: Intent,
    command: &str,
    output: &Output,
) -> Result<Option<Session>, Errors> {
    match intent {
        Intent::Show => {
            super::recover::mention(config, output);
            return Ok(None);
        }
        // The work tree is neither read nor changed.
        Intent::Open(_) | Intent::ShowOpen => return Ok(None),
        Intent::Apply => {}
    }
    let mut session = Session::begin(&config.root, &holder(command))?;
    let recovery = session.recover()?;
    if recovery.state != State::Nothing {
        output.note(&format!(
            "note: an interrupted run was recovered first ({})",
            recovery.state.as_str()
        ));
    }
    Ok(Some(session))
}

/// What a run that is turned away is told about the one that holds the lock.
pub(super) fn holder(command: &str) -> String {
    let started = OffsetDateTime::now_utc().format(&Rfc3339);
    format!(
        "`repin {command}`, process {} on {}, since {}",
        std::process::id(),
        rustix::system::uname().nodename().to_string_lossy(),
        started.unwrap_or_default()
    )
}

/// Asks for every image's tag, concurrently; the answers are in the order of the configuration.
pub(super) fn resolve(
    config: &Config,
    targets: Vec<Target>,
    cx: &Context,
) -> Result<Vec<Resolution>, Errors> {
    let sources = sources_of(config, cx)?;
    let work = sources.iter().zip(targets).map(|(source, target)| {
        let known = cx.named(source, &target.tag);
        resolution(source, target, known)
    });
    let resolutions = wait(
        future::join_all(work),
        &format!("resolving {} images", config.images.len()),
        cx,
    )?;
    for (source, resolution) in sources.iter().zip(&resolutions) {
        if let Ok(Some(facts)) = &resolution.found {
            cx.keep(source, &resolution.target.tag, facts);
        }
    }
    Ok(resolutions)
}

/// Where each image is read from, in the order of the configuration.
pub(super) fn sources_of(config: &Config, cx: &Context) -> Result<Vec<Source>, Errors> {
    let sources = cx.sources(config)?;
    let of = |image: &crate::config::Image| sources.of(&image.repository);
    let found: Result<Vec<Source>, _> = config.images.iter().map(of).collect();
    found.map_err(|error| Errors::from(Error::input("source", error.to_string())))
}

/// Waits for requests, with a spinner where that takes longer than a blink.
pub(super) fn wait<T>(
    work: impl Future<Output = T>,
    message: &str,
    cx: &Context,
) -> Result<T, Errors> {
    Ok(cx
        .runtime()?
        .block_on(progress::while_waiting(cx.output.progress, message, work)))
}

/// The reported labels of what is pinned now, for each image that could be read.
pub(super) fn labels_now(config: &Config, found: &Found, cx: &Context) -> Result<Labels, Errors> {
    if config.report.labels.is_empty() {
        return Ok(Labels::new());
    }
    let sources = sources_of(config, cx)?;
    let asked =
        config
            .images
            .iter()
            .zip(&sources)
            .enumerate()
            .map(|(at, (image, source))| async move {
                let digest = *found.digests_of(at).first()?;
                let facts = resolve::resolve(source, &crate::registry::Want::Digest(digest))
                    .await
                    .ok()??;
                Some((
                    image.name.clone(),
                    resolve::reported_labels(&facts, &config.report.labels),
                ))
            });
    let labels = wait(future::join_all(asked), "reading what is pinned", cx)?;
    Ok(labels.into_iter().flatten().collect())
}

async fn resolution(source: &Source, target: Target, known: Option<ImageFacts>) -> Resolution {
    let found = match known {
        Some(facts) => Ok(Some(facts)),
        None => resolve::resolve(source, &crate::registry::Want::Tag(target.tag.clone())).await,
    };
    let mut old_platforms = Vec::new();
    if let Ok(Some(facts)) = &found {
        let going: Vec<_> = target
            .pinned
            .iter()
            .copied()
            .filter(|digest| *digest != facts.digest)
            .collect();
        let asked = going
            .iter()
            .map(|digest| resolve::platforms_of(source, *digest));
        old_platforms = going
            .iter()
            .copied()
            .zip(future::join_all(asked).await)
            .collect();
    }
    Resolution {
        target,
        found,
        old_platforms,
    }
}

impl<'c> Run<'c> {
    /// A run that has not looked at anything.
    pub(super) fn new(
        kind: &'static str,
        config: &'c Config,
        naming: &Naming,
        revision: &Revision,
    ) -> Self {
        let images = config.images.iter().map(|image| ImageRow {
            name: image.name.clone(),
            repository: image.repository.to_string(),
            from: Vec::new(),
            to: None,
            pins: image.pins,
            platforms: Vec::new(),
            labels: std::collections::BTreeMap::new(),
        });
        let document = PlanDocument {
            schema: "repin.plan/1",
            kind,
            revision: revision.to_string(),
            approved: false,
            applied: false,
            changed: false,
            images: images.collect(),
            files: Vec::new(),
            checks: Vec::new(),
            branch: naming.branch.render(revision, &config.name),
            title: naming.title.render(revision, &config.name),
            body: None,
            diff: None,
            pull_request: None,
            error: None,
        };
        let (beside, ending) = (Beside::default(), Ending::Plain);
        Self {
            config,
            document,
            beside,
            diff: Vec::new(),
            plan: None,
            ending,
        }
    }

    /// Takes in which set is pinned now.
    pub(super) fn goes_back_to(&mut self, revision: Option<Revision>) {
        self.beside.revision_now = revision.map(|revision| revision.to_string());
    }

    /// Takes in the sets that a rollback undoes, newest first.
    pub(super) fn undoes(&mut self, entries: &[Entry]) {
        self.beside.undone = entries.iter().map(Undone::of).collect();
    }

    /// Takes in the labels of what is pinned now.
    pub(super) fn labelled_before(&mut self, labels: Labels) {
        self.beside.labels_now = labels;
    }

    /// Takes in what is pinned now.
    pub(super) fn counted(&mut self, found: &Found) {
        for (at, row) in self.document.images.iter_mut().enumerate() {
            row.from = found.digests_of(at).iter().map(Digest::to_string).collect();
            row.pins = found.pins_of(at).count();
        }
    }

    /// Takes in what the tags name.
    pub(super) fn resolved(&mut self, resolutions: &[Resolution]) {
        for (row, resolution) in self.document.images.iter_mut().zip(resolutions) {
            if let Ok(Some(facts)) = &resolution.found {
                row.fill(facts, &self.config.report.labels);
            }
        }
    }

    /// Takes in the plan, and makes the reports of it.
    pub(super) fn planned(
        &mut self,
        approved: &Approved,
        plan: Plan,
        reports: &Reports,
    ) -> Result<(), Stop> {
        let document = &mut self.document;
        document.approved = true;
        document.checks = approved
            .checks()
            .iter()
            .chain(plan.checks())
            .cloned()
            .collect();
        document.changed = !plan.changes().is_empty();
        document.files = plan.changes().iter().map(FileRow::of).collect();
        self.diff = diff::unified(plan.changes());
        document.diff = Some(String::from_utf8_lossy(&self.diff).into_owned());
        let (name, template) = reports
            .template
            .as_ref()
            .map_or(("", None), |(name, text)| (name, Some(text.as_str())));
        let body = body::render(document, &self.beside, template).map_err(|error| {
            let line = error
                .line
                .map_or_else(String::new, |line| format!(":{line}"));
            Errors::from(Error::input("template", format!("{name}{line}: {error}")))
        })?;
        document.body = Some(body);
        self.plan = Some(plan);
        Ok(())
    }

    /// Reports the run and says how it ends; `None`: it has to begin again, since what it was
    /// planned against moved.
    pub(super) fn finish(
        mut self,
        outcome: Result<(), Stop>,
        reports: &Reports,
        last: bool,
        cx: &mut Context,
    ) -> Option<Exit> {
        if !last && matches!(outcome, Err(Stop::BaseMoved)) {
            return None;
        }
        let (exit, errors) = self.take_in(outcome);
        match cx.output.format {
            Format::Json => cx.output.json(&self.document),
            Format::Github => self.print_github(reports, cx),
            Format::Human => self.print_human(reports, &mut cx.output),
        }
        if cx.output.format != Format::Json {
            if let Some(errors) = &errors {
                cx.output.fault(errors);
            }
            cx.output.note(&self.closing(exit));
        }
        let written = if cx.output.format == Format::Github {
            self.write_step_files(reports, cx)
        } else {
            Ok(())
        };
        Some(written.map_or_else(|fault| exit.worse(cx.output.fault(&fault)), |()| exit))
    }

    /// What stopped the run becomes part of its document.
    fn take_in(&mut self, outcome: Result<(), Stop>) -> (Exit, Option<Errors>) {
        let errors = match outcome {
            Ok(()) => None,
            Err(Stop::Chain(stopped)) => {
                self.document.checks = stopped.checks;
                (!stopped.outages.is_empty()).then(|| Errors::from(stopped.outages))
            }
            Err(Stop::Count(checks)) => {
                self.document.checks.extend(checks);
                None
            }
            Err(Stop::Unconfigured(why)) => {
                let check = Check::new(Code::UNCONFIGURED, Status::Skip, why);
                self.document.checks.push(check);
                None
            }
            Err(Stop::BaseMoved) => Some(place::kept_moving()),
            Err(Stop::Errors(errors)) => Some(errors),
        };
        let failed = if checks::any_failed(&self.document.checks) {
            Exit::Because(Class::Failed)
        } else {
            Exit::Done
        };
        self.document.error = errors.as_ref().and_then(worst);
        if failed != Exit::Done || (errors.is_some() && !self.document.applied) {
            self.document.approved &= failed == Exit::Done;
        }
        let worse = errors.as_ref().map_or(Exit::Done, Exit::from);
        (failed.worse(worse), errors)
    }
}

/// The errors of the class that decides, as one.
fn worst(errors: &Errors) -> Option<ErrorRow> {
    let class = errors.class();
    let causes = errors.by_cause();
    let rows = causes
        .iter()
        .filter(|error| error.class.exit_code() == class.exit_code());
    rows.map(ErrorRow::of).reduce(|mut all, row| {
        all.message = format!("{}; {}", all.message, row.message);
        all
    })
}

impl ImageRow {
    fn fill(&mut self, facts: &ImageFacts, names: &[String]) {
        self.to = Some(facts.digest.to_string());
        self.platforms = facts
            .platforms
            .iter()
            .map(|platform| platform.platform.to_string())
            .collect();
        self.labels = resolve::reported_labels(facts, names);
    }
}

impl FileRow {
    fn of(change: &crate::plan::FileChange) -> Self {
        Self {
            path: change.path.to_string(),
            pins: change.pins,
            old_sha256: change.old_sha256.hex(),
            new_sha256: change.new_sha256.hex(),
        }
    }
}
