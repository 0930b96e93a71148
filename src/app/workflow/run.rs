//! One promotion or rollback: opens the site, plans, carries the plan out, and returns the document
//! (`repin.plan/1`).

use std::{collections::BTreeMap, io::Read as _, path::PathBuf, sync::Arc};

use super::{
    ATTEMPTS, Access, Contracts, Goal, Intent, MissingCredential, Options, Services, Stop,
    base_kept_moving, connection,
    engine::{self, Planned, SetFacts, Standards},
    environment,
    execution::{Effect, Execution, Executor, OpenedPull},
    newest::Newest,
    newest_staged::newest_set,
    push::PushTarget,
    repository_sets::{self, warn_if_interrupted},
    request::{ApplyMode, Request},
    rollback_target::{self, Selection},
    site::{BranchSite, WorkTreeChange, WorkTreeSite, parse_at_base},
    trust::{self, Trust},
};
use crate::{
    app::report::{
        body::{self, TemplateContext, TemplateJob},
        diff,
        json::{Diff, ErrorRow, FileRow, ImageRow, PlaceRow, PlanDocument},
    },
    base::{
        error::{Class, Code, Error, Errors},
        files::{Files, MAX_CONFIG_SIZE, WorkTree},
        input_file,
        untrusted::plain,
    },
    config::{Config, Operation, Override, Trailer},
    core::{
        checks::{self, ApprovedImage, Check, Overrides, Resolution, Status},
        plan::FileChange,
    },
    oci::{Revision, registry::resolve},
};

pub(crate) struct RunResult {
    /// The configuration at the site.
    pub config: Config,
    pub document: PlanDocument,
    pub effect: Effect,
    /// The errors that stopped the run.
    pub errors: Option<Errors>,
    /// What the run changed before it planned, as sentences.
    pub before: Vec<String>,
}

/// The state of a run that remains when it plans again.
struct Course {
    selection: Selection,
    /// What the run changed before it planned, as sentences.
    before: Vec<String>,
}

/// A template that the user wrote, with the name of its file.
pub(super) struct Template {
    name: String,
    text: String,
    /// This program, which renders the template in another process.
    program: PathBuf,
}

/// Promotes a set or rolls back to one. Plans a pull request again if the base branch moved during
/// the run. Returns an error if the run has no set to report on.
pub(crate) fn run(
    goal: &Goal,
    options: &Options,
    config: &Config,
    services: &Services,
) -> Result<RunResult, Errors> {
    // Invalid arguments fail before the first request.
    goal.check(config)?;
    let mut course = Course {
        selection: Selection::begin(goal, options.intent, config, services)?,
        before: Vec::new(),
    };
    let mut attempts = 1;
    loop {
        let result = attempt(goal, options, config, &mut course, services);
        let (config, document, execution) =
            result.map_err(|errors| with_changes_before(errors, &course.before))?;
        if attempts == ATTEMPTS || !matches!(execution.stop, Some(Stop::BaseMoved)) {
            return Ok(RunResult {
                before: course.before,
                ..RunResult::new(config, document, execution)
            });
        }
        attempts += 1;
        // The next plan reads the branches again.
        services.known_heads.borrow_mut().clear();
        services
            .console
            .note("note: the base branch moved during the run; planning again");
    }
}

/// Adds the changes before the plan, which remain, to the errors of a run without a result.
fn with_changes_before(errors: Errors, before: &[String]) -> Errors {
    let mut errors: Vec<Error> = errors.into_iter().collect();
    if let Some(first) = errors.first_mut() {
        first.notes.extend_from_slice(before);
    }
    Errors::from(errors)
}

/// Plans the change and carries it out once. Returns the configuration at the site, the document and the
/// effect.
fn attempt(
    goal: &Goal,
    options: &Options,
    config: &Config,
    course: &mut Course,
    services: &Services,
) -> Result<(Config, PlanDocument, Execution), Errors> {
    let mut site = match open_site(goal, options, config, course, services)? {
        OpenedSite::Open(site) => site,
        OpenedSite::Stopped(stop) => return unopened(goal, config, stop, services),
    };
    let selection = &mut course.selection;
    let (document, execution) = attempt_at(&mut *site, goal, options, selection, services)?;
    Ok((site.config().clone(), document, execution))
}

/// Plans the change at a site and carries it out once.
fn attempt_at(
    site: &mut dyn Executor,
    goal: &Goal,
    options: &Options,
    selection: &mut Selection,
    services: &Services,
) -> Result<(PlanDocument, Execution), Errors> {
    let stopped = |stop| Execution::stopped(Effect::Nothing, stop);
    let config = site.config().clone();
    let operation = goal.operation();
    let mut facts = SetFacts::default();
    let text = match (goal.literal_revision(&config), goal.revision()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(text)) => rollback_target::revision(text, selection, &*site, services)?,
        (None, None) => match newest_set(goal.overrides(), options.intent, site, services)? {
            Newest::Build(revision) => revision.to_string(),
            Newest::Nothing { current, found } => {
                facts.found = Some(Arc::new(*found));
                let current = current.as_ref().map(Revision::as_str);
                let mut document = unplanned_document(operation, current, &config, &facts);
                for image in &mut document.images {
                    if let [digest] = image.from.as_slice() {
                        image.to = Some(*digest);
                    }
                }
                return Ok((document, Execution::complete(Effect::NothingNewer)));
            }
        },
    };
    let goal = goal.parse(&text, &config)?;
    let template = template(&config, site.files(), services)?;
    let text = goal.revision.as_str().to_owned();
    let request = match goal.request(site.files(), &config, services) {
        Ok(request) => request.with_changes(options, &config),
        // An abbreviation of no build is an invalid argument.
        Err(Stop::Errors(errors)) if errors.iter().all(|one| one.code == Code::REVISION_SHAPE) => {
            return Err(errors);
        }
        Err(stop) => {
            let document = unplanned_document(operation, Some(&text), &config, &facts);
            return Ok((document, stopped(stop)));
        }
    };
    let standards = read_standards(operation, &config, site.files(), services)?;
    let planned = engine::plan(
        &request,
        &standards,
        site,
        options.missing_credential,
        services,
        &mut facts,
    );
    let unplanned = unplanned_document(operation, Some(request.revision.as_str()), &config, &facts);
    let planned = match planned {
        Ok(planned) => planned,
        Err(stop) => {
            return Ok((unplanned, withheld(site, &request, stop, services)));
        }
    };
    let mut document = planned_document(unplanned, &planned);
    document.diff = Some(Diff(diff::unified(planned.plan.changes()).into()));
    let body = render_body(&document, &planned.body_context, template.as_ref());
    let body = body.and_then(|mut body| {
        // A squash merge may take the body of the pull request for its message.
        if let Some(overridden) = planned.approved.overridden() {
            body = format!("{body}\n{}\n", overridden.line());
        }
        write_files(options, document.diff_bytes(), &body)?;
        Ok(body)
    });
    let execution = match body {
        Ok(body) => {
            document.body = Some(body);
            site.carry_out(&planned, &document, services)
        }
        Err(errors) => stopped(errors.into()),
    };
    Ok((document, execution))
}

/// A run without a site. A malformed file of the configuration is an error even if the run is skipped.
fn unopened(
    goal: &Goal,
    config: &Config,
    stop: Stop,
    services: &Services,
) -> Result<(Config, PlanDocument, Execution), Errors> {
    let operation = goal.operation();
    let files = WorkTree::new(&config.root);
    template(config, &files, services)?;
    read_standards(operation, config, &files, services)?;
    let mut revision = None;
    if let Some(text) = goal.literal_revision(config) {
        revision = Some(goal.parse(text, config)?.revision.as_str().to_owned());
    }
    let facts = SetFacts::default();
    let document = unplanned_document(operation, revision.as_deref(), config, &facts);
    let execution = Execution::stopped(Effect::Nothing, stop);
    Ok((config.clone(), document, execution))
}

/// A run without a plan, whose open pull request becomes a draft if a stage stopped the run.
fn withheld(site: &dyn Executor, request: &Request, stop: Stop, services: &Services) -> Execution {
    let effect = match site.withhold(request, &stop, services) {
        Ok(pull) => pull.map_or(Effect::Nothing, |row| Effect::Opened(OpenedPull::new(row))),
        Err(errors) => {
            let reason = &errors.by_cause()[0];
            let git = services.discover_git(site.config()).ok().flatten();
            let name = connection::words(site.config(), git.as_ref()).pull_request;
            let message = format!("the open {name} was not made a draft: {reason}");
            services.console.warn(&message);
            Effect::Nothing
        }
    };
    Execution::stopped(effect, stop)
}

/// The revision that `promote --revision newest` would select in the work tree; `None` if nothing is newer
/// than the current set.
pub(crate) fn newest_revision(
    config: &Config,
    services: &Services,
) -> Result<Option<String>, Errors> {
    let site = WorkTreeSite::new(config, None);
    let newest = newest_set(Overrides::default(), Intent::Show, &site, services)?;
    Ok(match newest {
        Newest::Build(revision) => Some(revision.to_string()),
        Newest::Nothing { .. } => None,
    })
}

enum OpenedSite {
    Open(Box<dyn Executor>),
    Stopped(Stop),
}

/// Opens the site that the run requires: the work tree, or the base branch on the forge. A run that
/// changes the work tree takes its lock and recovers from an interrupted run before any file is read.
fn open_site(
    goal: &Goal,
    options: &Options,
    config: &Config,
    course: &mut Course,
    services: &Services,
) -> Result<OpenedSite, Errors> {
    let operation = goal.operation();
    let open = match options.intent {
        Intent::Show => {
            warn_if_interrupted(config, &*services.console);
            return Ok(OpenedSite::Open(Box::new(WorkTreeSite::new(config, None))));
        }
        Intent::Apply(mode) => {
            return Ok(
                match open_work_tree(operation, mode, config, course, services) {
                    Ok(site) => OpenedSite::Open(Box::new(site)),
                    Err(errors) => OpenedSite::Stopped(errors.into()),
                },
            );
        }
        Intent::ShowPullRequest => None,
        Intent::OpenPullRequest(request) => Some(request),
    };
    let own = goal.literal_revision(config);
    let own = own.map(|revision| config.branch(operation, revision));
    match BranchSite::open(config, own.as_deref(), services)? {
        Access::NoToken(reason) if options.missing_credential == MissingCredential::Skip => {
            Ok(OpenedSite::Stopped(Stop::Unconfigured(reason)))
        }
        access => Ok(OpenedSite::Open(Box::new(BranchSite {
            open,
            ..access.granted()?
        }))),
    }
}

/// Takes the lock of the work tree, recovers from an interrupted run, and follows the branch that a commit is pushed to.
fn open_work_tree(
    operation: Operation,
    mode: ApplyMode,
    config: &Config,
    course: &mut Course,
    services: &Services,
) -> Result<WorkTreeSite, Errors> {
    let session = repository_sets::begin(config, operation.as_str(), services)?;
    if session.has_finished_another {
        (course.before).push("the files of an interrupted run were changed".to_owned());
    }
    let (mut config, mut push) = (config.clone(), None);
    if mode == ApplyMode::Push {
        let target = PushTarget::prepare(&config, services)?;
        if target.has_updated {
            (course.before).push(format!(
                "the work tree was updated to {}",
                plain(&target.name)
            ));
            config = reread(&config)?;
        }
        push = Some(target);
    }
    let change = WorkTreeChange {
        session,
        mode,
        push,
    };
    Ok(WorkTreeSite::new(&config, Some(change)))
}

/// The configuration after the work tree was updated.
fn reread(config: &Config) -> Result<Config, Errors> {
    let path = config.root.join(config.file_name());
    let unreadable = |reason: String| {
        let message = format!(
            "cannot read {} at the new head of the branch: {reason}",
            config.file
        );
        Errors::from(Error::input(Code::CONFIG, message))
    };
    let bytes = input_file::read(&path, MAX_CONFIG_SIZE);
    let bytes = bytes.map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
    parse_at_base(config, config.file.clone(), &text)
}

/// Reads the standards of the images: the contracts, and the policy with its keys and roots.
pub(super) fn read_standards<'c>(
    operation: Operation,
    config: &'c Config,
    files: &dyn Files,
    services: &Services,
) -> Result<Standards<'c>, Errors> {
    let prefix = services.environment.path_to(&config.root);
    let contracts = Contracts::read(config, files, &prefix);
    if operation == Operation::Promotion {
        contracts.well_formed(config)?;
    }
    let trust = Trust::read(config, files)?;
    trust::check_since(config)?;
    if let Some(trust) = &trust {
        trust.warn_of_old_roots(services);
    }
    Ok(Standards { contracts, trust })
}

fn template(
    config: &Config,
    files: &dyn Files,
    services: &Services,
) -> Result<Option<Template>, Errors> {
    let Some(path) = &config.report.template else {
        return Ok(None);
    };
    let unreadable = |reason: String| {
        let error = Error::input(Code::TEMPLATE, format!("cannot read {path}: {reason}"));
        Errors::from(error.help("correct `report.template`, or make the file readable"))
    };
    let mut bytes = Vec::new();
    let opened = files.open(path).map_err(|error| error.error);
    opened
        .and_then(|file| file.take(body::MAX_TEMPLATE + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > body::MAX_TEMPLATE {
        return Err(unreadable("larger than 1 MiB".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_| unreadable("not UTF-8".to_owned()))?;
    let name = path.to_string();
    let program = services.environment.program.clone();
    Ok(Some(Template {
        name,
        text,
        program,
    }))
}

/// Writes the files of the options. Output for standard output (`-`) is printed at the end.
fn write_files(options: &Options, diff: &[u8], body: &str) -> Result<(), Errors> {
    let files = [
        (&options.diff_file, diff),
        (&options.body_file, body.as_bytes()),
    ];
    for (file, content) in files {
        if let Some(file) = file {
            file.write(content)?;
        }
    }
    Ok(())
}

impl RunResult {
    /// The class of the failure; `None` if the run succeeded.
    pub(crate) fn class(&self) -> Option<Class> {
        let failed = checks::any_failed(&self.document.checks).then_some(Class::Failed);
        let errors = self.errors.as_ref().map(Errors::class);
        failed.into_iter().chain(errors).reduce(Class::worse)
    }

    fn new(config: Config, document: PlanDocument, execution: Execution) -> Self {
        let mut result = Self {
            config,
            document,
            errors: None,
            before: Vec::new(),
            effect: execution.effect,
        };
        match &result.effect {
            Effect::Applied | Effect::Committed(_) => result.document.applied = true,
            Effect::Opened(pull) => {
                result.document.pull_request = Some(pull.row.clone());
                result.document.wait.clone_from(&pull.wait);
            }
            Effect::Nothing | Effect::NothingNewer | Effect::PullRequestShown | Effect::Begun => {}
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
                (!stopped.errors.is_empty()).then(|| Errors::from(stopped.errors))
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
        document.error = self.errors.as_ref().and_then(ErrorRow::worst);
        document.approved &= !checks::any_failed(&document.checks);
    }
}

/// The document of a run that has no plan yet. Without a revision, the texts that contain it are empty.
pub(super) fn unplanned_document(
    operation: Operation,
    revision: Option<&str>,
    config: &Config,
    facts: &SetFacts,
) -> PlanDocument {
    let (mut branch, mut title, mut trailers) = (String::new(), String::new(), Vec::new());
    if let Some(revision) = revision {
        branch = config.branch(operation, revision);
        title = (config.templates(operation).title).render(revision, &config.name);
        trailers.push(Trailer::line(revision, &config.set_path));
    }
    PlanDocument {
        schema: "repin.plan/1",
        kind: operation,
        set_path: config.set_path.clone(),
        revision: revision.unwrap_or_default().to_owned(),
        approved: false,
        applied: false,
        changed: false,
        images: image_rows(config, facts),
        files: Vec::new(),
        checks: Vec::new(),
        changes: None,
        branch,
        title,
        trailers,
        body: None,
        diff: None,
        pull_request: None,
        wait: None,
        error: None,
    }
}

fn image_rows(config: &Config, facts: &SetFacts) -> Vec<ImageRow> {
    let mut rows = Vec::new();
    for (index, image) in config.images.iter().enumerate() {
        let mut row = ImageRow {
            name: image.name.clone(),
            repository: image.repository.clone(),
            from: Vec::new(),
            to: None,
            pins: image.pins,
            places: Vec::new(),
            platforms: Vec::new(),
            labels: BTreeMap::new(),
            verified: facts.evidence.get(index).cloned().unwrap_or_default(),
        };
        if let Some(found) = &facts.found {
            row.from = found.digests_of(index);
            row.pins = found.pins_of(index).count();
            row.places = PlaceRow::all(config, found, index);
        }
        if let Some(Resolution { found, .. }) = facts.resolutions.get(index)
            && let Ok(ApprovedImage { facts, .. }) = found
        {
            row.to = Some(facts.digest);
            let platforms = facts.platforms.iter();
            row.platforms = platforms
                .map(|platform| platform.platform.to_string())
                .collect();
            row.labels = resolve::reported_labels(facts, &config.report.labels);
        }
        rows.push(row);
    }
    rows
}

/// The document of a plan, without its body and its diff.
pub(super) fn planned_document(unplanned: PlanDocument, planned: &Planned) -> PlanDocument {
    let changes = planned.plan.changes();
    let checks = planned.approved.checks().iter();
    let mut trailers = unplanned.trailers.clone();
    trailers.extend(planned.approved.overridden().map(Override::line));
    PlanDocument {
        approved: true,
        changed: !changes.is_empty(),
        files: changes.iter().map(file_row).collect(),
        checks: checks.chain(planned.plan.checks()).cloned().collect(),
        changes: planned.changes.clone(),
        trailers,
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
    let custom = |job: &TemplateJob| match template {
        Some(template) => environment::render(job, &template.program),
        None => job.render(),
    };
    body::render(document, body_context, text, &custom).map_err(|error| {
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

fn file_row(change: &FileChange) -> FileRow {
    FileRow {
        path: change.path.to_string(),
        pins: change.pins,
        old_sha256: change.old_sha256.hex(),
        new_sha256: change.new_sha256.hex(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn planner_counts_are_added_to_checks() {
        let config = config::example(
            "version: 1\nfiles: [x]\nimages: { a: { repository: r.example/a, pins: 1 } }\n",
        );
        let check = |status| Check::new(Code::PIN_COUNT, status, "1 of 2".to_owned());
        let document = PlanDocument {
            approved: true,
            checks: vec![check(Status::Pass)],
            ..unplanned_document(Operation::Promotion, None, &config, &SetFacts::default())
        };
        let stop = Stop::Count(vec![check(Status::Fail)]);
        let result = RunResult::new(config, document, Execution::stopped(Effect::Nothing, stop));
        let checks = result.document.checks.iter().map(|check| check.status);
        assert_eq!(checks.collect::<Vec<_>>(), [Status::Pass, Status::Fail]);
        assert!(!result.document.approved);
    }
}
