//! The result of a run, as its document (`repin.plan/1`).

use super::{
    Stop,
    engine::Planned,
    kept_moving,
    publish::{CarriedPull, Done},
    request::Request,
};
use crate::{
    checks::{self, Check, Status},
    code::Code,
    config::Config,
    error::{Class, Error, Errors},
    plan::FileChange,
    report::{
        body::{self, Beside},
        json::{ErrorRow, FileRow, ImageRow, PlanDocument},
    },
};

/// The result of a run.
pub struct Finished {
    /// The configuration that counted.
    pub config: Config,
    /// The findings, decisions and actions.
    pub document: PlanDocument,
    /// What was done.
    pub done: Done,
    /// The reason why the run stopped early.
    pub errors: Option<Errors>,
}

impl Finished {
    /// Why the run failed, if it did.
    pub fn class(&self) -> Option<Class> {
        let failed = checks::any_failed(&self.document.checks).then_some(Class::Failed);
        let errors = self.errors.as_ref().map(Errors::class);
        failed.into_iter().chain(errors).reduce(Class::worse)
    }

    /// A run that did some or all of what was requested.
    pub(super) fn new(config: Config, document: PlanDocument, carried: CarriedPull) -> Self {
        let CarriedPull { done, stop } = carried;
        let mut finished = Self {
            config,
            document,
            errors: None,
            done,
        };
        match &finished.done {
            Done::Applied | Done::Committed(_) => finished.document.applied = true,
            Done::Opened(pull) => finished.document.pull_request = Some(pull.clone()),
            Done::Nothing | Done::Rehearsed | Done::Begun => {}
        }
        if let Some(stop) = stop {
            finished.stopped(stop);
        }
        finished
    }

    /// Adds the reason why the run stopped to its document.
    fn stopped(&mut self, stop: Stop) {
        let document = &mut self.document;
        self.errors = match stop {
            Stop::Chain(stopped) => {
                document.checks = stopped.checks;
                (!stopped.outages.is_empty()).then(|| Errors::from(stopped.outages))
            }
            Stop::Count(checks) => {
                document.checks.extend(checks);
                None
            }
            Stop::Unconfigured(reason) => {
                let check = Check::new(Code::UNCONFIGURED, Status::Skip, reason);
                document.checks.push(check);
                None
            }
            Stop::BaseMoved => Some(kept_moving()),
            Stop::Errors(errors) => Some(errors),
        };
        document.error = self.errors.as_ref().and_then(worst);
        document.approved &= !checks::any_failed(&document.checks);
    }
}

/// The document of a run that has no plan yet.
pub(super) fn unplanned(request: &Request, config: &Config, images: Vec<ImageRow>) -> PlanDocument {
    let (names, revision) = (config.names(request.operation), &request.revision);
    PlanDocument {
        schema: "repin.plan/1",
        kind: request.operation,
        revision: revision.to_string(),
        approved: false,
        applied: false,
        changed: false,
        images,
        files: Vec::new(),
        checks: Vec::new(),
        branch: names.branch.render(revision, &config.name),
        title: names.title.render(revision, &config.name),
        body: None,
        diff: None,
        pull_request: None,
        error: None,
    }
}

/// The document of a plan, without its body and its diff.
pub(super) fn planned(unplanned: PlanDocument, planned: &Planned) -> PlanDocument {
    let changes = planned.plan.changes();
    let checks = planned.approved.checks().iter();
    PlanDocument {
        approved: true,
        changed: !changes.is_empty(),
        files: changes.iter().map(FileRow::of).collect(),
        checks: checks.chain(planned.plan.checks()).cloned().collect(),
        ..unplanned
    }
}

/// The body of the pull request.
pub(super) fn body(
    document: &PlanDocument,
    beside: &Beside,
    template: Option<&Template>,
) -> Result<String, Errors> {
    let text = template.map(|template| template.text.as_str());
    body::render(document, beside, text).map_err(|error| {
        let name = template.map_or("", |template| &template.name);
        let line = error
            .line
            .map_or_else(String::new, |line| format!(":{line}"));
        Errors::from(Error::input(
            Code::TEMPLATE,
            format!("{name}{line}: {error}"),
        ))
    })
}

/// The template of the body.
pub(super) struct Template {
    pub(super) name: String,
    pub(super) text: String,
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

impl FileRow {
    pub(super) fn of(change: &FileChange) -> Self {
        Self {
            path: change.path.to_string(),
            pins: change.pins,
            old_sha256: change.old_sha256.hex(),
            new_sha256: change.new_sha256.hex(),
        }
    }
}
