//! Workflows that a forge does not start by itself after a merge made with a token: started once,
//! whoever asks for it.
//!
//! A mark on the forge that can be made once decides who starts it. One that was not started gives
//! the mark back.

use sha2::{Digest as _, Sha256};

use crate::{
    config::check_branch,
    error::{Class, Error},
    forge::{Ability, Claim, Forge, Issues, PlannedWrites, Pull},
};

/// Whether all of `workflows` can be started with this token, as far as that can be determined
/// without starting one.
pub async fn able(forge: &dyn Forge, workflows: &[String]) -> Result<Ability, Error> {
    for workflow in workflows {
        if let Ability::No(reason) = forge.can_dispatch(workflow).await? {
            return Ok(Ability::No(reason));
        }
    }
    // The mark is a write, too.
    let repo = forge.repository().await?;
    forge
        .permit(&repo, PlannedWrites { workflows: false })
        .await?;
    Ok(Ability::Yes)
}

/// Starts `workflow` for a merged pull request, at the branch that it went to; `false`: another run
/// did or does. `commit`: the merge. `word`: one that no other run has.
pub async fn once(
    forge: &dyn Issues,
    pull: &Pull,
    workflow: &str,
    commit: &str,
    word: &str,
) -> Result<bool, Error> {
    let name = format!("dispatched/pull-{}/{}", pull.number, part(workflow));
    let claim = Claim {
        name: &name,
        commit,
        base: &pull.base,
        word,
    };
    // The mark may have arrived although its response did not, and no later run takes it for its
    // own.
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
        // Whether it was started is unknown, so someone must check.
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

/// Whether the workflow was started cannot be determined, and the mark keeps later runs from
/// starting it: a person must look.
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

/// A workflow's name as a part of a reference; where git would not take it, a name that follows
/// from it.
fn part(workflow: &str) -> String {
    if !workflow.contains('/') && check_branch(workflow).is_ok() {
        return workflow.to_owned();
    }
    hex::encode(Sha256::digest(workflow))[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workflow_has_a_name_that_git_takes() {
        assert_eq!(part("deploy.yml"), "deploy.yml");
        for odd in [
            "a b.yml",
            "x..yml",
            "a/b.yml",
            "deploy.lock",
            "",
            "-x",
            "é ~",
        ] {
            let part = part(odd);
            assert!(
                check_branch(&part).is_ok() && part.len() == 16,
                "{odd}: {part}"
            );
        }
        assert_ne!(part("a b"), part("a c"));
    }
}
