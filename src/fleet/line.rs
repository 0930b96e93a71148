//! `repin.fleet-line/1`: what became of one repository, as a line of a shard's report.
//!
//! A report is never an input of a run: resuming looks at the forge. Lines are read here as text of
//! somebody else's, for what they say alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    checks::{Check, Status},
    config::is_owner_name,
    error::{Class, Errors},
    oci,
    report::json::ErrorRow,
    untrusted,
};

/// The schema of a line.
const SCHEMA: &str = "repin.fleet-line/1";

/// What became of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FleetOutcome {
    /// Its pull request was opened.
    Created,
    /// Its pull request was brought up to date.
    Updated,
    /// Its pull request stands as planned.
    Unchanged,
    /// It has the set already.
    Current,
    /// Its plan was made, and nothing was asked for.
    Planned,
    /// A check failed.
    Refused,
    /// Somebody else committed to the branch of its pull request.
    ForeignCommit,
    /// Somebody closed its pull request.
    ClosedByPerson,
    /// It is missing, empty or without a configuration.
    Unconfigured,
    /// It is archived.
    Archived,
    /// It has another name now.
    Moved,
    /// The token may not do what is needed.
    Denied,
    /// It could not be read or written.
    Unavailable,
    /// An internal error stopped the work on it.
    Failed,
    /// It was not begun.
    Pending,
}

impl FleetOutcome {
    /// Every outcome, in the order of tables.
    pub const ALL: [Self; 15] = [
        Self::Created,
        Self::Updated,
        Self::Unchanged,
        Self::Current,
        Self::Planned,
        Self::Refused,
        Self::ForeignCommit,
        Self::ClosedByPerson,
        Self::Unconfigured,
        Self::Archived,
        Self::Moved,
        Self::Denied,
        Self::Unavailable,
        Self::Failed,
        Self::Pending,
    ];

    /// The word of the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Current => "current",
            Self::Planned => "planned",
            Self::Refused => "refused",
            Self::ForeignCommit => "foreign_commit",
            Self::ClosedByPerson => "closed_by_person",
            Self::Unconfigured => "unconfigured",
            Self::Archived => "archived",
            Self::Moved => "moved",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
            Self::Pending => "pending",
        }
    }
}

/// `repin.fleet-line/1`: one repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FleetLine {
    pub schema: String,
    #[serde(flatten)]
    pub row: FleetRow,
    pub revision: String,
    pub list_sha256: String,
    pub set_sha256: Option<String>,
    pub shards: u64,
}

/// One repository of a report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FleetRow {
    pub repository: String,
    pub shard: u64,
    pub outcome: FleetOutcome,
    pub exit: u8,
    pub pins: Option<u64>,
    pub from: Option<BTreeMap<String, String>>,
    pub to: Option<BTreeMap<String, String>>,
    pub pull_request: Option<LinePullRequest>,
    pub checks: Vec<LineCheck>,
    pub error: Option<ErrorRow>,
    pub requests: u64,
    pub seconds: f64,
}

/// The pull request of a repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LinePullRequest {
    pub number: u64,
    pub url: String,
    pub state: String,
}

/// A failed check of a repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LineCheck {
    pub code: String,
    pub image: Option<String>,
    pub platform: Option<String>,
    pub item: Option<String>,
    pub status: String,
    pub detail: String,
    pub help: Option<String>,
}

impl FleetLine {
    /// The bytes of the line, with the line break.
    pub fn bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = Vec::new();
        untrusted::json(self, &mut bytes)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a line.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let line: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let digest = |name, text: &str| match oci::Digest::from_hex(text) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("`{name}`: {error}")),
        };
        if line.schema != SCHEMA {
            return Err(format!("expected `{SCHEMA}`, found `{}`", line.schema));
        }
        if !is_owner_name(&line.row.repository) {
            return Err(format!("`{}` is not OWNER/NAME", line.row.repository));
        }
        digest("list_sha256", &line.list_sha256)?;
        if let Some(set) = &line.set_sha256 {
            digest("set_sha256", set)?;
        }
        if line.row.shard >= line.shards {
            let (shard, shards) = (line.row.shard, line.shards);
            return Err(format!("shard {shard} of {shards} does not exist"));
        }
        if line.row.exit > 5 {
            return Err(format!("`exit` is {}", line.row.exit));
        }
        Ok(line)
    }
}

/// What all lines of a shard have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRun {
    pub revision: String,
    pub list_sha256: String,
    pub set_sha256: Option<String>,
    pub shard: u64,
    pub shards: u64,
}

impl ShardRun {
    /// The line of a repository.
    pub fn line(&self, row: FleetRow) -> FleetLine {
        FleetLine {
            schema: SCHEMA.to_owned(),
            row,
            revision: self.revision.clone(),
            list_sha256: self.list_sha256.clone(),
            set_sha256: self.set_sha256.clone(),
            shards: self.shards,
        }
    }
}

impl LineCheck {
    /// The failed ones of some checks.
    pub fn failed(checks: &[Check]) -> Vec<Self> {
        let failed = checks.iter().filter(|check| check.status == Status::Fail);
        let row = |check: &Check| Self {
            code: check.code.as_str().to_owned(),
            image: check.image.clone(),
            platform: check.platform.clone(),
            item: check.item.clone(),
            status: check.status.as_str().to_owned(),
            detail: check.detail.clone(),
            help: check.help.clone(),
        };
        failed.map(row).collect()
    }
}

/// The errors of the class that decides, as one row.
pub fn deciding(errors: &Errors) -> Option<ErrorRow> {
    let code = errors.class().exit_code();
    let causes = errors.by_cause();
    let deciding = causes
        .iter()
        .filter(|error| error.class.exit_code() == code);
    deciding.map(ErrorRow::of).reduce(|all, row| ErrorRow {
        message: format!("{}; {}", all.message, row.message),
        ..all
    })
}

impl FleetRow {
    /// Who must act on it; `None`: nobody.
    pub fn class(&self) -> Option<Class> {
        match self.exit {
            1 => Some(Class::Failed),
            2 => Some(Class::Input),
            3 => Some(Class::Unavailable),
            4 => Some(Class::Denied),
            5 => Some(Class::Conflict),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of a shard, as the contract of reports has it.
    fn line() -> serde_json::Value {
        serde_json::json!({
            "schema": "repin.fleet-line/1", "repository": "acme/web", "shard": 2,
            "outcome": "created", "exit": 0, "pins": 3,
            "from": {"ghcr.io/acme/a": "sha256:0"}, "to": null,
            "pull_request": {"number": 7, "url": "https://x", "state": "created"},
            "checks": [], "error": null, "requests": 9, "seconds": 1.5, "revision": "abc",
            "list_sha256": "0".repeat(64), "set_sha256": null, "shards": 3,
        })
    }

    #[test]
    fn line_is_read_and_written_alike() {
        let text = line().to_string();
        let read = FleetLine::parse(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), line());
        let written = serde_json::to_string(&read).unwrap();
        let keys = [
            "schema",
            "repository",
            "outcome",
            "seconds",
            "revision",
            "shards",
        ];
        let places: Vec<_> = keys
            .iter()
            .map(|key| written.find(&format!("\"{key}\"")))
            .collect();
        assert!(places.is_sorted() && places[0].is_some(), "{written}");
    }

    #[test]
    fn unknown_fields_are_ignored_and_wrong_values_refused() {
        let mut more = line();
        more["later"] = serde_json::json!(1);
        assert!(FleetLine::parse(more.to_string().as_bytes()).is_ok());
        for (key, value, reason) in [
            (
                "schema",
                serde_json::json!("repin.fleet-line/2"),
                "expected `repin.fleet-line/1`",
            ),
            ("repository", serde_json::json!("../x"), "not OWNER/NAME"),
            ("outcome", serde_json::json!("done"), "unknown variant"),
            ("exit", serde_json::json!(6), "`exit` is 6"),
            ("shard", serde_json::json!(3), "shard 3 of 3"),
            ("shards", serde_json::json!(0), "of 0"),
            ("list_sha256", serde_json::json!("00"), "`list_sha256`"),
            ("set_sha256", serde_json::json!("xy"), "`set_sha256`"),
            ("requests", serde_json::json!(-1), "-1"),
        ] {
            let mut wrong = line();
            wrong[key] = value;
            let error = FleetLine::parse(wrong.to_string().as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{key}: {error}");
        }
    }

    #[test]
    fn outcomes_have_one_word_each() {
        for outcome in FleetOutcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
    }

    #[test]
    fn exits_say_who_must_act() {
        let class = |exit: u8| {
            let mut line = line();
            line["exit"] = exit.into();
            FleetLine::parse(line.to_string().as_bytes())
                .unwrap()
                .row
                .class()
        };
        assert_eq!(class(0), None);
        for exit in 1..=5 {
            assert_eq!(class(exit).unwrap().exit_code(), exit);
        }
    }
}
