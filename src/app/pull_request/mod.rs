//! One branch, one commit, one pull request: how a plan reaches its base through a forge, and how the
//! pull request is merged.
//! [`reconcile`] brings a branch and its pull request to the planned state, `head` verifies a head
//! before its merge, [`merging`] schedules or performs the merge, [`waiting`] polls until then, [`own_branches`] deletes what is merged, and
//! [`branches`] does the same for two long-lived branches. All of them use [`Forge`] for pull requests and
//! [`Content`] for files and commits. Images are checked in `checks`.

mod base;
pub(crate) mod branches;
pub(crate) mod content;
pub(crate) mod head;
pub(crate) mod merging;
mod origin;
pub(crate) mod own_branches;
mod publishing;
pub(crate) mod reconcile;
#[cfg(test)]
mod tests;
pub(crate) mod waiting;

pub(crate) use base::Base;
pub(crate) use content::{Content, ContentPlace, ForgeRepository, NoteListener};
pub(crate) use head::{ApprovedSet, Marker, MarkerKind, Permission, refused, wrong_branches};
pub(crate) use origin::OnlyPins;

use crate::{
    base::error::{Class, Error},
    forge::{Comment, Edit, Forge, Item, Transition},
};

/// Closes a pull request with a comment. The hidden `note` in the comment prevents a second one.
async fn close_with(forge: &Forge, number: u64, text: &str, note: &str) -> Result<(), Error> {
    comment(forge, number, &format!("{text}\n\n{note}\n"), note).await?;
    let edit = Edit {
        transition: Some(Transition::Close),
        ..Edit::default()
    };
    forge.edit_pull(number, &edit).await.map(drop)
}

/// Adds a comment, unless one with `note` exists.
async fn comment(forge: &Forge, number: u64, text: &str, note: &str) -> Result<(), Error> {
    // The comments are listed again if it is unknown whether the comment arrived.
    for is_last in [false, false, true] {
        let comments: Vec<Comment> = forge.comments(Item::Pull(number)).await?;
        if comments.iter().any(|comment| comment.body.contains(note)) {
            break;
        }
        match forge.add_comment(Item::Pull(number), text).await {
            Ok(()) => break,
            Err(error) if error.class != Class::Unavailable || is_last => return Err(error),
            Err(_) => forge.back_off(1).await,
        }
    }
    Ok(())
}
