//! Workflows that a forge does not start by itself after a merge made with a token: started once,
//! whoever asks for it.
//!
//! A mark on the forge that can be made once decides who starts it. One that was not started gives
//! the mark back.

use sha2::{Digest as _, Sha256};

use crate::{
    config::check_branch,
    error::Error,
    forge::{Ability, Claim, Forge, Issues, Need, Pull},
};

/// Whether all of `workflows` can be started with this token, as far as that can be told without
/// starting one.
pub async fn able(forge: &dyn Forge, workflows: &[String]) -> Result<Ability, Error> {
    for workflow in workflows {
        if let Ability::No(why) = forge.can_dispatch(workflow).await? {
            return Ok(Ability::No(why));
        }
    }
    // The mark is a write, too.
    let repo = forge.repository().await?;
    forge.permit(&repo, Need { workflows: false }).await?;
    Ok(Ability::Yes)
}

/// Starts `workflow` for a merged pull request, at the branch that it went to; `false`: somebody
/// else did or does. `commit`: the merge. `word`: one that no other run has.
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
    if !forge.claim(&claim).await? {
        return Ok(false);
    }
    match forge.dispatch(workflow, &pull.base).await {
        Ok(()) => Ok(true),
        // Nobody can tell whether it was started, so that is a person's to look at.
        Err(error) if error.begun => {
            let hint = format!(
                "look whether {workflow} was started, and start it if not: repin does not try again"
            );
            Err(error.help(hint))
        }
        Err(error) => match forge.release(&claim).await {
            Ok(()) => Err(error),
            Err(second) => {
                let message = format!(
                    "{}; and the mark repin/{name} could not be taken away: {}",
                    error.message, second.message
                );
                Err(Error { message, ..error })
            }
        },
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
