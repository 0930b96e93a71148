//! A repository of the fleet: the result of its survey, and the obeyed part of its own configuration.
//!
//! Surveys of many repositories with few requests. Repositories that cannot take part are sorted out.

use futures_util::future::join_all;

use super::{CONCURRENT, Walk, outcome::catch};
use crate::{
    app::{
        fleet::{
            FleetOutcome, ListEntry, MemberBase, MemberConfig, MemberRefusal, Report, member_config,
        },
        pull_request::Marker,
    },
    base::error::{Code, Error, Errors, SourceText},
    config::{self, Config, SetPath, WhenUnconfigured},
    forge::{
        Pull, PullState,
        fleet::{ConfigFile, FleetReader, RepositoryName, RepositoryState, Survey, SurveyRequest},
    },
};

/// A repository that takes part.
#[derive(Debug)]
pub(super) struct FleetMember {
    pub(super) name: RepositoryName,
    pub(super) state: RepositoryState,
    /// The configuration for its plan: the fleet's, with the obeyed keys of its own.
    pub(super) config: Config,
    /// For each of its images, the index in the fleet's configuration.
    pub(super) images: Vec<usize>,
    pub(super) branch: String,
}

impl Walk<'_> {
    /// Surveys repositories, and repeats the survey if a repository's configuration selects another
    /// base branch.
    pub(super) async fn survey(
        &self,
        entries: &[ListEntry],
    ) -> Vec<Result<FleetMember, Box<Report>>> {
        let branch = self.branch(self.fleet);
        let requests: Vec<_> = entries
            .iter()
            .map(|entry| survey_of(entry, &self.fleet.set_path, &branch))
            .collect();
        let surveys = self.reader_surveys(&requests).await;
        let mut members: Vec<_> = entries
            .iter()
            .zip(surveys)
            .map(|(entry, survey)| self.member(entry, survey))
            .collect();
        let (mut indices, mut requests) = (Vec::new(), Vec::new());
        for (index, member) in members.iter().enumerate() {
            if let Ok(member) = member
                && member.branch != branch
            {
                indices.push(index);
                let set = &self.fleet.set_path;
                requests.push(survey_of(&entries[index], set, &member.branch));
            }
        }
        let surveys = self.reader_surveys(&requests).await;
        for ((index, request), survey) in indices.into_iter().zip(&requests).zip(surveys) {
            members[index] = match self.member(&entries[index], survey) {
                Ok(member) if member.branch != request.branch => {
                    let subject = format!("reading {}", member.name);
                    let reason = "its configuration changed while it was read";
                    Err(Box::new(Error::unavailable(subject, reason).into()))
                }
                member => member,
            };
        }
        members
    }

    pub(super) fn branch(&self, config: &Config) -> String {
        config.branch(self.request.operation, self.revision)
    }

    fn member(&self, entry: &ListEntry, survey: Survey) -> Result<FleetMember, Box<Report>> {
        let member = catch(|| self.surveyed_member(entry, survey));
        member.unwrap_or_else(|error| Err(Box::new(error.into())))
    }

    fn surveyed_member(
        &self,
        entry: &ListEntry,
        survey: Survey,
    ) -> Result<FleetMember, Box<Report>> {
        let set = &self.fleet.set_path;
        let absent = |absent| Box::new(self.absent(absent));
        let state = state_of(entry, set, survey).map_err(absent)?;
        let text = match &state.config {
            ConfigFile::Text(text) => text,
            ConfigFile::Missing => {
                let reason = format!("{} has no {set}", state.base);
                return Err(absent(Absent::unconfigured(entry, set, &reason)));
            }
            ConfigFile::Unusable(reason) => {
                let message = format!("{}: cannot read {set}: {reason}", entry.repository);
                return Err(Box::new(Error::input(Code::CONFIG, message).into()));
            }
        };
        let own = self
            .own_config(entry, text)
            .map_err(|errors| Box::new(errors.into()))?;
        let base = MemberBase {
            repository: &entry.repository,
            base: &state.base,
        };
        let MemberConfig {
            config,
            images,
            ignored_policies,
            ignored_keys,
        } = member_config(self.fleet, own, base).map_err(|refusal| Box::new(refusal.into()))?;
        let note = |key: &str| format!("{}: `{key}` is ignored in a fleet", entry.repository);
        for key in &ignored_policies {
            self.note(&note(key), &note(key));
        }
        // One note for each key, even for a thousand repositories.
        for key in &ignored_keys {
            self.note(key, &note(key));
        }
        Ok(FleetMember {
            name: entry.name(),
            branch: self.branch(&config),
            state,
            config,
            images,
        })
    }

    fn own_config(&self, entry: &ListEntry, text: &str) -> Result<Config, Errors> {
        let set = &self.fleet.set_path;
        let source = SourceText {
            name: format!("{}: {set}", entry.repository),
            text: text.into(),
        };
        let own = Config {
            file: set.file_name(),
            ..config::parse(&source, &self.fleet.root, set)?
        };
        own.counts_pins().map_err(|error| Error {
            message: format!("{}: {}", entry.repository, error.message),
            help: Some(format!(
                "declare `files` and `pins` in the repository's own {set}"
            )),
            ..error
        })?;
        Ok(own)
    }

    /// The report of a repository that takes no part.
    fn absent(&self, absent: Absent) -> Report {
        let (outcome, problem) = match absent {
            Absent::Unconfigured(problem) => (FleetOutcome::Unconfigured, problem),
            Absent::Archived(problem) => (FleetOutcome::Archived, problem),
            Absent::Moved(problem) => return Report::done(FleetOutcome::Moved).because(problem),
            Absent::Failed(problem) => return problem.into(),
        };
        match self.rules.when_unconfigured {
            WhenUnconfigured::Skip => Report::done(outcome).noting(problem),
            WhenUnconfigured::Fail => Report::done(outcome).because(problem),
        }
    }
}

impl FleetMember {
    /// The pull requests of the branch with the marker of the set, the newest last.
    fn pulls_of<'m>(&'m self, marker: &Marker) -> Vec<&'m Pull> {
        let mut pulls = Vec::new();
        for pull in &self.state.pulls {
            if Marker::find(&pull.body).as_ref() == Some(marker) {
                pulls.push(pull);
            }
        }
        pulls
    }

    pub(super) fn open_pulls<'m>(&'m self, marker: &Marker) -> Vec<&'m Pull> {
        let mut pulls = self.pulls_of(marker);
        pulls.retain(|pull| pull.state == PullState::Open);
        pulls
    }

    /// The last pull request of the set, if it is closed and not merged.
    pub(super) fn last_closed_pull<'m>(&'m self, marker: &Marker) -> Option<&'m Pull> {
        let last = self.pulls_of(marker).pop()?;
        (last.state == PullState::Closed).then_some(last)
    }

    /// The only pull request of the set, if it is closed and not merged. If there are more, the last may be
    /// a closed duplicate.
    pub(super) fn closed_pull<'m>(&'m self, marker: &Marker) -> Option<&'m Pull> {
        match self.pulls_of(marker).as_slice() {
            [pull] if pull.state == PullState::Closed => Some(pull),
            _ => None,
        }
    }
}

impl From<MemberRefusal> for Report {
    fn from(refusal: MemberRefusal) -> Self {
        match refusal {
            MemberRefusal::Foreign(checks) => Self::refused(&checks),
            MemberRefusal::Refused(errors) => Self::failed(errors),
        }
    }
}

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
