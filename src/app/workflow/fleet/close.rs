//! Closes the open pull requests of a set in the repositories of a list.
//!
//! Repositories are surveyed in batches; only a pull request that is found costs more requests. A
//! pull request belongs to repin if it has the marker and the branch according to the repository's
//! own configuration. All other keys of that configuration must only be well-formed: a repository that
//! a promotion would refuse does not prevent closing.

use std::collections::BTreeSet;

use super::{
    CONCURRENT, FleetForge, Services,
    member::{Absent, state_of, survey_of, surveys},
    of_members,
    outcome::{catch, catch_async},
};
use crate::{
    app::{
        fleet::{CloseDocument, CloseRow, ClosedPull, FleetList, FleetOutcome, ListEntry},
        pull_request::ForgeRepository,
        pull_request::{Marker, MarkerKind, merging},
        workflow,
    },
    base::{
        error::{Class, Code, Error, Errors, SourceText},
        http::{RequestPacer, Shard},
    },
    config::{self, Config, Forge as Configured, Operation, Template, WhenUnconfigured},
    core::plan,
    forge::{
        Pull, PullState, Pulls,
        fleet::{ConfigFile, FleetReader, RepositoryState, Survey},
    },
    git::Git,
    oci::Revision,
};

/// The maximum number of pull requests that are closed per minute. Each receives a comment, and GitHub
/// allows 500 new contents per hour (GitHub REST API, "Rate limits").
const CLOSINGS_PER_MINUTE: u32 = 8;

#[derive(Debug)]
pub(crate) struct CloseRequest<'r> {
    /// The revision of the set, as typed.
    pub revision: &'r str,
    pub list: &'r FleetList,
    /// Whether the pull requests are closed or only shown.
    pub apply: bool,
}

/// A repository with its pull requests of the set.
struct ClosedRepository {
    state: RepositoryState,
    config: Config,
    pulls: Vec<(Operation, Pull)>,
    /// Whether the survey omitted pull requests.
    is_incomplete: bool,
}

struct Closing<'c> {
    request: &'c CloseRequest<'c>,
    /// The fleet's configuration with the set path of its repositories.
    fleet: Config,
    configured: Configured,
    when_unconfigured: WhenUnconfigured,
    revision: Revision,
    forge: FleetForge,
    reader: FleetReader,
    pace: RequestPacer,
    services: &'c Services,
}

/// Closes the open pull requests of a set, or only shows them. After an error, none was closed.
pub(crate) fn run(
    request: &CloseRequest<'_>,
    config: &Config,
    services: &Services,
) -> Result<CloseDocument, Errors> {
    let rules = config.fleet.clone().unwrap_or_default();
    let (revision, _) = workflow::revision(config, request.revision, services)?;
    let timer = services.environment.pacing.clone();
    let pace = RequestPacer::new(
        Shard {
            number: 0,
            count: 1,
        },
        CLOSINGS_PER_MINUTE,
        timer,
    );
    let git = Git::discover(&config.root).map_err(Error::from)?;
    let configured = config.forge_or_default();
    let forge =
        FleetForge::new(&configured, git.as_ref(), Some(pace.clone()), services)?.granted()?;
    let closing = Closing {
        request,
        fleet: of_members(config)?,
        configured,
        when_unconfigured: rules.when_unconfigured,
        revision,
        reader: forge.reader()?,
        forge,
        pace,
        services,
    };
    let words = closing.forge.kind.words();
    if request.apply {
        let changes = format!(
            "some {}s may be closed; run the command again",
            words.pull_request
        );
        services.interruption.changes(changes);
    }
    let rows = services.wait(closing.rows(), &closing.progress());
    Ok(CloseDocument::new(
        closing.revision.to_string(),
        request.list.sha256.hex(),
        request.apply,
        rows,
        words,
    ))
}

impl Closing<'_> {
    async fn rows(&self) -> Vec<CloseRow> {
        let mut rows = Vec::new();
        let batch = self.reader.batch_size().max(CONCURRENT);
        for entries in self.request.list.entries.chunks(batch) {
            if self.services.forge_deadline.deadline().is_over() {
                let error = self.deadline_error();
                for entry in entries {
                    rows.push(CloseRow::failed(&entry.repository, None, &error));
                }
                continue;
            }
            for (entry, member) in entries.iter().zip(self.members(entries).await) {
                match member {
                    Ok(member) => {
                        match catch_async(Box::pin(self.close_all(entry, member))).await {
                            Ok(closed) => rows.extend(closed),
                            Err(error) => {
                                rows.push(CloseRow::failed(&entry.repository, None, &error));
                            }
                        }
                    }
                    Err(row) => rows.push(*row),
                }
            }
        }
        rows
    }

    /// The progress message.
    fn progress(&self) -> String {
        format!("closing {}s", self.forge.kind.words().pull_request)
    }

    fn deadline_error(&self) -> Error {
        let allowed = self.services.forge_deadline.describe();
        Error::about(
            Class::Limited,
            self.progress(),
            format!("the time is over ({allowed})"),
        )
        .help("run the command again; REPIN_DEADLINE=5h gives it more time")
    }

    /// Surveys repositories: first the branch in the fleet's configuration, then the other branches in
    /// their own configurations.
    async fn members(&self, entries: &[ListEntry]) -> Vec<Result<ClosedRepository, Box<CloseRow>>> {
        let common = self.branch(&self.fleet.promote.branch, &self.fleet);
        let requests: Vec<_> = entries
            .iter()
            .map(|entry| survey_of(entry, &self.fleet.set_path, &common))
            .collect();
        let found = surveys(&self.reader, &requests).await;
        let mut members: Vec<_> = entries
            .iter()
            .zip(found)
            .map(|(entry, survey)| self.member(entry, survey))
            .collect();
        let (mut indices, mut requests) = (Vec::new(), Vec::new());
        for (index, member) in members.iter().enumerate() {
            let Ok(member) = member else { continue };
            let branches = self.branches(&member.config).into_iter();
            for branch in branches.map(|(_, branch)| branch).collect::<BTreeSet<_>>() {
                if branch != common {
                    indices.push(index);
                    let set = &self.fleet.set_path;
                    requests.push(survey_of(&entries[index], set, &branch));
                }
            }
        }
        let found = surveys(&self.reader, &requests).await;
        for (index, survey) in indices.into_iter().zip(found) {
            let known = &mut members[index];
            match (known.as_mut(), self.member(&entries[index], survey)) {
                (Ok(known), Ok(member)) => {
                    known.pulls.extend(member.pulls);
                    known.is_incomplete |= member.is_incomplete;
                }
                (Ok(_), Err(row)) => *known = Err(row),
                (Err(_), _) => {}
            }
        }
        members
    }

    fn branch(&self, branch: &Template, config: &Config) -> String {
        branch.render(&self.revision, &config.name)
    }

    /// The operations that move pins to the set, and the branches of their pull requests: those of the
    /// repository's own configuration, and of a rollback of the fleet.
    fn branches(&self, config: &Config) -> Vec<(Operation, String)> {
        let of_fleet = self.branch(&self.fleet.rollback.branch, config);
        let mut branches = vec![(Operation::Rollback, of_fleet)];
        for operation in Operation::ALL {
            for branch in config.branches_of(&config.set_path, operation, &self.revision) {
                branches.push((operation, branch));
            }
        }
        branches
    }

    /// The operation of a pull request of the set; `None` for another pull request.
    fn operation(&self, config: &Config, base: &str, pull: &Pull) -> Option<Operation> {
        let marker = Marker::find(&pull.body)?;
        let MarkerKind::Set(operation) = marker.kind else {
            return None;
        };
        let is_ours = pull.own
            && pull.base == base
            && marker.set == config.set_path
            && marker.revision == self.revision.as_str();
        let branches = self.branches(config);
        let is_named = branches.contains(&(operation, pull.head.clone()));
        (is_ours && is_named).then_some(operation)
    }

    fn open_pulls(&self, config: &Config, base: &str, pulls: Vec<Pull>) -> Vec<(Operation, Pull)> {
        let mut open = Vec::new();
        for pull in pulls {
            if pull.state == PullState::Open
                && let Some(operation) = self.operation(config, base, &pull)
            {
                open.push((operation, pull));
            }
        }
        open
    }

    fn member(&self, entry: &ListEntry, survey: Survey) -> Result<ClosedRepository, Box<CloseRow>> {
        let member = catch(|| self.surveyed_member(entry, survey));
        member.unwrap_or_else(|error| {
            Err(Box::new(CloseRow::failed(&entry.repository, None, &error)))
        })
    }

    fn surveyed_member(
        &self,
        entry: &ListEntry,
        survey: Survey,
    ) -> Result<ClosedRepository, Box<CloseRow>> {
        let mut state = state_of(entry, &self.fleet.set_path, survey)
            .map_err(|absent| Box::new(self.absent_row(entry, absent)))?;
        let config = self
            .own_config(entry, &state.config)
            .map_err(|error| Box::new(CloseRow::failed(&entry.repository, None, &error)))?;
        let pulls = std::mem::take(&mut state.pulls);
        Ok(ClosedRepository {
            pulls: self.open_pulls(&config, &state.base, pulls),
            is_incomplete: !state.all_pulls,
            config,
            state,
        })
    }

    /// The repository's own configuration, or the fleet's if the repository has none.
    fn own_config(&self, entry: &ListEntry, file: &ConfigFile) -> Result<Config, Error> {
        let set = &self.fleet.set_path;
        let unusable =
            |reason: &str| Error::input(Code::CONFIG, format!("cannot read {set}: {reason}"));
        let text = match file {
            ConfigFile::Text(text) => text,
            ConfigFile::Missing => return Ok(self.fleet.clone()),
            ConfigFile::Unusable(reason) => return Err(unusable(reason)),
        };
        let source = SourceText {
            name: format!("{}: {set}", entry.repository),
            text: text.as_str().into(),
        };
        config::parse(&source, &self.fleet.root, set).map_err(|errors| {
            let first = errors.into_iter().next();
            first.unwrap_or_else(|| unusable("it is malformed"))
        })
    }

    /// The row of a repository that takes no part.
    fn absent_row(&self, entry: &ListEntry, absent: Absent) -> CloseRow {
        let row = |outcome| CloseRow::done(&entry.repository, outcome, None);
        let (outcome, problem) = match absent {
            Absent::Unconfigured(problem) => (FleetOutcome::Unconfigured, problem),
            Absent::Archived(problem) => (FleetOutcome::Archived, problem),
            Absent::Moved(problem) => return row(FleetOutcome::Moved).with_error(&problem),
            Absent::Failed(problem) => return CloseRow::failed(&entry.repository, None, &problem),
        };
        match self.when_unconfigured {
            WhenUnconfigured::Skip => row(outcome).with_note(&problem),
            WhenUnconfigured::Fail => row(outcome).with_error(&problem),
        }
    }

    /// Closes the pull requests of a repository, one after another.
    async fn close_all(&self, entry: &ListEntry, mut member: ClosedRepository) -> Vec<CloseRow> {
        let name = &entry.repository;
        let writer = match self.writer(entry, &mut member).await {
            Ok(writer) => writer,
            Err(errors) => return vec![CloseRow::failed(name, None, &errors.by_cause()[0])],
        };
        let mut rows = Vec::new();
        for (kind, pull) in &member.pulls {
            let closed = Some(ClosedPull {
                number: pull.number,
                url: pull.url.clone(),
                kind: *kind,
            });
            rows.push(match self.close(&writer, &member, pull).await {
                // Another process closed it.
                Ok(FleetOutcome::None) => continue,
                Ok(outcome) => CloseRow::done(name, outcome, closed),
                Err(error) => CloseRow::failed(name, closed, &error),
            });
        }
        if rows.is_empty() {
            rows.push(CloseRow::done(name, FleetOutcome::None, None));
        }
        rows
    }

    /// A client of the repository; it lists the pull requests that the survey omitted.
    async fn writer(
        &self,
        entry: &ListEntry,
        member: &mut ClosedRepository,
    ) -> Result<ForgeRepository, Errors> {
        let name = entry.name();
        let writer = self
            .forge
            .repository(&name, &self.configured, self.services)?;
        if member.is_incomplete {
            let open = writer.forge.pulls(Pulls::Open).await?;
            member.pulls = self.open_pulls(&member.config, &member.state.base, open);
        }
        Ok(writer)
    }

    async fn close(
        &self,
        writer: &ForgeRepository,
        member: &ClosedRepository,
        pull: &Pull,
    ) -> Result<FleetOutcome, Error> {
        let prefix = member.config.set_path.prefix();
        let only_pins = plan::pin_only_filter(&member.config, &prefix);
        if !self.request.apply {
            merging::permits(writer, pull, &only_pins).await?;
            return Ok(FleetOutcome::Open);
        }
        let deadline = self.services.forge_deadline.deadline();
        if !self.pace.wait_for_turn(deadline).await {
            return Err(self.deadline_error());
        }
        let repo = &member.state.repo;
        let closed = merging::close(writer, repo, pull.number, &only_pins).await?;
        Ok(match closed {
            Some(_) => FleetOutcome::Closed,
            None => FleetOutcome::None,
        })
    }
}
