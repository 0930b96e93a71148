//! Makes an open pull request a draft, because a stage of its set no longer passes.

use super::comment;
use crate::{
    base::error::Error,
    forge::{Forge, PlannedWrites, Pull, PullState, Readiness, Repo},
    oci::Digest,
};

/// Makes a pull request a draft, cancels its scheduled merge, and explains both in a comment; `None` if it
/// is no longer open.
pub(crate) async fn make_draft(
    forge: &Forge,
    repo: &Repo,
    number: u64,
    text: &str,
) -> Result<Option<Pull>, Error> {
    // Time may have passed since it was listed.
    let now = forge.pull(number).await?;
    let Some(pull) = now.filter(|pull| pull.state == PullState::Open) else {
        return Ok(None);
    };
    let writes = PlannedWrites { workflows: false };
    forge.check_permissions(repo, writes).await?;
    if pull.readiness == Readiness::Ready {
        forge.cancel_merge(&pull).await?;
        forge.set_state(&pull, Readiness::Draft).await?;
    }
    // Another reason is another comment.
    let digest = Digest::of(text.as_bytes()).hex();
    let note = format!("<!-- repin/1 stage {} -->", &digest[..16]);
    comment(forge, number, &format!("{text}\n\n{note}\n"), &note).await?;
    Ok(Some(pull))
}
