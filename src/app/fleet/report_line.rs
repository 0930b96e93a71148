//! `repin.fleet-line/1`: the outcome for one repository, as a line of a shard's report.
//!
//! A report is never an input of a run: a resumed run queries the forge. Lines are untrusted input; only
//! `repin fleet merge` parses them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    app::report::json::{ErrorRow, PullRequest},
    base::{
        error::{Class, Code, Errors},
        text::words,
        untrusted,
    },
    config::is_owner_name,
    core::checks::{Check, Status},
    oci,
};

const SCHEMA: &str = "repin.fleet-line/1";

words! {
    /// The outcome for a repository, or for a pull request that is closed.
    #[derive(PartialOrd, Ord, Deserialize)]
    pub(crate) enum FleetOutcome {
        /// The pull request was opened.
        Created = "created",
        /// The pull request was updated.
        Updated = "updated",
        /// The pull request is open as planned.
        Unchanged = "unchanged",
        /// The repository already pins the set.
        Current = "current",
        /// A dry run planned a change.
        Planned = "planned",
        /// A check failed.
        Refused = "refused",
        /// The branch of the pull request contains a foreign commit.
        ForeignCommit = "foreign_commit",
        /// A user closed the pull request.
        ClosedByPerson = "closed_by_person",
        /// The repository is missing, empty or without a configuration.
        Unconfigured = "unconfigured",
        Archived = "archived",
        /// The repository was renamed or transferred.
        Moved = "moved",
        /// The token needs another permission.
        Denied = "denied",
        /// The repository could not be read or written.
        Unavailable = "unavailable",
        /// An internal error occurred.
        Failed = "failed",
        /// The run stopped before it reached the repository.
        Pending = "pending",
        /// A dry run would close the pull request.
        #[serde(skip_deserializing)]
        Open = "open",
        #[serde(skip_deserializing)]
        Closed = "closed",
        /// The repository has no open pull request of the set that is closed.
        #[serde(skip_deserializing)]
        None = "none",
    }
}

impl FleetOutcome {
    /// The outcome of errors.
    pub(crate) fn from_failure(errors: &Errors) -> Self {
        let limited = errors.iter().all(|error| error.class == Class::Limited);
        let internal = errors.iter().any(|error| error.code == Code::INTERNAL);
        match errors.class() {
            Class::Unavailable if internal => Self::Failed,
            Class::Unavailable | Class::Limited if limited => Self::Pending,
            Class::Unavailable | Class::WrongBytes | Class::MissingContent | Class::Limited => {
                Self::Unavailable
            }
            Class::Denied => Self::Denied,
            Class::Conflict => Self::ForeignCommit,
            Class::Failed | Class::Ambiguous | Class::Refused | Class::Input => Self::Refused,
        }
    }

    /// Whether only the report of closed pull requests contains the outcome.
    pub(crate) fn is_of_closing(self) -> bool {
        matches!(self, Self::Open | Self::Closed | Self::None)
    }

    /// Whether only lines of shards contain the outcome.
    pub(crate) fn is_of_promotion(self) -> bool {
        matches!(
            self,
            Self::Created
                | Self::Updated
                | Self::Unchanged
                | Self::Current
                | Self::Planned
                | Self::ClosedByPerson
        )
    }

    /// The number of each of the `reported` outcomes.
    pub(crate) fn totals(
        reported: impl Fn(Self) -> bool,
        outcomes: impl Iterator<Item = Self>,
    ) -> BTreeMap<&'static str, usize> {
        let reported = Self::ALL.into_iter().filter(|each| reported(*each));
        let mut totals: BTreeMap<_, _> = reported.map(|each| (each.as_str(), 0)).collect();
        for outcome in outcomes {
            *totals.entry(outcome.as_str()).or_default() += 1;
        }
        totals
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FleetLine {
    pub schema: String,
    #[serde(flatten)]
    pub row: FleetRow,
    pub revision: String,
    pub list_sha256: String,
    pub set_sha256: Option<String>,
    pub shards: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FleetRow {
    pub repository: String,
    pub shard: u64,
    #[serde(flatten)]
    pub report: Report,
    #[serde(flatten)]
    pub cost: Cost,
}

/// The outcome for a repository, with its reasons.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    pub outcome: FleetOutcome,
    /// The exit code of the error; 0 if no action is needed.
    pub exit: u8,
    #[serde(flatten)]
    pub pins: PinFacts,
    pub pull_request: Option<PullRequest>,
    pub checks: Vec<LineCheck>,
    pub error: Option<ErrorRow>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PinFacts {
    #[serde(rename = "pins")]
    pub count: Option<u64>,
    /// The pinned digests by repository.
    pub from: Option<BTreeMap<String, String>>,
    /// The digests of the set by repository.
    pub to: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub requests: u64,
    pub seconds: f64,
}

/// A failed check. A line of another build may have an unknown code.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LineCheck {
    pub code: String,
    pub image: Option<String>,
    pub platform: Option<String>,
    pub item: Option<String>,
    pub status: String,
    pub detail: String,
    pub help: Option<String>,
}

impl FleetLine {
    /// Serializes the line, with its line break.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        untrusted::json_line(self)
    }

    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
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
        if line.row.report.exit > 5 {
            return Err(format!("`exit` is {}", line.row.report.exit));
        }
        Ok(line)
    }
}

/// The values that all lines of a shard share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardRun {
    pub revision: String,
    pub list_sha256: String,
    pub set_sha256: Option<String>,
    pub shard: u64,
    pub shards: u64,
}

impl ShardRun {
    pub(crate) fn line(&self, row: FleetRow) -> FleetLine {
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
    /// The failed checks among `checks`.
    pub(crate) fn failed(checks: &[Check]) -> Vec<Self> {
        checks
            .iter()
            .filter(|check| check.status == Status::Fail)
            .map(|check| Self {
                code: check.code.as_str().to_owned(),
                image: check.image.clone(),
                platform: check.platform.clone(),
                item: check.item.clone(),
                status: check.status.as_str().to_owned(),
                detail: check.detail.clone(),
                help: check.help.clone(),
            })
            .collect()
    }
}

/// The class of a failure with this exit code; `None` if no action is needed.
pub(super) fn class_of(exit: u8) -> Option<Class> {
    match exit {
        1 => Some(Class::Failed),
        2 => Some(Class::Input),
        3 => Some(Class::Unavailable),
        4 => Some(Class::Denied),
        5 => Some(Class::Conflict),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn parsed_line_is_serialized_unchanged() {
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
    fn unknown_fields_are_ignored_and_malformed_values_refused() {
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
            ("outcome", serde_json::json!("closed"), "unknown variant"),
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
    fn exit_code_determines_the_class() {
        let class = |exit: u8| {
            let mut line = line();
            line["exit"] = exit.into();
            let read = FleetLine::parse(line.to_string().as_bytes()).unwrap();
            class_of(read.row.report.exit)
        };
        assert_eq!(class(0), None);
        for exit in 1..=5 {
            assert_eq!(class(exit).unwrap().exit_code(), exit);
        }
    }
}
