//! What CI states about the repository that it runs for.

use std::{fs::File, io::Read};

use serde::Deserialize;

use super::Environment;
use crate::git::{Git, HostedRepository};

/// The largest event that is read, in bytes; GitHub limits payloads to 25 MB.
const EVENT_MAX: u64 = 32 * 1024 * 1024;

/// A webhook's payload, as far as it matters here (GitHub, Gitea and Forgejo alike).
#[derive(Deserialize)]
struct Event {
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    default_branch: Option<String>,
    full_name: Option<String>,
}

/// The default branch of the repository at `origin`, as CI states it: in the event that started a
/// workflow (`GITHUB_EVENT_PATH`), or in `CI_DEFAULT_BRANCH`.
///
/// A job may check out other repositories than its own, so an event that names another repository
/// than `origin` does not count. Nor does an event that cannot be read: the remote is queried
/// instead.
pub fn default_branch(environment: &Environment, git: Option<&Git>) -> Option<String> {
    let github = || {
        let repository = event(environment)?.repository?;
        Some((repository.default_branch?, repository.full_name))
    };
    let gitlab = || {
        let text = |name| Some(environment.filled(name)?.to_str()?.to_owned());
        Some((text("CI_DEFAULT_BRANCH")?, text("CI_PROJECT_PATH")))
    };
    let mut stated = [github(), gitlab()].into_iter().flatten().peekable();
    stated.peek()?;
    let origin = git.and_then(|git| HostedRepository::parse(&git.origin().ok().flatten()?));
    let origin = origin.map(|origin| format!("{}/{}", origin.owner, origin.name));
    let is_origin = |of: &Option<String>| match (of, &origin) {
        (Some(of), Some(origin)) => of.eq_ignore_ascii_case(origin),
        _ => true,
    };
    stated
        .find(|(branch, of)| !branch.is_empty() && is_origin(of))
        .map(|(branch, _)| branch)
}

fn event(environment: &Environment) -> Option<Event> {
    let path = environment.filled("GITHUB_EVENT_PATH")?;
    let mut text = Vec::new();
    let file = File::open(environment.directory().join(path)).ok()?;
    file.take(EVENT_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
