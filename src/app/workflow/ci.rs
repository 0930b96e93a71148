//! The repository that a CI job runs for, as the job's environment describes it.

use serde::Deserialize;

use super::Environment;
use crate::{
    base::input_file,
    git::{Git, HostedRepository},
};

/// The maximum size of an event, in bytes. GitHub limits payloads to 25 MB.
const MAX_EVENT: u64 = 32 * 1024 * 1024;

/// The used part of a webhook's payload, which is the same on GitHub, Gitea and Forgejo.
#[derive(Deserialize)]
struct Event {
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    default_branch: Option<String>,
    full_name: Option<String>,
}

/// The default branch of the repository at `origin`, from the event that started a workflow
/// (`GITHUB_EVENT_PATH`) or from `CI_DEFAULT_BRANCH`.
///
/// A job may check out other repositories than its own, so an event of another repository than
/// `origin` is ignored. An unreadable event is ignored too: the remote is queried instead.
pub(crate) fn default_branch(environment: &Environment, git: Option<&Git>) -> Option<String> {
    let mut candidates = Vec::new();
    if let Some(repository) = event(environment).and_then(|event| event.repository)
        && let Some(branch) = repository.default_branch
    {
        candidates.push((branch, repository.full_name));
    }
    let gitlab = |name| Some(environment.filled(name)?.to_str()?.to_owned());
    if let Some(branch) = gitlab("CI_DEFAULT_BRANCH") {
        candidates.push((branch, gitlab("CI_PROJECT_PATH")));
    }
    candidates
        .into_iter()
        .find(|(branch, name)| !branch.is_empty() && is_origin(name.as_deref(), git))
        .map(|(branch, _)| branch)
}

/// Whether the repository of a job is the clone's `origin`, or one of both is unknown.
fn is_origin(name: Option<&str>, git: Option<&Git>) -> bool {
    let (Some(name), Some(git)) = (name, git) else {
        return true;
    };
    let url = git.origin().ok().flatten();
    let origin = url.and_then(|url| HostedRepository::parse(&url));
    origin.is_none_or(|origin| {
        name.eq_ignore_ascii_case(&format!("{}/{}", origin.owner, origin.name))
    })
}

fn event(environment: &Environment) -> Option<Event> {
    let path = environment.filled("GITHUB_EVENT_PATH")?;
    let text = input_file::read(&environment.directory().join(path), MAX_EVENT).ok()?;
    serde_json::from_slice(&text).ok()
}
