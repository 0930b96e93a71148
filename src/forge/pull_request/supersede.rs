//! Older pull requests of the same set: told about the newer one, and closed, so that two are never
//! merged out of order.

use super::{Error, Pull, Work};
use crate::forge::{Marker, alike::close_with};

impl Work<'_> {
    /// Closes those of `open` that are older than `ours` and were opened for another revision of
    /// the same set.
    pub(super) async fn supersede(
        &mut self,
        ours: &Pull,
        open: &[Pull],
        closed: &mut Vec<u64>,
    ) -> Result<(), Error> {
        let Some(branch_of) = self.proposal.supersede else {
            return Ok(());
        };
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
            let note = format!("<!-- repin/1 superseded-by={} -->", ours.number);
            let text = format!(
                "Superseded by #{}, which moves the same set to a newer revision.",
                ours.number
            );
            let done = close_with(self.forge, pull.number, &text, &note).await;
            self.tried(done)?;
            closed.push(pull.number);
        }
        Ok(())
    }
}
