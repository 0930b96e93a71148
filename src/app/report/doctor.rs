//! The findings of `doctor` as a document, a table, annotations and a step summary.

use std::fmt::Write as _;

use serde::Serialize;

use super::{github::with_help, json::error_row::ErrorRow, layout::indented};
use crate::{
    base::{
        error::{Class, Code, Error, Errors},
        text::counted,
        untrusted::{
            markdown, plain,
            workflow::{Commands, Level},
        },
    },
    core::checks::Status,
};

/// `repin.doctor/1`. `docs/json.md` describes its fields.
#[derive(Debug, Serialize)]
pub(crate) struct DoctorDocument {
    pub schema: &'static str,
    /// In the order of the documentation.
    pub checks: Vec<DoctorRow>,
}

impl DoctorDocument {
    pub(crate) fn new(checks: Vec<DoctorRow>) -> Self {
        Self {
            schema: "repin.doctor/1",
            checks,
        }
    }
}

/// One line of the diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DoctorRow {
    /// One of the codes in `docs/doctor.md`.
    pub code: Code,
    pub status: Status,
    /// The evidence, on one line.
    pub detail: String,
    pub hint: Option<String>,
    /// The missing block of the configuration, for a line that is only printed with `-v`.
    #[serde(skip)]
    pub without: Option<&'static str>,
    /// Whether the line is only printed with `-v`, because the configuration is missing, which another line reports.
    #[serde(skip)]
    pub needs_configuration: bool,
    /// The class of a failure, which determines the exit code.
    #[serde(skip)]
    pub class: Option<Class>,
}

impl DoctorRow {
    fn new(code: Code, status: Status, detail: impl Into<String>) -> Self {
        Self {
            code,
            status,
            detail: detail.into(),
            hint: None,
            without: None,
            needs_configuration: false,
            class: None,
        }
    }

    pub(crate) fn pass(code: Code, detail: impl Into<String>) -> Self {
        Self::new(code, Status::Pass, detail)
    }

    pub(crate) fn skip(code: Code, detail: impl Into<String>) -> Self {
        Self::new(code, Status::Skip, detail)
    }

    /// A line that is skipped because the configuration is missing or malformed.
    pub(crate) fn without_configuration(code: Code) -> Self {
        Self {
            needs_configuration: true,
            ..Self::skip(code, "requires a valid configuration")
        }
    }

    /// A line that is skipped because the configuration does not contain the block `without`.
    pub(crate) fn not_configured(code: Code, without: &'static str) -> Self {
        Self {
            without: Some(without),
            ..Self::skip(code, format!("not needed: no `{without}` is configured"))
        }
    }

    /// A warning, which does not change the exit code.
    pub(crate) fn warn(code: Code, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..Self::new(code, Status::Warn, detail)
        }
    }

    /// A failure, with the class that the same cause has in other commands.
    pub(crate) fn fail(
        code: Code,
        class: Class,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            hint: Some(hint.into()),
            class: Some(class),
            ..Self::new(code, Status::Fail, detail)
        }
    }

    /// An error that would stop another command; `prefix` precedes its message.
    pub(crate) fn error(code: Code, prefix: &str, error: impl Into<Error>) -> Self {
        let error = error.into();
        let row = ErrorRow::of(&error);
        let place = match (row.file, row.line, row.column) {
            (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
            _ => String::new(),
        };
        Self {
            hint: row.hint,
            class: Some(error.class),
            ..Self::new(
                code,
                Status::Fail,
                format!("{prefix}{place}{}", row.message),
            )
        }
    }

    /// The errors that would stop another command, with a line for each.
    pub(crate) fn errors(code: Code, errors: &Errors) -> Vec<Self> {
        let rows = errors.iter().cloned();
        rows.map(|error| Self::error(code, "", error)).collect()
    }
}

/// The rows that are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFilter {
    All,
    /// The rows for configured parts, and one line for the others.
    Configured,
    Failed,
}

/// Selects the rows to print, and summarizes the omitted rows of unconfigured parts in a line.
pub(crate) fn filtered(rows: &[DoctorRow], filter: RowFilter) -> (Vec<DoctorRow>, Option<String>) {
    let printed: Vec<_> = rows
        .iter()
        .filter(|row| match filter {
            RowFilter::All => true,
            RowFilter::Configured => row.without.is_none() && !row.needs_configuration,
            RowFilter::Failed => row.status == Status::Fail,
        })
        .cloned()
        .collect();
    let (mut blocks, mut omitted) = (Vec::new(), 0);
    for block in rows.iter().filter_map(|row| row.without) {
        let block = format!("`{block}`");
        if !blocks.contains(&block) {
            blocks.push(block);
        }
        omitted += 1;
    }
    if filter != RowFilter::Configured || omitted == 0 {
        return (printed, None);
    }
    let line = format!(
        "not configured: {} ({}, shown with -v)",
        blocks.join(", "),
        counted(omitted, "line")
    );
    (printed, Some(line))
}

/// The width of a status and the blanks after it.
const STATUS: usize = 6;
/// The minimum width of the column of evidence. In a narrower terminal, evidence is on separate lines.
const EVIDENCE_MIN: usize = 30;

/// Rows as text: status, code and evidence, followed by the help, once for consecutive rows that share it.
/// `paint` colors a status. `columns` is the width of the terminal; without it, each evidence and each help
/// is one line.
pub(crate) fn table(
    rows: &[DoctorRow],
    columns: Option<usize>,
    paint: impl Fn(Status, &str) -> String,
) -> String {
    let columns = columns.unwrap_or(usize::MAX);
    let width = rows
        .iter()
        .map(|row| row.code.as_str().len())
        .max()
        .unwrap_or(0);
    let in_column = columns >= STATUS + width + 2 + EVIDENCE_MIN;
    let indent = if in_column {
        STATUS + width + 2
    } else {
        STATUS
    };
    let column = " ".repeat(indent);
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let status = paint(row.status, row.status.as_str());
        let detail = indented(&plain(&row.detail), indent, columns);
        let mut lines = detail.iter().map(String::as_str).peekable();
        let first = lines.next_if(|line| in_column && line.starts_with(&column));
        match first.map(|line| &line[indent..]) {
            Some(first) => {
                let _ = writeln!(text, "{status}  {:<width$}  {first}", row.code);
            }
            None => {
                let _ = writeln!(text, "{status}  {}", row.code);
            }
        }
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
        let is_repeated = rows
            .get(index + 1)
            .is_some_and(|next| (next.code, &next.hint) == (row.code, &row.hint));
        if let (Some(hint), false) = (&row.hint, is_repeated) {
            for line in indented(&format!("help: {}", plain(hint)), indent, columns) {
                text += &(line + "\n");
            }
        }
    }
    text
}

/// Failed rows as annotations of GitHub Actions.
pub(crate) fn annotations(rows: &[DoctorRow]) -> Commands {
    let mut commands = Commands::default();
    for row in rows.iter().filter(|row| row.status == Status::Fail) {
        let message = with_help(&row.detail, row.hint.as_deref());
        commands.annotate(Level::Error, row.code.as_str(), &message, None);
    }
    commands
}

/// The step summary, in Markdown.
pub(crate) fn summary(rows: &[DoctorRow]) -> String {
    let mut text =
        "### repin doctor\n\n| | | evidence | what to do |\n| --- | --- | --- | --- |\n".to_owned();
    for row in rows {
        let hint = row
            .hint
            .as_deref()
            .map(markdown::inline)
            .unwrap_or_default();
        let detail = markdown::inline(&row.detail);
        let _ = writeln!(
            text,
            "| {} | `{}` | {detail} | {hint} |",
            row.status.as_str(),
            row.code
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<DoctorRow> {
        let detail = "evil\u{1b}[2J @team | x\n::error::y";
        vec![
            DoctorRow::pass(Code::LOCK, "free"),
            failure(Code::REPOSITORY, detail, "fix 100%\nof it"),
        ]
    }

    fn failure(code: Code, detail: &str, hint: &str) -> DoctorRow {
        DoctorRow::fail(code, Class::Failed, detail, hint)
    }

    #[test]
    fn table_has_columns_and_no_control_characters() {
        insta::assert_snapshot!(table(&rows(), None, |_, word| word.to_owned()), @r"
        pass  lock        free
        fail  repository  evil\u{1b}[2J @team | x\n::error::y
                          help: fix 100%\nof it
        ");
    }

    #[test]
    fn unconfigured_parts_are_summarized() {
        let mut rows = rows();
        rows.push(DoctorRow::not_configured(Code::ENGINE, "smoke"));
        rows.push(DoctorRow::not_configured(Code::FORGE, "forge"));
        rows.push(DoctorRow::not_configured(Code::TOKEN, "forge"));
        rows.push(DoctorRow::without_configuration(Code::FILES));
        let codes = |filter| {
            let (rows, line) = filtered(&rows, filter);
            let codes: Vec<_> = rows.iter().map(|row| row.code.as_str()).collect();
            (codes.join(" "), line)
        };
        assert_eq!(
            codes(RowFilter::All),
            ("lock repository engine forge token files".to_owned(), None)
        );
        let line = "not configured: `smoke`, `forge` (3 lines, shown with -v)".to_owned();
        assert_eq!(
            codes(RowFilter::Configured),
            ("lock repository".to_owned(), Some(line))
        );
        assert_eq!(codes(RowFilter::Failed), ("repository".to_owned(), None));
    }

    #[test]
    fn shared_help_is_printed_once() {
        let row = |detail| failure(Code::REGISTRY, detail, "log in");
        insta::assert_snapshot!(table(&[row("a"), row("b")], None, |_, word| word.to_owned()), @r"
        fail  registry  a
        fail  registry  b
                        help: log in
        ");
    }

    #[test]
    fn evidence_is_wrapped_and_digests_are_complete() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let detail = format!("review: the registry of images lacks {digest} or hides it");
        let hint = "log in to the registry, then run it again";
        let rows = [failure(Code::REGISTRY, &detail, hint)];
        let wrapped = |columns| table(&rows, Some(columns), |_, word| word.to_owned());
        let lines = [
            "fail  registry  review: the registry of images lacks",
            &format!("         {digest}"),
            "                or hides it",
            "                help: log in to the registry, then run it again\n",
        ];
        assert_eq!(wrapped(80), lines.join("\n"));
        let lines = [
            "fail  registry",
            "      review: the registry of images",
            "      lacks",
            &digest,
            "      or hides it",
            "      help: log in to the registry, then",
            "      run it again\n",
        ];
        assert_eq!(wrapped(40), lines.join("\n"));
        let single = DoctorRow {
            detail: digest.clone(),
            hint: None,
            ..rows[0].clone()
        };
        assert_eq!(
            table(&[single], Some(80), |_, word| word.to_owned()),
            format!("fail  registry\n         {digest}\n")
        );
    }

    #[test]
    fn annotations_and_summary_contain_no_commands() {
        let annotations = annotations(&rows()).to_string();
        assert_eq!(
            annotations,
            "::error title=repository::evil\\u{1b}[2J @team | x%0A::error::y%0Ahelp: fix 100%25%0Aof it\n"
        );
        let summary = summary(&rows());
        assert!(
            !summary.contains("@team") && summary.contains("\\| x"),
            "{summary}"
        );
        assert_eq!(summary.lines().count(), 6, "{summary}");
    }
}
