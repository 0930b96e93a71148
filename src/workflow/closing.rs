//! Closing the open pull requests of a set in the repositories of a list.
//!
//! Repositories are surveyed in batches; only a pull request that is found costs more requests. What is
//! repin's follows from the marker in the text and from the branch that the repository's own
//! configuration leads to, as everywhere. Of that configuration nothing else counts, so one that a
//! promote would refuse does not keep a pull request open.

use std::collections::BTreeSet;

use super::{
    FleetForge, Services,
    fleet::{AT_ONCE, Absent, state_of, survey_of, surveys},
    panics::{caught, caught_async},
    revision,
};
use crate::{
    code::Code,
    config::{
        self, ChangeNames, Config, FILE_NAME, Forge as Configured, Operation, WhenUnconfigured,
    },
    error::{Class, Error, Errors, SourceText},
    fleet::{CloseDocument, CloseOutcome, CloseRow, ClosedPull, FleetList, ListEntry},
    forge::{
        Forge, Pull, PullState, Pulls,
        fleet::{ConfigFile, FleetReader, RepositoryState, Survey},
    },
    git::Git,
    http::{Pace, Shard},
    oci::Revision,
    plan,
    pull_request::{Marker, MarkerKind, withdraw},
};

/// Pull requests that are closed in a minute. Each gets a comment, and 500 contents an hour are
/// allowed (GitHub REST API, "Rate limits").
const CLOSINGS: u32 = 8;

/// The request to close pull requests.
#[derive(Debug)]
pub struct CloseRequest<'r> {
    /// The revision of the set, as typed.
    pub revision: &'r str,
    /// The repositories.
    pub list: &'r FleetList,
    /// Whether they are closed, or only shown.
    pub apply: bool,
}

/// A repository with its pull requests of the set.
struct Member {
    state: RepositoryState,
    config: Config,
    pulls: Vec<(Operation, Pull)>,
    /// The branches whose pull requests the survey did not show completely.
    unknown: bool,
}

struct Closing<'c> {
    request: &'c CloseRequest<'c>,
    fleet: &'c Config,
    configured: Configured,
    when_unconfigured: WhenUnconfigured,
    revision: Revision,
    forge: FleetForge,
    reader: Box<dyn FleetReader>,
    pace: Pace,
    services: &'c Services,
}

/// Closes the open pull requests of a set, or shows which would be closed. An error means that
/// nothing was begun.
pub fn run(
    request: &CloseRequest<'_>,
    config: &Config,
    services: &Services,
) -> Result<CloseDocument, Errors> {
    let rules = config.fleet.clone().unwrap_or_default();
    let (revision, _) = revision(config, request.revision)?;
    let timer = services.environment.pacing.clone();
    let pace = Pace::new(
        Shard {
            number: 0,
            count: 1,
        },
        CLOSINGS,
        timer,
    );
    let git = Git::discover(&config.root).map_err(Error::from)?;
    let configured = config.forge_or_default();
    let forge = FleetForge::of(&configured, git.as_ref(), Some(pace.clone()), services)?;
    let forge = forge.granted()?;
    let closing = Closing {
        request,
        fleet: config,
        configured,
        when_unconfigured: rules.when_unconfigured,
        revision,
        reader: forge.reader()?,
        forge,
        pace,
        services,
    };
    if request.apply {
        let changes = "some pull requests may be closed; run the command again";
        services.interruption.changes(changes);
    }
    let rows = services.wait(closing.rows(), "closing pull requests")?;
    Ok(CloseDocument::new(
        closing.revision.to_string(),
        request.list.sha256.hex(),
        request.apply,
        rows,
    ))
}

impl Closing<'_> {
    async fn rows(&self) -> Vec<CloseRow> {
        let mut rows = Vec::new();
        let at_once = self.reader.at_once().max(AT_ONCE);
        for entries in self.request.list.entries.chunks(at_once) {
            if self.services.forge_time.deadline().is_over() {
                let late = self.late();
                rows.extend(
                    entries
                        .iter()
                        .map(|entry| CloseRow::failed(&entry.repository, None, &late)),
                );
                continue;
            }
            for (entry, member) in entries.iter().zip(self.members(entries).await) {
                match member {
                    Ok(member) => {
                        let closed = caught_async(self.close_all(entry, member)).await;
                        rows.extend(closed.unwrap_or_else(|error| {
                            vec![CloseRow::failed(&entry.repository, None, &error)]
                        }));
                    }
                    Err(row) => rows.push(*row),
                }
            }
        }
        rows
    }

    fn late(&self) -> Error {
        let allowed = self.services.forge_time.describe();
        Error::about(
            Class::Limited,
            "closing pull requests",
            format!("the time is over ({allowed})"),
        )
        .help("run the command again; REPIN_DEADLINE=5h gives it more time")
    }

    /// Surveys repositories: the branch that the fleet's configuration leads to, and then those
    /// branches that their own configurations lead to besides.
    async fn members(&self, entries: &[ListEntry]) -> Vec<Result<Member, Box<CloseRow>>> {
        let common = self.branch(&self.fleet.promote, self.fleet);
        let requests: Vec<_> = entries
            .iter()
            .map(|entry| survey_of(entry, &common))
            .collect();
        let found = surveys(&*self.reader, &requests).await;
        let mut members: Vec<_> = entries
            .iter()
            .zip(found)
            .map(|(entry, survey)| self.member(entry, survey))
            .collect();
        let mut more = Vec::new();
        for (at, member) in members.iter().enumerate() {
            let Ok(member) = member else { continue };
            let branches = self.branches(&member.config).map(|(_, branch)| branch);
            let branches: BTreeSet<String> = branches.into_iter().collect();
            for branch in branches.iter().filter(|branch| **branch != common) {
                more.push((at, survey_of(&entries[at], branch)));
            }
        }
        let requests: Vec<_> = more.iter().map(|(_, request)| request.clone()).collect();
        let found = surveys(&*self.reader, &requests).await;
        for ((at, _), survey) in more.iter().zip(found) {
            let known = &mut members[*at];
            match (known.as_mut(), self.member(&entries[*at], survey)) {
                (Ok(known), Ok(member)) => {
                    known.pulls.extend(member.pulls);
                    known.unknown |= member.unknown;
                }
                (Ok(_), Err(row)) => *known = Err(row),
                (Err(_), _) => {}
            }
        }
        members
    }

    fn branch(&self, names: &ChangeNames, config: &Config) -> String {
        names.branch.render(&self.revision, &config.name)
    }

    /// The operations that move pins to the set, and the branches of their pull requests: a rollback of
    /// the fleet is named by the fleet, one of the repository by its own configuration.
    fn branches(&self, config: &Config) -> [(Operation, String); 3] {
        [
            (Operation::Promotion, &config.promote),
            (Operation::Rollback, &self.fleet.rollback),
            (Operation::Rollback, &config.rollback),
        ]
        .map(|(operation, names)| (operation, self.branch(names, config)))
    }

    /// The operation of a pull request of the set, if it is one.
    fn operation(&self, config: &Config, base: &str, pull: &Pull) -> Option<Operation> {
        let marker = Marker::find(&pull.body)?;
        let MarkerKind::Set(operation) = marker.kind else {
            return None;
        };
        let is_ours = pull.own && pull.base == base && marker.revision == self.revision.as_str();
        let branches = self.branches(config);
        let is_named = branches.contains(&(operation, pull.head.clone()));
        (is_ours && is_named).then_some(operation)
    }

    fn open_pulls(&self, config: &Config, base: &str, pulls: Vec<Pull>) -> Vec<(Operation, Pull)> {
        let open = pulls.into_iter();
        let open = open.filter(|pull| pull.state == PullState::Open);
        open.filter_map(|pull| Some((self.operation(config, base, &pull)?, pull)))
            .collect()
    }

    fn member(&self, entry: &ListEntry, survey: Survey) -> Result<Member, Box<CloseRow>> {
        let member = caught(|| self.uncaught_member(entry, survey));
        member.unwrap_or_else(|error| {
            Err(Box::new(CloseRow::failed(&entry.repository, None, &error)))
        })
    }

    fn uncaught_member(&self, entry: &ListEntry, survey: Survey) -> Result<Member, Box<CloseRow>> {
        let name = &entry.repository;
        let failed = |error: &Error| Err(Box::new(CloseRow::failed(name, None, error)));
        let absent = |why| Box::new(self.left_out(entry, why));
        let mut state = state_of(entry, survey).map_err(absent)?;
        let config = match self.own(entry, &state.config) {
            Ok(config) => config,
            Err(error) => return failed(&error),
        };
        let pulls = std::mem::take(&mut state.pulls);
        Ok(Member {
            pulls: self.open_pulls(&config, &state.base, pulls),
            unknown: !state.all_pulls,
            config,
            state,
        })
    }

    /// The repository's own configuration; the fleet's where it has none any more.
    fn own(&self, entry: &ListEntry, file: &ConfigFile) -> Result<Config, Error> {
        let unusable =
            |why: &str| Error::input(Code::CONFIG, format!("cannot read {FILE_NAME}: {why}"));
        let text = match file {
            ConfigFile::Text(text) => text,
            ConfigFile::Missing => return Ok(self.fleet.clone()),
            ConfigFile::Unusable(why) => return Err(unusable(why)),
        };
        let source = SourceText {
            name: format!("{}: {FILE_NAME}", entry.repository),
            text: text.as_str().into(),
        };
        let parsed = config::parse(&source, &self.fleet.root);
        parsed.map_err(|errors| {
            let first = errors.into_iter().next();
            first.unwrap_or_else(|| unusable("it is malformed"))
        })
    }

    /// A repository that takes no part.
    fn left_out(&self, entry: &ListEntry, why: Absent) -> CloseRow {
        let row = |outcome| CloseRow::done(&entry.repository, outcome, None);
        let (outcome, problem) = match why {
            Absent::Unconfigured(problem) => (CloseOutcome::Unconfigured, problem),
            Absent::Archived(problem) => (CloseOutcome::Archived, problem),
            Absent::Moved(problem) => return row(CloseOutcome::Moved).because(&problem),
            Absent::Failed(problem) => return CloseRow::failed(&entry.repository, None, &problem),
        };
        match self.when_unconfigured {
            WhenUnconfigured::Skip => row(outcome).noting(&problem),
            WhenUnconfigured::Fail => row(outcome).because(&problem),
        }
    }

    /// Closes the pull requests of a repository, one after another.
    async fn close_all(&self, entry: &ListEntry, mut member: Member) -> Vec<CloseRow> {
        let name = &entry.repository;
        let writer = match self.writer(entry, &mut member).await {
            Ok(Some(writer)) => writer,
            Ok(None) => return vec![CloseRow::done(name, CloseOutcome::None, None)],
            Err(error) => return vec![CloseRow::failed(name, None, &error)],
        };
        let mut rows = Vec::new();
        for (kind, pull) in &member.pulls {
            let shown = Some(ClosedPull {
                number: pull.number,
                url: pull.url.clone(),
                kind: *kind,
            });
            rows.push(match self.close(&*writer, &member, pull).await {
                Ok(CloseOutcome::None) => CloseRow::done(name, CloseOutcome::None, None),
                Ok(outcome) => CloseRow::done(name, outcome, shown),
                Err(error) => CloseRow::failed(name, shown, &error),
            });
        }
        rows
    }

    /// A client of the repository, if it has a pull request of the set.
    async fn writer(
        &self,
        entry: &ListEntry,
        member: &mut Member,
    ) -> Result<Option<Box<dyn Forge>>, Error> {
        if member.pulls.is_empty() && !member.unknown {
            return Ok(None);
        }
        let writer = self.forge.repository(&entry.name(), &self.configured)?;
        if member.unknown {
            let open = writer.pulls(Pulls::Open).await?;
            member.pulls = self.open_pulls(&member.config, &member.state.base, open);
        }
        Ok((!member.pulls.is_empty()).then_some(writer))
    }

    async fn close(
        &self,
        writer: &dyn Forge,
        member: &Member,
        pull: &Pull,
    ) -> Result<CloseOutcome, Error> {
        let only_pins = plan::only_pins(&member.config, "");
        if !self.request.apply {
            withdraw::permits(writer, pull, &only_pins).await?;
            return Ok(CloseOutcome::Open);
        }
        let deadline = self.services.forge_time.deadline();
        if !self.pace.wait_for_pull_request(deadline).await {
            return Err(self.late());
        }
        let repo = &member.state.repo;
        let closed = withdraw::close(writer, repo, pull.number, &only_pins).await?;
        Ok(match closed {
            Some(_) => CloseOutcome::Closed,
            None => CloseOutcome::None,
        })
    }
}
