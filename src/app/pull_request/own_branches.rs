//! Deletes repin's own branches after the merge of their pull requests.
//!
//! A branch is repin's own if the configuration gives it to the set of its pull request, below [`OWN_BRANCHES`]. It is deleted by a
//! push with a lease, and only at the commit that was merged: a later commit is the work of a person.

use std::collections::BTreeMap;

use super::{
    content::{ForgeRepository, OWN_BRANCHES, PushOutcome},
    head,
};
use crate::{
    base::error::Error,
    config::Config,
    forge::{Pull, PullState, Pulls},
    git::{ObjectId, RefUpdate},
};

/// The maximum number of branches for which a run requests the pull requests.
const MAX_BRANCHES: usize = 20;

/// Deletes the branch of a merged pull request; `false` if it is not repin's own, or is at another commit.
pub(crate) async fn delete_merged(
    repository: &ForgeRepository,
    config: &Config,
    pull: &Pull,
) -> Result<bool, Error> {
    if !config.forge_or_default().delete_branch || !is_own(pull, config) {
        return Ok(false);
    }
    let Some(head) = repository.content.listed(&pull.head).await? else {
        return Ok(false);
    };
    let open = repository.forge.pulls(Pulls::Open).await?;
    Ok(!is_used(&pull.head, &open) && delete(repository, pull, head).await?)
}

/// Deletes the branches of merged pull requests of the set, except `current`; returns their names. `branches`: repin's own
/// branches.
pub(crate) async fn delete_earlier(
    repository: &ForgeRepository,
    config: &Config,
    mut branches: BTreeMap<String, ObjectId>,
    current: &str,
) -> Result<Vec<String>, Error> {
    let forge = &repository.forge;
    branches.retain(|name, _| name != current && config.has_branch(name));
    let mut deleted = Vec::new();
    if branches.is_empty() {
        return Ok(deleted);
    }
    let open = forge.pulls(Pulls::Open).await?;
    branches.retain(|name, _| !is_used(name, &open));
    for (name, head) in branches.into_iter().take(MAX_BRANCHES) {
        let closed = forge.pulls(Pulls::Closed(&name)).await?;
        let mut closed = closed.into_iter();
        let is_merged = |pull: &Pull| pull.head_commit == head.to_string() && is_own(pull, config);
        if let Some(pull) = closed.find(is_merged)
            && delete(repository, &pull, head).await?
        {
            deleted.push(name);
        }
    }
    Ok(deleted)
}

/// Whether the pull request is merged, and its branch is one that repin made for this configuration.
fn is_own(pull: &Pull, config: &Config) -> bool {
    matches!(pull.state, PullState::Merged(_))
        && pull.head.starts_with(OWN_BRANCHES)
        && head::identify(pull.clone(), config).is_some()
}

/// Whether an open pull request is from or for the branch; its deletion would close it.
fn is_used(branch: &str, open: &[Pull]) -> bool {
    open.iter()
        .any(|other| other.own && other.head == branch || other.base == branch)
}

/// Deletes the branch if its head is the merged commit; `false` if it is not, or moved at the last moment.
async fn delete(repository: &ForgeRepository, pull: &Pull, head: ObjectId) -> Result<bool, Error> {
    let ForgeRepository { forge, content } = repository;
    let commit = head.to_string();
    // Gitea and Forgejo report the head of the branch even if it moved after the merge.
    if pull.head_commit != commit || !forge.shows_head(pull, &commit).await? {
        return Ok(false);
    }
    let update = RefUpdate {
        branch: pull.head.clone(),
        old: Some(head),
        new: None,
    };
    match content.push(&[update], &[], forge.name()).await? {
        PushOutcome::Done => Ok(true),
        PushOutcome::Raced(_) | PushOutcome::BaseMoved => Ok(false),
        PushOutcome::Unsure(reason) => {
            let what = format!("{}: deleting the branch {}", forge.name(), pull.head);
            Err(Error::unavailable(what, reason))
        }
        PushOutcome::Refused(error) => Err(error),
    }
}
