//! Surveys of many repositories with few requests. Repositories that cannot take part are sorted out.

use futures_util::future::join_all;

use super::CONCURRENT;
use crate::{
    app::fleet::ListEntry,
    base::{code::Code, error::Error},
    config::SetPath,
    forge::fleet::{FleetReader, RepositoryState, Survey, SurveyRequest},
};

/// A repository of the list that cannot be promoted.
pub(super) enum Absent {
    /// It has no configuration. The fleet decides whether this is an error.
    Unconfigured(Error),
    /// It is archived. The fleet decides whether this is an error.
    Archived(Error),
    Moved(Error),
    /// It cannot be read, or its line of the list is wrong.
    Failed(Error),
}

impl Absent {
    pub(super) fn unconfigured(entry: &ListEntry, set: &SetPath, reason: &str) -> Self {
        let message = format!("{} has no configuration: {reason}", entry.repository);
        let help = format!("add a {set} to the repository, or remove it from the list");
        Self::Unconfigured(Error::input(Code::CONFIG, message).help(help))
    }
}

/// The state of a repository that takes part. `set`: the path of its configuration.
pub(super) fn state_of(
    entry: &ListEntry,
    set: &SetPath,
    survey: Survey,
) -> Result<RepositoryState, Absent> {
    let name = &entry.repository;
    Err(match survey {
        Survey::Present(state) => return Ok(*state),
        Survey::Missing => {
            let reason = "it does not exist, or the token may not see it";
            Absent::unconfigured(entry, set, reason)
        }
        Survey::Empty => Absent::unconfigured(entry, set, "it has no commit"),
        Survey::Archived => {
            let error = Error::input(Code::CONFIG, format!("{name} is archived"));
            Absent::Archived(error.help("remove the repository from the list"))
        }
        Survey::Moved(to) => {
            let to = if to.is_empty() { "another name" } else { &to };
            let error = Error::input(Code::FLEET_LIST, format!("{name} is {to} now"));
            Absent::Moved(error.help("write the new name into the list"))
        }
        Survey::NoBase(base) => {
            let error = Error::input(Code::FLEET_LIST, format!("{name} has no branch {base}"));
            Absent::Failed(error.help("correct the base branch in the list"))
        }
        Survey::Failed(error) => Absent::Failed(error),
    })
}

/// Surveys repositories with concurrent requests, each for as many as the forge allows.
pub(super) async fn surveys(reader: &FleetReader, requests: &[SurveyRequest]) -> Vec<Survey> {
    let mut surveys = Vec::new();
    let parts: Vec<_> = requests.chunks(reader.batch_size().max(1)).collect();
    for parts in parts.chunks(CONCURRENT) {
        let all = join_all(parts.iter().map(|part| reader.survey(part))).await;
        surveys.extend(all.into_iter().flatten());
    }
    surveys
}

/// The request for the state of a repository and of its pull request from `branch`.
pub(super) fn survey_of(entry: &ListEntry, set: &SetPath, branch: &str) -> SurveyRequest {
    SurveyRequest {
        repository: entry.name(),
        base: entry.base.clone(),
        branch: branch.to_owned(),
        config: set.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Fleet;

    #[test]
    fn moved_repository_without_a_new_name_is_reported() {
        let entry = ListEntry {
            repository: "acme/web".to_owned(),
            base: None,
        };
        let set = SetPath::from(Fleet::default().config);
        for (to, expected) in [("", "another name"), ("acme/site", "acme/site")] {
            let survey = Survey::Moved(to.to_owned());
            let Err(Absent::Moved(error)) = state_of(&entry, &set, survey) else {
                panic!("{to}");
            };
            assert_eq!(error.message, format!("acme/web is {expected} now"));
        }
    }
}
