//! Detects a configuration or a set that the promoted branch does not contain yet.

use super::{BranchRole, SiteHistory, history::Origin};
use crate::{
    config::Config,
    core::history::{History, HistoryEntry},
    git::{Git, GitError, ObjectId, TreeFile},
};

/// A configuration file that the promoted branch does not contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnpushedAdoption {
    /// The commit that adds the file; `None` if `HEAD` does not contain the file either.
    pub commit: Option<ObjectId>,
}

/// The adoption of a set that only this clone contains; `None` without a remote, since a commit cannot
/// be pushed there.
pub(crate) fn unpushed_adoption(
    config: &Config,
    site_history: &SiteHistory,
) -> Result<Option<UnpushedAdoption>, GitError> {
    let Some((history, Origin::Clone { git, role })) = site_history.read() else {
        return Ok(None);
    };
    if *role == BranchRole::Local {
        return Ok(None);
    }
    let git = git.with_prefix(Vec::new());
    if contains(&git, &history.branch.tip, config)? {
        return Ok(None);
    }
    let head = match git.head() {
        Ok(head) => head.tip,
        Err(GitError::Unborn) => return Ok(Some(UnpushedAdoption { commit: None })),
        Err(error) => return Err(error),
    };
    if !contains(&git, &head, config)? {
        return Ok(Some(UnpushedAdoption { commit: None }));
    }
    // The branch may contain older commits that added the file and removed it.
    for commit in git.changes_of(&head, config.set_path.file())?.iter().rev() {
        if !git.is_ancestor(commit, &history.branch.tip)? {
            let commit = Some(*commit);
            return Ok(Some(UnpushedAdoption { commit }));
        }
    }
    // HEAD is older than a commit of the branch that removed the file.
    Ok(None)
}

/// The commit of this clone that made another set current than that of the promoted branch, and that is
/// not on this branch.
pub(crate) fn unpushed_set(
    config: &Config,
    site_history: &SiteHistory,
) -> Result<Option<HistoryEntry>, GitError> {
    let Some((history, Origin::Clone { git, role })) = site_history.read() else {
        return Ok(None);
    };
    let promoted = &history.branch.tip;
    let head = match git.head() {
        Ok(head) if *role == BranchRole::Promoted => head,
        Ok(_) | Err(GitError::Unborn) => return Ok(None),
        Err(error) => return Err(error),
    };
    if git.is_ancestor(&head.tip, promoted)? {
        return Ok(None);
    }
    let local = History::of_branch(git, config, head)?;
    let Some(current) = local.current() else {
        return Ok(None);
    };
    let is_pushed = history.current().map(|entry| &entry.images) == Some(&current.images)
        || git.is_ancestor(&current.commit, promoted)?;
    Ok((!is_pushed).then(|| current.clone()))
}

fn contains(git: &Git, commit: &ObjectId, config: &Config) -> Result<bool, GitError> {
    let file = git.file(commit, config.set_path.file(), 0)?;
    Ok(!matches!(file, TreeFile::Absent))
}
