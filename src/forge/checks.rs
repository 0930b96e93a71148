//! Reports about a commit.

/// A report about a commit: a status, or a check run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// The reporter's name.
    pub context: String,
    pub result: StatusResult,
    /// A page with details.
    pub url: Option<String>,
    /// The time of the report, as the forge writes it (RFC 3339).
    pub reported: String,
    pub id: u64,
    /// One context may have reports of both kinds.
    pub kind: StatusKind,
    /// The app and the workflow that reported it, if the forge distinguishes them: a later report
    /// replaces only earlier ones of the same source.
    pub source: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusKind {
    /// The status of a commit.
    Status,
    /// A check run.
    Run,
}

/// The result of a report, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StatusResult {
    Pass,
    /// It has not ended.
    Pending,
    Fail,
}

/// The start of the checks of a pull request that was opened or updated with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CheckStart {
    /// The forge starts them.
    Immediate,
    /// They start after a user approves them, for this reason.
    AfterApproval(String),
    /// They never start, for this reason.
    Never(String),
}
