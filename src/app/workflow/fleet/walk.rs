//! The walk through the list: repositories are surveyed in batches, their contents are read in groups, and
//! four of them are planned concurrently.

use std::mem;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    CONCURRENT, Recorder, Walk,
    member::{FleetMember, surveys},
    outcome::catch_async,
    plan::{ApprovedRepository, RepositoryFiles},
};
use crate::{
    app::fleet::{Cost, FleetOutcome, FleetRow, ListEntry, Report, ShardRun},
    base::{
        error::{Error, Errors},
        http::count_requests,
        text::counted,
    },
    forge::fleet::{Contents, Survey, SurveyRequest},
};

/// The maximum number of repositories in a batch if pull requests are opened. The last ones wait for the
/// others, and their heads may move.
const BATCH_BEFORE_OPENING: usize = 25;
/// The number of listed files that completes a group.
const GROUP_FILES: usize = 100_000;
/// The size of matched files that completes a group, in bytes.
const GROUP_BYTES: u64 = 8 * 1024 * 1024;

/// The event after which no further repository is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingReason {
    Deadline,
    Limit,
    Failures,
}

/// A repository in one of the steps, with its cost.
pub(super) struct Work<T> {
    entry: ListEntry,
    cost: Cost,
    /// The result of the last step, or the final report.
    step: Result<T, Box<Report>>,
}

/// The recorded lines of a run.
struct Ledger<'l> {
    run: &'l ShardRun,
    record: Recorder<'l>,
    rows: Vec<FleetRow>,
}

/// Repositories with listed files. Their contents are fetched together.
#[derive(Default)]
struct Group {
    works: Vec<Work<RepositoryFiles>>,
    files: usize,
    bytes: u64,
}

impl<T> Work<T> {
    fn new(entry: ListEntry, step: Result<T, Box<Report>>) -> Self {
        Self {
            entry,
            cost: Cost::default(),
            step,
        }
    }

    /// Takes the next step, unless the repository already has a report.
    async fn then<U>(
        self,
        next: impl AsyncFnOnce(&ListEntry, T) -> Result<U, Box<Report>>,
    ) -> Work<U> {
        let Self { entry, cost, step } = self;
        let start = Instant::now();
        let (step, requests) = match step {
            Ok(input) => {
                // The futures are large and run concurrently.
                let work = catch_async(Box::pin(next(&entry, input)));
                let (output, requests) = count_requests(work).await;
                let step = output.unwrap_or_else(|error| Err(Box::new(error.into())));
                (step, requests)
            }
            Err(report) => (Err(report), 0),
        };
        Work {
            entry,
            cost: Cost {
                requests: cost.requests + requests,
                seconds: cost.seconds + start.elapsed().as_secs_f64(),
            },
            step,
        }
    }
}

impl Group {
    fn add(&mut self, work: Work<RepositoryFiles>) {
        if let Ok(listed) = &work.step {
            self.files += listed.listing.tree.entries.len();
            self.bytes += listed.bytes;
        }
        self.works.push(work);
    }

    fn is_full(&self) -> bool {
        self.files >= GROUP_FILES || self.bytes >= GROUP_BYTES
    }
}

impl Walk<'_> {
    /// Works on every repository, in the order of the list.
    pub(super) fn run(
        &self,
        run: &ShardRun,
        record: Recorder<'_>,
    ) -> Result<Vec<FleetRow>, Errors> {
        let mut ledger = Ledger {
            run,
            record,
            rows: Vec::new(),
        };
        let all = counted(self.request.repositories.len(), "repository");
        self.services.wait_with(self.all(&mut ledger), || {
            format!("{} of {all} done", self.counts.done.get())
        })?;
        Ok(ledger.rows)
    }

    async fn all(&self, ledger: &mut Ledger<'_>) -> Result<(), Errors> {
        for batch in self.request.repositories.chunks(self.batch_size()) {
            if let Some(reason) = self.pending_reason() {
                for entry in batch {
                    let report = Err(Box::new(pending(reason)));
                    let work = Work::<ApprovedRepository>::new(entry.clone(), report);
                    Box::pin(self.finish(work, ledger)).await?;
                }
                continue;
            }
            let members = self.survey(batch).await;
            let mut works: Vec<_> = batch
                .iter()
                .zip(members)
                .map(|(entry, member)| Work::new(entry.clone(), member))
                .collect();
            let mut group = Group::default();
            while !works.is_empty() {
                let members = works.drain(..works.len().min(CONCURRENT));
                let listed =
                    members.map(|work| work.then(async |_, member| self.list(member).await));
                for work in join_all(listed).await {
                    group.add(work);
                }
                if group.is_full() {
                    Box::pin(self.finish_group(mem::take(&mut group), ledger)).await?;
                }
            }
            Box::pin(self.finish_group(group, ledger)).await?;
        }
        Ok(())
    }

    /// The number of repositories that are surveyed together.
    fn batch_size(&self) -> usize {
        let size = self.reader.batch_size().max(CONCURRENT);
        match self.request.open {
            Some(_) => size.min(BATCH_BEFORE_OPENING),
            None => size,
        }
    }

    pub(super) async fn reader_surveys(&self, requests: &[SurveyRequest]) -> Vec<Survey> {
        self.shared(surveys(&self.reader, requests)).await
    }

    /// Counts requests about multiple repositories.
    pub(super) async fn shared<T>(&self, work: impl Future<Output = T>) -> T {
        let (output, requests) = count_requests(work).await;
        self.counts.shared.set(self.counts.shared.get() + requests);
        output
    }

    /// Fetches the contents of a group, and plans and finishes its repositories.
    async fn finish_group(&self, group: Group, ledger: &mut Ledger<'_>) -> Result<(), Errors> {
        let mut listed = Vec::new();
        for work in &group.works {
            listed.extend(&work.step);
        }
        let mut contents = self.read(&listed).await.into_iter();
        let mut works = Vec::new();
        for work in group.works {
            let contents = match &work.step {
                Ok(_) => contents.next(),
                Err(_) => None,
            };
            works.push((work, contents.unwrap_or_else(|| Ok(Contents::new()))));
        }
        while !works.is_empty() {
            let next = works.drain(..works.len().min(CONCURRENT));
            let reason = self.pending_reason();
            let prepared = next.map(|(work, contents)| {
                work.then(async |_, listed| match reason {
                    Some(reason) => Err(Box::new(pending(reason))),
                    None => Box::pin(self.prepare(listed, contents)).await,
                })
            });
            for work in join_all(prepared).await {
                Box::pin(self.finish(work, ledger)).await?;
            }
        }
        Ok(())
    }

    /// Takes the last step of a repository, and records its line.
    async fn finish(
        &self,
        work: Work<ApprovedRepository>,
        ledger: &mut Ledger<'_>,
    ) -> Result<(), Errors> {
        let work =
            work.then(async |entry, prepared| Ok(Box::pin(self.conclude(entry, prepared)).await));
        let Work {
            entry,
            mut cost,
            step,
        } = Box::pin(work).await;
        let report = step.unwrap_or_else(|report| *report);
        cost.requests += self.counts.shared.take();
        cost.seconds = (cost.seconds * 1000.0).round() / 1000.0;
        self.counts.done.set(self.counts.done.get() + 1);
        if report.exit != 0 && report.outcome != FleetOutcome::Pending {
            self.counts.failures.set(self.counts.failures.get() + 1);
        }
        let line = ledger.run.line(FleetRow {
            repository: entry.repository,
            shard: ledger.run.shard,
            report,
            cost,
        });
        (ledger.record)(&line)?;
        ledger.rows.push(line.row);
        Ok(())
    }

    /// The event after which no further repository is started; `None` to continue.
    pub(super) fn pending_reason(&self) -> Option<PendingReason> {
        let is_reached = |most: Option<usize>, count: usize| most.is_some_and(|most| count >= most);
        if is_reached(self.request.max_failures, self.counts.failures.get()) {
            Some(PendingReason::Failures)
        } else if self.services.forge_deadline.deadline().is_over() {
            Some(PendingReason::Deadline)
        } else if is_reached(self.request.limit, self.counts.opened.get()) {
            Some(PendingReason::Limit)
        } else {
            None
        }
    }

    /// Prepares a repository a second time, after its base branch moved.
    pub(super) async fn prepare_again(
        &self,
        entry: &ListEntry,
    ) -> Result<ApprovedRepository, Box<Report>> {
        let mut members = self.survey(std::slice::from_ref(entry)).await;
        let member: Result<FleetMember, _> = members
            .pop()
            .unwrap_or_else(|| Err(Box::new(pending(PendingReason::Deadline))));
        let listed = self.list(member?).await?;
        let contents = self
            .read(&[&listed])
            .await
            .pop()
            .unwrap_or_else(|| Ok(Contents::new()));
        Box::pin(self.prepare(listed, contents)).await
    }

    /// Prints one note about each subject.
    pub(super) fn note(&self, subject: &str, text: &str) {
        if self.counts.noted.borrow_mut().insert(subject.to_owned()) {
            self.services.console.note(&format!("note: {text}"));
        }
    }
}

/// The report of a repository that was not begun.
pub(super) fn pending(reason: PendingReason) -> Report {
    let report = Report::done(FleetOutcome::Pending);
    let problem = |message: &str| Error::unavailable("not begun", message);
    match reason {
        PendingReason::Limit => report.noting(problem("--limit is reached")),
        PendingReason::Failures => report.because(problem("--max-failures is reached")),
        PendingReason::Deadline => report.because(
            problem("the deadline has passed")
                .help("run the same command again: it goes on from here"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_or_bytes_complete_a_group() {
        for (files, bytes, is_full) in [
            (GROUP_FILES - 1, GROUP_BYTES - 1, false),
            (GROUP_FILES, 0, true),
            (0, GROUP_BYTES, true),
        ] {
            let group = Group {
                files,
                bytes,
                ..Group::default()
            };
            assert_eq!(group.is_full(), is_full, "{files} {bytes}");
        }
    }
}
