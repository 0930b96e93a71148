//! The command that must succeed in each image: the block `smoke`.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{
    duration,
    keys::{block, choices},
    types::{Text, Variable, any_text, text_type},
};

block! {
    /// A command that must succeed in each image.
    pub struct Smoke {
        /// The arguments.
        command: Vec<Text>,
        /// The user to run as. Absent: the user of the image.
        user: Option<EngineUser>,
        /// The environment variables to pass to the container; a forge token's name,
        /// `ACTIONS_*` and `DOCKER_AUTH_CONFIG` are refused.
        env: Vec<Variable> = [],
        /// Whether the command can reach the network.
        network: bool = false,
        /// Time limit, after which the command is stopped and fails.
        timeout: Timeout = "60s",
        /// The container engine; `auto` uses the first that works.
        engine: Engine = "auto",
        /// Additional arguments for the engine's run command.
        engine_args: Vec<Text> = [],
        /// Without an engine: refuse the set, or skip the check and report it.
        when_unavailable: WhenUnavailable = "refuse",
    }
}

choices! {
    pub enum Engine {
        Auto = "auto",
        Podman = "podman",
        Docker = "docker",
    }
}

choices! {
    pub enum WhenUnavailable {
        Refuse = "refuse",
        Skip = "skip",
    }
}

/// The schema of a user. A number needs no quotes.
pub(super) fn user_schema() -> Json {
    json!({"type": ["string", "integer"], "minLength": 1, "minimum": 0})
}

/// A user as the engine takes it.
pub struct EngineUser;
text_type!(EngineUser => String, "text or number", (user_schema()), any_text);

/// A duration of at least a second.
pub struct Timeout;
text_type!(
    Timeout => Duration,
    "duration",
    {"type": "string", "pattern": "^[0-9]+[dhms]$"},
    timeout
);

fn timeout(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(Duration::ZERO) => Err("the timeout must be at least 1s".to_owned()),
        Ok(timeout) => Ok(timeout),
        Err(error) => Err(error.to_string()),
    }
}
