//! Waits until a pull request is merged or closed: polls it, cheaply where nothing is new.
//!
//! Nothing is dispatched here. If the merge of repin's pull request could not be scheduled when it
//! was opened, it is scheduled as soon as possible.

use std::{mem, time::Duration};

use tokio::time::Instant;

use super::{
    Permission, conflicts,
    merging::{self, MergeAttempt},
};
use crate::{
    error::{Class, Error},
    forge::{Branches, Forge, Merge, Mergeable, Poll, Pull, PullState, Queue, State},
};

/// The intervals and the time limit of the polls.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The first pause; each further one is half as long again.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
    /// When it is given up, from the first look on. There is always a last look when it is over.
    pub limit: Duration,
    /// How long a pull request may be not mergeable on a forge that reports a conflict and an
    /// unfinished check the same way.
    pub unclear: Duration,
}

impl Pace {
    /// The pauses of the documentation.
    pub fn until(limit: Duration) -> Self {
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
pub struct MergeSchedule<'a> {
    /// Contexts that must pass before.
    pub gates: &'a [String],
    /// What permits the merge.
    pub permission: Permission<'a>,
}

/// The awaited pull request.
#[derive(Clone, Copy)]
pub struct WaitTarget<'a> {
    /// The pull request's number.
    pub number: u64,
    /// How often, and how long.
    pub pace: Pace,
    /// How its merge is scheduled if it is not yet; `None`: it is not scheduled.
    pub arm: Option<MergeSchedule<'a>>,
    /// Receives news for people.
    pub tell: &'a dyn Fn(&str),
}

/// The outcome.
#[derive(Debug, Clone)]
pub enum WaitOutcome {
    /// It is merged, by this commit if known.
    Merged(Box<Pull>, Option<String>),
    /// It was closed and not merged.
    Closed(Box<Pull>),
    /// It is open and cannot be merged as it is: why, and the files that both sides changed.
    Stuck(Box<Pull>, MergeObstacle),
    /// It is open and was removed from the merge queue of its base, for this reason if the forge
    /// gives one.
    Removed(Box<Pull>, Option<String>),
    /// It must not be merged, for the reason in the error; a scheduled merge was canceled.
    Refused(Error),
    /// The time is over.
    OutOfTime(TimeoutState),
    /// There is no such pull request.
    Absent,
}

/// Why a pull request cannot be merged as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeObstacle {
    /// It is in conflict with its base, in these files if they can be determined.
    Conflict(Vec<String>),
    /// The forge has not reported it as mergeable for too long, and no file was changed on both
    /// sides.
    Unchecked,
}

/// How things stood when the time was over.
#[derive(Debug, Clone)]
pub struct TimeoutState {
    /// Whether the forge answered at all.
    pub answered: bool,
    /// The error of the last poll.
    pub trouble: Option<Error>,
}

/// The shortest time that a look may take before it is given up, whatever is left.
const LOOK: Duration = Duration::from_secs(15);

/// A wait for a pull request.
#[derive(Default)]
pub struct Waiting {
    /// When it is given up.
    end: Option<Instant>,
    pause: Option<Duration>,
    /// Whether the pull request was read and not examined yet.
    unexamined: bool,
    etag: Option<String>,
    pull: Option<Box<Pull>>,
    trouble: Option<Error>,
    /// The head whose merge is scheduled.
    armed: Option<String>,
    reported: Option<String>,
    /// The head that was verified.
    verified: Option<String>,
    /// The head that reads as not mergeable, and since when.
    unclear: Option<(String, Instant)>,
    /// Whether the base has no merge queue.
    unqueued: bool,
    /// The head that was reported to be behind its base.
    behind: Option<String>,
}

impl Waiting {
    /// The pull request as it was last read.
    pub fn pull(&self) -> Option<&Pull> {
        self.pull.as_deref()
    }

    /// Polls until the pull request can be read; an outcome ends the wait.
    pub async fn read(
        &mut self,
        forge: &dyn Forge,
        watch: &WaitTarget<'_>,
    ) -> Result<Option<WaitOutcome>, Error> {
        loop {
            if let Some(outcome) = self.look_in_time(forge, watch).await? {
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
    pub async fn until_merged(
        &mut self,
        forge: &dyn Forge,
        watch: &WaitTarget<'_>,
    ) -> Result<WaitOutcome, Error> {
        loop {
            if !mem::take(&mut self.unexamined)
                && let Some(outcome) = self.look_in_time(forge, watch).await?
            {
                return Ok(outcome);
            }
            if let Some(decided) = self.decided() {
                self.report_unchecked(watch.tell);
                return Ok(decided);
            }
            match self.is_stuck(forge, watch).await {
                Ok(Some(waited)) => return Ok(waited),
                Ok(None) => {}
                // As with a look that failed, the next one may do better.
                Err(error) if error.class == Class::Unavailable => self.trouble = Some(error),
                Err(error) => return Err(error),
            }
            self.report_behind(watch.tell);
            match self.follow(forge, watch).await {
                Next::Wait => {}
                Next::Look => continue,
                Next::Stop(waited) => return Ok(waited),
            }
            match self.arm(forge, watch).await {
                Next::Wait => {}
                Next::Look => continue,
                Next::Stop(waited) => return Ok(waited),
            }
            if !self.pause(watch).await {
                return Ok(self.late());
            }
        }
    }

    /// Polls once within the time limit; an outcome ends the wait.
    async fn look_in_time(
        &mut self,
        forge: &dyn Forge,
        watch: &WaitTarget<'_>,
    ) -> Result<Option<WaitOutcome>, Error> {
        let now = Instant::now();
        let end = *self.end.get_or_insert(now + watch.pace.limit);
        let look = self.look(forge, watch.number);
        let Ok(there) = tokio::time::timeout_at(end.max(now + LOOK), look).await else {
            return Ok(Some(self.late()));
        };
        if !there? {
            return Ok(Some(WaitOutcome::Absent));
        }
        // Polling again before the rate limit ends would only prolong it.
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

    /// Polls once; `false`: the pull request does not exist. A retryable error is kept for the
    /// timeout.
    async fn look(&mut self, forge: &dyn Forge, number: u64) -> Result<bool, Error> {
        self.trouble = None;
        match forge.poll(number, self.etag.as_deref()).await {
            Ok(Poll::Now(pull, etag)) => (self.pull, self.etag) = (Some(pull), etag),
            Ok(Poll::Same) => {}
            Ok(Poll::Absent) if self.pull.is_none() => return Ok(false),
            Ok(Poll::Absent) => {
                let what = format!("{}: reading pull request #{number}", forge.name());
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
    fn report_unchecked(&self, tell: &dyn Fn(&str)) {
        let (Some(pull), Some(verified)) = (&self.pull, &self.verified) else {
            return;
        };
        if matches!(pull.state, PullState::Merged(_)) && pull.head_commit != *verified {
            tell(&format!(
                "it was merged at {}, which was pushed after repin had checked {verified}; review the commits in between",
                pull.head_commit
            ));
        }
    }

    fn late(&self) -> WaitOutcome {
        WaitOutcome::OutOfTime(TimeoutState {
            answered: self.pull.is_some(),
            trouble: self.trouble.clone(),
        })
    }

    /// How the waiting ends if it cannot be merged as it is.
    async fn is_stuck(
        &mut self,
        forge: &dyn Forge,
        watch: &WaitTarget<'_>,
    ) -> Result<Option<WaitOutcome>, Error> {
        let Some((pull, stuck)) = self.stuck(forge, watch.pace.unclear).await? else {
            return Ok(None);
        };
        // A person may resolve the conflict later, and a scheduled merge would then merge the head that
        // caused it. If the head cannot be read, a stated conflict is examined again at once.
        let refusal = refusal(forge, &pull, watch).await;
        if pull.mergeable == Mergeable::Conflict {
            self.unclear = None;
        }
        Ok(Some(match refusal? {
            Some(error) => WaitOutcome::Refused(error),
            None => WaitOutcome::Stuck(pull, stuck),
        }))
    }

    /// Whether it cannot be merged as it is: at once where the forge states a conflict and files say
    /// the same, else once it has read so for `unclear` at the same head.
    async fn stuck(
        &mut self,
        forge: &dyn Branches,
        unclear: Duration,
    ) -> Result<Option<(Box<Pull>, MergeObstacle)>, Error> {
        let Some(pull) = self.pull.clone() else {
            return Ok(None);
        };
        let stated = match pull.mergeable {
            Mergeable::Conflict => true,
            Mergeable::ConflictOrChecking => false,
            Mergeable::Yes | Mergeable::Behind | Mergeable::Unknown => {
                self.unclear = None;
                return Ok(None);
            }
        };
        let now = Instant::now();
        let known = self.unclear.as_ref();
        let since = known.and_then(|(head, since)| (*head == pull.head_commit).then_some(*since));
        let over = now.duration_since(since.unwrap_or(now)) >= unclear;
        let unclear = Some((pull.head_commit.clone(), since.unwrap_or(now)));
        if !over && (!stated || since.is_some()) {
            self.unclear = unclear;
            return Ok(None);
        }
        let files = conflicts::changed_on_both_sides(forge, &pull).await?;
        self.unclear = unclear;
        // What a forge states may be what it found at an earlier head.
        if files.is_empty() && !over {
            return Ok(None);
        }
        let stuck = if files.is_empty() && !stated {
            MergeObstacle::Unchecked
        } else {
            MergeObstacle::Conflict(files)
        };
        Ok(Some((pull, stuck)))
    }

    /// Says once that the branch must be brought up to date, which no waiting does.
    fn report_behind(&mut self, tell: &dyn Fn(&str)) {
        let Some(pull) = self.pull.as_ref() else {
            return;
        };
        if pull.mergeable != Mergeable::Behind || self.behind.as_ref() == Some(&pull.head_commit) {
            return;
        }
        tell(&format!(
            "its branch is behind {}, which requires branches to be up to date: run the promote or rollback again, or update the branch",
            pull.base
        ));
        self.behind = Some(pull.head_commit.clone());
    }

    /// Follows the pull request through the merge queue of its base, if there is one.
    async fn follow(&mut self, forge: &dyn Forge, watch: &WaitTarget<'_>) -> Next {
        let Some(pull) = self.pull.clone().filter(|_| !self.unqueued) else {
            return Next::Wait;
        };
        match forge.queue(&pull).await {
            Ok(Queue::Missing) => self.unqueued = true,
            Ok(Queue::Outside) => {}
            Ok(Queue::Waiting(position, state)) => self.tell(watch, in_queue(position, &state)),
            Ok(Queue::Removed(reason)) => return self.removed(forge, pull, reason, watch).await,
            // Who may not read the queue sees what comes of it.
            Err(error) => self.trouble = Some(error),
        }
        Next::Wait
    }

    /// A pull request that the queue merged has left it, too: only one that is still open when it
    /// is read again was removed.
    async fn removed(
        &mut self,
        forge: &dyn Forge,
        pull: Box<Pull>,
        reason: Option<String>,
        watch: &WaitTarget<'_>,
    ) -> Next {
        match forge.pull(pull.number).await {
            Ok(Some(now))
                if now.state == PullState::Open && now.head_commit == pull.head_commit =>
            {
                // A push takes it out of the queue, whoever pushed.
                match refusal(forge, &pull, watch).await {
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
                Next::Look
            }
            Err(error) => {
                self.trouble = Some(error);
                Next::Wait
            }
        }
    }

    /// Reports news.
    fn tell(&mut self, watch: &WaitTarget<'_>, message: String) {
        if self.reported.as_ref() != Some(&message) {
            (watch.tell)(&message);
            self.reported = Some(message);
        }
    }

    /// Schedules the merge if that is still to be done.
    async fn arm(&mut self, forge: &dyn Forge, watch: &WaitTarget<'_>) -> Next {
        let (Some(arm), Some(pull)) = (watch.arm, &self.pull) else {
            return Next::Wait;
        };
        if self.armed.as_ref() == Some(&pull.head_commit) || pull.draft == State::Draft {
            return Next::Wait;
        }
        // The files of a commit never change.
        let armed = if self.verified.as_ref() == Some(&pull.head_commit) {
            let merge = merging::arm(forge, pull, arm.gates).await;
            merge.map(MergeAttempt::Merge)
        } else {
            merging::schedule(forge, pull, arm.gates, &arm.permission).await
        };
        if matches!(armed, Ok(MergeAttempt::Merge(_))) {
            self.verified = Some(pull.head_commit.clone());
        }
        let message = match armed {
            Ok(MergeAttempt::Lagging) => return Next::Wait,
            Ok(MergeAttempt::Refused(error)) => return Next::Stop(WaitOutcome::Refused(error)),
            Ok(MergeAttempt::Merge(Merge::Merged)) => {
                self.armed = Some(pull.head_commit.clone());
                return Next::Look;
            }
            Ok(MergeAttempt::Merge(Merge::Scheduled)) => {
                self.armed = Some(pull.head_commit.clone());
                "its merge is scheduled".to_owned()
            }
            Ok(MergeAttempt::Merge(Merge::Held(reason))) => {
                self.armed = Some(pull.head_commit.clone());
                format!(
                    "its merge is scheduled, and the forge checks it when a status or a review arrives; now it refuses: {reason}"
                )
            }
            Ok(MergeAttempt::Merge(Merge::Queued(position, state))) => {
                self.armed = Some(pull.head_commit.clone());
                in_queue(position, &state)
            }
            Ok(MergeAttempt::Merge(
                Merge::Later(why)
                | Merge::Clean(why)
                | Merge::Unscheduled(why)
                | Merge::Refused(why),
            )) => {
                format!("its merge is not scheduled yet: {why}")
            }
            // The merge may still happen, whoever performs it.
            Err(error) => format!("its merge cannot be scheduled: {error}"),
        };
        self.tell(watch, message);
        Next::Wait
    }
}

/// The error of a pull request that must not be merged, if merges are scheduled.
async fn refusal(
    forge: &dyn Forge,
    pull: &Pull,
    watch: &WaitTarget<'_>,
) -> Result<Option<Error>, Error> {
    match watch.arm {
        Some(arm) => merging::refusal(forge, pull, &arm.permission).await,
        None => Ok(None),
    }
}

fn in_queue(position: u64, state: &str) -> String {
    format!("it is in the merge queue, at position {position} ({state})")
}

/// The next step after reading the merge queue, or after an attempt to schedule the merge.
enum Next {
    Wait,
    /// Something happened: look again at once.
    Look,
    Stop(WaitOutcome),
}
