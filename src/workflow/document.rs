//! The result of a run, as its document (`repin.plan/1`).

use super::{
    Stop, base_kept_moving,
    engine::Planned,
    execution::{Effect, Execution},
    request::Request,
};
use crate::{
    checks::{self, Check, Status},
    code::Code,
    config::Config,
    error::{Class, Error, Errors},
    plan::FileChange,
    report::{
        body::{self, TemplateContext},
        json::{ErrorRow, FileRow, ImageRow, PlanDocument},
    },
};

pub(crate) struct RunResult {
    /// The configuration at the site.
    pub config: Config,
    pub document: PlanDocument,
    pub effect: Effect,
    /// The errors that stopped the run.
    pub errors: Option<Errors>,
}

impl RunResult {
    /// The class of the failure; `None` if the run succeeded.
    pub(crate) fn class(&self) -> Option<Class> {
        let failed = checks::any_failed(&self.document.checks).then_some(Class::Failed);
        let errors = self.errors.as_ref().map(Errors::class);
        failed.into_iter().chain(errors).reduce(Class::worse)
    }

    pub(super) fn new(config: Config, document: PlanDocument, execution: Execution) -> Self {
        let mut result = Self {
            config,
            document,
            errors: None,
            effect: execution.effect,
        };
        match &result.effect {
            Effect::Applied | Effect::Committed(_) => result.document.applied = true,
            Effect::Opened(pull) => result.document.pull_request = Some(pull.clone()),
            Effect::Nothing | Effect::PullRequestShown | Effect::Begun => {}
        }
        if let Some(stop) = execution.stop {
            result.add_stop(stop);
        }
        result
    }

    /// Adds the cause of the early stop.
    fn add_stop(&mut self, stop: Stop) {
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
            Stop::BaseMoved => Some(base_kept_moving()),
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
        set_path: config.set_path.clone(),
        revision: revision.to_string(),
        approved: false,
        applied: false,
        changed: false,
        images,
        files: Vec::new(),
        checks: Vec::new(),
        branch: config.branch(request.operation, revision),
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
        files: changes.iter().map(file_row).collect(),
        checks: checks.chain(planned.plan.checks()).cloned().collect(),
        ..unplanned
    }
}

/// Renders the body of the pull request.
pub(super) fn render_body(
    document: &PlanDocument,
    body_context: &TemplateContext,
    template: Option<&Template>,
) -> Result<String, Errors> {
    let text = template.map(|template| template.text.as_str());
    body::render(document, body_context, text).map_err(|error| {
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

pub(super) struct Template {
    pub(super) name: String,
    pub(super) text: String,
}

/// The errors that determine the exit code, as one row.
fn worst(errors: &Errors) -> Option<ErrorRow> {
    let exit_code = errors.class().exit_code();
    let mut worst: Option<ErrorRow> = None;
    for error in errors.by_cause() {
        if error.class.exit_code() != exit_code {
            continue;
        }
        let row = ErrorRow::of(&error);
        worst = Some(match worst {
            None => row,
            Some(first) => ErrorRow {
                message: format!("{}; {}", first.message, row.message),
                ..first
            },
        });
    }
    worst
}

fn file_row(change: &FileChange) -> FileRow {
    FileRow {
        path: change.path.to_string(),
        pins: change.pins,
        old_sha256: change.old_sha256.hex(),
        new_sha256: change.new_sha256.hex(),
    }
}
