//! The document of `rehearse`.

use serde::Serialize;

use super::ErrorRow;
use crate::{
    base::error::Class,
    config::SetPath,
    core::checks::{Check, RehearsalVerdict},
};

/// `repin.rehearse/1`.
#[derive(Debug, Serialize)]
pub(crate) struct RehearseDocument {
    pub schema: &'static str,
    pub set_path: SetPath,
    pub sets: Vec<RehearsedSet>,
    pub ready: usize,
    pub failed: usize,
    pub unknown: usize,
}

/// A set that was rehearsed.
#[derive(Debug, Serialize)]
pub(crate) struct RehearsedSet {
    pub revision: String,
    pub commit: Option<String>,
    pub date: Option<String>,
    pub verdict: RehearsalVerdict,
    pub checks: Vec<Check>,
    pub error: Option<ErrorRow>,
    /// The class of the error.
    #[serde(skip)]
    pub class: Option<Class>,
    /// The number of verified images.
    #[serde(skip)]
    pub images: usize,
    /// Whether no set that is available for rollback is more recent.
    #[serde(skip)]
    pub is_latest: bool,
}

impl RehearseDocument {
    pub(crate) fn new(set_path: SetPath, sets: Vec<RehearsedSet>) -> Self {
        let count = |verdict| sets.iter().filter(|set| set.verdict == verdict).count();
        Self {
            schema: "repin.rehearse/1",
            set_path,
            ready: count(RehearsalVerdict::Ready),
            failed: count(RehearsalVerdict::Fails),
            unknown: count(RehearsalVerdict::Unknown),
            sets,
        }
    }

    /// The most recent set that is available for rollback, if it was rehearsed and is not ready.
    pub(crate) fn latest_not_ready(&self) -> Option<&RehearsedSet> {
        let mut sets = self.sets.iter();
        sets.find(|set| set.is_latest && set.verdict != RehearsalVerdict::Ready)
    }
}
