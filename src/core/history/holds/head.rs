//! The hold of a head beside its base, such as that of a pull request.

use super::{HeldImage, Hold};
use crate::core::history::{Digests, History};

impl History {
    /// The hold of the digests that the files of a head pin, in place of those of this branch. `head`: the
    /// history of the head; `pinned`: as for [`Self::hold`].
    pub(crate) fn hold_of_head(&self, head: &Self, digests: &Digests, pinned: &Digests) -> Hold {
        let mut hold = self.hold(digests, pinned);
        hold.is_shallow |= head.shallow;
        // A commit of the head with an override pins them on purpose.
        let mut releases = head.releases.iter();
        if hold.blind_spot.is_some()
            && releases.any(|release| {
                let mut digests = digests.values();
                digests.all(|digest| release.digests.contains(digest))
                    && !self.contains(&head.facts.commits[release.commit].id)
            })
        {
            hold.blind_spot = None;
        }
        for image in std::mem::take(&mut hold.held) {
            let digest = image.hold.digest;
            let mut holds = self.holds_of(&digest);
            match holds.find(|hold| !hold.is_elsewhere && !head.is_released(hold)) {
                Some(hold_here) => hold.held.push(HeldImage {
                    hold: hold_here.clone(),
                    ..image
                }),
                None => hold.released.push(image),
            }
        }
        // The head may have removed the set or the image in which a digest was undone.
        for image in std::mem::take(&mut hold.held_elsewhere) {
            match head.held_digest(&image.hold.digest) {
                Some(known) if !known.is_elsewhere => hold.held.push(HeldImage {
                    hold: known.clone(),
                    ..image
                }),
                Some(_) | None => hold.held_elsewhere.push(image),
            }
        }
        hold
    }

    /// Whether a commit with unknown content hides the current set.
    pub(crate) fn is_current_unknown(&self) -> bool {
        self.facts.current_set().is_none() && self.blind_spot().is_some()
    }
}
