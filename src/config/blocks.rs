//! The optional blocks of the configuration: places, inventory, smoke, prune, freshness, forge, fleet.

mod contents;
mod fleet;
mod forge;
mod places;
mod upkeep;
mod verify;

pub use contents::{Engine, Inventory, Kind, Smoke};
pub(super) use contents::{inventory, smoke};
pub(super) use fleet::fleet;
pub use fleet::{Fleet, FleetHistory, OwnPolicy, WhenUnconfigured};
pub(super) use forge::forge;
pub use forge::{Forge, ForgeKind, MergeMethod, Sign, is_owner_name};
pub use places::{
    CHART, CommentPolicy, KUSTOMIZATIONS, KeysRule, Owner, PinPlace, PlaceKind, Step,
    above_templates, looking_into,
};
pub(super) use places::{comment_policy, owners_exist, places, places_have_files, scanned};
pub use upkeep::{AlsoPinned, Freshness, Issue, PathsFrom, Prune, PruneBackend};
pub(super) use upkeep::{freshness, prune};
pub use verify::{
    CommitBinding, IdentityRule, LogRule, Requirement, RootKind, RootSource, Runner, SignedSubject,
    Signer, SignerIdentity, Since, SubjectName, Triggers, Verify,
};
pub(super) use verify::{images_are_signed, verify};

use super::{raw::ErrorCollector, template::check_branch, yaml::Node};

fn text(g: &ErrorCollector, node: &Node) -> Option<String> {
    g.nonempty(node).map(str::to_owned)
}

/// The name of an environment variable.
fn variable(text: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if text.bytes().all(good) && !text.starts_with(|c: char| c.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is not the name of an environment variable (write the name, not the value)"
        ))
    }
}

/// The variables with a token for the forge (docs/forges.md, "Token"), each with the one for a file.
pub const FORGE_TOKENS: [[&str; 2]; 4] = [
    ["REPIN_FORGE_TOKEN", "REPIN_FORGE_TOKEN_FILE"],
    ["GITHUB_TOKEN", "GITHUB_TOKEN_FILE"],
    ["GH_TOKEN", "GH_TOKEN_FILE"],
    ["GITEA_TOKEN", "GITEA_TOKEN_FILE"],
];

/// The variables with the credentials of the job: a configuration cannot pass them on, and child
/// processes that need none do not receive them.
pub fn job_secrets() -> impl Iterator<Item = &'static str> {
    FORGE_TOKENS.into_iter().flatten().chain([
        "FORGEJO_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "ACTIONS_RUNTIME_TOKEN",
        "CI_JOB_TOKEN",
        "DOCKER_AUTH_CONFIG",
    ])
}

/// The name of a variable whose value is handed on: to another repository's server, or to a
/// container. Whoever may edit the configuration must not receive what the job holds for itself.
fn handed_on(g: &ErrorCollector) -> impl Fn(&str) -> Result<String, String> {
    let of_the_past = g.is_of_the_past();
    move |text| {
        let name = text.to_ascii_uppercase();
        let belongs = if FORGE_TOKENS.as_flattened().contains(&name.as_str()) {
            "is a token for the forge"
        } else if name == "DOCKER_AUTH_CONFIG" {
            "holds credentials for registries"
        } else if name.starts_with("ACTIONS_") || job_secrets().any(|secret| secret == name) {
            "belongs to the job"
        } else {
            return variable(text);
        };
        // A configuration of the past hands nothing on, and is still to be read.
        if of_the_past {
            return variable(text);
        }
        Err(format!("`{text}` {belongs}: use a separate variable"))
    }
}

fn branch(text: &str) -> Result<String, String> {
    check_branch(text)
        .map(|()| text.to_owned())
        .map_err(|error| error.to_string())
}
