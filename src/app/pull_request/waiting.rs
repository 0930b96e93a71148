//! Waits until a pull request is merged or closed. A poll without news is cheap.
//!
//! Workflows are not dispatched here. If the merge of repin's pull request could not be scheduled
//! at its creation, it is scheduled as soon as possible.

use std::{mem, time::Duration};

use tokio::time::Instant;

use super::{
    Permission, base,
    content::{Content, ForgeRepository},
    head::HeadVerdict,
    merging::{self, MergeAttempt},
};
use crate::{
    base::error::{Class, Error},
    forge::{Forge, Merge, Mergeable, Poll, Pull, PullState, Queue, Readiness, Words},
};

/// The intervals and the time limit of the polls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollSchedule {
    /// The first pause; each further one is half as long again.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
    /// The time limit, counted from the first poll. The last poll is at its end.
    pub limit: Duration,
    /// The maximum time for which a pull request may be not mergeable on a forge that reports a conflict
    /// and an unfinished check in the same way.
    pub unclear: Duration,
}

impl PollSchedule {
    /// The pauses of the documentation.
    pub(crate) fn until(limit: Duration) -> Self {
        Self {
            first: Duration::from_secs(1),
            most: Duration::from_secs(15),
            limit,
            unclear: Duration::from_secs(120),
        }
    }
}

/// How the merge of a pull request is scheduled.
#[derive(Clone, Copy)]
pub(crate) struct MergeSchedule<'a> {
    /// The contexts that must pass before.
    pub gates: &'a [String],
    /// The permission for the merge.
    pub permission: Permission<'a>,
}

/// The awaited pull request.
#[derive(Clone, Copy)]
pub(crate) struct WaitTarget<'a> {
    /// The pull request's number.
    pub number: u64,
    /// The intervals and the time limit.
    pub pace: PollSchedule,
    /// How its merge is scheduled; `None` if it is not scheduled.
    pub schedule: Option<MergeSchedule<'a>>,
    /// Receives progress messages.
    pub report: &'a dyn Fn(&str),
}

#[derive(Debug, Clone)]
pub(crate) enum WaitOutcome {
    /// It is merged, by this commit if known.
    Merged(Box<Pull>, Option<String>),
    /// It was closed and not merged.
    Closed(Box<Pull>),
    /// It is open and cannot be merged, for this reason.
    Stuck(Box<Pull>, MergeObstacle),
    /// It is open and was removed from the merge queue of its base, for this reason if the forge
    /// gives one.
    Removed(Box<Pull>, Option<String>),
    /// It must not be merged, for the reason in the error; a scheduled merge was canceled.
    Refused(Error),
    /// The time limit passed.
    OutOfTime(TimeoutState),
    /// The pull request does not exist.
    Absent,
}

/// The obstacle to the merge of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MergeObstacle {
    /// It conflicts with its base, in these files if they can be determined.
    Conflict(Vec<String>),
    /// The forge did not report it as mergeable in time, and no file was changed on both sides.
    Unchecked,
}

/// The state at the end of the time limit.
#[derive(Debug, Clone)]
pub(crate) struct TimeoutState {
    /// Whether the forge responded to any poll.
    pub answered: bool,
    /// Whether the forge was still checking for conflicts.
    pub checks: bool,
    /// The forge's reason for which the pull request cannot be merged yet.
    pub merge_delay: Option<String>,
    /// The error of the last poll.
    pub trouble: Option<Error>,
}

/// The minimum timeout of a poll.
const POLL_TIMEOUT: Duration = Duration::from_secs(15);

/// The time between two requests for held workflow runs.
const HELD_INTERVAL: Duration = Duration::from_secs(60);

/// A wait for a pull request.
#[derive(Default)]
pub(crate) struct Waiting {
    /// The end of the time limit.
    end: Option<Instant>,
    pause: Option<Duration>,
    /// Whether the pull request was read and is not examined yet.
    unexamined: bool,
    etag: Option<String>,
    pull: Option<Box<Pull>>,
    trouble: Option<Error>,
    /// The head with a scheduled merge.
    scheduled: Option<String>,
    reported: Option<String>,
    /// The head that was verified.
    verified: Option<String>,
    /// The head that is reported as not mergeable, and the time of the first report.
    unclear: Option<(String, Instant)>,
    /// Whether the base has no merge queue.
    unqueued: bool,
    /// The head that was in the merge queue.
    queued: Option<String>,
    /// The outdated head that was reported.
    outdated_head: Option<String>,
    /// The head whose held workflow runs were requested, and the time of the next request; `None` if they were
    /// reported, or cannot be read.
    held: Option<(String, Option<Instant>)>,
}

impl Waiting {
    /// The pull request as it was last read.
    pub(crate) fn pull(&self) -> Option<&Pull> {
        self.pull.as_deref()
    }

    /// Polls until a response arrives; an outcome ends the wait.
    pub(crate) async fn read(
        &mut self,
        repository: &ForgeRepository,
        watch: &WaitTarget<'_>,
    ) -> Result<Option<WaitOutcome>, Error> {
        loop {
            if let Some(outcome) = self.poll_in_time(repository, watch).await? {
                return Ok(Some(outcome));
            }
            if self.pull.is_some() {
                self.unexamined = true;
                return Ok(None);
            }
            if !self.pause(watch).await {
                return Ok(Some(self.late()));
            }
        }
    }

    /// Polls until it is merged or closed, or the time is over.
    pub(crate) async fn until_merged(
        &mut self,
        repository: &ForgeRepository,
        watch: &WaitTarget<'_>,
    ) -> Result<WaitOutcome, Error> {
        loop {
            if !mem::take(&mut self.unexamined)
                && let Some(outcome) = self.poll_in_time(repository, watch).await?
            {
                return Ok(outcome);
            }
            if let Some(decided) = self.decided() {
                self.report_unchecked(watch.report);
                return Ok(decided);
            }
            match self.is_stuck(repository, watch).await {
                Ok(Some(waited)) => return Ok(waited),
                Ok(None) => {}
                // The next poll may succeed.
                Err(error) if error.class == Class::Unavailable => self.trouble = Some(error),
                Err(error) => return Err(error),
            }
            self.report_behind(watch.report);
            self.report_held(&repository.forge, watch.report).await;
            match self.follow(repository, watch).await {
                Next::Wait => {}
                Next::Poll => continue,
                Next::Stop(waited) => return Ok(waited),
            }
            match self.schedule(repository, watch).await {
                Next::Wait => {}
                Next::Poll => continue,
                Next::Stop(waited) => return Ok(waited),
            }
            if !self.pause(watch).await {
                return Ok(self.late());
            }
        }
    }

    /// Polls once within the time limit; an outcome ends the wait.
    async fn poll_in_time(
        &mut self,
        repository: &ForgeRepository,
        watch: &WaitTarget<'_>,
    ) -> Result<Option<WaitOutcome>, Error> {
        let now = Instant::now();
        let end = *self.end.get_or_insert(now + watch.pace.limit);
        let poll = self.poll(&repository.forge, watch.number);
        let Ok(exists) = tokio::time::timeout_at(end.max(now + POLL_TIMEOUT), poll).await else {
            return Ok(Some(self.late()));
        };
        if !exists? {
            return Ok(Some(WaitOutcome::Absent));
        }
        // Polls before the end of the rate limit would only prolong it.
        Ok(self.is_limited().then(|| self.late()))
    }

    /// Pauses before the next poll; `false` if the time is over.
    async fn pause(&mut self, watch: &WaitTarget<'_>) -> bool {
        let end = self.end.unwrap_or_else(Instant::now);
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let pause = self.pause.unwrap_or(watch.pace.first);
        tokio::time::sleep(pause.min(left)).await;
        self.pause = Some((pause * 3 / 2).min(watch.pace.most));
        true
    }

    /// Polls once; `false` if the pull request does not exist. A retryable error is stored for the
    /// timeout.
    async fn poll(&mut self, forge: &Forge, number: u64) -> Result<bool, Error> {
        self.trouble = None;
        match forge.poll(number, self.etag.as_deref()).await {
            Ok(Poll::Changed(pull, etag)) => (self.pull, self.etag) = (Some(pull), etag),
            Ok(Poll::Unchanged) => {}
            Ok(Poll::Absent) if self.pull.is_none() => return Ok(false),
            Ok(Poll::Absent) => {
                let name = forge.words().name(number);
                let what = format!("{}: reading {name}", forge.name());
                self.trouble = Some(Error::unavailable(what, "it no longer exists"));
            }
            Err(error) if matches!(error.class, Class::Unavailable | Class::Limited) => {
                self.trouble = Some(error);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Whether the forge limits requests for longer than there is time.
    fn is_limited(&self) -> bool {
        let kind = self.trouble.as_ref().map(|error| error.class);
        kind == Some(Class::Limited)
    }

    fn decided(&self) -> Option<WaitOutcome> {
        let pull = self.pull.clone()?;
        match pull.state.clone() {
            PullState::Merged(commit) => Some(WaitOutcome::Merged(pull, commit)),
            PullState::Closed => Some(WaitOutcome::Closed(pull)),
            PullState::Open => None,
        }
    }

    /// Reports a merge at a head that was not verified.
    fn report_unchecked(&self, report: &dyn Fn(&str)) {
        let (Some(pull), Some(verified)) = (&self.pull, &self.verified) else {
            return;
        };
        if matches!(pull.state, PullState::Merged(_)) && pull.head_commit != *verified {
            report(&format!(
                "it was merged at {}, which was pushed after repin had checked {verified}; review the commits in between",
                pull.head_commit
            ));
        }
    }

    fn late(&self) -> WaitOutcome {
        WaitOutcome::OutOfTime(TimeoutState {
            answered: self.pull.is_some(),
            checks: matches!(&self.pull, Some(pull) if pull.mergeable == Mergeable::Checking),
            merge_delay: self.pull().and_then(|pull| pull.merge_delay.clone()),
            trouble: self.trouble.clone(),
        })
    }

    /// The outcome if the pull request cannot be merged.
    async fn is_stuck(
        &mut self,
        repository: &ForgeRepository,
        watch: &WaitTarget<'_>,
    ) -> Result<Option<WaitOutcome>, Error> {
        let Some((pull, stuck)) = self.stuck(&repository.content, watch.pace.unclear).await? else {
            return Ok(None);
        };
        // A person may resolve the conflict later, and a scheduled merge would then merge the head
        // that caused it. If the head is unknown, a stated conflict is examined at once.
        let refusal = refusal(repository, &pull, watch).await;
        if pull.mergeable == Mergeable::Conflict {
            self.unclear = None;
        }
        Ok(Some(match refusal? {
            Some(error) => WaitOutcome::Refused(error),
            None => WaitOutcome::Stuck(pull, stuck),
        }))
    }

    /// The obstacle to the merge: a stated conflict that the files confirm, or a head that was reported as
    /// not mergeable for the duration `unclear`.
    async fn stuck(
        &mut self,
        content: &Content,
        unclear: Duration,
    ) -> Result<Option<(Box<Pull>, MergeObstacle)>, Error> {
        let Some(pull) = self.pull.clone() else {
            return Ok(None);
        };
        let is_stated = match pull.mergeable {
            Mergeable::Conflict => true,
            Mergeable::ConflictOrChecking => false,
            Mergeable::Yes | Mergeable::Behind | Mergeable::Checking | Mergeable::Unknown => {
                self.unclear = None;
                return Ok(None);
            }
        };
        let now = Instant::now();
        let known = self.unclear.as_ref();
        let since = known.and_then(|(head, since)| (*head == pull.head_commit).then_some(*since));
        let is_over = now.duration_since(since.unwrap_or(now)) >= unclear;
        let unclear = Some((pull.head_commit.clone(), since.unwrap_or(now)));
        if !is_over && (!is_stated || since.is_some()) {
            self.unclear = unclear;
            return Ok(None);
        }
        let files = base::changed_on_both_sides(content, &pull).await?;
        self.unclear = unclear;
        // A stated conflict may be that of an earlier head.
        if files.is_empty() && !is_over {
            return Ok(None);
        }
        let stuck = if files.is_empty() && !is_stated {
            MergeObstacle::Unchecked
        } else {
            MergeObstacle::Conflict(files)
        };
        Ok(Some((pull, stuck)))
    }

    /// Reports once that the branch must be updated.
    fn report_behind(&mut self, report: &dyn Fn(&str)) {
        let Some(pull) = self.pull.as_ref() else {
            return;
        };
        if pull.mergeable != Mergeable::Behind
            || self.outdated_head.as_ref() == Some(&pull.head_commit)
        {
            return;
        }
        report(&format!(
            "its branch is behind {}, which requires branches to be up to date: run the promotion or rollback again, or update the branch",
            pull.base
        ));
        self.outdated_head = Some(pull.head_commit.clone());
    }

    /// Reports once for each head that its workflow runs start only after an approval. They exist a few seconds after
    /// the pull request, so they are requested again.
    async fn report_held(&mut self, forge: &Forge, report: &dyn Fn(&str)) {
        let Some(pull) = self.pull.as_ref() else {
            return;
        };
        let now = Instant::now();
        if let Some((head, next)) = &self.held
            && *head == pull.head_commit
            && next.is_none_or(|next| now < next)
        {
            return;
        }
        let next = match forge.runs_awaiting_approval(&pull.head_commit).await {
            Ok(Some(runs)) if runs.is_empty() => Some(now + HELD_INTERVAL),
            Ok(Some(_)) => {
                report(&format!(
                    "its workflow runs wait for approval: a user with write access must approve them ({})",
                    pull.url
                ));
                None
            }
            Ok(None) => None,
            // Only the report depends on it.
            Err(_) => Some(now + HELD_INTERVAL),
        };
        self.held = Some((pull.head_commit.clone(), next));
    }

    /// Follows the pull request through the merge queue of its base, if there is one.
    async fn follow(&mut self, repository: &ForgeRepository, watch: &WaitTarget<'_>) -> Next {
        let Some(pull) = self.pull.clone().filter(|_| !self.unqueued) else {
            return Next::Wait;
        };
        match repository.forge.queue(&pull).await {
            Ok(Queue::Missing) => self.unqueued = true,
            Ok(Queue::Unscheduled) if self.queued.as_ref() == Some(&pull.head_commit) => {
                return self.removed(repository, pull, None, watch).await;
            }
            Ok(Queue::Outside | Queue::Unscheduled) => {}
            Ok(Queue::Waiting(position, state)) => {
                let queue = Words::for_page(&pull.url).queue;
                self.queued = Some(pull.head_commit);
                self.report(watch, in_queue(queue, position, &state));
            }
            Ok(Queue::Removed(reason)) => {
                return self.removed(repository, pull, reason, watch).await;
            }
            // Without permission to read the queue, the polls show the result.
            Err(error) => self.trouble = Some(error),
        }
        Next::Wait
    }

    /// Handles a pull request that left the queue: it was removed only if it is still open, not if the
    /// queue merged it.
    async fn removed(
        &mut self,
        repository: &ForgeRepository,
        pull: Box<Pull>,
        reason: Option<String>,
        watch: &WaitTarget<'_>,
    ) -> Next {
        match repository.forge.pull(pull.number).await {
            Ok(Some(now))
                if now.state == PullState::Open && now.head_commit == pull.head_commit =>
            {
                // Any push removes it from the queue.
                match refusal(repository, &pull, watch).await {
                    Ok(Some(error)) => Next::Stop(WaitOutcome::Refused(error)),
                    Ok(None) => Next::Stop(WaitOutcome::Removed(pull, reason)),
                    Err(error) => {
                        self.trouble = Some(error);
                        Next::Wait
                    }
                }
            }
            Ok(now) => {
                (self.pull, self.etag) = (now.map(Box::new), None);
                Next::Poll
            }
            Err(error) => {
                self.trouble = Some(error);
                Next::Wait
            }
        }
    }

    /// Reports a message that differs from the last one.
    fn report(&mut self, watch: &WaitTarget<'_>, message: String) {
        if self.reported.as_ref() != Some(&message) {
            (watch.report)(&message);
            self.reported = Some(message);
        }
    }

    /// Schedules the merge, unless it is scheduled at this head.
    async fn schedule(&mut self, repository: &ForgeRepository, watch: &WaitTarget<'_>) -> Next {
        let (Some(schedule), Some(pull)) = (watch.schedule, &self.pull) else {
            return Next::Wait;
        };
        if self.scheduled.as_ref() == Some(&pull.head_commit) || pull.readiness == Readiness::Draft
        {
            return Next::Wait;
        }
        if self.queued.as_ref() == Some(&pull.head_commit) {
            return self.verify_queued(repository, schedule).await;
        }
        // The files of a commit never change, so a head is verified once.
        let attempt = if self.verified.as_ref() == Some(&pull.head_commit) {
            let merge = merging::enable_auto_merge(&repository.forge, pull, schedule.gates).await;
            merge.map(MergeAttempt::Merge)
        } else {
            merging::schedule(repository, pull, schedule.gates, &schedule.permission).await
        };
        if let Ok(MergeAttempt::Merge(merge)) = &attempt {
            self.verified = Some(pull.head_commit.clone());
            self.scheduled = merge.is_scheduled().then(|| pull.head_commit.clone());
            if matches!(merge, Merge::Queued(..)) {
                self.queued.clone_from(&self.scheduled);
            }
        }
        let message = match attempt {
            Ok(MergeAttempt::Lagging) => return Next::Wait,
            Ok(MergeAttempt::Refused(error)) => return Next::Stop(WaitOutcome::Refused(error)),
            Ok(MergeAttempt::Merge(Merge::Merged)) => return Next::Poll,
            Ok(MergeAttempt::Merge(Merge::Scheduled)) => "its merge is scheduled".to_owned(),
            Ok(MergeAttempt::Merge(Merge::Held(reason))) => {
                format!(
                    "its merge is scheduled, and the forge checks it when a status or a review arrives; now it refuses: {reason}"
                )
            }
            Ok(MergeAttempt::Merge(Merge::Queued(position, state))) => {
                in_queue(repository.forge.words().queue, position, &state)
            }
            Ok(MergeAttempt::Merge(
                Merge::Later(reason)
                | Merge::Clean(reason)
                | Merge::Unscheduled(reason)
                | Merge::Refused(reason),
            )) => {
                format!("its merge is not scheduled yet: {reason}")
            }
            // The merge may still happen.
            Err(error) => format!("its merge cannot be scheduled: {error}"),
        };
        self.report(watch, message);
        Next::Wait
    }
}

impl Waiting {
    /// Verifies the head of a pull request that is in the merge queue. It does not enter the queue again, which
    /// would override a user or a check that removes it.
    async fn verify_queued(
        &mut self,
        repository: &ForgeRepository,
        schedule: MergeSchedule<'_>,
    ) -> Next {
        let Some(pull) = &self.pull else {
            return Next::Wait;
        };
        match schedule.permission.verify(&repository.content, pull).await {
            Ok(HeadVerdict::Verified) => {
                self.verified = Some(pull.head_commit.clone());
                self.scheduled.clone_from(&self.verified);
            }
            Ok(HeadVerdict::Lagging) => {}
            Ok(HeadVerdict::Refused(error)) => {
                let error = merging::disable_auto_merge(&repository.forge, pull, error).await;
                return Next::Stop(WaitOutcome::Refused(error));
            }
            // The next poll verifies it again.
            Err(error) => self.trouble = Some(error),
        }
        Next::Wait
    }
}

/// The error of a pull request that must not be merged, if merges are scheduled.
async fn refusal(
    repository: &ForgeRepository,
    pull: &Pull,
    watch: &WaitTarget<'_>,
) -> Result<Option<Error>, Error> {
    match watch.schedule {
        Some(schedule) => merging::refusal(repository, pull, &schedule.permission).await,
        None => Ok(None),
    }
}

fn in_queue(queue: &str, position: u64, state: &str) -> String {
    format!("it is in the {queue}, at position {position} ({state})")
}

/// The next step after reading the merge queue, or after an attempt to schedule the merge.
enum Next {
    Wait,
    /// The state changed, so it is polled at once.
    Poll,
    Stop(WaitOutcome),
}
