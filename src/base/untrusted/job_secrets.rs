//! The environment variables with the credentials of a job.

/// The variables with a token for the forge (docs/forges.md, "Token"), each with the one for a file.
pub(crate) const FORGE_TOKENS: [[&str; 2]; 4] = [
    ["REPIN_FORGE_TOKEN", "REPIN_FORGE_TOKEN_FILE"],
    ["GITHUB_TOKEN", "GITHUB_TOKEN_FILE"],
    ["GH_TOKEN", "GH_TOKEN_FILE"],
    ["GITEA_TOKEN", "GITEA_TOKEN_FILE"],
];

/// The variables with the credentials of the job: a configuration cannot pass them on, and child
/// processes that need none do not receive them.
pub(crate) fn job_secrets() -> impl Iterator<Item = &'static str> {
    FORGE_TOKENS.into_iter().flatten().chain([
        "FORGEJO_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "ACTIONS_RUNTIME_TOKEN",
        "CI_JOB_TOKEN",
        "DOCKER_AUTH_CONFIG",
    ])
}
