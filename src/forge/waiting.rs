//! Waiting until a pull request is merged or closed: looked at again and again, cheaply where
//! nothing is new.
//!
//! Nothing is dispatched here. A pull request of ours whose merge could not be scheduled when it
//! was opened is scheduled as soon as that can be.

use std::time::Duration;

use tokio::time::Instant;

use super::{Error, ErrorKind, Forge, Merge, Poll, Pull, PullState, State, merging};

/// How often is looked, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The first pause; each further one is half as long again.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
    /// When it is given up, from the first look on. There is always a last look when it is over.
    pub limit: Duration,
}

impl Pace {
    /// The pauses of the documentation.
    pub fn until(limit: Duration) -> Self {
        Self {
            first: Duration::from_secs(1),
            most: Duration::from_secs(15),
            limit,
        }
    }
}

/// What is waited for.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// The pull request's number.
    pub number: u64,
    /// How often, and how long.
    pub pace: Pace,
    /// Contexts that have to pass before it is merged, if its merge is to be scheduled where it is
    /// not yet.
    pub arm: Option<&'a [String]>,
    /// Told what is new, for people.
    pub tell: &'a dyn Fn(&str),
}

/// What came of it.
#[derive(Debug, Clone)]
pub enum Waited {
    /// It is merged, by this commit where it is told.
    Merged(Box<Pull>, Option<String>),
    /// It was closed and not merged.
    Closed(Box<Pull>),
    /// Neither, and the time is over; what stood in the way of the last look.
    OutOfTime(Option<Error>),
    /// There is no such pull request.
    Absent,
}

/// The shortest time that a look may take before it is given up, whatever is left.
const LOOK: Duration = Duration::from_secs(15);

/// What is known so far.
#[derive(Default)]
struct Seen {
    etag: Option<String>,
    pull: Option<Box<Pull>>,
    trouble: Option<Error>,
    /// The head whose merge is scheduled.
    armed: Option<String>,
    told: Option<String>,
}

/// Looks until it is merged or closed, or the time is over.
pub async fn until_merged(forge: &dyn Forge, watch: &Watch<'_>) -> Result<Waited, Error> {
    let end = Instant::now() + watch.pace.limit;
    let (mut seen, mut pause) = (Seen::default(), watch.pace.first);
    loop {
        let latest = end.max(Instant::now() + LOOK);
        let Ok(there) = tokio::time::timeout_at(latest, seen.look(forge, watch.number)).await
        else {
            return Ok(Waited::OutOfTime(seen.trouble));
        };
        if !there? {
            return Ok(Waited::Absent);
        }
        if let Some(decided) = seen.decided() {
            return Ok(decided);
        }
        if seen.arm(forge, watch).await {
            continue;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Waited::OutOfTime(seen.trouble));
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 3 / 2).min(watch.pace.most);
    }
}

impl Seen {
    /// Looks once; `false`: there is none. What may be better next time is kept for the end.
    async fn look(&mut self, forge: &dyn Forge, number: u64) -> Result<bool, Error> {
        self.trouble = None;
        match forge.poll(number, self.etag.as_deref()).await {
            Ok(Poll::Now(pull, etag)) => (self.pull, self.etag) = (Some(pull), etag),
            Ok(Poll::Same) => {}
            Ok(Poll::Absent) if self.pull.is_none() => return Ok(false),
            Ok(Poll::Absent) => {
                let what = format!("{}: looking at pull request #{number}", forge.name());
                self.trouble = Some(Error::unavailable(what, "it is not there any more"));
            }
            Err(error) if error.kind == ErrorKind::Unavailable => self.trouble = Some(error),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn decided(&self) -> Option<Waited> {
        let pull = self.pull.clone()?;
        match pull.state.clone() {
            PullState::Merged(commit) => Some(Waited::Merged(pull, commit)),
            PullState::Closed => Some(Waited::Closed(pull)),
            PullState::Open => None,
        }
    }

    /// Schedules the merge if that is still to be done; `true`: it was merged by that, so look
    /// again.
    async fn arm(&mut self, forge: &dyn Forge, watch: &Watch<'_>) -> bool {
        let (Some(gates), Some(pull)) = (watch.arm, &self.pull) else {
            return false;
        };
        if self.armed.as_ref() == Some(&pull.head_commit) || pull.draft == State::Draft || !pull.own
        {
            return false;
        }
        let said = match merging::arm_ours(forge, pull, gates).await {
            Ok(None) => return false,
            Ok(Some(Merge::Merged)) => {
                self.armed = Some(pull.head_commit.clone());
                return true;
            }
            Ok(Some(Merge::Scheduled)) => {
                self.armed = Some(pull.head_commit.clone());
                "its merge is scheduled".to_owned()
            }
            Ok(Some(Merge::Later(why) | Merge::Clean(why) | Merge::Refused(why))) => {
                format!("its merge is not scheduled yet: {why}")
            }
            // What it waits for may come all the same, by whoever merges it.
            Err(error) => format!("its merge can't be scheduled: {error}"),
        };
        if self.told.as_ref() != Some(&said) {
            (watch.tell)(&said);
            self.told = Some(said);
        }
        false
    }
}
