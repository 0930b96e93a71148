//! GitHub's limits (the documentation, "Rate limits"): a budget an hour for REST and one for GraphQL,
//! points a minute, and contents a minute and an hour.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use serde_json::json;

use super::super::{Asked, Reply, error};

/// The limits; without any limit by default.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Requests an hour, of REST and of GraphQL each.
    pub hourly: u64,
    /// Points a minute for REST, where a read has one and a write five.
    pub points: u64,
    /// The same for GraphQL.
    pub graphql_points: u64,
    /// Writes that make content, a minute and an hour.
    pub contents: (u64, u64),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hourly: u64::MAX,
            points: u64::MAX,
            graphql_points: u64::MAX,
            contents: (u64::MAX, u64::MAX),
        }
    }
}

impl Limits {
    pub fn github() -> Self {
        Self {
            hourly: 5000,
            points: 900,
            graphql_points: 2000,
            contents: (80, 500),
        }
    }
}

/// The used parts of the limits.
#[derive(Default)]
pub struct State {
    core: Window,
    graphql: Window,
    points: Window,
    graphql_points: Window,
    contents_minute: Window,
    contents_hour: Window,
}

/// The use within a period.
#[derive(Default)]
struct Window(VecDeque<(SystemTime, u64)>);

impl Window {
    fn used(&mut self, now: SystemTime, length: Duration) -> u64 {
        while self.0.front().is_some_and(|(at, _)| *at + length <= now) {
            self.0.pop_front();
        }
        self.0.iter().map(|(_, cost)| cost).sum()
    }

    fn end(&self, now: SystemTime, length: Duration) -> SystemTime {
        self.0.front().map_or(now + length, |(at, _)| *at + length)
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

type Headers = Vec<(&'static str, String)>;

impl Limits {
    /// Charges a request; returns the refusal, or the headers of its response.
    pub(super) fn charge(
        &self,
        state: &mut State,
        asked: &Asked,
        write: bool,
        now: SystemTime,
    ) -> Result<Headers, Reply> {
        if self.hourly == u64::MAX {
            return Ok(Vec::new());
        }
        let graphql = asked.path.ends_with("/graphql");
        let cost = if write { 5 } else { 1 };
        let content = asked.method == "POST" && !graphql;
        let (budget, points, most) = if graphql {
            (
                &mut state.graphql,
                &mut state.graphql_points,
                self.graphql_points,
            )
        } else {
            (&mut state.core, &mut state.points, self.points)
        };
        let used = budget.used(now, HOUR);
        let reset = budget.end(now, HOUR);
        let reset = reset
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            + 1;
        let headers = |left: u64| {
            vec![
                ("x-ratelimit-limit", self.hourly.to_string()),
                ("x-ratelimit-remaining", left.to_string()),
                ("x-ratelimit-reset", reset.to_string()),
                (
                    "x-ratelimit-resource",
                    if graphql { "graphql" } else { "core" }.to_owned(),
                ),
            ]
        };
        let with = |reply: Reply, headers: Headers| {
            let add =
                |reply: Reply, (name, value): (&'static str, String)| reply.with(name, &value);
            headers.into_iter().fold(reply, add)
        };
        if used >= self.hourly {
            let message = "API rate limit exceeded for user ID 1.";
            let reply = if graphql {
                let wrong = json!({"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded for user ID 1."}]});
                Reply::json(200, wrong)
            } else {
                error(403, message)
            };
            return Err(with(reply, headers(0)));
        }
        let minute = points.used(now, MINUTE) + cost > most
            || content && state.contents_minute.used(now, MINUTE) >= self.contents.0;
        let hour = content && state.contents_hour.used(now, HOUR) >= self.contents.1;
        if minute || hour {
            let secondary = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
            let reply = error(403, secondary).with("retry-after", "60");
            return Err(with(reply, headers(self.hourly - used)));
        }
        budget.0.push_back((now, 1));
        points.0.push_back((now, cost));
        if content {
            state.contents_minute.0.push_back((now, 1));
            state.contents_hour.0.push_back((now, 1));
        }
        Ok(headers(self.hourly - used - 1))
    }
}
