//! Starts workflows that a forge does not start after a merge with a token, once for each merge,
//! even with concurrent runs.
//!
//! A mark on the forge that can be created only once decides which run starts the workflow. A run that
//! could not start it deletes the mark.

use sha2::{Digest as _, Sha256};

use crate::{
    base::error::{Class, Error},
    forge::{Ability, Claim, Forge, PlannedWrites, Pull},
    git::check_branch,
};

/// Whether this token can start all of `workflows`, without starting one.
pub(crate) async fn able(forge: &Forge, workflows: &[String]) -> Result<Ability, Error> {
    for workflow in workflows {
        if let Ability::No(reason) = forge.can_dispatch(workflow).await? {
            return Ok(Ability::No(reason));
        }
    }
    // The mark is a write, too.
    let repo = forge.repository().await?;
    forge
        .check_permissions(&repo, PlannedWrites { workflows: false })
        .await?;
    Ok(Ability::Yes)
}

/// Starts `workflow` for a merged pull request, at its base branch; `false` if another run starts it.
/// `commit`: the merge. `word`: a unique word of this run.
pub(crate) async fn once(
    forge: &Forge,
    pull: &Pull,
    workflow: &str,
    commit: &str,
    word: &str,
) -> Result<bool, Error> {
    let name = format!("dispatched/pull-{}/{}", pull.number, ref_part(workflow));
    let claim = Claim {
        name: &name,
        commit,
        base: &pull.base,
        word,
    };
    // After a lost response, the mark may exist, and no later run would use it.
    let claimed = forge.claim(&claim).await.map_err(|error| {
        if error.class == Class::Unavailable {
            by_hand(error, workflow)
        } else {
            error
        }
    });
    if !claimed? {
        return Ok(false);
    }
    match forge.dispatch(workflow, &pull.base).await {
        Ok(()) => Ok(true),
        // It is unknown whether the workflow was started.
        Err(error) if error.begun => Err(by_hand(error, workflow)),
        Err(error) => match forge.release(&claim).await {
            Ok(()) => Err(error),
            Err(second) => {
                let message = format!(
                    "{}; cannot delete the mark repin/{name} either: {}",
                    error.message, second.message
                );
                Err(by_hand(Error { message, ..error }, workflow))
            }
        },
    }
}

/// The error if it is unknown whether the workflow was started, and the mark prevents later runs from
/// starting it.
fn by_hand(error: Error, workflow: &str) -> Error {
    let hint = format!(
        "check whether {workflow} was started, and start it if not: repin may not start it again"
    );
    // The next run does not continue from here.
    Error {
        begun: false,
        ..error.help(hint)
    }
}

/// A workflow's name as a part of a reference, or its hash if git does not permit the name.
fn ref_part(workflow: &str) -> String {
    if !workflow.contains('/') && check_branch(workflow).is_ok() {
        return workflow.to_owned();
    }
    hex::encode(Sha256::digest(workflow))[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workflow_has_a_valid_reference() {
        assert_eq!(ref_part("deploy.yml"), "deploy.yml");
        for odd in [
            "a b.yml",
            "x..yml",
            "a/b.yml",
            "deploy.lock",
            "",
            "-x",
            "é ~",
        ] {
            let part = ref_part(odd);
            assert!(
                check_branch(&part).is_ok() && part.len() == 16,
                "{odd}: {part}"
            );
        }
        assert_ne!(ref_part("a b"), ref_part("a c"));
    }
}
