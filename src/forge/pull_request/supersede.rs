//! Older pull requests of the same set: told about the newer one, and closed, so that two are never
//! merged out of order.

use super::{Edit, Error, ErrorKind, Pull, Work};
use crate::forge::{Comment, Marker};

impl Work<'_> {
    /// Closes those of `open` that are older than `ours` and were opened for another revision of
    /// the same set.
    pub(super) async fn supersede(
        &mut self,
        ours: &Pull,
        open: &[Pull],
    ) -> Result<Vec<u64>, Error> {
        let Some(branch_of) = self.proposal.supersede else {
            return Ok(Vec::new());
        };
        let mut closed = Vec::new();
        for pull in open.iter().filter(|pull| pull.number < ours.number) {
            let Some(marker) =
                Marker::find(&pull.body).filter(|_| pull.own && pull.base == ours.base)
            else {
                continue;
            };
            let other = marker.kind == self.proposal.marker.kind
                && marker.revision != self.proposal.marker.revision;
            // The marker alone could be anybody's; the branch is one that only this set's
            // configuration leads to.
            if !other || branch_of(&marker.revision).as_deref() != Some(pull.head.as_str()) {
                continue;
            }
            self.permit().await?;
            let done = self.close(pull, ours).await;
            self.tried(done)?;
            closed.push(pull.number);
        }
        Ok(closed)
    }

    async fn close(&self, pull: &Pull, ours: &Pull) -> Result<(), Error> {
        let note = format!("<!-- repin/1 superseded-by={} -->", ours.number);
        let told =
            |comments: &[Comment]| comments.iter().any(|comment| comment.body.contains(&note));
        // Looked at first, and again if nobody can tell whether the comment arrived.
        for last in [false, false, true] {
            if told(&self.forge.comments(pull.number).await?) {
                break;
            }
            let text = format!(
                "Superseded by #{}, which moves the same set to a newer revision.\n\n{note}\n",
                ours.number
            );
            match self.forge.comment(pull.number, &text).await {
                Ok(()) => break,
                Err(error) if error.kind != ErrorKind::Unavailable || last => return Err(error),
                Err(_) => self.forge.breathe(1).await,
            }
        }
        self.forge
            .edit_pull(
                pull.number,
                &Edit {
                    open: Some(false),
                    ..Edit::default()
                },
            )
            .await
            .map(drop)
    }
}
