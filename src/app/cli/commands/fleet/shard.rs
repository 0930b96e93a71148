//! The shard of a process, from `--shard` or from the environment of an engine.

use crate::{
    app::workflow::Environment,
    base::{
        error::{Errors, usage},
        http::Shard,
    },
};

/// The maximum number of shards. More would not be faster, because they share the limits of the token.
const MAX_SHARDS: u32 = 100_000;

/// The value of `--shard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShardChoice {
    /// From the environment of the job.
    Auto,
    Given(Shard),
}

pub(super) fn parse(text: &str) -> Result<ShardChoice, String> {
    if text == "auto" {
        return Ok(ShardChoice::Auto);
    }
    let (number, count) = text
        .split_once('/')
        .and_then(|(number, count)| Some((number.parse().ok()?, count.parse().ok()?)))
        .ok_or("expected K/N, such as `0/4`, or `auto`")?;
    shard_of(number, count).map(ShardChoice::Given)
}

/// Shard `number` of `count`, counted from 0.
fn shard_of(number: u32, count: u32) -> Result<Shard, String> {
    if count > MAX_SHARDS {
        return Err(format!("there can be at most {MAX_SHARDS} shards"));
    }
    if number >= count {
        return Err(format!(
            "shard {number} of {count} does not exist: they are counted from 0"
        ));
    }
    Ok(Shard { number, count })
}

/// The variables in which an engine numbers jobs.
struct Engine {
    number: &'static str,
    count: &'static str,
    /// The number of the first job.
    first: u32,
}

/// A Kubernetes Indexed Job does not provide the number of jobs, so `REPIN_SHARDS` must contain it.
const ENGINES: [Engine; 3] = [
    Engine {
        number: "JOB_COMPLETION_INDEX",
        count: "REPIN_SHARDS",
        first: 0,
    },
    Engine {
        number: "BUILDKITE_PARALLEL_JOB",
        count: "BUILDKITE_PARALLEL_JOB_COUNT",
        first: 0,
    },
    Engine {
        number: "CI_NODE_INDEX",
        count: "CI_NODE_TOTAL",
        first: 1,
    },
];

/// The shard of this process; without `--shard`, the only one.
pub(super) fn of_process(
    choice: Option<ShardChoice>,
    environment: &Environment,
) -> Result<Shard, Errors> {
    match choice {
        None => Ok(Shard {
            number: 0,
            count: 1,
        }),
        Some(ShardChoice::Given(shard)) => Ok(shard),
        Some(ShardChoice::Auto) => from_engine(environment),
    }
}

fn from_engine(environment: &Environment) -> Result<Shard, Errors> {
    let engine = ENGINES
        .iter()
        .find(|engine| environment.filled(engine.number).is_some());
    let Some(engine) = engine else {
        let names = ENGINES.map(|engine| engine.number).join(", ");
        return Err(usage(format!("--shard auto: none of {names} is set")));
    };
    let number = variable(engine.number, environment)?;
    let count = variable(engine.count, environment)?;
    let Some(from_zero) = number.checked_sub(engine.first) else {
        let (name, first) = (engine.number, engine.first);
        return Err(usage(format!(
            "--shard auto: {name} is {number}, expected {first} or more"
        )));
    };
    shard_of(from_zero, count).map_err(|reason| usage(format!("--shard auto: {reason}")))
}

fn variable(name: &str, environment: &Environment) -> Result<u32, Errors> {
    let Some(value) = environment.filled(name) else {
        return Err(usage(format!("--shard auto: {name} is not set")));
    };
    let number = value.to_str().and_then(|value| value.parse().ok());
    number.ok_or_else(|| usage(format!("--shard auto: {name} is not a whole number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_strict() {
        assert_eq!(parse("auto"), Ok(ShardChoice::Auto));
        let given = Shard {
            number: 2,
            count: 3,
        };
        assert_eq!(parse("2/3"), Ok(ShardChoice::Given(given)));
        for wrong in ["3/3", "0/0", "1", "a/3", "-1/3", "1/100001", "1/3/4", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
