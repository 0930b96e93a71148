//! Closes an open pull request of a set.
//!
//! The branch remains, so the pull request can be reopened. A later run does not reopen it.

use super::{OnlyPins, close_with, origin};
use crate::{
    base::error::Error,
    forge::{Comparison, Forge, PlannedWrites, Pull, PullState, Repo},
};

/// Marks the comment with which a pull request is closed.
const NOTE: &str = "<!-- repin/1 closed-with-fleet -->";

/// Fails if the pull request's branch contains a foreign commit.
pub(crate) async fn permits(
    forge: &Forge,
    pull: &Pull,
    only_pins: OnlyPins<'_>,
) -> Result<(), Error> {
    let what = format!("pull request #{} ({})", pull.number, pull.url);
    let base = forge.branch(&pull.base).await?;
    let compared = match &base {
        Some(base) => {
            let exists = pull.head_exists;
            forge.ahead(&pull.base, base, &pull.head, exists).await?
        }
        None => Comparison::Absent,
    };
    match compared {
        Comparison::Absent => {
            let reason = "its branch or its base branch is missing";
            Err(Error::unavailable(what, reason))
        }
        Comparison::Unrelated(head) => Err(origin::unrelated(what, &head, &pull.base)),
        Comparison::Related(ahead) if ahead.head != pull.head_commit => {
            let reason = "its branch is at another commit than the pull request";
            Err(Error::unavailable(what, reason))
        }
        Comparison::Related(ahead) => {
            let foreign = origin::foreign(forge, &ahead, &|_, _| false, only_pins).await?;
            foreign.map_or(Ok(()), |foreign| Err(foreign.error(what)))
        }
    }
}

/// Closes the pull request with a comment, unless its branch contains a foreign commit; `None` if it
/// is no longer open.
pub(crate) async fn close(
    forge: &Forge,
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
        .check_permissions(repo, PlannedWrites { workflows: false })
        .await?;
    let text =
        "Closed with `repin fleet close`: the pull requests of this set are not to be merged.";
    close_with(forge, number, text, NOTE).await?;
    Ok(Some(pull))
}
