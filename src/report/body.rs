//! The body of a pull request, in Markdown, from the built-in template or the user's.
//!
//! Values are escaped as they are printed, so that a label cannot mention, link or break a table;
//! `|safe` opts out, `|code` makes a code span, and `|verified` turns the code of a check into what a
//! pass of it states. The variables are the fields of `repin.plan/1` without `body`.

use std::{collections::BTreeMap, fmt::Write as _, io};

use minijinja::{
    AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior, Value,
    value::{Serde, ValueKind},
};
use serde::Serialize;

use super::{causes::by_cause, json::PlanDocument};
use crate::{
    checks::Status,
    code::Code,
    history::HistoryEntry,
    pull_request::{Marker, MarkerKind},
    untrusted::markdown,
};

/// The maximum length of a body, in characters; forges refuse longer ones (GitHub: 65,536).
pub const MAX: usize = 60_000;

const TEMPLATE: &str = include_str!("body.md.j2");

/// The steps that a custom template may take; a loop over a thousand values takes some ten thousand.
const FUEL: u64 = 1_000_000;

/// The maximum output of a custom template, in bytes.
const OUTPUT_MAX: usize = 4 << 20;

/// The maximum size of a custom template, in bytes.
pub const TEMPLATE_MAX: u64 = 1 << 20;

/// A template that cannot be rendered.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// The reason.
    pub message: String,
    /// 1-based line of the template.
    pub line: Option<usize>,
}

/// Values for the built-in template beside the document.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Beside {
    /// The currently pinned revision, if history knows it.
    pub revision_now: Option<String>,
    /// The labels of the currently pinned images, by image.
    pub labels_now: Labels,
    /// The sets that a rollback undoes, newest first.
    pub undone: Vec<Undone>,
}

/// Values of labels by image and label.
pub type Labels = BTreeMap<String, BTreeMap<String, Option<String>>>;

/// A set that a rollback undoes.
#[derive(Debug, Clone, Serialize)]
pub struct Undone {
    /// Its revision, if it has one.
    pub revision: Option<String>,
    /// The short id of the commit that made the set current.
    pub commit: String,
    /// The date of the commit (ISO 8601).
    pub date: String,
    /// The commit's subject.
    pub subject: String,
}

impl Undone {
    /// An entry of history.
    pub fn of(entry: &HistoryEntry) -> Self {
        let revision = entry.revision.as_ref().map(ToString::to_string);
        Self {
            revision,
            commit: entry.commit.short(),
            date: entry.date.clone(),
            subject: entry.subject.clone(),
        }
    }
}

/// The variables of templates.
#[derive(Serialize)]
struct View<'v> {
    #[serde(flatten)]
    document: &'v PlanDocument,
    #[serde(flatten)]
    beside: &'v Beside,
}

/// Renders the body; `template` is the user's own.
pub fn render(
    document: &PlanDocument,
    beside: &Beside,
    template: Option<&str>,
) -> Result<String, TemplateError> {
    let is_custom = template.is_some();
    let environment = environment(is_custom);
    let template = environment
        .template_from_str(template.unwrap_or(TEMPLATE))
        .map_err(wrong)?;
    let output_max = if is_custom { OUTPUT_MAX } else { usize::MAX };
    let text_of = |document: &PlanDocument| {
        let mut output = BoundedText::new(output_max);
        let view = Value::from(Serde(&View { document, beside }));
        let rendered = template.render_captured_to(view, &mut output).map(drop);
        output.finish(rendered)
    };
    let marker = marker(document);
    let mut document = PlanDocument {
        body: None,
        // Rendering copies every value, and the built-in template does not use this one.
        diff: document.diff.clone().filter(|_| is_custom),
        ..document.clone()
    };
    let mut notices = Vec::new();
    // The least important part is cut first, the checks last.
    for step in [
        Cut::Nothing,
        Cut::Labels,
        Cut::Files,
        Cut::Passes,
        Cut::Details,
    ] {
        notices.extend(step.apply(&mut document));
        let text = text_of(&document)?;
        let body = assemble(&text, &notices, &marker);
        if body.chars().count() <= MAX {
            return Ok(body);
        }
    }
    notices.push("the end of this text");
    let text = text_of(&document)?;
    let spare = MAX - assemble("", &notices, &marker).chars().count() - 1;
    Ok(assemble(
        &text.chars().take(spare).collect::<String>(),
        &notices,
        &marker,
    ))
}

/// The step summary of a refused run.
pub fn refusal(document: &PlanDocument) -> String {
    let mut text = format!(
        "## {}\n\nRefused; nothing was changed.\n",
        markdown::inline(&document.title)
    );
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

/// The hidden line by which a later run finds its own pull request.
pub fn marker(document: &PlanDocument) -> String {
    Marker {
        kind: MarkerKind::Set(document.kind),
        revision: document.revision.clone(),
    }
    .to_string()
}

fn assemble(text: &str, notices: &[&str], marker: &str) -> String {
    let mut body = text.trim_end().to_owned();
    if !notices.is_empty() {
        let _ = write!(
            body,
            "\n\n> Left out, because the length of a pull request's text is limited: {}.",
            notices.join(", ")
        );
    }
    format!("{body}\n\n{marker}\n")
}

enum Cut {
    Nothing,
    Labels,
    Files,
    Passes,
    Details,
}

impl Cut {
    fn apply(self, document: &mut PlanDocument) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Labels => {
                document
                    .images
                    .iter_mut()
                    .for_each(|image| image.labels.clear());
                Some("labels")
            }
            Self::Files => {
                document.files.truncate(20);
                Some("files after the twentieth")
            }
            Self::Passes => {
                document.checks.retain(|check| check.status != Status::Pass);
                Some("checks that passed")
            }
            Self::Details => {
                document.checks.truncate(100);
                document
                    .checks
                    .iter_mut()
                    .for_each(|check| check.detail = check.detail.chars().take(200).collect());
                Some("checks after the hundredth and long evidence")
            }
        }
    }
}

/// The output of a template, up to a limit.
struct BoundedText {
    bytes: Vec<u8>,
    most: usize,
    exceeded: bool,
}

impl BoundedText {
    fn new(most: usize) -> Self {
        Self {
            bytes: Vec::new(),
            most,
            exceeded: false,
        }
    }

    fn finish(self, rendered: Result<(), minijinja::Error>) -> Result<String, TemplateError> {
        match rendered {
            Err(error) if self.exceeded => Err(TemplateError {
                message: format!("the output exceeds {} MiB", OUTPUT_MAX >> 20),
                line: error.line(),
            }),
            Err(error) => Err(wrong(error)),
            // The engine writes whole strings.
            Ok(()) => Ok(String::from_utf8_lossy(&self.bytes).into_owned()),
        }
    }
}

impl io::Write for BoundedText {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + text.len() > self.most {
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

/// The engine, with limits for a template that is not our own.
fn environment(limited: bool) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("markdown".into()));
    environment.set_fuel(limited.then_some(FUEL));
    environment.set_formatter(escaped);
    environment.add_filter("code", |value: &Value| {
        Value::from_safe_string(if value.is_none() {
            "?".to_owned()
        } else {
            markdown::code(&value.to_string())
        })
    });
    environment.add_filter("verified", |code: &str| {
        Code::of(code).map_or_else(|| code.to_owned(), |code| code.passed().to_owned())
    });
    environment
}

fn escaped(
    out: &mut Output<'_>,
    _: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    let write =
        |out: &mut Output<'_>, text: &str| out.write_str(text).map_err(minijinja::Error::from);
    match value.kind() {
        ValueKind::None => Ok(()),
        _ if value.is_undefined() => {
            Err(minijinja::Error::from(minijinja::ErrorKind::UndefinedError))
        }
        _ if value.is_safe() => write(out, &value.to_string()),
        ValueKind::Bool | ValueKind::Number => write(out, &value.to_string()),
        _ => write(out, &markdown::inline(&value.to_string())),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn wrong(error: minijinja::Error) -> TemplateError {
    // The detail may contain text of the template, which may be any file of the work tree.
    let message = match error.kind() {
        ErrorKind::OutOfFuel => {
            format!("the template needs more than {FUEL} steps")
        }
        kind => kind.to_string(),
    };
    TemplateError {
        message,
        line: error.line(),
    }
}

#[cfg(test)]
mod tests;
