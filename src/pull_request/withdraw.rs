//! Closing an open pull request of a set that is not wanted any more.
//!
//! The branch stays, as that of a superseded pull request does: whoever reopens the pull request finds
//! it as it was. A later run leaves a closed pull request closed.

use super::{
    OnlyPins, close_with,
    merging::{Owner, owner},
};
use crate::{
    error::Error,
    forge::{Forge, PlannedWrites, Pull, PullState, Repo},
};

/// Marks the comment with which a pull request is closed.
const NOTE: &str = "<!-- repin/1 closed-with-fleet -->";

/// Fails unless the commits on the pull request's branch are repin's alone.
pub async fn permits(forge: &dyn Forge, pull: &Pull, only_pins: OnlyPins<'_>) -> Result<(), Error> {
    let what = format!("pull request #{} ({})", pull.number, pull.url);
    match owner(forge, pull, only_pins).await? {
        Owner::Repin => Ok(()),
        Owner::Foreign(error) => Err(error),
        Owner::Other => {
            let reason = "its branch or its base branch is missing";
            Err(Error::unavailable(what, reason))
        }
    }
}

/// Closes the pull request with a comment, unless somebody else committed to its branch; `None`: it
/// is not open any more.
pub async fn close(
    forge: &dyn Forge,
    repo: &Repo,
    number: u64,
    only_pins: OnlyPins<'_>,
) -> Result<Option<Pull>, Error> {
    // Time may have passed since it was listed.
    let now = forge.pull(number).await?;
    let Some(pull) = now.filter(|pull| pull.state == PullState::Open) else {
        return Ok(None);
    };
    permits(forge, &pull, only_pins).await?;
    forge
        .permit(repo, PlannedWrites { workflows: false })
        .await?;
    let text =
        "Closed with `repin fleet close`: the pull requests of this set are not to be merged.";
    close_with(forge, number, text, NOTE).await?;
    Ok(Some(pull))
}
