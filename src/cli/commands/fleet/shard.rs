//! The shard of a process: as typed, or as the engine that runs it says.

use crate::{
    cli::args::{ShardChoice, shard_of},
    error::{Errors, usage},
    http::Shard,
    workflow::Environment,
};

/// The variables of an engine.
struct Engine {
    number: &'static str,
    of: &'static str,
    /// The number of its first job.
    first: u32,
}

/// Engines that number the jobs of a run. A Kubernetes Indexed Job does not tell a job how many there
/// are.
const ENGINES: [Engine; 3] = [
    Engine {
        number: "JOB_COMPLETION_INDEX",
        of: "REPIN_SHARDS",
        first: 0,
    },
    Engine {
        number: "BUILDKITE_PARALLEL_JOB",
        of: "BUILDKITE_PARALLEL_JOB_COUNT",
        first: 0,
    },
    Engine {
        number: "CI_NODE_INDEX",
        of: "CI_NODE_TOTAL",
        first: 1,
    },
];

/// The shard of this process; without a choice, the whole fleet is one.
pub(super) fn chosen(
    choice: Option<ShardChoice>,
    environment: &Environment,
) -> Result<Shard, Errors> {
    match choice {
        None => Ok(Shard {
            number: 0,
            count: 1,
        }),
        Some(ShardChoice::Typed(shard)) => Ok(shard),
        Some(ShardChoice::Auto) => automatic(environment),
    }
}

fn automatic(environment: &Environment) -> Result<Shard, Errors> {
    let is_set = |engine: &&Engine| environment.filled(engine.number).is_some();
    let Some(engine) = ENGINES.iter().find(is_set) else {
        let names: Vec<_> = ENGINES.iter().map(|engine| engine.number).collect();
        let names = names.join(", ");
        return Err(usage(format!("--shard auto: none of {names} is set")));
    };
    let number = number(engine.number, environment)?;
    let of = self::number(engine.of, environment)?;
    let from_zero = number.checked_sub(engine.first);
    let from_zero = from_zero.ok_or_else(|| {
        let (name, first) = (engine.number, engine.first);
        usage(format!(
            "--shard auto: {name} is {number}, expected {first} or more"
        ))
    })?;
    shard_of(from_zero, of).map_err(|reason| usage(format!("--shard auto: {reason}")))
}

fn number(name: &str, environment: &Environment) -> Result<u32, Errors> {
    let value = environment.filled(name);
    let value = value.ok_or_else(|| usage(format!("--shard auto: {name} is not set")))?;
    let number = value.to_str().and_then(|value| value.parse().ok());
    number.ok_or_else(|| usage(format!("--shard auto: {name} is not a whole number")))
}
