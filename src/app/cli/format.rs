//! The format, the color and the volume of output.

use clap::ValueEnum;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Human,
    Json,
    /// Annotations, outputs and a summary for GitHub Actions.
    Github,
    /// One SARIF log; only for `check` and `scan`.
    Sarif,
    /// One report for GitLab's code quality widget; only for `check` and `scan`.
    Gitlab,
}

impl Format {
    /// Whether the output is one report about places in files.
    pub(super) fn lists_findings(self) -> bool {
        matches!(self, Self::Sarif | Self::Gitlab)
    }
}

/// The word after `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FormatWord {
    Human,
    Json,
    Github,
    Sarif,
    Gitlab,
    /// One reference a line in the file of `prune --protected`; the report is that of `human`.
    Plain,
}

impl FormatWord {
    pub(super) fn format(self) -> Format {
        match self {
            Self::Human | Self::Plain => Format::Human,
            Self::Json => Format::Json,
            Self::Github => Format::Github,
            Self::Sarif => Format::Sarif,
            Self::Gitlab => Format::Gitlab,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Volume {
    /// Results and errors.
    Quiet,
    /// Results, errors and notes.
    Normal,
    /// Every check.
    Verbose,
    /// Every check and every request.
    Requests,
}
