//! Walks through the list: repositories are surveyed in batches, their contents are read in groups, and
//! four of them are judged at a time.

use std::mem;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    AT_ONCE, Recorder, Walk,
    judge::{Listed, Prepared},
    member::Member,
    outcome::{Report, Spent},
    surveys::surveys,
};
use crate::{
    config::number,
    error::{Error, Errors},
    fleet::{FleetOutcome, FleetRow, ListEntry, ShardRun},
    forge::fleet::{Contents, Survey, SurveyRequest},
    http::count_requests,
    workflow::panics::caught_async,
};

/// Repositories that are surveyed together before pull requests are opened: the last of a batch wait for
/// the others, and their heads may move.
const BEFORE_OPENING: usize = 25;
/// Files in the listings of a group.
const GROUP_FILES: usize = 100_000;
/// Bytes in the matched files of a group.
const GROUP_BYTES: u64 = 8 * 1024 * 1024;

/// The reason why no further repository is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingReason {
    /// The deadline passed.
    Deadline,
    /// The limit of new pull requests is reached.
    Limit,
    /// The maximum number of failures is reached.
    Failures,
}

/// A repository in one of the steps, with its cost so far.
pub(super) struct Work<T> {
    entry: ListEntry,
    spent: Spent,
    /// The result of the last step, or the report.
    step: Result<T, Box<Report>>,
}

/// The recorded lines of a run.
struct Ledger<'l> {
    run: &'l ShardRun,
    record: Recorder<'l>,
    rows: Vec<FleetRow>,
}

/// Repositories with listed files, whose contents are read together.
#[derive(Default)]
struct Group {
    works: Vec<Work<Listed>>,
    files: usize,
    bytes: u64,
}

impl<T> Work<T> {
    fn new(entry: ListEntry, step: Result<T, Box<Report>>) -> Self {
        Self {
            entry,
            spent: Spent::default(),
            step,
        }
    }

    /// Takes the next step, unless the repository has a report already.
    async fn then<U>(
        self,
        next: impl AsyncFnOnce(&ListEntry, T) -> Result<U, Box<Report>>,
    ) -> Work<U> {
        let Self { entry, spent, step } = self;
        let begun = Instant::now();
        let (step, requests) = match step {
            // The futures are large, and several run concurrently.
            Ok(known) => {
                let caught = caught_async(Box::pin(next(&entry, known)));
                let (output, requests) = count_requests(caught).await;
                let step = output.unwrap_or_else(|error| Err(Box::new(error.into())));
                (step, requests)
            }
            Err(report) => (Err(report), 0),
        };
        Work {
            entry,
            spent: Spent {
                requests: spent.requests + requests,
                seconds: spent.seconds + begun.elapsed().as_secs_f64(),
            },
            step,
        }
    }
}

impl Group {
    fn add(&mut self, work: Work<Listed>) {
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
    /// Works on every repository. The rows are in the order of the list.
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
        let all = number(self.request.repositories.len(), "repository");
        let work = self.all(&mut ledger);
        let message = || format!("{} of {all} done", self.counts.done.get());
        self.services.wait_with(work, message)??;
        Ok(ledger.rows)
    }

    async fn all(&self, ledger: &mut Ledger<'_>) -> Result<(), Errors> {
        for batch in self.request.repositories.chunks(self.batch_size()) {
            if let Some(reason) = self.pending_reason() {
                for entry in batch {
                    let report = Err(Box::new(pending(reason)));
                    self.finish(Work::<Prepared>::new(entry.clone(), report), ledger)
                        .await?;
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
                let some = works.drain(..works.len().min(AT_ONCE));
                let listed = some.map(|work| work.then(async |_, member| self.list(member).await));
                for work in join_all(listed).await {
                    group.add(work);
                }
                if group.is_full() {
                    Box::pin(self.group(mem::take(&mut group), ledger)).await?;
                }
            }
            Box::pin(self.group(group, ledger)).await?;
        }
        Ok(())
    }

    /// The number of repositories that are surveyed together.
    fn batch_size(&self) -> usize {
        let at_once = self.reader.at_once().max(AT_ONCE);
        match self.request.open {
            Some(_) => at_once.min(BEFORE_OPENING),
            None => at_once,
        }
    }

    /// Surveys repositories.
    pub(super) async fn reader_surveys(&self, requests: &[SurveyRequest]) -> Vec<Survey> {
        self.shared(surveys(&*self.reader, requests)).await
    }

    /// Counts requests about several repositories.
    pub(super) async fn shared<T>(&self, work: impl Future<Output = T>) -> T {
        let (output, requests) = count_requests(work).await;
        self.counts.shared.set(self.counts.shared.get() + requests);
        output
    }

    async fn group(&self, group: Group, ledger: &mut Ledger<'_>) -> Result<(), Errors> {
        let listed = group
            .works
            .iter()
            .filter_map(|work| work.step.as_ref().ok());
        let mut contents = self.read(&listed.collect::<Vec<_>>()).await.into_iter();
        let with_contents = |work: Work<Listed>| {
            let read = work.step.is_ok().then(|| contents.next()).flatten();
            (work, read.unwrap_or_else(|| Ok(Contents::new())))
        };
        let mut works: Vec<_> = group.works.into_iter().map(with_contents).collect();
        while !works.is_empty() {
            let some = works.drain(..works.len().min(AT_ONCE));
            let reason = self.pending_reason();
            let judged = some.map(|(work, contents)| {
                work.then(async |_, listed| match reason {
                    Some(reason) => Err(Box::new(pending(reason))),
                    None => self.judge(listed, contents).await,
                })
            });
            for work in join_all(judged).await {
                self.finish(work, ledger).await?;
            }
        }
        Ok(())
    }

    /// Takes the last step of a repository, and records its line.
    async fn finish(&self, work: Work<Prepared>, ledger: &mut Ledger<'_>) -> Result<(), Errors> {
        let work = work.then(async |entry, prepared| Ok(self.conclude(entry, prepared).await));
        let Work {
            entry,
            mut spent,
            step,
        } = work.await;
        let report = step.unwrap_or_else(|report| *report);
        spent.requests += self.counts.shared.take();
        spent.seconds = (spent.seconds * 1000.0).round() / 1000.0;
        self.counts.done.set(self.counts.done.get() + 1);
        let failed = report.class.is_some() && report.outcome != FleetOutcome::Pending;
        if failed {
            self.counts.failures.set(self.counts.failures.get() + 1);
        }
        let row = report.row(&entry.repository, ledger.run.shard, spent);
        let line = ledger.run.line(row);
        (ledger.record)(&line)?;
        ledger.rows.push(line.row);
        Ok(())
    }

    /// The reason why no further repository is begun; `None` to go on.
    pub(super) fn pending_reason(&self) -> Option<PendingReason> {
        let reached = |most: Option<usize>, count: usize| most.is_some_and(|most| count >= most);
        if reached(self.request.max_failures, self.counts.failures.get()) {
            Some(PendingReason::Failures)
        } else if self.services.forge_time.deadline().is_over() {
            Some(PendingReason::Deadline)
        } else if reached(self.request.limit, self.counts.opened.get()) {
            Some(PendingReason::Limit)
        } else {
            None
        }
    }

    /// Reads and judges a repository again, after its base branch moved.
    pub(super) async fn again(&self, entry: &ListEntry) -> Result<Prepared, Box<Report>> {
        let mut members = self.survey(std::slice::from_ref(entry)).await;
        let member = members
            .pop()
            .unwrap_or_else(|| Err(Box::new(pending(PendingReason::Deadline))))?;
        self.read_and_judge(member).await
    }

    async fn read_and_judge(&self, member: Member) -> Result<Prepared, Box<Report>> {
        let listed = self.list(member).await?;
        let contents = self.read(&[&listed]).await.pop();
        let contents = contents.unwrap_or_else(|| Ok(Contents::new()));
        self.judge(listed, contents).await
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
