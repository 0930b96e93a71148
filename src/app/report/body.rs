//! The body of a pull request, in Markdown, from the built-in template or the user's.
//!
//! Values are escaped when they are printed, so that a label cannot mention a user, add a link or break a
//! table. `|safe` disables this, `|code` makes a code span, and `|verified` replaces the code of a check by
//! the statement that a passed check proves. The variables are the fields of `repin.plan/1` without `body`.

use std::{collections::BTreeMap, fmt::Write as _, io};

use minijinja::{
    AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior, Value,
    value::{Serde, ValueKind},
};
use serde::{Deserialize, Serialize};

use super::{
    changes::markdown::section as markdown_section, explain::by_cause, json::PlanDocument,
};
use crate::{
    app::pull_request::{Marker, MarkerKind},
    base::{
        error::Code,
        untrusted::{markdown, redacted, to_minute},
    },
    config::{self, Config},
    core::{
        changes::{Part, shortened},
        checks::{Status, any_failed},
        history::HistoryEntry,
    },
};

/// The maximum length of a body, in characters; forges refuse longer ones (GitHub: 65,536).
pub(crate) const MAX: usize = 60_000;

const TEMPLATE: &str = include_str!("body.md.j2");

/// The maximum number of steps of a custom template. A loop over a thousand values takes about ten
/// thousand steps.
const FUEL: u64 = 1_000_000;

/// The limits of a shortened body: files, checks, and characters of the evidence of a check.
const MAX_FILES: usize = 20;
const MAX_CHECKS: usize = 100;
const MAX_DETAIL: usize = 200;

/// The maximum output of a custom template, in bytes.
const MAX_OUTPUT: usize = 4 << 20;

/// The maximum size of a custom template, in bytes.
pub(crate) const MAX_TEMPLATE: u64 = 1 << 20;

/// A template that cannot be rendered.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub(crate) struct TemplateError {
    pub message: String,
    /// The line of the template, counted from 1.
    pub line: Option<usize>,
}

/// The input of a custom template. It is rendered in another process, whose memory, stack and time are
/// limited: the engine limits its steps, but not the size and the depth of a value.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TemplateJob {
    template: String,
    variables: serde_json::Value,
    changes_section: String,
}

/// Renders a custom template.
pub(crate) type RenderTemplate<'r> = dyn Fn(&TemplateJob) -> Result<String, TemplateError> + 'r;

/// The variables of the built-in template in addition to the document.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct TemplateContext {
    /// The currently pinned revision, if history contains it.
    pub current_revision: Option<String>,
    /// The labels of the currently pinned images, by image.
    pub current_labels: Labels,
    /// The sets that a rollback undoes, newest first.
    pub undone: Vec<UndoneSet>,
    /// The stages in which a promoted set was current.
    pub stages: Vec<StageRow>,
    /// The optional checks of images that are not configured.
    pub not_configured: Vec<OptionalCheck>,
    /// The project's own way to roll back (`report.rollback`).
    pub rollback_instruction: Option<String>,
}

impl TemplateContext {
    /// The variables that depend only on the configuration.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            not_configured: OptionalCheck::not_configured(config),
            rollback_instruction: config.report.rollback.clone(),
            ..Self::default()
        }
    }
}

/// A check of images that requires a configuration.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OptionalCheck {
    subject: &'static str,
    key: &'static str,
}

impl OptionalCheck {
    /// The checks without a configuration.
    fn not_configured(config: &Config) -> Vec<Self> {
        let has_inventory = |image| config.inventory_of(image).is_some();
        let checks = [
            ("signatures", "verify", config.verify.is_some()),
            (
                "contents",
                "inventory",
                config.images.iter().any(has_inventory),
            ),
            ("a run of the images", "smoke", config.smoke.is_some()),
        ];
        let missing = checks
            .into_iter()
            .filter(|(_, _, is_configured)| !is_configured);
        missing
            .map(|(subject, key, _)| Self { subject, key })
            .collect()
    }
}

/// A stage in which a promoted set was current.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StageRow {
    /// The set path, with the repository before it if that is another one.
    pub stage: String,
    /// To the minute, with the offset from UTC.
    pub since: String,
    /// The short id of the commit that made the set current.
    pub commit: String,
    /// `pull request`, or on GitLab `merge request`.
    pub kind: &'static str,
    /// Its pull request, such as `#5` or on GitLab `!5`, if it is known.
    pub pull_request: Option<String>,
    /// The user who merged the pull request, or else the author of the commit.
    pub by: String,
}

/// Values of labels by image and label.
pub(crate) type Labels = BTreeMap<String, BTreeMap<String, Option<String>>>;

/// A set that a rollback undoes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct UndoneSet {
    pub revision: Option<String>,
    /// The short id of the commit that made the set current.
    pub commit: String,
    /// In ISO 8601.
    pub date: String,
    pub subject: String,
}

impl UndoneSet {
    pub(crate) fn new(entry: &HistoryEntry) -> Self {
        let revision = entry.revision.as_ref().map(ToString::to_string);
        Self {
            revision,
            commit: entry.commit.short(),
            date: to_minute(&entry.date),
            subject: entry.subject.clone(),
        }
    }
}

#[derive(Serialize)]
struct Variables<'v> {
    #[serde(flatten)]
    document: &'v PlanDocument,
    /// Selects the set in a command that runs at the top of the repository.
    config_option: String,
    #[serde(flatten)]
    context: &'v TemplateContext,
}

#[derive(Serialize)]
struct AllVariables<V> {
    #[serde(flatten)]
    variables: V,
    /// The section "What changes", in Markdown; empty if the differences are not reported.
    changes_section: Value,
}

impl TemplateJob {
    fn new(template: &str, variables: &Variables<'_>) -> Result<Self, TemplateError> {
        let changes_section = changes_section(variables.document);
        let variables = serde_json::to_value(variables).map_err(|error| TemplateError {
            message: error.to_string(),
            line: None,
        })?;
        Ok(Self {
            template: template.to_owned(),
            variables,
            changes_section,
        })
    }

    /// Renders the template in this process.
    pub(crate) fn render(&self) -> Result<String, TemplateError> {
        let variables = AllVariables {
            variables: &self.variables,
            changes_section: Value::from_safe_string(self.changes_section.clone()),
        };
        let max = Some(MAX_OUTPUT);
        render_template(&self.template, Value::from(Serde(&variables)), max)
    }
}

/// Renders a template; `max`: the limit of the output of a custom one, in bytes.
fn render_template(
    template: &str,
    variables: Value,
    max: Option<usize>,
) -> Result<String, TemplateError> {
    let environment = environment(max.is_some());
    let template = environment.template_from_str(template);
    let template = template.map_err(template_error)?;
    let mut output = BoundedText::new(max.unwrap_or(usize::MAX));
    let rendered = template.render_captured_to(variables, &mut output);
    output.finish(rendered.map(drop))
}

/// Renders the body, from `template` or the built-in template.
pub(crate) fn render(
    document: &PlanDocument,
    context: &TemplateContext,
    template: Option<&str>,
    custom: &RenderTemplate<'_>,
) -> Result<String, TemplateError> {
    let render = |document: &PlanDocument| {
        let variables = Variables {
            document,
            config_option: config::option_unless_default(&document.set_path.to_string()),
            context,
        };
        if let Some(template) = template {
            return custom(&TemplateJob::new(template, &variables)?);
        }
        let changes_section = Value::from_safe_string(changes_section(document));
        let variables = Value::from(Serde(&AllVariables {
            variables,
            changes_section,
        }));
        render_template(TEMPLATE, variables, None)
    };
    let marker = marker(document);
    let mut document = PlanDocument {
        body: None,
        // The built-in template does not use the diff, and rendering would copy it.
        diff: document.diff.clone().filter(|_| template.is_some()),
        ..document.clone()
    };
    let mut notices = Vec::new();
    // Parts are cut in the order of their importance; the checks are the last.
    for step in [
        Cut::Nothing,
        Cut::Commits,
        Cut::Packages,
        Cut::ChangedImages,
        Cut::Labels,
        Cut::Files,
        Cut::Passes,
        Cut::Details,
    ] {
        notices.extend(step.apply(&mut document));
        let text = redacted(&render(&document)?);
        let body = assemble(&text, &notices, &marker);
        if body.chars().count() <= MAX {
            return Ok(body);
        }
    }
    notices.push("the end of this text");
    let text = redacted(&render(&document)?);
    let spare = MAX - assemble("", &notices, &marker).chars().count() - 1;
    Ok(assemble(
        &text.chars().take(spare).collect::<String>(),
        &notices,
        &marker,
    ))
}

fn changes_section(document: &PlanDocument) -> String {
    let changes = document.changes.as_ref();
    changes.map_or_else(String::new, markdown_section)
}

/// The step summary of a refused run.
pub(crate) fn refusal(document: &PlanDocument) -> String {
    let title = markdown::inline(&document.title);
    if let Some(reason) = skip_reason(document) {
        return format!("## {title}\n\nSkipped: {}\n", markdown::inline(reason));
    }
    let mut text = format!("## {title}\n\nRefused; nothing was changed.\n");
    if let Some(error) = &document.error {
        let _ = write!(
            text,
            "\n- {}: {}\n",
            markdown::code(&error.code),
            markdown::code(&error.message)
        );
    }
    let causes = by_cause(&document.checks);
    for cause in causes.iter().filter(|cause| cause.status() == Status::Fail) {
        let (code, message) = (
            markdown::code(cause.code().as_str()),
            markdown::code(&cause.message()),
        );
        let subject = markdown::inline(&cause.subject());
        let _ = writeln!(text, "- {code} {subject}: {message}");
        for evidence in cause.evidence() {
            let _ = writeln!(text, "  - {}", markdown::code(&evidence));
        }
        if let Some(help) = cause.help() {
            let _ = writeln!(text, "  - help: {}", markdown::inline(help));
        }
    }
    text
}

/// The reason that a run was skipped, if nothing failed.
pub(crate) fn skip_reason(document: &PlanDocument) -> Option<&str> {
    let mut checks = document.checks.iter();
    let is_failed = document.error.is_some() || any_failed(&document.checks);
    let skipped = checks.find(|check| check.code == Code::UNCONFIGURED);
    skipped
        .filter(|_| !is_failed)
        .map(|check| check.detail.as_str())
}

/// The hidden line that identifies a pull request for later runs.
pub(crate) fn marker(document: &PlanDocument) -> String {
    Marker {
        kind: MarkerKind::Set(document.kind),
        set: document.set_path.clone(),
        revision: document.revision.clone(),
    }
    .to_string()
}

fn assemble(text: &str, notices: &[&str], marker: &str) -> String {
    let mut body = text.trim_end().to_owned();
    if !notices.is_empty() {
        let _ = write!(
            body,
            "\n\n> Left out, because forges limit the length of this text: {}.",
            notices.join(", ")
        );
    }
    format!("{body}\n\n{marker}\n")
}

enum Cut {
    Nothing,
    Commits,
    Packages,
    ChangedImages,
    Labels,
    Files,
    Passes,
    Details,
}

impl Cut {
    fn apply(self, document: &mut PlanDocument) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Commits => {
                let source = &mut document.changes.as_mut()?.source;
                let mut has_commits = false;
                for commits in [&mut source.added, &mut source.removed]
                    .into_iter()
                    .flatten()
                {
                    has_commits |= !commits.commits.is_empty();
                    commits.commits.clear();
                }
                has_commits.then_some("commits")
            }
            Self::Packages => {
                let mut has_contents = false;
                for image in &mut document.changes.as_mut()?.images {
                    for difference in &mut image.differences {
                        has_contents |= difference.content.contents.take().is_some();
                    }
                }
                has_contents.then_some("contents of the images")
            }
            Self::ChangedImages => {
                let changes = document.changes.as_mut()?;
                let count = changes.images.len() + changes.not_read.len();
                changes.images.clear();
                changes.not_read.retain(|entry| entry.part == Part::Commits);
                (changes.not_read.len() < count).then_some("differences of the images")
            }
            Self::Labels => {
                let mut has_labels = false;
                for image in &mut document.images {
                    has_labels |= !image.labels.is_empty();
                    image.labels.clear();
                }
                has_labels.then_some("labels")
            }
            Self::Files => {
                let is_long = document.files.len() > MAX_FILES;
                document.files.truncate(MAX_FILES);
                is_long.then_some("files after the twentieth")
            }
            Self::Passes => {
                let count = document.checks.len();
                document.checks.retain(|check| check.status != Status::Pass);
                (document.checks.len() < count).then_some("checks that passed")
            }
            Self::Details => {
                let is_short = |text: &str| text.chars().nth(MAX_DETAIL).is_none();
                let checks = &mut document.checks;
                let is_complete = checks.len() <= MAX_CHECKS
                    && checks.iter().all(|check| is_short(&check.detail));
                checks.truncate(MAX_CHECKS);
                for check in checks {
                    check.detail = check.detail.chars().take(MAX_DETAIL).collect();
                }
                (!is_complete).then_some("checks after the hundredth and long evidence")
            }
        }
    }
}

/// The output of a template, with a maximum size.
struct BoundedText {
    bytes: Vec<u8>,
    max: usize,
    exceeded: bool,
}

impl BoundedText {
    fn new(max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            max,
            exceeded: false,
        }
    }

    fn finish(self, rendered: Result<(), minijinja::Error>) -> Result<String, TemplateError> {
        match rendered {
            Err(error) if self.exceeded => Err(TemplateError {
                message: format!("the output exceeds {} MiB", MAX_OUTPUT >> 20),
                line: error.line(),
            }),
            Err(error) => Err(template_error(error)),
            // The engine writes complete strings.
            Ok(()) => Ok(String::from_utf8_lossy(&self.bytes).into_owned()),
        }
    }
}

impl io::Write for BoundedText {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + text.len() > self.max {
            self.exceeded = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Creates the template engine; a custom template has limits.
fn environment(is_custom: bool) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("markdown".into()));
    environment.set_fuel(is_custom.then_some(FUEL));
    environment.set_formatter(write_escaped);
    environment.add_filter("code", |value: &Value| {
        Value::from_safe_string(if value.is_none() {
            "?".to_owned()
        } else {
            markdown::code(&value.to_string())
        })
    });
    environment.add_filter("shortened", |value: &Value| {
        if value.is_none() {
            value.clone()
        } else {
            Value::from(shortened(&value.to_string()))
        }
    });
    environment.add_filter("autolink", |text: &str| {
        Value::from_safe_string(markdown::autolink(text))
    });
    environment.add_filter("verified", |code: &str| {
        Code::of(code).map_or_else(|| code.to_owned(), |code| code.passed().to_owned())
    });
    environment
}

fn write_escaped(
    out: &mut Output<'_>,
    _: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    let text = match value.kind() {
        ValueKind::None => return Ok(()),
        _ if value.is_undefined() => return Err(ErrorKind::UndefinedError.into()),
        ValueKind::Bool | ValueKind::Number => value.to_string(),
        _ if value.is_safe() => value.to_string(),
        _ => markdown::inline(&value.to_string()),
    };
    out.write_str(&text).map_err(minijinja::Error::from)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn template_error(error: minijinja::Error) -> TemplateError {
    // The detail is omitted: it may quote the template, which may be any file of the work tree.
    let message = match error.kind() {
        ErrorKind::OutOfFuel => format!("the template needs more than {FUEL} steps"),
        kind => kind.to_string(),
    };
    TemplateError {
        message,
        line: error.line(),
    }
}

#[cfg(test)]
mod tests;
