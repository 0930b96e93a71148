//! One branch, one commit, one pull request: how a plan reaches its base through a forge, and what
//! becomes of the pull request until it is merged.
//!
//! [`reconcile`] brings a branch and its pull request to the planned state, `head` verifies what may
//! be merged, [`merging`] schedules or performs the merge, [`waiting`] follows it, and [`branches`] does the same for two long-lived
//! branches. Everything here is written once on top of [`Forge`]. Sends no request by itself, and
//! decides nothing about images.

mod base;
pub mod branches;
mod conflicts;
pub mod dispatch;
mod head;
mod marker;
pub mod merging;
pub mod of_set;
mod origin;
pub mod reconcile;
#[cfg(test)]
mod tests;
pub mod waiting;
pub mod withdraw;

pub use base::{Base, Local};
pub use head::{ApprovedSet, Permission, refused, wrong_branches};
pub use marker::{Marker, MarkerKind, trailer};
pub use origin::{Foreign, OnlyPins};

use crate::{
    error::{Class, Error},
    forge::{Comment, Edit, Forge, Transition},
};

/// Closes a pull request with a comment, which `note` marks so that it is written once.
async fn close_with(forge: &dyn Forge, number: u64, text: &str, note: &str) -> Result<(), Error> {
    let commented =
        |comments: &[Comment]| comments.iter().any(|comment| comment.body.contains(note));
    // Checked first, and again if it is unknown whether the comment arrived.
    for last in [false, false, true] {
        if commented(&forge.comments(number).await?) {
            break;
        }
        let text = format!("{text}\n\n{note}\n");
        match forge.comment(number, &text).await {
            Ok(()) => break,
            Err(error) if error.class != Class::Unavailable || last => return Err(error),
            Err(_) => forge.back_off(1).await,
        }
    }
    let edit = Edit {
        transition: Some(Transition::Close),
        ..Edit::default()
    };
    forge.edit_pull(number, &edit).await.map(drop)
}
