//! Many repositories surveyed with few requests.

use futures_util::future::join_all;

use super::AT_ONCE;
use crate::{
    config::FILE_NAME,
    fleet::ListEntry,
    forge::fleet::{FleetReader, Survey, SurveyRequest},
};

/// Surveys as many repositories at once as the forge can, several times at once where that is one.
pub(in crate::workflow) async fn surveys(
    reader: &dyn FleetReader,
    requests: &[SurveyRequest],
) -> Vec<Survey> {
    let mut surveys = Vec::new();
    let parts: Vec<_> = requests.chunks(reader.at_once().max(1)).collect();
    for parts in parts.chunks(AT_ONCE) {
        let all = join_all(parts.iter().map(|part| reader.survey(part))).await;
        surveys.extend(all.into_iter().flatten());
    }
    surveys
}

/// The survey of a repository of the list, and of its pull request from `branch`.
pub(in crate::workflow) fn survey_of(entry: &ListEntry, branch: &str) -> SurveyRequest {
    SurveyRequest {
        repository: entry.name(),
        base: entry.base.clone(),
        branch: branch.to_owned(),
        config: FILE_NAME.to_owned(),
    }
}
