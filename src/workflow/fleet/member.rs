//! A repository of the fleet: the result of its survey, and the obeyed part of its own configuration.

use super::{
    Walk,
    outcome::Report,
    surveys::{Absent, state_of, survey_of},
};
use crate::{
    code::Code,
    config::{self, Config, FILE_NAME, Template, WhenUnconfigured},
    error::{Class, Error, Errors, SourceText},
    fleet::{Disobeyed, FleetOutcome, ListEntry, Member as Listed, ObeyedConfig, obeyed},
    forge::{
        Pull, PullState,
        fleet::{ConfigFile, RepositoryName, RepositoryState, Survey},
    },
    pull_request::{Marker, reconcile::is_moving},
    workflow::panics::caught,
};

/// A repository that takes part.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: RepositoryName,
    pub(super) state: RepositoryState,
    /// The configuration for its plan: the fleet's, with the obeyed keys of its own.
    pub(super) config: Config,
    /// The titles of its own rollbacks, which its history may contain.
    pub(super) own_rollbacks: Template,
    /// For each of its images, the index in the fleet's configuration.
    pub(super) images: Vec<usize>,
    /// The branch of its pull request.
    pub(super) branch: String,
}

impl Walk<'_> {
    /// Surveys repositories; a second time if their own configuration gives the pull request another
    /// branch.
    pub(super) async fn survey(&self, entries: &[ListEntry]) -> Vec<Result<Member, Box<Report>>> {
        let branch = self.branch(self.fleet);
        let requests: Vec<_> = entries
            .iter()
            .map(|entry| survey_of(entry, &branch))
            .collect();
        let surveys = self.reader_surveys(&requests).await;
        let mut members: Vec<_> = entries
            .iter()
            .zip(surveys)
            .map(|(entry, survey)| self.member(entry, survey))
            .collect();
        let other = |member: &Result<Member, _>| {
            member.as_ref().is_ok_and(|member| member.branch != branch)
        };
        let again: Vec<usize> = (0..members.len())
            .filter(|at| other(&members[*at]))
            .collect();
        let requests: Vec<_> = again
            .iter()
            .filter_map(|at| {
                let member = members[*at].as_ref().ok()?;
                Some(survey_of(&entries[*at], &member.branch))
            })
            .collect();
        let surveys = self.reader_surveys(&requests).await;
        for ((at, request), survey) in again.into_iter().zip(&requests).zip(surveys) {
            let member = self.member(&entries[at], survey);
            members[at] = member.and_then(|member| {
                if member.branch == request.branch {
                    return Ok(member);
                }
                let what = format!("reading {}", member.name);
                let reason = "its configuration changed while it was read";
                Err(Box::new(Error::unavailable(what, reason).into()))
            });
        }
        members
    }

    fn branch(&self, config: &Config) -> String {
        let names = config.names(self.request.operation);
        names.branch.render(self.revision, &config.name)
    }

    fn member(&self, entry: &ListEntry, survey: Survey) -> Result<Member, Box<Report>> {
        let member = caught(|| self.uncaught_member(entry, survey));
        member.unwrap_or_else(|error| Err(Box::new(error.into())))
    }

    fn uncaught_member(&self, entry: &ListEntry, survey: Survey) -> Result<Member, Box<Report>> {
        let absent = |absent| Box::new(self.left_out(absent));
        let state = state_of(entry, survey).map_err(absent)?;
        let text = match &state.config {
            ConfigFile::Text(text) => text,
            ConfigFile::Missing => {
                let reason = format!("{} has no {FILE_NAME}", state.base);
                return Err(absent(Absent::unconfigured(entry, &reason)));
            }
            ConfigFile::Unusable(reason) => {
                let message = format!("{}: cannot read {FILE_NAME}: {reason}", entry.repository);
                return Err(Box::new(Error::input(Code::CONFIG, message).into()));
            }
        };
        let own = self
            .own(entry, text)
            .map_err(|errors| Box::new(errors.into()))?;
        let member = Listed {
            repository: &entry.repository,
            base: &state.base,
        };
        let obeyed = obeyed(self.fleet, own, member).map_err(|refusal| Box::new(refusal.into()))?;
        let ObeyedConfig {
            config,
            own_rollbacks,
            images,
            ignored_policies,
            ignored_keys,
        } = obeyed;
        let note = |key: &str| format!("{}: `{key}` is ignored in a fleet", entry.repository);
        for key in &ignored_policies {
            self.note(&note(key), &note(key));
        }
        // A list of a thousand repositories gets one note for each key.
        for key in &ignored_keys {
            self.note(key, &note(key));
        }
        Ok(Member {
            name: entry.name(),
            branch: self.branch(&config),
            state,
            config,
            own_rollbacks,
            images,
        })
    }

    /// Parses the repository's own configuration.
    fn own(&self, entry: &ListEntry, text: &str) -> Result<Config, Errors> {
        let source = SourceText {
            name: format!("{}: {FILE_NAME}", entry.repository),
            text: text.into(),
        };
        let own = config::parse(&source, &self.fleet.root)?;
        let own = Config {
            file: FILE_NAME.to_owned(),
            ..own
        };
        own.counts_pins().map_err(|error| Error {
            message: format!("{}: {}", entry.repository, error.message),
            help: Some("declare `files` and `pins` in the repository's own repin.yaml".to_owned()),
            ..error
        })?;
        Ok(own)
    }

    /// The report of a repository that takes no part.
    fn left_out(&self, absent: Absent) -> Report {
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

impl Member {
    /// The pull requests with its branch and the marker of the set, the newest last.
    fn pulls_of<'m>(&'m self, marker: &Marker) -> Vec<&'m Pull> {
        let all = self.state.pulls.iter();
        let found = all.filter(|pull| Marker::find(&pull.body).as_ref() == Some(marker));
        found.collect()
    }

    /// Its open pull requests of the set.
    pub(super) fn open_pulls<'m>(&'m self, marker: &Marker) -> Vec<&'m Pull> {
        let mut pulls = self.pulls_of(marker);
        pulls.retain(|pull| pull.state == PullState::Open);
        pulls
    }

    /// Its last pull request of the set, if that is closed and not merged.
    pub(super) fn last_closed_pull<'m>(&'m self, marker: &Marker) -> Option<&'m Pull> {
        let last = self.pulls_of(marker).pop()?;
        (last.state == PullState::Closed).then_some(last)
    }

    /// Its only pull request of the set, if that is closed and not merged.
    pub(super) fn closed_pull<'m>(&'m self, marker: &Marker) -> Option<&'m Pull> {
        // Of several, the last may be a closed duplicate.
        let is_only = self.pulls_of(marker).len() == 1;
        self.last_closed_pull(marker)
            .filter(|pull| is_only && !is_moving(pull))
    }
}

impl From<Disobeyed> for Report {
    fn from(refusal: Disobeyed) -> Self {
        match refusal {
            Disobeyed::Foreign(checks) => Self::refused(&checks),
            Disobeyed::Refused(errors) => Self::failed(errors),
        }
    }
}

/// The report of a pull request that a person closed.
pub(super) fn closed(pull: &Pull) -> Report {
    let what = format!("pull request #{} ({})", pull.number, pull.url);
    let reason = "it was closed without being merged, and repin does not reopen it by itself";
    let problem = Error::about(Class::Refused, what, reason);
    let problem = problem.help("ask who closed the pull request, or reopen it by hand");
    Report::done(FleetOutcome::ClosedByPerson).because(problem)
}
